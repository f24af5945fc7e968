#include "coordinator/world.h"
#include "job/archive.h"
#include "job/plan.h"
#include "job/plan_check.h"
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

static obv_job check(world *w, int64_t at, bool deep, obv_plan_check *out)
{
    obv_job j;
    obv_err err = {0};
    assert_int_equal(obv_plan_check_begin(&w->ctx[OBV_JOB_CHECK], "t1001", at, deep, "", &j, &err), OBV_OK);
    j = world_ended(w, &j, 200);
    assert_int_equal(obv_plan_check_get(&w->ctx[OBV_JOB_CHECK], &j, out, &err), OBV_OK);
    return j;
}

static size_t looked_up(world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < WORLD_HOSTS; i++) {
        n += w->agents[i].looked_up;
        w->agents[i].looked_up = 0;
    }
    return n;
}

static void every_object_is_looked_up_page_by_page(void **state)
{
    (void)state;
    world w;
    world_begin(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].objects_per_pg = 60; /* 600 in all: three pages */
    world_repo_init(&w);
    (void)world_archive(&w);
    int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    const obv_job b = world_backup(&w);
    world_run(&w, 500, world_job_ended, b.id);
    at = world_set(&w).snapshot + 1;
    world_run(&w, 200, world_archive_has, &at);

    obv_plan_check c;
    assert_int_equal(check(&w, at, false, &c).status, OBV_JOB_SUCCESS);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(c.checked, c.objects);
    assert_true(c.objects > 600 && c.objects < 620); /* its lists and infos too */
    assert_int_equal(looked_up(&w), c.objects);
    assert_false(w.agents[0].looked_deep || w.agents[1].looked_deep || w.agents[2].looked_deep);
    assert_int_equal(check(&w, at, true, &c).status, OBV_JOB_SUCCESS);
    assert_true(w.agents[0].looked_deep || w.agents[1].looked_deep || w.agents[2].looked_deep);

    /* one page cannot be looked at for a moment, an agent falls silent, the coordinator starts anew */
    (void)looked_up(&w);
    w.agents[0].fail_next_look = w.agents[1].fail_next_look = w.agents[2].fail_next_look = OBV_E_UNAVAILABLE;
    obv_job j;
    obv_err err = {0};
    assert_int_equal(obv_plan_check_begin(&w.ctx[OBV_JOB_CHECK], "t1001", at, false, "key", &j, &err), OBV_OK);
    for (int i = 0; i < 30; i++)
        world_turn(&w);
    world_restart(&w);
    w.agents[0].silent = true;
    j = world_ended(&w, &j, 800);
    assert_int_equal(j.status, OBV_JOB_SUCCESS);
    obv_job again; /* the same run key: the same job */
    assert_int_equal(obv_plan_check_begin(&w.ctx[OBV_JOB_CHECK], "t1001", at, false, "key", &again, &err), OBV_OK);
    assert_string_equal(again.id, j.id);
    world_end(&w);
}

static void what_is_missing_is_counted_and_the_first_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *lost;
        int64_t wrong;
    } CASES[] = {
        {"/x0", 10}, {"sys_pg_list", 1}, {"single_piece_info", 1}, {"single_backup_set_info", 1}, {"meta_file_", -1}};
    world w;
    const int64_t at = begin(&w, 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_plan_check c;
        for (size_t k = 0; k < WORLD_HOSTS; k++)
            w.agents[k].lost_object = CASES[i].lost;
        const obv_job j = check(&w, at, false, &c);
        print_message("case: %s: %s\n", CASES[i].lost, j.result.msg);
        assert_int_equal(j.status, OBV_JOB_FAILED);
        assert_int_equal(j.result.code, OBV_E_CORRUPT);
        assert_non_null(strstr(j.result.msg, CASES[i].lost));
        assert_int_equal(c.checked, c.objects); /* the rest is looked at all the same */
        assert_true(CASES[i].wrong < 0 ? c.wrong > 0 : c.wrong == CASES[i].wrong);
    }
    world_end(&w);
}

static obv_code take_open(void *ctx, const obv_window_hole *h, obv_err *err)
{
    (void)err;
    *(obv_window_hole *)ctx = *h;
    return OBV_OK;
}

static obv_window_cause open_hole(world *w, uint64_t tenant)
{
    OBV_AUTO(obv_window_data_fini) obv_window_data d = {0};
    obv_window_hole h = {0};
    obv_window_cause c;
    obv_err err = {0};
    obv_job_ctx *x = &w->ctx[OBV_JOB_RESTORE];
    assert_int_equal(obv_window_load(x, tenant, &d, &err), OBV_OK);
    assert_int_equal(obv_window_holes(&d, take_open, &h, &err), OBV_OK);
    assert_true(h.from > 0 && h.to == 0);
    assert_int_equal(obv_window_cause_of(x, tenant, &h, &c, &err), OBV_OK);
    return c;
}

static void a_hole_says_why_and_what_next(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    (void)begin(&w, 0);
    assert_true(open_hole(&w, 1001).going_on); /* the log goes on */

    w.agents[0].interrupted = true;
    for (int i = 0; i < 100; i++)
        world_turn(&w);
    obv_window_cause c = open_hole(&w, 1001);
    assert_true(c.interrupted && !c.going_on);
    assert_non_null(strstr(c.why, "round 1 is interrupted: "));
    assert_non_null(strstr(c.next, "archive stop"));

    w.agents[0].interrupted = false;
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &j, &err), OBV_OK);
    (void)world_ended(&w, &j, 300);
    c = open_hole(&w, 1001);
    assert_true(c.interrupted);
    assert_non_null(strstr(c.next, "obvault archive start, then backup start"));
    const int64_t at = w.now_us;
    (void)world_archive(&w);
    world_run(&w, 200, world_archive_has, &at);
    c = open_hole(&w, 1001);
    assert_non_null(strstr(c.next, "obvault backup start"));
    const obv_job b = world_backup(&w);
    world_run(&w, 500, world_job_ended, b.id);
    for (int i = 0; i < 60; i++)
        world_turn(&w);
    assert_true(open_hole(&w, 1001).going_on); /* a new round and set make it whole again */
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_names_what_a_restore_would),
        cmocka_unit_test(every_piece_is_planned),
        cmocka_unit_test(what_cannot_be_restored_has_no_plan),
        cmocka_unit_test(a_hole_says_why_and_what_next),
        cmocka_unit_test(every_object_is_looked_up_page_by_page),
        cmocka_unit_test(what_is_missing_is_counted_and_the_first_is_named),
    };
    return cmocka_run_group_tests_name("coordinator.plan", tests, NULL, NULL);
}
