/* verify_archive.c - the archived log of every PG of a tenant: key, index files, data files, and what sets need of it
 *
 * Each data file is read once, forward; each entry is proven by its checksums, by its place in the sequence of log ids
 * and by the accumulated checksum at the end of its block. Duplicates of a late writer are skipped as readers skip
 * them.
 */
#include "base/crc32c.h"
#include "format/media/archive_key.h"
#include "format/media/archive_paths.h"
#include "format/ob/keys.h"
#include "job/verify_priv.h"

#include <inttypes.h>

enum { FILES_MAX = 1 << 20, INDEX_FILE_MAX = 1 << 20, SCRATCH_MAX = OBV_ARCHIVE_MAX_RAW, KEY_RESERVED_AT = 6 };
#define LOOK_MAX (OBV_ARCHIVE_MAX_BLOCK + OBV_ARCHIVE_BLOCK_TAIL)
_Static_assert(LOOK_MAX <= OBV_NATIVE_BLOCK_MAX, "a block fits the window");

typedef struct numbered {
    uint64_t id, size;
} numbered;

/* What an index record says of a data file; the last record of a file wins. */
typedef struct indexed {
    obv_archive_index r;
    uint64_t in_file; /* of the index */
    int64_t at;
    bool met; /* a block ends where it says */
} indexed;

typedef struct pg {
    obv_verify *v;
    uint64_t tenant, round, table;
    int64_t partition;
    obv_archive_place place;         /* of the piece at hand */
    obv_pg_key key;                  /* only for paths: table and 64-bit id */
    obv_verify_array datas, indexes; /* numbered, of the piece */
    obv_verify_array records;        /* indexed, of the piece */
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
    bool any_piece;
} pg;

#define SAY(p, class, key, at, ...) obv_verify_say((p)->v, OBV_VERIFY_##class, key, at, __VA_ARGS__)

/* ---- files of one piece */

typedef struct id_listing {
    pg *p;
    obv_verify_array *to;
    const obv_path *dir;
} id_listing;

static int on_id(void *ctx, const char *key, uint64_t size)
{
    id_listing *l = ctx;
    uint64_t id = 0;
    if (!obv_archive_path_file_id(key, l->dir, &id))
        return 0;
    numbered *n = l->to->count < FILES_MAX ? obv_verify_add(l->to, sizeof *n, &l->p->err) : NULL;
    if (!n) {
        if (l->p->err.code == OBV_OK)
            (void)obv_fail(&l->p->err, OBV_E_LIMIT, 0, "%s: more than %d files", l->dir->s, FILES_MAX);
        return 1;
    }
    *n = (numbered){id, size};
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const uint64_t x = ((const numbered *)a)->id;
    const uint64_t y = ((const numbered *)b)->id;
    return x < y ? -1 : x > y;
}

static obv_code list_ids(pg *p, const obv_path *dir, obv_verify_array *to, obv_err *err)
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
        qsort(to->items, to->count, sizeof(numbered), by_id);
    return OBV_OK;
}

/* ---- archive_key */

static bool same_start(const obv_archive_base *a, const obv_archive_base *b)
{
    return a->start_log_id == b->start_log_id && a->start_ts == b->start_ts &&
           a->snapshot_version == b->snapshot_version && a->log_submit_ts == b->log_submit_ts &&
           a->clog_epoch_id == b->clog_epoch_id && a->accum == b->accum;
}

static obv_verify_wanted *wanted_at(const pg *p, uint64_t log_id, size_t *from);

/* The state behind a log id: sets that begin here must say the same. */
static void meet_wanted(const pg *p, uint64_t log_id)
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

static void begin(pg *p, uint64_t log_id, int64_t accum, int64_t epoch, int64_t submit)
{
    p->begun = p->chained = true;
    p->expect = log_id;
    p->accum = accum;
    p->epoch_id = epoch;
    p->submit_ts = submit;
    meet_wanted(p, log_id - 1);
}

