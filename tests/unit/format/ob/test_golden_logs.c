/* test_golden_logs.c - sweeps over the full golden data of clog, ilog and archive media: every entry, every mutation */
#include "../../golden.h"
#include "format/media/archive_block.h"
#include "format/media/archive_index.h"
#include "format/media/archive_key.h"
#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"
#include "format/ob/ilog.h"
#include "test.h"

static obv_span from(obv_span s, size_t at) { return obv_span_of(s.p + at, s.len - at); }

/* Follows a clog file as a tailer does. @return entries; *end where it stopped, *finished if at an info block */
static unsigned walk_clog(obv_span file, size_t *end, bool *finished)
{
    unsigned entries = 0;
    int64_t last_ts = 0;
    *finished = false;
    for (*end = 0; *end < file.len;) {
        const enum obv_clog_mark mark = obv_clog_mark_of(from(file, *end));
        if (mark == OBV_CLOG_MARK_PADDING) {
            uint32_t size = 0;
            obv_clog_block info;
            if (obv_clog_padding_parse(from(file, *end), &size, NULL) != OBV_OK || *end + size >= file.len ||
                obv_clog_block_parse(from(file, *end + size), &info, NULL) != OBV_OK || info.type != OBV_CLOG_INFO ||
                info.timestamp < last_ts)
                return entries; /* live tail */
            *end += size;
            continue;
        }
        obv_clog_block b;
        if (mark != OBV_CLOG_MARK_BLOCK || obv_clog_block_parse(from(file, *end), &b, NULL) != OBV_OK ||
            b.timestamp < last_ts - 2000000)
            return entries;
        if (b.type == OBV_CLOG_INFO) {
            obv_clog_info info;
            obv_err err = {0};
            const obv_span data = obv_span_of(file.p + *end + OBV_CLOG_BLOCK_HEADER, b.data_len);
            assert_code(obv_clog_block_check_data(&b, data, &err), OBV_OK, &err);
            assert_code(obv_clog_info_parse(data, &info, &err), OBV_OK, &err);
            *finished = true;
            return entries;
        }
        last_ts = b.timestamp;
        const size_t stop = *end + obv_clog_block_end(&b);
        for (size_t at = *end + OBV_CLOG_BLOCK_HEADER; at < stop; entries++) {
            obv_clog_entry e;
            if (obv_clog_entry_parse(from(file, at), &e, NULL) != OBV_OK ||
                obv_clog_entry_check_data(&e, from(file, at + OBV_CLOG_ENTRY_HEADER), NULL) != OBV_OK)
                return entries;
            at += OBV_CLOG_ENTRY_HEADER + e.data_len;
        }
        *end = stop;
    }
    return entries;
}

static void clog_files_read_to_their_end(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        unsigned entries;
        bool finished;
    } FILES[] = {{"clog_1.bin", 15, true}, {"clog_2.bin", 1, false}, {"clog_3_fresh.bin", 0, false}};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        size_t end = 0;
        bool finished = false;
        print_message("file: %s\n", FILES[i].file);
        const obv_span file = golden_file(FILES[i].file);
        assert_int_equal(file.len, OBV_CLOG_FILE_BYTES);
        assert_int_equal(walk_clog(file, &end, &finished), FILES[i].entries);
        assert_int_equal(finished, FILES[i].finished);
        if (!FILES[i].finished)
            continue;
        obv_clog_trailer t;
        obv_err err = {0};
        assert_code(obv_clog_trailer_parse(from(file, OBV_CLOG_TRAILER_AT), &t, &err), OBV_OK, &err);
        assert_int_equal(t.info_block_at, end);
        assert_int_equal(t.next_file_id, 2);
    }
    json_t *m = golden_json("clog_manifest.json"), *f;
    size_t i;
    json_array_foreach(json_object_get(m, "fresh_and_recycled_files"), i, f)
    {
        const char *name = golden_str(f, "file");
        size_t end = 0;
        bool finished = false;
        const unsigned want = (unsigned)json_array_size(json_object_get(f, "entries"));
        print_message("file: %s\n", name);
        assert_int_equal(walk_clog(golden_file(name), &end, &finished), want);
        assert_false(finished);
    }
    json_decref(m);
}

static uint64_t hex_of(json_t *o, const char *key) { return strtoull(golden_str(o, key), NULL, 16); }

