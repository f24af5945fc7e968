/* fake_rig.h - the driver opened on one fake server with one PG */
#ifndef OBV_TEST_FAKE_RIG_H
#define OBV_TEST_FAKE_RIG_H

#include "fake_pg.h"
#include "source/observer.h"

#define T INT64_C(1672531200000000)

static const fake_block MAJOR_BLOCKS[] = {{"none", 7, 0}, {"lz4", 7, 1}, {"zstd138", 7, 2}, {"single_micro", 7, 3}};
static const fake_block MINOR_BLOCKS[] = {{"minor", 0, 4}};

/* Two majors, four minors and the trans state; the copy takes the newer major and the second and third minor. */
static inline fake_pg sample(void)
{
    const uint64_t trans = FAKE_TABLE_ID | UINT64_C(3) << 38;
    fake_pg p = {.key = {FAKE_TABLE_ID, 3, 0},
                 .last_replay_log_id = 106,
                 .last_replay_log_ts = T + 690,
                 .publish = T + 700,
                 .schema_version = T + 400};
    /* clang-format off */
    const fake_table tables[] = {
        {.type = OBV_TABLE_MAJOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 400, .snapshot = T + 400, .version = 6, .schema_version = T + 300},
        {.type = OBV_TABLE_MAJOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 500, .snapshot = T + 500, .version = 7, .schema_version = T + 310,
         .blocks = MAJOR_BLOCKS, .block_count = 4},
        {.type = OBV_TABLE_MINI_MINOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 600, .base = T + 600, .snapshot = T + 700,
         .log_start = T + 600, .log_end = T + 690, .upper_trans = INT64_MAX, .schema_version = T + 450},
        {.type = OBV_TABLE_MV_MINOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 400, .base = T + 400, .snapshot = T + 500,
         .log_start = T + 400, .log_end = T + 500, .upper_trans = T + 500, .schema_version = T + 320},
        {.type = OBV_TABLE_MV_MINOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 530, .base = T + 500, .snapshot = T + 600,
         .log_start = T + 500, .log_end = T + 600, .upper_trans = T + 650, .schema_version = T + 480,
         .blocks = MINOR_BLOCKS, .block_count = 1},
        {.type = OBV_TABLE_MINI_MINOR, .index_id = FAKE_TABLE_ID, .mv_start = T + 700, .base = T + 700, .snapshot = T + 800,
         .log_start = T + 690, .log_end = T + 800, .upper_trans = INT64_MAX, .schema_version = T + 990},
        {.type = OBV_TABLE_TRANS, .index_id = trans, .snapshot = T + 700, .log_end = T + 690},
    };
    /* clang-format on */
    memcpy(p.tables, tables, sizeof tables);
    p.table_count = sizeof tables / sizeof *tables;
    return p;
}

typedef struct rig {
    fake_pg pg;
    fake_observer server;
    obv_source *source;
    obv_err err;
} rig;

static inline void rig_start(rig *r, uint32_t timeout_ms)
{
    r->pg = sample();
    r->err = (obv_err){0};
    pthread_mutex_init(&r->pg.lock, NULL);
    fake_start(&r->server, fake_pg_handler, &r->pg);
    r->pg.member_port = r->server.port;
    const obv_observer_config cfg = {.ip = "127.0.0.1",
                                     .rpc_port = r->server.port,
                                     .cluster_id = FAKE_CLUSTER_ID,
                                     .timeout_ms = timeout_ms,
                                     .read_ahead_blocks = 3};
    assert_code(obv_observer_open(&cfg, &r->source, &r->err), OBV_OK, &r->err);
}

static inline void rig_stop(rig *r)
{
    r->source->ops->close(r->source);
    fake_stop(&r->server);
    pthread_mutex_destroy(&r->pg.lock);
}

static inline obv_code open_pg(rig *r, const obv_cancel *c, obv_source_pg **out)
{
    return r->source->ops->open_pg(r->source, &r->pg.key, c, out, &r->err);
}

/* Reads all blocks; @return the code that ended it */
static inline obv_code read_all(rig *r, obv_source_pg *pg, size_t *blocks)
{
    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    assert_non_null(buf);
    obv_source_block b;
    obv_code code;
    *blocks = 0;
    while ((code = r->source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r->err)) == OBV_OK)
        (*blocks)++;
    free(buf);
    return code;
}

#endif
