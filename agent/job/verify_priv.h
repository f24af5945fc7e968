/* verify_priv.h - what the parts of verify share */
#ifndef OBV_AGENT_JOB_VERIFY_PRIV_H
#define OBV_AGENT_JOB_VERIFY_PRIV_H

#include "format/media/archive_infos.h"
#include "format/media/info_files.h"
#include "format/media/meta_records.h"
#include "format/media/old_layouts.h"
#include "job/verify.h"

/* Objects that are not named one by one: their PG's folder is listed again when it is its turn. */
typedef struct obv_verify_pg_dir {
    uint64_t tenant;
    uint64_t group; /* set id, or round */
    int64_t date;   /* of the set */
    int64_t folder; /* of a set of before 2.2.77 */
    bool full;
    uint64_t table;
    int64_t partition;
} obv_verify_pg_dir;

typedef struct obv_verify_small {
    char *key;
    uint64_t size;
    obv_native_name name;
} obv_verify_small;

/* A folder of a round or piece. */
typedef struct obv_verify_piece_dir {
    uint64_t tenant, round, piece, date;
} obv_verify_piece_dir;

/* Where a set's PG begins to need log: what the archive must have at log_id. */
typedef struct obv_verify_wanted {
    uint64_t table;
    int64_t partition;
    uint64_t log_id;
    int64_t accum, submit_ts, epoch_id;
    int64_t set_id;
    int64_t round_hint; /* 0: any round that reaches back far enough */
    bool found;
} obv_verify_wanted;

typedef struct obv_verify_array {
    void *items;
    size_t count, cap;
} obv_verify_array;

typedef struct obv_verify {
    const obv_verify_config *cfg;
    obv_verify_stats *stats;
    obv_native_window window;            /* the one big buffer */
    obv_verify_array small;              /* obv_verify_small, sorted by key */
    obv_verify_array set_pgs, round_pgs; /* obv_verify_pg_dir, sorted, unique */
    obv_verify_array piece_dirs;         /* obv_verify_piece_dir, sorted, unique */
    obv_verify_array wanted;             /* obv_verify_wanted of the tenant at hand */
    size_t prefix_len;                   /* of "CP/" */
    unsigned unreadable_in_a_row;
} obv_verify;

/** One zeroed item more; NULL and OBV_E_NOMEM when memory is out. */
void *obv_verify_add(obv_verify_array *a, size_t item, obv_err *err);
/** Sorts and drops equal neighbours. */
void obv_verify_unique(obv_verify_array *a, size_t item, int (*cmp)(const void *, const void *));

/** Reports. @p key is relative to the root; offset -1: the object as a whole. */
void obv_verify_say(obv_verify *v, enum obv_verify_class c, const char *key, int64_t offset, const char *fmt, ...)
    OBV_PRINTF(5, 6);
/**
 * Makes a finding of a call that failed on @p key: damaged, missing or unreadable.
 * @return OBV_OK: reported, go on; else the run must end (cancelled, out of memory, the storage gives nothing)
 */
OBV_CHECK obv_code obv_verify_judge(obv_verify *v, const char *key, int64_t offset, const obv_err *why, obv_err *err);
/** Whole object. *ok false: it was reported. */
OBV_CHECK obv_code obv_verify_read(obv_verify *v, const char *key, size_t max, obv_buf *out, bool *ok, obv_err *err);
const obv_verify_small *obv_verify_find(const obv_verify *v, const char *key);
OBV_CHECK obv_code obv_verify_cancelled(const obv_verify *v, obv_err *err);

/* ---- parts, in the order of a run */
/** Lists the tree: small, set_pgs, round_pgs, piece_dirs; names that no rule knows. */
OBV_CHECK obv_code obv_verify_names(obv_verify *v, obv_err *err);
/** Every small object by itself (not meta files and their indexes). */
OBV_CHECK obv_code obv_verify_infos(obv_verify *v, obv_err *err);
/** The bytes of one info file. @return OBV_OK; OBV_E_CORRUPT with *at */
OBV_CHECK obv_code obv_verify_info_bytes(const obv_native_name *n, obv_span file, bool ours, size_t *at, obv_err *err);
/** repository.json and what else lies below obvault/. */
OBV_CHECK obv_code obv_verify_own(const char *name, obv_span file, obv_err *err);
/** Info files of sets held against each other, tenant by tenant and with the cluster's. */
OBV_CHECK obv_code obv_verify_set_lists(obv_verify *v, obv_err *err);
/** The same of rounds and pieces. */
OBV_CHECK obv_code obv_verify_round_lists(obv_verify *v, obv_err *err);

