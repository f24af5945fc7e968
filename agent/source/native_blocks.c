/* native_blocks.c - objects of a native tree read forward, block by block */
#include "format/media/block_stream.h"
#include "source/native.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STREAM_DATA_VERSION = 1, DATA_VERSION_AT = 4, RESERVED_AT = 12, META_RESERVED_AT = 6, META_RESERVED_LEN = 6 };

obv_code obv_native_read(const obv_native_io *io, const char *key, size_t max, obv_buf *out, obv_err *err)
{
    enum { FIRST = 8 << 10, STEP = 256 << 10 }; /* most are small */
    const size_t start = out->len;
    for (;;) {
        const size_t have = out->len - start;
        const size_t step = have == 0 ? FIRST : STEP;
        const size_t want = max - have < step ? max - have + 1 : step; /* one more shows that there is more */
        uint8_t *to = obv_buf_reserve(out, want);
        OBV_TRY(obv_buf_check(out, key, err));
        out->len -= want;
        size_t got = 0;
        OBV_TRY(io->get(io->ctx, key, have, to, want, &got, err));
        if (got > want)
            return obv_fail(err, OBV_E_INTERNAL, 0, "%s: %zu bytes where %zu were asked for", key, got, want);
        if (got > max - have)
            return obv_fail(err, OBV_E_LIMIT, 0, "more than %zu bytes", max);
        out->len += got;
        if (got < want)
            return OBV_OK;
    }
}

void obv_native_window_fini(obv_native_window *w) { free(w->bytes); }

void obv_native_window_open(obv_native_window *w, const char *key, uint64_t size)
{
    w->key = key;
    w->size = size;
    w->at = 0;
    w->len = 0;
}

/* Room for what is left of the object, or for cap bytes. */
static obv_code make_room(obv_native_window *w, uint64_t left, obv_err *err)
{
    const size_t need = left < w->cap ? (size_t)left : w->cap;
    if (need <= w->room)
        return OBV_OK;
    uint8_t *grown = realloc(w->bytes, need);
    if (!grown)
        return obv_fail(err, OBV_E_NOMEM, 0, "window of %zu bytes", need);
    w->bytes = grown;
    w->room = need;
    return OBV_OK;
}

obv_code obv_native_look(obv_native_window *w, uint64_t at, size_t want, obv_span *out, obv_err *err)
{
    obv_assert(want <= w->cap);
    const uint64_t left = at < w->size ? w->size - at : 0;
    const size_t need = left < want ? (size_t)left : want;
    if (at < w->at || at > w->at + w->len) { /* nothing of it is here */
        w->at = at;
        w->len = 0;
    }
    if (at + need > w->at + w->len) {
        const size_t keep = (size_t)(w->at + w->len - at);
        OBV_TRY(make_room(w, left, err));
        if (keep > 0)
            memmove(w->bytes, w->bytes + w->len - keep, keep);
        w->at = at;
        w->len = keep;
        const size_t ask = left - keep < w->room - keep ? (size_t)(left - keep) : w->room - keep;
        size_t got = 0;
        OBV_TRY(w->io->get(w->io->ctx, w->key, at + keep, w->bytes + keep, ask, &got, err));
        if (got < ask)
            return obv_fail(err, OBV_E_CORRUPT, 0, "ends at byte %" PRIu64 ", it was listed with %" PRIu64,
                            at + keep + got, w->size);
        w->len += got;
    }
    *out = (obv_span){need > 0 ? w->bytes + (at - w->at) : w->bytes, need};
    return OBV_OK;
}

size_t obv_native_zeros(obv_span s)
{
    size_t i = 0;
    while (i < s.len && s.p[i] == 0)
        i++;
    return i;
}

bool obv_native_header_exact(obv_span header, uint16_t data_version, size_t *at)
{
    const uint8_t version[2] = {(uint8_t)data_version, (uint8_t)(data_version >> 8)};
    for (size_t i = 0; i < sizeof version; i++)
        if (header.p[DATA_VERSION_AT + i] != version[i]) {
            *at = DATA_VERSION_AT + i;
            return false;
        }
    const size_t zeros = obv_native_zeros((obv_span){header.p + RESERVED_AT, 4});
    *at = RESERVED_AT + zeros;
    return zeros == 4;
}

bool obv_native_meta_reserved_zero(obv_span object, size_t *at)
{
    size_t header = 0;
    while (header < object.len && object.p[header] & 0x80) /* varint in front */
        header++;
    header += 1 + META_RESERVED_AT;
    if (object.len < header + META_RESERVED_LEN) {
        *at = 0;
        return false;
    }
    const size_t zeros = obv_native_zeros((obv_span){object.p + header, META_RESERVED_LEN});
    *at = header + zeros;
    return zeros == META_RESERVED_LEN;
}

