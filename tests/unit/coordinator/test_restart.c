#include "coordinator/world.h"
#include "format/media/archive_infos.h"
#include "format/media/info_files.h"
#include "job/archive.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define CP "obshop/7/incarnation_1/"
#define LAST_TURN 70

static int last_set(void *ctx, const obv_set_file_info *e)
{
    *(obv_set_file_info *)ctx = *e;
    return 0;
}

/* The whole story, with the coordinator dropped and made again before the given turn (and each `every` turns). */
static void story(size_t drop_at, size_t every, bool agents_too)
{
    world w;
    obv_job backup = {0}, archive = {0};
    obv_set_file_info e = {0};
    obv_err err = {0};
    world_begin(&w);
    world_turn(&w);
    size_t turn = 0;
    int64_t at = 0;
    enum { ARCHIVE, BACKUP, DONE } step = ARCHIVE;
    world_repo_init(&w);
    archive = world_archive(&w);
    for (; step != DONE && turn < 1500; turn++) {
        if (turn == drop_at || (every && turn % every == 0)) {
            world_restart(&w);
            if (agents_too)
                world_agent_restart(&w.agents[turn % WORLD_HOSTS]);
        }
        world_turn(&w); /* agents make themselves known again */
        if (step == ARCHIVE && world_archive_has(&w, &at)) {
            backup = world_backup(&w);
            step = BACKUP;
        }
        if (step == BACKUP && world_job_ended(&w, backup.id))
            step = DONE;
    }
    assert_int_equal(step, DONE);
    assert_int_equal(obv_job_get(w.state, backup.id, &backup, &err), OBV_OK);
    if (backup.status != OBV_JOB_SUCCESS)
        print_error("dropped at %zu: %s\n", drop_at, backup.result.msg);
    assert_int_equal(backup.status, OBV_JOB_SUCCESS);
    assert_int_equal(backup.ref, 1);
    assert_int_equal(
        obv_set_file_infos_each(world_file(&w, CP "1002/data/tenant_backup_set_file_info"), last_set, &e, &err),
        OBV_OK);
    assert_int_equal(e.result, 0);
    assert_int_equal(e.finish_pg_count, 10);
    at = e.snapshot_version;
    world_run(&w, 300, world_archive_has, &at);
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &archive, &err), OBV_OK);
    if (every || turn % 2) /* also while stopping */
        world_restart(&w);
    world_run(&w, 400, world_job_ended, archive.id);
    obv_archive_piece p;
    assert_int_equal(obv_archive_single_piece_parse(world_file(&w, CP "1001/clog/1/single_piece_info"), &p, &err),
                     OBV_OK);
    assert_int_equal(p.status, OBV_PIECE_FROZEN);
    assert_true(p.checkpoint_ts >= e.snapshot_version);
    world_end(&w);
}

static void a_coordinator_that_dies_anywhere_goes_on(void **state)
{
    (void)state;
    for (size_t at = 0; at < LAST_TURN; at++)
        story(at, 0, false);
}

static void agents_that_die_with_it_too(void **state)
{
    (void)state;
    for (size_t at = 0; at < LAST_TURN; at += 3)
        story(at, 0, true);
}

static void dying_all_the_time_only_takes_longer(void **state)
{
    (void)state;
    for (size_t every = 1; every < 8; every++)
        story(0, every, false);
}

/* A start is refused for good only when agents had time to call again. */
static void nothing_is_refused_because_the_coordinator_is_young(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_turn(&w);
    world_repo_init(&w);
    obv_cluster *c = &w.cluster.base;
    world_restart(&w);
    assert_int_equal(obv_archive_begin_round(&w.ctx[OBV_JOB_ARCHIVE], c, "", &j, &err), OBV_E_NOT_READY);
    w.mono_ns += (int64_t)OBV_LEASE_MS * OBV_NS_PER_MS;
    assert_int_equal(obv_archive_begin_round(&w.ctx[OBV_JOB_ARCHIVE], c, "", &j, &err), OBV_E_PRECONDITION);
    world_restart(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        world_agent_call(&w.agents[i]);
    assert_int_equal(obv_archive_begin_round(&w.ctx[OBV_JOB_ARCHIVE], c, "", &j, &err), OBV_OK);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_coordinator_that_dies_anywhere_goes_on),
        cmocka_unit_test(agents_that_die_with_it_too),
        cmocka_unit_test(nothing_is_refused_because_the_coordinator_is_young),
        cmocka_unit_test(dying_all_the_time_only_takes_longer),
    };
    return cmocka_run_group_tests_name("coordinator.restart", tests, NULL, NULL);
}
