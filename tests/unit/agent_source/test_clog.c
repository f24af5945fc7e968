/* test_clog.c - committed logs out of clog and ilog folders: all of them, once, in order, or the right reason */
#include "../clog_maker.h"
#include "../golden.h"
#include "source/clog.h"
#include "test.h"

static const obv_pg_key A = {1100611139453777, 0, 0}, B = {1100611139453777, 1, 0};

static obv_clog_source *open_source(const char *dir)
{
    const obv_clog_config cfg = {.store_dir = dir, .batch_bytes = 4u << 20};
    obv_clog_source *s = NULL;
    obv_err err = {0};
    assert_code(obv_clog_open(&cfg, &s, &err), OBV_OK, &err);
    return s;
}

static void refresh(obv_clog_source *s)
{
    bool changed;
    obv_err err = {0};
    assert_code(obv_clog_refresh(s, &changed, &err), OBV_OK, &err);
}

/* Reads to the end; checks order and lengths. @return logs seen; per PG in seen[] */
static size_t read_all(obv_clog_source *s, obv_clog_pg *const *pgs, size_t n, uint64_t *seen)
{
    size_t total = 0;
    for (;;) {
        obv_clog_batch b;
        obv_err err = {0};
        assert_code(obv_clog_read(s, pgs, n, NULL, &b, &err), OBV_OK, &err);
        if (b.count == 0)
            return total;
        for (size_t i = 0; i < b.count; i++) {
            const obv_clog_log *l = &b.logs[i];
            assert_true(l->pg < n);
            assert_int_equal(l->bytes.len, OBV_CLOG_ENTRY_HEADER + l->entry.data_len);
            if (seen) {
                assert_int_equal(l->entry.log_id, seen[l->pg]);
                seen[l->pg]++;
            }
        }
        total += b.count;
    }
}

static void many_pgs_are_read_completely_and_in_order(void **state)
{
    (void)state;
    enum { PGS = 300, LOGS = 9000 };
    maker *m = maker_new();
    static obv_clog_pg pos[PGS];
    obv_clog_pg *pgs[PGS];
    static uint64_t seen[PGS];
    for (uint32_t i = 0; i < PGS; i++) {
        const obv_pg_key key = {1100611139453777 + i / 4, (int32_t)(i % 4), 0};
        assert_int_equal(maker_pg_add(m, &key, 10 + i, 77), i);
        obv_clog_pg_set(&pos[i], &key, 10 + i, 77);
        pgs[i] = &pos[i];
        seen[i] = 10 + i;
    }
    uint64_t x = 88172645463325252ULL;
    for (unsigned i = 0; i < LOGS; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        maker_next(m, (uint32_t)(x % PGS), i % 100 == 0 ? 1900000 : x % 3000);
        if (i == LOGS / 3)
            maker_ilog(m, 1, true);
    }
    maker_ilog(m, 2, false);
    assert_true(m->file_id >= 3);

    obv_clog_source *s = open_source(m->dir);
    assert_int_equal(read_all(s, pgs, PGS, seen), LOGS);
    for (uint32_t i = 0; i < PGS; i++) {
        assert_int_equal(pos[i].failed, OBV_OK);
        assert_int_equal(pos[i].next_log_id, m->pgs[i].next);
        assert_int_equal(seen[i], m->pgs[i].next);
    }
    obv_clog_files f;
    obv_clog_files_seen(s, &f);
    assert_int_equal(f.oldest, 1);
    assert_int_equal(f.newest, m->file_id);
    assert_int_equal(f.newest_ilog, 2);

    /* positions in the middle are found again */
    for (uint32_t i = 0; i < PGS; i++) {
        obv_clog_pg_set(&pos[i], &pos[i].key, pos[i].next_log_id, pos[i].accum);
    }
    assert_int_equal(read_all(s, pgs, PGS, seen), 0);
    maker_next(m, 5, 100);
    maker_ilog(m, 2, false);
    refresh(s);
    assert_int_equal(read_all(s, pgs, PGS, seen), 1);
    obv_clog_close(s);
    maker_free(m);
}

