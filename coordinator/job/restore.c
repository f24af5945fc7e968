#define OBV_LOG_MOD "restore"
#include "base/fault.h"
#include "base/log.h"
#include "base/mysql.h"
#include "job/names.h"
#include "job/restore_priv.h"
#include "job/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ISSUE_MAX_US (15 * 60 * OBV_US_PER_S)
#define UNANSWERED_US (60 * OBV_US_PER_S)
#define UNSEEN_MAX_US (2 * 60 * OBV_US_PER_S)
#define STALL_MAX_US (6 * 3600 * OBV_US_PER_S)
#define POLL_MS 1000u
#define NOT_ALLOWED (-4179)

/* ---- begin */

obv_code obv_restore_begin(obv_job_ctx *x, obv_cluster *target, const obv_restore_request *q, const char *run_key,
                           obv_job *out, obv_err *err)
{
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    obv_restore r = {.until_us = q->until_us};
    size_t set = 0, first = 0, last = 0, unseen = 0;
    bool found = false;
    const obv_code known = obv_job_by_key(x->s, run_key, OBV_JOB_RESTORE, out, err);
    if (known != OBV_E_NOT_FOUND)
        return known;
    OBV_TRY(obv_restore_check_request(q, &r, err));
    OBV_TRY(obv_names_find(x, q->tenant, q->until_us, &r.tenant_id, err));
    OBV_TRY(obv_window_load(x, r.tenant_id, &w, err));
    OBV_TRY(obv_window_choose(w.sets, w.set_count, w.pieces, w.piece_count, q->until_us, &set, &first, &last, err));
    OBV_TRY(obv_restore_check_target(x, target, q, w.sets[set].cluster_version, &unseen, err));
    OBV_TRY(target->ops->last_restore_job(target, &r.last_job_id, err));
    r.set_id = w.sets[set].set_id;
    r.round = w.pieces[last].round;
    (void)snprintf(r.target, sizeof r.target, "%s", q->target);
    (void)snprintf(r.tenant, sizeof r.tenant, "%s", q->tenant);
    (void)snprintf(r.new_tenant, sizeof r.new_tenant, "%s", q->new_tenant);
    (void)snprintf(r.pools, sizeof r.pools, "%s", q->pools);
    (void)snprintf(r.locality, sizeof r.locality, "%s", q->locality);
    (void)snprintf(r.primary_zone, sizeof r.primary_zone, "%s", q->primary_zone);

    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_job_create(x->s, OBV_JOB_RESTORE, run_key, "WAIT", r.set_id, obv_ctx_now(x), out, &found, err));
    if (!found) {
        (void)snprintf(r.job_id, sizeof r.job_id, "%s", out->id);
        /* unique over coordinators that restore into the same target */
        r.external_id = obv_ctx_now(x);
        OBV_TRY(obv_restore_save(x->s, &r, err));
        if (unseen)
            OBV_TRY(obv_event_add(x->s, out->id, obv_ctx_now(x), err,
                                  "%zu servers of target %s have no agent: whether they see %.200s is not known",
                                  unseen, r.target, x->cfg->uri));
    }
    return obv_state_commit(&tx, err);
}

/* ---- WAIT, ISSUE */

static obv_code until_text(int64_t us, char *out, size_t cap, obv_err *err)
{
    const time_t s = (time_t)(us / OBV_US_PER_S);
    struct tm t;
    if (!gmtime_r(&s, &t))
        return obv_fail(err, OBV_E_INVAL, 0, "time %lld", (long long)us);
    const size_t n = strftime(out, cap, "%Y-%m-%d %H:%M:%S", &t);
    (void)snprintf(out + n, cap - n, ".%06lld", (long long)(us % OBV_US_PER_S));
    return OBV_OK;
}

obv_code obv_restore_statement(const obv_job_ctx *x, const obv_restore *r, const obv_repository *repo, char *out,
                               size_t cap, obv_err *err)
{
    (void)x;
    char until[48], options[2200];
    OBV_TRY(until_text(r->until_us, until, sizeof until, err));
    const int n =
        snprintf(options, sizeof options,
                 "backup_cluster_id=%llu&backup_cluster_name=%s&pool_list=%s%s%s%s%s&restore_job_id=%lld",
                 (unsigned long long)repo->cluster_id, repo->cluster_name, r->pools, r->locality[0] ? "&locality=" : "",
                 r->locality, r->primary_zone[0] ? "&primary_zone=" : "", r->primary_zone, (long long)r->external_id);
    if (n < 0 || n >= 2048)
        return obv_fail(err, OBV_E_LIMIT, 0, "the restore's options are longer than OceanBase takes");
    const int k = snprintf(out, cap, "ALTER SYSTEM RESTORE %s FROM %s UNTIL '%s' WITH '%s'", r->new_tenant, r->tenant,
                           until, options);
    return k > 0 && (size_t)k < cap ? OBV_OK : obv_fail(err, OBV_E_LIMIT, 0, "restore statement");
}

