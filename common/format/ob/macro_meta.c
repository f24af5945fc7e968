/* metas that travel with a macroblock: ObMacroBlockMetaV2 and ObMacroBlockSchemaInfo */
#include "format/ob/macroblock.h"

enum { META_VERSION = 2, SCHEMA_VERSION = 1, OWN_HEADER = 8 };
#define COLUMNS_MAX 8192
#define ROWKEY_COLUMNS_MAX 128u
#define OBJ_MIN 4u     /* bytes of an object without a value */
#define FIXED_TAIL 106 /* bytes behind the end key */
#define ENCRYPT_KEY_BYTES 16u
#define COMPRESSOR_NAME_MAX 128u

/* Enters one of the two raw structs: total size and version lead. The reader is strict: nothing may be absent. */
static obv_code enter(obv_span s, const char *what, uint32_t version, obv_rd *body, size_t *used, obv_err *err)
{
    obv_rd r = obv_rd_of(s);
    const uint32_t total = obv_rd_le32(&r);
    const uint32_t got = obv_rd_le32(&r);
    OBV_TRY(obv_rd_check(&r, what, err));
    if (got != version)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "%s: version %u", what, got);
    if (total < OWN_HEADER || total > s.len || total > OBV_MACRO_META_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s: total length %u of %zu bytes", what, total, s.len);
    *body = obv_rd_of((obv_span){s.p + OWN_HEADER, total - OWN_HEADER});
    *used = total;
    return OBV_OK;
}

/*
 * The end key of a data block, up to the fixed fields behind it. Its objects are not decoded: row keys may have types
 * whose encoding only matters to a reader of rows, and the fixed fields are always complete (a 3.1 server writes the
 * meta anew from memory).
 */
static obv_span read_end_key(obv_rd *r)
{
    if (r->bad || obv_rd_left(r) < FIXED_TAIL) {
        r->bad = true;
        return (obv_span){r->p, 0};
    }
    const obv_span key = obv_rd_bytes(r, obv_rd_left(r) - FIXED_TAIL);
    obv_rd inside = obv_rd_of(key);
    (void)obv_rd_count(&inside, ROWKEY_COLUMNS_MAX, OBJ_MIN);
    r->bad |= inside.bad;
    return key;
}

