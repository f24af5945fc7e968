/* run.c - one process a case: started, watched, cleaned up behind */
#include "kit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLEANUP_TIMEOUT_S = 300, REMOVE_BATCH = 500 };

struct outcome {
    bool timed_out;
    int status; /* of waitpid */
    unsigned ms;
};

/* Runs fn in a process group of its own, at most timeout_s. */
static struct outcome run_apart(struct kit *k, void (*fn)(struct kit *), unsigned timeout_s)
{
    const int64_t began = kit_now_ns();
    struct outcome o = {0};
    (void)fflush(stdout);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(5);
        fn(k);
        _exit(0);
    }
    if (pid < 0) {
        o.status = 5 << 8;
        return o;
    }
    (void)setpgid(pid, pid);
    const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int64_t left_ms;
    do {
        left_ms = (int64_t)timeout_s * 1000 - (kit_now_ns() - began) / 1000000;
    } while (left_ms > 0 && poll(&wait, 1, (int)left_ms) < 0 && errno == EINTR);
    o.timed_out = !(wait.revents & POLLIN);
    (void)kill(-pid, SIGKILL); /* its children too; nothing happens to what ended already */
    (void)waitpid(pid, &o.status, 0);
    if (fd >= 0)
        (void)close(fd);
    o.ms = (unsigned)((kit_now_ns() - began) / 1000000);
    return o;
}

/* ---- what happens in the processes */

static void load_or_fail(struct kit *k)
{
    char why[KIT_TEXT_MAX];
    k->p = kit_load(k->cfg->so, why, sizeof why);
    need(k->p, "%s", why);
}

static const struct kit_case *current;

static void run_current(struct kit *k)
{
    kit_verdict_to(k->shared);
    if (!(current->flags & KIT_NO_TABLE))
        load_or_fail(k);
    if (!(current->flags & (KIT_NO_OPEN | KIT_NO_TABLE)))
        k->r = kit_open(k);
    current->run(k);
    if (k->r)
        kit_close(k->r);
    int undecided = KIT_UNDECIDED;
    (void)atomic_compare_exchange_strong(&k->shared->verdict, &undecided, KIT_PASS);
}

static void run_inspect(struct kit *k)
{
    kit_verdict_to(k->shared);
    kit_inspect(k, &k->shared->info);
}

struct keys {
    char *key[REMOVE_BATCH];
    size_t count;
};

static int collect(void *ctx, const char *key, const obv_object_info *info)
{
    (void)info;
    struct keys *keys = ctx;
    keys->key[keys->count++] = strdup(key);
    return keys->count == REMOVE_BATCH;
}

/* Through the plugin, for a repository that is no local folder. */
static void clean_up(struct kit *k)
{
    struct kit_repo *r;
    uint64_t swept = 0;
    kit_verdict_to(k->shared);
    load_or_fail(k);
    r = kit_open(k);
    for (;;) {
        struct keys keys = {0};
        obv_store_class results[REMOVE_BATCH];
        need_ok(kit_list(r, "", collect, &keys), "list what the case left");
        if (keys.count == 0)
            break;
        need_ok(kit_remove(r, (const char *const *)keys.key, keys.count, results), "remove what the case left");
        for (size_t i = 0; i < keys.count; i++)
            free(keys.key[i]);
    }
    need_ok(kit_sweep(r, 0, &swept), "sweep what the case left");
    kit_close(r);
}

static void find_anything(struct kit *k)
{
    kit_verdict_to(k->shared);
    load_or_fail(k);
    struct kit_repo *r = kit_open(k);
    const struct kit_count c = kit_count(r, "");
    need(c.count == 0, "%.200s is in it", c.first);
    kit_close(r);
}

/* ---- and outside of them */

static void reset(struct kit_shared *s)
{
    atomic_store(&s->verdict, KIT_UNDECIDED);
    s->reason[0] = '\0';
}

