#include "pipe/pool.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define COUNT_MAX 65536u
#define CHECK_MS 50 /* how soon a waiting taker sees a cancel */

struct obv_pool {
    pthread_mutex_t mu;
    pthread_cond_t cv;
    uint8_t *memory;
    size_t memory_len, buf_bytes;
    uint32_t count, free_count;
    void **free_bufs; /* stack of free_count */
    struct taker *first, *last;
    uint64_t waited_ns;
};

/* One thread in the queue; lives on its stack. Only the first may take. */
struct taker {
    struct taker *next;
};

obv_code obv_pool_new(size_t buf_bytes, uint32_t count, obv_pool **out, obv_err *err)
{
    size_t total;
    if (buf_bytes == 0 || buf_bytes > SIZE_MAX - OBV_POOL_ALIGN || count == 0 || count > COUNT_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "pool of %u buffers of %zu bytes", count, buf_bytes);
    buf_bytes = (buf_bytes + OBV_POOL_ALIGN - 1) / OBV_POOL_ALIGN * OBV_POOL_ALIGN;
    if (__builtin_mul_overflow(buf_bytes, (size_t)count, &total))
        return obv_fail(err, OBV_E_INVAL, 0, "pool of %u buffers of %zu bytes", count, buf_bytes);
    obv_pool *p = calloc(1, sizeof *p);
    void **bufs = calloc(count, sizeof *bufs);
    /* faulted in now: a host without the memory says so at start, not in the middle of a backup */
    void *memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (!p || !bufs || memory == MAP_FAILED) {
        free(p);
        free(bufs);
        if (memory != MAP_FAILED)
            (void)munmap(memory, total);
        return obv_fail(err, OBV_E_NOMEM, ENOMEM, "pool of %u buffers of %zu bytes", count, buf_bytes);
    }
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&p->mu, NULL);
    (void)pthread_cond_init(&p->cv, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    p->memory = memory;
    p->memory_len = total;
    p->buf_bytes = buf_bytes;
    p->count = p->free_count = count;
    p->free_bufs = bufs;
    for (uint32_t i = 0; i < count; i++)
        bufs[i] = p->memory + (size_t)(count - 1 - i) * buf_bytes;
    *out = p;
    return OBV_OK;
}

void obv_pool_free(obv_pool *p)
{
    if (!p)
        return;
    obv_assert(p->free_count == p->count);
    (void)munmap(p->memory, p->memory_len);
    (void)pthread_cond_destroy(&p->cv);
    (void)pthread_mutex_destroy(&p->mu);
    free(p->free_bufs);
    free(p);
}

size_t obv_pool_buf_bytes(const obv_pool *p) { return p->buf_bytes; }
uint32_t obv_pool_count(const obv_pool *p) { return p->count; }

uint32_t obv_pool_available(obv_pool *p)
{
    pthread_mutex_lock(&p->mu);
    const uint32_t n = p->free_count;
    pthread_mutex_unlock(&p->mu);
    return n;
}

uint64_t obv_pool_waited_ns(obv_pool *p)
{
    pthread_mutex_lock(&p->mu);
    const uint64_t ns = p->waited_ns;
    pthread_mutex_unlock(&p->mu);
    return ns;
}

static void leave_queue(obv_pool *p, const struct taker *me)
{
    struct taker *before = NULL;
    struct taker **at = &p->first;
    while (*at != me) {
        before = *at;
        at = &before->next;
    }
    *at = me->next;
    if (p->last == me)
        p->last = before;
    pthread_cond_broadcast(&p->cv); /* there may be a new first */
}

obv_code obv_pool_take(obv_pool *p, uint32_t n, void **bufs, const obv_cancel *c, obv_err *err)
{
    if (n > p->count)
        return obv_fail(err, OBV_E_LIMIT, 0, "%u buffers wanted, the pool has %u: raise pool_mib", n, p->count);
    struct taker me = {0};
    obv_code code = OBV_OK;
    pthread_mutex_lock(&p->mu);
    if (p->last)
        p->last->next = &me;
    else
        p->first = &me;
    p->last = &me;
    const int64_t began_at = obv_mono_ns();
    while (p->first != &me || p->free_count < n) {
        code = obv_cancel_check(c, "wait for buffers", err);
        if (code != OBV_OK)
            break;
        const int64_t at = obv_mono_ns() + CHECK_MS * OBV_NS_PER_MS;
        const struct timespec until = {.tv_sec = at / OBV_NS_PER_S, .tv_nsec = at % OBV_NS_PER_S};
        (void)pthread_cond_timedwait(&p->cv, &p->mu, &until);
    }
    if (code == OBV_OK) {
        p->free_count -= n;
        memcpy(bufs, p->free_bufs + p->free_count, n * sizeof *bufs);
    }
    p->waited_ns += (uint64_t)(obv_mono_ns() - began_at);
    leave_queue(p, &me);
    pthread_mutex_unlock(&p->mu);
    return code;
}

void obv_pool_give(obv_pool *p, uint32_t n, void *const *bufs)
{
    pthread_mutex_lock(&p->mu);
    obv_assert(n <= p->count - p->free_count);
    memcpy(p->free_bufs + p->free_count, bufs, n * sizeof *bufs);
    p->free_count += n;
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
}
