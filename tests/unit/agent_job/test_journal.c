/* What the journal keeps, what it drops, and that numbers of reports never come back. */
#include "base/db.h"
#include "job/journal.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

struct bench {
    char path[32];
    obv_journal *j;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    obv_err err = {0};
    (void)strcpy(b->path, "/tmp/obv-journal-XXXXXX");
    const int fd = mkstemp(b->path);
    if (fd < 0 || close(fd) != 0 || obv_journal_open(b->path, &b->j, &err) != OBV_OK)
        return -1;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char cmd[160];
    obv_journal_close(b->j);
    (void)snprintf(cmd, sizeof cmd, "rm -f %s %s-wal %s-shm", b->path, b->path, b->path);
    free(b);
    return system(cmd);
}

static const obv_pg_key PG = {.table_id = (uint64_t)1001 << 40 | 50001, .part_id = 3};

static obv_task task_of(const char *uid, int64_t set_id)
{
    obv_task t = {.kind = OBV_TASK_BATCH, .epoch = 4, .task_id = 9, .set = {.cluster_id = 7}};
    t.set.id = (obv_set_id){.tenant_id = 1001, .set_id = set_id, .full_set_id = set_id};
    (void)strcpy(t.uid, uid);
    return t;
}

/* A PG with one object, copied. */
static void copy_one(obv_journal *j, const obv_task *t)
{
    static const uint8_t digest[OBV_SHA_LEN] = {1, 2, 3};
    static const uint64_t ids[] = {50001, 60001};
    const obv_pg_result result = {.blocks = 5, .blocks_stored = 5, .bytes_written = 4096};
    obv_journal_object o = {.kind = OBV_OBJECT_MAJOR, .count = 5, .entries = obv_span_of("entries", 7)};
    obv_journal_pg pg;
    obv_err err = {0};
    (void)strcpy(o.object.path,
                 "c/7/incarnation_1/1001/data/backup_set_1_full_20210304/data/1/3/major_data/macro_block_1.0");
    assert_int_equal(obv_journal_pg_get(j, t->uid, &PG, &pg, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_restart(j, t->uid, &PG, digest, obv_span_of("plan", 4), &err), OBV_OK);
    assert_int_equal(obv_journal_object_add(j, t->uid, &PG, &o, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_fencing(j, t, &PG, &result, obv_span_of("record", 6), ids, 2, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_copied(j, t->uid, &PG, &err), OBV_OK);
}

static void see_report(void *ctx, const obv_pg_report *r)
{
    *(uint64_t *)ctx = r->report_id;
    assert_int_equal(r->epoch, 4);
    assert_int_equal(r->error.code, OBV_OK);
    assert_int_equal(r->object_count, 1);
    assert_int_equal(r->content_count, 2);
    assert_int_equal(r->contents[1], 60001);
    assert_string_equal(r->objects[0].path, "data/1/3/major_data/macro_block_1.0"); /* below the set's folder */
}

static uint64_t newest_report(obv_journal *j)
{
    uint64_t id = 0;
    obv_err err = {0};
    assert_int_equal(obv_journal_reports(j, 10, see_report, &id, &err), OBV_OK);
    return id;
}

static void begin(obv_journal *j, const obv_task *t, obv_task_state want)
{
    obv_journal_task known = {0};
    obv_err err = {0};
    assert_int_equal(obv_journal_task_begin(j, t, &known, &err), OBV_OK);
    assert_int_equal(known.state, want);
    obv_task_result_fini(&known.result);
}

static void acknowledged_reports_go_and_their_numbers_never_return(void **state)
{
    const struct bench *b = *state;
    const obv_task one = task_of("one", 1);
    const obv_task two = task_of("two", 1);
    obv_err err = {0};
    begin(b->j, &one, OBV_TASK_RUNNING);
    copy_one(b->j, &one);
    const uint64_t first = newest_report(b->j);
    assert_true(first > 0);
    assert_int_equal(obv_journal_ack(b->j, first, &err), OBV_OK);
    assert_int_equal(newest_report(b->j), 0);
    assert_int_equal(obv_journal_task_forget(b->j, "one", &err), OBV_OK);
    begin(b->j, &two, OBV_TASK_RUNNING);
    copy_one(b->j, &two);
    assert_true(newest_report(b->j) > first);
}

static void metas_outlive_their_task_until_the_next_set(void **state)
{
    const struct bench *b = *state;
    const obv_task one = task_of("one", 1);
    const obv_task next = task_of("next", 2);
    obv_buf out = obv_buf_heap(100);
    obv_err err = {0};
    begin(b->j, &one, OBV_TASK_RUNNING);
    copy_one(b->j, &one);
    assert_int_equal(obv_journal_task_forget(b->j, "one", &err), OBV_OK);
    assert_int_equal(obv_journal_meta_get(b->j, &one.set, 9, &PG, &out, &err), OBV_OK);
    assert_true(obv_span_equal(obv_buf_span(&out), obv_span_of("record", 6)));
    assert_int_equal(obv_journal_metas_of_older_sets(b->j, &one.set, &err), OBV_OK);
    assert_int_equal(obv_journal_meta_get(b->j, &one.set, 9, &PG, &out, &err), OBV_OK);
    assert_int_equal(obv_journal_metas_of_older_sets(b->j, &next.set, &err), OBV_OK);
    assert_int_equal(obv_journal_meta_get(b->j, &one.set, 9, &PG, &out, &err), OBV_E_NOT_FOUND);
    obv_buf_fini(&out);
}

static void a_finished_task_is_found_again_with_its_result(void **state)
{
    struct bench *b = *state;
    const obv_task t = task_of("metas", 1);
    obv_meta_place places[2] = {{.pg = PG, .offset = 48, .len = 100}, {.pg = PG, .offset = 148, .len = 90}};
    obv_task_result result = {.task_id = 9, .places = places, .place_count = 2, .object_count = 1};
    obv_journal_task known = {0};
    obv_err err = {0};
    (void)strcpy(result.objects[0].path, "backup_1/meta_file_9");
    begin(b->j, &t, OBV_TASK_RUNNING);
    assert_int_equal(obv_journal_task_end(b->j, "metas", OBV_TASK_DONE, NULL, &result, &err), OBV_OK);
    obv_journal_close(b->j);
    assert_int_equal(obv_journal_open(b->path, &b->j, &err), OBV_OK);
    assert_int_equal(obv_journal_task_begin(b->j, &t, &known, &err), OBV_OK);
    assert_int_equal(known.state, OBV_TASK_DONE);
    assert_int_equal(known.result.place_count, 2);
    assert_int_equal(known.result.places[1].offset, 148);
    assert_string_equal(known.result.objects[0].path, "backup_1/meta_file_9");
    obv_task_result_fini(&known.result);
}

static void what_nobody_asked_for_goes_in_the_end(void **state)
{
    struct bench *b = *state;
    const obv_task t = task_of("old", 1);
    obv_db *db = NULL;
    obv_journal_task known = {0};
    obv_buf out = obv_buf_heap(100);
    obv_err err = {0};
    begin(b->j, &t, OBV_TASK_RUNNING);
    copy_one(b->j, &t);
    assert_int_equal(obv_journal_sweep(b->j, &err), OBV_OK);
    assert_true(newest_report(b->j) > 0); /* young: kept */
    obv_journal_close(b->j);
    assert_int_equal(obv_db_open(b->path, (const char *const[]){"", ""}, 2, &db, &err), OBV_OK);
    assert_int_equal(obv_db_exec(db, "UPDATE task SET touched_at = 1; UPDATE meta SET touched_at = 1", &err), OBV_OK);
    obv_db_close(db);
    assert_int_equal(obv_journal_open(b->path, &b->j, &err), OBV_OK);
    assert_int_equal(obv_journal_sweep(b->j, &err), OBV_OK);
    assert_int_equal(newest_report(b->j), 0);
    assert_int_equal(obv_journal_meta_get(b->j, &t.set, 9, &PG, &out, &err), OBV_E_NOT_FOUND);
    begin(b->j, &t, OBV_TASK_RUNNING);
    obv_task_result_fini(&known.result);
    obv_buf_fini(&out);
}

static void numbers_of_stale_files_are_not_given_out_again(void **state)
{
    const struct bench *b = *state;
    static const uint8_t first[OBV_SHA_LEN] = {1};
    static const uint8_t second[OBV_SHA_LEN] = {2};
    const obv_task t = task_of("t", 1);
    obv_journal_object o = {.kind = OBV_OBJECT_MINOR, .count = 1};
    obv_journal_pg pg;
    obv_err err = {0};
    (void)strcpy(o.object.path, "x");
    begin(b->j, &t, OBV_TASK_RUNNING);
    assert_int_equal(obv_journal_pg_get(b->j, "t", &PG, &pg, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_restart(b->j, "t", &PG, first, obv_span_of("p", 1), &err), OBV_OK);
    for (o.sub = 0; o.sub < 3; o.sub++)
        assert_int_equal(obv_journal_object_add(b->j, "t", &PG, &o, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_restart(b->j, "t", &PG, second, obv_span_of("p", 1), &err), OBV_OK);
    assert_int_equal(obv_journal_stale_removed(b->j, "t", &PG, &err), OBV_OK);
    assert_int_equal(obv_journal_pg_get(b->j, "t", &PG, &pg, &err), OBV_OK);
    assert_int_equal(pg.next_minor, 3);
    assert_int_equal(pg.next_major, 0);
    assert_memory_equal(pg.digest, second, sizeof second);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(acknowledged_reports_go_and_their_numbers_never_return), T(metas_outlive_their_task_until_the_next_set),
        T(a_finished_task_is_found_again_with_its_result),         T(what_nobody_asked_for_goes_in_the_end),
        T(numbers_of_stale_files_are_not_given_out_again),
    };
    return cmocka_run_group_tests_name("agent_job.journal", tests, NULL, NULL);
}
