/* sql_job.h - restore jobs of this process: the refusals of RootService, the reader as a child, the tables' rows */
#ifndef SI_SQL_JOB_H
#define SI_SQL_JOB_H

#include "store.h"

#include <sqlite3.h>

/** Continues the jobs that this host left unfinished. */
void job_start_all(struct host *h);
/** Ends the readers (their jobs stay in the tables) and waits for the threads. */
void job_stop_all(void);

struct job_option { /* of WITH '...' */
    char cluster_name[128], pool_list[1024], locality[512], primary_zone[512];
    int64_t cluster_id, external_id;
};

/** Everything that RootService looks at before a job exists, in its order (sql_job_check.c). 0, or the negative number.
 */
int job_check(struct host *h, sqlite3 *db, const struct obs_restore *r, struct job_option *opt, struct obs_err *err);
int job_fail(struct obs_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** First column of the first row as text; @p arg (may be NULL) is bound to ?1. @return false: no row */
bool job_ask(sqlite3 *db, const char *query, const char *arg, char *out, size_t cap);
/** Cluster-wide value of a parameter: the smallest over the hosts. @return false: no such parameter */
bool job_parameter(struct host *h, const char *name, char *out, size_t cap);

#endif
