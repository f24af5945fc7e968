/* test_archive_infos.c - info files and names of the log archive */
#include "../../golden.h"
#include "format/media/archive_infos.h"
#include "format/media/archive_paths.h"
#include "test.h"

static const obv_archive_round ROUND = {
    .tenant_id = 1001,
    .start_ts = 1666990000000000,
    .checkpoint_ts = 1667000000000000,
    .incarnation = 1,
    .round = 3,
    .status = OBV_ARCHIVE_STATUS_DOING,
    .mount_file_created = true,
    .compatible = 1,
    .piece_id = 5,
    .start_piece_id = 4,
};
static const obv_archive_piece PIECE = {
    .incarnation = 1,
    .tenant_id = 1001,
    .round = 3,
    .piece_id = 5,
    .create_date = 20221029,
    .start_ts = 1666990000000000,
    .checkpoint_ts = 1667000000000000,
    .max_ts = INT64_MAX,
    .backup_dest = "file:///backup",
    .compatible = 1,
    .start_piece_id = 4,
};

static void known_files_are_exact(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(1 << 20);
    obv_archive_rounds_emit(&ROUND, 1, &b);
    assert_span_equal(
        obv_buf_span(&b),
        golden_hex("05000100010001003000425900000000270000000000000027000000000000007a680d31000000000000000000000000"
                   "01a18080800001019a80808000e9078098add6e583fb0280e0dcf68a84fb020103030001010504"));
    b.len = 0;
    obv_archive_single_piece_emit(&PIECE, &b);
    assert_span_equal(
        obv_buf_span(&b),
        golden_hex("10000100010001003000d70b0000000043000000000000004300000000000000ee3e1935000000000000000000000000"
                   "01bd8080800001e907030500e598d2098098add6e583fb0280e0dcf68a84fb02ffffffffffffffff7f000001908080800"
                   "00f66696c653a2f2f2f6261636b7570000104"));
    b.len = 0;
    obv_archive_pieces_emit(&PIECE, 1, &b);
    assert_span_equal(
        obv_buf_span(&b),
        golden_hex("0f00010001000100300016f2000000004a000000000000004a0000000000000084b2ad40000000000000000000000000"
                   "01c480808000010"
                   "1bd8080800001e907030500e598d2098098add6e583fb0280e0dcf68a84fb02ffffffffffffffff7f000001908080800"
                   "00f66696c653a2f2f2f6261636b7570000104"));
    b.len = 0;
    obv_archive_server_start_emit(3, 1666990000000000, &b);
    assert_span_equal(obv_buf_span(&b), golden_hex("0000000044c6101400000000000000030005ec1e5acb4c00"));
    b.len = 0;
    obv_archive_mount_file_emit(12, &b);
    assert_span_equal(obv_buf_span(&b), obv_span_of("12", 2));
    obv_buf_fini(&b);
}

static void files_of_oceanbase_read_and_rebuild(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf b = obv_buf_heap(1 << 20);
    size_t n = 0;
    const obv_span rounds_file = golden_vector("archive/extern_tenant_clog_backup_info.bin");
    obv_archive_round *rounds = NULL;
    assert_code(obv_archive_rounds_parse(rounds_file, &rounds, &n, &err), OBV_OK, &err);
    assert_int_equal(n, 2);
    assert_int_equal(rounds[1].checkpoint_ts, 1672531200030000);
    assert_int_equal(rounds[1].status, OBV_ARCHIVE_STATUS_DOING);
    obv_archive_rounds_emit(rounds, n, &b);
    assert_span_equal(obv_buf_span(&b), rounds_file);
    b.len = 0;
    free(rounds);

    const obv_span pieces_file = golden_vector("archive/extern_tenant_clog_backup_piece_info.bin");
    obv_archive_piece *pieces = NULL;
    assert_code(obv_archive_pieces_parse(pieces_file, &pieces, &n, &err), OBV_OK, &err);
    assert_int_equal(n, 2);
    assert_string_equal(pieces[0].backup_dest, "file:///data/nfs/backup");
    assert_int_equal(pieces[0].status, OBV_PIECE_FROZEN);
    obv_archive_pieces_emit(pieces, n, &b);
    assert_span_equal(obv_buf_span(&b), pieces_file);
    b.len = 0;
    free(pieces);

    const obv_span single = golden_vector("archive/extern_single_piece_info.bin");
    obv_archive_piece p;
    assert_code(obv_archive_single_piece_parse(single, &p, &err), OBV_OK, &err);
    assert_int_equal(p.max_ts, 1672531200025500);
    obv_archive_single_piece_emit(&p, &b);
    assert_span_equal(obv_buf_span(&b), single);
    b.len = 0;

    const obv_span start = golden_vector("archive/archive_server_start_ts.bin");
    int64_t round = 0, ts = 0;
    assert_code(obv_archive_server_start_parse(start, &round, &ts, &err), OBV_OK, &err);
    assert_int_equal(round, 1);
    assert_int_equal(ts, 1672531200000100);
    for (size_t at = 0; at < start.len; at++) {
        uint8_t copy[24];
        memcpy(copy, start.p, sizeof copy);
        copy[at] ^= 1;
        assert_int_equal(obv_archive_server_start_parse(obv_span_of(copy, sizeof copy), &round, &ts, NULL),
                         OBV_E_CORRUPT);
    }
    obv_buf_fini(&b);
}

