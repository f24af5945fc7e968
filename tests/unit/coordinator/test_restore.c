#include "coordinator/world.h"
#include "job/cancel.h"
#include "job/restore_priv.h"
#include "test.h"

#include <string.h>

static int64_t good_time;

static void begin_with_pieces(world *w, uint32_t piece_switch_s)
{
    obv_set s;
    obv_err err = {0};
    world_begin(w);
    w->settings.piece_switch_s = piece_switch_s;
    world_repo_init(w);
    (void)world_archive(w);
    int64_t at = w->now_us;
    world_run(w, 200, world_archive_has, &at);
    const obv_job j = world_backup(w);
    world_run(w, 500, world_job_ended, j.id);
    assert_int_equal(obv_set_get(w->state, 1, &s, &err), OBV_OK);
    good_time = s.snapshot + 1;
    at = good_time + 1000000;
    world_run(w, 200, world_archive_has, &at);
}

static void begin(world *w) { begin_with_pieces(w, 0); }

static obv_restore_request request(void)
{
    return (obv_restore_request){.target = "standby",
                                 .tenant = "t1001",
                                 .new_tenant = "t1001r",
                                 .until_us = good_time,
                                 .pools = "p1",
                                 .locality = "",
                                 .primary_zone = ""};
}

static obv_code start(world *w, const obv_restore_request *q, obv_job *j, obv_err *err)
{
    return obv_restore_begin(&w->ctx[OBV_JOB_RESTORE], &w->target.base, q, "", j, err);
}

static obv_job go_to_the_end(world *w, const obv_job *j, const char *status)
{
    obv_job now;
    obv_err err = {0};
    for (int i = 0; i < 400 && !w->target.restore_runs; i++)
        world_turn(w);
    assert_true(w->target.restore_runs);
    for (int i = 0; i < 20; i++)
        world_turn(w);
    (void)snprintf(w->target.restore_status, sizeof w->target.restore_status, "%s", status);
    world_run(w, 100, world_job_ended, j->id);
    assert_int_equal(obv_job_get(w->state, j->id, &now, &err), OBV_OK);
    return now;
}

static void a_restore_is_issued_with_explicit_sources_and_told_truthfully(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    const int64_t began = w.now_us;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    assert_int_equal(go_to_the_end(&w, &j, "RESTORE_SUCCESS").status, OBV_JOB_SUCCESS);
    assert_true(w.now_us - began > 0);
    assert_int_equal(w.target.statement_count, 5);
    assert_string_equal(w.target.statements[0], "SET time_zone = '+00:00'");
    assert_string_equal(w.target.statements[1], "ALTER SYSTEM CLEAR RESTORE SOURCE");
    assert_non_null(
        strstr(w.target.statements[2],
               "ADD RESTORE SOURCE 'file:///backup/obshop/7/incarnation_1/1001/data/backup_set_1_full_2023"));
    assert_string_equal(w.target.statements[3],
                        "ALTER SYSTEM ADD RESTORE SOURCE 'file:///backup/obshop/7/incarnation_1/1001/clog/1'");
    char want[200];
    (void)snprintf(want, sizeof want, "ALTER SYSTEM RESTORE t1001r FROM t1001 UNTIL '2023-11-14 22:");
    assert_int_equal(strncmp(w.target.statements[4], want, strlen(want)), 0);
    (void)snprintf(want, sizeof want,
                   ".%06lld' WITH 'backup_cluster_id=7&backup_cluster_name=obshop&pool_list=p1&restore_job_id=",
                   (long long)(good_time % 1000000));
    assert_non_null(strstr(w.target.statements[4], want));

    w.target.restore_runs = false;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    const obv_job e = go_to_the_end(&w, &j, "RESTORE_FAIL");
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_non_null(strstr(e.result.msg, "gap in the log"));
    world_end(&w);
}

