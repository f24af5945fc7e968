#include "coordinator/world.h"
#include "job/doctor.h"
#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A site in the world of tests; ports are real: one listens, port 1 does not. */
typedef struct site {
    world w;
    obv_board *board;
    obv_job_ctx x;
    int listener;
    char open_port[32], closed_port[32];
    char *endpoints[2], *target_endpoints[1];
    obv_doctor_target target;
    obv_doctor_site site;
    /* what agents answer */
    bool agent_dumb[WORLD_HOSTS], agent_stuck[WORLD_HOSTS];
    char uuid[WORLD_HOSTS][40];
    uint64_t free_bytes;
    int64_t agent_clock_us;
    obv_findings found;
} site;

static int set_up(void **state)
{
    site *s = calloc(1, sizeof *s);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    obv_err err = {0};
    if (!s)
        return -1;
    world_begin(&s->w);
    world_repo_init(&s->w);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (const struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s->listener, 64) != 0 || getsockname(s->listener, (struct sockaddr *)&a, &len) != 0 ||
        obv_board_new(&s->board, &err) != OBV_OK)
        return -1;
    (void)snprintf(s->open_port, sizeof s->open_port, "127.0.0.1:%u", ntohs(a.sin_port));
    (void)snprintf(s->closed_port, sizeof s->closed_port, "127.0.0.1:1");
    s->x = s->w.ctx[1];
    s->x.clusters = world_clusters(&s->w);
    s->x.board = s->board;
    s->endpoints[0] = s->endpoints[1] = s->target_endpoints[0] = s->open_port;
    s->target = (obv_doctor_target){"standby", "obv_restore@sys", s->target_endpoints, 1};
    s->site = (obv_doctor_site){s->w.dir, "obv_coord@sys", s->endpoints, 2, &s->target, 1};
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        (void)snprintf(s->uuid[i], sizeof s->uuid[i], "%s", s->w.media_uuid);
    s->free_bytes = 1ull << 40;
    s->w.cluster.data_bytes = 1 << 30;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    site *s = *state;
    obv_board_free(s->board);
    (void)close(s->listener);
    obv_findings_fini(&s->found);
    world_end(&s->w);
    free(s);
    return 0;
}

/* The agents' side: each looks at the board until nothing is asked any more. */
static void *answer(void *arg)
{
    site *s = arg;
    bool stuck_said[WORLD_HOSTS] = {false};
    for (int turn = 0; turn < 400; turn++) {
        for (size_t i = 0; i < WORLD_HOSTS; i++) {
            const char *id = s->w.agents[i].hello.agent_id;
            const obv_board_question q = obv_board_look(s->board, id);
            if (q.id == 0 || s->agent_dumb[i] || stuck_said[i])
                continue;
            obv_board_answer a = {.done = !s->agent_stuck[i],
                                  .clock_known = true,
                                  .clock_off_us = s->agent_clock_us,
                                  .free_known = true,
                                  .free_bytes = s->free_bytes};
            stuck_said[i] = s->agent_stuck[i];
            (void)snprintf(a.agent_id, sizeof a.agent_id, "%s", id);
            (void)snprintf(a.uuid, sizeof a.uuid, "%s", s->uuid[i]);
            (void)snprintf(a.doing, sizeof a.doing, "%s", s->agent_stuck[i] ? "repository.identity" : "");
            obv_found_ok(&a.found, "agent.process", id, "fine");
            obv_board_take(s->board, q.id + 1, &(obv_board_answer){0}); /* of another question: dropped */
            obv_board_take(s->board, q.id, &a);
        }
        (void)usleep(2000);
    }
    return NULL;
}

static obv_code examine(site *s, bool repository_only)
{
    pthread_t agents;
    obv_err err = {0};
    obv_findings_fini(&s->found);
    assert_int_equal(pthread_create(&agents, NULL, answer, s), 0);
    const obv_code code = obv_doctor(&s->x, &s->site, repository_only, 300, &s->found, &err);
    (void)pthread_join(agents, NULL);
    for (size_t i = 0; i < s->found.n; i++)
        if (s->found.v[i].level != OBV_LEVEL_OK)
            print_message("%s %s %s: %s\n", obv_level_name(s->found.v[i].level), s->found.v[i].check,
                          s->found.v[i].where, s->found.v[i].found);
    return code;
}

