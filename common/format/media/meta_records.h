/* meta_records.h - PG meta records (meta_file_<task>) and their indexes (docs/format.md, "PG meta records") */
#ifndef OBV_FORMAT_MEDIA_META_RECORDS_H
#define OBV_FORMAT_MEDIA_META_RECORDS_H

#include "format/media/block_stream.h"
#include "format/ob/metas.h"

#define OBV_META_TYPE_PG_INFO 4 /* ObBackupMetaType PARTITION_GROUP_META_INFO, the only one that 3.1 writes */
#define OBV_META_HEADER_LEN 24u
/*
 * Bytes of a body: its meta object must fit one block of the media, also after data_info.schema_version has grown from
 * one byte to ten.
 */
#define OBV_PG_RECORD_BODY_MAX (OBV_META_BLOCK_MAX - OBV_COMMON_HEADER_LEN - OBV_META_HEADER_LEN - 4u - 1u - 9u)
#define OBV_META_INDEX_MAX (256u << 20) /* bytes of a merged index: several million PGs */

/* What one record is made of. All spans are carried verbatim. */
typedef struct obv_record_table {
    obv_span sstable_meta; /* ObSSTableBaseMeta */
    obv_span table_key;    /* ObITable::TableKey */
} obv_record_table;
typedef struct obv_record_partition {
    obv_span store_meta; /* ObPGPartitionStoreMeta */
    const obv_record_table *tables;
    size_t table_count;
} obv_record_partition;
typedef struct obv_pg_record {
    obv_span pg_meta; /* ObPartitionGroupMeta */
    const obv_record_partition *partitions;
    size_t partition_count;
} obv_pg_record;

/**
 * Appends the record's body (ObBackupPGMetaInfo) with data_info.schema_version := max(its own, @p schema_version).
 * Checks that every table key names its meta's index. OBV_E_CORRUPT, OBV_E_LIMIT (more than OBV_PG_RECORD_BODY_MAX),
 * OBV_E_INVAL (the PG is being restored: no restore takes it).
 */
OBV_CHECK obv_code obv_put_pg_record_body(obv_buf *out, const obv_pg_record *r, int64_t schema_version, obv_err *err);

/* What becomes of a body that was kept until the set's schema version was known. */
typedef struct obv_record_change {
    int64_t schema_version;  /* data_info.schema_version := max(its own, this) */
    const uint64_t *dropped; /* tables that this schema has no more, ascending: their partitions are left out */
    size_t dropped_count;
} obv_record_change;
typedef struct obv_record_counts { /* of what remains */
    uint32_t partitions;           /* without the transaction-state partition */
    uint64_t blocks;               /* data and LOB blocks of all its sstables */
} obv_record_counts;
/** The same body with a change; all that is not touched by it byte for byte. @p counts may be NULL. */
OBV_CHECK obv_code obv_pg_record_body_rewrite(obv_span body, const obv_record_change *change, obv_record_counts *counts,
                                              obv_buf *out, obv_err *err);
/** Wraps a body as the vstr object of a meta file: varint length, 24-byte header, body, NUL. */
void obv_put_meta_object(obv_buf *out, uint16_t meta_type, obv_span body);

/* reading */
typedef struct obv_meta_object {
    uint16_t meta_type;
    obv_span body;
    size_t total; /* bytes of the whole vstr */
} obv_meta_object;
OBV_CHECK obv_code obv_meta_object_parse(obv_span in, obv_meta_object *out, obv_err *err);
typedef struct obv_pg_record_reader {
    obv_pg_meta pg;
    size_t partition_count;
    obv_rd partitions; /* obv_pg_record_next_partition */
} obv_pg_record_reader;
OBV_CHECK obv_code obv_pg_record_parse(obv_span body, obv_pg_record_reader *out, obv_err *err);
typedef struct obv_pg_record_part {
    obv_partition_store_meta store;
    size_t table_count;
    obv_rd tables; /* obv_pg_record_next_table */
} obv_pg_record_part;
OBV_CHECK obv_code obv_pg_record_next_partition(obv_pg_record_reader *r, obv_pg_record_part *out, obv_err *err);
OBV_CHECK obv_code obv_pg_record_next_table(obv_pg_record_part *p, obv_sstable_meta *meta, obv_table_key *key,
                                            obv_err *err);

/* ---- meta index */
typedef struct obv_meta_index {
    uint32_t meta_type;
    obv_pg_key pg;        /* emitting: table id and 64-bit partition id are taken from it */
    uint64_t table_id;    /* parsed */
    int64_t partition_id; /* parsed */
    uint64_t offset, len; /* of the vstr in meta_file_<task_id> */
    int64_t task_id;
} obv_meta_index;
void obv_put_meta_index(obv_buf *b, const obv_meta_index *e);
OBV_CHECK obv_code obv_meta_index_next(obv_rd *payload, obv_meta_index *out, obv_err *err);

/* meta_file_<task> and meta_index_file_<task> together: add records in order, then end */
typedef struct obv_meta_files {
    int64_t task_id;
    obv_block_writer meta, index;
} obv_meta_files;
obv_meta_files obv_meta_files_of(int64_t task_id);
void obv_meta_files_fini(obv_meta_files *f);
/** Adds one PG's finished body; *entry (may be NULL) = its line for the merged index. */
OBV_CHECK obv_code obv_meta_files_add(obv_meta_files *f, const obv_pg_key *pg, obv_span body, obv_buf *meta_out,
                                      obv_buf *index_out, obv_meta_index *entry, obv_err *err);
OBV_CHECK obv_code obv_meta_files_end(obv_meta_files *f, obv_buf *meta_out, obv_buf *index_out, obv_err *err);

/** The merged meta_index_file of a set: one unaligned block and a bare end mark. Entries in the caller's order. */
OBV_CHECK obv_code obv_put_merged_meta_index(obv_buf *b, const obv_meta_index *entries, size_t n, obv_err *err);
/** Calls @p fn for each entry of a per-task or merged index file; non-0 stops with OBV_E_CANCELLED. */
typedef int obv_meta_index_fn(void *ctx, const obv_meta_index *e);
OBV_CHECK obv_code obv_meta_index_file_each(obv_span file, obv_meta_index_fn *fn, void *ctx, obv_err *err);

#endif
