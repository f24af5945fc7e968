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

#define JOB_PATH 600 /* bytes of a job's folder */

struct job {
    struct job *next;
    struct host *host;
    pthread_t thread;
    int64_t id, tenant_id;
    char dir[JOB_PATH];
    bool done; /* the thread may be joined */
};

static struct {
    pthread_mutex_t lock;
    struct job *jobs;
    atomic_bool stop;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); }

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
    /* our threads keep SIGTERM blocked; a child that inherits that could not end its own workers */
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
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

/* DROP TENANT of the tenant that the job makes, asked of whichever host. */
static bool dropped(const struct job *j)
{
    char path[700];
    snprintf(path, sizeof path, "%s/dropped", j->dir);
    return access(path, F_OK) == 0;
}

/* Waits for the child; db = NULL: without any tables (preview). @return false: told to stop, the child was ended */
static bool watch_reader(pid_t pid, struct job *j, sqlite3 *db)
{
    char last[64] = "CREATE_TENANT";
    for (int status;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        json_t *p = db ? load_in(j->dir, "progress.json") : NULL;
        if (p) {
            const char *state = job_text(p, "status");
            if (*state && strncmp(state, "RESTORE_SUCCESS", 15) != 0 && strncmp(state, "RESTORE_FAIL", 12) != 0 &&
                strcmp(state, last) != 0) {
                snprintf(last, sizeof last, "%s", state);
                job_status(db, j->id, state);
            }
            job_progress(db, j->id, p);
            json_decref(p);
        }
        if (got == pid || (got < 0 && errno != EINTR))
            return true;
        if (all.stop || dropped(j)) {
            kill(-pid, SIGTERM);
            waitpid(pid, &status, 0);
            return false;
        }
        nap();
    }
}

/* ---- job ---- */

#define OB_EAGAIN (-4023)

/* "Local schema is old": RootService tries CREATE_USER_PARTITIONS again and again, and nothing ever changes. */
static void try_for_ever(struct job *j, sqlite3 *db)
{
    job_status(db, j->id, "CREATE_USER_PARTITIONS");
    while (!all.stop && !dropped(j))
        nap();
}

static void finish(sqlite3 *db, struct job *j, bool ok, const char *text)
{
    job_end(db, j->id, ok, text);
    for (int i = 0; i < 10 && !all.stop; i++)
        nap(); /* RootService needs another round to move the rows to the history */
    job_to_history(db, j->id, j->tenant_id);
    obs_log(j->host, "restore job %" PRId64 ": %s %s", j->id, ok ? "RESTORE_SUCCESS" : "RESTORE_FAIL", text);
}

