/* Sets that are closed over DDL: passes, dropped PGs, indexes that a replica lacks, lost attempts. */
#include "coordinator/world.h"
#include "format/media/info_files.h"
#include "format/media/meta_records.h"
#include "job/archive.h"
#include "job/backup.h"
#include "test.h"

#include <string.h>

#define CP "obshop/7/incarnation_1/"

static void begin(world *w)
{
    world_begin(w);
    world_begin_archived(w);
}

static void until(world *w, const obv_job *j, const char *phase)
{
    for (int i = 0; i < 1000 && strcmp(world_job(w, j).phase, phase) != 0; i++)
        world_turn(w);
    assert_string_equal(world_job(w, j).phase, phase);
}

static void good(world *w, const obv_job *j)
{
    world_run(w, 3000, world_job_ended, j->id);
    const obv_job e = world_job(w, j);
    if (e.status != OBV_JOB_SUCCESS)
        print_error("%s\n", e.result.msg);
    assert_int_equal(e.status, OBV_JOB_SUCCESS);
}

static void bad(world *w, const obv_job *j, const char *text)
{
    world_run(w, 20000, world_job_ended, j->id);
    const obv_job e = world_job(w, j);
    assert_int_equal(e.status, OBV_JOB_FAILED);
    assert_int_equal(e.result.code, OBV_E_CONFLICT);
    if (!strstr(e.result.msg, text))
        print_error("%s\n", e.result.msg);
    assert_non_null(strstr(e.result.msg, text));
}

/* ---- what the set says */

typedef struct listed {
    obv_pg_key v[64];
    size_t n;
} listed;

static int take_key(void *ctx, const obv_pg_key *k)
{
    listed *l = ctx;
    l->v[l->n++] = *k;
    return 0;
}

static int take_meta(void *ctx, const obv_meta_index *e)
{
    listed *l = ctx;
    l->v[l->n++] = e->pg;
    return 0;
}

static bool has(const listed *l, const obv_pg_key *k)
{
    for (size_t i = 0; i < l->n; i++)
        if (obv_pg_key_equal(&l->v[i], k))
            return true;
    return false;
}

static obv_span set_file(world *w, uint64_t tenant, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, CP "%llu/data/backup_set_1_full_%lld/%s", (unsigned long long)tenant,
                   (long long)world_set(w).date, name);
    return world_file(w, path);
}

/* Lists, merged index and infos are of one mind: exactly the PGs of the schema. */
static void set_is_of_the_schema(world *w, uint64_t tenant)
{
    listed lists = {.n = 0}, metas = {.n = 0};
    obv_err err = {0};
    OBV_AUTO(obv_pgs_fini) obv_pgs now = {0};
    int64_t version = 0;
    obv_set_tenant t;
    obv_cluster *c = &w->cluster.base;
    assert_int_equal(c->ops->pgs(c, tenant, &now, NULL, &err), OBV_OK);
    assert_int_equal(obv_pg_list_each(set_file(w, tenant, "backup_1/sys_pg_list"), take_key, &lists, &err), OBV_OK);
    assert_int_equal(obv_pg_list_each(set_file(w, tenant, "backup_1/normal_pg_list"), take_key, &lists, &err), OBV_OK);
    assert_int_equal(obv_meta_index_file_each(set_file(w, tenant, "backup_1/meta_index_file"), take_meta, &metas, &err),
                     OBV_OK);
    assert_int_equal(lists.n, now.n);
    assert_int_equal(metas.n, now.n);
    for (size_t i = 0; i < now.n; i++) {
        assert_true(has(&lists, &now.v[i]));
        assert_true(has(&metas, &now.v[i]));
    }
    assert_int_equal(c->ops->schema_version_at(c, tenant, world_set(w).snapshot, &version, &err), OBV_OK);
    assert_int_equal(obv_set_tenant_get(w->state, 1, tenant, &t, &err), OBV_OK);
    assert_int_equal(t.schema_version, version);
    obv_set_sums sums;
    assert_int_equal(obv_set_sum(w->state, 1, tenant, &sums, &err), OBV_OK);
    assert_int_equal(sums.pgs, now.n);
    assert_int_equal(sums.pgs_done, now.n);
}

