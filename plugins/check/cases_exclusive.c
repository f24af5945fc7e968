/* cases_exclusive.c - several writers of one name */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 25, OBJECT = 20000 };

static void if_absent(struct kit *k)
{
    obv_object_info before;
    obv_object_info after;
    struct kit_put put;
    need_ok(kit_put_bytes(k->r, "dir/object", true, "first", 5), "put if absent of a new object");
    need_ok(kit_head(k->r, "dir/object", &before), "head");
    /* seen at begin or at commit, as the plugin likes */
    need_class(kit_put_bytes(k->r, "dir/object", true, "other", 5), OBV_STORE_EXISTS, "put if absent of what is there");
    need_class(kit_put_bytes(k->r, "dir/object", true, "first", 5), OBV_STORE_EXISTS,
               "put if absent of the same bytes");
    need_ok(kit_head(k->r, "dir/object", &after), "head");
    char text[8];
    size_t got;
    need_ok(kit_get(k->r, "dir/object", 0, text, sizeof text, &got), "get");
    need(got == 5 && memcmp(text, "first", 5) == 0 && before.size == after.size && before.mtime_us == after.mtime_us &&
             strcmp(before.etag, after.etag) == 0,
         "EXISTS, but the object was changed");
    need_ok(kit_remove_one(k->r, "dir/object"), "remove");
    need_ok(kit_put_bytes(k->r, "dir/object", true, "again", 5), "put if absent after a remove");
    /* begun while the name was free */
    need_ok(kit_put_begin(k->r, "late", true, &put), "put_begin");
    need_ok(kit_put_write(&put, "mine", 4), "put_write");
    need_ok(kit_put_bytes(k->r, "late", true, "faster", 6), "put of another writer");
    need_class(kit_put_commit(&put, NULL), OBV_STORE_EXISTS, "put_commit after another writer's");
    need_ok(kit_get(k->r, "late", 0, text, sizeof text, &got), "get");
    need(got == 6 && memcmp(text, "faster", 6) == 0, "the loser of an exclusive put changed the object");
}

static void two_handles(struct kit *k)
{
    struct kit_repo *other = kit_open(k);
    for (unsigned i = 0; i < 10; i++) {
        char key[32];
        struct kit_put a;
        struct kit_put b;
        uint8_t bytes[1000];
        (void)snprintf(key, sizeof key, "round/%u", i);
        need_ok(kit_put_begin(k->r, key, true, &a), "put_begin on one handle");
        need_ok(kit_put_begin(other, key, true, &b), "put_begin on another handle");
        kit_fill(bytes, 0, sizeof bytes, 1);
        need_ok(kit_put_write(&a, bytes, sizeof bytes), "put_write");
        kit_fill(bytes, 0, sizeof bytes, 2);
        need_ok(kit_put_write(&b, bytes, sizeof bytes), "put_write");
        need_ok(kit_put_commit(i % 2 ? &a : &b, NULL), "put_commit of the first of two");
        need_class(kit_put_commit(i % 2 ? &b : &a, NULL), OBV_STORE_EXISTS, "put_commit of the second of two");
        kit_need_object(k->r, key, sizeof bytes, i % 2 ? 1 : 2);
        kit_need_object(other, key, sizeof bytes, i % 2 ? 1 : 2);
    }
    kit_close(other);
}

struct racer {
    struct kit_repo *r;
    pthread_barrier_t *start;
    unsigned id;
    bool exclusive;
    obv_store_class result[ROUNDS];
};

static void race_key(char *key, size_t cap, unsigned round) { (void)snprintf(key, cap, "race/%u", round); }

static void *race(void *arg)
{
    struct racer *me = arg;
    uint8_t *bytes = kit_alloc(OBJECT);
    kit_fill(bytes, 0, OBJECT, me->id);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key[32];
        struct kit_put put;
        race_key(key, sizeof key, i);
        need_ok(kit_put_begin(me->r, key, me->exclusive, &put), "put_begin");
        need_ok(kit_put_write(&put, bytes, OBJECT), "put_write");
        (void)pthread_barrier_wait(me->start);
        me->result[i] = kit_put_commit(&put, NULL);
    }
    free(bytes);
    return NULL;
}

/* Everybody on one handle when the plugin allows it, and on handles of their own. */
static void run_race(struct kit *k, struct racer *racers, bool exclusive, bool one_handle)
{
    pthread_barrier_t start;
    (void)pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        racers[i] =
            (struct racer){.r = one_handle ? k->r : kit_open(k), .start = &start, .id = i + 1, .exclusive = exclusive};
    kit_threads(race, racers, sizeof *racers, THREADS);
    (void)pthread_barrier_destroy(&start);
}

