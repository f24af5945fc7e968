/* macro.c - see macro.h */
#include "macro.h"

#include <string.h>

#include <lz4.h>
#include <zstd.h>

#define COMMON_HDR 32u
#define SST_HDR 240u
#define REC_V2 32u

int key_cmp(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
    int c = memcmp(a, b, an < bn ? an : bn);
    return c ? c : (an > bn) - (an < bn);
}

const char *compressor_name(enum compressor c)
{
    return c == C_LZ4 ? "lz4_1.0" : c == C_ZSTD138 ? "zstd_1.3.8" : "none";
}

enum compressor compressor_from(const char *name)
{
    static const enum compressor ALL[] = {C_NONE, C_LZ4, C_ZSTD138};
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(name, compressor_name(ALL[i])))
            return ALL[i];
    return (enum compressor)0;
}

void enc_macro_meta(struct obuf *b, const struct macro_meta *m)
{
    size_t start = b->n;
    ob_le32(b, 0);
    ob_le32(b, 2);
    ob_le16(b, (uint16_t)m->attr);
    ob_le64(b, (uint64_t)m->data_version);
    ob_le16(b, (uint16_t)m->n_cols);
    ob_le16(b, (uint16_t)m->rowkey_cols);
    ob_le16(b, (uint16_t)m->column_index_scale);
    ob_le16(b, (uint16_t)m->row_store_type);
    ob_le32(b, (uint32_t)m->row_count);
    ob_le32(b, (uint32_t)m->occupy_size);
    ob_le64(b, (uint64_t)m->data_checksum);
    ob_le32(b, (uint32_t)m->micro_count);
    ob_le32(b, (uint32_t)m->data_off);
    ob_le32(b, (uint32_t)m->index_off);
    ob_le32(b, (uint32_t)m->endkey_off);
    for (int i = 0; i < m->n_cols; i++)
        ob_le64(b, (uint64_t)m->col_checksum[i]);
    ob_put(b, m->endkey, m->endkey_len);
    ob_le64(b, m->table_id);
    ob_le64(b, (uint64_t)m->data_seq);
    ob_le64(b, (uint64_t)m->schema_version);
    ob_le64(b, (uint64_t)m->snapshot_version);
    ob_le16(b, (uint16_t)m->schema_rowkey_cols);
    ob_le32(b, (uint32_t)m->row_count_delta);
    ob_le32(b, (uint32_t)m->mark_deletion_off);
    ob_u8(b, (unsigned)m->deletion_flag);
    ob_le32(b, (uint32_t)m->delta_off);
    ob_le64(b, (uint64_t)m->partition_id);
    ob_le16(b, (uint16_t)m->checksum_method);
    ob_zero(b, 8 + 8 + 8 + 16); /* progressive round, encryption: never used */
    ob_u8(b, m->has_uncommitted);
    ob_le64(b, (uint64_t)m->max_merged_trans_version);
    st32(b->p + start, (uint32_t)(b->n - start));
}

void enc_macro_schema(struct obuf *b, const struct macro_schema *s)
{
    size_t start = b->n;
    ob_le32(b, 0);
    ob_le32(b, 1);
    ob_le16(b, (uint16_t)s->n_cols);
    ob_le16(b, (uint16_t)s->rowkey_cols);
    ob_le64(b, (uint64_t)s->schema_version);
    ob_le16(b, (uint16_t)s->schema_rowkey_cols);
    ob_put(b, s->compressor, strlen(s->compressor) + 1);
    ob_put(b, s->col_id, (size_t)s->n_cols * 2);
    ob_put(b, s->col_type, (size_t)s->n_cols * 4);
    ob_put(b, s->col_order, (size_t)s->n_cols * 4);
    st32(b->p + start, (uint32_t)(b->n - start));
}

