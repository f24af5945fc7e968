/* verify_pg_blocks.c - block files of one PG, each once, forward; a block finds its entry by file and offset */
#include "format/ob/keys.h"
#include "job/verify_pg.h"

#include <inttypes.h>

static bool lies_before(const obv_vpg_entry *a, bool minor, int64_t set, int64_t sub, uint64_t offset)
{
    if (a->minor != minor)
        return a->minor < minor;
    if (a->e.set_id != set)
        return a->e.set_id < set;
    if (a->e.sub_task != sub)
        return a->e.sub_task < sub;
    return a->e.offset < offset;
}

static int by_block(const void *x, const void *y)
{
    const obv_vpg_entry *a = *(obv_vpg_entry *const *)x;
    const obv_vpg_entry *b = *(obv_vpg_entry *const *)y;
    if (lies_before(a, b->minor, b->e.set_id, b->e.sub_task, b->e.offset))
        return -1;
    return lies_before(b, a->minor, a->e.set_id, a->e.sub_task, a->e.offset);
}

static obv_vpg_entry *find_entry(const obv_vpg *p, bool minor, int64_t set, int64_t sub, uint64_t offset)
{
    obv_vpg_entry *const *list = p->order.items;
    size_t low = 0;
    size_t high = p->order.count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (lies_before(list[mid], minor, set, sub, offset))
            low = mid + 1;
        else
            high = mid;
    }
    if (low == p->order.count || list[low]->minor != minor || list[low]->e.set_id != set ||
        list[low]->e.sub_task != sub || list[low]->e.offset != offset)
        return NULL;
    return list[low];
}

obv_code obv_vpg_make_order(obv_vpg *p, obv_err *err)
{
    obv_vpg_entry *e = p->entries.items;
    for (size_t i = 0; i < p->entries.count; i++) {
        obv_vpg_entry **at = obv_verify_add(&p->order, sizeof *at, err);
        if (!at)
            return OBV_E_NOMEM;
        *at = &e[i];
    }
    if (p->order.count > 1)
        qsort(p->order.items, p->order.count, sizeof(obv_vpg_entry *), by_block);
    obv_vpg_entry *const *list = p->order.items;
    for (size_t i = 1; i < p->order.count; i++)
        if (by_block(&list[i - 1], &list[i]) == 0)
            obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, p->dir.s, -1,
                           "two entries for the block at %" PRIu64 " of file %" PRId64, list[i]->e.offset,
                           list[i]->e.sub_task);
    return OBV_OK;
}

/* Whose block it is, by its own meta. */
static obv_code check_identity(const obv_vpg *p, obv_vpg_entry *e, const obv_macro_meta *m, uint64_t total,
                               obv_err *err)
{
    const obv_vpg_table *t = (const obv_vpg_table *)p->tables.items + e->table;
    if (e->e.len != total)
        return obv_fail(err, OBV_E_CORRUPT, 0, "the block has %" PRIu64 " bytes, its index says %" PRIu64, total,
                        e->e.len);
    if (m->data_version != e->e.data_version || m->data_seq != e->e.data_seq)
        return obv_fail(err, OBV_E_CORRUPT, 0, "block %" PRId64 "/%" PRId64 " where its index has %" PRId64 "/%" PRId64,
                        m->data_version, m->data_seq, e->e.data_version, e->e.data_seq);
    const int64_t partition = obv_pg_key_partition_id(&t->key.pkey);
    if (m->table_id != t->key.table_id || (m->attr == OBV_MACRO_SSTABLE_DATA && m->partition_id != partition))
        return obv_fail(err, OBV_E_CORRUPT, 0, "block of table %" PRIu64 "/%" PRId64 ", its index has %" PRIu64,
                        m->table_id, m->partition_id, t->key.table_id);
    e->whole = true;
    e->rows = m->row_count;
    e->occupy = m->occupy_size;
    e->checksum = m->data_checksum;
    e->is_data = m->attr == OBV_MACRO_SSTABLE_DATA;
    return OBV_OK;
}

