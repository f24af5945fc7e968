/* archive_block.c - headers and payloads of archive data blocks */
#include "format/media/archive_block.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"

#include <lz4.h>
#include <zstd.h>

#define MAGIC_BLOCK 0x4142u
#define MAGIC_CHUNK 0x4343u
#define MAGIC_ENTRY 0x4552u
#define BLOCK_VERSION 1u
#define CHUNK_VERSION 1u
#define ZSTD_LEVEL 1

/* The words behind total_len, in the order of header and image. */
enum { WORDS = 11 };
static void words_of(const obv_archive_block *b, uint64_t w[WORDS])
{
    w[0] = (uint64_t)b->timestamp;
    w[1] = (uint64_t)b->clog_epoch_id;
    w[2] = (uint64_t)b->accum;
    w[3] = b->min_log_id_in_file;
    w[4] = (uint64_t)b->min_log_ts_in_file;
    w[5] = b->max_log_id;
    w[6] = (uint64_t)b->max_checkpoint_ts;
    w[7] = (uint64_t)b->max_log_submit_ts;
    w[8] = 0; /* input and output bytes: never filled by OceanBase */
    w[9] = 0;
    w[10] = (uint64_t)b->data_checksum;
}

static uint64_t image_checksum(uint16_t magic, uint16_t version, uint32_t total, const uint64_t w[WORDS])
{
    uint8_t image[OBV_ARCHIVE_BLOCK_HEADER - 8];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&b, magic);
    obv_put_le16(&b, version);
    obv_put_le32(&b, total);
    for (unsigned i = 0; i < WORDS; i++)
        obv_put_le64(&b, w[i]);
    return obv_crc64(0, obv_buf_span(&b));
}

obv_code obv_archive_block_parse(obv_span in, obv_archive_block *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), version = obv_rd_be16(&r);
    const uint32_t total = obv_rd_be32(&r);
    uint64_t w[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        w[i] = obv_rd_be64(&r);
    const uint64_t checksum = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "archive block header", err));
    if (magic != MAGIC_BLOCK || version != BLOCK_VERSION)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive block: magic %04x version %u", magic, version);
    if (image_checksum(magic, version, total, w) != checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive block: header checksum differs");
    if (total <= OBV_ARCHIVE_BLOCK_HEADER || total > OBV_ARCHIVE_MAX_BLOCK)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive block: length %u", total);
    *out = (obv_archive_block){
        .total_len = total,
        .timestamp = (int64_t)w[0],
        .clog_epoch_id = (int64_t)w[1],
        .accum = (int64_t)w[2],
        .min_log_id_in_file = w[3],
        .min_log_ts_in_file = (int64_t)w[4],
        .max_log_id = w[5],
        .max_checkpoint_ts = (int64_t)w[6],
        .max_log_submit_ts = (int64_t)w[7],
        .data_checksum = (int64_t)w[10],
    };
    return OBV_OK;
}

void obv_archive_block_emit(obv_archive_block *b, obv_span payload, uint32_t at, obv_buf *out)
{
    obv_assert(payload.len > 0 && payload.len <= OBV_ARCHIVE_MAX_BLOCK - OBV_ARCHIVE_BLOCK_HEADER);
    b->total_len = OBV_ARCHIVE_BLOCK_HEADER + (uint32_t)payload.len;
    b->data_checksum = (int64_t)obv_crc64(0, payload);
    uint64_t w[WORDS];
    words_of(b, w);
    obv_put_be16(out, MAGIC_BLOCK);
    obv_put_be16(out, BLOCK_VERSION);
    obv_put_be32(out, b->total_len);
    for (unsigned i = 0; i < WORDS; i++)
        obv_put_be64(out, w[i]);
    obv_put_be64(out, image_checksum(MAGIC_BLOCK, BLOCK_VERSION, b->total_len, w));
    obv_put_span(out, payload);
    obv_put_be32(out, at);
}

/* Compressed bytes of raw into dst of cap bytes; 0 = does not fit in cap. */
static size_t compress(enum obv_archive_compressor c, obv_span raw, uint8_t *dst, size_t cap)
{
    if (c == OBV_ARCHIVE_LZ4) {
        const int n = LZ4_compress_default((const char *)raw.p, (char *)dst, (int)raw.len, (int)cap);
        return n > 0 ? (size_t)n : 0;
    }
    const size_t n = ZSTD_compress(dst, cap, raw.p, raw.len, ZSTD_LEVEL);
    return ZSTD_isError(n) ? 0 : n;
}

obv_code obv_archive_payload_pack(enum obv_archive_compressor compressor, obv_span entries, obv_buf *payload,
                                  obv_err *err)
{
    if (entries.len == 0 || entries.len > OBV_ARCHIVE_MAX_RAW)
        return obv_fail(err, OBV_E_INVAL, 0, "archive block of %zu bytes", entries.len);
    if (compressor == OBV_ARCHIVE_NONE || entries.len <= OBV_ARCHIVE_CHUNK_HEADER) {
        obv_put_span(payload, entries);
        return obv_buf_check(payload, "archive block", err);
    }
    if (compressor != OBV_ARCHIVE_LZ4 && compressor != OBV_ARCHIVE_ZSTD)
        return obv_fail(err, OBV_E_INVAL, 0, "archive compressor %d", (int)compressor);
    const size_t start = payload->len;
    uint8_t *room = obv_buf_reserve(payload, OBV_ARCHIVE_CHUNK_HEADER + entries.len);
    OBV_TRY(obv_buf_check(payload, "archive block", err));
    const size_t n =
        compress(compressor, entries, room + OBV_ARCHIVE_CHUNK_HEADER, entries.len - OBV_ARCHIVE_CHUNK_HEADER);
    payload->len = start; /* what was reserved beyond the result is given back */
    if (n == 0) {
        obv_put_span(payload, entries);
    } else {
        obv_put_be16(payload, MAGIC_CHUNK);
        obv_put_be16(payload, CHUNK_VERSION);
        obv_put_be32(payload, (uint32_t)compressor);
        obv_put_be32(payload, (uint32_t)entries.len);
        obv_put_be32(payload, (uint32_t)n);
        payload->len += n; /* already in place */
    }
    return obv_buf_check(payload, "archive block", err);
}

