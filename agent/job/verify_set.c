/* verify_set.c - the sets of one tenant: what its own info files say, then its metas and its PGs, then the sums */
#include "job/verify_priv.h"

#include <inttypes.h>

#define SAY(class, key, ...) obv_verify_say(v, OBV_VERIFY_##class, key, -1, __VA_ARGS__)

/* ---- the set's info file */

typedef struct one_set {
    obv_set_file_info *to;
    int64_t wanted; /* 0: any */
    bool found;
} one_set;

static int take_set(void *ctx, const obv_set_file_info *e)
{
    one_set *o = ctx;
    if (o->wanted && e->set_id != o->wanted)
        return 0;
    *o->to = *e;
    o->found = true;
    return 0;
}

/* *found: the file is there, can be read and has the entry. */
static obv_code read_set_info(obv_verify *v, const char *key, int64_t wanted, obv_set_file_info *out, bool *found,
                              obv_err *err)
{
    *found = false;
    if (!obv_verify_find(v, key))
        return OBV_OK;
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key, OBV_INFO_FILE_MAX, &file, &ok, err));
    one_set o = {.to = out, .wanted = wanted};
    *found = ok && obv_set_file_infos_each(obv_buf_span(&file), take_set, &o, NULL) == OBV_OK && o.found;
    return OBV_OK;
}

static bool same_numbers(const obv_set_file_info *a, const obv_set_file_info *b)
{
    return a->tenant_id == b->tenant_id && a->snapshot_version == b->snapshot_version &&
           a->prev_full_set_id == b->prev_full_set_id && a->prev_set_id == b->prev_set_id &&
           a->pg_count == b->pg_count && a->macro_block_count == b->macro_block_count &&
           a->input_bytes == b->input_bytes && a->output_bytes == b->output_bytes && a->compatible == b->compatible &&
           a->cluster_version == b->cluster_version && a->backup_type == b->backup_type && a->status == b->status &&
           a->result == b->result && a->data_version == b->data_version && a->schema_version == b->schema_version &&
           a->partition_count == b->partition_count && a->start_replay_log_ts == b->start_replay_log_ts &&
           a->date == b->date;
}

typedef struct one_backup {
    const obv_verify_set *s;
    obv_backup_info info;
    bool found;
} one_backup;

static int take_backup(void *ctx, const obv_backup_info *e)
{
    one_backup *o = ctx;
    if (e->set_id == o->s->id.set_id && e->full_set_id == o->s->id.full_set_id) {
        o->info = *e;
        o->found = true;
    }
    return 0;
}

