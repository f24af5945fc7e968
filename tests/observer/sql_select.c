/* sql_select.c - SELECT: what may be read, running it, and what type each column of the answer has */
#include "sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void note_table(struct sql_session *s, const char *name)
{
    for (size_t i = 0; i < s->table_count; i++)
        if (strcasecmp(s->tables[i], name) == 0)
            return;
    if (s->table_count < sizeof s->tables / sizeof *s->tables)
        snprintf(s->tables[s->table_count++], sizeof s->tables[0], "%s", name);
}

/* Tables of SQLite and of the stand-in itself. */
static bool is_internal(const char *name)
{
    static const char *const PREFIXES[] = {"sqlite_", "pragma_", "so_", "front_", "json_"};
    for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        if (strncasecmp(name, PREFIXES[i], strlen(PREFIXES[i])) == 0)
            return true;
    return false;
}

/* Only SELECT, only tables of the schema (through their views), only functions that the server has. */
static int authorize(void *ctx, int action, const char *a, const char *b, const char *db, const char *view)
{
    struct sql_session *s = ctx;
    if (s->internal)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        if (sql_func_allowed(b))
            return SQLITE_OK;
        sql_fail(&s->deny, SQL_E_FUNCTION, "FUNCTION %s does not exist", b);
        return SQLITE_DENY;
    case SQLITE_READ:
        if (!a)
            return SQLITE_OK; /* a subquery */
        if (sql_schema_find(&s->srv->schema, a) && (view || !db || !*b || strcmp(db, "temp") == 0)) {
            note_table(s, a);
            return SQLITE_OK;
        }
        if ((!db || !*db) && !is_internal(a)) /* a common table expression */
            return SQLITE_OK;
        sql_fail(&s->deny, SQL_E_TABLE, "Table 'oceanbase.%s' doesn't exist", a);
        return SQLITE_DENY;
    default:
        sql_fail(&s->deny, SQL_E_TABLE, "Table 'oceanbase.%s' doesn't exist",
                 a ? a : "?"); /* SQLite's own table functions */
        return SQLITE_DENY;
    }
}

static int on_progress(void *ctx)
{
    const struct sql_session *s = ctx;
    return (s->deadline_us && sql_mono_us() > s->deadline_us) || host_stopping(s->srv->host);
}

static bool make_view(struct sql_session *s, const struct sql_table *t)
{
    struct my_buf b = {0};
    if (strcmp(t->kind, "L") == 0) {
        my_put_str(&b, "CREATE VIRTUAL TABLE temp.\"");
        my_put_str(&b, t->name);
        my_put_str(&b, "\" USING si_local");
    } else {
        my_put_str(&b, "CREATE TEMP VIEW \"");
        my_put_str(&b, t->name);
        my_put_str(&b, "\" AS SELECT ");
        for (int i = 0; i < t->col_count; i++) {
            bool time = strncmp(t->col_types[i], "timestamp", 9) == 0;
            my_put_str(&b, i ? ", " : "");
            my_put_str(&b, time ? "si_stored_time(\"" : "\"");
            my_put_str(&b, t->col_names[i]);
            my_put_str(&b, time ? "\") AS \"" : "\" AS \"");
            my_put_str(&b, t->col_names[i]);
            my_put_str(&b, "\"");
        }
        my_put_str(&b, " FROM store.\"");
        my_put_str(&b, t->name);
        my_put_str(&b, "\"");
    }
    my_put_zero(&b, 1);
    bool ok = !b.failed && sqlite3_exec(s->db_handle, (const char *)b.data, NULL, NULL, NULL) == SQLITE_OK;
    my_buf_free(&b);
    return ok;
}

static void read_greeting(struct sql_session *s)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db_handle, "SELECT comment FROM store.so_greeting WHERE host = ?1", -1, &q, NULL) ==
        SQLITE_OK) {
        sqlite3_bind_int(q, 1, host_self(s->srv->host)->id);
        if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_text(q, 0))
            snprintf(s->greeting, sizeof s->greeting, "%s", (const char *)sqlite3_column_text(q, 0));
    }
    sqlite3_finalize(q);
}

