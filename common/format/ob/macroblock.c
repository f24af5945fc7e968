#include "format/ob/macroblock.h"

#include "base/crc32c.h"

#include <inttypes.h>

enum { MAGIC_COMMON = 1001, MAGIC_SSTABLE = 1007, MAGIC_LOB = 1009, MAGIC_BLOOM = 1014 };
enum { MAGIC_MICRO = 1005, MAGIC_MICRO_LOB = 1010, MAGIC_MICRO_BLOOM = 1015 };
enum { COMMON_HEADER = 32, BLOOM_HEADER = 200 };
enum { SSTABLE_VERSION_WITH_ORDERS = 3, LOB_VERSION_WITH_ORDERS = 2 }; /* the newest ones of 3.1 */
enum { MICRO_HEADER_V2 = 32, MICRO_HEADER_V3_FIXED = 42 };
#define COMPRESSOR_FIELD 96u

static obv_code bad(obv_err *err, const char *what, int64_t got, int64_t want)
{
    return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: %s is %" PRId64 ", not %" PRId64, what, got, want);
}

#define MUST_BE(what, got, want)                                                                                       \
    do {                                                                                                               \
        if ((int64_t)(got) != (int64_t)(want))                                                                         \
            return bad(err, what, (int64_t)(got), (int64_t)(want));                                                    \
    } while (0)

/* Common header and the checksum over everything behind it. */
static obv_code check_common(const obv_macro_meta *meta, obv_span block, obv_err *err)
{
    obv_rd r = obv_rd_of(block);
    const uint32_t header_size = obv_rd_le32(&r);
    const uint32_t version = obv_rd_le32(&r);
    const uint32_t magic = obv_rd_le32(&r);
    const uint32_t attr = obv_rd_le32(&r);
    (void)obv_rd_le64(&r); /* data_version: covered by nothing, and OceanBase does not look at it here */
    const uint32_t payload_size = obv_rd_le32(&r);
    const uint32_t payload_checksum = obv_rd_le32(&r);
    OBV_TRY(obv_rd_check(&r, "macroblock common header", err));
    MUST_BE("common header size", header_size, COMMON_HEADER);
    MUST_BE("common header version", version, 1);
    MUST_BE("common magic", magic, MAGIC_COMMON);
    MUST_BE("kind of block", attr, meta->attr);
    if (payload_size == 0 && payload_checksum == 0)
        return OBV_OK; /* written by a very old release: the micro blocks' checksums are all there is */
    MUST_BE("payload size", payload_size, block.len - COMMON_HEADER);
    const uint64_t crc = obv_crc64(0, (obv_span){block.p + COMMON_HEADER, payload_size});
    MUST_BE("payload checksum", payload_checksum, (uint32_t)crc);
    return OBV_OK;
}

/* What the micro block loop needs of a sstable or LOB header. */
typedef struct inner {
    uint32_t data_offset, data_size;
    uint32_t micro_count;
    uint64_t data_checksum;
    int16_t micro_magic;
} inner;

static obv_code check_columns(obv_rd *r, bool is_lob, bool has_orders, const obv_macro_meta *meta,
                              const obv_macro_schema *schema, obv_err *err)
{
    const size_t n = (size_t)meta->column_count;
    const obv_span none = {r->p, 0};
    const obv_span ids = obv_rd_bytes(r, 2 * n);
    const obv_span types = obv_rd_bytes(r, 4 * n);
    const obv_span lob_sums = is_lob ? obv_rd_bytes(r, 8 * n) : none;
    const obv_span orders = has_orders ? obv_rd_bytes(r, 4 * n) : none;
    const obv_span sums = is_lob ? lob_sums : obv_rd_bytes(r, 8 * n);
    OBV_TRY(obv_rd_check(r, "macroblock column arrays", err));
    if (!obv_span_equal(ids, schema->column_ids) || !obv_span_equal(types, schema->column_types))
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: column ids or types are not those of the schema info");
    if (has_orders && !obv_span_equal(orders, schema->column_orders))
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: column orders are not those of the schema info");
    if (!obv_span_equal(sums, meta->column_checksums))
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: column checksums are not those of the meta");
    return OBV_OK;
}

