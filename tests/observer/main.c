/* main.c - obstandin: one host of a stand-in OceanBase 3.1.5 cluster (README.md, CONTRACT.md) */
#include "catalog.h"
#include "hostd.h"
#include "rpc.h"
#include "verbs.h"
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- accessors of store.h */

const struct host_addr *host_self(const struct host *h) { return &h->members[h->id - 1]; }

const struct host_addr *host_members(const struct host *h, int *n)
{
    *n = h->n_members;
    return h->members;
}

const char *host_cluster_db(const struct host *h) { return h->db_path; }
const char *host_dir(const struct host *h) { return h->dir; }
const char *host_cluster_name(const struct host *h) { return h->cluster_name; }
int64_t host_cluster_id(const struct host *h) { return h->cluster_id; }
bool host_stopping(const struct host *h) { return h->stopping; }
int64_t host_now(const struct host *h) { return clock_us(h); }
const char *host_reader_dir(const struct host *h) { return h->reader_dir; }
int64_t host_restore_gap_us(const struct host *h) { return h->knob.restore_gap_us; }

void obs_log(struct host *h, const char *fmt, ...)
{
    char line[2048], t[32];
    va_list ap;
    time_text(now_us(), t);
    int n = snprintf(line, sizeof line, "[%s] ", t);
    va_start(ap, fmt);
    int k = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    n += k < (int)sizeof line - n - 2 ? k : (int)sizeof line - n - 2;
    line[n++] = '\n';
    if (write(h->log_fd, line, (size_t)n) < 0)
        return;
}

/* ---- command line */

