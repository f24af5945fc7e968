/* verify_round_lists.c - the lists of rounds and pieces held against each other and against their folders
 *
 * Read cluster first, then the tenant's rounds, then each piece: the publisher writes the other way round, so a
 * checkpoint read later is never lower.
 */
#include "format/media/archive_paths.h"
#include "job/verify_priv.h"

#include <inttypes.h>

enum { SYS_TENANT = 1 };

typedef struct rounds {
    obv_archive_round *list;
    size_t count;
    bool known;
    obv_path key;
} rounds;
typedef struct pieces {
    obv_archive_piece *list;
    size_t count;
    bool known;
    obv_path key;
} pieces;

static void rounds_fini(rounds *r) { free(r->list); }
static void pieces_fini(pieces *p) { free(p->list); }

#define SAY(class, key, ...) obv_verify_say(v, OBV_VERIFY_##class, key, -1, __VA_ARGS__)

static obv_code read_file(obv_verify *v, const char *key, obv_buf *file, bool *ok, obv_err *err)
{
    *ok = false;
    if (!obv_verify_find(v, key))
        return OBV_OK;
    return obv_verify_read(v, key, OBV_INFO_FILE_MAX, file, ok, err);
}

static obv_code read_rounds(obv_verify *v, uint64_t tenant, rounds *out, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    if (tenant == SYS_TENANT)
        obv_archive_path_cluster_rounds(&v->cfg->root, &out->key);
    else
        obv_archive_path_rounds(&v->cfg->root, tenant, &out->key);
    OBV_TRY(read_file(v, out->key.s, &file, &out->known, err));
    if (out->known)
        out->known = obv_archive_rounds_parse(obv_buf_span(&file), &out->list, &out->count, NULL) == OBV_OK;
    return OBV_OK;
}

static obv_code read_pieces(obv_verify *v, uint64_t tenant, pieces *out, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    if (tenant == SYS_TENANT)
        obv_archive_path_cluster_pieces(&v->cfg->root, &out->key);
    else
        obv_archive_path_pieces(&v->cfg->root, tenant, &out->key);
    OBV_TRY(read_file(v, out->key.s, &file, &out->known, err));
    if (out->known)
        out->known = obv_archive_pieces_parse(obv_buf_span(&file), &out->list, &out->count, NULL) == OBV_OK;
    return OBV_OK;
}

static void single_key(const obv_verify *v, uint64_t tenant, const obv_archive_piece *p, obv_path *out)
{
    const obv_archive_place a = {.root = v->cfg->root,
                                 .round = (uint64_t)p->round,
                                 .piece = (uint64_t)p->piece_id,
                                 .piece_date = p->create_date};
    obv_archive_path_single_piece(&a, tenant, out);
}

static bool is_gone(const obv_archive_piece *p)
{
    return p->file_status == OBV_PIECE_FILE_DELETING || p->file_status == OBV_PIECE_FILE_DELETED;
}

