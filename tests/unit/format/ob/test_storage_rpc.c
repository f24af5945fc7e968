/* packets of the storage RPC: against OceanBase's own, and against damage */
#include "format/ob/storage_rpc.h"
#include "golden.h"

#include <glob.h>

static const obv_pg_key TABLE_PG = {UINT64_C(1100611139453781), 3, 0};

static obv_span vector(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "rpc/rpc_%s.bin", name);
    return golden_vector(path);
}

static obv_rpc_packet packet(const char *name)
{
    const obv_span bytes = vector(name);
    obv_err err = {0};
    obv_rpc_frame_kind kind = OBV_FRAME_NEED_MORE;
    size_t total = 0;
    assert_code(obv_rpc_frame(bytes, &kind, &total, &err), OBV_OK, &err);
    assert_int_equal(kind, OBV_FRAME_PACKET);
    assert_int_equal(total, bytes.len);
    obv_rpc_packet p;
    assert_code(obv_rpc_packet_parse(bytes, &p, &err), OBV_OK, &err);
    return p;
}

/* What follows the result code of a good answer. */
static obv_span good_rest(const obv_rpc_packet *p, obv_buf *scratch)
{
    obv_err err = {0};
    obv_span body;
    obv_rpc_result res;
    assert_code(obv_rpc_body(p, scratch, &body, &err), OBV_OK, &err);
    assert_code(obv_rpc_result_parse(body, &res, &err), OBV_OK, &err);
    assert_int_equal(res.rcode, 0);
    return res.rest;
}

static obv_span stream_bytes(const char *name)
{
    const obv_rpc_packet p = packet(name);
    obv_err err = {0};
    obv_span bytes;
    assert_code(obv_rpc_data_buffer(good_rest(&p, NULL), &bytes, &err), OBV_OK, &err);
    return bytes;
}

/* The smallest request that OceanBase's server accepted, but for the packet number of its transport library. */
static void assert_minimal_request(const char *name, obv_rpc_call call, obv_span payload)
{
    char full[96];
    (void)snprintf(full, sizeof full, "%s.reqmin", name);
    const obv_span want = vector(full);
    obv_rd times = obv_rd_of((obv_span){want.p + 16 + 40, 32});
    obv_rpc_request r = {.call = call, .cluster_id = -1, .payload = payload};
    r.trace[0] = obv_rd_be64(&times);
    r.trace[1] = obv_rd_be64(&times);
    r.timeout_us = (int64_t)obv_rd_be64(&times);
    r.timestamp_us = (int64_t)obv_rd_be64(&times);
    obv_buf b = obv_buf_heap(OBV_RPC_REQUEST_MAX);
    obv_rpc_put_request(&b, &r);
    assert_false(b.failed);
    assert_int_equal(b.len, want.len);
    enum { PACKET_ID_AT = 112, PACKET_ID_LEN = 8 };
    memcpy(b.data + PACKET_ID_AT, want.p + PACKET_ID_AT, PACKET_ID_LEN);
    assert_span_equal(obv_buf_span(&b), want);
    obv_buf_fini(&b);
}

static void requests_are_the_smallest_that_oceanbase_accepts(void **state)
{
    (void)state;
    uint8_t room[4096];
    obv_buf b = obv_buf_fixed(room, sizeof room);
    obv_rpc_put_pg_info_arg(&b, &TABLE_PG);
    assert_minimal_request("pg_info_standalone", OBV_RPC_PG_INFO, obv_buf_span(&b));

    b.len = 0;
    obv_rpc_put_pg_partitions_arg(&b, &TABLE_PG, INT64_C(1672531200000700), INT64_C(1672531200000050));
    assert_minimal_request("pg_partition_standalone", OBV_RPC_PG_PARTITIONS, obv_buf_span(&b));

    /* the table key of the answer to 0x473 is what 0x45D and 0x471 are asked with */
    obv_err err = {0};
    obv_rd r = obv_rd_of(stream_bytes("pg_partition_standalone.resp1"));
    obv_rpc_partition part;
    obv_rpc_table_info info;
    assert_code(obv_rpc_next_partition(&r, &part, &err), OBV_OK, &err);
    assert_code(obv_rpc_next_table_info(&part.table_infos, &info, &err), OBV_OK, &err);
    const obv_span major = obv_rd_unis_span(&info.keys, 1);
    const obv_span minor = obv_rd_unis_span(&info.keys, 1);
    b.len = 0;
    obv_rpc_put_base_meta_arg(&b, major);
    assert_minimal_request("base_meta_standalone_major", OBV_RPC_BASE_META, obv_buf_span(&b));
    b.len = 0;
    obv_rpc_put_macro_blocks_arg(&b, minor, &(obv_rpc_block_ref){.index = 0, .data_version = 0, .data_seq = 4}, 1);
    assert_minimal_request("macro_standalone_minor", OBV_RPC_MACRO_BLOCKS, obv_buf_span(&b));
}

