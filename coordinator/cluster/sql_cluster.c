#define OBV_LOG_MOD "cluster"
#include "base/fault.h"
#include "base/log.h"
#include "cluster/sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETER_ROWS_MAX 4096u
#define TENANTS_MAX 4096u
#define EXECUTE_TIMEOUT_MS 120000u /* a restore statement reads the backup before it answers */
#define SYS_TENANT 1u

static obv_code connect_one(sql_cluster *c, uint32_t timeout_ms, obv_err *err)
{
    const obv_endpoint *e = &c->endpoints[c->next];
    const obv_mysql_config cfg = {.host = e->host,
                                  .port = e->port,
                                  .user = c->user,
                                  .password_file = c->password_file,
                                  .query_timeout_ms = timeout_ms};
    return obv_mysql_open(&cfg, &c->conn, err);
}

/* Runs on the open connection, or on each endpoint in turn until one answers. */
static obv_code try_endpoints(sql_cluster *c, const char *sql, uint32_t columns, uint64_t max_rows,
                              obv_mysql_row_fn *fn, void *ctx, obv_err *err)
{
    obv_code code = OBV_E_UNAVAILABLE;
    for (size_t i = 0; i <= c->endpoint_count; i++) {
        code = c->conn ? OBV_OK : connect_one(c, 0, err);
        if (code == OBV_OK)
            code = obv_mysql_query(c->conn, sql, columns, max_rows, fn, ctx, err);
        if (code == OBV_OK)
            return OBV_OK;
        obv_mysql_drop(&c->conn); /* also after OBV_E_LIMIT, whose rows are still on the wire */
        if (!OBV_IS_RETRYABLE(code))
            return code;
        c->next = (c->next + 1) % c->endpoint_count;
    }
    return code;
}

obv_code sql_query(obv_cluster *base, uint32_t columns, uint64_t max_rows, obv_mysql_row_fn *fn, void *ctx,
                   obv_err *err, const char *fmt, ...)
{
    char sql[4096];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof sql)
        return obv_fail(err, OBV_E_LIMIT, 0, "a statement is longer than %zu bytes", sizeof sql);
    return try_endpoints((sql_cluster *)base, sql, columns, max_rows, fn, ctx, err);
}

obv_code sql_connection(obv_cluster *base, obv_mysql **out, obv_err *err)
{
    sql_cluster *c = (sql_cluster *)base;
    obv_code code = c->conn ? OBV_OK : OBV_E_UNAVAILABLE;
    for (size_t i = 0; i < c->endpoint_count && !c->conn; i++) {
        code = connect_one(c, 0, err);
        if (code != OBV_OK && !OBV_IS_RETRYABLE(code))
            return code;
        if (code != OBV_OK)
            c->next = (c->next + 1) % c->endpoint_count;
    }
    *out = c->conn;
    return code;
}

typedef struct number {
    int64_t value;
    bool found;
} number;

static obv_code take_number(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    number *n = ctx;
    if (n->found || !r->text[0])
        return OBV_OK;
    n->found = true;
    return obv_mysql_i64(r, 0, &n->value, err);
}

obv_code sql_number(obv_cluster *base, int64_t *out, bool *found, obv_err *err, const char *fmt, ...)
{
    char sql[1024];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof sql)
        return obv_fail(err, OBV_E_LIMIT, 0, "a statement is longer than %zu bytes", sizeof sql);
    number v = {0};
    OBV_TRY(try_endpoints((sql_cluster *)base, sql, 1, PARAMETER_ROWS_MAX, take_number, &v, err));
    *out = v.value;
    *found = v.found;
    return OBV_OK;
}

/* ---- identity */

typedef struct parameters {
    obv_identity *id;
    char version[64];
} parameters;

static obv_code take_parameter(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    parameters *p = ctx;
    const char *name = r->text[0] ? r->text[0] : "", *value = r->text[1] ? r->text[1] : "";
    if (strcmp(name, "cluster") == 0)
        return obv_mysql_text(r, 1, p->id->name, sizeof p->id->name, err);
    if (strcmp(name, "cluster_id") == 0)
        return obv_mysql_u64(r, 1, &p->id->id, err);
    if (strcmp(name, "enable_upgrade_mode") == 0 && strcasecmp(value, "False") != 0 && strcmp(value, "0") != 0)
        p->id->upgrading = true;
    if (strcmp(name, "min_observer_version") == 0) {
        if (p->version[0] && strcmp(p->version, value) != 0)
            p->id->upgrading = true;
        return obv_mysql_text(r, 1, p->version, sizeof p->version, err);
    }
    return OBV_OK;
}

