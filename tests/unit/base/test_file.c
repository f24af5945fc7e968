#include "base/file.h"
#include "temp_dir.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

static void what_was_written_is_read_back(void **state)
{
    obv_err err = {0};
    static uint8_t bytes[50000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    const char *path = temp_path(*state, "a");
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("old", 3), 0640, &err), OBV_OK);
    assert_int_equal(obv_file_write_atomic(path, obv_span_of(bytes, sizeof bytes), 0640, &err), OBV_OK);
    obv_buf b = obv_buf_heap(100000);
    obv_buf_append(&b, "x", 1);
    assert_int_equal(obv_file_read_all(path, sizeof bytes, &b, &err), OBV_OK); /* appended */
    assert_int_equal(b.len, sizeof bytes + 1);
    assert_memory_equal(b.data + 1, bytes, sizeof bytes);
    obv_buf_fini(&b);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0);
    assert_int_equal(obv_file_write_atomic(path, obv_span_of(NULL, 0), 0640, &err), OBV_OK);
    assert_int_equal(obv_file_read_all(path, 0, &b, &err), OBV_OK);
    assert_int_equal(b.len, 0);
}

static void reading_has_a_limit(void **state)
{
    obv_err err = {0};
    const char *path = temp_path(*state, "a");
    obv_buf b = obv_buf_heap(100);
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("12345", 5), 0600, &err), OBV_OK);
    assert_int_equal(obv_file_read_all(path, 4, &b, &err), OBV_E_LIMIT);
    assert_int_equal(obv_file_read_all(path, 5, &b, &err), OBV_OK);
    assert_int_equal(obv_file_read_all(temp_path(*state, "none"), 5, &b, &err), OBV_E_NOT_FOUND);
    assert_int_equal(obv_file_read_all("/dev/zero", 50000, &b, &err), OBV_E_LIMIT);
    obv_buf_fini(&b);
}

static void folders_are_made_with_their_parents(void **state)
{
    obv_err err = {0};
    struct stat st;
    assert_int_equal(obv_file_mkdirs(temp_path(*state, "a/b//c/"), 0750, &err), OBV_OK);
    assert_int_equal(stat(temp_path(*state, "a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(obv_file_mkdirs(temp_path(*state, "a/b/c"), 0750, &err), OBV_OK);
    assert_int_equal(obv_file_write_atomic(temp_path(*state, "a/f"), obv_span_of("", 0), 0600, &err), OBV_OK);
    assert_int_equal(obv_file_mkdirs(temp_path(*state, "a/f"), 0750, &err), OBV_E_EXISTS);
    assert_int_equal(obv_file_mkdirs(temp_path(*state, "a/f/g"), 0750, &err), OBV_E_EXISTS);
    assert_int_equal(obv_file_mkdirs("", 0750, &err), OBV_E_INVAL);
    assert_int_equal(obv_file_mkdirs("/", 0750, &err), OBV_OK);
    assert_int_equal(obv_file_sync_dir(temp_path(*state, "none"), &err), OBV_E_NOT_FOUND);
}

static void removing_what_is_not_there_is_fine(void **state)
{
    obv_err err = {0};
    const char *path = temp_path(*state, "a");
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("", 0), 0600, &err), OBV_OK);
    assert_int_equal(obv_file_remove(path, &err), OBV_OK);
    assert_int_equal(obv_file_remove(path, &err), OBV_OK);
    assert_int_equal(obv_file_remove(*state, &err), OBV_E_IO); /* EISDIR */
}

static void ranges_stop_at_the_end_of_the_file(void **state)
{
    obv_err err = {0};
    char buf[8];
    size_t got = 99;
    const char *path = temp_path(*state, "a");
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("0123456789", 10), 0600, &err), OBV_OK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    /* clang-format off */
    static const struct { uint64_t off; size_t want; obv_code code; } CASES[] = {
        {0, 8, OBV_OK}, {2, 8, OBV_OK}, {5, 5, OBV_OK}, {10, 0, OBV_OK}, {1u << 30, 0, OBV_OK},
        {UINT64_MAX, 99, OBV_E_INVAL}, {INT64_MAX, 99, OBV_E_INVAL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        got = 99;
        assert_int_equal(obv_fd_read_at(fd, buf, sizeof buf, CASES[i].off, &got, "a", &err), CASES[i].code);
        assert_int_equal(got, CASES[i].want);
    }
    assert_int_equal(obv_fd_close(&fd, "a", &err), OBV_OK);
    assert_int_equal(fd, -1);
    assert_int_equal(obv_fd_close(&fd, "a", &err), OBV_OK);
}

static void a_file_that_cannot_be_made_says_why(void **state)
{
    obv_err err = {0};
    char longer[6000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(obv_file_write_atomic(temp_path(*state, "no/folder"), obv_span_of("", 0), 0600, &err),
                     OBV_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "no/folder"));
    assert_int_equal(obv_file_write_atomic(longer, obv_span_of("", 0), 0600, &err), OBV_E_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read_back, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(reading_has_a_limit, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(folders_are_made_with_their_parents, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(removing_what_is_not_there_is_fine, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(ranges_stop_at_the_end_of_the_file, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_made_says_why, temp_dir_make, temp_dir_drop),
    };
    return cmocka_run_group_tests_name("base.file", tests, NULL, NULL);
}
