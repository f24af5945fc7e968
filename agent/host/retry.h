/* retry.h - the one place where a failed call is made again: capped exponential backoff with full jitter
 *
 *   for (obv_retry t = obv_retry_start(budget_ms, cancel); ;) {
 *       obv_code code = call(err);
 *       if (code == OBV_OK || !obv_retry_again(&t, "what", err))
 *           return code;
 *   }
 */
#ifndef OBV_AGENT_HOST_RETRY_H
#define OBV_AGENT_HOST_RETRY_H

#include "base/cancel.h"
#include "base/err.h"

#include <stdbool.h>

#define OBV_RETRY_FIRST_MS 100u
#define OBV_RETRY_CAP_MS 10000u

typedef struct obv_retry {
    const obv_cancel *cancel;
    int64_t until_ns; /* CLOCK_MONOTONIC */
    uint32_t attempts;
} obv_retry;

/** @param budget_ms time after which the last error stands; the cancel token's deadline counts too */
obv_retry obv_retry_start(uint32_t budget_ms, const obv_cancel *cancel);
/**
 * Judges the error of the call just made. Waits before it returns true. False: not retryable, out of budget (the error
 * then says after how many attempts), or cancelled (the error becomes the cancellation).
 */
bool obv_retry_again(obv_retry *t, const char *what, obv_err *err);

#endif
