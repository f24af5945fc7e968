#define OBV_LOG_MOD "archive"
#include "base/log.h"
#include "job/archive.h"
#include "job/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOVES_MAX 16u                     /* kinds of moves that are told one by one */
#define GONE_WAIT_US (600 * OBV_US_PER_S) /* the rest of a dropped tenant's log is waited for this long */

/* ---- who archives what */

typedef struct plan {
    obv_job_ctx *x;
    const obv_round *round;
    obv_live_agent *agents;
    size_t agent_count;
    uint64_t epoch;     /* one new epoch serves all changes of one run */
    int64_t cluster_us; /* the cluster's clock after the last list */
    int64_t now_us;
    char touched[OBV_AGENTS_MAX][OBV_AGENT_ID_MAX];
    size_t touched_count;
    struct { /* of one tenant, for people */
        char from[OBV_AGENT_ID_MAX], to[OBV_AGENT_ID_MAX];
        size_t pgs;
    } moves[MOVES_MAX];
    size_t move_count;
} plan;

typedef struct pg_rows {
    obv_archive_pg *v;
    size_t n, cap;
} pg_rows;
static void pg_rows_fini(pg_rows *r) { free(r->v); }

static obv_code take_row(void *ctx, const obv_archive_pg *p, obv_err *err)
{
    obv_archive_pg *row = obv_list_add(ctx, sizeof *row, err);
    if (!row)
        return OBV_E_NOMEM;
    *row = *p;
    return OBV_OK;
}

static const obv_live_agent *agent_at(const plan *p, const char *ip, uint32_t rpc_port)
{
    for (size_t i = 0; i < p->agent_count; i++)
        if (p->agents[i].hello.rpc_port == rpc_port && strcmp(p->agents[i].hello.ip, ip) == 0)
            return &p->agents[i];
    return NULL;
}

static bool can_work(const obv_live_agent *a) { return a && a->alive && a->known; }

/*
 * The leader's host proves most; else whoever has the PG now if it still can; else any full replica's host, each PG
 * another one. Nobody begins, or takes over, in place of an agent that the coordinator, just started, had no time to
 * hear of: copies of the PG need the log from where the beginner's replica was, and the leader's is furthest.
 *
 * A leader that comes and goes must not make its PGs do the same: each take-over reads media. Who has the PG and still
 * can, keeps it for settle_s after it got it.
 */
static const char *choose(const plan *p, const obv_archive_pg *row, const obv_replica *reps, size_t n)
{
    const char *others[8], *leader = NULL;
    size_t count = 0;
    bool holder = false;
    for (size_t i = 0; i < n; i++) {
        const obv_live_agent *a = agent_at(p, reps[i].ip, reps[i].rpc_port);
        if (!reps[i].usable || !can_work(a))
            continue;
        if (reps[i].leader)
            leader = a->hello.agent_id;
        holder = holder || strcmp(a->hello.agent_id, row->agent_id) == 0;
        if (count < sizeof others / sizeof *others)
            others[count++] = a->hello.agent_id;
    }
    const bool settles = holder && p->now_us - row->moved_at < (int64_t)p->x->cfg->settle_s * OBV_US_PER_S;
    if (leader && !settles)
        return leader;
    if (holder || count == 0 || !obv_registry_settled(p->x->reg))
        return row->agent_id;
    return others[(row->key.table_id + (uint32_t)row->key.part_id) % count];
}

/* Nothing tells any more where a dropped PG had its replicas, whose hosts still have its log: where it is archived now
 * as long as that goes, else wherever somebody lives. */
static const char *choose_for_dropped(const plan *p, const obv_archive_pg *row)
{
    const char *other = row->agent_id;
    if (!obv_registry_settled(p->x->reg))
        return other;
    for (size_t i = 0; i < p->agent_count; i++) {
        if (!can_work(&p->agents[i]))
            continue;
        if (strcmp(p->agents[i].hello.agent_id, row->agent_id) == 0)
            return row->agent_id;
        other = p->agents[i].hello.agent_id;
    }
    return other;
}

