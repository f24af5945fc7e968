/* backup_kit.h - a source of made-up PGs, a repository in a folder of its own, and runs of the agent in child processes
 *
 * A PG's content is a function of its key, its state number and the place of each block, so that what lies on the
 * destination can be judged without the source. Counters are shared between processes.
 */
#ifndef OBV_TEST_BACKUP_KIT_H
#define OBV_TEST_BACKUP_KIT_H

#include "base/clock.h"
#include "format/media/archive_infos.h"
#include "format/media/archive_key.h"
#include "format/media/archive_paths.h"
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/ob/metas.h"
#include "job/runner.h"
#include "pg_maker.h"
#include "test.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIT_TENANT UINT64_C(1001)
#define KIT_SCHEMA INT64_C(1600000000000000)
enum { KIT_PGS = 3, KIT_TABLES = 5, KIT_LAST_LOG = 700 };

/* What all processes of a test share. */
struct kit_shared {
    _Atomic int state[KIT_PGS]; /* number of the PG's state: other sstables */
    _Atomic int change_after;   /* blocks until the PG under copy moves on; 0 = never */
    _Atomic long blocks_read;
    _Atomic int open_errors; /* opens that fail as unavailable before one succeeds */
    _Atomic int gone;        /* index of a PG that is not there, -1 none */
    _Atomic int last_replay; /* added to KIT_LAST_LOG */
    _Atomic int block_us;    /* time that each block takes */
};

struct kit {
    char root[32];
    char state_dir[32];
    struct kit_shared *shared;
    obv_media_root media;
    obv_set_id set;
    int64_t task_id; /* of the next task */
    uint32_t pass;
};

/* blocks of the tables of PG 0: enough for two files in both areas; the other PGs are small */
static const uint64_t KIT_BLOCKS[KIT_PGS][KIT_TABLES] = {{400, 300, 400, 0, 200}, {1, 2, 0, 3, 1}, {0, 0, 0, 0, 0}};
/* major, minor, major of an index, minor of it; the last belongs to the transaction-state partition */
static const int32_t KIT_TYPES[KIT_TABLES] = {OBV_TABLE_MAJOR, OBV_TABLE_MV_MINOR, OBV_TABLE_MAJOR,
                                              OBV_TABLE_MINI_MINOR, OBV_TABLE_TRANS};

static inline obv_pg_key kit_pg(size_t i)
{
    return (obv_pg_key){.table_id = KIT_TENANT << 40 | (50001 + i * 10), .part_id = (int32_t)i};
}

static inline uint64_t kit_index_id(size_t pg, size_t table)
{
    const obv_pg_key k = kit_pg(pg);
    const obv_pg_key trans = obv_pg_key_trans(&k);
    return table == 4 ? trans.table_id : k.table_id + table / 2;
}

/* A major outlives other changes of the PG: the first table of four states on end is the same. */
static inline int kit_table_state(int state, size_t table) { return table == 0 ? state / 4 : state; }

/* ---- content */

static inline size_t kit_block(size_t pg, int state, size_t table, uint64_t index, uint8_t *out)
{
    uint64_t x = 1 + pg * 1000003 + (uint64_t)kit_table_state(state, table) * 7919 + table * 104729 + index * 1299709;
    const size_t len = 1000 + (x * 2654435761u) % 5000;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[i] = (uint8_t)x;
    }
    return len;
}
enum { KIT_META_LEN = 120, KIT_BLOCK_MAX = 6000 };

static inline void kit_table_key(size_t pg, int state, size_t table, obv_buf *out)
{
    const obv_pg_key k = kit_pg(pg);
    const obv_table_key key = {.type = KIT_TYPES[table],
                               .pkey = table == 4 ? obv_pg_key_trans(&k) : k,
                               .table_id = kit_index_id(pg, table),
                               .versions = {1, 100, 200 + kit_table_state(state, table)},
                               .version = 7,
                               .log_ts = {0, 50, 50}};
    obv_put_table_key(out, &key);
}

/* Also of the table that is the same: another replica may have stored it otherwise. */
static inline void kit_sstable_meta(size_t pg, int state, size_t table, obv_buf *b)
{
    const obv_pg_key k = kit_pg(pg);
    make_sstable_meta(b, &k,
                      &(made_sstable){.index_id = kit_index_id(pg, table),
                                      .blocks = KIT_BLOCKS[pg][table],
                                      .state = state,
                                      .schema_version = KIT_SCHEMA});
}

/* ---- the source */

struct kit_source {
    obv_source base;
    struct kit *kit;
};

struct obv_source_pg {
    struct kit *kit;
    size_t pg;
    int state;
    obv_buf memory[3 + 2 * KIT_TABLES];
    obv_source_partition partitions[2];
    obv_source_table tables[KIT_TABLES];
    obv_source_metas metas;
    uint32_t table;
    uint64_t index;
};

