/* check.h - what this agent sees of its OBServer, its host and the destination, for doctor and repo check
 *
 * A thread of its own works off what the coordinator asks for, so that a dead mount keeps nothing else waiting; what
 * was found so far can be asked for at any time.
 */
#ifndef OBV_AGENT_CHECK_H
#define OBV_AGENT_CHECK_H

#include "base/cancel.h"
#include "base/finding.h"
#include "config.h"
#include "job/journal.h"

#define OBV_CHECK_FINDINGS_MAX 64u /* of one report */

/* One run of all checks. */
typedef struct obv_check_run {
    const obv_agent_config *cfg;
    char where[72];  /* the agent's id */
    char pinned[37]; /* repository seen first, "" = none */
    const obv_cancel *cancel;
    obv_findings found;
    char doing[40];
    bool free_known;
    uint64_t free_bytes;
    char uuid[37];                                              /* of the repository as read, "" = none */
    void (*step)(struct obv_check_run *run, const char *doing); /* called before each check; may be NULL */
    void *ctx;
} obv_check_run;
void obv_check_host(obv_check_run *r);       /* account, OBServer, its files, clock, this process */
void obv_check_repository(obv_check_run *r); /* identity, mount, a trial, space */

typedef struct obv_checker obv_checker;
OBV_CHECK obv_code obv_checker_start(const obv_agent_config *cfg, obv_journal *journal, obv_checker **out,
                                     obv_err *err);
void obv_checker_end(obv_checker *c);
/** Begins the run of that id unless it is the one at work or done; 0: nobody asks any more. */
void obv_checker_want(obv_checker *c, uint64_t id, bool repository_only, uint32_t deadline_ms);

typedef struct obv_check_report {
    uint64_t id; /* 0: nobody asks */
    bool done, free_known;
    char doing[40];
    uint64_t free_bytes;
    char uuid[37];
    obv_findings found;
} obv_check_report;
/** A copy; free with obv_check_report_fini. */
void obv_checker_report(obv_checker *c, obv_check_report *out);
static inline void obv_check_report_fini(obv_check_report *r) { obv_findings_fini(&r->found); }

#endif
