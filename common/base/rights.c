#include "base/rights.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define GRANT_LINES_MAX 1000u

typedef struct probe {
    const char *table;
    enum { WHOLE, OF_TENANT, OF_SERVER } filter; /* dear tables are asked for one row of one tenant or server */
} probe;

/* What each part names in its statements (docs/sql.md). */
static const probe AGENT[] = {{"__all_virtual_partition_info", OF_SERVER},
                              {"__all_virtual_clog_stat", OF_SERVER},
                              {"__all_virtual_election_info", OF_SERVER},
                              {"__all_virtual_server_clog_stat", OF_SERVER},
                              {"__all_virtual_sys_parameter_stat", OF_SERVER}};
static const probe COORDINATOR[] = {{"__all_server", WHOLE},
                                    {"__all_zone", WHOLE},
                                    {"__all_tenant", WHOLE},
                                    {"__all_tenant_history", WHOLE},
                                    {"__all_virtual_freeze_info", WHOLE},
                                    {"__all_freeze_schema_version", WHOLE},
                                    {"__all_root_table", OF_TENANT},
                                    {"__all_virtual_meta_table", OF_TENANT},
                                    {"__all_virtual_table", OF_TENANT},
                                    {"__all_virtual_part", OF_TENANT},
                                    {"__all_virtual_sub_part", OF_TENANT},
                                    {"__all_virtual_tablegroup", OF_TENANT},
                                    {"__all_virtual_ddl_operation", OF_TENANT},
                                    {"__all_virtual_sys_variable", OF_TENANT},
                                    {"__all_virtual_sys_parameter_stat", WHOLE},
                                    {"__all_virtual_cluster", WHOLE},
                                    {"__all_virtual_backup_info", OF_TENANT},
                                    {"__all_backup_log_archive_status_v2", WHOLE}};
static const probe RESTORE[] = {{"__all_server", WHOLE},
                                {"__all_tenant", WHOLE},
                                {"__all_resource_pool", WHOLE},
                                {"__all_core_table", WHOLE},
                                {"__all_virtual_sys_parameter_stat", WHOLE},
                                {"__all_virtual_cluster", WHOLE},
                                {"__all_restore_info", WHOLE},
                                {"__all_restore_progress", WHOLE},
                                {"__all_restore_history", WHOLE}};
static const struct {
    const probe *probes;
    size_t n;
} ROLES[] = {[OBV_ROLE_AGENT] = {AGENT, sizeof AGENT / sizeof *AGENT},
             [OBV_ROLE_COORDINATOR] = {COORDINATOR, sizeof COORDINATOR / sizeof *COORDINATOR},
             [OBV_ROLE_RESTORE] = {RESTORE, sizeof RESTORE / sizeof *RESTORE}};

/* Appends to a list in a text; a list that is full ends in "…". */
static void add(char *list, size_t cap, const char *prefix, const char *item, size_t len)
{
    static const char MORE[] = ", …";
    const size_t at = strlen(list), sep = at ? 2 : 0;
    if (at + sep + strlen(prefix) + len + sizeof MORE <= cap)
        (void)snprintf(list + at, cap - at, "%s%s%.*s", at ? ", " : "", prefix, (int)len, item);
    else if (at >= sizeof MORE && strcmp(list + at - (sizeof MORE - 1), MORE) != 0 && at + sizeof MORE <= cap)
        (void)strcpy(list + at, MORE);
}

static bool is(const char *s, size_t len, const char *want) { return strlen(want) == len && memcmp(s, want, len) == 0; }

static void take_right(obv_role role, const char *right, size_t len, const char *on, size_t on_len, obv_rights *out)
{
    const bool everywhere = is(on, on_len, "*.*");
    const bool all = is(right, len, "ALL PRIVILEGES");
    char text[128];
    if (is(right, len, "USAGE"))
        return;
    if (everywhere && (all || is(right, len, "ALTER SYSTEM")))
        out->alter_system = true;
    if (is(right, len, "SELECT") && on_len >= 10 && memcmp(on, "`oceanbase`", on_len < 11 ? on_len : 11) == 0)
        return;
    if (is(right, len, "ALTER SYSTEM") && role == OBV_ROLE_RESTORE)
        return;
    const int n = snprintf(text, sizeof text, "%.*s on %.*s", (int)len, right, (int)on_len, on);
    add(out->too_wide, sizeof out->too_wide, "", text, n > 0 && (size_t)n < sizeof text ? (size_t)n : strlen(text));
}

