/* observer_priv.h - what the files of the observer driver share */
#ifndef OBV_AGENT_SOURCE_OBSERVER_PRIV_H
#define OBV_AGENT_SOURCE_OBSERVER_PRIV_H

#include "source/observer.h"
#include "source/observer_choice.h"
#include "source/observer_rpc.h"

#include <pthread.h>

#define OBV_OBSERVER_INFO_MAX (8u << 20)        /* bytes of a PG info answer */
#define OBV_OBSERVER_PARTITIONS_MAX (64u << 20) /* bytes of all partition infos of a PG */
#define OBV_OBSERVER_PG_TABLES_MAX (1u << 20)   /* sstables of one PG */
#define OBV_OBSERVER_REFS_MAX 128u              /* blocks that one request may name */
#define OBV_OBSERVER_SUSPECTS 256u

typedef struct obv_observer {
    obv_source base;
    obv_observer_config cfg;
    uint32_t ip; /* host order */
    obv_observer_rpc *rpc;
    pthread_mutex_t lock;
    obv_pg_key suspects[OBV_OBSERVER_SUSPECTS]; /* PGs whose last copy ended with a block that did not fit; ring */
    size_t suspect_at;
} obv_observer;

/* One chosen sstable. */
typedef struct obv_observer_table {
    obv_buf stream;         /* answer of the base meta call; base and its spans point into it */
    obv_rpc_base_meta base; /* its pairs are read as blocks are named */
    obv_rd first_pair;      /* where they begin */
    obv_choice_table choice;
    uint32_t partition;
} obv_observer_table;

struct obv_source_pg {
    obv_observer *o;
    const obv_cancel *cancel; /* the caller's, valid until close */
    obv_pg_key key;
    obv_buf info; /* PG info; pg points into it */
    obv_pg_meta pg;
    obv_buf partitions; /* partition infos; store metas and table keys point into it */
    obv_observer_table **tables;
    size_t table_count, table_cap;
    size_t metas_left; /* bytes that block lists and metas may still take */
    obv_source_metas metas;
    obv_source_partition *metas_partitions;
    obv_source_table *metas_tables;

    /* blocks: the refs of one request, then their bytes */
    size_t at_table;      /* sstable whose blocks come next */
    uint64_t next_index;  /* of that sstable */
    bool read_any, unfit; /* since open: blocks came; one did not fit */
#ifdef OBV_TEST_FAULTS
    bool position_moved; /* by a seeded bug */
#endif
    obv_rpc_block_ref refs[OBV_OBSERVER_REFS_MAX];
    size_t ref_table, ref_count, ref_at;
    bool fetched; /* batch holds refs[ref_at..ref_count) */
    bool again;   /* the block at ref_at was damaged once and is asked for again */
    obv_buf batch;
    size_t batch_at;
};

/** One PG info call: the answer in @p buf (emptied first), parsed. */
OBV_CHECK obv_code obv_observer_pg_meta(obv_observer *o, const obv_pg_key *pg, const obv_cancel *c, obv_buf *buf,
                                        obv_pg_meta *out, obv_err *err);
OBV_CHECK obv_code obv_observer_open_pg(obv_source *s, const obv_pg_key *pg, const obv_cancel *c, obv_source_pg **out,
                                        obv_err *err);
void obv_observer_close_pg(obv_source_pg *pg);
#ifdef OBV_TEST_FAULTS
void obv_observer_bug_position(obv_source_pg *pg);
#else
#define obv_observer_bug_position(pg) ((void)0)
#endif
OBV_CHECK obv_code obv_observer_next_block(obv_source_pg *pg, uint8_t *buf, size_t cap, obv_source_block *out,
                                           obv_err *err);
OBV_CHECK obv_code obv_observer_seek(obv_source_pg *pg, uint32_t table, uint64_t index, obv_err *err);
/** Remembers that a block of this PG did not fit. @return true when its last copy had already ended so. */
bool obv_observer_suspect(obv_observer *o, const obv_pg_key *pg);
void obv_observer_unsuspect(obv_observer *o, const obv_pg_key *pg);

#endif
