#include "job/archive_files.h"

#include "format/media/archive_infos.h"
#include "format/media/archive_paths.h"
#include "job/names.h"

#include <stdio.h>
#include <stdlib.h>

#define SYS_TENANT 1u

/* One round as seen by one tenant, whatever table it comes from. */
typedef struct line {
    int64_t round;
    obv_round_status status;
    int64_t start_ts, checkpoint_ts, max_ts;
} line;
typedef struct lines {
    line *v;
    size_t n, cap;
} lines;
static void lines_fini(lines *l) { free(l->v); }

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

static obv_code load(obv_job_ctx *x, uint64_t tenant, lines *out, obv_err *err)
{
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    if (tenant == SYS_TENANT)
        OBV_TRY(obv_db_query_args(obv_state_db(x->s),
                                  "SELECT round, status, start_ts, checkpoint_ts, pending_ts, max_ts FROM rounds"
                                  " ORDER BY round",
                                  NULL, 0, &r, err));
    else
        OBV_TRY(obv_db_query(obv_state_db(x->s), err, &r,
                             "SELECT t.round, t.status, t.start_ts, t.checkpoint_ts, t.pending_ts, r.max_ts"
                             " FROM round_tenants t JOIN rounds r ON r.round = t.round WHERE t.tenant_id = ?"
                             " ORDER BY t.round",
                             obv_db_u(tenant)));
    for (obv_code code; (code = obv_rows_next(r, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        line *l = obv_list_add(out, sizeof *l, err);
        if (!l)
            return OBV_E_NOMEM;
        *l = (line){.round = obv_rows_i64(r, 0),
                    .status = (obv_round_status)obv_rows_i64(r, 1),
                    .start_ts = obv_rows_i64(r, 2),
                    .checkpoint_ts = later(obv_rows_i64(r, 3), obv_rows_i64(r, 4)),
                    .max_ts = obv_rows_i64(r, 5)};
    }
    return OBV_OK;
}

static void make_piece(const obv_job_ctx *x, uint64_t tenant, const line *l, bool in_list, obv_archive_piece *p)
{
    const bool frozen = l->status == OBV_ROUND_STOP;
    *p = (obv_archive_piece){.incarnation = 1,
                             .tenant_id = tenant,
                             .round = l->round,
                             .start_ts = l->start_ts,
                             /* OceanBase keeps an active piece's checkpoint in single_piece_info only */
                             .checkpoint_ts = in_list && !frozen ? 0 : l->checkpoint_ts,
                             .max_ts = frozen ? later(l->max_ts, l->checkpoint_ts) : INT64_MAX,
                             .status = frozen ? OBV_PIECE_FROZEN : OBV_PIECE_ACTIVE,
                             .file_status = OBV_PIECE_FILE_AVAILABLE,
                             .compatible = 1};
    (void)snprintf(p->backup_dest, sizeof p->backup_dest, "%s", x->cfg->uri);
}

static obv_code put_single(obv_job_ctx *x, const obv_media_root *root, uint64_t tenant, int64_t round, const lines *l,
                           obv_files *out, obv_err *err)
{
    obv_path path;
    const obv_archive_place place = {.root = *root, .round = (uint64_t)round};
    obv_archive_path_single_piece(&place, tenant, &path);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].round != round)
            continue;
        obv_buf *b = obv_files_add(out, &path, false, err);
        obv_archive_piece *p = malloc(sizeof *p);
        if (!b || !p) {
            free(p);
            return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
        }
        make_piece(x, tenant, &l->v[i], false, p);
        obv_archive_single_piece_emit(p, b);
        free(p);
        return OBV_OK;
    }
    return obv_fail(err, OBV_E_INTERNAL, 0, "tenant %llu is not in round %lld", (unsigned long long)tenant,
                    (long long)round);
}

static obv_code put_pieces(obv_job_ctx *x, const obv_media_root *root, uint64_t tenant, const lines *l, obv_files *out,
                           obv_err *err)
{
    obv_path path;
    if (tenant == SYS_TENANT)
        obv_archive_path_cluster_pieces(root, &path);
    else
        obv_archive_path_pieces(root, tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    obv_archive_piece *p = calloc(l->n ? l->n : 1, sizeof *p);
    if (!b || !p) {
        free(p);
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    }
    for (size_t i = 0; i < l->n; i++)
        make_piece(x, tenant, &l->v[i], true, &p[i]);
    obv_archive_pieces_emit(p, l->n, b);
    free(p);
    return OBV_OK;
}

static obv_code put_rounds(const obv_media_root *root, uint64_t tenant, const lines *l, obv_files *out, obv_err *err)
{
    obv_path path;
    if (tenant == SYS_TENANT)
        obv_archive_path_cluster_rounds(root, &path);
    else
        obv_archive_path_rounds(root, tenant, &path);
    obv_buf *b = obv_files_add(out, &path, false, err);
    obv_archive_round *r = calloc(l->n ? l->n : 1, sizeof *r);
    if (!b || !r) {
        free(r);
        return obv_fail(err, OBV_E_NOMEM, 0, "%s", path.s);
    }
    for (size_t i = 0; i < l->n; i++)
        r[i] = (obv_archive_round){.tenant_id = tenant,
                                   .start_ts = l->v[i].start_ts,
                                   .checkpoint_ts = l->v[i].checkpoint_ts,
                                   .incarnation = 1,
                                   .round = l->v[i].round,
                                   .status = (enum obv_archive_status)l->v[i].status,
                                   .mount_file_created = true,
                                   .compatible = 1};
    obv_archive_rounds_emit(r, l->n, b);
    free(r);
    return OBV_OK;
}

obv_code obv_archive_files_all(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(lines_fini) lines l = {0};
    tenant = tenant ? tenant : SYS_TENANT;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(load(x, tenant, &l, err));
    OBV_TRY(put_single(x, &root, tenant, round, &l, out, err));
    OBV_TRY(put_pieces(x, &root, tenant, &l, out, err));
    return put_rounds(&root, tenant, &l, out, err);
}

obv_code obv_archive_files_checkpoint(obv_job_ctx *x, int64_t round, uint64_t tenant, obv_files *out, obv_err *err)
{
    obv_media_root root;
    OBV_AUTO(lines_fini) lines l = {0};
    tenant = tenant ? tenant : SYS_TENANT;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(load(x, tenant, &l, err));
    OBV_TRY(put_single(x, &root, tenant, round, &l, out, err));
    return put_rounds(&root, tenant, &l, out, err);
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
