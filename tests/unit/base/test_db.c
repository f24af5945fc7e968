#include "base/db.h"
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const V1[] = {"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body BLOB)"};
static const char *const V2[] = {"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body BLOB)",
                                 "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 7"};

static void values_come_back_as_they_went(void **state)
{
    (void)state;
    obv_err err = {0};
    OBV_AUTO(obv_db_drop) obv_db *db = NULL;
    assert_int_equal(obv_db_open(":memory:", V1, 1, &db, &err), OBV_OK);
    assert_int_equal(obv_db_run(db, &err, "INSERT INTO t VALUES (?, ?, ?)", obv_db_u(UINT64_MAX), obv_db_s("a'b"),
                                obv_db_b(obv_span_of("\0\1", 2))),
                     OBV_OK);
    assert_int_equal(obv_db_run(db, &err, "INSERT INTO t VALUES (?, ?, ?)", obv_db_i(1), obv_db_s(NULL),
                                obv_db_b(obv_span_of(NULL, 0))),
                     OBV_OK);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    assert_int_equal(obv_db_query_args(db, "SELECT id, name, body FROM t ORDER BY id", NULL, 0, &r, &err), OBV_OK);
    assert_int_equal(obv_rows_next(r, &err), OBV_OK);
    assert_true(obv_rows_u64(r, 0) == UINT64_MAX);
    assert_string_equal(obv_rows_text(r, 1), "a'b");
    assert_int_equal(obv_rows_blob(r, 2).len, 2);
    assert_int_equal(obv_rows_next(r, &err), OBV_OK);
    assert_true(obv_rows_is_null(r, 1));
    assert_string_equal(obv_rows_text(r, 1), "");
    assert_false(obv_rows_is_null(r, 2));
    assert_int_equal(obv_rows_next(r, &err), OBV_E_NOT_FOUND);
    int64_t n = 0;
    assert_int_equal(obv_db_i64_args(db, "SELECT count(*) FROM t", NULL, 0, &n, &err), OBV_OK);
    assert_int_equal(n, 2);
    assert_int_equal(obv_db_i64(db, &err, &n, "SELECT id FROM t WHERE id = ?", obv_db_i(5)), OBV_E_NOT_FOUND);
    assert_int_equal(obv_db_run(db, &err, "INSERT INTO t VALUES (?, NULL, NULL)", obv_db_i(1)), OBV_E_EXISTS);
    assert_int_equal(obv_db_exec(db, "SELECT nonsense", &err), OBV_E_INTERNAL);
}

static void a_dropped_transaction_leaves_nothing(void **state)
{
    (void)state;
    obv_err err = {0};
    int64_t n = -1;
    OBV_AUTO(obv_db_drop) obv_db *db = NULL;
    assert_int_equal(obv_db_open(":memory:", V1, 1, &db, &err), OBV_OK);
    {
        OBV_AUTO(obv_tx_drop) obv_tx tx = {0};
        assert_int_equal(obv_tx_begin(db, &tx, &err), OBV_OK);
        assert_int_equal(obv_db_exec(db, "INSERT INTO t VALUES (1, 'a', NULL)", &err), OBV_OK);
    }
    assert_int_equal(obv_db_i64_args(db, "SELECT count(*) FROM t", NULL, 0, &n, &err), OBV_OK);
    assert_int_equal(n, 0);
    {
        OBV_AUTO(obv_tx_drop) obv_tx outer = {0};
        assert_int_equal(obv_tx_begin(db, &outer, &err), OBV_OK);
        {
            OBV_AUTO(obv_tx_drop) obv_tx inner = {0};
            assert_int_equal(obv_tx_begin(db, &inner, &err), OBV_OK);
            assert_int_equal(obv_db_exec(db, "INSERT INTO t VALUES (1, 'a', NULL)", &err), OBV_OK);
            assert_int_equal(obv_tx_commit(&inner, &err), OBV_OK);
        }
        assert_int_equal(obv_tx_commit(&outer, &err), OBV_OK);
    }
    assert_int_equal(obv_db_i64_args(db, "SELECT count(*) FROM t", NULL, 0, &n, &err), OBV_OK);
    assert_int_equal(n, 1);
    {
        OBV_AUTO(obv_tx_drop) obv_tx outer = {0};
        assert_int_equal(obv_tx_begin(db, &outer, &err), OBV_OK);
        {
            OBV_AUTO(obv_tx_drop) obv_tx inner = {0};
            assert_int_equal(obv_tx_begin(db, &inner, &err), OBV_OK);
            assert_int_equal(obv_db_exec(db, "INSERT INTO t VALUES (2, 'b', NULL)", &err), OBV_OK);
        }
        assert_int_equal(obv_tx_commit(&outer, &err), OBV_E_INTERNAL);
    }
    assert_int_equal(obv_db_i64_args(db, "SELECT count(*) FROM t", NULL, 0, &n, &err), OBV_OK);
    assert_int_equal(n, 1);
}

static void a_file_migrates_forward_only_and_has_one_owner(void **state)
{
    (void)state;
    char dir[] = "/tmp/obv-db-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[64], side[80];
    (void)snprintf(path, sizeof path, "%s/state.db", dir);
    obv_err err = {0};
    obv_db *db = NULL, *second = NULL;
    assert_int_equal(obv_db_open(path, V1, 1, &db, &err), OBV_OK);
    assert_int_equal(obv_db_exec(db, "INSERT INTO t VALUES (1, 'a', NULL)", &err), OBV_OK);
    obv_db_close(db);
    assert_int_equal(obv_db_open(path, V2, 2, &db, &err), OBV_OK);
    int64_t n = 0;
    assert_int_equal(obv_db_i64_args(db, "SELECT n FROM t", NULL, 0, &n, &err), OBV_OK);
    assert_int_equal(n, 7);
    obv_db_close(db);
    assert_int_equal(obv_db_open(path, V1, 1, &second, &err), OBV_E_UNSUPPORTED);
    assert_null(second);
    assert_int_equal(unlink(path), 0);
    static const char *const SIDES[] = {"-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(side, sizeof side, "%s%s", path, SIDES[i]);
        (void)unlink(side);
    }
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fputs("this is no database, but long enough to be taken for a header of one: no, no, no, no, no, no, no, no",
                f);
    (void)fclose(f);
    assert_int_equal(obv_db_open(path, V1, 1, &second, &err), OBV_E_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_they_went),
        cmocka_unit_test(a_dropped_transaction_leaves_nothing),
        cmocka_unit_test(a_file_migrates_forward_only_and_has_one_owner),
    };
    return cmocka_run_group_tests_name("base.db", tests, NULL, NULL);
}
