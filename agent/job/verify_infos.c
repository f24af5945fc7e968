/* verify_infos.c - every small object by itself: header, checksum, values that can be read */
#include "format/media/tenant_names.h"
#include "host/repository.h"
#include "job/verify_priv.h"

#include <stdio.h>

/* Info files have one header in front of all. */
static const struct {
    enum obv_native_kind kind;
    uint16_t type, data_version;
} FILES[] = {
    {OBV_NATIVE_TENANT_NAMES, OBV_FILE_TENANT_NAME, 1},
    {OBV_NATIVE_TENANT_INFO, OBV_FILE_TENANT_INFO, 0},
    {OBV_NATIVE_BACKUP_INFO, OBV_FILE_BACKUP_INFO, 0},
    {OBV_NATIVE_SET_LIST, OBV_FILE_SET_FILE_INFO, 0},
    {OBV_NATIVE_SET_COPY_LIST, OBV_FILE_SET_FILE_INFO, 0},
    {OBV_NATIVE_ROUNDS, OBV_FILE_LOG_ARCHIVE_INFO, 1},
    {OBV_NATIVE_PIECES, OBV_FILE_PIECE_INFO, 1},
    {OBV_NATIVE_PIECE_COPY_LIST, OBV_FILE_PIECE_INFO, 1},
    {OBV_NATIVE_SINGLE_PIECE, OBV_FILE_SINGLE_PIECE_INFO, 1},
    {OBV_NATIVE_SINGLE_SET, OBV_FILE_SET_FILE_INFO, 0},
    {OBV_NATIVE_SET_INFO, OBV_FILE_BACKUP_SET_INFO, 0},
    {OBV_NATIVE_SYS_PG_LIST, OBV_FILE_PG_LIST, 0},
    {OBV_NATIVE_NORMAL_PG_LIST, OBV_FILE_PG_LIST, 0},
    {OBV_NATIVE_LOCALITY, OBV_FILE_TENANT_LOCALITY, 0},
    {OBV_NATIVE_DIAGNOSE, OBV_FILE_TENANT_DIAGNOSE, 0},
};

static int any_backup(void *ctx, const obv_backup_info *e) { return (void)ctx, (void)e, 0; }
static int any_set(void *ctx, const obv_set_info *e) { return (void)ctx, (void)e, 0; }
static int any_key(void *ctx, const obv_pg_key *k) { return (void)ctx, (void)k, 0; }
static int any_tenant(void *ctx, const obv_tenant_info *e) { return (void)ctx, (void)e, 0; }
static int any_name(void *ctx, const obv_tenant_name *e) { return (void)ctx, (void)e, 0; }
static int count_sets(void *ctx, const obv_set_file_info *e)
{
    (void)e;
    ++*(size_t *)ctx;
    return 0;
}

static obv_code check_sets(obv_span file, bool single, obv_err *err)
{
    size_t n = 0;
    OBV_TRY(obv_set_file_infos_each(file, count_sets, &n, err));
    return single && n != 1 ? obv_fail(err, OBV_E_CORRUPT, 0, "%zu entries, there must be one", n) : OBV_OK;
}

static obv_code check_rounds(obv_span file, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_archive_round *rounds = NULL;
    size_t n = 0;
    return obv_archive_rounds_parse(file, &rounds, &n, err);
}

static obv_code check_pieces(obv_span file, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_archive_piece *pieces = NULL;
    size_t n = 0;
    return obv_archive_pieces_parse(file, &pieces, &n, err);
}

/* The values can be read. */
static obv_code check_values(enum obv_native_kind kind, obv_span file, obv_err *err)
{
    int64_t version = 0;
    obv_archive_piece piece;
    switch (kind) {
    case OBV_NATIVE_TENANT_NAMES:
        return obv_tenant_names_each(file, &version, any_name, NULL, err);
    case OBV_NATIVE_TENANT_INFO:
        return obv_tenant_infos_each(file, any_tenant, NULL, err);
    case OBV_NATIVE_BACKUP_INFO:
        return obv_backup_infos_each(file, any_backup, NULL, err);
    case OBV_NATIVE_SET_LIST:
    case OBV_NATIVE_SET_COPY_LIST:
        return check_sets(file, false, err);
    case OBV_NATIVE_SINGLE_SET:
        return check_sets(file, true, err);
    case OBV_NATIVE_ROUNDS:
        return check_rounds(file, err);
    case OBV_NATIVE_PIECES:
    case OBV_NATIVE_PIECE_COPY_LIST:
        return check_pieces(file, err);
    case OBV_NATIVE_SINGLE_PIECE:
        return obv_archive_single_piece_parse(file, &piece, err);
    case OBV_NATIVE_SET_INFO:
        return obv_set_infos_each(file, any_set, NULL, err);
    case OBV_NATIVE_SYS_PG_LIST:
    case OBV_NATIVE_NORMAL_PG_LIST:
        return obv_pg_list_each(file, any_key, NULL, err);
    case OBV_NATIVE_LOCALITY: {
        OBV_AUTO(obv_freep) obv_tenant_locality *l = malloc(sizeof *l);
        return l ? obv_tenant_locality_parse(file, l, err) : obv_fail(err, OBV_E_NOMEM, 0, "tenant locality");
    }
    default:
        return OBV_OK;
    }
}

