/* info files, indexes and block streams. Input: one byte (kind of file), then a payload that is put behind a right
 * header, or, with bit 7, a whole file as it is. */
#include "format/media/info_files.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/old_layouts.h"
#include "format/media/tenant_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int any_backup(void *ctx, const obv_backup_info *e) { return (void)ctx, (void)e, 0; }
static int any_set_file(void *ctx, const obv_set_file_info *e) { return (void)ctx, (void)e, 0; }
static int any_set(void *ctx, const obv_set_info *e) { return (void)ctx, (void)e, 0; }
static int any_key(void *ctx, const obv_pg_key *k) { return (void)ctx, (void)k, 0; }
static int any_tenant(void *ctx, const obv_tenant_info *e) { return (void)ctx, (void)e, 0; }
static int any_name(void *ctx, const obv_tenant_name *e) { return (void)ctx, (void)e, 0; }
static int any_index(void *ctx, const obv_meta_index *e) { return (void)ctx, (void)e, 0; }

static int any_old(void *ctx, const obv_old_macro_entry *e) { return (void)ctx, (void)e, 0; }

static void read_old_metas(obv_span body)
{
    obv_partition_store_meta store;
    obv_sstable_meta meta;
    obv_table_key key;
    obv_old_list l;
    (void)!obv_old_store_meta_parse(body, &store, NULL);
    if (obv_old_list_parse(body, &l, NULL) == OBV_OK)
        while (obv_old_list_sstable(&l, &meta, NULL) == OBV_OK)
            ;
    if (obv_old_list_parse(body, &l, NULL) == OBV_OK)
        while (obv_old_list_table_key(&l, &key, NULL) == OBV_OK)
            ;
}

static const struct {
    uint16_t type, data_version;
} KINDS[] = {{OBV_FILE_BACKUP_INFO, 0}, {OBV_FILE_SET_FILE_INFO, 0},   {OBV_FILE_BACKUP_SET_INFO, 0},
             {OBV_FILE_PG_LIST, 0},     {OBV_FILE_TENANT_INFO, 0},     {OBV_FILE_TENANT_LOCALITY, 0},
             {OBV_FILE_TENANT_NAME, 1}, {OBV_FILE_META_INDEX, 1},      {OBV_FILE_MACRO_INDEX, 1},
             {OBV_FILE_MACRO_DATA, 1},  {OBV_FILE_TENANT_DIAGNOSE, 0}, {OBV_FILE_META, 1}};

static void read_kind(size_t kind, obv_span file)
{
    static obv_tenant_locality locality;
    int64_t version;
    obv_span a;
    obv_span b;
    obv_block_reader r = obv_block_reader_of(file);
    uint64_t at;
    switch (KINDS[kind].type) {
    case OBV_FILE_BACKUP_INFO:
        (void)!obv_backup_infos_each(file, any_backup, NULL, NULL);
        break;
    case OBV_FILE_SET_FILE_INFO:
        (void)!obv_set_file_infos_each(file, any_set_file, NULL, NULL);
        break;
    case OBV_FILE_BACKUP_SET_INFO:
        (void)!obv_set_infos_each(file, any_set, NULL, NULL);
        break;
    case OBV_FILE_PG_LIST:
        (void)!obv_pg_list_each(file, any_key, NULL, NULL);
        break;
    case OBV_FILE_TENANT_INFO:
        (void)!obv_tenant_infos_each(file, any_tenant, NULL, NULL);
        break;
    case OBV_FILE_TENANT_LOCALITY:
        (void)!obv_tenant_locality_parse(file, &locality, NULL);
        break;
    case OBV_FILE_TENANT_NAME:
        (void)!obv_tenant_names_each(file, &version, any_name, NULL, NULL);
        break;
    case OBV_FILE_META_INDEX:
        (void)!obv_meta_index_file_each(file, any_index, NULL, NULL);
        break;
    case OBV_FILE_MACRO_INDEX:
        (void)!obv_macro_index_each(file, &(obv_macro_index_visitor){0}, NULL);
        (void)!obv_old_macro_index_each(file, any_old, NULL, NULL);
        break;
    case OBV_FILE_MACRO_DATA:
        (void)!obv_macro_frame_parse(file, &a, &b, NULL);
        break;
    default:
        while (obv_block_next(&r, KINDS[kind].type, &a, &at, NULL) == OBV_OK)
            read_old_metas(a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const size_t kind = (data[0] & 0x7fu) % (sizeof KINDS / sizeof *KINDS);
    const obv_span in = {data + 1, size - 1};
    if (data[0] & 0x80) {
        read_kind(kind, in);
        return 0;
    }
    obv_buf file = obv_buf_heap(in.len + OBV_COMMON_HEADER_LEN);
    obv_put_info_file(&file, KINDS[kind].type, KINDS[kind].data_version, in);
    if (!file.failed)
        read_kind(kind, obv_buf_span(&file));
    obv_buf_fini(&file);
    return 0;
}
