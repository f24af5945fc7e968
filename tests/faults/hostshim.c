/* hostshim.c - an LD_PRELOAD library for tests: what a host or an NFS client does to a process that cannot be had on
 * demand
 *
 * Environment OBV_HOSTSHIM names a file of sizeof(struct control) bytes that the test changes while the process runs
 * (tests/e2e/hostshim.py). Calls on files below `root` fail or fall short, CLOCK_REALTIME is shifted. time(2) is left
 * alone: it is what OpenSSL judges certificates by.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CALL_FSYNC = 1, CALL_WRITE = 2, CALL_CLOSE = 4, CALL_CREATE = 8 };

struct control {
    _Atomic int32_t calls;    /* CALL_*: which are meant */
    _Atomic int32_t error;    /* errno; 0: a write is cut short */
    _Atomic int32_t count;    /* calls to disturb from now on; -1: all */
    _Atomic int32_t fired;    /* disturbed so far */
    _Atomic int64_t clock_us; /* added to CLOCK_REALTIME */
    char root[1000];
};

static struct control nothing;
static struct control *_Atomic mapped;

static struct control *control(void)
{
    struct control *c = atomic_load(&mapped);
    if (c)
        return c;
    const char *path = getenv("OBV_HOSTSHIM");
    const int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    c = &nothing;
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void)syscall(SYS_close, fd);
        if (at == MAP_FAILED)
            abort(); /* a fault that is asked for and cannot happen must not look like a test that passed */
        c = at;
    }
    atomic_store(&mapped, c);
    return c;
}

static bool is_below_root(const struct control *c, int fd)
{
    char link[40];
    char path[4096];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    const size_t len = strlen(c->root);
    return n >= (ssize_t)len && len > 0 && memcmp(path, c->root, len) == 0;
}

/* Is this call to be disturbed? Counts it. */
static bool due(int call, int fd)
{
    struct control *c = control();
    if (!(atomic_load(&c->calls) & call) || atomic_load(&c->count) == 0 || !is_below_root(c, fd))
        return false;
    int32_t left = atomic_load(&c->count);
    while (left > 0)
        if (atomic_compare_exchange_weak(&c->count, &left, left - 1))
            break;
    if (left == 0)
        return false;
    (void)atomic_fetch_add(&c->fired, 1);
    return true;
}

static int fails(void)
{
    errno = atomic_load(&control()->error);
    return -1;
}

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int fsync(int fd) { return due(CALL_FSYNC, fd) ? fails() : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return due(CALL_FSYNC, fd) ? fails() : (int)syscall(SYS_fdatasync, fd); }

static ssize_t write_at(int fd, const void *buf, size_t len, bool has_place, off_t at)
{
    if (len > 1 && due(CALL_WRITE, fd)) {
        if (atomic_load(&control()->error))
            return fails();
        len = 1 + len / 3;
    }
    return has_place ? syscall(SYS_pwrite64, fd, buf, len, at) : syscall(SYS_write, fd, buf, len);
}

ssize_t write(int fd, const void *buf, size_t len) { return write_at(fd, buf, len, false, 0); }
ssize_t pwrite(int fd, const void *buf, size_t len, off_t at) { return write_at(fd, buf, len, true, at); }
ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at) { return write_at(fd, buf, len, true, at); }

/* The file is closed all the same, as close(2) does when it tells of an error of write-back. */
int close(int fd)
{
    const bool bad = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && is_file(fd) && due(CALL_CLOSE, fd);
    const long rc = syscall(SYS_close, fd);
    return bad ? fails() : (int)rc;
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && due(CALL_CREATE, dir))
        return fails();
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                             \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode = va_arg(ap, mode_t);                                                                                     \
        va_end(ap);                                                                                                    \
    }

int openat(int dir, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_at(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_at(dir, path, flags | O_LARGEFILE, mode);
}

int linkat(int from_dir, const char *from, int dir, const char *to, int flags)
{
    return due(CALL_CREATE, dir) ? fails() : (int)syscall(SYS_linkat, from_dir, from, dir, to, flags);
}

int renameat(int from_dir, const char *from, int dir, const char *to)
{
    return due(CALL_CREATE, dir) ? fails() : (int)syscall(SYS_renameat2, from_dir, from, dir, to, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    return due(CALL_CREATE, dir) ? fails() : (int)syscall(SYS_mkdirat, dir, path, mode);
}

static void shift(int64_t *s, int64_t *part, int64_t per_s)
{
    const int64_t all = *s * 1000000 + *part * 1000000 / per_s + atomic_load(&control()->clock_us);
    const int64_t rest = *part % (per_s / 1000000 ? per_s / 1000000 : 1);
    *s = all / 1000000;
    *part = all % 1000000 * (per_s / 1000000) + rest;
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const int rc = real(which, t);
    if (rc == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        shift(&t->tv_sec, &t->tv_nsec, 1000000000);
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    const int rc = clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return rc;
}
