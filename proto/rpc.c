#include "proto/rpc.h"

#include "proto/tls.h"
#include "proto/wire_error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>

#define REQUEST_DEADLINE_MS 10000 /* a caller that begins a call and sends no request */
#define CONNECT_MS 20000          /* one attempt, which makes no headway while no call is waiting */
#define CONNECT_WAIT_MS 1000      /* of a call on a connection that is down */
#define ERROR_KEY "obv-error-bin" /* trailing metadata */

struct obv_rpc_channel {
    grpc_channel *ch;
};

/* Each call owns a pluck queue, so that every operation is "start a batch, wait for it". */
struct obv_rpc_call {
    grpc_call *call;
    grpc_completion_queue *cq;
    grpc_metadata_array init_md, trail_md;
    bool server, sent_init, finished;
};

typedef struct worker {
    obv_rpc_server *s;
    grpc_completion_queue *cq; /* accept notifications of this thread: a shared queue would mix up the tags */
    pthread_t tid;
    bool running;
} worker;

struct obv_rpc_server {
    grpc_server *srv;
    const obv_rpc_route *routes;
    size_t route_count;
    obv_cancel *stop;
    atomic_uint streams;
    unsigned streams_max;
    unsigned worker_count;
    worker *workers;
};

/* ---- common ground */

static void no_log(gpr_log_func_args *args) { (void)args; }

static void library_up(void)
{
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_function(no_log); /* what matters comes back as a status */
    grpc_init();
}

static bool batch(obv_rpc_call *c, const grpc_op *ops, size_t n, uint32_t timeout_ms)
{
    void *tag = (void *)(uintptr_t)ops;
    if (grpc_call_start_batch(c->call, ops, n, tag, NULL) != GRPC_CALL_OK)
        return false;
    const gpr_timespec at =
        timeout_ms ? gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN))
                   : gpr_inf_future(GPR_CLOCK_MONOTONIC);
    grpc_event ev = grpc_completion_queue_pluck(c->cq, tag, at, NULL);
    if (ev.type == GRPC_QUEUE_TIMEOUT) {
        grpc_call_cancel(c->call, NULL);
        (void)grpc_completion_queue_pluck(c->cq, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        return false;
    }
    return ev.type == GRPC_OP_COMPLETE && ev.success;
}

static grpc_op op_of(grpc_op_type t) { return (grpc_op){.op = t}; }

static grpc_byte_buffer *to_buffer(obv_span m)
{
    grpc_slice s = grpc_slice_from_copied_buffer((const char *)m.p, m.len);
    grpc_byte_buffer *bb = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    return bb;
}

