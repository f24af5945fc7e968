#include "base/json.h"
#include "test.h"

static void a_writer_places_commas_keys_and_escapes(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(1000);
    obv_json w = obv_json_to(&b);
    obv_json_object(&w, NULL);
    obv_json_str(&w, "s", "a\"b\\c\n\x01\x7f");
    obv_json_array(&w, "list");
    obv_json_i64(&w, NULL, INT64_MIN);
    obv_json_u64(&w, NULL, INT64_MAX);
    obv_json_u64(&w, NULL, UINT64_MAX);
    obv_json_object(&w, NULL);
    obv_json_end(&w);
    obv_json_array(&w, NULL);
    obv_json_end(&w);
    obv_json_end(&w);
    obv_json_fixed(&w, "f", -1.0 / 3, 3);
    obv_json_fixed(&w, "nan", 0.0 / 0.0, 3);
    obv_json_bool(&w, "t", true);
    obv_json_str(&w, "none", NULL);
    obv_json_end(&w);
    obv_json_line(&w);
    obv_buf_append(&b, "", 1);
    assert_false(b.failed);
    assert_string_equal((char *)b.data,
                        "{\"s\":\"a\\\"b\\\\c\\u000a\\u0001\x7f\",\"list\":[-9223372036854775808,9223372036854775807,"
                        "\"18446744073709551615\",{},[]],\"f\":-0.333,\"nan\":null,\"t\":true,\"none\":null}\n");
    obv_buf_fini(&b);
}

static void what_is_no_utf8_becomes_a_replacement_character(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why, *in, *want; } CASES[] = {
        {"two, three and four bytes", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a lone continuation",       "a\x80z",             "\"a\xef\xbf\xbdz\""},
        {"cut at the end",            "a\xe2\x82",          "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {"overlong slash",            "\xc0\xaf",           "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"a surrogate",               "\xed\xa0\x80",       "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"beyond U+10FFFF",           "\xf4\x90\x80\x80",   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_buf b = obv_buf_heap(1000);
        obv_json w = obv_json_to(&b);
        obv_json_str(&w, NULL, CASES[i].in);
        obv_buf_append(&b, "", 1);
        print_message("case: %s\n", CASES[i].why);
        assert_string_equal((char *)b.data, CASES[i].want);
        obv_buf_fini(&b);
    }
}

static void a_full_buffer_is_reported_once_at_the_end(void **state)
{
    (void)state;
    char array[8];
    obv_err err = {0};
    obv_buf b = obv_buf_fixed(array, sizeof array);
    obv_json w = obv_json_to(&b);
    obv_json_array(&w, NULL);
    for (int i = 0; i < 100; i++)
        obv_json_i64(&w, NULL, i);
    obv_json_end(&w);
    assert_int_equal(obv_buf_check(&b, "status", &err), OBV_E_LIMIT);
}

static void a_reader_refuses_what_is_not_exactly_one_value(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why, *in; obv_code want; } CASES[] = {
        {"an object",       "{\"a\":1}",            OBV_OK},
        {"nothing",         "",                     OBV_E_CORRUPT},
        {"trailing text",   "{} x",                 OBV_E_CORRUPT},
        {"a key twice",     "{\"a\":1,\"a\":2}",    OBV_E_CORRUPT},
        {"no end",          "{\"a\":",              OBV_E_CORRUPT},
        {"bad UTF-8",       "{\"a\":\"\xff\"}",     OBV_E_CORRUPT},
        {"a zero byte",     "{\"a\":\"\\u0000\"}",  OBV_E_CORRUPT},
        {"too large",       "[9223372036854775808]", OBV_E_CORRUPT},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_json_doc *d = NULL;
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(obv_json_parse(obv_span_of(CASES[i].in, strlen(CASES[i].in)), &d, &err), CASES[i].want);
        assert_int_equal(err.code, CASES[i].want);
        assert_int_equal(d == NULL, CASES[i].want != OBV_OK);
        obv_json_free(d);
    }
}

