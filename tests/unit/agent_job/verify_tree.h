/* verify_tree.h - a native tree in memory, made by hand with the emitters: one set of two PGs, two data files of log
 * each
 *
 * Names are below "obshop/7/incarnation_1/". Blocks are golden ones of OceanBase's own writer; everything else is ours.
 */
#ifndef OBV_TEST_VERIFY_TREE_H
#define OBV_TEST_VERIFY_TREE_H

#include "../golden.h"
#include "base/crc32c.h"
#include "base/sha256.h"
#include "format/media/archive_infos.h"
#include "format/media/archive_key.h"
#include "format/media/archive_paths.h"
#include "format/media/info_files.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/tenant_names.h"
#include "job/verify.h"
#include "pg_maker.h"

#include <inttypes.h>

#define VT_CP "obshop/7/incarnation_1"
#define VT_SET VT_CP "/1001/data/backup_set_1_full_20261125"
enum { VT_FILES_MAX = 128, VT_TENANT = 1001, VT_S = 1000000, VT_SCHEMA = 500, VT_LAST_LOG = 10, VT_SUBMIT = 5000 };
enum { VT_ROUND_START = 4000, VT_CHECKPOINT = 2000000 };

struct vt_file {
    char key[256];
    obv_buf bytes;
    obv_code fails; /* what a get of it gives */
};

struct vt {
    struct vt_file files[VT_FILES_MAX];
    size_t count;
    obv_media_root root;
    obv_set_id set;
    int64_t compatible; /* 1, 2: see verify_old_tree.h */
    obv_native_io io;
    obv_set_file_info sets[2]; /* as listed */
    obv_backup_info infos[2];
    size_t listed;
    /* what the last run found */
    obv_verify_stats stats;
    obv_verify_finding first; /* the first that is no leftover */
    char first_object[256], first_text[480];
    char wanted[256]; /* look out for a damaged finding of this object */
    bool met;
    int64_t met_at;
    bool print;
};

static inline struct vt_file *vt_find(struct vt *t, const char *key)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->files[i].key, key) == 0)
            return &t->files[i];
    return NULL;
}

static inline obv_buf *vt_new(struct vt *t, const char *key)
{
    assert_true(t->count < VT_FILES_MAX && strlen(key) < sizeof t->files[0].key);
    assert_null(vt_find(t, key));
    struct vt_file *f = &t->files[t->count++];
    *f = (struct vt_file){.bytes = obv_buf_heap(16 << 20)};
    (void)strcpy(f->key, key);
    return &f->bytes;
}

static inline void vt_remove(struct vt *t, const char *key)
{
    struct vt_file *f = vt_find(t, key);
    assert_non_null(f);
    obv_buf_fini(&f->bytes);
    *f = t->files[--t->count];
}

static inline obv_code vt_get(void *ctx, const char *key, uint64_t at, void *buf, size_t len, size_t *got, obv_err *err)
{
    const struct vt_file *f = vt_find(ctx, key);
    if (!f)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no %s", key);
    if (f->fails != OBV_OK)
        return obv_fail(err, f->fails, 5, "%s: cannot be read", key);
    const size_t left = at < f->bytes.len ? f->bytes.len - (size_t)at : 0;
    *got = len < left ? len : left;
    if (*got > 0)
        memcpy(buf, f->bytes.data + at, *got);
    return OBV_OK;
}

static inline obv_code vt_list(void *ctx, const char *prefix, obv_native_list_fn *fn, void *fn_ctx, obv_err *err)
{
    struct vt *t = ctx;
    (void)err;
    for (size_t i = 0; i < t->count; i++)
        if (strncmp(t->files[i].key, prefix, strlen(prefix)) == 0 &&
            fn(fn_ctx, t->files[i].key, t->files[i].bytes.len) != 0)
            return OBV_OK;
    return OBV_OK;
}

/* ---- a set */

/* A file of the set at hand. */
static inline obv_buf *vt_of_set(struct vt *t, bool inc, const char *name)
{
    obv_path path;
    if (inc)
        obv_path_inc_file(&t->root, &t->set, name, &path);
    else
        obv_path_set_file(&t->root, &t->set, name, &path);
    return vt_new(t, path.s);
}

