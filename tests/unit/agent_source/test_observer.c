/* the observer driver against a fake server: what is copied, what is refused, what happens when the server misbehaves
 */
#include "base/clock.h"
#include "fake_rig.h"

static void a_pg_is_copied_with_the_sstables_that_belong_to_it(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    r.pg.split_state = 1; /* a follower at rest */
    obv_source_pg *pg = NULL;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    const obv_source_metas *m = r.source->ops->metas(pg);
    assert_int_equal(m->partition_count, 2);
    assert_false(m->partitions[0].is_trans);
    assert_true(m->partitions[1].is_trans);
    assert_int_equal(m->table_count, 4);
    static const size_t WANT[] = {1, 4, 2, 6};
    for (size_t i = 0; i < 4; i++) {
        obv_table_key got;
        assert_code(obv_table_key_parse(m->tables[i].table_key, &got, &r.err), OBV_OK, &r.err);
        const obv_table_key want = fake_key(&r.pg, &r.pg.tables[WANT[i]]);
        assert_true(obv_table_key_equal(&got, &want));
        assert_int_equal(m->tables[i].area, i == 0 ? OBV_AREA_MAJOR : OBV_AREA_MINOR);
        assert_int_equal(m->tables[i].partition, i == 3);
        assert_int_equal(m->tables[i].block_count, r.pg.tables[WANT[i]].block_count);
    }
    assert_int_equal(m->publish_version, T + 700);
    assert_int_equal(m->last_replay_log_id, 106);
    assert_int_equal(m->accumulate_checksum, 4711);
    assert_int_equal(m->lower_bound, T + 600);              /* the mini's multi_version_start */
    assert_int_equal(m->max_table_schema_version, T + 450); /* of what reaches publish_version */

    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    obv_source_block b;
    for (size_t i = 0; i < 5; i++) {
        const fake_block *want = i < 4 ? &MAJOR_BLOCKS[i] : &MINOR_BLOCKS[0];
        char name[96];
        assert_code(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r.err), OBV_OK, &r.err);
        assert_int_equal(b.table, i / 4);
        assert_int_equal(b.index, i % 4);
        assert_int_equal(b.data_seq, want->data_seq);
        (void)snprintf(name, sizeof name, "data/macro_block_%s.meta.bin", want->name);
        assert_span_equal(b.meta, golden_vector(name));
        (void)snprintf(name, sizeof name, "data/macro_block_%s.bin.zst", want->name);
        assert_memory_equal(b.data.p, golden_vector(name).p, b.data.len);
    }
    assert_int_equal(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r.err), OBV_E_NOT_FOUND);
    free(buf);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

/* ---- refusals */

static void moves(fake_pg *p) { p->move_after = 1; }
static void trans_is_behind(fake_pg *p) { p->tables[6].log_end = T + 689; }
static void nothing_reaches(fake_pg *p) { p->publish = T + 900; }
static void no_major_yet(fake_pg *p) { p->tables[0].type = p->tables[1].type = OBV_TABLE_MINI_MINOR; }
static void members_differ(fake_pg *p) { p->hide_trans = true; }
static void list_is_short(fake_pg *p) { p->extra_member = true; }
static void is_restoring(fake_pg *p) { p->is_restore = 2; }
static void is_migrating(fake_pg *p) { p->migrate_status = 1; }
static void is_splitting(fake_pg *p) { p->split_state = 2; }
static void is_log_only(fake_pg *p) { p->replica_type = 5; }
static void is_no_member(fake_pg *p) { p->member_port++; }
static void is_old_table(fake_pg *p) { p->assist = 8; }
static void is_overtaken(fake_pg *p)
{
    p->tables[0].snapshot = T + 800; /* a newer major, and the minor behind the older one is gone */
    p->tables[4] = p->tables[5];
}
static void memtable_listed(fake_pg *p) { p->tables[0].type = OBV_TABLE_MEMTABLE; }

