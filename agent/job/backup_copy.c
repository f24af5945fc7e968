/* backup_copy.c - blocks of one area of a PG: source -> workers -> files of at most 512 blocks, in order */
#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
#include "format/media/block_stream.h"
#include "format/media/macro_index.h"
#include "job/backup_priv.h"
#include "job/bugs.h"
#include "job/object.h"
#include "pipe/lane.h"

#include <inttypes.h>

_Static_assert((int)OBV_OBJECT_MAJOR == 1 && (int)OBV_OBJECT_MINOR == 0, "kinds of objects are in the journal");

/* Layout of a pool buffer: what the source wrote, then head and tail of the media's block. */
enum {
    HEAD_AT = OBV_SOURCE_BLOCK_MAX,
    TAIL_AT = HEAD_AT + OBV_MACRO_HEAD_MAX,
    BUFFER_BYTES = TAIL_AT + OBV_MACRO_TAIL_MAX,
};

size_t obv_backup_buffer_bytes(void) { return BUFFER_BYTES; }

struct item {
    obv_source_block block;
    obv_macro_frame frame;
};

struct area_copy {
    obv_pg_copy *c;
    enum obv_area area;
    obv_object_kind kind;
    uint64_t total; /* blocks of the area */
    /* source */
    uint64_t next_at;
    uint32_t table;
    uint64_t index;
    bool must_seek;
    /* sink */
    uint64_t stored_at;
    obv_object_put file;
    bool file_open;
    int64_t sub;
    uint64_t first, offset;
    uint32_t count;
    obv_plan_entry entries[OBV_BLOCKS_PER_FILE];
};

static obv_code fill(void *ctx, obv_lane_slot *s, bool *more, obv_err *err)
{
    struct area_copy *a = ctx;
    obv_pg_copy *c = a->c;
    const obv_source_ops *ops = c->env->source->ops;
    struct item *item = s->item;
    if (a->next_at == a->total) {
        *more = false;
        return OBV_OK;
    }
    OBV_TRY(obv_cancel_check(s->cancel, "copy", err));
    if (a->must_seek)
        OBV_TRY(ops->seek(c->open, a->table, a->index, err));
    a->must_seek = false;
    const obv_code code = ops->next_block(c->open, s->data, OBV_SOURCE_BLOCK_MAX, &item->block, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_CORRUPT, 0,
                        "the source ended at block %" PRIu64 " of table %u: %" PRIu64 " were planned", a->index,
                        a->table, c->plan.tables[a->table].blocks);
    OBV_TRY(code);
    if (item->block.table != a->table || item->block.index != a->index)
        return obv_fail(err, OBV_E_CORRUPT, 0, "the source gave block %u/%" PRIu64 " instead of %u/%" PRIu64,
                        item->block.table, item->block.index, a->table, a->index);
    OBV_BUG_SWAP_TRANS(c, s->data, &item->block);
    s->len = item->block.meta.len + item->block.data.len;
    *more = true;
    a->next_at++;
    if (++a->index == c->plan.tables[a->table].blocks && a->next_at < a->total) {
        const uint32_t next = obv_plan_next_table(&c->plan, a->area, a->table + 1);
        const obv_source_metas *m = ops->metas(c->open);
        for (uint32_t t = a->table + 1; t < next; t++)
            a->must_seek |= m->tables[t].block_count > 0; /* of the other area, or listed by an earlier pass */
        a->table = next;
        a->index = 0;
    }
    (void)atomic_fetch_add(&c->counters->bytes_read, s->len);
    return OBV_OK;
}

static obv_code work(void *ctx, unsigned worker, obv_lane_slot *s, obv_err *err)
{
    (void)ctx, (void)worker;
    struct item *item = s->item;
    obv_buf head = obv_buf_fixed(s->data + HEAD_AT, OBV_MACRO_HEAD_MAX);
    obv_buf tail = obv_buf_fixed(s->data + TAIL_AT, OBV_MACRO_TAIL_MAX);
    return obv_macro_frame_make(item->block.meta, item->block.data, &head, &tail, &item->frame, err);
}

