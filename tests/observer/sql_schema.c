/* sql_schema.c - the tables that exist, read from the embedded schema.sql; and the errors' SQLSTATEs */
#include "sql_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

__asm__(".section .rodata\n"
        "sql_schema_text:\n"
        ".incbin \"" OBS_SCHEMA_SQL "\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char sql_schema_text[];

bool sql_fail(struct sql_err *err, int number, const char *fmt, ...)
{
    static const struct {
        int number;
        char state[6];
    } STATES[] = {{SQL_E_ACCESS, "28000"},    {SQL_E_NO_DB, "3D000"},         {SQL_E_BAD_DB, "42000"},
                  {SQL_E_AMBIGUOUS, "23000"}, {SQL_E_COLUMN, "42S22"},        {SQL_E_SYNTAX, "42000"},
                  {SQL_E_TABLE, "42S02"},     {SQL_E_SELECT_DENIED, "42000"}, {SQL_E_PRIVILEGE, "42000"},
                  {SQL_E_VALUE, "42000"},     {SQL_E_FUNCTION, "42000"},      {SQL_E_TOO_MANY, "08004"},
                  {SQL_E_COMMAND, "08S01"},   {SQL_E_HANDSHAKE, "08S01"},     {OB_NOT_SUPPORTED, "0A000"}};
    err->number = number;
    memcpy(err->state, "HY000", 6);
    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++)
        if (STATES[i].number == number)
            memcpy(err->state, STATES[i].state, 6);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return false;
}

static bool add_column(struct sql_table *t, const char *name, const char *type)
{
    size_t n = (size_t)t->col_count + 1;
    char **names = realloc(t->col_names, n * sizeof *names);
    if (names)
        t->col_names = names;
    char **types = realloc(t->col_types, n * sizeof *types);
    if (types)
        t->col_types = types;
    if (!names || !types)
        return false;
    names[n - 1] = strdup(name);
    types[n - 1] = strdup(type);
    t->col_count = (int)n;
    const struct {
        const char *name;
        int *col;
    } KEYS[] = {
        {"svr_ip", &t->ip_col}, {"svr_port", &t->port_col}, {"table_id", &t->id_col}, {"partition_idx", &t->part_col}};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (strcmp(name, KEYS[i].name) == 0)
            *KEYS[i].col = (int)n - 1;
    return names[n - 1] && types[n - 1];
}

static bool read_table(sqlite3 *db, struct sql_schema *s, const char *kind, const char *name)
{
    struct sql_table *v = realloc(s->v, (s->n + 1) * sizeof *v);
    if (!v)
        return false;
    s->v = v;
    struct sql_table *t = &v[s->n++];
    *t = (struct sql_table){.ip_col = -1, .port_col = -1, .id_col = -1, .part_col = -1};
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->kind, sizeof t->kind, "%s", kind);
    sqlite3_stmt *q = NULL;
    bool ok =
        sqlite3_prepare_v2(db, "SELECT name, type FROM pragma_table_info(?) ORDER BY cid", -1, &q, NULL) == SQLITE_OK;
    if (ok)
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
    while (ok && sqlite3_step(q) == SQLITE_ROW)
        ok = add_column(t, (const char *)sqlite3_column_text(q, 0), (const char *)sqlite3_column_text(q, 1));
    sqlite3_finalize(q);
    return ok && t->col_count > 0;
}

bool sql_schema_load(struct sql_schema *s, struct sql_err *err)
{
    *s = (struct sql_schema){0};
    sqlite3 *db = NULL;
    bool ok =
        sqlite3_open(":memory:", &db) == SQLITE_OK && sqlite3_exec(db, sql_schema_text, NULL, NULL, NULL) == SQLITE_OK;
    char kind[3] = "";
    for (const char *line = sql_schema_text; ok && *line;) {
        char name[64];
        sscanf(line, "-- kind %2s", kind);
        if (sscanf(line, "CREATE TABLE \"%63[^\"]\"", name) == 1)
            ok = read_table(db, s, kind, name);
        const char *end = strchr(line, '\n');
        line = end ? end + 1 : line + strlen(line);
    }
    sqlite3_close(db);
    return ok ? true : sql_fail(err, OB_ERR_UNEXPECTED, "schema.sql cannot be read");
}

void sql_schema_free(struct sql_schema *s)
{
    for (size_t i = 0; i < s->n; i++) {
        for (int c = 0; c < s->v[i].col_count; c++) {
            free(s->v[i].col_names[c]);
            free(s->v[i].col_types[c]);
        }
        free(s->v[i].col_names);
        free(s->v[i].col_types);
    }
    free(s->v);
    *s = (struct sql_schema){0};
}

const struct sql_table *sql_schema_find(const struct sql_schema *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcasecmp(s->v[i].name, name) == 0)
            return &s->v[i];
    return NULL;
}