void row_encode(struct obuf *b, const struct row *r)
{
    uint8_t *p = ob_grow(b, ROW_HEAD + r->klen + r->vlen);
    p[0] = r->op;
    p[1] = r->state;
    memcpy(p + 2, &r->klen, 2);
    memcpy(p + 4, &r->vlen, 4);
    memcpy(p + 8, &r->version, 8);
    memcpy(p + 16, &r->trans_id, 8);
    memcpy(p + 24, &r->redo_ts, 8);
    memcpy(p + ROW_HEAD, r->key, r->klen);
    if (r->vlen)
        memcpy(p + ROW_HEAD + r->klen, r->val, r->vlen);
}

bool row_decode(struct row *r, const uint8_t *p, size_t n)
{
    if (n < ROW_HEAD)
        return false;
    *r = (struct row){.op = p[0], .state = p[1], .klen = ld16(p + 2), .vlen = ld32(p + 4)};
    r->version = (int64_t)ld64(p + 8);
    r->trans_id = (int64_t)ld64(p + 16);
    r->redo_ts = (int64_t)ld64(p + 24);
    r->key = p + ROW_HEAD;
    r->val = r->key + r->klen;
    return n == (size_t)ROW_HEAD + r->klen + r->vlen;
}

struct macro_writer {
    struct macro_opts o;
    block_sink sink;
    void *arg;
    int n_cols, rowkey_cols;
    const uint16_t *col_id;
    int64_t seq;
    struct obuf rows, rowidx, raw, data, index, endkeys, marks, deltas, comp;
    int micro_rows, micros, block_rows, delta, micro_delta;
    int64_t micro_cc[MAX_COLS];
    struct block_desc d;
    uint64_t data_crc;
    uint8_t lastkey[MAX_KEY];
    uint16_t lastkey_len;
    int64_t last_version;
    int err;
};

static const uint16_t COLS_PLAIN[] = {16, 17};
static const uint16_t COLS_MV[] = {16, 7, 8, 17};

size_t macro_columns(bool multi_version, const uint16_t **ids)
{
    *ids = multi_version ? COLS_MV : COLS_PLAIN;
    return multi_version ? 4 : 2;
}

struct macro_writer *mw_new(const struct macro_opts *o, block_sink sink, void *arg)
{
    struct macro_writer *w = xcalloc(1, sizeof *w);
    w->o = *o;
    w->sink = sink;
    w->arg = arg;
    w->n_cols = (int)macro_columns(o->multi_version, &w->col_id);
    w->rowkey_cols = o->multi_version ? 3 : 1;
    w->seq = o->first_seq;
    if (!w->o.micro_size)
        w->o.micro_size = 16384;
    return w;
}

int64_t mw_next_seq(const struct macro_writer *w) { return w->seq; }

static size_t header_bytes(const struct macro_writer *w) { return COMMON_HDR + SST_HDR + (size_t)w->n_cols * 18; }

/* What the open block would be if it ended now. */
static size_t block_bytes(const struct macro_writer *w)
{
    return header_bytes(w) + w->data.n + w->index.n + 8 + w->endkeys.n + w->marks.n + w->deltas.n;
}

static void put_obj_int(struct obuf *b, int64_t v)
{
    static const uint8_t META[4] = {5, 5, 0x3f, 0xff};
    ob_put(b, META, 4);
    ob_vs(b, v);
}

static void put_endkey(struct obuf *b, const struct macro_writer *w)
{
    static const uint8_t TEXT[4] = {0x16, 2, 0x2d, 0xff};
    ob_vi(b, w->o.multi_version ? 3 : 1);
    if (w->o.int_key && w->lastkey_len == 8)
        put_obj_int(b, (int64_t)ldbe64(w->lastkey));
    else {
        ob_put(b, TEXT, 4);
        ob_vstr(b, w->lastkey, w->lastkey_len);
    }
    if (w->o.multi_version) {
        put_obj_int(b, -w->last_version);
        put_obj_int(b, 0);
    }
}

static void column_types(const struct macro_writer *w, uint8_t *t)
{
    static const uint8_t INT[4] = {5, 5, 0x3f, 0xff}, TEXT[4] = {0x16, 2, 0x2d, 0xff};
    for (int i = 0; i < w->n_cols; i++) {
        bool is_int = w->col_id[i] < 16 || (w->col_id[i] == 16 && w->o.int_key);
        memcpy(t + 4 * i, is_int ? INT : TEXT, 4);
    }
}

