#include "base/throttle.h"

#include "base/clock.h"

#include <pthread.h>
#include <time.h>

#define CHECK_MS 50 /* how soon a waiting thread sees a cancel or a new rate */

struct obv_throttle {
    pthread_mutex_t mu;
    double tokens; /* negative: debt that later takers wait for */
    double per_s;  /* 0 = unbounded */
    double burst;
    int64_t filled_at_ns;
    uint64_t waited_ns;
};

obv_throttle *obv_throttle_new(uint64_t per_s, uint64_t burst)
{
    obv_throttle *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    (void)pthread_mutex_init(&t->mu, NULL);
    t->per_s = (double)per_s;
    t->burst = burst ? (double)burst : 1;
    t->tokens = t->burst;
    t->filled_at_ns = obv_mono_ns();
    return t;
}

void obv_throttle_free(obv_throttle *t)
{
    if (t)
        (void)pthread_mutex_destroy(&t->mu);
    free(t);
}

static void refill(obv_throttle *t)
{
    const int64_t now = obv_mono_ns();
    t->tokens += t->per_s * (double)(now - t->filled_at_ns) / (double)OBV_NS_PER_S;
    if (t->tokens > t->burst)
        t->tokens = t->burst;
    t->filled_at_ns = now;
}

void obv_throttle_set(obv_throttle *t, uint64_t per_s)
{
    pthread_mutex_lock(&t->mu);
    refill(t); /* the time until now counts by the old rate */
    if (per_s == 0 && t->tokens < 0)
        t->tokens = 0; /* without a rate no debt could ever be paid: a later rate starts clean */
    t->per_s = (double)per_s;
    pthread_mutex_unlock(&t->mu);
}

/* Takes the tokens if no debt stands; else says how long to wait before the next try. */
static int64_t try_take(obv_throttle *t, uint64_t n)
{
    int64_t wait_ns = 0;
    pthread_mutex_lock(&t->mu);
    if (t->per_s > 0) {
        refill(t);
        const double need = (double)n < t->burst ? (double)n : t->burst;
        if (t->tokens >= need) {
            t->tokens -= (double)n;
        } else {
            /* a debt may be far longer than 64 bits of nanoseconds: the next look is never that far away */
            const double ns = (need - t->tokens) * (double)OBV_NS_PER_S / t->per_s;
            wait_ns = ns < (double)OBV_NS_PER_S ? 1 + (int64_t)ns : OBV_NS_PER_S;
        }
    }
    pthread_mutex_unlock(&t->mu);
    return wait_ns;
}

obv_code obv_throttle_take(obv_throttle *t, uint64_t n, const obv_cancel *c, obv_err *err)
{
    if (!t)
        return OBV_OK;
    for (int64_t wait_ns; (wait_ns = try_take(t, n)) > 0;) {
        const int64_t most = CHECK_MS * OBV_NS_PER_MS;
        const int64_t step = wait_ns < most ? wait_ns : most;
        const struct timespec pause = {.tv_nsec = step};
        OBV_TRY(obv_cancel_check(c, "wait for the rate limit", err));
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        pthread_mutex_lock(&t->mu);
        t->waited_ns += (uint64_t)step;
        pthread_mutex_unlock(&t->mu);
    }
    return OBV_OK;
}

uint64_t obv_throttle_waited_ns(obv_throttle *t)
{
    pthread_mutex_lock(&t->mu);
    const uint64_t ns = t->waited_ns;
    pthread_mutex_unlock(&t->mu);
    return ns;
}
