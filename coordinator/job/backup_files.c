#include "job/backup_files.h"

#include "base/fault.h"
#include "format/media/info_files.h"
#include "format/media/meta_records.h"
#include "job/names.h"
#include "state/rounds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYS_TENANT 1u
#define NOT_RUN (-4018) /* OceanBase's number for "entry not exist": a failed set without a better one */

typedef struct sets {
    obv_set *v;
    size_t n, cap;
} sets;
static void sets_fini(sets *l) { free(l->v); }
typedef struct set_tenants {
    obv_set_tenant *v;
    size_t n, cap;
} set_tenants;
static void set_tenants_fini(set_tenants *l) { free(l->v); }

static obv_code take_set(void *ctx, const obv_set *s, obv_err *err)
{
    obv_set *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *s;
    return OBV_OK;
}

static obv_code take_tenant(void *ctx, const obv_set_tenant *t, obv_err *err)
{
    obv_set_tenant *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *t;
    return OBV_OK;
}

/* Never lower: layouts 1 and 2 can hold no minors and no transaction states. */
static int layout(void) { return OBV_BUG_STRIKES("bug.a5_layout_1") ? 1 : OBV_COMPATIBLE_V4; }

static bool is_good(const obv_set *s) { return s->status == OBV_SET_GOOD || s->status == OBV_SET_SEALING; }

obv_code obv_backup_replay_start(obv_job_ctx *x, const obv_set *set, uint64_t tenant, int64_t *out, obv_err *err)
{
    obv_set_sums sums;
    obv_round round;
    OBV_TRY(obv_set_sum(x->s, set->id, tenant, &sums, err));
    *out = sums.min_last_submit_ts;
    if (*out > 0)
        return OBV_OK;
    /* a PG that has no log yet: its log 1 lies behind the round's start */
    OBV_TRY(obv_round_get(x->s, set->round, &round, err));
    *out = round.start_ts;
    return OBV_OK;
}

/* Entry of one set as a tenant sees it. OBV_E_NOT_FOUND: the tenant is not in that set. */
static obv_code data_info(obv_job_ctx *x, const obv_set *s, uint64_t tenant, obv_backup_info *e, obv_err *err)
{
    obv_set_tenant t = {.schema_version = s->sys_schema_version};
    if (tenant != SYS_TENANT)
        OBV_TRY(obv_set_tenant_get(x->s, s->id, tenant, &t, err));
    *e = (obv_backup_info){
        .full_set_id = s->full_set_id,
        .set_id = s->id,
        .data_version = s->data_version,
        .snapshot_version = s->snapshot,
        .schema_version = t.schema_version,
        .frozen_snapshot_version = s->frozen_snapshot,
        .frozen_schema_version = t.frozen_schema,
        .compatible = layout(),
        .cluster_version = (int64_t)s->cluster_version,
        .backup_type = OBV_BACKUP_FULL,
        .status = is_good(s)                     ? OBV_EXTERN_SUCCESS
                  : s->status == OBV_SET_RUNNING ? OBV_EXTERN_DOING
                                                 : OBV_EXTERN_FAILED,
        .date = s->date,
    };
    return OBV_OK;
}

static obv_code file_info(obv_job_ctx *x, const obv_set *s, uint64_t tenant, obv_set_file_info *e, obv_err *err)
{
    obv_set_tenant t = {.schema_version = s->sys_schema_version};
    obv_set_sums sums;
    obv_repository repo;
    int64_t replay = 0;
    if (tenant != SYS_TENANT)
        OBV_TRY(obv_set_tenant_get(x->s, s->id, tenant, &t, err));
    OBV_TRY(obv_state_repository(x->s, &repo, err));
    OBV_TRY(obv_set_sum(x->s, s->id, tenant == SYS_TENANT ? 0 : tenant, &sums, err));
    if (is_good(s))
        OBV_TRY(obv_backup_replay_start(x, s, tenant == SYS_TENANT ? 0 : tenant, &replay, err));
    const bool good = is_good(s), running = s->status == OBV_SET_RUNNING;
    memset(e, 0, sizeof *e);
    e->tenant_id = tenant;
    e->set_id = s->id;
    e->incarnation = 1;
    e->snapshot_version = s->snapshot;
    e->pg_count = sums.pgs;
    e->finish_pg_count = sums.pgs_done;
    e->macro_block_count = sums.blocks;
    e->finish_macro_block_count = sums.blocks_stored;
    e->input_bytes = sums.bytes_read;
    e->output_bytes = sums.bytes_written;
    e->start_time = s->started_at;
    e->end_time = s->ended_at;
    e->compatible = layout();
    e->cluster_version = s->cluster_version;
    e->backup_type = OBV_BACKUP_FULL;
    e->status = good ? OBV_SET_SUCCESS : running ? OBV_SET_DOING : OBV_SET_FAILED;
    e->result = good ? 0 : running ? OBV_RESULT_SET_RUNNING : s->result ? s->result : NOT_RUN;
    if (running && OBV_BUG_STRIKES("bug.a10_doing_result_0"))
        e->result = 0;
    e->cluster_id = (int64_t)repo.cluster_id;
    (void)snprintf(e->backup_dest, sizeof e->backup_dest, "%s", x->cfg->uri);
    e->data_version = s->data_version;
    e->schema_version = t.schema_version;
    e->partition_count = sums.partitions;
    e->finish_partition_count = sums.partitions;
    e->file_status = good ? OBV_SET_FILE_AVAILABLE : running ? OBV_SET_FILE_COPYING : OBV_SET_FILE_INCOMPLETE;
    e->start_replay_log_ts = replay;
    e->date = s->date;
    return OBV_OK;
}

