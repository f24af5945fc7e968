/* enc.h - OceanBase 3.1 objects that the stand-in serves or writes: keys, PG metas, sstable metas, table keys */
#ifndef OBS_ENC_H
#define OBS_ENC_H

#include "util.h"

#define CLUSTER_VERSION 0x0000000300010005u /* 3.1.5 */
#define TRANS_BITS 0xC000000000u
#define TG_BIT 0x8000000000u
#define TWO_LEVEL 0x10000000
#define NO_ID UINT64_MAX

struct pkey {
    uint64_t table_id;
    int32_t part_id;
    int32_t assist;
};
static inline uint64_t pkey_tenant(const struct pkey *k) { return k->table_id >> 40; }
static inline uint64_t low_id(uint64_t table_id) { return table_id & ((1ull << 40) - 1); }
static inline bool pkey_eq(const struct pkey *a, const struct pkey *b)
{
    return a->table_id == b->table_id && a->part_id == b->part_id && a->assist == b->assist;
}
int64_t pkey_partition_id(const struct pkey *k);
struct pkey pkey_make(uint64_t table_id, int64_t partition_id);
uint64_t pkey_hash(const struct pkey *k);
struct pkey pkey_trans(const struct pkey *k); /* key of the PG's transaction-state partition */
void enc_pkey(struct obuf *b, const struct pkey *k);
struct pkey in_pkey(struct oin *r);

#define MAX_MEMBERS 8
struct member {
    uint32_t ip; /* host order */
    int32_t port;
    int64_t timestamp;
};
struct proposal {
    uint32_t ip;
    int32_t port;
    int64_t ts;
};
void enc_addr(struct obuf *b, uint32_t ip, int32_t port);
void enc_member_list(struct obuf *b, const struct member *m, int n);
void enc_proposal(struct obuf *b, const struct proposal *p);

struct vrange {
    int64_t multi_version_start, base_version, snapshot_version;
};
struct lrange {
    int64_t start, end, max;
};
enum table_type { T_MAJOR = 1, T_TRANS = 3, T_MINOR = 4, T_MINI = 7 };
struct table_key {
    int type;
    struct pkey pkey;
    uint64_t table_id;
    struct vrange v;
    int64_t version; /* major: packed ObVersion */
    struct lrange l;
};
void enc_table_key(struct obuf *b, const struct table_key *k);
struct table_key in_table_key(struct oin *r);
bool table_key_eq(const struct table_key *a, const struct table_key *b);

struct clog_info {
    int64_t epoch;
    struct proposal proposal;
    uint64_t last_log_id;
    int64_t last_submit_ts;
    int64_t accum;
    int64_t membership_ts;
    uint64_t membership_log_id;
};
struct data_info {
    uint64_t last_log_id;
    int64_t publish_version;
    int64_t schema_version;
    int64_t last_log_ts;
};
struct pg_meta {
    struct pkey key;
    int is_restore, migrate_status;
    int64_t split_state;
    struct clog_info clog;
    struct data_info data;
    const struct member *members; /* perhaps those kept here */
    struct member member_buf[MAX_MEMBERS];
    int n_members;
    const struct pkey *partitions;
    int n_partitions;
    int64_t data_version, data_size, required_size, major_snapshot;
    int64_t create_schema_version, create_timestamp, create_frozen_version;
};
void enc_pg_meta(struct obuf *b, const struct pg_meta *m);

struct part_meta {
    struct pkey key;
    int64_t data_version, row_count, row_checksum, data_checksum, data_size, required_size, snapshot_version;
    int64_t multi_version_start;
    uint64_t data_table_id;
    int64_t create_schema_version, create_timestamp;
};
void enc_part_meta(struct obuf *b, const struct part_meta *m);

#define MAX_COLS 4
struct base_meta {
    uint64_t index_id;
    int64_t row_count, occupy_size, data_checksum, row_checksum, data_version;
    int rowkey_cols, n_cols;
    int64_t macro_count;
    int64_t col_id[MAX_COLS];
    int64_t col_checksum[MAX_COLS];
    int index_type;
    int64_t schema_version, create_snapshot_version, checksum_method, logical_data_version;
    struct pkey pg_key;
    int rowkey_type; /* 2 multi-version, 0 major: as the server has it */
    bool has_uncommitted;
    int64_t upper_trans_version, max_merged_trans_version;
    uint64_t end_log_id;
};
void enc_base_meta(struct obuf *b, const struct base_meta *m);

#endif
