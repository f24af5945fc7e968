/* sql_priv.h - shared by the files that read the catalogue */
#ifndef OBV_COORDINATOR_SQL_PRIV_H
#define OBV_COORDINATOR_SQL_PRIV_H

#include "base/mysql.h"
#include "cluster/cluster.h"

typedef struct sql_cluster {
    obv_cluster base;
    obv_endpoint *endpoints;
    size_t endpoint_count, next;
    char *user, *password_file;
    obv_mysql *conn;
} sql_cluster;

/** One statement with rows; reconnects, and tries the other endpoints, on codes >= 64. @p fmt makes the SQL. */
OBV_CHECK obv_code sql_query(obv_cluster *c, uint32_t columns, uint64_t max_rows, obv_mysql_row_fn *fn, void *ctx,
                             obv_err *err, const char *fmt, ...) OBV_PRINTF(7, 8);
/** First column of the first row as a number; *found tells whether there was a row that is not NULL. */
OBV_CHECK obv_code sql_number(obv_cluster *c, int64_t *out, bool *found, obv_err *err, const char *fmt, ...)
    OBV_PRINTF(5, 6);

/** An open connection to one of the endpoints. */
OBV_CHECK obv_code sql_connection(obv_cluster *c, obv_mysql **out, obv_err *err);
obv_code sql_rights(obv_cluster *c, obv_role role, obv_rights *out, obv_err *err);
obv_code sql_data_bytes(obv_cluster *c, uint64_t tenant, uint64_t *out, obv_err *err);
obv_code sql_now(obv_cluster *c, int64_t *us, int64_t *trip_us, obv_err *err);

obv_code sql_pgs(obv_cluster *c, uint64_t tenant, obv_pgs *out, obv_contents *contents, obv_err *err);
obv_code sql_replicas(obv_cluster *c, uint64_t tenant, obv_replicas *out, obv_err *err);
obv_code sql_target(obv_cluster *c, obv_target *out, obv_err *err);
obv_code sql_pool_free(obv_cluster *c, const char *pool, bool *exists, bool *is_free, obv_err *err);
obv_code sql_tenant_exists(obv_cluster *c, const char *name, bool *out, obv_err *err);
obv_code sql_last_restore_job(obv_cluster *c, int64_t *out, obv_err *err);
obv_code sql_restore_progress(obv_cluster *c, int64_t external_id, const char *tenant, obv_restore_progress *out,
                              obv_err *err);
obv_code sql_execute(obv_cluster *c, const char *const *sql, size_t n, obv_err *err);

#endif
