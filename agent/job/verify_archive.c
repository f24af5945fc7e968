/* verify_archive.c - the archived log of every PG of a tenant: key, index files, and what sets need of it
 *
 * Each data file is read once, forward (verify_archive_data.c); index records were read before and meet their blocks
 * then. Duplicates of a late writer are skipped as readers skip them.
 */
#include "job/verify_archive.h"

#include "format/media/archive_key.h"
#include "format/ob/keys.h"

#include <inttypes.h>

enum { FILES_MAX = 1 << 20, INDEX_FILE_MAX = 1 << 20, SCRATCH_MAX = OBV_ARCHIVE_MAX_RAW, KEY_RESERVED_AT = 6 };

#define SAY OBV_VARCH_SAY

/* ---- files of one piece */

typedef struct id_listing {
    obv_varch *p;
    obv_verify_array *to;
    const obv_path *dir;
} id_listing;

static int on_id(void *ctx, const char *key, uint64_t size)
{
    id_listing *l = ctx;
    uint64_t id = 0;
    if (!obv_archive_path_file_id(key, l->dir, &id))
        return 0;
    obv_varch_file *n = l->to->count < FILES_MAX ? obv_verify_add(l->to, sizeof *n, &l->p->err) : NULL;
    if (!n) {
        if (l->p->err.code == OBV_OK)
            (void)obv_fail(&l->p->err, OBV_E_LIMIT, 0, "%s: more than %d files", l->dir->s, FILES_MAX);
        return 1;
    }
    *n = (obv_varch_file){id, size};
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const uint64_t x = ((const obv_varch_file *)a)->id;
    const uint64_t y = ((const obv_varch_file *)b)->id;
    return x < y ? -1 : x > y;
}

static obv_code list_ids(obv_varch *p, const obv_path *dir, obv_verify_array *to, obv_err *err)
{
    id_listing l = {.p = p, .to = to, .dir = dir};
    to->count = 0;
    const obv_code code = p->v->cfg->io->list(p->v->cfg->io->ctx, dir->s, on_id, &l, err);
    if (p->err.code != OBV_OK) {
        if (err)
            *err = p->err;
        return p->err.code;
    }
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    if (to->count > 1)
        qsort(to->items, to->count, sizeof(obv_varch_file), by_id);
    return OBV_OK;
}

/* ---- archive_key */

bool obv_varch_same_start(const obv_archive_base *a, const obv_archive_base *b)
{
    return a->start_log_id == b->start_log_id && a->start_ts == b->start_ts &&
           a->snapshot_version == b->snapshot_version && a->log_submit_ts == b->log_submit_ts &&
           a->clog_epoch_id == b->clog_epoch_id && a->accum == b->accum;
}

static obv_verify_wanted *wanted_at(const obv_varch *p, uint64_t log_id, size_t *from);

/* The state behind a log id: sets that begin here must say the same. */
void obv_varch_meet(const obv_varch *p, uint64_t log_id)
{
    size_t from = 0;
    obv_verify_wanted *w;
    while ((w = wanted_at(p, log_id, &from)) != NULL) {
        w->found = true;
        const bool from_first = log_id == 0 && p->start.clog_epoch_id == 1 && p->accum == 0;
        if (from_first || !p->chained)
            continue; /* log 0 stands for nothing */
        obv_path where;
        obv_archive_path_key(&p->place, &p->key, &where);
        if ((uint32_t)w->accum != (uint32_t)p->accum || w->submit_ts != p->submit_ts || w->epoch_id > p->epoch_id)
            SAY(p, INCONSISTENT, where.s, -1,
                "at log %" PRIu64 " set %" PRId64 " has checksum %" PRIx64 ", time %" PRId64 ", the archive %" PRIx64
                ", %" PRId64,
                log_id, w->set_id, (uint64_t)w->accum, w->submit_ts, (uint64_t)p->accum, p->submit_ts);
    }
}

void obv_varch_begin(obv_varch *p, uint64_t log_id, int64_t accum, int64_t epoch, int64_t submit)
{
    p->begun = p->chained = true;
    p->expect = log_id;
    p->accum = accum;
    p->epoch_id = epoch;
    p->submit_ts = submit;
    obv_varch_meet(p, log_id - 1);
}

