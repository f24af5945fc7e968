/* archive_index.h - 144-byte records of archive index files: what one finished data file holds (docs/format.md) */
#ifndef OBV_FORMAT_MEDIA_ARCHIVE_INDEX_H
#define OBV_FORMAT_MEDIA_ARCHIVE_INDEX_H

#include "base/err.h"
#include "base/span.h"
#include "format/media/archive_block.h"

#define OBV_ARCHIVE_INDEX_RECORD 144u
#define OBV_ARCHIVE_INDEX_MAX 65536u /* bytes of one index file: 455 records */
#define OBV_ARCHIVE_INDEX_RECORDS (OBV_ARCHIVE_INDEX_MAX / OBV_ARCHIVE_INDEX_RECORD)

typedef struct obv_archive_index {
    bool effective; /* the data file holds a usable block */
    uint64_t data_file_id;
    int64_t clog_epoch_id; /* of max_log_id */
    int64_t accum;         /* after max_log_id */
    uint64_t min_log_id;
    int64_t min_log_ts;
    uint64_t max_log_id;
    int64_t max_checkpoint_ts, max_log_submit_ts;
    obv_archive_base start;
} obv_archive_index;

/** Record at the start of @p in. OBV_E_CORRUPT: short, magic, length, version, checksum. */
OBV_CHECK obv_code obv_archive_index_parse(obv_span in, obv_archive_index *out, obv_err *err);
void obv_archive_index_emit(const obv_archive_index *r, obv_buf *out);
/** The little-endian image that checksums cover, OBV_ARCHIVE_INDEX_RECORD bytes including the checksum. */
void obv_archive_index_image(const obv_archive_index *r, uint8_t image[OBV_ARCHIVE_INDEX_RECORD]);

/* What a whole index file says, damaged records skipped as OceanBase skips them. */
typedef struct obv_archive_index_scan {
    uint32_t records; /* good ones */
    uint32_t damaged;
    obv_archive_index last; /* valid if records > 0 */
    bool has_effective;
    obv_archive_index last_effective; /* valid if has_effective */
} obv_archive_index_scan;
void obv_archive_index_scan_file(obv_span file, obv_archive_index_scan *out);

#endif
