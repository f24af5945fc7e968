/* plugin.c - the fault plugin: another plugin behind it, which fails when and as it is told
 *
 * Options: plugin (the other plugin's .so), rules (fault_priv.h has the grammar); all others go to the other plugin.
 * Calls are counted for each open repository. With no rule it is as good as the other plugin.
 */
#include "fault_priv.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct obv_repo_handle {
    const obv_storage_plugin *p; /* the other plugin and its handle */
    obv_repo_handle *inner;
    obv_host host;
    struct fault_rules rules;
    bool serial;
    pthread_mutex_t mu; /* held during each call when the other plugin is SERIAL */
};

struct obv_put_handle {
    struct obv_repo_handle *r;
    obv_put_handle *inner;
};

__attribute__((format(printf, 3, 4))) static obv_store_class fault_fail(obv_store_err *err, obv_store_class cls,
                                                                        const char *fmt, ...)
{
    *err = (obv_store_err){.cls = cls};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    for (char *c = err->msg; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            *c = '?';
    return cls;
}

static obv_store_class injected(enum fault_call call, const struct fault_rule *now, obv_store_err *err)
{
    (void)fault_fail(err, now->cls, "%s: injected fault", fault_call_name(call));
    if (now->cls == OBV_STORE_THROTTLED)
        err->retry_after_ms = now->value > UINT32_MAX ? UINT32_MAX : (uint32_t)now->value;
    (void)strcpy(err->provider_code, "InjectedFault");
    return now->cls;
}

static void lock(struct obv_repo_handle *r)
{
    if (r->serial)
        (void)pthread_mutex_lock(&r->mu);
}

static void unlock(struct obv_repo_handle *r)
{
    if (r->serial)
        (void)pthread_mutex_unlock(&r->mu);
}

/* A call of the other plugin, one at a time if it wants that. */
#define INNER(r, call)                                                                                                 \
    (__extension__({                                                                                                   \
        lock(r);                                                                                                       \
        const obv_store_class inner_cls_ = (call);                                                                     \
        unlock(r);                                                                                                     \
        inner_cls_;                                                                                                    \
    }))

static bool wants_out(const struct obv_repo_handle *r) { return r->host.cancelled && r->host.cancelled(r->host.ctx); }

/* Sleeps in steps, so that a job that wants out gets out. */
static void sleep_ms(const struct obv_repo_handle *r, uint64_t ms)
{
    for (; ms > 0 && !wants_out(r); ms -= ms < 10 ? ms : 10) {
        const struct timespec ts = {.tv_nsec = (long)(ms < 10 ? ms : 10) * 1000000};
        (void)nanosleep(&ts, NULL);
    }
}

/*
 * What happens before a call. OK: go on, with what now says. Anything else: the call is over.
 */
static obv_store_class before(struct obv_repo_handle *r, enum fault_call call, struct fault_rule *now,
                              obv_store_err *err)
{
    uint64_t delay_ms = 0;
    fault_rules_count(&r->rules, call, now, &delay_ms);
    sleep_ms(r, delay_ms);
    if (delay_ms > 0 && wants_out(r))
        return fault_fail(err, OBV_STORE_CANCELLED, "%s: cancelled during an injected delay", fault_call_name(call));
    if (now->action == ACT_KILL)
        (void)raise(SIGKILL);
    return now->action == ACT_FAIL ? injected(call, now, err) : OBV_STORE_OK;
}

/* What happens after it: its answer may be lost. */
static obv_store_class after(enum fault_call call, const struct fault_rule *now, obv_store_class cls,
                             obv_store_err *err)
{
    const bool lost = now->action == ACT_LOST || now->action == ACT_CUT;
    return cls == OBV_STORE_OK && lost ? injected(call, now, err) : cls;
}

#define BEFORE(r, call, now, err)                                                                                      \
    do {                                                                                                               \
        const obv_store_class before_cls_ = before((r), (call), (now), (err));                                         \
        if (before_cls_ != OBV_STORE_OK)                                                                               \
            return before_cls_;                                                                                        \
    } while (0)

/* ---- opening */

static obv_store_class load(const char *path, const obv_storage_plugin **out, obv_store_err *err)
{
    if (!path || path[0] != '/')
        return fault_fail(err, OBV_STORE_CONFIG, "option plugin: the absolute path of another plugin is needed");
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so)
        return fault_fail(err, OBV_STORE_CONFIG, "option plugin: %.200s", dlerror());
    const obv_storage_plugin *(*entry)(void) = NULL;
    *(void **)&entry = dlsym(so, OBV_STORAGE_SYMBOL);
    const obv_storage_plugin *p = entry ? entry() : NULL;
    if (!p)
        return fault_fail(err, OBV_STORE_CONFIG, "option plugin: %.150s has no %s", path, OBV_STORAGE_SYMBOL);
    if (p->abi_major != OBV_STORAGE_ABI_MAJOR || p->abi_minor != OBV_STORAGE_ABI_MINOR)
        return fault_fail(err, OBV_STORE_CONFIG, "option plugin: %.120s speaks storage ABI %u.%u, this one %u.%u", path,
                          p->abi_major, p->abi_minor, OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
    *out = p;
    return OBV_STORE_OK;
}

static void fault_close(obv_repo_handle *r)
{
    if (r->inner) {
        lock(r);
        r->p->close(r->inner);
        unlock(r);
    }
    (void)pthread_mutex_destroy(&r->mu);
    free(r);
}

static obv_store_class open_inner(struct obv_repo_handle *r, const obv_host *host, const obv_kv *cfg, size_t n,
                                  obv_store_err *err)
{
    const char *plugin = NULL;
    struct fault_rule now;
    size_t left = 0;
    obv_kv *kv = calloc(n + 1, sizeof *kv);
    if (!kv)
        return fault_fail(err, OBV_STORE_RETRY, "open: out of memory");
    obv_store_class cls = OBV_STORE_OK;
    for (size_t i = 0; i < n && cls == OBV_STORE_OK; i++) {
        if (strcmp(cfg[i].key, "plugin") == 0) {
            plugin = cfg[i].value;
        } else if (strcmp(cfg[i].key, "rules") == 0) {
            const char *wrong = fault_rules_parse(cfg[i].value, &r->rules);
            if (wrong)
                cls = fault_fail(err, OBV_STORE_CONFIG, "option rules: cannot read \"%.60s\"", wrong);
        } else {
            kv[left++] = cfg[i];
        }
    }
    if (cls == OBV_STORE_OK)
        cls = load(plugin, &r->p, err);
    if (cls == OBV_STORE_OK)
        cls = before(r, CALL_OPEN, &now, err);
    if (cls == OBV_STORE_OK) {
        r->serial = r->p->threads != OBV_THREADS_PARALLEL;
        cls = after(CALL_OPEN, &now, r->p->open(host, kv, left, &r->inner, err), err);
    }
    free(kv);
    return cls;
}

static obv_store_class fault_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                  obv_store_err *err)
{
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    if (!r)
        return fault_fail(err, OBV_STORE_RETRY, "open: out of memory");
    memcpy(&r->host, host, host->size < sizeof r->host ? host->size : sizeof r->host);
    (void)pthread_mutex_init(&r->mu, NULL);
    const obv_store_class cls = open_inner(r, host, cfg, n, err);
    if (cls != OBV_STORE_OK) {
        fault_close(r);
        return cls;
    }
    *out = r;
    return OBV_STORE_OK;
}

