/* Any bytes as clog: blocks, padding, info block, trailer, entries plain and compressed, and what bodies say. Checksums
 * are made right first, so that the code behind them is reached.
 */
#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"
#include "format/ob/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry(obv_span in)
{
    obv_clog_entry e;
    obv_clog_facts facts;
    if (obv_clog_entry_parse(in, &e, NULL) != OBV_OK)
        return;
    const obv_span body = obv_span_of(in.p + OBV_CLOG_ENTRY_HEADER, in.len - OBV_CLOG_ENTRY_HEADER);
    (void)(obv_clog_entry_check_data(&e, body, NULL) == OBV_OK);
    if (obv_clog_entry_facts(&e, body, &facts, NULL) == OBV_OK)
        obv_assert(facts.checkpoint >= 0);
    uint8_t again[OBV_CLOG_ENTRY_HEADER];
    obv_buf b = obv_buf_fixed(again, sizeof again);
    obv_clog_entry_emit(&e, &b);
    obv_assert(!b.failed && memcmp(again, in.p, sizeof again) == 0);
}

/* The same bytes with a right entry header in front. */
static void body_as_entry(obv_span in)
{
    if (in.len < 1 || in.len > 4096)
        return;
    const obv_clog_entry e = {.type = in.p[0] & 1 ? OBV_ENTRY_SUBMIT : OBV_ENTRY_AGGRE,
                              .pg = {1100611139453777, 0, 0},
                              .log_id = 1,
                              .data_len = (uint32_t)in.len - 1,
                              .data_checksum = (int64_t)obv_crc64(0, obv_span_of(in.p + 1, in.len - 1))};
    uint8_t bytes[OBV_CLOG_ENTRY_HEADER + 4096];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    obv_clog_entry_emit(&e, &b);
    obv_buf_append(&b, in.p + 1, in.len - 1);
    entry(obv_buf_span(&b));
}

static void block(obv_span in)
{
    uint8_t copy[OBV_CLOG_BLOCK_HEADER + 64];
    if (in.len < OBV_CLOG_BLOCK_HEADER)
        return;
    const size_t n = in.len < sizeof copy ? in.len : sizeof copy;
    memcpy(copy, in.p, n);
    uint8_t image[40];
    obv_rd r = obv_rd_of(obv_span_of(copy, 40));
    obv_buf b = obv_buf_fixed(image, sizeof image), sum = obv_buf_fixed(copy + 40, 8);
    obv_put_le16(&b, obv_rd_be16(&r));
    obv_put_le16(&b, obv_rd_be16(&r));
    obv_put_le32(&b, obv_rd_be32(&r));
    for (int i = 0; i < 4; i++)
        obv_put_le64(&b, obv_rd_be64(&r));
    obv_put_be64(&sum, obv_crc64(0, obv_buf_span(&b)));
    obv_clog_block parsed;
    obv_clog_trailer t;
    if (obv_clog_block_parse(obv_span_of(copy, n), &parsed, NULL) == OBV_OK)
        obv_assert(obv_clog_block_end(&parsed) <= parsed.total_len);
    if (n >= OBV_CLOG_BLOCK_HEADER && obv_clog_block_parse(obv_span_of(copy, n), &parsed, NULL) == OBV_OK &&
        parsed.data_len <= n - OBV_CLOG_BLOCK_HEADER)
        (void)!obv_clog_block_check_data(&parsed, obv_span_of(copy + OBV_CLOG_BLOCK_HEADER, parsed.data_len), NULL);
    (void)(obv_clog_trailer_parse(obv_span_of(copy, n), &t, NULL) == OBV_OK);
}

static void compressed(obv_span in)
{
    static uint8_t raw[OBV_CLOG_ENTRY_MAX];
    obv_clog_compressed c;
    if (!obv_clog_is_compressed(in) || obv_clog_compressed_parse(in, &c, NULL) != OBV_OK)
        return;
    if (obv_clog_decompress(&c, obv_span_of(in.p + 10, in.len - 10), raw, NULL) == OBV_OK)
        entry(obv_span_of(raw, c.raw_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const obv_span in = obv_span_of(data, size);
    obv_clog_info info;
    uint32_t padding;
    (void)obv_clog_mark_of(in);
    if (obv_clog_padding_parse(in, &padding, NULL) == OBV_OK)
        obv_assert(padding >= 12 && padding < 4108);
    if (obv_clog_info_parse(in, &info, NULL) == OBV_OK)
        for (uint32_t i = 0; i < info.count; i++) {
            obv_pg_key key;
            uint64_t max;
            obv_clog_info_at(&info, i, &key, &max);
        }
    entry(in);
    body_as_entry(in);
    block(in);
    compressed(in);
    return 0;
}
