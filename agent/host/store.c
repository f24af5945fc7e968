/* store.c - calls into a storage plugin: key check, cancel and deadline, serialisation, error classes, retries */
#define OBV_LOG_MOD "store"
#include "host/store.h"

#include "base/log.h"
#include "host/loader.h"
#include "host/retry.h"
#include "host/store_priv.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BUDGET_MS = 60000, COMPARE_CHUNK = 1 << 20 };

_Static_assert((int)OBV_STORE_CAN_IF_ABSENT == (int)OBV_CAP_IF_ABSENT, "the bits are the plugin's");
_Static_assert((int)OBV_STORE_CAN_APPEND == (int)OBV_CAP_APPEND, "the bits are the plugin's");
_Static_assert((int)OBV_STORE_CAN_REPLACE == (int)OBV_CAP_REPLACE, "the bits are the plugin's");
_Static_assert((int)OBV_STORE_CAN_SERVER_COPY == (int)OBV_CAP_SERVER_COPY, "the bits are the plugin's");
_Static_assert((int)OBV_STORE_OBSERVER_READS == (int)OBV_CAP_OBSERVER_READS, "the bits are the plugin's");

/* One opened repository; lives while it is current or somebody uses it. */
struct opened {
    obv_repo_handle *r;
    obv_host host;
    pthread_mutex_t serial; /* held during each call of a SERIAL plugin */
    unsigned users;         /* guarded by the store's lock; the store itself is one */
};

struct obv_store {
    const obv_storage_plugin *p;
    uint32_t budget_ms;
    bool is_serial;
    pthread_mutex_t mu; /* the fields below */
    uint32_t caps;
    struct opened *now;
};

struct obv_store_put {
    obv_store *s;
    struct opened *at;
    obv_put_handle *h;
    const obv_cancel *cancel;
    char key[];
};

/* The plugin's callbacks carry no call, but always come on the calling thread. */
static _Thread_local const obv_cancel *calling;

static void host_log(void *ctx, int level, const char *msg)
{
    static const obv_log_level LEVELS[] = {OBV_LOG_ERROR, OBV_LOG_WARN, OBV_LOG_INFO, OBV_LOG_DEBUG};
    const obv_storage_plugin *p = ctx;
    const size_t n = sizeof LEVELS / sizeof *LEVELS;
    OBV_LOG(level >= 0 && (size_t)level < n ? LEVELS[level] : OBV_LOG_DEBUG, "%s: %s", p->name, msg);
}

static int host_cancelled(void *ctx)
{
    (void)ctx;
    return obv_cancel_requested(calling);
}

static uint64_t host_deadline_ms(void *ctx)
{
    (void)ctx;
    const uint32_t left = obv_cancel_left_ms(calling);
    return left == UINT32_MAX ? UINT64_MAX : left;
}

static int host_credential(void *ctx, const char *name, char *out, size_t cap)
{
    (void)ctx, (void)name, (void)out, (void)cap;
    return -1; /* the file plugin needs none */
}

obv_code obv_store_code_of(obv_store_class cls, int sys)
{
    static const struct {
        obv_store_class cls;
        obv_code code;
    } MAP[] = {
        {OBV_STORE_OK, OBV_OK},
        {OBV_STORE_NOT_FOUND, OBV_E_NOT_FOUND},
        {OBV_STORE_EXISTS, OBV_E_EXISTS},
        {OBV_STORE_CONFLICT, OBV_E_CONFLICT},
        {OBV_STORE_DENIED, OBV_E_DENIED},
        {OBV_STORE_EXPIRED, OBV_E_AUTH},
        {OBV_STORE_NO_SPACE, OBV_E_NO_SPACE},
        {OBV_STORE_READ_ONLY, OBV_E_READ_ONLY},
        {OBV_STORE_CORRUPT, OBV_E_CORRUPT},
        {OBV_STORE_STALE, OBV_E_STALE},
        {OBV_STORE_CONFIG, OBV_E_CONFIG},
        {OBV_STORE_UNSUPPORTED, OBV_E_UNSUPPORTED},
        {OBV_STORE_CANCELLED, OBV_E_CANCELLED},
        {OBV_STORE_IO, OBV_E_IO},
        {OBV_STORE_RETRY, OBV_E_UNAVAILABLE},
        {OBV_STORE_THROTTLED, OBV_E_THROTTLED},
    };
    for (size_t i = 0; i < sizeof MAP / sizeof *MAP; i++)
        if (MAP[i].cls == cls)
            return MAP[i].code;
    return sys ? OBV_E_IO : OBV_E_INTERNAL; /* FATAL, or a class that this ABI version does not know */
}

