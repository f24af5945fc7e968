#include "format/media/info_files.h"

#include "format/ob/keys.h"

#include <inttypes.h>

enum { INFO_DATA_VERSION = 0 };

/* A body is gathered first, since the header in front of it holds its checksum. */
static obv_buf body_buf(void) { return obv_buf_heap(OBV_INFO_FILE_MAX); }

static obv_code finish(obv_buf *out, uint16_t type, obv_buf *body, const char *what, obv_err *err)
{
    const obv_code made = obv_buf_check(body, what, err);
    if (made == OBV_OK)
        obv_put_info_file(out, type, INFO_DATA_VERSION, obv_buf_span(body));
    obv_buf_fini(body);
    OBV_TRY(made);
    return obv_buf_check(out, what, err);
}

static void copy_text(char *out, obv_span s)
{
    memcpy(out, s.p, s.len); /* obv_rd_fixed_str has bounded it */
    out[s.len] = 0;
}

static bool fits(const char *s, size_t max) { return strnlen(s, max) < max; }

/* Begins the array of a list file; an empty file is a list without entries. */
static obv_code open_list(obv_span file, uint16_t type, obv_rd *body, size_t *n, size_t item_min, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, type, &payload, err));
    *n = 0;
    if (file.len == 0)
        return OBV_OK;
    obv_rd r = obv_rd_of(payload);
    *body = obv_rd_unis(&r, 1);
    r.bad |= body->bad;
    *n = obv_rd_count(body, OBV_INFO_ENTRIES_MAX, item_min);
    r.bad |= body->bad;
    return obv_rd_done(&r, "info file", err);
}

/* ---- backup infos */

static obv_code check_backup_info(const obv_backup_info *e, obv_err *err)
{
    if (e->full_set_id <= 0 || e->set_id <= 0 || e->data_version <= 0 || e->snapshot_version <= 0 ||
        e->schema_version <= 0 || e->frozen_snapshot_version <= 0 || e->frozen_schema_version < 0 ||
        (e->backup_type != OBV_BACKUP_FULL && e->backup_type != OBV_BACKUP_INCREMENTAL) || e->date < 0 ||
        e->status < OBV_EXTERN_SUCCESS || e->status > OBV_EXTERN_FAILED || e->encryption_mode < 0 ||
        e->encryption_mode > OBV_ENCRYPTION_MODE_MAX || !fits(e->passwd, OBV_PASSWD_MAX))
        return obv_fail(err, OBV_E_INVAL, 0, "backup info of set %" PRId64 ": OceanBase would refuse it", e->set_id);
    return OBV_OK;
}

obv_code obv_put_backup_infos(obv_buf *b, const obv_backup_info *e, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        OBV_TRY(check_backup_info(&e[i], err));
        if (i > 0 && e[i].set_id <= e[i - 1].set_id)
            return obv_fail(err, OBV_E_INVAL, 0, "backup infos: set %" PRId64 " does not ascend", e[i].set_id);
    }
    obv_buf body = body_buf();
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++, e++) {
        const size_t m = obv_unis_begin(&body, 1);
        const int64_t words[] = {e->full_set_id,           e->set_id,           e->data_version,
                                 e->snapshot_version,      e->schema_version,   e->frozen_snapshot_version,
                                 e->frozen_schema_version, e->prev_full_set_id, e->prev_set_id,
                                 e->prev_data_version,     e->compatible,       e->cluster_version};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            obv_put_vi64(&body, words[w]);
        obv_put_vi32(&body, e->backup_type);
        obv_put_vi32(&body, e->status);
        obv_put_vi32(&body, e->encryption_mode);
        obv_put_fixed_str(&body, e->passwd);
        obv_put_u8(&body, e->is_mark_deleted);
        obv_put_vi64(&body, e->date);
        obv_unis_end(&body, m);
    }
    obv_unis_end(&body, mark);
    return finish(b, OBV_FILE_BACKUP_INFO, &body, "backup infos", err);
}

obv_code obv_backup_infos_each(obv_span file, obv_backup_info_fn *fn, void *ctx, obv_err *err)
{
    obv_rd list;
    size_t n = 0;
    OBV_TRY(open_list(file, OBV_FILE_BACKUP_INFO, &list, &n, 20, err));
    for (size_t i = 0; i < n; i++) {
        obv_backup_info e = {0};
        obv_rd_item(&list);
        obv_rd r = obv_rd_unis(&list, 1);
        int64_t *const words[] = {&e.full_set_id,           &e.set_id,           &e.data_version,
                                  &e.snapshot_version,      &e.schema_version,   &e.frozen_snapshot_version,
                                  &e.frozen_schema_version, &e.prev_full_set_id, &e.prev_set_id,
                                  &e.prev_data_version,     &e.compatible,       &e.cluster_version};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            *words[w] = obv_rd_vi64(&r);
        e.backup_type = obv_rd_vi32(&r);
        e.status = obv_rd_vi32(&r);
        e.encryption_mode = obv_rd_vi32(&r);
        copy_text(e.passwd, obv_rd_fixed_str(&r, OBV_PASSWD_MAX));
        e.is_mark_deleted = obv_rd_bool(&r);
        e.date = obv_rd_vi64(&r);
        list.bad |= r.bad;
        OBV_TRY(obv_rd_check(&list, "backup info", err));
        if (fn(ctx, &e) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "backup infos: stopped by the reader");
    }
    return OBV_OK;
}

