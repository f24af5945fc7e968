/* verify_metas.c - which PGs a set has: lists, merged index, and the meta files with their own indexes */
#include "format/ob/keys.h"
#include "job/verify_priv.h"

#include <inttypes.h>

#define SAY(class, key, ...) obv_verify_say(v, OBV_VERIFY_##class, key, -1, __VA_ARGS__)

/* ---- PG lists */

typedef struct keys {
    obv_verify_array array; /* obv_pg_key */
    obv_err err;
} keys;

static int add_key(void *ctx, const obv_pg_key *k)
{
    keys *to = ctx;
    obv_pg_key *at = obv_verify_add(&to->array, sizeof *at, &to->err);
    if (at)
        *at = *k;
    return at == NULL;
}

static obv_code read_list(obv_verify *v, const obv_verify_set *s, const char *name, keys *to, bool *known, obv_err *err)
{
    obv_path key;
    obv_path_inc_file(&v->cfg->root, &s->id, name, &key);
    *known = false;
    if (!obv_verify_find(v, key.s)) {
        if (s->good)
            SAY(MISSING, key.s, "every set has it");
        return OBV_OK;
    }
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    OBV_TRY(obv_verify_read(v, key.s, OBV_INFO_FILE_MAX, &file, known, err));
    if (!*known)
        return OBV_OK;
    *known = obv_pg_list_each(obv_buf_span(&file), add_key, to, NULL) == OBV_OK;
    if (to->err.code != OBV_OK && err)
        *err = to->err;
    return to->err.code;
}

static int by_key(const void *a, const void *b) { return obv_pg_key_cmp(a, b); }

static obv_code check_keys(obv_verify *v, const obv_verify_set *s, obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    obv_path paths[2];
    obv_path_inc_file(&v->cfg->root, &s->id, OBV_NAME_SYS_PG_LIST, &paths[0]);
    obv_path_inc_file(&v->cfg->root, &s->id, OBV_NAME_NORMAL_PG_LIST, &paths[1]);
    if (s->sys_count == 0 && s->good)
        SAY(INCONSISTENT, paths[0].s, "it is empty: every tenant has sys PGs");
    for (size_t i = 0; i < s->pg_count; i++) {
        const bool in_sys = i < s->sys_count;
        const obv_pg_key *k = &s->pgs[i];
        if (obv_pg_key_is_sys(k) != in_sys || obv_pg_key_tenant(k) != s->id.tenant_id ||
            obv_table_id_is_trans(k->table_id))
            SAY(INCONSISTENT, paths[in_sys ? 0 : 1].s, "PG %s does not belong into this list",
                obv_pg_key_text(k, text));
    }
    OBV_AUTO(obv_freep) obv_pg_key *sorted = malloc((s->pg_count + 1) * sizeof *sorted);
    if (!sorted)
        return obv_fail(err, OBV_E_NOMEM, 0, "verify: %zu PGs", s->pg_count);
    memcpy(sorted, s->pgs, s->pg_count * sizeof *sorted);
    if (s->pg_count > 1)
        qsort(sorted, s->pg_count, sizeof *sorted, by_key);
    for (size_t i = 1; i < s->pg_count; i++)
        if (by_key(&sorted[i - 1], &sorted[i]) == 0)
            SAY(INCONSISTENT, paths[1].s, "PG %s is listed twice", obv_pg_key_text(&sorted[i], text));
    return OBV_OK;
}

static obv_code read_lists(obv_verify *v, obv_verify_set *s, obv_err *err)
{
    keys all = {0};
    bool sys = false;
    bool normal = false;
    obv_code code = read_list(v, s, OBV_NAME_SYS_PG_LIST, &all, &sys, err);
    s->sys_count = all.array.count;
    if (code == OBV_OK)
        code = read_list(v, s, OBV_NAME_NORMAL_PG_LIST, &all, &normal, err);
    s->pgs = all.array.items ? all.array.items : malloc(1);
    s->pg_count = all.array.count;
    s->has_lists = sys && normal;
    if (code == OBV_OK && s->has_lists)
        code = check_keys(v, s, err);
    return code;
}

/* ---- merged index */

typedef struct entries {
    obv_verify_array array; /* obv_meta_index */
    obv_err err;
} entries;

static int add_entry(void *ctx, const obv_meta_index *e)
{
    entries *to = ctx;
    obv_meta_index *at = obv_verify_add(&to->array, sizeof *at, &to->err);
    if (at)
        *at = *e;
    return at == NULL;
}

