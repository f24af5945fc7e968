/* conf.c - where the coordinator is: flags over environment over a file, by the keys of one table */
#include "base/config.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_FILE "/etc/obvault/cli.yaml"

typedef struct conf {
    char *coordinator, *ca, *cert, *key;
} conf;

static const obv_config_field SCHEMA[] = {
    OBV_CONFIG_STR("coordinator", conf, coordinator, 0, "", "address and port of the coordinator, or unix:/path"),
    OBV_CONFIG_STR("ca", conf, ca, 0, "", "PEM file of the authority of all certificates"),
    OBV_CONFIG_STR("cert", conf, cert, 0, "", "PEM file of the own certificate"),
    OBV_CONFIG_STR("key", conf, key, 0, "", "PEM file of its key"),
    OBV_CONFIG_LAST,
};

/* The one configuration of the process: what the command line holds points into it. */
static conf loaded;
static obv_config_origins origins;

static void give_flag(obv_config_given *g, const char *key, const char *value)
{
    if (!value)
        return;
    struct obv_config_flag *f = &g->flag[g->flag_count++];
    (void)snprintf(f->key, sizeof f->key, "%s", key);
    f->value = value;
}

static const char *or_none(const char *text) { return text[0] ? text : NULL; }

obv_code obv_cli_configure(obv_cli *c, obv_err *err)
{
    static obv_config_given given;
    given = (obv_config_given){.env_prefix = "OBVAULT"};
    give_flag(&given, "coordinator", c->coordinator);
    give_flag(&given, "ca", c->ca);
    give_flag(&given, "cert", c->cert);
    give_flag(&given, "key", c->key);
    const char *file = c->config ? c->config : getenv("OBVAULT_CONFIG");
    const bool named = file && file[0];
    if (!named)
        file = CONFIG_FILE;
    obv_config_free(SCHEMA, &loaded, sizeof loaded);
    origins = (obv_config_origins){0};
    if (named && access(file, F_OK) != 0)
        return obv_fail(err, OBV_E_CONFIG, errno, "no configuration file %.200s", file);
    if (named || access(file, F_OK) == 0)
        OBV_TRY(obv_config_load_with(file, SCHEMA, &given, &loaded, sizeof loaded, &origins, err));
    else
        OBV_TRY(
            obv_config_parse_with(file, obv_span_of("{}", 2), SCHEMA, &given, &loaded, sizeof loaded, &origins, err));
    c->coordinator = or_none(loaded.coordinator);
    c->ca = or_none(loaded.ca);
    c->cert = or_none(loaded.cert);
    c->key = or_none(loaded.key);
    return OBV_OK;
}

static void text_config(FILE *out, const ProtobufCMessage *m)
{
    (void)m;
    obv_buf b = obv_buf_heap(1u << 16);
    obv_config_show(SCHEMA, &loaded, &origins, &b);
    if (!b.failed)
        (void)fwrite(b.data, 1, b.len, out);
    obv_buf_fini(&b);
}

static const char *origin_of(const char *key)
{
    for (size_t i = 0; i < origins.count; i++)
        if (strcmp(origins.item[i].key, key) == 0)
            return origins.item[i].from;
    return "default";
}

static void json_config(obv_json *w, const ProtobufCMessage *m)
{
    (void)m;
    obv_json_object(w, "config");
    for (const obv_config_field *f = SCHEMA; f->type != OBV_CONFIG_T_END; f++) {
        obv_json_object(w, f->key);
        obv_json_str(w, "value", *(char *const *)((const char *)&loaded + f->offset));
        obv_json_str(w, "origin", origin_of(f->key));
        obv_json_end(w);
    }
    obv_json_end(w);
}

obv_code obv_cli_config_show(obv_cli *c, obv_err *err) { return obv_cli_print(c, NULL, text_config, json_config, err); }
