/* archive_loop.c - the job's thread: assignment, take-over, batches of logs, one sync for all, publication */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "format/ob/keys.h"
#include "job/archive_priv.h"

#include <stdatomic.h>
#include <time.h>

#define RETRY_MIN_NS OBV_NS_PER_S
#define RETRY_MAX_NS (30 * OBV_NS_PER_S)
#define CYCLE_BYTES (256u << 20) /* entry bytes after which a sync is due */
#define APPEND_MAX_NS (10 * OBV_NS_PER_S)
#define BRING_UP_MIN_NS (OBV_NS_PER_S / 4)
#define SYNC_CHUNK 16u /* files of one sync call */

/* ---- helpers: the same step for many PGs at once */

typedef void step_fn(obv_archive *a, obv_archive_worker *w, void *item);

typedef struct crowd {
    obv_archive *a;
    step_fn *fn;
    uint8_t *items;
    size_t stride, count;
    int64_t until_ns; /* nothing new is begun later */
    atomic_size_t next;
    atomic_uint workers;
} crowd;

static void *work(void *arg)
{
    crowd *c = arg;
    obv_log_context_set("archive", NULL, NULL);
    obv_archive_worker *w = &c->a->workers[atomic_fetch_add(&c->workers, 1)];
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->count;) {
        c->fn(c->a, w, c->items + i * c->stride);
        if (obv_mono_ns() > c->until_ns)
            break;
    }
    return NULL;
}

/* @return how many items were begun: all of them unless the time was over. */
static size_t for_each_until(obv_archive *a, unsigned workers, step_fn *fn, void *items, size_t stride, size_t count,
                             int64_t until_ns)
{
    crowd c = {.a = a, .fn = fn, .items = items, .stride = stride, .count = count, .until_ns = until_ns};
    pthread_t threads[OBV_ARCHIVE_WORKERS_MAX];
    unsigned started = 0;
    while (started + 1 < workers && started + 1 < count && pthread_create(&threads[started], NULL, work, &c) == 0)
        started++;
    (void)work(&c);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    const size_t begun = atomic_load(&c.next);
    return begun < count ? begun : count;
}

static void for_each(obv_archive *a, unsigned workers, step_fn *fn, void *items, size_t stride, size_t count)
{
    (void)for_each_until(a, workers, fn, items, stride, count, INT64_MAX);
}

/* ---- one PG */

/* A failed step: the PG's media are read again before anything else is written, later or never. */
static void set_back(obv_archive_pg *pg, obv_code code, const obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    pg->adrift = true;
    pg->error = *err;
    pg->error.code = code;
    if (code == OBV_E_LOG_GAP || code == OBV_E_CORRUPT || code == OBV_E_FENCED) {
        pg->stage = OBV_PG_FAILED;
        OBV_ERROR_OF(&pg->error, "PG %s is archived no more", obv_pg_key_text(&pg->key, text));
        return;
    }
    pg->stage = OBV_PG_NEW;
    int64_t wait = RETRY_MIN_NS << (pg->retries < 5 ? pg->retries : 5);
    if (wait > RETRY_MAX_NS)
        wait = RETRY_MAX_NS;
    pg->retry_at_ns = obv_mono_ns() + wait;
    if (pg->retries++ == 0 && code != OBV_E_CANCELLED)
        OBV_WARN_OF(&pg->error, "PG %s, tried again", obv_pg_key_text(&pg->key, text));
}

static void ready(obv_archive_pg *pg)
{
    obv_clog_pg_set(&pg->pos, &pg->key, pg->media.last_log_id + 1, pg->media.accum);
    pg->stage = OBV_PG_READY;
    pg->adrift = false;
    pg->error = (obv_err){0};
    pg->retries = 0;
}

/* Start of a PG whose first log is log 1, known when that log is. */
static obv_archive_base start_at_one(int64_t first_ts)
{
    return (obv_archive_base){.start_log_id = 1, .start_ts = 1, .log_submit_ts = first_ts - 1, .clog_epoch_id = 1};
}

