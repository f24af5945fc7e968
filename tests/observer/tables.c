/* tables.c - creating and changing tables: PGs first, then the DDL's transaction, as seen by whoever reads the schema
 */
#include "schema.h"

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

/* Next free low id at or above first, over all schema rows that ever were: ids are never used again. */
static uint64_t next_id(struct host *h, uint64_t tenant, uint64_t first, uint64_t end)
{
    char name[64];
    snprintf(name, sizeof name, "so_next_%" PRIu64 "_%" PRIu64, tenant, first);
    catalog_begin(h);
    int64_t v = catalog_int(h, (int64_t)first,
                            "SELECT CAST(value AS INTEGER) FROM so_param WHERE host = 0 AND name = ?", "s", name);
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, v + 1);
    catalog_exec(h, "INSERT OR REPLACE INTO so_param (host, name, value) VALUES (0, ?, ?)", "ss", name, text);
    catalog_end(h);
    return (uint64_t)v < end ? (uint64_t)v : 0;
}

static json_t *table_json(uint64_t low, const char *name, int type, enum compressor comp)
{
    return json_pack("{s:I,s:I,s:i,s:s,s:i,s:I,s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:[],s:I,s:s,s:s}", "table_id",
                     (json_int_t)low, "schema_version", (json_int_t)0, "is_deleted", 0, "table_name", name,
                     "table_type", type, "data_table_id", (json_int_t)0, "tablegroup_id", (json_int_t)0, "index_type",
                     0, "index_status", 2, "part_level", 0, "part_num", 1, "sub_part_num", 0, "binding", 0,
                     "partitions", "create_us", (json_int_t)now_us(), "compressor", compressor_name(comp), "key_kind",
                     "int");
}

static struct shm_part make_part(uint64_t tenant, uint64_t low, struct pkey key, enum compressor comp,
                                 const uint64_t *index, int64_t version)
{
    struct shm_part p = {.key = key, .create_schema_version = version, .comp = (int)comp, .int_key = true, .n_idx = 1};
    p.idx[0] = full_id(tenant, low);
    p.idx_ready[0] = true;
    if (*index) {
        p.idx[p.n_idx] = full_id(tenant, *index);
        p.idx_ready[p.n_idx++] = true;
    }
    return p;
}

int64_t table_create(struct host *h, const struct table_spec *t, fill_fn fill, void *arg)
{
    uint64_t low = next_id(h, t->tenant, FIRST_USER_TABLE, FIRST_INDEX),
             index = t->index ? next_id(h, t->tenant, FIRST_INDEX, 1u << 20) : 0;
    if (!low)
        return -4013;
    struct ddl d = {.tenant = t->tenant, .version = schema_next_version(h), .what = "create table", .op = 4};
    char name[64];
    snprintf(name, sizeof name, "t%" PRIu64, low);
    json_t *j = table_json(low, t->name ? t->name : name, 3, t->comp), *parts = json_object_get(j, "partitions");
    json_object_set_new(j, "part_level", json_integer(t->part_level));
    json_object_set_new(j, "part_num", json_integer(t->parts));
    json_object_set_new(j, "sub_part_num", json_integer(t->part_level == 2 ? t->subs : 0));
    if (t->tablegroup) {
        json_object_set_new(j, "tablegroup_id", json_integer((json_int_t)t->tablegroup));
        json_object_set_new(j, "binding", json_integer(1));
    }
    int64_t version = h->shm->major_version, snapshot = clock_us(h);
    int rc = 0;
    for (int a = 0; a < t->parts && !rc; a++)
        for (int b = 0; b < (t->part_level == 2 ? t->subs : 1) && !rc; b++) {
            int64_t pid = partition_id_of(t->part_level, a, b);
            json_array_append_new(parts, json_integer(pid));
            struct pg_spec s = {.key = pkey_make(full_id(t->tenant, low), pid),
                                .kind = KIND_STANDALONE,
                                .n_parts = 1,
                                .schema_version = d.version,
                                .version = version,
                                .snapshot = snapshot};
            s.part[0] = make_part(t->tenant, low, s.key, t->comp, &index, d.version);
            if (fill)
                rc = fill(arg, h, &s.part[0], version, snapshot);
            if (!rc && !t->tablegroup)
                rc = pg_create(h, &s) < 0 ? -4000 : 0;
            if (rc || !t->tablegroup)
                continue;
            /* A bound table: one more member partition in the group's PG. */
            struct pkey tg = pkey_make(full_id(t->tenant, t->tablegroup), pid);
            int64_t pg = pg_find(h, &tg);
            rc = pg < 0 ? -4225 : pg_add_part(h, (uint32_t)pg, &s, d.version);
        }
    d.tables = json_array();
    json_array_append_new(d.tables, j);
    if (index) {
        snprintf(name, sizeof name, "__idx_%" PRIu64 "_i%" PRIu64, low, index);
        json_t *x = table_json(index, name, 5, t->comp);
        json_object_set_new(x, "data_table_id", json_integer((json_int_t)low));
        json_object_set_new(x, "index_type", json_integer(1));
        json_array_append_new(d.tables, x);
    }
    if (!rc)
        rc = ddl_commit(h, &d);
    json_decref(d.tables);
    return rc ? rc : (int64_t)low;
}

