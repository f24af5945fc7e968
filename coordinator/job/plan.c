#include "job/plan.h"

#include "job/names.h"
#include "job/restore_priv.h"
#include "state/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEASURED_MAX 5u /* earlier restores that an estimate looks at */
#define JOBS_MAX 200u

void obv_plan_fini(obv_plan *p)
{
    free(p->v);
    *p = (obv_plan){0};
}

static obv_code objects_of(obv_job_ctx *x, int64_t set_id, uint64_t tenant, int64_t *out, obv_err *err)
{
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(
        obv_db_query(obv_state_db(x->s), err, &r,
                     "SELECT COUNT(*) FROM pg_objects o WHERE set_id = ? AND tenant_id = ? AND " OBV_PLAN_OBJECT_COUNTS,
                     obv_db_i(set_id), obv_db_u(tenant)));
    OBV_TRY(obv_rows_next(r, err));
    *out = obv_rows_i64(r, 0);
    return OBV_OK;
}

static obv_plan_source *add_source(obv_job_ctx *x, obv_plan *p, const obv_path *dir, obv_err *err)
{
    struct {
        obv_plan_source *v;
        size_t n, cap;
    } list = {p->v, p->n, p->cap};
    obv_plan_source *s = obv_list_add(&list, sizeof *s, err);
    if (!s)
        return NULL;
    p->v = list.v;
    p->n = list.n;
    p->cap = list.cap;
    (void)snprintf(s->path, sizeof s->path, "%s/%s", x->cfg->uri, dir->s);
    return s;
}

static obv_code add_sources(obv_job_ctx *x, const obv_window_data *w, size_t set, size_t first, size_t last,
                            obv_plan *p, obv_err *err)
{
    const obv_window_set *from = &w->sets[set];
    const obv_set_id id = {
        .tenant_id = p->tenant_id, .set_id = from->set_id, .full_set_id = from->full_set_id, .date = from->date};
    obv_media_root root;
    obv_path dir;
    obv_set_sums sums;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(obv_set_sum(x->s, from->set_id, p->tenant_id, &sums, err));
    obv_path_set_dir(&root, &id, &dir);
    obv_plan_source *s = add_source(x, p, &dir, err);
    if (!s)
        return OBV_E_NOMEM;
    s->set_id = from->set_id;
    s->from = s->to = from->snapshot;
    s->bytes = sums.bytes_written;
    s->frozen = true;
    OBV_TRY(objects_of(x, from->set_id, p->tenant_id, &s->objects, err));
    p->pgs = sums.pgs;
    p->blocks = sums.blocks;
    p->bytes = sums.bytes_written;
    for (size_t i = first; i <= last; i++) {
        obv_window_piece_dir(&root, p->tenant_id, &w->pieces[i], &dir);
        if (!(s = add_source(x, p, &dir, err)))
            return OBV_E_NOMEM;
        s->round = w->pieces[i].round;
        s->piece = w->pieces[i].piece;
        s->from = w->pieces[i].start_ts;
        s->to = w->pieces[i].checkpoint_ts;
        s->frozen = w->pieces[i].max_ts != INT64_MAX;
        s->bytes = s->objects = -1; /* agents write them, and nobody has added them up */
    }
    return OBV_OK;
}

/* ---- time */

typedef struct measured {
    obv_job_ctx *x;
    double bytes, seconds;
    size_t n;
    char newest[32];
} measured;

static obv_code take_job(void *ctx, const obv_job *j, obv_err *err)
{
    measured *m = ctx;
    obv_restore r;
    obv_set_sums sums;
    if (m->n == MEASURED_MAX || j->status != OBV_JOB_SUCCESS)
        return OBV_OK;
    const obv_code code = obv_restore_get(m->x->s, j->id, &r, err);
    if (code == OBV_E_NOT_FOUND) /* old ones are forgotten */
        return OBV_OK;
    OBV_TRY(code);
    OBV_TRY(obv_set_sum(m->x->s, r.set_id, r.tenant_id, &sums, err));
    if (r.issued_at == 0 || j->ended_at <= r.issued_at || sums.bytes_written <= 0)
        return OBV_OK;
    if (m->n++ == 0)
        (void)snprintf(m->newest, sizeof m->newest, "%s", j->id);
    m->bytes += (double)sums.bytes_written;
    m->seconds += (double)(j->ended_at - r.issued_at) / 1e6;
    return OBV_OK;
}

static void add_step(obv_plan *p, int64_t seconds, const char *what)
{
    obv_plan_step *s = &p->steps[p->step_count++];
    s->seconds = seconds;
    (void)snprintf(s->what, sizeof s->what, "%s", what);
}

static obv_code estimate(obv_job_ctx *x, int64_t at, obv_plan *p, obv_err *err)
{
    measured m = {.x = x};
    char text[200];
    OBV_TRY(obv_job_each(x->s, OBV_JOB_RESTORE, false, JOBS_MAX, take_job, &m, err));
    int64_t wait = (at + OBV_RESTORE_TOO_NEW_US + OBV_RESTORE_MARGIN_US - obv_ctx_now(x)) / OBV_US_PER_S;
    wait = wait > 0 ? wait : 0;
    int64_t work = -1;
    if (m.n == 0) {
        (void)snprintf(p->estimate_from, sizeof p->estimate_from,
                       "no restore that ended well has been measured yet; how fast the target is, is not known");
    } else {
        work = (int64_t)((double)p->bytes * m.seconds / m.bytes + 0.5);
        (void)snprintf(p->estimate_from, sizeof p->estimate_from,
                       "the last %zu measured restores, newest %s: %.1f MiB of stored data a second, log included", m.n,
                       m.newest, m.bytes / m.seconds / 1048576);
    }
    p->estimate_s = work < 0 ? -1 : wait + work;
    add_step(p, 0, "check the target: restore_concurrency, pools, names, clock, sight of the destination");
    (void)snprintf(text, sizeof text,
                   "wait until the target's clock is %d s past the time and its snapshot_gc_ts reaches it",
                   (int)(OBV_RESTORE_TOO_NEW_US / OBV_US_PER_S));
    add_step(p, wait, text);
    (void)snprintf(text, sizeof text, "name %zu source%s and give ALTER SYSTEM RESTORE", p->n, p->n == 1 ? "" : "s");
    add_step(p, 0, text);
    (void)snprintf(text, sizeof text,
                   "the target restores %lld PGs with %lld macroblocks, and replays the log to the time",
                   (long long)p->pgs, (long long)p->blocks);
    add_step(p, work, text);
    return OBV_OK;
}

obv_code obv_plan_make(obv_job_ctx *x, const char *tenant, int64_t at, obv_plan *out, obv_err *err)
{
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    size_t set = 0, first = 0, last = 0;
    OBV_TRY(obv_names_find(x, tenant, at, &out->tenant_id, err));
    OBV_TRY(obv_window_load(x, out->tenant_id, &w, err));
    OBV_TRY(obv_window_choose(w.sets, w.set_count, w.pieces, w.piece_count, at, &set, &first, &last, err));
    OBV_TRY(add_sources(x, &w, set, first, last, out, err));
    return estimate(x, at, out, err);
}
