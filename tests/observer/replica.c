/* replica.c - see replica.h */
#include "replica.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE_MAGIC 0x4f42535245503035u

struct replica *replica_get(struct host *h, uint32_t pg) { return pg < MAX_PG ? h->rep[pg] : NULL; }

static struct replica *make(uint32_t pg)
{
    struct replica *r = xcalloc(1, sizeof *r);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&r->mu, &a);
    pthread_mutexattr_destroy(&a);
    r->pg = pg;
    r->n_bucket = 64;
    r->bucket = xcalloc(r->n_bucket, sizeof(struct mrow *));
    return r;
}

void replica_publish(struct host *h, struct replica *r)
{
    struct shm_rep *s = my_rep(h, r->pg);
    int64_t version = 0, size = 0;
    for (int i = 0; i < r->n_sst; i++) {
        size += r->sst[i]->meta.occupy_size;
        if (r->sst[i]->key.type == T_MAJOR && r->sst[i]->key.version > version)
            version = r->sst[i]->key.version;
    }
    s->replay_id = r->data.last_log_id;
    s->replay_ts = r->data.last_log_ts;
    s->publish_version = r->data.publish_version;
    s->schema_version = r->data.schema_version;
    s->multi_version_start = r->mvs;
    s->data_version = version;
    s->data_size = size;
}

struct replica *replica_create(struct host *h, uint32_t pg, const struct clog_info *clog, int64_t publish,
                               int64_t schema_version, int64_t bus_pos)
{
    pthread_mutex_lock(&h->rep_mu);
    struct replica *r = h->rep[pg];
    if (!r) {
        r = make(pg);
        r->data_clog = r->applied = *clog;
        r->applied_id = clog->last_log_id;
        r->applied_ts = clog->last_submit_ts;
        r->data = (struct data_info){clog->last_log_id, publish, schema_version, clog->last_submit_ts};
        r->data_bus = r->applied_bus = bus_pos;
        r->mvs = publish;
        h->rep[pg] = r;
    }
    pthread_mutex_unlock(&h->rep_mu);
    return r;
}

void replica_add_sst(struct replica *r, struct sst *s)
{
    r->sst = xrealloc(r->sst, (size_t)(r->n_sst + 1) * sizeof(struct sst *));
    int at = r->n_sst++;
    /* Majors first, by version; the others in order of arrival. */
    while (s->key.type == T_MAJOR && at > 0 && r->sst[at - 1]->key.type != T_MAJOR) {
        r->sst[at] = r->sst[at - 1];
        at--;
    }
    r->sst[at] = s;
}

void replica_doom(struct replica *r, struct sst *s)
{
    if (!s)
        return;
    r->doomed = xrealloc(r->doomed, (size_t)(r->n_doomed + 1) * sizeof(struct sst *));
    r->doomed[r->n_doomed++] = s;
}

struct sst *replica_last(struct replica *r, uint64_t index_id, const struct pkey *part)
{
    for (int i = r->n_sst - 1; i >= 0; i--)
        if (r->sst[i]->key.table_id == index_id && pkey_eq(&r->sst[i]->key.pkey, part))
            return r->sst[i];
    return NULL;
}

struct sst *replica_major(struct replica *r, uint64_t index_id, const struct pkey *part, int64_t snapshot_max)
{
    struct sst *best = NULL;
    for (int i = 0; i < r->n_sst; i++) {
        struct sst *s = r->sst[i];
        if (s->key.type == T_MAJOR && s->key.table_id == index_id && pkey_eq(&s->key.pkey, part) &&
            s->key.v.snapshot_version <= snapshot_max && (!best || s->key.version > best->key.version))
            best = s;
    }
    return best;
}

/* ---- on disk: H/store/sstable/pg_N */

static char *state_path(const struct host *h, uint32_t pg) { return xasprintf("%s/store/sstable/pg_%u", h->dir, pg); }

static void put_path(struct obuf *b, const struct sst *s)
{
    const char *p = s ? s->path : "";
    ob_le32(b, (uint32_t)strlen(p) + 1);
    ob_put(b, p, strlen(p) + 1);
}

