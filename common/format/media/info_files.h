/* info_files.h - the single-shot *_info files and PG lists of a data backup (docs/format.md, "Info files")
 *
 * Emitters append a whole file (header and body) to an obv_buf; parsers call back per entry and read a file of 0 bytes
 * as an empty list. Strings are NUL-terminated on input; parsed ones are copied into the entry, bounded by OceanBase's
 * own limits.
 */
#ifndef OBV_FORMAT_MEDIA_INFO_FILES_H
#define OBV_FORMAT_MEDIA_INFO_FILES_H

#include "format/media/common_header.h"
#include "format/ob/pg_key.h"

#define OBV_INFO_FILE_MAX (64u << 20) /* bytes; more is refused on both ways */
#define OBV_INFO_ENTRIES_MAX 100000u
#define OBV_BACKUP_DEST_MAX 2048u
#define OBV_PASSWD_MAX 128u
#define OBV_TENANT_NAME_MAX 64u
#define OBV_LOCALITY_MAX 4096u
#define OBV_ZONE_LIST_MAX 8192u
#define OBV_ENCRYPTION_MODE_MAX 4 /* ObBackupEncryptionMode */

#define OBV_COMPATIBLE_V4 4            /* layout of 3.1 from BP6 on */
#define OBV_RESULT_SET_RUNNING (-4023) /* result of a set's entry until SUCCESS sets 0 */

enum obv_backup_type { OBV_BACKUP_FULL = 1, OBV_BACKUP_INCREMENTAL = 2 };
enum obv_extern_status { OBV_EXTERN_SUCCESS = 0, OBV_EXTERN_DOING = 1, OBV_EXTERN_FAILED = 2 };
enum obv_set_status { OBV_SET_DOING = 0, OBV_SET_SUCCESS = 1, OBV_SET_FAILED = 2 };
enum obv_set_file_status {
    OBV_SET_FILE_AVAILABLE = 0,
    OBV_SET_FILE_COPYING = 1,
    OBV_SET_FILE_INCOMPLETE = 2,
    OBV_SET_FILE_DELETING = 3,
    OBV_SET_FILE_EXPIRED = 4,
    OBV_SET_FILE_BROKEN = 5,
    OBV_SET_FILE_DELETED = 6,
};
enum obv_compat_mode { OBV_COMPAT_MYSQL = 0, OBV_COMPAT_ORACLE = 1 };

/* ---- 1. cluster_data_backup_info, tenant_data_backup_info (type 6) */
typedef struct obv_backup_info {
    int64_t full_set_id, set_id;
    int64_t data_version, snapshot_version, schema_version;
    int64_t frozen_snapshot_version, frozen_schema_version;
    int64_t prev_full_set_id, prev_set_id, prev_data_version; /* 0 for a full */
    int64_t compatible;
    int64_t cluster_version;
    int32_t backup_type; /* enum obv_backup_type */
    int32_t status;      /* enum obv_extern_status */
    int32_t encryption_mode;
    char passwd[OBV_PASSWD_MAX];
    bool is_mark_deleted;
    int64_t date;
} obv_backup_info;
/** Entries ascend by set id. OBV_E_INVAL for an entry that OceanBase would refuse. */
OBV_CHECK obv_code obv_put_backup_infos(obv_buf *b, const obv_backup_info *e, size_t n, obv_err *err);
typedef int obv_backup_info_fn(void *ctx, const obv_backup_info *e);
OBV_CHECK obv_code obv_backup_infos_each(obv_span file, obv_backup_info_fn *fn, void *ctx, obv_err *err);

