/* cases_disk.c - a repository in a local folder, on a disk that fails
 *
 * Some put a small tmpfs over the folder, in a name space of their own; others fail the plugin's system calls.
 */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static obv_store_class put_seeded(struct kit_repo *r, const char *key, size_t len, uint64_t seed)
{
    uint8_t *buf = kit_alloc(len);
    kit_fill(buf, 0, len, seed);
    const obv_store_class cls = kit_put_bytes(r, key, false, buf, len);
    free(buf);
    return cls;
}

/* ---- durability, as far as it can be seen */

static void commit_is_flushed(struct kit *k)
{
    static const bool EXCLUSIVE[] = {false, true};
    need_ok(put_seeded(k->r, "warm/up", 10, 1), "put");
    for (size_t i = 0; i < 2; i++) {
        if (EXCLUSIVE[i] && !(k->caps & OBV_CAP_IF_ABSENT))
            continue;
        atomic_store(&kit_calls.file_syncs, 0);
        atomic_store(&kit_calls.folder_syncs, 0);
        need_ok(kit_put_bytes(k->r, EXCLUSIVE[i] ? "new/b" : "new/a", EXCLUSIVE[i], "x", 1), "put");
        need(atomic_load(&kit_calls.file_syncs) > 0, "put_commit returned OK, but no file was flushed (fsync)");
        need(atomic_load(&kit_calls.folder_syncs) > 0, "put_commit returned OK, but no folder was flushed (fsync)");
    }
}

static void sync_is_flushed(struct kit *k)
{
    const char *keys[] = {"log/1", "log/2"};
    obv_store_class results[2];
    for (uint64_t round = 0; round < 2; round++) {
        need_ok(kit_append(k->r, keys[0], round, "x", 1), "append");
        need_ok(kit_append(k->r, keys[1], round, "x", 1), "append");
        atomic_store(&kit_calls.file_syncs, 0);
        need_ok(kit_sync(k->r, keys, 2, results), "sync");
        need(atomic_load(&kit_calls.file_syncs) >= 2, "sync of two keys returned OK, but %u files were flushed (fsync)",
             atomic_load(&kit_calls.file_syncs));
    }
}

static void need_failed_put(struct kit *k, const char *what)
{
    const obv_store_class cls = put_seeded(k->r, "dir/object", 100000, 1);
    need(cls != OBV_STORE_OK, "%s, but put_commit returned OK", what);
    /* whole or absent; and a repeat of the put succeeds */
    obv_object_info info;
    if (kit_head(k->r, "dir/object", &info) == OBV_STORE_OK)
        kit_need_object(k->r, "dir/object", 100000, 1);
    else
        kit_need_absent(k->r, "dir/object");
    const struct kit_tree t = kit_scan(k->info->folder);
    need(t.temporaries == 0, "%s, and a temporary was left", what);
    need_ok(put_seeded(k->r, "dir/object", 100000, 2), "a put after a failed one");
    kit_need_object(k->r, "dir/object", 100000, 2);
    need_ok(kit_remove_one(k->r, "dir/object"), "remove");
}

static void failed_flush(struct kit *k)
{
    static const int ERRNOS[] = {EIO, ENOSPC, EDQUOT};
    for (size_t i = 0; i < sizeof ERRNOS / sizeof *ERRNOS; i++) {
        atomic_store(&kit_calls.fail_sync, ERRNOS[i]);
        need_failed_put(k, "fsync failed once");
    }
    if (!(k->caps & OBV_CAP_APPEND))
        return;
    const char *key = "log";
    obv_store_class result = OBV_STORE_OK;
    need_ok(kit_append(k->r, key, 0, "x", 1), "append");
    atomic_store(&kit_calls.fail_sync, EIO);
    need(kit_sync(k->r, &key, 1, &result) != OBV_STORE_OK && result != OBV_STORE_OK,
         "fsync failed, but sync returned OK");
    need(kit_sync(k->r, &key, 1, &result) != OBV_STORE_OK && result != OBV_STORE_OK,
         "fsync failed once, and the next sync of that key said OK: the bytes may be lost");
}

static void failed_close(struct kit *k)
{
    atomic_store(&kit_calls.fail_close, EDQUOT);
    const obv_store_class cls = put_seeded(k->r, "object", 100000, 1);
    if (atomic_exchange(&kit_calls.fail_close, 0) != 0)
        kit_skip("the plugin closes no file during a put");
    need(cls != OBV_STORE_OK, "close failed with a quota error, but put_commit returned OK");
}

static void short_writes(struct kit *k)
{
    atomic_store(&kit_calls.short_writes, true);
    need_ok(put_seeded(k->r, "object", 1 << 20, 1), "put while each write writes only a half");
    if (k->caps & OBV_CAP_APPEND) {
        uint8_t *buf = kit_alloc(100000);
        kit_fill(buf, 0, 100000, 2);
        need_ok(kit_append(k->r, "log", 0, buf, 100000), "append while each write writes only a half");
        free(buf);
    }
    atomic_store(&kit_calls.short_writes, false);
    if (atomic_load(&kit_calls.writes) == 0)
        kit_skip("the plugin writes by other calls than write and pwrite");
    kit_need_object(k->r, "object", 1 << 20, 1);
    if (k->caps & OBV_CAP_APPEND)
        kit_need_object(k->r, "log", 100000, 2);
}

