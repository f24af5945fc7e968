/* throttle.h - token bucket: bounds bytes (or requests) a second over any number of threads */
#ifndef OBV_BASE_THROTTLE_H
#define OBV_BASE_THROTTLE_H

#include "base/cancel.h"
#include "base/err.h"

typedef struct obv_throttle obv_throttle;

/** @param per_s tokens a second, 0 = unbounded @param burst tokens that may be saved up, at least 1. NULL: no memory */
obv_throttle *obv_throttle_new(uint64_t per_s, uint64_t burst);
void obv_throttle_free(obv_throttle *t);
/** Changes the rate at once, also for threads that wait. */
void obv_throttle_set(obv_throttle *t, uint64_t per_s);
/**
 * Takes @p n tokens, waiting for them; more than the burst is fine (the bucket goes into debt). A NULL throttle never
 * waits. First come, first served is not promised.
 * @return OBV_OK; OBV_E_CANCELLED, OBV_E_TIMEOUT (the token's): nothing was taken
 */
OBV_CHECK obv_code obv_throttle_take(obv_throttle *t, uint64_t n, const obv_cancel *c, obv_err *err);
/** Nanoseconds threads have waited in total. */
uint64_t obv_throttle_waited_ns(obv_throttle *t);

#endif
