/* arguments and results of the five read calls */
#include "format/ob/storage_rpc.h"

#include <inttypes.h>

enum { REPLICA_FULL = 0, COMPAT_VERSION = 2 };
#define RECOVERY_KEYS_MAX 4096u
#define TABLE_KEYS_MAX (OBV_PARTITION_TABLES_MAX * 16u)
#define PAIR_MIN 8u /* envelope and two varints */

/* ---- arguments */

void obv_rpc_put_pg_info_arg(obv_buf *b, const obv_pg_key *pg)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_pkey(b, pg);
    obv_put_vi32(b, REPLICA_FULL); /* another type would give a position that is not in the sstables */
    obv_put_u8(b, 0);              /* use_slave_safe_read_ts: not supported by the server */
    obv_put_vi64(b, COMPAT_VERSION);
    obv_unis_end(b, mark);
}

void obv_rpc_put_pg_partitions_arg(obv_buf *b, const obv_pg_key *pg, int64_t snapshot_version, int64_t log_ts)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_pkey(b, pg);
    obv_put_vi64(b, snapshot_version);
    obv_put_u8(b, 0); /* is_only_major_sstable */
    obv_put_vi64(b, log_ts);
    obv_unis_end(b, mark);
}

void obv_rpc_put_recovery_meta_arg(obv_buf *b, const obv_pg_key *pg, int64_t snapshot_version, int32_t type)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_pkey(b, pg);
    obv_put_vu64(b, 1);
    const size_t key = obv_unis_begin(b, 1);
    obv_put_vi64(b, snapshot_version);
    obv_put_vi32(b, type);
    obv_unis_end(b, key);
    obv_unis_end(b, mark);
}

void obv_rpc_put_base_meta_arg(obv_buf *b, obv_span table_key)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_span(b, table_key);
    obv_unis_end(b, mark);
}

void obv_rpc_put_macro_blocks_arg(obv_buf *b, obv_span table_key, const obv_rpc_block_ref *refs, size_t n)
{
    const size_t mark = obv_unis_begin(b, 2);
    obv_put_span(b, table_key);
    obv_put_vu64(b, n);
    for (size_t i = 0; i < n; i++) {
        const size_t ref = obv_unis_begin(b, 2);
        obv_put_vi64(b, refs[i].index);
        obv_put_version(b, refs[i].data_version);
        obv_put_vi64(b, refs[i].data_seq);
        obv_unis_end(b, ref);
    }
    obv_unis_end(b, mark);
}

/* ---- results */

obv_code obv_rpc_pg_info_parse(obv_span rest, obv_rpc_pg_info *out, obv_err *err)
{
    obv_rd top = obv_rd_of(rest);
    obv_rd r = obv_rd_unis(&top, 1);
    obv_rpc_pg_info info;
    info.pg_meta = obv_rd_unis_span(&r, 1);
    info.major_version = obv_rd_version(&r);
    info.is_log_sync = obv_rd_bool(&r);
    const size_t keys = obv_rd_count(&r, RECOVERY_KEYS_MAX, 8);
    for (size_t i = 0; i < keys && !r.bad; i++) {
        obv_rd_item(&r);
        obv_rd_skip_words(&r, 2);
    }
    info.pg_file_id = obv_rd_vi64(&r);
    (void)obv_rd_vi64(&r); /* compat_version */
    top.bad |= r.bad;
    OBV_TRY(obv_rd_done(&top, "PG info", err));
    *out = info;
    return OBV_OK;
}

obv_code obv_rpc_next_partition(obv_rd *stream, obv_rpc_partition *out, obv_err *err)
{
    OBV_TRY(obv_rd_check(stream, "partition info", err));
    if (obv_rd_left(stream) == 0)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no more partitions");
    obv_rd r = obv_rd_unis(stream, 2);
    obv_rpc_partition p;
    obv_rd_partition_store_meta(&r, &p.store);
    p.index_count = obv_rd_count(&r, OBV_PARTITION_TABLES_MAX, 1);
    p.index_ids = r;
    for (size_t i = 0; i < p.index_count && !r.bad; i++) {
        obv_rd_item(&r);
        (void)obv_rd_vu64(&r);
    }
    const size_t infos = obv_rd_count(&r, OBV_PARTITION_TABLES_MAX, 6);
    p.table_infos = r;
    for (size_t i = 0; i < infos && !r.bad; i++) {
        obv_rd_item(&r);
        (void)obv_rd_unis(&r, 2);
    }
    stream->bad |= r.bad || obv_rd_left(&r) != 0;
    OBV_TRY(obv_rd_check(stream, "partition info", err));
    if (infos != p.index_count || infos == 0) /* a partition has its own table at least */
        return obv_fail(err, OBV_E_CORRUPT, 0, "partition info: %zu indexes, but tables of %zu", p.index_count, infos);
    *out = p;
    return OBV_OK;
}

