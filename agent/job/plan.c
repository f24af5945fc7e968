#include "job/plan.h"

#include "base/sha256.h"

enum { PLAN_MAX = 64 << 20 };

struct row { /* before each key */
    uint64_t area, blocks, key_len;
};

static void add_table(obv_buf *b, const obv_source_table *t, const obv_listed_table *listed)
{
    const struct row row = {
        .area = (uint64_t)t->area, .blocks = listed ? 0 : t->block_count, .key_len = t->table_key.len};
    obv_buf_append(b, &row, sizeof row);
    obv_buf_append(b, t->table_key.p, t->table_key.len);
}

static obv_code digest_of(const obv_source_metas *m, const obv_listed_table *const *listed, obv_span bytes,
                          uint8_t *out, obv_err *err)
{
    OBV_AUTO(obv_sha256_freep) obv_sha256 *h = obv_sha256_new();
    obv_sha256_update(h, bytes);
    for (size_t i = 0; i < m->table_count; i++) {
        const obv_span meta = listed[i] ? listed[i]->sstable_meta : m->tables[i].sstable_meta;
        const uint64_t len = meta.len;
        obv_sha256_update(h, obv_span_of(&len, sizeof len));
        obv_sha256_update(h, meta);
    }
    return obv_sha256_final(h, out, err);
}

static obv_code parse_rows(obv_plan *p, obv_err *err)
{
    const obv_span s = obv_buf_span(&p->bytes);
    size_t at = 0;
    for (p->count = 0; at < s.len; p->count++) {
        struct row row;
        if (s.len - at < sizeof row)
            return obv_fail(err, OBV_E_CORRUPT, 0, "plan: cut");
        memcpy(&row, s.p + at, sizeof row);
        at += sizeof row;
        if (row.key_len > s.len - at || row.area > OBV_AREA_MINOR ||
            __builtin_add_overflow(p->blocks[row.area], row.blocks, &p->blocks[row.area]))
            return obv_fail(err, OBV_E_CORRUPT, 0, "plan: a row is not valid");
        if (p->tables)
            p->tables[p->count] =
                (obv_plan_table){(enum obv_area)row.area, row.blocks, obv_span_of(s.p + at, row.key_len)};
        at += row.key_len;
    }
    return OBV_OK;
}

/* Twice over the rows: once to count, once to fill. */
static obv_code index_rows(obv_plan *p, obv_err *err)
{
    OBV_TRY(obv_buf_check(&p->bytes, "plan", err));
    OBV_TRY(parse_rows(p, err));
    p->tables = calloc(p->count + 1, sizeof *p->tables);
    if (!p->tables)
        return obv_fail(err, OBV_E_NOMEM, 0, "plan: out of memory");
    p->blocks[0] = p->blocks[1] = 0;
    return parse_rows(p, err);
}

static obv_code finish(obv_plan *p, obv_plan *out, obv_code code)
{
    if (code == OBV_OK)
        *out = *p;
    else
        obv_plan_fini(p);
    return code;
}

obv_code obv_plan_make(const obv_source_metas *m, const obv_listed_table *const *listed, obv_plan *out, obv_err *err)
{
    obv_plan p = {.bytes = obv_buf_heap(PLAN_MAX)};
    for (size_t i = 0; i < m->table_count; i++) {
        add_table(&p.bytes, &m->tables[i], listed[i]);
        p.listed += listed[i] ? listed[i]->blocks : 0;
    }
    obv_code code = index_rows(&p, err);
    if (code == OBV_OK)
        code = digest_of(m, listed, obv_buf_span(&p.bytes), p.digest, err);
    return finish(&p, out, code);
}

obv_code obv_plan_parse(obv_span bytes, obv_plan *out, obv_err *err)
{
    obv_plan p = {.bytes = obv_buf_heap(PLAN_MAX)};
    obv_buf_append(&p.bytes, bytes.p, bytes.len);
    return finish(&p, out, index_rows(&p, err));
}

void obv_plan_fini(obv_plan *p)
{
    obv_buf_fini(&p->bytes);
    free(p->tables);
    *p = (obv_plan){0};
}

uint32_t obv_plan_next_table(const obv_plan *p, enum obv_area area, uint32_t table)
{
    while (table < p->count && (p->tables[table].area != area || p->tables[table].blocks == 0))
        table++;
    return table;
}

void obv_plan_locate(const obv_plan *p, enum obv_area area, uint64_t at, uint32_t *table, uint64_t *index)
{
    obv_assert(at < p->blocks[area]);
    uint32_t t = obv_plan_next_table(p, area, 0);
    for (; at >= p->tables[t].blocks; t = obv_plan_next_table(p, area, t + 1))
        at -= p->tables[t].blocks;
    *table = t;
    *index = at;
}
