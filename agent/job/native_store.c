#include "job/native_store.h"

static obv_code get(void *ctx, const char *key, uint64_t at, void *buf, size_t len, size_t *got, obv_err *err)
{
    const obv_native_store *n = ctx;
    return obv_store_get(n->store, key, at, buf, len, got, n->cancel, err);
}

typedef struct listing {
    obv_native_list_fn *fn;
    void *ctx;
} listing;

static int on_key(void *ctx, const char *key, const obv_store_object *o)
{
    const listing *l = ctx;
    return l->fn(l->ctx, key, o->size);
}

static obv_code list(void *ctx, const char *prefix, obv_native_list_fn *fn, void *fn_ctx, obv_err *err)
{
    const obv_native_store *n = ctx;
    listing l = {fn, fn_ctx};
    return obv_store_list(n->store, prefix, on_key, &l, n->cancel, err);
}

void obv_native_store_init(obv_native_store *n, obv_store *store, const obv_cancel *cancel)
{
    *n = (obv_native_store){.store = store, .cancel = cancel};
    n->io = (obv_native_io){.ctx = n, .get = get, .list = list};
}
