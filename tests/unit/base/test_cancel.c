#include "base/cancel.h"
#include "base/clock.h"
#include "test.h"

#include <pthread.h>

static void a_null_token_is_never_cancelled(void **state)
{
    (void)state;
    obv_err err = {0};
    assert_false(obv_cancel_requested(NULL));
    assert_int_equal(obv_cancel_check(NULL, "x", &err), OBV_OK);
    assert_int_equal(obv_cancel_sleep(NULL, 1, &err), OBV_OK);
    assert_true(obv_cancel_left_ms(NULL) == UINT32_MAX);
    obv_cancel_free(NULL);
}

static void a_child_follows_its_parent_but_not_the_other_way(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_cancel *parent = obv_cancel_new(NULL);
    obv_cancel *child = obv_cancel_new(parent);
    obv_cancel *other = obv_cancel_new(parent);
    obv_cancel_request(other);
    assert_false(obv_cancel_requested(parent));
    assert_int_equal(obv_cancel_check(child, "copy", &err), OBV_OK);
    obv_cancel_request(parent);
    assert_int_equal(obv_cancel_check(child, "copy", &err), OBV_E_CANCELLED);
    assert_string_equal(err.msg, "copy: cancelled");
    assert_int_equal(obv_cancel_left_ms(child), 0);
    obv_cancel_free(child);
    obv_cancel_free(other);
    obv_cancel_free(parent);
}

static void the_nearest_deadline_counts(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_cancel *parent = obv_cancel_new(NULL);
    obv_cancel *child = obv_cancel_new(parent);
    obv_cancel_set_deadline(parent, obv_mono_ns() + 100 * OBV_NS_PER_S);
    obv_cancel_set_deadline(child, obv_mono_ns() + 1000 * OBV_NS_PER_S);
    assert_true(obv_cancel_left_ms(child) <= 100000);
    assert_true(obv_cancel_left_ms(child) > 90000);
    obv_cancel_set_deadline(parent, obv_mono_ns() - 1);
    assert_int_equal(obv_cancel_left_ms(child), 0);
    assert_int_equal(obv_cancel_check(child, "copy", &err), OBV_E_TIMEOUT);
    obv_cancel_set_deadline(parent, 0);
    assert_int_equal(obv_cancel_check(child, "copy", &err), OBV_OK);
    obv_cancel_free(child);
    obv_cancel_free(parent);
}

static void *ask_for_the_stop(void *arg)
{
    obv_cancel_request(arg);
    return NULL;
}

static void a_sleep_ends_early_when_cancelled_or_late(void **state)
{
    (void)state;
    obv_err err = {0};
    pthread_t t;
    obv_cancel *c = obv_cancel_new(NULL);
    const int64_t began_at = obv_mono_ns();
    obv_cancel_set_deadline(c, obv_mono_ns() + 10 * OBV_NS_PER_MS);
    assert_int_equal(obv_cancel_sleep(c, 60000, &err), OBV_E_TIMEOUT);
    obv_cancel_set_deadline(c, 0);
    assert_int_equal(pthread_create(&t, NULL, ask_for_the_stop, c), 0);
    assert_int_equal(obv_cancel_sleep(c, 60000, &err), OBV_E_CANCELLED);
    assert_true(obv_mono_ns() - began_at < 30 * OBV_NS_PER_S);
    pthread_join(t, NULL);
    obv_cancel_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_null_token_is_never_cancelled),
        cmocka_unit_test(a_child_follows_its_parent_but_not_the_other_way),
        cmocka_unit_test(the_nearest_deadline_counts),
        cmocka_unit_test(a_sleep_ends_early_when_cancelled_or_late),
    };
    return cmocka_run_group_tests_name("base.cancel", tests, NULL, NULL);
}
