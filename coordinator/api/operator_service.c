#define OBV_LOG_MOD "api"
#include "api/operator_priv.h"
#include "base/log.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/cancel.h"
#include "job/repo_init.h"
#include "job/restore.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS_DEFAULT 50u
#define JOBS_MAX 1000u
#define EVENTS_MAX 500u /* of one job */
#define EVENTS_DEFAULT 100u
#define EVENTS_LIMIT 1000u

void op_memory_fini(op_memory *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->v[i]);
    free(m->v);
}

void *op_get(op_memory *m, size_t size, obv_err *err)
{
    void **slot = obv_list_add(m, sizeof *slot, err);
    if (!slot)
        return NULL;
    *slot = calloc(1, size ? size : 1);
    if (!*slot)
        (void)obv_fail(err, OBV_E_NOMEM, 0, "reply");
    return *slot;
}

char *op_text(op_memory *m, const char *s, obv_err *err)
{
    char *t = op_get(m, strlen(s) + 1, err);
    if (t)
        memcpy(t, s, strlen(s) + 1);
    return t;
}

obv_code op_push(op_memory *m, void *list_field, size_t *n, void *item, obv_err *err)
{
    void ***list = list_field;
    if (!item)
        return err->code != OBV_OK ? err->code : obv_fail(err, OBV_E_NOMEM, 0, "reply");
    if ((*n & (*n - 1)) == 0) {
        void **bigger = op_get(m, (*n ? *n * 2 : 1) * sizeof *bigger, err);
        if (!bigger)
            return OBV_E_NOMEM;
        if (*n)
            memcpy(bigger, *list, *n * sizeof *bigger);
        *list = bigger;
    }
    (*list)[(*n)++] = item;
    return OBV_OK;
}

Obvault__V1__Error *op_error(op_memory *m, const obv_err *e, obv_err *err)
{
    Obvault__V1__Error *o = OP_GET(m, Obvault__V1__Error, OBVAULT__V1__ERROR__INIT);
    if (!o)
        return NULL;
    o->code = (int32_t)e->code;
    o->sys = e->sys;
    o->message = op_text(m, e->msg, err);
    o->hint = op_text(m, e->hint[0] || e->code == OBV_OK ? e->hint : obv_code_describe(e->code)->default_hint, err);
    return o->message && o->hint ? o : NULL;
}

/* ---- jobs */

static obv_code fill_progress(obv_job_ctx *x, const obv_job *j, Obvault__V1__Progress *p, obv_err *err)
{
    if (j->kind == OBV_JOB_BACKUP && j->ref) {
        obv_set_sums sums;
        uint64_t read = 0, written = 0, blocks = 0;
        OBV_TRY(obv_set_sum(x->s, j->ref, 0, &sums, err));
        obv_registry_progress(x->reg, j->id, &read, &written, &blocks);
        p->pgs_total = (uint32_t)sums.pgs;
        p->pgs_done = (uint32_t)sums.pgs_done;
        p->blocks_done = (uint64_t)sums.blocks_stored;
        p->bytes_read = (uint64_t)sums.bytes_read;
        p->bytes_written = (uint64_t)sums.bytes_written;
        if (j->status == OBV_JOB_RUNNING && sums.pgs_done < sums.pgs) {
            /* running batches count their finished PGs too; show whichever is further */
            p->bytes_read = read > p->bytes_read ? read : p->bytes_read;
            p->bytes_written = written > p->bytes_written ? written : p->bytes_written;
            p->blocks_done = blocks > p->blocks_done ? blocks : p->blocks_done;
        }
    }
    if (j->kind == OBV_JOB_RESTORE || j->kind == OBV_JOB_CHECK) {
        obv_restore r;
        OBV_TRY(obv_restore_get(x->s, j->id, &r, err));
        p->pgs_total = (uint32_t)r.pgs;
        p->pgs_done = (uint32_t)r.pgs_done;
        p->blocks_total = (uint64_t)r.blocks;
        p->blocks_done = (uint64_t)r.blocks_done;
    }
    return OBV_OK;
}

