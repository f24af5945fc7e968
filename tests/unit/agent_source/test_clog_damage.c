/* test_clog_damage.c - what clog and ilog files look like while they are written, reused, or damaged: the right logs,
 * or the PG that is hit stops with the reason, and the other one goes on
 */
#include "../clog_maker.h"
#include "../golden.h"
#include "source/clog.h"
#include "test.h"

#define TRIES 6u /* refreshes after which a damaged log has been said */

static const obv_pg_key A = {1100611139453777, 0, 0}, B = {1100611139453777, 1, 0};

/* Two PGs in one store and what was read of them. */
typedef struct rig {
    maker *m;
    obv_clog_source *s;
    uint32_t a, b; /* the maker's numbers */
    obv_clog_pg pa, pb;
    uint64_t seen_a, seen_b; /* last log ids given */
    int64_t proposal_a;      /* of the last log of A given */
    obv_code said;           /* of the last read */
    obv_err err;
} rig;

static void rig_open(rig *r)
{
    const obv_clog_config cfg = {.store_dir = r->m->dir, .batch_bytes = 4u << 20};
    obv_clog_close(r->s);
    r->s = NULL;
    assert_code(obv_clog_open(&cfg, &r->s, &r->err), OBV_OK, &r->err);
    obv_clog_pg_set(&r->pa, &A, 1, 0);
    obv_clog_pg_set(&r->pb, &B, 1, 0);
    r->seen_a = r->seen_b = 0;
}

static void rig_new(rig *r)
{
    *r = (rig){.m = maker_new()};
    r->a = maker_pg_add(r->m, &A, 1, 0);
    r->b = maker_pg_add(r->m, &B, 1, 0);
}

static void rig_free(rig *r)
{
    obv_clog_close(r->s);
    maker_free(r->m);
}

/* After a refresh, all there is. @return logs given */
static size_t rig_read(rig *r)
{
    obv_clog_pg *pgs[] = {&r->pa, &r->pb};
    bool changed;
    size_t given = 0;
    r->err = (obv_err){0};
    assert_code(obv_clog_refresh(r->s, &changed, &r->err), OBV_OK, &r->err);
    for (;;) {
        obv_clog_batch b;
        r->said = obv_clog_read(r->s, pgs, 2, NULL, &b, &r->err);
        if (b.count == 0)
            return given;
        assert_code(r->said, OBV_OK, &r->err);
        for (size_t i = 0; i < b.count; i++) {
            uint64_t *seen = b.logs[i].pg == 0 ? &r->seen_a : &r->seen_b;
            assert_int_equal(b.logs[i].entry.log_id, ++*seen);
            if (b.logs[i].pg == 0)
                r->proposal_a = b.logs[i].entry.proposal_ts;
        }
        given += b.count;
    }
}

/* Reads until A stops, which must be for this reason; B goes on. */
static void a_stops(rig *r, obv_code code, const char *why)
{
    for (unsigned i = 0; i < TRIES && !r->pa.failed; i++)
        (void)rig_read(r);
    if (r->pa.failed != code || !strstr(r->pa.why, why))
        fail_msg("code %d, \"%s\" instead of \"%s\"", (int)r->pa.failed, r->pa.why, why);
    assert_int_equal(r->pb.failed, OBV_OK);
    const uint64_t before = r->seen_a;
    maker_next(r->m, r->a, 100);
    maker_next(r->m, r->b, 100);
    maker_ilog(r->m, 900, true);
    const uint64_t b = r->seen_b;
    (void)rig_read(r);
    assert_int_equal(r->seen_a, before);
    assert_int_equal(r->seen_b, r->m->pgs[r->b].next - 1);
    assert_true(r->seen_b > b);
}

static void patch(const char *dir, const char *folder, uint32_t id, uint32_t at, const void *bytes, size_t len)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s/%u", dir, folder, id);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

static void remove_file(const char *dir, const char *folder, uint32_t id)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s/%u", dir, folder, id);
    assert_int_equal(unlink(path), 0);
}

