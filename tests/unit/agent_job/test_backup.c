/* Whole batches: copied, interrupted at every step, resumed, and read back. */
#include "backup_tree.h"

#include <sys/mount.h>

static const char *const POINTS[] = {
    "backup.before_open",
    "backup.pg_restarted",
    "backup.pg_opened",
    "backup.minor_file_written",
    "backup.minor_file_stored",
    "backup.minor_file_journalled",
    "backup.major_file_written",
    "backup.major_file_stored",
    "backup.major_file_journalled",
    "backup.before_fencing",
    "backup.fencing",
    "backup.minor_index_stored",
    "backup.before_major_index",
    "backup.major_index_stored",
    "backup.pg_journalled",
    "backup.task_ended",
};

static uint64_t all_blocks(void)
{
    uint64_t n = 0;
    for (size_t pg = 0; pg < KIT_PGS; pg++)
        for (size_t t = 0; t < KIT_TABLES; t++)
            n += KIT_BLOCKS[pg][t];
    return n;
}

static void a_batch_reads_back_as_it_was(void **state)
{
    struct kit *k = *state;
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    assert_int_equal(atomic_load(&k->shared->blocks_read), all_blocks());
    tree_must_be_whole(k);
    /* the same task again is answered from the journal */
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    assert_int_equal(atomic_load(&k->shared->blocks_read), all_blocks());
}

static void a_kill_at_any_step_costs_at_most_one_file_a_worker(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof POINTS / sizeof *POINTS; i++) {
        for (int nth = 1; nth <= 2; nth++) {
            void *own = NULL;
            assert_int_equal(kit_setup(&own), 0);
            struct kit *k = own;
            print_message("case: killed at %s, hit %d\n", POINTS[i], nth);
            const int first = kit_run(k, OBV_TASK_BATCH, POINTS[i], nth);
            if (first == OBV_TASK_DONE) /* task_ended comes once only */
                assert_int_equal(nth, 2);
            else
                assert_int_equal(first, 100 + 9);
            assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
            tree_must_be_whole(k);
            assert_true(atomic_load(&k->shared->blocks_read) <= (long)(all_blocks() + 2 * OBV_BLOCKS_PER_FILE));
            assert_int_equal(kit_teardown(&own), 0);
        }
    }
}

static void a_pg_that_changed_while_the_agent_was_dead_is_copied_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof POINTS / sizeof *POINTS; i++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        print_message("case: killed at %s, then another state\n", POINTS[i]);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, POINTS[i], 1), 100 + 9);
        for (size_t pg = 0; pg < KIT_PGS; pg++)
            (void)atomic_fetch_add(&k->shared->state[pg], 1);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        tree_must_be_whole(k); /* each PG of one state, nothing of the other left */
        assert_int_equal(kit_teardown(&own), 0);
    }
}

static void a_pg_that_moves_on_under_its_copy_is_begun_again(void **state)
{
    (void)state;
    static const int AFTER[] = {1, 300, 600, 1200};
    for (size_t i = 0; i < sizeof AFTER / sizeof *AFTER; i++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        print_message("case: after %d blocks\n", AFTER[i]);
        atomic_store(&k->shared->change_after, AFTER[i]);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        tree_must_be_whole(k);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

static void a_server_that_is_away_for_a_moment_is_waited_for(void **state)
{
    struct kit *k = *state;
    atomic_store(&k->shared->open_errors, 2);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    tree_must_be_whole(k);
}

static void read_reports(struct kit *k, struct tree_reports *t)
{
    obv_journal *j = NULL;
    obv_err err = {0};
    char path[64];
    (void)snprintf(path, sizeof path, "%s/journal.db", k->state_dir);
    assert_int_equal(obv_journal_open(path, &j, &err), OBV_OK);
    *t = (struct tree_reports){.kit = k, .store = kit_store(k)};
    assert_int_equal(obv_journal_reports(j, 128, tree_report, t, &err), OBV_OK);
    assert_string_equal(t->wrong, "");
    obv_store_close(t->store);
    obv_journal_close(j);
}

static void a_failed_pg_is_reported_and_the_others_are_copied(void **state)
{
    struct kit *k = *state;
    struct tree_reports t;
    atomic_store(&k->shared->gone, 1);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    read_reports(k, &t);
    assert_int_equal(t.pgs, KIT_PGS - 1);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.code, OBV_E_PG_GONE);
}

static void a_pg_whose_log_is_not_archived_is_refused(void **state)
{
    struct kit *k = *state;
    struct tree_reports t;
    kit_archive_from(k, 1, KIT_LAST_LOG + 2); /* log KIT_LAST_LOG + 1 is in no archive */
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    read_reports(k, &t);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.code, OBV_E_PRECONDITION);
}

