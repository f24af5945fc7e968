#define OBV_LOG_MOD "runner"
#include "job/runner.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "job/meta.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { META_THREADS = 3, IDLE_MS = 200, LANE_WORKERS = 2, LANE_DEPTH_MAX = 32 };

/* A task in hand. In slots[] until it is forgotten. */
struct held {
    bool used;
    bool at_work;   /* a meta thread runs it */
    bool let_go;    /* drop it, without a result, when it stops */
    bool forget;    /* drop it and its rows when it stops */
    unsigned users; /* copy threads inside the batch */
    char uid[OBV_TASK_UID_MAX + 1];
    uint64_t epoch;
    obv_task_kind kind;
    obv_task_state state;
    obv_task *task; /* NULL once finished */
    obv_cancel *cancel;
    obv_batch *batch; /* of a batch that has begun */
    obv_task_progress progress;
    obv_err error;
    obv_task_result result;
    /* chunk that a PUT_FILES task waits for */
    bool chunk_wanted, chunk_here;
    uint32_t chunk_file;
    uint64_t chunk_offset;
    uint8_t *chunk_data;
    size_t chunk_len;
};

struct obv_runner {
    obv_runner_config cfg;
    obv_backup_env backup;
    obv_cancel *cancel; /* all tasks */
    bool ending;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    struct held slots[OBV_TASKS_MAX];
    pthread_t threads[64 + META_THREADS];
    unsigned thread_count;
};

static struct held *find(struct obv_runner *r, const char *uid)
{
    for (size_t i = 0; i < OBV_TASKS_MAX; i++)
        if (r->slots[i].used && strcmp(r->slots[i].uid, uid) == 0)
            return &r->slots[i];
    return NULL;
}

static struct held *free_slot(struct obv_runner *r)
{
    for (size_t i = 0; i < OBV_TASKS_MAX; i++)
        if (!r->slots[i].used)
            return &r->slots[i];
    return NULL;
}

static void drop(struct held *h)
{
    obv_task_free(h->task);
    obv_batch_free(h->batch);
    obv_cancel_free(h->cancel);
    obv_task_result_fini(&h->result);
    free(h->chunk_data);
    *h = (struct held){0};
}

/* Ends a task: its state goes to the journal first. Locked; unlocks meanwhile. */
static void finish(struct obv_runner *r, struct held *h, obv_code code, const obv_err *error, obv_task_result *result)
{
    const obv_task_state state = code == OBV_OK            ? OBV_TASK_DONE
                                 : code == OBV_E_CANCELLED ? OBV_TASK_CANCELLED
                                                           : OBV_TASK_FAILED;
    const bool keep = !h->let_go && !r->ending;
    obv_err why = {0};
    (void)pthread_mutex_unlock(&r->mu);
    if (code == OBV_OK)
        OBV_INFO("task %s is done", h->uid);
    else if (keep)
        OBV_WARN_OF(error, "task %s ended", h->uid);
    else
        OBV_INFO("task %s stopped at a safe point", h->uid);
    obv_code noted = OBV_OK;
    if (keep || code == OBV_OK)
        noted = obv_journal_task_end(r->cfg.journal, h->uid, state, code == OBV_OK ? NULL : error, result, &why);
    OBV_FAULT("backup.task_ended");
    (void)pthread_mutex_lock(&r->mu);
    h->at_work = false;
    obv_batch_free(OBV_STEAL(h->batch));
    if (noted != OBV_OK) {
        /* not reported: the coordinator gives it again, and the journal says what is done already */
        OBV_WARN_OF(&why, "task %s: its end cannot be noted", h->uid);
        drop(h);
    } else if ((h->let_go || r->ending) && code != OBV_OK) {
        drop(h);
    } else if (h->forget) {
        char uid[OBV_TASK_UID_MAX + 1];
        (void)strcpy(uid, h->uid);
        drop(h);
        if (obv_journal_task_forget(r->cfg.journal, uid, &why) != OBV_OK)
            OBV_WARN_OF(&why, "task %s: its rows cannot be dropped", uid);
    } else {
        h->state = state;
        if (code != OBV_OK)
            h->error = *error;
        obv_task_result_fini(&h->result);
        h->result = *result;
        *result = (obv_task_result){0};
        obv_task_free(OBV_STEAL(h->task));
    }
    obv_task_result_fini(result);
    (void)pthread_cond_broadcast(&r->changed);
}