/* An entry of PG A of which no cursor tells: a copy that was never committed, or committed at another place. */
static void put_copy(rig *r, enum obv_clog_type type, uint64_t log_id, int64_t proposal_ts, uint8_t salt)
{
    const uint8_t body[40] = {0, 0, 0, 0, 0, 0, 0, 0, salt};
    obv_buf scratch = obv_buf_heap(4096), bytes = obv_buf_heap(4096);
    obv_clog_entry e;
    maker_entry(r->m, r->a, type, log_id, obv_span_of(body, sizeof body), &scratch, &e);
    e.proposal_ts = proposal_ts;
    obv_clog_entry_emit(&e, &bytes);
    obv_put_span(&bytes, obv_span_of(body, sizeof body));
    assert_false(scratch.failed || bytes.failed);
    (void)maker_block(r->m, obv_buf_span(&bytes));
    obv_buf_fini(&scratch);
    obv_buf_fini(&bytes);
}

/* ---- as the server writes */

static void padding_at_the_live_tail_is_overwritten_by_the_next_block(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    static uint8_t page[8192];
    for (unsigned i = 1; i <= 5; i++) {
        maker_next(r.m, r.a, 700 * i);
        /* a padding entry up to the page's end, where the next block will begin */
        obv_buf p = obv_buf_fixed(page, 12);
        const uint32_t end = (r.m->offset + 12 + 4095) / 4096 * 4096;
        obv_put_be16(&p, 0x5044), obv_put_be16(&p, 1), obv_put_be64(&p, end - r.m->offset);
        assert_int_equal(pwrite(r.m->fd, page, end - r.m->offset, r.m->offset), (ssize_t)(end - r.m->offset));
        maker_ilog(r.m, 1, false);
        if (i == 1)
            rig_open(&r);
        assert_int_equal(rig_read(&r), 1);
        assert_int_equal(r.seen_a, i);
    }
    rig_free(&r);
}

static void a_block_whose_pages_come_one_by_one_is_waited_for(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 13000);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, false);
    uint8_t pages[8192];
    static const uint8_t ZEROS[8192];
    assert_int_equal(pread(r.m->fd, pages, sizeof pages, 4096), (ssize_t)sizeof pages);
    assert_int_equal(pwrite(r.m->fd, ZEROS, sizeof ZEROS, 4096), (ssize_t)sizeof ZEROS);
    rig_open(&r);
    assert_int_equal(rig_read(&r), 1);
    assert_int_equal(r.seen_b, 1);
    assert_int_equal(pwrite(r.m->fd, pages, 4096, 4096), 4096);
    assert_int_equal(rig_read(&r), 0);
    assert_int_equal(r.pa.failed, OBV_OK);
    assert_int_equal(pwrite(r.m->fd, pages, sizeof pages, 4096), (ssize_t)sizeof pages);
    assert_int_equal(rig_read(&r), 1);
    assert_int_equal(r.seen_a, 1);
    rig_free(&r);
}

static void of_logs_proposed_again_the_committed_copy_is_given(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    /* an older proposal before, a younger one behind what the cursors name: neither counts */
    put_copy(&r, OBV_ENTRY_SUBMIT, 1, 1500000000000000, 1);
    maker_next(r.m, r.a, 100);
    put_copy(&r, OBV_ENTRY_SUBMIT, 1, 1700000000000000, 2);
    put_copy(&r, OBV_ENTRY_NOP, 2, 1700000000000000, 3);
    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 1, false);
    rig_open(&r);
    assert_int_equal(rig_read(&r), 2);
    assert_int_equal(r.proposal_a, 1600000000000000);
    assert_int_equal(r.pa.failed, OBV_OK);
    rig_free(&r);
}

