#include "format/media/meta_records.h"

#include "base/crc32c.h"
#include "base/fault.h"
#include "base/sort.h"

#include <inttypes.h>

enum { META_HEADER_VERSION = 1, META_TYPES = 5 };
#define PARTITION_MIN 12u /* least bytes of a partition with its array, for counts */
#define TABLE_MIN 12u

static uint16_t meta_checksum(uint16_t type, uint32_t len, uint64_t crc)
{
    return (uint16_t)(META_HEADER_VERSION ^ type ^ obv_fold32(len) ^ obv_fold64(crc));
}

static obv_code check_table(const obv_record_table *t, obv_err *err)
{
    obv_sstable_meta meta;
    obv_table_key key;
    OBV_TRY(obv_sstable_meta_parse(t->sstable_meta, &meta, err));
    OBV_TRY(obv_table_key_parse(t->table_key, &key, err));
    if (meta.index_id != key.table_id)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable of index %" PRIu64 " under a table key of %" PRIu64,
                        meta.index_id, key.table_id);
    return OBV_OK;
}

static int64_t raised(const obv_pg_meta *pg, int64_t schema_version)
{
    if (OBV_BUG_STRIKES("bug.a3d_schema_version_small"))
        return pg->data.schema_version;
    return pg->data.schema_version > schema_version ? pg->data.schema_version : schema_version;
}

obv_code obv_put_pg_record_body(obv_buf *out, const obv_pg_record *r, int64_t schema_version, obv_err *err)
{
    obv_pg_meta pg;
    OBV_TRY(obv_pg_meta_parse(r->pg_meta, &pg, err));
    if (pg.is_restore != 0 && !OBV_BUG_STRIKES("bug.a3e_replica_state"))
        return obv_fail(err, OBV_E_INVAL, 0, "PG meta record: the PG is being restored (state %d)", pg.is_restore);
    const size_t start = out->len;
    const size_t mark = obv_unis_begin(out, 1);
    OBV_TRY(obv_pg_meta_put_schema_version(&pg, raised(&pg, schema_version), out, err));
    obv_put_vu64(out, r->partition_count);
    for (size_t i = 0; i < r->partition_count; i++) {
        const obv_record_partition *p = &r->partitions[i];
        obv_partition_store_meta store;
        OBV_TRY(obv_partition_store_meta_parse(p->store_meta, &store, err));
        const size_t part = obv_unis_begin(out, 1);
        obv_put_span(out, p->store_meta);
        obv_put_vu64(out, p->table_count);
        for (size_t t = 0; t < p->table_count; t++) {
            OBV_TRY(check_table(&p->tables[t], err));
            const size_t table = obv_unis_begin(out, 1);
            obv_put_span(out, p->tables[t].sstable_meta);
            obv_put_span(out, p->tables[t].table_key);
            obv_unis_end(out, table);
        }
        obv_unis_end(out, part);
    }
    obv_unis_end(out, mark);
    OBV_TRY(obv_buf_check(out, "PG meta record", err));
    if (out->len - start > OBV_PG_RECORD_BODY_MAX)
        return obv_fail(err, OBV_E_LIMIT, 0, "PG meta record: %zu bytes, the media take %u", out->len - start,
                        OBV_PG_RECORD_BODY_MAX);
    return OBV_OK;
}

static bool is_dropped(const obv_record_change *c, const obv_pg_key *partition)
{
    return c->dropped_count &&
           bsearch(&partition->table_id, c->dropped, c->dropped_count, sizeof *c->dropped, obv_cmp_u64) != NULL;
}

static obv_code count_blocks(obv_pg_record_part *p, obv_record_counts *n, obv_err *err)
{
    for (size_t i = 0; i < p->table_count; i++) {
        obv_sstable_meta meta;
        obv_table_key key;
        OBV_TRY(obv_pg_record_next_table(p, &meta, &key, err));
        n->blocks += meta.macro_block_count + meta.lob_macro_block_count;
    }
    return OBV_OK;
}

