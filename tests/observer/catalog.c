/* catalog.c - see catalog.h */
#include "catalog.h"

#include "hostd.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The tables as the SQL catalogue has them; the front reads the same file. */
__asm__(".section .rodata\n"
        ".global obs_schema_sql\n"
        "obs_schema_sql:\n"
        ".incbin \"" OBS_SCHEMA_SQL "\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char obs_schema_sql[];

static const char OWN_TABLES[] =
    "CREATE TABLE IF NOT EXISTS so_greeting (host INTEGER PRIMARY KEY, comment TEXT);"
    "CREATE TABLE IF NOT EXISTS so_table (tenant_id INTEGER, table_id INTEGER PRIMARY KEY, info TEXT);"
    "CREATE TABLE IF NOT EXISTS so_param (host INTEGER, name TEXT, value TEXT, PRIMARY KEY (host, name));"
    "CREATE TABLE IF NOT EXISTS so_restore_point (tenant_id INTEGER, name TEXT, ts INTEGER, PRIMARY KEY (tenant_id, "
    "name));"
    "CREATE TABLE IF NOT EXISTS so_restore_source (seq INTEGER PRIMARY KEY, uri TEXT);"
    "CREATE TABLE IF NOT EXISTS so_pg (pg INTEGER PRIMARY KEY, leader INTEGER, state INTEGER, version INTEGER);";

void time_text(int64_t us, char out[32])
{
    time_t t = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%06d", (int)(us % 1000000));
}

static sqlite3_stmt *prepare(struct host *h, const char *sql, const char *kinds, va_list ap)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(h->db, sql, -1, &s, NULL) != SQLITE_OK) {
        obs_log(h, "sql: %s: %s", sqlite3_errmsg(h->db), sql);
        return NULL;
    }
    for (int i = 1; *kinds; kinds++, i++) {
        if (*kinds == 'i') {
            sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        } else {
            const char *t = va_arg(ap, const char *);
            if (t)
                sqlite3_bind_text(s, i, t, -1, SQLITE_TRANSIENT);
        }
    }
    return s;
}

static int walk(struct host *h, sqlite3_stmt *s, catalog_row fn, void *arg)
{
    int rc = s ? SQLITE_ROW : SQLITE_ERROR;
    while (rc == SQLITE_ROW && (rc = sqlite3_step(s)) == SQLITE_ROW)
        if (fn)
            fn(arg, s);
    if (rc != SQLITE_DONE)
        obs_log(h, "sql: %s", sqlite3_errmsg(h->db));
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? 0 : -4000;
}

int catalog_exec(struct host *h, const char *sql, const char *kinds, ...)
{
    va_list ap;
    va_start(ap, kinds);
    pthread_mutex_lock(&h->db_mu);
    int rc = walk(h, prepare(h, sql, kinds, ap), NULL, NULL);
    pthread_mutex_unlock(&h->db_mu);
    va_end(ap);
    return rc;
}

int catalog_each(struct host *h, catalog_row fn, void *arg, const char *sql, const char *kinds, ...)
{
    va_list ap;
    va_start(ap, kinds);
    pthread_mutex_lock(&h->db_mu);
    int rc = walk(h, prepare(h, sql, kinds, ap), fn, arg);
    pthread_mutex_unlock(&h->db_mu);
    va_end(ap);
    return rc;
}

static void take_int(void *arg, sqlite3_stmt *s)
{
    if (sqlite3_column_type(s, 0) != SQLITE_NULL)
        *(int64_t *)arg = sqlite3_column_int64(s, 0);
}

int64_t catalog_int(struct host *h, int64_t none, const char *sql, const char *kinds, ...)
{
    va_list ap;
    va_start(ap, kinds);
    pthread_mutex_lock(&h->db_mu);
    walk(h, prepare(h, sql, kinds, ap), take_int, &none);
    pthread_mutex_unlock(&h->db_mu);
    va_end(ap);
    return none;
}

static void take_text(void *arg, sqlite3_stmt *s)
{
    char **out = arg;
    const char *t = (const char *)sqlite3_column_text(s, 0);
    if (t && !*out)
        *out = xstrdup(t);
}

char *catalog_text(struct host *h, const char *sql, const char *kinds, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, kinds);
    pthread_mutex_lock(&h->db_mu);
    walk(h, prepare(h, sql, kinds, ap), take_text, &out);
    pthread_mutex_unlock(&h->db_mu);
    va_end(ap);
    return out;
}

static int depth; /* of nested catalog_begin; under db_mu */

