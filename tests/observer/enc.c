/* enc.c - see enc.h */
#include "enc.h"

#include <string.h>

int64_t pkey_partition_id(const struct pkey *k)
{
    if ((k->part_id & 0x70000000) && (k->assist & 0x70000000))
        return (int64_t)(((uint64_t)(uint32_t)k->part_id << 32) | (uint32_t)k->assist);
    return k->part_id;
}

struct pkey pkey_make(uint64_t table_id, int64_t partition_id)
{
    if (partition_id > INT32_MAX)
        return (struct pkey){table_id, (int32_t)(partition_id >> 32), (int32_t)(partition_id & 0xffffffff)};
    return (struct pkey){table_id, (int32_t)partition_id, 0};
}

uint64_t pkey_hash(const struct pkey *k)
{
    uint64_t h = murmur64a(&k->table_id, 8, 0);
    h = murmur64a(&k->part_id, 4, h);
    return murmur64a(&k->assist, 4, h);
}

struct pkey pkey_trans(const struct pkey *k)
{
    struct pkey t = *k;
    t.table_id |= TRANS_BITS;
    return t;
}

void enc_pkey(struct obuf *b, const struct pkey *k)
{
    ob_be64(b, k->table_id);
    ob_be32(b, (uint32_t)k->part_id);
    ob_be32(b, (uint32_t)k->assist);
}

struct pkey in_pkey(struct oin *r)
{
    struct pkey k;
    k.table_id = in_be64(r);
    k.part_id = (int32_t)in_be32(r);
    k.assist = (int32_t)in_be32(r);
    return k;
}

void enc_addr(struct obuf *b, uint32_t ip, int32_t port)
{
    size_t at = unis_begin(b, 1);
    ob_vi32(b, 4);
    ob_vi(b, ip);
    ob_zero(b, 3);
    ob_vi32(b, port);
    unis_end(b, at);
}

static void enc_member(struct obuf *b, const struct member *m)
{
    size_t at = unis_begin(b, 1);
    enc_addr(b, m->ip, m->port);
    ob_vs(b, m->timestamp);
    ob_vi(b, 0);
    unis_end(b, at);
}

void enc_member_list(struct obuf *b, const struct member *m, int n)
{
    static const struct member NONE = {.timestamp = -1};
    size_t at = unis_begin(b, 1);
    ob_vs(b, n);
    for (int i = 0; i < 7; i++)
        enc_member(b, i < n ? &m[i] : &NONE);
    unis_end(b, at);
}

void enc_proposal(struct obuf *b, const struct proposal *p)
{
    ob_u8(b, 4);
    ob_be64(b, ((uint64_t)p->ip << 32) | (uint32_t)p->port);
    ob_be64(b, (uint64_t)p->ts);
}

static void enc_three(struct obuf *b, int64_t x, int64_t y, int64_t z)
{
    size_t at = unis_begin(b, 1);
    ob_vs(b, x);
    ob_vs(b, y);
    ob_vs(b, z);
    unis_end(b, at);
}

static void enc_version(struct obuf *b, int64_t v)
{
    size_t at = unis_begin(b, 1);
    ob_vs(b, v);
    unis_end(b, at);
}

void enc_table_key(struct obuf *b, const struct table_key *k)
{
    size_t at = unis_begin(b, 1);
    ob_vi32(b, k->type);
    enc_pkey(b, &k->pkey);
    ob_vi(b, k->table_id);
    enc_three(b, k->v.multi_version_start, k->v.base_version, k->v.snapshot_version);
    enc_version(b, k->version);
    enc_three(b, k->l.start, k->l.end, k->l.max);
    unis_end(b, at);
}

static void in_three(struct oin *r, int64_t *x, int64_t *y, int64_t *z)
{
    struct oin b;
    if (!in_unis(r, 1, &b))
        return;
    *x = (int64_t)in_vi(&b);
    *y = (int64_t)in_vi(&b);
    *z = (int64_t)in_vi(&b);
    r->bad |= b.bad;
}

struct table_key in_table_key(struct oin *r)
{
    struct table_key k = {0};
    struct oin b, v;
    if (!in_unis(r, 1, &b))
        return k;
    k.type = in_vi32(&b);
    k.pkey = in_pkey(&b);
    k.table_id = in_vi(&b);
    in_three(&b, &k.v.multi_version_start, &k.v.base_version, &k.v.snapshot_version);
    if (in_unis(&b, 1, &v))
        k.version = (int64_t)in_vi(&v);
    in_three(&b, &k.l.start, &k.l.end, &k.l.max);
    r->bad |= b.bad;
    return k;
}

bool table_key_eq(const struct table_key *a, const struct table_key *b)
{
    return a->type == b->type && pkey_eq(&a->pkey, &b->pkey) && a->table_id == b->table_id &&
           a->v.multi_version_start == b->v.multi_version_start && a->v.base_version == b->v.base_version &&
           a->v.snapshot_version == b->v.snapshot_version && a->version == b->version && a->l.start == b->l.start &&
           a->l.end == b->l.end && a->l.max == b->l.max;
}

