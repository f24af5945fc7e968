/* interpose.c - system calls of the plugin, counted and made to fail
 *
 * The kit exports these names, and a library that is loaded later finds the program's before those of libc: whatever
 * the plugin writes, flushes and closes passes here. A plugin that goes to storage by other ways is not seen.
 */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kit_calls kit_calls;

#define EXPORT __attribute__((visibility("default")))

static mode_t type_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

static long flush(int fd, long number)
{
    const mode_t type = type_of(fd);
    if (type == S_IFREG) {
        const int e = atomic_exchange(&kit_calls.fail_sync, 0);
        if (e) {
            errno = e;
            return -1;
        }
    }
    const long rc = syscall(number, fd);
    if (rc == 0 && type == S_IFREG)
        (void)atomic_fetch_add(&kit_calls.file_syncs, 1);
    if (rc == 0 && type == S_IFDIR)
        (void)atomic_fetch_add(&kit_calls.folder_syncs, 1);
    return rc;
}

EXPORT int fsync(int fd) { return (int)flush(fd, SYS_fsync); }
EXPORT int fdatasync(int fd) { return (int)flush(fd, SYS_fdatasync); }

EXPORT int syncfs(int fd)
{
    const long rc = syscall(SYS_syncfs, fd);
    if (rc == 0) {
        (void)atomic_fetch_add(&kit_calls.file_syncs, 1);
        (void)atomic_fetch_add(&kit_calls.folder_syncs, 1);
    }
    return (int)rc;
}

static size_t allowed(int fd, size_t len)
{
    if (!atomic_load(&kit_calls.short_writes) || len < 2 || type_of(fd) != S_IFREG)
        return len;
    (void)atomic_fetch_add(&kit_calls.writes, 1);
    return len / 2;
}

EXPORT ssize_t write(int fd, const void *buf, size_t len) { return syscall(SYS_write, fd, buf, allowed(fd, len)); }
EXPORT ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
    return syscall(SYS_pwrite64, fd, buf, allowed(fd, len), at);
}
EXPORT ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at);
EXPORT ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    return syscall(SYS_pwrite64, fd, buf, allowed(fd, len), at);
}

EXPORT int close(int fd)
{
    const bool written =
        atomic_load(&kit_calls.fail_close) && type_of(fd) == S_IFREG && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    const long rc = syscall(SYS_close, fd);
    const int e = written ? atomic_exchange(&kit_calls.fail_close, 0) : 0;
    if (e == 0)
        return (int)rc;
    errno = e;
    return -1;
}
