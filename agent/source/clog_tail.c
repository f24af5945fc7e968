/* clog_tail.c - the live tail: where copies of logs lie that no cursor names yet; comparison once the cursors come */
#define OBV_LOG_MOD "clog"
#include "base/log.h"
#include "format/ob/keys.h"
#include "source/clog_priv.h"

#include <stdio.h>
#include <string.h>

#define READ_BYTES (4u << 20)   /* more than a block may have */
#define SCAN_BYTES (128u << 20) /* of one scan */
#define MAX_COPIES (256u << 10) /* some 30 MiB */
#define MAX_STUCK 3u

typedef struct obv_clog_copy {
    int64_t proposal_ts;
    uint64_t proposal_server;
    int64_t submit_ts;
    uint64_t scan; /* that saw it */
    uint32_t file_id, offset, size;
} obv_clog_copy;

typedef struct copy_key {
    uint64_t table_id, log_id;
    int32_t part_id, assist;
} copy_key;

static obv_span key_of(copy_key *k, const obv_pg_key *pg, uint64_t log_id)
{
    *k = (copy_key){.table_id = pg->table_id, .log_id = log_id, .part_id = pg->part_id, .assist = pg->assist};
    return obv_span_of(k, sizeof *k);
}

bool obv_clog_tail_find(const obv_clog_source *s, const obv_clog_pg *pg, uint64_t log_id, obv_ilog_cursor *out)
{
    copy_key k;
    const obv_clog_copy *c = s->tail.copies ? obv_map_get(s->tail.copies, key_of(&k, &pg->key, log_id)) : NULL;
    if (!c || pg->watched_since == 0 || c->scan < pg->watched_since)
        return false;
    *out = (obv_ilog_cursor){.file_id = c->file_id, .offset = c->offset, .size = c->size, .submit_ts = c->submit_ts};
    return c != NULL;
}

void obv_clog_tail_forget(obv_clog_source *s, const obv_pg_key *pg, uint64_t log_id)
{
    copy_key k;
    if (s->tail.copies)
        free(obv_map_remove(s->tail.copies, key_of(&k, pg, log_id)));
}

static obv_code forget_all(obv_clog_tail *t, obv_err *err)
{
    obv_map_free(t->copies, free);
    t->copies = obv_map_new();
    return t->copies ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "tail of the clog");
}

void obv_clog_tail_fini(obv_clog_source *s)
{
    obv_clog_tail *t = &s->tail;
    if (t->copies)
        obv_map_free(t->copies, free);
    obv_buf_fini(&t->unpack);
    free(t->data);
    free(t->watched);
}

/* ---- remembering */

typedef struct scan {
    obv_clog_source *s;
    obv_code code;
} scan;

static int by_key(const void *a, const void *b)
{
    const obv_clog_pg *const *x = a, *const *y = b;
    return obv_pg_key_cmp(&(*x)->key, &(*y)->key);
}

static int key_and_pg(const void *key, const void *pg)
{
    const obv_clog_pg *const *p = pg;
    return obv_pg_key_cmp(key, &(*p)->key);
}

static obv_code watch(obv_clog_tail *t, obv_clog_pg *const *pgs, size_t n, obv_err *err)
{
    if (n > t->watched_cap) {
        obv_clog_pg **grown = realloc(t->watched, n * sizeof *grown);
        if (!grown)
            return obv_fail(err, OBV_E_NOMEM, 0, "tail of the clog");
        t->watched = grown;
        t->watched_cap = n;
    }
    t->watched_count = 0;
    t->scan++;
    for (size_t i = 0; i < n; i++) {
        if (!pgs[i]->watched)
            continue;
        if (pgs[i]->watched_since == 0)
            pgs[i]->watched_since = t->scan;
        t->watched[t->watched_count++] = pgs[i];
    }
    if (t->watched_count > 1)
        qsort(t->watched, t->watched_count, sizeof *t->watched, by_key);
    return OBV_OK;
}

