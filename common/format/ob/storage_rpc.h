/* storage_rpc.h - packets of OceanBase's storage RPC: the five read calls a peer replica uses, and nothing else
 *
 * Encoders take an enum of five read calls, never a packet code: no other code can be put on the wire. Responses are
 * checked (framing, checksum of every packet). Pure: sockets are the caller's (agent/source).
 */
#ifndef OBV_FORMAT_OB_STORAGE_RPC_H
#define OBV_FORMAT_OB_STORAGE_RPC_H

#include "format/ob/metas.h"

#define OBV_RPC_NET_HEADER_LEN 16u
#define OBV_RPC_HEADER_LEN 160u
#define OBV_RPC_REQUEST_MAX (64u << 10)       /* bytes of one request of ours */
#define OBV_RPC_CHUNK_MAX ((2u << 20) - 1024) /* bytes of one ObDataBuffer */
#define OBV_RPC_PACKET_MAX (3u << 20)         /* bytes behind the net header; a larger length is corruption */

typedef enum obv_rpc_call {
    OBV_RPC_PG_INFO = 0,       /* 0x472 */
    OBV_RPC_PG_PARTITIONS = 1, /* 0x473 */
    OBV_RPC_RECOVERY_META = 2, /* 0x487 */
    OBV_RPC_BASE_META = 3,     /* 0x45D */
    OBV_RPC_MACRO_BLOCKS = 4,  /* 0x471 */
    OBV_RPC_CALLS
} obv_rpc_call;

/** The packet code of a call, for logs and tests. */
uint32_t obv_rpc_pcode(obv_rpc_call call);

enum obv_rpc_stream_op { OBV_RPC_BEGIN = 0, OBV_RPC_NEXT = 1, OBV_RPC_ABORT = 2 };

typedef struct obv_rpc_request {
    obv_rpc_call call;
    enum obv_rpc_stream_op op;
    uint32_t channel; /* echoed by the server */
    int64_t session;  /* NEXT and ABORT: from the last answer */
    int64_t cluster_id;
    uint64_t trace[2];
    int64_t timeout_us;
    int64_t timestamp_us;
    obv_span payload; /* BEGIN: from one of the obv_rpc_put_*_arg; else empty */
} obv_rpc_request;
/** Appends the whole packet. */
void obv_rpc_put_request(obv_buf *b, const obv_rpc_request *r);

/* ---- arguments */
void obv_rpc_put_pg_info_arg(obv_buf *b, const obv_pg_key *pg);
void obv_rpc_put_pg_partitions_arg(obv_buf *b, const obv_pg_key *pg, int64_t snapshot_version, int64_t log_ts);
/** @p type 1 restore point, 2 backup point. */
void obv_rpc_put_recovery_meta_arg(obv_buf *b, const obv_pg_key *pg, int64_t snapshot_version, int32_t type);
void obv_rpc_put_base_meta_arg(obv_buf *b, obv_span table_key);
typedef struct obv_rpc_block_ref {
    int64_t index, data_version, data_seq;
} obv_rpc_block_ref;
void obv_rpc_put_macro_blocks_arg(obv_buf *b, obv_span table_key, const obv_rpc_block_ref *refs, size_t n);

/* ---- responses */
typedef struct obv_rpc_packet {
    uint32_t pcode, channel;
    bool is_response, is_stream, is_last; /* is_last only with is_stream */
    int64_t session;
    uint64_t checksum;
    int32_t compressor, original_len;
    obv_span payload;
} obv_rpc_packet;

typedef enum obv_rpc_frame_kind {
    OBV_FRAME_NEED_MORE = 0,
    OBV_FRAME_PACKET = 1,
    OBV_FRAME_KEEPALIVE = 2
} obv_rpc_frame_kind;
/**
 * Looks at the bytes received so far. *total = bytes this frame takes (known as soon as 16 bytes are there, else 16).
 * OBV_E_CORRUPT when the stream is out of step or a length is out of bounds: close the connection.
 */
OBV_CHECK obv_code obv_rpc_frame(obv_span in, obv_rpc_frame_kind *kind, size_t *total, obv_err *err);
/** Parses a whole frame of kind PACKET and verifies header length, response flag and payload checksum. */
OBV_CHECK obv_code obv_rpc_packet_parse(obv_span frame, obv_rpc_packet *out, obv_err *err);
/** Body of a packet, decompressed into @p scratch when it is compressed. OBV_E_CORRUPT, OBV_E_UNSUPPORTED (compressor).
 */
OBV_CHECK obv_code obv_rpc_body(const obv_rpc_packet *p, obv_buf *scratch, obv_span *body, obv_err *err);

typedef struct obv_rpc_result {
    int32_t rcode;
    obv_span message; /* text of the server, may be empty */
    obv_span rest;    /* behind the result code; empty unless rcode == 0 */
} obv_rpc_result;
OBV_CHECK obv_code obv_rpc_result_parse(obv_span body, obv_rpc_result *out, obv_err *err);
/** The bytes of an ObDataBuffer (streams). */
OBV_CHECK obv_code obv_rpc_data_buffer(obv_span rest, obv_span *bytes, obv_err *err);

/* ---- results of the calls */
typedef struct obv_rpc_pg_info {
    obv_span pg_meta;
    int64_t major_version;
    bool is_log_sync;
    int64_t pg_file_id;
} obv_rpc_pg_info;
OBV_CHECK obv_code obv_rpc_pg_info_parse(obv_span rest, obv_rpc_pg_info *out, obv_err *err);

/* One partition of 0x473: store meta, then index ids with their table keys. */
typedef struct obv_rpc_partition {
    obv_partition_store_meta store;
    size_t index_count;
    obv_rd index_ids;   /* read with obv_rd_vu64 */
    obv_rd table_infos; /* read with obv_rpc_next_table_info */
} obv_rpc_partition;
/** Next partition of the reassembled stream; OBV_E_NOT_FOUND at its end. */
OBV_CHECK obv_code obv_rpc_next_partition(obv_rd *stream, obv_rpc_partition *out, obv_err *err);
typedef struct obv_rpc_table_info {
    size_t key_count;
    obv_rd keys; /* read with obv_rd_unis_span(&keys, 1) */
    int64_t multi_version_start;
    bool ready_for_read;
} obv_rpc_table_info;
OBV_CHECK obv_code obv_rpc_next_table_info(obv_rd *infos, obv_rpc_table_info *out, obv_err *err);

/* 0x45D: base meta, then (data_version, data_seq) per block in macro order, LOB blocks last */
typedef struct obv_rpc_base_meta {
    obv_sstable_meta meta;
    uint64_t pair_count;
    obv_rd pairs; /* read with obv_rpc_next_pair */
} obv_rpc_base_meta;
OBV_CHECK obv_code obv_rpc_base_meta_parse(obv_span stream, obv_rpc_base_meta *out, obv_err *err);
OBV_CHECK obv_code obv_rpc_next_pair(obv_rd *pairs, int64_t *data_version, int64_t *data_seq, obv_err *err);

/* 0x487 */
typedef struct obv_rpc_recovery_meta {
    obv_span pg_meta;
    size_t partition_count;
    obv_rd partitions; /* obv_rd_partition_store_meta */
    size_t key_count;
    obv_rd keys; /* obv_rd_unis_span(&keys, 1) */
} obv_rpc_recovery_meta;
OBV_CHECK obv_code obv_rpc_next_recovery_meta(obv_rd *stream, obv_rpc_recovery_meta *out, obv_err *err);

#endif
