/* rpcfmt.c - see rpcfmt.h */
#include "rpcfmt.h"

#include <string.h>

void enc_rpc(struct obuf *b, const struct rpc_header *h, uint32_t chid, const uint8_t *payload, size_t n)
{
    ob_be32(b, 0x01DBDBCE);
    ob_be32(b, (uint32_t)(RPC_HDR + n));
    ob_be32(b, chid);
    ob_be32(b, 0);
    ob_be32(b, h->pcode);
    ob_u8(b, RPC_HDR);
    ob_u8(b, h->priority);
    ob_be16(b, h->flags);
    ob_be64(b, ob_crc(0, payload, n));
    ob_be64(b, (uint64_t)h->tenant_id);
    ob_be64(b, (uint64_t)h->priv_tenant_id);
    ob_be64(b, (uint64_t)h->session_id);
    ob_be64(b, h->trace[0]);
    ob_be64(b, h->trace[1]);
    ob_be64(b, (uint64_t)h->timeout);
    ob_be64(b, (uint64_t)h->timestamp);
    ob_be32(b, 40);
    for (int i = 0; i < 5; i++)
        ob_be32(b, (uint32_t)h->cost[i]);
    ob_be64(b, (uint64_t)h->packet_id);
    ob_be64(b, (uint64_t)h->arrival);
    ob_be64(b, (uint64_t)h->dst_cluster_id);
    ob_be32(b, (uint32_t)h->compressor);
    ob_be32(b, (uint32_t)h->original_len);
    ob_be64(b, (uint64_t)h->src_cluster_id);
    ob_be64(b, (uint64_t)h->unis_version);
    ob_be32(b, (uint32_t)h->request_level);
    ob_be64(b, (uint64_t)h->seq_no);
    ob_be32(b, (uint32_t)h->group_id);
    ob_put(b, payload, n);
}

bool dec_rpc(struct rpc_header *h, const uint8_t *p, size_t n, size_t *payload_off)
{
    struct oin r = {.p = p, .n = n};
    *h = (struct rpc_header){.dst_cluster_id = -1, .src_cluster_id = -1};
    if (n < RPC_MIN_HDR)
        return false;
    h->pcode = in_be32(&r);
    h->hlen = in_u8(&r);
    h->priority = in_u8(&r);
    h->flags = in_be16(&r);
    h->checksum = in_be64(&r);
    h->tenant_id = (int64_t)in_be64(&r);
    h->priv_tenant_id = (int64_t)in_be64(&r);
    h->session_id = (int64_t)in_be64(&r);
    h->trace[0] = in_be64(&r);
    h->trace[1] = in_be64(&r);
    h->timeout = (int64_t)in_be64(&r);
    h->timestamp = (int64_t)in_be64(&r);
    if (h->hlen < 72 || h->hlen > n)
        return false;
    if (h->hlen >= 112) {
        in_be32(&r);
        for (int i = 0; i < 5; i++)
            h->cost[i] = (int32_t)in_be32(&r);
        h->packet_id = (int64_t)in_be64(&r);
        h->arrival = (int64_t)in_be64(&r);
    }
    if (h->hlen >= 120)
        h->dst_cluster_id = (int64_t)in_be64(&r);
    if (h->hlen >= 128) {
        h->compressor = (int32_t)in_be32(&r);
        h->original_len = (int32_t)in_be32(&r);
    }
    if (h->hlen >= 136)
        h->src_cluster_id = (int64_t)in_be64(&r);
    if (h->hlen >= 144)
        h->unis_version = (int64_t)in_be64(&r);
    if (h->hlen >= RPC_HDR) {
        h->request_level = (int32_t)in_be32(&r);
        h->seq_no = (int64_t)in_be64(&r);
        h->group_id = (int32_t)in_be32(&r);
    }
    *payload_off = h->hlen;
    return !r.bad;
}

void enc_result(struct obuf *b, int32_t rcode, const char *msg, int warnings)
{
    size_t n = strlen(msg) + 1;
    size_t at = unis_begin(b, 1);
    ob_vi32(b, rcode);
    ob_vi(b, n);
    ob_put(b, msg, n);
    ob_vi(b, (uint64_t)warnings);
    for (int i = 0; i < warnings; i++) {
        static const char TEXT[] = "stand-in warning";
        size_t item = unis_begin(b, 1);
        ob_vi(b, sizeof TEXT);
        ob_put(b, TEXT, sizeof TEXT);
        ob_vi32(b, -4016);
        ob_vi32(b, 2);
        ob_vi32(b, i);
        ob_vi32(b, 0);
        unis_end(b, item);
    }
    unis_end(b, at);
}

void enc_data_buffer(struct obuf *b, const uint8_t *p, size_t n)
{
    size_t at = unis_begin(b, 1);
    ob_vi(b, n);
    ob_put(b, p, n);
    unis_end(b, at);
}
