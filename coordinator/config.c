#include "config.h"

#include "cluster/cluster.h"

#include <stdio.h>
#include <string.h>

static const obv_config_field TLS[] = {
    OBV_CONFIG_STR("ca", __typeof__(((obv_coordinator_config *)0)->tls), ca, 0, "",
                   "PEM file: authority of all certificates"),
    OBV_CONFIG_STR("cert", __typeof__(((obv_coordinator_config *)0)->tls), cert, 0, "",
                   "PEM file: own certificate, common name coordinator"),
    OBV_CONFIG_STR("key", __typeof__(((obv_coordinator_config *)0)->tls), key, 0, "", "PEM file: its key"),
    OBV_CONFIG_LAST,
};
static const obv_config_field SOURCE[] = {
    OBV_CONFIG_STR("name", __typeof__(((obv_coordinator_config *)0)->source), name, 0, "",
                   "cluster name; \"\" = as the cluster says"),
    OBV_CONFIG_U64("cluster_id", __typeof__(((obv_coordinator_config *)0)->source), cluster_id, 0, 0, UINT64_MAX,
                   "cluster id; 0 = as the cluster says"),
    OBV_CONFIG_STRS("endpoints", __typeof__(((obv_coordinator_config *)0)->source), endpoints, endpoint_count, 64,
                    "host:SQL port of some OBServers"),
    OBV_CONFIG_STR("user", __typeof__(((obv_coordinator_config *)0)->source), user, OBV_CONFIG_REQUIRED, NULL,
                   "user@sys"),
    OBV_CONFIG_STR("password_file", __typeof__(((obv_coordinator_config *)0)->source), password_file, 0, "",
                   "file with the password"),
    OBV_CONFIG_LAST,
};
static const obv_config_field TARGET[] = {
    OBV_CONFIG_STR("name", obv_cluster_config, name, OBV_CONFIG_REQUIRED, NULL, "name for restore --target"),
    OBV_CONFIG_STRS("endpoints", obv_cluster_config, endpoints, endpoint_count, 64, "host:SQL port of some OBServers"),
    OBV_CONFIG_STR("user", obv_cluster_config, user, OBV_CONFIG_REQUIRED, NULL, "user@sys with ALTER SYSTEM"),
    OBV_CONFIG_STR("password_file", obv_cluster_config, password_file, 0, "", "file with the password"),
    OBV_CONFIG_LAST,
};
static const obv_config_field REPOSITORY[] = {
    OBV_CONFIG_STR("uri", __typeof__(((obv_coordinator_config *)0)->repository), uri, OBV_CONFIG_REQUIRED, NULL,
                   "as OBServers see it: file:///path"),
    OBV_CONFIG_STR("profile", __typeof__(((obv_coordinator_config *)0)->repository), profile, 0, "native", "native"),
    OBV_CONFIG_LAST,
};
static const obv_config_field ARCHIVE[] = {
    OBV_CONFIG_U32("checkpoint_s", __typeof__(((obv_coordinator_config *)0)->archive), checkpoint_s, 5, 1, 3600,
                   "seconds between two published checkpoints"),
    OBV_CONFIG_U32("flush_ms", __typeof__(((obv_coordinator_config *)0)->archive), flush_ms, 1000, 50, 600000,
                   "longest time that an agent holds log back"),
    OBV_CONFIG_U32("leaders_s", __typeof__(((obv_coordinator_config *)0)->archive), leaders_s, 3600, 1, 86400,
                   "leaders are looked up at least this often, besides when a checkpoint stalls"),
    OBV_CONFIG_U32("begin_s", __typeof__(((obv_coordinator_config *)0)->archive), begin_s, 900, 10, 86400,
                   "a round that has not begun by then is INTERRUPTED"),
    OBV_CONFIG_STR("compressor", __typeof__(((obv_coordinator_config *)0)->archive), compressor, 0, "lz4_1.0",
                   "none, lz4_1.0 or zstd_1.3.8"),
    OBV_CONFIG_U32("settle_s", __typeof__(((obv_coordinator_config *)0)->archive), settle_s, 20, 0, 3600,
                   "a PG whose leader moved changes its agent at most once in this time"),
    OBV_CONFIG_U32("piece_switch_s", __typeof__(((obv_coordinator_config *)0)->archive), piece_switch_s, 0, 0, 31622400,
                   "rounds begun from now on are cut into pieces of this length; 0 = one directory a round"),
    OBV_CONFIG_STR("gap_policy", __typeof__(((obv_coordinator_config *)0)->archive), gap_policy, 0, "optional",
                   "while log is about to be recycled: optional = warn, hold = backups wait too"),
    OBV_CONFIG_U32("gap_warn_s", __typeof__(((obv_coordinator_config *)0)->archive), gap_warn_s, 3600, 1, 604800,
                   "log that is not stored and will be recycled within this is near a gap"),
    OBV_CONFIG_LAST,
};
static const obv_config_field EVENTS[] = {
    OBV_CONFIG_U32("keep_days", __typeof__(((obv_coordinator_config *)0)->events), keep_days, 90, 1, 3650,
                   "events, ended restores and steps of ended jobs are kept this long"),
    OBV_CONFIG_U32("keep_max", __typeof__(((obv_coordinator_config *)0)->events), keep_max, 100000, 100, 10000000,
                   "so many events at most"),
    OBV_CONFIG_LAST,
};
static const obv_config_field BACKUP[] = {
    OBV_CONFIG_U32("batch_pgs", __typeof__(((obv_coordinator_config *)0)->backup), batch_pgs, 64, 1, 1024,
                   "PGs of one batch"),
    OBV_CONFIG_U32("per_agent", __typeof__(((obv_coordinator_config *)0)->backup), per_agent, 1, 1, 8,
                   "batches of one agent at a time"),
    OBV_CONFIG_U32("step_s", __typeof__(((obv_coordinator_config *)0)->backup), step_s, 600, 10, 86400,
                   "longest time of one step of an agent that stores files"),
    OBV_CONFIG_U32("passes_max", __typeof__(((obv_coordinator_config *)0)->backup), passes_max, 32, 1, 1000,
                   "how often a set copies what DDL has changed meanwhile, before it fails"),
    OBV_CONFIG_U32("closing_s", __typeof__(((obv_coordinator_config *)0)->backup), closing_s, 3600, 10, 604800,
                   "how long it does so at most"),
    OBV_CONFIG_U32("pin_max_s", __typeof__(((obv_coordinator_config *)0)->backup), pin_max_s, 14400, 60, 604800,
                   "pins are taken back after this, even while a set is being made"),
    OBV_CONFIG_LAST,
};
static const obv_config_field PIN[] = {
    OBV_CONFIG_STR("tenant", obv_pin_config, tenant, OBV_CONFIG_REQUIRED, NULL, "name of the tenant"),
    OBV_CONFIG_STR("user", obv_pin_config, user, OBV_CONFIG_REQUIRED, NULL, "user@tenant with ALTER SYSTEM"),
    OBV_CONFIG_STR("password_file", obv_pin_config, password_file, 0, "", "file with the password"),
    OBV_CONFIG_U32("undo_retention_s", obv_pin_config, undo_retention_s, 3600, 1, 604800,
                   "versions of this age are kept while the tenant is backed up"),
    OBV_CONFIG_LAST,
};
const obv_config_field OBV_COORDINATOR_CONFIG[] = {
    OBV_CONFIG_STR("listen", obv_coordinator_config, listen, 0, "0.0.0.0:2990",
                   "address and port for agents and operators"),
    OBV_CONFIG_STR("listen_local", obv_coordinator_config, listen_local, 0, "",
                   "unix:/path for operators on this host, without TLS"),
    OBV_CONFIG_SECTION("tls", obv_coordinator_config, tls, TLS, "mutual TLS"),
    OBV_CONFIG_STR("state_dir", obv_coordinator_config, state_dir, OBV_CONFIG_REQUIRED, NULL,
                   "folder of the state database"),
    OBV_CONFIG_STR("log_level", obv_coordinator_config, log_level, 0, "info", "error, warn, info, detail or debug"),
    OBV_CONFIG_U32("threads", obv_coordinator_config, threads, 16, 2, 256, "calls served at once"),
    OBV_CONFIG_SECTION("source", obv_coordinator_config, source, SOURCE, "the cluster that is backed up"),
    OBV_CONFIG_LIST("targets", obv_coordinator_config, targets, target_count, TARGET, 64,
                    "clusters that restores may go to"),
    OBV_CONFIG_SECTION("repository", obv_coordinator_config, repository, REPOSITORY, "the destination"),
    OBV_CONFIG_SECTION("archive", obv_coordinator_config, archive, ARCHIVE, "log archiving"),
    OBV_CONFIG_SECTION("backup", obv_coordinator_config, backup, BACKUP, "data backup"),
    OBV_CONFIG_SECTION("events", obv_coordinator_config, events, EVENTS, "what is remembered"),
    OBV_CONFIG_LIST("pins", obv_coordinator_config, pins, pin_count, PIN, OBV_PINS_MAX,
                    "tenants that keep older versions while they are backed up"),
    OBV_CONFIG_LAST,
};

