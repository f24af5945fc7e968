/* The agent's conversation with a coordinator of ours: tasks, chunks, acknowledgements, a lost lease, a lost mount. */
#include "base/clock.h"
#include "base/sha256.h"
#include "host/repository.h"
#include "job/backup.h"
#include "job/object.h"
#include "proto/message.h"
#include "sync.h"
#include "test.h"
#include "wire.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAKE_CERTS[] =
    "set -e; cd %s; q='-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1';"
    "openssl req -x509 $q -days 2 -subj /CN=ca -keyout ca.key -out ca.crt 2>/dev/null;"
    "for n in coordinator agent:127.0.0.2:2882; do f=${n%%%%:*};"
    " openssl req $q -subj \"/CN=$n\" -keyout $f.key -out $f.csr 2>/dev/null;"
    " printf 'subjectAltName=IP:127.0.0.1' > $f.ext;"
    " openssl x509 -req -in $f.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $f.ext -out $f.crt"
    " 2>/dev/null; done";

static const char PATH_SMALL[] = "obshop/7/incarnation_1/tenant_info";
static const char PATH_BIG[] = "obshop/7/incarnation_1/tenant_name_info";
static const char PATH_FOREIGN[] = "other/7/incarnation_1/tenant_info";
enum { BIG = 600000 };

/* ---- the coordinator: one file task at a time, until it is reported */
static struct {
    pthread_mutex_t mu;
    char uid[32]; /* of the task it wants done, "" none */
    bool init;    /* the task is an InitRepository */
    const char *path;
    uint8_t *content;
    size_t size;
    bool away; /* answers with an error */
    int calls;
    uint64_t session, last_seq;
    char uuid[40];
    int repository_code;
    int state; /* as reported */
    int code;
    bool forget;
    bool held; /* the agent reported the task in the last call */
} co = {.mu = PTHREAD_MUTEX_INITIALIZER};

static void look_at(const Obvault__V1__SyncRequest *q)
{
    co.calls++;
    assert_string_equal(q->agent_id, "127.0.0.2:2882");
    assert_true(co.session != q->session || q->seq > co.last_seq);
    co.session = q->session;
    co.last_seq = q->seq;
    (void)snprintf(co.uuid, sizeof co.uuid, "%s", q->repository_uuid);
    co.repository_code = q->repository_error ? q->repository_error->code : 0;
    co.held = false;
    for (size_t i = 0; i < q->n_tasks; i++) {
        if (strcmp(q->tasks[i]->uid, co.uid) != 0)
            continue;
        co.held = true;
        co.state = (int)q->tasks[i]->state;
        co.code = q->tasks[i]->error ? q->tasks[i]->error->code : 0;
    }
}

