#define OBV_LOG_MOD "job"
#include "job/runner.h"

#include "base/cancel.h"
#include "base/log.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/cancel.h"
#include "job/pin.h"
#include "job/plan_check.h"
#include "job/repo_init.h"
#include "job/restore.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_MAX 64u
#define TROUBLE_MS 3000u
#define TROUBLE_MAX_US (3600 * OBV_US_PER_S) /* without one step forward */
#define SWEEP_NS OBV_NS_PER_S
#define TRIM_NS (600 * OBV_NS_PER_S)
#define US_PER_DAY (86400 * OBV_US_PER_S)

static const struct {
    obv_job_kind kind;
    obv_job_step *step;
} MACHINES[] = {
    {OBV_JOB_REPO_INIT, obv_repo_init_step}, {OBV_JOB_ARCHIVE, obv_archive_step},  {OBV_JOB_BACKUP, obv_backup_step},
    {OBV_JOB_RESTORE, obv_restore_step},     {OBV_JOB_CHECK, obv_plan_check_step},
};
#define MACHINE_COUNT (sizeof MACHINES / sizeof *MACHINES)

typedef struct thread {
    obv_runner *r;
    obv_job_kind kind;
    obv_job_ctx x;
    pthread_t tid;
    bool running;
} thread;

struct obv_runner {
    thread threads[MACHINE_COUNT];
    atomic_bool stop;
    void (*clusters_free)(void *);
};

static obv_job_step *machine_of(obv_job_kind kind)
{
    for (size_t i = 0; i < MACHINE_COUNT; i++)
        if (MACHINES[i].kind == kind)
            return MACHINES[i].step;
    return NULL;
}

void obv_ctx_pause(obv_job_ctx *x, const char *job_id, uint32_t ms)
{
    const size_t n = sizeof x->pauses / sizeof *x->pauses;
    size_t at = 0;
    while (at + 1 < n && x->pauses[at].id[0] && strcmp(x->pauses[at].id, job_id) != 0)
        at++;
    (void)snprintf(x->pauses[at].id, sizeof x->pauses[at].id, "%s", job_id);
    x->pauses[at].until_ns = obv_clock_ns(&x->clock) + (int64_t)ms * OBV_NS_PER_MS;
}

obv_code obv_ctx_memory(obv_job_ctx *x, const obv_job *job, size_t size, void (*release)(void *), void **out,
                        obv_err *err)
{
    if (x->memory && strcmp(x->memory_job, job->id) != 0) {
        x->memory_free(x->memory);
        x->memory = NULL;
    }
    if (!x->memory) {
        x->memory = calloc(1, size);
        x->memory_free = release;
        (void)snprintf(x->memory_job, sizeof x->memory_job, "%s", job->id);
    }
    *out = x->memory;
    return x->memory ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "memory of %s", job->id);
}

/* Milliseconds that a job is still to be left alone; forgets pauses that are over. */
static uint32_t pause_left(obv_job_ctx *x, const char *job_id)
{
    const int64_t now = obv_clock_ns(&x->clock);
    for (size_t i = 0; i < sizeof x->pauses / sizeof *x->pauses; i++) {
        if (strcmp(x->pauses[i].id, job_id) != 0)
            continue;
        if (x->pauses[i].until_ns > now)
            return (uint32_t)((x->pauses[i].until_ns - now) / OBV_NS_PER_MS) + 1;
        x->pauses[i].id[0] = 0;
    }
    return 0;
}

/* Since when the job has not taken one step without an error that may pass; a good step ends it. */
static int64_t trouble_since(obv_job_ctx *x, const char *job_id, bool troubled)
{
    const size_t n = sizeof x->troubles / sizeof *x->troubles;
    size_t at = 0;
    while (at < n && strcmp(x->troubles[at].id, job_id) != 0)
        at++;
    if (!troubled) {
        if (at < n)
            x->troubles[at].id[0] = 0;
        return 0;
    }
    if (at == n) {
        for (at = 0; at + 1 < n && x->troubles[at].id[0]; at++)
            ;
        (void)snprintf(x->troubles[at].id, sizeof x->troubles[at].id, "%s", job_id);
        x->troubles[at].since_us = obv_ctx_now(x);
    }
    return x->troubles[at].since_us;
}

/* A set does not stay half-made: its entries are marked first. */
static obv_code end_badly(obv_job_ctx *x, const obv_job *job, const obv_err *why, obv_err *err)
{
    if (job->kind == OBV_JOB_BACKUP && job->ref && strcmp(job->phase, "CLEANUP") != 0)
        return obv_backup_fail(x, job, why, err);
    return obv_job_end(x->s, job->id, job->phase, why, obv_ctx_now(x), err);
}

/* Whatever it waits for, and in whatever phase: the set fails, agents are told to stop. */
static obv_code end_cancelled(obv_job_ctx *x, const obv_job *job, obv_err *err)
{
    obv_err why = {0};
    obv_job_cancelled(job, &why);
    if (job->kind == OBV_JOB_BACKUP && job->ref)
        return obv_backup_fail(x, job, &why, err);
    return obv_job_end(x->s, job->id, job->phase, &why, obv_ctx_now(x), err);
}