static obv_code from_buffer(grpc_byte_buffer *bb, obv_buf *out, obv_err *err)
{
    grpc_byte_buffer_reader r;
    if (!grpc_byte_buffer_reader_init(&r, bb))
        return obv_fail(err, OBV_E_INVAL, 0, "rpc: a message cannot be read");
    grpc_slice s;
    while (grpc_byte_buffer_reader_next(&r, &s)) {
        obv_buf_append(out, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
        grpc_slice_unref(s);
    }
    grpc_byte_buffer_reader_destroy(&r);
    return obv_buf_check(out, "rpc message", err);
}

static bool is_unix(const char *address) { return strncmp(address, "unix:", 5) == 0; }

/* ---- errors on the wire */

static obv_code status_to_err(const obv_rpc_call *c, grpc_status_code status, grpc_slice details, obv_err *err)
{
    if (status == GRPC_STATUS_OK)
        return OBV_OK;
    (void)obv_fail(err, obv_wire_code((int)status), 0, "%.*s", (int)GRPC_SLICE_LENGTH(details),
                   (const char *)GRPC_SLICE_START_PTR(details));
    obv_code code = obv_wire_code((int)status);
    for (size_t i = 0; i < c->trail_md.count; i++) {
        const grpc_metadata *m = &c->trail_md.metadata[i];
        if (grpc_slice_str_cmp(m->key, ERROR_KEY) == 0)
            code = obv_wire_error_parse(obv_span_of(GRPC_SLICE_START_PTR(m->value), GRPC_SLICE_LENGTH(m->value)), code,
                                        err);
    }
    return code;
}

/* ---- one call */

static void call_fini(obv_rpc_call *c)
{
    if (c->call)
        grpc_call_unref(c->call);
    grpc_completion_queue_shutdown(c->cq);
    grpc_completion_queue_destroy(c->cq);
    grpc_metadata_array_destroy(&c->init_md);
    grpc_metadata_array_destroy(&c->trail_md);
}

static obv_rpc_call *call_begin(obv_rpc_channel *ch, const char *path, uint32_t timeout_ms)
{
    obv_rpc_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    const gpr_timespec deadline =
        timeout_ms ? gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN))
                   : gpr_inf_future(GPR_CLOCK_MONOTONIC);
    grpc_slice p = grpc_slice_from_copied_string(path);
    c->cq = grpc_completion_queue_create_for_pluck(NULL);
    c->call = grpc_channel_create_call(ch->ch, NULL, GRPC_PROPAGATE_DEFAULTS, c->cq, p, NULL, deadline, NULL);
    grpc_slice_unref(p);
    grpc_metadata_array_init(&c->init_md);
    grpc_metadata_array_init(&c->trail_md);
    return c;
}

/* Client: reads the status. A call whose status is never read would leak. */
static obv_code call_status(obv_rpc_call *c, obv_err *err)
{
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_op op = op_of(GRPC_OP_RECV_STATUS_ON_CLIENT);
    op.data.recv_status_on_client.trailing_metadata = &c->trail_md;
    op.data.recv_status_on_client.status = &code;
    op.data.recv_status_on_client.status_details = &details;
    c->finished = true;
    (void)batch(c, &op, 1, 0);
    const obv_code r = status_to_err(c, code, details, err);
    grpc_slice_unref(details);
    return r;
}

void obv_rpc_cancel(obv_rpc_call *call) { (void)grpc_call_cancel(call->call, NULL); }

void obv_rpc_call_end(obv_rpc_call *call)
{
    if (!call)
        return;
    if (!call->finished) {
        obv_rpc_cancel(call);
        (void)call_status(call, NULL);
    }
    call_fini(call);
    free(call);
}

void obv_rpc_call_drop(obv_rpc_call **call)
{
    obv_rpc_call_end(*call);
    *call = NULL;
}

obv_code obv_rpc_send(obv_rpc_call *c, obv_span m, obv_err *err)
{
    grpc_byte_buffer *bb = to_buffer(m);
    grpc_op ops[2];
    size_t n = 0;
    if (!c->sent_init) {
        ops[n++] = op_of(GRPC_OP_SEND_INITIAL_METADATA);
        c->sent_init = true;
    }
    ops[n] = op_of(GRPC_OP_SEND_MESSAGE);
    ops[n++].data.send_message.send_message = bb;
    const bool ok = batch(c, ops, n, 0);
    grpc_byte_buffer_destroy(bb);
    return ok ? OBV_OK : obv_fail(err, OBV_E_UNAVAILABLE, 0, "rpc: the other side is gone");
}

obv_code obv_rpc_recv(obv_rpc_call *c, obv_buf *out, obv_err *err)
{
    grpc_byte_buffer *bb = NULL;
    grpc_op op = op_of(GRPC_OP_RECV_MESSAGE);
    op.data.recv_message.recv_message = &bb;
    const bool ok = !c->finished && batch(c, &op, 1, c->server ? REQUEST_DEADLINE_MS : 0);
    if (ok && bb) {
        const obv_code r = from_buffer(bb, out, err);
        grpc_byte_buffer_destroy(bb);
        return r;
    }
    if (c->server || c->finished)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "rpc: no message came");
    OBV_TRY(call_status(c, err));
    return obv_fail(err, OBV_E_NOT_FOUND, 0, "rpc: end of stream");
}

