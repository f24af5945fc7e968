#include "cli/cli.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static obv_code parse_line(const char *line, obv_cli *c, const obv_cli_command **k, obv_err *err)
{
    static char words[512];
    char *argv[32] = {0}, *save = NULL;
    int argc = 0;
    (void)snprintf(words, sizeof words, "obvault %s", line);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    *c = (obv_cli){0};
    *k = NULL;
    const obv_code code = obv_cli_parse(argc, argv, c, err);
    return code == OBV_OK ? obv_cli_find(c, k, err) : code;
}

static void commands_take_what_they_need_and_nothing_else(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *line; obv_code want; } CASES[] = {
        {"repo init", OBV_OK}, {"repo show", OBV_OK}, {"repo", OBV_E_INVAL}, {"repo destroy", OBV_E_INVAL}, {"", OBV_E_INVAL},
        {"archive start --wait --run-key a", OBV_OK}, {"archive status --wait", OBV_E_INVAL}, {"archive stop -w", OBV_OK},
        {"backup start --timeout 15m --wait", OBV_OK}, {"backup list", OBV_OK}, {"backup show", OBV_E_INVAL},
        {"backup show 1", OBV_OK}, {"backup show 1 2", OBV_E_INVAL}, {"window", OBV_OK}, {"window --tenant t", OBV_OK},
        {"window t", OBV_E_INVAL}, {"job list --running --limit 5", OBV_OK}, {"job list --limit 0", OBV_E_INVAL},
        {"job cancel backup-1", OBV_OK}, {"job cancel", OBV_E_INVAL}, {"backup cancel", OBV_OK}, {"backup cancel 1", OBV_E_INVAL},
        {"job watch backup-1", OBV_OK}, {"job watch", OBV_E_INVAL}, {"agent list -o json", OBV_OK}, {"version", OBV_OK},
        {"doctor", OBV_OK}, {"doctor --timeout 5s -o json", OBV_OK}, {"doctor --wait", OBV_E_INVAL}, {"repo check", OBV_OK},
        {"agent list -o xml", OBV_E_INVAL}, {"agent list --nonsense", OBV_E_INVAL}, {"backup start --timeout soon", OBV_E_INVAL},
        {"restore start --tenant a --to b --at 2020-01-02T03:04:05.000006+02:00 --pool p", OBV_OK},
        {"restore start --tenant a --to b --at 1577934245000006 --pool p --target x --locality l --primary-zone z --wait", OBV_OK},
        {"restore start --tenant a --to b --at 2020-01-02T03:04:05 --pool p", OBV_E_INVAL},
        {"restore start --tenant a --to b --pool p", OBV_E_INVAL}, {"restore start --tenant a --at 1 --pool p", OBV_E_INVAL},
        {"restore start --to b --at 1 --pool p", OBV_E_INVAL}, {"restore start --tenant a --to b --at 1", OBV_E_INVAL},
        {"restore status restore-1", OBV_OK}, {"backup start --tenant a", OBV_E_INVAL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_cli c;
        const obv_cli_command *k;
        obv_err err = {0};
        print_message("case: %s\n", CASES[i].line);
        assert_int_equal(parse_line(CASES[i].line, &c, &k, &err), CASES[i].want);
        assert_int_equal(err.code, CASES[i].want);
        assert_true((k != NULL) == (CASES[i].want == OBV_OK));
    }
}

static void flag_wins_over_environment_over_file(void **state)
{
    (void)state;
    char path[] = "/tmp/obv_cli_XXXXXX";
    const int fd = mkstemp(path);
    static const char TEXT[] = "coordinator: file:1\nca: /file/ca\ncert: /file/cert\n";
    assert_true(fd >= 0);
    assert_int_equal(write(fd, TEXT, sizeof TEXT - 1), sizeof TEXT - 1);
    char line[128];
    obv_cli c;
    const obv_cli_command *k;
    obv_err err = {0};
    (void)unsetenv("OBVAULT_COORDINATOR");
    assert_int_equal(setenv("OBVAULT_CERT", "/env/cert", 1), 0);
    assert_int_equal(setenv("OBVAULT_CA", "/env/ca", 1), 0);
    (void)snprintf(line, sizeof line, "config show --ca /flag/ca --config %s", path);
    assert_int_equal(parse_line(line, &c, &k, &err), OBV_OK);
    assert_string_equal(c.coordinator, "file:1");
    assert_string_equal(c.ca, "/flag/ca");
    assert_string_equal(c.cert, "/env/cert");
    assert_null(c.key);
    for (int json = 0; json < 2; json++) {
        char *text = NULL;
        size_t len = 0;
        c.out = open_memstream(&text, &len);
        assert_non_null(c.out);
        c.json = json;
        assert_int_equal(k->run(&c, &err), OBV_OK);
        (void)fclose(c.out);
        static const char *const WANT[] = {"/flag/ca", "flag --ca", "environment OBVAULT_CERT", "line 1", "default"};
        for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++)
            if (!strstr(text, WANT[i]))
                fail_msg("no %s in %s", WANT[i], text);
        free(text);
    }
    assert_int_equal(setenv("OBVAULT_CONFIG", path, 1), 0);
    assert_int_equal(parse_line("version", &c, &k, &err), OBV_OK);
    assert_string_equal(c.coordinator, "file:1");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "caa: x\n", 7, 0), 7);
    assert_int_equal(parse_line("version", &c, &k, &err), OBV_E_CONFIG);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(parse_line("version", &c, &k, &err), OBV_E_CONFIG); /* a named file must be there */
    assert_int_equal(unsetenv("OBVAULT_CONFIG") | unsetenv("OBVAULT_CA") | unsetenv("OBVAULT_CERT"), 0);
    assert_int_equal(parse_line("version", &c, &k, &err), OBV_OK);
    assert_null(c.coordinator);
}

