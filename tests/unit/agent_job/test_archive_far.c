/* PGs that are led elsewhere: their leader is asked, and only its word under one epoch counts. */
#include "base/clock.h"
#include "job/archive_priv.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define PG_A                                                                                                           \
    {                                                                                                                  \
        1099511677777, 0, 0                                                                                            \
    }
#define PG_B                                                                                                           \
    {                                                                                                                  \
        1099511677778, 0, 0                                                                                            \
    }

typedef struct elsewhere {
    size_t asked;
    char server[24];
    obv_archive_row rows[2];
    obv_code fails;
} elsewhere;

static obv_code answer(void *ctx, const char *server, const obv_cancel *c, obv_archive_sampled *out, obv_err *err)
{
    elsewhere *e = ctx;
    (void)c;
    e->asked++;
    (void)snprintf(e->server, sizeof e->server, "%s", server);
    if (e->fails)
        return obv_fail(err, e->fails, 0, "made to fail");
    *out = (obv_archive_sampled){.began_at = 10, .ended_at = 11, .count = 2};
    out->rows = malloc(sizeof e->rows);
    assert_non_null(out->rows);
    memcpy(out->rows, e->rows, sizeof e->rows);
    return OBV_OK;
}

static obv_archive_row row(uint64_t table, bool leader, uint8_t at, int64_t w, uint64_t last, int64_t epoch)
{
    return (obv_archive_row){.table_id = table,
                             .readable_ts = w,
                             .last_log_id = last,
                             .leader_epoch = epoch,
                             .leader = leader,
                             .leader_at = at,
                             .has_stat = true,
                             .has_readable = true,
                             .has_epoch = true};
}

typedef struct scene {
    elsewhere e;
    obv_archive_pg a, b;
    obv_archive_pg *pgs[2];
    obv_archive job;
    obv_archive_row here[2];
    obv_archive_sampled local;
} scene;

static void begin(scene *s)
{
    memset(s, 0, sizeof *s);
    s->a.key = (obv_pg_key)PG_A;
    s->b.key = (obv_pg_key)PG_B;
    s->a.done.started = s->b.done.started = true;
    s->a.done.log_id = s->b.done.log_id = 5;
    s->pgs[0] = &s->a;
    s->pgs[1] = &s->b;
    s->job.pgs = s->pgs;
    s->job.pg_count = 2;
    s->job.hooks = (obv_archive_hooks){.ctx = &s->e, .sample_at = answer};
    (void)pthread_mutex_init(&s->job.mu, NULL);
    /* A is led at the second server named, B here */
    s->here[0] = row(s->a.key.table_id, false, 2, 900, 5, 0);
    s->here[1] = row(s->b.key.table_id, true, 1, 900, 5, 77);
    s->local = (obv_archive_sampled){.rows = s->here, .count = 2, .server_count = 2};
    (void)snprintf(s->local.servers[0], sizeof s->local.servers[0], "127.0.0.2:2882");
    (void)snprintf(s->local.servers[1], sizeof s->local.servers[1], "127.0.0.3:2882");
    s->e.rows[0] = row(s->a.key.table_id, true, 1, 1000, 5, 42);
    s->e.rows[1] = row(s->b.key.table_id, true, 1, 2000, 5, 42);
}

static void ask(scene *s)
{
    int64_t last = 0;
    obv_archive_sample_far(&s->job, &s->local, &last);
}

static void the_leader_is_asked_and_believed_under_one_epoch(void **state)
{
    (void)state;
    scene s;
    begin(&s);
    ask(&s);
    assert_int_equal(s.e.asked, 1);
    assert_string_equal(s.e.server, "127.0.0.3:2882");
    assert_int_equal(s.a.checkpoint, 0); /* its epoch was seen once only */
    s.e.rows[0].readable_ts = 1100;
    ask(&s);
    assert_int_equal(s.a.checkpoint, 1100);
    assert_int_equal(s.b.checkpoint, 0); /* is sampled here */
    s.e.rows[0].readable_ts = 1200;
    s.e.rows[0].leader_epoch = 43; /* it went and came back */
    ask(&s);
    assert_int_equal(s.a.checkpoint, 1100);
    s.e.rows[0].leader = false; /* it is the leader no more, whatever it reads */
    ask(&s);
    ask(&s);
    assert_int_equal(s.a.checkpoint, 1100);
}

static void log_that_is_not_stored_is_waited_for(void **state)
{
    (void)state;
    scene s;
    begin(&s);
    s.e.rows[0].last_log_id = 9;
    ask(&s);
    ask(&s);
    assert_int_equal(s.a.checkpoint, 0);
    s.a.done.log_id = 9;
    obv_archive_settle(&s.a);
    assert_int_equal(s.a.checkpoint, 1000);
}

static void a_failure_forgets_the_epoch(void **state)
{
    (void)state;
    scene s;
    begin(&s);
    ask(&s);
    s.e.fails = OBV_E_UNAVAILABLE;
    ask(&s);
    s.e.fails = OBV_OK;
    ask(&s);
    assert_int_equal(s.a.checkpoint, 0);
    ask(&s);
    assert_int_equal(s.a.checkpoint, 1000);
}

static void nobody_is_asked_without_need_nor_too_often(void **state)
{
    (void)state;
    scene s;
    int64_t last = obv_mono_ns();
    begin(&s);
    obv_archive_sample_far(&s.job, &s.local, &last); /* a moment ago */
    assert_int_equal(s.e.asked, 0);
    s.here[0].leader = true;
    ask(&s);
    s.here[0].leader = false;
    s.here[0].leader_at = 0; /* nobody leads it */
    ask(&s);
    s.here[0].leader_at = 2;
    s.a.done.offline = true;
    ask(&s);
    assert_int_equal(s.e.asked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leader_is_asked_and_believed_under_one_epoch),
        cmocka_unit_test(log_that_is_not_stored_is_waited_for),
        cmocka_unit_test(a_failure_forgets_the_epoch),
        cmocka_unit_test(nobody_is_asked_without_need_nor_too_often),
    };
    return cmocka_run_group_tests_name("agent_job.archive_far", tests, NULL, NULL);
}
