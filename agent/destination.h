/* destination.h - the repository this agent writes to: opened when it is there, its identity watched all the time
 *
 * An agent starts also while its destination is not mounted. The identity is read before the first write of each task
 * and every few seconds; the uuid that was seen first is kept in the journal, and another one stops all writing.
 */
#ifndef OBV_AGENT_DESTINATION_H
#define OBV_AGENT_DESTINATION_H

#include "config.h"
#include "host/repository.h"
#include "job/journal.h"

typedef struct obv_destination obv_destination;

#define OBV_DESTINATION_PINNED "repository_uuid" /* name in the journal: the repository seen first */

/** Starts the watching thread. @p cfg and @p journal outlive it. */
OBV_CHECK obv_code obv_destination_start(const obv_agent_config *cfg, obv_journal *journal, obv_destination **out,
                                         obv_err *err);
/** Nobody may use the store any more. */
void obv_destination_end(obv_destination *d);

/** NULL until the storage could be opened once; then the same pointer for good. */
obv_store *obv_destination_store(obv_destination *d);
/** As of the last look: OBV_OK and the identity, or why there is none. */
OBV_CHECK obv_code obv_destination_identity(obv_destination *d, obv_repository *out, obv_err *err);

/* For obv_runner_config; ctx is the destination. */
obv_code obv_destination_gate(void *ctx, const obv_cancel *c, obv_err *err);
void obv_destination_initialised(void *ctx, const obv_repository *r);

/** Takes the repository that is there now for ours. */
OBV_CHECK obv_code obv_destination_adopt(obv_journal *journal, const obv_repository *r, obv_err *err);

#endif