static bool load(struct job *j, const json_t *request, const json_t *result, struct obs_err *err)
{
    const char *locality = job_text(request, "locality"), *zone = job_text(request, "primary_zone");
    const struct obs_load l = {
        .tenant_id = (uint64_t)j->tenant_id,
        .tenant_name = job_text(request, "dst_tenant_name"),
        .locality = *locality ? locality : job_text(result, "locality"),
        .primary_zone = *zone ? zone : job_text(result, "primary_zone"),
        .pool_list = job_text(request, "pool_list"),
        .compat_mode = job_int(result, "compat_mode"),
        .restore_data_version = job_int(request, "restore_data_version"),
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
    if (ended && result && job_int(result, "rc") == OB_EAGAIN) {
        try_for_ever(j, db);
        ended = false;
    }
    if (dropped(j)) {
        finish(db, j, false, "ret=-5157, tenant was dropped");
    } else if (ended && !result) {
        finish(db, j, false, "reader ended without a result");
    } else if (ended && job_int(result, "rc") != 0) {
        char text[600];
        snprintf(text, sizeof text, "ret=%" PRId64 ", %s: %s", job_int(result, "rc"), job_text(result, "state"),
                 job_text(result, "message"));
        finish(db, j, false, text);
    } else if (ended) {
        job_note_result(db, j->id, result);
        job_show_pgs(db, j->tenant_id, result);
        job_status(db, j->id, "RESTORE_USER_REPLICA");
        if (load(j, request, result, &err)) {
            job_status(db, j->id, "REBUILD_INDEX");
            job_status(db, j->id, "POST_CHECK");
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
    sqlite3 *db = job_open_db(j->host);
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
        (json_int_t)id, "at", r->at ? r->at : "", "sources", job_sources(r->at ? NULL : r->sources),
        "backup_tenant_name", r->src_tenant, "backup_cluster_name", o->cluster_name, "backup_cluster_id",
        (json_int_t)o->cluster_id, "until_us", (json_int_t)r->until_us, "dst_tenant_id", (json_int_t)tenant_id,
        "dst_tenant_name", r->dst_tenant, "cluster_version", (json_int_t)cluster_version(h), "restore_data_version",
        (json_int_t)job_ask_int(db, "SELECT value FROM __all_zone WHERE zone = '' AND name = 'frozen_version'"),
        "gc_ts_us",
        (json_int_t)job_ask_int(db,
                                "SELECT column_value FROM __all_core_table WHERE table_name = '__all_global_stat' AND "
                                "column_name = 'snapshot_gc_ts'"),
        "preview", r->preview ? 1 : 0, "passwords", r->passwords ? r->passwords : "", "locality", o->locality,
        "primary_zone", o->primary_zone, "pool_list", o->pool_list, "table_list");
}

/* C/restore/<name> */
static bool make_dir(struct host *h, const char *name, char dir[JOB_PATH])
{
    const char *db = host_cluster_db(h);
    const char *slash = strrchr(db, '/');
    size_t base = slash ? (size_t)(slash - db) : 0;
    if (base + strlen("/restore/") + strlen(name) >= JOB_PATH)
        return false;
    memcpy(dir, db, base);
    strcpy(dir + base, "/restore");
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return false;
    strcat(strcat(dir, "/"), name);
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
    bool ok = make_dir(h, name, j.dir) && write_request(j.dir, request);
    json_decref(request);
    pid_t pid = ok ? start_reader(h, j.dir) : -1;
    if (pid < 0 || !watch_reader(pid, &j, NULL))
        return job_fail(err, OB_ERR_UNEXPECTED, "reader cannot be started");
    json_t *result = load_in(j.dir, "result.json");
    int rc = 0;
    if (!result)
        rc = job_fail(err, OB_ERR_UNEXPECTED, "reader ended without a result");
    else if (job_int(result, "rc") != 0)
        rc = job_fail(err, (int)job_int(result, "rc"), "%s", job_text(result, "message"));
    json_decref(result);
    return rc;
}

static int make_job(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                    int64_t *job_id, struct obs_err *err)
{
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    int64_t id = 1 + job_ask_int(db, "SELECT MAX(job_id) FROM (SELECT job_id FROM __all_restore_history UNION ALL "
                                     "SELECT job_id FROM __all_restore_info)");
    int64_t tenant =
        1 + job_ask_int(db, "SELECT MAX(CAST(t AS INTEGER)) FROM (SELECT 1000 AS t UNION ALL SELECT tenant_id FROM "
                            "__all_tenant UNION ALL SELECT tenant_id FROM __all_tenant_history UNION ALL SELECT "
                            "value FROM __all_restore_info WHERE name = 'tenant_id' UNION ALL SELECT tenant_id "
                            "FROM __all_restore_history)");
    char name[24], dir[JOB_PATH];
    snprintf(name, sizeof name, "%" PRId64, id);
    json_t *request = make_request(h, db, r, o, id, tenant);
    bool ok = make_dir(h, name, dir) && write_request(dir, request);
    ok = ok && job_insert(h, db, r, o, request, dir);
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
    sqlite3 *db = job_open_db(h);
    if (!db)
        return job_fail(err, OB_ERR_UNEXPECTED, "cluster.db cannot be opened");
    struct job_option o;
    int rc = job_check(h, db, r, &o, err);
    bool added = r->sources && *r->sources;
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

int obs_sql_drop_tenant(struct host *h, const char *name, struct obs_err *err)
{
    char tenant[32], dir[JOB_PATH];
    int rc = 0;
    sqlite3 *db = job_open_db(h);
    if (!db)
        return job_fail(err, OB_ERR_UNEXPECTED, "cluster.db cannot be opened");
    if (job_ask(db,
                "SELECT j.dir FROM front_restore_job j JOIN __all_restore_progress p ON p.job_id = j.job_id "
                "WHERE p.tenant_name = ?1",
                name, dir, sizeof dir)) {
        char path[700];
        snprintf(path, sizeof path, "%s/dropped", dir);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        rc = fd < 0 ? job_fail(err, OB_ERR_UNEXPECTED, "job cannot be told") : 0;
        if (fd >= 0)
            close(fd);
    } else if (job_ask(db, "SELECT tenant_id FROM __all_tenant WHERE tenant_name = ?1", name, tenant, sizeof tenant)) {
        json_t *req = json_pack("{s:s, s:s, s:I}", "verb", "tenant", "op", "drop", "tenant",
                                (json_int_t)strtoll(tenant, NULL, 10));
        json_t *a = obs_control(h, req);
        if (!json_is_true(json_object_get(a, "ok")))
            rc = job_fail(err, (int)job_int(a, "code"), "drop failed");
        json_decref(a);
        json_decref(req);
    } else {
        rc = job_fail(err, OB_TENANT_NOT_EXIST, "Unknown tenant '%s'", name);
    }
    sqlite3_close(db);
    return rc;
}

void job_start_all(struct host *h)
{
    all.stop = false;
    sqlite3 *db = job_open_db(h);
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
