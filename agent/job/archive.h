/* archive.h - the log archive job of one agent: every PG that the coordinator assigned to it
 *
 * One thread of its own follows the local clog (source/clog.h) and appends to the PGs' data files (format/media/
 * archive_*.h); all PGs' appends share one sync (group commit). A PG's position counts only after that sync. A second
 * thread samples the local OBServer by SQL and turns samples into checkpoints (docs/format.md, "Checkpoints").
 * The functions below may be called from any one thread and return at once.
 */
#ifndef OBV_AGENT_JOB_ARCHIVE_H
#define OBV_AGENT_JOB_ARCHIVE_H

#include "base/cancel.h"
#include "base/err.h"
#include "format/ob/pg_key.h"
#include "host/store.h"
#include "source/source.h"

typedef struct obv_archive obv_archive;

#define OBV_ARCHIVE_MAX_PGS 65536u  /* of one assignment */
#define OBV_ARCHIVE_MAX_PAGE 512u   /* PGs of one page */
#define OBV_ARCHIVE_MAX_TENANTS 64u /* of one report */
#define OBV_ARCHIVE_MAX_BLOCKING 8u

typedef struct obv_archive_config {
    obv_store *store;      /* outlives the job */
    obv_source *observer;  /* driver of source/observer.h: kickoff values; outlives the job */
    const char *store_dir; /* the OBServer's store */
    const char *ip;        /* local OBServer */
    uint16_t rpc_port, sql_port;
    const char *user, *password_file; /* sys tenant, SELECT only */
    uint32_t sample_ms;               /* 0 = 2,000 */
    bool fast_proof;                  /* logs of PGs led here are taken before their cursors come (archive_fast.c) */
    uint32_t workers;                 /* threads that append and sync; 0 = 4 */
    size_t batch_bytes;               /* 0 = 16 MiB */
} obv_archive_config;

/** Starts the job's threads with an empty assignment. Strings are copied. */
OBV_CHECK obv_code obv_archive_start(const obv_archive_config *cfg, obv_archive **out, obv_err *err);
/** Syncs what was appended, ends the threads, frees. */
void obv_archive_end(obv_archive *a);

typedef struct obv_archive_assign {
    obv_pg_key pg;
    uint64_t epoch;
    uint64_t first_data_file, first_index_file; /* least ids that this epoch may create; 0 = 1 */
    bool from_log_one;                          /* created after the round began */
} obv_archive_assign;

typedef struct obv_archive_page {
    uint64_t revision;
    const char *cluster_name;
    uint64_t cluster_id;
    uint64_t round;
    uint64_t piece; /* 0: round mode */
    int64_t piece_date;
    uint32_t total; /* PGs in this revision */
    uint32_t first; /* index of pgs[0] in it */
    const obv_archive_assign *pgs;
    size_t pg_count;
    bool stop;           /* sync all, write nothing more */
    uint32_t flush_ms;   /* 0 = 1,000 */
    uint32_t compressor; /* 1 none, 2 lz4_1.0, 8 zstd_1.3.8; 0 = 1 */
} obv_archive_page;

/**
 * One page of an assignment. A revision takes effect when its last page is there: PGs that it does not list are let go
 * after a sync, PGs with a higher epoch are taken over from media, PGs with the same epoch go on.
 * @return OBV_OK also for a page out of order or of an older revision (dropped; obv_archive_have tells what is wanted);
 *         OBV_E_INVAL, OBV_E_LIMIT
 */
OBV_CHECK obv_code obv_archive_apply(obv_archive *a, const obv_archive_page *page, obv_err *err);

typedef struct obv_archive_have {
    uint64_t revision; /* 0 = none */
    uint32_t received; /* PGs of that revision: the next page starts here; == total: in force or about to be */
} obv_archive_have;
void obv_archive_get_have(obv_archive *a, obv_archive_have *out);

enum obv_archive_state {
    OBV_ARCHIVE_STATE_NONE = 0,
    OBV_ARCHIVE_STATE_BEGINNING = 1, /* a PG has no kickoff on media yet */
    OBV_ARCHIVE_STATE_DOING = 2,
    OBV_ARCHIVE_STATE_INTERRUPTED = 5, /* a PG's log has a hole: error says which */
};

/* One tenant's PGs on this agent, reduced. Only durable things count. */
typedef struct obv_archive_tenant {
    uint64_t tenant_id;
    uint64_t revision; /* in force: what this speaks of */
    enum obv_archive_state state;
    uint32_t pgs, pgs_started, pgs_sampled;
    int64_t round_start_ts_max; /* us, over started PGs */
    int64_t checkpoint_min;     /* us; 0 while any PG has none */
    /* Wall us. Every sample that checkpoint_min rests on was taken between these two. A list of PGs proves
     * completeness only if it was read after the last sample, i.e. after this report was made. */
    int64_t sample_began_at, sample_ended_at;
    uint64_t bytes_in, bytes_out;                  /* since the agent started */
    obv_pg_key blocking[OBV_ARCHIVE_MAX_BLOCKING]; /* hold checkpoint_min back */
    uint32_t blocking_count;
    obv_err error; /* code OBV_OK if none; OBV_E_FENCED: a PG needs a higher epoch to go on here */
    uint64_t newest_clog_file, oldest_clog_file;
    uint64_t needed_clog_file; /* least one with log that is not stored yet; 0 = not known */
    int64_t gap_in_s;          /* until that one is recycled at the measured rate; -1 = no end in sight */
    uint64_t piece_min;        /* least piece of its PGs (archive_key there is durable); 0 in round mode */
    int64_t submit_ts_max;     /* us; greatest of its stored logs */
} obv_archive_tenant;

/** @p out has room for OBV_ARCHIVE_MAX_TENANTS; @return how many were written. */
size_t obv_archive_report(obv_archive *a, obv_archive_tenant *out);

/** All assigned PGs are let go and synced: true after a page with stop, once nothing is open. */
bool obv_archive_stopped(obv_archive *a);

#endif