static void set_start(obv_archive_media *m, const obv_archive_base *s, int64_t checkpoint)
{
    m->known = true;
    m->start = *s;
    m->last_log_id = s->start_log_id - 1;
    m->accum = s->accum;
    m->epoch_id = s->clog_epoch_id;
    m->submit_ts = s->log_submit_ts;
    m->checkpoint = checkpoint;
}

static void set_key(obv_archive *a, obv_archive_pg *pg, const obv_pg_key *key)
{
    if (obv_pg_key_equal(key, &pg->key))
        return;
    (void)pthread_mutex_lock(&a->mu);
    pg->key = *key;
    (void)pthread_mutex_unlock(&a->mu);
}

static obv_code bring_up_pg(obv_archive *a, obv_archive_pg *pg, obv_archive_worker *w, obv_err *err)
{
    obv_archive_origin o = {0};
    const obv_code asked = a->hooks.origin(a->hooks.ctx, &pg->assign.pg, a->cancel, &o, err);
    if (asked == OBV_OK)
        set_key(a, pg, &o.key);
    obv_err why = asked == OBV_OK ? (obv_err){0} : *err;
    OBV_TRY(obv_archive_find_piece(a, pg, err));
    OBV_TRY(obv_archive_resume(a, pg, err));
    if (asked != OBV_OK && !pg->media.has_pg)
        OBV_TRY(obv_archive_peek_earlier(a, pg, err));
    if (asked != OBV_OK && pg->media.has_pg)
        set_key(a, pg, &pg->media.pg);
    if (!pg->media.known) {
        /* media alone are enough to go on, not to begin; but a PG that was dropped before its archive began has its log
         * from log 1 on in this host's clog, whatever the server says */
        if (asked != OBV_OK && !(asked == OBV_E_PG_GONE && pg->assign.from_log_one)) {
            *err = why;
            return asked;
        }
        if (o.restoring)
            return obv_fail(err, OBV_E_PRECONDITION, 0, "the PG is being restored; archived once that is done");
        if (pg->assign.from_log_one || o.base.log_submit_ts <= 0) {
            obv_clog_pg_set(&pg->pos, &pg->key, 1, 0);
            pg->stage = OBV_PG_FIRST;
            pg->error = (obv_err){0};
            return OBV_OK;
        }
        set_start(&pg->media, &o.base, 0);
    }
    if (!pg->media.kicked)
        OBV_TRY(obv_archive_kick_off(a, pg, w, err));
    ready(pg);
    return OBV_OK;
}

static void bring_up(obv_archive *a, obv_archive_worker *w, void *item)
{
    obv_archive_pg *pg = *(obv_archive_pg **)item;
    obv_err err = {0};
    pg->dirty = false; /* its files are read and made durable by the take-over */
    const obv_code code = bring_up_pg(a, pg, w, &err);
    if (code != OBV_OK)
        set_back(pg, code, &err);
    pg->dirty = pg->stage == OBV_PG_READY && pg->media.data_at > 0; /* a kickoff block waits for the common sync */
}

static void step_on(obv_archive *a, obv_archive_worker *w, void *item)
{
    (void)w;
    obv_archive_pg *pg = *(obv_archive_pg **)item;
    obv_err err = {0};
    obv_code code = obv_archive_step_on(a, pg, &err);
    if (code == OBV_E_EXISTS || code == OBV_E_CONFLICT) /* as for an append */
        code = OBV_E_FENCED;
    if (code != OBV_OK)
        set_back(pg, code, &err);
}

/* Logs of one PG out of a batch. */
typedef struct portion {
    obv_archive_pg *pg;
    const obv_clog_log *logs;
    size_t count;
} portion;

static void append_portion(obv_archive *a, obv_archive_worker *w, void *item)
{
    const portion *p = item;
    obv_archive_pg *pg = p->pg;
    obv_err err = {0};
    obv_code code = OBV_OK;
    if (pg->stage == OBV_PG_FIRST) {
        const int64_t before = p->logs[0].entry.submit_ts - 1;
        const obv_archive_base s = start_at_one(before + 1);
        set_start(&pg->media, &s, before);
        code = obv_archive_kick_off(a, pg, w, &err);
        if (code == OBV_OK)
            pg->stage = OBV_PG_READY;
    }
    if (code == OBV_OK) {
        code = obv_archive_append(a, pg, w, p->logs, p->count, &err);
        /* our file grew by another hand, or our next id is taken: a later epoch is at work, which we have not heard of
         */
        if (code == OBV_E_EXISTS || code == OBV_E_CONFLICT)
            code = OBV_E_FENCED;
    }
    if (code != OBV_OK)
        set_back(pg, code, &err);
}

