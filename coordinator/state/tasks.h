/* tasks.h - what agents are asked to do: one row a step, bodies in columns, files in a table of their own */
#ifndef OBV_COORDINATOR_TASKS_H
#define OBV_COORDINATOR_TASKS_H

#include "format/ob/pg_key.h"
#include "state/state.h"

#define OBV_AGENT_ID_MAX 64u
#define OBV_TASK_UID_MAX 96u
#define OBV_PUT_INLINE_MAX (256u << 10) /* bytes of one file inside a message; larger ones travel by chunk */
#define OBV_PUT_TASK_MAX (1u << 20)     /* inline bytes of one task */
#define OBV_PUT_FILES_MAX 64u

typedef enum obv_task_kind {
    OBV_TASK_BATCH = 1,
    OBV_TASK_FINISH_METAS = 2,
    OBV_TASK_PUT_FILES = 3,
    OBV_TASK_INIT_REPOSITORY = 4,
    OBV_TASK_VERIFY_OBJECTS = 5,
} obv_task_kind;

typedef enum obv_task_status {
    OBV_TASK_QUEUED = 0,
    OBV_TASK_SENT = 1, /* bound to an agent: given to it at each Sync until it reports it */
    OBV_TASK_DONE = 2,
    OBV_TASK_FAILED = 3,
    OBV_TASK_LOST = 4, /* its agent is gone; a batch is not done by anyone else under this name */
} obv_task_status;

typedef struct obv_task {
    char job_id[32], name[48];  /* the job's own word for the step */
    char after[48];             /* may begin once that task of the job is DONE; "" = at once */
    char uid[OBV_TASK_UID_MAX]; /* one attempt */
    obv_task_kind kind;
    char agent_id[OBV_AGENT_ID_MAX]; /* "" = any */
    uint64_t epoch;
    obv_task_status status;
    uint32_t deadline_s, attempts;
    int64_t not_before; /* us */
    /* body, as the kind needs it */
    int64_t set_id;
    uint64_t tenant_id, task_id;
    uint32_t pass;
    int64_t schema_version;
    /* progress */
    uint64_t bytes_read, bytes_written, blocks_done, blocks_total;
    obv_err error;
} obv_task;

/** Inserts a queued task with a new epoch; fills in uid and epoch. */
OBV_CHECK obv_code obv_task_add(obv_state *s, obv_task *t, obv_err *err);
OBV_CHECK obv_code obv_task_get(obv_state *s, const char *job_id, const char *name, obv_task *out, obv_err *err);
OBV_CHECK obv_code obv_task_by_uid(obv_state *s, const char *uid, obv_task *out, obv_err *err);
/** Writes status, agent, epoch, uid, attempts, not_before, progress and error. */
OBV_CHECK obv_code obv_task_save(obv_state *s, const obv_task *t, obv_err *err);
/** A new attempt: queued again under a new epoch and uid, agent free unless it is a batch. */
OBV_CHECK obv_code obv_task_again(obv_state *s, obv_task *t, int64_t not_before, obv_err *err);
OBV_CHECK obv_code obv_task_remove(obv_state *s, const char *job_id, const char *name, obv_err *err);
typedef obv_code obv_task_fn(void *ctx, const obv_task *t, obv_err *err);
/** Tasks of a job whose name begins with @p prefix, in order of making. */
OBV_CHECK obv_code obv_task_each(obv_state *s, const char *job_id, const char *prefix, obv_task_fn *fn, void *ctx,
                                 obv_err *err);
/** Tasks bound to an agent and not ended. */
OBV_CHECK obv_code obv_task_of_agent(obv_state *s, const char *agent_id, obv_task_fn *fn, void *ctx, obv_err *err);
/** Queued tasks that any agent may take now (order of making), at most @p limit. */
OBV_CHECK obv_code obv_task_claimable(obv_state *s, int64_t now, uint32_t limit, obv_task_fn *fn, void *ctx,
                                      obv_err *err);
/** Number of an agent's batches that have not ended. */
OBV_CHECK obv_code obv_task_batches_of(obv_state *s, const char *agent_id, int64_t *out, obv_err *err);

/* ---- files of a PUT_FILES task */
typedef struct obv_put_file {
    char path[512];
    bool if_absent;
    uint64_t size;
    uint8_t sha256[32];
    obv_span content; /* valid during the callback */
} obv_put_file;
OBV_CHECK obv_code obv_put_file_add(obv_state *s, const char *job_id, const char *name, uint32_t idx, const char *path,
                                    bool if_absent, obv_span content, obv_err *err);
typedef obv_code obv_put_file_fn(void *ctx, const obv_put_file *f, obv_err *err);
OBV_CHECK obv_code obv_put_file_each(obv_state *s, const char *job_id, const char *name, obv_put_file_fn *fn, void *ctx,
                                     obv_err *err);
/** Up to @p max bytes of one file from @p offset, appended. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_put_file_chunk(obv_state *s, const char *job_id, const char *name, uint32_t idx, uint64_t offset,
                                      size_t max, obv_buf *out, obv_err *err);

#endif
