/* verify_pg_index.c - index files of one PG: which tables, which blocks; pass after pass on both sides */
#include "job/verify_pg.h"

#include <inttypes.h>

typedef struct index_visit {
    obv_vpg *p;
    const obv_vpg_file *f;
    bool keep; /* its entries count */
} index_visit;

static int on_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    (void)bytes;
    index_visit *iv = ctx;
    obv_vpg *p = iv->p;
    if (!iv->keep)
        return 0;
    obv_verify_table *m = obv_verify_find_table(&p->facts, key);
    if (m && m->listed)
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, iv->f->key, -1, "table %" PRIu64 " of type %d is listed twice",
                       key->table_id, key->type);
    obv_vpg_table *t = obv_verify_add(&p->tables, sizeof *t, &p->err);
    if (!t)
        return 1;
    *t = (obv_vpg_table){.key = *key,
                         .minor = iv->f->name.minor,
                         .total = total,
                         .first = p->entries.count,
                         .m = m,
                         .pass = iv->f->name.number};
    if (m)
        m->listed = p->tables.count;
    return 0;
}

static int on_entry(void *ctx, const obv_macro_entry *e)
{
    const index_visit *iv = ctx;
    obv_vpg *p = iv->p;
    if (e->offset % OBV_BLOCK_ALIGN != 0 || e->len % OBV_BLOCK_ALIGN != 0)
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, iv->f->key, -1,
                       "entry of %" PRIu64 " bytes at %" PRIu64 " is not aligned", e->len, e->offset);
    if (!iv->keep)
        return 0;
    obv_vpg_entry *to = obv_verify_add(&p->entries, sizeof *to, &p->err);
    if (!to)
        return 1;
    *to = (obv_vpg_entry){.e = *e, .minor = iv->f->name.minor, .table = (uint32_t)(p->tables.count - 1)};
    return 0;
}

/* The frame of the file: zeros, versions, end mark. *whole: its blocks can be read as one sequence. */
static obv_code walk_index_blocks(obv_vpg *p, const obv_vpg_file *f, bool *whole, obv_err *err)
{
    obv_native_blocks b = {.w = &p->v->window, .data_type = OBV_FILE_MACRO_INDEX, .ours = p->v->stats->ours};
    obv_native_window_open(b.w, f->key, f->size);
    *whole = true;
    for (;;) {
        obv_native_block block;
        obv_err why = {0};
        const obv_code code = obv_native_blocks_next(&b, &block, &why);
        if (code == OBV_E_NOT_FOUND && b.at > 0)
            return OBV_OK;
        if (code != OBV_OK) {
            *whole = false;
            OBV_TRY(obv_verify_judge(p->v, f->key, (int64_t)block.at, &why, err));
            if (code != OBV_E_CORRUPT)
                return OBV_OK;
        } else if (block.note[0]) {
            obv_verify_say(p->v, OBV_VERIFY_DAMAGED, f->key, (int64_t)block.note_at, "%s", block.note);
        }
    }
}

static obv_code read_index(obv_vpg *p, const obv_vpg_file *f, obv_err *err)
{
    bool whole = false;
    const bool keep = obv_vpg_is_winner(p, &f->name);
    OBV_TRY(walk_index_blocks(p, f, &whole, err));
    if (whole) {
        OBV_AUTO(obv_buf_fini) obv_buf bytes = obv_buf_heap(OBV_META_INDEX_MAX + (1u << 20));
        bool ok = false;
        OBV_TRY(obv_verify_read(p->v, f->key, OBV_META_INDEX_MAX, &bytes, &ok, err));
        index_visit iv = {.p = p, .f = f, .keep = keep};
        obv_err why = {0};
        const obv_macro_index_visitor visitor = {.table = on_table, .entry = on_entry, .ctx = &iv};
        const obv_code read = !ok          ? OBV_OK
                              : p->s->flat ? obv_vpg_read_old_index(p, f, obv_buf_span(&bytes), keep, &why)
                                           : obv_macro_index_each(obv_buf_span(&bytes), &visitor, &why);
        whole = ok && read == OBV_OK;
        if (p->err.code != OBV_OK) {
            if (err)
                *err = p->err;
            return p->err.code;
        }
        if (ok && !whole)
            OBV_TRY(obv_verify_judge(p->v, f->key, 0, &why, err));
    }
    if (keep && !whole)
        p->index_known[f->name.minor] = false;
    return OBV_OK;
}

/* Passes 0, 1, 2, ... without a gap on both sides. */
obv_code obv_vpg_read_indexes(obv_vpg *p, obv_err *err)
{
    int64_t next[2] = {0, 0};
    const obv_vpg_file *f = p->files.items;
    p->index_known[0] = p->index_known[1] = true;
    for (size_t i = 0; i < p->files.count; i++, f++) {
        if (f->name.kind != OBV_NATIVE_MACRO_INDEX)
            continue;
        OBV_TRY(read_index(p, f, err));
        if (obv_vpg_is_winner(p, &f->name)) {
            if (f->name.number != next[f->name.minor])
                obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, f->key, -1,
                               "pass %" PRId64 " where pass %" PRId64 " is next: readers stop before it",
                               f->name.number, next[f->name.minor]);
            next[f->name.minor] = f->name.number + 1;
        } else if (obv_vpg_knows_winners(p)) {
            obv_verify_say(p->v, OBV_VERIFY_LEFTOVER, f->key, -1,
                           p->record ? "of an attempt that lost" : "of a PG that the set does not have");
        }
    }
    for (int minor = 0; minor < (p->s->flat ? 1 : 2) && p->record && p->s->good; minor++) {
        if (next[minor] > 0)
            continue;
        obv_path key;
        obv_vpg_index_key(p, minor, 0, &key);
        obv_verify_say(p->v, OBV_VERIFY_MISSING, key.s, -1, "every PG of a set has it, also one without blocks");
        p->index_known[minor] = false;
    }
    return OBV_OK;
}