/* Files of some PGs, made durable by one call. */
typedef struct sync_chunk {
    obv_archive_pg **pgs;
    size_t count;
    const obv_cancel *cancel;
} sync_chunk;

static void sync_some(obv_archive *a, obv_archive_worker *w, void *item)
{
    (void)w;
    const sync_chunk *s = item;
    obv_path paths[SYNC_CHUNK];
    const char *keys[SYNC_CHUNK];
    obv_code results[SYNC_CHUNK];
    for (size_t i = 0; i < s->count; i++) {
        const obv_archive_place place = obv_archive_place_of(a, s->pgs[i]);
        obv_archive_path_data(&place, &s->pgs[i]->key, s->pgs[i]->media.data_file, &paths[i]);
        keys[i] = paths[i].s;
        results[i] = OBV_E_IO;
    }
    obv_err err = {0};
    const obv_code all = OBV_FAULT_ERROR("archive.sync")
                             ? obv_fail(&err, OBV_E_IO, 0, "sync: fault point")
                             : obv_store_sync(a->cfg.store, keys, s->count, results, s->cancel, &err);
    for (size_t i = 0; i < s->count; i++) {
        obv_archive_pg *pg = s->pgs[i];
        if (all == OBV_OK || results[i] == OBV_OK) {
            pg->dirty = false;
            pg->synced_at = pg->media.data_at;
            continue;
        }
        pg->distrust_piece = pg->piece;
        pg->distrust_file = pg->media.data_file;
        pg->distrust_at = pg->synced_at;
        set_back(pg, all, &err);
    }
}

/* Makes every append durable. PGs whose step failed are left: their media are read again first. */
static void sync_all(obv_archive *a, const obv_cancel *c)
{
    OBV_AUTO(obv_freep) obv_archive_pg **dirty = malloc((a->pg_count + 1) * sizeof *dirty);
    OBV_AUTO(obv_freep) sync_chunk *chunks = malloc((a->pg_count / SYNC_CHUNK + 1) * sizeof *chunks);
    size_t n = 0, chunk_count = 0;
    if (!dirty || !chunks)
        return; /* nothing is reported as durable; the next cycle tries again */
    for (size_t i = 0; i < a->pg_count; i++)
        if (a->pgs[i]->dirty && !a->pgs[i]->adrift)
            dirty[n++] = a->pgs[i];
    for (size_t i = 0; i < n; i += SYNC_CHUNK)
        chunks[chunk_count++] = (sync_chunk){dirty + i, n - i < SYNC_CHUNK ? n - i : SYNC_CHUNK, c};
    OBV_FAULT("archive.before_sync");
    const int64_t began = obv_mono_ns();
    /* a sync waits for disk or network and needs no processor: the more of them, the fewer commits of the file system
     */
    for_each(a, OBV_ARCHIVE_WORKERS_MAX, sync_some, chunks, sizeof *chunks, chunk_count);
    a->sync_ns = obv_mono_ns() - began;
    OBV_FAULT("archive.after_sync");
}

static void publish(obv_archive *a, const obv_err *loop_error)
{
    (void)pthread_mutex_lock(&a->mu);
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        const bool synced = pg->media.known && !pg->adrift && !pg->dirty;
        obv_archive_publish(pg, synced);
        if (pg->stage == OBV_PG_FIRST || (synced && pg->media.offline))
            pg->done.piece = a->place.piece; /* nothing more goes to an earlier one */
        else if (synced)
            pg->done.piece = pg->piece;
    }
    a->loop_error = *loop_error;
    if (a->clog)
        obv_clog_files_seen(a->clog, &a->files);
    a->needed_clog_file = obv_archive_needed_file(a, a->files.newest);
    (void)pthread_mutex_unlock(&a->mu);
}

