/* macroblocks made by OceanBase are accepted, damaged ones are not */
#include "base/crc32c.h"
#include "format/ob/macroblock.h"
#include "golden.h"

static const char *const BLOCKS[] = {"none", "lz4", "zstd138", "single_micro", "multikey", "lob_lz4", "lob_index_64k"};
#define BLOCK_COUNT (sizeof BLOCKS / sizeof *BLOCKS)

typedef struct golden_block {
    obv_macro_meta meta;
    obv_macro_schema schema;
    obv_span full_meta;
    obv_span data;
} golden_block;

static golden_block load(const char *name)
{
    golden_block b;
    obv_err err = {0};
    char path[128];
    (void)snprintf(path, sizeof path, "data/macro_block_%s.meta.bin", name);
    b.full_meta = golden_vector(path);
    assert_code(obv_macro_full_meta_parse(b.full_meta, &b.meta, &b.schema, &err), OBV_OK, &err);
    (void)snprintf(path, sizeof path, "data/macro_block_%s.bin.zst", name);
    b.data = golden_vector(path);
    assert_true(b.data.len >= (size_t)b.meta.occupy_size);
    b.data.len = (size_t)b.meta.occupy_size;
    return b;
}

static void blocks_of_oceanbase_are_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const golden_block b = load(BLOCKS[i]);
        obv_err err = {0};
        print_message("case: %s\n", BLOCKS[i]);
        assert_code(obv_macro_block_check(&b.meta, &b.schema, b.data, &err), OBV_OK, &err);
    }
}

static void the_minor_block_too(void **state)
{
    (void)state;
    const golden_block b = load("minor");
    obv_err err = {0};
    assert_code(obv_macro_block_check(&b.meta, &b.schema, b.data, &err), OBV_OK, &err);
    assert_int_equal(b.meta.column_checksum_method, 0);
}

static void the_metas_say_what_the_manifest_says(void **state)
{
    (void)state;
    const golden_block b = load("none");
    assert_int_equal(b.meta.attr, OBV_MACRO_SSTABLE_DATA);
    assert_int_equal(b.meta.data_version, 7);
    assert_int_equal(b.meta.row_count, 600);
    assert_int_equal(b.meta.occupy_size, 54381);
    assert_int_equal(b.meta.table_id, UINT64_C(1100611139453781));
    assert_int_equal(b.meta.partition_id, 3);
    assert_int_equal(b.meta.schema_version, INT64_C(1672531200000400));
    assert_int_equal(b.meta.snapshot_version, INT64_C(1672531200000500));
    assert_int_equal(b.meta.column_checksum_method, 2);
    assert_int_equal(b.schema.column_count, 4);
    assert_int_equal(b.schema.compressor.len, 4);
    assert_memory_equal(b.schema.compressor.p, "none", 4);
    const golden_block many = load("multikey");
    assert_int_equal(many.meta.rowkey_column_count, 4);
    assert_int_equal(many.meta.end_key.p[0], 4);
}

/* Bytes that no check covers: the data_version of the common header (16..23). */
static void every_flipped_byte_of_a_block_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const golden_block b = load(BLOCKS[i]);
        uint8_t *copy = malloc(b.data.len);
        assert_non_null(copy);
        memcpy(copy, b.data.p, b.data.len);
        const size_t header_end = (size_t)b.meta.micro_data_offset + 64;
        for (size_t at = 0; at < b.data.len; at += at < header_end ? 1 : 997) {
            obv_err err = {0};
            copy[at] ^= 0x10;
            const bool noticed =
                obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, &err) != OBV_OK;
            copy[at] ^= 0x10;
            if (noticed == (at >= 16 && at < 24))
                fail_msg("%s: byte %zu flipped: %s", BLOCKS[i], at, noticed ? err.msg : "accepted");
        }
        free(copy);
    }
}

/* The same without the payload checksum in front, which the inner checks must not need. */
static void inner_checks_find_damage_by_themselves(void **state)
{
    (void)state;
    const golden_block b = load("lz4");
    uint8_t *copy = malloc(b.data.len);
    assert_non_null(copy);
    memcpy(copy, b.data.p, b.data.len);
    memset(copy + 24, 0, 8); /* as a very old release leaves it */
    obv_err err = {0};
    assert_code(obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, &err), OBV_OK, &err);
    const size_t data_end = (size_t)b.meta.micro_index_offset;
    for (size_t at = (size_t)b.meta.micro_data_offset; at < data_end; at += 7) {
        copy[at] ^= 1;
        assert_int_equal(obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, &err), OBV_E_CORRUPT);
        copy[at] ^= 1;
    }
    free(copy);
}