static void a_pg_that_does_not_hold_still_is_not_copied(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        void (*change)(fake_pg *p);
        obv_code want;
    } CASES[] = {{"its position moved", moves, OBV_E_PG_CHANGED},
                 {"its trans state is older than its position", trans_is_behind, OBV_E_PG_CHANGED},
                 {"no sstable reaches its position", nothing_reaches, OBV_E_PG_CHANGED},
                 {"no major yet", no_major_yet, OBV_E_PG_CHANGED},
                 {"members and list differ", members_differ, OBV_E_PG_CHANGED},
                 {"the list lacks a member", list_is_short, OBV_E_PG_CHANGED},
                 {"it is being restored", is_restoring, OBV_E_PRECONDITION},
                 {"it is migrating", is_migrating, OBV_E_PRECONDITION},
                 {"it is being split", is_splitting, OBV_E_PRECONDITION},
                 {"it holds logs only", is_log_only, OBV_E_PRECONDITION},
                 {"not in the member list", is_no_member, OBV_E_PRECONDITION},
                 {"keys from before 1.4.3", is_old_table, OBV_E_UNSUPPORTED},
                 {"a merge has overtaken it", is_overtaken, OBV_E_PG_CHANGED},
                 {"a memtable", memtable_listed, OBV_E_CORRUPT}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rig r;
        rig_start(&r, 0);
        obv_source_pg *pg = NULL;
        print_message("case: %s\n", CASES[i].why);
        CASES[i].change(&r.pg);
        assert_code(open_pg(&r, NULL, &pg), CASES[i].want, &r.err);
        assert_null(pg);
        assert_non_null(strstr(r.err.msg, "PG 1100611139453781/3: "));
        rig_stop(&r);
    }
}

static void every_part_of_its_position_counts(void **state)
{
    (void)state;
    for (int what = MOVED_LOG_ID; what <= MOVED_SPLIT; what++) {
        rig r;
        rig_start(&r, 0);
        obv_source_pg *pg = NULL;
        r.pg.move_after = 1;
        r.pg.moved = what;
        print_message("case: %d\n", what);
        assert_code(open_pg(&r, NULL, &pg), what < MOVED_RESTORE ? OBV_E_PG_CHANGED : OBV_E_PRECONDITION, &r.err);
        rig_stop(&r);
    }
}

static void an_index_that_is_not_ready_is_left_out(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    r.pg.tables[r.pg.table_count++] = (fake_table){
        .type = OBV_TABLE_MAJOR, .index_id = FAKE_INDEX_ID, .mv_start = T + 500, .snapshot = T + 500, .version = 7};
    obv_source_pg *pg = NULL;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    assert_int_equal(r.source->ops->metas(pg)->table_count, 5);
    assert_int_equal(r.source->ops->metas(pg)->indexes_left_out, 0);
    r.source->ops->close_pg(pg);
    r.pg.index_not_ready = true;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    assert_int_equal(r.source->ops->metas(pg)->table_count, 4);
    assert_int_equal(r.source->ops->metas(pg)->indexes_left_out, 1);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void metas_of_a_pg_have_one_bound(void **state)
{
    (void)state;
    enum { BLOCKS = 30000 }; /* their list takes more than half of the bound, and there are two of them */
    rig r;
    rig_start(&r, 0);
    r.server.chunk = 1 << 20;
    fake_block *many = calloc(BLOCKS, sizeof *many);
    assert_non_null(many);
    for (int i = 0; i < BLOCKS; i++)
        many[i] = (fake_block){.data_version = 7, .data_seq = INT64_MAX - i};
    r.source->ops->close(r.source);
    const obv_observer_config cfg = {
        .ip = "127.0.0.1", .rpc_port = r.server.port, .cluster_id = FAKE_CLUSTER_ID, .pg_metas_mib = 1};
    assert_code(obv_observer_open(&cfg, &r.source, &r.err), OBV_OK, &r.err);
    obv_source_pg *pg = NULL;
    r.pg.tables[1].blocks = many;
    r.pg.tables[1].block_count = BLOCKS;
    for (int i = 0; i < 3; i++) { /* what is given back is there again */
        assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
        r.source->ops->close_pg(pg);
    }
    r.pg.tables[4].blocks = many;
    r.pg.tables[4].block_count = BLOCKS;
    assert_code(open_pg(&r, NULL, &pg), OBV_E_LIMIT, &r.err);
    free(many);
    rig_stop(&r);
}

static void errors_of_the_server_have_their_classes(void **state)
{
    (void)state;
    static const struct {
        int32_t pcode, rcode;
        obv_code want;
    } CASES[] = {{0x472, -4225, OBV_E_PG_GONE},    {0x472, -4683, OBV_E_PRECONDITION}, {0x472, -4012, OBV_E_TIMEOUT},
                 {0x472, -4002, OBV_E_INTERNAL},   {0x473, -4023, OBV_E_PG_CHANGED},   {0x473, -4191, OBV_E_PG_GONE},
                 {0x45D, -4018, OBV_E_PG_CHANGED}, {0x45D, -4284, OBV_E_PG_CHANGED},   {0x472, -8004, OBV_E_CONFIG},
                 {0x472, -4999, OBV_E_IO},         {0x45D, -4013, OBV_E_UNAVAILABLE}};
    rig r;
    rig_start(&r, 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        obv_source_pg *pg = NULL;
        r.pg.fail_pcode = CASES[i].pcode;
        r.pg.fail_rcode = CASES[i].rcode;
        assert_code(open_pg(&r, NULL, &pg), CASES[i].want, &r.err);
        assert_int_equal(r.err.sys, CASES[i].rcode);
    }
    assert_int_equal(atomic_load(&r.server.connections), 1); /* the connection stays in step */
    rig_stop(&r);
}

static void a_block_that_does_not_fit_twice_is_no_coincidence(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    static const obv_code WANT[] = {OBV_E_PG_CHANGED, OBV_E_INTERNAL, OBV_E_NOT_FOUND, OBV_E_PG_CHANGED};
    for (size_t i = 0; i < 4; i++) {
        obv_source_pg *pg = NULL;
        size_t blocks = 0;
        r.pg.fail_pcode = 0x471;
        r.pg.fail_rcode = i == 2 ? 0 : -4016;
        assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
        assert_code(read_all(&r, pg, &blocks), WANT[i], &r.err);
        r.source->ops->close_pg(pg);
    }
    rig_stop(&r);
}

static void a_resumed_copy_clears_the_suspicion(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    for (size_t i = 0; i < 2; i++) {
        obv_source_pg *pg = NULL;
        obv_source_block b;
        size_t blocks = 0;
        r.pg.fail_pcode = 0x471;
        r.pg.fail_rcode = -4016;
        assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
        assert_code(read_all(&r, pg, &blocks), OBV_E_PG_CHANGED, &r.err);
        r.source->ops->close_pg(pg);
        r.pg.fail_rcode = 0;
        assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
        assert_code(r.source->ops->seek(pg, 0, 2, &r.err), OBV_OK, &r.err);
        for (size_t k = 2; k < 4; k++) /* what was not stored before; nobody asks further */
            assert_code(r.source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &r.err), OBV_OK, &r.err);
        r.source->ops->close_pg(pg);
    }
    free(buf);
    rig_stop(&r);
}