static void options_land_in_their_fields(void **state)
{
    (void)state;
    obv_cli c;
    const obv_cli_command *k;
    obv_err err = {0};
    assert_int_equal(setenv("OBVAULT_COORDINATOR", "h:1", 1), 0);
    assert_int_equal(parse_line("restore start --tenant a --to b --at 2020-01-02T03:04:05.000006+02:00 --pool p,q"
                                " --timeout 2h -o json --ca A --cert B --key C",
                                &c, &k, &err),
                     OBV_OK);
    assert_string_equal(c.coordinator, "h:1");
    assert_string_equal(c.tenant, "a");
    assert_string_equal(c.to, "b");
    assert_string_equal(c.pools, "p,q");
    assert_int_equal(c.at_us, INT64_C(1577927045000006));
    assert_int_equal(c.timeout_us, INT64_C(7200000000));
    assert_true(c.json);
    assert_string_equal(c.ca, "A");
    assert_string_equal(c.key, "C");
    assert_int_equal(parse_line("job list -c other:2", &c, &k, &err), OBV_OK);
    assert_string_equal(c.coordinator, "other:2");
    assert_int_equal(unsetenv("OBVAULT_COORDINATOR"), 0);
}

static void durations_have_units(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *text; int64_t s; } CASES[] = {
        {"90", 90}, {"90s", 90}, {"15m", 900}, {"2h", 7200}, {"1d", 86400}, {"0", 0}, {"", -1}, {"s", -1}, {"-5", -1},
        {"5w", -1}, {"5ms", -1}, {"99999999999999999999", -1},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int64_t us = 7;
        obv_err err = {0};
        const obv_code code = obv_cli_duration(CASES[i].text, &us, &err);
        assert_int_equal(code, CASES[i].s < 0 ? OBV_E_INVAL : OBV_OK);
        if (code == OBV_OK)
            assert_int_equal(us, CASES[i].s * 1000000);
    }
}

static void a_bar_shows_how_far_and_how_long(void **state)
{
    (void)state;
    obv_cli_meter m = {0};
    Obvault__V1__Job j = OBVAULT__V1__JOB__INIT;
    Obvault__V1__Progress p = OBVAULT__V1__PROGRESS__INIT;
    char id[] = "backup-1", phase[] = "DOING", bar[160], bytes[24];
    j.id = id;
    j.phase = phase;
    j.progress = &p;
    p.pgs_total = 100;
    obv_cli_meter_see(&m, &j);
    assert_int_equal(obv_cli_meter_eta_s(&m, &j), -1);
    j.at = 10000000;
    p.pgs_done = 25;
    p.bytes_read = 100 << 20;
    obv_cli_meter_see(&m, &j);
    assert_int_equal(obv_cli_meter_eta_s(&m, &j), 30);
    assert_int_equal(m.rate, (100 << 20) / 10);
    obv_cli_meter_bar(&m, &j, bar, sizeof bar);
    assert_string_equal(bar, "backup-1 DOING [######..................]  25%  100.0 MiB  10.0 MiB/s  ETA 0:00:30");
    assert_string_equal(obv_cli_bytes(1023, bytes), "1023 B");
    assert_string_equal(obv_cli_bytes(1536, bytes), "1.5 KiB");
    p.pgs_total = 0;
    obv_cli_meter_bar(&m, &j, bar, sizeof bar); /* nothing planned yet */
    assert_non_null(strstr(bar, "[........................]   0%"));
}

static char *printed(bool json, const ProtobufCMessage *m, obv_cli_text_fn *text, obv_cli_json_fn *doc)
{
    static char out[8192];
    obv_err err = {0};
    memset(out, 0, sizeof out);
    obv_cli c = {.json = json, .out = fmemopen(out, sizeof out - 1, "w")};
    assert_non_null(c.out);
    assert_int_equal(obv_cli_print(&c, m, text, doc, &err), OBV_OK);
    (void)fclose(c.out);
    return out;
}

