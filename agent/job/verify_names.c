/* verify_names.c - one listing of the tree: what is small is remembered by name, the rest by its PG's folder */
#include "job/verify_priv.h"

typedef struct listing {
    obv_verify *v;
    obv_err err;
    bool failed;
} listing;

static int cmp_u64(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int by_pg_dir(const void *x, const void *y)
{
    const obv_verify_pg_dir *a = x;
    const obv_verify_pg_dir *b = y;
    const int order[] = {cmp_u64(a->tenant, b->tenant),
                         cmp_u64(a->group, b->group),
                         cmp_u64((uint64_t)a->date, (uint64_t)b->date),
                         cmp_u64((uint64_t)a->folder, (uint64_t)b->folder),
                         cmp_u64(a->full, b->full),
                         cmp_u64(a->table, b->table),
                         cmp_u64((uint64_t)a->partition, (uint64_t)b->partition)};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i] != 0)
            return order[i];
    return 0;
}

static int by_piece_dir(const void *x, const void *y)
{
    const obv_verify_piece_dir *a = x;
    const obv_verify_piece_dir *b = y;
    const int order[] = {cmp_u64(a->tenant, b->tenant), cmp_u64(a->round, b->round), cmp_u64(a->piece, b->piece),
                         cmp_u64(a->date, b->date)};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i] != 0)
            return order[i];
    return 0;
}

static int by_key(const void *x, const void *y)
{
    return strcmp(((const obv_verify_small *)x)->key, ((const obv_verify_small *)y)->key);
}

/* Keys of one folder come one after the other: a repeat costs nothing. */
static bool add_dir(listing *l, obv_verify_array *to, const obv_verify_pg_dir *d)
{
    const obv_verify_pg_dir *items = to->items;
    if (to->count > 0 && by_pg_dir(&items[to->count - 1], d) == 0)
        return true;
    obv_verify_pg_dir *at = obv_verify_add(to, sizeof *at, &l->err);
    if (at)
        *at = *d;
    return at != NULL;
}

static bool add_piece_dir(listing *l, const obv_native_name *n)
{
    const obv_verify_piece_dir d = {n->tenant, n->round, n->piece, n->piece_date};
    const obv_verify_piece_dir *items = l->v->piece_dirs.items;
    if (l->v->piece_dirs.count > 0 && by_piece_dir(&items[l->v->piece_dirs.count - 1], &d) == 0)
        return true;
    obv_verify_piece_dir *at = obv_verify_add(&l->v->piece_dirs, sizeof *at, &l->err);
    if (at)
        *at = d;
    return at != NULL;
}

static bool add_small(listing *l, const char *key, uint64_t size, const obv_native_name *n)
{
    obv_verify_small *at = obv_verify_add(&l->v->small, sizeof *at, &l->err);
    if (!at)
        return false;
    *at = (obv_verify_small){.key = strdup(key), .size = size, .name = *n};
    if (!at->key) {
        l->v->small.count--;
        (void)obv_fail(&l->err, OBV_E_NOMEM, 0, "verify: a name");
    }
    return l->err.code == OBV_OK;
}

static bool sort_in(listing *l, const char *key, uint64_t size, const obv_native_name *n)
{
    if (n->inc_id != 0 && n->inc_id != n->set_id) {
        obv_verify_say(l->v, OBV_VERIFY_UNLISTED, key, -1, "it bears the number of another set than its folder");
        return true;
    }
    switch (n->kind) {
    case OBV_NATIVE_UNKNOWN:
        obv_verify_say(l->v, OBV_VERIFY_UNLISTED, key, -1, "no rule names this object");
        return true;
    case OBV_NATIVE_TEMPORARY:
        obv_verify_say(l->v, OBV_VERIFY_LEFTOVER, key, -1, "the temporary of a writer that was killed");
        return true;
    case OBV_NATIVE_MACRO_DATA:
    case OBV_NATIVE_MACRO_INDEX:
        return add_dir(l, &l->v->set_pgs,
                       &(obv_verify_pg_dir){.tenant = n->tenant,
                                            .group = (uint64_t)n->set_id,
                                            .date = n->date,
                                            .folder = n->folder,
                                            .full = n->full,
                                            .table = n->table,
                                            .partition = n->partition});
    case OBV_NATIVE_ARCHIVE_KEY:
    case OBV_NATIVE_ARCHIVE_INDEX:
    case OBV_NATIVE_ARCHIVE_DATA:
        return add_piece_dir(l, n) &&
               add_dir(l, &l->v->round_pgs,
                       &(obv_verify_pg_dir){
                           .tenant = n->tenant, .group = n->round, .table = n->table, .partition = n->partition});
    case OBV_NATIVE_SINGLE_PIECE:
        return add_piece_dir(l, n) && add_small(l, key, size, n);
    default:
        return add_small(l, key, size, n);
    }
}

static int on_key(void *ctx, const char *key, uint64_t size)
{
    listing *l = ctx;
    obv_native_name n;
    if (strlen(key) <= l->v->prefix_len)
        return 0;
    obv_native_name_parse(key + l->v->prefix_len, &n);
    l->v->stats->objects++;
    l->v->stats->bytes += size;
    l->failed = !sort_in(l, key, size, &n);
    return l->failed;
}

obv_code obv_verify_names(obv_verify *v, obv_err *err)
{
    listing l = {.v = v};
    obv_path prefix = v->cfg->root.cp;
    obv_path_add(&prefix, "%s", "");
    const obv_code code = v->cfg->io->list(v->cfg->io->ctx, prefix.s, on_key, &l, err);
    if (l.failed) {
        if (err)
            *err = l.err;
        return l.err.code;
    }
    if (code != OBV_OK && code != OBV_E_NOT_FOUND)
        return obv_wrap(err, "list %s", prefix.s);
    if (v->stats->objects == 0)
        return obv_fail(err, OBV_E_NOT_INITIALISED, 0, "nothing lies below %s: is the destination mounted?", prefix.s);
    if (v->small.count > 1)
        qsort(v->small.items, v->small.count, sizeof(obv_verify_small), by_key);
    obv_verify_unique(&v->set_pgs, sizeof(obv_verify_pg_dir), by_pg_dir);
    obv_verify_unique(&v->round_pgs, sizeof(obv_verify_pg_dir), by_pg_dir);
    obv_verify_unique(&v->piece_dirs, sizeof(obv_verify_piece_dir), by_piece_dir);
    obv_path identity = v->cfg->root.cp;
    obv_path_add(&identity, "obvault/repository.json");
    v->stats->ours = obv_verify_find(v, identity.s) != NULL;
    return OBV_OK;
}
