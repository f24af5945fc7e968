/* append.c - files that grow at their end, and the durability point of those appends
 *
 * A file stays open from its append to its sync: an error of write-back is reported once, on an fd that was open then.
 */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static obv_store_class open_for_append(struct obv_repo_handle *r, const char *key, bool create, bool *created, int *fd,
                                       obv_store_err *err)
{
    for (int attempt = 0; attempt < LINK_ATTEMPTS; attempt++) {
        FILE_AUTO_FD dir = -1;
        const char *name = NULL;
        FILE_TRY(file_open_folder(r, key, create ? WALK_MAKE : WALK_FIND, &dir, &name, err));
        const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
        *fd = openat(dir, name, flags, FILE_MODE);
        if (*fd >= 0) {
            *created = create;
            return OBV_STORE_OK;
        }
        if (!(create && errno == ENOENT)) /* a remove took the empty folder meanwhile */
            return file_fail_errno(err, "open %s", key);
    }
    return file_fail(err, OBV_STORE_RETRY, "append %s: its folder keeps vanishing", key);
}

/* Makes what was appended durable: the file, then its entry. */
static obv_store_class flush(struct obv_repo_handle *r, struct append_file *f, obv_store_err *err)
{
    if (fsync(f->fd) != 0) {
        const obv_store_class cls = file_fail_errno(err, "fsync %s", f->key);
        f->state = APPEND_POISONED;
        return cls;
    }
    if (f->created) {
        FILE_AUTO_FD dir = -1;
        const char *name = NULL;
        FILE_TRY(file_open_folder(r, f->key, WALK_MAKE, &dir, &name, err));
        if (fsync(dir) != 0) {
            const obv_store_class cls = file_fail_errno(err, "fsync the folder of %s", f->key);
            f->state = APPEND_POISONED;
            return cls;
        }
    }
    f->created = false;
    f->state = APPEND_CLEAN;
    return OBV_STORE_OK;
}

/*
 * Sees to it that one more file may be open: clean ones are closed, then a dirty one is made durable first, and stays
 * as poisoned when that fails. Locked; true when the lock was let go meanwhile.
 */
static bool make_room(struct obv_repo_handle *r, struct append_table *t)
{
    if (t->open < t->limit)
        return false;
    struct append_file *f = append_table_oldest(t, APPEND_CLEAN);
    if (f) {
        append_table_drop(t, f);
        return false;
    }
    if ((f = append_table_oldest(t, APPEND_DIRTY)) != NULL) {
        obv_store_err ignored;
        (void)pthread_mutex_unlock(&t->mu);
        (void)flush(r, f, &ignored);
        (void)pthread_mutex_lock(&t->mu);
        append_table_give(t, f);
    } else if ((f = append_table_oldest(t, APPEND_POISONED)) != NULL) {
        append_table_drop(t, f);
    } else {
        append_table_wait(t);
    }
    return true;
}

static void give(struct append_table *t, struct append_file *f)
{
    (void)pthread_mutex_lock(&t->mu);
    append_table_give(t, f);
    (void)pthread_mutex_unlock(&t->mu);
}

static void drop(struct append_table *t, struct append_file *f)
{
    (void)pthread_mutex_lock(&t->mu);
    append_table_drop(t, f);
    (void)pthread_mutex_unlock(&t->mu);
}

/*
 * True when the kept file has lost its name: another handle or host removed or replaced it. What is written to it goes
 * nowhere, so it is forgotten. *lost tells whether appended bytes went with it.
 */
static bool is_gone(struct append_table *t, struct append_file *f, bool *lost)
{
    struct stat st;
    if (f->state == APPEND_POISONED || fstat(f->fd, &st) != 0 || st.st_nlink > 0)
        return false;
    *lost = f->state == APPEND_DIRTY;
    drop(t, f);
    return true;
}

