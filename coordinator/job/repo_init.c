#define OBV_LOG_MOD "repo"
#include "job/repo_init.h"

#include "base/fault.h"
#include "base/log.h"
#include "job/checks.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static obv_code make_uuid(char out[40], obv_err *err)
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return obv_fail(err, OBV_E_IO, 0, "getrandom");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        at += (size_t)snprintf(out + at, 40 - at, "%02x", b[i]);
    }
    return OBV_OK;
}

obv_code obv_repo_init_begin(obv_job_ctx *x, obv_cluster *c, const char *run_key, obv_job *out, obv_err *err)
{
    obv_repository r = {0};
    obv_identity id;
    bool found = false;
    const obv_code known = obv_job_by_key(x->s, run_key, OBV_JOB_REPO_INIT, out, err);
    if (known != OBV_E_NOT_FOUND)
        return known;
    const obv_code have = obv_state_repository(x->s, &r, err);
    if (have == OBV_OK)
        return obv_fail(err, r.ready ? OBV_E_EXISTS : OBV_E_BUSY, 0, "repository %s %s", r.uuid,
                        r.ready ? "is initialised already" : "is being initialised");
    if (have != OBV_E_NOT_INITIALISED)
        return have;
    OBV_TRY(obv_check_agents(x, false, err));
    OBV_TRY(obv_check_identity(x, c, &id, err));
    r = (obv_repository){.cluster_id = id.id, .created_at = obv_ctx_now(x)};
    (void)snprintf(r.cluster_name, sizeof r.cluster_name, "%s", id.name);
    (void)snprintf(r.profile, sizeof r.profile, "%s", x->cfg->profile);
    OBV_TRY(make_uuid(r.uuid, err));

    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_job_create(x->s, OBV_JOB_REPO_INIT, run_key, "DOING", 0, r.created_at, out, &found, err));
    OBV_TRY(obv_state_set_repository(x->s, &r, err));
    obv_task t = {.kind = OBV_TASK_INIT_REPOSITORY, .name = "init", .deadline_s = x->cfg->step_s};
    (void)snprintf(t.job_id, sizeof t.job_id, "%s", out->id);
    OBV_TRY(obv_task_add(x->s, &t, err));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.repo_init");
    obv_registry_set_cluster(x->reg, r.cluster_name, r.cluster_id);
    return OBV_OK;
}

obv_code obv_repo_init_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    obv_task t;
    obv_repository r;
    *again_ms = 1000;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_task_get(x->s, job->id, "init", &t, err));
    OBV_TRY(obv_state_repository(x->s, &r, err));
    const bool late = obv_ctx_now(x) - job->phase_at > (int64_t)x->cfg->step_s * OBV_US_PER_S;
    if (t.status == OBV_TASK_DONE) {
        r.ready = true;
        OBV_TRY(obv_state_set_repository(x->s, &r, err));
        OBV_TRY(obv_job_end(x->s, job->id, "DONE", NULL, obv_ctx_now(x), err));
        OBV_INFO("repository %s is initialised", r.uuid);
    } else if (t.status == OBV_TASK_FAILED && OBV_IS_RETRYABLE(t.error.code) && !late) {
        OBV_TRY(obv_task_again(x->s, &t, obv_ctx_now(x) + OBV_US_PER_S, err));
    } else if (t.status == OBV_TASK_FAILED || late) {
        obv_err why = t.error;
        if (t.status != OBV_TASK_FAILED)
            (void)obv_fail(&why, OBV_E_TIMEOUT, 0, "no agent made the repository in %u s", x->cfg->step_s);
        /* forgotten, so that the cause can be mended and the command given again */
        OBV_TRY(obv_db_exec(obv_state_db(x->s), "DELETE FROM repository", err));
        OBV_TRY(obv_task_remove(x->s, job->id, "init", err));
        OBV_TRY(obv_job_end(x->s, job->id, "FAILED", &why, obv_ctx_now(x), err));
    }
    return obv_state_commit(&tx, err);
}
