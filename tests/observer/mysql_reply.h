/* mysql_reply.h - answers of the MySQL protocol: OK, ERR, columns, rows in the text and the binary form */
#ifndef SI_MYSQL_REPLY_H
#define SI_MYSQL_REPLY_H

#include "sql_priv.h"

void my_reply_ok(struct my_chan *ch, uint64_t affected);
void my_reply_eof(struct my_chan *ch);
void my_reply_error(struct my_chan *ch, const struct sql_err *err);
/** Column definitions, each a packet, and an EOF behind them. */
void my_reply_columns(struct my_chan *ch, const struct sql_result *r);
/** A whole answer: OK without columns, else count, columns, rows, EOF. */
void my_reply_result(struct my_chan *ch, const struct sql_result *r, bool binary);
/** The answer to COM_STMT_PREPARE. */
void my_reply_prepared(struct my_chan *ch, uint32_t id, size_t params, const struct sql_result *r);

#endif
