#define OBV_LOG_MOD "sync"
#include "sync.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "job/archive.h"
#include "job/runner.h"
#include "proto/message.h"
#include "wire.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    CALL_TIMEOUT_MS = 5000,
    INTERVAL_MIN_MS = 100,
    INTERVAL_MAX_MS = 5000,
    AWAY_FIRST_MS = 500, /* waits while the coordinator is away */
    LEASE_MAX_MS = 60000,
    WARN_EVERY_S = 30,
};

struct obv_sync {
    obv_sync_config c;
    char agent_id[64];
    uint64_t session, seq;
    obv_rpc_channel *channel;
    obv_cancel *stop;
    pthread_t thread;
    bool running;
    obv_runner *runner;   /* once the destination was opened */
    obv_archive *archive; /* once a page came */
    obv_checker *checker;
    int64_t lease_until_ns;
    bool lease_over; /* said so, tasks were let go */
    uint32_t failures;
};

static const ProtobufCServiceDescriptor *const SERVICE = &obvault__v1__agent_service__descriptor;

/* ---- parts that begin when they can */

static obv_code start_runner(struct obv_sync *s, obv_err *err)
{
    obv_store *store = obv_destination_store(s->c.destination);
    if (s->runner || !store)
        return OBV_OK;
    const obv_runner_config cfg = {.journal = s->c.journal,
                                   .pool = s->c.pool,
                                   .source = s->c.source,
                                   .store = store,
                                   .workers = s->c.cfg->workers,
                                   .batch_slots = s->c.cfg->batches,
                                   .gate = obv_destination_gate,
                                   .initialised = obv_destination_initialised,
                                   .ctx = s->c.destination};
    return obv_runner_start(&cfg, &s->runner, err);
}

static obv_code start_archive(struct obv_sync *s, obv_err *err)
{
    const struct obv_agent_observer *o = &s->c.cfg->observer;
    obv_repository r;
    OBV_TRY(obv_destination_identity(s->c.destination, &r, err));
    const obv_archive_config cfg = {.store = obv_destination_store(s->c.destination),
                                    .observer = s->c.source,
                                    .store_dir = o->store_dir,
                                    .ip = o->ip,
                                    .rpc_port = (uint16_t)o->rpc_port,
                                    .sql_port = (uint16_t)o->sql_port,
                                    .user = o->user,
                                    .password_file = o->password_file,
                                    .workers = s->c.cfg->workers,
                                    .fast_proof = strcmp(s->c.cfg->commit_proof, "fast") == 0};
    return obv_archive_start(&cfg, &s->archive, err);
}

/* ---- one turn */

static obv_code call(struct obv_sync *s, Obvault__V1__SyncResponse **out, obv_err *err)
{
    obv_repository identity;
    obv_err why = {0};
    const bool have = obv_destination_identity(s->c.destination, &identity, &why) == OBV_OK;
    const obv_wire_state state = {.cfg = s->c.cfg,
                                  .agent_id = s->agent_id,
                                  .session = s->session,
                                  .seq = ++s->seq,
                                  .repository = have ? &identity : NULL,
                                  .repository_error = &why,
                                  .runner = s->runner,
                                  .journal = s->c.journal,
                                  .archive = s->archive,
                                  .checker = s->checker};
    OBV_AUTO(obv_wire_request_drop) obv_wire_request *req = NULL;
    ProtobufCMessage *answer = NULL;
    OBV_TRY(obv_wire_request_new(&state, &req, err));
    const Obvault__V1__SyncRequest *m = obv_wire_request_message(req);
    if (m->n_pgs)
        OBV_FAULT("backup.before_report");
    OBV_TRY(obv_message_call(s->channel, SERVICE, "Sync", &m->base, CALL_TIMEOUT_MS, &answer, err));
    *out = (Obvault__V1__SyncResponse *)answer;
    return OBV_OK;
}

