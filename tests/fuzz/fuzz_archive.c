/* Any bytes as archive media: blocks with right checksums and their payloads, index files, archive_key, info files */
#include "base/crc32c.h"
#include "format/media/archive_infos.h"
#include "format/media/archive_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void payload(obv_span in)
{
    obv_buf scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    obv_span raw;
    if (obv_archive_payload_unpack(in, &scratch, &raw, NULL) == OBV_OK) {
        for (size_t at = 0; at < raw.len;) {
            obv_clog_entry e;
            obv_archive_kickoff k;
            if (obv_clog_entry_parse(obv_span_of(raw.p + at, raw.len - at), &e, NULL) != OBV_OK)
                break;
            const obv_span body = obv_span_of(raw.p + at + 105, raw.len - at - 105);
            if (obv_clog_entry_check_data(&e, body, NULL) != OBV_OK)
                break;
            if (obv_archive_kickoff_parse(&e, body, &k, NULL) == OBV_OK)
                obv_assert(k.start_log_id > 0);
            at += 105 + e.data_len;
        }
    }
    obv_buf_fini(&scratch);
}

static void blocks(obv_span in)
{
    for (size_t at = 0; at < in.len;) {
        obv_archive_block b;
        if (obv_archive_block_parse(obv_span_of(in.p + at, in.len - at), &b, NULL) != OBV_OK)
            return;
        if (in.len - at < b.total_len)
            return;
        payload(obv_span_of(in.p + at + 104, b.total_len - 104));
        at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
}

/* The bytes as payload of a block of ours: it reads back. */
static void round_trip(obv_span in)
{
    if (in.len == 0 || in.len > 65536)
        return;
    static const enum obv_archive_compressor ALL[] = {OBV_ARCHIVE_NONE, OBV_ARCHIVE_LZ4, OBV_ARCHIVE_ZSTD};
    for (size_t i = 0; i < 3; i++) {
        obv_buf p = obv_buf_heap(1 << 20), file = obv_buf_heap(1 << 20);
        if (obv_archive_payload_pack(ALL[i], in, &p, NULL) != OBV_OK)
            abort();
        obv_assert(p.len <= in.len);
        obv_archive_block b = {.max_log_id = 7}, back;
        obv_archive_block_emit(&b, obv_buf_span(&p), 0, &file);
        if (obv_archive_block_parse(obv_buf_span(&file), &back, NULL) != OBV_OK)
            abort();
        obv_assert(back.total_len == b.total_len && back.max_log_id == 7);
        obv_buf_fini(&p);
        obv_buf_fini(&file);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const obv_span in = obv_span_of(data, size);
    obv_archive_index_scan s;
    obv_archive_key key;
    obv_archive_round *rounds = NULL;
    obv_archive_piece *pieces = NULL, *one = malloc(sizeof *one);
    size_t n = 0;
    int64_t round, ts;
    if (!one)
        return 0;
    blocks(in);
    payload(in);
    round_trip(in);
    obv_archive_index_scan_file(in, &s);
    (void)(obv_archive_key_parse(in, &key, NULL) == OBV_OK);
    if (obv_archive_rounds_parse(in, &rounds, &n, NULL) == OBV_OK)
        free(rounds);
    if (obv_archive_pieces_parse(in, &pieces, &n, NULL) == OBV_OK)
        free(pieces);
    (void)(obv_archive_single_piece_parse(in, one, NULL) == OBV_OK);
    (void)(obv_archive_server_start_parse(in, &round, &ts, NULL) == OBV_OK);
    free(one);
    return 0;
}
