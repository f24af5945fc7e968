/* flatdir.c - a complete storage plugin in one file: every object is one file of one flat folder
 *
 * An object's file is named by a hash of its key and begins with a small header that holds the key; what follows are
 * the object's bytes. So there are no folders to make, to flush and to remove, and a listing reads headers. There is no
 * append: OBV_CAP_APPEND is not claimed, append and sync stay NULL. See docs/plugin-guide.md.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <obvault/storage_plugin.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NAME_LEN = 32, HEADER_FIXED = 6, TMP_LEN = 4 + 32 }; /* bytes */
#define MAGIC "FLT1"
#define TMP_PREFIX "tmp."

struct obv_repo_handle { /* nothing in it changes after open: no lock is needed, the plugin is PARALLEL */
    obv_host host;
    char root[1024];
    int fd;
    dev_t dev; /* the folder that was opened, to notice when another file system lies there */
    ino_t ino;
};

struct obv_put_handle {
    struct obv_repo_handle *r;
    int fd;
    bool if_absent, failed;
    uint64_t size;
    char name[NAME_LEN + 1];
    char tmp[TMP_LEN + 1];
};

/* ---- errors: the class says what the caller should do, and it is known here, not guessed from a text later */

__attribute__((format(printf, 3, 4))) static obv_store_class fail(obv_store_err *err, obv_store_class cls,
                                                                  const char *fmt, ...)
{
    *err = (obv_store_err){.cls = cls};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return cls;
}

