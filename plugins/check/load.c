/* load.c - the plugin's shared object, its table, and repositories opened through it */
#include "kit.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const obv_storage_plugin *kit_load(const char *so, char *why, size_t cap)
{
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib) {
        (void)snprintf(why, cap, "%.380s", dlerror());
        return NULL;
    }
    const obv_storage_plugin *(*entry)(void) = NULL;
    *(void **)&entry = dlsym(lib, OBV_STORAGE_SYMBOL);
    if (!entry) {
        (void)snprintf(why, cap, "no symbol %s: it was built for another storage ABI than %u.%u", OBV_STORAGE_SYMBOL,
                       OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
        return NULL;
    }
    const obv_storage_plugin *p = entry();
    if (!p) {
        (void)snprintf(why, cap, "%s() returns NULL", OBV_STORAGE_SYMBOL);
        return NULL;
    }
    if (p->abi_major != OBV_STORAGE_ABI_MAJOR || p->abi_minor != OBV_STORAGE_ABI_MINOR) {
        (void)snprintf(why, cap, "it speaks storage ABI %u.%u, this kit %u.%u", p->abi_major, p->abi_minor,
                       OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
        return NULL;
    }
    if (p->size < sizeof *p) {
        (void)snprintf(why, cap, "its table has %u bytes, storage ABI %u.%u has %zu", p->size, p->abi_major,
                       p->abi_minor, sizeof *p);
        return NULL;
    }
    return p;
}

/* ---- the host that the plugin sees */

/* The value of a credential, terminated; -1 if there is none. */
static int read_credential(const struct kit_config *cfg, size_t i, char *out, size_t cap)
{
    const int fd = open(cfg->credentials[i].value, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 && cap > 0 ? read(fd, out, cap - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return -1;
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

bool kit_tells_secret(const struct kit *k, const char *text)
{
    char secret[4096];
    for (size_t i = 0; i < k->cfg->credential_count; i++)
        if (read_credential(k->cfg, i, secret, sizeof secret) == 0 && strlen(secret) >= 4 && strstr(text, secret))
            return true;
    return false;
}

static void host_log(void *ctx, int level, const char *msg)
{
    const struct kit_repo *r = ctx;
    if (level < OBV_HOST_LOG_ERROR || level > OBV_HOST_LOG_DEBUG)
        kit_note(r->k, "log called with level %d", level);
    if (!msg)
        kit_note(r->k, "log called without a text");
    else if (kit_tells_secret(r->k, msg))
        kit_note(r->k, "a credential was logged");
}

static uint64_t host_deadline_ms(void *ctx)
{
    const int64_t at = atomic_load(&((struct kit_repo *)ctx)->deadline_ns);
    const int64_t left = at - kit_now_ns();
    return at == 0 ? UINT64_MAX : left <= 0 ? 0 : (uint64_t)left / 1000000;
}

static int host_cancelled(void *ctx)
{
    struct kit_repo *r = ctx;
    (void)atomic_fetch_add(&r->polls, 1);
    if (host_deadline_ms(ctx) == 0)
        return 1;
    long left = atomic_load(&r->cancel_after);
    while (left > 0 && !atomic_compare_exchange_weak(&r->cancel_after, &left, left - 1))
        ;
    return left == 0;
}

static int host_credential(void *ctx, const char *name, char *out, size_t cap)
{
    const struct kit_config *cfg = ((struct kit_repo *)ctx)->k->cfg;
    for (size_t i = 0; i < cfg->credential_count; i++) {
        if (strcmp(cfg->credentials[i].key, name) == 0)
            return read_credential(cfg, i, out, cap);
    }
    return -1;
}

obv_store_class kit_open_with(struct kit *k, const obv_kv *kv, size_t n, struct kit_repo **out)
{
    struct kit_repo *r = kit_alloc(sizeof *r);
    *r = (struct kit_repo){.k = k, .cancel_after = -1};
    (void)pthread_mutex_init(&r->mu, NULL);
    r->host.host = (obv_host){.size = sizeof r->host,
                              .ctx = r,
                              .log = host_log,
                              .cancelled = host_cancelled,
                              .deadline_ms = host_deadline_ms,
                              .credential = host_credential};
    memset(r->host.later, 0xA5, sizeof r->host.later);
    const obv_store_class cls = KIT_CALL(r, "open", k->p->open(&r->host.host, kv, n, &r->r, err));
    if (cls != OBV_STORE_OK) {
        if (r->r)
            kit_note(k, "open failed but wrote its result");
        free(r);
        return cls;
    }
    *out = r;
    return OBV_STORE_OK;
}

struct kit_repo *kit_open(struct kit *k)
{
    struct kit_repo *r = NULL;
    need_ok(kit_open_with(k, k->cfg->options, k->cfg->option_count, &r), "open with the given options");
    need(r->r, "open returned OK and no repository");
    return r;
}

void kit_close(struct kit_repo *r)
{
    kit_lock(r);
    r->k->p->close(r->r);
    kit_unlock(r);
    (void)pthread_mutex_destroy(&r->mu);
    free(r);
}

static void inspect_options(const struct kit *k, struct kit_info *out)
{
    out->option_count = k->p->options ? k->p->option_count : 0;
    if (out->option_count > KIT_OPTIONS_MAX)
        out->option_count = KIT_OPTIONS_MAX;
    const char *folder = k->cfg->folder_option;
    for (uint32_t i = 0; i < out->option_count; i++) {
        const obv_option *o = &k->p->options[i];
        (void)snprintf(out->options[i].name, sizeof out->options[i].name, "%s", o->name ? o->name : "");
        (void)snprintf(out->options[i].fallback, sizeof out->options[i].fallback, "%s", o->fallback ? o->fallback : "");
        (void)snprintf(out->options[i].doc, sizeof out->options[i].doc, "%s", o->doc ? o->doc : "");
        out->options[i].kind = o->kind;
        out->options[i].flags = o->flags;
        if (!folder && o->kind == OBV_OPTION_FOLDER)
            folder = out->options[i].name;
    }
    for (size_t i = 0; folder && i < k->cfg->option_count; i++) {
        if (strcmp(k->cfg->options[i].key, folder) == 0) {
            (void)snprintf(out->folder, sizeof out->folder, "%s", k->cfg->options[i].value);
            (void)snprintf(out->folder_option, sizeof out->folder_option, "%s", folder);
        }
    }
}

void kit_inspect(struct kit *k, struct kit_info *out)
{
    k->p = kit_load(k->cfg->so, out->trouble, sizeof out->trouble);
    if (!k->p)
        return;
    out->loaded = true;
    (void)snprintf(out->name, sizeof out->name, "%s", k->p->name ? k->p->name : "");
    (void)snprintf(out->version, sizeof out->version, "%s", k->p->version ? k->p->version : "");
    out->major = k->p->abi_major;
    out->minor = k->p->abi_minor;
    out->threads = k->p->threads;
    out->caps = k->p->caps;
    inspect_options(k, out);
    struct kit_repo *r = NULL;
    if (kit_open_with(k, k->cfg->options, k->cfg->option_count, &r) != OBV_STORE_OK) {
        (void)snprintf(out->trouble, sizeof out->trouble, "it cannot be opened: %s", kit_last_msg());
        return;
    }
    obv_probe_result probe = {0};
    if (kit_probe(r, &probe) != OBV_STORE_OK) {
        (void)snprintf(out->trouble, sizeof out->trouble, "it cannot be probed: %s", kit_last_msg());
        return;
    }
    out->probed = probe.caps & k->p->caps;
    (void)snprintf(out->identity, sizeof out->identity, "%.159s", probe.identity);
    out->opened = true;
    kit_close(r);
}
