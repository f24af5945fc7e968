/* schema.h - tenants, tables, partitions: PGs in shared memory, schema rows in the tenant's sys PGs, SQL rows in
 * cluster.db */
#ifndef OBS_SCHEMA_H
#define OBS_SCHEMA_H

#include "catalog.h"
#include "hostd.h"

#define ST_TABLES 103u
#define ST_TABLEGROUPS 134u
#define ST_DDL 5u
#define FIRST_FILLER 211u
#define N_FILLER 12u
#define FIRST_USER_TABLE 50001u
#define FIRST_INDEX 60001u
#define FIRST_GROUP                                                                                                    \
    1001u /* beside TG_BIT; below it lie the sys tables, whose trans partitions would have the same id */

bool table_is_private(uint64_t low);
static inline uint64_t full_id(uint64_t tenant, uint64_t low) { return tenant << 40 | low; }

struct pg_spec {
    struct pkey key;
    int kind;
    int leader; /* 0: chosen */
    int n_parts;
    struct shm_part part[PG_PARTS];
    int64_t schema_version;
    int64_t version, snapshot; /* first majors: their version and snapshot (0: current version, now) */
};
/** Makes missing first majors (empty), the PG and its first log. Index or negative. */
int64_t pg_create(struct host *h, const struct pg_spec *s);

int pg_first_majors(struct host *h, const struct pg_spec *s); /* those that are missing, empty */
int pg_add_part(struct host *h, uint32_t pg, const struct pg_spec *s, int64_t schema_version);

int tenant_create(struct host *h, uint64_t tenant, const char *name, const char *locality, const char *primary_zone);
/** Sys PGs of a new tenant; first majors already in C/shared for those that restore loaded. */
int tenant_sys_pgs(struct host *h, uint64_t tenant, int64_t version, int64_t snapshot);
int64_t schema_next_version(struct host *h);

/** A table as JSON (CONTRACT.md 5). Fetched by full id; NULL unknown. */
json_t *table_get(struct host *h, uint64_t table_id);
/** Writes SQL rows and so_table of one table (or its drop). Inside catalog_begin/end. */
void table_publish(struct host *h, uint64_t tenant, json_t *table);
void tablegroup_publish(struct host *h, uint64_t tenant, const json_t *tg);
void ddl_publish(struct host *h, uint64_t tenant, int64_t version, uint64_t table_low, uint64_t tg_low, int op);
/** Partition ids a table has by its levels. */
int64_t partition_id_of(int level, int part, int sub);

struct ddl { /* one DDL: rows for the schema PGs, then SQL */
    uint64_t tenant;
    int64_t version;
    json_t *tables, *tablegroups; /* arrays of new states */
    const char *what;
    int op;
};
int ddl_commit(struct host *h, struct ddl *d);
/** One DDL at a time over all hosts, as RootService has it; the descriptor goes to ddl_unlock. */
int ddl_lock(struct host *h);
void ddl_unlock(int fd);

struct table_spec {
    uint64_t tenant;
    const char *name;
    int part_level, parts, subs;
    enum compressor comp;
    uint64_t tablegroup; /* low id, 0 none: the table lives in its PGs */
    bool index;
};
/** Creates a table with empty partitions. Low id or negative. @p fill makes a partition's first rows (may be NULL). */
typedef int (*fill_fn)(void *arg, struct host *h, const struct shm_part *p, int64_t version, int64_t snapshot);
int64_t table_create(struct host *h, const struct table_spec *t, fill_fn fill, void *arg);
/** @p binding: the group has PGs of its own, its tables are members of them. Low id or negative. */
int64_t tablegroup_create(struct host *h, uint64_t tenant, const char *name, int parts, int tables, bool binding);

json_t *tenant_verb(struct host *h, const json_t *req); /* tenants.c: create, rename, drop, recycle, status */
json_t *sysvar_verb(struct host *h, const json_t *req);
json_t *role_verb(struct host *h, const json_t *req);

json_t *schema_ddl(struct host *h, const json_t *req); /* verb ddl: ddl.c */
json_t *schema_layout(struct host *h, const json_t *req);
json_t *schema_load(struct host *h, const json_t *req);

/** Changes of one row: the table's own and one per local index. At most PART_INDEXES. */
struct row_change {
    struct change c[PART_INDEXES];
    uint8_t key[PART_INDEXES][MAX_KEY];
    uint32_t n;
};
void row_change(const struct shm_part *p, uint8_t op, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen,
                struct row_change *out);

#endif
