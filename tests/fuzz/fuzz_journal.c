/* The agent's journal with damaged content: what an earlier process kept in it is as little trusted as any file. Input:
 * pieces {u8 which column, u8 length, bytes}; the rest is the plan. */
#include "job/journal.h"
#include "job/plan.h"

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const obv_pg_key PG = {UINT64_C(1100611139453781), 3, 0};
static const char UID[] = "task";

static const char *const COLUMNS[] = {
    "UPDATE task SET result = ?, state = 2",
    "UPDATE task SET state = ?",
    "UPDATE task SET kind = ?",
    "UPDATE pg SET result = ?, state = 2",
    "UPDATE pg SET digest = ?",
    "UPDATE pg SET contents = ?",
    "UPDATE object SET entries = ?",
    "UPDATE object SET sha256 = ?",
    "UPDATE object SET path = ?",
    "UPDATE object SET kind = ?",
    "UPDATE value SET value = ?",
    "UPDATE pg SET state = ?",
    "UPDATE task SET msg = ?, state = 3",
    "UPDATE object SET size = ?",
    "UPDATE report SET report_id = ?",
    "UPDATE meta SET body = ?",
};
enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS };

static void try_plan(obv_span in)
{
    obv_plan p = {0};
    if (obv_plan_parse(in, &p, NULL) != OBV_OK)
        return;
    for (int a = 0; a < 2; a++) {
        uint64_t blocks = 0;
        for (uint32_t t = obv_plan_next_table(&p, (enum obv_area)a, 0); t < p.count;
             t = obv_plan_next_table(&p, (enum obv_area)a, t + 1))
            blocks += p.tables[t].blocks;
        obv_assert(blocks == p.blocks[a]);
        uint32_t table = 0;
        uint64_t index = 0;
        if (p.blocks[a] > 0) {
            obv_plan_locate(&p, (enum obv_area)a, p.blocks[a] - 1, &table, &index);
            obv_assert(table < p.count && index < p.tables[table].blocks);
        }
    }
    obv_plan_fini(&p);
}

static obv_code an_object(void *ctx, const obv_journal_object *o, obv_err *err)
{
    size_t *seen = ctx;
    (void)err;
    *seen += o->entries.len / sizeof(obv_plan_entry) + strlen(o->object.path);
    return OBV_OK;
}
static void a_task(void *ctx, const obv_journal_task *t) { *(size_t *)ctx += strlen(t->uid); }
static void a_report(void *ctx, const obv_pg_report *r)
{
    for (size_t i = 0; i < r->object_count; i++)
        *(size_t *)ctx += strlen(r->objects[i].path);
    for (size_t i = 0; i < r->content_count; i++)
        *(size_t *)ctx += r->contents[i] != 0;
}

static void read_all(const char *file)
{
    obv_journal *j = NULL;
    if (obv_journal_open(file, &j, NULL) != OBV_OK)
        return;
    size_t seen = 0;
    char value[64];
    obv_journal_pg pg = {0};
    obv_journal_counts counts;
    obv_buf plan = obv_buf_heap(1 << 20);
    (void)!obv_journal_get(j, "repository", value, sizeof value, NULL);
    (void)!obv_journal_tasks(j, a_task, &seen, NULL);
    (void)!obv_journal_pg_get(j, UID, &PG, &pg, NULL);
    if (obv_journal_pg_plan(j, UID, &PG, &plan, NULL) == OBV_OK)
        try_plan(obv_buf_span(&plan));
    (void)!obv_journal_objects(j, UID, &PG, false, an_object, &seen, NULL);
    (void)!obv_journal_batch_counts(j, UID, &counts, NULL);
    (void)!obv_journal_reports(j, 8, a_report, &seen, NULL);
    obv_buf_fini(&plan);
    obv_journal_close(j);
}

static void damage(sqlite3 *db, const char *sql, obv_span bytes)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
        if (bytes.len == 8) { /* a number */
            sqlite3_int64 n;
            memcpy(&n, bytes.p, sizeof n);
            (void)sqlite3_bind_int64(st, 1, n);
        } else {
            (void)sqlite3_bind_blob(st, 1, bytes.p, (int)bytes.len, SQLITE_STATIC);
        }
        (void)sqlite3_step(st);
    }
    (void)sqlite3_finalize(st);
}

/* One row of each table, which the damage goes into. */
static const char ROWS[] =
    "DELETE FROM task; DELETE FROM pg; DELETE FROM object; DELETE FROM report; DELETE FROM meta; DELETE FROM value;"
    "INSERT INTO value VALUES ('repository', 'x');"
    "INSERT INTO task (uid, kind, epoch, state, touched_at) VALUES ('task', 1, 1, 1, 1);"
    "INSERT INTO pg (task_uid, table_id, part_id, assist, state) VALUES ('task', 1100611139453781, 3, 0, 1);"
    "INSERT INTO object (task_uid, table_id, part_id, assist, stale, kind, sub, first, count, path, size)"
    " VALUES ('task', 1100611139453781, 3, 0, 0, 0, 1, 0, 1, 'a', 1);"
    "INSERT INTO report (task_uid, table_id, part_id, assist) VALUES ('task', 1100611139453781, 3, 0);"
    "INSERT INTO meta VALUES (1, 1001, 1, 1, 1100611139453781, 3, 0, x'00', 1);";

static char path[64];

static void tidy(void)
{
    static const char *const ENDS[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        char file[80];
        (void)snprintf(file, sizeof file, "%s%s", path, ENDS[i]);
        (void)unlink(file);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sqlite3 *db = NULL;
    if (!*path) {
        obv_assert(atexit(tidy) == 0);
        obv_journal *j = NULL;
        (void)snprintf(path, sizeof path, "/dev/shm/obvault-fuzz-journal-%d", (int)getpid());
        obv_assert(obv_journal_open(path, &j, NULL) == OBV_OK);
        obv_journal_close(j);
    }
    obv_assert(sqlite3_open(path, &db) == SQLITE_OK);
    obv_assert(sqlite3_exec(db, ROWS, NULL, NULL, NULL) == SQLITE_OK);
    while (size >= 2) {
        const size_t have = data[1] < size - 2 ? data[1] : size - 2;
        if (data[0] >= COLUMN_COUNT)
            break;
        damage(db, COLUMNS[data[0]], (obv_span){data + 2, have});
        data += 2 + have;
        size -= 2 + have;
    }
    damage(db, "UPDATE pg SET plan = ?", (obv_span){data, size});
    (void)sqlite3_close(db);
    try_plan((obv_span){data, size});
    read_all(path);
    return 0;
}
