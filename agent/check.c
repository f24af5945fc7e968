#include "check.h"

#include "base/clock.h"
#include "destination.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { DEADLINE_MAX_MS = 60000, IDLE_MS = 100 };

struct obv_checker {
    const obv_agent_config *cfg;
    obv_journal *journal;
    obv_cancel *stop;
    pthread_t thread;
    pthread_mutex_t mu; /* the fields below */
    uint64_t wanted;
    bool repository_only;
    int64_t until_ns;
    obv_check_report report; /* of report.id; a run that is stuck leaves it as it was */
    char stuck[40];          /* what the thread does, whoever asked for it */
};

/* Copies what was found so far. */
static void publish(obv_checker *c, const obv_check_run *r, uint64_t id, bool done)
{
    (void)pthread_mutex_lock(&c->mu);
    (void)snprintf(c->stuck, sizeof c->stuck, "%s", done ? "" : r->doing);
    if (c->wanted == id) {
        c->report.id = id;
        c->report.done = done;
        (void)snprintf(c->report.doing, sizeof c->report.doing, "%s", r->doing);
        c->report.free_known = r->free_known;
        c->report.free_bytes = r->free_bytes;
        (void)snprintf(c->report.uuid, sizeof c->report.uuid, "%s", r->uuid);
        for (size_t i = c->report.found.n; i < r->found.n && i < OBV_CHECK_FINDINGS_MAX; i++)
            obv_findings_add(&c->report.found, &r->found.v[i]);
    }
    (void)pthread_mutex_unlock(&c->mu);
}

struct asked {
    obv_checker *c;
    uint64_t id;
};

static void step(obv_check_run *r, const char *doing)
{
    const struct asked *a = r->ctx;
    (void)snprintf(r->doing, sizeof r->doing, "%s", doing);
    publish(a->c, r, a->id, false);
}

static void run(obv_checker *c, uint64_t id, bool repository_only, int64_t until_ns)
{
    struct asked a = {c, id};
    obv_check_run r = {.cfg = c->cfg, .step = step, .ctx = &a};
    obv_cancel *cancel = obv_cancel_new(c->stop);
    obv_err err = {0};
    if (!cancel)
        return;
    obv_cancel_set_deadline(cancel, until_ns);
    r.cancel = cancel;
    (void)snprintf(r.where, sizeof r.where, "%s:%u", c->cfg->observer.ip, c->cfg->observer.rpc_port);
    if (c->cfg->repository.uuid[0])
        (void)snprintf(r.pinned, sizeof r.pinned, "%s", c->cfg->repository.uuid);
    else if (obv_journal_get(c->journal, OBV_DESTINATION_PINNED, r.pinned, sizeof r.pinned, &err) != OBV_OK)
        obv_found_err(&r.found, &err, "agent.journal", r.where, "a copy that runs cannot be noted");
    if (!repository_only)
        obv_check_host(&r);
    obv_check_repository(&r);
    r.doing[0] = 0;
    publish(c, &r, id, true);
    obv_findings_fini(&r.found);
    obv_cancel_free(cancel);
}

static void *check_thread(void *arg)
{
    obv_checker *c = arg;
    obv_err over;
    uint64_t last = 0;
    do {
        (void)pthread_mutex_lock(&c->mu);
        const uint64_t id = c->wanted;
        const bool only = c->repository_only;
        const int64_t until = c->until_ns;
        (void)pthread_mutex_unlock(&c->mu);
        if (id != 0 && id != last) {
            last = id;
            run(c, id, only, until);
        }
    } while (obv_cancel_sleep(c->stop, IDLE_MS, &over) == OBV_OK);
    return NULL;
}

obv_code obv_checker_start(const obv_agent_config *cfg, obv_journal *journal, obv_checker **out, obv_err *err)
{
    obv_checker *c = calloc(1, sizeof *c);
    obv_cancel *stop = obv_cancel_new(NULL);
    if (!c || !stop) {
        free(c);
        obv_cancel_free(stop);
        return obv_fail(err, OBV_E_NOMEM, 0, "checks: out of memory");
    }
    *c = (obv_checker){.cfg = cfg, .journal = journal, .stop = stop};
    (void)pthread_mutex_init(&c->mu, NULL);
    const int rc = pthread_create(&c->thread, NULL, check_thread, c);
    if (rc != 0) {
        (void)pthread_mutex_destroy(&c->mu);
        obv_cancel_free(stop);
        free(c);
        return obv_fail(err, OBV_E_NOMEM, rc, "checks: no thread");
    }
    *out = c;
    return OBV_OK;
}

void obv_checker_end(obv_checker *c)
{
    if (!c)
        return;
    obv_cancel_request(c->stop);
    (void)pthread_join(c->thread, NULL);
    obv_cancel_free(c->stop);
    (void)pthread_mutex_destroy(&c->mu);
    obv_check_report_fini(&c->report);
    free(c);
}

void obv_checker_want(obv_checker *c, uint64_t id, bool repository_only, uint32_t deadline_ms)
{
    (void)pthread_mutex_lock(&c->mu);
    if (id != c->wanted) {
        const uint32_t ms = deadline_ms < DEADLINE_MAX_MS ? deadline_ms : DEADLINE_MAX_MS;
        c->wanted = id;
        c->repository_only = repository_only;
        c->until_ns = obv_mono_ns() + (int64_t)ms * OBV_NS_PER_MS;
        obv_check_report_fini(&c->report);
        c->report = (obv_check_report){.id = id};
        (void)snprintf(c->report.doing, sizeof c->report.doing, "%s", c->stuck);
    }
    (void)pthread_mutex_unlock(&c->mu);
}

void obv_checker_report(obv_checker *c, obv_check_report *out)
{
    (void)pthread_mutex_lock(&c->mu);
    *out = c->report;
    out->found = (obv_findings){0};
    for (size_t i = 0; i < c->report.found.n; i++)
        obv_findings_add(&out->found, &c->report.found.v[i]);
    (void)pthread_mutex_unlock(&c->mu);
}