static void only_what_the_ilog_names_is_given(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 0);
    obv_clog_pg pa, *pgs[] = {&pa};
    uint64_t seen[] = {1};
    obv_clog_pg_set(&pa, &A, 1, 0);
    maker_ilog(m, 1, false);
    obv_clog_source *s = open_source(m->dir);
    assert_int_equal(read_all(s, pgs, 1, seen), 0);
    maker_next(m, a, 100);
    maker_next(m, a, 200);
    refresh(s);
    assert_int_equal(read_all(s, pgs, 1, seen), 0); /* in the clog, not committed */
    maker_ilog(m, 1, false);
    assert_int_equal(read_all(s, pgs, 1, seen), 0); /* seen with the next refresh */
    refresh(s);
    assert_int_equal(read_all(s, pgs, 1, seen), 2);
    maker_next(m, a, 300);
    maker_ilog(m, 1, true);
    maker_next(m, a, 300);
    maker_next(m, a, 300);
    maker_ilog(m, 2, false);
    refresh(s);
    assert_int_equal(read_all(s, pgs, 1, seen), 3);
    assert_int_equal(pa.next_log_id, 6);
    obv_clog_close(s);
    maker_free(m);
}

static void order_in_the_file_does_not_matter(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 0), b = maker_pg_add(m, &B, 1, 0);
    const uint8_t body[64] = {0};
    static const uint64_t ORDER[] = {3, 1, 2, 5, 4};
    for (size_t i = 0; i < 5; i++) {
        maker_commit(m, a, ORDER[i], OBV_ENTRY_SUBMIT, obv_span_of(body, sizeof body), 0);
        for (unsigned k = 0; k < 3; k++)
            maker_next(m, b, 1800000);
    }
    /* log 6 was written again two files later than its successors */
    maker_commit(m, a, 7, OBV_ENTRY_SUBMIT, obv_span_of(body, sizeof body), 0);
    for (unsigned k = 0; k < 80; k++)
        maker_next(m, b, 1900000);
    maker_commit(m, a, 6, OBV_ENTRY_SUBMIT, obv_span_of(body, sizeof body), 0);
    maker_ilog(m, 1, false);
    obv_clog_pg pa, pb, *pgs[] = {&pa, &pb};
    uint64_t seen[] = {1, 1};
    obv_clog_pg_set(&pa, &A, 1, 0);
    obv_clog_pg_set(&pb, &B, 1, 0);
    obv_clog_source *s = open_source(m->dir);
    assert_int_equal(read_all(s, pgs, 2, seen), 7 + 95);
    assert_int_equal(pa.next_log_id, 8);
    obv_clog_close(s);
    maker_free(m);
}

static void compressed_entries_and_the_batch_bit(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 0);
    static uint8_t body[1000000];
    for (unsigned i = 0; i < 100; i++) /* a hundred megabytes unpacked, far more than a batch */
        maker_commit(m, a, i + 1, OBV_ENTRY_SUBMIT, obv_span_of(body, sizeof body),
                     MAKER_COMPRESSED | (i == 3 ? MAKER_BATCH : 0));
    maker_ilog(m, 1, false);
    obv_clog_pg pa, *pgs[] = {&pa};
    obv_clog_pg_set(&pa, &A, 1, 0);
    obv_clog_source *s = open_source(m->dir);
    uint64_t seen = 1;
    for (;;) {
        obv_clog_batch b;
        obv_err err = {0};
        assert_code(obv_clog_read(s, pgs, 1, NULL, &b, &err), OBV_OK, &err);
        if (b.count == 0)
            break;
        assert_true(b.bytes <= 24u << 20);
        for (size_t i = 0; i < b.count; i++) {
            assert_int_equal(b.logs[i].entry.log_id, seen);
            assert_int_equal(b.logs[i].entry.batch_committed, seen == 4);
            assert_int_equal(b.logs[i].bytes.len, OBV_CLOG_ENTRY_HEADER + sizeof body);
            seen++;
        }
    }
    assert_int_equal(seen, 101);
    assert_int_equal(pa.failed, OBV_OK);
    obv_clog_close(s);
    maker_free(m);
}

