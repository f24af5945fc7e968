/* one rule broken at a time, under right checksums: readers and writers of the media refuse it */
#include "base/crc32c.h"
#include "format/media/info_files.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/tenant_names.h"
#include "golden.h"

static void common_headers(void **state)
{
    (void)state;
    static const struct {
        obv_common_header h;
        obv_code want;
    } CASES[] = {{{.data_type = 7, .data_len = 5, .stored_len = 5}, OBV_OK},
                 {{.data_type = 7, .compressor = 2, .data_len = 5, .stored_len = 5}, OBV_E_UNSUPPORTED},
                 {{.data_type = OBV_FILE_TYPE_END, .data_len = 5, .stored_len = 5}, OBV_E_CORRUPT},
                 {{.data_type = 7, .data_len = 5, .stored_len = 4}, OBV_E_CORRUPT},
                 {{.data_type = 7, .data_len = UINT64_MAX, .stored_len = UINT64_MAX}, OBV_E_CORRUPT},
                 {{.data_type = 7, .align_len = UINT64_MAX}, OBV_E_CORRUPT}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err err = {0};
        obv_common_header got;
        obv_buf b = obv_buf_heap(4096);
        obv_put_common_header(&b, &CASES[i].h);
        assert_code(obv_common_header_parse(obv_buf_span(&b), &got, &err), CASES[i].want, &err);
        obv_buf_fini(&b);
    }
}

static void whole_info_files(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_span payload;
    obv_buf b = obv_buf_heap(4096);
    obv_put_info_file(&b, OBV_FILE_PG_LIST, 0, obv_span_of("hello", 5));
    assert_code(obv_info_file_parse(obv_buf_span(&b), OBV_FILE_PG_LIST, &payload, &err), OBV_OK, &err);
    assert_int_equal(obv_info_file_parse(obv_buf_span(&b), OBV_FILE_TENANT_INFO, &payload, &err), OBV_E_CORRUPT);
    obv_put_u8(&b, 0);
    assert_int_equal(obv_info_file_parse(obv_buf_span(&b), OBV_FILE_PG_LIST, &payload, &err), OBV_E_CORRUPT);
    obv_buf_fini(&b);
}

static void put_block(obv_buf *b, uint16_t type, obv_span payload)
{
    const obv_common_header h = {.data_type = type,
                                 .data_version = 1,
                                 .data_len = payload.len,
                                 .stored_len = payload.len,
                                 .data_checksum = obv_crc64(0, payload)};
    obv_put_common_header(b, &h);
    obv_put_span(b, payload);
}

static void block_streams(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_span payload;
    uint64_t at = 0;
    static const uint16_t TYPES[] = {OBV_FILE_META_INDEX, OBV_FILE_END_MARK}; /* another type; an end mark with data */
    for (size_t i = 0; i < 2; i++) {
        obv_buf b = obv_buf_heap(4096);
        put_block(&b, TYPES[i], obv_span_of("hello", 5));
        obv_block_reader r = obv_block_reader_of(obv_buf_span(&b));
        assert_int_equal(obv_block_next(&r, OBV_FILE_META, &payload, &at, &err), OBV_E_CORRUPT);
        obv_buf_fini(&b);
    }
    obv_block_writer w = obv_block_writer_of(OBV_FILE_META_INDEX);
    obv_buf out = obv_buf_heap(1 << 20);
    uint8_t *large = calloc(1, OBV_INDEX_BLOCK_MAX);
    assert_non_null(large);
    const size_t room = OBV_INDEX_BLOCK_MAX - OBV_COMMON_HEADER_LEN;
    assert_int_equal(obv_block_writer_add(&w, (obv_span){large, room + 1}, &out, NULL, &err), OBV_E_LIMIT);
    assert_code(obv_block_writer_add(&w, (obv_span){large, room}, &out, &at, &err), OBV_OK, &err);
    assert_int_equal(at, OBV_COMMON_HEADER_LEN);
    assert_code(obv_block_writer_end(&w, &out, &err), OBV_OK, &err);
    assert_int_equal(out.len, OBV_INDEX_BLOCK_MAX + OBV_BLOCK_ALIGN);
    free(large);
    obv_buf_fini(&out);
    obv_block_writer_fini(&w);
}