/* ---- client */

/* A certificate of the right authority is not enough: an agent's must not pass for the coordinator's. */
static int must_be_coordinator(const char *target, const char *pem, void *arg)
{
    (void)target, (void)arg;
    return obv_pem_peer(pem).role == OBV_RPC_COORDINATOR ? 0 : 1;
}

static grpc_arg int_arg(const char *key, int value)
{
    grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    a.value.integer = value;
    return a;
}

obv_code obv_rpc_channel_open(const char *target, const obv_rpc_tls *tls, obv_rpc_channel **out, obv_err *err)
{
    if (!tls && !is_unix(target))
        return obv_fail(err, OBV_E_CONFIG, 0, "rpc: %s needs TLS (ca, cert, key)", target);
    OBV_AUTO(obv_pem_fini) obv_pem pem = {0};
    if (tls)
        OBV_TRY(obv_pem_read(tls, &pem, err));
    obv_rpc_channel *c = calloc(1, sizeof *c);
    if (!c)
        return obv_fail(err, OBV_E_NOMEM, 0, "rpc channel");
    library_up();
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.cert};
    grpc_ssl_verify_peer_options verify = {.verify_peer_callback = must_be_coordinator};
    grpc_channel_credentials *cr =
        tls ? grpc_ssl_credentials_create_ex(pem.ca, &pair, &verify, NULL) : grpc_insecure_credentials_create();
    grpc_arg args[] = {
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 10000),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS), /* which is the connect time-out too */
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 3000),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)OBV_RPC_MESSAGE_MAX),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
    };
    const grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    c->ch = cr ? grpc_channel_create(target, cr, &list) : NULL;
    if (cr)
        grpc_channel_credentials_release(cr);
    if (!c->ch) {
        grpc_shutdown();
        free(c);
        return obv_fail(err, OBV_E_CONFIG, 0, "rpc: no channel to %s: certificate or key unusable", target);
    }
    *out = c;
    return OBV_OK;
}

void obv_rpc_channel_close(obv_rpc_channel *c)
{
    if (!c)
        return;
    grpc_channel_destroy(c->ch);
    grpc_shutdown();
    free(c);
}

void obv_rpc_channel_drop(obv_rpc_channel **c)
{
    obv_rpc_channel_close(*c);
    *c = NULL;
}

static void drain(grpc_completion_queue *cq)
{
    grpc_completion_queue_shutdown(cq);
    while (grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(cq);
}

/*
 * A call fails at once while the connection is down, and the library looks at its sockets only while somebody waits: a
 * caller that only ever fails fast would starve its own reconnect. So each call first waits a moment for the
 * connection.
 */
static void await_connection(obv_rpc_channel *ch, uint32_t timeout_ms)
{
    const uint32_t ms = timeout_ms && timeout_ms < CONNECT_WAIT_MS ? timeout_ms : CONNECT_WAIT_MS;
    const gpr_timespec at = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(ch->ch, 1);
    if (state == GRPC_CHANNEL_READY)
        return;
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_SHUTDOWN) {
        grpc_channel_watch_connectivity_state(ch->ch, state, at, cq, NULL);
        const grpc_event ev = grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (!ev.success)
            break;
        state = grpc_channel_check_connectivity_state(ch->ch, 1);
    }
    drain(cq);
}

