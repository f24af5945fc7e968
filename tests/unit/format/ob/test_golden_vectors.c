/* sweep over the golden vectors of checksums, serialized primitives and records, and media of two PGs */
#include "base/crc32c.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/old_layouts.h"
#include "format/ob/metas.h"
#include "golden.h"

static uint64_t hex_of(json_t *o, const char *key) { return strtoull(golden_str(o, key), NULL, 16); }

/* Byte i of a vector that the manifest describes instead of listing it. */
static uint8_t described_byte(const char *desc, size_t i, uint64_t *x)
{
    if (strstr(desc, "xorshift64")) {
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        return (uint8_t)(*x >> 32);
    }
    if (strstr(desc, "(7*i+3)&255"))
        return (uint8_t)(7 * i + 3);
    if (strstr(desc, "(131*i + (i>>8)) & 255"))
        return (uint8_t)(131 * i + (i >> 8));
    if (!strstr(desc, "bytes 00"))
        fail_msg("an input that is not understood: %s", desc);
    return 0;
}

static obv_span checksum_input(json_t *v)
{
    if (json_object_get(v, "hex"))
        return golden_hex(golden_str(v, "hex"));
    const char *desc = golden_str(v, "desc"), *seed = strstr(desc, "seed ");
    uint64_t x = seed ? strtoull(seed + 5, NULL, 0) : 0;
    const size_t len = (size_t)golden_int(v, "len"), off = (size_t)golden_int(v, "address_misalignment");
    uint8_t *room = malloc(len + off);
    assert_non_null(room);
    (void)golden_keep(room, 0);
    for (size_t i = 0; i < len; i++)
        room[off + i] = described_byte(desc, i, &x);
    return (obv_span){room + off, len};
}

static void every_checksum_is_oceanbases(void **state)
{
    (void)state;
    json_t *m = golden_json("checksum_vectors.json"), *v, *by;
    size_t i, k;
    json_array_foreach(json_object_get(m, "vectors"), i, v)
    {
        const obv_span bytes = checksum_input(v);
        assert_int_equal(bytes.len, golden_int(v, "len"));
        assert_int_equal(obv_crc64(0, bytes), hex_of(v, "ob_crc64_default"));
        json_array_foreach(json_object_get(v, "by_init"), k, by)
        {
            assert_int_equal(obv_crc64(hex_of(by, "init"), bytes), hex_of(by, "ob_crc64"));
            golden_vector_used("checksum_vectors.json vectors[].by_init");
        }
    }
    json_decref(m);
}

static void every_integer_is_oceanbases_bytes(void **state)
{
    (void)state;
    json_t *m = golden_json("serialization_vectors.json"), *e;
    size_t i;
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
        golden_vector_used("serialization_vectors.json integers");
    }
    json_array_foreach(json_object_get(m, "strings"), i, e)
    {
        obv_buf b = obv_buf_heap(1 << 20);
        const char *s = golden_str(e, "str");
        obv_put_vstr(&b, obv_span_of(s, strlen(s)));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, "ObString_serialize")));
        obv_buf_fini(&b);
        golden_vector_used("serialization_vectors.json strings");
    }
    json_array_foreach(json_object_get(m, "floating"), i, e) /* a double is the varint of its bits, a float of its 32 */
    {
        const bool wide = json_object_get(e, "encode_double") != NULL;
        uint8_t room[16];
        obv_buf b = obv_buf_fixed(room, sizeof room);
        if (wide)
            obv_put_vu64(&b, hex_of(e, "bits"));
        else
            obv_put_vu32(&b, (uint32_t)hex_of(e, "bits"));
        assert_span_equal(obv_buf_span(&b), golden_hex(golden_str(e, wide ? "encode_double" : "encode_float")));
        golden_vector_used("serialization_vectors.json floating");
    }
    json_array_foreach(json_object_get(m, "bool"), i, e)
    {
        obv_rd r = obv_rd_of(golden_hex(golden_str(e, "encode_bool")));
        assert_int_equal(obv_rd_bool(&r), golden_int(e, "bool"));
        assert_int_equal(obv_rd_left(&r), 0);
        golden_vector_used("serialization_vectors.json bool");
    }
    json_decref(m);
}

