#include "base/file.h"
#include "base/secret.h"
#include "temp_dir.h"
#include "test.h"

#include <sys/stat.h>

static void the_first_line_is_the_secret_and_prints_as_stars(void **state)
{
    static char longest[OBV_SECRET_MAX + 3];
    memset(longest, 'x', sizeof longest - 1);
    /* clang-format off */
    const struct { const char *why, *bytes; size_t len; mode_t mode; obv_code code; const char *want; } CASES[] = {
        {"a line",             "pass word\n",  10, 0600, OBV_OK, "pass word"},
        {"no line end",        "pass",          4, 0640, OBV_OK, "pass"},
        {"Windows line end",   "pass\r\n",      6, 0400, OBV_OK, "pass"},
        {"longest",            longest, OBV_SECRET_MAX, 0600, OBV_OK, NULL},
        {"too long",           longest, OBV_SECRET_MAX + 1, 0600, OBV_E_CONFIG, NULL},
        {"empty",              "",              0, 0600, OBV_E_CONFIG, NULL},
        {"empty line",         "\n",            1, 0600, OBV_E_CONFIG, NULL},
        {"two lines",          "a\nb\n",        4, 0600, OBV_E_CONFIG, NULL},
        {"a zero byte",        "a\0b",          3, 0600, OBV_E_CONFIG, NULL},
        {"open to everybody",  "pass\n",        5, 0644, OBV_E_CONFIG, NULL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_err err = {0};
        obv_secret *s = NULL;
        const char *path = temp_path(*state, "secret");
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(obv_file_write_atomic(path, obv_span_of(CASES[i].bytes, CASES[i].len), CASES[i].mode, &err),
                         OBV_OK);
        assert_int_equal(chmod(path, CASES[i].mode), 0); /* whatever the umask is */
        assert_int_equal(obv_secret_load(path, &s, &err), CASES[i].code);
        if (CASES[i].code == OBV_OK)
            assert_string_equal(obv_secret_mask(s), "***");
        else
            assert_null(s);
        if (CASES[i].want)
            assert_string_equal(obv_secret_reveal(s), CASES[i].want);
        obv_secret_free(s);
    }
}

static void no_secret_is_the_empty_one(void **state)
{
    obv_err err = {0};
    obv_secret *s = NULL;
    assert_int_equal(obv_secret_load(temp_path(*state, "none"), &s, &err), OBV_E_NOT_FOUND);
    assert_string_equal(obv_secret_reveal(NULL), "");
    assert_string_equal(obv_secret_mask(NULL), "");
    s = obv_secret_new("");
    assert_string_equal(obv_secret_mask(s), "");
    obv_secret_free(s);
    obv_secret_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_line_is_the_secret_and_prints_as_stars, temp_dir_make, temp_dir_drop),
        cmocka_unit_test_setup_teardown(no_secret_is_the_empty_one, temp_dir_make, temp_dir_drop),
    };
    return cmocka_run_group_tests_name("base.secret", tests, NULL, NULL);
}