obv_code obv_rpc_unary(obv_rpc_channel *ch, const char *path, obv_span req, uint32_t timeout_ms, obv_buf *resp,
                       obv_err *err)
{
    await_connection(ch, timeout_ms);
    OBV_AUTO(obv_rpc_call_drop) obv_rpc_call *c = call_begin(ch, path, timeout_ms);
    if (!c)
        return obv_fail(err, OBV_E_NOMEM, 0, "rpc %s", path);
    grpc_byte_buffer *send = to_buffer(req), *got = NULL;
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_op ops[6] = {
        op_of(GRPC_OP_SEND_INITIAL_METADATA), op_of(GRPC_OP_SEND_MESSAGE), op_of(GRPC_OP_SEND_CLOSE_FROM_CLIENT),
        op_of(GRPC_OP_RECV_INITIAL_METADATA), op_of(GRPC_OP_RECV_MESSAGE), op_of(GRPC_OP_RECV_STATUS_ON_CLIENT),
    };
    ops[1].data.send_message.send_message = send;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->init_md;
    ops[4].data.recv_message.recv_message = &got;
    ops[5].data.recv_status_on_client.trailing_metadata = &c->trail_md;
    ops[5].data.recv_status_on_client.status = &code;
    ops[5].data.recv_status_on_client.status_details = &details;
    c->finished = true;
    (void)batch(c, ops, 6, 0); /* the status says what happened */
    grpc_byte_buffer_destroy(send);
    obv_code r = status_to_err(c, code, details, err);
    grpc_slice_unref(details);
    if (r == OBV_OK && !got)
        r = obv_fail(err, OBV_E_INTERNAL, 0, "rpc %s: answered without a message", path);
    if (r == OBV_OK)
        r = from_buffer(got, resp, err);
    if (got)
        grpc_byte_buffer_destroy(got);
    return r;
}

obv_code obv_rpc_stream(obv_rpc_channel *ch, const char *path, obv_span req, uint32_t timeout_ms, obv_rpc_call **out,
                        obv_err *err)
{
    await_connection(ch, timeout_ms);
    obv_rpc_call *c = call_begin(ch, path, timeout_ms);
    if (!c)
        return obv_fail(err, OBV_E_NOMEM, 0, "rpc %s", path);
    grpc_byte_buffer *send = to_buffer(req);
    grpc_op ops[4] = {
        op_of(GRPC_OP_SEND_INITIAL_METADATA), op_of(GRPC_OP_SEND_MESSAGE), op_of(GRPC_OP_SEND_CLOSE_FROM_CLIENT),
        op_of(GRPC_OP_RECV_INITIAL_METADATA), /* the core holds back the first message until this was asked for */
    };
    ops[1].data.send_message.send_message = send;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->init_md;
    const bool ok = batch(c, ops, 4, 0);
    grpc_byte_buffer_destroy(send);
    if (!ok) {
        obv_code r = call_status(c, err);
        if (r == OBV_OK)
            r = obv_fail(err, OBV_E_UNAVAILABLE, 0, "rpc %s: not sent", path);
        obv_rpc_call_end(c);
        return r;
    }
    *out = c;
    return OBV_OK;
}

/* ---- server */

static void server_finish(obv_rpc_call *c, obv_code code, const obv_err *err)
{
    static const obv_err NONE;
    const obv_err *e = code == OBV_OK || !err ? &NONE : err;
    int cancelled = 0;
    uint8_t packed[OBV_WIRE_ERROR_MAX];
    const size_t packed_len = obv_wire_error_emit(code, e, packed);
    grpc_slice text = grpc_slice_from_copied_string(e->msg);
    grpc_metadata md = {.key = grpc_slice_from_static_string(ERROR_KEY),
                        .value = grpc_slice_from_copied_buffer((const char *)packed, packed_len)};
    grpc_op ops[3];
    size_t n = 0;
    if (!c->sent_init)
        ops[n++] = op_of(GRPC_OP_SEND_INITIAL_METADATA);
    ops[n] = op_of(GRPC_OP_SEND_STATUS_FROM_SERVER);
    ops[n].data.send_status_from_server.status = (grpc_status_code)obv_code_describe(code)->grpc_status;
    ops[n].data.send_status_from_server.status_details = &text;
    ops[n].data.send_status_from_server.trailing_metadata_count = code == OBV_OK ? 0 : 1;
    ops[n++].data.send_status_from_server.trailing_metadata = &md;
    ops[n] = op_of(GRPC_OP_RECV_CLOSE_ON_SERVER);
    ops[n++].data.recv_close_on_server.cancelled = &cancelled;
    c->finished = true;
    (void)batch(c, ops, n, 0);
    grpc_slice_unref(text);
    grpc_slice_unref(md.value);
}

