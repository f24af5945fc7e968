#include "base/clock.h"
#include "base/throttle.h"
#include "test.h"

#include <pthread.h>
#include <time.h>

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

/* Time passed does not add up beyond the burst, however long nobody asked. */
static void a_long_pause_saves_no_more_than_the_burst(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_throttle *t = obv_throttle_new(10000, 100);
    obv_cancel *c = obv_cancel_new(NULL);
    assert_int_equal(obv_throttle_take(t, 100, NULL, &err), OBV_OK);
    const struct timespec pause = {.tv_nsec = 60 * OBV_NS_PER_MS}; /* 600 tokens by the rate, 100 may be kept */
    (void)nanosleep(&pause, NULL);
    const int64_t began_at = obv_mono_ns();
    const uint64_t before = obv_throttle_waited_ns(t);
    assert_int_equal(obv_throttle_take(t, 100, NULL, &err), OBV_OK);
    assert_true(obv_throttle_waited_ns(t) == before); /* the saved ones are there at once */
    assert_int_equal(obv_throttle_take(t, 100, NULL, &err), OBV_OK);
    assert_int_equal(obv_throttle_take(t, 100, NULL, &err), OBV_OK);
    assert_true(obv_mono_ns() - began_at >= 15 * OBV_NS_PER_MS); /* 200 tokens more took 20 ms of the rate */
    obv_cancel_free(c);
    obv_throttle_free(t);
}

static void no_number_overflows(void **state)
{
    (void)state;
    static const uint64_t RATES[] = {1, 1000, UINT64_MAX};
    obv_err err = {0};
    for (size_t i = 0; i < sizeof RATES / sizeof *RATES; i++) {
        obv_throttle *t = obv_throttle_new(RATES[i], UINT64_MAX);
        obv_cancel *c = obv_cancel_new(NULL);
        assert_int_equal(obv_throttle_take(t, UINT64_MAX, NULL, &err), OBV_OK); /* all of a full bucket */
        obv_cancel_set_deadline(c, obv_mono_ns() + 5 * OBV_NS_PER_MS);
        const obv_code code = obv_throttle_take(t, UINT64_MAX, c, &err);
        assert_true(code == OBV_E_TIMEOUT || (code == OBV_OK && RATES[i] == UINT64_MAX));
        obv_cancel_free(c);
        obv_throttle_free(t);
    }
    obv_throttle *t = obv_throttle_new(1, 0); /* a burst of 0 would never let anything pass: it is 1 */
    obv_cancel *c = obv_cancel_new(NULL);
    assert_int_equal(obv_throttle_take(t, UINT64_MAX, NULL, &err), OBV_OK); /* and a debt of 584 years */
    obv_cancel_set_deadline(c, obv_mono_ns() + 5 * OBV_NS_PER_MS);
    assert_int_equal(obv_throttle_take(t, 1, c, &err), OBV_E_TIMEOUT);
    obv_cancel_free(c);
    obv_throttle_free(t);
}

struct waiter {
    obv_throttle *t;
    obv_code code;
};

static void *take_in_a_thread(void *arg)
{
    struct waiter *w = arg;
    obv_err err = {0};
    w->code = obv_throttle_take(w->t, 1000, NULL, &err);
    return NULL;
}

static void a_new_rate_counts_for_those_who_wait(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_throttle *t = obv_throttle_new(1, 1000);
    struct waiter w = {.t = t, .code = OBV_E_INTERNAL};
    pthread_t thread;
    assert_int_equal(obv_throttle_take(t, 1000, NULL, &err), OBV_OK);
    const int64_t began_at = obv_mono_ns();
    assert_int_equal(pthread_create(&thread, NULL, take_in_a_thread, &w), 0); /* 1,000 s at the old rate */
    const struct timespec pause = {.tv_nsec = 10 * OBV_NS_PER_MS};
    (void)nanosleep(&pause, NULL);
    obv_throttle_set(t, 1000000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(w.code, OBV_OK);
    assert_true(obv_mono_ns() - began_at < 30 * OBV_NS_PER_S);
    /* without a rate the debt is forgiven, and stays so when there is one again */
    assert_int_equal(obv_throttle_take(t, UINT64_MAX / 2, NULL, &err), OBV_OK);
    obv_throttle_set(t, 0);
    obv_throttle_set(t, 1000000);
    assert_int_equal(obv_throttle_take(t, 10, NULL, &err), OBV_OK);
    obv_throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_null_or_unbounded_throttle_never_waits),
        cmocka_unit_test(the_burst_is_free_and_the_rest_takes_its_time),
        cmocka_unit_test(more_than_the_burst_is_a_debt_of_the_next),
        cmocka_unit_test(a_long_pause_saves_no_more_than_the_burst),
        cmocka_unit_test(no_number_overflows),
        cmocka_unit_test(a_new_rate_counts_for_those_who_wait),
    };
    return cmocka_run_group_tests_name("base.throttle", tests, NULL, NULL);
}
