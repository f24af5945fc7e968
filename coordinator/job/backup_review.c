/* The copies of a set against the schema: what is new, what a copy lacks, what is gone (docs/coordinator.md, "Data
 * backup") */
#define OBV_LOG_MOD "backup"
#include "base/fault.h"
#include "base/log.h"
#include "base/sort.h"
#include "format/ob/keys.h"
#include "job/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_WAIT_MAX_S 30

/* ---- lists of a tenant */

typedef struct copies {
    obv_pg_copy *v;
    size_t n, cap;
} copies;
static void copies_fini(copies *l) { free(l->v); }

/* One row a PG: the pass that counts. */
static obv_code take_copy(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    if (p->state == OBV_PG_REPLACED)
        return OBV_OK;
    obv_pg_copy *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = *p;
    return OBV_OK;
}

static int copy_cmp(const void *a, const void *b)
{
    return obv_pgs_cmp(&((const obv_pg_copy *)a)->key, &((const obv_pg_copy *)b)->key);
}

static obv_code read_copies(obv_job_ctx *x, int64_t set_id, uint64_t tenant, copies *out, obv_err *err)
{
    OBV_TRY(obv_pg_copy_each(x->s, set_id, tenant, -1, UINT32_MAX, take_copy, out, err));
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, copy_cmp);
    return OBV_OK;
}

obv_code obv_schema_list_read(obv_cluster *c, uint64_t tenant, obv_schema_list *out, bool *calm, obv_err *err)
{
    int64_t again = 0;
    OBV_TRY(c->ops->schema_version(c, tenant, &out->version, err));
    OBV_TRY(c->ops->pgs(c, tenant, &out->pgs, &out->contents, err));
    OBV_TRY(c->ops->schema_version(c, tenant, &again, err));
    *calm = again == out->version;
    return OBV_OK;
}

void obv_schema_list_fini(obv_schema_list *l)
{
    obv_pgs_fini(&l->pgs);
    obv_contents_fini(&l->contents);
}

obv_code obv_backup_keep_list(obv_job_ctx *x, obv_set_tenant *t, const obv_schema_list *l, obv_err *err)
{
    OBV_TRY(obv_set_content_clear(x->s, t->set_id, t->tenant_id, err));
    for (size_t i = 0; i < l->contents.n; i++)
        OBV_TRY(obv_set_content_add(x->s, t->set_id, t->tenant_id, l->contents.v[i].owner, l->contents.v[i].id, err));
    t->schema_version = l->version;
    return obv_set_tenant_save(x->s, t, err);
}

/* ---- new and dropped PGs */

static obv_code drop(obv_job_ctx *x, obv_pg_copy *p, obv_err *err)
{
    OBV_INFO("PG %llu/%lld was dropped and leaves set %lld", (unsigned long long)p->key.table_id,
             (long long)obv_pg_key_partition_id(&p->key), (long long)p->set_id);
    p->state = OBV_PG_DROPPED;
    return obv_pg_copy_save(x->s, p, err);
}

static obv_code compare_lists(obv_job_ctx *x, int64_t set_id, uint64_t tenant, const obv_pgs *list,
                              obv_backup_review *r, obv_err *err)
{
    OBV_AUTO(copies_fini) copies have = {0};
    size_t at = 0;
    OBV_TRY(read_copies(x, set_id, tenant, &have, err));
    for (size_t i = 0; i < list->n; i++) {
        while (at < have.n && obv_pgs_cmp(&have.v[at].key, &list->v[i]) < 0)
            at++;
        const bool known = at < have.n && obv_pgs_cmp(&have.v[at].key, &list->v[i]) == 0;
        if (known && have.v[at].state != OBV_PG_DROPPED)
            continue;
        /* one that was taken for dropped begins behind what it has left on the destination */
        OBV_TRY(known ? obv_pg_copy_next(x->s, &have.v[at], 0, err)
                      : obv_pg_copy_add(x->s, set_id, tenant, &list->v[i], 1, err));
        r->added++;
    }
    for (size_t i = 0; i < have.n; i++) {
        if (have.v[i].state == OBV_PG_DROPPED || obv_pgs_contain(list, &have.v[i].key))
            continue;
        OBV_TRY(drop(x, &have.v[i], err));
        r->dropped++;
    }
    return OBV_OK;
}

