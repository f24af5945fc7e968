/* cases_list.c - listings */
#include "kit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- many keys */

enum { PER_FOLDER = 1000 };

/* Unequal folders: two thirds in one, the rest in folders of a thousand. */
static void long_key(char *key, size_t cap, unsigned i, unsigned n)
{
    if (i < n / 3 * 2)
        (void)snprintf(key, cap, "many/all/o%07u", i);
    else
        (void)snprintf(key, cap, "many/some/%u/o%07u", i / PER_FOLDER, i);
}

struct maker {
    struct kit_repo *r;
    unsigned first, step, n;
};

static void *make_some(void *arg)
{
    const struct maker *me = arg;
    for (unsigned i = me->first; i < me->n; i += me->step) {
        char key[64];
        long_key(key, sizeof key, i, me->n);
        need_ok(kit_put_bytes(me->r, key, true, key, i % 20), "put of %s", key);
    }
    return NULL;
}

struct ticks {
    uint8_t *seen;
    unsigned n, count;
};

static int tick(void *ctx, const char *key, const obv_object_info *info)
{
    struct ticks *t = ctx;
    char want[64];
    const char *number = strrchr(key, 'o');
    const unsigned long i = number ? strtoul(number + 1, NULL, 10) : ULONG_MAX;
    need(i < t->n, "a listing shows %.100s, which was never stored", key);
    long_key(want, sizeof want, (unsigned)i, t->n);
    need(strcmp(key, want) == 0, "a listing shows %.100s, which was never stored", key);
    need(!t->seen[i], "a listing shows %.100s twice", key);
    need(info->size == i % 20, "a listing tells %llu bytes of %.100s, stored were %lu", (unsigned long long)info->size,
         key, i % 20);
    t->seen[i] = 1;
    t->count++;
    return 0;
}

static void need_complete(struct kit_repo *r, const char *prefix, unsigned want, unsigned n)
{
    struct ticks t = {.seen = kit_alloc(n), .n = n};
    need_ok(kit_list(r, prefix, tick, &t), "list \"%s\"", prefix);
    need(t.count == want, "a listing of \"%s\" shows %u of %u objects", prefix, t.count, want);
    free(t.seen);
}

static void complete(struct kit *k)
{
    enum { MAKERS = 8 };
    struct maker m[MAKERS];
    const unsigned n = k->cfg->keys;
    for (unsigned i = 0; i < MAKERS; i++)
        m[i] = (struct maker){.r = i == 0 ? k->r : kit_open(k), .first = i, .step = MAKERS, .n = n};
    kit_threads(make_some, m, sizeof *m, MAKERS);
    need_complete(k->r, "", n, n);
    need_complete(k->r, "many/", n, n);
    need_complete(k->r, "many/all/", n / 3 * 2, n);
    need_complete(k->r, "many/some/", n - n / 3 * 2, n);
    need_complete(m[1].r, "many/a", n / 3 * 2, n);
    /* and all of them go in one batch */
    char(*name)[64] = kit_alloc(n * sizeof *name);
    const char **keys = kit_alloc(n * sizeof *keys);
    obv_store_class *results = kit_alloc(n * sizeof *results);
    for (unsigned i = 0; i < n; i++) {
        long_key(name[i], sizeof name[i], i, n);
        keys[i] = name[i];
        results[i] = OBV_STORE_FATAL;
    }
    need_ok(kit_remove(k->r, keys, n, results), "remove of %u keys", n);
    for (unsigned i = 0; i < n; i++)
        need(results[i] == OBV_STORE_OK, "remove returned OK, but the result of %s is %s", keys[i],
             kit_class_name(results[i]));
    need(kit_count(k->r, "").count == 0, "after a remove of %u keys, %llu are left", n,
         (unsigned long long)kit_count(k->r, "").count);
}