static obv_store_class class_of(int e)
{
    static const struct {
        int e;
        obv_store_class cls;
    } TABLE[] = {
        {ENOENT, OBV_STORE_NOT_FOUND}, {EEXIST, OBV_STORE_EXISTS},   {EACCES, OBV_STORE_DENIED},
        {EPERM, OBV_STORE_DENIED},     {ENOSPC, OBV_STORE_NO_SPACE}, {EDQUOT, OBV_STORE_NO_SPACE},
        {EFBIG, OBV_STORE_NO_SPACE},   {EROFS, OBV_STORE_READ_ONLY}, {ESTALE, OBV_STORE_STALE},
        {EAGAIN, OBV_STORE_RETRY},     {EINTR, OBV_STORE_RETRY},     {EMFILE, OBV_STORE_RETRY},
        {ENFILE, OBV_STORE_RETRY},     {ENOMEM, OBV_STORE_RETRY},    {ETIMEDOUT, OBV_STORE_RETRY},
        {EIO, OBV_STORE_IO},
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (TABLE[i].e == e)
            return TABLE[i].cls;
    return OBV_STORE_FATAL;
}

static obv_store_class fail_errno(obv_store_err *err, const char *what)
{
    const int e = errno;
    (void)fail(err, class_of(e), "%s: %s", what, strerrordesc_np(e));
    err->sys = e;
    return err->cls;
}

static obv_store_class check_cancel(const struct obv_repo_handle *r, obv_store_err *err)
{
    return r->host.cancelled(r->host.ctx) ? fail(err, OBV_STORE_CANCELLED, "cancelled") : OBV_STORE_OK;
}

/* Before anything is written: is the folder still the one that was opened? */
static obv_store_class check_root(const struct obv_repo_handle *r, obv_store_err *err)
{
    struct stat st;
    if (stat(r->root, &st) != 0 || st.st_dev != r->dev || st.st_ino != r->ino)
        return fail(err, OBV_STORE_STALE, "%.200s is not the folder that was opened", r->root);
    return OBV_STORE_OK;
}

/* ---- keys */

static bool key_is_valid(const char *key)
{
    static const char OK[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@=+-";
    const size_t first = strcspn(key, "/");
    if (strnlen(key, OBV_KEY_MAX + 1) > OBV_KEY_MAX ||
        (first == strlen(OBV_TMP_FOLDER) && strncmp(key, OBV_TMP_FOLDER, first) == 0))
        return false;
    for (const char *p = key;; p++) {
        const size_t len = strcspn(p, "/");
        if (len == 0 || len > OBV_KEY_PART_MAX || strspn(p, OK) < len || (len == 1 && p[0] == '.') ||
            (len == 2 && strncmp(p, "..", 2) == 0) || strncmp(p, ".nfs", 4) == 0)
            return false;
        p += len;
        if (*p == '\0')
            return true;
    }
}

/* The file's name: FNV-1a of 128 bits, in hexadecimal. A refused key is not echoed: it may hold anything. */
static obv_store_class name_of(const char *key, char *name, obv_store_err *err)
{
    if (!key_is_valid(key))
        return fail(err, OBV_STORE_FATAL, "not a key of storage_plugin.h");
    unsigned __int128 h = ((unsigned __int128)0x6c62272e07bb0142u << 64) | 0x62b821756295c58du;
    for (const char *p = key; *p; p++) {
        h ^= (unsigned char)*p;
        h *= ((unsigned __int128)1 << 88) | 0x13b;
    }
    (void)snprintf(name, NAME_LEN + 1, "%016llx%016llx", (unsigned long long)(h >> 64), (unsigned long long)h);
    return OBV_STORE_OK;
}

/* ---- files */

/* Reads the key of an open file; returns the header's length, 0 if it is no object of ours. */
static size_t read_header(int fd, char *key)
{
    unsigned char fixed[HEADER_FIXED];
    if (pread(fd, fixed, sizeof fixed, 0) != (ssize_t)sizeof fixed || memcmp(fixed, MAGIC, 4) != 0)
        return 0;
    const size_t len = (size_t)(fixed[4] | fixed[5] << 8);
    if (len == 0 || len > OBV_KEY_MAX || pread(fd, key, len, sizeof fixed) != (ssize_t)len)
        return 0;
    key[len] = '\0';
    return sizeof fixed + len;
}

static obv_store_class open_object(const struct obv_repo_handle *r, const char *key, int *fd, size_t *header,
                                   obv_object_info *info, obv_store_err *err)
{
    char name[NAME_LEN + 1];
    char found[OBV_KEY_MAX + 1];
    struct stat st;
    obv_store_class cls = name_of(key, name, err);
    if (cls == OBV_STORE_OK)
        cls = check_cancel(r, err);
    if (cls != OBV_STORE_OK)
        return cls;
    *fd = openat(r->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return fail_errno(err, "open the object");
    *header = read_header(*fd, found);
    if (*header == 0 || strcmp(found, key) != 0 || fstat(*fd, &st) != 0) {
        (void)close(*fd);
        return fail(err, OBV_STORE_CORRUPT, "the file %s is not of this key", name);
    }
    *info = (obv_object_info){.size = (uint64_t)st.st_size - *header,
                              .mtime_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000};
    return OBV_STORE_OK;
}

static obv_store_class write_all(int fd, const void *buf, size_t len, obv_store_err *err)
{
    const char *p = buf;
    while (len > 0) { /* a short write is no error */
        const ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, "write");
        p += n;
        len -= (size_t)n;
    }
    return OBV_STORE_OK;
}

static obv_store_class make_tmp(const struct obv_repo_handle *r, char *name, int *fd, obv_store_err *err)
{
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail_errno(err, "random numbers");
    (void)snprintf(name, TMP_LEN + 1, TMP_PREFIX "%016llx%016llx", (unsigned long long)random[0],
                   (unsigned long long)random[1]);
    *fd = openat(r->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return *fd < 0 ? fail_errno(err, "create a temporary") : OBV_STORE_OK;
}

/* ---- open, close, probe */

static obv_store_class flat_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                 obv_store_err *err)
{
    const char *root = NULL;
    struct stat st;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(cfg[i].key, "root") != 0)
            return fail(err, OBV_STORE_CONFIG, "unknown option %.60s (known: root)", cfg[i].key);
        root = cfg[i].value;
    }
    if (!root || root[0] != '/' || strlen(root) >= sizeof((obv_repo_handle *)0)->root)
        return fail(err, OBV_STORE_CONFIG, "option root: an absolute path is needed");
    const int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "open root");
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    if (!r || fstat(fd, &st) != 0) {
        (void)close(fd);
        free(r);
        return fail(err, OBV_STORE_RETRY, "open: out of memory");
    }
    memcpy(&r->host, host, host->size < sizeof r->host ? host->size : sizeof r->host);
    (void)strcpy(r->root, root); /* options are ours only during this call */
    r->fd = fd;
    r->dev = st.st_dev;
    r->ino = st.st_ino;
    *out = r;
    return OBV_STORE_OK;
}

static void flat_close(obv_repo_handle *r)
{
    (void)close(r->fd);
    free(r);
}

/* What is claimed is what link and rename do on every POSIX file system; a plugin that cannot know tries it out here.
 */
static obv_store_class flat_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    struct statvfs v;
    const obv_store_class cls = check_root(r, err);
    if (cls != OBV_STORE_OK)
        return cls;
    if (fstatvfs(r->fd, &v) != 0)
        return fail_errno(err, "statvfs");
    *out = (obv_probe_result){.caps = OBV_CAP_IF_ABSENT | OBV_CAP_REPLACE,
                              .free_bytes = (uint64_t)v.f_bavail * v.f_frsize};
    (void)snprintf(out->identity, sizeof out->identity, "flat folder %.120s", r->root);
    return OBV_STORE_OK;
}

/* ---- put: a temporary, flushed, then named in one step, and the name flushed */