/* The new partition's majors exist in C/shared; every replica takes them at once. */
int pg_add_part(struct host *h, uint32_t pg, const struct pg_spec *s, int64_t schema_version)
{
    struct pg_spec one = *s;
    for (int k = 0; k < one.part[0].n_idx; k++)
        one.part[0].idx_base[k] = s->version;
    int rc = pg_first_majors(h, &one);
    struct obuf rest = {0};
    size_t at = unis_begin(&rest, 1);
    enc_pkey(&rest, &s->part[0].key);
    ob_vs(&rest, schema_version);
    unis_end(&rest, at);
    shm_lock(h);
    struct shm_pg *p = pg_at(h, pg);
    if (!rc && p->n_parts == PG_PARTS)
        rc = -4013;
    if (!rc) {
        p->part[p->n_parts] = one.part[0];
        p->part[p->n_parts].create_ts = clock_us(h);
        p->n_parts++;
        struct log_item it = {.kind = ST_ADD_PARTITION, .rest = rest.p, .rest_len = rest.n};
        log_items(h, pg, &it, 1);
    }
    shm_unlock(h);
    ob_free(&rest);
    for (int i = 1; i <= h->n_members && !rc; i++) {
        struct shm_cmd c = {.kind = CMD_ADOPT_MAJOR, .pg = pg, .a = s->version, .b = s->snapshot};
        if (host_alive(h, i))
            host_command(h, i, &c, 30000000);
    }
    /* data_info moves past the new partition's first rows, so that the PG has a version that covers all its members. */
    if (!rc && !cluster_catch_up(h, s->snapshot, 30000000))
        cluster_freeze(h, 0, 0, pg, FREEZE_FORCE, false);
    return rc;
}

int64_t tablegroup_create(struct host *h, uint64_t tenant, const char *name, int parts, int tables)
{
    uint64_t low = TG_BIT | next_id(h, tenant, 1, 1u << 20);
    struct ddl d = {.tenant = tenant, .version = schema_next_version(h), .what = "create tablegroup", .op = 20};
    int rc = 0;
    for (int a = 0; a < parts && !rc; a++) {
        struct pg_spec s = {.key = {full_id(tenant, low), a, 0}, .kind = KIND_TABLEGROUP, .schema_version = d.version};
        rc = pg_create(h, &s) < 0 ? -4000 : 0;
    }
    d.tablegroups = json_pack("[{s:I,s:I,s:i,s:s,s:i,s:i,s:i,s:i}]", "tablegroup_id", (json_int_t)low, "schema_version",
                              (json_int_t)0, "is_deleted", 0, "tablegroup_name", name, "part_level", 1, "part_num",
                              parts, "sub_part_num", 0, "binding", 1);
    if (!rc)
        rc = ddl_commit(h, &d);
    json_decref(d.tablegroups);
    for (int i = 0; i < tables && !rc; i++) {
        const struct table_spec t = {
            .tenant = tenant, .part_level = 1, .parts = parts, .comp = i % 2 ? C_ZSTD138 : C_LZ4, .tablegroup = low};
        int64_t id = table_create(h, &t, NULL, NULL);
        rc = id < 0 ? (int)id : 0;
    }
    return rc ? rc : (int64_t)low;
}