static void wait_a_moment(struct obv_runner *r, uint32_t ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + (int64_t)ms * OBV_NS_PER_MS;
    until.tv_sec += ns / OBV_NS_PER_S;
    until.tv_nsec = ns % OBV_NS_PER_S;
    (void)pthread_cond_timedwait(&r->changed, &r->mu, &until);
}

/* ---- meta tasks */

static obv_code wait_for_chunk(void *ctx, uint32_t file_index, uint64_t offset, obv_buf *data, const obv_cancel *c,
                               obv_err *err);

struct chunk_ctx {
    struct obv_runner *r;
    struct held *h;
};

static obv_code wait_for_chunk(void *ctx, uint32_t file_index, uint64_t offset, obv_buf *data, const obv_cancel *c,
                               obv_err *err)
{
    const struct chunk_ctx *x = ctx;
    struct obv_runner *r = x->r;
    struct held *h = x->h;
    obv_code code = OBV_OK;
    (void)pthread_mutex_lock(&r->mu);
    h->chunk_wanted = true;
    h->chunk_here = false;
    h->chunk_file = file_index;
    h->chunk_offset = offset;
    while (!h->chunk_here && (code = obv_cancel_check(c, "content", err)) == OBV_OK)
        wait_a_moment(r, IDLE_MS);
    h->chunk_wanted = false;
    if (code == OBV_OK)
        obv_buf_append(data, h->chunk_data, h->chunk_len);
    free(OBV_STEAL(h->chunk_data));
    (void)pthread_mutex_unlock(&r->mu);
    return code == OBV_OK ? obv_buf_check(data, "content", err) : code;
}

static obv_code run_meta(struct obv_runner *r, struct held *h, const obv_task *t, obv_task_progress *progress,
                         obv_task_result *result, obv_err *err)
{
    struct chunk_ctx x = {r, h};
    const obv_meta_env env = {
        .store = r->cfg.store, .journal = r->cfg.journal, .chunk = wait_for_chunk, .chunk_ctx = &x};
    obv_repository made;
    if (t->kind != OBV_TASK_INIT_REPOSITORY && r->cfg.gate)
        OBV_TRY(r->cfg.gate(r->cfg.ctx, h->cancel, err));
    switch (t->kind) {
    case OBV_TASK_FINISH_METAS:
        return obv_meta_finish(&env, t, h->cancel, result, err);
    case OBV_TASK_PUT_FILES:
        return obv_meta_put_files(&env, t, h->cancel, progress, err);
    case OBV_TASK_VERIFY_OBJECTS:
        return obv_meta_verify(&env, t, h->cancel, progress, err);
    case OBV_TASK_INIT_REPOSITORY:
        OBV_TRY(obv_meta_init_repository(&env, t, h->cancel, &made, result, err));
        if (r->cfg.initialised)
            r->cfg.initialised(r->cfg.ctx, &made);
        return OBV_OK;
    default:
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "a task of kind %d is not known", t->kind);
    }
}

static struct held *next_meta(struct obv_runner *r)
{
    for (size_t i = 0; i < OBV_TASKS_MAX; i++) {
        struct held *h = &r->slots[i];
        if (h->used && h->task && h->kind != OBV_TASK_BATCH && !h->at_work)
            return h;
    }
    return NULL;
}

static void *meta_thread(void *arg)
{
    struct obv_runner *r = arg;
    (void)pthread_mutex_lock(&r->mu);
    while (!r->ending) {
        struct held *h = next_meta(r);
        if (!h) {
            wait_a_moment(r, IDLE_MS);
            continue;
        }
        h->at_work = true;
        (void)pthread_mutex_unlock(&r->mu);
        obv_log_context_set(h->task->job_id, NULL, NULL);
        obv_log_context_work(h->task->uid, NULL);
        obv_task_progress progress = {0};
        obv_task_result result = {0};
        obv_err err = {0};
        const obv_code code = run_meta(r, h, h->task, &progress, &result, &err);
        (void)pthread_mutex_lock(&r->mu);
        h->progress = progress;
        finish(r, h, code, &err, &result);
        obv_log_context_set(NULL, NULL, NULL);
        obv_log_context_work(NULL, NULL);
    }
    (void)pthread_mutex_unlock(&r->mu);
    return NULL;
}

