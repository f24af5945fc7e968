#include "mount.h"
#include "test.h"

#include <string.h>

static const char INFO[] =
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
    "30 21 0:44 / /mnt rw,nosuid shared:5 master:2 - tmpfs tmpfs rw,size=65536k\n"
    "31 30 0:45 / /mnt/back\\040up rw,relatime shared:6 - nfs4 "
    "nas:/vol/b rw,vers=4.1,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,local_lock=none\n"
    "32 21 0:46 / /ro ro,relatime - ext4 /dev/sdb1 rw\n"
    "34 21 0:47 / /odd\\9zz\\777\\ rw - ext4 x rw\n"
    "short line\n"
    "33 21 zz / /bad rw - ext4 x rw";

static obv_code find(const char *path, obv_mount *m)
{
    obv_err err = {0};
    return obv_mount_find(obv_span_of(INFO, sizeof INFO - 1), path, m, &err);
}

static void the_longest_mount_point_holds_a_path(void **state)
{
    (void)state;
    static const struct {
        const char *path, *point, *type;
    } CASES[] = {{"/var/x", "/", "ext4"},
                 {"/mnt", "/mnt", "tmpfs"},
                 {"/mntx", "/", "ext4"},
                 {"/mnt/back up/deep", "/mnt/back up", "nfs4"},
                 {"/odd\\9zz\\777\\/x", "/odd\\9zz\\777\\", "ext4"},
                 {"/bad/x", "/", "ext4"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_mount m;
        print_message("case: %s\n", CASES[i].path);
        assert_int_equal(find(CASES[i].path, &m), OBV_OK);
        assert_string_equal(m.point, CASES[i].point);
        assert_string_equal(m.type, CASES[i].type);
    }
    obv_mount m;
    obv_err err = {0};
    assert_int_equal(obv_mount_find(obv_span_of("", 0), "/x", &m, &err), OBV_E_NOT_FOUND);
}

static void options_are_found_whole(void **state)
{
    (void)state;
    obv_mount m = {.options = "rw,soft,vers=4.1,wsize=1024,local_lock=none"};
    char v[32];
    assert_string_equal(obv_mount_option(&m, "vers", v, sizeof v), "4.1");
    assert_string_equal(obv_mount_option(&m, "soft", v, sizeof v), "");
    assert_string_equal(obv_mount_option(&m, "local_lock", v, sizeof v), "none");
    assert_null(obv_mount_option(&m, "lock", v, sizeof v));
    assert_null(obv_mount_option(&m, "so", v, sizeof v));
    assert_null(obv_mount_option(&m, "size", v, sizeof v));
}

static void each_option_that_matters_has_a_line(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *type, *options; size_t warn, fail; const char *word; } CASES[] = {
        {"nfs4", "rw,hard,vers=4.1,rsize=1048576,wsize=1048576,local_lock=none", 0, 0, "hard"},
        {"nfs4", "rw,soft", 1, 0, "soft"}, {"nfs", "rw,sync,hard", 1, 0, "sync"}, {"nfs", "rw,noac", 1, 0, "noac"},
        {"nfs", "rw,sync,noac,soft", 3, 0, "noac"}, {"nfs", "rw,nolock", 1, 0, "nolock"},
        {"nfs", "rw,local_lock=all", 1, 0, "local_lock=all"}, {"nfs", "rw,local_lock=posix", 1, 0, "local_lock=posix"},
        {"nfs", "rw,wsize=32768", 1, 0, "wsize"}, {"nfs", "rw,nocto", 1, 0, "nocto"},
        {"nfs", "rw,lookupcache=positive", 0, 0, "nfs"}, {"nfs", "rw,lookupcache=all", 1, 0, "lookupcache"},
        {"nfs", "rw,vers=2", 0, 1, "version 2"}, {"nfs4", "ro,hard", 0, 1, "read-only"},
        {"ext4", "rw,sync", 0, 0, "ext4"}, {"ext4", "ro", 0, 1, "read-only"}, {"tmpfs", "rw", 1, 0, "tmpfs"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_mount m = {.point = "/mnt", .source = "nas:/v"};
        obv_findings l = {0};
        bool said = false;
        (void)snprintf(m.type, sizeof m.type, "%s", CASES[i].type);
        (void)snprintf(m.options, sizeof m.options, "%s", CASES[i].options);
        print_message("case: %s %s\n", CASES[i].type, CASES[i].options);
        obv_mount_judge(&m, "h", &l);
        assert_int_equal(obv_findings_count(&l, OBV_LEVEL_WARN), CASES[i].warn);
        assert_int_equal(obv_findings_count(&l, OBV_LEVEL_FAIL), CASES[i].fail);
        for (size_t k = 0; k < l.n; k++) {
            said = said || strstr(l.v[k].found, CASES[i].word);
            assert_true(l.v[k].level == OBV_LEVEL_OK || (l.v[k].means[0] && l.v[k].next[0]));
        }
        assert_true(said);
        obv_findings_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_mount_point_holds_a_path),
        cmocka_unit_test(options_are_found_whole),
        cmocka_unit_test(each_option_that_matters_has_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