int replica_save(struct host *h, struct replica *r)
{
    struct obuf b = {0};
    ob_le64(&b, STATE_MAGIC);
    ob_put(&b, &pg_at(h, r->pg)->key, sizeof(struct pkey));
    ob_put(&b, &r->data, sizeof r->data);
    ob_put(&b, &r->data_clog, sizeof r->data_clog);
    ob_le64(&b, (uint64_t)r->data_bus);
    ob_le64(&b, (uint64_t)r->mvs);
    ob_le32(&b, (uint32_t)r->n_minis_since);
    ob_le32(&b, r->offline);
    ob_le32(&b, (uint32_t)r->n_sst);
    put_path(&b, r->trans);
    for (int i = 0; i < r->n_sst; i++)
        put_path(&b, r->sst[i]);
    char *path = state_path(h, r->pg);
    int rc = write_file(path, b.p, b.n);
    free(path);
    ob_free(&b);
    for (int i = 0; !rc && i < r->n_doomed; i++)
        sst_doom(r->doomed[i]);
    if (!rc)
        r->n_doomed = 0;
    replica_publish(h, r);
    return rc;
}

static struct sst *load_named(struct host *h, struct oin *r)
{
    uint32_t n = in_le32(r);
    const uint8_t *p = in_bytes(r, n);
    if (!p || n <= 1)
        return NULL;
    struct sst *s = sst_load(h, (const char *)p);
    if (!s) {
        obs_log(h, "cannot load %s", (const char *)p);
        r->bad = true;
    }
    return s;
}

/* Transactions that were open at the last freeze: their end may come by log. */
static void load_tx(struct replica *r)
{
    struct sst_scan c;
    struct row row;
    if (!r->trans)
        return;
    scan_open(&c, r->trans, 0, r->trans->n);
    while (scan_next(&c, &row) > 0) {
        struct oin v = {.p = row.val, .n = row.vlen};
        struct mtx *t = replica_tx(r, row.trans_id, true);
        t->status = in_u8(&v);
        t->prepare_version = (int64_t)in_be64(&v);
        t->commit_version = row.version;
        t->last_ts = row.redo_ts;
        t->dumped = true;
        uint32_t n = in_be32(&v);
        for (uint32_t i = 0; i < n && i < TX_PARTS; i++)
            t->parts[t->n_parts++] = in_pkey(&v);
    }
    scan_close(&c);
}

static void load_one(struct host *h, const char *path)
{
    size_t n;
    uint8_t *p = read_file(path, &n);
    if (!p)
        return;
    struct oin in = {.p = p, .n = n};
    struct pkey key;
    const uint8_t *q;
    bool ok = in_le64(&in) == STATE_MAGIC && (q = in_bytes(&in, sizeof key)) != NULL;
    int64_t pg = -1;
    if (ok) {
        memcpy(&key, q, sizeof key);
        pg = pg_find(h, &key);
    }
    if (pg >= 0) {
        struct replica *r = make((uint32_t)pg);
        if ((q = in_bytes(&in, sizeof r->data)) != NULL)
            memcpy(&r->data, q, sizeof r->data);
        if ((q = in_bytes(&in, sizeof r->data_clog)) != NULL)
            memcpy(&r->data_clog, q, sizeof r->data_clog);
        r->data_bus = (int64_t)in_le64(&in);
        r->mvs = (int64_t)in_le64(&in);
        r->n_minis_since = (int)in_le32(&in);
        r->offline = in_le32(&in) != 0;
        uint32_t n_sst = in_le32(&in);
        r->trans = load_named(h, &in);
        for (uint32_t i = 0; i < n_sst && !in.bad; i++) {
            struct sst *s = load_named(h, &in);
            if (s)
                replica_add_sst(r, s);
        }
        r->applied = r->data_clog;
        r->applied_id = r->data.last_log_id;
        r->applied_ts = r->data.last_log_ts;
        r->applied_bus = r->data_bus;
        load_tx(r);
        h->rep[pg] = r;
        replica_publish(h, r);
        my_rep(h, (uint32_t)pg)->applied_id = r->applied_id;
    }
    free(p);
}

void replica_load_all(struct host *h)
{
    char *dir = xasprintf("%s/store/sstable", h->dir);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, "pg_", 3) || strchr(e->d_name, '.'))
            continue;
        char *path = xasprintf("%s/%s", dir, e->d_name);
        load_one(h, path);
        free(path);
    }
    if (d)
        closedir(d);
    free(dir);
}

