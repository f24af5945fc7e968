/* cluster.h - what the processes of a stand-in cluster share: shared memory, the log bus, and the host itself
 *
 * The shared memory (file C/shm) holds the consensus: leaders, log ids, running transactions, what each replica has
 * reached. Everything in it is guarded by one robust mutex; single numbers of a replica are written by its own host
 * only and may be read at any time. The bus (files C/bus/N, 64 MiB each) is one ordered stream of log records; each
 * host writes the records to its own clog and applies them once a majority has flushed them.
 */
#ifndef OBS_CLUSTER_H
#define OBS_CLUSTER_H

#include "clogfmt.h"
#include "macro.h"
#include "store.h"

#include <pthread.h>
#include <stdatomic.h>

#define MAX_PG 16384u
#define PG_HASH 65536u
#define MAX_TX 4096u
#define TX_PARTS 8
#define TX_LOCKS 64
#define ROW_LOCKS 65536u
#define PG_PARTS 16     /* members that a PG ever had */
#define PART_INDEXES 16 /* the table and the indexes that it ever had */
#define BUS_SEG (64ll << 20)
#define SNAP_MAX 10 /* restore points per tenant */

enum pg_state { PG_FREE, PG_LIVE, PG_OFFLINE, PG_GONE };
/** Damage of one replica's log (verb spoil); the bus and the other hosts keep what is right. */
enum spoil {
    SPOIL_NONE,
    SPOIL_BLOCK,     /* the head of the block that holds the entry is damaged */
    SPOIL_BYTES,     /* a byte of the entry flips: its checksum no longer fits */
    SPOIL_ENTRY,     /* another entry, right in itself; the cursor has the leader's accumulated checksum */
    SPOIL_ENTRY_OWN, /* the same, and this host's cursors chain on from it */
    SPOIL_ACCUM,     /* from here on: the cursor contradicts its entry */
    SPOIL_OFFSET,
    SPOIL_SIZE,
    SPOIL_TS,
    SPOIL_CURSOR /* no cursor at all for this log */
};
enum pg_kind { KIND_INNER, KIND_STANDALONE, KIND_TABLEGROUP };

struct shm_part { /* one member partition of a PG */
    struct pkey key;
    int64_t create_schema_version, create_ts;
    int comp;       /* enum compressor */
    int index_type; /* of the table itself: 3 a global index (always without rows), else 0 */
    bool int_key;
    bool dropped;
    int64_t dropped_ts; /* the copy goes a little later than the schema's row */
    int n_idx;
    uint64_t idx[PART_INDEXES];        /* [0] = the table itself, then local indexes */
    bool idx_ready[PART_INDEXES];      /* has its first major */
    int64_t idx_dropped[PART_INDEXES]; /* when it was dropped; what it was stays for digests of older times */
    int idx_late_host[PART_INDEXES];   /* this host gets the index's first major later than the others */
    int64_t idx_late_until[PART_INDEXES];
    int64_t idx_base[PART_INDEXES]; /* version of the first major: with the bus it is the whole history */
};

struct shm_rep {                  /* replica of one host, written by that host */
    _Atomic uint64_t last_log_id; /* seen (flushed) */
    _Atomic uint64_t applied_id;  /* applied and given an ilog cursor: start_id - 1 */
    _Atomic int64_t applied_ts;
    _Atomic int64_t weak_ts;
    _Atomic uint64_t replay_id; /* data_info.last_log_id */
    _Atomic int64_t replay_ts, publish_version;
    _Atomic int64_t multi_version_start, data_version, data_size, schema_version;
    _Atomic int migrate_status, need_rebuild;
    _Atomic int skip_logs; /* rebuild: that many logs pass by this replica */
    _Atomic int is_restore, split_state;
    _Atomic int spoil;              /* enum spoil: what happens to this replica's next log on its way to disk */
    _Atomic uint64_t spoilt_id;     /* the log it happened to */
    uint64_t accum_id;              /* last log that was counted */
    uint64_t accum_delta;           /* this replica's accumulated checksum against the leader's */
    _Atomic bool no_member, absent; /* absent: moved away; it comes back with a start_id behind the logs of meanwhile */
};

