#include "job/window.h"
#include "state/rounds.h"

#include <stdio.h>
#include <string.h>

obv_code obv_window_cause_of(obv_job_ctx *x, uint64_t tenant, const obv_window_hole *h, obv_window_cause *c,
                             obv_err *err)
{
    obv_round_tenant t;
    obv_round newest;
    *c = (obv_window_cause){.next = ""};
    OBV_TRY(obv_round_tenant_get(x->s, h->round, tenant, &t, err));
    OBV_TRY(obv_round_last(x->s, &newest, err));
    const bool newer = newest.round > h->round && newest.status != OBV_ROUND_STOP;
    c->interrupted = t.error.code != OBV_OK || t.status == OBV_ROUND_INTERRUPTED;
    if (c->interrupted)
        (void)snprintf(c->why, sizeof c->why, "the log of round %lld is interrupted: %.300s", (long long)h->round,
                       t.error.msg);
    else if (t.gone_at)
        (void)snprintf(c->why, sizeof c->why, "the tenant was dropped in round %lld", (long long)h->round);
    else if (t.status == OBV_ROUND_STOP || newest.round > h->round)
        (void)snprintf(c->why, sizeof c->why, "log archiving was stopped with round %lld", (long long)h->round);
    else
        c->going_on = true;
    if (h->to == 0 && !c->going_on && !t.gone_at)
        c->next = newer                             ? "obvault backup start: the new round has no good set yet"
                  : newest.status == OBV_ROUND_STOP ? "obvault archive start, then backup start"
                                                    : "obvault archive stop, archive start, then backup start";
    if (h->to)
        (void)strncat(c->why, "; the next set was made only then", sizeof c->why - strlen(c->why) - 1);
    return OBV_OK;
}
