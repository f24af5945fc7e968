/* clog_ilog.c - the ilog folder: listing, the file in use, where each PG's next log lies */
#define OBV_LOG_MOD "clog"
#include "base/log.h"
#include "source/clog_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ILOG_FILES 65536u
#define CURSORS_PER_READ 512u

/* File id of a name, 0 if it is none: decimal, no leading zero, below 2^32 - 1. */
static uint32_t id_of(const char *name)
{
    if (*name < '1' || *name > '9')
        return 0;
    uint64_t id = 0;
    for (; *name >= '0' && *name <= '9'; name++) {
        id = id * 10 + (uint64_t)(*name - '0');
        if (id >= UINT32_MAX)
            return 0;
    }
    return *name == '\0' ? (uint32_t)id : 0;
}

static void close_dir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

static obv_code list_clog(obv_clog_source *s, obv_err *err)
{
    OBV_AUTO(close_dir) DIR *d = opendir(s->clog_dir);
    if (!d)
        return obv_fail(err, obv_code_from_errno(errno), errno, "open %s", s->clog_dir);
    s->files.oldest = s->files.newest = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        const uint32_t id = id_of(e->d_name);
        if (id == 0)
            continue;
        if (s->files.oldest == 0 || id < s->files.oldest)
            s->files.oldest = id;
        if (id > s->files.newest)
            s->files.newest = id;
    }
    return OBV_OK;
}

static int by_id(const void *a, const void *b)
{
    const obv_ilog_seen *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool same_file(const obv_ilog_seen *a, const obv_ilog_seen *b)
{
    return a->id == b->id && a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

static obv_ilog_seen seen_of(uint32_t id, const struct stat *st)
{
    return (obv_ilog_seen){.id = id,
                           .inode = st->st_ino,
                           .size = (uint64_t)st->st_size,
                           .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec};
}

static obv_code list_ilog(obv_clog_source *s, obv_err *err)
{
    OBV_AUTO(close_dir) DIR *d = opendir(s->ilog_dir);
    if (!d)
        return obv_fail(err, obv_code_from_errno(errno), errno, "open %s", s->ilog_dir);
    s->ilog_count = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        const uint32_t id = id_of(e->d_name);
        struct stat st;
        if (id == 0 || fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode))
            continue; /* purged between the two calls */
        if (s->ilog_count == s->ilog_cap) {
            const size_t cap = s->ilog_cap ? s->ilog_cap * 2 : 64;
            obv_ilog_seen *grown = cap > MAX_ILOG_FILES ? NULL : realloc(s->ilogs, cap * sizeof *grown);
            if (!grown)
                return obv_fail(err, OBV_E_LIMIT, 0, "%s holds more than %zu files", s->ilog_dir, s->ilog_cap);
            s->ilogs = grown;
            s->ilog_cap = cap;
        }
        s->ilogs[s->ilog_count++] = seen_of(id, &st);
    }
    if (s->ilog_count > 1)
        qsort(s->ilogs, s->ilog_count, sizeof *s->ilogs, by_id);
    return OBV_OK;
}

obv_code obv_clog_list(obv_clog_source *s, bool *changed, obv_err *err)
{
    const obv_ilog_seen before = s->ilog_count ? s->ilogs[s->ilog_count - 1] : (obv_ilog_seen){0};
    OBV_TRY(list_clog(s, err));
    OBV_TRY(list_ilog(s, err));
    const obv_ilog_seen now = s->ilog_count ? s->ilogs[s->ilog_count - 1] : (obv_ilog_seen){0};
    s->files.newest_ilog = now.id;
    *changed = !same_file(&before, &now);
    return OBV_OK;
}

