/* clog_fetch.c - bytes of a batch's entries: few large direct reads a file, and proof that the file was not reused */
#include "base/log.h"
#include "format/ob/clog_block.h"
#include "source/clog_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE OBV_DIRECT_ALIGN
#define MERGE_GAP (64u << 10) /* bytes: closer entries are read in one go */
#define READ_MAX (2u << 20)
#define MAX_RANGES 4096u

obv_code obv_clog_life_read(int fd, obv_clog_life *out, obv_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "stat clog file");
    _Alignas(PAGE) uint8_t page[PAGE];
    const ssize_t n = pread(fd, page, sizeof page, 0);
    if (n < 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "read clog file");
    obv_clog_block b;
    OBV_TRY(obv_clog_block_parse(obv_span_of(page, (size_t)n), &b, err));
    *out = (obv_clog_life){.inode = st.st_ino, .first_block = b.timestamp};
    return OBV_OK;
}

bool obv_clog_lives_on(const char *path, int fd, const obv_clog_life *was)
{
    struct stat st;
    obv_clog_life now;
    return stat(path, &st) == 0 && st.st_ino == was->inode && obv_clog_life_read(fd, &now, NULL) == OBV_OK &&
           now.inode == was->inode && now.first_block == was->first_block;
}

static uint32_t page_down(uint32_t v) { return v & ~(PAGE - 1); }
static uint32_t page_up(uint32_t v) { return (v + PAGE - 1) & ~(PAGE - 1); }

/*
 * Groups wants[from..to) of one file into reads and points each want at its place in s->data from *used on. What has no
 * room, which takes damaged cursors with lengths that overlap, waits for the next batch: the first want always has.
 */
static void plan(obv_clog_source *s, size_t from, size_t to, int fd, size_t *used, obv_read *reads, size_t *n)
{
    *n = 0;
    for (size_t i = from; i < to;) {
        const uint32_t start = page_down(s->wants[i].at.offset);
        uint32_t end = page_up(s->wants[i].at.offset + s->wants[i].at.size);
        size_t j = i + 1;
        for (; j < to; j++) {
            const uint32_t next = page_up(s->wants[j].at.offset + s->wants[j].at.size);
            if (s->wants[j].at.offset > end + MERGE_GAP || next > start + READ_MAX)
                break;
            if (next > end)
                end = next;
        }
        if (*n == MAX_RANGES || s->data_cap - *used < end - start) {
            for (size_t k = i; k < to; k++)
                s->wants[k].later = true;
            return;
        }
        reads[(*n)++] = (obv_read){.fd = fd, .buf = s->data + *used, .len = end - start, .off = start};
        for (size_t k = i; k < j; k++)
            s->wants[k].bytes = s->data + *used + (s->wants[k].at.offset - start);
        *used += end - start;
        i = j;
    }
}

static void forget(obv_clog_source *s, size_t from, size_t to, enum obv_clog_lost lost)
{
    for (size_t i = from; i < to; i++) {
        s->wants[i].bytes = NULL;
        s->wants[i].lost = lost;
    }
}

/* What the disk does not give is lost to those whose logs lie there. Anything but that is an error of the source. */
static obv_code forget_unread(obv_clog_source *s, size_t from, size_t to, const obv_read *reads, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const obv_read *r = &reads[i];
        if (r->code == OBV_OK)
            continue;
        if (!obv_clog_is_damage(r->code))
            return obv_fail(err, r->code, r->sys, "read clog file %u", s->wants[from].at.file_id);
        for (size_t k = from; k < to; k++)
            if (s->wants[k].at.offset >= r->off && s->wants[k].at.offset < r->off + r->len)
                forget(s, k, k + 1, OBV_CLOG_UNREADABLE);
    }
    return OBV_OK;
}

/* Nothing was written yet behind the name: a new file, or the next life of an old one. */
static bool is_fresh(int fd)
{
    _Alignas(PAGE) uint8_t page[PAGE];
    const ssize_t n = pread(fd, page, sizeof page, 0);
    return n == 0 || (n > 0 && obv_clog_mark_of(obv_span_of(page, (size_t)n)) == OBV_CLOG_MARK_FRESH);
}

static obv_code fetch_file(obv_clog_source *s, size_t from, size_t to, size_t *used, obv_read *reads, obv_err *err)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%u", s->clog_dir, s->wants[from].at.file_id);
    OBV_AUTO(obv_close_fd) int fd = -1;
    bool direct;
    const obv_code opened = obv_open_direct(path, &fd, &direct, err);
    if (opened == OBV_E_NOT_FOUND)
        return OBV_OK;
    OBV_TRY(opened);
    obv_clog_life was;
    const obv_code alive = obv_clog_life_read(fd, &was, err);
    if (obv_clog_is_damage(alive)) {
        forget(s, from, to, is_fresh(fd) ? OBV_CLOG_REUSED : OBV_CLOG_UNREADABLE);
        return OBV_OK;
    }
    OBV_TRY(alive);
    size_t n = 0;
    plan(s, from, to, fd, used, reads, &n);
    if (obv_uring_read(s->uring, reads, n, err) != OBV_OK)
        OBV_TRY(forget_unread(s, from, to, reads, n, err));
    for (size_t i = 0; i < n; i++)
        if (reads[i].got < reads[i].len)
            memset((uint8_t *)reads[i].buf + reads[i].got, 0, reads[i].len - reads[i].got);
    if (!obv_clog_lives_on(path, fd, &was))
        forget(s, from, to, OBV_CLOG_REUSED);
    return OBV_OK;
}

obv_code obv_clog_fetch(obv_clog_source *s, const obv_cancel *c, obv_err *err)
{
    size_t used = 0;
    OBV_AUTO(obv_freep) obv_read *reads = malloc(MAX_RANGES * sizeof *reads);
    if (!reads)
        return obv_fail(err, OBV_E_NOMEM, 0, "clog batch");
    forget(s, 0, s->want_count, OBV_CLOG_GONE);
    for (size_t i = 0; i < s->want_count;) {
        OBV_TRY(obv_cancel_check(c, "clog batch", err));
        size_t j = i + 1;
        while (j < s->want_count && s->wants[j].at.file_id == s->wants[i].at.file_id)
            j++;
        OBV_TRY(fetch_file(s, i, j, &used, reads, err));
        i = j;
    }
    return OBV_OK;
}