static bool is_newer(const obv_clog_entry *e, const obv_clog_copy *than)
{
    return e->proposal_ts > than->proposal_ts ||
           (e->proposal_ts == than->proposal_ts && e->proposal_server > than->proposal_server);
}

static void see_entry(void *ctx, const obv_clog_entry *e, uint32_t at, uint32_t stored)
{
    scan *sc = ctx;
    obv_clog_tail *t = &sc->s->tail;
    if (sc->code != OBV_OK || obv_clog_type_is_local(e->type) || t->watched_count == 0)
        return;
    obv_clog_pg *const *pg = bsearch(&e->pg, t->watched, t->watched_count, sizeof *t->watched, key_and_pg);
    if (!pg || e->log_id < (*pg)->next_log_id)
        return;
    copy_key k;
    const obv_span key = key_of(&k, &e->pg, e->log_id);
    obv_clog_copy *c = obv_map_get(t->copies, key);
    if (c && c->scan >= (*pg)->watched_since && !is_newer(e, c))
        return;
    if (!c) {
        if (obv_map_count(t->copies) >= MAX_COPIES) {
            OBV_WARN_EVERY(60, "more than %u logs wait for the proof of their commit: they come by their cursors",
                           MAX_COPIES);
            if ((sc->code = forget_all(t, NULL)) != OBV_OK)
                return;
        }
        c = malloc(sizeof *c);
        sc->code = c ? obv_map_put(t->copies, key, c, NULL, NULL) : OBV_E_NOMEM;
        if (sc->code != OBV_OK) {
            free(c);
            return;
        }
    }
    *c = (obv_clog_copy){.proposal_ts = e->proposal_ts,
                         .proposal_server = e->proposal_server,
                         .submit_ts = e->submit_ts,
                         .scan = t->scan,
                         .file_id = t->file_id,
                         .offset = at,
                         .size = stored};
}

/* ---- following the files */

static void begin_at(obv_clog_tail *t, uint32_t file_id)
{
    t->file_id = file_id;
    t->place.offset = 0;
    t->stuck = 0;
}

/* What of the file can be read now. *stop as obv_clog_walk; MORE: the budget is used up. */
static obv_code scan_file(obv_clog_source *s, scan *sc, int fd, size_t *budget, const obv_cancel *c,
                          obv_clog_stop *stop, obv_err *err)
{
    obv_clog_tail *t = &s->tail;
    for (;;) {
        OBV_TRY(obv_cancel_check(c, "tail of the clog", err));
        const uint32_t from = t->place.offset & ~(OBV_DIRECT_ALIGN - 1), skip = t->place.offset - from;
        const uint32_t before = t->place.offset;
        obv_read r = {.fd = fd, .buf = t->data, .len = READ_BYTES, .off = from};
        OBV_TRY(obv_uring_read(s->uring, &r, 1, err));
        *stop = OBV_CLOG_STOP_TAIL;
        if (r.got <= skip)
            return OBV_OK;
        OBV_TRY(
            obv_clog_walk(&t->place, obv_span_of(t->data + skip, r.got - skip), &t->unpack, see_entry, sc, stop, err));
        if (sc->code != OBV_OK)
            return obv_fail(err, sc->code, 0, "tail of the clog");
        *budget -= *budget < r.got ? *budget : r.got;
        if (*stop != OBV_CLOG_STOP_MORE || *budget == 0)
            return OBV_OK;
        if (t->place.offset == before) { /* a block that is longer than any */
            *stop = OBV_CLOG_STOP_TAIL;
            return OBV_OK;
        }
    }
}

/*
 * Goes on in the newest file. What lies between was not seen, maybe a greater proposal of a log: no copy from before
 * counts, and this scan has not reached the tail.
 */
