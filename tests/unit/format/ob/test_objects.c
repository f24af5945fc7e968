/* serialized objects: OceanBase's bytes are made from the values, and read back */
#include "format/media/common_header.h"
#include "format/media/meta_records.h"
#include "format/ob/macroblock.h"
#include "format/ob/metas.h"
#include "golden.h"

static char *vectors;

/* The bytes of one line "name length hex" of the vectors file. */
static obv_span object(const char *name)
{
    if (!vectors) {
        const obv_span f = golden_vector("data/data_backup_object_vectors.txt");
        vectors = strndup((const char *)f.p, f.len);
        assert_non_null(vectors);
        (void)golden_keep(vectors, f.len);
    }
    const size_t len = strlen(name);
    for (char *line = vectors; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) != 0 || line[len] != ' ')
            continue;
        char *end = strchr(line, '\n');
        const size_t n = end ? (size_t)(end - line) : strlen(line);
        char *copy = strndup(line, n);
        assert_non_null(copy);
        while (copy[0] && strchr(" \r", copy[strlen(copy) - 1]))
            copy[strlen(copy) - 1] = 0;
        const obv_span s = golden_hex(strrchr(copy, ' ') + 1);
        free(copy);
        return s;
    }
    fail_msg("no vector %s", name);
    return (obv_span){0};
}

#define ASSERT_MADE(name, ...)                                                                                         \
    do {                                                                                                               \
        uint8_t room_[8192];                                                                                           \
        obv_buf b = obv_buf_fixed(room_, sizeof room_);                                                                \
        __VA_ARGS__;                                                                                                   \
        assert_false(b.failed);                                                                                        \
        assert_span_equal(obv_buf_span(&b), object(name));                                                             \
    } while (0)

static void small_objects_are_oceanbases_bytes(void **state)
{
    (void)state;
    const obv_version_range versions = {1, 100, 200};
    const obv_log_ts_range logs = {5, 6, 7};
    const obv_pg_key pkey = {UINT64_C(1099511677777), 3, 0};
    const obv_ob_addr addr = {.family = 4, .ip = {0x7f000001}, .port = 2882};
    const obv_proposal_id proposal = {.ip = 0x7f000001, .port = 2882, .ts = 1234567};
    ASSERT_MADE("ObVersion(2,0)", obv_put_version(&b, 2));
    ASSERT_MADE("ObVersionRange(1,100,200)", obv_put_version_range(&b, &versions));
    ASSERT_MADE("ObLogTsRange(5,6,7)", obv_put_log_ts_range(&b, &logs));
    ASSERT_MADE("pkey(1099511677777,3,0)", obv_put_pkey(&b, &pkey));
    ASSERT_MADE("ObAddr 127.0.0.1:2882", obv_put_addr(&b, &addr));
    ASSERT_MADE("ObProposalID", obv_put_proposal_id(&b, &proposal));

    obv_rd r = obv_rd_of(object("ObProposalID"));
    const obv_proposal_id got = obv_rd_proposal_id(&r);
    assert_int_equal(got.ts, 1234567);
    assert_int_equal(got.port, 2882);
    r = obv_rd_of(object("ObAddr 127.0.0.1:2882"));
    assert_int_equal(obv_rd_addr(&r).ip[0], 0x7f000001);
}

static const obv_table_key KEY = {.type = OBV_TABLE_MAJOR,
                                  .pkey = {UINT64_C(1099511677777), 3, 0},
                                  .table_id = UINT64_C(1099511677777),
                                  .versions = {1, 100, 200},
                                  .version = 2};

static void table_keys_are_oceanbases_bytes(void **state)
{
    (void)state;
    ASSERT_MADE("TableKey major", obv_put_table_key(&b, &KEY));
    obv_table_key got;
    obv_err err = {0};
    const obv_span bytes = object("TableKey major");
    assert_code(obv_table_key_parse(bytes, &got, &err), OBV_OK, &err);
    assert_true(obv_table_key_equal(&got, &KEY));
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(obv_table_key_parse((obv_span){bytes.p, n}, &got, &err), OBV_E_CORRUPT);
}