/* ---- calls */

static obv_store_class fault_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_PROBE, &now, err);
    return after(CALL_PROBE, &now, INNER(r, r->p->probe(r->inner, out, err)), err);
}

static obv_store_class fault_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts,
                                       obv_put_handle **out, obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_PUT_BEGIN, &now, err);
    struct obv_put_handle *p = calloc(1, sizeof *p);
    if (!p)
        return fault_fail(err, OBV_STORE_RETRY, "put: out of memory");
    p->r = r;
    obv_store_class cls = INNER(r, r->p->put_begin(r->inner, key, opts, &p->inner, err));
    if (cls == OBV_STORE_OK) {
        cls = after(CALL_PUT_BEGIN, &now, cls, err);
        if (cls != OBV_STORE_OK) { /* the caller gets no handle: what was begun ends here */
            lock(r);
            r->p->put_abort(p->inner);
            unlock(r);
        }
    }
    if (cls != OBV_STORE_OK) {
        free(p);
        return cls;
    }
    *out = p;
    return OBV_STORE_OK;
}

static obv_store_class fault_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(p->r, CALL_PUT_WRITE, &now, err);
    const size_t n = now.action == ACT_CUT ? len / 2 : len;
    return after(CALL_PUT_WRITE, &now, INNER(p->r, p->r->p->put_write(p->inner, buf, n, err)), err);
}

static obv_store_class fault_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    struct obv_repo_handle *r = p->r;
    struct fault_rule now;
    obv_store_class cls = before(r, CALL_PUT_COMMIT, &now, err);
    if (cls == OBV_STORE_OK && now.action == ACT_CUT) /* the connection ends in the middle of it */
        cls = injected(CALL_PUT_COMMIT, &now, err);
    if (cls != OBV_STORE_OK) {
        lock(r);
        r->p->put_abort(p->inner);
        unlock(r);
    } else {
        cls = after(CALL_PUT_COMMIT, &now, INNER(r, r->p->put_commit(p->inner, out, err)), err);
    }
    free(p);
    return cls;
}

static void fault_put_abort(obv_put_handle *p)
{
    struct fault_rule now;
    obv_store_err ignored;
    (void)before(p->r, CALL_PUT_ABORT, &now, &ignored);
    lock(p->r);
    p->r->p->put_abort(p->inner);
    unlock(p->r);
    free(p);
}

static obv_store_class fault_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                                    obv_store_err *err)
{
    struct fault_rule now;
    if (!r->p->append)
        return fault_fail(err, OBV_STORE_UNSUPPORTED, "append: %s cannot", r->p->name);
    BEFORE(r, CALL_APPEND, &now, err);
    const size_t n = now.action == ACT_CUT ? len / 2 : len;
    return after(CALL_APPEND, &now, INNER(r, r->p->append(r->inner, key, at, buf, n, err)), err);
}

