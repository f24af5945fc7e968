#include "coordinator/world.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define SELF(c) ((world_cluster *)(c))
#define UP(c, err)                                                                                                     \
    do {                                                                                                               \
        if (SELF(c)->down)                                                                                             \
            return obv_fail(err, OBV_E_UNAVAILABLE, 0, "the cluster is away");                                         \
    } while (0)

static const uint64_t SYS_TABLES[] = {5, 103, 134};

obv_pg_key world_pg(uint64_t tenant, uint32_t i)
{
    const uint64_t low = i < 3 ? SYS_TABLES[i] : 50001 + i - 3;
    return (obv_pg_key){.table_id = tenant << 40 | low};
}

obv_pg_key world_group_pg(uint64_t tenant) { return (obv_pg_key){.table_id = tenant << 40 | UINT64_C(1) << 39 | 7}; }

static world_tenant *tenant_of(obv_cluster *c, uint64_t id)
{
    for (size_t i = 0; i < SELF(c)->tenant_count; i++)
        if (SELF(c)->tenants[i].id == id)
            return &SELF(c)->tenants[i];
    return NULL;
}

static obv_code identity(obv_cluster *c, obv_identity *out, obv_err *err)
{
    UP(c, err);
    *out = (obv_identity){.id = 7,
                          .version = UINT64_C(3) << 32 | 1 << 16 | 5,
                          .upgrading = SELF(c)->upgrading,
                          .standby = SELF(c)->standby};
    (void)snprintf(out->name, sizeof out->name, "obshop");
    return OBV_OK;
}

static obv_code servers(obv_cluster *c, obv_servers *out, obv_err *err)
{
    UP(c, err);
    out->n = 0;
    for (unsigned i = 0; i < WORLD_HOSTS; i++) {
        obv_server *s = obv_list_add(out, sizeof *s, err);
        if (!s)
            return OBV_E_NOMEM;
        (void)snprintf(s->ip, sizeof s->ip, "127.0.0.%u", SELF(c)->first_is_here && i == 0 ? 1 : i + 2);
        s->rpc_port = 2882;
        s->sql_port = 2881;
        s->id = i + 1;
        s->active = !(SELF(c)->third_is_down && i == 2);
    }
    return OBV_OK;
}

static obv_code tenants(obv_cluster *c, obv_tenants *out, obv_err *err)
{
    UP(c, err);
    out->n = 0;
    for (size_t i = 0; i < SELF(c)->tenant_count; i++) {
        if (SELF(c)->tenants[i].gone)
            continue;
        obv_tenant *t = obv_list_add(out, sizeof *t, err);
        if (!t)
            return OBV_E_NOMEM;
        t->id = SELF(c)->tenants[i].id;
        t->normal = !SELF(c)->tenants[i].odd;
        (void)snprintf(t->name, sizeof t->name, "%s", SELF(c)->tenants[i].name);
        (void)snprintf(t->zone_list, sizeof t->zone_list, "z1;z2;z3");
    }
    return OBV_OK;
}

static obv_code tenant_periods(obv_cluster *c, int64_t sys_schema, obv_tenant_periods *out, obv_err *err)
{
    UP(c, err);
    (void)sys_schema;
    out->n = 0;
    for (size_t i = 0; i < SELF(c)->tenant_count; i++) {
        obv_tenant_period *p = obv_list_add(out, sizeof *p, err);
        if (!p)
            return OBV_E_NOMEM;
        p->id = SELF(c)->tenants[i].id;
        p->schema_version = 1000;
        (void)snprintf(p->name, sizeof p->name, "%s", SELF(c)->tenants[i].name);
    }
    return OBV_OK;
}

static obv_code merge(obv_cluster *c, obv_merge *out, obv_err *err)
{
    UP(c, err);
    *out = (obv_merge){.data_version = 2, .merging = SELF(c)->merging, .frozen_snapshot = 5000};
    return OBV_OK;
}

static obv_code frozen_schema(obv_cluster *c, int64_t version, uint64_t tenant, int64_t *out, obv_err *err)
{
    UP(c, err);
    (void)version, (void)tenant;
    *out = 900;
    return OBV_OK;
}

static obv_code schema_version(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    UP(c, err);
    world_tenant *t = tenant_of(c, tenant);
    if (t && t->restless)
        t->schema_version++;
    if (t && t->unseen)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "its schema version is not to be seen");
    *out = t ? t->schema_version : 1000;
    return OBV_OK;
}

static obv_code schema_version_at(obv_cluster *c, uint64_t tenant, int64_t at, int64_t *out, obv_err *err)
{
    UP(c, err);
    const world_tenant *t = tenant_of(c, tenant);
    *out = t->schema_version <= at ? t->schema_version : t->schema_before;
    return OBV_OK;
}

static bool is_dropped(const world_tenant *t, uint32_t i)
{
    return i >= 3 && i < 3 + t->user_pgs && i - 3 < 64 && t->dropped >> (i - 3) & 1;
}

