#include "api/operator_priv.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/window.h"
#include "proto/message.h"

#include <stdlib.h>
#include <string.h>

typedef struct view {
    obv_job_ctx *x;
    op_memory *m;
    void *reply;
    const void *want;
} view;

/* ---- archive status */

/* A round is over when its last files are stored too. */
static obv_round_status shown(obv_job_ctx *x, int64_t round, obv_round_status status)
{
    obv_job j;
    const bool over = status != OBV_ROUND_STOP || obv_job_of_ref(x->s, OBV_JOB_ARCHIVE, round, &j, NULL) != OBV_OK ||
                      j.status != OBV_JOB_RUNNING;
    return over ? status : OBV_ROUND_STOPPING;
}

static const char *const HEALTH[] = {
    [OBV_HEALTH_NONE] = "", [OBV_HEALTH_OK] = "OK", [OBV_HEALTH_LAGGING] = "LAGGING", [OBV_HEALTH_STUCK] = "STUCK"};

static obv_code add_archive_tenant(void *ctx, const obv_round_tenant *t, obv_err *err)
{
    view *v = ctx;
    Obvault__V1__ArchiveStatusResponse *r = v->reply;
    obv_coverage c;
    OBV_TRY(obv_archive_coverage(v->x, t->round, t->tenant_id, &c, err));
    Obvault__V1__ArchiveTenant *o = OP_GET(v->m, Obvault__V1__ArchiveTenant, OBVAULT__V1__ARCHIVE_TENANT__INIT);
    if (!o)
        return OBV_E_NOMEM;
    o->tenant_id = t->tenant_id;
    o->name = op_text(v->m, t->name, err);
    o->status = op_text(v->m, obv_round_status_name(shown(v->x, t->round, t->status)), err);
    o->start_ts = t->start_ts;
    o->checkpoint_ts = t->checkpoint_ts;
    o->pgs = c.pgs;
    o->pgs_started = c.started;
    o->pgs_sampled = c.sampled;
    o->pgs_unassigned = c.unassigned;
    o->bytes_in = c.bytes_in;
    o->bytes_out = c.bytes_out;
    o->gap_known = c.gap_known;
    o->gap_files = c.gap_files;
    o->gap_in_s = c.gap_in_s;
    o->gap_near = c.gap_near;
    if (t->status == OBV_ROUND_INTERRUPTED)
        o->lost_from = t->checkpoint_ts ? t->checkpoint_ts : t->start_ts;
    o->gap_agent = op_text(v->m, c.gap_agent, err);
    o->next = op_text(v->m, obv_archive_next(t, &c), err);
    o->health = op_text(v->m, HEALTH[obv_archive_health(v->x->cfg, t, obv_ctx_now(v->x))], err);
    for (uint32_t i = 0; i < c.blocking_count; i++) {
        Obvault__V1__PgKey *k = OP_GET(v->m, Obvault__V1__PgKey, OBVAULT__V1__PG_KEY__INIT);
        if (k) {
            k->table_id = c.blocking[i].table_id;
            k->part_id = (uint32_t)c.blocking[i].part_id;
            k->assist = (uint32_t)c.blocking[i].assist;
        }
        OBV_TRY(op_push(v->m, &o->blocking, &o->n_blocking, k, err));
    }
    const obv_err *why = t->error.code != OBV_OK ? &t->error : &c.why;
    if (why->code != OBV_OK && !(o->error = op_error(v->m, why, err)))
        return OBV_E_NOMEM;
    const bool whole = o->name && o->status && o->gap_agent && o->next && o->health;
    return op_push(v->m, &r->tenants, &r->n_tenants, whole ? o : NULL, err);
}