static void entries_that_never_get_a_cursor_are_not_given(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    put_copy(&r, OBV_ENTRY_PREPARED, UINT64_MAX, 1600000000000000, 0);
    put_copy(&r, OBV_ENTRY_RENEW_MEMBERSHIP, 2, 1600000000000000, 0);
    put_copy(&r, OBV_ENTRY_STANDBY_PREPARED, UINT64_MAX, 1600000000000000, 0);
    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 1, false);
    put_copy(&r, OBV_ENTRY_SUBMIT, 3, 1600000000000000, 0);
    rig_open(&r);
    assert_int_equal(rig_read(&r), 2);
    assert_int_equal(r.pa.next_log_id, 3);
    rig_free(&r);
}

/* ---- what must be detected */

static void a_rebuilt_follower_with_a_stale_tail_stops_that_pg(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    for (uint64_t log = 3; log <= 7; log++) /* accepted here, never confirmed: others committed something else */
        put_copy(&r, OBV_ENTRY_SUBMIT, log, 1600000000000000, 9);
    r.m->pgs[r.a].next = 8; /* the rebuild brought data up to log 7 */
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 2, true);
    rig_open(&r);
    a_stops(&r, OBV_E_LOG_GAP, "log 3 is missing: ilog file 2 goes on with log 8");
    assert_int_equal(r.seen_a, 2);
    rig_free(&r);
}

static void replicas_that_disagree_stop_that_pg(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    for (unsigned i = 0; i < 3; i++) {
        maker_next(r.m, r.a, 100);
        maker_next(r.m, r.b, 100);
    }
    maker_ilog(r.m, 1, false);
    rig_open(&r);
    assert_int_equal(rig_read(&r), 6);
    const obv_clog_pg good = r.pa;
    /* what was archived of A, by another replica, up to log 2 or 3 is what lies here */
    rig_open(&r);
    obv_clog_pg_set(&r.pa, &A, 4, good.accum);
    r.seen_a = 3;
    (void)rig_read(&r);
    assert_int_equal(r.pa.failed, OBV_OK);
    /* it is not, and is said without waiting for the next log */
    rig_open(&r);
    obv_clog_pg_set(&r.pa, &A, 4, good.accum ^ 1);
    r.seen_a = 3;
    (void)rig_read(&r);
    a_stops(&r, OBV_E_CORRUPT, "replicas disagree: accumulated checksum of log 3");
    rig_free(&r);
}

static void a_corrupt_block_in_the_middle_stops_its_pg(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        rig r;
        rig_new(&r);
        uint32_t at = 0;
        for (unsigned i = 0; i < 6; i++) {
            maker_next(r.m, r.a, 100);
            if (i == 3)
                at = r.m->offset - 20;
        }
        maker_new_file(r.m);
        maker_next(r.m, r.b, 100);
        maker_ilog(r.m, 1, true);
        /* an entry's byte, or the header of the file's first block */
        patch(r.m->dir, "clog", 1, first ? 30 : at, "\xff\xee", 2);
        rig_open(&r);
        a_stops(&r, OBV_E_CORRUPT,
                first ? "log 1 in clog file 1 at 48: its file cannot be read" : "log 4 in clog file 1");
        assert_int_equal(r.seen_a, first ? 0 : 3);
        rig_free(&r);
    }
}

static void a_missing_clog_file_stops_its_pgs(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_new_file(r.m);
    maker_next(r.m, r.a, 100);
    maker_new_file(r.m);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    remove_file(r.m->dir, "clog", 2);
    rig_open(&r);
    a_stops(&r, OBV_E_LOG_GAP, "log 2 was in clog file 2, which is missing; files 1 to 3 are there");
    assert_int_equal(r.seen_a, 1);
    rig_free(&r);
}

static void a_reused_clog_file_stops_its_pgs(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_new_file(r.m);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    maker_recycle(r.m, 1); /* its old blocks still stand behind the first page of file 3 */
    rig_open(&r);
    a_stops(&r, OBV_E_LOG_GAP, "log 1 was in clog file 1, which is recycled; files 2 to 3 are there");
    rig_free(&r);
}

