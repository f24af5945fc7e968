/* txn.c - see txn.h */
#include "txn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int64_t next_ts(const struct host *h, const struct shm_pg *p)
{
    int64_t t = clock_us(h);
    if (t <= p->last_ts)
        t = p->last_ts + 1;
    return t <= p->max_w ? p->max_w + 1 : t;
}

/* Gives the log its place: id, timestamp, accumulated checksum; publishes it on the bus. */
static uint64_t append(struct host *h, uint32_t pg, uint32_t type, int64_t ts, const uint8_t *data, size_t n)
{
    struct shm_pg *p = pg_at(h, pg);
    struct log_entry e = {.type = type,
                          .key = p->key,
                          .log_id = p->last_log_id + 1,
                          .generation_ts = clock_us(h),
                          .epoch = p->leader_epoch};
    e.proposal = p->proposal;
    e.submit_ts = ts;
    e.freeze_version = (int64_t)1 << 32 | 2;
    e.data = data;
    e.data_len = n;
    struct obuf b = {0};
    enc_entry(&b, &e);
    uint64_t dcs = ob_crc(0, data, n);
    int64_t accum = (int64_t)ob_crc((uint64_t)p->accum, &dcs, 8);
    struct bus_rec r = {.kind = BUS_LOG,
                        .pg = pg,
                        .entry_len = (uint32_t)b.n,
                        .accum = accum,
                        .submit_ts = ts,
                        .log_id = e.log_id,
                        .host_mask = ~0u,
                        .type = type};
    if (type == (LOG_AGGRE | LOG_TRANS_BIT) && h->knob.batch_commit_pct)
        r.batch = e.log_id % 100 < (uint64_t)h->knob.batch_commit_pct;
    int64_t pos = bus_append(h, &r, b.p);
    memmove(p->recent + 1, p->recent, sizeof p->recent - sizeof p->recent[0]);
    p->recent[0] = pos < 0 ? 0 : pos - (int64_t)((sizeof r + r.entry_len + 7) & ~7u) + 1;
    ob_free(&b);
    return pos < 0 ? 0 : e.log_id;
}

uint64_t log_raw(struct host *h, uint32_t pg, uint32_t type, const uint8_t *data, size_t n)
{
    struct shm_pg *p = pg_at(h, pg);
    int64_t ts = type == LOG_NOP ? p->last_ts : next_ts(h, p);
    return append(h, pg, type, ts, data, n);
}

static void put_parts(struct host *h, struct obuf *b, const struct log_item *it)
{
    ob_be32(b, (uint32_t)it->n_parts);
    for (int i = 0; i < it->n_parts; i++)
        enc_pkey(b, &pg_at(h, it->parts[i])->key);
}

static void put_item(struct host *h, struct obuf *b, struct log_item *it, int64_t ts)
{
    it->ts = ts;
    ob_be64(b, (uint64_t)it->kind);
    if (it->kind >= 16) {
        ob_put(b, it->rest, it->rest_len);
        return;
    }
    ob_be64(b, (uint64_t)it->trans_id);
    if (it->kind & TX_REDO) {
        ob_be32(b, it->n_changes);
        for (uint32_t i = 0; i < it->n_changes; i++)
            enc_change(b, &it->changes[i]);
    }
    if (it->kind & TX_PREPARE) {
        ob_be64(b, (uint64_t)ts);
        put_parts(h, b, it);
    }
    if (it->kind & TX_COMMIT) {
        if (!it->commit_version)
            it->commit_version = ts;
        ob_be64(b, (uint64_t)it->commit_version);
        put_parts(h, b, it);
    }
    if (it->kind & TX_ABORT)
        put_parts(h, b, it);
}

