/* archive_key.c - the archive_key file */
#include "format/media/archive_key.h"

#include "base/crc32c.h"
#include "format/ob/codec.h"

#define MAGIC_KEY 0x414bu
#define KEY_VERSION 1u

static uint64_t checksum_of(const obv_archive_key *k)
{
    uint8_t image[OBV_ARCHIVE_KEY_BYTES - 8];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le16(&b, MAGIC_KEY);
    obv_put_le16(&b, KEY_VERSION);
    obv_put_le16(&b, k->first_piece ? 1 : 0);
    obv_put_le16(&b, 0);
    obv_put_le64(&b, k->max_index_file_id);
    uint8_t record[OBV_ARCHIVE_INDEX_RECORD];
    obv_archive_index_image(&k->state, record);
    obv_buf_append(&b, record, sizeof record);
    obv_assert(!b.failed && b.len == sizeof image);
    return obv_crc64(0, obv_buf_span(&b));
}

obv_code obv_archive_key_parse(obv_span in, obv_archive_key *out, obv_err *err)
{
    if (in.len != OBV_ARCHIVE_KEY_BYTES)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive_key: %zu bytes", in.len);
    obv_rd r = obv_rd_of(in);
    const uint16_t magic = obv_rd_be16(&r), version = obv_rd_be16(&r);
    const uint16_t first = obv_rd_be16(&r), zero = obv_rd_be16(&r);
    obv_archive_key k = {.first_piece = first == 1, .max_index_file_id = obv_rd_be64(&r)};
    const obv_span record = obv_rd_bytes(&r, OBV_ARCHIVE_INDEX_RECORD);
    const uint64_t checksum = obv_rd_be64(&r);
    OBV_TRY(obv_rd_done(&r, "archive_key", err));
    if (magic != MAGIC_KEY || version != KEY_VERSION || first > 1 || zero != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive_key: magic %04x version %u", magic, version);
    OBV_TRY(obv_archive_index_parse(record, &k.state, err));
    if (checksum_of(&k) != checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive_key: checksum differs");
    *out = k;
    return OBV_OK;
}

void obv_archive_key_emit(const obv_archive_key *k, obv_buf *out)
{
    obv_put_be16(out, MAGIC_KEY);
    obv_put_be16(out, KEY_VERSION);
    obv_put_be16(out, k->first_piece ? 1 : 0);
    obv_put_be16(out, 0);
    obv_put_be64(out, k->max_index_file_id);
    obv_archive_index_emit(&k->state, out);
    obv_put_be64(out, checksum_of(k));
}

obv_archive_key obv_archive_key_first(const obv_archive_base *s, int64_t checkpoint_ts)
{
    return (obv_archive_key){
        .first_piece = true,
        .state =
            {
                .clog_epoch_id = s->clog_epoch_id,
                .accum = s->accum,
                .min_log_id = s->start_log_id - 1,
                .min_log_ts = s->log_submit_ts,
                .max_log_id = s->start_log_id - 1,
                .max_checkpoint_ts = checkpoint_ts,
                .max_log_submit_ts = s->log_submit_ts,
                .start = *s,
            },
    };
}
