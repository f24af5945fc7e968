#include "config.h"

#include "base/log.h"
#include "base/secret.h"
#include "host/repository.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* clang-format off */
static const obv_config_field TLS[] = {
    OBV_CONFIG_STR("ca", struct obv_agent_tls, ca, OBV_CONFIG_REQUIRED, NULL, "PEM file of the authority that signs all certificates"),
    OBV_CONFIG_STR("cert", struct obv_agent_tls, cert, OBV_CONFIG_REQUIRED, NULL, "PEM file of this agent's certificate; common name `agent:<ip>:<rpc_port>`"),
    OBV_CONFIG_STR("key", struct obv_agent_tls, key, OBV_CONFIG_REQUIRED, NULL, "PEM file of its key"),
    OBV_CONFIG_LAST};
static const obv_config_field OBSERVER[] = {
    OBV_CONFIG_STR("ip", struct obv_agent_observer, ip, OBV_CONFIG_REQUIRED, NULL, "IPv4 address of the local OBServer, as the cluster knows it"),
    OBV_CONFIG_U32("rpc_port", struct obv_agent_observer, rpc_port, 2882, 1, 65535, "its RPC port"),
    OBV_CONFIG_U32("sql_port", struct obv_agent_observer, sql_port, 2881, 1, 65535, "its SQL port"),
    OBV_CONFIG_STR("store_dir", struct obv_agent_observer, store_dir, OBV_CONFIG_REQUIRED, NULL, "its store folder: clog and ilog lie below it"),
    OBV_CONFIG_STR("user", struct obv_agent_observer, user, OBV_CONFIG_REQUIRED, NULL, "account of the sys tenant with SELECT only (docs/sql.md)"),
    OBV_CONFIG_STR("password_file", struct obv_agent_observer, password_file, OBV_CONFIG_REQUIRED, NULL, "file whose first line is its password; not readable for others"),
    OBV_CONFIG_LAST};
static const obv_config_field CLUSTER[] = {
    OBV_CONFIG_STR("name", struct obv_agent_cluster, name, OBV_CONFIG_REQUIRED, NULL, "the OceanBase parameter cluster"),
    OBV_CONFIG_U64("id", struct obv_agent_cluster, id, 0, 1, INT64_MAX, "the OceanBase parameter cluster_id"),
    OBV_CONFIG_LAST};
static const obv_config_field OPTION[] = {
    OBV_CONFIG_STR("key", obv_store_option, key, OBV_CONFIG_REQUIRED, NULL, "name of an option of the plugin"),
    OBV_CONFIG_STR("value", obv_store_option, value, OBV_CONFIG_REQUIRED, NULL, "its value"),
    OBV_CONFIG_LAST};
static const obv_config_field REPOSITORY[] = {
    OBV_CONFIG_STR("plugin", struct obv_agent_repository, plugin, OBV_CONFIG_REQUIRED, NULL, "path of the storage plugin's .so"),
    OBV_CONFIG_LIST("options", struct obv_agent_repository, options, option_count, OPTION, 64, "given to the plugin (docs/plugin-file.md)"),
    OBV_CONFIG_STR("uuid", struct obv_agent_repository, uuid, 0, "", "the repository this agent may write to; empty: the one it saw first"),
    OBV_CONFIG_LAST};
static const obv_config_field CONF[] = {
    OBV_CONFIG_STR("coordinator", obv_agent_config, coordinator, OBV_CONFIG_REQUIRED, NULL, "host:port of the coordinator"),
    OBV_CONFIG_SECTION("tls", obv_agent_config, tls, TLS, "mutual TLS"),
    OBV_CONFIG_STR("state_dir", obv_agent_config, state_dir, OBV_CONFIG_REQUIRED, NULL, "folder of this agent alone: its journal"),
    OBV_CONFIG_STR("log_level", obv_agent_config, log_level, 0, "info", "error, warn, info, detail or debug"),
    OBV_CONFIG_U32("pool_mib", obv_agent_config, pool_mib, 256, 32, 65536, "memory for data on its way; the process stays below this + 128 MiB"),
    OBV_CONFIG_U32("workers", obv_agent_config, workers, 2, 1, 64, "PGs copied at once"),
    OBV_CONFIG_U32("batches", obv_agent_config, batches, 2, 1, 8, "batches of PGs at work at once"),
    OBV_CONFIG_STR("commit_proof", obv_agent_config, commit_proof, 0, "ilog", "what proves that a log is committed: ilog, the OBServer's own index of committed logs (10 to 20 s later); fast, for PGs led on this host, what the leader says"),
    OBV_CONFIG_SECTION("observer", obv_agent_config, observer, OBSERVER, "the OBServer on this host"),
    OBV_CONFIG_SECTION("cluster", obv_agent_config, cluster, CLUSTER, "the cluster it belongs to"),
    OBV_CONFIG_SECTION("repository", obv_agent_config, repository, REPOSITORY, "the destination"),
    OBV_CONFIG_LAST};
