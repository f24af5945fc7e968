#include "state/sets.h"

#include <stdio.h>

#define SET_COLUMNS                                                                                                    \
    "set_id, job_id, status, result, full_set_id, date, data_version, snapshot, frozen_snapshot, cluster_version,"     \
    " round, started_at, ended_at, sys_schema_version, passes, closing_at FROM sets "

static void read_set(const obv_rows *r, obv_set *x)
{
    *x = (obv_set){.id = obv_rows_i64(r, 0),
                   .status = (obv_set_state)obv_rows_i64(r, 2),
                   .result = (int32_t)obv_rows_i64(r, 3),
                   .full_set_id = obv_rows_i64(r, 4),
                   .date = obv_rows_i64(r, 5),
                   .data_version = obv_rows_i64(r, 6),
                   .snapshot = obv_rows_i64(r, 7),
                   .frozen_snapshot = obv_rows_i64(r, 8),
                   .cluster_version = obv_rows_u64(r, 9),
                   .round = obv_rows_i64(r, 10),
                   .started_at = obv_rows_i64(r, 11),
                   .ended_at = obv_rows_i64(r, 12),
                   .sys_schema_version = obv_rows_i64(r, 13),
                   .passes = (uint32_t)obv_rows_i64(r, 14),
                   .closing_at = obv_rows_i64(r, 15)};
    obv_rows_copy(r, 1, x->job_id, sizeof x->job_id);
}

static obv_code write_set(obv_state *s, const obv_set *x, const char *verb, obv_err *err)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "%s INTO sets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", verb);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, sql, obv_db_i(x->id), obv_db_s(x->job_id), obv_db_i(x->status),
                       obv_db_i(x->result), obv_db_i(x->full_set_id), obv_db_i(x->date), obv_db_i(x->data_version),
                       obv_db_i(x->snapshot), obv_db_i(x->frozen_snapshot), obv_db_u(x->cluster_version),
                       obv_db_i(x->round), obv_db_i(x->started_at), obv_db_i(x->ended_at),
                       obv_db_i(x->sys_schema_version), obv_db_i(x->passes), obv_db_i(x->closing_at)));
    return obv_state_commit(&tx, err);
}

obv_code obv_set_add(obv_state *s, const obv_set *x, obv_err *err) { return write_set(s, x, "INSERT", err); }
obv_code obv_set_save(obv_state *s, const obv_set *x, obv_err *err)
{
    return write_set(s, x, "INSERT OR REPLACE", err);
}

obv_code obv_set_get(obv_state *s, int64_t id, obv_set *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r, "SELECT " SET_COLUMNS "WHERE set_id = ?", obv_db_i(id)));
    const obv_code code = obv_rows_next(r, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, code, 0, "no backup set %lld", (long long)id);
    OBV_TRY(code);
    read_set(r, out);
    return OBV_OK;
}

obv_code obv_set_each(obv_state *s, obv_set_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), "SELECT " SET_COLUMNS "ORDER BY set_id", NULL, 0, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_set x;
        read_set(r, &x);
        OBV_TRY(fn(ctx, &x, err));
    }
    return OBV_OK;
}

/* ---- tenants */

#define TENANT_COLUMNS                                                                                                 \
    "set_id, tenant_id, name, compat_mode, locality, primary_zone, phase, schema_version, frozen_schema FROM"          \
    " set_tenants "

static void read_tenant(const obv_rows *r, obv_set_tenant *t)
{
    *t = (obv_set_tenant){.set_id = obv_rows_i64(r, 0),
                          .tenant_id = obv_rows_u64(r, 1),
                          .compat_mode = (int32_t)obv_rows_i64(r, 3),
                          .phase = (int)obv_rows_i64(r, 6),
                          .schema_version = obv_rows_i64(r, 7),
                          .frozen_schema = obv_rows_i64(r, 8)};
    obv_rows_copy(r, 2, t->name, sizeof t->name);
    obv_rows_copy(r, 4, t->locality, sizeof t->locality);
    obv_rows_copy(r, 5, t->primary_zone, sizeof t->primary_zone);
}

obv_code obv_set_tenant_save(obv_state *s, const obv_set_tenant *t, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "INSERT OR REPLACE INTO set_tenants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_i(t->set_id), obv_db_u(t->tenant_id), obv_db_s(t->name), obv_db_i(t->compat_mode),
                       obv_db_s(t->locality), obv_db_s(t->primary_zone), obv_db_i(t->phase),
                       obv_db_i(t->schema_version), obv_db_i(t->frozen_schema)));
    return obv_state_commit(&tx, err);
}

obv_code obv_set_tenant_get(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_tenant *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r, "SELECT " TENANT_COLUMNS "WHERE set_id = ? AND tenant_id = ?",
                         obv_db_i(set_id), obv_db_u(tenant)));
    OBV_TRY(obv_rows_next(r, err));
    read_tenant(r, out);
    return OBV_OK;
}

obv_code obv_set_tenant_each(obv_state *s, int64_t set_id, obv_set_tenant_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r, "SELECT " TENANT_COLUMNS "WHERE set_id = ? ORDER BY tenant_id",
                         obv_db_i(set_id)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_set_tenant t;
        read_tenant(r, &t);
        OBV_TRY(fn(ctx, &t, err));
    }
    return OBV_OK;
}

obv_code obv_set_sum(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_sums *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(
        obv_state_db(s), err, &r,
        "SELECT sum(state < 4), sum(state = 2), sum(iif(state < 4, blocks, 0)), sum(iif(state < 4, blocks_stored, 0)),"
        " sum(bytes_read), sum(bytes_written), sum(iif(state < 4, partitions, 0)), min(iif(state = 2, last_submit_ts,"
        " NULL)), max(iif(state < 4, lower_bound, 0)), max(iif(state < 4, publish_version, 0)),"
        " max(iif(state < 4, schema_version, 0)) FROM pgs WHERE set_id = ?1 AND (?2 = 0 OR tenant_id = ?2)",
        obv_db_i(set_id), obv_db_u(tenant)));
    OBV_TRY(obv_rows_next(r, err));
    *out = (obv_set_sums){.pgs = obv_rows_i64(r, 0),
                          .pgs_done = obv_rows_i64(r, 1),
                          .blocks = obv_rows_i64(r, 2),
                          .blocks_stored = obv_rows_i64(r, 3),
                          .bytes_read = obv_rows_i64(r, 4),
                          .bytes_written = obv_rows_i64(r, 5),
                          .partitions = obv_rows_i64(r, 6),
                          .min_last_submit_ts = obv_rows_i64(r, 7),
                          .max_lower_bound = obv_rows_i64(r, 8),
                          .max_publish_version = obv_rows_i64(r, 9),
                          .max_schema_version = obv_rows_i64(r, 10)};
    return OBV_OK;
}

obv_code obv_set_task_each(obv_state *s, int64_t set_id, obv_set_task_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT DISTINCT tenant_id, task_id, agent_id FROM pgs WHERE set_id = ? AND state = 2"
                         " ORDER BY tenant_id, task_id",
                         obv_db_i(set_id)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        OBV_TRY(fn(ctx, obv_rows_u64(r, 0), obv_rows_u64(r, 1), obv_rows_text(r, 2), err));
    }
    return OBV_OK;
}
