/* cases_read.c - get, head, and keys */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { OBJECT = 3 << 20 };

static void need_range(struct kit_repo *r, uint64_t off, size_t len, uint8_t *buf, uint8_t *want)
{
    size_t got;
    const size_t expect = off >= OBJECT ? 0 : len < OBJECT - off ? len : (size_t)(OBJECT - off);
    need_ok(kit_get(r, "object", off, buf, len, &got), "get of %zu bytes at %llu", len, (unsigned long long)off);
    kit_fill(want, off, expect, 1);
    need(got == expect, "get of %zu bytes at %llu of an object of %d: %zu bytes, expected %zu", len,
         (unsigned long long)off, OBJECT, got, expect);
    need(memcmp(buf, want, expect) == 0, "get of %zu bytes at %llu: not the bytes that were stored", len,
         (unsigned long long)off);
}

static void ranges(struct kit *k)
{
    static const uint64_t OFFS[] = {0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 1 << 20, OBJECT / 2 + 1, OBJECT - 1};
    static const size_t LENS[] = {1, 2, 511, 512, 4096, 4097, 65536, 1 << 20, OBJECT};
    uint8_t *buf = kit_alloc(OBJECT);
    uint8_t *want = kit_alloc(OBJECT);
    kit_make(k->r, "object", OBJECT, 1);
    for (size_t i = 0; i < sizeof OFFS / sizeof *OFFS; i++)
        for (size_t j = 0; j < sizeof LENS / sizeof *LENS; j++)
            need_range(k->r, OFFS[i], LENS[j], buf, want);
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 200; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        need_range(k->r, random % OBJECT, 1 + random / OBJECT % 100000, buf, want);
    }
    free(buf);
    free(want);
}

static void past_end(struct kit *k)
{
    static const uint64_t OFFS[] = {100, 101, 4096, 1 << 20, UINT64_C(1) << 40, INT64_MAX, UINT64_MAX};
    uint8_t buf[64];
    kit_make(k->r, "object", 100, 1);
    kit_make(k->r, "empty", 0, 1);
    for (size_t i = 0; i < sizeof OFFS / sizeof *OFFS; i++) {
        size_t got;
        need_ok(kit_get(k->r, "object", OFFS[i], buf, sizeof buf, &got), "get at %llu, past the end of 100 bytes",
                (unsigned long long)OFFS[i]);
        need(got == 0, "get at %llu, past the end: %zu bytes", (unsigned long long)OFFS[i], got);
        need_ok(kit_get(k->r, "empty", OFFS[i] - 100, buf, sizeof buf, &got), "get at %llu of an empty object",
                (unsigned long long)OFFS[i] - 100);
        need(got == 0, "get at %llu of an empty object: %zu bytes", (unsigned long long)OFFS[i] - 100, got);
    }
}

static void no_bytes(struct kit *k)
{
    char buf = 'x';
    size_t got;
    kit_make(k->r, "object", 100, 1);
    need_ok(kit_get(k->r, "object", 10, &buf, 0, &got), "get of 0 bytes");
    need(got == 0 && buf == 'x', "get of 0 bytes: %zu", got);
}

static void missing(struct kit *k)
{
    kit_need_absent(k->r, "none");
    kit_need_absent(k->r, "no/folder/none");
    kit_make(k->r, "folder/object", 100, 1);
    kit_need_absent(k->r, "folder/objec");
    kit_need_absent(k->r, "folder/objects");
    kit_need_absent(k->r, "folder");              /* a part of a key is no object */
    kit_need_absent(k->r, "folder/object/below"); /* nor is anything below one */
}

static void head_sizes(struct kit *k)
{
    static const uint64_t SIZES[] = {0, 1, 511, 4096, 65537, (1 << 20) + 1};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        char key[32];
        obv_object_info info;
        memset(&info, 0xA5, sizeof info);
        (void)snprintf(key, sizeof key, "size/%llu", (unsigned long long)SIZES[i]);
        kit_make(k->r, key, SIZES[i], i);
        need_ok(kit_head(k->r, key, &info), "head");
        need(info.size == SIZES[i], "head: %llu bytes, stored were %llu", (unsigned long long)info.size,
             (unsigned long long)SIZES[i]);
        need(memchr(info.etag, '\0', sizeof info.etag), "head writes an etag without an end");
    }
}

/* A key of the longest allowed length, of components of the longest allowed length. */
static void longest_key(char *key)
{
    memset(key, 'k', OBV_KEY_MAX);
    for (size_t i = OBV_KEY_PART_MAX; i < OBV_KEY_MAX; i += OBV_KEY_PART_MAX + 1)
        key[i] = '/';
    key[OBV_KEY_MAX] = '\0';
    if (key[OBV_KEY_MAX - 1] == '/')
        key[OBV_KEY_MAX - 1] = 'k', key[OBV_KEY_MAX - 2] = '/';
}

