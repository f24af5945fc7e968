/* opening a PG: positions, sstables, their metas, and whether all that belongs together */
#include "base/fault.h"
#include "source/observer_priv.h"

#include <inttypes.h>
#include <stdlib.h>

static int by_key(const void *a, const void *b) { return obv_pg_key_cmp(a, b); }

/* ObPartitionSplitStateEnum: unknown, leader or follower at rest; the others are steps of a split. */
static bool is_splitting(int64_t state) { return state < -1 || state > 1; }

/* The states in which a replica is no source of a copy. */
static obv_code check_replica(const obv_source_pg *pg, const obv_pg_meta *m, obv_err *err)
{
    if (m->is_restore != 0 && OBV_BUG_STRIKES("bug.a3e_replica_state"))
        return OBV_OK;
    if (m->is_restore != 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the PG is being restored (state %d)", m->is_restore);
    if (m->migrate_status != 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the replica is migrating or rebuilding (state %d)",
                        (int)m->migrate_status);
    if (is_splitting(m->split_state))
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the PG is being split (state %" PRId64 ")", m->split_state);
    if (m->replica_type != 0)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "a replica of type %d does not hold all data",
                        (int)m->replica_type);
    for (int64_t i = 0; i < m->clog.members.count; i++) {
        const obv_ob_addr *a = &m->clog.members.member[i].server;
        if (a->family == 4 && a->ip[0] == pg->o->ip && a->port == pg->o->cfg.rpc_port)
            return OBV_OK;
    }
    return obv_fail(err, OBV_E_PRECONDITION, 0, "%u.%u.%u.%u:%u is not in the PG's member list of %lld",
                    pg->o->ip >> 24, pg->o->ip >> 16 & 0xff, pg->o->ip >> 8 & 0xff, pg->o->ip & 0xff,
                    pg->o->cfg.rpc_port, (long long)m->clog.members.count);
}

static bool same_position(const obv_data_info *a, const obv_data_info *b)
{
    return a->last_replay_log_id == b->last_replay_log_id && a->publish_version == b->publish_version &&
           a->schema_version == b->schema_version && a->last_replay_log_ts == b->last_replay_log_ts;
}

/* PG info, partition infos, PG info again: nothing may have moved in between. */
static obv_code fetch_positions(obv_source_pg *pg, obv_err *err)
{
    obv_observer *o = pg->o;
    OBV_TRY(obv_observer_pg_meta(o, &pg->key, pg->cancel, &pg->info, &pg->pg, err));
    OBV_TRY(check_replica(pg, &pg->pg, err));
    const obv_data_info *x = &pg->pg.data;

    uint8_t room[96];
    obv_buf arg = obv_buf_fixed(room, sizeof room);
    obv_rpc_put_pg_partitions_arg(&arg, &pg->pg.key, x->publish_version, x->last_replay_log_ts);
    OBV_TRY(
        obv_observer_rpc_stream(o->rpc, OBV_RPC_PG_PARTITIONS, obv_buf_span(&arg), pg->cancel, &pg->partitions, err));

    obv_buf later = obv_buf_heap(OBV_OBSERVER_INFO_MAX);
    obv_pg_meta m;
    obv_code code = obv_observer_pg_meta(o, &pg->key, pg->cancel, &later, &m, err);
    if (code == OBV_OK)
        code = check_replica(pg, &m, err);
    if (code == OBV_OK && (!same_position(x, &m.data) || m.create_timestamp != pg->pg.create_timestamp ||
                           !obv_span_equal(m.partitions, pg->pg.partitions)))
        code = obv_fail(err, OBV_E_PG_CHANGED, 0, "the PG's position moved while its sstables were listed");
    obv_buf_fini(&later);
    return code;
}

static void drop_metas(obv_source_pg *pg, obv_observer_table *t)
{
    pg->metas_left += t->stream.cap;
    obv_buf_fini(&t->stream);
}

static void drop_table(obv_source_pg *pg, obv_observer_table *t)
{
    if (t)
        drop_metas(pg, t);
    free(t);
}

/* The whole list, before anything is copied that depends on it. */
static obv_code check_pairs(const obv_rpc_base_meta *base, obv_err *err)
{
    obv_rd pairs = base->pairs;
    for (uint64_t i = 0; i < base->pair_count; i++) {
        int64_t data_version = 0;
        int64_t data_seq = 0;
        OBV_TRY(obv_rpc_next_pair(&pairs, &data_version, &data_seq, err));
        if (data_version < 0 || data_seq < 0)
            return obv_fail(err, OBV_E_CORRUPT, 0, "list of blocks: block %" PRIu64 " has a negative version", i);
    }
    return obv_rd_done(&pairs, "list of blocks", err);
}

