/* backup.h - full data backups: PREPARE, SCHEDULE, GENERATE, DOING, CLOSING, METAS, CLEANUP */
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

typedef struct obv_backup_replicas {
    uint64_t tenant_id;
    obv_replicas replicas;
    int64_t read_ns;
    bool unseen; /* they lack those of some PG */
} obv_backup_replicas;

/* Kept between steps; may be lost. */
typedef struct obv_backup_memory {
    obv_backup_replicas tenants[64]; /* of this set, replaced in turn */
    size_t count, next;
    /* what the copy had done when it last moved */
    int64_t moved_ns, done; /* moved_ns 0: not looked at */
    uint64_t bytes;
    int64_t no_destination_ns; /* since when no agent can store anything; 0: one can */
    /* when the source was last seen to be what the set began with */
    int64_t source_ns;
    char source_phase[24];
    /* some PG may have been dropped */
    bool look;
    int64_t looked_ns;
} obv_backup_memory;

/* A tenant's PGs and what is in them at one schema version. */
typedef struct obv_schema_list {
    int64_t version;
    obv_pgs pgs;
    obv_contents contents;
} obv_schema_list;
void obv_schema_list_fini(obv_schema_list *l);
/** *calm = false: there was DDL meanwhile, the list is of no use. */
OBV_CHECK obv_code obv_schema_list_read(obv_cluster *c, uint64_t tenant, obv_schema_list *out, bool *calm,
                                        obv_err *err);
/** Version and contents become the set's (inside the caller's transaction). */
OBV_CHECK obv_code obv_backup_keep_list(obv_job_ctx *x, obv_set_tenant *t, const obv_schema_list *l, obv_err *err);

/* What a look at copies and schema has led to; sums over tenants. */
typedef struct obv_backup_review {
    bool calm; /* false: DDL under a list, again later */
    uint32_t added, again, dropped;
    char lacking[256]; /* what some copy lacks */
} obv_backup_review;
/**
 * The tenant's copies against its schema now, whose version becomes the set's: new PGs and copies that lack something
 * become PENDING, dropped PGs leave.
 */
OBV_CHECK obv_code obv_backup_review_tenant(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set_tenant *t,
                                            obv_backup_review *r, obv_err *err);
/** PGs that wait to be copied and are not in the schema any more leave the set. */
OBV_CHECK obv_code obv_backup_drop_gone(obv_job_ctx *x, obv_cluster *c, const obv_set_tenant *t, obv_err *err);
/** Tables in tablegroup PGs of a task that the set's schema has no more, ascending; *out is the caller's to free. */
OBV_CHECK obv_code obv_backup_dropped(obv_job_ctx *x, int64_t set_id, uint64_t tenant, uint64_t task_id, uint64_t **out,
                                      size_t *n, obv_err *err);

/** Tenants' lists are made and stored; moves to DOING. */
OBV_CHECK obv_code obv_backup_generate(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err);
/** Hands out batches, decides about PGs that failed. *finished: every PG is copied. */
OBV_CHECK obv_code obv_backup_copy(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_set *set,
                                   obv_backup_memory *m, bool *finished, obv_err *err);
/**
 * All is copied: begins another pass if the schema wants it, else fixes S and moves to CLOSING. OBV_E_CONFLICT: too
 * many passes, or too long.
 */
OBV_CHECK obv_code obv_backup_close(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err);
/** Waits until the log reaches S. Moves to METAS; back to DOING if a DDL came before S after all. */
OBV_CHECK obv_code obv_backup_closing(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err);
OBV_CHECK obv_code obv_backup_metas(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_err *err);
OBV_CHECK obv_code obv_backup_cleanup(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_backup_memory *m,
                                      obv_err *err);
/** The set is FAILED for this reason: its entries are rewritten, then the job ends. */
OBV_CHECK obv_code obv_backup_fail(obv_job_ctx *x, const obv_job *job, const obv_err *why, obv_err *err);

#endif
