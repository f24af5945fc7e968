/* tenants.c - verbs that change tenants and the cluster as SQL shows them */
#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *jstr(const json_t *o, const char *k, const char *none)
{
    const char *s = json_string_value(json_object_get(o, k));
    return s ? s : none;
}

static json_t *done(int rc, int64_t version)
{
    return rc ? json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "tenant")
              : json_pack("{s:b,s:I}", "ok", 1, "schema_version", (json_int_t)version);
}

/* __all_tenant_history has a row for each change, with the state after it. */
static void history(struct host *h, int64_t tenant, int64_t version, bool deleted)
{
    catalog_exec(h,
                 "INSERT INTO __all_tenant_history (gmt_create, gmt_modified, tenant_id, schema_version, is_deleted, "
                 "tenant_name, zone_list, "
                 "primary_zone, locality, compatibility_mode, drop_tenant_time, status, in_recyclebin) "
                 "SELECT gmt_create, gmt_modified, tenant_id, ?, ?, tenant_name, zone_list, primary_zone, locality, "
                 "compatibility_mode, "
                 "drop_tenant_time, status, in_recyclebin FROM __all_tenant WHERE tenant_id = ?",
                 "iii", version, (int64_t)deleted, tenant);
}

static int drop_tenant(struct host *h, uint64_t tenant, int64_t version)
{
    static const char *const TABLES[] = {"__all_tenant",
                                         "__all_virtual_table",
                                         "__all_virtual_part",
                                         "__all_virtual_sub_part",
                                         "__all_virtual_tablegroup",
                                         "__all_virtual_sys_variable",
                                         "so_table"};
    catalog_begin(h);
    history(h, (int64_t)tenant, version, true);
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
        char *sql = xasprintf("DELETE FROM %s WHERE tenant_id = ?", TABLES[i]);
        catalog_exec(h, sql, "i", (int64_t)tenant);
        free(sql);
    }
    catalog_exec(h, "UPDATE __all_resource_pool SET tenant_id = -1 WHERE tenant_id = ?", "i", (int64_t)tenant);
    int rc = catalog_end(h);
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++)
        if (pg_at(h, i)->tenant == tenant && pg_at(h, i)->state == PG_LIVE)
            rc = log_offline(h, i, version);
    return rc;
}

json_t *tenant_verb(struct host *h, const json_t *req)
{
    const char *op = jstr(req, "op", ""), *name = jstr(req, "name", NULL);
    uint64_t tenant = (uint64_t)json_integer_value(json_object_get(req, "tenant"));
    if (tenant <= OBS_SYS_TENANT)
        return done(-4002, 0);
    int64_t version = schema_next_version(h),
            have = catalog_int(h, 0, "SELECT 1 FROM __all_tenant WHERE tenant_id = ?", "i", (int64_t)tenant);
    int rc = 0;
    if (!strcmp(op, "create") && name && !have) {
        rc = tenant_create(h, tenant, name, NULL, NULL);
        if (!rc)
            rc = tenant_sys_pgs(h, tenant, 0, 0);
    } else if (!have) {
        rc = -5157;
    } else if (!strcmp(op, "rename") && name) {
        catalog_begin(h);
        catalog_exec(h, "UPDATE __all_tenant SET tenant_name = ? WHERE tenant_id = ?", "si", name, (int64_t)tenant);
        history(h, (int64_t)tenant, version, false);
        rc = catalog_end(h);
    } else if (!strcmp(op, "recycle")) {
        rc = catalog_exec(h, "UPDATE __all_tenant SET in_recyclebin = 1 WHERE tenant_id = ?", "i", (int64_t)tenant);
    } else if (!strcmp(op, "zones")) { /* as __all_tenant may have them: empty, too */
        catalog_begin(h);
        catalog_exec(h,
                     "UPDATE __all_tenant SET primary_zone = ?, locality = coalesce(?, locality) WHERE tenant_id = ?",
                     "ssi", jstr(req, "primary_zone", ""), jstr(req, "locality", NULL), (int64_t)tenant);
        history(h, (int64_t)tenant, version, false);
        rc = catalog_end(h);
    } else if (!strcmp(op, "status")) {
        rc = catalog_exec(h, "UPDATE __all_tenant SET status = ? WHERE tenant_id = ?", "si",
                          jstr(req, "value", "TENANT_STATUS_NORMAL"), (int64_t)tenant);
    } else if (!strcmp(op, "drop")) {
        rc = drop_tenant(h, tenant, version);
    } else {
        rc = -4002;
    }
    catalog_sync(h);
    return done(rc, version);
}

json_t *sysvar_verb(struct host *h, const json_t *req)
{
    int64_t tenant = json_integer_value(json_object_get(req, "tenant"));
    if (!strcmp(jstr(req, "name", ""), "undo_retention") && tenant > 0)
        h->shm->undo_us[tenant % 4096] = strtoll(jstr(req, "value", "0"), NULL, 10) * 1000000;
    return done(
        catalog_exec(
            h, "INSERT OR REPLACE INTO __all_virtual_sys_variable (tenant_id, zone, name, value) VALUES (?, '', ?, ?)",
            "iss", (int64_t)json_integer_value(json_object_get(req, "tenant")), jstr(req, "name", ""),
            jstr(req, "value", "")),
        0);
}

json_t *role_verb(struct host *h, const json_t *req)
{
    return done(
        catalog_exec(h, "UPDATE __all_virtual_cluster SET cluster_role = ?", "s", jstr(req, "value", "PRIMARY")), 0);
}
