/* pg_maker.h - metas of one quiet PG as an OBServer sends them (docs/format.md), for tests that only need right ones */
#ifndef OBV_TEST_PG_MAKER_H
#define OBV_TEST_PG_MAKER_H

#include "format/ob/keys.h"
#include "format/ob/metas.h"

typedef struct made_sstable {
    uint64_t index_id, rows, occupy, checksum, blocks;
    int64_t state; /* any number: tells two replicas' metas apart */
    int64_t schema_version;
} made_sstable;

static inline void make_sstable_meta(obv_buf *b, const obv_pg_key *pg, const made_sstable *t)
{
    const size_t m = obv_unis_begin(b, 1);
    obv_put_vu64(b, t->index_id);
    obv_put_vu64(b, t->rows);
    obv_put_vu64(b, t->occupy);
    obv_put_vu64(b, t->checksum);
    obv_put_vi64(b, t->state);
    for (int i = 0; i < 4; i++)
        obv_put_vi64(b, 0);
    obv_put_vu64(b, t->blocks);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vu64(b, 0);
    for (int i = 0; i < 5; i++)
        obv_put_vi64(b, 0);
    obv_put_vi64(b, 6);
    obv_put_vi64(b, -1);
    obv_put_u8(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, t->schema_version);
    for (int i = 0; i < 4; i++)
        obv_put_vi64(b, 0);
    obv_put_vu64(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vi32(b, 0);
    obv_put_vi64(b, 7);
    obv_put_u8(b, 1);
    obv_put_pkey(b, pg);
    obv_put_u8(b, 3);
    obv_put_u8(b, 0);
    obv_put_vi64(b, 300);
    obv_put_vi64(b, 0);
    obv_put_vu64(b, 0);
    obv_unis_end(b, m);
}

/* A full replica on 127.0.0.1:2882 that neither restores nor moves, its own table and its transaction states. */
static inline void make_pg_meta(obv_buf *b, const obv_pg_key *pg, uint64_t last_replay_log_id, int64_t submit_ts,
                                int64_t schema_version)
{
    const obv_pg_key trans = obv_pg_key_trans(pg);
    const obv_proposal_id proposal = {.ip = 0x7f000001, .port = 2882, .ts = 5};
    obv_member_list members = {.count = 1};
    for (int i = 0; i < OBV_MEMBERS_MAX; i++)
        members.member[i] = (obv_member){.server = {.family = 4}, .timestamp = -1};
    members.member[0] = (obv_member){.server = {.family = 4, .ip = {0x7f000001}, .port = 2882}, .timestamp = 1};
    const size_t meta = obv_unis_begin(b, 1);
    obv_put_pkey(b, pg);
    obv_put_vi32(b, 0);
    obv_put_vi32(b, 0);
    obv_put_unis_header(b, 1, 1);
    obv_put_vu64(b, 100);
    obv_put_vi64(b, 0);
    obv_put_vi32(b, 0);
    obv_put_vi64(b, 0);
    const size_t storage = obv_unis_begin(b, 1);
    obv_put_vi32(b, 3);
    const size_t clog = obv_unis_begin(b, 1);
    obv_put_vi32(b, 1);
    obv_put_vi64(b, 900);
    obv_put_proposal_id(b, &proposal);
    obv_put_vu64(b, last_replay_log_id);
    obv_put_vi64(b, submit_ts);
    obv_put_vi64(b, 4711);
    for (int i = 0; i < 3; i++)
        obv_put_vi64(b, 1);
    obv_put_member_list(b, &members);
    obv_put_proposal_id(b, &proposal);
    obv_unis_end(b, clog);
    const size_t data = obv_unis_begin(b, 1);
    obv_put_vu64(b, last_replay_log_id);
    obv_put_vi64(b, 150);
    obv_put_vi64(b, schema_version);
    obv_put_vi64(b, 1);
    obv_put_u8(b, 1);
    obv_put_vi64(b, submit_ts);
    obv_unis_end(b, data);
    obv_put_vi64(b, -1);
    obv_unis_end(b, storage);
    obv_put_unis_header(b, 1, 0);
    obv_put_vu64(b, 2);
    obv_put_pkey(b, pg);
    obv_put_pkey(b, &trans);
    obv_put_unis_header(b, 1, 0);
    for (int i = 0; i < 8; i++)
        obv_put_vi64(b, 100 + i);
    obv_unis_end(b, meta);
}

static inline void make_store_meta(obv_buf *b, const obv_pg_key *pkey)
{
    const size_t store = obv_unis_begin(b, 2);
    obv_put_pkey(b, pkey);
    obv_put_unis_header(b, 1, 0);
    obv_put_vi64(b, 1);
    obv_put_vu64(b, pkey->table_id);
    obv_put_vi64(b, 100);
    obv_put_vi64(b, 110);
    obv_unis_end(b, store);
}

#endif
