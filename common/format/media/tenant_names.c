#include "format/media/tenant_names.h"

#include "format/ob/codec.h"

#include <stdlib.h>

enum { NAMES_DATA_VERSION = 1 };
#define ITEMS_MAX 100000u

int obv_tenant_name_cmp(const void *a, const void *b)
{
    const obv_tenant_name *x = a;
    const obv_tenant_name *y = b;
    const int by_name = strcmp(x->name, y->name);
    if (by_name != 0)
        return by_name;
    if (x->timestamp != y->timestamp)
        return x->timestamp < y->timestamp ? -1 : 1;
    if (x->tenant_id != y->tenant_id)
        return x->tenant_id < y->tenant_id ? -1 : 1;
    return 0;
}

/* @return how many entries from @p e on have its name */
static size_t run_of(const obv_tenant_name *e, size_t n)
{
    size_t i = 1;
    while (i < n && strcmp(e[i].name, e->name) == 0)
        i++;
    return i;
}

static void put_name(obv_buf *b, const obv_tenant_name *e, size_t n)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vstr(b, obv_span_of(e->name, strlen(e->name)));
    obv_put_u8(b, 1); /* is_complete */
    obv_put_vu64(b, n);
    for (size_t i = 0; i < n; i++) {
        const size_t item = obv_unis_begin(b, 1);
        obv_put_vu64(b, e[i].tenant_id);
        obv_put_vi64(b, e[i].timestamp);
        obv_unis_end(b, item);
    }
    obv_unis_end(b, mark);
}

obv_code obv_put_tenant_names(obv_buf *b, int64_t schema_version, const obv_tenant_name *e, size_t n, obv_err *err)
{
    uint64_t names = 0;
    for (size_t i = 0; i < n; i++) {
        if (!e[i].name[0] || !memchr(e[i].name, 0, sizeof e[i].name) || e[i].tenant_id == 0)
            return obv_fail(err, OBV_E_INVAL, 0, "tenant names: entry %zu has no name or no tenant", i);
        if (i > 0 && obv_tenant_name_cmp(&e[i - 1], &e[i]) >= 0)
            return obv_fail(err, OBV_E_INVAL, 0, "tenant names: entry %zu is out of order", i);
        names += i == 0 || strcmp(e[i - 1].name, e[i].name) != 0;
    }
    if (schema_version <= 0)
        return obv_fail(err, OBV_E_INVAL, 0, "tenant names: no schema version of the sys tenant");
    obv_buf body = obv_buf_heap(OBV_INFO_FILE_MAX);
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vi64(&body, schema_version);
    obv_put_vu64(&body, names);
    obv_unis_end(&body, mark);
    for (size_t i = 0; i < n;) {
        const size_t run = run_of(e + i, n - i);
        put_name(&body, e + i, run);
        i += run;
    }
    const obv_code made = obv_buf_check(&body, "tenant names", err);
    if (made == OBV_OK)
        obv_put_info_file(b, OBV_FILE_TENANT_NAME, NAMES_DATA_VERSION, obv_buf_span(&body));
    obv_buf_fini(&body);
    OBV_TRY(made);
    return obv_buf_check(b, "tenant names", err);
}

static obv_code each_item(obv_rd *r, obv_tenant_name_fn *fn, void *ctx, obv_err *err)
{
    obv_rd name = obv_rd_unis(r, 1);
    const obv_span text = obv_rd_vstr(&name);
    const bool complete = obv_rd_bool(&name);
    const size_t n = obv_rd_count(&name, ITEMS_MAX, 2);
    OBV_TRY(obv_rd_check(&name, "tenant name", err));
    obv_tenant_name e = {0};
    if (!complete || text.len == 0 || text.len >= sizeof e.name || memchr(text.p, 0, text.len))
        return obv_fail(err, OBV_E_CORRUPT, 0, "tenant name: incomplete, or a name of %zu bytes", text.len);
    memcpy(e.name, text.p, text.len);
    for (size_t i = 0; i < n; i++) {
        obv_rd_item(&name);
        obv_rd item = obv_rd_unis(&name, 1);
        e.tenant_id = obv_rd_vu64(&item);
        e.timestamp = obv_rd_vi64(&item);
        name.bad |= item.bad;
        OBV_TRY(obv_rd_check(&name, "tenant name", err));
        if (fn(ctx, &e) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "tenant names: stopped by the reader");
    }
    return OBV_OK;
}

obv_code obv_tenant_names_each(obv_span file, int64_t *schema_version, obv_tenant_name_fn *fn, void *ctx, obv_err *err)
{
    *schema_version = 0;
    if (file.len == 0)
        return OBV_OK;
    obv_span payload;
    obv_common_header h;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_TENANT_NAME, &payload, err));
    OBV_TRY(obv_common_header_parse(file, &h, err));
    if (h.data_version != NAMES_DATA_VERSION)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "tenant names: data version %u", h.data_version);
    obv_rd r = obv_rd_of(payload);
    obv_rd meta = obv_rd_unis(&r, 1);
    const int64_t version = obv_rd_vi64(&meta);
    const uint64_t names = obv_rd_vu64(&meta);
    r.bad |= meta.bad || names > OBV_TENANT_NAMES_MAX;
    OBV_TRY(obv_rd_check(&r, "tenant names", err));
    for (uint64_t i = 0; i < names; i++) {
        OBV_TRY(each_item(&r, fn, ctx, err));
        OBV_TRY(obv_rd_check(&r, "tenant names", err));
    }
    OBV_TRY(obv_rd_done(&r, "tenant names", err));
    *schema_version = version;
    return OBV_OK;
}

size_t obv_tenant_names_normalise(obv_tenant_name *e, size_t n)
{
    if (n == 0)
        return 0;
    qsort(e, n, sizeof *e, obv_tenant_name_cmp);
    size_t left = 1;
    for (size_t i = 1; i < n; i++)
        if (strcmp(e[i].name, e[left - 1].name) != 0 || e[i].tenant_id != e[left - 1].tenant_id)
            e[left++] = e[i];
    return left;
}

uint64_t obv_tenant_names_find(const obv_tenant_name *e, size_t n, const char *name, int64_t at_us)
{
    uint64_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(e[i].name, name) == 0 && e[i].timestamp <= at_us)
            found = e[i].tenant_id;
    return found;
}
