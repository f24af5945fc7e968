/* repo_init.h - the repository's identity: made once, by one agent, never over something else */
#ifndef OBV_COORDINATOR_REPO_INIT_H
#define OBV_COORDINATOR_REPO_INIT_H

#include "job/context.h"

/** OBV_E_EXISTS when there is one; OBV_E_PRECONDITION without a living agent. */
OBV_CHECK obv_code obv_repo_init_begin(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err);
obv_job_step obv_repo_init_step;

#endif
