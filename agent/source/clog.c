/* clog.c - batches of committed logs: which ones, and the proof of each */
#define OBV_LOG_MOD "clog"
#include "base/log.h"
#include "format/ob/clog_block.h"
#include "format/ob/keys.h"
#include "source/clog_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_BATCH (16u << 20)
#define MIN_BATCH (4u << 20)
#define DEFAULT_DEPTH 8u
#define CURSOR_CHUNK 64u
#define MAX_TRIES 5u        /* failed proofs of one log, one a refresh, before it counts as damaged */
#define FAR_COST (8u << 10) /* bytes of buffer, beyond its own, that an entry outside the window may take */

void obv_clog_pg_set(obv_clog_pg *pg, const obv_pg_key *key, uint64_t next_log_id, int64_t accum)
{
    *pg = (obv_clog_pg){.key = *key, .next_log_id = next_log_id, .accum = accum};
}

void obv_clog_pg_sure(obv_clog_pg *pg, bool watched, uint64_t from, uint64_t below)
{
    if (!watched || !pg->watched)
        pg->watched_since = 0;
    pg->watched = watched;
    pg->sure_from = from;
    pg->sure_below = below;
}

void obv_clog_pg_fail(obv_clog_pg *pg, obv_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(pg->why, sizeof pg->why, fmt, ap);
    va_end(ap);
    pg->failed = code;
}

static char *join(const char *dir, const char *name)
{
    char *out = NULL;
    return asprintf(&out, "%s/%s", dir, name) < 0 ? NULL : out;
}

obv_code obv_clog_open(const obv_clog_config *cfg, obv_clog_source **out, obv_err *err)
{
    obv_clog_source *s = calloc(1, sizeof *s);
    if (!s)
        return obv_fail(err, OBV_E_NOMEM, 0, "clog source");
    s->open.fd = -1;
    s->batch_bytes = cfg->batch_bytes ? cfg->batch_bytes : DEFAULT_BATCH;
    if (s->batch_bytes < MIN_BATCH)
        s->batch_bytes = MIN_BATCH;
    /* the window, the entry that sticks out of it, and what lies elsewhere */
    s->data_cap = 2 * s->batch_bytes + 2 * OBV_CLOG_ENTRY_MAX;
    s->data_cap = (s->data_cap + OBV_DIRECT_ALIGN - 1) / OBV_DIRECT_ALIGN * OBV_DIRECT_ALIGN;
    s->want_cap = s->batch_bytes / 64;
    s->wants = malloc(s->want_cap * sizeof *s->wants);
    s->logs = malloc(s->want_cap * sizeof *s->logs);
    s->data = aligned_alloc(OBV_DIRECT_ALIGN, s->data_cap);
    s->unpacked = obv_buf_heap(4 * s->batch_bytes);
    s->clog_dir = join(cfg->store_dir, "clog");
    s->ilog_dir = join(cfg->store_dir, "ilog");
    obv_code code = OBV_OK;
    if (!s->wants || !s->logs || !s->data || !s->clog_dir || !s->ilog_dir)
        code = obv_fail(err, OBV_E_NOMEM, 0, "clog source of %s", cfg->store_dir);
    bool changed;
    if (code == OBV_OK)
        code = obv_uring_new(cfg->read_depth ? cfg->read_depth : DEFAULT_DEPTH, OBV_URING_AUTO, &s->uring, err);
    if (code == OBV_OK)
        code = obv_clog_list(s, &changed, err);
    if (code != OBV_OK) {
        obv_clog_close(s);
        return code;
    }
    s->refresh = 1;
    *out = s;
    return OBV_OK;
}

void obv_clog_close(obv_clog_source *s)
{
    if (!s)
        return;
    obv_ilog_drop(s);
    obv_clog_tail_fini(s);
    obv_uring_free(s->uring);
    obv_buf_fini(&s->unpacked);
    free(s->data);
    free(s->logs);
    free(s->wants);
    free(s->ilogs);
    free(s->clog_dir);
    free(s->ilog_dir);
    free(s);
}

obv_code obv_clog_refresh(obv_clog_source *s, bool *changed, obv_err *err)
{
    s->refresh++;
    return obv_clog_list(s, changed, err);
}

