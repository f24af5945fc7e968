/* digest.c - see digest.h */
#include "digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define PEND_HASH 65536u

/* Changes of one (partition, index), committed at or below T. */
struct slot {
    uint32_t pg;
    int part, idx;
    struct rows d;
};

struct pend { /* a transaction whose end has not been seen */
    struct pend *next;
    uint32_t pg;
    int64_t id;
    struct rows d; /* state holds the slot number modulo nothing: index in slots kept beside */
    size_t *slot;
    size_t cap;
};

struct scan {
    struct host *h;
    int64_t at;
    uint64_t tenant;
    struct slot *slots;
    size_t n_slots;
    size_t *first; /* per PG: its first slot + 1 */
    struct pend *pend[PEND_HASH];
};

static bool in_scope(const struct scan *s, uint32_t pg)
{
    const struct shm_pg *p = pg_at(s->h, pg);
    return p->tenant == s->tenant && p->state != PG_FREE &&
           !(p->kind == KIND_INNER && table_is_private(low_id(p->key.table_id)));
}

static void make_slots(struct scan *s)
{
    uint32_t n = s->h->shm->n_pg;
    s->first = xcalloc(n + 1, sizeof *s->first);
    for (uint32_t i = 0; i < n; i++) {
        if (!in_scope(s, i))
            continue;
        s->first[i] = s->n_slots + 1;
        const struct shm_pg *p = pg_at(s->h, i);
        for (int k = 0; k < p->n_parts; k++)
            for (int x = 0; x < p->part[k].n_idx; x++) {
                s->slots = xrealloc(s->slots, (s->n_slots + 1) * sizeof *s->slots);
                s->slots[s->n_slots++] = (struct slot){.pg = i, .part = k, .idx = x};
            }
    }
}

static size_t find_slot(const struct scan *s, uint32_t pg, uint64_t index_id)
{
    for (size_t i = s->first[pg] - 1; i < s->n_slots && s->slots[i].pg == pg; i++)
        if (pg_at(s->h, pg)->part[s->slots[i].part].idx[s->slots[i].idx] == index_id)
            return i;
    return s->n_slots; /* an index dropped since */
}

static struct pend *find_pend(struct scan *s, uint32_t pg, int64_t id, bool create, struct pend ***where)
{
    struct pend **p = &s->pend[((uint64_t)id * 31 + pg) % PEND_HASH];
    while (*p && ((*p)->id != id || (*p)->pg != pg))
        p = &(*p)->next;
    *where = p;
    if (!*p && create) {
        *p = xcalloc(1, sizeof **p);
        (*p)->id = id;
        (*p)->pg = pg;
    }
    return *p;
}

static void end_pend(struct scan *s, struct pend **where, bool commit, int64_t version)
{
    struct pend *t = *where;
    for (size_t i = 0; commit && version <= s->at && i < t->d.n; i++) {
        t->d.r[i].version = version;
        if (t->slot[i] < s->n_slots)
            rows_ref(&s->slots[t->slot[i]].d, &t->d.r[i]);
    }
    *where = t->next;
    rows_free(&t->d);
    free(t->slot);
    free(t);
}

static void scan_item(struct scan *s, uint32_t pg, const struct tx_item *x)
{
    struct pend **where, *t;
    if (x->kind >= 16)
        return;
    t = find_pend(s, pg, x->trans_id, (x->kind & TX_REDO) != 0, &where);
    if (!t)
        return;
    struct oin in = x->changes;
    struct change c;
    for (uint32_t i = 0; i < x->n_changes && in_change(&in, &c); i++) {
        const struct row r = {.op = c.op,
                              .klen = (uint16_t)c.klen,
                              .vlen = c.vlen,
                              .trans_id = x->trans_id,
                              .redo_ts = x->submit_ts,
                              .key = c.key,
                              .val = c.val};
        if (t->d.n == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 4;
            t->slot = xrealloc(t->slot, t->cap * sizeof *t->slot);
        }
        t->slot[t->d.n] = find_slot(s, pg, c.index_id);
        rows_ref(&t->d, &r);
    }
    if (x->kind & (TX_COMMIT | TX_ABORT))
        end_pend(s, where, (x->kind & TX_COMMIT) != 0, x->commit_version);
}