static inline obv_code kit_open(obv_source *s, const obv_pg_key *key, const obv_cancel *c, obv_source_pg **out,
                                obv_err *err)
{
    struct kit *kit = ((struct kit_source *)s)->kit;
    (void)c;
    size_t pg = 0;
    for (obv_pg_key k = kit_pg(0); pg < KIT_PGS && !obv_pg_key_equal(&k, key); k = kit_pg(++pg))
        ;
    if (pg == KIT_PGS || atomic_load(&kit->shared->gone) == (int)pg)
        return obv_fail(err, OBV_E_PG_GONE, -4018, "no such PG");
    if (atomic_load(&kit->shared->open_errors) > 0 && atomic_fetch_sub(&kit->shared->open_errors, 1) > 0)
        return obv_fail(err, OBV_E_UNAVAILABLE, 0, "the server does not answer");
    obv_source_pg *p = calloc(1, sizeof *p);
    if (!p)
        return obv_fail(err, OBV_E_NOMEM, 0, "memory");
    p->kit = kit;
    p->pg = pg;
    p->state = atomic_load(&kit->shared->state[pg]);
    const obv_pg_key trans = obv_pg_key_trans(key);
    for (size_t i = 0; i < 3 + 2 * KIT_TABLES; i++)
        p->memory[i] = obv_buf_heap(1 << 16);
    const uint64_t last_replay = (uint64_t)(KIT_LAST_LOG + atomic_load(&kit->shared->last_replay));
    make_pg_meta(&p->memory[0], key, last_replay, 5000, KIT_SCHEMA - 1);
    make_store_meta(&p->memory[1], key);
    make_store_meta(&p->memory[2], &trans);
    p->partitions[0] = (obv_source_partition){.store_meta = obv_buf_span(&p->memory[1])};
    p->partitions[1] = (obv_source_partition){.store_meta = obv_buf_span(&p->memory[2]), .is_trans = true};
    for (size_t t = 0; t < KIT_TABLES; t++) {
        kit_table_key(pg, p->state, t, &p->memory[3 + 2 * t]);
        kit_sstable_meta(pg, p->state, t, &p->memory[4 + 2 * t]);
        p->tables[t] = (obv_source_table){.area = KIT_TYPES[t] == OBV_TABLE_MAJOR ? OBV_AREA_MAJOR : OBV_AREA_MINOR,
                                          .table_key = obv_buf_span(&p->memory[3 + 2 * t]),
                                          .sstable_meta = obv_buf_span(&p->memory[4 + 2 * t]),
                                          .index_id = kit_index_id(pg, t),
                                          .partition = t == 4,
                                          .block_count = KIT_BLOCKS[pg][t]};
    }
    p->metas = (obv_source_metas){.pg_meta = obv_buf_span(&p->memory[0]),
                                  .partitions = p->partitions,
                                  .partition_count = 2,
                                  .tables = p->tables,
                                  .table_count = KIT_TABLES,
                                  .last_replay_log_id = last_replay,
                                  .last_submit_ts = 5000,
                                  .publish_version = 150,
                                  .lower_bound = 200 + p->state,
                                  .data_schema_version = KIT_SCHEMA - 1,
                                  .max_table_schema_version = KIT_SCHEMA};
    *out = p;
    return OBV_OK;
}

static inline const obv_source_metas *kit_metas(const obv_source_pg *p) { return &p->metas; }

static inline obv_code kit_seek(obv_source_pg *p, uint32_t table, uint64_t index, obv_err *err)
{
    if (table >= KIT_TABLES || index >= p->tables[table].block_count)
        return obv_fail(err, OBV_E_INVAL, 0, "no such block");
    p->table = table;
    p->index = index;
    return OBV_OK;
}

static inline obv_code kit_next(obv_source_pg *p, uint8_t *buf, size_t cap, obv_source_block *out, obv_err *err)
{
    struct kit_shared *s = p->kit->shared;
    assert_true(cap >= OBV_SOURCE_BLOCK_MAX);
    while (p->table < KIT_TABLES && p->index == p->tables[p->table].block_count) {
        p->table++;
        p->index = 0;
    }
    if (p->table == KIT_TABLES)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "no more blocks");
    if (atomic_load(&s->change_after) > 0 && atomic_fetch_sub(&s->change_after, 1) == 1)
        (void)atomic_fetch_add(&s->state[p->pg], 1);
    if (atomic_load(&s->state[p->pg]) != p->state)
        return obv_fail(err, OBV_E_PG_CHANGED, -4016, "an sstable is gone");
    if (atomic_load(&s->block_us))
        (void)usleep((useconds_t)atomic_load(&s->block_us));
    memset(buf, (int)(p->table + 1), KIT_META_LEN);
    const size_t len = kit_block(p->pg, p->state, p->table, p->index, buf + KIT_META_LEN);
    *out = (obv_source_block){.table = p->table,
                              .index = p->index,
                              .data_version = 7,
                              .data_seq = (int64_t)p->index,
                              .meta = obv_span_of(buf, KIT_META_LEN),
                              .data = obv_span_of(buf + KIT_META_LEN, len)};
    p->index++;
    (void)atomic_fetch_add(&s->blocks_read, 1);
    return OBV_OK;
}