static int flush_block(struct macro_writer *w)
{
    if (!w->micros)
        return 0;
    size_t hdr = header_bytes(w);
    size_t data_off = hdr, index_off = data_off + w->data.n, index_len = w->index.n + 8;
    size_t endkey_off = index_off + index_len, marks_off = endkey_off + w->endkeys.n;
    size_t occupy = block_bytes(w);
    uint8_t types[4 * MAX_COLS];
    int32_t orders[MAX_COLS] = {0};
    column_types(w, types);

    struct obuf b = {0};
    ob_le32(&b, COMMON_HDR);
    ob_le32(&b, 1);
    ob_le32(&b, 1001);
    ob_le32(&b, 1);
    ob_le64(&b, (uint64_t)w->o.data_version);
    ob_le32(&b, (uint32_t)(occupy - COMMON_HDR));
    ob_le32(&b, 0);
    ob_le32(&b, (uint32_t)(hdr - COMMON_HDR));
    ob_le32(&b, 3);
    ob_le32(&b, 1007);
    ob_le32(&b, 0);
    ob_le64(&b, w->o.index_id);
    ob_le64(&b, (uint64_t)w->o.data_version);
    const uint32_t ints[] = {(uint32_t)w->n_cols,
                             (uint32_t)w->rowkey_cols,
                             1,
                             0,
                             (uint32_t)w->block_rows,
                             (uint32_t)occupy,
                             (uint32_t)w->micros,
                             (uint32_t)w->o.micro_size,
                             (uint32_t)data_off,
                             (uint32_t)w->data.n,
                             (uint32_t)index_off,
                             (uint32_t)index_len,
                             (uint32_t)endkey_off,
                             (uint32_t)w->endkeys.n};
    ob_put(&b, ints, sizeof ints);
    ob_le64(&b, w->data_crc);
    char name[96] = {0};
    strcpy(name, compressor_name(w->o.comp));
    ob_put(&b, name, sizeof name);
    ob_zero(&b, 8 + 8 + 16);
    ob_le64(&b, (uint64_t)w->seq);
    ob_le64(&b, (uint64_t)pkey_partition_id(&w->o.part));
    ob_put(&b, w->col_id, (size_t)w->n_cols * 2);
    ob_put(&b, types, (size_t)w->n_cols * 4);
    ob_put(&b, orders, (size_t)w->n_cols * 4);
    ob_put(&b, w->d.col_checksum, (size_t)w->n_cols * 8);
    ob_put(&b, w->data.p, w->data.n);
    ob_put(&b, w->index.p, w->index.n);
    ob_le32(&b, (uint32_t)w->data.n);
    ob_le32(&b, (uint32_t)w->endkeys.n);
    ob_put(&b, w->endkeys.p, w->endkeys.n);
    ob_put(&b, w->marks.p, w->marks.n);
    ob_put(&b, w->deltas.p, w->deltas.n);
    st32(b.p + 28, (uint32_t)ob_crc(0, b.p + COMMON_HDR, b.n - COMMON_HDR));

    struct obuf endkey = {0}, meta = {0};
    put_endkey(&endkey, w);
    bool mv = w->o.multi_version;
    struct macro_meta m = {.attr = 1, .n_cols = w->n_cols, .rowkey_cols = w->rowkey_cols, .column_index_scale = 1};
    m.data_version = w->o.data_version;
    m.row_count = w->block_rows;
    m.occupy_size = (int)occupy;
    m.micro_count = w->micros;
    m.data_off = (int)data_off;
    m.index_off = (int)index_off;
    m.endkey_off = (int)endkey_off;
    m.data_checksum = (int64_t)w->data_crc;
    m.col_checksum = w->d.col_checksum;
    m.endkey = endkey.p;
    m.endkey_len = endkey.n;
    m.table_id = w->o.index_id;
    m.data_seq = w->seq;
    m.schema_version = w->o.schema_version;
    m.snapshot_version = w->o.snapshot_version;
    m.schema_rowkey_cols = 1;
    m.row_count_delta = mv ? w->delta : 0;
    m.mark_deletion_off = mv ? (int)marks_off : 0;
    m.delta_off = mv ? (int)(marks_off + w->marks.n) : 0;
    m.partition_id = pkey_partition_id(&w->o.part);
    m.checksum_method = mv ? 0 : 2;
    m.has_uncommitted = w->d.has_uncommitted;
    m.max_merged_trans_version = mv ? w->d.max_version : 0;
    enc_macro_meta(&meta, &m);
    const struct macro_schema s = {.n_cols = w->n_cols,
                                   .rowkey_cols = w->rowkey_cols,
                                   .schema_rowkey_cols = 1,
                                   .schema_version = w->o.schema_version,
                                   .compressor = compressor_name(w->o.comp),
                                   .col_id = w->col_id,
                                   .col_type = types,
                                   .col_order = orders};
    enc_macro_schema(&meta, &s);

    w->d.meta_len = (uint32_t)meta.n;
    w->d.occupy = (uint32_t)occupy;
    w->d.data_version = w->o.data_version;
    w->d.data_seq = w->seq++;
    w->d.row_count = w->block_rows;
    w->d.data_checksum = (int64_t)w->data_crc;
    w->d.endkey_len = w->lastkey_len;
    memcpy(w->d.endkey, w->lastkey, w->lastkey_len);
    int rc = w->sink(w->arg, &w->d, &meta, &b);
    ob_free(&b);
    ob_free(&endkey);
    ob_free(&meta);
    w->d = (struct block_desc){0};
    w->data.n = w->index.n = w->endkeys.n = w->marks.n = w->deltas.n = 0;
    w->micros = w->block_rows = w->delta = 0;
    w->data_crc = 0;
    return rc;
}

