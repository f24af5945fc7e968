/* cases_threads.c - one handle in several threads, as far as the plugin's thread model goes */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 15 };

struct worker {
    struct kit *k;
    unsigned id;
};

static void one_round(struct kit *k, unsigned id, unsigned round)
{
    char key[48];
    char log[48];
    const uint64_t seed = id * 1000 + round;
    const uint64_t len = 1 + (seed * 7919) % 300000;
    obv_store_class result;
    (void)snprintf(key, sizeof key, "threads/%u/object-%u", id, round);
    (void)snprintf(log, sizeof log, "threads/%u/log", id);
    kit_make(k->r, key, len, seed);
    kit_need_object(k->r, key, len, seed);
    if (k->caps & OBV_CAP_APPEND) {
        uint8_t buf[500];
        const char *logs[] = {log};
        kit_fill(buf, round * sizeof buf, sizeof buf, id);
        need_ok(kit_append(k->r, log, round * sizeof buf, buf, sizeof buf), "append by one of several threads");
        need_ok(kit_sync(k->r, logs, 1, &result), "sync by one of several threads");
    }
    (void)snprintf(key, sizeof key, "threads/%u/", id);
    const uint64_t want = (k->caps & OBV_CAP_APPEND ? 1 : 0) + round % 2 + 1;
    const struct kit_count c = kit_count(k->r, key);
    need(c.count == want, "thread %u has %llu objects, its listing shows %llu", id, (unsigned long long)want,
         (unsigned long long)c.count);
    if (round % 2 == 0)
        return;
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(key, sizeof key, "threads/%u/object-%u", id, round - i);
        need_ok(kit_remove_one(k->r, key), "remove by one of several threads");
    }
}

static void *work(void *arg)
{
    const struct worker *me = arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(me->k, me->id, i);
    return NULL;
}

static void mixed(struct kit *k)
{
    struct worker w[THREADS];
    if (k->p->threads != OBV_THREADS_PARALLEL)
        kit_skip("the plugin says that calls come one at a time");
    for (unsigned i = 0; i < THREADS; i++)
        w[i] = (struct worker){.k = k, .id = i};
    kit_threads(work, w, sizeof *w, THREADS);
    if (!(k->caps & OBV_CAP_APPEND))
        return;
    for (unsigned i = 0; i < THREADS; i++) {
        char log[48];
        (void)snprintf(log, sizeof log, "threads/%u/log", i);
        kit_need_object(k->r, log, ROUNDS * 500, i);
    }
}

/* One handle for each thread: what any thread model allows. */
static void *work_alone(void *arg)
{
    const struct worker *me = arg;
    struct kit own = *me->k;
    own.r = kit_open(me->k);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(&own, me->id, i);
    kit_close(own.r);
    return NULL;
}

static void handles(struct kit *k)
{
    struct worker w[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        w[i] = (struct worker){.k = k, .id = i};
    kit_threads(work_alone, w, sizeof *w, THREADS);
}

/* ---- a put that travels */

struct leg {
    struct kit_put *put;
    struct kit *k;
    int step; /* 0 begin, 1 to 3 write, 4 commit */
};

static void *travel(void *arg)
{
    struct leg *me = arg;
    uint8_t *buf = kit_alloc(100000);
    if (me->step == 0) {
        need_ok(kit_put_begin(me->k->r, "travelled", true, me->put), "put_begin");
    } else if (me->step < 4) {
        kit_fill(buf, (uint64_t)(me->step - 1) * 100000, 100000, 1);
        need_ok(kit_put_write(me->put, buf, 100000), "put_write in another thread than put_begin");
    } else {
        need_ok(kit_put_commit(me->put, NULL), "put_commit in another thread than put_begin");
    }
    free(buf);
    return NULL;
}

static void travels(struct kit *k)
{
    struct kit_put put;
    for (int step = 0; step < 5; step++) {
        struct leg leg = {.put = &put, .k = k, .step = step};
        kit_threads(travel, &leg, sizeof leg, 1);
    }
    kit_need_object(k->r, "travelled", 300000, 1);
}

static const struct kit_case CASES[] = {
    {"threads.mixed", "A plugin that says PARALLEL takes every call from several threads at once.", 0, 0, mixed},
    {"threads.handles", "Handles in different threads do not disturb each other.", 0, 0, handles},
    {"threads.travels", "The calls of a put come one at a time, not always from the thread that began it.", 0, 0,
     travels},
};
const struct kit_group KIT_THREADS = KIT_GROUP(CASES);
