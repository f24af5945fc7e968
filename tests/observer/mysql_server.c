/* mysql_server.c - listener, one thread a connection: greeting, login, commands */
#include "mysql_reply.h"
#include "mysql_stmt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNS 512
#define LOGIN_TIMEOUT_S 10

enum {
    CAP_LONG_PASSWORD = 1,
    CAP_LONG_FLAG = 4,
    CAP_CONNECT_WITH_DB = 8,
    CAP_PROTOCOL_41 = 0x200,
    CAP_TRANSACTIONS = 0x2000,
    CAP_SECURE_CONNECTION = 0x8000,
    CAP_PLUGIN_AUTH = 0x80000,
    CAP_PLUGIN_AUTH_LENENC = 0x200000,
};
#define SERVER_CAPS                                                                                                    \
    (CAP_LONG_PASSWORD | CAP_LONG_FLAG | CAP_CONNECT_WITH_DB | CAP_PROTOCOL_41 | CAP_TRANSACTIONS |                    \
     CAP_SECURE_CONNECTION | CAP_PLUGIN_AUTH | CAP_PLUGIN_AUTH_LENENC)

static const char PLUGIN[] = "mysql_native_password";

struct conn {
    struct sql_net *net;
    int fd;
    uint64_t id;
    char client[64];
};

struct sql_net {
    struct sql_server *srv;
    int fd;
    pthread_t listener;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    int fds[MAX_CONNS]; /* of living connections, -1 = free */
    size_t count;
    uint64_t last_id;
    atomic_bool stop;
};

/* ---- login ---- */

static bool make_scramble(uint8_t s[20])
{
    if (getrandom(s, 20, 0) != 20)
        return false;
    for (int i = 0; i < 20; i++)
        s[i] = (uint8_t)(s[i] % 94 + 33); /* neither NUL nor a character that old clients trip over */
    return true;
}

static void greet(struct my_chan *ch, const struct conn *c, const uint8_t scramble[20])
{
    struct my_buf b = {0};
    my_put_int(&b, 10, 1);
    my_put(&b, "5.7.25", 7);
    my_put_int(&b, c->id, 4);
    my_put(&b, scramble, 8);
    my_put_int(&b, 0, 1);
    my_put_int(&b, SERVER_CAPS & 0xffff, 2);
    my_put_int(&b, 45, 1);
    my_put_int(&b, 2, 2);
    my_put_int(&b, (unsigned)SERVER_CAPS >> 16, 2);
    my_put_int(&b, 21, 1);
    my_put_zero(&b, 10);
    my_put(&b, scramble + 8, 12);
    my_put_int(&b, 0, 1);
    my_put(&b, PLUGIN, sizeof PLUGIN);
    my_queue_packet(ch, &b);
    my_buf_free(&b);
}

struct hello {
    char login[256], db[64];
    uint8_t answer[32];
    size_t answer_len;
    bool other_plugin;
};

static bool parse_hello(const struct my_buf *in, struct hello *h)
{
    struct my_cur c = {.at = in->data, .end = in->data + in->len};
    uint64_t caps = my_get_int(&c, 4);
    my_get_bytes(&c, 4 + 1 + 23);
    const char *login = my_get_cstr(&c);
    if (c.bad || !(caps & CAP_PROTOCOL_41) || strlen(login) >= sizeof h->login)
        return false;
    snprintf(h->login, sizeof h->login, "%s", login);
    uint64_t len = caps & CAP_PLUGIN_AUTH_LENENC ? my_get_lenenc(&c) : my_get_int(&c, 1);
    const uint8_t *answer = my_get_bytes(&c, len);
    if (c.bad)
        return false;
    if (caps & CAP_CONNECT_WITH_DB) {
        const char *db = my_get_cstr(&c);
        if (c.bad || strlen(db) >= sizeof h->db)
            return false;
        snprintf(h->db, sizeof h->db, "%s", db);
    }
    const char *plugin = caps & CAP_PLUGIN_AUTH && c.at < c.end ? my_get_cstr(&c) : NULL;
    h->other_plugin = plugin && *plugin && strcmp(plugin, PLUGIN) != 0;
    if (!h->other_plugin) {
        if (len > sizeof h->answer)
            return false;
        h->answer_len = (size_t)len;
        if (len)
            memcpy(h->answer, answer, (size_t)len);
    }
    return true;
}

/* The client answered in a way of its own: ask again in ours. */
static bool switch_plugin(struct my_chan *ch, struct my_buf *in, const uint8_t scramble[20], struct hello *h)
{
    struct my_buf b = {0};
    my_put_int(&b, 0xfe, 1);
    my_put(&b, PLUGIN, sizeof PLUGIN);
    my_put(&b, scramble, 20);
    my_put_int(&b, 0, 1);
    my_queue_packet(ch, &b);
    my_buf_free(&b);
    if (!my_flush(ch) || !my_read_packet(ch, in) || in->len > sizeof h->answer)
        return false;
    h->answer_len = in->len;
    if (in->len)
        memcpy(h->answer, in->data, in->len);
    return true;
}

