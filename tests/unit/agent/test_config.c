#include "base/file.h"
#include "config.h"
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char GOOD[] = "coordinator: \"127.0.0.1:7070\"\n"
                           "tls: {ca: /tmp/ca, cert: /tmp/cert, key: /tmp/key}\n"
                           "state_dir: /tmp/state\n"
                           "observer: {ip: 127.0.0.2, store_dir: /tmp/store, user: a@sys, password_file: /tmp/pw}\n"
                           "cluster: {name: obshop, id: 7}\n"
                           "repository:\n"
                           "  plugin: /tmp/p.so\n"
                           "  options: [{key: root, value: /backup}]\n";

static obv_code load(const char *text, obv_agent_config *c, obv_err *err)
{
    char path[] = "/tmp/obv-conf-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    const obv_code code = obv_agent_config_load(path, c, err);
    (void)unlink(path);
    return code;
}

static void a_short_file_has_defaults_for_the_rest(void **state)
{
    (void)state;
    obv_agent_config c;
    obv_err err = {0};
    assert_int_equal(load(GOOD, &c, &err), OBV_OK);
    assert_int_equal(c.pool_mib, 256);
    assert_int_equal(c.workers, 2);
    assert_int_equal(c.observer.rpc_port, 2882);
    assert_int_equal(c.observer.sql_port, 2881);
    assert_string_equal(c.repository.uuid, "");
    const obv_store_config sc = obv_agent_store_config(&c);
    assert_int_equal(sc.option_count, 1);
    assert_string_equal(sc.options[0].key, "root");
    assert_string_equal(sc.options[0].value, "/backup");
    obv_agent_config_fini(&c);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why, *from, *to, *named; } CASES[] = {
        {"no port", "\"127.0.0.1:7070\"", "\"127.0.0.1\"", "host:port"},
        {"a host name", "ip: 127.0.0.2", "ip: db1", "observer.ip"},
        {"cluster as a path", "name: obshop", "name: a/b", "cluster"},
        {"unknown level", "cluster:", "log_level: loud\ncluster:", "log_level"},
        {"unknown key", "cluster:", "clusters:", "clusters"},
        {"id missing", ", id: 7", "", "cluster id"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[sizeof GOOD + 64];
        const char *at = strstr(GOOD, CASES[i].from);
        obv_agent_config c;
        obv_err err = {0};
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - GOOD), GOOD, CASES[i].to, at + strlen(CASES[i].from));
        print_message("case: %s\n", CASES[i].why);
        const obv_code code = load(text, &c, &err);
        assert_true(code == OBV_E_CONFIG || code == OBV_E_INVAL);
        if (!strstr(err.msg, CASES[i].named))
            fail_msg("%s", err.msg);
    }
}

static void the_operators_page_names_every_key(void **state)
{
    (void)state;
    obv_buf page = obv_buf_heap(1 << 20);
    obv_buf rows = obv_buf_heap(1 << 20);
    obv_err err = {0};
    assert_int_equal(obv_file_read_all("docs/agent.md", 1 << 20, &page, &err), OBV_OK);
    obv_buf_append(&page, "", 1);
    obv_agent_config_describe(&rows);
    obv_buf_append(&rows, "", 1);
    for (char *line = strtok((char *)rows.data, "\n"); line; line = strtok(NULL, "\n"))
        if (!strstr((char *)page.data, line))
            fail_msg("docs/agent.md lacks: %s", line);
    obv_buf_fini(&page);
    obv_buf_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_file_has_defaults_for_the_rest),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(the_operators_page_names_every_key),
    };
    return cmocka_run_group_tests_name("agent.config", tests, NULL, NULL);
}
