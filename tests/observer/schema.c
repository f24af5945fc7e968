/* schema.c - tenants, PGs, tables: see schema.h */
#include "schema.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const uint32_t PRIVATE[] = {135, 165, 183, 190};
static const uint32_t SYS_TENANT[] = {1, 2, 3, 5, 108, 116, 117, 183};

bool table_is_private(uint64_t low)
{
    for (size_t i = 0; i < sizeof PRIVATE / sizeof *PRIVATE; i++)
        if (PRIVATE[i] == low)
            return true;
    return false;
}

int64_t schema_next_version(struct host *h)
{
    shm_lock(h);
    int64_t v = clock_us(h);
    if (v < h->shm->last_schema_version + 8)
        v = h->shm->last_schema_version + 8;
    h->shm->last_schema_version = v;
    shm_unlock(h);
    return v;
}

int64_t partition_id_of(int level, int part, int sub)
{
    if (level < 2)
        return part;
    return ((int64_t)part << 32 | sub) | 1ll << 28 | 1ll << 60;
}

/* ---- PGs */

static int first_major(struct host *h, const struct pg_spec *s, const struct shm_part *p, int idx)
{
    char *path = major_path(h, &p->key, p->idx[idx], s->version), *file = xasprintf("%s.sst", path);
    int rc = 0;
    if (access(file, R_OK)) {
        struct sst_spec spec = {
            .key = {.type = T_MAJOR, .pkey = p->key, .table_id = p->idx[idx], .version = s->version}, .pg_key = s->key};
        spec.key.v = (struct vrange){s->snapshot, 0, s->snapshot};
        spec.key.l = (struct lrange){0, s->snapshot, s->snapshot};
        spec.comp = (enum compressor)p->comp;
        spec.int_key = p->int_key && idx == 0;
        spec.index_type = idx ? 1 : p->index_type;
        spec.schema_version = p->create_schema_version;
        spec.data_version = s->version;
        spec.path = path;
        struct sst *t = sb_finish(sb_new(h, &spec));
        rc = t ? 0 : -4009;
        sst_unref(t);
    }
    free(path);
    free(file);
    return rc;
}

int pg_first_majors(struct host *h, const struct pg_spec *s)
{
    int rc = 0;
    for (int i = 0; i < s->n_parts; i++)
        for (int k = 0; k < s->part[i].n_idx && !rc; k++)
            rc = first_major(h, s, &s->part[i], k);
    return rc;
}

int64_t pg_create(struct host *h, const struct pg_spec *spec)
{
    struct pg_spec s = *spec;
    int rc = 0;
    if (!s.version)
        s.version = h->shm->major_version;
    if (!s.snapshot)
        s.snapshot = clock_us(h);
    for (int i = 0; i < s.n_parts; i++)
        for (int k = 0; k < s.part[i].n_idx; k++)
            s.part[i].idx_base[k] = s.version;
    rc = pg_first_majors(h, &s);
    if (rc)
        return rc;
    shm_lock(h);
    int64_t at = pg_find(h, &s.key) < 0 ? pg_alloc(h, &s.key) : -1;
    if (at >= 0) {
        struct shm_pg *p = pg_at(h, (uint32_t)at);
        p->kind = s.kind;
        p->n_parts = s.n_parts;
        memcpy(p->part, s.part, sizeof p->part);
        p->create_schema_version = s.schema_version;
        p->create_ts = clock_us(h);
        p->create_frozen_version = s.version;
        p->frozen_ts = s.snapshot;
        p->first_bus_pos = h->shm->bus_end;
        p->max_w = p->create_ts;
        for (int i = 0; i < p->n_parts; i++)
            p->part[i].create_ts = p->create_ts;
        pg_publish(h, (uint32_t)at);
        log_first(h, (uint32_t)at, s.leader ? s.leader : (int)host_pick_leader(h, (uint32_t)at));
    }
    shm_unlock(h);
    return at >= 0 ? at : -4000;
}

static int64_t inner_pg(struct host *h, uint64_t tenant, uint32_t low, int64_t version, int64_t snapshot)
{
    struct pg_spec s = {.key = {full_id(tenant, low), 0, 0},
                        .kind = KIND_INNER,
                        .n_parts = 1,
                        .schema_version = h->shm->last_schema_version,
                        .version = version,
                        .snapshot = snapshot};
    s.part[0] = (struct shm_part){.key = s.key, .create_schema_version = s.schema_version, .comp = C_NONE, .n_idx = 1};
    s.part[0].idx[0] = s.key.table_id;
    s.part[0].idx_ready[0] = true;
    return pg_create(h, &s);
}

