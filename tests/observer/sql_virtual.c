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

/* Rows of one table from a set of servers, as one statement sees them. */
struct sql_rows {
    struct sql_rows *next;
    const struct sql_table *table;
    uint32_t hosts;         /* bit = number of the host */
    struct sql_result rows; /* values only */
    uint32_t count, buckets;
    uint32_t *head, *chain; /* row + 1 by hash of the PG's key; 0 = end */
};

struct cursor {
    sqlite3_vtab_cursor base;
    const struct sql_rows *rows;
    uint32_t at; /* row */
    bool by_key; /* only rows of one bucket; SQLite compares again */
};

enum { HAS_IP = 1, HAS_PORT = 2, HAS_TABLE = 4, HAS_PARTITION = 8, HAS_KEY = 12 };

void sql_virtual_forget(struct sql_session *s)
{
    while (s->rows) {
        struct sql_rows *r = s->rows;
        s->rows = r->next;
        sql_result_free(&r->rows);
        free(r->head);
        free(r->chain);
        free(r);
    }
}

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
    const int columns[4] = {v->table->ip_col, v->table->port_col, v->table->id_col, v->table->part_col};
    int found[4] = {-1, -1, -1, -1}, args = 0;
    for (int i = 0; i < info->nConstraint; i++)
        for (int k = 0; k < 4; k++)
            if (info->aConstraint[i].usable && info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ &&
                columns[k] >= 0 && info->aConstraint[i].iColumn == columns[k])
                found[k] = i;
    if (found[2] < 0 || found[3] < 0) /* half a key finds nothing */
        found[2] = found[3] = -1;
    info->idxNum = 0;
    for (int k = 0; k < 4; k++)
        if (found[k] >= 0) {
            info->aConstraintUsage[found[k]].argvIndex = ++args;
            info->idxNum |= 1 << k;
        }
    bool local = (info->idxNum & (HAS_IP | HAS_PORT)) == (HAS_IP | HAS_PORT);
    info->estimatedCost = (local ? 1000 : 1e6) / (info->idxNum & HAS_KEY ? 1000 : 1);
    info->estimatedRows = info->idxNum & HAS_KEY ? 1 : 1000;
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
    free(base);
    return SQLITE_OK;
}

static int take_row(void *arg, const struct obs_value *row, size_t n)
{
    struct sql_rows *to = arg;
    if (n != (size_t)to->table->col_count)
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
        if (!sql_result_add(&to->rows, value, row[i].s))
            return -OB_SIZE_LIMIT;
    }
    to->count++;
    return 0;
}

static const struct sql_value *cell(const struct sql_rows *r, uint32_t row, int col)
{
    return &r->rows.values[(size_t)row * (size_t)r->table->col_count + (size_t)col];
}

static uint32_t bucket_of(const struct sql_rows *r, int64_t table_id, int64_t partition_idx)
{
    uint64_t h = ((uint64_t)table_id * 0x9e3779b97f4a7c15u + (uint64_t)partition_idx) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(h >> 32) & (r->buckets - 1);
}

static bool make_index(struct sql_rows *r)
{
    r->buckets = 16;
    while (r->buckets < r->count)
        r->buckets *= 2;
    r->head = calloc(r->buckets, sizeof *r->head);
    r->chain = calloc(r->count + 1, sizeof *r->chain);
    if (!r->head || !r->chain)
        return false;
    if (r->table->id_col < 0 || r->table->part_col < 0)
        return true;
    for (uint32_t i = r->count; i-- > 0;) {
        uint32_t b = bucket_of(r, cell(r, i, r->table->id_col)->i, cell(r, i, r->table->part_col)->i);
        r->chain[i] = r->head[b];
        r->head[b] = i + 1;
    }
    return true;
}

/* @return false: the session's `deny` says why */
static bool scan(struct sql_session *s, struct sql_rows *r)
{
    for (int i = 0, n = (int)(8 * sizeof r->hosts); i < n; i++) {
        int rc = r->hosts & 1u << i ? obs_vtable_scan(s->srv->host, r->table->name, i, take_row, r) : 0;
        if (rc)
            return sql_fail(&s->deny, rc < 0 ? -rc : rc, "table %s cannot be read", r->table->name);
    }
    return make_index(r) ? true : sql_fail(&s->deny, OB_SIZE_LIMIT, "no memory");
}

static const struct sql_rows *rows_of(struct sql_session *s, const struct sql_table *t, uint32_t hosts)
{
    for (struct sql_rows *r = s->rows; r; r = r->next)
        if (r->table == t && r->hosts == hosts)
            return r;
    struct sql_rows *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->table = t;
    r->hosts = hosts;
    r->next = s->rows;
    s->rows = r;
    return scan(s, r) ? r : NULL;
}

/* A dead server is in no location cache: nobody asks it. */
static uint32_t hosts_of(const struct sql_session *s, const char *ip, int64_t port, int which)
{
    int n;
    uint32_t hosts = 0;
    const struct host_addr *members = host_members(s->srv->host, &n);
    for (int i = 0; i < n; i++) {
        if (((which & HAS_IP) && (!ip || strcmp(ip, members[i].ip) != 0)) ||
            ((which & HAS_PORT) && port != members[i].rpc_port))
            continue;
        if (members[i].id == host_self(s->srv->host)->id || host_alive(s->srv->host, members[i].id))
            hosts |= 1u << members[i].id;
    }
    return hosts;
}

static int v_filter(sqlite3_vtab_cursor *base, int which, const char *idx, int argc, sqlite3_value **argv)
{
    (void)idx, (void)argc;
    struct cursor *c = (struct cursor *)base;
    const struct vtab *v = (const struct vtab *)base->pVtab;
    struct sql_session *s = v->session;
    int arg = 0;
    const char *ip = which & HAS_IP ? (const char *)sqlite3_value_text(argv[arg++]) : NULL;
    int64_t port = which & HAS_PORT ? sqlite3_value_int64(argv[arg++]) : 0;
    if ((which & (HAS_IP | HAS_PORT)) != (HAS_IP | HAS_PORT))
        s->nofilter = true;
    c->by_key = which & HAS_TABLE && sqlite3_value_type(argv[arg]) == SQLITE_INTEGER &&
                sqlite3_value_type(argv[arg + 1]) == SQLITE_INTEGER; /* else all rows, and SQLite compares */
    c->rows = rows_of(s, v->table, hosts_of(s, ip, port, which));
    if (!c->rows)
        return SQLITE_ERROR;
    c->at = 0;
    if (c->by_key) /* no row: UINT32_MAX, behind the end */
        c->at =
            c->rows->head[bucket_of(c->rows, sqlite3_value_int64(argv[arg]), sqlite3_value_int64(argv[arg + 1]))] - 1;
    return SQLITE_OK;
}

static int v_next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    c->at = c->by_key ? c->rows->chain[c->at] - 1 : c->at + 1;
    return SQLITE_OK;
}

static int v_eof(sqlite3_vtab_cursor *base)
{
    const struct cursor *c = (const struct cursor *)base;
    return c->at >= c->rows->count;
}

static int v_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int col)
{
    const struct cursor *c = (const struct cursor *)base;
    const struct sql_value *x = cell(c->rows, c->at, col);
    if (x->kind == SV_TEXT)
        sqlite3_result_text(ctx, x->len ? (const char *)c->rows->rows.text.data + x->off : "", (int)x->len,
                            SQLITE_TRANSIENT);
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
