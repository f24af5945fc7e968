/* verify_set_lists.c - the lists of sets held against each other, against the folders and the cluster's own
 *
 * Lists are read in the reverse order of how a running backup writes them, so that a set that begins or ends meanwhile
 * is seen at most further on in the second file than in the first.
 */
#include "base/sort.h"
#include "format/media/tenant_names.h"
#include "job/verify_priv.h"

#include <inttypes.h>

enum { SYS_TENANT = 1 };

typedef struct load {
    obv_verify_array *to;
    obv_err err;
} load;

static int add_set(void *ctx, const obv_set_file_info *e)
{
    load *l = ctx;
    obv_set_file_info *at = obv_verify_add(l->to, sizeof *at, &l->err);
    if (at)
        *at = *e;
    return at == NULL;
}

static int add_info(void *ctx, const obv_backup_info *e)
{
    load *l = ctx;
    obv_backup_info *at = obv_verify_add(l->to, sizeof *at, &l->err);
    if (at)
        *at = *e;
    return at == NULL;
}

static void array_fini(obv_verify_array *a) { free(a->items); }

/* What can be read of a list; a file that is damaged was reported before and counts as not known (*known false). */
static obv_code read_list(obv_verify *v, const char *key, bool infos, obv_verify_array *to, bool *known, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    load l = {.to = to};
    *known = false;
    if (!obv_verify_find(v, key))
        return OBV_OK;
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (!ok)
        return OBV_OK;
    const obv_code code = infos ? obv_backup_infos_each(obv_buf_span(&file), add_info, &l, NULL)
                                : obv_set_file_infos_each(obv_buf_span(&file), add_set, &l, NULL);
    if (l.err.code != OBV_OK) {
        if (err)
            *err = l.err;
        return l.err.code;
    }
    *known = code == OBV_OK;
    return OBV_OK;
}

#define SAY(class, key, ...) obv_verify_say(v, OBV_VERIFY_##class, key, -1, __VA_ARGS__)

static bool is_on_media(const obv_set_file_info *e)
{
    return e->status == OBV_SET_SUCCESS &&
           (e->file_status == OBV_SET_FILE_AVAILABLE || e->file_status == OBV_SET_FILE_EXPIRED);
}

static void check_folder(obv_verify *v, const obv_set_file_info *e)
{
    if (e->compatible == OBV_COMPATIBLE_V1)
        return; /* has no such file */
    const obv_set_id id = {.tenant_id = e->tenant_id,
                           .set_id = e->set_id,
                           .full_set_id = e->backup_type == OBV_BACKUP_FULL ? e->set_id : e->prev_full_set_id,
                           .date = e->date};
    obv_path single;
    obv_path_set_file(&v->cfg->root, &id, OBV_NAME_SINGLE_BACKUP_SET_INFO, &single);
    if (!obv_verify_find(v, single.s))
        SAY(MISSING, single.s, "set %" PRId64 " is listed as good, but this file of it is not there", e->set_id);
}

static void check_entry(obv_verify *v, uint64_t tenant, const char *key, const obv_set_file_info *e)
{
    if (e->tenant_id != tenant || e->incarnation != 1 || e->cluster_id != v->cfg->root.cluster_id) {
        SAY(INCONSISTENT, key, "set %" PRId64 ": of tenant %" PRIu64 ", cluster %" PRId64 ", incarnation %" PRId64,
            e->set_id, e->tenant_id, e->cluster_id, e->incarnation);
        return;
    }
    if (e->snapshot_version <= 0 || !e->backup_dest[0] ||
        (e->backup_type != OBV_BACKUP_FULL && e->backup_type != OBV_BACKUP_INCREMENTAL))
        SAY(INCONSISTENT, key, "set %" PRId64 ": snapshot, type or destination is none", e->set_id);
    if (e->status == OBV_SET_SUCCESS &&
        (e->result != 0 || e->finish_pg_count != e->pg_count || e->finish_macro_block_count != e->macro_block_count ||
         e->end_time < e->start_time || e->file_status == OBV_SET_FILE_COPYING))
        SAY(INCONSISTENT, key,
            "set %" PRId64 ": SUCCESS with result %d, %" PRId64 " of %" PRId64 " PGs, file status %d", e->set_id,
            e->result, e->finish_pg_count, e->pg_count, e->file_status);
    if (e->status != OBV_SET_SUCCESS && e->result == 0 && v->stats->ours)
        SAY(INCONSISTENT, key, "set %" PRId64 ": status %d with result 0, restores would choose it", e->set_id,
            e->status);
    if (e->backup_type == OBV_BACKUP_FULL ? e->prev_full_set_id != 0 || e->prev_set_id != 0
                                          : e->prev_full_set_id <= 0 || e->prev_set_id <= 0)
        SAY(INCONSISTENT, key, "set %" PRId64 ": type %d with previous set %" PRId64, e->set_id, e->backup_type,
            e->prev_set_id);
    if (tenant != SYS_TENANT && is_on_media(e))
        check_folder(v, e);
}

