/* Files that OceanBase's own code wrote: every changed byte is found but those that OceanBase itself never looks at. */
#include "verify_tree.h"

#define ROUND VT_CP "/1001/clog/3_5_20221029"

struct placed {
    const char *vector, *key;
};

/* Each group is verified by itself: no other file of it is needed to judge one. */
static const struct placed INFOS[] = {
    {"data/extern_tenant_backup_info.bin", VT_CP "/1001/data/tenant_data_backup_info"},
    {"data/extern_backup_set_file_info.bin", VT_CP "/1001/data/tenant_backup_set_file_info"},
    {"data/extern_single_backup_set_info.bin", VT_SET "/single_backup_set_info"},
    {"data/extern_backup_set_info.bin", VT_SET "/backup_set_info"},
    {"data/extern_sys_pg_list.bin", VT_SET "/backup_1/sys_pg_list"},
    {"data/extern_normal_pg_list.bin", VT_SET "/backup_1/normal_pg_list"},
    {"data/extern_tenant_locality_info.bin", VT_SET "/backup_1/tenant_locality_info"},
    {"data/extern_tenant_backup_diagnose_info.bin", VT_SET "/backup_1/tenant_diagnose_info"},
    {"data/extern_tenant_info.bin", VT_CP "/tenant_info"},
    {"data/extern_tenant_name_info.bin", VT_CP "/tenant_name_info"},
    {"archive/extern_tenant_clog_backup_info.bin", VT_CP "/1001/clog/tenant_clog_backup_info"},
    {"archive/extern_tenant_clog_backup_piece_info.bin", VT_CP "/1001/clog/backup_piece_info"},
    {"archive/extern_single_piece_info.bin", ROUND "/single_piece_info"},
    {"archive/archive_server_start_ts.bin", VT_CP "/clog_info/1_127.0.0.1_2882"},
};
static const struct placed METAS[] = {
    {"data/backup_meta_file_1.bin", VT_SET "/backup_1/meta_file_1"},
    {"data/backup_meta_index_file_1.bin", VT_SET "/backup_1/meta_index_file_1"},
    {"data/backup_meta_index_file.bin", VT_SET "/backup_1/meta_index_file"},
};
static const struct placed PG_METAS[] = {
    {"data/backup_pg_meta_file_1.bin", VT_SET "/backup_1/meta_file_1"},
    {"data/backup_pg_meta_index_file_1.bin", VT_SET "/backup_1/meta_index_file_1"},
};
static const struct placed BLOCKS[] = {
    {"data/backup_macro_block_1.0.bin", VT_SET "/data/1100611139453781/3/major_data/macro_block_1.0"},
    {"data/backup_macro_block_index_1.bin", VT_SET "/data/1100611139453781/3/major_data/macro_block_index_1"},
    {"data/backup_pg_macro_block_1.0.bin.zst", VT_SET "/data/1100611139453781/3/minor_data/1/macro_block_1.0"},
    {"data/backup_pg_macro_block_index_1.bin", VT_SET "/data/1100611139453781/3/minor_data/1/macro_block_index_1"},
};

enum { HEADER = 48 };

/*
 * Marks the bytes that OceanBase never looks at and no checksum covers; own arithmetic on purpose. The reserved bytes
 * of a meta header are not looked at either, but lie below the checksum of their block.
 */
static void mark_exempt(const struct vt_file *f, uint8_t *exempt)
{
    const uint8_t *b = f->bytes.data;
    if (strstr(f->key, "archive_key/")) {
        exempt[6] = exempt[7] = 1;
        return;
    }
    if (strstr(f->key, "clog_info/") || strstr(f->key, "/clog/3_5_20221029/data/") || strstr(f->key, "/index/"))
        return;
    for (size_t at = 0; at + HEADER <= f->bytes.len;) {
        uint64_t len;
        uint64_t align;
        memcpy(&len, b + at + 16, 8);
        memcpy(&align, b + at + 40, 8);
        if (!strstr(f->key, "tenant_name_info")) /* of this one its reader demands the version */
            exempt[at + 4] = exempt[at + 5] = 1;
        memset(exempt + at + 12, 1, 4);
        at += HEADER + len + align;
    }
}