static obv_code take_build(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    obv_identity *id = ctx;
    const char *build = r->text[0] ? r->text[0] : "";
    if (id->build[0] && strcmp(id->build, build) != 0)
        id->upgrading = true;
    return obv_mysql_text(r, 0, id->build, sizeof id->build, err);
}

static obv_code take_role(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    (void)err;
    if (r->text[0] && strcmp(r->text[0], "PRIMARY") != 0)
        ((obv_identity *)ctx)->standby = true;
    return OBV_OK;
}

static obv_code identity(obv_cluster *c, obv_identity *out, obv_err *err)
{
    obv_identity id = {0};
    parameters p = {.id = &id};
    OBV_TRY(sql_query(c, 2, PARAMETER_ROWS_MAX, take_parameter, &p, err,
                      "SELECT name, value FROM oceanbase.__all_virtual_sys_parameter_stat WHERE name IN"
                      " ('cluster', 'cluster_id', 'min_observer_version', 'enable_upgrade_mode')"));
    OBV_TRY(
        sql_query(c, 1, PARAMETER_ROWS_MAX, take_build, &id, err, "SELECT build_version FROM oceanbase.__all_server"));
    OBV_TRY(sql_query(c, 1, PARAMETER_ROWS_MAX, take_role, &id, err,
                      "SELECT cluster_role FROM oceanbase.__all_virtual_cluster"));
    if (!id.name[0] || id.id == 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "cluster: parameters cluster and cluster_id are not to be seen");
    OBV_TRY(obv_cluster_version(p.version, &id.version, err));
    if (OBV_BUG_STRIKES("bug.a8_build_version") && strchr(id.build, '_')) /* 3.1.5_<release>: no known release */
        id.version = UINT64_C(3) << 32 | UINT64_C(1) << 16 | strtoul(strchr(id.build, '_') + 1, NULL, 10);
    *out = id;
    return OBV_OK;
}

/* ---- servers, tenants */

static obv_code take_server(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    obv_server *s = obv_list_add(ctx, sizeof *s, err);
    if (!s)
        return OBV_E_NOMEM;
    int64_t rpc = 0, sql = 0, stopped = 0;
    OBV_TRY(obv_mysql_text(r, 0, s->ip, sizeof s->ip, err));
    OBV_TRY(obv_mysql_i64(r, 1, &rpc, err));
    OBV_TRY(obv_mysql_u64(r, 2, &s->id, err));
    OBV_TRY(obv_mysql_text(r, 3, s->zone, sizeof s->zone, err));
    OBV_TRY(obv_mysql_i64(r, 4, &sql, err));
    OBV_TRY(obv_mysql_i64(r, 6, &stopped, err));
    s->rpc_port = (uint32_t)rpc;
    s->sql_port = (uint32_t)sql;
    s->active = r->text[5] && strcasecmp(r->text[5], "active") == 0 && stopped == 0;
    return OBV_OK;
}

static obv_code servers(obv_cluster *c, obv_servers *out, obv_err *err)
{
    out->n = 0;
    return sql_query(c, 7, PARAMETER_ROWS_MAX, take_server, out, err,
                     "SELECT svr_ip, svr_port, id, zone, inner_port, status, stop_time FROM oceanbase.__all_server"
                     " ORDER BY id");
}

static obv_code take_tenant(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    obv_tenant *t = obv_list_add(ctx, sizeof *t, err);
    if (!t)
        return OBV_E_NOMEM;
    int64_t compat = 0, bin = 0;
    OBV_TRY(obv_mysql_u64(r, 0, &t->id, err));
    OBV_TRY(obv_mysql_text(r, 1, t->name, sizeof t->name, err));
    OBV_TRY(obv_mysql_text(r, 2, t->zone_list, sizeof t->zone_list, err));
    OBV_TRY(obv_mysql_text(r, 3, t->primary_zone, sizeof t->primary_zone, err));
    OBV_TRY(obv_mysql_text(r, 4, t->locality, sizeof t->locality, err));
    OBV_TRY(obv_mysql_i64(r, 5, &compat, err));
    OBV_TRY(obv_mysql_i64(r, 7, &bin, err));
    t->compat_mode = compat != 0;
    t->normal = r->text[6] && strcmp(r->text[6], "TENANT_STATUS_NORMAL") == 0 && bin == 0;
    return OBV_OK;
}

static obv_code tenants(obv_cluster *c, obv_tenants *out, obv_err *err)
{
    out->n = 0;
    return sql_query(c, 8, TENANTS_MAX, take_tenant, out, err,
                     "SELECT tenant_id, tenant_name, zone_list, primary_zone, locality, compatibility_mode, status,"
                     " in_recyclebin FROM oceanbase.__all_tenant WHERE tenant_id > 1000 ORDER BY tenant_id");
}