struct vt_block {
    const char *name;
    obv_span meta, data;
    obv_macro_meta parsed;
};

static inline struct vt_block vt_golden(const char *name)
{
    char path[96];
    struct vt_block b = {.name = name};
    obv_macro_schema schema;
    obv_err err = {0};
    (void)snprintf(path, sizeof path, "data/macro_block_%s.meta.bin", name);
    b.meta = golden_vector(path);
    (void)snprintf(path, sizeof path, "data/macro_block_%s.bin.zst", name);
    b.data = golden_vector(path);
    assert_code(obv_macro_full_meta_parse(b.meta, &b.parsed, &schema, &err), OBV_OK, &err);
    b.data.len = (size_t)b.parsed.occupy_size;
    return b;
}

static inline obv_pg_key vt_pg(size_t i)
{
    const uint64_t low = i == 0 ? 5 : 50005; /* a sys PG and the table of the golden blocks */
    return (obv_pg_key){.table_id = (uint64_t)VT_TENANT << 40 | low, .part_id = i == 0 ? 0 : 3};
}

static inline obv_table_key vt_key(size_t pg, int32_t type)
{
    const obv_pg_key k = vt_pg(pg);
    const obv_pg_key trans = obv_pg_key_trans(&k);
    return (obv_table_key){.type = type,
                           .pkey = type == OBV_TABLE_TRANS ? trans : k,
                           .table_id = type == OBV_TABLE_TRANS ? trans.table_id : k.table_id,
                           .versions = {1, 100, 200},
                           .version = 7,
                           .log_ts = {0, VT_SUBMIT, VT_SUBMIT}};
}

static inline void vt_sstable(obv_buf *b, size_t pg, int32_t type, const struct vt_block *const *blocks, size_t n)
{
    const obv_pg_key k = vt_pg(pg);
    uint64_t rows = 0;
    uint64_t occupy = 0;
    uint64_t chain = 0;
    for (size_t i = 0; i < n; i++) {
        rows += (uint64_t)blocks[i]->parsed.row_count;
        occupy += (uint64_t)blocks[i]->parsed.occupy_size;
        chain = obv_crc64(chain, obv_span_of(&blocks[i]->parsed.data_checksum, 8));
    }
    make_sstable_meta(b, &k,
                      &(made_sstable){.index_id = vt_key(pg, type).table_id,
                                      .rows = rows,
                                      .occupy = occupy,
                                      .checksum = chain,
                                      .blocks = n,
                                      .schema_version = VT_SCHEMA});
}

struct vt_side {
    struct vt_block blocks[3];
    const struct vt_block *list[3];
    size_t count;
};

static inline void vt_side_of(struct vt_side *s, const char *const *names)
{
    for (s->count = 0; names[s->count]; s->count++) {
        s->blocks[s->count] = vt_golden(names[s->count]);
        s->list[s->count] = &s->blocks[s->count];
    }
}

/* Block file and index of one side of a PG. */
static inline void vt_side_files(struct vt *t, size_t pg, bool minor, const struct vt_side *s)
{
    const obv_pg_key k = vt_pg(pg);
    obv_path data;
    obv_path index;
    obv_err err = {0};
    if (minor) {
        obv_path_minor_block_file(&t->root, &t->set, &k, 0, 0, &data);
        obv_path_minor_index_file(&t->root, &t->set, &k, 0, 0, &index);
    } else {
        obv_path_major_block_file(&t->root, &t->set, &k, 0, &data);
        obv_path_major_index_file(&t->root, &t->set, &k, 0, &index);
    }
    obv_macro_index_writer w = obv_macro_index_writer_of();
    OBV_AUTO(obv_buf_fini) obv_buf key = obv_buf_heap(4096);
    const obv_table_key table = vt_key(pg, minor ? OBV_TABLE_MV_MINOR : OBV_TABLE_MAJOR);
    obv_put_table_key(&key, &table);
    obv_buf *to = vt_new(t, index.s);
    assert_code(obv_macro_index_table(&w, obv_buf_span(&key), s->count, to, &err), OBV_OK, &err);
    /* an incremental finds its majors in the full */
    const bool reused = !minor && t->set.full_set_id != t->set.set_id;
    OBV_AUTO(obv_buf_fini) obv_buf nowhere = obv_buf_heap(16 << 20);
    obv_buf *blocks = reused ? &nowhere : s->count ? vt_new(t, data.s) : NULL;
    for (size_t i = 0; i < s->count; i++) {
        OBV_AUTO(obv_buf_fini) obv_buf tail = obv_buf_heap(1 << 16);
        obv_macro_frame frame;
        obv_macro_entry e = {.index = i,
                             .data_version = s->blocks[i].parsed.data_version,
                             .data_seq = s->blocks[i].parsed.data_seq,
                             .set_id = reused ? t->set.full_set_id : t->set.set_id,
                             .offset = blocks->len};
        assert_code(obv_macro_frame_make(s->blocks[i].meta, s->blocks[i].data, blocks, &tail, &frame, &err), OBV_OK,
                    &err);
        obv_put_span(blocks, s->blocks[i].data);
        obv_put_span(blocks, obv_buf_span(&tail));
        e.len = frame.total;
        assert_code(obv_macro_index_entry(&w, &e, to, &err), OBV_OK, &err);
    }
    if (blocks && !reused)
        obv_put_end_mark(blocks);
    assert_code(obv_macro_index_end(&w, to, &err), OBV_OK, &err);
    obv_macro_index_writer_fini(&w);
}

