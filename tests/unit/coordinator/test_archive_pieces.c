/* A round that is cut into pieces: switching, freezing, restarts in between, the end. */
#include "coordinator/world.h"
#include "format/media/archive_infos.h"
#include "format/media/paths.h"
#include "job/archive.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CP "obshop/7/incarnation_1/"

static void turns(world *w, size_t n)
{
    while (n--)
        world_turn(w);
}

static size_t pieces(world *w, const char *path, obv_archive_piece out[64])
{
    obv_archive_piece *p = NULL;
    size_t n = 0;
    obv_err err = {0};
    assert_int_equal(obv_archive_pieces_parse(world_file(w, path), &p, &n, &err), OBV_OK);
    assert_true(n <= 64);
    memcpy(out, p, n * sizeof *p);
    free(p);
    return n;
}

static obv_archive_piece single(world *w, const char *tenant, int64_t piece)
{
    obv_archive_piece p;
    char path[160];
    obv_err err = {0};
    (void)snprintf(path, sizeof path, CP "%s/clog/1_%lld_%lld/single_piece_info", tenant, (long long)piece,
                   (long long)obv_date_of_us(w->now_us));
    assert_int_equal(obv_archive_single_piece_parse(world_file(w, path), &p, &err), OBV_OK);
    return p;
}

static obv_archive_round media_round(world *w, const char *path)
{
    obv_archive_round *r = NULL, last;
    size_t n = 0;
    obv_err err = {0};
    assert_int_equal(obv_archive_rounds_parse(world_file(w, path), &r, &n, &err), OBV_OK);
    last = r[n - 1];
    free(r);
    return last;
}

/* What a stock restore and the independent reader hold against a list. */
static void check_list(world *w, const char *path)
{
    obv_archive_piece p[64];
    const size_t n = pieces(w, path, p);
    for (size_t i = 0; i < n; i++) {
        assert_true(p[i].piece_id > 0 && p[i].start_piece_id > 0 && p[i].start_piece_id <= p[i].piece_id);
        assert_int_equal(p[i].create_date, obv_date_of_us(w->now_us));
        if (p[i].status == OBV_PIECE_FROZEN) {
            assert_true(p[i].start_ts > 0 && p[i].start_ts <= p[i].checkpoint_ts);
            assert_true(p[i].checkpoint_ts <= p[i].max_ts && p[i].max_ts < INT64_MAX);
        } else {
            assert_int_equal(p[i].max_ts, INT64_MAX);
            assert_int_equal(p[i].checkpoint_ts == 0, p[i].status == OBV_PIECE_ACTIVE);
        }
        if (i == 0)
            continue;
        assert_int_equal(p[i].piece_id, p[i - 1].piece_id + 1);
        assert_true(p[i - 1].status != OBV_PIECE_ACTIVE);
        if (p[i - 1].status == OBV_PIECE_FROZEN)
            assert_int_equal(p[i].start_ts, p[i - 1].max_ts);
        if (i + 1 < n)
            assert_true(p[i].status != OBV_PIECE_ACTIVE);
    }
}

static void check_lists(world *w)
{
    check_list(w, CP "cluster_backup_piece_info");
    check_list(w, CP "1001/clog/backup_piece_info");
    check_list(w, CP "1002/clog/backup_piece_info");
}

static void begin(world *w, uint32_t switch_s)
{
    world_begin(w);
    w->settings.piece_switch_s = switch_s;
    world_begin_archived(w);
}

static bool piece_is(world *w, const void *arg)
{
    obv_round r;
    int64_t freezing = 0;
    obv_err err = {0};
    check_lists(w);
    assert_int_equal(obv_round_last(w->state, &r, &err), OBV_OK);
    assert_int_equal(obv_piece_freezing_count(w->state, r.round, &freezing, &err), OBV_OK);
    return r.piece >= *(const int64_t *)arg && freezing == 0;
}

static void pieces_follow_each_other_without_a_hole(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    obv_archive_piece p[64];
    begin(&w, 5);
    assert_int_equal(single(&w, "1001", 1).status, OBV_PIECE_ACTIVE);
    const int64_t third = 3;
    world_run(&w, 400, piece_is, &third);
    turns(&w, 10);
    for (size_t a = 0; a < WORLD_HOSTS; a++) {
        assert_true(w.agents[a].piece >= 3);
        assert_int_equal(w.agents[a].list_date, obv_date_of_us(w.now_us));
    }
    assert_true(pieces(&w, CP "1001/clog/backup_piece_info", p) >= 3);
    assert_int_equal(p[0].status, OBV_PIECE_FROZEN);
    assert_int_equal(single(&w, "1001", 1).status, OBV_PIECE_FROZEN);
    assert_int_equal(single(&w, "1001", 1).max_ts, p[0].max_ts);
    assert_int_equal(single(&w, "1", 2).status, OBV_PIECE_FROZEN);
    const obv_archive_round r = media_round(&w, CP "1001/clog/tenant_clog_backup_info");
    assert_int_equal(r.start_piece_id, 1);
    assert_true(r.piece_id >= 3);
    assert_int_equal(r.status, OBV_ARCHIVE_STATUS_DOING);

    w.settings.piece_switch_s = 0; /* of later rounds */
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    world_run(&w, 300, world_job_ended, j.id);
    check_lists(&w);
    const size_t n = pieces(&w, CP "1002/clog/backup_piece_info", p);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i].status, OBV_PIECE_FROZEN);
    assert_true(p[n - 1].checkpoint_ts > 0);
    j = world_archive(&w);
    assert_int_equal(j.ref, 2);
    const int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    for (size_t a = 0; a < WORLD_HOSTS; a++)
        assert_int_equal(w.agents[a].list_piece, 0);
    world_end(&w);
}