static bool choose_db(struct sql_session *s, const char *db, struct sql_err *err)
{
    if (!*db)
        return true;
    if (strcasecmp(db, "oceanbase") != 0 && strcasecmp(db, "information_schema") != 0)
        return sql_fail(err, SQL_E_BAD_DB, "Unknown database '%s'", db);
    snprintf(s->db, sizeof s->db, "%s", db);
    return true;
}

static bool find_tenant(struct sql_session *s, struct sql_err *err)
{
    sqlite3_stmt *q = NULL;
    s->internal++;
    bool found = sqlite3_prepare_v2(s->db_handle, "SELECT tenant_id FROM store.__all_tenant WHERE tenant_name = ?", -1,
                                    &q, NULL) == SQLITE_OK;
    if (found) {
        sqlite3_bind_text(q, 1, s->acc.tenant, -1, SQLITE_STATIC);
        found = sqlite3_step(q) == SQLITE_ROW;
        if (found)
            s->tenant_id = sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    s->internal--;
    return found ? true : sql_fail(err, OB_INVALID_TENANT_NAME, "invalid tenant name specified in connection string");
}

static bool login(const struct conn *c, struct my_chan *ch, struct my_buf *in, struct sql_session *s)
{
    uint8_t scramble[20];
    struct hello h = {.login = ""};
    struct sql_account acc;
    struct sql_err err = {0};
    if (!make_scramble(scramble))
        return false;
    greet(ch, c, scramble);
    if (!my_flush(ch) || !my_read_packet(ch, in))
        return false;
    bool ok = parse_hello(in, &h);
    if (!ok)
        sql_fail(&err, SQL_E_HANDSHAKE, "Bad handshake");
    else if (h.other_plugin && !switch_plugin(ch, in, scramble, &h))
        return false;
    bool open = false;
    ok = ok && sql_login_name(c->net->srv, h.login, &acc, &err) &&
         (open = sql_session_open(s, c->net->srv, &acc, c->id, c->client, &err)) && find_tenant(s, &err) &&
         sql_login_check(c->net->srv, scramble, h.answer, h.answer_len, &s->acc, &err) && choose_db(s, h.db, &err);
    if (ok) {
        my_reply_ok(ch, 0);
    } else {
        obs_log(c->net->srv->host, "sql: login of '%s' from %s refused: %d %s", h.login, c->client, err.number,
                err.text);
        my_reply_error(ch, &err);
        if (open)
            sql_session_close(s);
    }
    return my_flush(ch) && ok;
}

/* ---- commands ---- */

static void query(struct sql_session *s, struct my_chan *ch, struct my_cur *body)
{
    struct sql_err err;
    struct sql_result r;
    if (sql_run(s, (const char *)body->at, (size_t)(body->end - body->at), NULL, 0, false, NULL, &r, &err))
        my_reply_result(ch, &r, false);
    else
        my_reply_error(ch, &err);
    sql_result_free(&r);
}

static void init_db(struct sql_session *s, struct my_chan *ch, struct my_cur *body)
{
    char db[64];
    struct sql_err err;
    snprintf(db, sizeof db, "%.*s", (int)(body->end - body->at > 60 ? 60 : body->end - body->at),
             (const char *)body->at);
    if (*db && choose_db(s, db, &err)) {
        my_reply_ok(ch, 0);
    } else {
        if (!*db)
            sql_fail(&err, SQL_E_NO_DB, "No database selected");
        my_reply_error(ch, &err);
    }
}

/* @return false: the connection ends */
static bool command(struct sql_session *s, struct my_stmts *stmts, struct my_chan *ch, const struct my_buf *in)
{
    enum {
        QUIT = 1,
        INIT_DB = 2,
        QUERY = 3,
        PING = 14,
        PREPARE = 22,
        EXECUTE = 23,
        CLOSE = 25,
        RESET = 26,
        OPTION = 27,
        CLEAN = 31
    };
    if (!in->len)
        return false;
    struct my_cur body = {.at = in->data + 1, .end = in->data + in->len};
    struct sql_err err;
    switch (in->data[0]) {
    case QUIT:
        return false;
    case INIT_DB:
        init_db(s, ch, &body);
        break;
    case QUERY:
        query(s, ch, &body);
        break;
    case PING:
        my_reply_ok(ch, 0);
        break;
    case PREPARE:
        my_stmt_prepare(stmts, s, ch, &body);
        break;
    case EXECUTE:
        my_stmt_execute(stmts, s, ch, &body);
        break;
    case CLOSE:
        my_stmt_close(stmts, &body);
        break;
    case RESET:
        my_stmt_reset(stmts, ch, &body);
        break;
    case OPTION:
        my_reply_eof(ch);
        break;
    case CLEAN:
        sql_session_reset(s);
        my_reply_ok(ch, 0);
        break;
    default:
        sql_fail(&err, SQL_E_COMMAND, "Unknown command %u", in->data[0]);
        my_reply_error(ch, &err);
    }
    return my_flush(ch);
}

static void set_timeout(int fd, int seconds)
{
    struct timeval t = {.tv_sec = seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

static void forget(struct sql_net *n, int fd)
{
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < MAX_CONNS; i++)
        if (n->fds[i] == fd) {
            n->fds[i] = -1;
            break;
        }
    close(fd);
    n->count--;
    pthread_cond_broadcast(&n->idle);
    pthread_mutex_unlock(&n->lock);
}

static void *serve(void *arg)
{
    struct conn *c = arg;
    struct my_chan ch = {.fd = c->fd};
    struct my_buf in = {0};
    struct sql_session session;
    set_timeout(c->fd, LOGIN_TIMEOUT_S);
    if (login(c, &ch, &in, &session)) {
        struct my_stmts *stmts = my_stmts_new();
        set_timeout(c->fd, 0);
        while (stmts && !c->net->stop) {
            ch.seq = 0;
            if (!my_read_packet(&ch, &in) || !command(&session, stmts, &ch, &in))
                break;
        }
        my_stmts_free(stmts);
        sql_session_close(&session);
    }
    my_buf_free(&in);
    my_buf_free(&ch.out);
    forget(c->net, c->fd);
    free(c);
    return NULL;
}

/* ---- listener ---- */

static void refuse_crowd(int fd)
{
    struct my_chan ch = {.fd = fd};
    struct sql_err err;
    sql_fail(&err, SQL_E_TOO_MANY, "Too many connections");
    my_reply_error(&ch, &err);
    my_flush(&ch);
    my_buf_free(&ch.out);
    close(fd);
}

static void welcome(struct sql_net *n, int fd, const struct sockaddr_in *from)
{
    static const int ONE = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &ONE, sizeof ONE);
    struct conn *c = calloc(1, sizeof *c);
    pthread_mutex_lock(&n->lock);
    size_t place = 0;
    while (place < MAX_CONNS && n->fds[place] >= 0)
        place++;
    bool room = c && place < MAX_CONNS;
    if (room) {
        n->fds[place] = fd;
        n->count++;
        *c = (struct conn){.net = n, .fd = fd, .id = ++n->last_id};
    }
    pthread_mutex_unlock(&n->lock);
    if (!room) {
        free(c);
        refuse_crowd(fd);
        return;
    }
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &from->sin_addr, ip, sizeof ip);
    snprintf(c->client, sizeof c->client, "%s:%d", ip, ntohs(from->sin_port));
    pthread_t t;
    if (pthread_create(&t, NULL, serve, c) == 0) {
        pthread_detach(t);
    } else {
        forget(n, fd);
        free(c);
    }
}