/* A set's folder with what its info files say. */
typedef struct obv_verify_set {
    obv_set_id id;
    bool has_info; /* single_backup_set_info could be read */
    bool good;     /* SUCCESS and on media: everything must be there */
    bool flat;     /* compatible 1 or 2: metas of four types, a PG's files directly in its folder */
    obv_set_file_info info;
    obv_pg_key *pgs; /* sys PGs, then the others */
    size_t pg_count, sys_count;
    obv_meta_index *index; /* merged, sorted by (table id, partition id, type) */
    size_t index_count;
    bool has_lists, has_index;
    /* sums over the PGs, for the totals of the info file */
    uint64_t blocks, partitions;
    int64_t least_submit_ts;
    bool metas_complete;
} obv_verify_set;
/** Every set of the tenant. */
OBV_CHECK obv_code obv_verify_sets(obv_verify *v, uint64_t tenant, obv_err *err);
/** Lists, merged index, per-task files of one set. */
OBV_CHECK obv_code obv_verify_set_metas(obv_verify *v, obv_verify_set *s, obv_err *err);
/** Where the PG's own record lies. */
const obv_meta_index *obv_verify_set_entry(const obv_verify_set *s, uint64_t table, int64_t partition);
const obv_meta_index *obv_verify_set_entry_of(const obv_verify_set *s, uint32_t type, uint64_t table,
                                              int64_t partition);
/** Block and index files of one PG's folder; @p key NULL: no list names it. */
OBV_CHECK obv_code obv_verify_set_pg(obv_verify *v, obv_verify_set *s, const obv_pg_key *key, uint64_t table,
                                     int64_t partition, obv_err *err);
/** All PGs of the tenant in all rounds. */
OBV_CHECK obv_code obv_verify_archive(obv_verify *v, uint64_t tenant, obv_err *err);

/* ---- one PG's record against the rules of restorable-set A */
typedef struct obv_verify_table {
    obv_table_key key;
    uint64_t blocks, row_count, occupy_size; /* of the sstable meta */
    uint64_t data_blocks;
    int64_t data_checksum;
    size_t listed; /* for the PG's check: 1 + which table of the index files it is, 0: none */
} obv_verify_table;
typedef struct obv_verify_pg_facts {
    obv_verify_array tables; /* obv_verify_table, sorted for obv_verify_find_table */
    size_t partitions;       /* without the trans partition */
    obv_clog_info clog;
} obv_verify_pg_facts;
/** Walks a record; what breaks a rule is reported for @p where. OBV_E_CORRUPT when it cannot be walked. */
OBV_CHECK obv_code obv_verify_record(obv_verify *v, const obv_verify_set *s, const obv_pg_key *key, obv_span body,
                                     const char *where, int64_t at, obv_verify_pg_facts *out, obv_err *err);
/** The same of a PG of a flat set, whose record of type 0 has body @p body and lies at @p at of @p where. */
OBV_CHECK obv_code obv_verify_old_record(obv_verify *v, const obv_verify_set *s, const obv_pg_key *key, obv_span body,
                                         const char *where, int64_t at, obv_verify_pg_facts *out, obv_err *err);
/** Bytes of the record that @p e names, its wrapping judged. *bytes is the caller's to free. */
OBV_CHECK obv_code obv_verify_record_bytes(const obv_verify *v, const obv_verify_set *s, const obv_meta_index *e,
                                           obv_path *where, uint8_t **bytes, obv_meta_object *out, obv_err *err);
/** Brings the lines of a record into the order of obv_verify_find_table. */
void obv_verify_sort_tables(obv_verify_pg_facts *f);
OBV_CHECK obv_code obv_verify_add_table(obv_verify_pg_facts *f, const obv_sstable_meta *m, const obv_table_key *k,
                                        obv_err *err);
/** The major of an index, NULL if there is none. */
obv_verify_table *obv_verify_find_major(const obv_verify_pg_facts *f, uint64_t index_id);
/** The line of exactly that key, NULL if there is none. */
obv_verify_table *obv_verify_find_table(const obv_verify_pg_facts *f, const obv_table_key *key);

#endif
