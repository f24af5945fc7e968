/* backup_index.c - macro_block_index files: streamed from the plan and the journal's entries */
#include "format/media/macro_index.h"
#include "job/backup_priv.h"
#include "job/object.h"

#include <inttypes.h>

enum { OUT_MAX = 8 << 20 }; /* bytes of finished index blocks between two writes */

struct emission {
    const obv_pg_copy *c;
    enum obv_area area;
    obv_object_put put;
    obv_macro_index_writer writer;
    obv_buf out;
    uint32_t table; /* the next table that may begin */
    uint64_t entries;
};

static obv_code hand_out(struct emission *e, obv_err *err)
{
    OBV_TRY(obv_buf_check(&e->out, "index", err));
    const obv_code code = obv_object_write(&e->put, obv_buf_span(&e->out), err);
    e->out.len = 0;
    return code;
}

static obv_code emit_entry(struct emission *e, const obv_plan_entry *p, int64_t sub, obv_err *err)
{
    const obv_plan *plan = &e->c->plan;
    if (p->table >= plan->count || plan->tables[p->table].area != e->area)
        return obv_fail(err, OBV_E_INTERNAL, 0, "index: an entry names table %" PRIu64, p->table);
    if (p->index == 0) {
        const obv_plan_table *t = &plan->tables[p->table];
        if (p->table != obv_plan_next_table(plan, e->area, e->table))
            return obv_fail(err, OBV_E_INTERNAL, 0, "index: table %" PRIu64 " is out of order", p->table);
        OBV_TRY(obv_macro_index_table(&e->writer, t->key, t->blocks, &e->out, err));
        e->table = (uint32_t)p->table + 1;
    }
    const obv_macro_entry entry = {.index = p->index,
                                   .data_version = p->data_version,
                                   .data_seq = p->data_seq,
                                   .set_id = e->c->task->set.id.set_id,
                                   .sub_task = sub,
                                   .offset = p->offset,
                                   .len = p->len};
    e->entries++;
    return obv_macro_index_entry(&e->writer, &entry, &e->out, err);
}

static obv_code emit_file(void *ctx, const obv_journal_object *o, obv_err *err)
{
    struct emission *e = ctx;
    if (o->kind != (e->area == OBV_AREA_MINOR ? OBV_OBJECT_MINOR : OBV_OBJECT_MAJOR))
        return OBV_OK;
    if (o->entries.len != o->count * sizeof(obv_plan_entry))
        return obv_fail(err, OBV_E_INTERNAL, 0, "journal: entries of %s are cut", o->object.path);
    for (uint32_t i = 0; i < o->count; i++) {
        obv_plan_entry p;
        memcpy(&p, o->entries.p + i * sizeof p, sizeof p);
        OBV_TRY(emit_entry(e, &p, o->sub, err));
    }
    OBV_TRY(obv_macro_index_flush(&e->writer, &e->out, err));
    return hand_out(e, err);
}

static obv_code emit(struct emission *e, obv_err *err)
{
    const obv_pg_copy *c = e->c;
    OBV_TRY(obv_journal_objects(c->env->journal, c->task->uid, c->pg, false, emit_file, e, err));
    if (e->entries != c->plan.blocks[e->area])
        return obv_fail(err, OBV_E_INTERNAL, 0, "index: %" PRIu64 " blocks are stored, %" PRIu64 " were planned",
                        e->entries, c->plan.blocks[e->area]);
    OBV_TRY(obv_macro_index_end(&e->writer, &e->out, err));
    return hand_out(e, err);
}

obv_code obv_backup_index(const obv_pg_copy *c, enum obv_area area, obv_stored_object *out, obv_err *err)
{
    obv_path path;
    struct emission e = {.c = c, .area = area, .writer = obv_macro_index_writer_of(), .out = obv_buf_heap(OUT_MAX)};
    if (area == OBV_AREA_MINOR)
        obv_path_minor_index_file(c->root, &c->task->set.id, c->pg, c->task->task_id, 0, &path);
    else
        obv_path_major_index_file(c->root, &c->task->set.id, c->pg, c->task->pass, &path);
    obv_code code = obv_object_begin(&e.put, c->env->store, path.s, true, c->cancel, err);
    if (code == OBV_OK)
        code = emit(&e, err);
    if (code == OBV_OK)
        code = obv_object_commit(&e.put, out, err);
    obv_object_fini(&e.put);
    obv_macro_index_writer_fini(&e.writer);
    obv_buf_fini(&e.out);
    return code;
}