static size_t compress_micro(struct macro_writer *w)
{
    const struct obuf *raw = &w->raw;
    size_t cap = w->o.comp == C_LZ4 ? (size_t)LZ4_compressBound((int)raw->n) : ZSTD_compressBound(raw->n);
    w->comp.n = 0;
    if (w->o.comp == C_NONE)
        return 0;
    uint8_t *to = ob_grow(&w->comp, cap);
    size_t n;
    if (w->o.comp == C_LZ4) {
        int got = LZ4_compress_default((const char *)raw->p, (char *)to, (int)raw->n, (int)cap);
        n = got > 0 ? (size_t)got : 0;
    } else {
        n = ZSTD_compress(to, cap, raw->p, raw->n, 1);
        if (ZSTD_isError(n))
            n = 0;
    }
    return n && n < raw->n ? n : 0;
}

static void put_record_header(struct macro_writer *w, struct obuf *b, size_t len, size_t zlen, const uint8_t *stored)
{
    bool v3 = !w->o.multi_version && w->o.comp != C_ZSTD138;
    uint8_t hlen = v3 ? 56 : 32, ver = v3 ? 3 : 2;
    uint64_t crc = ob_crc(0, stored, zlen);
    uint16_t sum = (uint16_t)(1005 ^ hlen ^ ver ^ fold64(len) ^ fold64(zlen) ^ fold64(crc));
    if (v3) {
        sum = (uint16_t)(sum ^ fold32((uint32_t)w->micro_rows) ^ (uint16_t)w->n_cols);
        for (int i = 0; i < w->n_cols; i++)
            sum = (uint16_t)(sum ^ fold64((uint64_t)w->micro_cc[i]));
    }
    ob_le16(b, 1005);
    ob_u8(b, hlen);
    ob_u8(b, ver);
    ob_le16(b, sum);
    ob_le16(b, 0);
    ob_le64(b, len);
    ob_le64(b, zlen);
    ob_le64(b, crc);
    if (v3) {
        ob_le32(b, 0);
        ob_le32(b, (uint32_t)w->micro_rows);
        ob_le16(b, (uint16_t)w->n_cols);
        ob_put(b, w->micro_cc, (size_t)w->n_cols * 8);
    }
    w->data_crc = ob_crc(w->data_crc, &crc, 8);
}

