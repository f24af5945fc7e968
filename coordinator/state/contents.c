#include "state/sets.h"

#include <string.h>

/* ids are kept as they lie in memory: the database does not leave its host */
#define BYTES_MAX (OBV_PG_CONTENTS_MAX * sizeof(uint64_t))

obv_code obv_pg_contents_save(obv_state *s, const obv_pg_copy *p, const uint64_t *ids, size_t n, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pgs SET contents = ? WHERE set_id = ? AND tenant_id = ? AND table_id = ? AND"
                       " partition_id = ? AND pass = ?",
                       obv_db_b(obv_span_of(ids, n * sizeof *ids)), obv_db_i(p->set_id), obv_db_u(p->tenant_id),
                       obv_db_u(p->key.table_id), obv_db_i(obv_pg_key_partition_id(&p->key)), obv_db_i(p->pass)));
    return obv_state_commit(&tx, err);
}

obv_code obv_pg_contents_each(obv_state *s, int64_t set_id, uint64_t tenant, obv_pg_contents_fn *fn, void *ctx,
                              obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_AUTO(obv_freep) uint64_t *ids = malloc(BYTES_MAX);
    if (!ids)
        return obv_fail(err, OBV_E_NOMEM, 0, "contents");
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT table_id, part_id, assist, pass, task_id, agent_id, contents FROM pgs WHERE set_id = ?"
                         " AND tenant_id = ? AND state = 2 ORDER BY table_id, partition_id",
                         obv_db_i(set_id), obv_db_u(tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_pg_copy p = {.set_id = set_id,
                         .tenant_id = tenant,
                         .key = {obv_rows_u64(r, 0), (int32_t)obv_rows_i64(r, 1), (int32_t)obv_rows_i64(r, 2)},
                         .pass = (uint32_t)obv_rows_i64(r, 3),
                         .state = OBV_PG_FINISH,
                         .task_id = obv_rows_i64(r, 4)};
        obv_rows_copy(r, 5, p.agent_id, sizeof p.agent_id);
        const obv_span blob = obv_rows_blob(r, 6);
        if (blob.len > BYTES_MAX)
            return obv_fail(err, OBV_E_CORRUPT, 0, "contents of %zu bytes", blob.len);
        if (blob.len)
            memcpy(ids, blob.p, blob.len);
        OBV_TRY(fn(ctx, &p, ids, blob.len / sizeof *ids, err));
    }
    return OBV_OK;
}

obv_code obv_set_content_clear(obv_state *s, int64_t set_id, uint64_t tenant, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "DELETE FROM set_contents WHERE set_id = ? AND tenant_id = ?",
                       obv_db_i(set_id), obv_db_u(tenant)));
    return obv_state_commit(&tx, err);
}

obv_code obv_set_content_add(obv_state *s, int64_t set_id, uint64_t tenant, uint64_t owner, uint64_t id, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "INSERT OR IGNORE INTO set_contents VALUES (?, ?, ?, ?)", obv_db_i(set_id),
                       obv_db_u(tenant), obv_db_u(owner), obv_db_u(id)));
    return obv_state_commit(&tx, err);
}

obv_code obv_set_content_each(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_content_fn *fn, void *ctx,
                              obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT owner, id FROM set_contents WHERE set_id = ? AND tenant_id = ? ORDER BY owner, id",
                         obv_db_i(set_id), obv_db_u(tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        OBV_TRY(fn(ctx, obv_rows_u64(r, 0), obv_rows_u64(r, 1), err));
    }
    return OBV_OK;
}
