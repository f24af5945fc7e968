#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
#include "job/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRIES_MAX 64u
#define CORRUPT_RETRIES 3u /* a damaged block on one replica: others may be sound */
#define IO_RETRIES 3u      /* a failed fsync: the objects are made anew from the source, maybe by another host */
#define BACKOFF_MAX_S 30
#define DUE_MAX 4096u
#define FAILED_MAX 1024u
#define REPLICAS_NS (60 * OBV_NS_PER_S)
#define UNSEEN_NS (3 * OBV_NS_PER_S) /* the same while some PG is not seen yet: it may be new */
#define LOOK_NS (10 * OBV_NS_PER_S)

typedef struct copies {
    obv_pg_copy *v;
    size_t n, cap;
} copies;
static void copies_fini(copies *l) { free(l->v); }

static obv_code take(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    obv_pg_copy *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *p;
    return OBV_OK;
}

/* ---- PGs that failed */

static bool worth_retrying(const obv_pg_copy *p)
{
    const obv_code c = p->error.code;
    if (c == OBV_E_CORRUPT)
        return p->retries < CORRUPT_RETRIES;
    if (c == OBV_E_IO)
        return p->retries < IO_RETRIES;
    return p->retries < RETRIES_MAX && (OBV_IS_RETRYABLE(c) || c == OBV_E_PG_CHANGED || c == OBV_E_PG_GONE ||
                                        c == OBV_E_PRECONDITION || c == OBV_E_CANCELLED || c == OBV_E_NOT_INITIALISED);
}

static obv_code retry_failed(obv_job_ctx *x, const obv_set *set, obv_backup_memory *m, obv_err *err)
{
    OBV_AUTO(copies_fini) copies bad = {0};
    OBV_TRY(obv_pg_copy_each(x->s, set->id, 0, OBV_PG_FAILED, FAILED_MAX, take, &bad, err));
    if (bad.n == 0)
        return OBV_OK;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    for (size_t i = 0; i < bad.n; i++) {
        obv_pg_copy *p = &bad.v[i];
        m->look = m->look || p->error.code == OBV_E_PG_GONE;
        if (p->error.code == OBV_E_FENCED && p->pass < RETRIES_MAX) {
            /* an attempt that was given up has put this pass's major index: the next one builds on what it lists */
            OBV_INFO("PG %llu/%lld: pass %u was put by another attempt, pass %u follows",
                     (unsigned long long)p->key.table_id, (long long)obv_pg_key_partition_id(&p->key), p->pass,
                     p->pass + 1);
            p->agent_id[0] = 0;
            OBV_TRY(obv_pg_copy_next(x->s, p, 0, err));
            continue;
        }
        if (!worth_retrying(p)) {
            *err = p->error;
            (void)obv_wrap(err, "PG %llu/%lld on agent %s, attempt %u", (unsigned long long)p->key.table_id,
                           (long long)obv_pg_key_partition_id(&p->key), p->agent_id, p->retries + 1);
            if (OBV_IS_RETRYABLE(err->code))
                err->code = OBV_E_LIMIT; /* tried often enough */
            return err->code;
        }
        OBV_INFO("PG %llu/%lld on agent %s is copied again: %s", (unsigned long long)p->key.table_id,
                 (long long)obv_pg_key_partition_id(&p->key), p->agent_id, p->error.msg);
        const unsigned shift = p->retries < 6 ? p->retries : 6;
        const int64_t wait = (INT64_C(1) << shift) < BACKOFF_MAX_S ? INT64_C(1) << shift : BACKOFF_MAX_S;
        p->state = OBV_PG_PENDING;
        p->retries++;
        p->not_before =
            obv_ctx_now(x) + (p->error.code == OBV_E_PG_CHANGED && p->retries < 4 ? 1 : wait) * OBV_US_PER_S;
        p->task_uid[0] = 0;
        p->task_id = -1;
        OBV_TRY(obv_pg_copy_save(x->s, p, err));
    }
    for (size_t i = 0; i < m->count; i++)
        m->tenants[i].read_ns = 0; /* replicas may have moved */
    return obv_state_commit(&tx, err);
}

