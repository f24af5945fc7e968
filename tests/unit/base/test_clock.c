#include "base/clock.h"
#include "test.h"

#include <string.h>

static void a_time_is_written_with_microseconds_and_offset(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { int64_t us; const char *want; } CASES[] = {
        {0,                    "1970-01-01T00:00:00.000000+00:00"},
        {-1,                   "1969-12-31T23:59:59.999999+00:00"},
        {1614834367000008,     "2021-03-04T05:06:07.000008+00:00"},
        {1582934400000000,     "2020-02-29T00:00:00.000000+00:00"},
        {253402300799999999,   "9999-12-31T23:59:59.999999+00:00"},
        {253402300800000000,   ""},
        {INT64_MAX,            ""},
        {INT64_MIN,            ""},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char out[OBV_TIME_TEXT_LEN];
        assert_string_equal(obv_time_text(CASES[i].us, out), CASES[i].want);
    }
}

static void a_time_is_read_only_with_an_offset(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *text; obv_code code; int64_t want; } CASES[] = {
        {"2021-03-04T05:06:07.000008+00:00",  OBV_OK, 1614834367000008},
        {"2021-03-04T05:06:07.000008Z",       OBV_OK, 1614834367000008},
        {"2021-03-04 13:06:07.000008+08:00",  OBV_OK, 1614834367000008},
        {"2021-03-03T23:36:07.000008-05:30",  OBV_OK, 1614834367000008},
        {"2021-03-04T05:06:07Z",              OBV_OK, 1614834367000000},
        {"2021-03-04T05:06:07.5Z",            OBV_OK, 1614834367500000},
        {"1614834367000008",                  OBV_OK, 1614834367000008},
        {"1969-12-31T23:59:59.999999Z",       OBV_OK, -1},
        {"2021-03-04T05:06:07",               OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07.000008",        OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07.0000081Z",      OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07.Z",             OBV_E_INVAL, 0},
        {"2021-03-04",                        OBV_E_INVAL, 0},
        {"2021-02-29T00:00:00Z",              OBV_E_INVAL, 0},
        {"2021-13-01T00:00:00Z",              OBV_E_INVAL, 0},
        {"2021-00-01T00:00:00Z",              OBV_E_INVAL, 0},
        {"2021-01-32T00:00:00Z",              OBV_E_INVAL, 0},
        {"2021-03-04T24:00:00Z",              OBV_E_INVAL, 0},
        {"2021-03-04T05:60:00Z",              OBV_E_INVAL, 0},
        {"2021-03-04T05:06:60Z",              OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07Zx",             OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07+8:00",          OBV_E_INVAL, 0},
        {"2021-03-04T05:06:07+24:00",         OBV_E_INVAL, 0},
        {"0000-03-04T05:06:07Z",              OBV_E_INVAL, 0},
        {"99999999999999999999",              OBV_E_INVAL, 0},
        {"-5",                                OBV_E_INVAL, 0},
        {"",                                  OBV_E_INVAL, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int64_t us = 42;
        obv_err err = {0};
        print_message("case: '%s'\n", CASES[i].text);
        assert_int_equal(obv_time_parse(CASES[i].text, &us, &err), CASES[i].code);
        assert_int_equal(err.code, CASES[i].code);
        assert_true(us == (CASES[i].code == OBV_OK ? CASES[i].want : 42));
    }
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    for (int64_t us = -62135596800000000; us < 253402300800000000; us += 3155760000123457) {
        char text[OBV_TIME_TEXT_LEN];
        int64_t back = 0;
        obv_err err = {0};
        assert_int_equal(obv_time_parse(obv_time_text(us, text), &back, &err), OBV_OK);
        assert_true(back == us);
    }
}

static void clocks_go_forward(void **state)
{
    (void)state;
    const int64_t a = obv_mono_ns();
    assert_true(obv_mono_ns() >= a);
    assert_true(obv_now_us() > 1600000000 * OBV_US_PER_S);
}

static void steady_time_follows_a_jump_slowly(void **state)
{
    (void)state;
    obv_steady s = {0};
    const int64_t start = INT64_C(1764000000000000);
    int64_t off = 1;
    assert_int_equal(obv_steady_us(&s, start, 5 * OBV_NS_PER_S, &off), start);
    assert_int_equal(off, 0);
    assert_int_equal(obv_steady_us(&s, start + 1000000, 6 * OBV_NS_PER_S, &off), start + 1000000);
    /* an hour ahead: ten seconds later eleven have passed */
    const int64_t hour = 3600 * OBV_US_PER_S;
    assert_int_equal(obv_steady_us(&s, start + 11000000 + hour, 16 * OBV_NS_PER_S, &off), start + 12000000);
    assert_int_equal(off, hour);
    /* two hours back: never backwards, nine of ten seconds */
    assert_int_equal(obv_steady_us(&s, start + 21000000 - hour, 26 * OBV_NS_PER_S, &off), start + 21000000);
    /* in many small steps too */
    int64_t last = start + 21000000;
    for (int64_t us = 1; us <= 1000000; us += 3) {
        const int64_t now = obv_steady_us(&s, start + 21000000 + us - hour, 26 * OBV_NS_PER_S + us * 1000, NULL);
        assert_true(now >= last);
        last = now;
    }
    assert_in_range(last, start + 21900000 - 10, start + 21900000 + 20000);
    /* what is reached is kept */
    const int64_t later = start + 1000000 * OBV_US_PER_S;
    (void)obv_steady_us(&s, later, 1000000 * OBV_NS_PER_S, NULL);
    assert_int_equal(obv_steady_us(&s, later + 7, 1000000 * OBV_NS_PER_S + 7000, NULL), later + 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_time_follows_a_jump_slowly),
        cmocka_unit_test(a_time_is_written_with_microseconds_and_offset),
        cmocka_unit_test(a_time_is_read_only_with_an_offset),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests_name("base.clock", tests, NULL, NULL);
}