uint64_t log_items(struct host *h, uint32_t pg, struct log_item *items, int n)
{
    struct shm_pg *p = pg_at(h, pg);
    if (p->state != PG_LIVE || !host_alive(h, p->leader))
        return 0;
    struct obuf b = {0};
    int64_t ts = next_ts(h, p);
    bool trans = items[0].kind < 16;
    for (int i = 0; i < n; i++) {
        size_t at = b.n;
        if (n > 1) {
            ob_be32(&b, 0);
            ob_be64(&b, (uint64_t)(ts + i));
        }
        put_item(h, &b, &items[i], ts + i);
        if (n > 1)
            stbe32(b.p + at, (uint32_t)b.n);
    }
    uint32_t type = (n > 1 ? LOG_AGGRE : LOG_SUBMIT) | (trans ? LOG_TRANS_BIT : 0);
    uint64_t id = append(h, pg, type, ts + n - 1, b.p, b.n);
    ob_free(&b);
    return id;
}

/* ---- transactions */

static void end_tx(struct host *h, struct shm_tx *t)
{
    for (int i = 0; i < t->n_locks; i++)
        if (h->shm->row_lock[t->lock[i]] == t->id)
            h->shm->row_lock[t->lock[i]] = 0;
    t->n_locks = 0;
    t->n = 0;
    t->state = TX_FREE;
}

int64_t tx_begin(struct host *h)
{
    int64_t slot = -1;
    shm_lock(h);
    for (uint32_t i = 0; i < MAX_TX && slot < 0; i++) {
        struct shm_tx *t = &h->shm->tx[i];
        if (t->state != TX_FREE)
            continue;
        memset(t, 0, sizeof *t);
        t->id = h->shm->next_tx++;
        t->start_us = clock_us(h);
        t->pid = (int)getpid();
        t->state = TX_RUNNING;
        slot = i;
    }
    shm_unlock(h);
    return slot;
}

static uint32_t lock_of(uint32_t pg, const struct change *c)
{
    return (uint32_t)(murmur64a(c->key, c->klen, c->index_id ^ pg) % ROW_LOCKS);
}

static bool take_locks(struct host *h, struct shm_tx *t, uint32_t pg, const struct change *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t owner = h->shm->row_lock[lock_of(pg, &c[i])];
        if (owner && owner != t->id)
            return false;
    }
    if (t->n_locks + (int)n > TX_LOCKS)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t l = lock_of(pg, &c[i]);
        if (!h->shm->row_lock[l]) {
            h->shm->row_lock[l] = t->id;
            t->lock[t->n_locks++] = l;
        }
    }
    return true;
}

int tx_change(struct host *h, int64_t slot, uint32_t pg, const struct change *c, uint32_t n)
{
    struct shm_tx *t = &h->shm->tx[slot];
    int rc = 0, k = 0;
    shm_lock(h);
    while (k < t->n && t->pg[k] != pg)
        k++;
    if (k == TX_PARTS || !take_locks(h, t, pg, c, n)) {
        rc = -1;
    } else {
        struct log_item it = {.kind = TX_REDO, .trans_id = t->id, .changes = c, .n_changes = n};
        if (!log_items(h, pg, &it, 1)) {
            rc = -4038;
        } else if (k == t->n) {
            t->pg[k] = pg;
            t->stage[k] = 0;
            t->n++;
            pg_at(h, pg)->running++;
        }
    }
    shm_unlock(h);
    return rc;
}

static bool end_part(struct host *h, struct shm_tx *t, int i, int64_t kind)
{
    struct log_item it = {
        .kind = kind, .trans_id = t->id, .parts = t->pg, .n_parts = t->n, .commit_version = t->commit_version};
    if (pg_at(h, t->pg[i])->state == PG_LIVE && !log_items(h, t->pg[i], &it, 1))
        return false;
    struct shm_pg *p = pg_at(h, t->pg[i]);
    t->stage[i] = 2;
    p->running--;
    p->last_commit_us = clock_us(h);
    p->ckpt_due = true;
    return true;
}