static int by_place(const void *x, const void *y)
{
    const obv_meta_index *a = x;
    const obv_meta_index *b = y;
    if (a->table_id != b->table_id)
        return a->table_id < b->table_id ? -1 : 1;
    if (a->partition_id != b->partition_id)
        return a->partition_id < b->partition_id ? -1 : 1;
    return a->meta_type < b->meta_type ? -1 : a->meta_type > b->meta_type;
}

const obv_meta_index *obv_verify_set_entry_of(const obv_verify_set *s, uint32_t type, uint64_t table, int64_t partition)
{
    const obv_meta_index want = {.meta_type = type, .table_id = table, .partition_id = partition};
    return s->index_count ? bsearch(&want, s->index, s->index_count, sizeof want, by_place) : NULL;
}

const obv_meta_index *obv_verify_set_entry(const obv_verify_set *s, uint64_t table, int64_t partition)
{
    return obv_verify_set_entry_of(s, s->flat ? OBV_OLD_META_PG : OBV_META_TYPE_PG_INFO, table, partition);
}

/* One block, then a bare end mark, and not a byte more. */
static obv_code merged_bytes(obv_span file, bool ours, size_t *at, obv_err *err)
{
    obv_common_header h;
    obv_span payload;
    size_t total = 0;
    *at = 0;
    OBV_TRY(obv_common_block_parse(file, &h, &payload, &total, err));
    if (h.data_type != OBV_FILE_META_INDEX || h.align_len != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "block of type %u with %" PRIu64 " bytes of padding", h.data_type,
                        h.align_len);
    if (ours && !obv_native_header_exact(file, 0, at))
        return obv_fail(err, OBV_E_CORRUPT, 0, "a byte of the header that no checksum covers is not what it must be");
    *at = total;
    const obv_span rest = {file.p + total, file.len - total};
    OBV_TRY(obv_common_block_parse(rest, &h, &payload, &total, err));
    if (h.data_type != OBV_FILE_END_MARK || h.data_len != 0 || h.align_len != 0 || total != rest.len)
        return obv_fail(err, OBV_E_CORRUPT, 0, "no bare end mark at the end");
    size_t in_mark = 0;
    if (ours && !obv_native_header_exact(rest, 0, &in_mark)) {
        *at += in_mark;
        return obv_fail(err, OBV_E_CORRUPT, 0, "a byte of the end mark that no checksum covers is not zero");
    }
    return OBV_OK;
}

static obv_code read_merged(obv_verify *v, obv_verify_set *s, const char *key, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_META_INDEX_MAX + (1u << 20));
    bool ok = false;
    OBV_TRY(obv_verify_read(v, key, OBV_META_INDEX_MAX, &file, &ok, err));
    if (!ok)
        return OBV_OK;
    obv_err why = {0};
    size_t at = 0;
    if (merged_bytes(obv_buf_span(&file), v->stats->ours, &at, &why) != OBV_OK)
        OBV_TRY(obv_verify_judge(v, key, (int64_t)at, &why, err));
    entries all = {0};
    const obv_code code = obv_meta_index_file_each(obv_buf_span(&file), add_entry, &all, &why);
    s->index = all.array.items;
    s->index_count = all.array.count;
    if (all.err.code != OBV_OK) {
        if (err)
            *err = all.err;
        return all.err.code;
    }
    s->has_index = code == OBV_OK;
    return OBV_OK;
}

static void check_merged(obv_verify *v, obv_verify_set *s, const char *key)
{
    if (s->index_count > 1)
        qsort(s->index, s->index_count, sizeof *s->index, by_place);
    char text[OBV_PKEY_TEXT_MAX];
    for (size_t i = 0; i < s->index_count; i++) {
        if ((s->index[i].meta_type == OBV_META_TYPE_PG_INFO) == s->flat && s->has_info)
            SAY(INCONSISTENT, key, "an entry of type %u", s->index[i].meta_type);
        if (i > 0 && by_place(&s->index[i - 1], &s->index[i]) == 0)
            SAY(INCONSISTENT, key, "two entries for PG %" PRIu64 "/%" PRId64, s->index[i].table_id,
                s->index[i].partition_id);
    }
    for (size_t i = 0; i < s->pg_count; i++)
        if (!obv_verify_set_entry(s, s->pgs[i].table_id, obv_pg_key_partition_id(&s->pgs[i])))
            SAY(INCONSISTENT, key, "lacks PG %s, which is listed", obv_pg_key_text(&s->pgs[i], text));
}

/* ---- one task's meta file and index */

