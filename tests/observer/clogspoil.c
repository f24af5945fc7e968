/* clogspoil.c - how one host stores a log: compressed, or damaged on purpose (verb spoil) */
#include "clogw.h"

#include <string.h>

#include <lz4.h>
#include <zstd.h>

#define CHECKSUM_AT 81u /* data_checksum in an entry header */

/* Where a byte may change so that the body stays readable: the first value of a redo, else a low byte near the end. */
static size_t soft_byte(const struct log_entry *e)
{
    uint32_t type = e->type & ~LOG_TRANS_BIT;
    size_t at = type == LOG_AGGRE ? 12 : 0, end = e->data_len;
    if (e->type & LOG_TRANS_BIT && at + 37 < end) {
        uint64_t kind = ldbe64(e->data + at), klen = ldbe32(e->data + at + 29), vlen = ldbe32(e->data + at + 33);
        if (kind < 16 && kind & TX_REDO && vlen && at + 37 + klen < end)
            return at + 37 + klen;
    }
    return end > 8 ? end - 8 : end - 1;
}

/* The change of the accumulated checksum: the register is linear in what is fed to it. */
static uint64_t delta_of(uint64_t right, uint64_t own) { return ob_crc(0, &right, 8) ^ ob_crc(0, &own, 8); }

static void spoilt(const struct bus_rec *r, int how, struct obuf *out, struct place *at)
{
    struct log_entry e;
    size_t used, from = out->n;
    const uint8_t *p = (const uint8_t *)(r + 1);
    if (!dec_entry(&e, p, r->entry_len, &used) || !e.data_len) {
        ob_put(out, p, r->entry_len);
        return;
    }
    if (how == SPOIL_BYTES) {
        ob_put(out, p, r->entry_len);
        out->p[from + ENTRY_HDR + e.data_len / 2] ^= 0x10;
        return;
    }
    uint8_t *data = xmalloc(e.data_len);
    memcpy(data, e.data, e.data_len);
    data[soft_byte(&e)] ^= 1;
    e.data = data;
    enc_entry(out, &e);
    if (how == SPOIL_ENTRY_OWN)
        at->accum_delta = delta_of(ldbe64(p + CHECKSUM_AT), ldbe64(out->p + from + CHECKSUM_AT));
    free(data);
}

/* ObCompressedLogEntry: 10 bytes of head, then the whole entry compressed. */
static void compressed(int method, struct obuf *out, size_t from, struct place *at)
{
    size_t n = out->n - from, cap = ZSTD_compressBound(n) + (size_t)LZ4_compressBound((int)n), got;
    uint8_t *z = xmalloc(cap);
    if (method == 2) {
        int k = LZ4_compress_default((const char *)out->p + from, (char *)z, (int)n, (int)cap);
        got = k > 0 ? (size_t)k : cap;
    } else {
        got = ZSTD_compress(z, cap, out->p + from, n, 1);
    }
    if (got < n) { /* an error is a very great number */
        out->n = from;
        ob_be16(out, (uint16_t)(0x4300 + method));
        ob_be32(out, (uint32_t)n);
        ob_be32(out, (uint32_t)got);
        ob_put(out, z, got);
    }
    at->size = (uint32_t)(out->n - from);
    free(z);
}

void clog_stored(struct host *h, const struct bus_rec *r, struct obuf *data, struct place *at)
{
    struct shm_rep *rep = my_rep(h, r->pg);
    size_t from = data->n;
    int how = r->kind == BUS_LOG ? rep->spoil : SPOIL_NONE, method = (int)h->knob.clog_compress;
    if (how >= SPOIL_BLOCK && how <= SPOIL_ENTRY_OWN) {
        at->bad_block = how == SPOIL_BLOCK;
        if (at->bad_block)
            ob_put(data, r + 1, r->entry_len);
        else
            spoilt(r, how, data, at);
        rep->spoilt_id = r->log_id;
        rep->spoil = SPOIL_NONE;
    } else {
        ob_put(data, r + 1, r->entry_len);
    }
    if (method >= 1 && method <= 3 && r->log_id % 4) /* now and then a plain one between them */
        compressed(method, data, from, at);
}

bool cursor_spoil(struct host *h, struct place *at, int64_t *accum, int64_t *submit_ts)
{
    static const uint64_t ZERO;
    struct shm_rep *rep = my_rep(h, at->pg);
    int how = rep->spoil;
    if (at->log_id > rep->accum_id) { /* a restart sees logs again */
        rep->accum_delta = ob_crc(rep->accum_delta, &ZERO, 8) ^ at->accum_delta;
        rep->accum_id = at->log_id;
    }
    *accum ^= (int64_t)rep->accum_delta;
    if (how < SPOIL_ACCUM)
        return true;
    rep->spoilt_id = at->log_id;
    rep->spoil = SPOIL_NONE;
    if (how == SPOIL_ACCUM)
        *accum ^= 0x55;
    else if (how == SPOIL_OFFSET)
        at->off += 8;
    else if (how == SPOIL_SIZE)
        at->size++;
    else if (how == SPOIL_TS)
        ++*submit_ts;
    return how != SPOIL_CURSOR;
}
