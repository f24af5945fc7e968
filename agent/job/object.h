/* object.h - one object on its way to the store: streamed, hashed, put only if absent, and proven when it was there */
#ifndef OBV_AGENT_JOB_OBJECT_H
#define OBV_AGENT_JOB_OBJECT_H

#include "base/sha256.h"
#include "host/store.h"
#include "job/task.h"

typedef struct obv_object_put {
    obv_store *store;
    const obv_cancel *cancel;
    obv_store_put *put;
    obv_sha256 *sha;
    uint64_t size;
    char key[OBV_PATH_MAX];
} obv_object_put;

/** @param if_absent false: replaces. End with commit, or with fini alone (abort). */
OBV_CHECK obv_code obv_object_begin(obv_object_put *o, obv_store *s, const char *key, bool if_absent,
                                    const obv_cancel *c, obv_err *err);
OBV_CHECK obv_code obv_object_write(obv_object_put *o, obv_span bytes, obv_err *err);
/**
 * Makes it durable and fills @p out. An object of that name with the same bytes counts as ours, stored by an earlier
 * attempt that could not note it.
 * @return OBV_E_EXISTS: another one is there; nothing was changed
 */
OBV_CHECK obv_code obv_object_commit(obv_object_put *o, obv_stored_object *out, obv_err *err);
void obv_object_fini(obv_object_put *o);

/** Reads the object again. OBV_E_NOT_FOUND; OBV_E_CORRUPT: size or digest is another. */
OBV_CHECK obv_code obv_object_verify(obv_store *s, const obv_stored_object *want, const obv_cancel *c, obv_err *err);

#endif
