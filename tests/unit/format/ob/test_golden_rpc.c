/* sweep over all golden exchanges of the storage RPC, all damaged answers, and all damaged macroblocks */
#include "base/crc32c.h"
#include "format/ob/macroblock.h"
#include "format/ob/storage_rpc.h"
#include "golden.h"

static obv_span rpc_file(json_t *message, const char *key)
{
    char name[160];
    char *text = strdup(golden_str(message, key));
    const size_t len = strlen(text);
    if (len > 4 && strcmp(text + len - 4, ".zst") == 0)
        text[len - 4] = 0;
    (void)snprintf(name, sizeof name, "rpc/%s", text);
    free(text);
    return golden_file(name);
}

/* ---- answers */

/* What a call's whole answer must parse as. */
static obv_code parse_answer(uint32_t pcode, obv_span bytes, obv_err *err)
{
    obv_rd r = obv_rd_of(bytes);
    obv_code code;
    if (pcode == 0x472) {
        obv_rpc_pg_info info;
        obv_pg_meta m;
        OBV_TRY(obv_rpc_pg_info_parse(bytes, &info, err));
        return obv_pg_meta_parse(info.pg_meta, &m, err);
    }
    if (pcode == 0x473) {
        obv_rpc_partition p;
        while ((code = obv_rpc_next_partition(&r, &p, err)) == OBV_OK) {
            for (size_t i = 0; i < p.index_count; i++) {
                obv_rpc_table_info t;
                OBV_TRY(obv_rpc_next_table_info(&p.table_infos, &t, err));
                for (size_t k = 0; k < t.key_count; k++) {
                    obv_table_key key;
                    OBV_TRY(obv_table_key_parse(obv_rd_unis_span(&t.keys, 1), &key, err));
                }
            }
        }
        return code == OBV_E_NOT_FOUND ? OBV_OK : code;
    }
    if (pcode == 0x487) {
        obv_rpc_recovery_meta m;
        obv_pg_meta pg;
        while ((code = obv_rpc_next_recovery_meta(&r, &m, err)) == OBV_OK)
            OBV_TRY(obv_pg_meta_parse(m.pg_meta, &pg, err));
        return code == OBV_E_NOT_FOUND ? OBV_OK : code;
    }
    if (pcode == 0x45D) {
        obv_rpc_base_meta m;
        int64_t version;
        int64_t seq;
        OBV_TRY(obv_rpc_base_meta_parse(bytes, &m, err));
        for (uint64_t i = 0; i < m.pair_count; i++)
            OBV_TRY(obv_rpc_next_pair(&m.pairs, &version, &seq, err));
        return obv_rd_done(&m.pairs, "pairs", err);
    }
    while (obv_rd_left(&r) > 0) {
        obv_macro_meta m;
        obv_macro_schema s;
        size_t used = 0;
        OBV_TRY(obv_macro_meta_parse((obv_span){r.p, obv_rd_left(&r)}, &m, &used, err));
        (void)obv_rd_bytes(&r, used);
        OBV_TRY(obv_macro_schema_parse((obv_span){r.p, obv_rd_left(&r)}, &s, &used, err));
        (void)obv_rd_bytes(&r, used);
        const obv_span block = obv_rd_bytes(&r, (size_t)m.occupy_size);
        OBV_TRY(obv_rd_check(&r, "block", err));
        OBV_TRY(obv_macro_block_check(&m, &s, block, err));
    }
    return OBV_OK;
}

/* One answer as our client takes it; its bytes are appended to @p out. */
static obv_code take_answer(obv_span bytes, obv_buf *out, int32_t *rcode, bool *more, obv_err *err)
{
    obv_rpc_frame_kind kind;
    size_t total = 0;
    OBV_TRY(obv_rpc_frame(bytes, &kind, &total, err));
    if (kind != OBV_FRAME_PACKET || total != bytes.len)
        return obv_fail(err, OBV_E_TIMEOUT, 0, "no whole packet");
    obv_rpc_packet p;
    OBV_TRY(obv_rpc_packet_parse(bytes, &p, err));
    obv_buf scratch = obv_buf_heap(OBV_RPC_PACKET_MAX);
    obv_span body;
    obv_rpc_result res = {0};
    obv_span data = {0};
    obv_code code = obv_rpc_body(&p, &scratch, &body, err);
    if (code == OBV_OK)
        code = obv_rpc_result_parse(body, &res, err);
    if (code == OBV_OK && res.rcode == 0) {
        data = res.rest;
        if (p.pcode != 0x472)
            code = obv_rpc_data_buffer(res.rest, &data, err);
    }
    if (code == OBV_OK)
        obv_buf_append(out, data.p, data.len);
    *rcode = res.rcode;
    *more = p.is_stream && !p.is_last;
    obv_buf_fini(&scratch);
    return code;
}

