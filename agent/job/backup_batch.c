/* backup_batch.c - the PGs of one batch: who is next, what a failure means for the PG and for the batch */
#define OBV_LOG_MOD "backup"
#include "base/clock.h"
#include "base/log.h"
#include "format/ob/keys.h"
#include "job/backup_priv.h"

#include <inttypes.h>
#include <pthread.h>

enum {
    CHANGED_MAX = 8,  /* restarts of a PG that moves on under its copy */
    RETRIES_MAX = 12, /* repeats of what may succeed later */
    FIRST_WAIT_MS = 500,
    WAIT_CAP_MS = 15000,
    ARCHIVE_STEP_MS = 1000,
    ARCHIVE_WAIT_MS = 20000, /* until the PG's archive has begun */
};

enum pg_phase { PG_WAITING, PG_RUNNING, PG_OVER };

struct batch_pg {
    enum pg_phase phase;
    uint32_t changed, retries;
    int64_t not_before_ns;
    int64_t archive_until_ns; /* 0: has not waited for the archive yet */
};

struct obv_batch {
    obv_backup_env env;
    const obv_task *task;
    const obv_cancel *cancel;
    obv_media_root root;
    obv_batch_counters counters;
    pthread_mutex_t mu;
    struct batch_pg *pgs;
    uint32_t running, over;
    obv_err failed; /* code != OBV_OK: the batch ends */
};

obv_code obv_batch_new(const obv_backup_env *env, const obv_task *t, const obv_cancel *c, obv_batch **out, obv_err *err)
{
    obv_media_root root;
    OBV_TRY(obv_media_root_init(&root, t->set.cluster_name, (int64_t)t->set.cluster_id, err));
    OBV_TRY(obv_journal_metas_of_older_sets(env->journal, &t->set, err));
    obv_batch *b = calloc(1, sizeof *b);
    struct batch_pg *pgs = calloc(t->pg_count + 1, sizeof *pgs);
    if (!b || !pgs) {
        free(b);
        free(pgs);
        return obv_fail(err, OBV_E_NOMEM, 0, "batch: out of memory");
    }
    b->env = *env;
    b->task = t;
    b->cancel = c;
    b->root = root;
    b->pgs = pgs;
    (void)pthread_mutex_init(&b->mu, NULL);
    *out = b;
    return OBV_OK;
}

void obv_batch_free(obv_batch *b)
{
    if (!b)
        return;
    (void)pthread_mutex_destroy(&b->mu);
    free(b->pgs);
    free(b);
}

/* What hits the destination or this host hits every PG. */
static bool ends_batch(obv_code code)
{
    switch (code) {
    case OBV_E_NO_SPACE:
    case OBV_E_READ_ONLY:
    case OBV_E_DENIED:
    case OBV_E_AUTH:
    case OBV_E_CONFIG:
    case OBV_E_CONFLICT:
    case OBV_E_NOT_INITIALISED:
    case OBV_E_STALE:
    case OBV_E_CANCELLED:
    case OBV_E_IO:
    case OBV_E_NOMEM:
        return true;
    default:
        return false;
    }
}

static uint32_t backoff_ms(uint32_t times)
{
    const uint32_t ms = (uint32_t)FIRST_WAIT_MS << (times < 6 ? times : 6);
    return ms < WAIT_CAP_MS ? ms : WAIT_CAP_MS;
}

/* True when the PG is tried again later. Locked. */
static bool again_later(const struct obv_batch *b, struct batch_pg *p, const obv_err *e)
{
    const int64_t now = obv_mono_ns();
    uint32_t wait_ms = 0;
    if (e->code == OBV_E_PG_CHANGED && p->changed < CHANGED_MAX) {
        wait_ms = backoff_ms(p->changed++);
    } else if (e->code == OBV_E_NOT_READY) {
        if (p->archive_until_ns == 0)
            p->archive_until_ns =
                now + (b->env.archive_wait_ms ? b->env.archive_wait_ms : ARCHIVE_WAIT_MS) * OBV_NS_PER_MS;
        if (now >= p->archive_until_ns)
            return false;
        wait_ms = ARCHIVE_STEP_MS;
    } else if (OBV_IS_RETRYABLE(e->code) && p->retries < RETRIES_MAX) {
        wait_ms = backoff_ms(p->retries++);
    } else { /* a replica behind the archive's beginning, too: another one does better than waiting */
        return false;
    }
    p->not_before_ns = now + wait_ms * OBV_NS_PER_MS;
    p->phase = PG_WAITING;
    return true;
}