static void touch(plan *p, const char *agent_id)
{
    if (!agent_id[0])
        return;
    for (size_t i = 0; i < p->touched_count; i++)
        if (strcmp(p->touched[i], agent_id) == 0)
            return;
    if (p->touched_count < OBV_AGENTS_MAX)
        (void)snprintf(p->touched[p->touched_count++], OBV_AGENT_ID_MAX, "%s", agent_id);
}

/* For the event of a take-over; the first of a PG is none. */
static void note_move(plan *p, const char *from, const char *to)
{
    size_t i = 0;
    if (!from[0])
        return;
    while (i < p->move_count && (strcmp(p->moves[i].from, from) != 0 || strcmp(p->moves[i].to, to) != 0))
        i++;
    if (i == MOVES_MAX)
        return;
    if (i == p->move_count) {
        (void)snprintf(p->moves[i].from, sizeof p->moves[i].from, "%s", from);
        (void)snprintf(p->moves[i].to, sizeof p->moves[i].to, "%s", to);
        p->moves[p->move_count++].pgs = 0;
    }
    p->moves[i].pgs++;
}

static obv_code tell_moves(const plan *p, const obv_round_tenant *t, obv_err *err)
{
    obv_event e = {.at = p->now_us, .kind = "takeover", .tenant_id = t->tenant_id};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", p->round->job_id);
    for (size_t i = 0; i < p->move_count; i++)
        OBV_TRY(obv_event_tell(p->x->s, &e, err, "tenant %.64s: agent %s archives %zu PGs that %s did", t->name,
                               p->moves[i].to, p->moves[i].pgs, p->moves[i].from));
    return OBV_OK;
}

static obv_code give(plan *p, obv_archive_pg *row, const char *agent_id, obv_err *err)
{
    if (p->epoch == 0) {
        int64_t next = 0;
        OBV_TRY(obv_state_next(p->x->s, "epoch", &next, err));
        p->epoch = (uint64_t)next;
    }
    touch(p, row->agent_id);
    touch(p, agent_id);
    note_move(p, row->agent_id, agent_id);
    row->moved_at = p->now_us;
    (void)snprintf(row->agent_id, sizeof row->agent_id, "%s", agent_id);
    row->epoch = p->epoch;
    return obv_archive_pg_save(p->x->s, row, err);
}

