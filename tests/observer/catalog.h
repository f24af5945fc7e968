/* catalog.h - the shared SQL tables in C/cluster.db (names and columns: schema.sql) */
#ifndef OBS_CATALOG_H
#define OBS_CATALOG_H

#include "cluster.h"

#include <sqlite3.h>

int catalog_open(struct host *h); /* creates the tables on first use, registers this server */
/** Runs one statement; args by letters: i int64, s text (NULL allowed). 0 or -4000. */
int catalog_exec(struct host *h, const char *sql, const char *kinds, ...);
/** First column of the first row as number, or @p none. */
int64_t catalog_int(struct host *h, int64_t none, const char *sql, const char *kinds, ...);
/** First column of the first row as text (malloc) or NULL. */
char *catalog_text(struct host *h, const char *sql, const char *kinds, ...);
typedef void (*catalog_row)(void *arg, sqlite3_stmt *s);
int catalog_each(struct host *h, catalog_row fn, void *arg, const char *sql, const char *kinds, ...);
void catalog_begin(struct host *h); /* one transaction of this process; holds the connection */
int catalog_end(struct host *h);
/** Brings __all_root_table, __all_virtual_meta_table, __all_server and __all_zone up to date. */
void catalog_sync(struct host *h);
void catalog_freeze_info(struct host *h, int64_t version, int64_t ts);
void catalog_merged(struct host *h, int64_t version);
void time_text(int64_t us, char out[32]);
int param_set(struct host *h, const char *name, const char *value, int host_id);
/** Value of a parameter on a host (malloc). */
char *param_get(struct host *h, const char *name, int host_id);

#endif
