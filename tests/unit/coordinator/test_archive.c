#include "coordinator/world.h"
#include "format/media/archive_infos.h"
#include "job/archive.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define CP "obshop/7/incarnation_1/"

static obv_archive_piece piece_of(world *w, const char *path)
{
    obv_archive_piece p;
    obv_err err = {0};
    assert_int_equal(obv_archive_single_piece_parse(world_file(w, path), &p, &err), OBV_OK);
    return p;
}

static obv_archive_round round_of(world *w, const char *path)
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

static obv_round_tenant tenant_of(world *w, uint64_t id)
{
    obv_round r;
    obv_round_tenant t;
    obv_err err = {0};
    assert_int_equal(obv_round_last(w->state, &r, &err), OBV_OK);
    assert_int_equal(obv_round_tenant_get(w->state, r.round, id, &t, &err), OBV_OK);
    return t;
}

static void turns(world *w, size_t n)
{
    while (n--)
        world_turn(w);
}

static void a_round_begins_goes_on_and_stops(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    j = world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    assert_true(world_has_file(&w, CP "1/clog/1/mount_file"));
    assert_true(world_has_file(&w, CP "tenant_name_info"));
    assert_true(world_has_file(&w, CP "clog_info/2_127.0.0.3_2882"));
    obv_archive_round r = round_of(&w, CP "1001/clog/tenant_clog_backup_info");
    assert_int_equal(r.status, OBV_ARCHIVE_STATUS_DOING);
    assert_true(r.start_ts > 0 && r.start_ts <= r.checkpoint_ts);
    obv_archive_piece p = piece_of(&w, CP "1001/clog/1/single_piece_info");
    assert_int_equal(p.status, OBV_PIECE_ACTIVE);
    assert_int_equal(p.checkpoint_ts, r.checkpoint_ts);
    assert_int_equal(p.max_ts, INT64_MAX);
    assert_true(p.checkpoint_ts >= tenant_of(&w, 1001).checkpoint_ts);

    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    world_run(&w, 100, world_job_ended, j.id);
    assert_int_equal(round_of(&w, CP "cluster_clog_backup_info").status, OBV_ARCHIVE_STATUS_STOP);
    p = piece_of(&w, CP "1002/clog/1/single_piece_info");
    assert_int_equal(p.status, OBV_PIECE_FROZEN);
    assert_true(p.max_ts >= p.checkpoint_ts && p.max_ts < INT64_MAX);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        assert_int_equal(w.agents[i].list_count, 0);
    j = world_archive(&w);
    assert_int_equal(j.ref, 2);
    world_end(&w);
}

static void nothing_begins_under_a_wrong_precondition(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    obv_job_ctx *x = &w.ctx[OBV_JOB_ARCHIVE];
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_NOT_INITIALISED);
    world_repo_init(&w);
    w.cluster.standby = true;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    w.cluster.standby = false;
    w.cluster.upgrading = true;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    w.cluster.upgrading = false;
    w.cluster.own_archive = true;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    w.cluster.own_archive_dest = "file:///backup///?x=1"; /* the same place */
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    w.cluster.own_archive_dest = "file:///backup2"; /* another: allowed, but see the next one */
    w.cluster.tenants[1].gts = false;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "t1002"));
    w.cluster.tenants[1].gts = true;
    w.cluster.down = true;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &j, &err), OBV_E_UNAVAILABLE);
    w.cluster.down = false;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "k", &j, &err), OBV_OK);
    obv_job again;
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "k", &again, &err), OBV_OK);
    assert_string_equal(again.id, j.id);
    assert_int_equal(obv_archive_begin_round(x, &w.cluster.base, "", &again, &err), OBV_E_BUSY);
    world_end(&w);
}

