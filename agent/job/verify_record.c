/* verify_record.c - the record of one PG against the rules that make a copy restorable (restorable-set A) */
#include "format/ob/keys.h"
#include "job/verify_priv.h"

#include <inttypes.h>

typedef struct rules {
    obv_verify *v;
    const obv_verify_set *s;
    const obv_pg_meta *pg;
    const char *where;
    int64_t at;
    char text[OBV_PKEY_TEXT_MAX]; /* of the PG */
    bool reached;                 /* some table reaches publish_version */
    int64_t schema_floor;         /* least data_info.schema_version */
    int64_t trans_end;            /* greatest end_log_ts of the trans sstables, -1: none */
} rules;

#define BROKEN(r, fmt, ...)                                                                                            \
    obv_verify_say((r)->v, OBV_VERIFY_INCONSISTENT, (r)->where, (r)->at, "PG %s: " fmt, (r)->text, ##__VA_ARGS__)

static void check_pg(rules *r, const obv_pg_key *key)
{
    const obv_pg_meta *m = r->pg;
    if (!obv_pg_key_equal(&m->key, key))
        BROKEN(r, "the record is of PG %" PRIu64 "/%" PRId64, m->key.table_id, obv_pg_key_partition_id(&m->key));
    if (m->is_restore != 0)
        BROKEN(r, "it was being restored when it was copied: no restore takes it");
    if (m->clog.last_replay_log_id > m->data.last_replay_log_id)
        BROKEN(r, "log is needed behind %" PRIu64 ", but its data end at %" PRIu64, m->clog.last_replay_log_id,
               m->data.last_replay_log_id);
    const obv_pg_key trans = obv_pg_key_trans(key);
    const obv_pg_key last = m->partition_count ? obv_pg_meta_partition(m, m->partition_count - 1) : (obv_pg_key){0};
    if (!obv_pg_key_equal(&trans, &last))
        BROKEN(r, "its transaction-state partition is missing or not the last one");
}

static void check_table(rules *r, const obv_pg_key *pkey, const obv_sstable_meta *meta, const obv_table_key *key)
{
    const bool is_trans = obv_table_id_is_trans(pkey->table_id);
    if (!obv_pg_key_equal(&key->pkey, pkey))
        BROKEN(r, "a table key of another partition under %" PRIu64, pkey->table_id);
    if ((key->type == OBV_TABLE_TRANS) != is_trans ||
        (key->type != OBV_TABLE_TRANS && key->type != OBV_TABLE_MAJOR && !obv_table_type_is_minor(key->type)))
        BROKEN(r, "a table of type %d in partition %" PRIu64, key->type, pkey->table_id);
    if (is_trans && key->log_ts.end > r->trans_end)
        r->trans_end = key->log_ts.end;
    if (key->versions.snapshot_version >= r->pg->data.publish_version) {
        r->reached = true;
        if (meta->schema_version > r->schema_floor)
            r->schema_floor = meta->schema_version;
    }
    if (is_trans)
        return;
    const int64_t floor =
        key->type == OBV_TABLE_MAJOR ? key->versions.snapshot_version : key->versions.multi_version_start;
    if (r->s->info.snapshot_version < floor)
        BROKEN(r, "S %" PRId64 " is below what index %" PRIu64 " keeps, %" PRId64, r->s->info.snapshot_version,
               key->table_id, floor);
}

/* One major an index; minors follow each other. */
static void check_order(rules *r, const obv_verify_pg_facts *f, size_t from)
{
    const obv_verify_table *t = f->tables.items;
    for (size_t i = from; i < f->tables.count; i++)
        for (size_t k = i + 1; k < f->tables.count && t[k].key.table_id == t[i].key.table_id; k++) {
            if (obv_table_key_equal(&t[i].key, &t[k].key))
                BROKEN(r, "two tables of one key, index %" PRIu64, t[i].key.table_id);
            else if (t[i].key.type == OBV_TABLE_MAJOR && t[k].key.type == OBV_TABLE_MAJOR)
                BROKEN(r, "two majors of index %" PRIu64, t[i].key.table_id);
        }
}

static void check_end(rules *r)
{
    const obv_data_info *d = &r->pg->data;
    if (r->trans_end < d->last_replay_log_ts)
        BROKEN(r, "its transaction-state table ends at %" PRId64 ", its data at %" PRId64, r->trans_end,
               d->last_replay_log_ts);
    if (!r->reached)
        BROKEN(r, "no table reaches publish_version %" PRId64, d->publish_version);
    if (d->schema_version < r->schema_floor)
        BROKEN(r, "data_info.schema_version is %" PRId64 ", a restore needs %" PRId64, d->schema_version,
               r->schema_floor);
}

obv_code obv_verify_add_table(obv_verify_pg_facts *f, const obv_sstable_meta *m, const obv_table_key *k, obv_err *err)
{
    obv_verify_table *t = obv_verify_add(&f->tables, sizeof *t, err);
    if (!t)
        return OBV_E_NOMEM;
    *t = (obv_verify_table){.key = *k,
                            .blocks = obv_sstable_meta_blocks(m),
                            .data_blocks = m->macro_block_count,
                            .row_count = m->row_count,
                            .occupy_size = m->occupy_size,
                            .data_checksum = m->data_checksum};
    return OBV_OK;
}

static int by_key(const void *x, const void *y)
{
    const obv_table_key *a = &((const obv_verify_table *)x)->key;
    const obv_table_key *b = &((const obv_verify_table *)y)->key;
    const uint64_t words[][2] = {
        {a->table_id, b->table_id},
        {(uint64_t)a->type, (uint64_t)b->type},
        {(uint64_t)a->versions.snapshot_version, (uint64_t)b->versions.snapshot_version},
        {(uint64_t)a->versions.base_version, (uint64_t)b->versions.base_version},
        {(uint64_t)a->versions.multi_version_start, (uint64_t)b->versions.multi_version_start},
        {(uint64_t)a->version, (uint64_t)b->version},
        {(uint64_t)a->log_ts.start, (uint64_t)b->log_ts.start},
        {(uint64_t)a->log_ts.end, (uint64_t)b->log_ts.end},
        {(uint64_t)a->log_ts.max, (uint64_t)b->log_ts.max},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i][0] != words[i][1])
            return words[i][0] < words[i][1] ? -1 : 1;
    return obv_pg_key_cmp(&a->pkey, &b->pkey);
}

