/* reading a PG's macroblocks: named in batches for which memory is reserved, validated, handed out one by one */
#include "format/ob/macroblock.h"
#include "source/observer_priv.h"

#include <inttypes.h>
#include <string.h>

/* Names the next blocks of the current sstable. OBV_E_NOT_FOUND when all sstables are done. */
static obv_code next_refs(obv_source_pg *pg, obv_err *err)
{
    while (pg->at_table < pg->table_count && pg->next_index == pg->tables[pg->at_table]->base.pair_count) {
        pg->at_table++;
        pg->next_index = 0;
    }
    if (pg->at_table == pg->table_count)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no more macroblocks");
    obv_observer_table *t = pg->tables[pg->at_table];
    if (pg->next_index == 0)
        t->base.pairs = t->first_pair;
    const uint64_t left = t->base.pair_count - pg->next_index;
    const size_t n = left < pg->o->cfg.read_ahead_blocks ? (size_t)left : pg->o->cfg.read_ahead_blocks;
    for (size_t i = 0; i < n; i++) {
        obv_rpc_block_ref *ref = &pg->refs[i];
        ref->index = (int64_t)(pg->next_index + i);
        OBV_TRY(obv_rpc_next_pair(&t->base.pairs, &ref->data_version, &ref->data_seq, err));
    }
    pg->ref_table = pg->at_table;
    pg->ref_count = n;
    pg->ref_at = 0;
    pg->fetched = false;
    pg->again = false;
    pg->next_index += n;
    return OBV_OK;
}

/* Asks for what is named and not yet handed out; the whole answer lies in memory afterwards. */
static obv_code fetch(obv_source_pg *pg, obv_err *err)
{
    obv_observer *o = pg->o;
    if (!pg->batch.data) {
        const size_t cap = (size_t)o->cfg.read_ahead_blocks * OBV_SOURCE_BLOCK_MAX;
        uint8_t *memory = malloc(cap);
        if (!memory)
            return obv_fail(err, OBV_E_NOMEM, 0, "%zu bytes for macroblocks", cap);
        pg->batch = obv_buf_fixed(memory, cap);
    }
    pg->batch.len = 0;
    pg->batch.failed = false;
    pg->batch_at = 0;
    obv_buf arg = obv_buf_heap(OBV_RPC_REQUEST_MAX);
    obv_rpc_put_macro_blocks_arg(&arg, pg->tables[pg->ref_table]->choice.key_bytes, pg->refs + pg->ref_at,
                                 pg->ref_count - pg->ref_at);
    obv_code code = obv_buf_check(&arg, "list of macroblocks", err);
    if (code == OBV_OK)
        code = obv_observer_rpc_stream(o->rpc, OBV_RPC_MACRO_BLOCKS, obv_buf_span(&arg), pg->cancel, &pg->batch, err);
    obv_buf_fini(&arg);
    pg->read_any |= code == OBV_OK;
    if (code == OBV_E_PG_CHANGED && err->sys == -4016) {
        pg->unfit = true;
        if (obv_observer_suspect(o, &pg->key))
            code = err->code = OBV_E_INTERNAL; /* twice in a row is no coincidence with a merge */
    }
    pg->fetched = code == OBV_OK;
    return code;
}

static obv_code check_identity(const obv_observer_table *t, const obv_rpc_block_ref *ref, const obv_macro_meta *m,
                               obv_err *err)
{
    const bool is_lob = (uint64_t)ref->index >= t->base.meta.macro_block_count;
    const bool kind_fits =
        is_lob ? m->attr == OBV_MACRO_LOB_DATA || m->attr == OBV_MACRO_LOB_INDEX : m->attr == OBV_MACRO_SSTABLE_DATA;
    if (!kind_fits || m->data_version != ref->data_version || m->data_seq != ref->data_seq ||
        m->table_id != t->choice.key.table_id)
        return obv_fail(err, OBV_E_CORRUPT, 0,
                        "another block than was asked for: kind %d, version %" PRId64 ", sequence %" PRId64
                        ", table %" PRIu64,
                        m->attr, m->data_version, m->data_seq, m->table_id);
    return OBV_OK;
}

