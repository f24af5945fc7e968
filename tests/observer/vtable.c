/* vtable.c - rows of the virtual tables that each server answers for itself */
#include "catalog.h"
#include "txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_COLUMNS 16

struct out {
    struct obs_value v[MAX_COLUMNS];
    size_t n;
};

static void put_i(struct out *o, int64_t x) { o->v[o->n++] = (struct obs_value){.kind = OBS_INT, .i = x}; }
static void put_u(struct out *o, uint64_t x) { o->v[o->n++] = (struct obs_value){.kind = OBS_UINT, .i = (int64_t)x}; }
static void put_s(struct out *o, const char *s) { o->v[o->n++] = (struct obs_value){.kind = OBS_TEXT, .s = s}; }

struct ctx {
    struct host *h;
    const struct host_addr *svr;
    int64_t *w; /* weak-read timestamps of the leaders, taken before the rows */
    char text[2][64];
};

typedef void (*pg_row)(struct ctx *c, uint32_t i, struct out *o);

static void head(struct ctx *c, struct out *o)
{
    o->n = 0;
    put_s(o, c->svr->ip);
    put_i(o, c->svr->rpc_port);
}

static const char *leader_text(struct ctx *c, const struct shm_pg *p, int k)
{
    const struct host_addr *l = &c->h->members[p->leader - 1];
    snprintf(c->text[k], sizeof c->text[k], "\"%s:%d\"", l->ip, l->rpc_port);
    return c->text[k];
}

static void clog_stat(struct ctx *c, uint32_t i, struct out *o)
{
    const struct shm_pg *p = pg_at(c->h, i);
    const struct shm_rep *r = &p->rep[c->svr->id - 1];
    bool lead = p->leader == c->svr->id;
    put_i(o, (int64_t)p->key.table_id);
    put_i(o, pkey_partition_id(&p->key));
    put_i(o, 0);
    put_s(o, lead ? "LEADER" : "FOLLOWER");
    put_s(o, "ACTIVE");
    put_s(o, leader_text(c, p, 0));
    put_u(o, lead ? p->last_log_id : r->last_log_id);
    put_i(o, p->state != PG_LIVE);
    put_i(o, r->applied_id + 100 >= p->last_log_id);
    put_u(o, r->applied_id + 1);
    put_i(o, 0);
    put_i(o, r->need_rebuild);
}

static void partition_info(struct ctx *c, uint32_t i, struct out *o)
{
    const struct shm_pg *p = pg_at(c->h, i);
    const struct shm_rep *r = &p->rep[c->svr->id - 1];
    bool lead = p->leader == c->svr->id;
    put_i(o, (int64_t)p->tenant);
    put_i(o, (int64_t)p->key.table_id);
    put_i(o, pkey_partition_id(&p->key));
    put_s(o, lead ? "L_WORKING" : "F_WORKING");
    put_i(o, r->need_rebuild);
    put_i(o, p->kind == KIND_TABLEGROUP);
    put_i(o, r->is_restore ? 0 : lead && p->state == PG_LIVE ? c->w[i] : r->weak_ts);
    put_i(o, 0);
    put_i(o, (int64_t)r->applied_id);
    put_i(o, r->schema_version);
    put_i(o, r->applied_ts);
}

static void election_info(struct ctx *c, uint32_t i, struct out *o)
{
    const struct shm_pg *p = pg_at(c->h, i);
    bool lead = p->leader == c->svr->id;
    put_i(o, (int64_t)p->key.table_id);
    put_i(o, pkey_partition_id(&p->key));
    put_s(o, leader_text(c, p, 0));
    put_i(o, p->leader_epoch);
    put_i(o, lead ? 1 : 2);
    put_i(o, 1);
    put_i(o, p->lease_start);
    put_i(o, clock_us(c->h) + 9800000);
}

static void store_info(struct ctx *c, uint32_t i, struct out *o)
{
    const struct shm_pg *p = pg_at(c->h, i);
    const struct shm_rep *r = &p->rep[c->svr->id - 1];
    put_i(o, (int64_t)p->tenant);
    put_i(o, (int64_t)p->key.table_id);
    put_i(o, pkey_partition_id(&p->key));
    put_i(o, 0);
    put_i(o, r->is_restore);
    put_i(o, r->migrate_status);
    put_i(o, 0);
    put_i(o, r->split_state);
    put_i(o, r->multi_version_start);
    put_i(o, p->leader == c->svr->id ? c->w[i] : r->weak_ts);
}

static void server_clog_stat(struct ctx *c, struct out *o)
{
    const struct shm_host *s = &c->h->shm->host[c->svr->id - 1];
    head(c, o);
    put_i(o, s->min_clog_file);
    put_i(o, s->min_ilog_file ? s->min_ilog_file : 1);
    int64_t min = INT64_MAX;
    for (uint32_t i = 0; i < c->h->shm->n_pg; i++)
        if (pg_at(c->h, i)->rep[c->svr->id - 1].applied_ts < min)
            min = pg_at(c->h, i)->rep[c->svr->id - 1].applied_ts;
    put_i(o, min);
}

#define COL_HEAD                                                                                                       \
    {"svr_ip", "v46"}, { "svr_port", "i" }
static const struct obs_column CLOG_STAT[] = {
    COL_HEAD,          {"table_id", "i"},     {"partition_idx", "i"},  {"partition_cnt", "i"}, {"role", "v32"},
    {"status", "v32"}, {"leader", "v32"},     {"last_log_id", "u"},    {"is_offline", "b"},    {"is_in_sync", "b"},
    {"start_id", "u"}, {"replica_type", "i"}, {"is_need_rebuild", "b"}};
