/* uring.h - many reads of local files at once: io_uring where the kernel lets us, pread otherwise; same results */
#ifndef OBV_BASE_URING_H
#define OBV_BASE_URING_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBV_DIRECT_ALIGN 4096u /* bytes: offsets, lengths and buffers of direct reads */

typedef struct obv_uring obv_uring; /* one thread at a time */

typedef enum obv_uring_mode { OBV_URING_AUTO = 0, OBV_URING_NEVER = 1 } obv_uring_mode;

/** @param depth reads in flight, 1 to 256. AUTO falls back to pread by itself when io_uring is denied. */
OBV_CHECK obv_code obv_uring_new(unsigned depth, obv_uring_mode mode, obv_uring **out, obv_err *err);
void obv_uring_free(obv_uring *u);
static inline void obv_uring_freep(obv_uring **u) { obv_uring_free(*u); }
/** false: pread is used. */
bool obv_uring_active(const obv_uring *u);

/* One range. got < len only at the end of the file. code is this range's own result. */
typedef struct obv_read {
    int fd;
    void *buf;
    size_t len; /* at most 1 GiB */
    uint64_t off;
    size_t got;    /* out */
    obv_code code; /* out */
    int sys;       /* out: errno, 0 if none */
} obv_read;

/**
 * Does all n reads, in any order, and returns when none is in flight.
 * @return OBV_OK if every range is OBV_OK, else the first failed range's code
 */
OBV_CHECK obv_code obv_uring_read(obv_uring *u, obv_read *reads, size_t n, obv_err *err);

/**
 * Opens for reading past the page cache; *direct tells whether the file system has it (tmpfs has not). Never follows a
 * symbolic link in the last component.
 */
OBV_CHECK obv_code obv_open_direct(const char *path, int *fd, bool *direct, obv_err *err);

#endif
