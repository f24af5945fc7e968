/* plugin.c - the file plugin: a repository below a folder of this host, usually an NFS mount
 *
 * Options: root (absolute path, must exist), require_mount (yes|no: root must be a mount point of its own).
 */
#include "file_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *root;
    bool require_mount;
};

static obv_store_class read_options(const obv_kv *cfg, size_t n, struct options *o, obv_store_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(cfg[i].key, "root") == 0) {
            o->root = cfg[i].value;
        } else if (strcmp(cfg[i].key, "require_mount") == 0) {
            o->require_mount = strcmp(cfg[i].value, "yes") == 0;
            if (!o->require_mount && strcmp(cfg[i].value, "no") != 0)
                return file_fail(err, OBV_STORE_CONFIG, "option require_mount: yes or no, not \"%.60s\"", cfg[i].value);
        } else {
            return file_fail(err, OBV_STORE_CONFIG, "unknown option \"%.60s\" (known: root, require_mount)",
                             cfg[i].key);
        }
    }
    if (!o->root || o->root[0] != '/')
        return file_fail(err, OBV_STORE_CONFIG, "option root: an absolute path is needed");
    return OBV_STORE_OK;
}

static obv_store_class open_root(struct obv_repo_handle *r, const struct options *o, obv_store_err *err)
{
    struct stat st;
    if ((size_t)snprintf(r->root, sizeof r->root, "%s", o->root) >= sizeof r->root)
        return file_fail(err, OBV_STORE_CONFIG, "option root: too long");
    r->root_fd = open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->root_fd < 0)
        return file_fail_errno(err, "open root %s", r->root);
    if (fstat(r->root_fd, &st) != 0)
        return file_fail_errno(err, "stat root %s", r->root);
    r->root_dev = st.st_dev;
    r->root_ino = st.st_ino;
    if (o->require_mount) {
        struct stat up;
        if (fstatat(r->root_fd, "..", &up, 0) != 0)
            return file_fail_errno(err, "stat the parent of root %s", r->root);
        if (up.st_dev == st.st_dev && up.st_ino != st.st_ino)
            return file_fail(err, OBV_STORE_NOT_FOUND, "root %s is no mount point: is its storage mounted?", r->root);
    }
    return OBV_STORE_OK;
}

static void file_close(obv_repo_handle *r)
{
    if (!r)
        return;
    append_table_fini(&r->appended);
    if (r->root_fd >= 0)
        (void)close(r->root_fd);
    (void)pthread_mutex_destroy(&r->mu);
    free(r);
}

static obv_store_class file_open(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                                 obv_store_err *err)
{
    struct options o = {0};
    FILE_TRY(read_options(cfg, n, &o, err));
    struct obv_repo_handle *r = calloc(1, sizeof *r);
    if (!r)
        return file_fail(err, OBV_STORE_RETRY, "open: out of memory");
    r->root_fd = -1;
    memcpy(&r->host, host, host->size < sizeof r->host ? host->size : sizeof r->host);
    (void)pthread_mutex_init(&r->mu, NULL);
    const obv_store_class cls = append_table_init(&r->appended)
                                    ? open_root(r, &o, err)
                                    : file_fail(err, OBV_STORE_RETRY, "open: out of memory");
    if (cls != OBV_STORE_OK) {
        file_close(r);
        return cls;
    }
    *out = r;
    return OBV_STORE_OK;
}

/* clang-format off */
static const obv_option OPTIONS[] = {
    {"root", OBV_OPTION_FOLDER, OBV_OPTION_REQUIRED, "", "Folder that holds the repository; it must exist."},
    {"require_mount", OBV_OPTION_YES_NO, 0, "no", "Refuse unless root is a mount point of its own."},
};
/* clang-format on */

static const obv_storage_plugin FILE_PLUGIN = {
    .size = sizeof(obv_storage_plugin),
    .abi_major = OBV_STORAGE_ABI_MAJOR,
    .abi_minor = OBV_STORAGE_ABI_MINOR,
    .threads = OBV_THREADS_PARALLEL,
    .caps = OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_OBSERVER_READS,
    .name = "file",
    .version = "0.2.0",
    .open = file_open,
    .close = file_close,
    .probe = file_probe,
    .put_begin = file_put_begin,
    .put_write = file_put_write,
    .put_commit = file_put_commit,
    .put_abort = file_put_abort,
    .append = file_append,
    .sync = file_sync,
    .get = file_get,
    .head = file_head,
    .list = file_list,
    .remove = file_remove,
    .sweep = file_sweep,
    .options = OPTIONS,
    .option_count = sizeof OPTIONS / sizeof *OPTIONS,
};

OBV_STORAGE_PLUGIN_EXPORT(FILE_PLUGIN)