/* ---- batches */

static unsigned batches_begun(const struct obv_runner *r)
{
    unsigned n = 0;
    for (size_t i = 0; i < OBV_TASKS_MAX; i++)
        n += r->slots[i].used && r->slots[i].batch;
    return n;
}

/* Begins a waiting batch when a slot is free. A failure to begin ends the task. Locked. */
static void begin_batch(struct obv_runner *r)
{
    for (size_t i = 0; i < OBV_TASKS_MAX; i++) {
        struct held *h = &r->slots[i];
        if (!h->used || !h->task || h->kind != OBV_TASK_BATCH || h->batch || h->at_work)
            continue;
        if (batches_begun(r) >= r->cfg.batch_slots)
            return;
        obv_err err = {0};
        obv_task_result none = {0};
        const obv_code code = obv_batch_new(&r->backup, h->task, h->cancel, &h->batch, &err);
        if (code != OBV_OK) {
            h->at_work = true;
            finish(r, h, code, &err, &none);
        }
        return;
    }
}

/* One step at one of the batches. @return false: nothing is ready. Locked; unlocks meanwhile. */
static bool work_at(struct obv_runner *r, struct held *h)
{
    h->users++;
    obv_log_context_set(h->task->job_id, NULL, NULL);
    obv_log_context_work(h->task->uid, NULL);
    (void)pthread_mutex_unlock(&r->mu);
    const obv_batch_step step = obv_batch_work(h->batch);
    (void)pthread_mutex_lock(&r->mu);
    h->users--;
    obv_log_context_set(NULL, NULL, NULL);
    obv_log_context_work(NULL, NULL);
    obv_batch_progress(h->batch, &h->progress);
    if (step == OBV_BATCH_OVER && h->users == 0 && !h->at_work) {
        obv_err err = {0};
        obv_task_result none = {0};
        h->at_work = true; /* nobody else ends it */
        const obv_code code = obv_batch_result(h->batch, &err);
        finish(r, h, code, &err, &none);
        return true;
    }
    return step == OBV_BATCH_WORKED;
}

static bool work_somewhere(struct obv_runner *r)
{
    for (size_t i = 0; i < OBV_TASKS_MAX; i++) {
        struct held *h = &r->slots[i];
        if (h->used && h->batch && !h->at_work && work_at(r, h))
            return true;
    }
    return false;
}

static void *copy_thread(void *arg)
{
    struct obv_runner *r = arg;
    (void)pthread_mutex_lock(&r->mu);
    while (!r->ending) {
        begin_batch(r);
        if (work_somewhere(r))
            (void)pthread_cond_broadcast(&r->changed);
        else
            wait_a_moment(r, IDLE_MS);
    }
    (void)pthread_mutex_unlock(&r->mu);
    return NULL;
}

/* ---- start and end */

static void hold_finished(void *ctx, const obv_journal_task *t)
{
    struct obv_runner *r = ctx;
    struct held *h = free_slot(r);
    if (!h)
        return;
    *h = (struct held){.used = true, .epoch = t->epoch, .kind = t->kind, .state = t->state, .error = t->error};
    (void)strcpy(h->uid, t->uid);
    h->result = t->result;
    h->result.places = calloc(t->result.place_count + 1, sizeof *h->result.places);
    if (!h->result.places)
        *h = (struct held){0};
    else if (t->result.place_count)
        memcpy(h->result.places, t->result.places, t->result.place_count * sizeof *h->result.places);
}

static obv_code start_threads(struct obv_runner *r, obv_err *err)
{
    const unsigned total = r->cfg.workers + META_THREADS;
    for (unsigned i = 0; i < total; i++) {
        const int rc = pthread_create(&r->threads[i], NULL, i < META_THREADS ? meta_thread : copy_thread, r);
        if (rc != 0)
            return obv_fail(err, OBV_E_NOMEM, rc, "a thread cannot be started");
        r->thread_count++;
    }
    return OBV_OK;
}

