/* Objects of the file plugin: order of durability, errors at every call, crashes. */
#include "calls.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

static void a_new_object_is_durable_before_it_has_its_name(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "first", "x", true, &err), OBV_STORE_OK);
    calls_reset();
    assert_int_equal(bench_put(b, "a/b/object", "hello", true, &err), OBV_STORE_OK);
    /* data, then each new folder in its parent, then the name, then the name's folder; the temporary goes last */
    assert_string_equal(calls.seen, "WFCMDMDLDU");
    assert_string_equal(bench_text(b, "a/b/object"), "hello");
    assert_int_equal(bench_leftovers(b), 0);
    calls_reset();
    assert_int_equal(bench_put(b, "a/b/object2", "hello", true, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "WFCLDU");
}

static void a_replaced_object_changes_in_one_step(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "o", "one", false, &err), OBV_STORE_OK);
    calls_reset();
    assert_int_equal(bench_put(b, "o", "two", false, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "WFCRD");
    assert_string_equal(bench_text(b, "o"), "two");
}

static void folders_of_an_earlier_process_are_made_durable_once(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "a/b/x", "x", true, &err), OBV_STORE_OK);
    b->p->close(b->r);
    assert_int_equal(bench_open(b, &err), OBV_STORE_OK);
    calls_reset();
    assert_int_equal(bench_put(b, "a/b/y", "y", true, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "DWFCDDLDU"); /* D of .obvault-tmp, then a and b */
}

static void if_absent_never_touches_what_is_there(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "o", "one", true, &err), OBV_STORE_OK);
    assert_int_equal(bench_put(b, "o", "two", true, &err), OBV_STORE_EXISTS);
    assert_int_equal(err.cls, OBV_STORE_EXISTS);
    assert_string_equal(bench_text(b, "o"), "one");
    assert_int_equal(bench_leftovers(b), 0);
}

static void a_repeated_link_that_was_ours_counts_as_done(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    calls_fail('L', 1, EEXIST);
    calls.fail_after = true;
    assert_int_equal(bench_put(b, "o", "one", true, &err), OBV_STORE_OK);
    assert_string_equal(bench_text(b, "o"), "one");
    assert_int_equal(bench_leftovers(b), 0);
}

static void each_failing_call_fails_the_object_and_leaves_nothing(void **state)
{
    const struct bench *b = *state;
    /* clang-format off */
    static const struct { char call; int nth; int e; obv_store_class want; } CASES[] = {
        {'W', 1, ENOSPC, OBV_STORE_NO_SPACE}, {'W', 1, EDQUOT, OBV_STORE_NO_SPACE}, {'W', 1, EIO, OBV_STORE_IO},
        {'F', 1, ENOSPC, OBV_STORE_NO_SPACE}, {'F', 1, EIO, OBV_STORE_IO},
        {'C', 1, EDQUOT, OBV_STORE_NO_SPACE}, {'C', 1, EIO, OBV_STORE_IO},
        {'M', 1, EACCES, OBV_STORE_DENIED},   {'M', 1, EROFS, OBV_STORE_READ_ONLY},
        {'L', 1, EPERM, OBV_STORE_DENIED},    {'L', 1, ESTALE, OBV_STORE_STALE}, {'L', 1, EIO, OBV_STORE_IO},
        {'D', 2, EIO, OBV_STORE_IO},          {'D', 3, EIO, OBV_STORE_IO},
    };
    /* clang-format on */
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "first", "x", true, &err), OBV_STORE_OK);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "d%zu/e/object", i);
        print_message("case: %c errno %d\n", CASES[i].call, CASES[i].e);
        calls_fail(CASES[i].call, CASES[i].nth, CASES[i].e);
        assert_int_equal(bench_put(b, key, "hello", true, &err), CASES[i].want);
        assert_int_equal(err.cls, CASES[i].want);
        assert_int_equal(err.sys, CASES[i].e);
        assert_string_equal(bench_text(b, key), "");
        assert_int_equal(bench_leftovers(b), 0);
        calls_reset(); /* the same put again succeeds: nothing half-done stands in its way */
        assert_int_equal(bench_put(b, key, "hello", true, &err), OBV_STORE_OK);
        assert_string_equal(bench_text(b, key), "hello");
    }
}