static obv_code unpack_chunk(obv_span payload, obv_buf *scratch, obv_span *entries, obv_err *err)
{
    obv_rd r = obv_rd_of(payload);
    (void)obv_rd_be16(&r);
    const uint16_t version = obv_rd_be16(&r);
    const uint32_t compressor = obv_rd_be32(&r), raw = obv_rd_be32(&r), stored = obv_rd_be32(&r);
    const obv_span data = obv_rd_bytes(&r, stored);
    OBV_TRY(obv_rd_done(&r, "archive chunk", err));
    if (version != CHUNK_VERSION || (compressor != OBV_ARCHIVE_LZ4 && compressor != OBV_ARCHIVE_ZSTD))
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "archive chunk: version %u compressor %u", version, compressor);
    if (raw == 0 || raw > OBV_ARCHIVE_MAX_RAW)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive chunk: %u raw bytes", raw);
    scratch->len = 0;
    uint8_t *dst = obv_buf_reserve(scratch, raw);
    OBV_TRY(obv_buf_check(scratch, "archive chunk", err));
    size_t got = SIZE_MAX;
    if (compressor == OBV_ARCHIVE_LZ4) {
        const int n = LZ4_decompress_safe((const char *)data.p, (char *)dst, (int)data.len, (int)raw);
        if (n >= 0)
            got = (size_t)n;
    } else {
        got = ZSTD_decompress(dst, raw, data.p, data.len);
    }
    if (got != raw)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive chunk: does not unpack to %u bytes", raw);
    *entries = obv_span_of(dst, raw);
    return OBV_OK;
}

obv_code obv_archive_payload_unpack(obv_span payload, obv_buf *scratch, obv_span *entries, obv_err *err)
{
    obv_rd r = obv_rd_of(payload);
    const uint16_t magic = obv_rd_be16(&r);
    OBV_TRY(obv_rd_check(&r, "archive block payload", err));
    if (magic == MAGIC_CHUNK)
        return unpack_chunk(payload, scratch, entries, err);
    if (magic != MAGIC_ENTRY)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "archive block payload: magic %04x", magic);
    *entries = payload;
    return OBV_OK;
}

/* ---- kickoff */

#define KICKOFF_FREEZE_VERSION 1

void obv_archive_kickoff_emit(const obv_pg_key *pg, const obv_archive_base *s, int64_t checkpoint_ts, int64_t now_us,
                              obv_buf *out)
{
    uint8_t body[64];
    obv_buf b = obv_buf_fixed(body, sizeof body);
    const size_t mark = obv_unis_begin(&b, 1);
    obv_put_vi32(&b, 1);
    obv_put_vi64(&b, checkpoint_ts);
    obv_put_vi64(&b, s->start_ts);
    obv_put_vi64(&b, s->snapshot_version);
    obv_unis_end(&b, mark);
    obv_assert(!b.failed);
    const obv_clog_entry e = {
        .type = OBV_ENTRY_ARCHIVE_KICKOFF,
        .pg = *pg,
        .log_id = s->start_log_id,
        .data_len = (uint32_t)b.len,
        .generation_ts = now_us,
        .proposal_ts = -1,
        .submit_ts = s->log_submit_ts,
        .data_checksum = (int64_t)obv_crc64(0, obv_buf_span(&b)),
        .freeze_version = KICKOFF_FREEZE_VERSION,
    };
    obv_clog_entry_emit(&e, out);
    obv_put_span(out, obv_buf_span(&b));
}

obv_code obv_archive_kickoff_parse(const obv_clog_entry *e, obv_span data, obv_archive_kickoff *out, obv_err *err)
{
    if (e->type != OBV_ENTRY_ARCHIVE_KICKOFF || data.len < e->data_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive kickoff: entry type %d", (int)e->type);
    obv_rd r = obv_rd_of(obv_span_of(data.p, e->data_len));
    obv_rd body = obv_rd_unis(&r, 1);
    const int32_t version = obv_rd_vi32(&body);
    obv_archive_kickoff k = {.start_log_id = e->log_id, .log_submit_ts = e->submit_ts};
    k.checkpoint_ts = obv_rd_vi64(&body);
    k.start_ts = obv_rd_vi64(&body);
    k.snapshot_version = obv_rd_vi64(&body);
    OBV_TRY(obv_rd_check(&body, "archive kickoff", err));
    OBV_TRY(obv_rd_done(&r, "archive kickoff", err));
    if (version != 1 || k.start_log_id == 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive kickoff: version %d, log %llu", version,
                        (unsigned long long)k.start_log_id);
    *out = k;
    return OBV_OK;
}