static void prefixes(struct kit *k)
{
    static const char *const KEYS[] = {"a/1", "a/12", "a/b/3", "a/b/c/4", "ab/5", "a-b", "b"};
    /* clang-format off */
    static const struct { const char *prefix; unsigned want; } WANT[] = {
        {"", 7}, {"a", 6}, {"a/", 4}, {"a/1", 2}, {"a/12", 1}, {"a/123", 0}, {"a/b", 2}, {"a/b/", 2}, {"a/b/c", 1},
        {"ab", 1}, {"ab/", 1}, {"a-", 1}, {"b", 1}, {"b/", 0}, {"c", 0}, {"c/d/e", 0}, {"A", 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        kit_make(k->r, KEYS[i], i, i);
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        const uint64_t got = kit_count(k->r, WANT[i].prefix).count;
        need(got == WANT[i].want, "a listing of \"%s\" shows %llu objects, expected %u", WANT[i].prefix,
             (unsigned long long)got, WANT[i].want);
    }
}

static int stop_after(void *ctx, const char *key, const obv_object_info *info)
{
    (void)key, (void)info;
    return ++*(unsigned *)ctx == 3 ? 7 : 0;
}

static void stops(struct kit *k)
{
    unsigned calls = 0;
    for (unsigned i = 0; i < 20; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%u/%u", i % 4, i);
        kit_make(k->r, key, 1, 1);
    }
    need_ok(kit_list(k->r, "", stop_after, &calls), "a listing that the callback stops");
    need(calls == 3, "the callback said stop at key 3 and was called %u times", calls);
    need(kit_count(k->r, "").count == 20, "after a stopped listing the next one is not whole");
}

static int refuse_any(void *ctx, const char *key, const obv_object_info *info)
{
    (void)ctx, (void)info;
    kit_fail("a listing shows %.200s, which was never committed", key);
}

static void begin_and_write(struct kit *k, struct kit_repo *r, void *ctx)
{
    struct kit_put put;
    (void)k, (void)ctx;
    need_ok(kit_put_begin(r, "unfinished/killed", false, &put), "put_begin");
    need_ok(kit_put_write(&put, "half", 4), "put_write");
}

static void no_temporaries(struct kit *k)
{
    static const char *const PREFIXES[] = {"", ".", ".o", ".obvault-tmp", "u", "unfinished/"};
    struct kit_put put[4];
    kit_killed_child(k, begin_and_write, NULL);
    k->r = kit_open(k);
    for (unsigned i = 0; i < 4; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "unfinished/%u", i);
        need_ok(kit_put_begin(k->r, key, i % 2 && (k->caps & OBV_CAP_IF_ABSENT), &put[i]), "put_begin");
        need_ok(kit_put_write(&put[i], "half", 4), "put_write");
    }
    for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
        need_ok(kit_list(k->r, PREFIXES[i], refuse_any, NULL), "list \"%s\"", PREFIXES[i]);
    for (unsigned i = 0; i < 4; i++)
        kit_put_abort(&put[i]);
    need_ok(kit_list(k->r, "", refuse_any, NULL), "list");
}

/* ---- a listing while others write */

struct churn {
    struct kit_repo *r;
    atomic_bool *stop;
};

static void *come_and_go(void *arg)
{
    const struct churn *me = arg;
    for (unsigned i = 0; !atomic_load(me->stop); i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "many/all/churn%u", i % 50);
        need_ok(kit_put_bytes(me->r, key, false, "x", 1), "put");
        need_ok(kit_remove_one(me->r, key), "remove");
    }
    return NULL;
}

static int tick_stable(void *ctx, const char *key, const obv_object_info *info)
{
    return strstr(key, "churn") ? 0 : tick(ctx, key, info);
}

static void while_others_write(struct kit *k)
{
    enum { STABLE = 300, LISTINGS = 20 };
    struct maker m = {.r = k->r, .step = 1, .n = STABLE};
    atomic_bool stop = false;
    struct churn churn = {.r = kit_open(k), .stop = &stop};
    pthread_t t;
    (void)make_some(&m);
    need(pthread_create(&t, NULL, come_and_go, &churn) == 0, "the kit itself gets no thread");
    for (int i = 0; i < LISTINGS; i++) {
        struct ticks ticks = {.seen = kit_alloc(STABLE), .n = STABLE};
        need_ok(kit_list(k->r, "", tick_stable, &ticks), "a listing while others write");
        need(ticks.count == STABLE, "while others write, a listing shows %u of %d objects that nobody touches",
             ticks.count, STABLE);
        free(ticks.seen);
    }
    atomic_store(&stop, true);
    (void)pthread_join(t, NULL);
}

static const struct kit_case CASES[] = {
    {"list.complete", "A listing shows all objects, each once, with its size (--keys of them).", 0, 0, complete},
    {"list.prefixes", "A prefix is a plain string prefix, \"\" is all.", 0, 0, prefixes},
    {"list.stops", "A callback that returns non-0 stops the listing, which returns OK.", 0, 0, stops},
    {"list.no_temporaries", "Temporaries never appear: neither those of puts under way nor those of killed ones.", 0,
     KIT_NO_OPEN, no_temporaries},
    {"list.while_others_write", "A listing shows every object that is there all the time, whatever else happens.", 0, 0,
     while_others_write},
};
const struct kit_group KIT_LIST = KIT_GROUP(CASES);
