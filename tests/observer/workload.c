/* workload.c - see workload.h */
#include "workload.h"

#include "ballast.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 8
#define MAX_LONG 16

struct work {
    struct host *h;
    _Atomic bool stop;
    int n_threads, pgs_max, abort_pct, long_pct;
    int64_t rate, keys;
    uint32_t value_bytes;
    uint64_t seed, tenants[8];
    int n_tenants;
    pthread_t thread[MAX_THREADS];
    uint32_t *busy; /* the PGs that are written to; none chosen: all */
    uint32_t n_busy;
    struct ballast ballast;
    _Atomic int64_t commits, aborts, rows, conflicts, last_version;
};

struct worker {
    struct work *w;
    int id;
    uint64_t seed;
    struct {
        int64_t slot, until;
    } open[MAX_LONG];
    int n_open;
};

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static bool writable(const struct work *w, const struct shm_pg *p)
{
    uint64_t low = low_id(p->key.table_id);
    if (p->state != PG_LIVE || (p->kind == KIND_INNER && (low == ST_DDL || low == ST_TABLES || low == ST_TABLEGROUPS)))
        return false;
    for (int i = 0; i < w->n_tenants; i++)
        if (w->tenants[i] == p->tenant)
            return true;
    return false;
}

/* A PG of the chosen tenants, found by trial. -1 if luck is out. */
static int64_t pick_pg(struct worker *k, uint64_t tenant)
{
    const struct work *w = k->w;
    struct host *h = w->h;
    for (int i = 0; i < 64; i++) {
        uint64_t luck = rnd_next(&k->seed);
        uint32_t pg = w->n_busy ? w->busy[luck % w->n_busy] : (uint32_t)(luck % h->shm->n_pg);
        if (writable(k->w, pg_at(h, pg)) && (!tenant || pg_at(h, pg)->tenant == tenant))
            return pg;
    }
    return -1;
}

static const struct shm_part *pick_part(struct worker *k, uint32_t pg)
{
    const struct shm_pg *p = pg_at(k->w->h, pg);
    if (!p->n_parts)
        return NULL;
    const struct shm_part *q = &p->part[rnd_next(&k->seed) % (uint64_t)p->n_parts];
    return q->dropped || q->index_type ? NULL : q;
}

static void make_row(struct worker *k, const struct shm_part *p, struct row_change *out, uint8_t *val)
{
    uint8_t key[32];
    size_t klen;
    uint64_t n = rnd_next(&k->seed) % (uint64_t)k->w->keys;
    if (p->int_key) {
        stbe64(key, n * 4 + rnd_next(&k->seed) % 2); /* multiples of 4 were loaded, the others are new */
        klen = 8;
    } else {
        klen = (size_t)snprintf((char *)key, sizeof key, "k%010" PRIu64, n % 5000);
    }
    uint32_t vlen = 16 + (uint32_t)(rnd_next(&k->seed) % (k->w->value_bytes + 1));
    for (uint32_t i = 0; i < vlen; i += 8) {
        uint64_t v = rnd_next(&k->seed) | 0x2020202020202020u;
        memcpy(val + i, &v, 8);
    }
    row_change(p, rnd_next(&k->seed) % 10 == 0 ? OP_DELETE : OP_PUT, key, klen, val, vlen, out);
}

static void close_due(struct worker *k, bool all)
{
    for (int i = 0; i < k->n_open;) {
        if (!all && k->open[i].until > now_us()) {
            i++;
            continue;
        }
        int64_t v = tx_commit(k->w->h, k->open[i].slot);
        if (v > 0) {
            k->w->commits++;
            k->w->last_version = v;
        }
        k->open[i] = k->open[--k->n_open];
    }
}

static void several(struct worker *k, uint8_t *val)
{
    struct work *w = k->w;
    struct row_change c;
    int64_t pg = pick_pg(k, 0);
    if (pg < 0)
        return;
    uint64_t tenant = pg_at(w->h, (uint32_t)pg)->tenant;
    int n = 1 + (int)(rnd_next(&k->seed) % (uint64_t)w->pgs_max), done = 0;
    int64_t slot = tx_begin(w->h);
    if (slot < 0)
        return;
    for (int i = 0; i < n && pg >= 0; i++) {
        int rows = 1 + (int)(rnd_next(&k->seed) % 3);
        for (int r = 0; r < rows; r++) {
            const struct shm_part *p = pick_part(k, (uint32_t)pg);
            if (!p)
                continue;
            make_row(k, p, &c, val);
            int rc = tx_change(w->h, slot, (uint32_t)pg, c.c, c.n);
            done += rc == 0;
            w->conflicts += rc == -1;
            w->rows += rc == 0;
        }
        pg = pick_pg(k, tenant);
    }
    if (!done || (int)(rnd_next(&k->seed) % 100) < w->abort_pct) {
        tx_abort(w->h, slot);
        w->aborts++;
        return;
    }
    if ((int)(rnd_next(&k->seed) % 100) < w->long_pct && k->n_open < MAX_LONG) {
        k->open[k->n_open].slot = slot;
        k->open[k->n_open++].until = now_us() + 1000000 + (int64_t)(rnd_next(&k->seed) % 4000000);
        return;
    }
    int64_t v = tx_commit(w->h, slot);
    if (v > 0) {
        w->commits++;
        w->last_version = v;
    }
}

