/* verify_pg.c - the folder of one PG in a set: index files, block files, and that each says what the other has
 *
 * Index files first: the entries of one PG stay in memory. Then each block file once. At the end each entry must have
 * met its block, and the sums of a table must be those of its meta.
 */
#include "job/verify_pg.h"

#include "base/crc32c.h"
#include "format/ob/keys.h"

#include <inttypes.h>

enum { FILES_MAX = 1 << 20 };

/* ---- files */

static int on_file(void *ctx, const char *key, uint64_t size)
{
    obv_vpg *p = ctx;
    obv_native_name n;
    obv_native_name_parse(key + p->v->prefix_len, &n);
    if (n.kind != OBV_NATIVE_MACRO_DATA && n.kind != OBV_NATIVE_MACRO_INDEX)
        return 0; /* reported with the names */
    if (p->s->id.date == 0 && n.set_id != p->s->id.set_id)
        return 0; /* of another increment in the same folder */
    if (n.flat != p->s->flat && p->s->has_info) {
        obv_verify_say(p->v, OBV_VERIFY_UNLISTED, key, -1, "a set of compatible %" PRId64 " has its files elsewhere",
                       p->s->info.compatible);
        return 0;
    }
    if (p->files.count >= FILES_MAX) {
        (void)obv_fail(&p->err, OBV_E_LIMIT, 0, "more than %d files", FILES_MAX);
        return 1;
    }
    obv_vpg_file *f = obv_verify_add(&p->files, sizeof *f, &p->err);
    if (!f)
        return 1;
    *f = (obv_vpg_file){.key = strdup(key), .size = size, .name = n};
    if (!f->key)
        (void)obv_fail(&p->err, OBV_E_NOMEM, 0, "verify: a name");
    return p->err.code != OBV_OK;
}

static int by_file(const void *x, const void *y)
{
    const obv_native_name *a = &((const obv_vpg_file *)x)->name;
    const obv_native_name *b = &((const obv_vpg_file *)y)->name;
    if (a->minor != b->minor)
        return a->minor - b->minor;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? 1 : -1; /* indexes first */
    return a->number < b->number ? -1 : a->number > b->number;
}

static obv_code list_files(obv_vpg *p, obv_err *err)
{
    const obv_code code = p->v->cfg->io->list(p->v->cfg->io->ctx, p->dir.s, on_file, p, err);
    if (p->err.code != OBV_OK) {
        if (err)
            *err = p->err;
        return p->err.code;
    }
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return code;
    if (p->files.count > 1)
        qsort(p->files.items, p->files.count, sizeof(obv_vpg_file), by_file);
    return OBV_OK;
}

/* Minor data of another task than the merged index names, or anything of a PG that is not listed: left behind. */
bool obv_vpg_is_winner(const obv_vpg *p, const obv_native_name *n)
{
    return p->record && (!n->minor || n->task == p->record->task_id);
}

/* Where lists and merged index tell what belongs to the set, the rest is left over from attempts that lost. */
bool obv_vpg_knows_winners(const obv_vpg *p) { return p->s->good && p->s->has_lists && p->s->has_index; }

/* Which side a table lies on: trans tables moved to the minors with compatible 4. */
static bool is_minor(const obv_vpg *p, const obv_table_key *k)
{
    if (p->s->flat)
        return false;
    if (k->type == OBV_TABLE_TRANS)
        return p->s->info.compatible != 3;
    return !obv_table_type_is_major(k->type);
}

/* ---- the record */

obv_code obv_verify_record_bytes(const obv_verify *v, const obv_verify_set *s, const obv_meta_index *e, obv_path *where,
                                 uint8_t **bytes, obv_meta_object *out, obv_err *err)
{
    obv_path_meta_file(&v->cfg->root, &s->id, e->task_id, where);
    if (e->len > OBV_META_BLOCK_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "a record of %" PRIu64 " bytes", e->len);
    *bytes = malloc(e->len + 1);
    if (!*bytes)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: a record");
    size_t got = 0;
    OBV_TRY(v->cfg->io->get(v->cfg->io->ctx, where->s, e->offset, *bytes, e->len, &got, err));
    if (got != e->len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "the file ends inside the record of PG %" PRIu64 "/%" PRId64,
                        e->table_id, e->partition_id);
    OBV_TRY(obv_meta_object_parse((obv_span){*bytes, got}, out, err));
    if (out->total != got || out->meta_type != e->meta_type)
        return obv_fail(err, OBV_E_CORRUPT, 0, "no record of %zu bytes and type %u for PG %" PRIu64 "/%" PRId64, got,
                        e->meta_type, e->table_id, e->partition_id);
    return OBV_OK;
}

