#include "base/mysql.h"

#include "base/secret.h"

#include <errmsg.h>
#include <errno.h>
#include <mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_MS 5000
#define QUERY_MS 10000

struct obv_mysql {
    MYSQL *h;
    char where[160]; /* user@host:port, for messages */
};

/* clang-format off */
static const struct { int number; obv_code code; } CODES[] = {
    /* the client library */
    {CR_CONNECTION_ERROR, OBV_E_UNAVAILABLE}, {CR_CONN_HOST_ERROR, OBV_E_UNAVAILABLE},
    {CR_SERVER_GONE_ERROR, OBV_E_UNAVAILABLE}, {CR_SERVER_LOST, OBV_E_UNAVAILABLE},
    {CR_UNKNOWN_HOST, OBV_E_CONFIG}, {CR_OUT_OF_MEMORY, OBV_E_NOMEM}, {CR_MALFORMED_PACKET, OBV_E_CORRUPT},
    {CR_SSL_CONNECTION_ERROR, OBV_E_UNAVAILABLE},
    /* MySQL numbers that the SQL front answers clients with */
    {1045, OBV_E_AUTH}, {1142, OBV_E_DENIED}, {1227, OBV_E_DENIED}, {1044, OBV_E_DENIED},
    {1146, OBV_E_UNSUPPORTED}, {1054, OBV_E_UNSUPPORTED}, {1064, OBV_E_UNSUPPORTED}, {1040, OBV_E_UNAVAILABLE},
    /* OceanBase */
    {4002, OBV_E_INVAL}, {4007, OBV_E_UNSUPPORTED}, {4009, OBV_E_UNAVAILABLE}, {4012, OBV_E_TIMEOUT},
    {4013, OBV_E_UNAVAILABLE}, {4016, OBV_E_PG_CHANGED}, {4018, OBV_E_PG_CHANGED}, {4023, OBV_E_PG_CHANGED},
    {4038, OBV_E_PG_CHANGED}, {4065, OBV_E_PG_CHANGED}, {4067, OBV_E_UNAVAILABLE}, {4103, OBV_E_CORRUPT},
    {4108, OBV_E_CORRUPT}, {4179, OBV_E_PRECONDITION}, {4191, OBV_E_PG_GONE}, {4225, OBV_E_PG_GONE},
    {4284, OBV_E_PG_CHANGED}, {4375, OBV_E_PRECONDITION}, {4683, OBV_E_PRECONDITION}, {5150, OBV_E_PG_GONE},
    {6312, OBV_E_PG_GONE}, {8004, OBV_E_INVAL}, {9040, OBV_E_PRECONDITION}, {9048, OBV_E_NOT_RESTORABLE},
    {9064, OBV_E_PRECONDITION},
};
/* clang-format on */

obv_code obv_mysql_code(int number)
{
    if (number == 0)
        return OBV_OK;
    const int n = number < 0 ? -number : number;
    for (size_t i = 0; i < sizeof CODES / sizeof *CODES; i++)
        if (CODES[i].number == n)
            return CODES[i].code;
    return OBV_E_INTERNAL;
}

static obv_code fail(const obv_mysql *m, const char *what, obv_err *err)
{
    const int n = (int)mysql_errno(m->h);
    obv_code code = obv_mysql_code(n);
    if (code == OBV_OK)
        code = OBV_E_UNAVAILABLE;
    if (n == CR_SERVER_LOST && errno == EAGAIN) /* the socket's own time-out */
        code = OBV_E_TIMEOUT;
    return obv_fail(err, code, n, "sql at %s: %.160s: %.80s", m->where, mysql_error(m->h), what);
}

/* NULL without a file: no password. Whatever is wrong with the file is the configuration's fault. */
static obv_code read_password(const char *path, obv_secret **out, obv_err *err)
{
    if (!path || !path[0])
        return OBV_OK;
    const obv_code code = obv_secret_load(path, out, err);
    if (code == OBV_OK || code == OBV_E_NOMEM)
        return code;
    if (err)
        err->code = OBV_E_CONFIG;
    (void)obv_wrap(err, "password file");
    return OBV_E_CONFIG;
}

