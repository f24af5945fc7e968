#include "state/sets.h"

#define COLUMNS                                                                                                        \
    "set_id, tenant_id, table_id, part_id, assist, pass, state, task_uid, task_id, agent_id, retries, not_before,"     \
    " code, sys, message, blocks, blocks_stored, bytes_read, bytes_written, partitions, last_submit_ts,"               \
    " last_replay_log_id, publish_version, lower_bound, schema_version, meta_offset, meta_length, hint FROM pgs "

static void read_pg(const obv_rows *r, obv_pg_copy *p)
{
    *p = (obv_pg_copy){
        .set_id = obv_rows_i64(r, 0),
        .tenant_id = obv_rows_u64(r, 1),
        .key = {obv_rows_u64(r, 2), (int32_t)obv_rows_i64(r, 3), (int32_t)obv_rows_i64(r, 4)},
        .pass = (uint32_t)obv_rows_i64(r, 5),
        .state = (int)obv_rows_i64(r, 6),
        .task_id = obv_rows_i64(r, 8),
        .retries = (uint32_t)obv_rows_i64(r, 10),
        .not_before = obv_rows_i64(r, 11),
        .error = {.code = (obv_code)obv_rows_i64(r, 12), .sys = (int32_t)obv_rows_i64(r, 13)},
        .blocks = obv_rows_u64(r, 15),
        .blocks_stored = obv_rows_u64(r, 16),
        .bytes_read = obv_rows_u64(r, 17),
        .bytes_written = obv_rows_u64(r, 18),
        .partitions = (uint32_t)obv_rows_i64(r, 19),
        .last_submit_ts = obv_rows_i64(r, 20),
        .last_replay_log_id = obv_rows_u64(r, 21),
        .publish_version = obv_rows_i64(r, 22),
        .lower_bound = obv_rows_i64(r, 23),
        .schema_version = obv_rows_i64(r, 24),
        .meta_offset = obv_rows_i64(r, 25),
        .meta_length = obv_rows_i64(r, 26),
    };
    obv_rows_copy(r, 7, p->task_uid, sizeof p->task_uid);
    obv_rows_copy(r, 9, p->agent_id, sizeof p->agent_id);
    obv_rows_copy(r, 14, p->error.msg, sizeof p->error.msg);
    obv_rows_copy(r, 27, p->error.hint, sizeof p->error.hint);
}

obv_code obv_pg_copy_add(obv_state *s, int64_t set_id, uint64_t tenant, const obv_pg_key *keys, size_t n, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    for (size_t i = 0; i < n; i++)
        OBV_TRY(obv_db_run(obv_state_db(s), err,
                           "INSERT OR IGNORE INTO pgs (set_id, tenant_id, table_id, partition_id, pass, part_id,"
                           " assist, state) VALUES (?, ?, ?, ?, 0, ?, ?, 0)",
                           obv_db_i(set_id), obv_db_u(tenant), obv_db_u(keys[i].table_id),
                           obv_db_i(obv_pg_key_partition_id(&keys[i])), obv_db_i(keys[i].part_id),
                           obv_db_i(keys[i].assist)));
    return obv_state_commit(&tx, err);
}

obv_code obv_pg_copy_get(obv_state *s, int64_t set_id, const obv_pg_key *key, uint32_t pass, obv_pg_copy *out,
                         obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT " COLUMNS "WHERE set_id = ? AND tenant_id = ? AND table_id = ? AND partition_id = ?"
                         " AND pass = ?",
                         obv_db_i(set_id), obv_db_u(obv_pg_key_tenant(key)), obv_db_u(key->table_id),
                         obv_db_i(obv_pg_key_partition_id(key)), obv_db_i(pass)));
    OBV_TRY(obv_rows_next(r, err));
    read_pg(r, out);
    return OBV_OK;
}

