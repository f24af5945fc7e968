/* test_archive_piece.c - a round cut into pieces: no hole and no mixing at a switch, also when it is killed, fails or
 * is met by another writer
 */
#include "archive_kit.h"
#include "job/native_store.h"
#include "job/verify.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int64_t readable = 1700000000000000;

static void random_logs(kit *k, unsigned n, uint32_t pgs)
{
    static uint64_t x = 88172645463325252ULL;
    for (unsigned i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        maker_next(k->m, (uint32_t)(x % pgs), (x >> 32) % 5000);
    }
    maker_ilog(k->m, 1, false);
}

/* Pieces 1 and 2 are of the round before. */
static kit *new_kit(uint32_t pgs)
{
    kit *k = kit_new();
    k->first_piece = k->piece = 3;
    for (uint32_t i = 0; i < pgs; i++)
        (void)kit_pg(k, 10);
    kit_list_pieces(k, k->piece);
    return k;
}

/* As the coordinator does it: the list is stored, then the agents hear of it. */
static void next_piece(kit *k)
{
    k->piece++;
    k->revision++;
    kit_list_pieces(k, k->piece);
}

static void pause_ms(unsigned ms) { (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL); }

static obv_archive_tenant wait_piece(kit *k, uint64_t piece)
{
    obv_archive_tenant t = {0};
    for (int i = 0; i < 1500; i++) {
        t = kit_report(k);
        if (t.piece_min >= piece && t.revision == k->revision)
            return t;
        pause_ms(10);
    }
    fail_msg("piece %llu, not %llu: %s", (unsigned long long)t.piece_min, (unsigned long long)piece, t.error.msg);
    return t;
}

/* The PGs' files, not the lists that a coordinator would make. */
static void no_finding(void *ctx, const obv_verify_finding *f)
{
    (void)ctx;
    if (strstr(f->object, "/3_") && f->class != OBV_VERIFY_LEFTOVER && !strstr(f->object, "single_piece_info"))
        fail_msg("%s: %s: %s", obv_verify_class_name(f->class), f->object, f->text);
}