/* ---- set infos */

obv_code obv_put_set_infos(obv_buf *b, const obv_set_info *e, size_t n, obv_err *err)
{
    obv_buf body = body_buf();
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++, e++) {
        if (e->set_id <= 0 || e->compress_type <= 0) {
            obv_buf_fini(&body);
            return obv_fail(err, OBV_E_INVAL, 0, "set info of set %" PRId64 ": OceanBase would refuse it", e->set_id);
        }
        const size_t m = obv_unis_begin(&body, 1);
        const int64_t words[] = {e->set_id,       e->snapshot_version,        e->compatible,
                                 e->pg_count,     e->macro_block_count,       e->input_bytes,
                                 e->output_bytes, (int64_t)e->cluster_version};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            obv_put_vi64(&body, words[w]);
        obv_put_vi32(&body, e->compress_type);
        obv_unis_end(&body, m);
    }
    obv_unis_end(&body, mark);
    return finish(b, OBV_FILE_BACKUP_SET_INFO, &body, "set infos", err);
}

obv_code obv_set_infos_each(obv_span file, obv_set_info_fn *fn, void *ctx, obv_err *err)
{
    obv_rd list;
    size_t n = 0;
    OBV_TRY(open_list(file, OBV_FILE_BACKUP_SET_INFO, &list, &n, 10, err));
    for (size_t i = 0; i < n; i++) {
        obv_set_info e = {0};
        obv_rd_item(&list);
        obv_rd r = obv_rd_unis(&list, 1);
        e.set_id = obv_rd_vi64(&r);
        e.snapshot_version = obv_rd_vi64(&r);
        e.compatible = obv_rd_vi64(&r);
        e.pg_count = obv_rd_vi64(&r);
        e.macro_block_count = obv_rd_vi64(&r);
        e.input_bytes = obv_rd_vi64(&r);
        e.output_bytes = obv_rd_vi64(&r);
        e.cluster_version = obv_rd_vu64(&r);
        e.compress_type = obv_rd_vi32(&r);
        list.bad |= r.bad;
        OBV_TRY(obv_rd_check(&list, "set info", err));
        if (fn(ctx, &e) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "set infos: stopped by the reader");
    }
    return OBV_OK;
}

/* ---- PG lists */

obv_code obv_put_pg_list(obv_buf *b, const obv_pg_key *keys, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!obv_pg_key_valid(&keys[i]))
            return obv_fail(err, OBV_E_INVAL, 0, "PG list: key %zu is not valid", i);
    obv_buf body = body_buf();
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++)
        obv_put_pkey(&body, &keys[i]);
    obv_unis_end(&body, mark);
    return finish(b, OBV_FILE_PG_LIST, &body, "PG list", err);
}

obv_code obv_pg_list_each(obv_span file, obv_pg_list_fn *fn, void *ctx, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_PG_LIST, &payload, err));
    if (file.len == 0)
        return OBV_OK;
    obv_rd r = obv_rd_of(payload);
    obv_rd list = obv_rd_unis(&r, 1);
    const size_t n = obv_rd_count(&list, OBV_INFO_FILE_MAX / OBV_PKEY_LEN, OBV_PKEY_LEN);
    r.bad |= list.bad;
    OBV_TRY(obv_rd_done(&r, "PG list", err));
    for (size_t i = 0; i < n; i++) {
        const obv_pg_key k = obv_rd_pkey(&list);
        OBV_TRY(obv_rd_check(&list, "PG list", err));
        if (!obv_pg_key_valid(&k))
            return obv_fail(err, OBV_E_CORRUPT, 0, "PG list: key %zu is not valid", i);
        if (fn(ctx, &k) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "PG list: stopped by the reader");
    }
    return OBV_OK;
}

/* ---- tenant infos */

