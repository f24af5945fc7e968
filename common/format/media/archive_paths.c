/* archive_paths.c - names of the log archive */
#include "format/media/archive_paths.h"

#include <string.h>

#define SYS_TENANT 1u

void obv_archive_path_cluster_rounds(const obv_media_root *r, obv_path *out)
{
    obv_path_cluster_file(r, "cluster_clog_backup_info", out);
}

void obv_archive_path_cluster_pieces(const obv_media_root *r, obv_path *out)
{
    obv_path_cluster_file(r, "cluster_backup_piece_info", out);
}

void obv_archive_path_rounds(const obv_media_root *r, uint64_t tenant, obv_path *out)
{
    obv_path_tenant(r, tenant, out);
    obv_path_add(out, "clog/tenant_clog_backup_info");
}

void obv_archive_path_pieces(const obv_media_root *r, uint64_t tenant, obv_path *out)
{
    obv_path_tenant(r, tenant, out);
    obv_path_add(out, "clog/backup_piece_info");
}

void obv_archive_path_dir(const obv_archive_place *a, uint64_t tenant, obv_path *out)
{
    obv_path_tenant(&a->root, tenant, out);
    if (a->piece == 0)
        obv_path_add(out, "clog/%llu", (unsigned long long)a->round);
    else
        obv_path_add(out, "clog/%llu_%llu_%lld", (unsigned long long)a->round, (unsigned long long)a->piece,
                     (long long)a->piece_date);
}

void obv_archive_path_single_piece(const obv_archive_place *a, uint64_t tenant, obv_path *out)
{
    obv_archive_path_dir(a, tenant, out);
    obv_path_add(out, "single_piece_info");
}

void obv_archive_path_mount_file(const obv_archive_place *a, obv_path *out)
{
    obv_path_tenant(&a->root, SYS_TENANT, out);
    obv_path_add(out, "clog/%llu/mount_file", (unsigned long long)a->round);
}

void obv_archive_path_server_start(const obv_media_root *r, uint64_t server_id, const char *ip, uint32_t port,
                                   obv_path *out)
{
    obv_path_cluster_file(r, "clog_info", out);
    obv_path_add(out, "%llu_%s_%u", (unsigned long long)server_id, ip, port);
}

void obv_archive_path_key(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out)
{
    obv_archive_path_dir(a, obv_pg_key_tenant(pg), out);
    obv_path_add(out, "archive_key/%llu_%lld", (unsigned long long)pg->table_id,
                 (long long)obv_pg_key_partition_id(pg));
}

static void pg_dir(const obv_archive_place *a, const obv_pg_key *pg, const char *kind, obv_path *out)
{
    obv_archive_path_dir(a, obv_pg_key_tenant(pg), out);
    obv_path_add(out, "%s/%llu/%lld/", kind, (unsigned long long)pg->table_id, (long long)obv_pg_key_partition_id(pg));
}

void obv_archive_path_data_dir(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out)
{
    pg_dir(a, pg, "data", out);
}

void obv_archive_path_index_dir(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out)
{
    pg_dir(a, pg, "index", out);
}

static void pg_file(const obv_archive_place *a, const obv_pg_key *pg, const char *kind, uint64_t id, obv_path *out)
{
    obv_archive_path_dir(a, obv_pg_key_tenant(pg), out);
    obv_path_add(out, "%s/%llu/%lld/%llu", kind, (unsigned long long)pg->table_id,
                 (long long)obv_pg_key_partition_id(pg), (unsigned long long)id);
}

void obv_archive_path_data(const obv_archive_place *a, const obv_pg_key *pg, uint64_t file_id, obv_path *out)
{
    pg_file(a, pg, "data", file_id, out);
}

void obv_archive_path_index(const obv_archive_place *a, const obv_pg_key *pg, uint64_t file_id, obv_path *out)
{
    pg_file(a, pg, "index", file_id, out);
}

bool obv_archive_path_file_id(const char *key, const obv_path *dir, uint64_t *file_id)
{
    const size_t n = strlen(dir->s);
    if (strncmp(key, dir->s, n) != 0)
        return false;
    const char *p = key + n;
    if (*p < '1' || *p > '9') /* no id has a leading zero */
        return false;
    uint64_t id = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(id, UINT64_C(10), &id) || __builtin_add_overflow(id, (uint64_t)(*p - '0'), &id))
            return false;
    }
    if (*p != '\0')
        return false;
    *file_id = id;
    return true;
}
