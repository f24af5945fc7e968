/* block_stream.h - files made of 4096-aligned blocks with an end mark (docs/format.md, "Block streams")
 *
 * meta_file, meta_index_file_<task>, macro_block_index: small objects are gathered into blocks in memory. Macroblock
 * data has its own frame (macro_index.h), since 2 MiB are not copied once more.
 */
#ifndef OBV_FORMAT_MEDIA_BLOCK_STREAM_H
#define OBV_FORMAT_MEDIA_BLOCK_STREAM_H

#include "format/media/common_header.h"

#define OBV_META_BLOCK_MAX (4u << 20)    /* header and payload of a META or MACRO_DATA block */
#define OBV_INDEX_BLOCK_MAX (256u << 10) /* the same of the two index types */

/* Writes whole blocks to the end of one obv_buf, which the caller may drain between calls. */
typedef struct obv_block_writer {
    uint16_t data_type;
    uint32_t block_max; /* header + payload */
    obv_buf payload;    /* objects of the open block */
    uint64_t file_len;  /* bytes of all finished blocks */
} obv_block_writer;

/** @p data_type decides the block size; payloads of other types: OBV_META_BLOCK_MAX. */
obv_block_writer obv_block_writer_of(uint16_t data_type);
void obv_block_writer_fini(obv_block_writer *w);
/** Adds one object. Begins a new block when it does not fit. *at (may be NULL) = file offset of the object.
 * OBV_E_LIMIT. */
OBV_CHECK obv_code obv_block_writer_add(obv_block_writer *w, obv_span object, obv_buf *out, uint64_t *at, obv_err *err);
/** Ends the open block, if there is one. */
OBV_CHECK obv_code obv_block_writer_flush(obv_block_writer *w, obv_buf *out, obv_err *err);
/** Flushes and appends the end mark: the file is complete. */
OBV_CHECK obv_code obv_block_writer_end(obv_block_writer *w, obv_buf *out, obv_err *err);
/** The 4096 bytes of an end mark block. */
void obv_put_end_mark(obv_buf *b);

/* Reads a whole file in memory. */
typedef struct obv_block_reader {
    obv_span file;
    size_t at;
    bool ended; /* the end mark was read */
} obv_block_reader;
static inline obv_block_reader obv_block_reader_of(obv_span file) { return (obv_block_reader){.file = file}; }
/** Next block's payload and its file offset; OBV_E_NOT_FOUND at the end mark or the end of the bytes; OBV_E_CORRUPT. */
OBV_CHECK obv_code obv_block_next(obv_block_reader *r, uint16_t data_type, obv_span *payload, uint64_t *payload_at,
                                  obv_err *err);

#endif
