/* A plugin that keeps one object of a few bytes and fails as its options say: fail_head = "2" makes the first two
 * calls of head fail with the class in option class. It finds out whether a second call enters while one is inside. */
#include "obvault/storage_plugin.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct obv_repo_handle {
    const obv_host *host;
    obv_store_class cls;
    uint32_t retry_after_ms;
    int fail_head, fail_commit, fail_append;
    bool wait_for_cancel, commit_then_fail;
    _Atomic int inside;
    bool there;
    char bytes[64];
    size_t len;
};
struct obv_put_handle {
    struct obv_repo_handle *r;
    bool if_absent;
    char bytes[64];
    size_t len;
};

static obv_store_class fail_with(obv_store_err *err, obv_store_class cls, const char *msg)
{
    *err = (obv_store_err){.cls = cls, .sys = 5};
    (void)strncpy(err->msg, msg, sizeof err->msg - 1);
    return cls;
}

static obv_store_class enter(struct obv_repo_handle *r, obv_store_err *err)
{
    if (atomic_fetch_add(&r->inside, 1) != 0)
        return fail_with(err, OBV_STORE_FATAL, "two calls at once");
    const struct timespec ts = {.tv_nsec = 200000};
    (void)nanosleep(&ts, NULL);
    return OBV_STORE_OK;
}
static void leave(struct obv_repo_handle *r) { (void)atomic_fetch_sub(&r->inside, 1); }

static obv_store_class fake_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                 obv_store_err *err)
{
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    if (!r)
        return fail_with(err, OBV_STORE_RETRY, "memory");
    r->host = host;
    for (size_t i = 0; i < n; i++) {
        const int v = atoi(cfg[i].value);
        if (strcmp(cfg[i].key, "class") == 0)
            r->cls = (obv_store_class)v;
        else if (strcmp(cfg[i].key, "retry_after_ms") == 0)
            r->retry_after_ms = (uint32_t)v;
        else if (strcmp(cfg[i].key, "fail_head") == 0)
            r->fail_head = v;
        else if (strcmp(cfg[i].key, "fail_commit") == 0)
            r->fail_commit = v;
        else if (strcmp(cfg[i].key, "commit_then_fail") == 0)
            r->commit_then_fail = v != 0;
        else if (strcmp(cfg[i].key, "fail_append") == 0)
            r->fail_append = v;
        else if (strcmp(cfg[i].key, "wait_for_cancel") == 0)
            r->wait_for_cancel = v != 0;
        else {
            free(r);
            return fail_with(err, OBV_STORE_CONFIG, "unknown option");
        }
    }
    host->log(host->ctx, OBV_HOST_LOG_DEBUG, "open");
    *out = r;
    return OBV_STORE_OK;
}
static void fake_close(obv_repo_handle *r) { free(r); }

static obv_store_class fake_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    (void)r, (void)err;
    *out = (obv_probe_result){.caps = OBV_CAP_APPEND, .free_bytes = 7, .identity = "fake"};
    return OBV_STORE_OK;
}

static obv_store_class fake_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts,
                                      obv_put_handle **out, obv_store_err *err)
{
    (void)key;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail_with(err, OBV_STORE_RETRY, "memory");
    (*out)->r = r;
    (*out)->if_absent = opts->if_absent != 0;
    return OBV_STORE_OK;
}
static obv_store_class fake_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    if (p->len + len > sizeof p->bytes)
        return fail_with(err, OBV_STORE_NO_SPACE, "64 bytes are all there is");
    memcpy(p->bytes + p->len, buf, len);
    p->len += len;
    return OBV_STORE_OK;
}
static obv_store_class fake_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    struct obv_repo_handle *r = p->r;
    obv_store_class cls = OBV_STORE_OK;
    const bool failing = r->fail_commit > 0 && r->fail_commit-- > 0;
    if (failing && !r->commit_then_fail) {
        cls = fail_with(err, r->cls, "commit");
    } else if (p->if_absent && r->there) {
        cls = fail_with(err, OBV_STORE_EXISTS, "there");
    } else {
        memcpy(r->bytes, p->bytes, p->len);
        r->len = p->len;
        r->there = true;
        *out = (obv_object_info){.size = r->len};
        if (failing)
            cls = fail_with(err, r->cls, "the answer was lost");
    }
    free(p);
    return cls;
}
static void fake_put_abort(obv_put_handle *p) { free(p); }

