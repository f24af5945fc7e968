/* fake_pg.h - one PG behind fake_observer.h: a table, its index and the trans state, with OceanBase's own macroblocks
 */
#ifndef OBV_TEST_FAKE_PG_H
#define OBV_TEST_FAKE_PG_H

#include "fake_observer.h"
#include "format/ob/keys.h"
#include "format/ob/table_key.h"
#include "golden.h"
#include "pg_maker.h"

#define FAKE_TABLE_ID UINT64_C(1100611139453781)
#define FAKE_INDEX_ID UINT64_C(1100611139453782)
#define FAKE_TABLES 8

enum fake_moved {
    MOVED_LOG_ID,
    MOVED_PUBLISH,
    MOVED_SCHEMA,
    MOVED_LOG_TS,
    MOVED_CREATED,
    MOVED_MEMBERS,
    MOVED_RESTORE,
    MOVED_SPLIT
};

/* Answers that are well made, but not true. */
enum fake_lie {
    LIE_NONE,
    LIE_OTHER_PG, /* PG info about another PG */
    LIE_OTHER_PARTITION_ID,
    LIE_MEMBER_ADDRESS,   /* the port is a member's, the address is not */
    LIE_MEMBERS,          /* as many members, but another one */
    LIE_KEY_OF_PARTITION, /* a table key of another partition */
    LIE_KEY_OF_INDEX,     /* a table key of another index */
    LIE_META_OF_INDEX,    /* base meta of another index */
    LIE_LIST_TOO_LONG,    /* a block more than the meta counts */
    LIE_LIST_CUT,
    LIE_LIST_NEGATIVE,   /* a block of version -1 */
    LIE_DATA_NOT_READY,  /* the data table itself is not ready */
    LIE_BLOCKS_AND_MORE, /* bytes behind the last block */
    LIE_BLOCKS_CUT,      /* the last block is not whole */
    LIE_BLOCK_VERSION,   /* list and server say version 8, the block is of 7 */
    LIE_BLOCK_KIND,      /* LOB blocks where data blocks come */
};

typedef struct fake_block {
    const char *name; /* tests/vectors/data/macro_block_<name>.* */
    int64_t data_version, data_seq;
} fake_block;

typedef struct fake_table {
    int32_t type;
    uint64_t index_id;
    int64_t mv_start, base, snapshot;
    int64_t log_start, log_end;
    int64_t version;
    int64_t upper_trans, schema_version;
    uint64_t row_count;
    const fake_block *blocks;
    size_t block_count;
} fake_table;

typedef struct fake_pg {
    obv_pg_key key;
    uint16_t member_port; /* of 127.0.0.1 in the member list */
    int16_t is_restore;
    int32_t migrate_status, replica_type;
    int64_t split_state;
    uint64_t last_replay_log_id;
    int64_t last_replay_log_ts, publish, schema_version;
    int move_after; /* PG infos after this many show another position or state; 0 never */
    enum fake_lie lie;
    int moved;         /* which member of it, enum fake_moved */
    int infos;         /* PG infos answered */
    bool hide_trans;   /* the trans partition is not among the members */
    bool extra_member; /* a third member, which is not listed */
    bool swap_blocks;  /* another good block of the sstable comes than was named */
    bool index_not_ready;
    int32_t assist; /* of the table's keys */
    int32_t fail_pcode, fail_rcode;
    int damage_blocks; /* this many of the next blocks have a wrong byte, under right packet checksums */
    fake_table tables[FAKE_TABLES];
    size_t table_count;
    pthread_mutex_t lock;
} fake_pg;

static inline void fake_put_addr(obv_buf *b, uint32_t ip, uint16_t port)
{
    obv_put_addr(b, &(obv_ob_addr){.family = 4, .ip = {ip}, .port = port});
}

