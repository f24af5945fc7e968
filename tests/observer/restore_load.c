/* restore_load.c - last part of a restore: the reader's row files become the first majors of a new tenant's PGs */
#include "schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_VALUE (16u << 20)

/* ---- row files: "OBVROWS1", records, end record (CONTRACT.md 9) */

struct row_file {
    FILE *f;
    uint64_t index; /* of the record that was read last: low id; UINT64_MAX at the end */
    struct row row;
    uint8_t *key, *val;
    int64_t rows;
};

/* 1 a record, 0 the end, -1 damaged */
static int next_record(struct row_file *r)
{
    uint8_t head[24];
    if (fread(head, 1, sizeof head, r->f) != sizeof head)
        return -1;
    uint32_t klen = ld32(head + 8), vlen = ld32(head + 12);
    r->index = ld64(head);
    r->row = (struct row){.op = OP_PUT, .klen = (uint16_t)klen, .vlen = vlen, .version = (int64_t)ld64(head + 16)};
    if (r->index == UINT64_MAX)
        return !klen && !vlen && r->row.version == r->rows && fgetc(r->f) == EOF ? 0 : -1;
    if (klen > MAX_KEY || vlen > MAX_VALUE)
        return -1;
    r->val = xrealloc(r->val, vlen + 1u);
    if (fread(r->key, 1, klen, r->f) != klen || fread(r->val, 1, vlen, r->f) != vlen)
        return -1;
    r->val[vlen] = 0;
    r->row.key = r->key;
    r->row.val = r->val;
    r->rows++;
    return 1;
}

static bool row_file_open(struct row_file *r, const char *dir, const json_t *pg)
{
    const char *name = json_string_value(json_object_get(pg, "file"));
    char *path = xasprintf("%s/%s", dir, name ? name : ""), magic[8];
    *r = (struct row_file){.f = name && !strstr(name, "..") ? fopen(path, "rb") : NULL, .key = xmalloc(MAX_KEY)};
    free(path);
    return r->f && fread(magic, 1, 8, r->f) == 8 && !memcmp(magic, "OBVROWS1", 8);
}

static void row_file_close(struct row_file *r)
{
    if (r->f)
        fclose(r->f);
    free(r->key);
    free(r->val);
}

/* ---- what is loaded */

struct loading {
    struct host *h;
    const struct obs_load *want;
    int64_t version, snapshot;
    json_t *result;
    json_t *tables, *groups; /* low id as text -> newest schema row that is not a drop */
    struct obs_err *err;
};

static int fail(struct obs_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct obs_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    err->code = code;
    return code;
}

static int64_t jint(const json_t *o, const char *k) { return json_integer_value(json_object_get(o, k)); }

static const char *jstr(const json_t *o, const char *k)
{
    const char *s = json_string_value(json_object_get(o, k));
    return s ? s : "";
}

static json_t *find_pg(const struct loading *l, uint64_t low)
{
    size_t i;
    json_t *pg;
    json_array_foreach(json_object_get(l->result, "pgs"), i, pg) if ((uint64_t)jint(pg, "table_id") == low) return pg;
    return NULL;
}

/* Rows of one index of one partition; the caller has read the first and stops at the first that is of another index. */
static int build_major(const struct loading *l, struct row_file *r, const struct pkey *pg, const struct shm_part *p,
                       int idx, int *more)
{
    char *path = major_path(l->h, &p->key, p->idx[idx], l->version);
    struct sst_spec s = {.key = {.type = T_MAJOR, .pkey = p->key, .table_id = p->idx[idx], .version = l->version},
                         .pg_key = *pg};
    s.key.v = (struct vrange){l->snapshot, 0, l->snapshot};
    s.key.l = (struct lrange){0, l->snapshot, l->snapshot};
    s.comp = (enum compressor)p->comp;
    s.int_key = p->int_key && idx == 0;
    s.index_type = idx ? 1 : p->index_type;
    s.schema_version = p->create_schema_version;
    s.data_version = l->version;
    s.path = path;
    struct sst_builder *b = sb_new(l->h, &s);
    uint64_t index = r->index;
    int rc = 0;
    while (*more > 0 && r->index == index && !rc) {
        rc = sb_add(b, &r->row);
        if (!rc)
            *more = next_record(r);
    }
    struct sst *t = sb_finish(b);
    if (!t || *more < 0)
        rc = -4016;
    sst_unref(t);
    free(path);
    return rc;
}

static const struct shm_part *part_of(const struct pg_spec *s, uint64_t index_id, int *idx)
{
    for (int i = 0; i < s->n_parts; i++)
        for (*idx = 0; *idx < s->part[i].n_idx; ++*idx)
            if (s->part[i].idx[*idx] == index_id)
                return &s->part[i];
    return NULL;
}

