#define OBV_LOG_MOD "assign"
#include "assign/registry_priv.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define SYNC_BUSY_MS 200
#define SYNC_IDLE_MS 1000

static obv_code admit(obv_registry *r, const obv_hello *h, live **out, obv_err *err)
{
    live *a = registry_find(r, h->agent_id);
    if (a && a->h.session != h->session && a->last_session == h->session)
        return obv_fail(err, OBV_E_FENCED, 0, "agent %s: a newer process has taken over", h->agent_id);
    if (!a) {
        if (r->count == OBV_AGENTS_MAX)
            return obv_fail(err, OBV_E_LIMIT, 0, "more than %u agents", OBV_AGENTS_MAX);
        a = calloc(1, sizeof *a);
        if (!a)
            return obv_fail(err, OBV_E_NOMEM, 0, "agent %s", h->agent_id);
        (void)snprintf(a->h.agent_id, sizeof a->h.agent_id, "%s", h->agent_id);
        r->agents[r->count++] = a;
    }
    *out = a;
    return OBV_OK;
}

/* A new process: its archive writers start anew under new epochs; its other tasks are in its journal. */
static obv_code new_session(obv_registry *r, live *a, const obv_hello *h, obv_err *err)
{
    int64_t known = 0, revision = 0;
    OBV_TRY(obv_db_run(obv_state_db(r->s), err,
                       "INSERT OR IGNORE INTO agents (agent_id, session, ip, rpc_port, sql_port, version, first_at)"
                       " VALUES (?, 0, '', 0, 0, '', ?)",
                       obv_db_s(h->agent_id), obv_db_i(obv_clock_us(&r->clock))));
    OBV_TRY(obv_db_i64(obv_state_db(r->s), err, &known, "SELECT session FROM agents WHERE agent_id = ?",
                       obv_db_s(h->agent_id)));
    OBV_TRY(obv_db_i64(obv_state_db(r->s), err, &revision, "SELECT revision FROM agents WHERE agent_id = ?",
                       obv_db_s(h->agent_id)));
    OBV_TRY(obv_db_run(obv_state_db(r->s), err,
                       "UPDATE agents SET session = ?, ip = ?, rpc_port = ?, sql_port = ?, version = ?"
                       " WHERE agent_id = ?",
                       obv_db_u(h->session), obv_db_s(h->ip), obv_db_i(h->rpc_port), obv_db_i(h->sql_port),
                       obv_db_s(h->version), obv_db_s(h->agent_id)));
    a->revision = (uint64_t)revision;
    a->have_all = false;
    a->tenant_count = 0;
    a->task_count = 0;
    if ((uint64_t)known == h->session) /* only the coordinator was restarted */
        return OBV_OK;
    OBV_INFO("agent %s: new session, version %s", h->agent_id, h->version);
    if (r->round == 0 || revision == 0)
        return OBV_OK;
    uint64_t next = 0;
    OBV_TRY(obv_archive_pg_renew(r->s, r->round, h->agent_id, err));
    /* after the renewal, so that the list under the new revision has the new epochs */
    OBV_TRY(obv_registry_touch(r, h->agent_id, &next, err));
    a->revision = next;
    return OBV_OK;
}

obv_code obv_turn_begin(obv_registry *r, const obv_hello *h, obv_turn *t, obv_err *err)
{
    memset(t, 0, sizeof *t);
    OBV_TRY(obv_state_begin(r->s, &t->tx, err));
    t->reg = r;
    if (r->cluster_id && (r->cluster_id != h->cluster_id || strcmp(r->cluster_name, h->cluster_name) != 0))
        return obv_fail(err, OBV_E_PRECONDITION, 0, "agent %s belongs to cluster %s (%llu), not to %s (%llu)",
                        h->agent_id, h->cluster_name, (unsigned long long)h->cluster_id, r->cluster_name,
                        (unsigned long long)r->cluster_id);
    live *a = NULL;
    if (h->session == 0 || !h->agent_id[0])
        return obv_fail(err, OBV_E_INVAL, 0, "an agent without id or session");
    OBV_TRY(admit(r, h, &a, err));
    t->agent = a;
    t->hello = *h;
    t->fresh = a->h.session != h->session;
    t->apply = t->fresh || h->seq > a->h.seq;
    const uint64_t session = a->h.session, seq = a->h.seq;
    a->h = *h;
    a->h.session = session; /* both count from the commit on */
    a->h.seq = seq;
    a->seen_ns = obv_clock_ns(&r->clock);
    a->task_count = 0;
    return t->fresh ? new_session(r, a, h, err) : OBV_OK;
}