static obv_pg_copy winner(world *w, const obv_pg_key *k)
{
    obv_pg_copy p = {.state = -1};
    obv_err err = {0};
    for (uint32_t pass = 0; pass < 100; pass++) {
        obv_pg_copy one;
        if (obv_pg_copy_get(w->state, 1, k, pass, &one, &err) != OBV_OK)
            break;
        if (p.state != -1)
            assert_int_equal(p.state, OBV_PG_REPLACED); /* one pass counts, the last */
        p = one;
    }
    return p;
}

/* ---- DDL */

/* DDL of every kind once all PGs are copied, as its number of passes and drops says. */
static void new_pgs_are_copied_and_dropped_ones_leave(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_tenant *t = &w.cluster.tenants[1];
    world_lag(&w, 5000000); /* time to strike in CLOSING */
    const obv_job j = world_backup(&w);
    until(&w, &j, "DOING");
    t->user_pgs = 9;
    t->dropped = 1 << 2;
    t->indexes = 1;
    world_ddl(&w, t);
    good(&w, &j);
    set_is_of_the_schema(&w, 1001);
    set_is_of_the_schema(&w, 1002);
    const obv_pg_key indexed = world_pg(1002, 3), gone = world_pg(1002, 3 + 2), fresh = world_pg(1002, 3 + 8);
    assert_int_equal(winner(&w, &gone).state, OBV_PG_DROPPED);
    assert_int_equal(winner(&w, &fresh).pass, 0);
    const obv_pg_key other = world_pg(1001, 3);
    assert_int_equal(winner(&w, &other).pass, 0);
    assert_int_equal(winner(&w, &indexed).state, OBV_PG_FINISH);
    world_end(&w);
}

static void what_came_after_its_copy_is_copied_again(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_tenant *t = &w.cluster.tenants[0];
    t->members = 2;
    world_ddl(&w, t);
    world_lag(&w, 5000000);
    const obv_job j = world_backup(&w);
    until(&w, &j, "CLOSING"); /* all is copied; the DDL is found to lie before S */
    t->indexes = 1;
    t->members = 3;
    t->schema_before = t->schema_version;
    t->schema_version = world_set(&w).snapshot;
    good(&w, &j);
    set_is_of_the_schema(&w, 1001);
    const obv_pg_key indexed = world_pg(1001, 3), plain = world_pg(1001, 4), group = world_group_pg(1001);
    assert_int_equal(winner(&w, &indexed).pass, 1);
    assert_int_equal(winner(&w, &group).pass, 1);
    assert_int_equal(winner(&w, &plain).pass, 0);
    assert_true(world_set(&w).passes >= 1);
    world_end(&w);
}

/* S lies behind the last look at the schema: what takes effect later is the log's. */
static void ddl_behind_the_snapshot_is_no_matter(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_lag(&w, 5000000);
    const obv_job j = world_backup(&w);
    until(&w, &j, "CLOSING");
    world_tenant *t = &w.cluster.tenants[1];
    t->indexes = 1;
    t->schema_before = t->schema_version;
    t->schema_version = world_set(&w).snapshot + 1;
    good(&w, &j);
    assert_int_equal(world_set(&w).passes, 0);
    const obv_pg_key indexed = world_pg(1002, 3);
    assert_int_equal(winner(&w, &indexed).pass, 0);
    world_end(&w);
}

static void ddl_that_never_pauses_fails_the_set(void **state)
{
    (void)state;
    for (int by_time = 0; by_time < 2; by_time++) {
        world w;
        begin(&w);
        world_lag(&w, 3000000);
        w.settings.passes_max = by_time ? 1000 : 8;
        w.settings.closing_s = by_time ? 60 : 86400;
        const obv_job j = world_backup(&w);
        until(&w, &j, "DOING");
        world_tenant *t = &w.cluster.tenants[0];
        for (int i = 0; i < 10000 && !world_job_ended(&w, j.id); i++) {
            world_turn(&w);
            if (i % 5 == 0 && t->user_pgs < 250) {
                t->user_pgs++;
                world_ddl(&w, t);
            }
        }
        bad(&w, &j, "DDL did not pause");
        world_end(&w);
    }
}

