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
} obv_coverage;
OBV_CHECK obv_code obv_archive_coverage(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_coverage *out,
                                        obv_err *err);

/** The agents' reason if the destination refuses the tenant's log and that does not pass by itself; else OBV_OK. */
OBV_CHECK obv_code obv_archive_refused(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_err *err);

/**
 * Brings the assignment up to the cluster's present state: new and dropped PGs, new tenants, moved leaders.
 * @param leaders look every leader up again, also where the schema is unchanged
 */
OBV_CHECK obv_code obv_archive_assign(obv_job_ctx *x, obv_cluster *c, const obv_round *round, bool leaders,
                                      obv_err *err);

/* ---- shared by the files of the machine */
/** Finishes a publication whose files are stored. *settled: none is under way. */
OBV_CHECK obv_code obv_archive_settle(obv_job_ctx *x, const char *job_id, int64_t round, bool *settled, obv_err *err);
/** Queues all info files of the round as one publication. */
OBV_CHECK obv_code obv_archive_queue_all(obv_job_ctx *x, const char *job_id, int64_t round, obv_err *err);
/** Marks a tenant and its round INTERRUPTED: no checkpoint of that tenant moves any more. */
OBV_CHECK obv_code obv_archive_interrupt(obv_job_ctx *x, const obv_job *job, obv_round *r,
                                         const obv_round_tenant *tenant, const obv_err *why, obv_err *err);
/** Proves what can be proven and queues its publication. */
OBV_CHECK obv_code obv_archive_publish(obv_job_ctx *x, obv_cluster *c, const obv_job *job, bool *moved, obv_err *err);

#endif
