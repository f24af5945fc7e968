#include "file_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

obv_store_class file_class_of_errno(int e)
{
    switch (e) {
    case ENOENT:
        return OBV_STORE_NOT_FOUND;
    case EEXIST:
        return OBV_STORE_EXISTS;
    case EACCES:
    case EPERM:
    case ELOOP:
        return OBV_STORE_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMLINK:
        return OBV_STORE_NO_SPACE;
    case EROFS:
        return OBV_STORE_READ_ONLY;
    case ESTALE:
    case ENOTCONN:
    case ESHUTDOWN:
        return OBV_STORE_STALE;
    case EXDEV:
        return OBV_STORE_CONFIG;
    case EOPNOTSUPP:
    case ENOSYS:
        return OBV_STORE_UNSUPPORTED;
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return OBV_STORE_RETRY;
    case EIO:
    case EREMOTEIO:
        return OBV_STORE_IO;
    default:
        return OBV_STORE_FATAL;
    }
}

/* A refused key or option may hold anything: the message stays one line of plain text. */
static void keep_one_line(char *msg)
{
    for (; *msg; msg++)
        if ((unsigned char)*msg < 0x20 || (unsigned char)*msg >= 0x7f)
            *msg = '?';
}

obv_store_class file_fail(obv_store_err *err, obv_store_class cls, const char *fmt, ...)
{
    *err = (obv_store_err){.cls = cls};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    keep_one_line(err->msg);
    return cls;
}

obv_store_class file_fail_errno(obv_store_err *err, const char *fmt, ...)
{
    const int e = errno;
    *err = (obv_store_err){.cls = file_class_of_errno(e), .sys = e};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    keep_one_line(err->msg);
    const size_t used = strlen(err->msg);
    errno = e;
    (void)snprintf(err->msg + used, sizeof err->msg - used, ": %m");
    return err->cls;
}
