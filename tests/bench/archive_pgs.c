/* archive_pgs.c - what the log archive of many PGs costs: archive_pgs [PGs [busy [rounds [bytes]]]], JSON on
 * stdout; bytes: of a log
 *
 * The archive job of an agent, on made clog and a folder below /tmp: first every PG has a backlog, then only the busy
 * ones get logs, round by round; then none gets any; then the agent is started anew, when no data file has its index
 * record yet and when all have; at last all PGs step to another piece. fsyncs are counted where the plugin calls them.
 */
#define MAKER_PGS 16384u
#define KIT_PGS 16384u
#include "../unit/agent_job/archive_kit.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define LOGS 4u
#define LIMIT_S 120

static atomic_ulong fsyncs;
static uint32_t log_bytes;

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

static void begin(struct cost *c)
{
    c->wall -= seconds();
    c->cpu -= cpu_seconds();
    c->fsyncs -= atomic_load(&fsyncs);
}

static void end(struct cost *c)
{
    c->wall += seconds();
    c->cpu += cpu_seconds();
    c->fsyncs += atomic_load(&fsyncs);
}

static long peak_rss_mib(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss / 1024;
}

static void add_logs(kit *k, uint32_t busy, uint32_t ilog, size_t *bytes)
{
    for (uint32_t l = 0; l < LOGS; l++)
        for (uint32_t i = 0; i < busy; i++)
            maker_next(k->m, i, log_bytes);
    *bytes += (size_t)busy * LOGS * log_bytes;
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

static void print(const char *name, const struct cost *c)
{
    (void)printf(", \"%s\": {\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"fsyncs\": %lu, \"fsyncs_per_s\": %.0f", name,
                 c->wall, c->cpu, c->fsyncs, (double)c->fsyncs / c->wall);
    if (c->bytes > 0)
        (void)printf(", \"mib\": %.1f, \"mib_per_s\": %.1f, \"cpu_seconds_per_gib\": %.1f", (double)c->bytes / 1048576,
                     (double)c->bytes / 1048576 / c->wall, c->cpu / ((double)c->bytes / 1073741824));
    (void)printf("}");
}

static void restart(kit *k, int64_t w, struct cost *c)
{
    kit_end(k);
    begin(c);
    kit_start(k);
    wait_all(k, w);
    end(c);
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
    log_bytes = number(argc, argv, 4, 1000, 1u << 20);
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
    k->first_piece = k->piece = 1;
    kit_list_pieces(k, k->piece);
    struct cost backlog = {0}, steady = {0}, idle = {0}, again = {0}, killed = {0}, step = {0};
    add_logs(k, pgs, ilog++, &backlog.bytes);
    begin(&backlog);
    kit_start(k);
    wait_all(k, ++w);
    end(&backlog);
    for (uint32_t r = 0; r < rounds; r++) {
        add_logs(k, busy, ilog++, &steady.bytes);
        begin(&steady);
        wait_all(k, ++w);
        end(&steady);
    }
    begin(&idle);
    (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    end(&idle);
    restart(k, ++w, &killed); /* no file has its record yet: as behind a kill */
    restart(k, ++w, &again);
    begin(&step);
    k->piece++;
    k->revision++;
    kit_list_pieces(k, k->piece);
    kit_apply(k, false);
    for (obv_archive_tenant t = kit_report(k); t.piece_min < k->piece; t = kit_report(k))
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    end(&step);
    (void)printf("{\"pgs\": %u, \"busy\": %u, \"rounds\": %u, \"peak_rss_mib\": %ld", pgs, busy, rounds,
                 peak_rss_mib());
    print("backlog_of_all", &backlog);
    print("rounds_of_busy", &steady);
    print("nothing_new", &idle);
    print("take_over_of_open_files", &killed);
    print("take_over_of_closed_files", &again);
    print("step_to_next_piece", &step);
    (void)printf("}\n");
    kit_free(k);
    return 0;
}
