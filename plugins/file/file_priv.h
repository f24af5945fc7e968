/* file_priv.h - what the sources of the file plugin share: the open repository and safe walks below its root */
#ifndef OBVAULT_PLUGIN_FILE_PRIV_H
#define OBVAULT_PLUGIN_FILE_PRIV_H

#include "append_table.h"
#include "obvault/storage_plugin.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILE_TMP_DIR OBV_TMP_FOLDER
#define FILE_TMP_PREFIX "obv." /* our temporaries: nothing else below FILE_TMP_DIR is ever removed */
#define FILE_MODE 0644         /* OBServer may run as another user and must read */
#define DIR_MODE 0755

enum {
    SEEN_SLOTS = 4096,    /* folders whose own entry is known to be durable */
    LIST_DEPTH_MAX = 64,  /* folders below each other */
    TMP_NAME_MAX = 64,    /* bytes */
    LINK_ATTEMPTS = 100,  /* a folder may vanish under a put when remove empties it */
    WRITE_CHUNK = 8 << 20 /* bytes between two looks at the cancel token */
};

struct seen_dir {
    dev_t dev;
    ino_t ino; /* 0: free slot */
};

struct obv_repo_handle {
    obv_host host;
    char root[1024];
    int root_fd;
    dev_t root_dev;
    ino_t root_ino;
    pthread_mutex_t mu; /* seen */
    struct seen_dir seen[SEEN_SLOTS];
    struct append_table appended;
};

/** Fills err (errno as sys, text with %m of the current errno appended) and returns the class of errno. */
obv_store_class file_fail_errno(obv_store_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
obv_store_class file_fail(obv_store_err *err, obv_store_class cls, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
obv_store_class file_class_of_errno(int e);

/** The grammar of storage_plugin.h, and not below FILE_TMP_DIR. */
bool file_key_is_valid(const char *key);
bool file_component_is_valid(const char *name);
obv_store_class file_check_key(const char *key, obv_store_err *err);
/** CANCELLED once the calling job wants out. */
obv_store_class file_check_cancel(const struct obv_repo_handle *r, obv_store_err *err);
/** STALE when the root's path does not lead to the folder that was opened (unmounted, mounted over, replaced). */
obv_store_class file_check_mount(const struct obv_repo_handle *r, obv_store_err *err);

enum file_walk { WALK_FIND, WALK_MAKE };
/**
 * Opens the folder that holds @p key, never through a symbolic link. WALK_MAKE creates what is missing, and returns
 * only when each entry on the way is durable. *name points into key. NOT_FOUND when a folder is missing.
 */
obv_store_class file_open_folder(struct obv_repo_handle *r, const char *key, enum file_walk how, int *dir_fd,
                                 const char **name, obv_store_err *err);
/** Opens (and creates when @p make) the folder of temporaries; NOT_FOUND if it is missing. */
obv_store_class file_open_tmp(struct obv_repo_handle *r, bool make, int *dir_fd, obv_store_err *err);
/** Creates a new temporary for writing; name holds TMP_NAME_MAX bytes. */
obv_store_class file_make_tmp(const struct obv_repo_handle *r, int tmp_fd, char *name, int *fd, obv_store_err *err);
/** Writes all, also after short writes. */
obv_store_class file_write_all(const struct obv_repo_handle *r, int fd, const void *buf, size_t len, off_t at,
                               const char *key, obv_store_err *err);
void file_info_of_stat(const struct stat *st, obv_object_info *out);

/* put.c */
obv_store_class file_put_begin(obv_repo_handle *r, const char *key, const obv_put_opts *opts, obv_put_handle **out,
                               obv_store_err *err);
obv_store_class file_put_write(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err);
obv_store_class file_put_commit(obv_put_handle *p, obv_object_info *out, obv_store_err *err);
void file_put_abort(obv_put_handle *p);

/* append.c */
obv_store_class file_append(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                            obv_store_err *err);
obv_store_class file_sync(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                          obv_store_err *err);
/** Closes the kept file of key, if there is one: it is about to be removed. */
void file_append_forget(obv_repo_handle *r, const char *key);

/* read.c */
obv_store_class file_get(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                         obv_store_err *err);
obv_store_class file_head(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err);
obv_store_class file_list(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err);

/* remove.c */
obv_store_class file_remove(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                            obv_store_err *err);
obv_store_class file_sweep(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err);

/* probe.c */
obv_store_class file_probe(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err);

static inline void file_close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
#define FILE_AUTO_FD __attribute__((cleanup(file_close_fd))) int
#define FILE_TRY(expr)                                                                                                 \
    do {                                                                                                               \
        const obv_store_class try_cls_ = (expr);                                                                       \
        if (try_cls_ != OBV_STORE_OK)                                                                                  \
            return try_cls_;                                                                                           \
    } while (0)

#endif
