/* journal_pg.c - PGs of a batch, their objects, reports and metas */
#include "base/clock.h"
#include "job/journal.h"
#include "job/journal_priv.h"

#include <stdio.h>

static obv_code next_number(obv_db *db, const char *uid, const obv_pg_key *pg, obv_object_kind kind, int64_t *out,
                            obv_err *err)
{
    return obv_db_i64(db, err, out, "SELECT max(sub) + 1 FROM object WHERE" WHERE_PG " AND kind = ?", ARGS_PG(uid, pg),
                      obv_db_i(kind));
}

static obv_code read_pg_result(obv_span blob, obv_pg_result *out, obv_err *err)
{
    if (blob.len == 0)
        return OBV_OK;
    if (blob.len != sizeof *out)
        return obv_fail(err, OBV_E_CORRUPT, 0, "journal: a PG's result has a wrong length");
    memcpy(out, blob.p, sizeof *out);
    return OBV_OK;
}

obv_code obv_journal_pg_get(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_journal_pg *out, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    *out = (obv_journal_pg){0};
    OBV_TRY(obv_db_query(j->db, err, &rows, "SELECT state, digest, result FROM pg WHERE" WHERE_PG, ARGS_PG(uid, pg)));
    const obv_code code = obv_rows_next(rows, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_db_run(j->db, err,
                          "INSERT INTO pg (task_uid, table_id, part_id, assist, state) VALUES (?, ?, ?, ?, ?)",
                          ARGS_PG(uid, pg), obv_db_i(OBV_PG_NEW));
    OBV_TRY(code);
    out->state = (obv_pg_state)obv_rows_i64(rows, 0);
    const obv_span digest = obv_rows_blob(rows, 1);
    if (digest.len == sizeof out->digest)
        memcpy(out->digest, digest.p, digest.len);
    OBV_TRY(read_pg_result(obv_rows_blob(rows, 2), &out->result, err));
    OBV_TRY(next_number(j->db, uid, pg, OBV_OBJECT_MINOR, &out->next_minor, err));
    return next_number(j->db, uid, pg, OBV_OBJECT_MAJOR, &out->next_major, err);
}

obv_code obv_journal_pg_restart(obv_journal *j, const char *uid, const obv_pg_key *pg,
                                const uint8_t digest[OBV_SHA_LEN], obv_span plan, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE object SET stale = 1 WHERE" WHERE_PG, ARGS_PG(uid, pg)));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE pg SET digest = ?, plan = ? WHERE" WHERE_PG,
                       obv_db_b(obv_span_of(digest, OBV_SHA_LEN)), obv_db_b(plan), ARGS_PG(uid, pg)));
    return obv_tx_commit(&tx, err);
}

obv_code obv_journal_pg_plan(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_buf *out, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_query(j->db, err, &rows, "SELECT plan FROM pg WHERE" WHERE_PG, ARGS_PG(uid, pg)));
    OBV_TRY(obv_rows_next(rows, err));
    const obv_span plan = obv_rows_blob(rows, 0);
    obv_buf_append(out, plan.p, plan.len);
    return obv_buf_check(out, "plan", err);
}

obv_code obv_journal_object_add(obv_journal *j, const char *uid, const obv_pg_key *pg, const obv_journal_object *o,
                                obv_err *err)
{
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err,
                      "INSERT OR REPLACE INTO object (task_uid, table_id, part_id, assist, stale, kind, sub, first,"
                      " count, path, size, sha256, entries) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                      ARGS_PG(uid, pg), obv_db_i(o->kind), obv_db_i(o->sub), obv_db_u(o->first), obv_db_i(o->count),
                      obv_db_s(o->object.path), obv_db_u(o->object.size),
                      obv_db_b(obv_span_of(o->object.sha256, OBV_SHA_LEN)), obv_db_b(o->entries));
}

obv_code obv_journal_object_stale(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_object_kind kind,
                                  int64_t sub, const char *path, obv_err *err)
{
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err,
                      "INSERT OR REPLACE INTO object (task_uid, table_id, part_id, assist, stale, kind, sub, first,"
                      " count, path, size) VALUES (?, ?, ?, ?, 1, ?, ?, 0, 0, ?, 0)",
                      ARGS_PG(uid, pg), obv_db_i(kind), obv_db_i(sub), obv_db_s(path));
}

