/* clog_entry.h - one entry of the commit log: header, checksums, compressed form, what its type means (docs/format.md)
 *
 * Pure functions; only obv_clog_decompress copies, into the caller's buffer. Out parameters are written only on OBV_OK.
 */
#ifndef OBV_FORMAT_OB_CLOG_ENTRY_H
#define OBV_FORMAT_OB_CLOG_ENTRY_H

#include "base/err.h"
#include "base/span.h"
#include "format/ob/pg_key.h"

#define OBV_CLOG_ENTRY_HEADER 105u       /* bytes, big endian */
#define OBV_CLOG_ENTRY_MAX_DATA 1965056u /* bytes; a larger length is corruption */
#define OBV_CLOG_ENTRY_MAX (OBV_CLOG_ENTRY_HEADER + OBV_CLOG_ENTRY_MAX_DATA)
#define OBV_CLOG_SUBMIT_TS_AT 73u /* offset of submit_timestamp */
#define OBV_CLOG_BATCH_BIT (UINT64_C(1) << 63)
#define OBV_CLOG_COMPRESSED_HEADER 10u /* bytes in front of a compressed entry */

enum obv_clog_type {
    OBV_ENTRY_MEMBERSHIP = 101,
    OBV_ENTRY_PREPARED = 102,
    OBV_ENTRY_NOP = 103,
    OBV_ENTRY_START_MEMBERSHIP = 104,
    OBV_ENTRY_RENEW_MEMBERSHIP = 106,
    OBV_ENTRY_STANDBY_PREPARED = 107,
    OBV_ENTRY_TRUNCATE = 108,
    OBV_ENTRY_SUBMIT = 201,
    OBV_ENTRY_AGGRE = 202,
    OBV_ENTRY_ARCHIVE_CHECKPOINT = 301,
    OBV_ENTRY_ARCHIVE_KICKOFF = 302,
};

/* Storage log types inside SUBMIT and AGGRE entries that matter here. */
enum {
    OBV_STORAGE_LOG_TRANS_CHECKPOINT = 12000,
    OBV_STORAGE_LOG_OFFLINE = 20001,
    OBV_STORAGE_LOG_OFFLINE_V2 = 20002,
};

typedef struct obv_clog_entry {
    enum obv_clog_type type;
    bool is_trans;        /* bit 31 of the type */
    bool batch_committed; /* bit 63 of submit_ts; never set in clog files, carried by the ilog and by the archive */
    obv_pg_key pg;
    uint64_t log_id;
    uint32_t data_len;
    int64_t generation_ts, epoch_id, submit_ts; /* us; submit_ts without the batch bit */
    uint64_t proposal_server;                   /* ipv4 << 32 | port */
    int64_t proposal_ts;
    int64_t data_checksum, header_checksum;
    int64_t freeze_version; /* raw */
} obv_clog_entry;

/** MurmurHash64A chain over the key's three words, as OceanBase's key hash. */
uint64_t obv_clog_key_hash(const obv_pg_key *k);
/** Checksum of the header's in-memory image, batch bit cleared. */
int64_t obv_clog_entry_header_checksum(const obv_clog_entry *e);
/** Header at the start of @p in. OBV_E_CORRUPT: short, magic, version, length, address version, checksum. */
OBV_CHECK obv_code obv_clog_entry_parse(obv_span in, obv_clog_entry *out, obv_err *err);
/** Checks length and checksum of the data behind the header; @p data is at least data_len bytes. */
OBV_CHECK obv_code obv_clog_entry_check_data(const obv_clog_entry *e, obv_span data, obv_err *err);
/** Appends the 105 bytes; header_checksum is computed, data_checksum is taken from @p e. */
void obv_clog_entry_emit(const obv_clog_entry *e, obv_buf *out);

/** accumulate_checksum after a log, from the one before it and the log's data_checksum. */
int64_t obv_clog_accum(int64_t before, int64_t data_checksum);

/** Local records of Paxos: they have no place in the PG's log sequence and are never archived. */
static inline bool obv_clog_type_is_local(enum obv_clog_type t)
{
    return t == OBV_ENTRY_PREPARED || t == OBV_ENTRY_STANDBY_PREPARED || t == OBV_ENTRY_RENEW_MEMBERSHIP;
}
/** Types whose submit_ts repeats the previous log's. */
static inline bool obv_clog_type_is_nop(enum obv_clog_type t) { return t == OBV_ENTRY_NOP || t == OBV_ENTRY_TRUNCATE; }

/* What a PG's archiver must know of an entry's body. */
typedef struct obv_clog_facts {
    int64_t checkpoint; /* greatest value of a trans checkpoint log in it, 0 if none */
    bool offline;       /* takes the partition off line: the PG's last log */
} obv_clog_facts;
/** Looks into SUBMIT and AGGRE bodies; others give no facts. OBV_E_CORRUPT: an item runs out of the data. */
OBV_CHECK obv_code obv_clog_entry_facts(const obv_clog_entry *e, obv_span data, obv_clog_facts *out, obv_err *err);

/* A compressed entry: 10 bytes, then the compressed bytes of a whole entry. */
typedef struct obv_clog_compressed {
    uint32_t compressor; /* OceanBase's number: 2 lz4_1.0, 5 zstd_1.0, 8 zstd_1.3.8 */
    uint32_t raw_len, stored_len;
} obv_clog_compressed;
/** True if @p in begins as a compressed entry does. */
bool obv_clog_is_compressed(obv_span in);
OBV_CHECK obv_code obv_clog_compressed_parse(obv_span in, obv_clog_compressed *out, obv_err *err);
/** Unpacks into @p raw, raw_len bytes. OBV_E_UNSUPPORTED: a compressor that no library here reads. */
OBV_CHECK obv_code obv_clog_decompress(const obv_clog_compressed *c, obv_span stored, uint8_t *raw, obv_err *err);

#endif
