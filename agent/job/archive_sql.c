/* archive_sql.c - the job on a real OBServer: samples and polls by a few queries for all its PGs (docs/sql.md, "Agent")
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/mysql.h"
#include "job/archive_priv.h"
#include "source/observer.h"

#include <stdio.h>

#define MAX_ROWS (256u << 10) /* of one table */
#define SETTINGS_EVERY_NS (60 * OBV_NS_PER_S)
#define POLL_MS 2000u /* time-out of a statement of a poll */

/* A connection to one server, and which server that is. */
typedef struct place {
    obv_mysql *db;
    char ip[64];
    uint16_t rpc_port;
} place;

typedef struct sql {
    place local, far; /* the sampler's; far: the last other one that was asked */
    place polled;     /* the poller's: the local server again */
    char user[256], password_file[1024];
    uint16_t sql_port;
    obv_source *observer;
    int64_t settings_at_ns;
    bool one_phase_commit;
} sql;

/* Rows under construction: one a PG of the first query, sorted; the other queries fill them up. */
typedef struct rows {
    obv_archive_row *v;
    size_t count, cap;
    obv_archive_sampled *out;
} rows;

static int by_key(const void *a, const void *b)
{
    const obv_archive_row *x = a, *y = b;
    return obv_archive_order(x->table_id, x->partition_id, y->table_id, y->partition_id);
}

static obv_archive_row *add(rows *r, obv_err *err)
{
    if (r->count == r->cap) {
        const size_t cap = r->cap ? r->cap * 2 : 1024;
        obv_archive_row *grown = realloc(r->v, cap * sizeof *grown);
        if (!grown) {
            (void)obv_fail(err, OBV_E_NOMEM, 0, "rows of the OBServer");
            return NULL;
        }
        r->v = grown;
        r->cap = cap;
    }
    r->v[r->count] = (obv_archive_row){0};
    return &r->v[r->count++];
}

static obv_code key_of(const obv_mysql_row *row, obv_archive_row *out, obv_err *err)
{
    OBV_TRY(obv_mysql_u64(row, 0, &out->table_id, err));
    return obv_mysql_i64(row, 1, &out->partition_id, err);
}

static obv_code readable_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    rows *r = ctx;
    obv_archive_row *to = add(r, err);
    if (!to)
        return OBV_E_NOMEM;
    OBV_TRY(key_of(row, to, err));
    to->has_readable = true;
    return obv_mysql_i64(row, 2, &to->readable_ts, err);
}

/* The row of the first query, NULL if this PG appeared only later: it is seen in the next sampling. */
static obv_archive_row *find(rows *r, const obv_archive_row *key)
{
    return r->count ? bsearch(key, r->v, r->count, sizeof *r->v, by_key) : NULL;
}

/* The leader's place in the list of servers; 0 for what is no address, or one too many. OceanBase prints it quoted. */
static uint8_t server_at(obv_archive_sampled *s, const char *text)
{
    char server[sizeof s->servers[0]];
    const size_t quoted = text[0] == '"';
    const size_t n = strspn(text + quoted, "0123456789.:");
    if (n < 9 || n >= sizeof server)
        return 0;
    memcpy(server, text + quoted, n);
    server[n] = 0;
    size_t i = 0;
    while (i < s->server_count && strcmp(s->servers[i], server) != 0)
        i++;
    if (i == OBV_ARCHIVE_SERVERS)
        return 0;
    if (i == s->server_count)
        memcpy(s->servers[s->server_count++], server, n + 1);
    return (uint8_t)(i + 1);
}

static obv_code stat_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    rows *r = ctx;
    obv_archive_row key = {0};
    OBV_TRY(key_of(row, &key, err));
    obv_archive_row *to = find(r, &key);
    if (!to)
        return OBV_OK;
    char role[32];
    if (row->text[4])
        to->leader_at = server_at(r->out, row->text[4]);
    OBV_TRY(obv_mysql_text(row, 2, role, sizeof role, err));
    to->leader = strcmp(role, "LEADER") == 0;
    to->has_stat = true;
    return obv_mysql_u64(row, 3, &to->last_log_id, err);
}

