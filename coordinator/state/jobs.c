#include "state/state.h"

#include <stdio.h>

static const struct {
    obv_job_kind kind;
    const char *name;
} KINDS[] = {{OBV_JOB_REPO_INIT, "repo-init"},
             {OBV_JOB_ARCHIVE, "archive"},
             {OBV_JOB_BACKUP, "backup"},
             {OBV_JOB_RESTORE, "restore"},
             {OBV_JOB_CHECK, "check"}};

const char *obv_job_kind_name(obv_job_kind k)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (KINDS[i].kind == k)
            return KINDS[i].name;
    return "unknown";
}

const char *obv_job_status_name(obv_job_status s)
{
    return s == OBV_JOB_RUNNING ? "RUNNING" : s == OBV_JOB_SUCCESS ? "SUCCESS" : "FAILED";
}

#define COLUMNS                                                                                                        \
    "id, kind, status, phase, run_key, ref, started_at, phase_at, ended_at, code, sys, message, hint, cancel FROM "    \
    "jobs "

static void read_job(const obv_rows *r, obv_job *out)
{
    *out = (obv_job){.kind = (obv_job_kind)obv_rows_i64(r, 1),
                     .status = (obv_job_status)obv_rows_i64(r, 2),
                     .ref = obv_rows_i64(r, 5),
                     .started_at = obv_rows_i64(r, 6),
                     .phase_at = obv_rows_i64(r, 7),
                     .ended_at = obv_rows_i64(r, 8)};
    out->cancel = obv_rows_i64(r, 13) != 0;
    obv_rows_copy(r, 0, out->id, sizeof out->id);
    obv_rows_copy(r, 3, out->phase, sizeof out->phase);
    obv_rows_copy(r, 4, out->run_key, sizeof out->run_key);
    out->result.code = (obv_code)obv_rows_i64(r, 9);
    out->result.sys = (int32_t)obv_rows_i64(r, 10);
    obv_rows_copy(r, 11, out->result.msg, sizeof out->result.msg);
    obv_rows_copy(r, 12, out->result.hint, sizeof out->result.hint);
}

static obv_code one(obv_state *s, const char *sql, const obv_db_arg *args, size_t n, obv_job *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s), sql, args, n, &r, err));
    OBV_TRY(obv_rows_next(r, err));
    read_job(r, out);
    return OBV_OK;
}

obv_code obv_job_get(obv_state *s, const char *id, obv_job *out, obv_err *err)
{
    const obv_code code = one(s, "SELECT " COLUMNS "WHERE id = ?", OBV_DB_ARGS(obv_db_s(id)), out, err);
    return code == OBV_E_NOT_FOUND ? obv_fail(err, code, 0, "no job %s", id) : code;
}

obv_code obv_job_of_ref(obv_state *s, obv_job_kind kind, int64_t ref, obv_job *out, obv_err *err)
{
    return one(s, "SELECT " COLUMNS "WHERE kind = ? AND ref = ? ORDER BY seq DESC LIMIT 1",
               OBV_DB_ARGS(obv_db_i(kind), obv_db_i(ref)), out, err);
}

obv_code obv_job_by_key(obv_state *s, const char *run_key, obv_job_kind kind, obv_job *out, obv_err *err)
{
    if (!run_key || !run_key[0])
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no run key");
    OBV_TRY(one(s, "SELECT " COLUMNS "WHERE run_key = ?", OBV_DB_ARGS(obv_db_s(run_key)), out, err));
    return out->kind == kind ? OBV_OK
                             : obv_fail(err, OBV_E_CONFLICT, 0, "run key %s belongs to job %s", run_key, out->id);
}

