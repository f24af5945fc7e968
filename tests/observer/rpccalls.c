/* rpccalls.c - the storage RPC's read calls: PG info, partitions with table keys, sstable meta, macro blocks */
#include "rpcsrv.h"

#include <string.h>

enum {
    E_ARG = -4002,
    E_NOT_SUPPORTED = -4007,
    E_IO = -4009,
    E_UNEXPECTED = -4016,
    E_AGAIN = -4023,
    E_REMOVED = -4191,
    E_NO_PARTITION = -4225,
    E_NO_SSTABLE = -4284,
    E_NO_MIGRATE = -4683,
    E_DESERIALIZE = -4034
};

void rpc_peek_pg(struct rpc_call *c, struct oin in)
{
    uint64_t v = in_vi(&in);
    in_vi(&in);
    if (c->h.pcode == 0x45D || c->h.pcode == 0x471) {
        struct table_key k = in_table_key(&in);
        c->pg = k.pkey;
    } else {
        c->pg = in_pkey(&in);
    }
    if (in.bad || !v)
        c->pg = (struct pkey){0};
}

/* The argument's envelope. Wrong version or damage is refused as the server's decoder does. */
int rpc_argument(struct oin *in, unsigned version, struct oin *body)
{
    struct oin v = *in;
    uint64_t got = in_vi(&v);
    if (!v.bad && got != version)
        return E_NOT_SUPPORTED;
    return in_unis(in, version, body) ? 0 : E_DESERIALIZE;
}

/* A key with the odd assist that we showed (see shown_key), as it is in our own tables. */
static void plain_key(const struct host *h, struct pkey *k)
{
    struct pkey plain = {k->table_id, k->part_id, 0};
    int64_t pg = k->assist ? pg_find(h, &plain) : -1;
    if (pg >= 0 && pg_at(h, (uint32_t)pg)->odd_assist == k->assist)
        *k = plain;
}

int rpc_find_pg(struct rpc_call *c, const struct pkey *key, struct replica **out)
{
    struct host *h = c->host;
    struct pkey plain = *key, *k = &plain;
    plain_key(h, k);
    int64_t pg = pg_find(h, k);
    c->pg = *k;
    if (pg < 0)
        return E_NO_PARTITION;
    if (pg_at(h, (uint32_t)pg)->state == PG_GONE)
        return E_REMOVED;
    *out = replica_get(h, (uint32_t)pg);
    if (!*out || my_rep(h, (uint32_t)pg)->absent)
        return E_NO_PARTITION;
    return my_rep(h, (uint32_t)pg)->migrate_status ? E_NO_MIGRATE : 0;
}

/* PG that holds a partition (or the transaction-state partition). */
static int find_holder(struct rpc_call *c, const struct pkey *part, struct replica **out)
{
    struct host *h = c->host;
    struct pkey k = *part;
    if ((k.table_id & TRANS_BITS) == TRANS_BITS) {
        /* bit 39 belongs to a tablegroup's own id as well */
        struct pkey tg = k, table = k;
        tg.table_id &= ~0x4000000000ull;
        table.table_id &= ~TRANS_BITS;
        return rpc_find_pg(c, pg_find(h, &table) >= 0 ? &table : &tg, out);
    }
    if (pg_find(h, &k) >= 0)
        return rpc_find_pg(c, &k, out);
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        for (int p = 0; p < pg_at(h, i)->n_parts; p++)
            if (pkey_eq(&pg_at(h, i)->part[p].key, part))
                return rpc_find_pg(c, &pg_at(h, i)->key, out);
    c->pg = *part;
    return E_NO_PARTITION;
}

/* Keys of a table made before 1.4.3 carry another assist than 0. */
static struct pkey shown_key(const struct shm_pg *p, const struct pkey *k)
{
    struct pkey shown = *k;
    if (p->odd_assist && !shown.assist)
        shown.assist = p->odd_assist;
    return shown;
}