/* ---- where from */

/*
 * The replica tables are dear: they are read once a set and tenant, then only after a copy failed (a replica may have
 * moved) or while a PG has none that could be used, and then once a minute.
 */
static void forget_old_replicas(const obv_job_ctx *x, obv_backup_memory *m)
{
    const int64_t now = obv_clock_ns(&x->clock);
    for (size_t i = 0; i < m->count; i++)
        if (now - m->tenants[i].read_ns > REPLICAS_NS)
            m->tenants[i].read_ns = 0;
}

static obv_code replicas_of(obv_job_ctx *x, obv_cluster *c, obv_backup_memory *m, uint64_t tenant,
                            obv_backup_replicas **out, obv_err *err)
{
    const size_t slots = sizeof m->tenants / sizeof *m->tenants;
    size_t i = 0;
    while (i < m->count && m->tenants[i].tenant_id != tenant)
        i++;
    if (i == m->count) {
        if (m->count < slots)
            m->count++;
        else
            i = m->next++ % slots;
        m->tenants[i].tenant_id = tenant;
        m->tenants[i].read_ns = 0;
    }
    const int64_t now = obv_clock_ns(&x->clock);
    if (m->tenants[i].unseen && now - m->tenants[i].read_ns > UNSEEN_NS)
        m->tenants[i].read_ns = 0;
    if (m->tenants[i].read_ns == 0 || OBV_BUG_STRIKES("bug.d21_polls_replicas")) {
        OBV_TRY(c->ops->replicas(c, tenant, &m->tenants[i].replicas, err));
        m->tenants[i].read_ns = now;
        m->tenants[i].unseen = false;
    }
    *out = &m->tenants[i];
    return OBV_OK;
}

typedef struct slot {
    const obv_live_agent *a;
    int64_t room; /* batches that it may still get */
    size_t *pgs;  /* indexes into the due list */
    size_t n;
    uint64_t tenant;
    uint32_t pass;
} slot;

static slot *slot_at(slot *s, size_t n, const obv_replica *r)
{
    for (size_t i = 0; i < n; i++)
        if (s[i].a->hello.rpc_port == r->rpc_port && strcmp(s[i].a->hello.ip, r->ip) == 0)
            return &s[i];
    return NULL;
}

/*
 * Followers before leaders, then the least loaded; the agent that failed last only if there is no other. A follower
 * that lies behind the beginning of the log archive is no use, nor may another be: then the leader, where the archive
 * mostly began, then each in turn.
 */
static slot *choose(const obv_job_ctx *x, slot *slots, size_t n, const obv_pg_copy *p, const obv_replica *reps,
                    size_t rep_count)
{
    slot *best = NULL;
    int64_t best_score = INT64_MAX;
    /* the leader also has what two replicas have lacked, if anybody has it */
    const bool behind = (p->retries && p->error.code == OBV_E_PRECONDITION) || p->pass > 1;
    for (size_t i = 0; i < rep_count; i++) {
        slot *s = reps[i].usable ? slot_at(slots, n, &reps[i]) : NULL;
        if (!s)
            continue;
        int64_t score = s->a->batches * (int64_t)x->cfg->batch_pgs + (int64_t)s->n;
        const bool wanted = !behind ? !reps[i].leader : p->retries <= 1 ? reps[i].leader : i == p->retries % rep_count;
        if (!wanted)
            score += INT64_C(1) << 40;
        if (p->retries && strcmp(p->agent_id, s->a->hello.agent_id) == 0)
            score += INT64_C(1) << 41;
        if (score < best_score) {
            best = s;
            best_score = score;
        }
    }
    return best;
}

