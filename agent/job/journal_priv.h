/* journal_priv.h - what the journal's sources share */
#ifndef OBV_AGENT_JOB_JOURNAL_PRIV_H
#define OBV_AGENT_JOB_JOURNAL_PRIV_H

#include "base/db.h"
#include "job/journal.h"

#include <pthread.h>

struct obv_journal {
    obv_db *db;
    pthread_mutex_t mu; /* one thread at a time in the database */
};

static inline obv_journal *obv_journal_lock(obv_journal *j)
{
    (void)pthread_mutex_lock(&j->mu);
    return j;
}
static inline void obv_journal_unlockp(obv_journal **j) { (void)pthread_mutex_unlock(&(*j)->mu); }
/* Holds the journal until the scope is left. */
#define JOURNAL_HOLD(j) OBV_AUTO(obv_journal_unlockp) __attribute__((unused)) obv_journal *held_ = obv_journal_lock(j)

/* The arguments that name a PG of a task. */
#define ARGS_PG(uid, pg) obv_db_s(uid), obv_db_u((pg)->table_id), obv_db_i((pg)->part_id), obv_db_i((pg)->assist)
#define WHERE_PG " task_uid = ? AND table_id = ? AND part_id = ? AND assist = ?"

#define PLAN_BYTES_MAX (64u << 20)
#define META_BYTES_MAX (4u << 20)

#endif
