/* test_archive.c - archive blocks, index records and archive_key: known answers, files made by OceanBase, damage */
#include "../../golden.h"
#include "base/crc32c.h"
#include "format/media/archive_block.h"
#include "format/media/archive_index.h"
#include "format/media/archive_key.h"
#include "test.h"

static const obv_archive_base START = {
    .start_log_id = 101,
    .start_ts = 1666990000000000,
    .snapshot_version = 1666980000000000,
    .log_submit_ts = 1666990000000000,
    .clog_epoch_id = 1666900000000000,
    .accum = 0x1111,
};
static const obv_pg_key PG = {1099511677777, 0, 0};

static const char KICKOFF_ENTRY[] =
    "455200010000012e000001000000c3510000000000000000000000000000006500000000000000180005ec20aed73190000000000000000004"
    "0000000000000000ffffffffffffffff0005ec1e5acb4c0000000000f7898b260000000000000001000000002fe8a03a"
    "01928080800001008098add6e583fb0280d0fdb5c083fb02";
static const char KICKOFF_META[] =
    "41420001000000e90005ec20aed731910005ec0966604800000000000000111100000000000000640005ec1e5acb4c000000000000000064"
    "00000000000000000005ec1e5acb4c000000000000000000000000000000000000000000d3412014000000003e50ec06";
static const char E1[] =
    "45520001800000c9000001000000c3510000000000000000000000000000000700000000000000100005ec20aed730010005ec20aec7edc004"
    "0a00000100000b420005ec20aeb8ab800005ec20aed73000000000001285e1a80000000100000001000000008152c47d"
    "68656c6c6f2d636c6f672d656e747279";
static const char E1_META[] =
    "41420001000000e10005ec20aed731f40005ec20aec7edc0000000000000222200000000000000640005ec1e5acb4c000000000000000007"
    "00000000000000000005ec20aed7300000000000000000000000000000000000000000000bc0fd79000000003b130391";

static void assert_hex_at(const obv_buf *b, size_t at, const char *hex)
{
    const obv_span want = golden_hex(hex);
    assert_true(at + want.len <= b->len);
    assert_span_equal(obv_span_of(b->data + at, want.len), want);
}

static void kickoff_and_first_blocks_are_exact(void **state)
{
    (void)state;
    obv_buf entry = obv_buf_heap(4096), file = obv_buf_heap(1 << 20);
    obv_archive_kickoff_emit(&PG, &START, 0, 1667000000000400, &entry);
    assert_span_equal(obv_buf_span(&entry), golden_hex(KICKOFF_ENTRY));
    obv_archive_block b = {
        .timestamp = 1667000000000401,
        .clog_epoch_id = 1666900000000000,
        .accum = 0x1111,
        .min_log_id_in_file = 100,
        .min_log_ts_in_file = 1666990000000000,
        .max_log_id = 100,
        .max_log_submit_ts = 1666990000000000,
    };
    obv_archive_block_emit(&b, obv_buf_span(&entry), 0, &file);
    assert_int_equal(file.len, 237);
    assert_hex_at(&file, 0, KICKOFF_META);
    assert_hex_at(&file, 104, KICKOFF_ENTRY);
    assert_hex_at(&file, 233, "00000000");

    b = (obv_archive_block){
        .timestamp = 1667000000000500,
        .clog_epoch_id = 1666999999000000,
        .accum = 0x2222,
        .min_log_id_in_file = 100,
        .min_log_ts_in_file = 1666990000000000,
        .max_log_id = 7,
        .max_log_submit_ts = 1667000000000000,
    };
    obv_archive_block_emit(&b, golden_hex(E1), 237, &file);
    assert_hex_at(&file, 237, E1_META);
    assert_hex_at(&file, file.len - 4, "000000ed");

    obv_err err = {0};
    obv_clog_entry e;
    assert_code(obv_clog_entry_parse(obv_buf_span(&entry), &e, &err), OBV_OK, &err);
    obv_archive_kickoff k;
    const obv_span data = obv_span_of(entry.data + 105, entry.len - 105);
    assert_code(obv_archive_kickoff_parse(&e, data, &k, &err), OBV_OK, &err);
    assert_int_equal(k.start_log_id, 101);
    assert_int_equal(k.log_submit_ts, START.log_submit_ts);
    assert_int_equal(k.start_ts, START.start_ts);
    assert_int_equal(k.snapshot_version, START.snapshot_version);
    assert_int_equal(k.checkpoint_ts, 0);
    obv_buf_fini(&entry);
    obv_buf_fini(&file);
}

