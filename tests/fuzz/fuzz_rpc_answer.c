/* answers of the storage RPC: framing, compression, result code, and the results of all calls */
#include "base/crc32c.h"
#include "format/ob/macroblock.h"
#include "format/ob/storage_rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_partitions(obv_span bytes)
{
    obv_rd r = obv_rd_of(bytes);
    obv_rpc_partition p;
    while (obv_rpc_next_partition(&r, &p, NULL) == OBV_OK) {
        obv_rpc_table_info t;
        for (size_t i = 0; i < p.index_count && obv_rpc_next_table_info(&p.table_infos, &t, NULL) == OBV_OK; i++)
            for (size_t k = 0; k < t.key_count; k++) {
                obv_table_key key;
                (void)!obv_table_key_parse(obv_rd_unis_span(&t.keys, 1), &key, NULL);
            }
    }
}

static void parse_base_meta(obv_span bytes)
{
    obv_rpc_base_meta m;
    int64_t version;
    int64_t seq;
    if (obv_rpc_base_meta_parse(bytes, &m, NULL) == OBV_OK)
        while (obv_rpc_next_pair(&m.pairs, &version, &seq, NULL) == OBV_OK && obv_rd_left(&m.pairs) > 0)
            ;
}

static void parse_result(unsigned call, obv_span bytes)
{
    obv_rpc_pg_info info;
    obv_pg_meta pg;
    obv_rd r = obv_rd_of(bytes);
    obv_rpc_recovery_meta rec;
    switch (call) {
    case OBV_RPC_PG_INFO:
        if (obv_rpc_pg_info_parse(bytes, &info, NULL) == OBV_OK)
            (void)!obv_pg_meta_parse(info.pg_meta, &pg, NULL);
        break;
    case OBV_RPC_PG_PARTITIONS:
        parse_partitions(bytes);
        break;
    case OBV_RPC_BASE_META:
        parse_base_meta(bytes);
        break;
    default:
        while (obv_rpc_next_recovery_meta(&r, &rec, NULL) == OBV_OK)
            (void)!obv_pg_meta_parse(rec.pg_meta, &pg, NULL);
    }
}

/* Input: one byte (call; bit 7: the checksum is made right), then a frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > OBV_RPC_PACKET_MAX)
        return 0;
    const unsigned call = (unsigned)(data[0] & 0x7f) % (unsigned)OBV_RPC_CALLS;
    uint8_t *copy = malloc(size);
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    const obv_span in = {copy, size - 1};
    const size_t header = OBV_RPC_NET_HEADER_LEN + OBV_RPC_HEADER_LEN;
    if ((data[0] & 0x80) && in.len >= header) {
        const uint64_t crc = obv_crc64(0, (obv_span){copy + header, in.len - header});
        for (int i = 0; i < 8; i++)
            copy[OBV_RPC_NET_HEADER_LEN + 8 + (size_t)i] = (uint8_t)(crc >> (56 - 8 * i));
    }
    obv_rpc_frame_kind kind;
    size_t total = 0;
    obv_rpc_packet p;
    obv_buf scratch = obv_buf_heap(OBV_RPC_PACKET_MAX);
    obv_span body;
    obv_span bytes;
    obv_rpc_result res;
    if (obv_rpc_frame(in, &kind, &total, NULL) == OBV_OK && kind == OBV_FRAME_PACKET &&
        obv_rpc_packet_parse((obv_span){in.p, total}, &p, NULL) == OBV_OK &&
        obv_rpc_body(&p, &scratch, &body, NULL) == OBV_OK && obv_rpc_result_parse(body, &res, NULL) == OBV_OK) {
        if (call == OBV_RPC_PG_INFO)
            parse_result(call, res.rest);
        else if (obv_rpc_data_buffer(res.rest, &bytes, NULL) == OBV_OK)
            parse_result(call, bytes);
    }
    obv_buf_fini(&scratch);
    free(copy);
    return 0;
}