static void a_cursor_that_contradicts_its_entry_stops_that_pg(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t at; /* within the cursor */
        const char *bytes;
        size_t len;
        const char *why;
    } CASES[] = {
        {"another file that is there", 0, "\x00\x00\x00\x02", 4, "log 2 in clog file 2"},
        {"another place", 4, "\x00\x00\x00\x40", 4, "log 2 in clog file 1 at 64"},
        {"another entry's place", 4, "\x00\x00\x00\x30", 4, "leads to log 1"},
        {"a place that no file has", 4, "\x7f\xff\xff\xff", 4, "ilog file 1: ilog cursor"},
        {"no place", 4, "\x00\x00\x00\x00", 4, "ilog file 1: ilog cursor"},
        {"shorter", 8, "\x00\x00\x00\xd0", 4, "log 2 in clog file 1"},
        {"longer", 8, "\x00\x00\x00\xff", 4, "log 2 in clog file 1"},
        {"another accumulated checksum", 23, "\x5a", 1, "accumulated checksum"},
        {"another time", 30, "\x77", 1, "differ from the cursor"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rig r;
        rig_new(&r);
        for (unsigned k = 0; k < 4; k++)
            maker_next(r.m, r.a, 100);
        maker_new_file(r.m);
        for (unsigned k = 0; k < 4; k++)
            maker_next(r.m, r.b, 100);
        maker_ilog(r.m, 1, true);
        patch(r.m->dir, "ilog", 1, OBV_ILOG_CURSOR + CASES[i].at, CASES[i].bytes, CASES[i].len);
        rig_open(&r);
        print_message("cursor with %s\n", CASES[i].name);
        a_stops(&r, OBV_E_CORRUPT, CASES[i].why);
        assert_int_equal(r.seen_a, 1); /* the log before is proven, nothing behind is given */
        rig_free(&r);
    }
}

/* Lengths that no batch has room for: whoever is read with it must not suffer. */
static void many_cursors_that_are_far_too_long_stop_that_pg(void **state)
{
    (void)state;
    enum { LONG = 24 };
    rig r;
    rig_new(&r);
    for (unsigned i = 0; i <= LONG; i++) {
        maker_next(r.m, r.a, 100);
        maker_next(r.m, r.b, 200000);
    }
    maker_ilog(r.m, 1, true);
    for (uint32_t i = 1; i <= LONG; i++)
        patch(r.m->dir, "ilog", 1, i * OBV_ILOG_CURSOR + 8, "\x00\x1d\x00\x00", 4);
    rig_open(&r);
    (void)rig_read(&r);
    assert_int_equal(r.seen_b, LONG + 1);
    a_stops(&r, OBV_E_CORRUPT, "log 2 in clog file 1");
    assert_int_equal(r.seen_a, 1);
    rig_free(&r);
}

/* The slot of A in an ilog file of A and B, behind 8 bytes of length; its fields are those of obv_ilog_slot. */
static uint32_t slot_of_a(uint32_t info_at)
{
    return info_at + 8 + (uint32_t)(obv_clog_key_hash(&A) % 2) * OBV_ILOG_SLOT;
}

static void a_damaged_slot_stops_that_pg(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    /* A was put first, so it has its home slot */
    patch(r.m->dir, "ilog", 1, slot_of_a(4096) + 40, "\xff\xff\xff\xff", 4); /* max_log_id: no room for its cursors */
    rig_open(&r);
    a_stops(&r, OBV_E_CORRUPT, "ilog file 1: ilog slot");
    rig_free(&r);
}

