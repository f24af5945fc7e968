/* sql_stmt.c - statements that are not SELECT: SET, SHOW PARAMETERS, ALTER SYSTEM, restore points */
#include "sql_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool from_store(int rc, const struct obs_err *e, struct sql_err *err)
{
    return rc == 0 ? true : sql_fail(err, rc < 0 ? -rc : rc, "%s", e->msg[0] ? e->msg : "failed");
}

/* ---- SET ---- */

/* One value: a word, a string, a number, perhaps with a sign. @return tokens used, 0 = none */
static size_t set_value(const struct sql_toks *t, size_t i, char *out, size_t cap)
{
    bool minus = sql_tok_op(t, i, "-");
    size_t at = minus ? i + 1 : i;
    enum sql_tok_kind k = t->v[at].kind;
    if (k != TK_WORD && k != TK_STRING && k != TK_NUMBER && k != TK_QUOTED)
        return 0;
    snprintf(out, cap, "%s%s", minus ? "-" : "", t->v[at].text);
    return at + 1 - i;
}

static bool set_names(struct sql_session *s, const struct sql_stmt *st, size_t i, struct sql_err *err)
{
    static const char *const KNOWN[] = {"utf8mb4", "utf8", "utf8mb3", "binary", "default", "gbk", "latin1"};
    const struct sql_toks *t = st->toks;
    char value[64];
    if (!set_value(t, i, value, sizeof value))
        return sql_syntax(err, st, i);
    bool known = false;
    for (size_t k = 0; k < sizeof KNOWN / sizeof *KNOWN; k++)
        known |= strcasecmp(value, KNOWN[k]) == 0;
    if (!known)
        return sql_fail(err, 1115, "Unknown character set: '%s'", value);
    bool collate = sql_tok_is(t, i + 1, "collate");
    if (t->n != i + (collate ? 3u : 1u))
        return sql_syntax(err, st, i + 1);
    return st->describe ||
           (sql_var_set(s, "character_set_client", value, err) && sql_var_set(s, "character_set_results", value, err) &&
            sql_var_set(s, "character_set_connection", value, err));
}

/* Of a tenant's own variables only the one that keeps versions (restorable-set A1). */
static bool set_global(struct sql_session *s, const struct sql_stmt *st, const char *name, const char *value,
                       struct sql_err *err)
{
    char *end;
    long long seconds = strtoll(value, &end, 10);
    struct obs_err e = {0};
    if (strcasecmp(name, "undo_retention") != 0)
        return sql_fail(err, OB_NOT_SUPPORTED, "global variable %s cannot be set here", name);
    if (*end || !*value || seconds < 0 || seconds > UINT32_MAX)
        return sql_fail(err, 1232, "Incorrect argument type to variable '%s'", name);
    return st->describe ||
           from_store(obs_sql_set_undo_retention(s->srv->host, (uint64_t)s->tenant_id, seconds, &e), &e, err);
}

static bool set_one(struct sql_session *s, const struct sql_stmt *st, size_t *at, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    size_t i = *at;
    bool global = sql_tok_is(t, i, "global");
    if (global || sql_tok_is(t, i, "session") || sql_tok_is(t, i, "local"))
        i++;
    const char *name = t->v[i].text;
    if (t->v[i].kind == TK_SYSVAR) {
        name += 2;
        const char *dot = strchr(name, '.');
        global |= dot && strncasecmp(name, "global", 6) == 0;
        name = dot ? dot + 1 : name;
    } else if (t->v[i].kind != TK_WORD && t->v[i].kind != TK_QUOTED) {
        return sql_syntax(err, st, i);
    }
    if (!sql_tok_op(t, i + 1, "=") && !sql_tok_op(t, i + 1, ":="))
        return sql_syntax(err, st, i + 1);
    char value[512];
    size_t used = set_value(t, i + 2, value, sizeof value);
    if (!used)
        return sql_syntax(err, st, i + 2);
    *at = i + 2 + used;
    if (global && s->tenant_id != OBS_SYS_TENANT && (s->acc.rights & SQL_RIGHT_SUPER))
        return set_global(s, st, name, value, err);
    if (global)
        return sql_fail(err, SQL_E_PRIVILEGE,
                        "Access denied; you need (at least one of) the SUPER or ALTER SYSTEM privilege(s)");
    return st->describe ? true : sql_var_set(s, name, value, err);
}

