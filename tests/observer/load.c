/* load.c - bulk data: tables whose rows lie in a first major sstable, written once for all hosts */
#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct fill {
    int64_t rows;
    uint32_t row_bytes;
    uint64_t seed;
    int64_t bytes_done, rows_done;
    int part;
    uint64_t tg; /* tablegroup's full id when the partitions lie in its PGs */
};

/* Half noise, half text: compresses about 2 to 1. */
static void make_value(uint8_t *p, uint32_t n, uint64_t *s)
{
    static const char TEXT[] = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs; ";
    uint32_t noise = n / 2, i = 0;
    for (; i + 8 <= noise; i += 8) {
        uint64_t v = rnd_next(s);
        memcpy(p + i, &v, 8);
    }
    for (; i < n; i++)
        p[i] = (uint8_t)TEXT[(i + *s % 64) % (sizeof TEXT - 1)];
}

static int add_rows(struct host *h, const struct shm_part *p, int idx, int64_t version, int64_t snapshot,
                    struct fill *f)
{
    char *path = major_path(h, &p->key, p->idx[idx], version);
    struct sst_spec s = {.key = {.type = T_MAJOR, .pkey = p->key, .table_id = p->idx[idx], .version = version},
                         .pg_key = p->key};
    s.key.v = (struct vrange){snapshot, 0, snapshot};
    s.key.l = (struct lrange){0, snapshot, snapshot};
    s.comp = (enum compressor)p->comp;
    s.int_key = idx == 0;
    s.index_type = idx ? 1 : p->index_type;
    s.schema_version = p->create_schema_version;
    s.data_version = version;
    s.path = path;
    if (f->tg)
        s.pg_key.table_id = f->tg;
    struct sst_builder *b = sb_new(h, &s);
    uint8_t key[8], *val = xmalloc(f->row_bytes);
    uint64_t seed = f->seed + (uint64_t)f->part * 1000003;
    struct rows index = {0};
    int rc = 0;
    for (int64_t i = 0; i < f->rows && !rc; i++) {
        stbe64(key, (uint64_t)i * 4);
        struct row r = {.op = OP_PUT, .klen = 8, .vlen = f->row_bytes, .version = snapshot, .key = key, .val = val};
        if (idx == 0) {
            make_value(val, f->row_bytes, &seed);
            rc = sb_add(b, &r);
            continue;
        }
        uint8_t k2[16];
        stbe64(k2, murmur64a(key, 8, p->idx[idx] & 0xffff));
        memcpy(k2 + 8, key, 8);
        r.klen = 16;
        r.vlen = 0;
        r.key = r.val = k2;
        rows_add(&index, &r);
    }
    rows_sort(&index);
    for (size_t i = 0; i < index.n && !rc; i++)
        rc = sb_add(b, &index.r[i]);
    rows_free(&index);
    free(val);
    struct sst *t = sb_finish(b);
    if (!t)
        rc = -4009;
    else
        f->bytes_done += t->meta.occupy_size;
    sst_unref(t);
    free(path);
    return rc;
}

static int fill_part(void *arg, struct host *h, const struct shm_part *p, int64_t version, int64_t snapshot)
{
    struct fill *f = arg;
    int rc = 0;
    for (int k = 0; k < p->n_idx && !rc; k++)
        rc = add_rows(h, p, k, version, snapshot, f);
    f->rows_done += f->rows;
    f->part++;
    return rc;
}

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

json_t *schema_load(struct host *h, const json_t *req)
{
    static const enum compressor MIX[] = {C_NONE, C_LZ4, C_ZSTD138};
    uint64_t tenant = (uint64_t)jint(req, "tenant", 1001);
    int64_t tables = jint(req, "tables", 1), parts = jint(req, "partitions", 1), bytes = jint(req, "bytes", 1 << 20),
            subs = jint(req, "sub_partitions", 2);
    int level = (int)jint(req, "part_level", parts > 1 ? 1 : 0);
    struct fill f = {.row_bytes = (uint32_t)jint(req, "row_bytes", 1024), .seed = (uint64_t)jint(req, "seed", 1)};
    const char *comp = json_string_value(json_object_get(req, "compressor"));
    json_t *out = json_array();
    uint64_t tg = 0;
    int rc = 0;
    if (level == 0)
        parts = 1;
    if (f.row_bytes < 16 || f.row_bytes > 1000000 || tables < 1 || parts < 1 || (level == 2 && subs < 1))
        rc = -4002;
    if (!rc && json_is_true(json_object_get(req, "tablegroup"))) {
        int64_t id = tablegroup_create(h, tenant, "tg_load", (int)parts, 0, true);
        if (id < 0)
            rc = (int)id;
        tg = (uint64_t)id;
        level = 1;
        f.tg = full_id(tenant, tg);
    }
    int64_t n_parts = parts * (level == 2 ? subs : 1);
    f.rows = bytes / tables / n_parts / (f.row_bytes + 8 + ROW_HEAD);
    for (int64_t i = 0; i < tables && !rc; i++) {
        const struct table_spec t = {.tenant = tenant,
                                     .part_level = level,
                                     .parts = (int)parts,
                                     .subs = (int)subs,
                                     .comp = !comp || !strcmp(comp, "mix") ? MIX[i % 3] : compressor_from(comp),
                                     .tablegroup = tg,
                                     .index = json_is_true(json_object_get(req, "index"))};
        if (!t.comp) {
            rc = -4002;
            break;
        }
        int64_t id = table_create(h, &t, fill_part, &f);
        if (id < 0)
            rc = (int)id;
        else
            json_array_append_new(out, json_integer(id));
    }
    if (rc) {
        json_decref(out);
        return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "load failed");
    }
    return json_pack("{s:b,s:o,s:I,s:I,s:I}", "ok", 1, "tables", out, "rows", (json_int_t)f.rows_done, "stored_bytes",
                     (json_int_t)f.bytes_done, "tablegroup", (json_int_t)tg);
}