static void judge_winners(struct kit *k, const struct racer *racers)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key[32];
        unsigned winners = 0;
        unsigned winner = 0;
        race_key(key, sizeof key, i);
        for (unsigned t = 0; t < THREADS; t++) {
            if (racers[t].result[i] == OBV_STORE_OK) {
                winners++;
                winner = racers[t].id;
                continue;
            }
            need(racers[t].result[i] == OBV_STORE_EXISTS, "a loser of a race got %s, expected EXISTS",
                 kit_class_name(racers[t].result[i]));
        }
        need(winners == 1, "%u of %u exclusive puts of one key succeeded", winners, (unsigned)THREADS);
        kit_need_object(k->r, key, OBJECT, winner);
    }
}

static void race_handles(struct kit *k)
{
    struct racer racers[THREADS];
    run_race(k, racers, true, false);
    judge_winners(k, racers);
}

static void race_threads(struct kit *k)
{
    struct racer racers[THREADS];
    run_race(k, racers, true, true);
    judge_winners(k, racers);
}

static void parallel_replace(struct kit *k)
{
    struct racer racers[THREADS];
    run_race(k, racers, false, true);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key[32];
        bool whole = false;
        race_key(key, sizeof key, i);
        for (unsigned t = 0; t < THREADS; t++) {
            need_class(racers[t].result[i], OBV_STORE_OK, "put_commit of one of several writers");
            whole = whole || kit_has_object(k->r, key, OBJECT, racers[t].id);
        }
        need(whole, "several writers of %s: it holds the whole bytes of none of them", key);
    }
}

/* ---- readers of an object that is being replaced */

enum { SHORT = 30000, LONG = 90000 };

struct reading {
    struct kit_repo *r;
    atomic_bool *stop;
};

static void *read_all_the_time(void *arg)
{
    struct reading *me = arg;
    uint8_t *buf = kit_alloc(3 * LONG);
    uint8_t *want_short = buf + LONG;
    uint8_t *want_long = want_short + LONG;
    kit_fill(want_short, 0, SHORT, 1);
    kit_fill(want_long, 0, LONG, 2);
    while (!atomic_load(me->stop)) {
        size_t got;
        obv_object_info info;
        need_ok(kit_get(me->r, "object", 0, buf, LONG, &got), "get while the object is replaced");
        need((got == SHORT && memcmp(buf, want_short, SHORT) == 0) ||
                 (got == LONG && memcmp(buf, want_long, LONG) == 0),
             "a reader saw %zu bytes of neither the old nor the new object", got);
        need_ok(kit_head(me->r, "object", &info), "head while the object is replaced");
        need(info.size == SHORT || info.size == LONG, "head while the object is replaced: %llu bytes",
             (unsigned long long)info.size);
    }
    free(buf);
    return NULL;
}

static void replace_atomic(struct kit *k)
{
    enum { READERS = 3, REPLACEMENTS = 200 };
    atomic_bool stop = false;
    pthread_t t[READERS];
    struct reading readers[READERS];
    kit_make(k->r, "object", SHORT, 1);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reading){.r = i == 0 ? k->r : kit_open(k), .stop = &stop};
        need(pthread_create(&t[i], NULL, read_all_the_time, &readers[i]) == 0, "the kit itself gets no thread");
    }
    const int64_t until = kit_now_ns() + 20 * INT64_C(1000000000);
    for (int i = 0; i < REPLACEMENTS && kit_now_ns() < until; i++)
        kit_make(k->r, "object", i % 2 ? SHORT : LONG, i % 2 ? 1 : 2);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        (void)pthread_join(t[i], NULL);
}

static const struct kit_case CASES[] = {
    {"exclusive.if_absent", "An if-absent put of a name that is there at commit is EXISTS; nothing was changed.",
     OBV_CAP_IF_ABSENT, 0, if_absent},
    {"exclusive.two_handles", "If-absent is exclusive also between hosts: of two handles the first commit wins.",
     OBV_CAP_IF_ABSENT, 0, two_handles},
    {"exclusive.race_handles", "If-absent is exclusive when handles commit at the same moment: exactly one is OK.",
     OBV_CAP_IF_ABSENT, 0, race_handles},
    {"exclusive.race_threads", "If-absent is exclusive between threads on one handle: exactly one is OK.",
     OBV_CAP_IF_ABSENT, 0, race_threads},
    {"exclusive.parallel_replace", "Puts over one key at the same moment leave the whole object of one of them.",
     OBV_CAP_REPLACE, 0, parallel_replace},
    {"exclusive.replace_atomic", "A put over an existing object replaces it atomically: readers see old or new.",
     OBV_CAP_REPLACE, 0, replace_atomic},
};
const struct kit_group KIT_EXCLUSIVE = KIT_GROUP(CASES);