static void sys_table_row(struct host *h, uint64_t tenant, uint32_t low, int type)
{
    char name[64];
    snprintf(name, sizeof name,
             low == ST_TABLES        ? "__all_table_history"
             : low == ST_TABLEGROUPS ? "__all_tablegroup_history"
             : low == ST_DDL         ? "__all_ddl_operation"
             : low == 183            ? "__all_tenant_meta_table"
             : type == 2             ? "__all_virtual_of_%u"
             : type == 1             ? "gv$of_%u"
                                     : "__all_inner_%u",
             low);
    catalog_exec(h,
                 "INSERT OR REPLACE INTO __all_virtual_table (tenant_id, table_id, table_name, table_type, "
                 "data_table_id, tablegroup_id, index_type, "
                 "index_status, part_level, part_num, sub_part_num, binding, schema_version, drop_schema_version) "
                 "VALUES (?, ?, ?, ?, -1, -1, 0, 2, 0, 1, 0, 0, ?, -1)",
                 "iisii", (int64_t)tenant, (int64_t)full_id(tenant, low), name, (int64_t)type,
                 h->shm->last_schema_version);
}

int tenant_sys_pgs(struct host *h, uint64_t tenant, int64_t version, int64_t snapshot)
{
    uint32_t ids[64];
    size_t n = 0;
    if (tenant == OBS_SYS_TENANT) {
        for (size_t i = 0; i < sizeof SYS_TENANT / sizeof *SYS_TENANT; i++)
            ids[n++] = SYS_TENANT[i];
    } else {
        ids[n++] = ST_DDL;
        ids[n++] = ST_TABLES;
        ids[n++] = ST_TABLEGROUPS;
        for (size_t i = 0; i < sizeof PRIVATE / sizeof *PRIVATE; i++)
            ids[n++] = PRIVATE[i];
        for (uint32_t i = 0; i < N_FILLER; i++)
            ids[n++] = FIRST_FILLER + i;
    }
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        if (inner_pg(h, tenant, ids[i], version, snapshot) < 0)
            rc = -4000;
    catalog_begin(h);
    for (size_t i = 0; i < n; i++)
        sys_table_row(h, tenant, ids[i], 0);
    sys_table_row(h, tenant, 10001, 2); /* a virtual table and a system view: no partition of theirs is stored */
    sys_table_row(h, tenant, 20001, 1);
    return catalog_end(h) ? -4000 : rc;
}

int tenant_create(struct host *h, uint64_t tenant, const char *name, const char *locality, const char *primary_zone)
{
    char now[32];
    time_text(clock_us(h), now);
    int64_t version = schema_next_version(h);
    struct obuf zones = {0}, loc = {0};
    for (int i = 0; i < h->n_members; i++) {
        char one[128];
        int n = snprintf(one, sizeof one, "%s%s", i ? ";" : "", h->members[i].zone);
        ob_put(&zones, one, (size_t)n);
        n = snprintf(one, sizeof one, "%sFULL{1}@%s", i ? ", " : "", h->members[i].zone);
        ob_put(&loc, one, (size_t)n);
    }
    ob_u8(&zones, 0);
    ob_u8(&loc, 0);
    catalog_begin(h);
    catalog_exec(h,
                 "INSERT INTO __all_tenant (gmt_create, gmt_modified, tenant_id, tenant_name, zone_list, primary_zone, "
                 "locality, "
                 "compatibility_mode, drop_tenant_time, status, in_recyclebin) VALUES (?, ?, ?, ?, ?, ?, ?, 0, -1, "
                 "'TENANT_STATUS_NORMAL', 0)",
                 "ssissss", now, now, (int64_t)tenant, name, zones.p,
                 primary_zone && *primary_zone ? primary_zone : "RANDOM",
                 locality && *locality ? locality : (const char *)loc.p);
    catalog_exec(h,
                 "INSERT INTO __all_tenant_history (gmt_create, gmt_modified, tenant_id, schema_version, is_deleted, "
                 "tenant_name, zone_list, "
                 "primary_zone, locality, compatibility_mode, drop_tenant_time, status, in_recyclebin) "
                 "SELECT gmt_create, gmt_modified, tenant_id, ?, 0, tenant_name, zone_list, primary_zone, locality, "
                 "compatibility_mode, "
                 "drop_tenant_time, status, in_recyclebin FROM __all_tenant WHERE tenant_id = ?",
                 "ii", version, (int64_t)tenant);
    catalog_exec(h,
                 "INSERT INTO __all_virtual_sys_variable (tenant_id, zone, name, value) VALUES (?, '', "
                 "'ob_timestamp_service', '1')",
                 "i", (int64_t)tenant);
    catalog_exec(
        h,
        "INSERT INTO __all_virtual_sys_variable (tenant_id, zone, name, value) VALUES (?, '', 'undo_retention', '0')",
        "i", (int64_t)tenant);
    int rc = catalog_end(h);
    ob_free(&zones);
    ob_free(&loc);
    return rc;
}

