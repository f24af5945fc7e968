/* store.h - what the SQL front and the control socket may use of the stand-in (CONTRACT.md)
 *
 * Threads: every function may be called from any thread of the process; none calls back into the front. Functions may
 * block (see each); error codes are 0 or OceanBase's negative number, with a text in err.
 */
#ifndef OBS_STORE_H
#define OBS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define OBS_MAX_HOSTS 8
#define OBS_SYS_TENANT 1u

struct host; /* one per process, made by main.c before any front starts, valid until exit */

struct host_addr {
    int id; /* 1.. as on the command line */
    char ip[46];
    int rpc_port; /* svr_port of all tables */
    int sql_port; /* inner_port */
    char zone[64];
};

/** This process's own address. */
const struct host_addr *host_self(const struct host *h);
/** All members, in order of id; n <= OBS_MAX_HOSTS. */
const struct host_addr *host_members(const struct host *h, int *n);
/** Is that member's process alive (heartbeat not older than lease_us)? */
bool host_alive(const struct host *h, int id);
/** Absolute paths: cluster.db (open your own connection: WAL, busy timeout), H, H/log, H/run. Valid as long as h. */
const char *host_cluster_db(const struct host *h);
/** Holds the schema still for a SELECT (many at a time) or a DDL's commit (one, and no SELECT). Ends with release. */
int host_schema_hold(const struct host *h, bool change);
void host_schema_release(int fd);
const char *host_dir(const struct host *h);
const char *host_cluster_name(const struct host *h);
int64_t host_cluster_id(const struct host *h);
/** Folder of restore.py; knob restore_gap_us. */
const char *host_reader_dir(const struct host *h);
int64_t host_restore_gap_us(const struct host *h);
/** True once the process has been told to end: fronts leave their loops within 200 ms. */
bool host_stopping(const struct host *h);
/** Now, us since the epoch, as the cluster's clock says. */
int64_t host_now(const struct host *h);

/* ---- SQL: shared tables
 * ------------------------------------------------------------------------------------------------------ cluster.db
 * holds, with the exact names and columns of specs/catalogue.md 1 to 3, every table of kind S, RS and T:
 * __all_server, __all_zone, __all_tenant, __all_tenant_history, __all_virtual_freeze_info, __all_freeze_schema_version,
 * __all_root_table,
 * __all_virtual_meta_table, __all_virtual_table, __all_virtual_part, __all_virtual_sub_part, __all_virtual_tablegroup,
 * __all_virtual_ddl_operation, __all_virtual_sys_variable, __all_virtual_cluster, __all_virtual_backup_info,
 * __all_backup_log_archive_status_v2, __all_resource_pool, __all_core_table, __all_restore_info,
 * __all_restore_progress,
 * __all_restore_history, __all_virtual_restore_pg_info. Time columns (ts) are TEXT 'YYYY-MM-DD HH:MM:SS.ffffff' UTC.
 * Only the store writes them; the front only reads. Tables whose names begin with front_ belong to the front (accounts,
 * ...); all others (names beginning with so_) are internal and must not be visible over SQL.
 */

/* ---- SQL: L tables (each server answers for itself)
 * ------------------------------------------------------------------------ */
enum obs_kind { OBS_NULL, OBS_INT, OBS_UINT, OBS_TEXT };
struct obs_value {
    enum obs_kind kind;
    int64_t i;     /* OBS_INT; OBS_UINT as the bit pattern */
    const char *s; /* OBS_TEXT, valid during the callback */
};
/** Return non-zero to stop the scan (the scan then returns that value). */
typedef int (*obs_row_fn)(void *arg, const struct obs_value *row, size_t n);

struct obs_column {
    const char *name;
    const char *type; /* the catalogue's letter: i u b d ts vN lt */
};
/** Columns of an L table, or NULL if the name is none: __all_virtual_clog_stat, __all_virtual_partition_info,
 *  __all_virtual_election_info, __all_virtual_partition_store_info, __all_virtual_server_clog_stat,
 * __all_virtual_sys_parameter_stat. */
const struct obs_column *obs_vtable_columns(const char *table, size_t *n);
/** Rows of member @p host_id (0: of all living members). Non-blocking (shared memory). Returns 0, the callback's value,
 * or -4018 for an unknown table. */
