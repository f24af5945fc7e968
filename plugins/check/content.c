/* content.c - bytes to store, what must be found of them, and memory that ends at a guard page */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 1 << 20, CANARY = 0xA5 };

void *kit_alloc(size_t len)
{
    void *p = calloc(1, len ? len : 1);
    need(p, "the kit itself is out of memory (%zu bytes)", len);
    return p;
}

void kit_fill(void *buf, uint64_t offset, size_t len, uint64_t seed)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len;) {
        /* one splitmix64 step for each eight bytes, so that any range can be made alone */
        const uint64_t word = (offset + i) / 8;
        uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u + word * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        for (uint64_t b = (offset + i) % 8; b < 8 && i < len; b++, i++)
            p[i] = (uint8_t)(z >> (8 * b));
    }
}

void kit_make(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed)
{
    struct kit_put put;
    uint8_t *buf = kit_alloc(PIECE);
    need_ok(kit_put_begin(r, key, false, &put), "put_begin of %.100s", key);
    for (uint64_t at = 0; at < len;) {
        const size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE;
        kit_fill(buf, at, n, seed);
        need_ok(kit_put_write(&put, buf, n), "put_write of %.100s", key);
        at += n;
    }
    need_ok(kit_put_commit(&put, NULL), "put_commit of %.100s", key);
    free(buf);
}

/* NULL when all is as it must be, else what is not. */
static const char *find_difference(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed, char *why,
                                   size_t cap)
{
    obv_object_info info;
    obv_store_class cls = kit_head(r, key, &info);
    if (cls != OBV_STORE_OK) {
        (void)snprintf(why, cap, "head of %.100s: %s (%.100s)", key, kit_class_name(cls), kit_last_msg());
        return why;
    }
    if (info.size != len) {
        (void)snprintf(why, cap, "head of %.100s: %llu bytes, stored were %llu", key, (unsigned long long)info.size,
                       (unsigned long long)len);
        return why;
    }
    uint8_t *buf = kit_alloc(2 * PIECE);
    uint64_t at = 0;
    size_t got = 0;
    do {
        cls = kit_get(r, key, at, buf, PIECE, &got);
        if (cls != OBV_STORE_OK) {
            (void)snprintf(why, cap, "get of %.100s at %llu: %s (%.100s)", key, (unsigned long long)at,
                           kit_class_name(cls), kit_last_msg());
            free(buf);
            return why;
        }
        const uint64_t want = len - at < PIECE ? len - at : PIECE;
        kit_fill(buf + PIECE, at, (size_t)want, seed);
        if (got != want || memcmp(buf, buf + PIECE, got) != 0) {
            (void)snprintf(why, cap, "get of %.100s at %llu: %zu of %llu bytes, %s", key, (unsigned long long)at, got,
                           (unsigned long long)want, got == want ? "but not those that were stored" : "a short read");
            free(buf);
            return why;
        }
        at += got;
    } while (got == PIECE);
    free(buf);
    return NULL;
}

void kit_need_object(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed)
{
    char why[KIT_TEXT_MAX];
    const char *difference = find_difference(r, key, len, seed, why, sizeof why);
    need(!difference, "%s", difference);
}

bool kit_has_object(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed)
{
    char why[KIT_TEXT_MAX];
    return !find_difference(r, key, len, seed, why, sizeof why);
}

static int find_one(void *ctx, const char *key, const obv_object_info *info)
{
    (void)info;
    const char **want = ctx;
    if (strcmp(*want, key) == 0)
        *want = NULL;
    return 0;
}

void kit_need_absent(struct kit_repo *r, const char *key)
{
    obv_object_info info;
    char byte;
    size_t got;
    const char *want = key;
    need_class(kit_head(r, key, &info), OBV_STORE_NOT_FOUND, "head of %.100s, which is absent", key);
    need_class(kit_get(r, key, 0, &byte, 1, &got), OBV_STORE_NOT_FOUND, "get of %.100s, which is absent", key);
    need_ok(kit_list(r, key, find_one, &want), "list %.100s", key);
    need(want, "a listing shows %.100s, which is absent", key);
}

static int count_one(void *ctx, const char *key, const obv_object_info *info)
{
    struct kit_count *c = ctx;
    if (c->count++ == 0)
        (void)snprintf(c->first, sizeof c->first, "%s", key);
    c->bytes += info->size;
    return 0;
}

struct kit_count kit_count(struct kit_repo *r, const char *prefix)
{
    struct kit_count c = {0};
    need_ok(kit_list(r, prefix, count_one, &c), "list \"%.100s\"", prefix);
    return c;
}

void *kit_guarded(size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (len + 2 * page - 1) / page * page; /* at least one byte before it */
    uint8_t *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED && mprotect(p + room, page, PROT_NONE) == 0, "the kit itself gets no guard page");
    memset(p, CANARY, room);
    return p + room - len;
}

bool kit_guarded_intact(const void *guarded, size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t before = (len + 2 * page - 1) / page * page - len;
    const uint8_t *p = guarded;
    for (size_t i = 1; i <= before; i++)
        if (p[-(ptrdiff_t)i] != CANARY)
            return false;
    return true;
}
