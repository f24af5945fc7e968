#define OBV_LOG_MOD "api"
#include "api/api.h"
#include "base/log.h"
#include "job/backup.h"
#include "job/plan_check.h"
#include "obvault/v1/agent.pb-c.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL 1u
#define TASKS_MAX 16u
#define PGS_MAX 128u
#define OBJECTS_MAX 256u
#define CHUNK_BYTES (256u << 10)
#define CHECK_SYNC_MS 100u /* while doctor waits */

/* All memory of one answer; freed together. */
typedef struct arena {
    void **v;
    size_t n, cap;
} arena;

static void arena_fini(arena *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i]);
    free(a->v);
}

static void *arena_get(arena *a, size_t size, obv_err *err)
{
    void **slot = obv_list_add(a, sizeof *slot, err);
    if (!slot)
        return NULL;
    *slot = calloc(1, size ? size : 1);
    if (!*slot)
        (void)obv_fail(err, OBV_E_NOMEM, 0, "answer to an agent");
    return *slot;
}

static char *arena_text(arena *a, const char *s, obv_err *err)
{
    char *t = arena_get(a, strlen(s) + 1, err);
    if (t)
        memcpy(t, s, strlen(s) + 1);
    return t;
}

typedef struct answer {
    obv_api *api;
    obv_turn *turn;
    arena mem;
    Obvault__V1__SyncResponse r;
    Obvault__V1__ArchivePage page;
    Obvault__V1__Chunk chunk;
    Obvault__V1__CheckWanted check;
    obv_repository repo;
    bool have_repo;
} answer;

/* ---- in */

static void copy(char *out, size_t cap, const char *in) { (void)snprintf(out, cap, "%s", in ? in : ""); }

static void take_error(const Obvault__V1__Error *e, obv_err *out)
{
    *out = (obv_err){0};
    if (!e || e->code == 0)
        return;
    out->code = obv_code_describe((obv_code)e->code)->code;
    out->sys = e->sys;
    copy(out->msg, sizeof out->msg, e->message);
    copy(out->hint, sizeof out->hint, e->hint);
}