static void logs_that_are_gone_are_a_gap_of_that_pg_only(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 0), b = maker_pg_add(m, &B, 1, 0);
    maker_next(m, a, 100);
    maker_new_file(m);
    maker_next(m, a, 100);
    maker_next(m, b, 100);
    maker_ilog(m, 1, false);
    maker_recycle(m, 1);
    maker_next(m, b, 100);
    maker_ilog(m, 1, false);
    obv_clog_pg pa, pb, *pgs[] = {&pa, &pb};
    uint64_t seen[] = {1, 1};
    obv_clog_pg_set(&pa, &A, 1, 0);
    obv_clog_pg_set(&pb, &B, 1, 0);
    obv_clog_source *s = open_source(m->dir);
    assert_int_equal(read_all(s, pgs, 2, seen), 2);
    assert_int_equal(pa.failed, OBV_E_LOG_GAP);
    assert_non_null(strstr(pa.why, "clog file 1"));
    assert_int_equal(pb.failed, OBV_OK);
    assert_int_equal(pb.next_log_id, 3);
    obv_clog_close(s);

    /* the same when the ilog begins later, and when it has a hole */
    obv_clog_pg_set(&pa, &A, 1, 0);
    maker_next(m, b, 100);
    maker_ilog(m, 1, true);
    m->pgs[a].next = 9;
    maker_next(m, a, 100);
    maker_next(m, b, 100);
    maker_ilog(m, 2, false);
    obv_clog_pg_set(&pb, &B, 4, 0);
    s = open_source(m->dir);
    obv_clog_pg_set(&pa, &A, 3, m->pgs[a].accum); /* follows file 1 */
    assert_int_equal(read_all(s, pgs, 1, NULL), 0);
    assert_int_equal(pa.failed, OBV_E_LOG_GAP);
    assert_non_null(strstr(pa.why, "log 3 is missing"));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ilog/1", m->dir);
    assert_int_equal(unlink(path), 0);
    refresh(s);
    obv_clog_pg_set(&pa, &A, 2, 0);
    assert_int_equal(read_all(s, pgs, 1, NULL), 0);
    assert_int_equal(pa.failed, OBV_E_LOG_GAP);
    assert_non_null(strstr(pa.why, "begins at log 9"));
    obv_clog_close(s);
    maker_free(m);
}

static void damage_is_tried_again_and_then_said(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 0), b = maker_pg_add(m, &B, 1, 0);
    maker_next(m, a, 1000);
    maker_next(m, a, 1000);
    const uint32_t second = m->offset - 500;
    maker_next(m, b, 1000);
    maker_ilog(m, 1, false);
    uint8_t byte = 0;
    assert_int_equal(pread(m->fd, &byte, 1, second), 1);
    const uint8_t bad = byte ^ 1;
    assert_int_equal(pwrite(m->fd, &bad, 1, second), 1);
    obv_clog_pg pa, pb, *pgs[] = {&pa, &pb};
    uint64_t seen[] = {1, 1};
    obv_clog_pg_set(&pa, &A, 1, 0);
    obv_clog_pg_set(&pb, &B, 1, 0);
    obv_clog_source *s = open_source(m->dir);
    assert_int_equal(read_all(s, pgs, 2, seen), 2);
    assert_int_equal(pa.failed, OBV_OK);
    assert_int_equal(pa.next_log_id, 2);
    assert_int_equal(pwrite(m->fd, &byte, 1, second), 1); /* it was only being written */
    assert_int_equal(read_all(s, pgs, 2, seen), 0);
    refresh(s);
    assert_int_equal(read_all(s, pgs, 2, seen), 1);

    obv_clog_pg_set(&pa, &A, 1, 0);
    seen[0] = 1;
    assert_int_equal(pwrite(m->fd, &bad, 1, second), 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(pa.failed, OBV_OK);
        refresh(s);
        (void)read_all(s, pgs, 2, seen);
    }
    assert_int_equal(pa.failed, OBV_E_CORRUPT);
    obv_clog_close(s);
    maker_free(m);
}

