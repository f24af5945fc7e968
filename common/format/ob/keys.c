#include "format/ob/keys.h"

#include <inttypes.h>
#include <stdio.h>

#define BIT_39 (UINT64_C(1) << 39)
#define BIT_38 (UINT64_C(1) << 38)
#define TWO_LEVEL_MARK 0xf0000000u

obv_pg_key obv_rd_pkey(obv_rd *r)
{
    obv_pg_key k;
    k.table_id = obv_rd_be64(r);
    k.part_id = (int32_t)obv_rd_be32(r);
    k.assist = (int32_t)obv_rd_be32(r);
    return k;
}

void obv_put_pkey(obv_buf *b, const obv_pg_key *k)
{
    obv_put_be64(b, k->table_id);
    obv_put_be32(b, (uint32_t)k->part_id);
    obv_put_be32(b, (uint32_t)k->assist);
}

bool obv_pg_key_valid(const obv_pg_key *k)
{
    return k->table_id != 0 && k->table_id != UINT64_MAX && k->part_id >= 0 && k->assist >= 0;
}

obv_pg_key obv_pg_key_from_partition_id(uint64_t table_id, int64_t partition_id)
{
    const uint32_t high = (uint32_t)((uint64_t)partition_id >> 32);
    const uint32_t low = (uint32_t)partition_id;
    if ((high & TWO_LEVEL_MARK) != 0 && (low & TWO_LEVEL_MARK) != 0)
        return (obv_pg_key){.table_id = table_id, .part_id = (int32_t)high, .assist = (int32_t)low};
    return (obv_pg_key){.table_id = table_id, .part_id = (int32_t)low, .assist = 0};
}

bool obv_table_id_is_trans(uint64_t table_id) { return (table_id & BIT_39) && (table_id & BIT_38); }
bool obv_table_id_is_tablegroup(uint64_t table_id) { return (table_id & BIT_39) && !(table_id & BIT_38); }

obv_pg_key obv_pg_key_trans(const obv_pg_key *pg)
{
    obv_pg_key k = *pg;
    k.table_id |= BIT_39 | BIT_38;
    return k;
}

int obv_pg_key_cmp(const obv_pg_key *a, const obv_pg_key *b)
{
    if (a->table_id != b->table_id)
        return a->table_id < b->table_id ? -1 : 1;
    if (a->part_id != b->part_id)
        return a->part_id < b->part_id ? -1 : 1;
    if (a->assist != b->assist)
        return a->assist < b->assist ? -1 : 1;
    return 0;
}

const char *obv_pg_key_text(const obv_pg_key *k, char out[OBV_PKEY_TEXT_MAX])
{
    (void)snprintf(out, OBV_PKEY_TEXT_MAX, "%" PRIu64 "/%" PRId64, k->table_id, obv_pg_key_partition_id(k));
    return out;
}

/* three int64 in one envelope: both kinds of range */
static void rd_three(obv_rd *r, int64_t v[3])
{
    obv_rd body = obv_rd_unis(r, 1);
    for (int i = 0; i < 3; i++)
        v[i] = obv_rd_vi64(&body);
    r->bad |= body.bad;
}

static void put_three(obv_buf *b, const int64_t v[3])
{
    const size_t mark = obv_unis_begin(b, 1);
    for (int i = 0; i < 3; i++)
        obv_put_vi64(b, v[i]);
    obv_unis_end(b, mark);
}

obv_version_range obv_rd_version_range(obv_rd *r)
{
    int64_t v[3];
    rd_three(r, v);
    return (obv_version_range){v[0], v[1], v[2]};
}

void obv_put_version_range(obv_buf *b, const obv_version_range *v)
{
    put_three(b, (const int64_t[3]){v->multi_version_start, v->base_version, v->snapshot_version});
}

obv_log_ts_range obv_rd_log_ts_range(obv_rd *r)
{
    int64_t v[3];
    rd_three(r, v);
    return (obv_log_ts_range){v[0], v[1], v[2]};
}

void obv_put_log_ts_range(obv_buf *b, const obv_log_ts_range *v)
{
    put_three(b, (const int64_t[3]){v->start, v->end, v->max});
}

int64_t obv_rd_version(obv_rd *r)
{
    obv_rd body = obv_rd_unis(r, 1);
    const int64_t v = obv_rd_vi64(&body);
    r->bad |= body.bad;
    return v;
}

void obv_put_version(obv_buf *b, int64_t version)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vi64(b, version);
    obv_unis_end(b, mark);
}

obv_ob_addr obv_rd_addr(obv_rd *r)
{
    obv_rd body = obv_rd_unis(r, 1);
    obv_ob_addr a;
    a.family = obv_rd_vi32(&body);
    for (int i = 0; i < 4; i++)
        a.ip[i] = obv_rd_vu32(&body);
    a.port = obv_rd_vi32(&body);
    r->bad |= body.bad || (a.family != 4 && a.family != 6);
    return a;
}

void obv_put_addr(obv_buf *b, const obv_ob_addr *a)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vi32(b, a->family);
    for (int i = 0; i < 4; i++)
        obv_put_vu32(b, a->ip[i]);
    obv_put_vi32(b, a->port);
    obv_unis_end(b, mark);
}

void obv_rd_member_list(obv_rd *r, obv_member_list *out)
{
    obv_rd body = obv_rd_unis(r, 1);
    out->count = obv_rd_vi64(&body);
    for (int i = 0; i < OBV_MEMBERS_MAX; i++) {
        obv_rd m = obv_rd_unis(&body, 1);
        out->member[i].server = obv_rd_addr(&m);
        out->member[i].timestamp = obv_rd_vi64(&m);
        out->member[i].flag = obv_rd_vi64(&m);
        body.bad |= m.bad;
    }
    r->bad |= body.bad || out->count < 0 || out->count > OBV_MEMBERS_MAX;
}

void obv_put_member_list(obv_buf *b, const obv_member_list *l)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vi64(b, l->count);
    for (int i = 0; i < OBV_MEMBERS_MAX; i++) {
        const size_t m = obv_unis_begin(b, 1);
        obv_put_addr(b, &l->member[i].server);
        obv_put_vi64(b, l->member[i].timestamp);
        obv_put_vi64(b, l->member[i].flag);
        obv_unis_end(b, m);
    }
    obv_unis_end(b, mark);
}

#define PROPOSAL_IPV4 4

obv_proposal_id obv_rd_proposal_id(obv_rd *r)
{
    const bool absent = r->lenient && r->p == r->end;
    const uint8_t version = obv_rd_u8(r);
    const uint64_t server = obv_rd_be64(r);
    const obv_proposal_id p = {.ip = (uint32_t)(server >> 32), .port = (uint32_t)server, .ts = (int64_t)obv_rd_be64(r)};
    r->bad |= !absent && version != PROPOSAL_IPV4;
    return p;
}

void obv_put_proposal_id(obv_buf *b, const obv_proposal_id *p)
{
    obv_put_u8(b, PROPOSAL_IPV4);
    obv_put_be64(b, (uint64_t)p->ip << 32 | p->port);
    obv_put_be64(b, (uint64_t)p->ts);
}
