/* remove.c - objects that are not wanted any more, and temporaries that nobody finished */
#include "file_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Removes the folders of key, deepest first, until one is not empty. A foreign file in one simply keeps it. */
static void remove_empty_folders(struct obv_repo_handle *r, const char *key)
{
    char path[OBV_KEY_MAX + 1];
    (void)strncpy(path, key, sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (char *slash; (slash = strrchr(path, '/')) != NULL;) {
        *slash = '\0';
        FILE_AUTO_FD parent = -1;
        const char *name = NULL;
        obv_store_err ignored;
        if (file_open_folder(r, path, WALK_FIND, &parent, &name, &ignored) != OBV_STORE_OK ||
            unlinkat(parent, name, AT_REMOVEDIR) != 0)
            return;
    }
}

static size_t folder_len(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? (size_t)(slash - key) : 0;
}

static bool same_folder(const char *a, const char *b)
{
    const size_t n = folder_len(a);
    return n == folder_len(b) && strncmp(a, b, n) == 0;
}

/* Removes one; with sync, the folder is made durable and taken away when it is empty. */
static obv_store_class remove_one(struct obv_repo_handle *r, const char *key, bool sync, obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    FILE_TRY(file_check_cancel(r, err));
    file_append_forget(r, key);
    {
        FILE_AUTO_FD dir = -1;
        const char *name = NULL;
        const obv_store_class cls = file_open_folder(r, key, WALK_FIND, &dir, &name, err);
        if (cls == OBV_STORE_NOT_FOUND)
            return OBV_STORE_OK;
        if (cls != OBV_STORE_OK)
            return cls;
        if (unlinkat(dir, name, 0) != 0) {
            if (errno == EISDIR) /* a part of other keys: there is no object of this name */
                return OBV_STORE_OK;
            if (errno != ENOENT)
                return file_fail_errno(err, "remove %s", key);
        }
        if (!sync)
            return OBV_STORE_OK;
        if (fsync(dir) != 0)
            return file_fail_errno(err, "fsync the folder of %s", key);
    }
    remove_empty_folders(r, key);
    return OBV_STORE_OK;
}

obv_store_class file_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                            obv_store_err *err)
{
    obv_store_class first = OBV_STORE_OK;
    FILE_TRY(file_check_mount(r, err));
    for (size_t i = 0; i < n; i++) {
        obv_store_err one;
        const bool last_of_folder = i + 1 == n || !same_folder(keys[i], keys[i + 1]);
        const obv_store_class cls = remove_one(r, keys[i], last_of_folder, &one);
        if (results)
            results[i] = cls;
        if (cls != OBV_STORE_OK && first == OBV_STORE_OK) {
            first = cls;
            *err = one;
        }
    }
    return first;
}

/* The storage's own clock: the time it stamps on a new file. Hosts' clocks may differ from it. */
static obv_store_class storage_now(struct obv_repo_handle *r, int tmp, time_t *now, obv_store_err *err)
{
    char name[TMP_NAME_MAX];
    FILE_AUTO_FD fd = -1;
    struct stat st;
    FILE_TRY(file_make_tmp(r, tmp, name, &fd, err));
    const int failed = fstat(fd, &st);
    const int e = errno;
    (void)unlinkat(tmp, name, 0);
    if (failed) {
        errno = e;
        return file_fail_errno(err, "stat a temporary");
    }
    *now = st.st_mtim.tv_sec;
    return OBV_STORE_OK;
}

static obv_store_class sweep_folder(struct obv_repo_handle *r, DIR *dir, uint64_t age_s, time_t now, uint64_t *swept,
                                    obv_store_err *err)
{
    for (;;) {
        FILE_TRY(file_check_cancel(r, err));
        struct stat st;
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e)
            return errno == 0 ? OBV_STORE_OK : file_fail_errno(err, "read folder %s", FILE_TMP_DIR);
        if (strncmp(e->d_name, FILE_TMP_PREFIX, strlen(FILE_TMP_PREFIX)) != 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (st.st_mtim.tv_sec > now || (uint64_t)(now - st.st_mtim.tv_sec) < age_s)
            continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0)
            ++*swept;
        else if (errno != ENOENT)
            return file_fail_errno(err, "remove %s/%s", FILE_TMP_DIR, e->d_name);
    }
}

obv_store_class file_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    int tmp = -1;
    time_t now = 0;
    *swept = 0;
    FILE_TRY(file_check_mount(r, err));
    obv_store_err none;
    obv_store_class cls = file_open_tmp(r, false, &tmp, &none);
    if (cls == OBV_STORE_NOT_FOUND)
        return OBV_STORE_OK;
    if (cls != OBV_STORE_OK) {
        *err = none;
        return cls;
    }
    cls = storage_now(r, tmp, &now, err);
    DIR *dir = cls == OBV_STORE_OK ? fdopendir(tmp) : NULL;
    if (!dir) {
        if (cls == OBV_STORE_OK)
            cls = file_fail_errno(err, "open folder %s", FILE_TMP_DIR);
        (void)close(tmp);
        return cls;
    }
    cls = sweep_folder(r, dir, age_s, now, swept, err);
    (void)closedir(dir);
    return cls;
}