static inline void vt_record(obv_buf *out, size_t pg, const struct vt_side *major, const struct vt_side *minor)
{
    const obv_pg_key k = vt_pg(pg);
    const obv_pg_key trans = obv_pg_key_trans(&k);
    static const int32_t TYPES[3] = {OBV_TABLE_MAJOR, OBV_TABLE_MV_MINOR, OBV_TABLE_TRANS};
    obv_buf b[9];
    obv_record_table tables[3];
    obv_err err = {0};
    for (size_t i = 0; i < 9; i++)
        b[i] = obv_buf_heap(1 << 16);
    for (size_t i = 0; i < 3; i++) {
        const struct vt_side *s = i == 0 ? major : i == 1 ? minor : NULL;
        const obv_table_key key = vt_key(pg, TYPES[i]);
        vt_sstable(&b[i], pg, TYPES[i], s ? s->list : NULL, s ? s->count : 0);
        obv_put_table_key(&b[3 + i], &key);
        tables[i] = (obv_record_table){obv_buf_span(&b[i]), obv_buf_span(&b[3 + i])};
    }
    make_pg_meta(&b[6], &k, VT_LAST_LOG, VT_SUBMIT, VT_SCHEMA);
    make_store_meta(&b[7], &k);
    make_store_meta(&b[8], &trans);
    const obv_record_partition parts[2] = {{obv_buf_span(&b[7]), tables, 2}, {obv_buf_span(&b[8]), tables + 2, 1}};
    const obv_pg_record r = {obv_buf_span(&b[6]), parts, 2};
    assert_code(obv_put_pg_record_body(out, &r, VT_SCHEMA, &err), OBV_OK, &err);
    for (size_t i = 0; i < 9; i++)
        obv_buf_fini(&b[i]);
}

static inline void vt_pgs(struct vt *t)
{
    static const char *const NONE[] = {NULL};
    static const char *const MAJORS[] = {"none", "lz4", "single_micro", NULL};
    static const char *const MINORS[] = {"minor", NULL};
    obv_meta_files files = obv_meta_files_of(0);
    obv_meta_index entries[2];
    obv_buf *meta = vt_of_set(t, true, "meta_file_0");
    obv_buf *index = vt_of_set(t, true, "meta_index_file_0");
    obv_err err = {0};
    for (size_t pg = 0; pg < 2; pg++) {
        const obv_pg_key k = vt_pg(pg);
        struct vt_side major;
        struct vt_side minor;
        OBV_AUTO(obv_buf_fini) obv_buf body = obv_buf_heap(1 << 20);
        vt_side_of(&major, pg == 0 ? NONE : MAJORS);
        vt_side_of(&minor, pg == 0 ? NONE : MINORS);
        vt_side_files(t, pg, true, &minor);
        vt_side_files(t, pg, false, &major);
        vt_record(&body, pg, &major, &minor);
        assert_code(obv_meta_files_add(&files, &k, obv_buf_span(&body), meta, index, &entries[pg], &err), OBV_OK, &err);
    }
    assert_code(obv_meta_files_end(&files, meta, index, &err), OBV_OK, &err);
    obv_meta_files_fini(&files);
    assert_code(obv_put_merged_meta_index(vt_of_set(t, true, "meta_index_file"), entries, 2, &err), OBV_OK, &err);
    const obv_pg_key keys[2] = {vt_pg(0), vt_pg(1)};
    assert_code(obv_put_pg_list(vt_of_set(t, true, "sys_pg_list"), &keys[0], 1, &err), OBV_OK, &err);
    assert_code(obv_put_pg_list(vt_of_set(t, true, "normal_pg_list"), &keys[1], 1, &err), OBV_OK, &err);
}

