/* folder.c - the repository as a folder of this host: what is really in it, and file systems mounted over it */
#include "kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Consumes dir_fd. */
static void scan(int dir_fd, bool in_tmp, int depth, struct kit_tree *out)
{
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        (void)close(dir_fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        const bool tmp = in_tmp || (depth == 0 && strcmp(e->d_name, OBV_TMP_FOLDER) == 0);
        const bool is_dir = S_ISDIR(st.st_mode);
        if (tmp && !is_dir)
            out->temporaries++;
        else if (!tmp && is_dir)
            out->folders++;
        else if (!tmp)
            out->files++;
        if (!(tmp && is_dir) && !out->sample[0])
            (void)snprintf(out->sample, sizeof out->sample, "%.200s", e->d_name);
        if (is_dir)
            scan(openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), tmp, depth + 1, out);
    }
    (void)closedir(dir);
}

struct kit_tree kit_scan(const char *folder)
{
    struct kit_tree t = {0};
    scan(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), false, 0, &t);
    return t;
}

/* Consumes dir_fd. */
static int wipe(int dir_fd)
{
    DIR *dir = fdopendir(dir_fd);
    int bad = 0;
    if (!dir)
        return -1;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        const int sub = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0 || wipe(sub) != 0 || unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR) != 0)
            bad = -1;
    }
    (void)closedir(dir);
    return bad;
}

int kit_wipe(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : wipe(fd);
}

void kit_mount_over(struct kit *k, const char *tmpfs_options)
{
    static bool own_namespace;
    if (!own_namespace) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            kit_skip("no right to mount: run as root");
        own_namespace = true;
    }
    if (mount("obvault-check", k->info->folder, "tmpfs", 0, tmpfs_options) != 0)
        kit_skip("no right to mount a tmpfs (%s): run as root", strerrordesc_np(errno));
}

int kit_remount_read_only(struct kit *k)
{
    return mount("obvault-check", k->info->folder, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL);
}

int kit_unmount(struct kit *k) { return umount2(k->info->folder, MNT_DETACH); }
