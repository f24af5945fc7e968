/* util.c - see util.h */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <nmmintrin.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void oom(void)
{
    static const char text[] = "obstandin: out of memory\n";
    if (write(2, text, sizeof text - 1) < 0)
        _exit(71);
    _exit(70);
}

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        oom();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        oom();
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        oom();
    return q;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        oom();
    va_end(ap);
    return s;
}

void ob_free(struct obuf *b)
{
    free(b->p);
    *b = (struct obuf){0};
}

uint8_t *ob_grow(struct obuf *b, size_t n)
{
    if (b->n + n > b->cap) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->n + n)
            cap *= 2;
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    }
    b->n += n;
    return b->p + b->n - n;
}

void ob_put(struct obuf *b, const void *p, size_t n)
{
    uint8_t *to = ob_grow(b, n);
    if (n)
        memcpy(to, p, n);
}

void ob_zero(struct obuf *b, size_t n)
{
    uint8_t *to = ob_grow(b, n);
    if (n)
        memset(to, 0, n);
}

void ob_u8(struct obuf *b, unsigned v) { *ob_grow(b, 1) = (uint8_t)v; }
void ob_le16(struct obuf *b, uint16_t v) { ob_put(b, &v, 2); }
void ob_le32(struct obuf *b, uint32_t v) { ob_put(b, &v, 4); }
void ob_le64(struct obuf *b, uint64_t v) { ob_put(b, &v, 8); }
void ob_be16(struct obuf *b, uint16_t v) { ob_le16(b, __builtin_bswap16(v)); }
void ob_be32(struct obuf *b, uint32_t v) { ob_le32(b, __builtin_bswap32(v)); }
void ob_be64(struct obuf *b, uint64_t v) { ob_le64(b, __builtin_bswap64(v)); }

void ob_vi(struct obuf *b, uint64_t v)
{
    while (v >= 0x80) {
        ob_u8(b, (unsigned)(v & 0x7f) | 0x80);
        v >>= 7;
    }
    ob_u8(b, (unsigned)v);
}

void ob_vs(struct obuf *b, int64_t v) { ob_vi(b, (uint64_t)v); }
void ob_vi32(struct obuf *b, int32_t v) { ob_vi(b, (uint32_t)v); }

void ob_vstr(struct obuf *b, const void *p, size_t n)
{
    ob_vi(b, n);
    ob_put(b, p, n);
    ob_u8(b, 0);
}

size_t unis_begin(struct obuf *b, unsigned version)
{
    ob_vi(b, version);
    size_t at = b->n;
    ob_zero(b, 5);
    return at;
}

void unis_end(struct obuf *b, size_t at)
{
    uint64_t len = b->n - at - 5;
    for (int i = 0; i < 4; i++)
        b->p[at + (size_t)i] = (uint8_t)((len >> (7 * i)) & 0x7f) | 0x80;
    b->p[at + 4] = (uint8_t)((len >> 28) & 0x7f);
}

const uint8_t *in_bytes(struct oin *r, size_t n)
{
    if (r->bad || r->n - r->at < n) {
        r->bad = true;
        return NULL;
    }
    r->at += n;
    return r->p + r->at - n;
}

#define IN_FIXED(name, type, load)                                                                                     \
    type name(struct oin *r)                                                                                           \
    {                                                                                                                  \
        const uint8_t *p = in_bytes(r, sizeof(type));                                                                  \
        return p ? load(p) : 0;                                                                                        \
    }

uint8_t in_u8(struct oin *r)
{
    const uint8_t *p = in_bytes(r, 1);
    return p ? *p : 0;
}
IN_FIXED(in_be16, uint16_t, ldbe16)
IN_FIXED(in_be32, uint32_t, ldbe32)
IN_FIXED(in_be64, uint64_t, ldbe64)
IN_FIXED(in_le16, uint16_t, ld16)
IN_FIXED(in_le32, uint32_t, ld32)
IN_FIXED(in_le64, uint64_t, ld64)

