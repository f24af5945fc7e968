/* macro_index.h - macroblock data files and their index files (docs/format.md, "Macroblock files") */
#ifndef OBV_FORMAT_MEDIA_MACRO_INDEX_H
#define OBV_FORMAT_MEDIA_MACRO_INDEX_H

#include "format/media/block_stream.h"
#include "format/ob/macroblock.h"
#include "format/ob/table_key.h"

#define OBV_BLOCKS_PER_FILE 512u /* macroblocks of one macro_block_<set>.<sub> file */

/* ---- one macroblock as one media block: head, the caller's bytes, tail; nothing is copied */
#define OBV_MACRO_HEAD_MAX (OBV_COMMON_HEADER_LEN + 64u + OBV_MACRO_META_MAX)
#define OBV_MACRO_TAIL_MAX (1u + OBV_BLOCK_ALIGN)

typedef struct obv_macro_frame {
    size_t head_len, tail_len;
    uint64_t total; /* head + data + tail, a multiple of 4096 */
} obv_macro_frame;
/**
 * Makes what comes before and after @p data: header, {meta vstr, length of data} into @p head; NUL and padding into
 * @p tail (both appended). The checksum runs over meta and data once. OBV_E_LIMIT when meta or data is too large.
 */
OBV_CHECK obv_code obv_macro_frame_make(obv_span meta, obv_span data, obv_buf *head, obv_buf *tail,
                                        obv_macro_frame *out, obv_err *err);
/** The reverse: one block of a macro_block file of exactly the indexed length, checksums verified. */
OBV_CHECK obv_code obv_macro_frame_parse(obv_span block, obv_span *meta, obv_span *data, obv_err *err);

/* ---- index files */
typedef struct obv_macro_entry {
    uint64_t index; /* in the sstable: 0..total-1 without gaps */
    int64_t data_version, data_seq;
    int64_t set_id;   /* the set that holds the bytes */
    int64_t sub_task; /* of macro_block_<set>.<sub_task> */
    uint64_t offset;
    uint64_t len; /* the whole aligned block */
} obv_macro_entry;

/* Writer of one index file. Order of calls: table, its entries 0..total-1, next table, ..., end. */
typedef struct obv_macro_index_writer {
    obv_block_writer blocks;
    uint64_t expect, total; /* next index of the open table, its block count */
} obv_macro_index_writer;
obv_macro_index_writer obv_macro_index_writer_of(void);
void obv_macro_index_writer_fini(obv_macro_index_writer *w);
/** A table without blocks gets no key: the call then writes nothing. OBV_E_INTERNAL when the last one is incomplete. */
OBV_CHECK obv_code obv_macro_index_table(obv_macro_index_writer *w, obv_span table_key, uint64_t total, obv_buf *out,
                                         obv_err *err);
OBV_CHECK obv_code obv_macro_index_entry(obv_macro_index_writer *w, const obv_macro_entry *e, obv_buf *out,
                                         obv_err *err);
/** Ends a block of the file, as after each sub task. */
OBV_CHECK obv_code obv_macro_index_flush(obv_macro_index_writer *w, obv_buf *out, obv_err *err);
OBV_CHECK obv_code obv_macro_index_end(obv_macro_index_writer *w, obv_buf *out, obv_err *err);

/* Reader of one whole index file: fn per table, then per entry; non-0 stops with OBV_E_CANCELLED. */
typedef struct obv_macro_index_visitor {
    int (*table)(void *ctx, const obv_table_key *key, obv_span key_bytes, uint64_t total);
    int (*entry)(void *ctx, const obv_macro_entry *e);
    void *ctx;
} obv_macro_index_visitor;
/** OBV_E_CORRUPT: damage, a gap in the indexes, or a table left incomplete. */
OBV_CHECK obv_code obv_macro_index_each(obv_span file, const obv_macro_index_visitor *v, obv_err *err);

#endif
