#include "base/clock.h"
#include "cli/cli.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_CONFIG = 256,
    OPT_CA,
    OPT_CERT,
    OPT_KEY,
    OPT_TIMEOUT,
    OPT_RUN_KEY,
    OPT_TENANT,
    OPT_TO,
    OPT_AT,
    OPT_TARGET,
    OPT_POOL,
    OPT_LOCALITY,
    OPT_PRIMARY_ZONE,
    OPT_RUNNING,
    OPT_LIMIT,
    OPT_SINCE,
    OPT_FOLLOW,
    OPT_CHECK,
    OPT_HELP,
};

static const struct argp_option OPTIONS[] = {
    {"coordinator", 'c', "HOST:PORT", 0, "coordinator (OBVAULT_COORDINATOR), or unix:/path", 1},
    {"config", OPT_CONFIG, "FILE", 0, "where these stand (OBVAULT_CONFIG, /etc/obvault/cli.yaml)", 1},
    {"ca", OPT_CA, "FILE", 0, "authority of the certificates (OBVAULT_CA)", 1},
    {"cert", OPT_CERT, "FILE", 0, "own certificate (OBVAULT_CERT)", 1},
    {"key", OPT_KEY, "FILE", 0, "its key (OBVAULT_KEY)", 1},
    {"output", 'o', "text|json", 0, "form of the output", 2},
    {"wait", 'w', NULL, 0, "wait for the end, with progress", 2},
    {"timeout", OPT_TIMEOUT, "TIME", 0, "longest time of the command: 90s, 15m, 2h", 2},
    {"run-key", OPT_RUN_KEY, "TEXT", 0, "name of this start: a repetition finds the same job", 2},
    {"tenant", OPT_TENANT, "NAME", 0, "source tenant", 3},
    {"to", OPT_TO, "NAME", 0, "restore: name of the new tenant", 3},
    {"at", OPT_AT, "TIME", 0, "restore: RFC 3339 with an offset, or microseconds since 1970", 3},
    {"target", OPT_TARGET, "NAME", 0, "restore: target cluster of the configuration", 3},
    {"pool", OPT_POOL, "LIST", 0, "restore: resource pools of the target, separated by commas", 3},
    {"locality", OPT_LOCALITY, "TEXT", 0, "restore: instead of the backup's", 3},
    {"primary-zone", OPT_PRIMARY_ZONE, "TEXT", 0, "restore: instead of the backup's", 3},
    {"running", OPT_RUNNING, NULL, 0, "job list: only running ones", 4},
    {"limit", OPT_LIMIT, "N", 0, "job list, events: at most so many (50, 100)", 4},
    {"since", OPT_SINCE, "TIME", 0, "events: from this time on, or so long ago: 90s, 15m, 2h, 1d", 4},
    {"follow", OPT_FOLLOW, NULL, 0, "events: go on with new ones", 4},
    {"check", OPT_CHECK, "deep", OPTION_ARG_OPTIONAL,
     "restore plan: look whether all objects are there; deep: read them", 4},
    {"help", OPT_HELP, NULL, 0, "this text", -1},
    {0},
};

typedef struct parsing {
    obv_cli *c;
    obv_err *err;
    size_t words;
    bool help;
} parsing;

obv_code obv_cli_duration(const char *text, int64_t *us, obv_err *err)
{
    char *end = NULL;
    const long long n = strtoll(text, &end, 10);
    int64_t unit = 0;
    if (end == text || n < 0 || n > 100LL * 365 * 86400)
        return obv_fail(err, OBV_E_INVAL, 0, "%.40s is no time: 90s, 15m, 2h, 1d", text);
    if (strcmp(end, "") == 0 || strcmp(end, "s") == 0)
        unit = 1;
    else if (strcmp(end, "m") == 0)
        unit = 60;
    else if (strcmp(end, "h") == 0)
        unit = 3600;
    else if (strcmp(end, "d") == 0)
        unit = 86400;
    if (unit == 0 || __builtin_mul_overflow(n, unit * OBV_US_PER_S, us))
        return obv_fail(err, OBV_E_INVAL, 0, "%.40s is no time: 90s, 15m, 2h, 1d", text);
    return OBV_OK;
}

static void give(obv_cli *c, const char **field, const char *value, uint32_t bit)
{
    *field = value;
    c->given |= bit;
}

static error_t refuse(parsing *p, const char *text, const char *arg)
{
    (void)obv_fail(p->err, OBV_E_INVAL, 0, "%s%s%.60s", text, arg ? ": " : "", arg ? arg : "");
    return EINVAL;
}