static void odd_keys(struct kit *k)
{
    char longest[OBV_KEY_MAX + 1];
    longest_key(longest);
    /* clang-format off */
    const char *const KEYS[] = {
        "a", "A", "0", "-", "--help", "=", "+", "@", "_", "...", "..a", "a..", ".hidden", "a.b.c", "-rf/x", "x/-rf",
        "team+eu/a=b/c@x", "x+/=/@", "case/Key", "case/key", "case/KEY", ".obvault-tmpx", "x/.obvault-tmp/y", "nfs",
        "tmp", "con", "nul", "e=mc2+1", "1", "01", "d/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", longest,
    };
    /* clang-format on */
    const size_t n = sizeof KEYS / sizeof *KEYS;
    for (size_t i = 0; i < n; i++)
        kit_make(k->r, KEYS[i], 10 + i, i);
    for (size_t i = 0; i < n; i++) {
        kit_need_object(k->r, KEYS[i], 10 + i, i);
        need(kit_count(k->r, KEYS[i]).count >= 1, "a listing of \"%.100s\" does not show that object", KEYS[i]);
    }
    need(kit_count(k->r, "").count == n, "%zu odd keys are stored, a listing shows %llu", n,
         (unsigned long long)kit_count(k->r, "").count);
}

static void need_key_refused(struct kit *k, const char *key)
{
    struct kit_put put = {.r = k->r};
    obv_object_info info;
    char byte;
    size_t got;
    need_class(kit_put_begin(k->r, key, false, &put), OBV_STORE_FATAL, "put_begin of \"%.60s\"", key);
    need_class(kit_head(k->r, key, &info), OBV_STORE_FATAL, "head of \"%.60s\"", key);
    need_class(kit_get(k->r, key, 0, &byte, 1, &got), OBV_STORE_FATAL, "get of \"%.60s\"", key);
    need_class(kit_remove_one(k->r, key), OBV_STORE_FATAL, "remove of \"%.60s\"", key);
    if (k->caps & OBV_CAP_APPEND)
        need_class(kit_append(k->r, key, 0, "x", 1), OBV_STORE_FATAL, "append of \"%.60s\"", key);
    if (k->caps & OBV_CAP_SERVER_COPY)
        need_class(kit_copy(k->r, "good", key, false), OBV_STORE_FATAL, "copy to \"%.60s\"", key);
}

static void refused_keys(struct kit *k)
{
    /* clang-format off */
    static const char *const BAD[] = {
        "", "/", "/a", "a/", "a//b", "//", ".", "..", "./a", "a/.", "a/..", "a/../b", "../a", "../../etc/passwd", "a/./b",
        "a b", " ", "a\nb", "a\tb", "a\\b", "a:b", "a*", "a?", "a%2fb", "%", "a\"b", "a'b", "a&b", "a<b", "a|b", "a;b",
        "a,b", "a~", "~", "a#b", "a$b", "a(b)", "a[b]", "a{b}", "\x7f", "\x01", "\xc3\xa4", "\xff",
        ".obvault-tmp", ".obvault-tmp/x", ".nfs000001", "a/.nfs000001/b",
    };
    /* clang-format on */
    char key[OBV_KEY_MAX + 2];
    const bool keeps = !(k->caps & OBV_CAP_FORGETS);
    kit_make(k->r, "good", 100, 1);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        need_key_refused(k, BAD[i]);
    memset(key, 'k', sizeof key); /* one component too long */
    key[OBV_KEY_PART_MAX + 1] = '\0';
    need_key_refused(k, key);
    longest_key(key); /* one byte too long in all */
    key[OBV_KEY_MAX] = 'k';
    key[OBV_KEY_MAX + 1] = '\0';
    need_key_refused(k, key);
    const struct kit_count c = kit_count(k->r, "");
    need(c.count == keeps, "refused keys left objects, e.g. %.100s", c.first);
    if (keeps)
        kit_need_object(k->r, "good", 100, 1);
}

static const struct kit_case CASES[] = {
    {"read.ranges", "Get reads up to len bytes from off; *got < len only at the end of the object.", 0, 0, ranges},
    {"read.past_end", "Get past the end, at any offset: OK and 0 bytes.", 0, 0, past_end},
    {"read.no_bytes", "Get of 0 bytes is OK.", 0, 0, no_bytes},
    {"read.missing", "Get and head of what is no object are NOT_FOUND.", 0, 0, missing},
    {"read.head", "Head tells the stored size.", 0, 0, head_sizes},
    {"keys.odd", "Every key of the grammar is its own object.", 0, 0, odd_keys},
    {"keys.refused", "A key outside the grammar is FATAL in every function that takes one, and touches nothing.", 0,
     KIT_FORGETFUL, refused_keys},
};
const struct kit_group KIT_READ = KIT_GROUP(CASES);