/* Many small ones in one PG: one AGGRE log, or one transaction in one log. */
static int single(struct worker *k, uint8_t *val)
{
    struct work *w = k->w;
    int64_t pg = pick_pg(k, 0), v;
    const struct shm_part *p = pg < 0 ? NULL : pick_part(k, (uint32_t)pg);
    struct row_change c;
    if (!p)
        return 1;
    if (p->n_idx > 1 || rnd_next(&k->seed) % 2) {
        make_row(k, p, &c, val);
        v = tx_single(w->h, (uint32_t)pg, c.c, c.n);
        w->commits += v > 0;
        w->rows += v > 0;
        return 1;
    }
    struct row_change many[8];
    struct change flat[8];
    size_t room = w->value_bytes + 32;
    uint8_t *vals = xmalloc(8 * room);
    for (int i = 0; i < 8; i++) {
        make_row(k, p, &many[i], vals + (size_t)i * room);
        flat[i] = many[i].c[0];
        for (int j = 0; j < i; j++) /* one key once per log */
            if (flat[j].klen == flat[i].klen && !memcmp(flat[j].key, flat[i].key, flat[i].klen)) {
                i--;
                break;
            }
    }
    v = tx_singles(w->h, (uint32_t)pg, flat, 8);
    w->commits += v > 0 ? 8 : 0;
    w->rows += v > 0 ? 8 : 0;
    free(vals);
    return 8;
}

static void *worker_main(void *arg)
{
    struct worker *k = arg;
    struct work *w = k->w;
    uint8_t *val = xmalloc(w->value_bytes + 64);
    int64_t start = now_us(), done = 0;
    while (!w->stop && !w->h->stopping) {
        close_due(k, false);
        if (w->pgs_max > 1 && rnd_next(&k->seed) % 2) {
            several(k, val);
            done++;
        } else {
            done += single(k, val);
        }
        int64_t due = start + done * 1000000 * w->n_threads / (w->rate ? w->rate : 1), now = now_us();
        if (now - due > 2000000)
            start += now - due; /* slower than asked for: do not catch up */
        if (due > now)
            sleep_us(due - now < 200000 ? due - now : 200000);
    }
    close_due(k, true);
    free(val);
    free(k);
    return NULL;
}

void workload_stop(struct host *h)
{
    pthread_mutex_lock(&h->work_mu);
    struct work *w = h->workload;
    if (w && !w->stop) {
        w->stop = true;
        w->ballast.stop = true;
        for (int i = 0; i < w->n_threads; i++)
            pthread_join(w->thread[i], NULL);
        if (w->ballast.rate)
            pthread_join(w->ballast.thread, NULL);
    }
    pthread_mutex_unlock(&h->work_mu);
}

static json_t *counters(struct host *h)
{
    const struct work *w = h->workload;
    if (!w)
        return json_pack("{s:b,s:b}", "ok", 1, "running", 0);
    return json_pack("{s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "ok", 1, "running", !w->stop, "busy_pgs",
                     (json_int_t)w->n_busy, "ballast_bytes", (json_int_t)w->ballast.bytes, "ballast_logs",
                     (json_int_t)w->ballast.logs, "ballast_behind_us", (json_int_t)w->ballast.behind_us, "commits",
                     (json_int_t)w->commits, "aborts", (json_int_t)w->aborts, "rows", (json_int_t)w->rows, "conflicts",
                     (json_int_t)w->conflicts, "last_commit_version", (json_int_t)w->last_version);
}

/* User PGs of the chosen tenants, evenly over all of them. */
static void choose_busy(struct work *w, uint32_t want)
{
    const struct host *h = w->h;
    uint32_t n = 0, *all = xcalloc(h->shm->n_pg + 1, sizeof *all);
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        if (writable(w, pg_at(h, i)) && pg_at(h, i)->kind != KIND_INNER)
            all[n++] = i;
    want = want && want < n ? want : n;
    for (uint32_t i = 0; i < want; i++)
        all[i] = all[(uint64_t)i * n / want];
    w->busy = all;
    w->n_busy = want;
}

