#include "source/observer_rpc.h"

#include "base/clock.h"
#include "source/observer.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { POLL_STEP_MS = 100 }; /* how soon a cancelled call notices */
#define RECEIVE_MAX (OBV_RPC_NET_HEADER_LEN + OBV_RPC_PACKET_MAX)

/* One connection; the call that holds the slot owns all of it. */
typedef struct slot {
    int fd; /* -1: not connected */
    bool busy;
    bool fresh;       /* no answer has come over this connection yet */
    uint32_t channel; /* of the last request */
    uint8_t *in;      /* RECEIVE_MAX bytes, made at first use */
    size_t in_len;
} slot;

struct obv_observer_rpc {
    obv_observer_rpc_config cfg;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    uint64_t trace; /* of the last call, under lock */
    slot slots[OBV_OBSERVER_SLOTS_MAX];
};

/* A running call. */
typedef struct exchange {
    obv_observer_rpc *rpc;
    slot *s;
    obv_rpc_request req;
    const obv_cancel *cancel;
    bool answered; /* bytes of an answer have come: the request cannot be repeated unseen */
} exchange;

obv_code obv_observer_rpc_new(const obv_observer_rpc_config *cfg, obv_observer_rpc **out, obv_err *err)
{
    if (cfg->slots < 1 || cfg->slots > OBV_OBSERVER_SLOTS_MAX || cfg->timeout_ms == 0 || cfg->port == 0)
        return obv_fail(err, OBV_E_INVAL, 0, "storage RPC: %u streams, port %u", cfg->slots, cfg->port);
    obv_observer_rpc *rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return obv_fail(err, OBV_E_NOMEM, 0, "storage RPC");
    rpc->cfg = *cfg;
    rpc->trace = (uint64_t)obv_now_us();
    for (size_t i = 0; i < OBV_OBSERVER_SLOTS_MAX; i++)
        rpc->slots[i].fd = -1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&rpc->freed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&rpc->lock, NULL);
    *out = rpc;
    return OBV_OK;
}

void obv_observer_rpc_free(obv_observer_rpc *rpc)
{
    if (!rpc)
        return;
    for (size_t i = 0; i < OBV_OBSERVER_SLOTS_MAX; i++) {
        obv_close_fd(&rpc->slots[i].fd);
        free(rpc->slots[i].in);
    }
    pthread_cond_destroy(&rpc->freed);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc);
}

/* ---- slots */

static slot *free_slot(obv_observer_rpc *rpc)
{
    for (uint32_t i = 0; i < rpc->cfg.slots; i++)
        if (!rpc->slots[i].busy)
            return &rpc->slots[i];
    return NULL;
}

static obv_code take_slot(obv_observer_rpc *rpc, const obv_cancel *c, slot **out, uint64_t *trace, obv_err *err)
{
    obv_code code = OBV_OK;
    pthread_mutex_lock(&rpc->lock);
    while (!(*out = free_slot(rpc)) && (code = obv_cancel_check(c, "wait for a storage RPC stream", err)) == OBV_OK) {
        const int64_t until = obv_mono_ns() + POLL_STEP_MS * OBV_NS_PER_MS;
        const struct timespec ts = {.tv_sec = until / OBV_NS_PER_S, .tv_nsec = until % OBV_NS_PER_S};
        (void)pthread_cond_timedwait(&rpc->freed, &rpc->lock, &ts);
    }
    if (*out) {
        (*out)->busy = true;
        *trace = ++rpc->trace;
    }
    pthread_mutex_unlock(&rpc->lock);
    return code;
}

static void give_slot(obv_observer_rpc *rpc, slot *s)
{
    pthread_mutex_lock(&rpc->lock);
    s->busy = false;
    pthread_cond_signal(&rpc->freed);
    pthread_mutex_unlock(&rpc->lock);
}

static void disconnect(slot *s)
{
    obv_close_fd(&s->fd);
    s->fd = -1;
    s->in_len = 0;
}

/* ---- sockets */