static void macroblock_frames(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_macro_frame f;
    obv_span meta;
    obv_span data;
    uint8_t *bytes = calloc(1, OBV_MACRO_BLOCK_SIZE + 1);
    assert_non_null(bytes);
    obv_buf head = obv_buf_heap(4 << 20);
    obv_buf tail = obv_buf_heap(1 << 20);
    assert_int_equal(
        obv_macro_frame_make((obv_span){bytes, OBV_MACRO_META_MAX + 1}, (obv_span){bytes, 1}, &head, &tail, &f, &err),
        OBV_E_LIMIT);
    assert_int_equal(
        obv_macro_frame_make((obv_span){bytes, 1}, (obv_span){bytes, OBV_MACRO_BLOCK_SIZE + 1}, &head, &tail, &f, &err),
        OBV_E_LIMIT);
    assert_int_equal(obv_macro_frame_make((obv_span){bytes, 1}, (obv_span){bytes, 0}, &head, &tail, &f, &err),
                     OBV_E_LIMIT);
    assert_int_equal(head.len + tail.len, 0);
    assert_code(obv_macro_frame_make((obv_span){bytes, 9}, (obv_span){bytes, 5}, &head, &tail, &f, &err), OBV_OK, &err);
    obv_buf_append(&head, bytes, 5);
    obv_buf_append(&head, tail.data, tail.len);
    assert_code(obv_macro_frame_parse(obv_buf_span(&head), &meta, &data, &err), OBV_OK, &err);
    assert_int_equal(meta.len, 9);
    obv_buf_append_zeros(&head, 4096); /* more than the block */
    assert_int_equal(obv_macro_frame_parse(obv_buf_span(&head), &meta, &data, &err), OBV_E_CORRUPT);
    obv_buf other = obv_buf_heap(4096);
    put_block(&other, OBV_FILE_META, (obv_span){head.data + OBV_COMMON_HEADER_LEN, 6 + 9 + 2 + 5 + 2});
    assert_int_equal(obv_macro_frame_parse(obv_buf_span(&other), &meta, &data, &err), OBV_E_CORRUPT);
    obv_buf_fini(&other);
    obv_buf_fini(&head);
    obv_buf_fini(&tail);
    free(bytes);
}

static void totals_of_index_files(void **state)
{
    (void)state;
    obv_err err = {0};
    static const uint64_t TOTALS[] = {0, (uint64_t)INT32_MAX + 1, UINT64_MAX};
    const obv_table_key key = {.type = 1, .pkey = {5, 0, 0}, .table_id = 5};
    for (size_t i = 0; i < 3; i++) {
        obv_buf o = obv_buf_heap(4096);
        obv_buf file = obv_buf_heap(8192);
        const size_t mark = obv_unis_begin(&o, 1);
        obv_put_table_key(&o, &key);
        obv_put_vu64(&o, TOTALS[i]);
        obv_unis_end(&o, mark);
        put_block(&file, OBV_FILE_MACRO_INDEX, obv_buf_span(&o));
        assert_int_equal(obv_macro_index_each(obv_buf_span(&file), &(obv_macro_index_visitor){0}, &err), OBV_E_CORRUPT);
        obv_buf_fini(&o);
        obv_buf_fini(&file);
    }
    obv_buf k = obv_buf_heap(1024);
    obv_put_table_key(&k, &key);
    obv_buf out = obv_buf_heap(1 << 20);
    obv_macro_index_writer w = obv_macro_index_writer_of();
    obv_macro_entry e = {.set_id = 1, .len = 4096};
    assert_code(obv_macro_index_table(&w, obv_buf_span(&k), 1, &out, &err), OBV_OK, &err);
    assert_code(obv_macro_index_entry(&w, &e, &out, &err), OBV_OK, &err);
    e.index = 1;
    assert_int_equal(obv_macro_index_entry(&w, &e, &out, &err), OBV_E_INTERNAL); /* one more than the table has */
    obv_macro_index_writer_fini(&w);
    obv_buf_fini(&out);
    obv_buf_fini(&k);
}

