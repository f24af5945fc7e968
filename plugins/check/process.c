/* process.c - processes that are killed, threads, and the clock */
#include "kit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void kit_killed_child(struct kit *k, kit_child_fn *fn, void *ctx)
{
    int pipe_fd[2];
    need(pipe(pipe_fd) == 0, "the kit itself gets no pipe");
    const pid_t pid = fork();
    need(pid >= 0, "the kit itself cannot fork");
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        fn(k, kit_open(k), ctx);
        if (write(pipe_fd[1], "!", 1) == 1)
            for (;;)
                (void)pause();
        _exit(4);
    }
    char there = 0;
    (void)close(pipe_fd[1]);
    const ssize_t n = read(pipe_fd[0], &there, 1);
    (void)close(pipe_fd[0]);
    int status = 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    if (n != 1) {
        /* it ended by itself: either it decided the case, or it crashed */
        if (atomic_load(&k->shared->verdict) != KIT_UNDECIDED)
            _exit(3);
        kit_fail("the process that was to be killed ended by itself (%s %d)", WIFSIGNALED(status) ? "signal" : "exit",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

void kit_threads(void *(*fn)(void *), void *ctx, size_t size, unsigned n)
{
    pthread_t *t = kit_alloc(n * sizeof *t);
    for (unsigned i = 0; i < n; i++)
        need(pthread_create(&t[i], NULL, fn, (char *)ctx + i * size) == 0, "the kit itself gets no thread");
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(t[i], NULL);
    free(t);
}

int64_t kit_now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void kit_sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
        ;
}