void obv_turn_drop(obv_turn *t)
{
    if (t->reg)
        obv_state_tx_drop(&t->tx);
    t->reg = NULL;
}

obv_code obv_turn_commit(obv_turn *t, obv_err *err)
{
    live *a = t->agent;
    OBV_STATE_READ(t->reg->s);
    t->reg = NULL;
    OBV_TRY(obv_state_commit(&t->tx, err));
    if (t->fresh)
        a->last_session = a->h.session;
    a->h.session = t->hello.session;
    if (t->fresh || t->hello.seq > a->h.seq) /* an answer that came late does not turn time back */
        a->h.seq = t->hello.seq;
    return OBV_OK;
}

/* ---- reports */

static obv_code find_pg(obv_turn *t, const obv_pg_report *p, obv_task *task, obv_pg_copy *pg, bool *ours, obv_err *err)
{
    const live *a = t->agent;
    *ours = false;
    obv_code code = obv_task_by_uid(t->reg->s, p->task_uid, task, err);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(code);
    if (task->kind != OBV_TASK_BATCH || strcmp(task->agent_id, a->h.agent_id) != 0 || task->epoch != p->epoch)
        return OBV_OK;
    code = obv_pg_copy_get(t->reg->s, task->set_id, &p->pg, p->pass, pg, err);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(code);
    *ours = strcmp(pg->task_uid, p->task_uid) == 0;
    return OBV_OK;
}

obv_code obv_turn_pg(obv_turn *t, const obv_pg_report *p, obv_err *err)
{
    obv_task task;
    obv_pg_copy pg;
    bool ours = false;
    if (p->report_id > t->acked)
        t->acked = p->report_id;
    t->pgs_seen = true;
    OBV_TRY(find_pg(t, p, &task, &pg, &ours, err));
    if (!ours || pg.state != OBV_PG_DOING) /* late, or a repeat */
        return OBV_OK;
    pg.error = p->error;
    if (pg.error.code == OBV_OK && p->blocks != p->blocks_stored)
        (void)obv_fail(&pg.error, OBV_E_INTERNAL, 0, "%llu of %llu macroblocks were stored",
                       (unsigned long long)p->blocks_stored, (unsigned long long)p->blocks);
    if (pg.error.code == OBV_OK && p->pg.assist != pg.key.assist)
        (void)obv_fail(&pg.error, OBV_E_INTERNAL, 0, "the PG's key has assist %d, the schema's %d", p->pg.assist,
                       pg.key.assist);
    pg.state = pg.error.code == OBV_OK ? OBV_PG_FINISH : OBV_PG_FAILED;
    if (pg.state == OBV_PG_FINISH) {
        pg.blocks = p->blocks;
        pg.blocks_stored = p->blocks_stored;
        pg.bytes_read = p->bytes_read;
        pg.bytes_written = p->bytes_written;
        pg.partitions = p->partitions;
        pg.last_submit_ts = p->last_submit_ts;
        pg.last_replay_log_id = p->last_replay_log_id;
        pg.publish_version = p->publish_version;
        pg.lower_bound = p->lower_bound;
        pg.schema_version = p->schema_version;
        OBV_TRY(obv_pg_contents_save(t->reg->s, &pg, p->contents, p->content_count, err));
    }
    return obv_pg_copy_save(t->reg->s, &pg, err);
}

obv_code obv_turn_pg_object(obv_turn *t, const obv_pg_report *p, const char *path, uint64_t size, obv_span sha256,
                            obv_err *err)
{
    obv_task task;
    obv_pg_copy pg;
    bool ours = false;
    if (sha256.len != 32)
        return obv_fail(err, OBV_E_INVAL, 0, "object %.200s: digest of %zu bytes", path, sha256.len);
    OBV_TRY(find_pg(t, p, &task, &pg, &ours, err));
    return ours ? obv_pg_object_add(t->reg->s, &pg, path, size, sha256, err) : OBV_OK;
}

obv_code obv_turn_metas(obv_turn *t, const char *task_uid, const obv_meta_entry *e, size_t n, obv_err *err)
{
    obv_task task;
    const live *a = t->agent;
    const obv_code code = obv_task_by_uid(t->reg->s, task_uid, &task, err);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(code);
    if (task.kind != OBV_TASK_FINISH_METAS || strcmp(task.agent_id, a->h.agent_id) != 0)
        return OBV_OK;
    for (size_t i = 0; i < n; i++) {
        if (e[i].offset < 0 || e[i].length <= 0)
            return obv_fail(err, OBV_E_INVAL, 0, "task %s: a meta record at %lld of %lld bytes", task_uid,
                            (long long)e[i].offset, (long long)e[i].length);
        OBV_TRY(obv_db_run(obv_state_db(t->reg->s), err,
                           "UPDATE pgs SET meta_offset = ?, meta_length = ?, partitions = ?, blocks = ?,"
                           " blocks_stored = ? WHERE set_id = ? AND tenant_id = ? AND"
                           " table_id = ? AND partition_id = ? AND task_id = ? AND state = 2",
                           obv_db_i(e[i].offset), obv_db_i(e[i].length), obv_db_i(e[i].partitions),
                           obv_db_u(e[i].blocks), obv_db_u(e[i].blocks), obv_db_i(task.set_id),
                           obv_db_u(task.tenant_id), obv_db_u(e[i].pg.table_id),
                           obv_db_i(obv_pg_key_partition_id(&e[i].pg)), obv_db_u(task.task_id)));
    }
    return OBV_OK;
}

