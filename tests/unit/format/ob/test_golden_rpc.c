/* sweep over all golden exchanges of the storage RPC, all damaged answers, and all damaged macroblocks */
#include "base/crc32c.h"
#include "format/ob/macroblock.h"
#include "format/ob/storage_rpc.h"
#include "golden_rpc.h"

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
        while ((code = obv_rpc_next_recovery_meta(&r, &m, err)) == OBV_OK) {
            OBV_TRY(obv_pg_meta_parse(m.pg_meta, &pg, err));
            for (size_t i = 0; i < m.partition_count; i++) {
                obv_partition_store_meta store;
                obv_rd_partition_store_meta(&m.partitions, &store);
            }
            OBV_TRY(obv_rd_check(&m.partitions, "partitions", err));
            for (size_t i = 0; i < m.key_count; i++) {
                obv_table_key key;
                OBV_TRY(obv_table_key_parse(obv_rd_unis_span(&m.keys, 1), &key, err));
            }
        }
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

/* A peer's request has the header fields of the manifest, at the places where ours writes them. */
static void assert_request(json_t *m)
{
    const obv_span bytes = rpc_file(m, "file");
    json_t *h = json_object_get(m, "header");
    obv_rd r = obv_rd_of((obv_span){bytes.p + 16, 160});
    golden_vector_used("rpc/rpc_manifest.json exchanges[].messages");
    assert_int_equal(bytes.len, golden_int(m, "size"));
    assert_int_equal(obv_rd_be32(&r), strtoull(golden_str(h, "pcode"), NULL, 16));
    assert_int_equal(obv_rd_u8(&r), golden_int(h, "hlen"));
    assert_int_equal(obv_rd_u8(&r), golden_int(h, "priority"));
    assert_int_equal(obv_rd_be16(&r), strtoull(golden_str(h, "flags"), NULL, 16));
    const uint64_t sum = obv_rd_be64(&r);
    const bool right = obv_crc64(0, (obv_span){bytes.p + 176, bytes.len - 176}) == sum;
    assert_int_equal(right, golden_int(m, "verify_checksum_rc") == 0);
    assert_int_equal(obv_rd_be64(&r), golden_int(h, "tenant_id"));
    assert_int_equal(obv_rd_be64(&r), golden_int(h, "priv_tenant_id"));
    assert_int_equal(obv_rd_be64(&r), golden_int(h, "session_id"));
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
            if (strcmp(golden_str(m, "dir"), "response") != 0) {
                assert_request(m);
                continue;
            }
            obv_err err = {0};
            int32_t rcode = 0;
            const obv_span bytes = rpc_file(m, "file");
            golden_vector_used("rpc/rpc_manifest.json exchanges[].messages");
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

/* ---- damage */

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

static void assert_flips(json_t *mutations, const char *call, const char *kind, uint32_t pcode, obv_span good)
{
    char list[128];
    (void)snprintf(list, sizeof list, "rpc/rpc_mutations.json %s.%s", call, kind);
    const bool fix = strstr(kind, "checksum_fixed") != NULL;
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    size_t i;
    json_t *flip;
    json_array_foreach(json_object_get(json_object_get(mutations, call), kind), i, flip)
    {
        json_t *result = json_object_get(flip, "result");
        with_flip(good, flip, fix, copy);
        obv_err err = {0};
        const bool taken = judge(pcode, (obv_span){copy, good.len}, &err) == OBV_OK;
        const int64_t rc = json_is_integer(result) ? json_integer_value(result) : 0;
        golden_judged(list, is_refusal(result), !taken);
        /* with a right checksum some values only mean something impossible (-4015, -4016): OceanBase's own judgement */
        if (taken && is_refusal(result) && !(fix && (rc == -4015 || rc == -4016)))
            fail_msg("%s: flip at %lld is refused by OceanBase (%lld) but not by us", list,
                     (long long)golden_int(flip, "offset"), (long long)rc);
    }
    free(copy);
}

/* Whatever byte of the payload is damaged: the checksum tells, as in OceanBase ("tested": how many it tried). */
static void assert_unfixed(json_t *mutations, const char *call, uint32_t pcode, obv_span good)
{
    json_t *unfixed = json_object_get(json_object_get(mutations, call), "payload_flips_checksum_not_fixed");
    char list[128];
    (void)snprintf(list, sizeof list, "rpc/rpc_mutations.json %s.payload_flips_checksum_not_fixed.tested", call);
    assert_int_equal(golden_int(unfixed, "tested"), good.len - 176);
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    memcpy(copy, good.p, good.len);
    for (size_t at = 176; at < good.len; at++) {
        obv_err err = {0};
        copy[at] ^= 1;
        assert_int_equal(judge(pcode, (obv_span){copy, good.len}, &err), OBV_E_CORRUPT);
        copy[at] ^= 1;
        golden_judged(list, true, true);
    }
    free(copy);
}

/* The recovery point mutations were made with one point, the exchange beside them has two: the first one is taken. */
static obv_span one_recovery_point_answer(void)
{
    const obv_span two = golden_file("rpc/rpc_recovery_point_standalone.resp1.bin");
    enum { PREFIX = 176 + 10, ENVELOPE = 6 + 2, ITEM = 1139 };
    static uint8_t one[PREFIX + ENVELOPE + ITEM];
    memcpy(one, two.p, sizeof one);
    const uint8_t envelope[ENVELOPE] = {
        1, 0x80 | ((ITEM + 2) & 0x7f), 0x80 | (ITEM + 2) >> 7, 0x80, 0x80, 0, 0x80 | (ITEM & 0x7f), ITEM >> 7};
    memcpy(one + PREFIX, envelope, sizeof envelope);
    set_checksum_and_length(one, sizeof one);
    return (obv_span){one, sizeof one};
}

static void damaged_answers_that_oceanbase_refuses_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *file;
        uint32_t pcode;
    } CASES[] = {{"client_pg_info", "rpc/rpc_pg_info_standalone.resp1.bin", 0x472},
                 {"client_base_meta", "rpc/rpc_base_meta_standalone_major.resp1.bin", 0x45D},
                 {"client_recovery_point", NULL, 0x487},
                 {"client_pg_partition", "rpc/rpc_pg_partition_standalone.resp1.bin", 0x473}};
    json_t *m = golden_json("rpc/rpc_mutations.json");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_span good = CASES[i].file ? golden_file(CASES[i].file) : one_recovery_point_answer();
        obv_err err = {0};
        assert_int_equal(good.len, golden_int(json_object_get(m, CASES[i].key), "response_size"));
        assert_code(judge(CASES[i].pcode, good, &err), OBV_OK, &err);
        assert_flips(m, CASES[i].key, "header_flips", CASES[i].pcode, good);
        assert_flips(m, CASES[i].key, "payload_flips_checksum_fixed", CASES[i].pcode, good);
        assert_unfixed(m, CASES[i].key, CASES[i].pcode, good);
    }
    json_decref(m);
}