struct shm_pg {
    int state, kind;
    struct pkey key;
    uint64_t tenant;
    int leader;
    int64_t leader_epoch, lease_start;
    struct proposal proposal;
    uint64_t last_log_id;
    int64_t last_ts, accum, max_w;
    uint64_t membership_log_id;
    int64_t membership_ts;
    int64_t recent[4]; /* bus positions of the last logs: a new leader proposes them again */
    int64_t last_commit_us, last_ckpt_us;
    bool ckpt_due;
    int running; /* transactions that have written here and not ended */
    int64_t create_schema_version, create_ts, create_frozen_version, frozen_ts;
    int64_t first_bus_pos;
    int32_t odd_assist; /* of a table made before 1.4.3: what RPC shows in keys instead of 0 */
    int n_parts;
    struct shm_part part[PG_PARTS];
    struct shm_rep rep[OBS_MAX_HOSTS];
};

enum tx_state { TX_FREE, TX_RUNNING, TX_PREPARING, TX_COMMITTING, TX_ABORTING };
struct shm_tx {
    int state;
    int64_t id, start_us;
    int pid;
    int n;
    uint32_t pg[TX_PARTS];
    uint8_t stage[TX_PARTS]; /* 0 redo only, 1 prepared, 2 ended here */
    int64_t prepare[TX_PARTS];
    int64_t commit_version;
    int n_locks;
    uint32_t lock[TX_LOCKS];
};

enum host_cmd {
    CMD_NONE,
    CMD_FREEZE,
    CMD_COMPACT,
    CMD_BUILD_MAJOR,
    CMD_ADOPT_MAJOR,
    CMD_CREATE_PG,
    CMD_RECYCLE,
    CMD_STALE_TAIL,
    CMD_TORN_TAIL,
    CMD_REMOVE_CLOG,
    CMD_STORE_DIGEST
};
struct shm_cmd {
    uint64_t seq, done;
    int kind, rc;
    uint64_t tenant;
    int64_t pg; /* -1 all */
    int64_t a, b;
    bool flag;
};
struct shm_host {
    int pid;
    _Atomic int64_t heartbeat;
    _Atomic int64_t flushed, applied; /* bus positions */
    _Atomic int64_t min_clog_file, min_ilog_file, cur_clog_file;
    _Atomic int64_t start_us;
    struct shm_cmd cmd;
};

struct shm {
    uint64_t magic;
    pthread_mutex_t mu;
    _Atomic uint32_t wake;
    _Atomic int64_t bus_end;
    _Atomic uint32_t n_pg;
    uint32_t hash[PG_HASH]; /* index + 1 */
    int64_t clock_skew;
    struct { /* the append in flight: finished by whoever finds its maker dead */
        bool valid;
        uint32_t pg;
        uint64_t log_id;
        int64_t ts, accum, end;
    } pending;
    int64_t next_tx;
    int64_t major_version, major_ts; /* last merged */
    int64_t frozen_version, frozen_ts;
    int64_t last_schema_version;
    int64_t undo_us[4096]; /* system variable undo_retention per tenant (id mod 4096) */
    int64_t pin_ts[4096];  /* restore points: oldest per tenant (id mod 4096), 0 none */
    _Atomic int workload_owner;
    struct shm_host host[OBS_MAX_HOSTS];
    struct shm_tx tx[MAX_TX];
    int64_t row_lock[ROW_LOCKS];
    struct shm_pg pg[MAX_PG];
};

enum bus_kind { BUS_LOG = 1, BUS_PAD = 2, BUS_LOCAL = 3 };
struct bus_rec { /* head of a record on the bus, 8-aligned */
    uint32_t len, kind, pg, entry_len;
    int64_t accum, submit_ts;
    uint64_t log_id;
    uint32_t host_mask, type;
    uint32_t batch; /* the cursor's batch-commit bit: known to ilog only */
    uint32_t unused;
};

