/* sql_restore.c - ALTER SYSTEM RESTORE: grammar and every refusal that comes before the job exists
 *
 *   ALTER SYSTEM RESTORE [<table>, ... FOR] <dest> FROM <src> [AT 'uri'] UNTIL 'datetime' WITH 'key=value&...'
 * [PREVIEW]
 */
#include "sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_OPTION 2048 /* characters after WITH */

static bool is_name(const struct sql_tok *t) { return t->kind == TK_WORD || t->kind == TK_QUOTED; }

struct parsed {
    struct obs_restore r;
    const char *until;
    bool tables; /* the list form */
};

static bool parse(const struct sql_stmt *st, struct parsed *p, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    size_t i = 3;
    for (size_t k = i; k < t->n && !sql_tok_is(t, k, "from"); k++)
        if (sql_tok_is(t, k, "for")) {
            p->tables = true;
            i = k + 1;
        }
    if (!is_name(&t->v[i]))
        return sql_syntax(err, st, i);
    p->r.dst_tenant = t->v[i++].text;
    if (!sql_tok_is(t, i, "from") || !is_name(&t->v[i + 1]))
        return sql_syntax(err, st, i);
    p->r.src_tenant = t->v[i + 1].text;
    i += 2;
    if (sql_tok_is(t, i, "at")) {
        if (t->v[i + 1].kind != TK_STRING)
            return sql_syntax(err, st, i + 1);
        p->r.at = t->v[i + 1].text;
        i += 2;
    }
    if (!sql_tok_is(t, i, "until") || t->v[i + 1].kind != TK_STRING)
        return sql_syntax(err, st, i);
    p->until = t->v[i + 1].text;
    i += 2;
    if (!sql_tok_is(t, i, "with") || t->v[i + 1].kind != TK_STRING)
        return sql_syntax(err, st, i);
    p->r.options = t->v[i + 1].text;
    i += 2;
    if (sql_tok_is(t, i, "preview")) {
        p->r.preview = true;
        i++;
    }
    if (i != t->n || (p->tables && (!p->r.at || p->r.preview)))
        return sql_syntax(err, st, i);
    return true;
}

/* The value of a key of the restore option, keys in any case; "" when it is absent. */
static void option(const char *options, const char *key, char *out, size_t cap)
{
    size_t n = strlen(key);
    out[0] = '\0';
    for (const char *p = options; *p;) {
        size_t len = strcspn(p, "&");
        if (len > n && strncasecmp(p, key, n) == 0 && p[n] == '=')
            snprintf(out, cap, "%.*s", (int)(len - n - 1), p + n + 1);
        p += len;
        if (*p)
            p++;
    }
}

/* First column of the first row as text. @return false: no row */
static bool ask(struct sql_session *s, const char *query, const char *arg, char *out, size_t cap)
{
    sqlite3_stmt *q = NULL;
    s->internal++;
    bool row = sqlite3_prepare_v2(s->db_handle, query, -1, &q, NULL) == SQLITE_OK;
    if (row) {
        if (arg)
            sqlite3_bind_text(q, 1, arg, -1, SQLITE_STATIC);
        row = sqlite3_step(q) == SQLITE_ROW;
        if (row)
            snprintf(out, cap, "%s", sqlite3_column_text(q, 0) ? (const char *)sqlite3_column_text(q, 0) : "");
    }
    sqlite3_finalize(q);
    s->internal--;
    s->nofilter = false; /* our own question, not the client's */
    return row;
}

static bool check_options(const char *options, struct sql_err *err)
{
    static const char *const REQUIRED[] = {"backup_cluster_name", "backup_cluster_id", "pool_list"};
    char value[MAX_OPTION + 1];
    if (strlen(options) > MAX_OPTION)
        return sql_fail(err, OB_INVALID_ARGUMENT, "restore option is longer than %d", MAX_OPTION);
    for (size_t i = 0; i < sizeof REQUIRED / sizeof *REQUIRED; i++) {
        option(options, REQUIRED[i], value, sizeof value);
        if (!value[0])
            return sql_fail(err, OB_INVALID_ARGUMENT, "Incorrect arguments to restore option, %s is missing",
                            REQUIRED[i]);
    }
    option(options, "backup_cluster_id", value, sizeof value);
    char *end;
    return strtoll(value, &end, 10) > 0 && !*end
               ? true
               : sql_fail(err, OB_INVALID_ARGUMENT, "Incorrect arguments to backup_cluster_id");
}