static uint32_t pg_count(obv_cluster *c, uint64_t tenant)
{
    const world_tenant *t = tenant_of(c, tenant);
    return 3 + t->user_pgs + (t->members > 0);
}

static obv_pg_key pg_at(obv_cluster *c, uint64_t tenant, uint32_t i)
{
    return i < 3 + tenant_of(c, tenant)->user_pgs ? world_pg(tenant, i) : world_group_pg(tenant);
}

size_t world_contents(world *w, const obv_pg_key *key, uint64_t out[16])
{
    const uint64_t tenant = obv_pg_key_tenant(key);
    const world_tenant *t = tenant_of(&w->cluster.base, tenant);
    const obv_pg_key first = world_pg(tenant, 3), group = world_group_pg(tenant);
    size_t n = 0;
    if (obv_pg_key_equal(key, &group)) {
        for (uint32_t i = 0; i < t->members; i++)
            out[n++] = tenant << 40 | (70001 + i);
        return n;
    }
    out[n++] = key->table_id;
    for (uint32_t i = 0; i < t->indexes && obv_pg_key_equal(key, &first); i++)
        out[n++] = tenant << 40 | (60001 + i);
    return n;
}

static obv_code pgs(obv_cluster *c, uint64_t tenant, obv_pgs *out, obv_contents *contents, obv_err *err)
{
    UP(c, err);
    out->n = 0;
    for (uint32_t i = 0; i < pg_count(c, tenant); i++) {
        const obv_pg_key key = pg_at(c, tenant, i);
        if (is_dropped(tenant_of(c, tenant), i))
            continue;
        obv_pg_key *k = obv_list_add(out, sizeof *k, err);
        if (!k)
            return OBV_E_NOMEM;
        *k = key;
        uint64_t ids[16];
        const size_t n = world_contents(SELF(c)->w, &key, ids);
        for (size_t at = 0; contents && at < n; at++) {
            obv_content *o = obv_list_add(contents, sizeof *o, err);
            if (!o)
                return OBV_E_NOMEM;
            *o = (obv_content){key.table_id, ids[at]};
        }
    }
    obv_pgs_sort(out);
    if (contents)
        obv_contents_sort(contents);
    return OBV_OK;
}

void world_ddl(world *w, world_tenant *t)
{
    t->schema_before = t->schema_version;
    t->schema_version = w->now_us;
}

static obv_code replicas(obv_cluster *c, uint64_t tenant, obv_replicas *out, obv_err *err)
{
    UP(c, err);
    out->n = 0;
    for (uint32_t i = 0; i < pg_count(c, tenant); i++)
        for (unsigned h = 0; h < WORLD_HOSTS; h++) {
            if (is_dropped(tenant_of(c, tenant), i))
                continue;
            obv_replica *r = obv_list_add(out, sizeof *r, err);
            if (!r)
                return OBV_E_NOMEM;
            const obv_pg_key k = pg_at(c, tenant, i);
            r->table_id = k.table_id;
            r->partition_id = 0;
            (void)snprintf(r->ip, sizeof r->ip, "127.0.0.%u", h + 2);
            r->rpc_port = 2882;
            r->leader = h == (i + SELF(c)->leader_shift) % WORLD_HOSTS;
            r->usable = true;
            r->data_version = 2;
        }
    obv_replicas_sort(out);
    return OBV_OK;
}

static obv_code uses_gts(obv_cluster *c, uint64_t tenant, bool *out, obv_err *err)
{
    UP(c, err);
    void (*intrude)(world *) = SELF(c)->intrude;
    SELF(c)->intrude = NULL;
    if (intrude)
        intrude(SELF(c)->w);
    *out = tenant_of(c, tenant)->gts;
    return OBV_OK;
}

static obv_code undo_retention(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    UP(c, err);
    *out = tenant_of(c, tenant)->undo_retention;
    return OBV_OK;
}

static obv_code base_version(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    UP(c, err);
    (void)tenant;
    *out = 0;
    return OBV_OK;
}

static obv_code own_archive(obv_cluster *c, obv_own_archive *out, obv_err *err)
{
    UP(c, err);
    *out = (obv_own_archive){.running = SELF(c)->own_archive};
    (void)snprintf(out->dest, sizeof out->dest, "%s", SELF(c)->own_archive_dest ? SELF(c)->own_archive_dest : "");
    return OBV_OK;
}

/* ---- target */

static obv_code rights(obv_cluster *c, obv_role role, obv_rights *out, obv_err *err)
{
    (void)role;
    UP(c, err);
    *out = SELF(c)->rights;
    return OBV_OK;
}

static obv_code data_bytes(obv_cluster *c, uint64_t tenant, uint64_t *out, obv_err *err)
{
    UP(c, err);
    *out = tenant == 1 ? 0 : SELF(c)->data_bytes;
    return OBV_OK;
}

static obv_code now(obv_cluster *c, int64_t *us, int64_t *trip_us, obv_err *err)
{
    UP(c, err);
    *us = SELF(c)->w->now_us + SELF(c)->clock_off_us;
    *trip_us = 0;
    return OBV_OK;
}

