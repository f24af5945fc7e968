#define OBV_LOG_MOD "destination"
#include "destination.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

enum { LOOK_MS = 3000, SWEEP_EVERY = 1200, SWEEP_AGE_S = 7 * 86400 };

struct obv_destination {
    const obv_agent_config *cfg;
    obv_journal *journal;
    obv_cancel *stop;
    pthread_t thread;
    pthread_mutex_t mu; /* the fields below */
    obv_store *store;
    obv_repository identity;
    obv_err error; /* code OBV_OK: identity holds */
};

static obv_code pinned_uuid(const obv_destination *d, char out[37], obv_err *err)
{
    if (d->cfg->repository.uuid[0]) {
        (void)snprintf(out, 37, "%s", d->cfg->repository.uuid);
        return OBV_OK;
    }
    return obv_journal_get(d->journal, OBV_DESTINATION_PINNED, out, 37, err);
}

static obv_code verify(const obv_destination *d, obv_store *s, const obv_cancel *c, obv_repository *out, obv_err *err)
{
    char uuid[37];
    OBV_TRY(pinned_uuid(d, uuid, err));
    OBV_TRY(obv_repository_verify(s, d->cfg->cluster.name, d->cfg->cluster.id, uuid, c, out, err));
    return uuid[0] ? OBV_OK : obv_journal_set(d->journal, OBV_DESTINATION_PINNED, out->uuid, err);
}

/* The storage went away and came back: what is there now takes over if it is the same repository. */
static obv_code open_anew(const obv_destination *d, obv_store *s, obv_repository *out, obv_err *err)
{
    const obv_store_config sc = obv_agent_store_config(d->cfg);
    obv_store *fresh = NULL;
    OBV_TRY(obv_store_open(&sc, &fresh, err));
    const obv_code code = verify(d, fresh, d->stop, out, err);
    if (code != OBV_OK) {
        obv_store_close(fresh);
        return code;
    }
    obv_store_replace(s, fresh);
    OBV_INFO("repository %s: its storage was opened anew", out->uuid);
    return OBV_OK;
}

static obv_code look(obv_destination *d, obv_store *s, obv_repository *out, obv_err *err)
{
    const obv_store_config sc = obv_agent_store_config(d->cfg);
    if (!s) {
        OBV_TRY(obv_store_open(&sc, &s, err));
        (void)pthread_mutex_lock(&d->mu);
        d->store = s;
        (void)pthread_mutex_unlock(&d->mu);
    }
    const obv_code code = verify(d, s, d->stop, out, err);
    return code == OBV_E_STALE ? open_anew(d, s, out, err) : code;
}

static void note(obv_destination *d, obv_code code, const obv_repository *r, const obv_err *e)
{
    (void)pthread_mutex_lock(&d->mu);
    const obv_code before = d->error.code;
    if (code == OBV_OK)
        d->identity = *r;
    d->error = code == OBV_OK ? (obv_err){0} : *e;
    (void)pthread_mutex_unlock(&d->mu);
    if (code == before)
        return;
    if (code == OBV_OK)
        OBV_INFO("repository %s, profile %s", r->uuid, r->profile);
    else if (code != OBV_E_CANCELLED)
        OBV_WARN_OF(e, "the destination cannot be used");
}

/* What killed processes left. */
static void sweep(const obv_destination *d, obv_store *s)
{
    uint64_t swept = 0;
    obv_err err = {0};
    if (obv_store_sweep(s, SWEEP_AGE_S, &swept, d->stop, &err) != OBV_OK)
        OBV_WARN_OF(&err, "temporaries cannot be swept");
    else if (swept)
        OBV_INFO("%llu unfinished uploads were removed", (unsigned long long)swept);
}

