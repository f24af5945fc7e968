#define OBV_LOG_MOD "pin"
#include "job/pin.h"

#include "base/fault.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (2 * OBV_NS_PER_S)
#define TROUBLE_NS (30 * OBV_NS_PER_S)

typedef struct pin {
    uint64_t tenant_id;
    char tenant[129];
    char job_id[32];
    int64_t before, value, until;
} pin;
typedef struct pins {
    pin *v;
    size_t n, cap;
} pins;
static void pins_fini(pins *p) { free(p->v); }

static obv_code load(obv_job_ctx *x, pins *out, obv_err *err)
{
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(obv_state_db(x->s), "SELECT tenant_id, tenant, job_id, before, value, until FROM pins",
                              NULL, 0, &r, err));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        pin *p = obv_list_add(out, sizeof *p, err);
        if (!p)
            return OBV_E_NOMEM;
        p->tenant_id = obv_rows_u64(r, 0);
        obv_rows_copy(r, 1, p->tenant, sizeof p->tenant);
        obv_rows_copy(r, 2, p->job_id, sizeof p->job_id);
        p->before = obv_rows_i64(r, 3);
        p->value = obv_rows_i64(r, 4);
        p->until = obv_rows_i64(r, 5);
    }
    return OBV_OK;
}

static obv_code save(obv_job_ctx *x, const pin *p, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(x->s), err, "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?)",
                       obv_db_u(p->tenant_id), obv_db_s(p->tenant), obv_db_s(p->job_id), obv_db_i(p->before),
                       obv_db_i(p->value), obv_db_i(p->until)));
    return obv_state_commit(&tx, err);
}

static obv_event pin_event(const obv_job_ctx *x, const char *job_id, uint64_t tenant, obv_event_level level)
{
    obv_event e = {.at = obv_ctx_now(x), .kind = "pin", .level = level, .tenant_id = tenant};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", job_id);
    return e;
}

/* The pin is over: its row goes, and the job's events say how it ended. */
static obv_code over(obv_job_ctx *x, const pin *p, const char *how, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_db_run(obv_state_db(x->s), err, "DELETE FROM pins WHERE tenant_id = ?", obv_db_u(p->tenant_id)));
    const obv_event e = pin_event(x, p->job_id, p->tenant_id, OBV_EVENT_INFO);
    OBV_TRY(obv_event_tell(x->s, &e, err, "undo_retention of tenant %s %s", p->tenant, how));
    return obv_state_commit(&tx, err);
}

static obv_code set_global(obv_job_ctx *x, const char *tenant, int64_t seconds, obv_err *err)
{
    obv_cluster *c = NULL;
    char sql[64];
    OBV_TRY(x->clusters.pin(x->clusters.ctx, tenant, &c, err));
    (void)snprintf(sql, sizeof sql, "SET GLOBAL undo_retention = %lld", (long long)seconds);
    return c->ops->execute(c, (const char *const[]){sql}, 1, err);
}

/* ---- taking */

static const pin *pin_of(const pins *all, uint64_t tenant)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].tenant_id == tenant)
            return &all->v[i];
    return NULL;
}

/* What the tenant's variable was comes first into the database, then its new value into the cluster. */
static obv_code take(obv_job_ctx *x, obv_cluster *source, const obv_tenant *t, pin *p, const pin *old, obv_err *err)
{
    int64_t now = 0;
    OBV_TRY(source->ops->undo_retention(source, t->id, &now, err));
    if (now >= p->value && !old)
        return OBV_OK; /* it keeps enough by itself */
    p->before = old && now == old->value ? old->before : now;
    OBV_TRY(save(x, p, err));
    OBV_FAULT("coordinator.pin_recorded");
    if (now != p->value)
        OBV_TRY(set_global(x, p->tenant, p->value, err));
    OBV_FAULT("coordinator.pin_taken");
    OBV_INFO("tenant %s keeps versions of %lld s while it is backed up, before %lld s", p->tenant, (long long)p->value,
             (long long)p->before);
    return OBV_OK;
}