static void check_sets(obv_verify *v, uint64_t tenant, const char *key, const obv_verify_array *sets)
{
    const obv_set_file_info *e = sets->items;
    for (size_t i = 0; i < sets->count; i++) {
        check_entry(v, tenant, key, &e[i]);
        if (i > 0 && e[i].set_id <= e[i - 1].set_id)
            SAY(INCONSISTENT, key, "set %" PRId64 " behind set %" PRId64, e[i].set_id, e[i - 1].set_id);
    }
}

static const obv_set_file_info *find_set(const obv_verify_array *sets, int64_t id)
{
    const obv_set_file_info *e = sets->items;
    for (size_t i = 0; i < sets->count; i++)
        if (e[i].set_id == id)
            return &e[i];
    return NULL;
}

static int32_t status_of(int32_t extern_status)
{
    return extern_status == OBV_EXTERN_SUCCESS ? OBV_SET_SUCCESS
           : extern_status == OBV_EXTERN_DOING ? OBV_SET_DOING
                                               : OBV_SET_FAILED;
}

/* tenant_data_backup_info, entry by entry. */
static void compare(obv_verify *v, const char *key, const obv_verify_array *infos, const obv_verify_array *sets)
{
    const obv_backup_info *e = infos->items;
    for (size_t i = 0; i < infos->count; i++, e++) {
        if (i > 0 && e->set_id <= e[-1].set_id)
            SAY(INCONSISTENT, key, "set %" PRId64 " behind set %" PRId64, e->set_id, e[-1].set_id);
        const obv_set_file_info *f = find_set(sets, e->set_id);
        if (!f) {
            if (e->status == OBV_EXTERN_SUCCESS && !e->is_mark_deleted && e->compatible != OBV_COMPATIBLE_V1)
                SAY(INCONSISTENT, key, "set %" PRId64 " is SUCCESS here, the list of set files lacks it", e->set_id);
            continue;
        }
        if (status_of(e->status) != f->status) {
            if (f->status == OBV_SET_DOING)
                SAY(LEFTOVER, key, "set %" PRId64 " ended here, the list of set files was not written yet", e->set_id);
            else
                SAY(INCONSISTENT, key, "set %" PRId64 ": status %d, the list of set files has %d", e->set_id, e->status,
                    f->status);
            continue;
        }
        if (e->snapshot_version != f->snapshot_version || e->schema_version != f->schema_version ||
            e->data_version != f->data_version || e->backup_type != f->backup_type || e->date != f->date ||
            e->compatible != f->compatible || (uint64_t)e->cluster_version != f->cluster_version ||
            e->prev_set_id != f->prev_set_id)
            SAY(INCONSISTENT, key, "set %" PRId64 ": versions, type or date differ from the list of set files",
                e->set_id);
    }
    const obv_set_file_info *f = sets->items;
    const obv_backup_info *all = infos->items;
    for (size_t i = 0; i < sets->count; i++) {
        bool there = f[i].file_status == OBV_SET_FILE_DELETING || f[i].file_status == OBV_SET_FILE_DELETED;
        for (size_t k = 0; k < infos->count && !there; k++)
            there = all[k].set_id == f[i].set_id;
        if (!there)
            SAY(INCONSISTENT, key, "lacks set %" PRId64, f[i].set_id);
    }
}

static obv_code check_tenant(obv_verify *v, uint64_t tenant, obv_verify_array *sets, bool *known, obv_err *err)
{
    OBV_AUTO(array_fini) obv_verify_array infos = {0};
    obv_path list;
    obv_path info;
    bool info_known = false;
    obv_path_backup_set_file_info(&v->cfg->root, tenant, &list);
    obv_path_data_backup_info(&v->cfg->root, tenant, &info);
    OBV_TRY(read_list(v, list.s, false, sets, known, err));
    OBV_TRY(read_list(v, info.s, true, &infos, &info_known, err));
    if (*known)
        check_sets(v, tenant, list.s, sets);
    if (*known && info_known)
        compare(v, info.s, &infos, sets);
    if (*known && sets->count > 0 && !obv_verify_find(v, info.s))
        SAY(MISSING, info.s, "there is a list of set files, but not this one");
    if (info_known && infos.count > 0 && !*known && !obv_verify_find(v, list.s)) {
        bool done = false;
        const obv_backup_info *e = infos.items;
        for (size_t i = 0; i < infos.count; i++)
            done |= e[i].status == OBV_EXTERN_SUCCESS && e[i].compatible != OBV_COMPATIBLE_V1; /* that wrote none */
        if (done)
            SAY(MISSING, list.s, "sets were made, but the list of set files is not there");
    }
    return OBV_OK;
}