obv_code op_archive_status(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__ArchiveStatusResponse r = OBVAULT__V1__ARCHIVE_STATUS_RESPONSE__INIT;
    view v = {&api->x, &m, &r, NULL};
    obv_round round;
    r.now = obv_ctx_now(&api->x);
    const obv_code code = obv_round_last(api->x.s, &round, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_message_pack(&r.base, resp, err);
    OBV_TRY(code);
    r.exists = true;
    r.round = round.round;
    r.job_id = op_text(&m, round.job_id, err);
    r.status = op_text(&m, obv_round_status_name(shown(&api->x, round.round, round.status)), err);
    r.start_ts = round.start_ts;
    r.checkpoint_ts = round.checkpoint_ts;
    r.piece = round.piece;
    r.piece_start_ts = round.piece_at;
    if (round.piece) {
        int64_t freezing = 0;
        OBV_TRY(obv_piece_freezing_count(api->x.s, round.round, &freezing, err));
        r.piece_freezing = freezing > 0;
    }
    r.gap_policy = op_text(&m, api->x.cfg->gap_hold ? "hold" : "optional", err);
    if (!r.job_id || !r.status || !r.gap_policy)
        return OBV_E_NOMEM;
    OBV_TRY(obv_round_tenant_each(api->x.s, round.round, add_archive_tenant, &v, err));
    return obv_message_pack(&r.base, resp, err);
}

/* ---- backup list, show */

static Obvault__V1__BackupSetInfo *set_info(view *v, const obv_set *s, obv_err *err)
{
    obv_set_sums sums;
    Obvault__V1__BackupSetInfo *o = OP_GET(v->m, Obvault__V1__BackupSetInfo, OBVAULT__V1__BACKUP_SET_INFO__INIT);
    if (!o || obv_set_sum(v->x->s, s->id, 0, &sums, err) != OBV_OK)
        return NULL;
    const char *status = s->status == OBV_SET_GOOD ? "SUCCESS" : s->status == OBV_SET_BAD ? "FAILED" : "DOING";
    o->set_id = s->id;
    o->type = op_text(v->m, "full", err);
    o->status = op_text(v->m, status, err);
    o->job_id = op_text(v->m, s->job_id, err);
    o->round = s->round;
    o->snapshot = s->status == OBV_SET_GOOD ? s->snapshot : 0;
    o->started_at = s->started_at;
    o->ended_at = s->status == OBV_SET_GOOD || s->status == OBV_SET_BAD ? s->ended_at : 0;
    o->data_version = s->data_version;
    o->pgs = sums.pgs;
    o->pgs_done = sums.pgs_done;
    o->blocks = sums.blocks;
    o->bytes_read = sums.bytes_read;
    o->bytes_written = sums.bytes_written;
    o->date = s->date;
    return o->type && o->status && o->job_id ? o : NULL;
}

static obv_code add_set(void *ctx, const obv_set *s, obv_err *err)
{
    view *v = ctx;
    Obvault__V1__BackupListResponse *r = v->reply;
    return op_push(v->m, &r->sets, &r->n_sets, set_info(v, s, err), err);
}

obv_code op_backup_list(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__BackupListResponse r = OBVAULT__V1__BACKUP_LIST_RESPONSE__INIT;
    view v = {&api->x, &m, &r, NULL};
    OBV_TRY(obv_set_each(api->x.s, add_set, &v, err));
    return obv_message_pack(&r.base, resp, err);
}

static obv_code add_set_tenant(void *ctx, const obv_set_tenant *t, obv_err *err)
{
    view *v = ctx;
    Obvault__V1__BackupSetDetail *d = v->reply;
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    obv_set_sums sums;
    OBV_TRY(obv_set_sum(v->x->s, t->set_id, t->tenant_id, &sums, err));
    OBV_TRY(obv_window_load(v->x, t->tenant_id, &w, err));
    Obvault__V1__BackupTenant *o = OP_GET(v->m, Obvault__V1__BackupTenant, OBVAULT__V1__BACKUP_TENANT__INIT);
    if (!o || !(o->name = op_text(v->m, t->name, err)))
        return OBV_E_NOMEM;
    o->tenant_id = t->tenant_id;
    o->pgs = sums.pgs;
    o->pgs_done = sums.pgs_done;
    o->blocks = sums.blocks;
    o->bytes_read = sums.bytes_read;
    o->bytes_written = sums.bytes_written;
    o->schema_version = t->schema_version;
    for (size_t i = 0; i < w.set_count; i++) {
        const obv_window win = obv_window_of(&w.sets[i], w.pieces, w.piece_count);
        if (w.sets[i].set_id == t->set_id && win.from <= win.to) {
            o->restorable_from = win.from;
            o->restorable_to = win.to;
        }
    }
    return op_push(v->m, &d->tenants, &d->n_tenants, o, err);
}

obv_code op_backup_show(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__BackupShowRequest *q = (const Obvault__V1__BackupShowRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__BackupSetDetail d = OBVAULT__V1__BACKUP_SET_DETAIL__INIT;
    view v = {&api->x, &m, &d, NULL};
    obv_set s;
    OBV_TRY(obv_set_get(api->x.s, q->set_id, &s, err));
    if (!(d.set = set_info(&v, &s, err)))
        return OBV_E_NOMEM;
    OBV_TRY(obv_set_tenant_each(api->x.s, s.id, add_set_tenant, &v, err));
    return obv_message_pack(&d.base, resp, err);
}

/* ---- restore status, agents */

obv_code op_restore_status(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    const Obvault__V1__JobRequest *q = (const Obvault__V1__JobRequest *)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    Obvault__V1__RestoreStatusResponse o = OBVAULT__V1__RESTORE_STATUS_RESPONSE__INIT;
    obv_job j;
    obv_restore r;
    OBV_TRY(obv_job_get(api->x.s, q->id, &j, err));
    if (j.kind != OBV_JOB_RESTORE)
        return obv_fail(err, OBV_E_INVAL, 0, "job %s is no restore", j.id);
    OBV_TRY(obv_restore_get(api->x.s, j.id, &r, err));
    if (!(o.job = op_job(&api->x, &m, &j, err)))
        return OBV_E_NOMEM;
    o.target = r.target;
    o.tenant = r.tenant;
    o.new_tenant = r.new_tenant;
    o.at = r.until_us;
    o.set_id = r.set_id;
    o.round = r.round;
    o.target_status = r.status;
    o.info = r.info;
    o.pgs = r.pgs;
    o.pgs_done = r.pgs_done;
    o.blocks = r.blocks;
    o.blocks_done = r.blocks_done;
    o.issued_at = r.issued_at;
    o.eta_s = -1;
    const int64_t worked = obv_ctx_now(&api->x) - r.issued_at;
    if (j.status == OBV_JOB_RUNNING && r.issued_at && worked > OBV_US_PER_S && r.blocks_done > 0 &&
        r.blocks >= r.blocks_done)
        o.eta_s = (int64_t)((double)worked / (double)r.blocks_done * (double)(r.blocks - r.blocks_done) / 1e6);
    return obv_message_pack(&o.base, resp, err);
}

static Obvault__V1__Agent *agent_of(view *v, const obv_live_agent *a, obv_err *err)
{
    Obvault__V1__Agent *o = OP_GET(v->m, Obvault__V1__Agent, OBVAULT__V1__AGENT__INIT);
    Obvault__V1__Server *s = OP_GET(v->m, Obvault__V1__Server, OBVAULT__V1__SERVER__INIT);
    if (!o || !s)
        return NULL;
    s->ip = op_text(v->m, a->hello.ip, err);
    s->rpc_port = a->hello.rpc_port;
    s->sql_port = a->hello.sql_port;
    o->id = op_text(v->m, a->hello.agent_id, err);
    o->version = op_text(v->m, a->hello.version, err);
    o->server = s;
    o->alive = a->alive;
    o->sees_repository = a->known;
    if (a->hello.repository_error.code != OBV_OK &&
        !(o->repository_error = op_error(v->m, &a->hello.repository_error, err)))
        return NULL;
    o->silent_ms = (uint32_t)((obv_clock_ns(&v->x->clock) - a->seen_ns) / OBV_NS_PER_MS);
    o->batches = (uint32_t)a->batches;
    o->rss_bytes = a->hello.rss_bytes;
    o->pool_bytes = a->hello.pool_bytes;
    o->pool_used_bytes = a->hello.pool_used_bytes;
    return s->ip && o->id && o->version ? o : NULL;
}

obv_code op_agent_list(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err)
{
    (void)req;
    OBV_AUTO(op_memory_fini) op_memory m = {0};
    OBV_AUTO(obv_freep) obv_live_agent *a = calloc(OBV_AGENTS_MAX, sizeof *a);
    Obvault__V1__AgentListResponse r = OBVAULT__V1__AGENT_LIST_RESPONSE__INIT;
    view v = {&api->x, &m, &r, NULL};
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(api->x.reg, a, OBV_AGENTS_MAX);
    for (size_t i = 0; i < n; i++)
        OBV_TRY(op_push(&m, &r.agents, &r.n_agents, agent_of(&v, &a[i], err), err));
    return obv_message_pack(&r.base, resp, err);
}