void obv_clog_files_seen(const obv_clog_source *s, obv_clog_files *out) { *out = s->files; }

static bool active(const obv_clog_source *s, const obv_clog_pg *pg)
{
    return !pg->failed && pg->ilog_id != 0 && pg->waits != s->refresh;
}

/* An ilog file that cannot be used where this PG is concerned: tried again after the next refresh, some times. */
static void refuse_ilog(obv_clog_source *s, obv_clog_pg *pg, const obv_err *why)
{
    pg->waits = s->refresh;
    if (++pg->tries >= MAX_TRIES)
        obv_clog_pg_fail(pg, OBV_E_CORRUPT, "log %llu: ilog file %u: %.100s", (unsigned long long)pg->next_log_id,
                         s->open.seen.id, why->msg);
    else
        OBV_WARN("log %llu of table %llu: ilog file %u: %s; tried again", (unsigned long long)pg->next_log_id,
                 (unsigned long long)pg->key.table_id, s->open.seen.id, why->msg);
}

/*
 * The log before the next one must be here what it is where the PG was archived from before: otherwise another replica,
 * or this one at another time, committed another history. false: it is not, and the PG is marked.
 */
static obv_code compare_history(obv_clog_source *s, obv_clog_pg *pg, const obv_ilog_slot *slot, obv_err *err)
{
    const uint64_t last = pg->next_log_id - 1;
    obv_ilog_cursor c;
    size_t got = 0;
    if (pg->anchored || last < slot->min_log_id || last > slot->max_log_id)
        return OBV_OK;
    OBV_TRY(obv_ilog_cursors(s, slot, last, &c, 1, &got, err));
    pg->anchored = true;
    if (c.accum != pg->accum)
        obv_clog_pg_fail(
            pg, OBV_E_CORRUPT,
            "replicas disagree: accumulated checksum of log %llu is %llx as archived, %llx in ilog file %u",
            (unsigned long long)last, (unsigned long long)pg->accum, (unsigned long long)c.accum, s->open.seen.id);
    return OBV_OK;
}

/* Finds the PG's next log in s->open; file_id stays 0 when it is not there: the PG moved on, waits, or is marked. */
static obv_code look_up(obv_clog_source *s, obv_clog_pg *pg, size_t position, obv_err *err)
{
    obv_ilog_slot slot;
    const obv_code found = obv_ilog_find(&s->open.info, &pg->key, &slot, err);
    if (found != OBV_E_NOT_FOUND) {
        OBV_TRY(found);
        OBV_TRY(compare_history(s, pg, &slot, err));
        if (pg->failed)
            return OBV_OK;
    }
    if (found == OBV_E_NOT_FOUND || slot.max_log_id < pg->next_log_id) {
        if (position + 1 < s->ilog_count)
            pg->ilog_id = s->ilogs[position + 1].id;
        return OBV_OK;
    }
    if (slot.min_log_id > pg->next_log_id && pg->over_ilog != 0) {
        obv_clog_pg_fail(
            pg, OBV_E_CORRUPT, "log %llu: ilog file %u, which may name it, is damaged; file %u goes on with log %llu",
            (unsigned long long)pg->next_log_id, pg->over_ilog, s->open.seen.id, (unsigned long long)slot.min_log_id);
        return OBV_OK;
    }
    if (slot.min_log_id > pg->next_log_id) {
        /* a replica that was rebuilt has no cursors of the logs it skipped, though copies may lie in its clog */
        obv_clog_pg_fail(pg, OBV_E_LOG_GAP,
                         "log %llu is missing: ilog file %u goes on with log %llu (replica rebuilt?)",
                         (unsigned long long)pg->next_log_id, s->open.seen.id, (unsigned long long)slot.min_log_id);
        return OBV_OK;
    }
    obv_ilog_cursor c;
    size_t got = 0;
    OBV_TRY(obv_ilog_cursors(s, &slot, pg->next_log_id, &c, 1, &got, err));
    pg->over_ilog = 0;
    pg->file_id = c.file_id;
    pg->offset = c.offset;
    return OBV_OK;
}

