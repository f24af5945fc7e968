#include "format/media/macro_index.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"

#include <inttypes.h>

enum { DATA_VERSION = 1 };

/* ---- one macroblock as one block */

obv_code obv_macro_frame_make(obv_span meta, obv_span data, obv_buf *head, obv_buf *tail, obv_macro_frame *out,
                              obv_err *err)
{
    if (meta.len > OBV_MACRO_META_MAX || data.len > OBV_MACRO_BLOCK_SIZE || data.len == 0)
        return obv_fail(err, OBV_E_LIMIT, 0, "macroblock of %zu bytes with %zu bytes of meta", data.len, meta.len);
    const size_t head_at = head->len;
    const size_t tail_at = tail->len;
    const size_t strings = obv_vu64_len(meta.len) + meta.len + 1 + obv_vu64_len(data.len) + data.len + 1;
    const size_t payload_len = obv_unis_header_len(1) + strings;
    const size_t bare = OBV_COMMON_HEADER_LEN + payload_len;
    const size_t padding = (OBV_BLOCK_ALIGN - bare % OBV_BLOCK_ALIGN) % OBV_BLOCK_ALIGN;

    /* the header holds the checksum of what follows it: make the part before the data first */
    obv_buf_append_zeros(head, OBV_COMMON_HEADER_LEN);
    const size_t payload_at = head->len;
    obv_put_unis_header(head, 1, strings);
    obv_put_vstr(head, meta);
    obv_put_vu64(head, data.len);
    OBV_TRY(obv_buf_check(head, "macroblock head", err));

    const uint8_t nul = 0;
    uint64_t crc = obv_crc64(0, (obv_span){head->data + payload_at, head->len - payload_at});
    crc = obv_crc64(crc, data);
    crc = obv_crc64(crc, (obv_span){&nul, 1});
    const obv_common_header h = {.data_type = OBV_FILE_MACRO_DATA,
                                 .data_version = DATA_VERSION,
                                 .data_len = payload_len,
                                 .stored_len = payload_len,
                                 .data_checksum = crc,
                                 .align_len = padding};
    obv_buf header = obv_buf_fixed(head->data + head_at, OBV_COMMON_HEADER_LEN);
    obv_put_common_header(&header, &h);

    obv_buf_append_zeros(tail, 1 + padding);
    OBV_TRY(obv_buf_check(tail, "macroblock tail", err));
    *out = (obv_macro_frame){.head_len = head->len - head_at, .tail_len = tail->len - tail_at, .total = bare + padding};
    return OBV_OK;
}

obv_code obv_macro_frame_parse(obv_span block, obv_span *meta, obv_span *data, obv_err *err)
{
    obv_common_header h;
    obv_span payload;
    size_t total = 0;
    OBV_TRY(obv_common_block_parse(block, &h, &payload, &total, err));
    if (h.data_type != OBV_FILE_MACRO_DATA || total != block.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock file: a block of type %u and %zu bytes, not %zu",
                        h.data_type, total, block.len);
    obv_rd r = obv_rd_of(payload);
    obv_rd body = obv_rd_unis(&r, 1);
    const obv_span m = obv_rd_vstr(&body);
    const obv_span d = obv_rd_vstr(&body);
    r.bad |= body.bad;
    OBV_TRY(obv_rd_done(&r, "macroblock record", err));
    *meta = m;
    *data = d;
    return OBV_OK;
}

/* ---- index files */

obv_macro_index_writer obv_macro_index_writer_of(void)
{
    return (obv_macro_index_writer){.blocks = obv_block_writer_of(OBV_FILE_MACRO_INDEX)};
}

void obv_macro_index_writer_fini(obv_macro_index_writer *w) { obv_block_writer_fini(&w->blocks); }

static obv_code check_complete(const obv_macro_index_writer *w, obv_err *err)
{
    if (w->expect != w->total)
        return obv_fail(err, OBV_E_INTERNAL, 0, "macroblock index: %" PRIu64 " entries of %" PRIu64, w->expect,
                        w->total);
    return OBV_OK;
}

static obv_code add(obv_macro_index_writer *w, obv_buf *object, obv_buf *out, obv_err *err)
{
    const obv_code made = obv_buf_check(object, "macroblock index", err);
    const obv_code added =
        made == OBV_OK ? obv_block_writer_add(&w->blocks, obv_buf_span(object), out, NULL, err) : made;
    obv_buf_fini(object);
    return added;
}

obv_code obv_macro_index_table(obv_macro_index_writer *w, obv_span table_key, uint64_t total, obv_buf *out,
                               obv_err *err)
{
    OBV_TRY(check_complete(w, err));
    w->expect = 0;
    w->total = total;
    if (total == 0)
        return OBV_OK;
    obv_buf object = obv_buf_heap(OBV_INDEX_BLOCK_MAX);
    const size_t mark = obv_unis_begin(&object, 1);
    obv_put_span(&object, table_key);
    obv_put_vu64(&object, total);
    obv_unis_end(&object, mark);
    return add(w, &object, out, err);
}

