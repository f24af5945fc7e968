/* Rounds over time: leaders that flap, tenants that go, holes, what is about to be lost, events. */
#include "coordinator/world.h"
#include "format/media/archive_infos.h"
#include "job/archive.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define CP "obshop/7/incarnation_1/"

static void turns(world *w, size_t n)
{
    while (n--)
        world_turn(w);
}

static obv_round last_round(world *w)
{
    obv_round r;
    obv_err err = {0};
    assert_int_equal(obv_round_last(w->state, &r, &err), OBV_OK);
    return r;
}

static obv_round_tenant tenant_of(world *w, uint64_t id)
{
    obv_round_tenant t;
    obv_err err = {0};
    assert_int_equal(obv_round_tenant_get(w->state, last_round(w).round, id, &t, &err), OBV_OK);
    return t;
}

static obv_archive_round media_round(world *w, const char *path)
{
    obv_archive_round *r = NULL, last;
    size_t n = 0;
    obv_err err = {0};
    assert_int_equal(obv_archive_rounds_parse(world_file(w, path), &r, &n, &err), OBV_OK);
    assert_true(n > 0);
    last = r[n - 1];
    free(r);
    return last;
}

typedef struct found {
    const char *kind, *text;
    size_t n;
    obv_event last;
} found;

static obv_code look(void *ctx, const obv_event *e, obv_err *err)
{
    found *f = ctx;
    (void)err;
    if (strcmp(e->kind, f->kind) == 0 && strstr(e->text, f->text)) {
        f->n++;
        f->last = *e;
    }
    return OBV_OK;
}

static found events(world *w, const char *kind, const char *text)
{
    found f = {.kind = kind, .text = text};
    obv_err err = {0};
    assert_int_equal(obv_event_list(w->state, 0, 0, "", 1000, look, &f, &err), OBV_OK);
    return f;
}

static void flapping_leaders_do_not_make_their_pgs_flap(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_begin_archived(&w);
    const obv_pg_key key = w.agents[0].list[0].key;
    uint64_t epoch = 0;
    size_t moves = 0;
    for (size_t i = 0; i < 600; i++) { /* 120 s; a new leader every 2 s */
        w.cluster.leader_shift = (uint32_t)(i / 10 % 3);
        world_turn(&w);
        for (size_t a = 0; a < WORLD_HOSTS; a++)
            for (size_t k = 0; k < w.agents[a].list_count; k++)
                if (obv_pg_key_equal(&w.agents[a].list[k].key, &key) && w.agents[a].list[k].epoch > epoch) {
                    epoch = w.agents[a].list[k].epoch;
                    moves++;
                }
    }
    assert_in_range(moves, 2, 7); /* settle_s is 20: at most six, and the first one */
    const found f = events(&w, "takeover", "archives");
    assert_in_range(f.n, 1, 200);
    assert_true(f.last.tenant_id == 1001 || f.last.tenant_id == 1002);
    world_end(&w);
}

static void a_lost_agent_is_replaced_at_once_and_its_pgs_are_spread(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_begin_archived(&w);
    w.settings.leaders_s = 3600;
    const size_t had[] = {w.agents[0].list_count, w.agents[1].list_count};
    w.agents[2].silent = true;
    turns(&w, 120); /* its lease is 15 s; nothing waits for an hour */
    assert_true(w.agents[0].list_count > had[0]);
    assert_true(w.agents[1].list_count > had[1]);
    assert_true(events(&w, "takeover", "127.0.0.4:2882").n > 0);
    world_end(&w);
}

static void one_tenant_that_stands_still_has_its_leaders_looked_up(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_begin_archived(&w);
    w.settings.leaders_s = 3600;
    w.settings.settle_s = 0;
    const obv_pg_key key = w.agents[0].list[0].key;
    turns(&w, 20);
    w.cluster.leader_shift = 1;
    turns(&w, 75); /* all move: nobody asks */
    bool there = false;
    for (size_t k = 0; k < w.agents[0].list_count; k++)
        there = there || obv_pg_key_equal(&w.agents[0].list[k].key, &key);
    assert_true(there);
    for (size_t a = 0; a < WORLD_HOSTS; a++)
        w.agents[a].interrupted_tenant = 1002;
    w.agents[0].archive_error = OBV_E_IO; /* its checkpoints stand still, others' do not matter to it */
    turns(&w, 90);
    there = false;
    for (size_t k = 0; k < w.agents[1].list_count; k++)
        there = there || obv_pg_key_equal(&w.agents[1].list[k].key, &key);
    assert_true(there);
    world_end(&w);
}

