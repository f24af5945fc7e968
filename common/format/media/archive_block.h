/* archive_block.h - blocks of archive data files: 104-byte header, entries or one compressed chunk, own offset as tail
 * (docs/format.md, "Log archive"). Pure functions; out parameters are written only on OBV_OK.
 */
#ifndef OBV_FORMAT_MEDIA_ARCHIVE_BLOCK_H
#define OBV_FORMAT_MEDIA_ARCHIVE_BLOCK_H

#include "base/err.h"
#include "base/span.h"
#include "format/ob/clog_entry.h"

#define OBV_ARCHIVE_BLOCK_HEADER 104u
#define OBV_ARCHIVE_BLOCK_TAIL 4u
#define OBV_ARCHIVE_MAX_RAW 1966080u     /* bytes of entries in one block */
#define OBV_ARCHIVE_FILE_MAX (64u << 20) /* bytes of one data file */
#define OBV_ARCHIVE_CHUNK_HEADER 16u
#define OBV_ARCHIVE_MAX_BLOCK (OBV_ARCHIVE_BLOCK_HEADER + OBV_ARCHIVE_CHUNK_HEADER + OBV_ARCHIVE_MAX_RAW)

enum obv_archive_compressor { OBV_ARCHIVE_NONE = 1, OBV_ARCHIVE_LZ4 = 2, OBV_ARCHIVE_ZSTD = 8 };

typedef struct obv_archive_block {
    uint32_t total_len;    /* header + payload; the tail is not counted */
    int64_t timestamp;     /* us, when it was made */
    int64_t clog_epoch_id; /* of the block's last log */
    int64_t accum;         /* accumulate_checksum after the block's last log */
    uint64_t min_log_id_in_file;
    int64_t min_log_ts_in_file;
    uint64_t max_log_id;       /* of the block */
    int64_t max_checkpoint_ts; /* of the PG so far */
    int64_t max_log_submit_ts; /* of the last log; the PG's previous value when all are NOP or TRUNCATE */
    int64_t data_checksum;     /* of the payload as stored */
} obv_archive_block;

/** Header at the start of @p in. OBV_E_CORRUPT: short, magic, version, length, checksum. */
OBV_CHECK obv_code obv_archive_block_parse(obv_span in, obv_archive_block *out, obv_err *err);
/** Appends header (lengths and checksums computed), payload and tail. @p at is the block's offset in its file. */
void obv_archive_block_emit(obv_archive_block *b, obv_span payload, uint32_t at, obv_buf *out);

/**
 * Packs entries into a payload: a compressed chunk if @p compressor is not NONE and it is smaller, else as they are.
 * @param payload appended to
 */
OBV_CHECK obv_code obv_archive_payload_pack(enum obv_archive_compressor compressor, obv_span entries, obv_buf *payload,
                                            obv_err *err);
/**
 * Gives the entries of a payload: a view into it, or into @p scratch when it was compressed (scratch is reset).
 * @return OBV_E_CORRUPT; OBV_E_UNSUPPORTED: an encrypted chunk or a compressor that media may not have
 */
OBV_CHECK obv_code obv_archive_payload_unpack(obv_span payload, obv_buf *scratch, obv_span *entries, obv_err *err);

/** Greatest length that @p raw bytes of entries may have as a block with tail. */
static inline uint32_t obv_archive_block_bound(uint32_t raw)
{
    return OBV_ARCHIVE_BLOCK_HEADER + raw + OBV_ARCHIVE_BLOCK_TAIL;
}

/* Where a PG's log begins in a round: values of log start_log_id - 1, kept in kickoff, index records and archive_key.
 */
typedef struct obv_archive_base {
    uint64_t start_log_id;
    int64_t start_ts;         /* us */
    int64_t snapshot_version; /* us */
    int64_t log_submit_ts;    /* us */
    int64_t clog_epoch_id;
    int64_t accum;
} obv_archive_base;

/** Appends the kickoff entry (the payload of a PG's first block in a round). */
void obv_archive_kickoff_emit(const obv_pg_key *pg, const obv_archive_base *s, int64_t checkpoint_ts, int64_t now_us,
                              obv_buf *out);
typedef struct obv_archive_kickoff {
    uint64_t start_log_id;
    int64_t log_submit_ts, checkpoint_ts, start_ts, snapshot_version;
} obv_archive_kickoff;
/** @p e is a parsed entry of type 302, @p data its checked data. */
OBV_CHECK obv_code obv_archive_kickoff_parse(const obv_clog_entry *e, obv_span data, obv_archive_kickoff *out,
                                             obv_err *err);

#endif