static void headers_are_oceanbases_bytes(void **state)
{
    (void)state;
    ASSERT_MADE("common header type7 '123456789'", obv_put_info_file(&b, 7, 0, obv_span_of("123456789", 9));
                b.len = 48);
    ASSERT_MADE("end mark", obv_put_end_mark(&b); b.len = 48);
    ASSERT_MADE("meta header type4 '123456789'", obv_put_meta_object(&b, 4, obv_span_of("123456789", 9));
                memmove(b.data, b.data + 1, 24); b.len = 24);
    const obv_meta_index e = {.meta_type = 4, .pg = {UINT64_C(1099511677777), 3, 0}, .offset = 48, .len = 1000};
    ASSERT_MADE("ObBackupMetaIndex", obv_put_meta_index(&b, &e));
}

static void macro_metas_are_read(void **state)
{
    (void)state;
    obv_macro_meta m;
    obv_macro_schema s;
    size_t used = 0;
    obv_err err = {0};
    const obv_span meta = object("ObMacroBlockMetaV2");
    assert_code(obv_macro_meta_parse(meta, &m, &used, &err), OBV_OK, &err);
    assert_int_equal(used, meta.len);
    assert_int_equal(m.row_count, 10);
    assert_int_equal(m.occupy_size, 5000);
    assert_int_equal(m.data_checksum, 0x11223344);
    assert_int_equal(m.data_seq, 65536);
    assert_int_equal(m.snapshot_version, 200);
    assert_span_equal(m.end_key, golden_hex("0105053fff63"));
    const obv_span schema = object("ObMacroBlockSchemaInfo");
    assert_code(obv_macro_schema_parse(schema, &s, &used, &err), OBV_OK, &err);
    assert_int_equal(s.column_count, 2);
    assert_span_equal(s.compressor, obv_span_of("zstd_1.3.8", 10));
}

/* Re-made with its own value it is the same; with another one it differs nowhere but in the value and the lengths. */
static void assert_rewritten(obv_span pg_meta, int64_t v)
{
    obv_err err = {0};
    obv_pg_meta m;
    obv_pg_meta again;
    obv_buf b = obv_buf_heap(1 << 20);
    assert_code(obv_pg_meta_parse(pg_meta, &m, &err), OBV_OK, &err);
    assert_code(obv_pg_meta_put_schema_version(&m, m.data.schema_version, &b, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&b), pg_meta);

    b.len = 0;
    assert_code(obv_pg_meta_put_schema_version(&m, v, &b, &err), OBV_OK, &err);
    assert_code(obv_pg_meta_parse(obv_buf_span(&b), &again, &err), OBV_OK, &err);
    assert_int_equal(again.data.schema_version, v);
    const size_t old_len = obv_vu64_len((uint64_t)m.data.schema_version);
    const size_t new_len = obv_vu64_len((uint64_t)v);
    assert_int_equal(b.len - new_len, pg_meta.len - old_len);
    const size_t behind = m.schema_version_at + old_len;
    assert_memory_equal(b.data + m.schema_version_at + new_len, pg_meta.p + behind, pg_meta.len - behind);
    for (size_t i = 0; i < m.schema_version_at; i++) {
        bool in_length = false;
        for (size_t k = 0; k < 3; k++)
            in_length |= i >= m.enclosing_len_at[k] && i < m.enclosing_len_at[k] + OBV_UNIS_LEN_BYTES;
        if (!in_length)
            assert_int_equal(b.data[i], pg_meta.p[i]);
    }
    /* and everything else still reads the same */
    again.data.schema_version = m.data.schema_version;
    assert_memory_equal(&again.data, &m.data, sizeof m.data);
    assert_memory_equal(&again.clog, &m.clog, sizeof m.clog);
    assert_int_equal(again.partition_count, m.partition_count);
    obv_buf_fini(&b);
}

