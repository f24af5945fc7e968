#include "base/finding.h"
#include "test.h"

#include <string.h>

static void the_worst_failure_decides_the_exit_code(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why; obv_code codes[3]; int exit_code; } CASES[] = {
        {"nothing wrong", {OBV_OK}, 0},
        {"a precondition", {OBV_E_PRECONDITION}, 14},
        {"what has no code of its own counts as one", {OBV_E_UNAVAILABLE}, 14},
        {"neither does a time-out", {OBV_E_TIMEOUT, OBV_E_PRECONDITION}, 14},
        {"accounts before preconditions", {OBV_E_PRECONDITION, OBV_E_DENIED}, 10},
        {"in any order", {OBV_E_AUTH, OBV_E_UNSUPPORTED}, 10},
        {"the destination before all", {OBV_E_DENIED, OBV_E_NO_SPACE, OBV_E_PRECONDITION}, 8},
        {"read-only too", {OBV_E_READ_ONLY, OBV_E_AUTH}, 8},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_findings l = {0};
        print_message("case: %s\n", CASES[i].why);
        obv_found_ok(&l, "a.b", "here", "fine");
        obv_found_warn(&l, "a.c", "here", "none", "nothing", "slow");
        for (size_t k = 0; k < 3; k++)
            if (CASES[i].codes[k] != OBV_OK)
                obv_found_fail(&l, CASES[i].codes[k], "a.d", "here", "bad", "mend it", "broken %zu", k);
        assert_int_equal(obv_code_describe(obv_findings_worst(&l))->exit_code, CASES[i].exit_code);
        obv_findings_fini(&l);
    }
}

static void an_error_becomes_a_finding_with_its_hint(void **state)
{
    (void)state;
    obv_findings l = {0};
    obv_err err = {0};
    (void)obv_fail(&err, OBV_E_IO, 5, "read x");
    obv_found_err(&l, &err, "a.b", "here", "nothing is stored");
    (void)obv_hint(&err, "look at x");
    obv_found_err(&l, &err, "a.b", "here", "nothing is stored");
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].found, "read x");
    assert_string_equal(l.v[0].next, obv_code_describe(OBV_E_IO)->default_hint);
    assert_string_equal(l.v[1].next, "look at x");
    assert_string_equal(l.v[0].means, "nothing is stored");
    assert_int_equal(obv_findings_count(&l, OBV_LEVEL_FAIL), 2);
    obv_findings_fini(&l);
}

static void a_list_and_its_texts_are_bounded(void **state)
{
    (void)state;
    static char huge[5000];
    obv_findings l = {0};
    memset(huge, 'x', sizeof huge - 1);
    for (size_t i = 0; i < OBV_FINDINGS_MAX + 5; i++)
        obv_found_fail(&l, OBV_E_IO, huge, huge, huge, huge, "%s", huge);
    assert_int_equal(l.n, OBV_FINDINGS_MAX);
    assert_true(l.cut);
    assert_int_equal(strlen(l.v[0].found), sizeof l.v[0].found - 1);
    assert_int_equal(strlen(l.v[0].check), sizeof l.v[0].check - 1);
    obv_findings_fini(&l);
    assert_null(l.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worst_failure_decides_the_exit_code),
        cmocka_unit_test(an_error_becomes_a_finding_with_its_hint),
        cmocka_unit_test(a_list_and_its_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
