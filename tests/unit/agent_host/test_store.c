#include "base/clock.h"
#include "host/retry.h"
#include "host/store.h"
#include "host/store_priv.h"
#include "test.h"

#include <pthread.h>

static obv_store *open_fake(const obv_store_option *o, size_t n, uint32_t budget_ms)
{
    const obv_store_config cfg = {
        .plugin_path = FAKE_DIR "/unit_fake_good.so", .options = o, .option_count = n, .retry_budget_ms = budget_ms};
    obv_store *s = NULL;
    obv_err err = {0};
    if (obv_store_open(&cfg, &s, &err) != OBV_OK)
        print_message("%s\n", err.msg);
    assert_non_null(s);
    return s;
}

static void a_plugin_that_does_not_fit_is_named(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *path; obv_code want; const char *text; } CASES[] = {
        {FAKE_DIR "/none.so",                OBV_E_CONFIG,      "none.so"},
        {FAKE_DIR "/CMakeFiles",             OBV_E_CONFIG,      "CMakeFiles"},
        {FAKE_DIR "/unit_fake_wrong_abi.so", OBV_E_UNSUPPORTED, "speaks storage ABI 0.9, this agent 0.2"},
        {FAKE_DIR "/unit_fake_no_get.so",    OBV_E_CONFIG,      "has no get"},
        {FAKE_DIR "/unit_fake_no_symbol.so", OBV_E_UNSUPPORTED, OBV_STORAGE_SYMBOL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_store_config cfg = {.plugin_path = CASES[i].path};
        obv_store *s = NULL;
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].path);
        assert_int_equal(obv_store_open(&cfg, &s, &err), CASES[i].want);
        assert_null(s);
        assert_non_null(strstr(err.msg, CASES[i].text));
    }
}

static void every_class_has_a_code(void **state)
{
    (void)state;
    assert_int_equal(obv_store_code_of(OBV_STORE_OK, 0), OBV_OK);
    for (int c = OBV_STORE_NOT_FOUND; c <= OBV_STORE_THROTTLED; c++)
        if (c <= OBV_STORE_FATAL || c >= OBV_STORE_RETRY)
            assert_int_not_equal(obv_store_code_of((obv_store_class)c, 0), OBV_OK);
    assert_true(OBV_IS_RETRYABLE(obv_store_code_of(OBV_STORE_RETRY, 0)));
    assert_true(OBV_IS_RETRYABLE(obv_store_code_of(OBV_STORE_THROTTLED, 0)));
    assert_false(OBV_IS_RETRYABLE(obv_store_code_of(OBV_STORE_IO, 5)));
    assert_int_equal(obv_store_code_of(OBV_STORE_FATAL, 22), OBV_E_IO);
    assert_int_equal(obv_store_code_of((obv_store_class)40, 0), OBV_E_INTERNAL);
}

static void a_retryable_failure_is_tried_again_and_others_are_not(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why, *cls, *times; obv_code want; } CASES[] = {
        {"passes after two", "64", "2", OBV_E_NOT_FOUND}, {"I/O error", "13", "1", OBV_E_IO},
        {"throttled", "65", "1", OBV_E_NOT_FOUND}, {"stale mount", "9", "1", OBV_E_STALE},
        {"never passes", "64", "1000", OBV_E_UNAVAILABLE},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_store_option o[] = {{"class", CASES[i].cls}, {"fail_head", CASES[i].times}};
        obv_store *s = open_fake(o, 2, 900);
        obv_store_object there = {.size = 42};
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(obv_store_head(s, "o", &there, NULL, &err), CASES[i].want);
        assert_int_equal(err.code, CASES[i].want);
        assert_int_equal(there.size, 42);
        if (CASES[i].want == OBV_E_UNAVAILABLE)
            assert_non_null(strstr(err.msg, "given up after"));
        if (CASES[i].want == OBV_E_IO)
            assert_non_null(strstr(err.msg, "SlowDown request r-1"));
        obv_store_close(s);
    }
}

