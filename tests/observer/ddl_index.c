/* ddl_index.c - indexes: made unavailable, built while rows change, AVAILABLE before every replica has them */
#include "ddl.h"

#include <inttypes.h>
#include <string.h>

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static const char *jstr(const json_t *o, const char *k, const char *none)
{
    const char *s = json_string_value(json_object_get(o, k));
    return s ? s : none;
}

static int add_index_one(struct host *h, uint32_t pg, void *arg)
{
    const uint64_t *id = arg; /* table, index */
    struct shm_pg *p = pg_at(h, pg);
    int rc = 0;
    shm_lock(h);
    for (int k = 0; k < p->n_parts; k++) {
        struct shm_part *q = &p->part[k];
        if (q->idx[0] != id[0] || q->dropped)
            continue;
        if (q->n_idx == PART_INDEXES) {
            rc = -4013;
            continue;
        }
        q->idx_ready[q->n_idx] = false;
        q->idx_dropped[q->n_idx] = q->idx_late_until[q->n_idx] = 0;
        q->idx[q->n_idx] = id[1];
        atomic_thread_fence(memory_order_seq_cst);
        q->n_idx++;
    }
    shm_unlock(h);
    return rc;
}

json_t *create_index(struct host *h, uint64_t tenant, uint64_t low, int global_parts)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return ddl_fail(-5019, "no such table");
    uint64_t index = next_id(h, tenant, FIRST_INDEX, 1u << 20);
    struct ddl d = ddl_begin(h, tenant, "create index", 5);
    enum compressor comp = compressor_from(jstr(t, "compressor", "none"));
    json_t *x = global_parts ? global_index_json(index, low, comp, global_parts) : index_json(index, low, comp);
    json_array_append_new(d.tables, x);
    json_decref(t);
    uint64_t arg[2] = {full_id(tenant, low), full_id(tenant, index)};
    int rc = global_parts ? ddl_global_pgs(h, &d, x, comp) : ddl_each_pg(h, arg[0], add_index_one, arg);
    if (!rc)
        rc = ddl_commit(h, &d);
    return ddl_done(rc, &d, json_pack("{s:I}", "index_id", (json_int_t)index));
}

struct build {
    struct host *h;
    uint64_t tenant, index; /* full id */
    int64_t version, snapshot, build_us, late_us;
    int late_host;
};

static int build_one(struct host *h, uint32_t pg, void *arg)
{
    const struct build *b = arg;
    struct replica *r = replica_get(h, pg);
    struct shm_pg *p = pg_at(h, pg);
    int rc = r ? 0 : -4225;
    for (int k = 0; k < p->n_parts && !rc; k++)
        for (int i = 1; i < p->part[k].n_idx && !rc; i++) {
            struct shm_part *q = &p->part[k];
            if (q->idx[i] != b->index || q->idx_ready[i] || q->dropped)
                continue; /* another index, or a partition made since: empty, complete */
            rc = replica_build_index(h, r, q, i, b->version, b->snapshot);
            q->idx_base[i] = b->version;
            q->idx_late_host[i] = b->late_host == p->leader ? 0 : b->late_host;
            q->idx_late_until[i] = b->late_us ? clock_us(h) + b->late_us : 0;
            q->idx_ready[i] = rc == 0;
        }
    for (int i = 1; i <= h->n_members && !rc; i++) {
        struct shm_cmd c = {.kind = CMD_ADOPT_MAJOR, .pg = pg, .a = b->version, .b = b->snapshot};
        if (host_alive(h, i))
            rc = host_command(h, i, &c, 60000000);
    }
    return rc;
}

/* The follower that was late takes its copy. */
static void *adopt_late(void *arg)
{
    struct build *b = arg;
    int64_t end = now_us() + b->late_us + 100000;
    while (now_us() < end && !b->h->stopping)
        sleep_us(50000);
    for (uint32_t i = 0; i < b->h->shm->n_pg && !b->h->stopping; i++)
        for (int k = 0; k < pg_at(b->h, i)->n_parts; k++)
            for (int x = 1; x < pg_at(b->h, i)->part[k].n_idx; x++) {
                struct shm_cmd c = {.kind = CMD_ADOPT_MAJOR, .pg = i, .a = b->version, .b = b->snapshot};
                if (pg_at(b->h, i)->part[k].idx[x] == b->index && host_alive(b->h, b->late_host))
                    host_command(b->h, b->late_host, &c, 60000000);
            }
    free(b);
    return NULL;
}

static int in_thread(void *(*fn)(void *), const struct build *b)
{
    struct build *copy = xmalloc(sizeof *copy);
    pthread_t t;
    *copy = *b;
    if (pthread_create(&t, NULL, fn, copy)) {
        free(copy);
        return -4013;
    }
    pthread_detach(t);
    return 0;
}