/* ---- what copies lack */

typedef struct contents {
    obv_contents wanted;
    copies lacking;
    uint64_t first; /* what the first of them lacks */
} contents;
static void contents_fini(contents *c)
{
    obv_contents_fini(&c->wanted);
    free(c->lacking.v);
}

static obv_code take_content(void *ctx, uint64_t owner, uint64_t id, obv_err *err)
{
    obv_content *o = obv_list_add(ctx, sizeof *o, err);
    if (!o)
        return OBV_E_NOMEM;
    *o = (obv_content){owner, id};
    return OBV_OK;
}

static obv_code look_into(void *ctx, const obv_pg_copy *p, const uint64_t *ids, size_t n, obv_err *err)
{
    contents *c = ctx;
    size_t wanted = 0;
    const obv_content *w = obv_contents_of(&c->wanted, p->key.table_id, &wanted);
    for (size_t i = 0; i < wanted; i++) {
        if (n && bsearch(&w[i].id, ids, n, sizeof *ids, obv_cmp_u64))
            continue;
        obv_pg_copy *o = obv_list_add(&c->lacking, sizeof *o, err);
        if (!o)
            return OBV_E_NOMEM;
        *o = *p;
        if (c->lacking.n == 1)
            c->first = w[i].id;
        return OBV_OK;
    }
    return OBV_OK;
}

/* A replica that has not built an index yet may need a while, or never have it: each pass waits longer. */
static int64_t again_at(const obv_job_ctx *x, const obv_pg_copy *p)
{
    const int64_t s = p->pass < 5 ? (INT64_C(1) << p->pass) - 1 : AGAIN_WAIT_MAX_S;
    return obv_ctx_now(x) + s * OBV_US_PER_S;
}

static obv_code compare_contents(obv_job_ctx *x, int64_t set_id, uint64_t tenant, obv_backup_review *r, obv_err *err)
{
    OBV_AUTO(contents_fini) contents c = {0};
    OBV_TRY(obv_set_content_each(x->s, set_id, tenant, take_content, &c.wanted, err));
    OBV_TRY(obv_pg_contents_each(x->s, set_id, tenant, look_into, &c, err));
    for (size_t i = 0; i < c.lacking.n; i++) {
        obv_pg_copy p;
        OBV_TRY(obv_pg_copy_get(x->s, set_id, &c.lacking.v[i].key, c.lacking.v[i].pass, &p, err));
        OBV_TRY(obv_pg_copy_next(x->s, &p, again_at(x, &p), err));
        r->again++;
    }
    if (c.lacking.n && !r->lacking[0])
        (void)snprintf(r->lacking, sizeof r->lacking, "PG %llu/%lld, copied by agent %s, lacks table or index %llu",
                       (unsigned long long)c.lacking.v[0].key.table_id,
                       (long long)obv_pg_key_partition_id(&c.lacking.v[0].key), c.lacking.v[0].agent_id,
                       (unsigned long long)c.first);
    return OBV_OK;
}

/* ---- reviews */

obv_code obv_backup_review_tenant(obv_job_ctx *x, obv_cluster *c, const obv_job *job, obv_set_tenant *t,
                                  obv_backup_review *r, obv_err *err)
{
    OBV_AUTO(obv_schema_list_fini) obv_schema_list list = {0};
    obv_backup_review mine = {.calm = true};
    int64_t now = 0;
    OBV_TRY(c->ops->schema_version(c, t->tenant_id, &now, err));
    const bool moved = now != t->schema_version;
    if (moved)
        OBV_TRY(obv_schema_list_read(c, t->tenant_id, &list, &mine.calm, err));
    if (!mine.calm) {
        r->calm = false;
        return OBV_OK;
    }
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    if (moved) {
        if (!OBV_BUG_STRIKES("bug.a4_lists_not_closed"))
            OBV_TRY(compare_lists(x, t->set_id, t->tenant_id, &list.pgs, &mine, err));
        OBV_TRY(obv_backup_keep_list(x, t, &list, err));
    }
    if (!OBV_BUG_STRIKES("bug.a4_contents_not_closed"))
        OBV_TRY(compare_contents(x, t->set_id, t->tenant_id, &mine, err));
    if (moved || mine.again)
        OBV_TRY(obv_event_add(x->s, job->id, obv_ctx_now(x), err,
                              "tenant %s at schema version %lld: %u PGs are new, %u are copied again, %u were dropped",
                              t->name, (long long)t->schema_version, mine.added, mine.again, mine.dropped));
    OBV_TRY(obv_state_commit(&tx, err));
    OBV_FAULT("coordinator.backup_reviewed");
    r->added += mine.added;
    r->again += mine.again;
    r->dropped += mine.dropped;
    if (mine.lacking[0] && !r->lacking[0])
        (void)snprintf(r->lacking, sizeof r->lacking, "%s", mine.lacking);
    return OBV_OK;
}

