/* archive_piece.c - a round cut into pieces (docs/format.md, "Pieces")
 *
 * A switch is two publications. The first names a new ACTIVE piece and a FREEZING one, whose checkpoint is what is
 * published at that moment: all log for it lies in that piece or an earlier one. Then agents are told by a new
 * revision. Each PG moves at its next write. When every agent says that all its PGs have moved, the second publication
 * freezes the old piece at a time T behind every log in it, at which the new one begins.
 */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"

#include <stdio.h>
#include <stdlib.h>

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

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* Ids are never used twice, in whatever round. */
static obv_code name_piece(obv_job_ctx *x, obv_round *r, obv_err *err)
{
    const int64_t now = obv_ctx_now(x);
    OBV_TRY(obv_state_next(x->s, "piece", &r->piece, err));
    r->piece_at = now;
    r->piece_date = obv_date_of_us(now);
    return OBV_OK;
}

obv_code obv_archive_join_piece(obv_job_ctx *x, const obv_round *r, obv_round_tenant *t, obv_err *err)
{
    if (r->piece == 0)
        return OBV_OK;
    t->start_piece = r->piece;
    return obv_piece_add(x->s, r, t->tenant_id, r->piece, t->start_ts, err);
}

obv_code obv_archive_first_piece(obv_job_ctx *x, obv_round *r, obv_err *err)
{
    OBV_AUTO(tenants_fini) tenants t = {0};
    if (x->cfg->piece_switch_s == 0)
        return OBV_OK;
    r->switch_s = x->cfg->piece_switch_s;
    OBV_TRY(name_piece(x, r, err));
    r->start_piece = r->piece;
    OBV_TRY(obv_round_save(x->s, r, err));
    OBV_TRY(obv_piece_add(x->s, r, OBV_PIECE_CLUSTER, r->piece, r->start_ts, err));
    OBV_TRY(obv_round_tenant_each(x->s, r->round, take_tenant, &t, err));
    for (size_t i = 0; i < t.n; i++) {
        OBV_TRY(obv_archive_join_piece(x, r, &t.v[i], err));
        OBV_TRY(obv_round_tenant_save(x->s, &t.v[i], err));
    }
    return OBV_OK;
}

static obv_event piece_event(const obv_job_ctx *x, const obv_job *job)
{
    obv_event e = {.at = obv_ctx_now(x), .kind = "piece"};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", job->id);
    return e;
}

/* ---- freezing */

static obv_code tell_agents(obv_job_ctx *x, const obv_round *r, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, a, OBV_AGENTS_MAX);
    obv_registry_set_piece(x->reg, r->piece, r->piece_date, true);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t revision = 0;
        if (a[i].want_revision)
            OBV_TRY(obv_registry_touch(x->reg, a[i].hello.agent_id, &revision, err));
    }
    return obv_state_commit(&tx, err);
}

/* Has every PG left the old piece? *max_ts: behind all log of those pieces. */
static obv_code all_moved(obv_job_ctx *x, const obv_round *r, const tenants *t, bool *out, int64_t *max_ts,
                          obv_err *err)
{
    *out = true;
    for (size_t i = 0; i < t->n && *out; i++) {
        obv_coverage c;
        if (t->v[i].status != OBV_ROUND_DOING && t->v[i].status != OBV_ROUND_BEGINNING)
            continue;
        OBV_TRY(obv_archive_coverage(x, r->round, t->v[i].tenant_id, &c, err));
        *out = c.current && c.piece_min >= (uint64_t)r->piece;
        *max_ts = later(*max_ts, later(c.submit_ts_max, later(t->v[i].checkpoint_ts, t->v[i].pending_ts)));
    }
    return OBV_OK;
}

static obv_code freeze(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_round *r, const tenants *t,
                       bool *queued, obv_err *err)
{
    bool moved = false;
    int64_t max_ts = 0, now = 0, trip = 0;
    OBV_TRY(all_moved(x, r, t, &moved, &max_ts, err));
    if (!moved)
        return OBV_OK;
    OBV_TRY(c->ops->now(c, &now, &trip, err));
    max_ts = later(max_ts, now) + 1;
    const obv_event e = piece_event(x, job);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_piece_frozen(x->s, r->round, max_ts, err));
    OBV_TRY(obv_archive_queue_all(x, job->id, r->round, err));
    OBV_TRY(obv_event_tell(x->s, &e, err, "all PGs are in piece %lld of round %lld; the one before it is FROZEN",
                           (long long)r->piece, (long long)r->round));
    OBV_TRY(obv_state_commit(&tx, err));
    *queued = true;
    OBV_FAULT("coordinator.piece_frozen");
    OBV_INFO("round %lld: piece %lld holds all PGs, the one before it is FROZEN", (long long)r->round,
             (long long)r->piece);
    return OBV_OK;
}