/* A set of before 2.2.77 has no file of its own: the tenant's list of backups says what it is. */
static obv_code read_backup_info(obv_verify *v, obv_verify_set *s, obv_err *err)
{
    obv_path list;
    obv_path_data_backup_info(&v->cfg->root, s->id.tenant_id, &list);
    if (!obv_verify_find(v, list.s))
        return OBV_OK;
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    one_backup o = {.s = s};
    bool ok = false;
    OBV_TRY(obv_verify_read(v, list.s, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (!ok || obv_backup_infos_each(obv_buf_span(&file), take_backup, &o, NULL) != OBV_OK)
        return OBV_OK;
    if (!o.found) {
        SAY(INCONSISTENT, list.s, "lacks set %" PRId64 ", which is in the folder of set %" PRId64, s->id.set_id,
            s->id.full_set_id);
        return OBV_OK;
    }
    const obv_backup_info *i = &o.info;
    if (i->compatible != OBV_COMPATIBLE_V1)
        SAY(INCONSISTENT, list.s, "set %" PRId64 " of compatible %" PRId64 " in a folder without a date", i->set_id,
            i->compatible);
    s->info = (obv_set_file_info){.tenant_id = s->id.tenant_id,
                                  .set_id = i->set_id,
                                  .snapshot_version = i->snapshot_version,
                                  .compatible = OBV_COMPATIBLE_V1,
                                  .cluster_version = (uint64_t)i->cluster_version,
                                  .backup_type = i->backup_type,
                                  .data_version = i->data_version,
                                  .schema_version = i->schema_version};
    s->has_info = s->flat = true;
    s->good = i->status == OBV_EXTERN_SUCCESS && !i->is_mark_deleted;
    return OBV_OK;
}

static obv_code read_info(obv_verify *v, obv_verify_set *s, const char *single, obv_err *err)
{
    if (s->id.date == 0)
        return read_backup_info(v, s, err);
    OBV_TRY(read_set_info(v, single, 0, &s->info, &s->has_info, err));
    if (!s->has_info)
        return OBV_OK;
    s->flat = s->info.compatible == OBV_COMPATIBLE_V2;
    if (s->info.compatible < OBV_COMPATIBLE_V2 || s->info.compatible > OBV_COMPATIBLE_V4)
        SAY(INCONSISTENT, single, "compatible %" PRId64 " is not that of a set in such a folder", s->info.compatible);
    const obv_set_file_info *i = &s->info;
    const bool full = s->id.full_set_id == s->id.set_id;
    if (i->tenant_id != s->id.tenant_id || i->set_id != s->id.set_id || i->date != s->id.date ||
        (i->backup_type == OBV_BACKUP_FULL) != full)
        SAY(INCONSISTENT, single, "tenant, set id, type or date do not fit the folder");
    s->good = i->status == OBV_SET_SUCCESS &&
              (i->file_status == OBV_SET_FILE_AVAILABLE || i->file_status == OBV_SET_FILE_EXPIRED);
    obv_path list;
    obv_path_backup_set_file_info(&v->cfg->root, s->id.tenant_id, &list);
    OBV_AUTO(obv_freep) obv_set_file_info *listed = calloc(1, sizeof *listed);
    if (!listed)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: a set");
    bool found = false;
    OBV_TRY(read_set_info(v, list.s, s->id.set_id, listed, &found, err));
    if (found && !same_numbers(listed, i))
        SAY(INCONSISTENT, single, "differs from the entry in the list of set files");
    return OBV_OK;
}

/* ---- the other info files of a good set */

/* ctx: the entry, its set id given. */
static int take_set_info(void *ctx, const obv_set_info *e)
{
    obv_set_info *to = ctx;
    if (e->set_id == to->set_id)
        *to = *e;
    return 0;
}

static obv_code check_set_info(obv_verify *v, obv_verify_set *s, obv_err *err)
{
    obv_path key;
    obv_path_set_file(&v->cfg->root, &s->id, OBV_NAME_BACKUP_SET_INFO, &key);
    if (!obv_verify_find(v, key.s)) {
        SAY(MISSING, key.s, "every set has it");
        return OBV_OK;
    }
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    obv_set_info e = {.set_id = s->info.set_id};
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key.s, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (!ok || obv_set_infos_each(obv_buf_span(&file), take_set_info, &e, NULL) != OBV_OK)
        return OBV_OK;
    obv_set_file_info *i = &s->info;
    if (s->id.date == 0) { /* what the list of backups does not tell */
        i->pg_count = i->finish_pg_count = e.pg_count;
        i->macro_block_count = e.macro_block_count;
        i->input_bytes = e.input_bytes;
        i->output_bytes = e.output_bytes;
    }
    if (e.set_id != i->set_id || e.snapshot_version != i->snapshot_version || e.compatible != i->compatible ||
        e.pg_count != i->pg_count || e.macro_block_count != i->macro_block_count || e.input_bytes != i->input_bytes ||
        e.output_bytes != i->output_bytes || e.cluster_version != i->cluster_version)
        SAY(INCONSISTENT, key.s, "differs from %s",
            s->id.date ? "single_backup_set_info" : "the tenant's list of backups, or lacks the set");
    return OBV_OK;
}

static obv_code check_locality(obv_verify *v, const obv_verify_set *s, obv_err *err)
{
    obv_path key;
    obv_path_inc_file(&v->cfg->root, &s->id, OBV_NAME_TENANT_LOCALITY_INFO, &key);
    if (!obv_verify_find(v, key.s)) {
        SAY(MISSING, key.s, "every set has it");
        return OBV_OK;
    }
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    OBV_AUTO(obv_freep) obv_tenant_locality *l = malloc(sizeof *l);
    if (!l)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: a locality");
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key.s, OBV_INFO_FILE_MAX, &file, &ok, err));
    if (!ok || obv_tenant_locality_parse(obv_buf_span(&file), l, NULL) != OBV_OK)
        return OBV_OK;
    if (l->tenant_id != s->id.tenant_id || l->set_id != s->id.set_id || l->snapshot_version != s->info.snapshot_version)
        SAY(INCONSISTENT, key.s, "is of another set");
    return OBV_OK;
}

