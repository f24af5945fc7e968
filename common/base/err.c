#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* gRPC status numbers, so that base does not depend on the RPC library */
enum {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_INVALID = 3,
    RPC_TIMEOUT = 4,
    RPC_NOT_FOUND = 5,
    RPC_EXISTS = 6,
    RPC_DENIED = 7,
    RPC_EXHAUSTED = 8,
    RPC_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16
};

/* clang-format off */
static const obv_code_info TABLE[] = {
    {OBV_OK, "ok", "ok", 0, RPC_OK, ""},
    {OBV_E_NOT_FOUND, "not_found", "item", 1, RPC_NOT_FOUND, "nothing of that name is there: check the name with the matching list command"},
    {OBV_E_EXISTS, "exists", "item", 1, RPC_EXISTS, "something of that name is already there and was not touched"},
    {OBV_E_CONFLICT, "conflict", "item", 1, RPC_ABORTED, "another writer was there first; nothing was overwritten"},
    {OBV_E_PG_CHANGED, "pg_changed", "item", 1, RPC_ABORTED, "the PG moved on during its copy and is copied again"},
    {OBV_E_PG_GONE, "pg_gone", "item", 1, RPC_NOT_FOUND, "the PG is not on this server any more; another replica is used if there is one"},
    {OBV_E_INVAL, "invalid_argument", "job", 2, RPC_INVALID, "correct the argument; nothing was started"},
    {OBV_E_CONFIG, "config", "job", 11, RPC_PRECONDITION, "correct the configuration file or option that the message names"},
    {OBV_E_DENIED, "denied", "job", 10, RPC_DENIED, "the account or certificate lacks a right: see docs/sql.md and docs/coordinator.md"},
    {OBV_E_AUTH, "authentication", "job", 10, RPC_UNAUTHENTICATED, "check user name, password file and certificate"},
    {OBV_E_NO_SPACE, "no_space", "job", 8, RPC_EXHAUSTED, "the destination is full: what is stored stays good; make room and start again"},
    {OBV_E_READ_ONLY, "read_only", "job", 8, RPC_PRECONDITION, "the destination refuses writes: check mount options and quotas"},
    {OBV_E_UNSUPPORTED, "unsupported", "job", 1, RPC_UNIMPLEMENTED, "this version cannot do that: see docs/compatibility.md"},
    {OBV_E_PRECONDITION, "precondition", "job", 14, RPC_PRECONDITION, "bring the named state about, then start again; nothing was started"},
    {OBV_E_NOT_RESTORABLE, "not_restorable", "job", 6, RPC_PRECONDITION, "choose a time inside the window that `obvault window` shows"},
    {OBV_E_NOT_INITIALISED, "not_initialised", "job", 9, RPC_PRECONDITION, "the destination is no repository (or is not mounted): check the mount, or run `obvault repo init` once"},
    {OBV_E_FENCED, "fenced", "job", 1, RPC_ABORTED, "a newer owner has taken this over; nothing was lost"},
    {OBV_E_BUSY, "already_running", "job", 5, RPC_EXISTS, "the same job is running: watch it with `obvault job list`"},
    {OBV_E_LIMIT, "limit", "job", 1, RPC_EXHAUSTED, "a configured or built-in bound was reached: see docs/agent.md and docs/coordinator.md"},
    {OBV_E_CANCELLED, "cancelled", "job", 1, RPC_CANCELLED, "stopped on request; what was acknowledged before stays stored"},
    {OBV_E_CORRUPT, "corrupt", "alarm", 7, RPC_DATA_LOSS, "bytes are not what they must be: nothing was deleted; check the disk and run verify"},
    {OBV_E_LOG_GAP, "log_gap", "alarm", 6, RPC_DATA_LOSS, "log is missing: times after the gap need a new archive round and a new full backup"},
    {OBV_E_IO, "io", "host", 8, RPC_INTERNAL, "the operating system failed to read or write: check the disk or mount, then start again"},
    {OBV_E_NOMEM, "no_memory", "host", 1, RPC_EXHAUSTED, "give the process more memory or lower pool_mib"},
    {OBV_E_INTERNAL, "internal", "host", 1, RPC_INTERNAL, "a fault of obvault: please report it with the log; existing backups are not affected"},
    {OBV_E_UNAVAILABLE, "unavailable", "retry", 12, RPC_UNAVAILABLE, "the other side does not answer now: it is tried again; check that it runs and the port is open"},
    {OBV_E_TIMEOUT, "timeout", "retry", 124, RPC_TIMEOUT, "no answer in time: raise the time-out or look what holds the other side up"},
    {OBV_E_THROTTLED, "throttled", "retry", 8, RPC_UNAVAILABLE, "the storage asks for fewer requests: it is tried again more slowly"},
    {OBV_E_STALE, "stale", "retry", 8, RPC_UNAVAILABLE, "the mount was replaced: check that it is the right one"},
    {OBV_E_NOT_READY, "not_ready", "retry", 14, RPC_UNAVAILABLE, "it has just started: the command is tried again for a moment; nothing was started yet"},
};
/* clang-format on */

const obv_code_info *obv_code_at(size_t i) { return i < sizeof TABLE / sizeof *TABLE ? &TABLE[i] : NULL; }

const obv_code_info *obv_code_describe(obv_code code)
{
    const obv_code_info *internal = NULL;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (TABLE[i].code == code)
            return &TABLE[i];
        if (TABLE[i].code == OBV_E_INTERNAL)
            internal = &TABLE[i];
    }
    return internal;
}

obv_code obv_fail(obv_err *err, obv_code code, int sys, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        *err = (obv_err){.code = code, .sys = sys};
        va_start(ap, fmt);
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return code;
}

obv_code obv_wrap(obv_err *err, const char *fmt, ...)
{
    if (!err)
        return OBV_E_INTERNAL;
    char inner[sizeof err->msg];
    char outer[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(outer, sizeof outer, fmt, ap);
    va_end(ap);
    memcpy(inner, err->msg, sizeof inner);
    /* a cut tail is better than a lost context */
    (void)!snprintf(err->msg, sizeof err->msg, "%.150s: %.240s", outer, inner);
    return err->code;
}

obv_code obv_hint(obv_err *err, const char *fmt, ...)
{
    if (!err)
        return OBV_E_INTERNAL;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
    return err->code;
}

obv_code obv_code_from_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return OBV_E_NOT_FOUND;
    case EEXIST:
        return OBV_E_EXISTS;
    case EACCES:
    case EPERM:
        return OBV_E_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return OBV_E_NO_SPACE;
    case EROFS:
        return OBV_E_READ_ONLY;
    case ENOMEM:
        return OBV_E_NOMEM;
    case EINVAL:
    case ENAMETOOLONG:
        return OBV_E_INVAL;
    case ESTALE:
        return OBV_E_STALE;
    case ETIMEDOUT:
        return OBV_E_TIMEOUT;
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return OBV_E_UNAVAILABLE;
    default:
        return OBV_E_IO;
    }
}

void obv_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "obvault: assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
