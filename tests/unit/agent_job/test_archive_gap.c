#include "base/clock.h"
#include "job/archive_priv.h"
#include "test.h"

#define S OBV_NS_PER_S

static void nothing_recycled_is_no_end_in_sight(void **state)
{
    (void)state;
    obv_gap_meter m = {0};
    assert_int_equal(obv_gap_meter_left_s(&m, 7), -1);
    obv_gap_meter_see(&m, 0, S); /* not known */
    obv_gap_meter_see(&m, 5, S);
    obv_gap_meter_see(&m, 5, 100 * S);
    assert_int_equal(obv_gap_meter_left_s(&m, 7), -1);
}

static void time_left_follows_the_measured_rate(void **state)
{
    (void)state;
    obv_gap_meter m = {0};
    obv_gap_meter_see(&m, 10, S);
    obv_gap_meter_see(&m, 15, 101 * S); /* one in 20 s */
    assert_int_equal(obv_gap_meter_left_s(&m, 18), 60);
    assert_int_equal(obv_gap_meter_left_s(&m, 15), 0);
    assert_int_equal(obv_gap_meter_left_s(&m, 12), 0); /* may be reused already */
    assert_int_equal(obv_gap_meter_left_s(&m, 0), -1);
}

static void an_old_rate_is_forgotten(void **state)
{
    (void)state;
    obv_gap_meter m = {0};
    for (int64_t t = 0; t < 100; t++) /* one a second */
        obv_gap_meter_see(&m, 10 + (uint64_t)t, (1 + t) * S);
    assert_in_range(obv_gap_meter_left_s(&m, 209), 95, 105);
    for (int64_t t = 100; t < 2000; t++) /* then none */
        obv_gap_meter_see(&m, 109, (1 + t) * S);
    assert_int_equal(obv_gap_meter_left_s(&m, 209), -1);
    obv_gap_meter_see(&m, 3, 2001 * S); /* a new store */
    obv_gap_meter_see(&m, 4, 2011 * S);
    assert_int_equal(obv_gap_meter_left_s(&m, 6), 20);
}

static void log_that_is_not_stored_is_needed(void **state)
{
    (void)state;
    obv_archive_pg a = {.stage = OBV_PG_READY, .pos = {.file_id = 7}}, b = {.stage = OBV_PG_READY},
                   c = {.stage = OBV_PG_READY, .pos = {.file_id = 6}};
    obv_archive_pg *pgs[] = {&a, &b, &c};
    obv_archive job = {.pgs = pgs, .pg_count = 3};
    assert_int_equal(obv_archive_needed_file(&job, 9), 6);
    c.pos.file_id = 0;
    c.stage = OBV_PG_NEW; /* its destination is away: what it has not stored stays needed */
    job.caught_up = true;
    assert_int_equal(obv_archive_needed_file(&job, 9), 6);
    c.stage = OBV_PG_FAILED; /* gone is gone */
    assert_int_equal(obv_archive_needed_file(&job, 9), 9);
    job.caught_up = false;
    assert_int_equal(obv_archive_needed_file(&job, 9), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_recycled_is_no_end_in_sight),
        cmocka_unit_test(time_left_follows_the_measured_rate),
        cmocka_unit_test(an_old_rate_is_forgotten),
        cmocka_unit_test(log_that_is_not_stored_is_needed),
    };
    return cmocka_run_group_tests_name("agent_job.archive_gap", tests, NULL, NULL);
}
