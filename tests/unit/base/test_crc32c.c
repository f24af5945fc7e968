#include "base/crc32c.h"
#include "test.h"

#include <string.h>

/* Bit by bit: the definition itself, as oracle. */
static uint32_t by_bit(uint32_t crc, obv_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return crc;
}

static void known_answers_hold(void **state)
{
    (void)state;
    static uint8_t zeros[32], all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    /* clang-format off */
    const struct { const void *p; size_t len; uint64_t init0, init1, init_ones; } CASES[] = {
        {"",          0,   0x00000000, 0x00000001, 0xffffffff},
        {"a",         1,   0x93ad1061, 0x61c69362, 0x3e2fbccf},
        {"123456789", 9,   0x58e3fa20, 0xacdd2c68, 0x1cf96d7c},
        {zeros,       32,  0x00000000, 0x3da6d0cb, 0x756ec955},
        {all,         256, 0x2436a9db, 0xf887d37f, 0x63bbe7b4},
        {"OceanBase", 9,   0xbd8bbc56, 0x49b56a1e, 0xf9912b0a},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_span s = obv_span_of(CASES[i].p, CASES[i].len);
        assert_true(obv_crc64(0, s) == CASES[i].init0);
        assert_true(obv_crc64(1, s) == CASES[i].init1);
        assert_true(obv_crc64(UINT32_MAX, s) == CASES[i].init_ones);
    }
    /* the textbook CRC-32C inverts before and after */
    assert_true((uint32_t)~obv_crc64(UINT32_MAX, obv_span_of("123456789", 9)) == 0xe3069283u);
}

static void only_the_low_half_of_init_counts_unless_there_are_no_bytes(void **state)
{
    (void)state;
    const uint64_t init = UINT64_C(0x123456789abcdef0);
    assert_true(obv_crc64(init, obv_span_of(NULL, 0)) == init);
    assert_true(obv_crc64(init, obv_span_of("\0", 1)) == 0xf3f4d3ab);
    assert_true(obv_crc64(init, obv_span_of("a", 1)) == 0x6059c3ca);
}

static void pieces_and_alignments_give_the_same(void **state)
{
    (void)state;
    static uint8_t bytes[5000];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    for (size_t from = 0; from < 17; from++) {
        for (size_t len = 0; len < 4900; len += 61) {
            const obv_span s = obv_span_of(bytes + from, len);
            const uint32_t want = by_bit(7, s);
            assert_true(obv_crc64(7, s) == want);
            const size_t cut = len / 3;
            assert_true(obv_crc64(obv_crc64(7, obv_span_of(s.p, cut)), obv_span_of(s.p + cut, len - cut)) == want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_hold),
        cmocka_unit_test(only_the_low_half_of_init_counts_unless_there_are_no_bytes),
        cmocka_unit_test(pieces_and_alignments_give_the_same),
    };
    return cmocka_run_group_tests_name("base.crc32c", tests, NULL, NULL);
}
