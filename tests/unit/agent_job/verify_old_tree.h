/* verify_old_tree.h - the tree of verify_tree.h as OceanBase before 3.1 would have written it (compatible 1 and 2) */
#ifndef OBV_TEST_VERIFY_OLD_TREE_H
#define OBV_TEST_VERIFY_OLD_TREE_H

#include "format/media/old_layouts.h"
#include "verify_tree.h"

struct vo_metas {
    obv_block_writer meta, index;
    obv_buf *meta_out, *index_out;
    obv_meta_index entries[8];
    size_t count;
};

static inline void vo_record(struct vo_metas *w, const obv_pg_key *key, uint16_t type, obv_buf *body)
{
    obv_err err = {0};
    OBV_AUTO(obv_buf_fini) obv_buf object = obv_buf_heap(1 << 20);
    OBV_AUTO(obv_buf_fini) obv_buf line = obv_buf_heap(4096);
    obv_meta_index *e = &w->entries[w->count++];
    *e = (obv_meta_index){
        .meta_type = type, .pg = *key, .table_id = key->table_id, .partition_id = obv_pg_key_partition_id(key)};
    obv_put_meta_object(&object, type, obv_buf_span(body));
    e->len = object.len;
    assert_code(obv_block_writer_add(&w->meta, obv_buf_span(&object), w->meta_out, &e->offset, &err), OBV_OK, &err);
    obv_put_meta_index(&line, e);
    assert_code(obv_block_writer_add(&w->index, obv_buf_span(&line), w->index_out, NULL, &err), OBV_OK, &err);
    obv_buf_fini(body);
}

static inline void vo_pg_metas(struct vo_metas *w, size_t pg, const struct vt_side *major, const struct vt_side *minor)
{
    const obv_pg_key k = vt_pg(pg);
    obv_err err = {0};
    obv_buf b = obv_buf_heap(1 << 16);
    OBV_AUTO(obv_buf_fini) obv_buf made = obv_buf_heap(1 << 16);
    OBV_AUTO(obv_buf_fini) obv_buf key = obv_buf_heap(4096);
    obv_pg_meta m;
    make_pg_meta(&made, &k, VT_LAST_LOG, VT_SUBMIT, VT_SCHEMA);
    assert_code(obv_pg_meta_parse(obv_buf_span(&made), &m, &err), OBV_OK, &err);
    obv_put_pkey(&key, &k); /* no transaction-state partition yet */
    assert_code(obv_pg_meta_put_changed(&m, VT_SCHEMA, obv_buf_span(&key), &b, &err), OBV_OK, &err);
    vo_record(w, &k, OBV_OLD_META_PG, &b);
    b = obv_buf_heap(1 << 16);
    const size_t store = obv_unis_begin(&b, 1);
    obv_put_pkey(&b, &k);
    for (int i = 0; i < 5; i++)
        obv_put_vi64(&b, 0);
    obv_put_unis_header(&b, 1, 0);
    obv_put_unis_header(&b, 1, 0);
    obv_put_vi64(&b, 1);
    obv_put_vu64(&b, k.table_id);
    obv_unis_end(&b, store);
    vo_record(w, &k, OBV_OLD_META_PARTITION, &b);
    b = obv_buf_heap(1 << 16);
    obv_put_le64(&b, 2);
    vt_sstable(&b, pg, OBV_TABLE_MAJOR, major->list, major->count);
    vt_sstable(&b, pg, OBV_TABLE_MV_MINOR, minor->list, minor->count); /* its blocks were not copied */
    vo_record(w, &k, OBV_OLD_META_SSTABLES, &b);
    b = obv_buf_heap(1 << 16);
    obv_put_le64(&b, 2);
    const obv_table_key keys[2] = {vt_key(pg, OBV_TABLE_MAJOR), vt_key(pg, OBV_TABLE_MV_MINOR)};
    obv_put_table_key(&b, &keys[0]);
    obv_put_table_key(&b, &keys[1]);
    vo_record(w, &k, OBV_OLD_META_TABLE_KEYS, &b);
}