static obv_code read_record(obv_vpg *p, obv_err *err)
{
    obv_path key;
    obv_path_meta_file(&p->v->cfg->root, &p->s->id, p->record->task_id, &key);
    if (p->record->len > OBV_META_BLOCK_MAX || !obv_verify_find(p->v, key.s))
        return OBV_OK; /* reported with the metas */
    OBV_AUTO(obv_freep) uint8_t *bytes = NULL;
    obv_err why = {0};
    obv_meta_object o = {0};
    obv_code code = obv_verify_record_bytes(p->v, p->s, p->record, &key, &bytes, &o, &why);
    if (code == OBV_OK)
        code = (p->s->flat ? obv_verify_old_record : obv_verify_record)(p->v, p->s, p->key, o.body, key.s,
                                                                        (int64_t)p->record->offset, &p->facts, &why);
    if (code != OBV_OK)
        return obv_verify_judge(p->v, key.s, (int64_t)p->record->offset, &why, err);
    p->has_facts = true;
    return OBV_OK;
}

/* ---- tables */

/* Sums over the blocks against the meta (restorable-set B11). */
static void check_sums(const obv_vpg *p, const obv_vpg_table *t, const char *where)
{
    if (t->total > p->entries.count - t->first)
        return; /* its index file is damaged */
    const obv_vpg_entry *e = (const obv_vpg_entry *)p->entries.items + t->first;
    uint64_t rows = 0;
    uint64_t occupy = 0;
    uint64_t chain = 0;
    uint64_t data = 0;
    for (uint64_t i = 0; i < t->total; i++) {
        if (!e[i].whole || (const obv_vpg_table *)p->tables.items + e[i].table != t)
            return; /* reported with its block or its index */
        occupy += (uint64_t)e[i].occupy;
        if (!e[i].is_data)
            continue;
        data++;
        rows += (uint64_t)e[i].rows;
        const uint64_t sum = (uint64_t)e[i].checksum;
        const uint8_t le[8] = {(uint8_t)sum,         (uint8_t)(sum >> 8),  (uint8_t)(sum >> 16), (uint8_t)(sum >> 24),
                               (uint8_t)(sum >> 32), (uint8_t)(sum >> 40), (uint8_t)(sum >> 48), (uint8_t)(sum >> 56)};
        chain = obv_crc64(chain, (obv_span){le, sizeof le});
    }
    if (data != t->m->data_blocks || rows != t->m->row_count || occupy != t->m->occupy_size ||
        chain != (uint64_t)t->m->data_checksum)
        obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, where, -1,
                       "table %" PRIu64 " of type %d: blocks have %" PRIu64 " rows in %" PRIu64
                       " bytes, the meta %" PRIu64 " in %" PRIu64 ", or another checksum",
                       t->key.table_id, t->key.type, rows, occupy, t->m->row_count, t->m->occupy_size);
}

void obv_vpg_index_key(const obv_vpg *p, bool minor, int64_t pass, obv_path *out)
{
    if (p->s->flat)
        obv_path_flat_index_file(&p->v->cfg->root, &p->s->id, p->key, pass, out);
    else if (minor)
        obv_path_minor_index_file(&p->v->cfg->root, &p->s->id, p->key, p->record->task_id, pass, out);
    else
        obv_path_major_index_file(&p->v->cfg->root, &p->s->id, p->key, pass, out);
}

