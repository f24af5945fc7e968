#include "format/media/block_stream.h"

#include "base/crc32c.h"

enum { STREAM_DATA_VERSION = 1 };

static size_t padding_of(size_t len) { return (OBV_BLOCK_ALIGN - len % OBV_BLOCK_ALIGN) % OBV_BLOCK_ALIGN; }

obv_block_writer obv_block_writer_of(uint16_t data_type)
{
    const bool is_index = data_type == OBV_FILE_META_INDEX || data_type == OBV_FILE_MACRO_INDEX;
    const uint32_t max = is_index ? OBV_INDEX_BLOCK_MAX : OBV_META_BLOCK_MAX;
    return (obv_block_writer){
        .data_type = data_type, .block_max = max, .payload = obv_buf_heap(max - OBV_COMMON_HEADER_LEN)};
}

void obv_block_writer_fini(obv_block_writer *w) { obv_buf_fini(&w->payload); }

obv_code obv_block_writer_flush(obv_block_writer *w, obv_buf *out, obv_err *err)
{
    if (w->payload.len == 0)
        return OBV_OK;
    const obv_span payload = obv_buf_span(&w->payload);
    const size_t bare = OBV_COMMON_HEADER_LEN + payload.len;
    const obv_common_header h = {.data_type = w->data_type,
                                 .data_version = STREAM_DATA_VERSION,
                                 .data_len = payload.len,
                                 .stored_len = payload.len,
                                 .data_checksum = obv_crc64(0, payload),
                                 .align_len = padding_of(bare)};
    obv_put_common_header(out, &h);
    obv_buf_append(out, payload.p, payload.len);
    obv_buf_append_zeros(out, h.align_len);
    OBV_TRY(obv_buf_check(out, "block stream", err));
    w->file_len += bare + h.align_len;
    w->payload.len = 0;
    return OBV_OK;
}

obv_code obv_block_writer_add(obv_block_writer *w, obv_span object, obv_buf *out, uint64_t *at, obv_err *err)
{
    const size_t room = w->block_max - OBV_COMMON_HEADER_LEN;
    if (object.len > room)
        return obv_fail(err, OBV_E_LIMIT, 0, "block stream: an object of %zu bytes, at most %zu fit", object.len, room);
    if (object.len > room - w->payload.len)
        OBV_TRY(obv_block_writer_flush(w, out, err));
    if (at)
        *at = w->file_len + OBV_COMMON_HEADER_LEN + w->payload.len;
    obv_buf_append(&w->payload, object.p, object.len);
    return obv_buf_check(&w->payload, "block stream", err);
}

void obv_put_end_mark(obv_buf *b)
{
    const obv_common_header h = {.data_type = OBV_FILE_END_MARK, .align_len = OBV_BLOCK_ALIGN - OBV_COMMON_HEADER_LEN};
    obv_put_common_header(b, &h);
    obv_buf_append_zeros(b, h.align_len);
}

obv_code obv_block_writer_end(obv_block_writer *w, obv_buf *out, obv_err *err)
{
    OBV_TRY(obv_block_writer_flush(w, out, err));
    obv_put_end_mark(out);
    w->file_len += OBV_BLOCK_ALIGN;
    return obv_buf_check(out, "block stream", err);
}

obv_code obv_block_next(obv_block_reader *r, uint16_t data_type, obv_span *payload, uint64_t *payload_at, obv_err *err)
{
    if (r->ended || r->at == r->file.len)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "block stream: no more blocks");
    obv_common_header h;
    size_t total = 0;
    obv_span body;
    const obv_span rest = {r->file.p + r->at, r->file.len - r->at};
    const obv_code code = obv_common_block_parse(rest, &h, &body, &total, err);
    if (code != OBV_OK) {
        (void)!obv_wrap(err, "block at byte %zu", r->at); /* err may be NULL: the code is told all the same */
        return code;
    }
    if (h.data_type == OBV_FILE_END_MARK) {
        r->ended = true;
        r->at += total;
        if (h.data_len != 0)
            return obv_fail(err, OBV_E_CORRUPT, 0, "block stream: an end mark with data");
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "block stream: no more blocks");
    }
    if (h.data_type != data_type)
        return obv_fail(err, OBV_E_CORRUPT, 0, "block at byte %zu: type %u, not %u", r->at, h.data_type, data_type);
    *payload = body;
    *payload_at = r->at + OBV_COMMON_HEADER_LEN;
    r->at += total;
    return OBV_OK;
}