/* clang-format on */

static obv_code check_values(const char *path, const obv_agent_config *c, obv_err *err)
{
    char prefix[256];
    struct in_addr ip;
    obv_log_level level;
    if (obv_log_level_parse(c->log_level, &level, err) != OBV_OK)
        return obv_wrap(err, "%s: log_level", path);
    if (strcmp(c->commit_proof, "ilog") != 0 && strcmp(c->commit_proof, "fast") != 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "%s: commit_proof \"%s\" is neither ilog nor fast", path,
                        c->commit_proof);
    if (inet_pton(AF_INET, c->observer.ip, &ip) != 1)
        return obv_fail(err, OBV_E_CONFIG, 0, "%s: observer.ip \"%s\" is no IPv4 address", path, c->observer.ip);
    if (!strrchr(c->coordinator, ':'))
        return obv_fail(err, OBV_E_CONFIG, 0, "%s: coordinator \"%s\" is not host:port", path, c->coordinator);
    if (obv_repository_prefix(c->cluster.name, c->cluster.id, prefix, sizeof prefix, err) != OBV_OK) {
        if (err)
            err->code = OBV_E_CONFIG;
        return obv_wrap(err, "%s: cluster", path);
    }
    return OBV_OK;
}

obv_code obv_agent_config_load(const char *path, obv_agent_config *out, obv_err *err)
{
    return obv_agent_config_load_with(path, NULL, out, NULL, err);
}

obv_code obv_agent_config_flags(int *argc, char **argv, obv_config_given *out, obv_err *err)
{
    return obv_config_take_flags(CONF, argc, argv, out, err);
}

void obv_agent_config_show(const obv_agent_config *c, const obv_config_origins *origins, obv_buf *out)
{
    obv_config_show(CONF, c, origins, out);
}

obv_code obv_agent_config_load_with(const char *path, const obv_config_given *given, obv_agent_config *out,
                                    obv_config_origins *origins, obv_err *err)
{
    *out = (obv_agent_config){0};
    OBV_TRY(obv_config_load_with(path, CONF, given, out, sizeof *out, origins, err));
    const obv_code code = check_values(path, out, err);
    if (code != OBV_OK)
        obv_agent_config_fini(out);
    return code;
}

void obv_agent_config_fini(obv_agent_config *c) { obv_config_free(CONF, c, sizeof *c); }

void obv_agent_config_print(const obv_agent_config *c, obv_buf *out) { obv_config_print(CONF, c, out); }

void obv_agent_config_describe(obv_buf *out) { obv_config_describe(CONF, out); }

obv_store_config obv_agent_store_config(const obv_agent_config *c)
{
    return (obv_store_config){.plugin_path = c->repository.plugin,
                              .options = c->repository.options,
                              .option_count = c->repository.option_count};
}

static obv_code check_readable(const char *what, const char *path, obv_err *err)
{
    if (access(path, R_OK) == 0)
        return OBV_OK;
    return obv_fail(err, OBV_E_CONFIG, errno, "%s: %s: %s", what, path, strerrordesc_np(errno));
}

obv_code obv_agent_config_check(const obv_agent_config *c, obv_err *err)
{
    const obv_store_config sc = obv_agent_store_config(c);
    OBV_AUTO(obv_secret_freep) obv_secret *password = NULL;
    obv_store *store = NULL;
    OBV_TRY(check_readable("tls.ca", c->tls.ca, err));
    OBV_TRY(check_readable("tls.cert", c->tls.cert, err));
    OBV_TRY(check_readable("tls.key", c->tls.key, err));
    OBV_TRY(check_readable("observer.store_dir", c->observer.store_dir, err));
    if (obv_secret_load(c->observer.password_file, &password, err) != OBV_OK)
        return obv_wrap(err, "observer.password_file");
    if (obv_store_open(&sc, &store, err) != OBV_OK)
        return obv_wrap(err, "repository");
    obv_store_close(store);
    return OBV_OK;
}
