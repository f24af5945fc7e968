#include "coordinator/world.h"
#include "format/media/info_files.h"
#include "format/media/meta_records.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/window.h"
#include "test.h"

#include <string.h>

#define CP "obshop/7/incarnation_1/"

typedef struct seen {
    obv_set_file_info last;
    size_t n;
} seen;

static int see_set(void *ctx, const obv_set_file_info *e)
{
    seen *s = ctx;
    s->last = *e;
    s->n++;
    return 0;
}

static int count_key(void *ctx, const obv_pg_key *k)
{
    (void)k;
    ++*(size_t *)ctx;
    return 0;
}

static int count_meta(void *ctx, const obv_meta_index *e)
{
    (void)e;
    ++*(size_t *)ctx;
    return 0;
}

static seen set_list(world *w, const char *path)
{
    seen s = {.n = 0};
    obv_err err = {0};
    assert_int_equal(obv_set_file_infos_each(world_file(w, path), see_set, &s, &err), OBV_OK);
    return s;
}

static void begin(world *w)
{
    world_begin(w);
    world_begin_archived(w);
}

static char set_dir[128];
static const char *in_set(world *w, uint64_t tenant, const char *name)
{
    static char path[256];
    obv_set s;
    obv_err err = {0};
    assert_int_equal(obv_set_get(w->state, 1, &s, &err), OBV_OK);
    (void)snprintf(set_dir, sizeof set_dir, CP "%llu/data/backup_set_1_full_%lld", (unsigned long long)tenant,
                   (long long)s.date);
    (void)snprintf(path, sizeof path, "%s/%s", set_dir, name);
    return path;
}

static void a_full_set_is_made_with_all_its_files(void **state)
{
    (void)state;
    world w;
    obv_set s;
    obv_err err = {0};
    begin(&w);
    const obv_job j = world_backup(&w);
    const obv_job e = world_ended(&w, &j, 1500);
    if (e.status != OBV_JOB_SUCCESS)
        print_error("%s\n", e.result.msg);
    assert_int_equal(e.status, OBV_JOB_SUCCESS);
    assert_int_equal(obv_set_get(w.state, 1, &s, &err), OBV_OK);
    assert_int_equal(s.status, OBV_SET_GOOD);
    const seen l = set_list(&w, CP "1001/data/tenant_backup_set_file_info");
    assert_int_equal(l.n, 1);
    assert_int_equal(l.last.status, OBV_SET_SUCCESS);
    assert_int_equal(l.last.result, 0);
    assert_int_equal(l.last.file_status, OBV_SET_FILE_AVAILABLE);
    assert_int_equal(l.last.pg_count, 10);
    assert_int_equal(l.last.macro_block_count, 50);
    assert_int_equal(l.last.snapshot_version, s.snapshot);
    assert_int_equal(l.last.schema_version, w.cluster.tenants[0].schema_version);
    assert_true(l.last.start_replay_log_ts > 0 && l.last.start_replay_log_ts < s.snapshot);
    const seen single = set_list(&w, in_set(&w, 1001, "single_backup_set_info"));
    assert_int_equal(single.n, 1);
    assert_memory_equal(&single.last, &l.last, sizeof l.last);
    assert_int_equal(set_list(&w, CP "cluster_backup_set_file_info").last.pg_count, 20);
    size_t n = 0;
    assert_int_equal(obv_pg_list_each(world_file(&w, in_set(&w, 1002, "backup_1/sys_pg_list")), count_key, &n, &err),
                     OBV_OK);
    assert_int_equal(n, 3);
    assert_int_equal(obv_pg_list_each(world_file(&w, in_set(&w, 1002, "backup_1/normal_pg_list")), count_key, &n, &err),
                     OBV_OK);
    assert_int_equal(n, 10);
    n = 0;
    assert_int_equal(
        obv_meta_index_file_each(world_file(&w, in_set(&w, 1002, "backup_1/meta_index_file")), count_meta, &n, &err),
        OBV_OK);
    assert_int_equal(n, 10);
    obv_tenant_locality loc;
    assert_int_equal(
        obv_tenant_locality_parse(world_file(&w, in_set(&w, 1001, "backup_1/tenant_locality_info")), &loc, &err),
        OBV_OK);
    assert_string_equal(loc.locality, "FULL{1}@z1, FULL{1}@z2, FULL{1}@z3");
    assert_string_equal(loc.primary_zone, "RANDOM");
    OBV_AUTO(obv_window_data_fini) obv_window_data win = {0};
    assert_int_equal(obv_window_load(&w.ctx[0], 1001, &win, &err), OBV_OK);
    assert_int_equal(win.set_count, 1);
    assert_int_equal(win.sets[0].snapshot, s.snapshot);
    world_end(&w);
}

