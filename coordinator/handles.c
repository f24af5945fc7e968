#include "handles.h"

#include <stdlib.h>
#include <string.h>

typedef struct handles {
    const obv_coordinator_config *cfg;
    obv_cluster *source;
    obv_cluster **targets; /* one a configured target */
    obv_cluster *pins[OBV_PINS_MAX];
} handles;

static obv_code open_cluster(char **endpoints, uint32_t n, const char *user, const char *password_file,
                             obv_cluster **out, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_endpoint *e = calloc(n, sizeof *e);
    if (!e)
        return obv_fail(err, OBV_E_NOMEM, 0, "endpoints");
    for (uint32_t i = 0; i < n; i++)
        OBV_TRY(obv_endpoint_parse(endpoints[i], &e[i], err));
    return obv_sql_cluster_new(e, n, user, password_file, out, err);
}

static obv_code source(void *ctx, obv_cluster **out, obv_err *err)
{
    handles *h = ctx;
    if (!h->source)
        OBV_TRY(open_cluster(h->cfg->source.endpoints, h->cfg->source.endpoint_count, h->cfg->source.user,
                             h->cfg->source.password_file, &h->source, err));
    *out = h->source;
    return OBV_OK;
}

static obv_code target(void *ctx, const char *name, obv_cluster **out, obv_err *err)
{
    handles *h = ctx;
    for (uint32_t i = 0; i < h->cfg->target_count; i++) {
        const obv_cluster_config *t = &h->cfg->targets[i];
        if (strcmp(t->name, name) != 0)
            continue;
        if (!h->targets[i])
            OBV_TRY(open_cluster(t->endpoints, t->endpoint_count, t->user, t->password_file, &h->targets[i], err));
        *out = h->targets[i];
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_INVAL, 0, "the configuration has no target %.60s", name);
}

static obv_code pin(void *ctx, const char *tenant, obv_cluster **out, obv_err *err)
{
    handles *h = ctx;
    for (uint32_t i = 0; i < h->cfg->pin_count; i++) {
        const obv_pin_config *p = &h->cfg->pins[i];
        if (strcmp(p->tenant, tenant) != 0)
            continue;
        if (!h->pins[i])
            OBV_TRY(open_cluster(h->cfg->source.endpoints, h->cfg->source.endpoint_count, p->user, p->password_file,
                                 &h->pins[i], err));
        *out = h->pins[i];
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "the configuration has no pin of tenant %.80s", tenant);
}

obv_code obv_handles_new(void *config, obv_clusters *out, obv_err *err)
{
    const obv_coordinator_config *cfg = config;
    handles *h = calloc(1, sizeof *h);
    obv_cluster **targets = calloc(cfg->target_count + 1, sizeof *targets);
    if (!h || !targets) {
        free(h);
        free(targets);
        return obv_fail(err, OBV_E_NOMEM, 0, "cluster handles");
    }
    *h = (handles){.cfg = cfg, .targets = targets};
    *out = (obv_clusters){.source = source, .target = target, .pin = pin, .ctx = h};
    return OBV_OK;
}

void obv_handles_free(void *p)
{
    handles *h = p;
    if (!h)
        return;
    if (h->source)
        h->source->ops->close(h->source);
    for (uint32_t i = 0; i < h->cfg->target_count; i++)
        if (h->targets[i])
            h->targets[i]->ops->close(h->targets[i]);
    for (uint32_t i = 0; i < h->cfg->pin_count; i++)
        if (h->pins[i])
            h->pins[i]->ops->close(h->pins[i]);
    free(h->targets);
    free(h);
}
