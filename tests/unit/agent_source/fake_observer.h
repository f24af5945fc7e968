/* fake_observer.h - a server of the storage RPC for tests: real framing, answers from a handler, faults on demand
 *
 * Listens on a free port of 127.0.0.1; one thread a connection. Independent of the packet code under test as far as
 * that is possible: frames are written here by hand.
 */
#ifndef OBV_TEST_FAKE_OBSERVER_H
#define OBV_TEST_FAKE_OBSERVER_H

#include "base/crc32c.h"
#include "format/ob/codec.h"
#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_CONNECTIONS 64

/* Appends the result of a call to @p out. @return OceanBase's result code */
typedef int32_t fake_handler(void *ctx, uint32_t pcode, obv_span arg, obv_buf *out);

typedef struct fake_observer {
    int listener;
    uint16_t port;
    pthread_t acceptor;
    fake_handler *handler;
    void *ctx;
    size_t chunk; /* bytes of a stream's packet */
    atomic_bool stop;
    atomic_int damage_packets;  /* this many of the next packets get a flipped payload byte */
    atomic_int close_requests;  /* this many of the next requests are answered by closing */
    atomic_int error_in_stream; /* negative: result code of the second packet of the next stream */
    atomic_int error_goes_on;   /* that packet claims that more follows */
    atomic_int wrong_channel, wrong_code, stream_for_one; /* while 1: packets that are not of the call */
    atomic_int wrong_sessions;  /* this many packets in the middle of a stream name another session */
    atomic_int keepalives;      /* this many come before each packet */
    atomic_int stall;           /* requests wait while this is 1 */
    atomic_int stall_in_stream; /* so do requests to continue a stream */
    atomic_int requests, aborts, running, most_running;
    int fds[FAKE_CONNECTIONS];
    pthread_t threads[FAKE_CONNECTIONS];
    atomic_int connections;
} fake_observer;

static const uint8_t FAKE_MAGIC[4] = {0x01, 0xdb, 0xdb, 0xce};