/* The plugin's answer as ours. A cancelled call says whether the deadline or a request ended it. */
static obv_code judge(const obv_store *s, obv_store_class cls, const obv_store_err *e, obv_err *err)
{
    if (cls == OBV_STORE_OK)
        return OBV_OK;
    if (cls == OBV_STORE_CANCELLED && obv_cancel_requested(calling))
        return obv_cancel_check(calling, "storage", err);
    const obv_code code = obv_store_code_of(cls, e->sys);
    (void)obv_fail(err, code, e->sys, "%s: %.239s%s%.63s%s%.63s", s->p->name, e->msg, e->provider_code[0] ? " " : "",
                   e->provider_code, e->request_id[0] ? " request " : "", e->request_id);
    if (err)
        err->retry_after_ms = e->retry_after_ms;
    if (code == OBV_E_DENIED && err)
        return obv_hint(err, "the destination refuses the user that the agent runs as: check owner and mode there, and "
                             "export options such as root_squash; what is stored stays good");
    return code;
}

static struct opened *hold(obv_store *s)
{
    (void)pthread_mutex_lock(&s->mu);
    struct opened *o = s->now;
    o->users++;
    (void)pthread_mutex_unlock(&s->mu);
    return o;
}

static void let_go(obv_store *s, struct opened *o)
{
    (void)pthread_mutex_lock(&s->mu);
    const bool last = --o->users == 0;
    (void)pthread_mutex_unlock(&s->mu);
    if (!last)
        return;
    if (o->r)
        s->p->close(o->r);
    (void)pthread_mutex_destroy(&o->serial);
    free(o);
}

static void enter(const obv_store *s, struct opened *o, const obv_cancel *c)
{
    if (s->is_serial)
        (void)pthread_mutex_lock(&o->serial);
    calling = c;
}

static void leave(const obv_store *s, struct opened *o)
{
    calling = NULL;
    if (s->is_serial)
        (void)pthread_mutex_unlock(&o->serial);
}

/* One call under lock and cancel token: `call` is an expression of type obv_store_class that may use pe and on. */
#define CALL_AT(s, o, c, call, err)                                                                                    \
    (__extension__({                                                                                                   \
        obv_store_err pe = {0};                                                                                        \
        struct opened *on = (o);                                                                                       \
        enter((s), on, (c));                                                                                           \
        const obv_store_class cls_ = (call);                                                                           \
        const obv_code code_ = judge((s), cls_, &pe, (err));                                                           \
        leave((s), on);                                                                                                \
        code_;                                                                                                         \
    }))

/* The same on what is open now. */
#define CALL(s, c, call, err)                                                                                          \
    (__extension__({                                                                                                   \
        struct opened *held_ = hold(s);                                                                                \
        const obv_code code_c_ = CALL_AT((s), held_, (c), (call), (err));                                              \
        let_go((s), held_);                                                                                            \
        code_c_;                                                                                                       \
    }))

/* An idempotent call, repeated within the store's budget. */
#define CALL_RETRIED(s, c, what, call, err)                                                                            \
    (__extension__({                                                                                                   \
        obv_err own_ = {0};                                                                                            \
        obv_err *e_ = (err) ? (err) : &own_;                                                                           \
        obv_retry again_ = obv_retry_start((s)->budget_ms, (c));                                                       \
        obv_code code_r_;                                                                                              \
        do                                                                                                             \
            code_r_ = CALL((s), (c), (call), e_);                                                                      \
        while (code_r_ != OBV_OK && code_r_ != OBV_E_STALE && obv_retry_again(&again_, (what), e_));                   \
        code_r_ == OBV_OK ? OBV_OK : e_->code;                                                                         \
    }))

static obv_code check_key(const char *key, obv_err *err)
{
    if (obv_store_key_is_valid(key))
        return OBV_OK;
    return obv_fail(err, OBV_E_INVAL, 0, "not a storage key: \"%.200s\"", key);
}