static obv_code add_source(const obv_job_ctx *x, const obv_path *dir, char *out, size_t cap, obv_err *err)
{
    char uri[1600], quoted[1700];
    (void)snprintf(uri, sizeof uri, "%s/%s", x->cfg->uri, dir->s);
    OBV_TRY(obv_mysql_quote(uri, quoted, sizeof quoted, err));
    (void)snprintf(out, cap, "ALTER SYSTEM ADD RESTORE SOURCE %s", quoted);
    return OBV_OK;
}

typedef struct statements {
    char **v;
    size_t n, cap;
} statements;

static void statements_fini(statements *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
}

static obv_code say(statements *l, const char *sql, obv_err *err)
{
    char **slot = obv_list_add(l, sizeof *slot, err);
    if (slot && !(*slot = strdup(sql)))
        (void)obv_fail(err, OBV_E_NOMEM, 0, "statements");
    return slot && *slot ? OBV_OK : OBV_E_NOMEM;
}

static obv_code say_source(const obv_job_ctx *x, statements *l, const obv_path *dir, obv_err *err)
{
    char sql[2048];
    OBV_TRY(add_source(x, dir, sql, sizeof sql, err));
    return say(l, sql, err);
}

/* The set, then every piece that it needs for that time: chosen anew, an ACTIVE piece may be FROZEN by now. */
static obv_code say_sources(obv_job_ctx *x, const obv_restore *r, statements *l, obv_err *err)
{
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    obv_media_root root;
    obv_path dir;
    size_t i = 0, first = 0, last = 0;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(obv_window_load(x, r->tenant_id, &w, err));
    while (i < w.set_count && w.sets[i].set_id != r->set_id)
        i++;
    if (i == w.set_count || !obv_window_pieces(&w.sets[i], w.pieces, w.piece_count, r->until_us, &first, &last))
        return obv_fail(err, OBV_E_NOT_RESTORABLE, 0, "set %lld does not reach the wanted time any more",
                        (long long)r->set_id);
    const obv_set_id id = {
        .tenant_id = r->tenant_id, .set_id = r->set_id, .full_set_id = w.sets[i].full_set_id, .date = w.sets[i].date};
    obv_path_set_dir(&root, &id, &dir);
    OBV_TRY(say_source(x, l, &dir, err));
    for (size_t k = first; k <= last; k++) {
        obv_window_piece_dir(&root, r->tenant_id, &w.pieces[k], &dir);
        OBV_TRY(say_source(x, l, &dir, err));
    }
    return OBV_OK;
}

static obv_code issue(obv_job_ctx *x, obv_cluster *target, const obv_restore *r, obv_err *err)
{
    OBV_AUTO(statements_fini) statements l = {0};
    obv_repository repo;
    char restore[4096];
    OBV_TRY(obv_state_repository(x->s, &repo, err));
    /*
     * UNTIL is parsed in the session's time zone. Sources are variables of the session: it begins without any, and
     * execute() closes it however this ends.
     */
    OBV_TRY(say(&l, "SET time_zone = '+00:00'", err));
    OBV_TRY(say(&l, "ALTER SYSTEM CLEAR RESTORE SOURCE", err));
    OBV_TRY(say_sources(x, r, &l, err));
    OBV_TRY(obv_restore_statement(x, r, &repo, restore, sizeof restore, err));
    OBV_TRY(say(&l, restore, err));
    return target->ops->execute(target, (const char *const *)l.v, l.n, err);
}

static bool is_ours(const obv_restore *r, const obv_restore_progress *p)
{
    /* a job that somebody typed has no id, or another, whatever its tenant is called */
    return p->found && p->external_id == r->external_id;
}