static void a_running_set_cannot_be_mistaken_for_a_good_one(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    begin(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].fail_next_pg = OBV_E_PG_CHANGED; /* keeps it busy for a while */
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 200 && !world_has_file(&w, CP "1001/data/tenant_backup_set_file_info"); i++)
        world_turn(&w);
    const seen l = set_list(&w, CP "1001/data/tenant_backup_set_file_info");
    assert_int_equal(l.last.status, OBV_SET_DOING);
    assert_int_equal(l.last.result, OBV_RESULT_SET_RUNNING);
    assert_int_equal(l.last.file_status, OBV_SET_FILE_COPYING);
    OBV_AUTO(obv_window_data_fini) obv_window_data win = {0};
    assert_int_equal(obv_window_load(&w.ctx[0], 1001, &win, &err), OBV_OK);
    assert_int_equal(win.set_count, 0);
    assert_int_equal(world_ended(&w, &j, 1500).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_backup_needs_archiving_that_is_doing(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    world_begin(&w);
    world_repo_init(&w);
    obv_job_ctx *x = &w.ctx[OBV_JOB_BACKUP];
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    (void)world_archive(&w);
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "", &j, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "BEGINNING"));
    const int64_t at = w.now_us;
    world_run(&w, 200, world_archive_has, &at);
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "night", &j, &err), OBV_OK);
    obv_job other;
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "night", &other, &err), OBV_OK);
    assert_string_equal(other.id, j.id);
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "", &other, &err), OBV_E_BUSY);
    assert_int_equal(obv_backup_begin(x, &w.cluster.base, "night", &other, &err), OBV_OK);
    assert_int_equal(world_ended(&w, &j, 1500).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

/* Ends FAILED, tells why, marks every entry, and the next set is good and lists both. */
static void fails_and_the_next_is_good(world *w, const obv_job *j, obv_code code, const char *text)
{
    const obv_job e = world_ended(w, j, 1500);
    obv_err err = {0};
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_int_equal(e.result.code, code);
    if (!strstr(e.result.msg, text))
        print_error("%s\n", e.result.msg);
    assert_non_null(strstr(e.result.msg, text));
    seen l = set_list(w, CP "1001/data/tenant_backup_set_file_info");
    assert_int_equal(l.last.status, OBV_SET_FAILED);
    assert_true(l.last.result != 0);
    assert_int_equal(l.last.file_status, OBV_SET_FILE_INCOMPLETE);
    assert_int_equal(set_list(w, CP "cluster_backup_set_file_info").last.status, OBV_SET_FAILED);
    OBV_AUTO(obv_window_data_fini) obv_window_data win = {0};
    assert_int_equal(obv_window_load(&w->ctx[0], 1001, &win, &err), OBV_OK);
    assert_int_equal(win.set_count, 0);
    const obv_job next = world_backup(w);
    assert_int_equal(world_ended(w, &next, 1500).status, OBV_JOB_SUCCESS);
    l = set_list(w, CP "1001/data/tenant_backup_set_file_info");
    assert_int_equal(l.n, 2);
    assert_int_equal(l.last.set_id, 2);
    assert_int_equal(l.last.result, 0);
}

static obv_code take_event(void *ctx, const obv_event *e, obv_err *err)
{
    (void)err;
    *(int *)ctx += strstr(e->text, "tenant t1002 is left out") != NULL;
    return OBV_OK;
}

static void a_tenant_that_is_not_normal_is_left_out_and_named(void **state)
{
    (void)state;
    world w;
    obv_set_tenant t;
    obv_err err = {0};
    int told = 0;
    begin(&w);
    w.cluster.tenants[1].odd = true;
    const obv_job j = world_backup(&w);
    assert_int_equal(world_ended(&w, &j, 1500).status, OBV_JOB_SUCCESS);
    assert_int_equal(obv_set_tenant_get(w.state, 1, 1001, &t, &err), OBV_OK);
    assert_int_equal(obv_set_tenant_get(w.state, 1, 1002, &t, NULL), OBV_E_NOT_FOUND);
    assert_int_equal(obv_event_each(w.state, j.id, 0, 1000, take_event, &told, &err), OBV_OK);
    assert_int_equal(told, 1);
    world_end(&w);
}

static void lost_blocks_fail_the_set(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.agents[1].drop_blocks = 1;
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 60; i++)
        world_turn(&w);
    w.agents[1].drop_blocks = 0;
    fails_and_the_next_is_good(&w, &j, OBV_E_INTERNAL, "4 of 5 macroblocks");
    world_end(&w);
}

