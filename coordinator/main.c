#define OBV_LOG_MOD "main"
#include "api/api.h"
#include "base/fault.h"
#include "base/log.h"
#include "handles.h"
#include "job/archive.h"
#include "job/runner.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_GRACE_MS 3000

const char *argp_program_version = "obvault-coordinator " OBV_VERSION;

enum { OPT_CHECK = 256, OPT_PRINT, OPT_SHOW, OPT_DESCRIBE, OPT_FAULTS };

typedef struct options {
    const char *config;
    obv_config_given given; /* flags and environment */
    bool check, print, show, describe, faults;
} options;

static const struct argp_option OPTIONS[] = {
    {"config", 'c', "FILE", 0, "configuration, default /etc/obvault/coordinator.yaml", 0},
    {"check-config", OPT_CHECK, NULL, 0, "check the configuration and exit", 0},
    {"print-config", OPT_PRINT, NULL, 0, "print the effective configuration and exit", 0},
    {"show-config", OPT_SHOW, NULL, 0, "print it with where each value came from, and exit", 0},
    {"describe-config", OPT_DESCRIBE, NULL, 0, "print a table of all keys and exit", 0},
#ifdef OBV_TEST_FAULTS
    {"list-fault-points", OPT_FAULTS, NULL, 0, "print the fault points of this test build and exit", 0},
#endif
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    switch (key) {
    case 'c':
        o->config = arg;
        return 0;
    case OPT_CHECK:
        o->check = true;
        return 0;
    case OPT_PRINT:
        o->print = true;
        return 0;
    case OPT_SHOW:
        o->show = true;
        return 0;
    case OPT_DESCRIBE:
        o->describe = true;
        return 0;
    case OPT_FAULTS:
        o->faults = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_usage(state);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_buf(obv_buf *b)
{
    (void)fwrite(b->data, 1, b->len, stdout);
    obv_buf_fini(b);
}

/* Everything that runs; taken down in reverse. */
typedef struct daemon {
    obv_coordinator_config cfg;
    obv_settings settings;
    obv_state *state;
    obv_registry *registry;
    obv_runner *runner;
    obv_rpc_server *server;
    obv_rpc_route *routes;
    const char **targets;
    obv_board *board;
    obv_doctor_target *doctor_targets;
    obv_doctor_site site;
    obv_api api;
} daemon_t;

/* The configuration as api and doctor see it. */
static obv_code name_targets(daemon_t *d, obv_err *err)
{
    const obv_coordinator_config *c = &d->cfg;
    d->targets = calloc(c->target_count + 1, sizeof *d->targets);
    d->doctor_targets = calloc(c->target_count + 1, sizeof *d->doctor_targets);
    if (!d->targets || !d->doctor_targets)
        return obv_fail(err, OBV_E_NOMEM, 0, "targets");
    for (uint32_t i = 0; i < c->target_count; i++) {
        const obv_cluster_config *t = &c->targets[i];
        d->targets[i] = t->name;
        d->doctor_targets[i] = (obv_doctor_target){t->name, t->user, t->endpoints, t->endpoint_count};
    }
    d->site = (obv_doctor_site){.state_dir = c->state_dir,
                                .source_user = c->source.user,
                                .endpoints = c->source.endpoints,
                                .endpoint_count = c->source.endpoint_count,
                                .targets = d->doctor_targets,
                                .target_count = c->target_count};
    return OBV_OK;
}

static obv_code start(daemon_t *d, obv_err *err)
{
    const obv_clock clock = obv_clock_real();
    obv_repository repo;
    size_t n = 0;
    OBV_TRY(obv_state_open(d->cfg.state_dir, &d->state, err));
    OBV_TRY(obv_job_deadlines_anew(d->state, obv_clock_us(&clock), err));
    OBV_TRY(obv_registry_new(d->state, &clock, &d->registry, err));
    const obv_code have = obv_state_repository(d->state, &repo, err);
    if (have == OBV_OK)
        obv_registry_set_cluster(d->registry, repo.cluster_name, repo.cluster_id);
    else if (have != OBV_E_NOT_INITIALISED)
        return have;
    OBV_TRY(obv_board_new(&d->board, err));
    const obv_job_ctx x = {.s = d->state, .reg = d->registry, .clock = clock, .cfg = &d->settings, .board = d->board};
    obv_job_ctx resume = x;
    OBV_TRY(obv_archive_resume(&resume, err));

    OBV_TRY(name_targets(d, err));
    d->api = (obv_api){.x = x,
                       .clusters = obv_handles_new,
                       .clusters_free = obv_handles_free,
                       .ctx = &d->cfg,
                       .targets = d->targets,
                       .target_count = d->cfg.target_count,
                       .site = &d->site,
                       .cert = d->cfg.tls.cert};
    OBV_TRY(obv_api_routes(&d->api, &d->routes, &n, err));
    const obv_rpc_tls tls = {d->cfg.tls.ca, d->cfg.tls.cert, d->cfg.tls.key};
    obv_rpc_listen listen[] = {{.address = d->cfg.listen, .tls = &tls}, {.address = d->cfg.listen_local}};
    OBV_TRY(
        obv_rpc_server_start(listen, d->cfg.listen_local[0] ? 2 : 1, d->routes, n, d->cfg.threads, &d->server, err));
    OBV_TRY(obv_runner_start(&x, obv_handles_new, obv_handles_free, &d->cfg, &d->runner, err));
    OBV_INFO("coordinator " OBV_VERSION " listens on %s, port %d", d->cfg.listen, listen[0].port);
    return OBV_OK;
}

static void stop(daemon_t *d)
{
    obv_rpc_server_stop(d->server, STOP_GRACE_MS);
    obv_runner_stop(d->runner);
    obv_registry_free(d->registry);
    obv_state_close(d->state);
    obv_board_free(d->board);
    free(d->doctor_targets);
    free(d->routes);
    free(d->targets);
}

static int run(daemon_t *d)
{
    sigset_t set;
    int sig = 0;
    obv_err err = {0};
    obv_log_level level;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by all threads: only sigwait sees them */
    (void)signal(SIGPIPE, SIG_IGN);
    obv_code code = obv_log_level_parse(d->cfg.log_level, &level, &err);
    if (code == OBV_OK) {
        obv_log_set_level(level);
        code = start(d, &err);
    }
    if (code == OBV_OK) {
        (void)sigwait(&set, &sig);
        OBV_INFO("signal %d: stopping", sig);
    } else {
        OBV_ERROR_OF(&err, "start");
    }
    stop(d);
    return code == OBV_OK ? 0 : obv_code_describe(code)->exit_code;
}

int main(int argc, char **argv)
{
    static const struct argp ARGP = {
        OPTIONS,
        parse,
        NULL,
        "Coordinates log archiving, backups and restores.\v"
        "Each key of the configuration is also a flag (--tls.ca=FILE) and an environment "
        "variable (OBVAULT_COORDINATOR_TLS_CA): the flag goes first, then the environment, "
        "the file, the default.",
        NULL,
        NULL,
        NULL};
    options o = {.config = "/etc/obvault/coordinator.yaml", .given = {.env_prefix = "OBVAULT_COORDINATOR"}};
    static obv_config_origins origins;
    obv_err err = {0};
    daemon_t d = {0};
    if (obv_config_take_flags(OBV_COORDINATOR_CONFIG, &argc, argv, &o.given, &err) != OBV_OK) {
        (void)fprintf(stderr, "obvault-coordinator: %s\n", err.msg);
        return obv_code_describe(err.code)->exit_code;
    }
    if (argp_parse(&ARGP, argc, argv, 0, NULL, &o) != 0)
        return 2;
#ifdef OBV_TEST_FAULTS
    if (o.faults) {
        obv_fault_list(stdout);
        return 0;
    }
#endif
    obv_buf text = obv_buf_heap(1u << 20);
    if (o.describe) {
        obv_config_describe(OBV_COORDINATOR_CONFIG, &text);
        print_buf(&text);
        return 0;
    }
    const obv_code code = obv_coordinator_config_load(o.config, &o.given, &d.cfg, &d.settings, &origins, &err);
    if (code != OBV_OK) {
        (void)fprintf(stderr, "obvault-coordinator: %s\n", err.msg);
        return obv_code_describe(code)->exit_code;
    }
    int rc = 0;
    if (o.show) {
        obv_config_show(OBV_COORDINATOR_CONFIG, &d.cfg, &origins, &text);
        print_buf(&text);
    } else if (o.print) {
        obv_config_print(OBV_COORDINATOR_CONFIG, &d.cfg, &text);
        print_buf(&text);
    } else if (!o.check) {
        rc = run(&d);
    }
    obv_config_free(OBV_COORDINATOR_CONFIG, &d.cfg, sizeof d.cfg);
    return rc;
}