static obv_rpc_peer peer_of(obv_rpc_call *c)
{
    obv_rpc_peer p = {.role = OBV_RPC_NOBODY};
    char *address = grpc_call_get_peer(c->call);
    const bool local = address && is_unix(address);
    gpr_free(address);
    if (local)
        return (obv_rpc_peer){.role = OBV_RPC_OPERATOR, .name = "local"};
    grpc_auth_context *auth = grpc_call_auth_context(c->call);
    if (auth && grpc_auth_context_peer_is_authenticated(auth)) {
        grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(auth, GRPC_X509_CN_PROPERTY_NAME);
        const grpc_auth_property *cn = grpc_auth_property_iterator_next(&it);
        if (cn)
            p = obv_rpc_peer_of_cn(cn->value, cn->value_length);
    }
    grpc_auth_context_release(auth);
    return p;
}

static obv_code run_stream(obv_rpc_server *s, const obv_rpc_route *r, const obv_rpc_peer *peer, obv_span req,
                           obv_rpc_call *c, obv_err *err)
{
    const grpc_op begin = op_of(GRPC_OP_SEND_INITIAL_METADATA); /* the caller waits for it, not for the first message */
    c->sent_init = true;
    obv_code code;
    if (!batch(c, &begin, 1, 0))
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "rpc: the caller is gone");
    if (atomic_fetch_add(&s->streams, 1) >= s->streams_max)
        code = obv_fail(err, OBV_E_LIMIT, 0, "rpc: %u streams are open already", s->streams_max);
    else
        code = r->stream(r->ctx, peer, req, c, s->stop, err);
    atomic_fetch_sub(&s->streams, 1);
    return code;
}

static void serve_call(obv_rpc_server *s, obv_rpc_call *c, grpc_slice method)
{
    obv_err err = {0};
    obv_code code = obv_fail(&err, OBV_E_UNSUPPORTED, 0, "rpc: no such method");
    for (size_t i = 0; i < s->route_count; i++) {
        const obv_rpc_route *r = &s->routes[i];
        if (grpc_slice_str_cmp(method, r->path) != 0)
            continue;
        obv_buf req = obv_buf_heap(OBV_RPC_MESSAGE_MAX), resp = obv_buf_heap(OBV_RPC_MESSAGE_MAX);
        const obv_rpc_peer peer = peer_of(c);
        err = (obv_err){0};
        code = obv_rpc_recv(c, &req, &err);
        if (code == OBV_OK && r->stream)
            code = run_stream(s, r, &peer, obv_buf_span(&req), c, &err);
        else if (code == OBV_OK)
            code = r->unary(r->ctx, &peer, obv_buf_span(&req), &resp, &err);
        if (code == OBV_OK && r->unary)
            code = obv_rpc_send(c, obv_buf_span(&resp), &err);
        obv_buf_fini(&req);
        obv_buf_fini(&resp);
        break;
    }
    server_finish(c, code, &err);
}