/* ---- lists: rewritten whole, from all sets that are known */

static obv_code put_data_infos(obv_job_ctx *x, const obv_media_root *root, const sets *all, uint64_t tenant,
                               obv_files *out, obv_err *err)
{
    obv_path path;
    obv_path_data_backup_info(root, tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    OBV_AUTO(obv_freep) obv_backup_info *e = calloc(all->n ? all->n : 1, sizeof *e);
    if (!b || !e)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const obv_code code = data_info(x, &all->v[i], tenant, &e[n], err);
        if (code == OBV_OK)
            n++;
        else if (code != OBV_E_NOT_FOUND)
            return code;
    }
    return obv_put_backup_infos(b, e, n, err);
}

static obv_code put_set_list(obv_job_ctx *x, const obv_media_root *root, const sets *all, uint64_t tenant,
                             obv_files *out, obv_err *err)
{
    obv_path path;
    obv_path_backup_set_file_info(root, tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    OBV_AUTO(obv_freep) obv_set_file_info *e = calloc(all->n ? all->n : 1, sizeof *e);
    if (!b || !e)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const obv_code code = file_info(x, &all->v[i], tenant, &e[n], err);
        if (code == OBV_OK)
            n++;
        else if (code != OBV_E_NOT_FOUND)
            return code;
    }
    return obv_put_set_file_infos(b, e, n, err);
}

static obv_code put_tenant_info(obv_job_ctx *x, const obv_media_root *root, const sets *all, obv_files *out,
                                obv_err *err)
{
    obv_path path;
    obv_path_cluster_file(root, OBV_NAME_TENANT_INFO, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    OBV_AUTO(set_tenants_fini) set_tenants t = {0};
    for (size_t i = 0; i < all->n; i++)
        OBV_TRY(obv_set_tenant_each(x->s, all->v[i].id, take_tenant, &t, err));
    OBV_AUTO(obv_freep) obv_tenant_info *e = calloc(t.n ? t.n : 1, sizeof *e);
    if (!b || !e)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) { /* the newest set's word about a tenant counts */
        size_t at = 0;
        while (at < n && e[at].tenant_id != t.v[i].tenant_id)
            at++;
        e[at] = (obv_tenant_info){.tenant_id = t.v[i].tenant_id, .compat_mode = t.v[i].compat_mode};
        (void)snprintf(e[at].tenant_name, sizeof e[at].tenant_name, "%.63s", t.v[i].name);
        for (size_t k = 0; k < all->n; k++)
            if (all->v[k].id == t.v[i].set_id)
                e[at].snapshot_version = all->v[k].snapshot;
        if (at == n)
            n++;
    }
    return obv_put_tenant_infos(b, e, n, err);
}

obv_code obv_backup_files_schedule(obv_job_ctx *x, const obv_set *set, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(sets_fini) sets all = {0};
    OBV_AUTO(set_tenants_fini) set_tenants t = {0};
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(obv_set_each(x->s, take_set, &all, err));
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    OBV_TRY(obv_names_file(x, &root, out, err));
    for (size_t i = 0; i < t.n; i++)
        OBV_TRY(put_data_infos(x, &root, &all, t.v[i].tenant_id, out, err));
    OBV_TRY(put_data_infos(x, &root, &all, SYS_TENANT, out, err));
    OBV_TRY(put_tenant_info(x, &root, &all, out, err));
    for (size_t i = 0; i < t.n; i++)
        OBV_TRY(put_set_list(x, &root, &all, t.v[i].tenant_id, out, err));
    return put_set_list(x, &root, &all, SYS_TENANT, out, err);
}

/* ---- one set's own files */

static obv_set_id id_of(const obv_set *s, uint64_t tenant)
{
    return (obv_set_id){.tenant_id = tenant, .set_id = s->id, .full_set_id = s->full_set_id, .date = s->date};
}

