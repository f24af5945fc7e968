/* ddl.h - what the two halves of the verb ddl share: ddl.c (tables, partitions, tablegroups), ddl_index.c */
#ifndef OBS_DDL_H
#define OBS_DDL_H

#include "tables.h"

json_t *ddl_fail(int code, const char *text);
/** A DDL with a new schema version; ends with ddl_done, which frees it and makes the answer (@p extra: taken over). */
struct ddl ddl_begin(struct host *h, uint64_t tenant, const char *what, int op);
json_t *ddl_done(int rc, struct ddl *d, json_t *extra);
void ddl_delete(struct ddl *d, json_t *table); /* the row says that it is deleted */

/** Calls fn for each living PG that holds partitions of the table, until one fails. */
int ddl_each_pg(struct host *h, uint64_t table_id, int (*fn)(struct host *, uint32_t, void *), void *arg);
/** PGs of everything that the DDL deletes go, and those of global indexes among it. */
int ddl_offline(struct host *h, const struct ddl *d);

bool index_is_global(const json_t *index);
int ddl_global_pgs(struct host *h, const struct ddl *d, const json_t *index, enum compressor comp);

/** Halves of CREATE INDEX; @p global_parts 0: a local one. Under the DDL lock. */
json_t *create_index(struct host *h, uint64_t tenant, uint64_t low, int global_parts);
json_t *drop_index(struct host *h, uint64_t tenant, uint64_t index);
/** These take the lock themselves, for the moments when they need it. */
json_t *index_available(struct host *h, uint64_t tenant, const json_t *req);
json_t *add_index(struct host *h, uint64_t tenant, const json_t *req);

#endif
