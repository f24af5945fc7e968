#include "base/db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define CACHE_MAX 256
#define BUSY_MS 5000

typedef struct cached {
    sqlite3_stmt *st;
    char *sql;
    bool used;
} cached;

struct obv_db {
    sqlite3 *h;
    cached cache[CACHE_MAX];
    size_t count;
    unsigned depth; /* open obv_tx, nested ones included */
    bool doomed;    /* an inner transaction was dropped: the outer one may only roll back */
};

struct obv_rows {
    obv_db *db;
    sqlite3_stmt *st;
    cached *slot; /* NULL: not cached, finalised at the end */
};

static obv_code fail(obv_db *db, const char *what, obv_err *err)
{
    obv_code code;
    switch (sqlite3_errcode(db->h) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = OBV_E_BUSY;
        break;
    case SQLITE_FULL:
        code = OBV_E_NO_SPACE;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        code = OBV_E_CORRUPT;
        break;
    case SQLITE_READONLY:
        code = OBV_E_READ_ONLY;
        break;
    case SQLITE_CONSTRAINT:
        code = OBV_E_EXISTS;
        break;
    case SQLITE_NOMEM:
        code = OBV_E_NOMEM;
        break;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_PERM:
        code = OBV_E_IO;
        break;
    default:
        code = OBV_E_INTERNAL;
    }
    return obv_fail(err, code, sqlite3_extended_errcode(db->h), "state database: %s: %.80s", sqlite3_errmsg(db->h),
                    what);
}

static cached *find(obv_db *db, const char *sql)
{
    for (size_t i = 0; i < db->count; i++)
        if (!db->cache[i].used && strcmp(db->cache[i].sql, sql) == 0)
            return &db->cache[i];
    return NULL;
}

static obv_code prepare(obv_db *db, const char *sql, sqlite3_stmt **st, cached **slot, obv_err *err)
{
    *slot = find(db, sql);
    if (*slot) {
        (*slot)->used = true;
        *st = (*slot)->st;
        return OBV_OK;
    }
    if (sqlite3_prepare_v3(db->h, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
        return fail(db, sql, err);
    char *copy = db->count < CACHE_MAX ? strdup(sql) : NULL;
    if (copy) {
        *slot = &db->cache[db->count++];
        **slot = (cached){*st, copy, true};
    }
    return OBV_OK;
}

static void release(sqlite3_stmt *st, cached *slot)
{
    if (!slot) {
        (void)sqlite3_finalize(st);
        return;
    }
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
    slot->used = false;
}

static obv_code bind(obv_db *db, sqlite3_stmt *st, const obv_db_arg *args, size_t n, const char *sql, obv_err *err)
{
    obv_assert((int)n == sqlite3_bind_parameter_count(st));
    for (size_t i = 0; i < n; i++) {
        const int at = (int)i + 1;
        int rc;
        switch (args[i].kind) {
        case OBV_DB_I64:
            rc = sqlite3_bind_int64(st, at, args[i].i);
            break;
        case OBV_DB_TEXT:
            rc = sqlite3_bind_text64(st, at, args[i].p, args[i].len, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case OBV_DB_BLOB:
            rc = sqlite3_bind_blob64(st, at, args[i].p, args[i].len, SQLITE_STATIC);
            break;
        default:
            rc = sqlite3_bind_null(st, at);
        }
        if (rc != SQLITE_OK)
            return fail(db, sql, err);
    }
    return OBV_OK;
}

obv_code obv_db_query_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, obv_rows **out, obv_err *err)
{
    sqlite3_stmt *st = NULL;
    cached *slot = NULL;
    OBV_TRY(prepare(db, sql, &st, &slot, err));
    obv_rows *r = malloc(sizeof *r);
    if (!r) {
        release(st, slot);
        return obv_fail(err, OBV_E_NOMEM, 0, "state database: query");
    }
    *r = (obv_rows){db, st, slot};
    const obv_code code = bind(db, st, args, n, sql, err);
    if (code != OBV_OK) {
        obv_rows_free(r);
        return code;
    }
    *out = r;
    return OBV_OK;
}

obv_code obv_db_run_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, int64_t *changed, obv_err *err)
{
    sqlite3_stmt *st = NULL;
    cached *slot = NULL;
    OBV_TRY(prepare(db, sql, &st, &slot, err));
    obv_code code = bind(db, st, args, n, sql, err);
    if (code == OBV_OK && sqlite3_step(st) != SQLITE_DONE)
        code = fail(db, sql, err);
    if (code == OBV_OK && changed)
        *changed = sqlite3_changes64(db->h);
    release(st, slot);
    return code;
}

obv_code obv_db_exec(obv_db *db, const char *sql, obv_err *err)
{
    return sqlite3_exec(db->h, sql, NULL, NULL, NULL) == SQLITE_OK ? OBV_OK : fail(db, sql, err);
}

obv_code obv_db_i64_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, int64_t *out, obv_err *err)
{
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(db, sql, args, n, &r, err));
    OBV_TRY(obv_rows_next(r, err));
    *out = obv_rows_i64(r, 0);
    return OBV_OK;
}

