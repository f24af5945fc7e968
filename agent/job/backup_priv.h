/* backup_priv.h - what the sources of the backup job share: one attempt at one PG */
#ifndef OBV_AGENT_JOB_BACKUP_PRIV_H
#define OBV_AGENT_JOB_BACKUP_PRIV_H

#include "job/backup.h"
#include "job/plan.h"

#include <stdatomic.h>

typedef struct obv_batch_counters {
    _Atomic uint64_t bytes_read, bytes_written, blocks_done, blocks_total;
} obv_batch_counters;

typedef struct obv_pg_copy {
    const obv_backup_env *env;
    const obv_task *task;
    const obv_media_root *root;
    const obv_pg_key *pg;
    const obv_cancel *cancel;
    obv_batch_counters *counters;
    obv_source_pg *open; /* NULL once closed */
    obv_plan plan;
    struct obv_earlier *earlier; /* what earlier passes list; NULL in pass 0 */
    obv_journal_pg row;
    uint64_t blocks_done, blocks_total; /* what this attempt added to the counters */
} obv_pg_copy;

static inline void obv_pg_copy_blocks_done(obv_pg_copy *c, uint64_t n)
{
    c->blocks_done += n;
    (void)atomic_fetch_add(&c->counters->blocks_done, n);
}

/** One attempt. OBV_OK: the PG's row is COPIED (or was finished before). */
OBV_CHECK obv_code obv_backup_pg(obv_pg_copy *c, obv_err *err);

/* ---- earlier passes of the same PG in the same set (backup_earlier.c) */
typedef struct obv_earlier obv_earlier;
/** Reads their major indexes and the records of the attempts that put them. OBV_E_CORRUPT: they do not fit. */
OBV_CHECK obv_code obv_earlier_read(const obv_pg_copy *c, obv_earlier **out, obv_err *err);
void obv_earlier_free(obv_earlier *e);
/** NULL: no earlier pass lists that key. @p e may be NULL. Valid until free. */
const obv_listed_table *obv_earlier_find(const obv_earlier *e, obv_span table_key);

/** Copies all blocks of an area that are not stored yet. */
OBV_CHECK obv_code obv_backup_area(obv_pg_copy *c, enum obv_area area, obv_err *err);

/** Puts the index file of an area from plan and journal. OBV_E_EXISTS: another one is there. */
OBV_CHECK obv_code obv_backup_index(const obv_pg_copy *c, enum obv_area area, obv_stored_object *out, obv_err *err);

/** OBV_E_PRECONDITION when the log archive does not hold the PG's log from @p last_replay_log_id + 1 on. */
OBV_CHECK obv_code obv_backup_check_archive(const obv_pg_copy *c, uint64_t last_replay_log_id, obv_err *err);

/** First sub-task number of a task in major_data: attempts never share one. */
#define OBV_SUB_TASKS_OF_TASK 10000
static inline int64_t obv_backup_major_base(const obv_task *t) { return t->task_id * OBV_SUB_TASKS_OF_TASK; }

#endif