bool sql_set(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    (void)out;
    const struct sql_toks *t = st->toks;
    if (sql_tok_is(t, 1, "names"))
        return set_names(s, st, 2, err);
    if (sql_tok_is(t, 1, "character") && sql_tok_is(t, 2, "set"))
        return set_names(s, st, 3, err);
    for (size_t i = 1;; i++) {
        if (!set_one(s, st, &i, err))
            return false;
        if (i >= t->n)
            return true;
        if (!sql_tok_op(t, i, ","))
            return sql_syntax(err, st, i);
    }
}

/* ---- SHOW GRANTS, SHOW PARAMETERS [LIKE 'pattern'] ---- */

/* Of the session's own account. SELECT stands for the catalogue's database, as a DBA would grant it. */
static void show_grants(const struct sql_session *s, char *query, int cap)
{
    bool alter = (s->acc.rights & SQL_RIGHT_ALTER_SYSTEM) != 0, select = (s->acc.rights & SQL_RIGHT_SELECT) != 0;
    const char *wide = s->acc.rights & SQL_RIGHT_SUPER ? ", SUPER" : "";
    char db[160] = "";
    if (select)
        sqlite3_snprintf(sizeof db, db, " UNION ALL SELECT 'GRANT SELECT ON `oceanbase`.* TO ''%q''' FROM dual",
                         s->acc.user);
    sqlite3_snprintf(cap, query, "SELECT 'GRANT %s%s ON *.* TO ''%q''' AS `Grants` FROM dual%s",
                     alter ? "ALTER SYSTEM" : "USAGE", wide, s->acc.user, db);
}

bool sql_show(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    char query[700];
    if (sql_tok_is(t, 1, "warnings") && t->n == 2) /* the client library's habit after a statement with warnings */
        snprintf(query, sizeof query, "SELECT '' AS Level, 0 AS Code, '' AS Message FROM dual WHERE 1 = 0");
    else if (sql_tok_is(t, 1, "grants") && t->n == 2)
        show_grants(s, query, sizeof query);
    else if (!sql_tok_is(t, 1, "parameters"))
        return sql_fail(err, OB_NOT_SUPPORTED, "only SHOW PARAMETERS and SHOW GRANTS are supported here");
    else {
        const char *pattern = "%";
        if (sql_tok_is(t, 2, "like") && t->v[3].kind == TK_STRING && t->n == 4)
            pattern = t->v[3].text;
        else if (t->n != 2)
            return sql_syntax(err, st, 2);
        sqlite3_snprintf(sizeof query, query,
                         "SELECT zone, 'observer' AS svr_type, svr_ip, svr_port, name, value FROM "
                         "oceanbase.__all_virtual_sys_parameter_stat WHERE name LIKE %Q ORDER BY name, svr_ip",
                         pattern);
        if (s->tenant_id != OBS_SYS_TENANT)
            return sql_fail(err, OB_NOT_SUPPORTED, "SHOW PARAMETERS in a user tenant is not supported here");
    }
    struct sql_toks toks;
    if (!sql_lex(query, strlen(query), &toks))
        return sql_fail(err, OB_ERR_UNEXPECTED, "no memory");
    struct sql_stmt inner = {.text = query, .len = strlen(query), .toks = &toks, .describe = st->describe};
    unsigned rights = s->acc.rights;
    s->acc.rights |= SQL_RIGHT_SELECT; /* SHOW PARAMETERS needs no right on the table behind it */
    bool ok = sql_select(s, &inner, out, err);
    s->acc.rights = rights;
    s->nofilter = false;
    sql_toks_free(&toks);
    return ok;
}

