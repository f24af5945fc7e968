/* clog_entry.c - clog entry headers, their checksums, and what bodies say */
#include "format/ob/clog_entry.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"
#include "format/ob/keys.h"

#define MAGIC_ENTRY 0x4552u
#define ENTRY_VERSION 1u
#define PROPOSAL_VERSION 4u /* IPv4 */
#define TRANS_BIT (UINT32_C(1) << 31)
#define IMAGE_BYTES 120u

/* MurmurHash64A with little-endian loads; here only lengths of 4 and 8 occur. */
static uint64_t murmur64a(const uint8_t *p, size_t len, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = seed ^ (len * m);
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t k = 0;
        for (unsigned i = 0; i < 8; i++)
            k |= (uint64_t)p[i] << (8 * i);
        k *= m;
        k ^= k >> 47;
        k *= m;
        h ^= k;
        h *= m;
    }
    if (len > 0) {
        for (size_t i = 0; i < len; i++)
            h ^= (uint64_t)p[i] << (8 * i);
        h *= m;
    }
    h ^= h >> 47;
    h *= m;
    h ^= h >> 47;
    return h;
}

uint64_t obv_clog_key_hash(const obv_pg_key *k)
{
    uint8_t bytes[16];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    obv_put_le64(&b, k->table_id);
    obv_put_le32(&b, (uint32_t)k->part_id);
    obv_put_le32(&b, (uint32_t)k->assist);
    return murmur64a(bytes + 12, 4, murmur64a(bytes + 8, 4, murmur64a(bytes, 8, 0)));
}

static uint32_t raw_type(const obv_clog_entry *e) { return (uint32_t)e->type | (e->is_trans ? TRANS_BIT : 0); }

int64_t obv_clog_entry_header_checksum(const obv_clog_entry *e)
{
    uint8_t image[IMAGE_BYTES];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&b, MAGIC_ENTRY);
    obv_put_le16(&b, ENTRY_VERSION);
    obv_put_le32(&b, raw_type(e));
    obv_put_le64(&b, e->pg.table_id);
    obv_put_le32(&b, (uint32_t)e->pg.part_id);
    obv_put_le32(&b, (uint32_t)e->pg.assist);
    obv_put_le64(&b, obv_clog_key_hash(&e->pg));
    obv_put_le64(&b, e->log_id);
    obv_put_le64(&b, e->data_len);
    obv_put_le64(&b, (uint64_t)e->generation_ts);
    obv_put_le64(&b, (uint64_t)e->epoch_id);
    obv_put_le32(&b, PROPOSAL_VERSION);
    obv_put_le32(&b, (uint32_t)(e->proposal_server >> 32));
    obv_buf_append_zeros(&b, 12);
    obv_put_le32(&b, (uint32_t)e->proposal_server);
    obv_put_le64(&b, (uint64_t)e->proposal_ts);
    obv_put_le64(&b, (uint64_t)e->submit_ts);
    obv_put_le64(&b, (uint64_t)e->data_checksum);
    obv_put_le64(&b, (uint64_t)e->freeze_version);
    obv_assert(b.len == IMAGE_BYTES && !b.failed);
    return (int64_t)obv_crc64(0, obv_buf_span(&b));
}

obv_code obv_clog_entry_parse(obv_span in, obv_clog_entry *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), version = obv_rd_be16(&r);
    const uint32_t type = obv_rd_be32(&r);
    obv_clog_entry e = {.type = (enum obv_clog_type)(type & ~TRANS_BIT), .is_trans = (type & TRANS_BIT) != 0};
    e.pg = obv_rd_pkey(&r);
    e.log_id = obv_rd_be64(&r);
    const uint64_t data_len = obv_rd_be64(&r);
    e.generation_ts = (int64_t)obv_rd_be64(&r);
    e.epoch_id = (int64_t)obv_rd_be64(&r);
    const uint8_t address = obv_rd_u8(&r);
    e.proposal_server = obv_rd_be64(&r);
    e.proposal_ts = (int64_t)obv_rd_be64(&r);
    const uint64_t submit = obv_rd_be64(&r);
    e.data_checksum = (int64_t)obv_rd_be64(&r);
    e.freeze_version = (int64_t)obv_rd_be64(&r);
    e.header_checksum = (int64_t)obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "clog entry header", err));
    if (magic != MAGIC_ENTRY || version != ENTRY_VERSION)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: magic %04x version %u", magic, version);
    /* OceanBase reads over another address version; no 3.1 server writes one, and re-emitting would change it. */
    if (address != PROPOSAL_VERSION)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: address version %u", address);
    if (data_len > OBV_CLOG_ENTRY_MAX_DATA)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: %llu bytes of data", (unsigned long long)data_len);
    e.data_len = (uint32_t)data_len;
    e.batch_committed = (submit & OBV_CLOG_BATCH_BIT) != 0;
    e.submit_ts = (int64_t)(submit & ~OBV_CLOG_BATCH_BIT);
    if (obv_clog_entry_header_checksum(&e) != e.header_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: header checksum differs, log %llu",
                        (unsigned long long)e.log_id);
    *out = e;
    return OBV_OK;
}