/* The newest piece begins behind the copies' log, but the one before it does not. */
static void log_is_looked_for_in_all_pieces(void **state)
{
    struct kit *k = *state;
    struct tree_reports t;
    kit_list_pieces(k);
    for (size_t i = 0; i < KIT_PGS; i++) {
        if (i != 1)
            kit_archive_in(k, i, 5, KIT_LAST_LOG + 1);
        kit_archive_in(k, i, 6, KIT_LAST_LOG + 5);
    }
    kit_archive_in(k, 1, 4, KIT_LAST_LOG + 1); /* of another round */
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    read_reports(k, &t);
    assert_int_equal(t.pgs, KIT_PGS - 1);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.code, OBV_E_PRECONDITION);
}

static void a_pg_in_no_piece_is_not_ready(void **state)
{
    struct kit *k = *state;
    struct tree_reports t;
    kit_list_pieces(k);
    for (size_t i = 0; i < KIT_PGS; i++)
        if (i != 1)
            kit_archive_in(k, i, 5, KIT_LAST_LOG + 1);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    read_reports(k, &t);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.code, OBV_E_NOT_READY);
}

static void another_attempts_fence_is_respected(void **state)
{
    struct kit *k = *state;
    struct tree_reports t;
    obv_store *s = kit_store(k);
    const obv_pg_key pg = kit_pg(1);
    obv_path path;
    obv_err err = {0};
    obv_path_major_index_file(&k->media, &k->set, &pg, 0, &path);
    assert_int_equal(obv_store_put_bytes(s, path.s, true, obv_span_of("theirs", 6), NULL, &err), OBV_OK);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    read_reports(k, &t);
    assert_int_equal(t.pgs, KIT_PGS - 1);
    assert_int_equal(t.code, OBV_E_FENCED);
    obv_buf got = obv_buf_heap(100);
    assert_int_equal(obv_store_get_all(s, path.s, 100, &got, NULL, &err), OBV_OK);
    assert_true(obv_span_equal(obv_buf_span(&got), obv_span_of("theirs", 6)));
    obv_buf_fini(&got);
    obv_store_close(s);
}

/* ---- stopping */

static void wait_for_blocks(struct kit *k, long n)
{
    for (int i = 0; i < 4000 && atomic_load(&k->shared->blocks_read) < n; i++)
        (void)usleep(2500);
    assert_true(atomic_load(&k->shared->blocks_read) >= n);
}

