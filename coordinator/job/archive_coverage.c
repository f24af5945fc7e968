/* archive_coverage.c - what all agents together say about a tenant */
#include "job/archive.h"

#include <stdio.h>

#define GAP_FILES 8u                   /* clog files that recycling is away at least */
#define LAGGING_US (60 * OBV_US_PER_S) /* proof by the ilog takes 10 to 20 s; besides three publications */
#define STUCK_US (300 * OBV_US_PER_S)

typedef struct gather {
    obv_job_ctx *x;
    uint64_t tenant;
    obv_coverage *c;
    bool all_said;
} gather;

/*
 * Is log in danger? Only what is not stored can be: files behind the newest one, or, when the archive stands still, the
 * newest one that it has seen.
 */
static void judge_gap(obv_coverage *c, const obv_settings *cfg, const char *agent_id, const obv_tenant_archive *a)
{
    if (a->oldest_clog_file == 0 || a->needed_clog_file == 0)
        return;
    const uint64_t files = a->needed_clog_file > a->oldest_clog_file ? a->needed_clog_file - a->oldest_clog_file : 0;
    const int64_t left = a->gap_in_s < 0 ? INT64_MAX : a->gap_in_s;
    const int64_t least = c->gap_in_s < 0 ? INT64_MAX : c->gap_in_s;
    const bool waits = a->needed_clog_file < a->newest_clog_file || a->oldest_clog_file > a->needed_clog_file;
    const bool near = waits && a->gap_in_s >= 0 && (files < GAP_FILES || a->gap_in_s < (int64_t)cfg->gap_warn_s);
    const bool worse = near != c->gap_near ? near : left != least ? left < least : files < c->gap_files;
    if (c->gap_known && !worse)
        return;
    c->gap_known = true;
    c->gap_near = near;
    c->gap_files = files;
    c->gap_in_s = a->gap_in_s;
    (void)snprintf(c->gap_agent, sizeof c->gap_agent, "%s", agent_id);
}

static obv_code add_agent(void *ctx, const char *agent_id, int64_t pgs, obv_err *err)
{
    gather *g = ctx;
    obv_coverage *c = g->c;
    obv_tenant_archive a;
    (void)err;
    c->pgs += pgs;
    if (!agent_id[0]) {
        c->unassigned += pgs;
        g->all_said = c->current = false;
        return OBV_OK;
    }
    uint64_t wanted = 0;
    if (obv_registry_archive(g->x->reg, agent_id, g->tenant, &a, NULL) != OBV_OK ||
        obv_registry_revision(g->x->reg, agent_id, &wanted, NULL) != OBV_OK) {
        g->all_said = c->current = false;
        return OBV_OK;
    }
    c->stamp = c->stamp * 1000003u + wanted;
    c->started += a.pgs_started;
    c->sampled += a.pgs_sampled;
    c->bytes_in += a.bytes_in;
    c->bytes_out += a.bytes_out;
    judge_gap(c, g->x->cfg, agent_id, &a);
    if (a.submit_ts_max > c->submit_ts_max)
        c->submit_ts_max = a.submit_ts_max;
    if (a.revision != wanted)
        c->current = false;
    if (a.piece_min < c->piece_min)
        c->piece_min = a.piece_min;
    for (uint32_t i = 0; i < a.blocking_count && c->blocking_count < 8; i++)
        c->blocking[c->blocking_count++] = a.blocking[i];
    if (a.error.code != OBV_OK && c->why.code == OBV_OK)
        c->why = a.error;
    const bool current = a.revision == wanted;
    if (current && a.state == OBV_TENANT_ARCHIVE_INTERRUPTED) {
        c->interrupted = true;
        c->why = a.error;
    }
    if (!current || a.state != OBV_TENANT_ARCHIVE_DOING || a.pgs != pgs || a.pgs_started != pgs ||
        a.pgs_sampled != pgs || a.checkpoint_min <= 0) {
        g->all_said = false;
        return OBV_OK;
    }
    if (c->checkpoint == 0 || a.checkpoint_min < c->checkpoint)
        c->checkpoint = a.checkpoint_min;
    if (a.round_start_ts_max > c->start_ts)
        c->start_ts = a.round_start_ts_max;
    return OBV_OK;
}

obv_code obv_archive_coverage(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_coverage *out, obv_err *err)
{
    *out = (obv_coverage){.gap_in_s = -1, .current = true, .piece_min = UINT64_MAX};
    gather g = {.x = x, .tenant = tenant, .c = out, .all_said = true};
    OBV_STATE_READ(x->s);
    OBV_TRY(obv_archive_pg_agents(x->s, round, tenant, add_agent, &g, err));
    out->complete = g.all_said && out->pgs > 0 && !out->interrupted;
    return OBV_OK;
}

obv_code obv_archive_refused(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_err *err)
{
    static const obv_code REFUSALS[] = {OBV_E_NO_SPACE, OBV_E_READ_ONLY, OBV_E_DENIED,
                                        OBV_E_CONFIG,   OBV_E_IO,        OBV_E_NOT_INITIALISED};
    obv_coverage c;
    OBV_TRY(obv_archive_coverage(x, round, tenant, &c, err));
    for (size_t i = 0; i < sizeof REFUSALS / sizeof *REFUSALS; i++) {
        if (c.why.code != REFUSALS[i])
            continue;
        *err = c.why;
        return obv_wrap(err, "the log is not archived");
    }
    return OBV_OK;
}

obv_health obv_archive_health(const obv_settings *cfg, const obv_round_tenant *t, int64_t now)
{
    const int64_t since = t->checkpoint_ts ? t->checkpoint_ts : t->start_ts;
    const int64_t slack = 3 * (int64_t)cfg->checkpoint_s * OBV_US_PER_S;
    if (t->status == OBV_ROUND_INTERRUPTED)
        return OBV_HEALTH_STUCK;
    if (t->status != OBV_ROUND_DOING)
        return OBV_HEALTH_NONE;
    return now - since > STUCK_US + slack     ? OBV_HEALTH_STUCK
           : now - since > LAGGING_US + slack ? OBV_HEALTH_LAGGING
                                              : OBV_HEALTH_OK;
}

const char *obv_archive_next(const obv_round_tenant *t, const obv_coverage *c)
{
    if (t->status == OBV_ROUND_INTERRUPTED)
        return "obvault archive stop, archive start, then backup start: times from the new set on can be restored "
               "again; "
               "until then only those up to the checkpoint";
    if (t->status != OBV_ROUND_DOING)
        return "";
    if (c->gap_near)
        return "log will be recycled before it is stored: make the destination and the agent faster, or OceanBase's "
               "clog "
               "disk larger; then, at worst, a new round and a new full backup are needed";
    if (c->unassigned > 0)
        return "start an agent on a host that has a full replica of each PG";
    return "";
}