static void note(obv_native_block *b, uint64_t at, const char *text)
{
    if (b->note[0])
        return; /* the first one is enough: it names the block */
    b->note_at = at;
    (void)snprintf(b->note, sizeof b->note, "%s", text);
}

/* Goes on where the next header stands, at a boundary behind damage. */
static obv_code skip_damage(obv_native_blocks *b, uint64_t from, obv_err *err)
{
    for (uint64_t at = from - from % OBV_BLOCK_ALIGN + OBV_BLOCK_ALIGN; at < b->w->size; at += OBV_BLOCK_ALIGN) {
        obv_span in;
        obv_common_header h;
        OBV_TRY(obv_native_look(b->w, at, OBV_COMMON_HEADER_LEN, &in, err));
        if (obv_common_header_parse(in, &h, NULL) == OBV_OK) {
            b->at = at;
            return OBV_OK;
        }
    }
    b->at = b->w->size;
    b->ended = true; /* no end mark is left to miss */
    return OBV_OK;
}

static obv_code damaged(obv_native_blocks *b, uint64_t at, uint64_t next, obv_err *err)
{
    obv_err why = {0};
    if (next > at)
        b->at = next;
    else if (skip_damage(b, at, &why) != OBV_OK) {
        if (err)
            *err = why;
        return why.code;
    }
    return OBV_E_CORRUPT;
}

static void judge(const obv_native_blocks *b, const obv_common_header *h, obv_span in, obv_native_block *out)
{
    const bool is_end = h->data_type == OBV_FILE_END_MARK;
    size_t at = 0;
    if (b->ours && !obv_native_header_exact(in, is_end ? 0 : STREAM_DATA_VERSION, &at))
        note(out, out->at + at, "a byte of the header that no checksum covers is not what it must be");
    const size_t bare = OBV_COMMON_HEADER_LEN + (size_t)h->stored_len;
    const obv_span padding = {in.p + bare, (size_t)h->align_len};
    at = obv_native_zeros(padding);
    if (at < padding.len)
        note(out, out->at + bare + at, "padding is not zero");
    if (out->total % OBV_BLOCK_ALIGN != 0 || h->align_len >= OBV_BLOCK_ALIGN)
        note(out, out->at, "the block does not end at the next multiple of 4096");
    if (is_end && h->data_len != 0)
        note(out, out->at, "an end mark with data");
}

obv_code obv_native_blocks_next(obv_native_blocks *b, obv_native_block *out, obv_err *err)
{
    *out = (obv_native_block){.at = b->at};
    if (b->at >= b->w->size) {
        if (b->ended)
            return obv_fail(err, OBV_E_NOT_FOUND, 0, "no more blocks");
        b->ended = true;
        return obv_fail(err, OBV_E_CORRUPT, 0, "no end mark: the file was not finished, or is cut");
    }
    if (b->ended) {
        b->at = b->w->size;
        return obv_fail(err, OBV_E_CORRUPT, 0, "%" PRIu64 " bytes behind the end mark", b->w->size - out->at);
    }
    obv_span in;
    obv_common_header h;
    size_t total = 0;
    OBV_TRY(obv_native_look(b->w, b->at, OBV_COMMON_HEADER_LEN, &in, err));
    if (obv_common_header_parse(in, &h, err) != OBV_OK)
        return damaged(b, b->at, 0, err);
    if (h.data_type != b->data_type && h.data_type != OBV_FILE_END_MARK) {
        (void)obv_fail(err, OBV_E_CORRUPT, 0, "block of type %u, not %u", h.data_type, b->data_type);
        return damaged(b, b->at, 0, err);
    }
    if (h.stored_len > OBV_META_BLOCK_MAX - OBV_COMMON_HEADER_LEN || h.align_len > OBV_BLOCK_ALIGN) {
        (void)obv_fail(err, OBV_E_CORRUPT, 0, "block of %" PRIu64 " + %" PRIu64 " bytes", h.stored_len, h.align_len);
        return damaged(b, b->at, 0, err);
    }
    out->total = OBV_COMMON_HEADER_LEN + h.stored_len + h.align_len;
    OBV_TRY(obv_native_look(b->w, b->at, (size_t)out->total, &in, err));
    if (obv_common_block_parse(in, &h, &out->payload, &total, err) != OBV_OK)
        return damaged(b, b->at, in.len == out->total ? b->at + out->total : 0, err);
    judge(b, &h, in, out);
    b->at += out->total;
    if (h.data_type == OBV_FILE_END_MARK) {
        b->ended = true;
        out->payload = (obv_span){NULL, 0};
    } else {
        b->count++;
    }
    return OBV_OK;
}