/* In a process of its own, for it has threads. @return 0 when all went as it must */
static int in_child(struct kit *k, int (*fn)(struct kit *k, struct kit_agent *a))
{
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        struct kit_agent a;
        if (!kit_agent_start(k, &a, 500))
            _exit(90);
        const int rc = fn(k, &a);
        kit_agent_end(&a);
        _exit(rc);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static int cancelled_amid(struct kit *k, struct kit_agent *a)
{
    obv_err err = {0};
    if (obv_runner_submit(a->runner, kit_task(k, OBV_TASK_BATCH, "batch-1"), &err) != OBV_OK)
        return 1;
    wait_for_blocks(k, 50);
    const int64_t asked = obv_mono_ns();
    obv_runner_cancel(a->runner, "batch-1");
    if (kit_wait(a->runner, "batch-1", &err) != OBV_TASK_CANCELLED || err.code != OBV_E_CANCELLED)
        return 2;
    return obv_mono_ns() - asked < 2 * OBV_NS_PER_S ? 0 : 3;
}

static int past_its_deadline(struct kit *k, struct kit_agent *a)
{
    obv_err err = {0};
    obv_task *t = kit_task(k, OBV_TASK_BATCH, "batch-1");
    t->deadline_s = 1;
    if (obv_runner_submit(a->runner, t, &err) != OBV_OK)
        return 1;
    return kit_wait(a->runner, "batch-1", &err) == OBV_TASK_FAILED && err.code == OBV_E_TIMEOUT ? 0 : 2;
}

struct holds {
    size_t tasks;
};
static void count_task(void *ctx, const obv_task_report *r)
{
    (void)r;
    ((struct holds *)ctx)->tasks++;
}

/* A lost lease: the batch is let go at a safe point, and goes on when it is given again. */
static int let_go_and_given_again(struct kit *k, struct kit_agent *a)
{
    obv_err err = {0};
    struct holds h = {0};
    if (obv_runner_submit(a->runner, kit_task(k, OBV_TASK_BATCH, "batch-1"), &err) != OBV_OK)
        return 1;
    wait_for_blocks(k, 600); /* a file is stored by then */
    obv_runner_let_go(a->runner);
    obv_runner_reports(a->runner, count_task, &h);
    if (h.tasks != 0)
        return 2;
    atomic_store(&k->shared->block_us, 0);
    for (int i = 0; i < 400; i++) { /* until the old one has stopped, a repeat is taken for it */
        if (obv_runner_submit(a->runner, kit_task(k, OBV_TASK_BATCH, "batch-1"), &err) != OBV_OK)
            return 3;
        obv_runner_reports(a->runner, count_task, &h);
        if (h.tasks)
            break;
        (void)usleep(10000);
    }
    return kit_wait(a->runner, "batch-1", &err) == OBV_TASK_DONE ? 0 : 4;
}

static void a_batch_stops_when_it_is_asked_to(void **state)
{
    struct kit *k = *state;
    atomic_store(&k->shared->block_us, 3000);
    assert_int_equal(in_child(k, cancelled_amid), 0);
}

static void a_batch_ends_at_its_deadline(void **state)
{
    struct kit *k = *state;
    atomic_store(&k->shared->block_us, 5000);
    assert_int_equal(in_child(k, past_its_deadline), 0);
}

static void a_batch_that_was_let_go_goes_on_where_it_was(void **state)
{
    struct kit *k = *state;
    atomic_store(&k->shared->block_us, 1000);
    assert_int_equal(in_child(k, let_go_and_given_again), 0);
    tree_must_be_whole(k);
    assert_true(atomic_load(&k->shared->blocks_read) <= (long)(all_blocks() + 2 * OBV_BLOCKS_PER_FILE));
}

static void a_full_destination_ends_the_batch_and_loses_nothing(void **state)
{
    struct kit *k = *state;
    obv_journal *j = NULL;
    obv_err err = {0};
    char path[64];
    if (geteuid() != 0 || mount("obv", k->root, "tmpfs", 0, "size=6m") != 0) {
        print_message("skipped: needs the right to mount\n");
        skip();
    }
    for (size_t i = 0; i < KIT_PGS; i++)
        kit_archive_from(k, i, KIT_LAST_LOG + 1);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_FAILED);
    /* what the coordinator would do after room was made: another attempt, here under the same names */
    assert_int_equal(mount("obv", k->root, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    (void)snprintf(path, sizeof path, "%s/journal.db", k->state_dir);
    assert_int_equal(obv_journal_open(path, &j, &err), OBV_OK);
    assert_int_equal(obv_journal_task_forget(j, "batch-1", &err), OBV_OK);
    obv_journal_close(j);
    assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
    tree_must_be_whole(k);
    assert_int_equal(umount2(k->root, MNT_DETACH), 0);
}

/* ---- metas */

static int check_place(void *ctx, const obv_meta_index *e)
{
    const struct kit *k = ctx;
    obv_store *s = kit_store(k);
    obv_path path;
    obv_buf file = obv_buf_heap(8 << 20);
    obv_err err = {0};
    obv_meta_object o;
    obv_pg_record_reader rec;
    obv_pg_record_part part;
    size_t tables = 0;
    obv_path_meta_file(&k->media, &k->set, 3, &path);
    assert_int_equal(obv_store_get_all(s, path.s, 8 << 20, &file, NULL, &err), OBV_OK);
    assert_true(e->offset + e->len <= file.len);
    assert_int_equal(obv_meta_object_parse(obv_span_of(file.data + e->offset, e->len), &o, &err), OBV_OK);
    assert_int_equal(o.total, e->len);
    assert_int_equal(obv_pg_record_parse(o.body, &rec, &err), OBV_OK);
    assert_int_equal(rec.pg.key.table_id, e->table_id);
    assert_int_equal(rec.pg.data.schema_version, KIT_SCHEMA + 5); /* the final one */
    assert_int_equal(rec.partition_count, 2);
    for (size_t i = 0; i < rec.partition_count; i++) {
        assert_int_equal(obv_pg_record_next_partition(&rec, &part, &err), OBV_OK);
        tables += part.table_count;
    }
    assert_int_equal(tables, KIT_TABLES);
    obv_buf_fini(&file);
    obv_store_close(s);
    return 0;
}

static void metas_are_put_once_all_is_known(void **state)
{
    (void)state;
    static const char *const STEPS[] = {NULL, "backup.before_meta_file", "backup.meta_file_stored",
                                        "backup.meta_index_stored", "backup.task_ended"};
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        print_message("case: %s\n", STEPS[i] ? STEPS[i] : "undisturbed");
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        if (STEPS[i])
            assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, STEPS[i], 1), 100 + 9);
        assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_DONE);
        obv_store *s = kit_store(k);
        obv_path path;
        obv_err err = {0};
        obv_buf index = obv_buf_heap(1 << 20);
        obv_path_meta_index_file(&k->media, &k->set, 3, &path);
        assert_int_equal(obv_store_get_all(s, path.s, 1 << 20, &index, NULL, &err), OBV_OK);
        assert_int_equal(obv_meta_index_file_each(obv_buf_span(&index), check_place, k, &err), OBV_OK);
        obv_buf_fini(&index);
        obv_store_close(s);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

