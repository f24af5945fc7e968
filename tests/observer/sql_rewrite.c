/* sql_rewrite.c - turns a MySQL-mode SELECT into the SQL that SQLite runs
 *
 * Token by token: what SQLite writes differently is replaced, what MySQL does not have is refused. Names are left to
 * SQLite, the list of tables that exist to its authorizer (sql_select.c).
 */
#include "sql_priv.h"

#include <string.h>
#include <strings.h>

struct rw {
    const struct sql_session *s;
    const struct sql_stmt *st;
    struct my_buf *out;
    struct sql_err *err;
};

static void put_quoted(struct my_buf *out, const char *text, size_t len, char quote)
{
    my_put(out, &quote, 1);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == quote)
            my_put(out, &quote, 1);
        my_put(out, &text[i], 1);
    }
    my_put(out, &quote, 1);
}

static bool rewrite_sysvar(struct rw *r, const struct sql_tok *t)
{
    const char *name = t->text + 2;
    static const char *const SCOPES[] = {"global.", "session.", "local."};
    for (size_t i = 0; i < 3; i++)
        if (strncasecmp(name, SCOPES[i], strlen(SCOPES[i])) == 0) {
            name += strlen(SCOPES[i]);
            break;
        }
    if (!sql_var_get(r->s, name))
        return sql_fail(r->err, SQL_E_VARIABLE, "Unknown system variable '%s'", name);
    my_put_str(r->out, "si_sysvar(");
    put_quoted(r->out, t->text, t->len, '\'');
    my_put_str(r->out, ")");
    return true;
}

static bool rewrite_op(struct rw *r, size_t i)
{
    static const struct {
        const char *mysql, *sqlite; /* NULL: no such operator in SQLite, and nobody needs it here */
    } OPS[] = {{"||", " OR "},   {"&&", " AND "}, {"<=>", " IS "}, {"!", " NOT "},
               {"/", " *1.0/ "}, {":=", NULL},    {"^", NULL}};
    const char *op = r->st->toks->v[i].text;
    for (size_t k = 0; k < sizeof OPS / sizeof *OPS; k++)
        if (strcmp(OPS[k].mysql, op) == 0) {
            if (!OPS[k].sqlite)
                return sql_syntax(r->err, r->st, i);
            my_put_str(r->out, OPS[k].sqlite);
            return true;
        }
    my_put_str(r->out, op);
    return true;
}

/* A table that is named without a database needs a chosen one. */
static bool check_database(struct rw *r, size_t i)
{
    const struct sql_toks *t = r->st->toks;
    if (!sql_schema_find(&r->s->srv->schema, t->v[i].text) || sql_tok_op(t, i + 1, ".") || sql_tok_op(t, i + 1, "("))
        return true;
    if (i == 0 || sql_tok_op(t, i - 1, "."))
        return true;
    bool is_source = sql_tok_is(t, i - 1, "from") || sql_tok_is(t, i - 1, "join") || sql_tok_op(t, i - 1, ",");
    if (!is_source)
        return true;
    if (!r->s->db[0])
        return sql_fail(r->err, SQL_E_NO_DB, "No database selected");
    if (strcasecmp(r->s->db, "oceanbase") != 0)
        return sql_fail(r->err, SQL_E_TABLE, "Table '%s.%s' doesn't exist", r->s->db, t->v[i].text);
    return true;
}

static bool rewrite_word(struct rw *r, size_t *at)
{
    static const struct {
        const char *mysql, *sqlite;
        bool call; /* only when a parenthesis follows */
    } WORDS[] = {{"if", "iif", true},
                 {"div", "/", false},
                 {"mod", "%", false},
                 {"rlike", "regexp", false},
                 {"current_timestamp", "now()", false},
                 {"current_user", "current_user()", false},
                 {"separator", ",", false},
                 {"sql_no_cache", "", false},
                 {"sql_calc_found_rows", "", false}};
    static const char *const REFUSED[] = {"glob",    "match",  "isnull", "notnull",      "intersect",
                                          "except",  "pragma", "attach", "materialized", "returning",
                                          "indexed", "rowid",  "oid",    "_rowid_"};
    const struct sql_toks *t = r->st->toks;
    size_t i = *at;
    const struct sql_tok *tok = &t->v[i];
    bool qualified = i > 0 && sql_tok_op(t, i - 1, ".");
    if (strcasecmp(tok->text, "oceanbase") == 0 && sql_tok_op(t, i + 1, ".") && !qualified) {
        *at = i + 1; /* the tables lie where SQLite looks first */
        return true;
    }
    if (sql_tok_is(t, i, "from") && sql_tok_is(t, i + 1, "dual")) {
        *at = i + 1;
        return true;
    }
    if (!qualified) {
        bool call = sql_tok_op(t, i + 1, "(");
        for (size_t k = 0; k < sizeof REFUSED / sizeof *REFUSED; k++)
            if (strcasecmp(tok->text, REFUSED[k]) == 0)
                return sql_syntax(r->err, r->st, i);
        for (size_t k = 0; k < sizeof WORDS / sizeof *WORDS; k++)
            if (strcasecmp(tok->text, WORDS[k].mysql) == 0 && (call || !WORDS[k].call)) {
                if (call && (strcasecmp(tok->text, "mod") == 0 || strncasecmp(tok->text, "current_", 8) == 0))
                    break; /* a function of that name */
                my_put_str(r->out, WORDS[k].sqlite);
                return true;
            }
        if (!check_database(r, i))
            return false;
    }
    my_put(r->out, tok->text, tok->len);
    return true;
}

bool sql_rewrite(const struct sql_session *s, const struct sql_stmt *st, struct my_buf *out, struct sql_err *err)
{
    struct rw r = {.s = s, .st = st, .out = out, .err = err};
    const struct sql_toks *t = st->toks;
    bool ok = true;
    for (size_t i = 0; ok && i < t->n; i++) {
        const struct sql_tok *tok = &t->v[i];
        size_t at = i;
        switch (tok->kind) {
        case TK_STRING:
            put_quoted(out, tok->text, tok->len, '\'');
            break;
        case TK_QUOTED:
            if (strcasecmp(tok->text, "oceanbase") == 0 && sql_tok_op(t, i + 1, "."))
                at = i + 1;
            else if (check_database(&r, i))
                put_quoted(out, tok->text, tok->len, '"');
            else
                ok = false;
            break;
        case TK_SYSVAR:
            ok = rewrite_sysvar(&r, tok);
            break;
        case TK_OP:
            ok = rewrite_op(&r, i);
            break;
        case TK_WORD:
            ok = rewrite_word(&r, &at);
            break;
        case TK_USERVAR:
        case TK_END:
            ok = sql_syntax(err, st, i);
            break;
        case TK_NUMBER:
        case TK_PARAM:
            my_put(out, tok->text, tok->len);
            break;
        }
        i = at;
        /* keep "count(*)" and "a.b" as they were written: SQLite names result columns by this text */
        bool tight = sql_tok_op(t, i, "(") || sql_tok_op(t, i, ".") || sql_tok_op(t, i + 1, "(") ||
                     sql_tok_op(t, i + 1, ")") || sql_tok_op(t, i + 1, ".") || sql_tok_op(t, i + 1, ",");
        bool apart = i + 1 < t->n && t->v[i + 1].at > tok->at + tok->len;
        if (!tight || apart)
            my_put_str(out, " ");
    }
    my_put_zero(out, 1);
    if (ok && out->failed)
        return sql_fail(err, OB_ERR_UNEXPECTED, "no memory");
    return ok;
}
