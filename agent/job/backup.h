/* backup.h - a batch of PGs copied from a source to the store
 *
 * For each PG: metas, blocks of minor_data, blocks of major_data (files of at most 512 blocks, each journalled), then
 * result and metas are journalled, then the PG's record is put below obvault/, then the minor index, and last the major
 * index of the task's pass, put exclusively: the fence. A killed process goes on where the journal ends. In pass 1 and
 * later ones major_data gets only what no earlier pass lists.
 */
#ifndef OBV_AGENT_JOB_BACKUP_H
#define OBV_AGENT_JOB_BACKUP_H

#include "host/store.h"
#include "job/journal.h"
#include "pipe/pool.h"
#include "source/source.h"

/* Bytes of a pool buffer: a block as the source gives it, and what the media puts around it. */
size_t obv_backup_buffer_bytes(void);

typedef struct obv_backup_env {
    obv_store *store;
    obv_source *source;
    obv_journal *journal;
    obv_pool *pool;        /* buffers of obv_backup_buffer_bytes() */
    unsigned lane_depth;   /* buffers one PG's pipeline takes */
    unsigned lane_workers; /* threads of one PG's pipeline that frame and checksum */
    /* Is the destination still the right repository? Asked before each PG. May be NULL. */
    obv_code (*gate)(void *ctx, const obv_cancel *c, obv_err *err);
    void *gate_ctx;
    uint32_t archive_wait_ms; /* how long a PG waits for its log archive; 0 = 20,000 */
} obv_backup_env;

typedef struct obv_batch obv_batch;

/** @param t borrowed until free; @p c ends the batch at its next safe point */
OBV_CHECK obv_code obv_batch_new(const obv_backup_env *env, const obv_task *t, const obv_cancel *c, obv_batch **out,
                                 obv_err *err);
/** No thread may be in obv_batch_work. */
void obv_batch_free(obv_batch *b);

typedef enum obv_batch_step {
    OBV_BATCH_WORKED, /* something was done */
    OBV_BATCH_IDLE,   /* nothing is ready now: others work, or PGs wait */
    OBV_BATCH_OVER,   /* nothing is left and nobody works: obv_batch_result */
} obv_batch_step;
/** Works at one PG that is ready. Any number of threads. */
obv_batch_step obv_batch_work(obv_batch *b);
/** After OVER: OBV_OK when each PG has its result in the journal, else what ended the batch. */
OBV_CHECK obv_code obv_batch_result(obv_batch *b, obv_err *err);
void obv_batch_progress(obv_batch *b, obv_task_progress *out);

#endif
