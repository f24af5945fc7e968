#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"
#include "job/backup.h"
#include "job/cancel.h"
#include "job/checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

typedef struct tenant_list {
    obv_set_tenant *v;
    size_t n, cap;
} tenant_list;
static void tenant_list_fini(tenant_list *l) { free(l->v); }

static obv_code take_tenant(void *ctx, const obv_set_tenant *t, obv_err *err)
{
    obv_set_tenant *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *t;
    return OBV_OK;
}

/* ---- S */

#define CALM_PAUSE_MS 500
#define REFUSED_US (20 * OBV_US_PER_S) /* a destination that refuses the log so long does not change its mind */

/* Another pass, or another look, as long as there may be one. */
static obv_code go_on(obv_job_ctx *x, const obv_set *set, const char *why, obv_err *err)
{
    const int64_t s = (obv_ctx_now(x) - set->closing_at) / OBV_US_PER_S;
    if (set->passes <= x->cfg->passes_max && s <= (int64_t)x->cfg->closing_s)
        return OBV_OK;
    (void)obv_fail(err, OBV_E_CONFLICT, 0, "the set could not be closed in %u passes and %lld s: %s", set->passes,
                   (long long)s, why);
    return obv_hint(err, "nothing can be restored from this set: start the backup again when less DDL runs, or allow"
                         " more with backup.passes_max and backup.closing_s");
}

/* *more: something is copied once more, or is to be looked at again. */
static obv_code review(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, tenant_list *t, bool *more,
                       obv_err *err)
{
    obv_backup_review r = {.calm = true};
    for (size_t i = 0; i < t->n; i++)
        OBV_TRY(obv_backup_review_tenant(x, c, job, &t->v[i], &r, err));
    *more = !r.calm || r.added || r.again;
    if (!*more)
        return OBV_OK;
    if (r.added || r.again) {
        set->passes++;
        OBV_TRY(obv_set_save(x->s, set, err));
        OBV_INFO("set %lld, pass %u: %u PGs are new, %u are copied again, %u were dropped", (long long)set->id,
                 set->passes, r.added, r.again, r.dropped);
    } else {
        obv_ctx_pause(x, job->id, CALM_PAUSE_MS);
    }
    char why[320];
    (void)snprintf(why, sizeof why, "DDL did not pause%s%s", r.lacking[0] ? ", or: " : "", r.lacking);
    return go_on(x, set, why, err);
}

