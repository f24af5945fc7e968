/* archive.h - log-archive rounds: BEGINNING, DOING, STOPPING, STOP, INTERRUPTED */
#ifndef OBV_COORDINATOR_ARCHIVE_H
#define OBV_COORDINATOR_ARCHIVE_H

#include "job/archive_files.h"

/** Checks and begins a round. OBV_E_BUSY while one is running, OBV_E_PRECONDITION. */
OBV_CHECK obv_code obv_archive_begin_round(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out,
                                           obv_err *err);
/** Asks the running round to end. OBV_E_NOT_FOUND without one. */
OBV_CHECK obv_code obv_archive_stop_round(obv_job_ctx *x, obv_job *out, obv_err *err);
obv_job_step obv_archive_step;
/** Tells the registry which round is in force; at start-up. */
OBV_CHECK obv_code obv_archive_resume(obv_job_ctx *x, obv_err *err);

/* What all agents together say about a tenant's archive. */
typedef struct obv_coverage {
    int64_t pgs;        /* assigned, dropped ones included */
    int64_t unassigned; /* nobody can take them */
    int64_t started, sampled;
    bool complete;      /* every PG is started and sampled under the list in force */
    int64_t checkpoint; /* least; valid if complete */
    int64_t start_ts;   /* greatest; valid if complete */
    bool interrupted;
    uint64_t bytes_in, bytes_out;
    obv_pg_key blocking[8];
    uint32_t blocking_count;
    obv_err why;    /* the worst that an agent reports; "" if nothing */
    uint64_t stamp; /* changes when the assignment does */
    /* recycling, at the agent that is nearest to a gap */
    bool gap_known, gap_near;
    uint64_t gap_files; /* clog files between the oldest and the needed one */
    int64_t gap_in_s;   /* -1 = no end in sight */
    char gap_agent[OBV_AGENT_ID_MAX];
    /* pieces */
    bool current;          /* every agent speaks of its newest list */
    uint64_t piece_min;    /* least piece that one of the PGs is in */
    int64_t submit_ts_max; /* us; greatest of all stored logs */
} obv_coverage;
OBV_CHECK obv_code obv_archive_coverage(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_coverage *out,
                                        obv_err *err);

/** The agents' reason if the destination refuses the tenant's log and that does not pass by itself; else OBV_OK. */
OBV_CHECK obv_code obv_archive_refused(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_err *err);

/** What the tenant's checkpoint says about its archive's health; for people and alarms. */
typedef enum obv_health { OBV_HEALTH_NONE = 0, OBV_HEALTH_OK, OBV_HEALTH_LAGGING, OBV_HEALTH_STUCK } obv_health;
obv_health obv_archive_health(const obv_settings *cfg, const obv_round_tenant *t, int64_t now);
/** What somebody must do about the tenant's archive; "" = nothing. */
const char *obv_archive_next(const obv_round_tenant *t, const obv_coverage *c);

/**
 * Brings the assignment up to the cluster's present state: new and dropped PGs, new tenants, moved leaders.
 * @param leaders look every leader up again, also where the schema is unchanged
 */
OBV_CHECK obv_code obv_archive_assign(obv_job_ctx *x, obv_cluster *c, const obv_round *round, bool leaders,
                                      obv_err *err);

/**
 * Ends the part of tenants that are not in the cluster any more, once the rest of their log is stored or has been
 * waited for. No files of theirs may be on their way.
 */
OBV_CHECK obv_code obv_archive_end_gone(obv_job_ctx *x, const obv_round *round, obv_err *err);

/* ---- shared by the files of the machine */
/** Finishes a publication whose files are stored. *settled: none is under way. */
OBV_CHECK obv_code obv_archive_settle(obv_job_ctx *x, const char *job_id, int64_t round, bool *settled, obv_err *err);
/** Queues all info files of the round as one publication. */
OBV_CHECK obv_code obv_archive_queue_all(obv_job_ctx *x, const char *job_id, int64_t round, obv_err *err);
/** Marks a tenant and its round INTERRUPTED: no checkpoint of that tenant moves any more. */
OBV_CHECK obv_code obv_archive_interrupt(obv_job_ctx *x, const obv_job *job, obv_round *r,
                                         const obv_round_tenant *tenant, const obv_err *why, obv_err *err);
/* Which tenants' checkpoints stand still, and since when; from one publication to the next. */
typedef struct obv_stall {
    uint64_t tenant;
    int64_t checkpoint_ts, since_ns;
    bool near; /* a gap, as told */
    int64_t near_ns;
} obv_stall;
typedef struct obv_stalls {
    obv_stall v[OBV_AGENT_TENANTS_MAX];
    size_t n;
} obv_stalls;
/** Proves what can be proven and queues its publication. */
OBV_CHECK obv_code obv_archive_publish(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_stalls *stalls,
                                       bool *queued, obv_err *err);
/** How long the tenant has stood still that moves least, ns; 0 = all move. */
int64_t obv_archive_stalled_ns(const obv_stalls *s, int64_t now_ns);

/* ---- archive_piece.c */
/** The round's first piece, if it is cut into pieces. In the caller's transaction, after the tenants are saved. */
OBV_CHECK obv_code obv_archive_first_piece(obv_job_ctx *x, obv_round *r, obv_err *err);
/** A tenant joins the round: its first piece is the newest one. */
OBV_CHECK obv_code obv_archive_join_piece(obv_job_ctx *x, const obv_round *r, obv_round_tenant *t, obv_err *err);
/** Switches to a new piece when it is time, freezes the old one when every PG has left it. Nothing must be queued. */
OBV_CHECK obv_code obv_archive_step_pieces(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_round *r,
                                           bool *queued, obv_err *err);
/** May the round end? Not before its newest piece has a checkpoint behind its beginning, if that can be had. */
OBV_CHECK obv_code obv_archive_piece_may_end(obv_job_ctx *x, const obv_round *r, bool *out, obv_err *err);

#endif
