/* task.h - one task of the coordinator and what is reported of it, as plain data (the wire form is main's business) */
#ifndef OBV_AGENT_JOB_TASK_H
#define OBV_AGENT_JOB_TASK_H

#include "base/err.h"
#include "base/span.h"
#include "format/media/paths.h"
#include "format/ob/pg_key.h"

#include <stdbool.h>

#define OBV_TASK_UID_MAX 127u      /* bytes */
#define OBV_TASKS_MAX 16u          /* held by one agent */
#define OBV_BATCH_PGS_MAX 1024u    /* PGs of one batch */
#define OBV_PUT_FILES_MAX 64u      /* files of one task */
#define OBV_VERIFY_MAX 512u        /* objects of one task */
#define OBV_CHUNK_MAX (256u << 10) /* bytes of file content in one answer */
#define OBV_SHA_LEN 32u
#define OBV_CONTENTS_MAX 16384u /* tables and indexes of one PG: more do not fit the media's record of it */
#define OBV_DROPPED_MAX 65536u  /* tables that one task leaves out */

typedef enum obv_task_kind {
    OBV_TASK_NONE = 0,
    OBV_TASK_BATCH = 1,
    OBV_TASK_FINISH_METAS = 2,
    OBV_TASK_PUT_FILES = 3,
    OBV_TASK_INIT_REPOSITORY = 4,
    OBV_TASK_VERIFY_OBJECTS = 5,
} obv_task_kind;

/* Numbers are the wire's and the journal's. */
typedef enum obv_task_state {
    OBV_TASK_RUNNING = 1,
    OBV_TASK_DONE = 2,
    OBV_TASK_FAILED = 3,
    OBV_TASK_CANCELLED = 4,
} obv_task_state;

typedef struct obv_task_set { /* a set's folder of one tenant */
    char cluster_name[OBV_CLUSTER_NAME_MAX + 1];
    uint64_t cluster_id;
    obv_set_id id;
    int64_t schema_version;
} obv_task_set;

typedef struct obv_stored_object {
    char path[OBV_PATH_MAX];
    uint64_t size;
    uint8_t sha256[OBV_SHA_LEN];
    bool presence; /* VERIFY_OBJECTS: nothing but that it is there is known */
} obv_stored_object;

typedef struct obv_put_file {
    char path[OBV_PATH_MAX];
    bool if_absent;
    uint64_t size;
    uint8_t sha256[OBV_SHA_LEN];
    uint8_t *content; /* size bytes, or NULL: asked for in chunks */
} obv_put_file;

typedef struct obv_task {
    char uid[OBV_TASK_UID_MAX + 1];
    char job_id[64];
    uint64_t epoch;
    uint32_t deadline_s; /* 0 = none */
    obv_task_kind kind;
    obv_task_set set;       /* BATCH, FINISH_METAS */
    int64_t task_id;        /* BATCH, FINISH_METAS: of the media's names */
    uint32_t pass;          /* BATCH */
    uint64_t round;         /* BATCH */
    int64_t schema_version; /* FINISH_METAS: the final one */
    uint64_t *dropped;      /* FINISH_METAS: tables that it has no more, ascending */
    size_t dropped_count;
    obv_pg_key *pgs; /* BATCH, FINISH_METAS */
    size_t pg_count;
    obv_put_file *files; /* PUT_FILES */
    size_t file_count;
    obv_stored_object *objects; /* VERIFY_OBJECTS */
    size_t object_count;
    bool sizes_only;          /* VERIFY_OBJECTS: do not read them */
    char repository_uuid[37]; /* INIT_REPOSITORY */
    char profile[16];
    char cluster_name[OBV_CLUSTER_NAME_MAX + 1];
    uint64_t cluster_id;
} obv_task;

void obv_task_free(obv_task *t);
static inline void obv_task_freep(obv_task **t) { obv_task_free(*t); }

typedef struct obv_task_progress {
    uint64_t bytes_read, bytes_written;
    uint64_t blocks_done, blocks_total;
    uint32_t pgs_done, pgs_total;
} obv_task_progress;

/* FINISH_METAS: where each PG's record lies. */
typedef struct obv_meta_place {
    obv_pg_key pg;
    int64_t offset, len;
    uint32_t partitions; /* in the record, without the transaction-state partition */
    uint64_t blocks;     /* of its sstables */
} obv_meta_place;

typedef struct obv_task_result { /* of a DONE task */
    int64_t task_id;
    obv_meta_place *places; /* FINISH_METAS, in order of the PGs */
    size_t place_count;
    obv_stored_object objects[2];
    size_t object_count;
    char repository_uuid[37]; /* INIT_REPOSITORY */
    char profile[16];
    uint32_t capabilities;
} obv_task_result;
void obv_task_result_fini(obv_task_result *r);

/* One PG's copy, as reported. */
typedef struct obv_pg_result {
    uint64_t blocks, blocks_stored;
    uint64_t bytes_read, bytes_written;
    uint32_t partitions; /* without the transaction-state partition */
    int64_t last_submit_ts;
    uint64_t last_replay_log_id;
    int64_t publish_version, lower_bound, schema_version;
} obv_pg_result;

#endif