static void a_wait_that_the_storage_asks_for_is_kept(void **state)
{
    (void)state;
    const obv_store_option o[] = {{"class", "65"}, {"fail_head", "1"}, {"retry_after_ms", "150"}};
    obv_store *s = open_fake(o, 3, 5000);
    obv_store_object there;
    obv_err err = {0};
    const int64_t began = obv_mono_ns();
    assert_int_equal(obv_store_head(s, "o", &there, NULL, &err), OBV_E_NOT_FOUND);
    assert_true(obv_mono_ns() - began >= 150 * OBV_NS_PER_MS);
    obv_store_close(s);
}

static void cancel_and_deadline_reach_into_the_call(void **state)
{
    (void)state;
    const obv_store_option wait[] = {{"wait_for_cancel", "1"}};
    const obv_store_option retry[] = {{"class", "64"}, {"fail_head", "100000"}};
    obv_store_object there;
    obv_err err = {0};
    for (int i = 0; i < 2; i++) {
        obv_store *s = i == 0 ? open_fake(wait, 1, 60000) : open_fake(retry, 2, 60000);
        obv_cancel *c = obv_cancel_new(NULL);
        obv_cancel_set_deadline(c, obv_mono_ns() + 100 * OBV_NS_PER_MS);
        const int64_t began = obv_mono_ns();
        assert_int_equal(obv_store_head(s, "o", &there, c, &err), OBV_E_TIMEOUT);
        assert_true(obv_mono_ns() - began < 5 * OBV_NS_PER_S);
        obv_cancel_free(c);
        obv_store_close(s);
    }
    obv_store *s = open_fake(wait, 1, 60000);
    obv_cancel *c = obv_cancel_new(NULL);
    obv_cancel_request(c);
    assert_int_equal(obv_store_head(s, "o", &there, c, &err), OBV_E_CANCELLED);
    obv_cancel_free(c);
    obv_store_close(s);
}

static void a_small_put_is_repeated_and_knows_its_own(void **state)
{
    (void)state;
    const obv_store_option lost[] = {{"class", "64"}, {"fail_commit", "1"}, {"commit_then_fail", "1"}};
    const obv_store_option fails[] = {{"class", "64"}, {"fail_commit", "2"}};
    obv_err err = {0};
    obv_store *s = open_fake(fails, 2, 10000);
    assert_int_equal(obv_store_put_bytes(s, "o", true, obv_span_of("abc", 3), NULL, &err), OBV_OK);
    obv_store_close(s);
    /* the answer to a put that took place was lost: the repeat finds our own bytes */
    s = open_fake(lost, 3, 10000);
    assert_int_equal(obv_store_put_bytes(s, "o", true, obv_span_of("abc", 3), NULL, &err), OBV_OK);
    assert_int_equal(obv_store_put_bytes(s, "o", true, obv_span_of("abd", 3), NULL, &err), OBV_E_EXISTS);
    assert_int_equal(obv_store_put_bytes(s, "o", true, obv_span_of("abcd", 4), NULL, &err), OBV_E_EXISTS);
    assert_int_equal(obv_store_put_bytes(s, "o", false, obv_span_of("abcd", 4), NULL, &err), OBV_OK);
    obv_buf got = obv_buf_heap(100);
    assert_int_equal(obv_store_get_all(s, "o", 3, &got, NULL, &err), OBV_E_LIMIT);
    assert_int_equal(obv_store_get_all(s, "o", 4, &got, NULL, &err), OBV_OK);
    assert_true(obv_span_equal(obv_buf_span(&got), obv_span_of("abcd", 4)));
    obv_buf_fini(&got);
    obv_store_close(s);
}

