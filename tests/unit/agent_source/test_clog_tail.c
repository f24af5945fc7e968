/* test_clog_tail.c - logs that the leader says are committed, out of the clog's live tail, before any cursor names them
 */
#include "../clog_maker.h"
#include "../golden.h"
#include "source/clog_priv.h"
#include "test.h"

#include <sys/stat.h>

static const obv_pg_key A = {1100611139453777, 0, 0}, B = {1100611139453777, 1, 0};

typedef struct bench {
    maker *m;
    obv_clog_source *s;
    obv_clog_pg a, b, *pgs[2];
    uint64_t logs[2];    /* given out so far */
    int64_t checksum[2]; /* of the data of the last one */
} bench;

/* Two PGs whose next log is 10; the ilog exists, and names nothing. */
static bench *bench_new(void)
{
    bench *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->m = maker_new();
    assert_int_equal(maker_pg_add(t->m, &A, 10, 77), 0);
    assert_int_equal(maker_pg_add(t->m, &B, 10, 78), 1);
    maker_ilog(t->m, 1, true);
    const obv_clog_config cfg = {.store_dir = t->m->dir, .batch_bytes = 4u << 20};
    obv_err err = {0};
    assert_code(obv_clog_open(&cfg, &t->s, &err), OBV_OK, &err);
    obv_clog_pg_set(&t->a, &A, 10, 77);
    obv_clog_pg_set(&t->b, &B, 10, 78);
    t->pgs[0] = &t->a, t->pgs[1] = &t->b;
    return t;
}

static void bench_free(bench *t)
{
    obv_clog_close(t->s);
    maker_free(t->m);
    free(t);
}

static bool scan(bench *t)
{
    bool changed, whole = false;
    obv_err err = {0};
    assert_code(obv_clog_refresh(t->s, &changed, &err), OBV_OK, &err);
    assert_code(obv_clog_scan(t->s, t->pgs, 2, NULL, &whole, &err), OBV_OK, &err);
    return whole;
}

/* Reads to the end; counts into t->logs and checks the order. */
static size_t read_all(bench *t)
{
    size_t total = 0;
    for (;;) {
        obv_clog_batch b;
        obv_err err = {0};
        assert_code(obv_clog_read(t->s, t->pgs, 2, NULL, &b, &err), OBV_OK, &err);
        if (b.count == 0)
            return total;
        for (size_t i = 0; i < b.count; i++) {
            const obv_clog_log *l = &b.logs[i];
            assert_int_equal(l->entry.log_id, 10 + t->logs[l->pg]);
            assert_int_equal(l->bytes.len, OBV_CLOG_ENTRY_HEADER + l->entry.data_len);
            t->logs[l->pg]++;
            t->checksum[l->pg] = l->entry.data_checksum;
        }
        total += b.count;
    }
}

static void sure(bench *t, uint64_t a_below, uint64_t b_below)
{
    obv_clog_pg_sure(&t->a, true, 10, a_below);
    obv_clog_pg_sure(&t->b, true, 10, b_below);
}

static void only_what_is_sure_is_given_and_cursors_agree_later(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    assert_true(scan(t));
    for (int i = 0; i < 6; i++) {
        maker_next(t->m, 0, 500);
        maker_next(t->m, 1, i == 3 ? 1900000 : 30);
    }
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    sure(t, 13, 10);
    assert_int_equal(read_all(t), 3);
    assert_int_equal(t->logs[0], 3);
    sure(t, 14, 16);
    assert_int_equal(read_all(t), 1 + 6);
    assert_int_equal(t->a.audit_log_id, 12);
    /* the cursors come: what has been given is not given again, the rest is */
    maker_ilog(t->m, 2, true);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 2);
    assert_int_equal(t->a.failed, OBV_OK);
    assert_int_equal(t->b.failed, OBV_OK);
    assert_int_equal(t->a.audit_log_id, 0);
    assert_int_equal(t->b.audit_log_id, 0);
    assert_int_equal(t->a.next_log_id, 16);
    assert_int_equal(t->a.accum, t->m->pgs[0].accum);
    assert_int_equal(t->b.accum, t->m->pgs[1].accum);
    bench_free(t);
}