static obv_buf *inc_file(obv_files *out, const obv_media_root *root, const obv_set_id *id, const char *name,
                         obv_err *err)
{
    obv_path path;
    obv_path_inc_file(root, id, name, &path);
    return obv_files_add(out, &path, false, err);
}

obv_code obv_backup_files_lists(obv_job_ctx *x, const obv_set *set, uint64_t tenant, const obv_pgs *pgs, obv_files *out,
                                obv_err *err)
{
    obv_media_root root;
    const obv_set_id id = id_of(set, tenant);
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_AUTO(obv_freep) obv_pg_key *keys = calloc(pgs->n ? pgs->n : 1, sizeof *keys);
    if (!keys)
        return obv_fail(err, OBV_E_NOMEM, 0, "PG lists");
    for (int pass = 0; pass < 2; pass++) {
        size_t n = 0;
        for (size_t i = 0; i < pgs->n; i++)
            if (obv_pg_key_is_sys(&pgs->v[i]) == (pass == 0))
                keys[n++] = pgs->v[i];
        if (pass == 0 && n == 0)
            return obv_fail(err, OBV_E_PRECONDITION, 0, "tenant %llu shows no system partition",
                            (unsigned long long)tenant);
        obv_buf *b = inc_file(out, &root, &id, pass == 0 ? OBV_NAME_SYS_PG_LIST : OBV_NAME_NORMAL_PG_LIST, err);
        if (!b)
            return OBV_E_NOMEM;
        OBV_TRY(obv_put_pg_list(b, keys, n, err));
    }
    return OBV_OK;
}

static obv_code take_key(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    obv_pg_key *k = obv_list_add(ctx, sizeof *k, err);
    if (!k)
        return OBV_E_NOMEM;
    *k = p->key;
    return OBV_OK;
}

/* The lists as DDL has left them: exactly what was copied. */
static obv_code put_final_lists(obv_job_ctx *x, const obv_set *set, uint64_t tenant, obv_files *out, obv_err *err)
{
    OBV_AUTO(obv_pgs_fini) obv_pgs pgs = {0};
    OBV_TRY(obv_pg_copy_each(x->s, set->id, tenant, OBV_PG_FINISH, UINT32_MAX, take_key, &pgs, err));
    obv_pgs_sort(&pgs);
    return obv_backup_files_lists(x, set, tenant, &pgs, out, err);
}

typedef struct metas {
    obv_meta_index *v;
    size_t n, cap;
} metas;
static void metas_fini(metas *m) { free(m->v); }

static obv_code take_meta(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    if (p->meta_offset < 0 || p->task_id < 0)
        return obv_fail(err, OBV_E_INTERNAL, 0, "PG %llu/%lld has no meta record", (unsigned long long)p->key.table_id,
                        (long long)obv_pg_key_partition_id(&p->key));
    obv_meta_index *e = obv_list_add(ctx, sizeof *e, err);
    if (!e)
        return OBV_E_NOMEM;
    *e = (obv_meta_index){.meta_type = OBV_META_TYPE_PG_INFO,
                          .pg = p->key,
                          .offset = (uint64_t)p->meta_offset,
                          .len = (uint64_t)p->meta_length,
                          .task_id = p->task_id};
    return OBV_OK;
}

static obv_code put_merged_index(obv_job_ctx *x, const obv_media_root *root, const obv_set *set, const obv_set_id *id,
                                 obv_files *out, obv_err *err)
{
    OBV_AUTO(metas_fini) metas m = {0};
    OBV_TRY(obv_pg_copy_each(x->s, set->id, id->tenant_id, OBV_PG_FINISH, UINT32_MAX, take_meta, &m, err));
    obv_buf *b = inc_file(out, root, id, OBV_NAME_META_INDEX_FILE, err);
    return b ? obv_put_merged_meta_index(b, m.v, m.n, err) : OBV_E_NOMEM;
}

static obv_code put_locality(const obv_media_root *root, const obv_set *set, const obv_set_tenant *t,
                             const obv_set_id *id, obv_files *out, obv_err *err)
{
    obv_buf *b = inc_file(out, root, id, OBV_NAME_TENANT_LOCALITY_INFO, err);
    OBV_AUTO(obv_freep) obv_tenant_locality *l = calloc(1, sizeof *l);
    if (!b || !l)
        return obv_fail(err, OBV_E_NOMEM, 0, "tenant_locality_info");
    l->tenant_id = t->tenant_id;
    l->set_id = set->id;
    l->snapshot_version = set->snapshot;
    l->compat_mode = t->compat_mode;
    (void)snprintf(l->tenant_name, sizeof l->tenant_name, "%.63s", t->name);
    (void)snprintf(l->locality, sizeof l->locality, "%.4095s", t->locality);
    (void)snprintf(l->primary_zone, sizeof l->primary_zone, "%s", t->primary_zone);
    if (OBV_BUG_STRIKES("bug.d22_locality_empty"))
        l->locality[0] = '\0';
    return obv_put_tenant_locality(b, l, err);
}

