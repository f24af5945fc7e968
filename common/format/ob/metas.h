/* metas.h - PG, partition and sstable metas: the facts we use, and where the bytes lie (docs/format.md, "Metas")
 *
 * What OceanBase authored is carried verbatim: parsers check the framing, give the facts and spans into the input.
 * Nothing is allocated; arrays are read through iterators with capped counts. OBV_E_CORRUPT on anything that does not
 * fit, OBV_E_UNSUPPORTED for a version that 3.1 does not read.
 */
#ifndef OBV_FORMAT_OB_METAS_H
#define OBV_FORMAT_OB_METAS_H

#include "format/ob/table_key.h"

#define OBV_PG_PARTITIONS_MAX 65536u   /* members of one PG */
#define OBV_PARTITION_TABLES_MAX 4096u /* sstables of one index, and indexes of one partition */
#define OBV_SSTABLE_COLUMNS_MAX 8192u
#define OBV_SSTABLE_BLOCKS_MAX 67108864u /* 128 TiB of one sstable */

/* ---- ObPartitionGroupMeta */

typedef struct obv_clog_info { /* ObBaseStorageInfo: where replay begins */
    int64_t epoch_id;
    obv_proposal_id proposal_id;
    uint64_t last_replay_log_id;
    int64_t last_submit_ts;
    int64_t accumulate_checksum;
    int64_t replica_num;
    int64_t membership_ts;
    uint64_t membership_log_id;
    obv_member_list members;
} obv_clog_info;

typedef struct obv_data_info { /* ObDataStorageInfo: what the sstables hold (X of the copy rules) */
    uint64_t last_replay_log_id;
    int64_t publish_version;
    int64_t schema_version;
    bool created_by_minor_freeze;
    int64_t last_replay_log_ts;
} obv_data_info;

typedef struct obv_pg_meta {
    obv_pg_key key;
    int16_t is_restore; /* 0 = REPLICA_NOT_RESTORE */
    int32_t replica_type;
    int64_t split_state;
    int32_t migrate_status;
    obv_clog_info clog;
    obv_data_info data;
    obv_span partitions; /* partition_count keys of OBV_PKEY_LEN bytes */
    size_t partition_count;
    size_t partitions_at; /* offset in bytes of their count */
    int64_t create_schema_version, create_timestamp;
    obv_span bytes;             /* the whole object */
    size_t schema_version_at;   /* offset in bytes of the varint data.schema_version */
    size_t enclosing_len_at[3]; /* offsets of the lengths of the envelopes around it: meta, storage_info, data_info */
    uint64_t enclosing_body_len[3];
} obv_pg_meta;

OBV_CHECK obv_code obv_pg_meta_parse(obv_span s, obv_pg_meta *out, obv_err *err);
obv_pg_key obv_pg_meta_partition(const obv_pg_meta *m, size_t i);
/** The same object with data_info.schema_version := @p v; every other byte as it was but the lengths around it. */
OBV_CHECK obv_code obv_pg_meta_put_schema_version(const obv_pg_meta *m, int64_t v, obv_buf *out, obv_err *err);
/** The same, and with these partitions (keys of OBV_PKEY_LEN bytes) instead of its own. */
OBV_CHECK obv_code obv_pg_meta_put_changed(const obv_pg_meta *m, int64_t v, obv_span partitions, obv_buf *out,
                                           obv_err *err);

/* ---- ObPGPartitionStoreMeta (version 2) */

typedef struct obv_partition_store_meta {
    obv_pg_key pkey;
    int64_t multi_version_start;
    uint64_t data_table_id;
    int64_t create_schema_version, create_timestamp;
    obv_span bytes;
} obv_partition_store_meta;
void obv_rd_partition_store_meta(obv_rd *r, obv_partition_store_meta *out);
OBV_CHECK obv_code obv_partition_store_meta_parse(obv_span s, obv_partition_store_meta *out, obv_err *err);

/* ---- ObSSTableBaseMeta */

typedef struct obv_sstable_meta {
    uint64_t index_id;
    uint64_t row_count, occupy_size;
    int64_t data_checksum, row_checksum, data_version;
    int64_t rowkey_column_count, table_type;
    uint64_t macro_block_count, lob_macro_block_count;
    int64_t column_count;
    int64_t format_version; /* 5 or 6 */
    int64_t schema_version, create_snapshot_version;
    int64_t checksum_method, logical_data_version;
    obv_pg_key pg_key;
    bool contain_uncommitted_row;
    int64_t upper_trans_version, max_merged_trans_version;
    uint64_t end_log_id;
    obv_span column_metas; /* column_meta_count envelopes {column_id, default checksum, checksum} */
    size_t column_meta_count;
    obv_span bytes;
} obv_sstable_meta;
void obv_rd_sstable_meta(obv_rd *r, obv_sstable_meta *out);
/** Parses and applies OceanBase's validity rules (counts not negative, column counts agree, format version 5 or 6). */
OBV_CHECK obv_code obv_sstable_meta_parse(obv_span s, obv_sstable_meta *out, obv_err *err);
OBV_CHECK obv_code obv_sstable_meta_check(const obv_sstable_meta *m, obv_err *err);
static inline uint64_t obv_sstable_meta_blocks(const obv_sstable_meta *m)
{
    return m->macro_block_count + m->lob_macro_block_count;
}

#endif