/* What OceanBase's decoders accept and refuse; ours refuse numbers that need more bits than there are. */
static void every_decode_error_is_seen(void **state)
{
    (void)state;
    json_t *m = golden_json("serialization_vectors.json"), *e;
    size_t i;
    json_array_foreach(json_object_get(m, "errors"), i, e)
    {
        const char *op = golden_str(e, "op");
        const bool refused = golden_int(e, "rc") != 0;
        bool ours;
        if (strncmp(op, "encode", 6) == 0) {
            uint8_t room[8];
            obv_buf b = obv_buf_fixed(room, strstr(op, "vi64") ? 1 : 7);
            if (strstr(op, "vi64"))
                obv_put_vi64(&b, 300);
            else
                obv_put_be64(&b, 1);
            ours = b.failed;
        } else if (!json_object_get(e, "hex")) {
            obv_rd r = obv_rd_of(golden_hex("00000000000000"));
            (void)obv_rd_be64(&r);
            ours = r.bad;
        } else {
            const obv_span bytes = golden_hex(golden_str(e, "hex"));
            obv_rd r = obv_rd_of(bytes);
            const int64_t got = strstr(op, "vi32") ? obv_rd_vi32(&r) : obv_rd_vi64(&r);
            ours = r.bad;
            if (!refused && !ours) {
                assert_int_equal(got, golden_int(e, "value"));
                assert_int_equal(bytes.len - obv_rd_left(&r), golden_int(e, "pos_after"));
            }
        }
        golden_judged("serialization_vectors.json errors", refused, ours);
        if (refused && !ours)
            fail_msg("%s is refused by OceanBase but not by us", op);
    }
    json_array_foreach(json_object_get(m, "unis_envelope"), i, e)
    {
        /* envelopes: the version that is asked for, the length that is there, members skipped as a whole */
        const char *what = golden_str(e, "struct");
        const obv_span bytes = golden_hex(golden_str(e, "hex"));
        obv_rd r = obv_rd_of(bytes);
        const uint64_t version = strstr(what, "OB_UNIS_VERSION(2)") ? 2 : 1;
        obv_rd body = obv_rd_unis(&r, version);
        const bool refused = json_object_get(e, "rc") != NULL;
        golden_vector_used("serialization_vectors.json unis_envelope");
        assert_int_equal(r.bad || body.bad, refused);
        if (refused)
            continue;
        assert_int_equal(obv_rd_left(&r), 0);
        obv_buf b = obv_buf_heap(4096);
        const size_t mark = obv_unis_begin(&b, version);
        obv_put_span(&b, (obv_span){body.p, obv_rd_left(&body)});
        obv_unis_end(&b, mark);
        assert_span_equal(obv_buf_span(&b), bytes);
        obv_buf_fini(&b);
    }
    json_decref(m);
}

