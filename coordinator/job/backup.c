#define OBV_LOG_MOD "backup"
#include "job/backup.h"

#include "base/fault.h"
#include "base/log.h"
#include "job/checks.h"
#include "job/names.h"
#include "job/pin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_ROWS 1024u
#define MERGE_WAIT_US (30 * 60 * OBV_US_PER_S)
#define SOURCE_NS (10 * OBV_NS_PER_S)

/* A hole in one tenant's log ends that tenant's archive: the others go on, and can be backed up. */
static bool goes_on(const obv_round *r) { return r->status == OBV_ROUND_DOING || r->status == OBV_ROUND_INTERRUPTED; }

static obv_code archiving(obv_job_ctx *x, obv_round *out, obv_err *err)
{
    const obv_code code = obv_round_last(x->s, out, err);
    if (code == OBV_E_NOT_FOUND || (code == OBV_OK && !goes_on(out))) {
        (void)obv_fail(err, OBV_E_PRECONDITION, 0, "log archiving is %s, not DOING",
                       code == OBV_OK ? obv_round_status_name(out->status) : "off");
        return obv_hint(err, "a set can be restored only with the log behind it: `obvault archive start --wait` first");
    }
    return code;
}

obv_code obv_backup_begin(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err)
{
    obv_round r;
    obv_identity id;
    OBV_AUTO(obv_tenants_fini) obv_tenants t = {0};
    bool found = false;
    const obv_code known = obv_job_by_key(x->s, run_key, OBV_JOB_BACKUP, out, err);
    if (known != OBV_E_NOT_FOUND)
        return known;
    OBV_TRY(obv_check_alone(x, OBV_JOB_BACKUP, run_key, err));
    OBV_TRY(obv_check_source(x, c, &id, err));
    OBV_TRY(archiving(x, &r, err));
    OBV_TRY(obv_check_tenants(c, &t, err));
    OBV_TRY(obv_check_agents(x, true, err));
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_check_alone(x, OBV_JOB_BACKUP, run_key, err)); /* another operator may have been quicker */
    OBV_TRY(obv_job_create(x->s, OBV_JOB_BACKUP, run_key, "PREPARE", 0, obv_ctx_now(x), out, &found, err));
    return obv_state_commit(&tx, err);
}

/* ---- PREPARE: fix what the set is of */

static void fill_tenant(const obv_tenant *from, obv_set_tenant *t)
{
    t->tenant_id = from->id;
    t->compat_mode = from->compat_mode;
    (void)snprintf(t->name, sizeof t->name, "%s", from->name);
    (void)snprintf(t->locality, sizeof t->locality, "%s", from->locality);
    (void)snprintf(t->primary_zone, sizeof t->primary_zone, "%s",
                   from->primary_zone[0] ? from->primary_zone : "RANDOM");
    if (t->locality[0])
        return;
    /* an empty locality means one full replica in each zone; the file does not take an empty one */
    char zones[1025];
    (void)snprintf(zones, sizeof zones, "%s", from->zone_list);
    char *save = NULL;
    size_t at = 0;
    for (char *z = strtok_r(zones, ";,", &save); z && at < sizeof t->locality; z = strtok_r(NULL, ";,", &save)) {
        const int n = snprintf(t->locality + at, sizeof t->locality - at, "%sFULL{1}@%s", at ? ", " : "", z);
        at += n > 0 ? (size_t)n : 0;
    }
}

typedef struct prepared {
    obv_set set;
    obv_set_tenant *t;
    size_t n;
} prepared;