static inline void fake_put_pg_meta(obv_buf *b, fake_pg *p)
{
    const obv_pg_key trans = obv_pg_key_trans(&p->key);
    const int moved = p->move_after && p->infos > p->move_after ? p->moved : -1;
    const obv_proposal_id proposal = {.ip = 0x7f000001, .port = 2882, .ts = 5};
    obv_member_list members = {.count = 1};
    for (int i = 0; i < OBV_MEMBERS_MAX; i++)
        members.member[i] = (obv_member){.server = {.family = 4}, .timestamp = -1};
    members.member[0] = (obv_member){
        .server = {.family = 4, .ip = {p->lie == LIE_MEMBER_ADDRESS ? 0x7f000002 : 0x7f000001}, .port = p->member_port},
        .timestamp = 1};
    const size_t meta = obv_unis_begin(b, 1);
    obv_put_pkey(b, &(obv_pg_key){p->key.table_id + (p->lie == LIE_OTHER_PG),
                                  p->key.part_id + (p->lie == LIE_OTHER_PARTITION_ID), p->key.assist});
    obv_put_vi32(b, moved == MOVED_RESTORE ? 2 : p->is_restore);
    obv_put_vi32(b, p->replica_type);
    obv_put_unis_header(b, 1, 1);
    obv_put_vu64(b, 100);
    obv_put_vi64(b, moved == MOVED_SPLIT ? 2 : p->split_state);
    obv_put_vi32(b, p->migrate_status);
    obv_put_vi64(b, 0);
    const size_t storage = obv_unis_begin(b, 1);
    obv_put_vi32(b, 3);
    const size_t clog = obv_unis_begin(b, 1);
    obv_put_vi32(b, 1);
    obv_put_vi64(b, 900);
    obv_put_proposal_id(b, &proposal);
    obv_put_vu64(b, p->last_replay_log_id);
    obv_put_vi64(b, p->last_replay_log_ts);
    obv_put_vi64(b, 4711);
    for (int i = 0; i < 3; i++)
        obv_put_vi64(b, 1);
    obv_put_member_list(b, &members);
    obv_put_proposal_id(b, &proposal);
    obv_unis_end(b, clog);
    const size_t data = obv_unis_begin(b, 1);
    obv_put_vu64(b, p->last_replay_log_id + (moved == MOVED_LOG_ID));
    obv_put_vi64(b, p->publish + (moved == MOVED_PUBLISH));
    obv_put_vi64(b, p->schema_version + (moved == MOVED_SCHEMA));
    obv_put_vi64(b, 1);
    obv_put_u8(b, 1);
    obv_put_vi64(b, p->last_replay_log_ts + (moved == MOVED_LOG_TS));
    obv_unis_end(b, data);
    obv_put_vi64(b, -1);
    obv_unis_end(b, storage);
    obv_put_unis_header(b, 1, 0); /* split info */
    const bool extra = p->extra_member || moved == MOVED_MEMBERS;
    obv_put_vu64(b, (uint64_t)(p->hide_trans ? 1 : 2) + (extra ? 1 : 0));
    obv_put_pkey(b, &(obv_pg_key){FAKE_TABLE_ID, p->key.part_id + (p->lie == LIE_MEMBERS), p->assist});
    if (!p->hide_trans)
        obv_put_pkey(b, &trans);
    if (extra)
        obv_put_pkey(b, &(obv_pg_key){UINT64_MAX >> 1, 0, 0}); /* behind all others in their order */
    obv_put_unis_header(b, 1, 0);                              /* report status */
    for (int i = 0; i < 8; i++)
        obv_put_vi64(b, 100 + i + (i == 2 && moved == MOVED_CREATED));
    obv_unis_end(b, meta);
}

static inline obv_table_key fake_key(const fake_pg *p, const fake_table *t)
{
    obv_table_key k = {.type = t->type,
                       .pkey = {FAKE_TABLE_ID, p->key.part_id, p->assist},
                       .table_id = t->index_id,
                       .versions = {t->mv_start, t->base, t->snapshot},
                       .version = t->version,
                       .log_ts = {t->log_start, t->log_end, t->log_end}};
    if (t->type == OBV_TABLE_TRANS)
        k.pkey = obv_pg_key_trans(&p->key);
    return k;
}

static inline void fake_put_index(obv_buf *b, const fake_pg *p, uint64_t index_id, bool ready)
{
    size_t n = 0;
    for (size_t i = 0; i < p->table_count; i++)
        n += p->tables[i].index_id == index_id;
    const size_t info = obv_unis_begin(b, 2);
    obv_put_vu64(b, n);
    for (size_t i = 0; i < p->table_count; i++) {
        if (p->tables[i].index_id != index_id)
            continue;
        obv_table_key k = fake_key(p, &p->tables[i]);
        k.pkey.part_id += p->lie == LIE_KEY_OF_PARTITION;
        k.table_id += p->lie == LIE_KEY_OF_INDEX;
        obv_put_table_key(b, &k);
    }
    obv_put_vi64(b, 1);
    obv_put_u8(b, ready);
    obv_put_vu64(b, 0);
    obv_unis_end(b, info);
}