/* ObSSTableMacroBlockHeader, or ObLobMacroBlockHeader, which has two words more and its arrays in another order. */
static obv_code check_header(const obv_macro_meta *meta, const obv_macro_schema *schema, obv_span block, inner *out,
                             obv_err *err)
{
    const bool is_lob = meta->attr != OBV_MACRO_SSTABLE_DATA;
    obv_rd r = obv_rd_of((obv_span){block.p + COMMON_HEADER, block.len - COMMON_HEADER});
    const uint32_t header_size = obv_rd_le32(&r);
    const uint32_t version = obv_rd_le32(&r);
    const uint32_t magic = obv_rd_le32(&r);
    (void)obv_rd_le32(&r); /* attr */
    const uint64_t table_id = obv_rd_le64(&r);
    const uint64_t data_version = obv_rd_le64(&r);
    const uint32_t columns = obv_rd_le32(&r);
    const uint32_t rowkey_columns = obv_rd_le32(&r);
    (void)obv_rd_le32(&r); /* column_index_scale */
    const uint32_t row_store = obv_rd_le32(&r);
    const uint32_t rows = obv_rd_le32(&r);
    const uint32_t occupy = obv_rd_le32(&r);
    const uint32_t micros = obv_rd_le32(&r);
    (void)obv_rd_le32(&r); /* micro_block_size */
    const uint32_t data_offset = obv_rd_le32(&r);
    const uint32_t data_size = obv_rd_le32(&r);
    const uint32_t index_offset = obv_rd_le32(&r);
    const uint32_t index_size = obv_rd_le32(&r);
    const uint32_t endkey_offset = obv_rd_le32(&r);
    const uint32_t endkey_size = obv_rd_le32(&r);
    const uint64_t data_checksum = obv_rd_le64(&r);
    const obv_span compressor = obv_rd_bytes(&r, COMPRESSOR_FIELD);
    (void)obv_rd_le64(&r);       /* encrypt_id */
    (void)obv_rd_le64(&r);       /* master_key_id */
    (void)obv_rd_bytes(&r, 16u); /* encrypt key */
    const uint64_t data_seq = obv_rd_le64(&r);
    const uint64_t partition_id = obv_rd_le64(&r);
    const uint32_t sizes_offset = is_lob ? obv_rd_le32(&r) : 0;
    const uint32_t sizes_size = is_lob ? obv_rd_le32(&r) : 0;
    OBV_TRY(obv_rd_check(&r, "macroblock header", err));

    MUST_BE("header magic", magic, is_lob ? MAGIC_LOB : MAGIC_SSTABLE);
    const uint32_t newest = is_lob ? LOB_VERSION_WITH_ORDERS : SSTABLE_VERSION_WITH_ORDERS;
    if (version < 1 || version > newest)
        return bad(err, "header version", version, newest);
    MUST_BE("table_id", table_id, meta->table_id);
    MUST_BE("data_version", data_version, meta->data_version);
    MUST_BE("data_seq", data_seq, meta->data_seq);
    MUST_BE("column count", columns, meta->column_count);
    MUST_BE("column count of the schema info", schema->column_count, meta->column_count);
    MUST_BE("row key column count", rowkey_columns, meta->rowkey_column_count);
    MUST_BE("row store type", row_store, meta->row_store_type);
    MUST_BE("row count", rows, meta->row_count);
    MUST_BE("occupy_size", occupy, meta->occupy_size);
    MUST_BE("micro block count", micros, meta->micro_block_count);
    MUST_BE("micro data offset", data_offset, meta->micro_data_offset);
    MUST_BE("micro index offset", index_offset, meta->micro_index_offset);
    /* a LOB block has no end keys: its meta gives the size array there */
    MUST_BE("end key offset", is_lob ? sizes_offset : endkey_offset, meta->micro_endkey_offset);
    MUST_BE("data checksum", data_checksum, meta->data_checksum);
    if (!is_lob)
        MUST_BE("partition_id", partition_id, meta->partition_id);
    if (schema->compressor.len >= COMPRESSOR_FIELD || compressor.p[schema->compressor.len] != 0 ||
        memcmp(compressor.p, schema->compressor.p, schema->compressor.len) != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: compressor name is not that of the schema info");

    const bool has_orders = version == newest;
    OBV_TRY(check_columns(&r, is_lob, has_orders, meta, schema, err));
    MUST_BE("header size", header_size, r.p - (block.p + COMMON_HEADER));
    MUST_BE("micro data offset", data_offset, r.p - block.p);
    const struct {
        const char *what;
        uint64_t offset, size;
    } areas[] = {{"micro blocks", data_offset, data_size},
                 {"micro index", index_offset, index_size},
                 {"end keys", endkey_offset, endkey_size},
                 {"size array", sizes_offset, sizes_size}};
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        if (areas[i].offset + areas[i].size > block.len)
            return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: %s reach past its end", areas[i].what);
    *out = (inner){.data_offset = data_offset,
                   .data_size = data_size,
                   .micro_count = micros,
                   .data_checksum = (uint64_t)meta->data_checksum,
                   .micro_magic = is_lob ? MAGIC_MICRO_LOB : MAGIC_MICRO};
    return OBV_OK;
}

static obv_code check_bloom_header(const obv_macro_meta *meta, obv_span block, inner *out, obv_err *err)
{
    obv_rd r = obv_rd_of((obv_span){block.p + COMMON_HEADER, block.len - COMMON_HEADER});
    const uint32_t header_size = obv_rd_le32(&r);
    (void)obv_rd_le32(&r); /* version */
    const uint32_t magic = obv_rd_le32(&r);
    (void)obv_rd_le32(&r); /* attr */
    const uint64_t table_id = obv_rd_le64(&r);
    (void)obv_rd_le64(&r); /* partition_id */
    const uint64_t data_version = obv_rd_le64(&r);
    (void)obv_rd_le32(&r); /* row key columns */
    (void)obv_rd_le32(&r); /* row count */
    const uint32_t occupy = obv_rd_le32(&r);
    const uint32_t micros = obv_rd_le32(&r);
    const uint32_t data_offset = obv_rd_le32(&r);
    const uint32_t data_size = obv_rd_le32(&r);
    const uint64_t data_checksum = obv_rd_le64(&r);
    OBV_TRY(obv_rd_check(&r, "bloom filter header", err));
    MUST_BE("header magic", magic, MAGIC_BLOOM);
    MUST_BE("header size", header_size, BLOOM_HEADER);
    MUST_BE("table_id", table_id, meta->table_id);
    MUST_BE("data_version", data_version, meta->data_version);
    MUST_BE("occupy_size", occupy, meta->occupy_size);
    MUST_BE("micro block count", micros, meta->micro_block_count);
    MUST_BE("data checksum", data_checksum, meta->data_checksum);
    if (data_offset < COMMON_HEADER + BLOOM_HEADER || (uint64_t)data_offset + data_size > block.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "bloom filter: its data reach past its end");
    *out = (inner){.data_offset = data_offset,
                   .data_size = data_size,
                   .micro_count = micros,
                   .data_checksum = data_checksum,
                   .micro_magic = MAGIC_MICRO_BLOOM};
    return OBV_OK;
}

/* One micro block at the reader: header checksum, data checksum; adds its data checksum to the chain. */
static obv_code check_micro(obv_rd *r, const inner *in, uint64_t *chain, obv_err *err)
{
    const int16_t magic = (int16_t)obv_rd_le16(r);
    const int8_t header_length = (int8_t)obv_rd_u8(r);
    const int8_t version = (int8_t)obv_rd_u8(r);
    const uint16_t header_checksum = obv_rd_le16(r);
    const uint16_t reserved = obv_rd_le16(r);
    const uint64_t data_length = obv_rd_le64(r);
    const uint64_t stored_length = obv_rd_le64(r);
    const uint8_t *checksum_at = r->p;
    const uint64_t data_checksum = obv_rd_le64(r);
    uint16_t fold = (uint16_t)((uint16_t)magic ^ (uint8_t)header_length ^ (uint8_t)version ^ reserved);
    fold ^= (uint16_t)(obv_fold64(data_length) ^ obv_fold64(stored_length) ^ obv_fold64(data_checksum));
    if (version == 3) {
        fold ^= obv_fold32(obv_rd_le32(r)); /* encoding length */
        fold ^= obv_fold32(obv_rd_le32(r)); /* row count */
        const uint16_t columns = obv_rd_le16(r);
        fold ^= columns;
        for (uint16_t i = 0; i < columns && !r->bad; i++)
            fold ^= obv_fold64(obv_rd_le64(r));
    }
    OBV_TRY(obv_rd_check(r, "micro block header", err));
    MUST_BE("micro magic", magic, in->micro_magic);
    if (version != 2 && version != 3)
        return bad(err, "micro header version", version, 3);
    MUST_BE("micro header checksum", header_checksum, fold);
    if (stored_length > obv_rd_left(r))
        return obv_fail(err, OBV_E_CORRUPT, 0, "micro block: %" PRIu64 " bytes, but only %zu are left", stored_length,
                        obv_rd_left(r));
    const obv_span stored = obv_rd_bytes(r, (size_t)stored_length);
    MUST_BE("micro data checksum", data_checksum, obv_crc64(0, stored));
    *chain = obv_crc64(*chain, (obv_span){checksum_at, 8});
    return OBV_OK;
}

obv_code obv_macro_block_check(const obv_macro_meta *meta, const obv_macro_schema *schema, obv_span block, obv_err *err)
{
    MUST_BE("length", block.len, meta->occupy_size);
    if (block.len < COMMON_HEADER + BLOOM_HEADER)
        return obv_fail(err, OBV_E_CORRUPT, 0, "macroblock: only %zu bytes", block.len);
    OBV_TRY(check_common(meta, block, err));
    inner in = {0};
    OBV_TRY(meta->attr == OBV_MACRO_BLOOM_FILTER ? check_bloom_header(meta, block, &in, err)
                                                 : check_header(meta, schema, block, &in, err));
    obv_rd r = obv_rd_of((obv_span){block.p + in.data_offset, in.data_size});
    uint64_t chain = 0;
    for (uint32_t i = 0; i < in.micro_count; i++) {
        const obv_code code = check_micro(&r, &in, &chain, err);
        if (code != OBV_OK) {
            (void)!obv_wrap(err, "micro block %u", i); /* err may be NULL: the code is told all the same */
            return code;
        }
    }
    MUST_BE("bytes behind the last micro block", obv_rd_left(&r), 0);
    MUST_BE("chain of data checksums", chain, in.data_checksum);
    return OBV_OK;
}