/* A batch or file that is not of our cluster never comes near the store. */
static obv_code check_ours(const struct obv_sync *s, const obv_task *t, obv_err *err)
{
    const struct obv_agent_cluster *c = &s->c.cfg->cluster;
    char prefix[OBV_PATH_MAX];
    if (t->kind == OBV_TASK_BATCH || t->kind == OBV_TASK_FINISH_METAS) {
        if (strcmp(t->set.cluster_name, c->name) != 0 || t->set.cluster_id != c->id)
            return obv_fail(err, OBV_E_INVAL, 0, "task of cluster %s (%" PRIu64 "), this agent's is %s (%" PRIu64 ")",
                            t->set.cluster_name, t->set.cluster_id, c->name, c->id);
    } else if (t->kind == OBV_TASK_INIT_REPOSITORY) {
        if (strcmp(t->cluster_name, c->name) != 0 || t->cluster_id != c->id)
            return obv_fail(err, OBV_E_INVAL, 0,
                            "repository of cluster %s (%" PRIu64 "), this agent's is %s (%" PRIu64 ")", t->cluster_name,
                            t->cluster_id, c->name, c->id);
    }
    OBV_TRY(obv_repository_prefix(c->name, c->id, prefix, sizeof prefix - 1, err));
    (void)strcat(prefix, "/");
    for (size_t i = 0; i < t->file_count; i++)
        if (strncmp(t->files[i].path, prefix, strlen(prefix)) != 0)
            return obv_fail(err, OBV_E_INVAL, 0, "%s lies outside of %s", t->files[i].path, prefix);
    return OBV_OK;
}

static void take_task(struct obv_sync *s, const Obvault__V1__Task *in)
{
    obv_err err = {0};
    OBV_AUTO(obv_task_freep) obv_task *t = NULL;
    obv_code code = obv_wire_task(in, &t, &err);
    if (code == OBV_OK)
        code = check_ours(s, t, &err);
    const bool valid = code == OBV_OK;
    if (valid)
        code = obv_runner_submit(s->runner, OBV_STEAL(t), &err);
    if (code == OBV_OK)
        return;
    OBV_WARN_OF(&err, "task %.127s is not taken", in->uid);
    if (!valid)
        obv_runner_refuse(s->runner, in->uid, in->epoch, &err);
}

static void take_page(struct obv_sync *s, const Obvault__V1__ArchivePage *page)
{
    obv_err err = {0};
    obv_code code = s->archive ? OBV_OK : start_archive(s, &err);
    if (code == OBV_OK)
        code = obv_wire_archive_page(page, s->archive, &err);
    if (code != OBV_OK)
        OBV_WARN_EVERY(WARN_EVERY_S, "archive: an assignment cannot be taken: %s", err.msg);
}

static void apply(struct obv_sync *s, const Obvault__V1__SyncResponse *a)
{
    obv_err err = {0};
    if (a->acked_report && obv_journal_ack(s->c.journal, a->acked_report, &err) != OBV_OK)
        OBV_WARN_OF(&err, "acknowledged reports cannot be noted");
    if (a->archive)
        take_page(s, a->archive);
    if (a->check)
        obv_checker_want(s->checker, a->check->id, a->check->repository_only, a->check->deadline_ms);
    else
        obv_checker_want(s->checker, 0, false, 0);
    if (!s->runner)
        return;
    for (size_t i = 0; i < a->n_forget_tasks; i++)
        obv_runner_forget(s->runner, a->forget_tasks[i]);
    for (size_t i = 0; i < a->n_cancel_tasks; i++)
        obv_runner_cancel(s->runner, a->cancel_tasks[i]);
    for (size_t i = 0; i < a->n_tasks; i++)
        take_task(s, a->tasks[i]);
    if (a->chunk)
        obv_runner_chunk(s->runner, a->chunk->task_uid, a->chunk->file_index, a->chunk->offset,
                         obv_span_of(a->chunk->data.data, a->chunk->data.len));
}

