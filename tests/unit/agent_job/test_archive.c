/* test_archive.c - the archive job: what is committed gets stored, checkpoints prove it, nothing else is promised */
#include "archive_kit.h"

static void random_logs(kit *k, unsigned n, size_t max_bytes)
{
    static uint64_t x = 88172645463325252ULL;
    for (unsigned i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        maker_next(k->m, (uint32_t)(x % k->pg_count), (x >> 32) % max_bytes);
    }
    maker_ilog(k->m, 1, false);
}

static void all_pgs_are_archived_and_reported(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 30; i++)
        (void)kit_pg(k, 100 + i);
    random_logs(k, 500, 3000);
    kit_start(k);
    obv_archive_tenant t = kit_wait(k, 1700000000000001);
    assert_int_equal(t.state, OBV_ARCHIVE_STATE_DOING);
    assert_int_equal(t.tenant_id, KIT_TENANT);
    assert_int_equal(t.pgs_started, 30);
    assert_int_equal(t.pgs_sampled, 30);
    assert_int_equal(t.round_start_ts_max, 1690000000000000);
    assert_int_equal(t.checkpoint_min, 1700000000000001);
    assert_true(t.sample_began_at > 0 && t.sample_ended_at >= t.sample_began_at);
    assert_true(t.bytes_in > 0 && t.bytes_out > 0);
    assert_int_equal(t.newest_clog_file, 1);
    assert_int_equal(t.oldest_clog_file, 1);
    assert_int_equal(t.error.code, OBV_OK);
    kit_check_all(k);
    for (unsigned round = 2; round < 5; round++) {
        random_logs(k, 300, 20000);
        (void)kit_wait(k, 1700000000000000 + round);
        kit_check_all(k);
    }
    kit_free(k);
}