static void judge(struct obv_batch *b, size_t i, obv_code code, const obv_err *e)
{
    struct batch_pg *p = &b->pgs[i];
    obv_err why = {0};
    (void)pthread_mutex_lock(&b->mu);
    b->running--;
    p->phase = PG_OVER;
    if (code != OBV_OK && obv_cancel_requested(b->cancel)) {
        obv_err stop = {0};
        if (obv_cancel_check(b->cancel, "batch", &stop) != OBV_OK)
            b->failed = stop;
    } else if (code != OBV_OK && ends_batch(code)) {
        b->failed = *e;
    } else if (code != OBV_OK && again_later(b, p, e)) {
        OBV_DETAIL("%s: again later", e->msg);
    } else {
        b->over++;
        if (code != OBV_OK) {
            OBV_WARN_OF(e, "a PG is not copied");
            if (obv_journal_pg_failed(b->env.journal, b->task, &b->task->pgs[i], e, &why) != OBV_OK)
                b->failed = why;
        }
    }
    (void)pthread_mutex_unlock(&b->mu);
}

/* Takes a PG that is ready. */
static obv_batch_step take(struct obv_batch *b, size_t *index)
{
    obv_batch_step step = OBV_BATCH_OVER;
    const int64_t now = obv_mono_ns();
    obv_err stop = {0};
    (void)pthread_mutex_lock(&b->mu);
    if (b->failed.code == OBV_OK && obv_cancel_check(b->cancel, "batch", &stop) != OBV_OK)
        b->failed = stop;
    for (size_t i = 0; b->failed.code == OBV_OK && i < b->task->pg_count && step != OBV_BATCH_WORKED; i++) {
        struct batch_pg *p = &b->pgs[i];
        if (p->phase == PG_OVER)
            continue;
        step = OBV_BATCH_IDLE;
        if (p->phase == PG_WAITING && p->not_before_ns <= now) {
            p->phase = PG_RUNNING;
            b->running++;
            *index = i;
            step = OBV_BATCH_WORKED;
        }
    }
    if (step == OBV_BATCH_OVER && b->running > 0)
        step = OBV_BATCH_IDLE;
    (void)pthread_mutex_unlock(&b->mu);
    return step;
}

obv_batch_step obv_batch_work(obv_batch *b)
{
    size_t i = 0;
    const obv_batch_step step = take(b, &i);
    if (step != OBV_BATCH_WORKED)
        return step;
    obv_err err = {0};
    obv_pg_copy c = {.env = &b->env,
                     .task = b->task,
                     .root = &b->root,
                     .pg = &b->task->pgs[i],
                     .cancel = b->cancel,
                     .counters = &b->counters};
    char name[OBV_PKEY_TEXT_MAX];
    obv_log_context_work(b->task->uid, obv_pg_key_text(c.pg, name));
    judge(b, i, obv_backup_pg(&c, &err), &err);
    obv_log_context_work(b->task->uid, NULL);
    return OBV_BATCH_WORKED;
}

obv_code obv_batch_result(obv_batch *b, obv_err *err)
{
    (void)pthread_mutex_lock(&b->mu);
    const obv_code code = b->failed.code;
    if (code != OBV_OK && err)
        *err = b->failed;
    (void)pthread_mutex_unlock(&b->mu);
    return code;
}

void obv_batch_progress(obv_batch *b, obv_task_progress *out)
{
    *out = (obv_task_progress){.bytes_read = atomic_load(&b->counters.bytes_read),
                               .bytes_written = atomic_load(&b->counters.bytes_written),
                               .blocks_done = atomic_load(&b->counters.blocks_done),
                               .blocks_total = atomic_load(&b->counters.blocks_total),
                               .pgs_total = (uint32_t)b->task->pg_count};
    (void)pthread_mutex_lock(&b->mu);
    out->pgs_done = b->over;
    (void)pthread_mutex_unlock(&b->mu);
}
