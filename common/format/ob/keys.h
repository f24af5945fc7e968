/* keys.h - partition keys, versions, ranges and addresses as OceanBase serializes them (docs/format.md) */
#ifndef OBV_FORMAT_OB_KEYS_H
#define OBV_FORMAT_OB_KEYS_H

#include "format/ob/codec.h"
#include "format/ob/pg_key.h"

#define OBV_PKEY_LEN 16u /* table_id i64 BE, part_id i32 BE, assist i32 BE; no envelope */

obv_pg_key obv_rd_pkey(obv_rd *r);
void obv_put_pkey(obv_buf *b, const obv_pg_key *k);
/** True for ids that OceanBase accepts: table_id set, part_id and assist not negative. */
bool obv_pg_key_valid(const obv_pg_key *k);
/** Key of (table, 64-bit partition id) with a part count of 0, as OceanBase's ObPartitionKey::init(table, part, 0). */
obv_pg_key obv_pg_key_from_partition_id(uint64_t table_id, int64_t partition_id);
/** The PG's transaction-state partition: bits 38 and 39 of the table id set. */
obv_pg_key obv_pg_key_trans(const obv_pg_key *pg);
/** True when both bits 38 and 39 of the table id are set. */
bool obv_table_id_is_trans(uint64_t table_id);
/** True for tablegroup ids: bit 39 set, bit 38 clear. */
bool obv_table_id_is_tablegroup(uint64_t table_id);
/** Total order: table id, then part_id, then assist. */
int obv_pg_key_cmp(const obv_pg_key *a, const obv_pg_key *b);
#define OBV_PKEY_TEXT_MAX 48
/** "<table_id>/<partition_id>" for logs. */
const char *obv_pg_key_text(const obv_pg_key *k, char out[OBV_PKEY_TEXT_MAX]);

typedef struct obv_version_range {
    int64_t multi_version_start, base_version, snapshot_version;
} obv_version_range;
obv_version_range obv_rd_version_range(obv_rd *r);
void obv_put_version_range(obv_buf *b, const obv_version_range *v);

typedef struct obv_log_ts_range {
    int64_t start, end, max;
} obv_log_ts_range;
obv_log_ts_range obv_rd_log_ts_range(obv_rd *r);
void obv_put_log_ts_range(obv_buf *b, const obv_log_ts_range *v);

/* ObVersion: major in the low 32 bits, minor in the next 16 */
int64_t obv_rd_version(obv_rd *r);
void obv_put_version(obv_buf *b, int64_t version);

typedef struct obv_ob_addr {
    int32_t family; /* 4 or 6 */
    uint32_t ip[4]; /* IPv4: ip[0] in host order */
    int32_t port;
} obv_ob_addr;
obv_ob_addr obv_rd_addr(obv_rd *r);
void obv_put_addr(obv_buf *b, const obv_ob_addr *a);

typedef struct obv_member {
    obv_ob_addr server;
    int64_t timestamp, flag;
} obv_member;
#define OBV_MEMBERS_MAX 7
typedef struct obv_member_list {
    int64_t count;
    obv_member member[OBV_MEMBERS_MAX];
} obv_member_list;
void obv_rd_member_list(obv_rd *r, obv_member_list *out);
void obv_put_member_list(obv_buf *b, const obv_member_list *l);

typedef struct obv_proposal_id {
    uint32_t ip; /* IPv4, host order */
    uint32_t port;
    int64_t ts;
} obv_proposal_id;
obv_proposal_id obv_rd_proposal_id(obv_rd *r);
void obv_put_proposal_id(obv_buf *b, const obv_proposal_id *p);

#endif
