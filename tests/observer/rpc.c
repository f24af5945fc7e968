/* rpc.c - storage RPC server: one thread per connection, streams, the five read codes
 *
 * Anything else than the five codes is refused and logged as a violation: tests assert that none ever came.
 */
#include "rpc.h"

#include "rpcfmt.h"
#include "rpcsrv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lz4.h>
#include <zstd.h>

#define MAX_PACKET (64u << 20)

static int recv_all(struct host *h, int fd, uint8_t *p, size_t n, int64_t timeout_us)
{
    int64_t end = timeout_us ? now_us() + timeout_us : 0;
    while (n) {
        struct pollfd f = {.fd = fd, .events = POLLIN};
        int rc = poll(&f, 1, 100);
        if (h->stopping || (end && now_us() > end))
            return -ETIMEDOUT;
        if (rc <= 0)
            continue;
        ssize_t k = recv(fd, p, n, 0);
        if (k <= 0)
            return k < 0 ? -errno : -ECONNRESET;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static int send_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return -EPIPE;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

void rpc_log(struct rpc_call *c, int rc, const char *note)
{
    char name[64] = "-", line[256];
    if (c->pg.table_id)
        snprintf(name, sizeof name, "%" PRIu64 "/%" PRId64, c->pg.table_id, pkey_partition_id(&c->pg));
    int n =
        snprintf(line, sizeof line, "%" PRId64 " %s %#x %s rc=%d %s\n", now_us(), c->peer, c->h.pcode, name, rc, note);
    if (write(c->host->rpc_log_fd, line, (size_t)n) < 0)
        return;
}

/* ---- faults */

struct fault {
    struct fault *next;
    char kind[16];
    uint32_t pcode;
    bool any_pg;
    struct pkey pg;
    int64_t arg;
    int count;
};

int fault_add(struct host *h, const char *kind, uint32_t pcode, const struct pkey *pg, int64_t arg, int count)
{
    if (strcmp(kind, "none") == 0) { /* what was asked for and did not come yet */
        pthread_mutex_lock(&h->fault_mu);
        for (struct fault *f = h->faults; f; f = f->next)
            f->count = 0;
        pthread_mutex_unlock(&h->fault_mu);
        return 0;
    }
    struct fault *f = xcalloc(1, sizeof *f);
    snprintf(f->kind, sizeof f->kind, "%s", kind);
    f->pcode = pcode;
    f->any_pg = !pg;
    if (pg)
        f->pg = *pg;
    f->arg = arg;
    f->count = count;
    pthread_mutex_lock(&h->fault_mu);
    f->next = h->faults;
    h->faults = f;
    pthread_mutex_unlock(&h->fault_mu);
    return 0;
}

bool fault_take(struct rpc_call *c, const char *kind, int64_t *arg)
{
    struct host *h = c->host;
    bool hit = false;
    pthread_mutex_lock(&h->fault_mu);
    for (struct fault *f = h->faults; f && !hit; f = f->next) {
        if (f->count <= 0 || strcmp(f->kind, kind) || (f->pcode && f->pcode != c->h.pcode) ||
            (!f->any_pg && !pkey_eq(&f->pg, &c->pg)))
            continue;
        f->count--;
        *arg = f->arg;
        hit = true;
    }
    pthread_mutex_unlock(&h->fault_mu);
    return hit;
}

/* ---- packets */

static int read_packet(struct host *h, int fd, uint32_t *chid, struct obuf *b, int64_t timeout)
{
    uint8_t net[RPC_NET_HDR];
    for (;;) {
        int rc = recv_all(h, fd, net, sizeof net, timeout);
        if (rc)
            return rc;
        size_t n = ldbe32(net + 4);
        bool keepalive = net[0] != 0xff && (net[0] & 0x40);
        if (n > MAX_PACKET || (!keepalive && ldbe32(net) != 0x01DBDBCE))
            return -EPROTO;
        b->n = 0;
        rc = recv_all(h, fd, ob_grow(b, n), n, timeout ? timeout : 10000000);
        if (rc || !keepalive) {
            *chid = ldbe32(net + 8);
            return rc;
        }
    }
}

/* What result_compress_type would do: 2 lz4_1.0, 8 zstd_1.3.8. */
static bool compress_payload(int method, const struct obuf *in, struct obuf *out)
{
    size_t cap = method == C_LZ4 ? (size_t)LZ4_compressBound((int)in->n) : ZSTD_compressBound(in->n), n;
    uint8_t *to = ob_grow(out, cap);
    if (method == C_LZ4) {
        int got = LZ4_compress_default((const char *)in->p, (char *)to, (int)in->n, (int)cap);
        n = got > 0 ? (size_t)got : in->n;
    } else {
        n = ZSTD_compress(to, cap, in->p, in->n, 1);
    }
    out->n = n;
    return !ZSTD_isError(n) && n < in->n;
}

static int answer(struct rpc_call *c, uint16_t flags, int64_t session, const struct obuf *payload)
{
    struct obuf b = {0};
    struct rpc_header r = {.pcode = c->h.pcode,
                           .flags = (uint16_t)(RPC_RESP | flags),
                           .session_id = session,
                           .dst_cluster_id = c->h.src_cluster_id,
                           .src_cluster_id = -1,
                           .unis_version = CLUSTER_VERSION,
                           .cost = {10, 10, 11, 2, 1}};
    r.trace[0] = c->h.trace[0];
    r.trace[1] = c->h.trace[1];
    r.packet_id = c->h.packet_id;
    r.arrival = now_us();
    struct obuf small = {0};
    int method = (int)c->host->knob.rpc_compress;
    if (method && compress_payload(method, payload, &small)) {
        r.compressor = method;
        r.original_len = (int32_t)payload->n;
        enc_rpc(&b, &r, c->chid, small.p, small.n);
    } else {
        enc_rpc(&b, &r, c->chid, payload->p, payload->n);
    }
    ob_free(&small);
    int64_t arg;
    if (fault_take(c, "unsum", &arg))
        b.p[RPC_NET_HDR + 8] ^= 1;
    size_t n = b.n;
    if (fault_take(c, "cut", &arg))
        n /= 2;
    int rc = send_all(c->fd, b.p, n);
    if (n < b.n)
        rc = -EPIPE;
    ob_free(&b);
    return rc;
}

static int answer_code(struct rpc_call *c, uint16_t flags, int64_t session, int rcode)
{
    struct obuf p = {0};
    enc_result(&p, rcode, "", (int)c->host->knob.rpc_warnings);
    int rc = answer(c, flags, session, &p);
    ob_free(&p);
    return rc;
}

/* ---- streams: the chunk is sent when the next object does not fit; then the peer asks for more */

static int next_request(struct rpc_call *c)
{
    struct obuf b = {0};
    size_t off;
    uint32_t chid;
    int rc = read_packet(c->host, c->fd, &chid, &b, c->host->knob.stream_wait_us);
    struct rpc_header h;
    if (!rc && (!dec_rpc(&h, b.p, b.n, &off) || h.pcode != c->h.pcode || h.session_id != c->session ||
                !(h.flags & RPC_STREAM)))
        rc = -EPROTO;
    if (!rc && ob_crc(0, b.p + off, b.n - off) != h.checksum)
        rc = -EPROTO;
    ob_free(&b);
    if (rc == -ETIMEDOUT && !c->host->stopping) { /* the connection lives on; whoever asks later finds no session */
        rpc_log(c, -4067, "stream timed out");
        return STREAM_ABORTED;
    }
    if (rc)
        return rc;
    c->chid = chid;
    if (h.flags & RPC_LAST) {
        answer_code(c, RPC_STREAM | RPC_LAST, c->session, -4008);
        return STREAM_ABORTED;
    }
    return 0;
}

static int send_chunk(struct rpc_call *c, bool last)
{
    struct obuf p = {0};
    uint16_t flags = 0;
    if (!last || c->streaming)
        flags = last ? RPC_STREAM | RPC_LAST : RPC_STREAM;
    enc_result(&p, 0, "", (int)c->host->knob.rpc_warnings);
    enc_data_buffer(&p, c->chunk.p, c->chunk.n);
    int rc = answer(c, flags, flags ? c->session : 0, &p);
    ob_free(&p);
    c->chunk.n = 0;
    c->streaming = true;
    return rc;
}

static int flush(struct rpc_call *c)
{
    int64_t arg;
    int rc = send_chunk(c, false);
    if (!rc)
        rc = next_request(c);
    if (!rc && fault_take(c, "break", &arg)) {
        answer_code(c, RPC_STREAM | RPC_LAST, c->session, (int)arg);
        rc = STREAM_ABORTED;
    }
    return rc;
}

int stream_object(struct rpc_call *c, const uint8_t *p, size_t n)
{
    if (n > RPC_CHUNK)
        return -4016;
    int rc = c->chunk.n + n > RPC_CHUNK ? flush(c) : 0;
    if (!rc)
        ob_put(&c->chunk, p, n);
    return rc;
}

int stream_bytes(struct rpc_call *c, const uint8_t *p, size_t n)
{
    int rc = 0;
    while (n && !rc) {
        size_t room = RPC_CHUNK - c->chunk.n;
        if (!room) {
            rc = flush(c);
            continue;
        }
        size_t k = n < room ? n : room;
        ob_put(&c->chunk, p, k);
        p += k;
        n -= k;
    }
    return rc;
}

/* ---- one request */

static const struct {
    uint32_t pcode;
    int (*fn)(struct rpc_call *, struct oin *);
    bool stream;
} CALLS[] = {{0x472, rpc_pg_info, false},
             {0x473, rpc_pg_partitions, true},
             {0x45D, rpc_base_meta, true},
             {0x471, rpc_macro_blocks, true},
             {0x487, rpc_recovery_points, true}};

static int refuse(struct rpc_call *c, int code, const char *note)
{
    rpc_log(c, code, note);
    return answer_code(c, c->h.flags & RPC_STREAM ? 0 : 0, 0, code);
}

/* ObRuntimeContext behind the argument, when the flag says that it is there. */
static int check_context(const uint8_t *payload, size_t n)
{
    struct oin in = {.p = payload, .n = n}, body;
    in_vi(&in);
    in_bytes(&in, in_vi(&in)); /* the argument: its call looks into it */
    struct oin version = in;
    if (in.bad)
        return -4034;
    uint64_t v = in_vi(&version);
    if (!version.bad && v != 1)
        return -4007;
    if (!in_unis(&in, 1, &body))
        return -4034;
    in_vi(&body);
    return body.bad && body.n ? -4034 : 0;
}

static int serve(struct rpc_call *c, const uint8_t *payload, size_t n)
{
    int64_t arg;
    if (ob_crc(0, payload, n) != c->h.checksum)
        return refuse(c, -4103, "checksum");
    size_t k = 0;
    while (k < sizeof CALLS / sizeof *CALLS && CALLS[k].pcode != c->h.pcode)
        k++;
    if (k == sizeof CALLS / sizeof *CALLS)
        return refuse(c, -4007, "VIOLATION");
    if (c->h.timeout <= 0)
        return refuse(c, -4012, "timeout");
    if (c->h.dst_cluster_id != -1 && c->h.dst_cluster_id != c->host->cluster_id)
        return refuse(c, -8004, "cluster");
    if (c->h.flags & RPC_STREAM)
        return refuse(c, -4067, "no such stream");
    if (c->h.compressor != 0 && c->h.compressor != 1)
        return refuse(c, -4007, "compressed request");
    int context = c->h.flags & RPC_CONTEXT ? check_context(payload, n) : 0;
    if (context)
        return refuse(c, context, "runtime context");
    if (c->h.flags & RPC_NO_RESPONSE) {
        rpc_log(c, 0, "no response wanted");
        return 0;
    }
    c->pg = (struct pkey){0};
    c->result.n = c->chunk.n = 0;
    c->streaming = false;
    c->session = now_us() & 0x7fffffff;
    struct oin in = {.p = payload, .n = n};
    rpc_peek_pg(c, in);
    if (fault_take(c, "stall", &arg))
        sleep_us(arg);
    int rc = fault_take(c, "code", &arg) ? (int)arg : CALLS[k].fn(c, &in);
    if (rc == STREAM_ABORTED) {
        rpc_log(c, 0, "ended early");
        return 0;
    }
    if (rc > -1000 && rc < 0)
        return rc; /* connection is gone */
    rpc_log(c, rc, c->streaming ? "stream" : "");
    if (rc)
        return answer_code(c, c->streaming ? RPC_STREAM | RPC_LAST : 0, c->streaming ? c->session : 0, rc);
    if (CALLS[k].stream)
        return send_chunk(c, true);
    struct obuf p = {0};
    enc_result(&p, 0, "", (int)c->host->knob.rpc_warnings);
    ob_put(&p, c->result.p, c->result.n);
    rc = answer(c, 0, 0, &p);
    ob_free(&p);
    return rc;
}

static void *connection(void *arg)
{
    struct rpc_call *c = arg;
    struct obuf b = {0};
    while (!c->host->stopping) {
        size_t off;
        if (read_packet(c->host, c->fd, &c->chid, &b, 0))
            break;
        c->pg = (struct pkey){0};
        if (!dec_rpc(&c->h, b.p, b.n, &off)) {
            rpc_log(c, -4007, "VIOLATION short packet");
            break;
        }
        if (serve(c, b.p + off, b.n - off))
            break;
    }
    close(c->fd);
    ob_free(&b);
    ob_free(&c->chunk);
    ob_free(&c->result);
    free(c);
    return NULL;
}

struct listener {
    struct host *h;
    int fd;
};

static void *listen_main(void *arg)
{
    struct listener *l = arg;
    struct host *h = l->h;
    while (!h->stopping) {
        struct pollfd f = {.fd = l->fd, .events = POLLIN};
        if (poll(&f, 1, 200) <= 0)
            continue;
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        int fd = accept4(l->fd, (struct sockaddr *)&a, &n, SOCK_CLOEXEC), one = 1;
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct rpc_call *c = xcalloc(1, sizeof *c);
        c->host = h;
        c->fd = fd;
        char ip[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &a.sin_addr, ip, sizeof ip);
        snprintf(c->peer, sizeof c->peer, "%s:%d", ip, ntohs(a.sin_port));
        pthread_t t;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&t, &attr, connection, c)) {
            close(fd);
            free(c);
        }
        pthread_attr_destroy(&attr);
    }
    close(l->fd);
    free(l);
    return NULL;
}

int rpc_start(struct host *h)
{
    const struct host_addr *me = host_self(h);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)me->rpc_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    inet_pton(AF_INET, me->ip, &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 128) < 0) {
        int rc = errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    struct listener *l = xcalloc(1, sizeof *l);
    l->h = h;
    l->fd = fd;
    return pthread_create(&h->rpc_thread, NULL, listen_main, l);
}

void rpc_stop(struct host *h) { pthread_join(h->rpc_thread, NULL); }
