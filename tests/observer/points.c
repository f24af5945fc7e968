/* points.c - restore points: what CREATE RESTORE POINT keeps of each user PG, once the PG has been frozen past it
 *
 * A point lives in memory: after a restart it forms again from what the replica has then.
 */
#include "points.h"

#include "catalog.h"
#include "rpcsrv.h"

#include <string.h>

static void drop_point(struct point *p)
{
    for (int i = 0; i < p->n; i++)
        sst_unref(p->ref[i]);
    free(p->ref);
    ob_free(&p->meta);
}

static void hold(struct point *p, struct obuf *keys, struct sst *s)
{
    p->ref = xrealloc(p->ref, (size_t)(p->n + 1) * sizeof(struct sst *));
    p->ref[p->n++] = sst_ref(s);
    enc_table_key(keys, &s->key);
}

/* The newest major at or below the point, then the minors above it until one reaches the PG's published version. */
static void hold_index(struct replica *r, const struct shm_part *q, int idx, struct point *p, struct obuf *keys)
{
    struct sst *major = replica_major(r, q->idx[idx], &q->key, p->ts);
    if (!major)
        return;
    hold(p, keys, major);
    bool reached = major->key.v.snapshot_version >= r->data.publish_version;
    for (int i = 0; i < r->n_sst && !reached; i++) {
        struct sst *s = r->sst[i];
        if (s->key.type == T_MAJOR || s->key.table_id != q->idx[idx] || !pkey_eq(&s->key.pkey, &q->key) ||
            s->meta.upper_trans_version <= major->key.v.snapshot_version)
            continue;
        hold(p, keys, s);
        reached = s->key.v.snapshot_version >= r->data.publish_version;
    }
}

static void make_point(struct host *h, struct replica *r, int64_t ts)
{
    struct point p = {.ts = ts};
    struct obuf keys = {0};
    struct pg_meta m;
    struct part_meta pm;
    struct pkey parts[PG_PARTS + 1];
    const struct shm_pg *pg = pg_at(h, r->pg);
    fill_pg_meta(h, r, &m, parts);
    size_t at = unis_begin(&p.meta, 1);
    enc_pg_meta(&p.meta, &m);
    ob_vs(&p.meta, m.n_partitions);
    for (int i = 0; i < pg->n_parts; i++) {
        if (pg->part[i].dropped)
            continue;
        fill_part_meta(h, r, &pg->part[i], &pm);
        enc_part_meta(&p.meta, &pm);
        for (int k = 0; k < pg->part[i].n_idx; k++)
            if (!pg->part[i].idx_dropped[k])
                hold_index(r, &pg->part[i], k, &p, &keys);
    }
    struct shm_part t = {.key = pkey_trans(&pg->key)};
    t.idx[0] = t.key.table_id;
    fill_part_meta(h, r, &t, &pm);
    enc_part_meta(&p.meta, &pm);
    if (r->trans)
        hold(&p, &keys, r->trans);
    ob_vs(&p.meta, p.n);
    ob_put(&p.meta, keys.p, keys.n);
    unis_end(&p.meta, at);
    ob_free(&keys);
    r->points = xrealloc(r->points, (size_t)(r->n_points + 1) * sizeof *r->points);
    r->points[r->n_points++] = p;
}

struct wanted_point {
    uint64_t tenant;
    int64_t ts;
};
struct wanted_points {
    struct wanted_point *p;
    size_t n;
};

static void take(void *arg, sqlite3_stmt *s)
{
    struct wanted_points *w = arg;
    w->p = xrealloc(w->p, (w->n + 1) * sizeof *w->p);
    w->p[w->n++] = (struct wanted_point){(uint64_t)sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)};
}

static void update_pg(struct host *h, struct replica *r, const struct wanted_points *w)
{
    uint64_t tenant = pg_at(h, r->pg)->tenant;
    int k = 0;
    pthread_mutex_lock(&r->mu);
    for (int i = 0; i < r->n_points; i++) {
        bool keep = false;
        for (size_t n = 0; n < w->n; n++)
            keep |= w->p[n].tenant == tenant && w->p[n].ts == r->points[i].ts;
        if (keep)
            r->points[k++] = r->points[i];
        else
            drop_point(&r->points[i]);
    }
    r->n_points = k;
    for (size_t n = 0; n < w->n; n++) {
        bool have = w->p[n].tenant != tenant || r->data.publish_version < w->p[n].ts;
        for (int i = 0; i < r->n_points; i++)
            have |= r->points[i].ts == w->p[n].ts;
        if (!have)
            make_point(h, r, w->p[n].ts);
    }
    pthread_mutex_unlock(&r->mu);
}

void points_tick(struct host *h)
{
    struct wanted_points w = {0};
    catalog_each(h, take, &w, "SELECT tenant_id, ts FROM so_restore_point", "");
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        struct replica *r = pg_at(h, i)->kind == KIND_INNER ? NULL : replica_get(h, i);
        if (r && (w.n || r->n_points))
            update_pg(h, r, &w);
    }
    free(w.p);
}

int rpc_recovery_points(struct rpc_call *c, struct oin *in)
{
    struct oin b, k;
    int rc = rpc_argument(in, 1, &b);
    if (rc)
        return rc;
    struct pkey key = in_pkey(&b);
    uint64_t n = in_vi(&b);
    struct replica *r;
    if (b.bad || n > 64)
        return -4034;
    if ((rc = rpc_find_pg(c, &key, &r)) != 0)
        return rc;
    for (uint64_t i = 0; i < n && !rc; i++) {
        if (!in_unis(&b, 1, &k))
            return -4034;
        int64_t ts = (int64_t)in_vi(&k);
        struct obuf copy = {0};
        pthread_mutex_lock(&r->mu);
        for (int p = 0; p < r->n_points; p++)
            if (r->points[p].ts == ts)
                ob_put(&copy, r->points[p].meta.p, r->points[p].meta.n);
        pthread_mutex_unlock(&r->mu);
        rc = copy.n ? stream_object(c, copy.p, copy.n) : -4018;
        ob_free(&copy);
    }
    return rc;
}
