/* backup.h - full data backups: PREPARE, SCHEDULE, GENERATE, DOING, METAS, CLEANUP */
#ifndef OBV_COORDINATOR_BACKUP_H
#define OBV_COORDINATOR_BACKUP_H

#include "job/backup_files.h"
#include "state/rounds.h"

/** Checks and begins a set. OBV_E_BUSY while one is running, OBV_E_PRECONDITION unless archiving is DOING. */
OBV_CHECK obv_code obv_backup_begin(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err);
obv_job_step obv_backup_step;

/* ---- the machine's parts */

#define OBV_BACKUP_STALL_STEPS 3 /* times step_s without any progress: the set fails */
static inline bool obv_backup_overdue(const obv_job_ctx *x, const obv_job *job)
{
    return obv_ctx_now(x) - job->phase_at > (int64_t)x->cfg->step_s * OBV_BACKUP_STALL_STEPS * OBV_US_PER_S;
}

/* Kept between steps; may be lost. */
typedef struct obv_backup_memory {
    struct {
        uint64_t tenant_id;
        obv_replicas replicas;
        int64_t read_ns;
    } tenants[64]; /* of this set, replaced in turn */
    size_t count, next;
    /* what the copy had done when it last moved */
    int64_t moved_set, moved_ns, done;
    uint64_t bytes;
    int64_t no_destination_ns; /* since when no agent can store anything; 0: one can */
    /* when the source was last seen to be what the set began with */
    int64_t source_ns;
    char source_phase[24];
} obv_backup_memory;

/** Tenants' lists are made and stored; moves to DOING. */
OBV_CHECK obv_code obv_backup_generate(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err);
/** Hands out batches, decides about PGs that failed. *finished: every PG is copied. */
OBV_CHECK obv_code obv_backup_copy(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_set *set,
                                   obv_backup_memory *m, bool *finished, obv_err *err);
/** Fixes S, and moves to METAS; or fails the set when there was DDL. */
OBV_CHECK obv_code obv_backup_close(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err);
OBV_CHECK obv_code obv_backup_metas(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_err *err);
OBV_CHECK obv_code obv_backup_cleanup(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_backup_memory *m,
                                      obv_err *err);
/** The set is FAILED for this reason: its entries are rewritten, then the job ends. */
OBV_CHECK obv_code obv_backup_fail(obv_job_ctx *x, const obv_job *job, const obv_err *why, obv_err *err);

#endif