void catalog_begin(struct host *h)
{
    pthread_mutex_lock(&h->db_mu);
    if (depth++ == 0)
        sqlite3_exec(h->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
}

int catalog_end(struct host *h)
{
    int rc = --depth ? SQLITE_OK : sqlite3_exec(h->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&h->db_mu);
    return rc == SQLITE_OK ? 0 : -4000;
}

/* ---- first use */

static void set_zone(struct host *h, const char *zone, const char *name, int64_t value, const char *info)
{
    char now[32];
    time_text(clock_us(h), now);
    catalog_exec(h,
                 "INSERT INTO __all_zone (gmt_create, gmt_modified, zone, name, value, info) VALUES (?, ?, ?, ?, ?, ?) "
                 "ON CONFLICT (zone, name) DO UPDATE SET gmt_modified = excluded.gmt_modified, value = excluded.value, "
                 "info = excluded.info",
                 "ssssis", now, now, zone, name, value, info);
}

static void freeze_rows(struct host *h, int64_t version, int64_t ts)
{
    catalog_exec(h,
                 "INSERT OR REPLACE INTO __all_virtual_freeze_info (frozen_version, frozen_timestamp, schema_version) "
                 "VALUES (?, ?, ?)",
                 "iii", version, ts, h->shm->last_schema_version);
    char now[32];
    time_text(clock_us(h), now);
    catalog_exec(
        h,
        "INSERT OR REPLACE INTO __all_freeze_schema_version (gmt_create, gmt_modified, frozen_version, tenant_id, "
        "schema_version) "
        "SELECT ?, ?, ?, t.tenant_id, coalesce((SELECT max(d.schema_version) FROM __all_virtual_ddl_operation d WHERE "
        "d.tenant_id = t.tenant_id), ?) FROM __all_tenant t",
        "ssii", now, now, version, h->shm->last_schema_version);
}

void catalog_freeze_info(struct host *h, int64_t version, int64_t ts)
{
    catalog_begin(h);
    freeze_rows(h, version, ts);
    set_zone(h, "", "frozen_version", version, "");
    set_zone(h, "", "frozen_time", ts, "");
    set_zone(h, "", "global_broadcast_version", version, "");
    set_zone(h, "", "merge_status", 1, "MERGING");
    for (int i = 0; i < h->n_members; i++) {
        set_zone(h, h->members[i].zone, "broadcast_version", version, "");
        set_zone(h, h->members[i].zone, "merge_status", 1, "MERGING");
    }
    catalog_end(h);
}

void catalog_merged(struct host *h, int64_t version)
{
    catalog_begin(h);
    set_zone(h, "", "last_merged_version", version, "");
    set_zone(h, "", "merge_status", 0, "IDLE");
    for (int i = 0; i < h->n_members; i++) {
        set_zone(h, h->members[i].zone, "last_merged_version", version, "");
        set_zone(h, h->members[i].zone, "merge_status", 0, "IDLE");
    }
    catalog_end(h);
}

int param_set(struct host *h, const char *name, const char *value, int host_id)
{
    int rc = 0;
    for (int i = 1; i <= h->n_members && !rc; i++)
        if (!host_id || host_id == i)
            rc = catalog_exec(h, "INSERT OR REPLACE INTO so_param (host, name, value) VALUES (?, ?, ?)", "iss",
                              (int64_t)i, name, value);
    return rc;
}

char *param_get(struct host *h, const char *name, int host_id)
{
    return catalog_text(h, "SELECT value FROM so_param WHERE host = ? AND name = ?", "is", (int64_t)host_id, name);
}

static void default_params(struct host *h)
{
    static const char *const ALL[][2] = {
        {"enable_one_phase_commit", "False"},   {"clog_disk_utilization_threshold", "80"},
        {"ssl_client_authentication", "False"}, {"restore_concurrency", "0"},
        {"enable_upgrade_mode", "False"},       {"min_observer_version", "3.1.5"},
        {"enable_log_archive", "False"},        {"backup_dest", ""}};
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        catalog_exec(h, "INSERT OR IGNORE INTO so_param (host, name, value) VALUES (?, ?, ?)", "iss", (int64_t)h->id,
                     ALL[i][0], ALL[i][1]);
    char *dir = xasprintf("%s/store", h->dir), *id = xasprintf("%" PRId64, h->cluster_id);
    param_set(h, "data_dir", dir, h->id);
    param_set(h, "cluster", h->cluster_name, h->id);
    param_set(h, "cluster_id", id, h->id);
    free(dir);
    free(id);
}

static void first_rows(struct host *h)
{
    char now[32];
    time_text(clock_us(h), now);
    for (int i = 0; i < h->n_members; i++) {
        set_zone(h, h->members[i].zone, "region", 0, "default_region");
        set_zone(h, h->members[i].zone, "idc", 0, "");
        set_zone(h, h->members[i].zone, "status", 2, "ACTIVE");
    }
    set_zone(h, "", "cluster", 0, h->cluster_name);
    catalog_exec(h,
                 "INSERT INTO __all_virtual_cluster (cluster_id, cluster_name, cluster_role, cluster_status) VALUES "
                 "(?, ?, 'PRIMARY', 'VALID')",
                 "is", h->cluster_id, h->cluster_name);
    struct obuf zones = {0};
    for (int i = 0; i < h->n_members; i++) {
        if (i)
            ob_u8(&zones, ';');
        ob_put(&zones, h->members[i].zone, strlen(h->members[i].zone));
    }
    ob_u8(&zones, 0);
    catalog_exec(h,
                 "INSERT INTO __all_tenant (gmt_create, gmt_modified, tenant_id, tenant_name, zone_list, primary_zone, "
                 "locality, "
                 "compatibility_mode, drop_tenant_time, status, in_recyclebin) VALUES (?, ?, 1, 'sys', ?, ?, ?, 0, -1, "
                 "'TENANT_STATUS_NORMAL', 0)",
                 "sssss", now, now, zones.p, h->members[0].zone, "FULL{1}");
    catalog_exec(
        h,
        "INSERT INTO __all_tenant_history (gmt_create, gmt_modified, tenant_id, schema_version, is_deleted, "
        "tenant_name, zone_list, primary_zone, locality, compatibility_mode, drop_tenant_time, status, "
        "in_recyclebin) SELECT gmt_create, gmt_modified, tenant_id, 1, 0, tenant_name, zone_list, primary_zone, "
        "locality, compatibility_mode, drop_tenant_time, status, in_recyclebin FROM __all_tenant",
        "");
    catalog_exec(h,
                 "INSERT INTO __all_backup_log_archive_status_v2 (gmt_create, gmt_modified, tenant_id, incarnation, "
                 "log_archive_round, status, "
                 "start_piece_id, backup_piece_id, backup_dest) VALUES (?, ?, 1, 1, 0, 'STOP', 0, 0, '')",
                 "ss", now, now);
    catalog_exec(
        h,
        "INSERT INTO __all_core_table (gmt_create, gmt_modified, table_name, row_id, column_name, column_value) "
        "VALUES (?, ?, '__all_global_stat', 1, 'snapshot_gc_ts', ?)",
        "sss", now, now, "0");
    ob_free(&zones);
    freeze_rows(h, h->shm->frozen_version, h->shm->frozen_ts);
    set_zone(h, "", "frozen_version", h->shm->frozen_version, "");
    set_zone(h, "", "frozen_time", h->shm->frozen_ts, "");
    set_zone(h, "", "global_broadcast_version", h->shm->frozen_version, "");
    catalog_merged(h, h->shm->frozen_version);
}

int catalog_open(struct host *h)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&h->db_mu, &a);
    pthread_mutexattr_destroy(&a);
    if (sqlite3_open(h->db_path, &h->db) != SQLITE_OK)
        return -1;
    sqlite3_busy_timeout(h->db, 20000);
    sqlite3_exec(h->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF", NULL, NULL, NULL);
    catalog_begin(h);
    char *err = NULL;
    int rc = 0;
    if (!catalog_int(h, 0, "SELECT 1 FROM sqlite_master WHERE name = '__all_server'", "")) {
        if (sqlite3_exec(h->db, obs_schema_sql, NULL, NULL, &err) != SQLITE_OK) {
            obs_log(h, "schema: %s", err);
            rc = -1;
        }
        sqlite3_free(err);
    }
    sqlite3_exec(h->db, OWN_TABLES, NULL, NULL, NULL);
    if (!rc && !catalog_int(h, 0, "SELECT 1 FROM __all_tenant", ""))
        first_rows(h); /* in the same transaction: hosts start together, and one of them makes the rows */
    catalog_end(h);
    if (rc)
        return rc;
    default_params(h);
    char now[32];
    time_text(clock_us(h), now);
    const struct host_addr *me = host_self(h);
    return catalog_exec(
        h,
        "INSERT OR REPLACE INTO __all_server (gmt_create, gmt_modified, svr_ip, svr_port, id, zone, inner_port, "
        "with_rootserver, "
        "status, build_version, stop_time, start_service_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, 0, ?)",
        "sssiisiisi", now, now, me->ip, (int64_t)me->rpc_port, (int64_t)me->id, me->zone, (int64_t)me->sql_port,
        (int64_t)(me->id == 1), "3.1.5_10010012022091510-3020104(Sep 15 2022 10:00:00)", clock_us(h));
}

