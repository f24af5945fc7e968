#include "obvault/v1/agent.pb-c.h"
#include "proto/message.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* One authority, one certificate a role, and a stranger whose authority nobody knows. */
static const char MAKE_CERTS[] =
    "set -e; cd %s; q='-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1';"
    "ca() { openssl req -x509 $q -days 2 -subj \"/CN=$1\" -keyout $1.key -out $1.crt 2>/dev/null; };"
    "leaf() { openssl req $q -subj \"/CN=$2\" -keyout $1.key -out $1.csr 2>/dev/null;"
    " printf 'subjectAltName=IP:127.0.0.1' > $1.ext;"
    " openssl x509 -req -in $1.csr -CA $3.crt -CAkey $3.key -CAcreateserial -days 2 -extfile $1.ext -out $1.crt"
    " 2>/dev/null; };"
    "ca ca; ca other; leaf coordinator coordinator ca; leaf agent agent:127.0.0.2:2882 ca;"
    "leaf operator operator:alice ca; leaf plain somebody ca; leaf stranger operator:mallory other";

static char dir[] = "/tmp/obv-rpc-XXXXXX";

typedef struct files {
    char ca[64], cert[64], key[64];
    obv_rpc_tls tls;
} files;

static const obv_rpc_tls *tls_of(const char *name, files *f)
{
    (void)snprintf(f->ca, sizeof f->ca, "%s/ca.crt", dir);
    (void)snprintf(f->cert, sizeof f->cert, "%s/%s.crt", dir, name);
    (void)snprintf(f->key, sizeof f->key, "%s/%s.key", dir, name);
    f->tls = (obv_rpc_tls){f->ca, f->cert, f->key};
    return &f->tls;
}

static obv_code echo(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err)
{
    (void)ctx, (void)peer, (void)err;
    obv_buf_append(resp, req.p, req.len);
    return OBV_OK;
}

static obv_code who(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err)
{
    (void)ctx, (void)req, (void)err;
    char text[160];
    const int n = snprintf(text, sizeof text, "%d %s", (int)peer->role, peer->name);
    obv_buf_append(resp, text, (size_t)n);
    return OBV_OK;
}

static obv_code failing(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err)
{
    (void)ctx, (void)peer, (void)req, (void)resp;
    (void)obv_fail(err, OBV_E_LOG_GAP, -6312, "log 7 is gone \xe2\x82\xac");
    return obv_hint(err, "start a new round");
}

static obv_code count(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_rpc_call *call, const obv_cancel *stop,
                      obv_err *err)
{
    (void)ctx, (void)peer, (void)stop;
    uint32_t n = 0;
    memcpy(&n, req.p, sizeof n);
    for (uint32_t i = 0; i < n; i++)
        OBV_TRY(obv_rpc_send(call, obv_span_of(&i, sizeof i), err));
    return n == 3 ? obv_fail(err, OBV_E_CONFLICT, 0, "three") : OBV_OK;
}

static obv_code stall(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_rpc_call *call, const obv_cancel *stop,
                      obv_err *err)
{
    (void)ctx, (void)peer, (void)req, (void)call;
    for (;;)
        OBV_TRY(obv_cancel_sleep(stop, 1000, err));
}

static const obv_rpc_route ROUTES[] = {
    {"/t.S/Echo", echo, NULL, NULL},    {"/t.S/Who", who, NULL, NULL},
    {"/t.S/Fail", failing, NULL, NULL}, {"/t.S/Count", NULL, count, NULL},
    {"/t.S/Stall", NULL, stall, NULL},  {"/obvault.v1.AgentService/Sync", echo, NULL, NULL}};

static obv_rpc_server *server;
static char target[64], unix_target[80];

