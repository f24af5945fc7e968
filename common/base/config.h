/* config.h - strict YAML: a table next to the struct says every key; an unknown key, a wrong type, a missing required
 * key or a value out of bounds is refused with its line
 *
 *   struct tls { char *ca, *cert; };
 *   struct conf { char *listen; struct tls tls; uint32_t workers; struct kv *options; uint32_t option_count; };
 *   static const obv_config_field TLS[] = {
 *       OBV_CONFIG_STR("ca", struct tls, ca, OBV_CONFIG_REQUIRED, NULL, "PEM file of the authority"), OBV_CONFIG_LAST};
 *   static const obv_config_field CONF[] = {
 *       OBV_CONFIG_STR("listen", struct conf, listen, 0, "0.0.0.0:2900", "address and port"),
 *       OBV_CONFIG_SECTION("tls", struct conf, tls, TLS, "mutual TLS"),
 *       OBV_CONFIG_U32("workers", struct conf, workers, 2, 1, 64, "threads"),
 *       OBV_CONFIG_LIST("options", struct conf, options, option_count, KV, 64, "plugin options"), OBV_CONFIG_LAST};
 */
#ifndef OBV_BASE_CONFIG_H
#define OBV_BASE_CONFIG_H

#include "base/err.h"
#include "base/span.h"

#include <stddef.h>

typedef enum obv_config_type {
    OBV_CONFIG_T_END = 0,
    OBV_CONFIG_T_STR,     /* char *, never NULL after a load: "" if neither given nor defaulted */
    OBV_CONFIG_T_U32,     /* uint32_t */
    OBV_CONFIG_T_U64,     /* uint64_t */
    OBV_CONFIG_T_BOOL,    /* bool */
    OBV_CONFIG_T_SECTION, /* struct in place; an absent section has its fields' defaults */
    OBV_CONFIG_T_LIST,    /* array of structs on the heap and a uint32_t count */
    OBV_CONFIG_T_STRS,    /* array of char * on the heap and a uint32_t count */
} obv_config_type;

enum { OBV_CONFIG_REQUIRED = 1u << 0 };

typedef struct obv_config_field {
    const char *key; /* units in the name: timeout_s, pool_mib */
    obv_config_type type;
    unsigned flags;
    size_t offset;
    size_t count_offset;                /* LIST, STRS */
    size_t item_size;                   /* SECTION, LIST: size of the struct */
    const struct obv_config_field *sub; /* SECTION, LIST */
    uint64_t def, min, max;             /* U32, U64, BOOL; max also bounds the items of LIST and STRS */
    const char *def_text;               /* STR */
    const char *doc;                    /* one line for docs/coordinator.md */
} obv_config_field;

/* clang-format off */
#define OBV_CONFIG_STR(k, s, m, fl, d, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_STR, .flags = (fl), .offset = offsetof(s, m), .def_text = (d), .doc = (doc_)}
#define OBV_CONFIG_U32(k, s, m, d, lo, hi, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_U32, .offset = offsetof(s, m), .def = (d), .min = (lo), .max = (hi), .doc = (doc_)}
#define OBV_CONFIG_U64(k, s, m, d, lo, hi, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_U64, .offset = offsetof(s, m), .def = (d), .min = (lo), .max = (hi), .doc = (doc_)}
#define OBV_CONFIG_BOOL(k, s, m, d, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_BOOL, .offset = offsetof(s, m), .def = (d), .doc = (doc_)}
#define OBV_CONFIG_SECTION(k, s, m, table, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_SECTION, .offset = offsetof(s, m), .item_size = sizeof(((s *)0)->m), \
     .sub = (table), .doc = (doc_)}
#define OBV_CONFIG_LIST(k, s, m, n, table, most, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_LIST, .offset = offsetof(s, m), .count_offset = offsetof(s, n), \
     .item_size = sizeof(*((s *)0)->m), .sub = (table), .max = (most), .doc = (doc_)}
#define OBV_CONFIG_STRS(k, s, m, n, most, doc_) \
    {.key = (k), .type = OBV_CONFIG_T_STRS, .offset = offsetof(s, m), .count_offset = offsetof(s, n), .max = (most), \
     .doc = (doc_)}