uint64_t in_vi(struct oin *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        uint8_t c = in_u8(r);
        if (r->bad)
            return 0;
        if (shift < 64)
            v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

int32_t in_vi32(struct oin *r)
{
    uint64_t v = in_vi(r);
    if (v > UINT32_MAX)
        r->bad = true;
    return (int32_t)(uint32_t)v;
}

bool in_unis(struct oin *r, unsigned version, struct oin *body)
{
    uint64_t v = in_vi(r);
    uint64_t len = in_vi(r);
    if (!r->bad && v != version)
        r->bad = true;
    const uint8_t *p = r->bad ? NULL : in_bytes(r, len);
    *body = (struct oin){.p = p, .n = p ? len : 0, .bad = !p};
    return p != NULL;
}

uint16_t ld16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

uint32_t ld32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

uint64_t ld64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

uint16_t ldbe16(const uint8_t *p) { return __builtin_bswap16(ld16(p)); }
uint32_t ldbe32(const uint8_t *p) { return __builtin_bswap32(ld32(p)); }
uint64_t ldbe64(const uint8_t *p) { return __builtin_bswap64(ld64(p)); }
void st32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
void st64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
void stbe32(uint8_t *p, uint32_t v) { st32(p, __builtin_bswap32(v)); }
void stbe64(uint8_t *p, uint64_t v) { st64(p, __builtin_bswap64(v)); }

__attribute__((target("sse4.2"))) static uint32_t crc_hw(uint32_t c, const uint8_t *p, size_t n)
{
    uint64_t r = c;
    for (; n >= 8; n -= 8, p += 8)
        r = _mm_crc32_u64(r, ld64(p));
    c = (uint32_t)r;
    for (; n; n--, p++)
        c = _mm_crc32_u8(c, *p);
    return c;
}

uint64_t ob_crc(uint64_t init, const void *p, size_t n)
{
    if (!n)
        return init;
    uint32_t c = (uint32_t)init;
    const uint8_t *q = p;
    if (__builtin_cpu_supports("sse4.2"))
        return crc_hw(c, q, n);
    for (; n; n--, q++) {
        c ^= *q;
        for (int i = 0; i < 8; i++)
            c = (c >> 1) ^ (0x82F63B78u & (0u - (c & 1)));
    }
    return c;
}

uint64_t murmur64a(const void *key, size_t n, uint64_t seed)
{
    const uint64_t m = 0xc6a4a7935bd1e995u;
    const uint8_t *p = key;
    uint64_t h = seed ^ (n * m);
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t k = ld64(p) * m;
        k ^= k >> 47;
        h = (h ^ (k * m)) * m;
    }
    if (n) {
        uint64_t k = 0;
        memcpy(&k, p, n);
        h = (h ^ k) * m;
    }
    h ^= h >> 47;
    h *= m;
    return h ^ (h >> 47);
}

uint16_t fold64(uint64_t v) { return (uint16_t)(v ^ (v >> 16) ^ (v >> 32) ^ (v >> 48)); }
uint16_t fold32(uint32_t v) { return (uint16_t)(v ^ (v >> 16)); }

int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void sleep_us(int64_t us)
{
    if (us <= 0)
        return;
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

uint64_t rnd_next(uint64_t *s)
{
    uint64_t x = *s ? *s : 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *s = x;
}

int mkdirs(const char *path)
{
    char *s = xstrdup(path);
    int rc = 0;
    for (char *p = s + 1;; p++) {
        if (*p != '/' && *p)
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(s, 0755) < 0 && errno != EEXIST)
            rc = -errno;
        *p = c;
        if (!c)
            break;
    }
    free(s);
    return rc;
}

int pwrite_all(int fd, const void *p, size_t n, int64_t off)
{
    const uint8_t *q = p;
    while (n) {
        ssize_t w = pwrite(fd, q, n, off);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -EIO;
        q += w;
        off += w;
        n -= (size_t)w;
    }
    return 0;
}

int pread_all(int fd, void *p, size_t n, int64_t off)
{
    uint8_t *q = p;
    while (n) {
        ssize_t r = pread(fd, q, n, off);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        q += r;
        off += r;
        n -= (size_t)r;
    }
    return 0;
}

int write_file(const char *path, const void *p, size_t n)
{
    char *tmp = xasprintf("%s.new.%d.%d", path, (int)getpid(), (int)gettid());
    int fd = open(tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    int rc = fd < 0 ? -errno : pwrite_all(fd, p, n, 0);
    if (fd >= 0)
        close(fd);
    if (!rc && rename(tmp, path) < 0)
        rc = -errno;
    if (rc)
        unlink(tmp);
    free(tmp);
    return rc;
}

uint8_t *read_file(const char *path, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat st;
    uint8_t *p = NULL;
    if (fstat(fd, &st) == 0) {
        p = xmalloc((size_t)st.st_size + 1);
        if (pread_all(fd, p, (size_t)st.st_size, 0) < 0) {
            free(p);
            p = NULL;
        } else {
            p[st.st_size] = 0;
            *n = (size_t)st.st_size;
        }
    }
    close(fd);
    return p;
}
