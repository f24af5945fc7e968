#include "job/checks.h"

#include "base/fault.h"

#include <stdlib.h>
#include <string.h>

#define WRONG_PLACE_S 20 /* another repository, a right that is missing */
#define NO_PLACE_S 120   /* an unmounted file system may be mounted again */

obv_code obv_check_alone(obv_job_ctx *x, obv_job_kind kind, const char *run_key, obv_err *err)
{
    obv_job busy;
    size_t running = 0;
    OBV_TRY(obv_job_running(x->s, kind, &busy, 1, &running, err));
    if (running == 0 || (run_key[0] && strcmp(run_key, busy.run_key) == 0))
        return OBV_OK;
    return obv_fail(err, OBV_E_BUSY, 0, "%s %lld is running: job %s", kind == OBV_JOB_ARCHIVE ? "round" : "set",
                    (long long)busy.ref, busy.id);
}

obv_code obv_check_identity(obv_job_ctx *x, obv_cluster *c, obv_identity *id, obv_err *err)
{
    const obv_settings *s = x->cfg;
    OBV_TRY(c->ops->identity(c, id, err));
    if ((s->source_name[0] && strcmp(s->source_name, id->name) != 0) || (s->source_id && s->source_id != id->id))
        return obv_fail(err, OBV_E_CONFIG, 0, "the source is cluster %s (%llu), not %s (%llu) as configured", id->name,
                        (unsigned long long)id->id, s->source_name[0] ? s->source_name : id->name,
                        (unsigned long long)(s->source_id ? s->source_id : id->id));
    return OBV_OK;
}

obv_code obv_check_source(obv_job_ctx *x, obv_cluster *c, obv_identity *id, obv_err *err)
{
    obv_repository r;
    OBV_TRY(obv_state_repository(x->s, &r, err));
    if (!r.ready)
        return obv_fail(err, OBV_E_NOT_INITIALISED, 0, "the repository's initialisation has not ended yet");
    OBV_TRY(obv_check_identity(x, c, id, err));
    if (strcmp(id->name, r.cluster_name) != 0 || id->id != r.cluster_id)
        return obv_fail(err, OBV_E_PRECONDITION, 0,
                        "the repository belongs to cluster %s (%llu), the source is %s (%llu)", r.cluster_name,
                        (unsigned long long)r.cluster_id, id->name, (unsigned long long)id->id);
    if (id->standby && !OBV_BUG_STRIKES("bug.a7_standby"))
        return obv_fail(err, OBV_E_PRECONDITION, 0, "cluster %s is a standby: only a primary can be backed up",
                        id->name);
    if (id->upgrading && !OBV_BUG_STRIKES("bug.a7_upgrade"))
        return obv_fail(err, OBV_E_PRECONDITION, 0,
                        "cluster %s is being upgraded: enable_upgrade_mode is on, or servers differ in version",
                        id->name);
    return OBV_OK;
}

obv_code obv_check_tenants(obv_cluster *c, obv_tenants *out, obv_err *err)
{
    OBV_TRY(c->ops->tenants(c, out, err));
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        bool gts = false;
        if (!out->v[i].normal && !OBV_BUG_STRIKES("bug.a7_tenant_state"))
            continue;
        OBV_TRY(c->ops->uses_gts(c, out->v[i].id, &gts, err));
        if (!gts && !OBV_BUG_STRIKES("bug.a7_gts"))
            return obv_fail(err, OBV_E_PRECONDITION, 0,
                            "tenant %s uses the local timestamp service: no time is consistent over its partitions; set"
                            " ob_timestamp_service to GTS",
                            out->v[i].name);
        if (kept != i)
            out->v[kept] = out->v[i];
        kept++;
    }
    out->n = kept;
    return kept ? OBV_OK : obv_fail(err, OBV_E_PRECONDITION, 0, "the cluster has no user tenant");
}

/* Why a living agent cannot use the destination: what will not pass by itself comes first. OBV_OK: no agent says. */
static obv_code why_not(const obv_live_agent *a, size_t n, obv_err *err)
{
    const obv_live_agent *told = NULL;
    for (size_t i = 0; i < n; i++) {
        const obv_code code = a[i].hello.repository_error.code;
        if (!a[i].alive || code == OBV_OK)
            continue;
        if (!told || (OBV_IS_RETRYABLE(told->hello.repository_error.code) && !OBV_IS_RETRYABLE(code)))
            told = &a[i];
    }
    if (!told)
        return OBV_OK;
    *err = told->hello.repository_error;
    return obv_wrap(err, "agent %s cannot use the destination", told->hello.agent_id);
}

obv_code obv_check_agents(obv_job_ctx *x, bool repository, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, a, OBV_AGENTS_MAX);
    bool good = false, soon = !obv_registry_settled(x->reg);
    for (size_t i = 0; i < n; i++) {
        good = good || (a[i].alive && (a[i].known || !repository));
        soon = soon || (a[i].alive && OBV_IS_RETRYABLE(a[i].hello.repository_error.code));
    }
    if (good)
        return OBV_OK;
    const char *what = repository ? "no living agent sees the repository" : "no agent is connected";
    if (why_not(a, n, err) != OBV_OK)
        return soon ? (err->code = OBV_E_NOT_READY) : err->code;
    return soon ? obv_fail(err, OBV_E_NOT_READY, 0, "%s yet: the coordinator has just started", what)
                : obv_fail(err, OBV_E_PRECONDITION, 0, "%s: look at `obvault agent list`", what);
}

obv_code obv_check_destination(obv_job_ctx *x, int64_t *since_ns, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    obv_err why = {0};
    bool good = false;
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, a, OBV_AGENTS_MAX);
    for (size_t i = 0; i < n; i++)
        good = good || (a[i].alive && a[i].known);
    if (good || why_not(a, n, &why) == OBV_OK) {
        *since_ns = 0;
        return OBV_OK;
    }
    const int64_t now = obv_clock_ns(&x->clock);
    if (*since_ns == 0)
        *since_ns = now;
    const int64_t limit_s = OBV_IS_RETRYABLE(why.code)          ? (int64_t)x->cfg->step_s
                            : why.code == OBV_E_NOT_INITIALISED ? NO_PLACE_S
                                                                : WRONG_PLACE_S;
    if (now - *since_ns < limit_s * OBV_NS_PER_S)
        return OBV_OK;
    *err = why;
    if (OBV_IS_RETRYABLE(err->code))
        err->code = OBV_E_IO; /* it was waited for long enough */
    return err->code;
}
