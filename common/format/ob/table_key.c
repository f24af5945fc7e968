#include "format/ob/table_key.h"

void obv_rd_table_key(obv_rd *r, obv_table_key *out)
{
    obv_rd body = obv_rd_unis(r, 1);
    out->type = obv_rd_vi32(&body);
    out->pkey = obv_rd_pkey(&body);
    out->table_id = obv_rd_vu64(&body);
    out->versions = obv_rd_version_range(&body);
    out->version = obv_rd_version(&body);
    out->log_ts = obv_rd_log_ts_range(&body);
    r->bad |= body.bad;
}

void obv_put_table_key(obv_buf *b, const obv_table_key *k)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vi32(b, k->type);
    obv_put_pkey(b, &k->pkey);
    obv_put_vu64(b, k->table_id);
    obv_put_version_range(b, &k->versions);
    obv_put_version(b, k->version);
    obv_put_log_ts_range(b, &k->log_ts);
    obv_unis_end(b, mark);
}

obv_code obv_table_key_parse(obv_span s, obv_table_key *out, obv_err *err)
{
    obv_rd r = obv_rd_of(s);
    obv_table_key k;
    obv_rd_table_key(&r, &k);
    OBV_TRY(obv_rd_done(&r, "table key", err));
    *out = k;
    return OBV_OK;
}

bool obv_table_key_equal(const obv_table_key *a, const obv_table_key *b)
{
    return a->type == b->type && obv_pg_key_equal(&a->pkey, &b->pkey) && a->table_id == b->table_id &&
           a->versions.multi_version_start == b->versions.multi_version_start &&
           a->versions.base_version == b->versions.base_version &&
           a->versions.snapshot_version == b->versions.snapshot_version && a->version == b->version &&
           a->log_ts.start == b->log_ts.start && a->log_ts.end == b->log_ts.end && a->log_ts.max == b->log_ts.max;
}

bool obv_table_type_is_minor(int32_t type)
{
    return type == OBV_TABLE_MINOR_OLD || (type >= OBV_TABLE_MV_MINOR && type <= OBV_TABLE_MINI_MINOR);
}