static void a_wrong_chain_or_a_local_record_is_damage(void **state)
{
    (void)state;
    maker *m = maker_new();
    const uint32_t a = maker_pg_add(m, &A, 1, 5), b = maker_pg_add(m, &B, 1, 0);
    const uint8_t body[7] = {0};
    maker_next(m, a, 100);
    maker_commit(m, b, 1, OBV_ENTRY_RENEW_MEMBERSHIP, obv_span_of(body, sizeof body), 0);
    maker_ilog(m, 1, false);
    obv_clog_pg pa, pb, *pgs[] = {&pa, &pb};
    obv_clog_pg_set(&pa, &A, 1, 6); /* another value before log 1 than the server's */
    obv_clog_pg_set(&pb, &B, 1, 0);
    obv_clog_source *s = open_source(m->dir);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(read_all(s, pgs, 2, NULL), 0);
        refresh(s);
    }
    assert_int_equal(pa.failed, OBV_E_CORRUPT);
    assert_non_null(strstr(pa.why, "accumulated checksum"));
    assert_int_equal(pb.failed, OBV_E_CORRUPT);
    obv_clog_close(s);
    maker_free(m);
}

static void files_made_by_oceanbase_are_read(void **state)
{
    (void)state;
    maker *m = maker_new();
    static const struct {
        const char *vector, *name;
    } FILES[] = {{"clog/clog_2.bin", "clog/2"}, {"clog/ilog_1.bin", "ilog/1"}, {"clog/ilog_2.bin", "ilog/2"}};
    for (size_t i = 0; i < 3; i++) {
        char path[128], zst[64];
        (void)snprintf(path, sizeof path, "%s/%s", m->dir, FILES[i].name);
        (void)snprintf(zst, sizeof zst, "%s.zst", FILES[i].vector);
        const obv_span bytes = golden_vector(zst);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(bytes.p, 1, bytes.len, f), bytes.len);
        assert_int_equal(fclose(f), 0);
    }
    const obv_pg_key key = {1100611139453781, 3, 0};
    obv_clog_pg p, *pgs[] = {&p};
    char first[128];
    (void)snprintf(first, sizeof first, "%s/clog/1", m->dir);
    assert_int_equal(unlink(first), 0);
    obv_clog_source *s = open_source(m->dir);
    /* clog 1 is not kept here, so its logs are a gap */
    obv_clog_pg_set(&p, &key, 1, 0);
    assert_int_equal(read_all(s, pgs, 1, NULL), 0);
    assert_int_equal(p.failed, OBV_E_LOG_GAP);
    obv_clog_close(s);
    maker_free(m);
}

static void a_store_without_its_folders_is_not_found(void **state)
{
    (void)state;
    const obv_clog_config cfg = {.store_dir = "/tmp/logs-none"};
    obv_clog_source *s = NULL;
    assert_int_equal(obv_clog_open(&cfg, &s, NULL), OBV_E_NOT_FOUND);
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_pgs_are_read_completely_and_in_order),
        cmocka_unit_test(only_what_the_ilog_names_is_given),
        cmocka_unit_test(order_in_the_file_does_not_matter),
        cmocka_unit_test(compressed_entries_and_the_batch_bit),
        cmocka_unit_test(logs_that_are_gone_are_a_gap_of_that_pg_only),
        cmocka_unit_test(damage_is_tried_again_and_then_said),
        cmocka_unit_test(a_wrong_chain_or_a_local_record_is_damage),
        cmocka_unit_test(files_made_by_oceanbase_are_read),
        cmocka_unit_test(a_store_without_its_folders_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