static obv_code take_period(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    obv_tenant_period *p = obv_list_add(ctx, sizeof *p, err);
    if (!p)
        return OBV_E_NOMEM;
    OBV_TRY(obv_mysql_u64(r, 0, &p->id, err));
    OBV_TRY(obv_mysql_text(r, 1, p->name, sizeof p->name, err));
    return obv_mysql_i64(r, 2, &p->schema_version, err);
}

static obv_code tenant_periods(obv_cluster *c, int64_t sys_schema_version, obv_tenant_periods *out, obv_err *err)
{
    out->n = 0;
    return sql_query(c, 3, 200000, take_period, out, err,
                     "SELECT tenant_id, tenant_name, schema_version FROM oceanbase.__all_tenant_history"
                     " WHERE tenant_name IS NOT NULL AND schema_version <= %lld ORDER BY tenant_id, schema_version",
                     (long long)sys_schema_version);
}

/* ---- versions */

typedef struct zones {
    int64_t broadcast, merged;
    bool seen, merging;
} zones;

static obv_code take_zone(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    zones *z = ctx;
    const char *zone = r->text[0] ? r->text[0] : "", *name = r->text[1] ? r->text[1] : "";
    int64_t v = 0;
    OBV_TRY(obv_mysql_i64(r, 2, &v, err));
    if (strcmp(name, "global_broadcast_version") == 0) {
        z->broadcast = v;
    } else if (strcmp(name, "last_merged_version") == 0) {
        if (z->seen && v != z->merged)
            z->merging = true;
        if (!z->seen || v < z->merged)
            z->merged = v;
        z->seen = true;
    }
    (void)zone;
    return OBV_OK;
}

static obv_code merge(obv_cluster *c, obv_merge *out, obv_err *err)
{
    zones z = {0};
    bool found = false;
    OBV_TRY(sql_query(c, 3, PARAMETER_ROWS_MAX, take_zone, &z, err,
                      "SELECT zone, name, value FROM oceanbase.__all_zone WHERE name IN"
                      " ('global_broadcast_version', 'last_merged_version')"));
    if (!z.seen || z.merged <= 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "cluster: no major version was merged yet");
    *out = (obv_merge){.data_version = z.merged, .merging = z.merging || z.broadcast != z.merged};
    OBV_TRY(sql_number(c, &out->frozen_snapshot, &found, err,
                       "SELECT frozen_timestamp FROM oceanbase.__all_virtual_freeze_info WHERE frozen_version = %lld",
                       (long long)z.merged));
    if (!found)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "cluster: freeze info of version %lld is not to be seen yet",
                        (long long)z.merged);
    return OBV_OK;
}

static obv_code frozen_schema(obv_cluster *c, int64_t frozen_version, uint64_t tenant, int64_t *out, obv_err *err)
{
    bool found = false;
    return sql_number(c, out, &found, err,
                      "SELECT schema_version FROM oceanbase.__all_freeze_schema_version WHERE frozen_version = %lld"
                      " AND tenant_id = %llu",
                      (long long)frozen_version, (unsigned long long)tenant);
}

static obv_code schema_version(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    bool found = false;
    OBV_TRY(sql_number(c, out, &found, err,
                       "SELECT MAX(schema_version) FROM oceanbase.__all_virtual_ddl_operation WHERE tenant_id = %llu",
                       (unsigned long long)tenant));
    if (tenant == SYS_TENANT) {
        /* DDL on tenants does not show up in that table */
        int64_t history = 0;
        bool any = false;
        OBV_TRY(sql_number(c, &history, &any, err, "SELECT MAX(schema_version) FROM oceanbase.__all_tenant_history"));
        if (any && history > *out)
            *out = history;
        found = found || any;
    }
    if (!found || *out <= 0)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "cluster: schema version of tenant %llu is not to be seen",
                        (unsigned long long)tenant);
    return OBV_OK;
}

static obv_code schema_version_at(obv_cluster *c, uint64_t tenant, int64_t at, int64_t *out, obv_err *err)
{
    bool found = false;
    OBV_TRY(sql_number(c, out, &found, err,
                       "SELECT MAX(schema_version) FROM oceanbase.__all_virtual_ddl_operation WHERE tenant_id = %llu"
                       " AND schema_version <= %lld",
                       (unsigned long long)tenant, (long long)at));
    return found ? OBV_OK
                 : obv_fail(err, OBV_E_UNAVAILABLE, 0, "cluster: schema version of tenant %llu is not to be seen",
                            (unsigned long long)tenant);
}

/* ---- preconditions */

