/* ilogw.c - ilog files and the applier: what is confirmed gets a cursor and goes to the replica */
#include "clogw.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_CURSORS (1u << 20)

struct pg_cursors {
    uint64_t min_id, max_id; /* in the current file; 0 none */
    int64_t min_ts, max_ts;
    struct ilog_cursor *c;
    size_t cap;
    uint64_t stored; /* greatest id in any file of earlier times */
};

struct ilog_store {
    pthread_mutex_t mu;
    char *dir, *pos_path;
    uint32_t file;
    struct pg_cursors *pg;
    size_t total;
    int64_t dirty_since; /* 0 = everything is on disk */
    int64_t applied_pos, stored_pos;
    struct host *h;
};

static void take_stored(void *arg, const struct ilog_pg *g, const uint8_t *cursors)
{
    (void)cursors;
    struct ilog_store *s = arg;
    int64_t pg = pg_find(s->h, &g->key);
    if (pg >= 0 && g->max_id > s->pg[pg].stored)
        s->pg[pg].stored = g->max_id;
}

int ilog_open(struct host *h)
{
    struct ilog_store *s = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->mu, NULL);
    s->h = h;
    s->dir = xasprintf("%s/store/ilog", h->dir);
    s->pos_path = xasprintf("%s/run/ilog_pos", h->dir);
    s->pg = xcalloc(MAX_PG, sizeof *s->pg);
    h->ilog = s;
    int rc = mkdirs(s->dir);
    DIR *d = opendir(s->dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        char *end;
        unsigned long v = strtoul(e->d_name, &end, 10);
        if (*end || !v)
            continue;
        size_t n;
        char *path = xasprintf("%s/%s", s->dir, e->d_name);
        uint8_t *p = read_file(path, &n);
        if (p)
            dec_ilog_file(p, n, take_stored, s);
        free(p);
        free(path);
        if (v > s->file)
            s->file = (uint32_t)v;
    }
    if (d)
        closedir(d);
    s->file++;
    size_t n;
    uint8_t *p = read_file(s->pos_path, &n);
    if (p && n == 8)
        s->stored_pos = s->applied_pos = (int64_t)ld64(p);
    free(p);
    return rc;
}

int64_t ilog_start_pos(const struct host *h) { return h->ilog->stored_pos; }

static void next_file(struct ilog_store *s)
{
    for (uint32_t i = 0; i < MAX_PG; i++) {
        struct pg_cursors *g = &s->pg[i];
        if (g->max_id > g->stored)
            g->stored = g->max_id;
        g->min_id = g->max_id = 0;
    }
    s->total = 0;
    s->file++;
}

static void write_current(struct ilog_store *s)
{
    struct host *h = s->h;
    uint32_t n = 0, pgs = h->shm->n_pg;
    struct ilog_pg *list = xcalloc(pgs + 1, sizeof *list);
    for (uint32_t i = 0; i < pgs; i++) {
        const struct pg_cursors *g = &s->pg[i];
        if (g->min_id)
            list[n++] = (struct ilog_pg){pg_at(h, i)->key, g->min_id, g->max_id, g->min_ts, g->max_ts, g->c};
    }
    struct obuf b = {0};
    enc_ilog_file(&b, list, n, h->member_list, h->n_members);
    char *path = xasprintf("%s/%u", s->dir, s->file), *tmp = xasprintf("%s.tmp", path);
    int rc = write_file(tmp, b.p, b.n);
    if (!rc && rename(tmp, path) == 0) {
        uint8_t pos[8];
        st64(pos, (uint64_t)s->applied_pos);
        write_file(s->pos_path, pos, 8);
        s->stored_pos = s->applied_pos;
        s->dirty_since = 0;
    }
    free(path);
    free(tmp);
    free(list);
    ob_free(&b);
    if (s->total >= FILE_CURSORS)
        next_file(s);
}