static int up(void **state)
{
    (void)state;
    char script[2048];
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(script, sizeof script, MAKE_CERTS, dir);
    if (system(script) != 0) /* before the library starts its threads */
        return -1;
    (void)snprintf(unix_target, sizeof unix_target, "unix:%s/sock", dir);
    files f;
    obv_rpc_listen listen[] = {{.address = "127.0.0.1:0", .tls = tls_of("coordinator", &f)}, {.address = unix_target}};
    obv_err err = {0};
    if (obv_rpc_server_start(listen, 2, ROUTES, sizeof ROUTES / sizeof *ROUTES, 4, &server, &err) != OBV_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    (void)snprintf(target, sizeof target, "127.0.0.1:%d", listen[0].port);
    return 0;
}

static int down(void **state)
{
    (void)state;
    obv_rpc_server_stop(server, 1000);
    char script[64];
    (void)snprintf(script, sizeof script, "rm -r %s", dir);
    return system(script);
}

static obv_rpc_channel *as(const char *name)
{
    files f;
    obv_err err = {0};
    obv_rpc_channel *c = NULL;
    assert_int_equal(obv_rpc_channel_open(target, tls_of(name, &f), &c, &err), OBV_OK);
    return c;
}

static obv_code call(obv_rpc_channel *c, const char *path, const char *text, char *out, size_t cap, obv_err *err)
{
    obv_buf b = obv_buf_fixed(out, cap - 1);
    const obv_code r = obv_rpc_unary(c, path, obv_span_of(text, strlen(text)), 5000, &b, err);
    out[b.len] = 0;
    return r;
}

static void a_call_comes_back(void **state)
{
    (void)state;
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("operator");
    for (int i = 0; i < 50; i++) {
        char out[64];
        obv_err err = {0};
        assert_int_equal(call(c, "/t.S/Echo", "hello", out, sizeof out, &err), OBV_OK);
        assert_string_equal(out, "hello");
    }
}

static void the_certificate_says_who_calls(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        {"agent", "1 127.0.0.2:2882"}, {"operator", "2 alice"}, {"coordinator", "3 "}, {"plain", "0 "}};
    char out[64];
    obv_err err = {0};
    for (size_t i = 0; i < 4; i++) {
        OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as(CASES[i][0]);
        assert_int_equal(call(c, "/t.S/Who", "", out, sizeof out, &err), OBV_OK);
        assert_string_equal(out, CASES[i][1]);
    }
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *u = NULL;
    assert_int_equal(obv_rpc_channel_open(unix_target, NULL, &u, &err), OBV_OK);
    assert_int_equal(call(u, "/t.S/Who", "", out, sizeof out, &err), OBV_OK);
    assert_string_equal(out, "2 local");
}

static void strangers_and_plaintext_stay_outside(void **state)
{
    (void)state;
    char out[64];
    obv_err err = {0};
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("stranger");
    assert_int_equal(call(c, "/t.S/Who", "", out, sizeof out, &err), OBV_E_UNAVAILABLE);
    obv_rpc_channel *none = NULL;
    assert_int_equal(obv_rpc_channel_open(target, NULL, &none, &err), OBV_E_CONFIG);
    files f;
    assert_int_equal(obv_rpc_channel_open(target, tls_of("missing", &f), &none, &err), OBV_E_CONFIG);
}

static void a_server_that_is_no_coordinator_is_refused(void **state)
{
    (void)state;
    files f;
    obv_err err = {0};
    obv_rpc_server *s = NULL;
    obv_rpc_listen l = {.address = "127.0.0.1:0", .tls = tls_of("agent", &f)};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, 1, 2, &s, &err), OBV_OK);
    char at[64], out[64];
    (void)snprintf(at, sizeof at, "127.0.0.1:%d", l.port);
    {
        OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = NULL;
        assert_int_equal(obv_rpc_channel_open(at, tls_of("operator", &f), &c, &err), OBV_OK);
        assert_int_equal(call(c, "/t.S/Echo", "x", out, sizeof out, &err), OBV_E_UNAVAILABLE);
    }
    obv_rpc_server_stop(s, 100);
}

static void an_error_travels_whole(void **state)
{
    (void)state;
    char out[64];
    obv_err err = {0};
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("operator");
    assert_int_equal(call(c, "/t.S/Fail", "", out, sizeof out, &err), OBV_E_LOG_GAP);
    assert_int_equal(err.code, OBV_E_LOG_GAP);
    assert_int_equal(err.sys, -6312);
    assert_string_equal(err.msg, "log 7 is gone \xe2\x82\xac");
    assert_string_equal(err.hint, "start a new round");
    assert_int_equal(call(c, "/t.S/Nope", "", out, sizeof out, &err), OBV_E_UNSUPPORTED);
}

static void a_stream_ends_well_or_with_its_error(void **state)
{
    (void)state;
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("operator");
    static const uint32_t LENGTHS[] = {0, 3, 500};
    for (size_t i = 0; i < 3; i++) {
        obv_err err = {0};
        OBV_AUTO(obv_rpc_call_drop) obv_rpc_call *s = NULL;
        assert_int_equal(obv_rpc_stream(c, "/t.S/Count", obv_span_of(&LENGTHS[i], 4), 5000, &s, &err), OBV_OK);
        for (uint32_t n = 0;; n++) {
            uint32_t v = 0;
            obv_buf b = obv_buf_fixed(&v, sizeof v);
            const obv_code r = obv_rpc_recv(s, &b, &err);
            if (r == OBV_OK) {
                assert_int_equal(v, n);
                continue;
            }
            assert_int_equal(r, LENGTHS[i] == 3 ? OBV_E_CONFLICT : OBV_E_NOT_FOUND);
            assert_int_equal(n, LENGTHS[i]);
            break;
        }
    }
    const uint32_t many = 1000000;
    uint8_t first[8];
    obv_buf b = obv_buf_fixed(first, sizeof first);
    obv_err err = {0};
    obv_rpc_call *s = NULL;
    assert_int_equal(obv_rpc_stream(c, "/t.S/Count", obv_span_of(&many, 4), 5000, &s, &err), OBV_OK);
    assert_int_equal(obv_rpc_recv(s, &b, &err), OBV_OK);
    obv_rpc_call_end(s); /* given up half-way */
}