static void every_common_type_reads_and_rebuilds(void **state)
{
    (void)state;
    json_t *m = golden_json("serialization_vectors.json"), *e;
    size_t i;
    json_array_foreach(json_object_get(m, "common_types"), i, e)
    {
        const char *type = golden_str(e, "type");
        const obv_span bytes = golden_hex(golden_str(e, "hex"));
        obv_rd r = obv_rd_of(bytes);
        obv_buf b = obv_buf_heap(4096);
        if (strncmp(type, "ObPartitionKey", 14) == 0 || strncmp(type, "ObPGKey", 7) == 0) {
            const obv_pg_key k = obv_rd_pkey(&r);
            if (json_object_get(e, "table_id"))
                assert_int_equal(k.table_id, hex_of(e, "table_id"));
            obv_put_pkey(&b, &k);
        } else if (strncmp(type, "ObAddr", 6) == 0) {
            obv_ob_addr a = obv_rd_addr(&r);
            obv_put_addr(&b, &a);
            if (json_object_get(e, "value"))
                assert_int_equal(a.port, 2882);
        } else if (strcmp(type, "ObVersion") == 0) {
            const int64_t v = obv_rd_version(&r);
            assert_int_equal(v & INT64_C(0xffffffff), golden_int(e, "major"));
            assert_int_equal(v >> 32, golden_int(e, "minor"));
            obv_put_version(&b, v);
        } else if (strcmp(type, "ObProposalID") == 0) {
            obv_span whole = obv_rd_bytes(&r, bytes.len); /* plain image: address, then time, big endian */
            obv_rd image = obv_rd_of(whole);
            assert_int_equal(obv_rd_u8(&image), 4);
            assert_int_equal(obv_rd_be32(&image), 0x0a010203);
            assert_int_equal(obv_rd_be32(&image), 2882);
            (void)obv_rd_bytes(&image, bytes.len - 9 - 8);
            assert_int_equal(obv_rd_be64(&image), strtoull(golden_str(e, "ts"), NULL, 10));
            obv_put_span(&b, whole);
        } else if (strcmp(type, "ObMember") == 0) {
            obv_rd body = obv_rd_unis(&r, 1);
            const obv_ob_addr a = obv_rd_addr(&body);
            assert_int_equal(a.ip[0], 0x0a010203);
            const int64_t ts = obv_rd_vi64(&body), flag = obv_rd_vi64(&body);
            assert_int_equal(ts, strtoull(golden_str(e, "timestamp"), NULL, 10));
            const size_t mark = obv_unis_begin(&b, 1);
            obv_put_addr(&b, &a);
            obv_put_vi64(&b, ts);
            obv_put_vi64(&b, flag);
            obv_unis_end(&b, mark);
        } else if (strcmp(type, "ObMemberList") == 0) {
            obv_member_list l;
            obv_rd_member_list(&r, &l);
            assert_int_equal(l.count, 2);
            obv_put_member_list(&b, &l);
        } else {
            fail_msg("no test of %s", type);
        }
        if (r.bad || obv_rd_left(&r) != 0)
            fail_msg("%s: not read to its end", type);
        assert_span_equal(obv_buf_span(&b), bytes);
        obv_buf_fini(&b);
        golden_vector_used("serialization_vectors.json common_types");
    }
    json_decref(m);
}

/* Each record is read by the parser of its type, which must take all bytes; what we author is made again from values.
 */
static void every_storage_record_is_read(void **state)
{
    (void)state;
    json_t *m = golden_json("storage_manifest.json"), *v;
    size_t i;
    json_array_foreach(json_object_get(m, "vectors"), i, v)
    {
        const char *type = golden_str(v, "type");
        const obv_span bytes = golden_hex(golden_str(v, "hex"));
        obv_err err = {0};
        assert_int_equal(bytes.len, golden_int(v, "size"));
        if (strncmp(type, "ObPartitionGroupMeta", 20) == 0) {
            obv_pg_meta pg;
            assert_code(obv_pg_meta_parse(bytes, &pg, &err), OBV_OK, &err);
            assert_int_equal(pg.clog.last_replay_log_id, 106);
            assert_int_equal(pg.clog.members.count, 3);
            assert_int_equal(pg.data.publish_version, INT64_C(1672531200000490));
            obv_buf same = obv_buf_heap(1 << 16);
            assert_code(obv_pg_meta_put_schema_version(&pg, pg.data.schema_version, &same, &err), OBV_OK, &err);
            assert_span_equal(obv_buf_span(&same), bytes);
            obv_buf_fini(&same);
        } else if (strncmp(type, "ObITable::TableKey", 18) == 0) {
            obv_table_key key;
            assert_code(obv_table_key_parse(bytes, &key, &err), OBV_OK, &err);
            assert_int_equal(key.type, strstr(type, "major") ? OBV_TABLE_MAJOR : OBV_TABLE_MV_MINOR);
            obv_buf b = obv_buf_heap(4096);
            obv_put_table_key(&b, &key);
            assert_span_equal(obv_buf_span(&b), bytes);
            obv_buf_fini(&b);
        } else if (strncmp(type, "ObPGPartitionStoreMeta", 22) == 0) {
            obv_partition_store_meta s;
            assert_code(obv_partition_store_meta_parse(bytes, &s, &err), OBV_OK, &err);
        } else if (strncmp(type, "ObSSTableBaseMeta", 17) == 0) {
            obv_sstable_meta s;
            assert_code(obv_sstable_meta_parse(bytes, &s, &err), OBV_OK, &err);
        } else if (strncmp(type, "ObBackupSStableMacroIndex", 25) == 0) {
            assert_int_equal(bytes.len % 8, 0); /* an image: only its serialized form is in media */
        } else {
            /* members of the records above, or written as a whole by us: the envelope must hold exactly its bytes */
            obv_rd r = obv_rd_of(bytes);
            const uint64_t version = bytes.p[0];
            (void)obv_rd_unis(&r, version);
            if (r.bad || obv_rd_left(&r) != 0)
                fail_msg("%s: not one envelope", type);
        }
        golden_vector_used("storage_manifest.json vectors");
    }
    json_decref(m);
}

