/* walk.c - keys, and ways below the root that follow no symbolic link */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._@=+-", c) != NULL);
}

static bool component_ok(const char *p, size_t len)
{
    if (len == 0 || len > OBV_KEY_PART_MAX || (p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.'))))
        return false;
    if (len >= 4 && memcmp(p, ".nfs", 4) == 0) /* removed while open */
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_key_char(p[i]))
            return false;
    return true;
}

bool file_component_is_valid(const char *name) { return component_ok(name, strlen(name)); }

bool file_key_is_valid(const char *key)
{
    if (strnlen(key, OBV_KEY_MAX + 1) > OBV_KEY_MAX)
        return false;
    const size_t first = strcspn(key, "/");
    if (first == strlen(FILE_TMP_DIR) && strncmp(key, FILE_TMP_DIR, first) == 0)
        return false;
    for (const char *p = key;; p++) {
        const size_t len = strcspn(p, "/");
        if (!component_ok(p, len))
            return false;
        p += len;
        if (*p == '\0')
            return true;
    }
}

obv_store_class file_check_key(const char *key, obv_store_err *err)
{
    if (file_key_is_valid(key))
        return OBV_STORE_OK;
    return file_fail(err, OBV_STORE_FATAL, "not a key: \"%.120s\"", key);
}

obv_store_class file_check_cancel(const struct obv_repo_handle *r, obv_store_err *err)
{
    if (r->host.cancelled && r->host.cancelled(r->host.ctx))
        return file_fail(err, OBV_STORE_CANCELLED, "cancelled");
    return OBV_STORE_OK;
}

obv_store_class file_check_mount(const struct obv_repo_handle *r, obv_store_err *err)
{
    struct stat st;
    if (stat(r->root, &st) != 0) {
        (void)file_fail_errno(err, "%s", r->root);
        if (err->cls == OBV_STORE_NOT_FOUND)
            err->cls = OBV_STORE_STALE;
        return err->cls;
    }
    if (st.st_dev != r->root_dev || st.st_ino != r->root_ino)
        return file_fail(err, OBV_STORE_STALE, "%s is not the folder that was opened: its mount was changed", r->root);
    return OBV_STORE_OK;
}

static bool seen_before(struct obv_repo_handle *r, const struct stat *st, bool remember)
{
    struct seen_dir *slot = &r->seen[(st->st_ino ^ st->st_dev) % SEEN_SLOTS];
    (void)pthread_mutex_lock(&r->mu);
    const bool hit = slot->ino == st->st_ino && slot->dev == st->st_dev;
    if (remember)
        *slot = (struct seen_dir){.dev = st->st_dev, .ino = st->st_ino};
    (void)pthread_mutex_unlock(&r->mu);
    return hit;
}

/*
 * An entry made by a process that was killed, or that another one makes right now, may not be durable although it is
 * there: so the parent is synced the first time that this handle passes, not only when it made the folder itself.
 */
static obv_store_class make_entry_durable(struct obv_repo_handle *r, int parent, int dir, bool made, const char *key,
                                          obv_store_err *err)
{
    struct stat st;
    if (fstat(dir, &st) != 0)
        return file_fail_errno(err, "stat a folder of %s", key);
    if (!made && seen_before(r, &st, false))
        return OBV_STORE_OK;
    if (fsync(parent) != 0)
        return file_fail_errno(err, "fsync a folder of %s", key);
    (void)seen_before(r, &st, true);
    return OBV_STORE_OK;
}

static int open_dir(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static obv_store_class explain_no_dir(int at, const char *name, const char *key, enum file_walk how, obv_store_err *err)
{
    const int e = errno;
    struct stat st;
    if ((e == ENOTDIR || e == ELOOP) && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISLNK(st.st_mode))
            return file_fail(err, OBV_STORE_DENIED, "%.150s: \"%.60s\" is a symbolic link, which is never followed",
                             key, name);
        return file_fail(err, how == WALK_FIND ? OBV_STORE_NOT_FOUND : OBV_STORE_FATAL,
                         "%.150s: \"%.60s\" is a file, not a folder", key, name);
    }
    errno = e;
    return file_fail_errno(err, "open folder \"%.60s\" of %.120s", name, key);
}

/* One step down; consumes nothing, returns a new fd. */
static obv_store_class step(struct obv_repo_handle *r, int at, const char *name, const char *key, enum file_walk how,
                            int *out, obv_store_err *err)
{
    bool made = false;
    int fd = open_dir(at, name);
    if (fd < 0 && errno == ENOENT && how == WALK_MAKE) {
        if (mkdirat(at, name, DIR_MODE) == 0)
            made = true;
        else if (errno != EEXIST)
            return file_fail_errno(err, "make folder \"%.60s\" of %.120s", name, key);
        fd = open_dir(at, name);
    }
    if (fd < 0)
        return explain_no_dir(at, name, key, how, err);
    if (how == WALK_MAKE) {
        const obv_store_class cls = make_entry_durable(r, at, fd, made, key, err);
        if (cls != OBV_STORE_OK) {
            (void)close(fd);
            return cls;
        }
    }
    *out = fd;
    return OBV_STORE_OK;
}

obv_store_class file_open_folder(struct obv_repo_handle *r, const char *key, enum file_walk how, int *dir_fd,
                                 const char **name, obv_store_err *err)
{
    int at = fcntl(r->root_fd, F_DUPFD_CLOEXEC, 0);
    if (at < 0)
        return file_fail_errno(err, "open %s", r->root);
    const char *p = key;
    for (const char *slash; (slash = strchr(p, '/')) != NULL; p = slash + 1) {
        char component[256];
        const size_t len = (size_t)(slash - p);
        int next = -1;
        if (len >= sizeof component) {
            (void)close(at);
            return file_fail(err, OBV_STORE_FATAL, "not a key: \"%.120s\"", key);
        }
        memcpy(component, p, len);
        component[len] = '\0';
        const obv_store_class cls = step(r, at, component, key, how, &next, err);
        (void)close(at);
        if (cls != OBV_STORE_OK)
            return cls;
        at = next;
    }
    *dir_fd = at;
    *name = p;
    return OBV_STORE_OK;
}

obv_store_class file_open_tmp(struct obv_repo_handle *r, bool make, int *dir_fd, obv_store_err *err)
{
    return step(r, r->root_fd, FILE_TMP_DIR, FILE_TMP_DIR, make ? WALK_MAKE : WALK_FIND, dir_fd, err);
}

obv_store_class file_make_tmp(const struct obv_repo_handle *r, int tmp_fd, char *name, int *fd, obv_store_err *err)
{
    for (int attempt = 0; attempt < LINK_ATTEMPTS; attempt++) {
        uint64_t random[2];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return file_fail_errno(err, "random numbers");
        (void)snprintf(name, TMP_NAME_MAX, FILE_TMP_PREFIX "%016llx%016llx", (unsigned long long)random[0],
                       (unsigned long long)random[1]);
        *fd = openat(tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
        if (*fd >= 0)
            return OBV_STORE_OK;
        if (errno != EEXIST)
            break;
    }
    return file_fail_errno(err, "create a temporary in %s/%s", r->root, FILE_TMP_DIR);
}

obv_store_class file_write_all(const struct obv_repo_handle *r, int fd, const void *buf, size_t len, off_t at,
                               const char *key, obv_store_err *err)
{
    const char *p = buf;
    while (len > 0) {
        FILE_TRY(file_check_cancel(r, err));
        const ssize_t n = pwrite(fd, p, len < WRITE_CHUNK ? len : WRITE_CHUNK, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return file_fail_errno(err, "write %s", key);
        }
        p += n;
        len -= (size_t)n;
        at += n;
    }
    return OBV_STORE_OK;
}

void file_info_of_stat(const struct stat *st, obv_object_info *out)
{
    *out = (obv_object_info){.size = (uint64_t)st->st_size,
                             .mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000};
}
