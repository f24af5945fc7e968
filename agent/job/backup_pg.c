/* backup_pg.c - one attempt at one PG */
#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
#include "base/sort.h"
#include "format/media/archive_key.h"
#include "format/media/archive_paths.h"
#include "format/media/meta_records.h"
#include "job/backup_priv.h"
#include "job/pieces.h"

#include <inttypes.h>

enum { RECORD_MAX = 4 << 20 }; /* the media's own bound on a PG's metas */

/* archive_key of the PG in one piece. */
static obv_code read_key(const obv_pg_copy *c, const obv_archive_step *in, obv_archive_key *key, obv_err *err)
{
    const obv_archive_place place = {
        .root = *c->root, .round = c->task->round, .piece = in->piece, .piece_date = in->date};
    obv_path path;
    uint8_t bytes[OBV_ARCHIVE_KEY_BYTES];
    obv_buf file = obv_buf_fixed(bytes, sizeof bytes);
    obv_archive_path_key(&place, c->pg, &path);
    const obv_code code = obv_store_get_all(c->env->store, path.s, sizeof bytes, &file, c->cancel, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, code, 0, "the log archive has not begun with this PG: %s is not there", path.s);
    OBV_TRY(code);
    if (obv_archive_key_parse(obv_buf_span(&file), key, err) != OBV_OK)
        return obv_wrap(err, "%s", path.s);
    return OBV_OK;
}

/* From the newest piece back: the first one that begins at or before the copy's log has it, or those behind it have. */
obv_code obv_backup_check_archive(const obv_pg_copy *c, uint64_t last_replay_log_id, obv_err *err)
{
    static const obv_archive_step ROUND = {0};
    OBV_AUTO(obv_freep) obv_archive_step *steps = NULL;
    size_t n = 0;
    OBV_TRY(
        obv_pieces_read(c->env->store, c->root, obv_pg_key_tenant(c->pg), c->task->round, c->cancel, &steps, &n, err));
    obv_archive_key key = {0};
    bool begun = false;
    for (size_t i = n > 0 ? n : 1; i-- > 0;) {
        const obv_code code = read_key(c, n > 0 ? &steps[i] : &ROUND, &key, err);
        if (code == OBV_E_NOT_FOUND)
            continue;
        OBV_TRY(code);
        if (key.state.max_log_id <= last_replay_log_id)
            return OBV_OK;
        begun = true;
    }
    if (!begun) {
        if (err)
            err->code = OBV_E_NOT_READY;
        return OBV_E_NOT_READY;
    }
    return obv_fail(err, OBV_E_PRECONDITION, 0,
                    "the log archive begins behind log %" PRIu64 ", the copy needs the log behind %" PRIu64,
                    key.state.max_log_id, last_replay_log_id);
}

static obv_code remove_one(void *ctx, const obv_journal_object *o, obv_err *err)
{
    const obv_pg_copy *c = ctx;
    const char *key = o->object.path;
    return obv_store_remove(c->env->store, &key, 1, NULL, c->cancel, err);
}

/* Objects of an abandoned state are named by no index: they go at once. */
static obv_code remove_stale(obv_pg_copy *c, obv_err *err)
{
    OBV_TRY(obv_journal_objects(c->env->journal, c->task->uid, c->pg, true, remove_one, c, err));
    return obv_journal_stale_removed(c->env->journal, c->task->uid, c->pg, err);
}

static obv_code make_record(const obv_source_metas *m, const obv_listed_table *const *listed, obv_buf *out,
                            obv_err *err)
{
    OBV_AUTO(obv_freep) obv_record_partition *parts = calloc(m->partition_count + 1, sizeof *parts);
    OBV_AUTO(obv_freep) obv_record_table *tables = calloc(m->table_count + 1, sizeof *tables);
    if (!parts || !tables)
        return obv_fail(err, OBV_E_NOMEM, 0, "PG record: out of memory");
    for (size_t i = 0; i < m->partition_count; i++)
        parts[i] = (obv_record_partition){.store_meta = m->partitions[i].store_meta};
    for (size_t i = 0; i < m->table_count; i++) {
        const obv_source_table *t = &m->tables[i];
        if (t->partition >= m->partition_count || (i > 0 && t->partition < m->tables[i - 1].partition))
            return obv_fail(err, OBV_E_CORRUPT, 0, "tables of a PG are not in the order of its partitions");
        obv_record_partition *p = &parts[t->partition];
        tables[i] = (obv_record_table){.sstable_meta = listed[i] ? listed[i]->sstable_meta : t->sstable_meta,
                                       .table_key = t->table_key};
        if (p->table_count++ == 0)
            p->tables = &tables[i];
    }
    const obv_pg_record r = {.pg_meta = m->pg_meta, .partitions = parts, .partition_count = m->partition_count};
    return obv_put_pg_record_body(out, &r, m->max_table_schema_version, err);
}

