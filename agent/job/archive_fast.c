/* archive_fast.c - commits known from the leader itself, before the index of committed logs has them
 *
 * A log that has left the leader's sliding window (log_id < start_id) is committed and lies on the leader's disk. That
 * is said by SQL, a snapshot; so a log counts only if all of this was seen, in this order: a poll: this host leads
 * under epoch E, its window begins at or before the log; a poll under the same E: the window begins behind the log; a
 * scan of the clog's tail that began after that poll, and reached the end: every copy that may be the committed one is
 * seen, and of several the one with the greatest proposal id is taken; a poll under the same E once more. A window that
 * jumps (rebuild, migration) does so under no leadership or begins a new one. With one-phase commit the cursor alone
 * tells how a transaction ended: then nothing is taken before it. All else waits for the cursor as ever, and what was
 * taken is compared with its cursor later (source/clog_tail.c).
 */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/log.h"
#include "job/archive_priv.h"

#include <time.h>

#define ANSWER_NS (500 * OBV_NS_PER_MS) /* the loop waits no longer: appending goes on */

void *obv_archive_poller(void *archive)
{
    obv_archive *a = archive;
    obv_log_context_set("archive", NULL, NULL);
    (void)pthread_mutex_lock(&a->mu);
    while (!obv_cancel_requested(a->cancel)) {
        if (a->poll_wanted == a->poll_done) {
            (void)pthread_cond_wait(&a->wake, &a->mu);
            continue;
        }
        const uint64_t number = a->poll_wanted;
        (void)pthread_mutex_unlock(&a->mu);
        obv_archive_polled p = {0};
        obv_err err = {0};
        const obv_code code = a->hooks.poll(a->hooks.ctx, a->cancel, &p, &err);
        if (code != OBV_OK && code != OBV_E_CANCELLED)
            OBV_WARN_EVERY(30, "no poll of the OBServer, commits are proven by cursors: %s", err.msg);
        (void)pthread_mutex_lock(&a->mu);
        free(a->polled.rows);
        a->polled = p;
        a->poll_code = code;
        a->poll_done = number;
        (void)pthread_cond_broadcast(&a->wake);
    }
    (void)pthread_mutex_unlock(&a->mu);
    return NULL;
}

/* A poll that begins now. OBV_E_TIMEOUT: it takes too long; its answer is not waited for, and not used. */
static obv_code poll(obv_archive *a, obv_archive_polled *out)
{
    const int64_t at_ns = obv_mono_ns() + ANSWER_NS;
    const struct timespec until = {.tv_sec = at_ns / OBV_NS_PER_S, .tv_nsec = at_ns % OBV_NS_PER_S};
    obv_code code = OBV_E_TIMEOUT;
    (void)pthread_mutex_lock(&a->mu);
    const uint64_t number = ++a->poll_wanted;
    (void)pthread_cond_broadcast(&a->wake);
    while (a->poll_done != number && !obv_cancel_requested(a->cancel) && obv_mono_ns() < at_ns)
        (void)pthread_cond_timedwait(&a->wake, &a->mu, &until);
    if (a->poll_done == number) {
        code = a->poll_code;
        *out = a->polled;
        a->polled = (obv_archive_polled){0};
    }
    (void)pthread_mutex_unlock(&a->mu);
    return code;
}

static const obv_archive_window *find_row(const obv_archive_polled *p, const obv_pg_key *key)
{
    size_t lo = 0, hi = p->count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const obv_archive_window *r = &p->rows[mid];
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

/* One PG by its row. @return whether its next log is surely committed */
static bool take_row(obv_archive_pg *pg, obv_clog_pg *pos, const obv_archive_window *r)
{
    const bool leads = r && r->has_stat && r->leader && !r->need_rebuild && r->leader_epoch > 0;
    if (!leads || r->leader_epoch != pg->led.epoch || r->start_id < pg->led.start_id) {
        pg->led.epoch = leads ? r->leader_epoch : 0;
        pg->led.from = pg->led.start_id = leads ? r->start_id : 0;
        obv_clog_pg_sure(pos, false, 0, 0);
        obv_clog_pg_sure(pos, leads, 0, 0);
        return false;
    }
    /* the scan lies between the last poll and this one */
    obv_clog_pg_sure(pos, true, pg->led.from, pg->led.start_id);
    pg->led.start_id = r->start_id;
    return pos->next_log_id >= pos->sure_from && pos->next_log_id < pos->sure_below;
}

bool obv_archive_fast(obv_archive *a, obv_archive_pg *const *pgs, obv_clog_pg *const *pos, size_t n)
{
    if (!a->poller_runs)
        return false;
    bool whole = false, any = false;
    obv_err err = {0};
    obv_archive_polled p = {0};
    const obv_code scanned = obv_clog_scan(a->clog, pos, n, a->cancel, &whole, &err);
    if (scanned != OBV_OK && scanned != OBV_E_CANCELLED)
        OBV_WARN_EVERY(30, "the clog's tail is not followed, commits are proven by cursors: %s", err.msg);
    if (scanned != OBV_OK || !whole)
        return false; /* no poll is used that this scan would have to lie behind */
    obv_code code = poll(a, &p);
    if (code == OBV_E_TIMEOUT)
        return false;
    if (p.one_phase_commit)
        code = OBV_E_UNSUPPORTED;
    for (size_t i = 0; i < n; i++)
        any = take_row(pgs[i], pos[i], code == OBV_OK ? find_row(&p, &pgs[i]->key) : NULL) || any;
    free(p.rows);
    return any;
}