static void damage_and_truncation_are_refused(void **state)
{
    (void)state;
    const obv_span file = golden_vector("archive/extern_tenant_clog_backup_piece_info.bin");
    const obv_span single = golden_vector("archive/extern_single_piece_info.bin");
    const obv_span rounds_file = golden_vector("archive/extern_tenant_clog_backup_info.bin");
    size_t n = 42;
    obv_archive_piece *pieces = NULL, one;
    obv_archive_round *rounds = NULL;
    for (size_t at = 1; at < file.len; at++)
        assert_int_not_equal(obv_archive_pieces_parse(obv_span_of(file.p, at), &pieces, &n, NULL), OBV_OK);
    for (size_t at = 1; at < rounds_file.len; at++)
        assert_int_not_equal(obv_archive_rounds_parse(obv_span_of(rounds_file.p, at), &rounds, &n, NULL), OBV_OK);
    for (size_t at = 0; at < single.len; at++)
        assert_int_not_equal(obv_archive_single_piece_parse(obv_span_of(single.p, at), &one, NULL), OBV_OK);
    for (size_t at = 0; at < file.len; at++) {
        uint8_t copy[256];
        assert_true(file.len <= sizeof copy);
        memcpy(copy, file.p, file.len);
        copy[at] ^= 2;
        const bool uncovered = at == 4 || at == 5 || (at >= 12 && at < 16); /* data version and C padding */
        if (uncovered)
            continue;
        assert_int_not_equal(obv_archive_pieces_parse(obv_span_of(copy, file.len), &pieces, &n, NULL), OBV_OK);
    }
    assert_int_equal(n, 42);
    assert_int_equal(obv_archive_rounds_parse((obv_span){0}, &rounds, &n, NULL), OBV_OK); /* empty file, empty list */
    assert_int_equal(n, 0);
    free(rounds);
}

static void names_are_those_of_oceanbase(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_archive_place a = {.round = 2, .piece = 4, .piece_date = 20230101};
    assert_code(obv_media_root_init(&a.root, "obcluster", 1, &err), OBV_OK, &err);
    const obv_pg_key pg = {1100611139453781, 3, 0};
    const obv_pg_key two_level = {1100611139453781, 0x10000001, 0x10000007};
    obv_path p;
    obv_archive_path_rounds(&a.root, 1001, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/tenant_clog_backup_info");
    obv_archive_path_pieces(&a.root, 1001, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/backup_piece_info");
    obv_archive_path_cluster_rounds(&a.root, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/cluster_clog_backup_info");
    obv_archive_path_cluster_pieces(&a.root, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/cluster_backup_piece_info");
    obv_archive_path_dir(&a, 1001, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/2_4_20230101");
    obv_archive_path_single_piece(&a, 1001, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/2_4_20230101/single_piece_info");
    obv_archive_path_key(&a, &pg, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/2_4_20230101/archive_key/1100611139453781_3");
    obv_archive_path_data(&a, &pg, 7, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/2_4_20230101/data/1100611139453781/3/7");
    obv_archive_path_server_start(&a.root, 2, "10.0.0.1", 2882, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/clog_info/2_10.0.0.1_2882");
    a.piece = 0;
    obv_archive_path_mount_file(&a, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1/clog/2/mount_file");
    obv_archive_path_index(&a, &two_level, 1, &p);
    assert_string_equal(p.s, "obcluster/1/incarnation_1/1001/clog/2/index/1100611139453781/1152921509170249735/1");

    obv_path dir;
    obv_archive_path_data_dir(&a, &pg, &dir);
    static const struct {
        const char *name;
        bool ok;
        uint64_t id;
    } NAMES[] = {{"1", true, 1},
                 {"18446744073709551615", true, UINT64_MAX},
                 {"", false, 0},
                 {"0", false, 0},
                 {"01", false, 0},
                 {"1.tmp.5", false, 0},
                 {"1/2", false, 0},
                 {"18446744073709551616", false, 0},
                 {"99999999999999999999999", false, 0}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char key[OBV_PATH_MAX + 64];
        (void)snprintf(key, sizeof key, "%s%s", dir.s, NAMES[i].name);
        uint64_t id = 0;
        print_message("case: '%s'\n", NAMES[i].name);
        assert_int_equal(obv_archive_path_file_id(key, &dir, &id), NAMES[i].ok);
        assert_int_equal(id, NAMES[i].id);
    }
    uint64_t id;
    assert_false(obv_archive_path_file_id("elsewhere/1", &dir, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_files_are_exact),
        cmocka_unit_test(files_of_oceanbase_read_and_rebuild),
        cmocka_unit_test(damage_and_truncation_are_refused),
        cmocka_unit_test(names_are_those_of_oceanbase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