static void pieces_are_named_one_by_one(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin_with_pieces(&w, 10);
    obv_restore_request q = request();
    q.until_us = good_time + 30 * OBV_US_PER_S;
    world_run(&w, 400, world_archive_has, &q.until_us);
    for (int i = 0; i < 100 && start(&w, &q, &j, &err) != OBV_OK; i++) /* while a piece in the middle is FREEZING */
        world_turn(&w);
    assert_int_equal(go_to_the_end(&w, &j, "RESTORE_SUCCESS").status, OBV_JOB_SUCCESS);
    assert_true(w.target.statement_count >= 7);
    long before = 0;
    for (size_t i = 3; i + 1 < w.target.statement_count; i++) {
        long piece = 0, date = 0;
        assert_int_equal(sscanf(w.target.statements[i],
                                "ALTER SYSTEM ADD RESTORE SOURCE "
                                "'file:///backup/obshop/7/incarnation_1/1001/clog/1_%ld_%ld'",
                                &piece, &date),
                         2);
        assert_true(date > 20231100 && date < 20231200);
        assert_true(before == 0 || piece == before + 1);
        before = piece;
    }
    assert_int_equal(strncmp(w.target.statements[w.target.statement_count - 1], "ALTER SYSTEM RESTORE ", 21), 0);
    world_end(&w);
}

static void what_cannot_be_restored_is_refused_with_the_window(void **state)
{
    (void)state;
    world w;
    obv_job j;
    begin(&w);
    const int64_t times[] = {good_time - 1, good_time - 1000000000, w.now_us + 60000000};
    for (size_t i = 0; i < 3; i++) {
        obv_restore_request q = request();
        obv_err err = {0};
        q.until_us = times[i];
        assert_int_equal(start(&w, &q, &j, &err), OBV_E_NOT_RESTORABLE);
        assert_non_null(strstr(err.msg, "set 1: 2023-"));
    }
    world_end(&w);
}

static void the_target_is_checked_first(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    obv_restore_request q = request();
    w.target.restore_concurrency = 0;
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "restore_concurrency"));
    w.target.restore_concurrency = 1;
    w.target.pool_taken = true;
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    w.target.pool_taken = false;
    w.target.tenant_there = true;
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    w.target.tenant_there = false;
    w.target.standby = true;
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    w.target.standby = false;
    q.pools = "nopool";
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    q.pools = "p1&x=1";
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_INVAL);
    q = request();
    q.new_tenant = "x'; DROP";
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_INVAL);
    q = request();
    q.tenant = "t9";
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_NOT_FOUND);
    assert_int_equal(w.target.statement_count, 0);
    world_end(&w);
}

static void a_target_that_says_too_new_is_asked_again(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    w.target.refuse = 3;
    w.target.gc_lag_us = 5000000;
    const obv_restore_request q = request();
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    assert_int_equal(go_to_the_end(&w, &j, "RESTORE_SUCCESS").status, OBV_JOB_SUCCESS);
    assert_int_equal(w.target.refuse, 0);
    world_end(&w);
}

static void a_lost_answer_does_not_restore_twice(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    w.target.lose_answer = true;
    const obv_restore_request q = request();
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    assert_int_equal(go_to_the_end(&w, &j, "RESTORE_SUCCESS").status, OBV_JOB_SUCCESS);
    size_t restores = 0;
    for (size_t i = 0; i < w.target.statement_count; i++)
        restores += strncmp(w.target.statements[i], "ALTER SYSTEM RESTORE", 20) == 0;
    assert_int_equal(restores, 1);
    world_end(&w);
}

static void somebody_else_s_restore_is_not_taken_for_ours(void **state)
{
    (void)state;
    static const int64_t IDS[] = {0, -1, 77};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        world w;
        obv_job j;
        obv_err err = {0};
        begin(&w);
        const obv_restore_request q = request();
        assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
        w.target.restore_runs = true; /* typed by hand, for the same tenant */
        w.target.restore_external = IDS[i];
        (void)snprintf(w.target.restore_tenant, sizeof w.target.restore_tenant, "t1001r");
        (void)snprintf(w.target.restore_status, sizeof w.target.restore_status, "RESTORE_SUCCESS");
        world_run(&w, 400, world_job_ended, j.id);
        assert_int_equal(obv_job_get(w.state, j.id, &j, &err), OBV_OK);
        assert_int_equal(j.status, OBV_JOB_FAILED);
        world_end(&w);
    }
}