static void a_checkpoint_waits_for_every_pg_of_the_newest_list(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);

    /* a PG without a sample holds its tenant back, on one agent is enough */
    w.agents[1].unsampled = 1;
    turns(&w, 20);
    const int64_t held = tenant_of(&w, 1001).checkpoint_ts;
    turns(&w, 40);
    assert_int_equal(tenant_of(&w, 1001).checkpoint_ts, held);
    w.agents[1].unsampled = 0;
    at = w.now_us;
    world_run(&w, 100, world_archive_has, &at);

    /* a new PG: no checkpoint passes until it is assigned and sampled, and its log is taken from the first one */
    w.cluster.tenants[0].user_pgs++;
    w.cluster.tenants[0].schema_version = w.now_us;
    at = w.now_us;
    world_run(&w, 100, world_archive_has, &at);
    const obv_pg_key born = world_pg(1001, 10);
    bool found = false;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        for (size_t k = 0; k < w.agents[i].list_count; k++)
            if (obv_pg_key_equal(&w.agents[i].list[k].key, &born)) {
                assert_true(w.agents[i].list[k].from_log_one);
                found = true;
            }
    assert_true(found);

    /* a checkpoint never goes back, whatever an agent says */
    const int64_t before = tenant_of(&w, 1001).checkpoint_ts;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 3600000000;
    turns(&w, 30);
    assert_int_equal(tenant_of(&w, 1001).checkpoint_ts, before);
    assert_int_equal(piece_of(&w, CP "1001/clog/1/single_piece_info").checkpoint_ts, before);
    world_end(&w);
}

static void a_dropped_pg_leaves_once_the_checkpoint_is_past_its_drop(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 5000000;
    w.cluster.tenants[0].user_pgs--;
    w.cluster.tenants[0].schema_version = w.now_us;
    const obv_pg_key dropped = world_pg(1001, 9);
    size_t seen = 0;
    for (int turn = 0; turn < 100; turn++) {
        world_turn(&w);
        bool there = false;
        for (size_t i = 0; i < WORLD_HOSTS; i++)
            for (size_t k = 0; k < w.agents[i].list_count; k++)
                there = there || obv_pg_key_equal(&w.agents[i].list[k].key, &dropped);
        if (tenant_of(&w, 1001).checkpoint_ts < w.cluster.tenants[0].schema_version)
            assert_true(there);
        seen += there;
    }
    assert_true(seen > 10 && seen < 90);
    world_end(&w);
}

static void a_moved_leader_takes_its_pgs_to_another_agent_under_a_new_epoch(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    const obv_archive_pg before = w.agents[0].list[0];
    w.cluster.leader_shift = 1;
    turns(&w, 150);
    bool found = false;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        for (size_t k = 0; k < w.agents[i].list_count; k++)
            if (obv_pg_key_equal(&w.agents[i].list[k].key, &before.key)) {
                assert_int_equal(i, 1);
                assert_true(w.agents[i].list[k].epoch > before.epoch);
                found = true;
            }
    assert_true(found);
    at = w.now_us;
    world_run(&w, 100, world_archive_has, &at);
    world_end(&w);
}

static void a_restarted_agent_writes_under_new_epochs_and_a_dead_one_is_replaced(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    const uint64_t epoch = w.agents[0].list[0].epoch;
    world_agent_restart(&w.agents[0]);
    turns(&w, 10);
    assert_true(w.agents[0].list_count > 0);
    assert_true(w.agents[0].list[0].epoch > epoch);
    at = w.now_us;
    world_run(&w, 100, world_archive_has, &at);

    const size_t had = w.agents[0].list_count;
    w.agents[2].silent = true; /* other replicas' hosts take over what it had */
    turns(&w, 200);
    assert_true(w.agents[0].list_count + w.agents[1].list_count == 20);
    assert_true(w.agents[0].list_count > had || w.agents[1].list_count > had);
    world_end(&w);
}

static bool listed(world *w, const obv_pg_key *key, obv_archive_pg *out)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        for (size_t k = 0; k < w->agents[i].list_count; k++)
            if (obv_pg_key_equal(&w->agents[i].list[k].key, key)) {
                *out = w->agents[i].list[k];
                return true;
            }
    return false;
}

static void a_fenced_agent_gets_a_new_epoch(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    w.agents[1].fenced_epoch = w.agents[1].list[0].epoch;
    at = w.now_us + 1000000;
    world_run(&w, 100, world_archive_has, &at);
    assert_true(w.agents[1].list[0].epoch > w.agents[1].fenced_epoch);
    const uint64_t epoch = w.agents[1].list[0].epoch;
    turns(&w, 50);
    assert_true(w.agents[1].list[0].epoch == epoch); /* once is enough */
    world_end(&w);
}

