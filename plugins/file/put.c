/* put.c - one object: written to a temporary, made durable, then given its name in one step
 *
 * Order of a commit: fsync of the temporary, close, folders made and durable, link (if absent) or rename (replace),
 * fsync of the folder. A crash leaves a temporary, or the whole object.
 */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct obv_put_handle {
    struct obv_repo_handle *r;
    int tmp_dir;
    int fd; /* -1 once closed */
    char tmp[TMP_NAME_MAX];
    bool if_absent;
    bool failed; /* a write failed: it cannot be committed any more */
    uint64_t size;
    char key[]; /* terminated */
};

static void put_free(struct obv_put_handle *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    if (p->tmp[0])
        (void)unlinkat(p->tmp_dir, p->tmp, 0);
    if (p->tmp_dir >= 0)
        (void)close(p->tmp_dir);
    free(p);
}

obv_store_class file_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts, obv_put_handle **out,
                               obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    FILE_TRY(file_check_cancel(r, err));
    FILE_TRY(file_check_mount(r, err));
    const size_t key_len = strlen(key);
    struct obv_put_handle *p = calloc(1, sizeof *p + key_len + 1);
    if (!p)
        return file_fail(err, OBV_STORE_RETRY, "put %s: out of memory", key);
    p->r = r;
    p->tmp_dir = p->fd = -1;
    p->if_absent = opts->if_absent != 0;
    memcpy(p->key, key, key_len);
    obv_store_class cls = file_open_tmp(r, true, &p->tmp_dir, err);
    if (cls == OBV_STORE_OK)
        cls = file_make_tmp(r, p->tmp_dir, p->tmp, &p->fd, err);
    if (cls != OBV_STORE_OK) {
        p->tmp[0] = '\0';
        put_free(p);
        return cls;
    }
    *out = p;
    return OBV_STORE_OK;
}

obv_store_class file_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    if (p->failed)
        return file_fail(err, OBV_STORE_FATAL, "put %s: an earlier write failed", p->key);
    const obv_store_class cls = file_write_all(p->r, p->fd, buf, len, (off_t)p->size, p->key, err);
    p->failed = cls != OBV_STORE_OK;
    if (!p->failed)
        p->size += len;
    return cls;
}

/* A retransmitted NFS LINK may answer EEXIST although the first one did it: then the name leads to our own file. */
static bool link_was_ours(const struct obv_put_handle *p, int dir, const char *name)
{
    struct stat mine;
    struct stat there;
    return fstatat(p->tmp_dir, p->tmp, &mine, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && mine.st_dev == there.st_dev &&
           mine.st_ino == there.st_ino;
}

static obv_store_class name_it(struct obv_put_handle *p, int dir, const char *name, obv_store_err *err)
{
    if (!p->if_absent) {
        if (renameat(p->tmp_dir, p->tmp, dir, name) != 0)
            return file_fail_errno(err, "rename to %s", p->key);
        p->tmp[0] = '\0';
        if (fsync(dir) != 0)
            return file_fail_errno(err, "fsync the folder of %s", p->key);
        return OBV_STORE_OK;
    }
    if (linkat(p->tmp_dir, p->tmp, dir, name, 0) != 0) {
        const int e = errno;
        if (e != EEXIST || !link_was_ours(p, dir, name)) {
            errno = e;
            return file_fail_errno(err, "link to %s", p->key);
        }
    }
    if (fsync(dir) != 0) {
        const obv_store_class cls = file_fail_errno(err, "fsync the folder of %s", p->key);
        /* what may not survive a crash must not be found by a repeat of this put */
        (void)unlinkat(dir, name, 0);
        return cls;
    }
    return OBV_STORE_OK;
}

static obv_store_class commit(struct obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    if (p->failed)
        return file_fail(err, OBV_STORE_FATAL, "put %s: an earlier write failed", p->key);
    FILE_TRY(file_check_cancel(p->r, err));
    if (fsync(p->fd) != 0)
        return file_fail_errno(err, "fsync %s", p->key);
    struct stat st;
    if (fstat(p->fd, &st) != 0)
        return file_fail_errno(err, "stat %s", p->key);
    if ((uint64_t)st.st_size != p->size)
        return file_fail(err, OBV_STORE_IO, "%s has %lld bytes after %llu were written", p->key, (long long)st.st_size,
                         (unsigned long long)p->size);
    (void)posix_fadvise(p->fd, 0, 0, POSIX_FADV_DONTNEED); /* leave the host's page cache to OBServer */
    const int fd = p->fd;
    p->fd = -1;
    if (close(fd) != 0)
        return file_fail_errno(err, "close %s", p->key);

    FILE_TRY(file_check_mount(p->r, err));
    obv_store_class cls = OBV_STORE_OK;
    obv_store_err last;
    for (int attempt = 0; attempt < LINK_ATTEMPTS; attempt++) {
        FILE_AUTO_FD dir = -1;
        const char *name = NULL;
        cls = file_open_folder(p->r, p->key, WALK_MAKE, &dir, &name, &last);
        if (cls == OBV_STORE_OK)
            cls = name_it(p, dir, name, &last);
        if (cls != OBV_STORE_NOT_FOUND) /* a remove took the empty folder meanwhile */
            break;
    }
    if (cls == OBV_STORE_NOT_FOUND) /* of the ABI's view: no such object, which no put can answer */
        return file_fail(err, OBV_STORE_RETRY, "put %s: its folder keeps vanishing", p->key);
    if (cls != OBV_STORE_OK)
        *err = last;
    else if (out)
        file_info_of_stat(&st, out);
    return cls;
}

obv_store_class file_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    const obv_store_class cls = commit(p, out, err);
    put_free(p);
    return cls;
}

void file_put_abort(obv_put_handle *p)
{
    if (p)
        put_free(p);
}
