#include "state/rounds.h"

#include <stdio.h>

const char *obv_round_status_name(obv_round_status s)
{
    static const char *const NAMES[] = {"NONE", "STOP", "BEGINNING", "DOING", "STOPPING", "INTERRUPTED"};
    return (size_t)s < sizeof NAMES / sizeof *NAMES ? NAMES[s] : "NONE";
}

#define ROUND_COLUMNS                                                                                                  \
    "round, job_id, status, start_ts, checkpoint_ts, pending_ts, max_ts, stop, sys_schema_version, start_piece,"       \
    " piece, piece_date, piece_at, switch_s FROM rounds "

static void read_round(const obv_rows *r, obv_round *x)
{
    *x = (obv_round){.round = obv_rows_i64(r, 0),
                     .status = (obv_round_status)obv_rows_i64(r, 2),
                     .start_ts = obv_rows_i64(r, 3),
                     .checkpoint_ts = obv_rows_i64(r, 4),
                     .pending_ts = obv_rows_i64(r, 5),
                     .max_ts = obv_rows_i64(r, 6),
                     .stop = obv_rows_i64(r, 7) != 0,
                     .sys_schema_version = obv_rows_i64(r, 8),
                     .start_piece = obv_rows_i64(r, 9),
                     .piece = obv_rows_i64(r, 10),
                     .piece_date = obv_rows_i64(r, 11),
                     .piece_at = obv_rows_i64(r, 12),
                     .switch_s = (uint32_t)obv_rows_i64(r, 13)};
    obv_rows_copy(r, 1, x->job_id, sizeof x->job_id);
}

obv_code obv_round_save(obv_state *s, const obv_round *x, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_i(x->round), obv_db_s(x->job_id), obv_db_i(x->status), obv_db_i(x->start_ts),
                       obv_db_i(x->checkpoint_ts), obv_db_i(x->pending_ts), obv_db_i(x->max_ts), obv_db_i(x->stop),
                       obv_db_i(x->sys_schema_version), obv_db_i(x->start_piece), obv_db_i(x->piece),
                       obv_db_i(x->piece_date), obv_db_i(x->piece_at), obv_db_i(x->switch_s)));
    return obv_state_commit(&tx, err);
}

static obv_code one_round(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_round *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    OBV_TRY(obv_rows_next(r, err));
    read_round(r, out);
    return OBV_OK;
}

obv_code obv_round_get(obv_state *s, int64_t round, obv_round *out, obv_err *err)
{
    return one_round(s, "SELECT " ROUND_COLUMNS "WHERE round = ?", OBV_DB_ARGS(obv_db_i(round)), out, err);
}

obv_code obv_round_last(obv_state *s, obv_round *out, obv_err *err)
{
    return one_round(s, "SELECT " ROUND_COLUMNS "ORDER BY round DESC LIMIT 1", NULL, 0, out, err);
}

obv_code obv_round_each(obv_state *s, obv_round_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), "SELECT " ROUND_COLUMNS "ORDER BY round", NULL, 0, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_round x;
        read_round(r, &x);
        OBV_TRY(fn(ctx, &x, err));
    }
    return OBV_OK;
}

/* ---- tenants */

#define TENANT_COLUMNS                                                                                                 \
    "round, tenant_id, name, status, start_ts, checkpoint_ts, pending_ts, schema_version, code, message,"              \
    " start_piece, interrupted_at, gone_at, hint FROM round_tenants "

static void read_tenant(const obv_rows *r, obv_round_tenant *t)
{
    *t = (obv_round_tenant){.round = obv_rows_i64(r, 0),
                            .tenant_id = obv_rows_u64(r, 1),
                            .status = (obv_round_status)obv_rows_i64(r, 3),
                            .start_ts = obv_rows_i64(r, 4),
                            .checkpoint_ts = obv_rows_i64(r, 5),
                            .pending_ts = obv_rows_i64(r, 6),
                            .schema_version = obv_rows_i64(r, 7),
                            .error = {.code = (obv_code)obv_rows_i64(r, 8)},
                            .start_piece = obv_rows_i64(r, 10),
                            .interrupted_at = obv_rows_i64(r, 11),
                            .gone_at = obv_rows_i64(r, 12)};
    obv_rows_copy(r, 2, t->name, sizeof t->name);
    obv_rows_copy(r, 9, t->error.msg, sizeof t->error.msg);
    obv_rows_copy(r, 13, t->error.hint, sizeof t->error.hint);
}