/* The partitions that stay, as they were: their bytes, their keys and how many. */
static obv_code keep_partitions(obv_pg_record_reader *rec, const obv_record_change *c, obv_buf *bytes, obv_buf *keys,
                                obv_record_counts *n, obv_err *err)
{
    const obv_pg_key trans = obv_pg_key_trans(&rec->pg.key);
    for (size_t i = 0; i < rec->partition_count; i++) {
        obv_pg_record_part part;
        const uint8_t *begin = rec->partitions.p;
        OBV_TRY(obv_pg_record_next_partition(rec, &part, err));
        if (is_dropped(c, &part.store.pkey))
            continue;
        obv_buf_append(bytes, begin, (size_t)(rec->partitions.p - begin));
        obv_put_pkey(keys, &part.store.pkey);
        n->partitions += !obv_pg_key_equal(&part.store.pkey, &trans);
        OBV_TRY(count_blocks(&part, n, err));
    }
    return OBV_OK;
}

obv_code obv_pg_record_body_rewrite(obv_span body, const obv_record_change *change, obv_record_counts *counts,
                                    obv_buf *out, obv_err *err)
{
    obv_pg_record_reader rec;
    obv_record_counts n = {0};
    OBV_AUTO(obv_buf_fini) obv_buf bytes = obv_buf_heap(OBV_PG_RECORD_BODY_MAX);
    OBV_AUTO(obv_buf_fini) obv_buf keys = obv_buf_heap(OBV_PG_RECORD_BODY_MAX);
    OBV_TRY(obv_pg_record_parse(body, &rec, err));
    obv_pg_record_reader at = rec;
    OBV_TRY(keep_partitions(&at, change, &bytes, &keys, &n, err));
    OBV_TRY(obv_buf_check(&bytes, "PG meta record", err));
    OBV_TRY(obv_buf_check(&keys, "PG meta record", err));
    const uint64_t kept = keys.len / OBV_PKEY_LEN;
    const bool all = kept == rec.partition_count;
    const size_t mark = obv_unis_begin(out, 1);
    OBV_TRY(obv_pg_meta_put_changed(&rec.pg, raised(&rec.pg, change->schema_version),
                                    all ? rec.pg.partitions : obv_buf_span(&keys), out, err));
    obv_put_vu64(out, kept);
    obv_put_span(out, obv_buf_span(&bytes));
    obv_buf_append(out, at.partitions.p, obv_rd_left(&at.partitions)); /* what a later release may add */
    obv_unis_end(out, mark);
    if (counts)
        *counts = n;
    return obv_buf_check(out, "PG meta record", err);
}

void obv_put_meta_object(obv_buf *out, uint16_t meta_type, obv_span body)
{
    if (body.len > OBV_META_BLOCK_MAX) {
        out->failed = true;
        return;
    }
    const uint64_t crc = obv_crc64(0, body);
    obv_put_vu64(out, OBV_META_HEADER_LEN + body.len);
    obv_put_le16(out, META_HEADER_VERSION);
    obv_put_le16(out, meta_type);
    obv_put_le16(out, meta_checksum(meta_type, (uint32_t)body.len, crc));
    obv_buf_append_zeros(out, 6);
    obv_put_le32(out, (uint32_t)body.len);
    obv_put_le64(out, crc);
    obv_put_span(out, body);
    obv_put_u8(out, 0);
}

obv_code obv_meta_object_parse(obv_span in, obv_meta_object *out, obv_err *err)
{
    obv_rd top = obv_rd_of(in);
    const obv_span whole = obv_rd_vstr(&top);
    obv_rd r = obv_rd_of(whole);
    const uint16_t version = obv_rd_le16(&r);
    const uint16_t type = obv_rd_le16(&r);
    const uint16_t checksum = obv_rd_le16(&r);
    (void)obv_rd_bytes(&r, 6);
    const uint32_t len = obv_rd_le32(&r);
    const uint64_t crc = obv_rd_le64(&r);
    const obv_span body = obv_rd_bytes(&r, len);
    top.bad |= r.bad;
    OBV_TRY(obv_rd_check(&top, "meta record", err));
    if (version != META_HEADER_VERSION || type >= META_TYPES || checksum != meta_checksum(type, len, crc))
        return obv_fail(err, OBV_E_CORRUPT, 0, "meta record: its header is damaged");
    OBV_TRY(obv_rd_done(&r, "meta record", err));
    if (obv_crc64(0, body) != crc)
        return obv_fail(err, OBV_E_CORRUPT, 0, "meta record: checksum of its body is wrong");
    *out = (obv_meta_object){.meta_type = type, .body = body, .total = (size_t)(top.p - in.p)};
    return OBV_OK;
}

