/* bugs.h - seeded bugs of test builds that need more than a line; nothing of them in a release */
#ifndef OBV_AGENT_JOB_BUGS_H
#define OBV_AGENT_JOB_BUGS_H

#include "job/backup_priv.h"

#ifdef OBV_TEST_FAULTS
/** bug.wrong_trans_sstable: a block of a transaction-state sstable gives way to one that another PG had before. */
void obv_bug_swap_trans(const obv_pg_copy *c, uint8_t *buf, obv_source_block *b);
#define OBV_BUG_SWAP_TRANS(c, buf, b) obv_bug_swap_trans(c, buf, b)
#else
#define OBV_BUG_SWAP_TRANS(c, buf, b) ((void)0)
#endif

#endif
