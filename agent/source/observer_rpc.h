/* observer_rpc.h - calls of the storage RPC over a few pooled connections: deadlines, cancellation, whole streams
 *
 * A call takes a slot (connection) for its whole duration, so there are never more streams than slots. A stream is read
 * to its end without waiting for anybody: the sink only stores. Thread rule: any thread.
 */
#ifndef OBV_AGENT_SOURCE_OBSERVER_RPC_H
#define OBV_AGENT_SOURCE_OBSERVER_RPC_H

#include "base/cancel.h"
#include "format/ob/storage_rpc.h"

#define OBV_OBSERVER_SLOTS_MAX 2u

typedef struct obv_observer_rpc obv_observer_rpc;

typedef struct obv_observer_rpc_config {
    uint32_t ip; /* IPv4, host order */
    uint16_t port;
    int64_t cluster_id;
    uint32_t slots;      /* 1..OBV_OBSERVER_SLOTS_MAX */
    uint32_t timeout_ms; /* for each packet of an answer */
} obv_observer_rpc_config;

OBV_CHECK obv_code obv_observer_rpc_new(const obv_observer_rpc_config *cfg, obv_observer_rpc **out, obv_err *err);
/** No call may be running. */
void obv_observer_rpc_free(obv_observer_rpc *rpc);

/** One packet's answer: what follows the result code is appended to @p out. */
OBV_CHECK obv_code obv_observer_rpc_unary(obv_observer_rpc *rpc, obv_rpc_call call, obv_span arg, const obv_cancel *c,
                                          obv_buf *out, obv_err *err);
/** Appends the bytes of all chunks to @p out. When they do not fit, the stream is aborted: OBV_E_LIMIT. */
OBV_CHECK obv_code obv_observer_rpc_stream(obv_observer_rpc *rpc, obv_rpc_call call, obv_span arg, const obv_cancel *c,
                                           obv_buf *out, obv_err *err);

#endif
