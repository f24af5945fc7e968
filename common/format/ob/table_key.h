/* table_key.h - ObITable::TableKey: which sstable of which partition (docs/format.md, "Table keys") */
#ifndef OBV_FORMAT_OB_TABLE_KEY_H
#define OBV_FORMAT_OB_TABLE_KEY_H

#include "format/ob/keys.h"

enum obv_table_type {
    OBV_TABLE_MEMTABLE = 0,
    OBV_TABLE_MAJOR = 1,
    OBV_TABLE_MINOR_OLD = 2, /* obsolete in 3.1 */
    OBV_TABLE_TRANS = 3,
    OBV_TABLE_MV_MINOR = 4,
    OBV_TABLE_COMPLEMENT_MINOR = 5,
    OBV_TABLE_SPARSE_MINOR = 6,
    OBV_TABLE_MINI_MINOR = 7,
};

typedef struct obv_table_key {
    int32_t type;
    obv_pg_key pkey;   /* the partition */
    uint64_t table_id; /* the index, for a local index not the partition's table */
    obv_version_range versions;
    int64_t version; /* ObVersion of a major */
    obv_log_ts_range log_ts;
} obv_table_key;

void obv_rd_table_key(obv_rd *r, obv_table_key *out);
void obv_put_table_key(obv_buf *b, const obv_table_key *k);
/** All of @p s must be one key. OBV_E_CORRUPT. */
OBV_CHECK obv_code obv_table_key_parse(obv_span s, obv_table_key *out, obv_err *err);
bool obv_table_key_equal(const obv_table_key *a, const obv_table_key *b);
/** True for the minor family: 2, 4, 5, 6, 7. */
bool obv_table_type_is_minor(int32_t type);
/** True for what lies in major_data: type MAJOR. Everything else lies in minor_data. */
static inline bool obv_table_type_is_major(int32_t type) { return type == OBV_TABLE_MAJOR; }

#endif
