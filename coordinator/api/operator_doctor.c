#include "api/operator_priv.h"
#include "proto/message.h"
#include "proto/tls.h"

#define DEADLINE_DEFAULT_MS 15000u
#define DEADLINE_MAX_MS 45000u
#define DEADLINE_MIN_MS 500u

static Obvault__V1__Finding *finding_of(op_memory *m, const obv_finding *f, obv_err *err)
{
    Obvault__V1__Finding *o = OP_GET(m, Obvault__V1__Finding, OBVAULT__V1__FINDING__INIT);
    if (!o)
        return NULL;
    o->level = (uint32_t)f->level;
    o->code = (int32_t)f->code;
    o->check = op_text(m, f->check, err);
    o->where = op_text(m, f->where, err);
    o->found = op_text(m, f->found, err);
    o->means = op_text(m, f->means, err);
    o->next = op_text(m, f->next, err);
    return o->check && o->where && o->found && o->means && o->next ? o : NULL;
}

static void judge_certificate(const obv_api *api, obv_findings *l)
{
    static const char CHECK[] = "coordinator.certificate";
    int64_t until = 0;
    obv_err err = {0};
    if (obv_pem_expiry(api->cert, &until, &err) != OBV_OK)
        obv_found_err(l, &err, CHECK, "coordinator", "agents and operators cannot call after the next restart");
    else
        obv_pem_judge(l, CHECK, "coordinator", until, obv_ctx_now(&api->x));
}

obv_code op_doctor(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__DoctorRequest *q = (const Obvault__V1__DoctorRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    OBV_AUTO(obv_findings_fini) obv_findings l = {0};
    Obvault__V1__DoctorResponse r = OBVAULT__V1__DOCTOR_RESPONSE__INIT;
    uint32_t ms = q->deadline_ms ? q->deadline_ms : DEADLINE_DEFAULT_MS;
    ms = ms > DEADLINE_MAX_MS ? DEADLINE_MAX_MS : ms < DEADLINE_MIN_MS ? DEADLINE_MIN_MS : ms;
    obv_job_ctx x = api->x;
    OBV_TRY(api->clusters(api->ctx, &x.clusters, err));
    const obv_code code = obv_doctor(&x, api->site, q->repository_only, ms, &l, err);
    api->clusters_free(x.clusters.ctx);
    OBV_TRY(code);
    if (!q->repository_only)
        judge_certificate(api, &l);
    for (size_t i = 0; i < l.n; i++)
        OBV_TRY(op_push(&m, &r.findings, &r.n_findings, finding_of(&m, &l.v[i], err), err));
    return obv_message_pack(&r.base, resp, err);
}
