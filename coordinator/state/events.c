#include "state/state.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS "id, at, job_id, kind, level, tenant_id, text"

const char *obv_event_level_name(obv_event_level l)
{
    static const char *const NAMES[] = {"info", "warning", "error"};
    return (size_t)l < sizeof NAMES / sizeof *NAMES ? NAMES[l] : "info";
}

static obv_code add(obv_state *s, const obv_event *e, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT INTO events (at, job_id, kind, level, tenant_id, text) VALUES (?, ?, ?, ?, ?, ?)",
                       obv_db_i(e->at), obv_db_s(e->job_id), obv_db_s(e->kind), obv_db_i(e->level),
                       obv_db_u(e->tenant_id), obv_db_s(e->text)));
    return obv_state_commit(&tx, err);
}

static const char *kind_of(const char *job_id)
{
    static const struct {
        const char *prefix, *kind;
    } KINDS[] = {{"archive-", "round"}, {"backup-", "set"}, {"restore-", "restore"}};
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (strncmp(job_id, KINDS[i].prefix, strlen(KINDS[i].prefix)) == 0)
            return KINDS[i].kind;
    return "job";
}

obv_code obv_event_add(obv_state *s, const char *job_id, int64_t at, obv_err *err, const char *fmt, ...)
{
    obv_event e = {.at = at};
    va_list ap;
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", job_id);
    (void)snprintf(e.kind, sizeof e.kind, "%s", kind_of(job_id));
    va_start(ap, fmt);
    (void)vsnprintf(e.text, sizeof e.text, fmt, ap);
    va_end(ap);
    return add(s, &e, err);
}

obv_code obv_event_tell(obv_state *s, const obv_event *head, obv_err *err, const char *fmt, ...)
{
    obv_event e = *head;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e.text, sizeof e.text, fmt, ap);
    va_end(ap);
    return add(s, &e, err);
}

static obv_code each(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_event_fn *fn, void *ctx,
                     obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_event e = {.id = obv_rows_i64(r, 0),
                       .at = obv_rows_i64(r, 1),
                       .level = (obv_event_level)obv_rows_i64(r, 4),
                       .tenant_id = obv_rows_u64(r, 5)};
        obv_rows_copy(r, 2, e.job_id, sizeof e.job_id);
        obv_rows_copy(r, 3, e.kind, sizeof e.kind);
        obv_rows_copy(r, 6, e.text, sizeof e.text);
        OBV_TRY(fn(ctx, &e, err));
    }
    return OBV_OK;
}

obv_code obv_event_each(obv_state *s, const char *job_id, int64_t after, uint32_t limit, obv_event_fn *fn, void *ctx,
                        obv_err *err)
{
    return each(s, "SELECT " COLUMNS " FROM events WHERE job_id = ? AND id > ? ORDER BY id LIMIT ?",
                OBV_DB_ARGS(obv_db_s(job_id), obv_db_i(after), obv_db_i(limit)), fn, ctx, err);
}

obv_code obv_event_list(obv_state *s, int64_t since, int64_t after, const char *kind, uint32_t limit, obv_event_fn *fn,
                        void *ctx, obv_err *err)
{
    if (after > 0)
        return each(s,
                    "SELECT " COLUMNS " FROM events WHERE id > ?1 AND at >= ?2 AND (?3 = '' OR kind = ?3)"
                    " ORDER BY id LIMIT ?4",
                    OBV_DB_ARGS(obv_db_i(after), obv_db_i(since), obv_db_s(kind), obv_db_i(limit)), fn, ctx, err);
    return each(s,
                "SELECT * FROM (SELECT " COLUMNS " FROM events WHERE at >= ?1 AND (?2 = '' OR kind = ?2)"
                " ORDER BY id DESC LIMIT ?3) ORDER BY id",
                OBV_DB_ARGS(obv_db_i(since), obv_db_s(kind), obv_db_i(limit)), fn, ctx, err);
}

obv_code obv_event_last(obv_state *s, int64_t *id, obv_err *err)
{
    OBV_STATE_READ(s);
    return obv_db_i64(obv_state_db(s), err, id, "SELECT coalesce(max(id), 0) FROM events");
}

obv_code obv_state_trim(obv_state *s, int64_t now, int64_t keep_us, uint32_t keep_max, obv_err *err)
{
    obv_db *db = obv_state_db(s);
    const obv_db_arg oldest = obv_db_i(now - keep_us);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(db, err, "DELETE FROM events WHERE at < ?", oldest));
    OBV_TRY(obv_db_run(db, err,
                       "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?)",
                       obv_db_i(keep_max)));
    OBV_TRY(obv_db_run(
        db, err, "DELETE FROM tasks WHERE job_id IN (SELECT id FROM jobs WHERE status != 0 AND ended_at < ?)", oldest));
    OBV_TRY(obv_db_run(db, err,
                       "DELETE FROM restores WHERE job_id IN (SELECT id FROM jobs WHERE kind = 4 AND status != 0 AND"
                       " ended_at < ?)",
                       oldest));
    OBV_TRY(obv_db_run(db, err, "DELETE FROM jobs WHERE kind = 4 AND status != 0 AND ended_at < ?", oldest));
    OBV_TRY(obv_db_run(db, err,
                       "DELETE FROM archive_pgs WHERE round < (SELECT max(round) FROM rounds) AND round IN"
                       " (SELECT ref FROM jobs WHERE kind = 2 AND status != 0)"));
    return obv_state_commit(&tx, err);
}
