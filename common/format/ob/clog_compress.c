/* clog_compress.c - entries that a server compressed as a whole */
#include "format/ob/clog_entry.h"
#include "format/ob/codec.h"

#include <lz4.h>
#include <zstd.h>

enum { LZ4_1_0 = 2, ZSTD_1_0 = 5, ZSTD_1_3_8 = 8 };

/* first two bytes -> compressor */
static uint32_t compressor_of(uint16_t magic)
{
    switch (magic) {
    case 0x4301:
        return ZSTD_1_0;
    case 0x4302:
        return LZ4_1_0;
    case 0x4303:
        return ZSTD_1_3_8;
    default:
        return 0;
    }
}

bool obv_clog_is_compressed(obv_span in)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r);
    return !r.bad && compressor_of(magic) != 0;
}

obv_code obv_clog_compressed_parse(obv_span in, obv_clog_compressed *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r);
    const uint32_t raw = obv_rd_be32(&r), stored = obv_rd_be32(&r);
    OBV_TRY(obv_rd_check(&r, "compressed clog entry", err));
    if (compressor_of(magic) == 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed clog entry: magic %04x", magic);
    if (raw < OBV_CLOG_ENTRY_HEADER || raw > OBV_CLOG_ENTRY_MAX || stored == 0 || stored > OBV_CLOG_ENTRY_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed clog entry: %u of %u bytes", stored, raw);
    *out = (obv_clog_compressed){.compressor = compressor_of(magic), .raw_len = raw, .stored_len = stored};
    return OBV_OK;
}

obv_code obv_clog_decompress(const obv_clog_compressed *c, obv_span stored, uint8_t *raw, obv_err *err)
{
    if (stored.len < c->stored_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed clog entry: %zu bytes of %u", stored.len, c->stored_len);
    size_t got;
    if (c->compressor == LZ4_1_0) {
        const int n = LZ4_decompress_safe((const char *)stored.p, (char *)raw, (int)c->stored_len, (int)c->raw_len);
        got = n < 0 ? SIZE_MAX : (size_t)n;
    } else {
        got = ZSTD_decompress(raw, c->raw_len, stored.p, c->stored_len);
        if (ZSTD_isError(got))
            got = SIZE_MAX;
    }
    if (got != c->raw_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed clog entry: does not unpack to %u bytes", c->raw_len);
    return OBV_OK;
}