obv_code obv_pg_record_parse(obv_span body, obv_pg_record_reader *out, obv_err *err)
{
    obv_rd top = obv_rd_of(body);
    obv_rd r = obv_rd_unis(&top, 1);
    const obv_span pg = obv_rd_unis_span(&r, 1);
    const size_t n = obv_rd_count(&r, OBV_PG_PARTITIONS_MAX, PARTITION_MIN);
    top.bad |= r.bad;
    OBV_TRY(obv_rd_done(&top, "PG meta record", err));
    obv_pg_record_reader rec = {.partition_count = n, .partitions = r};
    OBV_TRY(obv_pg_meta_parse(pg, &rec.pg, err));
    *out = rec;
    return OBV_OK;
}

obv_code obv_pg_record_next_partition(obv_pg_record_reader *r, obv_pg_record_part *out, obv_err *err)
{
    obv_rd_item(&r->partitions);
    obv_rd part = obv_rd_unis(&r->partitions, 1);
    obv_rd_partition_store_meta(&part, &out->store);
    out->table_count = obv_rd_count(&part, OBV_PARTITION_TABLES_MAX, TABLE_MIN);
    out->tables = part;
    r->partitions.bad |= part.bad;
    return obv_rd_check(&r->partitions, "partition of a PG meta record", err);
}

obv_code obv_pg_record_next_table(obv_pg_record_part *p, obv_sstable_meta *meta, obv_table_key *key, obv_err *err)
{
    obv_rd_item(&p->tables);
    obv_rd table = obv_rd_unis(&p->tables, 1);
    obv_rd_sstable_meta(&table, meta);
    obv_rd_table_key(&table, key);
    p->tables.bad |= table.bad;
    OBV_TRY(obv_rd_check(&p->tables, "sstable of a PG meta record", err));
    OBV_TRY(obv_sstable_meta_check(meta, err));
    if (meta->index_id != key->table_id)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable of index %" PRIu64 " under a table key of %" PRIu64,
                        meta->index_id, key->table_id);
    return OBV_OK;
}

/* ---- meta index */

/* OceanBase's own rule, on both ways. */
static bool is_valid(uint32_t meta_type, int64_t partition_id, const obv_meta_index *e)
{
    return meta_type < META_TYPES && partition_id >= 0 && e->offset <= INT64_MAX && e->len <= INT64_MAX &&
           e->task_id >= 0;
}

void obv_put_meta_index(obv_buf *b, const obv_meta_index *e)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vu32(b, e->meta_type);
    obv_put_vu64(b, e->pg.table_id);
    obv_put_vi64(b, obv_pg_key_partition_id(&e->pg));
    obv_put_vu64(b, e->offset);
    obv_put_vu64(b, e->len);
    obv_put_vi64(b, e->task_id);
    obv_unis_end(b, mark);
}

obv_code obv_meta_index_next(obv_rd *payload, obv_meta_index *out, obv_err *err)
{
    obv_meta_index e = {0};
    obv_rd r = obv_rd_unis(payload, 1);
    e.meta_type = obv_rd_vu32(&r);
    e.table_id = obv_rd_vu64(&r);
    e.partition_id = obv_rd_vi64(&r);
    e.offset = obv_rd_vu64(&r);
    e.len = obv_rd_vu64(&r);
    e.task_id = obv_rd_vi64(&r);
    payload->bad |= r.bad;
    OBV_TRY(obv_rd_check(payload, "meta index", err));
    if (!is_valid(e.meta_type, e.partition_id, &e))
        return obv_fail(err, OBV_E_CORRUPT, 0, "meta index: an entry is not valid");
    e.pg = obv_pg_key_from_partition_id(e.table_id, e.partition_id);
    *out = e;
    return OBV_OK;
}