static bool parse_members(struct host *h, char *s)
{
    for (char *save, *one = strtok_r(s, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
        struct host_addr a = {.id = 0};
        if (sscanf(one, "%d=%45[^:]:%d:%d:%63s", &a.id, a.ip, &a.rpc_port, &a.sql_port, a.zone) != 5 ||
            a.id != h->n_members + 1 || a.id > OBS_MAX_HOSTS)
            return false;
        struct in_addr in;
        if (inet_pton(AF_INET, a.ip, &in) != 1)
            return false;
        h->ip[h->n_members] = ntohl(in.s_addr);
        h->member_list[h->n_members] = (struct member){ntohl(in.s_addr), a.rpc_port, 1600000000000000 + a.id};
        h->members[h->n_members++] = a;
    }
    return h->n_members > 0;
}

static void defaults(struct host *h)
{
    static const struct {
        const char *name;
        int64_t v;
    } ALL[] = {{"ilog_freeze_us", 10000000},
               {"clog_switch_bytes", 65142272},
               {"clog_files_max", 64},
               {"checkpoint_idle_us", 5000000},
               {"checkpoint_cold_us", 3600000000},
               {"undo_retention_us", 0},
               {"stream_wait_us", 10000000},
               {"io_delay_us", 0},
               {"kept_majors", 2},
               {"lease_us", 4000000},
               {"micro_block_size", 16384},
               {"commit_spread_us", 20000},
               {"gc_delay_us", 2000000},
               {"gc_ts_lag_us", 1000000},
               {"restore_gap_us", 10000000},
               {"memtable_limit_bytes", 268435456},
               {"auto_freeze_us", 0}};
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        knob_set(h, ALL[i].name, ALL[i].v);
    knob_set(h, "minor_compact_minis", 1 + h->id);
    h->cluster_name = xstrdup("obstandin");
    h->cluster_id = 1;
    h->reader_dir = xstrdup("tests/reader");
}

static int usage(void)
{
    fprintf(stderr, "usage: obstandin --cluster-dir C --host-dir H --host N --members 1=IP:RPC:SQL:ZONE,... "
                    "[--cluster-name NAME] [--cluster-id ID] "
                    "[--reader DIR] [--knob name=value]...\n");
    return 2;
}

static int options(struct host *h, int argc, char **argv)
{
    static const struct option LONG[] = {
        {"cluster-dir", 1, NULL, 'c'}, {"host-dir", 1, NULL, 'd'},     {"host", 1, NULL, 'n'},
        {"members", 1, NULL, 'm'},     {"cluster-name", 1, NULL, 'N'}, {"cluster-id", 1, NULL, 'I'},
        {"reader", 1, NULL, 'r'},      {"knob", 1, NULL, 'k'},         {NULL, 0, NULL, 0}};
    char *members = NULL, *knobs[64];
    int n_knobs = 0, c;
    while ((c = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
        switch (c) {
        case 'c':
            h->cluster_dir = optarg;
            break;
        case 'd':
            h->dir = optarg;
            break;
        case 'n':
            h->id = atoi(optarg);
            break;
        case 'm':
            members = optarg;
            break;
        case 'N':
            h->cluster_name = optarg;
            break;
        case 'I':
            h->cluster_id = atoll(optarg);
            break;
        case 'r':
            h->reader_dir = optarg;
            break;
        case 'k':
            if (n_knobs < 64)
                knobs[n_knobs++] = optarg;
            break;
        default:
            return usage();
        }
    }
    if (!h->cluster_dir || !h->dir || !members || !parse_members(h, members) || h->id < 1 || h->id > h->n_members)
        return usage();
    char *name = h->cluster_name, *reader = h->reader_dir;
    int64_t id = h->cluster_id;
    defaults(h);
    if (name)
        h->cluster_name = name;
    if (reader)
        h->reader_dir = reader;
    if (id)
        h->cluster_id = id;
    for (int i = 0; i < n_knobs; i++) {
        char *eq = strchr(knobs[i], '=');
        if (!eq)
            return usage();
        *eq = 0;
        if (knob_set(h, knobs[i], atoll(eq + 1))) {
            fprintf(stderr, "obstandin: unknown knob %s\n", knobs[i]);
            return 2;
        }
    }
    return 0;
}

static char *absolute(const char *p)
{
    if (p[0] == '/')
        return xstrdup(p);
    char cwd[4096];
    return xasprintf("%s/%s", getcwd(cwd, sizeof cwd) ? cwd : "", p);
}

/* ---- life */

static int open_files(struct host *h)
{
    static const char *const DIRS[] = {"run", "log", "store/clog", "store/ilog", "store/sstable"};
    h->cluster_dir = absolute(h->cluster_dir);
    h->dir = absolute(h->dir);
    h->reader_dir = absolute(h->reader_dir);
    h->db_path = xasprintf("%s/cluster.db", h->cluster_dir);
    for (size_t i = 0; i < sizeof DIRS / sizeof *DIRS; i++) {
        char *p = xasprintf("%s/%s", h->dir, DIRS[i]);
        int rc = mkdirs(p);
        free(p);
        if (rc)
            return rc;
    }
    char *pid = xasprintf("%s/run/observer.pid", h->dir), *log = xasprintf("%s/log/observer.log", h->dir),
         *rpc = xasprintf("%s/log/rpc.log", h->dir);
    char *ready = xasprintf("%s/run/ready", h->dir);
    h->pid_fd = open(pid, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    h->log_fd = open(log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644);
    h->rpc_log_fd = open(rpc, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644);
    unlink(ready);
    free(pid);
    free(log);
    free(rpc);
    free(ready);
    if (h->pid_fd < 0 || h->log_fd < 0 || h->rpc_log_fd < 0)
        return -errno;
    if (lockf(h->pid_fd, F_TLOCK, 0) < 0) {
        fprintf(stderr, "obstandin: %s is in use by another process\n", h->dir);
        return -EBUSY;
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    return ftruncate(h->pid_fd, 0) < 0 ? -errno : pwrite_all(h->pid_fd, text, (size_t)n, 0);
}

/* Where the applier starts: everything that is not in sstables or ilog files has to be seen again. */
static void set_start(struct host *h)
{
    int64_t pos = ilog_start_pos(h);
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        struct replica *r = replica_get(h, i);
        int64_t p = r ? r->data_bus : pg_at(h, i)->first_bus_pos;
        if (pg_at(h, i)->state != PG_GONE && p < pos)
            pos = p;
    }
    h->shm->host[h->id - 1].applied = pos;
}

static uint64_t first_free_sst(void) { return (uint64_t)now_us(); }

static int start(struct host *h)
{
    int rc = open_files(h);
    if (rc || (rc = mkdirs(h->cluster_dir)) || (rc = cluster_open(h)))
        return rc;
    h->next_sst = first_free_sst();
    if (catalog_open(h)) {
        fprintf(stderr, "obstandin: cluster.db cannot be opened\n");
        return -EIO;
    }
    replica_load_all(h);
    if ((rc = ilog_open(h)) != 0)
        return rc;
    set_start(h);
    if ((rc = clog_open(h)) != 0)
        return rc;
    if (pthread_create(&h->writer_thread, NULL, clog_writer_main, h) ||
        pthread_create(&h->applier_thread, NULL, applier_main, h) ||
        pthread_create(&h->timer_thread, NULL, timer_main, h) ||
        pthread_create(&h->command_thread, NULL, command_main, h))
        return -EAGAIN;
    if ((rc = rpc_start(h)) || (rc = sqlfront_start(h)) || (rc = ctl_start(h))) {
        fprintf(stderr, "obstandin: cannot listen: %s\n", strerror(rc));
        return -rc;
    }
    char *ready = xasprintf("%s/run/ready", h->dir);
    rc = write_file(ready, "", 0);
    free(ready);
    return rc;
}

static void stop(struct host *h)
{
    workload_stop(h);
    storm_stop(h);
    h->stopping = true;
    ilog_tick(h, true);
    ctl_stop(h);
    sqlfront_stop(h);
    rpc_stop(h);
    pthread_join(h->writer_thread, NULL);
    pthread_join(h->applier_thread, NULL);
    pthread_join(h->timer_thread, NULL);
    pthread_join(h->command_thread, NULL);
    ilog_tick(h, true);
    char *ready = xasprintf("%s/run/ready", h->dir);
    unlink(ready);
    free(ready);
    h->shm->host[h->id - 1].pid = 0;
    obs_log(h, "ended");
}

int main(int argc, char **argv)
{
    struct host *h = xcalloc(1, sizeof *h);
    int rc = options(h, argc, argv);
    if (rc)
        return rc;
    pthread_mutex_t *all[] = {&h->seg_mu, &h->rep_mu, &h->fault_mu, &h->work_mu, &h->restore_mu};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        pthread_mutex_init(all[i], NULL);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files; /* every sstable keeps its block files open */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* all threads: main alone waits for them */
    rc = start(h);
    if (rc) {
        fprintf(stderr, "obstandin: host %d: %s\n", h->id, strerror(-rc));
        return 1;
    }
    obs_log(h, "host %d serves", h->id);
    int sig = 0;
    while (sigwait(&ends, &sig) != 0)
        ;
    stop(h);
    /* Connections of the RPC server may still be there: leave without unwinding them. */
    _exit(0);
}
