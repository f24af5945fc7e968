/* wire_out.c - SyncRequest within its bounds (proto/obvault/v1/agent.proto) */
#include "base/clock.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

enum {
    REPORTS_MAX = 128,
    OBJECTS_MAX = 8192,   /* of all reports of one request: keeps the message below 2 MiB */
    CONTENTS_MAX = 65536, /* the same: another 0.6 MiB */
    TENANTS_MAX = 64,
    BLOCK_BYTES = 256 << 10,
};

/* Memory of one request, freed at once. */
struct block {
    struct block *next;
    size_t used, cap;
    uint8_t bytes[] __attribute__((aligned(16)));
};

struct obv_wire_request {
    Obvault__V1__SyncRequest m;
    struct block *blocks;
    bool failed; /* out of memory */
    bool full;   /* no more reports of PGs */
    size_t objects, contents;
    /* places for lists that are filled by callbacks */
    Obvault__V1__TaskReport *tasks[OBV_TASKS_MAX];
    Obvault__V1__PgCopied *pgs[REPORTS_MAX];
    Obvault__V1__TenantArchive *archive[TENANTS_MAX];
};

static void *take(obv_wire_request *r, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct block *b = r->blocks;
    if (!b || b->cap - b->used < size) {
        const size_t cap = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        b = calloc(1, sizeof *b + cap);
        if (!b) {
            r->failed = true;
            return NULL;
        }
        b->cap = cap;
        b->next = r->blocks;
        r->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += size;
    return p;
}

static char *text(obv_wire_request *r, const char *s)
{
    const size_t len = strlen(s);
    char *copy = take(r, len + 1);
    if (!copy)
        return (char *)(uintptr_t)protobuf_c_empty_string;
    memcpy(copy, s, len + 1);
    return copy;
}

/* Allocates a message of the type and initialises it; NULL when out of memory. */
#define NEW(r, type, init)                                                                                             \
    (__extension__({                                                                                                   \
        type *m_ = take((r), sizeof(type));                                                                            \
        if (m_)                                                                                                        \
            init(m_);                                                                                                  \
        m_;                                                                                                            \
    }))

static Obvault__V1__Error *error_of(obv_wire_request *r, const obv_err *e)
{
    Obvault__V1__Error *m = e->code == OBV_OK ? NULL : NEW(r, Obvault__V1__Error, obvault__v1__error__init);
    if (m) {
        m->code = (int32_t)e->code;
        m->sys = e->sys;
        m->message = text(r, e->msg);
        m->hint = text(r, e->hint);
    }
    return m;
}

static Obvault__V1__PgKey *pg_key_of(obv_wire_request *r, const obv_pg_key *k)
{
    Obvault__V1__PgKey *m = NEW(r, Obvault__V1__PgKey, obvault__v1__pg_key__init);
    if (m) {
        m->table_id = k->table_id;
        m->part_id = (uint32_t)k->part_id;
        m->assist = (uint32_t)k->assist;
    }
    return m;
}

static Obvault__V1__StoredObject *object_of(obv_wire_request *r, const obv_stored_object *o)
{
    Obvault__V1__StoredObject *m = NEW(r, Obvault__V1__StoredObject, obvault__v1__stored_object__init);
    if (m) {
        m->path = text(r, o->path);
        m->size = o->size;
        m->sha256.data = take(r, OBV_SHA_LEN);
        m->sha256.len = m->sha256.data ? OBV_SHA_LEN : 0;
        if (m->sha256.data)
            memcpy(m->sha256.data, o->sha256, OBV_SHA_LEN);
    }
    return m;
}

/* n messages made by make(r, &in[i]); false when out of memory. */
static bool objects_of(obv_wire_request *r, const obv_stored_object *in, size_t n, size_t *n_out,
                       Obvault__V1__StoredObject ***out)
{
    *out = take(r, (n + 1) * sizeof **out);
    for (*n_out = 0; *out && *n_out < n; ++*n_out)
        (*out)[*n_out] = object_of(r, &in[*n_out]);
    return !r->failed;
}

/* ---- tasks */

static void add_metas(obv_wire_request *r, Obvault__V1__TaskReport *m, const obv_task_result *res)
{
    Obvault__V1__MetasStored *s = NEW(r, Obvault__V1__MetasStored, obvault__v1__metas_stored__init);
    if (!s)
        return;
    s->task_id = (uint64_t)res->task_id;
    s->entries = take(r, (res->place_count + 1) * sizeof *s->entries);
    for (size_t i = 0; s->entries && i < res->place_count; i++) {
        Obvault__V1__MetaEntry *e = NEW(r, Obvault__V1__MetaEntry, obvault__v1__meta_entry__init);
        if (!e)
            return;
        e->pg = pg_key_of(r, &res->places[i].pg);
        e->offset = res->places[i].offset;
        e->length = res->places[i].len;
        e->partitions = res->places[i].partitions;
        e->blocks = res->places[i].blocks;
        s->entries[s->n_entries++] = e;
    }
    if (objects_of(r, res->objects, res->object_count, &s->n_objects, &s->objects))
        m->metas = s;
}

static void add_facts(obv_wire_request *r, Obvault__V1__TaskReport *m, const obv_task_result *res)
{
    Obvault__V1__RepositoryFacts *f = NEW(r, Obvault__V1__RepositoryFacts, obvault__v1__repository_facts__init);
    if (!f)
        return;
    f->uuid = text(r, res->repository_uuid);
    f->profile = text(r, res->profile);
    f->capabilities = res->capabilities;
    m->repository = f;
}

static void add_task(void *ctx, const obv_task_report *t)
{
    obv_wire_request *r = ctx;
    Obvault__V1__TaskReport *m = NEW(r, Obvault__V1__TaskReport, obvault__v1__task_report__init);
    Obvault__V1__Progress *p = NEW(r, Obvault__V1__Progress, obvault__v1__progress__init);
    if (!m || !p || r->m.n_tasks == OBV_TASKS_MAX)
        return;
    m->uid = text(r, t->uid);
    m->epoch = t->epoch;
    m->state = (Obvault__V1__TaskState)t->state;
    p->bytes_read = t->progress.bytes_read;
    p->bytes_written = t->progress.bytes_written;
    p->blocks_done = t->progress.blocks_done;
    p->blocks_total = t->progress.blocks_total;
    p->pgs_done = t->progress.pgs_done;
    p->pgs_total = t->progress.pgs_total;
    m->progress = p;
    m->error = error_of(r, t->error);
    if (t->state == OBV_TASK_DONE && t->kind == OBV_TASK_FINISH_METAS)
        add_metas(r, m, t->result);
    if (t->state == OBV_TASK_DONE && t->kind == OBV_TASK_INIT_REPOSITORY)
        add_facts(r, m, t->result);
    r->tasks[r->m.n_tasks++] = m;
}

/* ---- PG reports */

static void add_pg(void *ctx, const obv_pg_report *p)
{
    obv_wire_request *r = ctx;
    if (r->full || r->m.n_pgs == REPORTS_MAX ||
        (r->m.n_pgs && (r->objects + p->object_count > OBJECTS_MAX || r->contents + p->content_count > CONTENTS_MAX))) {
        r->full = true; /* later ones wait too: reports are acknowledged up to a number */
        return;
    }
    Obvault__V1__PgCopied *m = NEW(r, Obvault__V1__PgCopied, obvault__v1__pg_copied__init);
    if (!m)
        return;
    m->report_id = p->report_id;
    m->task_uid = text(r, p->uid);
    m->epoch = p->epoch;
    m->pg = pg_key_of(r, &p->pg);
    m->pass = p->pass;
    m->error = error_of(r, &p->error);
    if (!objects_of(r, p->objects, p->object_count, &m->n_objects, &m->objects))
        return;
    m->objects_rest = p->objects_rest;
    m->blocks = p->result.blocks;
    m->blocks_stored = p->result.blocks_stored;
    m->bytes_read = p->result.bytes_read;
    m->bytes_written = p->result.bytes_written;
    m->partitions = p->result.partitions;
    m->last_submit_ts = p->result.last_submit_ts;
    m->last_replay_log_id = p->result.last_replay_log_id;
    m->publish_version = p->result.publish_version;
    m->lower_bound = p->result.lower_bound;
    m->schema_version = p->result.schema_version;
    m->contents = take(r, (p->content_count + 1) * sizeof *m->contents);
    if (!m->contents)
        return;
    if (p->content_count)
        memcpy(m->contents, p->contents, p->content_count * sizeof *m->contents);
    m->n_contents = p->content_count;
    r->objects += p->object_count;
    r->contents += p->content_count;
    r->pgs[r->m.n_pgs++] = m;
}

/* ---- archive */

static void add_tenant(obv_wire_request *r, const obv_archive_tenant *t)
{
    Obvault__V1__TenantArchive *m = NEW(r, Obvault__V1__TenantArchive, obvault__v1__tenant_archive__init);
    if (!m)
        return;
    m->tenant_id = t->tenant_id;
    m->revision = t->revision;
    m->state = (Obvault__V1__ArchiveState)t->state;
    m->pgs = t->pgs;
    m->pgs_started = t->pgs_started;
    m->pgs_sampled = t->pgs_sampled;
    m->round_start_ts_max = t->round_start_ts_max;
    m->checkpoint_min = t->checkpoint_min;
    m->sample_began_at = t->sample_began_at;
    m->bytes_in = t->bytes_in;
    m->bytes_out = t->bytes_out;
    m->blocking = take(r, (OBV_ARCHIVE_MAX_BLOCKING + 1) * sizeof *m->blocking);
    for (uint32_t i = 0; m->blocking && i < t->blocking_count && i < OBV_ARCHIVE_MAX_BLOCKING; i++)
        m->blocking[m->n_blocking++] = pg_key_of(r, &t->blocking[i]);
    m->error = error_of(r, &t->error);
    m->newest_clog_file = t->newest_clog_file;
    m->oldest_clog_file = t->oldest_clog_file;
    m->needed_clog_file = t->needed_clog_file;
    m->gap_in_s = t->gap_in_s;
    m->piece_min = t->piece_min;
    m->submit_ts_max = t->submit_ts_max;
    r->archive[r->m.n_archive++] = m;
}

static void add_archive(obv_wire_request *r, obv_archive *a)
{
    OBV_AUTO(obv_freep) obv_archive_tenant *tenants = calloc(OBV_ARCHIVE_MAX_TENANTS, sizeof *tenants);
    obv_archive_have have = {0};
    Obvault__V1__ArchiveHave *m = NEW(r, Obvault__V1__ArchiveHave, obvault__v1__archive_have__init);
    if (!tenants || !m) {
        r->failed = true;
        return;
    }
    obv_archive_get_have(a, &have);
    m->revision = have.revision;
    m->received = have.received;
    r->m.archive_have = m;
    const size_t n = obv_archive_report(a, tenants);
    for (size_t i = 0; i < n && i < TENANTS_MAX; i++)
        add_tenant(r, &tenants[i]);
}

/* ---- the rest */

static uint64_t rss_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    (void)fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_runner(obv_wire_request *r, obv_runner *runner)
{
    obv_runner_load load = {0};
    obv_chunk_wanted wanted;
    Obvault__V1__AgentLoad *l = NEW(r, Obvault__V1__AgentLoad, obvault__v1__agent_load__init);
    if (!l)
        return;
    obv_runner_get_load(runner, &load);
    l->batches_running = load.batches_running;
    l->batch_slots = load.batch_slots;
    l->pool_bytes = load.pool_bytes;
    l->pool_used_bytes = load.pool_used_bytes;
    l->rss_bytes = rss_bytes();
    r->m.load = l;
    obv_runner_reports(runner, add_task, r);
    if (!obv_runner_chunk_wanted(runner, &wanted))
        return;
    Obvault__V1__ChunkWanted *w = NEW(r, Obvault__V1__ChunkWanted, obvault__v1__chunk_wanted__init);
    if (!w)
        return;
    w->task_uid = text(r, wanted.uid);
    w->file_index = wanted.file_index;
    w->offset = wanted.offset;
    r->m.chunk_wanted = w;
}

static Obvault__V1__Finding *finding_of(obv_wire_request *r, const obv_finding *f)
{
    Obvault__V1__Finding *m = NEW(r, Obvault__V1__Finding, obvault__v1__finding__init);
    if (m) {
        m->level = (uint32_t)f->level;
        m->code = (int32_t)f->code;
        m->check = text(r, f->check);
        m->where = text(r, f->where);
        m->found = text(r, f->found);
        m->means = text(r, f->means);
        m->next = text(r, f->next);
    }
    return m;
}

static void add_check(obv_wire_request *r, obv_checker *c)
{
    obv_check_report report;
    obv_checker_report(c, &report);
    Obvault__V1__CheckReport *m = report.id ? NEW(r, Obvault__V1__CheckReport, obvault__v1__check_report__init) : NULL;
    if (m) {
        m->id = report.id;
        m->done = report.done;
        m->doing = text(r, report.doing);
        m->now = obv_now_us();
        m->free_known = report.free_known;
        m->free_bytes = report.free_bytes;
        m->repository_uuid = text(r, report.uuid);
        m->findings = take(r, (report.found.n + 1) * sizeof *m->findings);
        for (size_t i = 0; m->findings && i < report.found.n && i < OBV_CHECK_FINDINGS_MAX; i++) {
            Obvault__V1__Finding *f = finding_of(r, &report.found.v[i]);
            if (f)
                m->findings[m->n_findings++] = f;
        }
        r->m.check = m;
    }
    obv_check_report_fini(&report);
}

static void add_server(obv_wire_request *r, const obv_agent_config *cfg)
{
    Obvault__V1__Server *s = NEW(r, Obvault__V1__Server, obvault__v1__server__init);
    if (!s)
        return;
    s->ip = text(r, cfg->observer.ip);
    s->rpc_port = cfg->observer.rpc_port;
    s->sql_port = cfg->observer.sql_port;
    r->m.server = s;
}

static obv_code fill(obv_wire_request *r, const obv_wire_state *s, obv_err *err)
{
    r->m.protocol = 1;
    r->m.agent_id = text(r, s->agent_id);
    r->m.session = s->session;
    r->m.seq = s->seq;
    r->m.version = text(r, OBV_VERSION);
    r->m.cluster_name = text(r, s->cfg->cluster.name);
    r->m.cluster_id = s->cfg->cluster.id;
    add_server(r, s->cfg);
    if (s->repository) {
        r->m.repository_uuid = text(r, s->repository->uuid);
        r->m.repository_profile = text(r, s->repository->profile);
    } else {
        r->m.repository_error = error_of(r, s->repository_error);
    }
    /* tasks before PGs: a batch that is reported as done must not be ahead of its last PG */
    if (s->runner)
        add_runner(r, s->runner);
    OBV_TRY(obv_journal_reports(s->journal, REPORTS_MAX, add_pg, r, err));
    if (s->archive)
        add_archive(r, s->archive);
    if (s->checker)
        add_check(r, s->checker);
    return r->failed ? obv_fail(err, OBV_E_NOMEM, 0, "report: out of memory") : OBV_OK;
}

obv_code obv_wire_request_new(const obv_wire_state *s, obv_wire_request **out, obv_err *err)
{
    obv_wire_request *r = calloc(1, sizeof *r);
    if (!r)
        return obv_fail(err, OBV_E_NOMEM, 0, "report: out of memory");
    obvault__v1__sync_request__init(&r->m);
    r->m.tasks = r->tasks;
    r->m.pgs = r->pgs;
    r->m.archive = r->archive;
    const obv_code code = fill(r, s, err);
    if (code != OBV_OK) {
        obv_wire_request_free(r);
        return code;
    }
    *out = r;
    return OBV_OK;
}

void obv_wire_request_free(obv_wire_request *r)
{
    if (!r)
        return;
    for (struct block *b = r->blocks; b;) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
    free(r);
}

const Obvault__V1__SyncRequest *obv_wire_request_message(const obv_wire_request *r) { return &r->m; }
