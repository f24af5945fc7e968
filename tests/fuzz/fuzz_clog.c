/* Any bytes as clog: blocks, padding, info block, trailer, entries plain and compressed, and what bodies say. Checksums
 * are made right first, so that the code behind them is reached.
 */
#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"
#include "format/ob/clog_walk.h"
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

static void see(void *ctx, const obv_clog_entry *e, uint32_t at, uint32_t stored)
{
    const obv_clog_place *place = ctx;
    obv_assert(at >= place->offset + OBV_CLOG_BLOCK_HEADER && stored > 0 && at + stored <= OBV_CLOG_TRAILER_AT);
    obv_assert(e->data_len <= OBV_CLOG_ENTRY_MAX_DATA);
}

/* The bytes as they are, and as the entries of a block of a right header, with what follows them. */
static void walk(obv_span in)
{
    static obv_buf unpack;
    unpack.max = OBV_CLOG_ENTRY_MAX;
    obv_buf b = obv_buf_heap(OBV_CLOG_BLOCK_HEADER + (1u << 20));
    const size_t len = in.len < 4096 ? in.len / 2 : 1024; /* of the block */
    const uint64_t total = (len + OBV_CLOG_BLOCK_HEADER + 4095) / 4096 * 4096;
    uint8_t image[40];
    obv_buf i = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&i, 0x4c42), obv_put_le16(&i, 1), obv_put_le32(&i, 1), obv_put_le64(&i, total);
    obv_put_le64(&i, total - len - OBV_CLOG_BLOCK_HEADER), obv_put_le64(&i, 5000000), obv_put_le64(&i, 0);
    obv_put_be16(&b, 0x4c42), obv_put_be16(&b, 1), obv_put_be32(&b, 1), obv_put_be64(&b, total);
    obv_put_be64(&b, total - len - OBV_CLOG_BLOCK_HEADER), obv_put_be64(&b, 5000000), obv_put_be64(&b, 0);
    obv_put_be64(&b, obv_crc64(0, obv_buf_span(&i)));
    obv_buf_append(&b, in.p, in.len);
    const obv_span both[] = {in, obv_buf_span(&b)};
    for (size_t k = 0; k < 2 && !b.failed; k++) {
        obv_clog_place place = {.offset = 4096}, before;
        obv_clog_stop stop;
        do {
            before = place;
            const obv_span rest = obv_span_of(both[k].p + (place.offset - 4096), both[k].len - (place.offset - 4096));
            if (obv_clog_walk(&place, rest, &unpack, see, &before, &stop, NULL) != OBV_OK)
                break;
            obv_assert(place.offset >= before.offset && place.offset - 4096 <= both[k].len);
        } while (place.offset != before.offset);
    }
    obv_buf_fini(&b);
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
    walk(in);
    return 0;
}