static void only_the_schema_version_of_a_pg_meta_is_rewritten(void **state)
{
    (void)state;
    static const int64_t VALUES[] = {0,         1, 127, 128, INT64_C(1672531200000400), INT64_C(1672531299999999),
                                     INT64_MAX, -1};
    const obv_span reset = object("ObPartitionGroupMeta reset");
    obv_meta_object o;
    obv_pg_record_reader rec;
    obv_err err = {0};
    const obv_span file = golden_vector("data/backup_meta_file_1.bin");
    assert_code(obv_meta_object_parse((obv_span){file.p + 48, file.len - 48}, &o, &err), OBV_OK, &err);
    assert_code(obv_pg_record_parse(o.body, &rec, &err), OBV_OK, &err);
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        assert_rewritten(reset, VALUES[i]);
        assert_rewritten(rec.pg.bytes, VALUES[i]);
    }
}

static void metas_with_default_members_are_read(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_partition_store_meta store;
    obv_sstable_meta sstable;
    assert_code(obv_partition_store_meta_parse(object("ObPGPartitionStoreMeta"), &store, &err), OBV_OK, &err);
    assert_int_equal(store.multi_version_start, 1);
    assert_int_equal(store.create_schema_version, 1000);
    assert_int_equal(store.create_timestamp, 2000);
    obv_rd r = obv_rd_of(object("ObSSTableBaseMeta"));
    obv_rd_sstable_meta(&r, &sstable);
    assert_code(obv_rd_done(&r, "sstable meta", &err), OBV_OK, &err);
    assert_int_equal(obv_sstable_meta_check(&sstable, &err),
                     OBV_E_CORRUPT); /* no logical data version: never on media */
    assert_int_equal(sstable.index_id, UINT64_C(1001) << 40 | 50001);
    assert_int_equal(sstable.format_version, 6);
    assert_int_equal(sstable.pg_key.part_id, -1);
}

static void cut_metas_are_refused(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_pg_meta m;
    obv_partition_store_meta store;
    obv_sstable_meta sstable;
    const obv_span pg = object("ObPartitionGroupMeta reset");
    const obv_span part = object("ObPGPartitionStoreMeta");
    const obv_span table = object("ObSSTableBaseMeta");
    for (size_t n = 0; n < pg.len; n++)
        assert_int_equal(obv_pg_meta_parse((obv_span){pg.p, n}, &m, &err), OBV_E_CORRUPT);
    for (size_t n = 0; n < part.len; n++)
        assert_int_equal(obv_partition_store_meta_parse((obv_span){part.p, n}, &store, &err), OBV_E_CORRUPT);
    for (size_t n = 0; n < table.len; n++)
        assert_int_equal(obv_sstable_meta_parse((obv_span){table.p, n}, &sstable, &err), OBV_E_CORRUPT);
}

/* Flipped bytes may be accepted (nothing covers them) but never lead a parser astray. */
static void flipped_metas_are_survived(void **state)
{
    (void)state;
    const obv_span objects[] = {object("ObPartitionGroupMeta reset"), object("ObSSTableBaseMeta"),
                                object("ObBackupPGMetaInfo empty"), object("TableKey major")};
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        uint8_t *copy = malloc(objects[i].len);
        assert_non_null(copy);
        for (size_t at = 0; at < objects[i].len * 8; at++) {
            memcpy(copy, objects[i].p, objects[i].len);
            copy[at / 8] ^= (uint8_t)(1u << at % 8);
            const obv_span s = {copy, objects[i].len};
            obv_pg_meta m;
            obv_sstable_meta t;
            obv_table_key k;
            obv_pg_record_reader rec;
            if (obv_pg_meta_parse(s, &m, NULL) == OBV_OK) {
                obv_buf b = obv_buf_heap(1 << 20);
                assert_int_equal(obv_pg_meta_put_schema_version(&m, m.data.schema_version, &b, NULL), OBV_OK);
                assert_span_equal(obv_buf_span(&b), s); /* whatever is accepted is carried byte for byte */
                obv_buf_fini(&b);
            }
            (void)!obv_sstable_meta_parse(s, &t, NULL);
            (void)!obv_table_key_parse(s, &k, NULL);
            (void)!obv_pg_record_parse(s, &rec, NULL);
        }
        free(copy);
    }
}