static void short_writes_go_on(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    calls.short_writes = true;
    assert_int_equal(bench_put(b, "o", "0123456789abcdef", true, &err), OBV_STORE_OK);
    assert_string_equal(bench_text(b, "o"), "0123456789abcdef");
}

static void keys_outside_the_grammar_are_refused(void **state)
{
    const struct bench *b = *state;
    /* clang-format off */
    static const char *const BAD[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a b", "a\nb", "a\\b", "\xc3\xa4",
                                      ".obvault-tmp", ".obvault-tmp/x", "a:b", "a*", ".nfs1", "a/.nfs/b"};
    static const char *const GOOD[] = {"a", ".a", "..a", "a.b@c=d+e-f_g", "x/.obvault-tmp/y"};
    /* clang-format on */
    obv_store_err err = {0};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        obv_object_info info;
        print_message("case: \"%s\"\n", BAD[i]);
        assert_int_equal(bench_put(b, BAD[i], "x", true, &err), OBV_STORE_FATAL);
        assert_int_equal(b->p->head(b->r, BAD[i], &info, &err), OBV_STORE_FATAL);
        assert_int_equal(b->p->append(b->r, BAD[i], 0, "x", 1, &err), OBV_STORE_FATAL);
        assert_int_equal(b->p->remove(b->r, &BAD[i], 1, NULL, &err), OBV_STORE_FATAL);
    }
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        assert_int_equal(bench_put(b, GOOD[i], "x", true, &err), OBV_STORE_OK);
    char longest[OBV_KEY_MAX + 2];
    memset(longest, 'k', sizeof longest);
    for (size_t i = 200; i < sizeof longest; i += 200)
        longest[i] = '/';
    longest[OBV_KEY_MAX] = '\0';
    assert_int_equal(bench_put(b, longest, "x", true, &err), OBV_STORE_OK);
    longest[OBV_KEY_MAX] = 'k';
    longest[OBV_KEY_MAX + 1] = '\0';
    assert_int_equal(bench_put(b, longest, "x", true, &err), OBV_STORE_FATAL);
}

static void no_symbolic_link_is_ever_followed(void **state)
{
    const struct bench *b = *state;
    char path[128];
    obv_store_err err = {0};
    obv_object_info info;
    assert_int_equal(bench_put(b, "real/object", "x", true, &err), OBV_STORE_OK);
    (void)snprintf(path, sizeof path, "%s/link", b->root);
    assert_int_equal(symlink("real", path), 0);
    (void)snprintf(path, sizeof path, "%s/real/file", b->root);
    assert_int_equal(symlink("object", path), 0);
    assert_int_equal(bench_put(b, "link/new", "x", true, &err), OBV_STORE_DENIED);
    assert_int_equal(b->p->head(b->r, "link/object", &info, &err), OBV_STORE_DENIED);
    assert_int_equal(b->p->head(b->r, "real/file", &info, &err), OBV_STORE_DENIED);
    assert_int_equal(b->p->append(b->r, "real/file", 1, "x", 1, &err), OBV_STORE_DENIED);
    assert_int_equal(bench_count(b, ""), 1);
}

static void a_cancelled_job_gets_out_and_leaves_nothing(void **state)
{
    struct bench *b = *state;
    const obv_put_opts opts = {.size = sizeof opts, .if_absent = 1};
    obv_put_handle *put = NULL;
    obv_store_err err = {0};
    assert_int_equal(b->p->put_begin(b->r, "o", &opts, &put, &err), OBV_STORE_OK);
    b->cancelled = 1;
    assert_int_equal(b->p->put_write(put, "x", 1, &err), OBV_STORE_CANCELLED);
    b->p->put_abort(put);
    b->cancelled = 0;
    assert_int_equal(bench_leftovers(b), 0);
    assert_int_equal(bench_count(b, ""), 0);
}