static int flush_micro(struct macro_writer *w)
{
    if (!w->micro_rows)
        return 0;
    ob_le32(&w->rowidx, (uint32_t)w->rows.n);
    w->raw.n = 0;
    const uint32_t head[7] = {28, 1, 1005, 0, (uint32_t)w->n_cols, (uint32_t)(28 + w->rows.n), (uint32_t)w->micro_rows};
    ob_put(&w->raw, head, sizeof head);
    ob_put(&w->raw, w->rows.p, w->rows.n);
    ob_put(&w->raw, w->rowidx.p, w->rowidx.n);
    size_t z = compress_micro(w);
    const uint8_t *stored = z ? w->comp.p : w->raw.p;
    size_t zlen = z ? z : w->raw.n;
    size_t more = zlen + 96 + 8 + w->lastkey_len + 5;
    if (w->micros && block_bytes(w) + more > MACRO_SIZE) {
        /* The key that ends the block is the last one of the micro block before, kept in endkeys. */
        uint8_t key[MAX_KEY];
        uint16_t n = w->lastkey_len;
        int64_t version = w->last_version;
        memcpy(key, w->lastkey, n);
        size_t prev = ld32(w->index.p + w->index.n - 4);
        w->lastkey_len = (uint16_t)(w->endkeys.n - prev);
        memcpy(w->lastkey, w->endkeys.p + prev, w->lastkey_len);
        int rows = w->micro_rows, rc = flush_block(w);
        if (rc)
            return rc;
        w->micro_rows = rows;
        w->lastkey_len = n;
        w->last_version = version;
        memcpy(w->lastkey, key, n);
    }
    ob_le32(&w->index, (uint32_t)w->data.n);
    ob_le32(&w->index, (uint32_t)w->endkeys.n);
    put_record_header(w, &w->data, w->raw.n, zlen, stored);
    ob_put(&w->data, stored, zlen);
    ob_put(&w->endkeys, w->lastkey, w->lastkey_len);
    if (w->o.multi_version) {
        ob_u8(&w->marks, 0);
        ob_le32(&w->deltas, (uint32_t)w->micro_delta);
    }
    /* Facts of the rows go to the block they end up in. */
    struct oin r = {.p = w->rowidx.p, .n = w->rowidx.n};
    for (int i = 0; i < w->micro_rows; i++) {
        uint32_t from = in_le32(&r), to = ld32(r.p + r.at);
        struct row row;
        if (!row_decode(&row, w->rows.p + from, to - from))
            return -22;
        w->d.has_uncommitted |= row.state != 0;
        if (row.version > w->d.max_version)
            w->d.max_version = row.version;
    }
    for (int i = 0; i < w->n_cols; i++)
        w->d.col_checksum[i] = wrap_add(w->d.col_checksum[i], w->micro_cc[i]);
    w->delta += w->micro_delta;
    w->block_rows += w->micro_rows;
    w->micros++;
    memset(w->micro_cc, 0, sizeof w->micro_cc);
    w->micro_rows = w->micro_delta = 0;
    w->rows.n = w->rowidx.n = 0;
    return 0;
}

int mw_add(struct macro_writer *w, const struct row *r)
{
    if (w->err || r->klen > MAX_KEY || r->vlen > 1500000)
        return w->err ? w->err : (w->err = -22);
    ob_le32(&w->rowidx, (uint32_t)w->rows.n);
    row_encode(&w->rows, r);
    if (!w->o.multi_version) {
        w->micro_cc[0] += (int64_t)ob_crc(0, r->key, r->klen);
        w->micro_cc[1] += (int64_t)ob_crc(0, r->val, r->vlen);
    }
    w->micro_delta += r->op == OP_PUT ? 1 : -1;
    w->micro_rows++;
    memcpy(w->lastkey, r->key, r->klen);
    w->lastkey_len = r->klen;
    w->last_version = r->version;
    if (w->rows.n >= w->o.micro_size)
        w->err = flush_micro(w);
    return w->err;
}

