/* append.c - files that grow at their end, and the durability point of those appends
 *
 * A file stays open from its append to its sync: an error of write-back is reported once, on an fd that was open then.
 */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static struct append_file *find(struct obv_repo_handle *r, const char *key)
{
    for (size_t i = 0; i < APPEND_SLOTS; i++)
        if (r->files[i].key && strcmp(r->files[i].key, key) == 0)
            return &r->files[i];
    return NULL;
}

static void drop(struct append_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->key);
    *f = (struct append_file){.fd = -1};
}

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
        f->poisoned = true;
        return cls;
    }
    if (f->created) {
        FILE_AUTO_FD dir = -1;
        const char *name = NULL;
        FILE_TRY(file_open_folder(r, f->key, WALK_MAKE, &dir, &name, err));
        if (fsync(dir) != 0) {
            const obv_store_class cls = file_fail_errno(err, "fsync the folder of %s", f->key);
            f->poisoned = true;
            return cls;
        }
    }
    f->created = f->dirty = false;
    return OBV_STORE_OK;
}

/*
 * A free slot; a dirty file that must give way is flushed first, and stays as poisoned when that fails. Locked;
 * *unlocked is set when the lock was let go meanwhile.
 */
static struct append_file *take_slot(struct obv_repo_handle *r, bool *unlocked)
{
    for (;;) {
        struct append_file *oldest = NULL;
        for (size_t i = 0; i < APPEND_SLOTS; i++) {
            struct append_file *f = &r->files[i];
            if (!f->key)
                return f;
            if (!f->busy && !f->poisoned && (!oldest || f->used_at < oldest->used_at))
                oldest = f;
        }
        if (!oldest) {
            /* only poisoned ones and files in use: wait for one of those, or forget the oldest poisoned one */
            for (size_t i = 0; i < APPEND_SLOTS; i++)
                if (!r->files[i].busy && (!oldest || r->files[i].used_at < oldest->used_at))
                    oldest = &r->files[i];
            if (!oldest) {
                *unlocked = true;
                (void)pthread_cond_wait(&r->idle, &r->mu);
                continue;
            }
        } else if (oldest->dirty) {
            obv_store_err ignored;
            oldest->busy = *unlocked = true;
            (void)pthread_mutex_unlock(&r->mu);
            const obv_store_class cls = flush(r, oldest, &ignored);
            (void)pthread_mutex_lock(&r->mu);
            oldest->busy = false;
            (void)pthread_cond_broadcast(&r->idle);
            if (cls != OBV_STORE_OK) {
                oldest->poisoned = true;
                continue;
            }
        }
        drop(oldest);
        return oldest;
    }
}

/* The kept file of key, marked busy; NULL if there is none. Waits while another thread has it. Locked. */
static struct append_file *acquire(struct obv_repo_handle *r, const char *key)
{
    for (;;) {
        struct append_file *f = find(r, key);
        if (!f || !f->busy) {
            if (f) {
                f->busy = true;
                f->used_at = ++r->clock;
            }
            return f;
        }
        (void)pthread_cond_wait(&r->idle, &r->mu);
    }
}

static void release(struct obv_repo_handle *r, struct append_file *f)
{
    (void)pthread_mutex_lock(&r->mu);
    f->busy = false;
    (void)pthread_cond_broadcast(&r->idle);
    (void)pthread_mutex_unlock(&r->mu);
}

/*
 * True when the kept file has lost its name: another handle or host removed or replaced it. What is written to it goes
 * nowhere, so it is forgotten. *lost tells whether appended bytes went with it.
 */
static bool is_gone(struct obv_repo_handle *r, struct append_file *f, bool *lost)
{
    struct stat st;
    if (f->poisoned || fstat(f->fd, &st) != 0 || st.st_nlink > 0)
        return false;
    *lost = f->dirty;
    (void)pthread_mutex_lock(&r->mu);
    drop(f);
    (void)pthread_cond_broadcast(&r->idle);
    (void)pthread_mutex_unlock(&r->mu);
    return true;
}

/* The file of key, busy and open. */
static obv_store_class open_kept(struct obv_repo_handle *r, const char *key, bool create, struct append_file **out,
                                 obv_store_err *err)
{
    (void)pthread_mutex_lock(&r->mu);
    struct append_file *f = acquire(r, key);
    struct append_file *slot = NULL;
    while (!f && !slot) {
        bool unlocked = false;
        slot = take_slot(r, &unlocked);
        if (unlocked) { /* another thread may have opened the same key */
            slot = NULL;
            f = acquire(r, key);
        }
    }
    if (slot) {
        f = slot;
        f->key = strdup(key);
        f->fd = -1;
        f->busy = true;
        f->used_at = ++r->clock;
        (void)pthread_mutex_unlock(&r->mu);
        const obv_store_class cls = f->key ? open_for_append(r, key, create, &f->created, &f->fd, err)
                                           : file_fail(err, OBV_STORE_RETRY, "append %s: out of memory", key);
        if (cls != OBV_STORE_OK) {
            (void)pthread_mutex_lock(&r->mu);
            drop(f);
            (void)pthread_cond_broadcast(&r->idle);
            (void)pthread_mutex_unlock(&r->mu);
            return cls;
        }
    } else {
        (void)pthread_mutex_unlock(&r->mu);
        bool lost = false;
        if (is_gone(r, f, &lost)) {
            if (lost && !create)
                return file_fail(err, OBV_STORE_NOT_FOUND, "%s was removed by somebody else, with unsynced bytes", key);
            return open_kept(r, key, create, out, err);
        }
        if (create) {
            release(r, f);
            return file_fail(err, OBV_STORE_EXISTS, "append %s at 0: it is there already", key);
        }
    }
    *out = f;
    return OBV_STORE_OK;
}

static obv_store_class append_to(struct obv_repo_handle *r, struct append_file *f, uint64_t at, const void *buf,
                                 size_t len, obv_store_err *err)
{
    if (f->poisoned)
        return file_fail(err, OBV_STORE_IO, "append %s: an earlier sync of it failed", f->key);
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return file_fail_errno(err, "stat %s", f->key);
    if (!S_ISREG(st.st_mode))
        return file_fail(err, OBV_STORE_DENIED, "append %s: not a regular file", f->key);
    if ((uint64_t)st.st_size != at)
        return file_fail(err, OBV_STORE_CONFLICT, "append %s at %llu: it has %lld bytes", f->key,
                         (unsigned long long)at, (long long)st.st_size);
    f->dirty = true;
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
    release(r, f);
    return cls;
}

static obv_store_class sync_one(struct obv_repo_handle *r, const char *key, obv_store_err *err)
{
    FILE_TRY(file_check_key(key, err));
    struct append_file *f = NULL;
    FILE_TRY(open_kept(r, key, false, &f, err));
    obv_store_class cls = OBV_STORE_OK;
    if (f->poisoned)
        cls = file_fail(err, OBV_STORE_IO, "sync %s: an earlier sync of it failed", key);
    else
        cls = flush(r, f, err);
    release(r, f);
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
    (void)pthread_mutex_lock(&r->mu);
    struct append_file *f = acquire(r, key);
    if (f) {
        drop(f);
        (void)pthread_cond_broadcast(&r->idle);
    }
    (void)pthread_mutex_unlock(&r->mu);
}

void file_append_close_all(obv_repo_handle *r)
{
    for (size_t i = 0; i < APPEND_SLOTS; i++)
        if (r->files[i].key)
            drop(&r->files[i]);
}
