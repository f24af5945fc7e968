/* cancel.h - an operator ends a job: it fails with OBV_E_CANCELLED and leaves nothing running behind */
#ifndef OBV_COORDINATOR_CANCEL_H
#define OBV_COORDINATOR_CANCEL_H

#include "job/context.h"

#define OBV_CANCEL_MARK_US (8 * OBV_US_PER_S) /* longest wait for a cancelled set's entries to be marked FAILED */

/**
 * Asks that a job end; "" means the backup that runs. Repeating it is harmless. OBV_E_NOT_FOUND; OBV_E_PRECONDITION: it
 * has ended, or is of a kind that ends otherwise.
 */
OBV_CHECK obv_code obv_job_cancel(obv_job_ctx *x, const char *id, obv_job *out, obv_err *err);
/** Is the job to be ended now? Not a set that is failing already. */
bool obv_job_is_cancelled(const obv_job *job);
/** The reason such a job ends with. */
void obv_job_cancelled(const obv_job *job, obv_err *out);

#endif
