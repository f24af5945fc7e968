#include "coordinator/world.h"
#include "job/plan.h"
#include "job/restore.h"
#include "test.h"

#include <string.h>

static int64_t begin(world *w, uint32_t piece_switch_s)
{
    world_begin(w);
    w->settings.piece_switch_s = piece_switch_s;
    world_repo_init(w);
    (void)world_archive(w);
    int64_t at = w->now_us;
    world_run(w, 200, world_archive_has, &at);
    const obv_job j = world_backup(w);
    world_run(w, 500, world_job_ended, j.id);
    at = world_set(w).snapshot + 1;
    world_run(w, 200, world_archive_has, &at);
    return at;
}

static void a_plan_names_what_a_restore_would(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    const int64_t at = begin(&w, 0);
    obv_plan p = {0};
    assert_int_equal(obv_plan_make(&w.ctx[OBV_JOB_RESTORE], "t1001", at, &p, &err), OBV_OK);
    assert_int_equal(p.tenant_id, 1001);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.v[0].set_id, 1);
    assert_int_equal(p.v[0].from, at - 1);
    assert_int_equal(p.pgs, 10);
    assert_true(p.v[0].bytes > 0 && p.v[0].bytes == p.bytes);
    assert_true(p.v[0].objects > 0);
    assert_int_equal(p.v[1].round, 1);
    assert_int_equal(p.v[1].bytes, -1); /* nobody has added it up: not known is not 0 */
    assert_false(p.v[1].frozen);
    assert_int_equal(p.estimate_s, -1);
    assert_non_null(strstr(p.estimate_from, "no restore"));
    assert_int_equal(p.step_count, 4);

    /* the very sources that the target is given */
    obv_job j;
    const obv_restore_request q = {.target = "standby",
                                   .tenant = "t1001",
                                   .new_tenant = "r",
                                   .until_us = at,
                                   .pools = "p1",
                                   .locality = "",
                                   .primary_zone = ""};
    assert_int_equal(obv_restore_begin(&w.ctx[OBV_JOB_RESTORE], &w.target.base, &q, "", &j, &err), OBV_OK);
    for (int i = 0; i < 400 && !w.target.restore_runs; i++)
        world_turn(&w);
    for (size_t i = 0; i < p.n; i++)
        assert_non_null(strstr(w.target.statements[2 + i], p.v[i].path));
    obv_plan_fini(&p);

    /* once one has ended well there is something to measure by */
    for (int i = 0; i < 100; i++)
        world_turn(&w);
    (void)snprintf(w.target.restore_status, sizeof w.target.restore_status, "RESTORE_SUCCESS");
    assert_int_equal(world_ended(&w, &j, 50).status, OBV_JOB_SUCCESS);
    assert_int_equal(obv_plan_make(&w.ctx[OBV_JOB_RESTORE], "t1001", at, &p, &err), OBV_OK);
    assert_true(p.estimate_s >= 20 && p.estimate_s < 40); /* 100 turns of 200 ms, and some */
    assert_non_null(strstr(p.estimate_from, j.id));
    obv_plan_fini(&p);
    world_end(&w);
}

static void every_piece_is_planned(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    const int64_t first = begin(&w, 10);
    int64_t at = first + 40 * OBV_US_PER_S;
    world_run(&w, 500, world_archive_has, &at);
    obv_plan p = {0};
    obv_code code = OBV_E_NOT_RESTORABLE;
    for (int i = 0; i < 100 && code != OBV_OK; i++) {
        err = (obv_err){0};
        code = obv_plan_make(&w.ctx[OBV_JOB_RESTORE], "t1002", at, &p, &err);
        world_turn(&w);
    }
    assert_int_equal(code, OBV_OK);
    assert_true(p.n >= 4);
    for (size_t i = 1; i < p.n; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "/1002/clog/1_%lld_2023", (long long)p.v[i].piece);
        assert_non_null(strstr(p.v[i].path, name));
        assert_true(i == 1 || p.v[i].piece == p.v[i - 1].piece + 1);
        assert_true(i == 1 || p.v[i].from == p.v[i - 1].to || p.v[i].from >= p.v[i - 1].from);
        assert_true(p.v[i].frozen || i + 1 == p.n);
    }
    assert_true(p.v[p.n - 1].to >= at);
    obv_plan_fini(&p);
    world_end(&w);
}

static void what_cannot_be_restored_has_no_plan(void **state)
{
    (void)state;
    world w;
    const int64_t at = begin(&w, 0);
    static const struct {
        const char *tenant;
        int64_t off;
        obv_code code;
    } CASES[] = {{"t1001", -1, OBV_E_NOT_RESTORABLE},
                 {"t1001", 3600 * OBV_US_PER_S, OBV_E_NOT_RESTORABLE},
                 {"nobody", 0, OBV_E_NOT_FOUND}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        OBV_AUTO(obv_plan_fini) obv_plan p = {0};
        obv_err err = {0};
        assert_int_equal(obv_plan_make(&w.ctx[OBV_JOB_RESTORE], CASES[i].tenant, at + CASES[i].off, &p, &err),
                         CASES[i].code);
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_names_what_a_restore_would),
        cmocka_unit_test(every_piece_is_planned),
        cmocka_unit_test(what_cannot_be_restored_has_no_plan),
    };
    return cmocka_run_group_tests_name("coordinator.plan", tests, NULL, NULL);
}