obv_code obv_clog_entry_check_data(const obv_clog_entry *e, obv_span data, obv_err *err)
{
    if (data.len < e->data_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: %zu bytes of %u, log %llu", data.len, e->data_len,
                        (unsigned long long)e->log_id);
    if (obv_crc64(0, obv_span_of(data.p, e->data_len)) != (uint64_t)e->data_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: data checksum differs, log %llu",
                        (unsigned long long)e->log_id);
    return OBV_OK;
}

void obv_clog_entry_emit(const obv_clog_entry *e, obv_buf *out)
{
    obv_put_be16(out, MAGIC_ENTRY);
    obv_put_be16(out, ENTRY_VERSION);
    obv_put_be32(out, raw_type(e));
    obv_put_pkey(out, &e->pg);
    obv_put_be64(out, e->log_id);
    obv_put_be64(out, e->data_len);
    obv_put_be64(out, (uint64_t)e->generation_ts);
    obv_put_be64(out, (uint64_t)e->epoch_id);
    obv_put_u8(out, PROPOSAL_VERSION);
    obv_put_be64(out, e->proposal_server);
    obv_put_be64(out, (uint64_t)e->proposal_ts);
    obv_put_be64(out, (uint64_t)e->submit_ts | (e->batch_committed ? OBV_CLOG_BATCH_BIT : 0));
    obv_put_be64(out, (uint64_t)e->data_checksum);
    obv_put_be64(out, (uint64_t)e->freeze_version);
    obv_put_be64(out, (uint64_t)obv_clog_entry_header_checksum(e));
}

int64_t obv_clog_accum(int64_t before, int64_t data_checksum)
{
    uint8_t bytes[8];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    obv_put_le64(&b, (uint64_t)data_checksum);
    return (int64_t)obv_crc64((uint64_t)before, obv_buf_span(&b));
}

/* One storage log: i64 type, then its own body. */
static obv_code item_facts(obv_span item, obv_clog_facts *f, obv_err *err)
{
    obv_rd r = obv_rd_of(item);
    const uint64_t type = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "storage log type", err));
    if (type == OBV_STORAGE_LOG_OFFLINE || type == OBV_STORAGE_LOG_OFFLINE_V2)
        f->offline = true;
    if (type != OBV_STORAGE_LOG_TRANS_CHECKPOINT)
        return OBV_OK;
    obv_rd body = obv_rd_unis(&r, 1);
    const int64_t checkpoint = obv_rd_vi64(&body);
    OBV_TRY(obv_rd_check(&body, "trans checkpoint log", err));
    if (checkpoint > f->checkpoint)
        f->checkpoint = checkpoint;
    return OBV_OK;
}

#define AGGRE_ITEM_HEADER 12u /* i32 next, i64 submit_ts */

obv_code obv_clog_entry_facts(const obv_clog_entry *e, obv_span data, obv_clog_facts *out, obv_err *err)
{
    obv_clog_facts f = {0};
    if (data.len < e->data_len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "clog entry: %zu bytes of %u", data.len, e->data_len);
    if (e->type == OBV_ENTRY_SUBMIT) {
        OBV_TRY(item_facts(obv_span_of(data.p, e->data_len), &f, err));
    } else if (e->type == OBV_ENTRY_AGGRE) {
        for (uint32_t at = 0; at < e->data_len;) {
            obv_rd r = obv_rd_of(obv_span_of(data.p + at, e->data_len - at));
            uint32_t next = obv_rd_be32(&r);
            (void)obv_rd_be64(&r);
            OBV_TRY(obv_rd_check(&r, "aggregated log item", err));
            if (next > e->data_len)
                next = e->data_len;
            if (next < at + AGGRE_ITEM_HEADER)
                return obv_fail(err, OBV_E_CORRUPT, 0, "aggregated log %llu: next item at %u behind %u",
                                (unsigned long long)e->log_id, next, at);
            OBV_TRY(item_facts(obv_span_of(data.p + at + AGGRE_ITEM_HEADER, next - at - AGGRE_ITEM_HEADER), &f, err));
            at = next;
        }
    }
    *out = f;
    return OBV_OK;
}