struct replica *replica_bootstrap(struct host *h, uint32_t pg)
{
    struct shm_pg *p = pg_at(h, pg);
    if (p->state == PG_FREE || p->state == PG_GONE)
        return NULL;
    const struct clog_info clog = {
        .epoch = 0, .proposal = p->proposal, .last_submit_ts = p->create_ts, .membership_ts = p->create_ts};
    struct replica *r = replica_create(h, pg, &clog, p->frozen_ts, p->create_schema_version, p->first_bus_pos);
    pthread_mutex_lock(&r->mu);
    if (!r->n_sst && !r->trans) {
        replica_adopt_major(h, r, p->create_frozen_version, p->frozen_ts);
        replica_write_trans(h, r, p->frozen_ts);
        replica_save(h, r);
    }
    pthread_mutex_unlock(&r->mu);
    return r;
}

/* ---- memtable */

struct mtx *replica_tx(struct replica *r, int64_t id, bool create)
{
    struct mtx **slot = &r->tx[(uint64_t)id % 256], *t;
    for (t = *slot; t && t->id != id; t = t->next)
        ;
    if (!t && create) {
        t = xcalloc(1, sizeof *t);
        t->id = id;
        t->status = TXS_RUNNING;
        t->next = *slot;
        *slot = t;
    }
    return t;
}

static void drop_tx(struct replica *r, struct mtx *t)
{
    struct mtx **p = &r->tx[(uint64_t)t->id % 256];
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    free(t->ver);
    free(t);
}

static void grow(struct replica *r)
{
    uint32_t n = r->n_bucket * 4;
    struct mrow **b = xcalloc(n, sizeof *b);
    for (uint32_t i = 0; i < r->n_bucket; i++)
        for (struct mrow *m = r->bucket[i], *next; m; m = next) {
            next = m->next;
            uint64_t s = murmur64a(m->key, m->klen, m->index_id) % n;
            m->next = b[s];
            b[s] = m;
        }
    free(r->bucket);
    r->bucket = b;
    r->n_bucket = n;
}

static void put_change(struct host *h, struct replica *r, struct mtx *t, const struct change *c, int64_t ts,
                       uint64_t log_id)
{
    uint64_t s = murmur64a(c->key, c->klen, c->index_id) % r->n_bucket;
    struct mrow *m = r->bucket[s];
    while (m && (m->index_id != c->index_id || m->klen != c->klen || memcmp(m->key, c->key, c->klen) != 0))
        m = m->next;
    int64_t bytes = 0;
    if (!m) {
        m = xmalloc(sizeof *m + c->klen);
        *m = (struct mrow){.next = r->bucket[s], .index_id = c->index_id, .klen = (uint16_t)c->klen};
        memcpy(m->key, c->key, c->klen);
        r->bucket[s] = m;
        bytes += (int64_t)(sizeof *m + c->klen + 16);
        if (++r->n_rows > 2 * r->n_bucket)
            grow(r);
    }
    struct mver *v = xmalloc(sizeof *v + c->vlen);
    *v = (struct mver){
        .next = m->head, .tx = t, .trans_id = t->id, .redo_ts = ts, .log_id = log_id, .vlen = c->vlen, .op = c->op};
    if (c->vlen)
        memcpy(v->val, c->val, c->vlen);
    if (t->status >= TXS_COMMITTED) { /* replay behind a data_info that lags: the end is known already */
        v->tx = NULL;
        v->version = t->commit_version;
        v->dead = t->status == TXS_ABORTED;
    }
    m->head = v;
    bytes += (int64_t)(sizeof *v + c->vlen + 16);
    r->bytes += bytes;
    h->mem_bytes += bytes;
    if (!v->tx)
        return;
    if (t->n_ver == t->cap_ver) {
        t->cap_ver = t->cap_ver ? 2 * t->cap_ver : 4;
        t->ver = xrealloc(t->ver, t->cap_ver * sizeof(struct mver *));
    }
    t->ver[t->n_ver++] = v;
}

static void end_tx(struct replica *r, struct mtx *t, int status, int64_t version)
{
    if (t->status >= TXS_COMMITTED)
        return; /* the first decision counts */
    t->status = status;
    t->commit_version = version;
    for (size_t i = 0; i < t->n_ver; i++) {
        t->ver[i]->tx = NULL;
        t->ver[i]->version = version;
        t->ver[i]->dead = status == TXS_ABORTED;
    }
    t->n_ver = 0;
    if (!t->dumped)
        drop_tx(r, t);
}

