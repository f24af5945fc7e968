#include "base/clock.h"
#include "pipe/lane.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define NEVER UINT64_MAX
#define UNIT 4096u

/* A job that makes n units, marks them in the workers and checks order and content in the sink. */
struct job {
    uint64_t n, fail_fill, fail_work, fail_drain;
    uint64_t drained;
    uint64_t cancel_at; /* the sink asks for the stop */
    obv_cancel *token;
    unsigned stuck_ms; /* fill waits on the slot's token at unit 10 */
};

struct item {
    uint64_t seq, sum;
};

static obv_code fill(void *ctx, obv_lane_slot *s, bool *more, obv_err *err)
{
    const struct job *j = ctx;
    struct item *it = s->item;
    if (s->seq == j->fail_fill)
        return obv_fail(err, OBV_E_UNAVAILABLE, 1, "fill %u", (unsigned)s->seq);
    if (s->seq == j->n) {
        *more = false;
        return OBV_OK;
    }
    if (j->stuck_ms && s->seq == 10)
        OBV_TRY(obv_cancel_sleep(s->cancel, j->stuck_ms, err));
    assert_int_equal(it->seq, 0); /* zeroed before each fill */
    it->seq = s->seq;
    s->len = UNIT - s->seq % 7;
    memset(s->data, (int)(s->seq & 255), s->len);
    return OBV_OK;
}

static obv_code work(void *ctx, unsigned worker, obv_lane_slot *s, obv_err *err)
{
    const struct job *j = ctx;
    struct item *it = s->item;
    (void)worker;
    if (s->seq == j->fail_work)
        return obv_fail(err, OBV_E_CORRUPT, 2, "work %u", (unsigned)s->seq);
    for (uint64_t k = 0; k <= s->seq % 5; k++) /* uneven work, so that workers overtake each other */
        for (size_t i = 0; i < s->len; i++)
            it->sum += s->data[i];
    if (s->out) {
        memcpy(s->out, s->data, s->len / 2);
        s->out_len = s->len / 2;
    }
    return OBV_OK;
}

static obv_code drain(void *ctx, const obv_lane_slot *s, obv_err *err)
{
    struct job *j = ctx;
    const struct item *it = s->item;
    if (s->seq != j->drained || it->seq != s->seq || it->sum != (s->seq & 255) * s->len * (s->seq % 5 + 1) ||
        s->data[s->len - 1] != (s->seq & 255))
        return obv_fail(err, OBV_E_INTERNAL, 0, "unit %u is not what was filled", (unsigned)s->seq);
    j->drained++;
    if (s->seq == j->cancel_at)
        obv_cancel_request(j->token);
    if (s->seq == j->fail_drain)
        return obv_fail(err, OBV_E_NO_SPACE, 3, "drain %u", (unsigned)s->seq);
    return OBV_OK;
}

static const obv_lane_ops OPS = {fill, work, drain};

static struct job whole(uint64_t n)
{
    return (struct job){.n = n, .fail_fill = NEVER, .fail_work = NEVER, .fail_drain = NEVER, .cancel_at = NEVER};
}

static obv_code run(struct job *j, unsigned workers, unsigned depth, bool with_out, obv_lane_stats *stats, obv_err *err)
{
    obv_pool *pool = NULL;
    assert_int_equal(obv_pool_new(UNIT, depth * 2, &pool, err), OBV_OK);
    const obv_lane_config cfg = {.workers = workers,
                                 .depth = depth,
                                 .pool = pool,
                                 .with_out = with_out,
                                 .item_size = sizeof(struct item),
                                 .cancel = j->token};
    const obv_code code = obv_lane_run(&OPS, j, &cfg, stats, err);
    assert_int_equal(obv_pool_available(pool), depth * 2); /* whatever happened, all came back */
    obv_pool_free(pool);
    return code;
}

static void every_unit_arrives_once_and_in_order(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers++) {
        for (unsigned depth = 1; depth <= 16; depth *= 2) {
            struct job j = whole(500), none = whole(0);
            obv_lane_stats st = {0};
            obv_err err = {0};
            assert_int_equal(run(&j, workers, depth, workers % 2 == 0, &st, &err), OBV_OK);
            assert_int_equal(j.drained, 500);
            assert_int_equal(st.source.units, 500);
            assert_int_equal(st.work.units, 500);
            assert_int_equal(st.sink.units, 500);
            assert_int_equal(st.source.bytes, st.work.bytes);
            assert_true(workers % 2 == 0 ? st.sink.bytes < st.source.bytes : st.sink.bytes == st.source.bytes);
            assert_int_equal(run(&none, workers, depth, false, NULL, &err), OBV_OK);
            assert_int_equal(none.drained, 0);
        }
    }
}

