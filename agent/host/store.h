/* store.h - the destination as the agent's jobs see it: one open repository behind a plugin, with retries and identity
 *
 * All keys are relative to the repository's root. Every call classifies into obv_code, retries what is retryable within
 * the budget of the store's options, and honours the cancel token. Thread rule: any thread (calls are serialised when
 * the plugin asks for it).
 */
#ifndef OBV_AGENT_HOST_STORE_H
#define OBV_AGENT_HOST_STORE_H

#include "base/cancel.h"
#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>

typedef struct obv_store obv_store;

/** Grammar of keys (obvault/storage_plugin.h): relative, components of [A-Za-z0-9._@=+-] of at most 255 bytes, at most
 *  1024 bytes in all, nothing reserved to plugins. */
bool obv_store_key_is_valid(const char *key);

enum {
    OBV_STORE_CAN_IF_ABSENT = 1u << 0,
    OBV_STORE_CAN_APPEND = 1u << 1,
    OBV_STORE_CAN_REPLACE = 1u << 2,
    OBV_STORE_CAN_SERVER_COPY = 1u << 3,
    OBV_STORE_OBSERVER_READS = 1u << 4,
};

typedef struct obv_store_option {
    const char *key, *value;
} obv_store_option;

typedef struct obv_store_config {
    const char *plugin_path;         /* the .so */
    const obv_store_option *options; /* given to the plugin as they are */
    size_t option_count;
    uint32_t retry_budget_ms; /* per call, 0 = 60,000 */
} obv_store_config;

typedef struct obv_store_object {
    uint64_t size;
    int64_t mtime_us;
} obv_store_object;

/** Loads the plugin (once per process and path) and opens the repository. OBV_E_CONFIG, OBV_E_NOT_FOUND,
 * OBV_E_UNSUPPORTED (ABI), ... */
OBV_CHECK obv_code obv_store_open(const obv_store_config *cfg, obv_store **out, obv_err *err);
void obv_store_close(obv_store *s);
/**
 * Takes over what @p fresh has opened, and consumes it: for a repository whose storage was mounted anew. Calls under
 * way and open puts end where they began. The caller has proven before that fresh is the same repository.
 */
void obv_store_replace(obv_store *s, obv_store *fresh);
uint32_t obv_store_caps(const obv_store *s);
/** Tries capabilities; free_bytes UINT64_MAX if unknown; identity at most cap bytes. */
OBV_CHECK obv_code obv_store_probe(obv_store *s, uint32_t *caps, uint64_t *free_bytes, char *identity, size_t cap,
                                   obv_err *err);

/* One object, streamed. commit OK = durable. commit and abort consume the put. Not retried as a whole: the caller
 * repeats from its source. */
typedef struct obv_store_put obv_store_put;
OBV_CHECK obv_code obv_store_put_begin(obv_store *s, const char *key, bool if_absent, const obv_cancel *c,
                                       obv_store_put **out, obv_err *err);
OBV_CHECK obv_code obv_store_put_write(obv_store_put *p, obv_span bytes, obv_err *err);
OBV_CHECK obv_code obv_store_put_commit(obv_store_put *p, obv_err *err);
void obv_store_put_abort(obv_store_put *p);
void obv_store_put_drop(obv_store_put **p); /* for OBV_AUTO: aborts if not NULL */

/** A whole small object at once, retried. if_absent and already there with the same bytes: OBV_OK (a repeat of ours);
 *  with other bytes: OBV_E_EXISTS. */
OBV_CHECK obv_code obv_store_put_bytes(obv_store *s, const char *key, bool if_absent, obv_span bytes,
                                       const obv_cancel *c, obv_err *err);

OBV_CHECK obv_code obv_store_append(obv_store *s, const char *key, uint64_t at, obv_span bytes, const obv_cancel *c,
                                    obv_err *err);
/** results may be NULL; else one code a key. */
OBV_CHECK obv_code obv_store_sync(obv_store *s, const char *const *keys, size_t n, obv_code *results,
                                  const obv_cancel *c, obv_err *err);

OBV_CHECK obv_code obv_store_get(obv_store *s, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                 const obv_cancel *c, obv_err *err);
/** Whole object of at most max bytes into out (appended). OBV_E_LIMIT if it is larger. */
OBV_CHECK obv_code obv_store_get_all(obv_store *s, const char *key, size_t max, obv_buf *out, const obv_cancel *c,
                                     obv_err *err);
OBV_CHECK obv_code obv_store_head(obv_store *s, const char *key, obv_store_object *out, const obv_cancel *c,
                                  obv_err *err);
typedef int obv_store_list_fn(void *ctx, const char *key, const obv_store_object *o); /* non-0 stops */
OBV_CHECK obv_code obv_store_list(obv_store *s, const char *prefix, obv_store_list_fn *fn, void *ctx,
                                  const obv_cancel *c, obv_err *err);
OBV_CHECK obv_code obv_store_remove(obv_store *s, const char *const *keys, size_t n, obv_code *results,
                                    const obv_cancel *c, obv_err *err);
OBV_CHECK obv_code obv_store_sweep(obv_store *s, uint64_t age_s, uint64_t *swept, const obv_cancel *c, obv_err *err);

#endif
