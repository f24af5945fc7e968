/* archive.c - the archive job's life, its assignment pages and its report */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "format/ob/keys.h"
#include "job/archive_priv.h"

#include <time.h>

#define DEFAULT_FLUSH_MS 1000u
#define DEFAULT_SAMPLE_MS 2000u
#define DEFAULT_WORKERS 4u
#define OUT_MAX (12u << 20) /* bytes gathered for one append, and the block that goes beyond */

int obv_archive_order(uint64_t table_a, int64_t partition_a, uint64_t table_b, int64_t partition_b)
{
    if (table_a != table_b)
        return table_a < table_b ? -1 : 1;
    return partition_a < partition_b ? -1 : partition_a > partition_b;
}

static char *copy_of(const char *text) { return text ? strdup(text) : NULL; }

static obv_code start_threads(obv_archive *a, obv_err *err)
{
    a->loop_runs = pthread_create(&a->loop, NULL, obv_archive_loop, a) == 0;
    a->sampler_runs = a->loop_runs && pthread_create(&a->sampler, NULL, obv_archive_sampler, a) == 0;
    const bool fast = a->cfg.fast_proof && a->hooks.poll;
    a->poller_runs = fast && a->sampler_runs && pthread_create(&a->poller, NULL, obv_archive_poller, a) == 0;
    return a->sampler_runs && a->poller_runs == fast ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "archive job: no thread");
}

obv_code obv_archive_start_with(const obv_archive_config *cfg, const obv_archive_hooks *hooks, obv_archive **out,
                                obv_err *err)
{
    obv_archive *a = calloc(1, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "archive job");
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&a->wake, &clock);
    (void)pthread_condattr_destroy(&clock);
    (void)pthread_mutex_init(&a->mu, NULL);
    a->cfg = *cfg;
    a->hooks = *hooks;
    a->cfg.store_dir = a->texts[0] = copy_of(cfg->store_dir);
    a->cfg.ip = a->texts[1] = copy_of(cfg->ip);
    a->cfg.user = a->texts[2] = copy_of(cfg->user);
    a->cfg.password_file = a->texts[3] = copy_of(cfg->password_file);
    if (a->cfg.sample_ms == 0)
        a->cfg.sample_ms = DEFAULT_SAMPLE_MS;
    if (a->cfg.workers == 0)
        a->cfg.workers = DEFAULT_WORKERS;
    if (a->cfg.workers > OBV_ARCHIVE_WORKERS_MAX)
        a->cfg.workers = OBV_ARCHIVE_WORKERS_MAX;
    a->flush_ms = DEFAULT_FLUSH_MS;
    a->compressor = OBV_ARCHIVE_NONE;
    for (size_t i = 0; i < OBV_ARCHIVE_WORKERS_MAX; i++) {
        a->workers[i].raw = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
        a->workers[i].payload = obv_buf_heap(OBV_ARCHIVE_MAX_RAW + OBV_ARCHIVE_CHUNK_HEADER);
        a->workers[i].out = obv_buf_heap(OUT_MAX);
    }
    a->cancel = obv_cancel_new(NULL);
    obv_code code =
        a->cancel && a->cfg.store_dir ? start_threads(a, err) : obv_fail(err, OBV_E_NOMEM, 0, "archive job");
    if (code != OBV_OK) {
        a->hooks.close = NULL; /* stays with the caller */
        obv_archive_end(a);
        return code;
    }
    *out = a;
    return OBV_OK;
}

void obv_archive_end(obv_archive *a)
{
    if (!a)
        return;
    if (a->cancel)
        obv_cancel_request(a->cancel);
    (void)pthread_mutex_lock(&a->mu);
    (void)pthread_cond_broadcast(&a->wake);
    (void)pthread_mutex_unlock(&a->mu);
    if (a->loop_runs)
        (void)pthread_join(a->loop, NULL);
    if (a->sampler_runs)
        (void)pthread_join(a->sampler, NULL);
    if (a->poller_runs)
        (void)pthread_join(a->poller, NULL);
    if (a->hooks.close)
        a->hooks.close(a->hooks.ctx);
    obv_clog_close(a->clog);
    obv_archive_drop_pieces(a);
    for (size_t i = 0; i < a->pg_count; i++)
        free(a->pgs[i]);
    free(a->pgs);
    free(a->incoming.pgs);
    free(a->pending.pgs);
    free(a->polled.rows);
    for (size_t i = 0; i < OBV_ARCHIVE_WORKERS_MAX; i++) {
        obv_buf_fini(&a->workers[i].raw);
        obv_buf_fini(&a->workers[i].payload);
        obv_buf_fini(&a->workers[i].out);
    }
    for (size_t i = 0; i < sizeof a->texts / sizeof *a->texts; i++)
        free(a->texts[i]);
    obv_cancel_free(a->cancel);
    (void)pthread_cond_destroy(&a->wake);
    (void)pthread_mutex_destroy(&a->mu);
    free(a);
}