obv_code obv_round_tenant_save(obv_state *s, const obv_round_tenant *t, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(
        obv_state_db(s), err, "INSERT OR REPLACE INTO round_tenants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        obv_db_i(t->round), obv_db_u(t->tenant_id), obv_db_s(t->name), obv_db_i(t->status), obv_db_i(t->start_ts),
        obv_db_i(t->checkpoint_ts), obv_db_i(t->pending_ts), obv_db_i(t->schema_version), obv_db_i(t->error.code),
        obv_db_s(t->error.msg), obv_db_i(t->start_piece), obv_db_i(t->interrupted_at), obv_db_i(t->gone_at),
        obv_db_s(t->error.hint)));
    return obv_state_commit(&tx, err);
}

obv_code obv_round_tenant_get(obv_state *s, int64_t round, uint64_t tenant, obv_round_tenant *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r, "SELECT " TENANT_COLUMNS "WHERE round = ? AND tenant_id = ?",
                         obv_db_i(round), obv_db_u(tenant)));
    OBV_TRY(obv_rows_next(r, err));
    read_tenant(r, out);
    return OBV_OK;
}

obv_code obv_round_tenant_each(obv_state *s, int64_t round, obv_round_tenant_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT " TENANT_COLUMNS "WHERE ?1 = 0 OR round = ?1 ORDER BY tenant_id, round",
                         obv_db_i(round)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_round_tenant t;
        read_tenant(r, &t);
        OBV_TRY(fn(ctx, &t, err));
    }
    return OBV_OK;
}

/* ---- PGs */

#define PG_COLUMNS                                                                                                     \
    "round, table_id, part_id, assist, agent_id, epoch, from_log_one, dropped_at, moved_at FROM archive_pgs "

static obv_code each_pg(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_archive_pg_fn *fn,
                        void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_archive_pg p = {.round = obv_rows_i64(r, 0),
                            .key = {obv_rows_u64(r, 1), (int32_t)obv_rows_i64(r, 2), (int32_t)obv_rows_i64(r, 3)},
                            .epoch = obv_rows_u64(r, 5),
                            .from_log_one = obv_rows_i64(r, 6) != 0,
                            .dropped_at = obv_rows_i64(r, 7),
                            .moved_at = obv_rows_i64(r, 8)};
        obv_rows_copy(r, 4, p.agent_id, sizeof p.agent_id);
        OBV_TRY(fn(ctx, &p, err));
    }
    return OBV_OK;
}

obv_code obv_archive_pg_save(obv_state *s, const obv_archive_pg *p, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT OR REPLACE INTO archive_pgs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_i(p->round), obv_db_u(obv_pg_key_tenant(&p->key)), obv_db_u(p->key.table_id),
                       obv_db_i(obv_pg_key_partition_id(&p->key)), obv_db_i(p->key.part_id), obv_db_i(p->key.assist),
                       obv_db_s(p->agent_id), obv_db_u(p->epoch), obv_db_i(p->from_log_one), obv_db_i(p->dropped_at),
                       obv_db_i(p->moved_at)));
    return obv_state_commit(&tx, err);
}

obv_code obv_archive_pg_remove(obv_state *s, const obv_archive_pg *p, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "DELETE FROM archive_pgs WHERE round = ? AND tenant_id = ? AND table_id = ? AND"
                       " partition_id = ?",
                       obv_db_i(p->round), obv_db_u(obv_pg_key_tenant(&p->key)), obv_db_u(p->key.table_id),
                       obv_db_i(obv_pg_key_partition_id(&p->key))));
    return obv_state_commit(&tx, err);
}

obv_code obv_archive_pg_remove_tenant(obv_state *s, int64_t round, uint64_t tenant, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "DELETE FROM archive_pgs WHERE round = ? AND tenant_id = ?",
                       obv_db_i(round), obv_db_u(tenant)));
    return obv_state_commit(&tx, err);
}

obv_code obv_archive_pg_each(obv_state *s, int64_t round, uint64_t tenant, obv_archive_pg_fn *fn, void *ctx,
                             obv_err *err)
{
    return each_pg(s,
                   "SELECT " PG_COLUMNS "WHERE round = ?1 AND (?2 = 0 OR tenant_id = ?2)"
                   " ORDER BY tenant_id, table_id, partition_id",
                   OBV_DB_ARGS(obv_db_i(round), obv_db_u(tenant)), fn, ctx, err);
}

