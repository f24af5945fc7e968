/* info files and PG lists: OceanBase's own bytes are read, and made again from the values */
#include "format/media/info_files.h"
#include "format/media/tenant_names.h"
#include "format/ob/keys.h"
#include "golden.h"

#define T0 INT64_C(1672531200000000)
#define V315 INT64_C(0x300010005)

static void check_file(const obv_buf *made, obv_code code, const obv_err *err, const char *vector)
{
    assert_code(code, OBV_OK, err);
    assert_span_equal(obv_buf_span(made), golden_vector(vector));
}

static const obv_backup_info BACKUPS[] = {
    {.full_set_id = 1,
     .set_id = 1,
     .data_version = 7,
     .snapshot_version = T0 + 500,
     .schema_version = T0 + 400,
     .frozen_snapshot_version = T0 + 300,
     .frozen_schema_version = T0 + 200,
     .compatible = 4,
     .cluster_version = V315,
     .backup_type = OBV_BACKUP_FULL,
     .date = 20230101},
    {.full_set_id = 1,
     .set_id = 2,
     .data_version = 9,
     .snapshot_version = T0 + 5000,
     .schema_version = T0 + 4000,
     .frozen_snapshot_version = T0 + 3000,
     .frozen_schema_version = T0 + 2000,
     .prev_full_set_id = 1,
     .prev_set_id = 1,
     .prev_data_version = 7,
     .compatible = 4,
     .cluster_version = V315,
     .backup_type = OBV_BACKUP_INCREMENTAL,
     .status = OBV_EXTERN_DOING,
     .encryption_mode = 1,
     .passwd = "*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9",
     .date = 20230102},
};

static int keep_backup(void *ctx, const obv_backup_info *e)
{
    obv_backup_info **at = ctx;
    *(*at)++ = *e;
    return 0;
}

static void backup_infos_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf b = obv_buf_heap(1 << 20);
    check_file(&b, obv_put_backup_infos(&b, BACKUPS, 2, &err), &err, "data/extern_tenant_backup_info.bin");
    obv_backup_info got[2];
    memset(got, 0, sizeof got);
    obv_backup_info *at = got;
    assert_code(obv_backup_infos_each(obv_buf_span(&b), keep_backup, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 2);
    assert_memory_equal(got, BACKUPS, sizeof got);
    obv_buf_fini(&b);
}

static obv_set_file_info set_file(void)
{
    return (obv_set_file_info){.tenant_id = 1001,
                               .set_id = 1,
                               .incarnation = 1,
                               .snapshot_version = T0 + 500,
                               .pg_count = 12,
                               .macro_block_count = 34,
                               .finish_pg_count = 12,
                               .finish_macro_block_count = 34,
                               .input_bytes = 71303168,
                               .output_bytes = 71434240,
                               .start_time = T0 + 450,
                               .end_time = T0 + 900,
                               .compatible = 4,
                               .cluster_version = V315,
                               .backup_type = OBV_BACKUP_FULL,
                               .status = OBV_SET_SUCCESS,
                               .cluster_id = 1,
                               .backup_dest = "file:///data/nfs/backup",
                               .data_version = 7,
                               .schema_version = T0 + 400,
                               .partition_count = 20,
                               .finish_partition_count = 20,
                               .start_replay_log_ts = T0 + 490,
                               .date = 20230101};
}

static int keep_set(void *ctx, const obv_set_file_info *e)
{
    obv_set_file_info **at = ctx;
    *(*at)++ = *e;
    return 0;
}

