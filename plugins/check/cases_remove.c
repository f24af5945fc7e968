/* cases_remove.c - remove, copy and sweep */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

static void absent(struct kit *k)
{
    static const char *const KEYS[] = {"none", "no/folder/none", "there/none", "there"};
    kit_make(k->r, "there/object", 10, 1);
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        obv_store_class result = OBV_STORE_FATAL;
        need_ok(kit_remove(k->r, &KEYS[i], 1, &result), "remove of %s, which is absent", KEYS[i]);
        need(result == OBV_STORE_OK, "remove of %s, which is absent: result %s", KEYS[i], kit_class_name(result));
    }
    kit_need_object(k->r, "there/object", 10, 1);
    need_ok(kit_remove_one(k->r, "there/object"), "remove");
    need_ok(kit_remove_one(k->r, "there/object"), "a second remove");
    kit_need_absent(k->r, "there/object");
}

static void batch(struct kit *k)
{
    enum { N = 2503 }; /* more than two pages of a thousand */
    static char name[N][32];
    static const char *keys[N];
    static obv_store_class results[N];
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(name[i], sizeof name[i], "b/%u/%u", i % 7, i);
        keys[i] = name[i];
        results[i] = OBV_STORE_FATAL;
        if (i % 5 == 0) /* the others were never there */
            need_ok(kit_put_bytes(k->r, keys[i], false, "x", 1), "put");
    }
    kit_make(k->r, "b/0/kept", 10, 1);
    need_ok(kit_remove(k->r, keys, N, results), "remove of %d keys", N);
    for (unsigned i = 0; i < N; i++)
        need(results[i] == OBV_STORE_OK, "remove returned OK, but the result of %s is %s", keys[i],
             kit_class_name(results[i]));
    need(kit_count(k->r, "").count == 1, "after a remove of all keys but one, %llu are left",
         (unsigned long long)kit_count(k->r, "").count);
    kit_need_object(k->r, "b/0/kept", 10, 1);
    need_ok(kit_remove(k->r, keys, 0, results), "remove of no key");
}

static void partial(struct kit *k)
{
    const char *keys[] = {"one", "not a key", "two", "../three", "three"};
    obv_store_class results[] = {OBV_STORE_RETRY, OBV_STORE_RETRY, OBV_STORE_RETRY, OBV_STORE_RETRY, OBV_STORE_RETRY};
    for (size_t i = 0; i < 5; i += 2)
        kit_make(k->r, keys[i], 10, i);
    need_class(kit_remove(k->r, keys, 5, results), OBV_STORE_FATAL, "remove of three objects and two that are no keys");
    for (size_t i = 0; i < 5; i++) {
        const obv_store_class want = i % 2 ? OBV_STORE_FATAL : OBV_STORE_OK;
        need(results[i] == want, "remove: the result of \"%s\" is %s, expected %s", keys[i], kit_class_name(results[i]),
             kit_class_name(want));
    }
    need(kit_count(k->r, "").count == 0, "one refused key of a batch kept the others from being removed");
}

static void neighbours(struct kit *k)
{
    kit_make(k->r, "a/b", 1, 1);
    kit_make(k->r, "a/bc", 2, 2);
    kit_make(k->r, "a/b-", 3, 3);
    kit_make(k->r, "ab", 4, 4);
    kit_make(k->r, "A/b", 5, 5);
    need_ok(kit_remove_one(k->r, "a/b"), "remove");
    kit_need_absent(k->r, "a/b");
    kit_need_object(k->r, "a/bc", 2, 2);
    kit_need_object(k->r, "a/b-", 3, 3);
    kit_need_object(k->r, "ab", 4, 4);
    kit_need_object(k->r, "A/b", 5, 5);
    need_ok(kit_remove_one(k->r, "a"), "remove of a part of a key");
    kit_need_object(k->r, "a/bc", 2, 2);
}

static void empty_folders(struct kit *k)
{
    const char *keys[] = {"s/a/1", "s/a/2", "s/b/c/d/3", "t/4"};
    obv_store_class results[4];
    for (size_t i = 0; i < 4; i++)
        kit_make(k->r, keys[i], 10, 1);
    need_ok(kit_remove(k->r, keys, 3, results), "remove");
    struct kit_tree t = kit_scan(k->info->folder);
    need(t.files == 1 && t.folders <= 1, "after a remove of all but t/4 there are %u files and %u folders", t.files,
         t.folders);
    need_ok(kit_remove(k->r, keys, 4, results), "remove");
    t = kit_scan(k->info->folder);
    need(t.files == 0 && t.folders == 0 && t.temporaries == 0,
         "after a remove of everything there are %u files, %u folders, %u temporaries, e.g. %.100s", t.files, t.folders,
         t.temporaries, t.sample);
    kit_make(k->r, keys[2], 20, 2); /* in folders that vanished */
    kit_need_object(k->r, keys[2], 20, 2);
}

struct place {
    struct kit_repo *r;
    unsigned id;
};

static void *put_and_remove(void *arg)
{
    const struct place *me = arg;
    for (unsigned i = 0; i < 100; i++) {
        char key[48];
        (void)snprintf(key, sizeof key, "shared/folder/%u", me->id);
        obv_store_class cls = OBV_STORE_RETRY;
        for (int attempt = 0; attempt < 100; attempt++) { /* RETRY is an answer too, if it comes to an end */
            cls = kit_put_bytes(me->r, key, false, "x", 1);
            if (cls != OBV_STORE_RETRY)
                break;
        }
        need_ok(cls, "put into a folder that others empty at the same time");
        need_ok(kit_remove_one(me->r, key), "remove");
    }
    return NULL;
}

