/* plugin.c - the null plugin: accepts every object and forgets it, to measure the pipeline without storage
 *
 * It says so (OBV_CAP_FORGETS) and claims neither exclusive puts nor replacement, so that no repository is made of it.
 * No options.
 */
#include "obvault/storage_plugin.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct obv_repo_handle {
    obv_host host;
};

struct obv_put_handle {
    struct obv_repo_handle *r;
    uint64_t size;
};

static obv_store_class null_fail(obv_store_err *err, obv_store_class cls, const char *msg)
{
    *err = (obv_store_err){.cls = cls};
    (void)snprintf(err->msg, sizeof err->msg, "%s", msg);
    return cls;
}

/* The grammar of storage_plugin.h: what is measured with wrong keys would measure nothing. */
static bool key_is_valid(const char *key)
{
    static const char OK[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@=+-";
    const size_t first = strcspn(key, "/");
    if (strnlen(key, OBV_KEY_MAX + 1) > OBV_KEY_MAX ||
        (first == strlen(OBV_TMP_FOLDER) && strncmp(key, OBV_TMP_FOLDER, first) == 0))
        return false;
    for (const char *p = key;; p++) {
        const size_t len = strcspn(p, "/");
        if (len == 0 || len > OBV_KEY_PART_MAX || strspn(p, OK) < len || (len == 1 && p[0] == '.') ||
            (len == 2 && strncmp(p, "..", 2) == 0) || strncmp(p, ".nfs", 4) == 0)
            return false;
        p += len;
        if (*p == '\0')
            return true;
    }
}

static obv_store_class check(const struct obv_repo_handle *r, const char *key, obv_store_err *err)
{
    if (key && !key_is_valid(key))
        return null_fail(err, OBV_STORE_FATAL, "not a key");
    if (r->host.cancelled && r->host.cancelled(r->host.ctx))
        return null_fail(err, OBV_STORE_CANCELLED, "cancelled");
    return OBV_STORE_OK;
}

static obv_store_class null_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                 obv_store_err *err)
{
    if (n > 0) {
        char msg[128];
        (void)snprintf(msg, sizeof msg, "unknown option \"%.60s\" (there are none)", cfg[0].key);
        return null_fail(err, OBV_STORE_CONFIG, msg);
    }
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    if (!r)
        return null_fail(err, OBV_STORE_RETRY, "open: out of memory");
    memcpy(&r->host, host, host->size < sizeof r->host ? host->size : sizeof r->host);
    *out = r;
    return OBV_STORE_OK;
}

static void null_close(obv_repo_handle *r) { free(r); }

static obv_store_class null_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    const obv_store_class cls = check(r, NULL, err);
    if (cls != OBV_STORE_OK)
        return cls;
    *out = (obv_probe_result){.caps = OBV_CAP_APPEND | OBV_CAP_FORGETS,
                              .free_bytes = UINT64_MAX,
                              .identity = "nowhere: what is stored is forgotten"};
    return OBV_STORE_OK;
}

static obv_store_class null_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts,
                                      obv_put_handle **out, obv_store_err *err)
{
    (void)opts;
    const obv_store_class cls = check(r, key, err);
    if (cls != OBV_STORE_OK)
        return cls;
    struct obv_put_handle *p = calloc(1, sizeof *p);
    if (!p)
        return null_fail(err, OBV_STORE_RETRY, "put: out of memory");
    p->r = r;
    *out = p;
    return OBV_STORE_OK;
}

static obv_store_class null_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    (void)buf;
    const obv_store_class cls = check(p->r, NULL, err);
    if (cls == OBV_STORE_OK)
        p->size += len;
    return cls;
}

static obv_store_class null_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    const obv_store_class cls = check(p->r, NULL, err);
    if (cls == OBV_STORE_OK && out)
        *out = (obv_object_info){.size = p->size};
    free(p);
    return cls;
}

static void null_put_abort(obv_put_handle *p) { free(p); }

static obv_store_class null_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                                   obv_store_err *err)
{
    (void)at, (void)buf, (void)len;
    return check(r, key, err);
}

/* sync and remove: every key is fine, unless it is none. */
static obv_store_class check_all(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                 obv_store_err *err)
{
    obv_store_class first = OBV_STORE_OK;
    for (size_t i = 0; i < n; i++) {
        obv_store_err one;
        const obv_store_class cls = check(r, keys[i], &one);
        if (results)
            results[i] = cls;
        if (cls != OBV_STORE_OK && first == OBV_STORE_OK) {
            first = cls;
            *err = one;
        }
    }
    return first;
}

static obv_store_class absent(const struct obv_repo_handle *r, const char *key, obv_store_err *err)
{
    const obv_store_class cls = check(r, key, err);
    return cls != OBV_STORE_OK ? cls : null_fail(err, OBV_STORE_NOT_FOUND, "the null plugin keeps nothing");
}

static obv_store_class null_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                obv_store_err *err)
{
    (void)off, (void)buf, (void)len, (void)got;
    return absent(r, key, err);
}

static obv_store_class null_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    (void)out;
    return absent(r, key, err);
}

static obv_store_class null_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err)
{
    (void)prefix, (void)fn, (void)ctx;
    return check(r, NULL, err);
}

static obv_store_class null_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    (void)age_s;
    const obv_store_class cls = check(r, NULL, err);
    if (cls == OBV_STORE_OK)
        *swept = 0;
    return cls;
}

static const obv_storage_plugin NULL_PLUGIN = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
    .abi_minor = OBV_STORAGE_ABI_MINOR,
    .threads = OBV_THREADS_PARALLEL,
    .caps = OBV_CAP_APPEND | OBV_CAP_FORGETS,
    .name = "null",
    .version = "0.2.0",
    .open = null_open,
    .close = null_close,
    .probe = null_probe,
    .put_begin = null_put_begin,
    .put_write = null_put_write,
    .put_commit = null_put_commit,
    .put_abort = null_put_abort,
    .append = null_append,
    .sync = check_all,
    .get = null_get,
    .head = null_head,
    .list = null_list,
    .remove = check_all,
    .sweep = null_sweep,
};

OBV_STORAGE_PLUGIN_EXPORT(NULL_PLUGIN)