static void a_piece_is_frozen_only_when_every_pg_has_left_it(void **state)
{
    (void)state;
    world w;
    obv_archive_piece p[64];
    begin(&w, 5);
    w.agents[1].stays = true;
    turns(&w, 150);
    assert_int_equal(pieces(&w, CP "1001/clog/backup_piece_info", p), 2);
    assert_int_equal(p[0].status, OBV_PIECE_FREEZING);
    assert_int_equal(p[1].status, OBV_PIECE_ACTIVE);
    assert_int_equal(p[1].start_ts, 0);
    assert_int_equal(w.agents[0].piece, 2);
    assert_int_equal(w.agents[1].piece, 1);
    const int64_t promised = p[0].checkpoint_ts, at = w.now_us;
    world_run(&w, 100, world_archive_has, &at); /* checkpoints go on in the new one */
    assert_true(single(&w, "1001", 2).checkpoint_ts > promised);
    (void)pieces(&w, CP "1001/clog/backup_piece_info", p);
    assert_int_equal(p[0].checkpoint_ts, promised); /* all log for it was in the old one before anybody left */
    check_lists(&w);

    w.agents[0].submit_ts = w.now_us + 60000000; /* a server's clock is ahead: its log is not behind the piece's end */
    w.agents[1].stays = false;
    w.agents[1].piece = 2;
    turns(&w, 30);
    assert_true(pieces(&w, CP "1001/clog/backup_piece_info", p) >= 2);
    assert_int_equal(p[0].status, OBV_PIECE_FROZEN);
    assert_true(p[0].max_ts > w.agents[0].submit_ts);
    world_end(&w);
}

static void a_restart_in_the_middle_loses_nothing(void **state)
{
    (void)state;
    world w;
    begin(&w, 4);
    for (int i = 0; i < 400; i++) {
        world_turn(&w);
        check_lists(&w);
        for (size_t a = 0; a < WORLD_HOSTS; a++)
            assert_true(w.agents[a].list_count == 0 || w.agents[a].list_piece > 0); /* never beside the pieces */
        if (i % 17 == 0) {
            world_restart(&w);
            for (size_t a = 0; i % 34 == 0 && a < WORLD_HOSTS; a++)
                world_agent_restart(&w.agents[a]);
        }
    }
    obv_round r;
    obv_err err = {0};
    assert_int_equal(obv_round_last(w.state, &r, &err), OBV_OK);
    assert_true(r.piece >= 3);
    const int64_t at = w.now_us;
    world_run(&w, 300, world_archive_has, &at);
    world_end(&w);
}

static void a_new_tenant_begins_with_the_newest_piece(void **state)
{
    (void)state;
    world w;
    obv_archive_piece p[64];
    begin(&w, 5);
    const int64_t second = 2;
    world_run(&w, 300, piece_is, &second);
    w.settings.piece_switch_s = 5;
    w.cluster.tenants[2] = (world_tenant){.id = 1003, .schema_version = w.now_us, .user_pgs = 2, .gts = true};
    (void)snprintf(w.cluster.tenants[2].name, sizeof w.cluster.tenants[2].name, "t1003");
    w.cluster.tenant_count = 3;
    turns(&w, 150);
    const size_t n = pieces(&w, CP "1003/clog/backup_piece_info", p);
    assert_true(n >= 2); /* and follows the others */
    assert_true(p[0].piece_id >= 2);
    assert_int_equal(p[0].start_piece_id, p[0].piece_id);
    assert_int_equal(p[n - 1].start_piece_id, p[0].piece_id);
    check_list(&w, CP "1003/clog/backup_piece_info");
    assert_int_equal(media_round(&w, CP "1003/clog/tenant_clog_backup_info").start_piece_id, p[0].piece_id);
    check_lists(&w);
    world_end(&w);
}

static void an_end_waits_for_the_piece_that_is_being_left(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w, 5);
    w.agents[1].stays = true;
    turns(&w, 100);
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    turns(&w, 50);
    assert_string_equal(world_job(&w, &j).phase, "DOING");
    w.agents[1].stays = false;
    w.agents[1].piece = 2;
    world_run(&w, 200, world_job_ended, j.id);
    check_lists(&w);
    world_end(&w);
}

static void an_end_does_not_wait_for_ever(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w, 5);
    w.agents[1].stays = true;
    turns(&w, 100);
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    world_run(&w, 800, world_job_ended, j.id);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_follow_each_other_without_a_hole),
        cmocka_unit_test(a_piece_is_frozen_only_when_every_pg_has_left_it),
        cmocka_unit_test(a_restart_in_the_middle_loses_nothing),
        cmocka_unit_test(a_new_tenant_begins_with_the_newest_piece),
        cmocka_unit_test(an_end_waits_for_the_piece_that_is_being_left),
        cmocka_unit_test(an_end_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests_name("coordinator.archive_pieces", tests, NULL, NULL);
}