/* Waits until @p events or the deadline; any error of the socket shows up at the next read or write. */
static obv_code wait_for(const exchange *x, short events, int64_t deadline, const char *what, obv_err *err)
{
    for (;;) {
        OBV_TRY(obv_cancel_check(x->cancel, what, err));
        const int64_t left_ms = (deadline - obv_mono_ns()) / OBV_NS_PER_MS;
        if (left_ms <= 0)
            return obv_fail(err, OBV_E_TIMEOUT, 0, "%s: no answer within %u ms", what, x->rpc->cfg.timeout_ms);
        struct pollfd p = {.fd = x->s->fd, .events = events};
        const int n = poll(&p, 1, left_ms < POLL_STEP_MS ? (int)left_ms : POLL_STEP_MS);
        if (n > 0)
            return OBV_OK;
        if (n < 0 && errno != EINTR)
            return obv_fail(err, OBV_E_IO, errno, "%s: poll", what);
    }
}

static int64_t deadline_of(const exchange *x) { return obv_mono_ns() + x->rpc->cfg.timeout_ms * OBV_NS_PER_MS; }

static obv_code connect_slot(exchange *x, obv_err *err)
{
    slot *s = x->s;
    const obv_observer_rpc_config *cfg = &x->rpc->cfg;
    if (s->fd >= 0)
        return OBV_OK;
    if (!s->in && !(s->in = malloc(RECEIVE_MAX)))
        return obv_fail(err, OBV_E_NOMEM, 0, "storage RPC: receive buffer");
    s->in_len = 0;
    s->fresh = true;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "storage RPC: socket");
    const int on = 1;
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(cfg->port), .sin_addr.s_addr = htonl(cfg->ip)};
    int failed = connect(s->fd, (const struct sockaddr *)(const void *)&to, sizeof to) == 0 ? 0 : errno;
    if (failed == EINPROGRESS) {
        const obv_code code = wait_for(x, POLLOUT, deadline_of(x), "storage RPC: connect", err);
        if (code != OBV_OK) {
            disconnect(s);
            return code;
        }
        socklen_t len = sizeof failed;
        failed = 0;
        (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &len);
    }
    if (failed) {
        disconnect(s);
        return obv_fail(err, OBV_E_UNAVAILABLE, failed, "storage RPC: connect to port %u: %s", cfg->port,
                        strerror(failed));
    }
    return OBV_OK;
}

static obv_code send_bytes(exchange *x, obv_span bytes, obv_err *err)
{
    const int64_t deadline = deadline_of(x);
    while (bytes.len > 0) {
        const ssize_t n = send(x->s->fd, bytes.p, bytes.len, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes.p += n;
            bytes.len -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            OBV_TRY(wait_for(x, POLLOUT, deadline, "storage RPC: send", err));
        } else if (errno != EINTR) {
            return obv_fail(err, OBV_E_UNAVAILABLE, errno, "storage RPC: send: %s", strerror(errno));
        }
    }
    return OBV_OK;
}

static obv_code send_request(exchange *x, enum obv_rpc_stream_op op, int64_t session, obv_err *err)
{
    x->req.op = op;
    x->req.session = session;
    x->req.channel = ++x->s->channel;
    x->req.timestamp_us = obv_now_us();
    obv_rpc_request r = x->req;
    if (op != OBV_RPC_BEGIN)
        r.payload = (obv_span){NULL, 0};
    obv_buf b = obv_buf_heap(OBV_RPC_NET_HEADER_LEN + OBV_RPC_HEADER_LEN + OBV_RPC_REQUEST_MAX);
    obv_rpc_put_request(&b, &r);
    obv_code code = obv_buf_check(&b, "storage RPC request", err);
    if (code == OBV_OK)
        code = send_bytes(x, obv_buf_span(&b), err);
    obv_buf_fini(&b);
    return code;
}

/* Reads exactly one frame into the slot's buffer, keep-alive packets dropped. */
static obv_code receive_frame(exchange *x, obv_span *frame, obv_err *err)
{
    slot *s = x->s;
    const int64_t deadline = deadline_of(x);
    for (;;) {
        obv_rpc_frame_kind kind;
        size_t total = 0;
        OBV_TRY(obv_rpc_frame((obv_span){s->in, s->in_len}, &kind, &total, err));
        if (kind == OBV_FRAME_PACKET) {
            *frame = (obv_span){s->in, total};
            s->in_len = 0; /* reads never go past the frame */
            return OBV_OK;
        }
        if (kind == OBV_FRAME_KEEPALIVE) {
            s->in_len = 0;
            continue;
        }
        const ssize_t n = recv(s->fd, s->in + s->in_len, total - s->in_len, 0);
        if (n > 0) {
            s->in_len += (size_t)n;
            x->answered = true;
        } else if (n == 0) {
            return obv_fail(err, OBV_E_UNAVAILABLE, 0, "storage RPC: the server closed the connection");
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            OBV_TRY(wait_for(x, POLLIN, deadline, "storage RPC", err));
        } else if (errno != EINTR) {
            return obv_fail(err, OBV_E_UNAVAILABLE, errno, "storage RPC: receive: %s", strerror(errno));
        }
    }
}

