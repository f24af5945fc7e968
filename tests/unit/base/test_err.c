#include "base/err.h"
#include "base/file.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE "docs/errors.md"

static void put(obv_buf *b, const char *text) { obv_buf_append(b, text, strlen(text)); }

/* The page as the table in err.c says it. */
static void render(obv_buf *b)
{
    static const char *const CLASSES[][2] = {
        {"item", "only the one object, PG or name at hand; the job goes on or tries another way"},
        {"job", "this job or command; repeating it unchanged gives the same"},
        {"alarm", "data is not what it must be: never retried, nothing is deleted, somebody must look"},
        {"host", "this machine or this program"},
        {"retry", "the same call may succeed later and is tried again within its budget"},
    };
    put(b,
        "# Errors\n\n"
        "Every failure carries a code (what to do), the cause's own number (errno, OceanBase or MySQL error, HTTP\n"
        "status), a text and a hint. Logs and JSON show the name, the CLI ends with the exit code. Numbers and names\n"
        "never change their meaning. Written from the table in `common/base/err.c`: `OBV_UPDATE_DOCS=1` with the\n"
        "unit test `unit.base.err` writes this page again.\n\n"
        "| class | concerns |\n|---|---|\n");
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++) {
        char row[200];
        (void)snprintf(row, sizeof row, "| %s | %s |\n", CLASSES[i][0], CLASSES[i][1]);
        put(b, row);
    }
    put(b, "\nThe name is also the value of the metric label `code`.\n\n"
           "| code | name, label | class | exit code | gRPC status | what it means, what to do "
           "|\n|---|---|---|---|---|---|\n");
    const obv_code_info *c;
    for (size_t i = 0; (c = obv_code_at(i)) != NULL; i++) {
        char row[400];
        if (c->code == OBV_OK)
            continue;
        (void)snprintf(row, sizeof row, "| %d | `%s` | %s | %d | %d | %s |\n", (int)c->code, c->name, c->class_name,
                       c->exit_code, c->grpc_status, c->default_hint);
        put(b, row);
    }
}

static void the_page_says_what_the_table_says(void **state)
{
    (void)state;
    obv_buf want = obv_buf_heap(100000), have = obv_buf_heap(100000);
    obv_err err = {0};
    render(&want);
    if (getenv("OBV_UPDATE_DOCS"))
        assert_int_equal(obv_file_write_atomic(PAGE, obv_buf_span(&want), 0644, &err), OBV_OK);
    assert_int_equal(obv_file_read_all(PAGE, 100000, &have, &err), OBV_OK);
    obv_buf_append(&want, "", 1);
    obv_buf_append(&have, "", 1);
    assert_string_equal((char *)have.data, (char *)want.data);
    obv_buf_fini(&want);
    obv_buf_fini(&have);
}

static void names_and_numbers_are_unique_and_classes_fit(void **state)
{
    (void)state;
    const obv_code_info *a, *b;
    for (size_t i = 0; (a = obv_code_at(i)) != NULL; i++) {
        for (size_t k = 0; k < i && (b = obv_code_at(k)) != NULL; k++) {
            assert_int_not_equal(a->code, b->code);
            assert_string_not_equal(a->name, b->name);
        }
        assert_int_equal(OBV_IS_RETRYABLE(a->code), strcmp(a->class_name, "retry") == 0);
    }
}

