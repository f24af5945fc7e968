/* pool.h - a bounded set of equal buffers: aligned, faulted in at start, shared by all lanes of a process */
#ifndef OBV_PIPE_POOL_H
#define OBV_PIPE_POOL_H

#include "base/cancel.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct obv_pool obv_pool;

#define OBV_POOL_ALIGN 4096u /* bytes */

/** @param buf_bytes size of one buffer, rounded up to OBV_POOL_ALIGN @param count 1 to 65,536. OBV_E_NOMEM, OBV_E_INVAL
 */
OBV_CHECK obv_code obv_pool_new(size_t buf_bytes, uint32_t count, obv_pool **out, obv_err *err);
/** Every buffer must have been given back. */
void obv_pool_free(obv_pool *p);
static inline void obv_pool_freep(obv_pool **p) { obv_pool_free(*p); }
size_t obv_pool_buf_bytes(const obv_pool *p);
uint32_t obv_pool_count(const obv_pool *p);
/** Buffers that nobody holds now. */
uint32_t obv_pool_available(obv_pool *p);
/**
 * Takes n buffers together or none, waiting in order of arrival, so that two takers never starve or block each other
 * half-served. Whoever holds buffers must not wait for more.
 * @return OBV_OK; OBV_E_LIMIT: n is more than the pool has; OBV_E_CANCELLED; OBV_E_TIMEOUT
 */
OBV_CHECK obv_code obv_pool_take(obv_pool *p, uint32_t n, void **bufs, const obv_cancel *c, obv_err *err);
void obv_pool_give(obv_pool *p, uint32_t n, void *const *bufs);
/** Nanoseconds takers have waited in total. */
uint64_t obv_pool_waited_ns(obv_pool *p);

#endif