/* ---- calls */

static obv_code receive_packet(exchange *x, obv_rpc_packet *p, obv_err *err)
{
    obv_span frame;
    OBV_TRY(receive_frame(x, &frame, err));
    OBV_TRY(obv_rpc_packet_parse(frame, p, err));
    if (p->channel != x->req.channel || p->pcode != obv_rpc_pcode(x->req.call))
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: answer 0x%x on channel %u to 0x%x on channel %u", p->pcode,
                        p->channel, obv_rpc_pcode(x->req.call), x->req.channel);
    x->s->fresh = false;
    return OBV_OK;
}

static obv_code server_error(const exchange *x, const obv_rpc_result *res, obv_err *err)
{
    return obv_fail(err, obv_observer_code(res->rcode), res->rcode, "storage RPC 0x%x: OceanBase error %d %.*s",
                    obv_rpc_pcode(x->req.call), (int)res->rcode, (int)(res->message.len < 200 ? res->message.len : 200),
                    (const char *)res->message.p);
}

/* Tells the server that nobody reads on, so that its thread need not wait its 10 s. Best effort. */
static void abort_stream(exchange *x, int64_t session)
{
    exchange quiet = *x;
    quiet.cancel = NULL;
    if (x->s->fd >= 0)
        (void)!send_request(&quiet, OBV_RPC_ABORT, session, NULL);
}

/* First request to last answer on a connected slot. */
static obv_code run(exchange *x, bool is_stream, obv_buf *out, obv_err *err)
{
    OBV_TRY(send_request(x, OBV_RPC_BEGIN, 0, err));
    obv_buf scratch = obv_buf_heap(RECEIVE_MAX);
    obv_rpc_packet p = {0};
    int64_t session = 0;
    bool more = true;
    obv_code code = OBV_OK;
    while (code == OBV_OK && more) {
        obv_rpc_result res = {0};
        obv_span body;
        scratch.len = 0;
        if ((code = receive_packet(x, &p, err)) != OBV_OK ||
            (code = obv_rpc_body(&p, &scratch, &body, err)) != OBV_OK ||
            (code = obv_rpc_result_parse(body, &res, err)) != OBV_OK)
            break;
        more = p.is_stream && !p.is_last;
        if (more && session != 0 && p.session != session)
            code =
                obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: session %" PRId64 " became %" PRId64, session, p.session);
        session = more ? p.session : 0;
        obv_span bytes = res.rest;
        if (code == OBV_OK && res.rcode != 0)
            code = server_error(x, &res, err);
        if (code == OBV_OK && is_stream)
            code = obv_rpc_data_buffer(res.rest, &bytes, err);
        if (code == OBV_OK) {
            obv_buf_append(out, bytes.p, bytes.len);
            code = obv_buf_check(out, "answer of the storage RPC", err);
        }
        if (code == OBV_OK && more && !is_stream)
            code = obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a stream where one answer was due");
        if (code == OBV_OK && more)
            code = send_request(x, OBV_RPC_NEXT, session, err);
    }
    obv_buf_fini(&scratch);
    if (code != OBV_OK && session != 0) {
        abort_stream(x, session);
        disconnect(x->s); /* the server answers that too: the next call must not take it for its own */
    }
    return code;
}

/* An error that the server itself answered leaves the connection in step; every other one does not. */
static bool in_step(obv_code code, const obv_err *e) { return code == OBV_OK || (e->sys <= -4000 && e->sys > -20000); }

