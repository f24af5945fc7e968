/* archive_piece.c - a round cut into pieces: where a PG's files are, and its step to the next piece
 *
 * Which pieces there are, is read from the tenant's backup_piece_info, which the coordinator stores before it tells the
 * agents of a piece: media are enough to find a PG again after any crash. A PG is in the newest piece that holds its
 * archive_key. That key is put last, when all that went to the piece before is durable and indexed; what was not
 * stored by then goes to the new piece only. No piece is left out on the way: a reader takes the first one without a
 * key for the PG's end.
 */
#define OBV_LOG_MOD "archive"
#include "base/fault.h"
#include "base/log.h"
#include "format/media/archive_key.h"
#include "format/ob/keys.h"
#include "job/archive_priv.h"

obv_archive_place obv_archive_place_of(const obv_archive *a, const obv_archive_pg *pg)
{
    obv_archive_place place = a->place;
    place.piece = pg->piece;
    place.piece_date = pg->piece_date;
    return place;
}

/* ---- the list of pieces */

static obv_archive_pieces *find_list(const obv_archive *a, uint64_t tenant)
{
    for (size_t i = 0; i < a->piece_count; i++)
        if (a->pieces[i].tenant == tenant)
            return &a->pieces[i];
    return NULL;
}

static bool is_current(const obv_archive *a, const obv_archive_pieces *l)
{
    return l && l->count > 0 && l->steps[l->count - 1].piece == a->place.piece;
}

void obv_archive_drop_pieces(obv_archive *a)
{
    for (size_t i = 0; i < a->piece_count; i++)
        free(a->pieces[i].steps);
    free(a->pieces);
    a->pieces = NULL;
    a->piece_count = 0;
}

/* Pieces of the round up to the job's own, which must be named: a list without it is older than our assignment, and
 * the piece before might be missing as well. */
static obv_code read_list(const obv_archive *a, obv_archive_pieces *to, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_archive_step *steps = NULL;
    size_t count = 0;
    OBV_TRY(obv_pieces_read(a->cfg.store, &a->place.root, to->tenant, a->place.round, a->cancel, &steps, &count, err));
    while (count > 0 && steps[count - 1].piece > a->place.piece)
        count--;
    if (count == 0 || steps[count - 1].piece != a->place.piece || steps[count - 1].date != a->place.piece_date)
        return obv_fail(
            err, OBV_E_PRECONDITION, 0, "backup_piece_info of tenant %llu does not name piece %llu of round %llu",
            (unsigned long long)to->tenant, (unsigned long long)a->place.piece, (unsigned long long)a->place.round);
    free(to->steps);
    to->steps = OBV_STEAL(steps);
    to->count = count;
    return OBV_OK;
}

static void load_list(obv_archive *a, uint64_t tenant)
{
    obv_archive_pieces *l = find_list(a, tenant);
    if (is_current(a, l))
        return;
    if (!l) {
        obv_archive_pieces *grown = realloc(a->pieces, (a->piece_count + 1) * sizeof *grown);
        if (!grown)
            return; /* asked for again */
        a->pieces = grown;
        l = &grown[a->piece_count++];
        *l = (obv_archive_pieces){.tenant = tenant};
    }
    obv_err err = {0};
    if (read_list(a, l, &err) != OBV_OK)
        OBV_WARN_EVERY(30, "%s", err.msg);
    l->error = err;
}

void obv_archive_load_pieces(obv_archive *a)
{
    if (a->place.piece == 0)
        return;
    uint64_t last = 0;
    for (size_t i = 0; i < a->pg_count; i++) {
        const obv_archive_pg *pg = a->pgs[i];
        const uint64_t tenant = obv_pg_key_tenant(&pg->key);
        const bool wanted =
            pg->stage == OBV_PG_NEW || (pg->stage == OBV_PG_READY && pg->piece < a->place.piece && !pg->media.offline);
        if (!wanted || tenant == last)
            continue;
        last = tenant; /* PGs stand in the order of their tenants */
        load_list(a, tenant);
    }
}

