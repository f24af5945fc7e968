/* sql_job.c - restore jobs: job.json -> reader as a child -> progress into the tables -> obs_restore_load */
#include "sql_job.h"

#include "sql.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct job {
    struct job *next;
    struct host *host;
    pthread_t thread;
    int64_t id, tenant_id;
    char dir[600];
    bool done; /* the thread may be joined */
};

static struct {
    pthread_mutex_t lock;
    struct job *jobs;
    atomic_bool stop;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); }

static sqlite3 *open_db(struct host *h)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(host_cluster_db(h), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, 30000);
    sqlite3_exec(db,
                 "CREATE TABLE IF NOT EXISTS front_restore_source (uri TEXT);"
                 "CREATE TABLE IF NOT EXISTS front_restore_job (job_id INTEGER PRIMARY KEY, host INTEGER, dir TEXT)",
                 NULL, NULL, NULL);
    return db;
}

/* Runs one statement with text parameters; numbers come as text and SQLite's column affinity makes them numbers. */
static bool put(sqlite3 *db, const char *sql, const char *const *args, int n)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK;
    for (int i = 0; ok && i < n; i++)
        sqlite3_bind_text(q, i + 1, args[i], -1, SQLITE_TRANSIENT);
    ok = ok && sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    return ok;
}

