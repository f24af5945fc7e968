/* ddl.c - verb ddl: what changes tables, indexes, partitions and tablegroups that exist */
#include "tables.h"

#include <inttypes.h>
#include <stdio.h>
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

static json_t *fail(int code, const char *text)
{
    return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", code, "error", text);
}

static json_t *done(int rc, struct ddl *d, json_t *extra)
{
    json_decref(d->tables);
    json_decref(d->tablegroups);
    if (rc) {
        json_decref(extra);
        return fail(rc, "ddl failed");
    }
    json_t *a = extra ? extra : json_object();
    json_object_set_new(a, "ok", json_true());
    json_object_set_new(a, "schema_version", json_integer(d->version));
    return a;
}

static struct ddl begin(struct host *h, uint64_t tenant, const char *what, int op)
{
    return (struct ddl){
        .tenant = tenant, .version = schema_next_version(h), .what = what, .op = op, .tables = json_array()};
}

static int for_table_pgs(struct host *h, uint64_t table_id, int (*fn)(struct host *, uint32_t, void *), void *arg)
{
    int rc = 0;
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++)
        for (int k = 0; k < pg_at(h, i)->n_parts && !rc; k++)
            if (pg_at(h, i)->state == PG_LIVE && pg_at(h, i)->part[k].idx[0] == table_id &&
                !pg_at(h, i)->part[k].dropped)
                rc = fn(h, i, arg);
    return rc;
}

struct gone { /* what leaves: a table or one partition of it */
    uint64_t table_id;
    int64_t version;
    bool all;
    int64_t pid;
};

static int offline(struct host *h, uint32_t pg, int64_t version)
{
    int rc = -4038;
    for (int i = 0; i < 200 && rc && !h->stopping; i++) {
        rc = pg_at(h, pg)->state == PG_LIVE ? log_offline(h, pg, version) : 0;
        if (rc)
            sleep_us(50000); /* no leader for the moment */
    }
    return rc;
}

static int drop_one(struct host *h, uint32_t pg, void *arg)
{
    const struct gone *g = arg;
    struct shm_pg *p = pg_at(h, pg);
    if (!g->all && g->pid != pkey_partition_id(&p->key))
        return 0;
    if (p->kind != KIND_TABLEGROUP)
        return offline(h, pg, g->version);
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].idx[0] == g->table_id && !p->part[k].dropped) {
            p->part[k].dropped_ts = clock_us(h);
            p->part[k].dropped = true;
        }
    return 0;
}

/* Local indexes of a table as JSON, those being built as well. */
static json_t *indexes_of(struct host *h, uint64_t tenant, uint64_t low)
{
    char *text = catalog_text(h,
                              "SELECT json_group_array(json(info)) FROM so_table WHERE tenant_id = ? AND "
                              "json_extract(info, '$.data_table_id') = ?",
                              "ii", (int64_t)tenant, (int64_t)low);
    json_t *all = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return all ? all : json_array();
}

static void mark_deleted(struct ddl *d, json_t *t)
{
    json_object_set_new(t, "is_deleted", json_integer(1));
    json_array_append(d->tables, t);
}

/* The table and all its indexes leave the schema. */
static void mark_table(struct host *h, struct ddl *d, uint64_t low, json_t *table)
{
    json_t *all = indexes_of(h, d->tenant, low), *x;
    size_t i;
    json_array_foreach(all, i, x) mark_deleted(d, x);
    mark_deleted(d, table);
    json_decref(all);
}

static json_t *drop_table(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return fail(-5019, "no such table");
    struct ddl d = begin(h, tenant, "drop table", 2);
    mark_table(h, &d, low, t);
    json_decref(t);
    struct gone g = {.table_id = full_id(tenant, low), .version = d.version, .all = true};
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = for_table_pgs(h, g.table_id, drop_one, &g);
    return done(rc, &d, NULL);
}