/* The cluster's entry of a set against those of the tenants. */
static void compare_cluster(obv_verify *v, const char *key, const obv_verify_array *cluster,
                            const obv_verify_array *tenant, uint64_t tenant_id)
{
    const obv_set_file_info *e = tenant->items;
    for (size_t i = 0; i < tenant->count; i++) {
        const obv_set_file_info *c = find_set(cluster, e[i].set_id);
        if (!c) {
            if (e[i].status != OBV_SET_DOING)
                SAY(INCONSISTENT, key, "lacks set %" PRId64 " of tenant %" PRIu64, e[i].set_id, tenant_id);
            continue;
        }
        if (c->status == OBV_SET_SUCCESS && e[i].status == OBV_SET_DOING)
            SAY(INCONSISTENT, key, "set %" PRId64 " is SUCCESS, tenant %" PRIu64 " has not ended", e[i].set_id,
                tenant_id);
        if (c->status == OBV_SET_SUCCESS && e[i].status == OBV_SET_SUCCESS &&
            (c->snapshot_version != e[i].snapshot_version || c->start_replay_log_ts > e[i].start_replay_log_ts))
            SAY(INCONSISTENT, key, "set %" PRId64 ": snapshot or start of log differ from tenant %" PRIu64, e[i].set_id,
                tenant_id);
    }
}

/* ---- which tenants the cluster's files know */

typedef struct known_tenants {
    obv_verify_array ids; /* uint64_t */
    obv_err err;
} known_tenants;

static int know(known_tenants *k, uint64_t id)
{
    uint64_t *at = obv_verify_add(&k->ids, sizeof *at, &k->err);
    if (at)
        *at = id;
    return at == NULL;
}
static int know_name(void *ctx, const obv_tenant_name *e) { return know(ctx, e->tenant_id); }
static int know_info(void *ctx, const obv_tenant_info *e) { return know(ctx, e->tenant_id); }

static bool has(const known_tenants *k, uint64_t id)
{
    const uint64_t *ids = k->ids.items;
    for (size_t i = 0; i < k->ids.count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Every tenant with sets stands in the file. */
static obv_code check_known(obv_verify *v, const char *name, bool names, const uint64_t *tenants, size_t n,
                            obv_err *err)
{
    obv_path key;
    obv_path_cluster_file(&v->cfg->root, name, &key);
    if (n > 0 && !obv_verify_find(v, key.s))
        SAY(MISSING, key.s, "tenants have sets, but this file is not there");
    if (!obv_verify_find(v, key.s))
        return OBV_OK;
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key.s, OBV_INFO_FILE_MAX, &file, &ok, err));
    known_tenants k = {0};
    int64_t version = 0;
    obv_code code = OBV_E_CORRUPT;
    if (ok)
        code = names ? obv_tenant_names_each(obv_buf_span(&file), &version, know_name, &k, NULL)
                     : obv_tenant_infos_each(obv_buf_span(&file), know_info, &k, NULL);
    for (size_t i = 0; i < n && code == OBV_OK; i++)
        if (!has(&k, tenants[i]))
            SAY(INCONSISTENT, key.s, "lacks tenant %" PRIu64, tenants[i]);
    free(k.ids.items);
    if (k.err.code != OBV_OK && err)
        *err = k.err;
    return k.err.code;
}

/* Tenants with a list of sets, ascending. */
static obv_code tenants_with_sets(const obv_verify *v, obv_verify_array *out, obv_err *err)
{
    const obv_verify_small *s = v->small.items;
    for (size_t i = 0; i < v->small.count; i++) {
        if ((s[i].name.kind != OBV_NATIVE_SET_LIST && s[i].name.kind != OBV_NATIVE_BACKUP_INFO) ||
            s[i].name.tenant == SYS_TENANT)
            continue;
        uint64_t *at = obv_verify_add(out, sizeof *at, err);
        if (!at)
            return OBV_E_NOMEM;
        *at = s[i].name.tenant;
    }
    obv_verify_unique(out, sizeof(uint64_t), obv_cmp_u64);
    return OBV_OK;
}

obv_code obv_verify_set_lists(obv_verify *v, obv_err *err)
{
    OBV_AUTO(array_fini) obv_verify_array tenants = {0};
    OBV_AUTO(array_fini) obv_verify_array cluster = {0};
    OBV_TRY(tenants_with_sets(v, &tenants, err));
    const uint64_t *ids = tenants.items;
    obv_path cluster_key;
    bool cluster_known = false;
    obv_path_backup_set_file_info(&v->cfg->root, SYS_TENANT, &cluster_key);
    OBV_TRY(check_tenant(v, SYS_TENANT, &cluster, &cluster_known, err));
    for (size_t i = 0; i < tenants.count; i++) {
        OBV_AUTO(array_fini) obv_verify_array sets = {0};
        bool known = false;
        OBV_TRY(check_tenant(v, ids[i], &sets, &known, err));
        if (known && cluster_known)
            compare_cluster(v, cluster_key.s, &cluster, &sets, ids[i]);
        bool ended = false;
        const obv_set_file_info *e = sets.items;
        for (size_t k = 0; k < sets.count; k++)
            ended |= e[k].status == OBV_SET_SUCCESS;
        if (ended && !obv_verify_find(v, cluster_key.s))
            SAY(MISSING, cluster_key.s, "tenant %" PRIu64 " has sets, but this list is not there", ids[i]);
    }
    OBV_TRY(check_known(v, OBV_NAME_TENANT_NAME_INFO, true, ids, tenants.count, err));
    return check_known(v, OBV_NAME_TENANT_INFO, false, ids, tenants.count, err);
}