static void add_uid(char list[][OBV_TASK_UID_MAX], size_t *n, const char *uid)
{
    if (*n < OBV_AGENT_TASKS_MAX)
        (void)snprintf(list[(*n)++], OBV_TASK_UID_MAX, "%s", uid);
}

static void note_progress(live *a, const obv_task_report *r)
{
    if (a->task_count == OBV_AGENT_TASKS_MAX)
        return;
    live_task *k = &a->tasks[a->task_count++];
    *k = (live_task){.bytes_read = r->bytes_read, .bytes_written = r->bytes_written, .blocks_done = r->blocks_done};
    (void)snprintf(k->uid, sizeof k->uid, "%s", r->uid);
}

static obv_code open_pgs(obv_state *s, const char *uid, int64_t *n, obv_err *err)
{
    return obv_db_i64(obv_state_db(s), err, n, "SELECT count(*) FROM pgs WHERE task_uid = ? AND state = 1",
                      obv_db_s(uid));
}

static obv_code end_batch(obv_turn *t, const obv_task_report *r, bool *wait, obv_err *err)
{
    int64_t open = 0;
    *wait = false;
    OBV_TRY(open_pgs(t->reg->s, r->uid, &open, err));
    if (open == 0)
        return OBV_OK;
    if (r->state == OBV_REPORT_DONE && t->pgs_seen) { /* the rest of its PGs comes with the next calls */
        *wait = true;
        return OBV_OK;
    }
    obv_err e = r->error;
    if (e.code == OBV_OK)
        (void)obv_fail(&e, OBV_E_INTERNAL, 0, "its batch ended without a word about this PG");
    return obv_db_run(
        obv_state_db(t->reg->s), err,
        "UPDATE pgs SET state = 3, code = ?, sys = ?, message = ?, hint = ? WHERE task_uid = ? AND state = 1",
        obv_db_i(e.code), obv_db_i(e.sys), obv_db_s(e.msg), obv_db_s(e.hint), obv_db_s(r->uid));
}

obv_code obv_turn_task(obv_turn *t, const obv_task_report *r, obv_err *err)
{
    obv_task task;
    live *a = t->agent;
    const obv_code code = obv_task_by_uid(t->reg->s, r->uid, &task, err);
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    const bool running = r->state == OBV_REPORT_RUNNING;
    const bool ours = code == OBV_OK && strcmp(task.agent_id, a->h.agent_id) == 0 && task.epoch == r->epoch;
    if (!ours || task.status != OBV_TASK_SENT) {
        /* superseded, or recorded already */
        if (running)
            add_uid(t->cancel, &t->cancel_count, r->uid);
        else
            add_uid(t->forget, &t->forget_count, r->uid);
        add_uid(t->held, &t->held_count, r->uid);
        return OBV_OK;
    }
    add_uid(t->held, &t->held_count, r->uid);
    if (running) {
        note_progress(a, r);
        return OBV_OK;
    }
    if (task.kind == OBV_TASK_BATCH) {
        bool wait = false;
        OBV_TRY(end_batch(t, r, &wait, err));
        if (wait)
            return OBV_OK;
    }
    task.status = r->state == OBV_REPORT_DONE ? OBV_TASK_DONE : OBV_TASK_FAILED;
    task.error = r->error;
    if (task.status == OBV_TASK_FAILED && task.error.code == OBV_OK)
        (void)obv_fail(&task.error, OBV_E_CANCELLED, 0, "the agent stopped the task");
    task.bytes_read = r->bytes_read;
    task.bytes_written = r->bytes_written;
    task.blocks_done = r->blocks_done;
    task.blocks_total = r->blocks_total;
    OBV_TRY(obv_task_save(t->reg->s, &task, err));
    add_uid(t->forget, &t->forget_count, r->uid);
    return OBV_OK;
}

