/* The fault plugin over the file plugin: what each rule does to which call. */
#include "fault_priv.h"
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern const obv_storage_plugin *obv_storage_plugin_v0(void);

struct bench {
    const obv_storage_plugin *p;
    obv_repo_handle *r;
    char root[40];
    int cancelled;
};

static int bench_cancelled(void *ctx) { return ((struct bench *)ctx)->cancelled; }

static obv_store_class open_with(struct bench *b, const char *rules, obv_store_err *err)
{
    const obv_host host = {.size = sizeof host, .ctx = b, .cancelled = bench_cancelled};
    const obv_kv kv[] = {{"plugin", FILE_PLUGIN}, {"rules", rules}, {"root", b->root}};
    if (b->r)
        b->p->close(b->r);
    b->r = NULL;
    return b->p->open(&host, kv, 3, &b->r, err);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    (void)strcpy(b->root, "/tmp/obv-fault-XXXXXX");
    b->p = obv_storage_plugin_v0();
    *state = b;
    return mkdtemp(b->root) ? 0 : -1;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char cmd[64];
    if (b->r)
        b->p->close(b->r);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", b->root);
    free(b);
    return system(cmd);
}

static obv_store_class put(const struct bench *b, const char *key, const char *text, obv_store_err *err)
{
    const obv_put_opts opts = {.size = sizeof opts};
    obv_put_handle *h = NULL;
    obv_object_info info;
    obv_store_class cls = b->p->put_begin(b->r, key, &opts, &h, err);
    if (cls != OBV_STORE_OK)
        return cls;
    cls = b->p->put_write(h, text, strlen(text), err);
    if (cls != OBV_STORE_OK) {
        b->p->put_abort(h);
        return cls;
    }
    return b->p->put_commit(h, &info, err);
}

/* The object's text, "-" if it is not there. */
static const char *text_of(const struct bench *b, const char *key)
{
    static char buf[256];
    size_t got = 0;
    obv_store_err err;
    if (b->p->get(b->r, key, 0, buf, sizeof buf - 1, &got, &err) != OBV_STORE_OK)
        return "-";
    buf[got] = '\0';
    return buf;
}

static void rules_are_read_or_refused(void **state)
{
    (void)state;
    /* clang-format off */
    static const char *const GOOD[] = {"", "get@1:kill", "put_write@3:fail=no_space", "get@1+:delay=50;head@2x3:lost",
        "any@7:cut=stale", "get@1:short", "get@1:short=10", "list@1:fail=throttled/250", "put_begin@18446744073709551615:cut;"};
    static const char *const BAD[] = {"get", "get@", "get@0:kill", "get@1", "get@1:", "get@1:fail", "get@1:fail=nonsense",
        "nonsense@1:kill", "get@1:delay", "get@1:delay=x", "head@1:short", "get@1:kill=1", "get@1x0:kill", "get@1:killx",
        "gets@1:kill", "get@1:kill,head@1:kill", "get@99999999999999999999:kill", ";", "get@1:fail=no_spaces", "get@-1:kill"};
    /* clang-format on */
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        struct fault_rules rules = {.count = 0};
        print_message("case: \"%s\"\n", GOOD[i]);
        assert_null(fault_rules_parse(GOOD[i], &rules));
    }
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct fault_rules rules = {.count = 0};
        print_message("case: \"%s\"\n", BAD[i]);
        assert_non_null(fault_rules_parse(BAD[i], &rules));
    }
    char many[FAULT_RULES_MAX * 16 + 16] = "";
    struct fault_rules rules = {.count = 0};
    for (int i = 0; i <= FAULT_RULES_MAX; i++)
        (void)strcat(many, "get@1:kill;");
    assert_non_null(fault_rules_parse(many, &rules));
}

static void without_a_rule_it_is_the_other_plugin(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    obv_probe_result probe;
    assert_int_equal(open_with(b, "", &err), OBV_STORE_OK);
    assert_int_equal(put(b, "o", "text", &err), OBV_STORE_OK);
    assert_string_equal(text_of(b, "o"), "text");
    assert_int_equal(b->p->probe(b->r, &probe, &err), OBV_STORE_OK);
    assert_int_equal(probe.caps, OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_OBSERVER_READS);
    assert_int_equal(b->p->copy(b->r, "o", "p", 0, &err), OBV_STORE_UNSUPPORTED);
}

static void the_nth_call_fails_with_the_class(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    obv_object_info info;
    assert_int_equal(open_with(b, "head@2x2:fail=throttled/250;put_commit@2:fail=no_space", &err), OBV_STORE_OK);
    assert_int_equal(put(b, "o", "one", &err), OBV_STORE_OK);
    static const obv_store_class WANT[] = {OBV_STORE_OK, OBV_STORE_THROTTLED, OBV_STORE_THROTTLED, OBV_STORE_OK};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(b->p->head(b->r, "o", &info, &err), WANT[i]);
    assert_int_equal(err.cls, OBV_STORE_THROTTLED);
    assert_int_equal(err.retry_after_ms, 250);
    assert_string_equal(err.provider_code, "InjectedFault");
    assert_int_equal(put(b, "o", "two", &err), OBV_STORE_NO_SPACE);
    assert_string_equal(text_of(b, "o"), "one");
    assert_int_equal(put(b, "o", "three", &err), OBV_STORE_OK);
    assert_string_equal(text_of(b, "o"), "three");
}