obv_meta_files obv_meta_files_of(int64_t task_id)
{
    return (obv_meta_files){.task_id = task_id,
                            .meta = obv_block_writer_of(OBV_FILE_META),
                            .index = obv_block_writer_of(OBV_FILE_META_INDEX)};
}

void obv_meta_files_fini(obv_meta_files *f)
{
    obv_block_writer_fini(&f->meta);
    obv_block_writer_fini(&f->index);
}

obv_code obv_meta_files_add(obv_meta_files *f, const obv_pg_key *pg, obv_span body, obv_buf *meta_out,
                            obv_buf *index_out, obv_meta_index *entry, obv_err *err)
{
    obv_meta_index e = {.meta_type = OBV_META_TYPE_PG_INFO,
                        .pg = *pg,
                        .table_id = pg->table_id,
                        .partition_id = obv_pg_key_partition_id(pg),
                        .task_id = f->task_id};
    if (!obv_pg_key_valid(pg) || !is_valid(e.meta_type, e.partition_id, &e))
        return obv_fail(err, OBV_E_INVAL, 0, "meta index: PG %" PRIu64 "/%" PRId64 " of task %" PRId64 " is not valid",
                        e.table_id, e.partition_id, e.task_id);
    obv_buf object = obv_buf_heap(OBV_META_BLOCK_MAX);
    obv_put_meta_object(&object, OBV_META_TYPE_PG_INFO, body);
    obv_code code = obv_buf_check(&object, "PG meta record", err);
    if (code == OBV_OK)
        code = obv_block_writer_add(&f->meta, obv_buf_span(&object), meta_out, &e.offset, err);
    e.len = object.len;
    obv_buf_fini(&object);
    OBV_TRY(code);

    uint8_t room[96];
    obv_buf line = obv_buf_fixed(room, sizeof room);
    obv_put_meta_index(&line, &e);
    OBV_TRY(obv_buf_check(&line, "meta index", err));
    OBV_TRY(obv_block_writer_add(&f->index, obv_buf_span(&line), index_out, NULL, err));
    if (entry)
        *entry = e;
    return OBV_OK;
}

obv_code obv_meta_files_end(obv_meta_files *f, obv_buf *meta_out, obv_buf *index_out, obv_err *err)
{
    OBV_TRY(obv_block_writer_end(&f->meta, meta_out, err));
    return obv_block_writer_end(&f->index, index_out, err);
}

obv_code obv_put_merged_meta_index(obv_buf *b, const obv_meta_index *entries, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!is_valid(entries[i].meta_type, obv_pg_key_partition_id(&entries[i].pg), &entries[i]))
            return obv_fail(err, OBV_E_INVAL, 0, "merged meta index: entry %zu is not valid", i);
    obv_buf body = obv_buf_heap(OBV_META_INDEX_MAX);
    for (size_t i = 0; i < n; i++)
        obv_put_meta_index(&body, &entries[i]);
    const obv_code code = obv_buf_check(&body, "merged meta index", err);
    if (code == OBV_OK) {
        obv_put_info_file(b, OBV_FILE_META_INDEX, 0, obv_buf_span(&body));
        obv_put_common_header(b, &(obv_common_header){.data_type = OBV_FILE_END_MARK});
    }
    obv_buf_fini(&body);
    OBV_TRY(code);
    return obv_buf_check(b, "merged meta index", err);
}

obv_code obv_meta_index_file_each(obv_span file, obv_meta_index_fn *fn, void *ctx, obv_err *err)
{
    obv_block_reader blocks = obv_block_reader_of(file);
    obv_span payload;
    uint64_t at = 0;
    obv_code code;
    while ((code = obv_block_next(&blocks, OBV_FILE_META_INDEX, &payload, &at, err)) == OBV_OK) {
        obv_rd r = obv_rd_of(payload);
        while (obv_rd_left(&r) > 0) {
            obv_meta_index e;
            OBV_TRY(obv_meta_index_next(&r, &e, err));
            if (fn(ctx, &e) != 0)
                return obv_fail(err, OBV_E_CANCELLED, 0, "meta index: stopped by the reader");
        }
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}
