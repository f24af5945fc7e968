/* span.h - borrowed bytes to parse and a growing, capped buffer to emit into */
#ifndef OBV_BASE_SPAN_H
#define OBV_BASE_SPAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view; never owns. */
typedef struct obv_span {
    const uint8_t *p;
    size_t len;
} obv_span;

static inline obv_span obv_span_of(const void *p, size_t len) { return (obv_span){(const uint8_t *)p, len}; }
static inline bool obv_span_equal(obv_span a, obv_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/*
 * Append-only bytes. With data == NULL and cap == 0 it grows on the heap up to max; with a fixed array (obv_buf_fixed)
 * it never allocates. The first failed append sticks: later appends do nothing, so an emitter checks once at its end.
 */
typedef struct obv_buf {
    uint8_t *data;
    size_t len, cap;
    size_t max;  /* hard limit in bytes */
    bool fixed;  /* data is the caller's array */
    bool failed; /* an append did not fit or memory ran out */
} obv_buf;

static inline obv_buf obv_buf_heap(size_t max) { return (obv_buf){.max = max}; }
static inline obv_buf obv_buf_fixed(void *array, size_t cap)
{
    return (obv_buf){.data = (uint8_t *)array, .cap = cap, .max = cap, .fixed = true};
}
void obv_buf_fini(obv_buf *b);
void obv_buf_append(obv_buf *b, const void *p, size_t len);
void obv_buf_append_zeros(obv_buf *b, size_t len);
/** Makes room for len bytes and returns where they go; NULL (and failed) if they do not fit. */
uint8_t *obv_buf_reserve(obv_buf *b, size_t len);
/** OBV_OK, or OBV_E_LIMIT naming @p what when an append failed. */
OBV_CHECK obv_code obv_buf_check(const obv_buf *b, const char *what, obv_err *err);
static inline obv_span obv_buf_span(const obv_buf *b) { return (obv_span){b->data, b->len}; }

#endif
