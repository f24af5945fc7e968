#include "host/repository.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

struct bench {
    char root[32];
    obv_store *store;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    obv_err err = {0};
    (void)strcpy(b->root, "/tmp/obv-repo-XXXXXX");
    if (!mkdtemp(b->root))
        return -1;
    const obv_store_option o[] = {{"root", b->root}};
    const obv_store_config cfg = {.plugin_path = FILE_PLUGIN, .options = o, .option_count = 1};
    if (obv_store_open(&cfg, &b->store, &err) != OBV_OK)
        return -1;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char cmd[64];
    obv_store_close(b->store);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", b->root);
    free(b);
    return system(cmd);
}

static const obv_repository WANT = {.profile = "native", .cluster_name = "obshop", .cluster_id = 7};

static void an_initialised_repository_reads_back(void **state)
{
    const struct bench *b = *state;
    obv_repository made = {0};
    obv_repository read = {0};
    obv_err err = {0};
    assert_int_equal(obv_repository_read(b->store, "obshop", 7, NULL, &read, &err), OBV_E_NOT_INITIALISED);
    assert_int_equal(obv_repository_init(b->store, &WANT, NULL, &made, &err), OBV_OK);
    assert_int_equal(strlen(made.uuid), 36);
    assert_int_equal(obv_repository_read(b->store, "obshop", 7, NULL, &read, &err), OBV_OK);
    assert_string_equal(read.uuid, made.uuid);
    assert_string_equal(read.profile, "native");
    assert_true(read.capabilities & OBV_STORE_CAN_IF_ABSENT);
    assert_int_equal(obv_repository_verify(b->store, "obshop", 7, made.uuid, NULL, NULL, &err), OBV_OK);
    assert_int_equal(
        obv_repository_verify(b->store, "obshop", 7, "00000000-0000-4000-8000-000000000000", NULL, NULL, &err),
        OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, made.uuid));
    assert_int_equal(obv_repository_verify(b->store, "other", 7, NULL, NULL, NULL, &err), OBV_E_NOT_INITIALISED);
}

static void only_a_repeat_with_the_same_uuid_is_welcome(void **state)
{
    const struct bench *b = *state;
    obv_repository want = WANT;
    obv_repository made = {0};
    obv_repository again = {0};
    obv_err err = {0};
    (void)strcpy(want.uuid, "11111111-2222-4333-8444-555555555555");
    assert_int_equal(obv_repository_init(b->store, &want, NULL, &made, &err), OBV_OK);
    assert_string_equal(made.uuid, want.uuid);
    assert_int_equal(obv_repository_init(b->store, &want, NULL, &again, &err), OBV_OK);
    assert_int_equal(obv_repository_init(b->store, &WANT, NULL, &again, &err), OBV_E_EXISTS);
    assert_string_equal(again.uuid, want.uuid);
}

static void somebody_elses_tree_is_refused(void **state)
{
    const struct bench *b = *state;
    obv_repository made = {0};
    obv_err err = {0};
    const char *key = "obshop/7/incarnation_1/1001/data/tenant_data_backup_info";
    assert_int_equal(obv_store_put_bytes(b->store, key, true, obv_span_of("x", 1), NULL, &err), OBV_OK);
    assert_int_equal(obv_repository_init(b->store, &WANT, NULL, &made, &err), OBV_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "tenant_data_backup_info"));
    /* another cluster's tree beside it does not matter */
    obv_repository other = WANT;
    other.cluster_id = 8;
    assert_int_equal(obv_repository_init(b->store, &other, NULL, &made, &err), OBV_OK);
}

