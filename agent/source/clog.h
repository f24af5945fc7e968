/* clog.h - source driver: committed log entries of many PGs, straight from the OBServer's clog and ilog files
 *
 * What is committed is decided by the ilog's cursors. The ilog's newest file is rewritten by rename while it grows
 * (about every 10 s), so it is opened anew when it changed. Where the caller knows from the leader itself that logs are
 * committed (obv_clog_pg_sure), they are taken from the live tail without waiting for their cursors, which are compared
 * later. Entries are read in clog file order, O_DIRECT, one
 * bounded batch at a time, each byte once where the PGs' positions allow; a batch hands them out grouped by PG in log
 * order. Every entry is proven: header and data checksum, key, log id, submit time and the accumulated checksum that
 * the cursor states. A file that was reused under our hands is noticed (name, inode, first block) and never used.
 * Damage stops the PGs whose logs it hits and no other: an entry, a clog file, a cursor, an ilog file.
 *
 * Thread rule: one thread per obv_clog_source.
 */
#ifndef OBV_AGENT_SOURCE_CLOG_H
#define OBV_AGENT_SOURCE_CLOG_H

#include "base/cancel.h"
#include "format/ob/clog_entry.h"

typedef struct obv_clog_source obv_clog_source;

typedef struct obv_clog_config {
    const char *store_dir; /* the OBServer's store: clog/ and ilog/ lie below it */
    size_t batch_bytes;    /* entry bytes read at once; 0 = 16 MiB, at least 4 MiB */
    unsigned read_depth;   /* reads in flight; 0 = 8 */
} obv_clog_config;

/* Position of one PG, the caller's memory. Set it with obv_clog_pg_set only. */
typedef struct obv_clog_pg {
    obv_pg_key key;
    uint64_t next_log_id; /* the next log that a batch will give */
    int64_t accum;        /* accumulate_checksum after next_log_id - 1 */
    obv_code failed;      /* OBV_E_LOG_GAP, OBV_E_CORRUPT: no batch gives this PG until it is set again */
    char why[160];
    /* logs of the live tail: set by obv_clog_pg_sure */
    bool watched;
    uint64_t sure_from, sure_below;
    /* private */
    uint64_t watched_since;   /* scan from which on copies count; 0 = the next one */
    uint64_t audit_log_id;    /* given out without its cursor; 0 = none waits for it */
    int64_t audit_accum;      /* after it */
    uint32_t audit_ilog;      /* first ilog file in which the cursor may lie */
    uint64_t bits_from;       /* logs [bits_from, bits_end) were given out as not committed in a batch; */
    uint64_t bits_end;        /* their cursors must say the same */
    uint32_t ilog_id;         /* ilog file in which next_log_id lies or will lie; 0 = not located */
    uint32_t file_id, offset; /* of next_log_id in the clog; file_id 0 = not known */
    bool anchored;            /* accum was compared with the cursor of next_log_id - 1, once since it was set */
    uint32_t over_ilog;       /* damaged ilog file that was passed by: next_log_id may lie in it */
    uint32_t tries;           /* failed proofs of next_log_id */
    uint64_t waits;           /* refresh in which it failed: tried again after the next one */
} obv_clog_pg;

void obv_clog_pg_set(obv_clog_pg *pg, const obv_pg_key *key, uint64_t next_log_id, int64_t accum);

/**
 * What the caller knows of logs that no cursor names yet. @p watched: the tail's copies of this PG's logs are
 * remembered from now on. Logs [from, below) are committed and their committed copies were on this host's disk before
 * the last obv_clog_scan began; from == below: none is known to be.
 */
void obv_clog_pg_sure(obv_clog_pg *pg, bool watched, uint64_t from, uint64_t below);

/* One committed log. */
typedef struct obv_clog_log {
    uint32_t pg;          /* index into the pgs of the call */
    obv_clog_entry entry; /* batch_committed as the cursor says */
    obv_span bytes;       /* header and data as in the clog (unpacked if they were compressed there) */
    int64_t accum;        /* after this log */
} obv_clog_log;

/* Valid until the next call on the source. Sorted by PG, then log id; a PG's logs have no hole. */
typedef struct obv_clog_batch {
    const obv_clog_log *logs;
    size_t count;
    uint64_t bytes;
} obv_clog_batch;

/** OBV_E_NOT_FOUND: no clog or ilog folder there. */
OBV_CHECK obv_code obv_clog_open(const obv_clog_config *cfg, obv_clog_source **out, obv_err *err);
void obv_clog_close(obv_clog_source *s);

/** Lists both folders again. *changed: there may be new committed logs. */
OBV_CHECK obv_code obv_clog_refresh(obv_clog_source *s, bool *changed, obv_err *err);

/**
 * Next batch over @p pgs as of the last refresh. count 0: all is read. PGs whose log is gone or damaged are marked
 * (failed) and left out; the others go on. Positions are advanced. After an error, too, PGs may be marked.
 * @return OBV_OK; OBV_E_CORRUPT: all is read but what a damaged ilog file may name, of PGs that no later one names;
 *         OBV_E_IO and others when the folders themselves cannot be read
 */
OBV_CHECK obv_code obv_clog_read(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, const obv_cancel *c,
                                 obv_clog_batch *out, obv_err *err);

/**
 * Reads what the clog's tail has got since the last scan (the first one begins with the newest file) and remembers
 * where copies of the logs of watched PGs lie; of several copies of a log the one with the greatest proposal id counts.
 * *whole: the tail was reached. Memory is bounded: when too many copies wait, all are forgotten, and those logs come by
 * their cursors.
 */
OBV_CHECK obv_code obv_clog_scan(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, const obv_cancel *c,
                                 bool *whole, obv_err *err);

typedef struct obv_clog_files {
    uint32_t oldest, newest; /* clog file ids present at the last refresh, 0 = none */
    uint32_t newest_ilog;
} obv_clog_files;
void obv_clog_files_seen(const obv_clog_source *s, obv_clog_files *out);

#endif
