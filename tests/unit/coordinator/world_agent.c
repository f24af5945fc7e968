#include "coordinator/world.h"
#include "job/plan_check.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void world_agent_begin(world_agent *a, world *w, unsigned host)
{
    *a = (world_agent){.w = w, .next_report = 1};
    a->hello =
        (obv_hello){.session = 100 + host, .rpc_port = 2882, .sql_port = 2881, .cluster_id = 7, .batch_slots = 2};
    (void)snprintf(a->hello.ip, sizeof a->hello.ip, "127.0.0.%u", host + 2);
    (void)snprintf(a->hello.agent_id, sizeof a->hello.agent_id, "127.0.0.%u:2882", host + 2);
    (void)snprintf(a->hello.version, sizeof a->hello.version, "0.1.0");
    (void)snprintf(a->hello.cluster_name, sizeof a->hello.cluster_name, "obshop");
}

void world_agent_end(world_agent *a)
{
    free(a->reports);
    free(a->list);
}

/* A new process: its journal still has tasks and reports, its archive list is gone. */
void world_agent_restart(world_agent *a)
{
    a->hello.session += 1000;
    a->hello.seq = 0;
    a->list_revision = 0;
    a->list_count = 0;
    a->said_count = 0;
}

/* ---- doing tasks */

typedef struct doing {
    world_agent *a;
    world_task *t;
} doing;

static obv_code put_file(void *ctx, const obv_put_file *f, obv_err *err)
{
    (void)err;
    doing *d = ctx;
    if (d->t->state != OBV_REPORT_DONE)
        return OBV_OK;
    world_store(d->a->w, f->path, f->content);
    return OBV_OK;
}

static bool leads(const world_agent *a, const obv_pg_key *key)
{
    const unsigned host = (unsigned)(a - a->w->agents);
    for (uint32_t i = 0; i < 256; i++) {
        const obv_pg_key k = world_pg(obv_pg_key_tenant(key), i);
        if (obv_pg_key_equal(&k, key))
            return host == (i + a->w->cluster.leader_shift) % WORLD_HOSTS;
    }
    return false;
}

static obv_code copy_pg(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    doing *d = ctx;
    world_agent *a = d->a;
    if (p->state != OBV_PG_DOING)
        return OBV_OK;
    struct {
        world_report *v;
        size_t n, cap;
    } list = {a->reports, a->report_count, a->report_cap};
    world_report *wr = obv_list_add(&list, sizeof *wr, err);
    assert_non_null(wr);
    obv_pg_report *r = &wr->r;
    a->reports = list.v;
    a->report_count = list.n;
    a->report_cap = list.cap;
    *r = (obv_pg_report){.report_id = a->next_report++,
                         .epoch = d->t->t.epoch,
                         .pg = p->key,
                         .blocks = 5,
                         .blocks_stored = 5 - a->drop_blocks,
                         .bytes_read = 1000,
                         .bytes_written = 1100,
                         .partitions = 1,
                         .last_submit_ts = a->w->now_us - 500000 - (int64_t)(p->key.table_id & 15),
                         .last_replay_log_id = 9,
                         .publish_version = a->w->now_us - 400000,
                         .lower_bound = a->w->now_us - 900000,
                         .schema_version = 1000};
    (void)snprintf(r->task_uid, sizeof r->task_uid, "%s", d->t->t.uid);
    assert_int_equal(p->pass, d->t->t.pass); /* all PGs of a batch are in its pass */
    r->pass = p->pass;
    r->content_count = world_contents(a->w, &p->key, wr->contents);
    if (a->unready && (p->key.table_id >> 39 & 1) == 0)
        r->content_count = 1;
    if (a->fenced) {
        (void)obv_fail(&r->error, OBV_E_FENCED, 0, "another attempt has put the major index of this PG");
        a->fenced = false;
    }
    if (a->fail_next_pg != OBV_OK) {
        (void)obv_fail(&r->error, a->fail_next_pg, 0, "made to fail");
        (void)obv_hint(&r->error, "the agent's own hint");
        a->fail_next_pg = OBV_OK;
    }
    if (a->behind && !leads(a, &p->key))
        (void)obv_fail(&r->error, OBV_E_PRECONDITION, 0, "the replica lies behind the archive's beginning");
    return OBV_OK;
}

/* Files that the coordinator made are looked up, objects of PGs are there unless the test says otherwise. */
static obv_code look_up(void *ctx, const obv_check_object *o, obv_err *err)
{
    doing *d = ctx;
    const bool made = o->presence && !strstr(o->path, "/meta_file_");
    (void)err;
    d->a->looked_up++;
    if ((made && !world_has_file(d->a->w, o->path)) || (d->a->lost_object && strstr(o->path, d->a->lost_object))) {
        d->t->state = OBV_REPORT_FAILED;
        d->t->wrong++;
        if (d->t->error.code == OBV_OK)
            (void)obv_fail(&d->t->error, OBV_E_CORRUPT, 0, "missing: %s", o->path);
    }
    return OBV_OK;
}

