/* pieces.c - reads backup_piece_info */
#include "job/pieces.h"

#include "format/media/archive_infos.h"
#include "format/media/archive_paths.h"

#define LIST_MAX (32u << 20) /* bytes of a list; a piece has less than 2,200 */

obv_code obv_pieces_read(obv_store *store, const obv_media_root *root, uint64_t tenant, uint64_t round,
                         const obv_cancel *c, obv_archive_step **out, size_t *n, obv_err *err)
{
    *out = NULL;
    *n = 0;
    obv_path key;
    obv_archive_path_pieces(root, tenant, &key);
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(LIST_MAX);
    const obv_code code = obv_store_get_all(store, key.s, LIST_MAX, &file, c, err);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(code);
    OBV_AUTO(obv_freep) obv_archive_piece *pieces = NULL;
    size_t all = 0, count = 0;
    if (obv_archive_pieces_parse(obv_buf_span(&file), &pieces, &all, err) != OBV_OK)
        return obv_wrap(err, "%s", key.s);
    OBV_AUTO(obv_freep) obv_archive_step *steps = calloc(all + 1, sizeof *steps);
    if (!steps)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", key.s);
    for (size_t i = 0; i < all; i++) {
        const obv_archive_piece *p = &pieces[i];
        if (p->round != (int64_t)round || p->file_status == OBV_PIECE_FILE_DELETED)
            continue;
        if (p->piece_id < 0 || (count > 0 && (uint64_t)p->piece_id <= steps[count - 1].piece))
            return obv_fail(err, OBV_E_CORRUPT, 0, "%s: the pieces of round %llu do not ascend", key.s,
                            (unsigned long long)round);
        steps[count++] = (obv_archive_step){(uint64_t)p->piece_id, p->create_date};
    }
    *out = OBV_STEAL(steps);
    *n = count;
    return OBV_OK;
}
