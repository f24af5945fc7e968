#include "state/tasks.h"

#include "base/sha256.h"

#include <stdio.h>

#define COLUMNS                                                                                                        \
    "t.job_id, t.name, t.after, t.uid, t.kind, t.agent_id, t.epoch, t.status, t.deadline_s, t.attempts, t.not_before," \
    " t.set_id, t.tenant_id, t.task_id, t.pass, t.schema_version, t.bytes_read, t.bytes_written, t.blocks_done,"       \
    " t.blocks_total, t.code, t.sys, t.message, t.hint FROM tasks t "

static void read_task(const obv_rows *r, obv_task *t)
{
    *t = (obv_task){.kind = (obv_task_kind)obv_rows_i64(r, 4),
                    .epoch = obv_rows_u64(r, 6),
                    .status = (obv_task_status)obv_rows_i64(r, 7),
                    .deadline_s = (uint32_t)obv_rows_i64(r, 8),
                    .attempts = (uint32_t)obv_rows_i64(r, 9),
                    .not_before = obv_rows_i64(r, 10),
                    .set_id = obv_rows_i64(r, 11),
                    .tenant_id = obv_rows_u64(r, 12),
                    .task_id = obv_rows_u64(r, 13),
                    .pass = (uint32_t)obv_rows_i64(r, 14),
                    .schema_version = obv_rows_i64(r, 15),
                    .bytes_read = obv_rows_u64(r, 16),
                    .bytes_written = obv_rows_u64(r, 17),
                    .blocks_done = obv_rows_u64(r, 18),
                    .blocks_total = obv_rows_u64(r, 19)};
    obv_rows_copy(r, 0, t->job_id, sizeof t->job_id);
    obv_rows_copy(r, 1, t->name, sizeof t->name);
    obv_rows_copy(r, 2, t->after, sizeof t->after);
    obv_rows_copy(r, 3, t->uid, sizeof t->uid);
    obv_rows_copy(r, 5, t->agent_id, sizeof t->agent_id);
    t->error.code = (obv_code)obv_rows_i64(r, 20);
    t->error.sys = (int32_t)obv_rows_i64(r, 21);
    obv_rows_copy(r, 22, t->error.msg, sizeof t->error.msg);
    obv_rows_copy(r, 23, t->error.hint, sizeof t->error.hint);
}

static obv_code name_attempt(obv_state *s, obv_task *t, obv_err *err)
{
    int64_t epoch = 0;
    OBV_TRY(obv_state_next(s, "epoch", &epoch, err));
    t->epoch = (uint64_t)epoch;
    (void)snprintf(t->uid, sizeof t->uid, "%.31s/%.47s#%llu", t->job_id, t->name, (unsigned long long)t->epoch);
    return OBV_OK;
}

obv_code obv_task_add(obv_state *s, obv_task *t, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(name_attempt(s, t, err));
    t->status = t->agent_id[0] ? OBV_TASK_SENT : OBV_TASK_QUEUED;
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT INTO tasks (job_id, name, after, uid, kind, agent_id, epoch, status, deadline_s,"
                       " not_before, set_id, tenant_id, task_id, pass, schema_version)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_s(t->job_id), obv_db_s(t->name), obv_db_s(t->after), obv_db_s(t->uid), obv_db_i(t->kind),
                       obv_db_s(t->agent_id), obv_db_u(t->epoch), obv_db_i(t->status), obv_db_i(t->deadline_s),
                       obv_db_i(t->not_before), obv_db_i(t->set_id), obv_db_u(t->tenant_id), obv_db_u(t->task_id),
                       obv_db_i(t->pass), obv_db_i(t->schema_version)));
    return obv_state_commit(&tx, err);
}

static obv_code one(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_task *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    OBV_TRY(obv_rows_next(r, err));
    read_task(r, out);
    return OBV_OK;
}

obv_code obv_task_get(obv_state *s, const char *job_id, const char *name, obv_task *out, obv_err *err)
{
    return one(s, "SELECT " COLUMNS "WHERE t.job_id = ? AND t.name = ?", OBV_DB_ARGS(obv_db_s(job_id), obv_db_s(name)),
               out, err);
}

obv_code obv_task_by_uid(obv_state *s, const char *uid, obv_task *out, obv_err *err)
{
    return one(s, "SELECT " COLUMNS "WHERE t.uid = ?", OBV_DB_ARGS(obv_db_s(uid)), out, err);
}

obv_code obv_task_save(obv_state *s, const obv_task *t, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(
        obv_state_db(s), err,
        "UPDATE tasks SET uid = ?, agent_id = ?, epoch = ?, status = ?, attempts = ?, not_before = ?, bytes_read = ?,"
        " bytes_written = ?, blocks_done = ?, blocks_total = ?, code = ?, sys = ?, message = ?, hint = ?"
        " WHERE job_id = ? AND name = ?",
        obv_db_s(t->uid), obv_db_s(t->agent_id), obv_db_u(t->epoch), obv_db_i(t->status), obv_db_i(t->attempts),
        obv_db_i(t->not_before), obv_db_u(t->bytes_read), obv_db_u(t->bytes_written), obv_db_u(t->blocks_done),
        obv_db_u(t->blocks_total), obv_db_i(t->error.code), obv_db_i(t->error.sys), obv_db_s(t->error.msg),
        obv_db_s(t->error.hint), obv_db_s(t->job_id), obv_db_s(t->name)));
    return obv_state_commit(&tx, err);
}