typedef struct task {
    obv_verify *v;
    obv_verify_set *s;
    int64_t id;
    obv_path meta, index;
    entries rows; /* of the index file, in its order */
    bool known;   /* the index could be read */
} task;

/* Reports what a block brings along; true when the payload can be used. */
static obv_code next_block(task *t, obv_native_blocks *b, const char *key, obv_native_block *out, bool *more,
                           bool *whole, obv_err *err)
{
    obv_err why = {0};
    *more = true;
    const obv_code code = obv_native_blocks_next(b, out, &why);
    if (code == OBV_OK) {
        if (out->note[0])
            obv_verify_say(t->v, OBV_VERIFY_DAMAGED, key, (int64_t)out->note_at, "%s", out->note);
        return OBV_OK;
    }
    *more = false;
    if (code == OBV_E_NOT_FOUND && b->at > 0)
        return OBV_OK;
    *whole = false;
    out->payload = (obv_span){NULL, 0};
    *more = code == OBV_E_CORRUPT;
    return obv_verify_judge(t->v, key, (int64_t)out->at, &why, err);
}

static obv_code read_index(task *t, uint64_t size, obv_err *err)
{
    obv_native_blocks b = {.w = &t->v->window, .data_type = OBV_FILE_META_INDEX, .ours = t->v->stats->ours};
    obv_native_window_open(b.w, t->index.s, size);
    bool more = true;
    t->known = true;
    while (more) {
        obv_native_block block;
        OBV_TRY(next_block(t, &b, t->index.s, &block, &more, &t->known, err));
        obv_rd r = obv_rd_of(block.payload);
        while (block.payload.p && obv_rd_left(&r) > 0) {
            obv_err why = {0};
            obv_meta_index e;
            const int64_t at = (int64_t)(block.at + OBV_COMMON_HEADER_LEN) + (r.p - block.payload.p);
            if (obv_meta_index_next(&r, &e, &why) != OBV_OK) {
                t->known = false;
                OBV_TRY(obv_verify_judge(t->v, t->index.s, at, &why, err));
                break;
            }
            if (add_entry(&t->rows, &e) != 0) {
                if (err)
                    *err = t->rows.err;
                return t->rows.err.code;
            }
        }
    }
    return OBV_OK;
}

static obv_code walk_record(obv_span body, obv_pg_key *pg, obv_err *err)
{
    obv_pg_record_reader rec;
    OBV_TRY(obv_pg_record_parse(body, &rec, err));
    *pg = rec.pg.key;
    for (size_t p = 0; p < rec.partition_count; p++) {
        obv_pg_record_part part;
        OBV_TRY(obv_pg_record_next_partition(&rec, &part, err));
        for (size_t k = 0; k < part.table_count; k++) {
            obv_sstable_meta meta;
            obv_table_key key;
            OBV_TRY(obv_pg_record_next_table(&part, &meta, &key, err));
        }
    }
    return OBV_OK;
}

/*
 * A record of before 3.1, or, where 3.1's own classes read such types, with its partition meta. @p named: whose it is
 * by its index, for the one type that does not say so itself.
 */
