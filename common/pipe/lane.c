#include "pipe/lane.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define CHECK_MS 50 /* how soon a waiting stage sees the caller's cancel */

enum slot_state { FREE, FILLED, BUSY, DONE };

struct slot {
    obv_lane_slot s;
    enum slot_state state;
};

struct lane {
    const obv_lane_ops *ops;
    void *ctx;
    const obv_lane_config *cfg;
    struct slot *ring;
    uint8_t *items;
    void **bufs;
    uint32_t buf_count;
    uint64_t head, next, tail; /* slots filled | handed to a worker | drained */
    bool eof;
    obv_err first; /* code OBV_OK until the first error */
    obv_cancel *cancel;
    obv_log_context log;
    obv_lane_stats stats;
    pthread_mutex_t mu;
    pthread_cond_t cv; /* one condition: few threads, large units */
};

struct worker {
    struct lane *l;
    unsigned id;
    pthread_t thread;
};

/* All of these with mu held. */

static void stop(struct lane *l, obv_code code, const obv_err *err)
{
    if (l->first.code == OBV_OK) {
        l->first = *err;
        l->first.code = code; /* a stage may have left err alone */
        obv_cancel_request(l->cancel);
    }
    pthread_cond_broadcast(&l->cv);
}

static void wait_change(struct lane *l, obv_stage_stats *st)
{
    const int64_t began_at = obv_mono_ns();
    const int64_t at = began_at + CHECK_MS * OBV_NS_PER_MS;
    const struct timespec until = {.tv_sec = at / OBV_NS_PER_S, .tv_nsec = at % OBV_NS_PER_S};
    (void)pthread_cond_timedwait(&l->cv, &l->mu, &until);
    st->blocked_ns += (uint64_t)(obv_mono_ns() - began_at);
}

/* true while the lane goes on; sees the caller's cancel and deadline. */
static bool goes_on(struct lane *l)
{
    obv_err err = {0};
    if (l->first.code != OBV_OK)
        return false;
    const obv_code code = obv_cancel_check(l->cancel, "pipeline", &err);
    if (code == OBV_OK)
        return true;
    stop(l, code, &err);
    return false;
}

static void count(obv_stage_stats *st, int64_t began_at, size_t bytes)
{
    st->busy_ns += (uint64_t)(obv_mono_ns() - began_at);
    st->bytes += bytes;
    st->units++;
}

static struct slot *slot_of(struct lane *l, uint64_t seq) { return &l->ring[seq % l->cfg->depth]; }

static void fill_one(struct lane *l, struct slot *slot)
{
    obv_lane_slot *s = &slot->s;
    obv_err err = {0};
    bool more = true;
    s->seq = l->head;
    s->len = s->out_len = 0;
    pthread_mutex_unlock(&l->mu);
    if (s->item)
        memset(s->item, 0, l->cfg->item_size);
    const int64_t began_at = obv_mono_ns();
    const obv_code code = l->ops->fill(l->ctx, s, &more, &err);
    obv_assert(code != OBV_OK || s->len <= s->cap);
    pthread_mutex_lock(&l->mu);
    if (code != OBV_OK) {
        stop(l, code, &err);
        return;
    }
    if (!more) {
        l->stats.source.busy_ns += (uint64_t)(obv_mono_ns() - began_at);
        l->eof = true;
    } else {
        count(&l->stats.source, began_at, s->len);
        slot->state = l->ops->work ? FILLED : DONE;
        l->head++;
    }
    pthread_cond_broadcast(&l->cv);
}

static void *run_source(void *arg)
{
    struct lane *l = arg;
    obv_log_context_put(&l->log);
    pthread_mutex_lock(&l->mu);
    while (goes_on(l) && !l->eof) {
        struct slot *slot = slot_of(l, l->head);
        if (slot->state == FREE)
            fill_one(l, slot);
        else
            wait_change(l, &l->stats.source); /* back-pressure */
    }
    pthread_mutex_unlock(&l->mu);
    return NULL;
}

static void *run_worker(void *arg)
{
    const struct worker *w = arg;
    struct lane *l = w->l;
    obv_log_context_put(&l->log);
    pthread_mutex_lock(&l->mu);
    while (goes_on(l)) {
        if (l->next == l->head) {
            if (l->eof)
                break;
            wait_change(l, &l->stats.work);
            continue;
        }
        struct slot *slot = slot_of(l, l->next++);
        obv_err err = {0};
        slot->state = BUSY;
        pthread_mutex_unlock(&l->mu);
        const int64_t began_at = obv_mono_ns();
        const obv_code code = l->ops->work(l->ctx, w->id, &slot->s, &err);
        obv_assert(code != OBV_OK || (slot->s.len <= slot->s.cap && slot->s.out_len <= slot->s.out_cap));
        pthread_mutex_lock(&l->mu);
        count(&l->stats.work, began_at, slot->s.len);
        slot->state = DONE;
        if (code != OBV_OK)
            stop(l, code, &err);
        pthread_cond_broadcast(&l->cv);
    }
    pthread_mutex_unlock(&l->mu);
    return NULL;
}