/* ---- faults */

static void damage_on_the_way_and_in_blocks_is_met_by_one_repetition(void **state)
{
    (void)state;
    static const struct {
        int packets, blocks;
        obv_code want;
        bool swap;
    } CASES[] = {{1, 0, OBV_E_NOT_FOUND, false},
                 {0, 1, OBV_E_NOT_FOUND, false},
                 {2, 0, OBV_E_CORRUPT, false},
                 {0, 6, OBV_E_CORRUPT, false},
                 {0, 0, OBV_E_CORRUPT, true}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rig r;
        rig_start(&r, 0);
        obv_source_pg *pg = NULL;
        size_t blocks = 0;
        assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
        atomic_store(&r.server.damage_packets, CASES[i].packets);
        r.pg.damage_blocks = CASES[i].blocks;
        r.pg.swap_blocks = CASES[i].swap;
        assert_code(read_all(&r, pg, &blocks), CASES[i].want, &r.err);
        if (CASES[i].want == OBV_E_NOT_FOUND)
            assert_int_equal(blocks, 5);
        r.source->ops->close_pg(pg);
        rig_stop(&r);
    }
}

static void an_error_inside_a_stream_can_be_called_again(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_source_pg *pg = NULL;
    size_t blocks = 0;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    atomic_store(&r.server.error_in_stream, -4009);
    assert_code(read_all(&r, pg, &blocks), OBV_E_UNAVAILABLE, &r.err);
    assert_int_equal(blocks, 0);
    assert_code(read_all(&r, pg, &blocks), OBV_E_NOT_FOUND, &r.err);
    assert_int_equal(blocks, 5);
    r.source->ops->close_pg(pg);

    /* one that says that more follows is aborted, and the answer to that is nobody else's */
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    atomic_store(&r.server.error_goes_on, 1);
    atomic_store(&r.server.error_in_stream, -4009);
    assert_code(read_all(&r, pg, &blocks), OBV_E_UNAVAILABLE, &r.err);
    const int requests = atomic_load(&r.server.requests);
    obv_observer_pg_info info;
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_OK, &r.err);
    obv_observer_pg_info_fini(&info);
    assert_int_equal(atomic_load(&r.server.requests), requests + 1);
    for (int i = 0; i < 2000 && atomic_load(&r.server.aborts) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&r.server.aborts), 1);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void a_connection_closed_while_idle_is_not_an_error(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    obv_observer_pg_info info;
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_OK, &r.err);
    assert_int_equal(info.last_replay_log_id, 106);
    assert_int_equal(info.epoch_id, 900);
    assert_int_equal(info.accumulate_checksum, 4711);
    assert_int_equal(info.publish_version, T + 700);
    assert_int_equal(info.partition_count, 2);
    obv_observer_pg_info_fini(&info);
    atomic_store(&r.server.close_requests, 1);
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_OK, &r.err);
    obv_observer_pg_info_fini(&info);
    atomic_store(&r.server.close_requests, 2);
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_E_UNAVAILABLE, &r.err);
    rig_stop(&r);
    assert_code(obv_observer_open(&(obv_observer_config){.ip = "127.0.0.1", .rpc_port = r.server.port, .cluster_id = 1},
                                  &r.source, &r.err),
                OBV_OK, &r.err);
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_E_UNAVAILABLE, &r.err);
    r.source->ops->close(r.source);
}

