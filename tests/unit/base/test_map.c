#include "base/map.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static void keys_are_bytes_and_the_old_value_comes_back(void **state)
{
    (void)state;
    obv_map *m = obv_map_new();
    obv_err err = {0};
    int a = 1, b = 2, c = 3;
    void *old = &c;
    char key[] = "k\0x";
    assert_int_equal(obv_map_put(m, obv_span_of(key, 3), &a, &old, &err), OBV_OK);
    assert_null(old);
    assert_int_equal(obv_map_put(m, obv_span_of("k\0y", 3), &b, NULL, &err), OBV_OK);
    assert_int_equal(obv_map_put(m, obv_span_of("", 0), &c, NULL, &err), OBV_OK);
    key[0] = '?'; /* the map has its own copy */
    assert_ptr_equal(obv_map_get(m, obv_span_of("k\0x", 3)), &a);
    assert_ptr_equal(obv_map_get(m, obv_span_of("k\0y", 3)), &b);
    assert_ptr_equal(obv_map_get(m, obv_span_of(NULL, 0)), &c);
    assert_null(obv_map_get(m, obv_span_str("k")));
    assert_int_equal(obv_map_put(m, obv_span_of("k\0x", 3), &c, &old, &err), OBV_OK);
    assert_ptr_equal(old, &a);
    assert_int_equal(obv_map_count(m), 3);
    assert_ptr_equal(obv_map_remove(m, obv_span_of("k\0x", 3)), &c);
    assert_null(obv_map_remove(m, obv_span_of("k\0x", 3)));
    assert_int_equal(obv_map_count(m), 2);
    obv_map_free(m, NULL);
    obv_map_free(NULL, NULL);
}

/* A plain array says what the map must hold after any puts and removes. */
static void it_agrees_with_a_plain_array_at_every_step(void **state)
{
    (void)state;
    enum { KEYS = 3000, STEPS = 60000 };
    static int values[KEYS];
    static bool in[KEYS];
    obv_map *m = obv_map_new();
    obv_err err = {0};
    size_t count = 0;
    uint32_t x = 12345;
    for (int step = 0; step < STEPS; step++) {
        x = x * 1664525u + 1013904223u;
        const uint32_t k = (x >> 8) % KEYS;
        const obv_span key = obv_span_of(&k, sizeof k);
        const bool grows = (step / (STEPS / 4)) % 2 == 0; /* fill, drain, fill, drain */
        if (grows ? x >> 30 != 0 : x >> 30 == 0) {
            assert_int_equal(obv_map_put(m, key, &values[k], NULL, &err), OBV_OK);
            count += !in[k];
            in[k] = true;
        } else {
            assert_ptr_equal(obv_map_remove(m, key), in[k] ? &values[k] : NULL);
            count -= in[k];
            in[k] = false;
        }
        assert_int_equal(obv_map_count(m), count);
    }
    for (uint32_t k = 0; k < KEYS; k++)
        assert_ptr_equal(obv_map_get(m, obv_span_of(&k, sizeof k)), in[k] ? &values[k] : NULL);
    size_t at = 0, seen = 0;
    obv_span key;
    void *value;
    while (obv_map_next(m, &at, &key, &value)) {
        uint32_t k;
        assert_int_equal(key.len, sizeof k);
        memcpy(&k, key.p, sizeof k);
        assert_true(in[k]);
        assert_ptr_equal(value, &values[k]);
        in[k] = false; /* each once */
        seen++;
    }
    assert_int_equal(seen, count);
    obv_map_free(m, NULL);
}

static void values_are_freed_on_request(void **state)
{
    (void)state;
    obv_map *m = obv_map_new();
    obv_err err = {0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(obv_map_put(m, obv_span_of(&i, sizeof i), malloc(8), NULL, &err), OBV_OK);
    obv_map_free(m, free); /* LeakSanitizer judges */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_bytes_and_the_old_value_comes_back),
        cmocka_unit_test(it_agrees_with_a_plain_array_at_every_step),
        cmocka_unit_test(values_are_freed_on_request),
    };
    return cmocka_run_group_tests_name("base.map", tests, NULL, NULL);
}
