/* freeze.c - minor freeze, minor compaction, major merge of one replica */
#include "replica.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

char *local_sst_path(struct host *h)
{
    return xasprintf("%s/store/sstable/t%" PRIu64, h->dir, atomic_fetch_add(&h->next_sst, 1));
}

char *major_path(const struct host *h, const struct pkey *part, uint64_t index_id, int64_t version)
{
    return xasprintf("%s/shared/%" PRIu64 "_%" PRId64 "_%" PRIu64 "_%" PRId64, h->cluster_dir, part->table_id,
                     pkey_partition_id(part), index_id, version);
}

static struct sst_spec minor_spec(struct host *h, struct replica *r, const struct shm_part *p, int idx, int type,
                                  char *path)
{
    struct sst_spec s = {.key = {.type = type, .pkey = p->key, .table_id = p->idx[idx]},
                         .pg_key = pg_at(h, r->pg)->key};
    s.comp = p->comp == C_NONE ? C_NONE : C_LZ4; /* the default minor compressor */
    s.int_key = p->int_key && idx == 0;
    s.multi_version = true;
    s.index_type = idx ? 1 : p->index_type;
    s.schema_version = p->create_schema_version;
    s.end_log_id = r->applied_id;
    s.path = path;
    s.local = true;
    return s;
}

static struct sst *write_rows(struct host *h, const struct sst_spec *spec, const struct rows *d)
{
    struct sst_builder *b = sb_new(h, spec);
    for (size_t i = 0; i < d->n; i++)
        sb_add(b, &d->r[i]);
    return sb_finish(b);
}

/* The transaction-state sstable: every transaction that is open or still needed to decide a dumped row. */
int replica_write_trans(struct host *h, struct replica *r, int64_t snapshot)
{
    struct rows d = {0};
    struct obuf v = {0};
    for (int i = 0; i < 256; i++)
        for (const struct mtx *t = r->tx[i]; t; t = t->next) {
            uint8_t key[8];
            stbe64(key, (uint64_t)t->id);
            v.n = 0;
            ob_u8(&v, (unsigned)t->status);
            ob_be64(&v, (uint64_t)t->prepare_version);
            ob_be32(&v, (uint32_t)t->n_parts);
            for (int k = 0; k < t->n_parts; k++)
                enc_pkey(&v, &t->parts[k]);
            const struct row row = {.op = OP_PUT,
                                    .klen = 8,
                                    .vlen = (uint32_t)v.n,
                                    .version = t->commit_version,
                                    .trans_id = t->id,
                                    .redo_ts = t->last_ts,
                                    .key = key,
                                    .val = v.p};
            rows_add(&d, &row);
        }
    rows_sort(&d);
    struct pkey tk = pkey_trans(&pg_at(h, r->pg)->key);
    char *path = local_sst_path(h);
    struct sst_spec s = {.key = {.type = T_TRANS, .pkey = tk, .table_id = tk.table_id, .version = 1},
                         .pg_key = pg_at(h, r->pg)->key};
    s.key.v = (struct vrange){snapshot, 0, snapshot};
    s.key.l = (struct lrange){0, r->applied_ts, r->applied_ts};
    s.comp = C_NONE;
    s.int_key = true;
    s.schema_version = pg_at(h, r->pg)->create_schema_version;
    s.end_log_id = r->applied_id;
    s.path = path;
    s.local = true;
    struct sst *t = write_rows(h, &s, &d);
    rows_free(&d);
    ob_free(&v);
    free(path);
    if (!t)
        return -4009;
    /* The second of two at one log position (a compaction's) only takes the first one's place. */
    bool moved = r->trans && r->trans->key.l.end < t->key.l.end;
    if (moved) {
        replica_doom(r, r->trans_old);
        r->trans_old = r->trans;
        r->trans_since = clock_us(h);
    } else {
        replica_doom(r, r->trans);
    }
    r->trans = t;
    return 0;
}

