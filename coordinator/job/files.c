#define OBV_LOG_MOD "job"
#include "job/files.h"

#include "base/fault.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (64u << 20)
#define RETRY_US (2 * OBV_US_PER_S)
#define INSIST_US (10 * OBV_US_PER_S)

void obv_files_fini(obv_files *f)
{
    for (size_t i = 0; i < f->n; i++)
        obv_buf_fini(&f->v[i].bytes);
    free(f->v);
    *f = (obv_files){0};
}

obv_buf *obv_files_add(obv_files *f, const obv_path *path, bool if_absent, obv_err *err)
{
    obv_file *file = obv_list_add(f, sizeof *file, err);
    if (!file)
        return NULL;
    file->path = *path;
    file->if_absent = if_absent;
    file->bytes = obv_buf_heap(FILE_MAX);
    return &file->bytes;
}

obv_code obv_ctx_root(const obv_job_ctx *x, obv_media_root *out, obv_err *err)
{
    obv_repository r;
    OBV_TRY(obv_state_repository(x->s, &r, err));
    return obv_media_root_init(out, r.cluster_name, (int64_t)r.cluster_id, err);
}

/* A step is one or more tasks "<name>.<i>", each behind the one before, since a task's message is bounded. */
static obv_code add_task(obv_job_ctx *x, const char *job_id, const char *name, size_t i, obv_err *err)
{
    obv_task t = {.kind = OBV_TASK_PUT_FILES, .deadline_s = x->cfg->step_s};
    (void)snprintf(t.job_id, sizeof t.job_id, "%s", job_id);
    (void)snprintf(t.name, sizeof t.name, "%s.%zu", name, i);
    if (i > 0)
        (void)snprintf(t.after, sizeof t.after, "%s.%zu", name, i - 1);
    return obv_task_add(x->s, &t, err);
}

obv_code obv_files_queue(obv_job_ctx *x, const char *job_id, const char *name, const obv_files *f, obv_err *err)
{
    size_t task = 0, in_task = 0, bytes = 0;
    char task_name[48];
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    if (f->n == 0)
        return obv_fail(err, OBV_E_INTERNAL, 0, "step %s of %s has no files", name, job_id);
    OBV_TRY(add_task(x, job_id, name, 0, err));
    for (size_t i = 0; i < f->n; i++) {
        const obv_file *file = &f->v[i];
        OBV_TRY(obv_buf_check(&file->bytes, file->path.s, err));
        const size_t inlined = file->bytes.len <= OBV_PUT_INLINE_MAX ? file->bytes.len : 0;
        if (in_task && (in_task == OBV_PUT_FILES_MAX || bytes + inlined > OBV_PUT_TASK_MAX)) {
            OBV_TRY(add_task(x, job_id, name, ++task, err));
            in_task = bytes = 0;
        }
        (void)snprintf(task_name, sizeof task_name, "%s.%zu", name, task);
        OBV_TRY(obv_put_file_add(x->s, job_id, task_name, (uint32_t)in_task, file->path.s, file->if_absent,
                                 obv_buf_span(&file->bytes), err));
        in_task++;
        bytes += inlined;
    }
    return obv_state_commit(&tx, err);
}

typedef struct look {
    obv_job_ctx *x;
    const char *name;
    size_t prefix;
    size_t tasks, done;
    bool failed;
    obv_task bad; /* the first that failed */
} look;

static obv_code look_at(void *ctx, const obv_task *t, obv_err *err)
{
    look *l = ctx;
    (void)err;
    /* the prefix search also finds longer names; ours continue with a number */
    const char *rest = t->name + l->prefix;
    if (strspn(rest, "0123456789") != strlen(rest))
        return OBV_OK;
    l->tasks++;
    if (t->status == OBV_TASK_DONE)
        l->done++;
    if ((t->status == OBV_TASK_FAILED || t->status == OBV_TASK_LOST) && !l->failed) {
        l->failed = true;
        l->bad = *t;
    }
    return OBV_OK;
}

static obv_code scan(obv_job_ctx *x, const char *job_id, const char *name, look *l, obv_err *err)
{
    char prefix[48];
    *l = (look){.x = x, .name = name};
    l->prefix = (size_t)snprintf(prefix, sizeof prefix, "%s.", name);
    return obv_task_each(x->s, job_id, prefix, look_at, l, err);
}

static obv_code look_after(obv_job_ctx *x, const char *job_id, const char *name, bool insist, bool *queued, bool *done,
                           obv_err *err)
{
    look l;
    *done = false;
    OBV_TRY(scan(x, job_id, name, &l, err));
    *queued = l.tasks > 0;
    *done = l.tasks > 0 && l.done == l.tasks;
    if (!l.failed)
        return OBV_OK;
    const obv_code code = l.bad.error.code;
    const bool late = (uint64_t)l.bad.attempts * (RETRY_US / OBV_US_PER_S) >= x->cfg->step_s;
    const bool again = OBV_IS_RETRYABLE(code) || code == OBV_E_CANCELLED || code == OBV_E_IO ||
                       code == OBV_E_NOT_INITIALISED; /* a mount that is away for a moment */
    if (!insist && (!again || late)) {
        *err = l.bad.error;
        (void)obv_wrap(err, "agent %s, step %s", l.bad.agent_id, name);
        err->code = again ? OBV_E_IO : code; /* it was tried long enough */
        return err->code;
    }
    OBV_WARN_OF(&l.bad.error, "step %s of %s is tried again", l.bad.name, job_id);
    return obv_task_again(x->s, &l.bad, obv_ctx_now(x) + (late || !again ? INSIST_US : RETRY_US), err);
}

obv_code obv_files_look(obv_job_ctx *x, const char *job_id, const char *name, bool *queued, bool *done, obv_err *err)
{
    return look_after(x, job_id, name, false, queued, done, err);
}

obv_code obv_files_insist(obv_job_ctx *x, const char *job_id, const char *name, bool *queued, bool *done, obv_err *err)
{
    return look_after(x, job_id, name, true, queued, done, err);
}

obv_code obv_files_step(obv_job_ctx *x, const char *job_id, const char *name, obv_files_fn *build, void *ctx,
                        bool *done, obv_err *err)
{
    bool queued = false;
    OBV_TRY(obv_files_look(x, job_id, name, &queued, done, err));
    if (queued)
        return OBV_OK;
    OBV_AUTO(obv_files_fini) obv_files files = {0};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(build(x, ctx, &files, err));
    OBV_TRY(obv_files_queue(x, job_id, name, &files, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.files_queued");
    return OBV_OK;
}

typedef struct names {
    char v[64][48];
    size_t n, prefix;
} names;

static obv_code take_name(void *ctx, const obv_task *t, obv_err *err)
{
    names *n = ctx;
    (void)err;
    const char *rest = t->name + n->prefix;
    if (n->n < sizeof n->v / sizeof *n->v && strspn(rest, "0123456789") == strlen(rest))
        (void)snprintf(n->v[n->n++], sizeof *n->v, "%s", t->name);
    return OBV_OK;
}

obv_code obv_files_forget(obv_job_ctx *x, const char *job_id, const char *name, obv_err *err)
{
    char prefix[48];
    names list = {.prefix = (size_t)snprintf(prefix, sizeof prefix, "%s.", name)};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    do {
        list.n = 0;
        OBV_TRY(obv_task_each(x->s, job_id, prefix, take_name, &list, err));
        for (size_t i = 0; i < list.n; i++)
            OBV_TRY(obv_task_remove(x->s, job_id, list.v[i], err));
    } while (list.n == sizeof list.v / sizeof *list.v);
    return obv_state_commit(&tx, err);
}