/* One row at a time, so that the callback may use the journal: positions are (kind, sub). */
static obv_code next_object(obv_journal *j, const char *uid, const obv_pg_key *pg, bool stale, int64_t kind,
                            int64_t sub, obv_journal_object *out, obv_buf *entries, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_query(j->db, err, &rows,
                         "SELECT kind, sub, first, count, path, size, sha256, entries FROM object WHERE" WHERE_PG
                         " AND stale = ? AND (kind, sub) > (?, ?) ORDER BY kind, sub LIMIT 1",
                         ARGS_PG(uid, pg), obv_db_i(stale), obv_db_i(kind), obv_db_i(sub)));
    OBV_TRY(obv_rows_next(rows, err));
    const int64_t is_kind = obv_rows_i64(rows, 0), is_sub = obv_rows_i64(rows, 1), count = obv_rows_i64(rows, 3);
    /* a value of another type sorts behind every number: without this the same row would come for ever */
    if (is_kind < 0 || is_kind > OBV_OBJECT_MAJOR_INDEX || is_kind < kind || (is_kind == kind && is_sub <= sub) ||
        count < 0 || count > UINT32_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "journal: an object's kind, number or count is not valid");
    *out = (obv_journal_object){
        .kind = (obv_object_kind)is_kind, .sub = is_sub, .first = obv_rows_u64(rows, 2), .count = (uint32_t)count};
    obv_rows_copy(rows, 4, out->object.path, sizeof out->object.path);
    out->object.size = obv_rows_u64(rows, 5);
    const obv_span sha = obv_rows_blob(rows, 6);
    if (sha.len == OBV_SHA_LEN)
        memcpy(out->object.sha256, sha.p, sha.len);
    entries->len = 0;
    const obv_span e = obv_rows_blob(rows, 7);
    obv_buf_append(entries, e.p, e.len);
    out->entries = obv_buf_span(entries);
    return obv_buf_check(entries, "entries", err);
}

obv_code obv_journal_objects(obv_journal *j, const char *uid, const obv_pg_key *pg, bool stale,
                             obv_journal_object_fn *fn, void *ctx, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf entries = obv_buf_heap(1u << 20);
    int64_t kind = -1;
    int64_t sub = -1;
    for (;;) {
        obv_journal_object o;
        const obv_code code = next_object(j, uid, pg, stale, kind, sub, &o, &entries, err);
        if (code == OBV_E_NOT_FOUND)
            return OBV_OK;
        OBV_TRY(code);
        kind = o.kind;
        sub = o.sub;
        OBV_TRY(fn(ctx, &o, err));
    }
}

obv_code obv_journal_stale_removed(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_err *err)
{
    /* the highest number of each kind stays, so that it is not given out again */
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err,
                      "DELETE FROM object WHERE" WHERE_PG
                      " AND stale = 1 AND sub < (SELECT max(sub) FROM object o WHERE"
                      " o.task_uid = object.task_uid AND o.table_id = object.table_id AND o.part_id = object.part_id"
                      " AND o.assist = object.assist AND o.kind = object.kind)",
                      ARGS_PG(uid, pg));
}

obv_code obv_journal_pg_fencing(obv_journal *j, const obv_task *t, const obv_pg_key *pg, const obv_pg_result *result,
                                obv_span record_body, const uint64_t *contents, size_t content_count, obv_err *err)
{
    obv_pg_result copy;
    memset(&copy, 0, sizeof copy); /* padding too: it is written */
    copy = *result;
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE pg SET state = ?, pass = ?, result = ?, contents = ? WHERE" WHERE_PG,
                       obv_db_i(OBV_PG_FENCING), obv_db_i(t->pass), obv_db_b(obv_span_of(&copy, sizeof copy)),
                       obv_db_b(obv_span_of(contents, content_count * sizeof *contents)), ARGS_PG(t->uid, pg)));
    OBV_TRY(obv_db_run(j->db, err, "INSERT OR REPLACE INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       obv_db_u(t->set.cluster_id), obv_db_u(t->set.id.tenant_id), obv_db_i(t->set.id.set_id),
                       obv_db_i(t->task_id), obv_db_u(pg->table_id), obv_db_i(pg->part_id), obv_db_i(pg->assist),
                       obv_db_b(record_body), obv_db_i(obv_now_us())));
    return obv_tx_commit(&tx, err);
}

