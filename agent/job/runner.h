/* runner.h - runs the coordinator's tasks: batches on the copy threads, all others on the meta threads
 *
 * Tasks are known by uid: a repeat is ignored, a finished one is answered from the journal. Every call may come from
 * any thread and returns at once, except end.
 */
#ifndef OBV_AGENT_JOB_RUNNER_H
#define OBV_AGENT_JOB_RUNNER_H

#include "host/repository.h"
#include "host/store.h"
#include "job/backup.h"
#include "job/task.h"

typedef struct obv_runner obv_runner;

typedef struct obv_runner_config {
    obv_journal *journal; /* outlives the runner */
    obv_pool *pool;       /* buffers of obv_backup_buffer_bytes() */
    obv_source *source;   /* outlives the runner */
    obv_store *store;     /* outlives the runner */
    uint32_t workers;     /* PGs copied at once, 1 to 64 */
    uint32_t batch_slots; /* batches at work at once */
    /* Is the destination the right repository now? Asked before each task and PG that writes. */
    obv_code (*gate)(void *ctx, const obv_cancel *c, obv_err *err);
    /* A repository was initialised by a task. */
    void (*initialised)(void *ctx, const obv_repository *r);
    void *ctx;
    uint32_t archive_wait_ms; /* 0 = 20,000 */
} obv_runner_config;

OBV_CHECK obv_code obv_runner_start(const obv_runner_config *cfg, obv_runner **out, obv_err *err);
/** Cancels what runs, waits for its safe points, frees. The journal keeps what is needed to go on. */
void obv_runner_end(obv_runner *r);

/** Takes the task. OBV_OK also for one that is held already; OBV_E_LIMIT: too many; OBV_E_FENCED: an older epoch. */
OBV_CHECK obv_code obv_runner_submit(obv_runner *r, obv_task *t, obv_err *err);
/** Holds a task that cannot be taken as failed, so that it is reported. */
void obv_runner_refuse(obv_runner *r, const char *uid, uint64_t epoch, const obv_err *why);
void obv_runner_cancel(obv_runner *r, const char *uid);
/** Finished and recorded by the coordinator: its rows go. A task that runs is left alone. */
void obv_runner_forget(obv_runner *r, const char *uid);
/** The lease is over: all tasks stop at the next safe point and are let go, to be given again with the same uid. */
void obv_runner_let_go(obv_runner *r);

typedef struct obv_task_report {
    const char *uid;
    uint64_t epoch;
    obv_task_state state;
    obv_task_progress progress;
    const obv_err *error;
    const obv_task_result *result; /* of DONE */
    obv_task_kind kind;
} obv_task_report;
/** Calls @p fn for every task held, under the runner's lock. */
typedef void obv_task_report_fn(void *ctx, const obv_task_report *r);
void obv_runner_reports(obv_runner *r, obv_task_report_fn *fn, void *ctx);

/* Content of a file that a PUT_FILES task waits for. */
typedef struct obv_chunk_wanted {
    char uid[OBV_TASK_UID_MAX + 1];
    uint32_t file_index;
    uint64_t offset;
} obv_chunk_wanted;
bool obv_runner_chunk_wanted(obv_runner *r, obv_chunk_wanted *out);
/** Hands over what was asked for; anything else is dropped. */
void obv_runner_chunk(obv_runner *r, const char *uid, uint32_t file_index, uint64_t offset, obv_span data);

typedef struct obv_runner_load {
    uint32_t batches_running, batch_slots;
    uint64_t pool_bytes, pool_used_bytes;
} obv_runner_load;
void obv_runner_get_load(obv_runner *r, obv_runner_load *out);

#endif