static void set_file_infos_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_set_file_info e[2] = {set_file(), set_file()};
    obv_buf one = obv_buf_heap(1 << 20);
    check_file(&one, obv_put_set_file_infos(&one, e, 1, &err), &err, "data/extern_single_backup_set_info.bin");

    obv_set_file_info got[2] = {0};
    obv_set_file_info *at = got;
    const obv_span want = golden_vector("data/extern_backup_set_file_info.bin");
    assert_code(obv_set_file_infos_each(want, keep_set, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 2);
    assert_int_equal(got[1].result, -4016);
    assert_int_equal(got[1].status, OBV_SET_FAILED);
    assert_int_equal(got[1].prev_full_set_id, 1);
    assert_string_equal(got[1].backup_dest, "file:///data/nfs/backup");
    assert_memory_equal(&got[0], &e[0], sizeof e[0]);
    obv_buf two = obv_buf_heap(1 << 20);
    check_file(&two, obv_put_set_file_infos(&two, got, 2, &err), &err, "data/extern_backup_set_file_info.bin");
    obv_buf_fini(&one);
    obv_buf_fini(&two);
}

static int keep_set_info(void *ctx, const obv_set_info *e)
{
    *(obv_set_info *)ctx = *e;
    return 0;
}

static void set_info_is_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_set_info e = {.set_id = 1,
                            .snapshot_version = T0 + 500,
                            .compatible = 4,
                            .pg_count = 12,
                            .macro_block_count = 34,
                            .input_bytes = 71303168,
                            .output_bytes = 71434240,
                            .cluster_version = V315,
                            .compress_type = 1};
    obv_buf b = obv_buf_heap(1 << 20);
    check_file(&b, obv_put_set_infos(&b, &e, 1, &err), &err, "data/extern_backup_set_info.bin");
    obv_set_info got = {0};
    assert_code(obv_set_infos_each(obv_buf_span(&b), keep_set_info, &got, &err), OBV_OK, &err);
    obv_buf again = obv_buf_heap(1 << 20); /* the struct itself has padding that nobody writes */
    check_file(&again, obv_put_set_infos(&again, &got, 1, &err), &err, "data/extern_backup_set_info.bin");
    obv_buf_fini(&again);
    obv_buf_fini(&b);
}

static int keep_key(void *ctx, const obv_pg_key *k)
{
    obv_pg_key **at = ctx;
    *(*at)++ = *k;
    return 0;
}

