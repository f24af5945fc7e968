/* clog_block.c - blocks, padding entries, info block and trailer of a clog file */
#include "format/ob/clog_block.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"
#include "format/ob/keys.h"

#define MAGIC_BLOCK 0x4c42u
#define MAGIC_PADDING 0x5044u
#define MAGIC_FRESH 0x4e4cu
#define MAGIC_OLD_END 0x656eu
#define BLOCK_VERSION 1u
#define PADDING_HEADER 12u
#define INFO_BEGIN UINT64_C(0x13bd710f4b907562)
#define INFO_END UINT64_C(0xfa06d5f2b8a1cce1)
#define INFO_PG_BYTES 24u
#define TRAILER_BODY 10u

enum obv_clog_mark obv_clog_mark_of(obv_span in)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r);
    if (r.bad)
        return OBV_CLOG_MARK_OTHER;
    switch (magic) {
    case MAGIC_BLOCK:
        return OBV_CLOG_MARK_BLOCK;
    case MAGIC_PADDING:
        return OBV_CLOG_MARK_PADDING;
    case MAGIC_FRESH:
        return OBV_CLOG_MARK_FRESH;
    case MAGIC_OLD_END:
        return OBV_CLOG_MARK_OLD_END;
    default:
        return OBV_CLOG_MARK_OTHER;
    }
}

static bool type_known(uint32_t type)
{
    return (type >= OBV_CLOG_DATA && type <= OBV_CLOG_HEADER) || type == OBV_CLOG_BASE;
}

obv_code obv_clog_block_parse(obv_span in, obv_clog_block *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), version = obv_rd_be16(&r);
    const uint32_t type = obv_rd_be32(&r);
    const int64_t total = (int64_t)obv_rd_be64(&r), padding = (int64_t)obv_rd_be64(&r);
    const int64_t timestamp = (int64_t)obv_rd_be64(&r);
    const uint64_t data_checksum = obv_rd_be64(&r), meta_checksum = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "clog block header", err));
    if (magic != MAGIC_BLOCK || version != BLOCK_VERSION || !type_known(type))
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog block: magic %04x version %u type %u", magic, version, type);

    uint8_t image[40];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&b, magic);
    obv_put_le16(&b, version);
    obv_put_le32(&b, type);
    obv_put_le64(&b, (uint64_t)total);
    obv_put_le64(&b, (uint64_t)padding);
    obv_put_le64(&b, (uint64_t)timestamp);
    obv_put_le64(&b, data_checksum);
    if (obv_crc64(0, obv_buf_span(&b)) != meta_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog block: header checksum differs");
    if (total < (int64_t)OBV_CLOG_BLOCK_HEADER || total > (int64_t)OBV_CLOG_FILE_BYTES || padding < 0 ||
        padding > total - (int64_t)OBV_CLOG_BLOCK_HEADER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog block: length %lld with padding %lld", (long long)total,
                        (long long)padding);
    *out = (obv_clog_block){
        .type = (enum obv_clog_block_type)type,
        .data_len = (uint32_t)(total - padding - (int64_t)OBV_CLOG_BLOCK_HEADER),
        .total_len = (uint32_t)total,
        .timestamp = timestamp,
        .data_checksum = (int64_t)data_checksum,
    };
    return OBV_OK;
}

obv_code obv_clog_block_check_data(const obv_clog_block *b, obv_span data, obv_err *err)
{
    if (data.len != b->data_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog block: %zu bytes of %u", data.len, b->data_len);
    if (b->type != OBV_CLOG_DATA && obv_crc64(0, data) != (uint64_t)b->data_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog block: data checksum differs");
    return OBV_OK;
}

obv_code obv_clog_padding_parse(obv_span in, uint32_t *size, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), version = obv_rd_be16(&r);
    const uint64_t n = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "clog padding entry", err));
    if (magic != MAGIC_PADDING || version != 1 || n < PADDING_HEADER || n >= OBV_CLOG_PAGE + PADDING_HEADER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog padding entry: magic %04x version %u length %llu", magic, version,
                        (unsigned long long)n);
    *size = (uint32_t)n;
    return OBV_OK;
}

obv_code obv_clog_info_parse(obv_span data, obv_clog_info *out, obv_err *err)
{
    obv_rd r = obv_rd_of(data);
    const uint16_t version = obv_rd_be16(&r);
    (void)obv_rd_version(&r);
    const uint64_t begin = obv_rd_be64(&r), count = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "clog info block", err));
    if (version != 1 || begin != INFO_BEGIN)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog info block: version %u, first mark %016llx", version,
                        (unsigned long long)begin);
    if (count > OBV_CLOG_MAX_INFO_PGS || count * INFO_PG_BYTES > obv_rd_left(&r))
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog info block: %llu PGs", (unsigned long long)count);
    const obv_span pgs = obv_rd_bytes(&r, count * INFO_PG_BYTES);
    const uint64_t end = obv_rd_be64(&r), max_ts = obv_rd_be64(&r);
    OBV_TRY(obv_rd_done(&r, "clog info block", err));
    if (end != INFO_END)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog info block: last mark %016llx", (unsigned long long)end);
    *out = (obv_clog_info){.pgs = pgs, .count = (uint32_t)count, .max_submit_ts = (int64_t)max_ts};
    return OBV_OK;
}

void obv_clog_info_at(const obv_clog_info *info, uint32_t i, obv_pg_key *key, uint64_t *max_log_id)
{
    obv_assert(i < info->count);
    obv_rd r = obv_rd_of(obv_span_of(info->pgs.p + (size_t)i * INFO_PG_BYTES, INFO_PG_BYTES));
    *key = obv_rd_pkey(&r);
    *max_log_id = obv_rd_be64(&r);
}

obv_code obv_clog_trailer_parse(obv_span in, obv_clog_trailer *out, obv_err *err)
{
    obv_clog_block b;
    OBV_TRY(obv_clog_block_parse(in, &b, err));
    if (b.type != OBV_CLOG_TRAILER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog trailer: block type %d", (int)b.type);
    if (in.len < OBV_CLOG_BLOCK_HEADER + TRAILER_BODY)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog trailer: %zu bytes", in.len);
    obv_rd r = obv_rd_of(obv_span_of(in.p + OBV_CLOG_BLOCK_HEADER, TRAILER_BODY));
    const uint16_t version = obv_rd_be16(&r);
    const uint32_t at = obv_rd_be32(&r), next = obv_rd_be32(&r);
    uint8_t image[8]; /* the version is not covered */
    obv_buf w = obv_buf_fixed(image, sizeof image);
    obv_put_le32(&w, at);
    obv_put_le32(&w, next);
    if (version != 1 || obv_crc64(0, obv_buf_span(&w)) != (uint64_t)b.data_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog trailer: version %u or checksum", version);
    if (at >= OBV_CLOG_TRAILER_AT || at % OBV_CLOG_PAGE != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog trailer: info block at %u", at);
    *out = (obv_clog_trailer){.info_block_at = at, .next_file_id = next, .timestamp = b.timestamp};
    return OBV_OK;
}