struct sums {
    uint64_t blocks, bytes;
};

static obv_code add_up(void *ctx, const obv_journal_object *o, obv_err *err)
{
    struct sums *s = ctx;
    (void)err;
    s->blocks += o->count;
    s->bytes += o->object.size;
    return OBV_OK;
}

/* What is reported of the PG; refuses a copy whose counts differ. */
static obv_code sum_up(const obv_pg_copy *c, const obv_source_metas *m, const obv_listed_table *const *listed,
                       obv_pg_result *out, obv_err *err)
{
    struct sums s = {0};
    OBV_TRY(obv_journal_objects(c->env->journal, c->task->uid, c->pg, false, add_up, &s, err));
    *out = (obv_pg_result){.blocks = c->plan.blocks[OBV_AREA_MAJOR] + c->plan.blocks[OBV_AREA_MINOR] + c->plan.listed,
                           .blocks_stored = s.blocks + c->plan.listed,
                           .bytes_written = s.bytes,
                           .last_submit_ts = m->last_submit_ts,
                           .last_replay_log_id = m->last_replay_log_id,
                           .publish_version = m->publish_version,
                           .lower_bound = m->lower_bound,
                           .schema_version = m->data_schema_version > m->max_table_schema_version
                                                 ? m->data_schema_version
                                                 : m->max_table_schema_version};
    for (size_t i = 0; i < m->partition_count; i++)
        out->partitions += !m->partitions[i].is_trans;
    for (size_t i = 0; i < m->table_count; i++)
        out->bytes_read += listed[i] ? 0 : m->tables[i].occupy_bytes;
    if (out->blocks != out->blocks_stored)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%" PRIu64 " blocks were planned, %" PRIu64 " are stored", out->blocks,
                        out->blocks_stored);
    return OBV_OK;
}

static obv_code begin_state(obv_pg_copy *c, const obv_source_metas *m, const obv_listed_table *const *listed,
                            obv_err *err)
{
    obv_journal *j = c->env->journal;
    OBV_TRY(obv_plan_make(m, listed, &c->plan, err));
    if (memcmp(c->plan.digest, c->row.digest, sizeof c->row.digest) != 0) {
        OBV_TRY(obv_journal_pg_restart(j, c->task->uid, c->pg, c->plan.digest, obv_buf_span(&c->plan.bytes), err));
        OBV_FAULT("backup.pg_restarted");
    }
    OBV_TRY(remove_stale(c, err));
    c->blocks_total = c->plan.blocks[OBV_AREA_MAJOR] + c->plan.blocks[OBV_AREA_MINOR];
    (void)atomic_fetch_add(&c->counters->blocks_total, c->blocks_total);
    return obv_journal_pg_get(j, c->task->uid, c->pg, &c->row, err); /* numbers */
}

/* The tables and local indexes that the copy holds: their ids, each once, ascending. */
static size_t contents_of(const obv_source_metas *m, uint64_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < m->table_count; i++)
        if (!m->partitions[m->tables[i].partition].is_trans)
            out[n++] = m->tables[i].index_id;
    qsort(out, n, sizeof *out, obv_cmp_u64);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || out[i] != out[kept - 1])
            out[kept++] = out[i];
    return kept;
}

static obv_code copy_blocks(obv_pg_copy *c, obv_err *err)
{
    const obv_source_metas *m = c->env->source->ops->metas(c->open);
    OBV_AUTO(obv_buf_fini) obv_buf record = obv_buf_heap(RECORD_MAX);
    OBV_AUTO(obv_freep) uint64_t *contents = calloc(m->table_count + 1, sizeof *contents);
    OBV_AUTO(obv_freep) const obv_listed_table **listed = calloc(m->table_count + 1, sizeof(void *));
    obv_pg_result result;
    if (!contents || !listed)
        return obv_fail(err, OBV_E_NOMEM, 0, "copy: out of memory");
    OBV_TRY(obv_backup_check_archive(c, m->last_replay_log_id, err));
    OBV_TRY(obv_earlier_read(c, &c->earlier, err));
    for (size_t i = 0; i < m->table_count; i++)
        listed[i] = m->tables[i].area == OBV_AREA_MAJOR ? obv_earlier_find(c->earlier, m->tables[i].table_key) : NULL;
    OBV_TRY(begin_state(c, m, listed, err));
    OBV_FAULT("backup.pg_opened");
    if (m->indexes_left_out > 0)
        OBV_INFO("PG %" PRIu64 "/%" PRId64 ": %zu indexes are not ready on this server and not in the copy",
                 c->pg->table_id, obv_pg_key_partition_id(c->pg), m->indexes_left_out);
    OBV_TRY(make_record(m, listed, &record, err)); /* first: a record too large for the media must not cost a copy */
    OBV_TRY(obv_backup_area(c, OBV_AREA_MINOR, err));
    OBV_TRY(obv_backup_area(c, OBV_AREA_MAJOR, err));
    if (OBV_FAULT_BUG("bug.a3a_position_of_the_end")) {
        m = c->env->source->ops->metas(c->open);
        record.len = 0;
        OBV_TRY(make_record(m, listed, &record, err));
    }
    OBV_TRY(sum_up(c, m, listed, &result, err));
    const size_t content_count = contents_of(m, contents);
    if (content_count > OBV_CONTENTS_MAX)
        return obv_fail(err, OBV_E_LIMIT, 0, "a PG with %zu tables and indexes", content_count);
    OBV_FAULT("backup.before_fencing");
    return obv_journal_pg_fencing(c->env->journal, c->task, c->pg, &result, obv_buf_span(&record), contents,
                                  content_count, err);
}

