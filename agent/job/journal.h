/* journal.h - what must survive the agent's death: finished tasks, finished objects of a copy, PG results, PG metas
 *
 * SQLite, synchronous=FULL: what a call wrote before OBV_OK survives a power cut. Any thread (one lock inside).
 * Growth is bounded: a task's rows go when the coordinator has recorded it, a set's metas when a newer set of the
 * tenant begins, and what nobody asked for goes after OBV_JOURNAL_KEEP_DAYS.
 */
#ifndef OBV_AGENT_JOB_JOURNAL_H
#define OBV_AGENT_JOB_JOURNAL_H

#include "job/task.h"

#define OBV_JOURNAL_KEEP_DAYS 7

typedef struct obv_journal obv_journal;

/** @p path of the database file. OBV_E_BUSY: another agent has this state directory open. */
OBV_CHECK obv_code obv_journal_open(const char *path, obv_journal **out, obv_err *err);
void obv_journal_close(obv_journal *j);

/** A named text that is kept, e.g. the repository's uuid; "" if it was never set. */
OBV_CHECK obv_code obv_journal_get(obv_journal *j, const char *name, char *out, size_t cap, obv_err *err);
OBV_CHECK obv_code obv_journal_set(obv_journal *j, const char *name, const char *value, obv_err *err);

/* ---- tasks */
typedef struct obv_journal_task {
    char uid[OBV_TASK_UID_MAX + 1];
    obv_task_kind kind;
    uint64_t epoch;
    obv_task_state state;
    obv_err error;          /* of FAILED and CANCELLED */
    obv_task_result result; /* of DONE; the caller's: obv_task_result_fini */
} obv_journal_task;
/** Notes that the task runs, or finds what an earlier process finished: then out->state says so. */
OBV_CHECK obv_code obv_journal_task_begin(obv_journal *j, const obv_task *t, obv_journal_task *out, obv_err *err);
OBV_CHECK obv_code obv_journal_task_end(obv_journal *j, const char *uid, obv_task_state state, const obv_err *error,
                                        const obv_task_result *result, obv_err *err);
/** Removes the task and its PGs and objects; its metas stay for FINISH_METAS. */
OBV_CHECK obv_code obv_journal_task_forget(obv_journal *j, const char *uid, obv_err *err);
/** Calls @p fn for each finished task that was not forgotten, at most OBV_TASKS_MAX. */
typedef void obv_journal_task_fn(void *ctx, const obv_journal_task *t);
OBV_CHECK obv_code obv_journal_tasks(obv_journal *j, obv_journal_task_fn *fn, void *ctx, obv_err *err);
/** Drops interrupted tasks and metas that are older than OBV_JOURNAL_KEEP_DAYS. Once at start. */
OBV_CHECK obv_code obv_journal_sweep(obv_journal *j, obv_err *err);

/* ---- PGs of a batch */
typedef enum obv_pg_state {
    OBV_PG_NEW = 0,     /* blocks are being copied */
    OBV_PG_FENCING = 1, /* all blocks stored, result and metas journalled; index files may or may not be there */
    OBV_PG_COPIED = 2,  /* reported, or to be reported */
    OBV_PG_FAILED = 3,  /* the same */
} obv_pg_state;

typedef struct obv_journal_pg {
    obv_pg_state state;
    uint8_t digest[OBV_SHA_LEN];    /* of the state that is being copied, zeros if none was begun */
    int64_t next_minor, next_major; /* sub-task numbers not used yet */
    obv_pg_result result;           /* from FENCING on */
} obv_journal_pg;

/** The PG's row, made when it is new. */
OBV_CHECK obv_code obv_journal_pg_get(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_journal_pg *out,
                                      obv_err *err);
/** Begins the copy of another state of the PG (job/plan.h): objects of the former one become stale. */
OBV_CHECK obv_code obv_journal_pg_restart(obv_journal *j, const char *uid, const obv_pg_key *pg,
                                          const uint8_t digest[OBV_SHA_LEN], obv_span plan, obv_err *err);
/** The plan's bytes of the last restart, appended. */
OBV_CHECK obv_code obv_journal_pg_plan(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_buf *out,
                                       obv_err *err);