static void a_restart_at_any_turn_restores_once(void **state)
{
    (void)state;
    for (int at = 0; at < 90; at += 3) {
        world w;
        obv_job j;
        obv_err err = {0};
        begin(&w);
        const obv_restore_request q = request();
        assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
        for (int i = 0; i < 90; i++) {
            if (i == at)
                world_restart(&w);
            world_turn(&w);
        }
        assert_int_equal(go_to_the_end(&w, &j, "RESTORE_SUCCESS").status, OBV_JOB_SUCCESS);
        assert_int_equal(w.target.statement_count, 5);
        world_end(&w);
    }
}

static void the_target_s_own_clock_is_waited_for(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    for (int i = 0; i < 100; i++) /* long past by the coordinator's clock */
        world_turn(&w);
    w.target.clock_off_us = good_time - w.now_us; /* the target's stands at the wanted time */
    const int64_t began = w.now_us;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    while (!w.target.restore_runs) {
        assert_true(w.now_us - began < 30 * OBV_US_PER_S);
        world_turn(&w);
    }
    assert_true(w.now_us - began >= 10 * OBV_US_PER_S);

    /* a clock that is 20 minutes behind is refused at once */
    w.target.restore_runs = false;
    w.target.clock_off_us = good_time - w.now_us - 20 * 60 * OBV_US_PER_S;
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "clock"));
    world_end(&w);
}

static void the_target_s_clock_may_be_ahead_of_ours(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    obv_restore_request q = request();
    w.target.clock_off_us = 60 * OBV_US_PER_S;
    const int64_t began = w.now_us;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    while (!w.target.restore_runs) {
        assert_true(w.now_us - began < 5 * OBV_US_PER_S);
        world_turn(&w);
    }
    world_end(&w);
}

static void a_server_of_the_target_that_is_known_not_to_see_the_destination_is_told(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    world_agent *a = &w.agents[1];
    a->hello.repository_uuid[0] = 0;
    (void)obv_fail(&a->hello.repository_error, OBV_E_NOT_INITIALISED, 0, "nothing is mounted at /backup");
    world_turn(&w);
    assert_int_equal(start(&w, &q, &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "127.0.0.3:2882"));
    assert_non_null(strstr(err.msg, "nothing is mounted"));
    world_end(&w);
}

static obv_code count_unseen(void *ctx, const obv_event *e, obv_err *err)
{
    (void)err;
    *(size_t *)ctx += strstr(e->text, "1 servers of target standby have no agent") != NULL;
    return OBV_OK;
}

static void a_server_that_nobody_can_ask_is_told(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    for (int silent = 0; silent < 2; silent++) {
        size_t told = 0;
        w.agents[2].silent = silent;
        for (int i = 0; i < 100; i++) /* its lease ends */
            world_turn(&w);
        w.target.restore_runs = false;
        assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
        assert_int_equal(obv_event_each(w.state, j.id, 0, 100, count_unseen, &told, &err), OBV_OK);
        assert_int_equal(told, silent);
        (void)go_to_the_end(&w, &j, "RESTORE_SUCCESS");
    }
    world_end(&w);
}

static void a_failure_says_what_oceanbase_says_and_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *info;
        obv_code code;
        int sys;
        const char *hint;
    } CASES[] = {
        {"RS : OB_ISOLATED_BACKUP_SET(-9048) on 10.0.0.1:2882 with traceid Y1", OBV_E_NOT_RESTORABLE, 9048, "window"},
        {"STORAGE : OB_CHECKSUM_ERROR(-4103)", OBV_E_CORRUPT, 4103, "local verify"},
        {"STORAGE : OB_IO_ERROR(-4009)", OBV_E_IO, 4009, "mount"},
        {"RS : OB_MACHINE_RESOURCE_NOT_ENOUGH(-4624)", OBV_E_PRECONDITION, 4624, "pool"},
        {"something (new) (-1x) else (-77)", OBV_E_INTERNAL, 77, "rootservice.log"},
        {"", OBV_E_INTERNAL, 0, "rootservice.log"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err e = {0};
        (void)obv_restore_reason("RESTORE_FAIL", CASES[i].info, &e);
        assert_int_equal(e.code, CASES[i].code);
        assert_int_equal(e.sys, CASES[i].sys);
        assert_non_null(strstr(e.hint, CASES[i].hint));
        assert_non_null(strstr(e.msg, CASES[i].info[0] ? CASES[i].info : "no reason"));
    }
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    (void)snprintf(w.target.restore_info, sizeof w.target.restore_info, "%s", CASES[0].info);
    const obv_job e = go_to_the_end(&w, &j, "RESTORE_FAIL");
    assert_int_equal(e.result.code, OBV_E_NOT_RESTORABLE);
    assert_non_null(strstr(e.result.hint, "window"));
    world_end(&w);
}