/*
 * Header bytes that OceanBase does not compare with a meta either: attr, column_index_scale, micro_block_size, the
 * three of the encryption, what follows the NUL of the compressor's name; in a LOB block partition_id.
 */
static bool is_free_byte(const golden_block *b, size_t h)
{
    return (h >= 12 && h < 16) || (h >= 40 && h < 44) || (h >= 60 && h < 64) ||
           (h > 96 + b->schema.compressor.len && h < 224) ||
           (b->meta.attr != OBV_MACRO_SSTABLE_DATA && h >= 232 && h < 240);
}

/* Sizes of micro index, end keys and size array, and where a LOB block has no end keys: they only have a bound. */
static bool is_bounded_byte(const golden_block *b, size_t h)
{
    return (h >= 76 && h < 80) || (h >= 84 && h < 88) ||
           (b->meta.attr != OBV_MACRO_SSTABLE_DATA && ((h >= 80 && h < 84) || (h >= 244 && h < 248)));
}

/* A header that is wrong under a right payload checksum: a block of something else, or a faulty server. */
static void every_header_byte_must_agree_with_the_meta(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const golden_block b = load(BLOCKS[i]);
        uint8_t *copy = malloc(b.data.len);
        assert_non_null(copy);
        memcpy(copy, b.data.p, b.data.len);
        for (size_t at = 32; at < (size_t)b.meta.micro_data_offset; at++) {
            obv_err err = {0};
            copy[at] ^= 1;
            const uint64_t crc = obv_crc64(0, (obv_span){copy + 32, b.data.len - 32});
            memcpy(copy + 28, &crc, 4);
            const bool good = obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, &err) == OBV_OK;
            copy[at] ^= 1;
            if (!is_bounded_byte(&b, at - 32) && good != is_free_byte(&b, at - 32))
                fail_msg("%s: byte %zu of the header: %s", BLOCKS[i], at - 32, good ? "accepted" : err.msg);
        }
        free(copy);
    }
}

/* Each number of the meta that the header has too. */
static void every_number_of_the_meta_must_agree_with_the_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const golden_block good = load(BLOCKS[i]);
        for (int what = 0; what < 15; what++) {
            golden_block b = good;
            obv_err err = {0};
            const bool is_lob = b.meta.attr != OBV_MACRO_SSTABLE_DATA;
            b.meta.table_id += what == 0;
            b.meta.data_version += what == 1;
            b.meta.data_seq += what == 2;
            b.meta.rowkey_column_count = (int16_t)(b.meta.rowkey_column_count + (what == 3));
            b.meta.row_store_type = (int16_t)(b.meta.row_store_type + (what == 4));
            b.meta.row_count += what == 5;
            b.meta.occupy_size -= what == 6;
            b.meta.micro_block_count += what == 7;
            b.meta.micro_data_offset += what == 8;
            b.meta.micro_index_offset += what == 9;
            b.meta.micro_endkey_offset += what == 10;
            b.meta.data_checksum += what == 11;
            b.meta.partition_id += what == 12;
            b.schema.column_count = (int16_t)(b.schema.column_count + (what == 13));
            b.schema.compressor.len -= what == 14;
            const bool may = what == 12 && is_lob;
            if ((obv_macro_block_check(&b.meta, &b.schema, b.data, &err) == OBV_OK) != may)
                fail_msg("%s: number %d of the meta: %s", BLOCKS[i], what, may ? err.msg : "accepted");
        }
    }
}

/* A micro block that is whole in itself but not the one that was written: only the chain tells. */
static void a_replaced_micro_block_breaks_the_chain(void **state)
{
    (void)state;
    const golden_block b = load("none");
    uint8_t *copy = malloc(b.data.len);
    assert_non_null(copy);
    memcpy(copy, b.data.p, b.data.len);
    memset(copy + 24, 0, 8);
    uint8_t *micro = copy + b.meta.micro_data_offset;
    obv_rd r = obv_rd_of((obv_span){micro, 32});
    (void)obv_rd_bytes(&r, 16);
    const uint64_t len = obv_rd_le64(&r);
    const uint64_t old = obv_rd_le64(&r);
    uint8_t *stored = micro + 42 + 8 * (size_t)b.meta.column_count;
    stored[5] ^= 1;
    const uint64_t now = obv_crc64(0, (obv_span){stored, (size_t)len});
    uint16_t header_sum;
    memcpy(&header_sum, micro + 4, 2);
    header_sum ^= (uint16_t)(obv_fold64(old) ^ obv_fold64(now));
    memcpy(micro + 4, &header_sum, 2);
    memcpy(micro + 24, &now, 8);
    obv_err err = {0};
    assert_int_equal(obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, &err), OBV_E_CORRUPT);
    assert_non_null(strstr(err.msg, "chain"));
    free(copy);
}

