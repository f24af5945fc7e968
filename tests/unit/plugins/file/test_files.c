/* Appends, reads, listings and removals of the file plugin. */
#include "calls.h"

#include <pthread.h>
#include <sys/resource.h>

static void appends_are_durable_after_sync(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    const char *keys[] = {"log/1", "log/2"};
    obv_store_class each[2] = {OBV_STORE_FATAL, OBV_STORE_FATAL};
    assert_int_equal(b->p->append(b->r, "log/1", 0, "abc", 3, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "log/1", 3, "def", 3, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "log/2", 0, "xyz", 3, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "MDWWW");
    calls_reset();
    assert_int_equal(b->p->sync(b->r, keys, 2, each, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "FDFD"); /* a new file and its entry, each */
    assert_int_equal(each[0], OBV_STORE_OK);
    assert_int_equal(each[1], OBV_STORE_OK);
    calls_reset();
    assert_int_equal(b->p->append(b->r, "log/1", 6, "g", 1, &err), OBV_STORE_OK);
    assert_int_equal(b->p->sync(b->r, keys, 1, NULL, &err), OBV_STORE_OK);
    assert_string_equal(calls.seen, "WF");
    assert_string_equal(bench_text(b, "log/1"), "abcdefg");
}

static void an_append_must_meet_the_end(void **state)
{
    struct bench *b = *state;
    obv_store_err err = {0};
    assert_int_equal(b->p->append(b->r, "log", 0, "abc", 3, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "log", 2, "x", 1, &err), OBV_STORE_CONFLICT);
    assert_int_equal(b->p->append(b->r, "log", 4, "x", 1, &err), OBV_STORE_CONFLICT);
    assert_int_equal(b->p->append(b->r, "log", 0, "x", 1, &err), OBV_STORE_EXISTS);
    assert_int_equal(b->p->append(b->r, "none", 4, "x", 1, &err), OBV_STORE_NOT_FOUND);
    b->p->close(b->r); /* the same of a handle that never appended to it */
    assert_int_equal(bench_open(b, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "log", 0, "x", 1, &err), OBV_STORE_EXISTS);
    assert_int_equal(b->p->append(b->r, "log", 2, "x", 1, &err), OBV_STORE_CONFLICT);
    assert_string_equal(bench_text(b, "log"), "abc");
}

static void a_failed_sync_is_never_taken_back(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    const char *keys[] = {"one", "two"};
    obv_store_class each[2];
    assert_int_equal(b->p->append(b->r, "one", 0, "a", 1, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, "two", 0, "b", 1, &err), OBV_STORE_OK);
    calls_fail('F', 1, EIO);
    assert_int_equal(b->p->sync(b->r, keys, 2, each, &err), OBV_STORE_IO);
    assert_int_equal(each[0], OBV_STORE_IO);
    assert_int_equal(each[1], OBV_STORE_OK);
    calls_reset(); /* the disk says that all is well now: the lost pages say otherwise */
    assert_int_equal(b->p->sync(b->r, keys, 1, NULL, &err), OBV_STORE_IO);
    assert_int_equal(b->p->append(b->r, "one", 1, "c", 1, &err), OBV_STORE_IO);
}

enum { MANY = 600 };
static rlim_t before_few;

/* Appends one byte to each of many files. */
static void append_all(const struct bench *b, uint64_t at, char names[MANY][16], const char *keys[MANY])
{
    obv_store_err err = {0};
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "log/%d", i);
        keys[i] = names[i];
        assert_int_equal(b->p->append(b->r, keys[i], at, "x", 1, &err), OBV_STORE_OK);
    }
}

/* One flush makes all of them durable; none costs one before. */
static void many_files_are_synced_only_when_asked(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    static char names[MANY][16];
    const char *keys[MANY];
    append_all(b, 0, names, keys);
    assert_int_equal(b->p->sync(b->r, keys, MANY, NULL, &err), OBV_STORE_OK);
    calls_reset();
    append_all(b, 1, names, keys);
    assert_null(memchr(calls.seen, 'F', calls.count));
    assert_null(memchr(calls.seen, 'C', calls.count));
    calls_reset();
    assert_int_equal(b->p->sync(b->r, keys, MANY, NULL, &err), OBV_STORE_OK);
    assert_int_equal(calls.count, MANY);
    assert_int_equal(calls.seen[MANY - 1], 'F');
}

/* As many descriptors as the process may have are enough for 128 of them. */
static int bench_setup_few(void **state)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return -1;
    before_few = files.rlim_cur;
    files.rlim_cur = 256;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 ? bench_setup(state) : -1;
}

static int bench_teardown_few(void **state)
{
    struct rlimit files;
    const int rc = bench_teardown(state);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return -1;
    files.rlim_cur = before_few;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 ? rc : -1;
}