/* Every row of the PG's file into majors in C/shared; indexes without rows get empty ones from pg_create. */
static int load_rows(const struct loading *l, const json_t *pg, const struct pg_spec *s)
{
    struct row_file r;
    if (!json_is_string(json_object_get(pg, "file"))) /* a sys PG that the backup lacks is created empty */
        return 0;
    int rc = row_file_open(&r, l->want->dir, pg) ? 0 : -4009, more = rc ? -1 : next_record(&r), idx;
    while (!rc && more > 0) {
        uint64_t low = r.index;
        const struct shm_part *p = part_of(s, full_id(l->want->tenant_id, low), &idx);
        rc = p ? build_major(l, &r, &s->key, p, idx, &more)
               : fail(l->err, -4016, "rows of index %" PRIu64 " that the schema lacks", low);
    }
    if (!rc && (more < 0 || r.rows != jint(pg, "rows")))
        rc = -4016;
    row_file_close(&r);
    return rc && !l->err->code ? fail(l->err, rc, "row file %s", jstr(pg, "file")) : rc;
}

/* ---- schema */

/* JSON has two ways to say yes; the store's rows know one. */
static void plain_numbers(json_t *row)
{
    const char *name;
    json_t *v;
    json_object_foreach(row, name, v) if (json_is_boolean(v))
        json_object_set_new(row, name, json_integer(json_is_true(v)));
}

/* Keeps the newest row of each id; keys are "<16 hex id>/<20 digits schema version>" and ascend. */
static int read_history(const struct loading *l, uint64_t low, json_t *into)
{
    struct row_file r;
    json_t *pg = find_pg(l, low);
    if (!pg || !json_is_string(json_object_get(pg, "file")))
        return fail(l->err, -4018, "restored tenant has no schema (sys PG %" PRIu64 ")", low);
    int rc = row_file_open(&r, l->want->dir, pg) ? 0 : -4009, more = rc ? -1 : next_record(&r);
    for (; !rc && more > 0; more = next_record(&r)) {
        json_t *row = json_loadb((const char *)r.val, r.row.vlen, 0, NULL);
        char id[32];
        plain_numbers(row);
        snprintf(id, sizeof id, "%.16s", r.row.klen >= 16 ? (const char *)r.key : "");
        if (!json_is_object(row) || r.row.klen != 37)
            rc = -4016;
        else if (jint(row, "is_deleted"))
            json_object_del(into, id);
        else
            json_object_set(into, id, row);
        json_decref(row);
    }
    row_file_close(&r);
    return rc || more < 0 ? fail(l->err, -4016, "schema rows of sys PG %" PRIu64 " cannot be read", low) : 0;
}

static json_t *table_row(const struct loading *l, uint64_t low)
{
    char id[32];
    snprintf(id, sizeof id, "%016" PRIx64, low);
    return json_object_get(l->tables, id);
}

/* A member partition with the local indexes that the restored schema calls available. */
static int make_part(const struct loading *l, uint64_t low, struct pkey key, struct shm_part *p)
{
    json_t *t = table_row(l, low), *x;
    const char *name;
    if (!t)
        return fail(l->err, -4016, "table %" PRIu64 " is in no schema row", low);
    *p = (struct shm_part){.key = key, .create_schema_version = jint(t, "schema_version"), .n_idx = 1};
    p->comp = (int)compressor_from(jstr(t, "compressor"));
    if (!p->comp)
        p->comp = C_NONE;
    p->index_type = jint(t, "table_type") == 5 ? (int)jint(t, "index_type") : 0;
    p->int_key = !strcmp(jstr(t, "key_kind"), "int");
    p->idx[0] = full_id(l->want->tenant_id, low);
    p->idx_ready[0] = true;
    json_object_foreach(l->tables, name, x)
    {
        if (jint(x, "table_type") != 5 || (uint64_t)jint(x, "data_table_id") != low || jint(x, "index_status") != 2 ||
            jint(x, "index_type") != 1)
            continue;
        if (p->n_idx == PART_INDEXES)
            return fail(l->err, -4016, "table %" PRIu64 " has too many indexes", low);
        p->idx[p->n_idx] = full_id(l->want->tenant_id, (uint64_t)jint(x, "table_id"));
        p->idx_ready[p->n_idx++] = true;
    }
    return 0;
}

