/* archive_infos.c - the log archive's info files */
#include "format/media/archive_infos.h"

#include "base/crc32c.h"
#include "format/media/common_header.h"
#include "format/ob/codec.h"

#include <stdio.h>

#define DATA_VERSION 1u
#define BODY_MAX (64u << 20) /* bytes of a body under construction */

/* ---- elements */

static void put_round(obv_buf *b, const obv_archive_round *r)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vu64(b, r->tenant_id);
    obv_put_vi64(b, r->start_ts);
    obv_put_vi64(b, r->checkpoint_ts);
    obv_put_vi64(b, r->incarnation);
    obv_put_vi64(b, r->round);
    obv_put_vi32(b, (int32_t)r->status);
    obv_put_u8(b, r->mark_deleted);
    obv_put_u8(b, r->mount_file_created);
    obv_put_vi32(b, (int32_t)r->compatible);
    obv_put_vi64(b, r->piece_id);
    obv_put_vi64(b, r->start_piece_id);
    obv_unis_end(b, mark);
}

static void get_round(obv_rd *from, obv_archive_round *r)
{
    obv_rd b = obv_rd_unis(from, 1);
    r->tenant_id = obv_rd_vu64(&b);
    r->start_ts = obv_rd_vi64(&b);
    r->checkpoint_ts = obv_rd_vi64(&b);
    r->incarnation = obv_rd_vi64(&b);
    r->round = obv_rd_vi64(&b);
    r->status = (enum obv_archive_status)obv_rd_vi32(&b);
    r->mark_deleted = obv_rd_bool(&b);
    r->mount_file_created = obv_rd_bool(&b);
    r->compatible = obv_rd_vi32(&b);
    r->piece_id = obv_rd_vi64(&b);
    r->start_piece_id = obv_rd_vi64(&b);
    from->bad |= b.bad;
}

static void put_piece(obv_buf *b, const obv_archive_piece *p)
{
    const size_t mark = obv_unis_begin(b, 1);
    obv_put_vi64(b, p->incarnation);
    obv_put_vu64(b, p->tenant_id);
    obv_put_vi64(b, p->round);
    obv_put_vi64(b, p->piece_id);
    obv_put_vi64(b, p->copy_id);
    obv_put_vi64(b, p->create_date);
    obv_put_vi64(b, p->start_ts);
    obv_put_vi64(b, p->checkpoint_ts);
    obv_put_vi64(b, p->max_ts);
    obv_put_vi32(b, (int32_t)p->status);
    obv_put_vi32(b, (int32_t)p->file_status);
    obv_put_fixed_str(b, p->backup_dest);
    obv_put_vi32(b, (int32_t)p->compatible);
    obv_put_vi64(b, p->start_piece_id);
    obv_unis_end(b, mark);
}

static void get_piece(obv_rd *from, obv_archive_piece *p)
{
    obv_rd b = obv_rd_unis(from, 1);
    p->incarnation = obv_rd_vi64(&b);
    p->tenant_id = obv_rd_vu64(&b);
    p->round = obv_rd_vi64(&b);
    p->piece_id = obv_rd_vi64(&b);
    p->copy_id = obv_rd_vi64(&b);
    p->create_date = obv_rd_vi64(&b);
    p->start_ts = obv_rd_vi64(&b);
    p->checkpoint_ts = obv_rd_vi64(&b);
    p->max_ts = obv_rd_vi64(&b);
    p->status = (enum obv_piece_status)obv_rd_vi32(&b);
    p->file_status = (enum obv_piece_file_status)obv_rd_vi32(&b);
    const obv_span dest = obv_rd_fixed_str(&b, OBV_ARCHIVE_DEST_MAX);
    p->compatible = obv_rd_vi32(&b);
    p->start_piece_id = obv_rd_vi64(&b);
    from->bad |= b.bad || dest.len >= OBV_ARCHIVE_DEST_MAX;
    if (from->bad)
        return;
    if (dest.len > 0)
        memcpy(p->backup_dest, dest.p, dest.len);
    p->backup_dest[dest.len] = '\0';
}

/* ---- files */

static void finish(obv_buf *body, enum obv_file_type type, obv_buf *out)
{
    if (body->failed)
        out->failed = true;
    else
        obv_put_info_file(out, (uint16_t)type, DATA_VERSION, obv_buf_span(body));
    obv_buf_fini(body);
}

void obv_archive_rounds_emit(const obv_archive_round *rounds, size_t n, obv_buf *out)
{
    obv_buf body = obv_buf_heap(BODY_MAX);
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++)
        put_round(&body, &rounds[i]);
    obv_unis_end(&body, mark);
    finish(&body, OBV_FILE_LOG_ARCHIVE_INFO, out);
}