static int freeze_index(struct host *h, struct replica *r, const struct shm_part *p, int idx, int64_t snapshot)
{
    struct rows d = {0};
    replica_memtable_rows(r, p->idx[idx], &d);
    if (!d.n && idx) {
        rows_free(&d);
        return 0;
    }
    rows_sort(&d);
    struct sst *last = replica_last(r, p->idx[idx], &p->key);
    char *path = local_sst_path(h);
    struct sst_spec s = minor_spec(h, r, p, idx, T_MINI, path);
    int64_t base = last ? last->key.v.snapshot_version : r->data.publish_version;
    if (base >= snapshot)
        base = snapshot - 1;
    int64_t start = last && last->key.type != T_MAJOR ? last->key.l.end : r->data.last_log_ts;
    if (start >= r->applied_ts)
        start = r->applied_ts - 1;
    s.key.v = (struct vrange){base, base, snapshot};
    s.key.l = (struct lrange){start, r->applied_ts, r->applied_ts};
    struct sst *t = write_rows(h, &s, &d);
    rows_free(&d);
    free(path);
    if (!t)
        return -4009;
    replica_add_sst(r, t);
    return 0;
}

int replica_freeze(struct host *h, struct replica *r, int flags)
{
    pthread_mutex_lock(&r->mu);
    struct shm_pg *pg = pg_at(h, r->pg);
    int64_t w = my_rep(h, r->pg)->weak_ts;
    int rc = 1;
    bool cold = !r->n_rows && r->applied_id <= r->data.last_log_id;
    if ((cold && !(flags & FREEZE_FORCE)) || pg->state == PG_GONE)
        rc = 0;
    else if (w <= r->data.publish_version)
        rc = 0; /* no version to publish yet */
    for (int i = 0; rc > 0 && i < pg->n_parts; i++)
        for (int k = 0; rc > 0 && k < pg->part[i].n_idx; k++)
            if (!pg->part[i].dropped && !pg->part[i].idx_dropped[k] && freeze_index(h, r, &pg->part[i], k, w))
                rc = -4009;
    if (rc > 0) {
        replica_clear_memtable(h, r);
        rc = replica_write_trans(h, r, w) ? -4009 : 1;
        if (!(flags & FREEZE_LAG)) {
            r->data = (struct data_info){r->applied_id, w, h->shm->last_schema_version, r->applied_ts};
            r->data_clog = r->applied;
            r->data_bus = r->applied_bus;
        }
        r->n_minis_since++;
        replica_save(h, r);
    }
    if (rc > 0 && r->n_minis_since >= h->knob.minor_compact_minis)
        replica_compact(h, r);
    pthread_mutex_unlock(&r->mu);
    return rc;
}

/* Keeps of each key what lies above gc and the newest version at or below it. */
static void drop_versions(struct rows *d, int64_t gc)
{
    size_t k = 0;
    bool have_old = false;
    for (size_t i = 0; i < d->n; i++) {
        struct row *x = &d->r[i];
        bool same = k && !key_cmp(d->r[k - 1].key, d->r[k - 1].klen, x->key, x->klen);
        if (!same)
            have_old = false;
        if (x->state == 0 && x->version <= gc) {
            if (have_old)
                continue;
            have_old = true;
        }
        d->r[k++] = *x;
    }
    d->n = k;
}

static int compact_index(struct host *h, struct replica *r, const struct shm_part *p, int idx, int64_t gc)
{
    struct rows d = {0}, keep = {0};
    struct sst *first = NULL, *last = NULL;
    int count = 0, rc = 0;
    for (int i = 0; i < r->n_sst; i++) {
        struct sst *s = r->sst[i];
        if (s->key.type == T_MAJOR || s->key.table_id != p->idx[idx] || !pkey_eq(&s->key.pkey, &p->key))
            continue;
        first = first ? first : s;
        last = s;
        count++;
        if (rows_add_sst(&d, s))
            rc = -4108;
    }
    if (!rc && count && (count > 1 || last->meta.has_uncommitted)) {
        for (size_t i = 0; i < d.n; i++) {
            struct row x = d.r[i];
            if (replica_resolve(r, &x))
                rows_add(&keep, &x);
        }
        rows_sort(&keep);
        if (gc > last->key.v.snapshot_version)
            gc = last->key.v.snapshot_version;
        if (gc < first->key.v.multi_version_start)
            gc = first->key.v.multi_version_start;
        drop_versions(&keep, gc);
        char *path = local_sst_path(h);
        struct sst_spec s = minor_spec(h, r, p, idx, T_MINOR, path);
        s.key.v = (struct vrange){gc, first->key.v.base_version, last->key.v.snapshot_version};
        s.key.l = (struct lrange){first->key.l.start, last->key.l.end, last->key.l.max};
        s.end_log_id = last->meta.end_log_id;
        struct sst *t = write_rows(h, &s, &keep);
        free(path);
        rc = t ? 0 : -4009;
        int k = 0;
        for (int i = 0; t && i < r->n_sst; i++) {
            struct sst *o = r->sst[i];
            if (o->key.type != T_MAJOR && o->key.table_id == p->idx[idx] && pkey_eq(&o->key.pkey, &p->key))
                replica_doom(r, o);
            else
                r->sst[k++] = o;
        }
        if (t) {
            r->n_sst = k;
            replica_add_sst(r, t);
            if (gc > r->mvs)
                r->mvs = gc;
        }
    }
    rows_free(&d);
    rows_free(&keep);
    return rc;
}

