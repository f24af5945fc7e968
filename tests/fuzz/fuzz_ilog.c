/* Any bytes as an ilog file, its trailer's checksum made right: no slot leads outside the cursors, no cursor outside a
 * clog file.
 */
#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/codec.h"
#include "format/ob/ilog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void right_checksum(uint8_t *trailer)
{
    uint8_t image[32];
    obv_rd r = obv_rd_of(obv_span_of(trailer, 32));
    obv_buf b = obv_buf_fixed(image, sizeof image), sum = obv_buf_fixed(trailer + 32, 8);
    obv_put_le16(&b, obv_rd_be16(&r));
    obv_put_le16(&b, obv_rd_be16(&r));
    for (int i = 0; i < 5; i++)
        obv_put_le32(&b, obv_rd_be32(&r));
    obv_put_le64(&b, obv_rd_be64(&r));
    obv_put_be64(&sum, obv_crc64(0, obv_buf_span(&b)));
}

static void cursors(const uint8_t *file, const obv_ilog_slot *s, const obv_ilog_info *info)
{
    for (uint64_t log = s->min_log_id; log <= s->max_log_id && log - s->min_log_id < 64; log++) {
        const uint32_t at = obv_ilog_cursor_at(s, log);
        obv_assert(at + OBV_ILOG_CURSOR <= info->cursor_end);
        obv_ilog_cursor c;
        if (obv_ilog_cursor_parse(obv_span_of(file + at, OBV_ILOG_CURSOR), &c, NULL) == OBV_OK)
            obv_assert(c.offset + c.size <= OBV_CLOG_TRAILER_AT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OBV_ILOG_TRAILER_AREA)
        return 0;
    uint8_t *file = malloc(size);
    if (!file)
        return 0;
    memcpy(file, data, size);
    const size_t at = size - OBV_ILOG_TRAILER_AREA;
    right_checksum(file + at);
    obv_ilog_trailer t;
    obv_ilog_info info;
    if (obv_ilog_trailer_parse(obv_span_of(file + at, OBV_ILOG_TRAILER_AREA), size, &t, NULL) == OBV_OK &&
        obv_ilog_info_parse(obv_span_of(file + t.info_at, t.info_size), &t, &info, NULL) == OBV_OK) {
        for (uint32_t i = 0; i < info.capacity; i++) {
            obv_ilog_slot s, found;
            if (obv_ilog_slot_at(&info, i, &s, NULL) != OBV_OK)
                continue;
            cursors(file, &s, &info);
            if (obv_ilog_find(&info, &s.pg, &found, NULL) == OBV_OK)
                obv_assert(obv_pg_key_equal(&found.pg, &s.pg));
        }
    }
    free(file);
    return 0;
}
