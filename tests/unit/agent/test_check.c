#include "base/clock.h"
#include "base/file.h"
#include "base/temp_dir.h"
#include "check.h"
#include "host/repository.h"
#include "test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char root[300], store[300], journal_path[300], password[300];

static int set_up(void **state)
{
    if (temp_dir_make(state) != 0)
        return -1;
    (void)snprintf(root, sizeof root, "%s/backup", (const char *)*state);
    (void)snprintf(store, sizeof store, "%s/store", (const char *)*state);
    (void)snprintf(journal_path, sizeof journal_path, "%s/journal.db", (const char *)*state);
    (void)snprintf(password, sizeof password, "%s/password", (const char *)*state);
    obv_err err = {0};
    const char secret[] = "secret\n";
    return mkdir(root, 0700) || obv_file_write_atomic(password, obv_span_of(secret, sizeof secret - 1), 0600, &err);
}

/* An agent whose OBServer's ports are closed. */
static obv_agent_config config(obv_store_option *option)
{
    static char plugin[] = FILE_PLUGIN, ip[] = "127.0.0.1", user[] = "obv_agent@sys", name[] = "obshop", none[] = "";
    *option = (obv_store_option){"root", root};
    return (obv_agent_config){
        .state_dir = root,
        .tls = {.ca = none, .cert = password, .key = none},
        .observer =
            {.ip = ip, .rpc_port = 1, .sql_port = 1, .store_dir = store, .user = user, .password_file = password},
        .cluster = {.name = name, .id = 7},
        .repository = {.plugin = plugin, .options = option, .option_count = 1, .uuid = none}};
}

static const obv_finding *of(const obv_findings *l, const char *check)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i].check, check) == 0)
            return &l->v[i];
    print_message("no finding %s\n", check);
    return NULL;
}

static obv_code code_of(const obv_findings *l, const char *check)
{
    const obv_finding *f = of(l, check);
    return f ? f->code : OBV_E_INTERNAL;
}

static void make_repository(const obv_agent_config *c, char uuid[37])
{
    const obv_store_config sc = obv_agent_store_config(c);
    const obv_repository want = {.profile = "native", .cluster_name = "obshop", .cluster_id = 7};
    obv_repository made;
    obv_store *s = NULL;
    obv_err err = {0};
    assert_int_equal(obv_store_open(&sc, &s, &err), OBV_OK);
    assert_int_equal(obv_repository_init(s, &want, NULL, &made, &err), OBV_OK);
    (void)snprintf(uuid, 37, "%s", made.uuid);
    obv_store_close(s);
}

static void the_repository_is_judged_by_its_identity(void **state)
{
    (void)state;
    obv_store_option o;
    obv_agent_config c = config(&o);
    obv_check_run r = {.cfg = &c, .where = "h"};
    char uuid[37];
    obv_check_repository(&r); /* none yet, and none was ever seen */
    assert_int_equal(of(&r.found, "repository.identity")->level, OBV_LEVEL_WARN);
    assert_int_equal(of(&r.found, "repository.storage")->level, OBV_LEVEL_OK);
    assert_true(r.free_known && r.free_bytes > 0);
    obv_findings_fini(&r.found);
    (void)strcpy(r.pinned, "11111111-1111-4111-8111-111111111111");
    obv_check_repository(&r); /* the one that was seen is gone */
    assert_int_equal(code_of(&r.found, "repository.identity"), OBV_E_STALE);
    obv_findings_fini(&r.found);
    make_repository(&c, uuid);
    obv_check_repository(&r); /* another one is there */
    assert_int_equal(code_of(&r.found, "repository.identity"), OBV_E_STALE);
    assert_non_null(strstr(of(&r.found, "repository.identity")->found, uuid));
    obv_findings_fini(&r.found);
    (void)strcpy(r.pinned, uuid);
    obv_check_repository(&r);
    assert_int_equal(of(&r.found, "repository.identity")->level, OBV_LEVEL_OK);
    assert_string_equal(r.uuid, uuid);
    assert_int_equal(obv_findings_worst(&r.found), OBV_OK);
    obv_findings_fini(&r.found);
}

static void a_destination_that_is_away_is_a_finding_of_the_destination(void **state)
{
    (void)state;
    obv_store_option o;
    obv_agent_config c = config(&o);
    obv_check_run r = {.cfg = &c, .where = "h"};
    char gone[320];
    (void)snprintf(gone, sizeof gone, "%s/not-there", root);
    o.value = gone;
    obv_check_repository(&r);
    const obv_finding *f = of(&r.found, "repository.open");
    assert_non_null(f);
    assert_int_equal(f->level, OBV_LEVEL_FAIL);
    assert_int_equal(obv_code_describe(obv_findings_worst(&r.found))->exit_code, 8);
    assert_false(r.free_known);
    obv_findings_fini(&r.found);
}