static void more_files_than_may_be_open_stay_durable(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    static char names[MANY][16];
    const char *keys[MANY];
    for (uint64_t round = 0; round < 2; round++) {
        calls_reset();
        append_all(b, round, names, keys);
        size_t synced = 0;
        for (size_t i = 0; i < calls.count; i++)
            synced += calls.seen[i] == 'F';
        assert_true(synced >= MANY - 128); /* what had to be closed was made durable before */
        assert_int_equal(b->p->sync(b->r, keys, MANY, NULL, &err), OBV_STORE_OK);
    }
    assert_int_equal(bench_count(b, "log/"), MANY);
    assert_string_equal(bench_text(b, "log/0"), "xx");
}

/* The sync that made room failed: the file is not opened anew as if nothing had happened. */
static void a_failed_sync_that_made_room_is_told(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    static char names[MANY][16];
    const char *keys[MANY];
    obv_store_class each[MANY];
    int failed = 0;
    calls_fail('F', 1, EIO);
    append_all(b, 0, names, keys);
    assert_int_equal(b->p->sync(b->r, keys, MANY, each, &err), OBV_STORE_IO);
    for (int i = 0; i < MANY; i++)
        failed += each[i] != OBV_STORE_OK;
    assert_int_equal(failed, 1);
    assert_int_equal(each[0], OBV_STORE_IO);
}

struct writer {
    const struct bench *b;
    int id;
    obv_store_class result;
};

static void *append_many(void *arg)
{
    struct writer *w = arg;
    obv_store_err err = {0};
    w->result = OBV_STORE_OK;
    for (uint64_t at = 0; at < 3; at++) {
        for (int i = 0; i < 120; i++) {
            char key[32];
            const char *keys[] = {key};
            (void)snprintf(key, sizeof key, "t%d/%d", w->id, i);
            obv_store_class cls = w->b->p->append(w->b->r, key, at, "x", 1, &err);
            if (cls == OBV_STORE_OK && i % 3 == 0)
                cls = w->b->p->sync(w->b->r, keys, 1, NULL, &err);
            if (cls != OBV_STORE_OK)
                w->result = cls;
        }
    }
    return NULL;
}

static void threads_share_what_may_be_open(void **state)
{
    const struct bench *b = *state;
    enum { THREADS = 4 };
    pthread_t t[THREADS];
    struct writer w[THREADS];
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct writer){.b = b, .id = i};
        assert_int_equal(pthread_create(&t[i], NULL, append_many, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_int_equal(w[i].result, OBV_STORE_OK);
    }
    assert_int_equal(bench_count(b, ""), THREADS * 120);
    assert_string_equal(bench_text(b, "t3/119"), "xxx");
}