static void check_first_key(obv_varch *p, const char *where, const obv_archive_key *k)
{
    const obv_archive_index *r = &k->state;
    p->known = true;
    p->start = r->start;
    if (!k->first_piece || r->effective || r->data_file_id != 0 || k->max_index_file_id != 0 ||
        r->max_log_id != r->start.start_log_id - 1 || r->accum != r->start.accum ||
        r->max_log_submit_ts != r->start.log_submit_ts)
        SAY(p, INCONSISTENT, where, 0, "it is not the key of a first piece");
    obv_varch_begin(p, r->start.start_log_id, r->start.accum, r->start.clog_epoch_id, r->start.log_submit_ts);
}

static void check_later_key(obv_varch *p, const char *where, const obv_archive_key *k)
{
    const obv_archive_index *r = &k->state;
    if (k->first_piece || !obv_varch_same_start(&r->start, &p->start))
        SAY(p, INCONSISTENT, where, 0, "it begins the round elsewhere than the piece before");
    /* an earlier writer that had not heard of the switch made the old piece longer: its logs come again in this one */
    const bool deep = p->v->cfg->depth == OBV_VERIFY_DEEP; /* else no log was read */
    const bool outgrown = deep && r->max_log_id < p->expect - 1;
    if (outgrown) {
        SAY(p, LEFTOVER, where, 0, "its base is log %" PRIu64 ", the piece before goes on to %" PRIu64, r->max_log_id,
            p->expect - 1);
        /* all of them: a reader that needs the log behind the base begins here */
        p->expect = r->max_log_id + 1;
        p->accum = r->accum;
        p->epoch_id = r->clog_epoch_id;
        p->submit_ts = r->max_log_submit_ts;
        p->chained = true;
    } else if (deep && (r->max_log_id != p->expect - 1 || (p->chained && r->accum != p->accum))) {
        SAY(p, INCONSISTENT, where, 0, "its base is log %" PRIu64 ", the piece before ends at %" PRIu64, r->max_log_id,
            p->expect - 1);
    }
    const uint64_t index = p->last_index_file, data = r->effective ? r->data_file_id : p->last_data_file;
    if (k->max_index_file_id > index || data > p->last_data_file ||
        (deep && !outgrown && (k->max_index_file_id != index || data != p->last_data_file)))
        SAY(p, INCONSISTENT, where, 0, "its last files of the piece before are not those");
}

static obv_code read_key(obv_varch *p, obv_err *err)
{
    obv_path where;
    obv_archive_path_key(&p->place, &p->key, &where);
    OBV_AUTO(obv_buf_fini) obv_buf bytes = obv_buf_heap(8192);
    obv_err why = {0};
    obv_archive_key k;
    obv_code code = obv_native_read(p->v->cfg->io, where.s, 4096, &bytes, &why);
    if (code == OBV_E_NOT_FOUND) {
        if (p->datas.count > 0 || p->indexes.count > 0)
            SAY(p, MISSING, where.s, -1, "there is log of this PG, but not this file");
        return OBV_OK;
    }
    if (code == OBV_OK && !p->v->stats->ours && bytes.len == OBV_ARCHIVE_KEY_BYTES)
        memset(bytes.data + KEY_RESERVED_AT, 0, 2); /* OceanBase does not look at it */
    if (code == OBV_OK)
        code = obv_archive_key_parse(obv_buf_span(&bytes), &k, &why);
    if (code != OBV_OK)
        return obv_verify_judge(p->v, where.s, 0, &why, err);
    if (p->any_piece && p->known)
        check_later_key(p, where.s, &k);
    else
        check_first_key(p, where.s, &k);
    return OBV_OK;
}

/* ---- index files */

static obv_code take_record(obv_varch *p, const char *where, int64_t at, const obv_varch_file *file, obv_span bytes,
                            obv_err *err)
{
    obv_archive_index r;
    obv_err why = {0};
    if (obv_archive_index_parse(bytes, &r, &why) != OBV_OK)
        return obv_verify_judge(p->v, where, at, &why, err);
    if (p->known && !obv_varch_same_start(&r.start, &p->start))
        SAY(p, INCONSISTENT, where, at, "it begins the round elsewhere than the archive_key");
    if (!r.effective && r.min_log_id != r.max_log_id)
        SAY(p, INCONSISTENT, where, at, "a record without data that names a range");
    obv_varch_record *to = obv_verify_add(&p->records, sizeof *to, err);
    if (!to)
        return OBV_E_NOMEM;
    *to = (obv_varch_record){.r = r, .in_file = file->id, .at = at};
    return OBV_OK;
}