/* Its version never stands still: not even a list can be made. */
static void ddl_under_every_list_fails_the_set(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        world w;
        begin(&w);
        w.settings.closing_s = 60;
        w.cluster.tenants[0].restless = !late;
        const obv_job j = world_backup(&w);
        if (late)
            until(&w, &j, "DOING");
        w.cluster.tenants[0].restless = true;
        bad(&w, &j, "did not pause");
        world_end(&w);
    }
}

static void a_pg_that_is_gone_is_not_waited_for(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.settings.per_agent = 1;
    w.settings.batch_pgs = 1;
    const obv_job j = world_backup(&w);
    until(&w, &j, "DOING");
    world_tenant *t = &w.cluster.tenants[0];
    t->dropped = 0x7e; /* all but the first */
    world_ddl(&w, t);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].fail_next_pg = OBV_E_PG_GONE;
    const int64_t from = w.now_us;
    good(&w, &j);
    assert_true(w.now_us - from < 60 * OBV_US_PER_S);
    set_is_of_the_schema(&w, 1001);
    world_end(&w);
}

/* ---- indexes that are AVAILABLE, and replicas that lack them */

static void an_index_that_one_replica_lacks_comes_from_another(void **state)
{
    (void)state;
    for (size_t lacking = 0; lacking < WORLD_HOSTS; lacking++) {
        world w;
        begin(&w);
        w.cluster.tenants[0].indexes = w.cluster.tenants[1].indexes = 2;
        w.agents[lacking].unready = w.agents[(lacking + 1) % WORLD_HOSTS].unready = true;
        const obv_job j = world_backup(&w);
        good(&w, &j);
        for (uint64_t tenant = 1001; tenant <= 1002; tenant++) {
            const obv_pg_key k = world_pg(tenant, 3);
            assert_string_equal(winner(&w, &k).agent_id, w.agents[(lacking + 2) % WORLD_HOSTS].hello.agent_id);
            set_is_of_the_schema(&w, tenant);
        }
        world_end(&w);
    }
}

static void an_index_that_no_replica_has_fails_the_set(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.cluster.tenants[1].indexes = 1;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].unready = true;
    const obv_job j = world_backup(&w);
    char text[64];
    const obv_pg_key k = world_pg(1002, 3);
    (void)snprintf(text, sizeof text, "lacks table or index %llu", (unsigned long long)(k.table_id - 50001 + 60001));
    bad(&w, &j, text);
    world_end(&w);
}

static void an_index_that_gets_ready_in_the_meantime_is_good(void **state)
{
    (void)state;
    world w;
    begin(&w);
    w.settings.passes_max = 20;
    w.cluster.tenants[1].indexes = 1;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].unready = true;
    const obv_job j = world_backup(&w);
    until(&w, &j, "DOING");
    for (int i = 0; i < 2000 && world_set(&w).passes < 3; i++)
        world_turn(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].unready = false;
    good(&w, &j);
    const obv_pg_key k = world_pg(1002, 3);
    assert_true(winner(&w, &k).pass >= 3);
    world_end(&w);
}

/* ---- tables that leave a tablegroup */

static void dropped_members_are_named_to_who_ends_the_metas(void **state)
{
    (void)state;
    world w;
    obv_err err = {0};
    OBV_AUTO(obv_freep) uint64_t *ids = NULL;
    size_t n = 0;
    begin(&w);
    world_tenant *t = &w.cluster.tenants[0];
    t->members = 3;
    world_ddl(&w, t);
    world_lag(&w, 5000000);
    const obv_job j = world_backup(&w);
    until(&w, &j, "CLOSING");
    t->members = 1;
    t->schema_before = t->schema_version;
    t->schema_version = world_set(&w).snapshot;
    until(&w, &j, "METAS");
    const obv_pg_key group = world_group_pg(1001);
    const obv_pg_copy p = winner(&w, &group);
    assert_int_equal(p.pass, 0); /* nothing is missing in it */
    assert_int_equal(obv_backup_dropped(&w.ctx[OBV_JOB_BACKUP], 1, 1001, (uint64_t)p.task_id, &ids, &n, &err), OBV_OK);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], UINT64_C(1001) << 40 | 70002);
    assert_int_equal(ids[1], UINT64_C(1001) << 40 | 70003);
    good(&w, &j);
    world_end(&w);
}