static int one_tenant(struct host *h, uint64_t tenant, bool small)
{
    char name[32];
    snprintf(name, sizeof name, "t%" PRIu64, tenant);
    int rc = tenant_create(h, tenant, name, NULL, NULL);
    if (!rc)
        rc = tenant_sys_pgs(h, tenant, 0, 0);
    static const char *const LOADS[] = {
        "{'part_level':0,'bytes':300000,'compressor':'none'}",
        "{'part_level':1,'partitions':4,'bytes':1200000,'compressor':'lz4_1.0','index':true}",
        "{'part_level':2,'partitions':2,'sub_partitions':3,'bytes':900000,'compressor':'zstd_1.3.8'}",
        "{'part_level':1,'partitions':2,'tables':2,'bytes':800000,'tablegroup':true}",
    };
    for (size_t i = 0; i < (small ? 2 : 4) && !rc; i++) {
        json_t *r = json_loads(LOADS[i], 0, NULL);
        if (!r) { /* single quotes for reading, double ones for JSON */
            char *s = xstrdup(LOADS[i]);
            for (char *p = s; *p; p++)
                if (*p == '\'')
                    *p = '"';
            r = json_loads(s, 0, NULL);
            free(s);
        }
        json_object_set_new(r, "tenant", json_integer((json_int_t)tenant));
        json_object_set_new(r, "seed", json_integer((json_int_t)(tenant + i)));
        json_t *a = schema_load(h, r);
        if (!json_is_true(json_object_get(a, "ok")))
            rc = (int)jint(a, "code", -4000);
        json_decref(a);
        json_decref(r);
    }
    return rc;
}

json_t *schema_layout(struct host *h, const json_t *req)
{
    json_t *list = json_object_get(req, "tenants"), *v;
    bool small = json_is_true(json_object_get(req, "small"));
    size_t i;
    int rc = 0;
    struct pkey sys = {full_id(OBS_SYS_TENANT, 1), 0, 0};
    if (pg_find(h, &sys) < 0)
        rc = tenant_sys_pgs(h, OBS_SYS_TENANT, 0, 0);
    if (!rc && !catalog_int(h, 0, "SELECT count(*) FROM __all_resource_pool", "")) {
        static const struct {
            const char *name;
            int64_t tenant;
        } POOLS[] = {
            {"pool_1001", 1001}, {"pool_1002", 1002}, {"pool_free1", -1}, {"pool_free2", -1}, {"pool_free3", -1}};
        char now[32];
        time_text(clock_us(h), now);
        for (size_t k = 0; k < sizeof POOLS / sizeof *POOLS; k++)
            catalog_exec(h,
                         "INSERT INTO __all_resource_pool (gmt_create, gmt_modified, resource_pool_id, name, "
                         "unit_count, unit_config_id, zone_list, "
                         "tenant_id, replica_type) SELECT ?, ?, ?, ?, 1, 1, zone_list, ?, 0 FROM __all_tenant WHERE "
                         "tenant_id = 1",
                         "ssisi", now, now, (int64_t)(1001 + k), POOLS[k].name, POOLS[k].tenant);
    }
    if (!json_is_array(list))
        for (uint64_t t = 1001; t <= 1002 && !rc; t++)
            rc = one_tenant(h, t, small);
    else
        json_array_foreach(list, i, v) /* none: a restore target, sys tenant and pools only */
            if (!rc) rc = one_tenant(h, (uint64_t)json_integer_value(v), small);
    catalog_sync(h);
    if (!rc)
        rc = cluster_catch_up(h, clock_us(h), 30000000);
    if (rc)
        return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", "layout failed");
    return json_pack("{s:b,s:I}", "ok", 1, "pgs", (json_int_t)h->shm->n_pg);
}