static void scan_bus(struct scan *s)
{
    int64_t pos = 0, end = s->h->shm->bus_end;
    const struct bus_rec *r;
    while (pos < end && (r = bus_at(s->h, &pos)) != NULL) {
        pos += r->len;
        if (r->kind != BUS_LOG || !in_scope(s, r->pg) || !s->first[r->pg])
            continue;
        struct log_entry e;
        size_t used;
        if (!dec_entry(&e, (const uint8_t *)(r + 1), r->entry_len, &used))
            continue;
        struct item_iter it = {.e = &e};
        struct tx_item x;
        while (item_next(&it, &x))
            scan_item(s, r->pg, &x);
    }
    for (size_t i = 0; i < PEND_HASH; i++)
        while (s->pend[i])
            end_pend(s, &s->pend[i], false, 0);
}

static void newest_only(struct rows *d)
{
    rows_sort(d);
    size_t k = 0;
    for (size_t i = 0; i < d->n; i++)
        if (!k || key_cmp(d->r[k - 1].key, d->r[k - 1].klen, d->r[i].key, d->r[i].klen))
            d->r[k++] = d->r[i];
    d->n = k;
}

/* ---- base and changes to a stream of rows */

struct hasher {
    EVP_MD_CTX *md;
    uint64_t low;
    int64_t rows;
    json_t *schema; /* when rows of the schema tables are wanted: id -> newest state */
    FILE *dump;
};

static void emit(struct hasher *o, const struct row *r)
{
    if (r->op != OP_PUT)
        return;
    uint8_t b[12];
    stbe64(b, o->low);
    stbe32(b + 8, r->klen);
    EVP_DigestUpdate(o->md, b, 12);
    EVP_DigestUpdate(o->md, r->key, r->klen);
    stbe32(b, r->vlen);
    EVP_DigestUpdate(o->md, b, 4);
    if (r->vlen)
        EVP_DigestUpdate(o->md, r->val, r->vlen);
    o->rows++;
    if (o->schema && (o->low == ST_TABLES || o->low == ST_TABLEGROUPS)) {
        json_t *j = json_loadb((const char *)r->val, r->vlen, 0, NULL);
        char id[32];
        snprintf(id, sizeof id, "%" PRIu64,
                 (uint64_t)json_integer_value(json_object_get(j, o->low == ST_TABLES ? "table_id" : "tablegroup_id")));
        json_object_set_new(o->schema, id, j); /* ascending schema_version: the last one stays */
    }
}

static int merge(struct hasher *o, struct sst *base, const struct rows *d)
{
    struct sst_scan c;
    struct row r;
    size_t at = 0;
    int rc = 0;
    if (base) {
        scan_open(&c, base, 0, base->n);
        while ((rc = scan_next(&c, &r)) > 0) {
            int cmp = -1;
            while (at < d->n && (cmp = key_cmp(d->r[at].key, d->r[at].klen, r.key, r.klen)) < 0)
                emit(o, &d->r[at++]);
            bool same = at < d->n && cmp == 0;
            emit(o, same ? &d->r[at] : &r);
            at += same;
        }
        scan_close(&c);
    }
    while (at < d->n)
        emit(o, &d->r[at++]);
    return rc;
}

static void hex32(const uint8_t *p, char out[65])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* Index ready in the schema at T? The table itself always is, if its table exists. */
static bool wanted(const json_t *schema, const struct shm_pg *p, const struct shm_part *q, int idx)
{
    char id[32];
    if (p->kind == KIND_INNER)
        return true;
    snprintf(id, sizeof id, "%" PRIu64, low_id(q->idx[idx]));
    const json_t *t = json_object_get(schema, id);
    if (!t || json_integer_value(json_object_get(t, "is_deleted")))
        return false;
    bool index = idx || json_integer_value(json_object_get(t, "table_type")) == 5;
    if (index && json_integer_value(json_object_get(t, "index_status")) != 2)
        return false;
    if (idx)
        return true;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(t, "partitions"), i,
                       v) if (json_integer_value(v) == pkey_partition_id(&q->key)) return true;
    return false;
}

