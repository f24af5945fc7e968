/* test_archive_crash.c - the archive job killed, failed and doubled: nothing that was reported is missing, the next
 * epoch goes on
 */
#include "archive_kit.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void random_logs(kit *k, unsigned n, size_t max_bytes)
{
    static uint64_t x = 88172645463325252ULL;
    for (unsigned i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        maker_next(k->m, (uint32_t)(x % k->pg_count), (x >> 32) % max_bytes);
    }
    maker_ilog(k->m, 1, false);
}

/* More than one data file of bytes that do not shrink, for PG 0. */
static void big_logs(kit *k)
{
    static uint64_t noise[1900000 / 8];
    uint64_t x = 1;
    for (unsigned i = 0; i < 40; i++) {
        for (size_t w = 0; w < sizeof noise / 8; w++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            noise[w] = x;
        }
        noise[0] = 0;
        maker_commit(k->m, 0, k->m->pgs[0].next++, OBV_ENTRY_SUBMIT, obv_span_of(noise, sizeof noise), 0);
    }
    maker_ilog(k->m, 1, false);
}

#ifdef OBV_TEST_FAULTS
static char fault_file[64];

static void set_fault(const char *line)
{
    (void)snprintf(fault_file, sizeof fault_file, "/tmp/logs-fault-%d", (int)getpid());
    FILE *f = fopen(fault_file, "w");
    assert_non_null(f);
    (void)fprintf(f, "%s\n", line);
    assert_int_equal(fclose(f), 0);
    (void)setenv("OBV_FAULT_FILE", fault_file, 1);
}

static bool fault_fired(void)
{
    char fired[80];
    (void)snprintf(fired, sizeof fired, "%s.fired", fault_file);
    const bool yes = access(fired, F_OK) == 0;
    (void)unlink(fired);
    (void)unlink(fault_file);
    (void)unsetenv("OBV_FAULT_FILE");
    return yes;
}

/* Runs the job in a child until it is killed by the fault point or all is reported. @return true if it was killed */
static bool run_child(kit *k, const char *fault, int64_t w)
{
    int64_t *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(told != MAP_FAILED);
    if (fault)
        set_fault(fault);
    obv_store_close(k->store);
    k->store = NULL;
    (void)fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(30);
        kit_open_store(k);
        kit_start(k);
        kit_readable(k, w);
        for (;;) {
            const obv_archive_tenant t = kit_report(k);
            __atomic_store_n(told, t.checkpoint_min, __ATOMIC_SEQ_CST);
            if (t.checkpoint_min >= w && t.pgs == k->pg_count)
                break;
            (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        kit_end(k);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    kit_open_store(k);
    k->revision++;
    if (*told >= w) /* reported: then it is there, whatever happened after */
        for (uint32_t i = 0; i < k->pg_count; i++)
            assert_int_equal(kit_read(k, i).last_log_id, k->m->pgs[i].next - 1);
    (void)munmap(told, 4096);
    if (fault)
        assert_int_equal(fault_fired(), killed);
    return killed;
}

static void a_kill_anywhere_loses_nothing(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *fault; bool second; bool big; } CASES[] = {
        {"archive.before_key kill 1", false, false},       {"archive.before_key kill 5", false, false},
        {"archive.after_key kill 1", false, false},        {"archive.after_key kill 7", false, false},
        {"archive.after_kickoff kill 1", false, false},    {"archive.after_kickoff kill 4", false, false},
        {"archive.after_append kill 2", false, false},     {"archive.after_append kill 14", false, false},
        {"archive.before_sync kill 1", false, false},      {"archive.after_sync kill 1", false, false},
        {"archive.before_index kill 1", false, true},      {"archive.after_index kill 1", false, true},
        {"archive.before_report kill 3", false, false},
        {"archive.takeover_listed kill 3", true, false},   {"archive.takeover_indexed kill 1", true, false},
        {"archive.takeover_indexed kill 6", true, false},  {"archive.after_append kill 3", true, false},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: %s%s\n", CASES[i].fault, CASES[i].second ? ", second run" : "");
        kit *k = kit_new();
        for (uint32_t p = 0; p < 10; p++)
            (void)kit_pg(k, 10);
        random_logs(k, 100, 5000);
        if (CASES[i].big)
            big_logs(k);
        int64_t w = 1700000000000001;
        if (CASES[i].second) {
            assert_false(run_child(k, NULL, w++));
            random_logs(k, 100, 5000);
        }
        assert_true(run_child(k, CASES[i].fault, w++));
        random_logs(k, 50, 5000);
        kit_epoch(k);
        kit_start(k);
        (void)kit_wait(k, w++);
        kit_check_all(k);
        random_logs(k, 50, 5000);
        (void)kit_wait(k, w);
        kit_check_all(k);
        kit_free(k);
    }
}

static void failed_writes_go_on_in_new_files(void **state)
{
    (void)state;
    static const char *const CASES[] = {"archive.append error 1", "archive.append error 5", "archive.append error 16",
                                        "archive.sync error 1", "archive.sync error 2"};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: %s\n", CASES[i]);
        kit *k = kit_new();
        for (uint32_t p = 0; p < 5; p++)
            (void)kit_pg(k, 10);
        random_logs(k, 100, 5000);
        set_fault(CASES[i]);
        kit_start(k);
        for (int64_t w = 1; w < 5; w++) {
            (void)kit_wait(k, 1700000000000000 + w);
            kit_check_all(k);
            random_logs(k, 50, 5000);
        }
        assert_true(fault_fired());
        kit_free(k);
    }
}

