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
/** Half a block behind the last, as a write in flight leaves it; the next write begins at the same place. */
int clog_torn_tail(struct host *h);
/** Removes a closed file (0: the second oldest), whatever still needs it. Its id, or -errno. */
int clog_remove(struct host *h, uint32_t file);
/** Moves user_clog_min_using_file_id on over what could be recycled (knob clog_using_us). */
void clog_walk_using(struct host *h);

/** Where a log lies in the clog. */
struct place {
    int64_t pos; /* bus position behind it */
    uint32_t file, off, size, pg;
    uint64_t log_id;
    bool bad_block;       /* the block's head is to be damaged */
    uint64_t accum_delta; /* this host's entry differs: what its accumulated checksum changes by */
};
bool clog_place(struct host *h, int64_t pos_behind, struct place *out); /* in order; false: not written here */

void ilog_add(struct host *h, uint32_t pg, uint64_t log_id, const struct place *at, int64_t accum, int64_t submit_ts);
/** Writes the current file when something is older than ilog_freeze_us (or force). */
void ilog_tick(struct host *h, bool force);
int64_t ilog_start_pos(const struct host *h);
int ilog_purge(struct host *h);

/* ---- clogspoil.c */
/** An entry of the bus as this host stores it: plain, compressed (knob clog_compress) or spoilt. */
void clog_stored(struct host *h, const struct bus_rec *r, struct obuf *data, struct place *at);
/** What the cursor of a log says on this host; false: it gets none. */
bool cursor_spoil(struct host *h, struct place *at, int64_t *accum, int64_t *submit_ts);

#endif