static obv_code step_one(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    obv_err why = {0};
    if (obv_job_is_cancelled(job))
        return end_cancelled(x, job, err);
    obv_log_context_set(job->id, NULL, NULL);
    obv_code code = machine_of(job->kind)(x, job, again_ms, &why);
    /* an archive waits for ever, others have a limit: nothing may hang unnoticed */
    const bool passing = code != OBV_OK && OBV_IS_RETRYABLE(code);
    const int64_t since = trouble_since(x, job->id, passing);
    const bool late = passing && job->kind != OBV_JOB_ARCHIVE && obv_ctx_now(x) - since > TROUBLE_MAX_US;
    /* a round that has begun ends when an operator says so: an account or a mount that is wrong for a day must not
     * leave the log without its coordinator */
    const bool keeps_on = job->kind == OBV_JOB_ARCHIVE && strcmp(job->phase, "BEGINNING") != 0;
    if (code != OBV_OK && (keeps_on || (OBV_IS_RETRYABLE(code) && !late))) {
        OBV_WARN_EVERY(10, "%s in %s waits: %s", job->id, job->phase, why.msg);
        *again_ms = TROUBLE_MS;
        obv_ctx_pause(x, job->id, TROUBLE_MS);
        code = OBV_OK;
    } else if (code != OBV_OK) {
        OBV_ERROR_OF(&why, "%s fails in %s", job->id, job->phase);
        code = end_badly(x, job, &why, err);
    }
    obv_log_context_set(NULL, NULL, NULL);
    return code;
}

obv_code obv_runner_pass(obv_job_ctx *x, obv_job_kind kind, uint32_t *again_ms, obv_err *err)
{
    obv_job *jobs = calloc(JOBS_MAX, sizeof *jobs);
    size_t n = 0;
    *again_ms = 5000;
    if (kind == OBV_JOB_BACKUP)
        obv_pins_look(x);
    obv_code code = jobs ? obv_job_running(x->s, kind, jobs, JOBS_MAX, &n, err) : obv_fail(err, OBV_E_NOMEM, 0, "jobs");
    for (size_t i = 0; i < n && code == OBV_OK; i++) {
        uint32_t ms = jobs[i].cancel ? 0 : pause_left(x, jobs[i].id);
        if (ms == 0) {
            ms = 1000;
            code = step_one(x, &jobs[i], &ms, err);
        }
        if (ms < *again_ms)
            *again_ms = ms;
    }
    free(jobs);
    return code;
}

/* What is no longer of use to anybody, now and then. */
static void trim(const obv_job_ctx *x, int64_t *trimmed_ns)
{
    obv_err err = {0};
    if (*trimmed_ns && obv_clock_ns(&x->clock) - *trimmed_ns < TRIM_NS)
        return;
    *trimmed_ns = obv_clock_ns(&x->clock);
    if (obv_state_trim(x->s, obv_ctx_now(x), x->cfg->event_days * US_PER_DAY, x->cfg->event_max, &err) != OBV_OK)
        OBV_ERROR_OF(&err, "old events stay");
}

static void *run(void *arg)
{
    thread *t = arg;
    uint64_t seen = 0;
    int64_t swept = 0, trimmed = 0;
    while (!atomic_load(&t->r->stop)) {
        obv_err err = {0};
        uint32_t again_ms = 1000;
        if (t->kind == OBV_JOB_REPO_INIT && obv_clock_ns(&t->x.clock) - swept > SWEEP_NS) {
            swept = obv_clock_ns(&t->x.clock);
            if (obv_registry_sweep(t->x.reg, &err) != OBV_OK)
                OBV_ERROR_OF(&err, "looking for lost agents");
            trim(&t->x, &trimmed);
            again_ms = 1000;
        }
        uint32_t ms = 1000;
        if (obv_runner_pass(&t->x, t->kind, &ms, &err) != OBV_OK)
            OBV_ERROR_OF(&err, "jobs of kind %s", obv_job_kind_name(t->kind));
        again_ms = ms < again_ms ? ms : again_ms;
        /* every commit wakes all threads: look at most ten times a second */
        obv_state_wait(t->x.s, &seen, again_ms);
        if (!atomic_load(&t->r->stop))
            (void)!obv_cancel_sleep(NULL, 100, &err);
    }
    return NULL;
}

obv_code obv_runner_start(const obv_job_ctx *base, obv_clusters_of *clusters_of, void (*clusters_free)(void *),
                          void *ctx, obv_runner **out, obv_err *err)
{
    obv_runner *r = calloc(1, sizeof *r);
    if (!r)
        return obv_fail(err, OBV_E_NOMEM, 0, "jobs");
    r->clusters_free = clusters_free;
    obv_code code = OBV_OK;
    for (size_t i = 0; i < MACHINE_COUNT && code == OBV_OK; i++) {
        thread *t = &r->threads[i];
        *t = (thread){.r = r, .kind = MACHINES[i].kind, .x = *base};
        t->x.memory = NULL;
        code = clusters_of(ctx, &t->x.clusters, err);
        if (code == OBV_OK && pthread_create(&t->tid, NULL, run, t) != 0)
            code = obv_fail(err, OBV_E_NOMEM, 0, "thread of jobs");
        t->running = code == OBV_OK;
    }
    if (code != OBV_OK) {
        obv_runner_stop(r);
        return code;
    }
    *out = r;
    return OBV_OK;
}

void obv_runner_stop(obv_runner *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    for (size_t i = 0; i < MACHINE_COUNT; i++) {
        thread *t = &r->threads[i];
        if (!t->running)
            continue;
        obv_state_wake(t->x.s);
        (void)pthread_join(t->tid, NULL);
    }
    for (size_t i = 0; i < MACHINE_COUNT; i++) {
        thread *t = &r->threads[i];
        if (t->x.clusters.ctx)
            r->clusters_free(t->x.clusters.ctx);
        if (t->x.memory)
            t->x.memory_free(t->x.memory);
    }
    free(r);
}