bool obv_store_key_is_valid(const char *key)
{
    static const char OK[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@=+-";
    if (strnlen(key, OBV_KEY_MAX + 1) > OBV_KEY_MAX)
        return false;
    const size_t first = strcspn(key, "/");
    if (first == strlen(OBV_TMP_FOLDER) && strncmp(key, OBV_TMP_FOLDER, first) == 0)
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

obv_code obv_store_open(const obv_store_config *cfg, obv_store **out, obv_err *err)
{
    const obv_storage_plugin *p = NULL;
    OBV_TRY(obv_plugin_load(cfg->plugin_path, &p, err));
    OBV_AUTO(obv_freep) obv_kv *kv = calloc(cfg->option_count + 1, sizeof *kv);
    struct opened *o = calloc(1, sizeof *o);
    obv_store *s = calloc(1, sizeof *s);
    if (!kv || !o || !s) {
        free(o);
        free(s);
        return obv_fail(err, OBV_E_NOMEM, 0, "open the repository: out of memory");
    }
    for (size_t i = 0; i < cfg->option_count; i++)
        kv[i] = (obv_kv){cfg->options[i].key, cfg->options[i].value ? cfg->options[i].value : ""};
    s->p = p;
    s->caps = p->caps;
    s->budget_ms = cfg->retry_budget_ms ? cfg->retry_budget_ms : DEFAULT_BUDGET_MS;
    s->is_serial = p->threads != OBV_THREADS_PARALLEL;
    s->now = o;
    o->users = 1;
    o->host = (obv_host){.size = sizeof o->host,
                         .ctx = (void *)(uintptr_t)p,
                         .log = host_log,
                         .cancelled = host_cancelled,
                         .deadline_ms = host_deadline_ms,
                         .credential = host_credential};
    (void)pthread_mutex_init(&s->mu, NULL);
    (void)pthread_mutex_init(&o->serial, NULL);
    const obv_code code = CALL(s, NULL, p->open(&o->host, kv, cfg->option_count, &o->r, &pe), err);
    if (code != OBV_OK) {
        obv_store_close(s);
        return code;
    }
    *out = s;
    return OBV_OK;
}

void obv_store_close(obv_store *s)
{
    if (!s)
        return;
    let_go(s, s->now);
    (void)pthread_mutex_destroy(&s->mu);
    free(s);
}

void obv_store_replace(obv_store *s, obv_store *fresh)
{
    obv_assert(s->p == fresh->p);
    (void)pthread_mutex_lock(&s->mu);
    struct opened *old = s->now;
    s->now = fresh->now;
    s->caps = fresh->caps;
    (void)pthread_mutex_unlock(&s->mu);
    let_go(s, old);
    (void)pthread_mutex_destroy(&fresh->mu);
    free(fresh);
}

uint32_t obv_store_caps(const obv_store *s) { return s->caps; }

obv_code obv_store_probe(obv_store *s, uint32_t *caps, uint64_t *free_bytes, char *identity, size_t cap, obv_err *err)
{
    obv_probe_result res = {0};
    OBV_TRY(CALL_RETRIED(s, NULL, "probe", s->p->probe(on->r, &res, &pe), err));
    s->caps = res.caps;
    if (caps)
        *caps = res.caps;
    if (free_bytes)
        *free_bytes = res.free_bytes;
    if (identity && cap)
        (void)snprintf(identity, cap, "%.159s", res.identity);
    return OBV_OK;
}

obv_code obv_store_put_begin(obv_store *s, const char *key, bool if_absent, const obv_cancel *c, obv_store_put **out,
                             obv_err *err)
{
    OBV_TRY(check_key(key, err));
    OBV_TRY(obv_cancel_check(c, key, err));
    const size_t len = strlen(key);
    obv_store_put *p = calloc(1, sizeof *p + len + 1);
    if (!p)
        return obv_fail(err, OBV_E_NOMEM, 0, "put %s: out of memory", key);
    p->s = s;
    p->cancel = c;
    memcpy(p->key, key, len);
    const obv_put_opts opts = {.size = sizeof opts, .if_absent = if_absent};
    obv_err own = {0};
    obv_err *e = err ? err : &own;
    obv_retry again = obv_retry_start(s->budget_ms, c);
    obv_code code;
    do {
        p->at = hold(s);
        code = CALL_AT(s, p->at, c, s->p->put_begin(on->r, key, &opts, &p->h, &pe), e);
        if (code != OBV_OK)
            let_go(s, p->at);
    } while (code != OBV_OK && code != OBV_E_STALE && obv_retry_again(&again, key, e));
    if (code != OBV_OK) {
        free(p);
        return e->code;
    }
    *out = p;
    return OBV_OK;
}

obv_code obv_store_put_write(obv_store_put *p, obv_span bytes, obv_err *err)
{
    OBV_TRY(obv_cancel_check(p->cancel, p->key, err));
    return CALL_AT(p->s, p->at, p->cancel, p->s->p->put_write(p->h, bytes.p, bytes.len, &pe), err);
}

obv_code obv_store_put_commit(obv_store_put *p, obv_err *err)
{
    obv_object_info info = {0};
    const obv_code code = CALL_AT(p->s, p->at, p->cancel, p->s->p->put_commit(p->h, &info, &pe), err);
    let_go(p->s, p->at);
    free(p);
    return code;
}

void obv_store_put_abort(obv_store_put *p)
{
    if (!p)
        return;
    enter(p->s, p->at, NULL);
    p->s->p->put_abort(p->h);
    leave(p->s, p->at);
    let_go(p->s, p->at);
    free(p);
}

void obv_store_put_drop(obv_store_put **p) { obv_store_put_abort(OBV_STEAL(*p)); }

static obv_code put_once(obv_store *s, const char *key, bool if_absent, obv_span bytes, const obv_cancel *c,
                         obv_err *err)
{
    OBV_AUTO(obv_store_put_drop) obv_store_put *put = NULL;
    OBV_TRY(obv_store_put_begin(s, key, if_absent, c, &put, err));
    OBV_TRY(obv_store_put_write(put, bytes, err));
    return obv_store_put_commit(OBV_STEAL(put), err);
}

/* True when the object holds exactly these bytes. */
static obv_code same_bytes(obv_store *s, const char *key, obv_span bytes, const obv_cancel *c, bool *same, obv_err *err)
{
    obv_store_object there;
    *same = false;
    OBV_TRY(obv_store_head(s, key, &there, c, err));
    if (there.size != bytes.len)
        return OBV_OK;
    OBV_AUTO(obv_freep) uint8_t *buf = malloc(COMPARE_CHUNK);
    if (!buf)
        return obv_fail(err, OBV_E_NOMEM, 0, "compare %s: out of memory", key);
    for (size_t at = 0; at < bytes.len;) {
        size_t got = 0;
        OBV_TRY(obv_store_get(s, key, at, buf, COMPARE_CHUNK, &got, c, err));
        if (got == 0 || got > bytes.len - at || memcmp(buf, bytes.p + at, got) != 0)
            return OBV_OK;
        at += got;
    }
    *same = true;
    return OBV_OK;
}

obv_code obv_store_put_bytes(obv_store *s, const char *key, bool if_absent, obv_span bytes, const obv_cancel *c,
                             obv_err *err)
{
    obv_err own = {0};
    obv_err *e = err ? err : &own;
    obv_retry again = obv_retry_start(s->budget_ms, c);
    obv_code code;
    do
        code = put_once(s, key, if_absent, bytes, c, e);
    while (code != OBV_OK && code != OBV_E_STALE && obv_retry_again(&again, key, e));
    if (code != OBV_E_EXISTS)
        return code == OBV_OK ? OBV_OK : e->code;
    bool same = false;
    obv_err cause = {0};
    if (same_bytes(s, key, bytes, c, &same, &cause) == OBV_OK && same)
        return OBV_OK;
    return OBV_E_EXISTS;
}

obv_code obv_store_append(obv_store *s, const char *key, uint64_t at, obv_span bytes, const obv_cancel *c, obv_err *err)
{
    OBV_TRY(check_key(key, err));
    OBV_TRY(obv_cancel_check(c, key, err));
    if (!s->p->append)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "append %s: %s cannot", key, s->p->name);
    /* not repeated: after a failure the object's length is unknown */
    return CALL(s, c, s->p->append(on->r, key, at, bytes.p, bytes.len, &pe), err);
}

obv_code obv_store_sync(obv_store *s, const char *const *keys, size_t n, obv_code *results, const obv_cancel *c,
                        obv_err *err)
{
    for (size_t i = 0; i < n; i++)
        OBV_TRY(check_key(keys[i], err));
    if (!s->p->sync)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "sync: %s cannot", s->p->name);
    OBV_AUTO(obv_freep) obv_store_class *each = calloc(n + 1, sizeof *each);
    if (!each)
        return obv_fail(err, OBV_E_NOMEM, 0, "sync: out of memory");
    for (size_t i = 0; i < n; i++)
        each[i] = OBV_STORE_FATAL; /* for a plugin that stops early */
    /* not repeated: a failed sync is final */
    const obv_code code = CALL(s, c, s->p->sync(on->r, keys, n, each, &pe), err);
    for (size_t i = 0; results && i < n; i++)
        results[i] = code == OBV_OK ? OBV_OK : obv_store_code_of(each[i], 0);
    return code;
}

