#include "job/names.h"

#include "base/fault.h"
#include "format/media/tenant_names.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct entries {
    obv_tenant_name *v;
    size_t n, cap;
} entries;

static void entries_fini(entries *e) { free(e->v); }

static obv_code load(obv_job_ctx *x, entries *out, obv_err *err)
{
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    const char *const sql = OBV_BUG_STRIKES("bug.d22_old_names_lost")
                                ? "SELECT name, tenant_id, max(since) FROM tenant_names GROUP BY tenant_id"
                                : "SELECT name, tenant_id, since FROM tenant_names";
    OBV_TRY(obv_db_query_args(obv_state_db(x->s), sql, NULL, 0, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_tenant_name *e = obv_list_add(out, sizeof *e, err);
        if (!e)
            return OBV_E_NOMEM;
        obv_rows_copy(r, 0, e->name, sizeof e->name);
        e->tenant_id = obv_rows_u64(r, 1);
        e->timestamp = obv_rows_i64(r, 2);
    }
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, obv_tenant_name_cmp);
    return OBV_OK;
}

static obv_code known_version(obv_job_ctx *x, int64_t *out, obv_err *err)
{
    *out = 0;
    const obv_code code = obv_db_i64(obv_state_db(x->s), err, out, "SELECT value FROM counters WHERE name = ?",
                                     obv_db_s("tenant_names_schema"));
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

obv_code obv_names_refresh(obv_job_ctx *x, obv_cluster *c, int64_t *sys_schema_version, obv_err *err)
{
    OBV_AUTO(obv_tenant_periods_fini) obv_tenant_periods p = {0};
    int64_t before = 0;
    OBV_TRY(c->ops->schema_version(c, 1, sys_schema_version, err));
    OBV_TRY(c->ops->tenant_periods(c, *sys_schema_version, &p, err));
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(known_version(x, &before, err));
    if (before > *sys_schema_version) /* another server lags: the file's version never goes back */
        *sys_schema_version = before;
    for (size_t i = 0; i < p.n; i++) {
        if (!p.v[i].name[0] || (i > 0 && p.v[i - 1].id == p.v[i].id && strcmp(p.v[i - 1].name, p.v[i].name) == 0))
            continue; /* the same name as before: not a new period */
        OBV_TRY(obv_db_run(obv_state_db(x->s), err, "INSERT OR IGNORE INTO tenant_names VALUES (?, ?, ?)",
                           obv_db_s(p.v[i].name), obv_db_i(p.v[i].schema_version), obv_db_u(p.v[i].id)));
    }
    OBV_TRY(obv_db_run(obv_state_db(x->s), err, "INSERT OR REPLACE INTO counters VALUES ('tenant_names_schema', ?)",
                       obv_db_i(*sys_schema_version)));
    return obv_state_commit(&tx, err);
}

obv_code obv_names_file(obv_job_ctx *x, const obv_media_root *root, obv_files *out, obv_err *err)
{
    OBV_AUTO(entries_fini) entries e = {0};
    int64_t version = 0;
    obv_path path;
    OBV_TRY(load(x, &e, err));
    OBV_STATE_READ(x->s);
    OBV_TRY(known_version(x, &version, err));
    e.n = obv_tenant_names_normalise(e.v, e.n);
    obv_path_cluster_file(root, OBV_NAME_TENANT_NAME_INFO, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    return b ? obv_put_tenant_names(b, version, e.v, e.n, err) : OBV_E_NOMEM;
}

obv_code obv_names_find(obv_job_ctx *x, const char *name, int64_t at_us, uint64_t *out, obv_err *err)
{
    OBV_AUTO(entries_fini) entries e = {0};
    OBV_TRY(load(x, &e, err));
    *out = obv_tenant_names_find(e.v, e.n, name, at_us);
    if (*out)
        return OBV_OK;
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "no tenant had the name %s then", name);
}