/* One block; e NULL: no entry names it. */
static obv_code check_block(obv_vpg *p, obv_span payload, uint64_t total, obv_vpg_entry *e, obv_err *err)
{
    obv_rd r = obv_rd_of(payload);
    obv_rd body = obv_rd_unis(&r, 1);
    const obv_span meta_bytes = obv_rd_vstr(&body);
    const obv_span data = obv_rd_vstr(&body);
    r.bad |= body.bad;
    OBV_TRY(obv_rd_done(&r, "macroblock record", err));
    obv_macro_meta meta;
    obv_macro_schema schema;
    OBV_TRY(obv_macro_full_meta_parse(meta_bytes, &meta, &schema, err));
    OBV_TRY(obv_macro_block_check(&meta, &schema, data, err));
    p->v->stats->blocks++;
    return e ? check_identity(p, e, &meta, total, err) : OBV_OK;
}

obv_code obv_vpg_read_blocks(obv_vpg *p, const obv_vpg_file *f, obv_err *err)
{
    obv_native_blocks b = {.w = &p->v->window, .data_type = OBV_FILE_MACRO_DATA, .ours = p->v->stats->ours};
    obv_native_window_open(b.w, f->key, f->size);
    const bool winner = obv_vpg_is_winner(p, &f->name);
    uint64_t unnamed = 0;
    uint64_t first_unnamed = 0;
    for (;;) {
        OBV_TRY(obv_verify_cancelled(p->v, err));
        obv_native_block block;
        obv_err why = {0};
        obv_code code = obv_native_blocks_next(&b, &block, &why);
        if (code == OBV_E_NOT_FOUND && b.at > 0)
            break;
        obv_vpg_entry *e = winner ? find_entry(p, f->name.minor, p->s->id.set_id, f->name.number, block.at) : NULL;
        if (code == OBV_OK && block.note[0])
            obv_verify_say(p->v, OBV_VERIFY_DAMAGED, f->key, (int64_t)block.note_at, "%s", block.note);
        if (code == OBV_OK && !block.payload.p)
            continue; /* the end mark */
        if (e)
            e->met = true;
        const bool frame = code == OBV_OK;
        if (frame)
            code = check_block(p, block.payload, block.total, e, &why);
        if (code != OBV_OK)
            OBV_TRY(obv_verify_judge(p->v, f->key, (int64_t)block.at, &why, err));
        if (!frame && code != OBV_E_CORRUPT)
            return OBV_OK; /* the storage does not give the rest */
        if (!e && frame && unnamed++ == 0)
            first_unnamed = block.at;
    }
    if (b.count > OBV_BLOCKS_PER_FILE)
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, f->key, -1, "%" PRIu64 " blocks in one file", b.count);
    if (!winner && obv_vpg_knows_winners(p))
        obv_verify_say(p->v, OBV_VERIFY_LEFTOVER, f->key, -1,
                       p->record ? "of an attempt that lost" : "of a PG that the set does not have");
    else if (winner && unnamed > 0 && p->index_known[f->name.minor])
        obv_verify_say(p->v, OBV_VERIFY_LEFTOVER, f->key, (int64_t)first_unnamed,
                       "no index names %" PRIu64 " of its blocks", unnamed);
    return OBV_OK;
}

/* The folder of an older set of the tenant. */
static const obv_native_name *find_home(obv_vpg *p, int64_t set_id)
{
    if (p->home && p->home->set_id == set_id)
        return p->home;
    const obv_verify_small *s = p->v->small.items;
    p->home = NULL;
    for (size_t i = 0; i < p->v->small.count && !p->home; i++)
        if (s[i].name.kind == OBV_NATIVE_SINGLE_SET && s[i].name.tenant == p->s->id.tenant_id &&
            s[i].name.set_id == set_id)
            p->home = &s[i].name;
    return p->home;
}

