/* world.h - a coordinator with a made-up cluster and made-up agents in one thread, and time that the test moves
 *
 * Everything that would be a process is a struct: the coordinator can be dropped at any moment and made again from its
 * database, agents can fall silent, start anew or fail, and what they store is a map of files.
 */
#ifndef OBV_TEST_WORLD_H
#define OBV_TEST_WORLD_H

#include "base/map.h"
#include "job/runner.h"

#define WORLD_HOSTS 3
#define WORLD_TENANTS 2
#define WORLD_TASKS 16
#define WORLD_KINDS 6

typedef struct world_tenant {
    uint64_t id;
    char name[32];
    int64_t schema_version, schema_before; /* now, and before the last DDL */
    bool restless;                         /* DDL all the time */
    bool unseen;                           /* its schema version cannot be read */
    uint32_t user_pgs;                     /* tables 50001.. with one partition each */
    uint64_t dropped;                      /* bit i: user PG i is not in the schema any more */
    uint32_t indexes;                      /* AVAILABLE ones of table 50001: 60001.. */
    uint32_t members;                      /* tables of the tablegroup, if it has any: 70001.. */
    bool gts;
    bool gone;
    bool odd; /* its status is not NORMAL */
    int64_t undo_retention;
} world_tenant;

typedef struct world_cluster {
    obv_cluster base;
    struct world *w;
    bool down;                        /* every call is OBV_E_UNAVAILABLE */
    void (*intrude)(struct world *w); /* called once, in the middle of an operator's command */
    bool standby, upgrading, merging, own_archive;
    const char *own_archive_dest; /* NULL = not known */
    uint32_t leader_shift;        /* leader of PG i is host (i + shift) % 3 */
    world_tenant tenants[8];
    size_t tenant_count;
    /* for doctor */
    obv_rights rights;
    uint64_t data_bytes; /* of each tenant */
    int64_t clock_off_us;
    bool first_is_here; /* the first server has an address of this host, for which no agent calls */
    bool third_is_down;
    /* as a restore target */
    int64_t restore_concurrency;
    int64_t gc_lag_us;
    bool pool_taken, tenant_there;
    char statements[16][4096];
    size_t statement_count;
    int refuse;       /* so many restores are answered with -4179 */
    bool lose_answer; /* the next restore is taken, its answer lost */
    bool restore_runs;
    int64_t restore_external;
    char restore_tenant[64], restore_status[32];
    char restore_info[200]; /* of a failure; "" = "gap in the log" */
    bool tenant_dropped;    /* by hand, while it is restored */
} world_cluster;

typedef struct world_task {
    obv_task t;
    obv_report_state state;
    obv_err error;
    uint64_t wrong; /* objects */
    bool reported;
} world_task;

typedef struct world_report {
    obv_pg_report r;
    uint64_t contents[16];
} world_report;

typedef struct world_agent {
    struct world *w;
    obv_hello hello;
    bool silent; /* does not call */
    world_task tasks[WORLD_TASKS];
    size_t task_count;
    struct world_report *reports;
    size_t report_count, report_cap;
    uint64_t next_report;
    /* log archive */
    uint64_t list_revision, total;
    obv_archive_pg *list;
    size_t list_count, list_cap;
    bool list_stop;
    obv_tenant_archive said[8]; /* last */
    size_t said_count;
    int64_t archive_lag_us; /* checkpoints are this far behind */
    bool interrupted;
    uint64_t interrupted_tenant; /* 0 = all */
    int64_t list_piece, list_date;
    int64_t piece; /* all its PGs are there */
    bool stays;    /* its PGs do not leave their piece */
    int64_t submit_ts;
    uint64_t needed_file; /* 0 = not known; the oldest is 100, the newest 120 */
    int64_t gap_in_s;
    obv_code archive_error; /* said of every tenant, whose checkpoints then stand still */
    uint64_t fenced_epoch;  /* PGs up to this epoch are not archived any more */
    size_t unsampled;       /* so many PGs of each tenant have no checkpoint */
    /* faults */
    obv_code fail_next_put, fail_next_pg, fail_next_look;
    const char *lost_object; /* of a check: objects whose path has it are missing */
    size_t looked_up, objects_per_pg;
    bool looked_deep;
    bool behind;          /* its followers begin later than the archive: only what it leads can be copied */
    bool unready;         /* has built no index */
    bool fenced;          /* an attempt that nobody knows of has put the next copy's major index */
    uint64_t drop_blocks; /* stored blocks are so many fewer than planned */
} world_agent;

typedef struct world {
    char dir[64];
    int64_t now_us, mono_ns;
    obv_clock clock;
    obv_settings settings;
    obv_state *state;
    obv_registry *registry;
    obv_job_ctx ctx[WORLD_KINDS];       /* by kind */
    world_cluster cluster, target, pin; /* pin: an account of tenant t1001 of cluster */
    world_agent agents[WORLD_HOSTS];
    obv_map *media; /* path -> obv_buf */
    char media_uuid[40];
    size_t puts;
} world;

void world_begin(world *w);
void world_end(world *w);
/** Drops the coordinator without a word and makes it again from its database. */
void world_restart(world *w);
/** One turn of everything: time + 200 ms, each agent calls once, each kind of job is stepped. */
void world_turn(world *w);
typedef bool world_until(world *w, const void *arg);
/** Turns until @p until says so; fails the test after @p most turns. */
void world_run(world *w, size_t most, world_until *until, const void *arg);
bool world_job_ended(world *w, const void *job_id);
bool world_archive_has(world *w, const void *checkpoint_us); /* published for all tenants */

/* Commands of an operator; the test fails unless they begin a job. */
void world_repo_init(world *w);
obv_job world_archive(world *w);
obv_job world_backup(world *w);
/** Repository made, a round begun, its first checkpoint published for all tenants. */
void world_begin_archived(world *w);
/** The job as it is now. */
obv_job world_job(world *w, const obv_job *j);
/** The job once it has ended; fails the test after @p most turns. */
obv_job world_ended(world *w, const obv_job *j, size_t most);
/** Set 1 as it is now. */
obv_set world_set(world *w);
/** Every agent's checkpoints are so far behind. */
void world_lag(world *w, int64_t us);
/** The stored file; fails the test if it is not there. */
obv_span world_file(world *w, const char *path);
bool world_has_file(world *w, const char *path);
/** PG i: three system tables, user tables, and one of a tablegroup behind them. */
obv_pg_key world_pg(uint64_t tenant, uint32_t i);
obv_pg_key world_group_pg(uint64_t tenant);
/** What the PG holds now, ascending. @return how many */
size_t world_contents(world *w, const obv_pg_key *key, uint64_t out[16]);
/** A DDL of the tenant. */
void world_ddl(world *w, world_tenant *t);
obv_clusters world_clusters(world *w);

/* parts */
void world_cluster_begin(world_cluster *c, world *w);
void world_agent_begin(world_agent *a, world *w, unsigned host);
void world_agent_call(world_agent *a);
void world_agent_restart(world_agent *a);
void world_agent_end(world_agent *a);
void world_store(world *w, const char *path, obv_span bytes);

#endif
