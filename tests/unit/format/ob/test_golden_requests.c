/* sweep over golden requests of the storage RPC: arguments, the smallest requests, requests damaged on their way */
#include "format/ob/storage_rpc.h"
#include "golden_rpc.h"

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
        if (!arg || !json_object_get(arg, "hex") || strcmp(name, "err_compat_version_1") == 0) {
            golden_vector_used("rpc/rpc_manifest.json exchanges"); /* argument of a version that we do not write */
            continue;
        }
        obv_buf b = obv_buf_heap(OBV_RPC_REQUEST_MAX);
        put_argument(&b, arg);
        const obv_span want = golden_hex(golden_str(arg, "hex"));
        if (!obv_span_equal(obv_buf_span(&b), want))
            fail_msg("argument of %s differs", name);
        golden_vector_used("rpc/rpc_manifest.json exchanges");
        obv_buf_fini(&b);
        compared++;
    }
    assert_true(compared > 40);
    json_decref(manifest);
}

/* Each smallest request that OceanBase answered, made again from its values. */
static void every_smallest_request_is_ours(void **state)
{
    (void)state;
    json_t *m = golden_json("rpc/rpc_manifest.json"), *e;
    size_t i;
    json_array_foreach(json_object_get(m, "minimal_requests"), i, e)
    {
        char name[128];
        (void)snprintf(name, sizeof name, "rpc/%s", golden_str(e, "file"));
        const obv_span want = golden_file(name);
        const uint32_t pcode = (uint32_t)strtoull(golden_str(json_object_get(e, "header"), "pcode"), NULL, 16);
        obv_rpc_request q = {.cluster_id = -1, .payload = {want.p + 176, want.len - 176}};
        while (q.call < OBV_RPC_CALLS && obv_rpc_pcode(q.call) != pcode)
            q.call++;
        obv_rd times = obv_rd_of((obv_span){want.p + 16 + 40, 32});
        q.trace[0] = obv_rd_be64(&times);
        q.trace[1] = obv_rd_be64(&times);
        q.timeout_us = (int64_t)obv_rd_be64(&times);
        q.timestamp_us = (int64_t)obv_rd_be64(&times);
        obv_buf b = obv_buf_heap(OBV_RPC_REQUEST_MAX);
        obv_rpc_put_request(&b, &q);
        assert_int_equal(b.len, want.len);
        enum { PACKET_ID_AT = 112, PACKET_ID_LEN = 8 }; /* OceanBase's network library fills it */
        memcpy(b.data + PACKET_ID_AT, want.p + PACKET_ID_AT, PACKET_ID_LEN);
        assert_span_equal(obv_buf_span(&b), want);
        obv_buf_fini(&b);
        golden_vector_used("rpc/rpc_manifest.json minimal_requests");
    }
    json_decref(m);
}

/* The recovery point mutations were made with one point, the exchange beside them has two: the first one is taken. */
static obv_span one_recovery_point_request(void)
{
    const obv_span two = golden_file("rpc/rpc_recovery_point_standalone.req1.bin");
    enum { COUNT_AT = 176 + 6 + 16, POINT = 15, CONTEXT = 7 };
    static uint8_t one[COUNT_AT + 1 + POINT + CONTEXT];
    memcpy(one, two.p, COUNT_AT + 1 + POINT);
    memcpy(one + COUNT_AT + 1 + POINT, two.p + two.len - CONTEXT, CONTEXT);
    one[COUNT_AT] = 1;
    one[176 + 1] = 0x80 | (16 + 1 + POINT);
    set_checksum_and_length(one, sizeof one);
    return (obv_span){one, sizeof one};
}

/* The mutations of 0x473 were made with a log time of 0: one byte, where the exchange has eight. */
static obv_span no_log_ts_request(void)
{
    const obv_span full = golden_file("rpc/rpc_pg_partition_standalone.req1.bin");
    enum { LOG_TS_AT = 176 + 6 + 16 + 8 + 1, LOG_TS = 8, CONTEXT = 7 };
    static uint8_t out[LOG_TS_AT + 1 + CONTEXT];
    memcpy(out, full.p, LOG_TS_AT);
    out[LOG_TS_AT] = 0;
    memcpy(out + LOG_TS_AT + 1, full.p + LOG_TS_AT + LOG_TS, CONTEXT);
    out[176 + 1] = (uint8_t)(out[176 + 1] - (LOG_TS - 1));
    set_checksum_and_length(out, sizeof out);
    return (obv_span){out, sizeof out};
}