/* The head of a data file's super block: OceanBase's own store, never opened here; its encodings must still read. */
static bool super_block_head(obv_span file, json_t *block)
{
    json_t *header = json_object_get(block, "header"), *content = json_object_get(block, "content");
    static const char *const NUMBERS[] = {"create_timestamp", "modify_timestamp", "macro_block_size",
                                          "total_macro_block_count", "total_file_size"};
    obv_rd r = obv_rd_of(obv_span_of(file.p, (size_t)golden_int(block, "length"))); /* zeros behind it */
    bool same = obv_rd_le32(&r) == golden_int(header, "version");
    same &= obv_rd_le32(&r) == golden_int(header, "magic");
    obv_rd body = obv_rd_unis(&r, 1);
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
        same &= obv_rd_vi64(&body) == golden_int(content, NUMBERS[i]);
    return same && !r.bad && !body.bad && obv_rd_left(&r) == 0;
}

static void super_block_encodings_are_read(void **state)
{
    (void)state;
    json_t *m = golden_json("storage_manifest.json"), *j;
    json_t *block = json_object_get(m, "server_super_block");
    const obv_span file = golden_file("server_super_block.bin");
    size_t i;
    assert_true(super_block_head(file, block));
    uint8_t *copy = malloc(file.len);
    assert_non_null(copy);
    json_array_foreach(json_object_get(block, "bad"), i, j)
    {
        memcpy(copy, file.p, file.len);
        copy[golden_int(j, "byte")] ^= 1;
        const bool taken = super_block_head(obv_span_of(copy, file.len), block);
        golden_judged("storage_manifest.json server_super_block.bad", golden_int(j, "rc") != 0, !taken);
        if (golden_int(j, "byte") < 40) /* as far as it was read */
            assert_false(taken && golden_int(j, "rc") != 0);
    }
    free(copy);
    json_decref(m);
}

/* ---- the index file of before 3.1, entry by entry as in the manifest */

struct old_index {
    json_t *entries;
    size_t count;
};

static int an_old_entry(void *ctx, const obv_old_macro_entry *e)
{
    struct old_index *o = ctx;
    json_t *want = json_array_get(o->entries, o->count++);
    assert_int_equal(e->table_id, golden_int(want, "table_id"));
    assert_int_equal(e->partition_id, golden_int(want, "partition_id"));
    assert_int_equal(e->index_table_id, golden_int(want, "index_table_id"));
    assert_int_equal(e->at.index, golden_int(want, "sstable_macro_index"));
    assert_int_equal(e->at.data_version, golden_int(want, "data_version"));
    assert_int_equal(e->at.data_seq, golden_int(want, "data_seq"));
    assert_int_equal(e->at.set_id, golden_int(want, "backup_set_id"));
    assert_int_equal(e->at.sub_task, golden_int(want, "sub_task_id"));
    assert_int_equal(e->at.offset, golden_int(want, "offset"));
    assert_int_equal(e->at.len, golden_int(want, "data_length"));
    golden_vector_used("storage_manifest.json backup_media.macro_index_file_v1.entries");
    return 0;
}

static void old_index_is_read(void **state)
{
    (void)state;
    json_t *m = golden_json("storage_manifest.json");
    json_t *media = json_object_get(json_object_get(m, "backup_media"), "macro_index_file_v1");
    struct old_index o = {.entries = json_object_get(media, "entries")};
    obv_err err = {0};
    assert_code(obv_old_macro_index_each(golden_file("backup_macro_block_index_v1.bin"), an_old_entry, &o, &err),
                OBV_OK, &err);
    assert_int_equal(o.count, json_array_size(o.entries));
    json_decref(m);
}

/* ---- media of the two PGs of the RPC exchanges */

struct media {
    obv_span file;
    size_t tables, entries;
};

