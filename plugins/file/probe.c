/* probe.c - what this very file system allows, tried out with temporaries */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statfs.h>

static const char *fs_name(long type)
{
    static const struct {
        long magic;
        const char *name;
    } KNOWN[] = {{0x6969, "nfs"},       {0xef53, "ext"},         {0x58465342, "xfs"},        {0x01021994, "tmpfs"},
                 {0x9123683e, "btrfs"}, {0x794c7630, "overlay"}, {0x65735546, "fuse"},       {0x00c36400, "ceph"},
                 {0x2fc12fc1, "zfs"},   {0x47504653, "gpfs"},    {(long)0xff534d42, "cifs"}, {0x0bd00bd0, "lustre"}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (KNOWN[i].magic == type)
            return KNOWN[i].name;
    return "file system";
}

struct trial {
    int tmp;
    char a[TMP_NAME_MAX], b[TMP_NAME_MAX], c[TMP_NAME_MAX];
};

static void trial_end(const struct trial *t)
{
    const char *const names[] = {t->a, t->b, t->c};
    for (size_t i = 0; i < 3; i++)
        if (names[i][0])
            (void)unlinkat(t->tmp, names[i], 0);
}

static obv_store_class try_out(struct obv_repo_handle *r, struct trial *t, uint32_t *caps, obv_store_err *err)
{
    FILE_AUTO_FD fd_a = -1;
    FILE_AUTO_FD fd_b = -1;
    FILE_TRY(file_make_tmp(r, t->tmp, t->a, &fd_a, err));
    FILE_TRY(file_make_tmp(r, t->tmp, t->b, &fd_b, err));
    (void)snprintf(t->c, sizeof t->c, "%.50s.l", t->a);
    FILE_TRY(file_write_all(r, fd_a, "a", 1, 0, t->a, err));
    FILE_TRY(file_write_all(r, fd_a, "b", 1, 1, t->a, err));
    if (fsync(fd_a) != 0 || fsync(t->tmp) != 0)
        return file_fail_errno(err, "fsync in %s/%s", r->root, FILE_TMP_DIR);
    *caps |= OBV_CAP_APPEND;
    if (linkat(t->tmp, t->a, t->tmp, t->c, 0) == 0 && linkat(t->tmp, t->b, t->tmp, t->c, 0) != 0 && errno == EEXIST)
        *caps |= OBV_CAP_IF_ABSENT;
    if (renameat(t->tmp, t->b, t->tmp, t->a) != 0)
        return file_fail_errno(err, "rename in %s/%s", r->root, FILE_TMP_DIR);
    *caps |= OBV_CAP_REPLACE;
    return OBV_STORE_OK;
}

obv_store_class file_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err)
{
    FILE_AUTO_FD tmp = -1;
    struct statfs fs;
    uint32_t caps = OBV_CAP_OBSERVER_READS;
    FILE_TRY(file_check_mount(r, err));
    FILE_TRY(file_open_tmp(r, true, &tmp, err));
    struct trial t = {.tmp = tmp};
    const obv_store_class cls = try_out(r, &t, &caps, err);
    trial_end(&t);
    if (cls != OBV_STORE_OK)
        return cls;
    if (fstatfs(r->root_fd, &fs) != 0)
        return file_fail_errno(err, "statfs %s", r->root);
    *out = (obv_probe_result){.caps = caps, .free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize};
    (void)snprintf(out->identity, sizeof out->identity, "%s %.100s (type 0x%lx, device 0x%llx)", fs_name(fs.f_type),
                   r->root, (unsigned long)fs.f_type, (unsigned long long)r->root_dev);
    return OBV_STORE_OK;
}