/* ---- assignment pages */

static obv_code check_page(const obv_archive_page *p, obv_archive_place *place, obv_err *err)
{
    const uint32_t c = p->compressor;
    if (p->total > OBV_ARCHIVE_MAX_PGS || p->pg_count > OBV_ARCHIVE_MAX_PAGE)
        return obv_fail(err, OBV_E_LIMIT, 0, "archive assignment of %u PGs, page of %zu", p->total, p->pg_count);
    if (p->revision == 0 || p->round == 0 || p->first > p->total || p->pg_count > p->total - p->first ||
        (p->pg_count == 0 && p->total > 0) || (c != 0 && c != 1 && c != 2 && c != 8))
        return obv_fail(
            err, OBV_E_INVAL, 0, "archive assignment: revision %llu round %llu, %zu PGs from %u of %u, compressor %u",
            (unsigned long long)p->revision, (unsigned long long)p->round, p->pg_count, p->first, p->total, c);
    for (size_t i = 0; i < p->pg_count; i++)
        if (!obv_pg_key_valid(&p->pgs[i].pg))
            return obv_fail(err, OBV_E_INVAL, 0, "archive assignment: PG %zu has no valid key", i);
    *place = (obv_archive_place){.round = p->round, .piece = p->piece, .piece_date = p->piece_date};
    return obv_media_root_init(&place->root, p->cluster_name, (int64_t)p->cluster_id, err);
}

static int by_key(const void *a, const void *b)
{
    const obv_archive_assign *x = a, *y = b;
    return obv_archive_order(x->pg.table_id, obv_pg_key_partition_id(&x->pg), y->pg.table_id,
                             obv_pg_key_partition_id(&y->pg));
}

/* A complete list: sorted, without repeats, handed to the loop. mu is held. */
static obv_code complete(obv_archive *a, obv_err *err)
{
    obv_archive_list *in = &a->incoming;
    if (in->total > 1)
        qsort(in->pgs, in->total, sizeof *in->pgs, by_key);
    for (uint32_t i = 1; i < in->total; i++)
        if (by_key(&in->pgs[i - 1], &in->pgs[i]) == 0) {
            in->received = 0;
            return obv_fail(err, OBV_E_INVAL, 0, "archive assignment %llu names a PG twice",
                            (unsigned long long)in->revision);
        }
    free(a->pending.pgs);
    a->pending = *in;
    a->has_pending = true;
    in->pgs = NULL;
    (void)pthread_cond_broadcast(&a->wake);
    return OBV_OK;
}

static obv_code take_page(obv_archive *a, const obv_archive_page *p, const obv_archive_place *place, obv_err *err)
{
    obv_archive_list *in = &a->incoming;
    if (p->revision < in->revision)
        return OBV_OK;
    if (p->revision > in->revision) {
        free(in->pgs);
        *in = (obv_archive_list){
            .revision = p->revision,
            .total = p->total,
            .stop = p->stop,
            .flush_ms = p->flush_ms ? p->flush_ms : DEFAULT_FLUSH_MS,
            .compressor = p->compressor ? p->compressor : OBV_ARCHIVE_NONE,
            .place = *place,
            .pgs = malloc((p->total + 1u) * sizeof *in->pgs),
        };
        if (!in->pgs) {
            in->revision--; /* asked for again */
            return obv_fail(err, OBV_E_NOMEM, 0, "archive assignment");
        }
    } else if (in->received == in->total && in->total > 0) {
        return OBV_OK; /* complete already */
    }
    if (p->first != in->received || p->total != in->total || !in->pgs)
        return OBV_OK;
    if (p->pg_count > 0)
        memcpy(in->pgs + in->received, p->pgs, p->pg_count * sizeof *in->pgs);
    in->received += (uint32_t)p->pg_count;
    return in->received == in->total ? complete(a, err) : OBV_OK;
}

obv_code obv_archive_apply(obv_archive *a, const obv_archive_page *page, obv_err *err)
{
    obv_archive_place place;
    OBV_TRY(check_page(page, &place, err));
    (void)pthread_mutex_lock(&a->mu);
    const obv_code code = take_page(a, page, &place, err);
    (void)pthread_mutex_unlock(&a->mu);
    return code;
}

void obv_archive_get_have(obv_archive *a, obv_archive_have *out)
{
    (void)pthread_mutex_lock(&a->mu);
    *out = (obv_archive_have){.revision = a->incoming.revision, .received = a->incoming.received};
    (void)pthread_mutex_unlock(&a->mu);
}

bool obv_archive_stopped(obv_archive *a)
{
    (void)pthread_mutex_lock(&a->mu);
    const bool stopped = a->stopped;
    (void)pthread_mutex_unlock(&a->mu);
    return stopped;
}

/* ---- report */