static obv_code on_sync(void *ctx, const obv_rpc_peer *peer, obv_span in, obv_buf *resp, obv_err *err)
{
    (void)ctx, (void)peer;
    ProtobufCMessage *m = NULL;
    OBV_TRY(obv_message_unpack(&obvault__v1__sync_request__descriptor, in, &m, err));
    const Obvault__V1__SyncRequest *q = (const Obvault__V1__SyncRequest *)m;
    (void)pthread_mutex_lock(&co.mu);
    Obvault__V1__SyncResponse a = OBVAULT__V1__SYNC_RESPONSE__INIT;
    Obvault__V1__Task task = OBVAULT__V1__TASK__INIT, *tasks[] = {&task};
    Obvault__V1__PutFiles files = OBVAULT__V1__PUT_FILES__INIT;
    Obvault__V1__PutFile file = OBVAULT__V1__PUT_FILE__INIT, *list[] = {&file};
    Obvault__V1__InitRepository init = OBVAULT__V1__INIT_REPOSITORY__INIT;
    Obvault__V1__Chunk chunk = OBVAULT__V1__CHUNK__INIT;
    char path[128], native[] = "native", cluster[] = "obshop";
    char *forget[] = {co.uid};
    uint8_t sha[OBV_SHA256_LEN];
    look_at(q);
    a.next_sync_ms = 100;
    a.lease_ms = 1000;
    if (co.uid[0] && co.forget && co.held) {
        a.forget_tasks = forget;
        a.n_forget_tasks = 1;
    } else if (co.uid[0] && !co.held && !co.forget) {
        task.uid = co.uid;
        task.epoch = 1;
        if (co.init) {
            task.body_case = OBVAULT__V1__TASK__BODY_INIT_REPOSITORY;
            task.init_repository = &init;
            init.profile = native;
            init.cluster_name = cluster;
            init.cluster_id = 7;
        } else {
            task.body_case = OBVAULT__V1__TASK__BODY_PUT_FILES;
            task.put_files = &files;
            files.files = list;
            files.n_files = 1;
            (void)snprintf(path, sizeof path, "%s", co.path);
            file.path = path;
            file.size = co.size;
            (void)!obv_sha256_of(obv_span_of(co.content, co.size), sha, NULL);
            file.sha256 = (ProtobufCBinaryData){sizeof sha, sha};
            if (co.size < OBV_CHUNK_MAX)
                file.content = (ProtobufCBinaryData){co.size, co.content};
        }
        a.tasks = tasks;
        a.n_tasks = 1;
    }
    if (q->chunk_wanted && q->chunk_wanted->offset < co.size) {
        const size_t left = co.size - q->chunk_wanted->offset;
        chunk.task_uid = q->chunk_wanted->task_uid;
        chunk.file_index = q->chunk_wanted->file_index;
        chunk.offset = q->chunk_wanted->offset;
        chunk.data =
            (ProtobufCBinaryData){left < OBV_CHUNK_MAX ? left : OBV_CHUNK_MAX, co.content + q->chunk_wanted->offset};
        a.chunk = &chunk;
    }
    const obv_code code = co.away ? obv_fail(err, OBV_E_UNAVAILABLE, 0, "away") : obv_message_pack(&a.base, resp, err);
    (void)pthread_mutex_unlock(&co.mu);
    protobuf_c_message_free_unpacked(m, NULL);
    return code;
}

static const obv_rpc_route ROUTES[] = {{"/obvault.v1.AgentService/Sync", on_sync, NULL, NULL}};

/* ---- one agent */
struct site {
    char dir[32];
    char paths[6][80];
    char coordinator[64];
    obv_store_option root;
    obv_agent_config cfg;
    obv_rpc_server *server;
    obv_journal *journal;
    obv_pool *pool;
    obv_destination *destination;
    obv_sync *sync;
};
static struct site site;

static void agent_start(void)
{
    obv_err err = {0};
    assert_int_equal(obv_journal_open(site.paths[5], &site.journal, &err), OBV_OK);
    assert_int_equal(obv_pool_new(obv_backup_buffer_bytes(), 4, &site.pool, &err), OBV_OK);
    assert_int_equal(obv_destination_start(&site.cfg, site.journal, &site.destination, &err), OBV_OK);
    const obv_sync_config sc = {
        .cfg = &site.cfg, .journal = site.journal, .destination = site.destination, .pool = site.pool};
    assert_int_equal(obv_sync_start(&sc, &site.sync, &err), OBV_OK);
}

static void agent_stop(void)
{
    obv_sync_end(site.sync);
    obv_destination_end(site.destination);
    obv_pool_free(site.pool);
    obv_journal_close(site.journal);
}

static int up(void **state)
{
    (void)state;
    char script[2048];
    obv_err err = {0};
    (void)strcpy(site.dir, "/tmp/obv-sync-XXXXXX");
    if (!mkdtemp(site.dir))
        return -1;
    (void)snprintf(script, sizeof script, MAKE_CERTS, site.dir);
    if (system(script) != 0) /* before the library starts its threads */
        return -1;
    static const char *const NAMES[] = {"ca.crt",          "agent.crt",       "agent.key",
                                        "coordinator.crt", "coordinator.key", "j.db"};
    for (size_t i = 0; i < 6; i++)
        (void)snprintf(site.paths[i], sizeof site.paths[i], "%s/%s", site.dir, NAMES[i]);
    const obv_rpc_tls tls = {site.paths[0], site.paths[3], site.paths[4]};
    obv_rpc_listen listen = {.address = "127.0.0.1:0", .tls = &tls};
    if (obv_rpc_server_start(&listen, 1, ROUTES, 1, 2, &site.server, &err) != OBV_OK)
        return -1;
    (void)snprintf(site.coordinator, sizeof site.coordinator, "127.0.0.1:%d", listen.port);
    static char root[64], ip[] = "127.0.0.2", name[] = "obshop", plugin[] = FILE_PLUGIN, none[] = "";
    (void)snprintf(root, sizeof root, "%s/backup", site.dir);
    site.root = (obv_store_option){"root", root};
    site.cfg = (obv_agent_config){.coordinator = site.coordinator,
                                  .tls = {site.paths[0], site.paths[1], site.paths[2]},
                                  .workers = 1,
                                  .batches = 1,
                                  .observer = {.ip = ip, .rpc_port = 2882, .sql_port = 2881},
                                  .cluster = {.name = name, .id = 7},
                                  .repository = {plugin, &site.root, 1, none}};
    agent_start();
    return 0;
}

