/* archive_paths.h - names of the log archive below the repository's root (docs/format.md, "Log archive") */
#ifndef OBV_FORMAT_MEDIA_ARCHIVE_PATHS_H
#define OBV_FORMAT_MEDIA_ARCHIVE_PATHS_H

#include "format/media/paths.h"

#include <stdbool.h>

/* Which archive: the cluster's folder, the round and, in piece mode, the piece. */
typedef struct obv_archive_place {
    obv_media_root root;
    uint64_t round;
    uint64_t piece;     /* 0: round mode */
    int64_t piece_date; /* YYYYMMDD, 0 in round mode */
} obv_archive_place;

void obv_archive_path_cluster_rounds(const obv_media_root *r, obv_path *out); /* CP/cluster_clog_backup_info */
void obv_archive_path_cluster_pieces(const obv_media_root *r, obv_path *out); /* CP/cluster_backup_piece_info */
void obv_archive_path_rounds(const obv_media_root *r, uint64_t tenant, obv_path *out); /* tenant_clog_backup_info */
void obv_archive_path_pieces(const obv_media_root *r, uint64_t tenant, obv_path *out); /* backup_piece_info */
/** .../<tenant>/clog/<round> or <round>_<piece>_<date>: what ADD RESTORE SOURCE names. */
void obv_archive_path_dir(const obv_archive_place *a, uint64_t tenant, obv_path *out);
void obv_archive_path_single_piece(const obv_archive_place *a, uint64_t tenant, obv_path *out);
/** CP/1/clog/<round>/mount_file; never in a piece's directory. */
void obv_archive_path_mount_file(const obv_archive_place *a, obv_path *out);
/** CP/clog_info/<server id>_<ip>_<port> */
void obv_archive_path_server_start(const obv_media_root *r, uint64_t server_id, const char *ip, uint32_t port,
                                   obv_path *out);

/* files of one PG */
void obv_archive_path_key(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out);
/** Folders with a trailing '/', to list. */
void obv_archive_path_data_dir(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out);
void obv_archive_path_index_dir(const obv_archive_place *a, const obv_pg_key *pg, obv_path *out);
void obv_archive_path_data(const obv_archive_place *a, const obv_pg_key *pg, uint64_t file_id, obv_path *out);
void obv_archive_path_index(const obv_archive_place *a, const obv_pg_key *pg, uint64_t file_id, obv_path *out);
/** File id of a listed key directly below @p dir; false for names that are no id (temporaries, subfolders). */
bool obv_archive_path_file_id(const char *key, const obv_path *dir, uint64_t *file_id);

#endif