/* ---- ALTER SYSTEM ---- */

static bool tenant_id(struct sql_session *s, const char *name, uint64_t *id)
{
    sqlite3_stmt *q = NULL;
    s->internal++;
    bool found = sqlite3_prepare_v2(s->db_handle, "SELECT tenant_id FROM store.__all_tenant WHERE tenant_name = ?", -1,
                                    &q, NULL) == SQLITE_OK;
    if (found) {
        sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
        found = sqlite3_step(q) == SQLITE_ROW;
        if (found)
            *id = (uint64_t)sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    s->internal--;
    return found;
}

/* ALTER SYSTEM MINOR FREEZE [TENANT [=] (name, ...)] [SERVER [=] ...] [ZONE [=] ...]: the latter two freeze more than
 * asked */
static bool minor_freeze(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    struct obs_err e = {0};
    if (t->n == 4)
        return st->describe || from_store(obs_sql_minor_freeze(s->srv->host, 0, &e), &e, err);
    if (!sql_tok_is(t, 4, "tenant"))
        return sql_tok_is(t, 4, "server") || sql_tok_is(t, 4, "zone")
                   ? sql_fail(err, OB_NOT_SUPPORTED, "MINOR FREEZE of a server or zone is not supported here")
                   : sql_syntax(err, st, 4);
    size_t i = sql_tok_op(t, 5, "=") ? 6 : 5;
    bool paren = sql_tok_op(t, i, "(");
    for (i += paren; i < t->n; i += 2) {
        uint64_t id;
        if (t->v[i].kind != TK_WORD && t->v[i].kind != TK_QUOTED && t->v[i].kind != TK_STRING)
            return sql_syntax(err, st, i);
        if (!tenant_id(s, t->v[i].text, &id))
            return sql_fail(err, OB_TENANT_NOT_EXIST, "Unknown tenant '%s'", t->v[i].text);
        if (!st->describe && !from_store(obs_sql_minor_freeze(s->srv->host, id, &e), &e, err))
            return false;
        if (i + 1 == t->n && !paren)
            return true;
        if (paren && sql_tok_op(t, i + 1, ")") && i + 2 == t->n)
            return true;
        if (!sql_tok_op(t, i + 1, ","))
            return sql_syntax(err, st, i + 1);
    }
    return sql_syntax(err, st, t->n);
}

/* ALTER SYSTEM SET name [=] value */
static bool set_parameter(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    if (t->v[3].kind != TK_WORD)
        return sql_syntax(err, st, 3);
    size_t i = sql_tok_op(t, 4, "=") ? 5 : 4;
    char value[512];
    size_t used = set_value(t, i, value, sizeof value);
    if (!used || i + used != t->n)
        return sql_syntax(err, st, used ? i + used : i);
    if (strcasecmp(t->v[3].text, "restore_concurrency") != 0) /* the only one that a DBA of these tests has to set */
        return sql_fail(err, OB_NOT_SUPPORTED, "parameter %s cannot be set here", t->v[3].text);
    char *end;
    long n = strtol(value, &end, 10);
    if (*end || n < 0 || n > 512)
        return sql_fail(err, OB_INVALID_ARGUMENT, "Incorrect arguments to restore_concurrency");
    struct obs_err e = {0};
    return st->describe ||
           from_store(obs_sql_set_parameter(s->srv->host, "restore_concurrency", value, 0, &e), &e, err);
}

/* ALTER SYSTEM ADD RESTORE SOURCE 'uri', CLEAR RESTORE SOURCE: OceanBase keeps the list in a user variable of the
 * session. Another connection knows nothing of it, and a RESTORE does not use it up. */
static bool restore_source(struct sql_session *s, const struct sql_stmt *st, bool add, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    if (!sql_tok_is(t, 3, "restore") || !sql_tok_is(t, 4, "source"))
        return sql_syntax(err, st, 3);
    if (t->n != (add ? 6 : 5) || (add && t->v[5].kind != TK_STRING))
        return sql_syntax(err, st, 5);
    if (add && strncmp(t->v[5].text, "file:///", 8) != 0 && strncmp(t->v[5].text, "oss://", 6) != 0)
        return sql_fail(err, OB_INVALID_ARGUMENT, "restore source '%s' is no valid path", t->v[5].text);
    if (st->describe)
        return true;
    char *old = s->restore_sources, *list = NULL;
    if (add && asprintf(&list, "%s%s%s", old ? old : "", old ? "\n" : "", t->v[5].text) < 0)
        return sql_fail(err, OB_ERR_UNEXPECTED, "no memory");
    s->restore_sources = list;
    free(old);
    return true;
}

bool sql_alter_system(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    (void)out;
    const struct sql_toks *t = st->toks;
    if (!sql_need_alter_system(s, err))
        return false;
    if (sql_tok_is(t, 2, "minor") && sql_tok_is(t, 3, "freeze"))
        return minor_freeze(s, st, err);
    if (sql_tok_is(t, 2, "set"))
        return set_parameter(s, st, err);
    if (sql_tok_is(t, 2, "add"))
        return restore_source(s, st, true, err);
    if (sql_tok_is(t, 2, "clear"))
        return restore_source(s, st, false, err);
    if (sql_tok_is(t, 2, "restore"))
        return sql_restore_stmt(s, st, err);
    return sql_fail(err, OB_NOT_SUPPORTED, "this ALTER SYSTEM is not supported here");
}

/* ---- CREATE / DROP RESTORE POINT name ---- */

bool sql_restore_point(struct sql_session *s, const struct sql_stmt *st, struct sql_result *out, struct sql_err *err)
{
    (void)out;
    const struct sql_toks *t = st->toks;
    if (!sql_tok_is(t, 2, "point") || (t->v[3].kind != TK_WORD && t->v[3].kind != TK_QUOTED) || t->n != 4)
        return sql_syntax(err, st, 2);
    if (s->tenant_id == OBS_SYS_TENANT)
        return sql_fail(err, OB_OP_NOT_ALLOW, "restore point in the sys tenant is not allowed");
    if (!(s->acc.rights & SQL_RIGHT_SELECT))
        return sql_fail(err, SQL_E_PRIVILEGE,
                        "Access denied; you need (at least one of) the SELECT privilege(s) for this operation");
    if (st->describe)
        return true;
    struct obs_err e = {0};
    uint64_t tenant = (uint64_t)s->tenant_id;
    return from_store(sql_tok_is(t, 0, "create") ? obs_sql_create_restore_point(s->srv->host, tenant, t->v[3].text, &e)
                                                 : obs_sql_drop_restore_point(s->srv->host, tenant, t->v[3].text, &e),
                      &e, err);
}

/* ---- DROP TENANT [IF EXISTS] name [FORCE] */

bool sql_drop_tenant(struct sql_session *s, const struct sql_stmt *st, struct sql_err *err)
{
    const struct sql_toks *t = st->toks;
    bool if_exists = sql_tok_is(t, 2, "if") && sql_tok_is(t, 3, "exists");
    size_t i = if_exists ? 4 : 2;
    if (t->v[i].kind != TK_WORD && t->v[i].kind != TK_QUOTED)
        return sql_syntax(err, st, i);
    if (t->n != i + 1 && (t->n != i + 2 || !sql_tok_is(t, i + 1, "force")))
        return sql_syntax(err, st, i + 1);
    if (!sql_need_alter_system(s, err))
        return false;
    if (strcasecmp(t->v[i].text, "sys") == 0)
        return sql_fail(err, OB_OP_NOT_ALLOW, "drop sys tenant not allowed");
    if (st->describe)
        return true;
    struct obs_err e = {0};
    int rc = obs_sql_drop_tenant(s->srv->host, t->v[i].text, &e);
    return rc == -OB_TENANT_NOT_EXIST && if_exists ? true : from_store(rc, &e, err);
}
