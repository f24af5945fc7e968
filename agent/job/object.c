#include "job/object.h"

#include <inttypes.h>
#include <stdio.h>

enum { READ_CHUNK = 1 << 20 };

obv_code obv_object_begin(obv_object_put *o, obv_store *s, const char *key, bool if_absent, const obv_cancel *c,
                          obv_err *err)
{
    *o = (obv_object_put){.store = s, .cancel = c};
    if (strlen(key) >= sizeof o->key)
        return obv_fail(err, OBV_E_INVAL, 0, "name of an object is too long: %.200s", key);
    (void)strcpy(o->key, key);
    o->sha = obv_sha256_new();
    return obv_store_put_begin(s, key, if_absent, c, &o->put, err);
}

obv_code obv_object_write(obv_object_put *o, obv_span bytes, obv_err *err)
{
    obv_sha256_update(o->sha, bytes);
    o->size += bytes.len;
    return obv_store_put_write(o->put, bytes, err);
}

obv_code obv_object_commit(obv_object_put *o, obv_stored_object *out, obv_err *err)
{
    obv_stored_object done = {.size = o->size};
    (void)strcpy(done.path, o->key);
    OBV_TRY(obv_sha256_final(o->sha, done.sha256, err));
    const obv_code code = obv_store_put_commit(OBV_STEAL(o->put), err);
    if (code == OBV_E_EXISTS) {
        obv_err why = {0};
        const obv_code same = obv_object_verify(o->store, &done, o->cancel, &why);
        if (same == OBV_E_CORRUPT || same == OBV_E_NOT_FOUND)
            return code;
        if (same != OBV_OK) {
            if (err)
                *err = why;
            return same;
        }
    } else if (code != OBV_OK) {
        return code;
    }
    *out = done;
    return OBV_OK;
}

void obv_object_fini(obv_object_put *o)
{
    obv_store_put_abort(OBV_STEAL(o->put));
    obv_sha256_free(OBV_STEAL(o->sha));
}

obv_code obv_object_verify(obv_store *s, const obv_stored_object *want, const obv_cancel *c, obv_err *err)
{
    obv_store_object there;
    OBV_TRY(obv_store_head(s, want->path, &there, c, err));
    if (there.size != want->size)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s has %" PRIu64 " bytes, %" PRIu64 " were stored", want->path,
                        there.size, want->size);
    OBV_AUTO(obv_freep) uint8_t *buf = malloc(READ_CHUNK);
    OBV_AUTO(obv_sha256_freep) obv_sha256 *h = obv_sha256_new();
    uint8_t sha[OBV_SHA_LEN];
    if (!buf)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify %s: out of memory", want->path);
    for (uint64_t at = 0; at < want->size;) {
        size_t got = 0;
        OBV_TRY(obv_store_get(s, want->path, at, buf, READ_CHUNK, &got, c, err));
        if (got == 0)
            return obv_fail(err, OBV_E_CORRUPT, 0, "%s ends at %" PRIu64 " of %" PRIu64 " bytes", want->path, at,
                            want->size);
        obv_sha256_update(h, obv_span_of(buf, got));
        at += got;
    }
    OBV_TRY(obv_sha256_final(h, sha, err));
    if (memcmp(sha, want->sha256, sizeof sha) != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is not what was stored: its digest is another", want->path);
    return OBV_OK;
}
