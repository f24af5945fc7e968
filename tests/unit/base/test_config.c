#include "base/config.h"
#include "test.h"

struct kv {
    char *key, *value;
};
struct tls {
    char *ca, *cert;
};
struct conf {
    char *listen;
    struct tls tls;
    uint32_t workers;
    uint64_t bytes;
    bool direct;
    struct kv *options;
    uint32_t option_count;
    char **hosts;
    uint32_t host_count;
};

static const obv_config_field KV[] = {
    OBV_CONFIG_STR("key", struct kv, key, OBV_CONFIG_REQUIRED, NULL, "name"),
    OBV_CONFIG_STR("value", struct kv, value, 0, "none", "value"),
    OBV_CONFIG_LAST,
};
static const obv_config_field TLS[] = {
    OBV_CONFIG_STR("ca", struct tls, ca, OBV_CONFIG_REQUIRED, NULL, "PEM file of the authority"),
    OBV_CONFIG_STR("cert", struct tls, cert, 0, "/etc/cert.pem", "PEM file of the certificate"),
    OBV_CONFIG_LAST,
};
static const obv_config_field CONF[] = {
    OBV_CONFIG_STR("listen", struct conf, listen, 0, "0.0.0.0:2900", "address and port"),
    OBV_CONFIG_SECTION("tls", struct conf, tls, TLS, "mutual TLS"),
    OBV_CONFIG_U32("workers", struct conf, workers, 2, 1, 64, "threads"),
    OBV_CONFIG_U64("bytes", struct conf, bytes, 7, 0, UINT64_MAX, "a size"),
    OBV_CONFIG_BOOL("direct", struct conf, direct, true, "past the page cache"),
    OBV_CONFIG_LIST("options", struct conf, options, option_count, KV, 3, "plugin options"),
    OBV_CONFIG_STRS("hosts", struct conf, hosts, host_count, 4, "host names"),
    OBV_CONFIG_LAST,
};

static obv_code load(const char *text, struct conf *c, obv_err *err)
{
    return obv_config_parse("a.yaml", obv_span_of(text, strlen(text)), CONF, c, sizeof *c, err);
}

static void what_is_given_is_taken_and_the_rest_has_defaults(void **state)
{
    (void)state;
    struct conf c;
    obv_err err = {0};
    assert_int_equal(load("# comment\n"
                          "tls:\n"
                          "  ca: /etc/ca.pem\n"
                          "workers: 64\n"
                          "bytes: 18446744073709551615\n"
                          "direct: false\n"
                          "options:\n"
                          "  - {key: root, value: /mnt/nfs}\n"
                          "  - key: mode\n"
                          "hosts: [127.0.0.2, \"b c\"]\n",
                          &c, &err),
                     OBV_OK);
    assert_string_equal(c.listen, "0.0.0.0:2900");
    assert_string_equal(c.tls.ca, "/etc/ca.pem");
    assert_string_equal(c.tls.cert, "/etc/cert.pem");
    assert_int_equal(c.workers, 64);
    assert_true(c.bytes == UINT64_MAX);
    assert_false(c.direct);
    assert_int_equal(c.option_count, 2);
    assert_string_equal(c.options[0].value, "/mnt/nfs");
    assert_string_equal(c.options[1].key, "mode");
    assert_string_equal(c.options[1].value, "none");
    assert_int_equal(c.host_count, 2);
    assert_string_equal(c.hosts[1], "b c");
    obv_config_free(CONF, &c, sizeof c);
    assert_null(c.options);
}

