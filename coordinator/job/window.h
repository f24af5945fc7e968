/* window.h - which times can be restored: OceanBase's own rules of set and piece selection, as pure functions */
#ifndef OBV_COORDINATOR_WINDOW_H
#define OBV_COORDINATOR_WINDOW_H

#include "job/context.h"

/* A good set of one tenant. */
typedef struct obv_window_set {
    int64_t set_id, full_set_id;
    int64_t round;        /* under which it was made: only there the log of each PG is proven to begin at its copy */
    int64_t snapshot;     /* S, us; times up to and including it are not restorable from a log set */
    int64_t replay_start; /* start_replay_log_ts, us */
    int64_t date;
    uint64_t cluster_version;
} obv_window_set;

/* A piece of the tenant's log archive; in round mode the whole round. Ascending by (round, piece). */
typedef struct obv_window_piece {
    int64_t round, piece, start_piece;
    int64_t date;
    int64_t start_ts, checkpoint_ts; /* us; 0 = none yet */
    int64_t max_ts;                  /* us; INT64_MAX while active */
    bool available;
} obv_window_piece;

typedef struct obv_window {
    int64_t from, to;   /* us, both restorable; from > to: nothing is */
    size_t first, last; /* pieces used for `to` */
} obv_window;

/** The pieces that a restore of the set to a time names; false: it does not reach it. */
bool obv_window_pieces(const obv_window_set *s, const obv_window_piece *p, size_t n, int64_t at, size_t *first,
                       size_t *last);
/** What can be restored from a set. Its pieces all belong to one round. */
obv_window obv_window_of(const obv_window_set *s, const obv_window_piece *p, size_t n);
/**
 * Set and pieces for a time: the newest set that reaches it.
 * @return OBV_E_NOT_RESTORABLE with the windows that there are in the text
 */
OBV_CHECK obv_code obv_window_choose(const obv_window_set *sets, size_t set_count, const obv_window_piece *p, size_t n,
                                     int64_t at, size_t *set, size_t *first, size_t *last, obv_err *err);

/** The piece's directory of a tenant, as ADD RESTORE SOURCE names it behind the repository's URI. */
void obv_window_piece_dir(const obv_media_root *root, uint64_t tenant, const obv_window_piece *p, obv_path *out);

typedef struct obv_window_data {
    obv_window_set *sets;
    size_t set_count, set_cap;
    obv_window_piece *pieces;
    size_t piece_count, piece_cap;
} obv_window_data;
void obv_window_data_fini(obv_window_data *d);
/** A tenant's good sets and archived rounds, as published. */
OBV_CHECK obv_code obv_window_load(obv_job_ctx *x, uint64_t tenant, obv_window_data *out, obv_err *err);

/* Times behind a tenant's first restorable one of which none can be restored. */
typedef struct obv_window_hole {
    int64_t from, to; /* us; to 0: behind the last window, which may just not have gone on yet */
    int64_t round;    /* whose log ends there */
} obv_window_hole;
typedef obv_code obv_window_hole_fn(void *ctx, const obv_window_hole *h, obv_err *err);
/** Holes of a tenant, ascending; the last one is always the open one, unless nothing can be restored at all. */
OBV_CHECK obv_code obv_window_holes(const obv_window_data *d, obv_window_hole_fn *fn, void *ctx, obv_err *err);

/* Why a tenant's log ends with a hole's round, and, of a hole that is open, what makes later times restorable again. */
typedef struct obv_window_cause {
    char why[400];
    const char *next; /* "" = nothing */
    bool interrupted;
    bool going_on; /* an open one that is none: the log goes on, and the window will */
} obv_window_cause;
OBV_CHECK obv_code obv_window_cause_of(obv_job_ctx *x, uint64_t tenant, const obv_window_hole *h, obv_window_cause *out,
                                       obv_err *err);

#endif