static void documents_are_versioned_and_parse(void **state)
{
    (void)state;
    Obvault__V1__WindowResponse r = OBVAULT__V1__WINDOW_RESPONSE__INIT;
    Obvault__V1__TenantWindow a = OBVAULT__V1__TENANT_WINDOW__INIT, b = OBVAULT__V1__TENANT_WINDOW__INIT;
    Obvault__V1__TenantWindow *list[] = {&a, &b};
    char one[] = "t\"1", two[] = "t2";
    a.tenant_id = 1001;
    a.tenant = one;
    a.from = 1;
    a.to = 2000001;
    b.tenant_id = 1002;
    b.tenant = two;
    r.windows = list;
    r.n_windows = 2;
    Obvault__V1__WindowHole hole = OBVAULT__V1__WINDOW_HOLE__INIT, *holes[] = {&hole};
    char why[] = "gone", *without[] = {two};
    hole.tenant_id = 1001;
    hole.tenant = one;
    hole.from = 2000002;
    hole.round = 3;
    hole.interrupted = true;
    hole.why = why;
    r.holes = holes;
    r.n_holes = 1;
    r.without = without;
    r.n_without = 1;
    assert_string_equal(
        printed(true, &r.base, obv_text_window, obv_json_window),
        "{\"version\":1,\"tenants\":[{\"tenant_id\":1001,\"tenant_name\":\"t\\\"1\",\"windows\":[{\"set_id\":0,"
        "\"round\":0,\"first_piece\":0,\"last_piece\":0,"
        "\"from\":\"1970-01-01T00:00:00.000001+00:00\",\"to\":\"1970-01-01T00:00:02.000001+00:00\",\"from_us\":1,"
        "\"to_us\":2000001}],\"holes\":[{\"from\":\"1970-01-01T00:00:02.000002+00:00\",\"to\":null,\"from_us\":2000002,"
        "\"to_us\":null,\"round\":3,\"interrupted\":true,\"why\":\"gone\",\"next\":null}]},{\"tenant_id\":1002,"
        "\"tenant_name\":\"t2\",\"windows\":[{\"set_id\":0,\"round\":0,"
        "\"first_piece\":0,\"last_piece\":0,\"from\":null,"
        "\"to\":null,\"from_us\":0,\"to_us\":0}],\"holes\":[]}],\"without\":[\"t2\"]}\n");
    assert_int_equal(obv_cli_window_result(&r.base, &(obv_err){0}), OBV_OK);
    assert_non_null(
        strstr(printed(false, &r.base, obv_text_window, obv_json_window),
               "HOLE t\"1: nothing from 1970-01-01T00:00:02.000002+00:00 to now, and it is not over: gone"));
    r.n_windows = 0;
    r.n_holes = 0;
    r.n_without = 0;
    assert_string_equal(printed(true, &r.base, obv_text_window, obv_json_window),
                        "{\"version\":1,\"tenants\":[],\"without\":[]}\n");
    assert_int_equal(obv_cli_window_result(&r.base, &(obv_err){0}), OBV_E_NOT_RESTORABLE);

    Obvault__V1__Job j = OBVAULT__V1__JOB__INIT;
    Obvault__V1__Error e = OBVAULT__V1__ERROR__INIT;
    char id[] = "backup-3", kind[] = "backup", status[] = "FAILED", phase[] = "CLEANUP", text[] = "no room",
         none[] = "";
    j.id = id;
    j.kind = kind;
    j.status = status;
    j.phase = phase;
    j.run_key = none;
    j.ref = 3;
    e.code = OBV_E_NO_SPACE;
    e.message = text;
    e.hint = none;
    j.error = &e;
    OBV_AUTO(obv_json_freep) obv_json_doc *doc = NULL;
    const obv_json_node *err_node = NULL;
    const char *got = NULL;
    int64_t n = 0;
    obv_err err = {0};
    const char *json = printed(true, &j.base, obv_text_job, obv_json_job);
    assert_int_equal(obv_json_parse(obv_span_of(json, strlen(json)), &doc, &err), OBV_OK);
    assert_int_equal(obv_json_get_i64(obv_json_root(doc), "set_id", &n, &err), OBV_OK);
    assert_int_equal(n, 3);
    assert_int_equal(obv_json_get_object(obv_json_root(doc), "error", &err_node, &err), OBV_OK);
    assert_int_equal(obv_json_get_str(err_node, "code", &got, &err), OBV_OK);
    assert_string_equal(got, "no_space");
    assert_int_equal(obv_json_get_i64(err_node, "exit_code", &n, &err), OBV_OK);
    assert_int_equal(n, 8);
    assert_int_equal(obv_cli_job_result(&j, &err), OBV_E_NO_SPACE);
    assert_non_null(strstr(printed(false, &j.base, obv_text_job, obv_json_job), "FAILED"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_take_what_they_need_and_nothing_else),
        cmocka_unit_test(flag_wins_over_environment_over_file),
        cmocka_unit_test(options_land_in_their_fields),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(a_bar_shows_how_far_and_how_long),
        cmocka_unit_test(documents_are_versioned_and_parse),
    };
    return cmocka_run_group_tests_name("coordinator.cli", tests, NULL, NULL);
}
