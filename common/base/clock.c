#include "base/clock.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t obv_now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * OBV_US_PER_S + t.tv_nsec / 1000;
}

int64_t obv_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * OBV_NS_PER_S + t.tv_nsec;
}

int64_t obv_steady_us(obv_steady *s, int64_t wall_us, int64_t mono_ns, int64_t *off_us)
{
    const int64_t wanted = wall_us - mono_ns / 1000;
    if (!s->began)
        *s = (obv_steady){.offset_us = wanted, .at_ns = mono_ns, .began = true};
    const int64_t off = wanted - s->offset_us;
    const int64_t most = (mono_ns - s->at_ns) / 10000;
    if (most > 0) { /* else too little time has passed to share out */
        s->offset_us += off > most ? most : off < -most ? -most : off;
        s->at_ns = mono_ns;
    }
    if (off_us)
        *off_us = off;
    return mono_ns / 1000 + s->offset_us;
}

const char *obv_time_text(int64_t at_us, char *out)
{
    int64_t s = at_us / OBV_US_PER_S;
    int64_t us = at_us % OBV_US_PER_S;
    if (us < 0) {
        us += OBV_US_PER_S;
        s--;
    }
    time_t t = (time_t)s;
    struct tm tm;
    out[0] = '\0';
    if (!gmtime_r(&t, &tm) || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900)
        return out;
    /* the remainders change nothing; they tell the compiler how many digits there can be */
    (void)snprintf(out, OBV_TIME_TEXT_LEN, "%04u-%02u-%02uT%02u:%02u:%02u.%06u+00:00",
                   (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)(tm.tm_mon + 1) % 100u,
                   (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
                   (unsigned)tm.tm_sec % 100u, (unsigned)us % 1000000u);
    return out;
}

/* Exactly n digits at *p, moved behind them; -1 otherwise. */
static int digits(const char **p, int n)
{
    int v = 0;
    for (; n > 0; n--, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        v = v * 10 + (**p - '0');
    }
    return v;
}

static bool eat(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool parse_date(const char **p, struct tm *tm)
{
    tm->tm_year = digits(p, 4) - 1900;
    if (tm->tm_year < 1 - 1900 || !eat(p, '-'))
        return false;
    tm->tm_mon = digits(p, 2) - 1;
    if (tm->tm_mon < 0 || tm->tm_mon > 11 || !eat(p, '-'))
        return false;
    tm->tm_mday = digits(p, 2);
    return tm->tm_mday >= 1 && tm->tm_mday <= 31 && (eat(p, 'T') || eat(p, 't') || eat(p, ' '));
}

static bool parse_time(const char **p, struct tm *tm, int *us)
{
    tm->tm_hour = digits(p, 2);
    if (tm->tm_hour < 0 || tm->tm_hour > 23 || !eat(p, ':'))
        return false;
    tm->tm_min = digits(p, 2);
    if (tm->tm_min < 0 || tm->tm_min > 59 || !eat(p, ':'))
        return false;
    tm->tm_sec = digits(p, 2);
    if (tm->tm_sec < 0 || tm->tm_sec > 59)
        return false;
    *us = 0;
    if (eat(p, '.')) {
        int n = 0;
        for (; **p >= '0' && **p <= '9'; (*p)++, n++) {
            if (n == 6)
                return false;
            *us = *us * 10 + (**p - '0');
        }
        if (n == 0)
            return false;
        for (; n < 6; n++)
            *us *= 10;
    }
    return true;
}

static bool parse_offset(const char **p, int *offset_s)
{
    *offset_s = 0;
    if (eat(p, 'Z') || eat(p, 'z'))
        return true;
    const int sign = eat(p, '-') ? -1 : eat(p, '+') ? 1 : 0;
    if (!sign)
        return false;
    const int h = digits(p, 2);
    if (h < 0 || h > 23 || !eat(p, ':'))
        return false;
    const int m = digits(p, 2);
    if (m < 0 || m > 59)
        return false;
    *offset_s = sign * (h * 3600 + m * 60);
    return true;
}

static bool parse_plain(const char *text, int64_t *at_us)
{
    int64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
            return false;
    if (p == text || *p)
        return false;
    *at_us = v;
    return true;
}

obv_code obv_time_parse(const char *text, int64_t *at_us, obv_err *err)
{
    if (parse_plain(text, at_us))
        return OBV_OK;
    struct tm tm = {0};
    const char *p = text;
    int us, offset_s;
    if (!parse_date(&p, &tm) || !parse_time(&p, &tm, &us))
        return obv_fail(err, OBV_E_INVAL, 0, "'%.60s' is no time: 2021-03-04T05:06:07.000008+08:00 or microseconds",
                        text);
    if (!*p)
        return obv_fail(err, OBV_E_INVAL, 0, "the time '%.60s' has no offset: add Z or +08:00", text);
    if (!parse_offset(&p, &offset_s) || *p)
        return obv_fail(err, OBV_E_INVAL, 0, "the time '%.60s' ends in no valid offset: Z or +08:00", text);
    const int day = tm.tm_mday;
    const time_t s = timegm(&tm); /* normalises 31 April to 1 May: refuse that */
    if (tm.tm_mday != day)
        return obv_fail(err, OBV_E_INVAL, 0, "'%.60s': the month has no such day", text);
    *at_us = ((int64_t)s - offset_s) * OBV_US_PER_S + us;
    return OBV_OK;
}