/* As in 3.1: a new, empty table of the same name, with new ids for it and for its indexes; the old one is dropped. */
static json_t *truncate_table(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *old = table_get(h, full_id(tenant, low));
    if (!old)
        return fail(-5019, "no such table");
    json_t *indexes = indexes_of(h, tenant, low), *x;
    uint64_t fresh = next_id(h, tenant, FIRST_USER_TABLE, FIRST_INDEX);
    struct ddl d = begin(h, tenant, "truncate table", 7);
    struct part_seed seed = {
        .tenant = tenant, .low = fresh, .comp = compressor_from(jstr(old, "compressor", "none")), .version = d.version};
    json_t *t = json_deep_copy(old), *news = json_array();
    json_object_set_new(t, "table_id", json_integer((json_int_t)fresh));
    json_object_set_new(t, "create_us", json_integer(clock_us(h)));
    size_t i;
    json_array_foreach(indexes, i, x)
    {
        if (seed.n_index + 1 == PART_INDEXES)
            break;
        uint64_t id = next_id(h, tenant, FIRST_INDEX, 1u << 20);
        seed.index[seed.n_index++] = id;
        json_t *n = index_json(id, fresh, seed.comp);
        json_object_set_new(n, "index_status", json_integer(2));
        json_array_append_new(news, n);
    }
    int rc = fresh ? make_partitions(h, t, &seed, NULL, NULL) : -4013;
    mark_table(h, &d, low, old);
    json_array_extend(d.tables, news);
    json_array_append(d.tables, t);
    if (!rc)
        rc = ddl_commit(h, &d);
    struct gone g = {.table_id = full_id(tenant, low), .version = d.version, .all = true};
    if (!rc)
        rc = for_table_pgs(h, g.table_id, drop_one, &g);
    json_decref(old);
    json_decref(t);
    json_decref(news);
    json_decref(indexes);
    return done(rc, &d, json_pack("{s:I}", "table_id", (json_int_t)fresh));
}

/* ---- partitions of a table of one level without a binding tablegroup */

static int add_partition(struct host *h, struct ddl *d, json_t *t, uint64_t low, int64_t *pid)
{
    json_t *parts = json_object_get(t, "partitions"), *indexes = indexes_of(h, d->tenant, low), *v;
    struct part_seed seed = {
        .tenant = d->tenant, .low = low, .comp = compressor_from(jstr(t, "compressor", "none")), .version = d->version};
    size_t i;
    json_array_foreach(parts, i, v) if (json_integer_value(v) >= *pid) *pid = json_integer_value(v) + 1;
    json_array_foreach(indexes, i, v) if (seed.n_index + 1 < PART_INDEXES) seed.index[seed.n_index++] =
        (uint64_t)jint(v, "table_id", 0);
    json_decref(indexes);
    json_t *one = json_pack("{s:[I]}", "partitions", (json_int_t)*pid);
    int rc = make_partitions(h, one, &seed, NULL, NULL);
    json_decref(one);
    json_array_append_new(parts, json_integer(*pid));
    return rc;
}

static bool index_in_build(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *all = indexes_of(h, tenant, low), *x;
    bool building = false;
    size_t i;
    json_array_foreach(all, i, x) building |= jint(x, "index_status", 2) != 2;
    json_decref(all);
    return building;
}

static json_t *partition(struct host *h, uint64_t tenant, uint64_t low, bool add, int64_t pid)
{
    json_t *t = table_get(h, full_id(tenant, low)), *parts = json_object_get(t, "partitions"), *v;
    const char *no = NULL;
    if (!t || jint(t, "part_level", 0) != 1 || jint(t, "binding", 0))
        no = "only for tables of one level without a binding tablegroup";
    else if (!add && json_array_size(parts) < 2)
        no = "a table keeps one partition";
    else if (!add && index_in_build(h, tenant, low))
        no = "drop partition before finishing index build";
    if (no) {
        json_decref(t);
        return fail(-4007, no);
    }
    struct ddl d = begin(h, tenant, add ? "add partition" : "drop partition", 3);
    size_t i, at = json_array_size(parts);
    int rc = 0;
    if (add) {
        rc = add_partition(h, &d, t, low, &pid);
    } else {
        json_array_foreach(parts, i, v) if (json_integer_value(v) == pid) at = i;
        rc = json_array_remove(parts, at) ? -4002 : 0;
    }
    json_object_set_new(t, "part_num", json_integer((json_int_t)json_array_size(parts)));
    json_array_append_new(d.tables, t);
    if (!rc)
        rc = ddl_commit(h, &d);
    struct gone g = {.table_id = full_id(tenant, low), .version = d.version, .pid = pid};
    if (!rc && !add)
        rc = for_table_pgs(h, g.table_id, drop_one, &g);
    return done(rc, &d, json_pack("{s:I}", "partition_id", (json_int_t)pid));
}

/* ---- local index: write-only first, then built from a snapshot, then AVAILABLE */

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

