#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static obv_code sys_fail(obv_err *err, const char *verb, const char *what)
{
    const int e = errno;
    return obv_fail(err, obv_code_from_errno(e), e, "%s %s: %s", verb, what, strerrordesc_np(e));
}

obv_code obv_fd_write(int fd, obv_span bytes, const char *what, obv_err *err)
{
    while (bytes.len > 0) {
        const ssize_t n = write(fd, bytes.p, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sys_fail(err, "write", what);
        if (n == 0)
            return obv_fail(err, OBV_E_IO, 0, "write %s: nothing was taken", what);
        bytes.p += n;
        bytes.len -= (size_t)n;
    }
    return OBV_OK;
}

obv_code obv_fd_read_at(int fd, void *buf, size_t len, uint64_t off, size_t *got, const char *what, obv_err *err)
{
    size_t done = 0;
    if (off > (uint64_t)INT64_MAX - len)
        return obv_fail(err, OBV_E_INVAL, 0, "read %s: offset %llu", what, (unsigned long long)off);
    while (done < len) {
        const ssize_t n = pread(fd, (uint8_t *)buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sys_fail(err, "read", what);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return OBV_OK;
}

obv_code obv_fd_close(int *fd, const char *what, obv_err *err)
{
    const int closing = *fd;
    *fd = -1;
    /* After EINTR Linux has closed it all the same. */
    if (closing >= 0 && close(closing) != 0 && errno != EINTR)
        return sys_fail(err, "close", what);
    return OBV_OK;
}

obv_code obv_file_read_all(const char *path, size_t max, obv_buf *out, obv_err *err)
{
    OBV_AUTO(obv_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sys_fail(err, "open", path);
    size_t total = 0;
    for (;;) {
        uint8_t piece[16384];
        const ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sys_fail(err, "read", path);
        if (n == 0)
            break;
        if ((size_t)n > max - total)
            return obv_fail(err, OBV_E_LIMIT, 0, "%s is longer than %zu bytes", path, max);
        total += (size_t)n;
        obv_buf_append(out, piece, (size_t)n);
    }
    return obv_buf_check(out, path, err);
}

obv_code obv_file_sync_dir(const char *path, obv_err *err)
{
    OBV_AUTO(obv_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sys_fail(err, "open folder", path);
    if (fsync(fd) != 0)
        return sys_fail(err, "fsync folder", path);
    return OBV_OK;
}

/* "." for a plain name, "/" for a name in the root. */
static obv_code folder_of(const char *path, char *out, size_t cap, obv_err *err)
{
    const char *slash = strrchr(path, '/');
    const size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n + 2 > cap)
        return obv_fail(err, OBV_E_INVAL, ENAMETOOLONG, "path of %zu bytes", strlen(path));
    memcpy(out, n ? path : ".", n ? n : 1);
    out[n ? n : 1] = '\0';
    return OBV_OK;
}

static obv_code write_temporary(const char *tmp, obv_span bytes, mode_t mode, obv_err *err)
{
    OBV_AUTO(obv_close_fd) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return sys_fail(err, "create", tmp);
    OBV_TRY(obv_fd_write(fd, bytes, tmp, err));
    if (fsync(fd) != 0)
        return sys_fail(err, "fsync", tmp);
    return obv_fd_close(&fd, tmp, err);
}

obv_code obv_file_write_atomic(const char *path, obv_span bytes, mode_t mode, obv_err *err)
{
    char folder[PATH_MAX];
    char tmp[PATH_MAX];
    OBV_TRY(folder_of(path, folder, sizeof folder, err));
    if (snprintf(tmp, sizeof tmp, "%s.tmp.%d", path, (int)gettid()) >= (int)sizeof tmp)
        return obv_fail(err, OBV_E_INVAL, ENAMETOOLONG, "path of %zu bytes", strlen(path));
    if (unlink(tmp) != 0 && errno != ENOENT) /* left by a killed process of the same number */
        return sys_fail(err, "remove", tmp);
    obv_code code = write_temporary(tmp, bytes, mode, err);
    if (code == OBV_OK && rename(tmp, path) != 0)
        code = sys_fail(err, "rename to", path);
    if (code != OBV_OK) {
        (void)unlink(tmp);
        return code;
    }
    return obv_file_sync_dir(folder, err);
}

static obv_code make_folder(const char *path, mode_t mode, obv_err *err)
{
    if (mkdir(path, mode) == 0) {
        char parent[PATH_MAX];
        OBV_TRY(folder_of(path, parent, sizeof parent, err));
        return obv_file_sync_dir(parent, err);
    }
    if (errno != EEXIST)
        return sys_fail(err, "create folder", path);
    struct stat st;
    if (stat(path, &st) != 0)
        return sys_fail(err, "look at", path);
    if (!S_ISDIR(st.st_mode))
        return obv_fail(err, OBV_E_EXISTS, ENOTDIR, "%s is there and no folder", path);
    return OBV_OK;
}

obv_code obv_file_mkdirs(const char *path, mode_t mode, obv_err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof part)
        return obv_fail(err, OBV_E_INVAL, 0, "folder path of %zu bytes", n);
    memcpy(part, path, n);
    part[n] = '\0';
    for (char *p = part + 1; *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        OBV_TRY(make_folder(part, mode, err));
        *p = '/';
    }
    return make_folder(part, mode, err);
}

obv_code obv_file_remove(const char *path, obv_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return sys_fail(err, "remove", path);
    return OBV_OK;
}
