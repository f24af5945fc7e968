/* journal.c - the database, named values and tasks */
#define OBV_LOG_MOD "journal"
#include "job/journal.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/journal_priv.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const MIGRATIONS[] = {
    "CREATE TABLE value (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE task (uid TEXT PRIMARY KEY, kind INTEGER NOT NULL, epoch INTEGER NOT NULL, state INTEGER NOT NULL,"
    " code INTEGER NOT NULL DEFAULT 0, sys INTEGER NOT NULL DEFAULT 0, msg TEXT NOT NULL DEFAULT '',"
    " hint TEXT NOT NULL DEFAULT '', result BLOB, touched_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE pg (task_uid TEXT NOT NULL, table_id INTEGER NOT NULL, part_id INTEGER NOT NULL,"
    " assist INTEGER NOT NULL, state INTEGER NOT NULL, digest BLOB, plan BLOB, next_minor INTEGER NOT NULL DEFAULT 0,"
    " next_major INTEGER NOT NULL DEFAULT 0, pass INTEGER NOT NULL DEFAULT 0, result BLOB, code INTEGER NOT NULL"
    " DEFAULT 0, sys INTEGER NOT NULL DEFAULT 0, msg TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',"
    " PRIMARY KEY (task_uid, table_id, part_id, assist)) WITHOUT ROWID;"
    "CREATE TABLE object (task_uid TEXT NOT NULL, table_id INTEGER NOT NULL, part_id INTEGER NOT NULL,"
    " assist INTEGER NOT NULL, stale INTEGER NOT NULL, kind INTEGER NOT NULL, sub INTEGER NOT NULL,"
    " first INTEGER NOT NULL, count INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, sha256 BLOB,"
    " entries BLOB, PRIMARY KEY (task_uid, table_id, part_id, assist, stale, kind, sub));"
    "CREATE TABLE report (report_id INTEGER PRIMARY KEY AUTOINCREMENT, task_uid TEXT NOT NULL,"
    " table_id INTEGER NOT NULL, part_id INTEGER NOT NULL, assist INTEGER NOT NULL);"
    "CREATE INDEX report_task ON report (task_uid);"
    "CREATE TABLE meta (cluster_id INTEGER NOT NULL, tenant_id INTEGER NOT NULL, set_id INTEGER NOT NULL,"
    " task_id INTEGER NOT NULL, table_id INTEGER NOT NULL, part_id INTEGER NOT NULL, assist INTEGER NOT NULL,"
    " body BLOB NOT NULL, touched_at INTEGER NOT NULL,"
    " PRIMARY KEY (cluster_id, tenant_id, set_id, task_id, table_id, part_id, assist));",
    "ALTER TABLE pg ADD COLUMN contents BLOB;",
};

obv_code obv_journal_open(const char *path, obv_journal **out, obv_err *err)
{
    obv_journal *j = calloc(1, sizeof *j);
    if (!j)
        return obv_fail(err, OBV_E_NOMEM, 0, "journal: out of memory");
    (void)pthread_mutex_init(&j->mu, NULL);
    if (obv_db_open(path, MIGRATIONS, sizeof MIGRATIONS / sizeof *MIGRATIONS, &j->db, err) != OBV_OK) {
        obv_journal_close(j);
        return obv_wrap(err, "journal %s", path);
    }
    *out = j;
    return OBV_OK;
}

void obv_journal_close(obv_journal *j)
{
    if (!j)
        return;
    obv_db_close(j->db);
    (void)pthread_mutex_destroy(&j->mu);
    free(j);
}

obv_code obv_journal_get(obv_journal *j, const char *name, char *out, size_t cap, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_query(j->db, err, &rows, "SELECT value FROM value WHERE name = ?", obv_db_s(name)));
    const obv_code code = obv_rows_next(rows, err);
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    out[0] = '\0';
    if (code == OBV_OK)
        obv_rows_copy(rows, 0, out, cap);
    return OBV_OK;
}