static int down(void **state)
{
    (void)state;
    char cmd[64];
    agent_stop();
    obv_rpc_server_stop(site.server, 100);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", site.dir);
    return system(cmd);
}

/* ---- what tests wait for */
static bool until(bool (*probe)(void))
{
    for (int i = 0; i < 2000; i++) {
        (void)pthread_mutex_lock(&co.mu);
        const bool done = probe();
        (void)pthread_mutex_unlock(&co.mu);
        if (done)
            return true;
        (void)usleep(10000);
    }
    return false;
}
static bool says_no_storage(void) { return co.repository_code == OBV_E_NOT_FOUND; }
static bool says_not_initialised(void) { return co.repository_code == OBV_E_NOT_INITIALISED; }
static bool has_repository(void) { return co.uuid[0] != '\0'; }
static bool has_no_repository(void) { return co.uuid[0] == '\0'; }
static bool says_other_repository(void) { return co.repository_code == OBV_E_CONFIG; }
static bool ended(void) { return co.held && co.state != OBVAULT__V1__TASK_STATE__TASK_RUNNING; }
static bool not_held(void) { return !co.held; }

static void want(const char *uid, const char *path, uint8_t *content, size_t size)
{
    (void)pthread_mutex_lock(&co.mu);
    (void)snprintf(co.uid, sizeof co.uid, "%s", uid);
    co.init = path == NULL;
    co.path = path;
    co.content = content;
    co.size = size;
    co.held = co.forget = false;
    (void)pthread_mutex_unlock(&co.mu);
}

/* Gives the task and waits for its end. */
static int run_task(const char *uid, const char *path, uint8_t *content, size_t size)
{
    want(uid, path, content, size);
    assert_true(until(ended));
    (void)pthread_mutex_lock(&co.mu);
    const int state = co.state;
    co.forget = true;
    (void)pthread_mutex_unlock(&co.mu);
    assert_true(until(not_held)); /* forgotten tasks are not reported again */
    return state;
}

static bool stored(const char *key, const uint8_t *content, size_t size)
{
    obv_stored_object o = {.size = size};
    obv_err err = {0};
    (void)strcpy(o.path, key);
    assert_int_equal(obv_sha256_of(obv_span_of(content, size), o.sha256, &err), OBV_OK);
    return obv_object_verify(obv_destination_store(site.destination), &o, NULL, &err) == OBV_OK;
}

static uint8_t small[] = "tenant info", big[BIG];

static void an_agent_starts_without_its_storage_and_says_so(void **state)
{
    (void)state;
    assert_true(until(says_no_storage));
    assert_int_equal(mkdir(site.root.value, 0755), 0);
    assert_true(until(says_not_initialised));
}

static void the_coordinator_makes_the_repository_through_it(void **state)
{
    (void)state;
    assert_int_equal(run_task("init-1", NULL, NULL, 0), OBVAULT__V1__TASK_STATE__TASK_DONE);
    assert_true(until(has_repository));
}

static void files_come_inline_or_in_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)(i * 31 >> 3);
    assert_int_equal(run_task("put-1", PATH_SMALL, small, sizeof small), OBVAULT__V1__TASK_STATE__TASK_DONE);
    assert_true(stored(PATH_SMALL, small, sizeof small));
    assert_int_equal(run_task("put-2", PATH_BIG, big, BIG), OBVAULT__V1__TASK_STATE__TASK_DONE);
    assert_true(stored(PATH_BIG, big, BIG));
    small[0] = 'T'; /* info files are replaced */
    assert_int_equal(run_task("put-3", PATH_SMALL, small, sizeof small), OBVAULT__V1__TASK_STATE__TASK_DONE);
    assert_true(stored(PATH_SMALL, small, sizeof small));
}