static int a_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    struct media *md = ctx;
    obv_table_key again;
    (void)total;
    md->tables++;
    return obv_table_key_parse(bytes, &again, NULL) != OBV_OK || !obv_table_key_equal(key, &again);
}

static int an_entry(void *ctx, const obv_macro_entry *e)
{
    struct media *md = ctx;
    obv_span meta, data;
    md->entries++;
    if (e->offset > md->file.len || e->len > md->file.len - e->offset)
        return 1;
    return obv_macro_frame_parse((obv_span){md->file.p + e->offset, e->len}, &meta, &data, NULL) != OBV_OK;
}

static int a_meta(void *ctx, const obv_meta_index *e)
{
    struct media *md = ctx;
    obv_meta_object o;
    md->entries++;
    return e->offset > md->file.len ||
           obv_meta_object_parse((obv_span){md->file.p + e->offset, md->file.len - e->offset}, &o, NULL) != OBV_OK;
}

static void media_of_two_pgs_are_read(void **state)
{
    (void)state;
    json_t *m = golden_json("rpc/media_manifest.json"), *f;
    size_t i;
    json_array_foreach(json_object_get(m, "files"), i, f)
    {
        char name[128];
        (void)snprintf(name, sizeof name, "rpc/%s", golden_str(f, "file"));
        char *zst = strstr(name, ".zst");
        if (zst)
            *zst = 0;
        assert_int_equal(golden_file(name).len, golden_int(f, "size"));
        golden_vector_used("rpc/media_manifest.json files");
    }
    obv_err err = {0};
    struct media blocks = {.file = golden_file("rpc/backup_pg_macro_block_1.0.bin")};
    assert_code(obv_macro_index_each(golden_file("rpc/backup_pg_macro_block_index_1.bin"),
                                     &(obv_macro_index_visitor){a_table, an_entry, &blocks}, &err),
                OBV_OK, &err);
    size_t tables = 0, entries = 0;
    json_array_foreach(json_object_get(m, "macro_index"), i, f)
    {
        const size_t n = json_array_size(json_object_get(f, "entries"));
        tables += n > 0;
        entries += n;
        golden_vector_used("rpc/media_manifest.json macro_index");
    }
    assert_int_equal(blocks.tables, tables);
    assert_int_equal(blocks.entries, entries);
    struct media metas = {.file = golden_file("rpc/backup_pg_meta_file_1.bin")};
    assert_code(obv_meta_index_file_each(golden_file("rpc/backup_pg_meta_index_file_1.bin"), a_meta, &metas, &err),
                OBV_OK, &err);
    assert_int_equal(metas.entries, json_array_size(json_object_get(m, "pgs")));
    struct media old = {.file = golden_file("backup_macro_block_1.0.bin")};
    assert_code(obv_macro_index_each(golden_file("backup_macro_block_index_1.bin"),
                                     &(obv_macro_index_visitor){a_table, an_entry, &old}, &err),
                OBV_OK, &err);
    assert_int_equal(old.entries, 2);
    assert_code(obv_meta_index_file_each(golden_file("backup_meta_index_file.bin"), a_meta,
                                         &(struct media){.file = golden_file("backup_meta_file_1.bin")}, &err),
                OBV_OK, &err);
    /* the index of before 3.1 has another record (unit.format_media.old_layouts): refused here rather than misread */
    assert_int_not_equal(obv_macro_index_each(golden_file("backup_macro_block_index_v1.bin"),
                                              &(obv_macro_index_visitor){a_table, NULL, &old}, &err),
                         OBV_OK);
    json_decref(m);
}

int main(void)
{
    if (!golden_dir()) {
        print_message("skipped: the folder of full golden data is not here (set OBV_GOLDEN)\n");
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_checksum_is_oceanbases), cmocka_unit_test(every_integer_is_oceanbases_bytes),
        cmocka_unit_test(every_decode_error_is_seen),   cmocka_unit_test(every_common_type_reads_and_rebuilds),
        cmocka_unit_test(every_storage_record_is_read), cmocka_unit_test(super_block_encodings_are_read),
        cmocka_unit_test(media_of_two_pgs_are_read),    cmocka_unit_test(old_index_is_read),
    };
    return cmocka_run_group_tests_name("format.golden_vectors", tests, NULL, NULL);
}
