#include "base/clock.h"
#include "cli/cli.h"

#include <string.h>

#define START (OBV_CLI_HAS_RUN_KEY | OBV_CLI_HAS_WAIT)

static char *text_of(const char *s) { return (char *)(uintptr_t)(s ? s : ""); }

static obv_code simple(obv_cli *c, const char *method, const ProtobufCMessage *req, obv_cli_text_fn *text,
                       obv_cli_json_fn *json, obv_err *err)
{
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    OBV_TRY(obv_cli_call(c, method, req, &m, err));
    return obv_cli_print(c, m, text, json, err);
}

/* Starts a job, follows it if asked to, prints its last state; a failed job is the command's failure. */
static obv_code start(obv_cli *c, const char *method, const ProtobufCMessage *req, bool follow, obv_cli_enough *enough,
                      obv_err *err)
{
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    OBV_TRY(obv_cli_call(c, method, req, &m, err));
    if (!follow)
        return obv_cli_print(c, m, obv_text_job, obv_json_job, err);
    Obvault__V1__Job *last = NULL;
    OBV_TRY(obv_cli_follow(c, ((const Obvault__V1__Job *)m)->id, enough, false, &last, err));
    obv_message_drop(&m);
    m = &last->base;
    const obv_code result = obv_cli_job_result(last, err);
    if (result != OBV_OK && !c->json)
        return result;
    c->silent = result != OBV_OK; /* the job's document has the error */
    OBV_TRY(obv_cli_print(c, m, obv_text_job, obv_json_job, result == OBV_OK ? err : NULL));
    return result;
}

static Obvault__V1__StartRequest start_request(const obv_cli *c)
{
    Obvault__V1__StartRequest q = OBVAULT__V1__START_REQUEST__INIT;
    q.run_key = text_of(c->run_key);
    return q;
}

static obv_code repo_init(obv_cli *c, obv_err *err)
{
    const Obvault__V1__StartRequest q = start_request(c);
    return start(c, "RepoInit", &q.base, true, NULL, err); /* it takes a moment: always to the end */
}

static obv_code repo_show(obv_cli *c, obv_err *err)
{
    const Obvault__V1__Nothing q = OBVAULT__V1__NOTHING__INIT;
    return simple(c, "RepoShow", &q.base, obv_text_repository, obv_json_repository, err);
}

/* A round is begun when times in it can be restored. */
static bool archive_begun(const Obvault__V1__Job *j)
{
    return strcmp(j->phase, "INTERRUPTED") == 0 || (strcmp(j->phase, "DOING") == 0 && j->reached_to > 0);
}

static obv_code archive_start(obv_cli *c, obv_err *err)
{
    const Obvault__V1__StartRequest q = start_request(c);
    return start(c, "ArchiveStart", &q.base, c->wait, archive_begun, err);
}

static obv_code archive_stop(obv_cli *c, obv_err *err)
{
    const Obvault__V1__StartRequest q = start_request(c);
    return start(c, "ArchiveStop", &q.base, c->wait, NULL, err);
}

static obv_code archive_status(obv_cli *c, obv_err *err)
{
    const Obvault__V1__Nothing q = OBVAULT__V1__NOTHING__INIT;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    OBV_TRY(obv_cli_call(c, "ArchiveStatus", &q.base, &m, err));
    OBV_TRY(obv_cli_print(c, m, obv_text_archive, obv_json_archive, err));
    const obv_code code = obv_cli_archive_result(m, err);
    c->silent = c->json && code != OBV_OK; /* the document has it */
    return code;
}

static obv_code backup_start(obv_cli *c, obv_err *err)
{
    const Obvault__V1__StartRequest q = start_request(c);
    return start(c, "BackupStart", &q.base, c->wait, NULL, err);
}

/* Asks for the end and waits for it, which takes seconds. Good when the job ended because of that. */
static obv_code cancel(obv_cli *c, const char *method, const ProtobufCMessage *req, obv_err *err)
{
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    Obvault__V1__Job *last = NULL;
    OBV_TRY(obv_cli_call(c, method, req, &m, err));
    OBV_TRY(obv_cli_follow(c, ((const Obvault__V1__Job *)m)->id, NULL, false, &last, err));
    obv_message_drop(&m);
    m = &last->base;
    if (!last->error || last->error->code != OBV_E_CANCELLED)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "job %s ended before it could be cancelled: %s", last->id,
                        last->status);
    return obv_cli_print(c, m, obv_text_job, obv_json_job, err);
}

