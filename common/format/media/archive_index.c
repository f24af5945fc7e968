/* archive_index.c - records of archive index files */
#include "format/media/archive_index.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"

#define MAGIC_INDEX 0x4149u
#define INDEX_VERSION 1u

enum { WORDS = 16 }; /* between the four 16-bit words and the checksum */

static void words_of(const obv_archive_index *r, uint64_t w[WORDS])
{
    const uint64_t all[WORDS] = {
        r->data_file_id,
        0, /* input and output bytes: never filled by OceanBase */
        0,
        (uint64_t)r->clog_epoch_id,
        (uint64_t)r->accum,
        r->min_log_id,
        (uint64_t)r->min_log_ts,
        r->max_log_id,
        (uint64_t)r->max_checkpoint_ts,
        (uint64_t)r->max_log_submit_ts,
        (uint64_t)r->start.start_ts,
        r->start.start_log_id,
        (uint64_t)r->start.snapshot_version,
        (uint64_t)r->start.log_submit_ts,
        (uint64_t)r->start.clog_epoch_id,
        (uint64_t)r->start.accum,
    };
    memcpy(w, all, sizeof all);
}

/* Little-endian image without its checksum. */
static uint64_t image_of(uint16_t effective, const uint64_t w[WORDS], uint8_t image[OBV_ARCHIVE_INDEX_RECORD])
{
    obv_buf b = obv_buf_fixed(image, OBV_ARCHIVE_INDEX_RECORD);
    obv_put_le16(&b, MAGIC_INDEX);
    obv_put_le16(&b, OBV_ARCHIVE_INDEX_RECORD);
    obv_put_le16(&b, INDEX_VERSION);
    obv_put_le16(&b, effective);
    for (unsigned i = 0; i < WORDS; i++)
        obv_put_le64(&b, w[i]);
    const uint64_t sum = obv_crc64(0, obv_buf_span(&b));
    obv_put_le64(&b, sum);
    obv_assert(!b.failed && b.len == OBV_ARCHIVE_INDEX_RECORD);
    return sum;
}

void obv_archive_index_image(const obv_archive_index *r, uint8_t image[OBV_ARCHIVE_INDEX_RECORD])
{
    uint64_t w[WORDS];
    words_of(r, w);
    (void)image_of(r->effective ? 1 : 0, w, image);
}

obv_code obv_archive_index_parse(obv_span in, obv_archive_index *out, obv_err *err)
{
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), len = obv_rd_be16(&r);
    const uint16_t version = obv_rd_be16(&r), effective = obv_rd_be16(&r);
    uint64_t w[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        w[i] = obv_rd_be64(&r);
    const uint64_t checksum = obv_rd_be64(&r);
    OBV_TRY(obv_rd_check(&r, "archive index record", err));
    if (magic != MAGIC_INDEX || len != OBV_ARCHIVE_INDEX_RECORD || version != INDEX_VERSION || effective > 1)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive index record: magic %04x length %u version %u", magic, len,
                        version);
    uint8_t image[OBV_ARCHIVE_INDEX_RECORD];
    if (image_of(effective, w, image) != checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive index record: checksum differs");
    *out = (obv_archive_index){
        .effective = effective == 1,
        .data_file_id = w[0],
        .clog_epoch_id = (int64_t)w[3],
        .accum = (int64_t)w[4],
        .min_log_id = w[5],
        .min_log_ts = (int64_t)w[6],
        .max_log_id = w[7],
        .max_checkpoint_ts = (int64_t)w[8],
        .max_log_submit_ts = (int64_t)w[9],
        .start =
            {
                .start_ts = (int64_t)w[10],
                .start_log_id = w[11],
                .snapshot_version = (int64_t)w[12],
                .log_submit_ts = (int64_t)w[13],
                .clog_epoch_id = (int64_t)w[14],
                .accum = (int64_t)w[15],
            },
    };
    return OBV_OK;
}

void obv_archive_index_emit(const obv_archive_index *r, obv_buf *out)
{
    uint64_t w[WORDS];
    words_of(r, w);
    uint8_t image[OBV_ARCHIVE_INDEX_RECORD];
    const uint64_t sum = image_of(r->effective ? 1 : 0, w, image);
    obv_put_be16(out, MAGIC_INDEX);
    obv_put_be16(out, OBV_ARCHIVE_INDEX_RECORD);
    obv_put_be16(out, INDEX_VERSION);
    obv_put_be16(out, r->effective ? 1 : 0);
    for (unsigned i = 0; i < WORDS; i++)
        obv_put_be64(out, w[i]);
    obv_put_be64(out, sum);
}

void obv_archive_index_scan_file(obv_span file, obv_archive_index_scan *out)
{
    *out = (obv_archive_index_scan){0};
    for (size_t at = 0; file.len - at >= OBV_ARCHIVE_INDEX_RECORD; at += OBV_ARCHIVE_INDEX_RECORD) {
        obv_archive_index r;
        if (obv_archive_index_parse(obv_span_of(file.p + at, OBV_ARCHIVE_INDEX_RECORD), &r, NULL) != OBV_OK) {
            out->damaged++;
            continue;
        }
        out->records++;
        out->last = r;
        if (r.effective) {
            out->has_effective = true;
            out->last_effective = r;
        }
    }
}
