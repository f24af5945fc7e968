/* what OceanBase before 3.1 wrote: its own index file, and metas made by hand, whole, cut and with each rule broken */
#include "format/media/old_layouts.h"
#include "golden.h"
#include "pg_maker.h"

struct seen {
    obv_old_macro_entry e[4];
    size_t count, stop_at;
};

static int see(void *ctx, const obv_old_macro_entry *e)
{
    struct seen *s = ctx;
    assert_true(s->count < 4);
    s->e[s->count++] = *e;
    return s->count == s->stop_at;
}

static void oceanbases_index_is_read(void **state)
{
    (void)state;
    obv_err err = {0};
    struct seen s = {0};
    const obv_span file = golden_vector("data/backup_macro_block_index_v1.bin");
    assert_code(obv_old_macro_index_each(file, see, &s, &err), OBV_OK, &err);
    assert_int_equal(s.count, 2);
    static const uint64_t LEN[2] = {57344, 36864};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(s.e[i].table_id, UINT64_C(1100611139453781));
        assert_int_equal(s.e[i].index_table_id, UINT64_C(1100611139453781));
        assert_int_equal(s.e[i].partition_id, 3);
        assert_int_equal(s.e[i].at.index, i);
        assert_int_equal(s.e[i].at.data_version, 7);
        assert_int_equal(s.e[i].at.data_seq, i);
        assert_int_equal(s.e[i].at.set_id, 1);
        assert_int_equal(s.e[i].at.sub_task, 0);
        assert_int_equal(s.e[i].at.offset, i * LEN[0]);
        assert_int_equal(s.e[i].at.len, LEN[i]);
    }
    s = (struct seen){.stop_at = 1};
    assert_int_equal(obv_old_macro_index_each(file, see, &s, &err), OBV_E_CANCELLED);
    /* every bit of header and payload counts: refused, but for the header bytes that no checksum covers */
    obv_buf b = obv_buf_heap(8192);
    obv_put_span(&b, file);
    for (size_t at = 0; at < OBV_COMMON_HEADER_LEN + 66; at++) {
        if (at == 4 || at == 5 || (at >= 12 && at < 16))
            continue;
        b.data[at] ^= 1;
        s = (struct seen){0};
        if (obv_old_macro_index_each(obv_buf_span(&b), see, &s, &err) == OBV_OK)
            fail_msg("byte %zu ^ 1 is taken", at);
        b.data[at] ^= 1;
    }
    obv_buf_fini(&b);
    /* the index of 3.1 is another record */
    s = (struct seen){0};
    assert_int_equal(obv_old_macro_index_each(golden_vector("data/backup_macro_block_index_1.bin"), see, &s, &err),
                     OBV_E_CORRUPT);
}

static void index_entries_obey_oceanbases_rule(void **state)
{
    (void)state;
    for (int wrong = -1; wrong < 12; wrong++) { /* 10, 11: set and length are 0 */
        obv_err err = {0};
        struct seen s = {0};
        obv_buf o = obv_buf_heap(4096);
        obv_buf file = obv_buf_heap(8192);
        const size_t mark = obv_unis_begin(&o, 1);
        for (int i = 0; i < 10; i++)
            obv_put_vi64(&o, i == wrong ? -1 : wrong == 10 && i == 6 ? 0 : wrong == 11 && i == 9 ? 0 : 1);
        obv_put_vi64(&o, 77); /* a member that only a later version knows */
        obv_unis_end(&o, mark);
        obv_put_info_file(&file, OBV_FILE_MACRO_INDEX, 1, obv_buf_span(&o));
        assert_code(obv_old_macro_index_each(obv_buf_span(&file), see, &s, &err), wrong < 0 ? OBV_OK : OBV_E_CORRUPT,
                    &err);
        obv_buf_fini(&o);
        obv_buf_fini(&file);
    }
}

static const obv_pg_key PG = {.table_id = UINT64_C(1001) << 40 | 50005, .part_id = 3};

/* Members up to @p members of 13. */
static void put_store_meta(obv_buf *b, const obv_pg_key *key, int members)
{
    const size_t m = obv_unis_begin(b, 1);
    obv_put_pkey(b, key);
    for (int i = 1; i < members; i++)
        switch (i) {
        case 6: { /* storage info: as in a PG's meta */
            const size_t storage = obv_unis_begin(b, 1);
            obv_put_vi32(b, 2);
            obv_put_unis_header(b, 1, 0);
            obv_put_unis_header(b, 1, 0);
            obv_unis_end(b, storage);
            break;
        }
        case 7:
            obv_put_unis_header(b, 1, 0);
            break;
        case 8:
            obv_put_vi64(b, 81);
            break;
        case 9:
            obv_put_vu64(b, key->table_id);
            break;
        case 10:
        case 11:
            obv_put_unis_header(b, 1, 0);
            break;
        default:
            obv_put_vi64(b, i == 12 ? 1234 : 0);
        }
    obv_unis_end(b, m);
}

