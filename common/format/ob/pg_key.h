/* pg_key.h - a partition group's key: OceanBase's three words and what they mean (docs/format.md, "Partition keys") */
#ifndef OBV_FORMAT_OB_PG_KEY_H
#define OBV_FORMAT_OB_PG_KEY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct obv_pg_key {
    uint64_t table_id; /* table, or tablegroup of a PG of several tables; the tenant is in the top 24 bits */
    int32_t part_id;
    int32_t assist; /* part_cnt of a one-level key; the second word of a two-level one */
} obv_pg_key;

static inline uint64_t obv_pg_key_tenant(const obv_pg_key *k) { return k->table_id >> 40; }

/** True when bit 28 to 31 are set in both words: the 64-bit partition id spans both. */
static inline bool obv_pg_key_is_two_level(const obv_pg_key *k)
{
    return (k->part_id & (int32_t)0xf0000000) != 0 && (k->assist & (int32_t)0xf0000000) != 0;
}

/** The 64-bit partition id of file names and SQL. */
static inline int64_t obv_pg_key_partition_id(const obv_pg_key *k)
{
    if (!obv_pg_key_is_two_level(k))
        return k->part_id;
    return (int64_t)((uint64_t)(uint32_t)k->part_id << 32 | (uint32_t)k->assist);
}

static inline bool obv_pg_key_equal(const obv_pg_key *a, const obv_pg_key *b)
{
    return a->table_id == b->table_id && a->part_id == b->part_id && a->assist == b->assist;
}

/** Sys tables (low 40 bits of the table id in 1..10000) go to sys_pg_list. */
static inline bool obv_pg_key_is_sys(const obv_pg_key *k)
{
    const uint64_t low = k->table_id & ((UINT64_C(1) << 40) - 1);
    return low >= 1 && low <= 10000;
}

#endif
