/* The file plugin with one thing broken on purpose, chosen by BROKEN: what obvault-plugin-check is there to find. */
#include "obvault/storage_plugin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ABSENT_ERROR = 1, /* remove of an absent object is NOT_FOUND */
    ABORT_LEAVES,     /* abort forgets the temporary */
    APPEND_ANYWHERE,  /* append goes to the end, wherever the caller thinks that is */
    DEAF,             /* never asks whether the job was cancelled */
    DROPS_ZEROS,      /* zero bytes at the end of an object are not stored */
    EARLY,            /* a big object shows itself before commit */
    SYNC_RESULTS_LIE, /* sync says OK for every key of a batch */
    IN_PLACE,         /* a replacement removes the old object and writes the new one over its name */
    KEYS_LOOSE,       /* a slash at the end of a key is forgiven */
    LEAKS_FD,         /* each put leaves a file open */
    LIST_1000,        /* a listing has one page */
    LIST_TEMPORARIES, /* a listing shows what is not committed */
    LOGS_SECRET,      /* a credential ends up in the log */
    NOT_EXCLUSIVE,    /* if_absent is ignored */
    NO_FLUSH,         /* commit flushes nothing */
    NO_SYNC,          /* sync does nothing */
    WRONG_ABI,        /* the table says another version */
    ONE_HANDLE,       /* all handles are one */
    OVERRUN,          /* get writes one byte behind the buffer */
    RACY,             /* if_absent looks first and writes then */
    SHORT_GET,        /* a big read within an object comes short */
    SILENT,           /* a missing object leaves err empty */
    SWEEPS_YOUNG,     /* sweep does not look at the age */
    TWO_SYMBOLS,      /* exports a second symbol */
    UNKNOWN_OPTION,   /* options that it does not know are ignored */
    UNSAFE,           /* one buffer for all threads of a handle */
};

struct obv_repo_handle {
    const obv_storage_plugin *p;
    obv_repo_handle *inner;
    obv_host host;
    char root[512];
    char staged[8 << 20];
};

struct obv_put_handle {
    struct obv_repo_handle *r;
    obv_put_handle *inner;
    bool if_absent;
    uint64_t size, zeros;
    uint8_t *all; /* NO_FLUSH and IN_PLACE: the whole object */
    char key[OBV_KEY_MAX + 1];
};

static bool is(int what) { return BROKEN == what; }

static obv_store_class fail_with(obv_store_err *err, obv_store_class cls, const char *msg)
{
    *err = (obv_store_err){.cls = cls};
    (void)snprintf(err->msg, sizeof err->msg, "%s", msg);
    return cls;
}

static int never(void *ctx) { return (void)ctx, 0; }
static uint64_t unbounded(void *ctx) { return (void)ctx, UINT64_MAX; }

static struct obv_repo_handle *only;

static obv_store_class broken_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                   obv_store_err *err)
{
    const obv_storage_plugin *(*entry)(void) = NULL;
    void *so = dlopen(FILE_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so)
        return fail_with(err, OBV_STORE_FATAL, dlerror());
    *(void **)&entry = dlsym(so, OBV_STORAGE_SYMBOL);
    if (is(ONE_HANDLE) && only) {
        *out = only;
        return OBV_STORE_OK;
    }
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    obv_kv known[8];
    size_t left = 0;
    if (!r)
        return fail_with(err, OBV_STORE_RETRY, "out of memory");
    for (size_t i = 0; i < n && left < 8; i++) {
        if (strcmp(cfg[i].key, "root") == 0)
            (void)snprintf(r->root, sizeof r->root, "%s", cfg[i].value);
        if (!is(UNKNOWN_OPTION) || strcmp(cfg[i].key, "root") == 0 || strcmp(cfg[i].key, "require_mount") == 0)
            known[left++] = cfg[i];
    }
    r->p = entry();
    memcpy(&r->host, host, sizeof r->host);
    if (is(DEAF)) {
        r->host.cancelled = never;
        r->host.deadline_ms = unbounded;
    }
    if (is(LOGS_SECRET)) {
        char line[128] = "opened with token ";
        const size_t used = strlen(line);
        if (host->credential(host->ctx, "token", line + used, sizeof line - used) == 0)
            host->log(host->ctx, OBV_HOST_LOG_DEBUG, line);
    }
    const obv_store_class cls = r->p->open(&r->host, known, left, &r->inner, err);
    if (cls != OBV_STORE_OK) {
        free(r);
        return cls;
    }
    *out = only = r;
    return OBV_STORE_OK;
}