/* OceanBase's own validity rules of a sstable's meta, one by one. */
static void sstable_metas_that_oceanbase_refuses_are_refused(void **state)
{
    (void)state;
    const obv_sstable_meta good = {.column_count = 2,
                                   .column_meta_count = 2,
                                   .rowkey_column_count = 1,
                                   .format_version = 6,
                                   .logical_data_version = 1,
                                   .data_version = 7};
    obv_err err = {0};
    assert_code(obv_sstable_meta_check(&good, &err), OBV_OK, &err);
    for (int what = 0; what < 14; what++) {
        obv_sstable_meta m = good;
        m.row_count = what == 0 ? UINT64_MAX : 0;
        m.occupy_size = what == 1 ? UINT64_MAX : 0;
        m.data_checksum = what == 2 ? -1 : 0;
        m.row_checksum = what == 3 ? -1 : 0;
        m.macro_block_count = what == 4 ? UINT64_MAX : 0;
        m.lob_macro_block_count = what == 5 ? OBV_SSTABLE_BLOCKS_MAX + 1 : 0;
        m.column_count += what == 6;
        m.column_count = what == 7 ? -1 : m.column_count;
        m.column_meta_count = what == 7 ? SIZE_MAX : m.column_meta_count;
        m.rowkey_column_count = what == 8 ? -1 : what == 9 ? 3 : 1;
        m.format_version = what == 10 ? 4 : what == 11 ? 7 : what == 12 ? 5 : 6; /* 5 with logical 1 < 7 */
        m.logical_data_version = what == 13 ? 0 : 1;
        const obv_code want = what == 10 || what == 11 ? OBV_E_UNSUPPORTED : OBV_E_CORRUPT;
        print_message("case: %d\n", what);
        assert_code(obv_sstable_meta_check(&m, &err), want, &err);
    }
    obv_sstable_meta old = good;
    old.format_version = 5;
    old.logical_data_version = 7;
    assert_code(obv_sstable_meta_check(&old, &err), OBV_OK, &err);
}

static void table_keys_are_equal_in_every_member_or_not_at_all(void **state)
{
    (void)state;
    const obv_table_key a = {
        .type = 1, .pkey = {5, 6, 7}, .table_id = 8, .versions = {1, 2, 3}, .version = 4, .log_ts = {5, 6, 7}};
    assert_true(obv_table_key_equal(&a, &a));
    for (int what = 0; what < 12; what++) {
        obv_table_key b = a;
        b.type += what == 0;
        b.pkey.table_id += what == 1;
        b.pkey.part_id += what == 2;
        b.pkey.assist += what == 3;
        b.table_id += what == 4;
        b.versions.multi_version_start += what == 5;
        b.versions.base_version += what == 6;
        b.versions.snapshot_version += what == 7;
        b.version += what == 8;
        b.log_ts.start += what == 9;
        b.log_ts.end += what == 10;
        b.log_ts.max += what == 11;
        assert_false(obv_table_key_equal(&a, &b));
    }
}

static void member_lists_and_addresses_have_bounds(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        int32_t family;
        bool good;
    } CASES[] = {{7, 4, true}, {0, 6, true}, {8, 4, false}, {-1, 4, false}, {1, 5, false}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_member_list l = {.count = CASES[i].count};
        for (int k = 0; k < OBV_MEMBERS_MAX; k++)
            l.member[k].server.family = CASES[i].family;
        obv_buf b = obv_buf_heap(4096);
        obv_put_member_list(&b, &l);
        obv_rd r = obv_rd_of(obv_buf_span(&b));
        obv_member_list got;
        obv_rd_member_list(&r, &got);
        assert_int_equal(!r.bad, CASES[i].good);
        obv_buf_fini(&b);
    }
}

