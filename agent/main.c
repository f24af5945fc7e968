/* main.c - obvault-agent: one process beside each OBServer */
#define OBV_LOG_MOD "agent"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "config.h"
#include "destination.h"
#include "job/backup.h"
#include "local.h"
#include "source/observer.h"
#include "sync.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>

enum {
    KEY_CHECK = 0x100,
    KEY_PRINT,
    KEY_SHOW,
    KEY_FAULTS,
    KEY_UUID,
    KEY_ADOPT,
    KEY_SET,
    KEY_DEPTH,
    KEY_OUTPUT,
    READ_AHEAD_BLOCKS = 8,
    STOP_MAX_S = 30,
    FILES_WANTED = 65536,
};

struct options {
    const char *config;
    obv_config_given given; /* flags and environment */
    bool check, print, show, faults;
    struct obv_local_options local;
    char *words[4];
    unsigned word_count;
};

const char *argp_program_version = "obvault-agent " OBV_VERSION;

static const struct argp_option OPTIONS[] = {
    {"config", 'c', "FILE", 0, "configuration (default /etc/obvault/agent.yaml)", 0},
    {"check-config", KEY_CHECK, NULL, 0, "check it, the files it names and the plugin, then exit", 0},
    {"print-config", KEY_PRINT, NULL, 0, "print the effective values, then exit", 0},
    {"show-config", KEY_SHOW, NULL, 0, "print them with where each came from, then exit", 0},
#ifdef OBV_TEST_FAULTS
    {"list-fault-points", KEY_FAULTS, NULL, 0, "print the fault points of this test build, then exit", 0},
#endif
    {"uuid", KEY_UUID, "UUID", 0, "local repo init: the uuid to give", 1},
    {"adopt", KEY_ADOPT, NULL, 0, "local repo check: take the repository that is there now for this agent's", 1},
    {"set", KEY_SET, "N", 0, "local verify: only this backup set, without the log archive", 1},
    {"depth", KEY_DEPTH, "lists|deep", 0,
     "local verify: deep (default) reads every byte, lists leaves out blocks and log", 1},
    {"output", KEY_OUTPUT, "text|json", 0, "local verify: text, or JSON lines", 1},
    {0}};

/* A decimal number above 0; 0 if it is none. */
static int64_t positive(const char *text)
{
    char *end = NULL;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || v < 0 ? 0 : v;
}

/* True for the first word, false for the second; anything else ends the program. */
static bool one_of(const char *arg, const char *yes, const char *no, const struct argp_state *state, const char *option)
{
    if (strcmp(arg, yes) == 0)
        return true;
    if (strcmp(arg, no) != 0)
        argp_error(state, "%s takes %s or %s, not \"%s\"", option, yes, no, arg);
    return false;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'c':
        o->config = arg;
        return 0;
    case KEY_CHECK:
        o->check = true;
        return 0;
    case KEY_PRINT:
        o->print = true;
        return 0;
    case KEY_SHOW:
        o->print = o->show = true;
        return 0;
    case KEY_FAULTS:
        o->faults = true;
        return 0;
    case KEY_UUID:
        o->local.uuid = arg;
        return 0;
    case KEY_ADOPT:
        o->local.adopt = true;
        return 0;
    case KEY_SET:
        o->local.set_id = positive(arg);
        if (o->local.set_id == 0)
            argp_error(state, "--set takes the number of a set, not \"%s\"", arg);
        return 0;
    case KEY_DEPTH:
        o->local.lists_only = one_of(arg, "lists", "deep", state, "--depth");
        return 0;
    case KEY_OUTPUT:
        o->local.json = one_of(arg, "json", "text", state, "--output");
        return 0;
    case ARGP_KEY_ARG:
        if (o->word_count == sizeof o->words / sizeof *o->words)
            argp_error(state, "too many words");
        o->words[o->word_count++] = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* c NULL: two words. */
static bool words_are(const struct options *o, const char *a, const char *b, const char *c)
{
    return o->word_count == (c ? 3 : 2) && strcmp(o->words[0], a) == 0 && strcmp(o->words[1], b) == 0 &&
           (!c || strcmp(o->words[2], c) == 0);
}

static int fail_with(const obv_err *e)
{
    const obv_code_info *info = obv_code_describe(e->code);
    (void)fprintf(stderr, "obvault-agent: %s\n  %s\n", e->msg, e->hint[0] ? e->hint : info->default_hint);
    return info->exit_code;
}

/* ---- the daemon */

struct agent {
    int lock_fd;
    obv_journal *journal;
    obv_pool *pool;
    obv_source *source;
    obv_destination *destination;
    obv_sync *sync;
};

static obv_code lock_state_dir(const char *dir, int *fd, obv_err *err)
{
    char path[4096];
    OBV_TRY(obv_file_mkdirs(dir, 0700, err));
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "open %s: %s", path, strerrordesc_np(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return obv_fail(err, OBV_E_BUSY, errno, "state_dir %s belongs to another agent that runs", dir);
    return OBV_OK;
}

static obv_code open_source(const obv_agent_config *cfg, obv_source **out, obv_err *err)
{
    const obv_observer_config oc = {.ip = cfg->observer.ip,
                                    .rpc_port = (uint16_t)cfg->observer.rpc_port,
                                    .cluster_id = (int64_t)cfg->cluster.id,
                                    .read_ahead_blocks = READ_AHEAD_BLOCKS};
    return obv_observer_open(&oc, out, err);
}

static obv_code start(struct agent *a, const obv_agent_config *cfg, obv_err *err)
{
    char path[4096];
    const size_t buffer = (obv_backup_buffer_bytes() + OBV_POOL_ALIGN - 1) & ~(size_t)(OBV_POOL_ALIGN - 1);
    OBV_TRY(lock_state_dir(cfg->state_dir, &a->lock_fd, err));
    (void)snprintf(path, sizeof path, "%s/journal.db", cfg->state_dir);
    OBV_TRY(obv_journal_open(path, &a->journal, err));
    OBV_TRY(obv_pool_new(buffer, (uint32_t)(((uint64_t)cfg->pool_mib << 20) / buffer), &a->pool, err));
    OBV_TRY(open_source(cfg, &a->source, err));
    OBV_TRY(obv_destination_start(cfg, a->journal, &a->destination, err));
    const obv_sync_config sc = {
        .cfg = cfg, .journal = a->journal, .destination = a->destination, .source = a->source, .pool = a->pool};
    return obv_sync_start(&sc, &a->sync, err);
}

static void stop(struct agent *a)
{
    obv_sync_end(a->sync);
    obv_destination_end(a->destination);
    if (a->source)
        a->source->ops->close(a->source);
    obv_pool_free(a->pool);
    obv_journal_close(a->journal);
    if (a->lock_fd >= 0)
        (void)close(a->lock_fd);
}

/* Each PG that archives log has an open file between its append and its sync. */
static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_WANTED)
        return;
    files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
    (void)setrlimit(RLIMIT_NOFILE, &files); /* with fewer files it works, but slower */
}