static void a_killed_put_leaves_a_temporary_that_sweep_removes(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    uint64_t swept = 99;
    const pid_t pid = fork();
    if (pid == 0) {
        const obv_put_opts opts = {.size = sizeof opts, .if_absent = 1};
        obv_put_handle *put = NULL;
        if (b->p->put_begin(b->r, "dir/o", &opts, &put, &err) == OBV_STORE_OK &&
            b->p->put_write(put, "half", 4, &err) == OBV_STORE_OK)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(bench_count(b, ""), 0);
    assert_int_equal(bench_leftovers(b), 1);
    char foreign[128];
    (void)snprintf(foreign, sizeof foreign, "%s/.obvault-tmp/note", b->root);
    assert_int_equal(close(open(foreign, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
    assert_int_equal(b->p->sweep(b->r, 3600, &swept, &err), OBV_STORE_OK);
    assert_int_equal(swept, 0); /* too young: it may be somebody's put under way */
    assert_int_equal(b->p->sweep(b->r, 0, &swept, &err), OBV_STORE_OK);
    assert_int_equal(swept, 1);
    assert_int_equal(bench_leftovers(b), 1); /* the foreign one stays */
    assert_int_equal(unlink(foreign), 0);
    assert_int_equal(bench_put(b, "dir/o", "whole", true, &err), OBV_STORE_OK);
}

static void a_full_storage_is_no_space_and_what_is_stored_stays(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    if (geteuid() != 0 || mount("obv", b->root, "tmpfs", 0, "size=256k") != 0) {
        print_message("skipped: needs the right to mount\n");
        skip();
    }
    b->p->close(b->r);
    assert_int_equal(bench_open(b, &err), OBV_STORE_OK);
    static char big[300 << 10];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(bench_put(b, "small", "kept", true, &err), OBV_STORE_OK);
    assert_int_equal(bench_put(b, "big", big, true, &err), OBV_STORE_NO_SPACE);
    assert_int_equal(bench_leftovers(b), 0);
    assert_string_equal(bench_text(b, "small"), "kept");
    assert_int_equal(b->p->append(b->r, "log", 0, big, sizeof big - 1, &err), OBV_STORE_NO_SPACE);
    const char *key = "log";
    assert_int_equal(b->p->remove(b->r, &key, 1, NULL, &err), OBV_STORE_OK);
    /* the mount goes away under an open repository: nothing is written to the folder below it */
    assert_int_equal(umount2(b->root, MNT_DETACH), 0);
    assert_int_equal(bench_put(b, "late", "x", true, &err), OBV_STORE_STALE);
    assert_int_equal(b->p->append(b->r, "late2", 0, "x", 1, &err), OBV_STORE_STALE);
    assert_int_equal(b->p->remove(b->r, &key, 1, NULL, &err), OBV_STORE_STALE);
    b->p->close(b->r);
    assert_int_equal(bench_open(b, &err), OBV_STORE_OK);
    assert_int_equal(bench_count(b, ""), 0);
}

static void a_denied_folder_is_denied(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(bench_put(b, "a/x", "x", true, &err), OBV_STORE_OK);
    if (geteuid() != 0)
        skip();
    char cmd[256];
    (void)snprintf(cmd, sizeof cmd, "chmod 755 %s; chmod 777 %s/.obvault-tmp", b->root, b->root);
    assert_int_equal(system(cmd), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(9);
        _exit(bench_put(b, "a/y", "y", true, &err) == OBV_STORE_DENIED && err.sys == EACCES &&
                      strcmp(bench_text(b, "a/x"), "x") == 0
                  ? 0
                  : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_object_is_durable_before_it_has_its_name),
        T(a_replaced_object_changes_in_one_step),
        T(folders_of_an_earlier_process_are_made_durable_once),
        T(if_absent_never_touches_what_is_there),
        T(a_repeated_link_that_was_ours_counts_as_done),
        T(each_failing_call_fails_the_object_and_leaves_nothing),
        T(short_writes_go_on),
        T(keys_outside_the_grammar_are_refused),
        T(no_symbolic_link_is_ever_followed),
        T(a_cancelled_job_gets_out_and_leaves_nothing),
        T(a_killed_put_leaves_a_temporary_that_sweep_removes),
        T(a_full_storage_is_no_space_and_what_is_stored_stays),
        T(a_denied_folder_is_denied),
    };
    return cmocka_run_group_tests_name("plugin_file.put", tests, NULL, NULL);
}