/* A block that an older set holds. */
static obv_code read_old_block(obv_vpg *p, obv_vpg_entry *e, obv_err *err)
{
    const bool here = p->s->id.date == 0; /* the full's folder has its increments too */
    const obv_native_name *home = here ? NULL : find_home(p, e->e.set_id);
    if (!home && !here) {
        obv_verify_say(p->v, OBV_VERIFY_MISSING, p->dir.s, -1,
                       "block %" PRIu64 " lies in set %" PRId64 ", which is not there", e->e.index, e->e.set_id);
        return OBV_OK;
    }
    obv_set_id id = p->s->id;
    id.set_id = e->e.set_id;
    if (home)
        id = (obv_set_id){.tenant_id = home->tenant,
                          .set_id = home->set_id,
                          .full_set_id = home->full ? home->set_id : 0,
                          .date = home->date};
    obv_path key;
    (p->s->flat ? obv_path_flat_block_file : obv_path_major_block_file)(&p->v->cfg->root, &id, p->key, e->e.sub_task,
                                                                        &key);
    obv_native_blocks b = {
        .w = &p->v->window, .data_type = OBV_FILE_MACRO_DATA, .ours = p->v->stats->ours, .at = e->e.offset};
    if (e->e.offset > INT64_MAX - OBV_NATIVE_BLOCK_MAX || e->e.len > OBV_NATIVE_BLOCK_MAX) {
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, p->dir.s, -1, "entry %" PRIu64 " cannot be", e->e.index);
        return OBV_OK;
    }
    obv_native_window_open(b.w, key.s, e->e.offset + e->e.len);
    obv_native_block block;
    obv_err why = {0};
    obv_code code = obv_native_blocks_next(&b, &block, &why);
    if (code == OBV_OK && !block.payload.p)
        code = obv_fail(&why, OBV_E_CORRUPT, 0, "an end mark where a block should be");
    e->met = true;
    if (code == OBV_OK)
        code = check_block(p, block.payload, block.total, e, &why);
    return code == OBV_OK ? OBV_OK : obv_verify_judge(p->v, key.s, (int64_t)e->e.offset, &why, err);
}

static void block_key(const obv_vpg *p, const obv_vpg_entry *e, obv_path *out)
{
    if (p->s->flat)
        obv_path_flat_block_file(&p->v->cfg->root, &p->s->id, p->key, e->e.sub_task, out);
    else if (e->minor)
        obv_path_minor_block_file(&p->v->cfg->root, &p->s->id, p->key, p->record->task_id, e->e.sub_task, out);
    else
        obv_path_major_block_file(&p->v->cfg->root, &p->s->id, p->key, e->e.sub_task, out);
}

static const obv_vpg_file *find_file(const obv_vpg *p, const char *key)
{
    const obv_vpg_file *f = p->files.items;
    for (size_t i = 0; i < p->files.count; i++)
        if (strcmp(f[i].key, key) == 0)
            return &f[i];
    return NULL;
}

/* Entries whose block was not met; one line a file. */
obv_code obv_vpg_check_met(obv_vpg *p, bool deep, obv_err *err)
{
    char last[OBV_PATH_MAX] = "";
    obv_vpg_entry *const *list = p->order.items;
    for (size_t i = 0; i < p->order.count; i++) {
        obv_vpg_entry *e = list[i];
        if (e->e.set_id != p->s->id.set_id) {
            if (e->minor)
                obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, p->dir.s, -1, "a minor block in set %" PRId64,
                               e->e.set_id);
            else if (deep)
                OBV_TRY(read_old_block(p, e, err));
            continue;
        }
        obv_path key;
        block_key(p, e, &key);
        const obv_vpg_file *f = find_file(p, key.s);
        const bool there = f && (deep ? e->met : e->e.offset + e->e.len <= f->size);
        if (there || strcmp(last, key.s) == 0)
            continue;
        (void)strcpy(last, key.s);
        obv_verify_say(p->v, f ? OBV_VERIFY_INCONSISTENT : OBV_VERIFY_MISSING, key.s, f ? (int64_t)e->e.offset : -1,
                       f ? "its index names a block here, but none begins" : "its index names blocks of it");
    }
    return OBV_OK;
}