/* The lists of sets with one entry more than before. */
static inline void vt_listed(struct vt *t, const obv_set_file_info *e)
{
    obv_err err = {0};
    static const char *const LISTS[] = {VT_CP "/1001/data/tenant_backup_set_file_info",
                                        VT_CP "/cluster_backup_set_file_info"};
    static const char *const INFOS[] = {VT_CP "/1001/data/tenant_data_backup_info", VT_CP "/cluster_data_backup_info"};
    assert_true(t->listed < 2);
    t->infos[t->listed] = (obv_backup_info){.full_set_id = t->set.full_set_id,
                                            .set_id = e->set_id,
                                            .data_version = 7,
                                            .snapshot_version = VT_S,
                                            .schema_version = VT_SCHEMA,
                                            .frozen_snapshot_version = 90,
                                            .frozen_schema_version = 80,
                                            .prev_full_set_id = e->prev_full_set_id,
                                            .prev_set_id = e->prev_set_id,
                                            .prev_data_version = e->prev_data_version,
                                            .compatible = t->compatible,
                                            .cluster_version = INT64_C(0x300010005),
                                            .backup_type = e->backup_type,
                                            .status = OBV_EXTERN_SUCCESS,
                                            .date = e->date};
    t->sets[t->listed++] = *e;
    for (size_t i = 0; i < 2; i++) {
        if (t->listed > 1 && t->compatible > 1)
            vt_remove(t, LISTS[i]);
        if (t->listed > 1) {
            vt_remove(t, INFOS[i]);
        }
        for (size_t k = 0; k < t->listed; k++)
            t->sets[k].tenant_id = i == 0 ? VT_TENANT : 1;
        if (t->compatible > 1)
            assert_code(obv_put_set_file_infos(vt_new(t, LISTS[i]), t->sets, t->listed, &err), OBV_OK, &err);
        assert_code(obv_put_backup_infos(vt_new(t, INFOS[i]), t->infos, t->listed, &err), OBV_OK, &err);
    }
}

static inline void vt_set_infos(struct vt *t)
{
    obv_err err = {0};
    const bool full = t->set.full_set_id == t->set.set_id;
    obv_set_file_info e = {.tenant_id = VT_TENANT,
                           .set_id = t->set.set_id,
                           .incarnation = 1,
                           .snapshot_version = VT_S,
                           .pg_count = 2,
                           .finish_pg_count = 2,
                           .macro_block_count = t->compatible > 2 ? 4 : 3,
                           .finish_macro_block_count = t->compatible > 2 ? 4 : 3,
                           .input_bytes = 100,
                           .output_bytes = 200,
                           .start_time = 900000,
                           .end_time = 1100000,
                           .compatible = t->compatible,
                           .cluster_version = UINT64_C(0x300010005),
                           .backup_type = full ? OBV_BACKUP_FULL : OBV_BACKUP_INCREMENTAL,
                           .prev_full_set_id = full ? 0 : 1,
                           .prev_set_id = full ? 0 : 1,
                           .prev_data_version = full ? 0 : 7,
                           .status = OBV_SET_SUCCESS,
                           .cluster_id = 7,
                           .backup_dest = "file:///backup",
                           .data_version = 7,
                           .schema_version = VT_SCHEMA,
                           .partition_count = 2,
                           .finish_partition_count = 2,
                           .start_replay_log_ts = VT_SUBMIT,
                           .date = t->set.date};
    if (t->compatible > 1)
        assert_code(obv_put_set_file_infos(vt_of_set(t, false, "single_backup_set_info"), &e, 1, &err), OBV_OK, &err);
    vt_listed(t, &e);
    const obv_set_info s = {.set_id = t->set.set_id,
                            .snapshot_version = VT_S,
                            .compatible = t->compatible,
                            .pg_count = 2,
                            .macro_block_count = e.macro_block_count,
                            .input_bytes = 100,
                            .output_bytes = 200,
                            .cluster_version = UINT64_C(0x300010005),
                            .compress_type = 1};
    obv_set_info both[2] = {s, s};
    both[0].set_id = t->set.full_set_id;
    obv_path set_info; /* before 2.2.77 an increment lies in the folder of its full */
    obv_path_set_file(&t->root, &t->set, "backup_set_info", &set_info);
    const bool shared = vt_find(t, set_info.s) != NULL;
    if (shared)
        vt_remove(t, set_info.s);
    assert_code(obv_put_set_infos(vt_new(t, set_info.s), shared ? both : &s, shared ? 2 : 1, &err), OBV_OK, &err);
    const obv_tenant_locality fields = {.tenant_id = VT_TENANT,
                                        .set_id = t->set.set_id,
                                        .snapshot_version = VT_S,
                                        .tenant_name = "shop",
                                        .locality = "FULL{1}@z1",
                                        .primary_zone = "z1"};
    assert_code(obv_put_tenant_locality(vt_of_set(t, true, "tenant_locality_info"), &fields, &err), OBV_OK, &err);
    assert_code(obv_put_tenant_diagnose(vt_of_set(t, true, "tenant_diagnose_info"), "text", &err), OBV_OK, &err);
}