/* What obvault's own reader says of them. */
static void verify(const kit *k)
{
    obv_native_store n;
    obv_native_store_init(&n, k->store, NULL);
    obv_verify_config cfg = {.io = &n.io, .depth = OBV_VERIFY_DEEP, .fn = no_finding};
    obv_verify_stats stats;
    obv_err err = {0};
    assert_int_equal(obv_media_root_init(&cfg.root, "obstandin", 1, &err), OBV_OK);
    if (obv_verify_run(&cfg, &stats, &err) != OBV_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(stats.archived_pgs, k->pg_count);
    assert_true(stats.logs > 0);
    cfg.depth = OBV_VERIFY_LISTS;
    assert_int_equal(obv_verify_run(&cfg, &stats, &err), OBV_OK);
}

static void busy_and_cold_pgs_step_on(void **state)
{
    (void)state;
    kit *k = new_kit(12);
    random_logs(k, 200, 12);
    kit_start(k);
    assert_int_equal(kit_wait(k, ++readable).piece_min, 3);
    kit_check_all(k);
    const int64_t before = readable;
    for (unsigned i = 0; i < 4; i++) {
        next_piece(k);
        kit_apply(k, false);
        const obv_archive_tenant t = wait_piece(k, k->piece);
        assert_int_equal(t.error.code, OBV_OK);
        assert_true(t.checkpoint_min >= before); /* what was proven stays */
        random_logs(k, 100, 6);                  /* the other six have nothing to say */
        (void)kit_wait(k, ++readable);
        kit_check_all(k);
        assert_int_equal(kit_read(k, 11).pieces, i + 2);
    }
    const kit_seen busy = kit_read(k, 0), cold = kit_read(k, 11);
    assert_int_equal(busy.data_files, 1);
    assert_int_equal(cold.data_files, 0);
    obv_archive_key key;
    assert_true(kit_read_key(k, 7, 0, &key));
    assert_true(key.state.effective);
    assert_true(kit_read_key(k, 4, 11, &key));
    assert_true(key.state.effective && key.state.data_file_id == 1);
    assert_true(kit_read_key(k, 7, 11, &key));
    assert_true(!key.state.effective && key.state.data_file_id == 0 && key.max_index_file_id == 0);
    verify(k);
    kit_free(k);
}

/* All the while logs come in, and the pieces are not waited for. */
static void a_busy_round_through_many_pieces(void **state)
{
    (void)state;
    kit *k = new_kit(20);
    random_logs(k, 100, 20);
    kit_start(k);
    for (unsigned i = 0; i < 12; i++) {
        random_logs(k, 100, 20);
        if (i % 3 == 2)
            wait_piece(k, k->piece);
        next_piece(k);
        kit_apply(k, false);
    }
    (void)kit_wait(k, ++readable);
    wait_piece(k, k->piece);
    kit_check_all(k);
    for (uint32_t i = 0; i < 20; i++)
        assert_true(kit_read(k, i).pieces > 3);
    verify(k);
    kit_free(k);
}

static void another_epoch_finds_the_piece_by_the_key(void **state)
{
    (void)state;
    kit *k = new_kit(6);
    random_logs(k, 60, 6);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    kit_end(k);
    next_piece(k); /* it happens while no agent is there, twice */
    next_piece(k);
    random_logs(k, 60, 5);
    kit_epoch(k);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    wait_piece(k, k->piece);
    kit_check_all(k);
    assert_int_equal(kit_read(k, 5).pieces, 3);
    kit_end(k);
    random_logs(k, 60, 5); /* and again, in the same piece */
    kit_start(k);
    (void)kit_wait(k, ++readable);
    kit_check_all(k);
    assert_int_equal(kit_read(k, 0).data_files, 2);
    verify(k);
    kit_free(k);
}

/* Without the list nobody knows what was before: a start of its own would be a hole. */
static void nothing_is_written_before_the_list_names_the_piece(void **state)
{
    (void)state;
    kit *k = new_kit(4);
    random_logs(k, 40, 4);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    kit_end(k);
    k->piece++; /* told, not stored */
    random_logs(k, 40, 4);
    kit_start(k);
    kit_readable(k, ++readable);
    obv_archive_tenant t = {0};
    for (int i = 0; i < 500 && t.error.code == OBV_OK; i++, pause_ms(10))
        t = kit_report(k);
    assert_int_equal(t.error.code, OBV_E_PRECONDITION);
    assert_true(t.checkpoint_min < readable);
    char path[512];
    kit_piece_path(k, k->piece, "archive_key", 0, path, sizeof path);
    assert_int_equal(access(path, F_OK), -1);
    kit_list_pieces(k, k->piece);
    (void)kit_wait(k, ++readable);
    wait_piece(k, k->piece);
    kit_check_all(k);
    verify(k);
    kit_free(k);
}

static void a_new_pg_begins_in_the_present_piece(void **state)
{
    (void)state;
    kit *k = new_kit(3);
    random_logs(k, 40, 3);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    next_piece(k);
    const uint32_t pg = kit_pg(k, 1);
    k->assign[pg].from_log_one = true;
    kit_apply(k, false);
    wait_piece(k, k->piece); /* before its log 1 there is nothing of it that could be in an earlier piece */
    random_logs(k, 40, 4);
    (void)kit_wait(k, ++readable);
    kit_check_all(k);
    obv_archive_key key;
    assert_false(kit_read_key(k, k->piece - 1, pg, &key));
    assert_true(kit_read_key(k, k->piece, pg, &key));
    assert_true(key.first_piece);
    verify(k);
    kit_free(k);
}

/* A PG that has ended stays where its last log is, holds nothing back, and is known as ended after a restart. */
static void a_pg_that_ended_gets_no_later_key(void **state)
{
    (void)state;
    kit *k = new_kit(3);
    random_logs(k, 40, 3);
    maker_offline(k->m, 2);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    for (unsigned i = 0; i < 2; i++) {
        next_piece(k);
        kit_apply(k, false);
        wait_piece(k, k->piece);
        obv_archive_key key;
        assert_false(kit_read_key(k, k->piece, 2, &key));
        assert_int_equal(kit_read(k, 2).pieces, 1);
        random_logs(k, 20, 2);
        (void)kit_wait(k, ++readable);
    }
    kit_end(k);
    random_logs(k, 20, 2);
    (void)pthread_mutex_lock(&k->mu);
    k->rows[2].leader = false; /* no sample of it ever again */
    (void)pthread_mutex_unlock(&k->mu);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    wait_piece(k, k->piece);
    assert_int_equal(kit_read(k, 2).pieces, 1);
    verify(k);
    kit_free(k);
}

/* The old writer has not heard of its successor nor of the piece. */
static void a_writer_left_behind_only_repeats(void **state)
{
    (void)state;
    kit *k = new_kit(6);
    random_logs(k, 60, 6);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    obv_archive *old = k->job;
    k->stale_writers = true;
    next_piece(k);
    random_logs(k, 30, 6);
    kit_epoch(k);
    kit_start(k);
    for (unsigned i = 0; i < 4; i++) {
        (void)kit_wait(k, ++readable);
        random_logs(k, 60, 6);
    }
    wait_piece(k, k->piece);
    obv_archive_end(old);
    (void)kit_wait(k, ++readable);
    kit_check_all(k);
    verify(k);
    kit_free(k);
}

/* As the coordinator does it for a writer that met another one. */
static void wait_or_raise_epoch(kit *k, int64_t w)
{
    kit_readable(k, w);
    for (int i = 0; i < 1500; i++) {
        const obv_archive_tenant t = kit_report(k);
        if (t.checkpoint_min >= w && t.revision == k->revision)
            return;
        if (t.error.code == OBV_E_FENCED && t.revision == k->revision) {
            kit_epoch(k);
            k->revision++;
            kit_apply(k, false);
        }
        pause_ms(10);
    }
    (void)kit_wait(k, w);
}

static unsigned inconsistent;
static void count_inconsistent(void *ctx, const obv_verify_finding *f)
{
    (void)ctx;
    inconsistent += f->class == OBV_VERIFY_INCONSISTENT && strstr(f->object, "/3_4_");
}

/* The old piece is longer than the new one's base says: fine as long as the new one has it all. */
static void a_key_with_a_base_that_the_piece_does_not_follow_is_found(void **state)
{
    (void)state;
    kit *k = new_kit(1);
    random_logs(k, 20, 1);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    next_piece(k);
    kit_apply(k, false);
    wait_piece(k, k->piece);
    random_logs(k, 20, 1);
    (void)kit_wait(k, ++readable);
    verify(k);
    char path[512];
    kit_piece_path(k, k->piece, "archive_key", 0, path, sizeof path);
    obv_archive_key key;
    assert_true(kit_read_key(k, k->piece, 0, &key));
    key.state.max_log_id -= 2;
    uint8_t bytes[OBV_ARCHIVE_KEY_BYTES];
    obv_buf b = obv_buf_fixed(bytes, sizeof bytes);
    obv_archive_key_emit(&key, &b);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, f), sizeof bytes);
    assert_int_equal(fclose(f), 0);
    obv_native_store n;
    obv_native_store_init(&n, k->store, NULL);
    obv_verify_config cfg = {.io = &n.io, .depth = OBV_VERIFY_DEEP, .fn = count_inconsistent};
    obv_verify_stats stats;
    obv_err err = {0};
    assert_int_equal(obv_media_root_init(&cfg.root, "obstandin", 1, &err), OBV_OK);
    assert_int_equal(obv_verify_run(&cfg, &stats, &err), OBV_OK);
    assert_true(inconsistent > 0);
    kit_free(k);
}