/* ---- verb ddl */

static int for_table_pgs(struct host *h, uint64_t table_id, int (*fn)(struct host *, uint32_t, void *), void *arg)
{
    int rc = 0;
    for (uint32_t i = 0; i < h->shm->n_pg && !rc; i++)
        for (int k = 0; k < pg_at(h, i)->n_parts && !rc; k++)
            if (pg_at(h, i)->state == PG_LIVE && pg_at(h, i)->part[k].idx[0] == table_id)
                rc = fn(h, i, arg);
    return rc;
}

static int drop_one(struct host *h, uint32_t pg, void *arg)
{
    const uint64_t *id = arg; /* table id, schema version, partition id or all */
    struct shm_pg *p = pg_at(h, pg);
    if (id[2] != NO_ID && (int64_t)id[2] != pkey_partition_id(&p->key))
        return 0;
    if (p->kind != KIND_TABLEGROUP)
        return log_offline(h, pg, (int64_t)id[1]);
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].idx[0] == id[0])
            p->part[k].dropped = true;
    return 0;
}

static json_t *done(int rc, struct ddl *d, json_t *extra)
{
    json_decref(d->tables);
    if (rc) {
        json_decref(extra);
        return fail(rc, "ddl failed");
    }
    json_t *a = extra ? extra : json_object();
    json_object_set_new(a, "ok", json_true());
    json_object_set_new(a, "schema_version", json_integer(d->version));
    return a;
}

static json_t *drop_table(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return fail(-5019, "no such table");
    struct ddl d = {
        .tenant = tenant, .version = schema_next_version(h), .what = "drop table", .op = 2, .tables = json_array()};
    json_object_set_new(t, "is_deleted", json_integer(1));
    json_array_append_new(d.tables, t);
    uint64_t arg[3] = {full_id(tenant, low), (uint64_t)d.version, NO_ID};
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = for_table_pgs(h, arg[0], drop_one, arg);
    return done(rc, &d, NULL);
}

static json_t *partition(struct host *h, uint64_t tenant, uint64_t low, bool add, int64_t pid)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t || jint(t, "part_level", 0) != 1 || jint(t, "binding", 0)) {
        json_decref(t);
        return fail(-4007, "only for tables of one level without a tablegroup");
    }
    struct ddl d = {.tenant = tenant,
                    .version = schema_next_version(h),
                    .what = add ? "add partition" : "drop partition",
                    .op = 3,
                    .tables = json_array()};
    json_t *parts = json_object_get(t, "partitions"), *v;
    size_t i;
    int rc = 0;
    if (add) {
        uint64_t index = 0;
        json_array_foreach(parts, i, v) if (json_integer_value(v) >= pid) pid = json_integer_value(v) + 1;
        for (uint32_t k = 0; k < h->shm->n_pg; k++)
            if (pg_at(h, k)->part[0].idx[0] == full_id(tenant, low) && pg_at(h, k)->part[0].n_idx > 1)
                index = low_id(pg_at(h, k)->part[0].idx[1]);
        struct pg_spec s = {.key = pkey_make(full_id(tenant, low), pid),
                            .kind = KIND_STANDALONE,
                            .n_parts = 1,
                            .schema_version = d.version};
        s.part[0] = make_part(tenant, low, s.key, compressor_from(jstr(t, "compressor", "none")), &index, d.version);
        rc = pg_create(h, &s) < 0 ? -4000 : 0;
        json_array_append_new(parts, json_integer(pid));
    } else {
        json_array_foreach(parts, i, v) if (json_integer_value(v) == pid)
        {
            json_array_remove(parts, i);
            break;
        }
    }
    json_object_set_new(t, "part_num", json_integer((json_int_t)json_array_size(parts)));
    json_array_append_new(d.tables, t);
    if (!rc)
        rc = ddl_commit(h, &d);
    uint64_t arg[3] = {full_id(tenant, low), (uint64_t)d.version, (uint64_t)pid};
    if (!rc && !add)
        rc = for_table_pgs(h, arg[0], drop_one, arg);
    return done(rc, &d, json_pack("{s:I}", "partition_id", (json_int_t)pid));
}

