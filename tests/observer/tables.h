/* tables.h - what creating a table and changing one share (tables.c, ddl.c) */
#ifndef OBS_TABLES_H
#define OBS_TABLES_H

#include "schema.h"

/** Next free low id in [first, end), never given twice; 0: none left. */
uint64_t next_id(struct host *h, uint64_t tenant, uint64_t first, uint64_t end);
/** A new table's JSON (CONTRACT.md 5) without partitions. */
json_t *table_json(uint64_t low, const char *name, int type, enum compressor comp);
/** JSON of a new local index that is not AVAILABLE yet. */
json_t *index_json(uint64_t index, uint64_t table, enum compressor comp);
/** The same for a global index, which has partitions and PGs of its own. */
json_t *global_index_json(uint64_t index, uint64_t table, enum compressor comp, int parts);

struct part_seed { /* what a new partition of a table is made from */
    uint64_t tenant, low;
    enum compressor comp;
    int64_t version; /* schema version */
    int index_type;  /* 3: a global index */
    uint64_t index[PART_INDEXES];
    int n_index;
};
struct shm_part make_part(const struct part_seed *s, struct pkey key);

/** Partitions (with PGs, or as members of a tablegroup's PGs) for every id in the table's list. */
int make_partitions(struct host *h, const json_t *table, const struct part_seed *seed, fill_fn fill, void *arg);

#endif