static void verify(world_agent *a, world_task *t)
{
    obv_err err = {0};
    doing d = {a, t};
    assert_int_equal(obv_plan_check_page(&a->w->ctx[OBV_JOB_CHECK], &t->t, &a->looked_deep, look_up, &d, &err), OBV_OK);
    if (a->fail_next_look != OBV_OK) {
        t->state = OBV_REPORT_FAILED;
        t->error = (obv_err){0};
        (void)obv_fail(&t->error, a->fail_next_look, 0, "made to fail");
        a->fail_next_look = OBV_OK;
    }
}

static void do_task(world_agent *a, world_task *t)
{
    obv_err err = {0};
    doing d = {a, t};
    t->state = OBV_REPORT_DONE;
    switch (t->t.kind) {
    case OBV_TASK_PUT_FILES:
        if (a->fail_next_put != OBV_OK) {
            t->state = OBV_REPORT_FAILED;
            (void)obv_fail(&t->error, a->fail_next_put, 0, "made to fail");
            a->fail_next_put = OBV_OK;
        }
        assert_int_equal(obv_put_file_each(a->w->state, t->t.job_id, t->t.name, put_file, &d, &err), OBV_OK);
        break;
    case OBV_TASK_BATCH:
        assert_int_equal(obv_pg_copy_of_task(a->w->state, t->t.uid, copy_pg, &d, &err), OBV_OK);
        break;
    case OBV_TASK_INIT_REPOSITORY: {
        obv_repository r;
        assert_int_equal(obv_state_repository(a->w->state, &r, &err), OBV_OK);
        (void)snprintf(a->w->media_uuid, sizeof a->w->media_uuid, "%s", r.uuid);
        break;
    }
    case OBV_TASK_FINISH_METAS:
        break;
    case OBV_TASK_VERIFY_OBJECTS:
        verify(a, t);
        break;
    }
}

static obv_code take_task(void *ctx, const obv_task *t, obv_err *err)
{
    (void)err;
    world_agent *a = ctx;
    assert_true(a->task_count < WORLD_TASKS);
    world_task *w = &a->tasks[a->task_count++];
    *w = (world_task){.t = *t};
    do_task(a, w);
    return OBV_OK;
}

/* ---- reports */

typedef struct metas {
    obv_meta_entry v[256];
    size_t n;
    uint64_t task_id;
} metas;

static obv_code add_meta(void *ctx, const obv_pg_copy *p, obv_err *err)
{
    (void)err;
    metas *m = ctx;
    if ((uint64_t)p->task_id == m->task_id) {
        m->v[m->n] = (obv_meta_entry){p->key, 48 + 100 * (int64_t)m->n, 100, 1, 5};
        m->n++;
    }
    return OBV_OK;
}

static void report_tasks(world_agent *a, obv_turn *turn)
{
    obv_err err = {0};
    for (size_t i = 0; i < a->task_count; i++) {
        world_task *t = &a->tasks[i];
        obv_task_report r = {.epoch = t->t.epoch, .state = t->state, .error = t->error, .blocks_total = t->wrong};
        (void)snprintf(r.uid, sizeof r.uid, "%s", t->t.uid);
        if (t->t.kind == OBV_TASK_FINISH_METAS) {
            metas *m = calloc(1, sizeof *m);
            assert_non_null(m);
            m->task_id = t->t.task_id;
            assert_int_equal(
                obv_pg_copy_each(a->w->state, t->t.set_id, t->t.tenant_id, OBV_PG_FINISH, 256, add_meta, m, &err),
                OBV_OK);
            assert_int_equal(obv_turn_metas(turn, r.uid, m->v, m->n, &err), OBV_OK);
            free(m);
        }
        assert_int_equal(obv_turn_task(turn, &r, &err), OBV_OK);
    }
}

static void report_archive(world_agent *a, obv_turn *turn)
{
    obv_tenant_archive t[8] = {0};
    size_t n = 0;
    for (size_t i = 0; i < a->said_count && a->list_stop; i++) /* as it was, under the list that ends it */
        t[n++] = a->said[i];
    for (size_t i = 0; i < a->list_count && a->list_count == a->total && !a->list_stop; i++) {
        size_t k = 0;
        const uint64_t tenant = obv_pg_key_tenant(&a->list[i].key);
        while (k < n && t[k].tenant_id != tenant)
            k++;
        n = k == n ? n + 1 : n;
        if (a->list[i].epoch <= a->fenced_epoch)
            (void)obv_fail(&t[k].error, OBV_E_FENCED, 0, "a later epoch is at work");
        t[k].tenant_id = tenant;
        t[k].pgs++;
    }
    for (size_t k = 0; k < n; k++) {
        t[k].revision = a->list_revision;
        const bool hole = a->interrupted && (a->interrupted_tenant == 0 || a->interrupted_tenant == t[k].tenant_id);
        t[k].state = hole ? OBV_TENANT_ARCHIVE_INTERRUPTED : OBV_TENANT_ARCHIVE_DOING;
        t[k].piece_min = (uint64_t)a->piece;
        t[k].submit_ts_max = a->submit_ts ? a->submit_ts : a->w->now_us;
        t[k].oldest_clog_file = a->needed_file ? 100 : 0;
        t[k].newest_clog_file = 120;
        t[k].needed_clog_file = a->needed_file;
        t[k].gap_in_s = a->gap_in_s;
        t[k].pgs_started = t[k].pgs;
        t[k].pgs_sampled = t[k].pgs - (uint32_t)(a->unsampled < t[k].pgs ? a->unsampled : t[k].pgs);
        t[k].round_start_ts_max = a->w->now_us - 60000000;
        t[k].checkpoint_min = t[k].pgs_sampled == t[k].pgs ? a->w->now_us - a->archive_lag_us : 0;
        if (a->archive_error != OBV_OK) {
            (void)obv_fail(&t[k].error, a->archive_error, 28, "append: No space left on device");
            t[k].checkpoint_min = 1;
        }
        if (t[k].error.code == OBV_E_FENCED)
            t[k].checkpoint_min = 1;
        if (hole)
            (void)obv_fail(&t[k].error, OBV_E_LOG_GAP, 0, "log 77 is gone");
    }
    if (n > 0)
        memcpy(a->said, t, sizeof t);
    a->said_count = n;
    obv_turn_archive(turn, a->list_revision, (uint32_t)a->list_count, t, n);
}