/* Writes the last record in each participant, waiting for leaders that are away. */
static void finish(struct host *h, int64_t slot, int64_t kind, int64_t spread)
{
    struct shm_tx *t = &h->shm->tx[slot];
    for (bool left = true; left;) {
        left = false;
        for (int i = 0; i < t->n; i++) {
            shm_lock(h);
            if (t->stage[i] != 2 && !end_part(h, t, i, kind))
                left = true;
            shm_unlock(h);
            if (spread && i + 1 < t->n)
                sleep_us(spread);
        }
        if (left && h->stopping)
            return; /* another process ends it */
        if (left)
            sleep_us(50000);
    }
    shm_lock(h);
    end_tx(h, t);
    shm_unlock(h);
}

int64_t tx_commit(struct host *h, int64_t slot)
{
    struct shm_tx *t = &h->shm->tx[slot];
    int64_t version = 0;
    shm_lock(h);
    if (t->n == 0) {
        end_tx(h, t);
    } else if (t->n == 1) {
        struct log_item it = {.kind = TX_COMMIT, .trans_id = t->id, .parts = t->pg, .n_parts = 1};
        if (log_items(h, t->pg[0], &it, 1)) {
            struct shm_pg *p = pg_at(h, t->pg[0]);
            version = it.commit_version;
            p->running--;
            p->last_commit_us = clock_us(h);
            p->ckpt_due = true;
            end_tx(h, t);
        } else {
            version = -4038;
        }
    } else {
        t->state = TX_PREPARING;
    }
    shm_unlock(h);
    if (version || t->state != TX_PREPARING) {
        if (version < 0)
            tx_abort(h, slot);
        return version;
    }
    for (int i = 0; i < t->n; i++) {
        shm_lock(h);
        struct log_item it = {.kind = TX_PREPARE, .trans_id = t->id, .parts = t->pg, .n_parts = t->n};
        if (!log_items(h, t->pg[i], &it, 1)) {
            shm_unlock(h);
            tx_abort(h, slot);
            return -4038;
        }
        t->stage[i] = 1;
        t->prepare[i] = it.ts;
        if (it.ts > version)
            version = it.ts;
        shm_unlock(h);
    }
    shm_lock(h);
    t->commit_version = version;
    t->state = TX_COMMITTING;
    shm_unlock(h);
    /* Most participants follow at once, some late: what lies between must not fool a checkpoint. */
    finish(h, slot, TX_COMMIT, slot % 8 == 0 ? h->knob.commit_spread_us : 0);
    return version;
}

void tx_abort(struct host *h, int64_t slot)
{
    shm_lock(h);
    h->shm->tx[slot].state = TX_ABORTING;
    shm_unlock(h);
    finish(h, slot, TX_ABORT, 0);
}

int64_t tx_single(struct host *h, uint32_t pg, const struct change *c, uint32_t n)
{
    int64_t version = -1;
    shm_lock(h);
    struct shm_tx t = {.id = h->shm->next_tx++};
    if (take_locks(h, &t, pg, c, n)) {
        struct log_item it = {
            .kind = TX_REDO | TX_COMMIT, .trans_id = t.id, .changes = c, .n_changes = n, .parts = &pg, .n_parts = 1};
        version = log_items(h, pg, &it, 1) ? it.commit_version : -4038;
        end_tx(h, &t);
        pg_at(h, pg)->last_commit_us = clock_us(h);
        pg_at(h, pg)->ckpt_due = true;
    }
    shm_unlock(h);
    return version;
}

int64_t tx_singles(struct host *h, uint32_t pg, const struct change *c, uint32_t n)
{
    struct log_item items[64] = {{0}};
    int k = 0;
    int64_t version = -1;
    shm_lock(h);
    for (uint32_t i = 0; i < n && k + 2 <= 64; i++) {
        if (h->shm->row_lock[lock_of(pg, &c[i])])
            continue;
        int64_t id = h->shm->next_tx++;
        items[k] = (struct log_item){.kind = TX_REDO, .trans_id = id, .changes = &c[i], .n_changes = 1};
        items[k + 1] = (struct log_item){.kind = TX_COMMIT, .trans_id = id, .parts = &pg, .n_parts = 1};
        k += 2;
    }
    if (k) {
        version = log_items(h, pg, items, k) ? items[k - 1].commit_version : -4038;
        pg_at(h, pg)->last_commit_us = clock_us(h);
        pg_at(h, pg)->ckpt_due = true;
    }
    shm_unlock(h);
    return version;
}

