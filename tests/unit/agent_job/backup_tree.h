/* backup_tree.h - judges what a backup left on the destination: read back with common/format, compared with
 * backup_kit.h */
#ifndef OBV_TEST_BACKUP_TREE_H
#define OBV_TEST_BACKUP_TREE_H

#include "backup_kit.h"
#include "job/object.h"

struct tree_walk {
    const struct kit *kit;
    obv_store *store;
    size_t pg;
    int state;
    enum obv_area area;
    int64_t set_id;
    size_t table;
    uint64_t next, total;
    uint64_t blocks;
    size_t tables;
    char wrong[200];
};

static inline int tree_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    struct tree_walk *w = ctx;
    (void)bytes;
    if (w->next != w->total)
        (void)snprintf(w->wrong, sizeof w->wrong, "table ended at %" PRIu64 " of %" PRIu64, w->next, w->total);
    for (w->table = 0; w->table < KIT_TABLES; w->table++) {
        OBV_AUTO(obv_buf_fini) obv_buf want = obv_buf_heap(4096);
        kit_table_key(w->pg, w->state, w->table, &want);
        if (obv_span_equal(obv_buf_span(&want), bytes))
            break;
    }
    if (w->table == KIT_TABLES || total != KIT_BLOCKS[w->pg][w->table] ||
        (key->type == OBV_TABLE_MAJOR) != (w->area == OBV_AREA_MAJOR))
        (void)snprintf(w->wrong, sizeof w->wrong, "a table that must not be there: type %d, %" PRIu64 " blocks",
                       key->type, total);
    w->next = 0;
    w->total = total;
    w->tables++;
    return w->wrong[0] != '\0';
}

static inline int tree_entry(void *ctx, const obv_macro_entry *e)
{
    struct tree_walk *w = ctx;
    const obv_pg_key pg = kit_pg(w->pg);
    obv_path path;
    uint8_t want[KIT_BLOCK_MAX];
    size_t got = 0;
    obv_span meta;
    obv_span data;
    obv_err err = {0};
    if (w->area == OBV_AREA_MINOR)
        obv_path_minor_block_file(&w->kit->media, &w->kit->set, &pg, 3, e->sub_task, &path);
    else
        obv_path_major_block_file(&w->kit->media, &w->kit->set, &pg, e->sub_task, &path);
    OBV_AUTO(obv_freep) uint8_t *block = malloc(e->len + 1);
    if (!block || e->set_id != w->set_id || e->index != w->next || e->offset % 4096 != 0 || e->len % 4096 != 0)
        (void)snprintf(w->wrong, sizeof w->wrong, "entry %" PRIu64 " of table %zu", e->index, w->table);
    else if (obv_store_get(w->store, path.s, e->offset, block, e->len, &got, NULL, &err) != OBV_OK || got != e->len ||
             obv_macro_frame_parse(obv_span_of(block, got), &meta, &data, &err) != OBV_OK)
        (void)snprintf(w->wrong, sizeof w->wrong, "%.80s at %" PRIu64 ": %.90s", path.s, e->offset, err.msg);
    else if (!obv_span_equal(data, obv_span_of(want, kit_block(w->pg, w->state, w->table, e->index, want))))
        (void)snprintf(w->wrong, sizeof w->wrong, "block %" PRIu64 " of table %zu has other bytes", e->index, w->table);
    w->next++;
    w->blocks++;
    return w->wrong[0] != '\0';
}

/* One index file. @return blocks, or -1 with a message */
static inline int64_t tree_area(const struct kit *k, obv_store *s, size_t pg, int state, enum obv_area area)
{
    const obv_pg_key key = kit_pg(pg);
    struct tree_walk w = {.kit = k, .store = s, .pg = pg, .state = state, .area = area, .set_id = k->set.set_id};
    const obv_macro_index_visitor v = {.table = tree_table, .entry = tree_entry, .ctx = &w};
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(16 << 20);
    obv_path path;
    obv_err err = {0};
    if (area == OBV_AREA_MINOR)
        obv_path_minor_index_file(&k->media, &k->set, &key, 3, 0, &path);
    else
        obv_path_major_index_file(&k->media, &k->set, &key, 0, &path);
    if (obv_store_get_all(s, path.s, 16 << 20, &file, NULL, &err) != OBV_OK) {
        print_message("PG %zu: %s\n", pg, err.msg);
        return -1;
    }
    if (obv_macro_index_each(obv_buf_span(&file), &v, &err) != OBV_OK || w.wrong[0] || w.next != w.total) {
        print_message("PG %zu, area %d: %s %s\n", pg, area, w.wrong, err.msg);
        return -1;
    }
    return (int64_t)w.blocks;
}

