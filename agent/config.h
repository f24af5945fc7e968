/* config.h - agent.yaml (docs/agent.md) */
#ifndef OBV_AGENT_CONFIG_H
#define OBV_AGENT_CONFIG_H

#include "base/config.h"
#include "host/store.h"

#include <stdbool.h>

struct obv_agent_tls {
    char *ca, *cert, *key;
};

struct obv_agent_observer {
    char *ip;
    uint32_t rpc_port, sql_port;
    char *store_dir, *user, *password_file;
};

struct obv_agent_cluster {
    char *name;
    uint64_t id;
};

struct obv_agent_repository {
    char *plugin;
    obv_store_option *options;
    uint32_t option_count;
    char *uuid; /* "" = the one first seen */
};

typedef struct obv_agent_config {
    char *coordinator; /* host:port */
    struct obv_agent_tls tls;
    char *state_dir;
    char *log_level;
    uint32_t pool_mib, workers, batches;
    char *commit_proof; /* "ilog" or "fast" */
    struct obv_agent_observer observer;
    struct obv_agent_cluster cluster;
    struct obv_agent_repository repository;
} obv_agent_config;

/** Loads and checks. OBV_E_CONFIG names file, line and key. */
OBV_CHECK obv_code obv_agent_config_load(const char *path, obv_agent_config *out, obv_err *err);
/** The same with flags and environment before the file; both may be NULL. */
OBV_CHECK obv_code obv_agent_config_load_with(const char *path, const obv_config_given *given, obv_agent_config *out,
                                              obv_config_origins *origins, obv_err *err);
/** Takes the keys' flags out of argv. OBV_E_INVAL. */
OBV_CHECK obv_code obv_agent_config_flags(int *argc, char **argv, obv_config_given *out, obv_err *err);
/** Effective values as YAML, each with where it came from. */
void obv_agent_config_show(const obv_agent_config *c, const obv_config_origins *origins, obv_buf *out);
void obv_agent_config_fini(obv_agent_config *c);
/** Effective values as YAML. */
void obv_agent_config_print(const obv_agent_config *c, obv_buf *out);
/** Rows for docs/agent.md. */
void obv_agent_config_describe(obv_buf *out);
/** What --check-config tries beyond the text: certificate files, password file, plugin and its options. */
OBV_CHECK obv_code obv_agent_config_check(const obv_agent_config *c, obv_err *err);
obv_store_config obv_agent_store_config(const obv_agent_config *c);

#endif