static void meta_objects(void **state)
{
    (void)state;
    obv_err err = {0};
    for (int what = 0; what < 6; what++) {
        const obv_span body = obv_span_of("123456789", 9);
        const uint64_t crc = obv_crc64(0, body) ^ (what == 4);
        const uint16_t version = what == 1 ? 2 : 1;
        const uint16_t type = what == 2 ? 5 : 4;
        obv_buf b = obv_buf_heap(4096);
        obv_put_vu64(&b, OBV_META_HEADER_LEN + body.len + (what == 5));
        obv_put_le16(&b, version);
        obv_put_le16(&b, type);
        obv_put_le16(&b, (uint16_t)(1 ^ type ^ obv_fold32(9) ^ obv_fold64(crc) ^ (what == 3)));
        obv_buf_append_zeros(&b, 6);
        obv_put_le32(&b, 9);
        obv_put_le64(&b, crc);
        obv_put_span(&b, body);
        obv_buf_append_zeros(&b, 1 + (what == 5));
        obv_meta_object o;
        print_message("case: %d\n", what);
        assert_code(obv_meta_object_parse(obv_buf_span(&b), &o, &err), what == 0 ? OBV_OK : OBV_E_CORRUPT, &err);
        obv_buf_fini(&b);
    }
}

/* Metas of a PG as 3.1 makes them, in pieces. */
typedef struct pieces {
    obv_span file;
    obv_pg_record_reader rec;
    obv_pg_record_part part;
    obv_sstable_meta meta;
    obv_table_key key;
} pieces;

static pieces take_apart(void)
{
    pieces p = {.file = golden_vector("data/backup_pg_meta_file_1.bin")};
    obv_err err = {0};
    obv_block_reader r = obv_block_reader_of(p.file);
    obv_span payload;
    uint64_t at;
    obv_meta_object o;
    assert_code(obv_block_next(&r, OBV_FILE_META, &payload, &at, &err), OBV_OK, &err);
    assert_code(obv_meta_object_parse(payload, &o, &err), OBV_OK, &err);
    assert_code(obv_pg_record_parse(o.body, &p.rec, &err), OBV_OK, &err);
    assert_code(obv_pg_record_next_partition(&p.rec, &p.part, &err), OBV_OK, &err);
    assert_code(obv_pg_record_next_table(&p.part, &p.meta, &p.key, &err), OBV_OK, &err);
    return p;
}

static void records_of_pgs(void **state)
{
    (void)state;
    enum { IS_RESTORE_AT = 6 + 16 }; /* behind envelope and key */
    obv_err err = {0};
    const pieces p = take_apart();
    obv_buf out = obv_buf_heap(1 << 20);
    obv_buf key = obv_buf_heap(1024);
    obv_put_table_key(&key, &p.key);
    obv_record_table t = {p.meta.bytes, obv_buf_span(&key)};
    const obv_record_partition part = {p.part.store.bytes, &t, 1};
    obv_pg_record r = {p.rec.pg.bytes, &part, 1};
    const int64_t own = p.rec.pg.data.schema_version;
    obv_pg_record_reader again;
    assert_code(obv_put_pg_record_body(&out, &r, own - 1, &err), OBV_OK, &err);
    assert_code(obv_pg_record_parse(obv_buf_span(&out), &again, &err), OBV_OK, &err);
    assert_int_equal(again.pg.data.schema_version, own); /* never lowered */

    /* read: a table key of another index */
    obv_buf body = obv_buf_heap(1 << 20);
    obv_table_key other = p.key;
    other.table_id++;
    const size_t m0 = obv_unis_begin(&body, 1);
    obv_put_span(&body, p.rec.pg.bytes);
    obv_put_vu64(&body, 1);
    const size_t m1 = obv_unis_begin(&body, 1);
    obv_put_span(&body, p.part.store.bytes);
    obv_put_vu64(&body, 1);
    const size_t m2 = obv_unis_begin(&body, 1);
    obv_put_span(&body, p.meta.bytes);
    obv_put_table_key(&body, &other);
    obv_unis_end(&body, m2);
    obv_unis_end(&body, m1);
    obv_unis_end(&body, m0);
    obv_pg_record_part got;
    obv_sstable_meta meta;
    obv_table_key k;
    assert_code(obv_pg_record_parse(obv_buf_span(&body), &again, &err), OBV_OK, &err);
    assert_code(obv_pg_record_next_partition(&again, &got, &err), OBV_OK, &err);
    assert_int_equal(obv_pg_record_next_table(&got, &meta, &k, &err), OBV_E_CORRUPT);

    /* written: the same, and a PG that is being restored */
    key.len = 0;
    obv_put_table_key(&key, &other);
    assert_int_equal(obv_put_pg_record_body(&out, &r, 0, &err), OBV_E_CORRUPT);
    key.len = 0;
    obv_put_table_key(&key, &p.key);
    uint8_t *copy = malloc(p.rec.pg.bytes.len);
    assert_non_null(copy);
    memcpy(copy, p.rec.pg.bytes.p, p.rec.pg.bytes.len);
    assert_int_equal(copy[IS_RESTORE_AT], 0);
    copy[IS_RESTORE_AT] = 2;
    r.pg_meta.p = copy;
    assert_int_equal(obv_put_pg_record_body(&out, &r, 0, &err), OBV_E_INVAL);
    copy[IS_RESTORE_AT] = 0;
    memset(copy + 6, 0xff, 16); /* no valid key */
    assert_int_equal(obv_put_pg_record_body(&out, &r, 0, &err), OBV_E_CORRUPT);
    free(copy);
    obv_buf_fini(&body);
    obv_buf_fini(&key);
    obv_buf_fini(&out);
}

