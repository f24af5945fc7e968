/* registry.h - living agents: leases, what they report, what they are given
 *
 * An agent's Sync is one turn: begin, the reports in order, the answer, commit. A turn holds the state's lock and one
 * transaction, so what is acknowledged is durable. Protobuf stays outside.
 */
#ifndef OBV_COORDINATOR_REGISTRY_H
#define OBV_COORDINATOR_REGISTRY_H

#include "base/clock.h"
#include "state/rounds.h"
#include "state/sets.h"
#include "state/tasks.h"

#define OBV_AGENTS_MAX 256u
#define OBV_AGENT_TASKS_MAX 16u
#define OBV_AGENT_TENANTS_MAX 64u
#define OBV_ARCHIVE_PAGE_MAX 512u
#define OBV_LEASE_MS 15000u      /* an agent stops its tasks this long after its last answered Sync */
#define OBV_REASSIGN_MS 20000u   /* after this META tasks go to another agent */
#define OBV_BATCH_LOST_MS 60000u /* after this batches are given up */

/* Time, so that tests can make it pass. */
typedef struct obv_clock {
    int64_t (*now_us)(void *ctx);
    int64_t (*mono_ns)(void *ctx);
    void *ctx;
} obv_clock;
/** now_us is steady (base/clock.h): the host's clock may jump. */
obv_clock obv_clock_real(void);
static inline int64_t obv_clock_us(const obv_clock *c) { return c->now_us(c->ctx); }
static inline int64_t obv_clock_ns(const obv_clock *c) { return c->mono_ns(c->ctx); }

typedef struct obv_registry obv_registry;
OBV_CHECK obv_code obv_registry_new(obv_state *s, const obv_clock *clock, obv_registry **out, obv_err *err);
void obv_registry_free(obv_registry *r);
/** Agents whose cluster differs are turned away; 0 = the source is not known yet. */
void obv_registry_set_cluster(obv_registry *r, const char *name, uint64_t id);
/** Agents hold tasks under a fence: gives up what lost agents hold. Call about once a second. */
OBV_CHECK obv_code obv_registry_sweep(obv_registry *r, obv_err *err);

/* ---- one Sync */
typedef struct obv_hello {
    char agent_id[OBV_AGENT_ID_MAX];
    uint64_t session, seq;
    char version[32];
    char ip[46];
    uint32_t rpc_port, sql_port;
    char cluster_name[129];
    uint64_t cluster_id;
    char repository_uuid[40], repository_profile[16];
    obv_err repository_error;
    uint32_t batches_running, batch_slots;
    uint64_t pool_bytes, pool_used_bytes, rss_bytes;
} obv_hello;

typedef enum obv_report_state {
    OBV_REPORT_RUNNING = 1,
    OBV_REPORT_DONE = 2,
    OBV_REPORT_FAILED = 3,
    OBV_REPORT_CANCELLED = 4,
} obv_report_state;

typedef struct obv_task_report {
    char uid[OBV_TASK_UID_MAX];
    uint64_t epoch;
    obv_report_state state;
    uint64_t bytes_read, bytes_written, blocks_done, blocks_total;
    obv_err error;
    char repository_uuid[40], repository_profile[16]; /* of a finished INIT_REPOSITORY */
} obv_task_report;

typedef struct obv_pg_report {
    uint64_t report_id;
    char task_uid[OBV_TASK_UID_MAX];
    uint64_t epoch;
    obv_pg_key pg;
    uint32_t pass;
    obv_err error;
    uint64_t blocks, blocks_stored, bytes_read, bytes_written;
    uint32_t partitions;
    int64_t last_submit_ts, publish_version, lower_bound, schema_version;
    uint64_t last_replay_log_id;
    const uint64_t *contents; /* ids of tables and local indexes in the copy, ascending; valid during the call */
    size_t content_count;
} obv_pg_report;

typedef enum obv_archive_state {
    OBV_TENANT_ARCHIVE_NONE = 0,
    OBV_TENANT_ARCHIVE_BEGINNING = 1,
    OBV_TENANT_ARCHIVE_DOING = 2,
    OBV_TENANT_ARCHIVE_INTERRUPTED = 5,
} obv_archive_state;

typedef struct obv_tenant_archive {
    uint64_t tenant_id, revision;
    obv_archive_state state;
    uint32_t pgs, pgs_started, pgs_sampled;
    int64_t round_start_ts_max, checkpoint_min, sample_began_at; /* us */
    uint64_t bytes_in, bytes_out;
    obv_pg_key blocking[8];
    uint32_t blocking_count;
    obv_err error;
    uint64_t newest_clog_file, oldest_clog_file, needed_clog_file;
    int64_t gap_in_s;      /* -1 = no end in sight */
    uint64_t piece_min;    /* least piece that one of its PGs is in */
    int64_t submit_ts_max; /* us */
    int64_t received_ns;   /* set by the registry */
} obv_tenant_archive;

typedef struct obv_meta_entry {
    obv_pg_key pg;
    int64_t offset, length;
    uint32_t partitions; /* in the record */
    uint64_t blocks;
} obv_meta_entry;