static int exit_code(const site *s) { return obv_code_describe(obv_findings_worst(&s->found))->exit_code; }

static size_t count(const site *s, const char *check, obv_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < s->found.n; i++)
        n += strcmp(s->found.v[i].check, check) == 0 && s->found.v[i].level == level;
    return n;
}

static void a_healthy_site_is_all_ok(void **state)
{
    site *s = *state;
    assert_int_equal(examine(s, false), OBV_OK);
    assert_int_equal(exit_code(s), 0);
    assert_int_equal(obv_findings_count(&s->found, OBV_LEVEL_FAIL), 0);
    assert_int_equal(count(s, "agent.process", OBV_LEVEL_OK), WORLD_HOSTS);
    assert_int_equal(count(s, "source.gts", OBV_LEVEL_OK), WORLD_TENANTS);
    static const char *const CHECKS[] = {
        "source.port",    "source.rights",   "source.version",   "source.role",
        "source.upgrade", "source.archive",  "source.clock",     "source.servers",
        "target.port",    "target.rights",   "target.version",   "target.restore_concurrency",
        "agent.up",       "repository.same", "repository.space", "coordinator.state"};
    for (size_t i = 0; i < sizeof CHECKS / sizeof *CHECKS; i++) {
        print_message("check: %s\n", CHECKS[i]);
        assert_int_equal(count(s, CHECKS[i], OBV_LEVEL_OK), 1);
    }
    assert_int_equal(count(s, "agent.clock", OBV_LEVEL_OK), WORLD_HOSTS);
}

static void repo_check_asks_for_the_repository_only(void **state)
{
    site *s = *state;
    assert_int_equal(examine(s, true), OBV_OK);
    assert_int_equal(exit_code(s), 0);
    assert_int_equal(count(s, "repository.same", OBV_LEVEL_OK), 1);
    assert_int_equal(count(s, "repository.space", OBV_LEVEL_OK), 1);
    assert_int_equal(count(s, "source.gts", OBV_LEVEL_OK), 0);
    assert_int_equal(count(s, "target.port", OBV_LEVEL_OK), 0);
}

/* One place wrong at a time. */
typedef void breaker(site *s);
static void standby(site *s) { s->w.cluster.standby = true; }
static void upgrade(site *s) { s->w.cluster.upgrading = true; }
static void own_archive(site *s) { s->w.cluster.own_archive = true; }
static void lts(site *s) { s->w.cluster.tenants[1].gts = false; }
static void no_rights(site *s)
{
    s->w.cluster.rights = (obv_rights){.missing = "SELECT on oceanbase.__all_server", .statement = "GRANT it"};
}
static void no_alter(site *s)
{
    s->w.target.rights = (obv_rights){.missing = "ALTER SYSTEM on *.*", .statement = "GRANT it"};
}
static void source_clock(site *s) { s->w.cluster.clock_off_us = 3 * OBV_US_PER_S; }
static void agent_clock(site *s) { s->agent_clock_us = -3 * OBV_US_PER_S; }
static void dumb(site *s) { s->agent_dumb[1] = true; }
static void stuck(site *s) { s->agent_stuck[2] = true; }
static void other_uuid(site *s) { s->uuid[0][0] = s->uuid[0][0] == 'a' ? 'b' : 'a'; }
static void unread(site *s)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        s->uuid[i][0] = 0;
}
static void no_space(site *s) { s->free_bytes = 1 << 20; }
static void no_concurrency(site *s) { s->w.target.restore_concurrency = 0; }
static void no_port(site *s) { s->endpoints[0] = s->endpoints[1] = s->closed_port; }
static void no_state_dir(site *s) { s->site.state_dir = "/not/there"; }
static void silent(site *s)
{
    s->w.agents[2].silent = true;
    for (int i = 0; i < 100; i++)
        world_turn(&s->w);
}

static void archiving_elsewhere_is_a_warning(void **state)
{
    site *s = *state;
    s->w.cluster.own_archive = true;
    s->w.cluster.own_archive_dest = "oss://bucket/elsewhere";
    assert_int_equal(examine(s, false), OBV_OK);
    assert_int_equal(count(s, "source.archive", OBV_LEVEL_WARN), 1);
    assert_int_equal(exit_code(s), 0);
}

