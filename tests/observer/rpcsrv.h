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

/* Shared by the calls. */
int rpc_argument(struct oin *in, unsigned version, struct oin *body);
int rpc_find_pg(struct rpc_call *c, const struct pkey *k, struct replica **out);
void fill_pg_meta(struct host *h, struct replica *r, struct pg_meta *m, struct pkey *parts);
void fill_part_meta(const struct host *h, struct replica *r, const struct shm_part *p, struct part_meta *m);

int stream_object(struct rpc_call *c, const uint8_t *p, size_t n);
int stream_bytes(struct rpc_call *c, const uint8_t *p, size_t n);
bool fault_take(struct rpc_call *c, const char *kind, int64_t *arg);
void rpc_log(struct rpc_call *c, int rc, const char *note);

#endif