/* Base meta and block list of one sstable, kept in t; drop_metas gives their memory back. */
static obv_code fetch_base_meta(obv_source_pg *pg, obv_observer_table *t, obv_err *err)
{
    uint8_t room[512];
    obv_buf arg = obv_buf_fixed(room, sizeof room);
    obv_rpc_put_base_meta_arg(&arg, t->choice.key_bytes);
    OBV_TRY(obv_buf_check(&arg, "table key", err));
    t->stream = obv_buf_heap(pg->metas_left);
    const obv_code code =
        obv_observer_rpc_stream(pg->o->rpc, OBV_RPC_BASE_META, obv_buf_span(&arg), pg->cancel, &t->stream, err);
    pg->metas_left -= t->stream.cap;
    OBV_TRY(code);
    OBV_TRY(obv_rpc_base_meta_parse(obv_buf_span(&t->stream), &t->base, err));
    OBV_TRY(check_pairs(&t->base, err));
    t->first_pair = t->base.pairs;
    if (t->base.meta.index_id != t->choice.key.table_id)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable of index %" PRIu64 ", but its meta names %" PRIu64,
                        t->choice.key.table_id, t->base.meta.index_id);
    t->choice.upper_trans_version = t->base.meta.upper_trans_version;
    t->choice.schema_version = t->base.meta.schema_version;
    return OBV_OK;
}

static obv_code keep_table(obv_source_pg *pg, obv_observer_table *t, obv_err *err)
{
    if (pg->table_count == pg->table_cap) {
        const size_t cap = pg->table_cap ? pg->table_cap * 2 : 64;
        obv_observer_table **grown =
            cap <= OBV_OBSERVER_PG_TABLES_MAX ? realloc(pg->tables, cap * sizeof(void *)) : NULL;
        if (!grown)
            return obv_fail(err, OBV_E_NOMEM, 0, "%zu sstables of a PG", cap);
        pg->tables = grown;
        pg->table_cap = cap;
    }
    pg->tables[pg->table_count++] = t;
    return OBV_OK;
}

/* Reads the keys of one index into @p t, which has room for all of them. */
static obv_code read_keys(const obv_partition_store_meta *store, uint64_t index_id, obv_rpc_table_info *info,
                          obv_choice_table *t, obv_err *err)
{
    const obv_pg_key rebuilt =
        obv_pg_key_from_partition_id(store->pkey.table_id, obv_pg_key_partition_id(&store->pkey));
    for (size_t i = 0; i < info->key_count; i++) {
        t[i].key_bytes = obv_rd_unis_span(&info->keys, 1);
        OBV_TRY(obv_rd_check(&info->keys, "table keys", err));
        OBV_TRY(obv_table_key_parse(t[i].key_bytes, &t[i].key, err));
        if (t[i].key.table_id != index_id || !obv_pg_key_equal(&t[i].key.pkey, &store->pkey))
            return obv_fail(err, OBV_E_CORRUPT, 0, "table keys: a key of another index or partition");
    }
    /* A restore builds the key anew from table and partition id: another part count would not be found again. */
    if (info->key_count > 0 && store->pkey.assist != rebuilt.assist && !OBV_BUG_STRIKES("bug.a3e_odd_assist"))
        return obv_fail(err, OBV_E_UNSUPPORTED, 0,
                        "table %" PRIu64 " was made by a release before 1.4.3 (part count %d in its keys)",
                        store->pkey.table_id, (int)store->pkey.assist);
    return OBV_OK;
}

/*
 * A merge has made a major behind the PG's position already, and nothing shows that all minors between the two majors
 * are still there. Only if both hold the same blocks, none can be missing.
 */
static obv_code check_overtaken(obv_source_pg *pg, const obv_observer_table *major, const obv_choice_table *newer,
                                obv_err *err)
{
    obv_observer_table t = {.choice = *newer};
    obv_code code = fetch_base_meta(pg, &t, err);
    if (code == OBV_OK &&
        (t.base.meta.row_count != major->base.meta.row_count || t.base.pair_count != major->base.pair_count ||
         !obv_span_equal(obv_span_of(t.first_pair.p, obv_rd_left(&t.first_pair)),
                         obv_span_of(major->first_pair.p, obv_rd_left(&major->first_pair)))))
        code = obv_fail(err, OBV_E_PG_CHANGED, 0,
                        "index %" PRIu64 ": a merge to version %" PRId64 " has overtaken the PG's position %" PRId64,
                        newer->key.table_id, newer->key.versions.snapshot_version, pg->pg.data.publish_version);
    drop_metas(pg, &t);
    return code;
}