static bool pg_exists(const json_t *schema, const struct shm_pg *p)
{
    char id[32];
    if (p->kind == KIND_INNER)
        return true;
    if (p->kind == KIND_STANDALONE)
        return wanted(schema, p, &p->part[0], 0);
    snprintf(id, sizeof id, "%" PRIu64, low_id(p->key.table_id));
    const json_t *t = json_object_get(schema, id);
    return t && !json_integer_value(json_object_get(t, "is_deleted"));
}

typedef struct sst *(*base_fn)(struct scan *s, const struct slot *x);
typedef struct rows *(*rows_fn)(struct scan *s, struct slot *x);

static struct sst *history_base(struct scan *s, const struct slot *x)
{
    const struct shm_part *p = &pg_at(s->h, x->pg)->part[x->part];
    char *path = major_path(s->h, &p->key, p->idx[x->idx], p->idx_base[x->idx]), *file = xasprintf("%s.sst", path);
    struct sst *b = sst_load(s->h, file);
    free(path);
    free(file);
    return b;
}

static struct rows *history_rows(struct scan *s, struct slot *x)
{
    (void)s;
    newest_only(&x->d);
    return &x->d;
}

static struct sst *store_base(struct scan *s, const struct slot *x)
{
    struct replica *r = replica_get(s->h, x->pg);
    const struct shm_part *p = &pg_at(s->h, x->pg)->part[x->part];
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->mu);
    struct sst *b = replica_major(r, p->idx[x->idx], &p->key, s->at);
    if (b)
        sst_ref(b);
    pthread_mutex_unlock(&r->mu);
    return b;
}

static struct rows *store_rows(struct scan *s, struct slot *x)
{
    struct replica *r = replica_get(s->h, x->pg);
    if (r) {
        pthread_mutex_lock(&r->mu);
        replica_changes(r, &pg_at(s->h, x->pg)->part[x->part], x->idx, s->at, &x->d);
        pthread_mutex_unlock(&r->mu);
    }
    return &x->d;
}

struct item {
    uint32_t pg;
    uint64_t low;
    int64_t pid;
};

static int item_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static int slot_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

static json_t *digest_pg(struct scan *s, uint32_t pg, const json_t *schema, json_t *collect, base_fn base, rows_fn rows,
                         char hex[65], int64_t *count)
{
    const struct shm_pg *p = pg_at(s->h, pg);
    struct item order[PG_PARTS * PART_INDEXES];
    size_t n = 0;
    for (size_t i = s->first[pg] - 1; i < s->n_slots && s->slots[i].pg == pg; i++)
        if (n < sizeof order / sizeof *order &&
            (collect || wanted(schema, p, &p->part[s->slots[i].part], s->slots[i].idx)))
            order[n++] =
                (struct item){.pg = (uint32_t)i, .low = low_id(p->part[s->slots[i].part].idx[s->slots[i].idx])};
    qsort(order, n, sizeof *order, slot_order);
    struct hasher o = {.md = EVP_MD_CTX_new(), .schema = collect};
    EVP_DigestInit_ex(o.md, EVP_sha256(), NULL);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        struct slot *x = &s->slots[order[i].pg];
        struct sst *b = base(s, x);
        o.low = order[i].low;
        rc = merge(&o, b, rows(s, x));
        sst_unref(b);
    }
    uint8_t md[32];
    EVP_DigestFinal_ex(o.md, md, NULL);
    EVP_MD_CTX_free(o.md);
    hex32(md, hex);
    *count = o.rows;
    char name[64];
    snprintf(name, sizeof name, "%" PRIu64 "/%" PRId64, low_id(p->key.table_id), pkey_partition_id(&p->key));
    static const char *const KINDS[] = {"inner", "standalone", "tablegroup"};
    return json_pack("{s:s,s:s,s:I,s:s,s:i}", "pg", name, "kind", KINDS[p->kind], "rows", (json_int_t)o.rows, "sha256",
                     hex, "rc", rc);
}