static inline void kit_close_pg(obv_source_pg *p)
{
    for (size_t i = 0; i < 3 + 2 * KIT_TABLES; i++)
        obv_buf_fini(&p->memory[i]);
    free(p);
}

static inline void kit_close(obv_source *s) { (void)s; }

static const obv_source_ops KIT_OPS = {.name = "kit",
                                       .open_pg = kit_open,
                                       .metas = kit_metas,
                                       .seek = kit_seek,
                                       .next_block = kit_next,
                                       .close_pg = kit_close_pg,
                                       .close = kit_close};

/* ---- the repository */

static inline obv_store *kit_store(const struct kit *k)
{
    const obv_store_option o[] = {{"root", k->root}};
    const obv_store_config cfg = {.plugin_path = FILE_PLUGIN, .options = o, .option_count = 1, .retry_budget_ms = 2000};
    obv_store *s = NULL;
    obv_err err = {0};
    if (obv_store_open(&cfg, &s, &err) != OBV_OK)
        print_message("%s\n", err.msg);
    assert_non_null(s);
    return s;
}

/* A PG's archive_key in a piece of the round says that its log from start on is there. */
static inline void kit_archive_in(const struct kit *k, size_t pg, uint64_t piece, uint64_t start_log_id)
{
    const obv_archive_place place = {.root = k->media, .round = 1, .piece = piece, .piece_date = piece ? 20210304 : 0};
    const obv_archive_base base = {.start_log_id = start_log_id, .start_ts = 1, .log_submit_ts = 1};
    const obv_archive_key key = obv_archive_key_first(&base, 1);
    const obv_pg_key pg_key = kit_pg(pg);
    uint8_t bytes[OBV_ARCHIVE_KEY_BYTES];
    obv_buf file = obv_buf_fixed(bytes, sizeof bytes);
    obv_path path;
    obv_err err = {0};
    obv_store *s = kit_store(k);
    obv_archive_path_key(&place, &pg_key, &path);
    obv_archive_key_emit(&key, &file);
    assert_int_equal(obv_store_put_bytes(s, path.s, false, obv_buf_span(&file), NULL, &err), OBV_OK);
    obv_store_close(s);
}

/* The log archive has begun with a PG: its log from start on is archived. */
static inline void kit_archive_from(const struct kit *k, size_t pg, uint64_t start_log_id)
{
    kit_archive_in(k, pg, 0, start_log_id);
}

/* The round is cut into pieces 5 and 6; piece 4 was another round's. */
static inline void kit_list_pieces(const struct kit *k)
{
    OBV_AUTO(obv_freep) obv_archive_piece *p = calloc(3, sizeof *p);
    assert_non_null(p);
    for (int64_t i = 0; i < 3; i++)
        p[i] = (obv_archive_piece){
            .incarnation = 1, .tenant_id = KIT_TENANT, .round = i > 0, .piece_id = 4 + i, .create_date = 20210304};
    OBV_AUTO(obv_buf_fini) obv_buf file = obv_buf_heap(65536);
    obv_path path;
    obv_err err = {0};
    obv_store *s = kit_store(k);
    obv_archive_pieces_emit(p, 3, &file);
    obv_archive_path_pieces(&k->media, KIT_TENANT, &path);
    assert_int_equal(obv_store_put_bytes(s, path.s, false, obv_buf_span(&file), NULL, &err), OBV_OK);
    obv_store_close(s);
}

static inline int kit_setup(void **state)
{
    struct kit *k = calloc(1, sizeof *k);
    obv_err err = {0};
    (void)strcpy(k->root, "/tmp/obv-backup-XXXXXX");
    (void)strcpy(k->state_dir, "/tmp/obv-state-XXXXXX");
    k->shared = mmap(NULL, sizeof *k->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!mkdtemp(k->root) || !mkdtemp(k->state_dir) || k->shared == MAP_FAILED ||
        obv_media_root_init(&k->media, "obshop", 7, &err) != OBV_OK)
        return -1;
    atomic_store(&k->shared->gone, -1);
    k->set = (obv_set_id){.tenant_id = KIT_TENANT, .set_id = 1, .full_set_id = 1, .date = 20210304};
    for (size_t i = 0; i < KIT_PGS; i++)
        kit_archive_from(k, i, KIT_LAST_LOG + 1);
    k->task_id = 3;
    *state = k;
    return 0;
}

