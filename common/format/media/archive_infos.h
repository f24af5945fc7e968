/* archive_infos.h - the log archive's info files, exact bytes of whole files (docs/format.md, "Info files")
 *
 * file                                                        content
 * <tenant>/clog/tenant_clog_backup_info, cluster_clog_...     list of rounds, ascending, one element a round
 * <tenant>/clog/backup_piece_info, cluster_backup_piece_info  list of pieces, sorted by (round, piece, copy)
 * <tenant>/clog/<dir>/single_piece_info                       one piece
 * 1/clog/<round>/mount_file                                   text of the round number
 * clog_info/<server id>_<ip>_<port>                           24 bytes
 */
#ifndef OBV_FORMAT_MEDIA_ARCHIVE_INFOS_H
#define OBV_FORMAT_MEDIA_ARCHIVE_INFOS_H

#include "base/err.h"
#include "base/span.h"

#define OBV_ARCHIVE_MAX_ROUNDS 65536u /* entries of one list; more is corruption */
#define OBV_ARCHIVE_DEST_MAX 2048u    /* bytes of backup_dest with its terminator */

enum obv_archive_status {
    OBV_ARCHIVE_STATUS_STOP = 1,
    OBV_ARCHIVE_STATUS_BEGINNING = 2,
    OBV_ARCHIVE_STATUS_DOING = 3,
    OBV_ARCHIVE_STATUS_STOPPING = 4,
    OBV_ARCHIVE_STATUS_INTERRUPTED = 5,
    OBV_ARCHIVE_STATUS_MIXED = 6,
    OBV_ARCHIVE_STATUS_PAUSED = 7,
};

/* One round of one tenant. */
typedef struct obv_archive_round {
    uint64_t tenant_id;
    int64_t start_ts, checkpoint_ts; /* us */
    int64_t incarnation;             /* 1 */
    int64_t round;
    enum obv_archive_status status;
    bool mark_deleted;
    bool mount_file_created;
    int64_t compatible; /* 1 */
    int64_t piece_id;   /* 0 in round mode */
    int64_t start_piece_id;
} obv_archive_round;

enum obv_piece_status {
    OBV_PIECE_ACTIVE = 0,
    OBV_PIECE_FREEZING = 1,
    OBV_PIECE_FROZEN = 2,
    OBV_PIECE_INACTIVE = 3,
};
enum obv_piece_file_status {
    OBV_PIECE_FILE_AVAILABLE = 0,
    OBV_PIECE_FILE_COPYING = 1,
    OBV_PIECE_FILE_INCOMPLETE = 2,
    OBV_PIECE_FILE_DELETING = 3,
    OBV_PIECE_FILE_EXPIRED = 4,
    OBV_PIECE_FILE_BROKEN = 5,
    OBV_PIECE_FILE_DELETED = 6,
};

typedef struct obv_archive_piece {
    int64_t incarnation;
    uint64_t tenant_id;
    int64_t round, piece_id, copy_id;
    int64_t create_date;             /* YYYYMMDD, 0 in round mode */
    int64_t start_ts, checkpoint_ts; /* us; checkpoint_ts 0 in the list while the piece is active */
    int64_t max_ts;                  /* us; INT64_MAX until the piece is frozen */
    enum obv_piece_status status;
    enum obv_piece_file_status file_status;
    char backup_dest[OBV_ARCHIVE_DEST_MAX]; /* as given, e.g. "file:///backup" */
    int64_t compatible;
    int64_t start_piece_id;
} obv_archive_piece;

/** Whole file of rounds; @p rounds ascending. Appends to @p out; check it with obv_buf_check. */
void obv_archive_rounds_emit(const obv_archive_round *rounds, size_t n, obv_buf *out);
/** Whole file of pieces (backup_piece_info). */
void obv_archive_pieces_emit(const obv_archive_piece *pieces, size_t n, obv_buf *out);
/** Whole single_piece_info. */
void obv_archive_single_piece_emit(const obv_archive_piece *p, obv_buf *out);
/** Whole mount_file. */
void obv_archive_mount_file_emit(int64_t round, obv_buf *out);
/** Whole clog_info/<server>: when this server's archiving of the round began. */
void obv_archive_server_start_emit(int64_t round, int64_t start_ts, obv_buf *out);

/* Readers. An empty file is an empty list. OBV_E_CORRUPT, OBV_E_UNSUPPORTED. Lists are malloc'ed: free(). */
OBV_CHECK obv_code obv_archive_rounds_parse(obv_span file, obv_archive_round **out, size_t *n, obv_err *err);
OBV_CHECK obv_code obv_archive_pieces_parse(obv_span file, obv_archive_piece **out, size_t *n, obv_err *err);
OBV_CHECK obv_code obv_archive_single_piece_parse(obv_span file, obv_archive_piece *out, obv_err *err);
OBV_CHECK obv_code obv_archive_server_start_parse(obv_span file, int64_t *round, int64_t *start_ts, obv_err *err);

#endif