static void streams_are_continued_and_aborted_as_oceanbase_does(void **state)
{
    (void)state;
    static const struct {
        const char *want;
        enum obv_rpc_stream_op op;
        obv_rpc_call call;
    } CASES[] = {{"pg_partition_stream_small.req2", OBV_RPC_NEXT, OBV_RPC_PG_PARTITIONS},
                 {"macro_stream_small.req2", OBV_RPC_NEXT, OBV_RPC_MACRO_BLOCKS},
                 {"macro_stream_abort.req2", OBV_RPC_ABORT, OBV_RPC_MACRO_BLOCKS}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_span want = vector(CASES[i].want);
        obv_rd at = obv_rd_of((obv_span){want.p + 16 + 32, 8});
        const obv_rpc_request r = {.call = CASES[i].call, .op = CASES[i].op, .session = (int64_t)obv_rd_be64(&at)};
        uint8_t room[256];
        obv_buf b = obv_buf_fixed(room, sizeof room);
        obv_rpc_put_request(&b, &r);
        assert_int_equal(b.len, want.len);
        assert_memory_equal(b.data + 16, want.p + 16, 4);     /* code */
        assert_memory_equal(b.data + 22, want.p + 22, 2 + 8); /* flags, checksum */
        assert_memory_equal(b.data + 48, want.p + 48, 8);     /* session */
    }
    const obv_rpc_packet end = packet("macro_stream_abort.resp2");
    obv_err err = {0};
    obv_rpc_result res;
    assert_true(end.is_stream && end.is_last);
    assert_code(obv_rpc_result_parse(end.payload, &res, &err), OBV_OK, &err);
    assert_int_equal(res.rcode, -4008);
}

static void there_are_five_codes(void **state)
{
    (void)state;
    static const uint32_t WANT[] = {0x472, 0x473, 0x487, 0x45D, 0x471};
    assert_int_equal(OBV_RPC_CALLS, 5);
    for (int i = 0; i < OBV_RPC_CALLS; i++)
        assert_int_equal(obv_rpc_pcode((obv_rpc_call)i), WANT[i]);
}

static void pg_info_is_read(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_rpc_packet p = packet("pg_info_standalone.resp1");
    obv_rpc_pg_info info;
    obv_pg_meta m;
    assert_code(obv_rpc_pg_info_parse(good_rest(&p, NULL), &info, &err), OBV_OK, &err);
    assert_code(obv_pg_meta_parse(info.pg_meta, &m, &err), OBV_OK, &err);
    assert_int_equal(info.major_version, 7);
    assert_true(info.is_log_sync);
    assert_int_equal(info.pg_file_id, -1);
    assert_true(obv_pg_key_equal(&m.key, &TABLE_PG));
    assert_int_equal(m.clog.last_replay_log_id, 106);
    assert_int_equal(m.clog.epoch_id, INT64_C(1672531200000900));
    assert_int_equal(m.clog.accumulate_checksum, 305419896);
    assert_int_equal(m.clog.members.count, 3);
    assert_int_equal(m.clog.members.member[1].server.ip[0], 0x0a010204);
    assert_int_equal(m.clog.members.member[1].server.port, 2882);
    assert_int_equal(m.data.publish_version, INT64_C(1672531200000700));
    assert_int_equal(m.data.last_replay_log_ts, INT64_C(1672531200000050));
    assert_int_equal(m.data.schema_version, INT64_C(1672531200000400));
    assert_int_equal(m.create_timestamp, INT64_C(1672531200000110));
    assert_int_equal(m.partition_count, 1);
}