/* Both are told of the piece: who comes second is fenced and, with a higher epoch, goes on behind the first. */
static void two_writers_switch_at_once(void **state)
{
    (void)state;
    kit *k = new_kit(6);
    random_logs(k, 60, 6);
    kit_start(k);
    (void)kit_wait(k, ++readable);
    obv_archive *old = k->job;
    k->stale_writers = true;
    next_piece(k);
    kit_apply(k, false); /* the old one */
    random_logs(k, 60, 6);
    kit_epoch(k);
    kit_start(k);
    for (unsigned i = 0; i < 4; i++) {
        wait_or_raise_epoch(k, ++readable);
        kit_check_all(k);
        random_logs(k, 60, 6);
    }
    obv_archive_end(old);
    wait_or_raise_epoch(k, ++readable);
    kit_check_all(k);
    verify(k);
    kit_free(k);
}

#ifdef OBV_TEST_FAULTS
static char fault_file[64];

/* Before there are threads; the fault itself is set when it is due. */
static void expect_fault(void)
{
    (void)snprintf(fault_file, sizeof fault_file, "/tmp/logs-fault-%d", (int)getpid());
    (void)setenv("OBV_FAULT_FILE", fault_file, 1);
}

static void set_fault(const char *line)
{
    char tmp[80];
    (void)snprintf(tmp, sizeof tmp, "%s.new", fault_file);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    (void)fprintf(f, "%s\n", line);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(tmp, fault_file), 0);
}