static void broken_close(obv_repo_handle *r)
{
    r->p->close(r->inner);
    if (is(ONE_HANDLE))
        only = NULL;
    free(r);
}

static obv_store_class broken_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    return r->p->probe(r->inner, out, err);
}

/* ---- put */

static obv_store_class put_small(struct obv_repo_handle *r, const char *key)
{
    const obv_put_opts opts = {.size = sizeof opts};
    obv_put_handle *h = NULL;
    obv_object_info info;
    obv_store_err err;
    const obv_store_class cls = r->p->put_begin(r->inner, key, &opts, &h, &err);
    return cls != OBV_STORE_OK ? cls : r->p->put_commit(h, &info, &err);
}

static const char *forgiven(const char *key, char *buf)
{
    const size_t len = strlen(key);
    if (!is(KEYS_LOOSE) || len < 2 || len > OBV_KEY_MAX || key[len - 1] != '/')
        return key;
    memcpy(buf, key, len - 1);
    buf[len - 1] = '\0';
    return buf;
}

static obv_store_class broken_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts,
                                        obv_put_handle **out, obv_store_err *err)
{
    char buf[OBV_KEY_MAX + 1];
    key = forgiven(key, buf);
    obv_put_opts o = {.size = sizeof o, .if_absent = opts->if_absent};
    if (is(NOT_EXCLUSIVE) || is(RACY))
        o.if_absent = 0;
    struct obv_put_handle *p = calloc(1, sizeof *p);
    if (!p)
        return fail_with(err, OBV_STORE_RETRY, "out of memory");
    const obv_store_class cls = r->p->put_begin(r->inner, key, &o, &p->inner, err);
    if (cls != OBV_STORE_OK) {
        free(p);
        return cls;
    }
    if (is(LEAKS_FD))
        (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    p->r = r;
    p->if_absent = opts->if_absent != 0;
    (void)snprintf(p->key, sizeof p->key, "%s", key);
    *out = p;
    return OBV_STORE_OK;
}

static obv_store_class write_held_zeros(obv_put_handle *p, obv_store_err *err)
{
    static const uint8_t ZEROS[4096];
    while (p->zeros > 0) {
        const size_t n = p->zeros < sizeof ZEROS ? (size_t)p->zeros : sizeof ZEROS;
        const obv_store_class cls = p->r->p->put_write(p->inner, ZEROS, n, err);
        if (cls != OBV_STORE_OK)
            return cls;
        p->zeros -= n;
    }
    return OBV_STORE_OK;
}

static obv_store_class broken_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    struct obv_repo_handle *r = p->r;
    if (is(UNSAFE) && len <= sizeof r->staged) {
        const struct timespec ts = {.tv_nsec = 20000};
        memcpy(r->staged, buf, len);
        (void)nanosleep(&ts, NULL);
        return r->p->put_write(p->inner, r->staged, len, err);
    }
    if (is(DROPS_ZEROS)) {
        size_t kept = len;
        while (kept > 0 && ((const uint8_t *)buf)[kept - 1] == 0)
            kept--;
        if (kept > 0) {
            obv_store_class cls = write_held_zeros(p, err);
            if (cls == OBV_STORE_OK)
                cls = r->p->put_write(p->inner, buf, kept, err);
            if (cls != OBV_STORE_OK)
                return cls;
        }
        p->zeros += len - kept;
        return OBV_STORE_OK;
    }
    if (is(EARLY) && p->size <= 20 << 20 && p->size + len > 20 << 20)
        (void)put_small(r, p->key);
    if (is(NO_FLUSH) || is(IN_PLACE)) {
        uint8_t *all = realloc(p->all, p->size + len + 1);
        if (!all)
            return fail_with(err, OBV_STORE_RETRY, "out of memory");
        memcpy(all + p->size, buf, len);
        p->all = all;
    }
    p->size += len;
    return r->p->put_write(p->inner, buf, len, err);
}