static void compressed_answers_unpack_to_the_plain_one(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"compressed_pg_info_lz4.resp1", "compressed_pg_info_zstd.resp1",
                                        "compressed_pg_info_zstd138.resp1"};
    const obv_rpc_packet plain = packet("pg_info_standalone.resp1");
    for (size_t i = 0; i < 3; i++) {
        const obv_rpc_packet p = packet(NAMES[i]);
        obv_buf scratch = obv_buf_heap(1 << 20);
        obv_span body;
        obv_err err = {0};
        assert_code(obv_rpc_body(&p, &scratch, &body, &err), OBV_OK, &err);
        assert_span_equal(body, plain.payload);
        obv_rpc_packet wrong = p;
        wrong.original_len++;
        assert_int_equal(obv_rpc_body(&wrong, &scratch, &body, &err), OBV_E_CORRUPT);
        obv_buf_fini(&scratch);
    }
}

static void partitions_and_tables_are_read(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rd r = obv_rd_of(stream_bytes("pg_partition_standalone.resp1"));
    obv_rpc_partition part;
    obv_rpc_table_info info;
    obv_table_key key;
    assert_code(obv_rpc_next_partition(&r, &part, &err), OBV_OK, &err);
    assert_int_equal(part.index_count, 2);
    assert_int_equal(obv_rd_vu64(&part.index_ids), UINT64_C(1100611139453781));
    assert_int_equal(obv_rd_vu64(&part.index_ids), UINT64_C(1100611139453782));
    static const int32_t TYPES[] = {OBV_TABLE_MAJOR, OBV_TABLE_MV_MINOR, OBV_TABLE_MINI_MINOR};
    assert_code(obv_rpc_next_table_info(&part.table_infos, &info, &err), OBV_OK, &err);
    assert_int_equal(info.key_count, 3);
    assert_true(info.ready_for_read);
    for (size_t i = 0; i < 3; i++) {
        assert_code(obv_table_key_parse(obv_rd_unis_span(&info.keys, 1), &key, &err), OBV_OK, &err);
        assert_int_equal(key.type, TYPES[i]);
    }
    assert_code(obv_rpc_next_partition(&r, &part, &err), OBV_OK, &err);
    assert_true(obv_table_id_is_trans(part.store.pkey.table_id));
    const obv_pg_key trans = obv_pg_key_trans(&TABLE_PG);
    assert_true(obv_pg_key_equal(&trans, &part.store.pkey));
    assert_int_equal(obv_rpc_next_partition(&r, &part, &err), OBV_E_NOT_FOUND);
}

static void base_metas_are_read(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rpc_base_meta m;
    int64_t version = 0;
    int64_t seq = 0;
    assert_code(obv_rpc_base_meta_parse(stream_bytes("base_meta_lob.resp1"), &m, &err), OBV_OK, &err);
    assert_int_equal(m.pair_count, 3);
    assert_int_equal(m.meta.lob_macro_block_count, 2);
    assert_int_equal(m.meta.row_count, 60);
    assert_int_equal(m.meta.occupy_size, 93481);
    assert_int_equal(m.meta.format_version, 6);
    for (uint64_t i = 0; i < m.pair_count; i++)
        assert_code(obv_rpc_next_pair(&m.pairs, &version, &seq, &err), OBV_OK, &err);
    assert_code(obv_rd_done(&m.pairs, "pairs", &err), OBV_OK, &err);
    assert_code(obv_rpc_base_meta_parse(stream_bytes("base_meta_standalone_minor.resp1"), &m, &err), OBV_OK, &err);
    assert_int_equal(m.meta.upper_trans_version, INT64_MAX);
    assert_int_equal(m.meta.row_count, 450);
    assert_int_equal(m.meta.end_log_id, 106);
}

static void recovery_points_are_read(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rd r = obv_rd_of(stream_bytes("recovery_point_standalone.resp1"));
    obv_rpc_recovery_meta m;
    obv_pg_meta pg;
    for (int i = 0; i < 2; i++) {
        assert_code(obv_rpc_next_recovery_meta(&r, &m, &err), OBV_OK, &err);
        assert_code(obv_pg_meta_parse(m.pg_meta, &pg, &err), OBV_OK, &err);
        assert_true(obv_pg_key_equal(&pg.key, &TABLE_PG));
        assert_true(m.partition_count >= 1 && m.key_count >= 1);
    }
    assert_int_equal(obv_rpc_next_recovery_meta(&r, &m, &err), OBV_E_NOT_FOUND);
}

