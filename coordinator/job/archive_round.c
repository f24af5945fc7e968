#define OBV_LOG_MOD "archive"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"
#include "job/checks.h"
#include "job/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_WAIT_US (60 * OBV_US_PER_S)
#define BEGIN_LEADERS_NS (3 * OBV_NS_PER_S) /* agents may still be on their way */
#define STALL_NS (10 * OBV_NS_PER_S)        /* a checkpoint that stands still this long: look the leaders up */
#define STALL_LOOKS 5u                      /* then after twice that, up to 2^5 times */

/* Between steps; rebuilt after a restart. */
typedef struct memory {
    int64_t leaders_at_ns, publish_at_ns, told_at_us;
    int64_t stop_at_ns; /* the end was asked for, by what this process knows */
    uint64_t agents;    /* who was alive when leaders were last looked up */
    uint32_t looks;     /* because of the same stall */
    obv_stalls stalls;
} memory;

typedef struct tenants {
    obv_round_tenant *v;
    size_t n, cap;
} tenants;
static void tenants_fini(tenants *t) { free(t->v); }

static obv_code take_tenant(void *ctx, const obv_round_tenant *t, obv_err *err)
{
    obv_round_tenant *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *t;
    return OBV_OK;
}

/* ---- start and stop, called by operators */

obv_code obv_archive_begin_round(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err)
{
    obv_identity id;
    OBV_AUTO(obv_tenants_fini) obv_tenants t = {0};
    obv_own_archive own;
    bool found = false;
    if (obv_job_by_key(x->s, run_key, OBV_JOB_ARCHIVE, out, NULL) == OBV_OK)
        return OBV_OK;
    OBV_TRY(obv_check_alone(x, OBV_JOB_ARCHIVE, run_key, err));
    OBV_TRY(obv_check_source(x, c, &id, err));
    OBV_TRY(c->ops->own_archive(c, &own, err));
    if (obv_own_archive_is_at(&own, x->cfg->uri))
        return obv_fail(err, OBV_E_PRECONDITION, 0,
                        "OceanBase's own log archiving is on, to this destination: stop it with ALTER SYSTEM"
                        " NOARCHIVELOG, or let it write elsewhere");
    OBV_TRY(obv_check_tenants(c, &t, err));
    OBV_TRY(obv_check_agents(x, true, err));
    obv_round r = {.status = OBV_ROUND_BEGINNING, .start_ts = obv_ctx_now(x)};
    OBV_TRY(obv_names_refresh(x, c, &r.sys_schema_version, err));

    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_check_alone(x, OBV_JOB_ARCHIVE, run_key, err)); /* another operator may have been quicker */
    OBV_TRY(obv_job_create(x->s, OBV_JOB_ARCHIVE, run_key, "BEGINNING", 0, r.start_ts, out, &found, err));
    if (found)
        return obv_state_commit(&tx, err);
    OBV_TRY(obv_state_next(x->s, "round", &r.round, err));
    (void)snprintf(r.job_id, sizeof r.job_id, "%s", out->id);
    OBV_TRY(obv_job_set_ref(x->s, out->id, r.round, err));
    out->ref = r.round;
    OBV_TRY(obv_round_save(x->s, &r, err));
    for (size_t i = 0; i < t.n; i++) {
        obv_round_tenant rt = {
            .round = r.round, .tenant_id = t.v[i].id, .status = OBV_ROUND_BEGINNING, .start_ts = r.start_ts};
        (void)snprintf(rt.name, sizeof rt.name, "%s", t.v[i].name);
        OBV_TRY(obv_round_tenant_save(x->s, &rt, err));
    }
    OBV_TRY(obv_archive_first_piece(x, &r, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.archive_started");
    obv_registry_set_piece(x->reg, r.piece, r.piece_date, true);
    obv_registry_set_round(x->reg, r.round, false);
    OBV_INFO("round %lld begins with %zu tenants", (long long)r.round, t.n);
    return OBV_OK;
}

obv_code obv_archive_stop_round(obv_job_ctx *x, obv_job *out, obv_err *err)
{
    size_t running = 0;
    obv_round r;
    OBV_TRY(obv_job_running(x->s, OBV_JOB_ARCHIVE, out, 1, &running, err));
    if (!running)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no log archiving is running");
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_get(x->s, out->ref, &r, err));
    r.stop = true;
    OBV_TRY(obv_round_save(x->s, &r, err));
    return obv_state_commit(&tx, err);
}

