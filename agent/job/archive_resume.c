/* archive_resume.c - take-over: what is on media of a PG, closed so that this epoch can go on in files of its own
 *
 * Nothing of an earlier writer is appended to, whoever it was. Its last data file is read block by block, made durable,
 * and gets an index record in a new index file; the next data file is ours. A tail that a reader of the archive would
 * stumble over (never synced before a crash, so never reported) is cut by replacing the file with its good part.
 */
#define OBV_LOG_MOD "archive"
#include "base/fault.h"
#include "base/log.h"
#include "base/sort.h"
#include "format/media/archive_key.h"
#include "format/ob/keys.h"
#include "job/archive_priv.h"

#define MAX_FILES (1u << 20)      /* ids of one PG; more is no archive of ours */
#define INDEX_READ_MAX (1u << 20) /* bytes of an index file that are read */

typedef struct id_list {
    const obv_path *dir;
    uint64_t *ids;
    size_t count, cap;
    bool failed;
} id_list;

static void id_list_fini(id_list *l) { free(l->ids); }

static int add_id(void *ctx, const char *key, const obv_store_object *o)
{
    (void)o;
    id_list *l = ctx;
    uint64_t id;
    if (!obv_archive_path_file_id(key, l->dir, &id))
        return 0;
    if (l->count == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 16;
        uint64_t *grown = cap > MAX_FILES ? NULL : realloc(l->ids, cap * sizeof *grown);
        if (!grown) {
            l->failed = true;
            return 1;
        }
        l->ids = grown;
        l->cap = cap;
    }
    l->ids[l->count++] = id;
    return 0;
}

static obv_code list_ids(obv_archive *a, const obv_path *dir, id_list *out, obv_err *err)
{
    out->dir = dir;
    const obv_code code = obv_store_list(a->cfg.store, dir->s, add_id, out, a->cancel, err);
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    if (out->failed)
        return obv_fail(err, OBV_E_LIMIT, 0, "%s: too many files", dir->s);
    if (out->count > 1)
        qsort(out->ids, out->count, sizeof *out->ids, obv_cmp_u64);
    return OBV_OK;
}

/* Start and progress as an index record (or an archive_key) states them. */
static void apply_record(obv_archive_media *m, const obv_archive_index *r)
{
    m->known = true;
    m->start = r->start;
    m->last_log_id = r->max_log_id;
    m->accum = r->accum;
    m->epoch_id = r->clog_epoch_id;
    m->submit_ts = r->max_log_submit_ts;
    m->checkpoint = r->max_checkpoint_ts;
    m->kicked = r->effective || r->max_log_id >= r->start.start_log_id;
}

/* The newest index record. *indexed: the greatest data file id that any index file read names. */
static obv_code read_indexes(obv_archive *a, const obv_archive_pg *pg, const obv_archive_place *place,
                             const id_list *indexes, obv_archive_media *m, uint64_t *indexed, obv_err *err)
{
    for (size_t i = indexes->count; i-- > 0;) {
        obv_path key;
        obv_archive_path_index(place, &pg->key, indexes->ids[i], &key);
        OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(INDEX_READ_MAX);
        OBV_TRY(obv_store_get_all(a->cfg.store, key.s, INDEX_READ_MAX, &file, a->cancel, err));
        obv_archive_index_scan s;
        obv_archive_index_scan_file(obv_buf_span(&file), &s);
        if (s.damaged > 0)
            OBV_WARN("%s: %u damaged records, skipped as readers skip them", key.s, s.damaged);
        if (s.records == 0)
            continue;
        apply_record(m, &s.last);
        m->kicked |= s.has_effective;
        *indexed = s.last.data_file_id;
        return OBV_OK;
    }
    return OBV_OK;
}

static obv_code read_key(obv_archive *a, const obv_archive_pg *pg, const obv_archive_place *place, obv_archive_media *m,
                         obv_err *err)
{
    obv_path key;
    obv_archive_path_key(place, &pg->key, &key);
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(4096);
    const obv_code code = obv_store_get_all(a->cfg.store, key.s, 4096, &file, a->cancel, err);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(code);
    obv_archive_key k;
    if (obv_archive_key_parse(obv_buf_span(&file), &k, err) != OBV_OK)
        return obv_wrap(err, "%s", key.s);
    m->has_key = true;
    if (!m->known)
        apply_record(m, &k.state);
    m->kicked |= !k.first_piece; /* in an earlier piece */
    return OBV_OK;
}

/* Replaces a data file by its good part. */
static obv_code cut(obv_archive *a, const char *key, const obv_archive_scan *s, obv_err *err)
{
    if (!(obv_store_caps(a->cfg.store) & OBV_STORE_CAN_REPLACE))
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s: %llu bytes behind its good part, and it cannot be replaced", key,
                        (unsigned long long)(s->size - s->valid_end));
    OBV_WARN("%s: cut from %llu to %llu bytes; the rest was never synced", key, (unsigned long long)s->size,
             (unsigned long long)s->valid_end);
    OBV_AUTO(obv_buf_fini) obv_buf good = obv_buf_heap(OBV_ARCHIVE_FILE_MAX);
    uint8_t *to = obv_buf_reserve(&good, (size_t)s->valid_end);
    OBV_TRY(obv_buf_check(&good, key, err));
    size_t got = 0;
    if (s->valid_end > 0)
        OBV_TRY(obv_store_get(a->cfg.store, key, 0, to, (size_t)s->valid_end, &got, a->cancel, err));
    if (got != s->valid_end)
        return obv_fail(err, OBV_E_CONFLICT, 0, "%s shrank while it was read", key);
    return obv_store_put_bytes(a->cfg.store, key, false, obv_buf_span(&good), a->cancel, err);
}

