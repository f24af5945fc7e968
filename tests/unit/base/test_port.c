/* test_port.c - ports that are open, closed, silent, and hosts that are none */
#include "base/port.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket on a free port of loopback; @p backlog < 0: bound, nobody listens. */
static int bound(int backlog, uint32_t *port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void who_listens_is_found(void **state)
{
    (void)state;
    uint32_t port = 0;
    const int fd = bound(1, &port);
    obv_err err = {0};
    assert_int_equal(obv_port_try("127.0.0.1", port, 1000, &err), OBV_OK);
    (void)close(fd);
}

static void a_closed_port_is_named(void **state)
{
    (void)state;
    uint32_t port = 0;
    const int fd = bound(-1, &port);
    obv_err err = {0};
    char text[32];
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(obv_port_try("127.0.0.1", port, 1000, &err), OBV_E_UNAVAILABLE);
    assert_non_null(strstr(err.msg, text));
    (void)close(fd);
}

static void a_host_that_does_not_answer_ends_in_time(void **state)
{
    (void)state;
    /* a full backlog: the kernel lets further connections wait, as a host behind a silent firewall does */
    uint32_t port = 0;
    const int fd = bound(0, &port);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fill[8];
    for (size_t i = 0; i < sizeof fill / sizeof *fill; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fill[i], (struct sockaddr *)&a, sizeof a);
    }
    obv_err err = {0};
    assert_int_equal(obv_port_try("127.0.0.1", port, 50, &err), OBV_E_TIMEOUT);
    for (size_t i = 0; i < sizeof fill / sizeof *fill; i++)
        (void)close(fill[i]);
    (void)close(fd);
}

static void a_name_that_is_no_host_is_a_matter_of_configuration(void **state)
{
    (void)state;
    obv_err err = {0};
    assert_int_equal(obv_port_try("a..b", 1, 100, &err), OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, "a..b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_listens_is_found),
        cmocka_unit_test(a_closed_port_is_named),
        cmocka_unit_test(a_host_that_does_not_answer_ends_in_time),
        cmocka_unit_test(a_name_that_is_no_host_is_a_matter_of_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