struct knobs {
    _Atomic int64_t ilog_freeze_us, clog_switch_bytes, clog_files_max, minor_compact_minis, checkpoint_idle_us,
        checkpoint_cold_us;
    _Atomic int64_t undo_retention_us, stream_wait_us, io_delay_us, kept_majors, lease_us, micro_block_size,
        commit_spread_us;
    _Atomic int64_t restore_gap_us, memtable_limit_bytes, auto_freeze_us, batch_commit_pct, clog_write_gap_us,
        apply_delay_us;
    _Atomic int64_t auto_recycle_us, clog_compress, clog_using_us;
    _Atomic int64_t rpc_compress, rpc_warnings, gc_delay_us, trans_race_us, gc_ts_lag_us;
};

struct replica;
struct clog_writer;
struct ilog_store;
struct fault;

struct host {
    int id, n_members;
    struct host_addr members[OBS_MAX_HOSTS];
    uint32_t ip[OBS_MAX_HOSTS];
    struct member member_list[OBS_MAX_HOSTS];
    char *cluster_dir, *dir, *db_path, *cluster_name, *reader_dir;
    int64_t cluster_id;
    struct knobs knob;
    _Atomic bool stopping;
    struct shm *shm;
    uint8_t *_Atomic seg[4096];
    pthread_mutex_t seg_mu;
    pthread_mutex_t rep_mu; /* creation of replicas */
    struct replica *_Atomic rep[MAX_PG];
    struct clog_writer *clog;
    struct ilog_store *ilog;
    _Atomic int64_t mem_bytes;
    _Atomic uint64_t next_sst;
    int log_fd, rpc_log_fd, pid_fd;
    pthread_t writer_thread, applier_thread, timer_thread, command_thread, rpc_thread;
    struct sqlite3 *db;
    pthread_mutex_t db_mu;
    pthread_mutex_t fault_mu;
    struct fault *faults;
    pthread_mutex_t work_mu;
    void *workload, *storm;
    pthread_mutex_t restore_mu;
};

/** What the schema has dropped is served for gc_delay_us. */
static inline bool part_served(const struct host *h, int64_t now, const struct shm_part *p)
{
    return !p->dropped || now < p->dropped_ts + h->knob.gc_delay_us;
}
static inline bool index_served(const struct host *h, int64_t now, const struct shm_part *p, int i)
{
    return !p->idx_dropped[i] || now < p->idx_dropped[i] + h->knob.gc_delay_us;
}

/* ---- shared memory */
int cluster_open(struct host *h); /* maps C/shm, joins; 0 or -errno */
void shm_lock(struct host *h);
void shm_unlock(struct host *h);
/** Cluster clock; never the same value twice under the lock. */
int64_t clock_us(const struct host *h);
static inline struct shm_pg *pg_at(const struct host *h, uint32_t i) { return &h->shm->pg[i]; }
static inline struct shm_rep *my_rep(const struct host *h, uint32_t i) { return &h->shm->pg[i].rep[h->id - 1]; }
int64_t pg_find(const struct host *h, const struct pkey *k); /* index or -1 */
/** Slot of a new PG (state PG_FREE until pg_publish); call with the lock held. -1 when full. */
int64_t pg_alloc(struct host *h, const struct pkey *k);
void pg_publish(struct host *h, uint32_t i);
bool parse_pg_name(const char *s, struct pkey *k);
int64_t host_pick_leader(const struct host *h, uint32_t i); /* id of a living host */

/* ---- bus */
/** Appends with the lock held; returns the position behind the record. */
int64_t bus_append(struct host *h, const struct bus_rec *head, const uint8_t *entry);
/** Takes over what the pending append says, if the record is on the bus. Lock held. */
void bus_settle(struct host *h);
/** Record at *pos (< bus_end), stepping over pads; NULL at the end. */
const struct bus_rec *bus_at(struct host *h, int64_t *pos);
void bus_wait(struct host *h, uint32_t seen, int64_t us);
int64_t bus_confirmed(const struct host *h); /* flushed by a majority */

/* ---- host */
int host_command(struct host *h, int host_id, struct shm_cmd *cmd,
                 int64_t timeout_us); /* runs it there and waits: rc */
int knob_set(struct host *h, const char *name, int64_t v);

#endif
