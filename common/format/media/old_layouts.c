#include "format/media/old_layouts.h"

#include <inttypes.h>

/* ---- metas */

static void skip_storage_info(obv_rd *r)
{
    obv_rd body = obv_rd_unis(r, 1);
    (void)obv_rd_vi32(&body);         /* version */
    (void)obv_rd_unis_span(&body, 1); /* of the log */
    (void)obv_rd_unis_span(&body, 1); /* of the data */
    r->bad |= body.bad;
}

obv_code obv_old_store_meta_parse(obv_span body, obv_partition_store_meta *out, obv_err *err)
{
    obv_rd r = obv_rd_of(body);
    obv_rd b = obv_rd_unis(&r, 1);
    obv_partition_store_meta m = {.bytes = body, .pkey = obv_rd_pkey(&b)};
    (void)obv_rd_vi32(&b); /* is_restore */
    (void)obv_rd_vi32(&b); /* replica type */
    (void)obv_rd_vi64(&b); /* split state */
    (void)obv_rd_vi32(&b); /* migrate status */
    (void)obv_rd_vi64(&b); /* migrate time */
    skip_storage_info(&b);
    obv_rd_skip_words(&b, 7); /* report status */
    m.multi_version_start = obv_rd_vi64(&b);
    m.data_table_id = obv_rd_vu64(&b);
    if (obv_rd_left(&b) > 0)
        (void)obv_rd_unis_span(&b, 1); /* split info */
    obv_rd_skip_words(&b, 1);          /* replica property */
    m.create_timestamp = obv_rd_vi64(&b);
    r.bad |= b.bad;
    OBV_TRY(obv_rd_done(&r, "partition meta of an older layout", err));
    if (!obv_pg_key_valid(&m.pkey))
        return obv_fail(err, OBV_E_CORRUPT, 0, "partition meta: its key is not valid");
    *out = m;
    return OBV_OK;
}

obv_code obv_old_list_parse(obv_span body, obv_old_list *out, obv_err *err)
{
    obv_rd r = obv_rd_of(body);
    const uint64_t count = obv_rd_le64(&r);
    OBV_TRY(obv_rd_check(&r, "count of metas", err));
    if (count > OBV_PARTITION_TABLES_MAX || count > obv_rd_left(&r) || (count == 0 && obv_rd_left(&r) > 0))
        return obv_fail(err, OBV_E_CORRUPT, 0, "a list of %" PRIu64 " metas in %zu bytes", count, obv_rd_left(&r));
    *out = (obv_old_list){.count = (size_t)count, .items = r};
    return OBV_OK;
}

static obv_code taken(obv_old_list *l, const char *what, obv_err *err)
{
    return ++l->taken == l->count ? obv_rd_done(&l->items, what, err) : obv_rd_check(&l->items, what, err);
}

obv_code obv_old_list_sstable(obv_old_list *l, obv_sstable_meta *out, obv_err *err)
{
    if (l->taken == l->count)
        return OBV_E_NOT_FOUND;
    obv_rd_item(&l->items);
    obv_rd_sstable_meta(&l->items, out);
    OBV_TRY(taken(l, "sstable meta", err));
    return obv_sstable_meta_check(out, err);
}

obv_code obv_old_list_table_key(obv_old_list *l, obv_table_key *out, obv_err *err)
{
    if (l->taken == l->count)
        return OBV_E_NOT_FOUND;
    obv_rd_item(&l->items);
    obv_rd_table_key(&l->items, out);
    return taken(l, "table key", err);
}

/* ---- macroblock index */

/* OceanBase's own rule, and no entry without bytes or set: one of the newer form does not pass for this one. */
static bool is_valid(const obv_old_macro_entry *e)
{
    return e->table_id != UINT64_MAX && e->partition_id >= 0 && e->index_table_id != UINT64_MAX &&
           e->at.index <= INT64_MAX && e->at.data_version >= 0 && e->at.data_seq >= 0 && e->at.set_id > 0 &&
           e->at.sub_task >= 0 && e->at.offset <= INT64_MAX && e->at.len > 0 && e->at.len <= INT64_MAX;
}

static obv_code read_entry(obv_rd *r, obv_old_macro_entry *out, obv_err *err)
{
    obv_rd b = obv_rd_unis(r, 1);
    obv_old_macro_entry e;
    e.table_id = obv_rd_vu64(&b);
    e.partition_id = obv_rd_vi64(&b);
    e.index_table_id = obv_rd_vu64(&b);
    e.at.index = obv_rd_vu64(&b);
    e.at.data_version = obv_rd_vi64(&b);
    e.at.data_seq = obv_rd_vi64(&b);
    e.at.set_id = obv_rd_vi64(&b);
    e.at.sub_task = obv_rd_vi64(&b);
    e.at.offset = obv_rd_vu64(&b);
    e.at.len = obv_rd_vu64(&b);
    r->bad |= b.bad;
    OBV_TRY(obv_rd_check(r, "entry of an older index file", err));
    if (!is_valid(&e))
        return obv_fail(err, OBV_E_CORRUPT, 0, "older index file: entry %" PRIu64 " is not valid", e.at.index);
    *out = e;
    return OBV_OK;
}

obv_code obv_old_macro_index_each(obv_span file, obv_old_macro_index_fn *fn, void *ctx, obv_err *err)
{
    obv_block_reader blocks = obv_block_reader_of(file);
    obv_span payload;
    uint64_t payload_at = 0;
    obv_code code;
    while ((code = obv_block_next(&blocks, OBV_FILE_MACRO_INDEX, &payload, &payload_at, err)) == OBV_OK) {
        obv_rd r = obv_rd_of(payload);
        while (obv_rd_left(&r) > 0) {
            obv_old_macro_entry e;
            OBV_TRY(read_entry(&r, &e, err));
            if (fn(ctx, &e) != 0)
                return obv_fail(err, OBV_E_CANCELLED, 0, "older index file: stopped by the reader");
        }
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}
