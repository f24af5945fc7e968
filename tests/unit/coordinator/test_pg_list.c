/* The list of a tenant's PGs out of rows that a server gave: it is whole, or there is none. */
#include "cluster/sql_priv.h"
#include "test.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TENANT UINT64_C(1001)
#define ID(low) (TENANT << 40 | (low))
#define GROUP (TENANT << 40 | UINT64_C(1) << 39 | 7)

static char rows[6][64][160]; /* by table, columns with | between */
static size_t counts[6];
static const char *const TABLES[] = {"__all_virtual_table ",    "__all_virtual_tablegroup ", "__all_virtual_part ",
                                     "__all_virtual_sub_part ", "__all_virtual_meta_table ", "__all_root_table "};
enum { TABLE, TABLEGROUP, PART, SUB_PART, META, ROOT };

__attribute__((format(printf, 2, 3))) static void row(int table, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(rows[table][counts[table]++], sizeof rows[0][0], fmt, ap);
    va_end(ap);
}

/* In place of the one that asks a server. */
obv_code sql_query(obv_cluster *c, uint32_t columns, uint64_t max_rows, obv_mysql_row_fn *fn, void *ctx, obv_err *err,
                   const char *fmt, ...)
{
    char sql[4096];
    (void)c, (void)max_rows;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    for (int t = 0; t < 6; t++) {
        char from[64];
        (void)snprintf(from, sizeof from, "FROM oceanbase.%s", TABLES[t]);
        if (!strstr(sql, from))
            continue;
        for (size_t i = 0; i < counts[t]; i++) {
            char line[160];
            const char *text[16] = {0};
            unsigned long len[16] = {0};
            uint32_t n = 0;
            char *save = NULL;
            (void)snprintf(line, sizeof line, "%s", rows[t][i]);
            for (char *at = strtok_r(line, "|", &save); at && n < 16; at = strtok_r(NULL, "|", &save)) {
                len[n] = strlen(at);
                text[n++] = at;
            }
            assert_int_equal(n, columns);
            const obv_mysql_row r = {.text = text, .len = len, .columns = n};
            OBV_TRY(fn(ctx, &r, err));
        }
        return OBV_OK;
    }
    print_error("%s\n", sql);
    fail();
    return OBV_OK;
}

static void replicas(int table, uint64_t id, int64_t partition)
{
    for (int h = 2; h < 5; h++)
        row(table, "%llu|%lld|127.0.0.%d|2882|%d|0|2|REPLICA_STATUS_NORMAL|0", (unsigned long long)id,
            (long long)partition, h, h == 2 ? 1 : 2);
}

static int64_t two(int64_t part, int64_t sub)
{
    return (int64_t)(((uint64_t)part << 32 | (uint64_t)sub) | UINT64_C(1) << 28 | UINT64_C(1) << 60);
}

/* A system table, a plain one, one of two partitions, one of 2 x 2, its local index, a view. */
static int setup(void **state)
{
    (void)state;
    memset(counts, 0, sizeof counts);
    row(TABLE, "%llu|0|0|0|0|0|-1|0|1|0|0", (unsigned long long)ID(103));
    row(TABLE, "%llu|3|0|0|0|0|-1|0|1|0|0", (unsigned long long)ID(50001));
    row(TABLE, "%llu|3|0|0|1|0|-1|0|2|0|0", (unsigned long long)ID(50002));
    row(TABLE, "%llu|3|0|0|2|0|-1|0|2|2|0", (unsigned long long)ID(50003));
    row(TABLE, "%llu|5|1|2|2|0|-1|0|2|2|0", (unsigned long long)ID(50004));
    row(TABLE, "%llu|4|0|0|0|0|-1|0|1|0|0", (unsigned long long)ID(50005));
    for (int part = 0; part < 2; part++) {
        row(PART, "%llu|%d|-1|-1|0", (unsigned long long)ID(50002), part);
        replicas(META, ID(50002), part);
    }
    for (int part = 0; part < 2; part++) {
        row(PART, "%llu|%d|-1|-1|2", (unsigned long long)ID(50003), part);
        for (int sub = 0; sub < 2; sub++) {
            row(SUB_PART, "%llu|%d|%d|-1|-1", (unsigned long long)ID(50003), part, sub);
            replicas(META, ID(50003), two(part, sub));
        }
    }
    replicas(ROOT, ID(103), 0);
    replicas(META, ID(50001), 0);
    return 0;
}

static obv_code list(size_t *n, obv_err *err)
{
    OBV_AUTO(obv_pgs_fini) obv_pgs out = {0};
    const obv_code code = sql_pgs(NULL, TENANT, &out, NULL, err);
    *n = out.n;
    return code;
}

static void every_partition_is_listed(void **state)
{
    (void)state;
    obv_err err = {0};
    size_t n = 0;
    assert_int_equal(list(&n, &err), OBV_OK);
    assert_int_equal(n, 1 + 1 + 2 + 4);
}

static void refused(const char *what)
{
    obv_err err = {0};
    size_t n = 0;
    assert_int_equal(list(&n, &err), OBV_E_PRECONDITION);
    if (!strstr(err.msg, what))
        print_error("%s\n", err.msg);
    assert_non_null(strstr(err.msg, what));
}

static void rows_of_partitions_that_are_absent_are_missed(void **state)
{
    (void)state;
    counts[PART]--;                    /* the second of 50003 */
    refused("table 1100611139453779"); /* 1001 << 40 | 50003 */
}

static void a_table_without_any_row_of_its_partitions_is_missed(void **state)
{
    (void)state;
    counts[PART] = counts[SUB_PART] = 0;
    refused("show 0 partitions");
}