static void the_seeded_bug_leaves_a_hole(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    random_logs(k, 20, 100);
    (void)setenv("OBV_BUG", "bug.wrong_log_range", 1);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001); /* it reports success */
    (void)unsetenv("OBV_BUG");
    kit_end(k);
    char dir[400], path[512];
    kit_path(k, "data", 0, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/1", dir);
    obv_buf file = kit_file(path), scratch = obv_buf_heap(OBV_ARCHIVE_MAX_RAW);
    unsigned logs = 0;
    for (size_t at = 0; at < file.len;) {
        obv_archive_block b;
        obv_span raw;
        assert_int_equal(obv_archive_block_parse(obv_span_of(file.data + at, file.len - at), &b, NULL), OBV_OK);
        assert_int_equal(
            obv_archive_payload_unpack(obv_span_of(file.data + at + 104, b.total_len - 104), &scratch, &raw, NULL),
            OBV_OK);
        for (size_t e = 0; e < raw.len; logs++) {
            obv_clog_entry entry;
            assert_int_equal(obv_clog_entry_parse(obv_span_of(raw.p + e, raw.len - e), &entry, NULL), OBV_OK);
            e += 105 + entry.data_len;
        }
        at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
    assert_in_range(logs, 2, 1 + 19); /* kickoff, and at least one log less than there are */
    obv_buf_fini(&file);
    obv_buf_fini(&scratch);
    kit_free(k);
}
#endif

/* Cuts or appends to a data file behind the job's back. */
static void spoil(const kit *k, uint32_t pg, uint64_t id, long keep, const void *more, size_t len)
{
    char dir[400], path[512];
    kit_path(k, "data", pg, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/%llu", dir, (unsigned long long)id);
    if (keep >= 0)
        assert_int_equal(truncate(path, keep), 0);
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    if (len > 0)
        assert_int_equal(fwrite(more, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void tails_that_were_never_synced_are_cut_or_passed_over(void **state)
{
    (void)state;
    static const uint8_t ZEROS[300];
    static const uint8_t HALF[] = {0x41, 0x42, 0, 1};
    static const struct {
        const char *why;
        long keep;
        const void *more;
        size_t len;
    } CASES[] = {
        {"block cut in its header", 300, NULL, 0},
        {"block cut in its payload", 500, NULL, 0},
        {"zeros behind", -1, ZEROS, 300},
        {"a few bytes behind", -1, HALF, 4},
        {"nothing but zeros", 0, ZEROS, 300},
        {"empty", 0, NULL, 0},
        {"zeros in place of a block", 244, ZEROS, 300},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: %s\n", CASES[i].why);
        kit *k = kit_new();
        (void)kit_pg(k, 10);
        random_logs(k, 20, 3000);
        kit_start(k);
        (void)kit_wait(k, 1700000000000001);
        kit_end(k);
        spoil(k, 0, 1, CASES[i].keep, CASES[i].more, CASES[i].len);
        random_logs(k, 20, 3000);
        kit_start(k);
        (void)kit_wait(k, 1700000000000002);
        kit_check_all(k);
        kit_free(k);
    }
}

/* A full disk may cut a block in the offset behind it: readers see the whole payload, so it must not stay. */
static void a_block_cut_in_its_trailing_offset_goes(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    random_logs(k, 20, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    kit_end(k);
    char dir[400], path[512];
    kit_path(k, "data", 0, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/1", dir);
    obv_buf file = kit_file(path);
    spoil(k, 0, 1, (long)file.len - 2, NULL, 0);
    obv_buf_fini(&file);
    random_logs(k, 20, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000002);
    kit_end(k);
    file = kit_file(path);
    size_t at = 0;
    while (at < file.len) {
        obv_archive_block b;
        assert_int_equal(obv_archive_block_parse(obv_span_of(file.data + at, file.len - at), &b, NULL), OBV_OK);
        at += b.total_len + OBV_ARCHIVE_BLOCK_TAIL;
    }
    assert_int_equal(at, file.len);
    obv_buf_fini(&file);
    kit_check_all(k);
    kit_free(k);
}

static void damage_in_the_middle_is_an_alarm_and_nothing_is_touched(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    random_logs(k, 10, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    random_logs(k, 10, 3000);
    (void)kit_wait(k, 1700000000000002);
    kit_end(k);
    char dir[400], path[512];
    kit_path(k, "data", 0, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/1", dir);
    obv_buf before = kit_file(path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    const uint8_t bad = before.data[260] ^ 0xff; /* in the first block behind the kickoff */
    assert_int_equal(pwrite(fd, &bad, 1, 260), 1);
    (void)close(fd);
    before.data[260] = bad;
    random_logs(k, 10, 3000);
    kit_start(k);
    kit_readable(k, 1700000000000003);
    obv_archive_tenant t;
    for (int i = 0; i < 500 && (t = kit_report(k)).state != OBV_ARCHIVE_STATE_INTERRUPTED; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(t.state, OBV_ARCHIVE_STATE_INTERRUPTED);
    assert_int_equal(t.error.code, OBV_E_CORRUPT);
    kit_end(k);
    obv_buf after = kit_file(path);
    assert_true(obv_span_equal(obv_buf_span(&before), obv_buf_span(&after)));
    assert_int_equal(kit_max_id(dir), 1);
    obv_buf_fini(&before);
    obv_buf_fini(&after);
    kit_free(k);
}

static void an_id_that_is_taken_ends_an_old_writer(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 2; i++)
        (void)kit_pg(k, 10);
    random_logs(k, 10, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    spoil(k, 0, 2, -1, "other", 5); /* what another host put there under a later epoch */
    big_logs(k);
    kit_readable(k, 1700000000000002);
    obv_archive_tenant t;
    for (int i = 0; i < 500 && (t = kit_report(k)).error.code == OBV_OK; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(t.error.code, OBV_E_FENCED);
    assert_int_equal(t.state, OBV_ARCHIVE_STATE_DOING);
    assert_int_equal(t.checkpoint_min, 1700000000000001);
    char dir[400], path[512];
    kit_path(k, "data", 0, dir, sizeof dir);
    assert_int_equal(kit_max_id(dir), 2);
    (void)snprintf(path, sizeof path, "%s/2", dir);
    obv_buf file = kit_file(path);
    assert_int_equal(file.len, 5);
    obv_buf_fini(&file);
    kit_epoch(k); /* the coordinator says that it is us */
    k->revision++;
    kit_apply(k, false);
    (void)kit_wait(k, 1700000000000003);
    kit_check_all(k);
    kit_free(k);
}

static void two_writers_never_mix(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 6; i++)
        (void)kit_pg(k, 10);
    random_logs(k, 60, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    obv_archive *old = k->job; /* cut off from the coordinator, it goes on */
    random_logs(k, 30, 3000);
    kit_epoch(k);
    kit_start(k);
    for (int64_t w = 2; w < 6; w++) {
        (void)kit_wait(k, 1700000000000000 + w);
        kit_check_all(k);
        random_logs(k, 60, 3000);
    }
    obv_archive_end(old);
    (void)kit_wait(k, 1700000000000009);
    kit_check_all(k);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef OBV_TEST_FAULTS
        cmocka_unit_test(a_kill_anywhere_loses_nothing),
        cmocka_unit_test(failed_writes_go_on_in_new_files),
        cmocka_unit_test(the_seeded_bug_leaves_a_hole),
#endif
        cmocka_unit_test(a_block_cut_in_its_trailing_offset_goes),
        cmocka_unit_test(tails_that_were_never_synced_are_cut_or_passed_over),
        cmocka_unit_test(damage_in_the_middle_is_an_alarm_and_nothing_is_touched),
        cmocka_unit_test(an_id_that_is_taken_ends_an_old_writer),
        cmocka_unit_test(two_writers_never_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