bool sql_session_open(struct sql_session *s, struct sql_server *srv, const struct sql_account *acc, uint64_t conn_id,
                      const char *client, struct sql_err *err)
{
    *s = (struct sql_session){.srv = srv, .acc = *acc, .conn_id = conn_id, .internal = 1, .tenant_id = OBS_SYS_TENANT};
    snprintf(s->client, sizeof s->client, "%s", client);
    sql_time_zone("SYSTEM", &s->tz_offset_s);
    char attach[700];
    sqlite3_snprintf(sizeof attach, attach, "ATTACH %Q AS store", host_cluster_db(srv->host));
    bool ok = sqlite3_open_v2(":memory:", &s->db_handle,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
    if (ok) {
        sqlite3_busy_timeout(s->db_handle, 10000);
        sqlite3_limit(s->db_handle, SQLITE_LIMIT_LENGTH, 64 << 20);
        ok = sqlite3_exec(s->db_handle, attach, NULL, NULL, NULL) == SQLITE_OK && sql_funcs_register(s) &&
             sql_virtual_register(s);
    }
    for (size_t i = 0; ok && i < srv->schema.n; i++)
        ok = make_view(s, &srv->schema.v[i]);
    if (!ok) {
        sql_fail(err, OB_ERR_UNEXPECTED, "session: %s", s->db_handle ? sqlite3_errmsg(s->db_handle) : "no memory");
        sql_session_close(s);
        return false;
    }
    read_greeting(s);
    sqlite3_exec(s->db_handle, "PRAGMA query_only=1", NULL, NULL, NULL);
    sqlite3_set_authorizer(s->db_handle, authorize, s);
    sqlite3_progress_handler(s->db_handle, 2000, on_progress, s);
    s->internal = 0;
    return true;
}

void sql_session_reset(struct sql_session *s)
{
    for (size_t i = 0; i < SQL_MAX_VARS; i++) {
        free(s->vars[i]);
        s->vars[i] = NULL;
    }
    free(s->restore_sources);
    s->restore_sources = NULL;
    sql_time_zone("SYSTEM", &s->tz_offset_s);
}

void sql_session_close(struct sql_session *s)
{
    sql_session_reset(s);
    sqlite3_close_v2(s->db_handle);
    s->db_handle = NULL;
}

/* SQLite's message tells what MySQL would have numbered. */
static bool map_error(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    static const struct {
        const char *text;
        int number;
        const char *fmt;
    } MAP[] = {{"no such table: ", SQL_E_TABLE, "Table 'oceanbase.%s' doesn't exist"},
               {"no such column: ", SQL_E_COLUMN, "Unknown column '%s' in 'field list'"},
               {"ambiguous column name: ", SQL_E_AMBIGUOUS, "Column '%s' in field list is ambiguous"},
               {"no such function: ", SQL_E_FUNCTION, "FUNCTION %s does not exist"}};
    if (s->deny.number) {
        *err = s->deny;
        return false;
    }
    const char *msg = sqlite3_errmsg(s->db_handle);
    size_t tail = st->len > 80 ? 80 : st->len; /* the text has no NUL */
    for (size_t i = 0; i < sizeof MAP / sizeof *MAP; i++)
        if (strncmp(msg, MAP[i].text, strlen(MAP[i].text)) == 0) {
            const char *name = msg + strlen(MAP[i].text);
            if (strncmp(name, "store.", 6) == 0)
                name += 6;
            char text[400];
            size_t lead = strcspn(MAP[i].fmt, "%");
            snprintf(text, sizeof text, "%.*s%s%s", (int)lead, MAP[i].fmt, name, MAP[i].fmt + lead + 2);
            return sql_fail(err, MAP[i].number, "%s", text);
        }
    switch (sqlite3_errcode(s->db_handle)) {
    case SQLITE_INTERRUPT:
        return sql_fail(err, OB_TIMEOUT, "Timeout, query has reached the maximum query timeout");
    case SQLITE_BUSY:
        return sql_fail(err, OB_TIMEOUT, "Timeout: shared tables are busy");
    case SQLITE_TOOBIG:
        return sql_fail(err, OB_SIZE_LIMIT, "result is too large");
    case SQLITE_ERROR:
        if (strstr(msg, "misuse of aggregate"))
            return sql_fail(err, SQL_E_AGGREGATE, "Invalid use of group function");
        return sql_fail(err, SQL_E_SYNTAX, "You have an error in your SQL syntax: %s near '%.*s'", msg, (int)tail,
                        st->text + st->len - tail);
    default:
        return sql_fail(err, OB_ERR_UNEXPECTED, "%s", msg);
    }
}

static void declared_type(struct sql_col *c, const char *type)
{
    c->type = MYT_STRING;
    c->length = 65535;
    if (!type)
        return;
    c->fixed = true;
    if (strncasecmp(type, "bigint", 6) == 0) {
        c->type = MYT_LONGLONG;
        c->length = 20;
        c->is_unsigned = strstr(type, "unsigned") != NULL;
    } else if (strncasecmp(type, "tinyint", 7) == 0) {
        c->type = MYT_TINY;
        c->length = 4;
    } else if (strncasecmp(type, "double", 6) == 0) {
        c->type = MYT_DOUBLE;
        c->length = 23;
    } else if (strncasecmp(type, "longtext", 8) == 0) {
        c->type = MYT_BLOB;
        c->length = UINT32_MAX;
    } else if (sscanf(type, "varchar(%u)", &c->length) == 1) {
        c->length *= 4; /* utf8mb4 */
    }
}

static bool describe_columns(sqlite3_stmt *q, struct sql_result *out)
{
    int n = sqlite3_column_count(q);
    if (!sql_result_cols(out, (size_t)n))
        return false;
    for (int i = 0; i < n; i++) {
        struct sql_col *c = &out->cols[i];
        const char *name = sqlite3_column_name(q, i);
        char var[128];
        if (sscanf(name, "si_sysvar('%127[^']')", var) == 1)
            name = var;
        snprintf(c->name, sizeof c->name, "%s", name);
        declared_type(c, sqlite3_column_decltype(q, i));
    }
    return true;
}

static bool looks_like_time(const char *s, size_t len)
{
    return len == 26 && s[4] == '-' && s[7] == '-' && s[10] == ' ' && s[13] == ':' && s[16] == ':' && s[19] == '.';
}

/* An expression has the type of its first value that is not NULL. */
static void type_from_value(struct sql_col *c, const struct sql_value *v, const char *text)
{
    if (c->fixed || v->kind == SV_NULL)
        return;
    c->fixed = true;
    c->type = v->kind == SV_INT ? MYT_LONGLONG : v->kind == SV_DOUBLE ? MYT_DOUBLE : MYT_STRING;
    if (v->kind == SV_TEXT && looks_like_time(text, v->len))
        c->type = MYT_TIMESTAMP;
    if (v->kind != SV_TEXT)
        c->length = 23;
}

static void bind(sqlite3_stmt *q, const struct sql_stmt *st)
{
    for (size_t i = 0; i < st->nparam; i++) {
        const struct sql_param *p = &st->params[i];
        int at = (int)i + 1;
        if (p->kind == SP_INT)
            sqlite3_bind_int64(q, at, p->i);
        else if (p->kind == SP_DOUBLE)
            sqlite3_bind_double(q, at, p->d);
        else if (p->kind == SP_TEXT)
            sqlite3_bind_text(q, at, p->text ? p->text : "", (int)p->len, SQLITE_STATIC);
    }
}

/* @return SQLITE_DONE, or what ended the query early; SQLITE_TOOBIG when the answer is too large to keep */
static int fetch(sqlite3_stmt *q, struct sql_result *out)
{
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        for (int i = 0; i < (int)out->ncol; i++) {
            struct sql_value v = {.kind = SV_NULL};
            const void *text = NULL;
            switch (sqlite3_column_type(q, i)) {
            case SQLITE_INTEGER:
                v.kind = SV_INT;
                v.i = sqlite3_column_int64(q, i);
                break;
            case SQLITE_FLOAT:
                v.kind = SV_DOUBLE;
                v.d = sqlite3_column_double(q, i);
                break;
            case SQLITE_TEXT:
            case SQLITE_BLOB:
                v.kind = SV_TEXT;
                text = sqlite3_column_blob(q, i);
                v.len = (size_t)sqlite3_column_bytes(q, i);
                break;
            default:
                break;
            }
            type_from_value(&out->cols[i], &v, text);
            if (!sql_result_add(out, v, text))
                return SQLITE_TOOBIG;
        }
    }
    return rc;
}