void obv_rights_grant(obv_role role, const char *line, obv_rights *out)
{
    static const char HEAD[] = "GRANT ";
    const char *on = strstr(line, " ON "), *to = on ? strstr(on + 4, " TO ") : NULL;
    if (strncmp(line, HEAD, sizeof HEAD - 1) != 0 || !to)
        return;
    for (const char *p = line + sizeof HEAD - 1; p < on;) {
        while (p < on && (*p == ' ' || *p == ','))
            p++;
        const char *end = p + strcspn(p, ",");
        if (end > on)
            end = on;
        if (end > p)
            take_right(role, p, (size_t)(end - p), on + 4, (size_t)(to - on - 4), out);
        p = end;
    }
    if (strstr(to, "WITH GRANT OPTION"))
        add(out->too_wide, sizeof out->too_wide, "", "GRANT OPTION", strlen("GRANT OPTION"));
}

typedef struct grants {
    obv_role role;
    obv_rights *out;
} grants;

static obv_code take_line(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    (void)err;
    const grants *g = ctx;
    if (r->text[0])
        obv_rights_grant(g->role, r->text[0], g->out);
    return OBV_OK;
}

static obv_code take_nothing(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    (void)ctx, (void)r, (void)err;
    return OBV_OK;
}

static obv_code look_at_table(obv_mysql *m, const probe *p, const char *ip, uint32_t port, obv_rights *out,
                              obv_err *err)
{
    char sql[256], where[96] = "";
    obv_err why = {0};
    if (p->filter == OF_TENANT)
        (void)snprintf(where, sizeof where, " WHERE tenant_id = 1");
    else if (p->filter == OF_SERVER)
        (void)snprintf(where, sizeof where, " WHERE svr_ip = '%.45s' AND svr_port = %u", ip, port);
    (void)snprintf(sql, sizeof sql, "SELECT 1 FROM oceanbase.%s%s LIMIT 1", p->table, where);
    const obv_code code = obv_mysql_query(m, sql, 1, 1, take_nothing, NULL, &why);
    if (code == OBV_E_DENIED)
        add(out->missing, sizeof out->missing, "SELECT on oceanbase.", p->table, strlen(p->table));
    else if (code == OBV_E_UNSUPPORTED)
        add(out->unknown, sizeof out->unknown, "oceanbase.", p->table, strlen(p->table));
    else if (code != OBV_OK) {
        if (err)
            *err = why;
        return code;
    }
    return OBV_OK;
}

obv_code obv_rights_look(obv_mysql *m, obv_role role, const char *user, const char *ip, uint32_t port, obv_rights *out,
                         obv_err *err)
{
    grants g = {.role = role, .out = out};
    const size_t name = strcspn(user, "@#:");
    obv_err ignored = {0};
    *out = (obv_rights){0};
    for (size_t i = 0; i < ROLES[role].n; i++)
        OBV_TRY(look_at_table(m, &ROLES[role].probes[i], ip, port, out, err));
    const obv_code code = obv_mysql_query(m, "SHOW GRANTS", 1, GRANT_LINES_MAX, take_line, &g, &ignored);
    if (OBV_IS_RETRYABLE(code)) {
        if (err)
            *err = ignored;
        return code;
    }
    out->shown = code == OBV_OK;
    if (role == OBV_ROLE_RESTORE && out->shown && !out->alter_system)
        add(out->missing, sizeof out->missing, "", "ALTER SYSTEM on *.*", strlen("ALTER SYSTEM on *.*"));
    if (role == OBV_ROLE_RESTORE && out->missing[0] && !out->alter_system)
        (void)snprintf(out->statement, sizeof out->statement,
                       "GRANT SELECT ON oceanbase.* TO %.*s; GRANT ALTER SYSTEM ON *.* TO %.*s;",
                       (int)(name < 40 ? name : 40), user, (int)(name < 40 ? name : 40), user);
    else
        (void)snprintf(out->statement, sizeof out->statement, "GRANT SELECT ON oceanbase.* TO %.*s;",
                       (int)(name < 64 ? name : 64), user);
    return OBV_OK;
}

static obv_code take_clock(void *ctx, const obv_mysql_row *r, obv_err *err)
{
    char text[40];
    const char *t = r->text[0] ? r->text[0] : "";
    if (strlen(t) < 19 || strlen(t) > 26)
        return obv_fail(err, OBV_E_CORRUPT, 0, "UTC_TIMESTAMP is '%.40s'", t);
    (void)snprintf(text, sizeof text, "%.10sT%sZ", t, t + 11);
    return obv_time_parse(text, ctx, err);
}

obv_code obv_mysql_now(obv_mysql *m, int64_t *us, obv_err *err)
{
    *us = 0;
    OBV_TRY(obv_mysql_query(m, "SELECT UTC_TIMESTAMP(6)", 1, 1, take_clock, us, err));
    return *us ? OBV_OK : obv_fail(err, OBV_E_CORRUPT, 0, "UTC_TIMESTAMP gave no row");
}
