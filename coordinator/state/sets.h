/* sets.h - backup sets, their tenants, and every PG's copy in them */
#ifndef OBV_COORDINATOR_SETS_H
#define OBV_COORDINATOR_SETS_H

#include "format/ob/pg_key.h"
#include "state/tasks.h"

typedef enum obv_set_state {
    OBV_SET_RUNNING = 0,
    OBV_SET_GOOD = 1,
    OBV_SET_BAD = 2,
    OBV_SET_SEALING = 3, /* its last files say SUCCESS and are being stored */
} obv_set_state;

typedef struct obv_set {
    int64_t id;
    char job_id[32];
    obv_set_state status;
    int32_t result; /* as in the set's entries: -4023 while running, 0 good */
    int64_t full_set_id;
    int64_t date; /* YYYYMMDD of the start */
    int64_t data_version;
    int64_t snapshot;        /* S; the start's time until it is fixed */
    int64_t frozen_snapshot; /* us */
    uint64_t cluster_version;
    int64_t round;
    int64_t started_at, ended_at; /* us */
    int64_t sys_schema_version;
    uint32_t passes;    /* how often copying began anew because the schema had moved on, or a copy lacked something */
    int64_t closing_at; /* us; when all copies were there for the first time, 0 before */
} obv_set;

enum { OBV_SET_TENANT_GENERATE = 0, OBV_SET_TENANT_DOING = 1, OBV_SET_TENANT_FINISH = 2 };

typedef struct obv_set_tenant {
    int64_t set_id;
    uint64_t tenant_id;
    char name[129];
    int32_t compat_mode;
    char locality[4097];
    char primary_zone[1025];
    int phase;
    int64_t schema_version, frozen_schema;
} obv_set_tenant;

/* Sums over a tenant's copies that count (tenant 0: over all); bytes also of copies that were replaced or dropped. */
typedef struct obv_set_sums {
    int64_t pgs, pgs_done, blocks, blocks_stored, bytes_read, bytes_written, partitions;
    int64_t min_last_submit_ts;
    int64_t max_lower_bound, max_publish_version, max_schema_version;
} obv_set_sums;

enum {
    OBV_PG_PENDING = 0,
    OBV_PG_DOING = 1,
    OBV_PG_FINISH = 2,
    OBV_PG_FAILED = 3,
    OBV_PG_REPLACED = 4, /* the PG is copied again in a later pass */
    OBV_PG_DROPPED = 5,  /* the schema has the PG no more */
};
#define OBV_PG_CONTENTS_MAX 16384u /* ids of one copy */

typedef struct obv_pg_copy {
    int64_t set_id;
    uint64_t tenant_id;
    obv_pg_key key;
    uint32_t pass;
    int state;
    char task_uid[OBV_TASK_UID_MAX];
    int64_t task_id; /* -1: none yet */
    char agent_id[OBV_AGENT_ID_MAX];
    uint32_t retries;
    int64_t not_before; /* us */
    obv_err error;
    uint64_t blocks, blocks_stored, bytes_read, bytes_written;
    uint32_t partitions;
    int64_t last_submit_ts, publish_version, lower_bound, schema_version;
    uint64_t last_replay_log_id;
    int64_t meta_offset, meta_length; /* in meta_file_<task_id>; offset -1: not put yet */
} obv_pg_copy;

OBV_CHECK obv_code obv_set_add(obv_state *s, const obv_set *x, obv_err *err);
OBV_CHECK obv_code obv_set_save(obv_state *s, const obv_set *x, obv_err *err);
OBV_CHECK obv_code obv_set_get(obv_state *s, int64_t id, obv_set *out, obv_err *err);
typedef obv_code obv_set_fn(void *ctx, const obv_set *x, obv_err *err);
/** All sets, ascending. */
OBV_CHECK obv_code obv_set_each(obv_state *s, obv_set_fn *fn, void *ctx, obv_err *err);