/* Raw metas with one absurd word; offsets: total 0, version 4, occupy_size 30; compressor name of a schema info at 22.
 */
static void macro_metas_have_bounds(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_macro_meta m;
    obv_macro_schema c;
    size_t used = 0;
    const obv_span meta = object("ObMacroBlockMetaV2");
    const obv_span schema = object("ObMacroBlockSchemaInfo");
    static const struct {
        size_t at;
        uint32_t value;
        obv_code want;
    } CASES[] = {{30, 5000, OBV_OK},
                 {30, 0, OBV_E_CORRUPT},
                 {30, 0xffffffff, OBV_E_CORRUPT},
                 {30, OBV_MACRO_BLOCK_SIZE, OBV_OK},
                 {30, OBV_MACRO_BLOCK_SIZE + 1, OBV_E_CORRUPT},
                 {4, 1, OBV_E_UNSUPPORTED},
                 {0, 7, OBV_E_CORRUPT},
                 {0, 187, OBV_E_CORRUPT},
                 {0, 0xffffffff, OBV_E_CORRUPT}};
    uint8_t copy[512];
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        memcpy(copy, meta.p, meta.len);
        memcpy(copy + CASES[i].at, &CASES[i].value, 4);
        print_message("case: %zu\n", i);
        assert_code(obv_macro_meta_parse((obv_span){copy, meta.len}, &m, &used, &err), CASES[i].want, &err);
    }
    uint8_t *large = calloc(1, OBV_MACRO_META_MAX + 1); /* a length that is there, but no meta has */
    assert_non_null(large);
    const uint32_t total = OBV_MACRO_META_MAX + 1;
    memcpy(large, meta.p, meta.len);
    memcpy(large, &total, 4);
    assert_int_equal(obv_macro_meta_parse((obv_span){large, total}, &m, &used, &err), OBV_E_CORRUPT);
    memcpy(large, schema.p, 22);
    const uint32_t named = 22 + 128 + 1 + 20;
    memcpy(large, &named, 4);
    memset(large + 22, 'x', 128);
    assert_int_equal(obv_macro_schema_parse((obv_span){large, named}, &c, &used, &err), OBV_E_CORRUPT);
    free(large);

    memcpy(copy, meta.p, meta.len);
    memcpy(copy + meta.len, schema.p, schema.len);
    assert_code(obv_macro_full_meta_parse((obv_span){copy, meta.len + schema.len}, &m, &c, &err), OBV_OK, &err);
    copy[meta.len + schema.len] = 0;
    assert_int_equal(obv_macro_full_meta_parse((obv_span){copy, meta.len + schema.len + 1}, &m, &c, &err),
                     OBV_E_CORRUPT);
}

static void texts_counts_and_proposals_have_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool good;
    } TEXTS[] = {{"0461626300", true}, {"0461620000", false},   {"0461626364", false},
                 {"00", false},        {"050000000000", false}, {"0561626364ff", false}};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        obv_rd r = obv_rd_of(golden_hex(TEXTS[i].hex));
        (void)obv_rd_cstr(&r, 16);
        assert_int_equal(!r.bad, TEXTS[i].good);
    }
    obv_rd r = obv_rd_of(golden_hex("0461626300"));
    (void)obv_rd_cstr(&r, 3); /* "abc" and its NUL are four */
    assert_true(r.bad);
    r = obv_rd_of(golden_hex("03000000"));
    assert_int_equal(obv_rd_count(&r, 3, 1), 3);
    r = obv_rd_of(golden_hex("03000000"));
    (void)obv_rd_count(&r, 2, 1);
    assert_true(r.bad);
    r = obv_rd_of(golden_hex("03000000"));
    (void)obv_rd_count(&r, 100, 2);
    assert_true(r.bad);
    uint8_t proposal[17] = {6};
    r = obv_rd_of((obv_span){proposal, sizeof proposal});
    (void)obv_rd_proposal_id(&r);
    assert_true(r.bad);
}