static void what_the_table_does_not_allow_is_refused_by_name(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *why, *text, *says; } CASES[] = {
        {"unknown key",            "tls: {ca: x}\nworker: 3\n",                       "worker"},
        {"unknown key deeper",     "tls: {ca: x, key: y}\n",                          "key"},
        {"no required section",    "workers: 3\n",                                    "tls.ca"},
        {"empty required",         "tls: {ca: \"\"}\n",                               "tls.ca"},
        {"text for a number",      "tls: {ca: x}\nworkers: many\n",                   "workers"},
        {"below the bound",        "tls: {ca: x}\nworkers: 0\n",                      "workers"},
        {"above the bound",        "tls: {ca: x}\nworkers: 65\n",                     "workers"},
        {"negative",               "tls: {ca: x}\nworkers: -1\n",                     "workers"},
        {"beyond 64 bits",         "tls: {ca: x}\nbytes: 18446744073709551616\n",     "bytes"},
        {"too many items",         "tls: {ca: x}\nhosts: [a, b, c, d, e]\n",          "hosts"},
        {"item without its key",   "tls: {ca: x}\noptions: [{key: a}, {value: b}]\n", "options[1].key"},
        {"section is a text",      "tls: x\n",                                        "tls"},
        {"a list at the top",      "- a\n",                                           "a.yaml"},
        {"octal is no number",     "tls: {ca: x}\nbytes: 0x10\n",                     "line 2: bytes"},
        {"-1 is no number",        "tls: {ca: x}\nbytes: -1\n",                       "line 2: bytes"},
        {"a key twice",            "tls: {ca: x}\nworkers: 3\nworkers: 4\n",          "a.yaml"},
        {"an alias",               "tls: &t {ca: x}\nlisten: *t\n",                   "a.yaml"},
        {"no YAML",                "tls: {ca: x\n",                                   "a.yaml"},
        {"a tab",                  "tls:\n\tca: x\n",                                 "a.yaml"},
        {"nothing",                "",                                                "a.yaml"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct conf c;
        static const struct conf ZERO;
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(load(CASES[i].text, &c, &err), OBV_E_CONFIG);
        print_message("      %s\n", err.msg);
        assert_int_equal(err.code, OBV_E_CONFIG);
        assert_non_null(strstr(err.msg, CASES[i].says));
        assert_non_null(strstr(err.msg, "a.yaml"));
        assert_memory_equal(&c, &ZERO, sizeof c);
    }
}

static void an_unknown_key_comes_with_its_line(void **state)
{
    (void)state;
    struct conf c;
    obv_err err = {0};
    assert_int_equal(load("tls: {ca: x}\n\n\nsurprise: 3\n", &c, &err), OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, "surprise"));
    assert_non_null(strstr(err.msg, "a.yaml line 4: surprise"));
}

static void what_is_printed_loads_to_the_same(void **state)
{
    (void)state;
    struct conf a, b;
    obv_err err = {0};
    obv_buf first = obv_buf_heap(10000), second = obv_buf_heap(10000);
    assert_int_equal(
        load("tls: {ca: \"a \\\"quoted\\\" \\\\ # text\\n\"}\noptions: [{key: 'x: y'}, {key: '- z'}]\nhosts: [h]\n", &a,
             &err),
        OBV_OK);
    obv_config_print(CONF, &a, &first);
    assert_int_equal(obv_config_parse("printed", obv_buf_span(&first), CONF, &b, sizeof b, &err), OBV_OK);
    assert_string_equal(b.tls.ca, "a \"quoted\" \\ # text\n");
    assert_string_equal(b.options[1].key, "- z");
    obv_config_print(CONF, &b, &second);
    assert_true(obv_span_equal(obv_buf_span(&first), obv_buf_span(&second)));
    obv_buf_fini(&first);
    obv_buf_fini(&second);
    obv_config_free(CONF, &a, sizeof a);
    obv_config_free(CONF, &b, sizeof b);
}

static void every_key_has_a_row_in_the_description(void **state)
{
    (void)state;
    obv_buf b = obv_buf_heap(10000);
    obv_config_describe(CONF, &b);
    obv_buf_append(&b, "", 1);
    const char *text = (char *)b.data;
    assert_non_null(strstr(text, "| `tls.ca` | text | required | PEM file of the authority |\n"));
    assert_non_null(strstr(text, "| `workers` | number | 2 (1 to 64) | threads |\n"));
    assert_non_null(strstr(text, "| `direct` | true/false | true | past the page cache |\n"));
    assert_non_null(strstr(text, "| `options[].value` | text | `none` | value |\n"));
    obv_buf_fini(&b);
}