static obv_code uses_gts(obv_cluster *c, uint64_t tenant, bool *out, obv_err *err)
{
    int64_t v = 0;
    bool found = false;
    OBV_TRY(sql_number(c, &v, &found, err,
                       "SELECT value FROM oceanbase.__all_virtual_sys_variable WHERE tenant_id = %llu AND"
                       " name = 'ob_timestamp_service'",
                       (unsigned long long)tenant));
    *out = found && (v == 1 || v == 2);
    return OBV_OK;
}

static obv_code undo_retention(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    bool found = false;
    OBV_TRY(sql_number(c, out, &found, err,
                       "SELECT value FROM oceanbase.__all_virtual_sys_variable WHERE tenant_id = %llu AND"
                       " name = 'undo_retention'",
                       (unsigned long long)tenant));
    return found ? OBV_OK
                 : obv_fail(err, OBV_E_UNAVAILABLE, 0, "cluster: undo_retention of tenant %llu is not to be seen",
                            (unsigned long long)tenant);
}

static obv_code base_version(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err)
{
    bool found = false;
    return sql_number(c, out, &found, err,
                      "SELECT value FROM oceanbase.__all_virtual_backup_info WHERE tenant_id = %llu AND"
                      " name = 'base_backup_version'",
                      (unsigned long long)tenant);
}

static obv_code take_archive(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    obv_own_archive *a = ctx;
    (void)err;
    if (!r->text[0] || strcmp(r->text[0], "STOP") == 0)
        return OBV_OK;
    a->running = true;
    const char *dest = r->text[1] ? r->text[1] : "";
    (void)snprintf(a->dest, sizeof a->dest, "%s", strlen(dest) < sizeof a->dest ? dest : "");
    return OBV_OK;
}

static obv_code own_archive(obv_cluster *c, obv_own_archive *out, obv_err *err)
{
    *out = (obv_own_archive){0};
    return sql_query(c, 2, PARAMETER_ROWS_MAX, take_archive, out, err,
                     "SELECT status, backup_dest FROM oceanbase.__all_backup_log_archive_status_v2 WHERE tenant_id ="
                     " 1");
}

/* ---- life */

static void close_cluster(obv_cluster *base)
{
    sql_cluster *c = (sql_cluster *)base;
    obv_mysql_close(c->conn);
    free(c->endpoints);
    free(c->user);
    free(c->password_file);
    free(c);
}

obv_code sql_execute(obv_cluster *base, const char *const *sql, size_t n, obv_err *err)
{
    sql_cluster *c = (sql_cluster *)base;
    obv_mysql_drop(&c->conn); /* session settings must not depend on what ran before */
    obv_code code = OBV_E_UNAVAILABLE;
    for (size_t i = 0; i < c->endpoint_count && !c->conn; i++) {
        code = connect_one(c, EXECUTE_TIMEOUT_MS, err);
        if (code != OBV_OK)
            c->next = (c->next + 1) % c->endpoint_count;
    }
    for (size_t i = 0; i < n && code == OBV_OK; i++)
        code = obv_mysql_exec(c->conn, sql[i], err);
    obv_mysql_drop(&c->conn);
    return code;
}

obv_code obv_sql_cluster_new(const obv_endpoint *endpoints, size_t n, const char *user, const char *password_file,
                             obv_cluster **out, obv_err *err)
{
    static const obv_cluster_ops OPS = {
        .identity = identity,
        .servers = servers,
        .tenants = tenants,
        .tenant_periods = tenant_periods,
        .merge = merge,
        .frozen_schema = frozen_schema,
        .schema_version = schema_version,
        .schema_version_at = schema_version_at,
        .pgs = sql_pgs,
        .replicas = sql_replicas,
        .uses_gts = uses_gts,
        .undo_retention = undo_retention,
        .base_version = base_version,
        .own_archive = own_archive,
        .rights = sql_rights,
        .data_bytes = sql_data_bytes,
        .now = sql_now,
        .target = sql_target,
        .pool_free = sql_pool_free,
        .tenant_exists = sql_tenant_exists,
        .last_restore_job = sql_last_restore_job,
        .restore_progress = sql_restore_progress,
        .execute = sql_execute,
        .close = close_cluster,
    };
    if (n == 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "cluster: no endpoint is configured");
    sql_cluster *c = calloc(1, sizeof *c);
    if (!c)
        return obv_fail(err, OBV_E_NOMEM, 0, "cluster");
    c->base.ops = &OPS;
    c->endpoints = calloc(n, sizeof *endpoints);
    c->user = strdup(user);
    c->password_file = strdup(password_file ? password_file : "");
    c->endpoint_count = n;
    if (!c->endpoints || !c->user || !c->password_file) {
        close_cluster(&c->base);
        return obv_fail(err, OBV_E_NOMEM, 0, "cluster");
    }
    memcpy(c->endpoints, endpoints, n * sizeof *endpoints);
    *out = &c->base;
    return OBV_OK;
}
