#define OBV_LOG_MOD "job"
#include "job/cancel.h"

#include "base/log.h"
#include "state/rounds.h"

#include <stdio.h>
#include <string.h>

static obv_code find(obv_job_ctx *x, const char *id, obv_job *out, obv_err *err)
{
    size_t n = 0;
    if (id[0])
        return obv_job_get(x->s, id, out, err);
    OBV_TRY(obv_job_running(x->s, OBV_JOB_BACKUP, out, 1, &n, err));
    return n ? OBV_OK : obv_fail(err, OBV_E_NOT_FOUND, 0, "no backup is running");
}

/* A restore that the target may have been given is the target's. */
static bool is_unissued(obv_job_ctx *x, const obv_job *j, char tenant[129])
{
    obv_restore r;
    tenant[0] = 0;
    if (j->kind != OBV_JOB_RESTORE || obv_restore_get(x->s, j->id, &r, NULL) != OBV_OK)
        return false;
    (void)snprintf(tenant, 129, "%s", r.new_tenant);
    return r.issued_at == 0 && strcmp(j->phase, "RUNNING") != 0;
}

/* Which jobs can be given up without leaving something half-made elsewhere. */
static obv_code check(obv_job_ctx *x, const obv_job *j, obv_err *err)
{
    char tenant[129];
    if (j->status != OBV_JOB_RUNNING)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "job %s has ended already: %s", j->id,
                        obv_job_status_name(j->status));
    if (j->kind == OBV_JOB_BACKUP || j->kind == OBV_JOB_CHECK || is_unissued(x, j, tenant))
        return OBV_OK;
    (void)obv_fail(err, OBV_E_PRECONDITION, 0, "job %s (%s, %s) cannot be cancelled", j->id, obv_job_kind_name(j->kind),
                   j->phase);
    if (j->kind == OBV_JOB_RESTORE)
        return obv_hint(err,
                        "the target has it now, and OceanBase 3.1 has no statement that ends a restore; to end it,"
                        " type there: DROP TENANT %s FORCE. The job then ends by itself",
                        tenant);
    return obv_hint(err, "%s",
                    j->kind == OBV_JOB_ARCHIVE ? "a round ends with `obvault archive stop`" : "it ends by itself");
}

obv_code obv_job_cancel(obv_job_ctx *x, const char *id, obv_job *out, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(find(x, id, out, err));
    OBV_TRY(check(x, out, err));
    if (!out->cancel) {
        OBV_TRY(obv_db_run(obv_state_db(x->s), err, "UPDATE jobs SET cancel = 1 WHERE id = ?", obv_db_s(out->id)));
        OBV_TRY(obv_event_add(x->s, out->id, obv_ctx_now(x), err, "an operator cancelled it in %s", out->phase));
        OBV_INFO("job %s is cancelled in %s", out->id, out->phase);
    }
    out->cancel = true;
    return obv_state_commit(&tx, err);
}

bool obv_job_is_cancelled(const obv_job *job) { return job->cancel && job->result.code == OBV_OK; }

void obv_job_cancelled(const obv_job *job, obv_err *out)
{
    (void)obv_fail(out, OBV_E_CANCELLED, 0, "cancelled by an operator in %s", job->phase);
    (void)obv_hint(out, job->kind == OBV_JOB_BACKUP
                            ? "nothing can be restored from this set; earlier sets and the log archive are untouched"
                            : "nothing was begun on the target");
}
