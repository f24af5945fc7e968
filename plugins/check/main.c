/* main.c - obvault-plugin-check: grades a storage plugin against the contract of storage_plugin.h */
#include "kit.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { EXIT_CONFORMS = 0, EXIT_FAILS = 1, EXIT_USAGE = 2 };

const struct kit_group *const KIT_GROUPS[] = {&KIT_ABI,     &KIT_OPEN,  &KIT_PUT,    &KIT_EXCLUSIVE, &KIT_APPEND,
                                              &KIT_READ,    &KIT_LIST,  &KIT_REMOVE, &KIT_MEMORY,    &KIT_CANCEL,
                                              &KIT_THREADS, &KIT_CRASH, &KIT_DISK,   &KIT_ERRORS};
const size_t KIT_GROUP_COUNT = sizeof KIT_GROUPS / sizeof *KIT_GROUPS;

enum { OPT_JSON = 1, OPT_ONLY, OPT_LIST, OPT_DESCRIBE, OPT_BIG, OPT_KEYS, OPT_TIMEOUT, OPT_FOLDER, OPT_CREDENTIAL };

static const struct argp_option OPTIONS[] = {
    {"json", OPT_JSON, NULL, 0, "One JSON document instead of text", 0},
    {"only", OPT_ONLY, "CASE", 0, "Only this case, or this group of cases (\"put\"); may be repeated", 0},
    {"list", OPT_LIST, NULL, 0, "List the cases and the sentence of the contract that each one is about", 0},
    {"describe", OPT_DESCRIBE, NULL, 0, "Print the options that the plugin declares", 0},
    {"big", OPT_BIG, "MIB", 0, "Size of the big object (64)", 0},
    {"keys", OPT_KEYS, "N", 0, "Keys in the long listing (10000)", 0},
    {"timeout", OPT_TIMEOUT, "SECONDS", 0, "For each case (300)", 0},
    {"folder-option", OPT_FOLDER, "NAME", 0,
     "The option that is a local folder, when the plugin does not declare it (a wrapper)", 0},
    {"credential", OPT_CREDENTIAL, "NAME=FILE", 0, "A credential that the plugin may ask for; may be repeated", 0},
    {0},
};

struct command {
    struct kit_config cfg;
    const char *plugin;
    bool list, describe;
};

static bool split(const char *arg, obv_kv *out)
{
    char *copy = strdup(arg);
    char *equals = copy ? strchr(copy, '=') : NULL;
    if (!equals)
        return false;
    *equals = '\0';
    *out = (obv_kv){copy, equals + 1};
    return true;
}