static error_t take_word(parsing *p, const char *word)
{
    obv_cli *c = p->c;
    switch (p->words++) {
    case 0:
        c->noun = word;
        return 0;
    case 1:
        c->verb = word;
        return 0;
    case 2:
        give(c, &c->id, word, OBV_CLI_HAS_ID);
        return 0;
    default:
        return refuse(p, "one word too many", word);
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    parsing *p = state->input;
    obv_cli *c = p->c;
    switch (key) {
    case 'c':
        c->coordinator = arg;
        return 0;
    case OPT_CONFIG:
        c->config = arg;
        return 0;
    case OPT_CA:
        c->ca = arg;
        return 0;
    case OPT_CERT:
        c->cert = arg;
        return 0;
    case OPT_KEY:
        c->key = arg;
        return 0;
    case 'o':
        c->json = strcmp(arg, "json") == 0;
        return c->json || strcmp(arg, "text") == 0 ? 0 : refuse(p, "--output is text or json", arg);
    case 'w':
        c->wait = true;
        c->given |= OBV_CLI_HAS_WAIT;
        return 0;
    case OPT_TIMEOUT:
        return obv_cli_duration(arg, &c->timeout_us, p->err) == OBV_OK ? 0 : EINVAL;
    case OPT_RUN_KEY:
        give(c, &c->run_key, arg, OBV_CLI_HAS_RUN_KEY);
        return 0;
    case OPT_TENANT:
        give(c, &c->tenant, arg, OBV_CLI_HAS_TENANT);
        return 0;
    case OPT_TO:
        give(c, &c->to, arg, OBV_CLI_HAS_TO);
        return 0;
    case OPT_AT:
        c->given |= OBV_CLI_HAS_AT;
        return obv_time_parse(arg, &c->at_us, p->err) == OBV_OK ? 0 : EINVAL;
    case OPT_TARGET:
        give(c, &c->target, arg, OBV_CLI_HAS_TARGET);
        return 0;
    case OPT_POOL:
        give(c, &c->pools, arg, OBV_CLI_HAS_POOL);
        return 0;
    case OPT_LOCALITY:
        give(c, &c->locality, arg, OBV_CLI_HAS_LOCALITY);
        return 0;
    case OPT_PRIMARY_ZONE:
        give(c, &c->primary_zone, arg, OBV_CLI_HAS_PRIMARY_ZONE);
        return 0;
    case OPT_RUNNING:
        c->running_only = true;
        c->given |= OBV_CLI_HAS_RUNNING;
        return 0;
    case OPT_LIMIT: {
        char *end = NULL;
        const unsigned long n = strtoul(arg, &end, 10);
        if (*end || n < 1 || n > 1000)
            return refuse(p, "--limit is 1 to 1000", arg);
        c->limit = (uint32_t)n;
        c->given |= OBV_CLI_HAS_LIMIT;
        return 0;
    }
    case OPT_SINCE: {
        int64_t ago = 0;
        obv_err no_span = {0};
        c->given |= OBV_CLI_HAS_SINCE;
        if (strpbrk(arg, "smhd") && obv_cli_duration(arg, &ago, &no_span) == OBV_OK) {
            c->since_us = obv_now_us() - ago;
            return 0;
        }
        return obv_time_parse(arg, &c->since_us, p->err) == OBV_OK ? 0 : EINVAL;
    }
    case OPT_FOLLOW:
        c->follow = true;
        c->given |= OBV_CLI_HAS_FOLLOW;
        return 0;
    case OPT_CHECK:
        if (arg && strcmp(arg, "deep") != 0) {
            (void)obv_fail(p->err, OBV_E_INVAL, 0, "--check=%.40s: it is --check or --check=deep", arg);
            return EINVAL;
        }
        c->deep = arg != NULL;
        c->given |= OBV_CLI_HAS_CHECK;
        return 0;
    case OPT_HELP:
        p->help = true;
        return 0;
    case ARGP_KEY_ARG:
        return take_word(p, arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The list of commands behind the options in --help. */
static char *help(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)(uintptr_t)text;
    obv_buf b = obv_buf_heap(1u << 16);
    char line[256];
    obv_buf_append(&b, "Commands:\n", 10);
    const obv_cli_command *k;
    for (size_t i = 0; (k = obv_cli_command_at(i)) != NULL; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "%s%s%s", k->noun, k->verb ? " " : "", k->verb ? k->verb : "");
        const int n = snprintf(line, sizeof line, "  %-18s %s\n", name, k->doc);
        obv_buf_append(&b, line, n > 0 ? (size_t)n : 0);
    }
    obv_buf_append(&b, "", 1);
    return (char *)b.data; /* argp frees it */
}

obv_code obv_cli_parse(int argc, char **argv, obv_cli *c, obv_err *err)
{
    static const struct argp ARGP = {
        OPTIONS, parse, "NOUN [VERB] [ID]", "Backup and recovery of OceanBase: asks the coordinator.\v", NULL,
        help,    NULL};
    parsing p = {.c = c, .err = err};
    *err = (obv_err){0};
    const error_t e = argp_parse(&ARGP, argc, argv, ARGP_SILENT, NULL, &p);
    if (p.help) {
        char name[] = "obvault";
        argp_help(&ARGP, stdout, ARGP_HELP_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
        exit(0);
    }
    if (err->code != OBV_OK)
        return err->code;
    return e == 0 ? obv_cli_configure(c, err)
                  : obv_fail(err, OBV_E_INVAL, 0, "unknown option, or one without its value");
}