static obv_code skip_to_newest(obv_clog_source *s, obv_clog_stop *stop, obv_err *err)
{
    begin_at(&s->tail, s->files.newest);
    *stop = OBV_CLOG_STOP_MORE;
    return forget_all(&s->tail, err);
}

/* *stop: FINISHED goes on in the next file, TAIL or MORE end the scan. A file that is gone or reused: begin anew. */
static obv_code scan_one(obv_clog_source *s, scan *sc, size_t *budget, const obv_cancel *c, obv_clog_stop *stop,
                         obv_err *err)
{
    char path[4200];
    obv_clog_tail *t = &s->tail;
    OBV_AUTO(obv_close_fd) int fd = -1;
    bool direct;
    obv_clog_life now;
    (void)snprintf(path, sizeof path, "%s/%u", s->clog_dir, t->file_id);
    *stop = OBV_CLOG_STOP_TAIL;
    obv_code code = obv_open_direct(path, &fd, &direct, err);
    if (code == OBV_OK)
        code = obv_clog_life_read(fd, &now, err);
    if (code == OBV_E_NOT_FOUND || code == OBV_E_CORRUPT) { /* not there yet, or no block in it yet */
        return t->place.offset > 0 ? skip_to_newest(s, stop, err) : OBV_OK;
    }
    OBV_TRY(code);
    if (t->place.offset > 0 && (now.inode != t->life.inode || now.first_block != t->life.first_block))
        return skip_to_newest(s, stop, err);
    t->life = now;
    OBV_TRY(scan_file(s, sc, fd, budget, c, stop, err));
    if (obv_clog_lives_on(path, fd, &now))
        return OBV_OK;
    return skip_to_newest(s, stop, err); /* some copies may have been read from the file's next life */
}

obv_code obv_clog_scan(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, const obv_cancel *c, bool *whole,
                       obv_err *err)
{
    obv_clog_tail *t = &s->tail;
    *whole = false;
    if (!t->copies) {
        t->unpack = obv_buf_heap(OBV_CLOG_ENTRY_MAX);
        if (!t->data)
            t->data = aligned_alloc(OBV_DIRECT_ALIGN, READ_BYTES);
        if (!t->data)
            return obv_fail(err, OBV_E_NOMEM, 0, "tail of the clog");
        OBV_TRY(forget_all(t, err));
    }
    OBV_TRY(watch(t, pgs, n, err));
    scan sc = {.s = s};
    size_t budget = SCAN_BYTES;
    if (t->file_id == 0 || t->file_id > s->files.newest + 1) {
        OBV_TRY(forget_all(t, err));
        begin_at(t, s->files.newest);
    }
    while (t->file_id != 0) {
        obv_clog_stop stop;
        OBV_TRY(scan_one(s, &sc, &budget, c, &stop, err));
        if (stop == OBV_CLOG_STOP_MORE)
            return OBV_OK;
        if (stop == OBV_CLOG_STOP_TAIL) {
            /* a next file exists: this one should be finished. It is just being switched, or its end is damaged */
            const bool stuck = t->file_id < s->files.newest;
            if (stuck && ++t->stuck >= MAX_STUCK) {
                OBV_WARN("clog file %u has no end: the tail goes on in file %u", t->file_id, s->files.newest);
                return skip_to_newest(s, &stop, err);
            }
            *whole = !stuck;
            return OBV_OK;
        }
        begin_at(t, t->file_id + 1);
    }
    return OBV_OK;
}

/* ---- comparison */

