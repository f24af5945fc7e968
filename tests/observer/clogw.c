/* clogw.c - clog files: blocks, padding, file switch, recycling */
#include "clogw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BATCH 1200

struct clog_writer {
    pthread_mutex_t mu;
    char *dir;
    int fd, side_fd;
    uint32_t file;
    int64_t off; /* next block */
    int64_t last_block_ts;
    uint64_t *max_id; /* per PG in this file, 0 none */
    int64_t max_submit;
    uint32_t using_file; /* with the knob clog_using_us: the first that is not recyclable */
    struct place *q;     /* places not yet taken by the applier */
    size_t q_head, q_n, q_cap;
};

static char *clog_path(const struct clog_writer *w, uint32_t file, const char *suffix)
{
    return xasprintf("%s/%u%s", w->dir, file, suffix);
}

static char *side_path(const struct host *h, uint32_t file) { return xasprintf("%s/run/places.%u", h->dir, file); }

static void push_place(struct clog_writer *w, const struct place *p)
{
    if (w->q_head && w->q_head > w->q_cap / 2) {
        memmove(w->q, w->q + w->q_head, w->q_n * sizeof *w->q);
        w->q_head = 0;
    }
    if (w->q_head + w->q_n == w->q_cap) {
        w->q_cap = w->q_cap ? 2 * w->q_cap : 1024;
        w->q = xrealloc(w->q, w->q_cap * sizeof *w->q);
    }
    w->q[w->q_head + w->q_n++] = *p;
}

bool clog_place(struct host *h, int64_t pos, struct place *out)
{
    struct clog_writer *w = h->clog;
    bool found = false;
    pthread_mutex_lock(&w->mu);
    while (w->q_n && w->q[w->q_head].pos <= pos) {
        if (w->q[w->q_head].pos == pos && w->q[w->q_head].file) {
            *out = w->q[w->q_head];
            found = true;
        }
        w->q_head++;
        w->q_n--;
    }
    pthread_mutex_unlock(&w->mu);
    return found;
}

/* ---- opening */

static int list_files(const char *dir, uint32_t *min, uint32_t *max)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int n = 0;
    *min = *max = 0;
    while (d && (e = readdir(d)) != NULL) {
        char *end;
        unsigned long v = strtoul(e->d_name, &end, 10);
        if (*end || !v || e->d_name[0] == '0')
            continue;
        n++;
        *max = v > *max ? (uint32_t)v : *max;
        *min = !*min || v < *min ? (uint32_t)v : *min;
    }
    if (d)
        closedir(d);
    return n;
}

static int recyclable(struct host *h, struct clog_writer *w, uint32_t file);

static void nl_page(uint8_t *page)
{
    for (int i = 0; i < CLOG_PAGE; i += 2) {
        page[i] = 'N';
        page[i + 1] = 'L';
    }
}

/* A server reuses files that are hours old. With small files that would be seconds, and the reader's rule for old
 * blocks (2 s) would not tell them from new ones. */
static bool old_enough(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && now_us() / 1000000 - st.st_mtime > 5;
}

/* user_clog_min_using_file_id: the oldest file there, or (knob clog_using_us, as a server does it) the first whose logs
 * are still needed; the files below it stay until their space is wanted. */
static void publish_min(struct host *h, const struct clog_writer *w)
{
    uint32_t min, max;
    list_files(w->dir, &min, &max);
    if (h->knob.clog_using_us && w->using_file > min)
        min = w->using_file;
    h->shm->host[h->id - 1].min_clog_file = min;
}

/* A fresh file, or beyond the limit the oldest one reused in place: same inode, old blocks remain behind the first
 * page. */