static void keys_mean_what_oceanbase_means(void **state)
{
    (void)state;
    const obv_pg_key two = obv_pg_key_from_partition_id(7, INT64_C(1152921509170249735));
    assert_int_equal(two.part_id, 0x10000001);
    assert_int_equal(two.assist, 0x10000007);
    assert_int_equal(obv_pg_key_partition_id(&two), INT64_C(1152921509170249735));
    const obv_pg_key one = obv_pg_key_from_partition_id(7, 12);
    assert_int_equal(one.part_id, 12);
    assert_int_equal(one.assist, 0);
    const obv_pg_key pg = {UINT64_C(1100611139453781), 3, 0};
    const obv_pg_key trans = obv_pg_key_trans(&pg);
    assert_int_equal(trans.table_id, UINT64_C(1101435773174613));
    assert_true(obv_table_id_is_trans(trans.table_id) && !obv_table_id_is_trans(pg.table_id));
    assert_true(obv_table_id_is_tablegroup(UINT64_C(1101160895217665)));
    assert_false(obv_table_id_is_tablegroup(trans.table_id));
    char text[OBV_PKEY_TEXT_MAX];
    assert_string_equal(obv_pg_key_text(&two, text), "7/1152921509170249735");
}

static void readers_never_pass_the_end(void **state)
{
    (void)state;
    static const uint8_t LONG_VARINT[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const uint8_t HUGE_STRING[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 'x', 0};
    static const uint8_t NO_NUL[] = {2, 'a', 'b', 'c'};
    obv_rd r = obv_rd_of(obv_span_of(LONG_VARINT, sizeof LONG_VARINT));
    (void)obv_rd_vu64(&r);
    assert_true(r.bad);
    r = obv_rd_of(obv_span_of(HUGE_STRING, sizeof HUGE_STRING));
    (void)obv_rd_vstr(&r);
    assert_true(r.bad);
    r = obv_rd_of(obv_span_of(NO_NUL, sizeof NO_NUL));
    (void)obv_rd_vstr(&r);
    assert_true(r.bad);
    r = obv_rd_of(obv_span_of(NO_NUL, sizeof NO_NUL));
    (void)obv_rd_cstr(&r, 8);
    assert_true(r.bad);
    r = obv_rd_of(obv_span_of(HUGE_STRING, sizeof HUGE_STRING));
    (void)obv_rd_count(&r, SIZE_MAX, 1);
    assert_true(r.bad);
    assert_int_equal(obv_rd_be32(&r), 0); /* a failure sticks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(macro_metas_have_bounds),
        cmocka_unit_test(texts_counts_and_proposals_have_bounds),
        cmocka_unit_test(sstable_metas_that_oceanbase_refuses_are_refused),
        cmocka_unit_test(table_keys_are_equal_in_every_member_or_not_at_all),
        cmocka_unit_test(member_lists_and_addresses_have_bounds),
        cmocka_unit_test(small_objects_are_oceanbases_bytes),
        cmocka_unit_test(table_keys_are_oceanbases_bytes),
        cmocka_unit_test(headers_are_oceanbases_bytes),
        cmocka_unit_test(macro_metas_are_read),
        cmocka_unit_test(only_the_schema_version_of_a_pg_meta_is_rewritten),
        cmocka_unit_test(metas_with_default_members_are_read),
        cmocka_unit_test(cut_metas_are_refused),
        cmocka_unit_test(flipped_metas_are_survived),
        cmocka_unit_test(keys_mean_what_oceanbase_means),
        cmocka_unit_test(readers_never_pass_the_end),
    };
    return cmocka_run_group_tests_name("format.objects", tests, NULL, NULL);
}
