#include "coordinator/world.h"

#include "base/log.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/repo_init.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_US INT64_C(1700000000000000)

static int64_t now_us(void *ctx) { return ((world *)ctx)->now_us; }
static int64_t mono_ns(void *ctx) { return ((world *)ctx)->mono_ns; }

static obv_code source(void *ctx, obv_cluster **out, obv_err *err)
{
    (void)err;
    *out = &((world *)ctx)->cluster.base;
    return OBV_OK;
}
static obv_code target(void *ctx, const char *name, obv_cluster **out, obv_err *err)
{
    if (strcmp(name, "standby") != 0)
        return obv_fail(err, OBV_E_INVAL, 0, "no target %s", name);
    *out = &((world *)ctx)->target.base;
    return OBV_OK;
}
static obv_code pin(void *ctx, const char *tenant, obv_cluster **out, obv_err *err)
{
    if (strcmp(tenant, "t1001") != 0 || ((world *)ctx)->pin.down)
        return obv_fail(err, ((world *)ctx)->pin.down ? OBV_E_UNAVAILABLE : OBV_E_NOT_FOUND, 0, "pin of %s", tenant);
    *out = &((world *)ctx)->pin.base;
    return OBV_OK;
}
obv_clusters world_clusters(world *w) { return (obv_clusters){source, target, pin, w}; }

static void coordinator_up(world *w)
{
    obv_err err = {0};
    obv_repository r;
    if (obv_state_open(w->dir, &w->state, &err) != OBV_OK) {
        print_error("%s\n", err.msg);
        fail();
    }
    assert_int_equal(obv_job_deadlines_anew(w->state, obv_clock_us(&w->clock), &err), OBV_OK);
    assert_int_equal(obv_registry_new(w->state, &w->clock, &w->registry, &err), OBV_OK);
    if (obv_state_repository(w->state, &r, &err) == OBV_OK)
        obv_registry_set_cluster(w->registry, r.cluster_name, r.cluster_id);
    for (size_t i = 0; i < WORLD_KINDS; i++)
        w->ctx[i] = (obv_job_ctx){
            .s = w->state, .reg = w->registry, .clock = w->clock, .cfg = &w->settings, .clusters = world_clusters(w)};
    assert_int_equal(obv_archive_resume(&w->ctx[OBV_JOB_ARCHIVE], &err), OBV_OK);
}

static void coordinator_down(world *w)
{
    for (size_t i = 0; i < WORLD_KINDS; i++)
        if (w->ctx[i].memory)
            w->ctx[i].memory_free(w->ctx[i].memory);
    obv_registry_free(w->registry);
    obv_state_close(w->state);
}

void world_begin(world *w)
{
    memset(w, 0, sizeof *w);
    struct stat st;
    const bool shm = stat("/dev/shm", &st) == 0 && access("/dev/shm", W_OK) == 0;
    (void)snprintf(w->dir, sizeof w->dir, "%s/obv-world-XXXXXX", shm ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w->dir));
    obv_log_set_fd(getenv("OBV_TEST_LOG") ? STDERR_FILENO : -1);
    w->now_us = START_US;
    w->mono_ns = INT64_C(1000000000000);
    w->clock = (obv_clock){now_us, mono_ns, w};
    w->settings = (obv_settings){.profile = "native",
                                 .uri = "file:///backup",
                                 .checkpoint_s = 1,
                                 .flush_ms = 1000,
                                 .compressor = 1,
                                 .batch_pgs = 4,
                                 .per_agent = 1,
                                 .leaders_s = 5,
                                 .begin_s = 120,
                                 .step_s = 30,
                                 .passes_max = 8,
                                 .closing_s = 600,
                                 .settle_s = 20,
                                 .gap_warn_s = 3600,
                                 .event_days = 90,
                                 .event_max = 1000};
    w->media = obv_map_new();
    world_cluster_begin(&w->cluster, w);
    world_cluster_begin(&w->target, w);
    world_cluster_begin(&w->pin, w);
    for (unsigned i = 0; i < WORLD_HOSTS; i++)
        world_agent_begin(&w->agents[i], w, i);
    coordinator_up(w);
}

static void free_buf(void *p)
{
    obv_buf_fini(p);
    free(p);
}

