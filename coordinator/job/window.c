#include "job/window.h"

#include "base/fault.h"
#include "format/media/archive_paths.h"
#include "job/backup_files.h"
#include "state/rounds.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Stock rules (format page, "Restore side"): the last piece is the first one, ascending, whose checkpoint reaches T.
 * The first piece of its round must not begin after S. From the last piece back, pieces of the same round are taken as
 * long as they end at or after the set's replay start. The smallest piece taken must not begin after S.
 *
 * Named one by one, as we name them, pieces must follow each other without a missing number, all but the last must be
 * FROZEN, and the smallest must be its round's first or begin before the replay does.
 *
 * One rule of ours on top: the round is the set's own. A later round may begin before S by its start_ts, which knows
 * only where each PG was frozen last, and yet behind the older position of a PG's copy: stock OceanBase finds the gap
 * when it replays.
 */
bool obv_window_pieces(const obv_window_set *s, const obv_window_piece *p, size_t n, int64_t at, size_t *first,
                       size_t *last)
{
    size_t l = 0;
    while (l < n && !(p[l].available && p[l].checkpoint_ts >= at))
        l++;
    if (l == n || p[l].round != s->round)
        return false;
    size_t round_first = l;
    while (round_first > 0 && p[round_first - 1].round == p[l].round)
        round_first--;
    if (p[round_first].start_ts <= 0 || p[round_first].start_ts > s->snapshot)
        return false;
    size_t f = l;
    while (f > round_first && p[f - 1].available && p[f - 1].max_ts >= s->replay_start) {
        f--;
        if (p[f].max_ts == INT64_MAX || p[f].piece + 1 != p[f + 1].piece)
            return false;
    }
    if (p[f].start_ts <= 0 || p[f].start_ts > s->snapshot)
        return false;
    if (p[f].start_piece != p[f].piece && p[f].start_ts > s->replay_start)
        return false;
    *first = f;
    *last = l;
    return true;
}

/*
 * OceanBase takes UNTIL == S for a restore of the snapshot alone and reads no log at all, but our copies end before S:
 * what lies between would be lost (docs/decisions/0008).
 */
static int64_t first_time(const obv_window_set *s)
{
    return OBV_BUG_STRIKES("bug.a2_until_equals_s") ? s->snapshot : s->snapshot + 1;
}

obv_window obv_window_of(const obv_window_set *s, const obv_window_piece *p, size_t n)
{
    obv_window w = {.from = first_time(s), .to = s->snapshot};
    for (size_t i = n; i-- > 0 && w.to == s->snapshot;) {
        size_t f = 0, l = 0;
        if (p[i].round == s->round && p[i].available && p[i].checkpoint_ts > s->snapshot &&
            obv_window_pieces(s, p, n, p[i].checkpoint_ts, &f, &l)) {
            w.to = p[i].checkpoint_ts;
            w.first = f;
            w.last = l;
        }
    }
    return w;
}

static void describe(const obv_window_set *sets, size_t set_count, const obv_window_piece *p, size_t n, char *out,
                     size_t cap)
{
    size_t at = 0;
    for (size_t i = set_count; i-- > 0 && at < cap;) {
        const obv_window w = obv_window_of(&sets[i], p, n);
        char from[OBV_TIME_TEXT_LEN], to[OBV_TIME_TEXT_LEN];
        if (w.from > w.to)
            continue;
        const int k = snprintf(out + at, cap - at, "%sset %lld: %s to %s", at ? "; " : "", (long long)sets[i].set_id,
                               obv_time_text(w.from, from), obv_time_text(w.to, to));
        at += k > 0 ? (size_t)k : 0;
    }
    if (at == 0)
        (void)snprintf(out, cap, "nothing yet");
}

obv_code obv_window_choose(const obv_window_set *sets, size_t set_count, const obv_window_piece *p, size_t n,
                           int64_t at, size_t *set, size_t *first, size_t *last, obv_err *err)
{
    for (size_t i = set_count; i-- > 0;)
        if (at >= first_time(&sets[i]) && obv_window_pieces(&sets[i], p, n, at, first, last)) {
            *set = i;
            return OBV_OK;
        }
    char when[OBV_TIME_TEXT_LEN], windows[300];
    describe(sets, set_count, p, n, windows, sizeof windows);
    return obv_fail(err, OBV_E_NOT_RESTORABLE, 0, "%s is not restorable; restorable is: %s", obv_time_text(at, when),
                    windows);
}