static inline void vt_tenants(struct vt *t)
{
    obv_err err = {0};
    const obv_tenant_info ti = {.tenant_id = VT_TENANT, .tenant_name = "shop", .snapshot_version = VT_S};
    assert_code(obv_put_tenant_infos(vt_new(t, VT_CP "/tenant_info"), &ti, 1, &err), OBV_OK, &err);
    const obv_tenant_name name = {.name = "shop", .tenant_id = VT_TENANT, .timestamp = 100};
    assert_code(obv_put_tenant_names(vt_new(t, VT_CP "/tenant_name_info"), 100, &name, 1, &err), OBV_OK, &err);
}

/* ---- log */

static inline void vt_entry(obv_buf *out, size_t pg, uint64_t log_id, obv_clog_entry *made)
{
    uint8_t data[40];
    memset(data, (int)('a' + log_id % 20), sizeof data);
    *made = (obv_clog_entry){.type = OBV_ENTRY_MEMBERSHIP,
                             .pg = vt_pg(pg),
                             .log_id = log_id,
                             .data_len = sizeof data,
                             .generation_ts = 6000,
                             .epoch_id = 900,
                             .submit_ts = VT_SUBMIT + (int64_t)log_id,
                             .proposal_server = UINT64_C(0x7f00000100000b42),
                             .proposal_ts = 5,
                             .data_checksum = (int64_t)obv_crc64(0, obv_span_of(data, sizeof data)),
                             .freeze_version = 1};
    obv_clog_entry_emit(made, out);
    obv_buf_append(out, data, sizeof data);
}

/* Logs [from, to] as one block at the end of the file. */
static inline void vt_block_of_logs(obv_buf *file, size_t pg, uint64_t from, uint64_t to, uint64_t first_in_file,
                                    int64_t *accum)
{
    OBV_AUTO(obv_buf_fini) obv_buf raw = obv_buf_heap(1 << 16);
    OBV_AUTO(obv_buf_fini) obv_buf payload = obv_buf_heap(1 << 16);
    obv_clog_entry e;
    obv_err err = {0};
    for (uint64_t id = from; id <= to; id++) {
        vt_entry(&raw, pg, id, &e);
        *accum = obv_clog_accum(*accum, e.data_checksum);
    }
    assert_code(obv_archive_payload_pack(OBV_ARCHIVE_ZSTD, obv_buf_span(&raw), &payload, &err), OBV_OK, &err);
    const bool kicked = first_in_file == VT_LAST_LOG;
    obv_archive_block b = {.timestamp = 7000,
                           .clog_epoch_id = 900,
                           .accum = *accum,
                           .min_log_id_in_file = first_in_file,
                           .min_log_ts_in_file = kicked ? VT_SUBMIT : VT_SUBMIT + (int64_t)first_in_file,
                           .max_log_id = to,
                           .max_checkpoint_ts = 100,
                           .max_log_submit_ts = e.submit_ts};
    obv_archive_block_emit(&b, obv_buf_span(&payload), (uint32_t)file->len, file);
}

