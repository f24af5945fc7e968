/* state.h - the coordinator's memory: one SQLite database; one transition of a job is one transaction
 *
 * Every function below that takes an obv_state joins the transaction of its thread, or makes one of its own. Records
 * are read into caller's structs; nothing borrowed survives.
 */
#ifndef OBV_COORDINATOR_STATE_H
#define OBV_COORDINATOR_STATE_H

#include "base/db.h"
#include "base/err.h"

#include <stdbool.h>

typedef struct obv_state obv_state;

/** Opens <dir>/coordinator.db (@p dir NULL: in memory, for tests). OBV_E_BUSY: another coordinator runs on it. */
OBV_CHECK obv_code obv_state_open(const char *dir, obv_state **out, obv_err *err);
void obv_state_close(obv_state *s);
void obv_state_drop(obv_state **s); /* for OBV_AUTO */
/** For the other files of this folder. */
obv_db *obv_state_db(obv_state *s);

/* Holds the state's lock and a transaction; rolled back unless committed. Joins the one its thread already holds. */
typedef struct obv_state_tx {
    obv_state *s;
    obv_tx tx;
} obv_state_tx;
OBV_CHECK obv_code obv_state_begin(obv_state *s, obv_state_tx *tx, obv_err *err);
OBV_CHECK obv_code obv_state_commit(obv_state_tx *tx, obv_err *err);
void obv_state_tx_drop(obv_state_tx *tx); /* for OBV_AUTO */

/* Holds the lock only: for reads, inside a transaction or not. */
obv_state *obv_state_lock(obv_state *s);
void obv_state_unlock(obv_state **s);
#define OBV_STATE_READ(s) OBV_AUTO(obv_state_unlock) __attribute__((unused)) obv_state *read_ = obv_state_lock(s)

/** Blocks until some transaction was committed after @p *seen, or @p ms passed; sets *seen. Start with 0. */
void obv_state_wait(obv_state *s, uint64_t *seen, uint32_t ms);
/** Wakes all waiters. */
void obv_state_wake(obv_state *s);

/** Next value (from 1) of a named counter: ids and epochs that are never given twice. */
OBV_CHECK obv_code obv_state_next(obv_state *s, const char *counter, int64_t *out, obv_err *err);

/* ---- repository */
typedef struct obv_repository {
    char uuid[40];
    char profile[16];
    char cluster_name[129];
    uint64_t cluster_id;
    int64_t created_at; /* us */
    bool ready;         /* identity file stored */
} obv_repository;
/** OBV_E_NOT_INITIALISED without one. */
OBV_CHECK obv_code obv_state_repository(obv_state *s, obv_repository *out, obv_err *err);
OBV_CHECK obv_code obv_state_set_repository(obv_state *s, const obv_repository *r, obv_err *err);

/* ---- jobs */
typedef enum obv_job_kind {
    OBV_JOB_REPO_INIT = 1,
    OBV_JOB_ARCHIVE = 2, /* one archive round */
    OBV_JOB_BACKUP = 3,
    OBV_JOB_RESTORE = 4,
    OBV_JOB_CHECK = 5, /* are the objects of a restore there? */
} obv_job_kind;
typedef enum obv_job_status { OBV_JOB_RUNNING = 0, OBV_JOB_SUCCESS = 1, OBV_JOB_FAILED = 2 } obv_job_status;

typedef struct obv_job {
    char id[32]; /* "<kind>-<number>" */
    obv_job_kind kind;
    obv_job_status status;
    char phase[24];                         /* state of its machine: OceanBase's words where it has them */
    char run_key[128];                      /* client-made; a second start with it finds this job */
    int64_t ref;                            /* set id, round */
    int64_t started_at, phase_at, ended_at; /* us */
    bool cancel;                            /* an operator wants it to end */
    obv_err result;
} obv_job;

const char *obv_job_kind_name(obv_job_kind k);
const char *obv_job_status_name(obv_job_status s);
/**
 * Makes a job, or finds the one that was started with the same run key (*found = true).
 * OBV_E_CONFLICT: the run key belongs to a job of another kind.
 */
OBV_CHECK obv_code obv_job_create(obv_state *s, obv_job_kind kind, const char *run_key, const char *phase, int64_t ref,
                                  int64_t now, obv_job *out, bool *found, obv_err *err);