void fill_pg_meta(struct host *h, struct replica *r, struct pg_meta *m, struct pkey *parts)
{
    const struct shm_pg *p = pg_at(h, r->pg);
    *m =
        (struct pg_meta){.key = shown_key(p, &p->key), .clog = r->data_clog, .data = r->data, .members = m->member_buf};
    for (int i = 0; i < h->n_members; i++)
        if (!p->rep[i].absent && !p->rep[i].no_member)
            m->member_buf[m->n_members++] = h->member_list[i];
    m->is_restore = my_rep(h, r->pg)->is_restore;
    m->split_state = my_rep(h, r->pg)->split_state;
    m->clog.proposal = p->proposal;
    m->partitions = parts;
    int64_t now = clock_us(h);
    for (int i = 0; i < p->n_parts; i++)
        if (part_served(h, now, &p->part[i]))
            parts[m->n_partitions++] = shown_key(p, &p->part[i].key);
    parts[m->n_partitions++] = pkey_trans(&p->key);
    m->major_snapshot = 0;
    for (int i = 0; i < r->n_sst; i++) {
        const struct sst *s = r->sst[i];
        m->data_size += s->meta.occupy_size;
        m->required_size += (int64_t)s->n * MACRO_SIZE;
        if (s->key.type == T_MAJOR && s->key.version > m->data_version) {
            m->data_version = s->key.version;
            m->major_snapshot = s->key.v.snapshot_version;
        }
    }
    m->create_schema_version = p->create_schema_version;
    m->create_timestamp = p->create_ts;
    m->create_frozen_version = p->create_frozen_version;
}

int rpc_pg_info(struct rpc_call *c, struct oin *in)
{
    struct oin b;
    int rc = rpc_argument(in, 1, &b);
    if (rc)
        return rc;
    struct pkey key = in_pkey(&b);
    int replica_type = in_vi32(&b);
    bool slave_safe = in_u8(&b) != 0;
    int64_t compat = (int64_t)in_vi(&b);
    if (b.bad)
        return E_DESERIALIZE;
    struct replica *r;
    if ((rc = rpc_find_pg(c, &key, &r)) != 0)
        return rc;
    if (compat != 2 || slave_safe)
        return E_NOT_SUPPORTED;
    if (c->h.src_cluster_id == -1 || (replica_type != 0 && replica_type != 5 && replica_type != 16))
        return E_ARG;
    struct pg_meta m;
    struct pkey parts[PG_PARTS + 1];
    pthread_mutex_lock(&r->mu);
    fill_pg_meta(c->host, r, &m, parts);
    if (replica_type == 5) /* a log-only copy starts at the end of the log, not at the sstables */
        m.clog = r->applied;
    struct obuf *o = &c->result;
    size_t at = unis_begin(o, 1);
    enc_pg_meta(o, &m);
    struct obuf points = {0};
    for (int i = 0; i < r->n_points; i++) {
        size_t k = unis_begin(&points, 1);
        ob_vs(&points, r->points[i].ts);
        ob_vi32(&points, 1);
        unis_end(&points, k);
    }
    int n_points = r->n_points;
    pthread_mutex_unlock(&r->mu);
    size_t v = unis_begin(o, 1);
    ob_vs(o, m.data_version);
    unis_end(o, v);
    const struct shm_pg *p = pg_at(c->host, r->pg);
    ob_u8(o, p->leader == c->host->id || my_rep(c->host, r->pg)->applied_id + 1000 >= p->last_log_id);
    ob_vs(o, n_points);
    ob_put(o, points.p, points.n);
    ob_free(&points);
    ob_vs(o, -1);
    ob_vi(o, 2);
    unis_end(o, at);
    return 0;
}

static void put_table_info(struct obuf *o, struct replica *r, const struct pkey *part, const struct pkey *as,
                           uint64_t table_id, const struct sst *trans, int64_t mvs, bool only_major)
{
    size_t at = unis_begin(o, 2), n = 0;
    struct obuf keys = {0};
    bool ready = trans != NULL; /* an index without its first major is not */
    for (int i = 0; !trans && i < r->n_sst; i++) {
        const struct sst *s = r->sst[i];
        if (s->key.table_id != table_id || !pkey_eq(&s->key.pkey, part) || (only_major && s->key.type != T_MAJOR))
            continue;
        struct table_key shown = s->key;
        shown.pkey = *as;
        enc_table_key(&keys, &shown);
        ready |= s->key.type == T_MAJOR;
        n++;
    }
    if (trans) {
        enc_table_key(&keys, &trans->key);
        n = 1;
    }
    ob_vi(o, n);
    ob_put(o, keys.p, keys.n);
    ob_vs(o, mvs);
    ob_u8(o, ready);
    ob_vi(o, 0);
    unis_end(o, at);
    ob_free(&keys);
}

void fill_part_meta(const struct host *h, struct replica *r, const struct shm_part *p, struct part_meta *m)
{
    (void)h;
    *m = (struct part_meta){.key = p->key,
                            .multi_version_start = r->mvs,
                            .data_table_id = p->idx[0],
                            .create_schema_version = p->create_schema_version,
                            .create_timestamp = p->create_ts};
    for (int i = 0; i < r->n_sst; i++) {
        const struct sst *s = r->sst[i];
        if (!pkey_eq(&s->key.pkey, &p->key))
            continue;
        m->data_size += s->meta.occupy_size;
        m->required_size += (int64_t)s->n * MACRO_SIZE;
        if (s->key.type == T_MAJOR && s->key.table_id == p->idx[0] && s->key.version > m->data_version) {
            m->data_version = s->key.version;
            m->row_count = s->meta.row_count;
            m->data_checksum = s->meta.data_checksum;
            m->snapshot_version = s->key.v.snapshot_version;
        }
    }
}