/* ---- tables: JSON, SQL rows */

json_t *table_get(struct host *h, uint64_t table_id)
{
    char *t = catalog_text(h, "SELECT info FROM so_table WHERE table_id = ?", "i", (int64_t)table_id);
    json_t *j = t ? json_loads(t, 0, NULL) : NULL;
    free(t);
    return j;
}

static int64_t jint(const json_t *o, const char *k) { return json_integer_value(json_object_get(o, k)); }

/* Rows of something dropped go at once, or stay for a while and say by drop_schema_version that they are dead. */
static void retire(struct host *h, const char *table, const char *id_column, uint64_t tenant, int64_t id,
                   const json_t *t)
{
    bool stay = jint(t, "delayed") != 0;
    char *sql = stay ? xasprintf("UPDATE %s SET drop_schema_version = ? WHERE tenant_id = ? AND %s = ? AND "
                                 "drop_schema_version = -1",
                                 table, id_column)
                     : xasprintf("DELETE FROM %s WHERE ? IS NOT NULL AND tenant_id = ? AND %s = ?", table, id_column);
    catalog_exec(h, sql, "iii", jint(t, "schema_version"), (int64_t)tenant, id);
    free(sql);
}

/* The partitions of a table, or of a tablegroup under its own id, as both keep them in the same table. part_idx counts
 * the living ones, part_id never changes. */
static void publish_parts(struct host *h, uint64_t tenant, int64_t id, const json_t *t, bool bound)
{
    int level = (int)jint(t, "part_level");
    int64_t version = jint(t, "schema_version"), idx = -1, last = -1, sub_idx = 0;
    retire(h, "__all_virtual_part", "table_id", tenant, id, t);
    retire(h, "__all_virtual_sub_part", "table_id", tenant, id, t);
    if (jint(t, "is_deleted") || !level)
        return;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(t, "partitions"), i, v)
    {
        int64_t pid = json_integer_value(v), part = level == 2 ? (pid >> 32) & 0xfffffff : pid, sub = pid & 0xfffffff;
        sub_idx = part == last ? sub_idx + 1 : 0;
        idx += part != last;
        last = part;
        catalog_exec(h,
                     "INSERT OR REPLACE INTO __all_virtual_part (tenant_id, table_id, part_id, schema_version, "
                     "sub_part_num, status, part_idx, "
                     "mapping_pg_part_id, drop_schema_version) VALUES (?, ?, ?, ?, ?, 0, ?, ?, -1)",
                     "iiiiiii", (int64_t)tenant, id, part, version, level == 2 ? jint(t, "sub_part_num") : 0, idx,
                     bound ? part : -1);
        if (level == 2)
            catalog_exec(
                h,
                "INSERT OR REPLACE INTO __all_virtual_sub_part (tenant_id, table_id, part_id, sub_part_id, "
                "schema_version, status, "
                "sub_part_idx, mapping_pg_sub_part_id, drop_schema_version) VALUES (?, ?, ?, ?, ?, 0, ?, -1, -1)",
                "iiiiii", (int64_t)tenant, id, part, sub, version, sub_idx);
    }
}