#ifdef OBV_TEST_FAULTS
/* Seeded bug: the major before the chosen one is kept as well. */
static obv_code keep_older_major(obv_source_pg *pg, uint32_t partition, const obv_choice_table *t, size_t n,
                                 obv_err *err)
{
    const obv_choice_table *newest = NULL, *older = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!obv_table_type_is_major(t[i].key.type) || t[i].key.versions.snapshot_version > pg->pg.data.publish_version)
            continue;
        if (!newest || t[i].key.versions.snapshot_version > newest->key.versions.snapshot_version) {
            older = newest;
            newest = &t[i];
        } else if (!older || t[i].key.versions.snapshot_version > older->key.versions.snapshot_version) {
            older = &t[i];
        }
    }
    if (!older || !OBV_BUG_STRIKES("bug.a3b_two_majors"))
        return OBV_OK;
    obv_observer_table *made = calloc(1, sizeof *made);
    if (!made)
        return obv_fail(err, OBV_E_NOMEM, 0, "sstables");
    made->partition = partition;
    made->choice = *older;
    obv_code code = fetch_base_meta(pg, made, err);
    if (code == OBV_OK)
        code = keep_table(pg, made, err);
    if (code != OBV_OK)
        drop_table(pg, made);
    return code;
}
#else
#define keep_older_major(pg, partition, t, n, err) OBV_OK
#endif

/* Chooses among the sstables of one index, with their metas, and keeps the chosen ones. */
static obv_code add_index(obv_source_pg *pg, uint32_t partition, bool is_table, obv_choice_table *t, size_t n,
                          obv_choice_facts *facts, obv_err *err)
{
    const int64_t publish = pg->pg.data.publish_version;
    obv_choice_add_listed(facts, t, n, publish);
    OBV_TRY(keep_older_major(pg, partition, t, n, err));
    obv_choice_table newer;
    OBV_TRY(obv_choice_majors(t, &n, publish, &newer, err));
    if (is_table && n > 0 && t[0].key.versions.snapshot_version > publish && obv_table_type_is_major(t[0].key.type))
        return obv_fail(err, OBV_E_PG_CHANGED, 0,
                        "table %" PRIu64 " is new in the PG, whose position has not reached it", t[0].key.table_id);
    const size_t fetched = n;
    obv_observer_table **made = calloc(fetched ? fetched : 1, sizeof *made);
    if (!made)
        return obv_fail(err, OBV_E_NOMEM, 0, "sstables");
    obv_code code = OBV_OK;
    for (size_t i = 0; i < fetched && code == OBV_OK; i++) {
        made[i] = calloc(1, sizeof **made);
        if (!made[i]) {
            code = obv_fail(err, OBV_E_NOMEM, 0, "sstables");
            break;
        }
        made[i]->partition = partition;
        made[i]->choice = t[i];
        code = fetch_base_meta(pg, made[i], err);
        t[i] = made[i]->choice;
        t[i].owner = &made[i];
    }
    if (code == OBV_OK)
        code = obv_choice_minors(t, &n, publish, err);
    if (code == OBV_OK && newer.key_bytes.p && !obv_choice_is_whole(t, n, publish))
        code = check_overtaken(pg, made[0], &newer, err);
    if (code == OBV_OK && n > 1 && obv_table_type_is_minor(t[n - 1].key.type) && OBV_BUG_STRIKES("bug.a3c_minor_short"))
        n--;
    for (size_t i = 0; i < n && code == OBV_OK; i++) {
        obv_choice_add_chosen(facts, &t[i], publish);
        if (t[i].key.type == OBV_TABLE_TRANS && OBV_BUG_STRIKES("bug.a3c_no_trans"))
            continue;
        code = keep_table(pg, *(obv_observer_table **)t[i].owner, err);
        if (code == OBV_OK)
            *(obv_observer_table **)t[i].owner = NULL;
    }
    for (size_t i = 0; i < fetched; i++)
        drop_table(pg, made[i]);
    free(made);
    return code;
}