/* Whoever copies this PG again, or ends the set when this host is gone, finds its metas there. */
static obv_code put_record(const obv_pg_copy *c, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf body = obv_buf_heap(RECORD_MAX);
    OBV_AUTO(obv_buf_fini) obv_buf record = obv_buf_heap(RECORD_MAX);
    obv_path path;
    OBV_TRY(obv_journal_meta_get(c->env->journal, &c->task->set, c->task->task_id, c->pg, &body, err));
    obv_put_meta_object(&record, OBV_META_TYPE_PG_INFO, obv_buf_span(&body));
    OBV_TRY(obv_buf_check(&record, "PG record", err));
    obv_path_pg_record(c->root, &c->task->set.id, c->pg, c->task->task_id, &path);
    return obv_store_put_bytes(c->env->store, path.s, false, obv_buf_span(&record), c->cancel, err);
}

/* Index files; from here on nothing is asked of the source. */
static obv_code fence(obv_pg_copy *c, obv_err *err)
{
    obv_journal *j = c->env->journal;
    obv_journal_object minor = {.kind = OBV_OBJECT_MINOR_INDEX};
    obv_journal_object major = {.kind = OBV_OBJECT_MAJOR_INDEX};
    OBV_FAULT("backup.fencing");
    OBV_TRY(put_record(c, err));
    OBV_FAULT("backup.record_stored");
    OBV_TRY(obv_backup_index(c, OBV_AREA_MINOR, &minor.object, err));
    OBV_FAULT("backup.minor_index_stored");
    OBV_TRY(obv_journal_object_add(j, c->task->uid, c->pg, &minor, err));
    OBV_FAULT("backup.before_major_index");
    const obv_code code = obv_backup_index(c, OBV_AREA_MAJOR, &major.object, err);
    if (code == OBV_E_EXISTS)
        return obv_fail(err, OBV_E_FENCED, 0, "another attempt has put the major index of this PG");
    OBV_TRY(code);
    OBV_FAULT("backup.major_index_stored");
    OBV_TRY(obv_journal_object_add(j, c->task->uid, c->pg, &major, err));
    OBV_TRY(obv_journal_pg_copied(j, c->task->uid, c->pg, err));
    OBV_FAULT("backup.pg_journalled");
    return OBV_OK;
}

static obv_code load_plan(obv_pg_copy *c, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf bytes = obv_buf_heap(64u << 20);
    OBV_TRY(obv_journal_pg_plan(c->env->journal, c->task->uid, c->pg, &bytes, err));
    return obv_plan_parse(obv_buf_span(&bytes), &c->plan, err);
}

static obv_code attempt(obv_pg_copy *c, obv_err *err)
{
    const obv_source_ops *ops = c->env->source->ops;
    OBV_TRY(obv_journal_pg_get(c->env->journal, c->task->uid, c->pg, &c->row, err));
    if (c->row.state == OBV_PG_COPIED || c->row.state == OBV_PG_FAILED)
        return OBV_OK;
    if (c->env->gate)
        OBV_TRY(c->env->gate(c->env->gate_ctx, c->cancel, err));
    if (c->row.state == OBV_PG_FENCING) {
        OBV_TRY(load_plan(c, err));
        return fence(c, err);
    }
    OBV_FAULT("backup.before_open");
    OBV_TRY(ops->open_pg(c->env->source, c->pg, c->cancel, &c->open, err));
    const obv_code code = copy_blocks(c, err);
    ops->close_pg(OBV_STEAL(c->open));
    return code == OBV_OK ? fence(c, err) : code;
}

obv_code obv_backup_pg(obv_pg_copy *c, obv_err *err)
{
    const obv_code code = attempt(c, err);
    obv_plan_fini(&c->plan);
    obv_earlier_free(OBV_STEAL(c->earlier));
    if (code == OBV_OK)
        return OBV_OK;
    (void)atomic_fetch_sub(&c->counters->blocks_total, c->blocks_total);
    (void)atomic_fetch_sub(&c->counters->blocks_done, c->blocks_done);
    return obv_wrap(err, "PG %" PRIu64 "/%" PRId64, c->pg->table_id, obv_pg_key_partition_id(c->pg));
}