/* ---- upkeep, by the host that plays RootService */

static char *members_text(const struct host *h, const struct shm_pg *p)
{
    struct obuf b = {0};
    for (int i = 0; i < h->n_members; i++) {
        char one[96];
        if (p->rep[i].absent || p->rep[i].no_member)
            continue;
        int n = snprintf(one, sizeof one, "%s%s:%d:%" PRId64, b.n ? "," : "", h->members[i].ip, h->members[i].rpc_port,
                         h->member_list[i].timestamp);
        ob_put(&b, one, (size_t)n);
    }
    ob_u8(&b, 0);
    return (char *)b.p;
}

static void sync_pg(struct host *h, uint32_t i)
{
    const struct shm_pg *p = pg_at(h, i);
    const char *table = p->kind == KIND_INNER ? "__all_root_table" : "__all_virtual_meta_table";
    char now[32], *members = members_text(h, p);
    time_text(clock_us(h), now);
    for (int k = 0; k < h->n_members; k++) {
        char *sql;
        const int64_t pid = pkey_partition_id(&p->key);
        if (p->rep[k].absent && p->state != PG_GONE) {
            sql = xasprintf("DELETE FROM %s WHERE tenant_id = ? AND table_id = ? AND partition_id = ? AND svr_ip = ?",
                            table);
            catalog_exec(h, sql, "iiis", (int64_t)p->tenant, (int64_t)p->key.table_id, pid, h->members[k].ip);
            free(sql);
            continue;
        }
        if (p->state == PG_GONE) {
            sql = xasprintf("DELETE FROM %s WHERE tenant_id = ? AND table_id = ? AND partition_id = ?", table);
            catalog_exec(h, sql, "iii", (int64_t)p->tenant, (int64_t)p->key.table_id, pid);
            free(sql);
            break;
        }
        bool root = p->kind == KIND_INNER;
        sql = xasprintf("INSERT OR REPLACE INTO %s (%stenant_id, table_id, partition_id, svr_ip, svr_port, zone, role, "
                        "member_list, data_version, "
                        "replica_type, required_size, status, is_restore) VALUES (%s?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, "
                        "'REPLICA_STATUS_NORMAL', ?)",
                        table, root ? "gmt_create, gmt_modified, " : "", root ? "?, ?, " : "");
        const struct host_addr *m = &h->members[k];
        int64_t role = p->leader == m->id ? 1 : 2, version = p->rep[k].data_version, size = p->rep[k].data_size;
        if (!version)
            version = p->create_frozen_version;
        if (root)
            catalog_exec(h, sql, "ssiiisisisiii", now, now, (int64_t)p->tenant, (int64_t)p->key.table_id, pid, m->ip,
                         (int64_t)m->rpc_port, m->zone, role, members, version, size, (int64_t)p->rep[k].is_restore);
        else
            catalog_exec(h, sql, "iiisisisiii", (int64_t)p->tenant, (int64_t)p->key.table_id, pid, m->ip,
                         (int64_t)m->rpc_port, m->zone, role, members, version, size, (int64_t)p->rep[k].is_restore);
        free(sql);
    }
    free(members);
}