#define PUT(db, sql, ...)                                                                                              \
    put(db, sql, (const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static const char *num(char out[24], int64_t v)
{
    snprintf(out, 24, "%" PRId64, v);
    return out;
}

/* ---- sources ---- */

int obs_sql_add_restore_source(struct host *h, const char *uri, struct obs_err *err)
{
    sqlite3 *db = open_db(h);
    bool ok = db && PUT(db, "INSERT INTO front_restore_source VALUES (?1)", uri);
    sqlite3_close(db);
    return ok ? 0 : job_fail(err, OB_ERR_UNEXPECTED, "cluster.db cannot be written");
}

int obs_sql_clear_restore_source(struct host *h, struct obs_err *err)
{
    sqlite3 *db = open_db(h);
    bool ok = db && sqlite3_exec(db, "DELETE FROM front_restore_source", NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_close(db);
    return ok ? 0 : job_fail(err, OB_ERR_UNEXPECTED, "cluster.db cannot be written");
}

static json_t *sources(sqlite3 *db)
{
    json_t *list = json_array();
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, "SELECT uri FROM front_restore_source ORDER BY rowid", -1, &q, NULL) == SQLITE_OK)
        while (sqlite3_step(q) == SQLITE_ROW)
            json_array_append_new(list, json_string((const char *)sqlite3_column_text(q, 0)));
    sqlite3_finalize(q);
    return list;
}

/* ---- the reader ---- */

static void remove_in(const char *dir, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static pid_t start_reader(struct host *h, const char *dir)
{
    remove_in(dir, "progress.json"); /* of a run that this host did not survive */
    remove_in(dir, "result.json");
    char script[700], job[700], log[700];
    snprintf(script, sizeof script, "%s/restore.py", host_reader_dir(h));
    snprintf(job, sizeof job, "%s/job.json", dir);
    snprintf(log, sizeof log, "%s/reader.log", dir);
    char python[] = "/usr/bin/python3", a_job[] = "--job", a_out[] = "--out", out[700];
    snprintf(out, sizeof out, "%s", dir);
    char *argv[] = {python, script, a_job, job, a_out, out, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&fa, 1, 2);
    posix_spawnattr_t attr; /* a group of its own: the reader has workers, and all are ended together */
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    pid_t pid = -1;
    if (posix_spawn(&pid, python, &fa, &attr, argv, environ) != 0)
        pid = -1;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return pid;
}

static json_t *load_in(const char *dir, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return json_load_file(path, 0, NULL);
}

static int64_t int_at(const json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void set_status(sqlite3 *db, int64_t id, const char *status)
{
    char n[24];
    num(n, id);
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    PUT(db,
        "UPDATE __all_restore_info SET value = ?2, gmt_modified = strftime('%Y-%m-%d %H:%M:%f000', 'now') "
        "WHERE job_id = ?1 AND name = 'status'",
        n, status);
    PUT(db, "UPDATE __all_restore_progress SET status = ?2 WHERE job_id = ?1", n, status);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
}

static void set_info(sqlite3 *db, int64_t id, const char *name, const char *value)
{
    char n[24];
    PUT(db,
        "INSERT INTO __all_restore_info (gmt_create, gmt_modified, job_id, name, value) VALUES "
        "(strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?1, ?2, ?3) "
        "ON CONFLICT (job_id, name) DO UPDATE SET value = excluded.value",
        num(n, id), name, value);
}

static void set_progress(sqlite3 *db, int64_t id, const json_t *p)
{
    char n[7][24];
    PUT(db,
        "UPDATE __all_restore_progress SET pg_count = ?2, finish_pg_count = ?3, partition_count = ?4, "
        "finish_partition_count = ?5, macro_block_count = ?6, finish_macro_block_count = ?7 WHERE job_id = ?1",
        num(n[0], id), num(n[1], int_at(p, "pg_count")), num(n[2], int_at(p, "finish_pg_count")),
        num(n[3], int_at(p, "partition_count")), num(n[4], int_at(p, "finish_partition_count")),
        num(n[5], int_at(p, "macro_block_count")), num(n[6], int_at(p, "finish_macro_block_count")));
}

/* Waits for the child; db = NULL: without any tables (preview). @return false: told to stop, the child was ended */
static bool watch_reader(pid_t pid, struct job *j, sqlite3 *db)
{
    char last[64] = "CREATE_TENANT";
    for (int status;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        json_t *p = db ? load_in(j->dir, "progress.json") : NULL;
        if (p) {
            const char *state = text_at(p, "status");
            if (*state && strncmp(state, "RESTORE_SUCCESS", 15) != 0 && strncmp(state, "RESTORE_FAIL", 12) != 0 &&
                strcmp(state, last) != 0) {
                snprintf(last, sizeof last, "%s", state);
                set_status(db, j->id, state);
            }
            set_progress(db, j->id, p);
            json_decref(p);
        }
        if (got == pid || (got < 0 && errno != EINTR))
            return true;
        if (all.stop) {
            kill(-pid, SIGTERM);
            waitpid(pid, &status, 0);
            return false;
        }
        nap();
    }
}

/* ---- job ---- */

static void finish(sqlite3 *db, struct job *j, bool ok, const char *text)
{
    char n[24];
    num(n, j->id);
    if (!ok)
        set_info(db, j->id, "info", text);
    PUT(db,
        "UPDATE __all_restore_progress SET completion_time = strftime('%Y-%m-%d %H:%M:%f000', 'now'), info = ?2 "
        "WHERE job_id = ?1",
        n, text);
    set_status(db, j->id, ok ? "RESTORE_SUCCESS" : "RESTORE_FAIL");
    for (int i = 0; i < 10 && !all.stop; i++)
        nap(); /* RootService needs another round to move the rows to the history */
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    PUT(db,
        "INSERT INTO __all_restore_history (gmt_create, gmt_modified, job_id, external_job_id, tenant_id, tenant_name, "
        "status, start_time, completion_time, pg_count, finish_pg_count, partition_count, finish_partition_count, "
        "macro_block_count, finish_macro_block_count, info, restore_data_version, backup_dest, restore_option, "
        "backup_set_list, backup_piece_list) SELECT gmt_create, gmt_modified, job_id, external_job_id, tenant_id, "
        "tenant_name, status, start_time, completion_time, pg_count, finish_pg_count, partition_count, "
        "finish_partition_count, macro_block_count, finish_macro_block_count, info, "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'restore_data_version'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_dest'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'restore_option'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_set_list'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_piece_list') "
        "FROM __all_restore_progress p WHERE job_id = ?1",
        n);
    PUT(db, "DELETE FROM __all_restore_progress WHERE job_id = ?1", n);
    PUT(db, "DELETE FROM __all_restore_info WHERE job_id = ?1", n);
    PUT(db, "DELETE FROM front_restore_job WHERE job_id = ?1", n);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    obs_log(j->host, "restore job %" PRId64 ": %s %s", j->id, ok ? "RESTORE_SUCCESS" : "RESTORE_FAIL", text);
}

/* What the job learned from the backup, as __all_restore_info shows it. */
static void note_result(sqlite3 *db, int64_t id, const json_t *result)
{
    static const struct {
        const char *name, *key;
    } NAMES[] = {{"backup_tenant_id", "backup_tenant_id"},       {"snapshot_version", "snapshot_version"},
                 {"schema_version", "schema_version"},           {"restore_schema_version", "schema_version"},
                 {"frozen_data_version", "backup_data_version"}, {"backup_locality", "locality"},
                 {"backup_primary_zone", "primary_zone"},        {"compat_mode", "compat_mode"},
                 {"backup_set_list", "backup_set_list"},         {"backup_piece_list", "backup_piece_list"}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        const json_t *v = json_object_get(result, NAMES[i].key);
        char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        if (text)
            set_info(db, id, NAMES[i].name, json_is_string(v) ? json_string_value(v) : text);
        free(text);
    }
    json_t *p = json_object_get(result, "pgs");
    char n[24];
    if (json_is_array(p))
        PUT(db, "UPDATE __all_restore_progress SET pg_count = ?2, finish_pg_count = ?2 WHERE job_id = ?1", num(n, id),
            num((char[24]){0}, (int64_t)json_array_size(p)));
}

static bool load(struct job *j, const json_t *request, const json_t *result, struct obs_err *err)
{
    const char *locality = text_at(request, "locality"), *zone = text_at(request, "primary_zone");
    const struct obs_load l = {
        .tenant_id = (uint64_t)j->tenant_id,
        .tenant_name = text_at(request, "dst_tenant_name"),
        .locality = *locality ? locality : text_at(result, "locality"),
        .primary_zone = *zone ? zone : text_at(result, "primary_zone"),
        .pool_list = text_at(request, "pool_list"),
        .compat_mode = int_at(result, "compat_mode"),
        .restore_data_version = int_at(request, "restore_data_version"),
        .dir = j->dir,
    };
    return obs_restore_load(j->host, &l, err) == 0;
}

static void run(struct job *j, sqlite3 *db)
{
    json_t *request = load_in(j->dir, "job.json");
    pid_t pid = request ? start_reader(j->host, j->dir) : -1;
    if (pid < 0) {
        finish(db, j, false, "reader cannot be started");
        json_decref(request);
        return;
    }
    bool ended = watch_reader(pid, j, db);
    json_t *result = ended ? load_in(j->dir, "result.json") : NULL;
    struct obs_err err = {0};
    if (ended && !result) {
        finish(db, j, false, "reader ended without a result");
    } else if (ended && int_at(result, "rc") != 0) {
        char text[600];
        snprintf(text, sizeof text, "ret=%" PRId64 ", %s: %s", int_at(result, "rc"), text_at(result, "state"),
                 text_at(result, "message"));
        finish(db, j, false, text);
    } else if (ended) {
        note_result(db, j->id, result);
        set_status(db, j->id, "RESTORE_USER_REPLICA");
        if (load(j, request, result, &err)) {
            set_status(db, j->id, "REBUILD_INDEX");
            set_status(db, j->id, "POST_CHECK");
            finish(db, j, true, "");
        } else {
            char text[300];
            snprintf(text, sizeof text, "ret=%d, %s", err.code, err.msg);
            finish(db, j, false, text);
        }
    }
    json_decref(result);
    json_decref(request);
}

static void *job_thread(void *arg)
{
    struct job *j = arg;
    sqlite3 *db = open_db(j->host);
    if (db)
        run(j, db);
    sqlite3_close(db);
    pthread_mutex_lock(&all.lock);
    j->done = true;
    pthread_mutex_unlock(&all.lock);
    return NULL;
}

static void reap(void)
{
    struct job *done = NULL;
    pthread_mutex_lock(&all.lock);
    for (struct job **p = &all.jobs; *p;) {
        struct job *j = *p;
        if (j->done) {
            *p = j->next;
            j->next = done;
            done = j;
        } else {
            p = &j->next;
        }
    }
    pthread_mutex_unlock(&all.lock);
    while (done) {
        struct job *j = done;
        done = j->next;
        pthread_join(j->thread, NULL);
        free(j);
    }
}

static bool start_thread(struct host *h, int64_t id, int64_t tenant_id, const char *dir)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return false;
    *j = (struct job){.host = h, .id = id, .tenant_id = tenant_id};
    snprintf(j->dir, sizeof j->dir, "%s", dir);
    pthread_mutex_lock(&all.lock);
    bool ok = pthread_create(&j->thread, NULL, job_thread, j) == 0;
    if (ok) {
        j->next = all.jobs;
        all.jobs = j;
    }
    pthread_mutex_unlock(&all.lock);
    if (!ok)
        free(j);
    return ok;
}

/* ---- making a job ---- */

static int64_t ask_int(sqlite3 *db, const char *query)
{
    char text[32];
    return job_ask(db, query, NULL, text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

static int64_t cluster_version(struct host *h)
{
    char text[64];
    unsigned a = 3, b = 1, c = 5;
    if (job_parameter(h, "min_observer_version", text, sizeof text))
        sscanf(text, "%u.%u.%u", &a, &b, &c);
    return (int64_t)a << 32 | (int64_t)b << 16 | (int64_t)c;
}

static json_t *make_request(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                            int64_t id, int64_t tenant_id)
{
    return json_pack(
        "{s:I, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:b, s:s, s:s, s:s, s:s, s:[]}", "job_id",
        (json_int_t)id, "at", r->at ? r->at : "", "sources", r->at ? json_array() : sources(db), "backup_tenant_name",
        r->src_tenant, "backup_cluster_name", o->cluster_name, "backup_cluster_id", (json_int_t)o->cluster_id,
        "until_us", (json_int_t)r->until_us, "dst_tenant_id", (json_int_t)tenant_id, "dst_tenant_name", r->dst_tenant,
        "cluster_version", (json_int_t)cluster_version(h), "restore_data_version",
        (json_int_t)ask_int(db, "SELECT value FROM __all_zone WHERE zone = '' AND name = 'frozen_version'"), "gc_ts_us",
        (json_int_t)ask_int(db, "SELECT column_value FROM __all_core_table WHERE table_name = '__all_global_stat' AND "
                                "column_name = 'snapshot_gc_ts'"),
        "preview", r->preview ? 1 : 0, "passwords", r->passwords ? r->passwords : "", "locality", o->locality,
        "primary_zone", o->primary_zone, "pool_list", o->pool_list, "table_list");
}

static bool make_dir(struct host *h, const char *name, char *dir, size_t cap)
{
    const char *db = host_cluster_db(h);
    const char *slash = strrchr(db, '/');
    int base = slash ? (int)(slash - db) : 0;
    snprintf(dir, cap, "%.*s/restore", base, db);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return false;
    snprintf(dir, cap, "%.*s/restore/%s", base, db, name);
    return mkdir(dir, 0755) == 0 || errno == EEXIST;
}

static bool write_request(const char *dir, const json_t *request)
{
    char path[700], tmp[720];
    snprintf(path, sizeof path, "%s/job.json", dir);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    return request && json_dump_file(request, tmp, JSON_INDENT(1)) == 0 && rename(tmp, path) == 0;
}

/* RootService chooses sets and pieces before it makes the job: what is wrong with the sources is the statement's error.
 */
static int preview(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                   struct obs_err *err)
{
    static atomic_int serial;
    char name[64];
    struct job j = {.host = h};
    snprintf(name, sizeof name, "preview_%d_%d", host_self(h)->id, ++serial);
    json_t *request = make_request(h, db, r, o, 0, 0);
    json_object_set_new(request, "preview", json_true());
    bool ok = make_dir(h, name, j.dir, sizeof j.dir) && write_request(j.dir, request);
    json_decref(request);
    pid_t pid = ok ? start_reader(h, j.dir) : -1;
    if (pid < 0 || !watch_reader(pid, &j, NULL))
        return job_fail(err, OB_ERR_UNEXPECTED, "reader cannot be started");
    json_t *result = load_in(j.dir, "result.json");
    int rc = 0;
    if (!result)
        rc = job_fail(err, OB_ERR_UNEXPECTED, "reader ended without a result");
    else if (int_at(result, "rc") != 0)
        rc = job_fail(err, (int)int_at(result, "rc"), "%s", text_at(result, "message"));
    json_decref(result);
    return rc;
}

static void insert_rows(sqlite3 *db, int64_t now_us, const struct obs_restore *r, const struct job_option *o,
                        const json_t *request)
{
    char n[24], number[24];
    int64_t id = int_at(request, "job_id");
    char *list = json_dumps(json_object_get(request, "sources"), JSON_COMPACT);
    const struct {
        const char *name, *value;
    } ROWS[] = {{"status", "CREATE_TENANT"},           {"tenant_name", r->dst_tenant},
                {"backup_tenant_name", r->src_tenant}, {"backup_cluster_name", o->cluster_name},
                {"pool_list", o->pool_list},           {"locality", o->locality},
                {"primary_zone", o->primary_zone},     {"restore_option", r->options},
                {"backup_dest", r->at ? r->at : list}, {"info", ""}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        set_info(db, id, ROWS[i].name, ROWS[i].value ? ROWS[i].value : "");
    set_info(db, id, "tenant_id", num(number, int_at(request, "dst_tenant_id")));
    set_info(db, id, "cluster_id", num(number, o->cluster_id));
    set_info(db, id, "restore_job_id", num(number, o->external_id));
    set_info(db, id, "restore_timestamp", num(number, r->until_us));
    set_info(db, id, "restore_data_version", num(number, int_at(request, "restore_data_version")));
    set_info(db, id, "restore_start_ts", num(number, now_us));
    free(list);
    PUT(db,
        "INSERT INTO __all_restore_progress (gmt_create, gmt_modified, job_id, external_job_id, tenant_id, "
        "tenant_name, "
        "status, start_time, pg_count, finish_pg_count, partition_count, finish_partition_count, macro_block_count, "
        "finish_macro_block_count, info) VALUES (strftime('%Y-%m-%d %H:%M:%f000', 'now'), "
        "strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?1, ?2, ?3, ?4, 'CREATE_TENANT', "
        "strftime('%Y-%m-%d %H:%M:%f000', 'now'), 0, 0, 0, 0, 0, 0, '')",
        num(n, id), num(number, o->external_id), num((char[24]){0}, int_at(request, "dst_tenant_id")), r->dst_tenant);
}

static int make_job(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                    int64_t *job_id, struct obs_err *err)
{
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    int64_t id = 1 + ask_int(db, "SELECT MAX(job_id) FROM (SELECT job_id FROM __all_restore_history UNION ALL "
                                 "SELECT job_id FROM __all_restore_info)");
    int64_t tenant =
        1 + ask_int(db, "SELECT MAX(CAST(t AS INTEGER)) FROM (SELECT 1000 AS t UNION ALL SELECT tenant_id FROM "
                        "__all_tenant UNION ALL SELECT tenant_id FROM __all_tenant_history UNION ALL SELECT "
                        "value FROM __all_restore_info WHERE name = 'tenant_id' UNION ALL SELECT tenant_id "
                        "FROM __all_restore_history)");
    char name[24], host[24], dir[600];
    json_t *request = make_request(h, db, r, o, id, tenant);
    bool ok = make_dir(h, num(name, id), dir, sizeof dir) && write_request(dir, request);
    if (ok) {
        insert_rows(db, host_now(h), r, o, request);
        ok = PUT(db, "INSERT INTO front_restore_job VALUES (?1, ?2, ?3)", name, num(host, host_self(h)->id), dir);
    }
    ok = sqlite3_exec(db, ok ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK && ok;
    json_decref(request);
    if (!ok || !start_thread(h, id, tenant, dir))
        return job_fail(err, OB_ERR_UNEXPECTED, "job cannot be made");
    *job_id = id;
    obs_log(h, "restore job %" PRId64 ": %s from %s until %" PRId64, id, r->dst_tenant, r->src_tenant, r->until_us);
    return 0;
}

int obs_sql_restore(struct host *h, const struct obs_restore *r, int64_t *job_id, struct obs_err *err)
{
    reap();
    *job_id = 0;
    sqlite3 *db = open_db(h);
    if (!db)
        return job_fail(err, OB_ERR_UNEXPECTED, "cluster.db cannot be opened");
    struct job_option o;
    int rc = job_check(h, db, r, &o, err);
    int64_t added = ask_int(db, "SELECT COUNT(*) FROM front_restore_source");
    if (rc == 0 && r->at && added)
        rc = job_fail(err, OB_NOT_SUPPORTED, "AT together with added restore sources is not supported");
    if (rc == 0 && !r->at && !added)
        rc = job_fail(err, OB_INVALID_ARGUMENT, "neither AT nor a restore source is given");
    if (rc == 0)
        rc = preview(h, db, r, &o, err);
    if (rc == 0 && !r->preview)
        rc = make_job(h, db, r, &o, job_id, err);
    sqlite3_close(db);
    return rc;
}

void job_start_all(struct host *h)
{
    all.stop = false;
    sqlite3 *db = open_db(h);
    sqlite3_stmt *q = NULL;
    if (db &&
        sqlite3_prepare_v2(db,
                           "SELECT j.job_id, j.dir, i.value FROM front_restore_job j JOIN __all_restore_info i ON "
                           "i.job_id = j.job_id AND i.name = 'tenant_id' WHERE j.host = ?1",
                           -1, &q, NULL) == SQLITE_OK) {
        sqlite3_bind_int(q, 1, host_self(h)->id);
        while (sqlite3_step(q) == SQLITE_ROW)
            start_thread(h, sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 2),
                         (const char *)sqlite3_column_text(q, 1));
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
}

void job_stop_all(void)
{
    all.stop = true;
    pthread_mutex_lock(&all.lock);
    struct job *list = all.jobs;
    all.jobs = NULL;
    pthread_mutex_unlock(&all.lock);
    while (list) {
        struct job *j = list;
        list = j->next;
        pthread_join(j->thread, NULL);
        free(j);
    }
}

json_t *obs_restore_jobs(struct host *h)
{
    json_t *jobs = json_array();
    sqlite3 *db = open_db(h);
    sqlite3_stmt *q = NULL;
    if (db &&
        sqlite3_prepare_v2(db,
                           "SELECT job_id, tenant_id, tenant_name, status, info FROM __all_restore_progress UNION ALL "
                           "SELECT job_id, tenant_id, tenant_name, status, info FROM __all_restore_history "
                           "ORDER BY job_id",
                           -1, &q, NULL) == SQLITE_OK)
        while (sqlite3_step(q) == SQLITE_ROW)
            json_array_append_new(jobs, json_pack("{s:I, s:I, s:s, s:s, s:s*}", "job_id",
                                                  (json_int_t)sqlite3_column_int64(q, 0), "tenant_id",
                                                  (json_int_t)sqlite3_column_int64(q, 1), "tenant_name",
                                                  sqlite3_column_text(q, 2), "status", sqlite3_column_text(q, 3),
                                                  "info", sqlite3_column_text(q, 4)));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return json_pack("{s:b, s:o}", "ok", 1, "jobs", jobs);
}