static obv_code add_report(obv_db *db, const char *uid, const obv_pg_key *pg, obv_err *err)
{
    return obv_db_run(db, err, "INSERT INTO report (task_uid, table_id, part_id, assist) VALUES (?, ?, ?, ?)",
                      ARGS_PG(uid, pg));
}

obv_code obv_journal_pg_copied(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE pg SET state = ?, plan = NULL WHERE" WHERE_PG, obv_db_i(OBV_PG_COPIED),
                       ARGS_PG(uid, pg)));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE object SET entries = NULL WHERE" WHERE_PG, ARGS_PG(uid, pg)));
    OBV_TRY(add_report(j->db, uid, pg, err));
    return obv_tx_commit(&tx, err);
}

obv_code obv_journal_pg_failed(obv_journal *j, const obv_task *t, const obv_pg_key *pg, const obv_err *error,
                               obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(obv_db_run(j->db, err,
                       "UPDATE pg SET state = ?, pass = ?, plan = NULL, code = ?, sys = ?, msg = ?, hint = ?"
                       " WHERE" WHERE_PG,
                       obv_db_i(OBV_PG_FAILED), obv_db_i(t->pass), obv_db_i(error->code), obv_db_i(error->sys),
                       obv_db_s(error->msg), obv_db_s(error->hint), ARGS_PG(t->uid, pg)));
    OBV_TRY(obv_db_run(j->db, err, "UPDATE object SET entries = NULL WHERE" WHERE_PG, ARGS_PG(t->uid, pg)));
    OBV_TRY(add_report(j->db, t->uid, pg, err));
    return obv_tx_commit(&tx, err);
}