static void metas_that_were_never_copied_are_missed(void **state)
{
    struct kit *k = *state;
    assert_int_equal(kit_run(k, OBV_TASK_FINISH_METAS, NULL, 0), OBV_TASK_FAILED);
}

/* ---- seeded bugs */

static void seeded_bugs_change_what_is_stored(void **state)
{
    (void)state;
    static const char *const BUGS[] = {"bug.drop_block", "bug.wrong_trans_sstable"};
    for (size_t i = 0; i < sizeof BUGS / sizeof *BUGS; i++) {
        void *own = NULL;
        assert_int_equal(kit_setup(&own), 0);
        struct kit *k = own;
        struct tree_reports t;
        print_message("case: %s\n", BUGS[i]);
        (void)setenv("OBV_BUG", BUGS[i], 1);
        assert_int_equal(kit_run(k, OBV_TASK_BATCH, NULL, 0), OBV_TASK_DONE);
        (void)unsetenv("OBV_BUG");
        read_reports(k, &t); /* counts and digests look right */
        assert_int_equal(t.pgs, KIT_PGS);
        obv_store *s = kit_store(k);
        int bad = 0;
        for (size_t pg = 0; pg < KIT_PGS; pg++)
            bad += tree_pg(k, s, pg) < 0;
        assert_true(bad > 0);
        obv_store_close(s);
        assert_int_equal(kit_teardown(&own), 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_batch_reads_back_as_it_was),
        cmocka_unit_test(a_kill_at_any_step_costs_at_most_one_file_a_worker),
        cmocka_unit_test(a_pg_that_changed_while_the_agent_was_dead_is_copied_anew),
        cmocka_unit_test(a_pg_that_moves_on_under_its_copy_is_begun_again),
        T(a_server_that_is_away_for_a_moment_is_waited_for),
        T(a_failed_pg_is_reported_and_the_others_are_copied),
        T(a_pg_whose_log_is_not_archived_is_refused),
        T(log_is_looked_for_in_all_pieces),
        T(a_pg_in_no_piece_is_not_ready),
        T(another_attempts_fence_is_respected),
        T(a_batch_stops_when_it_is_asked_to),
        T(a_batch_ends_at_its_deadline),
        T(a_batch_that_was_let_go_goes_on_where_it_was),
        T(a_full_destination_ends_the_batch_and_loses_nothing),
        cmocka_unit_test(metas_are_put_once_all_is_known),
        T(metas_that_were_never_copied_are_missed),
        cmocka_unit_test(seeded_bugs_change_what_is_stored),
    };
    return cmocka_run_group_tests_name("agent_job.backup", tests, NULL, NULL);
}
