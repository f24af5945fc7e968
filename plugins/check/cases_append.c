/* cases_append.c - objects that grow, and their durability point */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

static obv_store_class append_seeded(struct kit_repo *r, const char *key, uint64_t at, size_t len, uint64_t seed)
{
    uint8_t *buf = kit_alloc(len);
    kit_fill(buf, at, len, seed);
    const obv_store_class cls = kit_append(r, key, at, buf, len);
    free(buf);
    return cls;
}

static void sync_ok(struct kit_repo *r, const char *key)
{
    obv_store_class result = OBV_STORE_FATAL;
    need_ok(kit_sync(r, &key, 1, &result), "sync of %.100s", key);
    need(result == OBV_STORE_OK, "sync returned OK and the result %s", kit_class_name(result));
}

/* For any plugin that appends, also one that forgets. */
static void accepts(struct kit *k)
{
    const char *key = "log/1";
    obv_store_class result = OBV_STORE_FATAL;
    need_ok(kit_append(k->r, key, 0, "hello ", 6), "append at 0");
    need_ok(kit_append(k->r, key, 6, "world", 5), "append at the end");
    need_ok(kit_sync(k->r, &key, 1, &result), "sync");
    need(result == OBV_STORE_OK, "sync returned OK and the result %s", kit_class_name(result));
}

static void grows(struct kit *k)
{
    /* clang-format off */
    static const size_t SIZES[] = {1, 2, 3, 511, 512, 513, 4095, 4096, 4097, 1, 65536, 65537, 1 << 20, (1 << 20) + 1, 5};
    /* clang-format on */
    struct kit_repo *other = kit_open(k);
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        need_ok(append_seeded(k->r, "new/folder/log", at, SIZES[i], 3), "append of %zu bytes at %llu", SIZES[i],
                (unsigned long long)at);
        at += SIZES[i];
        if (i % 3 == 0)
            sync_ok(k->r, "new/folder/log");
    }
    sync_ok(k->r, "new/folder/log");
    sync_ok(k->r, "new/folder/log"); /* nothing new: OK too */
    kit_need_object(k->r, "new/folder/log", at, 3);
    kit_need_object(other, "new/folder/log", at, 3);
    need(kit_count(other, "").count == 1, "one appended object is listed %llu times",
         (unsigned long long)kit_count(other, "").count);
    /* another owner goes on where this one ended */
    need_ok(append_seeded(other, "new/folder/log", at, 100, 3), "append by another handle");
    sync_ok(other, "new/folder/log");
    kit_need_object(k->r, "new/folder/log", at + 100, 3);
    kit_close(other);
}

static void exists(struct kit *k)
{
    need_ok(append_seeded(k->r, "log", 0, 100, 1), "append at 0");
    need_class(append_seeded(k->r, "log", 0, 50, 2), OBV_STORE_EXISTS, "append at 0 of an object that is there");
    kit_need_object(k->r, "log", 100, 1);
    sync_ok(k->r, "log");
    struct kit_repo *other = kit_open(k);
    need_class(append_seeded(other, "log", 0, 50, 2), OBV_STORE_EXISTS,
               "append at 0 by a handle that did not make the object");
    kit_make(k->r, "put", 100, 1);
    need_class(append_seeded(other, "put", 0, 50, 2), OBV_STORE_EXISTS, "append at 0 of an object that was put");
    kit_need_object(k->r, "log", 100, 1);
    kit_need_object(k->r, "put", 100, 1);
    kit_close(other);
}

static void conflict(struct kit *k)
{
    static const uint64_t WRONG[] = {1, 99, 101, 1000000, UINT64_C(1) << 40};
    struct kit_repo *other = kit_open(k);
    need_ok(append_seeded(k->r, "log", 0, 100, 1), "append at 0");
    sync_ok(k->r, "log");
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        need_class(append_seeded(k->r, "log", WRONG[i], 10, 2), OBV_STORE_CONFLICT,
                   "append at %llu of an object of 100 bytes", (unsigned long long)WRONG[i]);
        need_class(append_seeded(other, "log", WRONG[i], 10, 2), OBV_STORE_CONFLICT,
                   "append at %llu of an object of 100 bytes, by another handle", (unsigned long long)WRONG[i]);
    }
    kit_need_object(k->r, "log", 100, 1);
    /* another owner was there: what this one thinks is the end is not */
    need_ok(append_seeded(other, "log", 100, 50, 1), "append by another handle");
    sync_ok(other, "log");
    need_class(append_seeded(k->r, "log", 100, 10, 2), OBV_STORE_CONFLICT, "append where the end was before");
    kit_need_object(k->r, "log", 150, 1);
    need_ok(append_seeded(k->r, "log", 150, 50, 1), "append at the new end");
    kit_need_object(k->r, "log", 200, 1);
    kit_close(other);
}

static void missing(struct kit *k)
{
    need_class(append_seeded(k->r, "none", 100, 10, 1), OBV_STORE_NOT_FOUND, "append at 100 of an absent object");
    need_class(append_seeded(k->r, "no/folder/none", 1, 10, 1), OBV_STORE_NOT_FOUND, "append at 1 of an absent object");
    kit_need_absent(k->r, "none");
    need(kit_count(k->r, "").count == 0, "a refused append made %.100s", kit_count(k->r, "").first);
}