obv_code obv_store_get(obv_store *s, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                       const obv_cancel *c, obv_err *err)
{
    OBV_TRY(check_key(key, err));
    OBV_TRY(obv_cancel_check(c, key, err));
    size_t n = 0;
    OBV_TRY(CALL_RETRIED(s, c, key, s->p->get(on->r, key, off, buf, len, &n, &pe), err));
    if (n > len)
        return obv_fail(err, OBV_E_INTERNAL, 0, "get %s: %s says %zu bytes of %zu", key, s->p->name, n, len);
    *got = n;
    return OBV_OK;
}

obv_code obv_store_get_all(obv_store *s, const char *key, size_t max, obv_buf *out, const obv_cancel *c, obv_err *err)
{
    obv_store_object o;
    OBV_TRY(obv_store_head(s, key, &o, c, err));
    if (o.size > max)
        return obv_fail(err, OBV_E_LIMIT, 0, "%s has %llu bytes, at most %zu are read", key, (unsigned long long)o.size,
                        max);
    size_t got = 0;
    uint8_t *to = obv_buf_reserve(out, (size_t)o.size);
    OBV_TRY(obv_buf_check(out, key, err));
    if (o.size == 0)
        return OBV_OK;
    OBV_TRY(obv_store_get(s, key, 0, to, (size_t)o.size, &got, c, err));
    if (got != o.size)
        return obv_fail(err, OBV_E_CONFLICT, 0, "%s shrank while it was read", key);
    return OBV_OK;
}