void catalog_sync(struct host *h)
{
    static struct {
        int leader, state, flags;
        int64_t version;
    } seen[MAX_PG];
    enum { UNKNOWN, ALIVE, DEAD };
    static int known[OBS_MAX_HOSTS]; /* unknown: this host has just become RootService */
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mu);
    bool open = false;
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        const struct shm_pg *p = pg_at(h, i);
        int64_t version = 0;
        int flags = 0;
        for (int k = 0; k < h->n_members; k++) {
            version += p->rep[k].data_version;
            flags =
                8 * flags + (p->rep[k].absent ? 1 : 0) + (p->rep[k].no_member ? 2 : 0) + (p->rep[k].is_restore ? 4 : 0);
        }
        if (seen[i].leader == p->leader && seen[i].state == p->state && seen[i].version == version &&
            seen[i].flags == flags)
            continue;
        if (!open)
            catalog_begin(h);
        open = true;
        sync_pg(h, i);
        seen[i].leader = p->leader;
        seen[i].state = p->state;
        seen[i].version = version;
        seen[i].flags = flags;
    }
    for (int k = 0; k < h->n_members; k++) {
        int now = host_alive(h, k + 1) ? ALIVE : DEAD;
        if (!host_is_root(h))
            now = UNKNOWN;
        else if (now != known[k])
            catalog_exec(h, "UPDATE __all_server SET status = ?, with_rootserver = (id = ?) WHERE id = ?", "sii",
                         now == ALIVE ? "active" : "inactive", (int64_t)h->id, (int64_t)k + 1);
        known[k] = now;
    }
    if (open)
        catalog_end(h);
    char gc[32];
    snprintf(gc, sizeof gc, "%" PRId64, clock_us(h) - h->knob.gc_ts_lag_us);
    static int64_t last_gc;
    if (now_us() - last_gc > 1000000) {
        catalog_exec(h,
                     "UPDATE __all_core_table SET column_value = ? WHERE table_name = '__all_global_stat' AND "
                     "column_name = 'snapshot_gc_ts'",
                     "s", gc);
        last_gc = now_us();
    }
    pthread_mutex_unlock(&mu);
}