/* Walks a data file, re-emits each block, checks entries. @return entries seen */
static unsigned walk_and_rebuild(obv_span file)
{
    obv_buf rebuilt = obv_buf_heap(1 << 20), scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    unsigned entries = 0;
    obv_err err = {0};
    for (size_t at = 0; at < file.len;) {
        obv_archive_block b;
        assert_code(obv_archive_block_parse(obv_span_of(file.p + at, file.len - at), &b, &err), OBV_OK, &err);
        const obv_span payload = obv_span_of(file.p + at + 104, b.total_len - 104);
        assert_int_equal(obv_crc64(0, payload), b.data_checksum);
        obv_span raw;
        assert_code(obv_archive_payload_unpack(payload, &scratch, &raw, &err), OBV_OK, &err);
        uint64_t last = 0;
        for (size_t i = 0; i < raw.len; entries++) {
            obv_clog_entry e;
            assert_code(obv_clog_entry_parse(obv_span_of(raw.p + i, raw.len - i), &e, &err), OBV_OK, &err);
            assert_code(obv_clog_entry_check_data(&e, obv_span_of(raw.p + i + 105, raw.len - i - 105), &err), OBV_OK,
                        &err);
            i += 105 + e.data_len;
            last = e.type == OBV_ENTRY_ARCHIVE_KICKOFF ? e.log_id - 1 : e.log_id;
        }
        assert_int_equal(last, b.max_log_id);
        obv_archive_block again = b;
        again.total_len = 0;
        again.data_checksum = 0;
        obv_archive_block_emit(&again, payload, (uint32_t)at, &rebuilt);
        at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
    assert_span_equal(obv_buf_span(&rebuilt), file);
    obv_buf_fini(&rebuilt);
    obv_buf_fini(&scratch);
    return entries;
}

static void data_files_of_oceanbase_read_and_rebuild(void **state)
{
    (void)state;
    assert_int_equal(walk_and_rebuild(golden_vector("archive/archive_data_1.bin")), 5);
    assert_int_equal(walk_and_rebuild(golden_vector("archive/archive_data_2.bin")), 9);
}

static void damaged_and_cut_headers_are_refused(void **state)
{
    (void)state;
    const obv_span file = golden_vector("archive/archive_data_1.bin");
    for (size_t at = 0; at < OBV_ARCHIVE_BLOCK_HEADER; at++) {
        uint8_t copy[OBV_ARCHIVE_BLOCK_HEADER];
        memcpy(copy, file.p, sizeof copy);
        copy[at] ^= 0x04;
        obv_archive_block b = {.max_log_id = 42};
        assert_int_equal(obv_archive_block_parse(obv_span_of(copy, sizeof copy), &b, NULL), OBV_E_CORRUPT);
        assert_int_equal(obv_archive_block_parse(obv_span_of(file.p, at), &b, NULL), OBV_E_CORRUPT);
        assert_int_equal(b.max_log_id, 42);
    }
}

static void payloads_pack_only_when_smaller(void **state)
{
    (void)state;
    uint8_t text[5000], noise[5000];
    uint64_t x = 88172645463325252ULL;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)("ER log "[i % 7]);
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        noise[i] = (uint8_t)(x >> 32);
    }
    noise[0] = 'E', noise[1] = 'R';
    static const enum obv_archive_compressor ALL[] = {OBV_ARCHIVE_NONE, OBV_ARCHIVE_LZ4, OBV_ARCHIVE_ZSTD};
    for (size_t i = 0; i < 3; i++) {
        obv_err err = {0};
        obv_buf p = obv_buf_heap(1 << 20), scratch = obv_buf_heap(1 << 20);
        obv_span raw;
        assert_code(obv_archive_payload_pack(ALL[i], obv_span_of(text, sizeof text), &p, &err), OBV_OK, &err);
        assert_true(ALL[i] == OBV_ARCHIVE_NONE ? p.len == sizeof text : p.len < 500);
        assert_code(obv_archive_payload_unpack(obv_buf_span(&p), &scratch, &raw, &err), OBV_OK, &err);
        assert_span_equal(raw, obv_span_of(text, sizeof text));
        for (size_t cut = 0; ALL[i] != OBV_ARCHIVE_NONE && cut < p.len; cut++)
            assert_int_not_equal(obv_archive_payload_unpack(obv_span_of(p.data, cut), &scratch, &raw, NULL), OBV_OK);
        p.len = 0;
        assert_code(obv_archive_payload_pack(ALL[i], obv_span_of(noise, sizeof noise), &p, &err), OBV_OK, &err);
        assert_span_equal(obv_buf_span(&p), obv_span_of(noise, sizeof noise));
        obv_buf_fini(&p);
        obv_buf_fini(&scratch);
    }
}

/* clang-format off */
static const struct { const char *hex; obv_archive_index want; } RECORDS[] = {
    {"41490090000100010000000000000001000000000000000000000000000000000005ec20aec7edc0000000000000222200000000000000640005ec1e5acb4c0000000000000013880005ec20733c66000005ec20aed730000005ec1e5acb4c0000000000000000650005ec1c06bf68000005ec1e5acb4c000005ec09666048000000000000001111000000001df3d19c",
     {.effective = true, .data_file_id = 1, .clog_epoch_id = 1666999999000000, .accum = 0x2222, .min_log_id = 100, .min_log_ts = 1666990000000000,
      .max_log_id = 5000, .max_checkpoint_ts = 1666999000000000, .max_log_submit_ts = 1667000000000000}},
    {"41490090000100000000000000000000000000000000000000000000000000000005ec0966604800000000000000111100000000000000640005ec1e5acb4c00000000000000006400000000000000000005ec1e5acb4c000005ec1e5acb4c0000000000000000650005ec1c06bf68000005ec1e5acb4c000005ec0966604800000000000000111100000000b0c7d874",
     {.clog_epoch_id = 1666900000000000, .accum = 0x1111, .min_log_id = 100, .min_log_ts = 1666990000000000, .max_log_id = 100, .max_log_submit_ts = 1666990000000000}},
};
/* clang-format on */

