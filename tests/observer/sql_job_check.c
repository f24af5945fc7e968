/* sql_job_check.c - what the target cluster refuses before a restore job exists */
#include "sql.h"
#include "sql_job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int job_fail(struct obs_err *err, int code, const char *fmt, ...)
{
    err->code = code < 0 ? code : -code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return err->code;
}

bool job_ask(sqlite3 *db, const char *query, const char *arg, char *out, size_t cap)
{
    sqlite3_stmt *q = NULL;
    bool row = sqlite3_prepare_v2(db, query, -1, &q, NULL) == SQLITE_OK;
    if (row) {
        if (arg)
            sqlite3_bind_text(q, 1, arg, -1, SQLITE_STATIC);
        row = sqlite3_step(q) == SQLITE_ROW;
        if (row) {
            const char *text = (const char *)sqlite3_column_text(q, 0);
            snprintf(out, cap, "%s", text ? text : "");
        }
    }
    sqlite3_finalize(q);
    return row;
}

struct parameter {
    const char *name;
    char *out;
    size_t cap;
    bool found;
};

static int smallest(void *arg, const struct obs_value *row, size_t n)
{
    struct parameter *p = arg;
    if (n != 5 || row[3].kind != OBS_TEXT || row[4].kind != OBS_TEXT || strcmp(row[3].s, p->name) != 0)
        return 0;
    if (!p->found || strcmp(row[4].s, p->out) < 0)
        snprintf(p->out, p->cap, "%s", row[4].s);
    p->found = true;
    return 0;
}

bool job_parameter(struct host *h, const char *name, char *out, size_t cap)
{
    struct parameter p = {.name = name, .out = out, .cap = cap};
    out[0] = '\0';
    return obs_vtable_scan(h, "__all_virtual_sys_parameter_stat", 0, smallest, &p) == 0 && p.found;
}

/* ---- WITH 'key=value&...' ---- */

static bool copy_value(const char *from, size_t len, char *out, size_t cap)
{
    if (len >= cap)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

/* Unknown keys are ignored, as OceanBase does; keys in any case. */
static int parse_options(const char *text, struct job_option *o, struct obs_err *err)
{
    char cluster_id[32] = "", external[32] = "";
    const struct {
        const char *key;
        char *out;
        size_t cap;
        bool required;
    } KEYS[] = {{"backup_cluster_name", o->cluster_name, sizeof o->cluster_name, true},
                {"backup_cluster_id", cluster_id, sizeof cluster_id, true},
                {"pool_list", o->pool_list, sizeof o->pool_list, true},
                {"locality", o->locality, sizeof o->locality, false},
                {"primary_zone", o->primary_zone, sizeof o->primary_zone, false},
                {"restore_job_id", external, sizeof external, false}};
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "&"), key = strcspn(p, "=");
        if (key >= len)
            return job_fail(err, OB_INVALID_ARGUMENT, "restore option '%.*s' has no value", (int)len, p);
        for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
            if (strlen(KEYS[i].key) == key && strncasecmp(KEYS[i].key, p, key) == 0 &&
                !copy_value(p + key + 1, len - key - 1, KEYS[i].out, KEYS[i].cap))
                return job_fail(err, OB_INVALID_ARGUMENT, "restore option %s is too long", KEYS[i].key);
        p += len;
        if (*p)
            p++;
    }
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (KEYS[i].required && !KEYS[i].out[0])
            return job_fail(err, OB_INVALID_ARGUMENT, "restore option %s is missing", KEYS[i].key);
    char *end;
    o->cluster_id = strtoll(cluster_id, &end, 10);
    if (o->cluster_id <= 0 || *end)
        return job_fail(err, OB_INVALID_ARGUMENT, "backup_cluster_id '%s' is wrong", cluster_id);
    o->external_id = strtoll(external, &end, 10);
    return *end ? job_fail(err, OB_INVALID_ARGUMENT, "restore_job_id '%s' is wrong", external) : 0;
}

static int check_pools(sqlite3 *db, const char *list, struct obs_err *err)
{
    char pools[1024], owner[32];
    snprintf(pools, sizeof pools, "%s", list);
    char *save = NULL;
    int count = 0;
    for (char *name = strtok_r(pools, ",", &save); name; name = strtok_r(NULL, ",", &save), count++) {
        if (!job_ask(db, "SELECT tenant_id FROM __all_resource_pool WHERE name = ?1", name, owner, sizeof owner))
            return job_fail(err, OB_RESOURCE_POOL_NOT_EXIST, "resource pool '%s' is not exist", name);
        if (strcmp(owner, "-1") != 0)
            return job_fail(err, OB_RESOURCE_POOL_GRANTED, "resource pool '%s' has already been granted to a tenant",
                            name);
    }
    return count ? 0 : job_fail(err, OB_INVALID_ARGUMENT, "pool_list is empty");
}

int job_check(struct host *h, sqlite3 *db, const struct obs_restore *r, struct job_option *opt, struct obs_err *err)
{
    char value[64];
    *opt = (struct job_option){0};
    int rc = parse_options(r->options, opt, err);
    if (rc)
        return rc;
    if (!job_parameter(h, "restore_concurrency", value, sizeof value) || strtol(value, NULL, 10) <= 0)
        return job_fail(err, OB_OP_NOT_ALLOW, "restore tenant when restore_concurrency is 0 not allowed");
    if (job_parameter(h, "enable_upgrade_mode", value, sizeof value) && strcasecmp(value, "False") != 0)
        return job_fail(err, OB_OP_NOT_ALLOW, "restore tenant while in upgrade mode not allowed");
    if (job_ask(db, "SELECT cluster_role FROM __all_virtual_cluster", NULL, value, sizeof value) &&
        strcmp(value, "PRIMARY") != 0)
        return job_fail(err, OB_OP_NOT_ALLOW, "restore tenant while in standby cluster not allowed");
    if (r->until_us + host_restore_gap_us(h) >= host_now(h))
        return job_fail(err, OB_OP_NOT_ALLOW, "restore timestamp is too new, restore not allowed");
    if (!job_ask(db,
                 "SELECT column_value FROM __all_core_table WHERE table_name = '__all_global_stat' AND "
                 "column_name = 'snapshot_gc_ts'",
                 NULL, value, sizeof value) ||
        strtoll(value, NULL, 10) < r->until_us)
        return job_fail(err, OB_OP_NOT_ALLOW, "restore while gc snapshot is less than restore timestamp not allowed");
    if (job_ask(db, "SELECT tenant_id FROM __all_tenant WHERE tenant_name = ?1", r->dst_tenant, value, sizeof value) ||
        job_ask(db, "SELECT job_id FROM __all_restore_info WHERE name = 'tenant_name' AND value = ?1", r->dst_tenant,
                value, sizeof value))
        return job_fail(err, OB_TENANT_EXIST, "tenant '%s' already exist", r->dst_tenant);
    return check_pools(db, opt->pool_list, err);
}