Obvault__V1__Job *op_job(obv_job_ctx *x, op_memory *m, const obv_job *j, obv_err *err)
{
    Obvault__V1__Job *o = OP_GET(m, Obvault__V1__Job, OBVAULT__V1__JOB__INIT);
    Obvault__V1__Progress *p = OP_GET(m, Obvault__V1__Progress, OBVAULT__V1__PROGRESS__INIT);
    if (!o || !p || fill_progress(x, j, p, err) != OBV_OK)
        return NULL;
    o->id = op_text(m, j->id, err);
    o->kind = op_text(m, obv_job_kind_name(j->kind), err);
    o->status = op_text(m, obv_job_status_name(j->status), err);
    o->phase = op_text(m, j->phase, err);
    o->run_key = op_text(m, j->run_key, err);
    o->ref = j->ref;
    o->started_at = j->started_at;
    o->ended_at = j->ended_at;
    o->at = obv_ctx_now(x);
    o->progress = p;
    if (j->result.code != OBV_OK)
        o->error = op_error(m, &j->result, err);
    if (j->kind == OBV_JOB_ARCHIVE) {
        obv_round r;
        if (obv_round_get(x->s, j->ref, &r, NULL) == OBV_OK)
            o->reached_to = r.checkpoint_ts;
    }
    return o->id && o->kind && o->status && o->phase && o->run_key ? o : NULL;
}

static obv_code reply_job(obv_job_ctx *x, const obv_job *j, obv_buf *resp, obv_err *err)
{
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    const Obvault__V1__Job *o = op_job(x, &m, j, err);
    return o ? obv_message_pack(&o->base, resp, err) : OBV_E_NOMEM;
}

typedef struct job_list {
    obv_job_ctx *x;
    op_memory *m;
    Obvault__V1__JobListResponse *r;
} job_list;

static obv_code add_job(void *ctx, const obv_job *j, obv_err *err)
{
    job_list *l = ctx;
    return op_push(l->m, &l->r->jobs, &l->r->n_jobs, op_job(l->x, l->m, j, err), err);
}