obv_code obv_runner_start(const obv_runner_config *cfg, obv_runner **out, obv_err *err)
{
    if (cfg->workers == 0 || cfg->workers > 64 || cfg->batch_slots == 0)
        return obv_fail(err, OBV_E_INVAL, 0, "workers: 1 to 64");
    obv_runner *r = calloc(1, sizeof *r);
    obv_cancel *cancel = obv_cancel_new(NULL);
    if (!r || !cancel) {
        free(r);
        obv_cancel_free(cancel);
        return obv_fail(err, OBV_E_NOMEM, 0, "runner: out of memory");
    }
    const uint32_t share = obv_pool_count(cfg->pool) / cfg->workers;
    r->cfg = *cfg;
    r->cancel = cancel;
    r->backup = (obv_backup_env){.store = cfg->store,
                                 .source = cfg->source,
                                 .journal = cfg->journal,
                                 .pool = cfg->pool,
                                 .lane_depth = share > LANE_DEPTH_MAX ? LANE_DEPTH_MAX
                                               : share                ? share
                                                                      : 1,
                                 .lane_workers = LANE_WORKERS,
                                 .gate = cfg->gate,
                                 .gate_ctx = cfg->ctx,
                                 .archive_wait_ms = cfg->archive_wait_ms};
    (void)pthread_mutex_init(&r->mu, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    obv_code code = obv_journal_sweep(cfg->journal, err);
    if (code == OBV_OK)
        code = obv_journal_tasks(cfg->journal, hold_finished, r, err);
    if (code == OBV_OK)
        code = start_threads(r, err);
    if (code != OBV_OK) {
        obv_runner_end(r);
        return code;
    }
    *out = r;
    return OBV_OK;
}

void obv_runner_end(obv_runner *r)
{
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->mu);
    r->ending = true;
    obv_cancel_request(r->cancel);
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->mu);
    for (unsigned i = 0; i < r->thread_count; i++)
        (void)pthread_join(r->threads[i], NULL);
    for (size_t i = 0; i < OBV_TASKS_MAX; i++)
        if (r->slots[i].used)
            drop(&r->slots[i]);
    obv_cancel_free(r->cancel);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->mu);
    free(r);
}

/* ---- calls */

/* Locked. Takes over *t on OBV_OK. */
static obv_code take_task(struct obv_runner *r, obv_task **t, obv_err *err)
{
    struct held *h = find(r, (*t)->uid);
    if (h)
        return (*t)->epoch < h->epoch
                   ? obv_fail(err, OBV_E_FENCED, 0, "task %s: epoch %" PRIu64 " is older than %" PRIu64, h->uid,
                              (*t)->epoch, h->epoch)
                   : OBV_OK;
    h = free_slot(r);
    if (!h)
        return obv_fail(err, OBV_E_LIMIT, 0, "task %s: %u tasks are held", (*t)->uid, OBV_TASKS_MAX);
    obv_cancel *cancel = obv_cancel_new(r->cancel);
    obv_journal_task known = {0};
    if (!cancel)
        return obv_fail(err, OBV_E_NOMEM, 0, "task %s: out of memory", (*t)->uid);
    const obv_code code = obv_journal_task_begin(r->cfg.journal, *t, &known, err);
    if (code != OBV_OK) {
        obv_cancel_free(cancel);
        return code;
    }
    if ((*t)->deadline_s)
        obv_cancel_set_deadline(cancel, obv_mono_ns() + (*t)->deadline_s * OBV_NS_PER_S);
    *h = (struct held){.used = true,
                       .epoch = (*t)->epoch,
                       .kind = (*t)->kind,
                       .state = known.state,
                       .error = known.error,
                       .result = known.result,
                       .cancel = cancel};
    (void)strcpy(h->uid, (*t)->uid);
    h->progress.pgs_total = (uint32_t)(*t)->pg_count;
    if (known.state == OBV_TASK_RUNNING)
        h->task = OBV_STEAL(*t);
    (void)pthread_cond_broadcast(&r->changed);
    return OBV_OK;
}

obv_code obv_runner_submit(obv_runner *r, obv_task *t, obv_err *err)
{
    OBV_AUTO(obv_task_freep) obv_task *task = t;
    (void)pthread_mutex_lock(&r->mu);
    const obv_code code = take_task(r, &task, err);
    (void)pthread_mutex_unlock(&r->mu);
    return code;
}