/* One listed piece against its own file. *single is valid when *known. */
static obv_code check_piece(obv_verify *v, uint64_t tenant, const char *key, const obv_archive_piece *p,
                            obv_archive_piece *single, bool *known, obv_err *err)
{
    *known = false;
    if (p->tenant_id != tenant || p->incarnation != 1 || p->round <= 0 || p->piece_id < 0 || !p->backup_dest[0]) {
        SAY(INCONSISTENT, key, "piece %" PRId64 " of round %" PRId64 ": tenant, incarnation or destination",
            p->piece_id, p->round);
        return OBV_OK;
    }
    if (p->status == OBV_PIECE_FROZEN ? p->checkpoint_ts > p->max_ts || p->max_ts == INT64_MAX
                                      : p->status == OBV_PIECE_ACTIVE && p->max_ts != INT64_MAX)
        SAY(INCONSISTENT, key, "piece %" PRId64 " of round %" PRId64 ": status %d with max_ts %" PRId64, p->piece_id,
            p->round, (int)p->status, p->max_ts);
    obv_path path;
    single_key(v, tenant, p, &path);
    if (!obv_verify_find(v, path.s)) {
        if (!is_gone(p))
            SAY(MISSING, path.s, "piece %" PRId64 " of round %" PRId64 " is listed, but this file is not there",
                p->piece_id, p->round);
        return OBV_OK;
    }
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(OBV_INFO_FILE_MAX + (1u << 20));
    OBV_TRY(read_file(v, path.s, &file, known, err));
    *known = *known && obv_archive_single_piece_parse(obv_buf_span(&file), single, NULL) == OBV_OK;
    if (!*known)
        return OBV_OK;
    if (single->tenant_id != tenant || single->round != p->round || single->piece_id != p->piece_id ||
        single->create_date != p->create_date || single->incarnation != 1)
        SAY(INCONSISTENT, path.s, "round, piece, date or tenant do not fit its folder");
    else if (p->status == OBV_PIECE_FROZEN &&
             (single->status != OBV_PIECE_FROZEN || single->checkpoint_ts != p->checkpoint_ts ||
              single->max_ts != p->max_ts || single->start_ts != p->start_ts))
        SAY(INCONSISTENT, path.s, "the piece is FROZEN, and the list of pieces has other times");
    return OBV_OK;
}

static void check_round(obv_verify *v, uint64_t tenant, const char *key, const obv_archive_round *r,
                        const rounds *cluster)
{
    if (r->tenant_id != tenant || r->incarnation != 1 || r->round <= 0) {
        SAY(INCONSISTENT, key, "round %" PRId64 ": of tenant %" PRIu64 ", incarnation %" PRId64, r->round, r->tenant_id,
            r->incarnation);
        return;
    }
    const bool runs = r->status == OBV_ARCHIVE_STATUS_DOING;
    if (runs && (r->start_ts <= 0 || r->checkpoint_ts < r->start_ts))
        SAY(INCONSISTENT, key, "round %" PRId64 ": DOING from %" PRId64 ", checkpoint %" PRId64, r->round, r->start_ts,
            r->checkpoint_ts);
    if (!cluster || !cluster->known)
        return;
    for (size_t i = 0; i < cluster->count; i++) {
        const obv_archive_round *c = &cluster->list[i];
        if (c->round != r->round)
            continue;
        if (c->status == OBV_ARCHIVE_STATUS_DOING && runs && c->checkpoint_ts > r->checkpoint_ts)
            SAY(INCONSISTENT, key,
                "round %" PRId64 ": checkpoint %" PRId64 ", the cluster's list is already at %" PRId64, r->round,
                r->checkpoint_ts, c->checkpoint_ts);
        return;
    }
    if (r->status != OBV_ARCHIVE_STATUS_BEGINNING)
        SAY(INCONSISTENT, cluster->key.s, "lacks round %" PRId64 " of tenant %" PRIu64, r->round, tenant);
}

/* A folder of a round that no list has. */
static void check_folders(obv_verify *v, uint64_t tenant, const pieces *p)
{
    const obv_verify_piece_dir *d = v->piece_dirs.items;
    for (size_t i = 0; i < v->piece_dirs.count; i++, d++) {
        if (d->tenant != tenant)
            continue;
        bool listed = false;
        for (size_t k = 0; k < p->count; k++)
            listed |= (uint64_t)p->list[k].round == d->round && (uint64_t)p->list[k].piece_id == d->piece;
        const obv_archive_piece as = {
            .round = (int64_t)d->round, .piece_id = (int64_t)d->piece, .create_date = (int64_t)d->date};
        obv_path path;
        single_key(v, tenant, &as, &path);
        if (!obv_verify_find(v, path.s))
            SAY(MISSING, path.s, "its folder holds log, but this file is not there");
        else if (!listed && p->known)
            SAY(INCONSISTENT, path.s, "the list of pieces lacks it");
    }
}

