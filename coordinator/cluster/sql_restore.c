#include "cluster/sql_priv.h"

#include <stdlib.h>
#include <string.h>

#define SERVERS_MAX 4096u

typedef struct lowest {
    int64_t value;
    bool seen;
} lowest;

static obv_code take_lowest(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    lowest *l = ctx;
    int64_t v = 0;
    OBV_TRY(obv_mysql_i64(r, 0, &v, err));
    if (!l->seen || v < l->value)
        l->value = v;
    l->seen = true;
    return OBV_OK;
}

obv_code sql_target(obv_cluster *c, obv_target *out, obv_err *err)
{
    lowest l = {0};
    bool found = false;
    OBV_TRY(sql_query(c, 1, SERVERS_MAX, take_lowest, &l, err,
                      "SELECT value FROM oceanbase.__all_virtual_sys_parameter_stat WHERE name ="
                      " 'restore_concurrency'"));
    out->restore_concurrency = l.value;
    return sql_number(c, &out->gc_ts, &found, err,
                      "SELECT column_value FROM oceanbase.__all_core_table WHERE table_name = '__all_global_stat' AND"
                      " column_name = 'snapshot_gc_ts'");
}

obv_code sql_pool_free(obv_cluster *c, const char *pool, bool *exists, bool *is_free, obv_err *err)
{
    char name[300];
    int64_t tenant = 0;
    OBV_TRY(obv_mysql_quote(pool, name, sizeof name, err));
    OBV_TRY(sql_number(c, &tenant, exists, err, "SELECT tenant_id FROM oceanbase.__all_resource_pool WHERE name = %s",
                       name));
    *is_free = *exists && tenant == -1;
    return OBV_OK;
}

obv_code sql_tenant_exists(obv_cluster *c, const char *tenant, bool *out, obv_err *err)
{
    char name[300];
    int64_t id = 0;
    OBV_TRY(obv_mysql_quote(tenant, name, sizeof name, err));
    return sql_number(c, &id, out, err, "SELECT tenant_id FROM oceanbase.__all_tenant WHERE tenant_name = %s", name);
}

obv_code sql_last_restore_job(obv_cluster *c, int64_t *out, obv_err *err)
{
    int64_t a = 0, b = 0;
    bool found = false;
    OBV_TRY(sql_number(c, &a, &found, err, "SELECT MAX(job_id) FROM oceanbase.__all_restore_progress"));
    OBV_TRY(sql_number(c, &b, &found, err, "SELECT MAX(job_id) FROM oceanbase.__all_restore_history"));
    *out = a > b ? a : b;
    return OBV_OK;
}

typedef struct pick {
    obv_restore_progress *out;
    int64_t external_id;
} pick;

static obv_code take_progress(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    pick *p = ctx;
    obv_restore_progress now = {.found = true};
    OBV_TRY(obv_mysql_i64(r, 0, &now.job_id, err));
    OBV_TRY(obv_mysql_i64(r, 1, &now.external_id, err));
    OBV_TRY(obv_mysql_text(r, 2, now.status, sizeof now.status, err));
    OBV_TRY(obv_mysql_i64(r, 3, &now.pgs, err));
    OBV_TRY(obv_mysql_i64(r, 4, &now.pgs_done, err));
    OBV_TRY(obv_mysql_i64(r, 5, &now.blocks, err));
    OBV_TRY(obv_mysql_i64(r, 6, &now.blocks_done, err));
    const char *info = r->text[7] ? r->text[7] : "";
    const size_t n = strnlen(info, sizeof now.info - 1);
    memcpy(now.info, info, n);
    const bool ours = now.external_id == p->external_id;
    const bool had_ours = p->out->found && p->out->external_id == p->external_id;
    if (!p->out->found || (ours && !had_ours) || (ours == had_ours && now.job_id > p->out->job_id)) {
        now.ended = p->out->ended;
        *p->out = now;
    }
    return OBV_OK;
}

