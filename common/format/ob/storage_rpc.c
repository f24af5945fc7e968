/* framing: net header, RPC header, checksum, compression, result code */
#include "format/ob/storage_rpc.h"

#include "base/crc32c.h"

#include <inttypes.h>

#include <lz4.h>
#include <zstd.h>

enum {
    FLAG_RESPONSE = 1 << 15,
    FLAG_STREAM = 1 << 14,
    FLAG_STREAM_LAST = 1 << 13,
    FLAG_NO_DEBUG_SYNC = 1 << 12, /* nothing may follow the argument */
    FLAG_NO_LOG_LEVEL = 7,
};
enum { PRIORITY_OF_COPIES = 5, TENANT_OF_COPIES = 509, COST_TIME_LEN = 40 };
enum { COMPRESSOR_INVALID = 0, COMPRESSOR_LZ4 = 2, COMPRESSOR_ZSTD = 5, COMPRESSOR_ZSTD_138 = 8 };
#define UNIS_VERSION_ANY 0
#define MESSAGE_MAX 8192u
#define WARNINGS_MAX 10000u
#define KEEPALIVE_MAX (1u << 20)
static const uint8_t MAGIC[4] = {0x01, 0xdb, 0xdb, 0xce};

/* The whole of what can be asked of an OBServer. */
static const uint32_t PCODES[OBV_RPC_CALLS] = {
    [OBV_RPC_PG_INFO] = 0x472,   [OBV_RPC_PG_PARTITIONS] = 0x473, [OBV_RPC_RECOVERY_META] = 0x487,
    [OBV_RPC_BASE_META] = 0x45D, [OBV_RPC_MACRO_BLOCKS] = 0x471,
};

uint32_t obv_rpc_pcode(obv_rpc_call call)
{
    obv_assert((unsigned)call < OBV_RPC_CALLS);
    return PCODES[call];
}

static uint16_t request_flags(enum obv_rpc_stream_op op)
{
    switch (op) {
    case OBV_RPC_NEXT:
        return FLAG_STREAM | FLAG_NO_LOG_LEVEL;
    case OBV_RPC_ABORT:
        return FLAG_STREAM | FLAG_STREAM_LAST | FLAG_NO_LOG_LEVEL;
    case OBV_RPC_BEGIN:
    default:
        return FLAG_NO_DEBUG_SYNC | FLAG_NO_LOG_LEVEL;
    }
}

void obv_rpc_put_request(obv_buf *b, const obv_rpc_request *r)
{
    const uint32_t pcode = obv_rpc_pcode(r->call);
    obv_assert(r->payload.len <= OBV_RPC_REQUEST_MAX && (r->op == OBV_RPC_BEGIN || r->payload.len == 0));
    obv_buf_append(b, MAGIC, sizeof MAGIC);
    obv_put_be32(b, (uint32_t)(OBV_RPC_HEADER_LEN + r->payload.len));
    obv_put_be32(b, r->channel);
    obv_put_be32(b, 0);

    obv_put_be32(b, pcode);
    obv_put_u8(b, OBV_RPC_HEADER_LEN);
    obv_put_u8(b, PRIORITY_OF_COPIES);
    obv_put_be16(b, request_flags(r->op));
    obv_put_be64(b, obv_crc64(0, r->payload));
    obv_put_be64(b, TENANT_OF_COPIES);
    obv_put_be64(b, 0); /* privileges are not used */
    obv_put_be64(b, (uint64_t)r->session);
    obv_put_be64(b, r->trace[0]);
    obv_put_be64(b, r->trace[1]);
    obv_put_be64(b, (uint64_t)r->timeout_us);
    obv_put_be64(b, (uint64_t)r->timestamp_us);
    obv_put_be32(b, COST_TIME_LEN);
    obv_buf_append_zeros(b, COST_TIME_LEN - 4);
    obv_put_be64(b, (uint64_t)r->cluster_id); /* destination */
    obv_put_be32(b, COMPRESSOR_INVALID);
    obv_put_be32(b, 0);
    obv_put_be64(b, (uint64_t)r->cluster_id); /* source: PG info refuses -1 */
    obv_put_be64(b, UNIS_VERSION_ANY);
    obv_put_be32(b, 0); /* request level */
    obv_put_be64(b, 0); /* sequence number */
    obv_put_be32(b, 0); /* group */
    obv_put_span(b, r->payload);
}

obv_code obv_rpc_frame(obv_span in, obv_rpc_frame_kind *kind, size_t *total, obv_err *err)
{
    *kind = OBV_FRAME_NEED_MORE;
    *total = OBV_RPC_NET_HEADER_LEN;
    if (in.len < OBV_RPC_NET_HEADER_LEN)
        return OBV_OK;
    obv_rd r = obv_rd_of(in);
    const obv_span magic = obv_rd_bytes(&r, sizeof MAGIC);
    const uint32_t len = obv_rd_be32(&r);
    /* keep-alive packets have bit 6 of the first byte set and may come between any two packets */
    const bool keepalive = magic.p[0] != 0xff && (magic.p[0] & 0x40) != 0 && memcmp(magic.p + 1, MAGIC + 1, 3) == 0;
    if (!keepalive && memcmp(magic.p, MAGIC, sizeof MAGIC) != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: the answer is no RPC packet (first byte %02x)",
                        magic.p[0]);
    if (len > (keepalive ? KEEPALIVE_MAX : OBV_RPC_PACKET_MAX) || (!keepalive && len < OBV_RPC_HEADER_LEN))
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a packet of %u bytes", len);
    *total = OBV_RPC_NET_HEADER_LEN + len;
    if (in.len >= *total)
        *kind = keepalive ? OBV_FRAME_KEEPALIVE : OBV_FRAME_PACKET;
    return OBV_OK;
}