obv_code obv_pins_take(obv_job_ctx *x, obv_cluster *source, const obv_job *job, const obv_tenants *tenants,
                       obv_err *err)
{
    OBV_AUTO(pins_fini) pins all = {0};
    if (x->cfg->pin_count == 0)
        return OBV_OK;
    OBV_TRY(load(x, &all, err));
    for (uint32_t i = 0; i < x->cfg->pin_count; i++) {
        const obv_pin_setting *s = &x->cfg->pins[i];
        const obv_tenant *t = NULL;
        for (size_t k = 0; k < tenants->n; k++)
            if (strcmp(tenants->v[k].name, s->tenant) == 0)
                t = &tenants->v[k];
        if (!t)
            continue;
        pin p = {.tenant_id = t->id,
                 .value = s->undo_retention_s,
                 .until = obv_ctx_now(x) + (int64_t)x->cfg->pin_max_s * OBV_US_PER_S};
        (void)snprintf(p.tenant, sizeof p.tenant, "%s", t->name);
        (void)snprintf(p.job_id, sizeof p.job_id, "%s", job->id);
        obv_err why = {0};
        if (take(x, source, t, &p, pin_of(&all, t->id), &why) == OBV_OK)
            continue;
        OBV_WARN_OF(&why, "tenant %s is backed up without its pin", t->name);
        const obv_event e = pin_event(x, job->id, t->id, OBV_EVENT_WARNING);
        OBV_TRY(obv_event_tell(x->s, &e, err, "tenant %s is backed up without its pin: %.200s", t->name, why.msg));
    }
    return OBV_OK;
}

/* ---- giving back */

static obv_code is_due(obv_job_ctx *x, const pin *p, bool *out, obv_err *err)
{
    obv_job job;
    const obv_code code = obv_job_get(x->s, p->job_id, &job, err);
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    *out = code == OBV_E_NOT_FOUND || job.status != OBV_JOB_RUNNING || obv_ctx_now(x) > p->until;
    return OBV_OK;
}

static obv_code give_back(obv_job_ctx *x, const pin *p, obv_err *err)
{
    obv_cluster *source = NULL;
    int64_t now = 0;
    char how[96];
    OBV_TRY(x->clusters.source(x->clusters.ctx, &source, err));
    OBV_TRY(source->ops->undo_retention(source, p->tenant_id, &now, err));
    if (now == p->value && now != p->before) {
        OBV_TRY(set_global(x, p->tenant, p->before, err));
        OBV_FAULT("coordinator.pin_given_back");
        OBV_TRY(source->ops->undo_retention(source, p->tenant_id, &now, err));
        if (now == p->value)
            return obv_fail(err, OBV_E_NOT_READY, 0, "undo_retention of tenant %s is %lld s still", p->tenant,
                            (long long)now);
    }
    if (now == p->before)
        (void)snprintf(how, sizeof how, "is %lld s again", (long long)now);
    else
        (void)snprintf(how, sizeof how, "is %lld s, as somebody else has set it: it stays", (long long)now);
    OBV_INFO("undo_retention of tenant %s %s", p->tenant, how);
    return over(x, p, how, err);
}

void obv_pins_look(obv_job_ctx *x)
{
    OBV_AUTO(pins_fini) pins all = {0};
    obv_err err = {0};
    const int64_t now = obv_clock_ns(&x->clock);
    if (now < x->pins_ns)
        return;
    x->pins_ns = now + LOOK_NS;
    obv_code code = load(x, &all, &err);
    for (size_t i = 0; i < all.n && code == OBV_OK; i++) {
        bool due = false;
        code = is_due(x, &all.v[i], &due, &err);
        if (code == OBV_OK && due && !OBV_BUG_STRIKES("bug.a1_pin_left"))
            code = give_back(x, &all.v[i], &err);
    }
    if (code == OBV_OK)
        return;
    OBV_WARN_OF(&err, "a pin cannot be given back yet: set undo_retention of its tenant by hand if this goes on");
    x->pins_ns = now + TROUBLE_NS;
}