static void of_several_copies_the_greatest_proposal_counts(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    assert_true(scan(t));
    t->m->proposal_ts = 1600000000000005;
    (void)maker_copy(t->m, 0, 10, 100, 'x'); /* a leader that fell before it was agreed on */
    t->m->proposal_ts = 1600000000000009;
    const int64_t right = maker_copy(t->m, 0, 10, 90, 'y');
    t->m->proposal_ts = 1600000000000007;
    (void)maker_copy(t->m, 0, 10, 80, 'z');
    assert_true(scan(t));
    sure(t, 11, 10);
    assert_int_equal(read_all(t), 1);
    assert_int_equal(t->checksum[0], right);
    bench_free(t);
}

/* The committed copy was written while nobody watched: an older copy that was seen before is none. */
static void copies_of_an_earlier_watch_count_no_more(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    assert_true(scan(t));
    (void)maker_copy(t->m, 0, 10, 100, 'x');
    assert_true(scan(t));
    obv_clog_pg_sure(&t->a, false, 0, 0);
    t->m->proposal_ts = 1600000000000009;
    maker_next(t->m, 0, 50);
    assert_true(scan(t));
    obv_clog_pg_sure(&t->a, true, 10, 12);
    t->m->proposal_ts = 1600000000000010;
    maker_next(t->m, 0, 60); /* log 11 */
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    maker_ilog(t->m, 2, true); /* log 10 comes by its cursor, and 11 with it */
    assert_true(scan(t));
    assert_int_equal(read_all(t), 2);
    assert_int_equal(t->a.failed, OBV_OK);
    bench_free(t);
}

static void a_hole_waits_for_the_cursors(void **state)
{
    (void)state;
    bench *t = bench_new();
    maker_next(t->m, 0, 50); /* before anything is watched, in a file that is left behind */
    maker_finish_file(t->m);
    sure(t, 10, 10);
    assert_true(scan(t));
    maker_next(t->m, 0, 60);
    assert_true(scan(t));
    sure(t, 12, 10);
    assert_int_equal(read_all(t), 0);
    maker_ilog(t->m, 2, false);
    maker_next(t->m, 0, 70);
    assert_true(scan(t));
    sure(t, 13, 10);
    assert_int_equal(read_all(t), 3); /* two by cursors, the third behind them */
    bench_free(t);
}

static void a_block_that_is_half_there_is_read_when_it_is_whole(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    maker_next(t->m, 0, 50);
    assert_true(scan(t));
    const uint32_t at = t->m->offset;
    maker_next(t->m, 0, 9000);
    uint8_t page[4096], zeros[4096] = {0};
    const off_t hole = at / 4096 * 4096 + 4096;
    assert_int_equal(pread(t->m->fd, page, sizeof page, hole), sizeof page);
    assert_int_equal(pwrite(t->m->fd, zeros, sizeof zeros, hole), sizeof zeros);
    assert_true(scan(t));
    sure(t, 12, 10);
    assert_int_equal(read_all(t), 1);
    assert_int_equal(pwrite(t->m->fd, page, sizeof page, hole), sizeof page);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 1);
    bench_free(t);
}

static void padding_at_the_tail_is_overwritten(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 20, 10);
    for (int i = 0; i < 5; i++) {
        maker_next(t->m, 0, 100 + (size_t)i * 700);
        (void)maker_padding(t->m);
        assert_true(scan(t));
        assert_int_equal(read_all(t), 1);
    }
    bench_free(t);
}

static void the_tail_goes_on_in_the_next_file(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 99, 99);
    for (int f = 0; f < 3; f++) {
        maker_next(t->m, 0, 3000);
        assert_true(scan(t));
        maker_next(t->m, 1, 20);
        maker_finish_file(t->m);
        assert_true(scan(t)); /* the new file is empty so far */
        assert_int_equal(read_all(t), 2);
    }
    /* a file without an end, as a damaged one has none: the newest is gone on with after a while */
    maker_next(t->m, 0, 10);
    assert_true(scan(t));
    maker_new_file(t->m);
    maker_next(t->m, 0, 10);
    assert_false(scan(t));
    assert_false(scan(t));
    assert_false(scan(t));
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0); /* what was not seen may have held a greater proposal: the cursors decide */
    maker_ilog(t->m, 2, true);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 2);
    maker_next(t->m, 0, 10);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 1);
    bench_free(t);
}