static void the_first_error_of_each_stage_is_the_result(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers++) {
        for (unsigned depth = 1; depth <= 16; depth *= 4) {
            obv_err err = {0};
            struct job a = whole(500), b = whole(500), c = whole(500);
            a.fail_fill = 77;
            assert_int_equal(run(&a, workers, depth, false, NULL, &err), OBV_E_UNAVAILABLE);
            assert_string_equal(err.msg, "fill 77");
            assert_int_equal(err.sys, 1);
            b.fail_work = 99;
            assert_int_equal(run(&b, workers, depth, false, NULL, &err), OBV_E_CORRUPT);
            assert_string_equal(err.msg, "work 99");
            assert_true(b.drained <= 99);
            c.fail_drain = 55;
            assert_int_equal(run(&c, workers, depth, false, NULL, &err), OBV_E_NO_SPACE);
            assert_string_equal(err.msg, "drain 55");
            assert_int_equal(c.drained, 56);
        }
    }
}

static void an_error_frees_a_stage_that_waits_elsewhere(void **state)
{
    (void)state;
    struct job j = whole(500);
    obv_err err = {0};
    j.stuck_ms = 60000;
    j.fail_work = 9;
    const int64_t began_at = obv_mono_ns();
    assert_int_equal(run(&j, 2, 4, false, NULL, &err), OBV_E_CORRUPT);
    assert_true(obv_mono_ns() - began_at < 10 * OBV_NS_PER_S);
}

static void the_callers_token_stops_all(void **state)
{
    (void)state;
    obv_cancel *token = obv_cancel_new(NULL);
    struct job j = whole(NEVER);
    obv_err err = {0};
    j.token = token;
    j.cancel_at = 100;
    assert_int_equal(run(&j, 3, 8, false, NULL, &err), OBV_E_CANCELLED);
    assert_int_equal(j.drained, 101);
    obv_cancel_free(token);

    token = obv_cancel_new(NULL);
    struct job late = whole(NEVER);
    late.token = token;
    obv_cancel_set_deadline(token, obv_mono_ns() + 30 * OBV_NS_PER_MS);
    assert_int_equal(run(&late, 3, 8, false, NULL, &err), OBV_E_TIMEOUT);
    obv_cancel_free(token);
}

static void without_work_the_units_go_straight_to_the_sink(void **state)
{
    (void)state;
    static const obv_lane_ops STRAIGHT = {fill, NULL, NULL};
    obv_lane_ops ops = STRAIGHT;
    obv_err err = {0};
    obv_pool *pool = NULL;
    struct job j = whole(0); /* drain's sums would not fit: only the order of stages is looked at */
    ops.drain = drain;
    assert_int_equal(obv_pool_new(UNIT, 2, &pool, &err), OBV_OK);
    const obv_lane_config cfg = {.workers = 1, .depth = 2, .pool = pool, .item_size = sizeof(struct item)};
    obv_lane_stats st = {0};
    j.n = 1; /* unit 0: all sums are zero */
    assert_int_equal(obv_lane_run(&ops, &j, &cfg, &st, &err), OBV_OK);
    assert_int_equal(j.drained, 1);
    assert_int_equal(st.work.units, 0);
    assert_int_equal(st.sink.units, 1);
    obv_pool_free(pool);
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_pool *pool = NULL;
    struct job j = whole(1);
    assert_int_equal(obv_pool_new(UNIT, 4, &pool, &err), OBV_OK);
    /* clang-format off */
    static const struct { unsigned workers, depth; bool out; obv_code want; } CASES[] = {
        {1, 4, false, OBV_OK}, {1, 2, true, OBV_OK}, {0, 4, false, OBV_E_INVAL}, {65, 4, false, OBV_E_INVAL},
        {1, 0, false, OBV_E_INVAL}, {1, 1025, false, OBV_E_INVAL}, {1, 5, false, OBV_E_LIMIT}, {1, 3, true, OBV_E_LIMIT},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_lane_config cfg = {.workers = CASES[i].workers,
                                     .depth = CASES[i].depth,
                                     .with_out = CASES[i].out,
                                     .pool = pool,
                                     .item_size = sizeof(struct item)};
        j.drained = 0;
        assert_int_equal(obv_lane_run(&OPS, &j, &cfg, NULL, &err), CASES[i].want);
    }
    obv_pool_free(pool);
}

static void the_busiest_stage_has_a_name(void **state)
{
    (void)state;
    obv_lane_stats s = {.source.busy_ns = 100, .work.busy_ns = 300, .sink.busy_ns = 120};
    assert_string_equal(obv_lane_bottleneck(&s, 1), "work");
    assert_string_equal(obv_lane_bottleneck(&s, 3), "sink");
    s.source.busy_ns = 400;
    assert_string_equal(obv_lane_bottleneck(&s, 1), "source");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_arrives_once_and_in_order),
        cmocka_unit_test(the_first_error_of_each_stage_is_the_result),
        cmocka_unit_test(an_error_frees_a_stage_that_waits_elsewhere),
        cmocka_unit_test(the_callers_token_stops_all),
        cmocka_unit_test(without_work_the_units_go_straight_to_the_sink),
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(the_busiest_stage_has_a_name),
    };
    return cmocka_run_group_tests_name("pipe.lane", tests, NULL, NULL);
}
