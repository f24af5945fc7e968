/* sql_doctor.c - what doctor asks of a cluster: rights, amount of data, clock */
#include "base/clock.h"
#include "cluster/sql_priv.h"

obv_code sql_rights(obv_cluster *base, obv_role role, obv_rights *out, obv_err *err)
{
    sql_cluster *c = (sql_cluster *)base;
    obv_mysql *m = NULL;
    OBV_TRY(sql_connection(base, &m, err));
    const obv_code code = obv_rights_look(m, role, c->user, "", 0, out, err);
    if (code != OBV_OK)
        obv_mysql_drop(&c->conn);
    return code;
}

obv_code sql_data_bytes(obv_cluster *c, uint64_t tenant, uint64_t *out, obv_err *err)
{
    static const char *const TABLES[] = {"__all_virtual_meta_table", "__all_root_table"};
    *out = 0;
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
        int64_t sum = 0;
        bool found = false;
        OBV_TRY(sql_number(c, &sum, &found, err,
                           "SELECT SUM(required_size) FROM oceanbase.%s WHERE tenant_id = %llu AND role = 1", TABLES[i],
                           (unsigned long long)tenant));
        if (found && sum > 0)
            *out += (uint64_t)sum;
    }
    return OBV_OK;
}

obv_code sql_now(obv_cluster *base, int64_t *us, int64_t *trip_us, obv_err *err)
{
    obv_mysql *m = NULL;
    OBV_TRY(sql_connection(base, &m, err));
    const int64_t began = obv_mono_ns();
    const obv_code code = obv_mysql_now(m, us, err);
    *trip_us = (obv_mono_ns() - began) / 1000;
    if (code != OBV_OK)
        obv_mysql_drop(&((sql_cluster *)base)->conn);
    return code;
}
