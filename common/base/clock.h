/* clock.h - wall and monotonic time, and the one text form of a point in time */
#ifndef OBV_BASE_CLOCK_H
#define OBV_BASE_CLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define OBV_NS_PER_S INT64_C(1000000000)
#define OBV_NS_PER_MS INT64_C(1000000)
#define OBV_US_PER_S INT64_C(1000000)

/** Microseconds since 1970-01-01 00:00:00 UTC: for names and records, never for waiting. */
int64_t obv_now_us(void);
/** CLOCK_MONOTONIC nanoseconds: for waiting, leases and rates. */
int64_t obv_mono_ns(void);

/* Wall time that does not jump while the process runs: it starts with the host's and follows it by at most 10 %. */
typedef struct obv_steady {
    int64_t offset_us, at_ns;
    bool began;
} obv_steady;
/** Steady time, given both clocks of now; @p off_us (may be NULL): how far the host's clock is ahead of it. */
int64_t obv_steady_us(obv_steady *s, int64_t wall_us, int64_t mono_ns, int64_t *off_us);

#define OBV_TIME_TEXT_LEN 40u /* bytes, with the terminating zero */

/**
 * "2021-03-04T05:06:07.000008+00:00" into @p out of OBV_TIME_TEXT_LEN bytes; "" for a time outside years 1 to 9999.
 * @return out
 */
const char *obv_time_text(int64_t at_us, char *out);
/**
 * RFC 3339 with an offset (`Z`, `+08:00`), 'T' or one space between date and time, up to six fraction digits; or plain
 * microseconds since 1970. A time without an offset is refused, for it would mean something else on another host.
 * @return OBV_OK; OBV_E_INVAL
 */
OBV_CHECK obv_code obv_time_parse(const char *text, int64_t *at_us, obv_err *err);

#endif