obv_code obv_rpc_packet_parse(obv_span frame, obv_rpc_packet *out, obv_err *err)
{
    obv_rpc_packet p = {0};
    obv_rd r = obv_rd_of(frame);
    (void)obv_rd_bytes(&r, sizeof MAGIC + 4);
    p.channel = obv_rd_be32(&r);
    (void)obv_rd_be32(&r);
    const uint8_t *header = r.p;
    p.pcode = obv_rd_be32(&r);
    const uint8_t header_len = obv_rd_u8(&r);
    (void)obv_rd_u8(&r); /* priority */
    const uint16_t flags = obv_rd_be16(&r);
    p.checksum = obv_rd_be64(&r);
    (void)obv_rd_bytes(&r, 16); /* tenants */
    p.session = (int64_t)obv_rd_be64(&r);
    (void)obv_rd_bytes(&r, 32 + COST_TIME_LEN + 8); /* trace, time-out, time, costs, destination */
    p.compressor = (int32_t)obv_rd_be32(&r);
    p.original_len = (int32_t)obv_rd_be32(&r);
    OBV_TRY(obv_rd_check(&r, "storage RPC header", err));
    if (header_len < r.p - header || header_len > frame.p + frame.len - header)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a header of %u bytes", header_len);
    p.payload = (obv_span){header + header_len, (size_t)(frame.p + frame.len - (header + header_len))};
    p.is_response = (flags & FLAG_RESPONSE) != 0;
    p.is_stream = (flags & FLAG_STREAM) != 0;
    p.is_last = p.is_stream && (flags & FLAG_STREAM_LAST) != 0;
    if (!p.is_response)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a request where an answer was due");
    const uint64_t crc = obv_crc64(0, p.payload);
    if (crc != p.checksum)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: payload checksum is %08" PRIx64 ", not %08" PRIx64, crc,
                        p.checksum);
    *out = p;
    return OBV_OK;
}

obv_code obv_rpc_body(const obv_rpc_packet *p, obv_buf *scratch, obv_span *body, obv_err *err)
{
    if (p->compressor == COMPRESSOR_INVALID) {
        *body = p->payload;
        return OBV_OK;
    }
    if (p->original_len <= 0 || (uint32_t)p->original_len > OBV_RPC_PACKET_MAX || p->payload.len > INT32_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a compressed answer of %d bytes", (int)p->original_len);
    const size_t want = (size_t)p->original_len;
    const size_t at = scratch->len;
    uint8_t *out = obv_buf_reserve(scratch, want);
    OBV_TRY(obv_buf_check(scratch, "storage RPC: decompression", err));
    size_t got = 0;
    switch (p->compressor) {
    case COMPRESSOR_LZ4: {
        const int n = LZ4_decompress_safe((const char *)p->payload.p, (char *)out, (int)p->payload.len, (int)want);
        got = n < 0 ? SIZE_MAX : (size_t)n;
        break;
    }
    case COMPRESSOR_ZSTD:
    case COMPRESSOR_ZSTD_138:
        got = ZSTD_decompress(out, want, p->payload.p, p->payload.len);
        break;
    default:
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "storage RPC: compressor %d", (int)p->compressor);
    }
    if (got != want)
        return obv_fail(err, OBV_E_CORRUPT, 0, "storage RPC: a compressed answer does not unpack to its %zu bytes",
                        want);
    *body = (obv_span){scratch->data + at, want};
    return OBV_OK;
}

static void skip_warning(obv_rd *r)
{
    obv_rd_item(r);
    obv_rd w = obv_rd_unis(r, 1);
    r->bad |= w.bad;
}

obv_code obv_rpc_result_parse(obv_span body, obv_rpc_result *out, obv_err *err)
{
    obv_rd top = obv_rd_of(body);
    obv_rd r = obv_rd_unis(&top, 1);
    obv_rpc_result res = {.rcode = obv_rd_vi32(&r)};
    res.message = obv_rd_cstr(&r, MESSAGE_MAX);
    const size_t warnings = obv_rd_count(&r, WARNINGS_MAX, 6);
    for (size_t i = 0; i < warnings && !r.bad; i++)
        skip_warning(&r);
    top.bad |= r.bad;
    OBV_TRY(obv_rd_check(&top, "storage RPC result code", err));
    if (res.rcode == 0)
        res.rest = (obv_span){top.p, obv_rd_left(&top)};
    *out = res;
    return OBV_OK;
}

obv_code obv_rpc_data_buffer(obv_span rest, obv_span *bytes, obv_err *err)
{
    obv_rd top = obv_rd_of(rest);
    obv_rd r = obv_rd_unis(&top, 1);
    const uint64_t len = obv_rd_vu64(&r);
    top.bad |= r.bad || len > OBV_RPC_CHUNK_MAX || len > obv_rd_left(&r);
    OBV_TRY(obv_rd_done(&top, "storage RPC data buffer", err));
    *bytes = (obv_span){r.p, (size_t)len};
    return OBV_OK;
}