obv_code obv_journal_set(obv_journal *j, const char *name, const char *value, obv_err *err)
{
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err,
                      "INSERT INTO value VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                      obv_db_s(name), obv_db_s(value));
}

/* ---- results of tasks, kept as plain local bytes: one fixed head, then the places */

struct result_head {
    int64_t task_id;
    uint64_t place_count, object_count;
    obv_stored_object objects[2];
    char repository_uuid[37];
    char profile[16];
    uint32_t capabilities;
};

static void pack_result(const obv_task_result *r, obv_buf *out)
{
    struct result_head h;
    memset(&h, 0, sizeof h); /* padding too: it is written */
    h.task_id = r->task_id;
    h.place_count = r->place_count;
    h.object_count = r->object_count;
    memcpy(h.objects, r->objects, sizeof h.objects);
    memcpy(h.repository_uuid, r->repository_uuid, sizeof h.repository_uuid);
    memcpy(h.profile, r->profile, sizeof h.profile);
    h.capabilities = r->capabilities;
    obv_buf_append(out, &h, sizeof h);
    obv_buf_append(out, r->places, r->place_count * sizeof *r->places);
}

static obv_code unpack_result(obv_span in, obv_task_result *out, obv_err *err)
{
    struct result_head h;
    if (in.len == 0)
        return OBV_OK;
    if (in.len < sizeof h)
        return obv_fail(err, OBV_E_CORRUPT, 0, "journal: a task's result is cut");
    memcpy(&h, in.p, sizeof h);
    if (h.place_count > OBV_BATCH_PGS_MAX || h.object_count > 2 ||
        in.len != sizeof h + h.place_count * sizeof(obv_meta_place))
        return obv_fail(err, OBV_E_CORRUPT, 0, "journal: a task's result has a wrong length");
    obv_meta_place *places = calloc(h.place_count + 1, sizeof *places);
    if (!places)
        return obv_fail(err, OBV_E_NOMEM, 0, "journal: out of memory");
    memcpy(places, in.p + sizeof h, h.place_count * sizeof *places);
    *out = (obv_task_result){.task_id = h.task_id,
                             .places = places,
                             .place_count = h.place_count,
                             .object_count = h.object_count,
                             .capabilities = h.capabilities};
    memcpy(out->objects, h.objects, sizeof out->objects);
    memcpy(out->repository_uuid, h.repository_uuid, sizeof out->repository_uuid);
    memcpy(out->profile, h.profile, sizeof out->profile);
    return OBV_OK;
}

static obv_code read_task(const obv_rows *rows, obv_journal_task *out, obv_err *err)
{
    *out = (obv_journal_task){.kind = (obv_task_kind)obv_rows_i64(rows, 1),
                              .epoch = obv_rows_u64(rows, 2),
                              .state = (obv_task_state)obv_rows_i64(rows, 3)};
    obv_rows_copy(rows, 0, out->uid, sizeof out->uid);
    out->error.code = (obv_code)obv_rows_i64(rows, 4);
    out->error.sys = (int32_t)obv_rows_i64(rows, 5);
    obv_rows_copy(rows, 6, out->error.msg, sizeof out->error.msg);
    obv_rows_copy(rows, 7, out->error.hint, sizeof out->error.hint);
    return unpack_result(obv_rows_blob(rows, 8), &out->result, err);
}

#define TASK_COLUMNS "SELECT uid, kind, epoch, state, code, sys, msg, hint, result FROM task "

obv_code obv_journal_task_begin(obv_journal *j, const obv_task *t, obv_journal_task *out, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_run(j->db, err,
                       "INSERT INTO task (uid, kind, epoch, state, touched_at) VALUES (?, ?, ?, ?, ?)"
                       " ON CONFLICT (uid) DO UPDATE SET epoch = excluded.epoch, touched_at = excluded.touched_at",
                       obv_db_s(t->uid), obv_db_i(t->kind), obv_db_u(t->epoch), obv_db_i(OBV_TASK_RUNNING),
                       obv_db_i(obv_now_us())));
    OBV_TRY(obv_db_query(j->db, err, &rows, TASK_COLUMNS "WHERE uid = ?", obv_db_s(t->uid)));
    OBV_TRY(obv_rows_next(rows, err));
    return read_task(rows, out, err);
}