obv_code obv_put_tenant_infos(obv_buf *b, const obv_tenant_info *e, size_t n, obv_err *err)
{
    obv_buf body = body_buf();
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++, e++) {
        if (e->tenant_id == 0 || e->compat_mode < 0 || !fits(e->tenant_name, OBV_TENANT_NAME_MAX)) {
            obv_buf_fini(&body);
            return obv_fail(err, OBV_E_INVAL, 0, "tenant info of tenant %" PRIu64 ": OceanBase would refuse it",
                            e->tenant_id);
        }
        const size_t m = obv_unis_begin(&body, 1);
        obv_put_vu64(&body, e->tenant_id);
        obv_put_vi64(&body, e->create_ts);
        obv_put_vi64(&body, e->delete_ts);
        obv_put_vi32(&body, e->compat_mode);
        obv_put_fixed_str(&body, e->tenant_name);
        obv_put_vi64(&body, e->snapshot_version);
        obv_unis_end(&body, m);
    }
    obv_unis_end(&body, mark);
    return finish(b, OBV_FILE_TENANT_INFO, &body, "tenant infos", err);
}

obv_code obv_tenant_infos_each(obv_span file, obv_tenant_info_fn *fn, void *ctx, obv_err *err)
{
    obv_rd list;
    size_t n = 0;
    OBV_TRY(open_list(file, OBV_FILE_TENANT_INFO, &list, &n, 10, err));
    for (size_t i = 0; i < n; i++) {
        obv_tenant_info e = {0};
        obv_rd_item(&list);
        obv_rd r = obv_rd_unis(&list, 1);
        e.tenant_id = obv_rd_vu64(&r);
        e.create_ts = obv_rd_vi64(&r);
        e.delete_ts = obv_rd_vi64(&r);
        e.compat_mode = obv_rd_vi32(&r);
        copy_text(e.tenant_name, obv_rd_fixed_str(&r, OBV_TENANT_NAME_MAX));
        e.snapshot_version = obv_rd_vi64(&r);
        list.bad |= r.bad;
        OBV_TRY(obv_rd_check(&list, "tenant info", err));
        if (fn(ctx, &e) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "tenant infos: stopped by the reader");
    }
    return OBV_OK;
}

/* ---- tenant locality */

obv_code obv_put_tenant_locality(obv_buf *b, const obv_tenant_locality *e, obv_err *err)
{
    if (e->tenant_id == 0 || e->set_id <= 0 || e->snapshot_version <= 0 || e->compat_mode < 0 || !e->tenant_name[0] ||
        !e->locality[0] || !e->primary_zone[0] || !fits(e->tenant_name, OBV_TENANT_NAME_MAX) ||
        !fits(e->locality, OBV_LOCALITY_MAX) || !fits(e->primary_zone, OBV_ZONE_LIST_MAX))
        return obv_fail(err, OBV_E_INVAL, 0,
                        "tenant locality of tenant %" PRIu64
                        ": OceanBase would refuse it; name, locality and primary zone must not be empty",
                        e->tenant_id);
    obv_buf body = body_buf();
    const size_t outer = obv_unis_begin(&body, 1);
    const size_t inner = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, e->tenant_id);
    obv_put_vi64(&body, e->set_id);
    obv_put_vi64(&body, e->snapshot_version);
    obv_put_vi32(&body, e->compat_mode);
    obv_put_fixed_str(&body, e->tenant_name);
    obv_put_fixed_str(&body, e->locality);
    obv_put_fixed_str(&body, e->primary_zone);
    obv_unis_end(&body, inner);
    obv_unis_end(&body, outer);
    return finish(b, OBV_FILE_TENANT_LOCALITY, &body, "tenant locality", err);
}

obv_code obv_tenant_locality_parse(obv_span file, obv_tenant_locality *out, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_TENANT_LOCALITY, &payload, err));
    obv_rd top = obv_rd_of(payload);
    obv_rd outer = obv_rd_unis(&top, 1);
    obv_rd r = obv_rd_unis(&outer, 1);
    const uint64_t tenant_id = obv_rd_vu64(&r);
    const int64_t set_id = obv_rd_vi64(&r);
    const int64_t snapshot = obv_rd_vi64(&r);
    const int32_t mode = obv_rd_vi32(&r);
    const obv_span name = obv_rd_fixed_str(&r, OBV_TENANT_NAME_MAX);
    const obv_span locality = obv_rd_fixed_str(&r, OBV_LOCALITY_MAX);
    const obv_span zone = obv_rd_fixed_str(&r, OBV_ZONE_LIST_MAX);
    top.bad |= outer.bad || r.bad;
    OBV_TRY(obv_rd_done(&top, "tenant locality", err));
    if (!name.len || !locality.len || !zone.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "tenant locality: an empty text");
    *out = (obv_tenant_locality){
        .tenant_id = tenant_id, .set_id = set_id, .snapshot_version = snapshot, .compat_mode = mode};
    copy_text(out->tenant_name, name);
    copy_text(out->locality, locality);
    copy_text(out->primary_zone, zone);
    return OBV_OK;
}

obv_code obv_put_tenant_diagnose(obv_buf *b, const char *text, obv_err *err)
{
    obv_put_info_file(b, OBV_FILE_TENANT_DIAGNOSE, INFO_DATA_VERSION, obv_span_of(text, strlen(text)));
    return obv_buf_check(b, "tenant diagnose", err);
}
