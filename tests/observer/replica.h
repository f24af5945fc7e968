/* replica.h - one host's copy of a PG: memtable, transactions, sstables, position in the log
 *
 * A replica is guarded by its own mutex; apply, freeze, compaction, RPC and digests take it.
 */
#ifndef OBS_REPLICA_H
#define OBS_REPLICA_H

#include "sst.h"

struct mver {
    struct mver *next; /* older */
    struct mtx *tx;    /* NULL once decided */
    int64_t version, trans_id, redo_ts;
    uint64_t log_id;
    uint32_t vlen;
    uint8_t op;
    bool dead; /* aborted */
    uint8_t val[];
};
struct mrow {
    struct mrow *next;
    uint64_t index_id;
    struct mver *head;
    uint16_t klen;
    uint8_t key[];
};
enum { TXS_RUNNING = 1, TXS_PREPARED, TXS_COMMITTED, TXS_ABORTED };
struct mtx {
    struct mtx *next;
    int64_t id, prepare_version, commit_version, last_ts;
    int status, n_parts;
    struct pkey parts[TX_PARTS];
    bool dumped; /* uncommitted rows of it lie in sstables */
    struct mver **ver;
    size_t n_ver, cap_ver;
};

struct point { /* a restore point that is ready */
    int64_t ts;
    struct obuf meta; /* ObRecoveryPointMetaInfo */
    struct sst **ref;
    int n;
};

struct replica {
    uint32_t pg;
    pthread_mutex_t mu;
    struct mrow **bucket;
    uint32_t n_bucket, n_rows;
    int64_t bytes;
    struct mtx *tx[256];
    uint64_t applied_id;
    struct clog_info applied; /* clog state at applied_id */
    int64_t applied_ts;
    struct data_info data;
    struct clog_info data_clog;
    int64_t data_bus; /* bus position behind data.last_log_id */
    int64_t applied_bus;
    int64_t mvs;
    struct sst **sst; /* majors, minors, minis of all partitions and indexes, oldest first per index */
    int n_sst;
    struct sst *trans, *trans_old;        /* old: the one before the last freeze, kept for the trap of 0x473 */
    int64_t trans_since, trans_old_until; /* old can be read until then: it was listed */
    int64_t trans_start_ts;
    int n_minis_since;
    unsigned n_freezes;
    struct sst **doomed; /* replaced: their files go after the next save */
    int n_doomed;
    bool offline;
    struct point *points;
    int n_points;
};

struct replica *replica_get(struct host *h, uint32_t pg); /* NULL: not on this host yet */
/** New replica with the given first sstables (references taken). Saved to disk. */
struct replica *replica_create(struct host *h, uint32_t pg, const struct clog_info *clog, int64_t publish,
                               int64_t schema_version, int64_t bus_pos);
/** Makes this host's replica of a PG that was created elsewhere: loads its first majors. */
struct replica *replica_bootstrap(struct host *h, uint32_t pg);
int replica_save(struct host *h, struct replica *r); /* mutex held */
void replica_load_all(struct host *h);
void replica_publish(struct host *h, struct replica *r); /* numbers into shared memory; mutex held */
void replica_add_sst(struct replica *r, struct sst *s);
void replica_doom(struct replica *r, struct sst *s);                                     /* takes over the reference */
struct sst *replica_last(struct replica *r, uint64_t index_id, const struct pkey *part); /* newest of that index */
struct sst *replica_major(struct replica *r, uint64_t index_id, const struct pkey *part, int64_t snapshot_max);

/** Applies one confirmed log. Mutex held. */
void replica_apply(struct host *h, struct replica *r, const struct bus_rec *rec, int64_t pos_behind);
struct mtx *replica_tx(struct replica *r, int64_t id, bool create);

/** A row of minor origin as decided now: false = drop it. */
bool replica_resolve(struct replica *r, struct row *row);
/** Memtable rows of one index (0: all), as rows with state. */
void replica_memtable_rows(struct replica *r, uint64_t index_id, struct rows *out);
void replica_clear_memtable(struct host *h, struct replica *r);

/* ---- freeze.c */
enum { FREEZE_FORCE = 1, FREEZE_LAG = 2 };
/** 1 frozen, 0 nothing to do, negative error. Takes the mutex. */
int replica_freeze(struct host *h, struct replica *r, int flags);
int replica_compact(struct host *h, struct replica *r);
int replica_write_trans(struct host *h, struct replica *r, int64_t snapshot); /* mutex held */
/** Builds the major of version/snapshot of every index into C/shared. Takes the mutex. */
int replica_build_major(struct host *h, struct replica *r, int64_t version, int64_t snapshot);
/** First major of a new local index, from the table's rows visible at the snapshot. Takes the mutex. */
int replica_build_index(struct host *h, struct replica *r, const struct shm_part *p, int idx, int64_t version,
                        int64_t snapshot);
/** Newest committed change at or below the snapshot of each key, from minors and memtable. Mutex held. */
int replica_changes(struct replica *r, const struct shm_part *p, int idx, int64_t snapshot, struct rows *out);
int replica_adopt_major(struct host *h, struct replica *r, int64_t version, int64_t snapshot);
/** Path (without suffix) of a shared sstable. */
char *major_path(const struct host *h, const struct pkey *part, uint64_t index_id, int64_t version);
char *local_sst_path(struct host *h);
void set_restore_point_versions(struct host *h);

#endif
