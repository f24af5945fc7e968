/* old_layouts.h - what OceanBase before 3.1 wrote (compatible 1 and 2): read, never written (docs/format.md, "Older
 * sets")
 *
 * A PG has one record of type 0, and of types 1 to 3 one each a partition; its macroblock index names the index table
 * in every entry and has no table keys. Parsers allocate nothing.
 */
#ifndef OBV_FORMAT_MEDIA_OLD_LAYOUTS_H
#define OBV_FORMAT_MEDIA_OLD_LAYOUTS_H

#include "format/media/macro_index.h"
#include "format/media/meta_records.h"

#define OBV_COMPATIBLE_V1 1 /* 2.2.60: backup_set_<full>/backup_<n>, increments in their full's folder */
#define OBV_COMPATIBLE_V2 2 /* 2.2.77: a folder a set; the PG's files still flat, metas still of four types */

/* ObBackupMetaType of these layouts; a body of type 0 is what obv_pg_meta_parse reads */
enum obv_old_meta_type {
    OBV_OLD_META_PG = 0,
    OBV_OLD_META_PARTITION = 1,
    OBV_OLD_META_SSTABLES = 2,
    OBV_OLD_META_TABLE_KEYS = 3,
};

/** Body of type 1: ObPartitionStoreMeta, of which a restore takes what the newer store meta has too. */
OBV_CHECK obv_code obv_old_store_meta_parse(obv_span body, obv_partition_store_meta *out, obv_err *err);

/* Bodies of types 2 and 3: a raw count, then that many items. The i-th key belongs to the i-th sstable. */
typedef struct obv_old_list {
    size_t count;
    size_t taken;
    obv_rd items;
} obv_old_list;
OBV_CHECK obv_code obv_old_list_parse(obv_span body, obv_old_list *out, obv_err *err);
/** Next item; with the last one nothing may be left over. OBV_E_NOT_FOUND behind it. */
OBV_CHECK obv_code obv_old_list_sstable(obv_old_list *l, obv_sstable_meta *out, obv_err *err);
OBV_CHECK obv_code obv_old_list_table_key(obv_old_list *l, obv_table_key *out, obv_err *err);

/* ObBackupMacroIndex */
typedef struct obv_old_macro_entry {
    uint64_t table_id; /* of the partition */
    int64_t partition_id;
    uint64_t index_table_id;
    obv_macro_entry at; /* index: in the index table, across all files of the PG */
} obv_old_macro_entry;
typedef int obv_old_macro_index_fn(void *ctx, const obv_old_macro_entry *e);
/**
 * One whole index file; non-0 stops with OBV_E_CANCELLED. Whether indexes go on without a gap is the caller's to judge:
 * a later file may repeat what an earlier one had. OBV_E_CORRUPT.
 */
OBV_CHECK obv_code obv_old_macro_index_each(obv_span file, obv_old_macro_index_fn *fn, void *ctx, obv_err *err);

#endif