static json_t *create_index(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return fail(-5019, "no such table");
    uint64_t index = next_id(h, tenant, FIRST_INDEX, 1u << 20);
    struct ddl d = begin(h, tenant, "create index", 5);
    json_array_append_new(d.tables, index_json(index, low, compressor_from(jstr(t, "compressor", "none"))));
    json_decref(t);
    uint64_t arg[2] = {full_id(tenant, low), full_id(tenant, index)};
    int rc = for_table_pgs(h, arg[0], add_index_one, arg);
    if (!rc)
        rc = ddl_commit(h, &d);
    return done(rc, &d, json_pack("{s:I}", "index_id", (json_int_t)index));
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
    struct ddl d = begin(h, b->tenant, "index available", 6);
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
    if (!rc)
        rc = for_table_pgs(h, full_id(b->tenant, (uint64_t)jint(x, "data_table_id", 0)), build_one, b);
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

static json_t *index_available(struct host *h, uint64_t tenant, const json_t *req)
{
    struct build b = build_of(h, tenant, (uint64_t)jint(req, "index", 0), req);
    int64_t version = 0;
    int rc = build_index(&b, &version);
    return rc ? fail(rc, "ddl failed") : json_pack("{s:b,s:I}", "ok", 1, "schema_version", (json_int_t)version);
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
static json_t *add_index(struct host *h, uint64_t tenant, const json_t *req)
{
    int fd = ddl_lock(h);
    json_t *a = create_index(h, tenant, (uint64_t)jint(req, "table", 0));
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
    return fail(rc, "index build");
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

static json_t *drop_index(struct host *h, uint64_t tenant, uint64_t index)
{
    json_t *x = table_get(h, full_id(tenant, index));
    if (!x)
        return fail(-5019, "no such index");
    uint64_t arg[2] = {full_id(tenant, (uint64_t)jint(x, "data_table_id", 0)), full_id(tenant, index)};
    struct ddl d = begin(h, tenant, "drop index", 7);
    mark_deleted(&d, x);
    json_decref(x);
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = for_table_pgs(h, arg[0], drop_index_one, arg);
    return done(rc, &d, NULL);
}

/* ---- tablegroups */

/* Only a group without PGs of its own takes tables in and lets them go; a bound table stays where it was made. */
static json_t *change_group(struct host *h, uint64_t tenant, uint64_t low, uint64_t group)
{
    json_t *t = table_get(h, full_id(tenant, low)), *g = group ? table_get(h, full_id(tenant, group)) : NULL;
    int code = !t ? -5019 : group && !g ? -5151 : jint(t, "binding", 0) || jint(g, "binding", 0) ? -4007 : 0;
    if (!code && g && (jint(g, "part_num", 1) != jint(t, "part_num", 1) || jint(t, "part_level", 0) != 1))
        code = -4179;
    json_decref(g);
    if (code) {
        json_decref(t);
        return fail(code, "tablegroup");
    }
    struct ddl d = begin(h, tenant, group ? "tablegroup join" : "tablegroup leave", 3);
    json_object_set_new(t, "tablegroup_id", json_integer((json_int_t)group));
    json_array_append_new(d.tables, t);
    return done(ddl_commit(h, &d), &d, NULL);
}

static json_t *drop_tablegroup(struct host *h, uint64_t tenant, uint64_t group)
{
    json_t *g = table_get(h, full_id(tenant, group));
    if (!g)
        return fail(-5151, "no such tablegroup");
    if (catalog_int(h, 0,
                    "SELECT count(*) FROM so_table WHERE tenant_id = ? AND json_extract(info, '$.table_id') > 0 AND "
                    "json_extract(info, '$.tablegroup_id') = ?",
                    "ii", (int64_t)tenant, (int64_t)group)) {
        json_decref(g);
        return fail(-4615, "tablegroup is not empty");
    }
    struct ddl d = begin(h, tenant, "drop tablegroup", 21);
    json_object_set_new(g, "is_deleted", json_integer(1));
    d.tablegroups = json_array();
    json_array_append_new(d.tablegroups, g);
    int rc = ddl_commit(h, &d);
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++)
        if (pg_at(h, i)->state == PG_LIVE && pg_at(h, i)->key.table_id == full_id(tenant, group))
            rc = offline(h, i, d.version);
    return done(rc, &d, NULL);
}

/* ---- the verb */

static json_t *new_table(struct host *h, uint64_t tenant, const json_t *req)
{
    const struct table_spec t = {.tenant = tenant,
                                 .name = jstr(req, "name", NULL),
                                 .part_level = (int)jint(req, "part_level", 1),
                                 .parts = (int)jint(req, "partitions", 1),
                                 .subs = (int)jint(req, "sub_partitions", 2),
                                 .comp = compressor_from(jstr(req, "compressor", "none")),
                                 .tablegroup = (uint64_t)jint(req, "tablegroup", 0),
                                 .index = json_is_true(json_object_get(req, "index"))};
    int64_t id = table_create(h, &t, NULL, NULL);
    if (id < 0)
        return fail((int)id, "create table");
    json_t *j = table_get(h, full_id(tenant, (uint64_t)id));
    json_t *a = json_pack("{s:b,s:I,s:I}", "ok", 1, "table_id", (json_int_t)id, "schema_version",
                          (json_int_t)jint(j, "schema_version", 0));
    json_decref(j);
    return a;
}

static json_t *new_tablegroup(struct host *h, uint64_t tenant, const json_t *req)
{
    int64_t id = tablegroup_create(h, tenant, jstr(req, "name", "tg"), (int)jint(req, "partitions", 2),
                                   (int)jint(req, "tables", 2), !json_is_false(json_object_get(req, "binding")));
    return id < 0 ? fail((int)id, "create tablegroup")
                  : json_pack("{s:b,s:I}", "ok", 1, "tablegroup_id", (json_int_t)id);
}

/* A restore point forbids changes of indexes and partitions of the tables that it holds (restorable-set A1 a). */
static bool pinned(struct host *h, uint64_t tenant, const char *op, const json_t *req)
{
    static const char *const ALTER[] = {"create_index", "add_index",     "index_available",
                                        "drop_index",   "add_partition", "drop_partition"};
    bool alter = false;
    for (size_t i = 0; i < sizeof ALTER / sizeof *ALTER; i++)
        alter |= !strcmp(op, ALTER[i]);
    if (!alter)
        return false;
    int64_t low = jint(req, "table", 0);
    if (!low) {
        json_t *x = table_get(h, full_id(tenant, (uint64_t)jint(req, "index", 0)));
        low = jint(x, "data_table_id", 0);
        json_decref(x);
    }
    json_t *t = table_get(h, full_id(tenant, (uint64_t)low));
    int64_t born = jint(t, "create_us", 0);
    json_decref(t);
    return catalog_int(h, 0, "SELECT count(*) FROM so_restore_point WHERE tenant_id = ? AND ts > ?", "ii",
                       (int64_t)tenant, born) > 0;
}

static json_t *one_ddl(struct host *h, uint64_t tenant, const char *op, const json_t *req)
{
    uint64_t table = (uint64_t)jint(req, "table", 0), group = (uint64_t)jint(req, "tablegroup", 0);
    if (!strcmp(op, "create_table"))
        return new_table(h, tenant, req);
    if (!strcmp(op, "create_tablegroup"))
        return new_tablegroup(h, tenant, req);
    if (!strcmp(op, "drop_table"))
        return drop_table(h, tenant, table);
    if (!strcmp(op, "truncate"))
        return truncate_table(h, tenant, table);
    if (!strcmp(op, "add_partition") || !strcmp(op, "drop_partition"))
        return partition(h, tenant, table, op[0] == 'a', jint(req, "partition", 0));
    if (!strcmp(op, "create_index"))
        return create_index(h, tenant, table);
    if (!strcmp(op, "drop_index"))
        return drop_index(h, tenant, (uint64_t)jint(req, "index", 0));
    if (!strcmp(op, "tablegroup_join"))
        return change_group(h, tenant, table, group);
    if (!strcmp(op, "tablegroup_leave"))
        return change_group(h, tenant, table, 0);
    if (!strcmp(op, "drop_tablegroup"))
        return drop_tablegroup(h, tenant, group);
    return fail(-4002, "unknown ddl op");
}

json_t *schema_ddl(struct host *h, const json_t *req)
{
    uint64_t tenant = (uint64_t)jint(req, "tenant", 1001);
    const char *op = jstr(req, "op", "");
    if (pinned(h, tenant, op, req))
        return fail(-4179, "restore point exist, create index/alter not allowed");
    /* An index is built outside the lock: other DDL goes on meanwhile. */
    if (!strcmp(op, "index_available"))
        return index_available(h, tenant, req);
    if (!strcmp(op, "add_index"))
        return add_index(h, tenant, req);
    int fd = ddl_lock(h);
    json_t *a = one_ddl(h, tenant, op, req);
    ddl_unlock(fd);
    return a;
}
