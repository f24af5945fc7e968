/* clog_walk.h - blocks and entries of a commit log file in the order they were written, as far as they are whole
 *
 * For who follows a file that is still being written: the padding entry at its end is overwritten by the next block, a
 * block may be seen half-written, and behind the end of a reused file lie blocks of its earlier life. Source:
 * docs/format.md, "Commit log files". Pure functions.
 */
#ifndef OBV_FORMAT_OB_CLOG_WALK_H
#define OBV_FORMAT_OB_CLOG_WALK_H

#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"

/* Where a walk stands: a block boundary. Zero it for the beginning of a file that nothing is known of. */
typedef struct obv_clog_place {
    uint32_t offset;
    int64_t last_ts; /* us: of the last block but info blocks, kept from file to file; 0 = none yet */
} obv_clog_place;

typedef enum obv_clog_stop {
    OBV_CLOG_STOP_MORE,     /* the bytes end inside a block: go on with more of them from the place on */
    OBV_CLOG_STOP_TAIL,     /* nothing whole and new stands here (yet): come again later */
    OBV_CLOG_STOP_FINISHED, /* the info block: the log goes on in the next file */
} obv_clog_stop;

/** An entry whose header and data checksum are right. @p at its offset in the file, @p stored its bytes there. */
typedef void obv_clog_entry_fn(void *ctx, const obv_clog_entry *e, uint32_t at, uint32_t stored);

/**
 * Calls @p fn for each entry of each whole block in @p bytes, which are the file's from place->offset on, and advances
 * the place behind them. A block of which one entry is damaged is not there yet: none of its entries is shown.
 * @param unpack heap buffer of at least OBV_CLOG_ENTRY_MAX for entries that are compressed as a whole
 * @return OBV_OK, OBV_E_NOMEM
 */
OBV_CHECK obv_code obv_clog_walk(obv_clog_place *place, obv_span bytes, obv_buf *unpack, obv_clog_entry_fn *fn,
                                 void *ctx, obv_clog_stop *stop, obv_err *err);

#endif