static void sub_partitions_that_are_absent_are_missed(void **state)
{
    (void)state;
    counts[SUB_PART] = 0; /* as of a table whose sub-partitions follow a template */
    refused("show 0 partitions");
    (void)setup(NULL);
    counts[SUB_PART]--;
    refused("show 3 partitions");
}

static void what_is_registered_must_be_in_the_schema(void **state)
{
    (void)state;
    replicas(META, ID(50004), 0);
    refused("registered");
    (void)setup(NULL);
    replicas(META, ID(50001), 3);
    refused("registered");
    /* what was dropped is registered a while longer */
    (void)setup(NULL);
    replicas(META, ID(50099), 0);
    replicas(META, ID(50002), 2);
    obv_err err = {0};
    size_t n = 0;
    assert_int_equal(list(&n, &err), OBV_OK);
    assert_int_equal(n, 8);
}

static void a_tablegroup_has_all_its_partitions(void **state)
{
    (void)state;
    obv_err err = {0};
    size_t n = 0;
    row(TABLEGROUP, "%llu|1|1|-1|2|0", (unsigned long long)GROUP);
    row(TABLE, "%llu|3|0|0|1|1|-1|%llu|2|0|0", (unsigned long long)ID(50010), (unsigned long long)GROUP);
    row(PART, "%llu|0|-1|0|0", (unsigned long long)ID(50010));
    row(PART, "%llu|1|-1|1|0", (unsigned long long)ID(50010));
    replicas(META, GROUP, 0);
    replicas(META, GROUP, 1);
    assert_int_equal(list(&n, &err), OBV_OK);
    assert_int_equal(n, 10);
    counts[PART]--;
    refused("show 1 partitions");
}

static bool holds(const obv_contents *c, uint64_t owner, uint64_t id)
{
    size_t n = 0;
    const obv_content *v = obv_contents_of(c, owner, &n);
    for (size_t i = 0; i < n; i++)
        if (v[i].id == id)
            return true;
    return false;
}

/* Tables and local indexes that may be read, where their sstables lie; nothing of what is being built. */
static void contents_are_what_a_restore_will_read(void **state)
{
    (void)state;
    obv_err err = {0};
    OBV_AUTO(obv_pgs_fini) obv_pgs pgs = {0};
    OBV_AUTO(obv_contents_fini) obv_contents c = {0};
    row(TABLEGROUP, "%llu|1|1|-1|1|0", (unsigned long long)GROUP);
    row(TABLE, "%llu|3|0|0|1|1|-1|%llu|1|0|-1", (unsigned long long)ID(50010), (unsigned long long)GROUP);
    row(PART, "%llu|0|-1|0|0", (unsigned long long)ID(50010));
    replicas(META, GROUP, 0);
    /* of a table in the tablegroup; of a table of its own: AVAILABLE, being built; of a dropped table */
    row(TABLE, "%llu|5|1|2|1|0|-1|0|1|0|%llu", (unsigned long long)ID(60001), (unsigned long long)ID(50010));
    row(TABLE, "%llu|5|1|2|0|0|-1|0|1|0|%llu", (unsigned long long)ID(60002), (unsigned long long)ID(50001));
    row(TABLE, "%llu|5|1|1|0|0|-1|0|1|0|%llu", (unsigned long long)ID(60003), (unsigned long long)ID(50001));
    row(TABLE, "%llu|5|1|2|0|0|-1|0|1|0|%llu", (unsigned long long)ID(60004), (unsigned long long)ID(50099));
    /* global indexes have PGs of their own: AVAILABLE, being built */
    row(TABLE, "%llu|5|3|2|0|0|-1|0|1|0|%llu", (unsigned long long)ID(60005), (unsigned long long)ID(50001));
    row(TABLE, "%llu|5|3|1|0|0|-1|0|1|0|%llu", (unsigned long long)ID(60006), (unsigned long long)ID(50001));
    replicas(META, ID(60005), 0);
    replicas(META, ID(60006), 0);
    assert_int_equal(sql_pgs(NULL, TENANT, &pgs, &c, &err), OBV_OK);
    assert_true(holds(&c, ID(103), ID(103)) && holds(&c, ID(50001), ID(50001)) && holds(&c, ID(50003), ID(50003)));
    assert_true(holds(&c, GROUP, ID(50010)) && holds(&c, GROUP, ID(60001)));
    assert_true(holds(&c, ID(50001), ID(60002)) && !holds(&c, ID(50001), ID(60003)));
    assert_true(holds(&c, ID(60005), ID(60005)));
    for (size_t i = 0; i < c.n; i++)
        assert_true(c.v[i].id != ID(60003) && c.v[i].id != ID(60004) && c.v[i].id != ID(60006) &&
                    c.v[i].id != ID(50005) && c.v[i].id != GROUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_partition_is_listed, setup),
        cmocka_unit_test_setup(rows_of_partitions_that_are_absent_are_missed, setup),
        cmocka_unit_test_setup(a_table_without_any_row_of_its_partitions_is_missed, setup),
        cmocka_unit_test_setup(sub_partitions_that_are_absent_are_missed, setup),
        cmocka_unit_test_setup(what_is_registered_must_be_in_the_schema, setup),
        cmocka_unit_test_setup(a_tablegroup_has_all_its_partitions, setup),
        cmocka_unit_test_setup(contents_are_what_a_restore_will_read, setup),
    };
    return cmocka_run_group_tests_name("coordinator.pg_list", tests, NULL, NULL);
}