static void a_dropped_pg_is_wanted_up_to_the_moment_it_was_missed(void **state)
{
    (void)state;
    world w;
    obv_archive_pg row;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    const obv_pg_key gone = world_pg(1001, 9);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 5000000;
    /* the drop got its schema version long before it took effect */
    w.cluster.tenants[0].user_pgs--;
    w.cluster.tenants[0].schema_version = w.now_us - 4000000;
    at = w.now_us;
    while (!world_archive_has(&w, &at)) {
        assert_true(listed(&w, &gone, &row));
        world_turn(&w);
    }
    turns(&w, 30);
    assert_false(listed(&w, &gone, &row));

    /* one that shows up again stays */
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 20000000;
    const obv_pg_key back = world_pg(1001, 8);
    w.cluster.tenants[0].user_pgs--;
    w.cluster.tenants[0].schema_version = w.now_us;
    turns(&w, 20);
    w.cluster.tenants[0].user_pgs++;
    w.cluster.tenants[0].schema_version = w.now_us;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 0;
    turns(&w, 60);
    assert_true(listed(&w, &back, &row));
    assert_false(row.from_log_one);
    world_end(&w);
}

static void a_dropped_pg_of_a_dead_agent_is_ended_by_another(void **state)
{
    (void)state;
    world w;
    obv_archive_pg row;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    const obv_pg_key gone = world_pg(1001, 9);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 5000000;
    w.cluster.tenants[0].user_pgs--;
    w.cluster.tenants[0].schema_version = w.now_us;
    turns(&w, 10);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        for (size_t k = 0; k < w.agents[i].list_count; k++)
            w.agents[i].silent = w.agents[i].silent || obv_pg_key_equal(&w.agents[i].list[k].key, &gone);
    at = w.now_us;
    world_run(&w, 300, world_archive_has, &at);
    turns(&w, 50);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (w.agents[i].silent)
            w.agents[i].list_count = 0;
    assert_false(listed(&w, &gone, &row));
    world_end(&w);
}

static void trouble_of_one_tenant_holds_back_no_other(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    w.cluster.tenants[1].unseen = true; /* as after a drop */
    w.cluster.tenants[1].gone = true;
    turns(&w, 10);
    const int64_t before = tenant_of(&w, 1001).checkpoint_ts, held = tenant_of(&w, 1002).checkpoint_ts;
    turns(&w, 50);
    assert_true(tenant_of(&w, 1001).checkpoint_ts > before + 5000000);
    assert_int_equal(tenant_of(&w, 1002).checkpoint_ts, held);
    world_end(&w);
}

static void a_destination_that_is_away_for_long_does_not_end_the_round(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    j = world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    for (int i = 0; i < 1000; i++) { /* 200 s, step_s is 30 */
        for (size_t k = 0; k < WORLD_HOSTS; k++)
            w.agents[k].fail_next_put = i % 2 ? OBV_E_READ_ONLY : OBV_E_IO;
        world_turn(&w);
    }
    for (size_t k = 0; k < WORLD_HOSTS; k++)
        w.agents[k].fail_next_put = OBV_OK;
    assert_int_equal(obv_job_get(w.state, j.id, &j, &err), OBV_OK);
    assert_int_equal(j.status, OBV_JOB_RUNNING);
    at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    world_end(&w);
}

static void begin_another(world *w)
{
    obv_job j;
    obv_err err = {0};
    assert_int_equal(obv_archive_begin_round(&w->ctx[OBV_JOB_ARCHIVE], &w->cluster.base, "", &j, &err), OBV_OK);
}

static void two_operators_begin_one_round(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    w.cluster.intrude = begin_another;
    assert_int_equal(obv_archive_begin_round(&w.ctx[OBV_JOB_ARCHIVE], &w.cluster.base, "", &j, &err), OBV_E_BUSY);
    world_end(&w);
}

static void a_revision_is_never_used_twice(void **state)
{
    (void)state;
    world w;
    obv_state_tx tx = {0};
    obv_err err = {0};
    uint64_t a = 0, b = 0, c = 0;
    world_begin(&w);
    world_repo_init(&w);
    const char *id = w.agents[0].hello.agent_id;
    assert_int_equal(obv_state_begin(w.state, &tx, &err), OBV_OK);
    assert_int_equal(obv_registry_touch(w.registry, id, &a, &err), OBV_OK);
    obv_state_tx_drop(&tx); /* as when the commit fails; the agent may have seen it */
    assert_int_equal(obv_registry_touch(w.registry, id, &b, &err), OBV_OK);
    assert_true(b > a);
    w.now_us -= 3600000000;
    world_restart(&w);
    assert_int_equal(obv_registry_touch(w.registry, id, &c, &err), OBV_OK);
    assert_true(c > b);
    world_end(&w);
}

