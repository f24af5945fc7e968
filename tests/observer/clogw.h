/* clogw.h - one host's clog and ilog files and the threads that fill them from the bus */
#ifndef OBS_CLOGW_H
#define OBS_CLOGW_H

#include "replica.h"

/** Continues behind what lies on disk. 0 or -errno. */
int clog_open(struct host *h);
int ilog_open(struct host *h);
/** Threads: the writer flushes bus records to clog; the applier applies confirmed ones and gives them cursors. */
void *clog_writer_main(void *host);
void *applier_main(void *host);
/** Recycles up to n oldest closed files whose logs are all replayed into sstables; number done. */
int clog_recycle(struct host *h, int n);
/** Leaves entries that never get confirmed, with ids that follow the PG's last. */
int clog_stale_tail(struct host *h, uint32_t pg, int count);

/** Where a log lies in the clog. */
struct place {
    int64_t pos; /* bus position behind it */
    uint32_t file, off, size, pg;
    uint64_t log_id;
};
bool clog_place(struct host *h, int64_t pos_behind, struct place *out); /* in order; false: not written here */

void ilog_add(struct host *h, uint32_t pg, uint64_t log_id, const struct place *at, int64_t accum, int64_t submit_ts);
/** Writes the current file when something is older than ilog_freeze_us (or force). */
void ilog_tick(struct host *h, bool force);
int64_t ilog_start_pos(const struct host *h);
int ilog_purge(struct host *h);

#endif
