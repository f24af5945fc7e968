#include "host/loader.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { PLUGINS_MAX = 16 };

/* Plugins stay mapped for good (thread-local destructors of their libraries may run late), so their tables may too. */
static struct {
    pthread_mutex_t mu;
    struct {
        char path[512];
        obv_storage_plugin table;
    } loaded[PLUGINS_MAX];
    size_t count;
} g = {.mu = PTHREAD_MUTEX_INITIALIZER};

static obv_code check_table(const char *path, const obv_storage_plugin *p, obv_err *err)
{
    if (!p)
        return obv_fail(err, OBV_E_CONFIG, 0, "plugin %s: its table is missing", path);
    if (p->abi_major != OBV_STORAGE_ABI_MAJOR || (OBV_STORAGE_ABI_MAJOR == 0 && p->abi_minor != OBV_STORAGE_ABI_MINOR))
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "plugin %s speaks storage ABI %u.%u, this agent %u.%u", path,
                        p->abi_major, p->abi_minor, OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
    return OBV_OK;
}

static obv_code check_functions(const char *path, const obv_storage_plugin *p, obv_err *err)
{
    const struct {
        const char *name;
        bool there;
    } REQUIRED[] = {
        {"open", p->open},
        {"close", p->close},
        {"probe", p->probe},
        {"put_begin", p->put_begin},
        {"put_write", p->put_write},
        {"put_commit", p->put_commit},
        {"put_abort", p->put_abort},
        {"get", p->get},
        {"head", p->head},
        {"list", p->list},
        {"remove", p->remove},
        {"sweep", p->sweep},
        {"name", p->name},
        {"version", p->version},
        {"append", p->append || !(p->caps & OBV_CAP_APPEND)},
        {"sync", p->sync || !(p->caps & OBV_CAP_APPEND)},
        {"copy", p->copy || !(p->caps & OBV_CAP_SERVER_COPY)},
    };
    for (size_t i = 0; i < sizeof REQUIRED / sizeof *REQUIRED; i++)
        if (!REQUIRED[i].there)
            return obv_fail(err, OBV_E_CONFIG, 0, "plugin %s has no %s", path, REQUIRED[i].name);
    return OBV_OK;
}

static obv_code load(const char *path, obv_storage_plugin *table, obv_err *err)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so)
        return obv_fail(err, OBV_E_CONFIG, 0, "plugin %s: %s", path, dlerror());
    const obv_storage_plugin *(*entry)(void) = NULL;
    *(void **)&entry = dlsym(so, OBV_STORAGE_SYMBOL);
    if (!entry)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0,
                        "plugin %s has no %s: it was built for another storage ABI than %u.%u", path,
                        OBV_STORAGE_SYMBOL, OBV_STORAGE_ABI_MAJOR, OBV_STORAGE_ABI_MINOR);
    const obv_storage_plugin *theirs = entry();
    OBV_TRY(check_table(path, theirs, err));
    *table = (obv_storage_plugin){0};
    memcpy(table, theirs, theirs->size < sizeof *table ? theirs->size : sizeof *table);
    return check_functions(path, table, err);
}

static obv_code load_locked(const char *path, const obv_storage_plugin **out, obv_err *err)
{
    for (size_t i = 0; i < g.count; i++) {
        if (strcmp(g.loaded[i].path, path) == 0) {
            *out = &g.loaded[i].table;
            return OBV_OK;
        }
    }
    if (g.count == PLUGINS_MAX || strlen(path) >= sizeof g.loaded[0].path)
        return obv_fail(err, OBV_E_LIMIT, 0, "plugin %s: too many plugins or too long a path", path);
    OBV_TRY(load(path, &g.loaded[g.count].table, err));
    (void)strcpy(g.loaded[g.count].path, path);
    *out = &g.loaded[g.count++].table;
    return OBV_OK;
}

obv_code obv_plugin_load(const char *path, const obv_storage_plugin **out, obv_err *err)
{
    (void)pthread_mutex_lock(&g.mu);
    const obv_code code = load_locked(path, out, err);
    (void)pthread_mutex_unlock(&g.mu);
    return code;
}