static int make_spec(const struct loading *l, const json_t *pg, struct pg_spec *s)
{
    uint64_t tenant = l->want->tenant_id, low = (uint64_t)jint(pg, "table_id");
    int64_t pid = jint(pg, "partition_id");
    bool group = !strcmp(jstr(pg, "kind"), "tablegroup");
    *s = (struct pg_spec){.key = pkey_make(full_id(tenant, low), pid),
                          .kind = group ? KIND_TABLEGROUP : KIND_STANDALONE,
                          .version = l->version,
                          .snapshot = l->snapshot};
    size_t i;
    json_t *table;
    json_array_foreach(json_object_get(pg, "tables"), i, table)
    {
        uint64_t member = (uint64_t)json_integer_value(table);
        if (s->n_parts == PG_PARTS)
            return fail(l->err, -4016, "PG %" PRIu64 " has too many members", low);
        int rc = make_part(l, member, group ? pkey_make(full_id(tenant, member), pid) : s->key, &s->part[s->n_parts]);
        if (rc)
            return rc;
        if (s->part[s->n_parts].create_schema_version > s->schema_version)
            s->schema_version = s->part[s->n_parts].create_schema_version;
        s->n_parts++;
    }
    if (!s->schema_version)
        s->schema_version = l->h->shm->last_schema_version;
    return 0;
}

/* ---- PGs */

static int load_inner(const struct loading *l)
{
    size_t i;
    json_t *pg;
    int rc = 0;
    json_array_foreach(json_object_get(l->result, "pgs"), i, pg)
    {
        if (strcmp(jstr(pg, "kind"), "inner") != 0)
            continue;
        struct pg_spec s = {.key = {full_id(l->want->tenant_id, (uint64_t)jint(pg, "table_id")), 0, 0},
                            .kind = KIND_INNER,
                            .n_parts = 1};
        s.part[0] = (struct shm_part){
            .key = s.key, .create_schema_version = l->h->shm->last_schema_version, .comp = C_NONE, .n_idx = 1};
        s.part[0].idx[0] = s.key.table_id;
        s.part[0].idx_ready[0] = true;
        rc = load_rows(l, pg, &s);
        if (rc)
            return rc;
    }
    rc = tenant_sys_pgs(l->h, l->want->tenant_id, l->version, l->snapshot);
    return rc ? fail(l->err, rc, "sys PGs cannot be made") : 0;
}