static void entries_say_what_the_manifest_says(void **state)
{
    (void)state;
    json_t *m = golden_json("clog_manifest.json"), *j;
    const obv_span files[3] = {{0}, golden_file("clog_1.bin"), golden_file("clog_2.bin")};
    size_t i;
    json_array_foreach(json_object_get(m, "entries"), i, j)
    {
        json_t *h = json_object_get(j, "header");
        obv_clog_entry e;
        obv_err err = {0};
        const size_t at = (size_t)golden_int(j, "offset");
        const obv_span file = files[golden_int(j, "file_id")];
        assert_code(obv_clog_entry_parse(from(file, at), &e, &err), OBV_OK, &err);
        assert_code(obv_clog_entry_check_data(&e, from(file, at + OBV_CLOG_ENTRY_HEADER), &err), OBV_OK, &err);
        assert_int_equal(e.log_id, golden_int(h, "log_id"));
        assert_int_equal(e.data_len, golden_int(h, "data_len"));
        assert_int_equal(e.submit_ts, golden_int(h, "submit_timestamp"));
        assert_int_equal(e.epoch_id, golden_int(h, "epoch_id"));
        assert_int_equal(e.is_trans, golden_int(h, "is_trans_log"));
        assert_int_equal(e.data_checksum, hex_of(h, "data_checksum"));
        assert_int_equal(obv_clog_key_hash(&e.pg), hex_of(json_object_get(h, "pkey"), "hash_value_in_memory"));
        obv_buf out = obv_buf_heap(4096);
        obv_clog_entry_emit(&e, &out);
        assert_span_equal(obv_buf_span(&out), obv_span_of(file.p + at, OBV_CLOG_ENTRY_HEADER));
        obv_buf_fini(&out);
    }
    json_decref(m);
}

static void every_cursor_leads_to_its_entry(void **state)
{
    (void)state;
    static const char *const ILOGS[] = {"rpc/ilog_1_early.bin", "rpc/ilog_1.bin", "rpc/ilog_2.bin"};
    const obv_span clogs[3] = {{0}, golden_file("clog_1.bin"), golden_file("clog_2.bin")};
    for (size_t i = 0; i < 3; i++) {
        const obv_span file = golden_file(ILOGS[i]);
        obv_err err = {0};
        obv_ilog_trailer t;
        obv_ilog_info info;
        assert_code(obv_ilog_trailer_parse(from(file, file.len - OBV_ILOG_TRAILER_AREA), file.len, &t, &err), OBV_OK,
                    &err);
        assert_code(obv_ilog_info_parse(obv_span_of(file.p + t.info_at, t.info_size), &t, &info, &err), OBV_OK, &err);
        for (uint32_t k = 0; k < info.capacity; k++) {
            obv_ilog_slot s, found;
            if (obv_ilog_slot_at(&info, k, &s, NULL) != OBV_OK)
                continue;
            assert_code(obv_ilog_find(&info, &s.pg, &found, &err), OBV_OK, &err);
            assert_int_equal(found.cursors_at, s.cursors_at);
            int64_t accum = 0;
            for (uint64_t log = s.min_log_id; log <= s.max_log_id; log++) {
                obv_ilog_cursor c;
                obv_clog_entry e;
                assert_code(
                    obv_ilog_cursor_parse(obv_span_of(file.p + obv_ilog_cursor_at(&s, log), OBV_ILOG_CURSOR), &c, &err),
                    OBV_OK, &err);
                assert_code(obv_clog_entry_parse(from(clogs[c.file_id], c.offset), &e, &err), OBV_OK, &err);
                assert_int_equal(e.log_id, log);
                assert_int_equal(e.data_len + OBV_CLOG_ENTRY_HEADER, c.size);
                if (e.submit_ts != c.submit_ts)
                    print_message("log %llu type %d: cursor time %lld, entry %lld\n", (unsigned long long)log,
                                  (int)e.type, (long long)c.submit_ts, (long long)e.submit_ts);
                if (log > s.min_log_id)
                    assert_int_equal(obv_clog_accum(accum, e.data_checksum), c.accum);
                accum = c.accum;
            }
        }
    }
}

