#define OBV_LOG_MOD "logtest"
#include "base/log.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char line[2 * OBV_LOG_LINE_MAX];

/* What was logged since the last call. */
static const char *read_lines(int fd)
{
    const ssize_t n = read(fd, line, sizeof line - 1);
    line[n < 0 ? 0 : n] = '\0';
    return line;
}

static int pipe_fds[2];

static int open_pipe(void **state)
{
    (void)state;
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    (void)unsetenv("JOURNAL_STREAM");
    obv_log_set_fd(pipe_fds[1]);
    obv_log_set_level(OBV_LOG_INFO);
    obv_log_context_set(NULL, NULL, NULL);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    obv_log_set_fd(STDERR_FILENO);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    return 0;
}

static void a_line_has_time_level_module_context_and_message(void **state)
{
    (void)state;
    obv_log_context_set("7", "t1", "set 3");
    OBV_INFO("piece %d late", 4);
    const char *got = read_lines(pipe_fds[0]);
    assert_int_equal(strncmp(got, "ts=20", 5), 0);
    assert_string_equal(got + strlen("ts=2021-03-04T05:06:07.123Z"),
                        " level=info mod=logtest job=\"7\" tenant=\"t1\" set=\"set 3\" msg=\"piece 4 late\"\n");
}

static void a_line_names_the_task_and_the_pg_at_work(void **state)
{
    (void)state;
    obv_log_context_set("backup_7", NULL, NULL);
    obv_log_context_work("7/3/1", "1100611139453781/3");
    OBV_INFO("copied");
    assert_non_null(
        strstr(read_lines(pipe_fds[0]), " job=\"backup_7\" task=\"7/3/1\" pg=\"1100611139453781/3\" msg=\"copied\"\n"));
    const obv_log_context kept = obv_log_context_get();
    obv_log_context_work("7/3/1", NULL); /* between two PGs */
    OBV_INFO("idle");
    assert_null(strstr(read_lines(pipe_fds[0]), " pg="));
    obv_log_context_work(NULL, NULL);
    obv_log_context_put(&kept); /* as in a thread that is started for the same work */
    OBV_INFO("copied");
    assert_non_null(strstr(read_lines(pipe_fds[0]), " task=\"7/3/1\" pg=\"1100611139453781/3\" "));
    obv_log_context_work(NULL, NULL);
}

static void say_again(int i) { OBV_WARN_EVERY(3600, "again %d", i); }

static void below_the_level_nothing_is_evaluated(void **state)
{
    (void)state;
    int calls = 0;
    OBV_DEBUG("%d", ++calls);
    OBV_DETAIL("%d", ++calls);
    assert_int_equal(calls, 0);
    assert_string_equal(read_lines(pipe_fds[0]), "");
    obv_log_set_level(OBV_LOG_DEBUG);
    OBV_DEBUG("%d", ++calls);
    assert_int_equal(calls, 1);
    assert_non_null(strstr(read_lines(pipe_fds[0]), "level=debug"));
}

static void no_text_can_forge_a_line_or_a_field(void **state)
{
    (void)state;
    OBV_WARN("%s", "a\nts=1 level=error \"quoted\" back\\slash \x1b[31m");
    assert_non_null(
        strstr(read_lines(pipe_fds[0]), "msg=\"a\\nts=1 level=error \\\"quoted\\\" back\\\\slash \\x1b[31m\"\n"));
}

static void a_long_message_is_cut_but_stays_one_line(void **state)
{
    (void)state;
    static char big[5000];
    for (size_t len = OBV_LOG_LINE_MAX - 200; len < OBV_LOG_LINE_MAX + 50; len++) {
        obv_err e = {.code = OBV_E_IO, .sys = 5};
        memset(big, '"', len);
        big[len] = '\0';
        OBV_ERROR("%s", big);
        const char *got = read_lines(pipe_fds[0]);
        assert_true(strlen(got) <= OBV_LOG_LINE_MAX);
        assert_string_equal(got + strlen(got) - 5, "...\"\n");
        memset(big, 'x', len);
        OBV_ERROR_OF(&e, "%s", big);
        got = read_lines(pipe_fds[0]);
        assert_true(strlen(got) <= OBV_LOG_LINE_MAX);
        assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
    }
}

static void an_error_comes_with_code_cause_and_hint(void **state)
{
    (void)state;
    obv_err e = {0};
    assert_int_equal(obv_fail(&e, OBV_E_NO_SPACE, 28, "write x"), OBV_E_NO_SPACE);
    assert_int_equal(obv_hint(&e, "make room"), OBV_E_NO_SPACE);
    OBV_ERROR_OF(&e, "set %d", 3);
    assert_non_null(
        strstr(read_lines(pipe_fds[0]), "msg=\"set 3: write x\" code=\"no_space\" sys=\"28\" hint=\"make room\"\n"));
}

static void a_repeated_warning_is_limited_and_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        say_again(i);
    const char *got = read_lines(pipe_fds[0]);
    assert_non_null(strstr(got, "again 0"));
    assert_null(strstr(got, "again 1"));

    obv_log_limit l = {0};
    uint64_t left_out = 99;
    assert_true(obv_log_limit_pass(&l, 0, &left_out));
    assert_int_equal(left_out, 0);
    l.next_at_ns = INT64_MAX;
    assert_false(obv_log_limit_pass(&l, 0, &left_out));
    assert_false(obv_log_limit_pass(&l, 0, &left_out));
    l.next_at_ns = 0;
    assert_true(obv_log_limit_pass(&l, 0, &left_out));
    assert_int_equal(left_out, 2);

    static obv_log_limit due; /* the line that comes next says how many did not */
    due.left_out = 4;
    assert_true(obv_log_limit_pass(&due, 3600, &left_out));
    obv_log_repeated(OBV_LOG_WARN, "logtest", left_out, "again %d", 9);
    got = read_lines(pipe_fds[0]);
    assert_non_null(strstr(got, "msg=\"again 9\" left_out=\"4\"\n"));
}

static void levels_have_names(void **state)
{
    (void)state;
    obv_log_level level = OBV_LOG_INFO;
    obv_err err = {0};
    assert_int_equal(obv_log_level_parse("detail", &level, &err), OBV_OK);
    assert_int_equal(level, OBV_LOG_DETAIL);
    assert_int_equal(obv_log_level_parse("loud", &level, &err), OBV_E_INVAL);
    assert_int_equal(level, OBV_LOG_DETAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_module_context_and_message, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_line_names_the_task_and_the_pg_at_work, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(below_the_level_nothing_is_evaluated, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(no_text_can_forge_a_line_or_a_field, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_long_message_is_cut_but_stays_one_line, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(an_error_comes_with_code_cause_and_hint, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_repeated_warning_is_limited_and_counted, open_pipe, close_pipe),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests_name("base.log", tests, NULL, NULL);
}