static json_t *run(struct host *h, const json_t *req, bool history)
{
    struct scan *s = xcalloc(1, sizeof *s);
    json_t *v = json_object_get(req, "at");
    struct pkey only = {0};
    bool one = parse_pg_name(json_string_value(json_object_get(req, "pg")), &only);
    s->h = h;
    v = json_object_get(req, "tenant");
    s->tenant = one ? pkey_tenant(&only) : v ? (uint64_t)json_integer_value(v) : 1001;
    s->at = json_integer_value(json_object_get(req, "at"));
    if (!s->at)
        s->at = clock_us(h);
    int rc = wait_committed(h, s->at, 30000000);
    if (!history && !rc)
        rc = cluster_catch_up(h, s->at, 30000000);
    json_t *pgs = json_array(), *schema = json_object();
    base_fn base = history ? history_base : store_base;
    rows_fn rows = history ? history_rows : store_rows;
    make_slots(s);
    if (history && !rc)
        scan_bus(s);
    size_t n = 0;
    char hex[65];
    int64_t count, total = 0;
    struct item *list = xcalloc(h->shm->n_pg + 1, sizeof *list);
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++) {
        uint64_t low = low_id(pg_at(h, i)->key.table_id);
        if (s->first[i] && (low == ST_TABLES || low == ST_TABLEGROUPS)) {
            json_decref(digest_pg(s, i, NULL, schema, base, rows, hex, &count));
            if (!history)
                rows_free(&s->slots[s->first[i] - 1].d);
        }
    }
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        if (s->first[i] && (!one || pkey_eq(&pg_at(h, i)->key, &only)) && pg_exists(schema, pg_at(h, i)))
            list[n++] = (struct item){i, low_id(pg_at(h, i)->key.table_id), pkey_partition_id(&pg_at(h, i)->key)};
    qsort(list, n, sizeof *list, item_order);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    for (size_t i = 0; i < n && !rc; i++) {
        json_t *j = digest_pg(s, list[i].pg, schema, NULL, base, rows, hex, &count);
        rc = (int)json_integer_value(json_object_get(j, "rc"));
        json_object_del(j, "rc");
        json_array_append_new(pgs, j);
        char line[160];
        int k = snprintf(line, sizeof line, "%" PRIu64 "/%" PRId64 " %" PRId64 " %s\n", list[i].low, list[i].pid, count,
                         hex);
        EVP_DigestUpdate(md, line, (size_t)k);
        total += count;
    }
    uint8_t sum[32];
    EVP_DigestFinal_ex(md, sum, NULL);
    EVP_MD_CTX_free(md);
    hex32(sum, hex);
    for (size_t i = 0; i < s->n_slots; i++)
        rows_free(&s->slots[i].d);
    int64_t at = s->at;
    free(s->slots);
    free(s->first);
    free(s);
    free(list);
    json_decref(schema);
    if (rc) {
        json_decref(pgs);
        return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "digest failed");
    }
    return json_pack("{s:b,s:I,s:s,s:I,s:o}", "ok", 1, "at", (json_int_t)at, "sha256", hex, "rows", (json_int_t)total,
                     "pgs", pgs);
}

json_t *digest_history(struct host *h, const json_t *req) { return run(h, req, true); }
json_t *digest_store(struct host *h, const json_t *req) { return run(h, req, false); }

int wait_committed(struct host *h, int64_t ts, int64_t timeout_us)
{
    int64_t end = now_us() + timeout_us, *w = xcalloc(MAX_PG, sizeof *w);
    bool ok = false;
    while (!ok && now_us() < end && !h->stopping) {
        shm_lock(h);
        uint32_t n = h->shm->n_pg;
        weak_all(h, w, n);
        shm_unlock(h);
        ok = true;
        for (uint32_t i = 0; i < n && ok; i++)
            ok = w[i] >= ts || pg_at(h, i)->state != PG_LIVE;
        if (!ok)
            sleep_us(10000);
    }
    free(w);
    return ok ? 0 : -4012;
}