/* ---- lost attempts */

static void a_fence_that_a_lost_attempt_holds_leads_to_the_next_pass(void **state)
{
    (void)state;
    world w;
    begin(&w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].fenced = true;
    const obv_job j = world_backup(&w);
    good(&w, &j);
    size_t later = 0;
    for (uint64_t tenant = 1001; tenant <= 1002; tenant++) {
        set_is_of_the_schema(&w, tenant);
        for (uint32_t i = 0; i < 10; i++) {
            const obv_pg_key k = world_pg(tenant, i);
            later += winner(&w, &k).pass == 1;
        }
    }
    assert_int_equal(later, WORLD_HOSTS);
    assert_int_equal(world_set(&w).passes, 0);
    world_end(&w);
}

static void a_fence_in_a_later_pass_does_so_too(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_tenant *t = &w.cluster.tenants[0];
    world_lag(&w, 5000000);
    const obv_job j = world_backup(&w);
    until(&w, &j, "CLOSING");
    t->indexes = 1;
    t->schema_before = t->schema_version;
    t->schema_version = world_set(&w).snapshot;
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w.agents[i].fenced = true;
    good(&w, &j);
    const obv_pg_key k = world_pg(1001, 3);
    assert_true(winner(&w, &k).pass >= 2);
    set_is_of_the_schema(&w, 1001);
    world_end(&w);
}

static void metas_of_a_lost_agent_are_written_by_another(void **state)
{
    (void)state;
    world w;
    begin(&w);
    world_lag(&w, 5000000);
    const obv_job j = world_backup(&w);
    until(&w, &j, "CLOSING");
    w.agents[1].silent = true;
    world_lag(&w, 0);
    world_run(&w, 3000, world_job_ended, j.id);
    const obv_job e = world_job(&w, &j);
    if (e.status != OBV_JOB_SUCCESS) /* the archive of its PGs goes to others, too */
        print_error("%s\n", e.result.msg);
    assert_int_equal(e.status, OBV_JOB_SUCCESS);
    set_is_of_the_schema(&w, 1001);
    world_end(&w);
}

static void a_coordinator_that_dies_between_passes_goes_on(void **state)
{
    (void)state;
    static const char *const PHASES[] = {"DOING", "CLOSING", "METAS"};
    for (size_t i = 0; i < sizeof PHASES / sizeof *PHASES; i++) {
        world w;
        begin(&w);
        world_tenant *t = &w.cluster.tenants[0];
        world_lag(&w, 3000000);
        const obv_job j = world_backup(&w);
        until(&w, &j, "DOING");
        t->user_pgs = 9;
        t->indexes = 1;
        t->dropped = 2;
        world_ddl(&w, t);
        until(&w, &j, PHASES[i]);
        world_restart(&w);
        good(&w, &j);
        set_is_of_the_schema(&w, 1001);
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_pgs_are_copied_and_dropped_ones_leave),
        cmocka_unit_test(what_came_after_its_copy_is_copied_again),
        cmocka_unit_test(ddl_behind_the_snapshot_is_no_matter),
        cmocka_unit_test(ddl_that_never_pauses_fails_the_set),
        cmocka_unit_test(ddl_under_every_list_fails_the_set),
        cmocka_unit_test(a_pg_that_is_gone_is_not_waited_for),
        cmocka_unit_test(an_index_that_one_replica_lacks_comes_from_another),
        cmocka_unit_test(an_index_that_no_replica_has_fails_the_set),
        cmocka_unit_test(an_index_that_gets_ready_in_the_meantime_is_good),
        cmocka_unit_test(dropped_members_are_named_to_who_ends_the_metas),
        cmocka_unit_test(a_fence_that_a_lost_attempt_holds_leads_to_the_next_pass),
        cmocka_unit_test(a_fence_in_a_later_pass_does_so_too),
        cmocka_unit_test(metas_of_a_lost_agent_are_written_by_another),
        cmocka_unit_test(a_coordinator_that_dies_between_passes_goes_on),
    };
    return cmocka_run_group_tests_name("coordinator.backup_ddl", tests, NULL, NULL);
}
