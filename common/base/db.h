/* db.h - SQLite: WAL, synchronous=FULL, migrations by user_version, typed arguments, transactions as guards
 *
 * One thread at a time per database (the owner holds a lock of its own). Statements are prepared once and kept.
 */
#ifndef OBV_BASE_DB_H
#define OBV_BASE_DB_H

#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>

typedef struct obv_db obv_db;
typedef struct obv_rows obv_rows; /* one running query */

/**
 * Opens or creates @p path (":memory:" for tests). migrations[i] is the SQL that leads from user_version i to i + 1;
 * each runs in its own transaction.
 * @return OBV_OK; OBV_E_UNSUPPORTED: the file was written by a newer program; OBV_E_CORRUPT; OBV_E_BUSY: another
 * process holds it; OBV_E_IO, OBV_E_NO_SPACE
 */
OBV_CHECK obv_code obv_db_open(const char *path, const char *const *migrations, size_t count, obv_db **out,
                               obv_err *err);
void obv_db_close(obv_db *db);
void obv_db_drop(obv_db **db); /* for OBV_AUTO */

/* A bound argument; text and blob are borrowed until the call returns (obv_db_query: until its rows are freed). */
typedef struct obv_db_arg {
    enum { OBV_DB_NULL, OBV_DB_I64, OBV_DB_TEXT, OBV_DB_BLOB } kind;
    int64_t i;
    const void *p;
    size_t len;
} obv_db_arg;
static inline obv_db_arg obv_db_i(int64_t v) { return (obv_db_arg){OBV_DB_I64, v, NULL, 0}; }
/** Unsigned numbers are stored with the same bits. */
static inline obv_db_arg obv_db_u(uint64_t v) { return (obv_db_arg){OBV_DB_I64, (int64_t)v, NULL, 0}; }
static inline obv_db_arg obv_db_s(const char *s)
{
    return s ? (obv_db_arg){OBV_DB_TEXT, 0, s, strlen(s)} : (obv_db_arg){OBV_DB_NULL, 0, NULL, 0};
}
static inline obv_db_arg obv_db_b(obv_span b)
{
    return (obv_db_arg){OBV_DB_BLOB, 0, b.p ? b.p : (const void *)"", b.len};
}

/** Runs one statement without rows. @p changed (may be NULL): rows inserted, updated or deleted. */
OBV_CHECK obv_code obv_db_run_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, int64_t *changed,
                                   obv_err *err);
/** Begins a query. */
OBV_CHECK obv_code obv_db_query_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, obv_rows **out,
                                     obv_err *err);
#define OBV_DB_ARGS(...)                                                                                               \
    (const obv_db_arg[]){__VA_ARGS__}, sizeof((const obv_db_arg[]){__VA_ARGS__}) / sizeof(obv_db_arg)
/** obv_db_run(db, err, "UPDATE t SET a = ? WHERE b = ?", obv_db_i(1), obv_db_s("x")) */
#define obv_db_run(db, err, sql, ...) obv_db_run_args((db), (sql), OBV_DB_ARGS(__VA_ARGS__), NULL, (err))
#define obv_db_query(db, err, out, sql, ...) obv_db_query_args((db), (sql), OBV_DB_ARGS(__VA_ARGS__), (out), (err))
/** SQL text of any number of statements, no arguments. */
OBV_CHECK obv_code obv_db_exec(obv_db *db, const char *sql, obv_err *err);
/** One number of one row; OBV_E_NOT_FOUND without a row (NULL reads as 0). */
OBV_CHECK obv_code obv_db_i64_args(obv_db *db, const char *sql, const obv_db_arg *args, size_t n, int64_t *out,
                                   obv_err *err);
#define obv_db_i64(db, err, out, sql, ...) obv_db_i64_args((db), (sql), OBV_DB_ARGS(__VA_ARGS__), (out), (err))

/** OBV_OK with a row, OBV_E_NOT_FOUND after the last. */
OBV_CHECK obv_code obv_rows_next(obv_rows *r, obv_err *err);
int64_t obv_rows_i64(const obv_rows *r, int column);
static inline uint64_t obv_rows_u64(const obv_rows *r, int column) { return (uint64_t)obv_rows_i64(r, column); }
/** Valid until the next step; never NULL ("" for NULL). */
const char *obv_rows_text(const obv_rows *r, int column);
obv_span obv_rows_blob(const obv_rows *r, int column);
/** Copies text into a field, cut at its end. */
void obv_rows_copy(const obv_rows *r, int column, char *out, size_t cap);
bool obv_rows_is_null(const obv_rows *r, int column);
void obv_rows_free(obv_rows *r);
void obv_rows_drop(obv_rows **r); /* for OBV_AUTO */

/* A transaction that rolls back unless committed. Begun inside another one it joins it: the outer one commits all, or
 * nothing once an inner one was dropped. */
typedef struct obv_tx {
    obv_db *db;
} obv_tx;
OBV_CHECK obv_code obv_tx_begin(obv_db *db, obv_tx *tx, obv_err *err);
/** Durable on OBV_OK when it is the outermost one. */
OBV_CHECK obv_code obv_tx_commit(obv_tx *tx, obv_err *err);
void obv_tx_drop(obv_tx *tx); /* for OBV_AUTO */
/** Rows changed since the database was opened: unchanged means that nothing was written. */
int64_t obv_db_changes(const obv_db *db);

#endif
