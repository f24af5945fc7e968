#include "format/media/common_header.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"

#include <inttypes.h>

enum { HEADER_VERSION = 1, COMPRESSOR_NONE = 1 };

static uint16_t header_checksum(const obv_common_header *h)
{
    return (uint16_t)(HEADER_VERSION ^ h->compressor ^ h->data_type ^ OBV_COMMON_HEADER_LEN ^ obv_fold64(h->data_len) ^
                      obv_fold64(h->stored_len) ^ obv_fold64(h->data_checksum) ^ obv_fold64(h->align_len));
}

void obv_put_common_header(obv_buf *b, const obv_common_header *h)
{
    obv_common_header full = *h;
    if (full.compressor == 0)
        full.compressor = COMPRESSOR_NONE;
    obv_put_le16(b, full.data_type);
    obv_put_le16(b, HEADER_VERSION);
    obv_put_le16(b, full.data_version);
    obv_put_le16(b, full.compressor);
    obv_put_le16(b, OBV_COMMON_HEADER_LEN);
    obv_put_le16(b, header_checksum(&full));
    obv_put_le32(b, 0);
    obv_put_le64(b, full.data_len);
    obv_put_le64(b, full.stored_len);
    obv_put_le64(b, full.data_checksum);
    obv_put_le64(b, full.align_len);
}

obv_code obv_common_header_parse(obv_span in, obv_common_header *out, obv_err *err)
{
    obv_common_header h;
    obv_rd r = obv_rd_of(in);
    h.data_type = obv_rd_le16(&r);
    const uint16_t version = obv_rd_le16(&r);
    h.data_version = obv_rd_le16(&r);
    h.compressor = obv_rd_le16(&r);
    const uint16_t length = obv_rd_le16(&r);
    const uint16_t checksum = obv_rd_le16(&r);
    (void)obv_rd_le32(&r);
    h.data_len = obv_rd_le64(&r);
    h.stored_len = obv_rd_le64(&r);
    h.data_checksum = obv_rd_le64(&r);
    h.align_len = obv_rd_le64(&r);
    OBV_TRY(obv_rd_check(&r, "common header", err));
    if (version != HEADER_VERSION || length != OBV_COMMON_HEADER_LEN || h.data_type >= OBV_FILE_TYPE_END)
        return obv_fail(err, OBV_E_CORRUPT, 0, "common header: version %u, length %u, type %u", version, length,
                        h.data_type);
    if (checksum != header_checksum(&h))
        return obv_fail(err, OBV_E_CORRUPT, 0, "common header: checksum is %04x, not %04x", checksum,
                        header_checksum(&h));
    if (h.compressor != COMPRESSOR_NONE)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "common header: compressor %u", h.compressor);
    if (h.data_len != h.stored_len || h.data_len > INT64_MAX || h.align_len > INT64_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "common header: lengths %" PRIu64 ", %" PRIu64 ", %" PRIu64, h.data_len,
                        h.stored_len, h.align_len);
    *out = h;
    return OBV_OK;
}

obv_code obv_common_block_parse(obv_span in, obv_common_header *out, obv_span *payload, size_t *total, obv_err *err)
{
    obv_common_header h;
    OBV_TRY(obv_common_header_parse(in, &h, err));
    const size_t left = in.len - OBV_COMMON_HEADER_LEN;
    if (h.stored_len > left || h.align_len > left - h.stored_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "block: %" PRIu64 " + %" PRIu64 " bytes, but only %zu are there",
                        h.stored_len, h.align_len, left);
    const obv_span body = {in.p + OBV_COMMON_HEADER_LEN, (size_t)h.stored_len};
    const uint64_t crc = obv_crc64(0, body);
    if (crc != h.data_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "block: payload checksum is %08" PRIx64 ", not %08" PRIx64, crc,
                        h.data_checksum);
    *out = h;
    *payload = body;
    *total = OBV_COMMON_HEADER_LEN + (size_t)(h.stored_len + h.align_len);
    return OBV_OK;
}

void obv_put_info_file(obv_buf *b, uint16_t data_type, uint16_t data_version, obv_span payload)
{
    const obv_common_header h = {.data_type = data_type,
                                 .data_version = data_version,
                                 .data_len = payload.len,
                                 .stored_len = payload.len,
                                 .data_checksum = obv_crc64(0, payload)};
    obv_put_common_header(b, &h);
    obv_put_span(b, payload);
}

obv_code obv_info_file_parse(obv_span file, uint16_t data_type, obv_span *payload, obv_err *err)
{
    if (file.len == 0) {
        *payload = (obv_span){NULL, 0};
        return OBV_OK;
    }
    obv_common_header h;
    obv_span body;
    size_t total = 0;
    OBV_TRY(obv_common_block_parse(file, &h, &body, &total, err));
    if (h.data_type != data_type)
        return obv_fail(err, OBV_E_CORRUPT, 0, "info file: type %u, not %u", h.data_type, data_type);
    if (total != file.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "info file: %zu bytes too many", file.len - total);
    *payload = body;
    return OBV_OK;
}
