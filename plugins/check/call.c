/* call.c - calls into the plugin: one at a time when it says SERIAL, with the small print of error records watched */
#include "kit.h"

#include <ctype.h>
#include <stdlib.h>

static _Thread_local obv_store_err *record;
static _Thread_local char last_msg[sizeof record->msg];

const char *kit_last_msg(void) { return last_msg; }

void kit_lock(struct kit_repo *r)
{
    if (r->k->p->threads != OBV_THREADS_PARALLEL)
        (void)pthread_mutex_lock(&r->mu);
}

void kit_unlock(struct kit_repo *r)
{
    if (r->k->p->threads != OBV_THREADS_PARALLEL)
        (void)pthread_mutex_unlock(&r->mu);
}

obv_store_err *kit_err_fresh(void)
{
    if (!record)
        record = kit_alloc(sizeof *record);
    memset(record, 0xA5, sizeof *record);
    return record;
}

static bool untouched(const obv_store_err *err)
{
    const uint8_t *p = (const uint8_t *)err;
    for (size_t i = 0; i < sizeof *err; i++)
        if (p[i] != 0xA5)
            return false;
    return true;
}

static bool terminated(const char *s, size_t cap) { return memchr(s, '\0', cap) != NULL; }

static bool one_line(const char *s)
{
    for (; *s; s++)
        if (iscntrl((unsigned char)*s))
            return false;
    return true;
}

static bool known(obv_store_class cls)
{
    return ((int)cls > OBV_STORE_OK && cls <= OBV_STORE_FATAL) || cls == OBV_STORE_RETRY || cls == OBV_STORE_THROTTLED;
}

static void judge_failure(const struct kit *k, const char *call, obv_store_class cls, const obv_store_err *err)
{
    if (!known(cls))
        kit_note(k, "%s returned class %d, which storage_plugin.h does not have", call, (int)cls);
    if (untouched(err)) {
        kit_note(k, "%s returned %s and left err as it was", call, kit_class_name(cls));
        return;
    }
    if (err->cls != cls)
        kit_note(k, "%s returned %s but err->cls is %d", call, kit_class_name(cls), (int)err->cls);
    if (!terminated(err->msg, sizeof err->msg) || !terminated(err->provider_code, sizeof err->provider_code) ||
        !terminated(err->request_id, sizeof err->request_id)) {
        kit_note(k, "%s returned %s with a text in err that has no end", call, kit_class_name(cls));
        return;
    }
    if (err->msg[0] == '\0' || !one_line(err->msg))
        kit_note(k, "%s returned %s but err->msg is %s", call, kit_class_name(cls),
                 err->msg[0] ? "no single line" : "empty");
    if (cls != OBV_STORE_THROTTLED && err->retry_after_ms != 0)
        kit_note(k, "%s returned %s with retry_after_ms %u", call, kit_class_name(cls), err->retry_after_ms);
    if (kit_tells_secret(k, err->msg))
        kit_note(k, "%s returned a credential in err->msg", call);
    memcpy(last_msg, err->msg, sizeof last_msg);
}

obv_store_class kit_err_judge(const struct kit *k, const char *call, obv_store_class cls, const obv_store_err *err)
{
    last_msg[0] = '\0';
    if (cls != OBV_STORE_OK)
        judge_failure(k, call, cls, err);
    else if (!untouched(err))
        kit_note(k, "%s returned OK but wrote err", call);
    return cls;
}

obv_store_class kit_probe(struct kit_repo *r, obv_probe_result *out)
{
    return KIT_CALL(r, "probe", r->k->p->probe(r->r, out, err));
}

obv_store_class kit_put_begin(struct kit_repo *r, const char *key, bool if_absent, struct kit_put *out)
{
    const struct {
        obv_put_opts opts;
        uint8_t later[32]; /* a newer host's struct is longer */
    } opts = {.opts = {.size = sizeof opts, .if_absent = if_absent}, .later = {0xA5, 0xA5, 0xA5}};
    *out = (struct kit_put){.r = r};
    const obv_store_class cls = KIT_CALL(r, "put_begin", r->k->p->put_begin(r->r, key, &opts.opts, &out->h, err));
    if (cls != OBV_STORE_OK && out->h)
        kit_note(r->k, "put_begin failed but wrote its result");
    return cls;
}

obv_store_class kit_put_write(struct kit_put *p, const void *buf, size_t len)
{
    return KIT_CALL(p->r, "put_write", p->r->k->p->put_write(p->h, buf, len, err));
}

obv_store_class kit_put_commit(struct kit_put *p, obv_object_info *info)
{
    obv_object_info ignored;
    return KIT_CALL(p->r, "put_commit", p->r->k->p->put_commit(p->h, info ? info : &ignored, err));
}

void kit_put_abort(struct kit_put *p)
{
    kit_lock(p->r);
    p->r->k->p->put_abort(p->h);
    kit_unlock(p->r);
}

obv_store_class kit_put_bytes(struct kit_repo *r, const char *key, bool if_absent, const void *buf, size_t len)
{
    struct kit_put put;
    obv_store_class cls = kit_put_begin(r, key, if_absent, &put);
    if (cls != OBV_STORE_OK)
        return cls;
    cls = kit_put_write(&put, buf, len);
    if (cls != OBV_STORE_OK) {
        kit_put_abort(&put);
        return cls;
    }
    return kit_put_commit(&put, NULL);
}

obv_store_class kit_append(struct kit_repo *r, const char *key, uint64_t at, const void *buf, size_t len)
{
    return KIT_CALL(r, "append", r->k->p->append(r->r, key, at, buf, len, err));
}

obv_store_class kit_sync(struct kit_repo *r, const char *const *keys, size_t n, obv_store_class *results)
{
    return KIT_CALL(r, "sync", r->k->p->sync(r->r, keys, n, results, err));
}

obv_store_class kit_get(struct kit_repo *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got)
{
    *got = SIZE_MAX;
    const obv_store_class cls = KIT_CALL(r, "get", r->k->p->get(r->r, key, off, buf, len, got, err));
    if (cls == OBV_STORE_OK && *got > len)
        kit_fail("get of %.100s: *got is %zu, asked for were %zu", key, *got, len);
    return cls;
}

obv_store_class kit_head(struct kit_repo *r, const char *key, obv_object_info *info)
{
    return KIT_CALL(r, "head", r->k->p->head(r->r, key, info, err));
}

obv_store_class kit_list(struct kit_repo *r, const char *prefix, obv_list_fn *fn, void *ctx)
{
    return KIT_CALL(r, "list", r->k->p->list(r->r, prefix, fn, ctx, err));
}

obv_store_class kit_remove(struct kit_repo *r, const char *const *keys, size_t n, obv_store_class *results)
{
    return KIT_CALL(r, "remove", r->k->p->remove(r->r, keys, n, results, err));
}

obv_store_class kit_remove_one(struct kit_repo *r, const char *key)
{
    obv_store_class result = OBV_STORE_FATAL;
    return kit_remove(r, &key, 1, &result);
}

obv_store_class kit_copy(struct kit_repo *r, const char *from, const char *to, bool if_absent)
{
    return KIT_CALL(r, "copy", r->k->p->copy(r->r, from, to, if_absent, err));
}

obv_store_class kit_sweep(struct kit_repo *r, uint64_t age_s, uint64_t *swept)
{
    return KIT_CALL(r, "sweep", r->k->p->sweep(r->r, age_s, swept, err));
}
