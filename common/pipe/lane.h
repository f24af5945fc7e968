/* lane.h - ordered, bounded pipeline: one source thread, N workers, the caller's thread as in-order sink
 *
 * A ring of slots (free, filled, busy, done). In flight <= depth, so memory is fixed and the order needs no queue that
 * could fill up. The first error of any stage wins, asks the others to stop through the slots' token, and is returned
 * when all threads have left. A lane knows neither formats nor storage.
 */
#ifndef OBV_PIPE_LANE_H
#define OBV_PIPE_LANE_H

#include "base/cancel.h"
#include "base/err.h"
#include "pipe/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBV_LANE_WORKERS_MAX 64u
#define OBV_LANE_DEPTH_MAX 1024u

/* One unit on its way. Owned by the stage that was called with it, until that call returns. */
typedef struct obv_lane_slot {
    uint64_t seq;  /* 0, 1, ... in order of fill */
    uint8_t *data; /* pool buffer */
    size_t len, cap;
    uint8_t *out; /* second pool buffer, for what a worker makes of data; NULL unless with_out */
    size_t out_len, out_cap;
    void *item;               /* item_size bytes of the job's own, zeroed before fill; 16-byte aligned */
    const obv_cancel *cancel; /* requested on the first error and by the caller's token: for waits inside a stage */
} obv_lane_slot;

typedef struct obv_lane_ops {
    /** Puts the next unit into the slot (data, len, item). *more = false: there is none, the slot is not used. */
    obv_code (*fill)(void *ctx, obv_lane_slot *s, bool *more, obv_err *err);
    /** Any worker, any order, several at once. NULL: no workers are started. */
    obv_code (*work)(void *ctx, unsigned worker, obv_lane_slot *s, obv_err *err);
    /** Order of seq, on the caller's thread. */
    obv_code (*drain)(void *ctx, const obv_lane_slot *s, obv_err *err);
} obv_lane_ops;

/* What a stage did: who is busy all the time is the bottleneck; blocked = waiting for its neighbours. */
typedef struct obv_stage_stats {
    uint64_t units;
    uint64_t bytes; /* source and worker: len after the call; sink: out_len if with_out, else len */
    uint64_t busy_ns;
    uint64_t blocked_ns;
} obv_stage_stats;

typedef struct obv_lane_stats {
    obv_stage_stats source, work /* sum over workers */, sink;
    uint64_t elapsed_ns;
} obv_lane_stats;

typedef struct obv_lane_config {
    unsigned workers; /* 1 to OBV_LANE_WORKERS_MAX */
    unsigned depth;   /* slots, 1 to OBV_LANE_DEPTH_MAX; each takes one pool buffer, two if with_out */
    obv_pool *pool;
    bool with_out;
    size_t item_size;         /* bytes, may be 0 */
    const obv_cancel *cancel; /* may be NULL */
} obv_lane_config;

/**
 * Runs to the end of the source. Takes depth (x 2) buffers of the pool, waiting for them, and gives them back.
 * @param stats added to, also on failure; may be NULL
 * @return OBV_OK; the first error of a stage; OBV_E_CANCELLED, OBV_E_TIMEOUT; OBV_E_LIMIT (pool too small); OBV_E_NOMEM
 */
OBV_CHECK obv_code obv_lane_run(const obv_lane_ops *ops, void *ctx, const obv_lane_config *cfg, obv_lane_stats *stats,
                                obv_err *err);

/** Name of the stage that was busiest for its threads: "source", "work" or "sink". */
const char *obv_lane_bottleneck(const obv_lane_stats *s, unsigned workers);

#endif
