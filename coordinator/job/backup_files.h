/* backup_files.h - the data backup's info files as the state has them; order: format page, checklist */
#ifndef OBV_COORDINATOR_BACKUP_FILES_H
#define OBV_COORDINATOR_BACKUP_FILES_H

#include "job/files.h"
#include "state/sets.h"

/** tenant_name_info, then data infos, tenant_info and set lists with the new entries DOING. */
OBV_CHECK obv_code obv_backup_files_schedule(obv_job_ctx *x, const obv_set *set, obv_files *out, obv_err *err);
/** sys_pg_list and normal_pg_list of one tenant. OBV_E_PRECONDITION without a sys PG. */
OBV_CHECK obv_code obv_backup_files_lists(obv_job_ctx *x, const obv_set *set, uint64_t tenant, const obv_pgs *pgs,
                                          obv_files *out, obv_err *err);
/** Everything that ends a good set: per tenant the final PG lists and the merged meta index first and the set's own
 * infos last, then the cluster's lists. */
OBV_CHECK obv_code obv_backup_files_success(obv_job_ctx *x, const obv_set *set, obv_files *out, obv_err *err);
/** The lists with the set FAILED; with the sets' own infos if they may be there already. */
OBV_CHECK obv_code obv_backup_files_failed(obv_job_ctx *x, const obv_set *set, bool sealing, obv_files *out,
                                           obv_err *err);
/** start_replay_log_ts of a tenant's (0: every tenant's) copies in a set: log is needed from there on. */
OBV_CHECK obv_code obv_backup_replay_start(obv_job_ctx *x, const obv_set *set, uint64_t tenant, int64_t *out,
                                           obv_err *err);

#endif
