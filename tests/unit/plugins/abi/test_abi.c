/* While the major version is 0, the agent takes plugins of its own minor version only, and says why. */
#include "host/loader.h"
#include "test.h"

#include <string.h>

static void a_plugin_of_another_minor_is_refused_with_both_versions(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_storage_plugin *p = NULL;
    assert_int_equal(obv_plugin_load(PLUGIN_0_1, &p, &err), OBV_E_UNSUPPORTED);
    assert_null(p);
    assert_non_null(strstr(err.msg, PLUGIN_0_1));
    assert_non_null(strstr(err.msg, "speaks storage ABI 0.1, this agent 0.2"));
}

static void a_plugin_of_this_version_is_taken(void **state)
{
    (void)state;
    obv_err err = {0};
    const obv_storage_plugin *p = NULL;
    const obv_storage_plugin *again = NULL;
    assert_int_equal(obv_plugin_load(PLUGIN_NOW, &p, &err), OBV_OK);
    assert_string_equal(p->name, "null");
    assert_int_equal(obv_plugin_load(PLUGIN_NOW, &again, &err), OBV_OK);
    assert_ptr_equal(p, again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_of_another_minor_is_refused_with_both_versions),
        cmocka_unit_test(a_plugin_of_this_version_is_taken),
    };
    return cmocka_run_group_tests_name("plugin_abi", tests, NULL, NULL);
}