static void a_range_read_ends_at_the_end(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    char buf[8] = "........";
    size_t got = 9;
    assert_int_equal(bench_put(b, "o", "0123456789", true, &err), OBV_STORE_OK);
    assert_int_equal(b->p->get(b->r, "o", 8, buf, 8, &got, &err), OBV_STORE_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(buf, "89......", 8);
    assert_int_equal(b->p->get(b->r, "o", 10, buf, 8, &got, &err), OBV_STORE_OK);
    assert_int_equal(got, 0);
    assert_int_equal(b->p->get(b->r, "none", 0, buf, 8, &got, &err), OBV_STORE_NOT_FOUND);
    assert_int_equal(b->p->get(b->r, "o/below", 0, buf, 8, &got, &err), OBV_STORE_NOT_FOUND);
    got = 9;
    assert_int_equal(b->p->get(b->r, "o", UINT64_MAX, buf, 8, &got, &err), OBV_STORE_OK);
    assert_int_equal(got, 0);
}

static int stop_at_first(void *ctx, const char *key, const obv_object_info *info)
{
    (void)key;
    *(uint64_t *)ctx += info->size;
    return 1;
}

static void listing_takes_plain_prefixes(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    uint64_t size = 0;
    static const char *const KEYS[] = {"a/1", "a/12", "a/b/3", "ab/4", "b"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        assert_int_equal(bench_put(b, KEYS[i], "xy", true, &err), OBV_STORE_OK);
    /* clang-format off */
    static const struct { const char *prefix; int want; } CASES[] = {
        {"", 5}, {"a", 4}, {"a/", 3}, {"a/1", 2}, {"a/12", 1}, {"a/b", 1}, {"a/b/", 1}, {"ab", 1}, {"c", 0}, {"c/d", 0}, {"b/", 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        print_message("case: \"%s\"\n", CASES[i].prefix);
        assert_int_equal(bench_count(b, CASES[i].prefix), CASES[i].want);
    }
    assert_int_equal(b->p->list(b->r, "a", stop_at_first, &size, &err), OBV_STORE_OK);
    assert_int_equal(size, 2);
}

static void removing_leaves_foreign_files_and_no_empty_folders(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    const char *keys[] = {"s/a/1", "s/a/2", "s/b/3", "s/none"};
    obv_store_class each[4];
    char path[128];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bench_put(b, keys[i], "x", true, &err), OBV_STORE_OK);
    (void)snprintf(path, sizeof path, "%s/s/b/a note", b->root);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
    assert_int_equal(b->p->remove(b->r, keys, 4, each, &err), OBV_STORE_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(each[i], OBV_STORE_OK);
    assert_int_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof path, "%s/s/a", b->root);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(bench_put(b, "s/a/1", "x", true, &err), OBV_STORE_OK);
}

static void removing_does_not_follow_an_open_append(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    const char *key = "log";
    assert_int_equal(b->p->append(b->r, key, 0, "old", 3, &err), OBV_STORE_OK);
    assert_int_equal(b->p->remove(b->r, &key, 1, NULL, &err), OBV_STORE_OK);
    assert_int_equal(b->p->append(b->r, key, 0, "new", 3, &err), OBV_STORE_OK);
    assert_string_equal(bench_text(b, key), "new");
}

static void a_file_that_another_host_removed_takes_no_more_bytes(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    const char *key = "log";
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", b->root, key);
    assert_int_equal(b->p->append(b->r, key, 0, "abc", 3, &err), OBV_STORE_OK);
    assert_int_equal(b->p->sync(b->r, &key, 1, NULL, &err), OBV_STORE_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(b->p->append(b->r, key, 3, "def", 3, &err), OBV_STORE_NOT_FOUND);
    assert_int_equal(b->p->append(b->r, key, 0, "new", 3, &err), OBV_STORE_OK);
    assert_int_equal(unlink(path), 0); /* with bytes that were never synced: that sync must not succeed */
    assert_int_equal(b->p->sync(b->r, &key, 1, NULL, &err), OBV_STORE_NOT_FOUND);
    assert_int_equal(b->p->append(b->r, key, 0, "anew", 4, &err), OBV_STORE_OK);
    assert_int_equal(b->p->sync(b->r, &key, 1, NULL, &err), OBV_STORE_OK);
    assert_string_equal(bench_text(b, key), "anew");
}

static void probe_finds_what_works_and_cleans_up(void **state)
{
    const struct bench *b = *state;
    obv_store_err err = {0};
    obv_probe_result res = {0};
    assert_int_equal(b->p->probe(b->r, &res, &err), OBV_STORE_OK);
    assert_int_equal(res.caps, OBV_CAP_IF_ABSENT | OBV_CAP_APPEND | OBV_CAP_REPLACE | OBV_CAP_OBSERVER_READS);
    assert_true(res.free_bytes > 0);
    assert_non_null(strstr(res.identity, b->root));
    assert_int_equal(bench_leftovers(b), 0);
    calls_fail('L', 1, EOPNOTSUPP);
    assert_int_equal(b->p->probe(b->r, &res, &err), OBV_STORE_OK);
    assert_int_equal(res.caps & OBV_CAP_IF_ABSENT, 0);
    assert_int_equal(bench_leftovers(b), 0);
}

static void options_are_strict(void **state)
{
    const struct bench *b = *state;
    /* clang-format off */
    static const struct { const char *why; obv_kv kv[2]; size_t n; obv_store_class want; } CASES[] = {
        {"no root", {{"require_mount", "no"}}, 1, OBV_STORE_CONFIG},
        {"relative root", {{"root", "tmp"}}, 1, OBV_STORE_CONFIG},
        {"unknown option", {{"root", "/tmp"}, {"rooot", "/tmp"}}, 2, OBV_STORE_CONFIG},
        {"neither yes nor no", {{"root", "/tmp"}, {"require_mount", "1"}}, 2, OBV_STORE_CONFIG},
        {"missing root", {{"root", "/nonexistent/obvault"}}, 1, OBV_STORE_NOT_FOUND},
        {"not a mount", {{"root", "/usr/share"}, {"require_mount", "yes"}}, 2, OBV_STORE_NOT_FOUND},
        {"a mount", {{"root", "/proc"}, {"require_mount", "yes"}}, 2, OBV_STORE_OK},
    };
    /* clang-format on */
    const obv_host host = {.size = sizeof host};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_repo_handle *r = NULL;
        obv_store_err err = {0};
        print_message("case: %s\n", CASES[i].why);
        assert_int_equal(b->p->open(&host, CASES[i].kv, CASES[i].n, &r, &err), CASES[i].want);
        assert_int_equal(r != NULL, CASES[i].want == OBV_STORE_OK);
        if (r)
            b->p->close(r);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
#define FEW(f) cmocka_unit_test_setup_teardown(f, bench_setup_few, bench_teardown_few)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(appends_are_durable_after_sync),
        T(an_append_must_meet_the_end),
        T(a_failed_sync_is_never_taken_back),
        T(many_files_are_synced_only_when_asked),
        FEW(more_files_than_may_be_open_stay_durable),
        FEW(a_failed_sync_that_made_room_is_told),
        FEW(threads_share_what_may_be_open),
        T(a_range_read_ends_at_the_end),
        T(listing_takes_plain_prefixes),
        T(removing_leaves_foreign_files_and_no_empty_folders),
        T(removing_does_not_follow_an_open_append),
        T(a_file_that_another_host_removed_takes_no_more_bytes),
        T(probe_finds_what_works_and_cleans_up),
        T(options_are_strict),
    };
    return cmocka_run_group_tests_name("plugin_file.files", tests, NULL, NULL);
}
