/* files.h - whole files that agents store for a job, in order, as one step */
#ifndef OBV_COORDINATOR_FILES_H
#define OBV_COORDINATOR_FILES_H

#include "base/span.h"
#include "job/context.h"

typedef struct obv_file {
    obv_path path;
    bool if_absent;
    obv_buf bytes;
} obv_file;
typedef struct obv_files {
    obv_file *v;
    size_t n, cap;
} obv_files;
void obv_files_fini(obv_files *f);
/** The buffer to emit the next file into; NULL (and err) when out of memory. Valid until the next add. */
obv_buf *obv_files_add(obv_files *f, const obv_path *path, bool if_absent, obv_err *err);

/** Builds the files of a step from the state. Called once per step, inside the transaction that queues them. */
typedef obv_code obv_files_fn(obv_job_ctx *x, void *ctx, obv_files *out, obv_err *err);
/**
 * Takes the step @p name of @p job: queues its files at the first call, looks after them at later ones.
 * *done = true once all are stored. Transient failures of an agent are tried again until cfg->step_s is over.
 */
OBV_CHECK obv_code obv_files_step(obv_job_ctx *x, const char *job_id, const char *name, obv_files_fn *build, void *ctx,
                                  bool *done, obv_err *err);
/** Queues files now (inside the caller's transaction). OBV_E_EXISTS if the step was queued before. */
OBV_CHECK obv_code obv_files_queue(obv_job_ctx *x, const char *job_id, const char *name, const obv_files *f,
                                   obv_err *err);
/** Looks after a queued step. *queued = false if there is none. */
OBV_CHECK obv_code obv_files_look(obv_job_ctx *x, const char *job_id, const char *name, bool *queued, bool *done,
                                  obv_err *err);
/** As obv_files_look, but whatever an agent reports is tried again, without end: for what must not be given up. */
OBV_CHECK obv_code obv_files_insist(obv_job_ctx *x, const char *job_id, const char *name, bool *queued, bool *done,
                                    obv_err *err);
/** Forgets a finished step, so that its name can be used again. */
OBV_CHECK obv_code obv_files_forget(obv_job_ctx *x, const char *job_id, const char *name, obv_err *err);

#endif
