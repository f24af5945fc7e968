/* Values of the configuration from flags and environment, and the name that was probably meant. */
#include "base/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* True if a flag's name (hyphens or underscores) is the dotted key. */
static bool same_name(const char *name, size_t len, const char *key)
{
    if (strlen(key) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] != key[i] && !(name[i] == '-' && key[i] == '_'))
            return false;
    return true;
}

typedef bool key_fn(void *ctx, const char *key, const obv_config_field *f);

/* Every key below the fields that one value can be given for; true as soon as fn says so. */
static bool each_key(const obv_config_field *f, const char *prefix, bool all, key_fn *fn, void *ctx)
{
    for (; f->type != OBV_CONFIG_T_END; f++) {
        char key[96];
        (void)snprintf(key, sizeof key, "%s%s%s", prefix, prefix[0] ? "." : "", f->key);
        const bool inside = f->type == OBV_CONFIG_T_SECTION || (all && f->type == OBV_CONFIG_T_LIST);
        if ((all || (f->type != OBV_CONFIG_T_SECTION && f->type != OBV_CONFIG_T_LIST)) && fn(ctx, key, f))
            return true;
        if (inside && each_key(f->sub, key, all, fn, ctx))
            return true;
    }
    return false;
}

struct wanted {
    const char *name;
    size_t len;
    char key[96];
};

static bool is_wanted(void *ctx, const char *key, const obv_config_field *f)
{
    struct wanted *w = ctx;
    (void)f;
    if (!same_name(w->name, w->len, key))
        return false;
    (void)snprintf(w->key, sizeof w->key, "%s", key);
    return true;
}

/* Takes argv[*at]; *at moves over a value of its own. */
static obv_code take_flag(const obv_config_field *schema, int argc, char **argv, int *at, bool *taken,
                          obv_config_given *out, obv_err *err)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    struct wanted w = {.name = name, .len = equals ? (size_t)(equals - name) : strlen(name)};
    *taken = each_key(schema, "", false, is_wanted, &w);
    if (!*taken) {
        if (!memchr(name, '.', w.len))
            return OBV_OK; /* the caller's own */
        char given[80], near[96];
        (void)snprintf(given, sizeof given, "%.*s", (int)(w.len < 79 ? w.len : 79), name);
        obv_config_nearest(schema, given, near, sizeof near);
        return obv_fail(err, OBV_E_INVAL, 0, "--%s is no key of the configuration%s%s%s", given,
                        near[0] ? ": did you mean --" : "", near, near[0] ? "?" : "");
    }
    for (size_t i = 0; i < out->flag_count; i++)
        if (strcmp(out->flag[i].key, w.key) == 0)
            return obv_fail(err, OBV_E_INVAL, 0, "--%s is given twice", w.key);
    if (out->flag_count == OBV_CONFIG_FLAGS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "more than %u flags of the configuration", OBV_CONFIG_FLAGS_MAX);
    const char *value = equals ? equals + 1 : NULL;
    if (!value) {
        if (*at + 1 >= argc)
            return obv_fail(err, OBV_E_INVAL, 0, "--%s needs a value", w.key);
        value = argv[++*at];
    }
    struct obv_config_flag *f = &out->flag[out->flag_count++];
    (void)snprintf(f->key, sizeof f->key, "%s", w.key);
    f->value = value;
    return OBV_OK;
}

obv_code obv_config_take_flags(const obv_config_field *schema, int *argc, char **argv, obv_config_given *out,
                               obv_err *err)
{
    int kept = 1, i = 1;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        const int first = i;
        bool taken = false;
        if (strncmp(argv[i], "--", 2) == 0)
            OBV_TRY(take_flag(schema, *argc, argv, &i, &taken, out, err));
        if (!taken)
            argv[kept++] = argv[first];
    }
    for (; i < *argc; i++)
        argv[kept++] = argv[i];
    argv[kept] = NULL;
    *argc = kept;
    return OBV_OK;
}

const char *obv_config_find(const obv_config_given *given, const char *key, char *from, size_t cap)
{
    if (!given)
        return NULL;
    for (size_t i = 0; i < given->flag_count; i++) {
        if (strcmp(given->flag[i].key, key) == 0) {
            (void)snprintf(from, cap, "flag --%s", key);
            return given->flag[i].value;
        }
    }
    char name[160];
    if (!given->env_prefix || snprintf(name, sizeof name, "%s_%s", given->env_prefix, key) >= (int)sizeof name)
        return NULL;
    for (char *p = name + strlen(given->env_prefix); *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    const char *value = getenv(name);
    if (!value || !value[0])
        return NULL;
    (void)snprintf(from, cap, "environment %s", name);
    return value;
}

/* ---- the nearest name */

#define NAME_MAX_LEN 64u

/* Insertions, deletions and replacements between two names; hyphens and underscores are the same. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    const size_t n = strlen(a), m = strlen(b);
    if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t k = 0; k <= m; k++)
        row[k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            const bool same = tolower((unsigned char)a[i - 1]) == b[k - 1] || (a[i - 1] == '-' && b[k - 1] == '_');
            const size_t replaced = diagonal + !same;
            const size_t shorter = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            diagonal = row[k];
            row[k] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[m];
}

struct nearest {
    const char *name;
    size_t best;
    char *out;
    size_t cap;
};

static bool look_at(void *ctx, const char *key, const obv_config_field *f)
{
    struct nearest *n = ctx;
    const size_t whole = distance(n->name, key), last = distance(n->name, f->key);
    const size_t d = whole < last ? whole : last;
    if (d < n->best) {
        n->best = d;
        (void)snprintf(n->out, n->cap, "%s", key);
    }
    return false;
}

void obv_config_nearest(const obv_config_field *schema, const char *name, char *out, size_t cap)
{
    const size_t len = strlen(name);
    struct nearest n = {.name = name, .best = 2 + len / 4, .out = out, .cap = cap};
    out[0] = 0;
    (void)each_key(schema, "", true, look_at, &n);
}