static bool exists(struct obv_repo_handle *r, const char *key, uint64_t *size)
{
    obv_object_info info;
    obv_store_err err;
    const bool there = r->p->head(r->inner, key, &info, &err) == OBV_STORE_OK;
    *size = there ? info.size : 0;
    return there;
}

/* By hand, with everything in the right order but the flushes. */
static obv_store_class commit_without_flush(obv_put_handle *p, obv_store_err *err)
{
    static atomic_uint number;
    char to[2048];
    char tmp[1024];
    (void)snprintf(tmp, sizeof tmp, "%s/.obvault-tmp/obv.x%d-%u", p->r->root, (int)getpid(), number++);
    (void)snprintf(to, sizeof to, "%s/%s", p->r->root, p->key);
    const int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool good = fd >= 0;
    if (p->r->host.cancelled(p->r->host.ctx)) {
        if (good)
            (void)close(fd);
        (void)unlink(tmp);
        return fail_with(err, OBV_STORE_CANCELLED, "cancelled");
    }
    for (uint64_t at = 0; good && at < p->size;) {
        const ssize_t n = write(fd, p->all + at, p->size - at);
        good = n > 0;
        at += n > 0 ? (uint64_t)n : 0;
    }
    if (fd >= 0 && close(fd) != 0)
        good = false;
    const bool written = good;
    for (char *slash = to + strlen(p->r->root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(to, 0755);
        *slash = '/';
    }
    if (good && p->if_absent ? link(tmp, to) != 0 : good && rename(tmp, to) != 0)
        good = false;
    (void)unlink(tmp);
    uint64_t size;
    if (good)
        return OBV_STORE_OK;
    return p->if_absent && exists(p->r, p->key, &size)
               ? fail_with(err, OBV_STORE_EXISTS, "it is there")
               : fail_with(err, written ? OBV_STORE_RETRY : OBV_STORE_NO_SPACE, "it did not work");
}

static obv_store_class commit_in_place(obv_put_handle *p, obv_store_err *err)
{
    const char *key = p->key;
    const size_t half = (size_t)p->size / 2;
    obv_store_class result;
    obv_store_class cls = p->r->p->remove(p->r->inner, &key, 1, &result, err);
    if (cls == OBV_STORE_OK)
        cls = p->r->p->append(p->r->inner, key, 0, p->all, half, err);
    if (cls == OBV_STORE_OK)
        cls = p->r->p->append(p->r->inner, key, half, p->all + half, (size_t)p->size - half, err);
    return cls == OBV_STORE_OK ? p->r->p->sync(p->r->inner, &key, 1, &result, err) : cls;
}

static obv_store_class commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    const obv_storage_plugin *inner = p->r->p;
    uint64_t size;
    const bool there = (is(RACY) || is(IN_PLACE)) && exists(p->r, p->key, &size);
    if (is(NO_FLUSH) && p->size > 0) {
        const obv_store_class cls = commit_without_flush(p, err);
        inner->put_abort(p->inner);
        *out = (obv_object_info){.size = p->size};
        return cls;
    }
    if (is(IN_PLACE) && there && !p->if_absent && p->size > 0) {
        inner->put_abort(p->inner);
        *out = (obv_object_info){.size = p->size};
        return commit_in_place(p, err);
    }
    if (is(RACY) && p->if_absent) {
        const struct timespec ts = {.tv_nsec = 2000000};
        if (there) {
            inner->put_abort(p->inner);
            return fail_with(err, OBV_STORE_EXISTS, "it is there");
        }
        (void)nanosleep(&ts, NULL);
    }
    return inner->put_commit(p->inner, out, err);
}

static obv_store_class broken_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    const obv_store_class cls = commit(p, out, err);
    if (is(DROPS_ZEROS) && cls == OBV_STORE_OK)
        out->size += p->zeros;
    free(p->all);
    free(p);
    return cls;
}

static void broken_put_abort(obv_put_handle *p)
{
    if (!is(ABORT_LEAVES))
        p->r->p->put_abort(p->inner);
    free(p->all);
    free(p);
}

/* ---- the others */