static obv_code epoch_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    obv_archive_row key = {0};
    OBV_TRY(key_of(row, &key, err));
    obv_archive_row *to = find(ctx, &key);
    if (!to)
        return OBV_OK;
    to->has_epoch = true;
    return obv_mysql_i64(row, 2, &to->leader_epoch, err);
}

static obv_code file_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    return obv_mysql_u64(row, 0, &((obv_archive_sampled *)ctx)->oldest_clog_file, err);
}

static obv_code setting_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    char value[16];
    OBV_TRY(obv_mysql_text(row, 0, value, sizeof value, err));
    *(bool *)ctx = strcasecmp(value, "True") == 0 || strcmp(value, "1") == 0;
    return OBV_OK;
}

static obv_code query(const place *p, const char *columns, const char *table, const char *more, uint32_t column_count,
                      obv_mysql_row_fn *fn, void *ctx, obv_err *err)
{
    char text[512];
    (void)snprintf(text, sizeof text, "SELECT %s FROM oceanbase.%s WHERE svr_ip = '%s' AND svr_port = %u%s", columns,
                   table, p->ip, p->rpc_port, more);
    if (OBV_BUG_STRIKES("bug.d19_asks_all_servers"))
        (void)snprintf(text, sizeof text, "SELECT %s FROM oceanbase.%s WHERE svr_port = %u%s", columns, table,
                       p->rpc_port, more);
    return obv_mysql_query(p->db, text, column_count, MAX_ROWS, fn, ctx, err);
}

/* The order matters: readable times, then last log ids, then epochs. */
static obv_code gather(const place *p, rows *r, obv_err *err)
{
    OBV_TRY(query(p, "table_id, partition_idx, weak_read_timestamp", "__all_virtual_partition_info", "", 3,
                  readable_row, r, err));
    if (r->count > 1)
        qsort(r->v, r->count, sizeof *r->v, by_key);
    OBV_TRY(query(p, "table_id, partition_idx, role, last_log_id, leader", "__all_virtual_clog_stat", "", 5, stat_row,
                  r, err));
    return query(p, "table_id, partition_idx, leader_epoch", "__all_virtual_election_info", "", 3, epoch_row, r, err);
}

/* What only the local server is asked. */
static obv_code gather_local(sql *s, obv_archive_sampled *out, obv_err *err)
{
    OBV_TRY(
        query(&s->local, "user_clog_min_using_file_id", "__all_virtual_server_clog_stat", "", 1, file_row, out, err));
    if (s->settings_at_ns == 0 || obv_mono_ns() - s->settings_at_ns > SETTINGS_EVERY_NS) {
        OBV_TRY(query(&s->local, "value", "__all_virtual_sys_parameter_stat", " AND name = 'enable_one_phase_commit'",
                      1, setting_row, &s->one_phase_commit, err));
        s->settings_at_ns = obv_mono_ns();
    }
    return OBV_OK;
}

static obv_code sample_of(sql *s, place *p, obv_archive_sampled *out, obv_err *err)
{
    if (!p->db) {
        const obv_mysql_config cfg = {
            .host = p->ip, .port = s->sql_port, .user = s->user, .password_file = s->password_file};
        OBV_TRY(obv_mysql_open(&cfg, &p->db, err));
    }
    obv_archive_sampled got = {.began_at = obv_now_us()};
    rows r = {.out = &got};
    obv_code code = gather(p, &r, err);
    if (code == OBV_OK && p == &s->local)
        code = gather_local(s, &got, err);
    if (code != OBV_OK) {
        free(r.v);
        obv_mysql_drop(&p->db);
        p->db = NULL;
        return code;
    }
    got.ended_at = obv_now_us();
    got.rows = r.v;
    got.count = r.count;
    got.one_phase_commit = s->one_phase_commit;
    *out = got;
    return OBV_OK;
}

