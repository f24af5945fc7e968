/* common_header.h - the 48-byte header in front of every block and info file (docs/format.md, "Common header") */
#ifndef OBV_FORMAT_MEDIA_COMMON_HEADER_H
#define OBV_FORMAT_MEDIA_COMMON_HEADER_H

#include "base/span.h"

#define OBV_COMMON_HEADER_LEN 48u
#define OBV_BLOCK_ALIGN 4096u

enum obv_file_type {
    OBV_FILE_META = 0,
    OBV_FILE_MACRO_DATA = 1,
    OBV_FILE_META_INDEX = 2,
    OBV_FILE_MACRO_INDEX = 3,
    OBV_FILE_LOG_ARCHIVE_INFO = 5,
    OBV_FILE_BACKUP_INFO = 6,
    OBV_FILE_BACKUP_SET_INFO = 7,
    OBV_FILE_PG_LIST = 8,
    OBV_FILE_TENANT_INFO = 9,
    OBV_FILE_END_MARK = 10,
    OBV_FILE_TENANT_LOCALITY = 12,
    OBV_FILE_TENANT_DIAGNOSE = 13,
    OBV_FILE_TENANT_NAME = 14,
    OBV_FILE_PIECE_INFO = 15,
    OBV_FILE_SINGLE_PIECE_INFO = 16,
    OBV_FILE_SET_FILE_INFO = 17,
    OBV_FILE_TYPE_END = 0x414C,
};

typedef struct obv_common_header {
    uint16_t data_type;
    uint16_t data_version; /* not covered by any checksum */
    uint16_t compressor;   /* 1 = none */
    uint64_t data_len;     /* payload, without padding */
    uint64_t stored_len;   /* == data_len: 3.1 never compresses here */
    uint64_t data_checksum;
    uint64_t align_len; /* bytes of padding behind the payload */
} obv_common_header;

/** Appends the 48 bytes (header version 1, compressor none unless set, header checksum computed). */
void obv_put_common_header(obv_buf *b, const obv_common_header *h);
/** The header at the start of @p in, with all checks OceanBase makes. OBV_E_CORRUPT, OBV_E_UNSUPPORTED. */
OBV_CHECK obv_code obv_common_header_parse(obv_span in, obv_common_header *out, obv_err *err);
/** Header and payload at the start of @p in: the payload is there and its checksum right; *total counts the padding
 * too. */
OBV_CHECK obv_code obv_common_block_parse(obv_span in, obv_common_header *out, obv_span *payload, size_t *total,
                                          obv_err *err);

/** A whole info file: header (align 0), payload. */
void obv_put_info_file(obv_buf *b, uint16_t data_type, uint16_t data_version, obv_span payload);
/** Payload of a whole info file of @p data_type. An empty file (0 bytes) gives an empty payload. */
OBV_CHECK obv_code obv_info_file_parse(obv_span file, uint16_t data_type, obv_span *payload, obv_err *err);

#endif