/* The new list in force: what is committed from now on belongs to its epoch. */
static void apply_and_wait(kit *k)
{
    kit_apply(k, false);
    for (int i = 0; i < 1000; i++) {
        if (kit_report(k).revision == k->revision)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("revision %llu is not in force", (unsigned long long)k->revision);
}

static void another_epoch_never_touches_older_files(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 5; i++)
        (void)kit_pg(k, 10);
    random_logs(k, 100, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    kit_end(k);
    char path[512], dir[400];
    kit_path(k, "data", 0, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/1", dir);
    obv_buf before = kit_file(path);

    random_logs(k, 100, 3000);
    kit_start(k); /* the same epoch in a new process is another writer too */
    (void)kit_wait(k, 1700000000000002);
    obv_buf after = kit_file(path);
    assert_true(obv_span_equal(obv_buf_span(&before), obv_buf_span(&after)));
    obv_buf_fini(&before);
    obv_buf_fini(&after);
    kit_check_all(k);
    assert_int_equal(kit_read(k, 0).data_files, 2);
    assert_int_equal(kit_read(k, 0).index_files, 1);

    kit_epoch(k);
    k->revision++;
    apply_and_wait(k);
    random_logs(k, 100, 3000);
    (void)kit_wait(k, 1700000000000003);
    kit_check_all(k);
    assert_int_equal(kit_read(k, 0).data_files, 3);
    assert_int_equal(kit_read(k, 0).index_files, 2);
    assert_int_equal(kit_read(k, 0).duplicates, 0);
    assert_int_equal(kit_read(k, 0).kickoffs, 1);
    kit_free(k);
}

static void a_higher_least_id_is_honoured(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    random_logs(k, 10, 3000);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    k->revision++;
    k->assign[0].epoch++;
    k->assign[0].first_data_file = 7;
    k->assign[0].first_index_file = 5;
    apply_and_wait(k);
    random_logs(k, 10, 3000);
    (void)kit_wait(k, 1700000000000002);
    const kit_seen s = kit_read(k, 0);
    assert_int_equal(s.data_files, 7);
    assert_int_equal(s.index_files, 5);
    assert_int_equal(s.last_log_id, 29);
    kit_free(k);
}

static void a_pg_born_in_the_round_starts_at_log_one(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    (void)kit_pg(k, 1);
    k->assign[1].from_log_one = true;
    random_logs(k, 1, 10);
    k->m->pgs[1].next = 1; /* whatever random_logs chose, nothing of PG 1 is committed yet */
    k->m->log_count = 0;
    k->m->pgs[0].next = 10;
    maker_ilog(k->m, 1, false);
    kit_start(k);
    for (int i = 0; i < 20; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(kit_report(k).state, OBV_ARCHIVE_STATE_BEGINNING);
    assert_int_equal(kit_report(k).pgs_started, 1);
    maker_next(k->m, 1, 50);
    const int64_t first_ts = k->m->logs[0].at.submit_ts;
    maker_next(k->m, 1, 50);
    maker_ilog(k->m, 1, false);
    const obv_archive_tenant t = kit_wait(k, 1700000000000001);
    assert_int_equal(t.round_start_ts_max, 1690000000000000);
    const kit_seen s = kit_read(k, 1);
    assert_int_equal(s.last_log_id, 2);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/obstandin/1/incarnation_1/1001/clog/3/archive_key/%llu_1", k->root,
                   (unsigned long long)kit_key(1).table_id);
    obv_buf file = kit_file(path);
    obv_archive_key key;
    assert_int_equal(obv_archive_key_parse(obv_buf_span(&file), &key, NULL), OBV_OK);
    obv_buf_fini(&file);
    assert_int_equal(key.state.start.start_log_id, 1);
    assert_int_equal(key.state.start.start_ts, 1);
    assert_int_equal(key.state.start.snapshot_version, 0);
    assert_int_equal(key.state.start.clog_epoch_id, 1);
    assert_int_equal(key.state.start.log_submit_ts, first_ts - 1);
    assert_int_equal(key.state.max_checkpoint_ts, first_ts - 1);
    assert_int_equal(key.state.max_log_id, 0);
    kit_free(k);
}

static void a_full_data_file_gets_its_index_record_before_the_next(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    uint64_t x = 1;
    static uint64_t noise[1900000 / 8];
    for (unsigned i = 0; i < 80; i++) { /* 150 MB that lz4 cannot shrink */
        for (size_t w = 0; w < sizeof noise / 8; w++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            noise[w] = x;
        }
        noise[0] = 0;
        maker_commit(k->m, 0, k->m->pgs[0].next++, OBV_ENTRY_SUBMIT, obv_span_of(noise, sizeof noise), 0);
    }
    maker_ilog(k->m, 1, false);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    const kit_seen s = kit_read(k, 0);
    assert_int_equal(s.last_log_id, 89);
    assert_int_equal(s.data_files, 3);
    assert_int_equal(s.index_files, 1);
    kit_free(k);
}

static void more_records_than_an_index_file_holds(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    maker_ilog(k->m, 1, false);
    obv_archive job = {.cfg = {.store = k->store}, .place = {.round = 3}};
    obv_err err = {0};
    assert_int_equal(obv_media_root_init(&job.place.root, "obstandin", 1, &err), OBV_OK);
    obv_archive_pg pg = {.key = kit_key(0), .media = {.index_file = 1}};
    for (unsigned i = 0; i < OBV_ARCHIVE_INDEX_RECORDS + 2; i++) {
        const obv_archive_index r = {.effective = true, .data_file_id = i + 1};
        if (obv_archive_add_index(&job, &pg, &r, &err) != OBV_OK)
            fail_msg("%s", err.msg);
    }
    assert_int_equal(pg.media.index_file, 2);
    char dir[400], path[512];
    kit_path(k, "index", 0, dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/1", dir);
    obv_buf one = kit_file(path);
    (void)snprintf(path, sizeof path, "%s/2", dir);
    obv_buf two = kit_file(path);
    assert_int_equal(one.len, 455 * 144);
    assert_int_equal(two.len, 2 * 144);
    obv_buf_fini(&one);
    obv_buf_fini(&two);
    kit_free(k);
}

static void a_hole_interrupts_that_pg_and_its_checkpoint(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 3; i++)
        (void)kit_pg(k, 10);
    for (uint32_t i = 0; i < 3; i++)
        maker_next(k->m, i, 100);
    maker_ilog(k->m, 1, true);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    k->m->pgs[1].next = 20; /* logs 11 to 19 were recycled while nobody looked */
    for (uint32_t i = 0; i < 3; i++)
        maker_next(k->m, i, 100);
    maker_ilog(k->m, 2, false);
    kit_readable(k, 1700000000000002);
    obv_archive_tenant t;
    for (int i = 0; i < 500 && (t = kit_report(k)).state != OBV_ARCHIVE_STATE_INTERRUPTED; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    for (int i = 0; i < 30; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    t = kit_report(k);
    assert_int_equal(t.state, OBV_ARCHIVE_STATE_INTERRUPTED);
    assert_int_equal(t.error.code, OBV_E_LOG_GAP);
    assert_int_equal(t.checkpoint_min, 1700000000000001); /* the last value that is true */
    assert_int_equal(kit_read(k, 0).last_log_id, 11);
    assert_int_equal(kit_read(k, 1).last_log_id, 10);
    assert_true(obv_pg_key_equal(&t.blocking[0], &k->assign[1].pg));
    kit_free(k);
}

/* Sleeps over some samplings of the job. */
static void samplings(kit *k, unsigned n)
{
    (void)pthread_mutex_lock(&k->mu);
    const unsigned until = k->samplings + n;
    (void)pthread_mutex_unlock(&k->mu);
    for (int i = 0; i < 500; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        (void)pthread_mutex_lock(&k->mu);
        const bool done = k->samplings >= until;
        (void)pthread_mutex_unlock(&k->mu);
        if (done)
            return;
    }
    fail_msg("no samplings");
}

/* The report once it has so many PGs with a checkpoint and the tenant's is so late: a busy machine takes a while. */
static obv_archive_tenant reach(kit *k, uint32_t sampled, int64_t checkpoint)
{
    obv_archive_tenant t = {0};
    for (int i = 0; i < 1000; i++) {
        t = kit_report(k);
        if (t.pgs_sampled >= sampled && t.checkpoint_min >= checkpoint)
            return t;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%u PGs with a checkpoint, the least is %lld", t.pgs_sampled, (long long)t.checkpoint_min);
    return t;
}

static void set_row(kit *k, uint32_t i, int64_t w, uint64_t last_log_id, int64_t epoch, bool leader)
{
    (void)pthread_mutex_lock(&k->mu);
    k->rows[i].readable_ts = w;
    k->rows[i].last_log_id = last_log_id;
    k->rows[i].leader_epoch = epoch;
    k->rows[i].leader = leader;
    (void)pthread_mutex_unlock(&k->mu);
}

static void checkpoints_need_a_leader_of_one_epoch_and_stored_logs(void **state)
{
    (void)state;
    kit *k = kit_new();
    const uint32_t a = kit_pg(k, 10), b = kit_pg(k, 10);
    maker_next(k->m, a, 100);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    set_row(k, b, 100, 9, 77, true);

    set_row(k, a, 100, 11, 77, true); /* log 11 is not committed yet */
    (void)reach(k, 1, 0);
    samplings(k, 6);
    assert_int_equal(kit_report(k).checkpoint_min, 0);
    assert_int_equal(kit_report(k).pgs_sampled, 1);
    set_row(k, a, 200, 10, 77, false); /* a follower's readable time proves nothing */
    samplings(k, 6);
    assert_int_equal(kit_report(k).checkpoint_min, 0);
    set_row(k, a, 0, 10, 77, true); /* none */
    samplings(k, 6);
    assert_int_equal(kit_report(k).checkpoint_min, 0);
    for (int64_t e = 0; e < 10; e++) { /* a leader that flaps */
        set_row(k, a, 300, 10, 80 + e, true);
        samplings(k, 1);
    }
    set_row(k, a, 150, 10, 90, true);
    obv_archive_tenant t = reach(k, 2, 100);
    assert_int_equal(t.pgs_sampled, 2);
    assert_in_range(t.checkpoint_min, 100, 150);
    set_row(k, b, 150, 9, 77, true);
    assert_in_range(reach(k, 2, 150).checkpoint_min, 150, 300);

    /* the sample taken before log 11 came is settled when log 11 is stored, and later samples do not push it out */
    set_row(k, a, 400, 11, 90, true);
    set_row(k, b, 400, 9, 77, true);
    samplings(k, 12);
    assert_true(kit_report(k).checkpoint_min < 400);
    maker_next(k->m, a, 100);
    maker_ilog(k->m, 1, false);
    set_row(k, a, 500, 99, 90, true);
    set_row(k, b, 500, 9, 77, true);
    (void)reach(k, 2, 400);
    samplings(k, 12);
    assert_int_equal(kit_report(k).checkpoint_min, 400);

    (void)pthread_mutex_lock(&k->mu);
    k->sql_fails = true;
    (void)pthread_mutex_unlock(&k->mu);
    for (int i = 0; i < 1000 && kit_report(k).error.code == OBV_OK; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    t = kit_report(k);
    assert_int_equal(t.error.code, OBV_E_UNAVAILABLE);
    assert_int_equal(t.checkpoint_min, 400);
    kit_free(k);
}

static void logged_checkpoints_count_when_durable(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    maker_checkpoint(k->m, 0, 5000);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    set_row(k, 0, 1000, 10, 77, true);
    assert_int_equal(reach(k, 1, 5000).checkpoint_min, 5000);
    kit_free(k);
}

static void a_pg_that_ended_holds_nothing_back(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    (void)kit_pg(k, 10);
    uint8_t body[16];
    obv_buf b = obv_buf_fixed(body, sizeof body);
    obv_put_be64(&b, OBV_STORAGE_LOG_OFFLINE);
    maker_next(k->m, 0, 100);
    maker_commit(k->m, 1, k->m->pgs[1].next++, OBV_ENTRY_SUBMIT, obv_buf_span(&b), 0);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    (void)pthread_mutex_lock(&k->mu);
    k->rows[1].has_stat = k->rows[1].has_readable = k->rows[1].has_epoch = false;
    (void)pthread_mutex_unlock(&k->mu);
    for (int run = 1; run < 4;
         run++) { /* the second time its end is seen in the file left over, then in an indexed one */
        set_row(k, 0, 1700000000000000 + run, 10, 77, true);
        obv_archive_tenant t = {0};
        for (int i = 0; i < 500 && t.checkpoint_min == 0; i++) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
            t = kit_report(k);
        }
        assert_int_equal(t.pgs_sampled, 2);
        assert_int_equal(t.checkpoint_min, 1700000000000000 + run);
        kit_end(k);
        k->rpc_fails = true; /* it is gone from the server */
        kit_start(k);
    }
    kit_free(k);
}

/* The server knows it no more, but its whole log lies in this host's clog: log 1 to its offline log. */
static void a_pg_that_was_dropped_before_its_archive_began_is_archived(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    (void)kit_pg(k, 1);
    k->assign[1].from_log_one = true;
    uint8_t body[16];
    obv_buf b = obv_buf_fixed(body, sizeof body);
    obv_put_be64(&b, OBV_STORAGE_LOG_OFFLINE);
    maker_next(k->m, 0, 100);
    maker_next(k->m, 1, 100);
    maker_commit(k->m, 1, k->m->pgs[1].next++, OBV_ENTRY_SUBMIT, obv_buf_span(&b), 0);
    maker_ilog(k->m, 1, false);
    k->origins[1].key.table_id = 0; /* PG_GONE */
    k->rows[1].has_stat = k->rows[1].has_readable = k->rows[1].has_epoch = false;
    kit_start(k);
    set_row(k, 0, 1700000000000001, 10, 77, true);
    const obv_archive_tenant t = kit_wait(k, 1700000000000001);
    assert_int_equal(t.pgs_sampled, 2);
    assert_int_equal(kit_read(k, 1).last_log_id, 2);
    kit_free(k);
}

/* Without its beginning nobody could say from where a restore has its log. */
static void a_pg_that_is_gone_and_may_have_begun_earlier_is_not_begun(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    maker_next(k->m, 0, 100);
    maker_ilog(k->m, 1, false);
    k->origins[0].key.table_id = 0;
    kit_start(k);
    for (int i = 0; i < 500 && kit_report(k).error.code == OBV_OK; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(kit_report(k).error.code, OBV_E_PG_GONE);
    assert_int_equal(kit_report(k).pgs_started, 0);
    kit_free(k);
}

static void the_assist_comes_from_the_server_or_from_media(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    k->m->pgs[0].key.assist = 16; /* what the server knows and the coordinator does not */
    k->origins[0].key.assist = 16;
    maker_next(k->m, 0, 100);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    for (int64_t w = 2; w < 5; w++) {
        kit_end(k);
        k->rpc_fails = true;
        if (w != 3)
            maker_next(k->m, 0, 100);
        maker_ilog(k->m, 1, false);
        kit_start(k);
        (void)kit_wait(k, 1700000000000000 + w);
    }
    assert_int_equal(kit_report(k).state, OBV_ARCHIVE_STATE_DOING);
    kit_free(k);
}

static void stop_syncs_and_writes_nothing_more(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 3; i++)
        (void)kit_pg(k, 10);
    random_logs(k, 30, 100);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    assert_false(obv_archive_stopped(k->job));
    k->revision++;
    kit_apply(k, true);
    for (int i = 0; i < 500 && !obv_archive_stopped(k->job); i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_true(obv_archive_stopped(k->job));
    const uint64_t last = k->m->pgs[0].next - 1;
    maker_next(k->m, 0, 100);
    maker_ilog(k->m, 1, false);
    for (int i = 0; i < 20; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(kit_read(k, 0).last_log_id, last);
    const obv_archive_tenant t = kit_report(k);
    assert_int_equal(t.checkpoint_min, 1700000000000001);
    assert_int_equal(t.revision, k->revision);
    kit_free(k);
}

static void a_pg_that_is_not_listed_is_let_go(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 3; i++)
        (void)kit_pg(k, 10);
    random_logs(k, 30, 100);
    kit_start(k);
    (void)kit_wait(k, 1700000000000001);
    const uint64_t last = k->m->pgs[2].next - 1;
    (void)pthread_mutex_lock(&k->mu);
    k->pg_count = 2;
    (void)pthread_mutex_unlock(&k->mu);
    k->revision++;
    kit_apply(k, false);
    maker_next(k->m, 2, 100);
    maker_next(k->m, 1, 100);
    maker_ilog(k->m, 1, false);
    const obv_archive_tenant t = kit_wait(k, 1700000000000002);
    assert_int_equal(t.pgs, 2);
    assert_int_equal(kit_read(k, 2).last_log_id, last);
    kit_free(k);
}

static void pages_are_counted_and_checked(void **state)
{
    (void)state;
    kit *k = kit_new();
    for (uint32_t i = 0; i < 45; i++)
        (void)kit_pg(k, 10);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    obv_archive_have h;
    obv_archive_get_have(k->job, &h);
    assert_int_equal(h.revision, 1);
    assert_int_equal(h.received, 45);
    obv_err err = {0};
    obv_archive_page p = {.revision = 2,
                          .cluster_name = "obstandin",
                          .cluster_id = 1,
                          .round = 3,
                          .total = 45,
                          .first = 20,
                          .pgs = k->assign + 20,
                          .pg_count = 20};
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_OK); /* out of order: asked for from the start */
    obv_archive_get_have(k->job, &h);
    assert_int_equal(h.revision, 2);
    assert_int_equal(h.received, 0);
    p.first = 0, p.pgs = k->assign;
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_OK);
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_OK); /* repeated */
    obv_archive_get_have(k->job, &h);
    assert_int_equal(h.received, 20);
    p.revision = 1; /* older */
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_OK);
    obv_archive_get_have(k->job, &h);
    assert_int_equal(h.revision, 2);

    p.revision = 3;
    p.compressor = 5;
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_E_INVAL);
    p.compressor = 0;
    p.cluster_name = "a/b";
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_E_INVAL);
    p.cluster_name = "obstandin";
    p.round = 0;
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_E_INVAL);
    p.round = 3;
    p.total = OBV_ARCHIVE_MAX_PGS + 1;
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_E_LIMIT);
    p.total = 2;
    p.pg_count = 2;
    k->assign[1] = k->assign[0];
    assert_int_equal(obv_archive_apply(k->job, &p, &err), OBV_E_INVAL); /* twice the same */
    kit_free(k);
}