static void errors_of_the_server_keep_number_and_text(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rpc_result res;
    const obv_rpc_packet gone = packet("err_partition_not_exist.resp1");
    assert_code(obv_rpc_result_parse(gone.payload, &res, &err), OBV_OK, &err);
    assert_int_equal(res.rcode, -4225);
    assert_int_equal(res.rest.len, 0);
    const obv_rpc_packet warned = packet("err_with_warnings.resp1");
    assert_code(obv_rpc_result_parse(warned.payload, &res, &err), OBV_OK, &err);
    assert_true(res.rcode < 0);
    assert_true(res.message.len > 0);
}

static void every_packet_is_checked(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rpc_packet p;
    assert_int_equal(obv_rpc_packet_parse(vector("err_response_checksum.resp1"), &p, &err), OBV_E_CORRUPT);
    const obv_span good = vector("macro_stream_small.resp3"); /* a later chunk, which OceanBase would not check */
    assert_code(obv_rpc_packet_parse(good, &p, &err), OBV_OK, &err);
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    for (size_t at = OBV_RPC_NET_HEADER_LEN + OBV_RPC_HEADER_LEN; at < good.len; at += 61) {
        memcpy(copy, good.p, good.len);
        copy[at] ^= 0x40;
        assert_int_equal(obv_rpc_packet_parse((obv_span){copy, good.len}, &p, &err), OBV_E_CORRUPT);
    }
    free(copy);
}

static void chunks_reassemble_to_metas_and_blocks(void **state)
{
    (void)state;
    obv_buf all = obv_buf_heap(1 << 20);
    for (int i = 1; i <= 6; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "macro_stream_small.resp%d", i);
        const obv_rpc_packet p = packet(name);
        assert_true(p.is_stream && p.is_last == (i == 6));
        const obv_span part = stream_bytes(name);
        obv_buf_append(&all, part.p, part.len);
    }
    assert_true(all.len > 40000);
    obv_buf_fini(&all);
}

