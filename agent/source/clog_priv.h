/* clog_priv.h - inside of the clog source: listing and ilog cache (clog_ilog.c), batches (clog.c, clog_fetch.c), the
 * live tail (clog_tail.c)
 */
#ifndef OBV_AGENT_SOURCE_CLOG_PRIV_H
#define OBV_AGENT_SOURCE_CLOG_PRIV_H

#include "base/map.h"
#include "base/uring.h"
#include "format/ob/clog_walk.h"
#include "format/ob/ilog.h"
#include "source/clog.h"

#include <sys/types.h>

/* An ilog file as last listed; another inode, size or time means that it was written anew. */
typedef struct obv_ilog_seen {
    uint32_t id;
    ino_t inode;
    uint64_t size;
    int64_t mtime_ns;
    bool bad; /* could not be used since the listing */
} obv_ilog_seen;

/* An ilog file held open with its info block in memory. */
typedef struct obv_ilog_file {
    int fd; /* -1: nothing is held */
    obv_ilog_seen seen;
    obv_ilog_trailer trailer;
    obv_ilog_info info;
    uint8_t *bytes; /* of the info block */
} obv_ilog_file;

/* Why a log's bytes are not there. */
enum obv_clog_lost {
    OBV_CLOG_GONE,       /* no such file */
    OBV_CLOG_REUSED,     /* the file has begun another life */
    OBV_CLOG_UNREADABLE, /* the disk does not give it, or its first block is damaged */
};

/* One log of the batch under construction. */
typedef struct obv_clog_want {
    uint32_t pg;
    uint64_t log_id;
    obv_ilog_cursor at;
    const uint8_t *bytes; /* NULL: see lost */
    enum obv_clog_lost lost;
    bool later;   /* no room for it in this batch, as it lies there or unpacked */
    bool of_tail; /* no cursor names it: at.accum is not known before */
} obv_clog_want;

/* Identity of a clog file's present life. */
typedef struct obv_clog_life {
    ino_t inode;
    int64_t first_block; /* timestamp of the block at offset 0 */
} obv_clog_life;

/* The live tail. */
typedef struct obv_clog_tail {
    obv_map *copies;  /* {PG, log id} -> obv_clog_copy; NULL until the first scan */
    uint64_t scan;    /* number of the last scan */
    uint32_t file_id; /* where it stands; 0 = nowhere yet */
    obv_clog_place place;
    obv_clog_life life; /* of file_id, while place.offset > 0 */
    unsigned stuck;     /* scans in a row that found no way into the next file, which exists */
    uint8_t *data;      /* aligned for direct reads */
    obv_buf unpack;
    obv_clog_pg **watched; /* of the scan, sorted by key */
    size_t watched_count, watched_cap;
} obv_clog_tail;

struct obv_clog_source {
    char *clog_dir, *ilog_dir;
    size_t batch_bytes;
    obv_uring *uring;
    uint64_t refresh; /* number of the last refresh */
    obv_clog_files files;
    obv_ilog_seen *ilogs; /* ascending */
    size_t ilog_count, ilog_cap;
    obv_ilog_file open;
    uint32_t bad_ilog; /* the last ilog file that could not be used, until it can; 0 = none */
    obv_err bad_why;

    obv_clog_want *wants;
    size_t want_count, want_cap;
    obv_clog_log *logs;
    size_t log_count;
    uint8_t *data; /* aligned for direct reads */
    size_t data_cap;
    obv_buf unpacked; /* entries that were compressed in the clog */
    obv_clog_tail tail;
    uint64_t audited; /* refresh of the last comparison */
};

/* ---- clog_ilog.c */
/** Lists both folders. *changed as obv_clog_refresh. */
OBV_CHECK obv_code obv_clog_list(obv_clog_source *s, bool *changed, obv_err *err);
/** Position in s->ilogs of the first file with an id >= @p id; ilog_count if none. */
size_t obv_ilog_position(const obv_clog_source *s, uint32_t id);
/**
 * Makes s->open the file at @p position. OBV_E_NOT_FOUND: it vanished since the listing; OBV_E_CORRUPT: its content
 * cannot be used (s->bad_why).
 */
OBV_CHECK obv_code obv_ilog_use(obv_clog_source *s, size_t position, obv_err *err);
void obv_ilog_drop(obv_clog_source *s);
/** Gives every PG without one its ilog_id, going down from the newest file; marks PGs whose log is gone. */
OBV_CHECK obv_code obv_ilog_locate(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, obv_err *err);
/** Damage of what was read, or a disk that does not give it: a matter of the PGs it hits, not of the source. */
static inline bool obv_clog_is_damage(obv_code c) { return c == OBV_E_CORRUPT || c == OBV_E_IO; }
/** Reads cursors of s->open: at most @p max from @p log_id on, within the slot, up to the first damaged one. */
OBV_CHECK obv_code obv_ilog_cursors(obv_clog_source *s, const obv_ilog_slot *slot, uint64_t log_id,
                                    obv_ilog_cursor *out, size_t max, size_t *got, obv_err *err);

/* ---- clog_fetch.c */
/** Reads the bytes of all wants, sorted by place; those that cannot be had stay without bytes. */
OBV_CHECK obv_code obv_clog_fetch(obv_clog_source *s, const obv_cancel *c, obv_err *err);
/** OBV_E_CORRUPT: no block stands at the beginning: fresh, or reused and not written yet. */
OBV_CHECK obv_code obv_clog_life_read(int fd, obv_clog_life *out, obv_err *err);
/** True if the name still leads to the same file in the same life. */
bool obv_clog_lives_on(const char *path, int fd, const obv_clog_life *was);

/* ---- clog_tail.c */
/** Where the tail's copy of a log lies, false if none is remembered since the PG is watched. */
bool obv_clog_tail_find(const obv_clog_source *s, const obv_clog_pg *pg, uint64_t log_id, obv_ilog_cursor *out);
/** The log was given out, or its copy is of no use. */
void obv_clog_tail_forget(obv_clog_source *s, const obv_pg_key *pg, uint64_t log_id);
/**
 * Compares what was given out without cursors with the cursors that have come since; a PG that differs is marked
 * (OBV_E_CORRUPT).
 */
OBV_CHECK obv_code obv_clog_audit(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, obv_err *err);
void obv_clog_tail_fini(obv_clog_source *s);

/** Marks a PG as failed, with the reason. */
void obv_clog_pg_fail(obv_clog_pg *pg, obv_code code, const char *fmt, ...) OBV_PRINTF(3, 4);

#endif