static obv_code check_endpoints(const char *who, char **list, uint32_t n, obv_err *err)
{
    obv_endpoint e;
    if (n == 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "%s.endpoints is empty", who);
    for (uint32_t i = 0; i < n; i++)
        OBV_TRY(obv_endpoint_parse(list[i], &e, err));
    return OBV_OK;
}

static obv_code check(const obv_coordinator_config *c, obv_settings *s, obv_err *err)
{
    static const struct {
        const char *name;
        uint32_t number;
    } COMPRESSORS[] = {{"none", 1}, {"lz4_1.0", 2}, {"zstd_1.3.8", 8}};
    *s = (obv_settings){.checkpoint_s = c->archive.checkpoint_s,
                        .flush_ms = c->archive.flush_ms,
                        .leaders_s = c->archive.leaders_s,
                        .begin_s = c->archive.begin_s,
                        .settle_s = c->archive.settle_s,
                        .piece_switch_s = c->archive.piece_switch_s,
                        .gap_hold = strcmp(c->archive.gap_policy, "hold") == 0,
                        .gap_warn_s = c->archive.gap_warn_s,
                        .event_days = c->events.keep_days,
                        .event_max = c->events.keep_max,
                        .batch_pgs = c->backup.batch_pgs,
                        .per_agent = c->backup.per_agent,
                        .step_s = c->backup.step_s,
                        .passes_max = c->backup.passes_max,
                        .closing_s = c->backup.closing_s,
                        .pins = c->pin_settings,
                        .pin_count = c->pin_count,
                        .pin_max_s = c->backup.pin_max_s};
    for (size_t i = 0; i < sizeof COMPRESSORS / sizeof *COMPRESSORS; i++)
        if (strcmp(c->archive.compressor, COMPRESSORS[i].name) == 0)
            s->compressor = COMPRESSORS[i].number;
    if (strlen(c->source.name) >= sizeof s->source_name)
        return obv_fail(err, OBV_E_CONFIG, 0, "source.name is longer than 128 bytes");
    (void)snprintf(s->source_name, sizeof s->source_name, "%s", c->source.name);
    s->source_id = c->source.cluster_id;
    if (s->compressor == 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "archive.compressor: none, lz4_1.0 or zstd_1.3.8, not %.40s",
                        c->archive.compressor);
    if (!s->gap_hold && strcmp(c->archive.gap_policy, "optional") != 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "archive.gap_policy: optional or hold, not %.40s", c->archive.gap_policy);
    if (strncmp(c->repository.uri, "file:///", 8) != 0 || strchr(c->repository.uri, '?') ||
        strlen(c->repository.uri) >= sizeof s->uri)
        return obv_fail(err, OBV_E_CONFIG, 0, "repository.uri: file:///path, at most 1,024 bytes");
    (void)snprintf(s->uri, sizeof s->uri, "%s", c->repository.uri);
    for (size_t n = strlen(s->uri); n > 8 && s->uri[n - 1] == '/'; n--)
        s->uri[n - 1] = 0; /* OceanBase trims them too, before it compares */
    if (strcmp(c->repository.profile, "native") != 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "repository.profile: native");
    (void)snprintf(s->profile, sizeof s->profile, "%s", c->repository.profile);
    if (!c->tls.ca[0] || !c->tls.cert[0] || !c->tls.key[0])
        return obv_fail(err, OBV_E_CONFIG, 0, "tls: ca, cert and key are needed");
    if (c->listen_local[0] && strncmp(c->listen_local, "unix:", 5) != 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "listen_local: unix:/path");
    OBV_TRY(check_endpoints("source", c->source.endpoints, c->source.endpoint_count, err));
    for (uint32_t i = 0; i < c->pin_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(c->pins[i].tenant, c->pins[k].tenant) == 0)
                return obv_fail(err, OBV_E_CONFIG, 0, "pins: tenant %.80s is named twice", c->pins[i].tenant);
    for (uint32_t i = 0; i < c->target_count; i++) {
        OBV_TRY(check_endpoints(c->targets[i].name, c->targets[i].endpoints, c->targets[i].endpoint_count, err));
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(c->targets[i].name, c->targets[k].name) == 0)
                return obv_fail(err, OBV_E_CONFIG, 0, "targets: two are called %s", c->targets[i].name);
    }
    return OBV_OK;
}

obv_code obv_coordinator_config_load(const char *path, const obv_config_given *given, obv_coordinator_config *out,
                                     obv_settings *settings, obv_config_origins *origins, obv_err *err)
{
    OBV_TRY(obv_config_load_with(path, OBV_COORDINATOR_CONFIG, given, out, sizeof *out, origins, err));
    for (uint32_t i = 0; i < out->pin_count; i++)
        out->pin_settings[i] = (obv_pin_setting){out->pins[i].tenant, out->pins[i].undo_retention_s};
    const obv_code code = check(out, settings, err);
    if (code != OBV_OK) {
        (void)obv_wrap(err, "%s", path);
        obv_config_free(OBV_COORDINATOR_CONFIG, out, sizeof *out);
    }
    return code;
}