/* The target's clock decides, not ours: it is the target that refuses what is too new for it. */
static obv_code step_wait(obv_job_ctx *x, obv_cluster *target, const obv_job *job, const obv_restore *r,
                          uint32_t *again_ms, obv_err *err)
{
    obv_target t;
    int64_t left = 0;
    const int64_t now = obv_ctx_now(x);
    OBV_TRY(obv_restore_wait_us(target, r->until_us, &left, err));
    if (left <= 0) {
        OBV_TRY(target->ops->target(target, &t, err));
        if (t.gc_ts >= r->until_us)
            return obv_job_move(x->s, job->id, "ISSUE", now, err);
    }
    if (now - job->phase_at > OBV_RESTORE_WAIT_MAX_US) {
        const int min = (int)(OBV_RESTORE_WAIT_MAX_US / OBV_US_PER_S / 60);
        (void)(left > 0 ? obv_fail(err, OBV_E_PRECONDITION, 0,
                                   "the target's clock did not pass the wanted time by 10 s in %d min", min)
                        : obv_fail(err, OBV_E_PRECONDITION, 0,
                                   "the target's snapshot_gc_ts did not reach the wanted time in %d min", min));
        return obv_hint(err,
                        "look at the clocks of the target's servers and at its RootService; nothing was begun there");
    }
    *again_ms = left > 0 && left < OBV_US_PER_S ? (uint32_t)(left / 1000) + 1 : POLL_MS;
    obv_ctx_pause(x, job->id, *again_ms);
    return OBV_OK;
}

static obv_code to_running(obv_job_ctx *x, const obv_job *job, obv_restore *r, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    r->issued_at = obv_ctx_now(x);
    OBV_TRY(obv_restore_save(x->s, r, err));
    OBV_TRY(obv_job_move(x->s, job->id, "RUNNING", r->issued_at, err));
    return obv_state_commit(&tx, err);
}

static obv_code mark_issued(obv_job_ctx *x, const obv_job *job, obv_restore *r, int64_t now, bool *cancelled,
                            obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    obv_job fresh;
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_job_get(x->s, job->id, &fresh, err));
    *cancelled = fresh.cancel;
    if (fresh.cancel)
        return OBV_OK;
    r->issued_at = now;
    OBV_TRY(obv_restore_save(x->s, r, err));
    return obv_state_commit(&tx, err);
}

/*
 * A statement whose answer was lost (by the network, or because this process was killed) may have been taken: it is
 * given again only after the target has shown nothing of it for a while.
 */
static obv_code step_issue(obv_job_ctx *x, obv_cluster *target, const obv_job *job, obv_restore *r, uint32_t *again_ms,
                           obv_err *err)
{
    obv_restore_progress p;
    const int64_t now = obv_ctx_now(x);
    *again_ms = POLL_MS;
    obv_ctx_pause(x, job->id, POLL_MS);
    OBV_TRY(target->ops->restore_progress(target, r->external_id, r->new_tenant, &p, err));
    if (is_ours(r, &p))
        return to_running(x, job, r, err);
    if (r->issued_at && now - r->issued_at < UNANSWERED_US)
        return OBV_OK;
    if (now - job->phase_at > ISSUE_MAX_US)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the target took no restore statement in %d min",
                        (int)(ISSUE_MAX_US / OBV_US_PER_S / 60));
    bool cancelled = false;
    OBV_TRY(mark_issued(x, job, r, now, &cancelled, err));
    if (cancelled) /* between two looks at the job: it has not left yet, and does not now */
        return OBV_OK;
    OBV_FAULT("coordinator.restore_issue");
    const obv_code code = issue(x, target, r, err);
    if (code == OBV_OK) {
        OBV_FAULT("coordinator.restore_issued");
        OBV_INFO("restore of %s as %s is issued", r->tenant, r->new_tenant);
        return to_running(x, job, r, err);
    }
    if (OBV_IS_RETRYABLE(code)) {
        OBV_WARN_OF(err, "the answer to the restore statement is lost: looking for its job");
        return OBV_OK;
    }
    /* an earlier statement of ours may have begun after its answer was given up: then this one is refused */
    obv_err unseen = {0};
    if (target->ops->restore_progress(target, r->external_id, r->new_tenant, &p, &unseen) == OBV_OK && is_ours(r, &p))
        return to_running(x, job, r, err);
    if (abs(err->sys) != -NOT_ALLOWED)
        return code;
    OBV_WARN_OF(err, "the target does not take the restore yet"); /* clocks of its servers differ a little */
    r->issued_at = 0;
    return obv_restore_save(x->s, r, err);
}

/* ---- RUNNING */

