/* What a running set makes of a destination that is not there, is another one, or fails now and then */
#include "coordinator/world.h"
#include "job/backup.h"
#include "job/checks.h"
#include "test.h"

#include <string.h>

static void begin(world *w)
{
    world_begin(w);
    world_begin_archived(w);
}

static void away(world *w, obv_code code, const char *why)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++) {
        (void)obv_fail(&w->agents[i].hello.repository_error, code, 0, "%s", why);
        (void)obv_hint(&w->agents[i].hello.repository_error, "mount the right one");
    }
}

static void back(world *w)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w->agents[i].hello.repository_error = (obv_err){0};
}

static void turns(world *w, double seconds)
{
    for (int i = 0; i < (int)(seconds * 5); i++)
        world_turn(w);
}

static obv_job ended(world *w, const obv_job *j, double within_s) { return world_ended(w, j, (size_t)(within_s * 5)); }

static void another_repository_ends_the_set_soon(void **state)
{
    (void)state;
    world w;
    begin(&w);
    const obv_job j = world_backup(&w);
    away(&w, OBV_E_CONFIG, "the destination is another repository");
    turns(&w, 10);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING); /* a mount may be under way */
    const obv_job e = ended(&w, &j, 60);
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_int_equal(e.result.code, OBV_E_CONFIG);
    assert_non_null(strstr(e.result.msg, "another repository"));
    assert_non_null(strstr(e.result.msg, w.agents[0].hello.agent_id));
    assert_string_equal(e.result.hint, "mount the right one");
    back(&w);
    turns(&w, 1);
    const obv_job next = world_backup(&w);
    assert_int_equal(ended(&w, &next, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void an_unmounted_destination_is_waited_for(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.settings.step_s = 600;
    const obv_job j = world_backup(&w);
    away(&w, OBV_E_NOT_INITIALISED, "no repository");
    turns(&w, 100);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING);
    back(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void an_unmounted_destination_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.settings.step_s = 600; /* not what ends it */
    const obv_job j = world_backup(&w);
    away(&w, OBV_E_NOT_INITIALISED, "no repository");
    const obv_job e = ended(&w, &j, 300);
    assert_int_equal(e.result.code, OBV_E_NOT_INITIALISED);
    world_end(&w);
}

static void one_agent_that_sees_it_is_enough(void **state)
{
    (void)state;
    world w;
    begin(&w);
    away(&w, OBV_E_CONFIG, "the destination is another repository");
    w.agents[1].hello.repository_error = (obv_err){0};
    const obv_job j = world_backup(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_start_is_refused_with_the_agent_s_reason(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    away(&w, OBV_E_DENIED, "Permission denied");
    w.mono_ns += 100 * OBV_NS_PER_S; /* every agent has had time to call */
    turns(&w, 1);
    assert_int_equal(obv_backup_begin(&w.ctx[OBV_JOB_BACKUP], &w.cluster.base, "", &j, &err), OBV_E_DENIED);
    assert_non_null(strstr(err.msg, "Permission denied"));
    assert_string_equal(err.hint, "mount the right one");
    away(&w, OBV_E_STALE, "mounted anew");
    turns(&w, 1);
    assert_int_equal(obv_backup_begin(&w.ctx[OBV_JOB_BACKUP], &w.cluster.base, "", &j, &err), OBV_E_NOT_READY);
    assert_non_null(strstr(err.msg, "mounted anew")); /* why, not only that it is not ready */
    world_end(&w);
}

static void the_agent_s_hint_reaches_the_operator(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.agents[0].fail_next_pg = OBV_E_DENIED;
    const obv_job j = world_backup(&w);
    const obv_job e = ended(&w, &j, 120);
    assert_int_equal(e.result.code, OBV_E_DENIED);
    assert_string_equal(e.result.hint, "the agent's own hint");
    world_end(&w);
}

static void an_io_error_is_tried_again_and_not_for_ever(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.agents[0].fail_next_pg = OBV_E_IO;
    const obv_job j = world_backup(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    const obv_job k = world_backup(&w);
    for (int i = 0; i < 600 && world_job(&w, &k).status == OBV_JOB_RUNNING; i++) {
        for (size_t a = 0; a < WORLD_HOSTS; a++)
            w.agents[a].fail_next_pg = OBV_E_IO;
        world_turn(&w);
    }
    assert_int_equal(world_job(&w, &k).result.code, OBV_E_IO);
    world_end(&w);
}

static void a_coordinator_that_returns_waits_anew(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    int64_t waiting = 0;
    begin(&w);
    const obv_job j = world_backup(&w);
    w.agents[0].fail_next_pg = OBV_E_IO;
    for (int i = 0; i < 100 && waiting == 0; i++) {
        world_turn(&w);
        assert_int_equal(obv_db_i64(obv_state_db(w.state), &err, &waiting,
                                    "SELECT count(*) FROM pgs WHERE state = 0 AND not_before > ?", obv_db_i(w.now_us)),
                         OBV_OK);
    }
    assert_true(waiting > 0);
    w.now_us -= 3600 * OBV_US_PER_S; /* its host's clock was set back while it was away */
    world_restart(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void time_away_counts_for_no_deadline(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    int64_t sealing = 0;
    begin(&w);
    const obv_job j = world_backup(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 20 * OBV_US_PER_S; /* the log does not reach the snapshot at once */
    for (int i = 0; i < 500 && sealing == 0; i++) {
        world_turn(&w);
        assert_int_equal(obv_db_i64(obv_state_db(w.state), &err, &sealing,
                                    "SELECT count(*) FROM jobs WHERE kind = 3 AND phase IN ('CLOSING', 'METAS')"),
                         OBV_OK);
    }
    assert_true(sealing > 0);
    w.now_us += 7200 * OBV_US_PER_S;
    world_restart(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_destination_that_takes_no_log_ends_the_set_with_the_reason(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.settings.step_s = 600; /* not what ends it */
    w.agents[2].archive_error = OBV_E_NO_SPACE;
    turns(&w, 1);
    const obv_job j = world_backup(&w);
    const obv_job e = ended(&w, &j, 120);
    assert_int_equal(e.result.code, OBV_E_NO_SPACE);
    assert_non_null(strstr(e.result.msg, "the log is not archived: append: No space left"));
    w.agents[2].archive_error = OBV_OK;
    turns(&w, 1);
    const obv_job next = world_backup(&w);
    assert_int_equal(ended(&w, &next, 120).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

/* The snapshot is a time of the cluster, also when the coordinator's clock is an hour late. */
static void a_wrong_clock_of_the_coordinator_moves_no_snapshot(void **state)
{
    (void)state;
    world w;
    obv_set set;
    obv_err err = {0};
    const int64_t off = 3600 * OBV_US_PER_S;
    begin(&w);
    w.cluster.clock_off_us = off;
    for (size_t a = 0; a < WORLD_HOSTS; a++)
        w.agents[a].archive_lag_us = -off; /* checkpoints are the cluster's too */
    const int64_t before = w.now_us + off;
    const obv_job j = world_backup(&w);
    assert_int_equal(ended(&w, &j, 120).status, OBV_JOB_SUCCESS);
    assert_int_equal(obv_set_get(w.state, world_job(&w, &j).ref, &set, &err), OBV_OK);
    assert_in_range(set.snapshot, before, w.now_us + off);
    world_end(&w);
}

static void an_upgrade_under_the_copies_fails_the_set(void **state)
{
    (void)state;
    world w;
    begin(&w);
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 100 && strcmp(world_job(&w, &j).phase, "DOING") != 0; i++)
        world_turn(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].archive_lag_us = 15 * OBV_US_PER_S; /* the set cannot be closed at once */
    turns(&w, 1);
    w.cluster.upgrading = true;
    const obv_job e = ended(&w, &j, 60);
    assert_int_equal(e.result.code, OBV_E_PRECONDITION);
    assert_non_null(strstr(e.result.msg, "during the backup"));
    assert_non_null(strstr(e.result.hint, "nothing can be restored from this set"));
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_repository_ends_the_set_soon),
        cmocka_unit_test(an_unmounted_destination_is_waited_for),
        cmocka_unit_test(an_unmounted_destination_is_not_waited_for_for_ever),
        cmocka_unit_test(one_agent_that_sees_it_is_enough),
        cmocka_unit_test(a_start_is_refused_with_the_agent_s_reason),
        cmocka_unit_test(the_agent_s_hint_reaches_the_operator),
        cmocka_unit_test(a_coordinator_that_returns_waits_anew),
        cmocka_unit_test(time_away_counts_for_no_deadline),
        cmocka_unit_test(a_destination_that_takes_no_log_ends_the_set_with_the_reason),
        cmocka_unit_test(a_wrong_clock_of_the_coordinator_moves_no_snapshot),
        cmocka_unit_test(an_upgrade_under_the_copies_fails_the_set),
        cmocka_unit_test(an_io_error_is_tried_again_and_not_for_ever),
    };
    return cmocka_run_group_tests_name("coordinator.destination", tests, NULL, NULL);
}
