#include "source/observer_priv.h"

#include <arpa/inet.h>

enum { DEFAULT_STREAMS = 2, DEFAULT_TIMEOUT_MS = 30000, DEFAULT_READ_AHEAD = 8, DEFAULT_PG_METAS_MIB = 1024 };

static void observer_close(obv_source *s)
{
    obv_observer *o = (obv_observer *)s;
    obv_observer_rpc_free(o->rpc);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static const obv_source_metas *observer_metas(const obv_source_pg *pg)
{
    obv_observer_bug_position((obv_source_pg *)pg);
    return &pg->metas;
}

static const obv_source_ops OPS = {
    .name = "observer",
    .open_pg = obv_observer_open_pg,
    .metas = observer_metas,
    .next_block = obv_observer_next_block,
    .seek = obv_observer_seek,
    .close_pg = obv_observer_close_pg,
    .close = observer_close,
};

obv_code obv_observer_open(const obv_observer_config *cfg, obv_source **out, obv_err *err)
{
    obv_observer_config full = *cfg;
    struct in_addr ip;
    full.streams = cfg->streams ? cfg->streams : DEFAULT_STREAMS;
    full.timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : DEFAULT_TIMEOUT_MS;
    full.read_ahead_blocks = cfg->read_ahead_blocks ? cfg->read_ahead_blocks : DEFAULT_READ_AHEAD;
    full.pg_metas_mib = cfg->pg_metas_mib ? cfg->pg_metas_mib : DEFAULT_PG_METAS_MIB;
    if (!cfg->ip || inet_pton(AF_INET, cfg->ip, &ip) != 1)
        return obv_fail(err, OBV_E_INVAL, 0, "observer: '%s' is no IPv4 address", cfg->ip ? cfg->ip : "");
    if (full.cluster_id <= 0 || full.read_ahead_blocks > OBV_OBSERVER_REFS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "observer: cluster id %lld, read-ahead of %u blocks",
                        (long long)full.cluster_id, full.read_ahead_blocks);
    obv_observer *o = calloc(1, sizeof *o);
    if (!o)
        return obv_fail(err, OBV_E_NOMEM, 0, "observer");
    o->base.ops = &OPS;
    o->ip = ntohl(ip.s_addr);
    o->cfg = full;
    o->cfg.ip = NULL; /* the caller's; ip holds it */
    pthread_mutex_init(&o->lock, NULL);
    const obv_observer_rpc_config rpc = {.ip = o->ip,
                                         .port = full.rpc_port,
                                         .cluster_id = full.cluster_id,
                                         .slots = full.streams,
                                         .timeout_ms = full.timeout_ms};
    const obv_code code = obv_observer_rpc_new(&rpc, &o->rpc, err);
    if (code != OBV_OK) {
        observer_close(&o->base);
        return code;
    }
    *out = &o->base;
    return OBV_OK;
}

bool obv_observer_suspect(obv_observer *o, const obv_pg_key *pg)
{
    bool known = false;
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < OBV_OBSERVER_SUSPECTS && !known; i++)
        known = obv_pg_key_equal(&o->suspects[i], pg);
    if (!known)
        o->suspects[o->suspect_at++ % OBV_OBSERVER_SUSPECTS] = *pg;
    pthread_mutex_unlock(&o->lock);
    return known;
}

void obv_observer_unsuspect(obv_observer *o, const obv_pg_key *pg)
{
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < OBV_OBSERVER_SUSPECTS; i++)
        if (obv_pg_key_equal(&o->suspects[i], pg))
            o->suspects[i] = (obv_pg_key){0};
    pthread_mutex_unlock(&o->lock);
}

obv_code obv_observer_pg_meta(obv_observer *o, const obv_pg_key *pg, const obv_cancel *c, obv_buf *buf,
                              obv_pg_meta *out, obv_err *err)
{
    uint8_t room[64];
    obv_buf arg = obv_buf_fixed(room, sizeof room);
    obv_rpc_put_pg_info_arg(&arg, pg);
    obv_rpc_pg_info info;
    buf->len = 0;
    OBV_TRY(obv_observer_rpc_unary(o->rpc, OBV_RPC_PG_INFO, obv_buf_span(&arg), c, buf, err));
    OBV_TRY(obv_rpc_pg_info_parse(obv_buf_span(buf), &info, err));
    OBV_TRY(obv_pg_meta_parse(info.pg_meta, out, err));
    if (out->key.table_id != pg->table_id || obv_pg_key_partition_id(&out->key) != obv_pg_key_partition_id(pg))
        return obv_fail(err, OBV_E_CORRUPT, 0, "PG info: the answer is about another PG");
    return OBV_OK;
}

obv_code obv_observer_fetch_pg_info(obv_source *s, const obv_pg_key *pg, const obv_cancel *c, obv_observer_pg_info *out,
                                    obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    obv_observer *o = (obv_observer *)s;
    obv_err local = {0};
    obv_assert(s->ops == &OPS);
    obv_buf buf = obv_buf_heap(OBV_OBSERVER_INFO_MAX);
    obv_pg_meta m;
    obv_code code = obv_observer_pg_meta(o, pg, c, &buf, &m, &local);
    if (code == OBV_OK) {
        *out = (obv_observer_pg_info){.key = m.key,
                                      .is_restore = m.is_restore,
                                      .replica_type = m.replica_type,
                                      .last_replay_log_id = m.clog.last_replay_log_id,
                                      .last_submit_ts = m.clog.last_submit_ts,
                                      .epoch_id = m.clog.epoch_id,
                                      .accumulate_checksum = m.clog.accumulate_checksum,
                                      .data_last_replay_log_id = m.data.last_replay_log_id,
                                      .data_last_replay_log_ts = m.data.last_replay_log_ts,
                                      .publish_version = m.data.publish_version,
                                      .schema_version = m.data.schema_version,
                                      .create_timestamp = m.create_timestamp,
                                      .partition_count = m.partition_count};
        out->partitions = calloc(m.partition_count ? m.partition_count : 1, sizeof *out->partitions);
        if (!out->partitions)
            code = obv_fail(&local, OBV_E_NOMEM, 0, "PG info");
        for (size_t i = 0; code == OBV_OK && i < m.partition_count; i++)
            out->partitions[i] = obv_pg_meta_partition(&m, i);
    }
    obv_buf_fini(&buf);
    if (code == OBV_OK)
        return OBV_OK;
    (void)obv_wrap(&local, "PG %s", obv_pg_key_text(pg, text));
    if (err)
        *err = local;
    return code;
}

void obv_observer_pg_info_fini(obv_observer_pg_info *i)
{
    free(i->partitions);
    i->partitions = NULL;
    i->partition_count = 0;
}