int mw_cut(struct macro_writer *w)
{
    if (!w->err)
        w->err = flush_micro(w);
    if (!w->err)
        w->err = flush_block(w);
    return w->err;
}

int mw_close(struct macro_writer *w)
{
    int rc = mw_cut(w);
    struct obuf *all[] = {&w->rows,    &w->rowidx, &w->raw,    &w->data, &w->index,
                          &w->endkeys, &w->marks,  &w->deltas, &w->comp};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ob_free(all[i]);
    free(w);
    return rc;
}

bool mi_open(struct macro_iter *it, const uint8_t *blk, size_t len)
{
    *it = (struct macro_iter){.blk = blk, .len = len, .micro = -1};
    if (len < COMMON_HDR + SST_HDR || ld32(blk + 8) != 1001 || ld32(blk + 12) != 1 || ld32(blk + 40) != 1007)
        return false;
    size_t payload = ld32(blk + 24);
    if (payload + COMMON_HDR != len || ld32(blk + 28) != (uint32_t)ob_crc(0, blk + COMMON_HDR, payload))
        return false;
    it->n_micro = (int)ld32(blk + 32 + 56);
    it->data_off = (int)ld32(blk + 32 + 64);
    it->index_off = (int)ld32(blk + 32 + 72);
    char name[97] = {0};
    memcpy(name, blk + 32 + 96, 96);
    it->comp = compressor_from(name);
    return it->comp && it->n_micro > 0 && (size_t)it->index_off + 8u * ((size_t)it->n_micro + 1) <= len &&
           it->data_off < it->index_off;
}

static bool next_micro(struct macro_iter *it)
{
    it->micro++;
    const uint8_t *ix = it->blk + it->index_off + 8 * it->micro;
    size_t from = (size_t)it->data_off + ld32(ix), to = (size_t)it->data_off + ld32(ix + 8);
    if (to > (size_t)it->index_off || from + REC_V2 > to)
        return false;
    const uint8_t *h = it->blk + from;
    size_t hlen = h[3] == 3 ? 42 + 8u * ld16(h + 40) : REC_V2;
    size_t len = ld64(h + 8), z = ld64(h + 16);
    if (ld16(h) != 1005 || from + hlen + z != to || len > (16u << 20) || ob_crc(0, h + hlen, z) != ld64(h + 24))
        return false;
    if (len == z) {
        it->cur = h + hlen;
    } else {
        if (it->buf_cap < len) {
            it->buf = xrealloc(it->buf, len);
            it->buf_cap = len;
        }
        size_t got = it->comp == C_LZ4
                         ? (size_t)LZ4_decompress_safe((const char *)h + hlen, (char *)it->buf, (int)z, (int)len)
                         : ZSTD_decompress(it->buf, len, h + hlen, z);
        if (got != len)
            return false;
        it->cur = it->buf;
    }
    it->cur_len = len;
    it->row = 0;
    it->n_rows = len >= 28 ? (int)ld32(it->cur + 24) : 0;
    return len >= 28 && ld32(it->cur + 20) + 4u * ((size_t)it->n_rows + 1) <= len;
}

int mi_next(struct macro_iter *it, struct row *r)
{
    while (it->micro < 0 || it->row == it->n_rows) {
        if (it->micro + 1 >= it->n_micro)
            return 0;
        if (!next_micro(it))
            return -1;
    }
    const uint8_t *ix = it->cur + ld32(it->cur + 20) + 4 * it->row;
    uint32_t from = ld32(ix), to = ld32(ix + 4);
    if (28 + (size_t)to > it->cur_len || from > to)
        return -1;
    it->row++;
    return row_decode(r, it->cur + 28 + from, to - from) ? 1 : -1;
}

void mi_close(struct macro_iter *it)
{
    free(it->buf);
    it->buf = NULL;
}