static void check_first_key(pg *p, const char *where, const obv_archive_key *k)
{
    const obv_archive_index *r = &k->state;
    p->known = true;
    p->start = r->start;
    if (!k->first_piece || r->effective || r->data_file_id != 0 || k->max_index_file_id != 0 ||
        r->max_log_id != r->start.start_log_id - 1 || r->accum != r->start.accum ||
        r->max_log_submit_ts != r->start.log_submit_ts)
        SAY(p, INCONSISTENT, where, 0, "it is not the key of a first piece");
    begin(p, r->start.start_log_id, r->start.accum, r->start.clog_epoch_id, r->start.log_submit_ts);
}

static void check_later_key(pg *p, const char *where, const obv_archive_key *k)
{
    const obv_archive_index *r = &k->state;
    if (k->first_piece || !same_start(&r->start, &p->start))
        SAY(p, INCONSISTENT, where, 0, "it begins the round elsewhere than the piece before");
    if (r->max_log_id != p->expect - 1 || (p->chained && r->accum != p->accum))
        SAY(p, INCONSISTENT, where, 0, "its base is log %" PRIu64 ", the piece before ends at %" PRIu64, r->max_log_id,
            p->expect - 1);
    if (k->max_index_file_id != p->last_index_file || (r->effective && r->data_file_id != p->last_data_file))
        SAY(p, INCONSISTENT, where, 0, "its last files of the piece before are not those");
}

static obv_code read_key(pg *p, obv_err *err)
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

static obv_code take_record(pg *p, const char *where, int64_t at, const numbered *file, obv_span bytes, obv_err *err)
{
    obv_archive_index r;
    obv_err why = {0};
    if (obv_archive_index_parse(bytes, &r, &why) != OBV_OK)
        return obv_verify_judge(p->v, where, at, &why, err);
    if (p->known && !same_start(&r.start, &p->start))
        SAY(p, INCONSISTENT, where, at, "it begins the round elsewhere than the archive_key");
    if (!r.effective && r.min_log_id != r.max_log_id)
        SAY(p, INCONSISTENT, where, at, "a record without data that names a range");
    indexed *to = obv_verify_add(&p->records, sizeof *to, err);
    if (!to)
        return OBV_E_NOMEM;
    *to = (indexed){.r = r, .in_file = file->id, .at = at};
    return OBV_OK;
}

static obv_code read_index_file(pg *p, const numbered *file, obv_err *err)
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
        const indexed *r = (const indexed *)p->records.items + before;
        if (r->r.data_file_id < last)
            SAY(p, INCONSISTENT, where.s, (int64_t)at, "data file %" PRIu64 " behind %" PRIu64, r->r.data_file_id,
                last);
        last = r->r.data_file_id;
    }
    if (at < len)
        SAY(p, LEFTOVER, where.s, (int64_t)at, "a torn record of %zu bytes at the end", len - at);
    return OBV_OK;
}