static obv_code backup_cancel(obv_cli *c, obv_err *err)
{
    const Obvault__V1__Nothing q = OBVAULT__V1__NOTHING__INIT;
    return cancel(c, "BackupCancel", &q.base, err);
}

static obv_code job_cancel(obv_cli *c, obv_err *err)
{
    Obvault__V1__JobRequest q = OBVAULT__V1__JOB_REQUEST__INIT;
    q.id = text_of(c->id);
    return cancel(c, "JobCancel", &q.base, err);
}

static obv_code backup_list(obv_cli *c, obv_err *err)
{
    const Obvault__V1__Nothing q = OBVAULT__V1__NOTHING__INIT;
    return simple(c, "BackupList", &q.base, obv_text_sets, obv_json_sets, err);
}

static obv_code backup_show(obv_cli *c, obv_err *err)
{
    Obvault__V1__BackupShowRequest q = OBVAULT__V1__BACKUP_SHOW_REQUEST__INIT;
    char *end = NULL;
    q.set_id = strtoll(c->id, &end, 10);
    if (*end || q.set_id <= 0)
        return obv_fail(err, OBV_E_INVAL, 0, "%.40s is no set number", c->id);
    return simple(c, "BackupShow", &q.base, obv_text_set, obv_json_set, err);
}

static obv_code window(obv_cli *c, obv_err *err)
{
    Obvault__V1__WindowRequest q = OBVAULT__V1__WINDOW_REQUEST__INIT;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    q.tenant = text_of(c->tenant);
    OBV_TRY(obv_cli_call(c, "Window", &q.base, &m, err));
    OBV_TRY(obv_cli_print(c, m, obv_text_window, obv_json_window, err));
    const obv_code code = obv_cli_window_result(m, err);
    c->silent = c->json && code != OBV_OK; /* the document has it */
    return code;
}

static obv_code restore_plan(obv_cli *c, obv_err *err)
{
    Obvault__V1__RestorePlanRequest q = OBVAULT__V1__RESTORE_PLAN_REQUEST__INIT;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *job = NULL;
    Obvault__V1__Job *last = NULL;
    obv_code code = OBV_OK;
    q.tenant = text_of(c->tenant);
    q.at = c->at_us;
    if (c->given & OBV_CLI_HAS_CHECK) {
        Obvault__V1__RestoreCheckRequest k = OBVAULT__V1__RESTORE_CHECK_REQUEST__INIT;
        k.run_key = text_of(NULL);
        k.tenant = q.tenant;
        k.at = q.at;
        k.deep = c->deep;
        OBV_TRY(obv_cli_call(c, "RestoreCheck", &k.base, &job, err));
        q.check_job = ((const Obvault__V1__Job *)job)->id;
        OBV_TRY(obv_cli_follow(c, q.check_job, NULL, false, &last, err));
        code = obv_cli_job_result(last, err);
        obvault__v1__job__free_unpacked(last, NULL);
    }
    obv_err plan_err = {0};
    const obv_code planned = simple(c, "RestorePlan", &q.base, obv_text_plan, obv_json_plan, &plan_err);
    if (planned != OBV_OK) {
        *err = plan_err;
        return planned;
    }
    c->silent = c->json && code != OBV_OK; /* the document has it */
    return code;
}

static obv_code restore_start(obv_cli *c, obv_err *err)
{
    Obvault__V1__RestoreStartRequest q = OBVAULT__V1__RESTORE_START_REQUEST__INIT;
    q.run_key = text_of(c->run_key);
    q.target = text_of(c->target);
    q.tenant = text_of(c->tenant);
    q.new_tenant = text_of(c->to);
    q.at = c->at_us;
    q.pools = text_of(c->pools);
    q.locality = text_of(c->locality);
    q.primary_zone = text_of(c->primary_zone);
    return start(c, "RestoreStart", &q.base, c->wait, NULL, err);
}

