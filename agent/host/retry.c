#include "host/retry.h"

#include "base/clock.h"

#include <sys/random.h>

obv_retry obv_retry_start(uint32_t budget_ms, const obv_cancel *cancel)
{
    return (obv_retry){.cancel = cancel, .until_ns = obv_mono_ns() + (int64_t)budget_ms * OBV_NS_PER_MS};
}

/* Full jitter: anything up to the exponential bound, so that many agents do not come back at the same moment. */
static uint32_t delay_ms(const obv_retry *t, uint32_t asked_ms)
{
    const uint32_t shift = t->attempts < 8 ? t->attempts - 1 : 7;
    uint32_t bound = OBV_RETRY_FIRST_MS << shift;
    if (bound > OBV_RETRY_CAP_MS)
        bound = OBV_RETRY_CAP_MS;
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = (uint32_t)obv_mono_ns();
    return asked_ms + 1 + random % bound;
}

bool obv_retry_again(obv_retry *t, const char *what, obv_err *err)
{
    t->attempts++;
    if (!OBV_IS_RETRYABLE(err->code))
        return false;
    const uint32_t wait_ms = delay_ms(t, err->retry_after_ms);
    if (obv_mono_ns() + (int64_t)wait_ms * OBV_NS_PER_MS >= t->until_ns) {
        if (t->attempts > 1)
            (void)obv_wrap(err, "%s: given up after %u attempts", what, t->attempts);
        return false;
    }
    obv_err stop = {0};
    if (obv_cancel_sleep(t->cancel, wait_ms, &stop) != OBV_OK) {
        *err = stop;
        return false;
    }
    return true;
}