static void path_of_file(const struct area_copy *a, int64_t sub, obv_path *out)
{
    const obv_pg_copy *c = a->c;
    if (a->area == OBV_AREA_MINOR)
        obv_path_minor_block_file(c->root, &c->task->set.id, c->pg, c->task->task_id, sub, out);
    else
        obv_path_major_block_file(c->root, &c->task->set.id, c->pg, sub, out);
}

static obv_code begin_file(struct area_copy *a, obv_err *err)
{
    obv_path path;
    path_of_file(a, a->sub, &path);
    OBV_TRY(obv_object_begin(&a->file, a->c->env->store, path.s, true, a->c->cancel, err));
    a->file_open = true;
    a->first = a->stored_at;
    a->offset = 0;
    a->count = 0;
    return OBV_OK;
}

/*
 * A file of that number with other content is there: left by a process that died before it could note it, and the PG
 * has changed since. It lies in a place that is this task's alone and no index names it.
 */
static obv_code step_over(struct area_copy *a, obv_err *err)
{
    obv_path path;
    path_of_file(a, a->sub, &path);
    OBV_TRY(obv_journal_object_stale(a->c->env->journal, a->c->task->uid, a->c->pg, a->kind, a->sub, path.s, err));
    return obv_fail(err, OBV_E_UNAVAILABLE, 0, "%s was left by an interrupted copy: the next number is taken", path.s);
}

/* The last block of a file that is complete. */
static obv_code write_end_mark(struct area_copy *a, obv_err *err)
{
    uint8_t bytes[OBV_BLOCK_ALIGN];
    obv_buf mark = obv_buf_fixed(bytes, sizeof bytes);
    obv_put_end_mark(&mark);
    OBV_TRY(obv_buf_check(&mark, "end mark", err));
    OBV_TRY(obv_object_write(&a->file, obv_buf_span(&mark), err));
    (void)atomic_fetch_add(&a->c->counters->bytes_written, mark.len);
    return OBV_OK;
}

static obv_code end_file(struct area_copy *a, obv_err *err)
{
    const obv_pg_copy *c = a->c;
    OBV_TRY(write_end_mark(a, err));
    obv_journal_object o = {.kind = a->kind,
                            .sub = a->sub,
                            .first = a->first,
                            .count = a->count,
                            .entries = obv_span_of(a->entries, a->count * sizeof *a->entries)};
    if (a->area == OBV_AREA_MINOR)
        OBV_FAULT("backup.minor_file_written");
    else
        OBV_FAULT("backup.major_file_written");
    const obv_code code = obv_object_commit(&a->file, &o.object, err);
    obv_object_fini(&a->file);
    a->file_open = false;
    if (code == OBV_E_EXISTS)
        return step_over(a, err);
    OBV_TRY(code);
    if (a->area == OBV_AREA_MINOR)
        OBV_FAULT("backup.minor_file_stored");
    else
        OBV_FAULT("backup.major_file_stored");
    OBV_TRY(obv_journal_object_add(c->env->journal, c->task->uid, c->pg, &o, err));
    if (a->area == OBV_AREA_MINOR)
        OBV_FAULT("backup.minor_file_journalled");
    else
        OBV_FAULT("backup.major_file_journalled");
    a->sub++;
    return OBV_OK;
}