OBV_CHECK obv_code obv_job_get(obv_state *s, const char *id, obv_job *out, obv_err *err);
/** The job of a run key. OBV_E_NOT_FOUND (also for an empty key), OBV_E_CONFLICT. */
OBV_CHECK obv_code obv_job_by_key(obv_state *s, const char *run_key, obv_job_kind kind, obv_job *out, obv_err *err);
/** The newest job with that ref. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_job_of_ref(obv_state *s, obv_job_kind kind, int64_t ref, obv_job *out, obv_err *err);
OBV_CHECK obv_code obv_job_set_ref(obv_state *s, const char *id, int64_t ref, obv_err *err);
/** Moves a running job to @p phase and writes an event. */
OBV_CHECK obv_code obv_job_move(obv_state *s, const char *id, const char *phase, int64_t now, obv_err *err);
/** Keeps the error that a running job will end with. */
OBV_CHECK obv_code obv_job_note(obv_state *s, const char *id, const obv_err *why, obv_err *err);
/** Ends a job: SUCCESS if @p result is NULL or OBV_OK, else FAILED. */
OBV_CHECK obv_code obv_job_end(obv_state *s, const char *id, const char *phase, const obv_err *result, int64_t now,
                               obv_err *err);
/** At the start of a process: time while it was away, and what another clock has written, count for no deadline. */
OBV_CHECK obv_code obv_job_deadlines_anew(obv_state *s, int64_t now, obv_err *err);
typedef obv_code obv_job_fn(void *ctx, const obv_job *job, obv_err *err);
/** Jobs by number, newest first; kind 0 = all; only running ones if asked. */
OBV_CHECK obv_code obv_job_each(obv_state *s, obv_job_kind kind, bool running_only, uint32_t limit, obv_job_fn *fn,
                                void *ctx, obv_err *err);
/** Ids of running jobs of a kind, oldest first; @return how many fit. */
OBV_CHECK obv_code obv_job_running(obv_state *s, obv_job_kind kind, obv_job *out, size_t cap, size_t *n, obv_err *err);

/* ---- events.c: what happened, for people */
typedef enum obv_event_level { OBV_EVENT_INFO = 0, OBV_EVENT_WARNING = 1, OBV_EVENT_ERROR = 2 } obv_event_level;
const char *obv_event_level_name(obv_event_level l);

typedef struct obv_event {
    int64_t id, at; /* ids grow for ever */
    char job_id[32];
    char kind[16]; /* job, round, piece, takeover, gap, pin, set, restore */
    obv_event_level level;
    uint64_t tenant_id; /* 0 = of none, or of all */
    char text[512];
} obv_event;

/** An event of a job, of the kind that fits it. */
OBV_CHECK obv_code obv_event_add(obv_state *s, const char *job_id, int64_t at, obv_err *err, const char *fmt, ...)
    OBV_PRINTF(5, 6);
/** @p head: all but id and text. */
OBV_CHECK obv_code obv_event_tell(obv_state *s, const obv_event *head, obv_err *err, const char *fmt, ...)
    OBV_PRINTF(4, 5);
typedef obv_code obv_event_fn(void *ctx, const obv_event *e, obv_err *err);
/** Events of a job with ids above @p after, ascending. */
OBV_CHECK obv_code obv_event_each(obv_state *s, const char *job_id, int64_t after, uint32_t limit, obv_event_fn *fn,
                                  void *ctx, obv_err *err);
/**
 * Of all jobs, at or after @p since (us), of one kind or "" for all, ascending: with @p after > 0 the next ones behind
 * that id, else the newest @p limit.
 */
OBV_CHECK obv_code obv_event_list(obv_state *s, int64_t since, int64_t after, const char *kind, uint32_t limit,
                                  obv_event_fn *fn, void *ctx, obv_err *err);
OBV_CHECK obv_code obv_event_last(obv_state *s, int64_t *id, obv_err *err);
/**
 * Forgets events older than @p keep_us or beyond the newest @p keep_max, and as old: restores that ended, what agents
 * did for jobs that ended. Who archived which PG is kept for the newest round only.
 */
OBV_CHECK obv_code obv_state_trim(obv_state *s, int64_t now, int64_t keep_us, uint32_t keep_max, obv_err *err);

#endif