static void check_totals(obv_verify *v, const obv_verify_set *s, const char *single)
{
    const obv_set_file_info *i = &s->info;
    if (i->pg_count != (int64_t)s->pg_count || i->finish_pg_count != (int64_t)s->pg_count)
        SAY(INCONSISTENT, single, "says %" PRId64 " PGs, the lists have %zu", i->pg_count, s->pg_count);
    if (!s->metas_complete)
        return; /* sums over what could not be read say nothing */
    const bool says_all = s->id.date != 0;
    if (i->macro_block_count != (int64_t)s->blocks || (says_all && i->partition_count != (int64_t)s->partitions))
        SAY(INCONSISTENT, single,
            "says %" PRId64 " blocks and %" PRId64 " partitions, the metas have %" PRIu64 " and %" PRIu64,
            i->macro_block_count, i->partition_count, s->blocks, s->partitions);
    if (says_all && s->pg_count > 0 && i->start_replay_log_ts != s->least_submit_ts)
        SAY(INCONSISTENT, single, "log is needed from %" PRId64 ", the metas say %" PRId64, i->start_replay_log_ts,
            s->least_submit_ts);
}

/* ---- PGs */

static int cmp_place(uint64_t table, int64_t partition, const obv_verify_pg_dir *d)
{
    if (table != d->table)
        return table < d->table ? -1 : 1;
    return partition < d->partition ? -1 : partition > d->partition;
}

static int by_place(const void *x, const void *y)
{
    const obv_pg_key *a = x;
    const obv_pg_key *b = y;
    if (a->table_id != b->table_id)
        return a->table_id < b->table_id ? -1 : 1;
    const int64_t p = obv_pg_key_partition_id(a);
    const int64_t q = obv_pg_key_partition_id(b);
    return p < q ? -1 : p > q;
}

/* Folders and lists side by side, both ascending by (table, partition). */
static obv_code check_pgs(obv_verify *v, obv_verify_set *s, const obv_verify_pg_dir *dirs, size_t n, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_pg_key *keys = malloc((s->pg_count + 1) * sizeof *keys);
    if (!keys)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: %zu PGs", s->pg_count);
    memcpy(keys, s->pgs, s->pg_count * sizeof *keys);
    if (s->pg_count > 1)
        qsort(keys, s->pg_count, sizeof *keys, by_place);
    size_t d = 0;
    size_t k = 0;
    while (d < n || k < s->pg_count) {
        OBV_TRY(obv_verify_cancelled(v, err));
        const int64_t part = k < s->pg_count ? obv_pg_key_partition_id(&keys[k]) : 0;
        const int order = d == n ? -1 : k == s->pg_count ? 1 : cmp_place(keys[k].table_id, part, &dirs[d]);
        const uint64_t table = order <= 0 ? keys[k].table_id : dirs[d].table;
        const int64_t partition = order <= 0 ? part : dirs[d].partition;
        OBV_TRY(obv_verify_set_pg(v, s, order <= 0 ? &keys[k] : NULL, table, partition, err));
        d += order >= 0;
        k += order <= 0;
    }
    return OBV_OK;
}