static void typed_access_names_the_key_and_leaves_the_result_alone(void **state)
{
    (void)state;
    static const char TEXT[] =
        "{\"s\":\"x\",\"n\":-5,\"big\":\"18446744073709551615\",\"over\":\"18446744073709551616\","
        "\"zero\":\"007\",\"t\":true,\"o\":{\"k\":1},\"a\":[1,\"b\",3],\"f\":1.5,\"nil\":null}";
    obv_json_doc *d = NULL;
    obv_err err = {0};
    assert_int_equal(obv_json_parse(obv_span_of(TEXT, strlen(TEXT)), &d, &err), OBV_OK);
    const obv_json_node *r = obv_json_root(d);
    const char *s = "canary";
    int64_t i = 77;
    uint64_t u = 77;
    bool t = false;
    const obv_json_node *n = NULL;

    assert_int_equal(obv_json_get_str(r, "s", &s, &err), OBV_OK);
    assert_string_equal(s, "x");
    assert_int_equal(obv_json_get_i64(r, "n", &i, &err), OBV_OK);
    assert_int_equal(i, -5);
    assert_int_equal(obv_json_get_u64(r, "big", &u, &err), OBV_OK);
    assert_true(u == UINT64_MAX);
    u = 77;
    assert_int_equal(obv_json_get_u64(r, "n", &u, &err), OBV_E_CORRUPT);
    assert_non_null(strstr(err.msg, "'n'"));
    assert_int_equal(obv_json_get_u64(r, "over", &u, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_json_get_u64(r, "zero", &u, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_json_get_u64(r, "f", &u, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_json_get_u64(r, "absent", &u, &err), OBV_E_NOT_FOUND);
    assert_int_equal(u, 77);
    assert_int_equal(obv_json_get_bool(r, "t", &t, &err), OBV_OK);
    assert_true(t);
    assert_int_equal(obv_json_get_bool(r, "nil", &t, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_json_get_object(r, "a", &n, &err), OBV_E_CORRUPT);
    assert_null(n);
    assert_int_equal(obv_json_get_object(r, "o", &n, &err), OBV_OK);
    assert_true(obv_json_has(n, "k"));
    assert_false(obv_json_has(n, "s"));
    assert_int_equal(obv_json_get_array(r, "a", &n, &err), OBV_OK);
    assert_int_equal(obv_json_count(n), 3);
    assert_int_equal(obv_json_as_i64(obv_json_at(n, 0), &i, &err), OBV_OK);
    assert_int_equal(i, 1);
    assert_int_equal(obv_json_as_str(obv_json_at(n, 1), &s, &err), OBV_OK);
    assert_string_equal(s, "b");
    assert_int_equal(obv_json_as_u64(obv_json_at(n, 2), &u, &err), OBV_OK);
    assert_int_equal(u, 3);
    assert_null(obv_json_at(n, 3));
    assert_int_equal(obv_json_as_str(obv_json_at(n, 3), &s, &err), OBV_E_CORRUPT);
    assert_int_equal(obv_json_count(r), 0);
    assert_int_equal(obv_json_get_i64(obv_json_at(n, 0), "k", &i, &err), OBV_E_CORRUPT);
    obv_json_free(d);
}

static void an_unknown_key_is_named(void **state)
{
    (void)state;
    static const char TEXT[] = "{\"a\":1,\"surprise\":2}";
    static const char *const KEYS[] = {"a", "surprise"};
    obv_json_doc *d = NULL;
    obv_err err = {0};
    assert_int_equal(obv_json_parse(obv_span_of(TEXT, strlen(TEXT)), &d, &err), OBV_OK);
    assert_int_equal(obv_json_only(obv_json_root(d), KEYS, 2, &err), OBV_OK);
    assert_int_equal(obv_json_only(obv_json_root(d), KEYS, 1, &err), OBV_E_CORRUPT);
    assert_non_null(strstr(err.msg, "surprise"));
    obv_json_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_places_commas_keys_and_escapes),
        cmocka_unit_test(what_is_no_utf8_becomes_a_replacement_character),
        cmocka_unit_test(a_full_buffer_is_reported_once_at_the_end),
        cmocka_unit_test(a_reader_refuses_what_is_not_exactly_one_value),
        cmocka_unit_test(typed_access_names_the_key_and_leaves_the_result_alone),
        cmocka_unit_test(an_unknown_key_is_named),
    };
    return cmocka_run_group_tests_name("base.json", tests, NULL, NULL);
}