static obv_code sample(void *ctx, const obv_cancel *c, obv_archive_sampled *out, obv_err *err)
{
    sql *s = ctx;
    OBV_TRY(obv_cancel_check(c, "sampling", err));
    return sample_of(s, &s->local, out, err);
}

/* One connection is kept, to the server that was asked last. */
static obv_code sample_at(void *ctx, const char *server, const obv_cancel *c, obv_archive_sampled *out, obv_err *err)
{
    sql *s = ctx;
    place at = {0};
    unsigned port = 0;
    OBV_TRY(obv_cancel_check(c, "sampling", err));
    if (sscanf(server, "%15[0-9.]:%5u", at.ip, &port) != 2 || port == 0 || port > 65535)
        return obv_fail(err, OBV_E_INVAL, 0, "%s is no server", server);
    at.rpc_port = (uint16_t)port;
    if (s->far.rpc_port != at.rpc_port || strcmp(s->far.ip, at.ip) != 0) {
        obv_mysql_drop(&s->far.db);
        s->far = at;
    }
    return sample_of(s, &s->far, out, err);
}

/* ---- polls of the sliding windows */

typedef struct windows {
    obv_archive_window *v;
    size_t count, cap;
} windows;

static int by_window(const void *a, const void *b)
{
    const obv_archive_window *x = a, *y = b;
    return obv_archive_order(x->table_id, x->partition_id, y->table_id, y->partition_id);
}

static obv_code window_key(const obv_mysql_row *row, obv_archive_window *out, obv_err *err)
{
    OBV_TRY(obv_mysql_u64(row, 0, &out->table_id, err));
    return obv_mysql_i64(row, 1, &out->partition_id, err);
}

static obv_code window_epoch_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    windows *w = ctx;
    if (w->count == w->cap) {
        const size_t cap = w->cap ? w->cap * 2 : 1024;
        obv_archive_window *grown = realloc(w->v, cap * sizeof *grown);
        if (!grown)
            return obv_fail(err, OBV_E_NOMEM, 0, "rows of the OBServer");
        w->v = grown;
        w->cap = cap;
    }
    obv_archive_window *to = &w->v[w->count];
    *to = (obv_archive_window){0};
    OBV_TRY(window_key(row, to, err));
    OBV_TRY(obv_mysql_i64(row, 2, &to->leader_epoch, err));
    w->count++;
    return OBV_OK;
}

static obv_code window_stat_row(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    const windows *w = ctx;
    obv_archive_window key = {0};
    char role[32];
    int64_t need_rebuild = 0;
    OBV_TRY(window_key(row, &key, err));
    obv_archive_window *to = w->count ? bsearch(&key, w->v, w->count, sizeof *w->v, by_window) : NULL;
    if (!to)
        return OBV_OK;
    OBV_TRY(obv_mysql_text(row, 2, role, sizeof role, err));
    OBV_TRY(obv_mysql_u64(row, 3, &to->start_id, err));
    OBV_TRY(obv_mysql_i64(row, 4, &need_rebuild, err));
    to->leader = strcmp(role, "LEADER") == 0;
    to->need_rebuild = need_rebuild != 0;
    to->has_stat = true;
    return OBV_OK;
}

/* The order matters: epochs, then windows. */
static obv_code gather_windows(const sql *s, windows *w, bool *one_phase, obv_err *err)
{
    OBV_TRY(query(&s->polled, "table_id, partition_idx, leader_epoch", "__all_virtual_election_info", "", 3,
                  window_epoch_row, w, err));
    if (w->count > 1)
        qsort(w->v, w->count, sizeof *w->v, by_window);
    OBV_TRY(query(&s->polled, "table_id, partition_idx, role, start_id, is_need_rebuild", "__all_virtual_clog_stat", "",
                  5, window_stat_row, w, err));
    return query(&s->polled, "value", "__all_virtual_sys_parameter_stat", " AND name = 'enable_one_phase_commit'", 1,
                 setting_row, one_phase, err);
}