size_t obv_ilog_position(const obv_clog_source *s, uint32_t id)
{
    size_t lo = 0, hi = s->ilog_count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (s->ilogs[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void obv_ilog_drop(obv_clog_source *s)
{
    if (s->open.fd >= 0)
        (void)close(s->open.fd);
    free(s->open.bytes);
    s->open = (obv_ilog_file){.fd = -1};
}

static obv_code read_exactly(int fd, void *buf, size_t len, uint64_t at, const char *what, obv_err *err)
{
    for (size_t done = 0; done < len;) {
        const ssize_t n = pread(fd, (uint8_t *)buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return obv_fail(err, obv_code_from_errno(errno), errno, "read %s", what);
        if (n == 0)
            return obv_fail(err, OBV_E_CORRUPT, 0, "%s ends at %llu", what, (unsigned long long)(at + done));
        done += (size_t)n;
    }
    return OBV_OK;
}

static obv_code open_ilog(obv_clog_source *s, size_t position, obv_err *err)
{
    const uint32_t id = s->ilogs[position].id;
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%u", s->ilog_dir, id);
    s->open.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->open.fd < 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "open %s", path);
    obv_ilog_file *f = &s->open;
    struct stat st;
    obv_code code = OBV_OK;
    uint8_t area[OBV_ILOG_TRAILER_AREA];
    if (fstat(f->fd, &st) != 0)
        code = obv_fail(err, obv_code_from_errno(errno), errno, "stat %s", path);
    else if (st.st_size < (off_t)sizeof area)
        code = obv_fail(err, OBV_E_CORRUPT, 0, "%s has %lld bytes", path, (long long)st.st_size);
    else
        code = read_exactly(f->fd, area, sizeof area, (uint64_t)st.st_size - sizeof area, path, err);
    if (code == OBV_OK)
        code = obv_ilog_trailer_parse(obv_span_of(area, sizeof area), (uint64_t)st.st_size, &f->trailer, err);
    if (code == OBV_OK) {
        f->bytes = malloc(f->trailer.info_size ? f->trailer.info_size : 1);
        code = f->bytes ? read_exactly(f->fd, f->bytes, f->trailer.info_size, f->trailer.info_at, path, err)
                        : obv_fail(err, OBV_E_NOMEM, 0, "read %s", path);
    }
    if (code == OBV_OK)
        code = obv_ilog_info_parse(obv_span_of(f->bytes, f->trailer.info_size), &f->trailer, &f->info, err);
    if (code != OBV_OK) {
        obv_ilog_drop(s);
        return code;
    }
    f->seen = seen_of(id, &st);
    s->ilogs[position] = f->seen; /* may be newer than the listing */
    return OBV_OK;
}

obv_code obv_ilog_use(obv_clog_source *s, size_t position, obv_err *err)
{
    obv_assert(position < s->ilog_count);
    obv_ilog_seen *seen = &s->ilogs[position];
    if (seen->bad)
        return obv_fail(err, OBV_E_CORRUPT, 0, "ilog file %u", seen->id);
    if (s->open.fd >= 0 && same_file(&s->open.seen, seen))
        return OBV_OK;
    obv_ilog_drop(s);
    obv_err why = {0};
    const obv_code code = open_ilog(s, position, &why);
    if (code == OBV_OK && s->bad_ilog == seen->id)
        s->bad_ilog = 0; /* it was written anew */
    if (!obv_clog_is_damage(code)) {
        if (code != OBV_OK && err)
            *err = why;
        return code;
    }
    seen->bad = true;
    s->bad_ilog = seen->id;
    s->bad_why = why;
    OBV_WARN_EVERY(30, "ilog file %u: %s", seen->id, why.msg);
    if (err)
        *err = why;
    return OBV_E_CORRUPT;
}

obv_code obv_ilog_locate(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, obv_err *err)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        left += pgs[i]->ilog_id == 0 && !pgs[i]->failed;
    /* waits is free here: a PG that was seen with later logs only keeps the lowest of them in it */
    for (size_t i = 0; i < n && left > 0; i++)
        if (pgs[i]->ilog_id == 0)
            pgs[i]->waits = 0;
    for (size_t p = s->ilog_count; p-- > 0 && left > 0;) {
        const obv_code code = obv_ilog_use(s, p, err);
        if (code == OBV_E_NOT_FOUND)
            break; /* purged since the listing, and so are all older ones */
        if (code != OBV_E_CORRUPT)
            OBV_TRY(code);
        for (size_t i = 0; i < n; i++) {
            obv_clog_pg *pg = pgs[i];
            obv_ilog_slot slot;
            if (pg->ilog_id != 0 || pg->failed)
                continue;
            if (code == OBV_E_CORRUPT) {
                pg->over_ilog = s->ilogs[p].id;
                continue;
            }
            const obv_code found = obv_ilog_find(&s->open.info, &pg->key, &slot, err);
            if (found == OBV_E_NOT_FOUND)
                continue;
            if (obv_clog_is_damage(found)) {
                pg->waits = 0;
                pg->ilog_id = s->open.seen.id; /* looked at again, and said, where the file is read */
                left--;
                continue;
            }
            OBV_TRY(found);
            if (slot.min_log_id > pg->next_log_id) {
                pg->waits = slot.min_log_id;
                continue;
            }
            /* next_log_id is here, or it follows what is here */
            pg->waits = 0;
            pg->ilog_id = s->open.seen.id;
            if (slot.max_log_id + 1 < pg->next_log_id)
                pg->ilog_id = s->ilogs[s->ilog_count - 1].id;
            else
                pg->over_ilog = 0;
            left--;
        }
    }
    for (size_t i = 0; i < n; i++) {
        obv_clog_pg *pg = pgs[i];
        if (pg->ilog_id != 0 || pg->failed)
            continue;
        const uint64_t lowest = pg->waits;
        pg->waits = 0;
        if (lowest != 0 && pg->over_ilog != 0)
            obv_clog_pg_fail(pg, OBV_E_CORRUPT,
                             "log %llu: ilog file %u, which may name it, is damaged; later ones begin at log %llu",
                             (unsigned long long)pg->next_log_id, pg->over_ilog, (unsigned long long)lowest);
        else if (lowest != 0)
            obv_clog_pg_fail(pg, OBV_E_LOG_GAP,
                             "the index of committed logs here begins at log %llu, log %llu is needed",
                             (unsigned long long)lowest, (unsigned long long)pg->next_log_id);
        else if (s->ilog_count > 0)
            pg->ilog_id = s->ilogs[s->ilog_count - 1].id; /* nothing of it is committed yet */
    }
    return OBV_OK;
}

obv_code obv_ilog_cursors(obv_clog_source *s, const obv_ilog_slot *slot, uint64_t log_id, obv_ilog_cursor *out,
                          size_t max, size_t *got, obv_err *err)
{
    uint8_t bytes[CURSORS_PER_READ * OBV_ILOG_CURSOR];
    const uint64_t left = slot->max_log_id - log_id + 1;
    size_t n = left < max ? (size_t)left : max;
    if (n > CURSORS_PER_READ)
        n = CURSORS_PER_READ;
    OBV_TRY(
        read_exactly(s->open.fd, bytes, n * OBV_ILOG_CURSOR, obv_ilog_cursor_at(slot, log_id), "ilog cursors", err));
    for (*got = 0; *got < n; (*got)++) {
        const obv_span one = obv_span_of(bytes + *got * OBV_ILOG_CURSOR, OBV_ILOG_CURSOR);
        const obv_code code = obv_ilog_cursor_parse(one, &out[*got], *got == 0 ? err : NULL);
        if (code != OBV_OK)
            return *got == 0 ? code : OBV_OK;
    }
    return OBV_OK;
}