static void a_restoring_pg_waits_and_a_known_one_needs_no_answer(void **state)
{
    (void)state;
    kit *k = kit_new();
    (void)kit_pg(k, 10);
    k->origins[0].restoring = true;
    maker_next(k->m, 0, 100);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    obv_archive_tenant t;
    for (int i = 0; i < 500 && (t = kit_report(k)).error.code == OBV_OK; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(kit_report(k).error.code, OBV_E_PRECONDITION);
    assert_int_equal(kit_report(k).state, OBV_ARCHIVE_STATE_BEGINNING);
    (void)pthread_mutex_lock(&k->mu);
    k->origins[0].restoring = false;
    (void)pthread_mutex_unlock(&k->mu);
    (void)kit_wait(k, 1700000000000001);
    kit_end(k);
    k->rpc_fails = true;
    maker_next(k->m, 0, 100);
    maker_ilog(k->m, 1, false);
    kit_start(k);
    (void)kit_wait(k, 1700000000000002);
    assert_int_equal(kit_read(k, 0).last_log_id, 11);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pgs_are_archived_and_reported),
        cmocka_unit_test(another_epoch_never_touches_older_files),
        cmocka_unit_test(a_higher_least_id_is_honoured),
        cmocka_unit_test(a_pg_born_in_the_round_starts_at_log_one),
        cmocka_unit_test(a_full_data_file_gets_its_index_record_before_the_next),
        cmocka_unit_test(more_records_than_an_index_file_holds),
        cmocka_unit_test(a_hole_interrupts_that_pg_and_its_checkpoint),
        cmocka_unit_test(checkpoints_need_a_leader_of_one_epoch_and_stored_logs),
        cmocka_unit_test(logged_checkpoints_count_when_durable),
        cmocka_unit_test(a_pg_that_ended_holds_nothing_back),
        cmocka_unit_test(a_pg_that_was_dropped_before_its_archive_began_is_archived),
        cmocka_unit_test(a_pg_that_is_gone_and_may_have_begun_earlier_is_not_begun),
        cmocka_unit_test(the_assist_comes_from_the_server_or_from_media),
        cmocka_unit_test(stop_syncs_and_writes_nothing_more),
        cmocka_unit_test(a_pg_that_is_not_listed_is_let_go),
        cmocka_unit_test(pages_are_counted_and_checked),
        cmocka_unit_test(a_restoring_pg_waits_and_a_known_one_needs_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