static void vanishing_folders(struct kit *k)
{
    enum { THREADS = 6 };
    struct place p[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        p[i] = (struct place){.r = i % 2 ? kit_open(k) : k->r, .id = i};
    kit_threads(put_and_remove, p, sizeof *p, THREADS);
    need(kit_count(k->r, "").count == 0, "objects are left");
}

/* ---- copy */

static void copies(struct kit *k)
{
    kit_make(k->r, "from", 300000, 1);
    need_ok(kit_copy(k->r, "from", "new/folder/to", true), "copy");
    kit_need_object(k->r, "new/folder/to", 300000, 1);
    kit_need_object(k->r, "from", 300000, 1);
    need_class(kit_copy(k->r, "none", "other", true), OBV_STORE_NOT_FOUND, "copy of what is absent");
    kit_need_absent(k->r, "other");
    kit_make(k->r, "from", 1000, 2);
    if (k->caps & OBV_CAP_IF_ABSENT)
        need_class(kit_copy(k->r, "from", "new/folder/to", true), OBV_STORE_EXISTS, "copy if absent to what is there");
    kit_need_object(k->r, "new/folder/to", 300000, 1);
    if (k->caps & OBV_CAP_REPLACE) {
        need_ok(kit_copy(k->r, "from", "new/folder/to", false), "copy over what is there");
        kit_need_object(k->r, "new/folder/to", 1000, 2);
    }
    kit_make(k->r, "empty", 0, 0);
    need_ok(kit_copy(k->r, "empty", "empty2", false), "copy of an empty object");
    kit_need_object(k->r, "empty2", 0, 0);
}

/* ---- sweep */

static void sweep_accepts(struct kit *k)
{
    uint64_t swept = UINT64_MAX;
    need_ok(kit_sweep(k->r, 3600, &swept), "sweep of a repository where nothing is unfinished");
    need(swept == 0, "sweep finds %llu unfinished uploads where there are none", (unsigned long long)swept);
}

static void age_guard(struct kit *k)
{
    struct kit_put put;
    struct kit_repo *other = kit_open(k);
    uint64_t swept = UINT64_MAX;
    uint8_t *buf = kit_alloc(1 << 20);
    need_ok(kit_put_begin(k->r, "under/way", true, &put), "put_begin");
    for (int i = 0; i < 12; i++) {
        kit_fill(buf, (uint64_t)i << 20, 1 << 20, 1);
        need_ok(kit_put_write(&put, buf, 1 << 20), "put_write");
        if (i == 6)
            need_ok(kit_sweep(other, 3600, &swept), "sweep");
    }
    need(swept == 0, "sweep of uploads older than an hour took %llu that began just now", (unsigned long long)swept);
    need_ok(kit_put_commit(&put, NULL), "put_commit after a sweep of older uploads");
    kit_need_object(k->r, "under/way", 12 << 20, 1);
    kit_close(other);
}

static void leave_unfinished(struct kit *k, struct kit_repo *r, void *ctx)
{
    struct kit_put put;
    uint8_t *buf = kit_alloc(1 << 20);
    (void)k, (void)ctx;
    for (unsigned i = 0; i < 3; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "killed/%u", i);
        need_ok(kit_put_begin(r, key, false, &put), "put_begin");
        for (int m = 0; m < 12; m++)
            need_ok(kit_put_write(&put, buf, 1 << 20), "put_write");
    }
}

static void sweeps(struct kit *k)
{
    uint64_t swept = UINT64_MAX;
    kit_killed_child(k, leave_unfinished, NULL);
    k->r = kit_open(k);
    kit_make(k->r, "kept/object", 1000, 1);
    need_ok(kit_sweep(k->r, 3600, &swept), "sweep");
    need(swept == 0, "sweep of uploads older than an hour took %llu of a process killed just now",
         (unsigned long long)swept);
    need_ok(kit_sweep(k->r, 0, &swept), "sweep of everything unfinished");
    if (k->info->folder[0]) {
        const struct kit_tree t = kit_scan(k->info->folder);
        need(t.temporaries == 0 && t.files == 1, "after a sweep there are %u files and %u temporaries, e.g. %.100s",
             t.files, t.temporaries, t.sample);
    }
    need_ok(kit_sweep(k->r, 0, &swept), "a second sweep");
    need(swept == 0, "a second sweep finds %llu more unfinished uploads", (unsigned long long)swept);
    kit_need_object(k->r, "kept/object", 1000, 1);
    need(kit_count(k->r, "").count == 1, "after a sweep a listing shows %llu objects of 1",
         (unsigned long long)kit_count(k->r, "").count);
}

static const struct kit_case CASES[] = {
    {"remove.absent", "An absent object is OK.", 0, 0, absent},
    {"remove.batch", "Delete in batches of any size, a result for each key.", 0, 0, batch},
    {"remove.partial", "Results are for each key; OK only if all are, and one refusal stops no other key.", 0, 0,
     partial},
    {"remove.neighbours", "Remove takes the named object and no other.", 0, 0, neighbours},
    {"remove.empty_folders", "Empty folders vanish.", 0, KIT_FOLDER, empty_folders},
    {"remove.vanishing_folders", "A put and a remove that empties its folder do not disturb each other.", 0, 0,
     vanishing_folders},
    {"copy.copies", "Copy makes a second object of the same bytes, exclusive if asked.", OBV_CAP_SERVER_COPY, 0,
     copies},
    {"sweep.accepts", "Sweep counts what it removed, also when that is nothing.", 0, KIT_FORGETFUL, sweep_accepts},
    {"sweep.age_guard", "Sweep leaves what is younger than age_s: it may be somebody's put under way.", 0, 0,
     age_guard},
    {"sweep.sweeps", "Sweep removes what killed writers left, and nothing else.", 0, KIT_NO_OPEN, sweeps},
};
const struct kit_group KIT_REMOVE = KIT_GROUP(CASES);
