/* sql_lex.c - see sql_lex.h */
#include "sql_lex.h"

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lex {
    const char *s;
    size_t at, len;
    struct sql_toks *out;
    size_t cap;
    char *put; /* next free byte of the pool */
};

static bool word_start(char c) { return isalpha((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80; }

static bool word_char(char c) { return word_start(c) || isdigit((unsigned char)c); }

static char peek(const struct lex *x, size_t ahead) { return x->at + ahead < x->len ? x->s[x->at + ahead] : '\0'; }

static bool push(struct lex *x, enum sql_tok_kind kind, size_t at, char *text)
{
    if (x->out->n + 2 > x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 64;
        struct sql_tok *v = realloc(x->out->v, cap * sizeof *v);
        if (!v)
            return false;
        x->out->v = v;
        x->cap = cap;
    }
    *x->put++ = '\0';
    x->out->v[x->out->n] = (struct sql_tok){.kind = kind, .text = text, .len = (size_t)(x->put - 1 - text), .at = at};
    if (kind != TK_END && ++x->out->n > SQL_MAX_TOKENS)
        return false;
    return true;
}

/* A token that stands in the pool as it was written. */
static bool push_raw(struct lex *x, enum sql_tok_kind kind, size_t at)
{
    char *text = x->put;
    memcpy(text, x->s + at, x->at - at);
    x->put += x->at - at;
    return push(x, kind, at, text);
}

/* Spaces and comments. @return false: a comment has no end. */
static bool skip_blank(struct lex *x)
{
    while (x->at < x->len) {
        char c = x->s[x->at];
        if (isspace((unsigned char)c)) {
            x->at++;
        } else if (c == '#' || (c == '-' && peek(x, 1) == '-' && (!peek(x, 2) || isspace((unsigned char)peek(x, 2))))) {
            while (x->at < x->len && x->s[x->at] != '\n')
                x->at++;
        } else if (c == '/' && peek(x, 1) == '*') {
            const char *end = memmem(x->s + x->at + 2, x->len - x->at - 2, "*/", 2);
            if (!end)
                return false;
            x->at = (size_t)(end - x->s) + 2;
        } else {
            return true;
        }
    }
    return true;
}

static char unescape(char c)
{
    switch (c) {
    case '0':
        return '\0';
    case 'b':
        return '\b';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'Z':
        return '\x1a';
    default:
        return c;
    }
}

static bool lex_quoted(struct lex *x, char quote)
{
    size_t start = x->at++;
    char *text = x->put;
    for (; x->at < x->len; x->at++) {
        char c = x->s[x->at];
        if (c == quote && peek(x, 1) == quote) {
            *x->put++ = quote;
            x->at++;
        } else if (c == quote) {
            x->at++;
            return push(x, quote == '`' ? TK_QUOTED : TK_STRING, start, text);
        } else if (c == '\\' && quote != '`' && x->at + 1 < x->len) {
            c = x->s[++x->at];
            if (c == '%' || c == '_') /* these keep their backslash: it belongs to LIKE */
                *x->put++ = '\\';
            *x->put++ = unescape(c);
        } else {
            *x->put++ = c;
        }
    }
    return false;
}

static bool lex_number(struct lex *x)
{
    size_t start = x->at;
    if (peek(x, 0) == '0' && (peek(x, 1) == 'x' || peek(x, 1) == 'X')) {
        x->at += 2;
        while (isxdigit((unsigned char)peek(x, 0)))
            x->at++;
        return push_raw(x, TK_NUMBER, start);
    }
    while (isdigit((unsigned char)peek(x, 0)))
        x->at++;
    if (word_start(peek(x, 0)) && peek(x, 0) != 'e' && peek(x, 0) != 'E') { /* 1st, 2nd: an identifier */
        while (word_char(peek(x, 0)))
            x->at++;
        return push_raw(x, TK_WORD, start);
    }
    if (peek(x, 0) == '.') {
        x->at++;
        while (isdigit((unsigned char)peek(x, 0)))
            x->at++;
    }
    if ((peek(x, 0) == 'e' || peek(x, 0) == 'E')) {
        x->at++;
        if (peek(x, 0) == '+' || peek(x, 0) == '-')
            x->at++;
        while (isdigit((unsigned char)peek(x, 0)))
            x->at++;
    }
    return push_raw(x, TK_NUMBER, start);
}

static bool lex_at(struct lex *x)
{
    size_t start = x->at++;
    enum sql_tok_kind kind = TK_USERVAR;
    if (peek(x, 0) == '@') {
        kind = TK_SYSVAR;
        x->at++;
    }
    if (!word_start(peek(x, 0)))
        return false;
    while (word_char(peek(x, 0)) || (peek(x, 0) == '.' && word_start(peek(x, 1))))
        x->at++;
    return push_raw(x, kind, start);
}

static bool lex_op(struct lex *x)
{
    static const char *const OPS[] = {"<=>", "<=", ">=", "<>", "!=", ":=", "||", "&&", "<<", ">>", "(", ")", ",", ".",
                                      ";",   "=",  "<",  ">",  "+",  "-",  "*",  "/",  "%",  "&",  "|", "^", "~", "!"};
    for (size_t i = 0; i < sizeof OPS / sizeof *OPS; i++) {
        size_t n = strlen(OPS[i]);
        if (x->len - x->at >= n && memcmp(x->s + x->at, OPS[i], n) == 0) {
            x->at += n;
            return push_raw(x, TK_OP, x->at - n);
        }
    }
    return false;
}

static bool lex_one(struct lex *x)
{
    char c = x->s[x->at];
    if (c == '\'' || c == '"' || c == '`')
        return lex_quoted(x, c);
    if (c == '@')
        return lex_at(x);
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)peek(x, 1))))
        return lex_number(x);
    if (word_start(c)) {
        size_t start = x->at;
        while (word_char(peek(x, 0)))
            x->at++;
        return push_raw(x, TK_WORD, start);
    }
    if (c == '?') {
        x->out->params++;
        x->at++;
        return push_raw(x, TK_PARAM, x->at - 1);
    }
    return lex_op(x);
}

bool sql_lex(const char *text, size_t len, struct sql_toks *out)
{
    *out = (struct sql_toks){0};
    struct lex x = {.s = text, .len = len, .out = out};
    out->pool = malloc(2 * len + 2); /* a token's text is never longer than what it was made from, and then its NUL */
    x.put = out->pool;
    bool ok = out->pool != NULL;
    while (ok && (ok = skip_blank(&x)) && x.at < x.len)
        ok = lex_one(&x);
    ok = ok && push(&x, TK_END, len, x.put);
    if (!ok)
        sql_toks_free(out);
    return ok;
}

void sql_toks_free(struct sql_toks *t)
{
    free(t->v);
    free(t->pool);
    *t = (struct sql_toks){0};
}

bool sql_tok_is(const struct sql_toks *t, size_t i, const char *word)
{
    return i < t->n && t->v[i].kind == TK_WORD && strcasecmp(t->v[i].text, word) == 0;
}

bool sql_tok_op(const struct sql_toks *t, size_t i, const char *op)
{
    return i < t->n && t->v[i].kind == TK_OP && strcmp(t->v[i].text, op) == 0;
}
