/* Commits that the leader itself tells: archived before their cursors come, and only then when nothing speaks against
 * it. */
#include "archive_kit.h"

static kit *kit_fast(void)
{
    kit *k = kit_new();
    k->fast = true;
    (void)kit_pg(k, 10);
    (void)kit_pg(k, 10);
    maker_ilog(k->m, 1, true);
    return k;
}

static void polls(kit *k, unsigned n)
{
    (void)pthread_mutex_lock(&k->mu);
    const unsigned want = k->polls + n;
    (void)pthread_mutex_unlock(&k->mu);
    for (int i = 0; i < 3000; i++) {
        (void)pthread_mutex_lock(&k->mu);
        const bool there = k->polls >= want;
        (void)pthread_mutex_unlock(&k->mu);
        if (there)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("no %u polls in 30 s", n);
}

/* Three logs of each PG are written; the leader's window then begins behind them. */
static void three_logs(kit *k)
{
    for (int i = 0; i < 3; i++) {
        maker_next(k->m, 0, 200);
        maker_next(k->m, 1, 200);
    }
}

static void windows_behind(kit *k)
{
    (void)pthread_mutex_lock(&k->mu);
    for (uint32_t i = 0; i < k->pg_count; i++)
        k->windows[i].start_id = k->m->pgs[i].next;
    (void)pthread_mutex_unlock(&k->mu);
}

static void what_left_the_window_is_archived_without_cursors(void **state)
{
    (void)state;
    kit *k = kit_fast();
    kit_start(k);
    polls(k, 3);
    three_logs(k);
    polls(k, 5);
    kit_readable(k, 300);
    assert_int_equal(kit_report(k).checkpoint_min, 0); /* it has not left the window */
    windows_behind(k);
    (void)kit_wait(k, 300);
    three_logs(k);
    windows_behind(k);
    (void)kit_wait(k, 400);
    maker_ilog(k->m, 2, true); /* the cursors agree */
    three_logs(k);
    windows_behind(k);
    (void)kit_wait(k, 500);
    assert_int_equal(kit_report(k).error.code, OBV_OK);
    kit_end(k);
    kit_check_all(k);
    kit_free(k);
}

/* What speaks against it, one by one: the logs come by their cursors, and only so. */
static void nothing_is_taken_without_full_proof(void **state)
{
    (void)state;
    enum { FOLLOWER, REBUILD, NO_EPOCH, FLAPPING, ONE_PHASE, NO_ROW, JUMPED, CASES };
    for (int c = 0; c < CASES; c++) {
        kit *k = kit_fast();
        print_message("case %d\n", c);
        obv_archive_window *w = &k->windows[0];
        w->leader = c != FOLLOWER;
        w->need_rebuild = c == REBUILD;
        w->leader_epoch = c == NO_EPOCH ? 0 : 77;
        w->has_stat = c != NO_ROW;
        k->flaps = c == FLAPPING;
        k->one_phase_commit = c == ONE_PHASE;
        if (c == JUMPED) /* the first poll of this leadership finds the window behind logs that it has not seen pass */
            w->start_id = 13;
        kit_start(k);
        polls(k, 3);
        three_logs(k);
        if (c != JUMPED)
            windows_behind(k);
        kit_readable(k, 300);
        polls(k, 12);
        assert_int_equal(kit_report(k).checkpoint_min, 0);
        maker_ilog(k->m, 2, true);
        (void)kit_wait(k, 300);
        kit_end(k);
        kit_check_all(k);
        kit_free(k);
    }
}

static void a_cursor_that_contradicts_interrupts_that_pg(void **state)
{
    (void)state;
    kit *k = kit_fast();
    kit_start(k);
    polls(k, 3);
    (void)maker_copy(k->m, 0, 10, 100, 'x');
    (void)pthread_mutex_lock(&k->mu);
    k->windows[0].start_id = 11;
    (void)pthread_mutex_unlock(&k->mu);
    polls(k, 6);
    (void)maker_next(k->m, 0, 100);
    maker_ilog(k->m, 2, true);
    for (int i = 0; i < 1000 && kit_report(k).state != OBV_ARCHIVE_STATE_INTERRUPTED; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    const obv_archive_tenant t = kit_report(k);
    assert_int_equal(t.state, OBV_ARCHIVE_STATE_INTERRUPTED);
    assert_int_equal(t.error.code, OBV_E_CORRUPT);
    assert_non_null(strstr(t.error.msg, "before its cursor came"));
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_left_the_window_is_archived_without_cursors),
        cmocka_unit_test(nothing_is_taken_without_full_proof),
        cmocka_unit_test(a_cursor_that_contradicts_interrupts_that_pg),
    };
    return cmocka_run_group_tests_name("agent_job.archive_fast", tests, NULL, NULL);
}
