/* macroblock.h - a macroblock, its meta and schema info: parse and validate (docs/format.md, "Macroblocks") */
#ifndef OBV_FORMAT_OB_MACROBLOCK_H
#define OBV_FORMAT_OB_MACROBLOCK_H

#include "format/ob/keys.h"

#define OBV_MACRO_BLOCK_SIZE (2u << 20) /* bytes of a block in the data file; occupy_size is at most this */
#define OBV_MACRO_META_MAX (256u << 10) /* bytes of meta and schema info together; more is corruption */

enum obv_macro_attr {
    OBV_MACRO_SSTABLE_DATA = 1,
    OBV_MACRO_LOB_DATA = 9,
    OBV_MACRO_LOB_INDEX = 10,
    OBV_MACRO_BLOOM_FILTER = 13,
};

/* ObMacroBlockMetaV2: raw little endian, packed, own 8-byte header */
typedef struct obv_macro_meta {
    int16_t attr;
    int64_t data_version;
    int16_t column_count, rowkey_column_count, column_index_scale, row_store_type;
    int32_t row_count, occupy_size;
    int64_t data_checksum;
    int32_t micro_block_count, micro_data_offset, micro_index_offset, micro_endkey_offset;
    obv_span column_checksums; /* 8 bytes LE each */
    obv_span end_key;          /* serialized ObRowkey; empty for a bloom filter */
    uint64_t table_id;
    int64_t data_seq, schema_version, snapshot_version;
    int64_t partition_id;
    int16_t column_checksum_method;
    int64_t encrypt_id;
    bool contain_uncommitted_row;
    int64_t max_merged_trans_version;
    obv_span bytes; /* as given */
} obv_macro_meta;

/* ObMacroBlockSchemaInfo: raw little endian, packed, own 8-byte header */
typedef struct obv_macro_schema {
    int16_t column_count, rowkey_column_count;
    int64_t schema_version;
    obv_span compressor; /* without its NUL */
    obv_span column_ids; /* 2 bytes each */
    obv_span column_types;
    obv_span column_orders;
    obv_span bytes;
} obv_macro_schema;

/** The meta at the start of @p s; *used = its total length, which its own header states. OBV_E_CORRUPT,
 *  OBV_E_UNSUPPORTED (version 1 metas of old releases). */
OBV_CHECK obv_code obv_macro_meta_parse(obv_span s, obv_macro_meta *out, size_t *used, obv_err *err);
OBV_CHECK obv_code obv_macro_schema_parse(obv_span s, obv_macro_schema *out, size_t *used, obv_err *err);
/** Both, one after the other, nothing left over: the "meta" string of the media. */
OBV_CHECK obv_code obv_macro_full_meta_parse(obv_span s, obv_macro_meta *meta, obv_macro_schema *schema, obv_err *err);

/**
 * Validates a block of exactly meta->occupy_size bytes against its meta and schema info: common header, payload
 * checksum, sstable or LOB header equal to the meta, every micro block's header and data checksum, and the chain of
 * data checksums. Column checksums are not recomputed (they need decoded rows). OBV_E_CORRUPT says which check failed
 * and where.
 */
OBV_CHECK obv_code obv_macro_block_check(const obv_macro_meta *meta, const obv_macro_schema *schema, obv_span block,
                                         obv_err *err);

#endif