static int new_file(struct host *h, struct clog_writer *w, uint32_t file)
{
    uint32_t min, max;
    uint8_t page[CLOG_PAGE];
    nl_page(page);
    char *to = clog_path(w, file, ""), *from;
    int rc = 0, fd;
    int n = list_files(w->dir, &min, &max);
    from = clog_path(w, min, "");
    if (n >= h->knob.clog_files_max && min && min != max && old_enough(from) && recyclable(h, w, min)) {
        fd = open(from, O_RDWR | O_CLOEXEC);
        char *side = side_path(h, min);
        unlink(side);
        free(side);
    } else {
        free(from);
        from = clog_path(w, file, ".tmp");
        fd = open(from, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
        if (fd >= 0 && ftruncate(fd, CLOG_FILE_SIZE) < 0)
            rc = -errno;
    }
    if (fd < 0)
        rc = -errno;
    if (!rc)
        rc = pwrite_all(fd, page, sizeof page, 0);
    if (!rc && rename(from, to) < 0)
        rc = -errno;
    char *side = side_path(h, file);
    if (w->side_fd >= 0)
        close(w->side_fd);
    w->side_fd = open(side, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
    if (w->side_fd < 0)
        rc = -errno;
    free(side);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = fd;
    w->file = file;
    w->off = 0;
    w->max_submit = 0;
    memset(w->max_id, 0, MAX_PG * sizeof *w->max_id);
    free(to);
    free(from);
    h->shm->host[h->id - 1].cur_clog_file = file;
    publish_min(h, w);
    return rc;
}

/* Places of one file into the queue, if the applier still needs them; the last position tells what was flushed. */
static int64_t load_side(struct host *h, struct clog_writer *w, uint32_t file, int64_t from, bool current)
{
    char *path = side_path(h, file);
    size_t n = 0;
    int64_t last = 0;
    uint8_t *p = read_file(path, &n);
    for (size_t at = 0; p && at + sizeof(struct place) <= n; at += sizeof(struct place)) {
        struct place x;
        memcpy(&x, p + at, sizeof x);
        last = x.pos;
        if (x.pos > from)
            push_place(w, &x);
        if (current && x.file && x.pg < MAX_PG && x.log_id != NO_ID && x.log_id > w->max_id[x.pg])
            w->max_id[x.pg] = x.log_id;
        if (current && x.file && (int64_t)x.off + x.size > w->off)
            w->off = (int64_t)x.off + x.size;
    }
    free(p);
    free(path);
    return last;
}

/* The live tail is where the last recorded log ends: in a file that was reused, old blocks may follow right behind it.
 */
static void find_tail(struct clog_writer *w)
{
    uint8_t b[BLOCK_HDR];
    int type;
    int64_t len, ts, end = w->off;
    w->off = 0;
    while (w->off < end && !pread_all(w->fd, b, sizeof b, w->off) && dec_block_meta(b, &type, &len, &ts)) {
        w->last_block_ts = ts;
        w->off += (int64_t)BLOCK_HDR + len;
    }
    if (w->off < end) /* behind a block that was damaged on purpose */
        w->off = end;
}

int clog_open(struct host *h)
{
    struct clog_writer *w = xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->mu, NULL);
    w->dir = xasprintf("%s/store/clog", h->dir);
    w->fd = w->side_fd = -1;
    w->max_id = xcalloc(MAX_PG, sizeof *w->max_id);
    h->clog = w;
    uint32_t min, max;
    int rc = mkdirs(w->dir);
    if (rc || !list_files(w->dir, &min, &max))
        return rc ? rc : new_file(h, w, 1);
    int64_t from = h->shm->host[h->id - 1].applied, flushed = 0;
    for (uint32_t f = min; f <= max; f++) {
        int64_t last = load_side(h, w, f, from, f == max);
        flushed = last > flushed ? last : flushed;
    }
    char *path = clog_path(w, max, ""), *side = side_path(h, max);
    w->file = max;
    w->fd = open(path, O_RDWR | O_CLOEXEC);
    w->side_fd = open(side, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
    if (w->fd < 0 || w->side_fd < 0)
        rc = -errno;
    free(path);
    free(side);
    if (!rc)
        find_tail(w);
    if (flushed)
        h->shm->host[h->id - 1].flushed = flushed;
    h->shm->host[h->id - 1].cur_clog_file = max;
    publish_min(h, w);
    return rc;
}

/* ---- writing */

/* One block behind the last, from the start of its page; padding up to the page's end that the next block overwrites.
 */
static int put_block(struct host *h, struct clog_writer *w, const struct obuf *blk)
{
    int64_t page = w->off / CLOG_PAGE * CLOG_PAGE;
    struct obuf b = {0};
    int rc = w->off > page ? pread_all(w->fd, ob_grow(&b, (size_t)(w->off - page)), (size_t)(w->off - page), page) : 0;
    ob_put(&b, blk->p, blk->n);
    w->off += (int64_t)blk->n;
    if (w->off % CLOG_PAGE)
        enc_padding(&b, padding_size(w->off));
    if (!rc && h->knob.clog_write_gap_us && b.n > CLOG_PAGE) { /* a reader may meet half of the write */
        rc = pwrite_all(w->fd, b.p, CLOG_PAGE, page);
        sleep_us(h->knob.clog_write_gap_us);
    }
    if (!rc)
        rc = pwrite_all(w->fd, b.p, b.n, page);
    ob_free(&b);
    return rc;
}

static int64_t block_ts(struct host *h, struct clog_writer *w)
{
    int64_t t = clock_us(h);
    return w->last_block_ts = t > w->last_block_ts ? t : w->last_block_ts + 1;
}

static int end_file(struct host *h, struct clog_writer *w)
{
    struct obuf b = {0};
    uint32_t n = 0;
    struct pg_max *m = xcalloc(h->shm->n_pg + 1, sizeof *m);
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        if (w->max_id[i])
            m[n++] = (struct pg_max){pg_at(h, i)->key, w->max_id[i]};
    if (w->off % CLOG_PAGE)
        w->off += padding_size(w->off);
    int64_t info = w->off;
    enc_info_block(&b, m, n, w->max_submit, block_ts(h, w));
    int rc = put_block(h, w, &b);
    uint8_t page[CLOG_PAGE] = {0};
    b.n = 0;
    enc_trailer(&b, (int32_t)info, w->file + 1, block_ts(h, w));
    memcpy(page + CLOG_PAGE - 512, b.p, b.n);
    if (!rc)
        rc = pwrite_all(w->fd, page, sizeof page, CLOG_TRAILER_OFF + 512 - CLOG_PAGE);
    ob_free(&b);
    free(m);
    return rc ? rc : new_file(h, w, w->file + 1);
}

static int flush_batch(struct host *h, struct clog_writer *w, const struct obuf *data, struct place *pl, size_t n)
{
    int rc = 0;
    if (data->n && w->off + (int64_t)(data->n + BLOCK_HDR) + 2 * CLOG_PAGE >= h->knob.clog_switch_bytes && w->off > 0)
        rc = end_file(h, w);
    if (data->n && !rc) {
        struct obuf b = {0};
        enc_block_meta(&b, BLK_DATA, data->n, block_ts(h, w), 0);
        ob_put(&b, data->p, data->n);
        for (size_t i = 0; i < n; i++)
            if (pl[i].bad_block)
                b.p[20] ^= 1; /* padding_len: the meta checksum does not fit */
        uint32_t base = (uint32_t)w->off + BLOCK_HDR;
        rc = put_block(h, w, &b);
        ob_free(&b);
        for (size_t i = 0; i < n; i++)
            if (pl[i].size) {
                pl[i].file = w->file;
                pl[i].off += base;
            }
    }
    if (!rc && write(w->side_fd, pl, n * sizeof *pl) < 0)
        rc = -errno;
    return rc;
}

void *clog_writer_main(void *arg)
{
    struct host *h = arg;
    struct clog_writer *w = h->clog;
    struct shm_host *me = &h->shm->host[h->id - 1];
    struct obuf data = {0};
    struct place *pl = xcalloc(MAX_BATCH, sizeof *pl);
    uint64_t *seen = xcalloc(MAX_BATCH, sizeof *seen);
    while (!h->stopping) {
        uint32_t wake = h->shm->wake;
        int64_t pos = me->flushed;
        size_t n = 0;
        const struct bus_rec *r;
        pthread_mutex_lock(&w->mu);
        data.n = 0;
        while (n < MAX_BATCH && (r = bus_at(h, &pos)) != NULL && data.n + r->entry_len < MAX_ENTRY_DATA) {
            pos += r->len;
            struct shm_rep *rep = my_rep(h, r->pg);
            bool skip = r->kind == BUS_LOCAL && !(r->host_mask & (1u << (h->id - 1)));
            skip |= rep->absent;
            if (r->kind == BUS_LOG && rep->skip_logs > 0) {
                if (--rep->skip_logs == 0) /* a replica under rebuild does not get this log */
                    rep->need_rebuild = 0;
                skip = true;
            }
            pl[n] = (struct place){
                .pos = pos, .pg = r->pg, .log_id = r->log_id, .off = (uint32_t)data.n, .size = skip ? 0 : r->entry_len};
            if (!skip)
                clog_stored(h, r, &data, &pl[n]);
            if (r->submit_ts > w->max_submit)
                w->max_submit = r->submit_ts;
            seen[n++] = r->kind == BUS_LOG ? r->log_id : 0;
        }
        int rc = n ? flush_batch(h, w, &data, pl, n) : 0;
        for (size_t i = 0; i < n && !rc; i++) {
            /* Only now: a switch of files comes before the batch, whose ids belong to the new file. */
            if (pl[i].size && pl[i].log_id != NO_ID && pl[i].log_id > w->max_id[pl[i].pg])
                w->max_id[pl[i].pg] = pl[i].log_id;
            if (seen[i])
                my_rep(h, pl[i].pg)->last_log_id = seen[i];
            push_place(w, &pl[i]);
        }
        pthread_mutex_unlock(&w->mu);
        if (rc) {
            obs_log(h, "clog write: %s", strerror(-rc));
            sleep_us(200000);
        } else if (n) {
            me->flushed = pos;
            atomic_fetch_add(&h->shm->wake, 1);
        } else {
            bus_wait(h, wake, 50000);
        }
    }
    free(pl);
    free(seen);
    ob_free(&data);
    return NULL;
}

int clog_stale_tail(struct host *h, uint32_t pg, int count)
{
    struct clog_writer *w = h->clog;
    struct shm_pg *p = pg_at(h, pg);
    struct obuf b = {0}, d = {0};
    struct proposal lost = p->proposal; /* of a leader that nobody followed */
    lost.ts -= 1000;
    pthread_mutex_lock(&w->mu);
    for (int i = 0; i < count; i++) {
        d.n = 0;
        ob_be64(&d, TX_REDO | TX_COMMIT);
        ob_be64(&d, (uint64_t)(900000000 + i));
        ob_be32(&d, 1);
        const struct change c = {.index_id = p->part[0].idx[0],
                                 .op = OP_PUT,
                                 .key = (const uint8_t *)"\0\0\0\0\0\0\0\1",
                                 .klen = 8,
                                 .val = (const uint8_t *)"never confirmed",
                                 .vlen = 15};
        enc_change(&d, &c);
        ob_be64(&d, (uint64_t)(p->last_ts + 1 + i));
        ob_be32(&d, 1);
        enc_pkey(&d, &p->key);
        struct log_entry e = {.type = LOG_SUBMIT | LOG_TRANS_BIT,
                              .key = p->key,
                              .log_id = p->last_log_id + 1 + (uint64_t)i,
                              .generation_ts = clock_us(h),
                              .epoch = p->leader_epoch - 1000,
                              .proposal = lost,
                              .submit_ts = p->last_ts + 1 + i,
                              .freeze_version = (int64_t)1 << 32 | 2,
                              .data = d.p,
                              .data_len = d.n};
        enc_entry(&b, &e);
    }
    struct obuf blk = {0};
    enc_block_meta(&blk, BLK_DATA, b.n, block_ts(h, w), 0);
    ob_put(&blk, b.p, b.n);
    int rc = put_block(h, w, &blk);
    pthread_mutex_unlock(&w->mu);
    ob_free(&b);
    ob_free(&d);
    ob_free(&blk);
    return rc;
}

/* ---- recycling */

static int recyclable(struct host *h, struct clog_writer *w, uint32_t file)
{
    char *path = clog_path(w, file, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC), ok = 0;
    free(path);
    uint8_t t[64];
    if (fd >= 0 && !pread_all(fd, t, 58, CLOG_TRAILER_OFF) && ldbe16(t) == 0x4c42) {
        int64_t info = ldbe32(t + 50);
        size_t n = 1u << 20;
        uint8_t *p = xmalloc(n);
        if (!pread_all(fd, p, n, info)) {
            struct oin r = {.p = p, .n = n, .at = BLOCK_HDR + 2 + 7 + 8};
            uint64_t count = in_be64(&r);
            for (ok = !r.bad; ok && count; count--) {
                struct pkey k = in_pkey(&r);
                uint64_t max = in_be64(&r);
                int64_t pg = pg_find(h, &k);
                if (r.bad)
                    ok = 0;
                else if (pg >= 0 && pg_at(h, (uint32_t)pg)->state != PG_GONE && !my_rep(h, (uint32_t)pg)->absent &&
                         my_rep(h, (uint32_t)pg)->replay_id < max)
                    ok = 0;
            }
        }
        free(p);
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

int clog_recycle(struct host *h, int n)
{
    struct clog_writer *w = h->clog;
    uint32_t min, max;
    int done = 0;
    pthread_mutex_lock(&w->mu);
    while (done < n && list_files(w->dir, &min, &max) > 1 && min != w->file && recyclable(h, w, min)) {
        char *path = clog_path(w, min, ""), *side = side_path(h, min);
        unlink(path);
        unlink(side);
        free(path);
        free(side);
        done++;
    }
    publish_min(h, w);
    pthread_mutex_unlock(&w->mu);
    return done;
}

void clog_walk_using(struct host *h)
{
    struct clog_writer *w = h->clog;
    uint32_t min, max;
    pthread_mutex_lock(&w->mu);
    list_files(w->dir, &min, &max);
    if (w->using_file < min)
        w->using_file = min;
    while (w->using_file < w->file && recyclable(h, w, w->using_file))
        w->using_file++;
    publish_min(h, w);
    pthread_mutex_unlock(&w->mu);
}

int clog_remove(struct host *h, uint32_t file)
{
    struct clog_writer *w = h->clog;
    uint32_t min, max;
    int rc = -ENOENT;
    pthread_mutex_lock(&w->mu);
    list_files(w->dir, &min, &max);
    if (!file)
        file = min + 1;
    if (file < w->file && file < INT32_MAX) {
        char *path = clog_path(w, file, "");
        rc = unlink(path) ? -errno : (int)file;
        free(path);
    }
    pthread_mutex_unlock(&w->mu);
    return rc;
}

int clog_torn_tail(struct host *h)
{
    struct clog_writer *w = h->clog;
    uint8_t text[6000];
    memset(text, 'x', sizeof text);
    const struct log_entry e = {.type = LOG_SUBMIT | LOG_TRANS_BIT,
                                .key = pg_at(h, 0)->key,
                                .log_id = pg_at(h, 0)->last_log_id + 1,
                                .generation_ts = clock_us(h),
                                .submit_ts = clock_us(h),
                                .freeze_version = (int64_t)1 << 32 | 2,
                                .data = text,
                                .data_len = sizeof text};
    struct obuf b = {0}, blk = {0};
    enc_entry(&b, &e);
    pthread_mutex_lock(&w->mu);
    enc_block_meta(&blk, BLK_DATA, b.n, block_ts(h, w), 0);
    ob_put(&blk, b.p, b.n / 2);
    int rc = pwrite_all(w->fd, blk.p, blk.n, w->off);
    pthread_mutex_unlock(&w->mu);
    ob_free(&b);
    ob_free(&blk);
    return rc;
}
