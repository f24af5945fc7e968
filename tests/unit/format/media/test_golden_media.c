/* sweep over all golden media files of a data backup, their paths and every damage that OceanBase judged */
#include "format/media/archive_infos.h"
#include "format/media/info_files.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/tenant_names.h"
#include "golden.h"

static int any_backup(void *ctx, const obv_backup_info *e) { return (void)ctx, (void)e, 0; }
static int any_set_file(void *ctx, const obv_set_file_info *e) { return (void)ctx, (void)e, 0; }
static int any_set(void *ctx, const obv_set_info *e) { return (void)ctx, (void)e, 0; }
static int any_key(void *ctx, const obv_pg_key *k) { return (void)ctx, (void)k, 0; }
static int any_tenant(void *ctx, const obv_tenant_info *e) { return (void)ctx, (void)e, 0; }
static int any_name(void *ctx, const obv_tenant_name *e) { return (void)ctx, (void)e, 0; }
static int any_index(void *ctx, const obv_meta_index *e) { return (void)ctx, (void)e, 0; }

/* ---- info files */

static void read_info(const char *file, obv_span f, obv_code *code)
{
    static obv_tenant_locality locality;
    int64_t version;
    obv_span payload;
    if (strstr(file, "single_piece")) {
        obv_archive_piece piece;
        *code = obv_archive_single_piece_parse(f, &piece, NULL);
    } else if (strstr(file, "piece")) {
        obv_archive_piece *pieces = NULL;
        size_t n;
        *code = obv_archive_pieces_parse(f, &pieces, &n, NULL);
        free(pieces);
    } else if (strstr(file, "clog")) {
        obv_archive_round *rounds = NULL;
        size_t n;
        *code = obv_archive_rounds_parse(f, &rounds, &n, NULL);
        free(rounds);
    } else if (strstr(file, "tenant_backup_info"))
        *code = obv_backup_infos_each(f, any_backup, NULL, NULL);
    else if (strstr(file, "set_file_info") || strstr(file, "single_backup_set_info"))
        *code = obv_set_file_infos_each(f, any_set_file, NULL, NULL);
    else if (strstr(file, "backup_set_info"))
        *code = obv_set_infos_each(f, any_set, NULL, NULL);
    else if (strstr(file, "pg_list"))
        *code = obv_pg_list_each(f, any_key, NULL, NULL);
    else if (strstr(file, "tenant_info"))
        *code = obv_tenant_infos_each(f, any_tenant, NULL, NULL);
    else if (strstr(file, "locality"))
        *code = obv_tenant_locality_parse(f, &locality, NULL);
    else if (strstr(file, "tenant_name"))
        *code = obv_tenant_names_each(f, &version, any_name, NULL, NULL);
    else
        *code = obv_info_file_parse(f, OBV_FILE_TENANT_DIAGNOSE, &payload, NULL);
}

static void every_damaged_info_file_is_judged_as_by_oceanbase(void **state)
{
    (void)state;
    json_t *m = golden_json("extern_info_manifest.json");
    size_t i;
    json_t *f;
    size_t judged = 0;
    json_array_foreach(json_object_get(m, "files"), i, f)
    {
        const char *name = golden_str(f, "file");
        const obv_span good = golden_file(name);
        obv_code code = OBV_OK;
        read_info(name, good, &code);
        assert_int_equal(code, OBV_OK);
        uint8_t *copy = malloc(good.len);
        assert_non_null(copy);
        size_t k;
        json_t *bad;
        json_array_foreach(json_object_get(f, "bad"), k, bad)
        {
            json_t *rc = json_object_get(bad, "read_rc");
            const bool refused = json_is_integer(rc) && json_integer_value(rc) != 0;
            obv_span s = {copy, good.len};
            memcpy(copy, good.p, good.len);
            if (json_object_get(bad, "truncated_to"))
                s.len = (size_t)golden_int(bad, "truncated_to");
            else
                copy[golden_int(bad, "byte")] ^= json_object_get(bad, "xor") ? (uint8_t)golden_int(bad, "xor") : 1;
            read_info(name, s, &code);
            golden_judged("extern_info_manifest.json files[].bad", refused, code != OBV_OK);
            if (refused && code == OBV_OK && s.len > 0) /* an empty file is an empty list */
                fail_msg("%s: damage %zu is refused by OceanBase but not by us", name, k);
            judged++;
        }
        free(copy);
    }
    assert_true(judged > 1000);
    json_decref(m);
}

/* ---- block files */