static void a_file_outside_of_the_cluster_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_task("put-4", PATH_FOREIGN, small, sizeof small), OBVAULT__V1__TASK_STATE__TASK_FAILED);
    assert_int_equal(co.code, OBV_E_INVAL);
}

static void a_restarted_agent_knows_its_repository_and_begins_a_session(void **state)
{
    (void)state;
    const uint64_t before = co.session;
    agent_stop();
    agent_start();
    (void)pthread_mutex_lock(&co.mu);
    co.uuid[0] = '\0';
    (void)pthread_mutex_unlock(&co.mu);
    assert_true(until(has_repository));
    assert_true(co.session != before);
}

static void a_lost_lease_lets_tasks_go_and_a_found_one_takes_them_again(void **state)
{
    (void)state;
    (void)pthread_mutex_lock(&co.mu);
    co.size = 0;
    (void)pthread_mutex_unlock(&co.mu);
    /* a file of which no chunk ever comes: the task runs until it is let go */
    (void)pthread_mutex_lock(&co.mu);
    (void)strcpy(co.uid, "put-5");
    co.path = PATH_BIG;
    co.content = big;
    co.size = BIG;
    co.held = co.forget = co.init = false;
    (void)pthread_mutex_unlock(&co.mu);
    (void)pthread_mutex_lock(&co.mu);
    co.away = true;
    (void)pthread_mutex_unlock(&co.mu);
    (void)usleep(2500000); /* longer than the lease of 1 s */
    (void)pthread_mutex_lock(&co.mu);
    co.away = false;
    (void)pthread_mutex_unlock(&co.mu);
    assert_true(until(ended));
    assert_int_equal(co.state, OBVAULT__V1__TASK_STATE__TASK_DONE);
    (void)pthread_mutex_lock(&co.mu);
    co.forget = true;
    (void)pthread_mutex_unlock(&co.mu);
    assert_true(until(not_held));
}

static void another_repository_in_its_place_is_never_written(void **state)
{
    (void)state;
    char moved[96];
    (void)snprintf(moved, sizeof moved, "%s.away", site.root.value);
    assert_int_equal(rename(site.root.value, moved), 0); /* as if it was unmounted */
    assert_int_equal(mkdir(site.root.value, 0755), 0);
    assert_true(until(has_no_repository));
    assert_int_equal(run_task("put-6", PATH_SMALL, big, 10), OBVAULT__V1__TASK_STATE__TASK_FAILED);
    /* somebody initialises what is there: still not ours */
    const obv_store_config sc = {.plugin_path = FILE_PLUGIN, .options = &site.root, .option_count = 1};
    obv_repository wanted = {.profile = "native", .cluster_name = "obshop", .cluster_id = 7}, made;
    obv_store *s = NULL;
    obv_err err = {0};
    assert_int_equal(obv_store_open(&sc, &s, &err), OBV_OK);
    assert_int_equal(obv_repository_init(s, &wanted, NULL, &made, &err), OBV_OK);
    obv_store_close(s);
    assert_true(until(says_other_repository));
    assert_int_equal(run_task("put-7", PATH_SMALL, big, 10), OBVAULT__V1__TASK_STATE__TASK_FAILED);
    /* the right one comes back */
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s && mv %s %s", site.root.value, moved, site.root.value);
    assert_int_equal(system(cmd), 0);
    assert_true(until(has_repository));
    assert_int_equal(run_task("put-8", PATH_SMALL, small, sizeof small), OBVAULT__V1__TASK_STATE__TASK_DONE);
    assert_true(stored(PATH_SMALL, small, sizeof small));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_starts_without_its_storage_and_says_so),
        cmocka_unit_test(the_coordinator_makes_the_repository_through_it),
        cmocka_unit_test(files_come_inline_or_in_chunks),
        cmocka_unit_test(a_file_outside_of_the_cluster_is_refused),
        cmocka_unit_test(a_restarted_agent_knows_its_repository_and_begins_a_session),
        cmocka_unit_test(a_lost_lease_lets_tasks_go_and_a_found_one_takes_them_again),
        cmocka_unit_test(another_repository_in_its_place_is_never_written),
    };
    return cmocka_run_group_tests_name("agent.sync", tests, up, down);
}
