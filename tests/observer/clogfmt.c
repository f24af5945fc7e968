/* clogfmt.c - see clogfmt.h */
#include "clogfmt.h"

#include <string.h>

#define INFO_MAGIC_HEAD 0x13bd710f4b907562u
#define INFO_MAGIC_TAIL 0xfa06d5f2b8a1cce1u

static uint64_t entry_image_crc(const struct log_entry *e, uint64_t data_crc)
{
    struct obuf b = {0};
    ob_le16(&b, 0x4552);
    ob_le16(&b, 1);
    ob_le32(&b, e->type);
    ob_le64(&b, e->key.table_id);
    ob_le32(&b, (uint32_t)e->key.part_id);
    ob_le32(&b, (uint32_t)e->key.assist);
    ob_le64(&b, pkey_hash(&e->key));
    ob_le64(&b, e->log_id);
    ob_le64(&b, e->data_len);
    ob_le64(&b, (uint64_t)e->generation_ts);
    ob_le64(&b, (uint64_t)e->epoch);
    ob_le32(&b, 4);
    ob_le32(&b, e->proposal.ip);
    ob_zero(&b, 12);
    ob_le32(&b, (uint32_t)e->proposal.port);
    ob_le64(&b, (uint64_t)e->proposal.ts);
    ob_le64(&b, (uint64_t)e->submit_ts & ~(1ull << 63));
    ob_le64(&b, data_crc);
    ob_le64(&b, (uint64_t)e->freeze_version);
    uint64_t c = ob_crc(0, b.p, b.n);
    ob_free(&b);
    return c;
}

void enc_entry(struct obuf *b, const struct log_entry *e)
{
    uint64_t crc = ob_crc(0, e->data, e->data_len);
    ob_be16(b, 0x4552);
    ob_be16(b, 1);
    ob_be32(b, e->type);
    enc_pkey(b, &e->key);
    ob_be64(b, e->log_id);
    ob_be64(b, e->data_len);
    ob_be64(b, (uint64_t)e->generation_ts);
    ob_be64(b, (uint64_t)e->epoch);
    enc_proposal(b, &e->proposal);
    ob_be64(b, (uint64_t)e->submit_ts);
    ob_be64(b, crc);
    ob_be64(b, (uint64_t)e->freeze_version);
    ob_be64(b, entry_image_crc(e, crc));
    ob_put(b, e->data, e->data_len);
}

bool dec_entry(struct log_entry *e, const uint8_t *p, size_t n, size_t *used)
{
    struct oin r = {.p = p, .n = n};
    *e = (struct log_entry){0};
    if (in_be16(&r) != 0x4552 || in_be16(&r) != 1)
        return false;
    e->type = in_be32(&r);
    e->key = in_pkey(&r);
    e->log_id = in_be64(&r);
    e->data_len = in_be64(&r);
    e->generation_ts = (int64_t)in_be64(&r);
    e->epoch = (int64_t)in_be64(&r);
    in_u8(&r);
    uint64_t server = in_be64(&r);
    e->proposal = (struct proposal){(uint32_t)(server >> 32), (int32_t)(server & 0xffffffff), (int64_t)in_be64(&r)};
    e->submit_ts = (int64_t)in_be64(&r);
    e->data_checksum = in_be64(&r);
    e->freeze_version = (int64_t)in_be64(&r);
    uint64_t hdr = in_be64(&r);
    if (r.bad || e->data_len > MAX_ENTRY_DATA)
        return false;
    e->data = in_bytes(&r, e->data_len);
    *used = r.at;
    return e->data && ob_crc(0, e->data, e->data_len) == e->data_checksum &&
           entry_image_crc(e, e->data_checksum) == hdr;
}

static uint64_t block_image_crc(int type, int64_t total, int64_t pad, int64_t ts, uint64_t data_checksum)
{
    uint8_t m[40] = {0x42, 0x4c, 1, 0};
    st32(m + 4, (uint32_t)type);
    st64(m + 8, (uint64_t)total);
    st64(m + 16, (uint64_t)pad);
    st64(m + 24, (uint64_t)ts);
    st64(m + 32, data_checksum);
    return ob_crc(0, m, sizeof m);
}