static void a_block_of_another_meta_is_refused(void **state)
{
    (void)state;
    const golden_block a = load("none");
    const golden_block b = load("lz4");
    obv_err err = {0};
    assert_int_equal(obv_macro_block_check(&a.meta, &a.schema, b.data, &err), OBV_E_CORRUPT);
    golden_block c = load("none");
    c.meta.data_seq++;
    assert_int_equal(obv_macro_block_check(&c.meta, &c.schema, c.data, &err), OBV_E_CORRUPT);
    c = load("none");
    c.meta.table_id++;
    assert_int_equal(obv_macro_block_check(&c.meta, &c.schema, c.data, &err), OBV_E_CORRUPT);
}

static void cut_metas_and_blocks_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const golden_block b = load(BLOCKS[i]);
        obv_macro_meta m;
        obv_macro_schema s;
        obv_err err = {0};
        for (size_t n = 0; n < b.full_meta.len; n++)
            assert_int_not_equal(obv_macro_full_meta_parse((obv_span){b.full_meta.p, n}, &m, &s, &err), OBV_OK);
        for (size_t n = 0; n < b.data.len; n += n < 1024 ? 1 : 1021)
            assert_int_equal(obv_macro_block_check(&b.meta, &b.schema, (obv_span){b.data.p, n}, &err), OBV_E_CORRUPT);
    }
}

/* No header value may lead the parsers out of the block: run under the sanitizers. */
static void absurd_header_values_are_survived(void **state)
{
    (void)state;
    static const uint32_t ABSURD[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
    const golden_block b = load("single_micro");
    size_t survived = 0;
    uint8_t *copy = malloc(b.data.len);
    uint8_t *meta_copy = malloc(b.full_meta.len);
    assert_non_null(copy);
    assert_non_null(meta_copy);
    for (size_t v = 0; v < sizeof ABSURD / sizeof *ABSURD; v++) {
        for (size_t at = 24; at + 4 <= (size_t)b.meta.micro_data_offset + 60; at += 4) {
            memcpy(copy, b.data.p, b.data.len);
            memset(copy + 24, 0, 8);
            memcpy(copy + at, &ABSURD[v], 4);
            survived += obv_macro_block_check(&b.meta, &b.schema, (obv_span){copy, b.data.len}, NULL) != OBV_OK;
        }
        for (size_t at = 0; at + 4 <= b.full_meta.len; at++) {
            memcpy(meta_copy, b.full_meta.p, b.full_meta.len);
            memcpy(meta_copy + at, &ABSURD[v], 4);
            obv_macro_meta m;
            obv_macro_schema s;
            if (obv_macro_full_meta_parse((obv_span){meta_copy, b.full_meta.len}, &m, &s, NULL) == OBV_OK)
                survived += obv_macro_block_check(&m, &s, b.data, NULL) != OBV_OK;
        }
    }
    assert_true(survived > 0);
    free(copy);
    free(meta_copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_oceanbase_are_accepted),
        cmocka_unit_test(the_minor_block_too),
        cmocka_unit_test(the_metas_say_what_the_manifest_says),
        cmocka_unit_test(every_flipped_byte_of_a_block_is_noticed),
        cmocka_unit_test(inner_checks_find_damage_by_themselves),
        cmocka_unit_test(every_header_byte_must_agree_with_the_meta),
        cmocka_unit_test(every_number_of_the_meta_must_agree_with_the_header),
        cmocka_unit_test(a_replaced_micro_block_breaks_the_chain),
        cmocka_unit_test(a_block_of_another_meta_is_refused),
        cmocka_unit_test(cut_metas_and_blocks_are_refused),
        cmocka_unit_test(absurd_header_values_are_survived),
    };
    return cmocka_run_group_tests_name("format.macroblock", tests, NULL, NULL);
}
