/* sql_time.c - clocks and the text form of times */
#include "sql_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t sql_now_us(void) { return clock_us(CLOCK_REALTIME); }

int64_t sql_mono_us(void) { return clock_us(CLOCK_MONOTONIC); }

bool sql_time_zone(const char *text, int *offset_s)
{
    int hours, minutes, used = 0;
    char sign[2];
    if (strcasecmp(text, "SYSTEM") == 0) {
        *offset_s =
            8 * 3600; /* OceanBase's servers stand in China unless somebody says otherwise: a tool must say it */
        return true;
    }
    if (sscanf(text, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &used) != 3 || text[used] || hours < 0 || hours > 14 ||
        minutes < 0 || minutes > 59)
        return false;
    *offset_s = (hours * 3600 + minutes * 60) * (sign[0] == '-' ? -1 : 1);
    return true;
}

bool sql_parse_time(const char *text, int offset_s, int64_t *us)
{
    struct tm tm = {0};
    int used = 0;
    int n = sscanf(text, " %4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used);
    if (n != 3 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31)
        return false;
    const char *p = text + used;
    int64_t frac = 0;
    if (*p == ' ' || *p == 'T') {
        if (sscanf(++p, "%2d:%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 3 || tm.tm_hour < 0 ||
            tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 59)
            return false;
        p += used;
        if (*p == '.') {
            int64_t unit = 100000;
            for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
                frac += (*p - '0') * unit;
        }
    }
    while (*p == ' ')
        p++;
    if (*p)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm check = tm;
    time_t t = timegm(&check);
    if (check.tm_mday != tm.tm_mday) /* 31 February */
        return false;
    *us = ((int64_t)t - offset_s) * 1000000 + frac;
    return true;
}

void sql_format_time(int64_t us, int offset_s, char *out)
{
    int64_t local = us + (int64_t)offset_s * 1000000;
    int64_t frac = local % 1000000;
    if (frac < 0)
        frac += 1000000;
    time_t t = (time_t)((local - frac) / 1000000);
    struct tm tm;
    char text[64] = "0000-00-00 00:00:00.000000";
    if (gmtime_r(&t, &tm) && tm.tm_year >= -1900 && tm.tm_year < 8100)
        snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec, (int)frac);
    memcpy(out, text, 26);
    out[26] = '\0';
}
