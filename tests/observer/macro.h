/* macro.h - macro blocks: a writer that cuts rows into micro and macro blocks, and a reader of what it wrote */
#ifndef OBS_MACRO_H
#define OBS_MACRO_H

#include "enc.h"

#define MACRO_SIZE (2u << 20)
#define ROW_HEAD 32u
#define MAX_KEY 256u

enum { OP_PUT = 1, OP_DELETE = 2 };

struct row {
    uint8_t op, state; /* CONTRACT.md 1 */
    uint16_t klen;
    uint32_t vlen;
    int64_t version, trans_id, redo_ts;
    const uint8_t *key, *val;
};
int key_cmp(const uint8_t *a, size_t an, const uint8_t *b, size_t bn);

enum compressor { C_NONE = 1, C_LZ4 = 2, C_ZSTD138 = 8 };
const char *compressor_name(enum compressor c);
/** 0 when the name is none of the three. */
enum compressor compressor_from(const char *name);

/* ---- the two metas that travel with a block (raw LE, packed) */
struct macro_meta {
    int attr, n_cols, rowkey_cols, column_index_scale, row_store_type;
    int64_t data_version;
    int row_count, occupy_size, micro_count, data_off, index_off, endkey_off;
    int64_t data_checksum;
    const int64_t *col_checksum; /* n_cols */
    const uint8_t *endkey;       /* ObRowkey as serialized */
    size_t endkey_len;
    uint64_t table_id;
    int64_t data_seq, schema_version, snapshot_version;
    int schema_rowkey_cols, row_count_delta, mark_deletion_off, deletion_flag, delta_off;
    int64_t partition_id;
    int checksum_method;
    bool has_uncommitted;
    int64_t max_merged_trans_version;
};
void enc_macro_meta(struct obuf *b, const struct macro_meta *m);

struct macro_schema {
    int n_cols, rowkey_cols, schema_rowkey_cols;
    int64_t schema_version;
    const char *compressor;
    const uint16_t *col_id;
    const uint8_t *col_type; /* 4 bytes each */
    const int32_t *col_order;
};
void enc_macro_schema(struct obuf *b, const struct macro_schema *s);

/* ---- writer */
struct block_desc {
    uint64_t off;              /* where meta and block lie in the block file */
    uint32_t meta_len, occupy; /* meta (both structs), then the block */
    int64_t data_version, data_seq;
    int64_t row_count, data_checksum;
    int64_t col_checksum[MAX_COLS];
    int64_t max_version; /* greatest commit version inside */
    bool has_uncommitted;
    uint16_t endkey_len;
    uint8_t endkey[MAX_KEY]; /* raw key of the last row */
};

/** Takes one finished block; sets d->off. 0 or a negative errno, which ends the writer. */
typedef int (*block_sink)(void *arg, struct block_desc *d, const struct obuf *meta, const struct obuf *block);

struct macro_opts {
    struct pkey part; /* partition the rows belong to */
    uint64_t index_id;
    bool multi_version; /* minor and mini: 4 columns, 3 rowkey columns */
    bool int_key;
    enum compressor comp;
    int64_t data_version, first_seq, schema_version, snapshot_version;
    size_t micro_size;
};
struct macro_writer;
struct macro_writer *mw_new(const struct macro_opts *o, block_sink sink, void *arg);
int mw_add(struct macro_writer *w, const struct row *r);
/** Ends the open block so that the next row starts a new one. */
int mw_cut(struct macro_writer *w);
int mw_close(struct macro_writer *w); /* flushes and frees */
int64_t mw_next_seq(const struct macro_writer *w);
size_t macro_columns(bool multi_version, const uint16_t **ids);

/* ---- reader */
struct macro_iter {
    const uint8_t *blk;
    size_t len;
    int micro, n_micro, row, n_rows;
    enum compressor comp;
    uint8_t *buf; /* decompressed micro block */
    size_t buf_cap;
    const uint8_t *cur;
    size_t cur_len;
    int data_off, index_off;
    bool check;
};
/** False: not a data macro block, or damaged. */
bool mi_open(struct macro_iter *it, const uint8_t *blk, size_t len);
/** 1 row, 0 end, -1 damaged. Row points into the iterator's buffer until the next call that changes micro block. */
int mi_next(struct macro_iter *it, struct row *r);
void mi_close(struct macro_iter *it);

void row_encode(struct obuf *b, const struct row *r);
bool row_decode(struct row *r, const uint8_t *p, size_t n);

#endif