static void apply_item(struct host *h, struct replica *r, const struct tx_item *x, uint64_t log_id)
{
    if (x->kind == ST_OFFLINE)
        r->offline = true;
    if (x->kind >= 16)
        return;
    struct mtx *t = replica_tx(r, x->trans_id, (x->kind & TX_REDO) != 0);
    if (!t)
        return; /* ended before the last freeze */
    if (x->submit_ts > t->last_ts)
        t->last_ts = x->submit_ts;
    struct oin in = x->changes;
    struct change c;
    for (uint32_t i = 0; i < x->n_changes && in_change(&in, &c); i++)
        put_change(h, r, t, &c, x->submit_ts, log_id);
    if (x->kind & (TX_PREPARE | TX_COMMIT) && x->n_parts <= TX_PARTS) {
        struct oin p = {.p = x->parts, .n = 16u * x->n_parts};
        t->n_parts = (int)x->n_parts;
        for (uint32_t i = 0; i < x->n_parts; i++)
            t->parts[i] = in_pkey(&p);
    }
    if ((x->kind & TX_PREPARE) && t->status == TXS_RUNNING) {
        t->status = TXS_PREPARED;
        t->prepare_version = x->prepare_version;
    }
    if (x->kind & TX_COMMIT)
        end_tx(r, t, TXS_COMMITTED, x->commit_version);
    else if (x->kind & TX_ABORT)
        end_tx(r, t, TXS_ABORTED, 0);
}

void replica_apply(struct host *h, struct replica *r, const struct bus_rec *rec, int64_t pos_behind)
{
    struct log_entry e;
    size_t used;
    if (rec->log_id <= r->applied_id || !dec_entry(&e, (const uint8_t *)(rec + 1), rec->entry_len, &used))
        return;
    struct item_iter it = {.e = &e};
    struct tx_item x;
    while (item_next(&it, &x))
        apply_item(h, r, &x, e.log_id);
    uint32_t type = e.type & ~LOG_TRANS_BIT;
    r->applied.epoch = e.epoch;
    r->applied.proposal = e.proposal;
    r->applied.last_log_id = e.log_id;
    if (type != LOG_NOP && type != LOG_TRUNCATE)
        r->applied.last_submit_ts = e.submit_ts;
    r->applied.accum = rec->accum;
    if (type == LOG_START_MEMBERSHIP || type == LOG_MEMBERSHIP) {
        r->applied.membership_log_id = e.log_id;
        r->applied.membership_ts = e.epoch;
    }
    r->applied_id = e.log_id;
    r->applied_ts = r->applied.last_submit_ts;
    r->applied_bus = pos_behind;
}

bool replica_resolve(struct replica *r, struct row *row)
{
    if (row->state == 0)
        return true;
    struct mtx *t = replica_tx(r, row->trans_id, false);
    if (!t || t->status == TXS_ABORTED)
        return false;
    if (t->status == TXS_COMMITTED) {
        row->state = 0;
        row->version = t->commit_version;
    }
    return true;
}

void replica_memtable_rows(struct replica *r, uint64_t index_id, struct rows *out)
{
    for (uint32_t i = 0; i < r->n_bucket; i++)
        for (const struct mrow *m = r->bucket[i]; m; m = m->next) {
            if (index_id && m->index_id != index_id)
                continue;
            for (const struct mver *v = m->head; v; v = v->next) {
                if (v->dead)
                    continue;
                const struct row row = {.op = v->op,
                                        .state = v->tx != NULL,
                                        .klen = m->klen,
                                        .vlen = v->vlen,
                                        .version = v->version,
                                        .trans_id = v->trans_id,
                                        .redo_ts = v->redo_ts,
                                        .key = m->key,
                                        .val = v->val};
                rows_add(out, &row);
            }
        }
}

void replica_clear_memtable(struct host *h, struct replica *r)
{
    for (uint32_t i = 0; i < r->n_bucket; i++) {
        for (struct mrow *m = r->bucket[i], *next; m; m = next) {
            next = m->next;
            for (struct mver *v = m->head, *older; v; v = older) {
                older = v->next;
                if (v->tx) {
                    v->tx->dumped = true;
                    v->tx->n_ver = 0;
                }
                free(v);
            }
            free(m);
        }
        r->bucket[i] = NULL;
    }
    r->n_rows = 0;
    h->mem_bytes -= r->bytes;
    r->bytes = 0;
}