obv_code obv_pg_copy_save(obv_state *s, const obv_pg_copy *p, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(
        obv_state_db(s), err,
        "UPDATE pgs SET state = ?, task_uid = ?, task_id = ?, agent_id = ?, retries = ?, not_before = ?, code = ?,"
        " sys = ?, message = ?, hint = ?, blocks = ?, blocks_stored = ?, bytes_read = ?, bytes_written = ?, partitions "
        "= ?,"
        " last_submit_ts = ?, last_replay_log_id = ?, publish_version = ?, lower_bound = ?, schema_version = ?,"
        " meta_offset = ?, meta_length = ? WHERE set_id = ? AND tenant_id = ? AND table_id = ? AND partition_id = ?"
        " AND pass = ?",
        obv_db_i(p->state), obv_db_s(p->task_uid), obv_db_i(p->task_id), obv_db_s(p->agent_id), obv_db_i(p->retries),
        obv_db_i(p->not_before), obv_db_i(p->error.code), obv_db_i(p->error.sys), obv_db_s(p->error.msg),
        obv_db_s(p->error.hint), obv_db_u(p->blocks), obv_db_u(p->blocks_stored), obv_db_u(p->bytes_read),
        obv_db_u(p->bytes_written), obv_db_i(p->partitions), obv_db_i(p->last_submit_ts),
        obv_db_u(p->last_replay_log_id), obv_db_i(p->publish_version), obv_db_i(p->lower_bound),
        obv_db_i(p->schema_version), obv_db_i(p->meta_offset), obv_db_i(p->meta_length), obv_db_i(p->set_id),
        obv_db_u(p->tenant_id), obv_db_u(p->key.table_id), obv_db_i(obv_pg_key_partition_id(&p->key)),
        obv_db_i(p->pass)));
    return obv_state_commit(&tx, err);
}

obv_code obv_pg_copy_next(obv_state *s, const obv_pg_copy *p, int64_t not_before, obv_err *err)
{
    obv_pg_copy old = *p;
    old.state = OBV_PG_REPLACED;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_pg_copy_save(s, &old, err));
    /* the agent of the last pass is remembered: another one may hold what was missing there */
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT INTO pgs (set_id, tenant_id, table_id, partition_id, pass, part_id, assist, state,"
                       " agent_id, retries, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
                       obv_db_i(p->set_id), obv_db_u(p->tenant_id), obv_db_u(p->key.table_id),
                       obv_db_i(obv_pg_key_partition_id(&p->key)), obv_db_i(p->pass + 1), obv_db_i(p->key.part_id),
                       obv_db_i(p->key.assist), obv_db_s(p->agent_id), obv_db_i(p->agent_id[0] ? 1 : 0),
                       obv_db_i(not_before)));
    return obv_state_commit(&tx, err);
}

static obv_code each(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_pg_copy_fn *fn, void *ctx,
                     obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_pg_copy p;
        read_pg(r, &p);
        OBV_TRY(fn(ctx, &p, err));
    }
    return OBV_OK;
}

obv_code obv_pg_copy_each(obv_state *s, int64_t set_id, uint64_t tenant, int state, uint32_t limit, obv_pg_copy_fn *fn,
                          void *ctx, obv_err *err)
{
    return each(s,
                "SELECT " COLUMNS "WHERE set_id = ?1 AND (?2 = 0 OR tenant_id = ?2) AND (?3 < 0 OR state = ?3)"
                " ORDER BY tenant_id, table_id, partition_id, pass LIMIT ?4",
                OBV_DB_ARGS(obv_db_i(set_id), obv_db_u(tenant), obv_db_i(state), obv_db_i(limit)), fn, ctx, err);
}

obv_code obv_pg_copy_of_task(obv_state *s, const char *uid, obv_pg_copy_fn *fn, void *ctx, obv_err *err)
{
    return each(s, "SELECT " COLUMNS "WHERE task_uid = ? ORDER BY table_id, partition_id", OBV_DB_ARGS(obv_db_s(uid)),
                fn, ctx, err);
}

obv_code obv_pg_copy_due(obv_state *s, int64_t set_id, int64_t now, uint32_t limit, obv_pg_copy_fn *fn, void *ctx,
                         obv_err *err)
{
    return each(s,
                "SELECT " COLUMNS "WHERE set_id = ? AND state = 0 AND not_before <= ?"
                " ORDER BY tenant_id, table_id, partition_id LIMIT ?",
                OBV_DB_ARGS(obv_db_i(set_id), obv_db_i(now), obv_db_i(limit)), fn, ctx, err);
}

obv_code obv_pg_copy_count(obv_state *s, int64_t set_id, int state, int64_t *out, obv_err *err)
{
    OBV_STATE_READ(s);
    return obv_db_i64(obv_state_db(s), err, out, "SELECT count(*) FROM pgs WHERE set_id = ? AND state = ?",
                      obv_db_i(set_id), obv_db_i(state));
}

obv_code obv_pg_object_add(obv_state *s, const obv_pg_copy *p, const char *path, uint64_t size, obv_span sha256,
                           obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "INSERT OR REPLACE INTO pg_objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_i(p->set_id), obv_db_u(p->tenant_id), obv_db_s(path), obv_db_u(p->key.table_id),
                       obv_db_i(obv_pg_key_partition_id(&p->key)), obv_db_i(p->pass), obv_db_u(size),
                       obv_db_b(sha256)));
    return obv_state_commit(&tx, err);
}
