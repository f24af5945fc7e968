#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
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

static obv_code ddl_meanwhile(const obv_set_tenant *t, int64_t now, obv_err *err)
{
    (void)obv_fail(err, OBV_E_CONFLICT, 0, "DDL during the backup: tenant %s went from schema version %lld to %lld",
                   t->name, (long long)t->schema_version, (long long)now);
    return obv_hint(err, "the copies no longer belong to one schema: start the backup again when no DDL runs");
}

static obv_code no_ddl(obv_cluster *c, const obv_set_tenant *t, obv_err *err)
{
    int64_t now = 0;
    OBV_TRY(c->ops->schema_version(c, t->tenant_id, &now, err));
    return now == t->schema_version ? OBV_OK : ddl_meanwhile(t, now, err);
}

obv_code obv_backup_close(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err)
{
    obv_set_sums all;
    OBV_AUTO(tenant_list_fini) tenant_list t = {0};
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    OBV_TRY(obv_set_sum(x->s, set->id, 0, &all, err));
    if (all.pgs == 0 || all.pgs != all.pgs_done || all.blocks != all.blocks_stored)
        return obv_fail(err, OBV_E_INTERNAL, 0, "%lld of %lld PGs, %lld of %lld macroblocks are stored",
                        (long long)all.pgs_done, (long long)all.pgs, (long long)all.blocks_stored,
                        (long long)all.blocks);
    /* S first, the schema afterwards: what the schema shows then holds at S */
    int64_t snapshot = later(obv_ctx_now(x), later(all.max_lower_bound, all.max_publish_version));
    for (size_t i = 0; i < t.n; i++)
        snapshot = later(snapshot, t.v[i].schema_version);
    if (OBV_BUG_STRIKES("bug.a3f_s_below_l"))
        snapshot = all.max_lower_bound - OBV_US_PER_S;
    for (size_t i = 0; i < t.n; i++)
        OBV_TRY(no_ddl(c, &t.v[i], err));
    if (all.max_schema_version > snapshot)
        return obv_fail(err, OBV_E_CONFLICT, 0, "a copy carries schema version %lld, later than the set's snapshot",
                        (long long)all.max_schema_version);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    set->snapshot = snapshot;
    OBV_TRY(obv_set_save(x->s, set, err));
    OBV_TRY(obv_job_move(x->s, job->id, "METAS", obv_ctx_now(x), err));
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
static obv_code log_covers(obv_job_ctx *x, const obv_job *job, const obv_set *set, bool *out, obv_err *err)
{
    OBV_AUTO(tenant_list_fini) tenant_list t = {0};
    obv_cluster *c = NULL;
    *out = false;
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    for (size_t i = 0; i < t.n; i++) {
        obv_round_tenant r;
        OBV_TRY(obv_round_tenant_get(x->s, set->round, t.v[i].tenant_id, &r, err));
        if (r.checkpoint_ts >= set->snapshot)
            continue;
        if (r.status != OBV_ROUND_DOING)
            return obv_fail(err, OBV_E_PRECONDITION, 0,
                            "log archiving of tenant %s is %s and will not reach the set's snapshot", t.v[i].name,
                            obv_round_status_name(r.status));
        if (obv_ctx_now(x) - job->phase_at > (int64_t)x->cfg->step_s * OBV_US_PER_S)
            return obv_fail(err, OBV_E_LIMIT, 0,
                            "log archiving of tenant %s did not reach the set's snapshot in %u s: it is %lld s behind",
                            t.v[i].name, x->cfg->step_s, (long long)((set->snapshot - r.checkpoint_ts) / OBV_US_PER_S));
        return OBV_OK;
    }
    OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
    for (size_t i = 0; i < t.n; i++) {
        int64_t schema = 0;
        OBV_TRY(c->ops->schema_version_at(c, t.v[i].tenant_id, set->snapshot, &schema, err));
        if (schema != t.v[i].schema_version)
            return ddl_meanwhile(&t.v[i], schema, err);
    }
    *out = true;
    return OBV_OK;
}

static obv_code all_have_metas(obv_job_ctx *x, const obv_set *set, obv_err *err)
{
    int64_t missing = 0;
    OBV_STATE_READ(x->s);
    OBV_TRY(obv_db_i64(obv_state_db(x->s), err, &missing,
                       "SELECT count(*) FROM pgs WHERE set_id = ? AND (state <> 2 OR meta_offset < 0)",
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
    OBV_TRY(log_covers(x, job, set, &all, err));
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
