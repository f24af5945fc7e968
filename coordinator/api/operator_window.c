#include "api/operator_priv.h"
#include "job/plan.h"
#include "job/plan_check.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct view {
    obv_job_ctx *x;
    op_memory *m;
    Obvault__V1__WindowResponse *reply;
    uint64_t tenant;
    const char *name;
} view;

typedef struct tenant_ids {
    uint64_t v[1024];
    size_t n;
} tenant_ids;

static obv_code window_tenants(obv_state *s, tenant_ids *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(s),
                              "SELECT DISTINCT tenant_id FROM set_tenants UNION SELECT DISTINCT tenant_id FROM"
                              " round_tenants ORDER BY tenant_id",
                              NULL, 0, &r, err));
    for (obv_code code; out->n < 1024 && (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        out->v[out->n++] = obv_rows_u64(r, 0);
    }
    return OBV_OK;
}

static obv_code tenant_name(obv_state *s, uint64_t tenant, char *out, size_t cap, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query(obv_state_db(s), err, &r,
                         "SELECT name FROM round_tenants WHERE tenant_id = ? ORDER BY round DESC LIMIT 1",
                         obv_db_u(tenant)));
    out[0] = 0;
    const obv_code code = obv_rows_next(r, err);
    if (code == OBV_OK)
        obv_rows_copy(r, 0, out, cap);
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

/* ---- holes */

static obv_code add_hole(void *ctx, const obv_window_hole *h, obv_err *err)
{
    view *v = ctx;
    obv_window_cause c;
    OBV_TRY(obv_window_cause_of(v->x, v->tenant, h, &c, err));
    if (h->to == 0 && c.going_on)
        return OBV_OK; /* the log goes on: the window will */
    Obvault__V1__WindowHole *o = OP_GET(v->m, Obvault__V1__WindowHole, OBVAULT__V1__WINDOW_HOLE__INIT);
    if (!o)
        return OBV_E_NOMEM;
    o->tenant_id = v->tenant;
    o->tenant = op_text(v->m, v->name, err);
    o->from = h->from;
    o->to = h->to;
    o->round = h->round;
    o->interrupted = c.interrupted;
    o->why = op_text(v->m, c.why, err);
    o->next = op_text(v->m, c.next, err);
    return op_push(v->m, &v->reply->holes, &v->reply->n_holes, o->tenant && o->why && o->next ? o : NULL, err);
}

/* ---- windows */

static obv_code add_windows(view *v, obv_err *err)
{
    Obvault__V1__WindowResponse *r = v->reply;
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    OBV_TRY(obv_window_load(v->x, v->tenant, &w, err));
    const size_t before = r->n_windows;
    for (size_t i = 0; i < w.set_count; i++) {
        const obv_window win = obv_window_of(&w.sets[i], w.pieces, w.piece_count);
        if (win.from > win.to)
            continue;
        Obvault__V1__TenantWindow *o = OP_GET(v->m, Obvault__V1__TenantWindow, OBVAULT__V1__TENANT_WINDOW__INIT);
        if (!o || !(o->tenant = op_text(v->m, v->name, err)))
            return OBV_E_NOMEM;
        o->tenant_id = v->tenant;
        o->set_id = w.sets[i].set_id;
        o->round = w.pieces[win.last].round;
        o->from = win.from;
        o->to = win.to;
        o->first_piece = w.pieces[win.first].piece;
        o->last_piece = w.pieces[win.last].piece;
        OBV_TRY(op_push(v->m, &r->windows, &r->n_windows, o, err));
    }
    if (r->n_windows == before)
        return op_push(v->m, &r->without, &r->n_without, op_text(v->m, v->name, err), err);
    return obv_window_holes(&w, add_hole, v, err);
}

