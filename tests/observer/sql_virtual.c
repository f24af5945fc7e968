/* sql_virtual.c - L tables: SQLite virtual tables whose rows come from the store when a query asks for them
 *
 * OceanBase asks only the servers that svr_ip and svr_port name, and all servers without both. So here: which of the
 * two a query's plan fixes decides who is asked, and a query that does not fix both is marked.
 */
#include "sql_priv.h"

#include <stdlib.h>
#include <string.h>

struct vtab {
    sqlite3_vtab base;
    struct sql_session *session;
    const struct sql_table *table;
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct sql_result rows; /* values only */
    size_t at;
};

enum { HAS_IP = 1, HAS_PORT = 2 };

static int v_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out, char **err)
{
    (void)argc, (void)err;
    struct sql_session *s = aux;
    const struct sql_table *t = sql_schema_find(&s->srv->schema, argv[2]);
    if (!t)
        return SQLITE_ERROR;
    struct my_buf ddl = {0};
    my_put_str(&ddl, "CREATE TABLE x(");
    for (int i = 0; i < t->col_count; i++) {
        my_put_str(&ddl, i ? ", \"" : "\"");
        my_put_str(&ddl, t->col_names[i]);
        my_put_str(&ddl, "\" ");
        my_put_str(&ddl, t->col_types[i]);
    }
    my_put(&ddl, ")", 2);
    int rc = ddl.failed ? SQLITE_NOMEM : sqlite3_declare_vtab(db, (const char *)ddl.data);
    my_buf_free(&ddl);
    struct vtab *v = rc == SQLITE_OK ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return rc == SQLITE_OK ? SQLITE_NOMEM : rc;
    v->session = s;
    v->table = t;
    *out = &v->base;
    return SQLITE_OK;
}

static int v_disconnect(sqlite3_vtab *base)
{
    free(base);
    return SQLITE_OK;
}

static int v_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    const struct vtab *v = (const struct vtab *)base;
    int ip = -1, port = -1;
    for (int i = 0; i < info->nConstraint; i++) {
        if (!info->aConstraint[i].usable || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (info->aConstraint[i].iColumn == v->table->ip_col)
            ip = i;
        if (info->aConstraint[i].iColumn == v->table->port_col)
            port = i;
    }
    int args = 0;
    if (ip >= 0)
        info->aConstraintUsage[ip].argvIndex = ++args;
    if (port >= 0)
        info->aConstraintUsage[port].argvIndex = ++args;
    info->idxNum = (ip >= 0 ? HAS_IP : 0) | (port >= 0 ? HAS_PORT : 0);
    info->estimatedCost = ip >= 0 && port >= 0 ? 1000 : 1e6;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

static int v_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    (void)base;
    struct cursor *c = calloc(1, sizeof *c);
    if (!c)
        return SQLITE_NOMEM;
    *out = &c->base;
    return SQLITE_OK;
}

static int v_close(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    sql_result_free(&c->rows);
    free(c);
    return SQLITE_OK;
}

static int take_row(void *arg, const struct obs_value *row, size_t n)
{
    struct cursor *c = arg;
    const struct vtab *v = (const struct vtab *)c->base.pVtab;
    if (n != (size_t)v->table->col_count)
        return -OB_ERR_UNEXPECTED;
    for (size_t i = 0; i < n; i++) {
        struct sql_value value = {.kind = SV_NULL};
        if (row[i].kind == OBS_TEXT && row[i].s) {
            value.kind = SV_TEXT;
            value.len = strlen(row[i].s);
        } else if (row[i].kind == OBS_INT || row[i].kind == OBS_UINT) {
            value.kind = SV_INT;
            value.i = row[i].i;
        }
        if (!sql_result_add(&c->rows, value, row[i].s))
            return -OB_SIZE_LIMIT;
    }
    return 0;
}

static int v_filter(sqlite3_vtab_cursor *base, int which, const char *idx, int argc, sqlite3_value **argv)
{
    (void)idx, (void)argc;
    struct cursor *c = (struct cursor *)base;
    const struct vtab *v = (const struct vtab *)base->pVtab;
    struct sql_session *s = v->session;
    const char *ip = which & HAS_IP ? (const char *)sqlite3_value_text(argv[0]) : NULL;
    int64_t port = which & HAS_PORT ? sqlite3_value_int64(argv[which & HAS_IP ? 1 : 0]) : 0;
    if (which != (HAS_IP | HAS_PORT))
        s->nofilter = true;
    sql_result_free(&c->rows);
    c->at = 0;
    int n;
    const struct host_addr *members = host_members(s->srv->host, &n);
    for (int i = 0; i < n; i++) {
        if (((which & HAS_IP) && (!ip || strcmp(ip, members[i].ip) != 0)) ||
            ((which & HAS_PORT) && port != members[i].rpc_port))
            continue;
        if (members[i].id != host_self(s->srv->host)->id && !host_alive(s->srv->host, members[i].id))
            continue; /* a dead server is in no location cache: nobody asks it */
        int rc = obs_vtable_scan(s->srv->host, v->table->name, members[i].id, take_row, c);
        if (rc) {
            sql_fail(&s->deny, rc < 0 ? -rc : rc, "table %s cannot be read", v->table->name);
            return SQLITE_ERROR;
        }
    }
    return SQLITE_OK;
}

static int v_next(sqlite3_vtab_cursor *base)
{
    ((struct cursor *)base)->at++;
    return SQLITE_OK;
}

static int v_eof(sqlite3_vtab_cursor *base)
{
    const struct cursor *c = (const struct cursor *)base;
    const struct vtab *v = (const struct vtab *)base->pVtab;
    return c->at * (size_t)v->table->col_count >= c->rows.nval;
}

static int v_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int col)
{
    const struct cursor *c = (const struct cursor *)base;
    const struct vtab *v = (const struct vtab *)base->pVtab;
    const struct sql_value *x = &c->rows.values[c->at * (size_t)v->table->col_count + (size_t)col];
    if (x->kind == SV_TEXT)
        sqlite3_result_text(ctx, x->len ? (const char *)c->rows.text.data + x->off : "", (int)x->len, SQLITE_TRANSIENT);
    else if (x->kind == SV_INT)
        sqlite3_result_int64(ctx, x->i);
    else
        sqlite3_result_null(ctx);
    return SQLITE_OK;
}

static int v_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)((struct cursor *)base)->at;
    return SQLITE_OK;
}

static const sqlite3_module MODULE = {
    .iVersion = 1,
    .xCreate = v_connect,
    .xConnect = v_connect,
    .xBestIndex = v_best_index,
    .xDisconnect = v_disconnect,
    .xDestroy = v_disconnect,
    .xOpen = v_open,
    .xClose = v_close,
    .xFilter = v_filter,
    .xNext = v_next,
    .xEof = v_eof,
    .xColumn = v_column,
    .xRowid = v_rowid,
};

bool sql_virtual_register(struct sql_session *s)
{
    return sqlite3_create_module(s->db_handle, "si_local", &MODULE, s) == SQLITE_OK;
}