static void foreign_files(struct kit *k)
{
    char note[KIT_PATH_MAX + 32];
    char link[KIT_PATH_MAX + 32];
    uint64_t swept;
    struct stat st;
    (void)snprintf(note, sizeof note, "%s/a note", k->info->folder);
    (void)snprintf(link, sizeof link, "%s/a link", k->info->folder);
    const int fd = open(note, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    need(fd >= 0 && symlink("/", link) == 0, "the kit itself cannot write into the folder");
    (void)close(fd);
    kit_make(k->r, "dir/object", 100, 1);
    need(kit_count(k->r, "").count == 1, "a listing shows files that are no objects");
    need_ok(kit_sweep(k->r, 0, &swept), "sweep beside foreign files");
    need_ok(kit_remove_one(k->r, "dir/object"), "remove beside foreign files");
    need(lstat(note, &st) == 0 && lstat(link, &st) == 0, "a foreign file was removed");
}

/* ---- with a disk of our own */

static uint64_t free_bytes(const struct kit *k)
{
    struct statvfs v;
    need(statvfs(k->info->folder, &v) == 0, "the kit itself cannot look at the folder");
    return (uint64_t)v.f_bfree * v.f_frsize;
}

static void full(struct kit *k)
{
    kit_mount_over(k, "size=4m");
    k->r = kit_open(k);
    need_ok(put_seeded(k->r, "kept", 1 << 20, 1), "put");
    need_ok(put_seeded(k->r, "gone", 1 << 20, 2), "put");
    const uint64_t before = free_bytes(k);
    for (int i = 0; i < 3; i++) {
        need_class(put_seeded(k->r, "big", 8 << 20, 3), OBV_STORE_NO_SPACE, "a put of more than fits");
        kit_need_absent(k->r, "big");
    }
    need(free_bytes(k) + 65536 >= before, "failed puts on a full disk keep %llu bytes",
         (unsigned long long)(before - free_bytes(k)));
    if (k->caps & OBV_CAP_REPLACE) {
        need_class(put_seeded(k->r, "kept", 8 << 20, 3), OBV_STORE_NO_SPACE, "a replacement of more than fits");
        kit_need_object(k->r, "kept", 1 << 20, 1);
    }
    if (k->caps & OBV_CAP_APPEND) {
        uint8_t *buf = kit_alloc(8 << 20);
        need_class(kit_append(k->r, "log", 0, buf, 8 << 20), OBV_STORE_NO_SPACE, "an append of more than fits");
        need_ok(kit_remove_one(k->r, "log"), "remove on a full disk");
        free(buf);
    }
    need_ok(kit_remove_one(k->r, "gone"), "remove on a full disk");
    need_ok(put_seeded(k->r, "after", 1 << 20, 4), "put after there is room again");
    kit_need_object(k->r, "kept", 1 << 20, 1);
    kit_need_object(k->r, "after", 1 << 20, 4);
}

static void no_inodes(struct kit *k)
{
    enum { MAX = 200 };
    unsigned stored = 0;
    obv_store_class cls = OBV_STORE_OK;
    char key[32];
    kit_mount_over(k, "size=4m,nr_inodes=40");
    k->r = kit_open(k);
    while (stored < MAX) {
        (void)snprintf(key, sizeof key, "o/%u", stored);
        cls = put_seeded(k->r, key, 100, stored);
        if (cls != OBV_STORE_OK)
            break;
        stored++;
    }
    if (stored == MAX)
        kit_skip("the plugin needs no inode for an object");
    need_class(cls, OBV_STORE_NO_SPACE, "a put without an inode left");
    kit_need_absent(k->r, key);
    for (unsigned i = 0; i < stored; i++) {
        (void)snprintf(key, sizeof key, "o/%u", i);
        kit_need_object(k->r, key, 100, i);
    }
}

static void read_only(struct kit *k)
{
    kit_mount_over(k, "size=4m");
    struct kit_repo *early = kit_open(k);
    need_ok(put_seeded(early, "dir/object", 1000, 1), "put");
    if (kit_remount_read_only(k) != 0) {
        /* something of the plugin is still open for writing */
        kit_close(early);
        early = NULL;
        need(kit_remount_read_only(k) == 0, "after close something is still open for writing");
    }
    k->r = kit_open(k);
    struct kit_repo *const handles[] = {k->r, early};
    for (size_t i = 0; i < 2 && handles[i]; i++) {
        struct kit_repo *r = handles[i];
        kit_need_object(r, "dir/object", 1000, 1);
        need(kit_count(r, "").count == 1, "a read-only repository does not list its object");
        need_class(put_seeded(r, "new", 1000, 2), OBV_STORE_READ_ONLY, "put on a read-only disk");
        need_class(put_seeded(r, "dir/object", 1000, 2), OBV_STORE_READ_ONLY, "replacement on a read-only disk");
        need_class(kit_remove_one(r, "dir/object"), OBV_STORE_READ_ONLY, "remove on a read-only disk");
        if (k->caps & OBV_CAP_APPEND)
            need_class(kit_append(r, "log", 0, "x", 1), OBV_STORE_READ_ONLY, "append on a read-only disk");
    }
    kit_need_object(k->r, "dir/object", 1000, 1);
}

static void other_mount(struct kit *k)
{
    kit_mount_over(k, "size=4m");
    k->r = kit_open(k);
    need_ok(put_seeded(k->r, "dir/object", 1000, 1), "put");
    kit_mount_over(k, "size=4m"); /* another export at the same path */
    need_class(put_seeded(k->r, "new", 1000, 2), OBV_STORE_STALE, "put after another file system was mounted there");
    need_class(kit_remove_one(k->r, "dir/object"), OBV_STORE_STALE, "remove after another file system was mounted");
    if (k->caps & OBV_CAP_APPEND)
        need_class(kit_append(k->r, "log", 0, "x", 1), OBV_STORE_STALE, "append after another file system was mounted");
    const struct kit_tree t = kit_scan(k->info->folder);
    need(t.files + t.folders + t.temporaries == 0, "%.100s was written to the file system mounted later", t.sample);
}

static void unmounted(struct kit *k)
{
    kit_mount_over(k, "size=4m");
    k->r = kit_open(k);
    need_ok(put_seeded(k->r, "dir/object", 1000, 1), "put");
    need(kit_unmount(k) == 0, "the kit itself cannot unmount");
    need_class(put_seeded(k->r, "new", 1000, 2), OBV_STORE_STALE, "put after the file system was unmounted");
    if (k->caps & OBV_CAP_APPEND)
        need_class(kit_append(k->r, "log", 0, "x", 1), OBV_STORE_STALE, "append after the file system was unmounted");
    const struct kit_tree t = kit_scan(k->info->folder);
    need(t.files + t.folders + t.temporaries == 0, "%.100s was written to the folder below the mount", t.sample);
}

static void denied(struct kit *k)
{
    struct kit_repo *r = NULL;
    kit_mount_over(k, "size=4m,mode=755");
    struct kit_repo *root = kit_open(k);
    need_ok(put_seeded(root, "dir/object", 1000, 1), "put");
    kit_close(root);
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        kit_skip("no right to become another user");
    const obv_store_class cls = kit_open_with(k, k->cfg->options, k->cfg->option_count, &r);
    if (cls != OBV_STORE_OK) { /* a folder above is closed to others */
        need_class(cls, OBV_STORE_DENIED, "open as a user without rights");
        return;
    }
    k->r = r;
    need_class(put_seeded(r, "dir/new", 1000, 2), OBV_STORE_DENIED, "put as a user without rights");
    need_class(kit_remove_one(r, "dir/object"), OBV_STORE_DENIED, "remove as a user without rights");
    if (k->caps & OBV_CAP_APPEND)
        need_class(kit_append(r, "dir/log", 0, "x", 1), OBV_STORE_DENIED, "append as a user without rights");
    kit_need_object(r, "dir/object", 1000, 1);
}

#define MOUNTED (KIT_FOLDER | KIT_NO_OPEN)

static const struct kit_case CASES[] = {
    {"disk.commit_flushed", "Commit OK is durable: the file and its folder were flushed before.", 0, KIT_FOLDER,
     commit_is_flushed},
    {"disk.sync_flushed", "Sync OK is durable: every file was flushed before.", OBV_CAP_APPEND, KIT_FOLDER,
     sync_is_flushed},
    {"disk.failed_flush", "A failed flush fails the call for good; the object is whole or absent.", 0, KIT_FOLDER,
     failed_flush},
    {"disk.failed_close", "An error of close is an error of the writes before it.", 0, KIT_FOLDER, failed_close},
    {"disk.short_writes", "A short write goes on with the rest.", 0, KIT_FOLDER, short_writes},
    {"disk.foreign_files", "What somebody else put into the folder is neither listed nor removed.", 0, KIT_FOLDER,
     foreign_files},
    {"disk.full", "A full disk is NO_SPACE; what is stored stays, nothing half is left, and room helps.", 0, MOUNTED,
     full},
    {"disk.no_inodes", "A disk without inodes is NO_SPACE.", 0, MOUNTED, no_inodes},
    {"disk.read_only", "A read-only disk is READ_ONLY for every write, and can be read.", 0, MOUNTED, read_only},
    {"disk.other_mount", "Another file system mounted at the path is STALE, and nothing is written to it.", 0, MOUNTED,
     other_mount},
    {"disk.unmounted", "An unmounted repository is STALE, and nothing is written below the mount point.", 0, MOUNTED,
     unmounted},
    {"disk.denied", "Missing rights are DENIED.", 0, MOUNTED, denied},
};
const struct kit_group KIT_DISK = KIT_GROUP(CASES);