int replica_compact(struct host *h, struct replica *r)
{
    pthread_mutex_lock(&r->mu);
    struct shm_pg *pg = pg_at(h, r->pg);
    int64_t undo = h->shm->undo_us[pg->tenant % 4096];
    if (undo < h->knob.undo_retention_us)
        undo = h->knob.undo_retention_us;
    int64_t gc = clock_us(h) - undo, pin = h->shm->pin_ts[pg->tenant % 4096];
    if (pin && pin < gc)
        gc = pin;
    int rc = 0;
    for (int i = 0; !rc && i < pg->n_parts; i++)
        for (int k = 0; !rc && k < pg->part[i].n_idx; k++)
            if (!pg->part[i].idx_dropped[k])
                rc = compact_index(h, r, &pg->part[i], k, gc);
    if (!rc) {
        /* Nothing refers to the ended transactions any more: the new trans sstable forgets them. */
        for (int i = 0; i < 256; i++)
            for (struct mtx **p = &r->tx[i], *t; (t = *p) != NULL;) {
                if (t->status >= TXS_COMMITTED && !t->n_ver) {
                    *p = t->next;
                    free(t->ver);
                    free(t);
                } else {
                    p = &t->next;
                }
            }
        rc = replica_write_trans(h, r, my_rep(h, r->pg)->weak_ts);
        r->n_minis_since = 0;
        replica_save(h, r);
    }
    pthread_mutex_unlock(&r->mu);
    return rc;
}

/* ---- major merge */

/* Newest version at or below the snapshot for each key that changed since the old major. */
int replica_changes(struct replica *r, const struct shm_part *p, int idx, int64_t snapshot, struct rows *out)
{
    struct rows d = {0}, all = {0};
    int rc = 0;
    for (int i = 0; i < r->n_sst && !rc; i++) {
        struct sst *s = r->sst[i];
        if (s->key.type != T_MAJOR && s->key.table_id == p->idx[idx] && pkey_eq(&s->key.pkey, &p->key))
            rc = rows_add_sst(&d, s) ? -4108 : 0;
    }
    replica_memtable_rows(r, p->idx[idx], &d);
    for (size_t i = 0; i < d.n; i++) {
        struct row x = d.r[i];
        if (replica_resolve(r, &x) && x.state == 0 && x.version <= snapshot)
            rows_add(&all, &x);
    }
    rows_sort(&all);
    for (size_t i = 0; i < all.n; i++) {
        if (i && !key_cmp(all.r[i - 1].key, all.r[i - 1].klen, all.r[i].key, all.r[i].klen))
            continue;
        rows_add(out, &all.r[i]);
    }
    rows_free(&d);
    rows_free(&all);
    return rc;
}

static void put_merged(struct sst_builder *b, const struct row *x)
{
    struct row r = *x;
    if (r.op != OP_PUT)
        return;
    r.trans_id = r.redo_ts = 0;
    sb_add(b, &r);
}

/* One old block and the changes that fall into its key range. */
static int merge_block(struct sst_builder *b, struct sst *old, uint32_t i, const struct rows *d, size_t from, size_t to)
{
    struct sst_scan c;
    struct row r;
    int rc;
    scan_open(&c, old, i, i + 1);
    while ((rc = scan_next(&c, &r)) > 0) {
        while (from < to && key_cmp(d->r[from].key, d->r[from].klen, r.key, r.klen) < 0)
            put_merged(b, &d->r[from++]);
        if (from < to && !key_cmp(d->r[from].key, d->r[from].klen, r.key, r.klen)) {
            /* A change that the old major has already (same version or older) does not win. */
            put_merged(b, d->r[from].version >= r.version ? &d->r[from] : &r);
            from++;
        } else {
            put_merged(b, &r);
        }
    }
    while (from < to)
        put_merged(b, &d->r[from++]);
    scan_close(&c);
    return rc ? -4108 : 0;
}