/* Requests damaged on their way to OceanBase: what its framing and checksum refuse, ours refuse in an answer. */
static void damaged_requests_are_judged_by_the_same_framing(void **state)
{
    (void)state;
    static const struct {
        const char *key, *file;
        obv_span (*make)(void);
    } CASES[] = {{"server_pg_info", "rpc/rpc_pg_info_standalone.req1.bin", NULL},
                 {"server_base_meta", "rpc/rpc_base_meta_standalone_major.req1.bin", NULL},
                 {"server_macro", "rpc/rpc_macro_standalone_major_index.req1.bin", NULL},
                 {"server_recovery_point", NULL, one_recovery_point_request},
                 {"server_pg_partition", NULL, no_log_ts_request}};
    static const char *const KINDS[] = {"header_flips", "payload_flips_checksum_not_fixed",
                                        "payload_flips_checksum_fixed"};
    json_t *m = golden_json("rpc/rpc_mutations.json");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *c = json_object_get(m, CASES[i].key);
        const obv_span good = CASES[i].make ? CASES[i].make() : golden_file(CASES[i].file);
        assert_int_equal(good.len, golden_int(c, "base_request_size"));
        uint8_t *copy = malloc(good.len);
        assert_non_null(copy);
        for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
            char list[128];
            (void)snprintf(list, sizeof list, "rpc/rpc_mutations.json %s.%s", CASES[i].key, KINDS[k]);
            size_t n;
            json_t *flip;
            json_array_foreach(json_object_get(c, KINDS[k]), n, flip)
            {
                json_t *result = json_object_get(flip, "result");
                obv_err err = {0};
                obv_rpc_frame_kind kind;
                size_t total;
                obv_rpc_packet p;
                with_flip(good, flip, k == 2, copy);
                copy[16 + 6] |= 0x80; /* as an answer */
                const obv_span bytes = {copy, good.len};
                const bool taken = obv_rpc_frame(bytes, &kind, &total, &err) == OBV_OK && kind == OBV_FRAME_PACKET &&
                                   total == bytes.len && obv_rpc_packet_parse(bytes, &p, &err) == OBV_OK;
                golden_judged(list, is_refusal(result), !taken);
                const char *text = json_is_string(result) ? json_string_value(result) : "";
                const bool framing = strncmp(text, "decode error", 12) == 0 || strncmp(text, "more data", 9) == 0;
                if (taken && (framing || json_integer_value(result) == -4103))
                    fail_msg("%s: a flip at %lld passes framing and checksum", list,
                             (long long)golden_int(flip, "offset"));
            }
        }
        free(copy);
        char list[128];
        (void)snprintf(list, sizeof list, "rpc/rpc_mutations.json %s.shapes", CASES[i].key);
        size_t n;
        json_t *shape;
        json_array_foreach(json_object_get(c, "shapes"), n, shape)
        {
            /* the manifest keeps 16 bytes of each: the frame's length must be understood as OceanBase does */
            const obv_span head = golden_hex(golden_str(shape, "bytes_hex_head"));
            json_t *result = json_object_get(shape, "result");
            const char *text = json_is_string(result) ? json_string_value(result) : "";
            const size_t size = (size_t)golden_int(shape, "size");
            obv_err err = {0};
            obv_rpc_frame_kind kind = OBV_FRAME_NEED_MORE;
            size_t total = 0;
            const obv_code code = obv_rpc_frame(head, &kind, &total, &err);
            const bool waits = code == OBV_OK && (head.len < 16 || total > size);
            golden_judged(list, *text != 0 || json_integer_value(result) != 0, code != OBV_OK || waits);
            if (strcmp(text, "more data needed") == 0 && code == OBV_OK && !waits)
                fail_msg("%s %zu: taken for a whole packet", list, n);
            if (strncmp(text, "decode error", 12) == 0)
                assert_int_equal(code, OBV_E_CORRUPT);
        }
    }
    size_t i;
    json_t *k;
    json_t *manifest = golden_json("rpc/rpc_manifest.json");
    json_array_foreach(json_object_get(manifest, "keepalive_packets"), i, k)
    {
        const obv_span bytes = golden_hex(golden_str(k, "hex"));
        obv_rpc_frame_kind kind;
        size_t total;
        obv_err err = {0};
        assert_code(obv_rpc_frame(bytes, &kind, &total, &err), OBV_OK, &err);
        assert_int_equal(total, golden_int(k, "consumed"));
        assert_int_equal(kind, OBV_FRAME_KEEPALIVE);
        golden_vector_used("rpc/rpc_manifest.json keepalive_packets");
    }
    json_decref(manifest);
    json_decref(m);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: the folder of full golden data is not here (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_argument_is_oceanbases_bytes),
        cmocka_unit_test(every_smallest_request_is_ours),
        cmocka_unit_test(damaged_requests_are_judged_by_the_same_framing),
    };
    return cmocka_run_group_tests_name("format.golden_requests", tests, NULL, NULL);
}
