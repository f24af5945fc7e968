/* archive_priv.h - inside of the archive job
 *
 * archive.c         life cycle, assignment pages, report
 * archive_loop.c    the job's thread: switch assignment, bring PGs up, read, append, sync, publish
 * archive_media.c   a PG's files: archive_key, kickoff, blocks, file switch, index records
 * archive_resume.c  what an earlier epoch left of a PG: take-over by reading media
 * archive_scan.c    one data file, block by block
 * archive_piece.c   piece mode: in which piece a PG is, and its step to the next one
 * archive_sample.c  checkpoints out of samples; the sampling thread
 * archive_far.c     samples of PGs that are led elsewhere
 * archive_fast.c    what the local OBServer says of the PGs it leads: commits before the ilog has them
 * archive_sql.c     samples and polls of OBServers
 * archive_gap.c     how far recycling is from log that is needed
 *
 * Locks: `mu` guards what is marked so. Everything else of a PG belongs to the job's thread, which lends a PG to one of
 * its helpers at a time.
 */
#ifndef OBV_AGENT_JOB_ARCHIVE_PRIV_H
#define OBV_AGENT_JOB_ARCHIVE_PRIV_H

#include "format/media/archive_index.h"
#include "format/media/archive_paths.h"
#include "job/archive.h"
#include "job/pieces.h"
#include "source/clog.h"

#include <pthread.h>

#define OBV_ARCHIVE_WORKERS_MAX 16u
#define OBV_ARCHIVE_SAMPLES 8u
#define OBV_ARCHIVE_SERVERS 16u /* leaders of PGs, of one sampling */

/* ---- what the job needs of the OBServer; tests put their own */

typedef struct obv_archive_origin {
    obv_pg_key key; /* with the server's own assist */
    bool restoring;
    obv_archive_base base; /* of an existing PG; start_ts and log_submit_ts are the same here */
} obv_archive_origin;

/* One row of each local table, as gathered. */
typedef struct obv_archive_row {
    uint64_t table_id;
    int64_t partition_id;
    int64_t readable_ts; /* weak_read_timestamp; 0 = none */
    uint64_t last_log_id;
    int64_t leader_epoch;
    bool leader;       /* role in clog_stat */
    uint8_t leader_at; /* who leads it, as the server says: place in `servers` + 1; 0 = not known */
    bool has_stat, has_readable, has_epoch;
} obv_archive_row;

typedef struct obv_archive_sampled {
    int64_t began_at, ended_at; /* wall us around all queries */
    obv_archive_row *rows;      /* sorted by table, partition; malloc'ed */
    size_t count;
    uint64_t oldest_clog_file;
    bool one_phase_commit;
    char servers[OBV_ARCHIVE_SERVERS][24]; /* leaders named by rows: "ip:rpc port" */
    size_t server_count;
} obv_archive_sampled;

/* What the local OBServer says of its replica of a PG: one row of a poll. */
typedef struct obv_archive_window {
    uint64_t table_id;
    int64_t partition_id;
    int64_t leader_epoch; /* read before the rest */
    uint64_t start_id;    /* of the sliding window: smaller ids have left it */
    bool leader, need_rebuild, has_stat;
} obv_archive_window;

typedef struct obv_archive_polled {
    obv_archive_window *rows; /* sorted by table, partition; malloc'ed */
    size_t count;
    bool one_phase_commit;
} obv_archive_polled;

typedef struct obv_archive_hooks {
    void *ctx;
    obv_code (*origin)(void *ctx, const obv_pg_key *pg, const obv_cancel *c, obv_archive_origin *out, obv_err *err);
    /** Readable times first, then last log ids. */
    obv_code (*sample)(void *ctx, const obv_cancel *c, obv_archive_sampled *out, obv_err *err);
    /** The same of another server, asked there: "ip:rpc port". NULL: that cannot be done. */
    obv_code (*sample_at)(void *ctx, const char *server, const obv_cancel *c, obv_archive_sampled *out, obv_err *err);
    /** Epochs first, then windows. Called by a thread of its own. NULL: no fast proof. */
    obv_code (*poll)(void *ctx, const obv_cancel *c, obv_archive_polled *out, obv_err *err);
    void (*close)(void *ctx);
} obv_archive_hooks;

