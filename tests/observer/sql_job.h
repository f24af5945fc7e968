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

/* ---- sql_job_table.c */
sqlite3 *job_open_db(struct host *h);                /* a connection of one's own; NULL: cannot be opened */
int64_t job_ask_int(sqlite3 *db, const char *query); /* 0: no row */
json_t *job_sources(const char *list);               /* what ADD RESTORE SOURCE gathered */
/** The first rows of a job, inside the caller's transaction; @p request is its job.json in @p dir. */
bool job_insert(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                const json_t *request, const char *dir);
void job_status(sqlite3 *db, int64_t id, const char *status);
void job_info(sqlite3 *db, int64_t id, const char *name, const char *value);
void job_progress(sqlite3 *db, int64_t id, const json_t *progress);
/** What the job learned from the backup, as __all_restore_info shows it. */
void job_note_result(sqlite3 *db, int64_t id, const json_t *result);
/** One row a PG, as long as the job lives. */
void job_show_pgs(sqlite3 *db, int64_t tenant_id, const json_t *result);
void job_end(sqlite3 *db, int64_t id, bool ok, const char *text);
void job_to_history(sqlite3 *db, int64_t id, int64_t tenant_id);
/** Number or text of a key; 0 or "" when it is absent. */
int64_t job_int(const json_t *o, const char *key);
const char *job_text(const json_t *o, const char *key);

/* ---- sql_job_check.c */
/** Everything that RootService looks at before a job exists, in its order (sql_job_check.c). 0, or the negative number.
 */
int job_check(struct host *h, sqlite3 *db, const struct obs_restore *r, struct job_option *opt, struct obs_err *err);
int job_fail(struct obs_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** First column of the first row as text; @p arg (may be NULL) is bound to ?1. @return false: no row */
bool job_ask(sqlite3 *db, const char *query, const char *arg, char *out, size_t cap);
/** Cluster-wide value of a parameter: the smallest over the hosts. @return false: no such parameter */
bool job_parameter(struct host *h, const char *name, char *out, size_t cap);

#endif