void tx_recover(struct host *h)
{
    for (uint32_t i = 0; i < MAX_TX; i++) {
        struct shm_tx *t = &h->shm->tx[i];
        if (t->state == TX_FREE || (kill(t->pid, 0) == 0 || errno != ESRCH))
            continue;
        shm_lock(h);
        bool mine = t->state != TX_FREE && kill(t->pid, 0) < 0;
        bool commit = t->state == TX_COMMITTING;
        if (mine)
            t->pid = (int)getpid();
        if (mine && !commit)
            t->state = TX_ABORTING;
        shm_unlock(h);
        if (mine)
            finish(h, i, commit ? TX_COMMIT : TX_ABORT, 0);
    }
}

/* ---- weak reads, checkpoints, leaders */

void weak_all(struct host *h, int64_t *w, uint32_t n)
{
    int64_t now = clock_us(h);
    for (uint32_t i = 0; i < n; i++) {
        struct shm_pg *p = pg_at(h, i);
        w[i] = now > p->last_ts ? now : p->last_ts;
    }
    for (uint32_t i = 0; i < MAX_TX; i++) {
        const struct shm_tx *t = &h->shm->tx[i];
        for (int k = 0; t->state != TX_FREE && k < t->n; k++)
            if (t->stage[k] == 1 && t->pg[k] < n && t->prepare[k] - 1 < w[t->pg[k]])
                w[t->pg[k]] = t->prepare[k] - 1;
    }
    for (uint32_t i = 0; i < n; i++)
        if (w[i] > pg_at(h, i)->max_w)
            pg_at(h, i)->max_w = w[i];
}

int log_checkpoint(struct host *h, uint32_t pg)
{
    int64_t *w = xcalloc(h->shm->n_pg + 1, sizeof *w);
    struct obuf rest = {0};
    shm_lock(h);
    uint32_t n = h->shm->n_pg;
    int rc = -4225;
    if (pg < n) {
        weak_all(h, w, n);
        size_t at = unis_begin(&rest, 1);
        ob_vs(&rest, w[pg]);
        unis_end(&rest, at);
        struct log_item it = {.kind = ST_CHECKPOINT, .rest = rest.p, .rest_len = rest.n};
        rc = log_items(h, pg, &it, 1) ? 0 : -4038;
        pg_at(h, pg)->last_ckpt_us = clock_us(h);
        pg_at(h, pg)->ckpt_due = false;
    }
    shm_unlock(h);
    ob_free(&rest);
    free(w);
    return rc;
}

static void membership_log(struct host *h, uint32_t pg)
{
    struct shm_pg *p = pg_at(h, pg);
    struct obuf b = {0};
    enc_membership(&b, h->member_list, h->n_members, p->leader_epoch, 1, h->cluster_id);
    p->membership_ts = p->leader_epoch;
    p->membership_log_id = log_raw(h, pg, LOG_START_MEMBERSHIP, b.p, b.n);
    ob_free(&b);
}

static void take_lead(struct host *h, struct shm_pg *p, int leader)
{
    int64_t now = clock_us(h);
    p->leader = leader;
    p->leader_epoch = now > p->leader_epoch ? now : p->leader_epoch + 1;
    p->lease_start = now;
    p->proposal = (struct proposal){h->ip[leader - 1], h->members[leader - 1].rpc_port, p->leader_epoch};
}

void log_first(struct host *h, uint32_t pg, int leader)
{
    take_lead(h, pg_at(h, pg), leader);
    membership_log(h, pg);
}