static bool check_pools(struct sql_session *s, const char *options, struct sql_err *err)
{
    char pools[MAX_OPTION + 1], owner[32];
    option(options, "pool_list", pools, sizeof pools);
    char *save = NULL;
    for (char *name = strtok_r(pools, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (!ask(s, "SELECT tenant_id FROM store.__all_resource_pool WHERE name = ?", name, owner, sizeof owner))
            return sql_fail(err, OB_RESOURCE_POOL_NOT_EXIST, "resource pool '%s' is not exist", name);
        if (strcmp(owner, "-1") != 0)
            return sql_fail(err, OB_RESOURCE_POOL_GRANTED, "resource pool '%s' has already been granted to a tenant",
                            name);
    }
    return true;
}

/* What RootService looks at before it makes a job (physical_restore_tenant), in its order. */
static bool check_target(struct sql_session *s, const struct parsed *p, struct sql_err *err)
{
    char value[64];
    const char *param = "SELECT value FROM temp.__all_virtual_sys_parameter_stat WHERE name = ? ORDER BY value LIMIT 1";
    if (!ask(s, param, "restore_concurrency", value, sizeof value) || strtol(value, NULL, 10) <= 0)
        return sql_fail(err, OB_OP_NOT_ALLOW, "restore tenant when restore_concurrency is 0 is not allowed");
    if (ask(s, param, "enable_upgrade_mode", value, sizeof value) && strcasecmp(value, "False") != 0)
        return sql_fail(err, OB_OP_NOT_ALLOW, "restore tenant while in upgrade mode is not allowed");
    if (ask(s, "SELECT cluster_role FROM store.__all_virtual_cluster", NULL, value, sizeof value) &&
        strcmp(value, "PRIMARY") != 0)
        return sql_fail(err, OB_OP_NOT_ALLOW, "restore tenant while in standby cluster is not allowed");
    int64_t gap = 10000000;
    if (ask(s, "SELECT value FROM store.front_settings WHERE name = ?", "restore_gap_us", value, sizeof value))
        gap = strtoll(value, NULL, 10);
    if (p->r.until_us + gap >= host_now(s->srv->host))
        return sql_fail(err, OB_OP_NOT_ALLOW, "restore timestamp is too new is not allowed");
    if (!ask(s,
             "SELECT column_value FROM store.__all_core_table WHERE table_name = '__all_global_stat' AND column_name = "
             "'snapshot_gc_ts'",
             NULL, value, sizeof value) ||
        strtoll(value, NULL, 10) < p->r.until_us)
        return sql_fail(err, OB_OP_NOT_ALLOW,
                        "restore when gc snapshot version is less than restore timestamp is not allowed");
    if (ask(s, "SELECT tenant_id FROM store.__all_tenant WHERE tenant_name = ?", p->r.dst_tenant, value, sizeof value))
        return sql_fail(err, OB_TENANT_EXIST, "tenant '%s' already exist", p->r.dst_tenant);
    return check_pools(s, p->r.options, err);
}

bool sql_restore_stmt(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    struct parsed p = {.r = {.passwords = ""}};
    if (!parse(st, &p, err))
        return false;
    if (p.tables)
        return sql_fail(err, OB_NOT_SUPPORTED, "restore of a table list is not supported here");
    if (!sql_parse_time(p.until, s->tz_offset_s, &p.r.until_us))
        return sql_fail(err, 1292, "Incorrect datetime value: '%s'", p.until);
    if (p.r.at && strncmp(p.r.at, "file:///", 8) != 0 && strncmp(p.r.at, "oss://", 6) != 0)
        return sql_fail(err, OB_INVALID_ARGUMENT, "restore path '%s' is invalid", p.r.at);
    if (!check_options(p.r.options, err) || st->describe)
        return st->describe && !err->number;
    if (!check_target(s, &p, err))
        return false;
    int64_t job_id;
    struct obs_err e = {0};
    int rc = obs_sql_restore(s->srv->host, &p.r, &job_id, &e);
    return rc == 0 ? true : sql_fail(err, rc < 0 ? -rc : rc, "%s", e.msg[0] ? e.msg : "restore cannot start");
}