static obv_code call(obv_observer_rpc *rpc, obv_rpc_call which, obv_span arg, bool is_stream, const obv_cancel *c,
                     obv_buf *out, obv_err *err)
{
    obv_err local = {0};
    exchange x = {.rpc = rpc, .cancel = c};
    uint64_t trace = 0;
    if (arg.len > OBV_RPC_REQUEST_MAX)
        return obv_fail(err, OBV_E_LIMIT, 0, "storage RPC: an argument of %zu bytes", arg.len);
    OBV_TRY(take_slot(rpc, c, &x.s, &trace, err));
    x.req = (obv_rpc_request){.call = which,
                              .cluster_id = rpc->cfg.cluster_id,
                              .trace = {(uint64_t)rpc->cfg.ip << 32 | rpc->cfg.port, trace},
                              .timeout_us = rpc->cfg.timeout_ms * INT64_C(1000),
                              .payload = arg};
    const size_t out_len = out->len;
    obv_code code = OBV_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        code = connect_slot(&x, &local);
        const bool reused = code == OBV_OK && !x.s->fresh;
        if (code == OBV_OK)
            code = run(&x, is_stream, out, &local);
        if (!in_step(code, &local))
            disconnect(x.s);
        /* Once more: an idle connection that the server had closed (found out only now), or bytes damaged on the way.
         */
        const bool was_closed = code == OBV_E_UNAVAILABLE && reused && !x.answered;
        if (in_step(code, &local) || !(was_closed || code == OBV_E_CORRUPT))
            break;
        x.answered = false;
        out->len = out_len;
    }
    give_slot(rpc, x.s);
    if (code != OBV_OK && err)
        *err = local;
    return code;
}

obv_code obv_observer_rpc_unary(obv_observer_rpc *rpc, obv_rpc_call which, obv_span arg, const obv_cancel *c,
                                obv_buf *out, obv_err *err)
{
    return call(rpc, which, arg, false, c, out, err);
}

obv_code obv_observer_rpc_stream(obv_observer_rpc *rpc, obv_rpc_call which, obv_span arg, const obv_cancel *c,
                                 obv_buf *out, obv_err *err)
{
    return call(rpc, which, arg, true, c, out, err);
}

/* ---- classes of OceanBase's error numbers */

obv_code obv_observer_code(int32_t rcode)
{
    static const struct {
        int32_t number;
        obv_code code;
    } CLASSES[] = {
        {0, OBV_OK},
        {-4002, OBV_E_INTERNAL},     /* INVALID_ARGUMENT: our mistake */
        {-4007, OBV_E_UNSUPPORTED},  /* NOT_SUPPORTED */
        {-4009, OBV_E_UNAVAILABLE},  /* IO_ERROR: this block, again */
        {-4012, OBV_E_TIMEOUT},      /* TIMEOUT, also in the server's queue */
        {-4013, OBV_E_UNAVAILABLE},  /* ALLOCATE_MEMORY_FAILED */
        {-4016, OBV_E_PG_CHANGED},   /* ERR_UNEXPECTED: another block than was named */
        {-4018, OBV_E_PG_CHANGED},   /* ENTRY_NOT_EXIST */
        {-4023, OBV_E_PG_CHANGED},   /* EAGAIN */
        {-4038, OBV_E_PG_CHANGED},   /* NOT_MASTER */
        {-4065, OBV_E_PG_CHANGED},   /* LOG_NOT_SYNC */
        {-4067, OBV_E_UNAVAILABLE},  /* SESSION_NOT_FOUND */
        {-4103, OBV_E_INTERNAL},     /* CHECKSUM_ERROR of our packet */
        {-4108, OBV_E_CORRUPT},      /* PHYSIC_CHECKSUM_ERROR */
        {-4179, OBV_E_PRECONDITION}, /* OP_NOT_ALLOW */
        {-4191, OBV_E_PG_GONE},      /* PG_IS_REMOVED */
        {-4225, OBV_E_PG_GONE},      /* PARTITION_NOT_EXIST */
        {-4284, OBV_E_PG_CHANGED},   /* MAJOR_SSTABLE_NOT_EXIST */
        {-4375, OBV_E_PRECONDITION}, /* DISK_ERROR: another replica */
        {-4683, OBV_E_PRECONDITION}, /* SRC_DO_NOT_ALLOWED_MIGRATE */
        {-5150, OBV_E_PG_GONE},      /* TENANT_NOT_IN_SERVER */
        {-8004, OBV_E_CONFIG},       /* PACKET_CLUSTER_ID_NOT_MATCH */
    };
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++)
        if (CLASSES[i].number == rcode)
            return CLASSES[i].code;
    return OBV_E_IO; /* not known to us: never repeated blindly */
}