static obv_code prepare_tenant(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_round *r,
                               const obv_tenant *tenant, prepared *p, obv_err *err)
{
    obv_round_tenant rt;
    int64_t base = 0;
    obv_set_tenant *t = &p->t[p->n];
    OBV_TRY(c->ops->base_version(c, tenant->id, &base, err));
    if (base > p->set.data_version && !OBV_BUG_STRIKES("bug.a7_base_version"))
        return obv_event_add(x->s, job->id, obv_ctx_now(x), err,
                             "tenant %s is left out: it was restored at version %lld and has no major merge behind it",
                             tenant->name, (long long)base);
    const obv_code code = obv_round_tenant_get(x->s, r->round, tenant->id, &rt, NULL);
    if (code == OBV_OK && rt.status == OBV_ROUND_INTERRUPTED)
        return obv_event_add(x->s, job->id, obv_ctx_now(x), err,
                             "tenant %s is left out: its log archiving is INTERRUPTED, a new round must come first",
                             tenant->name);
    if (code != OBV_OK || rt.status != OBV_ROUND_DOING || rt.checkpoint_ts <= 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "log archiving of tenant %s is not DOING yet", tenant->name);
    memset(t, 0, sizeof *t);
    fill_tenant(tenant, t);
    OBV_TRY(c->ops->frozen_schema(c, p->set.data_version, tenant->id, &t->frozen_schema, err));
    OBV_TRY(c->ops->schema_version(c, tenant->id, &t->schema_version, err));
    p->n++;
    return OBV_OK;
}

/* A set without a tenant is as good as one with it only if somebody knows. */
static obv_code tell_left_out(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_err *err)
{
    OBV_AUTO(obv_tenants_fini) obv_tenants all = {0};
    OBV_TRY(c->ops->tenants(c, &all, err));
    for (size_t i = 0; i < all.n; i++)
        if (!all.v[i].normal)
            OBV_TRY(obv_event_add(x->s, job->id, obv_ctx_now(x), err,
                                  "tenant %s is left out: it is being created, restored or dropped, or in the recycle"
                                  " bin",
                                  all.v[i].name));
    return OBV_OK;
}