static void run_sink(struct lane *l)
{
    pthread_mutex_lock(&l->mu);
    while (goes_on(l)) {
        struct slot *slot = slot_of(l, l->tail);
        if (l->tail == l->head || slot->state != DONE) {
            if (l->eof && l->tail == l->head)
                break;
            wait_change(l, &l->stats.sink);
            continue;
        }
        obv_err err = {0};
        pthread_mutex_unlock(&l->mu);
        const int64_t began_at = obv_mono_ns();
        const obv_code code = l->ops->drain(l->ctx, &slot->s, &err);
        pthread_mutex_lock(&l->mu);
        count(&l->stats.sink, began_at, l->cfg->with_out ? slot->s.out_len : slot->s.len);
        slot->state = FREE;
        l->tail++;
        if (code != OBV_OK)
            stop(l, code, &err);
        pthread_cond_broadcast(&l->cv);
    }
    pthread_mutex_unlock(&l->mu);
}

/* Starts the threads, drains on this one, joins them. */
static void run_threads(struct lane *l)
{
    struct worker workers[OBV_LANE_WORKERS_MAX];
    pthread_t source;
    unsigned started = 0;
    obv_err err = {0};
    const bool has_source = pthread_create(&source, NULL, run_source, l) == 0;
    bool ok = has_source;
    while (ok && l->ops->work && started < l->cfg->workers) {
        workers[started] = (struct worker){.l = l, .id = started};
        ok = pthread_create(&workers[started].thread, NULL, run_worker, &workers[started]) == 0;
        started += ok;
    }
    if (!ok) {
        pthread_mutex_lock(&l->mu);
        stop(l, obv_fail(&err, OBV_E_NOMEM, 0, "pipeline: no more threads"), &err);
        pthread_mutex_unlock(&l->mu);
    }
    run_sink(l);
    if (has_source)
        (void)pthread_join(source, NULL);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(workers[i].thread, NULL);
}

static obv_code init(struct lane *l, obv_err *err)
{
    const obv_lane_config *cfg = l->cfg;
    const size_t item_step = (cfg->item_size + 15) / 16 * 16;
    const uint32_t per_slot = cfg->with_out ? 2 : 1;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&l->mu, NULL);
    (void)pthread_cond_init(&l->cv, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    l->cancel = obv_cancel_new(cfg->cancel);
    l->ring = calloc(cfg->depth, sizeof *l->ring);
    l->bufs = calloc((size_t)cfg->depth * per_slot, sizeof *l->bufs);
    l->items = item_step ? calloc(cfg->depth, item_step) : NULL;
    if (!l->cancel || !l->ring || !l->bufs || (item_step && !l->items))
        return obv_fail(err, OBV_E_NOMEM, 0, "pipeline of %u slots", cfg->depth);
    OBV_TRY(obv_pool_take(cfg->pool, cfg->depth * per_slot, l->bufs, cfg->cancel, err));
    l->buf_count = cfg->depth * per_slot;
    for (unsigned i = 0; i < cfg->depth; i++) {
        obv_lane_slot *s = &l->ring[i].s;
        s->data = l->bufs[(size_t)i * per_slot];
        s->cap = obv_pool_buf_bytes(cfg->pool);
        s->out = cfg->with_out ? l->bufs[(size_t)i * per_slot + 1] : NULL;
        s->out_cap = cfg->with_out ? s->cap : 0;
        s->item = item_step ? l->items + i * item_step : NULL;
        s->cancel = l->cancel;
    }
    return OBV_OK;
}

static void fini(struct lane *l)
{
    if (l->buf_count)
        obv_pool_give(l->cfg->pool, l->buf_count, l->bufs);
    free(l->bufs);
    free(l->ring);
    free(l->items);
    obv_cancel_free(l->cancel);
    (void)pthread_cond_destroy(&l->cv);
    (void)pthread_mutex_destroy(&l->mu);
}

static void add_stage(obv_stage_stats *to, const obv_stage_stats *from)
{
    to->units += from->units;
    to->bytes += from->bytes;
    to->busy_ns += from->busy_ns;
    to->blocked_ns += from->blocked_ns;
}

obv_code obv_lane_run(const obv_lane_ops *ops, void *ctx, const obv_lane_config *cfg, obv_lane_stats *stats,
                      obv_err *err)
{
    if (cfg->workers < 1 || cfg->workers > OBV_LANE_WORKERS_MAX || cfg->depth < 1 || cfg->depth > OBV_LANE_DEPTH_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "pipeline of %u workers, depth %u", cfg->workers, cfg->depth);
    struct lane l = {.ops = ops, .ctx = ctx, .cfg = cfg, .log = obv_log_context_get()};
    const int64_t began_at = obv_mono_ns();
    obv_code code = init(&l, err);
    if (code == OBV_OK) {
        run_threads(&l);
        code = l.first.code;
        if (code != OBV_OK && err)
            *err = l.first;
    }
    fini(&l);
    if (stats) {
        add_stage(&stats->source, &l.stats.source);
        add_stage(&stats->work, &l.stats.work);
        add_stage(&stats->sink, &l.stats.sink);
        stats->elapsed_ns += (uint64_t)(obv_mono_ns() - began_at);
    }
    return code;
}

const char *obv_lane_bottleneck(const obv_lane_stats *s, unsigned workers)
{
    const uint64_t work = workers ? s->work.busy_ns / workers : 0;
    if (s->source.busy_ns >= work && s->source.busy_ns >= s->sink.busy_ns)
        return "source";
    return work >= s->sink.busy_ns ? "work" : "sink";
}
