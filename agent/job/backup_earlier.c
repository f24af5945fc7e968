/* backup_earlier.c - a PG that is copied once more in its set: what is in major_data already, and what it is */
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "job/backup_priv.h"

#include <inttypes.h>

enum {
    INDEX_MAX = 64 << 20, /* bytes of one index file: some 1.5 million blocks */
    KEPT_MAX = 64 << 20,  /* bytes of keys and metas of one PG */
    RECORD_MAX = 4 << 20,
    TABLES_MAX = 1 << 20,
};

struct listed {
    size_t key_at, key_len;   /* into bytes */
    size_t meta_at, meta_len; /* the same, length 0 until its record is read */
    uint64_t blocks;
    int64_t task_id;
};

struct obv_earlier {
    obv_buf bytes;
    struct listed *list; /* while reading */
    size_t n, cap;
    bool failed; /* out of memory, or too many */
    obv_listed_table *tables;
};

void obv_earlier_free(obv_earlier *e)
{
    if (!e)
        return;
    obv_buf_fini(&e->bytes);
    free(e->list);
    free(e->tables);
    free(e);
}

/* ---- index files */

static int take_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    obv_earlier *e = ctx;
    (void)key;
    if (e->n == e->cap) {
        const size_t cap = e->cap ? e->cap * 2 : 64;
        struct listed *grown = cap <= TABLES_MAX ? realloc(e->list, cap * sizeof *grown) : NULL;
        e->failed = !grown;
        if (e->failed)
            return 1;
        e->list = grown;
        e->cap = cap;
    }
    e->list[e->n++] = (struct listed){.key_at = e->bytes.len, .key_len = bytes.len, .blocks = total, .task_id = -1};
    obv_buf_append(&e->bytes, bytes.p, bytes.len);
    return 0;
}

/* The number of the file that holds a table's first block tells the task that copied it. */
static int take_entry(void *ctx, const obv_macro_entry *entry)
{
    obv_earlier *e = ctx;
    if (e->n && entry->index == 0)
        e->list[e->n - 1].task_id = entry->sub_task / OBV_SUB_TASKS_OF_TASK;
    return 0;
}

static obv_code read_index(const obv_pg_copy *c, uint32_t pass, obv_earlier *e, obv_err *err)
{
    const obv_macro_index_visitor v = {.table = take_table, .entry = take_entry, .ctx = e};
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(INDEX_MAX);
    obv_path path;
    obv_path_major_index_file(c->root, &c->task->set.id, c->pg, pass, &path);
    obv_code code = obv_store_get_all(c->env->store, path.s, INDEX_MAX, &file, c->cancel, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is not there: pass %u of the PG comes behind it", path.s,
                        c->task->pass);
    OBV_TRY(code);
    code = obv_macro_index_each(obv_buf_span(&file), &v, err);
    if (e->failed)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s: %zu tables", path.s, e->n);
    return code == OBV_OK ? OBV_OK : obv_wrap(err, "%s", path.s);
}

/* ---- records */

static struct listed *find(const obv_earlier *e, obv_span key)
{
    for (size_t i = 0; i < e->n; i++)
        if (obv_span_equal(obv_span_of(e->bytes.data + e->list[i].key_at, e->list[i].key_len), key))
            return &e->list[i];
    return NULL;
}

static obv_code take_metas(obv_earlier *e, int64_t task_id, obv_span record, obv_err *err)
{
    obv_meta_object object;
    obv_pg_record_reader rec;
    OBV_TRY(obv_meta_object_parse(record, &object, err));
    OBV_TRY(obv_pg_record_parse(object.body, &rec, err));
    for (size_t p = 0; p < rec.partition_count; p++) {
        obv_pg_record_part part;
        OBV_TRY(obv_pg_record_next_partition(&rec, &part, err));
        for (size_t t = 0; t < part.table_count; t++) {
            obv_sstable_meta meta;
            obv_table_key key;
            obv_rd at = part.tables;
            obv_rd table = obv_rd_unis(&at, 1);
            (void)obv_rd_unis_span(&table, 1);
            const obv_span key_bytes = obv_rd_unis_span(&table, 1);
            OBV_TRY(obv_pg_record_next_table(&part, &meta, &key, err));
            struct listed *l = find(e, key_bytes);
            if (!l || l->task_id != task_id || l->meta_len)
                continue;
            if (meta.macro_block_count + meta.lob_macro_block_count != l->blocks)
                return obv_fail(err, OBV_E_CORRUPT, 0,
                                "table %" PRIu64 " has %" PRIu64 " blocks in the record, %" PRIu64 " in the index",
                                key.table_id, meta.macro_block_count + meta.lob_macro_block_count, l->blocks);
            l->meta_at = e->bytes.len;
            l->meta_len = meta.bytes.len;
            obv_buf_append(&e->bytes, meta.bytes.p, meta.bytes.len);
        }
    }
    return OBV_OK;
}

static obv_code read_record(const obv_pg_copy *c, obv_earlier *e, int64_t task_id, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf record = obv_buf_heap(RECORD_MAX);
    obv_path path;
    obv_path_pg_record(c->root, &c->task->set.id, c->pg, task_id, &path);
    const obv_code code = obv_store_get_all(c->env->store, path.s, RECORD_MAX, &record, c->cancel, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is not there, but an index names blocks of its task", path.s);
    OBV_TRY(code);
    return take_metas(e, task_id, obv_buf_span(&record), err) == OBV_OK ? OBV_OK : obv_wrap(err, "%s", path.s);
}

static obv_code read_all(const obv_pg_copy *c, obv_earlier *e, obv_err *err)
{
    for (uint32_t pass = 0; pass < c->task->pass; pass++)
        OBV_TRY(read_index(c, pass, e, err));
    for (size_t i = 0; i < e->n; i++) {
        if (e->list[i].meta_len == 0)
            OBV_TRY(read_record(c, e, e->list[i].task_id, err));
        if (e->list[i].meta_len == 0)
            return obv_fail(err, OBV_E_CORRUPT, 0, "the record of task %" PRId64 " lacks a table of its index",
                            e->list[i].task_id);
    }
    OBV_TRY(obv_buf_check(&e->bytes, "earlier passes", err));
    e->tables = calloc(e->n + 1, sizeof *e->tables);
    if (!e->tables)
        return obv_fail(err, OBV_E_NOMEM, 0, "earlier passes: out of memory");
    for (size_t i = 0; i < e->n; i++) {
        const struct listed *l = &e->list[i];
        e->tables[i] = (obv_listed_table){.key = obv_span_of(e->bytes.data + l->key_at, l->key_len),
                                          .sstable_meta = obv_span_of(e->bytes.data + l->meta_at, l->meta_len),
                                          .blocks = l->blocks};
    }
    return OBV_OK;
}

obv_code obv_earlier_read(const obv_pg_copy *c, obv_earlier **out, obv_err *err)
{
    *out = NULL;
    if (c->task->pass == 0)
        return OBV_OK;
    obv_earlier *e = calloc(1, sizeof *e);
    if (!e)
        return obv_fail(err, OBV_E_NOMEM, 0, "earlier passes: out of memory");
    e->bytes = obv_buf_heap(KEPT_MAX);
    const obv_code code = read_all(c, e, err);
    if (code != OBV_OK) {
        obv_earlier_free(e);
        return code;
    }
    *out = e;
    return OBV_OK;
}

const obv_listed_table *obv_earlier_find(const obv_earlier *e, obv_span table_key)
{
    for (size_t i = 0; e && i < e->n; i++)
        if (obv_span_equal(e->tables[i].key, table_key))
            return &e->tables[i];
    return NULL;
}
