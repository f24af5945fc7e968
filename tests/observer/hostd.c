/* hostd.c - see hostd.h */
#include "hostd.h"

#include "catalog.h"
#include "points.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

bool host_is_root(const struct host *h)
{
    for (int i = 1; i < h->id; i++)
        if (host_alive(h, i))
            return false;
    return true;
}

/* W of everything at one moment, valid here once the bus has been applied up to that moment. */
struct weak_stage {
    int64_t *w;
    uint32_t n;
    int64_t pos;
};

static void weak_tick(struct host *h, struct weak_stage *s)
{
    const struct shm_host *me = &h->shm->host[h->id - 1];
    if (s->n && me->applied >= s->pos) {
        for (uint32_t i = 0; i < s->n; i++)
            if (s->w[i] > my_rep(h, i)->weak_ts)
                my_rep(h, i)->weak_ts = s->w[i];
        s->n = 0;
    }
    if (!s->n) {
        shm_lock(h);
        s->n = h->shm->n_pg;
        weak_all(h, s->w, s->n);
        s->pos = h->shm->bus_end;
        shm_unlock(h);
    }
}

static void root_tick(struct host *h)
{
    int64_t now = clock_us(h);
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        struct shm_pg *p = pg_at(h, i);
        if (p->state == PG_OFFLINE) {
            bool all = true;
            for (int k = 0; k < h->n_members; k++)
                all &= !host_alive(h, k + 1) || p->rep[k].applied_id >= p->last_log_id;
            if (all && now - p->last_ts > h->knob.gc_delay_us)
                p->state = PG_GONE;
            continue;
        }
        if (p->state != PG_LIVE)
            continue;
        if (!host_alive(h, p->leader))
            leader_move(h, i, (int)host_pick_leader(h, i));
        else if ((p->ckpt_due && now - p->last_commit_us > h->knob.checkpoint_idle_us) ||
                 now - (p->last_ckpt_us ? p->last_ckpt_us : p->create_ts) > h->knob.checkpoint_cold_us)
            log_checkpoint(h, i);
    }
    tx_recover(h);
    catalog_sync(h);
}

void *timer_main(void *arg)
{
    struct host *h = arg;
    struct weak_stage s = {.w = xcalloc(MAX_PG, sizeof *s.w)};
    int64_t next_root = 0;
    while (!h->stopping) {
        h->shm->host[h->id - 1].heartbeat = now_us();
        weak_tick(h, &s);
        ilog_tick(h, false);
        int64_t now = now_us();
        if (host_is_root(h) && now > next_root) {
            root_tick(h);
            next_root = now + 300000;
        }
        sleep_us(50000);
    }
    free(s.w);
    return NULL;
}

static bool chosen(const struct host *h, const struct shm_cmd *c, uint32_t i)
{
    const struct shm_pg *p = pg_at(h, i);
    return (p->state == PG_LIVE) && (c->pg < 0 || c->pg == i) && (!c->tenant || c->tenant == p->tenant);
}

static int run_command(struct host *h, struct shm_cmd *c)
{
    int rc = 0;
    if (c->kind == CMD_RECYCLE) {
        c->a = clog_recycle(h, (int)c->a);
        ilog_purge(h);
        return 0;
    }
    if (c->kind == CMD_STALE_TAIL)
        return clog_stale_tail(h, (uint32_t)c->pg, (int)c->a);
    if (c->kind == CMD_TORN_TAIL)
        return clog_torn_tail(h);
    if (c->kind == CMD_REMOVE_CLOG) {
        int file = clog_remove(h, (uint32_t)c->a);
        c->a = file;
        return file < 0 ? -4018 : 0;
    }
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        struct replica *r = chosen(h, c, i) ? replica_get(h, i) : NULL;
        int one = 0;
        if (!r)
            continue;
        switch (c->kind) {
        case CMD_FREEZE:
            one = replica_freeze(h, r, (int)c->a);
            break;
        case CMD_COMPACT:
            one = replica_compact(h, r);
            break;
        case CMD_BUILD_MAJOR:
            one = pg_at(h, i)->leader == h->id ? replica_build_major(h, r, c->a, c->b) : 0;
            break;
        case CMD_ADOPT_MAJOR:
            one = replica_adopt_major(h, r, c->a, c->b);
            break;
        default:
            one = -4007;
        }
        if (one < 0 && !rc)
            rc = one;
    }
    return rc;
}