static obv_code add_partition(obv_source_pg *pg, uint32_t at, obv_rpc_partition *p, obv_choice_facts *facts,
                              obv_err *err)
{
    for (size_t i = 0; i < p->index_count; i++) {
        obv_rpc_table_info info;
        const uint64_t index_id = obv_rd_vu64(&p->index_ids);
        OBV_TRY(obv_rpc_next_table_info(&p->table_infos, &info, err));
        if (!info.ready_for_read && index_id != p->store.data_table_id) {
            pg->metas.indexes_left_out++; /* still being built: it is copied once it is available */
            continue;
        }
        if (!info.ready_for_read)
            return obv_fail(err, OBV_E_PG_CHANGED, 0, "table %" PRIu64 " is not ready for reading yet", index_id);
        obv_choice_table *t = calloc(info.key_count ? info.key_count : 1, sizeof *t);
        if (!t)
            return obv_fail(err, OBV_E_NOMEM, 0, "table keys");
        obv_code code = read_keys(&p->store, index_id, &info, t, err);
        if (code == OBV_OK)
            code = add_index(pg, at, index_id == p->store.data_table_id, t, info.key_count, facts, err);
        free(t);
        OBV_TRY(code);
    }
    return OBV_OK;
}

/* The partitions listed with their sstables must be the members that the PG meta names. */
static obv_code check_partitions(const obv_source_pg *pg, obv_pg_key *listed, size_t n, obv_err *err)
{
    obv_code code = OBV_OK;
    obv_pg_key *members = calloc(n ? n : 1, sizeof *members);
    if (!members)
        return obv_fail(err, OBV_E_NOMEM, 0, "partitions");
    if (n != pg->pg.partition_count)
        code = obv_fail(err, OBV_E_PG_CHANGED, 0, "the PG has %zu partitions, but %zu were listed",
                        pg->pg.partition_count, n);
    for (size_t i = 0; i < n && code == OBV_OK; i++)
        members[i] = obv_pg_meta_partition(&pg->pg, i);
    if (code == OBV_OK) {
        qsort(members, n, sizeof *members, by_key);
        qsort(listed, n, sizeof *listed, by_key);
        for (size_t i = 0; i < n && code == OBV_OK; i++)
            if (!obv_pg_key_equal(&members[i], &listed[i]))
                code = obv_fail(err, OBV_E_PG_CHANGED, 0, "the PG's partitions changed while they were listed");
    }
    free(members);
    return code;
}

static obv_code read_partitions(obv_source_pg *pg, obv_choice_facts *facts, obv_err *err)
{
    const size_t max = pg->pg.partition_count;
    OBV_AUTO(obv_freep) obv_pg_key *listed = calloc(max ? max : 1, sizeof *listed);
    pg->metas_partitions = calloc(max ? max : 1, sizeof *pg->metas_partitions);
    if (!listed || !pg->metas_partitions)
        return obv_fail(err, OBV_E_NOMEM, 0, "partitions");
    const obv_pg_key trans = obv_pg_key_trans(&pg->pg.key);
    obv_rd stream = obv_rd_of(obv_buf_span(&pg->partitions));
    size_t n = 0;
    obv_code code;
    obv_rpc_partition p;
    while ((code = obv_rpc_next_partition(&stream, &p, err)) == OBV_OK) {
        if (n == max)
            return obv_fail(err, OBV_E_PG_CHANGED, 0, "more than the PG's %zu partitions were listed", max);
        listed[n] = p.store.pkey;
        pg->metas_partitions[n] =
            (obv_source_partition){.store_meta = p.store.bytes, .is_trans = obv_pg_key_equal(&p.store.pkey, &trans)};
        OBV_TRY(add_partition(pg, (uint32_t)n, &p, facts, err));
        n++;
    }
    if (code != OBV_E_NOT_FOUND)
        return code;
    pg->metas.partition_count = n;
    return check_partitions(pg, listed, n, err);
}

