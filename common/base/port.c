#include "base/port.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static obv_code await(int fd, const char *host, uint32_t port, uint32_t timeout_ms, obv_err *err)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int why = 0;
    socklen_t len = sizeof why;
    const int n = poll(&p, 1, (int)timeout_ms);
    if (n == 0)
        return obv_fail(err, OBV_E_TIMEOUT, 0, "%s:%u does not answer within %u ms", host, port, timeout_ms);
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
        why = errno;
    return why == 0 ? OBV_OK
                    : obv_fail(err, OBV_E_UNAVAILABLE, why, "connect %s:%u: %s", host, port, strerrordesc_np(why));
}

obv_code obv_port_try(const char *host, uint32_t port, uint32_t timeout_ms, obv_err *err)
{
    const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[16];
    (void)snprintf(service, sizeof service, "%u", port);
    const int rc = getaddrinfo(host, service, &want, &list);
    if (rc != 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "host %s: %s", host, gai_strerror(rc));
    obv_code code = OBV_E_UNAVAILABLE;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        OBV_AUTO(obv_close_fd) int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
            code = obv_fail(err, OBV_E_IO, errno, "socket: %s", strerrordesc_np(errno));
        else if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            code = OBV_OK;
        else if (errno == EINPROGRESS)
            code = await(fd, host, port, timeout_ms, err);
        else
            code = obv_fail(err, OBV_E_UNAVAILABLE, errno, "connect %s:%u: %s", host, port, strerrordesc_np(errno));
        if (code == OBV_OK)
            break;
    }
    freeaddrinfo(list);
    return code;
}