/* ---- a cycle */

static obv_code open_clog(obv_archive *a, obv_err *err)
{
    if (a->clog)
        return OBV_OK;
    const obv_clog_config cfg = {.store_dir = a->cfg.store_dir, .batch_bytes = a->cfg.batch_bytes};
    return obv_clog_open(&cfg, &a->clog, err);
}

/* How long PGs that are ready wait for others. */
static int64_t bring_up_until(const obv_archive *a)
{
    const int64_t flush = (int64_t)a->flush_ms * OBV_NS_PER_MS;
    return obv_mono_ns() + (flush > BRING_UP_MIN_NS ? flush : BRING_UP_MIN_NS);
}

/* @return are there more PGs to bring up? */
static bool bring_up_all(obv_archive *a, obv_archive_pg **list)
{
    const int64_t now = obv_mono_ns();
    size_t n = 0;
    obv_archive_load_pieces(a);
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        obv_err why = {0};
        if (pg->stage != OBV_PG_NEW || pg->retry_at_ns > now)
            continue;
        if (!obv_archive_pieces_of(a, pg, &why)) {
            pg->error = why;
            continue;
        }
        a->caught_up = false;
        list[n++] = pg;
    }
    return for_each_until(a, a->cfg.workers, bring_up, list, sizeof *list, n, bring_up_until(a)) < n;
}

static bool step_on_all(obv_archive *a, obv_archive_pg **list)
{
    size_t n = 0;
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        if (pg->piece >= a->place.piece)
            continue;
        if (pg->stage == OBV_PG_FIRST) { /* nothing of it is stored: it begins in the new piece */
            pg->piece = a->place.piece;
            pg->piece_date = a->place.piece_date;
        }
        const bool due = !pg->media.offline || pg->media.data_at > 0;
        if (pg->stage == OBV_PG_READY && due && !pg->dirty && !pg->adrift && obv_archive_pieces_of(a, pg, NULL))
            list[n++] = pg;
    }
    return for_each_until(a, a->cfg.workers, step_on, list, sizeof *list, n, bring_up_until(a)) < n;
}

/* Appends one batch, PG by PG. */
static obv_code append_batch(obv_archive *a, obv_archive_pg **pgs, const obv_clog_batch *b, obv_err *err)
{
    OBV_AUTO(obv_freep) portion *portions = malloc((b->count + 1) * sizeof *portions);
    if (!portions)
        return obv_fail(err, OBV_E_NOMEM, 0, "archive batch");
    size_t n = 0;
    for (size_t i = 0; i < b->count;) {
        size_t j = i + 1;
        while (j < b->count && b->logs[j].pg == b->logs[i].pg)
            j++;
        portions[n++] = (portion){pgs[b->logs[i].pg], &b->logs[i], j - i};
        i = j;
    }
    for_each(a, a->cfg.workers, append_portion, portions, sizeof *portions, n);
    return OBV_OK;
}

/* PGs that follow the clog now. @return how many */
static size_t followers(const obv_archive *a, obv_archive_pg **pgs, obv_clog_pg **pos)
{
    size_t n = 0;
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        if (pg->stage != OBV_PG_READY && pg->stage != OBV_PG_FIRST)
            continue;
        pgs[n] = pg;
        pos[n++] = &pg->pos;
    }
    return n;
}