static obv_code take_pg(const Obvault__V1__PgKey *k, obv_pg_key *out, obv_err *err)
{
    if (!k || k->part_id > INT32_MAX || k->assist > INT32_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: a PG key is missing or impossible");
    *out = (obv_pg_key){k->table_id, (int32_t)k->part_id, (int32_t)k->assist};
    return OBV_OK;
}

static obv_code take_hello(const Obvault__V1__SyncRequest *q, const obv_rpc_peer *peer, obv_hello *h, obv_err *err)
{
    *h = (obv_hello){.session = q->session, .seq = q->seq, .cluster_id = q->cluster_id};
    if (peer->role != OBV_RPC_AGENT)
        return obv_fail(err, OBV_E_DENIED, 0, "sync: the certificate is not an agent's");
    if (q->protocol != PROTOCOL)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "sync: protocol %u, this coordinator speaks %u", q->protocol,
                        PROTOCOL);
    if (strcmp(peer->name, q->agent_id) != 0)
        return obv_fail(err, OBV_E_DENIED, 0, "sync: agent %.60s came with the certificate of %.60s", q->agent_id,
                        peer->name);
    if (!q->server || q->n_tasks > TASKS_MAX || q->n_pgs > PGS_MAX || q->n_archive > OBV_AGENT_TENANTS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: without server, or more items than allowed");
    copy(h->agent_id, sizeof h->agent_id, q->agent_id);
    copy(h->version, sizeof h->version, q->version);
    copy(h->ip, sizeof h->ip, q->server->ip);
    h->rpc_port = q->server->rpc_port;
    h->sql_port = q->server->sql_port;
    char id[OBV_AGENT_ID_MAX];
    (void)snprintf(id, sizeof id, "%s:%u", h->ip, h->rpc_port);
    if (strcmp(id, h->agent_id) != 0)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: agent %s serves %s", h->agent_id, id);
    copy(h->cluster_name, sizeof h->cluster_name, q->cluster_name);
    copy(h->repository_uuid, sizeof h->repository_uuid, q->repository_uuid);
    copy(h->repository_profile, sizeof h->repository_profile, q->repository_profile);
    take_error(q->repository_error, &h->repository_error);
    if (q->load) {
        h->batches_running = q->load->batches_running;
        h->batch_slots = q->load->batch_slots;
        h->pool_bytes = q->load->pool_bytes;
        h->pool_used_bytes = q->load->pool_used_bytes;
        h->rss_bytes = q->load->rss_bytes;
    }
    return OBV_OK;
}

static obv_code apply_pg(obv_turn *t, const Obvault__V1__PgCopied *in, obv_err *err)
{
    obv_pg_report p = {.report_id = in->report_id,
                       .epoch = in->epoch,
                       .pass = in->pass,
                       .blocks = in->blocks,
                       .blocks_stored = in->blocks_stored,
                       .bytes_read = in->bytes_read,
                       .bytes_written = in->bytes_written,
                       .partitions = in->partitions,
                       .last_submit_ts = in->last_submit_ts,
                       .last_replay_log_id = in->last_replay_log_id,
                       .publish_version = in->publish_version,
                       .lower_bound = in->lower_bound,
                       .schema_version = in->schema_version};
    copy(p.task_uid, sizeof p.task_uid, in->task_uid);
    OBV_TRY(take_pg(in->pg, &p.pg, err));
    take_error(in->error, &p.error);
    if (in->n_contents > OBV_PG_CONTENTS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: %zu tables in one PG", in->n_contents);
    p.contents = in->contents;
    p.content_count = in->n_contents;
    if (in->n_objects > OBJECTS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: %zu objects of one PG", in->n_objects);
    if (p.error.code == OBV_OK)
        for (size_t i = 0; i < in->n_objects; i++) {
            const Obvault__V1__StoredObject *o = in->objects[i];
            OBV_TRY(obv_turn_pg_object(t, &p, o->path, o->size, obv_span_of(o->sha256.data, o->sha256.len), err));
        }
    return obv_turn_pg(t, &p, err);
}

static obv_code apply_task(obv_turn *t, const Obvault__V1__TaskReport *in, obv_err *err)
{
    static const obv_report_state STATES[] = {[OBVAULT__V1__TASK_STATE__TASK_RUNNING] = OBV_REPORT_RUNNING,
                                              [OBVAULT__V1__TASK_STATE__TASK_DONE] = OBV_REPORT_DONE,
                                              [OBVAULT__V1__TASK_STATE__TASK_FAILED] = OBV_REPORT_FAILED,
                                              [OBVAULT__V1__TASK_STATE__TASK_CANCELLED] = OBV_REPORT_CANCELLED};
    const size_t state = (size_t)in->state;
    if (state == 0 || state >= sizeof STATES / sizeof *STATES)
        return obv_fail(err, OBV_E_INVAL, 0, "sync: task %.60s is in state %zu", in->uid, state);
    obv_task_report r = {.epoch = in->epoch, .state = STATES[state]};
    copy(r.uid, sizeof r.uid, in->uid);
    take_error(in->error, &r.error);
    if (in->progress) {
        r.bytes_read = in->progress->bytes_read;
        r.bytes_written = in->progress->bytes_written;
        r.blocks_done = in->progress->blocks_done;
        r.blocks_total = in->progress->blocks_total;
    }
    if (in->metas && t->apply && r.state == OBV_REPORT_DONE) {
        if (in->metas->n_entries > 1024)
            return obv_fail(err, OBV_E_INVAL, 0, "sync: %zu meta records", in->metas->n_entries);
        OBV_AUTO(obv_freep) obv_meta_entry *e = calloc(in->metas->n_entries + 1, sizeof *e);
        if (!e)
            return obv_fail(err, OBV_E_NOMEM, 0, "sync");
        for (size_t i = 0; i < in->metas->n_entries; i++) {
            OBV_TRY(take_pg(in->metas->entries[i]->pg, &e[i].pg, err));
            e[i].offset = in->metas->entries[i]->offset;
            e[i].length = in->metas->entries[i]->length;
            e[i].partitions = in->metas->entries[i]->partitions;
            e[i].blocks = in->metas->entries[i]->blocks;
        }
        OBV_TRY(obv_turn_metas(t, r.uid, e, in->metas->n_entries, err));
    }
    return obv_turn_task(t, &r, err);
}

static obv_code apply_archive(obv_turn *t, const Obvault__V1__SyncRequest *q, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_tenant_archive *a = calloc(q->n_archive + 1, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "sync");
    for (size_t i = 0; i < q->n_archive; i++) {
        const Obvault__V1__TenantArchive *in = q->archive[i];
        a[i] = (obv_tenant_archive){.tenant_id = in->tenant_id,
                                    .revision = in->revision,
                                    .state = (obv_archive_state)in->state,
                                    .pgs = in->pgs,
                                    .pgs_started = in->pgs_started,
                                    .pgs_sampled = in->pgs_sampled,
                                    .round_start_ts_max = in->round_start_ts_max,
                                    .checkpoint_min = in->checkpoint_min,
                                    .sample_began_at = in->sample_began_at,
                                    .bytes_in = in->bytes_in,
                                    .bytes_out = in->bytes_out,
                                    .newest_clog_file = in->newest_clog_file,
                                    .oldest_clog_file = in->oldest_clog_file,
                                    .needed_clog_file = in->needed_clog_file,
                                    .gap_in_s = in->gap_in_s,
                                    .piece_min = in->piece_min,
                                    .submit_ts_max = in->submit_ts_max};
        take_error(in->error, &a[i].error);
        for (size_t k = 0; k < in->n_blocking && k < 8; k++)
            OBV_TRY(take_pg(in->blocking[k], &a[i].blocking[a[i].blocking_count++], err));
    }
    obv_turn_archive(t, q->archive_have ? q->archive_have->revision : 0,
                     q->archive_have ? q->archive_have->received : 0, a, q->n_archive);
    return OBV_OK;
}

static void take_finding(const Obvault__V1__Finding *in, obv_findings *out)
{
    obv_finding f = {.level = in->level == 1 || in->level == 2 ? (obv_level)in->level : OBV_LEVEL_FAIL,
                     .code = obv_code_describe((obv_code)in->code)->code};
    copy(f.check, sizeof f.check, in->check);
    copy(f.where, sizeof f.where, in->where);
    copy(f.found, sizeof f.found, in->found);
    copy(f.means, sizeof f.means, in->means);
    copy(f.next, sizeof f.next, in->next);
    obv_findings_add(out, &f);
}

static void take_check(const obv_api *api, const Obvault__V1__SyncRequest *q)
{
    const Obvault__V1__CheckReport *c = q->check;
    if (!c || !api->x.board)
        return;
    obv_board_answer a = {.done = c->done,
                          .clock_known = true,
                          .clock_off_us = c->now - obv_ctx_now(&api->x),
                          .free_known = c->free_known,
                          .free_bytes = c->free_bytes};
    copy(a.agent_id, sizeof a.agent_id, q->agent_id);
    copy(a.doing, sizeof a.doing, c->doing);
    copy(a.uuid, sizeof a.uuid, c->repository_uuid);
    for (size_t i = 0; i < c->n_findings && i < OBV_BOARD_FINDINGS_MAX; i++)
        take_finding(c->findings[i], &a.found);
    obv_board_take(api->x.board, c->id, &a);
}

/* ---- out */

#define GET(a, type, init)                                                                                             \
    ({                                                                                                                 \
        type *get_ = arena_get(&(a)->mem, sizeof *get_, err);                                                          \
        if (get_) {                                                                                                    \
            const type init_ = init;                                                                                   \
            *get_ = init_;                                                                                             \
        }                                                                                                              \
        get_;                                                                                                          \
    })

/* Room for one more pointer in a protobuf repeated field. */
static obv_code grow(answer *a, void ***list, size_t n, obv_err *err)
{
    if (n && (n & (n - 1)))
        return OBV_OK;
    void **bigger = arena_get(&a->mem, (n ? n * 2 : 1) * sizeof *bigger, err);
    if (!bigger)
        return OBV_E_NOMEM;
    if (n)
        memcpy(bigger, *list, n * sizeof *bigger);
    *list = bigger;
    return OBV_OK;
}
static Obvault__V1__PgKey *put_pg(answer *a, const obv_pg_key *k, obv_err *err)
{
    Obvault__V1__PgKey *p = GET(a, Obvault__V1__PgKey, OBVAULT__V1__PG_KEY__INIT);
    if (p) {
        p->table_id = k->table_id;
        p->part_id = (uint32_t)k->part_id;
        p->assist = (uint32_t)k->assist;
    }
    return p;
}

static Obvault__V1__BackupSet *put_set(answer *a, const obv_task *t, obv_err *err)
{
    obv_set set;
    obv_set_tenant tenant;
    obv_state *s = a->api->x.s;
    if (obv_set_get(s, t->set_id, &set, err) != OBV_OK ||
        obv_set_tenant_get(s, t->set_id, t->tenant_id, &tenant, err) != OBV_OK)
        return NULL; /* err says why */
    Obvault__V1__BackupSet *b = GET(a, Obvault__V1__BackupSet, OBVAULT__V1__BACKUP_SET__INIT);
    if (!b)
        return NULL;
    b->cluster_name = a->repo.cluster_name;
    b->cluster_id = a->repo.cluster_id;
    b->tenant_id = t->tenant_id;
    b->set_id = set.id;
    b->full_set_id = set.full_set_id;
    b->date = set.date;
    b->schema_version = tenant.schema_version;
    return b;
}

typedef struct pg_list {
    answer *a;
    Obvault__V1__PgKey **v;
    size_t n;
} pg_list;

static obv_code add_pg(pg_list *l, const obv_pg_key *k, obv_err *err)
{
    void **list = (void **)l->v;
    OBV_TRY(grow(l->a, &list, l->n, err));
    l->v = (Obvault__V1__PgKey **)list;
    l->v[l->n] = put_pg(l->a, k, err);
    return l->v[l->n++] ? OBV_OK : OBV_E_NOMEM;
}

static obv_code batch_pg(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    return p->state == OBV_PG_DOING ? add_pg(ctx, &p->key, err) : OBV_OK;
}

static obv_code put_batch(answer *a, const obv_task *t, Obvault__V1__Task *out, obv_err *err)
{
    obv_set set;
    pg_list l = {.a = a};
    Obvault__V1__BackupBatch *b = GET(a, Obvault__V1__BackupBatch, OBVAULT__V1__BACKUP_BATCH__INIT);
    if (!b || !(b->set = put_set(a, t, err)))
        return err->code;
    OBV_TRY(obv_set_get(a->api->x.s, t->set_id, &set, err));
    OBV_TRY(obv_pg_copy_of_task(a->api->x.s, t->uid, batch_pg, &l, err));
    b->task_id = t->task_id;
    b->pass = t->pass;
    b->round = (uint64_t)set.round;
    b->pgs = l.v;
    b->n_pgs = l.n;
    out->body_case = OBVAULT__V1__TASK__BODY_BATCH;
    out->batch = b;
    return OBV_OK;
}

typedef struct winners {
    pg_list l;
    uint64_t task_id;
} winners;

static obv_code winner_pg(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    winners *w = ctx;
    return (uint64_t)p->task_id == w->task_id ? add_pg(&w->l, &p->key, err) : OBV_OK;
}

static obv_code put_finish(answer *a, const obv_task *t, Obvault__V1__Task *out, obv_err *err)
{
    winners w = {.l = {.a = a}, .task_id = t->task_id};
    Obvault__V1__FinishMetas *f = GET(a, Obvault__V1__FinishMetas, OBVAULT__V1__FINISH_METAS__INIT);
    if (!f || !(f->set = put_set(a, t, err)))
        return err->code;
    OBV_TRY(obv_pg_copy_each(a->api->x.s, t->set_id, t->tenant_id, OBV_PG_FINISH, UINT32_MAX, winner_pg, &w, err));
    f->task_id = t->task_id;
    f->schema_version = t->schema_version;
    f->pgs = w.l.v;
    f->n_pgs = w.l.n;
    OBV_AUTO(obv_freep) uint64_t *dropped = NULL;
    OBV_TRY(obv_backup_dropped(&a->api->x, t->set_id, t->tenant_id, t->task_id, &dropped, &f->n_dropped, err));
    f->dropped = arena_get(&a->mem, (f->n_dropped + 1) * sizeof *f->dropped, err);
    if (!f->dropped)
        return OBV_E_NOMEM;
    if (f->n_dropped)
        memcpy(f->dropped, dropped, f->n_dropped * sizeof *dropped);
    out->body_case = OBVAULT__V1__TASK__BODY_FINISH_METAS;
    out->finish_metas = f;
    return OBV_OK;
}

typedef struct file_list {
    answer *a;
    Obvault__V1__PutFiles *f;
} file_list;

static obv_code put_file(void *ctx, const obv_put_file *in, obv_err *err)
{
    file_list *l = ctx;
    void **list = (void **)l->f->files;
    OBV_TRY(grow(l->a, &list, l->f->n_files, err));
    l->f->files = (Obvault__V1__PutFile **)list;
    Obvault__V1__PutFile *p = GET(l->a, Obvault__V1__PutFile, OBVAULT__V1__PUT_FILE__INIT);
    if (!p || !(p->path = arena_text(&l->a->mem, in->path, err)) ||
        !(p->sha256.data = arena_get(&l->a->mem, sizeof in->sha256, err)))
        return OBV_E_NOMEM;
    memcpy(p->sha256.data, in->sha256, sizeof in->sha256);
    p->sha256.len = sizeof in->sha256;
    p->if_absent = in->if_absent;
    p->size = in->size;
    if (in->size && in->size <= OBV_PUT_INLINE_MAX) {
        p->content.data = arena_get(&l->a->mem, in->content.len, err);
        if (!p->content.data)
            return OBV_E_NOMEM;
        memcpy(p->content.data, in->content.p, in->content.len);
        p->content.len = in->content.len;
    }
    l->f->files[l->f->n_files++] = p;
    return OBV_OK;
}

static obv_code put_files(answer *a, const obv_task *t, Obvault__V1__Task *out, obv_err *err)
{
    Obvault__V1__PutFiles *f = GET(a, Obvault__V1__PutFiles, OBVAULT__V1__PUT_FILES__INIT);
    if (!f)
        return OBV_E_NOMEM;
    file_list l = {a, f};
    OBV_TRY(obv_put_file_each(a->api->x.s, t->job_id, t->name, put_file, &l, err));
    out->body_case = OBVAULT__V1__TASK__BODY_PUT_FILES;
    out->put_files = f;
    return OBV_OK;
}

static obv_code put_init(answer *a, Obvault__V1__Task *out, obv_err *err)
{
    Obvault__V1__InitRepository *i = GET(a, Obvault__V1__InitRepository, OBVAULT__V1__INIT_REPOSITORY__INIT);
    if (!i)
        return OBV_E_NOMEM;
    i->uuid = a->repo.uuid;
    i->profile = a->repo.profile;
    i->cluster_name = a->repo.cluster_name;
    i->cluster_id = a->repo.cluster_id;
    out->body_case = OBVAULT__V1__TASK__BODY_INIT_REPOSITORY;
    out->init_repository = i;
    return OBV_OK;
}

typedef struct object_list {
    answer *a;
    Obvault__V1__VerifyObjects *v;
} object_list;

static obv_code put_object(void *ctx, const obv_check_object *in, obv_err *err)
{
    object_list *l = ctx;
    void **list = (void **)l->v->objects;
    OBV_TRY(grow(l->a, &list, l->v->n_objects, err));
    l->v->objects = (Obvault__V1__StoredObject **)list;
    Obvault__V1__StoredObject *o = GET(l->a, Obvault__V1__StoredObject, OBVAULT__V1__STORED_OBJECT__INIT);
    if (!o || !(o->path = arena_text(&l->a->mem, in->path, err)) ||
        !(o->sha256.data = arena_get(&l->a->mem, sizeof in->sha256, err)))
        return OBV_E_NOMEM;
    memcpy(o->sha256.data, in->sha256, sizeof in->sha256);
    o->sha256.len = sizeof in->sha256;
    o->size = in->size;
    o->presence = in->presence;
    l->v->objects[l->v->n_objects++] = o;
    return OBV_OK;
}

static obv_code put_verify(answer *a, const obv_task *t, Obvault__V1__Task *out, obv_err *err)
{
    Obvault__V1__VerifyObjects *v = GET(a, Obvault__V1__VerifyObjects, OBVAULT__V1__VERIFY_OBJECTS__INIT);
    if (!v)
        return OBV_E_NOMEM;
    object_list l = {a, v};
    bool deep = false;
    OBV_TRY(obv_plan_check_page(&a->api->x, t, &deep, put_object, &l, err));
    v->sizes_only = !deep;
    out->body_case = OBVAULT__V1__TASK__BODY_VERIFY_OBJECTS;
    out->verify_objects = v;
    return OBV_OK;
}

static obv_code put_task(void *ctx, const obv_task *t, obv_err *err)
{
    answer *a = ctx;
    if (!a->have_repo)
        return OBV_OK;
    Obvault__V1__Task *out = GET(a, Obvault__V1__Task, OBVAULT__V1__TASK__INIT);
    if (!out || !(out->uid = arena_text(&a->mem, t->uid, err)) || !(out->job_id = arena_text(&a->mem, t->job_id, err)))
        return OBV_E_NOMEM;
    out->epoch = t->epoch;
    out->deadline_s = t->deadline_s;
    switch (t->kind) {
    case OBV_TASK_BATCH:
        OBV_TRY(put_batch(a, t, out, err));
        break;
    case OBV_TASK_FINISH_METAS:
        OBV_TRY(put_finish(a, t, out, err));
        break;
    case OBV_TASK_PUT_FILES:
        OBV_TRY(put_files(a, t, out, err));
        break;
    case OBV_TASK_INIT_REPOSITORY:
        OBV_TRY(put_init(a, out, err));
        break;
    case OBV_TASK_VERIFY_OBJECTS:
        OBV_TRY(put_verify(a, t, out, err));
        break;
    }
    void **list = (void **)a->r.tasks;
    OBV_TRY(grow(a, &list, a->r.n_tasks, err));
    a->r.tasks = (Obvault__V1__Task **)list;
    a->r.tasks[a->r.n_tasks++] = out;
    return OBV_OK;
}

static obv_code put_archive_pg(void *ctx, const obv_archive_pg *p, obv_err *err)
{
    answer *a = ctx;
    void **list = (void **)a->page.pgs;
    OBV_TRY(grow(a, &list, a->page.n_pgs, err));
    a->page.pgs = (Obvault__V1__ArchivePg **)list;
    Obvault__V1__ArchivePg *out = GET(a, Obvault__V1__ArchivePg, OBVAULT__V1__ARCHIVE_PG__INIT);
    if (!out || !(out->pg = put_pg(a, &p->key, err)))
        return OBV_E_NOMEM;
    out->epoch = p->epoch;
    out->first_data_file = out->first_index_file = 1;
    out->from_log_one = p->from_log_one;
    a->page.pgs[a->page.n_pgs++] = out;
    return OBV_OK;
}

static obv_code put_page(answer *a, obv_err *err)
{
    obv_archive_page_out page;
    const obv_settings *cfg = a->api->x.cfg;
    OBV_TRY(obv_turn_page(a->turn, &page, put_archive_pg, a, err));
    if (!page.due || !a->have_repo)
        return OBV_OK;
    a->page.revision = page.revision;
    a->page.cluster_name = a->repo.cluster_name;
    a->page.cluster_id = a->repo.cluster_id;
    a->page.round = (uint64_t)page.round;
    a->page.piece = (uint64_t)page.piece;
    a->page.piece_date = page.piece_date;
    a->page.total = page.total;
    a->page.first = page.first;
    a->page.stop = page.stop;
    a->page.flush_ms = cfg->flush_ms;
    a->page.compressor = cfg->compressor;
    a->r.archive = &a->page;
    return OBV_OK;
}

static obv_code put_chunk(answer *a, const Obvault__V1__ChunkWanted *w, obv_err *err)
{
    obv_task t;
    if (!w || obv_task_by_uid(a->api->x.s, w->task_uid, &t, NULL) != OBV_OK || t.kind != OBV_TASK_PUT_FILES)
        return OBV_OK; /* superseded: the agent is told to drop the task */
    obv_buf b = obv_buf_heap(CHUNK_BYTES);
    const obv_code code =
        obv_put_file_chunk(a->api->x.s, t.job_id, t.name, w->file_index, w->offset, CHUNK_BYTES, &b, err);
    if (code == OBV_OK) {
        a->chunk.data.data = arena_get(&a->mem, b.len, err);
        a->chunk.data.len = b.len;
        if (a->chunk.data.data && b.len)
            memcpy(a->chunk.data.data, b.data, b.len);
        a->chunk.task_uid = w->task_uid;
        a->chunk.file_index = w->file_index;
        a->chunk.offset = w->offset;
        a->r.chunk = &a->chunk;
    }
    obv_buf_fini(&b);
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

/* @return whether something is asked */
static bool put_check(answer *a, const char *agent_id)
{
    if (!a->api->x.board)
        return false;
    const obv_board_question q = obv_board_look(a->api->x.board, agent_id);
    if (q.id == 0)
        return false;
    a->check.id = q.id;
    a->check.repository_only = q.repository_only;
    a->check.deadline_ms = q.deadline_ms;
    a->r.check = &a->check;
    return true;
}

static obv_code put_uids(answer *a, char uids[][OBV_TASK_UID_MAX], size_t n, char ***out, size_t *count, obv_err *err)
{
    *out = arena_get(&a->mem, n * sizeof **out, err);
    if (!*out)
        return OBV_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        (*out)[i] = uids[i];
    *count = n;
    return OBV_OK;
}

static obv_code run_turn(answer *a, const Obvault__V1__SyncRequest *q, obv_buf *resp, obv_err *err)
{
    obv_turn *t = a->turn;
    if (t->apply)
        for (size_t i = 0; i < q->n_pgs; i++)
            OBV_TRY(apply_pg(t, q->pgs[i], err));
    for (size_t i = 0; i < q->n_tasks; i++)
        OBV_TRY(apply_task(t, q->tasks[i], err));
    OBV_TRY(apply_archive(t, q, err));
    a->have_repo = obv_state_repository(a->api->x.s, &a->repo, NULL) == OBV_OK;
    OBV_TRY(obv_turn_tasks(t, put_task, a, err));
    OBV_TRY(put_page(a, err));
    OBV_TRY(put_chunk(a, q->chunk_wanted, err));
    OBV_TRY(put_uids(a, t->forget, t->forget_count, &a->r.forget_tasks, &a->r.n_forget_tasks, err));
    OBV_TRY(put_uids(a, t->cancel, t->cancel_count, &a->r.cancel_tasks, &a->r.n_cancel_tasks, err));
    a->r.acked_report = t->acked;
    a->r.lease_ms = OBV_LEASE_MS;
    a->r.next_sync_ms = a->r.n_tasks || a->r.chunk || a->r.archive || q->n_pgs == PGS_MAX ? 50 : obv_turn_next_ms(t);
    take_check(a->api, q);
    if (put_check(a, q->agent_id) && a->r.next_sync_ms > CHECK_SYNC_MS)
        a->r.next_sync_ms = CHECK_SYNC_MS;
    OBV_TRY(obv_message_pack(&a->r.base, resp, err));
    return obv_turn_commit(t, err);
}

const char *obv_agent_sync_path(void)
{
    static char path[96];
    const ProtobufCServiceDescriptor *d = &obvault__v1__agent_service__descriptor;
    (void)snprintf(path, sizeof path, "%s/%s", d->name, d->methods[0].name);
    return path;
}

obv_code obv_agent_sync(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err)
{
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    obv_hello hello;
    OBV_TRY(obv_message_unpack(&obvault__v1__sync_request__descriptor, req, &m, err));
    const Obvault__V1__SyncRequest *q = (const Obvault__V1__SyncRequest *)m;
    OBV_TRY(take_hello(q, peer, &hello, err));
    obv_turn *turn = calloc(1, sizeof *turn);
    answer *a = calloc(1, sizeof *a);
    obv_code code = turn && a ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "sync");
    if (code == OBV_OK) {
        *a = (answer){.api = ctx,
                      .turn = turn,
                      .r = OBVAULT__V1__SYNC_RESPONSE__INIT,
                      .page = OBVAULT__V1__ARCHIVE_PAGE__INIT,
                      .chunk = OBVAULT__V1__CHUNK__INIT,
                      .check = OBVAULT__V1__CHECK_WANTED__INIT};
        code = obv_turn_begin(a->api->x.reg, &hello, turn, err);
        if (code == OBV_OK)
            code = run_turn(a, q, resp, err);
        obv_turn_drop(turn);
        if (code != OBV_OK)
            OBV_WARN_OF(err, "sync of agent %s", hello.agent_id);
        arena_fini(&a->mem);
    }
    free(a);
    free(turn);
    return code;
}