static uint64_t number(const struct argp_state *state, const char *what, const char *arg, uint64_t max)
{
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(arg, &end, 10);
    if (errno || *end || end == arg || v == 0 || v > max)
        argp_error(state, "%s: a number from 1 to %llu, not \"%s\"", what, (unsigned long long)max, arg);
    return v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct command *c = state->input;
    struct kit_config *cfg = &c->cfg;
    switch (key) {
    case OPT_JSON:
        cfg->json = true;
        return 0;
    case OPT_LIST:
        c->list = true;
        return 0;
    case OPT_DESCRIBE:
        c->describe = true;
        return 0;
    case OPT_ONLY:
        if (cfg->only_count == KIT_OPTIONS_MAX)
            argp_error(state, "too many --only");
        cfg->only[cfg->only_count++] = arg;
        return 0;
    case OPT_BIG:
        cfg->big_bytes = number(state, "--big", arg, 1 << 24) << 20;
        return 0;
    case OPT_KEYS:
        cfg->keys = (unsigned)number(state, "--keys", arg, 100000000);
        return 0;
    case OPT_TIMEOUT:
        cfg->timeout_s = (unsigned)number(state, "--timeout", arg, 86400);
        return 0;
    case OPT_FOLDER:
        cfg->folder_option = arg;
        return 0;
    case OPT_CREDENTIAL:
        if (cfg->credential_count == KIT_OPTIONS_MAX || !split(arg, &cfg->credentials[cfg->credential_count]))
            argp_error(state, "--credential: NAME=FILE, not \"%s\"", arg);
        cfg->credential_count++;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            c->plugin = arg;
        else if (cfg->option_count == KIT_OPTIONS_MAX || !split(arg, &cfg->options[cfg->option_count++]))
            argp_error(state, "an option of the plugin is key=value, not \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!c->plugin && !c->list)
            argp_error(state, "which plugin?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A group's name stands for all its cases. */
static bool is_wanted(const struct kit_config *cfg, const struct kit_case *c)
{
    for (size_t i = 0; i < cfg->only_count; i++) {
        const size_t len = strlen(cfg->only[i]);
        if (strncmp(c->name, cfg->only[i], len) == 0 && (c->name[len] == '\0' || c->name[len] == '.'))
            return true;
    }
    return cfg->only_count == 0;
}

static int run(struct kit *k)
{
    unsigned wanted = 0;
    char why[KIT_TEXT_MAX + KIT_PATH_MAX];
    kit_run_inspect(k);
    if ((k->info->opened || k->info->folder[0]) && kit_run_is_empty(k, why, sizeof why) != 0) {
        (void)fprintf(stderr, "the repository must be empty, everything in it would be removed: %s\n", why);
        return EXIT_USAGE;
    }
    if (k->info->folder[0])
        (void)kit_wipe(k->info->folder);
    kit_report_begin(k);
    for (size_t g = 0; g < KIT_GROUP_COUNT; g++) {
        for (size_t i = 0; i < KIT_GROUPS[g]->count; i++) {
            const struct kit_case *c = &KIT_GROUPS[g]->cases[i];
            struct kit_result res;
            if (!is_wanted(k->cfg, c))
                continue;
            wanted++;
            kit_run_case(k, c, &res);
            kit_report_case(k, c, &res);
        }
    }
    const bool good = kit_report_end(k);
    if (wanted == 0)
        (void)fprintf(stderr, "no case is named so: see --list\n");
    return wanted == 0 ? EXIT_USAGE : good ? EXIT_CONFORMS : EXIT_FAILS;
}

int main(int argc, char **argv)
{
    static const struct argp ARGP = {
        OPTIONS,
        parse,
        "PLUGIN.so [KEY=VALUE...]",
        "Grades a storage plugin case by case against the contract of obvault/storage_plugin.h.\v"
        "The repository that the options name must be empty; everything stored in it is removed. Run as root, cases "
        "about full, read-only and replaced disks are tried too when the repository is a local folder.\n\n"
        "Exit code: 0 every required case passed, 1 not so, 2 usage.\n",
        NULL,
        NULL,
        NULL};
    static struct command c = {.cfg = {.big_bytes = 64u << 20, .keys = 10000, .timeout_s = 300}};
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&ARGP, argc, argv, 0, NULL, &c) != 0)
        return EXIT_USAGE;
    if (c.list) {
        kit_report_list(c.cfg.json);
        return EXIT_CONFORMS;
    }
    c.cfg.so = realpath(c.plugin, NULL);
    if (!c.cfg.so) {
        (void)fprintf(stderr, "%s: %m\n", c.plugin);
        return EXIT_USAGE;
    }
    struct kit k = {.cfg = &c.cfg};
    k.shared = mmap(NULL, sizeof *k.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (k.shared == MAP_FAILED) {
        (void)fprintf(stderr, "no shared memory: %m\n");
        return EXIT_FAILS;
    }
    if (c.describe) {
        kit_run_inspect(&k);
        if (!k.info->loaded) {
            (void)fprintf(stderr, "%s: %s\n", c.cfg.so, k.info->trouble);
            return EXIT_FAILS;
        }
        kit_report_describe(k.info, c.cfg.json);
        return EXIT_CONFORMS;
    }
    return run(&k);
}