/* The file of key, taken and open. */
static obv_store_class open_kept(struct obv_repo_handle *r, const char *key, bool create, struct append_file **out,
                                 obv_store_err *err)
{
    struct append_table *t = &r->appended;
    (void)pthread_mutex_lock(&t->mu);
    struct append_file *f = append_table_take(t, key);
    while (!f && make_room(r, t)) /* another thread may have opened the same key */
        f = append_table_take(t, key);
    const bool is_new = !f;
    if (is_new)
        f = append_table_add(t, key);
    (void)pthread_mutex_unlock(&t->mu);
    if (!f)
        return file_fail(err, OBV_STORE_RETRY, "append %s: out of memory", key);
    if (is_new) {
        const obv_store_class cls = open_for_append(r, key, create, &f->created, &f->fd, err);
        if (cls != OBV_STORE_OK) {
            drop(t, f);
            return cls;
        }
    } else {
        bool lost = false;
        if (is_gone(t, f, &lost)) {
            if (lost && !create)
                return file_fail(err, OBV_STORE_NOT_FOUND, "%s was removed by somebody else, with unsynced bytes", key);
            return open_kept(r, key, create, out, err);
        }
        if (create) {
            give(t, f);
            return file_fail(err, OBV_STORE_EXISTS, "append %s at 0: it is there already", key);
        }
    }
    *out = f;
    return OBV_STORE_OK;
}

static obv_store_class append_to(struct obv_repo_handle *r, struct append_file *f, uint64_t at, const void *buf,
                                 size_t len, obv_store_err *err)
{
    if (f->state == APPEND_POISONED)
        return file_fail(err, OBV_STORE_IO, "append %s: an earlier sync of it failed", f->key);
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return file_fail_errno(err, "stat %s", f->key);
    if (!S_ISREG(st.st_mode))
        return file_fail(err, OBV_STORE_DENIED, "append %s: not a regular file", f->key);
    if ((uint64_t)st.st_size != at)
        return file_fail(err, OBV_STORE_CONFLICT, "append %s at %llu: it has %lld bytes", f->key,
                         (unsigned long long)at, (long long)st.st_size);
    f->state = APPEND_DIRTY;
    return file_write_all(r, f->fd, buf, len, (off_t)at, f->key, err);
}

obv_store_class file_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                            obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    FILE_TRY(file_check_cancel(r, err));
    if (at == 0)
        FILE_TRY(file_check_mount(r, err));
    struct append_file *f = NULL;
    FILE_TRY(open_kept(r, key, at == 0, &f, err));
    const obv_store_class cls = append_to(r, f, at, buf, len, err);
    give(&r->appended, f);
    return cls;
}

static obv_store_class sync_one(struct obv_repo_handle *r, const char *key, obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    struct append_file *f = NULL;
    FILE_TRY(open_kept(r, key, false, &f, err));
    obv_store_class cls = OBV_STORE_OK;
    if (f->state == APPEND_POISONED)
        cls = file_fail(err, OBV_STORE_IO, "sync %s: an earlier sync of it failed", key);
    else
        cls = flush(r, f, err);
    give(&r->appended, f);
    return cls;
}

obv_store_class file_sync(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                          obv_store_err *err)
{
    obv_store_class first = OBV_STORE_OK;
    FILE_TRY(file_check_mount(r, err));
    for (size_t i = 0; i < n; i++) {
        obv_store_err one;
        const obv_store_class cls = sync_one(r, keys[i], &one);
        if (results)
            results[i] = cls;
        if (cls != OBV_STORE_OK && first == OBV_STORE_OK) {
            first = cls;
            *err = one;
        }
    }
    return first;
}

void file_append_forget(obv_repo_handle *r, const char *key)
{
    struct append_table *t = &r->appended;
    (void)pthread_mutex_lock(&t->mu);
    struct append_file *f = append_table_take(t, key);
    if (f)
        append_table_drop(t, f);
    (void)pthread_mutex_unlock(&t->mu);
}
