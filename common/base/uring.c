#include "base/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <liburing.h>

#define DEPTH_MAX 256u
#define LEN_MAX ((size_t)1 << 30)

struct obv_uring {
    bool active;
    unsigned depth;
    struct io_uring ring;
};

obv_code obv_uring_new(unsigned depth, obv_uring_mode mode, obv_uring **out, obv_err *err)
{
    if (depth < 1 || depth > DEPTH_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "read queue of %u: 1 to %u", depth, DEPTH_MAX);
    obv_uring *u = calloc(1, sizeof *u);
    if (!u)
        return obv_fail(err, OBV_E_NOMEM, 0, "read queue");
    u->depth = depth;
    /* containers often deny it (EPERM, ENOSYS) or have no locked memory to give (ENOMEM): pread does as well */
    u->active = mode == OBV_URING_AUTO && io_uring_queue_init(depth, &u->ring, 0) == 0;
    *out = u;
    return OBV_OK;
}

void obv_uring_free(obv_uring *u)
{
    if (u && u->active)
        io_uring_queue_exit(&u->ring);
    free(u);
}

bool obv_uring_active(const obv_uring *u) { return u->active; }

static bool arguments_bad(const obv_read *r) { return r->len > LEN_MAX || r->off > (uint64_t)INT64_MAX - r->len; }

/* Takes the result of one system call; true when this range is finished. */
static bool account(obv_read *r, int64_t result)
{
    if (result == -EINTR || result == -EAGAIN)
        return false;
    if (result < 0) {
        r->sys = (int)-result;
        r->code = obv_code_from_errno(r->sys);
        return true;
    }
    r->got += (size_t)result;
    return result == 0 || r->got == r->len;
}

static void read_plain(obv_read *r)
{
    for (;;) {
        const ssize_t n = pread(r->fd, (uint8_t *)r->buf + r->got, r->len - r->got, (off_t)(r->off + r->got));
        const int64_t result = n < 0 ? -errno : n;
        if (result == -EINVAL && r->got % OBV_DIRECT_ALIGN != 0)
            return; /* the tail behind an unaligned end of file */
        if (account(r, result))
            return;
    }
}

static bool submit(obv_uring *u, obv_read *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe)
        return false;
    io_uring_prep_read(sqe, r->fd, (uint8_t *)r->buf + r->got, (unsigned)(r->len - r->got), r->off + r->got);
    io_uring_sqe_set_data(sqe, r);
    return true;
}

/* Waits for one completion; never gives up while the kernel may still write into a buffer. */
static obv_read *reap(obv_uring *u, int64_t *result)
{
    struct io_uring_cqe *cqe;
    int rc;
    while ((rc = io_uring_wait_cqe(&u->ring, &cqe)) == -EINTR || rc == -EAGAIN) {
    }
    obv_assert(rc == 0);
    obv_read *r = io_uring_cqe_get_data(cqe);
    *result = cqe->res;
    io_uring_cqe_seen(&u->ring, cqe);
    return r;
}

static void read_ring(obv_uring *u, obv_read *reads, size_t n)
{
    size_t next = 0;
    unsigned in_flight = 0; /* submitted or prepared */
    while (next < n || in_flight > 0) {
        while (next < n && in_flight < u->depth) {
            obv_read *r = &reads[next];
            if (r->code == OBV_OK && r->len > 0) {
                if (!submit(u, r))
                    break;
                in_flight++;
            }
            next++;
        }
        if (in_flight == 0)
            continue;
        int rc;
        while ((rc = io_uring_submit(&u->ring)) == -EINTR || rc == -EAGAIN || rc == -EBUSY) {
        }
        obv_assert(rc >= 0);
        int64_t result;
        obv_read *r = reap(u, &result);
        in_flight--;
        if (!account(r, result))
            read_plain(r); /* the rest of a short read: rare, not worth a round of its own */
    }
}

obv_code obv_uring_read(obv_uring *u, obv_read *reads, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        reads[i].got = 0;
        reads[i].sys = 0;
        reads[i].code = arguments_bad(&reads[i]) ? OBV_E_INVAL : OBV_OK;
    }
    if (u->active)
        read_ring(u, reads, n);
    else
        for (size_t i = 0; i < n; i++)
            if (reads[i].code == OBV_OK && reads[i].len > 0)
                read_plain(&reads[i]);
    for (size_t i = 0; i < n; i++)
        if (reads[i].code != OBV_OK)
            return obv_fail(err, reads[i].code, reads[i].sys, "read of %zu bytes at %llu: %s", reads[i].len,
                            (unsigned long long)reads[i].off,
                            reads[i].sys ? strerrordesc_np(reads[i].sys) : "out of range");
    return OBV_OK;
}

obv_code obv_open_direct(const char *path, int *fd, bool *direct, obv_err *err)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
    *direct = true;
    *fd = open(path, flags | O_DIRECT);
    if (*fd < 0 && errno == EINVAL) {
        *direct = false;
        *fd = open(path, flags);
    }
    if (*fd < 0) {
        const int e = errno;
        return obv_fail(err, obv_code_from_errno(e), e, "open %s: %s", path, strerrordesc_np(e));
    }
    return OBV_OK;
}