static obv_code check_info(enum obv_native_kind kind, uint16_t type, uint16_t data_version, obv_span file, bool ours,
                           size_t *at, obv_err *err)
{
    obv_span payload;
    obv_common_header h;
    *at = 0;
    if (file.len == 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "the file is empty");
    OBV_TRY(obv_info_file_parse(file, type, &payload, err));
    OBV_TRY(obv_common_header_parse(file, &h, err));
    if (ours && !obv_native_header_exact(file, data_version, at))
        return obv_fail(err, OBV_E_CORRUPT, 0, "a byte of the header that no checksum covers is not what it must be");
    if (h.align_len != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "padding in an info file");
    return check_values(kind, file, err);
}

static obv_code check_mount_file(const obv_native_name *n, obv_span file, obv_err *err)
{
    char want[24];
    (void)snprintf(want, sizeof want, "%llu", (unsigned long long)n->round);
    if (!obv_span_equal(file, obv_span_of(want, strlen(want))))
        return obv_fail(err, OBV_E_CORRUPT, 0, "it does not hold the number of its round, %s", want);
    return OBV_OK;
}

obv_code obv_verify_info_bytes(const obv_native_name *n, obv_span file, bool ours, size_t *at, obv_err *err)
{
    int64_t round = 0;
    int64_t start = 0;
    *at = 0;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (FILES[i].kind == n->kind)
            return check_info(n->kind, FILES[i].type, FILES[i].data_version, file, ours, at, err);
    if (n->kind == OBV_NATIVE_MOUNT_FILE)
        return check_mount_file(n, file, err);
    if (n->kind == OBV_NATIVE_SERVER_START)
        return obv_archive_server_start_parse(file, &round, &start, err);
    return OBV_OK;
}

/* The identity is the one that the caller expects. */
static obv_code check_expected(obv_verify *v, obv_err *err)
{
    if (!v->cfg->uuid || !v->cfg->uuid[0])
        return OBV_OK;
    obv_path key = v->cfg->root.cp;
    obv_path_add(&key, "obvault/repository.json");
    if (!obv_verify_find(v, key.s)) {
        obv_verify_say(v, OBV_VERIFY_MISSING, key.s, -1, "this agent is configured for repository %s", v->cfg->uuid);
        return OBV_OK;
    }
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    obv_repository r;
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key.s, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (ok && obv_repository_parse(obv_buf_span(&file), &r, NULL) == OBV_OK && strcmp(r.uuid, v->cfg->uuid) != 0)
        obv_verify_say(v, OBV_VERIFY_INCONSISTENT, key.s, -1, "repository %s, this agent is configured for %s", r.uuid,
                       v->cfg->uuid);
    return OBV_OK;
}

/* obvault/records/<set>/<tenant>/<task>/<table>_<partition>: a record of the PG that its name says. */
static obv_code check_record(const char *name, obv_span file, obv_err *err)
{
    unsigned long long table = 0;
    long long set = 0, tenant = 0, task = 0, partition = 0;
    char again[160];
    obv_meta_object o;
    obv_pg_record_reader rec;
    if (sscanf(name, "obvault/records/%lld/%lld/%lld/%llu_%lld", &set, &tenant, &task, &table, &partition) != 5)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no rule names this object");
    (void)snprintf(again, sizeof again, "obvault/records/%lld/%lld/%lld/%llu_%lld", set, tenant, task, table,
                   partition);
    if (strcmp(again, name) != 0)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no rule names this object");
    OBV_TRY(obv_meta_object_parse(file, &o, err));
    if (o.total != file.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "PG record: %zu bytes behind it", file.len - o.total);
    OBV_TRY(obv_pg_record_parse(o.body, &rec, err));
    if (rec.pg.key.table_id != table || obv_pg_key_partition_id(&rec.pg.key) != partition)
        return obv_fail(err, OBV_E_CORRUPT, 0, "PG record: it is of PG %llu/%lld",
                        (unsigned long long)rec.pg.key.table_id, (long long)obv_pg_key_partition_id(&rec.pg.key));
    return OBV_OK;
}

obv_code obv_verify_own(const char *name, obv_span file, obv_err *err)
{
    obv_repository r;
    if (strncmp(name, "obvault/records/", strlen("obvault/records/")) == 0)
        return check_record(name, file, err);
    if (strcmp(name, "obvault/repository.json") == 0)
        return obv_repository_parse(file, &r, err);
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "no rule names this object");
}

static obv_code check_small(obv_verify *v, const obv_verify_small *s, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    bool ok = false;
    OBV_TRY(obv_verify_read(v, s->key, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (!ok)
        return OBV_OK;
    obv_err why = {0};
    size_t at = 0;
    if (s->name.kind == OBV_NATIVE_OWN) {
        const obv_code code = obv_verify_own(s->key + v->prefix_len, obv_buf_span(&file), &why);
        if (code == OBV_E_NOT_FOUND) {
            obv_verify_say(v, OBV_VERIFY_UNLISTED, s->key, -1, "%s", why.msg);
            return OBV_OK;
        }
        return code == OBV_OK ? OBV_OK : obv_verify_judge(v, s->key, 0, &why, err);
    }
    if (obv_verify_info_bytes(&s->name, obv_buf_span(&file), v->stats->ours, &at, &why) == OBV_OK)
        return OBV_OK;
    return obv_verify_judge(v, s->key, (int64_t)at, &why, err);
}

obv_code obv_verify_infos(obv_verify *v, obv_err *err)
{
    const obv_verify_small *s = v->small.items;
    for (size_t i = 0; i < v->small.count; i++) {
        OBV_TRY(obv_verify_cancelled(v, err));
        const enum obv_native_kind k = s[i].name.kind;
        if (k != OBV_NATIVE_META_FILE && k != OBV_NATIVE_META_INDEX && k != OBV_NATIVE_MERGED_INDEX)
            OBV_TRY(check_small(v, &s[i], err));
    }
    return check_expected(v, err);
}
