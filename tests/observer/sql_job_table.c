/* sql_job_table.c - what restore jobs write into cluster.db */
#include "sql.h"
#include "sql_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sqlite3 *job_open_db(struct host *h)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(host_cluster_db(h), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, 30000);
    sqlite3_exec(db,
                 "CREATE TABLE IF NOT EXISTS front_restore_job (job_id INTEGER PRIMARY KEY, host INTEGER, dir TEXT)",
                 NULL, NULL, NULL);
    return db;
}

/* Runs one statement with text parameters; numbers come as text and SQLite's column affinity makes them numbers. */
static bool put(sqlite3 *db, const char *sql, const char *const *args, int n)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK;
    for (int i = 0; ok && i < n; i++)
        sqlite3_bind_text(q, i + 1, args[i], -1, SQLITE_TRANSIENT);
    ok = ok && sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    return ok;
}

#define PUT(db, sql, ...)                                                                                              \
    put(db, sql, (const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static const char *num(char out[24], int64_t v)
{
    snprintf(out, 24, "%" PRId64, v);
    return out;
}

int64_t job_int(const json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

const char *job_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* ---- sources ---- */

json_t *job_sources(const char *list)
{
    json_t *out = json_array();
    while (list && *list) {
        size_t n = strcspn(list, "\n");
        json_array_append_new(out, json_stringn(list, n));
        list += n + (list[n] != '\0');
    }
    return out;
}

int64_t job_ask_int(sqlite3 *db, const char *query)
{
    char text[32];
    return job_ask(db, query, NULL, text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

void job_status(sqlite3 *db, int64_t id, const char *status)
{
    char n[24];
    num(n, id);
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    PUT(db,
        "UPDATE __all_restore_info SET value = ?2, gmt_modified = strftime('%Y-%m-%d %H:%M:%f000', 'now') "
        "WHERE job_id = ?1 AND name = 'status'",
        n, status);
    PUT(db, "UPDATE __all_restore_progress SET status = ?2 WHERE job_id = ?1", n, status);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
}

void job_info(sqlite3 *db, int64_t id, const char *name, const char *value)
{
    char n[24];
    PUT(db,
        "INSERT INTO __all_restore_info (gmt_create, gmt_modified, job_id, name, value) VALUES "
        "(strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?1, ?2, ?3) "
        "ON CONFLICT (job_id, name) DO UPDATE SET value = excluded.value",
        num(n, id), name, value);
}

void job_progress(sqlite3 *db, int64_t id, const json_t *p)
{
    char n[7][24];
    PUT(db,
        "UPDATE __all_restore_progress SET pg_count = ?2, finish_pg_count = ?3, partition_count = ?4, "
        "finish_partition_count = ?5, macro_block_count = ?6, finish_macro_block_count = ?7 WHERE job_id = ?1",
        num(n[0], id), num(n[1], job_int(p, "pg_count")), num(n[2], job_int(p, "finish_pg_count")),
        num(n[3], job_int(p, "partition_count")), num(n[4], job_int(p, "finish_partition_count")),
        num(n[5], job_int(p, "macro_block_count")), num(n[6], job_int(p, "finish_macro_block_count")));
}

void job_end(sqlite3 *db, int64_t id, bool ok, const char *text)
{
    char n[24];
    num(n, id);
    if (!ok)
        job_info(db, id, "info", text);
    PUT(db,
        "UPDATE __all_restore_progress SET completion_time = strftime('%Y-%m-%d %H:%M:%f000', 'now'), info = ?2 "
        "WHERE job_id = ?1",
        n, text);
    job_status(db, id, ok ? "RESTORE_SUCCESS" : "RESTORE_FAIL");
}

void job_to_history(sqlite3 *db, int64_t id, int64_t tenant_id)
{
    char n[24];
    num(n, id);
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    PUT(db,
        "INSERT INTO __all_restore_history (gmt_create, gmt_modified, job_id, external_job_id, tenant_id, tenant_name, "
        "status, start_time, completion_time, pg_count, finish_pg_count, partition_count, finish_partition_count, "
        "macro_block_count, finish_macro_block_count, info, restore_data_version, backup_dest, restore_option, "
        "backup_set_list, backup_piece_list) SELECT gmt_create, gmt_modified, job_id, external_job_id, tenant_id, "
        "tenant_name, status, start_time, completion_time, pg_count, finish_pg_count, partition_count, "
        "finish_partition_count, macro_block_count, finish_macro_block_count, info, "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'restore_data_version'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_dest'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'restore_option'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_set_list'), "
        "(SELECT value FROM __all_restore_info i WHERE i.job_id = p.job_id AND name = 'backup_piece_list') "
        "FROM __all_restore_progress p WHERE job_id = ?1",
        n);
    PUT(db, "DELETE FROM __all_restore_progress WHERE job_id = ?1", n);
    PUT(db, "DELETE FROM __all_restore_info WHERE job_id = ?1", n);
    PUT(db, "DELETE FROM front_restore_job WHERE job_id = ?1", n);
    PUT(db, "DELETE FROM __all_virtual_restore_pg_info WHERE tenant_id = ?1", num((char[24]){0}, tenant_id));
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
}

/* What the job learned from the backup, as __all_restore_info shows it. */
void job_note_result(sqlite3 *db, int64_t id, const json_t *result)
{
    static const struct {
        const char *name, *key;
    } NAMES[] = {{"backup_tenant_id", "backup_tenant_id"},       {"snapshot_version", "snapshot_version"},
                 {"schema_version", "schema_version"},           {"restore_schema_version", "schema_version"},
                 {"frozen_data_version", "backup_data_version"}, {"backup_locality", "locality"},
                 {"backup_primary_zone", "primary_zone"},        {"compat_mode", "compat_mode"},
                 {"backup_set_list", "backup_set_list"},         {"backup_piece_list", "backup_piece_list"}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        const json_t *v = json_object_get(result, NAMES[i].key);
        char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        if (text)
            job_info(db, id, NAMES[i].name, json_is_string(v) ? json_string_value(v) : text);
        free(text);
    }
    json_t *p = json_object_get(result, "pgs");
    char n[24];
    if (json_is_array(p))
        PUT(db, "UPDATE __all_restore_progress SET pg_count = ?2, finish_pg_count = ?2 WHERE job_id = ?1", num(n, id),
            num((char[24]){0}, (int64_t)json_array_size(p)));
}

/* One row a PG, as long as the job lives. */
void job_show_pgs(sqlite3 *db, int64_t tenant_id, const json_t *result)
{
    size_t i;
    json_t *pg;
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    json_array_foreach(json_object_get(result, "pgs"), i, pg)
    {
        char n[4][24];
        PUT(db,
            "INSERT OR REPLACE INTO __all_virtual_restore_pg_info (tenant_id, table_id, partition_id, "
            "macro_block_count, "
            "finish_macro_block_count, partition_count, finish_partition_count, restore_info) "
            "VALUES (?1, ?2, ?3, 0, 0, ?4, 0, '')",
            num(n[0], tenant_id), num(n[1], tenant_id << 40 | job_int(pg, "table_id")),
            num(n[2], job_int(pg, "partition_id")), num(n[3], (int64_t)json_array_size(json_object_get(pg, "tables"))));
    }
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
}

bool job_insert(struct host *h, sqlite3 *db, const struct obs_restore *r, const struct job_option *o,
                const json_t *request, const char *dir)
{
    char n[24], number[24];
    int64_t id = job_int(request, "job_id");
    char list[4096] = "";
    size_t i;
    json_t *uri;
    json_array_foreach(json_object_get(request, "sources"), i, uri)
    {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? "," : "", json_string_value(uri));
    }
    const struct {
        const char *name, *value;
    } ROWS[] = {{"status", "CREATE_TENANT"},           {"tenant_name", r->dst_tenant},
                {"backup_tenant_name", r->src_tenant}, {"backup_cluster_name", o->cluster_name},
                {"pool_list", o->pool_list},           {"locality", o->locality},
                {"primary_zone", o->primary_zone},     {"restore_option", r->options},
                {"backup_dest", r->at ? r->at : list}, {"info", ""}};
    for (i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        job_info(db, id, ROWS[i].name, ROWS[i].value ? ROWS[i].value : "");
    job_info(db, id, "tenant_id", num(number, job_int(request, "dst_tenant_id")));
    job_info(db, id, "cluster_id", num(number, o->cluster_id));
    job_info(db, id, "restore_job_id", num(number, o->external_id));
    job_info(db, id, "restore_timestamp", num(number, r->until_us));
    job_info(db, id, "restore_data_version", num(number, job_int(request, "restore_data_version")));
    job_info(db, id, "restore_start_ts", num(number, host_now(h)));
    return PUT(db,
               "INSERT INTO __all_restore_progress (gmt_create, gmt_modified, job_id, external_job_id, tenant_id, "
               "tenant_name, "
               "status, start_time, pg_count, finish_pg_count, partition_count, finish_partition_count, "
               "macro_block_count, "
               "finish_macro_block_count, info) VALUES (strftime('%Y-%m-%d %H:%M:%f000', 'now'), "
               "strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?1, ?2, ?3, ?4, 'CREATE_TENANT', "
               "strftime('%Y-%m-%d %H:%M:%f000', 'now'), 0, 0, 0, 0, 0, 0, '')",
               num(n, id), num(number, o->external_id), num((char[24]){0}, job_int(request, "dst_tenant_id")),
               r->dst_tenant) &&
           PUT(db, "INSERT INTO front_restore_job VALUES (?1, ?2, ?3)", n, num(number, host_self(h)->id), dir);
}

json_t *obs_restore_jobs(struct host *h)
{
    json_t *jobs = json_array();
    sqlite3 *db = job_open_db(h);
    sqlite3_stmt *q = NULL;
    if (db &&
        sqlite3_prepare_v2(db,
                           "SELECT job_id, tenant_id, tenant_name, status, info FROM __all_restore_progress UNION ALL "
                           "SELECT job_id, tenant_id, tenant_name, status, info FROM __all_restore_history "
                           "ORDER BY job_id",
                           -1, &q, NULL) == SQLITE_OK)
        while (sqlite3_step(q) == SQLITE_ROW)
            json_array_append_new(jobs, json_pack("{s:I, s:I, s:s, s:s, s:s*}", "job_id",
                                                  (json_int_t)sqlite3_column_int64(q, 0), "tenant_id",
                                                  (json_int_t)sqlite3_column_int64(q, 1), "tenant_name",
                                                  sqlite3_column_text(q, 2), "status", sqlite3_column_text(q, 3),
                                                  "info", sqlite3_column_text(q, 4)));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return json_pack("{s:b, s:o}", "ok", 1, "jobs", jobs);
}