static void append_and_sync_are_never_repeated(void **state)
{
    (void)state;
    const obv_store_option o[] = {{"class", "64"}, {"fail_append", "1"}};
    obv_store *s = open_fake(o, 2, 10000);
    obv_err err = {0};
    const char *keys[] = {"a", "b"};
    obv_code each[2] = {OBV_OK, OBV_OK};
    assert_int_equal(obv_store_append(s, "a", 0, obv_span_of("x", 1), NULL, &err), OBV_E_UNAVAILABLE);
    assert_int_equal(obv_store_sync(s, keys, 2, each, NULL, &err), OBV_E_IO);
    assert_int_equal(each[0], OBV_OK);
    assert_int_equal(each[1], OBV_E_IO);
    obv_store_close(s);
}

static void *head_often(void *arg)
{
    obv_store_object there;
    for (int i = 0; i < 30; i++)
        if (obv_store_head(arg, "o", &there, NULL, NULL) != OBV_E_NOT_FOUND)
            return arg;
    return NULL;
}

static void a_serial_plugin_sees_one_call_at_a_time(void **state)
{
    (void)state;
    obv_store *s = open_fake(NULL, 0, 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, head_often, s), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = s;
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    obv_store_close(s);
}

static void keys_are_checked_before_the_plugin(void **state)
{
    (void)state;
    obv_store *s = open_fake(NULL, 0, 0);
    obv_store_object there;
    obv_err err = {0};
    assert_int_equal(obv_store_head(s, "../etc/passwd", &there, NULL, &err), OBV_E_INVAL);
    assert_int_equal(obv_store_put_bytes(s, "a b", true, obv_span_of("x", 1), NULL, &err), OBV_E_INVAL);
    assert_true(obv_store_key_is_valid("c1/1/incarnation_1/1001/data"));
    assert_false(obv_store_key_is_valid("a//b"));
    assert_false(obv_store_key_is_valid(".obvault-tmp/x"));
    assert_true(obv_store_key_is_valid(".obvault-tmpx"));
    assert_false(obv_store_key_is_valid("a/.nfs1"));
    obv_store_close(s);
}

static void a_replaced_store_goes_on_with_what_was_opened_anew(void **state)
{
    (void)state;
    obv_store *s = open_fake(NULL, 0, 0);
    obv_store_put *put = NULL;
    obv_store_object there;
    obv_err err = {0};
    assert_int_equal(obv_store_put_bytes(s, "o", true, obv_span_of("abc", 3), NULL, &err), OBV_OK);
    assert_int_equal(obv_store_put_begin(s, "o", false, NULL, &put, &err), OBV_OK);
    obv_store_replace(s, open_fake(NULL, 0, 0));
    assert_int_equal(obv_store_head(s, "o", &there, NULL, &err), OBV_E_NOT_FOUND); /* the fresh one is empty */
    assert_int_equal(obv_store_put_write(put, obv_span_of("abcd", 4), &err), OBV_OK);
    assert_int_equal(obv_store_put_commit(put, &err), OBV_OK); /* ends where it began */
    assert_int_equal(obv_store_head(s, "o", &there, NULL, &err), OBV_E_NOT_FOUND);
    obv_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_that_does_not_fit_is_named),
        cmocka_unit_test(every_class_has_a_code),
        cmocka_unit_test(a_retryable_failure_is_tried_again_and_others_are_not),
        cmocka_unit_test(a_wait_that_the_storage_asks_for_is_kept),
        cmocka_unit_test(cancel_and_deadline_reach_into_the_call),
        cmocka_unit_test(a_small_put_is_repeated_and_knows_its_own),
        cmocka_unit_test(append_and_sync_are_never_repeated),
        cmocka_unit_test(a_serial_plugin_sees_one_call_at_a_time),
        cmocka_unit_test(keys_are_checked_before_the_plugin),
        cmocka_unit_test(a_replaced_store_goes_on_with_what_was_opened_anew),
    };
    return cmocka_run_group_tests_name("agent_host.store", tests, NULL, NULL);
}