static obv_code take_pg(void *ctx, const obv_archive_pg *p, obv_err *err)
{
    world_agent *a = ctx;
    struct {
        obv_archive_pg *v;
        size_t n, cap;
    } list = {a->list, a->list_count, a->list_cap};
    obv_archive_pg *o = obv_list_add(&list, sizeof *o, err);
    assert_non_null(o);
    *o = *p;
    a->list = list.v;
    a->list_count = list.n;
    a->list_cap = list.cap;
    return OBV_OK;
}

static void forget(world_agent *a, const char *uid)
{
    for (size_t i = 0; i < a->task_count; i++)
        if (strcmp(a->tasks[i].t.uid, uid) == 0) {
            memmove(&a->tasks[i], &a->tasks[i + 1], (a->task_count - i - 1) * sizeof *a->tasks);
            a->task_count--;
            return;
        }
}

void world_agent_call(world_agent *a)
{
    obv_err err = {0};
    obv_turn turn;
    obv_archive_page_out page;
    a->hello.seq++;
    (void)snprintf(a->hello.repository_uuid, sizeof a->hello.repository_uuid, "%s",
                   a->hello.repository_error.code == OBV_OK ? a->w->media_uuid : "");
    if (obv_turn_begin(a->w->registry, &a->hello, &turn, &err) != OBV_OK) {
        obv_turn_drop(&turn);
        print_message("agent %s: %s\n", a->hello.agent_id, err.msg);
        fail();
    }
    for (size_t i = 0; i < a->report_count; i++) {
        obv_pg_report *r = &a->reports[i].r;
        r->contents = a->reports[i].contents;
        for (size_t k = 0; r->error.code == OBV_OK && k < (a->objects_per_pg ? a->objects_per_pg : 1); k++) {
            char name[64];
            (void)snprintf(name, sizeof name, "data/%llu/x%zu", (unsigned long long)r->pg.table_id, k);
            assert_int_equal(
                obv_turn_pg_object(&turn, r, name, 5, obv_span_of("0123456789abcdef0123456789abcdef", 32), &err),
                OBV_OK);
        }
        assert_int_equal(obv_turn_pg(&turn, r, &err), OBV_OK);
    }
    a->report_count = 0; /* acknowledged by this call */
    report_tasks(a, &turn);
    report_archive(a, &turn);
    assert_int_equal(obv_turn_tasks(&turn, take_task, a, &err), OBV_OK);
    obv_archive_pg *before = a->list;
    const size_t before_count = a->list_count, before_cap = a->list_cap;
    a->list = NULL;
    a->list_count = a->list_cap = 0;
    assert_int_equal(obv_turn_page(&turn, &page, take_pg, a, &err), OBV_OK);
    if (!page.due || (page.first && page.revision == a->list_revision)) {
        /* nothing, or more of the same list */
        obv_archive_pg *more = a->list;
        const size_t n = a->list_count;
        a->list = before;
        a->list_count = before_count;
        a->list_cap = before_cap;
        for (size_t i = 0; i < n; i++)
            (void)take_pg(a, &more[i], &err);
        free(more);
    } else {
        free(before);
    }
    if (page.due) {
        a->list_revision = page.revision;
        a->total = page.total;
        a->list_stop = page.stop;
        a->list_piece = page.piece;
        a->list_date = page.piece_date;
        if (!a->stays)
            a->piece = page.piece;
    }
    const size_t forget_count = turn.forget_count;
    char uids[OBV_AGENT_TASKS_MAX][OBV_TASK_UID_MAX];
    memcpy(uids, turn.forget, sizeof uids);
    assert_int_equal(obv_turn_commit(&turn, &err), OBV_OK);
    for (size_t i = 0; i < forget_count; i++)
        forget(a, uids[i]);
}
