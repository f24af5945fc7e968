/* verify_archive.h - the log of one PG while it is verified (verify_archive.c, verify_archive_data.c) */
#ifndef OBV_AGENT_JOB_VERIFY_ARCHIVE_H
#define OBV_AGENT_JOB_VERIFY_ARCHIVE_H

#include "format/media/archive_index.h"
#include "format/media/archive_paths.h"
#include "job/verify_priv.h"

typedef struct obv_varch_file {
    uint64_t id, size;
} obv_varch_file;

/* What an index record says of a data file; the last record of a file wins. */
typedef struct obv_varch_record {
    obv_archive_index r;
    uint64_t in_file; /* of the index */
    int64_t at;
    bool met; /* a block ends where it says */
} obv_varch_record;

typedef struct obv_varch {
    obv_verify *v;
    uint64_t tenant, round, table;
    int64_t partition;
    obv_archive_place place;         /* of the piece at hand */
    obv_pg_key key;                  /* only for paths: table and 64-bit id */
    obv_verify_array datas, indexes; /* obv_varch_file, of the piece */
    obv_verify_array records;        /* obv_varch_record, of the piece */
    obv_buf scratch;
    obv_err err; /* of a listing */
    /* progress over the pieces of the round */
    bool known; /* start is */
    bool begun; /* expect is: some log was read, or start is known */
    obv_archive_base start;
    uint64_t expect;
    bool chained; /* accum is that of expect - 1 */
    int64_t accum, epoch_id, submit_ts, checkpoint;
    uint64_t last_index_file, last_data_file; /* of the piece before */
    bool any_data;                            /* in some piece */
    bool any_piece;
} obv_varch;

#define OBV_VARCH_SAY(p, class, key, at, ...) obv_verify_say((p)->v, OBV_VERIFY_##class, key, at, __VA_ARGS__)

bool obv_varch_same_start(const obv_archive_base *a, const obv_archive_base *b);
/** The PG's sequence begins with @p log_id; the others are values of the log before it. */
void obv_varch_begin(obv_varch *p, uint64_t log_id, int64_t accum, int64_t epoch, int64_t submit);
/** The state behind a log id: sets that begin here must say the same. */
void obv_varch_meet(const obv_varch *p, uint64_t log_id);
/** One data file, every block and entry of it. */
OBV_CHECK obv_code obv_varch_read_data(obv_varch *p, const obv_varch_file *n, obv_err *err);

#endif