static void each_defect_is_named_with_the_right_exit_code(void **state)
{
    (void)state;
    static const struct {
        breaker *harm;
        const char *check;
        int exit_code;
    } CASES[] = {{standby, "source.role", 14},
                 {upgrade, "source.upgrade", 14},
                 {own_archive, "source.archive", 14},
                 {lts, "source.gts", 14},
                 {no_rights, "source.rights", 10},
                 {no_alter, "target.rights", 10},
                 {source_clock, "source.clock", 14},
                 {agent_clock, "agent.clock", 14},
                 {dumb, "agent.up", 14},
                 {stuck, "agent.answer", 8},
                 {silent, "agent.up", 14},
                 {other_uuid, "repository.same", 8},
                 {unread, "repository.same", 8},
                 {no_space, "repository.space", 8},
                 {no_concurrency, "target.restore_concurrency", 14},
                 {no_port, "source.port", 14},
                 {no_state_dir, "coordinator.state", 14}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        void *one = NULL;
        assert_int_equal(set_up(&one), 0);
        site *s = one;
        print_message("case %zu: %s\n", i, CASES[i].check);
        CASES[i].harm(s);
        assert_int_equal(examine(s, false), OBV_OK);
        assert_true(count(s, CASES[i].check, OBV_LEVEL_FAIL) > 0);
        assert_int_equal(exit_code(s), CASES[i].exit_code);
        for (size_t k = 0; k < s->found.n; k++)
            assert_true(s->found.v[k].level != OBV_LEVEL_FAIL || (s->found.v[k].means[0] && s->found.v[k].next[0]));
        (void)tear_down(&one);
    }
}

static void warnings_end_well(void **state)
{
    site *s = *state;
    s->endpoints[1] = s->closed_port;                                /* one of two */
    s->target_endpoints[0] = s->closed_port;                         /* a target that is away */
    s->free_bytes = s->w.cluster.data_bytes * WORLD_TENANTS * 3 / 2; /* one backup fits */
    (void)strcpy(s->w.cluster.rights.too_wide, "ALTER SYSTEM on *.*");
    assert_int_equal(examine(s, false), OBV_OK);
    assert_int_equal(exit_code(s), 0);
    assert_int_equal(count(s, "source.port", OBV_LEVEL_WARN), 1);
    assert_int_equal(count(s, "target.port", OBV_LEVEL_WARN), 1);
    assert_int_equal(count(s, "repository.space", OBV_LEVEL_WARN), 1);
    assert_int_equal(count(s, "source.rights", OBV_LEVEL_WARN), 1);
}

static void servers_and_agents_are_matched(void **state)
{
    site *s = *state;
    s->w.cluster.first_is_here = s->w.cluster.third_is_down = true;
    s->agent_dumb[2] = true; /* of a server that is down: its answer is missed, the server is only warned of */
    assert_int_equal(examine(s, false), OBV_E_NOT_READY); /* the coordinator has just started: it may still call */
    for (int i = 0; i < 100; i++)
        world_turn(&s->w);
    assert_int_equal(examine(s, false), OBV_OK);
    assert_int_equal(count(s, "coordinator.place", OBV_LEVEL_WARN), 1);
    assert_int_equal(count(s, "source.servers", OBV_LEVEL_WARN), 1);
    assert_int_equal(count(s, "agent.up", OBV_LEVEL_FAIL), 2); /* none for 127.0.0.1, none from 127.0.0.4 */
    assert_int_equal(count(s, "agent.up", OBV_LEVEL_WARN), 1); /* 127.0.0.2 is not of the cluster */
    assert_int_equal(exit_code(s), 14);
}

static void one_at_a_time(void **state)
{
    site *s = *state;
    obv_board_answer *v = NULL;
    size_t n = 0;
    obv_err err = {0};
    assert_int_equal(obv_board_ask(s->board, NULL, 0, false, 1000, &err), OBV_OK);
    assert_int_equal(examine(s, false), OBV_E_BUSY);
    obv_board_wait(s->board); /* nobody is asked: at once */
    obv_board_end(s->board, &v, &n);
    assert_int_equal(n, 0);
    free(v);
    assert_int_equal(examine(s, true), OBV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_healthy_site_is_all_ok, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repo_check_asks_for_the_repository_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(archiving_elsewhere_is_a_warning, set_up, tear_down),
        cmocka_unit_test(each_defect_is_named_with_the_right_exit_code),
        cmocka_unit_test_setup_teardown(warnings_end_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(servers_and_agents_are_matched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_at_a_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
