/* observer.h - source driver: the local OBServer's storage RPC, read as a peer replica reads it (docs/format.md,
 * "Storage RPC")
 *
 * Five read calls compiled in, nothing else can be sent. At most two streams at a time; each call names only blocks for
 * which memory is reserved, so a stream is always drained at once. Errors of the server become the classes of
 * docs/errors.md. Thread rule: an obv_source may be used by several threads at once, one obv_source_pg by one thread.
 */
#ifndef OBV_AGENT_SOURCE_OBSERVER_H
#define OBV_AGENT_SOURCE_OBSERVER_H

#include "format/ob/metas.h"
#include "source/source.h"

typedef struct obv_observer_config {
    const char *ip;      /* IPv4 of the OBServer */
    uint16_t rpc_port;   /* svr_port, default 2882 */
    int64_t cluster_id;  /* the real one: OceanBase refuses -1 for PG info */
    uint32_t streams;    /* 1 or 2; 0 = 2 */
    uint32_t timeout_ms; /* per call; 0 = 30,000 */
    uint32_t
        read_ahead_blocks; /* blocks named by one request, 1..128; 0 = 8; each takes OBV_SOURCE_BLOCK_MAX of memory */
    uint32_t pg_metas_mib; /* most memory for block lists and metas of one open PG, 16 bytes a block; 0 = 1024 */
} obv_observer_config;

/** Opens the driver; connects lazily. Close with (*out)->ops->close(*out). OBV_E_INVAL, OBV_E_NOMEM. */
OBV_CHECK obv_code obv_observer_open(const obv_observer_config *cfg, obv_source **out, obv_err *err);

/* What a log archiver needs of a PG on this server. */
typedef struct obv_observer_pg_info {
    obv_pg_key key; /* with the server's own assist */
    int16_t is_restore;
    int32_t replica_type;
    /* clog_info: a legal point to restart replay from */
    uint64_t last_replay_log_id;
    int64_t last_submit_ts;
    int64_t epoch_id;
    int64_t accumulate_checksum;
    /* data_info */
    uint64_t data_last_replay_log_id;
    int64_t data_last_replay_log_ts;
    int64_t publish_version;
    int64_t schema_version;
    int64_t create_timestamp;
    obv_pg_key *partitions; /* members, the trans-state partition included; freed by obv_observer_pg_info_fini */
    size_t partition_count;
} obv_observer_pg_info;
/** One 0x472. OBV_E_PG_GONE, OBV_E_PG_CHANGED, OBV_E_PRECONDITION (refused), OBV_E_UNAVAILABLE, OBV_E_TIMEOUT, ... */
OBV_CHECK obv_code obv_observer_fetch_pg_info(obv_source *s, const obv_pg_key *pg, const obv_cancel *c,
                                              obv_observer_pg_info *out, obv_err *err);
void obv_observer_pg_info_fini(obv_observer_pg_info *i);

/** The class of an OceanBase error number that a storage RPC answered (docs/format.md, "Errors of the server"). */
obv_code obv_observer_code(int32_t rcode);

#endif