static void put_free(struct obv_put_handle *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    (void)unlinkat(p->r->fd, p->tmp, 0);
    free(p);
}

static obv_store_class flat_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts,
                                      obv_put_handle **out, obv_store_err *err)
{
    char name[NAME_LEN + 1];
    obv_store_class cls = name_of(key, name, err);
    if (cls == OBV_STORE_OK)
        cls = check_cancel(r, err);
    if (cls == OBV_STORE_OK)
        cls = check_root(r, err);
    if (cls != OBV_STORE_OK)
        return cls;
    struct obv_put_handle *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, OBV_STORE_RETRY, "put: out of memory");
    p->r = r;
    p->if_absent = opts->if_absent != 0;
    memcpy(p->name, name, sizeof name);
    cls = make_tmp(r, p->tmp, &p->fd, err);
    if (cls != OBV_STORE_OK) {
        free(p);
        return cls;
    }
    const size_t len = strlen(key);
    unsigned char header[HEADER_FIXED + OBV_KEY_MAX] = MAGIC;
    header[4] = (unsigned char)(len & 0xff);
    header[5] = (unsigned char)(len >> 8);
    memcpy(header + HEADER_FIXED, key, len);
    cls = write_all(p->fd, header, HEADER_FIXED + len, err);
    if (cls != OBV_STORE_OK) {
        put_free(p);
        return cls;
    }
    *out = p;
    return OBV_STORE_OK;
}

static obv_store_class flat_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err)
{
    obv_store_class cls = p->failed ? fail(err, OBV_STORE_FATAL, "an earlier write failed") : check_cancel(p->r, err);
    if (cls == OBV_STORE_OK)
        cls = write_all(p->fd, buf, len, err);
    p->failed = p->failed || cls != OBV_STORE_OK;
    p->size += cls == OBV_STORE_OK ? len : 0;
    return cls;
}

static obv_store_class commit(struct obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    struct stat st;
    obv_store_class cls = p->failed ? fail(err, OBV_STORE_FATAL, "an earlier write failed") : check_cancel(p->r, err);
    if (cls == OBV_STORE_OK)
        cls = check_root(p->r, err);
    if (cls != OBV_STORE_OK)
        return cls;
    if (fsync(p->fd) != 0 || fstat(p->fd, &st) != 0)
        return fail_errno(err, "fsync");
    const int fd = p->fd;
    p->fd = -1;
    if (close(fd) != 0) /* on NFS this is where a quota shows */
        return fail_errno(err, "close");
    if (p->if_absent ? linkat(p->r->fd, p->tmp, p->r->fd, p->name, 0) != 0
                     : renameat(p->r->fd, p->tmp, p->r->fd, p->name) != 0)
        return fail_errno(err, "give the object its name");
    if (fsync(p->r->fd) != 0) {
        cls = fail_errno(err, "fsync the folder");
        if (p->if_absent) /* a name that may not survive a crash must not stop a repeat of this put */
            (void)unlinkat(p->r->fd, p->name, 0);
        return cls;
    }
    *out = (obv_object_info){.size = p->size,
                             .mtime_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000};
    return OBV_STORE_OK;
}

static obv_store_class flat_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err)
{
    const obv_store_class cls = commit(p, out, err);
    put_free(p); /* consumed, whatever happened */
    return cls;
}

static void flat_put_abort(obv_put_handle *p) { put_free(p); }

/* ---- reading */

static obv_store_class flat_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                                obv_store_err *err)
{
    obv_object_info info;
    size_t header;
    int fd;
    obv_store_class cls = open_object(r, key, &fd, &header, &info, err);
    if (cls != OBV_STORE_OK)
        return cls;
    const uint64_t left = off < info.size ? info.size - off : 0;
    const size_t want = left < len ? (size_t)left : len;
    size_t done = 0;
    while (done < want) {
        const ssize_t n = pread(fd, (char *)buf + done, want - done, (off_t)(header + off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            cls = n < 0 ? fail_errno(err, "read") : fail(err, OBV_STORE_RETRY, "the file became shorter");
            break;
        }
        done += (size_t)n;
    }
    (void)close(fd);
    if (cls == OBV_STORE_OK)
        *got = done;
    return cls;
}

static obv_store_class flat_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err)
{
    size_t header;
    int fd;
    const obv_store_class cls = open_object(r, key, &fd, &header, out, err);
    if (cls == OBV_STORE_OK)
        (void)close(fd);
    return cls;
}