static void a_restore_ends_with_its_tenant(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    w.target.tenant_dropped = true;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    for (int i = 0; i < 400 && !w.target.restore_runs; i++)
        world_turn(&w);
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    /* the target has it: there is no statement that ends it */
    assert_int_equal(obv_job_cancel(&w.ctx[OBV_JOB_RESTORE], j.id, &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.hint, "DROP TENANT t1001r FORCE"));
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING); /* it was not there yet */
    w.target.tenant_dropped = false;
    (void)snprintf(w.target.restore_status, sizeof w.target.restore_status, "RESTORE_USER_REPLICA");
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING);
    w.target.tenant_dropped = true;
    const obv_job e = world_ended(&w, &j, 50);
    assert_int_equal(e.result.code, OBV_E_CANCELLED);
    assert_non_null(strstr(e.result.msg, "RESTORE_USER_REPLICA"));
    world_end(&w);
}

static void a_restore_that_has_not_left_yet_is_cancelled(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    const obv_restore_request q = request();
    w.target.gc_lag_us = 3600 * OBV_US_PER_S;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    for (int i = 0; i < 100; i++)
        world_turn(&w);
    assert_int_equal(obv_job_cancel(&w.ctx[OBV_JOB_RESTORE], j.id, &j, &err), OBV_OK);
    assert_int_equal(world_ended(&w, &j, 20).result.code, OBV_E_CANCELLED);
    assert_int_equal(w.target.statement_count, 0);

    /* in ISSUE too, while the target is away */
    w.target.gc_lag_us = 0;
    assert_int_equal(start(&w, &q, &j, &err), OBV_OK);
    for (int i = 0; i < 400 && strcmp(world_job(&w, &j).phase, "ISSUE") != 0; i++) {
        world_turn(&w);
        w.target.down = strcmp(world_job(&w, &j).phase, "ISSUE") == 0;
    }
    assert_string_equal(world_job(&w, &j).phase, "ISSUE");
    assert_int_equal(obv_job_cancel(&w.ctx[OBV_JOB_RESTORE], j.id, &j, &err), OBV_OK);
    assert_int_equal(world_ended(&w, &j, 50).result.code, OBV_E_CANCELLED);
    assert_int_equal(w.target.statement_count, 0);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restore_is_issued_with_explicit_sources_and_told_truthfully),
        cmocka_unit_test(pieces_are_named_one_by_one),
        cmocka_unit_test(what_cannot_be_restored_is_refused_with_the_window),
        cmocka_unit_test(the_target_is_checked_first),
        cmocka_unit_test(a_target_that_says_too_new_is_asked_again),
        cmocka_unit_test(a_lost_answer_does_not_restore_twice),
        cmocka_unit_test(somebody_else_s_restore_is_not_taken_for_ours),
        cmocka_unit_test(a_restart_at_any_turn_restores_once),
        cmocka_unit_test(the_target_s_own_clock_is_waited_for),
        cmocka_unit_test(the_target_s_clock_may_be_ahead_of_ours),
        cmocka_unit_test(a_server_of_the_target_that_is_known_not_to_see_the_destination_is_told),
        cmocka_unit_test(a_server_that_nobody_can_ask_is_told),
        cmocka_unit_test(a_failure_says_what_oceanbase_says_and_what_to_do),
        cmocka_unit_test(a_restore_ends_with_its_tenant),
        cmocka_unit_test(a_restore_that_has_not_left_yet_is_cancelled),
    };
    return cmocka_run_group_tests_name("coordinator.restore", tests, NULL, NULL);
}