/*
 * Finds where next_log_id of the PGs lies that wait in the file at `position` (s->open); PGs whose logs end there move
 * on to the next file. *first is the least place of any of them.
 */
static obv_code peek(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, size_t position, obv_ilog_cursor *first,
                     bool *any, obv_err *err)
{
    *any = false;
    for (size_t i = 0; i < n; i++) {
        obv_clog_pg *pg = pgs[i];
        if (!active(s, pg) || obv_ilog_position(s, pg->ilog_id) != position)
            continue;
        if (pg->file_id == 0) {
            obv_err why = {0};
            const obv_code looked = look_up(s, pg, position, &why);
            if (obv_clog_is_damage(looked))
                refuse_ilog(s, pg, &why);
            else if (looked != OBV_OK)
                return obv_fail(err, looked, why.sys, "%s", why.msg);
            if (pg->file_id == 0)
                continue;
        }
        if (!*any || pg->file_id < first->file_id || (pg->file_id == first->file_id && pg->offset < first->offset))
            *first = (obv_ilog_cursor){.file_id = pg->file_id, .offset = pg->offset};
        *any = true;
    }
    return OBV_OK;
}

/* The window of a batch: one clog file from `start` for batch_bytes; what lies elsewhere has a budget of its own. */
typedef struct window {
    uint32_t file_id, start, end;
    size_t elsewhere;
} window;

static window window_at(const obv_clog_source *s, const obv_ilog_cursor *first)
{
    window w = {
        .file_id = first->file_id, .start = first->offset & ~(OBV_DIRECT_ALIGN - 1), .elsewhere = s->batch_bytes};
    w.end = w.start + (uint32_t)(s->batch_bytes < OBV_CLOG_FILE_BYTES ? s->batch_bytes : OBV_CLOG_FILE_BYTES);
    return w;
}

static bool takes(window *w, const obv_ilog_cursor *c)
{
    if (c->file_id == w->file_id && c->offset >= w->start)
        return c->offset < w->end;
    if (c->file_id > w->file_id || c->size + FAR_COST > w->elsewhere)
        return false;
    w->elsewhere -= c->size + FAR_COST; /* a log that was written again later than its successors */
    return true;
}

static obv_code collect_pg(obv_clog_source *s, obv_clog_pg *pg, uint32_t index, window *w, obv_err *err)
{
    obv_ilog_slot slot;
    OBV_TRY(obv_ilog_find(&s->open.info, &pg->key, &slot, err));
    uint64_t log = pg->next_log_id;
    while (log <= slot.max_log_id && s->want_count < s->want_cap) {
        obv_ilog_cursor cursors[CURSOR_CHUNK];
        size_t got = 0;
        OBV_TRY(obv_ilog_cursors(s, &slot, log, cursors, CURSOR_CHUNK, &got, err));
        for (size_t i = 0; i < got && s->want_count < s->want_cap; i++, log++) {
            if (!takes(w, &cursors[i]))
                return OBV_OK;
            s->wants[s->want_count++] = (obv_clog_want){.pg = index, .log_id = log, .at = cursors[i]};
        }
    }
    return OBV_OK;
}

static int by_place(const void *a, const void *b)
{
    const obv_clog_want *x = a, *y = b;
    if (x->at.file_id != y->at.file_id)
        return x->at.file_id < y->at.file_id ? -1 : 1;
    return x->at.offset < y->at.offset ? -1 : x->at.offset > y->at.offset;
}

static int by_log(const void *a, const void *b)
{
    const obv_clog_want *x = a, *y = b;
    if (x->pg != y->pg)
        return x->pg < y->pg ? -1 : 1;
    return x->log_id < y->log_id ? -1 : x->log_id > y->log_id;
}