static void a_damaged_ilog_file_stops_only_pgs_whose_logs_it_names(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 2, true);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 3, true);
    static const uint8_t BAD[64] = {1};
    patch(r.m->dir, "ilog", 2, 8192, BAD, sizeof BAD);
    struct stat st;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ilog/2", r.m->dir);
    assert_int_equal(stat(path, &st), 0);
    patch(r.m->dir, "ilog", 2, (uint32_t)st.st_size - OBV_ILOG_TRAILER_AREA, BAD, sizeof BAD);
    rig_open(&r);
    (void)rig_read(&r);
    assert_int_equal(r.seen_a, 1);
    assert_int_equal(r.seen_b, 2);
    assert_int_equal(r.pa.failed, OBV_OK); /* nothing shows yet that a log of A is in it */
    assert_int_equal(r.said, OBV_E_CORRUPT);
    assert_non_null(strstr(r.err.msg, "ilog file 2"));

    /* the same for positions that are looked for, which finds A's log 1 below the damage */
    rig_open(&r);
    obv_clog_pg_set(&r.pb, &B, 3, r.m->pgs[r.b].accum);
    r.seen_b = 2;
    (void)rig_read(&r);
    assert_int_equal(r.seen_a, 1);
    assert_int_equal(r.pb.failed, OBV_OK);

    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 4, true);
    a_stops(&r, OBV_E_CORRUPT, "log 2: ilog file 2, which may name it, is damaged");
    assert_int_equal(r.said, OBV_OK);

    remove_file(r.m->dir, "ilog", 1);
    rig_open(&r);
    obv_clog_pg_set(&r.pa, &A, 2, 0);
    obv_clog_pg_set(&r.pb, &B, 3, r.m->pgs[r.b].accum);
    r.seen_a = 1;
    r.seen_b = 2;
    (void)rig_read(&r);
    assert_int_equal(r.pa.failed, OBV_E_CORRUPT);
    assert_non_null(strstr(r.pa.why, "ilog file 2, which may name it, is damaged"));
    rig_free(&r);
}

static void the_newest_ilog_file_is_waited_for(void **state)
{
    (void)state;
    rig r;
    rig_new(&r);
    maker_next(r.m, r.a, 100);
    maker_next(r.m, r.b, 100);
    maker_ilog(r.m, 1, true);
    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 2, false);
    static const uint8_t BAD[64] = {1};
    struct stat st;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ilog/2", r.m->dir);
    assert_int_equal(stat(path, &st), 0);
    patch(r.m->dir, "ilog", 2, (uint32_t)st.st_size - OBV_ILOG_TRAILER_AREA, BAD, sizeof BAD);
    rig_open(&r);
    for (unsigned i = 0; i < TRIES; i++) {
        (void)rig_read(&r);
        assert_int_equal(r.said, OBV_E_CORRUPT);
        assert_int_equal(r.seen_a, 1);
        assert_int_equal(r.seen_b, 1);
        assert_int_equal(r.pa.failed, OBV_OK);
    }
    maker_next(r.m, r.a, 100);
    maker_ilog(r.m, 2, false); /* the server writes it anew while it grows */
    assert_int_equal(rig_read(&r), 2);
    assert_int_equal(r.said, OBV_OK);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_at_the_live_tail_is_overwritten_by_the_next_block),
        cmocka_unit_test(a_block_whose_pages_come_one_by_one_is_waited_for),
        cmocka_unit_test(of_logs_proposed_again_the_committed_copy_is_given),
        cmocka_unit_test(entries_that_never_get_a_cursor_are_not_given),
        cmocka_unit_test(a_rebuilt_follower_with_a_stale_tail_stops_that_pg),
        cmocka_unit_test(replicas_that_disagree_stop_that_pg),
        cmocka_unit_test(a_corrupt_block_in_the_middle_stops_its_pg),
        cmocka_unit_test(a_missing_clog_file_stops_its_pgs),
        cmocka_unit_test(a_reused_clog_file_stops_its_pgs),
        cmocka_unit_test(a_cursor_that_contradicts_its_entry_stops_that_pg),
        cmocka_unit_test(many_cursors_that_are_far_too_long_stop_that_pg),
        cmocka_unit_test(a_damaged_slot_stops_that_pg),
        cmocka_unit_test(a_damaged_ilog_file_stops_only_pgs_whose_logs_it_names),
        cmocka_unit_test(the_newest_ilog_file_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