obv_code op_window(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__WindowRequest *q = (const Obvault__V1__WindowRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    OBV_AUTO(obv_freep) tenant_ids *ids = calloc(1, sizeof *ids);
    Obvault__V1__WindowResponse r = OBVAULT__V1__WINDOW_RESPONSE__INIT;
    bool known = !q->tenant[0];
    if (!ids)
        return obv_fail(err, OBV_E_NOMEM, 0, "window");
    r.now = obv_ctx_now(&api->x);
    OBV_TRY(window_tenants(api->x.s, ids, err));
    for (size_t i = 0; i < ids->n; i++) {
        char name[129];
        OBV_TRY(tenant_name(api->x.s, ids->v[i], name, sizeof name, err));
        if (q->tenant[0] && strcmp(q->tenant, name) != 0)
            continue;
        known = true;
        view v = {&api->x, &m, &r, ids->v[i], name};
        OBV_TRY(add_windows(&v, err));
    }
    if (!known)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no tenant %s is archived or backed up", q->tenant);
    return obv_message_pack(&r.base, resp, err);
}

/* ---- restore plan */

static Obvault__V1__PlanSource *source_of(op_memory *m, const obv_plan_source *s, obv_err *err)
{
    Obvault__V1__PlanSource *o = OP_GET(m, Obvault__V1__PlanSource, OBVAULT__V1__PLAN_SOURCE__INIT);
    if (!o || !(o->path = op_text(m, s->path, err)))
        return NULL;
    o->set_id = s->set_id;
    o->round = s->round;
    o->piece = s->piece;
    o->from = s->from;
    o->to = s->to;
    o->bytes = s->bytes;
    o->objects = s->objects;
    o->frozen = s->frozen;
    return o;
}

static obv_code put_check(obv_api *api, op_memory *m, const char *id, Obvault__V1__RestorePlanResponse *r, obv_err *err)
{
    obv_job j;
    obv_plan_check c;
    OBV_TRY(obv_job_get(api->x.s, id, &j, err));
    if (j.kind != OBV_JOB_CHECK)
        return obv_fail(err, OBV_E_INVAL, 0, "job %s is no check", j.id);
    OBV_TRY(obv_plan_check_get(&api->x, &j, &c, err));
    Obvault__V1__PlanCheck *o = OP_GET(m, Obvault__V1__PlanCheck, OBVAULT__V1__PLAN_CHECK__INIT);
    if (!o || !(o->job_id = op_text(m, j.id, err)) || !(o->status = op_text(m, obv_job_status_name(j.status), err)))
        return OBV_E_NOMEM;
    o->deep = c.deep;
    o->objects = c.objects;
    o->checked = c.checked;
    o->wrong = c.wrong;
    if (j.result.code != OBV_OK && !(o->error = op_error(m, &j.result, err)))
        return OBV_E_NOMEM;
    r->check = o;
    return OBV_OK;
}

obv_code op_restore_check(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__RestoreCheckRequest *q = (const Obvault__V1__RestoreCheckRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    obv_job j;
    if (strlen(q->run_key) >= sizeof j.run_key)
        return obv_fail(err, OBV_E_INVAL, 0, "the run key is longer than %zu bytes", sizeof j.run_key - 1);
    OBV_TRY(obv_plan_check_begin(&api->x, q->tenant, q->at, q->deep, q->run_key, &j, err));
    const Obvault__V1__Job *o = op_job(&api->x, &m, &j, err);
    return o ? obv_message_pack(&o->base, resp, err) : OBV_E_NOMEM;
}

obv_code op_restore_plan(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__RestorePlanRequest *q = (const Obvault__V1__RestorePlanRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    OBV_AUTO(obv_plan_fini) obv_plan p = {0};
    Obvault__V1__RestorePlanResponse r = OBVAULT__V1__RESTORE_PLAN_RESPONSE__INIT;
    OBV_TRY(obv_plan_make(&api->x, q->tenant, q->at, &p, err));
    r.tenant_id = p.tenant_id;
    r.tenant = q->tenant;
    r.at = q->at;
    r.pgs = p.pgs;
    r.blocks = p.blocks;
    r.estimate_s = p.estimate_s;
    r.estimate_from = p.estimate_from;
    for (size_t i = 0; i < p.n; i++) {
        Obvault__V1__PlanSource *s = source_of(&m, &p.v[i], err);
        OBV_TRY(p.v[i].round ? op_push(&m, &r.pieces, &r.n_pieces, s, err) : op_push(&m, &r.sets, &r.n_sets, s, err));
    }
    for (size_t i = 0; i < p.step_count; i++) {
        Obvault__V1__PlanStep *s = OP_GET(&m, Obvault__V1__PlanStep, OBVAULT__V1__PLAN_STEP__INIT);
        if (!s || !(s->what = op_text(&m, p.steps[i].what, err)))
            return OBV_E_NOMEM;
        s->seconds = p.steps[i].seconds;
        OBV_TRY(op_push(&m, &r.steps, &r.n_steps, s, err));
    }
    if (q->check_job[0])
        OBV_TRY(put_check(api, &m, q->check_job, &r, err));
    return obv_message_pack(&r.base, resp, err);
}
