/* cluster.c - see cluster.h */
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SHM_MAGIC (0x4f42535348303033u + sizeof(struct shm)) /* another layout is another cluster */

static bool pid_lives(int pid) { return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM); }

static int init_mutex(struct shm *s)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    memset(&s->mu, 0, sizeof s->mu);
    int rc = pthread_mutex_init(&s->mu, &a);
    pthread_mutexattr_destroy(&a);
    return rc;
}

int cluster_open(struct host *h)
{
    char *path = xasprintf("%s/shm", h->cluster_dir), *lock = xasprintf("%s/shm.lock", h->cluster_dir);
    char *bus = xasprintf("%s/bus", h->cluster_dir), *shared = xasprintf("%s/shared", h->cluster_dir);
    int rc = mkdirs(bus);
    if (!rc)
        rc = mkdirs(shared);
    int lfd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0644), fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (!rc && (lfd < 0 || fd < 0 || flock(lfd, LOCK_EX) < 0 || ftruncate(fd, sizeof(struct shm)) < 0))
        rc = -errno;
    if (!rc) {
        struct shm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (s == MAP_FAILED) {
            rc = -errno;
        } else {
            bool others = false;
            for (int i = 0; i < OBS_MAX_HOSTS; i++)
                others |= i != h->id - 1 && s->magic == SHM_MAGIC && pid_lives(s->host[i].pid);
            if (s->magic != SHM_MAGIC || !others)
                rc = init_mutex(s);
            if (s->magic != SHM_MAGIC) {
                s->next_tx = 1000;
                s->frozen_version = s->major_version = 1;
                s->frozen_ts = s->major_ts = now_us();
                s->last_schema_version = now_us();
                s->magic = SHM_MAGIC;
            }
            s->host[h->id - 1].pid = (int)getpid();
            s->host[h->id - 1].start_us = now_us();
            s->host[h->id - 1].heartbeat = now_us();
            s->host[h->id - 1].cmd.done = s->host[h->id - 1].cmd.seq;
            h->shm = s;
        }
    }
    if (fd >= 0)
        close(fd);
    if (lfd >= 0)
        close(lfd); /* releases the lock */
    free(path);
    free(lock);
    free(bus);
    free(shared);
    return rc;
}

void shm_lock(struct host *h)
{
    if (pthread_mutex_lock(&h->shm->mu) == EOWNERDEAD) {
        bus_settle(h);
        pthread_mutex_consistent(&h->shm->mu);
    }
}

void shm_unlock(struct host *h) { pthread_mutex_unlock(&h->shm->mu); }

int64_t clock_us(const struct host *h) { return now_us() + h->shm->clock_skew; }

int64_t pg_find(const struct host *h, const struct pkey *k)
{
    uint64_t s = pkey_hash(k) % PG_HASH;
    for (; h->shm->hash[s]; s = (s + 1) % PG_HASH) {
        uint32_t i = h->shm->hash[s] - 1;
        if (pkey_eq(&h->shm->pg[i].key, k))
            return i;
    }
    return -1;
}

int64_t pg_alloc(struct host *h, const struct pkey *k)
{
    uint32_t i = h->shm->n_pg;
    if (i == MAX_PG)
        return -1;
    struct shm_pg *p = pg_at(h, i);
    memset(p, 0, sizeof *p);
    p->key = *k;
    p->tenant = pkey_tenant(k);
    return i;
}

void pg_publish(struct host *h, uint32_t i)
{
    struct shm_pg *p = pg_at(h, i);
    uint64_t s = pkey_hash(&p->key) % PG_HASH;
    while (h->shm->hash[s])
        s = (s + 1) % PG_HASH;
    p->state = PG_LIVE;
    h->shm->n_pg = i + 1;
    h->shm->hash[s] = i + 1;
}

bool parse_pg_name(const char *s, struct pkey *k)
{
    uint64_t t;
    int64_t p;
    if (!s || sscanf(s, "%" SCNu64 "/%" SCNd64, &t, &p) != 2)
        return false;
    *k = pkey_make(t, p);
    return true;
}

bool host_alive(const struct host *h, int id)
{
    if (id < 1 || id > h->n_members)
        return false;
    const struct shm_host *o = &h->shm->host[id - 1];
    return o->pid && now_us() - o->heartbeat < h->knob.lease_us && pid_lives(o->pid);
}

int64_t host_pick_leader(const struct host *h, uint32_t i)
{
    for (int k = 0; k < h->n_members; k++) {
        int id = (int)((i + (uint32_t)k) % (uint32_t)h->n_members) + 1;
        if (host_alive(h, id) && !pg_at(h, i)->rep[id - 1].absent)
            return id;
    }
    return h->id;
}