static obv_code read_file(const char *name, obv_span f)
{
    if (strstr(name, "macro_block_index"))
        return obv_macro_index_each(f, &(obv_macro_index_visitor){0}, NULL);
    if (strstr(name, "meta_index"))
        return obv_meta_index_file_each(f, any_index, NULL, NULL);
    obv_block_reader r = obv_block_reader_of(f);
    const uint16_t type = strstr(name, "meta_file") ? OBV_FILE_META : OBV_FILE_MACRO_DATA;
    obv_span payload;
    uint64_t at;
    obv_code code;
    while ((code = obv_block_next(&r, type, &payload, &at, NULL)) == OBV_OK) {
        obv_rd rd = obv_rd_of(payload);
        while (type == OBV_FILE_META && obv_rd_left(&rd) > 0) {
            obv_meta_object o;
            OBV_TRY(obv_meta_object_parse((obv_span){rd.p, obv_rd_left(&rd)}, &o, NULL));
            (void)obv_rd_bytes(&rd, o.total);
        }
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

static void every_damaged_block_file_is_judged_as_by_oceanbase(void **state)
{
    (void)state;
    json_t *m = golden_json("storage_manifest.json");
    size_t i;
    json_t *d;
    size_t judged = 0;
    json_array_foreach(json_object_get(json_object_get(m, "backup_media_read_back"), "damaged"), i, d)
    {
        char name[96];
        (void)snprintf(name, sizeof name, "backup_%s.bin", golden_str(d, "file"));
        const obv_span good = golden_file(name);
        assert_int_equal(read_file(name, good), OBV_OK);
        uint8_t *copy = malloc(good.len);
        assert_non_null(copy);
        memcpy(copy, good.p, good.len);
        copy[golden_int(d, "offset")] ^= 1;
        const bool taken = read_file(name, (obv_span){copy, good.len}) == OBV_OK;
        golden_judged("storage_manifest.json backup_media_read_back.damaged", golden_int(d, "rc") != 0, !taken);
        if (golden_int(d, "rc") != 0 && taken)
            fail_msg("%s: %s is refused by OceanBase but not by us", name, golden_str(d, "flip"));
        judged++;
        free(copy);
    }
    json_t *meta = json_object_get(json_object_get(m, "backup_media"), "meta_file");
    const obv_span good = golden_file("backup_meta_file_1.bin");
    uint8_t *copy = malloc(good.len);
    assert_non_null(copy);
    json_array_foreach(json_object_get(meta, "bad"), i, d)
    {
        json_t *sum = json_object_get(d, "common_check_data_checksum_rc");
        const bool refused =
            golden_int(d, "common_check_valid_rc") != 0 || !json_is_integer(sum) || json_integer_value(sum);
        memcpy(copy, good.p, good.len);
        copy[golden_int(d, "byte")] ^= (uint8_t)golden_int(d, "xor");
        const bool taken = read_file("meta_file", (obv_span){copy, good.len}) == OBV_OK;
        golden_judged("storage_manifest.json backup_media.meta_file.bad", refused, !taken);
        if (refused && taken)
            fail_msg("meta file: byte %lld is refused by OceanBase but not by us", (long long)golden_int(d, "byte"));
        judged++;
    }
    free(copy);
    assert_true(judged > 100);
    json_decref(m);
}

/* ---- checksums */

static void every_data_checksum_of_the_manifests_is_ours(void **state)
{
    (void)state;
    json_t *m = golden_json("extern_info_manifest.json");
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(m, "files"), i, f)
    {
        obv_common_header h;
        obv_err err = {0};
        json_t *want = json_object_get(f, "common_header");
        const obv_span bytes = golden_file(golden_str(f, "file"));
        assert_code(obv_common_header_parse(bytes, &h, &err), OBV_OK, &err);
        assert_int_equal(h.data_type, golden_int(want, "data_type"));
        assert_int_equal(h.data_version, golden_int(want, "data_version"));
        assert_int_equal(h.data_len, golden_int(want, "data_length"));
        assert_int_equal(h.data_checksum, strtoull(golden_str(want, "data_checksum"), NULL, 16));
        uint8_t room[OBV_COMMON_HEADER_LEN];
        obv_buf b = obv_buf_fixed(room, sizeof room);
        obv_put_common_header(&b, &h);
        assert_span_equal(obv_buf_span(&b), (obv_span){bytes.p, OBV_COMMON_HEADER_LEN});
        golden_vector_used("extern_info_manifest.json files");
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
        cmocka_unit_test(every_damaged_info_file_is_judged_as_by_oceanbase),
        cmocka_unit_test(every_damaged_block_file_is_judged_as_by_oceanbase),
        cmocka_unit_test(every_data_checksum_of_the_manifests_is_ours),
    };
    return cmocka_run_group_tests_name("format.golden_media", tests, NULL, NULL);
}
