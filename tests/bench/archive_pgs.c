/* archive_pgs.c - what the log archive of many PGs costs: archive_pgs [PGs [busy [rounds]]], JSON on stdout
 *
 * The archive job of an agent, on made clog and a folder below /tmp: first every PG has a backlog, then only the busy
 * ones get logs, round by round. fsyncs are counted where the plugin calls them.
 */
#define MAKER_PGS 16384u
#define KIT_PGS 16384u
#include "../unit/agent_job/archive_kit.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define LOGS 4u
#define LOG_BYTES 1000u
#define LIMIT_S 120

static atomic_ulong fsyncs;

/* The plugin's; it is loaded into this process and finds this one first. */
__attribute__((visibility("default"))) int fsync(int fd)
{
    atomic_fetch_add(&fsyncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

static double seconds(void) { return (double)obv_mono_ns() / 1e9; }

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct cost {
    double wall, cpu;
    unsigned long fsyncs;
    size_t bytes;
};

static void add_logs(kit *k, uint32_t busy, uint32_t ilog, size_t *bytes)
{
    for (uint32_t l = 0; l < LOGS; l++)
        for (uint32_t i = 0; i < busy; i++)
            maker_next(k->m, i, LOG_BYTES);
    *bytes += (size_t)busy * LOGS * LOG_BYTES;
    maker_ilog(k->m, ilog, true);
}

/* Until everything committed is durable. */
static void wait_all(kit *k, int64_t w)
{
    kit_readable(k, w);
    for (int i = 0; i < LIMIT_S * 1000; i++) {
        const obv_archive_tenant t = kit_report(k);
        if (t.checkpoint_min >= w && t.pgs == k->pg_count)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    fail_msg("not all durable within %d s: %s", LIMIT_S, kit_report(k).error.msg);
}

static void print(const char *name, const struct cost *c, const char *end)
{
    (void)printf("\"%s\": {\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"mib\": %.1f, \"mib_per_s\": %.1f, \"fsyncs\": "
                 "%lu, \"fsyncs_per_s\": %.0f}%s",
                 name, c->wall, c->cpu, (double)c->bytes / 1048576, (double)c->bytes / 1048576 / c->wall, c->fsyncs,
                 (double)c->fsyncs / c->wall, end);
}

static uint32_t number(int argc, char **argv, int i, uint32_t fallback, uint32_t most)
{
    const unsigned long n = argc > i ? strtoul(argv[i], NULL, 10) : fallback;
    return n < 1 ? 1 : n > most ? most : (uint32_t)n;
}

int main(int argc, char **argv)
{
    const uint32_t pgs = number(argc, argv, 1, 2000, KIT_PGS), busy = number(argc, argv, 2, 100, pgs);
    const uint32_t rounds = number(argc, argv, 3, 10, 1000);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* as the agent does */
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    kit *k = kit_new();
    int64_t w = 1700000000000000;
    uint32_t ilog = 1;
    for (uint32_t i = 0; i < pgs; i++)
        (void)kit_pg(k, 10);
    struct cost backlog = {0}, steady = {0};
    add_logs(k, pgs, ilog++, &backlog.bytes);
    kit_start(k);
    backlog.wall = -seconds(), backlog.cpu = -cpu_seconds();
    wait_all(k, ++w);
    backlog.wall += seconds(), backlog.cpu += cpu_seconds();
    backlog.fsyncs = atomic_exchange(&fsyncs, 0);
    for (uint32_t r = 0; r < rounds; r++) {
        add_logs(k, busy, ilog++, &steady.bytes);
        steady.wall -= seconds(), steady.cpu -= cpu_seconds();
        wait_all(k, ++w);
        steady.wall += seconds(), steady.cpu += cpu_seconds();
    }
    steady.fsyncs = atomic_load(&fsyncs);
    (void)printf("{\"pgs\": %u, \"busy\": %u, \"rounds\": %u, ", pgs, busy, rounds);
    print("backlog_of_all", &backlog, ", ");
    print("rounds_of_busy", &steady, "}\n");
    kit_free(k);
    return 0;
}