static uint8_t *segment(struct host *h, int64_t pos)
{
    int64_t n = pos / BUS_SEG;
    if (n >= 4096)
        return NULL;
    uint8_t *p = h->seg[n];
    if (p)
        return p;
    pthread_mutex_lock(&h->seg_mu);
    p = h->seg[n];
    if (!p) {
        char *path = xasprintf("%s/bus/%" PRId64, h->cluster_dir, n);
        int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
        if (fd >= 0 && ftruncate(fd, BUS_SEG) == 0) {
            void *m = mmap(NULL, BUS_SEG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (m != MAP_FAILED)
                h->seg[n] = p = m;
        }
        if (fd >= 0)
            close(fd);
        free(path);
    }
    pthread_mutex_unlock(&h->seg_mu);
    return p;
}

int64_t bus_append(struct host *h, const struct bus_rec *head, const uint8_t *entry)
{
    int64_t at = h->shm->bus_end;
    uint32_t len = (uint32_t)((sizeof *head + head->entry_len + 7) & ~7u);
    int64_t room = BUS_SEG - at % BUS_SEG;
    if (room < (int64_t)(len + sizeof *head)) { /* always leave room for a pad */
        uint8_t *p = segment(h, at);
        if (!p)
            return -1;
        struct bus_rec pad = {.len = (uint32_t)room, .kind = BUS_PAD};
        memcpy(p + at % BUS_SEG, &pad, sizeof pad);
        at += room;
    }
    uint8_t *p = segment(h, at);
    if (!p)
        return -1;
    struct bus_rec r = *head;
    r.len = len;
    memcpy(p + at % BUS_SEG + sizeof r, entry, head->entry_len);
    memcpy(p + at % BUS_SEG, &r, sizeof r);
    if (r.kind == BUS_LOG) {
        h->shm->pending.pg = r.pg;
        h->shm->pending.log_id = r.log_id;
        h->shm->pending.ts = r.submit_ts;
        h->shm->pending.accum = r.accum;
        h->shm->pending.end = at + len;
        atomic_thread_fence(memory_order_seq_cst);
        h->shm->pending.valid = true;
    }
    atomic_store(&h->shm->bus_end, at + len);
    bus_settle(h);
    atomic_fetch_add(&h->shm->wake, 1);
    syscall(SYS_futex, &h->shm->wake, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return at + len;
}

void bus_settle(struct host *h)
{
    struct shm *s = h->shm;
    if (!s->pending.valid)
        return;
    if (s->bus_end == s->pending.end) {
        struct shm_pg *p = pg_at(h, s->pending.pg);
        p->last_log_id = s->pending.log_id;
        p->last_ts = s->pending.ts;
        p->accum = s->pending.accum;
    }
    s->pending.valid = false;
}

const struct bus_rec *bus_at(struct host *h, int64_t *pos)
{
    while (*pos < h->shm->bus_end) {
        const uint8_t *p = segment(h, *pos);
        if (!p)
            return NULL;
        const struct bus_rec *r = (const struct bus_rec *)(const void *)(p + *pos % BUS_SEG);
        if (r->kind != BUS_PAD)
            return r;
        *pos += r->len;
    }
    return NULL;
}

void bus_wait(struct host *h, uint32_t seen, int64_t us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
    syscall(SYS_futex, &h->shm->wake, FUTEX_WAIT, seen, &t, NULL, 0);
}

int64_t bus_confirmed(const struct host *h)
{
    int64_t f[OBS_MAX_HOSTS];
    int n = h->n_members;
    for (int i = 0; i < n; i++) {
        int64_t v = h->shm->host[i].flushed;
        int k = i;
        for (; k > 0 && f[k - 1] < v; k--)
            f[k] = f[k - 1];
        f[k] = v;
    }
    return f[n / 2]; /* the majority's last */
}

int host_command(struct host *h, int host_id, struct shm_cmd *cmd, int64_t timeout_us)
{
    struct shm_cmd *c = &h->shm->host[host_id - 1].cmd;
    int64_t end = now_us() + timeout_us;
    uint64_t mine = 0;
    while (now_us() < end && !h->stopping) {
        if (!host_alive(h, host_id))
            return -4012;
        shm_lock(h);
        if (!mine && c->seq == c->done) {
            uint64_t seq = c->seq + 1, done = c->done;
            *c = *cmd;
            c->seq = mine = seq;
            c->done = done;
        } else if (mine && c->done >= mine) {
            int rc = c->seq == mine ? c->rc : 0;
            if (c->seq == mine)
                *cmd = *c;
            shm_unlock(h);
            return rc;
        }
        shm_unlock(h);
        sleep_us(2000);
    }
    return -4012;
}

int knob_set(struct host *h, const char *name, int64_t v)
{
    struct knobs *k = &h->knob;
    struct {
        const char *name;
        _Atomic int64_t *p;
    } all[] = {{"ilog_freeze_us", &k->ilog_freeze_us},
               {"clog_switch_bytes", &k->clog_switch_bytes},
               {"clog_files_max", &k->clog_files_max},
               {"minor_compact_minis", &k->minor_compact_minis},
               {"checkpoint_idle_us", &k->checkpoint_idle_us},
               {"checkpoint_cold_us", &k->checkpoint_cold_us},
               {"undo_retention_us", &k->undo_retention_us},
               {"stream_wait_us", &k->stream_wait_us},
               {"io_delay_us", &k->io_delay_us},
               {"kept_majors", &k->kept_majors},
               {"lease_us", &k->lease_us},
               {"micro_block_size", &k->micro_block_size},
               {"commit_spread_us", &k->commit_spread_us},
               {"restore_gap_us", &k->restore_gap_us},
               {"memtable_limit_bytes", &k->memtable_limit_bytes},
               {"auto_freeze_us", &k->auto_freeze_us},
               {"batch_commit_pct", &k->batch_commit_pct},
               {"clog_write_gap_us", &k->clog_write_gap_us},
               {"apply_delay_us", &k->apply_delay_us},
               {"auto_recycle_us", &k->auto_recycle_us},
               {"clog_compress", &k->clog_compress},
               {"clog_using_us", &k->clog_using_us},
               {"rpc_compress", &k->rpc_compress},
               {"rpc_warnings", &k->rpc_warnings},
               {"gc_delay_us", &k->gc_delay_us},
               {"trans_race_us", &k->trans_race_us},
               {"gc_ts_lag_us", &k->gc_ts_lag_us}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(name, all[i].name)) {
            *all[i].p = v;
            return 0;
        }
    return -4002;
}
