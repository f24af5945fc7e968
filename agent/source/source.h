/* source.h - where PG data comes from: one interface, several drivers (design: observer RPC, native tree)
 *
 * Order of calls for one PG: open, metas, (seek,) next_block until OBV_E_NOT_FOUND, close. What OceanBase authored
 * reaches the caller as validated spans, byte for byte. Codes: OBV_E_PG_CHANGED start this PG again; OBV_E_PG_GONE not
 * here; OBV_E_CORRUPT; retryable ones (>= 64) for the same call.
 */
#ifndef OBV_AGENT_SOURCE_SOURCE_H
#define OBV_AGENT_SOURCE_SOURCE_H

#include "base/cancel.h"
#include "base/err.h"
#include "base/span.h"
#include "format/ob/pg_key.h"

#include <stdbool.h>

typedef struct obv_source obv_source;       /* one server */
typedef struct obv_source_pg obv_source_pg; /* one PG being copied */

enum obv_area { OBV_AREA_MAJOR = 0, OBV_AREA_MINOR = 1 }; /* major_data; minor_data (minors, minis, trans sstable) */

/* One sstable that belongs to the copy, in the order of the PG's metas. Spans live until close. */
typedef struct obv_source_table {
    enum obv_area area;
    obv_span table_key;    /* serialized ObITable::TableKey */
    obv_span sstable_meta; /* serialized ObSSTableBaseMeta */
    uint64_t index_id;
    uint32_t partition;   /* index into partitions */
    uint64_t block_count; /* data + LOB blocks */
    uint64_t row_count, occupy_bytes;
} obv_source_table;

typedef struct obv_source_partition {
    obv_span store_meta; /* serialized ObPGPartitionStoreMeta */
    bool is_trans;       /* the PG's transaction-state partition */
} obv_source_partition;

typedef struct obv_source_metas {
    obv_span pg_meta; /* serialized ObPartitionGroupMeta as the server gave it; rewritten by format/media at the end */
    const obv_source_partition *partitions;
    size_t partition_count;
    const obv_source_table *tables;
    size_t table_count;
    /* facts that jobs need, parsed from the above */
    uint64_t last_replay_log_id;      /* clog_info */
    int64_t last_submit_ts;           /* clog_info */
    int64_t epoch_id;                 /* clog_info */
    int64_t accumulate_checksum;      /* clog_info */
    uint64_t data_last_replay_log_id; /* data_info */
    int64_t data_last_replay_log_ts;  /* data_info */
    int64_t publish_version;          /* data_info */
    int64_t data_schema_version;      /* data_info */
    int64_t lower_bound;              /* restorable-set rule A3 (f) */
    int64_t max_table_schema_version; /* over tables with snapshot >= publish_version */
    size_t indexes_left_out;          /* not ready for reading on this server; wrong if the schema says AVAILABLE */
} obv_source_metas;

/* One macroblock in the caller's buffer. */
typedef struct obv_source_block {
    uint32_t table; /* index into tables */
    uint64_t index; /* macro order within the table */
    int64_t data_version, data_seq;
    obv_span meta; /* ObMacroBlockMetaV2 + ObMacroBlockSchemaInfo, as served */
    obv_span data; /* the macroblock, occupy_size bytes */
} obv_source_block;

typedef struct obv_source_ops {
    const char *name;
    /** Reads and checks everything but blocks; STABLE by restorable-set rule A3 (a) or OBV_E_PG_CHANGED. */
    obv_code (*open_pg)(obv_source *s, const obv_pg_key *pg, const obv_cancel *c, obv_source_pg **out, obv_err *err);
    const obv_source_metas *(*metas)(const obv_source_pg *pg);
    /**
     * Next macroblock in order of tables, then index, validated (observer-store 1.10), copied into buf, which must hold
     * OBV_SOURCE_BLOCK_MAX bytes. OBV_E_NOT_FOUND after the last. Reads ahead only into memory reserved beforehand.
     */
    obv_code (*next_block)(obv_source_pg *pg, uint8_t *buf, size_t cap, obv_source_block *out, obv_err *err);
    /**
     * The next block given is this one, the others follow in order. Any table and any index below its block_count, also
     * backwards; what was read ahead is dropped. So a copy takes one area after the other, and after a restart only
     * what is not stored yet. OBV_E_INVAL: no such block.
     */
    obv_code (*seek)(obv_source_pg *pg, uint32_t table, uint64_t index, obv_err *err);
    void (*close_pg)(obv_source_pg *pg);
    void (*close)(obv_source *s);
} obv_source_ops;

#define OBV_SOURCE_BLOCK_MAX ((2u << 20) + (256u << 10)) /* bytes: 2 MiB block and its metas */

struct obv_source {
    const obv_source_ops *ops;
};

#endif
