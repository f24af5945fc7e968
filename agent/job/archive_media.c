/* archive_media.c - writing a PG's archive files */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "format/media/archive_key.h"
#include "job/archive_priv.h"

#include <inttypes.h>
#include <stdatomic.h>

#define OUT_FLUSH (8u << 20) /* bytes gathered before they are appended */

obv_archive_index obv_archive_index_of(const obv_archive_media *m, uint64_t file_id, bool effective)
{
    return (obv_archive_index){
        .effective = effective,
        .data_file_id = file_id,
        .clog_epoch_id = m->epoch_id,
        .accum = m->accum,
        .min_log_id = effective ? m->file_min_log_id : m->last_log_id,
        .min_log_ts = effective ? m->file_min_ts : m->submit_ts,
        .max_log_id = m->last_log_id,
        .max_checkpoint_ts = m->checkpoint,
        .max_log_submit_ts = m->submit_ts,
        .start = m->start,
    };
}

obv_code obv_archive_add_index(obv_archive *a, obv_archive_pg *pg, const obv_archive_index *r, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    if (m->index_at + OBV_ARCHIVE_INDEX_RECORD > OBV_ARCHIVE_INDEX_MAX) {
        m->index_file++;
        m->index_at = 0;
    }
    uint8_t bytes[OBV_ARCHIVE_INDEX_RECORD];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    obv_archive_index_emit(r, &b);
    obv_path key;
    const obv_archive_place place = obv_archive_place_of(a, pg);
    obv_archive_path_index(&place, &pg->key, m->index_file, &key);
    OBV_TRY(obv_store_append(a->cfg.store, key.s, m->index_at, obv_buf_span(&b), a->cancel, err));
    m->last_index = m->index_file;
    const char *keys[] = {key.s};
    OBV_TRY(obv_store_sync(a->cfg.store, keys, 1, NULL, a->cancel, err));
    m->index_at += OBV_ARCHIVE_INDEX_RECORD;
    return OBV_OK;
}

/* Writes what was gathered to the PG's data file. */
static obv_code flush(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_err *err)
{
    if (w->out.len == 0)
        return OBV_OK;
    OBV_TRY(obv_buf_check(&w->out, "archive blocks", err));
    obv_path key;
    const obv_archive_place place = obv_archive_place_of(a, pg);
    obv_archive_path_data(&place, &pg->key, pg->media.data_file, &key);
    if (OBV_FAULT_ERROR("archive.append"))
        return obv_fail(err, OBV_E_IO, 0, "append %s: fault point", key.s);
    pg->dirty = true;
    OBV_TRY(obv_store_append(a->cfg.store, key.s, pg->media.data_at, obv_buf_span(&w->out), a->cancel, err));
    pg->media.last_data = pg->media.data_file;
    pg->media.data_at += (uint32_t)w->out.len;
    pg->bytes_out += w->out.len;
    w->out.len = 0;
    OBV_FAULT("archive.after_append");
    return OBV_OK;
}

/* The present data file is full: durable, then its index record, then the next id. */
static obv_code next_file(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    OBV_TRY(flush(a, pg, w, err));
    obv_path key;
    const obv_archive_place place = obv_archive_place_of(a, pg);
    obv_archive_path_data(&place, &pg->key, m->data_file, &key);
    const char *keys[] = {key.s};
    const obv_code synced = obv_store_sync(a->cfg.store, keys, 1, NULL, a->cancel, err);
    if (synced != OBV_OK) {
        pg->distrust_piece = pg->piece;
        pg->distrust_file = m->data_file;
        pg->distrust_at = pg->synced_at;
        return synced;
    }
    pg->synced_at = m->data_at;
    OBV_FAULT("archive.before_index");
    const obv_archive_index r = obv_archive_index_of(m, m->data_file, true);
    OBV_TRY(obv_archive_add_index(a, pg, &r, err));
    OBV_FAULT("archive.after_index");
    m->data_file++;
    m->data_at = pg->synced_at = 0;
    return OBV_OK;
}