/* What was given out of this file's logs as not committed in a batch, which the cursor alone tells. */
static obv_code check_bits(obv_clog_source *s, obv_clog_pg *pg, const obv_ilog_slot *slot, obv_err *err)
{
    if (slot->min_log_id > pg->bits_from)
        pg->bits_from = slot->min_log_id < pg->bits_end ? slot->min_log_id : pg->bits_end;
    while (pg->bits_from < pg->bits_end && pg->bits_from <= slot->max_log_id) {
        obv_ilog_cursor c[64];
        size_t got = 0;
        OBV_TRY(obv_ilog_cursors(s, slot, pg->bits_from, c, sizeof c / sizeof *c, &got, err));
        for (size_t i = 0; i < got && pg->bits_from < pg->bits_end; i++, pg->bits_from++)
            if (c[i].batch_committed)
                return obv_fail(err, OBV_E_CORRUPT, 0, "it says that log %llu was committed in a batch",
                                (unsigned long long)pg->bits_from);
    }
    return OBV_OK;
}

static obv_code audit_pg(obv_clog_source *s, obv_clog_pg *pg, bool newest, obv_err *err)
{
    obv_ilog_slot slot;
    obv_ilog_cursor c;
    size_t got = 0;
    const obv_code found = obv_ilog_find(&s->open.info, &pg->key, &slot, err);
    if (obv_clog_is_damage(found))
        return OBV_OK; /* said where the PG's next log is looked for */
    obv_err why = {0};
    obv_code code = found == OBV_OK ? check_bits(s, pg, &slot, &why) : OBV_OK;
    if (code == OBV_OK && (found == OBV_E_NOT_FOUND || slot.max_log_id < pg->audit_log_id)) {
        if (!newest)
            pg->audit_ilog = s->open.seen.id + 1;
        return OBV_OK;
    }
    /* the last one if its cursor is here, for its accumulated checksum covers all before; else it waits next */
    const uint64_t last = pg->next_log_id - 1;
    const uint64_t log_id = last <= slot.max_log_id ? last : pg->audit_log_id;
    const int64_t accum = last <= slot.max_log_id ? pg->accum : pg->audit_accum;
    pg->audit_log_id = last > log_id ? last : 0;
    pg->audit_accum = pg->accum;
    pg->audit_ilog = s->open.seen.id;
    if (code == OBV_OK && slot.min_log_id > log_id) /* its file is purged already: the next comparison covers it */
        return OBV_OK;
    if (code == OBV_OK)
        code = obv_ilog_cursors(s, &slot, log_id, &c, 1, &got, &why);
    if (obv_clog_is_damage(code))
        obv_clog_pg_fail(pg, OBV_E_CORRUPT, "log %llu was taken before its cursor came, which contradicts: %.80s",
                         (unsigned long long)log_id, why.msg);
    else if (code != OBV_OK)
        return obv_fail(err, code, why.sys, "%s", why.msg);
    else if (c.accum != accum)
        obv_clog_pg_fail(pg, OBV_E_CORRUPT,
                         "log %llu was taken before its cursor came: accumulated checksum %llx, the cursor says %llx",
                         (unsigned long long)log_id, (unsigned long long)accum, (unsigned long long)c.accum);
    return OBV_OK;
}

obv_code obv_clog_audit(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, obv_err *err)
{
    uint32_t from = 0;
    if (s->audited == s->refresh)
        return OBV_OK;
    s->audited = s->refresh;
    for (size_t i = 0; i < n; i++)
        if (pgs[i]->audit_log_id != 0 && !pgs[i]->failed && (from == 0 || pgs[i]->audit_ilog < from))
            from = pgs[i]->audit_ilog;
    if (from == 0)
        return OBV_OK;
    for (size_t p = obv_ilog_position(s, from); p < s->ilog_count; p++) {
        const obv_code used = obv_ilog_use(s, p, err);
        if (used == OBV_E_NOT_FOUND || obv_clog_is_damage(used))
            continue; /* purged since the listing, or what it names is a matter of its own */
        OBV_TRY(used);
        for (size_t i = 0; i < n; i++)
            if (pgs[i]->audit_log_id != 0 && !pgs[i]->failed && pgs[i]->audit_ilog <= s->open.seen.id)
                OBV_TRY(audit_pg(s, pgs[i], p + 1 == s->ilog_count, err));
    }
    return OBV_OK;
}
