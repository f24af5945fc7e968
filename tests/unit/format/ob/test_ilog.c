/* test_ilog.c - ilog files made by OceanBase */
#include "../../golden.h"
#include "format/ob/ilog.h"
#include "test.h"

typedef struct ilog {
    obv_span file;
    obv_ilog_trailer trailer;
    obv_ilog_info info;
} ilog;

static ilog open_ilog(const char *name)
{
    ilog i = {.file = golden_vector(name)};
    obv_err err = {0};
    assert_code(
        obv_ilog_trailer_parse(obv_span_of(i.file.p + i.file.len - OBV_ILOG_TRAILER_AREA, OBV_ILOG_TRAILER_AREA),
                               i.file.len, &i.trailer, &err),
        OBV_OK, &err);
    assert_code(
        obv_ilog_info_parse(obv_span_of(i.file.p + i.trailer.info_at, i.trailer.info_size), &i.trailer, &i.info, &err),
        OBV_OK, &err);
    return i;
}

static const obv_pg_key TABLE = {1100611139453781, 3, 0}, SYS = {1099511627777, 0, 0};

static void slots_and_cursors_are_found(void **state)
{
    (void)state;
    const ilog i = open_ilog("clog/ilog_1.bin.zst");
    obv_err err = {0};
    assert_int_equal(i.info.capacity, 3);
    obv_ilog_slot s;
    assert_code(obv_ilog_find(&i.info, &TABLE, &s, &err), OBV_OK, &err);
    assert_int_equal(s.min_log_id, 1);
    assert_int_equal(s.max_log_id, 7);
    assert_int_equal(s.min_ts, 1672531200000011);
    assert_int_equal(s.max_ts, 1672531200000031);
    assert_int_equal(s.cursors_at, 64);
    assert_code(obv_ilog_find(&i.info, &SYS, &s, &err), OBV_OK, &err);
    assert_int_equal(s.min_log_id, 7);
    assert_int_equal(s.max_log_id, 8);

    const obv_pg_key other = {1100611139453781, 4, 0};
    assert_int_equal(obv_ilog_find(&i.info, &other, &s, NULL), OBV_E_NOT_FOUND);

    unsigned filled = 0;
    for (uint32_t k = 0; k < i.info.capacity; k++) {
        if (obv_ilog_slot_at(&i.info, k, &s, NULL) != OBV_OK)
            continue;
        filled++;
        for (uint64_t log = s.min_log_id; log <= s.max_log_id; log++) {
            obv_ilog_cursor c;
            const uint32_t at = obv_ilog_cursor_at(&s, log);
            assert_code(obv_ilog_cursor_parse(obv_span_of(i.file.p + at, OBV_ILOG_CURSOR), &c, &err), OBV_OK, &err);
            assert_int_equal(c.file_id, 1);
        }
    }
    assert_true(filled >= 2);
}

static void known_cursor_and_trailer(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_ilog_cursor c;
    assert_code(
        obv_ilog_cursor_parse(golden_hex("0000000c00001030000000e20000000000000000000022220005ec20aed73000"), &c, &err),
        OBV_OK, &err);
    assert_int_equal(c.file_id, 12);
    assert_int_equal(c.offset, 4144);
    assert_int_equal(c.size, 226);
    assert_int_equal(c.accum, 0x2222);
    assert_int_equal(c.submit_ts, 1667000000000000);
    assert_false(c.batch_committed);
    assert_code(
        obv_ilog_cursor_parse(golden_hex("0000000c00001030000000e20000000000000000000022228005ec20aed73000"), &c, &err),
        OBV_OK, &err);
    assert_true(c.batch_committed);
    assert_int_equal(c.submit_ts, 1667000000000000);

    obv_ilog_trailer t;
    const obv_span hex = golden_hex("4c4300000000000000001000000013880000238800000bb8000000007777777700000000648bce8e");
    assert_code(obv_ilog_trailer_parse(hex, 16384, &t, &err), OBV_OK, &err);
    assert_int_equal(t.info_at, 4096);
    assert_int_equal(t.info_size, 5000);
    assert_int_equal(t.members_at, 9096);
    assert_int_equal(t.members_size, 3000);
    assert_int_equal(t.content_checksum, 0x77777777);
    assert_int_equal(obv_ilog_trailer_parse(hex, 12000, &t, NULL), OBV_E_CORRUPT); /* member lists run out of it */
}

