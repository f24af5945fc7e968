/* ilog.c - cursors, info block and trailer of an ilog file */
#include "format/ob/ilog.h"

#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"
#include "format/ob/codec.h"

#define MAGIC_TRAILER 0x4c43u
#define TRAILER_IMAGE 32u
#define PAGE 4096u

static bool range_fits(uint32_t at, uint32_t size, uint64_t end) { return at <= end && size <= end - at; }

obv_code obv_ilog_trailer_parse(obv_span in, uint64_t file_size, obv_ilog_trailer *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), pad16 = obv_rd_be16(&r);
    const uint32_t pad32 = obv_rd_be32(&r);
    obv_ilog_trailer t = {.info_at = obv_rd_be32(&r)};
    t.info_size = obv_rd_be32(&r);
    t.members_at = obv_rd_be32(&r);
    t.members_size = obv_rd_be32(&r);
    const uint64_t content = obv_rd_be64(&r), own = obv_rd_be64(&r);
    t.content_checksum = (int64_t)content;
    OBV_TRY(obv_rd_check(&r, "ilog trailer", err));
    if (magic != MAGIC_TRAILER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog trailer: magic %04x", magic);
    uint8_t image[TRAILER_IMAGE];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&b, magic);
    obv_put_le16(&b, pad16);
    obv_put_le32(&b, pad32);
    obv_put_le32(&b, t.info_at);
    obv_put_le32(&b, t.info_size);
    obv_put_le32(&b, t.members_at);
    obv_put_le32(&b, t.members_size);
    obv_put_le64(&b, content);
    if (obv_crc64(0, obv_buf_span(&b)) != own)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog trailer: checksum differs");
    if (file_size < OBV_ILOG_TRAILER_AREA || file_size > OBV_ILOG_MAX_FILE)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog file: %llu bytes", (unsigned long long)file_size);
    const uint64_t end = file_size - OBV_ILOG_TRAILER_AREA;
    if (!range_fits(t.info_at, t.info_size, end) || !range_fits(t.members_at, t.members_size, end) ||
        t.info_at % PAGE != 0 || t.info_size > OBV_ILOG_MAX_INFO || t.members_at < t.info_at + t.info_size)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog trailer: info block %u+%u, member lists %u+%u in %llu bytes",
                        t.info_at, t.info_size, t.members_at, t.members_size, (unsigned long long)file_size);
    *out = t;
    return OBV_OK;
}

obv_code obv_ilog_info_parse(obv_span in, const obv_ilog_trailer *t, obv_ilog_info *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint64_t len = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "ilog info block", err));
    if (in.len != t->info_size || len != obv_rd_left(&r) || len % OBV_ILOG_SLOT != 0 || len == 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog info block: %llu bytes of slots in %zu", (unsigned long long)len,
                        in.len);
    *out = (obv_ilog_info){
        .slots = obv_rd_bytes(&r, len), .capacity = (uint32_t)(len / OBV_ILOG_SLOT), .cursor_end = t->info_at};
    return OBV_OK;
}

/* The raw slot. false: empty. */
static bool slot_read(const obv_ilog_info *info, uint32_t i, obv_ilog_slot *s)
{
    obv_rd r = obv_rd_of(obv_span_of(info->slots.p + (size_t)i * OBV_ILOG_SLOT, OBV_ILOG_SLOT));
    const uint8_t valid = obv_rd_u8(&r);
    (void)obv_rd_bytes(&r, 7);
    s->pg.table_id = obv_rd_le64(&r);
    s->pg.part_id = (int32_t)obv_rd_le32(&r);
    s->pg.assist = (int32_t)obv_rd_le32(&r);
    (void)obv_rd_le64(&r); /* the key's hash */
    s->min_log_id = obv_rd_le64(&r);
    s->max_log_id = obv_rd_le64(&r);
    s->min_ts = (int64_t)obv_rd_le64(&r);
    s->max_ts = (int64_t)obv_rd_le64(&r);
    s->cursors_at = obv_rd_le32(&r);
    return valid != 0;
}

static obv_code slot_check(const obv_ilog_info *info, const obv_ilog_slot *s, obv_err *err)
{
    const uint64_t room = s->cursors_at <= info->cursor_end ? (info->cursor_end - s->cursors_at) / OBV_ILOG_CURSOR : 0;
    /* UINT64_MAX is no log id, and a loop up to it would not end */
    if (s->min_log_id == 0 || s->max_log_id < s->min_log_id || s->max_log_id == UINT64_MAX ||
        s->max_log_id - s->min_log_id >= room || s->cursors_at % OBV_ILOG_CURSOR != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog slot of table %llu: logs %llu to %llu at %u of %u bytes",
                        (unsigned long long)s->pg.table_id, (unsigned long long)s->min_log_id,
                        (unsigned long long)s->max_log_id, s->cursors_at, info->cursor_end);
    return OBV_OK;
}

obv_code obv_ilog_slot_at(const obv_ilog_info *info, uint32_t i, obv_ilog_slot *out, obv_err *err)
{
    obv_assert(i < info->capacity);
    obv_ilog_slot s;
    if (!slot_read(info, i, &s))
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "ilog slot %u is empty", i);
    OBV_TRY(slot_check(info, &s, err));
    *out = s;
    return OBV_OK;
}

obv_code obv_ilog_find(const obv_ilog_info *info, const obv_pg_key *pg, obv_ilog_slot *out, obv_err *err)
{
    uint32_t i = (uint32_t)(obv_clog_key_hash(pg) % info->capacity);
    for (uint32_t probes = 0; probes < info->capacity; probes++, i = i + 1 == info->capacity ? 0 : i + 1) {
        obv_ilog_slot s;
        if (!slot_read(info, i, &s))
            break;
        if (!obv_pg_key_equal(&s.pg, pg))
            continue;
        OBV_TRY(slot_check(info, &s, err));
        *out = s;
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "no log of this PG in the ilog file");
}

obv_code obv_ilog_cursor_parse(obv_span in, obv_ilog_cursor *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    obv_ilog_cursor c = {.file_id = obv_rd_be32(&r)};
    c.offset = obv_rd_be32(&r);
    c.size = obv_rd_be32(&r);
    (void)obv_rd_be32(&r);
    c.accum = (int64_t)obv_rd_be64(&r);
    const uint64_t submit = obv_rd_be64(&r);
    OBV_TRY(obv_rd_done(&r, "ilog cursor", err));
    c.batch_committed = (submit & OBV_CLOG_BATCH_BIT) != 0;
    c.submit_ts = (int64_t)(submit & ~OBV_CLOG_BATCH_BIT);
    if (c.file_id == 0 || c.file_id == UINT32_MAX || c.offset < OBV_CLOG_BLOCK_HEADER || c.size == 0 ||
        c.size > OBV_CLOG_ENTRY_MAX || c.offset > OBV_CLOG_TRAILER_AT - c.size)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog cursor: file %u, %u bytes at %u", c.file_id, c.size, c.offset);
    *out = c;
    return OBV_OK;
}