static void pg_lists_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_pg_key normal[] = {{1100611139453781, 3, 0}, {1101160895217665, 0, 0}};
    const obv_pg_key sys[] = {{1100611139403877, 0, 0}};
    obv_buf a = obv_buf_heap(1 << 20);
    obv_buf b = obv_buf_heap(1 << 20);
    check_file(&a, obv_put_pg_list(&a, normal, 2, &err), &err, "data/extern_normal_pg_list.bin");
    check_file(&b, obv_put_pg_list(&b, sys, 1, &err), &err, "data/extern_sys_pg_list.bin");
    assert_true(obv_pg_key_is_sys(&sys[0]) && !obv_pg_key_is_sys(&normal[0]) && !obv_pg_key_is_sys(&normal[1]));
    obv_pg_key got[2];
    obv_pg_key *at = got;
    assert_code(obv_pg_list_each(obv_buf_span(&a), keep_key, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 2);
    assert_memory_equal(got, normal, sizeof got);
    obv_buf empty = obv_buf_heap(1 << 20);
    assert_code(obv_put_pg_list(&empty, NULL, 0, &err), OBV_OK, &err);
    assert_code(obv_pg_list_each(obv_buf_span(&empty), keep_key, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 2);
    obv_buf_fini(&a);
    obv_buf_fini(&b);
    obv_buf_fini(&empty);
}

static int keep_tenant(void *ctx, const obv_tenant_info *e)
{
    obv_tenant_info **at = ctx;
    *(*at)++ = *e;
    return 0;
}

static void tenant_files_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_tenant_info e[] = {
        {.tenant_id = 1001, .create_ts = T0 - 1000000, .tenant_name = "tt1", .snapshot_version = T0 + 500},
        {.tenant_id = 1002,
         .create_ts = T0 - 1000000,
         .compat_mode = OBV_COMPAT_ORACLE,
         .tenant_name = "oracle_t",
         .snapshot_version = T0 + 500}};
    obv_buf a = obv_buf_heap(1 << 20);
    check_file(&a, obv_put_tenant_infos(&a, e, 2, &err), &err, "data/extern_tenant_info.bin");
    obv_tenant_info got[2];
    memset(got, 0, sizeof got);
    obv_tenant_info *at = got;
    assert_code(obv_tenant_infos_each(obv_buf_span(&a), keep_tenant, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 2);
    assert_string_equal(got[1].tenant_name, "oracle_t");

    static obv_tenant_locality l = {.tenant_id = 1001,
                                    .set_id = 1,
                                    .snapshot_version = T0 + 500,
                                    .tenant_name = "tt1",
                                    .locality = "FULL{1}@zone1, FULL{1}@zone2, FULL{1}@zone3",
                                    .primary_zone = "zone1;zone2,zone3"};
    static obv_tenant_locality l_got;
    obv_buf b = obv_buf_heap(1 << 20);
    check_file(&b, obv_put_tenant_locality(&b, &l, &err), &err, "data/extern_tenant_locality_info.bin");
    assert_code(obv_tenant_locality_parse(obv_buf_span(&b), &l_got, &err), OBV_OK, &err);
    assert_memory_equal(&l_got, &l, sizeof l);
    l.primary_zone[0] = 0;
    assert_int_equal(obv_put_tenant_locality(&b, &l, &err), OBV_E_INVAL);

    const obv_span diagnose = golden_vector("data/extern_tenant_backup_diagnose_info.bin");
    obv_span text;
    assert_code(obv_info_file_parse(diagnose, OBV_FILE_TENANT_DIAGNOSE, &text, &err), OBV_OK, &err);
    char *copy = strndup((const char *)text.p, text.len);
    obv_buf c = obv_buf_heap(1 << 20);
    assert_code(obv_put_tenant_diagnose(&c, copy, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&c), diagnose);
    free(copy);
    obv_buf_fini(&a);
    obv_buf_fini(&b);
    obv_buf_fini(&c);
}

static int keep_name(void *ctx, const obv_tenant_name *e)
{
    obv_tenant_name **at = ctx;
    *(*at)++ = *e;
    return 0;
}

static void tenant_names_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_tenant_name e[] = {{"tt1", 1001, T0 + 1},  {"oracle_t", 1002, T0 + 2}, {"tt1", 1010, T0 + 100},
                           {"sys", 1, T0},         {"tt1", 1001, T0 + 1},      {"tt1", 1001, T0 + 50},
                           {"sys", 1, T0 + 70000}, {"oracle_t", 1002, T0 + 2}};
    const size_t n = obv_tenant_names_normalise(e, sizeof e / sizeof *e);
    assert_int_equal(n, 4);
    obv_buf b = obv_buf_heap(1 << 20);
    check_file(&b, obv_put_tenant_names(&b, T0 + 400, e, n, &err), &err, "data/extern_tenant_name_info.bin");
    obv_tenant_name got[4];
    memset(got, 0, sizeof got);
    obv_tenant_name *at = got;
    int64_t version = 0;
    assert_code(obv_tenant_names_each(obv_buf_span(&b), &version, keep_name, &at, &err), OBV_OK, &err);
    assert_ptr_equal(at, got + 4);
    assert_int_equal(version, T0 + 400);
    assert_memory_equal(got, e, sizeof got);
    assert_int_equal(obv_tenant_names_find(got, n, "tt1", T0), 0);
    assert_int_equal(obv_tenant_names_find(got, n, "tt1", T0 + 99), 1001);
    assert_int_equal(obv_tenant_names_find(got, n, "tt1", T0 + 100), 1010);
    assert_int_equal(obv_put_tenant_names(&b, 0, e, n, &err), OBV_E_INVAL);
    obv_buf_fini(&b);
}

