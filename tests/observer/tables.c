/* tables.c - creating and changing tables: PGs first, then the DDL's transaction, as seen by whoever reads the schema
 */
#include "tables.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

/* Next free low id at or above first, over all schema rows that ever were: ids are never used again. */
uint64_t next_id(struct host *h, uint64_t tenant, uint64_t first, uint64_t end)
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

json_t *table_json(uint64_t low, const char *name, int type, enum compressor comp)
{
    return json_pack("{s:I,s:I,s:i,s:s,s:i,s:I,s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:[],s:I,s:s,s:s}", "table_id",
                     (json_int_t)low, "schema_version", (json_int_t)0, "is_deleted", 0, "table_name", name,
                     "table_type", type, "data_table_id", (json_int_t)0, "tablegroup_id", (json_int_t)0, "index_type",
                     0, "index_status", 2, "part_level", 0, "part_num", 1, "sub_part_num", 0, "binding", 0,
                     "partitions", "create_us", (json_int_t)now_us(), "compressor", compressor_name(comp), "key_kind",
                     "int");
}

json_t *index_json(uint64_t index, uint64_t table, enum compressor comp)
{
    char name[64];
    snprintf(name, sizeof name, "__idx_%" PRIu64 "_i%" PRIu64, table, index);
    json_t *x = table_json(index, name, 5, comp);
    json_object_set_new(x, "data_table_id", json_integer((json_int_t)table));
    json_object_set_new(x, "index_type", json_integer(1));
    json_object_set_new(x, "index_status", json_integer(1));
    return x;
}

json_t *global_index_json(uint64_t index, uint64_t table, enum compressor comp, int parts)
{
    json_t *x = index_json(index, table, comp);
    json_object_set_new(x, "index_type", json_integer(3));
    json_object_set_new(x, "part_level", json_integer(1));
    json_object_set_new(x, "part_num", json_integer(parts));
    for (int i = 0; i < parts; i++)
        json_array_append_new(json_object_get(x, "partitions"), json_integer(i));
    return x;
}

struct shm_part make_part(const struct part_seed *s, struct pkey key)
{
    struct shm_part p = {
        .key = key, .create_schema_version = s->version, .comp = (int)s->comp, .int_key = true, .n_idx = 1};
    p.index_type = s->index_type;
    p.idx[0] = full_id(s->tenant, s->low);
    p.idx_ready[0] = true;
    for (int i = 0; i < s->n_index; i++) { /* an empty partition's index is complete from the start */
        p.idx[p.n_idx] = full_id(s->tenant, s->index[i]);
        p.idx_ready[p.n_idx++] = true;
    }
    return p;
}

int make_partitions(struct host *h, const json_t *table, const struct part_seed *seed, fill_fn fill, void *arg)
{
    int64_t version = h->shm->major_version, snapshot = clock_us(h);
    uint64_t group = jint(table, "binding", 0) ? (uint64_t)jint(table, "tablegroup_id", 0) : 0;
    int rc = 0;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(table, "partitions"), i, v)
    {
        int64_t pid = json_integer_value(v);
        struct pg_spec s = {.key = pkey_make(full_id(seed->tenant, seed->low), pid),
                            .kind = KIND_STANDALONE,
                            .n_parts = 1,
                            .schema_version = seed->version,
                            .version = version,
                            .snapshot = snapshot};
        s.part[0] = make_part(seed, s.key);
        if (!rc && fill)
            rc = fill(arg, h, &s.part[0], version, snapshot);
        if (rc)
            break;
        if (!group) {
            rc = pg_create(h, &s) < 0 ? -4000 : 0;
            continue;
        }
        /* A bound table: one more member partition in the group's PG. */
        struct pkey tg = pkey_make(full_id(seed->tenant, group), pid);
        int64_t pg = pg_find(h, &tg);
        rc = pg < 0 ? -4225 : pg_add_part(h, (uint32_t)pg, &s, seed->version);
    }
    return rc;
}

/* The tablegroup's own state: does it hold its tables' partitions in PGs of its own? */
static bool group_binds(struct host *h, uint64_t tenant, uint64_t group)
{
    json_t *g = group ? table_get(h, full_id(tenant, group)) : NULL;
    bool binds = jint(g, "binding", 0) != 0;
    json_decref(g);
    return binds;
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
    json_object_set_new(j, "tablegroup_id", json_integer((json_int_t)t->tablegroup));
    json_object_set_new(j, "binding", json_integer(group_binds(h, t->tenant, t->tablegroup)));
    for (int a = 0; a < t->parts; a++)
        for (int b = 0; b < (t->part_level == 2 ? t->subs : 1); b++)
            json_array_append_new(parts, json_integer(partition_id_of(t->part_level, a, b)));
    const struct part_seed seed = {.tenant = t->tenant,
                                   .low = low,
                                   .comp = t->comp,
                                   .version = d.version,
                                   .index = {index},
                                   .n_index = index != 0};
    int rc = make_partitions(h, j, &seed, fill, arg);
    d.tables = json_array();
    json_array_append_new(d.tables, j);
    if (index) {
        json_t *x = index_json(index, low, t->comp);
        json_object_set_new(x, "index_status", json_integer(2));
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

int64_t tablegroup_create(struct host *h, uint64_t tenant, const char *name, int parts, int tables, bool binding)
{
    uint64_t low = TG_BIT | next_id(h, tenant, FIRST_GROUP, 1u << 20);
    struct ddl d = {.tenant = tenant, .version = schema_next_version(h), .what = "create tablegroup", .op = 20};
    int rc = 0;
    for (int a = 0; binding && a < parts && !rc; a++) {
        struct pg_spec s = {.key = {full_id(tenant, low), a, 0}, .kind = KIND_TABLEGROUP, .schema_version = d.version};
        rc = pg_create(h, &s) < 0 ? -4000 : 0;
    }
    d.tablegroups = json_pack("[{s:I,s:I,s:i,s:s,s:i,s:i,s:i,s:i}]", "tablegroup_id", (json_int_t)low, "schema_version",
                              (json_int_t)0, "is_deleted", 0, "tablegroup_name", name, "part_level", 1, "part_num",
                              parts, "sub_part_num", 0, "binding", (int)binding);
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