const obv_archive_pieces *obv_archive_pieces_of(const obv_archive *a, const obv_archive_pg *pg, obv_err *err)
{
    static const obv_archive_pieces NONE = {0}; /* round mode */
    if (a->place.piece == 0)
        return &NONE;
    const obv_archive_pieces *l = find_list(a, obv_pg_key_tenant(&pg->key));
    if (is_current(a, l))
        return l;
    if (err && l)
        *err = l->error;
    return NULL;
}

/* ---- one PG */

obv_code obv_archive_find_piece(obv_archive *a, obv_archive_pg *pg, obv_err *err)
{
    const obv_archive_pieces *l = obv_archive_pieces_of(a, pg, err);
    if (!l)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the pieces of the round are not known yet");
    pg->piece = a->place.piece;
    pg->piece_date = a->place.piece_date;
    for (size_t i = l->count; i-- > 0;) {
        obv_archive_place place = a->place;
        place.piece = l->steps[i].piece;
        place.piece_date = l->steps[i].date;
        obv_path key;
        obv_store_object o;
        obv_archive_path_key(&place, &pg->key, &key);
        const obv_code code = obv_store_head(a->cfg.store, key.s, &o, a->cancel, err);
        if (code == OBV_E_NOT_FOUND)
            continue;
        OBV_TRY(code);
        pg->piece = place.piece;
        pg->piece_date = place.piece_date;
        return OBV_OK;
    }
    return OBV_OK;
}

obv_code obv_archive_peek_earlier(obv_archive *a, obv_archive_pg *pg, obv_err *err)
{
    const obv_archive_pieces *l = obv_archive_pieces_of(a, pg, err);
    obv_archive_pg at = {.key = pg->key};
    for (size_t i = l ? l->count : 0; i-- > 0 && !pg->media.has_pg;) {
        if (l->steps[i].piece >= pg->piece)
            continue;
        at.piece = l->steps[i].piece;
        at.piece_date = l->steps[i].date;
        OBV_TRY(obv_archive_peek_piece(a, &at, &pg->media, err));
    }
    return OBV_OK;
}

/* *written: the PG's last data file is one that this epoch made; others have their record. */
static obv_code close_piece(obv_archive *a, obv_archive_pg *pg, bool *written, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    OBV_FAULT("archive.piece_begin");
    *written = m->data_at > 0;
    if (*written) {
        const obv_archive_index r = obv_archive_index_of(m, m->data_file, true);
        OBV_TRY(obv_archive_add_index(a, pg, &r, err));
        m->data_file++;
        m->data_at = pg->synced_at = 0;
    }
    OBV_FAULT("archive.piece_closed");
    return OBV_OK;
}

static obv_code open_piece(obv_archive *a, obv_archive_pg *pg, const obv_archive_step *to, bool written, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    uint8_t bytes[OBV_ARCHIVE_KEY_BYTES];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    const obv_archive_key k = {.max_index_file_id = m->last_index,
                               .state = obv_archive_index_of(m, m->last_data, written)};
    obv_archive_key_emit(&k, &b);
    obv_archive_place place = a->place;
    place.piece = to->piece;
    place.piece_date = to->date;
    obv_path key;
    obv_archive_path_key(&place, &pg->key, &key);
    if (OBV_FAULT_ERROR("archive.piece_put"))
        return obv_fail(err, OBV_E_IO, 0, "put %s: fault point", key.s);
    OBV_TRY(obv_store_put_bytes(a->cfg.store, key.s, true, obv_buf_span(&b), a->cancel, err));
    OBV_FAULT("archive.piece_key");
    pg->piece = to->piece;
    pg->piece_date = to->date;
    pg->distrust_file = 0;
    m->has_key = true;
    m->data_file = m->index_file = 1;
    m->index_at = 0;
    m->last_data = m->last_index = 0;
    return OBV_OK;
}

obv_code obv_archive_step_on(obv_archive *a, obv_archive_pg *pg, obv_err *err)
{
    bool written;
    OBV_TRY(close_piece(a, pg, &written, err));
    if (pg->media.offline)
        return OBV_OK;
    const obv_archive_pieces *l = obv_archive_pieces_of(a, pg, err);
    for (size_t i = 0; l && i < l->count; i++) {
        if (l->steps[i].piece <= pg->piece)
            continue;
        OBV_TRY(open_piece(a, pg, &l->steps[i], written, err));
        written = false;
    }
    return OBV_OK;
}