void enc_block_meta(struct obuf *b, enum block_type t, size_t data_len, int64_t ts, uint64_t data_checksum)
{
    int64_t used = (int64_t)(data_len + BLOCK_HDR);
    int64_t total = (used + CLOG_PAGE - 1) / CLOG_PAGE * CLOG_PAGE;
    ob_be16(b, 0x4c42);
    ob_be16(b, 1);
    ob_be32(b, (uint32_t)t);
    ob_be64(b, (uint64_t)total);
    ob_be64(b, (uint64_t)(total - used));
    ob_be64(b, (uint64_t)ts);
    ob_be64(b, data_checksum);
    ob_be64(b, block_image_crc((int)t, total, total - used, ts, data_checksum));
}

bool dec_block_meta(const uint8_t *p, int *type, int64_t *data_len, int64_t *ts)
{
    struct oin r = {.p = p, .n = BLOCK_HDR};
    if (in_be16(&r) != 0x4c42 || in_be16(&r) != 1)
        return false;
    *type = (int)in_be32(&r);
    int64_t total = (int64_t)in_be64(&r), pad = (int64_t)in_be64(&r);
    *ts = (int64_t)in_be64(&r);
    uint64_t dc = in_be64(&r);
    *data_len = total - pad - (int64_t)BLOCK_HDR;
    return in_be64(&r) == block_image_crc(*type, total, pad, *ts, dc) && *data_len >= 0;
}

int64_t padding_size(int64_t off) { return (off + 12 + CLOG_PAGE - 1) / CLOG_PAGE * CLOG_PAGE - off; }

void enc_padding(struct obuf *b, int64_t size)
{
    ob_be16(b, 0x5044);
    ob_be16(b, 1);
    ob_be64(b, (uint64_t)size);
    ob_zero(b, (size_t)size - 12);
}

void enc_info_block(struct obuf *b, const struct pg_max *m, size_t n, int64_t max_submit_ts, int64_t ts)
{
    struct obuf d = {0};
    ob_be16(&d, 1);
    size_t at = unis_begin(&d, 1);
    ob_vi(&d, 1);
    unis_end(&d, at);
    ob_be64(&d, INFO_MAGIC_HEAD);
    ob_be64(&d, n);
    for (size_t i = 0; i < n; i++) {
        enc_pkey(&d, &m[i].key);
        ob_be64(&d, m[i].max_log_id);
    }
    ob_be64(&d, INFO_MAGIC_TAIL);
    ob_be64(&d, (uint64_t)max_submit_ts);
    enc_block_meta(b, BLK_INFO, d.n, ts, ob_crc(0, d.p, d.n));
    ob_put(b, d.p, d.n);
    ob_free(&d);
}

void enc_trailer(struct obuf *b, int32_t info_off, uint32_t next_file, int64_t ts)
{
    uint8_t pair[8];
    st32(pair, (uint32_t)info_off);
    st32(pair + 4, next_file);
    /* The server counts 8 bytes of data, though version and both numbers take 10. */
    enc_block_meta(b, BLK_TRAILER, 8, ts, ob_crc(0, pair, 8));
    ob_be16(b, 1);
    ob_be32(b, (uint32_t)info_off);
    ob_be32(b, next_file);
}

void enc_membership(struct obuf *b, const struct member *m, int n, int64_t ts, int type, int64_t cluster_id)
{
    size_t at = unis_begin(b, 1);
    ob_vi32(b, 1);
    ob_vs(b, n);
    ob_vs(b, ts);
    enc_member_list(b, m, n);
    enc_member_list(b, m, n);
    ob_vi32(b, type);
    ob_vs(b, cluster_id);
    unis_end(b, at);
}

void enc_change(struct obuf *b, const struct change *c)
{
    ob_be64(b, c->index_id);
    ob_u8(b, c->op);
    ob_be32(b, c->klen);
    ob_be32(b, c->vlen);
    ob_put(b, c->key, c->klen);
    ob_put(b, c->val, c->vlen);
}

