/* native.h - a native backup tree, written by OceanBase or by us: names, sequential reading, blocks (docs/format.md)
 *
 * The tree lies behind any storage plugin; this module sees only two calls. Nothing is trusted: every length is checked
 * before it is used, memory is bounded by one window a reader. One thread at a time.
 */
#ifndef OBV_AGENT_SOURCE_NATIVE_H
#define OBV_AGENT_SOURCE_NATIVE_H

#include "base/err.h"
#include "base/span.h"
#include "format/media/common_header.h"
#include "format/media/paths.h"

#include <stdbool.h>

/* ---- the storage below */

/** Non-0 stops the listing. */
typedef int obv_native_list_fn(void *ctx, const char *key, uint64_t size);
typedef struct obv_native_io {
    void *ctx;
    /** Up to @p len bytes from @p at; fewer only at the end. OBV_E_NOT_FOUND, or a code of the storage. */
    obv_code (*get)(void *ctx, const char *key, uint64_t at, void *buf, size_t len, size_t *got, obv_err *err);
    /** Every object below @p prefix in any order. No call of this table is made inside fn. */
    obv_code (*list)(void *ctx, const char *prefix, obv_native_list_fn *fn, void *fn_ctx, obv_err *err);
} obv_native_io;

/** A whole object of at most @p max bytes, appended. OBV_E_LIMIT: it is larger. */
OBV_CHECK obv_code obv_native_read(const obv_native_io *io, const char *key, size_t max, obv_buf *out, obv_err *err);

/* ---- names */

enum obv_native_kind {
    OBV_NATIVE_UNKNOWN = 0, /* no rule names it */
    OBV_NATIVE_TEMPORARY,   /* "<name>.tmp.<digits>": what a killed writer left */
    OBV_NATIVE_OWN,         /* below obvault/ */
    /* in CP, in a tenant's data or clog folder; tenant 1 stands for the cluster's own */
    OBV_NATIVE_TENANT_NAMES,
    OBV_NATIVE_TENANT_INFO,
    OBV_NATIVE_BACKUP_INFO,
    OBV_NATIVE_SET_LIST,
    OBV_NATIVE_SET_COPY_LIST,
    OBV_NATIVE_ROUNDS,
    OBV_NATIVE_PIECES,
    OBV_NATIVE_PIECE_COPY_LIST,
    OBV_NATIVE_SERVER_START,
    OBV_NATIVE_MOUNT_FILE,
    /* of a round or piece */
    OBV_NATIVE_SINGLE_PIECE,
    OBV_NATIVE_ARCHIVE_KEY,
    OBV_NATIVE_ARCHIVE_INDEX,
    OBV_NATIVE_ARCHIVE_DATA,
    /* of a set */
    OBV_NATIVE_SINGLE_SET,
    OBV_NATIVE_SET_INFO,
    OBV_NATIVE_SYS_PG_LIST,
    OBV_NATIVE_NORMAL_PG_LIST,
    OBV_NATIVE_LOCALITY,
    OBV_NATIVE_DIAGNOSE,
    OBV_NATIVE_META_FILE,
    OBV_NATIVE_META_INDEX,
    OBV_NATIVE_MERGED_INDEX,
    OBV_NATIVE_MACRO_DATA,
    OBV_NATIVE_MACRO_INDEX,
    OBV_NATIVE_KINDS,
};
/** Short name for reports: "macro_data". */
const char *obv_native_kind_name(enum obv_native_kind kind);

typedef struct obv_native_name {
    enum obv_native_kind kind;
    uint64_t tenant;
    int64_t set_id, date; /* of the set's folder; date 0: a folder of before 2.2.77, without date and type */
    int64_t folder;       /* then its number, that of the full whose increments lie in it too; else 0 */
    bool full;
    int64_t inc_id;                    /* number in backup_<n> or in the macro file's name */
    int64_t task;                      /* meta files; minor data */
    uint64_t table;                    /* of the PG */
    int64_t partition;                 /* 64-bit id */
    bool minor;                        /* in minor_data */
    bool flat;                         /* a macro file directly in its PG's folder, as before 3.1 */
    int64_t number;                    /* sub task of macro data, pass of a macro index */
    uint64_t round, piece, piece_date; /* of the round's folder; piece 0 in round mode */
    uint64_t file_id;                  /* archive data and index */
} obv_native_name;
/** Judges the part of a key behind "CP/". */
void obv_native_name_parse(const char *path, obv_native_name *out);

/* ---- sequential reading */

/* A stretch of one object in memory that moves forward. */
typedef struct obv_native_window {
    const obv_native_io *io;
    const char *key;
    uint64_t size; /* of the object, as it was listed: what is appended later is not looked at */
    uint64_t at;
    size_t len, cap;
    size_t room; /* bytes allocated: grows to cap only for objects that need it */
    uint8_t *bytes;
} obv_native_window;
/** @p cap: the most that one look can give, and the most memory it takes. */
static inline obv_native_window obv_native_window_of(const obv_native_io *io, size_t cap)
{
    return (obv_native_window){.io = io, .cap = cap};
}
void obv_native_window_fini(obv_native_window *w);
void obv_native_window_open(obv_native_window *w, const char *key, uint64_t size);
/** Bytes from @p at: @p want of them (at most cap), or fewer where the object ends. Valid until the next look. */
OBV_CHECK obv_code obv_native_look(obv_native_window *w, uint64_t at, size_t want, obv_span *out, obv_err *err);

/* ---- block streams: meta_file, meta_index_file_<task>, macro_block, macro_block_index */

#define OBV_NATIVE_BLOCK_MAX ((4u << 20) + OBV_BLOCK_ALIGN) /* header, payload and padding of one block */

typedef struct obv_native_blocks {
    obv_native_window *w;
    uint16_t data_type;
    bool ours;      /* also header bytes that no checksum covers must be what OceanBase's documents say */
    uint64_t at;    /* where the next block begins */
    bool ended;     /* the end mark was read */
    uint64_t count; /* blocks, the end mark not counted */
} obv_native_blocks;

typedef struct obv_native_block {
    uint64_t at; /* of its header */
    obv_span payload;
    uint64_t total;
    /* what OceanBase would let pass; "" if there is nothing */
    char note[96];
    uint64_t note_at;
} obv_native_block;

/**
 * Next block of the window's object. Bytes that must be zero, versions, alignment and what follows the end mark come as
 * a note of the block, the end mark being a block without payload (payload.p is NULL).
 * @return OBV_E_NOT_FOUND behind the end mark; OBV_E_CORRUPT: b->at is where, and the next call goes on at the next
 *         boundary where a header stands, so that one damage hides no other; codes of the storage
 */
OBV_CHECK obv_code obv_native_blocks_next(obv_native_blocks *b, obv_native_block *out, obv_err *err);

/* ---- header bytes that OceanBase itself does not look at */

/** Bytes 4-5 (data_version) and 12-15 of a common header. false: *at = offset of the first wrong byte. */
bool obv_native_header_exact(obv_span header, uint16_t data_version, size_t *at);
/** Reserved bytes 6-11 of a meta record's header, @p object being the whole vstr. */
bool obv_native_meta_reserved_zero(obv_span object, size_t *at);
/** Offset of the first byte that is not zero; s.len if there is none. */
size_t obv_native_zeros(obv_span s);

#endif
