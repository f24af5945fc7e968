/* ddl.c - verb ddl: what changes tables, indexes, partitions and tablegroups that exist */
#include "ddl.h"

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

json_t *ddl_fail(int code, const char *text)
{
    return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", code, "error", text);
}

json_t *ddl_done(int rc, struct ddl *d, json_t *extra)
{
    json_decref(d->tables);
    json_decref(d->tablegroups);
    if (rc) {
        json_decref(extra);
        return ddl_fail(rc, "ddl failed");
    }
    json_t *a = extra ? extra : json_object();
    json_object_set_new(a, "ok", json_true());
    json_object_set_new(a, "schema_version", json_integer(d->version));
    return a;
}

struct ddl ddl_begin(struct host *h, uint64_t tenant, const char *what, int op)
{
    return (struct ddl){
        .tenant = tenant, .version = schema_next_version(h), .what = what, .op = op, .tables = json_array()};
}

int ddl_each_pg(struct host *h, uint64_t table_id, int (*fn)(struct host *, uint32_t, void *), void *arg)
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

bool index_is_global(const json_t *x) { return jint(x, "index_type", 0) == 3; }

/* Indexes of a table as JSON, local and global, those being built as well. */
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

void ddl_delete(struct ddl *d, json_t *t)
{
    json_object_set_new(t, "is_deleted", json_integer(1));
    json_array_append(d->tables, t);
}

/* The table and all its indexes leave the schema. */
static void mark_table(struct host *h, struct ddl *d, uint64_t low, json_t *table)
{
    json_t *all = indexes_of(h, d->tenant, low), *x;
    size_t i;
    json_array_foreach(all, i, x) ddl_delete(d, x);
    ddl_delete(d, table);
    json_decref(all);
}

/* PGs of the table and of its global indexes, as listed in the DDL, go. */
int ddl_offline(struct host *h, const struct ddl *d)
{
    size_t i;
    json_t *t;
    int rc = 0;
    json_array_foreach(d->tables, i, t)
    {
        struct gone g = {
            .table_id = full_id(d->tenant, (uint64_t)jint(t, "table_id", 0)), .version = d->version, .all = true};
        if (!rc && jint(t, "is_deleted", 0))
            rc = ddl_each_pg(h, g.table_id, drop_one, &g);
    }
    return rc;
}

/* With delayed drops SQL shows the rows for longer, with a drop_schema_version. */
static void delay(json_t *t, bool delayed)
{
    if (delayed)
        json_object_set_new(t, "delayed", json_integer(1));
    else
        json_object_del(t, "delayed");
}

static json_t *drop_table(struct host *h, uint64_t tenant, uint64_t low, bool delayed)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return ddl_fail(-5019, "no such table");
    struct ddl d = ddl_begin(h, tenant, "drop table", 2);
    delay(t, delayed);
    mark_table(h, &d, low, t);
    json_decref(t);
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = ddl_offline(h, &d);
    return ddl_done(rc, &d, NULL);
}

int ddl_global_pgs(struct host *h, const struct ddl *d, const json_t *index, enum compressor comp)
{
    const struct part_seed seed = {.tenant = d->tenant,
                                   .low = (uint64_t)jint(index, "table_id", 0),
                                   .comp = comp,
                                   .version = d->version,
                                   .index_type = 3};
    return make_partitions(h, index, &seed, NULL, NULL);
}

