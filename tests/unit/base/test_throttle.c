#include "base/clock.h"
#include "base/throttle.h"
#include "test.h"

static void a_null_or_unbounded_throttle_never_waits(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_throttle *t = obv_throttle_new(0, 1);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(obv_throttle_take(NULL, UINT64_MAX, NULL, &err), OBV_OK);
        assert_int_equal(obv_throttle_take(t, UINT64_MAX, NULL, &err), OBV_OK);
    }
    assert_true(obv_throttle_waited_ns(t) == 0);
    obv_throttle_free(t);
    obv_throttle_free(NULL);
}

static void the_burst_is_free_and_the_rest_takes_its_time(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_throttle *t = obv_throttle_new(10000, 1000);
    const int64_t began_at = obv_mono_ns();
    assert_int_equal(obv_throttle_take(t, 1000, NULL, &err), OBV_OK);
    for (int i = 0; i < 10; i++) /* 1,000 tokens = 100 ms */
        assert_int_equal(obv_throttle_take(t, 100, NULL, &err), OBV_OK);
    /* only the lower bound is a promise: a busy machine may be later */
    assert_true(obv_mono_ns() - began_at >= 90 * OBV_NS_PER_MS);
    assert_true(obv_throttle_waited_ns(t) > 0);
    obv_throttle_free(t);
}

static void more_than_the_burst_is_a_debt_of_the_next(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_throttle *t = obv_throttle_new(1000, 10);
    obv_cancel *c = obv_cancel_new(NULL);
    assert_int_equal(obv_throttle_take(t, 1000000, NULL, &err), OBV_OK);
    obv_cancel_set_deadline(c, obv_mono_ns() + 20 * OBV_NS_PER_MS);
    assert_int_equal(obv_throttle_take(t, 1, c, &err), OBV_E_TIMEOUT);
    obv_cancel_request(c);
    assert_int_equal(obv_throttle_take(t, 1, c, &err), OBV_E_CANCELLED);
    obv_throttle_set(t, 0); /* unbounded: the debt is forgiven */
    assert_int_equal(obv_throttle_take(t, 1, NULL, &err), OBV_OK);
    obv_cancel_free(c);
    obv_throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_null_or_unbounded_throttle_never_waits),
        cmocka_unit_test(the_burst_is_free_and_the_rest_takes_its_time),
        cmocka_unit_test(more_than_the_burst_is_a_debt_of_the_next),
    };
    return cmocka_run_group_tests_name("base.throttle", tests, NULL, NULL);
}