/* OceanBase's stream client takes later packets unchecked; ours checks every packet, so it refuses more. */
static void damaged_later_packets_of_a_stream_are_refused(void **state)
{
    (void)state;
    json_t *m = golden_json("rpc/rpc_mutations.json");
    json_t *c = json_object_get(m, "client_stream_chunk_2");
    const obv_span good = golden_file("rpc/rpc_macro_stream_small.resp2.bin");
    assert_int_equal(good.len, golden_int(c, "response_size"));
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    size_t i;
    json_t *flip;
    json_array_foreach(json_object_get(c, "flips"), i, flip)
    {
        obv_buf out = obv_buf_heap(4u << 20);
        obv_err err = {0};
        int32_t rcode = 0;
        bool more = false;
        with_flip(good, flip, false, copy);
        const size_t at = (size_t)golden_int(flip, "offset");
        const obv_code code = take_answer((obv_span){copy, good.len}, &out, &rcode, &more, &err);
        golden_judged("rpc/rpc_mutations.json client_stream_chunk_2.flips", is_refusal(json_object_get(flip, "result")),
                      code != OBV_OK || !more); /* an early end is found by the count of blocks */
        if (at >= 176 && code == OBV_OK)
            fail_msg("a damaged payload byte at %zu of a later packet is taken", at);
        obv_buf_fini(&out);
    }
    free(copy);
    json_decref(m);
}

/* ---- macroblocks */

static void assert_block_manifest(json_t *manifest, const char *name_of_it, const char *folder)
{
    char blocks_list[96];
    char bad_list[96];
    (void)snprintf(blocks_list, sizeof blocks_list, "%s macro_blocks", name_of_it);
    (void)snprintf(bad_list, sizeof bad_list, "%s macro_blocks[].bad", name_of_it);
    json_t *blocks = json_object_get(manifest, "macro_blocks");
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
        golden_vector_used(blocks_list);
        uint8_t *copy = malloc(data.len);
        assert_non_null(copy);
        size_t k;
        json_t *bad;
        json_array_foreach(json_object_get(b, "bad"), k, bad)
        {
            const int64_t at = golden_int(bad, "offset");
            const bool refused = golden_int(bad, "macro_rc") != 0 || golden_int(bad, "auto_rc") != 0;
            memcpy(copy, data.p, data.len);
            if (at < m.occupy_size) /* behind it nothing is copied */
                copy[at] ^= 1;
            const bool taken = obv_macro_block_check(&m, &s, (obv_span){copy, data.len}, &err) == OBV_OK;
            golden_judged(bad_list, refused, !taken);
            if (refused && taken)
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
    assert_block_manifest(storage, "storage_manifest.json", "");
    assert_block_manifest(more, "rpc/blocks_manifest.json", "rpc/");
    json_decref(storage);
    json_decref(more);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: the folder of full golden data is not here (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exchange_is_understood),
        cmocka_unit_test(damaged_answers_that_oceanbase_refuses_are_refused),
        cmocka_unit_test(damaged_later_packets_of_a_stream_are_refused),
        cmocka_unit_test(every_golden_macroblock_is_judged_as_by_oceanbase),
    };
    return cmocka_run_group_tests_name("format.golden_rpc", tests, NULL, NULL);
}
