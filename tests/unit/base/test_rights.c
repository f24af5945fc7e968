#include "base/rights.h"
#include "test.h"

#include <string.h>

static void grants_are_judged_by_role(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *line; obv_role role; bool alter; const char *wide; } CASES[] = {
        {"GRANT USAGE ON *.* TO 'a'", OBV_ROLE_AGENT, false, ""},
        {"GRANT SELECT ON `oceanbase`.* TO 'a'", OBV_ROLE_AGENT, false, ""},
        {"GRANT SELECT ON `oceanbase`.`__all_server` TO 'a'", OBV_ROLE_COORDINATOR, false, ""},
        {"GRANT SELECT ON *.* TO 'a'", OBV_ROLE_AGENT, false, "SELECT on *.*"},
        {"GRANT SELECT ON `oceanbase2`.* TO 'a'", OBV_ROLE_AGENT, false, "SELECT on `oceanbase2`.*"},
        {"GRANT ALTER SYSTEM ON *.* TO 'a'", OBV_ROLE_RESTORE, true, ""},
        {"GRANT ALTER SYSTEM ON *.* TO 'a'", OBV_ROLE_COORDINATOR, true, "ALTER SYSTEM on *.*"},
        {"GRANT ALL PRIVILEGES ON *.* TO 'a' WITH GRANT OPTION", OBV_ROLE_RESTORE, true,
         "ALL PRIVILEGES on *.*, GRANT OPTION"},
        {"GRANT SELECT, INSERT, DELETE ON `oceanbase`.* TO 'a'", OBV_ROLE_AGENT, false,
         "INSERT on `oceanbase`.*, DELETE on `oceanbase`.*"},
        {"GRANT SUPER, ALTER SYSTEM ON *.* TO 'a'@'10.%'", OBV_ROLE_RESTORE, true, "SUPER on *.*"},
        {"nonsense", OBV_ROLE_AGENT, false, ""}, {"GRANT ", OBV_ROLE_AGENT, false, ""}, {"", OBV_ROLE_AGENT, false, ""},
        {"GRANT  ON  TO ", OBV_ROLE_AGENT, false, ""}, {"GRANT SELECT ON TO x TO 'a'", OBV_ROLE_AGENT, false, "SELECT on TO x"}, {"GRANT SELECT ON TO x", OBV_ROLE_AGENT, false, ""},
        {"GRANT SELECT TO ON *.* x", OBV_ROLE_AGENT, false, ""},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_rights r = {0};
        print_message("case: %s\n", CASES[i].line);
        obv_rights_grant(CASES[i].role, CASES[i].line, &r);
        assert_int_equal(r.alter_system, CASES[i].alter);
        assert_string_equal(r.too_wide, CASES[i].wide);
    }
}

static void a_list_that_is_full_says_so(void **state)
{
    (void)state;
    obv_rights r = {0};
    for (int i = 0; i < 100; i++)
        obv_rights_grant(OBV_ROLE_AGENT, "GRANT INSERT ON `some_database_of_a_tenant`.* TO 'a'", &r);
    assert_true(strlen(r.too_wide) < sizeof r.too_wide);
    assert_string_equal(r.too_wide + strlen(r.too_wide) - strlen(", …"), ", …");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_are_judged_by_role),
        cmocka_unit_test(a_list_that_is_full_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