obv_code obv_journal_batch_counts(obv_journal *j, const char *uid, obv_journal_counts *out, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    obv_code code;
    *out = (obv_journal_counts){0};
    OBV_TRY(obv_db_query(j->db, err, &rows, "SELECT state, result FROM pg WHERE task_uid = ?", obv_db_s(uid)));
    while ((code = obv_rows_next(rows, err)) == OBV_OK) {
        const obv_pg_state state = (obv_pg_state)obv_rows_i64(rows, 0);
        obv_pg_result r = {0};
        if (state == OBV_PG_FAILED)
            out->failed++;
        if (state != OBV_PG_COPIED)
            continue;
        OBV_TRY(read_pg_result(obv_rows_blob(rows, 1), &r, err));
        out->copied++;
        out->blocks += r.blocks_stored;
        out->bytes_read += r.bytes_read;
        out->bytes_written += r.bytes_written;
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

/* ---- reports */

/* Path below the set's folder: what follows "/data/backup_set_.../" of a key. */
static const char *below_set(const char *key)
{
    const char *set = strstr(key, "/data/backup_set_");
    const char *rest = set ? strchr(set + strlen("/data/"), '/') : NULL;
    return rest ? rest + 1 : key;
}

static obv_code report_objects(obv_db *db, const obv_pg_report *r, obv_stored_object *objects, size_t *count,
                               uint64_t *rest, obv_err *err)
{
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    obv_code code;
    *count = 0;
    *rest = 0;
    OBV_TRY(obv_db_query(
        db, err, &rows, "SELECT path, size, sha256 FROM object WHERE" WHERE_PG " AND stale = 0 ORDER BY kind DESC, sub",
        ARGS_PG(r->uid, &r->pg)));
    while ((code = obv_rows_next(rows, err)) == OBV_OK) {
        if (*count == OBV_REPORT_OBJECTS_MAX) {
            ++*rest;
            continue;
        }
        obv_stored_object *o = &objects[(*count)++];
        *o = (obv_stored_object){.size = obv_rows_u64(rows, 1)};
        (void)snprintf(o->path, sizeof o->path, "%s", below_set(obv_rows_text(rows, 0)));
        const obv_span sha = obv_rows_blob(rows, 2);
        if (sha.len == OBV_SHA_LEN)
            memcpy(o->sha256, sha.p, sha.len);
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

obv_code obv_journal_reports(obv_journal *j, size_t most, obv_pg_report_fn *fn, void *ctx, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_freep) obv_stored_object *objects = calloc(OBV_REPORT_OBJECTS_MAX, sizeof *objects);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_AUTO(obv_freep) uint64_t *contents = calloc(OBV_CONTENTS_MAX, sizeof *contents);
    obv_code code;
    if (!objects || !contents)
        return obv_fail(err, OBV_E_NOMEM, 0, "reports: out of memory");
    OBV_TRY(obv_db_query(
        j->db, err, &rows,
        "SELECT r.report_id, r.task_uid, t.epoch, r.table_id, r.part_id, r.assist, p.pass, p.code,"
        " p.sys, p.msg, p.hint, p.result, p.contents FROM report r JOIN task t ON t.uid = r.task_uid JOIN pg p"
        " USING (task_uid, table_id, part_id, assist) WHERE r.report_id > coalesce((SELECT"
        " CAST(value AS INTEGER) FROM value WHERE name = 'acked_report'), 0)"
        " ORDER BY r.report_id LIMIT ?",
        obv_db_i((int64_t)most)));
    while ((code = obv_rows_next(rows, err)) == OBV_OK) {
        obv_pg_report r = {.report_id = obv_rows_u64(rows, 0),
                           .epoch = obv_rows_u64(rows, 2),
                           .pg = {.table_id = obv_rows_u64(rows, 3),
                                  .part_id = (int32_t)obv_rows_i64(rows, 4),
                                  .assist = (int32_t)obv_rows_i64(rows, 5)},
                           .pass = (uint32_t)obv_rows_i64(rows, 6),
                           .objects = objects,
                           .contents = contents};
        obv_rows_copy(rows, 1, r.uid, sizeof r.uid);
        r.error.code = (obv_code)obv_rows_i64(rows, 7);
        r.error.sys = (int32_t)obv_rows_i64(rows, 8);
        obv_rows_copy(rows, 9, r.error.msg, sizeof r.error.msg);
        obv_rows_copy(rows, 10, r.error.hint, sizeof r.error.hint);
        OBV_TRY(read_pg_result(obv_rows_blob(rows, 11), &r.result, err));
        const obv_span ids = obv_rows_blob(rows, 12);
        r.content_count = ids.len / sizeof *contents;
        if (r.content_count > OBV_CONTENTS_MAX)
            return obv_fail(err, OBV_E_CORRUPT, 0, "journal: a PG with %zu tables", r.content_count);
        if (r.content_count)
            memcpy(contents, ids.p, r.content_count * sizeof *contents);
        if (r.error.code == OBV_OK)
            OBV_TRY(report_objects(j->db, &r, objects, &r.object_count, &r.objects_rest, err));
        fn(ctx, &r);
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

obv_code obv_journal_ack(obv_journal *j, uint64_t report_id, obv_err *err)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)report_id);
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
    OBV_TRY(obv_tx_begin(j->db, &tx, err));
    OBV_TRY(obv_db_run(j->db, err, "DELETE FROM report WHERE report_id <= ?", obv_db_u(report_id)));
    OBV_TRY(obv_db_run(j->db, err,
                       "INSERT INTO value VALUES ('acked_report', ?) ON CONFLICT (name) DO UPDATE SET value ="
                       " excluded.value",
                       obv_db_s(text)));
    return obv_tx_commit(&tx, err);
}

/* ---- metas */

obv_code obv_journal_meta_get(obv_journal *j, const obv_task_set *set, int64_t task_id, const obv_pg_key *pg,
                              obv_buf *out, obv_err *err)
{
    JOURNAL_HOLD(j);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_query(j->db, err, &rows,
                         "SELECT body FROM meta WHERE cluster_id = ? AND tenant_id = ? AND set_id = ? AND task_id = ?"
                         " AND table_id = ? AND part_id = ? AND assist = ?",
                         obv_db_u(set->cluster_id), obv_db_u(set->id.tenant_id), obv_db_i(set->id.set_id),
                         obv_db_i(task_id), obv_db_u(pg->table_id), obv_db_i(pg->part_id), obv_db_i(pg->assist)));
    OBV_TRY(obv_rows_next(rows, err));
    const obv_span body = obv_rows_blob(rows, 0);
    obv_buf_append(out, body.p, body.len);
    return obv_buf_check(out, "PG record", err);
}

obv_code obv_journal_metas_of_older_sets(obv_journal *j, const obv_task_set *set, obv_err *err)
{
    JOURNAL_HOLD(j);
    return obv_db_run(j->db, err, "DELETE FROM meta WHERE cluster_id = ? AND tenant_id = ? AND set_id < ?",
                      obv_db_u(set->cluster_id), obv_db_u(set->id.tenant_id), obv_db_i(set->id.set_id));
}