static int serve(const obv_agent_config *cfg)
{
    struct agent a = {.lock_fd = -1};
    obv_err err = {0};
    sigset_t signals;
    int got = 0;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* all threads inherit it */
    (void)signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    const obv_code code = start(&a, cfg, &err);
    if (code == OBV_OK) {
        OBV_INFO("version %s, OBServer %s:%u, coordinator %s", OBV_VERSION, cfg->observer.ip, cfg->observer.rpc_port,
                 cfg->coordinator);
        while (sigwait(&signals, &got) != 0)
            ;
        OBV_INFO("signal %d: stopping", got);
        (void)alarm(STOP_MAX_S); /* a thread that hangs in a dead mount ends with the process; the journal is safe */
    }
    stop(&a);
    if (code != OBV_OK)
        return fail_with(&err);
    OBV_INFO("stopped");
    return 0;
}

static int run(const struct options *o)
{
    obv_agent_config cfg;
    obv_err err = {0};
    obv_log_level level = OBV_LOG_INFO;
    int exit_code = 0;
    static obv_config_origins origins;
    if (obv_agent_config_load_with(o->config, &o->given, &cfg, &origins, &err) != OBV_OK)
        return fail_with(&err);
    if (obv_log_level_parse(cfg.log_level, &level, &err) == OBV_OK)
        obv_log_set_level(level);
    if (o->print) {
        obv_buf text = obv_buf_heap(1 << 20);
        if (o->show)
            obv_agent_config_show(&cfg, &origins, &text);
        else
            obv_agent_config_print(&cfg, &text);
        (void)fwrite(text.data, 1, text.len, stdout);
        obv_buf_fini(&text);
    } else if (o->check) {
        if (obv_agent_config_check(&cfg, &err) != OBV_OK)
            exit_code = fail_with(&err);
    } else if (words_are(o, "local", "repo", "init")) {
        if (obv_local_repo_init(&cfg, &o->local, &err) != OBV_OK)
            exit_code = fail_with(&err);
    } else if (words_are(o, "local", "repo", "check")) {
        if (obv_local_repo_check(&cfg, &o->local, &err) != OBV_OK)
            exit_code = fail_with(&err);
    } else if (words_are(o, "local", "verify", NULL)) {
        if (obv_local_verify(&cfg, &o->local, &exit_code, &err) != OBV_OK)
            exit_code = fail_with(&err);
    } else if (o->word_count == 0) {
        exit_code = serve(&cfg);
    } else {
        (void)fprintf(stderr, "obvault-agent: unknown command; see --help\n");
        exit_code = 2;
    }
    obv_agent_config_fini(&cfg);
    return exit_code;
}

int main(int argc, char **argv)
{
    static const struct argp ARGP = {.options = OPTIONS,
                                     .parser = parse_option,
                                     .args_doc = "\nlocal repo init\nlocal repo check\nlocal verify",
                                     .doc = "Archives log and copies data of the OBServer on this host.\v"
                                            "Each key of the configuration is also a flag (--tls.ca=FILE) and an "
                                            "environment variable (OBVAULT_AGENT_TLS_CA): the flag goes first, then "
                                            "the environment, the file, the default."};
    struct options o = {.config = "/etc/obvault/agent.yaml", .given = {.env_prefix = "OBVAULT_AGENT"}};
    obv_err err = {0};
    argp_err_exit_status = 2;
    if (obv_agent_config_flags(&argc, argv, &o.given, &err) != OBV_OK)
        return fail_with(&err);
    if (argp_parse(&ARGP, argc, argv, 0, NULL, &o) != 0)
        return 2;
#ifdef OBV_TEST_FAULTS
    if (o.faults) {
        obv_fault_list(stdout);
        return 0;
    }
#endif
    return run(&o);
}