typedef struct obv_turn {
    obv_registry *reg;
    obv_state_tx tx;
    void *agent;
    obv_hello hello;
    bool fresh; /* the first call of a session */
    bool apply; /* false: a repeat, whose reports were applied already */
    uint64_t acked;
    char held[OBV_AGENT_TASKS_MAX][OBV_TASK_UID_MAX];
    size_t held_count;
    char forget[OBV_AGENT_TASKS_MAX][OBV_TASK_UID_MAX];
    size_t forget_count;
    char cancel[OBV_AGENT_TASKS_MAX][OBV_TASK_UID_MAX];
    size_t cancel_count;
    bool pgs_seen;
} obv_turn;

/** OBV_E_PRECONDITION: another cluster's agent; OBV_E_FENCED: a session that a newer one has replaced. */
OBV_CHECK obv_code obv_turn_begin(obv_registry *r, const obv_hello *h, obv_turn *t, obv_err *err);
/** Before obv_turn_task. @p objects are added by obv_turn_pg_object while the PG's own code is OBV_OK. */
OBV_CHECK obv_code obv_turn_pg(obv_turn *t, const obv_pg_report *p, obv_err *err);
OBV_CHECK obv_code obv_turn_pg_object(obv_turn *t, const obv_pg_report *p, const char *path, uint64_t size,
                                      obv_span sha256, obv_err *err);
/** Where a finished FINISH_METAS put its records; before obv_turn_task reports it DONE. */
OBV_CHECK obv_code obv_turn_metas(obv_turn *t, const char *task_uid, const obv_meta_entry *e, size_t n, obv_err *err);
OBV_CHECK obv_code obv_turn_task(obv_turn *t, const obv_task_report *r, obv_err *err);
void obv_turn_archive(obv_turn *t, uint64_t revision, uint32_t received, const obv_tenant_archive *tenants, size_t n);

/** Tasks that the agent shall begin now; claims free ones for it. */
OBV_CHECK obv_code obv_turn_tasks(obv_turn *t, obv_task_fn *fn, void *ctx, obv_err *err);

typedef struct obv_archive_page_out {
    bool due; /* false: the agent has the whole list */
    int64_t round;
    uint64_t revision;
    uint32_t total, first;
    bool stop;
    int64_t piece, piece_date; /* 0 in round mode */
} obv_archive_page_out;
/** The next page of the agent's list; its PGs through @p fn. */
OBV_CHECK obv_code obv_turn_page(obv_turn *t, obv_archive_page_out *out, obv_archive_pg_fn *fn, void *ctx,
                                 obv_err *err);
OBV_CHECK obv_code obv_turn_commit(obv_turn *t, obv_err *err);
void obv_turn_drop(obv_turn *t); /* for OBV_AUTO */
/** Milliseconds until the agent should call again. */
uint32_t obv_turn_next_ms(const obv_turn *t);

/* ---- for jobs */
typedef struct obv_live_agent {
    obv_hello hello;
    bool alive; /* lease not over: may be given work */
    bool known; /* has the repository of this coordinator */
    int64_t seen_ns;
    uint64_t revision; /* of the list it has in whole, 0 = none */
    uint64_t want_revision;
    bool fenced;     /* says that its archive needs a new epoch, under the revision wanted */
    int64_t batches; /* running here */
    uint64_t bytes_read, bytes_written, blocks_done; /* of running tasks */
} obv_live_agent;
/** Copies at most cap agents, @return how many; sorted by id. */
size_t obv_registry_agents(obv_registry *r, obv_live_agent *out, size_t cap);
bool obv_registry_alive(obv_registry *r, const char *agent_id);
/** Has every agent that was alive before this coordinator's start had time to call? */
bool obv_registry_settled(obv_registry *r);
/** What an agent last said about a tenant's archive. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_registry_archive(obv_registry *r, const char *agent_id, uint64_t tenant, obv_tenant_archive *out,
                                        obv_err *err);
/** The revision that the agent's list should have. OBV_E_NOT_FOUND: not heard of. */
OBV_CHECK obv_code obv_registry_revision(obv_registry *r, const char *agent_id, uint64_t *out, obv_err *err);
/** Gives the agent's list a new revision; its next Syncs fetch it. */
OBV_CHECK obv_code obv_registry_touch(obv_registry *r, const char *agent_id, uint64_t *revision, obv_err *err);
/** The archive round in force; round 0 = none. @p stop: all lists end. */
void obv_registry_set_round(obv_registry *r, int64_t round, bool stop);
/** The piece that lists name; before obv_registry_set_round. @p told: agents' lists do so already. */
void obv_registry_set_piece(obv_registry *r, int64_t piece, int64_t date, bool told);
/** Do agents' lists name this piece? */
bool obv_registry_told_piece(obv_registry *r, int64_t piece);
/** While on, agents are given no batch that they do not have. */
void obv_registry_hold(obv_registry *r, bool on);
/** Progress of running tasks of a job. */
void obv_registry_progress(obv_registry *r, const char *job_id, uint64_t *bytes_read, uint64_t *bytes_written,
                           uint64_t *blocks_done);

#endif