static void *listen_loop(void *arg)
{
    struct sql_net *n = arg;
    while (!n->stop) {
        struct pollfd p = {.fd = n->fd, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0)
            continue;
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        int fd = accept4(n->fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
        if (fd >= 0)
            welcome(n, fd, &from);
    }
    return NULL;
}

struct sql_net *sql_net_start(struct sql_server *srv, int *error)
{
    const struct host_addr *self = host_self(srv->host);
    struct sql_net *n = calloc(1, sizeof *n);
    static const int ONE = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)self->sql_port)};
    *error = ENOMEM;
    if (!n)
        return NULL;
    n->srv = srv;
    for (size_t i = 0; i < MAX_CONNS; i++)
        n->fds[i] = -1;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->idle, NULL);
    n->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = n->fd >= 0 && inet_pton(AF_INET, self->ip, &a.sin_addr) == 1 &&
              setsockopt(n->fd, SOL_SOCKET, SO_REUSEADDR, &ONE, sizeof ONE) == 0 &&
              bind(n->fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(n->fd, 128) == 0;
    *error = ok ? pthread_create(&n->listener, NULL, listen_loop, n) : errno;
    if (*error == 0)
        return n;
    if (n->fd >= 0)
        close(n->fd);
    pthread_cond_destroy(&n->idle);
    pthread_mutex_destroy(&n->lock);
    free(n);
    return NULL;
}

void sql_net_stop(struct sql_net *n)
{
    n->stop = true;
    pthread_join(n->listener, NULL);
    close(n->fd);
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < MAX_CONNS; i++)
        if (n->fds[i] >= 0)
            shutdown(n->fds[i], SHUT_RDWR);
    while (n->count)
        pthread_cond_wait(&n->idle, &n->lock);
    pthread_mutex_unlock(&n->lock);
    pthread_cond_destroy(&n->idle);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