/* Bytes of the plain entry behind a want. */
static obv_code plain_bytes(obv_clog_source *s, const obv_clog_want *w, obv_span *out, obv_err *err)
{
    const obv_span stored = obv_span_of(w->bytes, w->at.size);
    if (!obv_clog_is_compressed(stored)) {
        *out = stored;
        return OBV_OK;
    }
    obv_clog_compressed c;
    OBV_TRY(obv_clog_compressed_parse(stored, &c, err));
    if (c.stored_len + OBV_CLOG_COMPRESSED_HEADER != stored.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "compressed entry of %u bytes in %zu", c.stored_len, stored.len);
    /* the arena was sized for this batch before: it must not move under the spans already given out */
    obv_assert(s->unpacked.cap - s->unpacked.len >= c.raw_len);
    uint8_t *raw = obv_buf_reserve(&s->unpacked, c.raw_len);
    OBV_TRY(obv_buf_check(&s->unpacked, "compressed entries", err));
    OBV_TRY(obv_clog_decompress(&c, obv_span_of(stored.p + OBV_CLOG_COMPRESSED_HEADER, c.stored_len), raw, err));
    *out = obv_span_of(raw, c.raw_len);
    return OBV_OK;
}

/* Everything that the cursor and the PG's position say about an entry must be true. */
static obv_code prove(obv_clog_source *s, const obv_clog_pg *pg, const obv_clog_want *w, obv_clog_log *out,
                      obv_err *err)
{
    obv_span bytes;
    OBV_TRY(plain_bytes(s, w, &bytes, err));
    obv_clog_entry e;
    OBV_TRY(obv_clog_entry_parse(bytes, &e, err));
    if (!obv_pg_key_equal(&e.pg, &pg->key) || e.log_id != w->log_id || obv_clog_type_is_local(e.type))
        return obv_fail(err, OBV_E_CORRUPT, 0, "the %s of log %llu leads to log %llu of table %llu",
                        w->of_tail ? "copy" : "cursor", (unsigned long long)w->log_id, (unsigned long long)e.log_id,
                        (unsigned long long)e.pg.table_id);
    if (bytes.len != OBV_CLOG_ENTRY_HEADER + (size_t)e.data_len || e.submit_ts != w->at.submit_ts)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %llu: length %zu or time %lld differ from the cursor",
                        (unsigned long long)w->log_id, bytes.len, (long long)e.submit_ts);
    OBV_TRY(obv_clog_entry_check_data(
        &e, obv_span_of(bytes.p + OBV_CLOG_ENTRY_HEADER, bytes.len - OBV_CLOG_ENTRY_HEADER), err));
    const int64_t accum = obv_clog_accum(pg->accum, e.data_checksum);
    if (!w->of_tail && accum != w->at.accum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "log %llu: accumulated checksum %llx, the cursor says %llx",
                        (unsigned long long)w->log_id, (unsigned long long)accum, (unsigned long long)w->at.accum);
    e.batch_committed = w->at.batch_committed;
    *out = (obv_clog_log){.pg = w->pg, .entry = e, .bytes = bytes, .accum = accum};
    return OBV_OK;
}

/* A log that could not be proven: gone for good, or to be tried again after the next refresh. */
static void refuse(obv_clog_source *s, obv_clog_pg *pg, const obv_clog_want *w, const char *why)
{
    if (w->of_tail) { /* its cursor will come */
        obv_clog_tail_forget(s, &pg->key, w->log_id);
        return;
    }
    const bool gone = !w->bytes && w->lost != OBV_CLOG_UNREADABLE;
    pg->waits = s->refresh;
    pg->tries++;
    /* a newer file shows that its time is over; the newest one may be just coming */
    if (gone && (w->at.file_id < s->files.newest || pg->tries >= MAX_TRIES))
        obv_clog_pg_fail(pg, OBV_E_LOG_GAP, "log %llu was in clog file %u, which is %s; files %u to %u are there",
                         (unsigned long long)w->log_id, w->at.file_id,
                         w->lost == OBV_CLOG_REUSED        ? "being reused"
                         : w->at.file_id < s->files.oldest ? "recycled"
                                                           : "missing",
                         s->files.oldest, s->files.newest);
    else if (pg->tries >= MAX_TRIES)
        obv_clog_pg_fail(pg, OBV_E_CORRUPT, "log %llu in clog file %u at %u: %.80s", (unsigned long long)w->log_id,
                         w->at.file_id, w->at.offset, why);
    else
        OBV_WARN("log %llu of table %llu, clog file %u at %u: %s; tried again", (unsigned long long)w->log_id,
                 (unsigned long long)pg->key.table_id, w->at.file_id, w->at.offset, why);
}

