#define OBV_LOG_MOD "assign"
#include "assign/registry_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define JUMP_US (2 * OBV_US_PER_S)

/* Deadlines and times of this process must not jump with the host's clock. */
static int64_t real_us(void *ctx)
{
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
    static obv_steady steady;
    int64_t off = 0;
    (void)ctx;
    (void)pthread_mutex_lock(&mu);
    const int64_t now = obv_steady_us(&steady, obv_now_us(), obv_mono_ns(), &off);
    (void)pthread_mutex_unlock(&mu);
    if (off > JUMP_US || off < -JUMP_US)
        OBV_WARN_EVERY(600, "this host's clock jumped by about %lld s: it is followed slowly, or at the next start",
                       (long long)(off / OBV_US_PER_S));
    return now;
}
static int64_t real_ns(void *ctx)
{
    (void)ctx;
    return obv_mono_ns();
}
obv_clock obv_clock_real(void) { return (obv_clock){real_us, real_ns, NULL}; }

obv_code obv_registry_new(obv_state *s, const obv_clock *clock, obv_registry **out, obv_err *err)
{
    obv_registry *r = calloc(1, sizeof *r);
    if (!r)
        return obv_fail(err, OBV_E_NOMEM, 0, "registry");
    r->s = s;
    r->clock = *clock;
    r->started_ns = obv_clock_ns(clock);
    *out = r;
    return OBV_OK;
}

void obv_registry_free(obv_registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->agents[i]);
    free(r);
}

void obv_registry_set_cluster(obv_registry *r, const char *name, uint64_t id)
{
    OBV_STATE_READ(r->s);
    (void)snprintf(r->cluster_name, sizeof r->cluster_name, "%s", name);
    r->cluster_id = id;
}

void obv_registry_set_round(obv_registry *r, int64_t round, bool stop)
{
    OBV_STATE_READ(r->s);
    r->round = round;
    r->round_stop = stop;
}

void obv_registry_set_piece(obv_registry *r, int64_t piece, int64_t date, bool told)
{
    OBV_STATE_READ(r->s);
    r->piece = piece;
    r->piece_date = date;
    r->piece_told = told;
}

bool obv_registry_told_piece(obv_registry *r, int64_t piece)
{
    OBV_STATE_READ(r->s);
    return r->piece_told && r->piece == piece;
}

void obv_registry_hold(obv_registry *r, bool on)
{
    OBV_STATE_READ(r->s);
    r->hold = on;
}

live *registry_find(obv_registry *r, const char *agent_id)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->agents[i]->h.agent_id, agent_id) == 0)
            return r->agents[i];
    return NULL;
}

/* An agent that was not heard of since the coordinator's own start may still be at work under its old lease. */
static int64_t silent_ns(const obv_registry *r, const live *a)
{
    return obv_clock_ns(&r->clock) - (a ? a->seen_ns : r->started_ns);
}

bool registry_alive(const obv_registry *r, const live *a, uint32_t ms)
{
    return a && silent_ns(r, a) < (int64_t)ms * OBV_NS_PER_MS;
}

bool obv_registry_alive(obv_registry *r, const char *agent_id)
{
    OBV_STATE_READ(r->s);
    return registry_alive(r, registry_find(r, agent_id), OBV_LEASE_MS);
}

bool obv_registry_settled(obv_registry *r)
{
    OBV_STATE_READ(r->s);
    return silent_ns(r, NULL) >= (int64_t)OBV_LEASE_MS * OBV_NS_PER_MS;
}

static int by_id(const void *a, const void *b)
{
    const obv_live_agent *x = a, *y = b;
    return strcmp(x->hello.agent_id, y->hello.agent_id);
}

size_t obv_registry_agents(obv_registry *r, obv_live_agent *out, size_t cap)
{
    OBV_STATE_READ(r->s);
    obv_repository repo = {0};
    const bool have_repo = obv_state_repository(r->s, &repo, NULL) == OBV_OK;
    size_t n = 0;
    for (size_t i = 0; i < r->count && n < cap; i++) {
        const live *a = r->agents[i];
        obv_live_agent *o = &out[n++];
        *o = (obv_live_agent){.hello = a->h,
                              .alive = registry_alive(r, a, OBV_LEASE_MS),
                              .known = have_repo && strcmp(repo.uuid, a->h.repository_uuid) == 0,
                              .seen_ns = a->seen_ns,
                              .revision = a->have_all ? a->have_revision : 0,
                              .want_revision = a->revision};
        (void)!obv_task_batches_of(r->s, a->h.agent_id, &o->batches, NULL);
        for (size_t t = 0; t < a->tenant_count; t++)
            o->fenced =
                o->fenced || (a->tenants[t].error.code == OBV_E_FENCED && a->tenants[t].revision == a->revision);
        for (size_t t = 0; t < a->task_count; t++) {
            o->bytes_read += a->tasks[t].bytes_read;
            o->bytes_written += a->tasks[t].bytes_written;
            o->blocks_done += a->tasks[t].blocks_done;
        }
    }
    qsort(out, n, sizeof *out, by_id);
    return n;
}

obv_code obv_registry_archive(obv_registry *r, const char *agent_id, uint64_t tenant, obv_tenant_archive *out,
                              obv_err *err)
{
    OBV_STATE_READ(r->s);
    const live *a = registry_find(r, agent_id);
    for (size_t i = 0; a && i < a->tenant_count; i++)
        if (a->tenants[i].tenant_id == tenant) {
            *out = a->tenants[i];
            return OBV_OK;
        }
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "agent %s said nothing about tenant %llu", agent_id,
                    (unsigned long long)tenant);
}

