/* ilog.h - an OBServer's index of committed logs: one cursor per confirmed log (docs/format.md)
 *
 * A file: cursors of 32 bytes sorted by (PG, log id); at a page boundary the info block, a raw hash table with one slot
 * per PG; the member-list block (not read); in the last 512 bytes the trailer. Pure functions on spans.
 */
#ifndef OBV_FORMAT_OB_ILOG_H
#define OBV_FORMAT_OB_ILOG_H

#include "base/err.h"
#include "base/span.h"
#include "format/ob/pg_key.h"

#define OBV_ILOG_CURSOR 32u            /* bytes */
#define OBV_ILOG_SLOT 72u              /* bytes of a slot of the info block */
#define OBV_ILOG_TRAILER_AREA 512u     /* bytes at the end of the file */
#define OBV_ILOG_TRAILER 40u           /* bytes used of it */
#define OBV_ILOG_MAX_FILE (128u << 20) /* bytes; real ones stay below 64 MiB */
#define OBV_ILOG_MAX_INFO (24u << 20)  /* bytes of an info block: 349,525 PGs */

typedef struct obv_ilog_trailer {
    uint32_t info_at, info_size;
    uint32_t members_at, members_size;
    int64_t content_checksum; /* over [0, members_at + members_size) */
} obv_ilog_trailer;

/**
 * @param in the file's last 512 bytes
 * @param file_size the whole file's length: every range is checked against it
 * @return OBV_E_CORRUPT: magic, checksum, ranges
 */
OBV_CHECK obv_code obv_ilog_trailer_parse(obv_span in, uint64_t file_size, obv_ilog_trailer *out, obv_err *err);

typedef struct obv_ilog_slot {
    obv_pg_key pg;
    uint64_t min_log_id, max_log_id; /* contiguous in this file */
    int64_t min_ts, max_ts;
    uint32_t cursors_at; /* file offset of min_log_id's cursor */
} obv_ilog_slot;

typedef struct obv_ilog_info {
    obv_span slots; /* borrowed */
    uint32_t capacity;
    uint32_t cursor_end; /* = info_at of the trailer: cursors lie before it */
} obv_ilog_info;

/** @p in is the info block, info_size bytes of the trailer. */
OBV_CHECK obv_code obv_ilog_info_parse(obv_span in, const obv_ilog_trailer *t, obv_ilog_info *out, obv_err *err);
/** Slot @p i. OBV_E_NOT_FOUND: empty; OBV_E_CORRUPT: its range runs out of the cursors. */
OBV_CHECK obv_code obv_ilog_slot_at(const obv_ilog_info *info, uint32_t i, obv_ilog_slot *out, obv_err *err);
/** The PG's slot by hash and linear probing. OBV_E_NOT_FOUND: no log of this PG in the file. */
OBV_CHECK obv_code obv_ilog_find(const obv_ilog_info *info, const obv_pg_key *pg, obv_ilog_slot *out, obv_err *err);

typedef struct obv_ilog_cursor {
    uint32_t file_id, offset, size; /* where the entry lies in the clog; size as stored */
    bool batch_committed;
    int64_t accum;     /* accumulate_checksum after this log */
    int64_t submit_ts; /* us, without the batch bit */
} obv_ilog_cursor;

/** @p in is exactly one cursor. OBV_E_CORRUPT: file id 0 or a range that no clog file has. */
OBV_CHECK obv_code obv_ilog_cursor_parse(obv_span in, obv_ilog_cursor *out, obv_err *err);
/** File offset of log @p log_id's cursor, which must lie in the slot's range. */
static inline uint32_t obv_ilog_cursor_at(const obv_ilog_slot *s, uint64_t log_id)
{
    return s->cursors_at + (uint32_t)(log_id - s->min_log_id) * OBV_ILOG_CURSOR;
}

#endif
