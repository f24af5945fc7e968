#include "base/span.h"
#include "test.h"

static void a_buffer_keeps_its_hard_limit(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(300);
    obv_err err = {0};
    for (int i = 0; i < 3; i++)
        obv_buf_append(
            &b, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
            100);
    assert_int_equal(obv_buf_check(&b, "it", &err), OBV_OK);
    assert_int_equal(b.len, 300);
    obv_buf_append(&b, "x", 1);
    obv_buf_append(&b, "", 0);
    assert_int_equal(obv_buf_check(&b, "it", &err), OBV_E_LIMIT);
    assert_int_equal(b.len, 300);
    obv_buf_fini(&b);
}

static void a_fixed_buffer_never_allocates(void **state)
{
    (void)state;
    uint8_t array[8];
    obv_buf b = obv_buf_fixed(array, sizeof array);
    obv_buf_append(&b, "abcdefgh", 8);
    assert_ptr_equal(b.data, array);
    assert_false(b.failed);
    obv_buf_append_zeros(&b, 1);
    assert_true(b.failed);
    assert_memory_equal(array, "abcdefgh", 8);
    obv_buf_fini(&b);
}

static void every_code_has_a_row_with_all_columns(void **state)
{
    (void)state;
    size_t rows = 0;
    for (const obv_code_info *i; (i = obv_code_at(rows)) != NULL; rows++) {
        assert_ptr_equal(obv_code_describe(i->code), i);
        assert_non_null(i->name);
        assert_true(i->code == OBV_OK || i->exit_code > 0);
        assert_true(i->code == OBV_OK || i->default_hint[0]);
        assert_true(i->code == OBV_OK || i->grpc_status > 0);
    }
    assert_true(rows >= 29);
    assert_int_equal(obv_code_describe((obv_code)63)->code, OBV_E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_keeps_its_hard_limit),
        cmocka_unit_test(a_fixed_buffer_never_allocates),
        cmocka_unit_test(every_code_has_a_row_with_all_columns),
    };
    return cmocka_run_group_tests_name("base.span", tests, NULL, NULL);
}
