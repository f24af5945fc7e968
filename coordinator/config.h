/* config.h - coordinator.yaml (docs/coordinator.md) */
#ifndef OBV_COORDINATOR_CONFIG_H
#define OBV_COORDINATOR_CONFIG_H

#include "base/config.h"
#include "job/context.h"

#define OBV_PINS_MAX 64u

typedef struct obv_cluster_config {
    char *name;
    char **endpoints; /* host:SQL port */
    uint32_t endpoint_count;
    char *user, *password_file;
} obv_cluster_config;

typedef struct obv_pin_config {
    char *tenant, *user, *password_file;
    uint32_t undo_retention_s;
} obv_pin_config;

typedef struct obv_coordinator_config {
    char *listen;       /* host:port */
    char *listen_local; /* unix:/path, "" = none */
    struct {
        char *ca, *cert, *key;
    } tls;
    char *state_dir;
    char *log_level;
    uint32_t threads;
    struct {
        char *name;
        char **endpoints;
        uint32_t endpoint_count;
        uint64_t cluster_id; /* 0 = any */
        char *user, *password_file;
    } source;
    obv_cluster_config *targets;
    uint32_t target_count;
    struct {
        char *uri, *profile;
    } repository;
    struct {
        uint32_t checkpoint_s, flush_ms, leaders_s, begin_s, settle_s, piece_switch_s, gap_warn_s;
        char *compressor, *gap_policy;
    } archive;
    struct {
        uint32_t keep_days, keep_max;
    } events;
    struct {
        uint32_t batch_pgs, per_agent, step_s, passes_max, closing_s, pin_max_s;
    } backup;
    obv_pin_config *pins;
    uint32_t pin_count;
    obv_pin_setting pin_settings[OBV_PINS_MAX]; /* of pins */
} obv_coordinator_config;

extern const obv_config_field OBV_COORDINATOR_CONFIG[];

/**
 * Loads and checks; flags and environment go before the file. OBV_E_CONFIG. Free with
 * obv_config_free(OBV_COORDINATOR_CONFIG, ...).
 */
OBV_CHECK obv_code obv_coordinator_config_load(const char *path, const obv_config_given *given,
                                               obv_coordinator_config *out, obv_settings *settings,
                                               obv_config_origins *origins, obv_err *err);

#endif