/* ---- local index: write-only first, then built from a snapshot, then AVAILABLE */

static int add_index(struct host *h, uint32_t pg, void *arg)
{
    const uint64_t *id = arg; /* table, index */
    struct shm_pg *p = pg_at(h, pg);
    shm_lock(h);
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].idx[0] == id[0] && p->part[k].n_idx < PART_INDEXES) {
            p->part[k].idx_ready[p->part[k].n_idx] = false;
            p->part[k].idx[p->part[k].n_idx] = id[1];
            atomic_thread_fence(memory_order_seq_cst);
            p->part[k].n_idx++;
        }
    shm_unlock(h);
    return 0;
}

static json_t *create_index(struct host *h, uint64_t tenant, uint64_t low)
{
    json_t *t = table_get(h, full_id(tenant, low));
    if (!t)
        return fail(-5019, "no such table");
    uint64_t index = next_id(h, tenant, FIRST_INDEX, 1u << 20);
    char name[64];
    snprintf(name, sizeof name, "__idx_%" PRIu64 "_i%" PRIu64, low, index);
    struct ddl d = {
        .tenant = tenant, .version = schema_next_version(h), .what = "create index", .op = 5, .tables = json_array()};
    json_t *x = table_json(index, name, 5, compressor_from(jstr(t, "compressor", "none")));
    json_decref(t);
    json_object_set_new(x, "data_table_id", json_integer((json_int_t)low));
    json_object_set_new(x, "index_type", json_integer(1));
    json_object_set_new(x, "index_status", json_integer(1));
    json_array_append_new(d.tables, x);
    uint64_t arg[2] = {full_id(tenant, low), full_id(tenant, index)};
    int rc = for_table_pgs(h, arg[0], add_index, arg);
    if (!rc)
        rc = ddl_commit(h, &d);
    return done(rc, &d, json_pack("{s:I}", "index_id", (json_int_t)index));
}

struct build {
    uint64_t index;
    int64_t version, snapshot;
};

static int build_one(struct host *h, uint32_t pg, void *arg)
{
    const struct build *b = arg;
    struct replica *r = replica_get(h, pg);
    struct shm_pg *p = pg_at(h, pg);
    int rc = r ? 0 : -4225;
    for (int k = 0; k < p->n_parts && !rc; k++)
        for (int i = 1; i < p->part[k].n_idx && !rc; i++)
            if (p->part[k].idx[i] == b->index) {
                rc = replica_build_index(h, r, &p->part[k], i, b->version, b->snapshot);
                p->part[k].idx_base[i] = b->version;
                p->part[k].idx_ready[i] = rc == 0;
            }
    for (int i = 1; i <= h->n_members && !rc; i++) {
        struct shm_cmd c = {.kind = CMD_ADOPT_MAJOR, .pg = pg, .a = b->version, .b = b->snapshot};
        if (host_alive(h, i))
            rc = host_command(h, i, &c, 60000000);
    }
    return rc;
}

