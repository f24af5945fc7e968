/* map.h - hash map from bytes to a pointer; not safe for several threads without a lock */
#ifndef OBV_BASE_MAP_H
#define OBV_BASE_MAP_H

#include "base/err.h"
#include "base/span.h"

typedef struct obv_map obv_map;

/** NULL when out of memory. */
obv_map *obv_map_new(void);
/** @param free_value called for each value; may be NULL */
void obv_map_free(obv_map *m, void (*free_value)(void *value));
size_t obv_map_count(const obv_map *m);
/**
 * Sets the value (not NULL) of a key, which is copied. *old (may be NULL) receives the value it replaces, else NULL.
 * @return OBV_OK; OBV_E_NOMEM: nothing changed
 */
OBV_CHECK obv_code obv_map_put(obv_map *m, obv_span key, void *value, void **old, obv_err *err);
/** NULL if absent. */
void *obv_map_get(const obv_map *m, obv_span key);
/** The removed value, NULL if absent. */
void *obv_map_remove(obv_map *m, obv_span key);
/**
 * Walks in no order: start with *at = 0, false at the end. No put or remove in between. key and value may be NULL.
 */
bool obv_map_next(const obv_map *m, size_t *at, obv_span *key, void **value);

static inline obv_span obv_span_str(const char *text) { return obv_span_of(text, strlen(text)); }

#endif