/* Keeps the PGs with the least checkpoints, those without one first. */
static void note_blocking(obv_archive_tenant *t, int64_t *values, const obv_archive_pg *pg, int64_t checkpoint)
{
    uint32_t at = t->blocking_count;
    while (at > 0 && values[at - 1] > checkpoint)
        at--;
    if (at >= OBV_ARCHIVE_MAX_BLOCKING)
        return;
    if (t->blocking_count < OBV_ARCHIVE_MAX_BLOCKING)
        t->blocking_count++;
    for (uint32_t i = t->blocking_count - 1; i > at; i--) {
        t->blocking[i] = t->blocking[i - 1];
        values[i] = values[i - 1];
    }
    t->blocking[at] = pg->key;
    values[at] = checkpoint;
}

/* Of many errors the one that somebody must act on is told. */
static int weight(const obv_err *e, bool failed)
{
    if (e->code == OBV_OK)
        return 0;
    return failed ? 3 : e->code == OBV_E_FENCED ? 2 : 1;
}

static void count_pg(obv_archive_tenant *t, int64_t *values, const obv_archive_pg *pg)
{
    t->pgs++;
    t->bytes_in += pg->done.bytes_in;
    t->bytes_out += pg->done.bytes_out;
    if (pg->done.piece < t->piece_min)
        t->piece_min = pg->done.piece;
    if (pg->done.submit_ts > t->submit_ts_max)
        t->submit_ts_max = pg->done.submit_ts;
    if (pg->done.started) {
        t->pgs_started++;
        if (pg->done.start_ts > t->round_start_ts_max)
            t->round_start_ts_max = pg->done.start_ts;
    } else if (t->state == OBV_ARCHIVE_STATE_DOING) {
        t->state = OBV_ARCHIVE_STATE_BEGINNING;
    }
    const bool interrupted = t->state == OBV_ARCHIVE_STATE_INTERRUPTED;
    if (pg->done.failed)
        t->state = OBV_ARCHIVE_STATE_INTERRUPTED;
    if (weight(&pg->done.error, pg->done.failed) > weight(&t->error, interrupted)) {
        char text[OBV_PKEY_TEXT_MAX];
        t->error = pg->done.error;
        (void)obv_wrap(&t->error, "PG %s", obv_pg_key_text(&pg->key, text));
    }
    if (pg->done.offline) { /* its last log is stored: nothing of it can be missing */
        t->pgs_sampled++;
        return;
    }
    note_blocking(t, values, pg, pg->checkpoint);
    if (pg->checkpoint == 0)
        return;
    t->pgs_sampled++;
    if (t->checkpoint_min == 0 || pg->checkpoint < t->checkpoint_min)
        t->checkpoint_min = pg->checkpoint;
    if (t->sample_began_at == 0 || pg->checkpoint_began_at < t->sample_began_at)
        t->sample_began_at = pg->checkpoint_began_at;
    if (pg->checkpoint_ended_at > t->sample_ended_at)
        t->sample_ended_at = pg->checkpoint_ended_at;
}

size_t obv_archive_report(obv_archive *a, obv_archive_tenant *out)
{
    size_t n = 0;
    int64_t values[OBV_ARCHIVE_MAX_BLOCKING] = {0};
    OBV_FAULT("archive.before_report");
    (void)pthread_mutex_lock(&a->mu);
    obv_gap_meter_see(&a->gap, a->oldest_clog_file, obv_mono_ns());
    for (size_t i = 0; i < a->pg_count; i++) {
        const obv_archive_pg *pg = a->pgs[i];
        const uint64_t tenant = obv_pg_key_tenant(&pg->key);
        if (n == 0 || out[n - 1].tenant_id != tenant) {
            if (n == OBV_ARCHIVE_MAX_TENANTS)
                break;
            out[n++] = (obv_archive_tenant){.tenant_id = tenant,
                                            .revision = a->revision,
                                            .state = OBV_ARCHIVE_STATE_DOING,
                                            .error = a->loop_error.code ? a->loop_error : a->sample_error,
                                            .newest_clog_file = a->files.newest,
                                            .oldest_clog_file = a->oldest_clog_file,
                                            .needed_clog_file = a->needed_clog_file,
                                            .gap_in_s = obv_gap_meter_left_s(&a->gap, a->needed_clog_file),
                                            .piece_min = pg->done.piece};
        }
        count_pg(&out[n - 1], values, pg);
    }
    const int64_t sampled_at = a->sampled_at;
    (void)pthread_mutex_unlock(&a->mu);
    for (size_t i = 0; i < n; i++) {
        if (out[i].pgs_sampled < out[i].pgs)
            out[i].checkpoint_min = 0;
        else if (out[i].checkpoint_min == 0) /* PGs that have ended only: they bound no time that has passed */
            out[i].checkpoint_min = out[i].sample_began_at = out[i].sample_ended_at = sampled_at;
    }
    return n;
}
