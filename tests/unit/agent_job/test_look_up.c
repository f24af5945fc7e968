/* test_look_up.c - objects that a plan names are looked up: all of them, by size or by digest */
#include "agent_job/backup_kit.h"
#include "base/sha256.h"
#include "job/meta.h"

enum { THERE = 0, AWAY = 1, SHORT = 2, OTHER = 3 };

static obv_stored_object put(obv_store *s, size_t i, int state)
{
    char text[32];
    obv_stored_object o = {0};
    obv_err err = {0};
    (void)snprintf(o.path, sizeof o.path, "obshop/7/object_%zu", i);
    (void)snprintf(text, sizeof text, "content of %zu", i);
    obv_span bytes = obv_span_of(text, strlen(text));
    assert_int_equal(obv_sha256_of(bytes, o.sha256, &err), OBV_OK);
    o.size = bytes.len;
    if (state == SHORT)
        bytes.len--;
    if (state == OTHER)
        text[0] ^= 1;
    if (state != AWAY)
        assert_int_equal(obv_store_put_bytes(s, o.path, false, bytes, NULL, &err), OBV_OK);
    return o;
}

static void every_object_is_looked_up_and_the_first_wrong_one_is_named(void **state)
{
    struct kit *k = *state;
    static const struct {
        const char *why;
        int state[4];
        bool sizes_only, presence; /* presence: of the last one nothing else is known */
        size_t wrong;
        const char *named;
    } CASES[] = {
        {"all there", {0, 0, 0, 0}, false, false, 0, NULL},
        {"one is away", {THERE, AWAY, THERE, THERE}, true, false, 1, "missing: "},
        {"one is short, one is away, both are counted", {THERE, SHORT, AWAY, THERE}, true, false, 2, "object_1 has"},
        {"sizes do not show other bytes", {THERE, OTHER, THERE, THERE}, true, false, 0, NULL},
        {"digests do", {THERE, OTHER, THERE, AWAY}, false, false, 2, "object_1 is not what was stored"},
        {"presence is all that is asked", {THERE, THERE, THERE, SHORT}, false, true, 0, NULL},
        {"but it is", {THERE, THERE, THERE, AWAY}, false, true, 1, "missing: "},
    };
    obv_store *s = kit_store(k);
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        print_message("case: %s\n", CASES[c].why);
        obv_stored_object list[4];
        obv_task_progress progress = {0};
        obv_err err = {0};
        for (size_t i = 0; i < 4; i++) {
            char file[2400];
            list[i] = put(s, i, THERE);
            (void)snprintf(file, sizeof file, "%s/%s", k->root, list[i].path);
            assert_int_equal(unlink(file), 0);
            list[i] = put(s, i, CASES[c].state[i]);
        }
        list[3].presence = CASES[c].presence;
        const obv_task t = {
            .kind = OBV_TASK_VERIFY_OBJECTS, .objects = list, .object_count = 4, .sizes_only = CASES[c].sizes_only};
        const obv_meta_env env = {.store = s};
        const obv_code code = obv_meta_verify(&env, &t, NULL, &progress, &err);
        assert_int_equal(code, CASES[c].wrong ? OBV_E_CORRUPT : OBV_OK);
        assert_int_equal(progress.blocks_done, 4);
        assert_int_equal(progress.blocks_total, CASES[c].wrong);
        assert_int_equal(progress.bytes_read > 0, !CASES[c].sizes_only);
        if (CASES[c].wrong)
            assert_non_null(strstr(err.msg, CASES[c].named));
    }
    obv_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_object_is_looked_up_and_the_first_wrong_one_is_named, kit_setup,
                                        kit_teardown),
    };
    return cmocka_run_group_tests_name("agent_job.look_up", tests, NULL, NULL);
}
