/* sql_session.c - one statement from its text to its answer: which kinds exist, who may run them, the log line */
#include "sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool sql_syntax(struct sql_err *err, const struct sql_stmt *st, size_t i)
{
    size_t at = i < st->toks->n ? st->toks->v[i].at : st->len;
    size_t len = st->len - at;
    return sql_fail(err, SQL_E_SYNTAX,
                    "You have an error in your SQL syntax; check the manual that corresponds to your OceanBase version "
                    "for the right syntax to use near '%.*s' at line 1",
                    (int)(len > 80 ? 80 : len), st->text + at);
}

bool sql_need_alter_system(const struct sql_session *s, struct sql_err *err)
{
    if (s->tenant_id == OBS_SYS_TENANT && (s->acc.rights & SQL_RIGHT_ALTER_SYSTEM))
        return true;
    return sql_fail(err, SQL_E_PRIVILEGE,
                    "Access denied; you need (at least one of) the ALTER SYSTEM privilege(s) for this operation");
}

static bool use_db(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    if (t->n != 2 || (t->v[1].kind != TK_WORD && t->v[1].kind != TK_QUOTED))
        return sql_syntax(err, st, 1);
    if (strcasecmp(t->v[1].text, "oceanbase") != 0)
        return sql_fail(err, SQL_E_BAD_DB, "Unknown database '%s'", t->v[1].text);
    if (!st->describe)
        snprintf(s->db, sizeof s->db, "oceanbase");
    return true;
}

/* What exists in MySQL but is not for these accounts. */
static bool refuse(const struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    static const struct {
        const char *word;
        int number;
    } KNOWN[] = {{"insert", SQL_E_SELECT_DENIED},  {"update", SQL_E_SELECT_DENIED},   {"delete", SQL_E_SELECT_DENIED},
                 {"replace", SQL_E_SELECT_DENIED}, {"create", SQL_E_SELECT_DENIED},   {"drop", SQL_E_SELECT_DENIED},
                 {"alter", SQL_E_SELECT_DENIED},   {"truncate", SQL_E_SELECT_DENIED}, {"grant", SQL_E_PRIVILEGE},
                 {"revoke", SQL_E_PRIVILEGE},      {"rename", SQL_E_SELECT_DENIED},   {"begin", OB_NOT_SUPPORTED},
                 {"start", OB_NOT_SUPPORTED},      {"commit", OB_NOT_SUPPORTED},      {"rollback", OB_NOT_SUPPORTED},
                 {"kill", SQL_E_PRIVILEGE},        {"explain", OB_NOT_SUPPORTED},     {"desc", OB_NOT_SUPPORTED},
                 {"describe", OB_NOT_SUPPORTED},   {"lock", OB_NOT_SUPPORTED},        {"call", OB_NOT_SUPPORTED},
                 {"flush", SQL_E_PRIVILEGE},       {"load", OB_NOT_SUPPORTED},        {"merge", OB_NOT_SUPPORTED}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (sql_tok_is(st->toks, 0, KNOWN[i].word))
            return KNOWN[i].number == OB_NOT_SUPPORTED
                       ? sql_fail(err, OB_NOT_SUPPORTED, "%s is not supported here", KNOWN[i].word)
                       : sql_fail(err, KNOWN[i].number, "%s command denied to user '%s'@'%%'", KNOWN[i].word,
                                  s->acc.user);
    return sql_syntax(err, st, 0);
}

static bool dispatch(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    if (t->n == 0)
        return sql_fail(err, 1065, "Query was empty");
    if (sql_tok_is(t, 0, "select") || sql_tok_is(t, 0, "with") || sql_tok_op(t, 0, "("))
        return sql_select(s, st, out, err);
    if (t->params)
        return sql_syntax(err, st, 0);
    if (sql_tok_is(t, 0, "set"))
        return sql_set(s, st, out, err);
    if (sql_tok_is(t, 0, "show"))
        return sql_show(s, st, out, err);
    if (sql_tok_is(t, 0, "use"))
        return use_db(s, st, err);
    if (sql_tok_is(t, 0, "alter") && sql_tok_is(t, 1, "system"))
        return sql_alter_system(s, st, out, err);
    if ((sql_tok_is(t, 0, "create") || sql_tok_is(t, 0, "drop")) && sql_tok_is(t, 1, "restore"))
        return sql_restore_point(s, st, out, err);
    if (sql_tok_is(t, 0, "drop") && sql_tok_is(t, 1, "tenant"))
        return sql_drop_tenant(s, st, err);
    return refuse(s, st, err);
}

/* ob_query_timeout bounds every statement. */
static void start_clock(struct sql_session *s)
{
    long long timeout = strtoll(sql_var_get(s, "ob_query_timeout"), NULL, 10);
    s->deadline_us = timeout > 0 ? sql_mono_us() + timeout : 0;
}

bool sql_run(struct sql_session *s, const char *text, size_t len, const struct sql_param *params, size_t nparam,
             bool describe, size_t *params_wanted, struct sql_result *out, struct sql_err *err)
{
    int64_t started = sql_mono_us();
    *err = (struct sql_err){0};
    *out = (struct sql_result){0};
    s->table_count = 0;
    s->nofilter = false;
    start_clock(s);
    struct sql_toks toks;
    struct sql_stmt st = {
        .text = text, .len = len, .toks = &toks, .params = params, .nparam = nparam, .describe = describe};
    bool ok = sql_lex(text, len, &toks);
    if (!ok) {
        toks = (struct sql_toks){0};
        sql_syntax(err, &st, 0);
    } else {
        while (toks.n && sql_tok_op(&toks, toks.n - 1, ";")) {
            toks.v[--toks.n] = (struct sql_tok){.kind = TK_END, .text = "", .at = len};
        }
        for (size_t i = 0; ok && i < toks.n; i++)
            if (sql_tok_op(&toks, i, ";"))
                ok = sql_syntax(err, &st, i);
        if (ok && !describe && toks.params != nparam)
            ok = sql_fail(err, SQL_E_SYNTAX, "%zu parameters are missing", toks.params);
        ok = ok && dispatch(s, &st, out, err);
        if (params_wanted)
            *params_wanted = toks.params;
    }
    s->deadline_us = 0;
    sql_virtual_forget(s);
    if (!ok)
        sql_result_free(out);
    if (!describe || !ok)
        sql_log_statement(s, text, len, ok ? out : NULL, err, started);
    sql_toks_free(&toks);
    return ok;
}