static int load_user(const struct loading *l)
{
    size_t i;
    json_t *pg;
    json_array_foreach(json_object_get(l->result, "pgs"), i, pg)
    {
        struct pg_spec s;
        if (!strcmp(jstr(pg, "kind"), "inner"))
            continue;
        int rc = make_spec(l, pg, &s);
        if (!rc)
            rc = load_rows(l, pg, &s);
        if (!rc && pg_create(l->h, &s) < 0)
            rc = fail(l->err, -4000, "PG %" PRId64 "/%" PRId64 " cannot be made", jint(pg, "table_id"),
                      jint(pg, "partition_id"));
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- SQL rows */

static void publish_ddl(const struct loading *l)
{
    struct row_file r;
    json_t *pg = find_pg(l, ST_DDL);
    int more =
        pg && json_is_string(json_object_get(pg, "file")) && row_file_open(&r, l->want->dir, pg) ? next_record(&r) : -2;
    if (more == -2)
        return;
    for (; more > 0; more = next_record(&r)) {
        json_t *op = json_loadb((const char *)r.val, r.row.vlen, 0, NULL);
        char version[24];
        snprintf(version, sizeof version, "%.*s", (int)(r.row.klen < 20 ? r.row.klen : 20), (const char *)r.key);
        ddl_publish(l->h, l->want->tenant_id, strtoll(version, NULL, 10), (uint64_t)jint(op, "table_id"),
                    (uint64_t)jint(op, "tablegroup_id"), (int)jint(op, "operation_type"));
        json_decref(op);
    }
    row_file_close(&r);
}

/* New tables and indexes must not take ids that the tenant had at the source. */
static void reserve_ids(const struct loading *l)
{
    const struct {
        uint64_t first, end;
        const json_t *from;
        const char *field;
    } RANGES[] = {{FIRST_USER_TABLE, FIRST_INDEX, l->tables, "table_id"},
                  {FIRST_INDEX, 1u << 20, l->tables, "table_id"},
                  {FIRST_GROUP, 1u << 20, l->groups, "tablegroup_id"}};
    for (size_t k = 0; k < sizeof RANGES / sizeof *RANGES; k++) {
        uint64_t next = RANGES[k].first;
        const char *id;
        json_t *t;
        char name[64], value[32];
        json_object_foreach((json_t *)(uintptr_t)RANGES[k].from, id, t)
        {
            uint64_t low = (uint64_t)jint(t, RANGES[k].field) & ~(uint64_t)TG_BIT;
            if (low >= next && low < RANGES[k].end)
                next = low + 1;
        }
        snprintf(name, sizeof name, "so_next_%" PRIu64 "_%" PRIu64, l->want->tenant_id, RANGES[k].first);
        snprintf(value, sizeof value, "%" PRIu64, next);
        catalog_exec(l->h, "INSERT OR REPLACE INTO so_param (host, name, value) VALUES (0, ?, ?)", "ss", name, value);
    }
}

static int publish(const struct loading *l)
{
    const char *id;
    json_t *t;
    catalog_begin(l->h);
    json_object_foreach(l->tables, id, t) table_publish(l->h, l->want->tenant_id, t);
    json_object_foreach(l->groups, id, t) tablegroup_publish(l->h, l->want->tenant_id, t);
    publish_ddl(l);
    reserve_ids(l);
    char *pools = xstrdup(l->want->pool_list), *save = NULL;
    for (char *name = strtok_r(pools, ",", &save); name; name = strtok_r(NULL, ",", &save))
        catalog_exec(l->h, "UPDATE __all_resource_pool SET tenant_id = ? WHERE name = ?", "is",
                     (int64_t)l->want->tenant_id, name);
    free(pools);
    catalog_exec(l->h, "UPDATE __all_tenant SET compatibility_mode = ? WHERE tenant_id = ?", "ii", l->want->compat_mode,
                 (int64_t)l->want->tenant_id);
    /* A restored tenant may only be backed up from the next major on (restorable-set A7). */
    char version[32];
    snprintf(version, sizeof version, "%" PRId64, l->version + 1);
    catalog_exec(l->h,
                 "INSERT OR REPLACE INTO __all_virtual_backup_info (tenant_id, name, value) VALUES (?, "
                 "'base_backup_version', ?)",
                 "is", (int64_t)l->want->tenant_id, version);
    return catalog_end(l->h) ? fail(l->err, -4000, "cluster.db cannot be written") : 0;
}

/* After an error nothing of the tenant may be left: rows first, then the PGs. */
static void undo(const struct loading *l)
{
    static const char *const TABLES[] = {"__all_tenant",
                                         "__all_tenant_history",
                                         "__all_virtual_sys_variable",
                                         "__all_virtual_table",
                                         "__all_virtual_part",
                                         "__all_virtual_sub_part",
                                         "__all_virtual_tablegroup",
                                         "__all_virtual_ddl_operation",
                                         "__all_virtual_backup_info",
                                         "so_table"};
    catalog_begin(l->h);
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
        char *sql = xasprintf("DELETE FROM %s WHERE tenant_id = ?", TABLES[i]);
        catalog_exec(l->h, sql, "i", (int64_t)l->want->tenant_id);
        free(sql);
    }
    catalog_exec(l->h, "UPDATE __all_resource_pool SET tenant_id = -1 WHERE tenant_id = ?", "i",
                 (int64_t)l->want->tenant_id);
    catalog_end(l->h);
    for (uint32_t i = 0; i < l->h->shm->n_pg; i++)
        if (pg_at(l->h, i)->state == PG_LIVE && pkey_tenant(&pg_at(l->h, i)->key) == l->want->tenant_id)
            log_offline(l->h, i, l->h->shm->last_schema_version);
    catalog_sync(l->h);
}

int obs_restore_load(struct host *h, const struct obs_load *load, struct obs_err *err)
{
    struct loading l = {
        .h = h, .want = load, .err = err, .snapshot = host_now(h), .tables = json_object(), .groups = json_object()};
    l.version = h->shm->major_version;
    *err = (struct obs_err){0};
    char *path = xasprintf("%s/result.json", load->dir);
    l.result = json_load_file(path, 0, NULL);
    free(path);
    int rc = l.result ? 0 : fail(err, -4009, "result.json cannot be read");
    if (!rc)
        rc = read_history(&l, ST_TABLES, l.tables);
    if (!rc)
        rc = read_history(&l, ST_TABLEGROUPS, l.groups);
    if (!rc) {
        if (tenant_create(h, load->tenant_id, load->tenant_name, load->locality, load->primary_zone))
            rc = fail(err, -4000, "tenant %s cannot be made", load->tenant_name);
        if (!rc)
            rc = load_inner(&l);
        if (!rc)
            rc = load_user(&l);
        if (!rc)
            rc = publish(&l);
        if (!rc && cluster_catch_up(h, clock_us(h), 60000000))
            rc = fail(err, -4012, "hosts do not take the new PGs");
        if (rc)
            undo(&l);
        else
            catalog_sync(h);
    }
    json_decref(l.result);
    json_decref(l.tables);
    json_decref(l.groups);
    return rc;
}