/* One reader per kind of file, so that every damage can be tried on each. */
static obv_code read_any(size_t which, obv_span f, obv_err *err)
{
    static char sink[4 * sizeof(obv_tenant_locality)];
    void *at = sink;
    int64_t version;
    obv_span payload;
    switch (which) {
    case 0:
        return obv_backup_infos_each(f, keep_backup, &at, err);
    case 1:
        return obv_set_file_infos_each(f, keep_set, &at, err);
    case 2:
        return obv_set_infos_each(f, keep_set_info, sink, err);
    case 3:
        return obv_pg_list_each(f, keep_key, &at, err);
    case 4:
        return obv_tenant_infos_each(f, keep_tenant, &at, err);
    case 5:
        return obv_tenant_locality_parse(f, (obv_tenant_locality *)(void *)sink, err);
    case 6:
        return obv_tenant_names_each(f, &version, keep_name, &at, err);
    default:
        return obv_info_file_parse(f, OBV_FILE_TENANT_DIAGNOSE, &payload, err);
    }
}

static void every_cut_and_every_flip_is_noticed(void **state)
{
    (void)state;
    static const char *const FILES[] = {
        "tenant_backup_info", "single_backup_set_info", "backup_set_info",  "normal_pg_list",
        "tenant_info",        "tenant_locality_info",   "tenant_name_info", "tenant_backup_diagnose_info"};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "data/extern_%s.bin", FILES[i]);
        const obv_span f = golden_vector(name);
        obv_err err = {0};
        assert_code(read_any(i, f, &err), OBV_OK, &err);
        assert_int_equal(read_any(i, (obv_span){f.p, 0}, &err), i == 5 ? OBV_E_CORRUPT : OBV_OK);
        for (size_t cut = 1; cut < f.len; cut++)
            assert_int_not_equal(read_any(i, (obv_span){f.p, cut}, &err), OBV_OK);
        uint8_t *copy = malloc(f.len);
        assert_non_null(copy);
        for (size_t at = 0; at < f.len; at++) {
            memcpy(copy, f.p, f.len);
            copy[at] ^= 1;
            const bool uncovered = at == 4 || at == 5 || (at >= 12 && at < 16); /* data_version, padding */
            const bool matters = i == 6 && (at == 4 || at == 5);
            const bool good = read_any(i, (obv_span){copy, f.len}, &err) == OBV_OK;
            if (good != (uncovered && !matters))
                fail_msg("%s, byte %zu flipped: %s", FILES[i], at, good ? "accepted" : err.msg);
        }
        free(copy);
    }
}

static void entries_that_oceanbase_refuses_are_not_written(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf b = obv_buf_heap(1 << 20);
    obv_backup_info twice[2] = {BACKUPS[0], BACKUPS[0]};
    assert_int_equal(obv_put_backup_infos(&b, twice, 2, &err), OBV_E_INVAL);
    twice[0].snapshot_version = 0;
    assert_int_equal(obv_put_backup_infos(&b, twice, 1, &err), OBV_E_INVAL);
    obv_set_file_info set = set_file();
    set.backup_dest[0] = 0;
    assert_int_equal(obv_put_set_file_infos(&b, &set, 1, &err), OBV_E_INVAL);
    set = set_file();
    set.encryption_mode = 5;
    assert_int_equal(obv_put_set_file_infos(&b, &set, 1, &err), OBV_E_INVAL);
    obv_backup_info info = BACKUPS[0];
    info.encryption_mode = 5;
    assert_int_equal(obv_put_backup_infos(&b, &info, 1, &err), OBV_E_INVAL);
    info = BACKUPS[0];
    info.status = 3;
    assert_int_equal(obv_put_backup_infos(&b, &info, 1, &err), OBV_E_INVAL);
    const obv_tenant_locality nowhere = {.tenant_id = 1001,
                                         .set_id = 1,
                                         .snapshot_version = T0,
                                         .compat_mode = -1,
                                         .tenant_name = "t",
                                         .locality = "FULL{1}@z1",
                                         .primary_zone = "z1"};
    assert_int_equal(obv_put_tenant_locality(&b, &nowhere, &err), OBV_E_INVAL);
    const obv_pg_key negative = {1100611139453781, -1, 0};
    assert_int_equal(obv_put_pg_list(&b, &negative, 1, &err), OBV_E_INVAL);
    assert_int_equal(b.len, 0);
    obv_buf_fini(&b);
}