static void check_records(const pg *p)
{
    const indexed *r = p->records.items;
    const numbered *d = p->datas.items;
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

/* ---- data files */

typedef struct data_file {
    pg *p;
    const numbered *n;
    obv_path where;
    bool any;
    uint64_t min_log_id;
    int64_t min_log_ts;
} data_file;

static bool is_mine(const pg *p, const obv_pg_key *k)
{
    return k->table_id == p->table && obv_pg_key_partition_id(k) == p->partition;
}

/* The block that opens a PG's round. */
static obv_code take_kickoff(data_file *f, const obv_archive_block *b, const obv_clog_entry *e, obv_span data,
                             obv_err *err)
{
    pg *p = f->p;
    obv_archive_kickoff k;
    OBV_TRY(obv_archive_kickoff_parse(e, data, &k, err));
    const obv_archive_base start = {.start_log_id = k.start_log_id,
                                    .start_ts = k.start_ts,
                                    .snapshot_version = k.snapshot_version,
                                    .log_submit_ts = k.log_submit_ts,
                                    .clog_epoch_id = b->clog_epoch_id,
                                    .accum = b->accum};
    if (b->max_log_id != k.start_log_id - 1 || b->max_log_submit_ts != k.log_submit_ts)
        return obv_fail(err, OBV_E_CORRUPT, 0,
                        "the kickoff's block ends at log %" PRIu64 ", the round begins at %" PRIu64, b->max_log_id,
                        k.start_log_id);
    if (p->known && !same_start(&start, &p->start))
        return obv_fail(err, OBV_E_CORRUPT, 0, "the kickoff begins the round elsewhere than the archive_key");
    if (!p->known) {
        p->known = true;
        p->start = start;
        begin(p, start.start_log_id, start.accum, start.clog_epoch_id, start.log_submit_ts);
    }
    return OBV_OK;
}

static obv_code take_entry(data_file *f, const obv_clog_entry *e, obv_span data, obv_err *err)
{
    pg *p = f->p;
    if (!is_mine(p, &e->pg))
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %" PRIu64 " is of PG %" PRIu64 "/%" PRId64, e->log_id,
                        e->pg.table_id, obv_pg_key_partition_id(&e->pg));
    if (obv_clog_type_is_local(e->type) || e->type == OBV_ENTRY_ARCHIVE_CHECKPOINT)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %" PRIu64 " of type %d is never archived", e->log_id, (int)e->type);
    obv_clog_facts facts;
    OBV_TRY(obv_clog_entry_facts(e, data, &facts, err));
    if (!p->begun)
        begin(p, e->log_id, 0, 0, 0), p->chained = false;
    if (e->log_id < p->expect)
        return OBV_OK; /* a late writer's duplicate */
    if (e->log_id > p->expect) {
        SAY(p, INCONSISTENT, f->where.s, -1, "logs %" PRIu64 " to %" PRIu64 " are missing before it", p->expect,
            e->log_id - 1);
        p->chained = false; /* one gap, one finding */
    } else if (p->chained && !obv_clog_type_is_nop(e->type) && e->submit_ts <= p->submit_ts) {
        SAY(p, INCONSISTENT, f->where.s, -1, "the time of log %" PRIu64 " does not grow", e->log_id);
    }
    p->expect = e->log_id + 1;
    p->accum = obv_clog_accum(p->accum, e->data_checksum);
    if (e->submit_ts > p->submit_ts)
        p->submit_ts = e->submit_ts;
    if (e->epoch_id > p->epoch_id)
        p->epoch_id = e->epoch_id;
    if (facts.checkpoint > p->checkpoint)
        p->checkpoint = facts.checkpoint;
    p->v->stats->logs++;
    meet_wanted(p, e->log_id);
    return OBV_OK;
}

/* The entries of one block, then what its header says of them. */
static obv_code take_entries(data_file *f, const obv_archive_block *b, uint64_t at, obv_span raw, obv_err *err)
{
    pg *p = f->p;
    uint64_t last = 0;
    for (size_t done = 0; done < raw.len;) {
        const obv_span rest = obv_span_of(raw.p + done, raw.len - done);
        obv_clog_entry e;
        OBV_TRY(obv_clog_entry_parse(rest, &e, err));
        const obv_span data = obv_span_of(rest.p + OBV_CLOG_ENTRY_HEADER, rest.len - OBV_CLOG_ENTRY_HEADER);
        OBV_TRY(obv_clog_entry_check_data(&e, data, err));
        const bool kickoff = e.type == OBV_ENTRY_ARCHIVE_KICKOFF;
        if (!f->any) {
            f->any = true;
            f->min_log_id = b->min_log_id_in_file;
            f->min_log_ts = b->min_log_ts_in_file;
            if (b->min_log_id_in_file != e.log_id - (kickoff ? 1 : 0) || b->min_log_ts_in_file != e.submit_ts)
                SAY(p, INCONSISTENT, f->where.s, (int64_t)at, "its first log is %" PRIu64 ", the block says %" PRIu64,
                    e.log_id, b->min_log_id_in_file);
        }
        if (kickoff) {
            if (at != 0 || done != 0 || OBV_CLOG_ENTRY_HEADER + e.data_len != raw.len || !is_mine(p, &e.pg))
                return obv_fail(err, OBV_E_CORRUPT, 0, "a kickoff that is not alone at the beginning");
            return take_kickoff(f, b, &e, data, err);
        }
        if (done > 0 && e.log_id != last + 1)
            return obv_fail(err, OBV_E_CORRUPT, 0, "log %" PRIu64 " behind %" PRIu64 " in one block", e.log_id, last);
        last = e.log_id;
        OBV_TRY(take_entry(f, &e, data, err));
        done += OBV_CLOG_ENTRY_HEADER + e.data_len;
    }
    if (b->max_log_id != last)
        return obv_fail(err, OBV_E_CORRUPT, 0, "the block says it ends at log %" PRIu64 ", it ends at %" PRIu64,
                        b->max_log_id, last);
    if (last != p->expect - 1)
        return OBV_OK; /* duplicates only */
    if (!p->chained) {
        p->accum = b->accum; /* go on with what the block says */
        p->chained = true;
    } else if (b->accum != p->accum) {
        SAY(p, INCONSISTENT, f->where.s, (int64_t)at,
            "accumulated checksum %" PRIx64 " at log %" PRIu64 ", its logs give %" PRIx64, (uint64_t)b->accum, last,
            (uint64_t)p->accum);
        p->accum = b->accum;
    }
    if (b->max_checkpoint_ts < p->checkpoint)
        SAY(p, INCONSISTENT, f->where.s, (int64_t)at, "its checkpoint %" PRId64 " is below %" PRId64,
            b->max_checkpoint_ts, p->checkpoint);
    p->checkpoint = b->max_checkpoint_ts > p->checkpoint ? b->max_checkpoint_ts : p->checkpoint;
    return OBV_OK;
}

