/* rpcsrv.h - between the RPC server's connection handling (rpc.c) and the calls (rpccalls.c) */
#ifndef OBS_RPCSRV_H
#define OBS_RPCSRV_H

#include "replica.h"
#include "rpcfmt.h"

#define STREAM_ABORTED 1

struct rpc_call {
    struct host *host;
    int fd;
    char peer[64];
    struct rpc_header h;
    uint32_t chid;
    struct pkey pg; /* for the log and for faults */
    int64_t session;
    bool streaming;
    struct obuf chunk, result;
};
/* Handlers: 0, OceanBase's number, STREAM_ABORTED, or a small negative errno when the connection is gone. */
int rpc_pg_info(struct rpc_call *c, struct oin *in);
int rpc_pg_partitions(struct rpc_call *c, struct oin *in);
int rpc_base_meta(struct rpc_call *c, struct oin *in);
int rpc_macro_blocks(struct rpc_call *c, struct oin *in);
int rpc_recovery_points(struct rpc_call *c, struct oin *in);
void rpc_peek_pg(struct rpc_call *c, struct oin in);

int stream_object(struct rpc_call *c, const uint8_t *p, size_t n);
int stream_bytes(struct rpc_call *c, const uint8_t *p, size_t n);
bool fault_take(struct rpc_call *c, const char *kind, int64_t *arg);
void rpc_log(struct rpc_call *c, int rc, const char *note);

#endif