/* Reads and appends until nothing is left, the flush interval is over or a sync is due. *more: there was more. */
static obv_code follow(obv_archive *a, obv_archive_pg **pgs, obv_clog_pg **pos, int64_t until_ns, bool *more,
                       obv_err *err)
{
    bool changed;
    *more = false;
    OBV_TRY(open_clog(a, err));
    OBV_TRY(obv_clog_refresh(a->clog, &changed, err));
    const bool sure = obv_archive_fast(a, pgs, pos, followers(a, pgs, pos));
    if (a->caught_up && !changed && !sure)
        return OBV_OK;
    a->caught_up = false;
    for (uint64_t bytes = 0; bytes < CYCLE_BYTES && obv_mono_ns() < until_ns;) {
        const size_t n = followers(a, pgs, pos);
        obv_clog_batch b;
        const obv_code code = obv_clog_read(a->clog, pos, n, a->cancel, &b, err);
        *more = b.count > 0;
        OBV_TRY(append_batch(a, pgs, &b, err));
        for (size_t i = 0; i < n; i++) {
            const obv_clog_pg *p = pos[i];
            if (!p->failed || pgs[i]->stage == OBV_PG_FAILED)
                continue;
            const bool adrift = pgs[i]->adrift;
            obv_err why = {0};
            set_back(pgs[i], obv_fail(&why, p->failed, 0, "%s", p->why), &why);
            pgs[i]->adrift = adrift; /* what was appended before the hole is good */
        }
        OBV_TRY(code);
        if (b.count == 0) {
            a->caught_up = true; /* unless a log could not be proven: it is tried again after the next refresh */
            for (size_t i = 0; i < n; i++)
                a->caught_up = a->caught_up && pos[i]->tries == 0;
            break;
        }
        bytes += b.bytes;
    }
    return OBV_OK;
}

/* Appending goes on for the flush interval; with a backlog, for as long as the last sync took, so that syncs of many
 * files take at most half of the time. */
static int64_t append_until(const obv_archive *a)
{
    const int64_t flush = (int64_t)a->flush_ms * OBV_NS_PER_MS;
    const int64_t span = a->sync_ns > flush ? a->sync_ns : flush;
    return obv_mono_ns() + (span < APPEND_MAX_NS || span == flush ? span : APPEND_MAX_NS);
}

static bool cycle(obv_archive *a)
{
    OBV_AUTO(obv_freep) obv_archive_pg **pgs = malloc(a->pg_count * sizeof *pgs);
    OBV_AUTO(obv_freep) obv_clog_pg **pos = malloc(a->pg_count * sizeof *pos);
    obv_err err = {0};
    bool more = false, rest = false;
    if (!pgs || !pos) {
        (void)obv_fail(&err, OBV_E_NOMEM, 0, "archive job");
    } else {
        rest = bring_up_all(a, pgs);
        rest |= step_on_all(a, pgs);
        if (follow(a, pgs, pos, append_until(a), &more, &err) == OBV_OK)
            err = (obv_err){0}; /* what it found out on its way is no failure */
        else if (err.code != OBV_E_CANCELLED)
            OBV_WARN_EVERY(30, "%s", err.msg);
    }
    sync_all(a, a->cancel);
    publish(a, &err);
    return (more || rest) && err.code == OBV_OK;
}

/* ---- assignment */

static void free_pg(obv_archive_pg *pg) { free(pg); }

