/* sweep over golden partition keys and every damage of an ilog file that OceanBase judged */
#include "base/crc32c.h"
#include "format/ob/clog_entry.h"
#include "format/ob/codec.h"
#include "format/ob/ilog.h"
#include "format/ob/keys.h"
#include "golden.h"

static uint64_t hex_of(json_t *o, const char *key) { return strtoull(golden_str(o, key), NULL, 16); }

static void every_key_hashes_as_in_oceanbase(void **state)
{
    (void)state;
    json_t *m = golden_json("serialization_vectors.json"), *e;
    size_t i;
    json_array_foreach(json_object_get(m, "partition_key_hash"), i, e)
    {
        const obv_span bytes = golden_hex(golden_str(e, "serialized_hex"));
        obv_rd r = obv_rd_of(bytes);
        const obv_pg_key k = obv_rd_pkey(&r);
        assert_false(r.bad);
        assert_int_equal(obv_clog_key_hash(&k), hex_of(e, "hash"));
        assert_int_equal(obv_pg_key_valid(&k), golden_int(e, "is_valid"));
        if (golden_int(e, "is_valid"))
            assert_int_equal(obv_pg_key_tenant(&k), golden_int(e, "tenant_id"));
        uint8_t room[OBV_PKEY_LEN];
        obv_buf b = obv_buf_fixed(room, sizeof room);
        obv_put_pkey(&b, &k);
        assert_span_equal(obv_buf_span(&b), bytes);
        golden_vector_used("serialization_vectors.json partition_key_hash");
    }
    json_array_foreach(json_object_get(m, "ilog_index_entry"), i, e)
    {
        /* the old ilog entry is an envelope; the cursors of 3.1's ilog files carry the same members */
        obv_rd r = obv_rd_of(golden_hex(golden_str(e, "hex")));
        obv_rd body = obv_rd_unis(&r, 1);
        const obv_span magic = obv_rd_bytes(&body, 5);
        assert_false(r.bad || body.bad || obv_rd_left(&r));
        assert_int_equal(magic.len, 5);
        golden_vector_used("serialization_vectors.json ilog_index_entry");
    }
    json_decref(m);
}

/* Reads all that an ilog file has, as the agent does. */
static obv_code read_ilog(obv_span file, bool *content_ok)
{
    obv_ilog_trailer t;
    obv_ilog_info info;
    *content_ok = false;
    if (file.len < OBV_ILOG_TRAILER_AREA)
        return OBV_E_CORRUPT;
    OBV_TRY(obv_ilog_trailer_parse(obv_span_of(file.p + file.len - OBV_ILOG_TRAILER_AREA, OBV_ILOG_TRAILER_AREA),
                                   file.len, &t, NULL));
    OBV_TRY(obv_ilog_info_parse(obv_span_of(file.p + t.info_at, t.info_size), &t, &info, NULL));
    for (uint32_t k = 0; k < info.capacity; k++) {
        obv_ilog_slot s;
        const obv_code code = obv_ilog_slot_at(&info, k, &s, NULL);
        if (code == OBV_E_NOT_FOUND)
            continue;
        OBV_TRY(code);
        for (uint64_t log = s.min_log_id; log <= s.max_log_id; log++) {
            obv_ilog_cursor c;
            OBV_TRY(
                obv_ilog_cursor_parse(obv_span_of(file.p + obv_ilog_cursor_at(&s, log), OBV_ILOG_CURSOR), &c, NULL));
        }
    }
    *content_ok = (int64_t)obv_crc64(0, obv_span_of(file.p, t.members_at + t.members_size)) == t.content_checksum;
    return OBV_OK;
}

static void every_damaged_ilog_is_judged_as_by_oceanbase(void **state)
{
    (void)state;
    static const struct {
        const char *key, *list;
    } LISTS[] = {
        {"trailer", "rpc/ilog_manifest.json mutations_of_ilog_1.trailer"},
        {"info_block", "rpc/ilog_manifest.json mutations_of_ilog_1.info_block"},
        {"cursor_array", "rpc/ilog_manifest.json mutations_of_ilog_1.cursor_array"},
        {"others (gap after cursors, member list block, gap before trailer)",
         "rpc/ilog_manifest.json mutations_of_ilog_1.others"},
    };
    json_t *m = golden_json("rpc/ilog_manifest.json"), *j, *f;
    json_t *bad = json_object_get(m, "mutations_of_ilog_1");
    const obv_span good = golden_file("rpc/ilog_1.bin");
    uint8_t *copy = malloc(good.len + 4096);
    bool content = false;
    assert_non_null(copy);
    assert_int_equal(read_ilog(good, &content), OBV_OK);
    assert_true(content);
    for (size_t l = 0; l < sizeof LISTS / sizeof *LISTS; l++) {
        size_t i;
        json_array_foreach(json_object_get(bad, LISTS[l].key), i, j)
        {
            json_t *rc = json_object_get(j, "get_index_info_block_map_rc"); /* a text where OceanBase itself died */
            const bool refused = !json_is_integer(rc) || json_integer_value(rc) != 0;
            memcpy(copy, good.p, good.len);
            copy[golden_int(j, "offset")] ^= (uint8_t)golden_int(j, "xor");
            const bool taken = read_ilog(obv_span_of(copy, good.len), &content) == OBV_OK;
            golden_judged(LISTS[l].list, refused, !taken);
            if (refused && taken)
                fail_msg("%s at %lld: refused by OceanBase but not by us", LISTS[l].list,
                         (long long)golden_int(j, "offset"));
            json_t *trailer = json_object_get(j, "trailer_checksum_ok"); /* which OceanBase never looks at: we do */
            if (json_is_false(trailer))
                assert_false(taken);
            if (taken && json_is_boolean(json_object_get(j, "file_content_checksum_ok")))
                assert_int_equal(content, json_is_true(json_object_get(j, "file_content_checksum_ok")));
        }
    }
    size_t i;
    json_array_foreach(json_object_get(bad, "shapes"), i, j)
    {
        const size_t size = (size_t)golden_int(j, "size");
        memcpy(copy, good.p, good.len);
        memset(copy + good.len, 0, 4096);
        assert_true(size <= good.len + 4096);
        const bool taken = read_ilog(obv_span_of(copy, size), &content) == OBV_OK;
        golden_judged("rpc/ilog_manifest.json mutations_of_ilog_1.shapes", golden_int(j, "rc") != 0, !taken);
        assert_false(taken);
    }
    json_array_foreach(json_object_get(m, "files"), i, f)
    {
        char name[128];
        (void)snprintf(name, sizeof name, "rpc/%s", golden_str(f, "file"));
        assert_int_equal(read_ilog(golden_file(name), &content), OBV_OK);
        assert_true(content);
        golden_vector_used("rpc/ilog_manifest.json files");
    }
    free(copy);
    json_decref(m);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: the folder of full golden data is not here (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_hashes_as_in_oceanbase),
        cmocka_unit_test(every_damaged_ilog_is_judged_as_by_oceanbase),
    };
    return cmocka_run_group_tests_name("format.golden_keys", tests, NULL, NULL);
}
