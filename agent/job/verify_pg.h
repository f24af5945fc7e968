/* verify_pg.h - the folder of one PG in a set while it is verified (verify_pg.c, verify_pg_index.c, verify_pg_blocks.c)
 */
#ifndef OBV_AGENT_JOB_VERIFY_PG_H
#define OBV_AGENT_JOB_VERIFY_PG_H

#include "format/media/macro_index.h"
#include "job/verify_priv.h"

/* A file of the folder. */
typedef struct obv_vpg_file {
    char *key;
    uint64_t size;
    obv_native_name name;
} obv_vpg_file;

/* A table as an index file names it. */
typedef struct obv_vpg_table {
    obv_table_key key;
    bool minor;
    uint64_t total;
    size_t first;              /* of entries */
    const obv_verify_table *m; /* its line of the metas; NULL: superseded by a later pass */
    int64_t pass;
} obv_vpg_table;

typedef struct obv_vpg_entry {
    obv_macro_entry e;
    bool minor;
    bool met, whole;
    uint32_t table;
    int32_t rows, occupy;
    int64_t checksum;
    bool is_data; /* not a LOB block */
} obv_vpg_entry;

typedef struct obv_vpg {
    obv_verify *v;
    obv_verify_set *s;
    const obv_pg_key *key;        /* NULL: no list names it */
    const obv_meta_index *record; /* NULL: the merged index does not name it */
    obv_path dir;                 /* with '/' */
    obv_verify_array files;       /* obv_vpg_file */
    obv_verify_array tables;      /* obv_vpg_table */
    obv_verify_array entries;     /* obv_vpg_entry */
    obv_verify_array order;       /* obv_vpg_entry *, sorted by file and offset */
    obv_verify_pg_facts facts;
    bool has_facts;
    const obv_native_name *home; /* of the older set that the last old block lay in */
    size_t last;                 /* of tables: where the last entry of a flat index went */
    bool index_known[2];         /* major, minor: every index file of the side could be read */
    obv_err err;                 /* of a visitor */
} obv_vpg;

/** False: minor data of another task than the merged index names, or anything of a PG that is not listed. */
bool obv_vpg_is_winner(const obv_vpg *p, const obv_native_name *n);
/** Lists and merged index tell what belongs to the set: the rest is left over from attempts that lost. */
bool obv_vpg_knows_winners(const obv_vpg *p);
/** Index files of both sides: tables and entries. */
OBV_CHECK obv_code obv_vpg_read_indexes(obv_vpg *p, obv_err *err);
/** One index file of a flat set. */
OBV_CHECK obv_code obv_vpg_read_old_index(obv_vpg *p, const obv_vpg_file *f, obv_span file, bool keep, obv_err *err);
/** Names of one side's files, in the layout of the set. */
void obv_vpg_index_key(const obv_vpg *p, bool minor, int64_t pass, obv_path *out);
/** Sorts the entries by place, for obv_vpg_find. */
OBV_CHECK obv_code obv_vpg_make_order(obv_vpg *p, obv_err *err);
/** One block file, every block of it. */
OBV_CHECK obv_code obv_vpg_read_blocks(obv_vpg *p, const obv_vpg_file *f, obv_err *err);
/** Entries whose block was not met. */
OBV_CHECK obv_code obv_vpg_check_met(obv_vpg *p, bool deep, obv_err *err);

#endif