static void a_server_that_stalls_is_left_in_time(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 200);
    obv_observer_pg_info info;
    atomic_store(&r.server.stall, 1);
    const int64_t begin = obv_mono_ns();
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_E_TIMEOUT, &r.err);
    assert_true(obv_mono_ns() - begin < 5 * OBV_NS_PER_S);
    obv_cancel *c = obv_cancel_new(NULL);
    obv_cancel_request(c);
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, c, &info, &r.err), OBV_E_CANCELLED, &r.err);
    obv_cancel_free(c);
    atomic_store(&r.server.stall, 0);
    assert_code(obv_observer_fetch_pg_info(r.source, &r.pg.key, NULL, &info, &r.err), OBV_OK, &r.err);
    obv_observer_pg_info_fini(&info);
    rig_stop(&r);
}

static void a_stream_that_nobody_reads_on_is_aborted(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 200);
    obv_source_pg *pg = NULL;
    size_t blocks = 0;
    assert_code(open_pg(&r, NULL, &pg), OBV_OK, &r.err);
    atomic_store(&r.server.stall_in_stream, 1);
    assert_code(read_all(&r, pg, &blocks), OBV_E_TIMEOUT, &r.err);
    atomic_store(&r.server.stall_in_stream, 0);
    for (int i = 0; i < 2000 && atomic_load(&r.server.aborts) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&r.server.aborts), 1); /* the server need not wait for its own time-out */
    assert_code(read_all(&r, pg, &blocks), OBV_E_NOT_FOUND, &r.err);
    assert_int_equal(blocks, 5);
    r.source->ops->close_pg(pg);
    rig_stop(&r);
}

static void *copy_once(void *arg)
{
    rig *r = arg;
    obv_err err = {0};
    obv_source_pg *pg = NULL;
    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    obv_source_block b;
    intptr_t blocks = 0;
    if (buf && r->source->ops->open_pg(r->source, &r->pg.key, NULL, &pg, &err) == OBV_OK) {
        while (r->source->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, &err) == OBV_OK)
            blocks++;
        r->source->ops->close_pg(pg);
    }
    free(buf);
    return (void *)blocks;
}

static void there_are_never_more_than_two_streams(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, copy_once, &r), 0);
    for (size_t i = 0; i < 6; i++) {
        void *blocks = NULL;
        pthread_join(threads[i], &blocks);
        assert_int_equal((intptr_t)blocks, 5);
    }
    assert_true(atomic_load(&r.server.most_running) <= 2);
    assert_true(atomic_load(&r.server.connections) <= 2);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pg_is_copied_with_the_sstables_that_belong_to_it),
        cmocka_unit_test(a_pg_that_does_not_hold_still_is_not_copied),
        cmocka_unit_test(every_part_of_its_position_counts),
        cmocka_unit_test(an_index_that_is_not_ready_is_left_out),
        cmocka_unit_test(metas_of_a_pg_have_one_bound),
        cmocka_unit_test(errors_of_the_server_have_their_classes),
        cmocka_unit_test(a_block_that_does_not_fit_twice_is_no_coincidence),
        cmocka_unit_test(a_resumed_copy_clears_the_suspicion),
        cmocka_unit_test(damage_on_the_way_and_in_blocks_is_met_by_one_repetition),
        cmocka_unit_test(an_error_inside_a_stream_can_be_called_again),
        cmocka_unit_test(a_connection_closed_while_idle_is_not_an_error),
        cmocka_unit_test(a_server_that_stalls_is_left_in_time),
        cmocka_unit_test(a_stream_that_nobody_reads_on_is_aborted),
        cmocka_unit_test(there_are_never_more_than_two_streams),
    };
    return cmocka_run_group_tests_name("agent.observer", tests, NULL, NULL);
}
