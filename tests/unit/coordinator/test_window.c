#include "job/window.h"
#include "test.h"

/* clang-format off */
/* times in units of one second */
#define S(n) ((int64_t)(n) * 1000000)
#define ROUND_1 {.round = 1, .start_ts = S(10), .checkpoint_ts = S(50), .max_ts = S(52), .available = true}
#define ROUND_2 {.round = 2, .start_ts = S(60), .checkpoint_ts = S(90), .max_ts = INT64_MAX, .available = true}
#define NONE_YET {.round = 3, .start_ts = S(95), .max_ts = INT64_MAX}
/* pieces of one round: 10..20, 20..30, 30..40 (active) */
#define P1 {.round = 4, .piece = 7, .start_piece = 7, .start_ts = S(10), .checkpoint_ts = S(20), .max_ts = S(20), .available = true}
#define P2 {.round = 4, .piece = 8, .start_piece = 7, .start_ts = S(20), .checkpoint_ts = S(30), .max_ts = S(30), .available = true}
#define P2_FREEZING {.round = 4, .piece = 8, .start_piece = 7, .start_ts = S(20), .checkpoint_ts = S(30), .max_ts = INT64_MAX, .available = true}
#define P3_NOT_BEGUN {.round = 4, .piece = 9, .start_piece = 7, .checkpoint_ts = S(40), .max_ts = INT64_MAX, .available = true}
#define P3 {.round = 4, .piece = 9, .start_piece = 7, .start_ts = S(30), .checkpoint_ts = S(40), .max_ts = INT64_MAX, .available = true}

static const struct {
    const char *why;
    int64_t snapshot, replay, round;
    obv_window_piece p[3];
    size_t n;
    int64_t from, to; /* to < from: nothing */
    size_t first, last;
} CASES[] = {
    {"a set inside its round reaches the round's checkpoint", S(20), S(15), 1, {ROUND_1}, 1, S(20) + 1, S(50), 0, 0},
    {"log from before the round is no matter for a round's first piece", S(20), S(1), 1, {ROUND_1}, 1, S(20) + 1, S(50), 0, 0},
    {"a set before the round is isolated from it", S(9), S(9), 1, {ROUND_1}, 1, S(9) + 1, S(9), 0, 0},
    {"a set at the round's start is not", S(10), S(10), 1, {ROUND_1}, 1, S(10) + 1, S(50), 0, 0},
    {"a set behind the checkpoint restores nothing", S(50), S(40), 1, {ROUND_1}, 1, S(50) + 1, S(50), 0, 0},
    {"one microsecond before it: that one", S(50) - 1, S(40), 1, {ROUND_1}, 1, S(50), S(50), 0, 0},
    {"the next round does not continue the last one", S(20), S(15), 1, {ROUND_1, ROUND_2}, 2, S(20) + 1, S(50), 0, 0},
    {"a set of the second round uses that", S(65), S(61), 2, {ROUND_1, ROUND_2}, 2, S(65) + 1, S(90), 1, 1},
    {"a set of the first round is not continued by a second that begins before S", S(65), S(61), 1, {ROUND_1, ROUND_2}, 2, S(65) + 1, S(65), 0, 0},
    {"between the rounds nothing", S(55), S(55), 2, {ROUND_1, ROUND_2}, 2, S(55) + 1, S(55), 0, 0},
    {"a round without a checkpoint counts for nothing", S(96), S(95), 3, {ROUND_1, NONE_YET}, 2, S(96) + 1, S(96), 0, 0},
    {"no log at all", S(20), S(15), 1, {ROUND_1}, 0, S(20) + 1, S(20), 0, 0},
    {"pieces are walked back to the replay's start", S(25), S(15), 4, {P1, P2, P3}, 3, S(25) + 1, S(40), 0, 2},
    {"but no further", S(35), S(32), 4, {P1, P2, P3}, 3, S(35) + 1, S(40), 2, 2},
    {"a piece that ends exactly at the replay's start is taken", S(35), S(30), 4, {P1, P2, P3}, 3, S(35) + 1, S(40), 1, 2},
    {"a piece that is FREEZING is good as the last one only", S(25), S(15), 4, {P1, P2_FREEZING, P3_NOT_BEGUN}, 3, S(25) + 1, S(30), 0, 1},
    {"also to a set that needs nothing before it", S(25), S(22), 4, {P1, P2_FREEZING, P3_NOT_BEGUN}, 3, S(25) + 1, S(30), 1, 1},
    {"a number that is missing in the middle ends it", S(15), S(12), 4, {P1, P3}, 2, S(15) + 1, S(20), 0, 0},
    {"before it no matter", S(35), S(32), 4, {P1, P3}, 2, S(35) + 1, S(40), 1, 1},
    {"a piece without a beginning is none", S(35), S(32), 4, {P1, P3_NOT_BEGUN}, 2, S(35) + 1, S(35), 0, 0},
    {"the round's first piece must begin before the set", S(5), S(5), 4, {P1, P2, P3}, 3, S(5) + 1, S(5), 0, 0},
};
/* clang-format on */

