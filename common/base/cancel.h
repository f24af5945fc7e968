/* cancel.h - one token that asks a job and all its threads to stop, with an optional deadline */
#ifndef OBV_BASE_CANCEL_H
#define OBV_BASE_CANCEL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct obv_cancel obv_cancel;

/** A new token, child of @p parent (may be NULL): it is cancelled when the parent is. NULL when out of memory. */
obv_cancel *obv_cancel_new(const obv_cancel *parent);
void obv_cancel_free(obv_cancel *c);
/** Asks for the stop; any thread, any number of times, safe in a signal handler. */
void obv_cancel_request(obv_cancel *c);
/** CLOCK_MONOTONIC nanoseconds after which the token counts as timed out; 0 removes the deadline. */
void obv_cancel_set_deadline(obv_cancel *c, int64_t at_ns);
/** @return true once cancelled or past the deadline. A NULL token never is. */
bool obv_cancel_requested(const obv_cancel *c);
/** OBV_OK, OBV_E_CANCELLED or OBV_E_TIMEOUT, naming @p what. */
OBV_CHECK obv_code obv_cancel_check(const obv_cancel *c, const char *what, obv_err *err);
/** Sleeps at most @p ms, in small steps, and returns early once cancelled (as obv_cancel_check). */
OBV_CHECK obv_code obv_cancel_sleep(const obv_cancel *c, uint32_t ms, obv_err *err);
/** Milliseconds to the deadline, UINT32_MAX if there is none, 0 once cancelled. */
uint32_t obv_cancel_left_ms(const obv_cancel *c);

#endif
