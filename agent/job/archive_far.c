/* archive_far.c - samples of PGs that are led where no agent of ours archives them
 *
 * Normally the leader's host archives a PG, and its own server is asked. After the leader's agent died, or while a
 * leader has just moved, a PG is archived beside another replica, from the index of committed logs there. A checkpoint
 * still rests on the leader's word alone: so the leader's server is asked, on itself and about itself, as seldom as
 * possible. It is taken to listen for SQL where the local one does.
 */
#define OBV_LOG_MOD "archive"
#include "base/clock.h"
#include "base/log.h"
#include "job/archive_priv.h"

#define EVERY_NS (4 * OBV_NS_PER_S)
#define SERVERS_MAX 4u /* of one turn; the others come next */

/* Which servers lead PGs of ours that the local one does not? mu is held. */
static size_t leaders_of(const obv_archive *a, const obv_archive_sampled *local, bool wanted[OBV_ARCHIVE_SERVERS])
{
    size_t n = 0;
    for (size_t i = 0; i < a->pg_count; i++) {
        const obv_archive_row *r = obv_archive_find_row(local, &a->pgs[i]->key);
        if (!r || r->leader || r->leader_at == 0 || a->pgs[i]->done.offline || wanted[r->leader_at - 1])
            continue;
        wanted[r->leader_at - 1] = true;
        n++;
    }
    return n;
}

/* mu is held. */
static void take_far(obv_archive *a, const obv_archive_sampled *local, const obv_archive_sampled *far, size_t server)
{
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        const obv_archive_row *here = obv_archive_find_row(local, &pg->key);
        if (!here || here->leader || here->leader_at != server + 1)
            continue;
        const obv_archive_row *r = obv_archive_find_row(far, &pg->key);
        const int64_t before = pg->far_epoch;
        pg->far_epoch = r && r->has_stat && r->leader && r->has_epoch && r->leader_epoch > 0 ? r->leader_epoch : 0;
        if (pg->far_epoch == 0 || pg->far_epoch != before || !r->has_readable || r->readable_ts <= 0)
            continue;
        const obv_archive_sample s = {.readable_ts = r->readable_ts,
                                      .last_log_id = r->last_log_id,
                                      .began_at = far->began_at,
                                      .ended_at = far->ended_at};
        obv_archive_add_sample(pg, &s);
    }
}

void obv_archive_sample_far(obv_archive *a, const obv_archive_sampled *local, int64_t *last_ns)
{
    bool wanted[OBV_ARCHIVE_SERVERS] = {false};
    if (!a->hooks.sample_at || obv_mono_ns() - *last_ns < EVERY_NS)
        return;
    (void)pthread_mutex_lock(&a->mu);
    const size_t n = leaders_of(a, local, wanted);
    (void)pthread_mutex_unlock(&a->mu);
    if (n == 0)
        return;
    *last_ns = obv_mono_ns();
    size_t asked = 0;
    for (size_t k = 0; k < local->server_count && asked < SERVERS_MAX; k++) {
        const size_t server = (a->far_next + k) % local->server_count;
        obv_archive_sampled far = {0};
        obv_err err = {0};
        if (!wanted[server])
            continue;
        asked++;
        const obv_code code = a->hooks.sample_at(a->hooks.ctx, local->servers[server], a->cancel, &far, &err);
        (void)pthread_mutex_lock(&a->mu);
        take_far(a, local, &far, server); /* after a failure it knows no row: epochs are forgotten */
        (void)pthread_mutex_unlock(&a->mu);
        if (code != OBV_OK && code != OBV_E_CANCELLED)
            OBV_WARN_EVERY(30, "no samples of the OBServer at %s: %s", local->servers[server], err.msg);
        free(far.rows);
    }
    if (local->server_count > 0)
        a->far_next = (a->far_next + SERVERS_MAX) % local->server_count;
}
