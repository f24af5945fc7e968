/* sql_priv.h - inside of the SQL front: sessions, results, statements */
#ifndef SI_SQL_PRIV_H
#define SI_SQL_PRIV_H

#include "mysql_wire.h"
#include "sql.h"
#include "sql_lex.h"
#include "store.h"

#include <sqlite3.h>

struct sql_server;

/* ---- accounts ---- */

enum { SQL_RIGHT_SELECT = 1, SQL_RIGHT_ALTER_SYSTEM = 2, SQL_RIGHT_SUPER = 4 };

struct sql_account {
    char user[64], tenant[128], password[128];
    unsigned rights;
};

/** Takes "user@tenant#cluster" apart. @return false: 4666 */
bool sql_login_name(const struct sql_server *srv, const char *login, struct sql_account *out, struct sql_err *err);
/**
 * Fills @p acc's rights and checks the answer to @p scramble (20 bytes) by mysql_native_password.
 * @return false: 1045; which of user and password was wrong is not told
 */
bool sql_login_check(const struct sql_server *srv, const uint8_t *scramble, const uint8_t *answer, size_t answer_len,
                     struct sql_account *acc, struct sql_err *err);

/* ---- schema ---- */

struct sql_table {
    char name[64];
    char kind[3]; /* S, RS, T, L */
    char **col_names, **col_types;
    int col_count;
    int ip_col, port_col, id_col, part_col; /* svr_ip, svr_port, table_id, partition_idx; -1 = none */
};

struct sql_schema {
    struct sql_table *v;
    size_t n;
};

/** Reads the embedded schema.sql. */
bool sql_schema_load(struct sql_schema *s, struct sql_err *err);
void sql_schema_free(struct sql_schema *s);
const struct sql_table *sql_schema_find(const struct sql_schema *s, const char *name); /* any case; NULL = none */

/* ---- results ---- */

enum {
    MYT_TINY = 1,
    MYT_DOUBLE = 5,
    MYT_NULL = 6,
    MYT_TIMESTAMP = 7,
    MYT_LONGLONG = 8,
    MYT_BLOB = 252,
    MYT_STRING = 253
};

struct sql_col {
    char name[256];
    char table[64];
    uint8_t type;
    bool is_unsigned, fixed; /* fixed: type is known from the schema, not from the values */
    uint32_t length;
};

struct sql_value {
    enum { SV_NULL, SV_INT, SV_DOUBLE, SV_TEXT } kind;
    union {
        int64_t i;
        double d;
        size_t off; /* in text */
    };
    size_t len;
};

#define SQL_MAX_RESULT (256u << 20) /* bytes of one answer, as kept in memory */

struct sql_result {
    struct sql_col *cols;
    size_t ncol;
    struct sql_value *values;
    size_t nval, capval;
    struct my_buf text;
    uint64_t affected;
};

void sql_result_free(struct sql_result *r);
bool sql_result_cols(struct sql_result *r, size_t n);
bool sql_result_add(struct sql_result *r, struct sql_value v, const void *text); /* false: too large or no memory */
size_t sql_result_rows(const struct sql_result *r);

/* ---- sessions ---- */

struct sql_rows;

#define SQL_MAX_VARS 48

struct sql_session {
    struct sql_server *srv;
    struct sql_account acc;
    int64_t tenant_id;
    uint64_t conn_id;
    char client[64];
    char db[64];
    char greeting[256]; /* @@version_comment when this server was told to be of another version */
    sqlite3 *db_handle;
    char *vars[SQL_MAX_VARS]; /* session values that differ from the default */
    char *restore_sources;    /* ADD RESTORE SOURCE: a variable of the session; NULL none, else separated by newlines */
    int tz_offset_s;
    int64_t deadline_us; /* of the running statement, CLOCK_MONOTONIC; 0 = none */
    int internal;        /* >0: our own statement, the authorizer lets it pass */
    char tables[8][64];  /* what the running statement read */
    size_t table_count;
    bool nofilter;
    struct sql_rows *rows; /* sql_virtual.c: what L tables gave to the running statement */
    struct sql_err deny;   /* why the authorizer or an L table refused */
};