/* Memory is short, or it is time: what a server does by itself. */
static int64_t freeze_by_itself(struct host *h, int64_t next)
{
    bool full = h->mem_bytes > h->knob.memtable_limit_bytes;
    int64_t now = now_us();
    if (!full && (!h->knob.auto_freeze_us || now < next))
        return next;
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        struct replica *r = replica_get(h, i);
        /* Now and then the newest mini is ahead of data_info. */
        bool lag = r && !full && (++r->n_freezes + i + (uint32_t)h->id) % 4 == 0;
        if (r)
            replica_freeze(h, r, lag ? FREEZE_LAG : 0);
    }
    return now + h->knob.auto_freeze_us;
}

static void recycle_by_itself(struct host *h, int64_t *next_using, int64_t *next_recycle)
{
    int64_t now = now_us();
    if (h->knob.clog_using_us && now >= *next_using) {
        clog_walk_using(h);
        *next_using = now + h->knob.clog_using_us;
    }
    if (h->knob.auto_recycle_us && now >= *next_recycle) {
        clog_recycle(h, INT32_MAX);
        ilog_purge(h);
        *next_recycle = now + h->knob.auto_recycle_us;
    }
}

void *command_main(void *arg)
{
    struct host *h = arg;
    struct shm_cmd *c = &h->shm->host[h->id - 1].cmd;
    int64_t next_freeze = 0, next_points = 0, next_using = 0, next_recycle = 0;
    while (!h->stopping) {
        if (now_us() > next_points) {
            points_tick(h);
            next_points = now_us() + 1000000;
        }
        next_freeze = freeze_by_itself(h, next_freeze);
        recycle_by_itself(h, &next_using, &next_recycle);
        if (c->seq == c->done) {
            sleep_us(3000);
            continue;
        }
        shm_lock(h);
        struct shm_cmd mine = *c;
        shm_unlock(h);
        int rc = run_command(h, &mine);
        shm_lock(h);
        mine.rc = rc;
        mine.done = mine.seq;
        *c = mine;
        shm_unlock(h);
    }
    return NULL;
}

int cluster_catch_up(struct host *h, int64_t ts, int64_t timeout_us)
{
    int64_t end = now_us() + timeout_us;
    while (now_us() < end && !h->stopping) {
        int64_t pos = h->shm->bus_end;
        bool all = true;
        for (int i = 0; i < h->n_members; i++)
            all &= !host_alive(h, i + 1) || h->shm->host[i].applied >= pos;
        for (uint32_t k = 0; all && k < h->shm->n_pg; k++)
            for (int i = 0; all && i < h->n_members; i++)
                all &= pg_at(h, k)->state != PG_LIVE || !host_alive(h, i + 1) || pg_at(h, k)->rep[i].weak_ts >= ts;
        if (all)
            return 0;
        sleep_us(20000);
    }
    return -4012;
}

static int on_hosts(struct host *h, int host_id, const struct shm_cmd *cmd, int64_t timeout)
{
    int rc = 0;
    for (int i = 1; i <= h->n_members; i++) {
        if ((host_id && host_id != i) || !host_alive(h, i))
            continue;
        struct shm_cmd c = *cmd;
        int one = host_command(h, i, &c, timeout);
        if (one < 0 && !rc)
            rc = one;
    }
    return rc;
}

int cluster_freeze(struct host *h, int host_id, uint64_t tenant, int64_t pg, int flags, bool wait)
{
    const struct shm_cmd c = {.kind = CMD_FREEZE, .tenant = tenant, .pg = pg, .a = flags};
    if (wait)
        cluster_catch_up(h, clock_us(h) - 1000, 10000000);
    return on_hosts(h, host_id, &c, 120000000);
}

int cluster_compact(struct host *h, int host_id, uint64_t tenant, int64_t pg)
{
    const struct shm_cmd c = {.kind = CMD_COMPACT, .tenant = tenant, .pg = pg};
    return on_hosts(h, host_id, &c, 120000000);
}

int64_t cluster_major(struct host *h, uint64_t tenant, int64_t pg)
{
    shm_lock(h);
    int64_t version = ++h->shm->frozen_version, ts = clock_us(h);
    h->shm->frozen_ts = ts;
    shm_unlock(h);
    catalog_freeze_info(h, version, ts);
    int rc = cluster_catch_up(h, ts, 120000000);
    if (!rc)
        rc = cluster_freeze(h, 0, tenant, pg, 0, false);
    struct shm_cmd c = {.kind = CMD_BUILD_MAJOR, .tenant = tenant, .pg = pg, .a = version, .b = ts};
    if (!rc)
        rc = on_hosts(h, 0, &c, 3600000000);
    c.kind = CMD_ADOPT_MAJOR;
    if (!rc)
        rc = on_hosts(h, 0, &c, 600000000);
    if (rc)
        return rc;
    shm_lock(h);
    h->shm->major_version = version;
    h->shm->major_ts = ts;
    shm_unlock(h);
    catalog_merged(h, version);
    catalog_sync(h);
    return version;
}