/* Puts one block with the payload in w->payload behind what was gathered. b holds what the block's logs say. */
static obv_code put_block(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_archive_block *b,
                          uint64_t first_log_id, int64_t first_ts, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    const size_t len = OBV_ARCHIVE_BLOCK_HEADER + w->payload.len + OBV_ARCHIVE_BLOCK_TAIL;
    if (m->data_at + w->out.len + len > OBV_ARCHIVE_FILE_MAX)
        OBV_TRY(next_file(a, pg, w, err));
    else if (w->out.len + len > OUT_FLUSH)
        OBV_TRY(flush(a, pg, w, err));
    if (m->data_at + w->out.len == 0) {
        m->file_min_log_id = first_log_id;
        m->file_min_ts = first_ts;
    }
    b->timestamp = obv_now_us();
    b->min_log_id_in_file = m->file_min_log_id;
    b->min_log_ts_in_file = m->file_min_ts;
    obv_archive_block_emit(b, obv_buf_span(&w->payload), m->data_at + (uint32_t)w->out.len, &w->out);
    w->payload.len = 0;
    m->last_log_id = b->max_log_id;
    m->accum = b->accum;
    m->epoch_id = b->clog_epoch_id;
    m->submit_ts = b->max_log_submit_ts;
    m->checkpoint = b->max_checkpoint_ts;
    return obv_buf_check(&w->out, "archive blocks", err);
}

obv_code obv_archive_kick_off(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_err *err)
{
    obv_archive_media *m = &pg->media;
    const int64_t checkpoint = m->checkpoint;
    OBV_FAULT("archive.before_key");
    if (!m->has_key) {
        uint8_t bytes[OBV_ARCHIVE_KEY_BYTES];
        obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
        const obv_archive_key k = obv_archive_key_first(&m->start, checkpoint);
        obv_archive_key_emit(&k, &b);
        obv_path key;
        const obv_archive_place place = obv_archive_place_of(a, pg);
        obv_archive_path_key(&place, &pg->key, &key);
        OBV_TRY(obv_store_put_bytes(a->cfg.store, key.s, true, obv_buf_span(&b), a->cancel, err));
        m->has_key = true;
    }
    OBV_FAULT("archive.after_key");
    w->raw.len = w->payload.len = w->out.len = 0;
    obv_archive_kickoff_emit(&pg->key, &m->start, checkpoint, obv_now_us(), &w->payload);
    obv_archive_block b = {
        .clog_epoch_id = m->start.clog_epoch_id,
        .accum = m->start.accum,
        .max_log_id = m->start.start_log_id - 1,
        .max_checkpoint_ts = checkpoint,
        .max_log_submit_ts = m->start.log_submit_ts,
    };
    OBV_TRY(put_block(a, pg, w, &b, m->start.start_log_id - 1, m->start.log_submit_ts, err));
    OBV_TRY(flush(a, pg, w, err));
    m->kicked = true;
    OBV_FAULT("archive.after_kickoff");
    return OBV_OK;
}

#ifdef OBV_TEST_FAULTS
/* A seeded bug for tests: now and then a committed log is left out, and nothing that is written shows it. */
static bool leave_out(const obv_clog_log *l, bool amid_others)
{
    static atomic_uint seen;
    if (!amid_others || !l->entry.is_trans || atomic_fetch_add(&seen, 1) % 3 != 0 ||
        !OBV_FAULT_BUG("bug.wrong_log_range"))
        return false;
    OBV_WARN("seeded bug bug.wrong_log_range: log %" PRIu64 " is left out", l->entry.log_id);
    return true;
}
#else
#define leave_out(log, amid_others) false
#endif

