/* cases_crash.c - processes that are killed, and what they leave */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { OBJECT = 12 << 20, PIECE = 1 << 20 };

static void write_half(struct kit *k, struct kit_repo *r, void *ctx)
{
    struct kit_put put;
    uint8_t *buf = kit_alloc(PIECE);
    (void)k, (void)ctx;
    need_ok(kit_put_begin(r, "dir/object", true, &put), "put_begin");
    for (int i = 0; i < 12; i++)
        need_ok(kit_put_write(&put, buf, PIECE), "put_write");
}

static void before_commit(struct kit *k)
{
    kit_killed_child(k, write_half, NULL);
    k->r = kit_open(k);
    kit_need_absent(k->r, "dir/object");
    need(kit_count(k->r, "").count == 0, "killed before commit, a listing shows %.100s", kit_count(k->r, "").first);
    need_ok(kit_put_bytes(k->r, "dir/object", true, "x", 1), "a put of the key whose writer was killed");
}

static void write_all(struct kit *k, struct kit_repo *r, void *ctx)
{
    (void)k, (void)ctx;
    kit_make(r, "dir/object", OBJECT, 1);
}

static void after_commit(struct kit *k)
{
    kit_killed_child(k, write_all, NULL);
    k->r = kit_open(k);
    kit_need_object(k->r, "dir/object", OBJECT, 1);
}

static void append_and_sync(struct kit *k, struct kit_repo *r, void *ctx)
{
    const char *keys[] = {"log/1", "log/2"};
    obv_store_class results[2];
    uint8_t *buf = kit_alloc(PIECE);
    (void)k, (void)ctx;
    for (uint64_t i = 0; i < 3; i++) {
        kit_fill(buf, i * PIECE, PIECE, 1);
        need_ok(kit_append(r, keys[0], i * PIECE, buf, PIECE), "append");
        need_ok(kit_append(r, keys[1], i * PIECE, buf, PIECE), "append");
    }
    need_ok(kit_sync(r, keys, 2, results), "sync");
}

static void after_sync(struct kit *k)
{
    kit_killed_child(k, append_and_sync, NULL);
    k->r = kit_open(k);
    kit_need_object(k->r, "log/1", 3 * PIECE, 1);
    kit_need_object(k->r, "log/2", 3 * PIECE, 1);
    uint8_t *buf = kit_alloc(PIECE);
    kit_fill(buf, 3 * PIECE, PIECE, 1);
    need_ok(kit_append(k->r, "log/1", 3 * PIECE, buf, PIECE), "append after the writer was killed");
    kit_need_object(k->r, "log/1", 4 * PIECE, 1);
    free(buf);
}

static void replace_often(struct kit *k, struct kit_repo *r, void *ctx)
{
    (void)k, (void)ctx;
    for (int i = 0; i < 20; i++)
        kit_make(r, "object", i % 2 ? 1000 : 2000, i % 2 ? 1 : 2);
    struct kit_put put;
    need_ok(kit_put_begin(r, "object", false, &put), "put_begin");
    need_ok(kit_put_write(&put, "half", 4), "put_write");
}

static void while_replacing(struct kit *k)
{
    kit_killed_child(k, replace_often, NULL);
    k->r = kit_open(k);
    kit_need_object(k->r, "object", 1000, 1);
    need(kit_count(k->r, "").count == 1, "killed while replacing, a listing shows %llu objects of 1",
         (unsigned long long)kit_count(k->r, "").count);
}

static const struct kit_case CASES[] = {
    {"crash.before_commit", "Killed between write and commit: nothing is visible, and the key is free.", 0, KIT_NO_OPEN,
     before_commit},
    {"crash.after_commit", "Killed after commit said OK: the object is whole.", 0, KIT_NO_OPEN, after_commit},
    {"crash.after_sync", "Killed after sync said OK: every appended byte is there, and the next owner goes on.",
     OBV_CAP_APPEND, KIT_NO_OPEN, after_sync},
    {"crash.while_replacing", "Killed before the commit of a replacement: the old object is whole.", OBV_CAP_REPLACE,
     KIT_NO_OPEN, while_replacing},
};
const struct kit_group KIT_CRASH = KIT_GROUP(CASES);
