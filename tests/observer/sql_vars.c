/* sql_vars.c - system variables that clients ask for or set */
#include "sql_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum var_kind { V_TEXT, V_INT, V_BOOL, V_ZONE, V_READ_ONLY };

static const struct {
    const char *name;
    enum var_kind kind;
    const char *value;
} VARS[] = {
    {"version_comment", V_READ_ONLY, NULL}, /* the server's */
    {"version", V_READ_ONLY, "5.7.25"},
    {"version_compile_os", V_READ_ONLY, "Linux"},
    {"license", V_READ_ONLY, ""},
    {"hostname", V_READ_ONLY, "observer"},
    {"lower_case_table_names", V_READ_ONLY, "1"},
    {"system_time_zone", V_READ_ONLY, "+08:00"},
    {"performance_schema", V_READ_ONLY, "0"},
    {"time_zone", V_ZONE, "+8:00"},
    {"ob_query_timeout", V_INT, "10000000"},
    {"ob_trx_timeout", V_INT, "100000000"},
    {"ob_trx_idle_timeout", V_INT, "120000000"},
    {"ob_read_consistency", V_TEXT, "STRONG"},
    {"ob_enable_show_trace", V_BOOL, "0"},
    {"autocommit", V_BOOL, "1"},
    {"tx_isolation", V_TEXT, "READ-COMMITTED"},
    {"transaction_isolation", V_TEXT, "READ-COMMITTED"},
    {"tx_read_only", V_BOOL, "0"},
    {"transaction_read_only", V_BOOL, "0"},
    {"sql_mode", V_TEXT, "STRICT_ALL_TABLES,NO_ZERO_IN_DATE"},
    {"sql_select_limit", V_TEXT, "9223372036854775807"},
    {"sql_quote_show_create", V_BOOL, "1"},
    {"character_set_client", V_TEXT, "utf8mb4"},
    {"character_set_connection", V_TEXT, "utf8mb4"},
    {"character_set_results", V_TEXT, "utf8mb4"},
    {"character_set_server", V_TEXT, "utf8mb4"},
    {"character_set_database", V_TEXT, "utf8mb4"},
    {"collation_connection", V_TEXT, "utf8mb4_general_ci"},
    {"collation_server", V_TEXT, "utf8mb4_general_ci"},
    {"collation_database", V_TEXT, "utf8mb4_general_ci"},
    {"wait_timeout", V_INT, "28800"},
    {"interactive_timeout", V_INT, "28800"},
    {"connect_timeout", V_INT, "10"},
    {"net_read_timeout", V_INT, "30"},
    {"net_write_timeout", V_INT, "60"},
    {"net_buffer_length", V_INT, "16384"},
    {"max_allowed_packet", V_INT, "16777216"},
    {"lock_wait_timeout", V_INT, "31536000"},
    {"group_concat_max_len", V_INT, "1024"},
    {"query_cache_size", V_INT, "1048576"},
    {"query_cache_type", V_TEXT, "OFF"},
    {"auto_increment_increment", V_INT, "1"},
    {"auto_increment_offset", V_INT, "1"},
    {"foreign_key_checks", V_BOOL, "1"},
    {"unique_checks", V_BOOL, "1"},
    {"init_connect", V_TEXT, ""},
    {"undo_retention", V_INT, "0"},
};
#define VAR_COUNT (sizeof VARS / sizeof *VARS)
_Static_assert(VAR_COUNT <= SQL_MAX_VARS, "sql_session.vars is too short");

static int find(const char *name)
{
    for (size_t i = 0; i < VAR_COUNT; i++)
        if (strcasecmp(VARS[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *sql_var_get(const struct sql_session *s, const char *name)
{
    int i = find(name);
    if (i < 0)
        return NULL;
    if (s->vars[i])
        return s->vars[i];
    if (VARS[i].value)
        return VARS[i].value;
    return s->greeting[0] ? s->greeting : s->srv->version_comment;
}

static bool is_integer(const char *v)
{
    if (*v == '-')
        v++;
    if (!*v)
        return false;
    for (; *v; v++)
        if (!isdigit((unsigned char)*v))
            return false;
    return true;
}

static const char *as_bool(const char *v)
{
    if (strcasecmp(v, "1") == 0 || strcasecmp(v, "on") == 0 || strcasecmp(v, "true") == 0)
        return "1";
    if (strcasecmp(v, "0") == 0 || strcasecmp(v, "off") == 0 || strcasecmp(v, "false") == 0)
        return "0";
    return NULL;
}

bool sql_var_set(struct sql_session *s, const char *name, const char *value, struct sql_err *err)
{
    int i = find(name);
    if (i < 0)
        return sql_fail(err, SQL_E_VARIABLE, "Unknown system variable '%s'", name);
    if (strcasecmp(value, "default") == 0) {
        free(s->vars[i]);
        s->vars[i] = NULL;
        value = sql_var_get(s, name);
    }
    switch (VARS[i].kind) {
    case V_READ_ONLY:
        return sql_fail(err, SQL_E_READ_ONLY_VARIABLE, "Variable '%s' is a read only variable", name);
    case V_INT:
        if (!is_integer(value))
            return sql_fail(err, 1232, "Incorrect argument type to variable '%s'", name);
        break;
    case V_BOOL:
        if (!as_bool(value))
            return sql_fail(err, SQL_E_VALUE, "Variable '%s' can't be set to the value of '%s'", name, value);
        value = as_bool(value);
        break;
    case V_ZONE:
        if (!sql_time_zone(value, &s->tz_offset_s))
            return sql_fail(err, SQL_E_TIME_ZONE, "Unknown or incorrect time zone: '%s'", value);
        break;
    case V_TEXT:
        break;
    }
    char *copy = strdup(value);
    if (!copy)
        return sql_fail(err, OB_ERR_UNEXPECTED, "no memory");
    free(s->vars[i]);
    s->vars[i] = copy;
    return true;
}
