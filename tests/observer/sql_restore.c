/* sql_restore.c - ALTER SYSTEM RESTORE: its grammar; sql_job.c has the rest
 *
 *   ALTER SYSTEM RESTORE [<table>, ... FOR] <dest> FROM <src> [AT 'uri'] UNTIL 'datetime' WITH 'key=value&...'
 * [PREVIEW]
 */
#include "sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_OPTION 2048 /* characters after WITH */

static bool is_name(const struct sql_tok *t) { return t->kind == TK_WORD || t->kind == TK_QUOTED; }

struct parsed {
    struct obs_restore r;
    const char *until;
    bool tables; /* the list form */
};

static bool parse(const struct sql_stmt *st, struct parsed *p, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    size_t i = 3;
    for (size_t k = i; k < t->n && !sql_tok_is(t, k, "from"); k++)
        if (sql_tok_is(t, k, "for")) {
            p->tables = true;
            i = k + 1;
        }
    if (!is_name(&t->v[i]))
        return sql_syntax(err, st, i);
    p->r.dst_tenant = t->v[i++].text;
    if (!sql_tok_is(t, i, "from") || !is_name(&t->v[i + 1]))
        return sql_syntax(err, st, i);
    p->r.src_tenant = t->v[i + 1].text;
    i += 2;
    if (sql_tok_is(t, i, "at")) {
        if (t->v[i + 1].kind != TK_STRING)
            return sql_syntax(err, st, i + 1);
        p->r.at = t->v[i + 1].text;
        i += 2;
    }
    if (!sql_tok_is(t, i, "until") || t->v[i + 1].kind != TK_STRING)
        return sql_syntax(err, st, i);
    p->until = t->v[i + 1].text;
    i += 2;
    if (!sql_tok_is(t, i, "with") || t->v[i + 1].kind != TK_STRING)
        return sql_syntax(err, st, i);
    p->r.options = t->v[i + 1].text;
    i += 2;
    if (sql_tok_is(t, i, "preview")) {
        p->r.preview = true;
        i++;
    }
    if (i != t->n || (p->tables && (!p->r.at || p->r.preview)))
        return sql_syntax(err, st, i);
    return true;
}

bool sql_restore_stmt(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    struct parsed p = {.r = {.passwords = ""}};
    if (!parse(st, &p, err))
        return false;
    if (p.tables)
        return sql_fail(err, OB_NOT_SUPPORTED, "restore of a table list is not supported here");
    if (!sql_parse_time(p.until, s->tz_offset_s, &p.r.until_us))
        return sql_fail(err, 1292, "Incorrect datetime value: '%s'", p.until);
    if (p.r.at && strncmp(p.r.at, "file:///", 8) != 0 && strncmp(p.r.at, "oss://", 6) != 0)
        return sql_fail(err, OB_INVALID_ARGUMENT, "restore path '%s' is invalid", p.r.at);
    if (strlen(p.r.options) > MAX_OPTION)
        return sql_fail(err, OB_INVALID_ARGUMENT, "restore option is longer than %d", MAX_OPTION);
    if (st->describe)
        return true;
    p.r.sources = s->restore_sources;
    int64_t job_id;
    struct obs_err e = {0};
    int rc = obs_sql_restore(s->srv->host, &p.r, &job_id, &e);
    return rc == 0 ? true : sql_fail(err, rc < 0 ? -rc : rc, "%s", e.msg[0] ? e.msg : "restore cannot start");
}
