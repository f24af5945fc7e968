/* archive_sample.c - checkpoints: what a PG's durable logs prove about readable time (docs/format.md, "Checkpoints")
 *
 * A sample is the leader's readable time W and, read after it, the last log id L, under one leader epoch that was the
 * same before and after. Every transaction up to W is complete in the logs up to L. Once those are durable, W is a
 * checkpoint. "Before" is the end of the previous sampling: the epoch did not change over the whole time between.
 */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/log.h"
#include "job/archive_priv.h"

#include <errno.h>

void obv_archive_publish(obv_archive_pg *pg, bool synced)
{
    if (pg->error.code != OBV_OK || pg->done.error.code != OBV_OK)
        pg->done.error = pg->error;
    pg->done.failed = pg->stage == OBV_PG_FAILED && pg->error.code != OBV_E_FENCED;
    pg->done.bytes_in = pg->bytes_in;
    pg->done.bytes_out = pg->bytes_out;
    if (!synced)
        return;
    pg->done.started = pg->media.kicked;
    pg->done.offline = pg->media.offline;
    pg->done.log_id = pg->media.last_log_id;
    pg->done.start_ts = pg->media.start.start_ts;
    pg->done.submit_ts = pg->media.submit_ts;
    pg->done.checkpoint_logged = pg->media.checkpoint;
    obv_archive_settle(pg);
}

void obv_archive_settle(obv_archive_pg *pg)
{
    if (!pg->done.started)
        return;
    uint32_t used = 0;
    for (uint32_t i = 0; i < pg->sample_count; i++) {
        const obv_archive_sample *s = &pg->samples[i];
        if (s->last_log_id > pg->done.log_id)
            continue;
        if (s->readable_ts >= pg->checkpoint) {
            pg->checkpoint = s->readable_ts;
            pg->checkpoint_began_at = s->began_at;
            pg->checkpoint_ended_at = s->ended_at;
        }
        used = i + 1;
    }
    pg->sample_count -= used;
    if (used > 0)
        memmove(pg->samples, pg->samples + used, pg->sample_count * sizeof *pg->samples);
    /* a value that the leader itself logged; it needs no sample of its own, but a PG without any is not covered yet */
    if (pg->checkpoint > 0 && pg->done.checkpoint_logged > pg->checkpoint)
        pg->checkpoint = pg->done.checkpoint_logged;
}

void obv_archive_add_sample(obv_archive_pg *pg, const obv_archive_sample *s)
{
    /* the oldest ones are kept: they are the first that can be settled */
    if (pg->sample_count == OBV_ARCHIVE_SAMPLES)
        pg->sample_count--;
    pg->samples[pg->sample_count++] = *s;
    obv_archive_settle(pg);
}

const obv_archive_row *obv_archive_find_row(const obv_archive_sampled *s, const obv_pg_key *key)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const obv_archive_row *r = &s->rows[mid];
        const int c = obv_archive_order(r->table_id, r->partition_id, key->table_id, obv_pg_key_partition_id(key));
        if (c == 0)
            return r;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* mu is held. */
static void take_samples(obv_archive *a, const obv_archive_sampled *s)
{
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        const obv_archive_row *r = obv_archive_find_row(s, &pg->key);
        const int64_t before = pg->seen_epoch;
        pg->seen_epoch = r && r->has_stat && r->leader && r->has_epoch && r->leader_epoch > 0 ? r->leader_epoch : 0;
        if (pg->seen_epoch == 0 || pg->seen_epoch != before || !r->has_readable || r->readable_ts <= 0)
            continue;
        const obv_archive_sample sample = {.readable_ts = r->readable_ts,
                                           .last_log_id = r->last_log_id,
                                           .began_at = s->began_at,
                                           .ended_at = s->ended_at};
        obv_archive_add_sample(pg, &sample);
    }
    a->oldest_clog_file = s->oldest_clog_file;
    a->sampled_at = s->began_at;
}

/* After a failed sampling nothing is known about the time in between. mu is held. */
static void forget_epochs(obv_archive *a)
{
    for (size_t i = 0; i < a->pg_count; i++)
        a->pgs[i]->seen_epoch = 0;
}

void *obv_archive_sampler(void *archive)
{
    obv_archive *a = archive;
    obv_log_context_set("archive", NULL, NULL);
    const uint32_t every = a->cfg.sample_ms;
    bool one_phase = false;
    int64_t far_ns = 0;
    while (!obv_cancel_requested(a->cancel)) {
        (void)pthread_mutex_lock(&a->mu);
        const bool wanted = a->pg_count > 0 && !a->stopped;
        (void)pthread_mutex_unlock(&a->mu);
        const int64_t began = obv_mono_ns();
        if (wanted) {
            obv_archive_sampled s = {0};
            obv_err err = {0};
            const obv_code code = a->hooks.sample(a->hooks.ctx, a->cancel, &s, &err);
            (void)pthread_mutex_lock(&a->mu);
            if (code == OBV_OK)
                take_samples(a, &s);
            else
                forget_epochs(a);
            a->sample_error = code == OBV_OK ? (obv_err){0} : err;
            (void)pthread_mutex_unlock(&a->mu);
            if (code != OBV_OK && code != OBV_E_CANCELLED)
                OBV_WARN_EVERY(30, "no samples of the OBServer: %s", err.msg);
            if (code == OBV_OK && s.one_phase_commit != one_phase) {
                one_phase = s.one_phase_commit;
                OBV_INFO("enable_one_phase_commit is %s; commits are proven by the index of committed logs either way",
                         one_phase ? "on" : "off");
            }
            if (code == OBV_OK)
                obv_archive_sample_far(a, &s, &far_ns);
            free(s.rows);
        }
        const int64_t spent_ms = (obv_mono_ns() - began) / OBV_NS_PER_MS;
        const uint32_t rest = spent_ms >= every ? 1 : every - (uint32_t)spent_ms;
        if (obv_cancel_sleep(a->cancel, rest, NULL) != OBV_OK)
            break;
    }
    return NULL;
}