void table_publish(struct host *h, uint64_t tenant, json_t *t)
{
    int64_t id = (int64_t)full_id(tenant, (uint64_t)jint(t, "table_id")), version = jint(t, "schema_version");
    bool deleted = jint(t, "is_deleted") != 0;
    if (deleted) {
        retire(h, "__all_virtual_table", "table_id", tenant, id, t);
        catalog_exec(h, "DELETE FROM so_table WHERE table_id = ?", "i", id);
    } else {
        int64_t data = jint(t, "data_table_id"), tg = jint(t, "tablegroup_id");
        catalog_exec(h,
                     "INSERT OR REPLACE INTO __all_virtual_table (tenant_id, table_id, table_name, table_type, "
                     "data_table_id, tablegroup_id, "
                     "index_type, index_status, part_level, part_num, sub_part_num, binding, schema_version, "
                     "drop_schema_version) "
                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, -1)",
                     "iisiiiiiiiiii", (int64_t)tenant, id, json_string_value(json_object_get(t, "table_name")),
                     jint(t, "table_type"), data ? (int64_t)full_id(tenant, (uint64_t)data) : -1,
                     tg ? (int64_t)full_id(tenant, (uint64_t)tg) : -1, jint(t, "index_type"), jint(t, "index_status"),
                     jint(t, "part_level"), jint(t, "part_num"), jint(t, "sub_part_num"), jint(t, "binding"), version);
        char *text = json_dumps(t, JSON_COMPACT);
        catalog_exec(h, "INSERT OR REPLACE INTO so_table (tenant_id, table_id, info) VALUES (?, ?, ?)", "iis",
                     (int64_t)tenant, id, text);
        free(text);
    }
    if (jint(t, "table_type") != 5 || jint(t, "index_type") == 3)
        publish_parts(h, tenant, id, t, jint(t, "binding") != 0);
}

void tablegroup_publish(struct host *h, uint64_t tenant, const json_t *t)
{
    int64_t id = (int64_t)full_id(tenant, (uint64_t)jint(t, "tablegroup_id"));
    char *text = json_dumps(t, JSON_COMPACT);
    if (jint(t, "is_deleted")) {
        retire(h, "__all_virtual_tablegroup", "tablegroup_id", tenant, id, t);
        catalog_exec(h, "DELETE FROM so_table WHERE table_id = ?", "i", id);
    } else {
        catalog_exec(h, "INSERT OR REPLACE INTO so_table (tenant_id, table_id, info) VALUES (?, ?, ?)", "iis",
                     (int64_t)tenant, id, text);
        catalog_exec(h,
                     "INSERT OR REPLACE INTO __all_virtual_tablegroup (tenant_id, tablegroup_id, part_level, part_num, "
                     "sub_part_num, schema_version, "
                     "partition_status, binding, drop_schema_version) VALUES (?, ?, ?, ?, ?, ?, 0, ?, -1)",
                     "iiiiiii", (int64_t)tenant, id, jint(t, "part_level"), jint(t, "part_num"),
                     jint(t, "sub_part_num"), jint(t, "schema_version"), jint(t, "binding"));
    }
    free(text);
    if (!jint(t, "binding"))
        return;
    /* the group's own partitions, numbered from 0: its PGs */
    json_t *own = json_copy((json_t *)(uintptr_t)t), *parts = json_array();
    for (int64_t i = 0; i < jint(t, "part_num"); i++)
        json_array_append_new(parts, json_integer(i));
    json_object_set_new(own, "partitions", parts);
    publish_parts(h, tenant, id, own, false);
    json_decref(own);
}

void ddl_publish(struct host *h, uint64_t tenant, int64_t version, uint64_t table_low, uint64_t tg_low, int op)
{
    catalog_exec(h,
                 "INSERT OR REPLACE INTO __all_virtual_ddl_operation (schema_version, tenant_id, tablegroup_id, "
                 "table_id, operation_type, "
                 "exec_tenant_id) VALUES (?, ?, ?, ?, ?, ?)",
                 "iiiiii", version, (int64_t)tenant, tg_low ? (int64_t)full_id(tenant, tg_low) : -1,
                 table_low ? (int64_t)full_id(tenant, table_low) : -1, (int64_t)op, (int64_t)tenant);
}

/* ---- one DDL: a transaction over the schema PGs, then the SQL rows */