static obv_code check_set(obv_verify *v, obv_verify_set *s, const obv_verify_pg_dir *dirs, size_t n, obv_err *err)
{
    obv_path single;
    obv_path_set_file(&v->cfg->root, &s->id, OBV_NAME_SINGLE_BACKUP_SET_INFO, &single);
    OBV_TRY(read_info(v, s, single.s, err));
    s->metas_complete = true;
    OBV_TRY(obv_verify_set_metas(v, s, err));
    OBV_TRY(check_pgs(v, s, dirs, n, err));
    if (!s->good)
        return OBV_OK;
    v->stats->sets++;
    v->stats->pgs += s->pg_count;
    OBV_TRY(check_set_info(v, s, err));
    OBV_TRY(check_locality(v, s, err));
    if (s->id.date == 0)
        obv_path_set_file(&v->cfg->root, &s->id, OBV_NAME_BACKUP_SET_INFO, &single);
    if (s->has_lists)
        check_totals(v, s, single.s);
    return OBV_OK;
}

/* The next set of the tenant behind (id, date, type); false: there is none. */
static bool next_set(const obv_verify *v, uint64_t tenant, const obv_verify_pg_dir *after, obv_verify_pg_dir *out)
{
    bool found = false;
    obv_verify_pg_dir best = {0};
#define RANK(x) ((x)->group), (uint64_t)((x)->date), (uint64_t)((x)->folder), (uint64_t)((x)->full)
    const struct {
        const obv_verify_small *small;
        const obv_verify_pg_dir *dirs;
        size_t n;
    } places[] = {{v->small.items, NULL, v->small.count}, {NULL, v->set_pgs.items, v->set_pgs.count}};
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < places[p].n; i++) {
            obv_verify_pg_dir d;
            if (places[p].small) {
                const obv_native_name *m = &places[p].small[i].name;
                if (m->set_id == 0)
                    continue;
                d = (obv_verify_pg_dir){.tenant = m->tenant,
                                        .group = (uint64_t)m->set_id,
                                        .date = m->date,
                                        .folder = m->folder,
                                        .full = m->full};
            } else {
                d = places[p].dirs[i];
            }
            if (d.tenant != tenant)
                continue;
            const uint64_t mine[] = {RANK(&d)};
            const uint64_t low[] = {RANK(after)};
            const uint64_t top[] = {RANK(&best)};
            int above = 0;
            int below = 0;
            for (int w = 3; w >= 0; w--) {
                above = mine[w] != low[w] ? (mine[w] > low[w] ? 1 : -1) : above;
                below = mine[w] != top[w] ? (mine[w] < top[w] ? 1 : -1) : below;
            }
            if (above > 0 && (!found || below > 0)) {
                best = d;
                found = true;
            }
        }
#undef RANK
    *out = best;
    return found;
}

static void set_fini(obv_verify_set *s)
{
    free(s->pgs);
    free(s->index);
    free(s);
}
static void set_drop(obv_verify_set **s)
{
    if (*s)
        set_fini(*s);
}

static obv_code one(obv_verify *v, const obv_verify_pg_dir *d, obv_err *err)
{
    OBV_AUTO(set_drop) obv_verify_set *s = calloc(1, sizeof *s);
    if (!s)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: a set");
    s->id = (obv_set_id){.tenant_id = d->tenant,
                         .set_id = (int64_t)d->group,
                         .full_set_id = d->full ? (int64_t)d->group : d->folder,
                         .date = d->date};
    s->least_submit_ts = INT64_MAX;
    const obv_verify_pg_dir *dirs = v->set_pgs.items;
    size_t from = 0;
    size_t n = 0;
    for (size_t i = 0; i < v->set_pgs.count; i++) {
        if (dirs[i].tenant != d->tenant || dirs[i].group != d->group || dirs[i].date != d->date ||
            dirs[i].folder != d->folder || dirs[i].full != d->full)
            continue;
        if (n++ == 0)
            from = i; /* sorted: the rest follows */
    }
    return check_set(v, s, n > 0 ? dirs + from : NULL, n, err);
}

obv_code obv_verify_sets(obv_verify *v, uint64_t tenant, obv_err *err)
{
    obv_verify_pg_dir at = {0};
    obv_verify_pg_dir next;
    while (next_set(v, tenant, &at, &next)) {
        at = next;
        if (!v->cfg->set_id || (int64_t)at.group == v->cfg->set_id)
            OBV_TRY(one(v, &at, err));
    }
    return OBV_OK;
}