obv_code obv_archive_resume(obv_job_ctx *x, obv_err *err)
{
    obv_job j;
    obv_round r;
    size_t n = 0;
    OBV_TRY(obv_job_running(x->s, OBV_JOB_ARCHIVE, &j, 1, &n, err));
    if (!n)
        return OBV_OK;
    OBV_TRY(obv_round_get(x->s, j.ref, &r, err));
    int64_t freezing = 0;
    OBV_TRY(obv_piece_freezing_count(x->s, r.round, &freezing, err));
    obv_registry_set_piece(x->reg, r.piece, r.piece_date, freezing == 0); /* agents may not have heard of it */
    obv_registry_set_round(x->reg, r.round, r.status == OBV_ROUND_STOPPING || r.status == OBV_ROUND_STOP);
    return OBV_OK;
}

/* ---- BEGINNING */

typedef struct begin {
    const obv_round *r;
    const obv_servers *servers;
    const tenants *t;
} begin;

static obv_code build_begin(obv_job_ctx *x, void *ctx, obv_files *out, obv_err *err)
{
    const begin *b = ctx;
    OBV_TRY(obv_archive_files_begin(x, b->r, out, err));
    for (size_t i = 0; i < b->servers->n; i++)
        OBV_TRY(obv_archive_files_server(x, b->r, &b->servers->v[i], out, err));
    for (size_t i = 0; i < b->t->n; i++)
        OBV_TRY(obv_archive_files_all(x, b->r->round, b->t->v[i].tenant_id, out, err));
    return OBV_OK;
}

static bool has_begun(const obv_coverage *c) { return c->complete && c->start_ts > 0 && c->start_ts <= c->checkpoint; }

static void describe(const obv_coverage *c, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%lld PGs, %lld started, %lld with a checkpoint, %lld without an agent",
                     (long long)c->pgs, (long long)c->started, (long long)c->sampled, (long long)c->unassigned);
    for (uint32_t i = 0; i < c->blocking_count && i < 2 && n > 0 && (size_t)n < cap; i++)
        n += snprintf(out + n, cap - (size_t)n, "%s %llu/%lld", i ? "," : ", held back by",
                      (unsigned long long)c->blocking[i].table_id, (long long)obv_pg_key_partition_id(&c->blocking[i]));
    if (c->why.code != OBV_OK && n > 0 && (size_t)n < cap)
        (void)snprintf(out + n, cap - (size_t)n, ": %.160s", c->why.msg);
}