/* As in 3.1: a new, empty table of the same name, with new ids for it and for its indexes; the old one is dropped. */
static json_t *truncate_table(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *old = table_get(h, full_id(tenant, low));
    if (!old)
        return ddl_fail(-5019, "no such table");
    json_t *indexes = indexes_of(h, tenant, low), *x;
    uint64_t fresh = next_id(h, tenant, FIRST_USER_TABLE, FIRST_INDEX);
    struct ddl d = ddl_begin(h, tenant, "truncate table", 7);
    struct part_seed seed = {
        .tenant = tenant, .low = fresh, .comp = compressor_from(jstr(old, "compressor", "none")), .version = d.version};
    json_t *t = json_deep_copy(old), *news = json_array();
    json_object_set_new(t, "table_id", json_integer((json_int_t)fresh));
    json_object_set_new(t, "create_us", json_integer(clock_us(h)));
    size_t i;
    int rc = 0;
    json_array_foreach(indexes, i, x)
    {
        if (seed.n_index + 1 == PART_INDEXES)
            break;
        uint64_t id = next_id(h, tenant, FIRST_INDEX, 1u << 20);
        int parts = (int)jint(x, "part_num", 1);
        json_t *n =
            index_is_global(x) ? global_index_json(id, fresh, seed.comp, parts) : index_json(id, fresh, seed.comp);
        if (index_is_global(x))
            rc = rc ? rc : ddl_global_pgs(h, &d, n, seed.comp);
        else
            seed.index[seed.n_index++] = id;
        json_object_set_new(n, "index_status", json_integer(2));
        json_array_append_new(news, n);
    }
    if (!rc)
        rc = fresh ? make_partitions(h, t, &seed, NULL, NULL) : -4013;
    mark_table(h, &d, low, old);
    json_array_extend(d.tables, news);
    json_array_append(d.tables, t);
    if (!rc)
        rc = ddl_commit(h, &d);
    if (!rc)
        rc = ddl_offline(h, &d);
    json_decref(old);
    json_decref(t);
    json_decref(news);
    json_decref(indexes);
    return ddl_done(rc, &d, json_pack("{s:I}", "table_id", (json_int_t)fresh));
}

/* ---- partitions of a table of one level without a binding tablegroup */

static int add_partition(struct host *h, struct ddl *d, json_t *t, uint64_t low, int64_t *pid)
{
    json_t *parts = json_object_get(t, "partitions"), *indexes = indexes_of(h, d->tenant, low), *v;
    struct part_seed seed = {
        .tenant = d->tenant, .low = low, .comp = compressor_from(jstr(t, "compressor", "none")), .version = d->version};
    size_t i;
    json_array_foreach(parts, i, v) if (json_integer_value(v) >= *pid) *pid = json_integer_value(v) + 1;
    json_array_foreach(indexes, i, v)
    {
        if (!index_is_global(v) && seed.n_index + 1 < PART_INDEXES)
            seed.index[seed.n_index++] = (uint64_t)jint(v, "table_id", 0);
    }
    json_decref(indexes);
    json_t *one = json_pack("{s:[I]}", "partitions", (json_int_t)*pid);
    int rc = make_partitions(h, one, &seed, NULL, NULL);
    json_decref(one);
    json_array_append_new(parts, json_integer(*pid));
    return rc;
}

/* A partition is not dropped under an index in the making, nor under a global one. */
static bool index_forbids(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *all = indexes_of(h, tenant, low), *x;
    bool forbids = false;
    size_t i;
    json_array_foreach(all, i, x) forbids |= jint(x, "index_status", 2) != 2 || index_is_global(x);
    json_decref(all);
    return forbids;
}

static json_t *partition(struct host *h, uint64_t tenant, uint64_t low, bool add, int64_t pid, bool delayed)
{
    json_t *t = table_get(h, full_id(tenant, low)), *parts = json_object_get(t, "partitions"), *v;
    const char *no = NULL;
    if (!t || jint(t, "part_level", 0) != 1 || jint(t, "binding", 0))
        no = "only for tables of one level without a binding tablegroup";
    else if (!add && json_array_size(parts) < 2)
        no = "a table keeps one partition";
    else if (!add && index_forbids(h, tenant, low))
        no = "drop partition before finishing index build, or with global indexes";
    if (no) {
        json_decref(t);
        return ddl_fail(-4007, no);
    }
    struct ddl d = ddl_begin(h, tenant, add ? "add partition" : "drop partition", 3);
    size_t i, at = json_array_size(parts);
    int rc = 0;
    delay(t, delayed);
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
        rc = ddl_each_pg(h, g.table_id, drop_one, &g);
    return ddl_done(rc, &d, json_pack("{s:I}", "partition_id", (json_int_t)pid));
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
        return ddl_fail(code, "tablegroup");
    }
    struct ddl d = ddl_begin(h, tenant, group ? "tablegroup join" : "tablegroup leave", 3);
    json_object_set_new(t, "tablegroup_id", json_integer((json_int_t)group));
    json_array_append_new(d.tables, t);
    return ddl_done(ddl_commit(h, &d), &d, NULL);
}

