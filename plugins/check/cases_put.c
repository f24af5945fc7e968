/* cases_put.c - one object, from put_begin to commit or abort */
#include "kit.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HEAP_IS_COUNTED 0
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEAP_IS_COUNTED 0
#endif
#endif
#ifndef HEAP_IS_COUNTED
#define HEAP_IS_COUNTED 1
#endif

/* For any plugin, also one that forgets: every call of the way is accepted. */
static void accepts(struct kit *k)
{
    struct kit_put put;
    obv_object_info info;
    memset(&info, 0xA5, sizeof info);
    need_ok(kit_put_begin(k->r, "a/b/object", false, &put), "put_begin");
    need_ok(kit_put_write(&put, "hello ", 6), "put_write");
    need_ok(kit_put_write(&put, "world", 5), "put_write");
    need_ok(kit_put_commit(&put, &info), "put_commit");
    need(info.size == 11, "commit tells a size of %llu for 11 bytes", (unsigned long long)info.size);
    need(memchr(info.etag, '\0', sizeof info.etag), "commit writes an etag without an end");
    need_ok(kit_put_begin(k->r, "a/b/other", false, &put), "put_begin");
    need_ok(kit_put_write(&put, "x", 1), "put_write");
    kit_put_abort(&put);
}

static void commits(struct kit *k)
{
    obv_object_info info;
    kit_make(k->r, "object", 3000000, 1);
    kit_need_object(k->r, "object", 3000000, 1);
    need(kit_count(k->r, "").count == 1, "one object was put, a listing shows %llu",
         (unsigned long long)kit_count(k->r, "").count);
    memset(&info, 0xA5, sizeof info);
    need_ok(kit_head(k->r, "object", &info), "head");
    need(memchr(info.etag, '\0', sizeof info.etag), "head writes an etag without an end");
    const int64_t off = info.mtime_us / 1000000 - (int64_t)time(NULL);
    need(off > -86400 && off < 86400, "head tells a time that is %lld s off", (long long)off);
}

static void invisible(struct kit *k)
{
    struct kit_put put;
    struct kit_repo *other = kit_open(k);
    uint8_t *buf = kit_alloc(1 << 20);
    need_ok(kit_put_begin(k->r, "dir/object", true, &put), "put_begin");
    kit_need_absent(k->r, "dir/object");
    for (int i = 0; i < 24; i++) { /* enough for several parts */
        kit_fill(buf, (uint64_t)i << 20, 1 << 20, 1);
        need_ok(kit_put_write(&put, buf, 1 << 20), "put_write");
    }
    kit_need_absent(k->r, "dir/object");
    kit_need_absent(other, "dir/object");
    need(kit_count(other, "").count == 0, "before commit a listing shows %.100s", kit_count(other, "").first);
    need_ok(kit_put_commit(&put, NULL), "put_commit");
    kit_need_object(other, "dir/object", 24 << 20, 1);
    kit_close(other);
    free(buf);
}

static void empty(struct kit *k)
{
    struct kit_put put;
    char byte;
    size_t got;
    need_ok(kit_put_begin(k->r, "none", false, &put), "put_begin");
    need_ok(kit_put_commit(&put, NULL), "put_commit without a write");
    need_ok(kit_put_begin(k->r, "zero", false, &put), "put_begin");
    need_ok(kit_put_write(&put, &byte, 0), "put_write of 0 bytes");
    need_ok(kit_put_commit(&put, NULL), "put_commit");
    kit_need_object(k->r, "none", 0, 0);
    kit_need_object(k->r, "zero", 0, 0);
    need_ok(kit_get(k->r, "none", 0, &byte, 1, &got), "get of an empty object");
    need(got == 0, "get of an empty object reads %zu bytes", got);
    need(kit_count(k->r, "").count == 2, "two empty objects, a listing shows %llu",
         (unsigned long long)kit_count(k->r, "").count);
}

static void pieces(struct kit *k)
{
    /* clang-format off */
    static const size_t SIZES[] = {1, 0, 2, 3, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1, (1 << 20) - 1,
                                   (1 << 20) + 1, 5 << 20, (5 << 20) + 1, 7, 3 << 20};
    /* clang-format on */
    struct kit_put put;
    uint64_t at = 0;
    uint8_t *buf = kit_alloc(6 << 20);
    need_ok(kit_put_begin(k->r, "object", false, &put), "put_begin");
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        kit_fill(buf, at, SIZES[i], 7);
        need_ok(kit_put_write(&put, buf, SIZES[i]), "put_write of %zu bytes", SIZES[i]);
        memset(buf, '?', SIZES[i]); /* the buffer is the caller's again */
        at += SIZES[i];
    }
    need_ok(kit_put_commit(&put, NULL), "put_commit");
    kit_need_object(k->r, "object", at, 7);
    free(buf);
}