obv_code obv_job_create(obv_state *s, obv_job_kind kind, const char *run_key, const char *phase, int64_t ref,
                        int64_t now, obv_job *out, bool *found, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    *found = false;
    const obv_code code = obv_job_by_key(s, run_key, kind, out, err);
    if (code == OBV_OK) {
        *found = true;
        return obv_state_commit(&tx, err);
    }
    if (code != OBV_E_NOT_FOUND)
        return code;
    int64_t number = 0;
    char counter[48], id[32];
    (void)snprintf(counter, sizeof counter, "job:%s", obv_job_kind_name(kind));
    OBV_TRY(obv_state_next(s, counter, &number, err));
    (void)snprintf(id, sizeof id, "%s-%lld", obv_job_kind_name(kind), (long long)number);
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "INSERT INTO jobs (id, kind, status, phase, run_key, ref, started_at, phase_at)"
                       " VALUES (?, ?, 0, ?, ?, ?, ?, ?)",
                       obv_db_s(id), obv_db_i(kind), obv_db_s(phase), obv_db_s(run_key && run_key[0] ? run_key : NULL),
                       obv_db_i(ref), obv_db_i(now), obv_db_i(now)));
    OBV_TRY(obv_event_add(s, id, now, err, "started in %s", phase));
    OBV_TRY(obv_job_get(s, id, out, err));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_set_ref(obv_state *s, const char *id, int64_t ref, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE jobs SET ref = ? WHERE id = ?", obv_db_i(ref), obv_db_s(id)));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_move(obv_state *s, const char *id, const char *phase, int64_t now, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE jobs SET phase = ?, phase_at = ? WHERE id = ? AND status = 0",
                       obv_db_s(phase), obv_db_i(now), obv_db_s(id)));
    OBV_TRY(obv_event_add(s, id, now, err, "moved to %s", phase));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_note(obv_state *s, const char *id, const obv_err *why, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE jobs SET code = ?, sys = ?, message = ?, hint = ? WHERE id = ? AND status = 0",
                       obv_db_i(why->code), obv_db_i(why->sys), obv_db_s(why->msg), obv_db_s(why->hint), obv_db_s(id)));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_end(obv_state *s, const char *id, const char *phase, const obv_err *result, int64_t now, obv_err *err)
{
    static const obv_err GOOD;
    const obv_err *e = result ? result : &GOOD;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err,
                       "UPDATE jobs SET status = ?, phase = ?, phase_at = ?, ended_at = ?, code = ?, sys = ?,"
                       " message = ?, hint = ? WHERE id = ? AND status = 0",
                       obv_db_i(e->code == OBV_OK ? OBV_JOB_SUCCESS : OBV_JOB_FAILED), obv_db_s(phase), obv_db_i(now),
                       obv_db_i(now), obv_db_i(e->code), obv_db_i(e->sys), obv_db_s(e->msg), obv_db_s(e->hint),
                       obv_db_s(id)));
    OBV_TRY(obv_event_add(s, id, now, err, "%s%s%s", e->code == OBV_OK ? "ended well" : "failed", e->msg[0] ? ": " : "",
                          e->msg));
    /* files that were to be stored are not needed any more */
    OBV_TRY(obv_db_run(obv_state_db(s), err, "DELETE FROM put_files WHERE job_id = ?", obv_db_s(id)));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_deadlines_anew(obv_state *s, int64_t now, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE jobs SET phase_at = ? WHERE status = 0", obv_db_i(now)));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE tasks SET not_before = ?1 WHERE status = 0 AND not_before > ?1",
                       obv_db_i(now)));
    OBV_TRY(obv_db_run(obv_state_db(s), err, "UPDATE pgs SET not_before = ?1 WHERE state = 0 AND not_before > ?1",
                       obv_db_i(now)));
    return obv_state_commit(&tx, err);
}

obv_code obv_job_each(obv_state *s, obv_job_kind kind, bool running_only, uint32_t limit, obv_job_fn *fn, void *ctx,
                      obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT " COLUMNS "WHERE (?1 = 0 OR kind = ?1) AND (?2 = 0 OR status = 0)"
                         " ORDER BY seq DESC LIMIT ?3",
                         obv_db_i(kind), obv_db_i(running_only), obv_db_i(limit)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_job j;
        read_job(r, &j);
        OBV_TRY(fn(ctx, &j, err));
    }
    return OBV_OK;
}

typedef struct collect {
    obv_job *out;
    size_t cap, n;
} collect;

static obv_code add_job(void *ctx, const obv_job *j, obv_err *err)
{
    (void)err;
    collect *c = ctx;
    if (c->n < c->cap)
        c->out[c->n++] = *j;
    return OBV_OK;
}

obv_code obv_job_running(obv_state *s, obv_job_kind kind, obv_job *out, size_t cap, size_t *n, obv_err *err)
{
    collect c = {out, cap, 0};
    OBV_TRY(obv_job_each(s, kind, true, (uint32_t)cap, add_job, &c, err));
    for (size_t i = 0; i < c.n / 2; i++) {
        const obv_job t = out[i];
        out[i] = out[c.n - 1 - i];
        out[c.n - 1 - i] = t;
    }
    *n = c.n;
    return OBV_OK;
}