/* Shows one file to the listing if it is an object with the prefix; true when the callback said stop. */
static bool show(const struct obv_repo_handle *r, const char *name, const char *prefix, obv_list_fn *fn, void *ctx)
{
    char key[OBV_KEY_MAX + 1];
    struct stat st;
    bool stop = false;
    const int fd = openat(r->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false; /* removed meanwhile */
    const size_t header = read_header(fd, key);
    if (header > 0 && strncmp(key, prefix, strlen(prefix)) == 0 && fstat(fd, &st) == 0) {
        const obv_object_info info = {.size = (uint64_t)st.st_size - header,
                                      .mtime_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000};
        stop = fn(ctx, key, &info) != 0;
    }
    (void)close(fd);
    return stop;
}

static DIR *open_dir(const struct obv_repo_handle *r)
{
    const int fd = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        (void)close(fd);
    return dir;
}

static obv_store_class flat_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err)
{
    obv_store_class cls = OBV_STORE_OK;
    DIR *dir = open_dir(r);
    if (!dir)
        return fail_errno(err, "open the folder");
    for (;;) {
        cls = check_cancel(r, err);
        errno = 0;
        const struct dirent *e = cls == OBV_STORE_OK ? readdir(dir) : NULL;
        if (!e) {
            if (cls == OBV_STORE_OK && errno != 0)
                cls = fail_errno(err, "read the folder");
            break;
        }
        if (strlen(e->d_name) == NAME_LEN && show(r, e->d_name, prefix, fn, ctx)) /* temporaries are longer */
            break;
    }
    (void)closedir(dir);
    return cls;
}

/* ---- removing */

static obv_store_class remove_one(const struct obv_repo_handle *r, const char *key, obv_store_err *err)
{
    char name[NAME_LEN + 1];
    obv_store_class cls = name_of(key, name, err);
    if (cls == OBV_STORE_OK)
        cls = check_cancel(r, err);
    if (cls == OBV_STORE_OK && unlinkat(r->fd, name, 0) != 0 && errno != ENOENT) /* absent is OK */
        cls = fail_errno(err, "remove");
    return cls;
}

static obv_store_class flat_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                                   obv_store_err *err)
{
    obv_store_class first = check_root(r, err);
    for (size_t i = 0; first == OBV_STORE_STALE && i < n; i++)
        results[i] = first;
    if (first != OBV_STORE_OK)
        return first;
    for (size_t i = 0; i < n; i++) { /* one that fails stops no other */
        obv_store_err one;
        results[i] = remove_one(r, keys[i], &one);
        if (results[i] != OBV_STORE_OK && first == OBV_STORE_OK) {
            first = results[i];
            *err = one;
        }
    }
    if (first == OBV_STORE_OK && fsync(r->fd) != 0) {
        first = fail_errno(err, "fsync the folder");
        for (size_t i = 0; i < n; i++)
            results[i] = first;
    }
    return first;
}

static obv_store_class flat_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err)
{
    char mine[TMP_LEN + 1];
    struct stat now;
    struct stat st;
    int fd;
    *swept = 0;
    obv_store_class cls = check_root(r, err);
    if (cls == OBV_STORE_OK)
        cls = make_tmp(r, mine, &fd, err); /* its time is the storage's own clock, which may differ from this host's */
    if (cls != OBV_STORE_OK)
        return cls;
    if (fstat(fd, &now) != 0)
        cls = fail_errno(err, "stat");
    (void)close(fd);
    (void)unlinkat(r->fd, mine, 0);
    DIR *dir = cls == OBV_STORE_OK ? open_dir(r) : NULL;
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, TMP_PREFIX, 4) == 0 && fstatat(r->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_mtim.tv_sec <= now.st_mtim.tv_sec && (uint64_t)(now.st_mtim.tv_sec - st.st_mtim.tv_sec) >= age_s &&
            unlinkat(r->fd, e->d_name, 0) == 0)
            ++*swept;
    }
    if (dir)
        (void)closedir(dir);
    return cls;
}

/* ---- the table */

static const obv_option OPTIONS[] = {
    {"root", OBV_OPTION_FOLDER, OBV_OPTION_REQUIRED, "", "Folder that holds the objects; it must exist."},
};

static const obv_storage_plugin FLATDIR = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
    .abi_minor = OBV_STORAGE_ABI_MINOR,
    .threads = OBV_THREADS_PARALLEL,
    .caps = OBV_CAP_IF_ABSENT | OBV_CAP_REPLACE,
    .name = "flatdir",
    .version = "1.0.0",
    .open = flat_open,
    .close = flat_close,
    .probe = flat_probe,
    .put_begin = flat_put_begin,
    .put_write = flat_put_write,
    .put_commit = flat_put_commit,
    .put_abort = flat_put_abort,
    .get = flat_get,
    .head = flat_head,
    .list = flat_list,
    .remove = flat_remove,
    .sweep = flat_sweep,
    .options = OPTIONS,
    .option_count = sizeof OPTIONS / sizeof *OPTIONS,
};

OBV_STORAGE_PLUGIN_EXPORT(FLATDIR)