/** As obv_archive_start with hooks of the caller; they are closed by obv_archive_end, not when this fails. */
OBV_CHECK obv_code obv_archive_start_with(const obv_archive_config *cfg, const obv_archive_hooks *hooks,
                                          obv_archive **out, obv_err *err);

/* ---- one PG */

/* State of a PG on media, by what was appended (not yet synced). */
typedef struct obv_archive_media {
    bool known; /* start is */
    bool has_key;
    bool kicked; /* a kickoff block exists */
    bool has_pg; /* pg is: the key as the entries on media spell it, with its assist */
    obv_pg_key pg;
    obv_archive_base start;
    uint64_t last_log_id;
    int64_t accum, epoch_id; /* of last_log_id */
    int64_t submit_ts;       /* greatest so far */
    int64_t checkpoint;      /* greatest of archived checkpoint logs */
    bool offline;            /* the PG's last log is archived */
    uint64_t data_file;
    uint32_t data_at; /* its length; 0 = not created */
    uint64_t file_min_log_id;
    int64_t file_min_ts;
    uint64_t index_file;
    uint32_t index_at;
    uint64_t last_data, last_index; /* greatest ids that exist in its piece; 0 = none */
} obv_archive_media;

enum obv_archive_stage {
    OBV_PG_NEW,    /* media must be read before anything is written */
    OBV_PG_FIRST,  /* waits for log 1, whose time its kickoff needs */
    OBV_PG_READY,  /* appends */
    OBV_PG_FAILED, /* its log has a hole or is damaged, or a later epoch is at work: not before another epoch */
};

typedef struct obv_archive_sample {
    int64_t readable_ts;
    uint64_t last_log_id;
    int64_t began_at, ended_at;
} obv_archive_sample;

typedef struct obv_archive_pg {
    obv_archive_assign assign;
    obv_pg_key key; /* as assigned, with the server's assist once known; changed by the loop under mu */
    enum obv_archive_stage stage;
    uint64_t piece; /* where its files are: the job's piece or, until it has stepped, an earlier one; 0 in round mode */
    int64_t piece_date;
    obv_archive_media media;
    obv_clog_pg pos;
    /* Fast proof: the leadership of this host as polled without a break, epoch 0 = none; start_id at its first poll and
     * at the last one. */
    struct {
        int64_t epoch;
        uint64_t from, start_id;
    } led;
    bool dirty;
    bool adrift;        /* a step failed half-way: media says nothing reliable until it is read again */
    uint32_t synced_at; /* length of media.data_file up to which it is durable */
    /* After a failed sync: what lies behind distrust_at of that file may never have reached the disk. */
    uint64_t distrust_piece, distrust_file;
    uint32_t distrust_at;
    int64_t retry_at_ns;
    uint32_t retries;
    uint64_t bytes_in, bytes_out;
    uint32_t near_file; /* clog file in which the next log was last seen to lie; 0 = never */
    obv_err error;

    /* guarded by mu: only durable things */
    struct {
        bool started, offline, failed;
        uint64_t log_id;
        uint64_t piece; /* its archive_key is durable there, and nothing more goes to an earlier one */
        int64_t start_ts, checkpoint_logged, submit_ts;
        uint64_t bytes_in, bytes_out;
        obv_err error;
    } done;
    int64_t checkpoint; /* guarded by mu, as all below */
    int64_t checkpoint_began_at, checkpoint_ended_at;
    obv_archive_sample samples[OBV_ARCHIVE_SAMPLES]; /* oldest first */
    uint32_t sample_count;
    int64_t seen_epoch; /* leader epoch at the end of the last sampling; 0 = was not leader */
    int64_t far_epoch;  /* the same, of the last sampling at another server */
} obv_archive_pg;

