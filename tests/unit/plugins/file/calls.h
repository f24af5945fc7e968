/* calls.h - stands between the file plugin and the system: records the calls, fails the one that a test names */
#ifndef OBV_TEST_FILE_CALLS_H
#define OBV_TEST_FILE_CALLS_H

#include "obvault/storage_plugin.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls of interest since calls_reset, one letter each: W pwrite, F fsync of a file, D fsync of a folder, L linkat,
 * R renameat, M mkdirat, C close of a file opened for writing, U unlinkat. */
static struct {
    char seen[4096];
    size_t count;
    char fail_call; /* letter to fail, 0 = none */
    int fail_nth;   /* 1 = the first */
    int fail_errno;
    bool fail_after; /* the call is done, then reported as failed */
    bool short_writes;
} calls;

static inline void calls_reset(void) { memset(&calls, 0, sizeof calls); }

static inline void calls_fail(char call, int nth, int e)
{
    calls_reset();
    calls.fail_call = call;
    calls.fail_nth = nth;
    calls.fail_errno = e;
}

/* Records; true if this one must fail. */
static inline bool calls_note(char letter)
{
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mu);
    if (calls.count + 1 < sizeof calls.seen)
        calls.seen[calls.count++] = letter;
    const bool fails = letter == calls.fail_call && --calls.fail_nth == 0;
    pthread_mutex_unlock(&mu);
    if (fails)
        errno = calls.fail_errno;
    return fails;
}

int __real_fsync(int fd);
int __real_linkat(int a, const char *b, int c, const char *d, int flags);
int __real_renameat(int a, const char *b, int c, const char *d);
int __real_mkdirat(int a, const char *b, mode_t mode);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t at);
int __real_close(int fd);
int __real_unlinkat(int a, const char *b, int flags);
int __wrap_fsync(int fd);
int __wrap_linkat(int a, const char *b, int c, const char *d, int flags);
int __wrap_renameat(int a, const char *b, int c, const char *d);
int __wrap_mkdirat(int a, const char *b, mode_t mode);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at);
int __wrap_close(int fd);
int __wrap_unlinkat(int a, const char *b, int flags);

int __wrap_fsync(int fd)
{
    struct stat st;
    const bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    return calls_note(dir ? 'D' : 'F') ? -1 : __real_fsync(fd);
}
int __wrap_linkat(int a, const char *b, int c, const char *d, int flags)
{
    if (calls_note('L')) {
        if (calls.fail_after)
            (void)!__real_linkat(a, b, c, d, flags);
        errno = calls.fail_errno;
        return -1;
    }
    return __real_linkat(a, b, c, d, flags);
}
int __wrap_renameat(int a, const char *b, int c, const char *d)
{
    return calls_note('R') ? -1 : __real_renameat(a, b, c, d);
}
int __wrap_mkdirat(int a, const char *b, mode_t mode) { return calls_note('M') ? -1 : __real_mkdirat(a, b, mode); }
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at)
{
    if (calls_note('W'))
        return -1;
    return __real_pwrite(fd, buf, calls.short_writes && len > 1 ? len / 2 : len, at);
}
int __wrap_close(int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    if ((flags & O_ACCMODE) != O_RDONLY && calls_note('C')) {
        (void)__real_close(fd);
        errno = calls.fail_errno;
        return -1;
    }
    return __real_close(fd);
}
int __wrap_unlinkat(int a, const char *b, int flags) { return calls_note('U') ? -1 : __real_unlinkat(a, b, flags); }

/* ---- a repository in a folder of its own */
extern const obv_storage_plugin *obv_storage_plugin_v0(void);

struct bench {
    const obv_storage_plugin *p;
    obv_repo_handle *r;
    char root[32];
    int cancelled;
};

static inline int bench_cancelled(void *ctx) { return ((struct bench *)ctx)->cancelled; }

static inline obv_store_class bench_open(struct bench *b, obv_store_err *err)
{
    const obv_host host = {.size = sizeof host, .ctx = b, .cancelled = bench_cancelled};
    const obv_kv kv[] = {{"root", b->root}};
    return b->p->open(&host, kv, 1, &b->r, err);
}

static inline int bench_setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    obv_store_err err = {0};
    (void)strcpy(b->root, "/tmp/obv-file-XXXXXX");
    b->p = obv_storage_plugin_v0();
    if (!mkdtemp(b->root) || bench_open(b, &err) != OBV_STORE_OK)
        return -1;
    calls_reset();
    *state = b;
    return 0;
}

static inline int bench_teardown(void **state)
{
    struct bench *b = *state;
    char cmd[256];
    calls_reset();
    b->p->close(b->r);
    (void)snprintf(cmd, sizeof cmd, "chmod -R u+rwx %s; rm -rf %s", b->root, b->root);
    const int rc = system(cmd);
    free(b);
    return rc;
}

static inline obv_store_class bench_put(const struct bench *b, const char *key, const char *text, bool if_absent,
                                        obv_store_err *err)
{
    const obv_put_opts opts = {.size = sizeof opts, .if_absent = if_absent};
    obv_put_handle *put = NULL;
    obv_store_class cls = b->p->put_begin(b->r, key, &opts, &put, err);
    if (cls != OBV_STORE_OK)
        return cls;
    cls = b->p->put_write(put, text, strlen(text), err);
    if (cls != OBV_STORE_OK) {
        b->p->put_abort(put);
        return cls;
    }
    obv_object_info info;
    return b->p->put_commit(put, &info, err);
}

/* The object's text, "" if it is not there. */
static inline const char *bench_text(const struct bench *b, const char *key)
{
    static char buf[4096];
    size_t got = 0;
    obv_store_err err;
    buf[0] = '\0';
    if (b->p->get(b->r, key, 0, buf, sizeof buf - 1, &got, &err) == OBV_STORE_OK)
        buf[got] = '\0';
    return buf;
}

static inline int bench_count_one(void *ctx, const char *key, const obv_object_info *info)
{
    (void)key, (void)info;
    ++*(int *)ctx;
    return 0;
}

static inline int bench_count(const struct bench *b, const char *prefix)
{
    int n = 0;
    obv_store_err err;
    assert_int_equal(b->p->list(b->r, prefix, bench_count_one, &n, &err), OBV_STORE_OK);
    return n;
}

/* Temporaries left in the repository. */
static inline int bench_leftovers(const struct bench *b)
{
    char cmd[256];
    (void)snprintf(cmd, sizeof cmd, "exit $(ls -A %s/.obvault-tmp 2>/dev/null | wc -l)", b->root);
    const int rc = system(cmd);
    return WEXITSTATUS(rc);
}

#endif