static void a_hole_in_the_log_interrupts_its_tenants_only_and_is_told(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_round r;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    j = world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    w.agents[2].interrupted = true;
    turns(&w, 30);
    assert_int_equal(obv_round_last(w.state, &r, &err), OBV_OK);
    assert_int_equal(r.status, OBV_ROUND_INTERRUPTED);
    const obv_round_tenant t = tenant_of(&w, 1001);
    assert_int_equal(t.status, OBV_ROUND_INTERRUPTED);
    assert_int_equal(t.error.code, OBV_E_LOG_GAP);
    assert_string_equal(t.error.msg, "log 77 is gone");
    assert_int_equal(round_of(&w, CP "1001/clog/tenant_clog_backup_info").status, OBV_ARCHIVE_STATUS_INTERRUPTED);
    turns(&w, 30);
    assert_int_equal(tenant_of(&w, 1001).checkpoint_ts, t.checkpoint_ts);
    assert_int_equal(obv_job_get(w.state, j.id, &j, &err), OBV_OK);
    assert_string_equal(j.phase, "INTERRUPTED");
    assert_int_equal(j.result.code, OBV_E_LOG_GAP);
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    world_run(&w, 200, world_job_ended, j.id);
    world_end(&w);
}

static void a_new_tenant_joins_the_round(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    w.cluster.tenants[2] = (world_tenant){.id = 1003, .schema_version = w.now_us, .user_pgs = 2, .gts = true};
    (void)snprintf(w.cluster.tenants[2].name, sizeof w.cluster.tenants[2].name, "t1003");
    w.cluster.tenant_count = 3;
    turns(&w, 60);
    assert_int_equal(tenant_of(&w, 1003).status, OBV_ROUND_DOING);
    assert_true(tenant_of(&w, 1003).checkpoint_ts > 0);
    assert_int_equal(round_of(&w, CP "1003/clog/tenant_clog_backup_info").status, OBV_ARCHIVE_STATUS_DOING);
    obv_archive_pg row; /* it may have been restored: its log need not begin with log 1 */
    const obv_pg_key first = world_pg(1003, 3);
    assert_true(listed(&w, &first, &row));
    assert_false(row.from_log_one);
    assert_true(tenant_of(&w, 1001).checkpoint_ts > at);
    world_end(&w);
}

static void a_round_that_cannot_begin_is_given_up(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    j = world_archive(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].unsampled = 99;
    turns(&w, 700); /* begin_s is 120 */
    assert_int_equal(obv_job_get(w.state, j.id, &j, &err), OBV_OK);
    assert_string_equal(j.phase, "INTERRUPTED");
    assert_int_equal(j.result.code, OBV_E_TIMEOUT);
    world_end(&w);
}

static void the_cluster_may_be_away_for_a_while(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    w.cluster.down = true;
    turns(&w, 50);
    const int64_t held = tenant_of(&w, 1001).checkpoint_ts;
    turns(&w, 50);
    assert_int_equal(tenant_of(&w, 1001).checkpoint_ts, held); /* nothing is proven without the schema */
    w.cluster.down = false;
    at = w.now_us;
    world_run(&w, 100, world_archive_has, &at);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_begins_goes_on_and_stops),
        cmocka_unit_test(nothing_begins_under_a_wrong_precondition),
        cmocka_unit_test(a_checkpoint_waits_for_every_pg_of_the_newest_list),
        cmocka_unit_test(a_dropped_pg_leaves_once_the_checkpoint_is_past_its_drop),
        cmocka_unit_test(a_moved_leader_takes_its_pgs_to_another_agent_under_a_new_epoch),
        cmocka_unit_test(a_restarted_agent_writes_under_new_epochs_and_a_dead_one_is_replaced),
        cmocka_unit_test(a_fenced_agent_gets_a_new_epoch),
        cmocka_unit_test(a_dropped_pg_is_wanted_up_to_the_moment_it_was_missed),
        cmocka_unit_test(a_dropped_pg_of_a_dead_agent_is_ended_by_another),
        cmocka_unit_test(trouble_of_one_tenant_holds_back_no_other),
        cmocka_unit_test(a_destination_that_is_away_for_long_does_not_end_the_round),
        cmocka_unit_test(two_operators_begin_one_round),
        cmocka_unit_test(a_revision_is_never_used_twice),
        cmocka_unit_test(a_hole_in_the_log_interrupts_its_tenants_only_and_is_told),
        cmocka_unit_test(a_new_tenant_joins_the_round),
        cmocka_unit_test(a_round_that_cannot_begin_is_given_up),
        cmocka_unit_test(the_cluster_may_be_away_for_a_while),
    };
    return cmocka_run_group_tests_name("coordinator.archive", tests, NULL, NULL);
}
