/* restore.h - a restore by the target OceanBase itself, from sources that we choose and name one by one */
#ifndef OBV_COORDINATOR_RESTORE_H
#define OBV_COORDINATOR_RESTORE_H

#include "job/context.h"
#include "state/rounds.h"

typedef struct obv_restore_request {
    const char *target; /* name in the configuration */
    const char *tenant, *new_tenant;
    int64_t until_us;
    const char *pools;                   /* comma list */
    const char *locality, *primary_zone; /* "" = as backed up */
} obv_restore_request;

/**
 * Checks everything that can be known beforehand and begins the job.
 * @return OBV_E_NOT_RESTORABLE (with the window), OBV_E_INVAL, OBV_E_PRECONDITION, OBV_E_NOT_FOUND (tenant)
 */
OBV_CHECK obv_code obv_restore_begin(obv_job_ctx *x, obv_cluster *target, const obv_restore_request *q,
                                     const char *run_key, obv_job *out, obv_err *err);
obv_job_step obv_restore_step;

/** The statement that starts it, for tests and for people. OBV_E_LIMIT. */
OBV_CHECK obv_code obv_restore_statement(const obv_job_ctx *x, const obv_restore *r, const obv_repository *repo,
                                         char *out, size_t cap, obv_err *err);

#endif
