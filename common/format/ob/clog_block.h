/* clog_block.h - frame of an OBServer's commit log file: blocks, padding entries, info block, trailer (docs/format.md)
 *
 * A file is 64 MiB: blocks back to back, written in 4 KiB pages; the unaligned tail page is rewritten with the next
 * block, so the next block begins right behind the data (obv_clog_block_end), never at total_len.
 * All functions are pure: no I/O, no allocation, any thread. Out parameters are written only on OBV_OK.
 */
#ifndef OBV_FORMAT_OB_CLOG_BLOCK_H
#define OBV_FORMAT_OB_CLOG_BLOCK_H

#include "base/err.h"
#include "base/span.h"
#include "format/ob/pg_key.h"

#define OBV_CLOG_FILE_BYTES (64u << 20)
#define OBV_CLOG_PAGE 4096u
#define OBV_CLOG_TRAILER_AT 67108352u      /* last 512 bytes of the file */
#define OBV_CLOG_DATA_END 65142272u        /* a file is switched before its data would reach this */
#define OBV_CLOG_BLOCK_HEADER 48u          /* bytes */
#define OBV_CLOG_MAX_INFO_PGS (256u << 10) /* PGs in one info block; more is corruption */

enum obv_clog_block_type {
    OBV_CLOG_DATA = 1,
    OBV_CLOG_INFO = 2,
    OBV_CLOG_TRAILER = 3,
    OBV_CLOG_HEADER = 4, /* legacy: skip total_len */
    OBV_CLOG_BASE = 100,
};

typedef struct obv_clog_block {
    enum obv_clog_block_type type;
    uint32_t data_len;     /* bytes behind the header */
    uint32_t total_len;    /* data_len + header, rounded up to a page */
    int64_t timestamp;     /* us, grows on one server: an older one is a leftover of a reused file */
    int64_t data_checksum; /* 0 for DATA */
} obv_clog_block;

/* What stands at a block boundary. */
enum obv_clog_mark {
    OBV_CLOG_MARK_BLOCK,   /* a block header */
    OBV_CLOG_MARK_PADDING, /* fills up to the page end; at the live tail the next block will overwrite it */
    OBV_CLOG_MARK_FRESH,   /* new or just reused file: the end */
    OBV_CLOG_MARK_OLD_END, /* end mark of old versions */
    OBV_CLOG_MARK_OTHER,   /* torn, stale or damaged: the live tail unless a newer block follows */
};
/** @p in needs 2 bytes; fewer are OTHER. */
enum obv_clog_mark obv_clog_mark_of(obv_span in);

/** Header at the start of @p in. OBV_E_CORRUPT: short, magic, version, lengths or checksum. */
OBV_CHECK obv_code obv_clog_block_parse(obv_span in, obv_clog_block *out, obv_err *err);
/** Bytes from the block's start to the next block or padding entry. */
static inline uint32_t obv_clog_block_end(const obv_clog_block *b) { return OBV_CLOG_BLOCK_HEADER + b->data_len; }
/** data_checksum of a block that has one. @p data is exactly data_len bytes. */
OBV_CHECK obv_code obv_clog_block_check_data(const obv_clog_block *b, obv_span data, obv_err *err);
/** Padding entry at the start of @p in; *size is its length, 12 to 4107. */
OBV_CHECK obv_code obv_clog_padding_parse(obv_span in, uint32_t *size, obv_err *err);

/* Info block: every PG with entries in the file and its greatest log id there. */
typedef struct obv_clog_info {
    obv_span pgs; /* borrowed: count records of 24 bytes */
    uint32_t count;
    int64_t max_submit_ts;
} obv_clog_info;
OBV_CHECK obv_code obv_clog_info_parse(obv_span data, obv_clog_info *out, obv_err *err);
void obv_clog_info_at(const obv_clog_info *info, uint32_t i, obv_pg_key *key, uint64_t *max_log_id);

typedef struct obv_clog_trailer {
    uint32_t info_block_at; /* offset of the info block */
    uint32_t next_file_id;
    int64_t timestamp;
} obv_clog_trailer;
/** @p in is the file's last 512 bytes (more than 58 are enough). */
OBV_CHECK obv_code obv_clog_trailer_parse(obv_span in, obv_clog_trailer *out, obv_err *err);

#endif