/* One data file that no index record names yet. */
static obv_code close_file(obv_archive *a, obv_archive_pg *pg, const obv_archive_place *place, uint64_t id,
                           obv_archive_media *m, obv_err *err)
{
    obv_path key;
    obv_archive_path_data(place, &pg->key, id, &key);
    const bool distrusted = id == pg->distrust_file && pg->piece == pg->distrust_piece;
    const uint64_t trust = distrusted ? pg->distrust_at : OBV_ARCHIVE_FILE_MAX;
    obv_archive_scan s;
    OBV_TRY(obv_archive_scan_data(a, pg, key.s, trust, m, &s, err));
    if (s.later_block)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is damaged at %llu, in the middle", key.s,
                        (unsigned long long)s.valid_end);
    if (s.valid_end < s.size && !s.torn_only) {
        OBV_TRY(cut(a, key.s, &s, err));
    } else {
        /* its writer may have been killed between append and sync */
        const char *keys[] = {key.s};
        OBV_TRY(obv_store_sync(a->cfg.store, keys, 1, NULL, a->cancel, err));
    }
    m->file_min_log_id = s.min_log_id;
    m->file_min_ts = s.min_log_ts;
    pg->media = *m;
    const obv_archive_index r = obv_archive_index_of(m, id, s.any);
    OBV_TRY(obv_archive_add_index(a, pg, &r, err));
    m->index_file = pg->media.index_file;
    m->index_at = pg->media.index_at;
    m->last_index = pg->media.last_index;
    OBV_FAULT("archive.takeover_indexed");
    return OBV_OK;
}

static uint64_t next_id(uint64_t last, uint64_t least) { return last + 1 > least ? last + 1 : least; }

static obv_code resume_once(obv_archive *a, obv_archive_pg *pg, obv_err *err)
{
    obv_path data_dir, index_dir;
    const obv_archive_place place = obv_archive_place_of(a, pg);
    obv_archive_path_data_dir(&place, &pg->key, &data_dir);
    obv_archive_path_index_dir(&place, &pg->key, &index_dir);
    OBV_AUTO(id_list_fini) id_list datas = {0}, indexes = {0};
    OBV_TRY(list_ids(a, &index_dir, &indexes, err));
    OBV_TRY(list_ids(a, &data_dir, &datas, err));
    OBV_FAULT("archive.takeover_listed");
    obv_archive_media m = {0};
    uint64_t indexed = 0;
    OBV_TRY(read_indexes(a, pg, &place, &indexes, &m, &indexed, err));
    OBV_TRY(read_key(a, pg, &place, &m, err));
    const uint64_t last_data = datas.count ? datas.ids[datas.count - 1] : 0;
    const uint64_t last_index = indexes.count ? indexes.ids[indexes.count - 1] : 0;
    if (!m.known && last_data > 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s holds data, but neither archive_key nor index says where it begins",
                        data_dir.s);
    m.index_file = next_id(last_index, pg->assign.first_index_file);
    m.last_data = last_data;
    m.last_index = last_index;
    for (size_t i = 0; i < datas.count; i++)
        if (datas.ids[i] > indexed)
            OBV_TRY(close_file(a, pg, &place, datas.ids[i], &m, err));
    if (last_data > 0 && last_data <= indexed) {
        obv_path last;
        obv_archive_path_data(&place, &pg->key, last_data, &last);
        OBV_TRY(obv_archive_peek_last(a, pg, last.s, &m, err));
    }
    m.data_file = next_id(last_data > indexed ? last_data : indexed, pg->assign.first_data_file);
    m.data_at = 0;
    pg->media = m;
    pg->synced_at = 0;
    pg->distrust_file = 0;
    return OBV_OK;
}

obv_code obv_archive_peek_piece(obv_archive *a, const obv_archive_pg *pg, obv_archive_media *m, obv_err *err)
{
    obv_path dir, last;
    const obv_archive_place place = obv_archive_place_of(a, pg);
    obv_archive_path_data_dir(&place, &pg->key, &dir);
    OBV_AUTO(id_list_fini) id_list datas = {0};
    OBV_TRY(list_ids(a, &dir, &datas, err));
    if (datas.count == 0)
        return OBV_OK;
    obv_archive_path_data(&place, &pg->key, datas.ids[datas.count - 1], &last);
    return obv_archive_peek_last(a, pg, last.s, m, err);
}

obv_code obv_archive_resume(obv_archive *a, obv_archive_pg *pg, obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    for (unsigned attempt = 0;; attempt++) {
        const obv_code code = resume_once(a, pg, err);
        if (code == OBV_OK)
            return OBV_OK;
        /* another writer made a file of the id that we wanted: look again */
        if ((code != OBV_E_EXISTS && code != OBV_E_CONFLICT) || attempt >= 4)
            return obv_wrap(err, "take over PG %s", obv_pg_key_text(&pg->key, text));
    }
}