static const struct obs_column PARTITION_INFO[] = {COL_HEAD,
                                                   {"tenant_id", "i"},
                                                   {"table_id", "i"},
                                                   {"partition_idx", "i"},
                                                   {"partition_state", "v128"},
                                                   {"is_need_rebuild", "b"},
                                                   {"is_pg", "b"},
                                                   {"weak_read_timestamp", "i"},
                                                   {"replica_type", "i"},
                                                   {"last_replay_log_id", "i"},
                                                   {"schema_version", "i"},
                                                   {"last_replay_log_ts", "i"}};
static const struct obs_column ELECTION[] = {
    COL_HEAD,      {"table_id", "i"}, {"partition_idx", "i"}, {"current_leader", "v64"}, {"leader_epoch", "i"},
    {"role", "i"}, {"state", "i"},    {"lease_start", "i"},   {"lease_end", "i"}};
static const struct obs_column STORE_INFO[] = {COL_HEAD,
                                               {"tenant_id", "i"},
                                               {"table_id", "i"},
                                               {"partition_idx", "i"},
                                               {"partition_cnt", "i"},
                                               {"is_restore", "i"},
                                               {"migrate_status", "i"},
                                               {"replica_type", "i"},
                                               {"split_state", "i"},
                                               {"multi_version_start", "i"},
                                               {"readable_ts", "i"}};
static const struct obs_column SERVER_CLOG[] = {COL_HEAD,
                                                {"user_clog_min_using_file_id", "i"},
                                                {"user_ilog_min_using_file_id", "i"},
                                                {"svr_min_log_timestamp", "i"}};
static const struct obs_column PARAMS[] = {{"zone", "v128"}, COL_HEAD, {"name", "v128"}, {"value", "v65536"}};

static const struct table {
    const char *name;
    const struct obs_column *col;
    size_t n;
    pg_row row; /* NULL: not one row per PG */
} TABLES[] = {
    {"__all_virtual_clog_stat", CLOG_STAT, sizeof CLOG_STAT / sizeof *CLOG_STAT, clog_stat},
    {"__all_virtual_partition_info", PARTITION_INFO, sizeof PARTITION_INFO / sizeof *PARTITION_INFO, partition_info},
    {"__all_virtual_election_info", ELECTION, sizeof ELECTION / sizeof *ELECTION, election_info},
    {"__all_virtual_partition_store_info", STORE_INFO, sizeof STORE_INFO / sizeof *STORE_INFO, store_info},
    {"__all_virtual_server_clog_stat", SERVER_CLOG, sizeof SERVER_CLOG / sizeof *SERVER_CLOG, NULL},
    {"__all_virtual_sys_parameter_stat", PARAMS, sizeof PARAMS / sizeof *PARAMS, NULL},
};

static const struct table *find(const char *name)
{
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++)
        if (!strcmp(TABLES[i].name, name))
            return &TABLES[i];
    return NULL;
}

const struct obs_column *obs_vtable_columns(const char *table, size_t *n)
{
    const struct table *t = find(table);
    *n = t ? t->n : 0;
    return t ? t->col : NULL;
}

struct param_ctx {
    struct ctx *c;
    obs_row_fn fn;
    void *arg;
    int rc;
};

static void param_row(void *arg, sqlite3_stmt *s)
{
    struct param_ctx *p = arg;
    struct out o = {.n = 0};
    if (p->rc)
        return;
    put_s(&o, p->c->svr->zone);
    put_s(&o, p->c->svr->ip);
    put_i(&o, p->c->svr->rpc_port);
    put_s(&o, (const char *)sqlite3_column_text(s, 0));
    put_s(&o, (const char *)sqlite3_column_text(s, 1));
    p->rc = p->fn(p->arg, o.v, o.n);
}

static int one_server(struct ctx *c, const struct table *t, obs_row_fn fn, void *arg)
{
    struct out o = {.n = 0};
    if (t->col == SERVER_CLOG) {
        server_clog_stat(c, &o);
        return fn(arg, o.v, o.n);
    }
    if (t->col == PARAMS) {
        struct param_ctx p = {c, fn, arg, 0};
        catalog_each(c->h, param_row, &p, "SELECT name, value FROM so_param WHERE host = ? ORDER BY name", "i",
                     (int64_t)c->svr->id);
        return p.rc;
    }
    int rc = 0;
    uint32_t n = c->h->shm->n_pg;
    for (uint32_t i = 0; i < n && !rc; i++) {
        const struct shm_pg *p = pg_at(c->h, i);
        if (p->state == PG_FREE || p->state == PG_GONE || p->rep[c->svr->id - 1].absent)
            continue;
        head(c, &o);
        t->row(c, i, &o);
        rc = fn(arg, o.v, o.n);
    }
    return rc;
}

int obs_vtable_scan(struct host *h, const char *table, int host_id, obs_row_fn fn, void *arg)
{
    const struct table *t = find(table);
    if (!t)
        return -4018;
    struct ctx c = {.h = h};
    if (t->row) {
        c.w = xcalloc(MAX_PG, sizeof *c.w);
        shm_lock(h);
        weak_all(h, c.w, h->shm->n_pg);
        shm_unlock(h);
    }
    int rc = 0;
    for (int i = 1; i <= h->n_members && !rc; i++) {
        if ((host_id && i != host_id) || !host_alive(h, i))
            continue;
        c.svr = &h->members[i - 1];
        rc = one_server(&c, t, fn, arg);
    }
    free(c.w);
    return rc;
}