static obv_code put_set_info(obv_job_ctx *x, const obv_media_root *root, const obv_set *set, const obv_set_id *id,
                             obv_files *out, obv_err *err)
{
    obv_path path;
    obv_set_sums sums;
    OBV_TRY(obv_set_sum(x->s, set->id, id->tenant_id, &sums, err));
    obv_path_set_file(root, id, OBV_NAME_BACKUP_SET_INFO, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    const obv_set_info e = {.set_id = set->id,
                            .snapshot_version = set->snapshot,
                            .compatible = layout(),
                            .pg_count = sums.pgs,
                            .macro_block_count = sums.blocks,
                            .input_bytes = sums.bytes_read,
                            .output_bytes = sums.bytes_written,
                            .cluster_version = set->cluster_version,
                            .compress_type = 1};
    return b ? obv_put_set_infos(b, &e, 1, err) : OBV_E_NOMEM;
}

static obv_code put_single(obv_job_ctx *x, const obv_media_root *root, const obv_set *set, const obv_set_id *id,
                           obv_files *out, obv_err *err)
{
    obv_path path;
    obv_path_set_file(root, id, OBV_NAME_SINGLE_BACKUP_SET_INFO, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    OBV_AUTO(obv_freep) obv_set_file_info *e = calloc(1, sizeof *e);
    if (!b || !e)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    OBV_TRY(file_info(x, set, id->tenant_id, e, err));
    return obv_put_set_file_infos(b, e, 1, err);
}

static obv_code put_diagnose(const obv_media_root *root, const obv_set *set, const obv_set_tenant *t,
                             const obv_set_id *id, obv_files *out, obv_err *err)
{
    char text[512];
    (void)snprintf(text, sizeof text, "\ntenant %llu %.128s\nset %lld data version %lld\nsnapshot %lld\nschema %lld\n",
                   (unsigned long long)t->tenant_id, t->name, (long long)set->id, (long long)set->data_version,
                   (long long)set->snapshot, (long long)t->schema_version);
    obv_buf *b = inc_file(out, root, id, OBV_NAME_TENANT_DIAGNOSE_INFO, err);
    return b ? obv_put_tenant_diagnose(b, text, err) : OBV_E_NOMEM;
}

obv_code obv_backup_files_success(obv_job_ctx *x, const obv_set *set, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(sets_fini) sets all = {0};
    OBV_AUTO(set_tenants_fini) set_tenants t = {0};
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(obv_set_each(x->s, take_set, &all, err));
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    for (size_t i = 0; i < t.n; i++) {
        const obv_set_id id = id_of(set, t.v[i].tenant_id);
        OBV_TRY(put_final_lists(x, set, id.tenant_id, out, err));
        OBV_TRY(put_merged_index(x, &root, set, &id, out, err));
        OBV_TRY(put_data_infos(x, &root, &all, id.tenant_id, out, err));
        OBV_TRY(put_set_list(x, &root, &all, id.tenant_id, out, err));
        OBV_TRY(put_locality(&root, set, &t.v[i], &id, out, err));
        OBV_TRY(put_set_info(x, &root, set, &id, out, err));
        OBV_TRY(put_single(x, &root, set, &id, out, err));
        OBV_TRY(put_diagnose(&root, set, &t.v[i], &id, out, err));
    }
    OBV_TRY(put_data_infos(x, &root, &all, SYS_TENANT, out, err));
    return put_set_list(x, &root, &all, SYS_TENANT, out, err);
}

obv_code obv_backup_files_failed(obv_job_ctx *x, const obv_set *set, bool sealing, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(sets_fini) sets all = {0};
    OBV_AUTO(set_tenants_fini) set_tenants t = {0};
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(obv_set_each(x->s, take_set, &all, err));
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    for (size_t i = 0; i < t.n; i++) {
        const obv_set_id id = id_of(set, t.v[i].tenant_id);
        if (sealing)
            OBV_TRY(put_single(x, &root, set, &id, out, err));
        OBV_TRY(put_data_infos(x, &root, &all, id.tenant_id, out, err));
        OBV_TRY(put_set_list(x, &root, &all, id.tenant_id, out, err));
    }
    OBV_TRY(put_data_infos(x, &root, &all, SYS_TENANT, out, err));
    return put_set_list(x, &root, &all, SYS_TENANT, out, err);
}