static void damage_is_refused(void **state)
{
    (void)state;
    const ilog i = open_ilog("clog/ilog_1.bin.zst");
    const obv_span area = obv_span_of(i.file.p + i.file.len - OBV_ILOG_TRAILER_AREA, OBV_ILOG_TRAILER_AREA);
    for (size_t at = 0; at < OBV_ILOG_TRAILER; at++) {
        uint8_t b[OBV_ILOG_TRAILER];
        memcpy(b, area.p, sizeof b);
        b[at] ^= 0x10;
        obv_ilog_trailer t = {.info_at = 42};
        assert_int_equal(obv_ilog_trailer_parse(obv_span_of(b, sizeof b), i.file.len, &t, NULL), OBV_E_CORRUPT);
        assert_int_equal(obv_ilog_trailer_parse(obv_span_of(area.p, at), i.file.len, &t, NULL), OBV_E_CORRUPT);
        assert_int_equal(t.info_at, 42);
    }
    for (size_t len = 0; len < i.trailer.info_size; len++) {
        obv_ilog_info info;
        assert_int_equal(obv_ilog_info_parse(obv_span_of(i.file.p + i.trailer.info_at, len), &i.trailer, &info, NULL),
                         OBV_E_CORRUPT);
    }
    obv_ilog_cursor c;
    for (size_t len = 0; len < OBV_ILOG_CURSOR; len++)
        assert_int_equal(obv_ilog_cursor_parse(obv_span_of(i.file.p, len), &c, NULL), OBV_E_CORRUPT);
    static const uint8_t ZERO[OBV_ILOG_CURSOR];
    assert_int_equal(obv_ilog_cursor_parse(obv_span_of(ZERO, sizeof ZERO), &c, NULL), OBV_E_CORRUPT);

    /* every flip in the slots: never a range outside the cursors, never a crash */
    uint8_t *copy = malloc(i.trailer.info_size);
    assert_non_null(copy);
    for (size_t at = 8; at < i.trailer.info_size; at++) {
        memcpy(copy, i.file.p + i.trailer.info_at, i.trailer.info_size);
        copy[at] ^= 0x80;
        obv_ilog_info info;
        assert_int_equal(obv_ilog_info_parse(obv_span_of(copy, i.trailer.info_size), &i.trailer, &info, NULL), OBV_OK);
        for (uint32_t k = 0; k < info.capacity; k++) {
            obv_ilog_slot s;
            if (obv_ilog_slot_at(&info, k, &s, NULL) == OBV_OK)
                assert_true(obv_ilog_cursor_at(&s, s.max_log_id) + OBV_ILOG_CURSOR <= i.trailer.info_at);
        }
    }
    /* the number that stands for no log at all: a range that ends there has no end */
    memcpy(copy, i.file.p + i.trailer.info_at, i.trailer.info_size);
    obv_ilog_info info;
    assert_int_equal(obv_ilog_info_parse(obv_span_of(copy, i.trailer.info_size), &i.trailer, &info, NULL), OBV_OK);
    for (uint32_t k = 0; k < info.capacity; k++) {
        obv_ilog_slot s;
        if (obv_ilog_slot_at(&info, k, &s, NULL) != OBV_OK)
            continue;
        memset(copy + 8 + k * OBV_ILOG_SLOT + 32, 0xff, 16);
        assert_int_equal(obv_ilog_slot_at(&info, k, &s, NULL), OBV_E_CORRUPT);
    }
    free(copy);
}

static void the_newest_file_is_rewritten_longer(void **state)
{
    (void)state;
    const ilog early = open_ilog("clog/ilog_1_early.bin.zst"), late = open_ilog("clog/ilog_1.bin.zst");
    obv_ilog_slot a, b;
    assert_int_equal(obv_ilog_find(&early.info, &TABLE, &a, NULL), OBV_OK);
    assert_int_equal(obv_ilog_find(&late.info, &TABLE, &b, NULL), OBV_OK);
    assert_int_equal(a.min_log_id, b.min_log_id);
    assert_true(a.max_log_id < b.max_log_id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_and_cursors_are_found),
        cmocka_unit_test(known_cursor_and_trailer),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(the_newest_file_is_rewritten_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