static inline void fake_put_partitions(obv_buf *b, const fake_pg *p)
{
    const obv_pg_key table = {FAKE_TABLE_ID, p->key.part_id, p->assist};
    const obv_pg_key trans = obv_pg_key_trans(&p->key);
    bool has_index = false;
    for (size_t i = 0; i < p->table_count; i++)
        has_index |= p->tables[i].index_id == FAKE_INDEX_ID;
    size_t m = obv_unis_begin(b, 2);
    make_store_meta(b, &table);
    obv_put_vu64(b, has_index ? 2 : 1);
    obv_put_vu64(b, FAKE_TABLE_ID);
    if (has_index)
        obv_put_vu64(b, FAKE_INDEX_ID);
    obv_put_vu64(b, has_index ? 2 : 1);
    fake_put_index(b, p, FAKE_TABLE_ID, p->lie != LIE_DATA_NOT_READY);
    if (has_index)
        fake_put_index(b, p, FAKE_INDEX_ID, !p->index_not_ready);
    obv_unis_end(b, m);
    m = obv_unis_begin(b, 2);
    make_store_meta(b, &trans);
    obv_put_vu64(b, 1);
    obv_put_vu64(b, trans.table_id);
    obv_put_vu64(b, 1);
    fake_put_index(b, p, trans.table_id, true);
    obv_unis_end(b, m);
}

static inline const fake_table *fake_find(const fake_pg *p, const obv_table_key *key)
{
    for (size_t i = 0; i < p->table_count; i++) {
        const obv_table_key k = fake_key(p, &p->tables[i]);
        if (obv_table_key_equal(&k, key))
            return &p->tables[i];
    }
    return NULL;
}

static inline void fake_put_base_meta(obv_buf *b, const fake_pg *p, const fake_table *t)
{
    const bool lob = p->lie == LIE_BLOCK_KIND;
    const size_t m = obv_unis_begin(b, 1);
    obv_put_vu64(b, t->index_id + (p->lie == LIE_META_OF_INDEX));
    obv_put_vu64(b, t->row_count);
    for (int i = 0; i < 7; i++) /* size, checksums, version, row key columns, type, available version */
        obv_put_vi64(b, 0);
    obv_put_vu64(b, lob ? 0 : t->block_count);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, 0); /* columns */
    obv_put_vu64(b, 0);
    for (int i = 0; i < 3; i++)
        obv_put_vi64(b, 0);
    obv_put_vu64(b, lob ? t->block_count : 0);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, 6);
    obv_put_vi64(b, -1);
    obv_put_u8(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vi64(b, t->schema_version);
    for (int i = 0; i < 4; i++)
        obv_put_vi64(b, 0);
    obv_put_vu64(b, 0); /* new columns */
    obv_put_vi64(b, 0);
    obv_put_vi64(b, 0);
    obv_put_vi32(b, 0);
    obv_put_vi64(b, 7);
    obv_put_u8(b, 1);
    obv_put_pkey(b, &(obv_pg_key){FAKE_TABLE_ID, 3, 0});
    obv_put_u8(b, 3);
    obv_put_u8(b, 0);
    obv_put_vi64(b, t->upper_trans);
    obv_put_vi64(b, 0);
    obv_put_vu64(b, 0);
    obv_unis_end(b, m);
    obv_put_vu64(b, t->block_count);
    for (size_t i = 0; i < t->block_count; i++) {
        const size_t pair = obv_unis_begin(b, 1);
        obv_put_vi64(b, p->lie == LIE_LIST_NEGATIVE ? -1 : t->blocks[i].data_version + (p->lie == LIE_BLOCK_VERSION));
        obv_put_vi64(b, t->blocks[i].data_seq);
        obv_unis_end(b, pair);
    }
    if (p->lie == LIE_LIST_TOO_LONG)
        obv_put_unis_header(b, 1, 0);
    b->len -= p->lie == LIE_LIST_CUT && t->block_count > 0;
}

static inline void fake_put_block(obv_buf *b, fake_pg *p, const fake_block *block)
{
    char name[96];
    (void)snprintf(name, sizeof name, "data/macro_block_%s.meta.bin", block->name);
    const obv_span meta = golden_vector(name);
    (void)snprintf(name, sizeof name, "data/macro_block_%s.bin.zst", block->name);
    obv_span data = golden_vector(name);
    obv_rd r = obv_rd_of((obv_span){meta.p + 30, 4}); /* occupy_size */
    data.len = obv_rd_le32(&r);
    obv_put_span(b, meta);
    obv_put_span(b, data);
    if (p->damage_blocks > 0) {
        p->damage_blocks--;
        b->data[b->len - 9] ^= 4;
    }
}

