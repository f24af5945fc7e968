#define OBV_LOG_MOD "check"
#include "job/plan_check.h"

#include "base/log.h"
#include "job/checks.h"
#include "job/names.h"
#include "job/plan.h"
#include "state/rounds.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_US (3 * OBV_US_PER_S)
#define PAGE_S 600u
#define DEEP_BYTES (256u << 20) /* read by one task: an agent's small tasks, checkpoints too, wait behind it */
#define INFOS_MAX 512u          /* what one task takes */

/*
 * The job's own row is a restore's that has no target: `status` says how deep, pgs and pgs_done count objects,
 * blocks_done the wrong ones, and `info` is the last path of the pages before.
 */
static const char DEEP[] = "deep", SIZES[] = "sizes";

obv_code obv_plan_check_get(obv_job_ctx *x, const obv_job *job, obv_plan_check *out, obv_err *err)
{
    obv_restore r;
    OBV_TRY(obv_restore_get(x->s, job->id, &r, err));
    *out = (obv_plan_check){
        .deep = strcmp(r.status, DEEP) == 0, .objects = r.pgs, .checked = r.pgs_done, .wrong = r.blocks_done};
    return OBV_OK;
}

/* ---- pages */

static obv_code set_of(const obv_job_ctx *x, const obv_restore *r, obv_set_id *out, obv_err *err)
{
    obv_set s;
    OBV_TRY(obv_set_get(x->s, r->set_id, &s, err));
    *out = (obv_set_id){.tenant_id = r->tenant_id, .set_id = s.id, .full_set_id = s.full_set_id, .date = s.date};
    return OBV_OK;
}

/* The first page: a bounded list of files whose sizes nobody has kept. */
typedef struct infos {
    const obv_restore *r;
    const obv_media_root *root;
    const obv_set_id *id;
    obv_check_object_fn *fn;
    void *ctx;
    size_t n;
} infos;

static obv_code give_path(infos *l, const obv_path *p, obv_err *err)
{
    obv_check_object o = {.presence = true};
    if (l->n++ >= INFOS_MAX)
        return OBV_OK;
    (void)snprintf(o.path, sizeof o.path, "%s", p->s);
    return l->fn(l->ctx, &o, err);
}

static obv_code give_meta_file(void *ctx, uint64_t tenant, uint64_t task_id, const char *agent_id, obv_err *err)
{
    infos *l = ctx;
    obv_path path;
    (void)agent_id;
    if (tenant != l->r->tenant_id)
        return OBV_OK;
    obv_path_meta_file(l->root, l->id, (int64_t)task_id, &path);
    return give_path(l, &path, err);
}

/* What stock OceanBase opens by name before any PG. */
static obv_code give_infos(const obv_job_ctx *x, const obv_restore *r, obv_check_object_fn *fn, void *ctx, obv_err *err)
{
    static const char *const OF_INC[] = {OBV_NAME_TENANT_LOCALITY_INFO, OBV_NAME_SYS_PG_LIST, OBV_NAME_NORMAL_PG_LIST,
                                         OBV_NAME_META_INDEX_FILE};
    OBV_AUTO(obv_window_data_fini) obv_window_data w = {0};
    obv_job_ctx y = *x;
    obv_media_root root;
    obv_set_id id;
    obv_path path;
    size_t set = 0, first = 0, last = 0;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(set_of(x, r, &id, err));
    infos l = {.r = r, .root = &root, .id = &id, .fn = fn, .ctx = ctx};
    obv_path_set_file(&root, &id, OBV_NAME_SINGLE_BACKUP_SET_INFO, &path);
    OBV_TRY(give_path(&l, &path, err));
    for (size_t i = 0; i < sizeof OF_INC / sizeof *OF_INC; i++) {
        obv_path_inc_file(&root, &id, OF_INC[i], &path);
        OBV_TRY(give_path(&l, &path, err));
    }
    OBV_TRY(obv_window_load(&y, r->tenant_id, &w, err));
    while (set < w.set_count && w.sets[set].set_id != r->set_id)
        set++;
    if (set == w.set_count || !obv_window_pieces(&w.sets[set], w.pieces, w.piece_count, r->until_us, &first, &last))
        return OBV_OK;
    for (size_t i = first; i <= last; i++) {
        obv_window_piece_dir(&root, r->tenant_id, &w.pieces[i], &path);
        obv_path_add(&path, "single_piece_info");
        OBV_TRY(give_path(&l, &path, err));
    }
    return obv_set_task_each(x->s, r->set_id, give_meta_file, &l, err);
}

