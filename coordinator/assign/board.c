#include "assign/board.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct obv_board {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    uint64_t id, last_id; /* id 0: nobody asks */
    bool repository_only;
    int64_t until_ns;
    obv_board_answer *v;
    size_t n;
};

obv_code obv_board_new(obv_board **out, obv_err *err)
{
    obv_board *b = calloc(1, sizeof *b);
    pthread_condattr_t attr;
    if (!b)
        return obv_fail(err, OBV_E_NOMEM, 0, "checks: out of memory");
    (void)pthread_mutex_init(&b->mu, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&b->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    *out = b;
    return OBV_OK;
}

static void drop_answers(obv_board_answer *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        obv_findings_fini(&v[i].found);
    free(v);
}

void obv_board_free(obv_board *b)
{
    if (!b)
        return;
    drop_answers(b->v, b->n);
    (void)pthread_cond_destroy(&b->changed);
    (void)pthread_mutex_destroy(&b->mu);
    free(b);
}

obv_code obv_board_ask(obv_board *b, const obv_board_answer *agents, size_t n, bool repository_only,
                       uint32_t deadline_ms, obv_err *err)
{
    obv_board_answer *v = calloc(n + 1, sizeof *v);
    if (!v || n > OBV_BOARD_AGENTS_MAX) {
        free(v);
        return obv_fail(err, v ? OBV_E_LIMIT : OBV_E_NOMEM, 0, "checks of %zu agents", n);
    }
    for (size_t i = 0; i < n; i++)
        (void)snprintf(v[i].agent_id, sizeof v[i].agent_id, "%s", agents[i].agent_id);
    (void)pthread_mutex_lock(&b->mu);
    if (b->id != 0) {
        (void)pthread_mutex_unlock(&b->mu);
        free(v);
        return obv_fail(err, OBV_E_BUSY, 0, "another doctor or repo check is running");
    }
    /* of the clock: an agent that outlives this coordinator takes no new question for an old one */
    const uint64_t now = (uint64_t)obv_now_us();
    b->last_id = b->id = now > b->last_id ? now : b->last_id + 1;
    b->repository_only = repository_only;
    b->until_ns = obv_mono_ns() + (int64_t)deadline_ms * OBV_NS_PER_MS;
    b->v = v;
    b->n = n;
    (void)pthread_mutex_unlock(&b->mu);
    return OBV_OK;
}

void obv_board_wait(obv_board *b)
{
    (void)pthread_mutex_lock(&b->mu);
    const struct timespec until = {.tv_sec = b->until_ns / OBV_NS_PER_S, .tv_nsec = b->until_ns % OBV_NS_PER_S};
    for (;;) {
        size_t done = 0;
        for (size_t i = 0; i < b->n; i++)
            done += b->v[i].done;
        if (done == b->n || pthread_cond_timedwait(&b->changed, &b->mu, &until) != 0)
            break;
    }
    (void)pthread_mutex_unlock(&b->mu);
}

void obv_board_end(obv_board *b, obv_board_answer **out, size_t *n)
{
    (void)pthread_mutex_lock(&b->mu);
    b->id = 0;
    *out = OBV_STEAL(b->v);
    *n = b->n;
    b->n = 0;
    (void)pthread_mutex_unlock(&b->mu);
}

static obv_board_answer *find(obv_board *b, const char *agent_id)
{
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->v[i].agent_id, agent_id) == 0)
            return &b->v[i];
    return NULL;
}

obv_board_question obv_board_look(obv_board *b, const char *agent_id)
{
    obv_board_question q = {0};
    (void)pthread_mutex_lock(&b->mu);
    const obv_board_answer *a = b->id ? find(b, agent_id) : NULL;
    const int64_t left_ms = (b->until_ns - obv_mono_ns()) / OBV_NS_PER_MS;
    if (a && !a->done && left_ms > 0)
        q = (obv_board_question){b->id, b->repository_only, (uint32_t)left_ms};
    (void)pthread_mutex_unlock(&b->mu);
    return q;
}

static int64_t size_of(int64_t v) { return v < 0 ? -v : v; }

void obv_board_take(obv_board *b, uint64_t id, obv_board_answer *a)
{
    (void)pthread_mutex_lock(&b->mu);
    obv_board_answer *to = id == b->id ? find(b, a->agent_id) : NULL;
    if (to && !to->done) {
        const bool nearer = to->clock_known && size_of(to->clock_off_us) < size_of(a->clock_off_us);
        const int64_t off = nearer ? to->clock_off_us : a->clock_off_us;
        obv_findings_fini(&to->found);
        *to = *a;
        to->answered = true;
        to->clock_off_us = off;
        a->found = (obv_findings){0};
        (void)pthread_cond_broadcast(&b->changed);
    }
    (void)pthread_mutex_unlock(&b->mu);
    obv_findings_fini(&a->found);
}