static json_t *drop_tablegroup(struct host *h, uint64_t tenant, uint64_t group, bool delayed)
{
    json_t *g = table_get(h, full_id(tenant, group));
    if (!g)
        return ddl_fail(-5151, "no such tablegroup");
    if (catalog_int(h, 0,
                    "SELECT count(*) FROM so_table WHERE tenant_id = ? AND json_extract(info, '$.table_id') > 0 AND "
                    "json_extract(info, '$.tablegroup_id') = ?",
                    "ii", (int64_t)tenant, (int64_t)group)) {
        json_decref(g);
        return ddl_fail(-4615, "tablegroup is not empty");
    }
    struct ddl d = ddl_begin(h, tenant, "drop tablegroup", 21);
    delay(g, delayed);
    json_object_set_new(g, "is_deleted", json_integer(1));
    d.tablegroups = json_array();
    json_array_append_new(d.tablegroups, g);
    int rc = ddl_commit(h, &d);
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++)
        if (pg_at(h, i)->state == PG_LIVE && pg_at(h, i)->key.table_id == full_id(tenant, group))
            rc = offline(h, i, d.version);
    return ddl_done(rc, &d, NULL);
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
        return ddl_fail((int)id, "create table");
    json_t *j = table_get(h, full_id(tenant, (uint64_t)id));
    json_t *a = json_pack("{s:b,s:I,s:I}", "ok", 1, "table_id", (json_int_t)id, "schema_version",
                          (json_int_t)jint(j, "schema_version", 0));
    json_decref(j);
    return a;
}

/* A user's view: a row of the schema without partitions. */
static json_t *new_view(struct host *h, uint64_t tenant, const json_t *req)
{
    uint64_t low = next_id(h, tenant, FIRST_USER_TABLE, FIRST_INDEX);
    char name[64];
    snprintf(name, sizeof name, "v%" PRIu64, low);
    struct ddl d = ddl_begin(h, tenant, "create view", 4);
    json_array_append_new(d.tables, table_json(low, jstr(req, "name", name), 4, C_NONE));
    return ddl_done(low ? ddl_commit(h, &d) : -4013, &d, json_pack("{s:I}", "table_id", (json_int_t)low));
}

static json_t *new_tablegroup(struct host *h, uint64_t tenant, const json_t *req)
{
    int64_t id = tablegroup_create(h, tenant, jstr(req, "name", "tg"), (int)jint(req, "partitions", 2),
                                   (int)jint(req, "tables", 2), !json_is_false(json_object_get(req, "binding")));
    return id < 0 ? ddl_fail((int)id, "create tablegroup")
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
    bool delayed = json_is_true(json_object_get(req, "delayed"));
    if (!strcmp(op, "create_table"))
        return new_table(h, tenant, req);
    if (!strcmp(op, "create_view"))
        return new_view(h, tenant, req);
    if (!strcmp(op, "create_tablegroup"))
        return new_tablegroup(h, tenant, req);
    if (!strcmp(op, "drop_table"))
        return drop_table(h, tenant, table, delayed);
    if (!strcmp(op, "truncate"))
        return truncate_table(h, tenant, table);
    if (!strcmp(op, "add_partition") || !strcmp(op, "drop_partition"))
        return partition(h, tenant, table, op[0] == 'a', jint(req, "partition", 0), delayed);
    if (!strcmp(op, "create_index"))
        return create_index(h, tenant, table, 0);
    if (!strcmp(op, "drop_index"))
        return drop_index(h, tenant, (uint64_t)jint(req, "index", 0));
    if (!strcmp(op, "tablegroup_join"))
        return change_group(h, tenant, table, group);
    if (!strcmp(op, "tablegroup_leave"))
        return change_group(h, tenant, table, 0);
    if (!strcmp(op, "drop_tablegroup"))
        return drop_tablegroup(h, tenant, group, delayed);
    return ddl_fail(-4002, "unknown ddl op");
}

json_t *schema_ddl(struct host *h, const json_t *req)
{
    uint64_t tenant = (uint64_t)jint(req, "tenant", 1001);
    const char *op = jstr(req, "op", "");
    if (pinned(h, tenant, op, req))
        return ddl_fail(-4179, "restore point exist, create index/alter not allowed");
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