static void a_lost_answer_is_a_call_that_was_made(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(open_with(b, "put_commit@1:lost;append@1:lost=stale;put_begin@2:lost", &err), OBV_STORE_OK);
    assert_int_equal(put(b, "o", "one", &err), OBV_STORE_RETRY);
    assert_string_equal(text_of(b, "o"), "one");
    assert_int_equal(b->p->append(b->r, "log", 0, "abc", 3, &err), OBV_STORE_STALE);
    assert_string_equal(text_of(b, "log"), "abc");
    assert_int_equal(put(b, "p", "two", &err), OBV_STORE_RETRY);
    assert_string_equal(text_of(b, "p"), "-");
}

static int count_one(void *ctx, const char *key, const obv_object_info *info)
{
    (void)key, (void)info;
    ++*(int *)ctx;
    return 0;
}

static void a_cut_call_is_made_by_half(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    const char *keys[] = {"a", "b", "c", "d"};
    obv_store_class each[4];
    int seen = 0;
    assert_int_equal(open_with(b, "append@1:cut;remove@1:cut;list@1:cut;sync@2:cut=io;put_commit@5:cut", &err),
                     OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "log", 0, "abcd", 4, &err), OBV_STORE_RETRY);
    assert_string_equal(text_of(b, "log"), "ab");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(put(b, keys[i], "x", &err), OBV_STORE_OK);
    assert_int_equal(b->p->list(b->r, "", count_one, &seen, &err), OBV_STORE_RETRY);
    assert_int_equal(seen, 1);
    assert_int_equal(b->p->remove(b->r, keys, 4, each, &err), OBV_STORE_RETRY);
    assert_int_equal(each[1], OBV_STORE_OK);
    assert_int_equal(each[2], OBV_STORE_RETRY);
    assert_string_equal(text_of(b, "b"), "-");
    assert_string_equal(text_of(b, "c"), "x");
    const char *log = "log";
    assert_int_equal(b->p->sync(b->r, &log, 1, each, &err), OBV_STORE_OK);
    assert_int_equal(b->p->sync(b->r, &log, 1, each, &err), OBV_STORE_IO);
    assert_int_equal(each[0], OBV_STORE_IO);
    assert_int_equal(put(b, "o", "x", &err), OBV_STORE_RETRY);
    assert_string_equal(text_of(b, "o"), "-");
}

static void reads_come_short(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(open_with(b, "get@1:short;get@2+:short=1", &err), OBV_STORE_OK);
    assert_int_equal(put(b, "o", "01234567", &err), OBV_STORE_OK);
    assert_string_equal(text_of(b, "o"), "0123");
    assert_string_equal(text_of(b, "o"), "0");
    assert_string_equal(text_of(b, "o"), "0");
}

static int64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void a_delay_delays_and_can_be_cancelled(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    obv_object_info info;
    assert_int_equal(open_with(b, "head@1:delay=60;head@2:delay=3600000", &err), OBV_STORE_OK);
    const int64_t began = now_ms();
    assert_int_equal(b->p->head(b->r, "none", &info, &err), OBV_STORE_NOT_FOUND);
    assert_true(now_ms() - began >= 50);
    b->cancelled = 1;
    assert_int_equal(b->p->head(b->r, "none", &info, &err), OBV_STORE_CANCELLED);
}

static void a_kill_ends_the_process(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(open_with(b, "put_commit@1:kill", &err), OBV_STORE_OK);
    const pid_t pid = fork();
    if (pid == 0) {
        (void)put(b, "o", "x", &err);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_string_equal(text_of(b, "o"), "-");
}

static void wrong_options_are_named(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    const obv_host host = {.size = sizeof host, .ctx = b, .cancelled = bench_cancelled};
    const obv_kv missing[] = {{"root", b->root}};
    const obv_kv absent[] = {{"plugin", "/no/such/plugin.so"}, {"root", b->root}};
    const obv_kv inner[] = {{"plugin", FILE_PLUGIN}, {"root", b->root}, {"colour", "red"}};
    assert_int_equal(b->p->open(&host, missing, 1, &b->r, &err), OBV_STORE_CONFIG);
    assert_non_null(strstr(err.msg, "plugin"));
    assert_int_equal(b->p->open(&host, absent, 2, &b->r, &err), OBV_STORE_CONFIG);
    assert_int_equal(b->p->open(&host, inner, 3, &b->r, &err), OBV_STORE_CONFIG);
    assert_non_null(strstr(err.msg, "colour"));
    assert_int_equal(open_with(b, "get@1:explode", &err), OBV_STORE_CONFIG);
    assert_non_null(strstr(err.msg, "get@1:explode"));
    assert_int_equal(open_with(b, "open@1:fail=expired", &err), OBV_STORE_EXPIRED);
    assert_null(b->r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rules_are_read_or_refused),
        T(without_a_rule_it_is_the_other_plugin),
        T(the_nth_call_fails_with_the_class),
        T(a_lost_answer_is_a_call_that_was_made),
        T(a_cut_call_is_made_by_half),
        T(reads_come_short),
        T(a_delay_delays_and_can_be_cancelled),
        T(a_kill_ends_the_process),
        T(wrong_options_are_named),
    };
    return cmocka_run_group_tests_name("plugin_fault", tests, NULL, NULL);
}