obv_code obv_task_again(obv_state *s, obv_task *t, int64_t not_before, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(name_attempt(s, t, err));
    if (t->kind != OBV_TASK_BATCH && t->kind != OBV_TASK_FINISH_METAS) /* those need their agent's journal */
        t->agent_id[0] = 0;
    t->status = t->agent_id[0] ? OBV_TASK_SENT : OBV_TASK_QUEUED;
    t->attempts++;
    t->not_before = not_before;
    OBV_TRY(obv_task_save(s, t, err));
    return obv_state_commit(&tx, err);
}

obv_code obv_task_remove(obv_state *s, const char *job_id, const char *name, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "DELETE FROM put_files WHERE job_id = ? AND name = ?", obv_db_s(job_id),
                       obv_db_s(name)));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "DELETE FROM tasks WHERE job_id = ? AND name = ?", obv_db_s(job_id),
                       obv_db_s(name)));
    return obv_state_commit(&tx, err);
}

static obv_code each(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_task_fn *fn, void *ctx,
                     obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_task t;
        read_task(r, &t);
        OBV_TRY(fn(ctx, &t, err));
    }
    return OBV_OK;
}

obv_code obv_task_each(obv_state *s, const char *job_id, const char *prefix, obv_task_fn *fn, void *ctx, obv_err *err)
{
    return each(s, "SELECT " COLUMNS "WHERE t.job_id = ?1 AND substr(t.name, 1, length(?2)) = ?2 ORDER BY t.rowid",
                OBV_DB_ARGS(obv_db_s(job_id), obv_db_s(prefix)), fn, ctx, err);
}

obv_code obv_task_of_agent(obv_state *s, const char *agent_id, obv_task_fn *fn, void *ctx, obv_err *err)
{
    return each(s, "SELECT " COLUMNS "WHERE t.agent_id = ? AND t.status = 1 ORDER BY t.rowid",
                OBV_DB_ARGS(obv_db_s(agent_id)), fn, ctx, err);
}

obv_code obv_task_claimable(obv_state *s, int64_t now, uint32_t limit, obv_task_fn *fn, void *ctx, obv_err *err)
{
    return each(s,
                "SELECT " COLUMNS "WHERE t.status = 0 AND t.agent_id = '' AND t.not_before <= ? AND"
                " (t.after = '' OR EXISTS (SELECT 1 FROM tasks p WHERE p.job_id = t.job_id AND p.name = t.after AND"
                " p.status = 2)) ORDER BY t.rowid LIMIT ?",
                OBV_DB_ARGS(obv_db_i(now), obv_db_i(limit)), fn, ctx, err);
}

obv_code obv_task_batches_of(obv_state *s, const char *agent_id, int64_t *out, obv_err *err)
{
    OBV_STATE_READ(s);
    return obv_db_i64(obv_state_db(s), err, out,
                      "SELECT count(*) FROM tasks WHERE agent_id = ? AND status = 1 AND kind = 1", obv_db_s(agent_id));
}

/* ---- files */

obv_code obv_put_file_add(obv_state *s, const char *job_id, const char *name, uint32_t idx, const char *path,
                          bool if_absent, obv_span content, obv_err *err)
{
    uint8_t digest[32];
    OBV_TRY(obv_sha256_of(content, digest, err));
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "INSERT INTO put_files VALUES (?, ?, ?, ?, ?, ?, ?)", obv_db_s(job_id),
                       obv_db_s(name), obv_db_i(idx), obv_db_s(path), obv_db_i(if_absent), obv_db_b(content),
                       obv_db_b(obv_span_of(digest, sizeof digest))));
    return obv_state_commit(&tx, err);
}

obv_code obv_put_file_each(obv_state *s, const char *job_id, const char *name, obv_put_file_fn *fn, void *ctx,
                           obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT path, if_absent, content, sha256 FROM put_files WHERE job_id = ? AND name = ?"
                         " ORDER BY idx",
                         obv_db_s(job_id), obv_db_s(name)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_put_file f = {.if_absent = obv_rows_i64(r, 1) != 0, .content = obv_rows_blob(r, 2)};
        obv_rows_copy(r, 0, f.path, sizeof f.path);
        f.size = f.content.len;
        const obv_span d = obv_rows_blob(r, 3);
        memcpy(f.sha256, d.p, d.len < sizeof f.sha256 ? d.len : sizeof f.sha256);
        OBV_TRY(fn(ctx, &f, err));
    }
    return OBV_OK;
}

obv_code obv_put_file_chunk(obv_state *s, const char *job_id, const char *name, uint32_t idx, uint64_t offset,
                            size_t max, obv_buf *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT substr(content, ?, ?) FROM put_files WHERE job_id = ? AND name = ? AND idx = ?",
                         obv_db_u(offset + 1), obv_db_u(max), obv_db_s(job_id), obv_db_s(name), obv_db_i(idx)));
    OBV_TRY(obv_rows_next(r, err));
    const obv_span chunk = obv_rows_blob(r, 0);
    obv_buf_append(out, chunk.p, chunk.len);
    return obv_buf_check(out, "chunk", err);
}
