/* sync.h - the agent's one conversation: reports up, assignments down, the last answer is the lease
 *
 * A thread calls the coordinator every 0.1 to 5 s as the answer says. When no answer came for the lease's length, by
 * this host's own monotonic clock, tasks stop at their next safe point; archiving goes on under the last assignment.
 */
#ifndef OBV_AGENT_SYNC_H
#define OBV_AGENT_SYNC_H

#include "config.h"
#include "destination.h"
#include "pipe/pool.h"
#include "source/source.h"

typedef struct obv_sync obv_sync;

typedef struct obv_sync_config {
    const obv_agent_config *cfg;
    obv_journal *journal;
    obv_destination *destination;
    obv_source *source;
    obv_pool *pool;
} obv_sync_config;

/** Starts the thread; everything in @p c outlives it. OBV_E_CONFIG: certificates. */
OBV_CHECK obv_code obv_sync_start(const obv_sync_config *c, obv_sync **out, obv_err *err);
/** Stops tasks at their next safe point, syncs the archive, ends the thread. */
void obv_sync_end(obv_sync *s);

#endif
