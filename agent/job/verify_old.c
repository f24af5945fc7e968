/* verify_old.c - sets of before 3.1 (compatible 1 and 2): the four records of a PG, and its index files without keys */
#include "format/ob/keys.h"
#include "job/verify_pg.h"

#include <inttypes.h>

/* ---- records */

typedef struct old_pg {
    obv_verify *v;
    const obv_verify_set *s;
    const char *where;
    int64_t at;
    char text[OBV_PKEY_TEXT_MAX];
    obv_verify_pg_facts *out;
} old_pg;

#define BROKEN(g, fmt, ...)                                                                                            \
    obv_verify_say((g)->v, OBV_VERIFY_INCONSISTENT, (g)->where, (g)->at, "PG %s: " fmt, (g)->text, ##__VA_ARGS__)

/* One record of a partition. OBV_E_NOT_FOUND: the index has none; it was reported. */
static obv_code read_one(const old_pg *g, uint32_t type, const obv_pg_key *part, uint8_t **bytes, obv_span *body,
                         obv_err *err)
{
    const obv_meta_index *e = obv_verify_set_entry_of(g->s, type, part->table_id, obv_pg_key_partition_id(part));
    if (!e) {
        BROKEN(g, "the index has no record of type %u for partition %" PRIu64, type, part->table_id);
        return OBV_E_NOT_FOUND;
    }
    obv_path where;
    obv_meta_object o;
    OBV_TRY(obv_verify_record_bytes(g->v, g->s, e, &where, bytes, &o, err));
    *body = o.body;
    return OBV_OK;
}

static obv_code add_tables(const old_pg *g, const obv_pg_key *part, obv_span metas, obv_span keys, obv_err *err)
{
    obv_old_list m;
    obv_old_list k;
    OBV_TRY(obv_old_list_parse(metas, &m, err));
    OBV_TRY(obv_old_list_parse(keys, &k, err));
    if (m.count != k.count)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%zu sstables with %zu table keys", m.count, k.count);
    for (size_t i = 0; i < m.count; i++) {
        obv_sstable_meta meta;
        obv_table_key key;
        OBV_TRY(obv_old_list_sstable(&m, &meta, err));
        OBV_TRY(obv_old_list_table_key(&k, &key, err));
        if (meta.index_id != key.table_id || !obv_pg_key_equal(&key.pkey, part))
            BROKEN(g, "sstable of index %" PRIu64 " under a key of index %" PRIu64, meta.index_id, key.table_id);
        OBV_TRY(obv_verify_add_table(g->out, &meta, &key, err));
    }
    return OBV_OK;
}

static obv_code read_partition(const old_pg *g, const obv_pg_key *part, obv_err *err)
{
    OBV_AUTO(obv_freep) uint8_t *store_bytes = NULL;
    OBV_AUTO(obv_freep) uint8_t *meta_bytes = NULL;
    OBV_AUTO(obv_freep) uint8_t *key_bytes = NULL;
    obv_span store;
    obv_span metas;
    obv_span keys;
    obv_partition_store_meta m;
    OBV_TRY(read_one(g, OBV_OLD_META_PARTITION, part, &store_bytes, &store, err));
    OBV_TRY(read_one(g, OBV_OLD_META_SSTABLES, part, &meta_bytes, &metas, err));
    OBV_TRY(read_one(g, OBV_OLD_META_TABLE_KEYS, part, &key_bytes, &keys, err));
    OBV_TRY(obv_old_store_meta_parse(store, &m, err));
    if (!obv_pg_key_equal(&m.pkey, part))
        BROKEN(g, "the record of partition %" PRIu64 " is of another", part->table_id);
    return add_tables(g, part, metas, keys, err);
}

obv_code obv_verify_old_record(obv_verify *v, const obv_verify_set *s, const obv_pg_key *key, obv_span body,
                               const char *where, int64_t at, obv_verify_pg_facts *out, obv_err *err)
{
    obv_pg_meta pg;
    OBV_TRY(obv_pg_meta_parse(body, &pg, err));
    old_pg g = {.v = v, .s = s, .where = where, .at = at, .out = out};
    (void)obv_pg_key_text(key, g.text);
    if (!obv_pg_key_equal(&pg.key, key))
        BROKEN(&g, "the record is of PG %" PRIu64 "/%" PRId64, pg.key.table_id, obv_pg_key_partition_id(&pg.key));
    if (pg.is_restore != 0)
        BROKEN(&g, "it was being restored when it was copied: no restore takes it");
    for (size_t i = 0; i < pg.partition_count; i++) {
        const obv_pg_key part = obv_pg_meta_partition(&pg, i);
        const obv_code code = read_partition(&g, &part, err);
        if (code != OBV_OK && code != OBV_E_NOT_FOUND)
            return code;
        if (code == OBV_E_NOT_FOUND && err)
            *err = (obv_err){0};
    }
    out->partitions = pg.partition_count;
    out->clog = pg.clog;
    obv_verify_sort_tables(out);
    const obv_verify_table *t = out->tables.items;
    for (size_t i = 1; i < out->tables.count; i++)
        if (t[i].key.type == OBV_TABLE_MAJOR && t[i - 1].key.type == OBV_TABLE_MAJOR &&
            t[i].key.table_id == t[i - 1].key.table_id)
            BROKEN(&g, "two majors of index %" PRIu64, t[i].key.table_id);
    return OBV_OK;
}

/* ---- index files */

typedef struct old_visit {
    obv_vpg *p;
    const obv_vpg_file *f;
    bool keep;
} old_visit;

/* The table of an index id; entries of one come one after the other. */
static obv_vpg_table *table_of(const old_visit *iv, const obv_old_macro_entry *e)
{
    obv_vpg *p = iv->p;
    obv_vpg_table *t = p->tables.items;
    if (p->last < p->tables.count && t[p->last].key.table_id == e->index_table_id)
        return &t[p->last];
    for (size_t i = p->tables.count; i-- > 0;)
        if (t[i].key.table_id == e->index_table_id) {
            p->last = i;
            return &t[i];
        }
    if (p->tables.count >= OBV_PG_PARTITIONS_MAX) {
        (void)obv_fail(&p->err, OBV_E_LIMIT, 0, "index files of more than %u tables", OBV_PG_PARTITIONS_MAX);
        return NULL;
    }
    t = obv_verify_add(&p->tables, sizeof *t, &p->err);
    if (!t)
        return NULL;
    p->last = p->tables.count - 1;
    obv_verify_table *m = obv_verify_find_major(&p->facts, e->index_table_id);
    *t = (obv_vpg_table){.key = {.type = OBV_TABLE_MAJOR,
                                 .pkey = obv_pg_key_from_partition_id(e->table_id, e->partition_id),
                                 .table_id = e->index_table_id},
                         .first = p->entries.count,
                         .m = m,
                         .pass = iv->f->name.number};
    if (m)
        m->listed = p->tables.count;
    return t;
}

static int on_entry(void *ctx, const obv_old_macro_entry *e)
{
    const old_visit *iv = ctx;
    obv_vpg *p = iv->p;
    if (e->at.offset % OBV_BLOCK_ALIGN != 0 || e->at.len % OBV_BLOCK_ALIGN != 0)
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, iv->f->key, -1,
                       "entry of %" PRIu64 " bytes at %" PRIu64 " is not aligned", e->at.len, e->at.offset);
    if (!iv->keep)
        return 0;
    obv_vpg_table *t = table_of(iv, e);
    if (!t)
        return 1;
    if (e->at.index < t->total)
        return 0; /* an earlier pass had it */
    if (e->at.index > t->total) {
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, iv->f->key, -1,
                       "block %" PRIu64 " of index %" PRIu64 " where block %" PRIu64 " was due: readers stop here",
                       e->at.index, e->index_table_id, t->total);
        return 0;
    }
    obv_vpg_entry *to = obv_verify_add(&p->entries, sizeof *to, &p->err);
    if (!to)
        return 1;
    *to = (obv_vpg_entry){.e = e->at, .table = (uint32_t)(t - (obv_vpg_table *)p->tables.items)};
    t->total++;
    return 0;
}

obv_code obv_vpg_read_old_index(obv_vpg *p, const obv_vpg_file *f, obv_span file, bool keep, obv_err *err)
{
    old_visit iv = {.p = p, .f = f, .keep = keep};
    return obv_old_macro_index_each(file, on_entry, &iv, err);
}
