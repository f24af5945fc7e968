/* mysql_stmt.h - prepared statements of one connection */
#ifndef SI_MYSQL_STMT_H
#define SI_MYSQL_STMT_H

#include "sql_priv.h"

#define MY_MAX_STMTS 256   /* a connection */
#define MY_MAX_PARAMS 4096 /* a statement */

struct my_stmts;

struct my_stmts *my_stmts_new(void);
void my_stmts_free(struct my_stmts *m);
/** COM_STMT_PREPARE with everything it answers. */
void my_stmt_prepare(struct my_stmts *m, struct sql_session *s, struct my_chan *ch, struct my_cur *body);
void my_stmt_execute(struct my_stmts *m, struct sql_session *s, struct my_chan *ch, struct my_cur *body);
void my_stmt_close(struct my_stmts *m, struct my_cur *body); /* has no answer */
void my_stmt_reset(struct my_stmts *m, struct my_chan *ch, struct my_cur *body);

#endif