static obv_code read_index_file(obv_varch *p, const obv_varch_file *file, obv_err *err)
{
    obv_path where;
    obv_archive_path_index(&p->place, &p->key, file->id, &where);
    OBV_AUTO(obv_buf_fini) obv_buf bytes = obv_buf_heap(INDEX_FILE_MAX + 8192);
    bool ok = false;
    OBV_TRY(obv_verify_read(p->v, where.s, INDEX_FILE_MAX, &bytes, &ok, err));
    if (!ok)
        return OBV_OK;
    const size_t len = bytes.len < file->size ? bytes.len : (size_t)file->size;
    uint64_t last = 0;
    size_t at = 0;
    for (; len - at >= OBV_ARCHIVE_INDEX_RECORD; at += OBV_ARCHIVE_INDEX_RECORD) {
        const size_t before = p->records.count;
        OBV_TRY(
            take_record(p, where.s, (int64_t)at, file, obv_span_of(bytes.data + at, OBV_ARCHIVE_INDEX_RECORD), err));
        if (p->records.count == before)
            continue;
        const obv_varch_record *r = (const obv_varch_record *)p->records.items + before;
        if (r->r.data_file_id < last)
            SAY(p, INCONSISTENT, where.s, (int64_t)at, "data file %" PRIu64 " behind %" PRIu64, r->r.data_file_id,
                last);
        last = r->r.data_file_id;
    }
    if (at < len)
        SAY(p, LEFTOVER, where.s, (int64_t)at, "a torn record of %zu bytes at the end", len - at);
    return OBV_OK;
}

static void check_records(const obv_varch *p)
{
    const obv_varch_record *r = p->records.items;
    const obv_varch_file *d = p->datas.items;
    obv_path where;
    for (size_t i = 0; i < p->records.count; i++) {
        const bool is_last = i + 1 == p->records.count || r[i + 1].r.data_file_id != r[i].r.data_file_id;
        if (!r[i].r.effective || r[i].met || !is_last || p->v->cfg->depth != OBV_VERIFY_DEEP)
            continue;
        obv_archive_path_index(&p->place, &p->key, r[i].in_file, &where);
        SAY(p, INCONSISTENT, where.s, r[i].at,
            "data file %" PRIu64 " has no good block that ends at log %" PRIu64 " as this record says",
            r[i].r.data_file_id, r[i].r.max_log_id);
    }
    /* a data file gets its record before the next one is begun */
    for (size_t i = 0; i + 1 < p->datas.count; i++) {
        bool found = false;
        for (size_t k = 0; k < p->records.count && !found; k++)
            found = r[k].r.data_file_id == d[i].id;
        if (found)
            continue;
        obv_archive_path_data(&p->place, &p->key, d[i].id, &where);
        SAY(p, INCONSISTENT, where.s, -1, "no index record names it, though a later data file was begun");
    }
}

/* ---- one PG over the pieces of a round */

static int by_wanted(const void *x, const void *y)
{
    const obv_verify_wanted *a = x;
    const obv_verify_wanted *b = y;
    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return a->log_id < b->log_id ? -1 : a->log_id > b->log_id;
}

/* Begin with *from = 0; NULL when no (more) set begins at that log of the PG. */
static obv_verify_wanted *wanted_at(const obv_varch *p, uint64_t log_id, size_t *from)
{
    obv_verify_wanted *w = p->v->wanted.items;
    const obv_verify_wanted key = {.table = p->table, .partition = p->partition, .log_id = log_id};
    if (*from == 0) {
        size_t low = 0;
        size_t high = p->v->wanted.count;
        while (low < high) {
            const size_t mid = low + (high - low) / 2;
            if (by_wanted(&w[mid], &key) < 0)
                low = mid + 1;
            else
                high = mid;
        }
        *from = low;
    }
    if (*from >= p->v->wanted.count || by_wanted(&w[*from], &key) != 0)
        return NULL;
    return &w[(*from)++];
}