/*
 * Room for what must be unpacked, before any span is given out. Wants are in log order: those beyond the bound wait for
 * the next batch, the first one always fits.
 */
static obv_code reserve_unpacked(obv_clog_source *s, obv_err *err)
{
    size_t need = 0;
    for (size_t i = 0; i < s->want_count; i++) {
        obv_clog_want *w = &s->wants[i];
        obv_clog_compressed c;
        if (!w->bytes || obv_clog_compressed_parse(obv_span_of(w->bytes, w->at.size), &c, NULL) != OBV_OK)
            continue;
        w->later = need + c.raw_len > s->unpacked.max;
        if (!w->later)
            need += c.raw_len;
    }
    s->unpacked.len = 0;
    if (need > 0)
        (void)obv_buf_reserve(&s->unpacked, need);
    OBV_TRY(obv_buf_check(&s->unpacked, "compressed entries", err));
    s->unpacked.len = 0;
    return OBV_OK;
}

static void hand_out(obv_clog_source *s, obv_clog_pg *const *pgs, obv_clog_batch *out)
{
    *out = (obv_clog_batch){.logs = s->logs};
    for (size_t i = 0; i < s->want_count;) {
        const uint32_t index = s->wants[i].pg;
        obv_clog_pg *pg = pgs[index];
        bool good = true;
        uint64_t unaudited = 0;
        for (; i < s->want_count && s->wants[i].pg == index; i++) {
            const obv_clog_want *w = &s->wants[i];
            obv_err why = {.code = OBV_E_CORRUPT, .msg = "its file cannot be read"};
            if (!good)
                continue;
            if (w->later) {
                good = false;
                continue;
            }
            good = w->bytes && prove(s, pg, w, &s->logs[out->count], &why) == OBV_OK;
            if (!good) {
                refuse(s, pg, w, why.msg);
                continue;
            }
            pg->accum = s->logs[out->count].accum;
            out->bytes += s->logs[out->count].bytes.len;
            out->count++;
            pg->next_log_id++;
            pg->tries = 0;
            obv_clog_tail_forget(s, &pg->key, w->log_id);
            if (!w->of_tail)
                continue;
            unaudited = w->log_id;
            if (pg->bits_from == pg->bits_end)
                pg->bits_from = pg->bits_end = w->log_id;
            if (pg->bits_end == w->log_id) /* else cursors came between, which have said theirs */
                pg->bits_end++;
        }
        pg->file_id = 0; /* looked up again */
        /* one comparison at a time: the accumulated checksum covers every log before */
        if (unaudited != 0 && pg->audit_log_id == 0) {
            pg->audit_log_id = unaudited;
            pg->audit_accum = pg->accum;
            pg->audit_ilog = s->files.newest_ilog;
        }
    }
}

/* One batch out of the ilog file at `position`; nothing is collected when no PG waits there. */
static obv_code collect(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, size_t position, obv_err *err)
{
    s->want_count = 0;
    obv_ilog_cursor first = {0};
    bool any = false;
    OBV_TRY(peek(s, pgs, n, position, &first, &any, err));
    if (!any)
        return OBV_OK;
    window w = window_at(s, &first);
    for (size_t i = 0; i < n; i++) {
        obv_clog_pg *pg = pgs[i];
        if (!active(s, pg) || pg->file_id == 0 || obv_ilog_position(s, pg->ilog_id) != position)
            continue;
        const obv_ilog_cursor next = {.file_id = pg->file_id, .offset = pg->offset, .size = 1};
        window probe = w;
        if (!takes(&probe, &next))
            continue;
        obv_err why = {0};
        const size_t before = s->want_count;
        const obv_code code = collect_pg(s, pg, (uint32_t)i, &w, &why);
        if (obv_clog_is_damage(code) && s->want_count == before)
            refuse_ilog(s, pg, &why);
        else if (code != OBV_OK && !obv_clog_is_damage(code)) /* else what lies before the damage comes first */
            return obv_fail(err, code, why.sys, "%s", why.msg);
    }
    return OBV_OK;
}

