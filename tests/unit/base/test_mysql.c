#include "base/mysql.h"
#include "test.h"

static void numbers_are_classified_with_and_without_sign(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { int number; obv_code want; } CASES[] = {
        {0, OBV_OK}, {-4012, OBV_E_TIMEOUT}, {4012, OBV_E_TIMEOUT}, {-4013, OBV_E_UNAVAILABLE}, {1045, OBV_E_AUTH},
        {1142, OBV_E_DENIED}, {1146, OBV_E_UNSUPPORTED}, {-4179, OBV_E_PRECONDITION}, {-4225, OBV_E_PG_GONE},
        {-4023, OBV_E_PG_CHANGED}, {-4103, OBV_E_CORRUPT}, {-9048, OBV_E_NOT_RESTORABLE}, {-9999, OBV_E_INTERNAL},
        {2013, OBV_E_UNAVAILABLE}, {2002, OBV_E_UNAVAILABLE},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_int_equal(obv_mysql_code(CASES[i].number), CASES[i].want);
}

static void text_is_quoted_or_refused(void **state)
{
    (void)state;
    char out[16];
    obv_err err = {0};
    assert_int_equal(obv_mysql_quote("a'b\\c", out, sizeof out, &err), OBV_OK);
    assert_string_equal(out, "'a''b\\\\c'");
    assert_int_equal(obv_mysql_quote("", out, sizeof out, &err), OBV_OK);
    assert_string_equal(out, "''");
    assert_int_equal(obv_mysql_quote("a\nb", out, sizeof out, &err), OBV_E_INVAL);
    assert_int_equal(obv_mysql_quote("''''''''", out, sizeof out, &err), OBV_E_LIMIT);
    assert_int_equal(obv_mysql_quote("x", out, 2, &err), OBV_E_LIMIT);
}

static void columns_are_parsed_strictly(void **state)
{
    (void)state;
    const char *const text[] = {"-9223372036854775808", "18446744073709551615", NULL, "12x", "", "name", "\t-5", "+5"};
    const unsigned long len[] = {20, 20, 0, 3, 0, 4, 3, 2};
    const obv_mysql_row r = {text, len, 8};
    obv_err err = {0};
    int64_t i = 1;
    uint64_t u = 1;
    char s[5];
    assert_int_equal(obv_mysql_i64(&r, 0, &i, &err), OBV_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(obv_mysql_i64(&r, 1, &i, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_mysql_u64(&r, 1, &u, &err), OBV_OK);
    assert_true(u == UINT64_MAX);
    assert_int_equal(obv_mysql_u64(&r, 0, &u, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_mysql_i64(&r, 2, &i, &err), OBV_OK);
    assert_int_equal(i, 0);
    assert_int_equal(obv_mysql_i64(&r, 3, &i, &err), OBV_E_CORRUPT);
    for (uint32_t c = 6; c < 8; c++) {
        assert_int_equal(obv_mysql_i64(&r, c, &i, &err), OBV_E_CORRUPT);
        assert_int_equal(obv_mysql_u64(&r, c, &u, &err), OBV_E_CORRUPT);
    }
    assert_int_equal(obv_mysql_i64(&r, 99, &i, &err), OBV_OK);
    assert_int_equal(obv_mysql_text(&r, 5, s, sizeof s, &err), OBV_OK);
    assert_string_equal(s, "name");
    assert_int_equal(obv_mysql_text(&r, 5, s, 4, &err), OBV_E_LIMIT);
    assert_int_equal(obv_mysql_text(&r, 2, s, 4, &err), OBV_OK);
    assert_string_equal(s, "");
}

static void a_closed_port_is_unavailable_and_a_missing_password_file_config(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_mysql *m = NULL;
    obv_mysql_config cfg = {.host = "127.0.0.1", .port = 1, .user = "root@sys", .connect_timeout_ms = 1000};
    assert_int_equal(obv_mysql_open(&cfg, &m, &err), OBV_E_UNAVAILABLE);
    assert_null(m);
    cfg.password_file = "/nonexistent/secret";
    assert_int_equal(obv_mysql_open(&cfg, &m, &err), OBV_E_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_classified_with_and_without_sign),
        cmocka_unit_test(text_is_quoted_or_refused),
        cmocka_unit_test(columns_are_parsed_strictly),
        cmocka_unit_test(a_closed_port_is_unavailable_and_a_missing_password_file_config),
    };
    return cmocka_run_group_tests_name("base.mysql", tests, NULL, NULL);
}