static void an_identity_that_is_none_is_not_taken_for_one(void **state)
{
    const struct bench *b = *state;
    /* clang-format off */
    static const struct { const char *why, *text; obv_code want; } CASES[] = {
        {"empty", "", OBV_E_CORRUPT},
        {"no JSON", "hello", OBV_E_CORRUPT},
        {"newer format", "{\"format_version\":2}", OBV_E_UNSUPPORTED},
        {"uuid missing", "{\"format_version\":1}", OBV_E_NOT_FOUND},
        {"bad uuid", "{\"format_version\":1,\"uuid\":\"x\",\"profile\":\"native\",\"cluster_name\":\"obshop\",\"cluster_id\":7,"
                     "\"created_at\":1,\"capabilities\":7}", OBV_E_CORRUPT},
        {"other cluster", "{\"format_version\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"profile\":\"native\","
                          "\"cluster_name\":\"obshop\",\"cluster_id\":8,\"created_at\":1,\"capabilities\":7,\"sha256\":"
                          "\"04c18f8be34c4c67425e41ef98e892f6cbdd1bde4f454c33900de1607c6466cc\"}\n", OBV_E_CONFIG},
        {"no digest", "{\"format_version\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"profile\":\"native\","
                      "\"cluster_name\":\"obshop\",\"cluster_id\":7,\"created_at\":1,\"capabilities\":7}\n", OBV_E_CORRUPT},
        {"unknown member", "{\"format_version\":1,\"uuid\":\"11111111-2222-4333-8444-555555555555\",\"profile\":\"native\","
                           "\"cluster_name\":\"obshop\",\"cluster_id\":7,\"created_at\":1,\"capabilities\":7,\"x\":1}", OBV_E_CORRUPT},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_repository r = {.cluster_id = 42};
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(obv_store_put_bytes(b->store, "obshop/7/incarnation_1/obvault/repository.json", false,
                                             obv_span_of(CASES[i].text, strlen(CASES[i].text)), NULL, &err),
                         OBV_OK);
        const obv_code code = obv_repository_read(b->store, "obshop", 7, NULL, &r, &err);
        assert_int_equal(code, CASES[i].want == OBV_E_NOT_FOUND ? OBV_E_CORRUPT : CASES[i].want);
        assert_int_equal(r.cluster_id, 42);
        /* and never overwritten by an init */
        assert_int_not_equal(obv_repository_init(b->store, &WANT, NULL, &r, &err), OBV_OK);
    }
}

/* The text has a digest of itself: whatever byte turns, it is no identity any more. */
static void every_changed_byte_of_an_identity_is_seen(void **state)
{
    const struct bench *b = *state;
    static const char *const KEY = "obshop/7/incarnation_1/obvault/repository.json";
    obv_repository made;
    obv_err err = {0};
    assert_int_equal(obv_repository_init(b->store, &WANT, NULL, &made, &err), OBV_OK);
    OBV_AUTO(obv_buf_fini) obv_buf text = obv_buf_heap(4096);
    assert_int_equal(obv_store_get_all(b->store, KEY, 4096, &text, NULL, &err), OBV_OK);
    assert_int_equal(obv_repository_parse(obv_buf_span(&text), &made, &err), OBV_OK);
    for (size_t i = 0; i < text.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[i] ^= (uint8_t)(1u << bit);
            const obv_code code = obv_repository_parse(obv_buf_span(&text), &made, &err);
            if (code != OBV_E_CORRUPT && code != OBV_E_UNSUPPORTED)
                fail_msg("byte %zu, bit %u: code %d", i, bit, (int)code);
            text.data[i] ^= (uint8_t)(1u << bit);
        }
}

static void names_that_cannot_be_folders_are_refused(void **state)
{
    const struct bench *b = *state;
    obv_repository r;
    obv_err err = {0};
    static const char *const BAD[] = {"", "a/b", "..", "a b", "a?b"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(obv_repository_read(b->store, BAD[i], 7, NULL, &r, &err), OBV_E_INVAL);
    assert_int_equal(obv_repository_read(b->store, "obshop", 0, NULL, &r, &err), OBV_E_INVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_initialised_repository_reads_back),
        T(only_a_repeat_with_the_same_uuid_is_welcome),
        T(somebody_elses_tree_is_refused),
        T(an_identity_that_is_none_is_not_taken_for_one),
        T(every_changed_byte_of_an_identity_is_seen),
        T(names_that_cannot_be_folders_are_refused),
    };
    return cmocka_run_group_tests_name("agent_host.repository", tests, NULL, NULL);
}