static void a_full_destination_fails_the_set(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.agents[0].fail_next_pg = OBV_E_NO_SPACE;
    const obv_job j = world_backup(&w);
    fails_and_the_next_is_good(&w, &j, OBV_E_NO_SPACE, "made to fail");
    world_end(&w);
}

static void archiving_that_stops_fails_the_set(void **state)
{
    (void)state;
    world w;
    obv_job a;
    obv_err err = {0};
    begin(&w);
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 8; i++)
        world_turn(&w);
    assert_int_equal(obv_archive_stop_round(&w.ctx[OBV_JOB_ARCHIVE], &a, &err), OBV_OK);
    const obv_job e = world_ended(&w, &j, 1500);
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_int_equal(e.result.code, OBV_E_PRECONDITION);
    world_end(&w);
}

static void what_passes_is_tried_again(void **state)
{
    (void)state;
    static const obv_code CODES[] = {OBV_E_PG_CHANGED, OBV_E_PG_GONE, OBV_E_UNAVAILABLE, OBV_E_PRECONDITION,
                                     OBV_E_CORRUPT};
    for (size_t i = 0; i < sizeof CODES / sizeof *CODES; i++) {
        world w;
        begin(&w);
        w.agents[0].fail_next_pg = CODES[i];
        w.agents[1].fail_next_pg = CODES[i];
        w.agents[2].fail_next_put = OBV_E_TIMEOUT;
        const obv_job j = world_backup(&w);
        const obv_job e = world_ended(&w, &j, 1500);
        if (e.status != OBV_JOB_SUCCESS)
            print_error("%s\n", e.result.msg);
        assert_int_equal(e.status, OBV_JOB_SUCCESS);
        world_end(&w);
    }
}

static obv_code see_copy(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    (void)err;
    world *w = ctx;
    assert_in_range(p->retries, 0, 1);
    for (uint32_t i = 0; i < 3 + w->cluster.tenants[0].user_pgs; i++) {
        char leader[32];
        const obv_pg_key k = world_pg(p->tenant_id, i);
        (void)snprintf(leader, sizeof leader, "127.0.0.%u:2882", (i + w->cluster.leader_shift) % WORLD_HOSTS + 2);
        if (obv_pg_key_equal(&k, &p->key))
            assert_string_equal(p->agent_id, leader);
    }
    return OBV_OK;
}

/* Two followers behind the archive would pass the PG to each other until its retries are used up. */
static void a_follower_behind_the_archive_gives_way_to_the_leader(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    begin(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].behind = true;
    const obv_job j = world_backup(&w);
    const obv_job e = world_ended(&w, &j, 1500);
    if (e.status != OBV_JOB_SUCCESS)
        print_error("%s\n", e.result.msg);
    assert_int_equal(e.status, OBV_JOB_SUCCESS);
    for (uint64_t tenant = 1001; tenant <= 1002; tenant++)
        assert_int_equal(obv_pg_copy_each(w.state, 1, tenant, OBV_PG_FINISH, 256, see_copy, &w, &err), OBV_OK);
    world_end(&w);
}

static obv_code see_follower(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    (void)err;
    world *w = ctx;
    for (uint32_t i = 0; i < 3 + w->cluster.tenants[0].user_pgs; i++) {
        char leader[32];
        const obv_pg_key k = world_pg(p->tenant_id, i);
        (void)snprintf(leader, sizeof leader, "127.0.0.%u:2882", (i + w->cluster.leader_shift) % WORLD_HOSTS + 2);
        if (obv_pg_key_equal(&k, &p->key))
            assert_string_not_equal(p->agent_id, leader);
    }
    return OBV_OK;
}