static void check_lease(struct obv_sync *s)
{
    if (s->lease_over || s->lease_until_ns == 0 || obv_mono_ns() < s->lease_until_ns)
        return;
    s->lease_over = true;
    OBV_WARN(
        "no answer from the coordinator for the whole lease: tasks stop at their next safe point, the archive goes on");
    if (s->runner)
        obv_runner_let_go(s->runner);
}

static uint32_t clamp(uint32_t v, uint32_t lo, uint32_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* @return milliseconds to the next turn */
static uint32_t turn(struct obv_sync *s)
{
    Obvault__V1__SyncResponse *answer = NULL;
    obv_err err = {0};
    if (start_runner(s, &err) != OBV_OK)
        OBV_WARN_EVERY(WARN_EVERY_S, "tasks cannot be run: %s", err.msg);
    const int64_t asked_at = obv_mono_ns();
    const obv_code code = call(s, &answer, &err);
    check_lease(s);
    if (code != OBV_OK) {
        s->failures++;
        OBV_WARN_EVERY(WARN_EVERY_S, "the coordinator %s does not answer: %s", s->c.cfg->coordinator, err.msg);
        return clamp((uint32_t)AWAY_FIRST_MS << (s->failures < 5 ? s->failures : 5), INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    }
    if (s->failures)
        OBV_INFO("the coordinator answers again");
    s->failures = 0;
    s->lease_over = false;
    s->lease_until_ns = asked_at + clamp(answer->lease_ms, 1000, LEASE_MAX_MS) * OBV_NS_PER_MS;
    apply(s, answer);
    const uint32_t next_ms = clamp(answer->next_sync_ms, INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    return next_ms;
}

static void *sync_thread(void *arg)
{
    struct obv_sync *s = arg;
    obv_err over;
    uint32_t wait_ms;
    do
        wait_ms = turn(s);
    while (obv_cancel_sleep(s->stop, wait_ms, &over) == OBV_OK);
    return NULL;
}

obv_code obv_sync_start(const obv_sync_config *c, obv_sync **out, obv_err *err)
{
    const obv_rpc_tls tls = {.ca = c->cfg->tls.ca, .cert = c->cfg->tls.cert, .key = c->cfg->tls.key};
    obv_sync *s = calloc(1, sizeof *s);
    if (!s)
        return obv_fail(err, OBV_E_NOMEM, 0, "sync: out of memory");
    s->c = *c;
    s->stop = obv_cancel_new(NULL);
    (void)snprintf(s->agent_id, sizeof s->agent_id, "%s:%u", c->cfg->observer.ip, c->cfg->observer.rpc_port);
    while (s->session == 0)
        if (getrandom(&s->session, sizeof s->session, 0) != (ssize_t)sizeof s->session)
            s->session = 0;
    obv_code code = s->stop ? obv_rpc_channel_open(c->cfg->coordinator, &tls, &s->channel, err)
                            : obv_fail(err, OBV_E_NOMEM, 0, "sync: out of memory");
    if (code == OBV_OK)
        code = obv_checker_start(c->cfg, c->journal, &s->checker, err);
    if (code == OBV_OK) {
        const int rc = pthread_create(&s->thread, NULL, sync_thread, s);
        s->running = rc == 0;
        if (rc != 0)
            code = obv_fail(err, OBV_E_NOMEM, rc, "sync: no thread");
    }
    if (code != OBV_OK) {
        obv_sync_end(s);
        return code;
    }
    *out = s;
    return OBV_OK;
}

void obv_sync_end(obv_sync *s)
{
    if (!s)
        return;
    obv_cancel_request(s->stop);
    if (s->running)
        (void)pthread_join(s->thread, NULL);
    obv_runner_end(s->runner);
    if (s->archive)
        obv_archive_end(s->archive);
    obv_checker_end(s->checker);
    obv_rpc_channel_drop(&s->channel);
    obv_cancel_free(s->stop);
    free(s);
}