static void an_unknown_key_comes_with_the_name_that_was_meant(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *text, *says; } CASES[] = {
        {"tls: {ca: x}\nworker: 3\n",                     "line 2: worker is no known key here: did you mean workers?"},
        {"tls: {ca: x, certt: y}\n",                       "did you mean tls.cert?"},
        {"tls: {ca: x}\nWorkers: 3\n",                    "did you mean workers?"},
        {"tls: {ca: x}\noptions: [{key: a, vlaue: b}]\n", "did you mean options.value?"},
        {"tls: {ca: x}\nsomething_else: 3\n",             "is no known key here"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct conf c;
        obv_err err = {0};
        assert_int_equal(load(CASES[i].text, &c, &err), OBV_E_CONFIG);
        print_message("%s\n", err.msg);
        assert_non_null(strstr(err.msg, CASES[i].says));
    }
    char near[96];
    obv_config_nearest(CONF, "something_else", near, sizeof near);
    assert_string_equal(near, "");
}

static const char *origin_of(const obv_config_origins *o, const char *key)
{
    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->item[i].key, key) == 0)
            return o->item[i].from;
    return "no such key";
}

static obv_code load_with(const char *text, const obv_config_given *given, struct conf *c, obv_config_origins *o,
                          obv_err *err)
{
    return obv_config_parse_with("a.yaml", obv_span_of(text, strlen(text)), CONF, given, c, sizeof *c, o, err);
}

static int words(char *line, char **argv)
{
    int n = 0;
    for (char *w = strtok(line, " "); w; w = strtok(NULL, " "))
        argv[n++] = w;
    argv[n] = NULL;
    return n;
}

static void flags_go_before_the_environment_and_that_before_the_file(void **state)
{
    (void)state;
    char line[] = "agent --config x.yaml --tls.ca=/flag/ca.pem --workers 5 local --hosts=a,b -- --bytes=1";
    static obv_config_origins o;
    obv_config_given given = {.env_prefix = "TEST_OBV"};
    char *argv[16];
    int argc = words(line, argv);
    struct conf c;
    obv_err err = {0};
    assert_int_equal(obv_config_take_flags(CONF, &argc, argv, &given, &err), OBV_OK);
    assert_int_equal(argc, 6); /* what is no key is left, and everything behind "--" */
    assert_string_equal(argv[2], "x.yaml");
    assert_string_equal(argv[3], "local");
    assert_string_equal(argv[5], "--bytes=1");
    assert_null(argv[6]);
    (void)setenv("TEST_OBV_WORKERS", "6", 1);
    (void)setenv("TEST_OBV_DIRECT", "false", 1);
    (void)setenv("TEST_OBV_TLS_CERT", "/env/cert.pem", 1);
    (void)setenv("TEST_OBV_BYTES", "", 1); /* empty: absent */
    assert_int_equal(
        load_with("workers: 7\nbytes: 9\nhosts: [c]\ntls:\n  cert: /file/cert.pem\n", &given, &c, &o, &err), OBV_OK);
    assert_string_equal(c.tls.ca, "/flag/ca.pem"); /* required, and given by the flag alone */
    assert_int_equal(c.workers, 5);
    assert_false(c.direct);
    assert_string_equal(c.tls.cert, "/env/cert.pem");
    assert_true(c.bytes == 9);
    assert_string_equal(c.listen, "0.0.0.0:2900");
    assert_int_equal(c.host_count, 2);
    assert_string_equal(c.hosts[1], "b");
    assert_string_equal(origin_of(&o, "workers"), "flag --workers");
    assert_string_equal(origin_of(&o, "direct"), "environment TEST_OBV_DIRECT");
    assert_string_equal(origin_of(&o, "tls.cert"), "environment TEST_OBV_TLS_CERT");
    assert_string_equal(origin_of(&o, "bytes"), "a.yaml line 2");
    assert_string_equal(origin_of(&o, "listen"), "default");
    assert_string_equal(origin_of(&o, "options"), "default");
    assert_int_equal(o.count, 8); /* every key once, sections have none */
    obv_buf shown = obv_buf_heap(10000), again = obv_buf_heap(10000), plain = obv_buf_heap(10000);
    struct conf d;
    obv_config_show(CONF, &c, &o, &shown);
    obv_config_print(CONF, &c, &plain);
    obv_err why = {0};
    assert_int_equal(obv_config_parse("shown", obv_buf_span(&shown), CONF, &d, sizeof d, &why), OBV_OK);
    obv_config_print(CONF, &d, &again); /* with its origins it is still the same configuration */
    assert_true(obv_span_equal(obv_buf_span(&plain), obv_buf_span(&again)));
    obv_buf_append(&shown, "", 1);
    assert_non_null(strstr((char *)shown.data, "workers: 5 # flag --workers\n"));
    assert_non_null(strstr((char *)shown.data, "  cert: \"/env/cert.pem\" # environment TEST_OBV_TLS_CERT\n"));
    obv_buf_fini(&shown);
    obv_buf_fini(&again);
    obv_buf_fini(&plain);
    obv_config_free(CONF, &c, sizeof c);
    obv_config_free(CONF, &d, sizeof d);
    /* what comes from elsewhere is judged as what stands in the file, and blamed on where it came from */
    (void)setenv("TEST_OBV_DIRECT", "maybe", 1);
    assert_int_equal(load_with("workers: 7\n", &given, &c, &o, &err), OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, "environment TEST_OBV_DIRECT: direct must be true or false"));
    (void)unsetenv("TEST_OBV_DIRECT");
    given.flag_count = 0;
    assert_int_equal(load_with("tls: {ca: x}\nworkers: 7\n", &given, &c, &o, &err), OBV_OK);
    assert_int_equal(c.workers, 6);
    obv_config_free(CONF, &c, sizeof c);
    (void)setenv("TEST_OBV_WORKERS", "65", 1);
    assert_int_equal(load_with("tls: {ca: x}\nworkers: 7\n", &given, &c, &o, &err), OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, "environment TEST_OBV_WORKERS: workers is 65"));
    (void)unsetenv("TEST_OBV_WORKERS");
    (void)setenv("TEST_OBV_HOSTS", "a,b,c,d,e", 1);
    assert_int_equal(load_with("tls: {ca: x}\n", &given, &c, &o, &err), OBV_E_CONFIG);
    assert_non_null(strstr(err.msg, "hosts has too many items"));
    (void)unsetenv("TEST_OBV_HOSTS");
    (void)unsetenv("TEST_OBV_TLS_CERT");
    (void)unsetenv("TEST_OBV_BYTES");
}

