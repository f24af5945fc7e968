/* archive_scan.c - reads one data file as a reader of the archive does, to learn how far it is good */
#include "base/crc32c.h"
#include "format/ob/codec.h"
#include "job/archive_priv.h"

#define WINDOW (4u << 20) /* bytes read at once; holds any block */

/* A stretch of the file in memory. */
typedef struct window {
    obv_archive *a;
    const char *key;
    uint64_t size; /* of the file, or what of it is trusted */
    uint64_t at;
    size_t len;
    uint8_t *bytes;
} window;

/* Bytes of the file from `at`: as many as the file has, at most half a window, which is more than any block. */
static obv_code look(window *w, uint64_t at, obv_span *out, obv_err *err)
{
    const uint64_t want = w->size - at < WINDOW / 2 ? w->size - at : WINDOW / 2;
    if (at < w->at || at + want > w->at + w->len) {
        size_t got = 0;
        const size_t ask = (size_t)(w->size - at < WINDOW ? w->size - at : WINDOW);
        OBV_TRY(obv_store_get(w->a->cfg.store, w->key, at, w->bytes, ask, &got, w->a->cancel, err));
        w->at = at;
        w->len = got;
    }
    const uint64_t have = w->at + w->len - at;
    *out = obv_span_of(w->bytes + (at - w->at), (size_t)(have < want ? have : want));
    return OBV_OK;
}

_Static_assert(WINDOW / 2 > OBV_ARCHIVE_MAX_BLOCK + OBV_ARCHIVE_BLOCK_TAIL, "a block fits half a window");

/* The assist is not known for sure until an entry or the server has told it. */
static bool same_pg(const obv_pg_key *a, const obv_pg_key *b)
{
    return a->table_id == b->table_id && obv_pg_key_partition_id(a) == obv_pg_key_partition_id(b);
}

/* One entry behind the PG's progress. */
static obv_code take_entry(const obv_archive_pg *pg, obv_archive_media *m, const obv_clog_entry *e, obv_span data,
                           obv_err *err)
{
    if (!same_pg(&e->pg, &pg->key) || obv_clog_type_is_local(e->type))
        return obv_fail(err, OBV_E_CORRUPT, 0, "entry of table %llu type %d", (unsigned long long)e->pg.table_id,
                        (int)e->type);
    m->pg = e->pg;
    m->has_pg = true;
    if (e->type == OBV_ENTRY_ARCHIVE_KICKOFF) {
        obv_archive_kickoff k;
        OBV_TRY(obv_archive_kickoff_parse(e, data, &k, err));
        if (m->known && k.start_log_id != m->start.start_log_id)
            return obv_fail(err, OBV_E_CORRUPT, 0, "kickoff at log %llu, the round begins at %llu",
                            (unsigned long long)k.start_log_id, (unsigned long long)m->start.start_log_id);
        m->kicked = true;
        return OBV_OK;
    }
    if (e->log_id <= m->last_log_id)
        return OBV_OK; /* written twice */
    if (e->log_id != m->last_log_id + 1)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %llu follows log %llu", (unsigned long long)e->log_id,
                        (unsigned long long)m->last_log_id);
    obv_clog_facts facts;
    OBV_TRY(obv_clog_entry_facts(e, data, &facts, err));
    m->last_log_id = e->log_id;
    m->accum = obv_clog_accum(m->accum, e->data_checksum);
    m->epoch_id = e->epoch_id;
    if (!obv_clog_type_is_nop(e->type))
        m->submit_ts = e->submit_ts;
    if (facts.checkpoint > m->checkpoint)
        m->checkpoint = facts.checkpoint;
    m->offline |= facts.offline;
    return OBV_OK;
}