static obv_code check_tenant(obv_verify *v, uint64_t tenant, const rounds *cluster, obv_err *err)
{
    OBV_AUTO(rounds_fini) rounds r = {0};
    OBV_AUTO(pieces_fini) pieces p = {0};
    if (tenant == SYS_TENANT)
        r = (rounds){.known = cluster->known, .key = cluster->key, .count = cluster->count};
    else
        OBV_TRY(read_rounds(v, tenant, &r, err));
    const obv_archive_round *list = tenant == SYS_TENANT ? cluster->list : r.list;
    OBV_TRY(read_pieces(v, tenant, &p, err));
    for (size_t i = 0; r.known && i < r.count; i++) {
        if (i > 0 && list[i].round <= list[i - 1].round)
            SAY(INCONSISTENT, r.key.s, "round %" PRId64 " behind round %" PRId64, list[i].round, list[i - 1].round);
        check_round(v, tenant, r.key.s, &list[i], tenant == SYS_TENANT ? NULL : cluster);
    }
    for (size_t i = 0; p.known && i < p.count; i++) {
        const obv_archive_piece *e = &p.list[i];
        obv_archive_piece single;
        bool known = false;
        OBV_TRY(check_piece(v, tenant, p.key.s, e, &single, &known, err));
        const obv_archive_round *round = NULL;
        for (size_t k = 0; r.known && k < r.count; k++)
            if (list[k].round == e->round)
                round = &list[k];
        if (r.known && !round && !is_gone(e))
            SAY(INCONSISTENT, r.key.s, "lacks round %" PRId64 ", which has a piece", e->round);
        if (known && round && round->piece_id == e->piece_id && round->checkpoint_ts > single.checkpoint_ts)
            SAY(INCONSISTENT, r.key.s, "round %" PRId64 ": checkpoint %" PRId64 " is beyond the piece's own, %" PRId64,
                e->round, round->checkpoint_ts, single.checkpoint_ts);
    }
    const bool any = p.known && p.count > 0;
    if (any && !obv_verify_find(v, r.key.s))
        SAY(MISSING, r.key.s, "there are pieces, but no list of rounds");
    if (!any && r.known && r.count > 0 && !obv_verify_find(v, p.key.s))
        SAY(MISSING, p.key.s, "there are rounds, but no list of pieces");
    check_folders(v, tenant, &p);
    return OBV_OK;
}

obv_code obv_verify_round_lists(obv_verify *v, obv_err *err)
{
    OBV_AUTO(rounds_fini) rounds cluster = {0};
    OBV_TRY(read_rounds(v, SYS_TENANT, &cluster, err));
    for (size_t i = 0; i < cluster.count; i++) {
        const obv_archive_round *c = &cluster.list[i];
        const obv_archive_place a = {.root = v->cfg->root, .round = (uint64_t)c->round};
        obv_path mount;
        obv_archive_path_mount_file(&a, &mount);
        if (c->mount_file_created && !c->mark_deleted && !obv_verify_find(v, mount.s))
            SAY(MISSING, mount.s, "round %" PRId64 " says that its mount file is there", c->round);
    }
    OBV_TRY(check_tenant(v, SYS_TENANT, &cluster, err));
    uint64_t last = SYS_TENANT;
    for (;;) { /* tenants ascending, whatever of them is there */
        uint64_t next = 0;
        const obv_verify_small *s = v->small.items;
        for (size_t i = 0; i < v->small.count; i++)
            if ((s[i].name.kind == OBV_NATIVE_ROUNDS || s[i].name.kind == OBV_NATIVE_PIECES) &&
                s[i].name.tenant > last && (!next || s[i].name.tenant < next))
                next = s[i].name.tenant;
        const obv_verify_piece_dir *d = v->piece_dirs.items;
        for (size_t i = 0; i < v->piece_dirs.count; i++)
            if (d[i].tenant > last && (!next || d[i].tenant < next))
                next = d[i].tenant;
        if (!next)
            return OBV_OK;
        OBV_TRY(check_tenant(v, next, &cluster, err));
        last = next;
    }
}