static int build_index(struct host *h, struct replica *r, const struct shm_part *p, int idx, int64_t version,
                       int64_t snapshot)
{
    struct sst *old = replica_major(r, p->idx[idx], &p->key, INT64_MAX);
    struct rows d = {0};
    int rc = replica_changes(r, p, idx, snapshot, &d);
    char *path = major_path(h, &p->key, p->idx[idx], version);
    struct sst_spec s = {.key = {.type = T_MAJOR, .pkey = p->key, .table_id = p->idx[idx], .version = version},
                         .pg_key = pg_at(h, r->pg)->key};
    s.key.v = (struct vrange){snapshot, 0, snapshot};
    s.key.l = (struct lrange){0, snapshot, snapshot};
    s.comp = (enum compressor)p->comp;
    s.int_key = p->int_key && idx == 0;
    s.index_type = idx ? 1 : p->index_type;
    s.schema_version = p->create_schema_version;
    s.data_version = version;
    s.end_log_id = r->applied_id;
    s.path = path;
    struct sst_builder *b = sb_new(h, &s);
    size_t at = 0;
    for (uint32_t i = 0; !rc && old && i < old->n; i++) {
        size_t to = at;
        const struct block_desc *k = &old->blk[i];
        while (to < d.n && (i + 1 == old->n || key_cmp(d.r[to].key, d.r[to].klen, k->endkey, k->endkey_len) <= 0))
            to++;
        rc = to == at ? sb_reuse(b, old, i) : merge_block(b, old, i, &d, at, to);
        at = to;
    }
    for (; !rc && at < d.n; at++)
        put_merged(b, &d.r[at]);
    struct sst *t = sb_finish(b);
    if (!rc && !t)
        rc = -4009;
    if (t)
        sst_unref(t);
    rows_free(&d);
    free(path);
    return rc;
}

int replica_build_major(struct host *h, struct replica *r, int64_t version, int64_t snapshot)
{
    pthread_mutex_lock(&r->mu);
    struct shm_pg *pg = pg_at(h, r->pg);
    int rc = 0;
    for (int i = 0; !rc && i < pg->n_parts; i++)
        for (int k = 0; !rc && k < pg->part[i].n_idx; k++)
            if (!pg->part[i].dropped && pg->part[i].idx_ready[k] && !pg->part[i].idx_dropped[k] &&
                (k == 0 || replica_major(r, pg->part[i].idx[k], &pg->part[i].key, INT64_MAX)))
                rc = build_index(h, r, &pg->part[i], k, version, snapshot);
    pthread_mutex_unlock(&r->mu);
    return rc;
}

/* Majors beyond kept_majors go, but never the newest one at or below publish_version: data_info of a cold PG stays
 * where it is, and whoever copies the PG at that position needs a base for it. Minors go once the oldest major that
 * stays has all of them. */
static void drop_old(struct host *h, struct replica *r, const struct shm_part *p, uint64_t index_id)
{
    const struct sst *base = replica_major(r, index_id, &p->key, r->data.publish_version);
    const struct sst *last = replica_major(r, index_id, &p->key, INT64_MAX);
    int64_t oldest = INT64_MAX;
    for (int pass = 0; pass < 2 && last; pass++) {
        int64_t newest = last->key.version;
        int k = 0;
        for (int i = 0; i < r->n_sst; i++) {
            struct sst *s = r->sst[i];
            bool mine = s->key.table_id == index_id && pkey_eq(&s->key.pkey, &p->key), gone = false;
            if (mine && pass == 0 && s->key.type == T_MAJOR) {
                gone = s != base && s->key.version + h->knob.kept_majors <= newest;
                if (!gone && s->key.v.snapshot_version < oldest)
                    oldest = s->key.v.snapshot_version;
            }
            if (mine && pass == 1 && s->key.type != T_MAJOR)
                gone = !s->meta.has_uncommitted && s->max_version <= oldest && s->key.v.snapshot_version <= oldest &&
                       s->key.v.snapshot_version < r->data.publish_version;
            if (gone)
                replica_doom(r, s);
            else
                r->sst[k++] = s;
        }
        r->n_sst = k;
    }
}