/* ---- the job */

/* How fast the OBServer recycles clog files. */
typedef struct obv_gap_mark {
    uint64_t file; /* user_clog_min_using_file_id */
    int64_t ns;
} obv_gap_mark;
typedef struct obv_gap_meter {
    obv_gap_mark base, later, now;
} obv_gap_meter;

typedef struct obv_archive_list {
    uint64_t revision;
    uint32_t total, received;
    bool stop;
    uint32_t flush_ms, compressor;
    obv_archive_place place;
    obv_archive_assign *pgs;
} obv_archive_list;

/* The round's pieces up to the job's own. */
typedef struct obv_archive_pieces {
    uint64_t tenant;
    obv_archive_step *steps; /* ascending */
    size_t count;            /* 0: not read yet */
    obv_err error;           /* why the last attempt to read them failed */
} obv_archive_pieces;

typedef struct obv_archive_worker {
    obv_buf raw, payload, out;
} obv_archive_worker;

struct obv_archive {
    obv_archive_config cfg;
    char *texts[4]; /* copies of the config's strings */
    obv_archive_hooks hooks;
    obv_cancel *cancel;
    pthread_t loop, sampler, poller;
    bool loop_runs, sampler_runs, poller_runs;
    pthread_mutex_t mu;
    pthread_cond_t wake;

    /* guarded by mu */
    obv_archive_list incoming, pending;
    bool has_pending;
    obv_archive_pg **pgs; /* sorted by table, partition; changed by the loop only */
    size_t pg_count;
    uint64_t revision; /* in force */
    bool stopped;
    obv_err loop_error, sample_error;
    obv_clog_files files;
    uint64_t oldest_clog_file, needed_clog_file;
    obv_gap_meter gap;
    size_t far_next;    /* the sampler's own: server that is asked first */
    int64_t sampled_at; /* wall us at the beginning of the last good sampling */

    /* the loop asks, the poller answers */
    uint64_t poll_wanted, poll_done;
    obv_archive_polled polled;
    obv_code poll_code;

    /* the loop's own */
    bool has_place, stop;
    obv_archive_place place;
    obv_archive_pieces *pieces; /* one a tenant, in piece mode */
    size_t piece_count;
    uint32_t flush_ms;
    int64_t sync_ns; /* how long the last sync took */
    enum obv_archive_compressor compressor;
    obv_clog_source *clog;
    bool caught_up; /* every cursor of the last refresh was read for every PG */
    obv_archive_worker workers[OBV_ARCHIVE_WORKERS_MAX];
};

/* Order of PGs by what SQL and names know of them. */
int obv_archive_order(uint64_t table_a, int64_t partition_a, uint64_t table_b, int64_t partition_b);

void *obv_archive_loop(void *archive);
void *obv_archive_sampler(void *archive);

/* ---- archive_media.c */
/** archive_key and kickoff block of a PG whose start is known; the append is not synced. */
OBV_CHECK obv_code obv_archive_kick_off(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_err *err);
/** Appends logs, the next ones of the PG, as blocks; switches files. Not synced. */
OBV_CHECK obv_code obv_archive_append(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w,
                                      const obv_clog_log *logs, size_t n, obv_err *err);
/** Appends one index record and syncs it; a new index file when the present one is full. */
OBV_CHECK obv_code obv_archive_add_index(obv_archive *a, obv_archive_pg *pg, const obv_archive_index *r, obv_err *err);
/** Record of the PG's progress for data file `file_id`. */
obv_archive_index obv_archive_index_of(const obv_archive_media *m, uint64_t file_id, bool effective);

/* ---- archive_resume.c, archive_scan.c */
/** Reads the PG's files, closes what an earlier writer left open, and sets pg->media; known = false: there is nothing.
 */
OBV_CHECK obv_code obv_archive_resume(obv_archive *a, obv_archive_pg *pg, obv_err *err);