/* One tenant's rows against the cluster: list NULL = the schema is as it was; reps NULL = leaders as they were. */
static obv_code reconcile(plan *p, obv_round_tenant *t, const obv_pgs *list, int64_t schema, const obv_replicas *reps,
                          obv_err *err)
{
    OBV_AUTO(pg_rows_fini) pg_rows rows = {0};
    OBV_TRY(obv_archive_pg_each(p->x->s, t->round, t->tenant_id, take_row, &rows, err));
    const size_t before = rows.n;
    for (size_t i = 0; list && i < list->n; i++) {
        const obv_archive_pg key = {.key = list->v[i]};
        size_t lo = 0, hi = before;
        while (lo < hi) {
            const size_t mid = lo + (hi - lo) / 2;
            if (obv_pgs_cmp(&rows.v[mid].key, &key.key) < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < before && obv_pg_key_equal(&rows.v[lo].key, &key.key))
            continue;
        obv_archive_pg *row = obv_list_add(&rows, sizeof *row, err);
        if (!row)
            return OBV_E_NOMEM;
        /* A PG that was not in an earlier list is new: its log is wanted whole. A tenant's first list may name PGs that
         * were restored and have no log 1. */
        *row = (obv_archive_pg){.round = t->round, .key = list->v[i], .from_log_one = t->schema_version != 0};
        OBV_TRY(obv_archive_pg_save(p->x->s, row, err)); /* nobody's yet: it blocks the checkpoint from now on */
    }
    for (size_t i = 0; i < rows.n; i++) {
        obv_archive_pg *row = &rows.v[i];
        const bool gone = list && !obv_pgs_contain(list, &row->key);
        if (gone && row->dropped_at == 0) {
            /* a drop takes effect some time after the schema version that it got, and before now */
            row->dropped_at = schema > p->cluster_us ? schema : p->cluster_us;
            OBV_TRY(obv_archive_pg_save(p->x->s, row, err));
        } else if (list && !gone && row->dropped_at) {
            row->dropped_at = 0; /* it was hidden, not dropped */
            OBV_TRY(obv_archive_pg_save(p->x->s, row, err));
        }
        /* the log of a dropped PG is wanted up to its end; then nothing can be restored that needs more of it */
        if (row->dropped_at && t->checkpoint_ts >= row->dropped_at) {
            touch(p, row->agent_id);
            OBV_TRY(obv_archive_pg_remove(p->x->s, row, err));
            continue;
        }
        if (!reps)
            continue;
        size_t n = 0;
        const obv_replica *of = obv_replicas_of(reps, &row->key, &n);
        const char *agent = row->dropped_at ? choose_for_dropped(p, row) : choose(p, row, of, n);
        if (strcmp(agent, row->agent_id) != 0)
            OBV_TRY(give(p, row, agent, err));
    }
    if (list)
        t->schema_version = schema;
    return OBV_OK;
}

static obv_code touch_all(const plan *p, obv_err *err)
{
    for (size_t i = 0; i < p->touched_count; i++) {
        uint64_t revision = 0;
        OBV_TRY(obv_registry_touch(p->x->reg, p->touched[i], &revision, err));
    }
    return OBV_OK;
}

static obv_code touch_row(void *ctx, const obv_archive_pg *row, obv_err *err)
{
    (void)err;
    touch(ctx, row->agent_id);
    return OBV_OK;
}

/* The tenant's info files as a step of their own. */
static obv_code queue_tenant(plan *p, const obv_round_tenant *t, const char *what, const char *job_id, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(obv_files_fini) obv_files f = {0};
    char name[48];
    (void)snprintf(name, sizeof name, "%s-%llu", what, (unsigned long long)t->tenant_id);
    OBV_TRY(obv_ctx_root(p->x, &root, err));
    OBV_TRY(obv_names_file(p->x, &root, &f, err));
    OBV_TRY(obv_archive_files_all(p->x, t->round, t->tenant_id, &f, err));
    return obv_files_queue(p->x, job_id, name, &f, err);
}

static obv_code assign_tenant(plan *p, obv_cluster *c, const obv_tenant *tenant, bool leaders, obv_err *err)
{
    OBV_AUTO(obv_pgs_fini) obv_pgs list = {0};
    OBV_AUTO(obv_replicas_fini) obv_replicas reps = {0};
    int64_t schema = 0, again = 0;
    obv_round_tenant t = {.round = p->round->round, .tenant_id = tenant->id, .status = OBV_ROUND_BEGINNING};
    const obv_code code = obv_round_tenant_get(p->x->s, p->round->round, tenant->id, &t, NULL);
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return obv_fail(err, code, 0, "round of tenant %s", tenant->name);
    const bool is_new = code == OBV_E_NOT_FOUND;
    if (!is_new && t.status != OBV_ROUND_BEGINNING && t.status != OBV_ROUND_DOING)
        return OBV_OK; /* its archive has ended in this round */
    OBV_TRY(c->ops->schema_version(c, tenant->id, &schema, err));
    const bool relist = is_new || t.schema_version != schema;
    if (!relist && !leaders)
        return OBV_OK;
    if (relist) {
        OBV_TRY(c->ops->pgs(c, tenant->id, &list, NULL, err));
        OBV_TRY(c->ops->schema_version(c, tenant->id, &again, err));
        if (again != schema) /* DDL went on under the list: next time */
            return OBV_OK;
    }
    OBV_TRY(c->ops->replicas(c, tenant->id, &reps, err));
    if (is_new) {
        int64_t ignored = 0;
        OBV_TRY(obv_names_refresh(p->x, c, &ignored, err));
    }
    if (relist) { /* behind the list */
        int64_t trip = 0;
        OBV_TRY(c->ops->now(c, &p->cluster_us, &trip, err));
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(p->x->s, &tx, err));
    if (is_new) {
        OBV_INFO("tenant %s joins round %lld", tenant->name, (long long)t.round);
        (void)snprintf(t.name, sizeof t.name, "%s", tenant->name);
        t.start_ts = obv_ctx_now(p->x);
        OBV_TRY(obv_archive_join_piece(p->x, p->round, &t, err));
        OBV_TRY(obv_round_tenant_save(p->x->s, &t, err));
        OBV_TRY(queue_tenant(p, &t, "tenant", p->round->job_id, err));
    } else {
        OBV_TRY(obv_round_tenant_get(p->x->s, t.round, t.tenant_id, &t, err));
    }
    OBV_TRY(reconcile(p, &t, relist ? &list : NULL, schema, &reps, err));
    OBV_TRY(obv_round_tenant_save(p->x->s, &t, err));
    OBV_TRY(tell_moves(p, &t, err));
    OBV_TRY(touch_all(p, err));
    return obv_state_commit(&tx, err);
}

/* ---- tenants that are not in the cluster any more */

typedef struct tenant_rows {
    obv_round_tenant *v;
    size_t n, cap;
} tenant_rows;
static void tenant_rows_fini(tenant_rows *r) { free(r->v); }

static obv_code take_tenant(void *ctx, const obv_round_tenant *t, obv_err *err)
{
    obv_round_tenant *row = obv_list_add(ctx, sizeof *row, err);
    if (!row)
        return OBV_E_NOMEM;
    *row = *t;
    return OBV_OK;
}

static obv_event gone_event(const plan *p, const obv_round_tenant *t)
{
    obv_event e = {.at = p->now_us, .kind = "round", .tenant_id = t->tenant_id};
    (void)snprintf(e.job_id, sizeof e.job_id, "%s", p->round->job_id);
    return e;
}

/* Missed for the first time: its PGs are dropped, and no time after this moment is promised. */
static obv_code miss_tenant(plan *p, obv_cluster *c, obv_round_tenant *t, obv_err *err)
{
    OBV_AUTO(pg_rows_fini) pg_rows rows = {0};
    int64_t trip = 0;
    OBV_TRY(c->ops->now(c, &p->cluster_us, &trip, err));
    const obv_event e = gone_event(p, t);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(p->x->s, &tx, err));
    OBV_TRY(obv_round_tenant_get(p->x->s, t->round, t->tenant_id, t, err));
    t->gone_at = p->cluster_us;
    OBV_TRY(obv_round_tenant_save(p->x->s, t, err));
    OBV_TRY(obv_archive_pg_each(p->x->s, t->round, t->tenant_id, take_row, &rows, err));
    for (size_t i = 0; i < rows.n; i++)
        if (rows.v[i].dropped_at == 0) {
            rows.v[i].dropped_at = p->cluster_us;
            OBV_TRY(obv_archive_pg_save(p->x->s, &rows.v[i], err));
        }
    OBV_TRY(obv_event_tell(p->x->s, &e, err, "tenant %.64s is not in the cluster any more", t->name));
    return obv_state_commit(&tx, err);
}

