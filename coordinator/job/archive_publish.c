#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"

#include <stdio.h>
#include <stdlib.h>

#define PUBLISH "publish"
#define NEAR_OVER_NS (30 * OBV_NS_PER_S) /* a gap that has not been near for this long is not near any more */

typedef struct candidate {
    obv_round_tenant t;
    obv_coverage c;
    bool proven;
} candidate;
typedef struct candidates {
    candidate *v;
    size_t n, cap;
} candidates;
static void candidates_fini(candidates *l) { free(l->v); }

static obv_code take(void *ctx, const obv_round_tenant *t, obv_err *err)
{
    candidate *c = obv_list_add(ctx, sizeof *c, err);
    if (!c)
        return OBV_E_NOMEM;
    c->t = *t;
    return OBV_OK;
}

/* A tenant whose state cannot be told now holds back itself only. */
static obv_code set_aside(const candidate *k, obv_code code, const obv_err *why, size_t *aside)
{
    if (code == OBV_OK)
        return OBV_OK;
    OBV_WARN_EVERY(30, "tenant %s: its checkpoint waits: %s", k->t.name, why->msg);
    ++*aside;
    return OBV_OK;
}

static obv_code step_done(obv_job_ctx *x, const char *job_id, const char *name, bool *done, obv_err *err)
{
    bool queued = false;
    OBV_TRY(obv_files_insist(x, job_id, name, &queued, done, err));
    *done = *done || !queued;
    return OBV_OK;
}

obv_code obv_archive_settle(obv_job_ctx *x, const char *job_id, int64_t round, bool *settled, obv_err *err)
{
    bool queued = false;
    OBV_TRY(obv_files_insist(x, job_id, PUBLISH, &queued, settled, err));
    if (!queued) {
        *settled = true;
        return OBV_OK;
    }
    if (!*settled)
        return OBV_OK;
    /* the files are stored: what they say is published */
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(x->s), err,
                       "UPDATE round_tenants SET checkpoint_ts = max(checkpoint_ts, pending_ts) WHERE round = ?",
                       obv_db_i(round)));
    OBV_TRY(obv_db_run(obv_state_db(x->s), err,
                       "UPDATE rounds SET checkpoint_ts = max(checkpoint_ts, pending_ts) WHERE round = ?",
                       obv_db_i(round)));
    OBV_TRY(obv_files_forget(x, job_id, PUBLISH, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.archive_published");
    return OBV_OK;
}

obv_code obv_archive_queue_all(obv_job_ctx *x, const char *job_id, int64_t round, obv_err *err)
{
    OBV_AUTO(obv_files_fini) obv_files f = {0};
    OBV_AUTO(candidates_fini) candidates all = {0};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_tenant_each(x->s, round, take, &all, err));
    for (size_t i = 0; i < all.n; i++)
        OBV_TRY(obv_archive_files_all(x, round, all.v[i].t.tenant_id, &f, err));
    OBV_TRY(obv_archive_files_all(x, round, 0, &f, err));
    OBV_TRY(obv_files_queue(x, job_id, PUBLISH, &f, err));
    return obv_state_commit(&tx, err);
}

typedef struct agent_id {
    char id[OBV_AGENT_ID_MAX];
} agent_id;
typedef struct agents {
    agent_id *v;
    size_t n, cap;
} agents;
static void agents_fini(agents *a) { free(a->v); }

static obv_code take_agent(void *ctx, const char *id, int64_t pgs, obv_err *err)
{
    (void)pgs;
    if (!id[0])
        return OBV_OK;
    agent_id *a = obv_list_add(ctx, sizeof *a, err);
    if (!a)
        return OBV_E_NOMEM;
    (void)snprintf(a->id, sizeof a->id, "%s", id);
    return OBV_OK;
}

obv_code obv_archive_interrupt(obv_job_ctx *x, const obv_job *job, obv_round *r, const obv_round_tenant *tenant,
                               const obv_err *why, obv_err *err)
{
    obv_round_tenant t = *tenant;
    char from[OBV_TIME_TEXT_LEN];
    OBV_AUTO(agents_fini) agents held = {0};
    t.status = OBV_ROUND_INTERRUPTED;
    t.error = *why;
    t.interrupted_at = obv_ctx_now(x);
    if (t.error.code == OBV_OK)
        (void)obv_fail(&t.error, OBV_E_LOG_GAP, 0, "an agent reports a hole in the log");
    obv_event e = {.at = t.interrupted_at, .kind = "gap", .level = OBV_EVENT_ERROR, .tenant_id = t.tenant_id};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", job->id);
    OBV_ERROR_OF(&t.error, "round %lld: tenant %s is INTERRUPTED", (long long)r->round, t.name);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_tenant_save(x->s, &t, err));
    r->status = OBV_ROUND_INTERRUPTED;
    OBV_TRY(obv_round_save(x->s, r, err));
    OBV_TRY(obv_event_tell(x->s, &e, err,
                           "tenant %.64s INTERRUPTED: from %s on nothing can be restored until a new round"
                           " and a new set are made: %.280s",
                           t.name, obv_time_text(t.checkpoint_ts ? t.checkpoint_ts : t.start_ts, from), t.error.msg));
    /* what comes behind a hole is of no use to anybody */
    OBV_TRY(obv_archive_pg_agents(x->s, r->round, t.tenant_id, take_agent, &held, err));
    OBV_TRY(obv_archive_pg_remove_tenant(x->s, r->round, t.tenant_id, err));
    for (size_t i = 0; i < held.n; i++) {
        uint64_t revision = 0;
        OBV_TRY(obv_registry_touch(x->reg, held.v[i].id, &revision, err));
    }
    OBV_TRY(obv_job_note(x->s, job->id, &t.error, err));
    OBV_TRY(obv_job_move(x->s, job->id, "INTERRUPTED", obv_ctx_now(x), err));
    OBV_TRY(obv_archive_queue_all(x, job->id, r->round, err));
    return obv_state_commit(&tx, err);
}

