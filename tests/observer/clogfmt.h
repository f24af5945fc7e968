/* clogfmt.h - clog blocks and entries, ilog files: byte formats only, no files */
#ifndef OBS_CLOGFMT_H
#define OBS_CLOGFMT_H

#include "enc.h"

#define CLOG_FILE_SIZE 67108864
#define CLOG_TRAILER_OFF 67108352
#define CLOG_PAGE 4096
#define ENTRY_HDR 105u
#define BLOCK_HDR 48u
#define MAX_ENTRY_DATA 1965056u

enum log_type {
    LOG_MEMBERSHIP = 101,
    LOG_PREPARED = 102,
    LOG_NOP = 103,
    LOG_START_MEMBERSHIP = 104,
    LOG_RENEW_MEMBERSHIP = 106,
    LOG_STANDBY_PREPARED = 107,
    LOG_TRUNCATE = 108,
    LOG_SUBMIT = 201,
    LOG_AGGRE = 202
};
#define LOG_TRANS_BIT 0x80000000u

enum block_type { BLK_DATA = 1, BLK_INFO = 2, BLK_TRAILER = 3 };

struct log_entry {
    uint32_t type; /* with LOG_TRANS_BIT */
    struct pkey key;
    uint64_t log_id;
    int64_t generation_ts, epoch;
    struct proposal proposal;
    int64_t submit_ts, freeze_version;
    const uint8_t *data;
    size_t data_len;
    uint64_t data_checksum; /* filled by decode; encode computes it */
};
void enc_entry(struct obuf *b, const struct log_entry *e);
/** True: header and data checksums are right and the entry fits @p n. */
bool dec_entry(struct log_entry *e, const uint8_t *p, size_t n, size_t *used);

void enc_block_meta(struct obuf *b, enum block_type t, size_t data_len, int64_t ts, uint64_t data_checksum);
bool dec_block_meta(const uint8_t *p, int *type, int64_t *data_len, int64_t *ts);
/** Entry size of the padding written at file offset @p off, and its bytes. */
int64_t padding_size(int64_t off);
void enc_padding(struct obuf *b, int64_t size);

struct pg_max {
    struct pkey key;
    uint64_t max_log_id;
};
void enc_info_block(struct obuf *b, const struct pg_max *m, size_t n, int64_t max_submit_ts, int64_t ts);
/** The 58 bytes at CLOG_TRAILER_OFF. */
void enc_trailer(struct obuf *b, int32_t info_off, uint32_t next_file, int64_t ts);

void enc_membership(struct obuf *b, const struct member *m, int n, int64_t ts, int type, int64_t cluster_id);

/* ---- bodies (CONTRACT.md 2) */
enum { TX_REDO = 1, TX_PREPARE = 2, TX_COMMIT = 4, TX_ABORT = 8 };
enum { ST_CHECKPOINT = 12000, ST_ADD_PARTITION = 13000, ST_OFFLINE = 20001 };
struct change {
    uint64_t index_id;
    uint8_t op;
    const uint8_t *key, *val;
    uint32_t klen, vlen;
};
struct tx_item {
    int64_t submit_ts, kind, trans_id;
    int64_t prepare_version, commit_version;
    uint32_t n_changes;
    struct oin changes; /* at the first change */
    uint32_t n_parts;
    const uint8_t *parts; /* n_parts x 16 bytes */
    struct oin rest;      /* kinds that are no transactions */
};
void enc_change(struct obuf *b, const struct change *c);
bool in_change(struct oin *r, struct change *c);
/** Walks the items of one entry; false at the end. A malformed one sets it->bad. */
struct item_iter {
    const struct log_entry *e;
    size_t at;
    bool bad;
};
bool item_next(struct item_iter *it, struct tx_item *x);

/* ---- ilog */
struct ilog_cursor {
    uint32_t file_id, offset, size;
    int64_t accum, submit_ts; /* bit 63 = batch committed */
};
void enc_cursor(struct obuf *b, const struct ilog_cursor *c);
struct ilog_pg {
    struct pkey key;
    uint64_t min_id, max_id;
    int64_t min_ts, max_ts;
    const struct ilog_cursor *cursors; /* max_id - min_id + 1 */
};
/** Whole file image from the PGs (any order; sorted here). */
void enc_ilog_file(struct obuf *b, struct ilog_pg *pgs, size_t n, const struct member *members, int n_members);
/** Calls fn for each PG of a file image; false if it is none. */
bool dec_ilog_file(const uint8_t *p, size_t n, void (*fn)(void *arg, const struct ilog_pg *pg, const uint8_t *cursors),
                   void *arg);

#endif