obv_verify_table *obv_verify_find_table(const obv_verify_pg_facts *f, const obv_table_key *key)
{
    const obv_verify_table want = {.key = *key};
    return f->tables.count ? bsearch(&want, f->tables.items, f->tables.count, sizeof want, by_key) : NULL;
}

static int by_index(const void *x, const void *y)
{
    const obv_table_key *a = &((const obv_verify_table *)x)->key;
    const obv_table_key *b = &((const obv_verify_table *)y)->key;
    return a->table_id != b->table_id ? (a->table_id < b->table_id ? -1 : 1) : a->type - b->type;
}

obv_verify_table *obv_verify_find_major(const obv_verify_pg_facts *f, uint64_t index_id)
{
    const obv_verify_table want = {.key = {.table_id = index_id, .type = OBV_TABLE_MAJOR}};
    return f->tables.count ? bsearch(&want, f->tables.items, f->tables.count, sizeof want, by_index) : NULL;
}

void obv_verify_sort_tables(obv_verify_pg_facts *f)
{
    if (f->tables.count > 1)
        qsort(f->tables.items, f->tables.count, sizeof(obv_verify_table), by_key);
}

obv_code obv_verify_record(obv_verify *v, const obv_verify_set *s, const obv_pg_key *key, obv_span body,
                           const char *where, int64_t at, obv_verify_pg_facts *out, obv_err *err)
{
    obv_pg_record_reader rec;
    OBV_TRY(obv_pg_record_parse(body, &rec, err));
    rules r = {.v = v,
               .s = s,
               .pg = &rec.pg,
               .where = where,
               .at = at,
               .trans_end = -1,
               .schema_floor = s->info.schema_version};
    (void)obv_pg_key_text(key, r.text);
    check_pg(&r, key);
    if (rec.partition_count != rec.pg.partition_count)
        BROKEN(&r, "%zu partitions, its meta names %zu", rec.partition_count, rec.pg.partition_count);
    out->partitions = rec.partition_count > 0 ? rec.partition_count - 1 : 0;
    out->clog = rec.pg.clog;
    for (size_t p = 0; p < rec.partition_count; p++) {
        obv_pg_record_part part;
        OBV_TRY(obv_pg_record_next_partition(&rec, &part, err));
        const obv_pg_key named = p < rec.pg.partition_count ? obv_pg_meta_partition(&rec.pg, p) : (obv_pg_key){0};
        if (!obv_pg_key_equal(&named, &part.store.pkey))
            BROKEN(&r, "partition %zu is not the one that its meta names", p);
        const size_t from = out->tables.count;
        for (size_t i = 0; i < part.table_count; i++) {
            obv_sstable_meta meta;
            obv_table_key table;
            OBV_TRY(obv_pg_record_next_table(&part, &meta, &table, err));
            check_table(&r, &part.store.pkey, &meta, &table);
            OBV_TRY(obv_verify_add_table(out, &meta, &table, err));
        }
        check_order(&r, out, from);
    }
    check_end(&r);
    obv_verify_sort_tables(out);
    return OBV_OK;
}