static void meet_records(const data_file *f, const obv_archive_block *b)
{
    indexed *r = f->p->records.items;
    for (size_t i = 0; i < f->p->records.count; i++)
        if (r[i].r.data_file_id == f->n->id && r[i].r.max_log_id == b->max_log_id &&
            r[i].r.min_log_id == f->min_log_id && r[i].r.accum == b->accum &&
            r[i].r.clog_epoch_id == b->clog_epoch_id && r[i].r.max_log_submit_ts == b->max_log_submit_ts)
            r[i].met = true;
}

/* Everything of a block behind its header. */
static obv_code check_block(data_file *f, const obv_archive_block *b, uint64_t at, obv_span in, obv_err *err)
{
    obv_rd tail = obv_rd_of(obv_span_of(in.p + b->total_len, OBV_ARCHIVE_BLOCK_TAIL));
    const obv_span payload = obv_span_of(in.p + OBV_ARCHIVE_BLOCK_HEADER, b->total_len - OBV_ARCHIVE_BLOCK_HEADER);
    const uint32_t own = obv_rd_be32(&tail);
    if (obv_crc64(0, payload) != (uint64_t)b->data_checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "checksum of the block's bytes differs");
    if (own != at)
        SAY(f->p, DAMAGED, f->where.s, (int64_t)(at + b->total_len),
            "the block's tail says that it begins at %" PRIu32 ", it begins at %" PRIu64, own, at);
    obv_span raw;
    OBV_TRY(obv_archive_payload_unpack(payload, &f->p->scratch, &raw, err));
    OBV_TRY(take_entries(f, b, at, raw, err));
    if (f->any && (b->min_log_id_in_file != f->min_log_id || b->min_log_ts_in_file != f->min_log_ts))
        return obv_fail(err, OBV_E_CORRUPT, 0, "the first log of the file is %" PRIu64 " here, %" PRIu64 " before",
                        b->min_log_id_in_file, f->min_log_id);
    meet_records(f, b);
    return OBV_OK;
}

/* The next good header behind damage; the file's end if there is none. */
static obv_code find_block(data_file *f, uint64_t from, uint64_t *at, obv_err *err)
{
    obv_native_window *w = &f->p->v->window;
    for (uint64_t i = from; i + OBV_ARCHIVE_BLOCK_HEADER <= w->size;) {
        obv_span in;
        OBV_TRY(obv_native_look(w, i, LOOK_MAX, &in, err));
        if (in.len < OBV_ARCHIVE_BLOCK_HEADER)
            break;
        const size_t last = in.len - OBV_ARCHIVE_BLOCK_HEADER;
        for (size_t k = 0; k <= last; k++) {
            const uint8_t *hit = memchr(in.p + k, 'A', last - k + 1);
            if (!hit)
                break;
            k = (size_t)(hit - in.p);
            obv_archive_block b;
            if (obv_archive_block_parse(obv_span_of(hit, in.len - k), &b, NULL) == OBV_OK) {
                *at = i + k;
                return OBV_OK;
            }
        }
        i += last + 1;
    }
    *at = w->size;
    return OBV_OK;
}