void ilog_add(struct host *h, uint32_t pg, uint64_t log_id, const struct place *at, int64_t accum, int64_t submit_ts)
{
    struct ilog_store *s = h->ilog;
    pthread_mutex_lock(&s->mu);
    struct pg_cursors *g = &s->pg[pg];
    uint64_t last = g->max_id > g->stored ? g->max_id : g->stored;
    if (log_id > last) {
        if (g->max_id && log_id != g->max_id + 1) { /* in one file the ids of a PG have no gap */
            write_current(s);
            next_file(s);
        }
        if (!g->min_id) {
            g->min_id = log_id;
            g->min_ts = submit_ts & INT64_MAX;
        }
        size_t k = (size_t)(log_id - g->min_id);
        if (k >= g->cap) {
            g->cap = g->cap ? 2 * g->cap : 16;
            g->c = xrealloc(g->c, g->cap * sizeof *g->c);
        }
        g->c[k] = (struct ilog_cursor){at->file, at->off, at->size, accum, submit_ts};
        g->max_id = log_id;
        g->max_ts = submit_ts & INT64_MAX;
        s->total++;
        if (!s->dirty_since)
            s->dirty_since = now_us();
    }
    pthread_mutex_unlock(&s->mu);
}

void ilog_tick(struct host *h, bool force)
{
    struct ilog_store *s = h->ilog;
    pthread_mutex_lock(&s->mu);
    if (s->dirty_since && (force || now_us() - s->dirty_since >= h->knob.ilog_freeze_us || s->total >= FILE_CURSORS))
        write_current(s);
    pthread_mutex_unlock(&s->mu);
}

/* Files older than the oldest clog file and below every replay point go. */
struct purge {
    struct host *h;
    bool keep;
};

static void still_needed(void *arg, const struct ilog_pg *g, const uint8_t *cursors)
{
    (void)cursors;
    struct purge *p = arg;
    int64_t pg = pg_find(p->h, &g->key);
    if (pg >= 0 && pg_at(p->h, (uint32_t)pg)->state != PG_GONE && my_rep(p->h, (uint32_t)pg)->replay_id < g->max_id)
        p->keep = true;
}

int ilog_purge(struct host *h)
{
    struct ilog_store *s = h->ilog;
    struct stat oldest, st;
    int done = 0;
    char *clog = xasprintf("%s/store/clog/%" PRId64, h->dir, (int64_t)h->shm->host[h->id - 1].min_clog_file);
    bool ok = stat(clog, &oldest) == 0;
    free(clog);
    pthread_mutex_lock(&s->mu);
    for (uint32_t f = 1; ok && f < s->file; f++) {
        char *path = xasprintf("%s/%u", s->dir, f);
        size_t n;
        uint8_t *p = stat(path, &st) == 0 && st.st_mtime < oldest.st_mtime ? read_file(path, &n) : NULL;
        struct purge q = {.h = h};
        if (p && dec_ilog_file(p, n, still_needed, &q) && !q.keep && unlink(path) == 0)
            done++;
        free(p);
        free(path);
    }
    pthread_mutex_unlock(&s->mu);
    return done;
}

void *applier_main(void *arg)
{
    struct host *h = arg;
    struct shm_host *me = &h->shm->host[h->id - 1];
    while (!h->stopping) {
        uint32_t wake = h->shm->wake;
        int64_t limit = bus_confirmed(h), flushed = me->flushed, pos = me->applied;
        if (flushed < limit)
            limit = flushed;
        bool any = false;
        while (!h->stopping && pos < limit) {
            const struct bus_rec *rec = bus_at(h, &pos);
            if (!rec || pos >= limit)
                break;
            pos += rec->len;
            any = true;
            sleep_us(h->knob.apply_delay_us);
            if (rec->kind == BUS_LOG) {
                struct replica *r = replica_get(h, rec->pg);
                if (!r)
                    r = replica_bootstrap(h, rec->pg);
                if (r) {
                    pthread_mutex_lock(&r->mu);
                    replica_apply(h, r, rec, pos);
                    uint64_t applied = r->applied_id;
                    int64_t ts = r->applied_ts;
                    pthread_mutex_unlock(&r->mu);
                    struct place at;
                    int64_t accum = rec->accum, submit = rec->submit_ts | (rec->batch ? INT64_MIN : 0);
                    if (clog_place(h, pos, &at) && cursor_spoil(h, &at, &accum, &submit))
                        ilog_add(h, rec->pg, rec->log_id, &at, accum, submit);
                    my_rep(h, rec->pg)->applied_ts = ts;
                    my_rep(h, rec->pg)->applied_id = applied;
                }
            }
            h->ilog->applied_pos = pos;
            me->applied = pos;
        }
        if (!any)
            bus_wait(h, wake, 50000);
    }
    return NULL;
}