static obv_code make_batch(obv_job_ctx *x, const obv_job *job, const obv_set *set, const slot *s, copies *due,
                           obv_err *err)
{
    int64_t number = 0;
    char counter[48];
    obv_task t = {.kind = OBV_TASK_BATCH, .set_id = set->id, .tenant_id = s->tenant, .pass = s->pass};
    (void)snprintf(counter, sizeof counter, "task:%llu", (unsigned long long)s->tenant);
    OBV_TRY(obv_state_next(x->s, counter, &number, err));
    t.task_id = (uint64_t)(number - 1); /* OceanBase counts from 0 */
    (void)snprintf(t.job_id, sizeof t.job_id, "%s", job->id);
    (void)snprintf(t.name, sizeof t.name, "batch-%llu-%llu", (unsigned long long)s->tenant,
                   (unsigned long long)t.task_id);
    (void)snprintf(t.agent_id, sizeof t.agent_id, "%s", s->a->hello.agent_id);
    OBV_TRY(obv_task_add(x->s, &t, err));
    for (size_t i = 0; i < s->n; i++) {
        obv_pg_copy *p = &due->v[s->pgs[i]];
        p->state = OBV_PG_DOING;
        p->task_id = (int64_t)t.task_id;
        (void)snprintf(p->task_uid, sizeof p->task_uid, "%s", t.uid);
        (void)snprintf(p->agent_id, sizeof p->agent_id, "%s", t.agent_id);
        OBV_TRY(obv_pg_copy_save(x->s, p, err));
    }
    OBV_DETAIL("batch %s: %zu PGs of tenant %llu to agent %s", t.uid, s->n, (unsigned long long)s->tenant, t.agent_id);
    return OBV_OK;
}

static size_t open_slots(const obv_job_ctx *x, const obv_live_agent *agents, size_t n, slot *slots)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const obv_live_agent *a = &agents[i];
        if (!a->alive || !a->known)
            continue;
        const int64_t limit = a->hello.batch_slots && a->hello.batch_slots < x->cfg->per_agent
                                  ? (int64_t)a->hello.batch_slots
                                  : (int64_t)x->cfg->per_agent;
        slots[count++] = (slot){.a = a, .room = limit - a->batches};
    }
    return count;
}

static obv_code hand_out(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_set *set, obv_backup_memory *m,
                         const obv_live_agent *agents, size_t agent_count, slot *slots, obv_err *err)
{
    OBV_AUTO(copies_fini) copies due = {0};
    OBV_TRY(obv_pg_copy_due(x->s, set->id, obv_ctx_now(x), DUE_MAX, take, &due, err));
    if (due.n == 0)
        return OBV_OK;
    const size_t slot_count = open_slots(x, agents, agent_count, slots);
    OBV_AUTO(obv_freep) size_t *lists = calloc(slot_count + 1, x->cfg->batch_pgs * sizeof *lists);
    if (!lists)
        return obv_fail(err, OBV_E_NOMEM, 0, "batches");
    for (size_t i = 0; i < slot_count; i++)
        slots[i].pgs = lists + i * x->cfg->batch_pgs;
    uint64_t homeless = 0;
    for (size_t i = 0; i < due.n; i++) {
        obv_backup_replicas *reps = NULL;
        size_t n = 0;
        OBV_TRY(replicas_of(x, c, m, due.v[i].tenant_id, &reps, err));
        const obv_replica *of = obv_replicas_of(&reps->replicas, &due.v[i].key, &n);
        reps->unseen = reps->unseen || !of;
        slot *s = choose(x, slots, slot_count, &due.v[i], of, n);
        if (!s) {
            homeless++;
            continue;
        }
        if (s->room <= 0 || s->n == x->cfg->batch_pgs ||
            (s->n && (s->tenant != due.v[i].tenant_id || s->pass != due.v[i].pass)))
            continue; /* waits for its turn */
        s->tenant = due.v[i].tenant_id;
        s->pass = due.v[i].pass;
        s->pgs[s->n++] = i;
    }
    m->look = m->look || homeless;
    if (homeless) {
        forget_old_replicas(x, m);
        OBV_WARN_EVERY(30, "set %lld: %llu PGs have no usable replica on a host with a living agent",
                       (long long)set->id, (unsigned long long)homeless);
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    for (size_t i = 0; i < slot_count; i++)
        if (slots[i].n)
            OBV_TRY(make_batch(x, job, set, &slots[i], &due, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_batched");
    return OBV_OK;
}

/* Nothing may wait for ever: PGs without a living agent on any replica, batches that do not move. */
static obv_code still_moving(obv_job_ctx *x, const obv_job *job, const obv_set *set, obv_backup_memory *m, obv_err *err)
{
    int64_t done = 0, doing = 0, pending = 0;
    uint64_t read = 0, written = 0, blocks = 0;
    const int64_t now = obv_clock_ns(&x->clock), limit_s = (int64_t)x->cfg->step_s * OBV_BACKUP_STALL_STEPS;
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_FINISH, &done, err));
    obv_registry_progress(x->reg, job->id, &read, &written, &blocks);
    if (m->moved_ns == 0 || done != m->done || read + written != m->bytes) {
        m->moved_ns = now;
        m->done = done;
        m->bytes = read + written;
        return OBV_OK;
    }
    if (now - m->moved_ns <= limit_s * OBV_NS_PER_S)
        return OBV_OK;
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_DOING, &doing, err));
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_PENDING, &pending, err));
    return obv_fail(
        err, OBV_E_LIMIT, 0,
        "the copy did not move for %lld s: %lld PGs are stored, %lld are being copied, %lld wait for a living"
        " agent with a replica",
        (long long)limit_s, (long long)done, (long long)doing, (long long)pending);
}