static obv_code give_objects(const obv_job_ctx *x, const obv_restore *r, bool deep, obv_check_object_fn *fn, void *ctx,
                             obv_err *err)
{
    uint64_t bytes = 0;
    obv_media_root root;
    obv_set_id id;
    obv_path dir;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(set_of(x, r, &id, err));
    obv_path_set_dir(&root, &id, &dir);
    OBV_STATE_READ(x->s);
    OBV_AUTO(obv_rows_drop) obv_rows *rows = NULL;
    OBV_TRY(obv_db_query(obv_state_db(x->s), err, &rows,
                         "SELECT path, size, sha256 FROM pg_objects o WHERE set_id = ? AND tenant_id = ? AND path > ? "
                         "AND " OBV_PLAN_OBJECT_COUNTS " ORDER BY path LIMIT ?",
                         obv_db_i(r->set_id), obv_db_u(r->tenant_id), obv_db_s(r->info), obv_db_i(OBV_CHECK_PAGE)));
    for (obv_code code; (code = obv_rows_next(rows, err)) != OBV_E_NOT_FOUND;) {
        OBV_TRY(code);
        obv_check_object o = {.size = obv_rows_u64(rows, 1)};
        char path[512];
        const obv_span sha = obv_rows_blob(rows, 2);
        obv_rows_copy(rows, 0, path, sizeof path);
        (void)snprintf(o.path, sizeof o.path, "%s/%s", dir.s, path);
        o.presence = sha.len != sizeof o.sha256;
        if (!o.presence)
            memcpy(o.sha256, sha.p, sha.len);
        OBV_TRY(fn(ctx, &o, err));
        bytes += o.size;
        if (deep && bytes >= DEEP_BYTES)
            break;
    }
    return OBV_OK;
}

obv_code obv_plan_check_page(const obv_job_ctx *x, const obv_task *t, bool *deep, obv_check_object_fn *fn, void *ctx,
                             obv_err *err)
{
    obv_restore r;
    OBV_TRY(obv_restore_get(x->s, t->job_id, &r, err));
    *deep = strcmp(r.status, DEEP) == 0;
    return t->pass == 0 ? give_infos(x, &r, fn, ctx, err) : give_objects(x, &r, *deep, fn, ctx, err);
}

/* ---- the job */

obv_code obv_plan_check_begin(obv_job_ctx *x, const char *tenant, int64_t at, bool deep, const char *run_key,
                              obv_job *out, obv_err *err)
{
    OBV_AUTO(obv_plan_fini) obv_plan p = {0};
    bool found = false;
    const obv_code known = obv_job_by_key(x->s, run_key, OBV_JOB_CHECK, out, err);
    if (known != OBV_E_NOT_FOUND)
        return known;
    OBV_TRY(obv_plan_make(x, tenant, at, &p, err));
    OBV_TRY(obv_check_agents(x, true, err));
    obv_restore r = {.tenant_id = p.tenant_id, .until_us = at, .set_id = p.v[0].set_id, .pgs = p.v[0].objects};
    (void)snprintf(r.tenant, sizeof r.tenant, "%s", tenant);
    (void)snprintf(r.status, sizeof r.status, "%s", deep ? DEEP : SIZES);
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_job_create(x->s, OBV_JOB_CHECK, run_key, "DOING", r.set_id, obv_ctx_now(x), out, &found, err));
    if (!found) {
        (void)snprintf(r.job_id, sizeof r.job_id, "%s", out->id);
        OBV_TRY(obv_restore_save(x->s, &r, err));
    }
    return obv_state_commit(&tx, err);
}

