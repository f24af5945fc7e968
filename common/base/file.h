/* file.h - small local files: read whole, replaced whole and durable, folders; and full reads and writes on an fd */
#ifndef OBV_BASE_FILE_H
#define OBV_BASE_FILE_H

#include "base/err.h"
#include "base/span.h"

#include <sys/types.h>

/** Appends the whole file to @p out. OBV_E_NOT_FOUND, OBV_E_LIMIT (longer than @p max bytes), OBV_E_IO, ... */
OBV_CHECK obv_code obv_file_read_all(const char *path, size_t max, obv_buf *out, obv_err *err);
/**
 * Replaces or creates @p path: temporary in the same folder, write, fsync, rename, fsync of the folder. After OBV_OK
 * the new bytes survive a power cut; after a failure the old file is there as it was and no temporary stays.
 */
OBV_CHECK obv_code obv_file_write_atomic(const char *path, obv_span bytes, mode_t mode, obv_err *err);
/** Creates the folder and its missing parents, each made durable in its parent. An existing folder is OBV_OK. */
OBV_CHECK obv_code obv_file_mkdirs(const char *path, mode_t mode, obv_err *err);
/** Makes names in a folder durable. */
OBV_CHECK obv_code obv_file_sync_dir(const char *path, obv_err *err);
/** Removes a file; OBV_OK if it is not there. */
OBV_CHECK obv_code obv_file_remove(const char *path, obv_err *err);

/** Writes all of it, whatever write(2) does at once; @p what names the file in the error. */
OBV_CHECK obv_code obv_fd_write(int fd, obv_span bytes, const char *what, obv_err *err);
/** Reads len bytes at off, fewer only at the end of the file (*got tells). */
OBV_CHECK obv_code obv_fd_read_at(int fd, void *buf, size_t len, uint64_t off, size_t *got, const char *what,
                                  obv_err *err);
/** Closes and reports what close(2) found: on NFS it is a write error. *fd becomes -1. */
OBV_CHECK obv_code obv_fd_close(int *fd, const char *what, obv_err *err);

#endif
