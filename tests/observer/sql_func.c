/* sql_func.c - functions of MySQL and OceanBase that SQLite lacks or defines otherwise */
#include "sql_priv.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct sql_session *session_of(sqlite3_context *c) { return sqlite3_user_data(c); }

static void result_text(sqlite3_context *c, const char *s) { sqlite3_result_text(c, s, -1, SQLITE_TRANSIENT); }

static void f_sysvar(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    const char *name = (const char *)sqlite3_value_text(v[0]);
    const char *dot = name ? strrchr(name, '.') : NULL;
    const char *value = name ? sql_var_get(session_of(c), dot ? dot + 1 : name + 2) : NULL;
    if (!value) {
        sqlite3_result_null(c);
        return;
    }
    char *end;
    long long i = strtoll(value, &end, 10);
    if (*value && !*end && *value != '+')
        sqlite3_result_int64(c, i);
    else
        result_text(c, value);
}

/* Stored times are UTC; a session sees its own zone. */
static void f_stored_time(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    int64_t us;
    const char *text = (const char *)sqlite3_value_text(v[0]);
    if (!text || !sql_parse_time(text, 0, &us)) {
        sqlite3_result_null(c);
        return;
    }
    char out[27];
    sql_format_time(us, session_of(c)->tz_offset_s, out);
    result_text(c, out);
}

static void f_now(sqlite3_context *c, int n, sqlite3_value **v)
{
    int digits = n ? sqlite3_value_int(v[0]) : 0;
    char out[27];
    sql_format_time(sql_now_us(), session_of(c)->tz_offset_s, out);
    out[digits > 0 && digits <= 6 ? 20 + digits : 19] = '\0';
    result_text(c, out);
}

static void f_utc_timestamp(sqlite3_context *c, int n, sqlite3_value **v)
{
    int digits = n ? sqlite3_value_int(v[0]) : 0;
    char out[27];
    sql_format_time(sql_now_us(), 0, out);
    out[digits > 0 && digits <= 6 ? 20 + digits : 19] = '\0';
    result_text(c, out);
}

static bool time_arg(sqlite3_context *c, sqlite3_value *v, int64_t *us)
{
    const char *text = (const char *)sqlite3_value_text(v);
    return text && sql_parse_time(text, session_of(c)->tz_offset_s, us);
}

static void f_unix_timestamp(sqlite3_context *c, int n, sqlite3_value **v)
{
    int64_t us = sql_now_us();
    if (n == 0) {
        sqlite3_result_int64(c, us / 1000000);
    } else if (!time_arg(c, v[0], &us)) {
        sqlite3_result_null(c);
    } else if (us % 1000000) {
        char out[32];
        snprintf(out, sizeof out, "%" PRId64 ".%06d", us / 1000000, (int)(us % 1000000));
        result_text(c, out);
    } else {
        sqlite3_result_int64(c, us / 1000000);
    }
}

static void f_time_to_usec(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    int64_t us;
    if (time_arg(c, v[0], &us))
        sqlite3_result_int64(c, us);
    else
        sqlite3_result_null(c);
}

static void f_usec_to_time(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    if (sqlite3_value_type(v[0]) == SQLITE_NULL) {
        sqlite3_result_null(c);
        return;
    }
    char out[27];
    sql_format_time(sqlite3_value_int64(v[0]), session_of(c)->tz_offset_s, out);
    result_text(c, out);
}

static void f_from_unixtime(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    if (sqlite3_value_type(v[0]) == SQLITE_NULL) {
        sqlite3_result_null(c);
        return;
    }
    bool whole = sqlite3_value_type(v[0]) == SQLITE_INTEGER;
    int64_t us = whole ? sqlite3_value_int64(v[0]) * 1000000 : (int64_t)(sqlite3_value_double(v[0]) * 1e6 + 0.5);
    char out[27];
    sql_format_time(us, session_of(c)->tz_offset_s, out);
    if (whole)
        out[19] = '\0';
    result_text(c, out);
}

