/* archive_files.h - the log archive's info files as the state has them; order: format page, "Rounds"
 *
 * A round's checkpoint on media is its pending value: it is published in the state once the files are stored.
 */
#ifndef OBV_COORDINATOR_ARCHIVE_FILES_H
#define OBV_COORDINATOR_ARCHIVE_FILES_H

#include "job/files.h"
#include "state/rounds.h"

/** mount_file, tenant_name_info, then for the cluster: single piece, piece list, rounds. */
OBV_CHECK obv_code obv_archive_files_begin(obv_job_ctx *x, const obv_round *r, obv_files *out, obv_err *err);
/** The three files of one tenant (0 or 1: of the cluster): single piece, piece list, rounds. */
OBV_CHECK obv_code obv_archive_files_all(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out, obv_err *err);
/** The two files that a new checkpoint changes: single piece, rounds. */
OBV_CHECK obv_code obv_archive_files_checkpoint(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out,
                                                obv_err *err);
/** CP/clog_info/<server id>_<ip>_<port>: when the round began on that server. */
OBV_CHECK obv_code obv_archive_files_server(obv_job_ctx *x, const obv_round *r, const obv_server *server,
                                            obv_files *out, obv_err *err);

#endif