/* For a moment after a freeze (trans_race_us, or the fault trans_behind) the states of before it are still listed:
 * what data_info has passed by then is not in them (restorable-set A3 a). */
static const struct sst *trans_to_list(struct rpc_call *c, struct replica *r)
{
    int64_t arg;
    if (!r->trans_old || r->trans_old->key.l.end >= r->data.last_log_ts)
        return r->trans;
    bool race = clock_us(c->host) < r->trans_since + c->host->knob.trans_race_us;
    if (!race && !fault_take(c, "trans_behind", &arg))
        return r->trans;
    r->trans_old_until = clock_us(c->host) + 10000000;
    return r->trans_old;
}

int rpc_pg_partitions(struct rpc_call *c, struct oin *in)
{
    struct oin b;
    int rc = rpc_argument(in, 1, &b);
    if (rc)
        return rc;
    struct pkey key = in_pkey(&b);
    int64_t snapshot = (int64_t)in_vi(&b);
    bool only_major = in_u8(&b) != 0;
    int64_t log_ts = (int64_t)in_vi(&b);
    if (b.bad)
        return E_DESERIALIZE;
    struct replica *r;
    if ((rc = rpc_find_pg(c, &key, &r)) != 0)
        return rc;
    if (snapshot < 0 || log_ts < 0)
        return E_ARG;
    struct obuf all = {0};
    size_t ends[PG_PARTS + 1];
    int n = 0;
    const struct shm_pg *p = pg_at(c->host, r->pg);
    int64_t now = clock_us(c->host);
    pthread_mutex_lock(&r->mu);
    for (int i = 0; i < p->n_parts; i++) {
        const struct shm_part *q = &p->part[i];
        if (!part_served(c->host, now, q))
            continue;
        struct part_meta m;
        fill_part_meta(c->host, r, q, &m);
        m.key = shown_key(p, &q->key);
        size_t at = unis_begin(&all, 2), count = 0;
        enc_part_meta(&all, &m);
        uint64_t ids[PART_INDEXES];
        for (int k = 0; k < q->n_idx; k++)
            if (index_served(c->host, now, q, k) && (k == 0 || replica_last(r, q->idx[k], &q->key)))
                ids[count++] = q->idx[k];
        ob_vi(&all, count);
        for (size_t k = 0; k < count; k++)
            ob_vi(&all, ids[k]);
        ob_vi(&all, count);
        for (size_t k = 0; k < count; k++)
            put_table_info(&all, r, &q->key, &m.key, ids[k], NULL, r->mvs, only_major);
        unis_end(&all, at);
        ends[n++] = all.n;
    }
    /* The transaction-state partition comes last. */
    struct shm_part t = {
        .key = pkey_trans(&p->key), .create_schema_version = p->create_schema_version, .create_ts = p->create_ts};
    t.idx[0] = t.key.table_id;
    struct part_meta m;
    fill_part_meta(c->host, r, &t, &m);
    if (r->trans)
        m.data_size = r->trans->meta.occupy_size;
    size_t at = unis_begin(&all, 2);
    enc_part_meta(&all, &m);
    ob_vi(&all, 1);
    ob_vi(&all, t.idx[0]);
    ob_vi(&all, 1);
    put_table_info(&all, r, &t.key, &t.key, t.idx[0], only_major ? NULL : trans_to_list(c, r), r->mvs, only_major);
    unis_end(&all, at);
    ends[n++] = all.n;
    pthread_mutex_unlock(&r->mu);
    size_t from = 0;
    for (int i = 0; i < n && !rc; i++) {
        rc = stream_object(c, all.p + from, ends[i] - from);
        from = ends[i];
    }
    ob_free(&all);
    return rc;
}

/* Sstables of what the schema dropped a while ago are gone. */
static bool collected(const struct host *h, const struct shm_pg *p, const struct table_key *k)
{
    int64_t now = clock_us(h);
    for (int i = 0; i < p->n_parts; i++)
        for (int x = 0; x < p->part[i].n_idx; x++)
            if (pkey_eq(&p->part[i].key, &k->pkey) && p->part[i].idx[x] == k->table_id)
                return !part_served(h, now, &p->part[i]) || !index_served(h, now, &p->part[i], x);
    return false;
}