/* Where replicas are and who leads was read for the set before. */
static void replicas_are_looked_up_for_each_set(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    begin(&w);
    for (int64_t set = 1; set <= 2; set++) {
        const obv_job j = world_backup(&w);
        const obv_job e = world_ended(&w, &j, 1500);
        assert_int_equal(e.status, OBV_JOB_SUCCESS);
        for (uint64_t tenant = 1001; tenant <= 1002; tenant++)
            assert_int_equal(obv_pg_copy_each(w.state, set, tenant, OBV_PG_FINISH, 256, see_follower, &w, &err),
                             OBV_OK);
        w.cluster.leader_shift++;
    }
    world_end(&w);
}

static void a_lost_agent_s_work_goes_to_others(void **state)
{
    (void)state;
    world w;
    begin(&w);
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 100 && w.agents[1].report_count == 0 && w.agents[1].task_count == 0; i++)
        world_turn(&w);
    w.agents[1].silent = true;
    w.agents[1].report_count = 0; /* and its reports with it */
    const obv_job e = world_ended(&w, &j, 1500);
    if (e.status != OBV_JOB_SUCCESS) /* its meta records are in its journal: the set may need it */
        assert_non_null(strstr(e.result.msg, "127.0.0.3:2882"));
    world_end(&w);
}

static int64_t least_checkpoint(world *w)
{
    int64_t at = 0;
    for (uint64_t tenant = 1001; tenant <= 1002; tenant++) {
        obv_round_tenant t;
        obv_err err = {0};
        assert_int_equal(obv_round_tenant_get(w->state, 1, tenant, &t, &err), OBV_OK);
        at = at == 0 || t.checkpoint_ts < at ? t.checkpoint_ts : at;
    }
    return at;
}

