/* hostd.h - the host's timer and its command thread; merges over the whole cluster */
#ifndef OBS_HOSTD_H
#define OBS_HOSTD_H

#include "clogw.h"
#include "txn.h"

void *timer_main(void *host);
void *command_main(void *host);
/** Is this the living host with the smallest id (plays RootService)? */
bool host_is_root(const struct host *h);
/** Waits until every living host has applied everything on the bus, and every W has passed @p ts. */
int cluster_catch_up(struct host *h, int64_t ts, int64_t timeout_us);
int cluster_freeze(struct host *h, int host_id, uint64_t tenant, int64_t pg, int flags, bool wait);
int cluster_compact(struct host *h, int host_id, uint64_t tenant, int64_t pg);
/** New major version everywhere: freeze, build on one host per PG, adopt. Version or negative. */
int64_t cluster_major(struct host *h, uint64_t tenant, int64_t pg);

#endif
