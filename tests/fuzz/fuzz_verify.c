/* A whole tree of damaged files. Input: records {u8 which name, u8 flags, u16 BE length, bytes}. Flag 1: the bytes are
 * a payload that is put behind a right header of the name's type; without it they are the file. */
#include "format/media/block_stream.h"
#include "job/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CP "obshop/7/incarnation_1/"
#define SET CP "1001/data/backup_set_1_full_20261125/"
#define PG "1100611139453781/3/"

static const struct {
    const char *key;
    uint16_t type, data_version;
    bool blocks; /* a block stream: aligned, with an end mark */
} NAMES[] = {
    {CP "tenant_name_info", OBV_FILE_TENANT_NAME, 1, false},
    {CP "tenant_info", OBV_FILE_TENANT_INFO, 0, false},
    {CP "cluster_backup_set_file_info", OBV_FILE_SET_FILE_INFO, 0, false},
    {CP "cluster_clog_backup_info", OBV_FILE_LOG_ARCHIVE_INFO, 1, false},
    {CP "1001/data/tenant_data_backup_info", OBV_FILE_BACKUP_INFO, 0, false},
    {CP "1001/data/tenant_backup_set_file_info", OBV_FILE_SET_FILE_INFO, 0, false},
    {CP "1001/clog/tenant_clog_backup_info", OBV_FILE_LOG_ARCHIVE_INFO, 1, false},
    {CP "1001/clog/backup_piece_info", OBV_FILE_PIECE_INFO, 1, false},
    {CP "1001/clog/1/single_piece_info", OBV_FILE_SINGLE_PIECE_INFO, 1, false},
    {SET "single_backup_set_info", OBV_FILE_SET_FILE_INFO, 0, false},
    {SET "backup_set_info", OBV_FILE_BACKUP_SET_INFO, 0, false},
    {SET "backup_1/sys_pg_list", OBV_FILE_PG_LIST, 0, false},
    {SET "backup_1/normal_pg_list", OBV_FILE_PG_LIST, 0, false},
    {SET "backup_1/tenant_locality_info", OBV_FILE_TENANT_LOCALITY, 0, false},
    {SET "backup_1/meta_file_0", OBV_FILE_META, 1, true},
    {SET "backup_1/meta_index_file_0", OBV_FILE_META_INDEX, 1, true},
    {SET "backup_1/meta_index_file", OBV_FILE_META_INDEX, 0, false},
    {SET "data/" PG "major_data/macro_block_1.0", OBV_FILE_MACRO_DATA, 1, true},
    {SET "data/" PG "major_data/macro_block_index_1", OBV_FILE_MACRO_INDEX, 1, true},
    {SET "data/" PG "minor_data/0/macro_block_1.0", OBV_FILE_MACRO_DATA, 1, true},
    {SET "data/" PG "minor_data/0/macro_block_index_1", OBV_FILE_MACRO_INDEX, 1, true},
    {CP "1001/clog/1/archive_key/1100611139453781_3", 0, 0, false},
    {CP "1001/clog/1/index/" PG "1", 0, 0, false},
    {CP "1001/clog/1/data/" PG "1", 0, 0, false},
    {CP "1001/clog/1/data/" PG "2", 0, 0, false},
    {CP "clog_info/1_127.0.0.1_2882", 0, 0, false},
    {CP "1/clog/1/mount_file", 0, 0, false},
    {CP "obvault/repository.json", 0, 0, false},
};
enum { NAME_COUNT = sizeof NAMES / sizeof *NAMES };

typedef struct tree {
    obv_buf file[NAME_COUNT];
    bool there[NAME_COUNT];
} tree;

static obv_code get(void *ctx, const char *key, uint64_t at, void *buf, size_t len, size_t *got, obv_err *err)
{
    const tree *t = ctx;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (!t->there[i] || strcmp(NAMES[i].key, key) != 0)
            continue;
        const size_t left = at < t->file[i].len ? t->file[i].len - (size_t)at : 0;
        *got = len < left ? len : left;
        if (*got > 0)
            memcpy(buf, t->file[i].data + at, *got);
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "no %s", key);
}

static obv_code list(void *ctx, const char *prefix, obv_native_list_fn *fn, void *fn_ctx, obv_err *err)
{
    const tree *t = ctx;
    (void)err;
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (t->there[i] && strncmp(NAMES[i].key, prefix, strlen(prefix)) == 0 &&
            fn(fn_ctx, NAMES[i].key, t->file[i].len) != 0)
            break;
    return OBV_OK;
}

static void put(tree *t, size_t i, bool wrap, obv_span bytes)
{
    obv_buf *b = &t->file[i];
    if (t->there[i])
        return;
    t->there[i] = true;
    *b = obv_buf_heap(1 << 20);
    if (!wrap || (NAMES[i].type == 0 && NAMES[i].data_version == 0 && !NAMES[i].blocks)) {
        obv_buf_append(b, bytes.p, bytes.len);
    } else if (!NAMES[i].blocks) {
        obv_put_info_file(b, NAMES[i].type, NAMES[i].data_version, bytes);
        if (NAMES[i].type == OBV_FILE_META_INDEX)
            obv_put_common_header(b, &(obv_common_header){.data_type = OBV_FILE_END_MARK});
    } else {
        obv_block_writer w = obv_block_writer_of(NAMES[i].type);
        (void)!obv_block_writer_add(&w, bytes, b, NULL, NULL);
        (void)!obv_block_writer_end(&w, b, NULL);
        obv_block_writer_fini(&w);
    }
}

static void count(void *ctx, const obv_verify_finding *f)
{
    *(size_t *)ctx += strlen(f->text) + strlen(f->meaning) + strlen(f->object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tree t = {0};
    while (size >= 4) {
        const size_t len = (size_t)data[2] << 8 | data[3];
        const size_t have = len < size - 4 ? len : size - 4;
        put(&t, data[0] % NAME_COUNT, data[1] & 1, (obv_span){data + 4, have});
        data += 4 + have;
        size -= 4 + have;
    }
    const obv_native_io io = {.ctx = &t, .get = get, .list = list};
    size_t seen = 0;
    obv_verify_stats stats;
    obv_verify_config cfg = {.io = &io, .depth = OBV_VERIFY_DEEP, .fn = count, .ctx = &seen};
    if (obv_media_root_init(&cfg.root, "obshop", 7, NULL) == OBV_OK)
        (void)!obv_verify_run(&cfg, &stats, NULL);
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (t.there[i])
            obv_buf_fini(&t.file[i]);
    return 0;
}