static obv_code take_tenant(void *ctx, const obv_set_tenant *t, obv_err *err)
{
    obv_set_tenant *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *t;
    return OBV_OK;
}

/* A PG that is nowhere to be found may have been dropped: then it is not waited for. */
static obv_code look_for_dropped(obv_job_ctx *x, obv_cluster *c, const obv_set *set, obv_backup_memory *m, obv_err *err)
{
    struct {
        obv_set_tenant *v;
        size_t n, cap;
    } t = {0};
    const int64_t now = obv_clock_ns(&x->clock);
    if (!m->look || (m->looked_ns && now - m->looked_ns < LOOK_NS))
        return OBV_OK;
    m->look = false;
    m->looked_ns = now;
    obv_code code = obv_set_tenant_each(x->s, set->id, take_tenant, &t, err);
    for (size_t i = 0; i < t.n && code == OBV_OK; i++)
        code = obv_backup_drop_gone(x, c, &t.v[i], err);
    free(t.v);
    return code;
}

obv_code obv_backup_copy(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_set *set, obv_backup_memory *m,
                         bool *finished, obv_err *err)
{
    int64_t pending = 0, doing = 0, failed = 0;
    OBV_TRY(look_for_dropped(x, c, set, m, err));
    OBV_TRY(retry_failed(x, set, m, err));
    obv_live_agent *agents = calloc(OBV_AGENTS_MAX, sizeof *agents);
    slot *slots = calloc(OBV_AGENTS_MAX, sizeof *slots);
    obv_code code = agents && slots ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "agents");
    if (code == OBV_OK)
        code = hand_out(x, c, job, set, m, agents, obv_registry_agents(x->reg, agents, OBV_AGENTS_MAX), slots, err);
    free(agents);
    free(slots);
    OBV_TRY(code);
    OBV_TRY(still_moving(x, job, set, m, err));
    OBV_STATE_READ(x->s);
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_PENDING, &pending, err));
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_DOING, &doing, err));
    OBV_TRY(obv_pg_copy_count(x->s, set->id, OBV_PG_FAILED, &failed, err));
    *finished = pending == 0 && doing == 0 && failed == 0;
    return OBV_OK;
}