typedef struct obv_archive_scan {
    uint64_t size;      /* of the file */
    uint64_t valid_end; /* where good blocks end */
    bool any;           /* a good block */
    bool torn_only;     /* behind valid_end nothing that a reader would stumble over: less than one block */
    bool later_block;   /* a good block lies behind damage */
    uint64_t min_log_id;
    int64_t min_log_ts;
} obv_archive_scan;
/** The last block of a data file whose logs m covers: key and off-line log. A file that has none is no failure. */
OBV_CHECK obv_code obv_archive_peek_last(obv_archive *a, const obv_archive_pg *pg, const char *key,
                                         obv_archive_media *m, obv_err *err);
/** Follows a data file from the PG's progress on; m advances over its logs. Bytes from `trust` on are not looked at. */
OBV_CHECK obv_code obv_archive_scan_data(obv_archive *a, const obv_archive_pg *pg, const char *key, uint64_t trust,
                                         obv_archive_media *m, obv_archive_scan *out, obv_err *err);

/** Like obv_archive_peek_last for the newest data file in the PG's present piece directory; nothing if there is none.
 */
OBV_CHECK obv_code obv_archive_peek_piece(obv_archive *a, const obv_archive_pg *pg, obv_archive_media *m, obv_err *err);

/* ---- archive_piece.c */
/** Where the PG's files are. */
obv_archive_place obv_archive_place_of(const obv_archive *a, const obv_archive_pg *pg);
/** Reads the lists of pieces that PGs need now; those of the loop, before its helpers are at work. */
void obv_archive_load_pieces(obv_archive *a);
void obv_archive_drop_pieces(obv_archive *a);
/** The list of the PG's tenant up to the job's piece; NULL: not known, why is in *err. */
const obv_archive_pieces *obv_archive_pieces_of(const obv_archive *a, const obv_archive_pg *pg, obv_err *err);
/** Sets pg->piece to the newest piece that holds its archive_key, else to the job's piece. */
OBV_CHECK obv_code obv_archive_find_piece(obv_archive *a, obv_archive_pg *pg, obv_err *err);
/** What only entries tell of a PG without data in its present piece (obv_archive_media.pg), from earlier pieces. */
OBV_CHECK obv_code obv_archive_peek_earlier(obv_archive *a, obv_archive_pg *pg, obv_err *err);
/** Closes a PG's files, all durable, and opens it in the next piece and on to the job's: archive_key with what was
 *  stored so far. A PG that has ended is only closed: as with OceanBase, it gets no key in later pieces. */
OBV_CHECK obv_code obv_archive_step_on(obv_archive *a, obv_archive_pg *pg, obv_err *err);

/* ---- archive_gap.c */
void obv_gap_meter_see(obv_gap_meter *m, uint64_t oldest, int64_t now_ns);
/** Seconds until `needed` is recycled; 0: it may be at any moment; -1: nothing is being recycled. */
int64_t obv_gap_meter_left_s(const obv_gap_meter *m, uint64_t needed);
/** Least clog file with log that is not stored; the newest one when all is. For the loop. */
uint64_t obv_archive_needed_file(obv_archive *a, uint32_t newest);

/* ---- archive_far.c; for the sampler */
/** Samples, where they are led, PGs that the local server does not lead. @p local: its own sampling, just taken. */
void obv_archive_sample_far(obv_archive *a, const obv_archive_sampled *local, int64_t *last_ns);

/* ---- archive_fast.c */
void *obv_archive_poller(void *archive);
/** Scans the tail and polls; tells the PGs' positions what is surely committed. @return whether any may go on by that
 */
bool obv_archive_fast(obv_archive *a, obv_archive_pg *const *pgs, obv_clog_pg *const *pos, size_t n);

/* ---- archive_sample.c; mu is held */
void obv_archive_add_sample(obv_archive_pg *pg, const obv_archive_sample *s);
const obv_archive_row *obv_archive_find_row(const obv_archive_sampled *s, const obv_pg_key *key);
void obv_archive_publish(obv_archive_pg *pg, bool synced);
void obv_archive_settle(obv_archive_pg *pg);

#endif