static inline bool fake_read(int fd, void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        const ssize_t got = recv(fd, at, n, 0);
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* One packet: result code, then for a stream ObDataBuffer around @p bytes, else the bytes themselves. */
static inline void fake_send(fake_observer *f, int fd, uint32_t pcode, uint32_t channel, uint16_t flags,
                             uint64_t session, int32_t rcode, bool is_stream, obv_span bytes)
{
    obv_buf body = obv_buf_heap(4 << 20);
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vi32(&body, rcode);
    obv_put_cstr(&body, "");
    obv_put_vu64(&body, 0);
    obv_unis_end(&body, mark);
    if (rcode == 0 && is_stream) {
        const size_t data = obv_unis_begin(&body, 1);
        obv_put_vu64(&body, bytes.len);
        obv_put_span(&body, bytes);
        obv_unis_end(&body, data);
    } else if (rcode == 0) {
        obv_put_span(&body, bytes);
    }
    channel += (uint32_t)atomic_load(&f->wrong_channel);
    pcode += (uint32_t)atomic_load(&f->wrong_code);
    obv_buf b = obv_buf_heap(4 << 20);
    for (int i = 0; i < atomic_load(&f->keepalives); i++) {
        static const uint8_t KEEPALIVE[16 + 3] = {0x41, 0xdb, 0xdb, 0xce, 0, 0, 0, 3};
        (void)!send(fd, KEEPALIVE, sizeof KEEPALIVE, MSG_NOSIGNAL);
    }
    obv_buf_append(&b, FAKE_MAGIC, 4);
    obv_put_be32(&b, (uint32_t)(160 + body.len));
    obv_put_be32(&b, channel);
    obv_put_be32(&b, 0);
    obv_put_be32(&b, pcode);
    obv_put_u8(&b, 160);
    obv_put_u8(&b, 0);
    obv_put_be16(&b, flags);
    obv_put_be64(&b, obv_crc64(0, obv_buf_span(&body)));
    obv_buf_append_zeros(&b, 16);
    obv_put_be64(&b, session);
    obv_buf_append_zeros(&b, 32);
    obv_put_be32(&b, 40);
    obv_buf_append_zeros(&b, 36 + 8 + 8 + 8 + 8 + 4 + 8 + 4);
    obv_put_span(&b, obv_buf_span(&body));
    if (atomic_load(&f->damage_packets) > 0 && atomic_fetch_sub(&f->damage_packets, 1) > 0)
        b.data[b.len - 1] ^= 1;
    (void)!send(fd, b.data, b.len, MSG_NOSIGNAL);
    obv_buf_fini(&b);
    obv_buf_fini(&body);
}

#define FAKE_CLUSTER_ID 1

/* What a server wants of the header of a storage peer: priority 5, tenant 509, the cluster's id on both sides. */
static inline bool fake_good_header(const uint8_t head[16 + 160])
{
    obv_rd r = obv_rd_of((obv_span){head + 16, 160});
    (void)obv_rd_be32(&r);
    const bool sizes = obv_rd_u8(&r) == 160 && obv_rd_u8(&r) == 5;
    (void)obv_rd_bytes(&r, 2 + 8);
    const uint64_t tenant = obv_rd_be64(&r);
    (void)obv_rd_bytes(&r, 8 + 8 + 16);
    const uint64_t timeout_us = obv_rd_be64(&r);
    (void)obv_rd_bytes(&r, 8 + 40);
    const uint64_t to = obv_rd_be64(&r);
    (void)obv_rd_bytes(&r, 8);
    const uint64_t from = obv_rd_be64(&r);
    return sizes && tenant == 509 && timeout_us > 0 && to == FAKE_CLUSTER_ID && from == FAKE_CLUSTER_ID;
}

/* Answers one call; @return false when the connection is to end */
static inline bool fake_call(fake_observer *f, int fd, uint32_t pcode, uint32_t channel, obv_span arg)
{
    const bool is_stream = pcode != 0x472;
    obv_buf out = obv_buf_heap(64 << 20);
    const int32_t rcode = f->handler(f->ctx, pcode, arg, &out);
    const uint64_t session = 1000 + channel;
    bool alive = true;
    if (rcode != 0 || !is_stream || out.len <= f->chunk) {
        const bool more = atomic_load(&f->stream_for_one) != 0;
        fake_send(f, fd, pcode, channel, more ? 0xc000 : 0x8000, more ? session : 0, rcode, is_stream,
                  obv_buf_span(&out));
    } else {
        const int now = atomic_fetch_add(&f->running, 1) + 1;
        if (now > atomic_load(&f->most_running))
            atomic_store(&f->most_running, now);
        uint32_t answer_to = channel;
        for (size_t at = 0; at < out.len && alive; at += f->chunk) {
            const size_t n = out.len - at < f->chunk ? out.len - at : f->chunk;
            const bool last = at + n == out.len;
            const int error = at > 0 ? atomic_exchange(&f->error_in_stream, 0) : 0;
            uint64_t shown = session;
            if (at > 0 && !last && atomic_load(&f->wrong_sessions) > 0)
                shown += atomic_fetch_sub(&f->wrong_sessions, 1) > 0;
            fake_send(f, fd, pcode, answer_to, last || (error && !atomic_load(&f->error_goes_on)) ? 0xe000 : 0xc000,
                      shown, error, true, (obv_span){out.data + at, n});
            if (last || (error && !atomic_load(&f->error_goes_on)))
                break;
            uint8_t next[16 + 160];
            while (atomic_load(&f->stall_in_stream) && !atomic_load(&f->stop))
                usleep(1000);
            alive = fake_read(fd, next, sizeof next);
            obv_rd r = obv_rd_of((obv_span){next, sizeof next});
            (void)obv_rd_bytes(&r, 8);
            answer_to = obv_rd_be32(&r);
            (void)obv_rd_bytes(&r, 4);
            alive = alive && obv_rd_be32(&r) == pcode;
            (void)obv_rd_bytes(&r, 2);
            const uint16_t next_flags = obv_rd_be16(&r);
            (void)obv_rd_bytes(&r, 8 + 16);
            alive = alive && (next_flags & 0x4000) && obv_rd_be64(&r) == session;
            if (alive && (next_flags & 0x2000)) {
                atomic_fetch_add(&f->aborts, 1);
                fake_send(f, fd, pcode, answer_to, 0xe000, session, -4008, true, (obv_span){0});
                break;
            }
        }
        atomic_fetch_sub(&f->running, 1);
    }
    obv_buf_fini(&out);
    return alive;
}

typedef struct fake_connection {
    fake_observer *f;
    int fd;
} fake_connection;

static inline void *fake_serve(void *arg)
{
    fake_connection *c = arg;
    fake_observer *f = c->f;
    uint8_t head[16 + 160];
    bool alive = true;
    while (alive && fake_read(c->fd, head, sizeof head)) {
        obv_rd r = obv_rd_of((obv_span){head, sizeof head});
        (void)obv_rd_bytes(&r, 4);
        const uint32_t len = obv_rd_be32(&r);
        const uint32_t channel = obv_rd_be32(&r);
        (void)obv_rd_be32(&r);
        const uint32_t pcode = obv_rd_be32(&r);
        (void)obv_rd_bytes(&r, 2);
        const uint16_t flags = obv_rd_be16(&r);
        const uint64_t checksum = obv_rd_be64(&r);
        uint8_t arg_room[65536];
        const size_t n = len - 160;
        if (!fake_good_header(head) || n > sizeof arg_room || !fake_read(c->fd, arg_room, n))
            break;
        if (flags & 0x4000) { /* of a stream that is over */
            atomic_fetch_add(&f->aborts, (flags & 0x2000) != 0);
            continue;
        }
        atomic_fetch_add(&f->requests, 1);
        while (atomic_load(&f->stall) && !atomic_load(&f->stop))
            usleep(1000);
        if (atomic_load(&f->close_requests) > 0 && atomic_fetch_sub(&f->close_requests, 1) > 0)
            break;
        const obv_span a = {arg_room, n};
        alive = obv_crc64(0, a) == checksum && fake_call(f, c->fd, pcode, channel, a);
    }
    (void)shutdown(c->fd, SHUT_RDWR);
    free(c);
    return NULL;
}

static inline void *fake_accept(void *arg)
{
    fake_observer *f = arg;
    while (!atomic_load(&f->stop)) {
        const int fd = accept(f->listener, NULL, NULL);
        const int i = atomic_load(&f->connections);
        if (fd < 0 || i == FAKE_CONNECTIONS)
            continue;
        fake_connection *c = malloc(sizeof *c);
        *c = (fake_connection){f, fd};
        f->fds[i] = fd;
        pthread_create(&f->threads[i], NULL, fake_serve, c);
        atomic_fetch_add(&f->connections, 1);
    }
    return NULL;
}

static inline void fake_start(fake_observer *f, fake_handler *handler, void *ctx)
{
    memset(f, 0, sizeof *f);
    f->handler = handler;
    f->ctx = ctx;
    f->chunk = 4096;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listener >= 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(f->listener, (struct sockaddr *)(void *)&a, sizeof a), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)(void *)&a, &len), 0);
    f->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&f->acceptor, NULL, fake_accept, f), 0);
}

static inline void fake_stop(fake_observer *f)
{
    atomic_store(&f->stop, true);
    (void)shutdown(f->listener, SHUT_RDWR);
    (void)pthread_join(f->acceptor, NULL);
    (void)close(f->listener);
    for (int i = 0; i < atomic_load(&f->connections); i++) {
        (void)shutdown(f->fds[i], SHUT_RDWR);
        (void)pthread_join(f->threads[i], NULL);
        (void)close(f->fds[i]);
    }
}

#endif