static void entries_of_lists(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf b = obv_buf_heap(1 << 20);
    for (int what = 0; what < 11; what++) {
        const obv_backup_info e = {.full_set_id = what != 1,
                                   .set_id = what != 2,
                                   .data_version = what != 3,
                                   .snapshot_version = what != 4,
                                   .schema_version = what != 5,
                                   .frozen_snapshot_version = what != 6,
                                   .frozen_schema_version = what == 7 ? -1 : 0,
                                   .backup_type = what == 8   ? 0
                                                  : what == 9 ? 3
                                                              : 1,
                                   .date = what == 10 ? -1 : 20230101};
        assert_code(obv_put_backup_infos(&b, &e, 1, &err), what == 0 ? OBV_OK : OBV_E_INVAL, &err);
    }
    for (int what = 0; what < 11; what++) {
        obv_set_file_info e = {.tenant_id = what != 1,
                               .set_id = what != 2,
                               .incarnation = what != 3,
                               .copy_id = what == 4 ? -1 : 0,
                               .snapshot_version = what != 5,
                               .backup_type = what == 6 ? 3 : 1,
                               .status = what == 7 ? 3 : 1,
                               .file_status = what == 8 ? 7 : 0,
                               .date = what == 9 ? -1 : 20230101,
                               .backup_dest = "file:///b"};
        if (what == 10)
            memset(e.passwd, 'x', sizeof e.passwd);
        assert_code(obv_put_set_file_infos(&b, &e, 1, &err), what == 0 ? OBV_OK : OBV_E_INVAL, &err);
    }
    const obv_set_file_info twice[2] = {{.tenant_id = 1,
                                         .set_id = 2,
                                         .incarnation = 1,
                                         .snapshot_version = 1,
                                         .backup_type = 1,
                                         .backup_dest = "file:///b"},
                                        {.tenant_id = 1,
                                         .set_id = 2,
                                         .incarnation = 1,
                                         .snapshot_version = 1,
                                         .backup_type = 1,
                                         .backup_dest = "file:///b"}};
    assert_int_equal(obv_put_set_file_infos(&b, twice, 2, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_set_infos(&b, &(obv_set_info){.set_id = 0, .compress_type = 1}, 1, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_set_infos(&b, &(obv_set_info){.set_id = 1, .compress_type = 0}, 1, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_tenant_infos(&b, &(obv_tenant_info){.tenant_id = 0, .tenant_name = "t"}, 1, &err),
                     OBV_E_INVAL);
    assert_int_equal(
        obv_put_tenant_infos(&b, &(obv_tenant_info){.tenant_id = 1, .compat_mode = -1, .tenant_name = "t"}, 1, &err),
        OBV_E_INVAL);
    obv_buf_fini(&b);
}

static void localities(void **state)
{
    (void)state;
    obv_err err = {0};
    for (int what = 0; what < 7; what++) {
        obv_buf b = obv_buf_heap(1 << 20);
        const obv_tenant_locality l = {.tenant_id = what != 1,
                                       .set_id = what != 2,
                                       .snapshot_version = what != 3,
                                       .tenant_name = {what == 4 ? 0 : 't'},
                                       .locality = {what == 5 ? 0 : 'F'},
                                       .primary_zone = {what == 6 ? 0 : 'z'}};
        assert_code(obv_put_tenant_locality(&b, &l, &err), what == 0 ? OBV_OK : OBV_E_INVAL, &err);
        obv_buf_fini(&b);
    }
    for (int what = 0; what < 4; what++) { /* as another writer may leave it */
        obv_buf body = obv_buf_heap(1 << 20);
        obv_buf file = obv_buf_heap(1 << 20);
        obv_tenant_locality got;
        const size_t outer = obv_unis_begin(&body, 1);
        const size_t inner = obv_unis_begin(&body, 1);
        for (int i = 0; i < 4; i++)
            obv_put_vu64(&body, 1);
        for (int i = 1; i < 4; i++)
            obv_put_fixed_str(&body, what == i ? "" : "x");
        obv_unis_end(&body, inner);
        obv_unis_end(&body, outer);
        obv_put_info_file(&file, OBV_FILE_TENANT_LOCALITY, 0, obv_buf_span(&body));
        assert_code(obv_tenant_locality_parse(obv_buf_span(&file), &got, &err), what == 0 ? OBV_OK : OBV_E_CORRUPT,
                    &err);
        obv_buf_fini(&body);
        obv_buf_fini(&file);
    }
}

static int ignore_name(void *ctx, const obv_tenant_name *e)
{
    (void)ctx, (void)e;
    return 0;
}

static void names_of_tenants(void **state)
{
    (void)state;
    char text[OBV_TENANT_NAME_MAX * 2 + 8];
    obv_err err = {0};
    memset(text, 'x', sizeof text);
    static const struct {
        size_t len;
        uint8_t complete;
        bool nul;
        obv_code want;
    } CASES[] = {{OBV_TENANT_NAME_MAX * 2, 1, false, OBV_OK},
                 {OBV_TENANT_NAME_MAX * 2 + 1, 1, false, OBV_E_CORRUPT},
                 {0, 1, false, OBV_E_CORRUPT},
                 {5, 0, false, OBV_E_CORRUPT},
                 {5, 1, true, OBV_E_CORRUPT}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_buf body = obv_buf_heap(1 << 20);
        obv_buf file = obv_buf_heap(1 << 20);
        int64_t version = 0;
        const size_t meta = obv_unis_begin(&body, 1);
        obv_put_vu64(&body, 7);
        obv_put_vu64(&body, 1);
        obv_unis_end(&body, meta);
        const size_t name = obv_unis_begin(&body, 1);
        text[2] = CASES[i].nul ? 0 : 'x';
        obv_put_vstr(&body, obv_span_of(text, CASES[i].len));
        obv_put_u8(&body, CASES[i].complete);
        obv_put_vu64(&body, 0);
        obv_unis_end(&body, name);
        obv_put_info_file(&file, OBV_FILE_TENANT_NAME, 1, obv_buf_span(&body));
        assert_code(obv_tenant_names_each(obv_buf_span(&file), &version, ignore_name, NULL, &err), CASES[i].want, &err);
        obv_buf_fini(&body);
        obv_buf_fini(&file);
    }
    obv_buf b = obv_buf_heap(1 << 20);
    const obv_tenant_name order[] = {{"b", 1, 5}, {"a", 1, 5}};
    assert_int_equal(obv_put_tenant_names(&b, 1, order, 2, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_tenant_names(&b, 1, (obv_tenant_name[]){order[0], order[0]}, 2, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_tenant_names(&b, 1, &(obv_tenant_name){"a", 0, 5}, 1, &err), OBV_E_INVAL);
    assert_int_equal(obv_put_tenant_names(&b, 0, order, 1, &err), OBV_E_INVAL);
    obv_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_headers),    cmocka_unit_test(whole_info_files),      cmocka_unit_test(block_streams),
        cmocka_unit_test(macroblock_frames), cmocka_unit_test(totals_of_index_files), cmocka_unit_test(meta_objects),
        cmocka_unit_test(records_of_pgs),    cmocka_unit_test(entries_of_lists),      cmocka_unit_test(localities),
        cmocka_unit_test(names_of_tenants),
    };
    return cmocka_run_group_tests_name("format.rules", tests, NULL, NULL);
}