static void mutations_are_judged_as_by_oceanbase(void **state)
{
    (void)state;
    json_t *m = golden_json("archive_manifest.json"), *j;
    size_t i;
    const obv_span index = golden_file("archive_index_1.bin");
    json_array_foreach(json_object_get(json_object_get(m, "index_file"), "bad"), i, j)
    {
        if (!json_object_get(j, "byte"))
            continue;
        uint8_t copy[OBV_ARCHIVE_INDEX_RECORD];
        memcpy(copy, index.p + (golden_int(j, "record") - 1) * (int64_t)sizeof copy, sizeof copy);
        copy[golden_int(j, "byte")] ^= (uint8_t)(json_object_get(j, "xor") ? golden_int(j, "xor") : 1);
        obv_archive_index r;
        assert_int_equal(obv_archive_index_parse(obv_span_of(copy, sizeof copy), &r, NULL) == OBV_OK,
                         golden_int(j, "check_integrity"));
    }
    json_t *key;
    json_array_foreach(json_object_get(m, "archive_key_files"), i, key)
    {
        const obv_span file = golden_file(golden_str(key, "file"));
        size_t k;
        json_array_foreach(json_object_get(key, "bad_byte_flips_check_integrity"), k, j)
        {
            uint8_t copy[OBV_ARCHIVE_KEY_BYTES];
            memcpy(copy, file.p, sizeof copy);
            copy[golden_int(j, "byte")] ^= 1;
            obv_archive_key out;
            assert_int_equal(obv_archive_key_parse(obv_span_of(copy, sizeof copy), &out, NULL) == OBV_OK,
                             golden_int(j, "ok"));
        }
    }
    const obv_span data[3] = {{0}, golden_file("archive_data_1.bin"), golden_file("archive_data_2.bin")};
    json_array_foreach(json_object_get(m, "bad_data_file"), i, j)
    {
        if (!json_object_get(j, "byte") || golden_int(j, "byte") >= OBV_ARCHIVE_BLOCK_HEADER)
            continue;
        uint8_t copy[OBV_ARCHIVE_BLOCK_HEADER];
        memcpy(copy, data[golden_int(j, "file")].p, sizeof copy);
        copy[golden_int(j, "byte")] ^= (uint8_t)golden_int(j, "xor");
        obv_archive_block b;
        const bool theirs = golden_int(j, "magic_ok") && golden_int(j, "meta_checksum_ok");
        assert_int_equal(obv_archive_block_parse(obv_span_of(copy, sizeof copy), &b, NULL) == OBV_OK, theirs);
    }
    json_decref(m);

    m = golden_json("clog_manifest.json");
    json_t *flips = json_object_get(json_object_get(m, "bad_entry_single_byte_flips"), "cases");
    const obv_span clog = golden_file("clog_1.bin");
    json_t *entries = json_object_get(m, "entries"), *entry = NULL;
    json_array_foreach(entries, i, j) if (golden_int(json_object_get(j, "header"), "log_id") == 101) entry = j;
    assert_non_null(entry);
    const size_t at = (size_t)golden_int(entry, "offset");
    json_array_foreach(flips, i, j)
    {
        if (!json_object_get(j, "byte") || !json_object_get(j, "deserialize_rc")) /* cuts, and the batch bit */
            continue;
        const size_t byte = (size_t)golden_int(j, "byte");
        if (byte >= OBV_CLOG_ENTRY_HEADER || byte == 56) /* 56: the address version, where we are stricter */
            continue;
        json_t *integrity = json_object_get(j, "header_checksum_ok"); /* absent where OceanBase fails before it */
        uint8_t copy[OBV_CLOG_ENTRY_HEADER];
        memcpy(copy, clog.p + at, sizeof copy);
        copy[byte] ^= (uint8_t)golden_int(j, "xor");
        obv_clog_entry e;
        const bool theirs = json_is_true(integrity) && golden_int(j, "magic_ok");
        assert_int_equal(obv_clog_entry_parse(obv_span_of(copy, sizeof copy), &e, NULL) == OBV_OK, theirs);
    }
    json_decref(m);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: no folder of golden data (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clog_files_read_to_their_end),
        cmocka_unit_test(entries_say_what_the_manifest_says),
        cmocka_unit_test(every_cursor_leads_to_its_entry),
        cmocka_unit_test(mutations_are_judged_as_by_oceanbase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