static void deadlines_and_bounds_hold(void **state)
{
    (void)state;
    obv_err err = {0};
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("operator");
    OBV_AUTO(obv_buf_fini) obv_buf out = obv_buf_heap(OBV_RPC_MESSAGE_MAX);
    assert_int_equal(obv_rpc_unary(c, "/t.S/Stall", obv_span_of("x", 1), 100, &out, &err), OBV_E_TIMEOUT);
    void *big = calloc(1, OBV_RPC_MESSAGE_MAX + 1);
    assert_non_null(big);
    assert_int_equal(obv_rpc_unary(c, "/t.S/Echo", obv_span_of(big, OBV_RPC_MESSAGE_MAX + 1), 5000, &out, &err),
                     OBV_E_LIMIT);
    assert_int_equal(obv_rpc_unary(c, "/t.S/Echo", obv_span_of(big, OBV_RPC_MESSAGE_MAX - 64), 5000, &out, &err),
                     OBV_OK);
    free(big);
    files f;
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *nobody = NULL;
    assert_int_equal(obv_rpc_channel_open("127.0.0.1:1", tls_of("operator", &f), &nobody, &err), OBV_OK);
    out.len = 0;
    assert_int_equal(obv_rpc_unary(nobody, "/t.S/Echo", obv_span_of("x", 1), 2000, &out, &err), OBV_E_UNAVAILABLE);
}

static void messages_pass_by_their_service(void **state)
{
    (void)state;
    obv_err err = {0};
    char path[128];
    assert_int_equal(obv_message_path_of(&obvault__v1__agent_service__descriptor, "Sync", path, sizeof path, &err),
                     OBV_OK);
    assert_string_equal(path, "/obvault.v1.AgentService/Sync");
    assert_int_equal(obv_message_path_of(&obvault__v1__agent_service__descriptor, "No", path, sizeof path, &err),
                     OBV_E_INTERNAL);
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("agent");
    OBV_AUTO(obv_message_drop) ProtobufCMessage *resp = NULL;
    Obvault__V1__SyncRequest req = OBVAULT__V1__SYNC_REQUEST__INIT;
    req.protocol = 77; /* field 1 of the reply is next_sync_ms */
    assert_int_equal(obv_message_call(c, &obvault__v1__agent_service__descriptor, "Sync", &req.base, 5000, &resp, &err),
                     OBV_OK);
    assert_int_equal(((Obvault__V1__SyncResponse *)resp)->next_sync_ms, 77);
    ProtobufCMessage *none = NULL;
    assert_int_equal(obv_message_unpack(&obvault__v1__sync_request__descriptor, obv_span_of("\xff", 1), &none, &err),
                     OBV_E_INVAL);
    assert_null(none);
}

static void *hammer(void *arg)
{
    for (int i = 0; i < 100; i++) {
        char out[16];
        if (call(arg, "/t.S/Echo", "hi", out, sizeof out, NULL) != OBV_OK)
            return arg;
    }
    return NULL;
}

static void many_threads_share_a_channel(void **state)
{
    (void)state;
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = as("operator");
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, c), 0);
    for (int i = 0; i < 8; i++) {
        void *r = c;
        (void)pthread_join(t[i], &r);
        assert_null(r);
    }
}

static void a_stop_ends_open_streams(void **state)
{
    (void)state;
    files f;
    obv_err err = {0};
    obv_rpc_server *s = NULL;
    obv_rpc_listen l = {.address = "127.0.0.1:0", .tls = tls_of("coordinator", &f)};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, sizeof ROUTES / sizeof *ROUTES, 2, &s, &err), OBV_OK);
    char at[64];
    (void)snprintf(at, sizeof at, "127.0.0.1:%d", l.port);
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = NULL;
    assert_int_equal(obv_rpc_channel_open(at, tls_of("operator", &f), &c, &err), OBV_OK);
    obv_rpc_call *one = NULL, *two = NULL;
    assert_int_equal(obv_rpc_stream(c, "/t.S/Stall", obv_span_of("x", 1), 20000, &one, &err), OBV_OK);
    uint8_t byte[8];
    obv_buf b = obv_buf_fixed(byte, sizeof byte);
    /* half of the threads serve streams: the second one is turned away at once, once the first one runs */
    obv_code r = OBV_E_CANCELLED;
    for (int i = 0; i < 50 && r != OBV_E_LIMIT; i++) {
        assert_int_equal(obv_rpc_stream(c, "/t.S/Stall", obv_span_of("x", 1), 200, &two, &err), OBV_OK);
        r = obv_rpc_recv(two, &b, &err);
        obv_rpc_call_end(two);
    }
    assert_int_equal(r, OBV_E_LIMIT);
    obv_rpc_server_stop(s, 5000);
    assert_int_equal(obv_rpc_recv(one, &b, &err), OBV_E_CANCELLED);
    obv_rpc_call_end(one);
}

