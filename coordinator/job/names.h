/* names.h - tenant_name_info: which tenant id had which name since when */
#ifndef OBV_COORDINATOR_NAMES_H
#define OBV_COORDINATOR_NAMES_H

#include "job/files.h"

/** Reads the history up to now and keeps what is new; *sys_schema_version = that of the sys tenant. */
OBV_CHECK obv_code obv_names_refresh(obv_job_ctx *x, obv_cluster *c, int64_t *sys_schema_version, obv_err *err);
/** Adds tenant_name_info to @p out from what is known. */
OBV_CHECK obv_code obv_names_file(obv_job_ctx *x, const obv_media_root *root, obv_files *out, obv_err *err);
/** The id of the tenant that has, or at @p at_us had, this name. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_names_find(obv_job_ctx *x, const char *name, int64_t at_us, uint64_t *out, obv_err *err);

#endif