static void a_window_follows_the_stock_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_window_set s = {
            .set_id = 1, .round = CASES[i].round, .snapshot = CASES[i].snapshot, .replay_start = CASES[i].replay};
        print_message("case: %s\n", CASES[i].why);
        const obv_window w = obv_window_of(&s, CASES[i].p, CASES[i].n);
        assert_int_equal(w.from, CASES[i].from);
        assert_int_equal(w.to, CASES[i].to);
        if (w.from > w.to)
            continue;
        assert_int_equal(w.first, CASES[i].first);
        assert_int_equal(w.last, CASES[i].last);
    }
}

static void the_newest_set_that_reaches_the_time_is_chosen(void **state)
{
    (void)state;
    const obv_window_set sets[] = {{.set_id = 1, .round = 1, .snapshot = S(20), .replay_start = S(15)},
                                   {.set_id = 2, .round = 1, .snapshot = S(30), .replay_start = S(25)},
                                   {.set_id = 3, .round = 2, .snapshot = S(70), .replay_start = S(65)}};
    const obv_window_piece pieces[] = {ROUND_1, ROUND_2};
    /* clang-format off */
    static const struct { int64_t at; int64_t set; } TIMES[] = {
        {S(20), 0}, {S(20) + 1, 1}, {S(30), 1}, {S(30) + 1, 2}, {S(50), 2}, {S(50) + 1, 0}, {S(70), 0}, {S(70) + 1, 3},
        {S(90), 3}, {S(90) + 1, 0}, {0, 0},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        size_t set = 99, first = 99, last = 99;
        obv_err err = {0};
        const obv_code code = obv_window_choose(sets, 3, pieces, 2, TIMES[i].at, &set, &first, &last, &err);
        if (TIMES[i].set == 0) {
            assert_int_equal(code, OBV_E_NOT_RESTORABLE);
            assert_non_null(strstr(err.msg, "1970-01-01T00:00:30.000001+00:00 to 1970-01-01T00:00:50.000000+00:00"));
        } else {
            assert_int_equal(code, OBV_OK);
            assert_int_equal(sets[set].set_id, TIMES[i].set);
            assert_int_equal(first, last);
        }
    }
}

typedef struct holes {
    obv_window_hole v[8];
    size_t n;
} holes;

static obv_code take_hole(void *ctx, const obv_window_hole *h, obv_err *err)
{
    holes *l = ctx;
    (void)err;
    assert_true(l->n < 8);
    l->v[l->n++] = *h;
    return OBV_OK;
}

static void holes_lie_between_windows_and_behind_the_last(void **state)
{
    (void)state;
    obv_window_set sets[] = {{.set_id = 1, .round = 1, .snapshot = S(20), .replay_start = S(15)},
                             {.set_id = 2, .round = 1, .snapshot = S(30), .replay_start = S(25)},
                             {.set_id = 3, .round = 2, .snapshot = S(70), .replay_start = S(65)},
                             {.set_id = 4, .round = 3, .snapshot = S(96), .replay_start = S(95)}};
    obv_window_piece pieces[] = {ROUND_1, ROUND_2, NONE_YET};
    holes l = {0};
    obv_err err = {0};
    obv_window_data d = {.sets = sets, .set_count = 4, .pieces = pieces, .piece_count = 3};
    assert_int_equal(obv_window_holes(&d, take_hole, &l, &err), OBV_OK);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.v[0].from, S(50) + 1);
    assert_int_equal(l.v[0].to, S(70));
    assert_int_equal(l.v[0].round, 1);
    assert_int_equal(l.v[1].from, S(90) + 1);
    assert_int_equal(l.v[1].to, 0);
    assert_int_equal(l.v[1].round, 2);

    l.n = 0; /* nothing restorable: nothing is missing in the middle either */
    d.set_count = 0;
    assert_int_equal(obv_window_holes(&d, take_hole, &l, &err), OBV_OK);
    assert_int_equal(l.n, 0);

    l.n = 0; /* windows that touch leave no hole */
    d.set_count = 2;
    assert_int_equal(obv_window_holes(&d, take_hole, &l, &err), OBV_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].from, S(50) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_follows_the_stock_rules),
        cmocka_unit_test(holes_lie_between_windows_and_behind_the_last),
        cmocka_unit_test(the_newest_set_that_reaches_the_time_is_chosen),
    };
    return cmocka_run_group_tests_name("coordinator.window", tests, NULL, NULL);
}