static bool fault_fired(void)
{
    char fired[80];
    (void)snprintf(fired, sizeof fired, "%s.fired", fault_file);
    const bool yes = access(fired, F_OK) == 0;
    (void)unlink(fired);
    (void)unlink(fault_file);
    return yes;
}

/* A job in a process of its own switches to the next piece and is killed. */
static void killed_switch(kit *k, const char *fault)
{
    obv_store_close(k->store);
    k->store = NULL;
    (void)fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(30);
        kit_open_store(k);
        expect_fault();
        kit_start(k);
        (void)kit_wait(k, readable + 1);
        set_fault(fault);
        next_piece(k);
        kit_apply(k, false);
        (void)wait_piece(k, k->piece);
        for (;;)
            pause_ms(10);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    readable++;
    k->revision += 2;
    k->piece++;
    kit_open_store(k);
    (void)snprintf(fault_file, sizeof fault_file, "/tmp/logs-fault-%d", (int)pid);
    assert_true(fault_fired());
}

static void a_kill_anywhere_in_a_switch_loses_nothing(void **state)
{
    (void)state;
    static const char *const CASES[] = {
        "archive.piece_begin kill 1",   "archive.piece_begin kill 6", "archive.piece_closed kill 1",
        "archive.piece_closed kill 10", "archive.piece_key kill 1",   "archive.piece_key kill 5",
        "archive.piece_key kill 10",
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: %s\n", CASES[i]);
        kit *k = new_kit(10);
        random_logs(k, 100, 6); /* four are cold from the first piece on */
        killed_switch(k, CASES[i]);
        random_logs(k, 50, 6);
        if (i % 2 == 1)
            next_piece(k); /* a piece more before the agent is back */
        kit_epoch(k);
        kit_start(k);
        (void)kit_wait(k, ++readable);
        wait_piece(k, k->piece);
        kit_check_all(k);
        random_logs(k, 50, 10);
        (void)kit_wait(k, ++readable);
        kit_check_all(k);
        verify(k);
        kit_free(k);
    }
}

static void a_failed_switch_is_tried_again(void **state)
{
    (void)state;
    static const char *const CASES[] = {"archive.piece_put error 1", "archive.piece_put error 4",
                                        "archive.sync error 2", "archive.append error 3"};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: %s\n", CASES[i]);
        kit *k = new_kit(5);
        random_logs(k, 60, 5);
        expect_fault();
        kit_start(k);
        (void)kit_wait(k, ++readable);
        set_fault(CASES[i]);
        next_piece(k);
        kit_apply(k, false);
        for (unsigned n = 0; n < 4; n++) {
            random_logs(k, 60, 4);
            (void)kit_wait(k, ++readable);
        }
        wait_piece(k, k->piece);
        kit_check_all(k);
        verify(k);
        kit_free(k);
        assert_true(fault_fired());
        (void)unsetenv("OBV_FAULT_FILE");
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_and_cold_pgs_step_on),
        cmocka_unit_test(a_busy_round_through_many_pieces),
        cmocka_unit_test(another_epoch_finds_the_piece_by_the_key),
        cmocka_unit_test(nothing_is_written_before_the_list_names_the_piece),
        cmocka_unit_test(a_new_pg_begins_in_the_present_piece),
        cmocka_unit_test(a_pg_that_ended_gets_no_later_key),
        cmocka_unit_test(a_writer_left_behind_only_repeats),
        cmocka_unit_test(a_key_with_a_base_that_the_piece_does_not_follow_is_found),
        cmocka_unit_test(two_writers_switch_at_once),
#ifdef OBV_TEST_FAULTS
        cmocka_unit_test(a_kill_anywhere_in_a_switch_loses_nothing),
        cmocka_unit_test(a_failed_switch_is_tried_again),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