void kit_run_inspect(struct kit *k)
{
    struct kit_info *info = &k->shared->info;
    reset(k->shared);
    const struct outcome o = run_apart(k, run_inspect, k->cfg->timeout_s);
    if (WIFSIGNALED(o.status)) {
        info->opened = false;
        (void)snprintf(info->trouble, sizeof info->trouble, "it %s while it was loaded, opened and probed",
                       o.timed_out ? "hung" : "crashed");
    } else if (!info->opened && !info->trouble[0]) {
        (void)snprintf(info->trouble, sizeof info->trouble, "%.390s", k->shared->reason);
    }
    k->info = info;
    k->caps = info->probed;
}

int kit_run_is_empty(struct kit *k, char *why, size_t cap)
{
    reset(k->shared);
    if (k->info->folder[0]) {
        const struct kit_tree t = kit_scan(k->info->folder);
        (void)snprintf(why, cap, "%s is in %s", t.sample, k->info->folder);
        return t.files + t.folders + t.temporaries == 0 ? 0 : -1;
    }
    (void)run_apart(k, find_anything, CLEANUP_TIMEOUT_S);
    (void)snprintf(why, cap, "%s", k->shared->reason);
    return k->shared->reason[0] ? -1 : 0;
}

static const char *reason_to_skip(const struct kit *k, const struct kit_case *c)
{
    static char text[KIT_TEXT_MAX];
    if (!(c->flags & KIT_NO_TABLE) && !k->info->loaded)
        return "the plugin's table cannot be used";
    if (!(c->flags & (KIT_NO_OPEN | KIT_NO_TABLE)) && !k->info->opened) {
        (void)snprintf(text, sizeof text, "not opened: %.380s", k->info->trouble);
        return text;
    }
    if (!(c->flags & KIT_FORGETFUL) && (k->info->caps & OBV_CAP_FORGETS))
        return "the plugin says that it keeps nothing (OBV_CAP_FORGETS)";
    if (c->caps & ~k->caps)
        return "the plugin does not claim the capability";
    if ((c->flags & KIT_FOLDER) && !k->info->folder[0])
        return "the repository is no local folder";
    return NULL;
}

static void judge(const struct kit *k, const struct outcome *o, struct kit_result *out)
{
    const int verdict = atomic_load(&k->shared->verdict);
    (void)memcpy(out->reason, k->shared->reason, sizeof out->reason);
    out->verdict = verdict == KIT_PASS || verdict == KIT_SKIP ? (enum kit_verdict)verdict : KIT_FAIL;
    if (verdict == KIT_FAIL)
        return;
    if (o->timed_out) {
        out->verdict = KIT_FAIL;
        (void)snprintf(out->reason, sizeof out->reason, "not done in %u s", k->cfg->timeout_s);
    } else if (WIFSIGNALED(o->status)) {
        out->verdict = KIT_FAIL;
        (void)snprintf(out->reason, sizeof out->reason, "the plugin crashed (SIG%s)",
                       sigabbrev_np(WTERMSIG(o->status)));
    } else if (verdict == KIT_UNDECIDED) {
        (void)snprintf(out->reason, sizeof out->reason, "the plugin ended the process (exit code %d)",
                       WEXITSTATUS(o->status));
    }
}

static void clean_up_behind(struct kit *k)
{
    if (k->info->folder[0]) {
        (void)kit_wipe(k->info->folder);
        return;
    }
    if (!k->info->opened || (k->info->caps & OBV_CAP_FORGETS))
        return;
    reset(k->shared);
    (void)run_apart(k, clean_up, CLEANUP_TIMEOUT_S);
    if (k->shared->reason[0])
        (void)fprintf(stderr, "%s: cannot clean up: %s\n", k->case_name, k->shared->reason);
}

void kit_run_case(struct kit *k, const struct kit_case *c, struct kit_result *out)
{
    *out = (struct kit_result){0};
    k->case_name = c->name;
    const char *skip = reason_to_skip(k, c);
    if (skip) {
        out->verdict = KIT_SKIP;
        (void)snprintf(out->reason, sizeof out->reason, "%s", skip);
        return;
    }
    reset(k->shared);
    current = c;
    const struct outcome o = run_apart(k, run_current, k->cfg->timeout_s);
    judge(k, &o, out);
    out->ms = o.ms;
    clean_up_behind(k);
}