obv_code obv_backup_drop_gone(obv_job_ctx *x, obv_cluster *c, const obv_set_tenant *t, obv_err *err)
{
    OBV_AUTO(obv_schema_list_fini) obv_schema_list list = {0};
    OBV_AUTO(copies_fini) copies have = {0};
    int64_t now = 0;
    bool calm = false;
    OBV_TRY(c->ops->schema_version(c, t->tenant_id, &now, err));
    if (now == t->schema_version)
        return OBV_OK;
    OBV_TRY(obv_schema_list_read(c, t->tenant_id, &list, &calm, err));
    if (!calm)
        return OBV_OK;
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(x->s, &tx, err));
    OBV_TRY(read_copies(x, t->set_id, t->tenant_id, &have, err));
    for (size_t i = 0; i < have.n; i++)
        if ((have.v[i].state == OBV_PG_PENDING || have.v[i].state == OBV_PG_FAILED) &&
            !obv_pgs_contain(&list.pgs, &have.v[i].key))
            OBV_TRY(drop(x, &have.v[i], err));
    return obv_state_commit(&tx, err);
}

/* ---- tables that left their tablegroup's PGs */

typedef struct ids {
    uint64_t *v;
    size_t n, cap;
} ids;

typedef struct leaving {
    obv_contents wanted;
    int64_t task_id;
    ids found;
} leaving;
static void leaving_fini(leaving *l)
{
    obv_contents_fini(&l->wanted);
    free(l->found.v);
}

static obv_code take_wanted(void *ctx, uint64_t owner, uint64_t id, obv_err *err)
{
    return take_content(&((leaving *)ctx)->wanted, owner, id, err);
}

static bool is_wanted(const obv_content *w, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (w[i].id == id)
            return true;
    return false;
}

static obv_code find_leaving(void *ctx, const obv_pg_copy *p, const uint64_t *held, size_t n, obv_err *err)
{
    leaving *l = ctx;
    size_t wanted = 0;
    const obv_content *w = obv_contents_of(&l->wanted, p->key.table_id, &wanted);
    if (p->task_id != l->task_id || !obv_table_id_is_tablegroup(p->key.table_id))
        return OBV_OK;
    for (size_t i = 0; i < n; i++) {
        if (is_wanted(w, wanted, held[i]))
            continue;
        uint64_t *o = obv_list_add(&l->found, sizeof *o, err);
        if (!o)
            return OBV_E_NOMEM;
        *o = held[i];
    }
    return OBV_OK;
}

obv_code obv_backup_dropped(obv_job_ctx *x, int64_t set_id, uint64_t tenant, uint64_t task_id, uint64_t **out,
                            size_t *n, obv_err *err)
{
    OBV_AUTO(leaving_fini) leaving l = {.task_id = (int64_t)task_id};
    OBV_TRY(obv_set_content_each(x->s, set_id, tenant, take_wanted, &l, err));
    OBV_TRY(obv_pg_contents_each(x->s, set_id, tenant, find_leaving, &l, err));
    if (l.found.n)
        qsort(l.found.v, l.found.n, sizeof *l.found.v, obv_cmp_u64);
    *n = 0;
    for (size_t i = 0; i < l.found.n; i++)
        if (i == 0 || l.found.v[i] != l.found.v[i - 1])
            l.found.v[(*n)++] = l.found.v[i];
    *out = OBV_STEAL(l.found.v);
    return OBV_OK;
}