static void a_set_is_good_only_once_the_log_reaches_its_snapshot(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_lag(&w, 8000000);
    const obv_job j = world_backup(&w);
    size_t waited = 0;
    for (int i = 0; i < 500 && !world_job_ended(&w, j.id); i++) {
        world_turn(&w);
        obv_job now;
        obv_err err = {0};
        assert_int_equal(obv_job_get(w.state, j.id, &now, &err), OBV_OK);
        if (strcmp(now.phase, "CLOSING") == 0)
            waited++;
        if (strcmp(now.phase, "METAS") == 0 || strcmp(now.phase, "CLEANUP") == 0 || strcmp(now.phase, "FINISH") == 0)
            assert_true(least_checkpoint(&w) >= world_set(&w).snapshot);
    }
    assert_true(waited > 30);
    assert_int_equal(world_ended(&w, &j, 1500).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

static void a_set_that_no_log_reaches_is_failed(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_lag(&w, 3600000000); /* checkpoints stand still from now on */
    const obv_job j = world_backup(&w);
    const obv_job e = world_ended(&w, &j, 1500);
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_non_null(strstr(e.result.msg, "did not reach the set's snapshot"));
    assert_int_equal(set_list(&w, CP "1001/data/tenant_backup_set_file_info").last.status, OBV_SET_FAILED);
    world_end(&w);
}

static void a_copy_that_does_not_move_ends(void **state)
{
    (void)state;
    static const struct {
        const char *phase, *what;
    } CASES[] = {{"SCHEDULE", "no agent stored the files of SCHEDULE"},
                 {"GENERATE", "no agent stored the files of GENERATE"},
                 {"DOING", "did not move"},
                 {"CLOSING", "did not reach the set's snapshot"},
                 {"METAS", "did not write their meta records"},
                 {"CLEANUP", "no agent stored the set's last files"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        world w;
        obv_job now;
        obv_err err = {0};
        begin(&w);
        const obv_job j = world_backup(&w);
        do {
            world_turn(&w);
            assert_int_equal(obv_job_get(w.state, j.id, &now, &err), OBV_OK);
        } while (strcmp(now.phase, CASES[i].phase) != 0);
        for (size_t k = 0; k < WORLD_HOSTS; k++)
            w.agents[k].silent = true;
        const obv_job e = world_ended(&w, &j, 1500);
        assert_int_equal(e.status, OBV_JOB_FAILED);
        if (!strstr(e.result.msg, CASES[i].what))
            print_error("%s: %s\n", CASES[i].phase, e.result.msg);
        assert_non_null(strstr(e.result.msg, CASES[i].what));
        world_end(&w);
    }
}

/* However long a copy takes, a moment without the cluster ends it only if it is a long one; and then it is marked. */
static void a_long_copy_outlives_a_moment_without_the_cluster(void **state)
{
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        world w;
        obv_job now;
        obv_err err = {0};
        begin(&w);
        w.settings.step_s = 40000;
        const obv_job j = world_backup(&w);
        do {
            world_turn(&w);
            assert_int_equal(obv_job_get(w.state, j.id, &now, &err), OBV_OK);
        } while (strcmp(now.phase, "DOING") != 0);
        for (size_t i = 0; i < WORLD_HOSTS; i++)
            w.agents[i].silent = true;
        for (int i = 0; i < 20; i++) /* 3 h */ {
            w.now_us += 540 * OBV_US_PER_S;
            w.mono_ns += 540 * OBV_NS_PER_S;
            world_turn(&w);
        }
        w.cluster.down = true;
        for (int i = 0; i < 20; i++) {
            if (for_good) {
                w.now_us += 540 * OBV_US_PER_S;
                w.mono_ns += 540 * OBV_NS_PER_S;
            }
            world_turn(&w);
        }
        w.cluster.down = false;
        for (size_t i = 0; i < WORLD_HOSTS; i++)
            w.agents[i].silent = false;
        assert_int_equal(world_ended(&w, &j, 1500).status, for_good ? OBV_JOB_FAILED : OBV_JOB_SUCCESS);
        if (for_good)
            assert_int_equal(set_list(&w, CP "1001/data/tenant_backup_set_file_info").last.status, OBV_SET_FAILED);
        world_end(&w);
    }
}

static void begin_another(world *w) { (void)world_backup(w); }

static void two_operators_begin_one_set(void **state)
{
    (void)state;
    world w;
    obv_job j;
    obv_err err = {0};
    begin(&w);
    w.cluster.intrude = begin_another;
    assert_int_equal(obv_backup_begin(&w.ctx[OBV_JOB_BACKUP], &w.cluster.base, "", &j, &err), OBV_E_BUSY);
    world_end(&w);
}

static void a_merge_is_waited_for(void **state)
{
    (void)state;
    world w;
    obv_job now;
    obv_err err = {0};
    begin(&w);
    w.cluster.merging = true;
    const obv_job j = world_backup(&w);
    for (int i = 0; i < 30; i++)
        world_turn(&w);
    assert_int_equal(obv_job_get(w.state, j.id, &now, &err), OBV_OK);
    assert_string_equal(now.phase, "PREPARE");
    w.cluster.merging = false;
    assert_int_equal(world_ended(&w, &j, 1500).status, OBV_JOB_SUCCESS);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_set_is_made_with_all_its_files),
        cmocka_unit_test(a_running_set_cannot_be_mistaken_for_a_good_one),
        cmocka_unit_test(a_backup_needs_archiving_that_is_doing),
        cmocka_unit_test(a_tenant_that_is_not_normal_is_left_out_and_named),
        cmocka_unit_test(lost_blocks_fail_the_set),
        cmocka_unit_test(a_full_destination_fails_the_set),
        cmocka_unit_test(archiving_that_stops_fails_the_set),
        cmocka_unit_test(what_passes_is_tried_again),
        cmocka_unit_test(a_follower_behind_the_archive_gives_way_to_the_leader),
        cmocka_unit_test(replicas_are_looked_up_for_each_set),
        cmocka_unit_test(a_lost_agent_s_work_goes_to_others),
        cmocka_unit_test(a_set_is_good_only_once_the_log_reaches_its_snapshot),
        cmocka_unit_test(a_set_that_no_log_reaches_is_failed),
        cmocka_unit_test(a_copy_that_does_not_move_ends),
        cmocka_unit_test(a_long_copy_outlives_a_moment_without_the_cluster),
        cmocka_unit_test(two_operators_begin_one_set),
        cmocka_unit_test(a_merge_is_waited_for),
    };
    return cmocka_run_group_tests_name("coordinator.backup", tests, NULL, NULL);
}