/* The first half of the keys of a call that is cut; the rest gets the injected class. */
static size_t keys_before_cut(const struct fault_rule *now, size_t n, obv_store_class *results)
{
    const size_t made = now->action == ACT_CUT ? n / 2 : n;
    for (size_t i = made; results && i < n; i++)
        results[i] = now->cls;
    return made;
}

static void fail_results(obv_store_class cls, size_t n, obv_store_class *results)
{
    for (size_t i = 0; results && i < n; i++)
        results[i] = cls;
}

static obv_store_class fault_sync(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                  obv_store_err *err)
{
    struct fault_rule now;
    if (!r->p->sync)
        return fault_fail(err, OBV_STORE_UNSUPPORTED, "sync: %s cannot", r->p->name);
    const obv_store_class cls = before(r, CALL_SYNC, &now, err);
    if (cls != OBV_STORE_OK) {
        fail_results(cls, n, results);
        return cls;
    }
    const size_t made = keys_before_cut(&now, n, results);
    return after(CALL_SYNC, &now, INNER(r, r->p->sync(r->inner, keys, made, results, err)), err);
}

static obv_store_class fault_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                 obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_GET, &now, err);
    const obv_store_class cls = INNER(r, r->p->get(r->inner, key, off, buf, len, got, err));
    if (cls == OBV_STORE_OK && now.action == ACT_SHORT) {
        const size_t most = now.value ? (size_t)now.value : *got / 2;
        *got = *got < most ? *got : most;
    }
    return after(CALL_GET, &now, cls, err);
}

static obv_store_class fault_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_HEAD, &now, err);
    return after(CALL_HEAD, &now, INNER(r, r->p->head(r->inner, key, out, err)), err);
}

struct cut_listing {
    obv_list_fn *fn;
    void *ctx;
    bool cut, stopped;
};

static int list_until_cut(void *ctx, const char *key, const obv_object_info *info)
{
    struct cut_listing *l = ctx;
    l->stopped = l->fn(l->ctx, key, info) != 0;
    return l->stopped || l->cut;
}

static obv_store_class fault_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx,
                                  obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_LIST, &now, err);
    struct cut_listing l = {.fn = fn, .ctx = ctx, .cut = now.action == ACT_CUT};
    return after(CALL_LIST, &now, INNER(r, r->p->list(r->inner, prefix, list_until_cut, &l, err)), err);
}

static obv_store_class fault_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                    obv_store_err *err)
{
    struct fault_rule now;
    const obv_store_class cls = before(r, CALL_REMOVE, &now, err);
    if (cls != OBV_STORE_OK) {
        fail_results(cls, n, results);
        return cls;
    }
    const size_t made = keys_before_cut(&now, n, results);
    return after(CALL_REMOVE, &now, INNER(r, r->p->remove(r->inner, keys, made, results, err)), err);
}

static obv_store_class fault_copy(obv_repo_handle *r, const char *from, const char *to, uint32_t if_absent,
                                  obv_store_err *err)
{
    struct fault_rule now;
    if (!r->p->copy)
        return fault_fail(err, OBV_STORE_UNSUPPORTED, "copy: %s cannot", r->p->name);
    BEFORE(r, CALL_COPY, &now, err);
    return after(CALL_COPY, &now, INNER(r, r->p->copy(r->inner, from, to, if_absent, err)), err);
}

static obv_store_class fault_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    struct fault_rule now;
    BEFORE(r, CALL_SWEEP, &now, err);
    return after(CALL_SWEEP, &now, INNER(r, r->p->sweep(r->inner, age_s, swept, err)), err);
}

/* clang-format off */
static const obv_option OPTIONS[] = {
    {"plugin", OBV_OPTION_PLUGIN, OBV_OPTION_REQUIRED, "", "The plugin that does the work; it gets all other options."},
    {"rules", OBV_OPTION_TEXT, 0, "", "What fails when, e.g. put_write@3:fail=no_space;get@1+:delay=50."},
};
/* clang-format on */

static const obv_storage_plugin FAULT_PLUGIN = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
    .abi_minor = OBV_STORAGE_ABI_MINOR,
    .threads = OBV_THREADS_PARALLEL,
    .caps = OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_SERVER_COPY | OBV_CAP_OBSERVER_READS,
    .name = "fault",
    .version = "0.2.0",
    .open = fault_open,
    .close = fault_close,
    .probe = fault_probe,
    .put_begin = fault_put_begin,
    .put_write = fault_put_write,
    .put_commit = fault_put_commit,
    .put_abort = fault_put_abort,
    .append = fault_append,
    .sync = fault_sync,
    .get = fault_get,
    .head = fault_head,
    .list = fault_list,
    .remove = fault_remove,
    .copy = fault_copy,
    .sweep = fault_sweep,
    .options = OPTIONS,
    .option_count = sizeof OPTIONS / sizeof *OPTIONS,
};

OBV_STORAGE_PLUGIN_EXPORT(FAULT_PLUGIN)
