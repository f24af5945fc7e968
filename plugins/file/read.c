/* read.c - get, head and list */
#include "file_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static obv_store_class open_object(struct obv_repo_handle *r, const char *key, int *fd, struct stat *st,
                                   obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    FILE_TRY(file_check_cancel(r, err));
    FILE_AUTO_FD dir = -1;
    const char *name = NULL;
    FILE_TRY(file_open_folder(r, key, WALK_FIND, &dir, &name, err));
    /* not blocking: the name may be a foreign fifo */
    FILE_AUTO_FD f = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (f < 0)
        return file_fail_errno(err, "open %s", key);
    if (fstat(f, st) != 0)
        return file_fail_errno(err, "stat %s", key);
    if (!S_ISREG(st->st_mode))
        return file_fail(err, OBV_STORE_NOT_FOUND, "%s is no regular file", key);
    *fd = f;
    f = -1;
    return OBV_STORE_OK;
}

obv_store_class file_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                         obv_store_err *err)
{
    FILE_AUTO_FD fd = -1;
    struct stat st;
    size_t done = 0;
    FILE_TRY(open_object(r, key, &fd, &st, err));
    while (done < len && off <= INT64_MAX - len) { /* no file is longer */
        FILE_TRY(file_check_cancel(r, err));
        const ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_fail_errno(err, "read %s", key);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return OBV_STORE_OK;
}

obv_store_class file_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    FILE_AUTO_FD fd = -1;
    struct stat st;
    FILE_TRY(file_check_mount(r, err)); /* the agent watches the repository's identity with this call */
    FILE_TRY(open_object(r, key, &fd, &st, err));
    file_info_of_stat(&st, out);
    return OBV_STORE_OK;
}

struct listing {
    struct obv_repo_handle *r;
    const char *prefix;
    size_t prefix_len;
    obv_list_fn *fn;
    void *ctx;
    bool stopped;
    char path[OBV_KEY_MAX + 2];
};

/* A key or a folder whose path cannot lead to a key with the prefix is not looked at. */
static bool can_match(const struct listing *l, size_t len, bool is_dir)
{
    const size_t n = len < l->prefix_len ? len : l->prefix_len;
    if (memcmp(l->path, l->prefix, n) != 0)
        return false;
    return len >= l->prefix_len || (is_dir && l->prefix[len] == '/');
}

static obv_store_class list_folder(struct listing *l, int dir_fd, size_t len, int depth, obv_store_err *err);

static obv_store_class list_entry(struct listing *l, int dir_fd, const char *name, size_t len, int depth,
                                  obv_store_err *err)
{
    struct stat st;
    const size_t name_len = strlen(name);
    if (!file_component_is_valid(name) || (len == 0 && strcmp(name, FILE_TMP_DIR) == 0))
        return OBV_STORE_OK; /* foreign, removed while open, or ours and unfinished */
    if (len + name_len > OBV_KEY_MAX)
        return OBV_STORE_OK;
    memcpy(l->path + len, name, name_len + 1);
    const size_t end = len + name_len;
    if (!can_match(l, end, true))
        return OBV_STORE_OK;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return OBV_STORE_OK; /* removed meanwhile */
        return file_fail_errno(err, "stat %s", l->path);
    }
    if (S_ISREG(st.st_mode) && can_match(l, end, false)) {
        obv_object_info info;
        file_info_of_stat(&st, &info);
        l->stopped = l->fn(l->ctx, l->path, &info) != 0;
        return OBV_STORE_OK;
    }
    if (!S_ISDIR(st.st_mode))
        return OBV_STORE_OK;
    const int sub = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0) {
        if (errno == ENOENT)
            return OBV_STORE_OK;
        return file_fail_errno(err, "open folder %s", l->path);
    }
    l->path[end] = '/';
    l->path[end + 1] = '\0';
    return list_folder(l, sub, end + 1, depth + 1, err);
}

/* Consumes dir_fd. */
static obv_store_class list_folder(struct listing *l, int dir_fd, size_t len, int depth, obv_store_err *err)
{
    if (depth > LIST_DEPTH_MAX) {
        (void)close(dir_fd);
        return file_fail(err, OBV_STORE_FATAL, "folders below each other: more than %d", LIST_DEPTH_MAX);
    }
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        const obv_store_class cls = file_fail_errno(err, "open folder %s", l->path);
        (void)close(dir_fd);
        return cls;
    }
    obv_store_class cls = OBV_STORE_OK;
    while (cls == OBV_STORE_OK && !l->stopped) {
        cls = file_check_cancel(l->r, err);
        if (cls != OBV_STORE_OK)
            break;
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e) {
            if (errno != 0)
                cls = file_fail_errno(err, "read folder %.*s", (int)len, l->path);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        cls = list_entry(l, dirfd(dir), e->d_name, len, depth, err);
    }
    (void)closedir(dir);
    return cls;
}

obv_store_class file_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err)
{
    if (strnlen(prefix, OBV_KEY_MAX + 1) > OBV_KEY_MAX)
        return file_fail(err, OBV_STORE_FATAL, "list: the prefix is too long");
    struct listing l = {.r = r, .prefix = prefix, .prefix_len = strlen(prefix), .fn = fn, .ctx = ctx};
    const char *slash = strrchr(prefix, '/');
    if (!slash) {
        const int root = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return root < 0 ? file_fail_errno(err, "open %s", r->root) : list_folder(&l, root, 0, 0, err);
    }
    /* start at the folder that the prefix names */
    const size_t len = (size_t)(slash - prefix) + 1;
    memcpy(l.path, prefix, len);
    l.path[len - 1] = '\0';
    FILE_TRY(file_check_key(l.path, err));
    l.path[len - 1] = '/';
    int dir = -1;
    const char *name = NULL;
    obv_store_err none;
    const obv_store_class cls = file_open_folder(r, l.path, WALK_FIND, &dir, &name, &none);
    if (cls == OBV_STORE_NOT_FOUND)
        return OBV_STORE_OK;
    if (cls != OBV_STORE_OK) {
        *err = none;
        return cls;
    }
    return list_folder(&l, dir, len, 0, err);
}