static json_t *index_available(struct host *h, uint64_t tenant, uint64_t index)
{
    json_t *x = table_get(h, full_id(tenant, index));
    if (!x)
        return fail(-5019, "no such index");
    /* Transactions that began before the index was known do not log it: wait them out. */
    int64_t marker = h->shm->next_tx;
    for (uint32_t i = 0; i < MAX_TX && !h->stopping;) {
        const struct shm_tx *t = &h->shm->tx[i];
        if (t->state != TX_FREE && t->id < marker)
            sleep_us(20000);
        else
            i++;
    }
    struct build b = {full_id(tenant, index), h->shm->major_version, clock_us(h)};
    int rc = cluster_catch_up(h, b.snapshot, 60000000);
    if (!rc)
        rc = for_table_pgs(h, full_id(tenant, (uint64_t)jint(x, "data_table_id", 0)), build_one, &b);
    struct ddl d = {.tenant = tenant,
                    .version = schema_next_version(h),
                    .what = "index available",
                    .op = 6,
                    .tables = json_array()};
    json_object_set_new(x, "index_status", json_integer(2));
    json_array_append_new(d.tables, x);
    if (!rc)
        rc = ddl_commit(h, &d);
    return done(rc, &d, NULL);
}

static int drop_index_one(struct host *h, uint32_t pg, void *arg)
{
    const uint64_t *id = arg;
    struct shm_pg *p = pg_at(h, pg);
    shm_lock(h);
    for (int k = 0; k < p->n_parts; k++)
        for (int i = 1; i < p->part[k].n_idx; i++)
            if (p->part[k].idx[i] == id[1]) {
                for (int n = i; n + 1 < p->part[k].n_idx; n++) {
                    p->part[k].idx[n] = p->part[k].idx[n + 1];
                    p->part[k].idx_ready[n] = p->part[k].idx_ready[n + 1];
                    p->part[k].idx_base[n] = p->part[k].idx_base[n + 1];
                }
                p->part[k].n_idx--;
            }
    shm_unlock(h);
    return 0;
}

static json_t *drop_index(struct host *h, uint64_t tenant, uint64_t index)
{
    json_t *x = table_get(h, full_id(tenant, index));
    if (!x)
        return fail(-5019, "no such index");
    uint64_t arg[2] = {full_id(tenant, (uint64_t)jint(x, "data_table_id", 0)), full_id(tenant, index)};
    struct ddl d = {
        .tenant = tenant, .version = schema_next_version(h), .what = "drop index", .op = 7, .tables = json_array()};
    json_object_set_new(x, "is_deleted", json_integer(1));
    json_array_append_new(d.tables, x);
    int rc = ddl_commit(h, &d);
    if (!rc)
        rc = for_table_pgs(h, arg[0], drop_index_one, arg);
    return done(rc, &d, NULL);
}

json_t *schema_ddl(struct host *h, const json_t *req)
{
    uint64_t tenant = (uint64_t)jint(req, "tenant", 1001), table = (uint64_t)jint(req, "table", 0);
    const char *op = jstr(req, "op", "");
    if (catalog_int(h, 0, "SELECT count(*) FROM so_restore_point WHERE tenant_id = ?", "i", (int64_t)tenant) &&
        strcmp(op, "create_table"))
        return fail(-4179, "restore point exists");
    if (!strcmp(op, "create_table")) {
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
    if (!strcmp(op, "create_tablegroup")) {
        int64_t id = tablegroup_create(h, tenant, jstr(req, "name", "tg"), (int)jint(req, "partitions", 2),
                                       (int)jint(req, "tables", 2));
        return id < 0 ? fail((int)id, "create tablegroup")
                      : json_pack("{s:b,s:I}", "ok", 1, "tablegroup_id", (json_int_t)id);
    }
    if (!strcmp(op, "drop_table"))
        return drop_table(h, tenant, table);
    if (!strcmp(op, "add_partition") || !strcmp(op, "drop_partition"))
        return partition(h, tenant, table, op[0] == 'a', jint(req, "partition", 0));
    if (!strcmp(op, "create_index"))
        return create_index(h, tenant, table);
    if (!strcmp(op, "index_available"))
        return index_available(h, tenant, (uint64_t)jint(req, "index", 0));
    if (!strcmp(op, "drop_index"))
        return drop_index(h, tenant, (uint64_t)jint(req, "index", 0));
    return fail(-4002, "unknown ddl op");
}