static obv_store_class broken_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                                     obv_store_err *err)
{
    uint64_t size;
    if (is(APPEND_ANYWHERE) && at > 0 && exists(r, key, &size))
        at = size;
    return r->p->append(r->inner, key, at, buf, len, err);
}

static obv_store_class broken_sync(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                   obv_store_err *err)
{
    const obv_store_class cls = is(NO_SYNC) ? OBV_STORE_OK : r->p->sync(r->inner, keys, n, results, err);
    for (size_t i = 0; i < n && (is(NO_SYNC) || (is(SYNC_RESULTS_LIE) && n > 1)); i++)
        results[i] = OBV_STORE_OK;
    return cls;
}

static obv_store_class broken_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                  obv_store_err *err)
{
    if (is(SHORT_GET) && off % 4096 != 0 && len > 65536)
        len = 65536;
    const obv_store_class cls = r->p->get(r->inner, key, off, buf, len, got, err);
    if (is(OVERRUN) && cls == OBV_STORE_OK && *got == len && len >= 4095 && len < 8192)
        ((volatile char *)buf)[len] = '\0';
    return cls;
}

static obv_store_class broken_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    char buf[OBV_KEY_MAX + 1];
    obv_store_err own;
    const obv_store_class cls = r->p->head(r->inner, forgiven(key, buf), out, &own);
    if (cls != OBV_STORE_OK && !(is(SILENT) && cls == OBV_STORE_NOT_FOUND))
        *err = own;
    return cls;
}

struct listing {
    obv_list_fn *fn;
    void *ctx;
    unsigned count;
    bool stopped;
};

static int list_one(void *ctx, const char *key, const obv_object_info *info)
{
    struct listing *l = ctx;
    if (is(LIST_1000) && l->count++ == 1000)
        return 1;
    l->stopped = l->fn(l->ctx, key, info) != 0;
    return l->stopped;
}

static obv_store_class broken_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx,
                                   obv_store_err *err)
{
    struct listing l = {.fn = fn, .ctx = ctx};
    const obv_object_info info = {.size = 4};
    if (is(LIST_TEMPORARIES) && strncmp(prefix, ".o", 2) == 0)
        (void)fn(ctx, ".obvault-tmp/obv.0123", &info);
    return r->p->list(r->inner, prefix, list_one, &l, err);
}

static obv_store_class broken_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                     obv_store_err *err)
{
    uint64_t size;
    if (is(ABSENT_ERROR) && n == 1 && !exists(r, keys[0], &size)) {
        const obv_store_class cls = r->p->remove(r->inner, keys, n, results, err);
        if (cls != OBV_STORE_OK)
            return cls;
        results[0] = OBV_STORE_NOT_FOUND;
        return fail_with(err, OBV_STORE_NOT_FOUND, "it is not there");
    }
    return r->p->remove(r->inner, keys, n, results, err);
}

static obv_store_class broken_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    return r->p->sweep(r->inner, is(SWEEPS_YOUNG) ? 0 : age_s, swept, err);
}

/* clang-format off */
static const obv_option OPTIONS[] = {
    {"root", OBV_OPTION_FOLDER, OBV_OPTION_REQUIRED, "", "Folder that holds the repository."},
};
/* clang-format on */

static const obv_storage_plugin BROKEN_PLUGIN = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
    .abi_minor = OBV_STORAGE_ABI_MINOR + (BROKEN == WRONG_ABI ? 3 : 0),
    .threads = OBV_THREADS_PARALLEL,
    .caps = OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_OBSERVER_READS,
    .name = "broken",
    .version = "1",
    .open = broken_open,
    .close = broken_close,
    .probe = broken_probe,
    .put_begin = broken_put_begin,
    .put_write = broken_put_write,
    .put_commit = broken_put_commit,
    .put_abort = broken_put_abort,
    .append = broken_append,
    .sync = broken_sync,
    .get = broken_get,
    .head = broken_head,
    .list = broken_list,
    .remove = broken_remove,
    .sweep = broken_sweep,
    .options = OPTIONS,
    .option_count = 1,
};

OBV_STORAGE_PLUGIN_EXPORT(BROKEN_PLUGIN)

#ifdef SECOND_SYMBOL
extern const int broken_second;
__attribute__((visibility("default"))) const int broken_second = 2;
#endif