obv_code obv_store_head(obv_store *s, const char *key, obv_store_object *out, const obv_cancel *c, obv_err *err)
{
    OBV_TRY(check_key(key, err));
    OBV_TRY(obv_cancel_check(c, key, err));
    obv_object_info info = {0};
    OBV_TRY(CALL_RETRIED(s, c, key, s->p->head(on->r, key, &info, &pe), err));
    *out = (obv_store_object){.size = info.size, .mtime_us = info.mtime_us};
    return OBV_OK;
}

struct list_ctx {
    obv_store_list_fn *fn;
    void *ctx;
};

static int list_one(void *ctx, const char *key, const obv_object_info *info)
{
    const struct list_ctx *l = ctx;
    const obv_store_object o = {.size = info->size, .mtime_us = info->mtime_us};
    return l->fn(l->ctx, key, &o);
}

obv_code obv_store_list(obv_store *s, const char *prefix, obv_store_list_fn *fn, void *ctx, const obv_cancel *c,
                        obv_err *err)
{
    struct list_ctx l = {fn, ctx};
    /* not repeated: the callback has seen a part */
    return CALL(s, c, s->p->list(on->r, prefix, list_one, &l, &pe), err);
}

obv_code obv_store_remove(obv_store *s, const char *const *keys, size_t n, obv_code *results, const obv_cancel *c,
                          obv_err *err)
{
    for (size_t i = 0; i < n; i++)
        OBV_TRY(check_key(keys[i], err));
    OBV_AUTO(obv_freep) obv_store_class *each = calloc(n + 1, sizeof *each);
    if (!each)
        return obv_fail(err, OBV_E_NOMEM, 0, "remove: out of memory");
    const obv_code code = CALL_RETRIED(s, c, "remove", s->p->remove(on->r, keys, n, each, &pe), err);
    for (size_t i = 0; results && i < n; i++)
        results[i] = obv_store_code_of(each[i], 0);
    return code;
}

obv_code obv_store_sweep(obv_store *s, uint64_t age_s, uint64_t *swept, const obv_cancel *c, obv_err *err)
{
    return CALL_RETRIED(s, c, "sweep", s->p->sweep(on->r, age_s, swept, &pe), err);
}
