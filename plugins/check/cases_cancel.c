/* cases_cancel.c - jobs that want out, and calls that have only so much time */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { GRACE_S = 10 };

static void set_cancelled(struct kit_repo *r, long after_polls) { atomic_store(&r->cancel_after, after_polls); }

static void before(struct kit *k)
{
    obv_object_info info;
    struct kit_put put;
    struct kit_put late;
    char byte;
    size_t got;
    kit_make(k->r, "object", 1000, 1);
    need_ok(kit_put_begin(k->r, "late", true, &late), "put_begin");
    need_ok(kit_put_write(&late, "x", 1), "put_write");
    set_cancelled(k->r, 0);
    need_class(kit_put_begin(k->r, "new", true, &put), OBV_STORE_CANCELLED, "put_begin of a cancelled job");
    need_class(kit_get(k->r, "object", 0, &byte, 1, &got), OBV_STORE_CANCELLED, "get of a cancelled job");
    need_class(kit_head(k->r, "object", &info), OBV_STORE_CANCELLED, "head of a cancelled job");
    need_class(kit_remove_one(k->r, "object"), OBV_STORE_CANCELLED, "remove of a cancelled job");
    need_class(kit_put_commit(&late, NULL), OBV_STORE_CANCELLED, "put_commit of a cancelled job");
    if (k->caps & OBV_CAP_APPEND)
        need_class(kit_append(k->r, "log", 0, "x", 1), OBV_STORE_CANCELLED, "append of a cancelled job");
    set_cancelled(k->r, -1);
    kit_need_object(k->r, "object", 1000, 1); /* the handle works on */
    kit_need_absent(k->r, "new");
    kit_need_absent(k->r, "late");
    need(kit_count(k->r, "").count == 1, "cancelled calls left %llu objects of 1",
         (unsigned long long)kit_count(k->r, "").count);
    kit_make(k->r, "new", 10, 2);
    kit_need_object(k->r, "new", 10, 2);
}

struct passing {
    struct kit_repo *r;
    unsigned seen;
};

static int cancel_now(void *ctx, const char *key, const obv_object_info *info)
{
    struct passing *p = ctx;
    (void)key, (void)info;
    if (p->seen++ == 0)
        set_cancelled(p->r, 0);
    return 0;
}

static void listing(struct kit *k)
{
    enum { N = 2100 }; /* more than two pages of a thousand */
    struct passing p = {.r = k->r};
    for (unsigned i = 0; i < N; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%u/%u", i % 3, i);
        need_ok(kit_put_bytes(k->r, key, false, "x", 1), "put");
    }
    need_class(kit_list(k->r, "", cancel_now, &p), OBV_STORE_CANCELLED, "a listing that is cancelled at its first key");
    need(p.seen < N, "a listing that was cancelled at its first key went on to the last of %d", N);
    set_cancelled(k->r, -1);
    need(kit_count(k->r, "").count == N, "after a cancelled listing the next one is not whole");
}

/* Cancelled at each poll in turn: the object is whole or absent, whatever the moment. */
static void any_moment(struct kit *k)
{
    uint8_t *buf = kit_alloc(3 << 20);
    kit_fill(buf, 0, 3 << 20, 1);
    for (long moment = 0; moment < 40; moment++) {
        char key[32];
        struct kit_put put;
        (void)snprintf(key, sizeof key, "moment/%ld", moment);
        set_cancelled(k->r, moment);
        obv_store_class cls = kit_put_begin(k->r, key, true, &put);
        if (cls == OBV_STORE_OK) {
            cls = kit_put_write(&put, buf, 3 << 20);
            if (cls == OBV_STORE_OK)
                cls = kit_put_commit(&put, NULL);
            else
                kit_put_abort(&put);
        }
        set_cancelled(k->r, -1);
        need(cls == OBV_STORE_OK || cls == OBV_STORE_CANCELLED, "a put cancelled at poll %ld: %s", moment,
             kit_class_name(cls));
        obv_object_info info;
        const obv_store_class there = kit_head(k->r, key, &info);
        if (cls == OBV_STORE_OK || there == OBV_STORE_OK)
            kit_need_object(k->r, key, 3 << 20, 1);
        else
            kit_need_absent(k->r, key);
        if (k->info->folder[0])
            need(kit_scan(k->info->folder).temporaries == 0, "a put cancelled at poll %ld left a temporary", moment);
        if (there == OBV_STORE_OK)
            need_ok(kit_remove_one(k->r, key), "remove");
    }
    free(buf);
}

static void over(struct kit *k)
{
    obv_object_info info;
    struct kit_put put;
    kit_make(k->r, "object", 1000, 1);
    atomic_store(&k->r->deadline_ns, kit_now_ns() - 1);
    need_class(kit_put_begin(k->r, "new", true, &put), OBV_STORE_CANCELLED, "put_begin with no time left");
    need_class(kit_head(k->r, "object", &info), OBV_STORE_CANCELLED, "head with no time left");
    atomic_store(&k->r->deadline_ns, kit_now_ns() + 60 * INT64_C(1000000000));
    need_ok(kit_head(k->r, "object", &info), "head with a minute left");
    kit_make(k->r, "new", 1000, 2);
    atomic_store(&k->r->deadline_ns, 0);
    kit_need_object(k->r, "new", 1000, 2);
}

static void runs_out(struct kit *k)
{
    struct kit_put put;
    obv_store_class cls = OBV_STORE_OK;
    uint8_t *buf = kit_alloc(1 << 16);
    kit_fill(buf, 0, 1 << 16, 1);
    need_ok(kit_put_begin(k->r, "object", true, &put), "put_begin");
    const int64_t until = kit_now_ns() + INT64_C(200000000);
    atomic_store(&k->r->deadline_ns, until);
    while (cls == OBV_STORE_OK && kit_now_ns() < until + GRACE_S * INT64_C(1000000000)) {
        cls = kit_put_write(&put, buf, 1 << 16);
        kit_sleep_ms(5);
    }
    need(cls == OBV_STORE_CANCELLED, "writes went on %d s after the time had run out (%s)", GRACE_S,
         kit_class_name(cls));
    kit_put_abort(&put);
    atomic_store(&k->r->deadline_ns, 0);
    kit_need_absent(k->r, "object");
    free(buf);
}

static const struct kit_case CASES[] = {
    {"cancel.before", "A call of a cancelled job returns CANCELLED and changes nothing; the handle works on.", 0, 0,
     before},
    {"cancel.listing", "A listing ends soon after its job is cancelled.", 0, 0, listing},
    {"cancel.any_moment", "A put cancelled at any moment leaves the object whole or absent, and no temporary.", 0, 0,
     any_moment},
    {"deadline.over", "Once the time of a call is over it returns CANCELLED; time enough does no harm.", 0, 0, over},
    {"deadline.runs_out", "A put whose time runs out ends.", 0, 0, runs_out},
};
const struct kit_group KIT_CANCEL = KIT_GROUP(CASES);