obv_code obv_registry_revision(obv_registry *r, const char *agent_id, uint64_t *out, obv_err *err)
{
    OBV_STATE_READ(r->s);
    const live *a = registry_find(r, agent_id);
    if (!a)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "agent %s was not heard of", agent_id);
    *out = a->revision;
    return OBV_OK;
}

obv_code obv_registry_touch(obv_registry *r, const char *agent_id, uint64_t *revision, obv_err *err)
{
    int64_t next = 0, top = 0;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(r->s, &tx, err));
    OBV_TRY(obv_state_next(r->s, "revision", &next, err));
    OBV_TRY(obv_db_i64(obv_state_db(r->s), err, &top, "SELECT coalesce(max(revision), 0) FROM agents"));
    live *a = registry_find(r, agent_id);
    /* Agents drop lists of older revisions and trust one that they have: a number is never used twice, also after a
     * commit that failed and for agents that outlive this database. */
    const int64_t now = obv_clock_us(&r->clock);
    next = now > next ? now : next;
    next = top >= next ? top + 1 : next;
    if (a && a->revision >= (uint64_t)next)
        next = (int64_t)a->revision + 1;
    OBV_TRY(obv_db_run(obv_state_db(r->s), err, "UPDATE agents SET revision = ? WHERE agent_id = ?", obv_db_i(next),
                       obv_db_s(agent_id)));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_STATE_READ(r->s);
    if (a) {
        a->revision = (uint64_t)next;
        a->have_all = false;
    }
    *revision = (uint64_t)next;
    return OBV_OK;
}

void obv_registry_progress(obv_registry *r, const char *job_id, uint64_t *bytes_read, uint64_t *bytes_written,
                           uint64_t *blocks_done)
{
    OBV_STATE_READ(r->s);
    const size_t n = strlen(job_id);
    *bytes_read = *bytes_written = *blocks_done = 0;
    for (size_t i = 0; i < r->count; i++)
        for (size_t t = 0; t < r->agents[i]->task_count; t++) {
            const live_task *k = &r->agents[i]->tasks[t];
            if (strncmp(k->uid, job_id, n) != 0 || k->uid[n] != '/')
                continue;
            *bytes_read += k->bytes_read;
            *bytes_written += k->bytes_written;
            *blocks_done += k->blocks_done;
        }
}

/* ---- what lost agents held */

typedef struct held {
    obv_registry *r;
    obv_task tasks[OBV_AGENT_TASKS_MAX];
    size_t n;
} held;

static obv_code collect(void *ctx, const obv_task *t, obv_err *err)
{
    (void)err;
    held *h = ctx;
    if (h->n < OBV_AGENT_TASKS_MAX)
        h->tasks[h->n++] = *t;
    return OBV_OK;
}

static obv_code give_up_batch(obv_registry *r, obv_task *t, obv_err *err)
{
    t->status = OBV_TASK_LOST;
    (void)obv_fail(&t->error, OBV_E_UNAVAILABLE, 0, "agent %s was not heard of for %u s", t->agent_id,
                   OBV_BATCH_LOST_MS / 1000);
    OBV_TRY(obv_task_save(r->s, t, err));
    return obv_db_run(obv_state_db(r->s), err,
                      "UPDATE pgs SET state = 3, code = ?, message = ? WHERE task_uid = ? AND state = 1",
                      obv_db_i(t->error.code), obv_db_s(t->error.msg), obv_db_s(t->uid));
}

static obv_code sweep_agent(obv_registry *r, const char *agent_id, obv_err *err)
{
    const live *a = registry_find(r, agent_id);
    const int64_t silent_ms = silent_ns(r, a) / OBV_NS_PER_MS;
    if (silent_ms < OBV_REASSIGN_MS)
        return OBV_OK;
    held *h = calloc(1, sizeof *h);
    if (!h)
        return obv_fail(err, OBV_E_NOMEM, 0, "sweep");
    obv_code code = obv_task_of_agent(r->s, agent_id, collect, h, err);
    for (size_t i = 0; i < h->n && code == OBV_OK; i++) {
        obv_task *t = &h->tasks[i];
        if (t->kind == OBV_TASK_PUT_FILES || t->kind == OBV_TASK_INIT_REPOSITORY ||
            t->kind == OBV_TASK_VERIFY_OBJECTS) {
            OBV_WARN("agent %s is silent for %lld ms: task %s goes to another", agent_id, (long long)silent_ms, t->uid);
            code = obv_task_again(r->s, t, 0, err);
        } else if (t->kind == OBV_TASK_BATCH && silent_ms >= OBV_BATCH_LOST_MS) {
            OBV_WARN("agent %s is silent for %lld ms: batch %s is given up", agent_id, (long long)silent_ms, t->uid);
            code = give_up_batch(r, t, err);
        }
    }
    free(h);
    return code;
}

obv_code obv_registry_sweep(obv_registry *r, obv_err *err)
{
    char ids[OBV_AGENTS_MAX][OBV_AGENT_ID_MAX];
    size_t n = 0;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(r->s, &tx, err));
    {
        OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
        OBV_TRY(obv_db_query_args(obv_state_db(r->s),
                                  "SELECT DISTINCT agent_id FROM tasks WHERE status = 1 AND agent_id <> ''", NULL, 0,
                                  &rows, err));
        for (obv_code code; n < OBV_AGENTS_MAX && (code = obv_rows_next(rows, err)) != OBV_E_NOT_FOUND;) {
            OBV_TRY(code);
            obv_rows_copy(rows, 0, ids[n++], OBV_AGENT_ID_MAX);
        }
    }
    for (size_t i = 0; i < n; i++)
        OBV_TRY(sweep_agent(r, ids[i], err));
    return obv_state_commit(&tx, err);
}