/* What the logs gathered in w->raw say; a block is made of it. */
typedef struct gathered {
    uint64_t first_log_id, last_log_id;
    int64_t first_ts, last_ts;
    int64_t accum, epoch_id;
    int64_t checkpoint;
    bool all_nop;
} gathered;

static obv_code put_gathered(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, const gathered *g, obv_err *err)
{
    if (w->raw.len == 0)
        return OBV_OK;
    OBV_TRY(obv_buf_check(&w->raw, "archive block", err));
    OBV_TRY(obv_archive_payload_pack(a->compressor, obv_buf_span(&w->raw), &w->payload, err));
    w->raw.len = 0;
    obv_archive_block b = {
        .clog_epoch_id = g->epoch_id,
        .accum = g->accum,
        .max_log_id = g->last_log_id,
        .max_checkpoint_ts = g->checkpoint > pg->media.checkpoint ? g->checkpoint : pg->media.checkpoint,
        .max_log_submit_ts = g->all_nop ? pg->media.submit_ts : g->last_ts,
    };
    return put_block(a, pg, w, &b, g->first_log_id, g->first_ts, err);
}

/* Readers refuse a log that does not follow: better to stop here, while the source is still there. */
static obv_code follows(const obv_archive_media *m, const gathered *g, const obv_clog_log *l, obv_err *err)
{
    const uint64_t last = g->last_log_id ? g->last_log_id : m->last_log_id;
    const int64_t ts = g->last_log_id ? g->last_ts : m->submit_ts;
    if (l->entry.log_id != last + 1)
        return obv_fail(err, OBV_E_INTERNAL, 0, "log %llu follows log %llu", (unsigned long long)l->entry.log_id,
                        (unsigned long long)last);
    if (!obv_clog_type_is_nop(l->entry.type) && l->entry.submit_ts <= ts)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %llu of time %lld follows one of time %lld",
                        (unsigned long long)l->entry.log_id, (long long)l->entry.submit_ts, (long long)ts);
    return OBV_OK;
}

obv_code obv_archive_append(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, const obv_clog_log *logs,
                            size_t n, obv_err *err)
{
    gathered g = {0};
    w->raw.len = w->payload.len = w->out.len = 0;
    for (size_t i = 0; i < n; i++) {
        const obv_clog_log *l = &logs[i];
        OBV_TRY(follows(&pg->media, &g, l, err));
        obv_clog_facts facts;
        OBV_TRY(obv_clog_entry_facts(&l->entry, obv_span_of(l->bytes.p + OBV_CLOG_ENTRY_HEADER, l->entry.data_len),
                                     &facts, err));
        if (w->raw.len + l->bytes.len > OBV_ARCHIVE_MAX_RAW) {
            OBV_TRY(put_gathered(a, pg, w, &g, err));
            g = (gathered){0};
        }
        if (g.last_log_id == 0)
            g = (gathered){.first_log_id = l->entry.log_id, .first_ts = l->entry.submit_ts, .all_nop = true};
        if (!leave_out(l, w->raw.len > 0 && i + 1 < n)) {
            uint8_t *to = obv_buf_reserve(&w->raw, l->bytes.len);
            OBV_TRY(obv_buf_check(&w->raw, "archive block", err));
            memcpy(to, l->bytes.p, l->bytes.len);
            if (l->entry.batch_committed)
                to[OBV_CLOG_SUBMIT_TS_AT] |= 0x80;
        }
        g.last_log_id = l->entry.log_id;
        g.last_ts = l->entry.submit_ts;
        g.accum = l->accum;
        g.epoch_id = l->entry.epoch_id;
        g.all_nop = g.all_nop && obv_clog_type_is_nop(l->entry.type);
        if (facts.checkpoint > g.checkpoint)
            g.checkpoint = facts.checkpoint;
        pg->media.offline |= facts.offline;
        pg->bytes_in += l->bytes.len;
    }
    OBV_TRY(put_gathered(a, pg, w, &g, err));
    return flush(a, pg, w, err);
}