static struct vt *place(const struct placed *files, size_t n)
{
    struct vt *t = vt_empty();
    for (size_t i = 0; i < n; i++)
        obv_put_span(vt_new(t, files[i].key), golden_vector(files[i].vector));
    return t;
}

/* Flips every byte, or every step-th behind the first blocks. */
static void flip_all(struct vt *t, size_t step)
{
    size_t found = 0;
    size_t exempt_bytes = 0;
    (void)vt_verify(t);
    assert_false(t->stats.ours);
    if (t->stats.found[OBV_VERIFY_DAMAGED] > 0) {
        t->print = true;
        (void)vt_verify(t);
        fail_msg("a good file of OceanBase's is called damaged");
    }
    for (size_t i = 0; i < t->count; i++) {
        struct vt_file *f = &t->files[i];
        uint8_t *exempt = calloc(f->bytes.len, 1);
        assert_non_null(exempt);
        mark_exempt(f, exempt);
        (void)strcpy(t->wanted, f->key);
        for (size_t at = 0; at < f->bytes.len; at++) {
            if (!exempt[at] && at % 4096 > HEADER && at % step != 0)
                continue;
            const uint8_t mask = (uint8_t)(1u << (at % 8));
            f->bytes.data[at] ^= mask;
            (void)vt_verify(t);
            f->bytes.data[at] ^= mask;
            if (exempt[at] ? t->stats.found[OBV_VERIFY_DAMAGED] > 0 : !t->met)
                fail_msg("%s: byte %zu ^ %02x: %s", f->key, at, mask,
                         exempt[at] ? "OceanBase never looks at it, yet it is called damage" : "not found");
            exempt_bytes += exempt[at];
            found += !exempt[at];
        }
        free(exempt);
    }
    print_message("%zu files: %zu changed bytes found, %zu exempt\n", t->count, found, exempt_bytes);
    assert_true(found > 0 && exempt_bytes > 0);
    vt_free(t);
}

#define PLACE(list) place(list, sizeof(list) / sizeof *(list))

static void info_files(void **state)
{
    (void)state;
    flip_all(PLACE(INFOS), 1);
}

static void metas(void **state)
{
    (void)state;
    flip_all(PLACE(METAS), 5);
    flip_all(PLACE(PG_METAS), 5);
}

static void macroblocks(void **state)
{
    (void)state;
    flip_all(PLACE(BLOCKS), 499);
}

/* The PG of the golden log is in its first entry. */
static void log_archive(void **state)
{
    (void)state;
    struct vt *t = vt_empty();
    const obv_span first = golden_vector("archive/archive_data_1.bin");
    obv_clog_entry e;
    obv_err err = {0};
    char key[200];
    assert_code(obv_clog_entry_parse(
                    obv_span_of(first.p + OBV_ARCHIVE_BLOCK_HEADER, first.len - OBV_ARCHIVE_BLOCK_HEADER), &e, &err),
                OBV_OK, &err);
    static const char *const VECTORS[] = {"archive/archive_data_1.bin", "archive/archive_data_2.bin",
                                          "archive/archive_index_1.bin", "archive/archive_key_first_piece.bin"};
    static const char *const TAILS[] = {"/1", "/2", "/1", ""};
    static const char *const DIRS[] = {"data/", "data/", "index/", "archive_key/"};
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof key, ROUND "/%s%" PRIu64 "%s%" PRId64 "%s", DIRS[i], e.pg.table_id,
                       i == 3 ? "_" : "/", obv_pg_key_partition_id(&e.pg), TAILS[i]);
        obv_put_span(vt_new(t, key), golden_vector(VECTORS[i]));
    }
    flip_all(t, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_files),
        cmocka_unit_test(metas),
        cmocka_unit_test(macroblocks),
        cmocka_unit_test(log_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
