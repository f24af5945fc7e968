/* sql_lex.h - splits a MySQL-mode statement into tokens */
#ifndef SI_SQL_LEX_H
#define SI_SQL_LEX_H

#include <stdbool.h>
#include <stddef.h>

#define SQL_MAX_TOKENS 20000 /* a longer statement is refused as a syntax error */

enum sql_tok_kind {
    TK_END,
    TK_WORD,    /* identifier or keyword, without quotes */
    TK_QUOTED,  /* `identifier` */
    TK_STRING,  /* '...' or "..." */
    TK_NUMBER,  /* as written */
    TK_SYSVAR,  /* @@[scope.]name, text = all of it */
    TK_USERVAR, /* @name */
    TK_PARAM,   /* ? */
    TK_OP,      /* one operator of one to three characters */
};

/** One token. `text` is NUL-terminated: the identifier's name, the string with its escapes resolved, else as written.
 */
struct sql_tok {
    enum sql_tok_kind kind;
    const char *text;
    size_t len; /* of text; a string may hold NULs */
    size_t at;  /* where it starts in the statement */
};

struct sql_toks {
    struct sql_tok *v; /* v[n] is TK_END */
    size_t n;
    size_t params; /* number of ? */
    char *pool;    /* owns every text */
};

/** Comments vanish (optimizer hints too). @return false: unterminated quote or comment, odd character, too long. */
bool sql_lex(const char *text, size_t len, struct sql_toks *out);
void sql_toks_free(struct sql_toks *t);

/** Is token @p i the (unquoted) keyword @p word, in any case? */
bool sql_tok_is(const struct sql_toks *t, size_t i, const char *word);
/** Is token @p i the operator @p op? */
bool sql_tok_op(const struct sql_toks *t, size_t i, const char *op);

#endif