/* An index becomes AVAILABLE when most replicas have it: this one may still be without. */
static bool late_index(const struct host *h, const struct shm_part *p, int idx)
{
    return p->idx_late_host[idx] == h->id && clock_us(h) < p->idx_late_until[idx];
}

int replica_adopt_major(struct host *h, struct replica *r, int64_t version, int64_t snapshot)
{
    (void)snapshot;
    pthread_mutex_lock(&r->mu);
    struct shm_pg *pg = pg_at(h, r->pg);
    for (int i = 0; i < pg->n_parts; i++)
        for (int k = 0; k < pg->part[i].n_idx; k++) {
            const struct shm_part *p = &pg->part[i];
            struct sst *have = replica_major(r, p->idx[k], &p->key, INT64_MAX);
            if (p->idx_dropped[k] || (k && late_index(h, p, k)))
                continue;
            if (have && have->key.version >= version)
                continue;
            char *path = major_path(h, &p->key, p->idx[k], version), *file = xasprintf("%s.sst", path);
            struct sst *s = access(file, R_OK) ? NULL : sst_load(h, file);
            free(path);
            free(file);
            if (!s)
                continue;
            replica_add_sst(r, s);
            drop_old(h, r, p, p->idx[k]);
        }
    replica_save(h, r);
    pthread_mutex_unlock(&r->mu);
    return 0;
}

/* ---- first major of a local index */

static void add_index_row(struct rows *out, const struct row *x, uint64_t index_id, int64_t snapshot)
{
    uint8_t key[MAX_KEY];
    if (x->op != OP_PUT || x->klen + 8u > MAX_KEY)
        return;
    stbe64(key, murmur64a(x->key, x->klen, index_id & 0xffff));
    memcpy(key + 8, x->key, x->klen);
    const struct row r = {.op = OP_PUT, .klen = (uint16_t)(x->klen + 8), .version = snapshot, .key = key, .val = key};
    rows_add(out, &r);
}

int replica_build_index(struct host *h, struct replica *r, const struct shm_part *p, int idx, int64_t version,
                        int64_t snapshot)
{
    struct rows d = {0}, out = {0};
    pthread_mutex_lock(&r->mu);
    struct sst *old = replica_major(r, p->idx[0], &p->key, INT64_MAX);
    int rc = replica_changes(r, p, 0, snapshot, &d);
    struct sst_scan c;
    struct row x;
    size_t at = 0;
    int more = 0;
    if (old && !rc) {
        scan_open(&c, old, 0, old->n);
        while ((more = scan_next(&c, &x)) > 0) {
            while (at < d.n && key_cmp(d.r[at].key, d.r[at].klen, x.key, x.klen) < 0)
                add_index_row(&out, &d.r[at++], p->idx[idx], snapshot);
            bool same = at < d.n && !key_cmp(d.r[at].key, d.r[at].klen, x.key, x.klen);
            add_index_row(&out, same ? &d.r[at] : &x, p->idx[idx], snapshot);
            at += same;
        }
        scan_close(&c);
    }
    for (; at < d.n; at++)
        add_index_row(&out, &d.r[at], p->idx[idx], snapshot);
    rows_sort(&out);
    char *path = major_path(h, &p->key, p->idx[idx], version);
    struct sst_spec s = {.key = {.type = T_MAJOR, .pkey = p->key, .table_id = p->idx[idx], .version = version},
                         .pg_key = pg_at(h, r->pg)->key};
    s.key.v = (struct vrange){snapshot, 0, snapshot};
    s.key.l = (struct lrange){0, snapshot, snapshot};
    s.comp = (enum compressor)p->comp;
    s.index_type = 1;
    s.schema_version = h->shm->last_schema_version;
    s.data_version = version;
    s.end_log_id = r->applied_id;
    s.path = path;
    struct sst *t = rc || more ? NULL : write_rows(h, &s, &out);
    if (!t && !rc)
        rc = -4009;
    sst_unref(t);
    free(path);
    pthread_mutex_unlock(&r->mu);
    rows_free(&d);
    rows_free(&out);
    return rc;
}