static inline int32_t fake_put_blocks(obv_buf *b, fake_pg *p, obv_span arg)
{
    obv_rd r = obv_rd_of(arg);
    obv_rd body = obv_rd_unis(&r, 2);
    obv_table_key key;
    obv_rd_table_key(&body, &key);
    const fake_table *t = fake_find(p, &key);
    const uint64_t n = obv_rd_vu64(&body);
    for (uint64_t i = 0; t && i < n; i++) {
        obv_rd ref = obv_rd_unis(&body, 2);
        const uint64_t index = obv_rd_vu64(&ref);
        const int64_t version = obv_rd_version(&ref) - (p->lie == LIE_BLOCK_VERSION);
        const int64_t seq = obv_rd_vi64(&ref);
        if (index >= t->block_count || t->blocks[index].data_version != version || t->blocks[index].data_seq != seq)
            return -4016;
        fake_put_block(b, p, &t->blocks[p->swap_blocks ? (index + 1) % t->block_count : index]);
    }
    if (p->lie == LIE_BLOCKS_AND_MORE)
        obv_put_u8(b, 0);
    b->len -= p->lie == LIE_BLOCKS_CUT;
    return t ? 0 : -4018;
}

/* Arguments as a right copy has them (restorable-set A3 (a)); anything else is refused. */
static inline bool fake_good_info_arg(const fake_pg *p, obv_span arg)
{
    obv_rd r = obv_rd_of(arg);
    obv_rd b = obv_rd_unis(&r, 1);
    const obv_pg_key key = obv_rd_pkey(&b);
    const bool full = obv_rd_vi32(&b) == 0;
    const bool slave_ts = obv_rd_bool(&b);
    return obv_pg_key_equal(&key, &p->key) && full && !slave_ts && obv_rd_vi64(&b) == 2 && obv_rd_left(&r) == 0;
}

static inline bool fake_good_partitions_arg(const fake_pg *p, obv_span arg)
{
    obv_rd r = obv_rd_of(arg);
    obv_rd b = obv_rd_unis(&r, 1);
    const obv_pg_key key = obv_rd_pkey(&b);
    const int64_t snapshot = obv_rd_vi64(&b);
    const bool only_major = obv_rd_bool(&b);
    return obv_pg_key_equal(&key, &p->key) && snapshot == p->publish && !only_major &&
           obv_rd_vi64(&b) == p->last_replay_log_ts && obv_rd_left(&r) == 0;
}

static inline int32_t fake_pg_answer(fake_pg *p, uint32_t pcode, obv_span arg, obv_buf *out)
{
    if (p->fail_rcode && (uint32_t)p->fail_pcode == pcode)
        return p->fail_rcode;
    obv_rd r = obv_rd_of(arg);
    obv_rd body;
    obv_table_key key;
    const fake_table *t;
    switch (pcode) {
    case 0x472:
        p->infos++;
        if (!fake_good_info_arg(p, arg))
            return -4002;
        const size_t m = obv_unis_begin(out, 1);
        fake_put_pg_meta(out, p);
        obv_put_version(out, 7);
        obv_put_u8(out, 1);
        obv_put_vu64(out, 0);
        obv_put_vi64(out, -1);
        obv_put_vi64(out, 2);
        obv_unis_end(out, m);
        return 0;
    case 0x473:
        if (!fake_good_partitions_arg(p, arg))
            return -4002;
        fake_put_partitions(out, p);
        return 0;
    case 0x45D:
        body = obv_rd_unis(&r, 1);
        obv_rd_table_key(&body, &key);
        t = fake_find(p, &key);
        if (!t)
            return -4018;
        fake_put_base_meta(out, p, t);
        return 0;
    case 0x471:
        return fake_put_blocks(out, p, arg);
    default:
        abort(); /* no other code may ever be sent */
    }
}

static inline int32_t fake_pg_handler(void *ctx, uint32_t pcode, obv_span arg, obv_buf *out)
{
    fake_pg *p = ctx;
    pthread_mutex_lock(&p->lock);
    const int32_t rcode = fake_pg_answer(p, pcode, arg, out);
    pthread_mutex_unlock(&p->lock);
    return rcode;
}

#endif