/* What lies behind the end in a reused file is of its earlier life, whatever it looks like. */
static void blocks_of_an_earlier_life_are_no_tail(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 99, 99);
    for (int i = 0; i < 3; i++)
        maker_next(t->m, 1, 5000); /* logs 10 to 12 of B lie in file 1 */
    assert_true(scan(t));
    maker_finish_file(t->m);
    maker_next(t->m, 0, 100);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 4);
    maker_end_file(t->m);
    t->m->now += 10 * 1000000;
    maker_recycle(t->m, 1); /* file 3 is file 1 renamed, only its first page overwritten */
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    maker_next(t->m, 0, 5000); /* as long as the block that was there: the next old one stands right behind */
    t->b.next_log_id = 11;     /* an old copy would be taken if it were seen */
    assert_true(scan(t));
    assert_int_equal(read_all(t), 1);
    assert_int_equal(t->logs[0], 2);
    assert_int_equal(t->b.next_log_id, 11);
    bench_free(t);
}

static void a_cursor_that_contradicts_stops_the_pg(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 99, 99);
    (void)maker_copy(t->m, 0, 10, 100, 'x');
    (void)maker_copy(t->m, 1, 10, 100, 'x');
    assert_true(scan(t));
    assert_int_equal(read_all(t), 2);
    maker_next(t->m, 0, 50); /* the log that counts is another one */
    maker_next(t->m, 0, 50);
    maker_ilog(t->m, 2, true);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    assert_int_equal(t->a.failed, OBV_E_CORRUPT);
    assert_non_null(strstr(t->a.why, "log 10 was taken before its cursor came"));
    assert_int_equal(t->b.failed, OBV_OK);
    bench_free(t);
}

/* One log by its cursor, so that a later comparison is no longer the first one; then a burst, in two batches. */
static void what_was_given_during_a_comparison_is_compared_next(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 3; wrong++) {
        bench *t = bench_new();
        sure(t, 10, 10);
        assert_true(scan(t));
        maker_next(t->m, 0, 100);
        maker_ilog(t->m, 2, true);
        assert_true(scan(t));
        assert_int_equal(read_all(t), 1);
        maker_next(t->m, 0, 100);
        assert_true(scan(t));
        sure(t, 12, 10);
        assert_int_equal(read_all(t), 1);
        assert_int_equal(t->a.audit_log_id, 11);
        if (wrong)
            (void)maker_copy(t->m, 0, 12, 100, 'x');
        else
            maker_next(t->m, 0, 100);
        assert_true(scan(t));
        sure(t, 13, 10);
        assert_int_equal(read_all(t), 1);
        if (wrong == 2) { /* the index comes in two steps: up to log 11 all is right */
            maker_ilog(t->m, 3, false);
            assert_true(scan(t));
            assert_int_equal(read_all(t), 0);
            assert_int_equal(t->a.failed, OBV_OK);
            assert_int_equal(t->a.audit_log_id, 12);
        }
        if (wrong)
            maker_next(t->m, 0, 100); /* the log that counts is another one, and the PG's last for now */
        maker_ilog(t->m, 3, false);
        assert_true(scan(t));
        assert_int_equal(read_all(t), 0);
        assert_int_equal(t->a.failed, wrong ? OBV_E_CORRUPT : OBV_OK);
        if (!wrong)
            assert_int_equal(t->a.audit_log_id, 0);
        bench_free(t);
    }
}

/* The cursor alone tells of a batch; what is given before it comes is given as not committed in one. */
static void a_cursor_that_tells_of_a_batch_stops_the_pg(void **state)
{
    (void)state;
    static const uint8_t BODY[64] = {0};
    for (int in_two_files = 0; in_two_files < 2; in_two_files++) {
        bench *t = bench_new();
        sure(t, 10, 10);
        assert_true(scan(t));
        for (uint64_t log = 10; log < 14; log++)
            maker_commit(t->m, 0, log, OBV_ENTRY_SUBMIT, obv_span_of(BODY, sizeof BODY), log == 12 ? MAKER_BATCH : 0);
        t->m->pgs[0].next = 14;
        maker_next(t->m, 1, 100);
        assert_true(scan(t));
        sure(t, 14, 11);
        assert_int_equal(read_all(t), 5);
        if (in_two_files) {
            maker_ilog(t->m, 2, true);
            maker_next(t->m, 0, 100);
            maker_ilog(t->m, 3, false);
        } else {
            maker_ilog(t->m, 2, false);
        }
        assert_true(scan(t));
        (void)read_all(t);
        assert_int_equal(t->a.failed, OBV_E_CORRUPT);
        assert_non_null(strstr(t->a.why, "log 12 was committed in a batch"));
        assert_int_equal(t->b.failed, OBV_OK);
        bench_free(t);
    }
}