void obv_turn_archive(obv_turn *t, uint64_t revision, uint32_t received, const obv_tenant_archive *tenants, size_t n)
{
    live *a = t->agent;
    if (!t->apply)
        return;
    a->have_revision = revision;
    a->have_received = received;
    a->tenant_count = n < OBV_AGENT_TENANTS_MAX ? n : OBV_AGENT_TENANTS_MAX;
    const int64_t now = obv_clock_ns(&t->reg->clock);
    for (size_t i = 0; i < a->tenant_count; i++) {
        a->tenants[i] = tenants[i];
        a->tenants[i].received_ns = now;
    }
}

/* ---- the answer */

typedef struct offer {
    obv_turn *t;
    obv_task tasks[OBV_AGENT_TASKS_MAX];
    size_t n;
    bool claim;
    bool known; /* the agent has our repository */
} offer;

static bool is_held(const obv_turn *t, const char *uid)
{
    for (size_t i = 0; i < t->held_count; i++)
        if (strcmp(t->held[i], uid) == 0)
            return true;
    return false;
}

static obv_code consider(void *ctx, const obv_task *task, obv_err *err)
{
    offer *o = ctx;
    (void)err;
    if (o->n + o->t->held_count >= OBV_AGENT_TASKS_MAX || is_held(o->t, task->uid))
        return OBV_OK;
    if (o->t->reg->hold && task->kind == OBV_TASK_BATCH)
        return OBV_OK;
    if (o->claim) {
        /* anybody without a repository may make it; everything else needs the right one */
        const live *a = o->t->agent;
        const bool init = task->kind == OBV_TASK_INIT_REPOSITORY;
        if (init ? a->h.repository_uuid[0] && !o->known : !o->known)
            return OBV_OK;
        if (o->n + o->t->held_count >= OBV_AGENT_TASKS_MAX / 2)
            return OBV_OK;
    }
    o->tasks[o->n++] = *task;
    return OBV_OK;
}

obv_code obv_turn_tasks(obv_turn *t, obv_task_fn *fn, void *ctx, obv_err *err)
{
    live *a = t->agent;
    obv_repository repo = {0};
    const obv_code have = obv_state_repository(t->reg->s, &repo, NULL);
    offer *o = calloc(1, sizeof *o);
    if (!o)
        return obv_fail(err, OBV_E_NOMEM, 0, "tasks of agent %s", a->h.agent_id);
    o->t = t;
    o->known = have == OBV_OK && strcmp(repo.uuid, a->h.repository_uuid) == 0;
    obv_code code = obv_task_of_agent(t->reg->s, a->h.agent_id, consider, o, err);
    const size_t bound = o->n;
    o->claim = true;
    if (code == OBV_OK)
        code = obv_task_claimable(t->reg->s, obv_clock_us(&t->reg->clock), OBV_AGENT_TASKS_MAX, consider, o, err);
    for (size_t i = 0; i < o->n && code == OBV_OK; i++) {
        obv_task *task = &o->tasks[i];
        if (i >= bound) {
            (void)snprintf(task->agent_id, sizeof task->agent_id, "%s", a->h.agent_id);
            task->status = OBV_TASK_SENT;
            code = obv_task_save(t->reg->s, task, err);
        }
        if (code == OBV_OK)
            code = fn(ctx, task, err);
    }
    free(o);
    return code;
}

obv_code obv_turn_page(obv_turn *t, obv_archive_page_out *out, obv_archive_pg_fn *fn, void *ctx, obv_err *err)
{
    live *a = t->agent;
    obv_registry *r = t->reg;
    int64_t total = 0;
    *out = (obv_archive_page_out){.round = r->round,
                                  .revision = a->revision,
                                  .stop = r->round_stop,
                                  .piece = r->piece,
                                  .piece_date = r->piece_date};
    if (r->round == 0 || a->revision == 0)
        return OBV_OK;
    if (!r->round_stop)
        OBV_TRY(obv_archive_pg_count(r->s, r->round, a->h.agent_id, 0, &total, err));
    out->total = (uint32_t)total;
    const bool same = a->have_revision == a->revision;
    a->have_all = same && a->have_received >= out->total;
    if (a->have_all)
        return OBV_OK;
    out->first = same ? a->have_received : 0;
    out->due = true;
    if (total == 0)
        return OBV_OK;
    return obv_archive_pg_page(r->s, r->round, a->h.agent_id, out->first, OBV_ARCHIVE_PAGE_MAX, fn, ctx, err);
}

uint32_t obv_turn_next_ms(const obv_turn *t)
{
    const live *a = t->agent;
    const bool busy = t->held_count || t->forget_count || (a->revision && !a->have_all);
    return busy ? SYNC_BUSY_MS : SYNC_IDLE_MS;
}