obv_code obv_journal_task_end(obv_journal *j, const char *uid, obv_task_state state, const obv_err *error,
                              const obv_task_result *result, obv_err *err)
{
    static const obv_err NONE = {0};
    OBV_AUTO(obv_buf_fini) obv_buf packed = obv_buf_heap(1u << 20);
    if (result)
        pack_result(result, &packed);
    OBV_TRY(obv_buf_check(&packed, "task result", err));
    const obv_err *e = error ? error : &NONE;
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err,
                      "UPDATE task SET state = ?, code = ?, sys = ?, msg = ?, hint = ?, result = ?, touched_at = ?"
                      " WHERE uid = ?",
                      obv_db_i(state), obv_db_i(e->code), obv_db_i(e->sys), obv_db_s(e->msg), obv_db_s(e->hint),
                      obv_db_b(obv_buf_span(&packed)), obv_db_i(obv_now_us()), obv_db_s(uid));
}

static obv_code delete_task(obv_db *db, const char *uid, obv_err *err)
{
    static const char *const DELETES[] = {"DELETE FROM report WHERE task_uid = ?",
                                          "DELETE FROM object WHERE task_uid = ?", "DELETE FROM pg WHERE task_uid = ?",
                                          "DELETE FROM task WHERE uid = ?"};
    for (size_t i = 0; i < sizeof DELETES / sizeof *DELETES; i++)
        OBV_TRY(obv_db_run(db, err, DELETES[i], obv_db_s(uid)));
    return OBV_OK;
}

obv_code obv_journal_task_forget(obv_journal *j, const char *uid, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(delete_task(j->db, uid, err));
    return obv_tx_commit(&tx, err);
}

obv_code obv_journal_tasks(obv_journal *j, obv_journal_task_fn *fn, void *ctx, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    obv_code code;
    OBV_TRY(obv_db_query(j->db, err, &rows, TASK_COLUMNS "WHERE state <> ? ORDER BY touched_at DESC LIMIT ?",
                         obv_db_i(OBV_TASK_RUNNING), obv_db_i(OBV_TASKS_MAX)));
    while ((code = obv_rows_next(rows, err)) == OBV_OK) {
        obv_journal_task t;
        OBV_TRY(read_task(rows, &t, err));
        fn(ctx, &t);
        obv_task_result_fini(&t.result);
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

obv_code obv_journal_sweep(obv_journal *j, obv_err *err)
{
    const int64_t before = obv_now_us() - OBV_JOURNAL_KEEP_DAYS * 86400 * OBV_US_PER_S;
    JOURNAL_HOLD(j);
    for (;;) {
        char uid[OBV_TASK_UID_MAX + 1];
        {
            OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
            OBV_TRY(
                obv_db_query(j->db, err, &rows, "SELECT uid FROM task WHERE touched_at < ? LIMIT 1", obv_db_i(before)));
            const obv_code code = obv_rows_next(rows, err);
            if (code == OBV_E_NOT_FOUND)
                break;
            OBV_TRY(code);
            obv_rows_copy(rows, 0, uid, sizeof uid);
        }
        OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
        OBV_TRY(obv_tx_begin(j->db, &tx, err));
        OBV_TRY(delete_task(j->db, uid, err));
        OBV_TRY(obv_tx_commit(&tx, err));
        OBV_INFO("task %s: nobody asked for it in %d days, its rows are dropped", uid, OBV_JOURNAL_KEEP_DAYS);
    }
    return obv_db_run(j->db, err, "DELETE FROM meta WHERE touched_at < ?", obv_db_i(before));
}