/* ---- switching */

typedef struct newest {
    obv_piece p;
    int64_t round;
} newest;

static obv_code take_newest(void *ctx, const obv_piece *p, obv_err *err)
{
    newest *n = ctx;
    (void)err;
    if (p->round == n->round)
        n->p = *p;
    return OBV_OK;
}

/* Is the newest piece's own part of the log published? A FROZEN piece without would be none. */
static obv_code has_part(obv_job_ctx *x, const obv_round *r, uint64_t tenant, bool *out, obv_err *err)
{
    newest n = {.round = r->round};
    OBV_TRY(obv_piece_each(x->s, tenant, take_newest, &n, err));
    *out = n.p.start_ts > 0 && n.p.checkpoint_ts >= n.p.start_ts;
    return OBV_OK;
}

static obv_code all_have_part(obv_job_ctx *x, const obv_round *r, const tenants *t, bool *out, obv_err *err)
{
    OBV_TRY(has_part(x, r, OBV_PIECE_CLUSTER, out, err));
    for (size_t i = 0; i < t->n && *out; i++)
        if (t->v[i].status == OBV_ROUND_DOING)
            OBV_TRY(has_part(x, r, t->v[i].tenant_id, out, err));
    return OBV_OK;
}

static obv_code switch_piece(obv_job_ctx *x, const obv_job *job, obv_round *r, const tenants *t, bool *queued,
                             obv_err *err)
{
    const obv_event e = piece_event(x, job);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_get(x->s, r->round, r, err));
    const int64_t old = r->piece;
    OBV_TRY(name_piece(x, r, err));
    OBV_TRY(obv_round_save(x->s, r, err));
    OBV_TRY(obv_piece_freezing(x->s, r, OBV_PIECE_CLUSTER, r->checkpoint_ts, err));
    OBV_TRY(obv_piece_add(x->s, r, OBV_PIECE_CLUSTER, r->start_piece, 0, err));
    for (size_t i = 0; i < t->n; i++) {
        const obv_round_tenant *k = &t->v[i];
        if (k->status != OBV_ROUND_DOING)
            continue;
        OBV_TRY(obv_piece_freezing(x->s, r, k->tenant_id, k->checkpoint_ts, err));
        OBV_TRY(obv_piece_add(x->s, r, k->tenant_id, k->start_piece, 0, err));
    }
    OBV_TRY(obv_archive_queue_all(x, job->id, r->round, err));
    OBV_TRY(obv_event_tell(x->s, &e, err, "round %lld switches from piece %lld to %lld", (long long)r->round,
                           (long long)old, (long long)r->piece));
    OBV_TRY(obv_state_commit(&tx, err));
    *queued = true;
    OBV_FAULT("coordinator.piece_switched");
    OBV_INFO("round %lld switches from piece %lld to %lld", (long long)r->round, (long long)old, (long long)r->piece);
    return OBV_OK;
}

obv_code obv_archive_step_pieces(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_round *r, bool *queued,
                                 obv_err *err)
{
    OBV_AUTO(tenants_fini) tenants t = {0};
    int64_t freezing = 0;
    bool ready = false;
    *queued = false;
    if (r->piece == 0)
        return OBV_OK;
    OBV_TRY(obv_round_tenant_each(x->s, r->round, take_tenant, &t, err));
    OBV_TRY(obv_piece_freezing_count(x->s, r->round, &freezing, err));
    if (freezing > 0) {
        /* its info files are stored: PGs may move */
        if (!obv_registry_told_piece(x->reg, r->piece))
            return tell_agents(x, r, err);
        return freeze(x, c, job, r, &t, queued, err);
    }
    if (r->stop || obv_ctx_now(x) - r->piece_at < (int64_t)r->switch_s * OBV_US_PER_S)
        return OBV_OK;
    size_t doing = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (t.v[i].status == OBV_ROUND_BEGINNING) /* its PGs are not all there yet */
            return OBV_OK;
        doing += t.v[i].status == OBV_ROUND_DOING;
    }
    OBV_TRY(all_have_part(x, r, &t, &ready, err));
    return ready && doing > 0 ? switch_piece(x, job, r, &t, queued, err) : OBV_OK;
}

/* ---- the end */

obv_code obv_archive_piece_may_end(obv_job_ctx *x, const obv_round *r, bool *out, obv_err *err)
{
    OBV_AUTO(tenants_fini) tenants t = {0};
    int64_t freezing = 0;
    *out = true;
    if (r->piece == 0)
        return OBV_OK;
    OBV_TRY(obv_piece_freezing_count(x->s, r->round, &freezing, err));
    *out = freezing == 0;
    if (!*out)
        return OBV_OK;
    OBV_TRY(obv_round_tenant_each(x->s, r->round, take_tenant, &t, err));
    return all_have_part(x, r, &t, out, err);
}