static obv_code prepare(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_err *err)
{
    obv_identity id;
    obv_merge merge;
    obv_round r;
    OBV_AUTO(obv_tenants_fini) obv_tenants tenants = {0};
    const int64_t now = obv_ctx_now(x);
    OBV_TRY(obv_check_source(x, c, &id, err));
    OBV_TRY(archiving(x, &r, err));
    if (OBV_BUG_STRIKES("bug.d20_alters_source"))
        OBV_TRY(c->ops->execute(c, (const char *const[]){"ALTER SYSTEM MINOR FREEZE"}, 1, err));
    OBV_TRY(c->ops->merge(c, &merge, err));
    if (merge.merging) {
        if (now - job->phase_at > MERGE_WAIT_US)
            return obv_fail(err, OBV_E_PRECONDITION, 0, "a major merge did not end in 30 minutes");
        return OBV_OK;
    }
    OBV_TRY(obv_check_tenants(c, &tenants, err));
    OBV_TRY(tell_left_out(x, c, job, err));
    prepared p = {.set = {.status = OBV_SET_RUNNING,
                          .data_version = merge.data_version,
                          .snapshot = now,
                          .frozen_snapshot = merge.frozen_snapshot,
                          .cluster_version = id.version,
                          .round = r.round,
                          .started_at = now,
                          .date = obv_date_of_us(now)}};
    OBV_AUTO(obv_freep) obv_set_tenant *t = calloc(tenants.n, sizeof *t);
    if (!t)
        return obv_fail(err, OBV_E_NOMEM, 0, "backup");
    p.t = t;
    /* first of all: setting a variable is a change of the tenant's schema */
    OBV_TRY(obv_pins_take(x, c, job, &tenants, err));
    for (size_t i = 0; i < tenants.n; i++)
        OBV_TRY(prepare_tenant(x, c, job, &r, &tenants.v[i], &p, err));
    if (p.n == 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "no tenant can be backed up: see the events of the job");
    OBV_TRY(obv_names_refresh(x, c, &p.set.sys_schema_version, err));

    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_state_next(x->s, "set", &p.set.id, err));
    p.set.full_set_id = p.set.id;
    (void)snprintf(p.set.job_id, sizeof p.set.job_id, "%s", job->id);
    OBV_TRY(obv_set_add(x->s, &p.set, err));
    for (size_t i = 0; i < p.n; i++) {
        p.t[i].set_id = p.set.id;
        OBV_TRY(obv_set_tenant_save(x->s, &p.t[i], err));
    }
    OBV_TRY(obv_job_set_ref(x->s, job->id, p.set.id, err));
    OBV_TRY(obv_job_move(x->s, job->id, "SCHEDULE", now, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_prepared");
    OBV_INFO("set %lld: %zu tenants, data version %lld", (long long)p.set.id, p.n, (long long)p.set.data_version);
    return OBV_OK;
}

/* ---- SCHEDULE, GENERATE */

static obv_code build_schedule(obv_job_ctx *x, void *ctx, obv_files *out, obv_err *err)
{
    return obv_backup_files_schedule(x, ctx, out, err);
}

static obv_code schedule(obv_job_ctx *x, const obv_job *job, obv_set *set, obv_err *err)
{
    bool done = false;
    OBV_TRY(obv_files_step(x, job->id, "schedule", build_schedule, set, &done, err));
    if (!done)
        return OBV_OK;
    OBV_TRY(obv_job_move(x->s, job->id, "GENERATE", obv_ctx_now(x), err));
    OBV_FAULT("coordinator.backup_scheduled");
    return OBV_OK;
}

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

static obv_code generate_tenant(obv_job_ctx *x, obv_cluster *c, const obv_job *job, const obv_set *set,
                                obv_set_tenant *t, obv_err *err)
{
    OBV_AUTO(obv_schema_list_fini) obv_schema_list list = {0};
    OBV_AUTO(obv_files_fini) obv_files files = {0};
    const obv_pgs *pgs = &list.pgs;
    bool calm = false;
    char name[48];
    OBV_TRY(obv_schema_list_read(c, t->tenant_id, &list, &calm, err));
    if (!calm) { /* DDL under the list: again, calmly, and not for ever */
        if (obv_ctx_now(x) - job->phase_at > (int64_t)x->cfg->step_s * OBV_US_PER_S)
            return obv_fail(err, OBV_E_CONFLICT, 0, "DDL of tenant %s did not pause in %u s for its list of PGs",
                            t->name, x->cfg->step_s);
        obv_ctx_pause(x, job->id, 1000);
        return OBV_OK;
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    for (size_t i = 0; i < pgs->n; i += LIST_ROWS)
        OBV_TRY(obv_pg_copy_add(x->s, set->id, t->tenant_id, pgs->v + i,
                                pgs->n - i < LIST_ROWS ? pgs->n - i : LIST_ROWS, err));
    OBV_TRY(obv_backup_files_lists(x, set, t->tenant_id, pgs, &files, err));
    (void)snprintf(name, sizeof name, "lists-%llu", (unsigned long long)t->tenant_id);
    OBV_TRY(obv_files_queue(x, job->id, name, &files, err));
    t->phase = OBV_SET_TENANT_DOING;
    OBV_TRY(obv_backup_keep_list(x, t, &list, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_generated");
    OBV_INFO("set %lld: tenant %s has %zu PGs at schema version %lld", (long long)set->id, t->name, pgs->n,
             (long long)list.version);
    return OBV_OK;
}

obv_code obv_backup_generate(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set *set, obv_err *err)
{
    OBV_AUTO(tenant_list_fini) tenant_list t = {0};
    OBV_TRY(obv_set_tenant_each(x->s, set->id, take_tenant, &t, err));
    bool all = true;
    for (size_t i = 0; i < t.n; i++) {
        char name[48];
        bool queued = false, done = false;
        if (t.v[i].phase == OBV_SET_TENANT_GENERATE)
            OBV_TRY(generate_tenant(x, c, job, set, &t.v[i], err));
        (void)snprintf(name, sizeof name, "lists-%llu", (unsigned long long)t.v[i].tenant_id);
        OBV_TRY(obv_files_look(x, job->id, name, &queued, &done, err));
        all = all && done;
    }
    if (!all)
        return OBV_OK;
    return obv_job_move(x->s, job->id, "DOING", obv_ctx_now(x), err);
}

/* ---- the machine */

/* An upgrade, or another cluster behind the same addresses, that comes under the copies: looked for now and then, and
 * in each phase. */
static obv_code same_source(obv_job_ctx *x, const obv_job *job, const obv_set *set, obv_backup_memory *m, obv_err *err)
{
    obv_identity id;
    obv_cluster *c = NULL;
    const int64_t now = obv_clock_ns(&x->clock);
    if (strcmp(m->source_phase, job->phase) == 0 && now - m->source_ns < SOURCE_NS)
        return OBV_OK;
    OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
    obv_code code = obv_check_source(x, c, &id, err);
    if (code == OBV_OK && id.version != set->cluster_version)
        code = obv_fail(err, OBV_E_PRECONDITION, 0, "the cluster's version is another one now");
    if (code != OBV_OK && !OBV_IS_RETRYABLE(code)) {
        (void)obv_hint(err, "nothing can be restored from this set, earlier ones are as they were: start again when the"
                            " cluster is back in the state of the set's start");
        return obv_wrap(err, "during the backup");
    }
    OBV_TRY(code);
    m->source_ns = now;
    (void)snprintf(m->source_phase, sizeof m->source_phase, "%s", job->phase);
    return OBV_OK;
}

static obv_code one_step(obv_job_ctx *x, const obv_job *job, obv_backup_memory *m, obv_err *err)
{
    obv_set set;
    obv_cluster *c = NULL;
    bool finished = false;
    if (strcmp(job->phase, "PREPARE") == 0) {
        OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
        return prepare(x, c, job, err);
    }
    OBV_TRY(obv_set_get(x->s, job->ref, &set, err));
    if (strcmp(job->phase, "CLEANUP") == 0)
        return obv_backup_cleanup(x, job, &set, m, err);
    OBV_TRY(obv_check_destination(x, &m->no_destination_ns, err));
    OBV_TRY(same_source(x, job, &set, m, err));
    if ((strcmp(job->phase, "SCHEDULE") == 0 || strcmp(job->phase, "GENERATE") == 0) && obv_backup_overdue(x, job))
        return obv_fail(err, OBV_E_LIMIT, 0, "no agent stored the files of %s in %u s", job->phase,
                        x->cfg->step_s * OBV_BACKUP_STALL_STEPS);
    if (strcmp(job->phase, "SCHEDULE") == 0)
        return schedule(x, job, &set, err);
    if (strcmp(job->phase, "METAS") == 0)
        return obv_backup_metas(x, job, &set, err);
    obv_round r;
    OBV_TRY(obv_round_get(x->s, set.round, &r, err));
    if (!goes_on(&r) || r.stop)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "log archiving left DOING during the backup (round %lld is %s)",
                        (long long)r.round, obv_round_status_name(r.status));
    OBV_TRY(x->clusters.source(x->clusters.ctx, &c, err));
    if (strcmp(job->phase, "GENERATE") == 0)
        return obv_backup_generate(x, c, job, &set, err);
    if (strcmp(job->phase, "CLOSING") == 0) {
        m->moved_ns = 0; /* what waits here is not the copy */
        return obv_backup_closing(x, c, job, &set, err);
    }
    OBV_TRY(obv_backup_copy(x, c, job, &set, m, &finished, err));
    return finished ? obv_backup_close(x, c, job, &set, err) : OBV_OK;
}

static void free_memory(void *memory)
{
    obv_backup_memory *m = memory;
    for (size_t i = 0; i < m->count; i++)
        obv_replicas_fini(&m->tenants[i].replicas);
    free(m);
}

obv_code obv_backup_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    void *memory = NULL;
    OBV_TRY(obv_ctx_memory(x, job, sizeof(obv_backup_memory), free_memory, &memory, err));
    *again_ms = 500;
    const obv_code code = one_step(x, job, memory, err);
    if (code == OBV_OK || OBV_IS_RETRYABLE(code) || strcmp(job->phase, "CLEANUP") == 0)
        return code;
    if (strcmp(job->phase, "PREPARE") == 0) /* nothing is written yet: there is no set */
        return code;
    return obv_backup_fail(x, job, err, err);
}