#define OBV_CONFIG_LAST {.type = OBV_CONFIG_T_END}
/* clang-format on */

#define OBV_CONFIG_FILE_MAX (1u << 20) /* bytes */

/**
 * Loads @p path into the zeroed struct @p out of @p size bytes, defaults filled in.
 * @return OBV_OK; OBV_E_NOT_FOUND; OBV_E_CONFIG (the text names file, line and key); OBV_E_IO; OBV_E_NOMEM. On failure
 * *out is zeroed again.
 */
OBV_CHECK obv_code obv_config_load(const char *path, const obv_config_field *schema, void *out, size_t size,
                                   obv_err *err);
/** The same from memory; @p name stands for the file in messages. */
OBV_CHECK obv_code obv_config_parse(const char *name, obv_span text, const obv_config_field *schema, void *out,
                                    size_t size, obv_err *err);
/* ---- the same keys from elsewhere: flag over environment over file over default
 *
 * A key that holds one value, or a list of texts (separated by commas), is also the flag `--tls.ca=VALUE` (hyphens do
 * for underscores) and the environment variable PREFIX_TLS_CA. An empty variable counts as absent. Lists of sections
 * stand in the file only.
 */
#define OBV_CONFIG_FLAGS_MAX 64u
typedef struct obv_config_given {
    const char *env_prefix; /* "OBVAULT_AGENT"; NULL: the environment is not looked at */
    struct obv_config_flag {
        char key[96]; /* dotted */
        const char *value;
    } flag[OBV_CONFIG_FLAGS_MAX];
    size_t flag_count;
} obv_config_given;
/**
 * Takes the flags that are keys of @p schema out of argv, up to "--"; the rest is the caller's.
 * @return OBV_OK; OBV_E_INVAL: no value, given twice, too many, or a dotted name that is no key (the nearest is named)
 */
OBV_CHECK obv_code obv_config_take_flags(const obv_config_field *schema, int *argc, char **argv, obv_config_given *out,
                                         obv_err *err);

/* Where each value came from. */
#define OBV_CONFIG_ORIGINS_MAX 160u
typedef struct obv_config_origins {
    struct obv_config_origin {
        char key[96];   /* dotted; a list counts as one */
        char from[160]; /* "flag --workers", "environment OBVAULT_AGENT_WORKERS", "/etc/x.yaml line 4", "default" */
    } item[OBV_CONFIG_ORIGINS_MAX];
    size_t count;
} obv_config_origins;

/** As obv_config_load. @p given and @p origins may be NULL. */
OBV_CHECK obv_code obv_config_load_with(const char *path, const obv_config_field *schema, const obv_config_given *given,
                                        void *out, size_t size, obv_config_origins *origins, obv_err *err);
/** As obv_config_parse. */
OBV_CHECK obv_code obv_config_parse_with(const char *name, obv_span text, const obv_config_field *schema,
                                         const obv_config_given *given, void *out, size_t size,
                                         obv_config_origins *origins, obv_err *err);
/** The effective values as obv_config_print gives them, each with its origin as a comment. */
void obv_config_show(const obv_config_field *schema, const void *conf, const obv_config_origins *origins, obv_buf *out);
/** The value that flag or environment give for a dotted key, its origin into @p from of @p cap bytes; NULL: none. */
const char *obv_config_find(const obv_config_given *given, const char *key, char *from, size_t cap);
/** The key of the schema nearest to @p name, dotted, "" if none is near. */
void obv_config_nearest(const obv_config_field *schema, const char *name, char *out, size_t cap);

/** Frees what a load put into the struct and zeroes it. */
void obv_config_free(const obv_config_field *schema, void *conf, size_t size);
/** The effective values as YAML that loads to the same struct. */
void obv_config_print(const obv_config_field *schema, const void *conf, obv_buf *out);
/** One Markdown table row a key: dotted name, type, default, bounds, doc. */
void obv_config_describe(const obv_config_field *schema, obv_buf *out);

#endif