void obv_window_piece_dir(const obv_media_root *root, uint64_t tenant, const obv_window_piece *p, obv_path *out)
{
    const obv_archive_place place = {
        .root = *root, .round = (uint64_t)p->round, .piece = (uint64_t)p->piece, .piece_date = p->date};
    obv_archive_path_dir(&place, tenant, out);
}

/* ---- holes */

static int by_from(const void *a, const void *b)
{
    const obv_window *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

obv_code obv_window_holes(const obv_window_data *d, obv_window_hole_fn *fn, void *ctx, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_window *w = calloc(d->set_count + 1, sizeof *w);
    size_t n = 0;
    if (!w)
        return obv_fail(err, OBV_E_NOMEM, 0, "window");
    for (size_t i = 0; i < d->set_count; i++) {
        const obv_window one = obv_window_of(&d->sets[i], d->pieces, d->piece_count);
        if (one.from <= one.to)
            w[n++] = one;
    }
    qsort(w, n, sizeof *w, by_from);
    int64_t to = 0, round = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && w[i].from > to + 1) {
            const obv_window_hole h = {.from = to + 1, .to = w[i].from - 1, .round = round};
            OBV_TRY(fn(ctx, &h, err));
        }
        if (w[i].to > to) {
            to = w[i].to;
            round = d->pieces[w[i].last].round;
        }
    }
    const obv_window_hole open = {.from = to + 1, .round = round};
    return n ? fn(ctx, &open, err) : OBV_OK;
}

/* ---- from the state */

void obv_window_data_fini(obv_window_data *d)
{
    free(d->sets);
    free(d->pieces);
    *d = (obv_window_data){0};
}

typedef struct load {
    obv_job_ctx *x;
    uint64_t tenant;
    obv_window_data *out;
} load;

typedef struct set_list {
    obv_window_set *v;
    size_t n, cap;
} set_list;
typedef struct piece_list {
    obv_window_piece *v;
    size_t n, cap;
} piece_list;

static obv_code take_set(void *ctx, const obv_set *s, obv_err *err)
{
    load *l = ctx;
    obv_set_tenant t;
    if (s->status != OBV_SET_GOOD)
        return OBV_OK;
    const obv_code code = obv_set_tenant_get(l->x->s, s->id, l->tenant, &t, NULL);
    if (code == OBV_E_NOT_FOUND)
        return OBV_OK;
    if (code != OBV_OK)
        return obv_fail(err, code, 0, "tenant of set %lld", (long long)s->id);
    set_list list = {l->out->sets, l->out->set_count, l->out->set_cap};
    obv_window_set *w = obv_list_add(&list, sizeof *w, err);
    if (!w)
        return OBV_E_NOMEM;
    l->out->sets = list.v;
    l->out->set_count = list.n;
    l->out->set_cap = list.cap;
    *w = (obv_window_set){.set_id = s->id,
                          .full_set_id = s->full_set_id,
                          .round = s->round,
                          .snapshot = s->snapshot,
                          .date = s->date,
                          .cluster_version = s->cluster_version};
    return obv_backup_replay_start(l->x, s, l->tenant, &w->replay_start, err);
}

static obv_code take_piece(void *ctx, const obv_piece *in, obv_err *err)
{
    load *l = ctx;
    piece_list list = {l->out->pieces, l->out->piece_count, l->out->piece_cap};
    obv_window_piece *p = obv_list_add(&list, sizeof *p, err);
    if (!p)
        return OBV_E_NOMEM;
    l->out->pieces = list.v;
    l->out->piece_count = list.n;
    l->out->piece_cap = list.cap;
    *p = (obv_window_piece){.round = in->round,
                            .piece = in->piece,
                            .start_piece = in->start_piece,
                            .date = in->date,
                            .start_ts = in->start_ts,
                            .checkpoint_ts = in->checkpoint_ts,
                            .max_ts = in->max_ts,
                            .available = in->checkpoint_ts > 0};
    return OBV_OK;
}

obv_code obv_window_load(obv_job_ctx *x, uint64_t tenant, obv_window_data *out, obv_err *err)
{
    load l = {x, tenant, out};
    OBV_STATE_READ(x->s);
    OBV_TRY(obv_set_each(x->s, take_set, &l, err));
    return obv_piece_each(x->s, tenant, take_piece, &l, err);
}