static obv_code step_beginning(obv_job_ctx *x, const obv_job *job, obv_round *r, memory *m, uint32_t *again_ms,
                               obv_err *err)
{
    OBV_AUTO(tenants_fini) tenants t = {0};
    OBV_AUTO(obv_servers_fini) obv_servers servers = {0};
    obv_cluster *c = NULL;
    bool queued = false, done = false;
    OBV_TRY(obv_files_look(x, job->id, "begin", &queued, &done, err));
    if (queued && !done)
        return OBV_OK;
    OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
    OBV_TRY(obv_round_tenant_each(x->s, r->round, take_tenant, &t, err));
    if (!queued) {
        OBV_TRY(c->ops->servers(c, &servers, err));
        begin b = {r, &servers, &t};
        return obv_files_step(x, job->id, "begin", build_begin, &b, &done, err);
    }
    const int64_t now = obv_ctx_now(x), now_ns = obv_clock_ns(&x->clock);
    if (now_ns - m->leaders_at_ns > BEGIN_LEADERS_NS) {
        OBV_TRY(obv_archive_assign(x, c, r, true, err));
        m->leaders_at_ns = now_ns;
    }
    *again_ms = 300;
    int64_t start = 0;
    for (size_t i = 0; i < t.n; i++) {
        obv_coverage cov;
        char text[400];
        OBV_TRY(obv_archive_coverage(x, r->round, t.v[i].tenant_id, &cov, err));
        if (cov.interrupted)
            return obv_archive_interrupt(x, job, r, &t.v[i], &cov.why, err);
        if (has_begun(&cov)) {
            start = cov.start_ts > start ? cov.start_ts : start;
            t.v[i].start_ts = cov.start_ts;
            t.v[i].status = OBV_ROUND_DOING;
            continue;
        }
        if (now - job->phase_at > (int64_t)x->cfg->begin_s * OBV_US_PER_S) {
            obv_err late = {0};
            describe(&cov, text, sizeof text);
            (void)obv_fail(&late, OBV_E_TIMEOUT, 0, "not begun in %u s: %.340s", x->cfg->begin_s, text);
            return obv_archive_interrupt(x, job, r, &t.v[i], &late, err);
        }
        if (now - m->told_at_us > 30 * OBV_US_PER_S) {
            m->told_at_us = now;
            describe(&cov, text, sizeof text);
            OBV_INFO("round %lld: tenant %s: %s", (long long)r->round, t.v[i].name, text);
        }
        return OBV_OK;
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    r->status = OBV_ROUND_DOING;
    r->start_ts = start;
    OBV_TRY(obv_round_save(x->s, r, err));
    if (r->piece)
        OBV_TRY(obv_piece_start(x->s, r->round, r->start_piece, OBV_PIECE_CLUSTER, start, err));
    for (size_t i = 0; i < t.n; i++) {
        OBV_TRY(obv_round_tenant_save(x->s, &t.v[i], err));
        if (r->piece)
            OBV_TRY(obv_piece_start(x->s, r->round, r->start_piece, t.v[i].tenant_id, t.v[i].start_ts, err));
    }
    OBV_TRY(obv_archive_queue_all(x, job->id, r->round, err));
    OBV_TRY(obv_job_move(x->s, job->id, "DOING", now, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.archive_doing");
    OBV_INFO("round %lld is DOING", (long long)r->round);
    return OBV_OK;
}

/* ---- STOPPING */

static obv_code to_stopping(obv_job_ctx *x, const obv_job *job, obv_round *r, obv_err *err)
{
    obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, a, OBV_AGENTS_MAX);
    OBV_AUTO(obv_freep) obv_live_agent *owned = a;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    r->status = OBV_ROUND_STOPPING;
    OBV_TRY(obv_round_save(x->s, r, err));
    obv_registry_set_round(x->reg, r->round, true);
    for (size_t i = 0; i < n; i++) {
        uint64_t revision = 0;
        if (owned[i].want_revision)
            OBV_TRY(obv_registry_touch(x->reg, owned[i].hello.agent_id, &revision, err));
    }
    OBV_TRY(obv_job_move(x->s, job->id, "STOPPING", obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.archive_stopping");
    return OBV_OK;
}

/* Do all living agents have the empty list, with nothing open? */
static obv_code all_let_go(obv_job_ctx *x, const tenants *t, bool *out, obv_err *err)
{
    obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, a, OBV_AGENTS_MAX);
    *out = true;
    for (size_t i = 0; i < n && *out; i++) {
        if (!a[i].alive || a[i].want_revision == 0)
            continue;
        *out = a[i].revision == a[i].want_revision;
        for (size_t k = 0; k < t->n && *out; k++) {
            obv_tenant_archive said;
            if (obv_registry_archive(x->reg, a[i].hello.agent_id, t->v[k].tenant_id, &said, NULL) == OBV_OK)
                /* the empty list is in force: all is synced, nothing more is written */
                *out = said.revision == a[i].want_revision || said.state == OBV_TENANT_ARCHIVE_NONE ||
                       said.state == OBV_TENANT_ARCHIVE_INTERRUPTED;
        }
    }
    free(a);
    return OBV_OK;
}

static obv_code step_stopping(obv_job_ctx *x, const obv_job *job, obv_round *r, uint32_t *again_ms, obv_err *err)
{
    OBV_AUTO(tenants_fini) tenants t = {0};
    bool queued = false, done = false, gone = false;
    OBV_TRY(obv_round_tenant_each(x->s, r->round, take_tenant, &t, err));
    OBV_TRY(obv_files_insist(x, job->id, "stop", &queued, &done, err));
    if (queued) {
        if (!done)
            return OBV_OK;
        OBV_TRY(obv_job_end(x->s, job->id, "STOP", NULL, obv_ctx_now(x), err));
        obv_registry_set_round(x->reg, 0, false);
        OBV_INFO("round %lld ended, restorable up to %lld", (long long)r->round, (long long)r->checkpoint_ts);
        OBV_FAULT("coordinator.archive_stopped");
        return OBV_OK;
    }
    *again_ms = 300;
    /* a publication under way must not overtake the final files */
    OBV_TRY(obv_archive_settle(x, job->id, r->round, &done, err));
    if (!done)
        return OBV_OK;
    OBV_TRY(all_let_go(x, &t, &gone, err));
    if (!gone && obv_ctx_now(x) - job->phase_at < STOP_WAIT_US)
        return OBV_OK;
    OBV_AUTO(obv_files_fini) obv_files f = {0};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_get(x->s, r->round, r, err));
    r->status = OBV_ROUND_STOP;
    r->max_ts = obv_ctx_now(x);
    for (size_t i = 0; i < t.n; i++) {
        obv_coverage c;
        OBV_TRY(obv_archive_coverage(x, r->round, t.v[i].tenant_id, &c, err));
        r->max_ts = c.submit_ts_max > r->max_ts ? c.submit_ts_max : r->max_ts;
    }
    OBV_TRY(obv_round_save(x->s, r, err));
    OBV_TRY(obv_piece_end_tenant(x->s, r->round, OBV_PIECE_CLUSTER, r->max_ts, err));
    for (size_t i = 0; i < t.n; i++) {
        OBV_TRY(obv_round_tenant_get(x->s, r->round, t.v[i].tenant_id, &t.v[i], err));
        t.v[i].status = OBV_ROUND_STOP;
        OBV_TRY(obv_round_tenant_save(x->s, &t.v[i], err));
        OBV_TRY(obv_piece_end_tenant(x->s, r->round, t.v[i].tenant_id, r->max_ts, err));
        OBV_TRY(obv_archive_files_all(x, r->round, t.v[i].tenant_id, &f, err));
    }
    OBV_TRY(obv_archive_files_all(x, r->round, 0, &f, err));
    OBV_TRY(obv_files_queue(x, job->id, "stop", &f, err));
    return obv_state_commit(&tx, err);
}

/* ---- the machine */

/* Who is alive, as a number that changes when that does. */
static uint64_t living(obv_job_ctx *x)
{
    obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    uint64_t mark = 1;
    const size_t n = a ? obv_registry_agents(x->reg, a, OBV_AGENTS_MAX) : 0;
    for (size_t i = 0; i < n; i++)
        mark = mark * 1000003u + (a[i].alive && a[i].known) * 7919u + i;
    free(a);
    return mark;
}

/*
 * Leaders are looked up when an agent came or went, when some tenant's checkpoint stands still, and now and then. The
 * list of replicas is dear: while a stall lasts, it is read less and less often.
 */
static bool look_up_leaders(obv_job_ctx *x, memory *m, int64_t now)
{
    const uint64_t agents = living(x);
    const int64_t stalled = obv_archive_stalled_ns(&m->stalls, now);
    const int64_t since = now - m->leaders_at_ns;
    const bool came_or_went = agents != m->agents;
    if (stalled < STALL_NS)
        m->looks = 0;
    const bool due = came_or_went || since > (int64_t)x->cfg->leaders_s * OBV_NS_PER_S ||
                     (stalled >= STALL_NS && since > STALL_NS << (m->looks < STALL_LOOKS ? m->looks : STALL_LOOKS));
    m->agents = agents;
    return due;
}

/* An operator's end waits a little for what would leave the newest piece without a checkpoint of its own. */
static obv_code may_end(obv_job_ctx *x, const obv_round *r, memory *m, bool *out, obv_err *err)
{
    const int64_t now = obv_clock_ns(&x->clock);
    if (m->stop_at_ns == 0)
        m->stop_at_ns = now;
    OBV_TRY(obv_archive_piece_may_end(x, r, out, err));
    *out = *out || now - m->stop_at_ns > STOP_WAIT_US * 1000;
    return OBV_OK;
}

obv_code obv_archive_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    obv_round r;
    void *kept = NULL;
    OBV_TRY(obv_ctx_memory(x, job, sizeof(memory), free, &kept, err));
    memory *m = kept;
    *again_ms = 1000;
    OBV_TRY(obv_round_get(x->s, job->ref, &r, err));
    if (strcmp(job->phase, "STOPPING") == 0)
        return step_stopping(x, job, &r, again_ms, err);
    if (r.stop) {
        bool now = true;
        if (strcmp(job->phase, "BEGINNING") != 0)
            OBV_TRY(may_end(x, &r, m, &now, err));
        if (now)
            return to_stopping(x, job, &r, err);
    }
    if (strcmp(job->phase, "BEGINNING") == 0)
        return step_beginning(x, job, &r, m, again_ms, err);

    /* DOING; INTERRUPTED for one tenant goes on for the others */
    obv_cluster *c = NULL;
    const int64_t now = obv_clock_ns(&x->clock);
    bool settled = false, queued = false;
    OBV_TRY(obv_archive_settle(x, job->id, r.round, &settled, err));
    if (!settled || now < m->publish_at_ns)
        return OBV_OK;
    OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
    OBV_TRY(obv_archive_end_gone(x, &r, err));
    OBV_TRY(obv_archive_step_pieces(x, c, job, &r, &queued, err));
    if (!queued)
        OBV_TRY(obv_archive_publish(x, c, job, &m->stalls, &queued, err));
    m->publish_at_ns = now + (int64_t)x->cfg->checkpoint_s * OBV_NS_PER_S;
    const bool due = look_up_leaders(x, m, now);
    OBV_TRY(obv_round_get(x->s, r.round, &r, err));
    OBV_TRY(obv_archive_assign(x, c, &r, due, err));
    if (due) {
        m->leaders_at_ns = now;
        m->looks++;
    }
    return OBV_OK;
}
