/* test_rights_look.c - what an account may do, asked of a server that is told its answers; the server's clock */
#include "base/rights.h"
#include "test.h"

#include <string.h>

/* Answers by a word of the statement; the first that fits. Without one: one row "1". */
struct answer {
    const char *word;
    obv_code code;
    const char *rows[3];
};
static const struct answer *answers;
static unsigned asked;

obv_code __wrap_obv_mysql_query(obv_mysql *m, const char *sql, uint32_t columns, uint64_t max_rows,
                                obv_mysql_row_fn *fn, void *ctx, obv_err *err);

obv_code __wrap_obv_mysql_query(obv_mysql *m, const char *sql, uint32_t columns, uint64_t max_rows,
                                obv_mysql_row_fn *fn, void *ctx, obv_err *err)
{
    static const struct answer ONE = {"", OBV_OK, {"1"}};
    const struct answer *a = answers;
    (void)m;
    assert_int_equal(columns, 1);
    assert_true(max_rows >= 1);
    asked++;
    while (a && a->word && !strstr(sql, a->word))
        a++;
    if (!a || !a->word)
        a = &ONE;
    if (a->code != OBV_OK)
        return obv_fail(err, a->code, 0, "told to fail");
    for (size_t i = 0; i < 3 && a->rows[i]; i++) {
        const char *const text[] = {a->rows[i]};
        const unsigned long len[] = {strlen(a->rows[i])};
        OBV_TRY(fn(ctx, &(obv_mysql_row){text, len, 1}, err));
    }
    return OBV_OK;
}

static obv_code look(obv_role role, const struct answer *told, obv_rights *out, obv_err *err)
{
    answers = told;
    asked = 0;
    return obv_rights_look(NULL, role, "reader@sys#obshop", "10.0.0.1", 2882, out, err);
}

static void an_account_with_its_rights_misses_nothing(void **state)
{
    (void)state;
    static const struct answer TOLD[] = {{"SHOW GRANTS", OBV_OK, {"GRANT SELECT ON `oceanbase`.* TO 'reader'"}}, {0}};
    for (int role = OBV_ROLE_AGENT; role <= OBV_ROLE_COORDINATOR; role++) {
        obv_rights r;
        obv_err err = {0};
        assert_int_equal(look((obv_role)role, TOLD, &r, &err), OBV_OK);
        assert_true(r.shown && asked > 5);
        assert_string_equal(r.missing, "");
        assert_string_equal(r.too_wide, "");
        assert_string_equal(r.unknown, "");
        assert_string_equal(r.statement, "GRANT SELECT ON oceanbase.* TO reader;");
    }
}

static void what_is_missing_or_unknown_is_named(void **state)
{
    (void)state;
    static const struct answer TOLD[] = {{"__all_zone", OBV_E_DENIED, {0}},
                                         {"__all_virtual_sub_part", OBV_E_UNSUPPORTED, {0}},
                                         {"SHOW GRANTS", OBV_E_DENIED, {0}},
                                         {0}};
    obv_rights r;
    obv_err err = {0};
    assert_int_equal(look(OBV_ROLE_COORDINATOR, TOLD, &r, &err), OBV_OK);
    assert_string_equal(r.missing, "SELECT on oceanbase.__all_zone");
    assert_string_equal(r.unknown, "oceanbase.__all_virtual_sub_part");
    assert_false(r.shown);
}

static void a_restore_needs_alter_system(void **state)
{
    (void)state;
    static const struct answer LESS[] = {{"SHOW GRANTS", OBV_OK, {"GRANT SELECT ON `oceanbase`.* TO 'reader'"}}, {0}};
    static const struct answer FULL[] = {
        {"SHOW GRANTS", OBV_OK, {"GRANT SELECT ON `oceanbase`.* TO 'reader'", "GRANT ALTER SYSTEM ON *.* TO 'reader'"}},
        {0}};
    obv_rights r;
    obv_err err = {0};
    assert_int_equal(look(OBV_ROLE_RESTORE, LESS, &r, &err), OBV_OK);
    assert_string_equal(r.missing, "ALTER SYSTEM on *.*");
    assert_non_null(strstr(r.statement, "GRANT ALTER SYSTEM ON *.* TO reader;"));
    assert_int_equal(look(OBV_ROLE_RESTORE, FULL, &r, &err), OBV_OK);
    assert_string_equal(r.missing, "");
    assert_true(r.alter_system);
}

static void a_connection_that_breaks_is_no_judgement(void **state)
{
    (void)state;
    static const struct answer TABLE[] = {{"__all_server", OBV_E_UNAVAILABLE, {0}}, {0}};
    static const struct answer GRANTS[] = {{"SHOW GRANTS", OBV_E_UNAVAILABLE, {0}}, {0}};
    obv_rights r;
    obv_err err = {0};
    assert_int_equal(look(OBV_ROLE_COORDINATOR, TABLE, &r, &err), OBV_E_UNAVAILABLE);
    assert_string_equal(err.msg, "told to fail");
    err = (obv_err){0};
    assert_int_equal(look(OBV_ROLE_AGENT, GRANTS, &r, &err), OBV_E_UNAVAILABLE);
    assert_string_equal(err.msg, "told to fail");
}

static void the_clock_of_a_server_is_read(void **state)
{
    (void)state;
    static const struct answer NONE[] = {{"UTC_TIMESTAMP", OBV_OK, {0}}, {0}};
    /* clang-format off */
    static const struct { const char *text; int64_t us; } CASES[] = {
        {"2023-01-01 00:00:00.000001", INT64_C(1672531200000001)}, {"2023-01-01 00:00:00", INT64_C(1672531200000000)},
        {"", 0}, {"2023-01-01", 0}, {"2023-13-01 00:00:00", 0}, {"2023-01-01 00:00:00.0000001", 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const struct answer told[] = {{"UTC_TIMESTAMP", OBV_OK, {CASES[i].text}}, {0}};
        int64_t us = 1;
        obv_err err = {0};
        answers = told;
        assert_int_equal(obv_mysql_now(NULL, &us, &err) == OBV_OK, CASES[i].us != 0);
        assert_true(us == CASES[i].us);
    }
    int64_t us = 1;
    obv_err err = {0};
    answers = NONE;
    assert_int_equal(obv_mysql_now(NULL, &us, &err), OBV_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_with_its_rights_misses_nothing),
        cmocka_unit_test(what_is_missing_or_unknown_is_named),
        cmocka_unit_test(a_restore_needs_alter_system),
        cmocka_unit_test(a_connection_that_breaks_is_no_judgement),
        cmocka_unit_test(the_clock_of_a_server_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