static inline void vt_log(struct vt *t, size_t pg)
{
    const obv_archive_place a = {.root = t->root, .round = 1};
    const obv_pg_key k = vt_pg(pg);
    const obv_archive_base base = {.start_log_id = VT_LAST_LOG + 1,
                                   .start_ts = VT_ROUND_START,
                                   .snapshot_version = 150,
                                   .log_submit_ts = VT_SUBMIT,
                                   .clog_epoch_id = 900,
                                   .accum = 4711};
    obv_path path;
    obv_archive_path_key(&a, &k, &path);
    const obv_archive_key key = obv_archive_key_first(&base, 0);
    obv_archive_key_emit(&key, vt_new(t, path.s));
    obv_archive_path_data(&a, &k, 1, &path);
    obv_buf *file = vt_new(t, path.s);
    OBV_AUTO(obv_buf_fini) obv_buf kickoff = obv_buf_heap(4096);
    obv_archive_kickoff_emit(&k, &base, 0, 6000, &kickoff);
    obv_archive_block b = {.timestamp = 7000,
                           .clog_epoch_id = 900,
                           .accum = 4711,
                           .min_log_id_in_file = VT_LAST_LOG,
                           .min_log_ts_in_file = VT_SUBMIT,
                           .max_log_id = VT_LAST_LOG,
                           .max_log_submit_ts = VT_SUBMIT};
    obv_archive_block_emit(&b, obv_buf_span(&kickoff), 0, file);
    int64_t accum = 4711;
    vt_block_of_logs(file, pg, 11, 14, VT_LAST_LOG, &accum);
    vt_block_of_logs(file, pg, 15, 15, VT_LAST_LOG, &accum);
    const obv_archive_index r = {.effective = true,
                                 .data_file_id = 1,
                                 .clog_epoch_id = 900,
                                 .accum = accum,
                                 .min_log_id = VT_LAST_LOG,
                                 .min_log_ts = VT_SUBMIT,
                                 .max_log_id = 15,
                                 .max_checkpoint_ts = 100,
                                 .max_log_submit_ts = VT_SUBMIT + 15,
                                 .start = base};
    obv_archive_path_index(&a, &k, 1, &path);
    obv_archive_index_emit(&r, vt_new(t, path.s));
    obv_archive_path_data(&a, &k, 2, &path);
    vt_block_of_logs(vt_new(t, path.s), pg, 16, 30, 16, &accum);
}

static inline void vt_rounds(struct vt *t)
{
    obv_archive_round r = {.start_ts = VT_ROUND_START,
                           .checkpoint_ts = VT_CHECKPOINT,
                           .incarnation = 1,
                           .round = 1,
                           .status = OBV_ARCHIVE_STATUS_DOING,
                           .mount_file_created = true,
                           .compatible = 1};
    obv_archive_piece p = {.incarnation = 1,
                           .round = 1,
                           .start_ts = VT_ROUND_START,
                           .max_ts = INT64_MAX,
                           .backup_dest = "file:///backup",
                           .compatible = 1};
    static const struct {
        uint64_t tenant;
        const char *rounds, *pieces, *single;
    } PLACES[] = {
        {1, VT_CP "/cluster_clog_backup_info", VT_CP "/cluster_backup_piece_info", VT_CP "/1/clog/1/single_piece_info"},
        {VT_TENANT, VT_CP "/1001/clog/tenant_clog_backup_info", VT_CP "/1001/clog/backup_piece_info",
         VT_CP "/1001/clog/1/single_piece_info"}};
    for (size_t i = 0; i < 2; i++) {
        r.tenant_id = p.tenant_id = PLACES[i].tenant;
        p.checkpoint_ts = 0;
        obv_archive_rounds_emit(&r, 1, vt_new(t, PLACES[i].rounds));
        obv_archive_pieces_emit(&p, 1, vt_new(t, PLACES[i].pieces));
        p.checkpoint_ts = VT_CHECKPOINT;
        obv_archive_single_piece_emit(&p, vt_new(t, PLACES[i].single));
    }
    obv_archive_mount_file_emit(1, vt_new(t, VT_CP "/1/clog/1/mount_file"));
    obv_archive_server_start_emit(1, VT_ROUND_START, vt_new(t, VT_CP "/clog_info/1_127.0.0.2_2882"));
}