/* ---- 2. *_backup_set_file_info, single_backup_set_info (type 17) */
typedef struct obv_set_file_info {
    uint64_t tenant_id;
    int64_t set_id;
    int64_t incarnation; /* 1 */
    int64_t copy_id;     /* 0 = the original */
    int64_t snapshot_version;
    int64_t prev_full_set_id, prev_set_id, prev_data_version;
    int64_t pg_count, macro_block_count, finish_pg_count, finish_macro_block_count;
    int64_t input_bytes, output_bytes;
    int64_t start_time, end_time; /* us */
    int64_t compatible;
    uint64_t cluster_version;
    int32_t backup_type; /* enum obv_backup_type */
    int32_t status;      /* enum obv_set_status */
    int32_t result;      /* OBV_RESULT_SET_RUNNING until the end */
    int64_t cluster_id;
    char backup_dest[OBV_BACKUP_DEST_MAX];
    int64_t data_version, schema_version;
    int64_t partition_count, finish_partition_count; /* without trans partitions */
    int32_t encryption_mode;
    char passwd[OBV_PASSWD_MAX];
    int32_t file_status; /* enum obv_set_file_status */
    int64_t start_replay_log_ts;
    int64_t date;
} obv_set_file_info;
OBV_CHECK obv_code obv_put_set_file_infos(obv_buf *b, const obv_set_file_info *e, size_t n, obv_err *err);
typedef int obv_set_file_info_fn(void *ctx, const obv_set_file_info *e);
OBV_CHECK obv_code obv_set_file_infos_each(obv_span file, obv_set_file_info_fn *fn, void *ctx, obv_err *err);

/* ---- 3. backup_set_info (type 7) */
typedef struct obv_set_info {
    int64_t set_id, snapshot_version, compatible;
    int64_t pg_count, macro_block_count, input_bytes, output_bytes;
    uint64_t cluster_version;
    int32_t compress_type; /* 1 = none */
} obv_set_info;
OBV_CHECK obv_code obv_put_set_infos(obv_buf *b, const obv_set_info *e, size_t n, obv_err *err);
typedef int obv_set_info_fn(void *ctx, const obv_set_info *e);
OBV_CHECK obv_code obv_set_infos_each(obv_span file, obv_set_info_fn *fn, void *ctx, obv_err *err);

/* ---- 4. sys_pg_list, normal_pg_list (type 8) */
OBV_CHECK obv_code obv_put_pg_list(obv_buf *b, const obv_pg_key *keys, size_t n, obv_err *err);
typedef int obv_pg_list_fn(void *ctx, const obv_pg_key *k);
OBV_CHECK obv_code obv_pg_list_each(obv_span file, obv_pg_list_fn *fn, void *ctx, obv_err *err);

/* ---- 5. tenant_info (type 9) */
typedef struct obv_tenant_info {
    uint64_t tenant_id;
    int64_t create_ts, delete_ts;
    int32_t compat_mode; /* enum obv_compat_mode */
    char tenant_name[OBV_TENANT_NAME_MAX];
    int64_t snapshot_version;
} obv_tenant_info;
OBV_CHECK obv_code obv_put_tenant_infos(obv_buf *b, const obv_tenant_info *e, size_t n, obv_err *err);
typedef int obv_tenant_info_fn(void *ctx, const obv_tenant_info *e);
OBV_CHECK obv_code obv_tenant_infos_each(obv_span file, obv_tenant_info_fn *fn, void *ctx, obv_err *err);

/* ---- 6. tenant_locality_info (type 12): exactly one */
typedef struct obv_tenant_locality {
    uint64_t tenant_id;
    int64_t set_id, snapshot_version;
    int32_t compat_mode;
    char tenant_name[OBV_TENANT_NAME_MAX];
    char locality[OBV_LOCALITY_MAX];
    char primary_zone[OBV_ZONE_LIST_MAX];
} obv_tenant_locality;
/** OBV_E_INVAL when one of the strings is empty: OceanBase refuses the file then. */
OBV_CHECK obv_code obv_put_tenant_locality(obv_buf *b, const obv_tenant_locality *e, obv_err *err);
OBV_CHECK obv_code obv_tenant_locality_parse(obv_span file, obv_tenant_locality *out, obv_err *err);

/* ---- 7. tenant_diagnose_info (type 13): text that nobody reads back */
OBV_CHECK obv_code obv_put_tenant_diagnose(obv_buf *b, const char *text, obv_err *err);

#endif