/* Sends the PGs that wait at a damaged ilog file to the next one. At the newest they stay: it is soon written anew. */
static void pass_by(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, size_t position)
{
    for (size_t i = 0; i < n && position + 1 < s->ilog_count; i++) {
        obv_clog_pg *pg = pgs[i];
        if (!active(s, pg) || obv_ilog_position(s, pg->ilog_id) != position)
            continue;
        pg->over_ilog = s->ilogs[position].id;
        pg->ilog_id = s->ilogs[position + 1].id;
        pg->file_id = 0;
    }
}

/* All is read. Not so if a damaged ilog file may name logs of a PG that no later file names. */
static obv_code all_read(const obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const obv_clog_pg *pg = pgs[i];
        const uint32_t id = pg->over_ilog ? pg->over_ilog : s->bad_ilog;
        if (!pg->failed && id != 0 && (pg->over_ilog != 0 || pg->ilog_id == id))
            return obv_fail(err, OBV_E_CORRUPT, 0, "ilog file %u: %s", id,
                            id == s->bad_ilog ? s->bad_why.msg : "damaged: logs it names are not found");
    }
    return OBV_OK;
}

static bool next_of_tail(const obv_clog_source *s, const obv_clog_pg *pg, uint64_t log_id, obv_ilog_cursor *out)
{
    return log_id >= pg->sure_from && log_id < pg->sure_below && obv_clog_tail_find(s, pg, log_id, out);
}

/* One batch out of the live tail: logs that are known to be committed and have no cursor yet. */
static void collect_tail(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n)
{
    obv_ilog_cursor first = {0}, at;
    s->want_count = 0;
    for (size_t i = 0; i < n; i++)
        if (pgs[i]->watched && !pgs[i]->failed && next_of_tail(s, pgs[i], pgs[i]->next_log_id, &at) &&
            (first.file_id == 0 || at.file_id < first.file_id ||
             (at.file_id == first.file_id && at.offset < first.offset)))
            first = at;
    if (first.file_id == 0)
        return;
    window w = window_at(s, &first);
    for (size_t i = 0; i < n; i++) {
        const obv_clog_pg *pg = pgs[i];
        if (!pg->watched || pg->failed)
            continue;
        for (uint64_t log = pg->next_log_id;
             s->want_count < s->want_cap && next_of_tail(s, pg, log, &at) && takes(&w, &at); log++)
            s->wants[s->want_count++] = (obv_clog_want){.pg = (uint32_t)i, .log_id = log, .at = at, .of_tail = true};
    }
}

obv_code obv_clog_read(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, const obv_cancel *c, obv_clog_batch *out,
                       obv_err *err)
{
    *out = (obv_clog_batch){.logs = s->logs};
    OBV_TRY(obv_clog_audit(s, pgs, n, err));
    OBV_TRY(obv_ilog_locate(s, pgs, n, err));
    for (;;) {
        OBV_TRY(obv_cancel_check(c, "clog", err));
        size_t position = s->ilog_count;
        for (size_t i = 0; i < n; i++) {
            if (!active(s, pgs[i]))
                continue;
            const size_t p = obv_ilog_position(s, pgs[i]->ilog_id);
            if (p < position)
                position = p;
        }
        /* oldest file first; a file where nothing is left sends its PGs on */
        for (; position < s->ilog_count; position++) {
            const obv_code used = obv_ilog_use(s, position, err);
            if (used == OBV_E_NOT_FOUND)
                return OBV_OK; /* purged since the listing: the next refresh sees it */
            if (used == OBV_E_CORRUPT) {
                pass_by(s, pgs, n, position);
                continue;
            }
            OBV_TRY(used);
            OBV_TRY(collect(s, pgs, n, position, err));
            if (s->want_count > 0)
                break;
        }
        if (position >= s->ilog_count)
            collect_tail(s, pgs, n);
        if (s->want_count == 0)
            return all_read(s, pgs, n, err);
        qsort(s->wants, s->want_count, sizeof *s->wants, by_place);
        OBV_TRY(obv_clog_fetch(s, c, err));
        qsort(s->wants, s->want_count, sizeof *s->wants, by_log);
        OBV_TRY(reserve_unpacked(s, err));
        hand_out(s, pgs, out);
        if (out->count > 0)
            return OBV_OK;
    }
}