void world_end(world *w)
{
    coordinator_down(w);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        world_agent_end(&w->agents[i]);
    obv_map_free(w->media, free_buf);
    char path[128];
    static const char *const NAMES[] = {"coordinator.db", "coordinator.db-wal", "coordinator.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->dir, NAMES[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
}

void world_restart(world *w)
{
    coordinator_down(w);
    coordinator_up(w);
}

void world_store(world *w, const char *path, obv_span bytes)
{
    obv_buf *b = calloc(1, sizeof *b);
    void *old = NULL;
    obv_err err = {0};
    assert_non_null(b);
    *b = obv_buf_heap(64u << 20);
    obv_buf_append(b, bytes.p, bytes.len);
    assert_int_equal(obv_map_put(w->media, obv_span_str(path), b, &old, &err), OBV_OK);
    if (old)
        free_buf(old);
    w->puts++;
}

bool world_has_file(world *w, const char *path) { return obv_map_get(w->media, obv_span_str(path)) != NULL; }

obv_span world_file(world *w, const char *path)
{
    const obv_buf *b = obv_map_get(w->media, obv_span_str(path));
    if (!b) {
        print_error("no file %s\n", path);
        fail();
    }
    return obv_buf_span(b);
}

void world_turn(world *w)
{
    obv_err err = {0};
    uint32_t ms = 0;
    w->now_us += 200000;
    w->mono_ns += INT64_C(200000000);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (!w->agents[i].silent)
            world_agent_call(&w->agents[i]);
    assert_int_equal(obv_registry_sweep(w->registry, &err), OBV_OK);
    for (int kind = OBV_JOB_REPO_INIT; kind < WORLD_KINDS; kind++)
        if (obv_runner_pass(&w->ctx[kind], (obv_job_kind)kind, &ms, &err) != OBV_OK) {
            print_error("%s\n", err.msg);
            fail();
        }
}

void world_run(world *w, size_t most, world_until *until, const void *arg)
{
    for (size_t i = 0; i < most; i++) {
        if (until(w, arg))
            return;
        world_turn(w);
    }
    print_error("not after %zu turns\n", most);
    fail();
}

bool world_job_ended(world *w, const void *job_id)
{
    obv_job j;
    obv_err err = {0};
    assert_int_equal(obv_job_get(w->state, job_id, &j, &err), OBV_OK);
    return j.status != OBV_JOB_RUNNING;
}

typedef struct least {
    int64_t at;
    size_t n;
} least;

static obv_code see(void *ctx, const obv_round_tenant *t, obv_err *err)
{
    least *l = ctx;
    (void)err;
    if (l->n == 0 || t->checkpoint_ts < l->at)
        l->at = t->checkpoint_ts;
    l->n++;
    return OBV_OK;
}

bool world_archive_has(world *w, const void *checkpoint_us)
{
    obv_round r;
    obv_err err = {0};
    least l = {0};
    if (obv_round_last(w->state, &r, &err) != OBV_OK)
        return false;
    assert_int_equal(obv_round_tenant_each(w->state, r.round, see, &l, &err), OBV_OK);
    return l.n > 0 && l.at > 0 && l.at >= *(const int64_t *)checkpoint_us;
}

static void must(obv_code code, const obv_err *err)
{
    if (code == OBV_OK)
        return;
    print_error("%s\n", err->msg);
    fail();
}

void world_repo_init(world *w)
{
    obv_job j;
    obv_err err = {0};
    world_turn(w);
    must(obv_repo_init_begin(&w->ctx[OBV_JOB_REPO_INIT], &w->cluster.base, "", &j, &err), &err);
    world_run(w, 50, world_job_ended, j.id);
    world_turn(w); /* agents tell that they see it */
}

obv_job world_archive(world *w)
{
    obv_job j;
    obv_err err = {0};
    must(obv_archive_begin_round(&w->ctx[OBV_JOB_ARCHIVE], &w->cluster.base, "", &j, &err), &err);
    return j;
}

void world_begin_archived(world *w)
{
    world_repo_init(w);
    (void)world_archive(w);
    const int64_t at = w->now_us;
    world_run(w, 200, world_archive_has, &at);
}

obv_job world_job(world *w, const obv_job *j)
{
    obv_job now;
    obv_err err = {0};
    must(obv_job_get(w->state, j->id, &now, &err), &err);
    return now;
}

obv_job world_ended(world *w, const obv_job *j, size_t most)
{
    world_run(w, most, world_job_ended, j->id);
    return world_job(w, j);
}

obv_set world_set(world *w)
{
    obv_set s;
    obv_err err = {0};
    must(obv_set_get(w->state, 1, &s, &err), &err);
    return s;
}

void world_lag(world *w, int64_t us)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        w->agents[i].archive_lag_us = us;
}

obv_job world_backup(world *w)
{
    obv_job j;
    obv_err err = {0};
    must(obv_backup_begin(&w->ctx[OBV_JOB_BACKUP], &w->cluster.base, "", &j, &err), &err);
    return j;
}