static void removed(struct kit *k)
{
    const char *key = "log";
    obv_store_class result = OBV_STORE_OK;
    struct kit_repo *other = kit_open(k);
    need_ok(append_seeded(k->r, key, 0, 100, 1), "append at 0");
    sync_ok(k->r, key);
    need_ok(kit_remove_one(other, key), "remove by another handle");
    need_class(append_seeded(k->r, key, 100, 10, 1), OBV_STORE_NOT_FOUND, "append to an object that was removed");
    need_class(kit_sync(k->r, &key, 1, &result), OBV_STORE_NOT_FOUND, "sync of an object that was removed");
    kit_need_absent(other, key);
    /* and made anew, shorter */
    need_ok(append_seeded(other, key, 0, 20, 2), "append at 0 after a remove");
    sync_ok(other, key);
    need_class(append_seeded(k->r, key, 100, 10, 1), OBV_STORE_CONFLICT, "append past the end of a shorter object");
    need_ok(append_seeded(k->r, key, 20, 10, 2), "append at the end of the new object");
    sync_ok(k->r, key);
    kit_need_object(other, key, 30, 2);
    kit_close(other);
}

struct creator {
    struct kit_repo *r;
    pthread_barrier_t *start;
    unsigned id;
    obv_store_class result;
};

static void *create(void *arg)
{
    struct creator *me = arg;
    (void)pthread_barrier_wait(me->start);
    me->result = append_seeded(me->r, "race", 0, 1000, me->id);
    return NULL;
}

static void create_race(struct kit *k)
{
    enum { THREADS = 8, ROUNDS = 20 };
    struct creator all[THREADS];
    struct kit_repo *handles[THREADS];
    pthread_barrier_t start;
    for (unsigned i = 0; i < THREADS; i++)
        handles[i] = kit_open(k);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned winners = 0;
        unsigned winner = 0;
        (void)pthread_barrier_init(&start, NULL, THREADS);
        for (unsigned i = 0; i < THREADS; i++)
            all[i] = (struct creator){.r = handles[i], .start = &start, .id = i + 1};
        kit_threads(create, all, sizeof *all, THREADS);
        (void)pthread_barrier_destroy(&start);
        for (unsigned i = 0; i < THREADS; i++) {
            winners += all[i].result == OBV_STORE_OK;
            winner = all[i].result == OBV_STORE_OK ? all[i].id : winner;
            need(all[i].result == OBV_STORE_OK || all[i].result == OBV_STORE_EXISTS,
                 "a loser of a race to create got %s", kit_class_name(all[i].result));
        }
        need(winners == 1, "%u of %u appends at 0 of one key succeeded", winners, (unsigned)THREADS);
        sync_ok(handles[winner - 1], "race");
        kit_need_object(k->r, "race", 1000, winner);
        need_ok(kit_remove_one(k->r, "race"), "remove");
    }
}

static void many(struct kit *k)
{
    enum { N = 400, ROUNDS = 3, PIECE = 100 };
    static char name[N][24];
    static const char *keys[N];
    static obv_store_class results[N];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N; i++) {
            (void)snprintf(name[i], sizeof name[i], "log/%u/%u", i % 10, i);
            keys[i] = name[i];
            need_ok(append_seeded(k->r, keys[i], round * PIECE, PIECE, i), "append to the %uth of many", i);
            results[i] = OBV_STORE_FATAL;
        }
        need_ok(kit_sync(k->r, keys, N, results), "sync of %d keys", N);
        for (unsigned i = 0; i < N; i++)
            need(results[i] == OBV_STORE_OK, "sync returned OK, but the result of %s is %s", keys[i],
                 kit_class_name(results[i]));
    }
    for (unsigned i = 0; i < N; i++)
        kit_need_object(k->r, keys[i], ROUNDS * PIECE, i);
}

static void sync_results(struct kit *k)
{
    const char *keys[] = {"log/1", "log/none", "log/2", "no/folder", "log/3"};
    obv_store_class results[] = {OBV_STORE_FATAL, OBV_STORE_FATAL, OBV_STORE_FATAL, OBV_STORE_FATAL, OBV_STORE_FATAL};
    for (size_t i = 0; i < 5; i += 2)
        need_ok(append_seeded(k->r, keys[i], 0, 100, i), "append at 0");
    need_class(kit_sync(k->r, keys, 5, results), OBV_STORE_NOT_FOUND, "sync of three objects and two absent ones");
    for (size_t i = 0; i < 5; i++) {
        const obv_store_class want = i % 2 ? OBV_STORE_NOT_FOUND : OBV_STORE_OK;
        need(results[i] == want, "sync: the result of %s is %s, expected %s", keys[i], kit_class_name(results[i]),
             kit_class_name(want));
    }
    need_ok(kit_sync(k->r, keys, 0, results), "sync of no key");
    kit_need_absent(k->r, "log/none");
}

static const struct kit_case CASES[] = {
    {"append.accepts", "Append writes at the object's end; sync has a result for each key.", OBV_CAP_APPEND,
     KIT_FORGETFUL, accepts},
    {"append.grows", "What was appended, in pieces of any size and by one owner after another, is there in order.",
     OBV_CAP_APPEND, 0, grows},
    {"append.exists", "Append at 0 creates; the object must not exist: EXISTS.", OBV_CAP_APPEND, 0, exists},
    {"append.conflict", "Append elsewhere than at the object's end is CONFLICT; nothing was changed.", OBV_CAP_APPEND,
     0, conflict},
    {"append.missing", "Append past 0 of an absent object is NOT_FOUND; nothing is made.", OBV_CAP_APPEND, 0, missing},
    {"append.removed", "An object that another handle removed or made shorter takes no more of the old bytes.",
     OBV_CAP_APPEND, 0, removed},
    {"append.create_race", "Of several appends at 0 of one key at the same moment one is OK, the others EXISTS.",
     OBV_CAP_APPEND, 0, create_race},
    {"append.many", "Hundreds of objects grow side by side.", OBV_CAP_APPEND, 0, many},
    {"append.sync_results", "Sync: a result for each key; OK only if all are.", OBV_CAP_APPEND, 0, sync_results},
};
const struct kit_group KIT_APPEND = KIT_GROUP(CASES);