static obv_code with_job(obv_cli *c, const char *method, obv_cli_text_fn *text, obv_cli_json_fn *json, obv_err *err)
{
    Obvault__V1__JobRequest q = OBVAULT__V1__JOB_REQUEST__INIT;
    q.id = text_of(c->id);
    return simple(c, method, &q.base, text, json, err);
}

static obv_code restore_status(obv_cli *c, obv_err *err)
{
    return with_job(c, "RestoreStatus", obv_text_restore, obv_json_restore, err);
}

static obv_code job_list(obv_cli *c, obv_err *err)
{
    Obvault__V1__JobListRequest q = OBVAULT__V1__JOB_LIST_REQUEST__INIT;
    q.running_only = c->running_only;
    q.limit = c->limit;
    return simple(c, "JobList", &q.base, obv_text_jobs, obv_json_jobs, err);
}

static obv_code job_show(obv_cli *c, obv_err *err)
{
    return with_job(c, "JobShow", obv_text_job_detail, obv_json_job_detail, err);
}

static obv_code job_watch(obv_cli *c, obv_err *err)
{
    Obvault__V1__Job *last = NULL;
    OBV_TRY(obv_cli_follow(c, c->id, NULL, true, &last, err));
    const obv_code code = obv_cli_job_result(last, err);
    obvault__v1__job__free_unpacked(last, NULL);
    return code;
}

static obv_code agent_list(obv_cli *c, obv_err *err)
{
    const Obvault__V1__Nothing q = OBVAULT__V1__NOTHING__INIT;
    return simple(c, "AgentList", &q.base, obv_text_agents, obv_json_agents, err);
}

static obv_code ask_doctor(obv_cli *c, bool repository_only, obv_err *err)
{
    Obvault__V1__DoctorRequest q = OBVAULT__V1__DOCTOR_REQUEST__INIT;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    const uint32_t left = obv_cli_left_ms(c, UINT32_MAX);
    q.repository_only = repository_only;
    /* agents answer before the command's own time is over */
    q.deadline_ms = left == UINT32_MAX ? 0 : left > 4000 ? left - 2000 : left / 2;
    OBV_TRY(obv_cli_call(c, "Doctor", &q.base, &m, err));
    OBV_TRY(obv_cli_print(c, m, obv_text_doctor, obv_json_doctor, err));
    c->silent = true; /* the findings have said it */
    return obv_cli_doctor_result(m);
}

static obv_code doctor(obv_cli *c, obv_err *err) { return ask_doctor(c, false, err); }
static obv_code repo_check(obv_cli *c, obv_err *err) { return ask_doctor(c, true, err); }

static void text_version(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__VersionResponse *r = (const Obvault__V1__VersionResponse *)m;
    (void)fprintf(out, "obvault %s\ncoordinator %s\n", OBV_VERSION, r ? r->version : "not asked");
}

static void json_version(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__VersionResponse *r = (const Obvault__V1__VersionResponse *)m;
    obv_json_str(w, "obvault", OBV_VERSION);
    obv_json_str(w, "coordinator", r ? r->version : NULL);
}

static obv_code version(obv_cli *c, obv_err *err)
{
    const Obvault__V1__VersionRequest q = OBVAULT__V1__VERSION_REQUEST__INIT;
    OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
    if (c->coordinator)
        OBV_TRY(obv_cli_call(c, "Version", &q.base, &m, err));
    return obv_cli_print(c, m, text_version, json_version, err);
}

