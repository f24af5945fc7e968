/* restore_priv.h - shared by the files of restores */
#ifndef OBV_COORDINATOR_RESTORE_PRIV_H
#define OBV_COORDINATOR_RESTORE_PRIV_H

#include "job/restore.h"

#define OBV_RESTORE_TOO_NEW_US                                                                                         \
    (10 * OBV_US_PER_S) /* the target refuses a time that is not this far behind its clock                             \
                         */
#define OBV_RESTORE_MARGIN_US (1 * OBV_US_PER_S)
#define OBV_RESTORE_WAIT_MAX_US (15 * 60 * OBV_US_PER_S)

/* ---- restore_check.c */
/** Names and options: nothing in them may end a statement or an option early. OBV_E_INVAL. */
OBV_CHECK obv_code obv_restore_check_request(const obv_restore_request *q, const obv_restore *room, obv_err *err);
/**
 * Everything that the target tells beforehand. @p version of the set. *unseen: servers of which nobody can tell whether
 * they see the destination. OBV_E_PRECONDITION, ...
 */
OBV_CHECK obv_code obv_restore_check_target(obv_job_ctx *x, obv_cluster *target, const obv_restore_request *q,
                                            uint64_t version, size_t *unseen, obv_err *err);
/** How long the target's own clock still has to go before it takes UNTIL; 0 or less: it takes it now. */
OBV_CHECK obv_code obv_restore_wait_us(obv_cluster *target, int64_t until_us, int64_t *out, obv_err *err);

/* ---- restore_reason.c */
/** Why the target's restore ended so, with what to do next: @p info is OceanBase's own text. */
obv_code obv_restore_reason(const char *status, const char *info, obv_err *out);

#endif