/* A block whose bytes are as they were written: what it holds must be good and follow. m advances only then. */
static obv_code take_block(const obv_archive_pg *pg, obv_archive_media *m, const obv_archive_block *b, obv_span in,
                           obv_buf *scratch, obv_err *err)
{
    const obv_span payload = obv_span_of(in.p + OBV_ARCHIVE_BLOCK_HEADER, b->total_len - OBV_ARCHIVE_BLOCK_HEADER);
    obv_span raw;
    OBV_TRY(obv_archive_payload_unpack(payload, scratch, &raw, err));
    obv_archive_media next = *m;
    for (size_t at = 0; at < raw.len;) {
        const obv_span rest = obv_span_of(raw.p + at, raw.len - at);
        obv_clog_entry e;
        OBV_TRY(obv_clog_entry_parse(rest, &e, err));
        const obv_span data = obv_span_of(rest.p + OBV_CLOG_ENTRY_HEADER, rest.len - OBV_CLOG_ENTRY_HEADER);
        OBV_TRY(obv_clog_entry_check_data(&e, data, err));
        OBV_TRY(take_entry(pg, &next, &e, data, err));
        at += OBV_CLOG_ENTRY_HEADER + e.data_len;
    }
    if (next.last_log_id > m->last_log_id && (b->max_log_id != next.last_log_id || b->accum != next.accum))
        return obv_fail(err, OBV_E_CORRUPT, 0,
                        "block says log %llu, its entries end at %llu, or their checksum differs",
                        (unsigned long long)b->max_log_id, (unsigned long long)next.last_log_id);
    *m = next;
    return OBV_OK;
}

/* Looks for a good block header behind damage: then the damage is in the middle, not a tail that was never written. */
static obv_code find_later_block(window *w, uint64_t from, bool *found, obv_err *err)
{
    *found = false;
    for (uint64_t at = from; at + OBV_ARCHIVE_BLOCK_HEADER <= w->size;) {
        obv_span in;
        OBV_TRY(look(w, at, &in, err));
        if (in.len < OBV_ARCHIVE_BLOCK_HEADER)
            return OBV_OK;
        const size_t last = in.len - OBV_ARCHIVE_BLOCK_HEADER;
        for (size_t i = 0; i <= last; i++) {
            const uint8_t *p = memchr(in.p + i, 'A', last - i + 1);
            if (!p)
                break;
            i = (size_t)(p - in.p);
            obv_archive_block b;
            if (obv_archive_block_parse(obv_span_of(p, in.len - i), &b, NULL) == OBV_OK) {
                *found = true;
                return OBV_OK;
            }
        }
        at += last + 1;
    }
    return OBV_OK;
}

/* True if the block's bytes behind its header are what was written. */
static bool bytes_good(const obv_archive_block *b, obv_span in, uint64_t at)
{
    obv_rd tail = obv_rd_of(obv_span_of(in.p + b->total_len, OBV_ARCHIVE_BLOCK_TAIL));
    const obv_span payload = obv_span_of(in.p + OBV_ARCHIVE_BLOCK_HEADER, b->total_len - OBV_ARCHIVE_BLOCK_HEADER);
    return obv_rd_be32(&tail) == at && obv_crc64(0, payload) == (uint64_t)b->data_checksum;
}