void obv_runner_refuse(obv_runner *r, const char *uid, uint64_t epoch, const obv_err *why)
{
    (void)pthread_mutex_lock(&r->mu);
    struct held *h = strlen(uid) <= OBV_TASK_UID_MAX && !find(r, uid) ? free_slot(r) : NULL;
    if (h) {
        *h = (struct held){.used = true, .epoch = epoch, .state = OBV_TASK_FAILED, .error = *why};
        (void)strcpy(h->uid, uid);
    }
    (void)pthread_mutex_unlock(&r->mu);
}

void obv_runner_cancel(obv_runner *r, const char *uid)
{
    (void)pthread_mutex_lock(&r->mu);
    const struct held *h = find(r, uid);
    if (h && h->cancel)
        obv_cancel_request(h->cancel);
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->mu);
}

void obv_runner_forget(obv_runner *r, const char *uid)
{
    obv_err err = {0};
    (void)pthread_mutex_lock(&r->mu);
    struct held *h = find(r, uid);
    const bool runs = h && h->task;
    if (runs) {
        h->forget = true;
    } else {
        if (h)
            drop(h);
        if (obv_journal_task_forget(r->cfg.journal, uid, &err) != OBV_OK)
            OBV_WARN_OF(&err, "task %s: its rows cannot be dropped", uid);
    }
    (void)pthread_mutex_unlock(&r->mu);
}

void obv_runner_let_go(obv_runner *r)
{
    (void)pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < OBV_TASKS_MAX; i++) {
        struct held *h = &r->slots[i];
        if (!h->used || !h->task || h->let_go)
            continue;
        h->let_go = true;
        obv_cancel_request(h->cancel);
    }
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->mu);
}

void obv_runner_reports(obv_runner *r, obv_task_report_fn *fn, void *ctx)
{
    (void)pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < OBV_TASKS_MAX; i++) {
        struct held *h = &r->slots[i];
        if (!h->used || h->let_go)
            continue;
        if (h->batch)
            obv_batch_progress(h->batch, &h->progress);
        const obv_task_report report = {.uid = h->uid,
                                        .epoch = h->epoch,
                                        .state = h->state,
                                        .progress = h->progress,
                                        .error = &h->error,
                                        .result = &h->result,
                                        .kind = h->kind};
        fn(ctx, &report);
    }
    (void)pthread_mutex_unlock(&r->mu);
}

bool obv_runner_chunk_wanted(obv_runner *r, obv_chunk_wanted *out)
{
    bool wanted = false;
    (void)pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < OBV_TASKS_MAX && !wanted; i++) {
        const struct held *h = &r->slots[i];
        if (!h->used || !h->chunk_wanted || h->chunk_here)
            continue;
        wanted = true;
        *out = (obv_chunk_wanted){.file_index = h->chunk_file, .offset = h->chunk_offset};
        (void)strcpy(out->uid, h->uid);
    }
    (void)pthread_mutex_unlock(&r->mu);
    return wanted;
}

void obv_runner_chunk(obv_runner *r, const char *uid, uint32_t file_index, uint64_t offset, obv_span data)
{
    (void)pthread_mutex_lock(&r->mu);
    struct held *h = find(r, uid);
    if (h && h->chunk_wanted && !h->chunk_here && h->chunk_file == file_index && h->chunk_offset == offset &&
        data.len > 0 && data.len <= OBV_CHUNK_MAX && (h->chunk_data = malloc(data.len)) != NULL) {
        memcpy(h->chunk_data, data.p, data.len);
        h->chunk_len = data.len;
        h->chunk_here = true;
        (void)pthread_cond_broadcast(&r->changed);
    }
    (void)pthread_mutex_unlock(&r->mu);
}

void obv_runner_get_load(obv_runner *r, obv_runner_load *out)
{
    const uint64_t buf = obv_pool_buf_bytes(r->cfg.pool);
    const uint32_t count = obv_pool_count(r->cfg.pool);
    *out = (obv_runner_load){.batch_slots = r->cfg.batch_slots,
                             .pool_bytes = buf * count,
                             .pool_used_bytes = buf * (count - obv_pool_available(r->cfg.pool))};
    (void)pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < OBV_TASKS_MAX; i++)
        out->batches_running += r->slots[i].used && r->slots[i].task && r->slots[i].kind == OBV_TASK_BATCH;
    (void)pthread_mutex_unlock(&r->mu);
}