static int put_schema_row(struct host *h, int64_t slot, uint64_t tenant, uint32_t low, const char *key, json_t *value)
{
    struct pkey k = {full_id(tenant, low), 0, 0};
    int64_t pg = pg_find(h, &k);
    char *text = json_dumps(value, JSON_COMPACT);
    const struct change c = {.index_id = k.table_id,
                             .op = OP_PUT,
                             .key = (const uint8_t *)key,
                             .klen = (uint32_t)strlen(key),
                             .val = (const uint8_t *)text,
                             .vlen = (uint32_t)strlen(text)};
    int rc = pg < 0 ? -4225 : -1;
    for (int i = 0; pg >= 0 && rc && i < 200; i++) {
        rc = tx_change(h, slot, (uint32_t)pg, &c, 1);
        if (rc)
            sleep_us(50000); /* no leader for the moment */
    }
    free(text);
    return rc;
}

int ddl_commit(struct host *h, struct ddl *d)
{
    char key[64];
    size_t i;
    json_t *t;
    uint64_t table = 0, tg = 0;
    int64_t slot = tx_begin(h);
    int rc = slot < 0 ? -4013 : 0;
    json_array_foreach(d->tables, i, t)
    {
        json_object_set_new(t, "schema_version", json_integer(d->version));
        table = (uint64_t)jint(t, "table_id");
        snprintf(key, sizeof key, "%016" PRIx64 "/%020" PRId64, table, d->version);
        if (!rc)
            rc = put_schema_row(h, slot, d->tenant, ST_TABLES, key, t);
    }
    json_array_foreach(d->tablegroups, i, t)
    {
        json_object_set_new(t, "schema_version", json_integer(d->version));
        tg = (uint64_t)jint(t, "tablegroup_id");
        snprintf(key, sizeof key, "%016" PRIx64 "/%020" PRId64, tg, d->version);
        if (!rc)
            rc = put_schema_row(h, slot, d->tenant, ST_TABLEGROUPS, key, t);
    }
    snprintf(key, sizeof key, "%020" PRId64, d->version);
    json_t *op = json_pack("{s:I,s:I,s:I,s:i,s:s}", "schema_version", (json_int_t)d->version, "table_id",
                           (json_int_t)table, "tablegroup_id", (json_int_t)tg, "operation_type", d->op, "ddl", d->what);
    if (!rc)
        rc = put_schema_row(h, slot, d->tenant, ST_DDL, key, op);
    json_decref(op);
    if (rc) {
        if (slot >= 0)
            tx_abort(h, slot);
        return rc;
    }
    /* The commit and the rows of SQL are one: no SELECT falls in between. */
    int fd = host_schema_hold(h, true);
    int64_t v = tx_commit(h, slot);
    if (v >= 0) {
        catalog_begin(h);
        json_array_foreach(d->tables, i, t) table_publish(h, d->tenant, t);
        json_array_foreach(d->tablegroups, i, t) tablegroup_publish(h, d->tenant, t);
        ddl_publish(h, d->tenant, d->version, table, tg, d->op);
        rc = catalog_end(h);
    }
    host_schema_release(fd);
    return v < 0 ? (int)v : rc;
}

static int locked_file(const struct host *h, const char *name, int how)
{
    char *path = xasprintf("%s/%s", h->cluster_dir, name);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    free(path);
    while (fd >= 0 && flock(fd, how) < 0 && errno == EINTR)
        ;
    return fd;
}

static void unlock_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

int ddl_lock(struct host *h) { return locked_file(h, "ddl.lock", LOCK_EX); }
void ddl_unlock(int fd) { unlock_file(fd); }
int host_schema_hold(const struct host *h, bool change)
{
    return locked_file(h, "schema.lock", change ? LOCK_EX : LOCK_SH);
}
void host_schema_release(int fd) { unlock_file(fd); }

void row_change(const struct shm_part *p, uint8_t op, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen,
                struct row_change *out)
{
    out->n = 0;
    for (int i = 0; i < p->n_idx && klen + 8 <= MAX_KEY; i++) {
        uint8_t *k = out->key[i];
        size_t n = 0;
        if (p->idx_dropped[i])
            continue;
        if (i) {
            stbe64(k, murmur64a(key, klen, p->idx[i] & 0xffff));
            n = 8;
        }
        memcpy(k + n, key, klen);
        out->c[out->n++] = (struct change){.index_id = p->idx[i],
                                           .op = op,
                                           .key = k,
                                           .klen = (uint32_t)(n + klen),
                                           .val = i ? k : val,
                                           .vlen = i || op == OP_DELETE ? 0 : (uint32_t)vlen};
    }
}
