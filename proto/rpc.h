/* rpc.h - blocking RPC, both sides, over mutual TLS; nothing here names a type of the gRPC library
 *
 * A peer is who its certificate's common name says: "agent:<id>", "operator:<name>" or "coordinator". Plaintext exists
 * on unix sockets only, whose peers count as the operator "local" (the socket's mode is the guard). An obv_err of a
 * handler travels whole: code, cause, text and hint.
 */
#ifndef OBV_RPC_H
#define OBV_RPC_H

#include "base/cancel.h"
#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>

#define OBV_RPC_MESSAGE_MAX (4u << 20) /* bytes; a larger message is refused by the receiver */

typedef struct obv_rpc_tls {
    const char *ca, *cert, *key; /* PEM files, read at open or start; a new certificate needs a restart */
} obv_rpc_tls;

typedef enum obv_rpc_role {
    OBV_RPC_NOBODY = 0, /* certificate names none of the roles */
    OBV_RPC_AGENT = 1,
    OBV_RPC_OPERATOR = 2,
    OBV_RPC_COORDINATOR = 3,
} obv_rpc_role;

typedef struct obv_rpc_peer {
    obv_rpc_role role;
    char name[128]; /* <id> or <name>; "" for the coordinator */
} obv_rpc_peer;

/** Takes a certificate's common name apart. Anything unknown is OBV_RPC_NOBODY. */
obv_rpc_peer obv_rpc_peer_of_cn(const char *cn, size_t len);

typedef struct obv_rpc_channel obv_rpc_channel; /* client; any thread */
typedef struct obv_rpc_call obv_rpc_call;       /* one RPC, either side; one thread, except cancel */
typedef struct obv_rpc_server obv_rpc_server;

/* ---- client */

/**
 * @param target "host:port" or "unix:/path"; @p tls NULL only with unix. Connects at the first call and again whenever
 * the connection is lost. The server must prove a certificate for that host whose common name is "coordinator".
 * @return OBV_OK, OBV_E_CONFIG (no TLS on a network address, unreadable PEM file)
 */
OBV_CHECK obv_code obv_rpc_channel_open(const char *target, const obv_rpc_tls *tls, obv_rpc_channel **out,
                                        obv_err *err);
void obv_rpc_channel_close(obv_rpc_channel *c); /* after all of its calls have ended */
void obv_rpc_channel_drop(obv_rpc_channel **c); /* for OBV_AUTO */

/** One request, one reply (appended to @p resp). @p path is "/package.Service/Method".
 *  @return the handler's own code; OBV_E_UNAVAILABLE, OBV_E_TIMEOUT, OBV_E_AUTH, OBV_E_LIMIT of the transport */
OBV_CHECK obv_code obv_rpc_unary(obv_rpc_channel *c, const char *path, obv_span req, uint32_t timeout_ms, obv_buf *resp,
                                 obv_err *err);

/** Begins a server stream: sends @p req and closes our side; read it with obv_rpc_recv until OBV_E_NOT_FOUND.
 *  End it with obv_rpc_call_end whatever happened. @p timeout_ms 0 = no deadline. */
OBV_CHECK obv_code obv_rpc_stream(obv_rpc_channel *c, const char *path, obv_span req, uint32_t timeout_ms,
                                  obv_rpc_call **out, obv_err *err);
void obv_rpc_call_end(obv_rpc_call *call);
void obv_rpc_call_drop(obv_rpc_call **call); /* for OBV_AUTO */

/* ---- both sides */

/** Next message of the other side, appended to @p out. OBV_E_NOT_FOUND: the stream ended well; else its error. */
OBV_CHECK obv_code obv_rpc_recv(obv_rpc_call *call, obv_buf *out, obv_err *err);
/** OBV_E_UNAVAILABLE: the other side is gone. */
OBV_CHECK obv_code obv_rpc_send(obv_rpc_call *call, obv_span message, obv_err *err);
/** Any thread: a blocked recv or send on the call fails. */
void obv_rpc_cancel(obv_rpc_call *call);

/* ---- server */

/** @return what the caller sees; the reply goes to @p resp. */
typedef obv_code obv_rpc_unary_fn(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err);
/** Sends any number of messages on @p call; its return ends the stream. Must leave soon once @p stop is requested. */
typedef obv_code obv_rpc_stream_fn(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_rpc_call *call,
                                   const obv_cancel *stop, obv_err *err);

typedef struct obv_rpc_route {
    const char *path; /* "/package.Service/Method"; lives as long as the server */
    obv_rpc_unary_fn *unary;
    obv_rpc_stream_fn *stream; /* one of the two */
    void *ctx;
} obv_rpc_route;

typedef struct obv_rpc_listen {
    const char *address;    /* "host:port" (port 0 picks one) or "unix:/path" */
    const obv_rpc_tls *tls; /* NULL only with unix */
    int port;               /* out: the port bound, 0 for unix */
} obv_rpc_listen;

/**
 * @param threads handlers running at once; at most half of them (at least one) run streams.
 * @param routes borrowed until the stop
 * @return OBV_OK, OBV_E_CONFIG (PEM, address), OBV_E_UNAVAILABLE (address in use)
 */
OBV_CHECK obv_code obv_rpc_server_start(obv_rpc_listen *listen, size_t listen_count, const obv_rpc_route *routes,
                                        size_t route_count, unsigned threads, obv_rpc_server **out, obv_err *err);
/** Accepts no more, asks streams to stop, cancels calls still open after @p grace_ms, joins, frees. */
void obv_rpc_server_stop(obv_rpc_server *s, uint32_t grace_ms);

#endif