static pthread_once_t library = PTHREAD_ONCE_INIT;
static void library_up(void) { (void)mysql_library_init(0, NULL, NULL); }

static obv_code connect_it(obv_mysql *m, const obv_mysql_config *cfg, const obv_secret *password, obv_err *err)
{
    const uint32_t query_ms = cfg->query_timeout_ms ? cfg->query_timeout_ms : QUERY_MS;
    const uint32_t connect_ms = cfg->connect_timeout_ms ? cfg->connect_timeout_ms : CONNECT_MS;
    const unsigned connect_s = connect_ms < 1000 ? 1 : connect_ms / 1000;
    const unsigned io_s = query_ms / 1000 + 2; /* the server's own limit comes first */
    const my_bool off = 0;
    const unsigned local_infile = 0;
    (void)mysql_options(m->h, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    (void)mysql_options(m->h, MYSQL_OPT_READ_TIMEOUT, &io_s);
    (void)mysql_options(m->h, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    (void)mysql_options(m->h, MYSQL_OPT_RECONNECT, &off);
    (void)mysql_options(m->h, MYSQL_OPT_LOCAL_INFILE, &local_infile);
    (void)mysql_options(m->h, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    (void)mysql_options4(m->h, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "obvault");
    if (!mysql_real_connect(m->h, cfg->host, cfg->user, obv_secret_reveal(password), "oceanbase", cfg->port, NULL, 0)) {
        const obv_code code = fail(m, "connect", err);
        /* whatever a connect is refused for, it is worth another try unless the account is at fault */
        if (code == OBV_E_INTERNAL)
            return obv_fail(err, OBV_E_UNAVAILABLE, (int)mysql_errno(m->h), "sql at %s: %.160s", m->where,
                            mysql_error(m->h));
        return code;
    }
    char set[96];
    (void)snprintf(set, sizeof set, "SET ob_query_timeout = %llu", (unsigned long long)query_ms * 1000);
    return obv_mysql_exec(m, set, err);
}

obv_code obv_mysql_open(const obv_mysql_config *cfg, obv_mysql **out, obv_err *err)
{
    (void)pthread_once(&library, library_up);
    OBV_AUTO(obv_mysql_drop) obv_mysql *m = calloc(1, sizeof *m);
    if (!m || !(m->h = mysql_init(NULL)))
        return obv_fail(err, OBV_E_NOMEM, 0, "sql connection");
    (void)snprintf(m->where, sizeof m->where, "%.80s@%.60s:%u", cfg->user, cfg->host, cfg->port);
    OBV_AUTO(obv_secret_freep) obv_secret *password = NULL;
    OBV_TRY(read_password(cfg->password_file, &password, err));
    OBV_TRY(connect_it(m, cfg, password, err));
    *out = OBV_STEAL(m);
    return OBV_OK;
}

void obv_mysql_close(obv_mysql *m)
{
    if (!m)
        return;
    if (m->h)
        mysql_close(m->h);
    free(m);
}

void obv_mysql_drop(obv_mysql **m)
{
    obv_mysql_close(*m);
    *m = NULL;
}

static obv_code read_rows(obv_mysql *m, MYSQL_RES *res, const char *sql, uint64_t max_rows, obv_mysql_row_fn *fn,
                          void *ctx, obv_err *err)
{
    const uint32_t columns = mysql_num_fields(res);
    for (uint64_t n = 0;; n++) {
        MYSQL_ROW row = mysql_fetch_row(res);
        if (!row)
            return mysql_errno(m->h) ? fail(m, sql, err) : OBV_OK;
        if (n >= max_rows)
            return obv_fail(err, OBV_E_LIMIT, 0, "sql at %s: more than %llu rows: %.80s", m->where,
                            (unsigned long long)max_rows, sql);
        const obv_mysql_row r = {(const char *const *)row, mysql_fetch_lengths(res), columns};
        OBV_TRY(fn(ctx, &r, err));
    }
}

obv_code obv_mysql_query(obv_mysql *m, const char *sql, uint32_t columns, uint64_t max_rows, obv_mysql_row_fn *fn,
                         void *ctx, obv_err *err)
{
    errno = 0;
    if (mysql_real_query(m->h, sql, strlen(sql)) != 0)
        return fail(m, sql, err);
    MYSQL_RES *res = mysql_use_result(m->h);
    if (!res)
        return mysql_errno(m->h)
                   ? fail(m, sql, err)
                   : obv_fail(err, OBV_E_CORRUPT, 0, "sql at %s: an answer without rows: %.80s", m->where, sql);
    obv_code code;
    if (mysql_num_fields(res) != columns)
        code = obv_fail(err, OBV_E_CORRUPT, 0, "sql at %s: %u columns, not %u: %.80s", m->where, mysql_num_fields(res),
                        columns, sql);
    else
        code = read_rows(m, res, sql, max_rows, fn, ctx, err);
    mysql_free_result(res); /* reads what is left */
    return code;
}

obv_code obv_mysql_exec(obv_mysql *m, const char *sql, obv_err *err)
{
    errno = 0;
    if (mysql_real_query(m->h, sql, strlen(sql)) != 0)
        return fail(m, sql, err);
    MYSQL_RES *res = mysql_store_result(m->h);
    if (res)
        mysql_free_result(res);
    return mysql_errno(m->h) ? fail(m, sql, err) : OBV_OK;
}

obv_code obv_mysql_quote(const char *text, char *out, size_t cap, obv_err *err)
{
    size_t at = 0;
    if (cap < 3)
        return obv_fail(err, OBV_E_LIMIT, 0, "sql text");
    out[at++] = '\'';
    for (const char *p = text; *p; p++) {
        if (*p == '\n' || *p == '\r')
            return obv_fail(err, OBV_E_INVAL, 0, "sql text holds a line break");
        if (at + 4 > cap)
            return obv_fail(err, OBV_E_LIMIT, 0, "sql text is longer than %zu bytes", cap);
        if (*p == '\'' || *p == '\\')
            out[at++] = *p == '\'' ? '\'' : '\\';
        out[at++] = *p;
    }
    out[at++] = '\'';
    out[at] = 0;
    return OBV_OK;
}

/* ---- columns */

/* Digits and nothing before them: strtoull takes white space and then a sign. */
static bool is_digits(const char *t) { return t[0] >= '0' && t[0] <= '9'; }

obv_code obv_mysql_i64(const obv_mysql_row *r, uint32_t column, int64_t *out, obv_err *err)
{
    const char *t = column < r->columns ? r->text[column] : NULL;
    *out = 0;
    if (!t || !t[0])
        return OBV_OK;
    char *end = NULL;
    errno = 0;
    *out = strtoll(t, &end, 10);
    if (errno || *end || !is_digits(t + (t[0] == '-')))
        return obv_fail(err, OBV_E_CORRUPT, 0, "sql: column %u is no 64-bit number: %.40s", column, t);
    return OBV_OK;
}

obv_code obv_mysql_u64(const obv_mysql_row *r, uint32_t column, uint64_t *out, obv_err *err)
{
    const char *t = column < r->columns ? r->text[column] : NULL;
    *out = 0;
    if (!t || !t[0])
        return OBV_OK;
    char *end = NULL;
    errno = 0;
    *out = strtoull(t, &end, 10);
    if (errno || *end || !is_digits(t))
        return obv_fail(err, OBV_E_CORRUPT, 0, "sql: column %u is no unsigned number: %.40s", column, t);
    return OBV_OK;
}

obv_code obv_mysql_text(const obv_mysql_row *r, uint32_t column, char *out, size_t cap, obv_err *err)
{
    const char *t = column < r->columns && r->text[column] ? r->text[column] : "";
    const size_t n = t[0] ? r->len[column] : 0;
    if (n >= cap || memchr(t, 0, n))
        return obv_fail(err, OBV_E_LIMIT, 0, "sql: column %u has %zu bytes, at most %zu fit", column, n, cap - 1);
    memcpy(out, t, n);
    out[n] = 0;
    return OBV_OK;
}