obv_code obv_archive_pg_page(obv_state *s, int64_t round, const char *agent_id, uint32_t first, uint32_t limit,
                             obv_archive_pg_fn *fn, void *ctx, obv_err *err)
{
    return each_pg(s,
                   "SELECT " PG_COLUMNS "WHERE round = ? AND agent_id = ? ORDER BY tenant_id, table_id, partition_id"
                   " LIMIT ? OFFSET ?",
                   OBV_DB_ARGS(obv_db_i(round), obv_db_s(agent_id), obv_db_i(limit), obv_db_i(first)), fn, ctx, err);
}

obv_code obv_archive_pg_count(obv_state *s, int64_t round, const char *agent_id, uint64_t tenant, int64_t *out,
                              obv_err *err)
{
    OBV_STATE_READ(s);
    return obv_db_i64(obv_state_db(s), err, out,
                      "SELECT count(*) FROM archive_pgs WHERE round = ?1 AND agent_id = ?2 AND (?3 = 0 OR"
                      " tenant_id = ?3)",
                      obv_db_i(round), obv_db_s(agent_id), obv_db_u(tenant));
}

obv_code obv_archive_pg_agents(obv_state *s, int64_t round, uint64_t tenant, obv_archive_agent_fn *fn, void *ctx,
                               obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT agent_id, count(*) FROM archive_pgs WHERE round = ? AND tenant_id = ?"
                         " GROUP BY agent_id ORDER BY agent_id",
                         obv_db_i(round), obv_db_u(tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        OBV_TRY(fn(ctx, obv_rows_text(r, 0), obv_rows_i64(r, 1), err));
    }
    return OBV_OK;
}

obv_code obv_archive_pg_renew(obv_state *s, int64_t round, const char *agent_id, obv_err *err)
{
    int64_t epoch = 0;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_state_next(s, "epoch", &epoch, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE archive_pgs SET epoch = ? WHERE round = ? AND agent_id = ?",
                       obv_db_i(epoch), obv_db_i(round), obv_db_s(agent_id)));
    return obv_state_commit(&tx, err);
}

/* ---- restores */

obv_code obv_restore_save(obv_state *s, const obv_restore *r, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(
        obv_state_db(s), err,
        "INSERT OR REPLACE INTO restores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        obv_db_s(r->job_id), obv_db_i(r->external_id), obv_db_s(r->target), obv_db_u(r->tenant_id), obv_db_s(r->tenant),
        obv_db_s(r->new_tenant), obv_db_i(r->until_us), obv_db_s(r->pools), obv_db_s(r->locality),
        obv_db_s(r->primary_zone), obv_db_i(r->set_id), obv_db_i(r->round), obv_db_s(r->status), obv_db_i(r->pgs),
        obv_db_i(r->pgs_done), obv_db_i(r->blocks), obv_db_i(r->blocks_done), obv_db_i(r->issued_at),
        obv_db_i(r->last_job_id), obv_db_s(r->info)));
    return obv_state_commit(&tx, err);
}

obv_code obv_restore_get(obv_state *s, const char *job_id, obv_restore *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT external_id, target, tenant_id, tenant, new_tenant, until_us, pools, locality,"
                         " primary_zone, set_id, round, status, pgs, pgs_done, blocks, blocks_done, issued_at,"
                         " last_job_id, info FROM restores WHERE job_id = ?",
                         obv_db_s(job_id)));
    OBV_TRY(obv_rows_next(r, err));
    *out = (obv_restore){.external_id = obv_rows_i64(r, 0),
                         .tenant_id = obv_rows_u64(r, 2),
                         .until_us = obv_rows_i64(r, 5),
                         .set_id = obv_rows_i64(r, 9),
                         .round = obv_rows_i64(r, 10),
                         .pgs = obv_rows_i64(r, 12),
                         .pgs_done = obv_rows_i64(r, 13),
                         .blocks = obv_rows_i64(r, 14),
                         .blocks_done = obv_rows_i64(r, 15),
                         .issued_at = obv_rows_i64(r, 16),
                         .last_job_id = obv_rows_i64(r, 17)};
    (void)snprintf(out->job_id, sizeof out->job_id, "%s", job_id);
    obv_rows_copy(r, 1, out->target, sizeof out->target);
    obv_rows_copy(r, 3, out->tenant, sizeof out->tenant);
    obv_rows_copy(r, 4, out->new_tenant, sizeof out->new_tenant);
    obv_rows_copy(r, 6, out->pools, sizeof out->pools);
    obv_rows_copy(r, 7, out->locality, sizeof out->locality);
    obv_rows_copy(r, 8, out->primary_zone, sizeof out->primary_zone);
    obv_rows_copy(r, 11, out->status, sizeof out->status);
    obv_rows_copy(r, 18, out->info, sizeof out->info);
    return OBV_OK;
}
