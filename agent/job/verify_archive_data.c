/* verify_archive_data.c - data files of the log archive: blocks, entries, and that they follow each other
 *
 * Each entry is proven by its checksums, by its place in the sequence of log ids and by the accumulated checksum at the
 * end of its block.
 */
#include "base/crc32c.h"
#include "format/ob/keys.h"
#include "job/verify_archive.h"

#include <inttypes.h>

#define LOOK_MAX (OBV_ARCHIVE_MAX_BLOCK + OBV_ARCHIVE_BLOCK_TAIL)
_Static_assert(LOOK_MAX <= OBV_NATIVE_BLOCK_MAX, "a block fits the window");

#define SAY OBV_VARCH_SAY

typedef struct data_file {
    obv_varch *p;
    const obv_varch_file *n;
    obv_path where;
    bool any;
    uint64_t min_log_id;
    int64_t min_log_ts;
} data_file;

static bool is_mine(const obv_varch *p, const obv_pg_key *k)
{
    return k->table_id == p->table && obv_pg_key_partition_id(k) == p->partition;
}

/* The block that opens a PG's round. */
static obv_code take_kickoff(data_file *f, const obv_archive_block *b, const obv_clog_entry *e, obv_span data,
                             obv_err *err)
{
    obv_varch *p = f->p;
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
    if (p->known && !obv_varch_same_start(&start, &p->start))
        return obv_fail(err, OBV_E_CORRUPT, 0, "the kickoff begins the round elsewhere than the archive_key");
    if (!p->known) {
        p->known = true;
        p->start = start;
        obv_varch_begin(p, start.start_log_id, start.accum, start.clog_epoch_id, start.log_submit_ts);
    }
    return OBV_OK;
}

static obv_code take_entry(data_file *f, const obv_clog_entry *e, obv_span data, obv_err *err)
{
    obv_varch *p = f->p;
    if (!is_mine(p, &e->pg))
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %" PRIu64 " is of PG %" PRIu64 "/%" PRId64, e->log_id,
                        e->pg.table_id, obv_pg_key_partition_id(&e->pg));
    if (obv_clog_type_is_local(e->type) || e->type == OBV_ENTRY_ARCHIVE_CHECKPOINT)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %" PRIu64 " of type %d is never archived", e->log_id, (int)e->type);
    obv_clog_facts facts;
    OBV_TRY(obv_clog_entry_facts(e, data, &facts, err));
    if (!p->begun)
        obv_varch_begin(p, e->log_id, 0, 0, 0), p->chained = false;
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
    obv_varch_meet(p, e->log_id);
    return OBV_OK;
}

/* The entries of one block, then what its header says of them. */
static obv_code take_entries(data_file *f, const obv_archive_block *b, uint64_t at, obv_span raw, obv_err *err)
{
    obv_varch *p = f->p;
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
    obv_varch_record *r = f->p->records.items;
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

obv_code obv_varch_read_data(obv_varch *p, const obv_varch_file *n, obv_err *err)
{
    data_file f = {.p = p, .n = n};
    obv_archive_path_data(&p->place, &p->key, n->id, &f.where);
    if (n->size > OBV_ARCHIVE_FILE_MAX)
        SAY(p, INCONSISTENT, f.where.s, -1, "a data file of %" PRIu64 " bytes", n->size);
    obv_native_window_open(&p->v->window, f.where.s, n->size);
    return walk(&f, err);
}