struct sql_server {
    struct host *host;
    const char *version_comment;
    char accounts_path[512];
    struct sql_schema schema;
    struct sql_net *net; /* mysql_server.c */
    struct sql_log *log; /* sql_log.c */
};

bool sql_session_open(struct sql_session *s, struct sql_server *srv, const struct sql_account *acc, uint64_t conn_id,
                      const char *client, struct sql_err *err);
void sql_session_close(struct sql_session *s);
void sql_session_reset(struct sql_session *s); /* COM_RESET_CONNECTION */

struct sql_param {
    enum { SP_NULL, SP_INT, SP_DOUBLE, SP_TEXT } kind;
    int64_t i;
    double d;
    const char *text;
    size_t len;
};

/**
 * Runs one statement and logs it. With describe = true nothing is done: only the columns are told, and errors that a
 * prepare would find.
 */
bool sql_run(struct sql_session *s, const char *text, size_t len, const struct sql_param *params, size_t nparam,
             bool describe, size_t *params_wanted, struct sql_result *out, struct sql_err *err);

/* ---- statements, one file each; the tokens are the whole statement ---- */

struct sql_stmt {
    const char *text;
    size_t len;
    const struct sql_toks *toks;
    const struct sql_param *params;
    size_t nparam;
    bool describe;
};

bool sql_select(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err);
bool sql_set(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err);
bool sql_show(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err);
bool sql_alter_system(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err);
bool sql_restore_point(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err);
bool sql_drop_tenant(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err);

/** Syntax error at token @p i, in MySQL's words. Always false. */
bool sql_syntax(struct sql_err *err, const struct sql_stmt *st, size_t i);
/** Needs the sys tenant and ALTER SYSTEM, else 1227. */
bool sql_need_alter_system(const struct sql_session *s, struct sql_err *err);

/* sql_rewrite.c: MySQL text to SQLite text; the caller frees *out */
bool sql_rewrite(const struct sql_session *s, const struct sql_stmt *st, struct my_buf *out, struct sql_err *err);
/* sql_func.c: MySQL's and OceanBase's functions; `ctx` is the session */
bool sql_funcs_register(struct sql_session *s);
bool sql_func_allowed(const char *name);
/* sql_vars.c */
const char *sql_var_get(const struct sql_session *s, const char *name); /* NULL = no such variable */
bool sql_var_set(struct sql_session *s, const char *name, const char *value, struct sql_err *err);
/** Parses '+08:00', 'UTC', 'SYSTEM'. */
bool sql_time_zone(const char *text, int *offset_s);
/** 'YYYY-MM-DD[ HH:MM:SS[.ffffff]]' in a zone @p offset_s east of UTC -> microseconds since the epoch. */
bool sql_parse_time(const char *text, int offset_s, int64_t *us);
/** The other way, always with six digits; @p out holds 27 bytes. */
void sql_format_time(int64_t us, int offset_s, char *out);
int64_t sql_now_us(void);
int64_t sql_mono_us(void);
/* sql_virtual.c: module "si_local" for L tables */
bool sql_virtual_register(struct sql_session *s);
void sql_virtual_forget(struct sql_session *s); /* at the end of a statement */
/* sql_log.c */
struct sql_log *sql_log_open(const char *path);
void sql_log_close(struct sql_log *l);
void sql_log_statement(struct sql_session *s, const char *text, size_t len, const struct sql_result *r,
                       const struct sql_err *err, int64_t started_us);
/* sql_restore.c */
bool sql_restore_stmt(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err);
/* mysql_server.c */
struct sql_net *sql_net_start(struct sql_server *srv, int *error); /* error: an errno value */
void sql_net_stop(struct sql_net *n);

#endif
