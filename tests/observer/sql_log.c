/* sql_log.c - log/sql.log: one JSON line for every statement, by which tests judge rights and load */
#include "sql_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

struct sql_log {
    int fd;
};

struct sql_log *sql_log_open(const char *path)
{
    struct sql_log *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (l->fd < 0) {
        free(l);
        return NULL;
    }
    return l;
}

void sql_log_close(struct sql_log *l)
{
    if (!l)
        return;
    close(l->fd);
    free(l);
}

void sql_log_statement(struct sql_session *s, const char *text, size_t len, const struct sql_result *r,
                       const struct sql_err *err, int64_t started_us)
{
    char account[320];
    snprintf(account, sizeof account, "%s@%s", s->acc.user, s->acc.tenant);
    json_t *tables = json_array();
    for (size_t i = 0; i < s->table_count; i++)
        json_array_append_new(tables, json_string(s->tables[i]));
    json_t *line =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:i, s:o, s:b, s:I, s:I}", "ts", (json_int_t)sql_now_us(), "account",
                  account, "tenant", s->acc.tenant, "client", s->client, "host", host_self(s->srv->host)->ip, "conn",
                  (json_int_t)s->conn_id, "error", err->number, "tables", tables, "nofilter", s->nofilter ? 1 : 0,
                  "rows", (json_int_t)(r ? sql_result_rows(r) : 0), "us", (json_int_t)(sql_mono_us() - started_us));
    if (!line)
        return;
    json_object_set_new(line, "statement", json_stringn_nocheck(text, len));
    if (err->number)
        json_object_set_new(line, "message", json_string_nocheck(err->text));
    char *dump = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    if (!dump)
        return;
    size_t n = strlen(dump);
    dump[n] = '\n'; /* the NUL's place: one write keeps lines of several threads whole */
    if (write(s->srv->log->fd, dump, n + 1) < 0)
        obs_log(s->srv->host, "sql.log cannot be written");
    free(dump);
}
