/* runner.h - one thread for each kind of job: calls the machines of running jobs until they end */
#ifndef OBV_COORDINATOR_RUNNER_H
#define OBV_COORDINATOR_RUNNER_H

#include "job/context.h"

typedef struct obv_runner obv_runner;
/** @p base is copied for each thread, which gets cluster handles of its own from @p clusters_of. */
typedef obv_code obv_clusters_of(void *ctx, obv_clusters *out, obv_err *err);
OBV_CHECK obv_code obv_runner_start(const obv_job_ctx *base, obv_clusters_of *clusters_of,
                                    void (*clusters_free)(void *), void *ctx, obv_runner **out, obv_err *err);
/** Ends the threads after their current step. */
void obv_runner_stop(obv_runner *r);

/** One round over the running jobs of a kind: for tests and for the threads. *again_ms = when to come back. */
OBV_CHECK obv_code obv_runner_pass(obv_job_ctx *x, obv_job_kind kind, uint32_t *again_ms, obv_err *err);

#endif
