/* storm.c - leaders that move every few seconds, flap and come back with a greater epoch (verb leaders) */
#include "catalog.h"
#include "txn.h"
#include "verbs.h"

#include <string.h>

#define BACK_MAX 4096

struct storm {
    struct host *h;
    pthread_t thread;
    _Atomic bool stop;
    int64_t every_us, back_us, count;
    int flap_pct, back_pct;
    uint64_t seed, tenant;
    int n_back;
    struct {
        uint32_t pg;
        int home;
        int64_t due;
    } back[BACK_MAX];
    _Atomic int64_t rounds, moves, flaps, returns;
};

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static void come_back(struct storm *s)
{
    for (int i = 0; i < s->n_back;) {
        if (now_us() < s->back[i].due) {
            i++;
            continue;
        }
        if (pg_at(s->h, s->back[i].pg)->leader != s->back[i].home)
            s->returns += leader_move(s->h, s->back[i].pg, s->back[i].home) == 0;
        s->back[i] = s->back[--s->n_back];
    }
}

static void one(struct storm *s, uint32_t pg)
{
    struct host *h = s->h;
    const struct shm_pg *p = pg_at(h, pg);
    int home = p->leader, to = home;
    for (int i = 0; i < 8 && (to == home || !host_alive(h, to)); i++)
        to = 1 + (int)(rnd_next(&s->seed) % (uint64_t)h->n_members);
    if (to == home || leader_move(h, pg, to))
        return;
    int luck = (int)(rnd_next(&s->seed) % 100);
    if (luck < s->flap_pct) { /* nobody who looks twice sees another leader, only another epoch */
        s->flaps += leader_move(h, pg, home) == 0;
    } else if (luck < s->flap_pct + s->back_pct && s->n_back < BACK_MAX) {
        s->back[s->n_back].pg = pg;
        s->back[s->n_back].home = home;
        s->back[s->n_back++].due = now_us() + s->back_us;
        s->moves++;
    } else {
        s->moves++;
    }
}

static void round_of(struct storm *s)
{
    uint32_t n = s->h->shm->n_pg, first = n ? (uint32_t)(rnd_next(&s->seed) % n) : 0;
    int64_t done = 0;
    for (uint32_t i = 0; i < n && !s->stop && (!s->count || done < s->count); i++) {
        uint32_t pg = (uint32_t)(((uint64_t)first + i) % n);
        const struct shm_pg *p = pg_at(s->h, pg);
        if (p->state != PG_LIVE || (s->tenant && p->tenant != s->tenant))
            continue;
        one(s, pg);
        done++;
    }
    s->rounds++;
    catalog_sync(s->h);
}

static void *storm_main(void *arg)
{
    struct storm *s = arg;
    int64_t next = now_us();
    while (!s->stop && !s->h->stopping) {
        come_back(s);
        if (now_us() >= next) {
            round_of(s);
            next = now_us() + s->every_us;
        }
        sleep_us(10000);
    }
    return NULL;
}

void storm_stop(struct host *h)
{
    pthread_mutex_lock(&h->work_mu);
    struct storm *s = h->storm;
    if (s && !s->stop) {
        s->stop = true;
        pthread_join(s->thread, NULL);
    }
    pthread_mutex_unlock(&h->work_mu);
}

static int start(struct host *h, const json_t *req)
{
    struct storm *s = xcalloc(1, sizeof *s);
    s->h = h;
    s->every_us = jint(req, "every_us", 3000000);
    s->back_us = jint(req, "back_us", 500000);
    s->count = jint(req, "count", 0);
    s->flap_pct = (int)jint(req, "flap_pct", 30);
    s->back_pct = (int)jint(req, "back_pct", 30);
    s->seed = (uint64_t)jint(req, "seed", 1) * 2654435761u + 1;
    s->tenant = (uint64_t)jint(req, "tenant", 0);
    pthread_mutex_lock(&h->work_mu);
    free(h->storm);
    h->storm = s;
    int rc = pthread_create(&s->thread, NULL, storm_main, s);
    s->stop = rc != 0;
    pthread_mutex_unlock(&h->work_mu);
    return rc ? -4013 : 0;
}

json_t *storm_verb(struct host *h, const json_t *req)
{
    const char *op = json_string_value(json_object_get(req, "op"));
    int rc = 0;
    if (op && (!strcmp(op, "start") || !strcmp(op, "stop"))) {
        storm_stop(h);
        rc = !strcmp(op, "start") ? start(h, req) : 0;
    }
    const struct storm *s = h->storm;
    if (rc)
        return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "leaders");
    if (!s)
        return json_pack("{s:b,s:b}", "ok", 1, "running", 0);
    return json_pack("{s:b,s:b,s:I,s:I,s:I,s:I}", "ok", 1, "running", !s->stop, "rounds", (json_int_t)s->rounds,
                     "moves", (json_int_t)s->moves, "flaps", (json_int_t)s->flaps, "returns", (json_int_t)s->returns);
}