static int find_sst(struct rpc_call *c, const struct table_key *key, struct sst **out)
{
    struct replica *r;
    struct table_key plain = *key, *k = &plain;
    plain_key(c->host, &k->pkey);
    int rc = find_holder(c, &k->pkey, &r);
    if (rc)
        return rc;
    *out = NULL;
    pthread_mutex_lock(&r->mu);
    if (r->trans && table_key_eq(&r->trans->key, k))
        *out = sst_ref(r->trans);
    if (!*out && r->trans_old && clock_us(c->host) < r->trans_old_until && table_key_eq(&r->trans_old->key, k))
        *out = sst_ref(r->trans_old);
    bool old = collected(c->host, pg_at(c->host, r->pg), k);
    for (int i = 0; !old && !*out && i < r->n_sst; i++)
        if (table_key_eq(&r->sst[i]->key, k))
            *out = sst_ref(r->sst[i]);
    for (int p = 0; !*out && p < r->n_points; p++)
        for (int i = 0; !*out && i < r->points[p].n; i++)
            if (table_key_eq(&r->points[p].ref[i]->key, k))
                *out = sst_ref(r->points[p].ref[i]);
    pthread_mutex_unlock(&r->mu);
    return *out ? 0 : k->type == T_MAJOR ? E_NO_SSTABLE : -4018;
}

int rpc_base_meta(struct rpc_call *c, struct oin *in)
{
    struct oin b;
    int rc = rpc_argument(in, 1, &b);
    if (rc)
        return rc;
    struct table_key k = in_table_key(&b);
    if (b.bad)
        return E_DESERIALIZE;
    struct sst *s;
    if ((rc = find_sst(c, &k, &s)) != 0)
        return rc;
    struct obuf o = {0};
    enc_base_meta(&o, &s->meta);
    rc = stream_object(c, o.p, o.n);
    o.n = 0;
    ob_vi(&o, s->n);
    if (!rc)
        rc = stream_object(c, o.p, o.n);
    for (uint32_t i = 0; i < s->n && !rc; i++) {
        o.n = 0;
        size_t at = unis_begin(&o, 1);
        ob_vs(&o, s->blk[i].data_version);
        ob_vs(&o, s->blk[i].data_seq);
        unis_end(&o, at);
        rc = stream_object(c, o.p, o.n);
    }
    ob_free(&o);
    sst_unref(s);
    return rc;
}

struct wanted {
    uint64_t index;
    int64_t version, seq;
};

static int read_wanted(struct oin *b, struct wanted **out, uint64_t *count)
{
    uint64_t n = in_vi(b);
    if (b->bad || n > 65536)
        return E_DESERIALIZE;
    *out = xcalloc(n, sizeof **out);
    *count = n;
    for (uint64_t i = 0; i < n; i++) {
        struct oin e, v;
        if (!in_unis(b, 2, &e))
            return E_DESERIALIZE;
        (*out)[i].index = in_vi(&e);
        if (in_unis(&e, 1, &v))
            (*out)[i].version = (int64_t)in_vi(&v);
        (*out)[i].seq = (int64_t)in_vi(&e);
        if (e.bad)
            return E_DESERIALIZE;
    }
    return 0;
}

int rpc_macro_blocks(struct rpc_call *c, struct oin *in)
{
    struct oin b;
    int rc = rpc_argument(in, 2, &b);
    if (rc)
        return rc;
    struct table_key k = in_table_key(&b);
    struct wanted *w = NULL;
    uint64_t n = 0;
    if (b.bad)
        return E_DESERIALIZE;
    rc = read_wanted(&b, &w, &n);
    struct sst *s = NULL;
    if (!rc)
        rc = find_sst(c, &k, &s);
    struct obuf meta = {0}, block = {0};
    for (uint64_t i = 0; i < n && !rc; i++) {
        if (w[i].index >= s->n || s->blk[w[i].index].data_version != w[i].version ||
            s->blk[w[i].index].data_seq != w[i].seq) {
            rc = E_UNEXPECTED;
            break;
        }
        meta.n = block.n = 0;
        sleep_us(c->host->knob.io_delay_us);
        int64_t arg;
        if (sst_read_block(s, (uint32_t)w[i].index, &meta, &block)) {
            rc = E_IO;
            break;
        }
        if (fault_take(c, "flip", &arg))
            block.p[(size_t)arg % block.n] ^= 1;
        rc = stream_object(c, meta.p, meta.n);
        if (!rc)
            rc = stream_bytes(c, block.p, block.n);
    }
    ob_free(&meta);
    ob_free(&block);
    free(w);
    sst_unref(s);
    return rc;
}