static void skip_keys(obv_rd *r, size_t n)
{
    obv_table_key key;
    for (size_t i = 0; i < n && !r->bad; i++) {
        obv_rd_item(r);
        obv_rd_table_key(r, &key);
    }
}

obv_code obv_rpc_next_table_info(obv_rd *infos, obv_rpc_table_info *out, obv_err *err)
{
    obv_rd r = obv_rd_unis(infos, 2);
    obv_rpc_table_info t;
    t.key_count = obv_rd_count(&r, TABLE_KEYS_MAX, 6);
    t.keys = r;
    skip_keys(&r, t.key_count);
    t.multi_version_start = obv_rd_vi64(&r);
    t.ready_for_read = obv_rd_bool(&r);
    skip_keys(&r, obv_rd_count(&r, TABLE_KEYS_MAX, 6)); /* tables that wait for deletion are not wanted */
    infos->bad |= r.bad || obv_rd_left(&r) != 0;
    OBV_TRY(obv_rd_check(infos, "table info", err));
    *out = t;
    return OBV_OK;
}

obv_code obv_rpc_base_meta_parse(obv_span stream, obv_rpc_base_meta *out, obv_err *err)
{
    obv_rd r = obv_rd_of(stream);
    obv_rpc_base_meta m;
    obv_rd_sstable_meta(&r, &m.meta);
    m.pair_count = obv_rd_count(&r, OBV_SSTABLE_BLOCKS_MAX, PAIR_MIN);
    OBV_TRY(obv_rd_check(&r, "sstable base meta", err));
    OBV_TRY(obv_sstable_meta_check(&m.meta, err));
    if (m.pair_count != obv_sstable_meta_blocks(&m.meta))
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable base meta: %" PRIu64 " blocks, but a list of %" PRIu64,
                        obv_sstable_meta_blocks(&m.meta), m.pair_count);
    m.pairs = r;
    *out = m;
    return OBV_OK;
}

obv_code obv_rpc_next_pair(obv_rd *pairs, int64_t *data_version, int64_t *data_seq, obv_err *err)
{
    obv_rd r = obv_rd_unis(pairs, 1);
    const int64_t version = obv_rd_vi64(&r);
    const int64_t seq = obv_rd_vi64(&r);
    pairs->bad |= r.bad;
    OBV_TRY(obv_rd_check(pairs, "list of blocks", err));
    *data_version = version;
    *data_seq = seq;
    return OBV_OK;
}

obv_code obv_rpc_next_recovery_meta(obv_rd *stream, obv_rpc_recovery_meta *out, obv_err *err)
{
    OBV_TRY(obv_rd_check(stream, "recovery point metas", err));
    if (obv_rd_left(stream) == 0)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no more recovery points");
    obv_rd r = obv_rd_unis(stream, 1);
    obv_rpc_recovery_meta m;
    m.pg_meta = obv_rd_unis_span(&r, 1);
    m.partition_count = obv_rd_count(&r, OBV_PG_PARTITIONS_MAX, 6);
    m.partitions = r;
    for (size_t i = 0; i < m.partition_count && !r.bad; i++) {
        obv_rd_item(&r);
        (void)obv_rd_unis(&r, 2);
    }
    m.key_count = obv_rd_count(&r, TABLE_KEYS_MAX, 6);
    m.keys = r;
    skip_keys(&r, m.key_count);
    stream->bad |= r.bad;
    OBV_TRY(obv_rd_check(stream, "recovery point metas", err));
    *out = m;
    return OBV_OK;
}