static void an_observer_that_is_away_is_found_part_by_part(void **state)
{
    obv_store_option o;
    obv_agent_config c = config(&o);
    obv_check_run r = {.cfg = &c, .where = "h"};
    char dir[400];
    obv_check_host(&r);
    assert_int_equal(of(&r.found, "observer.sql")->level, OBV_LEVEL_FAIL);
    assert_int_equal(of(&r.found, "observer.rpc")->level, OBV_LEVEL_FAIL);
    assert_int_equal(of(&r.found, "observer.clog")->level, OBV_LEVEL_FAIL);
    assert_int_equal(of(&r.found, "observer.ilog")->level, OBV_LEVEL_FAIL);
    assert_int_equal(of(&r.found, "agent.certificate")->level, OBV_LEVEL_FAIL);
    assert_null(strstr(of(&r.found, "observer.sql")->found, "secret"));
    obv_findings_fini(&r.found);
    (void)state;
    for (int i = 0; i < 2; i++) { /* the folders appear, with a log file in each */
        obv_err err = {0};
        (void)snprintf(dir, sizeof dir, "%s/%s", store, i ? "ilog" : "clog");
        assert_int_equal(obv_file_mkdirs(dir, 0700, &err), OBV_OK);
        (void)snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/12");
        assert_int_equal(obv_file_write_atomic(dir, obv_span_of("x", 1), 0600, &err), OBV_OK);
    }
    obv_check_host(&r);
    assert_int_equal(of(&r.found, "observer.clog")->level, OBV_LEVEL_OK);
    assert_int_equal(of(&r.found, "observer.ilog")->level, OBV_LEVEL_OK);
    assert_int_equal(of(&r.found, "observer.files")->level, OBV_LEVEL_WARN); /* this user may write there */
    obv_findings_fini(&r.found);
}

static void a_run_past_its_deadline_begins_nothing_more(void **state)
{
    (void)state;
    obv_store_option o;
    obv_agent_config c = config(&o);
    obv_cancel *over = obv_cancel_new(NULL);
    obv_cancel_request(over);
    obv_check_run r = {.cfg = &c, .where = "h", .cancel = over};
    obv_check_host(&r);
    assert_int_equal(r.found.n, 0);
    obv_cancel_free(over);
}

static void the_thread_answers_the_question_that_is_asked(void **state)
{
    (void)state;
    obv_store_option o;
    obv_agent_config c = config(&o);
    obv_journal *journal = NULL;
    obv_checker *k = NULL;
    obv_check_report rep = {0};
    obv_err err = {0};
    assert_int_equal(obv_journal_open(journal_path, &journal, &err), OBV_OK);
    assert_int_equal(obv_checker_start(&c, journal, &k, &err), OBV_OK);
    obv_checker_report(k, &rep);
    assert_int_equal(rep.id, 0);
    for (uint64_t id = 41; id < 43; id++) {
        obv_checker_want(k, id, true, 5000);
        const int64_t end = obv_mono_ns() + 10 * OBV_NS_PER_S;
        do {
            obv_check_report_fini(&rep);
            (void)!obv_cancel_sleep(NULL, 10, &err);
            obv_checker_want(k, id, true, 5000); /* each answer repeats it */
            obv_checker_report(k, &rep);
            assert_int_equal(rep.id, id);
        } while (!rep.done && obv_mono_ns() < end);
        assert_true(rep.done);
        assert_non_null(of(&rep.found, "repository.storage"));
        assert_null(of(&rep.found, "observer.sql")); /* only the repository was asked for */
        assert_true(rep.free_known);
    }
    obv_check_report_fini(&rep);
    obv_checker_want(k, 0, false, 0);
    obv_checker_report(k, &rep);
    assert_int_equal(rep.id, 0);
    assert_int_equal(rep.found.n, 0);
    obv_checker_end(k);
    obv_journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_repository_is_judged_by_its_identity, set_up, temp_dir_drop),
        cmocka_unit_test_setup_teardown(a_destination_that_is_away_is_a_finding_of_the_destination, set_up,
                                        temp_dir_drop),
        cmocka_unit_test_setup_teardown(an_observer_that_is_away_is_found_part_by_part, set_up, temp_dir_drop),
        cmocka_unit_test_setup_teardown(a_run_past_its_deadline_begins_nothing_more, set_up, temp_dir_drop),
        cmocka_unit_test_setup_teardown(the_thread_answers_the_question_that_is_asked, set_up, temp_dir_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