static obv_code walk_old_record(const obv_meta_object *o, bool flat, const obv_pg_key *named, obv_pg_key *key,
                                obv_err *err)
{
    obv_pg_meta pg;
    obv_partition_store_meta store;
    obv_old_list l;
    obv_sstable_meta meta;
    obv_table_key table;
    obv_code code = OBV_OK;
    *key = named ? *named : (obv_pg_key){0};
    switch (o->meta_type) {
    case OBV_OLD_META_PG:
        OBV_TRY(obv_pg_meta_parse(o->body, &pg, err));
        *key = pg.key;
        return OBV_OK;
    case OBV_OLD_META_PARTITION:
        OBV_TRY((flat ? obv_old_store_meta_parse : obv_partition_store_meta_parse)(o->body, &store, err));
        *key = store.pkey;
        return OBV_OK;
    case OBV_OLD_META_SSTABLES:
        OBV_TRY(obv_old_list_parse(o->body, &l, err));
        while ((code = obv_old_list_sstable(&l, &meta, err)) == OBV_OK)
            ;
        break;
    default:
        OBV_TRY(obv_old_list_parse(o->body, &l, err));
        while ((code = obv_old_list_table_key(&l, &table, err)) == OBV_OK)
            *key = table.pkey;
    }
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

/* Record i of the meta file. */
static obv_code check_record(task *t, obv_span object, uint64_t at, size_t i, obv_pg_key *pg, obv_err *err)
{
    obv_meta_object o;
    size_t bad = 0;
    OBV_TRY(obv_meta_object_parse(object, &o, err));
    if (t->v->stats->ours && !obv_native_meta_reserved_zero(object, &bad))
        return obv_fail(err, OBV_E_CORRUPT, 0, "reserved byte %zu of the meta header is not zero", bad);
    const obv_meta_index *rows = t->rows.array.items;
    if (o.meta_type == OBV_META_TYPE_PG_INFO)
        OBV_TRY(walk_record(o.body, pg, err));
    else
        OBV_TRY(walk_old_record(&o, t->s->flat, i < t->rows.array.count ? &rows[i].pg : NULL, pg, err));
    if (!t->known)
        return OBV_OK;
    if (i >= t->rows.array.count || rows[i].offset != at || rows[i].len != o.total || rows[i].task_id != t->id ||
        rows[i].meta_type != o.meta_type || rows[i].table_id != pg->table_id ||
        rows[i].partition_id != obv_pg_key_partition_id(pg))
        obv_verify_say(t->v, OBV_VERIFY_INCONSISTENT, t->index.s, -1,
                       "does not name record %zu of the meta file, at %" PRIu64, i, at);
    return OBV_OK;
}

static obv_code read_meta_file(task *t, uint64_t size, obv_err *err)
{
    obv_native_blocks b = {.w = &t->v->window, .data_type = OBV_FILE_META, .ours = t->v->stats->ours};
    obv_native_window_open(b.w, t->meta.s, size);
    bool more = true;
    bool whole = true;
    size_t i = 0;
    while (more) {
        obv_native_block block;
        OBV_TRY(next_block(t, &b, t->meta.s, &block, &more, &whole, err));
        for (size_t done = 0; block.payload.p && done < block.payload.len; i++) {
            const obv_span rest = {block.payload.p + done, block.payload.len - done};
            const uint64_t at = block.at + OBV_COMMON_HEADER_LEN + done;
            obv_err why = {0};
            obv_meta_object o = {0};
            obv_pg_key pg;
            if (check_record(t, rest, at, i, &pg, &why) != OBV_OK) {
                OBV_TRY(obv_verify_judge(t->v, t->meta.s, (int64_t)at, &why, err));
                if (obv_meta_object_parse(rest, &o, NULL) != OBV_OK) {
                    whole = false;
                    break; /* where the next record begins is not known */
                }
            } else if (obv_meta_object_parse(rest, &o, NULL) != OBV_OK) {
                break;
            }
            done += o.total;
        }
    }
    if (whole && t->known && i != t->rows.array.count)
        obv_verify_say(t->v, OBV_VERIFY_INCONSISTENT, t->index.s, -1, "has %zu entries, the meta file %zu records",
                       t->rows.array.count, i);
    return OBV_OK;
}

/* The merged index names exactly the winners. */
static void compare_with_merged(const task *t)
{
    const obv_meta_index *rows = t->rows.array.items;
    size_t named = 0;
    for (size_t i = 0; i < t->rows.array.count; i++) {
        const obv_meta_index *m =
            obv_verify_set_entry_of(t->s, rows[i].meta_type, rows[i].table_id, rows[i].partition_id);
        named += m && m->task_id == t->id;
        if (m && m->task_id == t->id && (m->offset != rows[i].offset || m->len != rows[i].len))
            obv_verify_say(t->v, OBV_VERIFY_INCONSISTENT, t->index.s, -1,
                           "PG %" PRIu64 "/%" PRId64 " lies elsewhere than the merged index says", rows[i].table_id,
                           rows[i].partition_id);
    }
    size_t wanted = 0;
    for (size_t i = 0; i < t->s->index_count; i++)
        wanted += t->s->index[i].task_id == t->id;
    if (named < wanted)
        obv_verify_say(t->v, OBV_VERIFY_INCONSISTENT, t->index.s, -1,
                       "names %zu of the %zu PGs that the merged index finds in this task", named, wanted);
    if (wanted == 0)
        obv_verify_say(t->v, OBV_VERIFY_LEFTOVER, t->meta.s, -1, "the merged index names no PG of this task");
}

static obv_code check_task(obv_verify *v, obv_verify_set *s, int64_t id, obv_err *err)
{
    task t = {.v = v, .s = s, .id = id};
    obv_path_meta_file(&v->cfg->root, &s->id, id, &t.meta);
    obv_path_meta_index_file(&v->cfg->root, &s->id, id, &t.index);
    const obv_verify_small *meta = obv_verify_find(v, t.meta.s);
    const obv_verify_small *index = obv_verify_find(v, t.index.s);
    obv_code code = OBV_OK;
    if (index)
        code = read_index(&t, index->size, err);
    else
        obv_verify_say(v, s->good ? OBV_VERIFY_MISSING : OBV_VERIFY_LEFTOVER, t.index.s, -1,
                       "the meta file of its task is there");
    if (code == OBV_OK && meta)
        code = read_meta_file(&t, meta->size, err);
    else if (code == OBV_OK)
        obv_verify_say(v, s->good ? OBV_VERIFY_MISSING : OBV_VERIFY_LEFTOVER, t.meta.s, -1,
                       "the index of its task is there");
    if (code == OBV_OK && t.known && s->has_index && s->good)
        compare_with_merged(&t);
    free(t.rows.array.items);
    return code;
}

static bool is_of(const obv_native_name *n, const obv_set_id *id)
{
    return n->tenant == id->tenant_id && n->set_id == id->set_id && n->date == id->date &&
           n->full == (id->full_set_id == id->set_id) && (n->date != 0 || n->folder == id->full_set_id);
}

/* Tasks ascending: those of files, and those that only the merged index names. */
static bool next_task(const obv_verify *v, const obv_verify_set *s, int64_t after, int64_t *out)
{
    int64_t best = INT64_MAX;
    const obv_verify_small *m = v->small.items;
    for (size_t i = 0; i < v->small.count; i++)
        if ((m[i].name.kind == OBV_NATIVE_META_FILE || m[i].name.kind == OBV_NATIVE_META_INDEX) &&
            is_of(&m[i].name, &s->id) && m[i].name.task > after && m[i].name.task < best)
            best = m[i].name.task;
    for (size_t i = 0; i < s->index_count; i++)
        if (s->index[i].task_id > after && s->index[i].task_id < best)
            best = s->index[i].task_id;
    *out = best;
    return best != INT64_MAX;
}

/* The later task wins, as for a reader that goes through the files by name. */
static int by_place_and_task(const void *x, const void *y)
{
    const int place = by_place(x, y);
    const int64_t a = ((const obv_meta_index *)x)->task_id;
    const int64_t b = ((const obv_meta_index *)y)->task_id;
    return place != 0 ? place : a < b ? 1 : -(a > b);
}

/* Older sets need no merged index: the files of all tasks together say the same. */
static obv_code gather_indexes(obv_verify *v, obv_verify_set *s, obv_err *err)
{
    entries all = {0};
    obv_code code = OBV_OK;
    s->has_index = true;
    const obv_verify_small *m = v->small.items;
    for (size_t i = 0; i < v->small.count && code == OBV_OK; i++) {
        if (m[i].name.kind != OBV_NATIVE_META_INDEX || !is_of(&m[i].name, &s->id))
            continue;
        OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_META_INDEX_MAX + (1u << 20));
        bool ok = false;
        code = obv_verify_read(v, m[i].key, OBV_META_INDEX_MAX, &file, &ok, err);
        s->has_index &=
            code == OBV_OK && ok && obv_meta_index_file_each(obv_buf_span(&file), add_entry, &all, NULL) == OBV_OK;
        if (code == OBV_OK && all.err.code != OBV_OK) {
            code = all.err.code;
            if (err)
                *err = all.err;
        }
    }
    if (all.array.count > 1)
        qsort(all.array.items, all.array.count, sizeof(obv_meta_index), by_place_and_task);
    obv_meta_index *e = all.array.items;
    size_t kept = 0;
    for (size_t i = 0; i < all.array.count; i++)
        if (i == 0 || by_place(&e[kept - 1], &e[i]) != 0)
            e[kept++] = e[i];
    s->index = e;
    s->index_count = kept;
    return code;
}

obv_code obv_verify_set_metas(obv_verify *v, obv_verify_set *s, obv_err *err)
{
    obv_path merged;
    obv_path_inc_file(&v->cfg->root, &s->id, OBV_NAME_META_INDEX_FILE, &merged);
    OBV_TRY(read_lists(v, s, err));
    if (obv_verify_find(v, merged.s))
        OBV_TRY(read_merged(v, s, merged.s, err));
    else if (s->flat)
        OBV_TRY(gather_indexes(v, s, err));
    else if (s->good)
        SAY(MISSING, merged.s, "every set has it");
    if (s->has_index)
        check_merged(v, s, merged.s);
    for (int64_t id = -1; next_task(v, s, id, &id);) {
        OBV_TRY(obv_verify_cancelled(v, err));
        OBV_TRY(check_task(v, s, id, err));
    }
    return OBV_OK;
}