/* Passes 0 and 1: the second repeats the last block of the first. */
static inline void vo_pg_files(struct vt *t, size_t pg, const struct vt_side *s)
{
    const obv_pg_key k = vt_pg(pg);
    const bool reused = t->set.full_set_id != t->set.set_id;
    obv_err err = {0};
    obv_path path;
    OBV_AUTO(obv_buf_fini) obv_buf nowhere = obv_buf_heap(16 << 20);
    obv_path_flat_block_file(&t->root, &t->set, &k, 0, &path);
    obv_buf *blocks = s->count && !reused ? vt_new(t, path.s) : &nowhere;
    obv_old_macro_entry e[3];
    for (size_t i = 0; i < s->count; i++) {
        OBV_AUTO(obv_buf_fini) obv_buf tail = obv_buf_heap(1 << 16);
        obv_macro_frame frame;
        e[i] = (obv_old_macro_entry){k.table_id,
                                     obv_pg_key_partition_id(&k),
                                     k.table_id,
                                     {.index = i,
                                      .data_version = s->blocks[i].parsed.data_version,
                                      .data_seq = s->blocks[i].parsed.data_seq,
                                      .set_id = t->set.full_set_id,
                                      .offset = blocks->len}};
        assert_code(obv_macro_frame_make(s->blocks[i].meta, s->blocks[i].data, blocks, &tail, &frame, &err), OBV_OK,
                    &err);
        obv_put_span(blocks, s->blocks[i].data);
        obv_put_span(blocks, obv_buf_span(&tail));
        e[i].at.len = frame.total;
    }
    if (blocks != &nowhere)
        obv_put_end_mark(blocks);
    for (int64_t pass = 0; pass < 2; pass++) {
        obv_path_flat_index_file(&t->root, &t->set, &k, pass, &path);
        obv_buf *to = vt_new(t, path.s);
        obv_block_writer w = obv_block_writer_of(OBV_FILE_MACRO_INDEX);
        for (size_t i = pass ? 1 : 0; i < (pass ? s->count : s->count - (s->count > 0)); i++) {
            OBV_AUTO(obv_buf_fini) obv_buf o = obv_buf_heap(4096);
            const size_t mark = obv_unis_begin(&o, 1);
            obv_put_vu64(&o, e[i].table_id);
            obv_put_vi64(&o, e[i].partition_id);
            obv_put_vu64(&o, e[i].index_table_id);
            obv_put_vu64(&o, e[i].at.index);
            obv_put_vi64(&o, e[i].at.data_version);
            obv_put_vi64(&o, e[i].at.data_seq);
            obv_put_vi64(&o, e[i].at.set_id);
            obv_put_vi64(&o, e[i].at.sub_task);
            obv_put_vu64(&o, e[i].at.offset);
            obv_put_vu64(&o, e[i].at.len);
            obv_unis_end(&o, mark);
            assert_code(obv_block_writer_add(&w, obv_buf_span(&o), to, NULL, &err), OBV_OK, &err);
        }
        assert_code(obv_block_writer_end(&w, to, &err), OBV_OK, &err);
        obv_block_writer_fini(&w);
    }
}

static inline void vo_set(struct vt *t)
{
    static const char *const NONE[] = {NULL};
    static const char *const MAJORS[] = {"none", "lz4", "single_micro", NULL};
    static const char *const MINORS[] = {"minor", NULL};
    obv_err err = {0};
    struct vo_metas w = {.meta = obv_block_writer_of(OBV_FILE_META), .index = obv_block_writer_of(OBV_FILE_META_INDEX)};
    w.meta_out = vt_of_set(t, true, "meta_file_0");
    w.index_out = vt_of_set(t, true, "meta_index_file_0");
    for (size_t pg = 0; pg < 2; pg++) {
        struct vt_side major;
        struct vt_side minor;
        vt_side_of(&major, pg == 0 ? NONE : MAJORS);
        vt_side_of(&minor, pg == 0 ? NONE : MINORS);
        vo_pg_metas(&w, pg, &major, &minor);
        vo_pg_files(t, pg, &major);
    }
    assert_code(obv_block_writer_end(&w.meta, w.meta_out, &err), OBV_OK, &err);
    assert_code(obv_block_writer_end(&w.index, w.index_out, &err), OBV_OK, &err);
    obv_block_writer_fini(&w.meta);
    obv_block_writer_fini(&w.index);
    assert_code(obv_put_merged_meta_index(vt_of_set(t, true, "meta_index_file"), w.entries, w.count, &err), OBV_OK,
                &err);
    const obv_pg_key keys[2] = {vt_pg(0), vt_pg(1)};
    assert_code(obv_put_pg_list(vt_of_set(t, true, "sys_pg_list"), &keys[0], 1, &err), OBV_OK, &err);
    assert_code(obv_put_pg_list(vt_of_set(t, true, "normal_pg_list"), &keys[1], 1, &err), OBV_OK, &err);
    vt_set_infos(t);
}

static inline struct vt *vo_make(int64_t compatible)
{
    struct vt *t = vt_empty();
    t->compatible = compatible;
    if (compatible == OBV_COMPATIBLE_V1)
        t->set.date = 0;
    vo_set(t);
    vt_tenants(t);
    vt_log(t, 0);
    vt_log(t, 1);
    vt_rounds(t);
    vt_identity(t);
    return t;
}

#endif