/* Every table of the metas is in the index with all its blocks, and minors of the index are in the metas. */
static void check_tables(const obv_vpg *p, bool deep)
{
    const obv_verify_table *m = p->facts.tables.items;
    const obv_vpg_table *t = p->tables.items;
    for (size_t i = 0; i < p->facts.tables.count; i++) {
        if (p->s->flat && m[i].key.type != OBV_TABLE_MAJOR)
            continue; /* these sets have blocks of majors only */
        const bool minor = is_minor(p, &m[i].key);
        const obv_vpg_table *found = m[i].listed ? &t[m[i].listed - 1] : NULL;
        if (found && found->minor != minor)
            found = NULL; /* on the wrong side, where no reader looks for it */
        obv_path key;
        obv_vpg_index_key(p, minor, found ? found->pass : 0, &key);
        if (!found) {
            if (m[i].blocks > 0 && p->index_known[minor])
                obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, key.s, -1,
                               "lacks table %" PRIu64 " of type %d, which has %" PRIu64 " blocks", m[i].key.table_id,
                               m[i].key.type, m[i].blocks);
        } else if (found->total != m[i].blocks) {
            obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, key.s, -1,
                           "table %" PRIu64 " of type %d has %" PRIu64 " blocks, the meta says %" PRIu64,
                           m[i].key.table_id, m[i].key.type, found->total, m[i].blocks);
        } else if (deep) {
            check_sums(p, found, key.s);
        }
    }
    for (size_t k = 0; k < p->tables.count; k++)
        if (!t[k].m && t[k].minor) {
            obv_path key;
            obv_vpg_index_key(p, true, t[k].pass, &key);
            obv_verify_say(p->v, OBV_VERIFY_INCONSISTENT, key.s, -1,
                           "names table %" PRIu64 " of type %d, which the metas lack", t[k].key.table_id,
                           t[k].key.type);
        }
}

/* What the archive must have for this PG. */
static obv_code want_log(obv_vpg *p, obv_err *err)
{
    obv_verify_set *s = p->s;
    const obv_verify_table *m = p->facts.tables.items;
    s->partitions += p->facts.partitions;
    for (size_t i = 0; i < p->facts.tables.count; i++)
        s->blocks += s->flat && m[i].key.type != OBV_TABLE_MAJOR ? 0 : m[i].blocks;
    if (p->facts.clog.last_submit_ts < s->least_submit_ts)
        s->least_submit_ts = p->facts.clog.last_submit_ts;
    obv_verify_wanted *w = obv_verify_add(&p->v->wanted, sizeof *w, err);
    if (!w)
        return OBV_E_NOMEM;
    *w = (obv_verify_wanted){.table = p->key->table_id,
                             .partition = obv_pg_key_partition_id(p->key),
                             .log_id = p->facts.clog.last_replay_log_id,
                             .accum = p->facts.clog.accumulate_checksum,
                             .submit_ts = p->facts.clog.last_submit_ts,
                             .epoch_id = p->facts.clog.epoch_id,
                             .set_id = s->id.set_id};
    return OBV_OK;
}

static obv_code check(obv_vpg *p, obv_err *err)
{
    const bool deep = p->v->cfg->depth == OBV_VERIFY_DEEP;
    OBV_TRY(list_files(p, err));
    if (p->record && p->s->good)
        OBV_TRY(read_record(p, err));
    OBV_TRY(obv_vpg_read_indexes(p, err));
    OBV_TRY(obv_vpg_make_order(p, err));
    const obv_vpg_file *f = p->files.items;
    for (size_t i = 0; deep && i < p->files.count; i++)
        if (f[i].name.kind == OBV_NATIVE_MACRO_DATA)
            OBV_TRY(obv_vpg_read_blocks(p, &f[i], err));
    if (!p->s->good || !p->record)
        return OBV_OK;
    OBV_TRY(obv_vpg_check_met(p, deep, err));
    if (!p->has_facts) {
        p->s->metas_complete = false;
        return OBV_OK;
    }
    check_tables(p, deep);
    return want_log(p, err);
}

obv_code obv_verify_set_pg(obv_verify *v, obv_verify_set *s, const obv_pg_key *key, uint64_t table_id,
                           int64_t partition, obv_err *err)
{
    obv_vpg p = {.v = v, .s = s, .key = key, .record = key ? obv_verify_set_entry(s, table_id, partition) : NULL};
    obv_path_set_dir(&v->cfg->root, &s->id, &p.dir);
    obv_path_add(&p.dir, "data/%" PRIu64 "/%" PRId64 "/", table_id, partition);
    if (key && !p.record)
        s->metas_complete = false;
    obv_code code = check(&p, err);
    if (code != OBV_OK && code != OBV_E_CANCELLED && code != OBV_E_NOMEM)
        (void)obv_wrap(err, "%s", p.dir.s);
    obv_vpg_file *f = p.files.items;
    for (size_t i = 0; i < p.files.count; i++)
        free(f[i].key);
    free(p.files.items);
    free(p.tables.items);
    free(p.entries.items);
    free(p.order.items);
    free(p.facts.tables.items);
    return code;
}