typedef struct seen {
    bool tenant;
} seen;

/*
 * OceanBase 3.1 has no statement that ends a restore; whoever wants one ended drops its tenant, and the job there may
 * stay for ever. A tenant that was there and is not is dropped, if a later look still finds the job at work: OceanBase
 * drops it itself after a failure.
 */
static obv_code is_dropped(obv_job_ctx *x, obv_cluster *target, const obv_job *job, const obv_restore *r, bool *out,
                           obv_err *err)
{
    obv_restore_progress p;
    bool exists = false;
    void *memory = NULL;
    *out = false;
    OBV_TRY(obv_ctx_memory(x, job, sizeof(seen), free, &memory, err));
    seen *s = memory;
    OBV_TRY(target->ops->tenant_exists(target, r->new_tenant, &exists, err));
    if (exists || !s->tenant) {
        s->tenant = exists;
        return OBV_OK;
    }
    OBV_TRY(target->ops->restore_progress(target, r->external_id, r->new_tenant, &p, err));
    *out =
        is_ours(r, &p) && !p.ended && strcmp(p.status, "RESTORE_SUCCESS") != 0 && strcmp(p.status, "RESTORE_FAIL") != 0;
    return OBV_OK;
}

static obv_code step_running(obv_job_ctx *x, obv_cluster *target, const obv_job *job, obv_restore *r,
                             uint32_t *again_ms, obv_err *err)
{
    obv_restore_progress p;
    const int64_t now = obv_ctx_now(x);
    *again_ms = POLL_MS;
    obv_ctx_pause(x, job->id, POLL_MS);
    OBV_TRY(target->ops->restore_progress(target, r->external_id, r->new_tenant, &p, err));
    if (!is_ours(r, &p)) {
        if (now - r->issued_at < UNSEEN_MAX_US)
            return OBV_OK;
        return obv_fail(err, OBV_E_INTERNAL, 0, "the target shows no restore job of tenant %s: its outcome is unknown",
                        r->new_tenant);
    }
    bool dropped = false;
    OBV_TRY(is_dropped(x, target, job, r, &dropped, err));
    if (dropped) {
        (void)obv_fail(err, OBV_E_CANCELLED, 0, "tenant %s was dropped on the target in state %s of its restore",
                       r->new_tenant, p.status);
        return obv_hint(err, "its resource pools are free again; the backup was only read");
    }
    const bool moved = strcmp(r->status, p.status) != 0 || r->pgs_done != p.pgs_done || r->blocks_done != p.blocks_done;
    const bool good = strcmp(p.status, "RESTORE_SUCCESS") == 0, bad = strcmp(p.status, "RESTORE_FAIL") == 0;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    if (moved || good || bad) {
        (void)snprintf(r->status, sizeof r->status, "%s", p.status);
        (void)snprintf(r->info, sizeof r->info, "%s", p.info);
        r->pgs = p.pgs;
        r->pgs_done = p.pgs_done;
        r->blocks = p.blocks;
        r->blocks_done = p.blocks_done;
        OBV_TRY(obv_restore_save(x->s, r, err));
        OBV_TRY(obv_job_move(x->s, job->id, "RUNNING", now, err)); /* its time counts from the last progress */
    } else if (now - job->phase_at > STALL_MAX_US) {
        return obv_fail(err, OBV_E_LIMIT, 0, "the target's restore did not move for 6 h in state %s", p.status);
    }
    if (good)
        OBV_TRY(obv_job_end(x->s, job->id, "RESTORE_SUCCESS", NULL, now, err));
    if (bad || (p.ended && !good)) {
        obv_err why = {0};
        (void)obv_restore_reason(p.status, p.info, &why);
        OBV_TRY(obv_job_end(x->s, job->id, "RESTORE_FAIL", &why, now, err));
    }
    return obv_state_commit(&tx, err);
}

obv_code obv_restore_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    obv_restore r;
    obv_cluster *target = NULL;
    *again_ms = 1000;
    OBV_TRY(obv_restore_get(x->s, job->id, &r, err));
    OBV_TRY(x->clusters.target(x->clusters.ctx, r.target, &target, err));
    if (strcmp(job->phase, "WAIT") == 0)
        return step_wait(x, target, job, &r, again_ms, err);
    if (strcmp(job->phase, "ISSUE") == 0)
        return step_issue(x, target, job, &r, again_ms, err);
    return step_running(x, target, job, &r, again_ms, err);
}