static void every_exchange_is_understood(void **state)
{
    (void)state;
    json_t *manifest = golden_json("rpc/rpc_manifest.json");
    size_t i;
    json_t *e;
    size_t good = 0;
    json_array_foreach(json_object_get(manifest, "exchanges"), i, e)
    {
        const char *name = golden_str(e, "name");
        obv_buf all = obv_buf_heap(64u << 20);
        uint32_t pcode = 0;
        bool more = false;
        bool failed = false;
        size_t k;
        json_t *m;
        json_array_foreach(json_object_get(e, "messages"), k, m)
        {
            if (strcmp(golden_str(m, "dir"), "response") != 0)
                continue;
            obv_err err = {0};
            int32_t rcode = 0;
            const obv_span bytes = rpc_file(m, "file");
            const obv_code code = take_answer(bytes, &all, &rcode, &more, &err);
            if (golden_int(m, "verify_checksum_rc") != 0) {
                assert_int_equal(code, OBV_E_CORRUPT);
                failed = true;
                continue;
            }
            if (code != OBV_OK)
                fail_msg("%s, answer %zu: %s", name, k, err.msg);
            obv_rpc_packet p;
            assert_code(obv_rpc_packet_parse(bytes, &p, &err), OBV_OK, &err);
            pcode = p.pcode;
            assert_int_equal(rcode, golden_int(json_object_get(m, "result"), "rcode"));
            failed |= rcode != 0;
        }
        obv_err err = {0};
        if (!failed && !more) {
            const obv_code code = parse_answer(pcode, obv_buf_span(&all), &err);
            if (code != OBV_OK)
                fail_msg("%s: %s", name, err.msg);
            good++;
        }
        obv_buf_fini(&all);
    }
    assert_true(good > 40);
    json_decref(manifest);
}

/* ---- requests */

static void put_argument(obv_buf *b, json_t *arg)
{
    const char *type = golden_str(arg, "type");
    json_t *pg = json_object_get(arg, "pg_key");
    obv_pg_key key = {0};
    if (pg) {
        key = obv_pg_key_from_partition_id((uint64_t)golden_int(pg, "table_id"), golden_int(pg, "partition_id"));
        if (!obv_pg_key_is_two_level(&key))
            key.assist = (int32_t)golden_int(pg, "part_cnt");
    }
    const obv_span want = golden_hex(golden_str(arg, "hex"));
    obv_rd r = obv_rd_of(want);
    if (strcmp(type, "ObFetchPGInfoArg") == 0) {
        obv_rpc_put_pg_info_arg(b, &key);
    } else if (strcmp(type, "ObFetchPGPartitionInfoArg") == 0) {
        obv_rpc_put_pg_partitions_arg(b, &key, golden_int(arg, "snapshot_version"), golden_int(arg, "log_ts"));
    } else if (strcmp(type, "ObFetchPhysicalBaseMetaArg") == 0) {
        obv_rd body = obv_rd_unis(&r, 1);
        obv_rpc_put_base_meta_arg(b, obv_rd_unis_span(&body, 1));
    } else if (strcmp(type, "ObFetchMacroBlockListArg") == 0) {
        obv_rd body = obv_rd_unis(&r, 2);
        const obv_span table_key = obv_rd_unis_span(&body, 1);
        obv_rpc_block_ref refs[128];
        size_t n;
        json_t *ref;
        json_array_foreach(json_object_get(arg, "arg_list"), n, ref)
        {
            json_t *v = json_object_get(ref, "data_version");
            refs[n] =
                (obv_rpc_block_ref){golden_int(ref, "macro_block_index"),
                                    golden_int(v, "major") | golden_int(v, "minor") << 32, golden_int(ref, "data_seq")};
        }
        obv_rpc_put_macro_blocks_arg(b, table_key, refs, json_array_size(json_object_get(arg, "arg_list")));
    } else if (json_array_size(json_object_get(arg, "recovery_point_key_array")) == 1) {
        json_t *point = json_array_get(json_object_get(arg, "recovery_point_key_array"), 0);
        obv_rpc_put_recovery_meta_arg(b, &key, golden_int(point, "snapshot_version"),
                                      (int32_t)golden_int(point, "type"));
    } else {
        obv_put_span(b, want); /* several recovery points at once: we ask for one */
    }
}

