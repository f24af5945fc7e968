#include "base/finding.h"

#include <stdio.h>
#include <string.h>

void obv_findings_fini(obv_findings *l)
{
    free(l->v);
    *l = (obv_findings){0};
}

static obv_finding *grow(obv_findings *l)
{
    if (l->n == l->cap && l->n < OBV_FINDINGS_MAX) {
        const size_t cap = l->cap ? l->cap * 2 : 32;
        obv_finding *bigger = realloc(l->v, cap * sizeof *bigger);
        if (bigger) {
            l->v = bigger;
            l->cap = cap;
        }
    }
    if (l->n == l->cap) {
        l->cut = true;
        return NULL;
    }
    l->v[l->n] = (obv_finding){0};
    return &l->v[l->n++];
}

__attribute__((format(printf, 8, 0))) static void fill(obv_findings *l, obv_level level, obv_code code,
                                                       const char *check, const char *where, const char *means,
                                                       const char *next, const char *fmt, va_list ap)
{
    obv_finding *f = grow(l);
    if (!f)
        return;
    f->level = level;
    f->code = code;
    (void)snprintf(f->check, sizeof f->check, "%s", check);
    (void)snprintf(f->where, sizeof f->where, "%s", where);
    (void)snprintf(f->means, sizeof f->means, "%s", means);
    (void)snprintf(f->next, sizeof f->next, "%s", next);
    (void)vsnprintf(f->found, sizeof f->found, fmt, ap);
}

void obv_found_ok(obv_findings *l, const char *check, const char *where, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(l, OBV_LEVEL_OK, OBV_OK, check, where, "", "", fmt, ap);
    va_end(ap);
}

void obv_found_warn(obv_findings *l, const char *check, const char *where, const char *means, const char *next,
                    const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(l, OBV_LEVEL_WARN, OBV_OK, check, where, means, next, fmt, ap);
    va_end(ap);
}

void obv_found_fail(obv_findings *l, obv_code code, const char *check, const char *where, const char *means,
                    const char *next, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(l, OBV_LEVEL_FAIL, code, check, where, means, next, fmt, ap);
    va_end(ap);
}

void obv_found_err(obv_findings *l, const obv_err *e, const char *check, const char *where, const char *means)
{
    obv_found_fail(l, e->code, check, where, means, e->hint[0] ? e->hint : obv_code_describe(e->code)->default_hint,
                   "%s", e->msg);
}

void obv_findings_add(obv_findings *l, const obv_finding *f)
{
    obv_finding *to = grow(l);
    if (to)
        *to = *f;
}

size_t obv_findings_count(const obv_findings *l, obv_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->v[i].level == level;
    return n;
}

const char *obv_level_name(obv_level level)
{
    return level == OBV_LEVEL_OK ? "ok" : level == OBV_LEVEL_WARN ? "warn" : "FAIL";
}

obv_code obv_findings_worst(const obv_findings *l)
{
    static const int ORDER[] = {14, 10, 8}; /* exit codes, the worst last */
    obv_code worst = OBV_OK;
    size_t rank = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].level != OBV_LEVEL_FAIL)
            continue;
        const int exit_code = obv_code_describe(l->v[i].code)->exit_code;
        size_t r = 0;
        for (size_t k = 0; k < sizeof ORDER / sizeof *ORDER; k++)
            if (ORDER[k] == exit_code)
                r = k;
        if (worst == OBV_OK || r > rank) {
            worst = exit_code == ORDER[r] ? l->v[i].code : OBV_E_PRECONDITION;
            rank = r;
        }
    }
    return worst;
}