static inline void vt_identity(struct vt *t)
{
    static const char HEAD[] = "{\"format_version\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"profile\":"
                               "\"native\",\"cluster_name\":\"obshop\",\"cluster_id\":7,\"created_at\":1,"
                               "\"capabilities\":7";
    uint8_t sha[OBV_SHA256_LEN];
    char hex[OBV_SHA256_HEX_LEN];
    obv_err err = {0};
    obv_buf *b = vt_new(t, VT_CP "/obvault/repository.json");
    assert_code(obv_sha256_of(obv_span_of(HEAD, sizeof HEAD - 1), sha, &err), OBV_OK, &err);
    obv_buf_append(b, HEAD, sizeof HEAD - 1);
    obv_buf_append(b, ",\"sha256\":\"", 11);
    obv_buf_append(b, obv_hex(obv_span_of(sha, sizeof sha), hex), 64);
    obv_buf_append(b, "\"}\n", 3);
}

/* ---- the whole */

static inline struct vt *vt_empty(void)
{
    struct vt *t = calloc(1, sizeof *t);
    obv_err err = {0};
    assert_non_null(t);
    assert_code(obv_media_root_init(&t->root, "obshop", 7, &err), OBV_OK, &err);
    t->set = (obv_set_id){.tenant_id = VT_TENANT, .set_id = 1, .full_set_id = 1, .date = 20261125};
    t->compatible = OBV_COMPATIBLE_V4;
    t->io = (obv_native_io){.ctx = t, .get = vt_get, .list = vt_list};
    return t;
}

static inline struct vt *vt_make(void)
{
    struct vt *t = vt_empty();
    vt_pgs(t);
    vt_set_infos(t);
    vt_tenants(t);
    vt_log(t, 0);
    vt_log(t, 1);
    vt_rounds(t);
    vt_identity(t);
    return t;
}

/* An incremental whose majors lie in set 1. */
static inline void vt_add_incremental(struct vt *t)
{
    t->set = (obv_set_id){.tenant_id = VT_TENANT, .set_id = 2, .full_set_id = 1, .date = 20261126};
    vt_pgs(t);
    vt_set_infos(t);
}

static inline void vt_free(struct vt *t)
{
    for (size_t i = 0; i < t->count; i++)
        obv_buf_fini(&t->files[i].bytes);
    free(t);
}

static inline void vt_note(void *ctx, const obv_verify_finding *f)
{
    struct vt *t = ctx;
    assert_true(f->text[0] && f->meaning && f->meaning[0] && f->object[0]);
    if (t->print)
        print_message("%s %s at %" PRId64 ": %s\n", obv_verify_class_name(f->class), f->object, f->offset, f->text);
    if (f->class == OBV_VERIFY_DAMAGED && !t->met && strcmp(f->object, t->wanted) == 0) {
        t->met = true;
        t->met_at = f->offset;
    }
    if (f->class == OBV_VERIFY_LEFTOVER || t->first_object[0])
        return;
    t->first = *f;
    (void)snprintf(t->first_object, sizeof t->first_object, "%s", f->object);
    (void)snprintf(t->first_text, sizeof t->first_text, "%s", f->text);
}

static inline obv_code vt_verify_as(struct vt *t, enum obv_verify_depth depth, int64_t set_id, obv_err *err)
{
    const obv_verify_config cfg = {
        .io = &t->io, .root = t->root, .depth = depth, .set_id = set_id, .fn = vt_note, .ctx = t};
    t->first_object[0] = t->first_text[0] = '\0';
    t->met = false;
    return obv_verify_run(&cfg, &t->stats, err);
}

/* Deep. @return damage found */
static inline uint64_t vt_verify(struct vt *t)
{
    obv_err err = {0};
    assert_code(vt_verify_as(t, OBV_VERIFY_DEEP, 0, &err), OBV_OK, &err);
    return obv_verify_damage(&t->stats);
}

#endif