static void binary(struct kit *k)
{
    static const char *const TEXTS[] = {"\r\n\n\r\r\n", "\x1a\x1a", "\xff\xfe\x00\x00", "%s%n%%", "\xef\xbb\xbf"};
    uint8_t buf[2048];
    uint8_t back[sizeof buf];
    size_t len = 0;
    size_t got;
    for (int i = 0; i < 256; i++) /* every byte, first alone and then after a zero */
        buf[len++] = (uint8_t)i;
    for (int i = 0; i < 256; i++) {
        buf[len++] = 0;
        buf[len++] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        memcpy(buf + len, TEXTS[i], strlen(TEXTS[i]) + 1);
        len += strlen(TEXTS[i]) + 1;
    }
    memset(buf + len, 0, 64);
    len += 64;
    need_ok(kit_put_bytes(k->r, "binary", false, buf, len), "put");
    need_ok(kit_get(k->r, "binary", 0, back, sizeof back, &got), "get");
    need(got == len && memcmp(buf, back, len) == 0, "%zu bytes of all values came back as %zu others", len, got);
}

static void big(struct kit *k)
{
    struct kit_put put;
    enum { PIECE = 2 << 20 };
    const uint64_t len = k->cfg->big_bytes + 12345;
    uint8_t *buf = kit_alloc(PIECE);
    uint8_t *want = kit_alloc(PIECE);
    size_t got;
    need_ok(kit_put_begin(k->r, "big", true, &put), "put_begin");
    for (uint64_t at = 0; at < len; at += PIECE) {
        const size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE;
        kit_fill(buf, at, n, 5);
        need_ok(kit_put_write(&put, buf, n), "put_write at %llu", (unsigned long long)at);
    }
    obv_object_info info;
    need_ok(kit_put_commit(&put, &info), "put_commit of %llu bytes", (unsigned long long)len);
    need(info.size == len, "commit tells %llu bytes of %llu", (unsigned long long)info.size, (unsigned long long)len);
    for (uint64_t at = 0; at <= len; at += PIECE) {
        const size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE;
        need_ok(kit_get(k->r, "big", at, buf, PIECE, &got), "get at %llu", (unsigned long long)at);
        kit_fill(want, at, n, 5);
        need(got == n && memcmp(buf, want, n) == 0, "at %llu: %zu of %zu bytes, or others than were stored",
             (unsigned long long)at, got, n);
    }
    free(buf);
    free(want);
}

static void replaces(struct kit *k)
{
    kit_make(k->r, "object", 500000, 1);
    kit_make(k->r, "object", 1000, 2);
    kit_need_object(k->r, "object", 1000, 2);
    kit_make(k->r, "object", 700000, 3);
    kit_need_object(k->r, "object", 700000, 3);
    need(kit_count(k->r, "").count == 1, "a replaced object is listed %llu times",
         (unsigned long long)kit_count(k->r, "").count);
}

static void aborts(struct kit *k)
{
    struct kit_put put;
    uint64_t swept = 99;
    uint8_t *buf = kit_alloc(1 << 20);
    kit_make(k->r, "kept", 1000, 1);
    static const int MEGABYTES[] = {0, 1, 20};
    for (size_t i = 0; i < sizeof MEGABYTES / sizeof *MEGABYTES; i++) {
        need_ok(kit_put_begin(k->r, "dir/gone", true, &put), "put_begin");
        for (int m = 0; m < MEGABYTES[i]; m++)
            need_ok(kit_put_write(&put, buf, 1 << 20), "put_write");
        kit_put_abort(&put);
        kit_need_absent(k->r, "dir/gone");
    }
    need_ok(kit_put_begin(k->r, "kept", false, &put), "put_begin");
    need_ok(kit_put_write(&put, buf, 1 << 20), "put_write");
    kit_put_abort(&put);
    kit_need_object(k->r, "kept", 1000, 1);
    if (k->info->folder[0]) {
        const struct kit_tree t = kit_scan(k->info->folder);
        need(t.files == 1 && t.folders == 0 && t.temporaries == 0, "abort left %u files, %u folders, %u temporaries",
             t.files - 1, t.folders, t.temporaries);
    }
    need_ok(kit_sweep(k->r, 0, &swept), "sweep");
    need(swept == 0, "after abort, sweep still finds %llu unfinished uploads", (unsigned long long)swept);
    free(buf);
}

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    need(dir, "the kit itself cannot count open files");
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* Puts that end in every way there is. */
static void puts_of_every_end(struct kit_repo *r, bool exclusive)
{
    struct kit_put put;
    need_ok(kit_put_bytes(r, "dir/object", false, "x", 1), "put");
    need_ok(kit_put_begin(r, "dir/object", false, &put), "put_begin");
    need_ok(kit_put_write(&put, "y", 1), "put_write");
    kit_put_abort(&put);
    if (exclusive)
        need_class(kit_put_bytes(r, "dir/object", true, "z", 1), OBV_STORE_EXISTS, "put if absent of what is there");
}

static void consumed(struct kit *k)
{
    const bool exclusive = k->caps & OBV_CAP_IF_ABSENT && !(k->caps & OBV_CAP_FORGETS);
    for (int i = 0; i < 20; i++)
        puts_of_every_end(k->r, exclusive);
    const unsigned before = open_files();
    for (int i = 0; i < 100; i++)
        puts_of_every_end(k->r, exclusive);
    const unsigned after = open_files();
    need(after <= before + 8, "100 rounds of puts left %u files open", after - before);
}