static obv_code target(obv_cluster *c, obv_target *out, obv_err *err)
{
    UP(c, err);
    *out = (obv_target){SELF(c)->restore_concurrency, SELF(c)->w->now_us - SELF(c)->gc_lag_us};
    return OBV_OK;
}

static obv_code pool_free(obv_cluster *c, const char *pool, bool *exists, bool *is_free, obv_err *err)
{
    UP(c, err);
    *exists = strcmp(pool, "p1") == 0;
    *is_free = *exists && !SELF(c)->pool_taken;
    return OBV_OK;
}

static obv_code tenant_exists(obv_cluster *c, const char *name, bool *out, obv_err *err)
{
    UP(c, err);
    (void)name;
    *out = SELF(c)->tenant_there || (SELF(c)->restore_runs && !SELF(c)->tenant_dropped);
    return OBV_OK;
}

static obv_code last_restore_job(obv_cluster *c, int64_t *out, obv_err *err)
{
    UP(c, err);
    *out = 41;
    return OBV_OK;
}

static obv_code restore_progress(obv_cluster *c, int64_t external, const char *tenant, obv_restore_progress *out,
                                 obv_err *err)
{
    UP(c, err);
    (void)external;
    world_cluster *s = SELF(c);
    *out = (obv_restore_progress){0};
    if (!s->restore_runs || strcmp(tenant, s->restore_tenant) != 0)
        return OBV_OK;
    *out = (obv_restore_progress){.found = true, .job_id = 42, .external_id = s->restore_external, .pgs = 10};
    (void)snprintf(out->status, sizeof out->status, "%s", s->restore_status);
    out->ended = strncmp(s->restore_status, "RESTORE_S", 9) == 0 || strcmp(s->restore_status, "RESTORE_FAIL") == 0;
    if (strcmp(s->restore_status, "RESTORE_FAIL") == 0)
        (void)snprintf(out->info, sizeof out->info, "%s", s->restore_info[0] ? s->restore_info : "gap in the log");
    return OBV_OK;
}

static obv_code take_restore(world_cluster *s, const char *sql, obv_err *err)
{
    if (s->refuse > 0) {
        s->refuse--;
        return obv_fail(err, OBV_E_PRECONDITION, 4179, "restore timestamp is too new");
    }
    if (s->restore_runs)
        return obv_fail(err, OBV_E_INTERNAL, 4016, "a second restore of the tenant");
    const char *id = strstr(sql, "restore_job_id=");
    s->restore_runs = true;
    s->restore_external = id ? strtoll(id + 15, NULL, 10) : 0;
    (void)sscanf(sql, "ALTER SYSTEM RESTORE %63s FROM", s->restore_tenant);
    (void)snprintf(s->restore_status, sizeof s->restore_status, "CREATE_TENANT");
    if (s->lose_answer) {
        s->lose_answer = false;
        return obv_fail(err, OBV_E_UNAVAILABLE, 2013, "lost connection");
    }
    return OBV_OK;
}

static obv_code execute(obv_cluster *c, const char *const *sql, size_t n, obv_err *err)
{
    UP(c, err);
    world_cluster *s = SELF(c);
    for (size_t i = 0; i < n; i++) {
        if (s->statement_count < 16)
            (void)snprintf(s->statements[s->statement_count++], sizeof *s->statements, "%s", sql[i]);
        long long value = 0;
        if (sscanf(sql[i], "SET GLOBAL undo_retention = %lld", &value) == 1) {
            assert_ptr_equal(s, &s->w->pin);
            s->w->cluster.tenants[0].undo_retention = value;
            world_ddl(s->w, &s->w->cluster.tenants[0]); /* it counts as one */
        }
        if (strncmp(sql[i], "ALTER SYSTEM RESTORE", 20) == 0)
            OBV_TRY(take_restore(s, sql[i], err));
    }
    return OBV_OK;
}

static void close_it(obv_cluster *c) { (void)c; }

void world_cluster_begin(world_cluster *c, world *w)
{
    static const obv_cluster_ops OPS = {identity,
                                        servers,
                                        tenants,
                                        tenant_periods,
                                        merge,
                                        frozen_schema,
                                        schema_version,
                                        schema_version_at,
                                        pgs,
                                        replicas,
                                        uses_gts,
                                        undo_retention,
                                        base_version,
                                        own_archive,
                                        rights,
                                        data_bytes,
                                        now,
                                        target,
                                        pool_free,
                                        tenant_exists,
                                        last_restore_job,
                                        restore_progress,
                                        execute,
                                        close_it};
    *c = (world_cluster){.base = {&OPS}, .w = w, .restore_concurrency = 10, .tenant_count = WORLD_TENANTS};
    for (size_t i = 0; i < WORLD_TENANTS; i++) {
        c->tenants[i] = (world_tenant){.id = 1001 + i, .schema_version = w->now_us - 1000, .user_pgs = 7, .gts = true};
        (void)snprintf(c->tenants[i].name, sizeof c->tenants[i].name, "t%zu", 1001 + i);
    }
}