/* The rest of its log is stored, or will never be: the tenant's part of the round ends. */
static obv_code end_tenant(plan *p, obv_round_tenant *t, obv_err *err)
{
    char to[OBV_TIME_TEXT_LEN];
    const obv_event e = gone_event(p, t);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(p->x->s, &tx, err));
    t->status = OBV_ROUND_STOP;
    OBV_TRY(obv_round_tenant_save(p->x->s, t, err));
    OBV_TRY(obv_piece_end_tenant(p->x->s, t->round, t->tenant_id, t->gone_at, err));
    OBV_TRY(obv_archive_pg_each(p->x->s, t->round, t->tenant_id, touch_row, p, err));
    OBV_TRY(obv_archive_pg_remove_tenant(p->x->s, t->round, t->tenant_id, err));
    OBV_TRY(queue_tenant(p, t, "gone", p->round->job_id, err));
    OBV_TRY(obv_event_tell(p->x->s, &e, err, "tenant %.64s, dropped: its log can be restored up to %s", t->name,
                           t->checkpoint_ts ? obv_time_text(t->checkpoint_ts, to) : "no time"));
    OBV_TRY(touch_all(p, err));
    return obv_state_commit(&tx, err);
}

static obv_code look_after_gone(plan *p, obv_cluster *c, const obv_tenants *there, obv_err *err)
{
    OBV_AUTO(tenant_rows_fini) tenant_rows rows = {0};
    OBV_TRY(obv_round_tenant_each(p->x->s, p->round->round, take_tenant, &rows, err));
    for (size_t i = 0; i < rows.n; i++) {
        obv_round_tenant *t = &rows.v[i];
        size_t k = 0;
        while (k < there->n && there->v[k].id != t->tenant_id)
            k++;
        if (k < there->n || (t->status != OBV_ROUND_DOING && t->status != OBV_ROUND_BEGINNING))
            continue;
        if (t->gone_at == 0)
            OBV_TRY(miss_tenant(p, c, t, err));
    }
    return OBV_OK;
}