/* Local paxos record of a change: on disk of the followers only, outside the log's numbering. */
static void local_record(struct host *h, uint32_t pg, uint32_t type, uint64_t log_id)
{
    struct shm_pg *p = pg_at(h, pg);
    struct obuf d = {0}, b = {0};
    if (type == LOG_RENEW_MEMBERSHIP) {
        enc_membership(&d, h->member_list, h->n_members, p->leader_epoch, 1, h->cluster_id);
    } else {
        size_t at = unis_begin(&d, 1);
        ob_vi32(&d, 1);
        unis_end(&d, at);
    }
    struct log_entry e = {.type = type,
                          .key = p->key,
                          .log_id = log_id,
                          .generation_ts = clock_us(h),
                          .proposal = p->proposal,
                          .freeze_version = (int64_t)1 << 32 | 2,
                          .data = d.p,
                          .data_len = d.n};
    e.epoch = type == LOG_RENEW_MEMBERSHIP ? p->leader_epoch : -1;
    enc_entry(&b, &e);
    struct bus_rec r = {.kind = BUS_LOCAL,
                        .pg = pg,
                        .entry_len = (uint32_t)b.n,
                        .log_id = log_id,
                        .host_mask = ~(1u << (p->leader - 1)),
                        .type = type};
    bus_append(h, &r, b.p);
    ob_free(&d);
    ob_free(&b);
}

/* The new leader proposes the last logs again: same log, other proposal id and header checksum, one more copy on every
 * disk. */
static void propose_again(struct host *h, uint32_t pg)
{
    struct shm_pg *p = pg_at(h, pg);
    for (int i = 3; i >= 0; i--) {
        int64_t pos = p->recent[i] - 1;
        const struct bus_rec *rec = pos < 0 ? NULL : bus_at(h, &pos);
        struct log_entry e;
        size_t used;
        if (!rec || rec->pg != pg || !dec_entry(&e, (const uint8_t *)(rec + 1), rec->entry_len, &used))
            continue;
        struct obuf b = {0};
        e.proposal = p->proposal;
        enc_entry(&b, &e);
        const struct bus_rec r = {.kind = BUS_LOCAL,
                                  .pg = pg,
                                  .entry_len = (uint32_t)b.n,
                                  .log_id = e.log_id,
                                  .host_mask = ~0u,
                                  .type = e.type};
        bus_append(h, &r, b.p);
        ob_free(&b);
    }
}

/* Reconfirm fills an id that nobody can tell about with a NOP; its timestamp repeats the last one. */
static void nop_log(struct host *h, uint32_t pg)
{
    struct obuf b = {0};
    size_t at = unis_begin(&b, 1);
    ob_vi32(&b, 1);
    unis_end(&b, at);
    log_raw(h, pg, LOG_NOP, b.p, b.n);
    ob_free(&b);
}

int leader_move(struct host *h, uint32_t pg, int to)
{
    if (to < 1 || to > h->n_members || !host_alive(h, to) || pg_at(h, pg)->rep[to - 1].absent)
        return -4002;
    shm_lock(h);
    struct shm_pg *p = pg_at(h, pg);
    int rc = 0;
    if (p->state != PG_LIVE) {
        rc = -4225;
    } else {
        take_lead(h, p, to);
        local_record(h, pg, LOG_PREPARED, NO_ID);
        propose_again(h, pg);
        if (p->leader_epoch % 2)
            nop_log(h, pg);
        membership_log(h, pg);
        local_record(h, pg, LOG_RENEW_MEMBERSHIP, p->membership_log_id);
    }
    shm_unlock(h);
    return rc;
}

int log_offline(struct host *h, uint32_t pg, int64_t schema_version)
{
    struct obuf rest = {0};
    size_t at = unis_begin(&rest, 1);
    ob_vs(&rest, schema_version);
    unis_end(&rest, at);
    shm_lock(h);
    struct log_item it = {.kind = ST_OFFLINE, .rest = rest.p, .rest_len = rest.n};
    int rc = log_items(h, pg, &it, 1) ? 0 : -4038;
    if (!rc)
        pg_at(h, pg)->state = PG_OFFLINE;
    shm_unlock(h);
    ob_free(&rest);
    return rc;
}