obv_code obv_backup_close(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err)
{
    obv_set_sums all;
    OBV_AUTO(tenant_list_fini) tenant_list t = {0};
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    if (set->closing_at == 0) {
        set->closing_at = obv_ctx_now(x);
        OBV_TRY(obv_set_save(x->s, set, err));
    }
    /* S first, the schema afterwards: what the schema shows then holds at S. It is a time of the cluster's: this host's
     * clock may be wrong. */
    int64_t snapshot = 0, trip = 0;
    bool more = false;
    OBV_TRY(c->ops->now(c, &snapshot, &trip, err));
    OBV_TRY(review(x, c, job, set, &t, &more, err));
    if (more)
        return OBV_OK;
    OBV_TRY(obv_set_sum(x->s, set->id, 0, &all, err));
    if (all.pgs == 0 || all.pgs != all.pgs_done || all.blocks != all.blocks_stored)
        return obv_fail(err, OBV_E_INTERNAL, 0, "%lld of %lld PGs, %lld of %lld macroblocks are stored",
                        (long long)all.pgs_done, (long long)all.pgs, (long long)all.blocks_stored,
                        (long long)all.blocks);
    snapshot = later(snapshot, later(all.max_lower_bound, all.max_publish_version));
    for (size_t i = 0; i < t.n; i++)
        snapshot = later(snapshot, t.v[i].schema_version);
    if (OBV_BUG_STRIKES("bug.a3f_s_below_l"))
        snapshot = all.max_lower_bound - OBV_US_PER_S;
    if (all.max_schema_version > snapshot)
        return obv_fail(err, OBV_E_CONFLICT, 0, "a copy carries schema version %lld, later than the set's snapshot",
                        (long long)all.max_schema_version);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    set->snapshot = snapshot;
    OBV_TRY(obv_set_save(x->s, set, err));
    OBV_TRY(obv_job_move(x->s, job->id, "CLOSING", obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_copied");
    OBV_INFO("set %lld: %lld PGs are copied, snapshot %lld", (long long)set->id, (long long)all.pgs,
             (long long)snapshot);
    return OBV_OK;
}

/* ---- METAS: records with the final schema version, from the journals of the agents that made the copies */

static void meta_task_name(uint64_t tenant, uint64_t task_id, char *out, size_t cap)
{
    (void)snprintf(out, cap, "metas-%llu-%llu", (unsigned long long)tenant, (unsigned long long)task_id);
}

typedef struct meta_list {
    obv_task *v;
    size_t n, cap;
} meta_list;
static void meta_list_fini(meta_list *l) { free(l->v); }

static obv_code take_group(void *ctx, uint64_t tenant, uint64_t task_id, const char *agent_id, obv_err *err)
{
    obv_task *t = obv_list_add(ctx, sizeof *t, err);
    if (!t)
        return OBV_E_NOMEM;
    t->kind = OBV_TASK_FINISH_METAS;
    t->tenant_id = tenant;
    t->task_id = task_id;
    (void)snprintf(t->agent_id, sizeof t->agent_id, "%s", agent_id);
    meta_task_name(tenant, task_id, t->name, sizeof t->name);
    return OBV_OK;
}

/* The records of a lost agent's copies are in the repository: any other one finds them there. */
static obv_code hand_over(obv_job_ctx *x, obv_task *t, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_live_agent *agents = calloc(OBV_AGENTS_MAX, sizeof *agents);
    if (!agents)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    const size_t n = obv_registry_agents(x->reg, agents, OBV_AGENTS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!agents[i].alive || !agents[i].known)
            continue;
        OBV_WARN("agent %s is silent: agent %s writes the meta records of task %llu", t->agent_id,
                 agents[i].hello.agent_id, (unsigned long long)t->task_id);
        (void)snprintf(t->agent_id, sizeof t->agent_id, "%s", agents[i].hello.agent_id);
        return obv_task_again(x->s, t, 0, err);
    }
    return OBV_OK;
}

/* One group of PGs: makes its task, or looks after it. */
static obv_code look_after(obv_job_ctx *x, const obv_job *job, const obv_set *set, obv_task *want, bool *done,
                           obv_err *err)
{
    obv_task t;
    obv_set_tenant tenant;
    *done = false;
    const obv_code code = obv_task_get(x->s, job->id, want->name, &t, NULL);
    if (code == OBV_E_NOT_FOUND) {
        OBV_TRY(obv_set_tenant_get(x->s, set->id, want->tenant_id, &tenant, err));
        (void)snprintf(want->job_id, sizeof want->job_id, "%s", job->id);
        want->set_id = set->id;
        want->schema_version = tenant.schema_version;
        return obv_task_add(x->s, want, err);
    }
    if (code != OBV_OK)
        return obv_fail(err, code, 0, "task %s", want->name);
    *done = t.status == OBV_TASK_DONE;
    if (t.status == OBV_TASK_SENT && obv_registry_settled(x->reg) && !obv_registry_alive(x->reg, t.agent_id))
        OBV_TRY(hand_over(x, &t, err));
    const bool late = obv_ctx_now(x) - job->phase_at > (int64_t)x->cfg->step_s * OBV_US_PER_S;
    if (t.status == OBV_TASK_SENT && late)
        return obv_fail(err, OBV_E_LIMIT, 0,
                        "agent %s, which made the copies of task %llu, did not write their meta"
                        " records in %u s",
                        t.agent_id, (unsigned long long)t.task_id, x->cfg->step_s);
    if (t.status != OBV_TASK_FAILED && t.status != OBV_TASK_LOST)
        return OBV_OK;
    if (late || !(OBV_IS_RETRYABLE(t.error.code) || t.error.code == OBV_E_IO || t.error.code == OBV_E_CANCELLED)) {
        *err = t.error;
        (void)obv_wrap(err, "agent %s, meta records of task %llu", t.agent_id, (unsigned long long)t.task_id);
        if (OBV_IS_RETRYABLE(err->code))
            err->code = OBV_E_LIMIT;
        return err->code;
    }
    return obv_task_again(x->s, &t, 0, err);
}

/*
 * The log up to S is stored for every PG that the schema showed: without it nothing could be restored from the set. It
 * also tells that the cluster's own clock is past S, so that no DDL can take effect before S any more; whatever the
 * coordinator's clock says.
 */
static obv_code log_covers(obv_job_ctx *x, const obv_job *job, const obv_set *set, const tenant_list *t, bool *out,
                           obv_err *err)
{
    *out = false;
    for (size_t i = 0; i < t->n; i++) {
        obv_round_tenant r;
        OBV_TRY(obv_round_tenant_get(x->s, set->round, t->v[i].tenant_id, &r, err));
        if (r.checkpoint_ts >= set->snapshot)
            continue;
        if (r.status != OBV_ROUND_DOING)
            return obv_fail(err, OBV_E_PRECONDITION, 0,
                            "log archiving of tenant %s is %s and will not reach the set's snapshot", t->v[i].name,
                            obv_round_status_name(r.status));
        const int64_t waited = obv_ctx_now(x) - job->phase_at;
        if (waited > REFUSED_US)
            OBV_TRY(obv_archive_refused(x, set->round, t->v[i].tenant_id, err));
        if (waited > (int64_t)x->cfg->step_s * OBV_US_PER_S)
            return obv_fail(err, OBV_E_LIMIT, 0,
                            "log archiving of tenant %s did not reach the set's snapshot in %u s: it is %lld s behind",
                            t->v[i].name, x->cfg->step_s,
                            (long long)((set->snapshot - r.checkpoint_ts) / OBV_US_PER_S));
        return OBV_OK;
    }
    *out = true;
    return OBV_OK;
}

/* A DDL that took its version before S and its effect behind the last look at the schema: the copies are looked at
 * once more. */
static obv_code reopen(obv_job_ctx *x, const obv_job *job, obv_set *set, const obv_set_tenant *t, int64_t schema,
                       obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    set->passes++;
    OBV_TRY(obv_set_save(x->s, set, err));
    OBV_TRY(obv_event_add(x->s, job->id, obv_ctx_now(x), err,
                          "tenant %s went from schema version %lld to %lld before the set's snapshot %lld", t->name,
                          (long long)t->schema_version, (long long)schema, (long long)set->snapshot));
    OBV_TRY(obv_job_move(x->s, job->id, "DOING", obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    return go_on(x, set, "DDL did not pause", err);
}

obv_code obv_backup_closing(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err)
{
    OBV_AUTO(tenant_list_fini) tenant_list t = {0};
    bool covered = false;
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    OBV_TRY(log_covers(x, job, set, &t, &covered, err));
    if (!covered)
        return OBV_OK;
    for (size_t i = 0; i < t.n; i++) {
        int64_t schema = 0;
        OBV_TRY(c->ops->schema_version_at(c, t.v[i].tenant_id, set->snapshot, &schema, err));
        if (schema != t.v[i].schema_version)
            return reopen(x, job, set, &t.v[i], schema, err);
    }
    OBV_TRY(obv_job_move(x->s, job->id, "METAS", obv_ctx_now(x), err));
    OBV_FAULT("coordinator.backup_closed");
    return OBV_OK;
}

static obv_code all_have_metas(obv_job_ctx *x, const obv_set *set, obv_err *err)
{
    int64_t missing = 0;
    OBV_STATE_READ(x->s);
    OBV_TRY(obv_db_i64(obv_state_db(x->s), err, &missing,
                       "SELECT count(*) FROM pgs WHERE set_id = ? AND state < 4 AND (state <> 2 OR meta_offset < 0)",
                       obv_db_i(set->id)));
    return missing == 0 ? OBV_OK : obv_fail(err, OBV_E_INTERNAL, 0, "%lld PGs have no meta record", (long long)missing);
}

obv_code obv_backup_metas(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_err *err)
{
    OBV_AUTO(meta_list_fini) meta_list groups = {0};
    OBV_TRY(obv_set_task_each(x->s, set->id, take_group, &groups, err));
    bool all = true;
    for (size_t i = 0; i < groups.n; i++) {
        bool done = false;
        OBV_TRY(look_after(x, job, set, &groups.v[i], &done, err));
        all = all && done;
    }
    if (!all)
        return OBV_OK;
    OBV_TRY(all_have_metas(x, set, err));
    OBV_AUTO(obv_files_fini) obv_files files = {0};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    set->status = OBV_SET_SEALING;
    set->result = 0;
    set->ended_at = obv_ctx_now(x);
    OBV_TRY(obv_set_save(x->s, set, err));
    OBV_TRY(
        obv_db_run(obv_state_db(x->s), err, "UPDATE set_tenants SET phase = 2 WHERE set_id = ?", obv_db_i(set->id)));
    OBV_TRY(obv_backup_files_success(x, set, &files, err));
    OBV_TRY(obv_files_queue(x, job->id, "final", &files, err));
    OBV_TRY(obv_job_move(x->s, job->id, "CLEANUP", obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_metas");
    return OBV_OK;
}

/* ---- the end */

static int32_t number_of(const obv_err *why)
{
    return why->sys < 0 ? why->sys : -4016; /* OceanBase's number if there is one, else its "unexpected" */
}

obv_code obv_backup_fail(obv_job_ctx *x, const obv_job *job, const obv_err *why, obv_err *err)
{
    const obv_err reason = *why; /* why may be err itself */
    obv_set set;
    OBV_ERROR_OF(&reason, "set %lld fails", (long long)job->ref);
    OBV_AUTO(obv_files_fini) obv_files files = {0};
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_set_get(x->s, job->ref, &set, err));
    const bool sealing = set.status == OBV_SET_SEALING;
    set.status = OBV_SET_BAD;
    set.result = number_of(&reason);
    set.ended_at = obv_ctx_now(x);
    OBV_TRY(obv_set_save(x->s, &set, err));
    OBV_TRY(obv_job_note(x->s, job->id, &reason, err));
    /* agents are told to stop what is not in the list any more */
    OBV_TRY(obv_db_run(obv_state_db(x->s), err, "DELETE FROM put_files WHERE job_id = ?", obv_db_s(job->id)));
    OBV_TRY(obv_db_run(obv_state_db(x->s), err, "DELETE FROM tasks WHERE job_id = ?", obv_db_s(job->id)));
    OBV_TRY(obv_backup_files_failed(x, &set, sealing, &files, err));
    OBV_TRY(obv_files_queue(x, job->id, "failed", &files, err));
    OBV_TRY(obv_job_move(x->s, job->id, "CLEANUP", obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_failed");
    return OBV_OK;
}

static obv_code end_failed(obv_job_ctx *x, const obv_job *job, obv_backup_memory *m, obv_err *err)
{
    bool queued = false, done = false;
    obv_code code = obv_files_look(x, job->id, "failed", &queued, &done, err);
    if (code == OBV_OK && !done)
        code = obv_check_destination(x, &m->no_destination_ns, err);
    const int64_t limit = job->cancel ? OBV_CANCEL_MARK_US : (int64_t)x->cfg->step_s * OBV_US_PER_S;
    if (code == OBV_OK && !done && obv_ctx_now(x) - job->phase_at < limit)
        return OBV_OK;
    if (!done) /* the lists are whole again with the next backup: they are always written from here */
        OBV_WARN("set %lld: its entries could not be marked FAILED at the destination", (long long)job->ref);
    return obv_job_end(x->s, job->id, "CLEANUP", &job->result, obv_ctx_now(x), err);
}

obv_code obv_backup_cleanup(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_backup_memory *m, obv_err *err)
{
    bool queued = false, done = false;
    if (set->status == OBV_SET_BAD)
        return end_failed(x, job, m, err);
    obv_code code = obv_files_look(x, job->id, "final", &queued, &done, err);
    if (code == OBV_OK && !done)
        code = obv_check_destination(x, &m->no_destination_ns, err);
    if (code != OBV_OK && !OBV_IS_RETRYABLE(code))
        return obv_backup_fail(x, job, err, err);
    OBV_TRY(code);
    if (!done && obv_backup_overdue(x, job)) {
        (void)obv_fail(err, OBV_E_LIMIT, 0, "no agent stored the set's last files in %u s",
                       x->cfg->step_s * OBV_BACKUP_STALL_STEPS);
        return obv_backup_fail(x, job, err, err);
    }
    if (!done)
        return OBV_OK;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    set->status = OBV_SET_GOOD;
    OBV_TRY(obv_set_save(x->s, set, err));
    OBV_TRY(obv_job_end(x->s, job->id, "FINISH", NULL, obv_ctx_now(x), err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_done");
    OBV_INFO("set %lld is good", (long long)set->id);
    return OBV_OK;
}
