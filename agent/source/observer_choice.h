/* observer_choice.h - which of the sstables that a server lists belong to a copy (docs/format.md, "What is copied")
 *
 * A server lists every kept major and every minor of an index. Pure functions; no I/O, no allocation.
 */
#ifndef OBV_AGENT_SOURCE_OBSERVER_CHOICE_H
#define OBV_AGENT_SOURCE_OBSERVER_CHOICE_H

#include "format/ob/metas.h"

typedef struct obv_choice_table {
    obv_table_key key;
    obv_span key_bytes;          /* as served */
    int64_t upper_trans_version; /* from its base meta; needed by obv_choice_minors */
    int64_t schema_version;      /* the same */
    void *owner;                 /* the caller's */
} obv_choice_table;

/**
 * First step, from the keys alone: keeps the newest major with snapshot_version <= @p publish_version (if there is
 * none, as for an index built behind the PG's position: the oldest of the later ones) and all minors, in the order of
 * their log ranges behind it; complement minors are dropped. *n becomes the number kept. A trans-state index has no
 * major and keeps all its sstables. *newer = the newest of the majors behind @p publish_version; its key_bytes are NULL
 * when there is none. OBV_E_PG_CHANGED: no major to keep yet; OBV_E_CORRUPT: a type that no sstable of an index has, or
 * trans-state sstables among others.
 */
OBV_CHECK obv_code obv_choice_majors(obv_choice_table *t, size_t *n, int64_t publish_version, obv_choice_table *newer,
                                     obv_err *err);
/**
 * Second step, with the base metas: of the minors behind the major those from the first on that holds something newer
 * than it (upper_trans_version > its snapshot), up to and including the first whose snapshot reaches
 * @p publish_version. None between is left out, even if it is empty: a server reads no chain whose log ranges do not
 * join. OBV_E_PG_CHANGED: they do not.
 */
OBV_CHECK obv_code obv_choice_minors(obv_choice_table *t, size_t *n, int64_t publish_version, obv_err *err);
/**
 * True when major and minors are seen to hold everything up to @p publish_version. A server may have dropped minors
 * that a newer major made superfluous: where there is one and this is false, rows may be missing.
 */
bool obv_choice_is_whole(const obv_choice_table *t, size_t n, int64_t publish_version);

/* What follows from all sstables of a PG. */
typedef struct obv_choice_facts {
    bool has_data_index;        /* anything but the trans state */
    bool reached;               /* the snapshot of some listed sstable, chosen or not, reaches publish_version */
    int64_t lower_bound;        /* below it versions are recycled */
    int64_t max_schema_version; /* of chosen tables that reach publish_version */
    int64_t trans_end_log_ts;   /* greatest end of the trans-state sstables' log ranges */
} obv_choice_facts;
/** All that a server lists of one index, before the first step. */
void obv_choice_add_listed(obv_choice_facts *f, const obv_choice_table *t, size_t n, int64_t publish_version);
/** One that was chosen. */
void obv_choice_add_chosen(obv_choice_facts *f, const obv_choice_table *t, int64_t publish_version);
/** Whether the tables reach X: its publish_version, and its last_replay_log_ts in the trans state. OBV_E_PG_CHANGED. */
OBV_CHECK obv_code obv_choice_check(const obv_choice_facts *f, const obv_data_info *x, obv_err *err);

#endif