static void index_records_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const obv_span bytes = golden_hex(RECORDS[i].hex);
        obv_archive_index want = RECORDS[i].want, got;
        want.start = START;
        obv_buf out = obv_buf_heap(4096);
        obv_archive_index_emit(&want, &out);
        assert_span_equal(obv_buf_span(&out), bytes);
        obv_err err = {0};
        assert_code(obv_archive_index_parse(bytes, &got, &err), OBV_OK, &err);
        assert_int_equal(got.max_log_id, want.max_log_id);
        assert_int_equal(got.effective, want.effective);
        assert_memory_equal(&got.start, &START, sizeof START);
        for (size_t at = 0; at < bytes.len; at++) {
            uint8_t copy[OBV_ARCHIVE_INDEX_RECORD];
            memcpy(copy, bytes.p, sizeof copy);
            copy[at] ^= 1;
            assert_int_equal(obv_archive_index_parse(obv_span_of(copy, sizeof copy), &got, NULL), OBV_E_CORRUPT);
            assert_int_equal(obv_archive_index_parse(obv_span_of(bytes.p, at), &got, NULL), OBV_E_CORRUPT);
        }
        obv_buf_fini(&out);
    }
}

static void key_files_are_exact(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf out = obv_buf_heap(4096);
    obv_archive_key k = obv_archive_key_first(&START, 0);
    obv_archive_key_emit(&k, &out);
    assert_int_equal(out.len, OBV_ARCHIVE_KEY_BYTES);
    assert_hex_at(&out, 0, "414b0001000100000000000000000000");
    assert_hex_at(&out, 16, RECORDS[1].hex);
    assert_hex_at(&out, 160, "00000000e92074db");
    out.len = 0;
    k = (obv_archive_key){.max_index_file_id = 1, .state = RECORDS[0].want};
    k.state.start = START;
    obv_archive_key_emit(&k, &out);
    assert_hex_at(&out, 160, "00000000516b8dfa");
    out.len = 0;

    static const char *const FILES[] = {"archive/archive_key_first_piece.bin", "archive/archive_key_next_piece.bin"};
    for (size_t i = 0; i < 2; i++) {
        const obv_span file = golden_vector(FILES[i]);
        assert_code(obv_archive_key_parse(file, &k, &err), OBV_OK, &err);
        assert_int_equal(k.first_piece, i == 0);
        assert_int_equal(k.state.start.start_log_id, 11);
        obv_archive_key_emit(&k, &out);
        assert_span_equal(obv_buf_span(&out), file);
        out.len = 0;
        for (size_t at = 0; at < file.len; at++) {
            uint8_t copy[OBV_ARCHIVE_KEY_BYTES];
            memcpy(copy, file.p, sizeof copy);
            copy[at] ^= 0x20;
            assert_int_equal(obv_archive_key_parse(obv_span_of(copy, sizeof copy), &k, NULL), OBV_E_CORRUPT);
            assert_int_equal(obv_archive_key_parse(obv_span_of(file.p, at), &k, NULL), OBV_E_CORRUPT);
        }
    }
    obv_buf_fini(&out);
}

static void index_file_scan_skips_damage_and_a_short_tail(void **state)
{
    (void)state;
    const obv_span file = golden_vector("archive/archive_index_1.bin");
    obv_archive_index_scan s;
    obv_archive_index_scan_file(file, &s);
    assert_int_equal(s.records, 3);
    assert_int_equal(s.damaged, 0);
    assert_true(s.has_effective);
    assert_int_equal(s.last.data_file_id, 3);
    assert_false(s.last.effective);
    assert_int_equal(s.last_effective.data_file_id, 2);
    assert_int_equal(s.last_effective.max_log_id, 23);

    uint8_t copy[432];
    assert_int_equal(file.len, sizeof copy);
    memcpy(copy, file.p, sizeof copy);
    copy[144 + 64] ^= 1;
    obv_archive_index_scan_file(obv_span_of(copy, sizeof copy - 1), &s);
    assert_int_equal(s.records, 1);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.last_effective.max_log_id, 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kickoff_and_first_blocks_are_exact),
        cmocka_unit_test(data_files_of_oceanbase_read_and_rebuild),
        cmocka_unit_test(damaged_and_cut_headers_are_refused),
        cmocka_unit_test(payloads_pack_only_when_smaller),
        cmocka_unit_test(index_records_are_exact),
        cmocka_unit_test(key_files_are_exact),
        cmocka_unit_test(index_file_scan_skips_damage_and_a_short_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