static void copies_before_a_file_that_was_skipped_count_no_more(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    assert_true(scan(t));
    (void)maker_copy(t->m, 0, 10, 100, 'x');
    assert_true(scan(t));
    /* a greater proposal lies in a part of file 1 that is not seen any more */
    maker_finish_file(t->m);
    maker_next(t->m, 1, 100);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/clog/1", t->m->dir);
    assert_int_equal(unlink(path), 0);
    assert_false(scan(t));
    assert_true(scan(t));
    sure(t, 11, 10);
    assert_int_equal(read_all(t), 0);
    bench_free(t);
}

static void a_damaged_cursor_of_what_was_given_stops_the_pg(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 10, 10);
    assert_true(scan(t));
    maker_next(t->m, 0, 100);
    maker_next(t->m, 1, 100);
    assert_true(scan(t));
    sure(t, 11, 11);
    assert_int_equal(read_all(t), 2);
    maker_next(t->m, 0, 100);
    maker_next(t->m, 1, 100);
    maker_ilog(t->m, 2, true);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ilog/2", t->m->dir);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\x7f\xff\xff\xff", 4, 4), 4); /* the place of A's log 10 */
    assert_int_equal(close(fd), 0);
    assert_true(scan(t));
    (void)read_all(t);
    assert_int_equal(t->a.failed, OBV_E_CORRUPT);
    assert_int_equal(t->b.failed, OBV_OK);
    assert_int_equal(t->logs[1], 2);
    bench_free(t);
}

static void local_records_are_no_copies(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 99, 99);
    static const uint8_t DATA[40];
    obv_buf b = obv_buf_heap(4096);
    obv_clog_entry e;
    maker_entry(t->m, 0, OBV_ENTRY_RENEW_MEMBERSHIP, 10, obv_span_of(DATA, sizeof DATA), &b, &e);
    (void)maker_block(t->m, obv_buf_span(&b));
    obv_buf_fini(&b);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    bench_free(t);
}

static void compressed_entries_are_followed(void **state)
{
    (void)state;
    bench *t = bench_new();
    sure(t, 99, 99);
    assert_true(scan(t));
    static const uint8_t DATA[5000];
    maker_commit(t->m, 0, t->m->pgs[0].next++, OBV_ENTRY_SUBMIT, obv_span_of(DATA, sizeof DATA), MAKER_COMPRESSED);
    maker_next(t->m, 0, 10);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 2);
    maker_ilog(t->m, 2, true);
    assert_true(scan(t));
    assert_int_equal(read_all(t), 0);
    assert_int_equal(t->a.failed, OBV_OK);
    bench_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_sure_is_given_and_cursors_agree_later),
        cmocka_unit_test(of_several_copies_the_greatest_proposal_counts),
        cmocka_unit_test(copies_of_an_earlier_watch_count_no_more),
        cmocka_unit_test(a_hole_waits_for_the_cursors),
        cmocka_unit_test(a_block_that_is_half_there_is_read_when_it_is_whole),
        cmocka_unit_test(padding_at_the_tail_is_overwritten),
        cmocka_unit_test(the_tail_goes_on_in_the_next_file),
        cmocka_unit_test(blocks_of_an_earlier_life_are_no_tail),
        cmocka_unit_test(a_cursor_that_contradicts_stops_the_pg),
        cmocka_unit_test(what_was_given_during_a_comparison_is_compared_next),
        cmocka_unit_test(a_cursor_that_tells_of_a_batch_stops_the_pg),
        cmocka_unit_test(copies_before_a_file_that_was_skipped_count_no_more),
        cmocka_unit_test(a_damaged_cursor_of_what_was_given_stops_the_pg),
        cmocka_unit_test(local_records_are_no_copies),
        cmocka_unit_test(compressed_entries_are_followed),
    };
    return cmocka_run_group_tests_name("agent_source.clog_tail", tests, NULL, NULL);
}