/*
 * A checkpoint is proven when every PG of a list that was read after all samples is covered. The candidate is what the
 * agents said before; if the schema, asked afterwards, still is the one that the assignment was made from, then the
 * assignment is that list.
 */
static obv_code prove(obv_job_ctx *x, obv_cluster *c, const obv_job *job, candidate *k, obv_err *err)
{
    int64_t schema = 0;
    bool stored = false;
    char name[48];
    if (k->t.status != OBV_ROUND_DOING && k->t.status != OBV_ROUND_BEGINNING)
        return OBV_OK;
    OBV_TRY(obv_archive_coverage(x, k->t.round, k->t.tenant_id, &k->c, err));
    if (!k->c.complete)
        return OBV_OK;
    if (k->t.gone_at == 0) {
        OBV_TRY(c->ops->schema_version(c, k->t.tenant_id, &schema, err));
        if (schema != k->t.schema_version)
            return OBV_OK;
    } else if (k->c.checkpoint > k->t.gone_at) {
        k->c.checkpoint = k->t.gone_at; /* it had no later time */
    }
    (void)snprintf(name, sizeof name, "tenant-%llu", (unsigned long long)k->t.tenant_id);
    OBV_TRY(step_done(x, job->id, name, &stored, err)); /* a new tenant's first files come first */
    k->proven = stored && k->c.start_ts <= k->c.checkpoint;
    return OBV_OK;
}

static obv_code still_true(obv_job_ctx *x, candidate *k, obv_err *err)
{
    obv_coverage now;
    obv_round_tenant t;
    OBV_TRY(obv_archive_coverage(x, k->t.round, k->t.tenant_id, &now, err));
    OBV_TRY(obv_round_tenant_get(x->s, k->t.round, k->t.tenant_id, &t, err));
    if (t.gone_at && now.checkpoint > t.gone_at)
        now.checkpoint = t.gone_at;
    if (now.stamp != k->c.stamp || now.pgs != k->c.pgs || t.schema_version != k->t.schema_version)
        k->proven = false; /* the assignment changed in between */
    k->t = t;
    return OBV_OK;
}

static obv_code advance(obv_job_ctx *x, candidate *k, obv_files *f, bool *moved, obv_err *err)
{
    OBV_TRY(still_true(x, k, err));
    const bool begins = k->proven && k->t.status == OBV_ROUND_BEGINNING;
    if (!k->proven || (!begins && k->c.checkpoint <= k->t.checkpoint_ts))
        return OBV_OK;
    if (begins) {
        k->t.status = OBV_ROUND_DOING;
        k->t.start_ts = k->c.start_ts;
        if (k->t.start_piece)
            OBV_TRY(obv_piece_start(x->s, k->t.round, k->t.start_piece, k->t.tenant_id, k->t.start_ts, err));
    }
    if (k->c.checkpoint > k->t.pending_ts)
        k->t.pending_ts = k->c.checkpoint;
    *moved = true;
    OBV_TRY(obv_round_tenant_save(x->s, &k->t, err));
    return begins ? obv_archive_files_all(x, k->t.round, k->t.tenant_id, f, err)
                  : obv_archive_files_checkpoint(x, k->t.round, k->t.tenant_id, f, err);
}

/* ---- what stands still, and what is about to be lost */

int64_t obv_archive_stalled_ns(const obv_stalls *s, int64_t now_ns)
{
    int64_t most = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].tenant && now_ns - s->v[i].since_ns > most)
            most = now_ns - s->v[i].since_ns;
    return most;
}

/* The tenant's place; NULL: there are more tenants than places, which is no more than less to tell. */
static obv_stall *place_of(obv_stalls *s, uint64_t tenant)
{
    size_t i = 0;
    while (i < s->n && s->v[i].tenant != tenant)
        i++;
    if (i == sizeof s->v / sizeof *s->v)
        return NULL;
    if (i == s->n)
        s->v[s->n++] = (obv_stall){.tenant = tenant};
    return &s->v[i];
}