static void start_ballast(struct work *w, const json_t *req)
{
    int64_t size = jint(req, "log_bytes", 16384);
    w->ballast = (struct ballast){.h = w->h, .pg = w->busy, .n = w->n_busy, .rate = jint(req, "bytes", 0)};
    w->ballast.log_bytes = size < 64 ? 64 : size > 1000000 ? 1000000 : (uint32_t)size;
    if (!w->n_busy || w->ballast.rate <= 0 || pthread_create(&w->ballast.thread, NULL, ballast_main, &w->ballast))
        w->ballast.rate = 0;
}

static void start(struct host *h, const json_t *req)
{
    struct work *w = xcalloc(1, sizeof *w);
    w->h = h;
    w->n_threads = (int)jint(req, "threads", 2);
    w->n_threads = w->n_threads < 1 ? 1 : w->n_threads > MAX_THREADS ? MAX_THREADS : w->n_threads;
    w->pgs_max = (int)jint(req, "pgs_max", 3);
    w->pgs_max = w->pgs_max < 1 ? 1 : w->pgs_max > 4 ? 4 : w->pgs_max;
    w->abort_pct = (int)jint(req, "abort_pct", 3);
    w->long_pct = (int)jint(req, "long_pct", 2);
    w->rate = jint(req, "rate", 100);
    w->keys = jint(req, "keys", 3000);
    w->keys = w->keys < 64 ? 64 : w->keys;
    w->value_bytes = (uint32_t)jint(req, "value_bytes", 200);
    if (w->value_bytes > 20000)
        w->value_bytes = 20000;
    w->seed = (uint64_t)jint(req, "seed", 1);
    json_t *list = json_object_get(req, "tenants"), *v;
    size_t i;
    json_array_foreach(list, i, v) if (w->n_tenants < 8) w->tenants[w->n_tenants++] = (uint64_t)json_integer_value(v);
    if (!w->n_tenants) {
        w->tenants[w->n_tenants++] = 1001;
        w->tenants[w->n_tenants++] = 1002;
    }
    if (h->workload)
        free(((struct work *)h->workload)->busy);
    free(h->workload);
    h->workload = w;
    if (jint(req, "pgs", 0) || jint(req, "bytes", 0))
        choose_busy(w, (uint32_t)jint(req, "pgs", 0));
    start_ballast(w, req);
    for (int t = 0; t < w->n_threads; t++) {
        struct worker *k = xcalloc(1, sizeof *k);
        k->w = w;
        k->id = t;
        k->seed = (w->seed + 1) * 7919 + (uint64_t)t * 104729;
        pthread_create(&w->thread[t], NULL, worker_main, k);
    }
}

json_t *workload_verb(struct host *h, const json_t *req)
{
    const char *op = json_string_value(json_object_get(req, "op"));
    if (op && !strcmp(op, "start")) {
        workload_stop(h);
        pthread_mutex_lock(&h->work_mu);
        start(h, req);
        pthread_mutex_unlock(&h->work_mu);
    } else if (op && !strcmp(op, "stop")) {
        workload_stop(h);
    }
    return counters(h);
}

json_t *workload_insert(struct host *h, const json_t *req)
{
    uint64_t tenant = (uint64_t)jint(req, "tenant", 1001), low = (uint64_t)jint(req, "table", 0);
    int64_t pid = jint(req, "partition", 0), key = jint(req, "key", 0);
    const char *val = json_string_value(json_object_get(req, "value")),
               *text = json_string_value(json_object_get(req, "key"));
    uint64_t id = full_id(tenant, low);
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        for (int k = 0; k < pg_at(h, i)->n_parts; k++) {
            const struct shm_part *p = &pg_at(h, i)->part[k];
            if (p->idx[0] != id || pkey_partition_id(&p->key) != pid || pg_at(h, i)->state != PG_LIVE || p->dropped)
                continue;
            struct row_change c;
            uint8_t kb[8];
            stbe64(kb, (uint64_t)key);
            row_change(p, json_is_true(json_object_get(req, "delete")) ? OP_DELETE : OP_PUT,
                       text ? (const uint8_t *)text : kb, text ? strlen(text) : 8, (const uint8_t *)(val ? val : ""),
                       val ? strlen(val) : 0, &c);
            int64_t v = -1, slot = jint(req, "tx", -1);
            if (slot >= 0 && slot < MAX_TX) { /* of the verb tx: not committed here */
                int rc = tx_change(h, slot, i, c.c, c.n);
                return rc ? json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "row locked or no leader")
                          : json_pack("{s:b}", "ok", 1);
            }
            for (int t = 0; t < 100 && v < 0; t++) {
                v = tx_single(h, i, c.c, c.n);
                if (v < 0)
                    sleep_us(50000);
            }
            return v > 0 ? json_pack("{s:b,s:I}", "ok", 1, "commit_version", (json_int_t)v)
                         : json_pack("{s:b,s:i,s:s}", "ok", 0, "code", (int)v, "error", "row locked or no leader");
        }
    return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", -4225, "error", "no such partition");
}
