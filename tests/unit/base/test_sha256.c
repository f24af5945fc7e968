#include "base/sha256.h"
#include "test.h"

#include <string.h>

/* FIPS 180-4 examples */
static const struct {
    const char *text, *hex;
} KNOWN[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void known_answers_hold_at_once_and_in_pieces(void **state)
{
    (void)state;
    obv_sha256 *h = obv_sha256_new();
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        const size_t len = strlen(KNOWN[i].text);
        uint8_t out[OBV_SHA256_LEN];
        char hex[OBV_SHA256_HEX_LEN];
        obv_err err = {0};
        assert_int_equal(obv_sha256_of(obv_span_of(KNOWN[i].text, len), out, &err), OBV_OK);
        assert_string_equal(obv_hex(obv_span_of(out, sizeof out), hex), KNOWN[i].hex);
        for (size_t k = 0; k < len; k++)
            obv_sha256_update(h, obv_span_of(KNOWN[i].text + k, 1));
        assert_int_equal(obv_sha256_final(h, out, &err), OBV_OK); /* and the object starts anew */
        assert_string_equal(obv_hex(obv_span_of(out, sizeof out), hex), KNOWN[i].hex);
    }
    obv_sha256_free(h);
}

static void an_object_that_could_not_be_made_reports_at_the_end(void **state)
{
    (void)state;
    uint8_t out[OBV_SHA256_LEN];
    obv_err err = {0};
    obv_sha256_update(NULL, obv_span_of("x", 1));
    assert_int_equal(obv_sha256_final(NULL, out, &err), OBV_E_NOMEM);
    obv_sha256_free(NULL);
}

static void hex_digits_are_read_back_exactly(void **state)
{
    (void)state;
    uint8_t out[2];
    char hex[5];
    assert_true(obv_unhex("aB09", out, 2));
    assert_string_equal(obv_hex(obv_span_of(out, 2), hex), "ab09");
    assert_true(obv_unhex("", out, 0));
    assert_false(obv_unhex("aB0", out, 2));
    assert_false(obv_unhex("aB0912", out, 2));
    assert_false(obv_unhex("aB0g", out, 2));
    assert_false(obv_unhex("", out, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_hold_at_once_and_in_pieces),
        cmocka_unit_test(an_object_that_could_not_be_made_reports_at_the_end),
        cmocka_unit_test(hex_digits_are_read_back_exactly),
    };
    return cmocka_run_group_tests_name("base.sha256", tests, NULL, NULL);
}