static void leaks_no_memory(struct kit *k)
{
    if (!HEAP_IS_COUNTED)
        kit_skip("a sanitizer's heap is not counted");
    const bool exclusive = k->caps & OBV_CAP_IF_ABSENT && !(k->caps & OBV_CAP_FORGETS);
    for (int i = 0; i < 50; i++)
        puts_of_every_end(k->r, exclusive);
    const size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 300; i++)
        puts_of_every_end(k->r, exclusive);
    const size_t after = mallinfo2().uordblks;
    need(after < before + 300 * 64, "300 rounds of puts left %zu bytes of the heap in use", after - before);
}

static void folders(struct kit *k)
{
    char key[OBV_KEY_MAX + 1] = "";
    for (int i = 0; i < 20; i++)
        (void)snprintf(key + strlen(key), sizeof key - strlen(key), "level%d/", i);
    (void)strcat(key, "object");
    kit_make(k->r, key, 100, 1);
    kit_need_object(k->r, key, 100, 1);
    kit_make(k->r, "level0/beside", 200, 2);
    kit_make(k->r, "level0/level1/level2/beside", 300, 3);
    kit_need_object(k->r, "level0/beside", 200, 2);
    kit_need_object(k->r, "level0/level1/level2/beside", 300, 3);
    kit_need_object(k->r, key, 100, 1);
}

static void many_at_once(struct kit *k)
{
    enum { N = 32, ROUNDS = 5, PIECE = 100000 };
    struct kit_put put[N];
    char key[N][32];
    uint8_t *buf = kit_alloc(PIECE);
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(key[i], sizeof key[i], "open/%u", i);
        need_ok(kit_put_begin(k->r, key[i], true, &put[i]), "put_begin with %u others under way", i);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N; i++) {
            kit_fill(buf, round * PIECE, PIECE, i);
            need_ok(kit_put_write(&put[i], buf, PIECE), "put_write of %s", key[i]);
        }
    }
    for (unsigned i = N; i-- > 0;)
        need_ok(kit_put_commit(&put[i], NULL), "put_commit of %s", key[i]);
    for (unsigned i = 0; i < N; i++)
        kit_need_object(k->r, key[i], ROUNDS * PIECE, i);
    free(buf);
}

static void size_hint(struct kit *k)
{
    static const uint64_t HINTS[] = {1, 100, 1000000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof HINTS / sizeof *HINTS; i++) {
        const obv_put_opts opts = {.size = sizeof opts, .size_hint = HINTS[i]};
        struct kit_put put = {.r = k->r};
        need_ok(KIT_CALL(k->r, "put_begin", k->p->put_begin(k->r->r, "object", &opts, &put.h, err)),
                "put_begin with a size hint of %llu", (unsigned long long)HINTS[i]);
        char text[100];
        kit_fill(text, 0, sizeof text, i);
        need_ok(kit_put_write(&put, text, sizeof text), "put_write");
        need_ok(kit_put_commit(&put, NULL), "put_commit of 100 bytes after a hint of %llu",
                (unsigned long long)HINTS[i]);
        kit_need_object(k->r, "object", sizeof text, i);
        need_ok(kit_remove_one(k->r, "object"), "remove");
    }
}

static const struct kit_case CASES[] = {
    {"put.accepts", "A put is begun, written in pieces, committed or aborted; commit tells the size.", 0, KIT_FORGETFUL,
     accepts},
    {"put.commits", "After commit the object is there: whole, of the stored size, once.", 0, 0, commits},
    {"put.invisible", "Nothing is visible before commit.", 0, 0, invisible},
    {"put.empty", "An object of no bytes is an object.", 0, 0, empty},
    {"put.pieces", "One object of unknown length, in pieces of any size.", 0, 0, pieces},
    {"put.binary", "What is stored comes back byte for byte.", 0, 0, binary},
    {"put.big", "A big object is stored and read like a small one (--big).", 0, 0, big},
    {"put.replaces", "A put over an existing object replaces it whole.", OBV_CAP_REPLACE, 0, replaces},
    {"put.abort", "Abort leaves no object, no part of one, and what was there before.", 0, 0, aborts},
    {"put.consumed", "Commit and abort consume the put, also when they fail: no file stays open.", 0, KIT_FORGETFUL,
     consumed},
    {"put.no_leak", "Commit and abort consume the put: no memory is left in use.", 0, KIT_FORGETFUL | KIT_ADVISED,
     leaks_no_memory},
    {"put.folders", "Folders of a key are no business of the caller.", 0, 0, folders},
    {"put.many_at_once", "Puts of different keys may be under way at once.", 0, 0, many_at_once},
    {"put.size_hint", "size_hint is not a limit.", 0, 0, size_hint},
};
const struct kit_group KIT_PUT = KIT_GROUP(CASES);