static void f_concat(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct my_buf b = {0};
    bool null = false;
    for (int i = 0; i < n; i++) {
        const void *text = sqlite3_value_text(v[i]);
        null |= !text;
        if (text)
            my_put(&b, text, (size_t)sqlite3_value_bytes(v[i]));
    }
    if (null || b.failed)
        sqlite3_result_null(c);
    else
        sqlite3_result_text(c, b.data ? (const char *)b.data : "", (int)b.len, SQLITE_TRANSIENT);
    my_buf_free(&b);
}

static void f_concat_ws(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct my_buf b = {0};
    const char *sep = n ? (const char *)sqlite3_value_text(v[0]) : NULL;
    bool any = false;
    for (int i = 1; sep && i < n; i++) {
        const void *text = sqlite3_value_text(v[i]);
        if (!text)
            continue;
        if (any)
            my_put_str(&b, sep);
        any = true;
        my_put(&b, text, (size_t)sqlite3_value_bytes(v[i]));
    }
    if (!sep || b.failed)
        sqlite3_result_null(c);
    else
        sqlite3_result_text(c, b.data ? (const char *)b.data : "", (int)b.len, SQLITE_TRANSIENT);
    my_buf_free(&b);
}

/* LIKE with backslash as the escape, letters of any case. */
static bool like(const char *p, const char *s)
{
    for (; *p; p++, s++) {
        if (*p == '%') {
            while (*p == '%')
                p++;
            for (; *s; s++)
                if (like(p, s))
                    return true;
            return !*p;
        }
        if (!*s)
            return false;
        if (*p == '_')
            continue;
        if (*p == '\\' && p[1])
            p++;
        if (tolower((unsigned char)*p) != tolower((unsigned char)*s))
            return false;
    }
    return !*s;
}

static void f_like(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    const char *pattern = (const char *)sqlite3_value_text(v[0]);
    const char *text = (const char *)sqlite3_value_text(v[1]);
    if (!pattern || !text)
        sqlite3_result_null(c);
    else if (strlen(pattern) > 1000)
        sqlite3_result_error(c, "pattern too long", -1);
    else
        sqlite3_result_int(c, like(pattern, text));
}

static void f_hex(sqlite3_context *c, int n, sqlite3_value **v)
{
    (void)n;
    if (sqlite3_value_type(v[0]) == SQLITE_NULL) {
        sqlite3_result_null(c);
        return;
    }
    if (sqlite3_value_type(v[0]) == SQLITE_INTEGER) {
        char out[20];
        snprintf(out, sizeof out, "%" PRIX64, (uint64_t)sqlite3_value_int64(v[0]));
        result_text(c, out);
        return;
    }
    const uint8_t *p = sqlite3_value_blob(v[0]);
    int len = sqlite3_value_bytes(v[0]);
    struct my_buf b = {0};
    for (int i = 0; i < len; i++) {
        char two[3];
        snprintf(two, sizeof two, "%02X", p[i]);
        my_put(&b, two, 2);
    }
    sqlite3_result_text(c, b.data ? (const char *)b.data : "", (int)b.len, SQLITE_TRANSIENT);
    my_buf_free(&b);
}

enum {
    W_DATABASE,
    W_USER,
    W_CURRENT_USER,
    W_VERSION,
    W_CONNECTION,
    W_TENANT_ID,
    W_TENANT,
    W_IP,
    W_RPC_PORT,
    W_SQL_PORT
};

static void what_am_i(sqlite3_context *c, int what)
{
    const struct sql_session *s = session_of(c);
    const struct host_addr *self = host_self(s->srv->host);
    char text[320];
    switch (what) {
    case W_DATABASE:
        if (s->db[0])
            result_text(c, s->db);
        else
            sqlite3_result_null(c);
        return;
    case W_USER: {
        int host_len = (int)strcspn(s->client, ":");
        snprintf(text, sizeof text, "%s@%.*s", s->acc.user, host_len, s->client);
        result_text(c, text);
        return;
    }
    case W_CURRENT_USER:
        snprintf(text, sizeof text, "%s@%%", s->acc.user);
        result_text(c, text);
        return;
    case W_VERSION:
        result_text(c, "5.7.25");
        return;
    case W_CONNECTION:
        sqlite3_result_int64(c, (int64_t)s->conn_id);
        return;
    case W_TENANT_ID:
        sqlite3_result_int64(c, s->tenant_id);
        return;
    case W_TENANT:
        result_text(c, s->acc.tenant);
        return;
    case W_IP:
        result_text(c, self->ip);
        return;
    case W_RPC_PORT:
        sqlite3_result_int(c, self->rpc_port);
        return;
    case W_SQL_PORT:
        sqlite3_result_int(c, self->sql_port);
        return;
    default:
        sqlite3_result_null(c);
    }
}

