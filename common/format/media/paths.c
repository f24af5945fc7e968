#include "format/media/paths.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SYS_TENANT 1u
#define TENANT_MAX ((UINT64_C(1) << 24) - 1)

static void append(obv_path *p, size_t at, const char *fmt, va_list ap) OBV_PRINTF(3, 0);
static void append(obv_path *p, size_t at, const char *fmt, va_list ap)
{
    const int n = vsnprintf(p->s + at, sizeof p->s - at, fmt, ap);
    obv_assert(n >= 0 && (size_t)n < sizeof p->s - at);
}

void obv_path_set(obv_path *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    append(p, 0, fmt, ap);
    va_end(ap);
}

void obv_path_add(obv_path *p, const char *fmt, ...)
{
    const size_t at = strlen(p->s);
    obv_assert(at + 1 < sizeof p->s);
    p->s[at] = '/';
    va_list ap;
    va_start(ap, fmt);
    append(p, at + 1, fmt, ap);
    va_end(ap);
}

obv_code obv_media_root_init(obv_media_root *r, const char *cluster_name, int64_t cluster_id, obv_err *err)
{
    const size_t len = strlen(cluster_name);
    bool good =
        len > 0 && len <= OBV_CLUSTER_NAME_MAX && strcmp(cluster_name, ".") != 0 && strcmp(cluster_name, "..") != 0;
    for (size_t i = 0; good && i < len; i++)
        good = cluster_name[i] != '/' && cluster_name[i] != '?' && (unsigned char)cluster_name[i] > ' ' &&
               cluster_name[i] != 0x7f;
    if (!good)
        return obv_fail(err, OBV_E_INVAL, 0, "cluster name: it cannot be the name of a folder");
    if (cluster_id <= 0)
        return obv_fail(err, OBV_E_INVAL, 0, "cluster id %" PRId64 ": it must be positive", cluster_id);
    memcpy(r->cluster_name, cluster_name, len + 1);
    r->cluster_id = cluster_id;
    obv_path_set(&r->cp, "%s/%" PRId64 "/incarnation_1", cluster_name, cluster_id);
    return OBV_OK;
}

void obv_path_cluster_file(const obv_media_root *r, const char *name, obv_path *out)
{
    *out = r->cp;
    obv_path_add(out, "%s", name);
}

void obv_path_tenant(const obv_media_root *r, uint64_t tenant_id, obv_path *out)
{
    obv_assert(tenant_id <= TENANT_MAX);
    *out = r->cp;
    obv_path_add(out, "%" PRIu64, tenant_id);
}

/* The sys tenant's lists lie in CP under another name. */
static void list_file(const obv_media_root *r, uint64_t tenant_id, const char *sys_name, const char *name,
                      obv_path *out)
{
    if (tenant_id == SYS_TENANT) {
        obv_path_cluster_file(r, sys_name, out);
        return;
    }
    obv_path_tenant(r, tenant_id, out);
    obv_path_add(out, "data/%s", name);
}

void obv_path_data_backup_info(const obv_media_root *r, uint64_t tenant_id, obv_path *out)
{
    list_file(r, tenant_id, OBV_NAME_CLUSTER_DATA_BACKUP_INFO, "tenant_data_backup_info", out);
}

void obv_path_backup_set_file_info(const obv_media_root *r, uint64_t tenant_id, obv_path *out)
{
    list_file(r, tenant_id, OBV_NAME_CLUSTER_BACKUP_SET_FILE_INFO, "tenant_backup_set_file_info", out);
}

void obv_path_set_dir(const obv_media_root *r, const obv_set_id *s, obv_path *out)
{
    obv_path_tenant(r, s->tenant_id, out);
    if (s->date == 0) {
        obv_path_add(out, "data/backup_set_%" PRId64, s->full_set_id);
        return;
    }
    obv_path_add(out, "data/backup_set_%" PRId64 "_%s_%" PRId64, s->set_id,
                 s->full_set_id == s->set_id ? "full" : "inc", s->date);
}

void obv_path_set_file(const obv_media_root *r, const obv_set_id *s, const char *name, obv_path *out)
{
    obv_path_set_dir(r, s, out);
    obv_path_add(out, "%s", name);
}

void obv_path_inc_file(const obv_media_root *r, const obv_set_id *s, const char *name, obv_path *out)
{
    obv_path_set_dir(r, s, out);
    obv_path_add(out, "backup_%" PRId64 "/%s", s->set_id, name);
}

void obv_path_meta_file(const obv_media_root *r, const obv_set_id *s, int64_t task_id, obv_path *out)
{
    obv_path_set_dir(r, s, out);
    obv_path_add(out, "backup_%" PRId64 "/meta_file_%" PRId64, s->set_id, task_id);
}

void obv_path_meta_index_file(const obv_media_root *r, const obv_set_id *s, int64_t task_id, obv_path *out)
{
    obv_path_set_dir(r, s, out);
    obv_path_add(out, "backup_%" PRId64 "/" OBV_NAME_META_INDEX_FILE "_%" PRId64, s->set_id, task_id);
}

void obv_path_pg_data(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, obv_path *out)
{
    obv_path_set_dir(r, s, out);
    obv_path_add(out, "data/%" PRIu64 "/%" PRId64, pg->table_id, obv_pg_key_partition_id(pg));
}

void obv_path_major_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t sub_task,
                               obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    obv_path_add(out, "major_data/macro_block_%" PRId64 ".%" PRId64, s->set_id, sub_task);
}

void obv_path_minor_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                               int64_t sub_task, obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    obv_path_add(out, "minor_data/%" PRId64 "/macro_block_%" PRId64 ".%" PRId64, task_id, s->set_id, sub_task);
}

static void index_name(const obv_set_id *s, int64_t pass, obv_path *out)
{
    if (pass == 0)
        obv_path_add(out, "macro_block_index_%" PRId64, s->set_id);
    else
        obv_path_add(out, "macro_block_index_%" PRId64 ".%" PRId64, s->set_id, pass);
}

void obv_path_major_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t pass,
                               obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    obv_path_add(out, "major_data");
    index_name(s, pass, out);
}

void obv_path_minor_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                               int64_t pass, obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    obv_path_add(out, "minor_data/%" PRId64, task_id);
    index_name(s, pass, out);
}

void obv_path_flat_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t sub_task,
                              obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    obv_path_add(out, "macro_block_%" PRId64 ".%" PRId64, s->set_id, sub_task);
}

void obv_path_flat_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t pass,
                              obv_path *out)
{
    obv_path_pg_data(r, s, pg, out);
    index_name(s, pass, out);
}

void obv_path_pg_record(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                        obv_path *out)
{
    *out = r->cp;
    obv_path_add(out, "obvault/records/%" PRId64 "/%" PRIu64 "/%" PRId64 "/%" PRIu64 "_%" PRId64, s->set_id,
                 s->tenant_id, task_id, pg->table_id, obv_pg_key_partition_id(pg));
}

int64_t obv_date_of_us(int64_t us)
{
    const time_t seconds = (time_t)(us / 1000000);
    struct tm t = {0};
    if (!localtime_r(&seconds, &t))
        return 0;
    return (t.tm_year + INT64_C(1900)) * 10000 + (t.tm_mon + 1) * 100 + t.tm_mday;
}