static void enc_clog_info(struct obuf *b, const struct clog_info *c, const struct member *m, int n)
{
    size_t at = unis_begin(b, 1);
    ob_vi32(b, 1);
    ob_vs(b, c->epoch);
    enc_proposal(b, &c->proposal);
    ob_vi(b, c->last_log_id);
    ob_vs(b, c->last_submit_ts);
    ob_vs(b, c->accum);
    ob_vs(b, n);
    ob_vs(b, c->membership_ts);
    ob_vi(b, c->membership_log_id);
    enc_member_list(b, m, n);
    enc_proposal(b, &c->proposal);
    unis_end(b, at);
}

static void enc_data_info(struct obuf *b, const struct data_info *d)
{
    size_t at = unis_begin(b, 1);
    ob_vi(b, d->last_log_id);
    ob_vs(b, d->publish_version);
    ob_vs(b, d->schema_version);
    ob_vi(b, 1);
    ob_u8(b, 1);
    ob_vs(b, d->last_log_ts);
    unis_end(b, at);
}

static void enc_split_info(struct obuf *b)
{
    static const struct pkey BAD = {UINT64_MAX, -1, -1};
    size_t at = unis_begin(b, 1);
    ob_vi(b, 0);
    size_t pair = unis_begin(b, 1);
    enc_pkey(b, &BAD);
    ob_vi(b, 0);
    unis_end(b, pair);
    ob_vs(b, -1);
    ob_vs(b, -1);
    ob_vs(b, -1);
    ob_vi(b, 0);
    ob_vi(b, 0);
    unis_end(b, at);
}

void enc_pg_meta(struct obuf *b, const struct pg_meta *m)
{
    size_t at = unis_begin(b, 1);
    enc_pkey(b, &m->key);
    ob_vi32(b, m->is_restore);
    ob_vi32(b, 0); /* replica type FULL */
    size_t in = unis_begin(b, 1);
    ob_vi(b, 100);
    unis_end(b, in);
    ob_vs(b, m->split_state);
    ob_vi32(b, m->migrate_status);
    ob_vi(b, 0);
    in = unis_begin(b, 1);
    ob_vi32(b, 3);
    enc_clog_info(b, &m->clog, m->members, m->n_members);
    enc_data_info(b, &m->data);
    ob_vs(b, -1);
    unis_end(b, in);
    enc_split_info(b);
    ob_vs(b, m->n_partitions);
    for (int i = 0; i < m->n_partitions; i++)
        enc_pkey(b, &m->partitions[i]);
    in = unis_begin(b, 1);
    ob_vs(b, m->data_version);
    ob_vs(b, m->data_size);
    ob_vs(b, m->required_size);
    ob_vs(b, m->major_snapshot);
    unis_end(b, in);
    ob_vs(b, m->create_schema_version);
    ob_vi(b, 1);
    ob_vs(b, m->create_timestamp);
    ob_vs(b, m->create_frozen_version);
    for (int i = 0; i < 4; i++)
        ob_vs(b, -1);
    unis_end(b, at);
}

void enc_part_meta(struct obuf *b, const struct part_meta *m)
{
    size_t at = unis_begin(b, 2);
    enc_pkey(b, &m->key);
    size_t in = unis_begin(b, 1);
    const int64_t report[] = {m->data_version, m->row_count,     m->row_checksum,    m->data_checksum,
                              m->data_size,    m->required_size, m->snapshot_version};
    for (size_t i = 0; i < 7; i++)
        ob_vs(b, report[i]);
    unis_end(b, in);
    ob_vs(b, m->multi_version_start);
    ob_vi(b, m->data_table_id);
    ob_vs(b, m->create_schema_version);
    ob_vs(b, m->create_timestamp);
    unis_end(b, at);
}

static void enc_column_metas(struct obuf *b, const struct base_meta *m)
{
    ob_vs(b, m->n_cols);
    for (int i = 0; i < m->n_cols; i++)
        enc_three(b, m->col_id[i], 0, m->col_checksum[i]);
}

void enc_base_meta(struct obuf *b, const struct base_meta *m)
{
    size_t at = unis_begin(b, 1);
    ob_vi(b, m->index_id);
    const int64_t head[] = {m->row_count,       m->occupy_size,
                            m->data_checksum,   m->row_checksum,
                            m->data_version,    m->rowkey_cols,
                            3 /* user table */, 0,
                            m->macro_count,     0,
                            m->n_cols};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        ob_vs(b, head[i]);
    enc_column_metas(b, m);
    const int64_t mid[] = {0, 1, m->index_type, 0, 0, 6, m->macro_count - 1};
    for (size_t i = 0; i < sizeof mid / sizeof *mid; i++)
        ob_vs(b, mid[i]);
    ob_u8(b, 0);
    const int64_t more[] = {0, m->schema_version, 0, 0, m->create_snapshot_version, m->checksum_method};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        ob_vs(b, more[i]);
    enc_column_metas(b, m);
    ob_vi(b, 0);
    ob_vi(b, 0);
    ob_vi32(b, 0); /* table mode */
    ob_vs(b, m->logical_data_version);
    ob_u8(b, 1);
    enc_pkey(b, &m->pg_key);
    ob_u8(b, (unsigned)m->rowkey_type);
    ob_u8(b, m->has_uncommitted);
    ob_vs(b, m->upper_trans_version);
    ob_vs(b, m->max_merged_trans_version);
    ob_vi(b, m->end_log_id);
    unis_end(b, at);
}