typedef struct last_object {
    size_t n, known;
    char path[513];
    size_t skip; /* of the set's directory */
} last_object;

static obv_code take_last(void *ctx, const obv_check_object *o, obv_err *err)
{
    last_object *l = ctx;
    (void)err;
    l->n++;
    l->known += !o->presence;
    (void)snprintf(l->path, sizeof l->path, "%s", o->path + l->skip);
    return OBV_OK;
}

/* A page is over: what it found is kept, and the next one begins behind it. */
static obv_code close_page(obv_job_ctx *x, const obv_job *job, obv_restore *r, const obv_task *t, obv_err *err)
{
    last_object l = {0};
    bool deep = false;
    obv_media_root root;
    obv_set_id id;
    obv_path dir;
    OBV_TRY(obv_ctx_root(x, &root, err));
    OBV_TRY(set_of(x, r, &id, err));
    obv_path_set_dir(&root, &id, &dir);
    l.skip = t->pass ? strlen(dir.s) + 1 : 0;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(obv_plan_check_page(x, t, &deep, take_last, &l, err));
    if (t->pass && l.n)
        (void)snprintf(r->info, sizeof r->info, "%s", l.path);
    else
        r->pgs += (int64_t)l.n;
    r->pgs_done += (int64_t)l.n;
    if (t->status == OBV_TASK_FAILED) {
        r->blocks_done += t->blocks_total ? (int64_t)t->blocks_total : 1;
        if (job->result.code == OBV_OK)
            OBV_TRY(obv_job_note(x->s, job->id, &t->error, err));
    }
    OBV_TRY(obv_restore_save(x->s, r, err));
    OBV_TRY(obv_task_remove(x->s, job->id, t->name, err));
    OBV_TRY(obv_job_move(x->s, job->id, t->pass && l.n == 0 ? "DONE" : "PAGES", obv_ctx_now(x), err));
    return obv_state_commit(&tx, err);
}

static obv_code end(obv_job_ctx *x, const obv_job *job, const obv_restore *r, obv_err *err)
{
    obv_err why = job->result;
    if (r->blocks_done)
        (void)obv_hint(&why,
                       "%lld of %lld objects are missing or not what was stored: restore from another set, find out"
                       " who wrote there, and make a new full backup",
                       (long long)r->blocks_done, (long long)r->pgs);
    return obv_job_end(x->s, job->id, "DONE", r->blocks_done ? &why : NULL, obv_ctx_now(x), err);
}

obv_code obv_plan_check_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err)
{
    obv_restore r;
    *again_ms = 1000;
    OBV_TRY(obv_restore_get(x->s, job->id, &r, err));
    if (strcmp(job->phase, "DONE") == 0)
        return end(x, job, &r, err);
    const bool first = strcmp(job->phase, "DOING") == 0;
    obv_task t = {.kind = OBV_TASK_VERIFY_OBJECTS,
                  .pass = !first,
                  .set_id = r.set_id,
                  .tenant_id = r.tenant_id,
                  .deadline_s = PAGE_S};
    obv_code code = obv_task_get(x->s, job->id, first ? "infos" : "page", &t, err);
    if (code == OBV_E_NOT_FOUND) {
        *err = (obv_err){0};
        (void)snprintf(t.job_id, sizeof t.job_id, "%s", job->id);
        (void)snprintf(t.name, sizeof t.name, "%s", first ? "infos" : "page");
        return obv_task_add(x->s, &t, err);
    }
    OBV_TRY(code);
    if (t.status == OBV_TASK_DONE || (t.status == OBV_TASK_FAILED && t.error.code == OBV_E_CORRUPT))
        return close_page(x, job, &r, &t, err);
    if (t.status != OBV_TASK_FAILED && t.status != OBV_TASK_LOST)
        return OBV_OK;
    if (t.attempts >= 5 || !OBV_IS_RETRYABLE(t.error.code)) {
        *err = t.error;
        return t.error.code;
    }
    OBV_INFO("page of %s is looked at again: %s", job->id, t.error.msg);
    return obv_task_again(x->s, &t, obv_ctx_now(x) + AGAIN_US, err);
}
