/* paths.h - names on the destination (docs/format.md, "Tree"): keys relative to the repository's root
 *
 * Everything lies below CP = <cluster name>/<cluster id>/incarnation_1. Once the names are checked here, no function of
 * this module can fail: a path always fits.
 */
#ifndef OBV_FORMAT_MEDIA_PATHS_H
#define OBV_FORMAT_MEDIA_PATHS_H

#include "base/err.h"
#include "format/ob/pg_key.h"

#define OBV_PATH_MAX 512u         /* bytes with the NUL */
#define OBV_CLUSTER_NAME_MAX 128u /* bytes without it */

typedef struct obv_path {
    char s[OBV_PATH_MAX];
} obv_path;
/** Writes a formatted path. A result that does not fit is a fault of ours (assertion): all parts are bounded. */
void obv_path_set(obv_path *p, const char *fmt, ...) OBV_PRINTF(2, 3);
/** Appends "/" and the formatted part. */
void obv_path_add(obv_path *p, const char *fmt, ...) OBV_PRINTF(2, 3);

/* CP of one cluster */
typedef struct obv_media_root {
    char cluster_name[OBV_CLUSTER_NAME_MAX + 1];
    int64_t cluster_id;
    obv_path cp;
} obv_media_root;
/** OBV_E_INVAL: name empty, too long, with '/', '?', control characters, or "." or ".."; cluster id not positive. */
OBV_CHECK obv_code obv_media_root_init(obv_media_root *r, const char *cluster_name, int64_t cluster_id, obv_err *err);
/** A single "*_info" file or folder directly in CP. */
void obv_path_cluster_file(const obv_media_root *r, const char *name, obv_path *out);
/** CP/<tenant> */
void obv_path_tenant(const obv_media_root *r, uint64_t tenant_id, obv_path *out);

/* names directly in CP */
#define OBV_NAME_TENANT_NAME_INFO "tenant_name_info"
#define OBV_NAME_TENANT_INFO "tenant_info"
#define OBV_NAME_CLUSTER_DATA_BACKUP_INFO "cluster_data_backup_info"
#define OBV_NAME_CLUSTER_BACKUP_SET_FILE_INFO "cluster_backup_set_file_info"

/* lists of one tenant: CP/<tenant>/data/... ; tenant 1 (sys) has the cluster_* files instead */
void obv_path_data_backup_info(const obv_media_root *r, uint64_t tenant_id, obv_path *out);
void obv_path_backup_set_file_info(const obv_media_root *r, uint64_t tenant_id, obv_path *out);

/* one set of one tenant */
typedef struct obv_set_id {
    uint64_t tenant_id;
    int64_t set_id;      /* this set's id */
    int64_t full_set_id; /* == set_id for a full */
    int64_t date;        /* YYYYMMDD of the start, local time of the host that started it; 0: layout of before 2.2.77 */
} obv_set_id;
/** .../<tenant>/data/backup_set_<id>_<full|inc>_<date>; what a restore source's URI ends in. Date 0: backup_set_<full
 * id>. */
void obv_path_set_dir(const obv_media_root *r, const obv_set_id *s, obv_path *out);
/** backup_set_info, single_backup_set_info in the set's folder. */
void obv_path_set_file(const obv_media_root *r, const obv_set_id *s, const char *name, obv_path *out);
/** Files in the set's backup_<id> folder: pg lists, tenant_locality_info, metas. */
void obv_path_inc_file(const obv_media_root *r, const obv_set_id *s, const char *name, obv_path *out);
#define OBV_NAME_SINGLE_BACKUP_SET_INFO "single_backup_set_info"
#define OBV_NAME_BACKUP_SET_INFO "backup_set_info"
#define OBV_NAME_SYS_PG_LIST "sys_pg_list"
#define OBV_NAME_NORMAL_PG_LIST "normal_pg_list"
#define OBV_NAME_TENANT_LOCALITY_INFO "tenant_locality_info"
#define OBV_NAME_TENANT_DIAGNOSE_INFO "tenant_diagnose_info"
#define OBV_NAME_META_INDEX_FILE "meta_index_file"
void obv_path_meta_file(const obv_media_root *r, const obv_set_id *s, int64_t task_id, obv_path *out);
void obv_path_meta_index_file(const obv_media_root *r, const obv_set_id *s, int64_t task_id, obv_path *out);
/** .../data/<table>/<partition> */
void obv_path_pg_data(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, obv_path *out);
void obv_path_major_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t sub_task,
                               obv_path *out);
void obv_path_minor_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                               int64_t sub_task, obv_path *out);
/** @p pass 0 has no suffix, pass n >= 1 is ".n". */
void obv_path_major_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t pass,
                               obv_path *out);
/** A task of ours puts one index of a PG's minors, pass 0; stock ones may retry in place. */
void obv_path_minor_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                               int64_t pass, obv_path *out);
/** Files of a PG before 3.1: directly in its folder (read only). */
void obv_path_flat_block_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t sub_task,
                              obv_path *out);
void obv_path_flat_index_file(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t pass,
                              obv_path *out);
/** CP/obvault/records/...: a PG's metas as one attempt copied them, for later passes and for whoever ends the set. */
void obv_path_pg_record(const obv_media_root *r, const obv_set_id *s, const obv_pg_key *pg, int64_t task_id,
                        obv_path *out);

/** Local date YYYYMMDD of a time in microseconds since the epoch. */
int64_t obv_date_of_us(int64_t us);

#endif
