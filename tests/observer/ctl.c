/* ctl.c - control socket H/run/ctl.sock: one JSON object a line, one answer line (CONTRACT.md 8) */
#include "store.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_LINE (16u << 20)

struct client {
    struct client *next;
    int fd;
};

static struct {
    struct host *host;
    int fd;
    pthread_t listener;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct client *clients;
    atomic_bool stop;
} ctl = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

static bool send_line(int fd, const json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    if (!text)
        return false;
    size_t len = strlen(text);
    text[len++] = '\n';
    size_t at = 0;
    while (at < len) {
        ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    free(text);
    return at == len;
}

static json_t *run(const char *line, size_t len)
{
    json_error_t e;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);
    json_t *answer = NULL;
    if (!request)
        return json_pack("{s:b, s:i, s:s}", "ok", 0, "code", -4002, "error", e.text);
    if (!json_is_object(request))
        answer = json_pack("{s:b, s:i, s:s}", "ok", 0, "code", -4002, "error", "a request is an object");
    else
        answer = obs_control(ctl.host, request);
    json_decref(request);
    return answer;
}

static void *serve(void *arg)
{
    struct client *c = arg;
    FILE *in = fdopen(dup(c->fd), "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while (in && (n = getline(&line, &cap, in)) > 0 && (size_t)n <= MAX_LINE) {
        json_t *answer = run(line, (size_t)n);
        bool ok = answer && send_line(c->fd, answer);
        json_decref(answer);
        if (!ok)
            break;
    }
    free(line);
    if (in)
        fclose(in);
    pthread_mutex_lock(&ctl.lock);
    for (struct client **p = &ctl.clients; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    close(c->fd);
    free(c);
    pthread_cond_broadcast(&ctl.idle);
    pthread_mutex_unlock(&ctl.lock);
    return NULL;
}

static void welcome(int fd)
{
    struct client *c = calloc(1, sizeof *c);
    pthread_t t;
    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    pthread_mutex_lock(&ctl.lock);
    c->next = ctl.clients;
    ctl.clients = c;
    bool started = pthread_create(&t, NULL, serve, c) == 0;
    if (started) {
        pthread_detach(t);
    } else {
        ctl.clients = c->next;
        close(fd);
        free(c);
    }
    pthread_mutex_unlock(&ctl.lock);
}

static void *listen_loop(void *arg)
{
    (void)arg;
    while (!ctl.stop) {
        struct pollfd p = {.fd = ctl.fd, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0)
            continue;
        int fd = accept4(ctl.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            welcome(fd);
    }
    return NULL;
}

/* A socket's path may have 107 bytes: the launcher sees to it. */
static int bind_in(const char *dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[1024];
    if (snprintf(path, sizeof path, "%s/run/ctl.sock", dir) >= (int)sizeof path)
        return ENAMETOOLONG;
    if (strlen(path) >= sizeof a.sun_path)
        return ENAMETOOLONG;
    memcpy(a.sun_path, path, strlen(path) + 1);
    unlink(path);
    ctl.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ctl.fd < 0 || bind(ctl.fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(ctl.fd, 32) != 0)
        return errno;
    return 0;
}

int ctl_start(struct host *h)
{
    ctl.host = h;
    ctl.stop = false;
    int error = bind_in(host_dir(h));
    if (!error)
        error = pthread_create(&ctl.listener, NULL, listen_loop, NULL);
    if (error && ctl.fd >= 0) {
        close(ctl.fd);
        ctl.fd = -1;
    }
    return error;
}

void ctl_stop(struct host *h)
{
    (void)h;
    if (ctl.fd < 0)
        return;
    ctl.stop = true;
    pthread_join(ctl.listener, NULL);
    close(ctl.fd);
    ctl.fd = -1;
    pthread_mutex_lock(&ctl.lock);
    for (struct client *c = ctl.clients; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    while (ctl.clients)
        pthread_cond_wait(&ctl.idle, &ctl.lock);
    pthread_mutex_unlock(&ctl.lock);
}