static obv_code scan(window *w, const obv_archive_pg *pg, obv_archive_media *m, obv_archive_scan *out, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    while (out->valid_end < w->size) {
        obv_span in;
        obv_archive_block b;
        OBV_TRY(look(w, out->valid_end, &in, err));
        out->torn_only = true;
        if (in.len < OBV_ARCHIVE_BLOCK_HEADER)
            return OBV_OK;
        const bool header_good = obv_archive_block_parse(in, &b, NULL) == OBV_OK;
        if (header_good && in.len < b.total_len)
            return OBV_OK;
        out->torn_only = false;
        if (header_good && in.len < b.total_len + OBV_ARCHIVE_BLOCK_TAIL)
            return OBV_OK; /* readers would take this block, whose bytes nobody has vouched for */
        if (!header_good || !bytes_good(&b, in, out->valid_end))
            return find_later_block(w, out->valid_end + 1, &out->later_block, err);
        OBV_TRY(take_block(pg, m, &b, in, &scratch, err));
        if (!out->any) {
            out->any = true;
            out->min_log_id = b.min_log_id_in_file;
            out->min_log_ts = b.min_log_ts_in_file;
        }
        out->valid_end += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
    return OBV_OK;
}

obv_code obv_archive_scan_data(obv_archive *a, const obv_archive_pg *pg, const char *key, uint64_t trust,
                               obv_archive_media *m, obv_archive_scan *out, obv_err *err)
{
    *out = (obv_archive_scan){0};
    obv_store_object o;
    OBV_TRY(obv_store_head(a->cfg.store, key, &o, a->cancel, err));
    out->size = o.size;
    OBV_AUTO(obv_freep) uint8_t *bytes = malloc(WINDOW);
    if (!bytes)
        return obv_fail(err, OBV_E_NOMEM, 0, "read %s", key);
    window w = {.a = a, .key = key, .size = o.size < trust ? o.size : trust, .bytes = bytes};
    if (scan(&w, pg, m, out, err) != OBV_OK)
        return obv_wrap(err, "read %s", key);
    if (w.size < o.size)
        out->torn_only = false; /* what follows is not trusted, whatever it looks like */
    return OBV_OK;
}

obv_code obv_archive_peek_last(obv_archive *a, const obv_archive_pg *pg, const char *key, obv_archive_media *m,
                               obv_err *err)
{
    obv_store_object o;
    OBV_TRY(obv_store_head(a->cfg.store, key, &o, a->cancel, err));
    const size_t len = o.size < WINDOW / 2 ? (size_t)o.size : WINDOW / 2;
    OBV_AUTO(obv_freep) uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return obv_fail(err, OBV_E_NOMEM, 0, "read %s", key);
    size_t got = 0;
    OBV_TRY(obv_store_get(a->cfg.store, key, o.size - len, bytes, len, &got, a->cancel, err));
    if (got < OBV_ARCHIVE_BLOCK_HEADER + OBV_ARCHIVE_BLOCK_TAIL)
        return OBV_OK;
    obv_rd tail = obv_rd_of(obv_span_of(bytes + got - OBV_ARCHIVE_BLOCK_TAIL, OBV_ARCHIVE_BLOCK_TAIL));
    const uint64_t at = obv_rd_be32(&tail), first = o.size - len;
    obv_archive_block b;
    if (at < first || at >= first + got)
        return OBV_OK;
    const obv_span in = obv_span_of(bytes + (at - first), got - (size_t)(at - first));
    if (obv_archive_block_parse(in, &b, NULL) != OBV_OK || in.len != b.total_len + OBV_ARCHIVE_BLOCK_TAIL)
        return OBV_OK;
    OBV_AUTO(obv_buf_fini) obv_buf scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    obv_span raw;
    if (obv_archive_payload_unpack(obv_span_of(in.p + OBV_ARCHIVE_BLOCK_HEADER, b.total_len - OBV_ARCHIVE_BLOCK_HEADER),
                                   &scratch, &raw, NULL) != OBV_OK)
        return OBV_OK;
    for (size_t i = 0; i < raw.len;) {
        const obv_span rest = obv_span_of(raw.p + i, raw.len - i);
        obv_clog_entry e;
        obv_clog_facts facts;
        if (obv_clog_entry_parse(rest, &e, NULL) != OBV_OK || !same_pg(&e.pg, &pg->key) ||
            e.data_len > rest.len - OBV_CLOG_ENTRY_HEADER ||
            obv_clog_entry_facts(&e, obv_span_of(rest.p + OBV_CLOG_ENTRY_HEADER, e.data_len), &facts, NULL) != OBV_OK)
            return OBV_OK;
        m->pg = e.pg;
        m->has_pg = true;
        m->offline |= facts.offline && e.log_id <= m->last_log_id;
        i += OBV_CLOG_ENTRY_HEADER + e.data_len;
    }
    return OBV_OK;
}
