#include "base/file.h"
#include "base/uring.h"
#include "temp_dir.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LEN = 1000003, RANGES = 300 };

static uint8_t byte_at(uint64_t off) { return (uint8_t)(off * 31 + (off >> 12)); }

static void write_sample(const char *path)
{
    static uint8_t bytes[FILE_LEN];
    obv_err err = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(obv_file_write_atomic(path, obv_span_of(bytes, sizeof bytes), 0600, &err), OBV_OK);
}

static void all_ranges_arrive_by(obv_uring_mode mode, const char *path)
{
    obv_err err = {0};
    obv_uring *u = NULL;
    obv_read reads[RANGES];
    int fd = -1;
    bool direct = false;
    assert_int_equal(obv_open_direct(path, &fd, &direct, &err), OBV_OK);
    assert_int_equal(obv_uring_new(16, mode, &u, &err), OBV_OK);
    if (getenv("OBV_NO_IO_URING") || mode == OBV_URING_NEVER)
        assert_false(obv_uring_active(u));
    print_message("io_uring %s, O_DIRECT %s\n", obv_uring_active(u) ? "yes" : "no", direct ? "yes" : "no");
    for (size_t i = 0; i < RANGES; i++) {
        const size_t len = OBV_DIRECT_ALIGN * (i % 3); /* 0 too */
        reads[i] = (obv_read){.fd = fd,
                              .buf = aligned_alloc(OBV_DIRECT_ALIGN, OBV_DIRECT_ALIGN * 2),
                              .len = len,
                              .off = (uint64_t)OBV_DIRECT_ALIGN * (i * 37 % 260)}; /* some beyond the end */
        assert_non_null(reads[i].buf);
    }
    assert_int_equal(obv_uring_read(u, reads, RANGES, &err), OBV_OK);
    for (size_t i = 0; i < RANGES; i++) {
        const obv_read *r = &reads[i];
        const uint64_t left = r->off < FILE_LEN ? FILE_LEN - r->off : 0;
        assert_int_equal(r->code, OBV_OK);
        assert_int_equal(r->got, left < r->len ? left : r->len);
        for (size_t k = 0; k < r->got; k++)
            assert_int_equal(((uint8_t *)r->buf)[k], byte_at(r->off + k));
        free(r->buf);
    }
    obv_uring_free(u);
    assert_int_equal(obv_fd_close(&fd, path, &err), OBV_OK);
}

static void all_ranges_arrive_with_io_uring_and_without(void **state)
{
    const char *path = temp_path(*state, "sample");
    write_sample(path);
    all_ranges_arrive_by(OBV_URING_AUTO, path);
    all_ranges_arrive_by(OBV_URING_NEVER, path);
}

/* Both ways give equal bytes and equal lengths for the same ranges, also beyond the end and unaligned. */
static void both_ways_read_the_same(void **state)
{
    const char *path = temp_path(*state, "sample");
    write_sample(path);
    obv_err err = {0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    enum { N = 64, MOST = 20000 };
    uint8_t *bytes[2];
    obv_read reads[2][N];
    for (int mode = OBV_URING_AUTO; mode <= OBV_URING_NEVER; mode++) {
        obv_uring *u = NULL;
        uint64_t r = 7;
        bytes[mode] = calloc(N, MOST);
        assert_non_null(bytes[mode]);
        for (size_t i = 0; i < N; i++) {
            r = r * UINT64_C(6364136223846793005) + 1442695040888963407;
            reads[mode][i] = (obv_read){
                .fd = fd, .buf = bytes[mode] + i * MOST, .len = (r >> 40) % MOST, .off = (r >> 20) % (FILE_LEN + 5000)};
        }
        assert_int_equal(obv_uring_new(8, (obv_uring_mode)mode, &u, &err), OBV_OK);
        assert_int_equal(obv_uring_read(u, reads[mode], N, &err), OBV_OK);
        obv_uring_free(u);
    }
    for (size_t i = 0; i < N; i++)
        assert_int_equal(reads[0][i].got, reads[1][i].got);
    assert_memory_equal(bytes[0], bytes[1], (size_t)N * MOST);
    free(bytes[0]);
    free(bytes[1]);
    (void)close(fd);
}

static void one_bad_range_does_not_spoil_the_others(void **state)
{
    const char *path = temp_path(*state, "sample");
    write_sample(path);
    for (int mode = OBV_URING_AUTO; mode <= OBV_URING_NEVER; mode++) {
        obv_err err = {0};
        obv_uring *u = NULL;
        char a[16], b[16], c[16];
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        obv_read reads[] = {
            {.fd = fd, .buf = a, .len = sizeof a, .off = 5},
            {.fd = -1, .buf = b, .len = sizeof b},
            {.fd = fd, .buf = c, .len = sizeof c, .off = INT64_MAX},
            {.fd = fd, .buf = c, .len = sizeof c, .off = FILE_LEN - 3},
        };
        assert_int_equal(obv_uring_new(2, (obv_uring_mode)mode, &u, &err), OBV_OK);
        assert_int_equal(obv_uring_read(u, reads, 4, &err), OBV_E_IO);
        assert_int_equal(err.sys, EBADF);
        assert_int_equal(reads[0].code, OBV_OK);
        assert_int_equal(reads[0].got, sizeof a);
        assert_int_equal((uint8_t)a[1], byte_at(6));
        assert_int_equal(reads[1].code, OBV_E_IO);
        assert_int_equal(reads[2].code, OBV_E_INVAL);
        assert_int_equal(reads[3].code, OBV_OK);
        assert_int_equal(reads[3].got, 3);
        obv_uring_free(u);
        (void)close(fd);
    }
}

static void bad_depths_and_paths_are_refused(void **state)
{
    obv_err err = {0};
    obv_uring *u = NULL;
    int fd = 99;
    bool direct;
    assert_int_equal(obv_uring_new(0, OBV_URING_AUTO, &u, &err), OBV_E_INVAL);
    assert_int_equal(obv_uring_new(257, OBV_URING_AUTO, &u, &err), OBV_E_INVAL);
    assert_null(u);
    assert_int_equal(obv_open_direct(temp_path(*state, "none"), &fd, &direct, &err), OBV_E_NOT_FOUND);
    assert_int_equal(fd, -1);
    assert_int_equal(symlink("/etc/passwd", temp_path(*state, "link")), 0);
    assert_int_not_equal(obv_open_direct(temp_path(*state, "link"), &fd, &direct, &err), OBV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_ranges_arrive_with_io_uring_and_without, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(both_ways_read_the_same, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(one_bad_range_does_not_spoil_the_others, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(bad_depths_and_paths_are_refused, temp_dir_make, temp_dir_drop),
    };
    return cmocka_run_group_tests_name("base.uring", tests, NULL, NULL);
}
