/* checks.h - what must hold before anything starts (docs/sql.md, "Preconditions") */
#ifndef OBV_COORDINATOR_CHECKS_H
#define OBV_COORDINATOR_CHECKS_H

#include "job/context.h"

/** OBV_E_BUSY: a job of that kind is running, and it is not the one that this run key began. */
OBV_CHECK obv_code obv_check_alone(obv_job_ctx *x, obv_job_kind kind, const char *run_key, obv_err *err);
/** Who the source is; OBV_E_CONFIG if the configuration means another cluster. */
OBV_CHECK obv_code obv_check_identity(obv_job_ctx *x, obv_cluster *c, obv_identity *id, obv_err *err);
/** Repository is ready, the cluster is the repository's, is primary, and no upgrade runs. OBV_E_PRECONDITION, ... */
OBV_CHECK obv_code obv_check_source(obv_job_ctx *x, obv_cluster *c, obv_identity *id, obv_err *err);
/** User tenants that can be archived and backed up; every one must use GTS. At least one. */
OBV_CHECK obv_code obv_check_tenants(obv_cluster *c, obv_tenants *out, obv_err *err);
/**
 * At least one living agent, which sees the repository if @p repository. OBV_E_PRECONDITION; OBV_E_NOT_READY while that
 * may be because coordinator or agent has just started.
 */
OBV_CHECK obv_code obv_check_agents(obv_job_ctx *x, bool repository, obv_err *err);
/**
 * For a job that runs: the reason why no living agent can use the destination, once that has lasted: 20 s if it is
 * another one, 120 s if there is none, a step's time if it may come back by itself. @p since_ns is kept by the caller,
 * 0 at first.
 */
OBV_CHECK obv_code obv_check_destination(obv_job_ctx *x, int64_t *since_ns, obv_err *err);

#endif