bool in_change(struct oin *r, struct change *c)
{
    *c = (struct change){.index_id = in_be64(r)};
    c->op = in_u8(r);
    c->klen = in_be32(r);
    c->vlen = in_be32(r);
    c->key = in_bytes(r, c->klen);
    c->val = in_bytes(r, c->vlen);
    return !r->bad;
}

static bool parse_item(struct oin r, struct tx_item *x)
{
    x->kind = (int64_t)in_be64(&r);
    if (x->kind <= 0 || x->kind >= 16) {
        x->rest = (struct oin){.p = r.p + r.at, .n = r.n - r.at};
        return !r.bad;
    }
    x->trans_id = (int64_t)in_be64(&r);
    if (x->kind & TX_REDO) {
        x->n_changes = in_be32(&r);
        x->changes = r;
        struct change c;
        for (uint32_t i = 0; i < x->n_changes; i++)
            if (!in_change(&r, &c))
                return false;
    }
    for (int bit = TX_PREPARE; bit <= TX_ABORT; bit <<= 1) {
        if (!(x->kind & bit))
            continue;
        if (bit == TX_PREPARE)
            x->prepare_version = (int64_t)in_be64(&r);
        if (bit == TX_COMMIT)
            x->commit_version = (int64_t)in_be64(&r);
        x->n_parts = in_be32(&r);
        x->parts = in_bytes(&r, (size_t)x->n_parts * 16);
    }
    return !r.bad;
}

bool item_next(struct item_iter *it, struct tx_item *x)
{
    const struct log_entry *e = it->e;
    uint32_t type = e->type & ~LOG_TRANS_BIT;
    *x = (struct tx_item){.submit_ts = e->submit_ts & INT64_MAX};
    if (it->bad || it->at >= e->data_len || (type != LOG_SUBMIT && type != LOG_AGGRE))
        return false;
    struct oin r = {.p = e->data, .n = e->data_len, .at = it->at};
    size_t next = e->data_len;
    if (type == LOG_AGGRE) {
        next = in_be32(&r);
        x->submit_ts = (int64_t)in_be64(&r);
        if (next > e->data_len)
            next = e->data_len;
    }
    if (r.bad || next <= it->at) {
        it->bad = true;
        return false;
    }
    it->at = next;
    it->bad = !parse_item((struct oin){.p = r.p + r.at, .n = next - r.at}, x);
    return !it->bad;
}

void enc_cursor(struct obuf *b, const struct ilog_cursor *c)
{
    ob_be32(b, c->file_id);
    ob_be32(b, c->offset);
    ob_be32(b, c->size);
    ob_be32(b, 0);
    ob_be64(b, (uint64_t)c->accum);
    ob_be64(b, (uint64_t)c->submit_ts);
}

static int pg_order(const void *a, const void *b)
{
    const struct pkey *x = &((const struct ilog_pg *)a)->key, *y = &((const struct ilog_pg *)b)->key;
    if (x->table_id != y->table_id)
        return x->table_id < y->table_id ? -1 : 1;
    if (x->part_id != y->part_id)
        return x->part_id < y->part_id ? -1 : 1;
    return (x->assist > y->assist) - (x->assist < y->assist);
}

static void pad_page(struct obuf *b) { ob_zero(b, (CLOG_PAGE - b->n % CLOG_PAGE) % CLOG_PAGE); }

/* Home slot = hash mod capacity, linear probing: as the server's in-memory map. */
static size_t take_slot(uint8_t *used, size_t cap, uint64_t hash)
{
    size_t s = (size_t)(hash % cap);
    while (used[s])
        s = (s + 1) % cap;
    used[s] = 1;
    return s;
}

static void put_slot_key(uint8_t *s, const struct pkey *k)
{
    s[0] = 1;
    st64(s + 8, k->table_id);
    st32(s + 16, (uint32_t)k->part_id);
    st32(s + 20, (uint32_t)k->assist);
    st64(s + 24, pkey_hash(k));
}