/* ---- lists that promise more than they hold */

static int keep_none(void *ctx, const void *e)
{
    (void)e;
    ++*(int *)ctx;
    return 0;
}

static int count_backup(void *ctx, const obv_backup_info *e) { return keep_none(ctx, e); }
static int count_file(void *ctx, const obv_set_file_info *e) { return keep_none(ctx, e); }
static int count_set(void *ctx, const obv_set_info *e) { return keep_none(ctx, e); }
static int count_tenant(void *ctx, const obv_tenant_info *e) { return keep_none(ctx, e); }

/* A file of one entry, its checksums right, whose count says two. */
static obv_buf promising_two(const obv_buf *one, uint16_t type)
{
    enum { COUNT_AT = OBV_COMMON_HEADER_LEN + 6 };
    obv_buf b = obv_buf_heap(1 << 20);
    assert_int_equal(one->data[COUNT_AT], 1);
    one->data[COUNT_AT] = 2;
    obv_put_info_file(&b, type, 0, (obv_span){one->data + OBV_COMMON_HEADER_LEN, one->len - OBV_COMMON_HEADER_LEN});
    return b;
}

static void an_entry_that_is_not_there_is_damage(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_set_file_info file = set_file();
    const obv_set_info set = {.set_id = 1, .compress_type = 1};
    const obv_tenant_info tenant = {.tenant_id = 1001, .tenant_name = "a tenant with a long name"};
    static const uint16_t TYPES[] = {OBV_FILE_BACKUP_INFO, OBV_FILE_SET_FILE_INFO, OBV_FILE_BACKUP_SET_INFO,
                                     OBV_FILE_TENANT_INFO};
    for (size_t i = 0; i < 4; i++) {
        obv_buf one = obv_buf_heap(1 << 20);
        const obv_code made = i == 0   ? obv_put_backup_infos(&one, BACKUPS, 1, &err)
                              : i == 1 ? obv_put_set_file_infos(&one, &file, 1, &err)
                              : i == 2 ? obv_put_set_infos(&one, &set, 1, &err)
                                       : obv_put_tenant_infos(&one, &tenant, 1, &err);
        assert_code(made, OBV_OK, &err);
        obv_buf two = promising_two(&one, TYPES[i]);
        const obv_span s = obv_buf_span(&two);
        int seen = 0;
        const obv_code code = i == 0   ? obv_backup_infos_each(s, count_backup, &seen, &err)
                              : i == 1 ? obv_set_file_infos_each(s, count_file, &seen, &err)
                              : i == 2 ? obv_set_infos_each(s, count_set, &seen, &err)
                                       : obv_tenant_infos_each(s, count_tenant, &seen, &err);
        assert_code(code, OBV_E_CORRUPT, &err);
        assert_in_range(seen, 0, 1);
        obv_buf_fini(&one);
        obv_buf_fini(&two);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_that_is_not_there_is_damage),
        cmocka_unit_test(backup_infos_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(set_file_infos_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(set_info_is_oceanbases_bytes_both_ways),
        cmocka_unit_test(pg_lists_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(tenant_files_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(tenant_names_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(every_cut_and_every_flip_is_noticed),
        cmocka_unit_test(entries_that_oceanbase_refuses_are_not_written),
    };
    return cmocka_run_group_tests_name("format.info_files", tests, NULL, NULL);
}