static void a_tenant_that_is_gone_ends_and_holds_nothing_back(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_begin_archived(&w);
    w.cluster.tenants[1].unseen = w.cluster.tenants[1].gone = true;
    const int64_t gone = w.now_us;
    turns(&w, 100);
    const obv_round_tenant t = tenant_of(&w, 1002);
    assert_int_equal(t.status, OBV_ROUND_STOP);
    assert_in_range(t.gone_at, gone, gone + 5000000);
    assert_int_equal(t.checkpoint_ts, t.gone_at);
    assert_int_equal(media_round(&w, CP "1002/clog/tenant_clog_backup_info").status, OBV_ARCHIVE_STATUS_STOP);
    assert_int_equal(media_round(&w, CP "1002/clog/tenant_clog_backup_info").checkpoint_ts, t.gone_at);
    assert_int_equal(tenant_of(&w, 1001).status, OBV_ROUND_DOING);
    const obv_round r = last_round(&w);
    assert_int_equal(r.status, OBV_ROUND_DOING);
    assert_true(r.checkpoint_ts > t.gone_at + 5000000); /* the cluster's own goes on */
    for (size_t a = 0; a < WORLD_HOSTS; a++)
        for (size_t k = 0; k < w.agents[a].list_count; k++)
            assert_int_equal(obv_pg_key_tenant(&w.agents[a].list[k].key), 1001);
    assert_int_equal(events(&w, "round", "is not in the cluster any more").n, 1);
    world_end(&w);
}

static void the_log_of_a_dropped_tenant_is_not_waited_for_without_end(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_begin_archived(&w);
    w.agents[1].unsampled = 1; /* and never will be */
    turns(&w, 20);
    w.cluster.tenants[1].unseen = w.cluster.tenants[1].gone = true;
    const int64_t held = tenant_of(&w, 1002).checkpoint_ts;
    turns(&w, 500);
    assert_int_equal(tenant_of(&w, 1002).status, OBV_ROUND_DOING);
    turns(&w, 3000);
    assert_int_equal(tenant_of(&w, 1002).status, OBV_ROUND_STOP);
    assert_int_equal(tenant_of(&w, 1002).checkpoint_ts, held);
    world_end(&w);
}

static void a_hole_ends_one_tenant_and_a_new_round_makes_it_whole(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_begin_archived(&w);
    w.agents[2].interrupted = true;
    w.agents[2].interrupted_tenant = 1001;
    turns(&w, 30);
    const obv_round_tenant t = tenant_of(&w, 1001);
    assert_int_equal(t.status, OBV_ROUND_INTERRUPTED);
    assert_true(t.interrupted_at > 0);
    obv_coverage c;
    assert_int_equal(obv_archive_coverage(&w.ctx[OBV_JOB_ARCHIVE], 1, 1001, &c, &err), OBV_OK);
    assert_int_equal(c.pgs, 0); /* nobody goes on with it */
    assert_non_null(strstr(obv_archive_next(&t, &c), "archive start"));
    const int64_t other = tenant_of(&w, 1002).checkpoint_ts;
    turns(&w, 50);
    assert_int_equal(tenant_of(&w, 1001).checkpoint_ts, t.checkpoint_ts);
    assert_true(tenant_of(&w, 1002).checkpoint_ts > other + 5000000);
    const found f = events(&w, "gap", "t1001 INTERRUPTED");
    assert_int_equal(f.n, 1);
    assert_int_equal(f.last.level, OBV_EVENT_ERROR);
    assert_non_null(strstr(f.last.text, "log 77 is gone"));
    assert_int_equal(obv_archive_health(&w.settings, &t, w.now_us), OBV_HEALTH_STUCK);

    assert_int_equal(last_round(&w).checkpoint_ts, t.checkpoint_ts); /* the cluster promises no more than each tenant */

    obv_set_tenant st; /* the others are backed up all the same */
    obv_job set = world_backup(&w);
    set = world_ended(&w, &set, 1500);
    assert_int_equal(set.status, OBV_JOB_SUCCESS);
    assert_int_equal(obv_set_tenant_get(w.state, 1, 1002, &st, &err), OBV_OK);
    assert_int_equal(obv_set_tenant_get(w.state, 1, 1001, &st, NULL), OBV_E_NOT_FOUND);
    assert_int_equal(events(&w, "set", "t1001 is left out").n, 1);

    w.agents[2].interrupted = false;
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    world_run(&w, 200, world_job_ended, j.id);
    j = world_archive(&w);
    const int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    assert_int_equal(tenant_of(&w, 1001).round, 2);
    assert_int_equal(tenant_of(&w, 1001).status, OBV_ROUND_DOING);
    world_end(&w);
}