obv_code obv_rows_next(obv_rows *r, obv_err *err)
{
    const int rc = sqlite3_step(r->st);
    if (rc == SQLITE_ROW)
        return OBV_OK;
    if (rc == SQLITE_DONE)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "state database: no such row");
    return fail(r->db, sqlite3_sql(r->st), err);
}

int64_t obv_rows_i64(const obv_rows *r, int column) { return sqlite3_column_int64(r->st, column); }

const char *obv_rows_text(const obv_rows *r, int column)
{
    const char *t = (const char *)sqlite3_column_text(r->st, column);
    return t ? t : "";
}

obv_span obv_rows_blob(const obv_rows *r, int column)
{
    const void *p = sqlite3_column_blob(r->st, column);
    return obv_span_of(p, (size_t)sqlite3_column_bytes(r->st, column));
}

void obv_rows_copy(const obv_rows *r, int column, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s", obv_rows_text(r, column));
}

bool obv_rows_is_null(const obv_rows *r, int column) { return sqlite3_column_type(r->st, column) == SQLITE_NULL; }

void obv_rows_free(obv_rows *r)
{
    if (!r)
        return;
    release(r->st, r->slot);
    free(r);
}

void obv_rows_drop(obv_rows **r)
{
    obv_rows_free(*r);
    *r = NULL;
}

/* ---- transactions */

obv_code obv_tx_begin(obv_db *db, obv_tx *tx, obv_err *err)
{
    if (db->depth == 0) {
        OBV_TRY(obv_db_exec(db, "BEGIN IMMEDIATE", err));
        db->doomed = false;
    }
    db->depth++;
    tx->db = db;
    return OBV_OK;
}

obv_code obv_tx_commit(obv_tx *tx, obv_err *err)
{
    obv_db *db = tx->db;
    if (db->doomed) {
        obv_tx_drop(tx);
        return obv_fail(err, OBV_E_INTERNAL, 0, "state database: part of the transaction was given up");
    }
    if (db->depth == 1) {
        const obv_code code = obv_db_exec(db, "COMMIT", err);
        if (code != OBV_OK) {
            obv_tx_drop(tx);
            return code;
        }
    }
    db->depth--;
    tx->db = NULL;
    return OBV_OK;
}

void obv_tx_drop(obv_tx *tx)
{
    obv_db *db = tx->db;
    if (!db)
        return;
    tx->db = NULL;
    db->doomed = true;
    if (--db->depth == 0 && !sqlite3_get_autocommit(db->h))
        (void)sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
}

int64_t obv_db_changes(const obv_db *db) { return sqlite3_total_changes64(db->h); }

/* ---- open */

static obv_code migrate(obv_db *db, const char *const *migrations, size_t count, obv_err *err)
{
    int64_t version = 0;
    OBV_TRY(obv_db_i64_args(db, "PRAGMA user_version", NULL, 0, &version, err));
    if (version > (int64_t)count)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0,
                        "state database has version %lld, this program knows %zu: it was written by a newer one",
                        (long long)version, count);
    for (size_t i = (size_t)version; i < count; i++) {
        char set[48];
        (void)snprintf(set, sizeof set, "PRAGMA user_version = %zu", i + 1);
        OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
        OBV_TRY(obv_tx_begin(db, &tx, err));
        OBV_TRY(obv_db_exec(db, migrations[i], err));
        OBV_TRY(obv_db_exec(db, set, err));
        OBV_TRY(obv_tx_commit(&tx, err));
    }
    return OBV_OK;
}

obv_code obv_db_open(const char *path, const char *const *migrations, size_t count, obv_db **out, obv_err *err)
{
    OBV_AUTO(obv_db_drop) obv_db *db = calloc(1, sizeof *db);
    if (!db)
        return obv_fail(err, OBV_E_NOMEM, 0, "open %s", path);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(path, &db->h, flags, NULL) != SQLITE_OK)
        return db->h ? fail(db, path, err) : obv_fail(err, OBV_E_NOMEM, 0, "open %s", path);
    (void)sqlite3_busy_timeout(db->h, BUSY_MS);
    /* one process owns the state: an exclusive lock keeps a second one out, also over NFS */
    OBV_TRY(obv_db_exec(db,
                        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                        "PRAGMA foreign_keys = ON; PRAGMA secure_delete = OFF",
                        err));
    OBV_TRY(migrate(db, migrations, count, err));
    *out = OBV_STEAL(db);
    return OBV_OK;
}

void obv_db_close(obv_db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < db->count; i++) {
        (void)sqlite3_finalize(db->cache[i].st);
        free(db->cache[i].sql);
    }
    (void)sqlite3_close_v2(db->h);
    free(db);
}

void obv_db_drop(obv_db **db)
{
    obv_db_close(*db);
    *db = NULL;
}