static obv_code make_metas(obv_source_pg *pg, const obv_choice_facts *facts, obv_err *err)
{
    pg->metas_tables = calloc(pg->table_count ? pg->table_count : 1, sizeof *pg->metas_tables);
    if (!pg->metas_tables)
        return obv_fail(err, OBV_E_NOMEM, 0, "sstables");
    for (size_t i = 0; i < pg->table_count; i++) {
        const obv_observer_table *t = pg->tables[i];
        pg->metas_tables[i] =
            (obv_source_table){.area = obv_table_type_is_major(t->choice.key.type) ? OBV_AREA_MAJOR : OBV_AREA_MINOR,
                               .table_key = t->choice.key_bytes,
                               .sstable_meta = t->base.meta.bytes,
                               .index_id = t->base.meta.index_id,
                               .partition = t->partition,
                               .block_count = t->base.pair_count,
                               .row_count = t->base.meta.row_count,
                               .occupy_bytes = t->base.meta.occupy_size};
    }
    obv_source_metas *m = &pg->metas;
    m->pg_meta = pg->pg.bytes;
    m->partitions = pg->metas_partitions;
    m->tables = pg->metas_tables;
    m->table_count = pg->table_count;
    m->last_replay_log_id = pg->pg.clog.last_replay_log_id;
    m->last_submit_ts = pg->pg.clog.last_submit_ts;
    m->epoch_id = pg->pg.clog.epoch_id;
    m->accumulate_checksum = pg->pg.clog.accumulate_checksum;
    m->data_last_replay_log_id = pg->pg.data.last_replay_log_id;
    m->data_last_replay_log_ts = pg->pg.data.last_replay_log_ts;
    m->publish_version = pg->pg.data.publish_version;
    m->data_schema_version = pg->pg.data.schema_version;
    m->lower_bound = facts->lower_bound;
    m->max_table_schema_version = facts->max_schema_version;
    return OBV_OK;
}

#ifdef OBV_TEST_FAULTS
/* Seeded bug: the sstables of one moment, the position of a later one. */
void obv_observer_bug_position(obv_source_pg *pg)
{
    obv_err err = {0};
    obv_buf later = obv_buf_heap(OBV_OBSERVER_INFO_MAX);
    obv_pg_meta m;
    size_t at = pg->at_table;
    uint64_t next = pg->next_index;
    for (; at < pg->table_count && next == pg->tables[at]->base.pair_count; at++)
        next = 0;
    if (!pg->read_any || at < pg->table_count || pg->ref_at < pg->ref_count || pg->position_moved ||
        !OBV_BUG_STRIKES("bug.a3a_position_of_the_end"))
        return;
    pg->position_moved = true;
    (void)!obv_cancel_sleep(pg->cancel, 1500, &err);
    if (obv_observer_pg_meta(pg->o, &pg->key, pg->cancel, &later, &m, &err) != OBV_OK ||
        !obv_span_equal(m.partitions, pg->pg.partitions)) {
        obv_buf_fini(&later);
        return;
    }
    obv_buf_fini(&pg->info);
    pg->info = later;
    pg->pg = m;
    pg->metas.pg_meta = m.bytes;
    pg->metas.last_replay_log_id = m.clog.last_replay_log_id;
    pg->metas.last_submit_ts = m.clog.last_submit_ts;
    pg->metas.publish_version = m.data.publish_version;
}
#endif

obv_code obv_observer_open_pg(obv_source *s, const obv_pg_key *key, const obv_cancel *c, obv_source_pg **out,
                              obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    obv_err local = {0};
    obv_source_pg *pg = calloc(1, sizeof *pg);
    if (!pg)
        return obv_fail(err, OBV_E_NOMEM, 0, "PG copy");
    pg->o = (obv_observer *)s;
    pg->cancel = c;
    pg->key = *key;
    pg->info = obv_buf_heap(OBV_OBSERVER_INFO_MAX);
    pg->partitions = obv_buf_heap(OBV_OBSERVER_PARTITIONS_MAX);
    pg->metas_left = (size_t)pg->o->cfg.pg_metas_mib << 20;
    obv_choice_facts facts = {0};
    obv_code code = fetch_positions(pg, &local);
    if (code == OBV_OK)
        code = read_partitions(pg, &facts, &local);
    if (code == OBV_OK)
        code = obv_choice_check(&facts, &pg->pg.data, &local);
    if (code == OBV_OK)
        code = make_metas(pg, &facts, &local);
    if (code == OBV_OK) {
        *out = pg;
        return OBV_OK;
    }
    obv_observer_close_pg(pg);
    (void)obv_wrap(&local, "PG %s", obv_pg_key_text(key, text));
    if (err)
        *err = local;
    return code;
}

void obv_observer_close_pg(obv_source_pg *pg)
{
    if (!pg)
        return;
    if (pg->read_any && !pg->unfit) /* a resumed copy need not have asked for every block */
        obv_observer_unsuspect(pg->o, &pg->key);
    for (size_t i = 0; i < pg->table_count; i++)
        drop_table(pg, pg->tables[i]);
    free(pg->tables);
    free(pg->metas_partitions);
    free(pg->metas_tables);
    free(pg->batch.data);
    obv_buf_fini(&pg->info);
    obv_buf_fini(&pg->partitions);
    free(pg);
}