static inline int kit_teardown(void **state)
{
    struct kit *k = *state;
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s %s", k->root, k->state_dir);
    (void)munmap(k->shared, sizeof *k->shared);
    free(k);
    return system(cmd);
}

/* ---- tasks */

static inline obv_task *kit_task(const struct kit *k, obv_task_kind kind, const char *uid)
{
    obv_task *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->kind = kind;
    t->epoch = 1;
    t->round = 1;
    t->task_id = k->task_id;
    t->pass = k->pass;
    t->set.id = k->set;
    t->set.cluster_id = 7;
    t->set.schema_version = KIT_SCHEMA;
    t->schema_version = KIT_SCHEMA + 5;
    (void)strcpy(t->uid, uid);
    (void)strcpy(t->job_id, "job-1");
    (void)strcpy(t->set.cluster_name, "obshop");
    t->pgs = calloc(KIT_PGS, sizeof *t->pgs);
    assert_non_null(t->pgs);
    for (t->pg_count = 0; t->pg_count < KIT_PGS; t->pg_count++)
        t->pgs[t->pg_count] = kit_pg(t->pg_count);
    return t;
}

/* ---- the agent's part, in whatever process */

struct kit_agent {
    obv_journal *journal;
    obv_pool *pool;
    obv_store *store;
    obv_runner *runner;
    struct kit_source source;
};

static inline bool kit_agent_start(struct kit *k, struct kit_agent *a, uint32_t archive_wait_ms)
{
    char path[64];
    obv_err err = {0};
    *a = (struct kit_agent){.source = {.base = {&KIT_OPS}, .kit = k}};
    (void)snprintf(path, sizeof path, "%s/journal.db", k->state_dir);
    a->store = kit_store(k);
    if (obv_journal_open(path, &a->journal, &err) != OBV_OK ||
        obv_pool_new(obv_backup_buffer_bytes(), 8, &a->pool, &err) != OBV_OK)
        return false;
    const obv_runner_config cfg = {.journal = a->journal,
                                   .pool = a->pool,
                                   .source = &a->source.base,
                                   .store = a->store,
                                   .workers = 2,
                                   .batch_slots = 1,
                                   .archive_wait_ms = archive_wait_ms};
    return obv_runner_start(&cfg, &a->runner, &err) == OBV_OK;
}

static inline void kit_agent_end(struct kit_agent *a)
{
    obv_runner_end(a->runner);
    obv_pool_free(a->pool);
    obv_journal_close(a->journal);
    obv_store_close(a->store);
}

struct kit_wanted {
    const char *uid;
    obv_task_state state;
    obv_err error;
};

static inline void kit_look(void *ctx, const obv_task_report *r)
{
    struct kit_wanted *w = ctx;
    if (strcmp(r->uid, w->uid) == 0) {
        w->state = r->state;
        w->error = *r->error;
    }
}

/* Waits for the task's end. */
static inline obv_task_state kit_wait(obv_runner *r, const char *uid, obv_err *error)
{
    struct kit_wanted w = {.uid = uid};
    for (int i = 0; i < 6000; i++) {
        w.state = OBV_TASK_RUNNING;
        obv_runner_reports(r, kit_look, &w);
        if (w.state != OBV_TASK_RUNNING)
            break;
        (void)usleep(5000);
    }
    if (error)
        *error = w.error;
    return w.state;
}

/* Runs one task in a child process, with a fault armed if point is given.
 * @return the task's state; 100 + signal when the child was killed */
static inline int kit_run(struct kit *k, obv_task_kind kind, const char *point, int nth)
{
    char fault[64];
    (void)snprintf(fault, sizeof fault, "%s/fault", k->state_dir);
    if (point) {
        FILE *f = fopen(fault, "w");
        assert_non_null(f);
        (void)fprintf(f, "%s kill %d\n", point, nth);
        (void)fclose(f);
    }
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct kit_agent a;
        obv_err err = {0};
        (void)setenv("OBV_FAULT_FILE", fault, 1);
        if (!kit_agent_start(k, &a, 500))
            _exit(90);
        char uid[32];
        (void)snprintf(uid, sizeof uid, "%s-%" PRId64, kind == OBV_TASK_BATCH ? "batch" : "metas", k->task_id - 2);
        if (obv_runner_submit(a.runner, kit_task(k, kind, uid), &err) != OBV_OK)
            _exit(91);
        const int state = (int)kit_wait(a.runner, uid, &err);
        if (state != OBV_TASK_DONE)
            (void)fprintf(stderr, "task ended with %d: %s\n", state, err.msg);
        kit_agent_end(&a);
        _exit(state);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)unlink(fault);
    return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

#endif