int obs_vtable_scan(struct host *h, const char *table, int host_id, obs_row_fn fn, void *arg);

/* ---- statements
 * -------------------------------------------------------------------------------------------------------------- */
struct obs_err {
    int code; /* 0 or OceanBase's negative number */
    char msg[256];
};
/** ALTER SYSTEM MINOR FREEZE [TENANT = ...]; tenant 0 = all. As SQL: force = false, cold PGs are skipped. Returns at
 * once. */
int obs_sql_minor_freeze(struct host *h, uint64_t tenant, struct obs_err *err);
/** ALTER SYSTEM MAJOR FREEZE. Returns at once. */
int obs_sql_major_freeze(struct host *h, struct obs_err *err);
/** ALTER SYSTEM SET name = value [server]; host 0 = all. */
int obs_sql_set_parameter(struct host *h, const char *name, const char *value, int host_id, struct obs_err *err);
/** CREATE / DROP RESTORE POINT from a session of user tenant @p tenant (sys: refused by the store too). */
/** SET GLOBAL undo_retention in a tenant's own session. */
int obs_sql_set_undo_retention(struct host *h, uint64_t tenant, int64_t seconds, struct obs_err *err);
int obs_sql_create_restore_point(struct host *h, uint64_t tenant, const char *name, struct obs_err *err);
int obs_sql_drop_restore_point(struct host *h, uint64_t tenant, const char *name, struct obs_err *err);
/** DROP TENANT name FORCE, also of one that a restore job is making: the job then ends with RESTORE_FAIL. -5157: none.
 */
int obs_sql_drop_tenant(struct host *h, const char *name, struct obs_err *err);

struct obs_restore {
    const char *dst_tenant, *src_tenant;
    const char *at;        /* NULL: the session's sources are used */
    const char *sources;   /* what ADD RESTORE SOURCE gathered, separated by newlines; NULL none */
    int64_t until_us;      /* already converted from the session's time zone */
    const char *options;   /* text of WITH '...' */
    const char *passwords; /* SET DECRYPTION IDENTIFIED BY list, or "" */
    bool preview;
};
/** ALTER SYSTEM RESTORE ...: checks as RootService, makes the job, returns; the job goes on in a thread of this process
 *  (progress in __all_restore_info, __all_restore_progress, then __all_restore_history). Made by the front (sql_job.c),
 *  like the two above: it writes the restore tables of cluster.db, runs the reader, and then calls obs_restore_load. */
int obs_sql_restore(struct host *h, const struct obs_restore *r, int64_t *job_id, struct obs_err *err);
/** The answer of the control verb `restore_status`. */
json_t *obs_restore_jobs(struct host *h);

struct obs_load {
    uint64_t tenant_id; /* new, in no table yet */
    const char *tenant_name, *locality, *primary_zone, *pool_list;
    int64_t compat_mode, restore_data_version;
    const char *dir; /* holds result.json and pg/ (CONTRACT.md 9) */
};
/** Made in restore_load.c out of the store's functions: creates the tenant (pools granted, row in __all_tenant with
 * status TENANT_STATUS_NORMAL), its sys PGs and, from the restored schema rows, its user PGs, and loads the row files
 * as major sstables on every host. Blocks. After an error nothing of the tenant is left. */
int obs_restore_load(struct host *h, const struct obs_load *load, struct obs_err *err);

/* ---- control
 * ------------------------------------------------------------------------------------------------------------------ */
/** Runs one control verb (CONTRACT.md 8). May block for long: the control front uses one thread per connection.
 *  @return a new reference, always an object with "ok" */
json_t *obs_control(struct host *h, const json_t *request);

/* ---- logs
 * ---------------------------------------------------------------------------------------------------------------------
 */
/** One line to H/log/observer.log. */
void obs_log(struct host *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- made by the front, called by main.c
 * --------------------------------------------------------------------------------------- Each starts its own threads
 * and returns 0, or an errno value when its port or socket cannot be opened. */
int sqlfront_start(struct host *h);
int ctl_start(struct host *h);
/** Called after host_stopping became true; waits for the front's threads. */
void sqlfront_stop(struct host *h);
void ctl_stop(struct host *h);

#endif