static void a_caller_that_gives_up_quickly_gets_its_connection_back(void **state)
{
    (void)state;
    files f;
    obv_err err = {0};
    obv_rpc_server *s = NULL;
    obv_rpc_listen l = {.address = "127.0.0.1:0", .tls = tls_of("coordinator", &f)};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, 1, 2, &s, &err), OBV_OK);
    char at[64], out[64];
    (void)snprintf(at, sizeof at, "127.0.0.1:%d", l.port);
    OBV_AUTO(obv_rpc_channel_drop) obv_rpc_channel *c = NULL;
    assert_int_equal(obv_rpc_channel_open(at, tls_of("operator", &f), &c, &err), OBV_OK);
    assert_int_equal(call(c, "/t.S/Echo", "x", out, sizeof out, &err), OBV_OK);
    obv_rpc_server_stop(s, 0);
    assert_int_equal(call(c, "/t.S/Echo", "x", out, sizeof out, &err), OBV_E_UNAVAILABLE);
    l = (obv_rpc_listen){.address = at, .tls = tls_of("coordinator", &f)};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, 1, 2, &s, &err), OBV_OK);
    obv_code r = OBV_E_UNAVAILABLE;
    for (int k = 0; k < 20 && r != OBV_OK; k++) { /* each waits a moment; between them nobody listens */
        r = call(c, "/t.S/Echo", "x", out, sizeof out, &err);
        assert_int_equal(usleep(50000), 0);
    }
    assert_int_equal(r, OBV_OK);
    obv_rpc_channel_drop(&c);
    obv_rpc_server_stop(s, 100);
}

static void two_servers_cannot_share_a_port(void **state)
{
    (void)state;
    files f;
    obv_err err = {0};
    obv_rpc_server *s = NULL;
    obv_rpc_listen l = {.address = target, .tls = tls_of("coordinator", &f)};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, 1, 1, &s, &err), OBV_E_UNAVAILABLE);
    l = (obv_rpc_listen){.address = "127.0.0.1:0"};
    assert_int_equal(obv_rpc_server_start(&l, 1, ROUTES, 1, 1, &s, &err), OBV_E_CONFIG);
}

static void common_names_are_taken_apart(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct { const char *cn; obv_rpc_role role; const char *name; } CASES[] = {
        {"coordinator", OBV_RPC_COORDINATOR, ""}, {"agent:a", OBV_RPC_AGENT, "a"}, {"agent:", OBV_RPC_NOBODY, ""},
        {"operator:bob", OBV_RPC_OPERATOR, "bob"}, {"coordinator2", OBV_RPC_NOBODY, ""}, {"", OBV_RPC_NOBODY, ""},
        {"Agent:x", OBV_RPC_NOBODY, ""},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const obv_rpc_peer p = obv_rpc_peer_of_cn(CASES[i].cn, strlen(CASES[i].cn));
        assert_int_equal(p.role, CASES[i].role);
        assert_string_equal(p.name, CASES[i].name);
    }
    assert_int_equal(obv_rpc_peer_of_cn("agent:a\0b", 9).role, OBV_RPC_NOBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_names_are_taken_apart),
        cmocka_unit_test(a_call_comes_back),
        cmocka_unit_test(the_certificate_says_who_calls),
        cmocka_unit_test(strangers_and_plaintext_stay_outside),
        cmocka_unit_test(a_server_that_is_no_coordinator_is_refused),
        cmocka_unit_test(an_error_travels_whole),
        cmocka_unit_test(a_stream_ends_well_or_with_its_error),
        cmocka_unit_test(deadlines_and_bounds_hold),
        cmocka_unit_test(messages_pass_by_their_service),
        cmocka_unit_test(many_threads_share_a_channel),
        cmocka_unit_test(a_stop_ends_open_streams),
        cmocka_unit_test(a_caller_that_gives_up_quickly_gets_its_connection_back),
        cmocka_unit_test(two_servers_cannot_share_a_port),
    };
    return cmocka_run_group_tests_name("proto.rpc", tests, up, down);
}