static obv_store_class fake_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                                   obv_store_err *err)
{
    (void)key, (void)at, (void)buf, (void)len;
    return r->fail_append-- > 0 ? fail_with(err, r->cls, "append") : OBV_STORE_OK;
}
static obv_store_class fake_sync(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                 obv_store_err *err)
{
    (void)r, (void)keys;
    for (size_t i = 0; i < n; i++)
        results[i] = i == 0 ? OBV_STORE_OK : OBV_STORE_IO;
    return n > 1 ? fail_with(err, OBV_STORE_IO, "sync") : OBV_STORE_OK;
}

#ifndef FAKE_NO_GET
static obv_store_class fake_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                obv_store_err *err)
{
    (void)key;
    if (!r->there)
        return fail_with(err, OBV_STORE_NOT_FOUND, "none");
    *got = off >= r->len ? 0 : (r->len - off < len ? r->len - off : len);
    memcpy(buf, r->bytes + off, *got);
    return OBV_STORE_OK;
}
#endif
static obv_store_class fake_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    (void)key;
    obv_store_class cls = enter(r, err);
    for (int i = 0; r->wait_for_cancel && i < 10000 && !r->host->cancelled(r->host->ctx); i++) {
        const struct timespec ts = {.tv_nsec = 1000000};
        (void)nanosleep(&ts, NULL);
    }
    if (cls == OBV_STORE_OK && r->wait_for_cancel)
        cls = fail_with(err, OBV_STORE_CANCELLED, "as asked");
    if (cls == OBV_STORE_OK && r->fail_head > 0 && r->fail_head-- > 0) {
        cls = fail_with(err, r->cls, "head");
        err->retry_after_ms = r->retry_after_ms;
        (void)strcpy(err->provider_code, "SlowDown");
        (void)strcpy(err->request_id, "r-1");
    }
    if (cls == OBV_STORE_OK && !r->there)
        cls = fail_with(err, OBV_STORE_NOT_FOUND, "none");
    if (cls == OBV_STORE_OK)
        *out = (obv_object_info){.size = r->len};
    leave(r);
    return cls;
}
static obv_store_class fake_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err)
{
    (void)prefix, (void)err;
    const obv_object_info info = {.size = r->len};
    if (r->there)
        (void)fn(ctx, "o", &info);
    return OBV_STORE_OK;
}
static obv_store_class fake_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                   obv_store_err *err)
{
    (void)keys, (void)err;
    r->there = false;
    for (size_t i = 0; i < n; i++)
        results[i] = OBV_STORE_OK;
    return OBV_STORE_OK;
}
static obv_store_class fake_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    (void)r, (void)age_s, (void)err;
    *swept = 0;
    return OBV_STORE_OK;
}

static const obv_storage_plugin FAKE = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
#ifdef FAKE_WRONG_ABI
    .abi_minor = OBV_STORAGE_ABI_MINOR + 7,
#else
    .abi_minor = OBV_STORAGE_ABI_MINOR,
#endif
    .threads = OBV_THREADS_SERIAL,
    .caps = OBV_CAP_APPEND | OBV_CAP_REPLACE,
    .name = "fake",
    .version = "1",
    .open = fake_open,
    .close = fake_close,
    .probe = fake_probe,
    .put_begin = fake_put_begin,
    .put_write = fake_put_write,
    .put_commit = fake_put_commit,
    .put_abort = fake_put_abort,
    .append = fake_append,
    .sync = fake_sync,
#ifndef FAKE_NO_GET
    .get = fake_get,
#endif
    .head = fake_head,
    .list = fake_list,
    .remove = fake_remove,
    .sweep = fake_sweep,
};

#ifdef FAKE_NO_SYMBOL
const void *fake_nothing(void);
__attribute__((visibility("default"))) const void *fake_nothing(void) { return &FAKE; }
#else
OBV_STORAGE_PLUGIN_EXPORT(FAKE)
#endif
