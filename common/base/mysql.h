/* mysql.h - SQL over the MySQL protocol, as OceanBase speaks it: text queries, bounded rows, classified errors */
#ifndef OBV_BASE_MYSQL_H
#define OBV_BASE_MYSQL_H

#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>

typedef struct obv_mysql obv_mysql; /* one connection, one thread at a time */

typedef struct obv_mysql_config {
    const char *host;
    uint32_t port;
    const char *user;            /* user@tenant#cluster */
    const char *password_file;   /* one line; NULL or "" = no password. Its content never shows up in a text */
    uint32_t connect_timeout_ms; /* 0 = 5,000 */
    uint32_t query_timeout_ms;   /* 0 = 10,000; also sent as ob_query_timeout */
} obv_mysql_config;

/**
 * Connects with UTF-8 and sets the session's query time-out.
 * @return OBV_OK, OBV_E_AUTH, OBV_E_DENIED, OBV_E_UNAVAILABLE, OBV_E_TIMEOUT, OBV_E_CONFIG (password file)
 */
OBV_CHECK obv_code obv_mysql_open(const obv_mysql_config *cfg, obv_mysql **out, obv_err *err);
void obv_mysql_close(obv_mysql *m);
void obv_mysql_drop(obv_mysql **m); /* for OBV_AUTO */

/* One row of text; valid during the callback. */
typedef struct obv_mysql_row {
    const char *const *text; /* NULL = SQL NULL; always terminated */
    const unsigned long *len;
    uint32_t columns;
} obv_mysql_row;

/** NULL and "" read as 0; OBV_E_CORRUPT if it is no number of that type. */
OBV_CHECK obv_code obv_mysql_i64(const obv_mysql_row *r, uint32_t column, int64_t *out, obv_err *err);
OBV_CHECK obv_code obv_mysql_u64(const obv_mysql_row *r, uint32_t column, uint64_t *out, obv_err *err);
/** NULL reads as "". OBV_E_LIMIT if it does not fit. */
OBV_CHECK obv_code obv_mysql_text(const obv_mysql_row *r, uint32_t column, char *out, size_t cap, obv_err *err);

typedef obv_code obv_mysql_row_fn(void *ctx, const obv_mysql_row *row, obv_err *err);

/**
 * Runs a statement; @p fn sees each row (columns counted against @p columns first). More than @p max_rows rows:
 * OBV_E_LIMIT and the connection must be closed.
 * @return as obv_mysql_code; the callback's code. After OBV_E_UNAVAILABLE or OBV_E_TIMEOUT open a new connection.
 */
OBV_CHECK obv_code obv_mysql_query(obv_mysql *m, const char *sql, uint32_t columns, uint64_t max_rows,
                                   obv_mysql_row_fn *fn, void *ctx, obv_err *err);
/** A statement without rows. */
OBV_CHECK obv_code obv_mysql_exec(obv_mysql *m, const char *sql, obv_err *err);
/** Writes @p text as a quoted SQL string. OBV_E_LIMIT if it does not fit, OBV_E_INVAL with a NUL or line break. */
OBV_CHECK obv_code obv_mysql_quote(const char *text, char *out, size_t cap, obv_err *err);

/** Class of an error number of OceanBase (with or without sign) or of the MySQL protocol (docs/errors.md). */
obv_code obv_mysql_code(int number);

#endif
