#include "base/span.h"

#include <stdlib.h>

void obv_buf_fini(obv_buf *b)
{
    if (!b->fixed)
        free(b->data);
    *b = (obv_buf){.max = b->max};
}

uint8_t *obv_buf_reserve(obv_buf *b, size_t len)
{
    if (b->failed || len > b->max - b->len) {
        b->failed = true;
        return NULL;
    }
    if (len > b->cap - b->len) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap - b->len < len)
            cap = cap > b->max / 2 ? b->max : cap * 2;
        uint8_t *grown = b->fixed ? NULL : realloc(b->data, cap);
        if (!grown) {
            b->failed = true;
            return NULL;
        }
        b->data = grown;
        b->cap = cap;
    }
    uint8_t *at = b->data + b->len;
    b->len += len;
    return at;
}

void obv_buf_append(obv_buf *b, const void *p, size_t len)
{
    uint8_t *at = len ? obv_buf_reserve(b, len) : NULL;
    if (at)
        memcpy(at, p, len);
}

void obv_buf_append_zeros(obv_buf *b, size_t len)
{
    uint8_t *at = len ? obv_buf_reserve(b, len) : NULL;
    if (at)
        memset(at, 0, len);
}

obv_code obv_buf_check(const obv_buf *b, const char *what, obv_err *err)
{
    if (!b->failed)
        return OBV_OK;
    return obv_fail(err, OBV_E_LIMIT, 0, "%s: more than %zu bytes, or out of memory", what, b->max);
}