/* clang-format off */
static const obv_cli_command COMMANDS[] = {
    {"repo", "init", OBV_CLI_HAS_RUN_KEY, 0, repo_init, "make the repository at the destination, once"},
    {"repo", "show", 0, 0, repo_show, "show the repository"},
    {"repo", "check", 0, 0, repo_check, "look at the repository from all hosts: identity, mount, space"},
    {"archive", "start", START, 0, archive_start, "begin a round of log archiving"},
    {"archive", "stop", START, 0, archive_stop, "end the running round"},
    {"archive", "status", 0, 0, archive_status, "show the round, its checkpoints and what holds them back"},
    {"backup", "start", START, 0, backup_start, "back up all tenants"},
    {"backup", "cancel", 0, 0, backup_cancel, "end the backup that runs; its set is failed"},
    {"backup", "list", 0, 0, backup_list, "list the backup sets"},
    {"backup", "show", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, backup_show, "show one set and what it can restore"},
    {"window", NULL, OBV_CLI_HAS_TENANT, 0, window, "show the times that can be restored, and the holes between them"},
    {"restore", "plan", OBV_CLI_HAS_TENANT | OBV_CLI_HAS_AT | OBV_CLI_HAS_CHECK, OBV_CLI_HAS_TENANT | OBV_CLI_HAS_AT, restore_plan,
     "show what a restore would read, its steps and how long it may take; starts nothing"},
    {"restore", "start", START | OBV_CLI_HAS_TENANT | OBV_CLI_HAS_TO | OBV_CLI_HAS_AT | OBV_CLI_HAS_TARGET | OBV_CLI_HAS_POOL |
     OBV_CLI_HAS_LOCALITY | OBV_CLI_HAS_PRIMARY_ZONE, OBV_CLI_HAS_TENANT | OBV_CLI_HAS_TO | OBV_CLI_HAS_AT | OBV_CLI_HAS_POOL,
     restore_start, "restore a tenant as a new one"},
    {"restore", "status", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, restore_status, "show a restore"},
    {"restore", "cancel", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, job_cancel, "end a restore that the target has not been given yet"},
    {"job", "list", OBV_CLI_HAS_RUNNING | OBV_CLI_HAS_LIMIT, 0, job_list, "list jobs, newest first"},
    {"job", "show", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, job_show, "show a job with its events"},
    {"job", "watch", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, job_watch, "follow a job to its end"},
    {"job", "cancel", OBV_CLI_HAS_ID, OBV_CLI_HAS_ID, job_cancel, "end a backup, or a restore that has not begun"},
    {"events", NULL, OBV_CLI_HAS_SINCE | OBV_CLI_HAS_LIMIT | OBV_CLI_HAS_FOLLOW, 0, obv_cli_events,
     "show what happened: rounds, pieces, take-overs, gaps, pins, sets, restores"},
    {"agent", "list", 0, 0, agent_list, "list the agents"},
    {"doctor", NULL, 0, 0, doctor, "look at everything that backups and restores need, and say what to do"},
    {"config", "show", 0, 0, obv_cli_config_show, "where the coordinator is, and what says so"},
    {"version", NULL, 0, 0, version, "show versions"},
};
/* clang-format on */

const obv_cli_command *obv_cli_command_at(size_t i)
{
    return i < sizeof COMMANDS / sizeof *COMMANDS ? &COMMANDS[i] : NULL;
}

static const char *option_of(uint32_t bit)
{
    static const char *const NAMES[] = {"--wait",   "--run-key", "--tenant",   "--to",           "--at",
                                        "--target", "--pool",    "--locality", "--primary-zone", "--running",
                                        "--limit",  "an id",     "--since",    "--follow",       "--check"};
    size_t i = 0;
    while (i + 1 < sizeof NAMES / sizeof *NAMES && !(bit & 1u << i))
        i++;
    return NAMES[i];
}

obv_code obv_cli_find(const obv_cli *c, const obv_cli_command **out, obv_err *err)
{
    if (!c->noun)
        return obv_fail(err, OBV_E_INVAL, 0, "no command: see obvault --help");
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        const obv_cli_command *k = &COMMANDS[i];
        if (strcmp(k->noun, c->noun) != 0)
            continue;
        if (k->verb ? !c->verb || strcmp(k->verb, c->verb) != 0 : c->verb != NULL)
            continue;
        if (c->given & ~k->takes)
            return obv_fail(err, OBV_E_INVAL, 0, "%s %s does not take %s", k->noun, k->verb ? k->verb : "",
                            option_of(c->given & ~k->takes));
        if (k->needs & ~c->given)
            return obv_fail(err, OBV_E_INVAL, 0, "%s %s needs %s", k->noun, k->verb ? k->verb : "",
                            option_of(k->needs & ~c->given));
        *out = k;
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_INVAL, 0, "no command %s %s: see obvault --help", c->noun, c->verb ? c->verb : "");
}