static obv_code look(obv_cluster *c, const char *table, int64_t external_id, const char *name,
                     obv_restore_progress *out, obv_err *err)
{
    pick p = {out, external_id};
    return sql_query(c, 8, SERVERS_MAX, take_progress, &p, err,
                     "SELECT job_id, external_job_id, status, pg_count, finish_pg_count, macro_block_count,"
                     " finish_macro_block_count, info FROM oceanbase.%s WHERE tenant_name = %s",
                     table, name);
}

/* ---- __all_restore_info: one row a name; it has a job from its first moment, before the tenant is made */

typedef struct info_pick {
    obv_restore_progress now; /* rows of one job follow each other */
    char tenant[129];
    const char *wanted;
    int64_t external_id;
    obv_restore_progress best;
} info_pick;

static void take_whole_job(info_pick *p)
{
    const bool ours = p->now.external_id == p->external_id;
    const bool had_ours = p->best.found && p->best.external_id == p->external_id;
    if (p->now.found && strcmp(p->tenant, p->wanted) == 0 &&
        (!p->best.found || (ours && !had_ours) || (ours == had_ours && p->now.job_id > p->best.job_id)))
        p->best = p->now;
    p->now = (obv_restore_progress){0};
    p->tenant[0] = 0;
}

static void copy_text(char *out, size_t cap, const char *text)
{
    const size_t n = strnlen(text, cap - 1);
    memcpy(out, text, n);
    out[n] = 0;
}

static obv_code take_info(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    info_pick *p = ctx;
    int64_t job_id = 0;
    char name[64];
    OBV_TRY(obv_mysql_i64(r, 0, &job_id, err));
    OBV_TRY(obv_mysql_text(r, 1, name, sizeof name, err));
    const char *value = r->text[2] ? r->text[2] : "";
    if (p->now.found && p->now.job_id != job_id)
        take_whole_job(p);
    p->now.found = true;
    p->now.job_id = job_id;
    if (strcmp(name, "restore_job_id") == 0)
        p->now.external_id = strtoll(value, NULL, 10);
    else if (strcmp(name, "status") == 0)
        copy_text(p->now.status, sizeof p->now.status, value);
    else if (strcmp(name, "info") == 0)
        copy_text(p->now.info, sizeof p->now.info, value);
    else if (strcmp(name, "tenant_name") == 0)
        copy_text(p->tenant, sizeof p->tenant, value);
    return OBV_OK;
}

/*
 * A job is in __all_restore_info while it runs, in __all_restore_progress too once its tenant exists, and in
 * __all_restore_history when it has ended.
 */
obv_code sql_restore_progress(obv_cluster *c, int64_t external_id, const char *tenant, obv_restore_progress *out,
                              obv_err *err)
{
    char name[300];
    obv_restore_progress running = {0}, ended = {.ended = true};
    info_pick info = {.wanted = tenant, .external_id = external_id};
    OBV_TRY(obv_mysql_quote(tenant, name, sizeof name, err));
    OBV_TRY(sql_query(c, 3, SERVERS_MAX, take_info, &info, err,
                      "SELECT job_id, name, value FROM oceanbase.__all_restore_info WHERE name IN ('tenant_name',"
                      " 'restore_job_id', 'status', 'info') ORDER BY job_id, name"));
    take_whole_job(&info);
    OBV_TRY(look(c, "__all_restore_progress", external_id, name, &running, err));
    OBV_TRY(look(c, "__all_restore_history", external_id, name, &ended, err));
    if (info.best.found && (!running.found || info.best.job_id > running.job_id)) {
        running = info.best;
    } else if (info.best.found && info.best.job_id == running.job_id) {
        copy_text(running.status, sizeof running.status, info.best.status);
        if (info.best.info[0])
            copy_text(running.info, sizeof running.info, info.best.info);
    }
    if (ended.found && (!running.found || ended.job_id >= running.job_id))
        *out = ended;
    else
        *out = running;
    return OBV_OK;
}
