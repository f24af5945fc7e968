/* err.h - error values: a code to act on, the cause, and a text for people (docs/errors.md) */
#ifndef OBV_BASE_ERR_H
#define OBV_BASE_ERR_H

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Classes by what the caller should do. Numbers appear in journals and on the wire: append only. */
typedef enum obv_code {
    OBV_OK = 0,
    /* this item only */
    OBV_E_NOT_FOUND = 1,
    OBV_E_EXISTS = 2,
    OBV_E_CONFLICT = 3,
    OBV_E_PG_CHANGED = 4, /* the PG moved on under the copy: start this PG again */
    OBV_E_PG_GONE = 5,    /* the PG is not on this server any more */
    /* this job */
    OBV_E_INVAL = 10, /* a caller's or operator's argument */
    OBV_E_CONFIG = 11,
    OBV_E_DENIED = 12,
    OBV_E_AUTH = 13,
    OBV_E_NO_SPACE = 14,
    OBV_E_READ_ONLY = 15,
    OBV_E_UNSUPPORTED = 16,
    OBV_E_PRECONDITION = 17, /* a state forbids it now */
    OBV_E_NOT_RESTORABLE = 18,
    OBV_E_NOT_INITIALISED = 19, /* no repository where one was expected */
    OBV_E_FENCED = 20,          /* a newer epoch owns this */
    OBV_E_BUSY = 21,            /* already running */
    OBV_E_LIMIT = 22,           /* a bound of ours was reached */
    OBV_E_CANCELLED = 23,
    /* alarm: never retried, nothing deleted */
    OBV_E_CORRUPT = 30,
    OBV_E_LOG_GAP = 31, /* log that was needed is gone */
    /* host or program */
    OBV_E_IO = 40,
    OBV_E_NOMEM = 41,
    OBV_E_INTERNAL = 42,
    /* >= 64: the same call may succeed later */
    OBV_E_UNAVAILABLE = 64,
    OBV_E_TIMEOUT = 65,
    OBV_E_THROTTLED = 66,
    OBV_E_STALE = 67,     /* storage was remounted: open it again */
    OBV_E_NOT_READY = 68, /* the process has just started and lacks what it will have in a moment */
} obv_code;
_Static_assert(sizeof(obv_code) == 4, "obv_code travels as 32 bits");

#define OBV_IS_RETRYABLE(c) ((int)(c) >= 64)

/* Caller's memory; both texts are always terminated. No secret may enter. */
typedef struct obv_err {
    obv_code code;
    int32_t sys; /* errno, OceanBase or MySQL error number, HTTP status; 0 if none */
    uint32_t retry_after_ms;
    char msg[400];  /* what failed, outermost context first */
    char hint[240]; /* what it means for recoverability and what to do next; "" if the code's own hint serves */
} obv_err;

#define OBV_CHECK __attribute__((warn_unused_result))
#define OBV_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define OBV_AUTO(fn) __attribute__((cleanup(fn)))
#define OBV_STEAL(p)                                                                                                   \
    (__extension__({                                                                                                   \
        __typeof__(p) stolen_ = (p);                                                                                   \
        (p) = NULL;                                                                                                    \
        stolen_;                                                                                                       \
    }))
#define OBV_TRY(expr)                                                                                                  \
    do {                                                                                                               \
        const obv_code try_code_ = (expr);                                                                             \
        if (try_code_ != OBV_OK)                                                                                       \
            return try_code_;                                                                                          \
    } while (0)

/** Fills @p err (may be NULL) and returns @p code, so that `return obv_fail(...)` is the whole error path. */
obv_code obv_fail(obv_err *err, obv_code code, int sys, const char *fmt, ...) OBV_PRINTF(4, 5);
/** Puts "context: " before err->msg; code and cause stay. Returns err->code. */
obv_code obv_wrap(obv_err *err, const char *fmt, ...) OBV_PRINTF(2, 3);
/** Sets the hint: meaning for recoverability, next step. Returns err->code. */
obv_code obv_hint(obv_err *err, const char *fmt, ...) OBV_PRINTF(2, 3);
/** @return the class of an errno value; never OBV_OK. */
obv_code obv_code_from_errno(int e);

typedef struct obv_code_info {
    obv_code code;
    const char *name;       /* stable label: logs, JSON; obv_code_label for metrics */
    const char *class_name; /* item, job, alarm, host, retry */
    int exit_code;          /* of the CLI (docs/cli.md) */
    int grpc_status;
    const char *default_hint; /* docs/errors.md line */
} obv_code_info;

/** @return the row of @p code; the row of OBV_E_INTERNAL for an unknown number. Never NULL. */
const obv_code_info *obv_code_describe(obv_code code);
/**
 * The value of the metric label `code`, as `obvault_errors_total{code="no_space"}`: the row's name, "internal" for an
 * unknown number. Lower case, digits and underscores, and never a new one without a row in docs/errors.md.
 */
static inline const char *obv_code_label(obv_code code) { return obv_code_describe(code)->name; }
/** @return row i of the table, NULL past the end. */
const obv_code_info *obv_code_at(size_t i);

static inline void obv_freep(void *p) { free(*(void **)p); }
static inline void obv_close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/** For our own bugs only: prints, then aborts. Kept in release builds. */
#define obv_assert(cond) ((cond) ? (void)0 : obv_assert_failed(#cond, __FILE__, __LINE__))
void obv_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#endif
