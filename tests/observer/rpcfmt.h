/* rpcfmt.h - storage RPC packets: net header 16, RPC header 160, result code, stream envelope */
#ifndef OBS_RPCFMT_H
#define OBS_RPCFMT_H

#include "enc.h"

#define RPC_NET_HDR 16u
#define RPC_HDR 160u
#define RPC_MIN_HDR 112u
#define RPC_CHUNK 2096128u /* 2 MiB - 1 KiB: bytes of one stream answer */

enum rpc_flag {
    RPC_RESP = 1 << 15,
    RPC_STREAM = 1 << 14,
    RPC_LAST = 1 << 13,
    RPC_NO_DEBUGSYNC = 1 << 12,
    RPC_CONTEXT = 1 << 11,
    RPC_NO_RESPONSE = 1 << 10
};

struct rpc_header {
    uint32_t pcode;
    uint8_t hlen, priority;
    uint16_t flags;
    uint64_t checksum;
    int64_t tenant_id, priv_tenant_id, session_id;
    uint64_t trace[2];
    int64_t timeout, timestamp;
    int32_t cost[5];
    int64_t packet_id, arrival;
    int64_t dst_cluster_id;
    int32_t compressor, original_len;
    int64_t src_cluster_id, unis_version;
    int32_t request_level;
    int64_t seq_no;
    int32_t group_id;
};
/** Net header + RPC header + payload; checksum and lengths are filled in. */
void enc_rpc(struct obuf *b, const struct rpc_header *h, uint32_t chid, const uint8_t *payload, size_t n);
/** @p p = what follows the net header. False: shorter than 112 bytes or header length wrong. */
bool dec_rpc(struct rpc_header *h, const uint8_t *p, size_t n, size_t *payload_off);

/** ObRpcResultCode with n warnings. */
void enc_result(struct obuf *b, int32_t rcode, const char *msg, int warnings);
/** ObDataBuffer around one chunk. */
void enc_data_buffer(struct obuf *b, const uint8_t *p, size_t n);

#endif