/* The block at batch_at: parsed, checked; *used = its bytes in the batch. */
static obv_code take_block(const obv_source_pg *pg, obv_span *meta, obv_span *data, size_t *used, obv_err *err)
{
    const obv_observer_table *t = pg->tables[pg->ref_table];
    const obv_span rest = {pg->batch.data + pg->batch_at, pg->batch.len - pg->batch_at};
    obv_macro_meta m;
    obv_macro_schema schema;
    size_t meta_len = 0;
    size_t schema_len = 0;
    OBV_TRY(obv_macro_meta_parse(rest, &m, &meta_len, err));
    OBV_TRY(obv_macro_schema_parse((obv_span){rest.p + meta_len, rest.len - meta_len}, &schema, &schema_len, err));
    const size_t head = meta_len + schema_len;
    if (head > OBV_MACRO_META_MAX || (size_t)m.occupy_size > rest.len - head)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%d bytes of a block were due, %zu came", (int)m.occupy_size,
                        rest.len - head);
    const obv_span block = {rest.p + head, (size_t)m.occupy_size};
    OBV_TRY(check_identity(t, &pg->refs[pg->ref_at], &m, err));
    OBV_TRY(obv_macro_block_check(&m, &schema, block, err));
    *meta = (obv_span){rest.p, head};
    *data = block;
    *used = head + block.len;
    if (pg->ref_at + 1 == pg->ref_count && *used != rest.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%zu bytes behind the last block", rest.len - *used);
    return OBV_OK;
}

static obv_code next_block(obv_source_pg *pg, uint8_t *buf, obv_source_block *out, obv_err *err)
{
    if (pg->ref_at == pg->ref_count)
        OBV_TRY(next_refs(pg, err));
    obv_span meta = {0};
    obv_span data = {0};
    size_t used = 0;
    for (;;) {
        if (!pg->fetched)
            OBV_TRY(fetch(pg, err));
        const obv_code code = take_block(pg, &meta, &data, &used, err);
        if (code == OBV_OK)
            break;
        if (pg->again)
            return code;
        pg->again = true; /* memory or transport may have done it: once more from the server */
        pg->fetched = false;
    }
    const obv_rpc_block_ref *ref = &pg->refs[pg->ref_at];
    memcpy(buf, meta.p, meta.len);
    memcpy(buf + meta.len, data.p, data.len);
    *out = (obv_source_block){.table = (uint32_t)pg->ref_table,
                              .index = (uint64_t)ref->index,
                              .data_version = ref->data_version,
                              .data_seq = ref->data_seq,
                              .meta = {buf, meta.len},
                              .data = {buf + meta.len, data.len}};
    pg->batch_at += used;
    pg->ref_at++;
    pg->again = false;
    return OBV_OK;
}

obv_code obv_observer_next_block(obv_source_pg *pg, uint8_t *buf, size_t cap, obv_source_block *out, obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    obv_err local = {0};
    if (cap < OBV_SOURCE_BLOCK_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "a buffer of %zu bytes for a macroblock", cap);
    const obv_code code = next_block(pg, buf, out, &local);
    if (code == OBV_OK)
        return OBV_OK;
    if (err)
        *err = local;
    if (code == OBV_E_NOT_FOUND)
        return code;
    const size_t t = pg->ref_table < pg->table_count ? pg->ref_table : 0;
    return obv_wrap(err ? err : &local, "PG %s, index %" PRIu64 ", block %" PRId64, obv_pg_key_text(&pg->key, text),
                    pg->table_count ? pg->tables[t]->choice.key.table_id : 0,
                    pg->ref_at < pg->ref_count ? pg->refs[pg->ref_at].index : -1);
}

obv_code obv_observer_seek(obv_source_pg *pg, uint32_t table, uint64_t index, obv_err *err)
{
    if (table >= pg->table_count || index >= pg->tables[table]->base.pair_count)
        return obv_fail(err, OBV_E_INVAL, 0, "no block %" PRIu64 " in sstable %u", index, table);
    pg->tables[table]->base.pairs = pg->tables[table]->first_pair;
    for (uint64_t i = 0; i < index; i++) {
        int64_t data_version = 0;
        int64_t data_seq = 0;
        OBV_TRY(obv_rpc_next_pair(&pg->tables[table]->base.pairs, &data_version, &data_seq, err));
    }
    pg->at_table = table;
    pg->next_index = index;
    pg->ref_at = pg->ref_count = 0;
    pg->fetched = false;
    pg->again = false;
    return OBV_OK;
}