static void every_argument_is_oceanbases_bytes(void **state)
{
    (void)state;
    json_t *manifest = golden_json("rpc/rpc_manifest.json");
    size_t i;
    json_t *e;
    size_t compared = 0;
    json_array_foreach(json_object_get(manifest, "exchanges"), i, e)
    {
        json_t *arg = json_object_get(e, "arg");
        const char *name = golden_str(e, "name");
        if (!arg || !json_object_get(arg, "hex") || strcmp(name, "err_compat_version_1") == 0)
            continue;
        obv_buf b = obv_buf_heap(OBV_RPC_REQUEST_MAX);
        put_argument(&b, arg);
        const obv_span want = golden_hex(golden_str(arg, "hex"));
        if (!obv_span_equal(obv_buf_span(&b), want))
            fail_msg("argument of %s differs", name);
        obv_buf_fini(&b);
        compared++;
    }
    assert_true(compared > 40);
    json_decref(manifest);
}

/* ---- damage */

static void with_flip(obv_span good, json_t *flip, bool fix_checksum, uint8_t *copy)
{
    memcpy(copy, good.p, good.len);
    copy[golden_int(flip, "offset")] ^= (uint8_t)golden_int(flip, "xor");
    if (!fix_checksum)
        return;
    const uint64_t crc = obv_crc64(0, (obv_span){copy + 176, good.len - 176});
    for (int i = 0; i < 8; i++)
        copy[16 + 8 + i] = (uint8_t)(crc >> (56 - 8 * i));
}

/* @return OBV_OK when our client would have taken the damaged answer for a good one. */
static obv_code judge(uint32_t pcode, obv_span bytes, obv_err *err)
{
    obv_buf all = obv_buf_heap(1u << 20);
    int32_t rcode = 0;
    bool more = false;
    obv_rpc_packet p;
    obv_code code = take_answer(bytes, &all, &rcode, &more, err);
    if (code == OBV_OK && obv_rpc_packet_parse(bytes, &p, err) == OBV_OK && p.pcode != pcode)
        code = obv_fail(err, OBV_E_CORRUPT, 0, "another call's answer"); /* as the agent's client checks */
    if (code == OBV_OK && rcode != 0)
        code = obv_fail(err, OBV_E_IO, rcode, "server error");
    if (code == OBV_OK && more)
        code = obv_fail(err, OBV_E_TIMEOUT, 0, "waits for a packet that never comes");
    if (code == OBV_OK)
        code = parse_answer(pcode, obv_buf_span(&all), err);
    obv_buf_fini(&all);
    return code;
}

static void assert_flips(json_t *flips, const char *what, uint32_t pcode, obv_span good, bool fix)
{
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    size_t i;
    json_t *flip;
    json_array_foreach(flips, i, flip)
    {
        json_t *result = json_object_get(flip, "result");
        with_flip(good, flip, fix, copy);
        obv_err err = {0};
        const bool taken = judge(pcode, (obv_span){copy, good.len}, &err) == OBV_OK;
        const int64_t rc = json_is_integer(result) ? json_integer_value(result) : 0;
        /* with a right checksum some values only mean something impossible (-4015, -4016): OceanBase's own judgement */
        const bool refused = rc != 0 && !(fix && (rc == -4015 || rc == -4016));
        if (taken && refused)
            fail_msg("%s: flip at %lld is refused by OceanBase (%lld) but not by us", what,
                     (long long)golden_int(flip, "offset"), (long long)rc);
    }
    free(copy);
}

static void damaged_answers_that_oceanbase_refuses_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *file;
        uint32_t pcode;
    } CASES[] = {{"client_pg_info", "rpc/rpc_pg_info_standalone.resp1.bin", 0x472},
                 {"client_base_meta", "rpc/rpc_base_meta_standalone_major.resp1.bin", 0x45D},
                 {"client_pg_partition", "rpc/rpc_pg_partition_standalone.resp1.bin", 0x473}};
    json_t *m = golden_json("rpc/rpc_mutations.json");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *c = json_object_get(m, CASES[i].key);
        const obv_span good = golden_file(CASES[i].file);
        assert_int_equal(good.len, golden_int(c, "response_size"));
        assert_flips(json_object_get(c, "header_flips"), CASES[i].key, CASES[i].pcode, good, false);
        assert_flips(json_object_get(c, "payload_flips_checksum_fixed"), CASES[i].key, CASES[i].pcode, good, true);
    }
    json_decref(m);
}