static obv_code poll(void *ctx, const obv_cancel *c, obv_archive_polled *out, obv_err *err)
{
    sql *s = ctx;
    OBV_TRY(obv_cancel_check(c, "poll", err));
    if (!s->polled.db) {
        const obv_mysql_config cfg = {.host = s->polled.ip,
                                      .port = s->sql_port,
                                      .user = s->user,
                                      .password_file = s->password_file,
                                      .query_timeout_ms = POLL_MS};
        OBV_TRY(obv_mysql_open(&cfg, &s->polled.db, err));
    }
    windows w = {0};
    bool one_phase = true; /* unless the server says no */
    const obv_code code = gather_windows(s, &w, &one_phase, err);
    if (code != OBV_OK) {
        free(w.v);
        obv_mysql_drop(&s->polled.db);
        s->polled.db = NULL;
        return code;
    }
    *out = (obv_archive_polled){.rows = w.v, .count = w.count, .one_phase_commit = one_phase};
    return OBV_OK;
}

static obv_code origin(void *ctx, const obv_pg_key *pg, const obv_cancel *c, obv_archive_origin *out, obv_err *err)
{
    const sql *s = ctx;
    obv_observer_pg_info i = {0};
    OBV_TRY(obv_observer_fetch_pg_info(s->observer, pg, c, &i, err));
    *out = (obv_archive_origin){
        .key = i.key,
        .restoring = i.is_restore != 0,
        .base =
            {
                .start_log_id = i.last_replay_log_id + 1,
                .start_ts = i.last_submit_ts,
                .snapshot_version = i.publish_version,
                .log_submit_ts = i.last_submit_ts,
                .clog_epoch_id = i.epoch_id,
                .accum = i.accumulate_checksum,
            },
    };
    obv_observer_pg_info_fini(&i);
    return OBV_OK;
}

static void close_sql(void *ctx)
{
    sql *s = ctx;
    obv_mysql_drop(&s->local.db);
    obv_mysql_drop(&s->far.db);
    obv_mysql_drop(&s->polled.db);
    free(s);
}

static obv_code sql_hooks(const obv_archive_config *cfg, obv_archive_hooks *out, obv_err *err)
{
    sql *s = calloc(1, sizeof *s);
    if (!s)
        return obv_fail(err, OBV_E_NOMEM, 0, "archive job");
    s->local.rpc_port = cfg->rpc_port;
    s->sql_port = cfg->sql_port;
    s->observer = cfg->observer;
    const int a = snprintf(s->local.ip, sizeof s->local.ip, "%s", cfg->ip);
    const int b = snprintf(s->user, sizeof s->user, "%s", cfg->user ? cfg->user : "");
    const int d =
        snprintf(s->password_file, sizeof s->password_file, "%s", cfg->password_file ? cfg->password_file : "");
    /* the address goes into statements as it is */
    if (a >= (int)sizeof s->local.ip || b >= (int)sizeof s->user || d >= (int)sizeof s->password_file ||
        strspn(s->local.ip, "0123456789.") != strlen(s->local.ip) || s->local.ip[0] == '\0') {
        free(s);
        return obv_fail(err, OBV_E_CONFIG, 0, "the local OBServer's address \"%s\" or its account", cfg->ip);
    }
    s->polled = s->local;
    *out = (obv_archive_hooks){
        .ctx = s, .origin = origin, .sample = sample, .sample_at = sample_at, .poll = poll, .close = close_sql};
    return OBV_OK;
}

obv_code obv_archive_start(const obv_archive_config *cfg, obv_archive **out, obv_err *err)
{
    obv_archive_hooks hooks;
    OBV_TRY(sql_hooks(cfg, &hooks, err));
    const obv_code code = obv_archive_start_with(cfg, &hooks, out, err);
    if (code != OBV_OK)
        hooks.close(hooks.ctx);
    return code;
}
