/* spoil.c - verbs that damage one host's log: the next entry or cursor of a PG, or a clog file */
#include "txn.h"
#include "verbs.h"

#include <string.h>

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static json_t *fail(int rc, const char *what) { return json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", what); }

static const struct {
    const char *what;
    int how;
} WHATS[] = {{"block", SPOIL_BLOCK},         {"bytes", SPOIL_BYTES},        {"entry", SPOIL_ENTRY},
             {"entry_own", SPOIL_ENTRY_OWN}, {"cursor_accum", SPOIL_ACCUM}, {"cursor_offset", SPOIL_OFFSET},
             {"cursor_size", SPOIL_SIZE},    {"cursor_ts", SPOIL_TS},       {"no_cursor", SPOIL_CURSOR}};

/* The PG's next log on that host; without wait false a checkpoint log is written, so that there is one. */
json_t *spoil_verb(struct host *h, const json_t *req)
{
    struct pkey k;
    const char *name = json_string_value(json_object_get(req, "pg")),
               *what = json_string_value(json_object_get(req, "what"));
    int host = (int)jint(req, "host", h->id), how = 0;
    for (size_t i = 0; what && i < sizeof WHATS / sizeof *WHATS; i++)
        if (!strcmp(WHATS[i].what, what))
            how = WHATS[i].how;
    int64_t pg = name && parse_pg_name(name, &k) ? pg_find(h, &k) : -1;
    if (pg < 0 || !how || !host_alive(h, host))
        return fail(-4002, "spoil: host, pg, what");
    struct shm_rep *r = &pg_at(h, (uint32_t)pg)->rep[host - 1];
    r->spoilt_id = 0;
    r->spoil = how;
    if (json_is_false(json_object_get(req, "wait")))
        return json_pack("{s:b}", "ok", 1);
    log_checkpoint(h, (uint32_t)pg);
    for (int i = 0; i < 1000 && !r->spoilt_id; i++)
        sleep_us(10000);
    uint64_t id = r->spoilt_id;
    return id ? json_pack("{s:b,s:I}", "ok", 1, "log_id", (json_int_t)id) : fail(-4012, "spoil: no log came");
}

json_t *clog_file_verb(struct host *h, const json_t *req)
{
    const char *op = json_string_value(json_object_get(req, "op"));
    int host = (int)jint(req, "host", h->id);
    struct shm_cmd c = {.pg = -1, .a = jint(req, "file", 0)};
    if (op && !strcmp(op, "remove"))
        c.kind = CMD_REMOVE_CLOG;
    else if (op && !strcmp(op, "torn_tail"))
        c.kind = CMD_TORN_TAIL;
    if (!c.kind || host < 1 || host > h->n_members)
        return fail(-4002, "clog_file: op, host");
    int rc = host_command(h, host, &c, 60000000);
    return rc < 0 ? fail(rc, "clog_file") : json_pack("{s:b,s:I}", "ok", 1, "file", (json_int_t)c.a);
}