/* Exit codes of the command line that the design knows, and what may end with each. */
static void every_row_is_whole_and_its_exit_code_is_the_designs(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { int exit_code; const char *names; } EXITS[] = {
        {0, "ok"},
        {1, "not_found exists conflict pg_changed pg_gone unsupported fenced limit cancelled no_memory internal"},
        {2, "invalid_argument"},
        {5, "already_running"},
        {6, "not_restorable log_gap"},
        {7, "corrupt"},
        {8, "no_space read_only io throttled stale"},
        {9, "not_initialised"},
        {10, "denied authentication"},
        {11, "config"},
        {12, "unavailable"},
        {14, "precondition not_ready"},
        {124, "timeout"},
    };
    /* clang-format on */
    const obv_code_info *c;
    size_t rows = 0, listed = 0;
    for (size_t i = 0; (c = obv_code_at(i)) != NULL; i++, rows++) {
        size_t e = 0;
        while (e < sizeof EXITS / sizeof *EXITS && EXITS[e].exit_code != c->exit_code)
            e++;
        assert_true(e < sizeof EXITS / sizeof *EXITS);
        const char *at = strstr(EXITS[e].names, c->name);
        assert_non_null(at);
        assert_true(at == EXITS[e].names || at[-1] == ' ');
        assert_ptr_equal(obv_code_label(c->code), c->name);
        assert_int_equal(strspn(c->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(c->name));
        assert_true(c->grpc_status >= 0 && c->grpc_status <= 16);
        assert_int_equal(c->grpc_status == 0, c->code == OBV_OK);
        assert_int_equal(c->default_hint[0] == 0, c->code == OBV_OK); /* each failure says what to do next */
        assert_true(strlen(c->default_hint) < sizeof((obv_err *)0)->hint);
        assert_ptr_equal(obv_code_describe(c->code), c);
    }
    for (size_t e = 0; e < sizeof EXITS / sizeof *EXITS; e++)
        for (const char *p = EXITS[e].names; *p; p++)
            listed += p[1] == ' ' || p[1] == 0;
    assert_int_equal(rows, listed);
    assert_string_equal(obv_code_label((obv_code)12345), "internal");
}

/* The numbers of the enumeration itself: one that is in no row would travel as "internal". */
static void every_number_of_the_header_has_a_row(void **state)
{
    (void)state;
    obv_buf text = obv_buf_heap(1 << 20);
    obv_err err = {0};
    size_t found = 0;
    assert_int_equal(obv_file_read_all("common/base/err.h", 1 << 20, &text, &err), OBV_OK);
    obv_buf_append(&text, "", 1);
    for (const char *at = (char *)text.data; (at = strstr(at, "\n    OBV_")) != NULL; at++) {
        int number = -1;
        char name[64];
        if (sscanf(at, " %63[A-Z_] = %d", name, &number) != 2 || (strncmp(name, "OBV_E_", 6) && strcmp(name, "OBV_OK")))
            continue;
        found++;
        assert_int_equal(obv_code_describe((obv_code)number)->code, number);
    }
    size_t rows = 0;
    while (obv_code_at(rows))
        rows++;
    assert_int_equal(found, rows);
    obv_buf_fini(&text);
}

static void a_failure_without_a_record_is_still_a_code(void **state)
{
    (void)state;
    assert_int_equal(obv_fail(NULL, OBV_E_IO, 5, "x"), OBV_E_IO);
    assert_int_equal(obv_wrap(NULL, "x"), OBV_E_INTERNAL);
    assert_int_equal(obv_hint(NULL, "x"), OBV_E_INTERNAL);
}

static void context_goes_in_front_and_long_texts_are_cut(void **state)
{
    (void)state;
    obv_err err = {0};
    static char big[2000];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(obv_fail(&err, OBV_E_CORRUPT, 7, "block %d", 3), OBV_E_CORRUPT);
    assert_int_equal(obv_wrap(&err, "set %d", 17), OBV_E_CORRUPT);
    assert_string_equal(err.msg, "set 17: block 3");
    assert_int_equal(err.sys, 7);
    assert_int_equal(obv_hint(&err, "%s", big), OBV_E_CORRUPT);
    assert_int_equal(strlen(err.hint), sizeof err.hint - 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(obv_wrap(&err, "%s", big), OBV_E_CORRUPT);
    assert_true(strlen(err.msg) < sizeof err.msg);
}

static void errno_values_have_a_class(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { int e; obv_code want; } CASES[] = {
        {ENOENT, OBV_E_NOT_FOUND}, {EEXIST, OBV_E_EXISTS}, {EACCES, OBV_E_DENIED}, {ENOSPC, OBV_E_NO_SPACE},
        {EDQUOT, OBV_E_NO_SPACE}, {EROFS, OBV_E_READ_ONLY}, {ENOMEM, OBV_E_NOMEM}, {ESTALE, OBV_E_STALE},
        {ETIMEDOUT, OBV_E_TIMEOUT}, {ECONNREFUSED, OBV_E_UNAVAILABLE}, {EIO, OBV_E_IO}, {0, OBV_E_IO}, {99999, OBV_E_IO},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_int_equal(obv_code_from_errno(CASES[i].e), CASES[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_says_what_the_table_says),
        cmocka_unit_test(names_and_numbers_are_unique_and_classes_fit),
        cmocka_unit_test(every_row_is_whole_and_its_exit_code_is_the_designs),
        cmocka_unit_test(every_number_of_the_header_has_a_row),
        cmocka_unit_test(a_failure_without_a_record_is_still_a_code),
        cmocka_unit_test(context_goes_in_front_and_long_texts_are_cut),
        cmocka_unit_test(errno_values_have_a_class),
    };
    return cmocka_run_group_tests_name("base.err", tests, NULL, NULL);
}