static obv_code op_job_list(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__JobListRequest *q = (const Obvault__V1__JobListRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__JobListResponse r = OBVAULT__V1__JOB_LIST_RESPONSE__INIT;
    job_list l = {&api->x, &m, &r};
    const uint32_t limit = q->limit == 0 ? JOBS_DEFAULT : q->limit < JOBS_MAX ? q->limit : JOBS_MAX;
    OBV_TRY(obv_job_each(api->x.s, (obv_job_kind)0, q->running_only, limit, add_job, &l, err));
    return obv_message_pack(&r.base, resp, err);
}

typedef struct event_list {
    op_memory *m;
    Obvault__V1__Event ***events;
    size_t *n;
} event_list;

static obv_code add_event(void *ctx, const obv_event *in, obv_err *err)
{
    event_list *l = ctx;
    Obvault__V1__Event *e = OP_GET(l->m, Obvault__V1__Event, OBVAULT__V1__EVENT__INIT);
    if (!e)
        return OBV_E_NOMEM;
    e->id = in->id;
    e->at = in->at;
    e->job_id = op_text(l->m, in->job_id, err);
    e->kind = op_text(l->m, in->kind, err);
    e->level = op_text(l->m, obv_event_level_name(in->level), err);
    e->tenant_id = in->tenant_id;
    e->text = op_text(l->m, in->text, err);
    return op_push(l->m, l->events, l->n, e->job_id && e->kind && e->level && e->text ? e : NULL, err);
}

static obv_code op_events(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__EventsRequest *q = (const Obvault__V1__EventsRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__EventsResponse r = OBVAULT__V1__EVENTS_RESPONSE__INIT;
    event_list l = {&m, &r.events, &r.n_events};
    const uint32_t limit = q->limit == 0 ? EVENTS_DEFAULT : q->limit < EVENTS_LIMIT ? q->limit : EVENTS_LIMIT;
    OBV_TRY(obv_event_last(api->x.s, &r.last, err)); /* before the list: what comes in between is asked for again */
    OBV_TRY(obv_event_list(api->x.s, q->since, q->after, q->kind, limit, add_event, &l, err));
    if (r.n_events > 0 && r.events[r.n_events - 1]->id > r.last)
        r.last = r.events[r.n_events - 1]->id;
    return obv_message_pack(&r.base, resp, err);
}

static obv_code op_job_show(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__JobRequest *q = (const Obvault__V1__JobRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__JobDetail d = OBVAULT__V1__JOB_DETAIL__INIT;
    obv_job j;
    event_list l = {&m, &d.events, &d.n_events};
    OBV_TRY(obv_job_get(api->x.s, q->id, &j, err));
    d.job = op_job(&api->x, &m, &j, err);
    if (!d.job)
        return OBV_E_NOMEM;
    OBV_TRY(obv_event_each(api->x.s, j.id, 0, EVENTS_MAX, add_event, &l, err));
    return obv_message_pack(&d.base, resp, err);
}

obv_code obv_operator_watch(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_rpc_call *call,
                            const obv_cancel *stop, obv_err *err)
{
    obv_api *api = ctx;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *q = NULL;
    if (peer->role != OBV_RPC_OPERATOR)
        return obv_fail(err, OBV_E_DENIED, 0, "the certificate is not an operator's");
    OBV_TRY(obv_message_unpack(&obvault__v1__job_request__descriptor, req, &q, err));
    for (;;) {
        obv_job j;
        obv_buf b = obv_buf_heap(1u << 20);
        OBV_TRY(obv_job_get(api->x.s, ((const Obvault__V1__JobRequest *)q)->id, &j, err));
        obv_code code = reply_job(&api->x, &j, &b, err);
        if (code == OBV_OK)
            code = obv_rpc_send(call, obv_buf_span(&b), err);
        obv_buf_fini(&b);
        OBV_TRY(code);
        if (j.status != OBV_JOB_RUNNING)
            return OBV_OK;
        for (int i = 0; i < 10; i++)
            OBV_TRY(obv_cancel_sleep(stop, 100, err));
    }
}

/* ---- things that start something: with handles of their own, since a call may be slow */

typedef struct handles {
    obv_api *api;
    obv_clusters c;
} handles;

static void handles_drop(handles *h)
{
    if (h->c.ctx)
        h->api->clusters_free(h->c.ctx);
}

static obv_code open_source(obv_api *api, handles *h, obv_cluster **out, obv_err *err)
{
    h->api = api;
    OBV_TRY(api->clusters(api->ctx, &h->c, err));
    return h->c.source(h->c.ctx, out, err);
}

static obv_code check_key(const char *key, obv_err *err)
{
    return strlen(key) < 128 ? OBV_OK : obv_fail(err, OBV_E_INVAL, 0, "a run key has at most 127 bytes");
}

typedef obv_code begin_fn(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err);

static obv_code start(obv_api *api, const ProtobufCMessage *req, begin_fn *begin, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__StartRequest *q = (const Obvault__V1__StartRequest *)req;
    OBV_AUTO(handles_drop) handles h = {.api = api};
    obv_cluster *c = NULL;
    obv_job j;
    OBV_TRY(check_key(q->run_key, err));
    OBV_TRY(open_source(api, &h, &c, err));
    OBV_TRY(begin(&api->x, c, q->run_key, &j, err));
    return reply_job(&api->x, &j, resp, err);
}

static obv_code op_repo_init(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    return start(api, req, obv_repo_init_begin, resp, err);
}
static obv_code op_archive_start(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    return start(api, req, obv_archive_begin_round, resp, err);
}
static obv_code op_backup_start(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    return start(api, req, obv_backup_begin, resp, err);
}

static obv_code op_archive_stop(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    obv_job j;
    OBV_TRY(obv_archive_stop_round(&api->x, &j, err));
    return reply_job(&api->x, &j, resp, err);
}

static obv_code op_restore_start(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__RestoreStartRequest *in = (const Obvault__V1__RestoreStartRequest *)req;
    OBV_AUTO(handles_drop) handles h = {.api = api};
    obv_cluster *target = NULL;
    obv_job j;
    obv_restore_request q = {.target = in->target,
                             .tenant = in->tenant,
                             .new_tenant = in->new_tenant,
                             .until_us = in->at,
                             .pools = in->pools,
                             .locality = in->locality,
                             .primary_zone = in->primary_zone};
    OBV_TRY(check_key(in->run_key, err));
    if (!q.target[0] && api->target_count == 1)
        q.target = api->targets[0];
    if (!q.target[0])
        return obv_fail(err, OBV_E_INVAL, 0, "name the target: the configuration has %zu", api->target_count);
    OBV_TRY(api->clusters(api->ctx, &h.c, err));
    OBV_TRY(h.c.target(h.c.ctx, q.target, &target, err));
    OBV_TRY(obv_restore_begin(&api->x, target, &q, in->run_key, &j, err));
    return reply_job(&api->x, &j, resp, err);
}

static obv_code op_backup_cancel(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    obv_job j;
    OBV_TRY(obv_job_cancel(&api->x, "", &j, err));
    return reply_job(&api->x, &j, resp, err);
}

static obv_code op_job_cancel(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__JobRequest *q = (const Obvault__V1__JobRequest *)req;
    obv_job j;
    if (!q->id[0])
        return obv_fail(err, OBV_E_INVAL, 0, "name the job to cancel");
    OBV_TRY(obv_job_cancel(&api->x, q->id, &j, err));
    return reply_job(&api->x, &j, resp, err);
}

/* ---- small ones */

static obv_code op_version(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)api, (void)req;
    char version[] = OBV_VERSION;
    Obvault__V1__VersionResponse r = OBVAULT__V1__VERSION_RESPONSE__INIT;
    r.version = version;
    r.protocol = 1;
    return obv_message_pack(&r.base, resp, err);
}

static obv_code op_repo_show(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    obv_repository r;
    OBV_TRY(obv_state_repository(api->x.s, &r, err));
    Obvault__V1__Repository o = OBVAULT__V1__REPOSITORY__INIT;
    o.uuid = r.uuid;
    o.profile = r.profile;
    o.cluster_name = r.cluster_name;
    o.cluster_id = r.cluster_id;
    o.created_at = r.created_at;
    o.ready = r.ready;
    o.uri = op_text(&m, api->x.cfg->uri, err);
    return o.uri ? obv_message_pack(&o.base, resp, err) : OBV_E_NOMEM;
}

/* ---- dispatch */

static const struct {
    const char *name;
    op_method *fn;
} METHODS[] = {
    {"Version", op_version},
    {"RepoInit", op_repo_init},
    {"RepoShow", op_repo_show},
    {"ArchiveStart", op_archive_start},
    {"ArchiveStop", op_archive_stop},
    {"ArchiveStatus", op_archive_status},
    {"BackupStart", op_backup_start},
    {"BackupCancel", op_backup_cancel},
    {"BackupList", op_backup_list},
    {"BackupShow", op_backup_show},
    {"Window", op_window},
    {"RestorePlan", op_restore_plan},
    {"RestoreCheck", op_restore_check},
    {"RestoreStart", op_restore_start},
    {"RestoreStatus", op_restore_status},
    {"JobList", op_job_list},
    {"JobShow", op_job_show},
    {"JobCancel", op_job_cancel},
    {"AgentList", op_agent_list},
    {"Doctor", op_doctor},
    {"Events", op_events},
};
#define METHOD_COUNT (sizeof METHODS / sizeof *METHODS)

typedef struct method_ctx {
    obv_api *api;
    op_method *fn;
    const ProtobufCMessageDescriptor *input;
    char path[96];
} method_ctx;

static obv_code run_method(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err)
{
    const method_ctx *m = ctx;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *q = NULL;
    if (peer->role != OBV_RPC_OPERATOR)
        return obv_fail(err, OBV_E_DENIED, 0, "the certificate is not an operator's");
    OBV_TRY(obv_message_unpack(m->input, req, &q, err));
    const obv_code code = m->fn(m->api, q, resp, err);
    if (code != OBV_OK && err->code == OBV_OK) /* a reply that could not be built */
        return obv_fail(err, code, 0, "%s", m->path);
    return code;
}

struct obv_routes {
    obv_rpc_route routes[METHOD_COUNT + 2];
    method_ctx methods[METHOD_COUNT];
    char sync[96], watch[96];
};

obv_code obv_api_routes(obv_api *api, obv_rpc_route **out, size_t *n, obv_err *err)
{
    const ProtobufCServiceDescriptor *d = &obvault__v1__operator_service__descriptor;
    struct obv_routes *r = calloc(1, sizeof *r);
    if (!r)
        return obv_fail(err, OBV_E_NOMEM, 0, "routes");
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        method_ctx *m = &r->methods[i];
        const ProtobufCMethodDescriptor *method = protobuf_c_service_descriptor_get_method_by_name(d, METHODS[i].name);
        obv_assert(method);
        *m = (method_ctx){.api = api, .fn = METHODS[i].fn, .input = method->input};
        (void)snprintf(m->path, sizeof m->path, "/%s/%s", d->name, METHODS[i].name);
        r->routes[i] = (obv_rpc_route){.path = m->path, .unary = run_method, .ctx = m};
    }
    (void)snprintf(r->watch, sizeof r->watch, "/%s/JobWatch", d->name);
    (void)snprintf(r->sync, sizeof r->sync, "/%s", obv_agent_sync_path());
    r->routes[METHOD_COUNT] = (obv_rpc_route){.path = r->watch, .stream = obv_operator_watch, .ctx = api};
    r->routes[METHOD_COUNT + 1] = (obv_rpc_route){.path = r->sync, .unary = obv_agent_sync, .ctx = api};
    *out = r->routes; /* the first member: free(routes) frees all */
    *n = METHOD_COUNT + 2;
    return OBV_OK;
}