/* Accepts one call, runs it to its end, accepts the next. */
static void *serve(void *arg)
{
    worker *w = arg;
    for (bool open = true; open;) {
        obv_rpc_call c = {.server = true, .cq = grpc_completion_queue_create_for_pluck(NULL)};
        grpc_call_details d;
        grpc_call_details_init(&d);
        grpc_metadata_array_init(&c.init_md);
        grpc_metadata_array_init(&c.trail_md);
        open = grpc_server_request_call(w->s->srv, &c.call, &d, &c.init_md, c.cq, w->cq, w) == GRPC_CALL_OK;
        if (open) {
            grpc_event ev = grpc_completion_queue_next(w->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            open = ev.type == GRPC_OP_COMPLETE && ev.success;
        }
        if (open)
            serve_call(w->s, &c, d.method);
        call_fini(&c);
        grpc_call_details_destroy(&d);
    }
    return NULL;
}

static obv_code add_port(obv_rpc_server *s, obv_rpc_listen *l, obv_err *err)
{
    if (!l->tls && !is_unix(l->address))
        return obv_fail(err, OBV_E_CONFIG, 0, "rpc: %s needs TLS (ca, cert, key)", l->address);
    OBV_AUTO(obv_pem_fini) obv_pem pem = {0};
    if (l->tls)
        OBV_TRY(obv_pem_read(l->tls, &pem, err));
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.cert};
    grpc_server_credentials *cr =
        l->tls ? grpc_ssl_server_credentials_create_ex(pem.ca, &pair, 1,
                                                       GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL)
               : grpc_insecure_server_credentials_create();
    if (!cr)
        return obv_fail(err, OBV_E_CONFIG, 0, "rpc: certificate or key of %s unusable", l->address);
    const int port = grpc_server_add_http2_port(s->srv, l->address, cr);
    grpc_server_credentials_release(cr);
    if (port == 0)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0,
                        "rpc: cannot listen on %s: address in use or not of this host, or certificate unusable",
                        l->address);
    l->port = is_unix(l->address) ? 0 : port;
    return OBV_OK;
}

obv_code obv_rpc_server_start(obv_rpc_listen *listen, size_t listen_count, const obv_rpc_route *routes,
                              size_t route_count, unsigned threads, obv_rpc_server **out, obv_err *err)
{
    obv_rpc_server *s = calloc(1, sizeof *s);
    worker *workers = calloc(threads, sizeof *workers);
    obv_cancel *stop = obv_cancel_new(NULL);
    if (!s || !workers || !stop) {
        free(s);
        free(workers);
        obv_cancel_free(stop);
        return obv_fail(err, OBV_E_NOMEM, 0, "rpc server");
    }
    library_up();
    grpc_arg args[] = {
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* two servers on one port must not both "bind" */
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)OBV_RPC_MESSAGE_MAX),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
    };
    const grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    *s = (obv_rpc_server){.srv = grpc_server_create(&list, NULL),
                          .routes = routes,
                          .route_count = route_count,
                          .stop = stop,
                          .streams_max = threads > 1 ? threads / 2 : 1,
                          .workers = workers};
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (worker){.s = s, .cq = grpc_completion_queue_create_for_next(NULL)};
        grpc_server_register_completion_queue(s->srv, workers[i].cq, NULL);
    }
    s->worker_count = threads;
    obv_code r = OBV_OK;
    for (size_t i = 0; i < listen_count && r == OBV_OK; i++)
        r = add_port(s, &listen[i], err);
    grpc_server_start(s->srv);
    for (unsigned i = 0; i < threads && r == OBV_OK; i++) {
        const int e = pthread_create(&workers[i].tid, NULL, serve, &workers[i]);
        if (e)
            r = obv_fail(err, OBV_E_NOMEM, e, "rpc server: thread");
        else
            workers[i].running = true;
    }
    if (r != OBV_OK) {
        obv_rpc_server_stop(s, 0);
        return r;
    }
    *out = s;
    return OBV_OK;
}

void obv_rpc_server_stop(obv_rpc_server *s, uint32_t grace_ms)
{
    if (!s)
        return;
    obv_cancel_request(s->stop);
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_shutdown_and_notify(s->srv, cq, s);
    const gpr_timespec at = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(grace_ms, GPR_TIMESPAN));
    if (grpc_completion_queue_next(cq, at, NULL).type != GRPC_OP_COMPLETE) {
        grpc_server_cancel_all_calls(s->srv);
        (void)grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
    for (unsigned i = 0; i < s->worker_count; i++) {
        if (s->workers[i].running)
            pthread_join(s->workers[i].tid, NULL);
        drain(s->workers[i].cq);
    }
    drain(cq);
    grpc_server_destroy(s->srv);
    grpc_shutdown();
    obv_cancel_free(s->stop);
    free(s->workers);
    free(s);
}