/* Whatever packet is kept: a frame of its own; an answer parses, a request is refused where an answer is due. */
static void every_kept_packet_is_a_frame(void **state)
{
    (void)state;
    glob_t g;
    assert_int_equal(glob("tests/vectors/rpc/rpc_*.bin", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        const char *path = g.gl_pathv[i];
        const obv_span bytes = golden_vector(path + strlen("tests/vectors/"));
        obv_rpc_frame_kind kind;
        size_t total = 0;
        obv_err err = {0};
        obv_rpc_packet p;
        assert_code(obv_rpc_frame(bytes, &kind, &total, &err), OBV_OK, &err);
        assert_int_equal(kind, OBV_FRAME_PACKET);
        assert_int_equal(total, bytes.len);
        const bool good = strstr(path, ".resp") && !strstr(path, "err_response_checksum");
        if ((obv_rpc_packet_parse(bytes, &p, &err) == OBV_OK) != good)
            fail_msg("%s: %s", path, good ? err.msg : "taken for a good answer");
    }
    assert_true(g.gl_pathc > 50);
    globfree(&g);
}

static void frames_are_found_in_a_stream_of_bytes(void **state)
{
    (void)state;
    static const uint8_t KEEPALIVE[] = {0x41, 0xdb, 0xdb, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    obv_err err = {0};
    obv_rpc_frame_kind kind = OBV_FRAME_PACKET;
    size_t total = 0;
    const obv_span p = vector("pg_info_standalone.resp1");
    for (size_t n = 0; n < p.len; n++) {
        assert_code(obv_rpc_frame((obv_span){p.p, n}, &kind, &total, &err), OBV_OK, &err);
        assert_int_equal(kind, OBV_FRAME_NEED_MORE);
        assert_int_equal(total, n < 16 ? 16 : p.len);
    }
    assert_code(obv_rpc_frame((obv_span){KEEPALIVE, sizeof KEEPALIVE}, &kind, &total, &err), OBV_OK, &err);
    assert_int_equal(kind, OBV_FRAME_KEEPALIVE);
    assert_int_equal(total, 16);
    uint8_t bad[16];
    memcpy(bad, p.p, 16);
    bad[0] ^= 2;
    assert_int_equal(obv_rpc_frame((obv_span){bad, 16}, &kind, &total, &err), OBV_E_CORRUPT);
    memcpy(bad, p.p, 16);
    bad[4] = 0x7f; /* an absurd length is never a malloc size */
    assert_int_equal(obv_rpc_frame((obv_span){bad, 16}, &kind, &total, &err), OBV_E_CORRUPT);
}

static void cut_answers_are_refused(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_rpc_packet p = packet("pg_info_tablegroup.resp1");
    const obv_span rest = good_rest(&p, NULL);
    obv_rpc_pg_info info;
    for (size_t n = 0; n < rest.len; n++)
        assert_int_equal(obv_rpc_pg_info_parse((obv_span){rest.p, n}, &info, &err), OBV_E_CORRUPT);
    const obv_span stream = stream_bytes("base_meta_standalone_major.resp1");
    obv_rpc_base_meta m;
    for (size_t n = 0; n + 1 < stream.len; n++) {
        int64_t version;
        int64_t seq;
        obv_code code = obv_rpc_base_meta_parse((obv_span){stream.p, n}, &m, &err);
        for (uint64_t i = 0; code == OBV_OK && i < m.pair_count; i++)
            code = obv_rpc_next_pair(&m.pairs, &version, &seq, &err);
        assert_int_not_equal(code, OBV_OK);
    }
    const obv_span parts = stream_bytes("pg_partition_tablegroup.resp1");
    for (size_t n = 1; n < parts.len; n++) {
        obv_rd r = obv_rd_of((obv_span){parts.p, n});
        obv_rpc_partition part;
        obv_code code;
        while ((code = obv_rpc_next_partition(&r, &part, &err)) == OBV_OK)
            ;
        assert_true(code == OBV_E_CORRUPT || code == OBV_E_NOT_FOUND); /* the latter between two partitions */
    }
}

/* Headers that no checksum covers, each with one absurd field. */
static void absurd_packet_headers_are_refused(void **state)
{
    (void)state;
    const obv_span bytes = vector("pg_info_standalone.resp1");
    uint8_t *copy = malloc(bytes.len);
    assert_non_null(copy);
    static const struct {
        size_t at;
        uint8_t bytes[4];
        size_t n;
        obv_code parse, body;
    } CASES[] = {
        {16 + 6, {0}, 1, OBV_E_CORRUPT, OBV_OK},             /* no answer */
        {16 + 4, {100}, 1, OBV_E_CORRUPT, OBV_OK},           /* header shorter than its fields */
        {16 + 120, {0, 0, 0, 2}, 4, OBV_OK, OBV_E_CORRUPT},  /* lz4, but of no bytes */
        {16 + 120, {0, 0, 0, 77}, 4, OBV_OK, OBV_E_CORRUPT}, /* an unknown one of no bytes */
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err err = {0};
        obv_rpc_packet p;
        obv_span body;
        obv_buf scratch = obv_buf_heap(8 << 20);
        memcpy(copy, bytes.p, bytes.len);
        memcpy(copy + CASES[i].at, CASES[i].bytes, CASES[i].n);
        assert_code(obv_rpc_packet_parse((obv_span){copy, bytes.len}, &p, &err), CASES[i].parse, &err);
        if (CASES[i].parse == OBV_OK)
            assert_code(obv_rpc_body(&p, &scratch, &body, &err), CASES[i].body, &err);
        obv_buf_fini(&scratch);
    }
    /* lengths of what is compressed, and of the header */
    obv_err err = {0};
    obv_rpc_packet p;
    obv_span body;
    obv_buf scratch = obv_buf_heap(8 << 20);
    memcpy(copy, bytes.p, bytes.len);
    assert_code(obv_rpc_packet_parse((obv_span){copy, bytes.len}, &p, &err), OBV_OK, &err);
    p.compressor = 2;
    static const int32_t LENGTHS[] = {-1, 0, 1, (3 << 20) + 1, INT32_MAX};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        p.original_len = LENGTHS[i];
        assert_int_equal(obv_rpc_body(&p, &scratch, &body, &err), OBV_E_CORRUPT);
        assert_true(scratch.len <= 1); /* nothing is reserved for an absurd length */
        scratch.len = 0;
    }
    p.compressor = 77;
    p.original_len = 10;
    assert_int_equal(obv_rpc_body(&p, &scratch, &body, &err), OBV_E_UNSUPPORTED);
    obv_buf_fini(&scratch);
    uint8_t small[16 + 160] = {0};
    memcpy(small, bytes.p, sizeof small);
    small[16 + 4] = 161;
    assert_int_equal(obv_rpc_packet_parse((obv_span){small, sizeof small}, &p, &err), OBV_E_CORRUPT);
    memset(small + 4, 0, 4);
    small[7] = 159;
    size_t total = 0;
    obv_rpc_frame_kind kind;
    assert_int_equal(obv_rpc_frame((obv_span){small, 16}, &kind, &total, &err), OBV_E_CORRUPT);
    free(copy);
}

static void chunks_and_block_lists_must_be_as_long_as_they_say(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_span bytes;
    obv_buf b = obv_buf_heap(8 << 20);
    static const uint64_t SAID[] = {11, OBV_RPC_CHUNK_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        b.len = 0;
        const size_t mark = obv_unis_begin(&b, 1);
        obv_put_vu64(&b, SAID[i]);
        obv_buf_append_zeros(&b, i == 1 ? OBV_RPC_CHUNK_MAX + 1 : 10);
        obv_unis_end(&b, mark);
        assert_int_equal(obv_rpc_data_buffer(obv_buf_span(&b), &bytes, &err), OBV_E_CORRUPT);
    }
    const obv_span stream = stream_bytes("base_meta_standalone_major.resp1");
    obv_rpc_base_meta m;
    assert_code(obv_rpc_base_meta_parse(stream, &m, &err), OBV_OK, &err);
    assert_in_range(m.pair_count, 2, 100); /* one byte says how many */
    const size_t count_at = m.meta.bytes.len;
    uint8_t *copy = malloc(stream.len);
    assert_non_null(copy);
    memcpy(copy, stream.p, stream.len);
    copy[count_at]--;
    assert_int_equal(obv_rpc_base_meta_parse((obv_span){copy, stream.len}, &m, &err), OBV_E_CORRUPT);
    free(copy);
    obv_buf_fini(&b);
}

/* An envelope may lack its last members, an array never an item: a shorter body of the right length is no partition. */
static void a_partition_that_lacks_tables_is_refused(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_rd r = obv_rd_of(stream_bytes("pg_partition_standalone.resp1"));
    const obv_span whole = obv_rd_unis_span(&r, 2);
    const size_t head = obv_unis_header_len(2);
    for (size_t n = 0; n <= whole.len - head; n++) {
        obv_buf b = obv_buf_heap(1 << 20);
        obv_put_unis_header(&b, 2, n);
        obv_buf_append(&b, whole.p + head, n);
        obv_rd cut = obv_rd_of(obv_buf_span(&b));
        obv_rpc_partition part;
        assert_code(obv_rpc_next_partition(&cut, &part, &err), n == whole.len - head ? OBV_OK : OBV_E_CORRUPT, &err);
        obv_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_the_smallest_that_oceanbase_accepts),
        cmocka_unit_test(streams_are_continued_and_aborted_as_oceanbase_does),
        cmocka_unit_test(there_are_five_codes),
        cmocka_unit_test(pg_info_is_read),
        cmocka_unit_test(compressed_answers_unpack_to_the_plain_one),
        cmocka_unit_test(partitions_and_tables_are_read),
        cmocka_unit_test(base_metas_are_read),
        cmocka_unit_test(recovery_points_are_read),
        cmocka_unit_test(errors_of_the_server_keep_number_and_text),
        cmocka_unit_test(every_packet_is_checked),
        cmocka_unit_test(chunks_reassemble_to_metas_and_blocks),
        cmocka_unit_test(every_kept_packet_is_a_frame),
        cmocka_unit_test(frames_are_found_in_a_stream_of_bytes),
        cmocka_unit_test(cut_answers_are_refused),
        cmocka_unit_test(absurd_packet_headers_are_refused),
        cmocka_unit_test(chunks_and_block_lists_must_be_as_long_as_they_say),
        cmocka_unit_test(a_partition_that_lacks_tables_is_refused),
    };
    return cmocka_run_group_tests_name("format.storage_rpc", tests, NULL, NULL);
}