static void flags_that_are_wrong_are_refused(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *a, *b, *says; } CASES[] = {
        {"--tls.cart=x",   NULL,          "--tls.cart is no key of the configuration: did you mean --tls.cert?"},
        {"--no.such.key=", NULL,          "is no key of the configuration"},
        {"--workers=1",    "--workers=2", "given twice"},
        {"--tls.ca",       NULL,          "needs a value"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char line[100];
        char *argv[8];
        (void)snprintf(line, sizeof line, "agent %s%s%s", CASES[i].a, CASES[i].b ? " " : "",
                       CASES[i].b ? CASES[i].b : "");
        int argc = words(line, argv);
        obv_config_given given = {0};
        obv_err err = {0};
        assert_int_equal(obv_config_take_flags(CONF, &argc, argv, &given, &err), OBV_E_INVAL);
        print_message("%s\n", err.msg);
        assert_non_null(strstr(err.msg, CASES[i].says));
    }
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    struct conf c;
    obv_err err = {0};
    assert_int_equal(obv_config_load("/nonexistent/agent.yaml", CONF, &c, sizeof c, &err), OBV_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/agent.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_is_taken_and_the_rest_has_defaults),
        cmocka_unit_test(what_the_table_does_not_allow_is_refused_by_name),
        cmocka_unit_test(an_unknown_key_comes_with_its_line),
        cmocka_unit_test(what_is_printed_loads_to_the_same),
        cmocka_unit_test(every_key_has_a_row_in_the_description),
        cmocka_unit_test(an_unknown_key_comes_with_the_name_that_was_meant),
        cmocka_unit_test(flags_go_before_the_environment_and_that_before_the_file),
        cmocka_unit_test(flags_that_are_wrong_are_refused),
        cmocka_unit_test(a_missing_file_is_not_found),
    };
    return cmocka_run_group_tests_name("base.config", tests, NULL, NULL);
}
