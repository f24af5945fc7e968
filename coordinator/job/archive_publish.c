#define OBV_LOG_MOD "archive"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"

#include <stdio.h>
#include <stdlib.h>

#define PUBLISH "publish"

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

obv_code obv_archive_interrupt(obv_job_ctx *x, const obv_job *job, obv_round *r, const obv_round_tenant *tenant,
                               const obv_err *why, obv_err *err)
{
    obv_round_tenant t = *tenant;
    t.status = OBV_ROUND_INTERRUPTED;
    t.error = *why;
    if (t.error.code == OBV_OK)
        (void)obv_fail(&t.error, OBV_E_LOG_GAP, 0, "an agent reports a hole in the log");
    OBV_ERROR_OF(&t.error, "round %lld: tenant %s is INTERRUPTED", (long long)r->round, t.name);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_round_tenant_save(x->s, &t, err));
    r->status = OBV_ROUND_INTERRUPTED;
    OBV_TRY(obv_round_save(x->s, r, err));
    OBV_TRY(obv_event_add(x->s, job->id, obv_ctx_now(x), err, "tenant %s INTERRUPTED: %s", t.name, t.error.msg));
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
    OBV_TRY(c->ops->schema_version(c, k->t.tenant_id, &schema, err));
    if (schema != k->t.schema_version)
        return OBV_OK;
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
    }
    if (k->c.checkpoint > k->t.pending_ts)
        k->t.pending_ts = k->c.checkpoint;
    *moved = true;
    OBV_TRY(obv_round_tenant_save(x->s, &k->t, err));
    return begins ? obv_archive_files_all(x, k->t.round, k->t.tenant_id, f, err)
                  : obv_archive_files_checkpoint(x, k->t.round, k->t.tenant_id, f, err);
}

obv_code obv_archive_publish(obv_job_ctx *x, obv_cluster *c, const obv_job *job, bool *moved, obv_err *err)
{
    OBV_AUTO(candidates_fini) candidates all = {0};
    OBV_AUTO(obv_files_fini) obv_files f = {0};
    obv_round r;
    size_t aside = 0;
    *moved = false;
    OBV_TRY(obv_round_get(x->s, job->ref, &r, err));
    OBV_TRY(obv_round_tenant_each(x->s, r.round, take, &all, err));
    for (size_t i = 0; i < all.n; i++) {
        const obv_code code = prove(x, c, job, &all.v[i], err);
        OBV_TRY(set_aside(&all.v[i], code, err, &aside));
        if (aside == all.n) /* it is not the tenants */
            return code;
        if (all.v[i].c.interrupted)
            return obv_archive_interrupt(x, job, &r, &all.v[i].t, &all.v[i].c.why, err);
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    int64_t least = 0;
    for (size_t i = 0; i < all.n; i++) {
        OBV_TRY(advance(x, &all.v[i], &f, moved, err));
        const int64_t at =
            all.v[i].t.pending_ts > all.v[i].t.checkpoint_ts ? all.v[i].t.pending_ts : all.v[i].t.checkpoint_ts;
        if (all.v[i].t.status == OBV_ROUND_DOING && (least == 0 || at < least))
            least = at;
    }
    if (!*moved)
        return obv_state_commit(&tx, err);
    if (least > r.pending_ts && least > r.checkpoint_ts) {
        r.pending_ts = least;
        OBV_TRY(obv_round_save(x->s, &r, err));
    }
    OBV_TRY(obv_archive_files_checkpoint(x, r.round, 0, &f, err));
    OBV_TRY(obv_files_queue(x, job->id, PUBLISH, &f, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.archive_pending");
    return OBV_OK;
}
