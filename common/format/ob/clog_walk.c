#include "format/ob/clog_walk.h"

#define STALE_US (2 * INT64_C(1000000)) /* a block so much older than the one before it is of an earlier life */

/* One entry at the start of @p in; *stored: its bytes there. */
static obv_code read_entry(obv_span in, obv_buf *unpack, obv_clog_entry *e, uint32_t *stored, obv_err *err)
{
    obv_span plain = in;
    if (obv_clog_is_compressed(in)) {
        obv_clog_compressed c;
        OBV_TRY(obv_clog_compressed_parse(in, &c, err));
        unpack->len = 0;
        uint8_t *raw = obv_buf_reserve(unpack, c.raw_len);
        OBV_TRY(obv_buf_check(unpack, "compressed clog entry", err));
        OBV_TRY(obv_clog_decompress(
            &c, obv_span_of(in.p + OBV_CLOG_COMPRESSED_HEADER, in.len - OBV_CLOG_COMPRESSED_HEADER), raw, err));
        plain = obv_span_of(raw, c.raw_len);
        *stored = OBV_CLOG_COMPRESSED_HEADER + c.stored_len;
    }
    OBV_TRY(obv_clog_entry_parse(plain, e, err));
    if (plain.p == in.p)
        *stored = OBV_CLOG_ENTRY_HEADER + e->data_len;
    else if (plain.len != OBV_CLOG_ENTRY_HEADER + (size_t)e->data_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed clog entry: %zu bytes of %u", plain.len,
                        OBV_CLOG_ENTRY_HEADER + e->data_len);
    return obv_clog_entry_check_data(e, obv_span_of(plain.p + OBV_CLOG_ENTRY_HEADER, plain.len - OBV_CLOG_ENTRY_HEADER),
                                     err);
}

/* All entries of a block's data; shown only with fn. */
static obv_code read_entries(obv_span data, uint32_t at, obv_buf *unpack, obv_clog_entry_fn *fn, void *ctx,
                             obv_err *err)
{
    for (size_t done = 0; done < data.len;) {
        obv_clog_entry e;
        uint32_t stored = 0;
        OBV_TRY(read_entry(obv_span_of(data.p + done, data.len - done), unpack, &e, &stored, err));
        if (stored > data.len - done)
            return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry of %u bytes in %zu", stored, data.len - done);
        if (fn)
            fn(ctx, &e, at + (uint32_t)done, stored);
        done += stored;
    }
    return OBV_OK;
}

static bool is_stale(const obv_clog_place *place, const obv_clog_block *b)
{
    return place->last_ts != 0 && b->timestamp < place->last_ts - STALE_US;
}

/* A padding entry: permanent only in front of the info block. */
static obv_clog_stop behind_padding(const obv_clog_place *place, obv_span in)
{
    uint32_t size;
    obv_clog_block b;
    if (obv_clog_padding_parse(in, &size, NULL) != OBV_OK)
        return OBV_CLOG_STOP_TAIL;
    if (in.len < size + OBV_CLOG_BLOCK_HEADER)
        return OBV_CLOG_STOP_MORE;
    const bool info = obv_clog_block_parse(obv_span_of(in.p + size, in.len - size), &b, NULL) == OBV_OK &&
                      b.type == OBV_CLOG_INFO && !is_stale(place, &b);
    return info ? OBV_CLOG_STOP_FINISHED : OBV_CLOG_STOP_TAIL;
}

obv_code obv_clog_walk(obv_clog_place *place, obv_span bytes, obv_buf *unpack, obv_clog_entry_fn *fn, void *ctx,
                       obv_clog_stop *stop, obv_err *err)
{
    for (size_t done = 0;;) {
        const obv_span in = obv_span_of(bytes.p + done, bytes.len - done);
        obv_clog_block b;
        *stop = OBV_CLOG_STOP_MORE;
        if (in.len < OBV_CLOG_BLOCK_HEADER)
            return OBV_OK;
        *stop = OBV_CLOG_STOP_TAIL;
        const enum obv_clog_mark mark = obv_clog_mark_of(in);
        if (mark == OBV_CLOG_MARK_PADDING)
            *stop = behind_padding(place, in);
        if (mark != OBV_CLOG_MARK_BLOCK || obv_clog_block_parse(in, &b, NULL) != OBV_OK || is_stale(place, &b))
            return OBV_OK;
        if (b.type == OBV_CLOG_INFO) {
            *stop = OBV_CLOG_STOP_FINISHED;
            return OBV_OK;
        }
        const uint32_t length = b.type == OBV_CLOG_HEADER ? b.total_len : obv_clog_block_end(&b);
        if (length > OBV_CLOG_TRAILER_AT - (place->offset < OBV_CLOG_TRAILER_AT ? place->offset : OBV_CLOG_TRAILER_AT))
            return OBV_OK;
        if (in.len < length) {
            *stop = OBV_CLOG_STOP_MORE;
            return OBV_OK;
        }
        if (b.type == OBV_CLOG_DATA) {
            const obv_span data = obv_span_of(in.p + OBV_CLOG_BLOCK_HEADER, b.data_len);
            const uint32_t at = place->offset + OBV_CLOG_BLOCK_HEADER;
            obv_err torn = {0};
            const obv_code whole = read_entries(data, at, unpack, NULL, NULL, &torn);
            if (whole == OBV_E_NOMEM)
                return obv_fail(err, OBV_E_NOMEM, 0, "clog block");
            if (whole != OBV_OK)
                return OBV_OK;
            OBV_TRY(read_entries(data, at, unpack, fn, ctx, err));
        }
        place->last_ts = b.timestamp;
        place->offset += length;
        done += length;
    }
}
