#include "base/cancel.h"

#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#define SLEEP_STEP_MS 20u

struct obv_cancel {
    const obv_cancel *parent;
    atomic_bool requested;
    _Atomic int64_t deadline_ns; /* 0 = none */
};

obv_cancel *obv_cancel_new(const obv_cancel *parent)
{
    obv_cancel *c = calloc(1, sizeof *c);
    if (c)
        c->parent = parent;
    return c;
}

void obv_cancel_free(obv_cancel *c) { free(c); }

void obv_cancel_request(obv_cancel *c) { atomic_store(&c->requested, true); }

void obv_cancel_set_deadline(obv_cancel *c, int64_t at_ns) { atomic_store(&c->deadline_ns, at_ns); }

static obv_code state_of(const obv_cancel *c)
{
    int64_t now = 0;
    for (; c; c = c->parent) {
        if (atomic_load(&c->requested))
            return OBV_E_CANCELLED;
        const int64_t at = atomic_load(&c->deadline_ns);
        if (at && !now)
            now = obv_mono_ns();
        if (at && now >= at)
            return OBV_E_TIMEOUT;
    }
    return OBV_OK;
}

bool obv_cancel_requested(const obv_cancel *c) { return state_of(c) != OBV_OK; }

obv_code obv_cancel_check(const obv_cancel *c, const char *what, obv_err *err)
{
    switch (state_of(c)) {
    case OBV_OK:
        return OBV_OK;
    case OBV_E_TIMEOUT:
        return obv_fail(err, OBV_E_TIMEOUT, 0, "%s: not done in time", what);
    default:
        return obv_fail(err, OBV_E_CANCELLED, 0, "%s: cancelled", what);
    }
}

obv_code obv_cancel_sleep(const obv_cancel *c, uint32_t ms, obv_err *err)
{
    const int64_t end = obv_mono_ns() + (int64_t)ms * OBV_NS_PER_MS;
    for (;;) {
        OBV_TRY(obv_cancel_check(c, "wait", err));
        const int64_t left = end - obv_mono_ns();
        if (left <= 0)
            return OBV_OK;
        const int64_t most = c ? (int64_t)SLEEP_STEP_MS * OBV_NS_PER_MS : left;
        const int64_t step = left < most ? left : most;
        struct timespec t = {.tv_sec = step / OBV_NS_PER_S, .tv_nsec = step % OBV_NS_PER_S};
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* a signal only shortens a step */
    }
}

uint32_t obv_cancel_left_ms(const obv_cancel *c)
{
    uint32_t left = UINT32_MAX;
    for (; c; c = c->parent) {
        if (atomic_load(&c->requested))
            return 0;
        const int64_t at = atomic_load(&c->deadline_ns);
        if (!at)
            continue;
        const int64_t ns = at - obv_mono_ns();
        const int64_t ms = ns <= 0 ? 0 : (ns + OBV_NS_PER_MS - 1) / OBV_NS_PER_MS;
        if (ms < left)
            left = (uint32_t)ms;
    }
    return left;
}
