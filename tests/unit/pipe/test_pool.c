#include "base/clock.h"
#include "pipe/pool.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static obv_pool *make(size_t bytes, uint32_t count)
{
    obv_pool *p = NULL;
    obv_err err = {0};
    assert_int_equal(obv_pool_new(bytes, count, &p, &err), OBV_OK);
    return p;
}

static void buffers_are_aligned_apart_and_writable(void **state)
{
    (void)state;
    obv_pool *p = make(5000, 3);
    void *b[3];
    obv_err err = {0};
    assert_int_equal(obv_pool_buf_bytes(p), 8192);
    assert_int_equal(obv_pool_take(p, 3, b, NULL, &err), OBV_OK);
    assert_int_equal(obv_pool_available(p), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)b[i] % OBV_POOL_ALIGN, 0);
        memset(b[i], i + 1, 8192);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(((uint8_t *)b[i])[0], i + 1);
        assert_int_equal(((uint8_t *)b[i])[8191], i + 1);
    }
    obv_pool_give(p, 3, b);
    obv_pool_free(p);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    obv_pool *p = NULL;
    obv_err err = {0};
    void *b[1];
    assert_int_equal(obv_pool_new(0, 1, &p, &err), OBV_E_INVAL);
    assert_int_equal(obv_pool_new(4096, 0, &p, &err), OBV_E_INVAL);
    assert_int_equal(obv_pool_new(4096, 65537, &p, &err), OBV_E_INVAL);
    assert_int_equal(obv_pool_new(SIZE_MAX, 1, &p, &err), OBV_E_INVAL);
    assert_int_equal(obv_pool_new(SIZE_MAX / 2, 4, &p, &err), OBV_E_INVAL);
    assert_null(p);
    p = make(4096, 1);
    assert_int_equal(obv_pool_take(p, 2, b, NULL, &err), OBV_E_LIMIT);
    obv_pool_free(p);
}

static void a_taker_that_is_cancelled_leaves_the_queue(void **state)
{
    (void)state;
    obv_pool *p = make(4096, 2);
    obv_cancel *c = obv_cancel_new(NULL);
    void *a[2], *b[1];
    obv_err err = {0};
    assert_int_equal(obv_pool_take(p, 2, a, NULL, &err), OBV_OK);
    obv_cancel_set_deadline(c, obv_mono_ns() + 20 * OBV_NS_PER_MS);
    assert_int_equal(obv_pool_take(p, 1, b, c, &err), OBV_E_TIMEOUT);
    obv_cancel_request(c);
    assert_int_equal(obv_pool_take(p, 1, b, c, &err), OBV_E_CANCELLED);
    assert_true(obv_pool_waited_ns(p) > 0);
    obv_pool_give(p, 2, a);
    assert_int_equal(obv_pool_take(p, 1, b, NULL, &err), OBV_OK);
    obv_pool_give(p, 1, b);
    obv_cancel_free(c);
    obv_pool_free(p);
}

struct crowd {
    obv_pool *p;
    unsigned n;
    atomic_int *held; /* by all threads, in buffers */
};

static void *take_and_give(void *arg)
{
    const struct crowd *c = arg;
    void *b[8];
    obv_err err;
    for (int i = 0; i < 200; i++) {
        if (obv_pool_take(c->p, c->n, b, NULL, &err) != OBV_OK)
            return NULL;
        if (atomic_fetch_add(c->held, (int)c->n) + (int)c->n > 8)
            return NULL;
        for (unsigned k = 0; k < c->n; k++)
            memset(b[k], 1, 64);
        atomic_fetch_sub(c->held, (int)c->n);
        obv_pool_give(c->p, c->n, b);
    }
    return arg;
}

static void large_and_small_takers_all_get_their_turn(void **state)
{
    (void)state;
    obv_pool *p = make(4096, 8);
    pthread_t t[6];
    struct crowd c[6];
    atomic_int held = 0;
    for (unsigned i = 0; i < 6; i++) {
        c[i] = (struct crowd){.p = p, .n = i == 0 ? 8 : i, .held = &held};
        assert_int_equal(pthread_create(&t[i], NULL, take_and_give, &c[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        void *result;
        pthread_join(t[i], &result);
        assert_ptr_equal(result, &c[i]);
    }
    assert_int_equal(obv_pool_available(p), 8);
    obv_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_aligned_apart_and_writable),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(a_taker_that_is_cancelled_leaves_the_queue),
        cmocka_unit_test(large_and_small_takers_all_get_their_turn),
    };
    return cmocka_run_group_tests_name("pipe.pool", tests, NULL, NULL);
}
