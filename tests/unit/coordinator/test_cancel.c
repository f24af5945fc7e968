/* An operator ends a backup: in any phase, whatever it waits for, within seconds */
#include "coordinator/world.h"
#include "job/archive.h"
#include "job/cancel.h"
#include "state/rounds.h"
#include "test.h"

#include <string.h>

enum { TEN_SECONDS = 50 }; /* turns */

static void begin(world *w)
{
    world_begin(w);
    world_begin_archived(w);
}

static void cancel(world *w, const char *id)
{
    obv_job out;
    obv_err err = {0};
    assert_int_equal(obv_job_cancel(&w->ctx[OBV_JOB_BACKUP], id, &out, &err), OBV_OK);
    assert_int_equal(obv_job_cancel(&w->ctx[OBV_JOB_BACKUP], id, &out, &err), OBV_OK); /* safe to repeat */
}

static void is_cancelled(world *w, const obv_job *j)
{
    obv_set set;
    obv_err err = {0};
    int64_t open = 0;
    world_run(w, TEN_SECONDS, world_job_ended, j->id);
    const obv_job e = world_job(w, j);
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_int_equal(e.result.code, OBV_E_CANCELLED);
    assert_non_null(strstr(e.result.hint, "earlier sets"));
    if (e.ref) {
        assert_int_equal(obv_set_get(w->state, e.ref, &set, &err), OBV_OK);
        assert_int_equal(set.status, OBV_SET_BAD);
        assert_int_not_equal(set.result, 0);
    }
    assert_int_equal(obv_db_i64(obv_state_db(w->state), &err, &open,
                                "SELECT count(*) FROM tasks WHERE job_id = ? AND kind = 1", obv_db_s(j->id)),
                     OBV_OK);
    assert_int_equal(open, 0); /* no batch stays with an agent */
}

static void a_backup_ends_in_every_phase(void **state)
{
    (void)state;
    static const char *const PHASES[] = {"PREPARE", "SCHEDULE", "GENERATE", "DOING", "METAS", "CLEANUP"};
    world w;
    begin(&w);
    for (size_t i = 0; i < sizeof PHASES / sizeof *PHASES; i++) {
        const obv_job j = world_backup(&w);
        for (size_t t = 0; t < 500 && strcmp(world_job(&w, &j).phase, PHASES[i]) != 0; t++)
            world_turn(&w);
        print_message("phase %s\n", PHASES[i]);
        assert_string_equal(world_job(&w, &j).phase, PHASES[i]);
        cancel(&w, i % 2 ? j.id : "");
        is_cancelled(&w, &j);
    }
    const obv_job j = world_backup(&w);
    world_run(&w, 1500, world_job_ended, j.id);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_backup_ends_although_nobody_answers(void **state)
{
    (void)state;
    world w;
    begin(&w);
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 5; i++)
        world_turn(&w);
    w.cluster.down = true;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].silent = true;
    for (int i = 0; i < 100; i++)
        world_turn(&w);
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_RUNNING);
    cancel(&w, "");
    is_cancelled(&w, &j);
    world_end(&w);
}

static void what_cannot_be_cancelled_says_so(void **state)
{
    (void)state;
    world w;
    obv_job out;
    obv_err err = {0};
    begin(&w);
    obv_job_ctx *x = &w.ctx[OBV_JOB_BACKUP];
    assert_int_equal(obv_job_cancel(x, "", &out, &err), OBV_E_NOT_FOUND);
    assert_int_equal(obv_job_cancel(x, "backup-77", &out, &err), OBV_E_NOT_FOUND);
    size_t rounds = 0;
    obv_job round;
    assert_int_equal(obv_job_running(w.state, OBV_JOB_ARCHIVE, &round, 1, &rounds, &err), OBV_OK);
    assert_int_equal(rounds, 1);
    assert_int_equal(obv_job_cancel(x, round.id, &out, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.hint, "archive stop"));
    const obv_job j = world_backup(&w);
    world_run(&w, 1500, world_job_ended, j.id);
    assert_int_equal(obv_job_cancel(x, j.id, &out, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "SUCCESS"));
    assert_int_equal(world_job(&w, &j).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_cancel_survives_the_coordinator(void **state)
{
    (void)state;
    world w;
    begin(&w);
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 5; i++)
        world_turn(&w);
    cancel(&w, j.id);
    world_restart(&w);
    is_cancelled(&w, &j);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_ends_in_every_phase),
        cmocka_unit_test(a_backup_ends_although_nobody_answers),
        cmocka_unit_test(what_cannot_be_cancelled_says_so),
        cmocka_unit_test(a_cancel_survives_the_coordinator),
    };
    return cmocka_run_group_tests_name("coordinator.cancel", tests, NULL, NULL);
}