static void a_gap_that_is_near_is_told_once_and_backups_wait_if_they_shall(void **state)
{
    (void)state;
    world w;
    obv_coverage c;
    obv_err err = {0};
    world_begin(&w);
    world_begin_archived(&w);
    obv_job_ctx *x = &w.ctx[OBV_JOB_ARCHIVE];
    w.settings.gap_hold = true;
    w.agents[1].needed_file = 120; /* all is stored: nothing can be lost, however fast it is recycled */
    w.agents[1].gap_in_s = 5;
    turns(&w, 10);
    assert_int_equal(obv_archive_coverage(x, 1, 1001, &c, &err), OBV_OK);
    assert_true(c.gap_known);
    assert_false(c.gap_near);
    w.agents[0].needed_file = 110;
    w.agents[0].gap_in_s = -1;
    w.agents[1].needed_file = 119;
    w.agents[1].gap_in_s = 700;
    turns(&w, 30);
    assert_int_equal(obv_archive_coverage(x, 1, 1001, &c, &err), OBV_OK);
    assert_true(c.gap_near);
    assert_int_equal(c.gap_files, 19);
    assert_int_equal(c.gap_in_s, 700);
    assert_string_equal(c.gap_agent, w.agents[1].hello.agent_id);
    assert_int_equal(events(&w, "gap", "t1001: log that is not stored").n, 1);

    obv_job j = world_backup(&w);
    turns(&w, 100);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING);
    for (size_t a = 0; a < WORLD_HOSTS; a++)
        for (size_t k = 0; k < w.agents[a].task_count; k++)
            assert_int_not_equal(w.agents[a].tasks[k].t.kind, OBV_TASK_BATCH);
    w.agents[0].needed_file = w.agents[1].needed_file = 120;
    j = world_ended(&w, &j, 1500);
    assert_int_equal(j.status, OBV_JOB_SUCCESS);
    turns(&w, 200); /* for good */
    assert_int_equal(events(&w, "gap", "t1001: recycling is far").n, 1);
    world_end(&w);
}

static void lag_has_a_name(void **state)
{
    (void)state;
    const obv_settings cfg = {.checkpoint_s = 5};
    obv_round_tenant t = {.status = OBV_ROUND_DOING, .start_ts = 1, .checkpoint_ts = 1000000000};
    assert_int_equal(obv_archive_health(&cfg, &t, 1000000000 + 30000000), OBV_HEALTH_OK);
    assert_int_equal(obv_archive_health(&cfg, &t, 1000000000 + 80000000), OBV_HEALTH_LAGGING);
    assert_int_equal(obv_archive_health(&cfg, &t, 1000000000 + 400000000), OBV_HEALTH_STUCK);
    t.status = OBV_ROUND_STOP;
    assert_int_equal(obv_archive_health(&cfg, &t, 9000000000), OBV_HEALTH_NONE);
}

static void events_are_kept_within_bounds(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    int64_t last = 0;
    world_begin(&w);
    const obv_event e = {.at = w.now_us, .kind = "piece", .tenant_id = 7};
    for (int i = 0; i < 300; i++)
        assert_int_equal(obv_event_tell(w.state, &e, &err, "number %d", i), OBV_OK);
    found f = {.kind = "piece", .text = "number"};
    assert_int_equal(obv_event_list(w.state, 0, 0, "piece", 20, look, &f, &err), OBV_OK);
    assert_int_equal(f.n, 20); /* the newest */
    assert_string_equal(f.last.text, "number 299");
    f.n = 0;
    assert_int_equal(obv_event_list(w.state, 0, f.last.id - 5, "", 3, look, &f, &err), OBV_OK);
    assert_int_equal(f.n, 3); /* the next ones */
    assert_string_equal(f.last.text, "number 297");
    f.n = 0;
    assert_int_equal(obv_event_list(w.state, w.now_us + 1, 0, "", 1000, look, &f, &err), OBV_OK);
    assert_int_equal(f.n, 0);

    assert_int_equal(obv_state_trim(w.state, w.now_us, 1000000, 100, &err), OBV_OK);
    assert_int_equal(events(&w, "piece", "number").n, 100);
    assert_int_equal(obv_state_trim(w.state, w.now_us + 2000000, 1000000, 100, &err), OBV_OK);
    assert_int_equal(events(&w, "piece", "number").n, 0);
    assert_int_equal(obv_event_last(w.state, &last, &err), OBV_OK);
    assert_int_equal(obv_event_tell(w.state, &e, &err, "later"), OBV_OK);
    assert_true(events(&w, "piece", "later").last.id > 300); /* ids are never used again */
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flapping_leaders_do_not_make_their_pgs_flap),
        cmocka_unit_test(a_lost_agent_is_replaced_at_once_and_its_pgs_are_spread),
        cmocka_unit_test(one_tenant_that_stands_still_has_its_leaders_looked_up),
        cmocka_unit_test(a_tenant_that_is_gone_ends_and_holds_nothing_back),
        cmocka_unit_test(the_log_of_a_dropped_tenant_is_not_waited_for_without_end),
        cmocka_unit_test(a_hole_ends_one_tenant_and_a_new_round_makes_it_whole),
        cmocka_unit_test(a_gap_that_is_near_is_told_once_and_backups_wait_if_they_shall),
        cmocka_unit_test(lag_has_a_name),
        cmocka_unit_test(events_are_kept_within_bounds),
    };
    return cmocka_run_group_tests_name("coordinator.archive_rounds", tests, NULL, NULL);
}
