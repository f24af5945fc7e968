/* meta.h - tasks that put small files: PG metas of a batch, files made by the coordinator, the identity; and verify */
#ifndef OBV_AGENT_JOB_META_H
#define OBV_AGENT_JOB_META_H

#include "host/repository.h"
#include "job/journal.h"
#include "job/task.h"

/* Gives @p data of file @p file_index from @p offset on, at most OBV_CHUNK_MAX bytes, appended. Blocks. */
typedef obv_code obv_chunk_fn(void *ctx, uint32_t file_index, uint64_t offset, obv_buf *data, const obv_cancel *c,
                              obv_err *err);

typedef struct obv_meta_env {
    obv_store *store;
    obv_journal *journal;
    obv_chunk_fn *chunk;
    void *chunk_ctx;
} obv_meta_env;

/** meta_file_<task> and meta_index_file_<task> from the journal's records. OBV_E_NOT_FOUND: a record is missing. */
OBV_CHECK obv_code obv_meta_finish(const obv_meta_env *env, const obv_task *t, const obv_cancel *c,
                                   obv_task_result *out, obv_err *err);
/** In order; stops at the first failure. OBV_E_CORRUPT: content is not what size and digest say. */
OBV_CHECK obv_code obv_meta_put_files(const obv_meta_env *env, const obv_task *t, const obv_cancel *c,
                                      obv_task_progress *progress, obv_err *err);
OBV_CHECK obv_code obv_meta_init_repository(const obv_meta_env *env, const obv_task *t, const obv_cancel *c,
                                            obv_repository *made, obv_task_result *out, obv_err *err);
OBV_CHECK obv_code obv_meta_verify(const obv_meta_env *env, const obv_task *t, const obv_cancel *c,
                                   obv_task_progress *progress, obv_err *err);

#endif
