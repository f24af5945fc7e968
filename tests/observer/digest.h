/* digest.h - what the rows are at a time: from the whole history on the bus, or from one host's sstables (CONTRACT.md
 * 6) */
#ifndef OBS_DIGEST_H
#define OBS_DIGEST_H

#include "schema.h"

json_t *digest_history(struct host *h, const json_t *req); /* verb digest */
json_t *digest_store(struct host *h, const json_t *req);   /* verb store_digest; this host only */
/** Waits until every transaction with commit version <= ts has its end in the log. 0 or -4012. */
int wait_committed(struct host *h, int64_t ts, int64_t timeout_us);

#endif
