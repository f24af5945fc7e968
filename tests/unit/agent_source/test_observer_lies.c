/* the observer driver against a server whose answers are well made, but not those that were asked for; seeks */
#include "fake_rig.h"

static void answers_about_something_else_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        enum fake_lie lie;
        obv_code open, read;
    } CASES[] = {
        {"info of another PG", LIE_OTHER_PG, OBV_E_CORRUPT, OBV_OK},
        {"info of another partition", LIE_OTHER_PARTITION_ID, OBV_E_CORRUPT, OBV_OK},
        {"another member's address", LIE_MEMBER_ADDRESS, OBV_E_PRECONDITION, OBV_OK},
        {"another member partition", LIE_MEMBERS, OBV_E_PG_CHANGED, OBV_OK},
        {"key of another partition", LIE_KEY_OF_PARTITION, OBV_E_CORRUPT, OBV_OK},
        {"key of another index", LIE_KEY_OF_INDEX, OBV_E_CORRUPT, OBV_OK},
        {"meta of another index", LIE_META_OF_INDEX, OBV_E_CORRUPT, OBV_OK},
        {"a list of too many blocks", LIE_LIST_TOO_LONG, OBV_E_CORRUPT, OBV_OK},
        {"a list that is cut", LIE_LIST_CUT, OBV_E_CORRUPT, OBV_OK},
        {"a block of a negative version", LIE_LIST_NEGATIVE, OBV_E_CORRUPT, OBV_OK},
        {"a data table that is not ready", LIE_DATA_NOT_READY, OBV_E_PG_CHANGED, OBV_OK},
        {"bytes behind the last block", LIE_BLOCKS_AND_MORE, OBV_OK, OBV_E_CORRUPT},
        {"a block that is cut", LIE_BLOCKS_CUT, OBV_OK, OBV_E_CORRUPT},
        {"a block of another version", LIE_BLOCK_VERSION, OBV_OK, OBV_E_CORRUPT},
        {"a data block for a LOB", LIE_BLOCK_KIND, OBV_OK, OBV_E_CORRUPT},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rig r;
        rig_start(&r, 0);
        obv_source_pg *pg = NULL;
        size_t blocks = 0;
        print_message("case: %s\n", CASES[i].what);
        r.pg.lie = CASES[i].lie;
        assert_code(open_pg(&r, NULL, &pg), CASES[i].open, &r.err);
        if (CASES[i].open == OBV_OK) {
            assert_code(read_all(&r, pg, &blocks), CASES[i].read, &r.err);
            r.source->ops->close_pg(pg);
        }
        rig_stop(&r);
    }
}

/* Its blocks name the table; as an index's they are another table's. */
static void blocks_of_another_table_are_refused(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_source_pg *pg = NULL;
    size_t blocks = 0;
    r.pg.tables[r.pg.table_count++] = (fake_table){.type = OBV_TABLE_MAJOR,
                                                   .index_id = FAKE_INDEX_ID,
                                                   .mv_start = T + 500,
                                                   .snapshot = T + 500,
                                                   .version = 7,
                                                   .blocks = MAJOR_BLOCKS,
                                                   .block_count = 4};
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    assert_code(read_all(&r, pg, &blocks), OBV_E_CORRUPT, &r.err);
    assert_int_equal(blocks, 5); /* those of the table itself */
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void a_major_behind_the_position_does_no_harm_when_nothing_changed(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_source_pg *pg = NULL;
    fake_table *newer = &r.pg.tables[0];
    r.pg.tables[4] = r.pg.tables[5]; /* the minor behind the major is gone */
    *newer = r.pg.tables[1];
    newer->snapshot = newer->mv_start = T + 800;
    newer->version = 8;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err); /* both have the same blocks */
    r.source->ops->close_pg(pg);
    newer->row_count = 1;
    assert_code(open_pg(&r, NULL, &pg), OBV_E_PG_CHANGED, &r.err);
    newer->row_count = 0;
    newer->block_count = 3;
    assert_code(open_pg(&r, NULL, &pg), OBV_E_PG_CHANGED, &r.err);
    static const fake_block OTHERS[] = {{"none", 7, 0}, {"lz4", 7, 1}, {"zstd138", 7, 2}, {"single_micro", 8, 3}};
    newer->block_count = 4;
    newer->blocks = OTHERS;
    assert_code(open_pg(&r, NULL, &pg), OBV_E_PG_CHANGED, &r.err);
    rig_stop(&r);
}

static void packets_of_another_call_are_refused(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_observer_pg_info info;
    obv_source_pg *pg = NULL;
    atomic_int *const flags[] = {&r.server.wrong_channel, &r.server.wrong_code, &r.server.stream_for_one};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        atomic_store(flags[i], 1);
        assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_E_CORRUPT, &r.err);
        atomic_store(flags[i], 0);
        assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_OK, &r.err);
        obv_observer_pg_info_fini(&info);
    }
    r.server.chunk = 64; /* at least three packets, all but the first and last in the middle */
    atomic_store(&r.server.wrong_sessions, 2);
    assert_code(open_pg(&r, NULL, &pg), OBV_E_CORRUPT, &r.err);
    atomic_store(&r.server.wrong_sessions, 1); /* once: the whole call again, nothing kept of the first attempt */
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void keepalive_packets_are_passed_over(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_source_pg *pg = NULL;
    size_t blocks = 0;
    atomic_store(&r.server.keepalives, 2);
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    assert_code(read_all(&r, pg, &blocks), OBV_E_NOT_FOUND, &r.err);
    assert_int_equal(blocks, 5);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void a_copy_goes_on_from_any_block(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_source_pg *pg = NULL;
    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    assert_non_null(buf);
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    static const struct {
        uint32_t table;
        uint64_t index;
    } AT[] = {{1, 0}, {0, 3}, {0, 1}, {0, 0}, {1, 0}};
    for (size_t i = 0; i < sizeof AT / sizeof *AT; i++) {
        obv_source_block b;
        uint32_t table = AT[i].table;
        uint64_t index = AT[i].index;
        assert_code(r.source->ops->seek(pg, table, index, &r.err), OBV_OK, &r.err);
        for (; table < 2; index = 0, table++)
            for (; index < (table == 0 ? 4 : 1); index++) {
                assert_code(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r.err), OBV_OK, &r.err);
                assert_int_equal(b.table, table);
                assert_int_equal(b.index, index);
                assert_int_equal(b.data_seq, table == 0 ? MAJOR_BLOCKS[index].data_seq : MINOR_BLOCKS[index].data_seq);
            }
        assert_int_equal(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r.err), OBV_E_NOT_FOUND);
        assert_int_equal(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX - 1, &b, &r.err), OBV_E_INVAL);
    }
    assert_int_equal(r.source->ops->seek(pg, 0, 4, &r.err), OBV_E_INVAL);
    assert_int_equal(r.source->ops->seek(pg, 2, 0, &r.err), OBV_E_INVAL); /* a sstable without blocks */
    assert_int_equal(r.source->ops->seek(pg, 4, 0, &r.err), OBV_E_INVAL);
    free(buf);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_about_something_else_are_refused),
        cmocka_unit_test(blocks_of_another_table_are_refused),
        cmocka_unit_test(a_major_behind_the_position_does_no_harm_when_nothing_changed),
        cmocka_unit_test(packets_of_another_call_are_refused),
        cmocka_unit_test(keepalive_packets_are_passed_over),
        cmocka_unit_test(a_copy_goes_on_from_any_block),
    };
    return cmocka_run_group_tests_name("agent.observer_lies", tests, NULL, NULL);
}