#define WHAT(fn, what)                                                                                                 \
    static void fn(sqlite3_context *c, int n, sqlite3_value **v)                                                       \
    {                                                                                                                  \
        (void)n, (void)v;                                                                                              \
        what_am_i(c, what);                                                                                            \
    }
WHAT(f_database, W_DATABASE)
WHAT(f_user, W_USER)
WHAT(f_current_user, W_CURRENT_USER)
WHAT(f_version, W_VERSION)
WHAT(f_connection_id, W_CONNECTION)
WHAT(f_tenant_id, W_TENANT_ID)
WHAT(f_tenant, W_TENANT)
WHAT(f_host_ip, W_IP)
WHAT(f_rpc_port, W_RPC_PORT)
WHAT(f_mysql_port, W_SQL_PORT)

static const struct {
    const char *name;
    int args;
    void (*fn)(sqlite3_context *, int, sqlite3_value **);
} FUNCS[] = {{"si_sysvar", 1, f_sysvar},
             {"si_stored_time", 1, f_stored_time},
             {"now", 0, f_now},
             {"now", 1, f_now},
             {"current_timestamp", 0, f_now},
             {"current_timestamp", 1, f_now},
             {"utc_timestamp", 0, f_utc_timestamp},
             {"utc_timestamp", 1, f_utc_timestamp},
             {"unix_timestamp", 0, f_unix_timestamp},
             {"unix_timestamp", 1, f_unix_timestamp},
             {"from_unixtime", 1, f_from_unixtime},
             {"time_to_usec", 1, f_time_to_usec},
             {"usec_to_time", 1, f_usec_to_time},
             {"concat", -1, f_concat},
             {"concat_ws", -1, f_concat_ws},
             {"like", 2, f_like},
             {"hex", 1, f_hex},
             {"database", 0, f_database},
             {"schema", 0, f_database},
             {"user", 0, f_user},
             {"current_user", 0, f_current_user},
             {"version", 0, f_version},
             {"connection_id", 0, f_connection_id},
             {"effective_tenant_id", 0, f_tenant_id},
             {"effective_tenant", 0, f_tenant},
             {"host_ip", 0, f_host_ip},
             {"rpc_port", 0, f_rpc_port},
             {"mysql_port", 0, f_mysql_port}};

bool sql_funcs_register(struct sql_session *s)
{
    for (size_t i = 0; i < sizeof FUNCS / sizeof *FUNCS; i++)
        if (sqlite3_create_function(s->db_handle, FUNCS[i].name, FUNCS[i].args, SQLITE_UTF8, s, FUNCS[i].fn, NULL,
                                    NULL))
            return false;
    return true;
}

bool sql_func_allowed(const char *name)
{
    /* SQLite's own that MySQL has too, with the same meaning */
    static const char *const SAME[] = {
        "count", "sum",    "min",   "max",     "avg",    "group_concat", "coalesce",   "ifnull", "nullif", "iif",
        "abs",   "length", "lower", "upper",   "substr", "substring",    "trim",       "ltrim",  "rtrim",  "replace",
        "instr", "round",  "ceil",  "ceiling", "floor",  "mod",          "row_number", "rank",   "lag",    "lead"};
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++)
        if (strcasecmp(name, SAME[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof FUNCS / sizeof *FUNCS; i++)
        if (strcasecmp(name, FUNCS[i].name) == 0)
            return true;
    return false;
}
