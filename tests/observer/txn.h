/* txn.h - the leaders' side of the log: appending, transactions, weak-read timestamps, leader changes */
#ifndef OBS_TXN_H
#define OBS_TXN_H

#include "cluster.h"

struct log_item { /* what one item of a log carries; ts is given back */
    int64_t kind, trans_id;
    const struct change *changes;
    uint32_t n_changes;
    int64_t commit_version; /* 0 with TX_COMMIT: the item's own ts */
    const uint32_t *parts;  /* PG indexes of the participants */
    int n_parts;
    const uint8_t *rest; /* kinds that are no transactions */
    size_t rest_len;
    int64_t ts;
};
/** Appends one log of n items (one: SUBMIT, several: AGGRE). Lock held. Log id, or 0 when the PG has no living leader.
 */
uint64_t log_items(struct host *h, uint32_t pg, struct log_item *items, int n);
uint64_t log_raw(struct host *h, uint32_t pg, uint32_t type, const uint8_t *data, size_t n); /* lock held */

int64_t tx_begin(struct host *h); /* slot, -1 full */
/** Redo in one PG; takes the row locks. 0, -4038 no leader, -1 a row is locked (nothing done). */
int tx_change(struct host *h, int64_t slot, uint32_t pg, const struct change *c, uint32_t n);
/** Two-phase or one-PG commit; sleeps commit_spread_us between participants. Commit version or negative. */
int64_t tx_commit(struct host *h, int64_t slot);
void tx_abort(struct host *h, int64_t slot);
/** Whole transactions of one PG in one log entry: n changes, each its own transaction. Commit version of the last, or
 * negative. */
int64_t tx_singles(struct host *h, uint32_t pg, const struct change *c, uint32_t n);
/** One transaction in one PG in one item. */
int64_t tx_single(struct host *h, uint32_t pg, const struct change *c, uint32_t n);
/** Ends what dead processes left. */
void tx_recover(struct host *h);

/** Weak-read timestamps of all PGs right now (w[n_pg]), and raises max_w. Lock held. */
void weak_all(struct host *h, int64_t *w, uint32_t n);
int log_checkpoint(struct host *h, uint32_t pg); /* writes OB_LOG_TRANS_CHECKPOINT; takes the lock */
/** First log of a new PG. Lock held. */
void log_first(struct host *h, uint32_t pg, int leader);
int leader_move(struct host *h, uint32_t pg, int to); /* takes the lock */
int log_offline(struct host *h, uint32_t pg, int64_t schema_version);

#endif