/* OceanBase's own rule, on both ways. */
static bool is_valid(const obv_macro_entry *e)
{
    return e->data_version >= 0 && e->data_seq >= 0 && e->set_id > 0 && e->sub_task >= 0 && e->offset <= INT64_MAX &&
           e->len > 0 && e->len <= INT64_MAX;
}

obv_code obv_macro_index_entry(obv_macro_index_writer *w, const obv_macro_entry *e, obv_buf *out, obv_err *err)
{
    if (e->index != w->expect || e->index >= w->total)
        return obv_fail(err, OBV_E_INTERNAL, 0,
                        "macroblock index: entry %" PRIu64 " where %" PRIu64 " of %" PRIu64 " was due", e->index,
                        w->expect, w->total);
    if (!is_valid(e))
        return obv_fail(err, OBV_E_INTERNAL, 0, "macroblock index: entry %" PRIu64 " is not valid", e->index);
    uint8_t room[96];
    obv_buf object = obv_buf_fixed(room, sizeof room);
    const size_t mark = obv_unis_begin(&object, 1);
    obv_put_vu64(&object, e->index);
    obv_put_vi64(&object, e->data_version);
    obv_put_vi64(&object, e->data_seq);
    obv_put_vi64(&object, e->set_id);
    obv_put_vi64(&object, e->sub_task);
    obv_put_vu64(&object, e->offset);
    obv_put_vu64(&object, e->len);
    obv_unis_end(&object, mark);
    OBV_TRY(add(w, &object, out, err));
    w->expect++;
    return OBV_OK;
}

obv_code obv_macro_index_flush(obv_macro_index_writer *w, obv_buf *out, obv_err *err)
{
    return obv_block_writer_flush(&w->blocks, out, err);
}

obv_code obv_macro_index_end(obv_macro_index_writer *w, obv_buf *out, obv_err *err)
{
    OBV_TRY(check_complete(w, err));
    return obv_block_writer_end(&w->blocks, out, err);
}

/* Where the reader is in the sequence of keys and entries, which goes on across blocks. */
typedef struct place {
    uint64_t expect, total;
} place;

static obv_code read_key(obv_rd *r, const obv_macro_index_visitor *v, place *at, obv_err *err)
{
    obv_rd info = obv_rd_unis(r, 1);
    obv_rd raw = info;
    obv_table_key key;
    const obv_span bytes = obv_rd_unis_span(&raw, 1);
    obv_rd_table_key(&info, &key);
    const uint64_t total = obv_rd_vu64(&info);
    r->bad |= info.bad || raw.bad;
    OBV_TRY(obv_rd_check(r, "table key of an index file", err));
    if (total == 0 || total > INT32_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "index file: a table of %" PRIu64 " blocks", total);
    *at = (place){.total = total};
    if (v->table && v->table(v->ctx, &key, bytes, total) != 0)
        return obv_fail(err, OBV_E_CANCELLED, 0, "index file: stopped by the reader");
    return OBV_OK;
}

static obv_code read_entry(obv_rd *r, const obv_macro_index_visitor *v, place *at, obv_err *err)
{
    obv_rd b = obv_rd_unis(r, 1);
    obv_macro_entry e;
    e.index = obv_rd_vu64(&b);
    e.data_version = obv_rd_vi64(&b);
    e.data_seq = obv_rd_vi64(&b);
    e.set_id = obv_rd_vi64(&b);
    e.sub_task = obv_rd_vi64(&b);
    e.offset = obv_rd_vu64(&b);
    e.len = obv_rd_vu64(&b);
    r->bad |= b.bad;
    OBV_TRY(obv_rd_check(r, "entry of an index file", err));
    if (e.index != at->expect)
        return obv_fail(err, OBV_E_CORRUPT, 0, "index file: entry %" PRIu64 " where %" PRIu64 " was due", e.index,
                        at->expect);
    if (!is_valid(&e))
        return obv_fail(err, OBV_E_CORRUPT, 0, "index file: entry %" PRIu64 " is not valid", e.index);
    at->expect++;
    if (v->entry && v->entry(v->ctx, &e) != 0)
        return obv_fail(err, OBV_E_CANCELLED, 0, "index file: stopped by the reader");
    return OBV_OK;
}

obv_code obv_macro_index_each(obv_span file, const obv_macro_index_visitor *v, obv_err *err)
{
    obv_block_reader blocks = obv_block_reader_of(file);
    place at = {0};
    obv_span payload;
    uint64_t payload_at = 0;
    obv_code code;
    while ((code = obv_block_next(&blocks, OBV_FILE_MACRO_INDEX, &payload, &payload_at, err)) == OBV_OK) {
        obv_rd r = obv_rd_of(payload);
        while (obv_rd_left(&r) > 0)
            OBV_TRY(at.expect == at.total ? read_key(&r, v, &at, err) : read_entry(&r, v, &at, err));
    }
    if (code != OBV_E_NOT_FOUND)
        return code;
    if (at.expect != at.total)
        return obv_fail(err, OBV_E_CORRUPT, 0, "index file: ends after %" PRIu64 " of %" PRIu64 " entries of a table",
                        at.expect, at.total);
    return OBV_OK;
}
