/* archive_gap.c - how far the OBServer's recycling is from log that is not stored yet (docs/operations.md)
 *
 * OceanBase may reuse every clog file below user_clog_min_using_file_id. Nothing outside can hold that back; what can
 * be done is to see it coming.
 */
#include "base/clock.h"
#include "job/archive_priv.h"

#define WINDOW_NS (300 * OBV_NS_PER_S) /* the rate is measured over one to two of these */

void obv_gap_meter_see(obv_gap_meter *m, uint64_t oldest, int64_t now_ns)
{
    if (oldest == 0)
        return;
    if (m->base.ns == 0 || oldest < m->base.file) /* the server began anew */
        m->base = m->later = (obv_gap_mark){oldest, now_ns};
    if (now_ns - m->later.ns > WINDOW_NS) {
        m->base = m->later;
        m->later = (obv_gap_mark){oldest, now_ns};
    }
    m->now = (obv_gap_mark){oldest, now_ns};
}

int64_t obv_gap_meter_left_s(const obv_gap_meter *m, uint64_t needed)
{
    const int64_t spent = m->now.ns - m->base.ns;
    const uint64_t recycled = m->now.file - m->base.file;
    if (needed == 0 || recycled == 0 || spent <= 0)
        return -1;
    const uint64_t left = needed > m->now.file ? needed - m->now.file : 0;
    return (int64_t)((double)left * (double)spent / (double)recycled / (double)OBV_NS_PER_S);
}

uint64_t obv_archive_needed_file(obv_archive *a, uint32_t newest)
{
    uint64_t least = newest;
    for (size_t i = 0; i < a->pg_count; i++) {
        obv_archive_pg *pg = a->pgs[i];
        if (pg->pos.file_id)
            pg->near_file = pg->pos.file_id;
        const bool follows = pg->stage == OBV_PG_READY || pg->stage == OBV_PG_FIRST;
        if (pg->stage == OBV_PG_FAILED || pg->near_file == 0 || (follows && a->caught_up))
            continue;
        if (least == 0 || pg->near_file < least)
            least = pg->near_file;
    }
    return least;
}