/* One finished macroblock file, or index file. */
typedef enum obv_object_kind {
    OBV_OBJECT_MINOR = 0,
    OBV_OBJECT_MAJOR = 1,
    OBV_OBJECT_MINOR_INDEX = 2,
    OBV_OBJECT_MAJOR_INDEX = 3,
} obv_object_kind;
typedef struct obv_journal_object {
    obv_object_kind kind;
    int64_t sub;              /* sub-task number in the file's name */
    uint64_t first;           /* block position within the area at which the file begins */
    uint32_t count;           /* blocks */
    obv_stored_object object; /* path below the repository's root */
    obv_span entries;         /* obv_plan_entry each (job/plan.h): where the blocks lie */
} obv_journal_object;
OBV_CHECK obv_code obv_journal_object_add(obv_journal *j, const char *uid, const obv_pg_key *pg,
                                          const obv_journal_object *o, obv_err *err);
/** An object that was found to be of no use: it is remembered until it is removed. */
OBV_CHECK obv_code obv_journal_object_stale(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_object_kind kind,
                                            int64_t sub, const char *path, obv_err *err);
/** Calls @p fn in order of kind and first for objects in use (stale false) or stale ones; non-OK stops and is returned.
 */
typedef obv_code obv_journal_object_fn(void *ctx, const obv_journal_object *o, obv_err *err);
OBV_CHECK obv_code obv_journal_objects(obv_journal *j, const char *uid, const obv_pg_key *pg, bool stale,
                                       obv_journal_object_fn *fn, void *ctx, obv_err *err);
/** The stale objects of the PG are gone from the storage. */
OBV_CHECK obv_code obv_journal_stale_removed(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_err *err);

/**
 * All blocks are stored: keeps the result, the PG's meta record and the ids of its tables and indexes. From here on the
 * copied state cannot change.
 */
OBV_CHECK obv_code obv_journal_pg_fencing(obv_journal *j, const obv_task *t, const obv_pg_key *pg,
                                          const obv_pg_result *result, obv_span record_body, const uint64_t *contents,
                                          size_t content_count, obv_err *err);
/** Both index files are stored: the PG is copied and will be reported. */
OBV_CHECK obv_code obv_journal_pg_copied(obv_journal *j, const char *uid, const obv_pg_key *pg, obv_err *err);
OBV_CHECK obv_code obv_journal_pg_failed(obv_journal *j, const obv_task *t, const obv_pg_key *pg, const obv_err *error,
                                         obv_err *err);
typedef struct obv_journal_counts {
    uint32_t copied, failed;
    uint64_t blocks, bytes_read, bytes_written; /* of copied PGs */
} obv_journal_counts;
OBV_CHECK obv_code obv_journal_batch_counts(obv_journal *j, const char *uid, obv_journal_counts *out, obv_err *err);

/* ---- reports */
#define OBV_REPORT_OBJECTS_MAX 256u
typedef struct obv_pg_report {
    uint64_t report_id; /* grows for ever */
    char uid[OBV_TASK_UID_MAX + 1];
    uint64_t epoch;
    obv_pg_key pg;
    uint32_t pass;
    obv_err error; /* code 0: copied */
    obv_pg_result result;
    const obv_stored_object *objects; /* path below the set's folder; valid during the call */
    size_t object_count;
    uint64_t objects_rest;
    const uint64_t *contents; /* valid during the call */
    size_t content_count;
} obv_pg_report;
/** Calls @p fn for the oldest reports that are not acknowledged, at most @p most. */
typedef void obv_pg_report_fn(void *ctx, const obv_pg_report *r);
OBV_CHECK obv_code obv_journal_reports(obv_journal *j, size_t most, obv_pg_report_fn *fn, void *ctx, obv_err *err);
/** Reports up to @p report_id are recorded by the coordinator. */
OBV_CHECK obv_code obv_journal_ack(obv_journal *j, uint64_t report_id, obv_err *err);

/* ---- metas */
/** The record of one PG of a batch into @p out. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_journal_meta_get(obv_journal *j, const obv_task_set *set, int64_t task_id, const obv_pg_key *pg,
                                        obv_buf *out, obv_err *err);
/** Drops the metas of the tenant's earlier sets. */
OBV_CHECK obv_code obv_journal_metas_of_older_sets(obv_journal *j, const obv_task_set *set, obv_err *err);

#endif