static void *watch(void *arg)
{
    obv_destination *d = arg;
    obv_err over;
    for (unsigned turn = 0; turn == 0 || obv_cancel_sleep(d->stop, LOOK_MS, &over) == OBV_OK; turn++) {
        obv_repository r = {0};
        obv_err err = {0};
        const obv_code code = look(d, obv_destination_store(d), &r, &err);
        note(d, code, &r, &err);
        if (code == OBV_OK && turn % SWEEP_EVERY == 0)
            sweep(d, obv_destination_store(d));
    }
    return NULL;
}

obv_code obv_destination_start(const obv_agent_config *cfg, obv_journal *journal, obv_destination **out, obv_err *err)
{
    obv_destination *d = calloc(1, sizeof *d);
    obv_cancel *stop = obv_cancel_new(NULL);
    if (!d || !stop) {
        free(d);
        obv_cancel_free(stop);
        return obv_fail(err, OBV_E_NOMEM, 0, "destination: out of memory");
    }
    d->cfg = cfg;
    d->journal = journal;
    d->stop = stop;
    (void)pthread_mutex_init(&d->mu, NULL);
    (void)obv_fail(&d->error, OBV_E_UNAVAILABLE, 0, "the destination was not looked at yet");
    const int rc = pthread_create(&d->thread, NULL, watch, d);
    if (rc != 0) {
        (void)pthread_mutex_destroy(&d->mu);
        obv_cancel_free(stop);
        free(d);
        return obv_fail(err, OBV_E_NOMEM, rc, "destination: no thread");
    }
    *out = d;
    return OBV_OK;
}

void obv_destination_end(obv_destination *d)
{
    if (!d)
        return;
    obv_cancel_request(d->stop);
    (void)pthread_join(d->thread, NULL);
    obv_store_close(d->store);
    obv_cancel_free(d->stop);
    (void)pthread_mutex_destroy(&d->mu);
    free(d);
}

obv_store *obv_destination_store(obv_destination *d)
{
    (void)pthread_mutex_lock(&d->mu);
    obv_store *s = d->store;
    (void)pthread_mutex_unlock(&d->mu);
    return s;
}

obv_code obv_destination_identity(obv_destination *d, obv_repository *out, obv_err *err)
{
    (void)pthread_mutex_lock(&d->mu);
    const obv_code code = d->error.code;
    if (code == OBV_OK)
        *out = d->identity;
    else if (err)
        *err = d->error;
    (void)pthread_mutex_unlock(&d->mu);
    return code;
}

/*
 * "Mounted over" is what a task meets first; the thread that watches knows by then what is there instead, and says so
 * until that is over.
 */
static obv_code known_reason(obv_destination *d, obv_err *why)
{
    (void)pthread_mutex_lock(&d->mu);
    if (d->error.code != OBV_OK && !OBV_IS_RETRYABLE(d->error.code))
        *why = d->error;
    (void)pthread_mutex_unlock(&d->mu);
    return why->code;
}

obv_code obv_destination_gate(void *ctx, const obv_cancel *c, obv_err *err)
{
    obv_destination *d = ctx;
    obv_store *s = obv_destination_store(d);
    obv_repository r = {0};
    if (!s)
        return obv_destination_identity(d, &r, err);
    obv_err why = {0};
    obv_code code = verify(d, s, c, &r, &why);
    if (code == OBV_E_STALE)
        code = known_reason(d, &why);
    if (code != OBV_E_CANCELLED && code != OBV_E_TIMEOUT) /* those are the caller's own */
        note(d, code, &r, &why);
    if (code != OBV_OK && err)
        *err = why;
    return code;
}

void obv_destination_initialised(void *ctx, const obv_repository *r)
{
    obv_destination *d = ctx;
    obv_err err = {0};
    if (obv_destination_adopt(d->journal, r, &err) != OBV_OK)
        OBV_WARN_OF(&err, "the new repository's uuid cannot be kept");
    note(d, OBV_OK, r, NULL);
}

obv_code obv_destination_adopt(obv_journal *journal, const obv_repository *r, obv_err *err)
{
    return obv_journal_set(journal, OBV_DESTINATION_PINNED, r->uuid, err);
}