OBV_CHECK obv_code obv_set_tenant_save(obv_state *s, const obv_set_tenant *t, obv_err *err);
OBV_CHECK obv_code obv_set_tenant_get(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_tenant *out, obv_err *err);
typedef obv_code obv_set_tenant_fn(void *ctx, const obv_set_tenant *t, obv_err *err);
OBV_CHECK obv_code obv_set_tenant_each(obv_state *s, int64_t set_id, obv_set_tenant_fn *fn, void *ctx, obv_err *err);

/** Inserts n pending PGs; ones that are there already stay as they are. */
OBV_CHECK obv_code obv_pg_copy_add(obv_state *s, int64_t set_id, uint64_t tenant, const obv_pg_key *keys, size_t n,
                                   obv_err *err);
OBV_CHECK obv_code obv_pg_copy_get(obv_state *s, int64_t set_id, const obv_pg_key *key, uint32_t pass, obv_pg_copy *out,
                                   obv_err *err);
OBV_CHECK obv_code obv_pg_copy_save(obv_state *s, const obv_pg_copy *p, obv_err *err);
/** The PG is to be copied once more: @p p becomes REPLACED, and pass p->pass + 1 is PENDING from @p not_before on. */
OBV_CHECK obv_code obv_pg_copy_next(obv_state *s, const obv_pg_copy *p, int64_t not_before, obv_err *err);
typedef obv_code obv_pg_copy_fn(void *ctx, const obv_pg_copy *p, obv_err *err);
/** PGs of a set in a state (-1: any), of a tenant (0: all), in key order. */
OBV_CHECK obv_code obv_pg_copy_each(obv_state *s, int64_t set_id, uint64_t tenant, int state, uint32_t limit,
                                    obv_pg_copy_fn *fn, void *ctx, obv_err *err);
OBV_CHECK obv_code obv_pg_copy_of_task(obv_state *s, const char *uid, obv_pg_copy_fn *fn, void *ctx, obv_err *err);
/** Pending PGs whose time has come. */
OBV_CHECK obv_code obv_pg_copy_due(obv_state *s, int64_t set_id, int64_t now, uint32_t limit, obv_pg_copy_fn *fn,
                                   void *ctx, obv_err *err);
OBV_CHECK obv_code obv_pg_copy_count(obv_state *s, int64_t set_id, int state, int64_t *out, obv_err *err);
OBV_CHECK obv_code obv_pg_object_add(obv_state *s, const obv_pg_copy *p, const char *path, uint64_t size,
                                     obv_span sha256, obv_err *err);
OBV_CHECK obv_code obv_set_sum(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_sums *out, obv_err *err);

/* ---- what copies hold: ids of tables and local indexes (contents.c) */
OBV_CHECK obv_code obv_pg_contents_save(obv_state *s, const obv_pg_copy *p, const uint64_t *ids, size_t n,
                                        obv_err *err);
/** Each finished copy of a tenant with its ids, ascending. */
typedef obv_code obv_pg_contents_fn(void *ctx, const obv_pg_copy *p, const uint64_t *ids, size_t n, obv_err *err);
OBV_CHECK obv_code obv_pg_contents_each(obv_state *s, int64_t set_id, uint64_t tenant, obv_pg_contents_fn *fn,
                                        void *ctx, obv_err *err);
/** What the PGs of a table or tablegroup must hold by the schema of the set: forgotten, added, read in order. */
OBV_CHECK obv_code obv_set_content_clear(obv_state *s, int64_t set_id, uint64_t tenant, obv_err *err);
OBV_CHECK obv_code obv_set_content_add(obv_state *s, int64_t set_id, uint64_t tenant, uint64_t owner, uint64_t id,
                                       obv_err *err);
typedef obv_code obv_set_content_fn(void *ctx, uint64_t owner, uint64_t id, obv_err *err);
OBV_CHECK obv_code obv_set_content_each(obv_state *s, int64_t set_id, uint64_t tenant, obv_set_content_fn *fn,
                                        void *ctx, obv_err *err);

/** Distinct (tenant, task id, agent) of winning copies. */
typedef obv_code obv_set_task_fn(void *ctx, uint64_t tenant, uint64_t task_id, const char *agent_id, obv_err *err);
OBV_CHECK obv_code obv_set_task_each(obv_state *s, int64_t set_id, obv_set_task_fn *fn, void *ctx, obv_err *err);

#endif