static int publish_available(struct host *h, const struct build *b, int64_t *version)
{
    int fd = ddl_lock(h);
    json_t *x = table_get(h, b->index);
    struct ddl d = ddl_begin(h, b->tenant, "index available", 6);
    int rc = x ? 0 : -5019; /* dropped while it was built */
    if (x) {
        json_object_set_new(x, "index_status", json_integer(2));
        json_array_append_new(d.tables, x);
        rc = ddl_commit(h, &d);
    }
    json_decref(d.tables);
    ddl_unlock(fd);
    *version = d.version;
    return rc;
}

static int build_index(struct build *b, int64_t *version)
{
    struct host *h = b->h;
    json_t *x = table_get(h, b->index);
    if (!x)
        return -5019;
    int64_t end = now_us() + b->build_us;
    while (now_us() < end && !h->stopping)
        sleep_us(20000);
    /* Transactions that began before the index was known do not log it: wait them out. */
    int64_t marker = h->shm->next_tx;
    for (uint32_t i = 0; i < MAX_TX && !h->stopping;) {
        const struct shm_tx *t = &h->shm->tx[i];
        if (t->state != TX_FREE && t->id < marker)
            sleep_us(20000);
        else
            i++;
    }
    b->version = h->shm->major_version;
    b->snapshot = clock_us(h);
    int rc = cluster_catch_up(h, b->snapshot, 60000000);
    if (!rc && !index_is_global(x))
        rc = ddl_each_pg(h, full_id(b->tenant, (uint64_t)jint(x, "data_table_id", 0)), build_one, b);
    json_decref(x);
    if (!rc)
        rc = publish_available(h, b, version);
    if (!rc && b->late_us && b->late_host)
        rc = in_thread(adopt_late, b);
    return rc;
}

static struct build build_of(struct host *h, uint64_t tenant, uint64_t index, const json_t *req)
{
    return (struct build){.h = h,
                          .tenant = tenant,
                          .index = full_id(tenant, index),
                          .build_us = jint(req, "build_us", 0),
                          .late_host = (int)jint(req, "late_host", 0),
                          .late_us = jint(req, "late_us", 0)};
}

json_t *index_available(struct host *h, uint64_t tenant, const json_t *req)
{
    struct build b = build_of(h, tenant, (uint64_t)jint(req, "index", 0), req);
    int64_t version = 0;
    int rc = build_index(&b, &version);
    return rc ? ddl_fail(rc, "ddl failed") : json_pack("{s:b,s:I}", "ok", 1, "schema_version", (json_int_t)version);
}

static void *build_later(void *arg)
{
    struct build *b = arg;
    int64_t version = 0;
    int rc = build_index(b, &version);
    obs_log(b->h, "index %" PRIu64 " built: %d", b->index, rc);
    free(b);
    return NULL;
}

/* The statement CREATE INDEX as a whole: unavailable, a while of building, AVAILABLE. */
json_t *add_index(struct host *h, uint64_t tenant, const json_t *req)
{
    int fd = ddl_lock(h);
    bool global = json_is_true(json_object_get(req, "global"));
    json_t *a = create_index(h, tenant, (uint64_t)jint(req, "table", 0), global ? (int)jint(req, "partitions", 1) : 0);
    ddl_unlock(fd);
    if (!json_is_true(json_object_get(a, "ok")))
        return a;
    struct build b = build_of(h, tenant, (uint64_t)jint(a, "index_id", 0), req);
    int64_t version = jint(a, "schema_version", 0);
    json_object_set_new(a, "created_version", json_integer(version));
    int rc = json_is_false(json_object_get(req, "wait")) ? in_thread(build_later, &b) : build_index(&b, &version);
    json_object_set_new(a, "schema_version", json_integer(version));
    if (!rc)
        return a;
    json_decref(a);
    return ddl_fail(rc, "index build");
}

static int drop_index_one(struct host *h, uint32_t pg, void *arg)
{
    const uint64_t *id = arg;
    struct shm_pg *p = pg_at(h, pg);
    shm_lock(h);
    for (int k = 0; k < p->n_parts; k++)
        for (int i = 1; i < p->part[k].n_idx; i++)
            if (p->part[k].idx[i] == id[1] && !p->part[k].idx_dropped[i])
                p->part[k].idx_dropped[i] = clock_us(h);
    shm_unlock(h);
    return 0;
}

json_t *drop_index(struct host *h, uint64_t tenant, uint64_t index)
{
    json_t *x = table_get(h, full_id(tenant, index));
    if (!x)
        return ddl_fail(-5019, "no such index");
    uint64_t arg[2] = {full_id(tenant, (uint64_t)jint(x, "data_table_id", 0)), full_id(tenant, index)};
    struct ddl d = ddl_begin(h, tenant, "drop index", 7);
    bool global = index_is_global(x);
    ddl_delete(&d, x);
    json_decref(x);
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = global ? ddl_offline(h, &d) : ddl_each_pg(h, arg[0], drop_index_one, arg);
    return ddl_done(rc, &d, NULL);
}
