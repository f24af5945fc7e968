/* plan_check.h - are the objects that a restore would read at the destination? An agent looks, page by page
 *
 * What the coordinator knows by name: every object of the tenant's PGs in the set, the set's own lists and infos, and
 * the info of each piece. Files of the log archive are their writers' and listed nowhere; `local verify` reads those.
 */
#ifndef OBV_COORDINATOR_PLAN_CHECK_H
#define OBV_COORDINATOR_PLAN_CHECK_H

#include "job/context.h"

#define OBV_CHECK_PAGE 256u

/** Begins the job. @p deep: objects are read and their digests compared. As obv_plan_make; OBV_E_PRECONDITION. */
OBV_CHECK obv_code obv_plan_check_begin(obv_job_ctx *x, const char *tenant, int64_t at, bool deep, const char *run_key,
                                        obv_job *out, obv_err *err);
obv_job_step obv_plan_check_step;

/* One object of a page, as the agent is asked for it. */
typedef struct obv_check_object {
    char path[1024]; /* below the repository's root */
    bool presence;   /* size and digest are not known */
    uint64_t size;
    uint8_t sha256[32];
} obv_check_object;
typedef obv_code obv_check_object_fn(void *ctx, const obv_check_object *o, obv_err *err);
/** The objects of a task of such a job. *deep: to be read. */
OBV_CHECK obv_code obv_plan_check_page(const obv_job_ctx *x, const obv_task *t, bool *deep, obv_check_object_fn *fn,
                                       void *ctx, obv_err *err);

typedef struct obv_plan_check {
    bool deep;
    int64_t objects, checked, wrong;
} obv_plan_check;
OBV_CHECK obv_code obv_plan_check_get(obv_job_ctx *x, const obv_job *job, obv_plan_check *out, obv_err *err);

#endif
