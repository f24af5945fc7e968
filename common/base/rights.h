/* rights.h - may this account read what its role reads, and can it do more? (docs/sql.md, "Accounts") */
#ifndef OBV_BASE_RIGHTS_H
#define OBV_BASE_RIGHTS_H

#include "base/mysql.h"

typedef enum obv_role { OBV_ROLE_AGENT, OBV_ROLE_COORDINATOR, OBV_ROLE_RESTORE } obv_role;

typedef struct obv_rights {
    bool shown;          /* SHOW GRANTS was answered */
    bool alter_system;   /* as granted */
    char missing[400];   /* rights that the role needs: "SELECT on oceanbase.__all_server, …"; "" = none */
    char too_wide[400];  /* grants beyond the role, "" = none */
    char unknown[200];   /* tables that this server does not have, "" = none */
    char statement[160]; /* that gives what the role needs */
} obv_rights;

/**
 * Reads one row of each table of the role, and the account's own grants. @p ip and @p port filter tables that each
 * server answers for itself.
 * @return OBV_OK also when rights are missing; errors of the connection otherwise
 */
OBV_CHECK obv_code obv_rights_look(obv_mysql *m, obv_role role, const char *user, const char *ip, uint32_t port,
                                   obv_rights *out, obv_err *err);
/** One line of SHOW GRANTS into @p out. */
void obv_rights_grant(obv_role role, const char *line, obv_rights *out);
/** The server's clock, us since 1970. */
OBV_CHECK obv_code obv_mysql_now(obv_mysql *m, int64_t *us, obv_err *err);

#endif
