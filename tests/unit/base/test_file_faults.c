/* The system calls under file.c fail at the n-th call (linked with --wrap): the old file must stay as it was. */
#include "base/file.h"
#include "temp_dir.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_close(int fd);
int __wrap_close(int fd);

enum call { WRITE, FSYNC, RENAME, CLOSE, CALLS };
static int fail_at[CALLS]; /* 1 = the next call; 0 = never */
static int fail_with[CALLS];
static size_t write_at_most;
static bool interrupt_writes;

static bool due(enum call c)
{
    if (fail_at[c] == 0 || --fail_at[c] > 0)
        return false;
    errno = fail_with[c];
    return true;
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    static unsigned calls;
    if (fd <= STDERR_FILENO) /* cmocka's own */
        return __real_write(fd, p, n);
    if (due(WRITE))
        return -1;
    if (interrupt_writes && ++calls % 2) {
        errno = EINTR;
        return -1;
    }
    return __real_write(fd, p, write_at_most && n > write_at_most ? write_at_most : n);
}
int __wrap_fsync(int fd) { return due(FSYNC) ? -1 : __real_fsync(fd); }
int __wrap_rename(const char *from, const char *to) { return due(RENAME) ? -1 : __real_rename(from, to); }
int __wrap_close(int fd)
{
    const bool fails = due(CLOSE);
    const int e = errno;
    const int rc = __real_close(fd); /* as Linux: closed whatever it says */
    if (!fails)
        return rc;
    errno = e;
    return -1;
}

static int reset(void **state)
{
    memset(fail_at, 0, sizeof fail_at);
    write_at_most = 0;
    interrupt_writes = false;
    return temp_dir_make(state);
}

static size_t names_in(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void a_failing_call_leaves_the_old_file_and_no_temporary(void **state)
{
    /* clang-format off */
    static const struct { const char *why; enum call call; int nth, sys; obv_code want; bool old; } CASES[] = {
        {"no space at once",         WRITE,  1, ENOSPC, OBV_E_NO_SPACE,  true},
        {"no space at the third",    WRITE,  3, ENOSPC, OBV_E_NO_SPACE,  true},
        {"quota",                    WRITE,  2, EDQUOT, OBV_E_NO_SPACE,  true},
        {"I/O error",                WRITE,  2, EIO,    OBV_E_IO,        true},
        {"stale mount",              WRITE,  1, ESTALE, OBV_E_STALE,     true},
        {"fsync of the file",        FSYNC,  1, EIO,    OBV_E_IO,        true},
        {"close finds the error",    CLOSE,  1, EIO,    OBV_E_IO,        true},
        {"close finds no space",     CLOSE,  1, ENOSPC, OBV_E_NO_SPACE,  true},
        {"rename",                   RENAME, 1, EROFS,  OBV_E_READ_ONLY, true},
        {"fsync of the folder",      FSYNC,  2, EIO,    OBV_E_IO,        false},
    };
    /* clang-format on */
    const char *path = temp_path(*state, "f");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err err = {0};
        obv_buf b = obv_buf_heap(100);
        print_message("case: %s\n", CASES[i].why);
        write_at_most = 0;
        assert_int_equal(obv_file_write_atomic(path, obv_span_of("old", 3), 0600, &err), OBV_OK);
        write_at_most = 2;
        fail_at[CASES[i].call] = CASES[i].nth;
        fail_with[CASES[i].call] = CASES[i].sys;
        assert_int_equal(obv_file_write_atomic(path, obv_span_of("new bytes", 9), 0600, &err), CASES[i].want);
        assert_int_equal(err.sys, CASES[i].sys);
        assert_int_equal(fail_at[CASES[i].call], 0);
        assert_int_equal(names_in(*state), 1);
        assert_int_equal(obv_file_read_all(path, 100, &b, &err), OBV_OK);
        assert_true(
            obv_span_equal(obv_buf_span(&b), CASES[i].old ? obv_span_of("old", 3) : obv_span_of("new bytes", 9)));
        obv_buf_fini(&b);
    }
}

static void short_and_interrupted_writes_are_carried_on(void **state)
{
    obv_err err = {0};
    obv_buf b = obv_buf_heap(100);
    const char *path = temp_path(*state, "f");
    write_at_most = 1;
    interrupt_writes = true;
    assert_int_equal(obv_file_write_atomic(path, obv_span_of("0123456789", 10), 0600, &err), OBV_OK);
    assert_int_equal(obv_file_read_all(path, 100, &b, &err), OBV_OK);
    assert_true(obv_span_equal(obv_buf_span(&b), obv_span_of("0123456789", 10)));
    obv_buf_fini(&b);
}

static void a_folder_counts_only_when_it_is_durable_in_its_parent(void **state)
{
    obv_err err = {0};
    fail_at[FSYNC] = 2;
    fail_with[FSYNC] = EIO;
    assert_int_equal(obv_file_mkdirs(temp_path(*state, "a/b/c"), 0750, &err), OBV_E_IO);
    assert_int_equal(err.sys, EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failing_call_leaves_the_old_file_and_no_temporary, reset, temp_dir_drop),
        cmocka_unit_test_setup_teardown(short_and_interrupted_writes_are_carried_on, reset, temp_dir_drop),
        cmocka_unit_test_setup_teardown(a_folder_counts_only_when_it_is_durable_in_its_parent, reset, temp_dir_drop),
    };
    return cmocka_run_group_tests_name("base.file_faults", tests, NULL, NULL);
}
