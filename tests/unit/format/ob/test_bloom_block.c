/* macroblocks that hold bloom filters: none is among OceanBase's golden files, so one is laid out here by the rules of
 * docs/format.md; it is taken whole, and no damage to what is covered passes */
#include "base/crc32c.h"
#include "format/ob/macroblock.h"
#include "golden.h"

enum { COMMON = 32, BLOOM = 200, MICRO = 32, BYTES = 64, TOTAL = COMMON + BLOOM + MICRO + BYTES };
enum { TABLE_AT = COMMON + 16, PARTITION_AT = COMMON + 24, DATA_VERSION_AT = COMMON + 32, CHECKSUM_AT = COMMON + 64 };
static const uint64_t TABLE = UINT64_C(1100611139453781);

static void put_micro(obv_buf *b)
{
    uint8_t bits[BYTES];
    for (size_t i = 0; i < sizeof bits; i++)
        bits[i] = (uint8_t)(i * 37);
    const uint64_t sum = obv_crc64(0, obv_span_of(bits, sizeof bits));
    const uint8_t length = 32, version = 2;
    const uint16_t magic = 1015;
    obv_put_le16(b, magic);
    obv_put_u8(b, length);
    obv_put_u8(b, version);
    obv_put_le16(b, (uint16_t)(magic ^ length ^ version ^ obv_fold64(sum))); /* both lengths are equal */
    obv_put_le16(b, 0);
    obv_put_le64(b, BYTES);
    obv_put_le64(b, BYTES);
    obv_put_le64(b, sum);
    obv_buf_append(b, bits, sizeof bits);
}

/* The block, and the meta that says the same. */
static obv_macro_meta make(obv_buf *out)
{
    obv_buf micro = obv_buf_heap(1024), body = obv_buf_heap(4096);
    put_micro(&micro);
    uint8_t sum[8];
    memcpy(sum, micro.data + 24, sizeof sum);
    const uint64_t chain = obv_crc64(0, obv_span_of(sum, sizeof sum));
    obv_put_le32(&body, BLOOM);
    obv_put_le32(&body, 1);
    obv_put_le32(&body, 1014);
    obv_put_le32(&body, 0);
    obv_put_le64(&body, TABLE);
    obv_put_le64(&body, 3);
    obv_put_le64(&body, 7);
    obv_put_le32(&body, 1);
    obv_put_le32(&body, 600);
    obv_put_le32(&body, TOTAL);
    obv_put_le32(&body, 1);
    obv_put_le32(&body, COMMON + BLOOM);
    obv_put_le32(&body, MICRO + BYTES);
    obv_put_le64(&body, chain);
    obv_buf_append_zeros(&body, BLOOM - body.len);
    obv_buf_append(&body, micro.data, micro.len);
    obv_put_le32(out, COMMON);
    obv_put_le32(out, 1);
    obv_put_le32(out, 1001);
    obv_put_le32(out, OBV_MACRO_BLOOM_FILTER);
    obv_put_le64(out, 7);
    obv_put_le32(out, (uint32_t)body.len);
    obv_put_le32(out, (uint32_t)obv_crc64(0, obv_buf_span(&body)));
    obv_buf_append(out, body.data, body.len);
    obv_buf_fini(&micro);
    obv_buf_fini(&body);
    return (obv_macro_meta){.attr = OBV_MACRO_BLOOM_FILTER,
                            .data_version = 7,
                            .row_count = 600,
                            .occupy_size = TOTAL,
                            .data_checksum = (int64_t)chain,
                            .micro_block_count = 1,
                            .micro_data_offset = COMMON + BLOOM,
                            .table_id = TABLE,
                            .partition_id = 3};
}

static void a_bloom_filter_block_is_accepted(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(4096);
    const obv_macro_meta m = make(&b);
    const obv_macro_schema s = {0};
    obv_err err = {0};
    assert_int_equal(b.len, TOTAL);
    assert_code(obv_macro_block_check(&m, &s, obv_buf_span(&b), &err), OBV_OK, &err);
    obv_buf_fini(&b);
}

static void every_flip_is_found_with_and_without_the_payload_checksum(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(4096);
    const obv_macro_meta m = make(&b);
    const obv_macro_schema s = {0};
    for (size_t at = 0; at < TOTAL; at++) {
        b.data[at] ^= 1;
        const bool taken = obv_macro_block_check(&m, &s, obv_buf_span(&b), NULL) == OBV_OK;
        assert_int_equal(taken, at >= 16 && at < 24); /* data_version of the common header: covered by nothing */
        b.data[at] ^= 1;
    }
    memset(b.data + 24, 0, 8); /* as a very old release wrote it: what is left is the header and the micro block */
    static const struct {
        size_t at;
        const char *what;
    } CASES[] = {{COMMON, "header size"},
                 {COMMON + 8, "header magic"},
                 {TABLE_AT, "table_id"},
                 {DATA_VERSION_AT, "data_version"},
                 {COMMON + 48, "occupy_size"},
                 {COMMON + 52, "micro block count"},
                 {COMMON + 56, "reach past its end"},
                 {COMMON + 60, "reach past its end"},
                 {CHECKSUM_AT, "data checksum"},
                 {COMMON + BLOOM, "micro magic"},
                 {COMMON + BLOOM + 4, "micro header checksum"},
                 {COMMON + BLOOM + MICRO, "micro data checksum"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err err = {0};
        b.data[CASES[i].at] ^= 1;
        print_message("case: %s\n", CASES[i].what);
        assert_int_equal(obv_macro_block_check(&m, &s, obv_buf_span(&b), &err), OBV_E_CORRUPT);
        assert_non_null(strstr(err.msg, CASES[i].what));
        b.data[CASES[i].at] ^= 1;
    }
    obv_buf_fini(&b);
}

static void data_may_not_reach_past_the_end(void **state)
{
    (void)state;
    static const uint32_t ABSURD[] = {0, COMMON, TOTAL, 0x7fffffff, 0xffffffff};
    obv_buf b = obv_buf_heap(4096);
    const obv_macro_meta m = make(&b);
    const obv_macro_schema s = {0};
    memset(b.data + 24, 0, 8);
    for (size_t i = 0; i < sizeof ABSURD / sizeof *ABSURD; i++) {
        uint8_t keep[4];
        for (size_t at = COMMON + 56; at <= COMMON + 60; at += 4) { /* offset, size */
            memcpy(keep, b.data + at, sizeof keep);
            memcpy(b.data + at, &ABSURD[i], sizeof keep);
            assert_int_equal(obv_macro_block_check(&m, &s, obv_buf_span(&b), NULL), OBV_E_CORRUPT);
            memcpy(b.data + at, keep, sizeof keep);
        }
    }
    obv_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bloom_filter_block_is_accepted),
        cmocka_unit_test(every_flip_is_found_with_and_without_the_payload_checksum),
        cmocka_unit_test(data_may_not_reach_past_the_end),
    };
    return cmocka_run_group_tests_name("format.bloom_block", tests, NULL, NULL);
}
