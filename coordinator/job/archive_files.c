#include "job/archive_files.h"

#include "format/media/archive_infos.h"
#include "format/media/archive_paths.h"
#include "job/names.h"

#include <stdio.h>
#include <stdlib.h>

#define SYS_TENANT 1u

/* One tenant's rounds and pieces; the cluster's own are those of tenant 1. */
typedef struct rounds {
    obv_archive_round *v;
    size_t n, cap;
} rounds;
typedef struct pieces {
    obv_piece *v;
    size_t n, cap;
} pieces;
typedef struct lists {
    uint64_t tenant;
    rounds r;
    pieces p;
} lists;
static void lists_fini(lists *l)
{
    free(l->r.v);
    free(l->p.v);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

static obv_code take_piece(void *ctx, const obv_piece *p, obv_err *err)
{
    lists *l = ctx;
    obv_piece *o = obv_list_add(&l->p, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *p;
    return OBV_OK;
}

static obv_code load_rounds(obv_job_ctx *x, lists *l, obv_err *err)
{
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    if (l->tenant == SYS_TENANT)
        OBV_TRY(obv_db_query_args(obv_state_db(x->s),
                                  "SELECT round, status, start_ts, checkpoint_ts, pending_ts, piece, start_piece FROM"
                                  " rounds ORDER BY round",
                                  NULL, 0, &r, err));
    else
        OBV_TRY(obv_db_query(obv_state_db(x->s), err, &r,
                             "SELECT t.round, t.status, t.start_ts, t.checkpoint_ts, t.pending_ts,"
                             " coalesce((SELECT max(piece) FROM pieces p WHERE p.round = t.round AND"
                             " p.tenant_id = t.tenant_id), 0), t.start_piece FROM round_tenants t WHERE"
                             " t.tenant_id = ? ORDER BY t.round",
                             obv_db_u(l->tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_archive_round *o = obv_list_add(&l->r, sizeof *o, err);
        if (!o)
            return OBV_E_NOMEM;
        *o = (obv_archive_round){.tenant_id = l->tenant,
                                 .round = obv_rows_i64(r, 0),
                                 .status = (enum obv_archive_status)obv_rows_i64(r, 1),
                                 .start_ts = obv_rows_i64(r, 2),
                                 .checkpoint_ts = later(obv_rows_i64(r, 3), obv_rows_i64(r, 4)),
                                 .piece_id = obv_rows_i64(r, 5),
                                 .start_piece_id = obv_rows_i64(r, 6),
                                 .incarnation = 1,
                                 .mount_file_created = true,
                                 .compatible = 1};
    }
    return OBV_OK;
}

static obv_code load(obv_job_ctx *x, uint64_t tenant, lists *l, obv_err *err)
{
    l->tenant = tenant ? tenant : SYS_TENANT;
    OBV_TRY(load_rounds(x, l, err));
    return obv_piece_each(x->s, l->tenant, take_piece, l, err);
}

static void make_piece(const obv_job_ctx *x, const obv_piece *in, bool in_list, obv_archive_piece *p)
{
    static const enum obv_piece_status STATES[] = {[OBV_PIECE_STATE_ACTIVE] = OBV_PIECE_ACTIVE,
                                                   [OBV_PIECE_STATE_FREEZING] = OBV_PIECE_FREEZING,
                                                   [OBV_PIECE_STATE_FROZEN] = OBV_PIECE_FROZEN};
    const bool active = in->state == OBV_PIECE_STATE_ACTIVE;
    *p = (obv_archive_piece){.incarnation = 1,
                             .tenant_id = in->tenant_id,
                             .round = in->round,
                             .piece_id = in->piece,
                             .create_date = in->date,
                             .start_ts = in->start_ts,
                             /* OceanBase keeps an active piece's checkpoint in single_piece_info only */
                             .checkpoint_ts = in_list && active ? 0 : later(in->checkpoint_ts, in->pending_ts),
                             .max_ts = in->max_ts,
                             .status = STATES[in->state],
                             .file_status = OBV_PIECE_FILE_AVAILABLE,
                             .compatible = 1,
                             .start_piece_id = in->start_piece};
    (void)snprintf(p->backup_dest, sizeof p->backup_dest, "%s", x->cfg->uri);
}

/* single_piece_info of the round's newest pieces, at most `most` of them, ascending. */
static obv_code put_singles(obv_job_ctx *x, const obv_media_root *root, const lists *l, int64_t round, size_t most,
                            obv_files *out, obv_err *err)
{
    size_t end = l->p.n;
    while (end > 0 && l->p.v[end - 1].round != round)
        end--;
    size_t first = end;
    while (first > 0 && end - first < most && l->p.v[first - 1].round == round)
        first--;
    if (first == end)
        return obv_fail(err, OBV_E_INTERNAL, 0, "tenant %llu is not in round %lld", (unsigned long long)l->tenant,
                        (long long)round);
    for (size_t i = first; i < end; i++) {
        obv_path path;
        const obv_archive_place place = {
            .root = *root, .round = (uint64_t)round, .piece = (uint64_t)l->p.v[i].piece, .piece_date = l->p.v[i].date};
        obv_archive_path_single_piece(&place, l->tenant, &path);
        obv_buf *b = obv_files_add(out, &path, false, err);
        OBV_AUTO(obv_freep) obv_archive_piece *p = malloc(sizeof *p);
        if (!b || !p)
            return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
        make_piece(x, &l->p.v[i], false, p);
        obv_archive_single_piece_emit(p, b);
    }
    return OBV_OK;
}

static obv_code put_pieces(obv_job_ctx *x, const obv_media_root *root, const lists *l, obv_files *out, obv_err *err)
{
    obv_path path;
    if (l->tenant == SYS_TENANT)
        obv_archive_path_cluster_pieces(root, &path);
    else
        obv_archive_path_pieces(root, l->tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    OBV_AUTO(obv_freep) obv_archive_piece *p = calloc(l->p.n ? l->p.n : 1, sizeof *p);
    if (!b || !p)
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    for (size_t i = 0; i < l->p.n; i++)
        make_piece(x, &l->p.v[i], true, &p[i]);
    obv_archive_pieces_emit(p, l->p.n, b);
    return OBV_OK;
}

static obv_code put_rounds(const obv_media_root *root, const lists *l, obv_files *out, obv_err *err)
{
    obv_path path;
    if (l->tenant == SYS_TENANT)
        obv_archive_path_cluster_rounds(root, &path);
    else
        obv_archive_path_rounds(root, l->tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    if (!b)
        return OBV_E_NOMEM;
    obv_archive_rounds_emit(l->r.v, l->r.n, b);
    return OBV_OK;
}

obv_code obv_archive_files_all(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(lists_fini) lists l = {0};
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(load(x, tenant, &l, err));
    OBV_TRY(put_singles(x, &root, &l, round, 2, out, err));
    OBV_TRY(put_pieces(x, &root, &l, out, err));
    return put_rounds(&root, &l, out, err);
}

obv_code obv_archive_files_checkpoint(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(lists_fini) lists l = {0};
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(load(x, tenant, &l, err));
    OBV_TRY(put_singles(x, &root, &l, round, 1, out, err));
    return put_rounds(&root, &l, out, err);
}

obv_code obv_archive_files_begin(obv_job_ctx *x, const obv_round *r, obv_files *out, obv_err *err)
{
    obv_media_root root;
    obv_path path;
    OBV_TRY(obv_ctx_root(x, &root, err));
    const obv_archive_place place = {.root = root, .round = (uint64_t)r->round};
    obv_archive_path_mount_file(&place, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    if (!b)
        return OBV_E_NOMEM;
    obv_archive_mount_file_emit(r->round, b);
    OBV_TRY(obv_names_file(x, &root, out, err));
    return obv_archive_files_all(x, r->round, SYS_TENANT, out, err);
}

obv_code obv_archive_files_server(obv_job_ctx *x, const obv_round *r, const obv_server *server, obv_files *out,
                                  obv_err *err)
{
    obv_media_root root;
    obv_path path;
    OBV_TRY(obv_ctx_root(x, &root, err));
    obv_archive_path_server_start(&root, server->id, server->ip, server->rpc_port, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    if (!b)
        return OBV_E_NOMEM;
    obv_archive_server_start_emit(r->round, r->start_ts, b);
    return OBV_OK;
}