void enc_ilog_file(struct obuf *b, struct ilog_pg *pgs, size_t n, const struct member *members, int n_members)
{
    size_t start = b->n, cap = n ? n : 1;
    qsort(pgs, n, sizeof *pgs, pg_order);
    uint8_t *info = xcalloc(cap, 72), *used = xcalloc(cap, 1), *list = xcalloc(cap, 400);
    for (size_t i = 0; i < n; i++) {
        const struct ilog_pg *g = &pgs[i];
        size_t slot = take_slot(used, cap, pkey_hash(&g->key));
        uint8_t *s = info + 72 * slot;
        put_slot_key(s, &g->key);
        st64(s + 32, g->min_id);
        st64(s + 40, g->max_id);
        st64(s + 48, (uint64_t)g->min_ts);
        st64(s + 56, (uint64_t)g->max_ts);
        st32(s + 64, (uint32_t)(b->n - start));
        uint8_t *m = list + 400 * slot; /* member list image: opaque to readers */
        put_slot_key(m, &g->key);
        st64(m + 32, (uint64_t)n_members);
        for (int k = 0; k < n_members && k < 7; k++) {
            st32(m + 40 + 40 * k, 4);
            st32(m + 44 + 40 * k, members[k].ip);
            st32(m + 60 + 40 * k, (uint32_t)members[k].port);
            st64(m + 64 + 40 * k, (uint64_t)members[k].timestamp);
        }
        for (uint64_t id = g->min_id; id <= g->max_id; id++)
            enc_cursor(b, &g->cursors[id - g->min_id]);
    }
    pad_page(b);
    size_t info_off = b->n - start;
    ob_be64(b, 72 * cap);
    ob_put(b, info, 72 * cap);
    size_t list_off = b->n - start;
    ob_be64(b, 400 * cap);
    ob_put(b, list, 400 * cap);
    size_t end = b->n - start;
    if (end - info_off < 65536)
        ob_zero(b, 65536 - (end - info_off));
    pad_page(b);
    ob_zero(b, CLOG_PAGE);
    uint8_t *t = b->p + b->n - 512, img[32] = {0x43, 0x4c};
    uint64_t crc = ob_crc(0, b->p + start, end);
    st32(img + 8, (uint32_t)info_off);
    st32(img + 12, (uint32_t)(list_off - info_off));
    st32(img + 16, (uint32_t)list_off);
    st32(img + 20, (uint32_t)(end - list_off));
    st64(img + 24, crc);
    t[0] = 0x4c;
    t[1] = 0x43;
    for (int i = 8; i < 24; i += 4)
        stbe32(t + i, ld32(img + i));
    stbe64(t + 24, crc);
    stbe64(t + 32, ob_crc(0, img, 32));
    free(info);
    free(used);
    free(list);
}

bool dec_ilog_file(const uint8_t *p, size_t n, void (*fn)(void *, const struct ilog_pg *, const uint8_t *), void *arg)
{
    if (n < 8192 || n % CLOG_PAGE || ldbe16(p + n - 512) != 0x4c43)
        return false;
    size_t off = ldbe32(p + n - 512 + 8), len = ldbe32(p + n - 512 + 12);
    if (off + len > n || len < 8 || ldbe64(p + off) != len - 8)
        return false;
    for (size_t at = off + 8; at + 72 <= off + len; at += 72) {
        const uint8_t *s = p + at;
        if (!s[0])
            continue;
        struct ilog_pg g = {.key = {ld64(s + 8), (int32_t)ld32(s + 16), (int32_t)ld32(s + 20)},
                            .min_id = ld64(s + 32),
                            .max_id = ld64(s + 40),
                            .min_ts = (int64_t)ld64(s + 48),
                            .max_ts = (int64_t)ld64(s + 56)};
        size_t from = ld32(s + 64);
        if (g.max_id < g.min_id || from + 32 * (g.max_id - g.min_id + 1) > off)
            return false;
        fn(arg, &g, p + from);
    }
    return true;
}