obv_code obv_macro_meta_parse(obv_span s, obv_macro_meta *out, size_t *used, obv_err *err)
{
    obv_macro_meta m = {0};
    obv_rd r;
    size_t total = 0;
    OBV_TRY(enter(s, "macroblock meta", META_VERSION, &r, &total, err));
    m.bytes = (obv_span){s.p, total};
    m.attr = (int16_t)obv_rd_le16(&r);
    m.data_version = (int64_t)obv_rd_le64(&r);
    if (!r.bad && m.attr != OBV_MACRO_SSTABLE_DATA && m.attr != OBV_MACRO_LOB_DATA && m.attr != OBV_MACRO_LOB_INDEX &&
        m.attr != OBV_MACRO_BLOOM_FILTER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock meta: kind of block %d", m.attr);
    m.column_count = (int16_t)obv_rd_le16(&r);
    m.rowkey_column_count = (int16_t)obv_rd_le16(&r);
    m.column_index_scale = (int16_t)obv_rd_le16(&r);
    m.row_store_type = (int16_t)obv_rd_le16(&r);
    m.row_count = (int32_t)obv_rd_le32(&r);
    m.occupy_size = (int32_t)obv_rd_le32(&r);
    m.data_checksum = (int64_t)obv_rd_le64(&r);
    m.micro_block_count = (int32_t)obv_rd_le32(&r);
    m.micro_data_offset = (int32_t)obv_rd_le32(&r);
    m.micro_index_offset = (int32_t)obv_rd_le32(&r);
    m.micro_endkey_offset = (int32_t)obv_rd_le32(&r);
    if (!r.bad && (m.column_count < 0 || m.column_count > COLUMNS_MAX))
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock meta: %d columns", m.column_count);
    m.column_checksums = obv_rd_bytes(&r, 8u * (size_t)m.column_count);
    m.end_key = (obv_span){r.p, 0};
    if (m.attr != OBV_MACRO_BLOOM_FILTER)
        m.end_key = read_end_key(&r);
    m.table_id = obv_rd_le64(&r);
    m.data_seq = (int64_t)obv_rd_le64(&r);
    m.schema_version = (int64_t)obv_rd_le64(&r);
    m.snapshot_version = (int64_t)obv_rd_le64(&r);
    (void)obv_rd_le16(&r); /* schema_rowkey_col_cnt */
    (void)obv_rd_le32(&r); /* row_count_delta */
    (void)obv_rd_le32(&r); /* micro_block_mark_deletion_offset */
    (void)obv_rd_u8(&r);   /* macro_block_deletion_flag */
    (void)obv_rd_le32(&r); /* micro_block_delta_offset */
    m.partition_id = (int64_t)obv_rd_le64(&r);
    m.column_checksum_method = (int16_t)obv_rd_le16(&r);
    (void)obv_rd_le64(&r); /* progressive_merge_round */
    m.encrypt_id = (int64_t)obv_rd_le64(&r);
    (void)obv_rd_le64(&r); /* master_key_id */
    (void)obv_rd_bytes(&r, ENCRYPT_KEY_BYTES);
    m.contain_uncommitted_row = obv_rd_bool(&r);
    m.max_merged_trans_version = (int64_t)obv_rd_le64(&r);
    OBV_TRY(obv_rd_check(&r, "macroblock meta", err));
    if (m.occupy_size <= 0 || m.occupy_size > (int32_t)OBV_MACRO_BLOCK_SIZE)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock meta: occupies %d bytes", (int)m.occupy_size);
    *out = m;
    *used = total;
    return OBV_OK;
}

obv_code obv_macro_schema_parse(obv_span s, obv_macro_schema *out, size_t *used, obv_err *err)
{
    obv_macro_schema m = {0};
    obv_rd r;
    size_t total = 0;
    OBV_TRY(enter(s, "macroblock schema info", SCHEMA_VERSION, &r, &total, err));
    m.bytes = (obv_span){s.p, total};
    m.column_count = (int16_t)obv_rd_le16(&r);
    m.rowkey_column_count = (int16_t)obv_rd_le16(&r);
    m.schema_version = (int64_t)obv_rd_le64(&r);
    (void)obv_rd_le16(&r); /* schema_rowkey_col_cnt */
    const uint8_t *nul = r.bad ? NULL : memchr(r.p, 0, obv_rd_left(&r));
    if (!nul || m.column_count < 0 || m.column_count > COLUMNS_MAX || (size_t)(nul - r.p) >= COMPRESSOR_NAME_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock schema info: %d columns, or no compressor name",
                        m.column_count);
    m.compressor = obv_rd_bytes(&r, (size_t)(nul - r.p));
    (void)obv_rd_u8(&r);
    m.column_ids = obv_rd_bytes(&r, 2u * (size_t)m.column_count);
    m.column_types = obv_rd_bytes(&r, 4u * (size_t)m.column_count);
    m.column_orders = obv_rd_bytes(&r, 4u * (size_t)m.column_count);
    OBV_TRY(obv_rd_check(&r, "macroblock schema info", err));
    *out = m;
    *used = total;
    return OBV_OK;
}

obv_code obv_macro_full_meta_parse(obv_span s, obv_macro_meta *meta, obv_macro_schema *schema, obv_err *err)
{
    obv_macro_meta m;
    obv_macro_schema c;
    size_t meta_len = 0;
    size_t schema_len = 0;
    OBV_TRY(obv_macro_meta_parse(s, &m, &meta_len, err));
    OBV_TRY(obv_macro_schema_parse((obv_span){s.p + meta_len, s.len - meta_len}, &c, &schema_len, err));
    if (meta_len + schema_len != s.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock meta: %zu bytes too many", s.len - meta_len - schema_len);
    *meta = m;
    *schema = c;
    return OBV_OK;
}