bool sql_select(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    struct my_buf text = {0};
    if (!sql_rewrite(s, st, &text, err)) {
        my_buf_free(&text);
        return false;
    }
    sqlite3_stmt *q = NULL;
    s->deny.number = 0;
    int rc = sqlite3_prepare_v2(s->db_handle, (const char *)text.data, -1, &q, NULL);
    my_buf_free(&text);
    bool ok = rc == SQLITE_OK && q;
    if (!ok) {
        map_error(s, st, err);
    } else if (s->table_count && !(s->acc.rights & SQL_RIGHT_SELECT)) {
        ok = sql_fail(err, SQL_E_SELECT_DENIED, "SELECT command denied to user '%s'@'%%' for table '%s'", s->acc.user,
                      s->tables[0]);
    } else if (s->table_count && s->tenant_id != OBS_SYS_TENANT) {
        ok = sql_fail(err, SQL_E_TABLE, "Table 'oceanbase.%s' doesn't exist", s->tables[0]);
    } else if (!describe_columns(q, out)) {
        ok = sql_fail(err, OB_ERR_UNEXPECTED, "no memory");
    } else if (!st->describe) {
        bind(q, st);
        int held = host_schema_hold(s->srv->host, false);
        rc = fetch(q, out);
        host_schema_release(held);
        if (rc == SQLITE_TOOBIG)
            ok = sql_fail(err, OB_SIZE_LIMIT, "result is too large");
        else if (rc != SQLITE_DONE)
            ok = map_error(s, st, err);
    }
    sqlite3_finalize(q);
    return ok;
}