static void store_metas(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_partition_store_meta m;
    for (int members = 1; members <= 13; members++) {
        obv_buf b = obv_buf_heap(4096);
        put_store_meta(&b, &PG, members);
        assert_code(obv_old_store_meta_parse(obv_buf_span(&b), &m, &err), OBV_OK, &err);
        assert_int_equal(m.pkey.part_id, 3);
        assert_int_equal(m.multi_version_start, members > 8 ? 81 : 0);
        assert_int_equal(m.data_table_id, members > 9 ? PG.table_id : 0);
        assert_int_equal(m.create_timestamp, members > 12 ? 1234 : 0);
        for (size_t cut = 1; cut < b.len; cut++)
            assert_int_equal(obv_old_store_meta_parse((obv_span){b.data, b.len - cut}, &m, &err), OBV_E_CORRUPT);
        obv_put_u8(&b, 0); /* left over in the record */
        assert_int_equal(obv_old_store_meta_parse(obv_buf_span(&b), &m, &err), OBV_E_CORRUPT);
        obv_buf_fini(&b);
    }
    obv_buf b = obv_buf_heap(4096);
    put_store_meta(&b, &(obv_pg_key){.table_id = 5, .part_id = -1}, 13);
    assert_int_equal(obv_old_store_meta_parse(obv_buf_span(&b), &m, &err), OBV_E_CORRUPT);
    obv_buf_fini(&b);
    b = obv_buf_heap(4096);
    make_store_meta(&b, &PG); /* the newer one */
    assert_int_equal(obv_old_store_meta_parse(obv_buf_span(&b), &m, &err), OBV_E_CORRUPT);
    obv_buf_fini(&b);
}

/* A PG's meta as 3.1 writes it (storage info 3), turned into what earlier ones wrote (2) or what none did. */
static void storage_infos(void **state)
{
    (void)state;
    for (int version = 1; version <= 4; version++)
        for (int members = 0; members <= 1; members++) {
            obv_err err = {0};
            obv_buf b = obv_buf_heap(1 << 16);
            obv_buf old = obv_buf_heap(1 << 16);
            make_pg_meta(&b, &PG, 10, 5000, 500);
            obv_pg_meta m;
            assert_code(obv_pg_meta_parse(obv_buf_span(&b), &m, &err), OBV_OK, &err);
            const size_t storage_len_at = m.enclosing_len_at[1];
            const size_t storage_end = storage_len_at + 5 + (size_t)m.enclosing_body_len[1];
            const size_t file_id_at = storage_end - 10; /* -1 */
            const size_t outer = obv_unis_begin(&old, 1);
            obv_put_span(&old, (obv_span){b.data + m.enclosing_len_at[0] + 5, storage_len_at - 1 - 6});
            const size_t storage = obv_unis_begin(&old, 1);
            obv_put_vi32(&old, version);
            obv_put_span(&old, (obv_span){b.data + storage_len_at + 6, file_id_at - storage_len_at - 6});
            if (members) {
                obv_put_u8(&old, 0);
                obv_put_unis_header(&old, 1, 1);
                obv_put_vi64(&old, 3);
                obv_put_unis_header(&old, 1, 2);
                obv_buf_append_zeros(&old, 2);
            }
            obv_put_vi64(&old, -1);
            obv_unis_end(&old, storage);
            obv_put_span(&old, (obv_span){b.data + storage_end, b.len - storage_end});
            obv_unis_end(&old, outer);
            const obv_code code = obv_pg_meta_parse(obv_buf_span(&old), &m, &err);
            const bool fits = version == 2 ? members : version == 3;
            if (fits != (code == OBV_OK))
                fail_msg("version %d with%s the members of 2: %d", version, members ? "" : "out", code);
            if (fits)
                assert_int_equal(m.partition_count, 2);
            obv_buf_fini(&b);
            obv_buf_fini(&old);
        }
}

static void lists_of_tables(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_old_list l;
    obv_sstable_meta meta;
    obv_table_key key;
    for (uint64_t said = 0; said < 4; said++) { /* two items are there */
        obv_buf metas = obv_buf_heap(1 << 16);
        obv_buf keys = obv_buf_heap(1 << 16);
        obv_put_le64(&metas, said);
        obv_put_le64(&keys, said);
        for (uint64_t i = 0; i < 2; i++) {
            make_sstable_meta(&metas, &PG,
                              &(made_sstable){.index_id = PG.table_id + i, .blocks = i, .schema_version = 5});
            const obv_table_key k = {.type = OBV_TABLE_MAJOR, .pkey = PG, .table_id = PG.table_id + i};
            obv_put_table_key(&keys, &k);
        }
        obv_code code = obv_old_list_parse(obv_buf_span(&metas), &l, &err);
        for (uint64_t i = 0; code == OBV_OK; i++)
            if ((code = obv_old_list_sstable(&l, &meta, &err)) == OBV_OK)
                assert_int_equal(meta.index_id, PG.table_id + i);
        assert_code(code, said == 2 ? OBV_E_NOT_FOUND : OBV_E_CORRUPT, &err);
        code = obv_old_list_parse(obv_buf_span(&keys), &l, &err);
        for (uint64_t i = 0; code == OBV_OK; i++)
            if ((code = obv_old_list_table_key(&l, &key, &err)) == OBV_OK)
                assert_int_equal(key.table_id, PG.table_id + i);
        assert_code(code, said == 2 ? OBV_E_NOT_FOUND : OBV_E_CORRUPT, &err);
        obv_buf_fini(&metas);
        obv_buf_fini(&keys);
    }
    static const uint64_t COUNTS[] = {OBV_PARTITION_TABLES_MAX + 1, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < 3; i++) {
        obv_buf b = obv_buf_heap(1 << 16);
        obv_put_le64(&b, COUNTS[i]);
        obv_buf_append_zeros(&b, OBV_PARTITION_TABLES_MAX + 2);
        assert_int_equal(obv_old_list_parse(obv_buf_span(&b), &l, &err), OBV_E_CORRUPT);
        obv_buf_fini(&b);
    }
    assert_int_equal(obv_old_list_parse(obv_span_of("1234567", 7), &l, &err), OBV_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oceanbases_index_is_read),
        cmocka_unit_test(index_entries_obey_oceanbases_rule),
        cmocka_unit_test(store_metas),
        cmocka_unit_test(storage_infos),
        cmocka_unit_test(lists_of_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