/* Nothing but zeros up to the end: a file that grew before its bytes came. */
static obv_code is_zero_tail(data_file *f, uint64_t from, bool *zero, obv_err *err)
{
    obv_native_window *w = &f->p->v->window;
    *zero = true;
    while (from < w->size && *zero) {
        obv_span in;
        OBV_TRY(obv_native_look(w, from, LOOK_MAX, &in, err));
        *zero = obv_native_zeros(in) == in.len;
        from += in.len;
    }
    return OBV_OK;
}

static obv_code walk(data_file *f, obv_err *err)
{
    obv_native_window *w = &f->p->v->window;
    for (uint64_t at = 0; at < w->size;) {
        obv_span in;
        obv_archive_block b;
        obv_err why = {0};
        OBV_TRY(obv_verify_cancelled(f->p->v, err));
        obv_code code = obv_native_look(w, at, LOOK_MAX, &in, &why);
        if (code != OBV_OK)
            return obv_verify_judge(f->p->v, f->where.s, (int64_t)at, &why, err);
        bool zero = false;
        if (obv_archive_block_parse(in, &b, &why) != OBV_OK) {
            if (in.len >= OBV_ARCHIVE_BLOCK_HEADER)
                OBV_TRY(is_zero_tail(f, at, &zero, err));
            if (in.len < OBV_ARCHIVE_BLOCK_HEADER || zero) {
                SAY(f->p, LEFTOVER, f->where.s, (int64_t)at, "a torn tail of %" PRIu64 " bytes", w->size - at);
                return OBV_OK;
            }
            OBV_TRY(obv_verify_judge(f->p->v, f->where.s, (int64_t)at, &why, err));
            OBV_TRY(find_block(f, at + 1, &at, err));
            continue;
        }
        if (in.len < b.total_len + OBV_ARCHIVE_BLOCK_TAIL) {
            SAY(f->p, LEFTOVER, f->where.s, (int64_t)at, "a torn tail of %zu bytes", in.len);
            return OBV_OK;
        }
        if (check_block(f, &b, at, in, &why) != OBV_OK)
            OBV_TRY(obv_verify_judge(f->p->v, f->where.s, (int64_t)at, &why, err));
        at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
    return OBV_OK;
}

static obv_code read_data_file(pg *p, const numbered *n, obv_err *err)
{
    data_file f = {.p = p, .n = n};
    obv_archive_path_data(&p->place, &p->key, n->id, &f.where);
    if (n->size > OBV_ARCHIVE_FILE_MAX)
        SAY(p, INCONSISTENT, f.where.s, -1, "a data file of %" PRIu64 " bytes", n->size);
    obv_native_window_open(&p->v->window, f.where.s, n->size);
    return walk(&f, err);
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
static obv_verify_wanted *wanted_at(const pg *p, uint64_t log_id, size_t *from)
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

static obv_code read_piece(pg *p, obv_err *err)
{
    obv_path data_dir;
    obv_path index_dir;
    obv_archive_path_data_dir(&p->place, &p->key, &data_dir);
    obv_archive_path_index_dir(&p->place, &p->key, &index_dir);
    p->records.count = 0;
    OBV_TRY(list_ids(p, &data_dir, &p->datas, err));
    OBV_TRY(list_ids(p, &index_dir, &p->indexes, err));
    OBV_TRY(read_key(p, err));
    const numbered *n = p->indexes.items;
    for (size_t i = 0; i < p->indexes.count; i++)
        OBV_TRY(read_index_file(p, &n[i], err));
    const numbered *d = p->datas.items;
    for (size_t i = 0; i < p->datas.count && p->v->cfg->depth == OBV_VERIFY_DEEP; i++)
        OBV_TRY(read_data_file(p, &d[i], err));
    check_records(p);
    p->any_piece = true;
    p->last_index_file = p->indexes.count ? n[p->indexes.count - 1].id : 0;
    p->last_data_file = p->datas.count ? d[p->datas.count - 1].id : 0;
    return OBV_OK;
}

static obv_code read_pg(obv_verify *v, const obv_verify_pg_dir *d, obv_err *err)
{
    pg p = {.v = v,
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