static void note_stall(obv_job_ctx *x, obv_stalls *s, const candidate *k)
{
    obv_stall *p = place_of(s, k->t.tenant_id);
    const int64_t now = obv_clock_ns(&x->clock);
    const int64_t at = k->t.pending_ts > k->t.checkpoint_ts ? k->t.pending_ts : k->t.checkpoint_ts;
    const bool works = k->t.status == OBV_ROUND_DOING || k->t.status == OBV_ROUND_BEGINNING;
    if (p && (!works || k->t.gone_at || p->since_ns == 0 || at > p->checkpoint_ts)) {
        p->checkpoint_ts = at;
        p->since_ns = now;
    }
}

/* Tells once that a gap is near, and once that it is over. */
static obv_code note_gap(obv_job_ctx *x, const obv_job *job, obv_stalls *s, const candidate *k, bool *any, obv_err *err)
{
    obv_stall *p = place_of(s, k->t.tenant_id);
    const int64_t now = obv_clock_ns(&x->clock);
    const bool near = k->c.gap_near && k->t.status == OBV_ROUND_DOING;
    *any = *any || near;
    if (!p || near == p->near || (!near && now - p->near_ns < NEAR_OVER_NS)) {
        if (p && near)
            p->near_ns = now;
        return OBV_OK;
    }
    p->near = near;
    p->near_ns = now;
    obv_event e = {.at = obv_ctx_now(x),
                   .kind = "gap",
                   .level = near ? OBV_EVENT_WARNING : OBV_EVENT_INFO,
                   .tenant_id = k->t.tenant_id};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", job->id);
    if (!near)
        return obv_event_tell(x->s, &e, err, "tenant %.64s: recycling is far from log that is not stored again",
                              k->t.name);
    OBV_WARN("tenant %s: log that is not stored is recycled in about %lld s (agent %s, %llu clog files)", k->t.name,
             (long long)k->c.gap_in_s, k->c.gap_agent, (unsigned long long)k->c.gap_files);
    return obv_event_tell(
        x->s, &e, err, "tenant %.64s: log that is not stored is recycled in about %lld s: agent %s, %llu clog files%s",
        k->t.name, (long long)k->c.gap_in_s, k->c.gap_agent, (unsigned long long)k->c.gap_files,
        x->cfg->gap_hold ? "; backups wait" : "");
}

obv_code obv_archive_publish(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_stalls *stalls, bool *queued,
                             obv_err *err)
{
    bool moved_any = false, near = false;
    bool *moved = &moved_any;
    OBV_AUTO(candidates_fini) candidates all = {0};
    OBV_AUTO(obv_files_fini) obv_files f = {0};
    obv_round r;
    size_t aside = 0;
    *queued = false;
    OBV_TRY(obv_round_get(x->s, job->ref, &r, err));
    OBV_TRY(obv_round_tenant_each(x->s, r.round, take, &all, err));
    for (size_t i = 0; i < all.n; i++) {
        const obv_code code = prove(x, c, job, &all.v[i], err);
        OBV_TRY(set_aside(&all.v[i], code, err, &aside));
        if (aside == all.n) /* it is not the tenants */
            return code;
        OBV_TRY(note_gap(x, job, stalls, &all.v[i], &near, err));
        if (all.v[i].c.interrupted) {
            *queued = true;
            return obv_archive_interrupt(x, job, &r, &all.v[i].t, &all.v[i].c.why, err);
        }
    }
    obv_registry_hold(x->reg, x->cfg->gap_hold && near);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    /* The cluster's own: the least of all tenants, also of one that was interrupted and goes no further. One that has
     * just joined or has ended does not count. */
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < all.n; i++) {
        OBV_TRY(advance(x, &all.v[i], &f, moved, err));
        note_stall(x, stalls, &all.v[i]);
        const int64_t at =
            all.v[i].t.pending_ts > all.v[i].t.checkpoint_ts ? all.v[i].t.pending_ts : all.v[i].t.checkpoint_ts;
        if ((all.v[i].t.status == OBV_ROUND_DOING || all.v[i].t.status == OBV_ROUND_INTERRUPTED) && at < least)
            least = at;
    }
    if (!*moved)
        return obv_state_commit(&tx, err);
    if (least < INT64_MAX && least > r.pending_ts && least > r.checkpoint_ts) {
        r.pending_ts = least;
        OBV_TRY(obv_round_save(x->s, &r, err));
    }
    OBV_TRY(obv_archive_files_checkpoint(x, r.round, 0, &f, err));
    OBV_TRY(obv_files_queue(x, job->id, PUBLISH, &f, err));
    OBV_TRY(obv_state_commit(&tx, err));
    *queued = true;
    OBV_FAULT("coordinator.archive_pending");
    return OBV_OK;
}
