#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "temp_dir.h"
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

#ifdef OBV_TEST_FAULTS

static void arm(void *dir, const char *line)
{
    obv_err err;
    const char *path = temp_path(dir, "fault");
    assert_int_equal(obv_file_write_atomic(path, obv_span_of(line, strlen(line)), 0600, &err), OBV_OK);
    assert_int_equal(setenv("OBV_FAULT_FILE", path, 1), 0);
}

static bool fired(void *dir) { return access(temp_path(dir, "fault.fired"), F_OK) == 0; }

static void without_a_file_nothing_happens(void **state)
{
    (void)unsetenv("OBV_FAULT_FILE");
    assert_false(OBV_FAULT_ERROR("test.point"));
    assert_int_equal(setenv("OBV_FAULT_FILE", temp_path(*state, "none"), 1), 0);
    assert_false(OBV_FAULT_ERROR("test.point"));
}

static void the_nth_hit_since_the_line_appeared_fires_once(void **state)
{
    arm(*state, "test.point error 3\n");
    assert_false(OBV_FAULT_ERROR("test.point"));
    assert_false(OBV_FAULT_ERROR("test.point"));
    assert_false(fired(*state));
    assert_true(OBV_FAULT_ERROR("test.point"));
    assert_true(fired(*state));
    assert_false(OBV_FAULT_ERROR("test.point"));
    arm(*state, "test.point error 1");
    assert_true(OBV_FAULT_ERROR("test.point"));
    arm(*state, "another.point error 1");
    assert_false(OBV_FAULT_ERROR("test.point"));
    arm(*state, "no sense");
    assert_false(OBV_FAULT_ERROR("test.point"));
}

static int status_of_child_that_hits(void)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        OBV_FAULT("test.point");
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void kill_and_exit_end_the_process_and_sleep_delays_it(void **state)
{
    arm(*state, "test.point kill 1");
    int status = status_of_child_that_hits();
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(fired(*state));
    arm(*state, "test.point exit 1");
    status = status_of_child_that_hits();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    arm(*state, "test.point sleep:30 1");
    const int64_t began_at = obv_mono_ns();
    assert_int_equal(status_of_child_that_hits(), 0);
    assert_true(obv_mono_ns() - began_at >= 30 * OBV_NS_PER_MS);
}

static void bugs_are_on_only_by_their_full_name(void **state)
{
    (void)state;
    (void)unsetenv("OBV_BUG");
    assert_false(OBV_FAULT_BUG("bug.drop_block"));
    assert_int_equal(setenv("OBV_BUG", "bug.drop_block_more,bug.wrong_log_range", 1), 0);
    assert_false(OBV_FAULT_BUG("bug.drop_block"));
    assert_true(OBV_FAULT_BUG("bug.wrong_log_range"));
    (void)unsetenv("OBV_BUG");
}

static void bugs_come_and_go_with_a_file(void **state)
{
    obv_err err;
    char value[256];
    const char *path = temp_path(*state, "bugs");
    (void)snprintf(value, sizeof value, "@%s", path);
    assert_int_equal(setenv("OBV_BUG", value, 1), 0);
    assert_false(OBV_FAULT_BUG("bug.drop_block")); /* no file yet */
    static const char ON[] = "bug.wrong_log_range,bug.drop_block\n";
    assert_int_equal(obv_file_write_atomic(path, obv_span_of(ON, strlen(ON)), 0600, &err), OBV_OK);
    assert_true(OBV_FAULT_BUG("bug.drop_block"));
    assert_true(OBV_BUG_STRIKES("bug.wrong_log_range"));
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("\n", 1), 0600, &err), OBV_OK);
    assert_false(OBV_BUG_STRIKES("bug.drop_block"));
    (void)unsetenv("OBV_BUG");
}

static void the_list_names_points_and_bugs(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    obv_fault_list(f);
    (void)fclose(f);
    assert_non_null(strstr(text, "test.point\t"));
    assert_non_null(strstr(text, "bug.wrong_trans_sstable\t"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_file_nothing_happens, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(the_nth_hit_since_the_line_appeared_fires_once, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(kill_and_exit_end_the_process_and_sleep_delays_it, temp_dir_make,
                                        temp_dir_drop),
        cmocka_unit_test(bugs_are_on_only_by_their_full_name),
        cmocka_unit_test_setup_teardown(bugs_come_and_go_with_a_file, temp_dir_make, temp_dir_drop),
        cmocka_unit_test(the_list_names_points_and_bugs),
    };
    return cmocka_run_group_tests_name("base.fault", tests, NULL, NULL);
}

#else

static void a_release_has_no_fault_points(void **state)
{
    (void)state;
    OBV_FAULT("no.such.point");
    assert_false(OBV_FAULT_ERROR("no.such.point"));
    assert_false(OBV_FAULT_BUG("no.such.bug"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_release_has_no_fault_points)};
    return cmocka_run_group_tests_name("base.fault", tests, NULL, NULL);
}

#endif