void obv_archive_pieces_emit(const obv_archive_piece *pieces, size_t n, obv_buf *out)
{
    obv_buf body = obv_buf_heap(BODY_MAX);
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++)
        put_piece(&body, &pieces[i]);
    obv_unis_end(&body, mark);
    finish(&body, OBV_FILE_PIECE_INFO, out);
}

void obv_archive_single_piece_emit(const obv_archive_piece *p, obv_buf *out)
{
    obv_buf body = obv_buf_heap(BODY_MAX);
    put_piece(&body, p);
    finish(&body, OBV_FILE_SINGLE_PIECE_INFO, out);
}

void obv_archive_mount_file_emit(int64_t round, obv_buf *out)
{
    char text[24];
    const int n = snprintf(text, sizeof text, "%lld", (long long)round);
    obv_buf_append(out, text, (size_t)n);
}

void obv_archive_server_start_emit(int64_t round, int64_t start_ts, obv_buf *out)
{
    uint8_t image[16];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le64(&b, (uint64_t)round);
    obv_put_le64(&b, (uint64_t)start_ts);
    obv_put_be64(out, obv_crc64(0, obv_buf_span(&b)));
    obv_put_be64(out, (uint64_t)round);
    obv_put_be64(out, (uint64_t)start_ts);
}

/* ---- readers */

#define ROUND_MIN_BYTES 17u /* envelope and one byte a member */
#define PIECE_MIN_BYTES 26u

obv_code obv_archive_rounds_parse(obv_span file, obv_archive_round **out, size_t *n, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_LOG_ARCHIVE_INFO, &payload, err));
    obv_rd r = obv_rd_of(payload);
    size_t count = 0;
    obv_rd body = {0};
    if (payload.len > 0) {
        body = obv_rd_unis(&r, 1);
        count = obv_rd_count(&body, OBV_ARCHIVE_MAX_ROUNDS, ROUND_MIN_BYTES);
    }
    OBV_AUTO(obv_freep) obv_archive_round *list = calloc(count + 1, sizeof *list);
    if (!list)
        return obv_fail(err, OBV_E_NOMEM, 0, "list of archive rounds");
    for (size_t i = 0; i < count && !body.bad; i++)
        get_round(&body, &list[i]);
    OBV_TRY(obv_rd_check(&body, "list of archive rounds", err));
    OBV_TRY(obv_rd_done(&r, "list of archive rounds", err));
    *out = OBV_STEAL(list);
    *n = count;
    return OBV_OK;
}

obv_code obv_archive_pieces_parse(obv_span file, obv_archive_piece **out, size_t *n, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_PIECE_INFO, &payload, err));
    obv_rd r = obv_rd_of(payload);
    size_t count = 0;
    obv_rd body = {0};
    if (payload.len > 0) {
        body = obv_rd_unis(&r, 1);
        count = obv_rd_count(&body, OBV_ARCHIVE_MAX_ROUNDS, PIECE_MIN_BYTES);
    }
    OBV_AUTO(obv_freep) obv_archive_piece *list = calloc(count + 1, sizeof *list);
    if (!list)
        return obv_fail(err, OBV_E_NOMEM, 0, "list of archive pieces");
    for (size_t i = 0; i < count && !body.bad; i++)
        get_piece(&body, &list[i]);
    OBV_TRY(obv_rd_check(&body, "list of archive pieces", err));
    OBV_TRY(obv_rd_done(&r, "list of archive pieces", err));
    *out = OBV_STEAL(list);
    *n = count;
    return OBV_OK;
}

obv_code obv_archive_single_piece_parse(obv_span file, obv_archive_piece *out, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_SINGLE_PIECE_INFO, &payload, err));
    obv_rd r = obv_rd_of(payload);
    obv_archive_piece p = {0};
    get_piece(&r, &p);
    OBV_TRY(obv_rd_done(&r, "single_piece_info", err));
    *out = p;
    return OBV_OK;
}

obv_code obv_archive_server_start_parse(obv_span file, int64_t *round, int64_t *start_ts, obv_err *err)
{
    obv_rd r = obv_rd_of(file);
    const uint64_t checksum = obv_rd_be64(&r), number = obv_rd_be64(&r), start = obv_rd_be64(&r);
    OBV_TRY(obv_rd_done(&r, "archive start of a server", err));
    uint8_t image[16];
    obv_buf b = obv_buf_fixed(image, sizeof image);
    obv_put_le64(&b, number);
    obv_put_le64(&b, start);
    if (obv_crc64(0, obv_buf_span(&b)) != checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "archive start of a server: checksum differs");
    *round = (int64_t)number;
    *start_ts = (int64_t)start;
    return OBV_OK;
}
