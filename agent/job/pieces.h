/* pieces.h - the pieces of a round as a tenant's backup_piece_info lists them */
#ifndef OBV_AGENT_JOB_PIECES_H
#define OBV_AGENT_JOB_PIECES_H

#include "format/media/paths.h"
#include "host/store.h"

typedef struct obv_archive_step {
    uint64_t piece; /* 0: the whole of a round in round mode */
    int64_t date;
} obv_archive_step;

/** Pieces of the round that are not deleted, ascending, malloc'ed; *n = 0: none, or no list. OBV_E_CORRUPT: not a list,
 *  or not ascending. */
OBV_CHECK obv_code obv_pieces_read(obv_store *store, const obv_media_root *root, uint64_t tenant, uint64_t round,
                                   const obv_cancel *c, obv_archive_step **out, size_t *n, obv_err *err);

#endif
