/* sql.h - errors of the SQL front, with the numbers that its clients see */
#ifndef SI_SQL_H
#define SI_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** An error as the client sees it: MySQL's number where the catalogue names one, else OceanBase's without its sign. */
struct sql_err {
    int number; /* 0 = no error */
    char state[6];
    char text[480];
};

/** Fills @p err (the SQLSTATE follows from the number). Always false, so that a caller can return it. */
bool sql_fail(struct sql_err *err, int number, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

enum { /* numbers that the code names; catalogue 5 has their meaning */
       SQL_E_HANDSHAKE = 1043,
       SQL_E_TOO_MANY = 1040,
       SQL_E_ACCESS = 1045,
       SQL_E_NO_DB = 1046,
       SQL_E_COMMAND = 1047,
       SQL_E_BAD_DB = 1049,
       SQL_E_AMBIGUOUS = 1052,
       SQL_E_COLUMN = 1054,
       SQL_E_SYNTAX = 1064,
       SQL_E_AGGREGATE = 1111,
       SQL_E_SELECT_DENIED = 1142,
       SQL_E_TABLE = 1146,
       SQL_E_VARIABLE = 1193,
       SQL_E_PRIVILEGE = 1227,
       SQL_E_VALUE = 1231,
       SQL_E_STMT = 1243,
       SQL_E_TIME_ZONE = 1298,
       SQL_E_FUNCTION = 1305,
       SQL_E_READ_ONLY_VARIABLE = 1238,
       OB_INVALID_ARGUMENT = 4002,
       OB_NOT_SUPPORTED = 4007,
       OB_TIMEOUT = 4012,
       OB_SIZE_LIMIT = 4013,
       OB_ERR_UNEXPECTED = 4016,
       OB_ENTRY_NOT_EXIST = 4018,
       OB_OP_NOT_ALLOW = 4179,
       OB_RESOURCE_POOL_GRANTED = 4626,
       OB_RESOURCE_POOL_NOT_EXIST = 4650,
       OB_CLUSTER_NO_MATCH = 4666,
       OB_TENANT_EXIST = 5156,
       OB_TENANT_NOT_EXIST = 5157,
       OB_INVALID_TENANT_NAME = 5160,
};

#endif