static obv_archive_pg *find_pg(const obv_archive *a, const obv_pg_key *key)
{
    size_t lo = 0, hi = a->pg_count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const obv_pg_key *k = &a->pgs[mid]->key;
        const int c =
            obv_archive_order(k->table_id, obv_pg_key_partition_id(k), key->table_id, obv_pg_key_partition_id(key));
        if (c == 0)
            return a->pgs[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* The PG as newly assigned. What was proven for it in the same round stays proven; its media are read again. */
static obv_archive_pg *new_pg(const obv_archive_assign *assign, const obv_archive_pg *old)
{
    obv_archive_pg *pg = calloc(1, sizeof *pg);
    if (!pg)
        return NULL;
    pg->assign = *assign;
    pg->key = assign->pg;
    if (old) {
        pg->key = old->key;
        pg->done = old->done;
        pg->done.failed = false;
        pg->checkpoint = old->checkpoint;
        pg->checkpoint_began_at = old->checkpoint_began_at;
        pg->checkpoint_ended_at = old->checkpoint_ended_at;
        pg->distrust_piece = old->distrust_piece;
        pg->distrust_file = old->distrust_file;
        pg->distrust_at = old->distrust_at;
        pg->bytes_in = old->bytes_in;
        pg->bytes_out = old->bytes_out;
    }
    return pg;
}

/* PGs go on through the pieces of a round. */
static bool same_round(const obv_archive_place *a, const obv_archive_place *b)
{
    return a->round == b->round && (a->piece == 0) == (b->piece == 0) && strcmp(a->root.cp.s, b->root.cp.s) == 0;
}

/* Puts a complete list in force. false: no memory, tried again. Everything is synced before. */
static bool switch_list(obv_archive *a, const obv_archive_list *list)
{
    const bool same = a->has_place && same_round(&a->place, &list->place);
    OBV_AUTO(obv_freep) obv_archive_pg **now = calloc(list->total + 1u, sizeof *now);
    if (!now)
        return false;
    for (uint32_t i = 0; i < list->total; i++) {
        obv_archive_pg *old = same ? find_pg(a, &list->pgs[i].pg) : NULL;
        const bool kept = old && list->pgs[i].epoch <= old->assign.epoch;
        now[i] = kept ? old : new_pg(&list->pgs[i], old);
        if (!now[i]) {
            for (uint32_t k = 0; k < i; k++)
                if (!same || find_pg(a, &list->pgs[k].pg) != now[k])
                    free_pg(now[k]);
            return false;
        }
    }
    (void)pthread_mutex_lock(&a->mu);
    obv_archive_pg **before = a->pgs;
    const size_t before_count = a->pg_count;
    a->pgs = OBV_STEAL(now);
    a->pg_count = list->total;
    a->revision = list->revision;
    (void)pthread_mutex_unlock(&a->mu);
    for (size_t i = 0; i < before_count; i++)
        if (!same || find_pg(a, &before[i]->key) != before[i])
            free_pg(before[i]);
    free(before);
    if (!same)
        obv_archive_drop_pieces(a);
    a->place = list->place;
    a->has_place = true;
    return true;
}

/* Takes what obv_archive_apply left. */
static void take_list(obv_archive *a)
{
    obv_archive_list list;
    (void)pthread_mutex_lock(&a->mu);
    const bool due = a->has_pending;
    list = a->pending;
    if (due) {
        a->has_pending = false;
        a->pending.pgs = NULL;
    }
    (void)pthread_mutex_unlock(&a->mu);
    if (!due)
        return;
    sync_all(a, a->cancel);
    publish(a, &(obv_err){0});
    a->flush_ms = list.flush_ms;
    a->compressor = (enum obv_archive_compressor)list.compressor;
    bool done = true;
    if (list.stop)
        OBV_INFO("revision %llu: stop", (unsigned long long)list.revision);
    else
        done = switch_list(a, &list);
    (void)pthread_mutex_lock(&a->mu);
    if (!done && !a->has_pending) { /* again, unless a newer one came */
        a->pending = list;
        a->has_pending = true;
        list.pgs = NULL;
    }
    if (done) {
        a->stop = a->stopped = list.stop;
        a->revision = list.revision;
    }
    (void)pthread_mutex_unlock(&a->mu);
    if (done && !list.stop)
        OBV_INFO("revision %llu: %u PGs, round %llu, piece %llu", (unsigned long long)list.revision, list.total,
                 (unsigned long long)list.place.round, (unsigned long long)list.place.piece);
    free(list.pgs);
}

/* Waits for a new list, the end or the time. */
static void wait_until(obv_archive *a, int64_t at_ns)
{
    const struct timespec until = {.tv_sec = at_ns / OBV_NS_PER_S, .tv_nsec = at_ns % OBV_NS_PER_S};
    (void)pthread_mutex_lock(&a->mu);
    while (!a->has_pending && !obv_cancel_requested(a->cancel) && obv_mono_ns() < at_ns)
        (void)pthread_cond_timedwait(&a->wake, &a->mu, &until);
    (void)pthread_mutex_unlock(&a->mu);
}

void *obv_archive_loop(void *archive)
{
    obv_archive *a = archive;
    obv_log_context_set("archive", NULL, NULL);
    while (!obv_cancel_requested(a->cancel)) {
        const int64_t began = obv_mono_ns();
        take_list(a);
        if (a->stop || a->pg_count == 0) {
            wait_until(a, began + OBV_NS_PER_S);
            continue;
        }
        if (!cycle(a))
            wait_until(a, began + (int64_t)a->flush_ms * OBV_NS_PER_MS);
    }
    sync_all(a, NULL); /* orderly end: what was appended becomes durable */
    return NULL;
}