static obv_code drain(void *ctx, const obv_lane_slot *s, obv_err *err)
{
    struct area_copy *a = ctx;
    const struct item *item = s->item;
    if (!a->file_open)
        OBV_TRY(begin_file(a, err));
    obv_plan_entry *e = &a->entries[a->count];
    *e = (obv_plan_entry){.table = item->block.table,
                          .index = item->block.index,
                          .data_version = item->block.data_version,
                          .data_seq = item->block.data_seq,
                          .offset = a->offset,
                          .len = item->frame.total};
    if (OBV_FAULT_BUG("bug.drop_block") && a->area == OBV_AREA_MAJOR && a->count == 1) {
        OBV_WARN("seeded bug bug.drop_block: block %" PRIu64 " of table %u", item->block.index, item->block.table);
        e->offset = e[-1].offset;
        e->len = e[-1].len;
    } else {
        OBV_TRY(obv_object_write(&a->file, obv_span_of(s->data + HEAD_AT, item->frame.head_len), err));
        OBV_TRY(obv_object_write(&a->file, item->block.data, err));
        OBV_TRY(obv_object_write(&a->file, obv_span_of(s->data + TAIL_AT, item->frame.tail_len), err));
        a->offset += item->frame.total;
        (void)atomic_fetch_add(&a->c->counters->bytes_written, item->frame.total);
    }
    obv_pg_copy_blocks_done(a->c, 1);
    a->stored_at++;
    a->count++;
    return a->count == OBV_BLOCKS_PER_FILE || a->stored_at == a->total ? end_file(a, err) : OBV_OK;
}

/* Files of an earlier process: they must join without a gap. */
static obv_code take_stored(void *ctx, const obv_journal_object *o, obv_err *err)
{
    struct area_copy *a = ctx;
    if (o->kind != a->kind)
        return OBV_OK;
    if (o->first != a->stored_at || o->count == 0 || o->count > a->total - a->stored_at)
        return obv_fail(err, OBV_E_INTERNAL, 0, "journal: %s begins at block %" PRIu64 ", expected is %" PRIu64,
                        o->object.path, o->first, a->stored_at);
    a->stored_at += o->count;
    obv_pg_copy_blocks_done(a->c, o->count);
    return OBV_OK;
}

static obv_code copy_rest(struct area_copy *a, obv_err *err)
{
    static const obv_lane_ops OPS = {.fill = fill, .work = work, .drain = drain};
    obv_pg_copy *c = a->c;
    const uint64_t rest = a->total - a->stored_at;
    const obv_lane_config cfg = {.workers = c->env->lane_workers,
                                 .depth = rest < c->env->lane_depth ? (unsigned)rest : c->env->lane_depth,
                                 .pool = c->env->pool,
                                 .item_size = sizeof(struct item),
                                 .cancel = c->cancel};
    obv_lane_stats stats = {0};
    const bool minor = a->area == OBV_AREA_MINOR;
    a->next_at = a->stored_at;
    a->must_seek = true;
    a->sub = minor ? c->row.next_minor : c->row.next_major;
    if (!minor && a->sub < obv_backup_major_base(c->task))
        a->sub = obv_backup_major_base(c->task);
    if (!minor && a->sub >= obv_backup_major_base(c->task) + OBV_SUB_TASKS_OF_TASK)
        return obv_fail(err, OBV_E_LIMIT, 0, "a PG of more than %d files", OBV_SUB_TASKS_OF_TASK);
    obv_plan_locate(&c->plan, a->area, a->next_at, &a->table, &a->index);
    OBV_TRY(obv_lane_run(&OPS, a, &cfg, &stats, err));
    OBV_DETAIL("%s: %" PRIu64 " blocks, %" PRIu64 " MiB in %" PRIu64 " ms, bottleneck %s", minor ? "minor" : "major",
               rest, stats.source.bytes >> 20, stats.elapsed_ns / 1000000, obv_lane_bottleneck(&stats, cfg.workers));
    return OBV_OK;
}

obv_code obv_backup_area(obv_pg_copy *c, enum obv_area area, obv_err *err)
{
    OBV_AUTO(obv_freep) struct area_copy *a = calloc(1, sizeof *a);
    if (!a)
        return obv_fail(err, OBV_E_NOMEM, 0, "copy: out of memory");
    a->c = c;
    a->area = area;
    a->kind = area == OBV_AREA_MINOR ? OBV_OBJECT_MINOR : OBV_OBJECT_MAJOR;
    a->total = c->plan.blocks[area];
    OBV_TRY(obv_journal_objects(c->env->journal, c->task->uid, c->pg, false, take_stored, a, err));
    if (a->stored_at == a->total)
        return OBV_OK;
    const obv_code code = copy_rest(a, err);
    if (a->file_open)
        obv_object_fini(&a->file);
    return code;
}
