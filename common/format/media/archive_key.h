/* archive_key.h - the 168-byte archive_key file: state of a PG when its piece (or round) directory began
 * (docs/format.md)
 */
#ifndef OBV_FORMAT_MEDIA_ARCHIVE_KEY_H
#define OBV_FORMAT_MEDIA_ARCHIVE_KEY_H

#include "format/media/archive_index.h"

#define OBV_ARCHIVE_KEY_BYTES 168u

typedef struct obv_archive_key {
    bool first_piece;           /* the PG's first piece in this round */
    uint64_t max_index_file_id; /* of the previous piece, 0 if none */
    obv_archive_index state;    /* at the end of the previous piece; max_log_id is the base of this one */
} obv_archive_key;

/** OBV_E_CORRUPT: not exactly 168 bytes, magic, version, either checksum. */
OBV_CHECK obv_code obv_archive_key_parse(obv_span in, obv_archive_key *out, obv_err *err);
void obv_archive_key_emit(const obv_archive_key *k, obv_buf *out);
/** The form of a PG's first piece: an ineffective record that states where the log begins. */
obv_archive_key obv_archive_key_first(const obv_archive_base *s, int64_t checkpoint_ts);

#endif