obv_code obv_archive_end_gone(obv_job_ctx *x, const obv_round *round, obv_err *err)
{
    OBV_AUTO(tenant_rows_fini) tenant_rows rows = {0};
    obv_code code = OBV_OK;
    OBV_TRY(obv_round_tenant_each(x->s, round->round, take_tenant, &rows, err));
    plan *p = calloc(1, sizeof *p);
    if (!p)
        return obv_fail(err, OBV_E_NOMEM, 0, "archive assignment");
    *p = (plan){.x = x, .round = round, .now_us = obv_ctx_now(x)};
    for (size_t i = 0; i < rows.n && code == OBV_OK; i++) {
        obv_round_tenant *t = &rows.v[i];
        const bool works = t->status == OBV_ROUND_DOING || t->status == OBV_ROUND_BEGINNING;
        p->touched_count = 0;
        if (works && t->gone_at && (t->checkpoint_ts >= t->gone_at || p->now_us - t->gone_at > GONE_WAIT_US))
            code = end_tenant(p, t, err);
    }
    free(p);
    return code;
}

/* An agent that met another writer's files goes on only under a new epoch, which makes it read them first. */
static obv_code renew_fenced(plan *p, obv_err *err)
{
    for (size_t i = 0; i < p->agent_count; i++) {
        const obv_live_agent *a = &p->agents[i];
        if (!a->alive || !a->fenced)
            continue;
        uint64_t revision = 0;
        OBV_WARN("agent %s was fenced: its PGs get a new epoch", a->hello.agent_id);
        OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
        OBV_TRY(obv_state_begin(p->x->s, &tx, err));
        OBV_TRY(obv_archive_pg_renew(p->x->s, p->round->round, a->hello.agent_id, err));
        OBV_TRY(obv_registry_touch(p->x->reg, a->hello.agent_id, &revision, err));
        OBV_TRY(obv_state_commit(&tx, err));
    }
    return OBV_OK;
}

obv_code obv_archive_assign(obv_job_ctx *x, obv_cluster *c, const obv_round *round, bool leaders, obv_err *err)
{
    OBV_AUTO(obv_tenants_fini) obv_tenants tenants = {0};
    OBV_TRY(c->ops->tenants(c, &tenants, err));
    plan *p = calloc(1, sizeof *p);
    obv_live_agent *agents = calloc(OBV_AGENTS_MAX, sizeof *agents);
    if (!p || !agents) {
        free(p);
        free(agents);
        return obv_fail(err, OBV_E_NOMEM, 0, "archive assignment");
    }
    *p = (plan){.x = x, .round = round, .agents = agents, .now_us = obv_ctx_now(x)};
    p->agent_count = obv_registry_agents(x->reg, agents, OBV_AGENTS_MAX);
    obv_code code = renew_fenced(p, err);
    if (code == OBV_OK)
        code = look_after_gone(p, c, &tenants, err);
    for (size_t i = 0; i < tenants.n && code == OBV_OK; i++) {
        if (!tenants.v[i].normal)
            continue;
        p->touched_count = p->move_count = 0;
        code = assign_tenant(p, c, &tenants.v[i], leaders, err);
    }
    free(agents);
    free(p);
    return code;
}