/* ---- macroblocks */

static void assert_block_manifest(json_t *blocks, const char *folder)
{
    size_t i;
    json_t *b;
    json_array_foreach(blocks, i, b)
    {
        char name[160];
        char *file = strdup(golden_str(b, "file"));
        const size_t len = strlen(file);
        if (len > 4 && strcmp(file + len - 4, ".zst") == 0)
            file[len - 4] = 0;
        (void)snprintf(name, sizeof name, "%s%s", folder, file);
        free(file);
        const obv_span full = golden_hex(golden_str(b, "full_meta_entry_hex"));
        obv_span data = golden_file(name);
        obv_macro_meta m;
        obv_macro_schema s;
        obv_err err = {0};
        assert_code(obv_macro_full_meta_parse(full, &m, &s, &err), OBV_OK, &err);
        data.len = (size_t)m.occupy_size;
        if (obv_macro_block_check(&m, &s, data, &err) != OBV_OK)
            fail_msg("%s: %s", name, err.msg);
        uint8_t *copy = malloc(data.len);
        assert_non_null(copy);
        size_t k;
        json_t *bad;
        json_array_foreach(json_object_get(b, "bad"), k, bad)
        {
            const int64_t at = golden_int(bad, "offset");
            const bool refused = golden_int(bad, "macro_rc") != 0 || golden_int(bad, "auto_rc") != 0;
            if (at >= m.occupy_size)
                continue;
            memcpy(copy, data.p, data.len);
            copy[at] ^= 1;
            if (refused && obv_macro_block_check(&m, &s, (obv_span){copy, data.len}, &err) == OBV_OK)
                fail_msg("%s: %s is not noticed", name, golden_str(bad, "flip"));
        }
        free(copy);
    }
}

static void every_golden_macroblock_is_judged_as_by_oceanbase(void **state)
{
    (void)state;
    json_t *storage = golden_json("storage_manifest.json");
    json_t *more = golden_json("rpc/blocks_manifest.json");
    assert_block_manifest(json_object_get(storage, "macro_blocks"), "");
    assert_block_manifest(json_object_get(more, "macro_blocks"), "rpc/");
    json_decref(storage);
    json_decref(more);
}

/* ---- primitives */

static void every_integer_is_oceanbases_bytes(void **state)
{
    (void)state;
    json_t *m = golden_json("serialization_vectors.json");
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(m, "integers"), i, e)
    {
        uint8_t room[16];
        obv_buf b = obv_buf_fixed(room, sizeof room);
        obv_put_vi64(&b, golden_int(e, "value"));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, "vi64")));
        obv_rd r = obv_rd_of(obv_buf_span(&b));
        assert_int_equal(obv_rd_vi64(&r), golden_int(e, "value"));
        b.len = 0;
        obv_put_vi32(&b, (int32_t)golden_int(e, "as_i32_value"));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, "vi32")));
        r = obv_rd_of(obv_buf_span(&b));
        assert_int_equal(obv_rd_vi32(&r), golden_int(e, "as_i32_value"));
        b.len = 0;
        obv_put_be64(&b, (uint64_t)golden_int(e, "value"));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, "i64")));
    }
    json_array_foreach(json_object_get(m, "strings"), i, e)
    {
        obv_buf b = obv_buf_heap(1 << 20);
        const char *s = golden_str(e, "str");
        obv_put_vstr(&b, obv_span_of(s, strlen(s)));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, "ObString_serialize")));
        obv_buf_fini(&b);
    }
    json_decref(m);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: the folder of full golden data is not here (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exchange_is_understood),
        cmocka_unit_test(every_argument_is_oceanbases_bytes),
        cmocka_unit_test(damaged_answers_that_oceanbase_refuses_are_refused),
        cmocka_unit_test(every_golden_macroblock_is_judged_as_by_oceanbase),
        cmocka_unit_test(every_integer_is_oceanbases_bytes),
    };
    return cmocka_run_group_tests_name("format.golden_rpc", tests, NULL, NULL);
}
