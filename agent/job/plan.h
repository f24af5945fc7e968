/* plan.h - which sstables one copy of a PG consists of, in the order of the source, and where each block was put
 *
 * The plan is made when the PG is opened and kept in the journal: a later process goes on only when the PG, opened
 * anew, gives the same plan; the index files can be made from it without the source.
 */
#ifndef OBV_AGENT_JOB_PLAN_H
#define OBV_AGENT_JOB_PLAN_H

#include "job/task.h"
#include "source/source.h"

typedef struct obv_plan_table {
    enum obv_area area;
    uint64_t blocks; /* to be stored by this copy: none if an earlier pass lists the table */
    obv_span key;    /* serialized TableKey, into obv_plan.bytes */
} obv_plan_table;

typedef struct obv_plan {
    obv_buf bytes; /* local form, for the journal */
    obv_plan_table *tables;
    size_t count;
    uint64_t blocks[2];          /* by enum obv_area */
    uint64_t listed;             /* blocks that earlier passes have stored; only obv_plan_make sets it */
    uint8_t digest[OBV_SHA_LEN]; /* over keys, block counts and sstable metas; only obv_plan_make sets it */
} obv_plan;

/* What an earlier pass of the PG lists: its blocks are there, and the sstable's meta is the one that came with them. */
typedef struct obv_listed_table {
    obv_span key, sstable_meta;
    uint64_t blocks;
} obv_listed_table;
/** @param listed for each table of m, NULL where no earlier pass lists it. OBV_E_LIMIT, OBV_E_NOMEM. */
OBV_CHECK obv_code obv_plan_make(const obv_source_metas *m, const obv_listed_table *const *listed, obv_plan *out,
                                 obv_err *err);
/** From a plan's bytes, which are copied. OBV_E_CORRUPT. */
OBV_CHECK obv_code obv_plan_parse(obv_span bytes, obv_plan *out, obv_err *err);
void obv_plan_fini(obv_plan *p);

/** Table and index of the block at position @p at of an area (0 .. blocks[area] - 1). */
void obv_plan_locate(const obv_plan *p, enum obv_area area, uint64_t at, uint32_t *table, uint64_t *index);
/** The next table of the area that has blocks, from @p table on; count if there is none. */
uint32_t obv_plan_next_table(const obv_plan *p, enum obv_area area, uint32_t table);

/* One stored block. Local form, written to the journal as it is. */
typedef struct obv_plan_entry {
    uint64_t table; /* index into the plan's tables */
    uint64_t index; /* in the table */
    int64_t data_version, data_seq;
    uint64_t offset, len; /* in the file */
} obv_plan_entry;

#endif
