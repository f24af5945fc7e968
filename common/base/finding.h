/* finding.h - what a check found: ok, a warning or a failure, what it means for recoverability, what to do next */
#ifndef OBV_BASE_FINDING_H
#define OBV_BASE_FINDING_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define OBV_FINDINGS_MAX 4096u /* of one list; more are dropped, and the list says so */

/* Numbers travel. */
typedef enum obv_level {
    OBV_LEVEL_OK = 1,
    OBV_LEVEL_WARN = 2, /* works, but costs time, hides trouble or is more than needed */
    OBV_LEVEL_FAIL = 3, /* a backup, the archive or a restore fails, or would be worth nothing */
} obv_level;

typedef struct obv_finding {
    obv_level level;
    obv_code code;   /* of a failure */
    char check[40];  /* stable name: "repository.mount" */
    char where[136]; /* agent, coordinator or cluster */
    char found[400];
    char means[240]; /* "" when ok */
    char next[240];
} obv_finding;

typedef struct obv_findings {
    obv_finding *v;
    size_t n, cap;
    bool cut; /* some were dropped */
} obv_findings;

void obv_findings_fini(obv_findings *l);
void obv_found_ok(obv_findings *l, const char *check, const char *where, const char *fmt, ...) OBV_PRINTF(4, 5);
void obv_found_warn(obv_findings *l, const char *check, const char *where, const char *means, const char *next,
                    const char *fmt, ...) OBV_PRINTF(6, 7);
void obv_found_fail(obv_findings *l, obv_code code, const char *check, const char *where, const char *means,
                    const char *next, const char *fmt, ...) OBV_PRINTF(7, 8);
/** A failure with an error's text and hint; @p means for recoverability. */
void obv_found_err(obv_findings *l, const obv_err *e, const char *check, const char *where, const char *means);
/** Appends a copy; what comes from outside is bounded by the struct. */
void obv_findings_add(obv_findings *l, const obv_finding *f);
size_t obv_findings_count(const obv_findings *l, obv_level level);
const char *obv_level_name(obv_level level); /* ok, warn, FAIL */
/**
 * The code whose exit code tells the worst failure: the destination (8), then accounts (10), then everything else that
 * must hold (14). OBV_OK without a failure.
 */
obv_code obv_findings_worst(const obv_findings *l);

#endif