static obv_code read_piece(obv_varch *p, obv_err *err)
{
    obv_path data_dir;
    obv_path index_dir;
    obv_archive_path_data_dir(&p->place, &p->key, &data_dir);
    obv_archive_path_index_dir(&p->place, &p->key, &index_dir);
    p->records.count = 0;
    OBV_TRY(list_ids(p, &data_dir, &p->datas, err));
    OBV_TRY(list_ids(p, &index_dir, &p->indexes, err));
    OBV_TRY(read_key(p, err));
    const obv_varch_file *n = p->indexes.items;
    for (size_t i = 0; i < p->indexes.count; i++)
        OBV_TRY(read_index_file(p, &n[i], err));
    const obv_varch_file *d = p->datas.items;
    for (size_t i = 0; i < p->datas.count && p->v->cfg->depth == OBV_VERIFY_DEEP; i++)
        OBV_TRY(obv_varch_read_data(p, &d[i], err));
    check_records(p);
    p->any_piece = true;
    p->any_data |= p->datas.count > 0;
    p->last_index_file = p->indexes.count ? n[p->indexes.count - 1].id : 0;
    p->last_data_file = p->datas.count ? d[p->datas.count - 1].id : 0;
    return OBV_OK;
}

/* A round begins with its kickoff: an archive_key alone is a PG that has just begun, or has lost its log. */
static void check_any_data(obv_varch *p)
{
    if (p->any_data || !p->known || p->place.piece != 0)
        return; /* in piece mode a cold PG has keys only */
    obv_path where;
    obv_archive_path_data(&p->place, &p->key, 1, &where);
    const obv_verify_wanted *w = p->v->wanted.items;
    bool wanted = false;
    for (size_t i = 0; i < p->v->wanted.count && !wanted; i++)
        wanted = w[i].table == p->table && w[i].partition == p->partition && w[i].log_id + 1 >= p->start.start_log_id;
    obv_verify_say(p->v, wanted ? OBV_VERIFY_MISSING : OBV_VERIFY_LEFTOVER, where.s, -1,
                   "there is an archive_key, but no log of the PG%s", wanted ? ", which a set needs" : "");
}

static obv_code read_pg(obv_verify *v, const obv_verify_pg_dir *d, obv_err *err)
{
    obv_varch p = {.v = v,
                   .tenant = d->tenant,
                   .round = d->group,
                   .table = d->table,
                   .partition = d->partition,
                   .key = obv_pg_key_from_partition_id(d->table, d->partition),
                   .scratch = obv_buf_heap(SCRATCH_MAX)};
    const obv_verify_piece_dir *pieces = v->piece_dirs.items;
    obv_code code = OBV_OK;
    for (size_t i = 0; i < v->piece_dirs.count && code == OBV_OK; i++) {
        if (pieces[i].tenant != d->tenant || pieces[i].round != d->group)
            continue;
        p.place = (obv_archive_place){.root = v->cfg->root,
                                      .round = pieces[i].round,
                                      .piece = pieces[i].piece,
                                      .piece_date = (int64_t)pieces[i].date};
        code = read_piece(&p, err);
    }
    if (code == OBV_OK)
        check_any_data(&p);
    if (obv_pg_key_tenant(&p.key) != d->tenant) {
        obv_path where;
        obv_archive_path_key(&p.place, &p.key, &where);
        SAY(&p, UNLISTED, where.s, -1, "a PG of another tenant");
    }
    v->stats->archived_pgs++;
    free(p.datas.items);
    free(p.indexes.items);
    free(p.records.items);
    obv_buf_fini(&p.scratch);
    return code;
}

/* Positions of sets that no round has. */
static void report_missing(obv_verify *v, uint64_t tenant)
{
    const obv_verify_wanted *w = v->wanted.items;
    obv_path dir;
    obv_path_tenant(&v->cfg->root, tenant, &dir);
    obv_path_add(&dir, "clog");
    for (size_t i = 0; i < v->wanted.count; i++)
        if (!w[i].found)
            obv_verify_say(v, OBV_VERIFY_MISSING, dir.s, -1,
                           "set %" PRId64 " needs the log of PG %" PRIu64 "/%" PRId64 " behind %" PRIu64
                           ": no round has it",
                           w[i].set_id, w[i].table, w[i].partition, w[i].log_id);
}

obv_code obv_verify_archive(obv_verify *v, uint64_t tenant, obv_err *err)
{
    if (v->wanted.count > 1)
        qsort(v->wanted.items, v->wanted.count, sizeof(obv_verify_wanted), by_wanted);
    const obv_verify_pg_dir *d = v->round_pgs.items;
    bool any = false;
    for (size_t i = 0; i < v->round_pgs.count; i++) {
        if (d[i].tenant != tenant)
            continue;
        any = true;
        OBV_TRY(obv_verify_cancelled(v, err));
        OBV_TRY(read_pg(v, &d[i], err));
    }
    if (v->cfg->depth == OBV_VERIFY_DEEP || !any)
        report_missing(v, tenant);
    return OBV_OK;
}
