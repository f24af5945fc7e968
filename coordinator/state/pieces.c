#include "state/rounds.h"

static obv_piece read_piece(const obv_rows *r, uint64_t tenant)
{
    return (obv_piece){.round = obv_rows_i64(r, 0),
                       .piece = obv_rows_i64(r, 1),
                       .start_piece = obv_rows_i64(r, 2),
                       .tenant_id = tenant,
                       .date = obv_rows_i64(r, 3),
                       .state = (obv_piece_state)obv_rows_i64(r, 4),
                       .start_ts = obv_rows_i64(r, 5),
                       .checkpoint_ts = obv_rows_i64(r, 6),
                       .pending_ts = obv_rows_i64(r, 7),
                       .max_ts = obv_rows_i64(r, 8)};
}

/*
 * A round without pieces is one piece, number 0, FROZEN once it is over. The newest piece of a tenant has the tenant's
 * checkpoint, earlier ones keep what they had when they were left.
 */
#define OF_TENANT                                                                                                      \
    "SELECT t.round, coalesce(p.piece, 0), coalesce(p.start_piece, 0), coalesce(p.date, 0),"                           \
    " CASE WHEN p.piece IS NOT NULL THEN p.status WHEN t.status = 1 THEN 2 ELSE 0 END,"                                \
    " CASE WHEN p.piece IS NULL THEN t.start_ts ELSE p.start_ts END,"                                                  \
    " CASE WHEN p.piece IS NULL OR (p.status = 0) THEN t.checkpoint_ts ELSE p.checkpoint_ts END,"                      \
    " CASE WHEN p.piece IS NULL OR (p.status = 0) THEN t.pending_ts ELSE 0 END,"                                       \
    " CASE WHEN p.piece IS NOT NULL AND p.status = 2 THEN p.max_ts"                                                    \
    "      WHEN p.piece IS NULL AND t.status = 1 THEN max(t.max_ts, t.checkpoint_ts, t.pending_ts)"                    \
    "      ELSE 9223372036854775807 END"

obv_code obv_piece_each(obv_state *s, uint64_t tenant, obv_piece_fn *fn, void *ctx, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    if (tenant == OBV_PIECE_CLUSTER)
        OBV_TRY(obv_db_query_args(obv_state_db(s),
                                  OF_TENANT " FROM rounds t LEFT JOIN pieces p ON p.round = t.round AND"
                                            " p.tenant_id = 1 ORDER BY t.round, p.piece",
                                  NULL, 0, &r, err));
    else
        OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                             OF_TENANT " FROM (SELECT rt.*, r.max_ts FROM round_tenants rt JOIN rounds r ON"
                                       " r.round = rt.round WHERE rt.tenant_id = ?1) t LEFT JOIN pieces p ON"
                                       " p.round = t.round AND p.tenant_id = ?1 ORDER BY t.round, p.piece",
                             obv_db_u(tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        const obv_piece p = read_piece(r, tenant);
        OBV_TRY(fn(ctx, &p, err));
    }
    return OBV_OK;
}

obv_code obv_piece_add(obv_state *s, const obv_round *r, uint64_t tenant, int64_t start_piece, int64_t start_ts,
                       obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT OR IGNORE INTO pieces (round, piece, tenant_id, start_piece, date, status, start_ts)"
                       " VALUES (?, ?, ?, ?, ?, 0, ?)",
                       obv_db_i(r->round), obv_db_i(r->piece), obv_db_u(tenant), obv_db_i(start_piece),
                       obv_db_i(r->piece_date), obv_db_i(start_ts)));
    return obv_state_commit(&tx, err);
}

obv_code obv_piece_start(obv_state *s, int64_t round, int64_t piece, uint64_t tenant, int64_t start_ts, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pieces SET start_ts = ? WHERE round = ? AND piece = ? AND tenant_id = ? AND status = 0",
                       obv_db_i(start_ts), obv_db_i(round), obv_db_i(piece), obv_db_u(tenant)));
    return obv_state_commit(&tx, err);
}

obv_code obv_piece_end_tenant(obv_state *s, int64_t round, uint64_t tenant, int64_t max_ts, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pieces SET start_ts = ?1 WHERE round = ?2 AND tenant_id = ?3 AND status = 0 AND start_ts"
                       " = 0",
                       obv_db_i(max_ts), obv_db_i(round), obv_db_u(tenant)));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pieces SET checkpoint_ts = CASE WHEN status = 1 THEN checkpoint_ts WHEN tenant_id = 1"
                       " THEN (SELECT checkpoint_ts FROM rounds r WHERE r.round = ?2) ELSE (SELECT checkpoint_ts FROM"
                       " round_tenants t WHERE t.round = ?2 AND t.tenant_id = ?3) END, max_ts = ?1, status = 2"
                       " WHERE round = ?2 AND tenant_id = ?3 AND status < 2",
                       obv_db_i(max_ts), obv_db_i(round), obv_db_u(tenant)));
    return obv_state_commit(&tx, err);
}

obv_code obv_piece_freezing(obv_state *s, const obv_round *r, uint64_t tenant, int64_t checkpoint_ts, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pieces SET status = 1, checkpoint_ts = ? WHERE round = ? AND tenant_id = ? AND"
                       " status = 0",
                       obv_db_i(checkpoint_ts), obv_db_i(r->round), obv_db_u(tenant)));
    return obv_state_commit(&tx, err);
}

obv_code obv_piece_frozen(obv_state *s, int64_t round, int64_t max_ts, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE pieces SET start_ts = ?1 WHERE round = ?2 AND status = 0 AND EXISTS (SELECT 1 FROM"
                       " pieces o WHERE o.round = ?2 AND o.tenant_id = pieces.tenant_id AND o.status = 1)",
                       obv_db_i(max_ts), obv_db_i(round)));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE pieces SET status = 2, max_ts = ? WHERE round = ? AND status = 1",
                       obv_db_i(max_ts), obv_db_i(round)));
    return obv_state_commit(&tx, err);
}

obv_code obv_piece_freezing_count(obv_state *s, int64_t round, int64_t *out, obv_err *err)
{
    OBV_STATE_READ(s);
    return obv_db_i64(obv_state_db(s), err, out, "SELECT count(*) FROM pieces WHERE round = ? AND status = 1",
                      obv_db_i(round));
}