/* A PG's copy is whole, and of one state. @return that state, or -1 */
static inline int tree_pg(const struct kit *k, obv_store *s, size_t pg)
{
    uint64_t want[2] = {0, 0};
    for (size_t t = 0; t < KIT_TABLES; t++)
        want[KIT_TYPES[t] == OBV_TABLE_MAJOR ? OBV_AREA_MAJOR : OBV_AREA_MINOR] += KIT_BLOCKS[pg][t];
    for (int state = atomic_load(&k->shared->state[pg]); state >= 0; state--) {
        if (tree_area(k, s, pg, state, OBV_AREA_MINOR) == (int64_t)want[OBV_AREA_MINOR] &&
            tree_area(k, s, pg, state, OBV_AREA_MAJOR) == (int64_t)want[OBV_AREA_MAJOR])
            return state;
    }
    return -1;
}

/* ---- reports against the tree */

struct tree_reports {
    const struct kit *kit;
    obv_store *store;
    size_t pgs, failed, objects;
    uint64_t last_id;
    obv_code code; /* of the last failed one */
    char wrong[200];
};

static inline void tree_report(void *ctx, const obv_pg_report *r)
{
    struct tree_reports *t = ctx;
    obv_path dir;
    obv_path_set_dir(&t->kit->media, &t->kit->set, &dir);
    if (r->report_id <= t->last_id)
        (void)snprintf(t->wrong, sizeof t->wrong, "report ids do not grow");
    t->last_id = r->report_id;
    if (r->error.code != OBV_OK) {
        t->failed++;
        t->code = r->error.code;
        return;
    }
    t->pgs++;
    if (r->result.blocks != r->result.blocks_stored || r->result.partitions != 1 || r->result.last_submit_ts != 5000 ||
        r->result.last_replay_log_id != KIT_LAST_LOG || r->result.schema_version != KIT_SCHEMA || r->pass != 0)
        (void)snprintf(t->wrong, sizeof t->wrong, "PG %" PRIu64 ": a field of the report", r->pg.table_id);
    for (size_t i = 0; i < r->object_count; i++) {
        obv_stored_object o = r->objects[i];
        obv_err err = {0};
        (void)snprintf(o.path, sizeof o.path, "%.200s/%.300s", dir.s, r->objects[i].path);
        t->objects++;
        if (obv_object_verify(t->store, &o, NULL, &err) != OBV_OK)
            (void)snprintf(t->wrong, sizeof t->wrong, "%.190s", err.msg);
    }
}

static inline int tree_count_one(void *ctx, const char *key, const obv_store_object *o)
{
    (void)key, (void)o;
    ++*(size_t *)ctx;
    return 0;
}

/* Everything a finished batch must have left: each PG whole, each object reported with its true digest, nothing else.
 */
static inline void tree_must_be_whole(struct kit *k)
{
    obv_store *s = kit_store(k);
    obv_journal *j = NULL;
    obv_err err = {0};
    char path[64];
    obv_path dir;
    size_t on_media = 0;
    (void)snprintf(path, sizeof path, "%s/journal.db", k->state_dir);
    for (size_t pg = 0; pg < KIT_PGS; pg++)
        assert_true(tree_pg(k, s, pg) >= 0);
    assert_int_equal(obv_journal_open(path, &j, &err), OBV_OK);
    struct tree_reports t = {.kit = k, .store = s};
    assert_int_equal(obv_journal_reports(j, 128, tree_report, &t, &err), OBV_OK);
    assert_string_equal(t.wrong, "");
    assert_int_equal(t.pgs, KIT_PGS);
    obv_path_set_dir(&k->media, &k->set, &dir);
    (void)strcat(dir.s, "/data/");
    assert_int_equal(obv_store_list(s, dir.s, tree_count_one, &on_media, NULL, &err), OBV_OK);
    assert_int_equal(on_media, t.objects);
    obv_journal_close(j);
    obv_store_close(s);
}

#endif
