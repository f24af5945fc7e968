/* The only file that names libcyaml.
 *
 * libcyaml cannot tell an absent number from zero, so it loads into shadow memory, where each field of a section is a
 * pointer (and a count for lists), NULL if absent. From there values are checked against their bounds and moved into
 * the caller's struct, with defaults where nothing was given.
 */
#include "base/config.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <cyaml/cyaml.h>

#define DEPTH_MAX 8u
#define STR_MAX 4096u

/* ---- our table as libcyaml's schema ---- */

struct shadow {
    void *value;
    uint64_t count;
};

static size_t field_count(const obv_config_field *f)
{
    size_t n = 0;
    while (f[n].type != OBV_CONFIG_T_END)
        n++;
    return n;
}

/* Every block of a schema, freed together. */
struct arena {
    void *blocks[256];
    size_t count;
};

static void arena_fini(struct arena *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->blocks[i]);
}

static void *arena_take(struct arena *a, size_t n, size_t size)
{
    if (a->count == sizeof a->blocks / sizeof *a->blocks)
        return NULL;
    void *p = calloc(n, size);
    if (p)
        a->blocks[a->count++] = p;
    return p;
}

static enum cyaml_flag optional_pointer(void) { return (enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL); }

static const cyaml_schema_field_t *translate(struct arena *a, const obv_config_field *f, unsigned depth);

static bool translate_value(struct arena *a, const obv_config_field *f, unsigned depth, cyaml_schema_value_t *v)
{
    v->flags = optional_pointer();
    switch (f->type) {
    case OBV_CONFIG_T_STR:
    case OBV_CONFIG_T_U32: /* libcyaml's numbers may be octal, hexadecimal or -1: ours are digits */
    case OBV_CONFIG_T_U64:
        v->type = CYAML_STRING;
        v->data_size = sizeof(char);
        v->string.max = STR_MAX;
        return true;
    case OBV_CONFIG_T_BOOL:
        v->type = CYAML_BOOL;
        v->data_size = sizeof(bool);
        return true;
    case OBV_CONFIG_T_SECTION:
        v->type = CYAML_MAPPING;
        v->data_size = (uint32_t)(field_count(f->sub) * sizeof(struct shadow));
        v->mapping.fields = translate(a, f->sub, depth + 1);
        return v->mapping.fields != NULL;
    case OBV_CONFIG_T_LIST:
    case OBV_CONFIG_T_STRS: {
        cyaml_schema_value_t *entry = arena_take(a, 1, sizeof *entry);
        if (!entry)
            return false;
        if (f->type == OBV_CONFIG_T_STRS) {
            entry->type = CYAML_STRING;
            entry->flags = CYAML_FLAG_POINTER;
            entry->data_size = sizeof(char);
            entry->string.max = STR_MAX;
        } else {
            entry->type = CYAML_MAPPING;
            entry->data_size = (uint32_t)(field_count(f->sub) * sizeof(struct shadow));
            entry->mapping.fields = translate(a, f->sub, depth + 1);
            if (!entry->mapping.fields)
                return false;
        }
        v->type = CYAML_SEQUENCE;
        v->data_size = f->type == OBV_CONFIG_T_STRS ? (uint32_t)sizeof(char *) : entry->data_size;
        v->sequence.entry = entry;
        v->sequence.max = f->max ? (uint32_t)f->max : UINT32_MAX;
        return true;
    }
    case OBV_CONFIG_T_END:
        break;
    }
    return false;
}

static const cyaml_schema_field_t *translate(struct arena *a, const obv_config_field *f, unsigned depth)
{
    const size_t n = field_count(f);
    obv_assert(depth < DEPTH_MAX); /* our own tables */
    cyaml_schema_field_t *out = arena_take(a, n + 1, sizeof *out);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        out[i].key = f[i].key;
        out[i].data_offset = (uint32_t)(i * sizeof(struct shadow) + offsetof(struct shadow, value));
        out[i].count_offset = (uint32_t)(i * sizeof(struct shadow) + offsetof(struct shadow, count));
        out[i].count_size = sizeof(uint64_t);
        if (!translate_value(a, &f[i], depth, &out[i].value))
            return NULL;
    }
    return out;
}

/* ---- where a value stands: "tls.ca", "options[2].key", and its line ---- */

struct where {
    const struct where *up;
    const char *key;
    int64_t index; /* -1 = none */
};

static void name_of(const struct where *w, char *out, size_t cap)
{
    char before[160] = "";
    if (w->up)
        name_of(w->up, before, sizeof before);
    const char *dot = before[0] ? "." : "";
    if (w->index >= 0)
        (void)snprintf(out, cap, "%s%s%s[%" PRId64 "]", before, dot, w->key, w->index);
    else
        (void)snprintf(out, cap, "%s%s%s", before, dot, w->key);
}

/* Items of lists stand in the file only. */
static bool in_list(const struct where *w)
{
    for (; w; w = w->up)
        if (w->index >= 0)
            return true;
    return false;
}

/* Offset behind the next `key:` at or after from that stands where a key can stand; from if there is none. */
static size_t behind_key(obv_span text, size_t from, const char *key)
{
    const size_t n = strlen(key);
    bool may = true; /* nothing but what may stand before a key since the line's start, a brace or a comma */
    bool comment = false;
    for (size_t i = 0; i + n < text.len; i++) {
        const char c = (char)text.p[i];
        if (i >= from && may && !comment && memcmp(text.p + i, key, n) == 0 && text.p[i + n] == ':')
            return i + n;
        if (c == '\n')
            comment = false;
        else if (c == '#')
            comment = true;
        may = c == '\n' || c == '{' || c == ',' || (may && (c == ' ' || c == '-' || c == '"' || c == '\''));
    }
    return from;
}

static size_t find_key(obv_span text, const struct where *w)
{
    return behind_key(text, w->up ? find_key(text, w->up) : 0, w->key);
}

static unsigned line_at(obv_span text, size_t at)
{
    unsigned line = 1;
    for (size_t i = 0; i < at && i < text.len; i++)
        line += text.p[i] == '\n';
    return line;
}

/* The text being loaded, for messages, and what comes from elsewhere. */
struct source {
    const char *name;
    obv_span text;
    const obv_config_given *given;
    obv_config_origins *origins; /* may be NULL */
};

/* "a.yaml line 4: tls.ca <what>" */
static obv_code refuse(const struct source *src, const struct where *w, const char *what, obv_err *err)
{
    char name[200], from[160];
    const size_t at = find_key(src->text, w);
    name_of(w, name, sizeof name);
    if (obv_config_find(src->given, name, from, sizeof from))
        return obv_fail(err, OBV_E_CONFIG, 0, "%s: %s %s", from, name, what);
    if (at == 0)
        return obv_fail(err, OBV_E_CONFIG, 0, "%s: %s %s", src->name, name, what);
    return obv_fail(err, OBV_E_CONFIG, 0, "%s line %u: %s %s", src->name, line_at(src->text, at), name, what);
}

/* ---- shadow memory into the caller's struct ---- */

static obv_code take_section(const obv_config_field *f, const struct shadow *from, void *to, const struct where *up,
                             const struct source *src, obv_err *err);

static bool digits_of(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++)
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    *out = v;
    return true;
}

static obv_code take_number(const obv_config_field *f, const char *given, void *at, const struct where *w,
                            const struct source *src, obv_err *err)
{
    uint64_t v = f->def;
    char what[120];
    if (given && !digits_of(given, &v)) {
        (void)snprintf(what, sizeof what, "must be a whole number, not '%.40s'", given);
        return refuse(src, w, what, err);
    }
    if (given && (v < f->min || v > f->max)) {
        (void)snprintf(what, sizeof what, "is %" PRIu64 ", outside %" PRIu64 " to %" PRIu64, v, f->min, f->max);
        return refuse(src, w, what, err);
    }
    if (f->type == OBV_CONFIG_T_U32)
        *(uint32_t *)at = (uint32_t)v;
    else
        *(uint64_t *)at = v;
    return OBV_OK;
}

static obv_code take_str(const obv_config_field *f, const char *given, char **at, const struct where *w,
                         const struct source *src, obv_err *err)
{
    if ((f->flags & OBV_CONFIG_REQUIRED) && (!given || !given[0]))
        return refuse(src, w, given ? "is empty" : "is missing", err);
    *at = strdup(given ? given : f->def_text ? f->def_text : "");
    return *at ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "configuration");
}

static obv_code take_list(const obv_config_field *f, const struct shadow *from, uint8_t *base, const struct where *w,
                          const struct source *src, obv_err *err)
{
    const uint64_t n = from->value ? from->count : 0;
    const bool strings = f->type == OBV_CONFIG_T_STRS;
    const size_t step = strings ? sizeof(char *) : f->item_size;
    if ((f->flags & OBV_CONFIG_REQUIRED) && n == 0)
        return refuse(src, w, "is missing or empty", err);
    if (n == 0)
        return OBV_OK;
    uint8_t *items = calloc(n, step);
    if (!items)
        return obv_fail(err, OBV_E_NOMEM, 0, "configuration");
    *(void **)(void *)(base + f->offset) = items;
    *(uint32_t *)(void *)(base + f->count_offset) = (uint32_t)n; /* set first: a failure below frees them all */
    const size_t subs = strings ? 0 : field_count(f->sub);
    for (uint64_t i = 0; i < n; i++) {
        const struct where item = {.up = w->up, .key = w->key, .index = (int64_t)i};
        if (strings) {
            static const obv_config_field ANY = {.type = OBV_CONFIG_T_STR, .flags = OBV_CONFIG_REQUIRED};
            OBV_TRY(take_str(&ANY, ((char **)from->value)[i], (char **)(void *)(items + i * step), &item, src, err));
        } else {
            OBV_TRY(
                take_section(f->sub, (const struct shadow *)from->value + i * subs, items + i * step, &item, src, err));
        }
    }
    return OBV_OK;
}

static void note_origin(const struct source *src, const struct where *w, const char *from, bool in_file)
{
    obv_config_origins *o = src->origins;
    if (!o || o->count == OBV_CONFIG_ORIGINS_MAX || in_list(w))
        return;
    struct obv_config_origin *item = &o->item[o->count++];
    name_of(w, item->key, sizeof item->key);
    const size_t at = in_file ? find_key(src->text, w) : 0;
    if (from)
        (void)snprintf(item->from, sizeof item->from, "%s", from);
    else if (in_file)
        (void)snprintf(item->from, sizeof item->from, "%.120s line %u", src->name, line_at(src->text, at));
    else
        (void)snprintf(item->from, sizeof item->from, "default");
}

static obv_code take_bool(const char *given, const bool *in_file, bool fallback, bool *at, const struct where *w,
                          const struct source *src, obv_err *err)
{
    if (given && strcmp(given, "true") != 0 && strcmp(given, "false") != 0)
        return refuse(src, w, "must be true or false", err);
    *at = given ? strcmp(given, "true") == 0 : in_file ? *in_file : fallback;
    return OBV_OK;
}

/* "a,b" as the shadow of a list of texts; both blocks are the caller's to free. */
static obv_code split(const char *given, char **text, char ***items, uint64_t *count, obv_err *err)
{
    *count = 1;
    for (const char *p = given; *p; p++)
        *count += *p == ',';
    *text = strdup(given);
    *items = calloc(*count, sizeof **items);
    if (!*text || !*items)
        return obv_fail(err, OBV_E_NOMEM, 0, "configuration");
    char *rest = *text;
    for (uint64_t i = 0; i < *count; i++)
        (*items)[i] = strsep(&rest, ",");
    return OBV_OK;
}

static obv_code take_given_list(const obv_config_field *f, const char *given, uint8_t *base, const struct where *w,
                                const struct source *src, obv_err *err)
{
    OBV_AUTO(obv_freep) char *text = NULL;
    OBV_AUTO(obv_freep) char **items = NULL;
    struct shadow from = {0};
    OBV_TRY(split(given, &text, &items, &from.count, err));
    from.value = items;
    if (f->max && from.count > f->max)
        return refuse(src, w, "has too many items", err);
    return take_list(f, &from, base, w, src, err);
}

/* from may be NULL: nothing of the section was given. */
static obv_code take_section(const obv_config_field *f, const struct shadow *from, void *to, const struct where *up,
                             const struct source *src, obv_err *err)
{
    static const struct shadow ABSENT = {0};
    for (size_t i = 0; f[i].type != OBV_CONFIG_T_END; i++) {
        const struct shadow *s = from ? &from[i] : &ABSENT;
        const struct where w = {.up = up, .key = f[i].key, .index = -1};
        uint8_t *at = (uint8_t *)to + f[i].offset;
        char name[200], from_where[160];
        name_of(&w, name, sizeof name);
        const char *given = in_list(&w) ? NULL : obv_config_find(src->given, name, from_where, sizeof from_where);
        if (f[i].type != OBV_CONFIG_T_SECTION)
            note_origin(src, &w, given ? from_where : NULL, s->value != NULL);
        switch (f[i].type) {
        case OBV_CONFIG_T_STR:
            OBV_TRY(take_str(&f[i], given ? given : s->value, (char **)(void *)at, &w, src, err));
            break;
        case OBV_CONFIG_T_U32:
        case OBV_CONFIG_T_U64:
            OBV_TRY(take_number(&f[i], given ? given : s->value, at, &w, src, err));
            break;
        case OBV_CONFIG_T_BOOL:
            OBV_TRY(take_bool(given, s->value, f[i].def != 0, (bool *)at, &w, src, err));
            break;
        case OBV_CONFIG_T_SECTION:
            OBV_TRY(take_section(f[i].sub, s->value, at, &w, src, err));
            break;
        case OBV_CONFIG_T_STRS:
            if (given)
                OBV_TRY(take_given_list(&f[i], given, to, &w, src, err));
            else
                OBV_TRY(take_list(&f[i], s, to, &w, src, err));
            break;
        case OBV_CONFIG_T_LIST:
            OBV_TRY(take_list(&f[i], s, to, &w, src, err));
            break;
        case OBV_CONFIG_T_END:
            break;
        }
    }
    return OBV_OK;
}

/* ---- load and free ---- */

/* libcyaml tells what is wrong only through its log: the first error line and the line numbers behind it. */
struct complaint {
    char text[300];
    size_t len;
};

static void collect(cyaml_log_t level, void *ctx, const char *fmt, va_list args) __attribute__((format(printf, 3, 0)));
static void collect(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct complaint *c = ctx;
    char piece[200];
    if (level < CYAML_LOG_ERROR)
        return;
    (void)vsnprintf(piece, sizeof piece, fmt, args);
    for (char *p = piece; *p; p++)
        if (*p == '\n')
            *p = ' ';
    const char *p = strncmp(piece, "Load: ", 6) == 0 ? piece + 6 : piece;
    if (strncmp(p, "Backtrace:", 10) == 0)
        p = "";
    while (*p == ' ')
        p++;
    const size_t n = strlen(p);
    if (n && n < sizeof c->text - c->len) {
        memcpy(c->text + c->len, p, n + 1);
        c->len += n;
    }
}

static obv_code explain(const struct source *src, const obv_config_field *schema, cyaml_err_t rc,
                        const struct complaint *c, obv_err *err)
{
    char key[80], near[96], what[160] = "is no known key here";
    if (rc == CYAML_ERR_INVALID_KEY && sscanf(c->text, "Unexpected key: %79[^ ]", key) == 1) {
        /* libcyaml gives the place of the value before it */
        const struct where w = {.key = key, .index = -1};
        obv_config_nearest(schema, key, near, sizeof near);
        if (near[0])
            (void)snprintf(what, sizeof what, "is no known key here: did you mean %s?", near);
        return refuse(src, &w, what, err);
    }
    return obv_fail(err, OBV_E_CONFIG, 0, "%s: %s: %s", src->name, cyaml_strerror(rc), c->text);
}

obv_code obv_config_parse(const char *name, obv_span text, const obv_config_field *schema, void *out, size_t size,
                          obv_err *err)
{
    return obv_config_parse_with(name, text, schema, NULL, out, size, NULL, err);
}

obv_code obv_config_parse_with(const char *name, obv_span text, const obv_config_field *schema,
                               const obv_config_given *given, void *out, size_t size, obv_config_origins *origins,
                               obv_err *err)
{
    struct arena arena = {0};
    struct complaint complaint = {0};
    const cyaml_config_t how = {
        .log_fn = collect,
        .log_ctx = &complaint,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
    const cyaml_schema_value_t root = {
        .type = CYAML_MAPPING,
        .flags = CYAML_FLAG_POINTER,
        .data_size = (uint32_t)(field_count(schema) * sizeof(struct shadow)),
        .mapping.fields = translate(&arena, schema, 0),
    };
    const struct source src = {.name = name, .text = text, .given = given, .origins = origins};
    struct shadow *loaded = NULL;
    obv_code code = OBV_OK;
    memset(out, 0, size);
    if (origins)
        origins->count = 0;
    if (!root.mapping.fields)
        code = obv_fail(err, OBV_E_NOMEM, 0, "configuration %s", name);
    else if (text.len == 0)
        code = obv_fail(err, OBV_E_CONFIG, 0, "%s: empty", name);
    if (code == OBV_OK) {
        const cyaml_err_t rc = cyaml_load_data(text.p, text.len, &how, &root, (cyaml_data_t **)&loaded, NULL);
        if (rc == CYAML_ERR_OOM)
            code = obv_fail(err, OBV_E_NOMEM, 0, "configuration %s", name);
        else if (rc != CYAML_OK)
            code = explain(&src, schema, rc, &complaint, err);
    }
    if (code == OBV_OK) {
        code = take_section(schema, loaded, out, NULL, &src, err);
    }
    if (loaded)
        (void)cyaml_free(&how, &root, loaded, 0);
    arena_fini(&arena);
    if (code != OBV_OK)
        obv_config_free(schema, out, size);
    return code;
}

obv_code obv_config_load(const char *path, const obv_config_field *schema, void *out, size_t size, obv_err *err)
{
    return obv_config_load_with(path, schema, NULL, out, size, NULL, err);
}

obv_code obv_config_load_with(const char *path, const obv_config_field *schema, const obv_config_given *given,
                              void *out, size_t size, obv_config_origins *origins, obv_err *err)
{
    obv_buf text = obv_buf_heap(OBV_CONFIG_FILE_MAX);
    memset(out, 0, size);
    obv_code code = obv_file_read_all(path, OBV_CONFIG_FILE_MAX, &text, err);
    if (code == OBV_E_LIMIT)
        code = obv_fail(err, OBV_E_CONFIG, 0, "%s is longer than %u bytes", path, OBV_CONFIG_FILE_MAX);
    if (code == OBV_OK)
        code = obv_config_parse_with(path, obv_buf_span(&text), schema, given, out, size, origins, err);
    obv_buf_fini(&text);
    return code;
}

static void free_fields(const obv_config_field *f, void *conf)
{
    for (; f->type != OBV_CONFIG_T_END; f++) {
        uint8_t *at = (uint8_t *)conf + f->offset;
        switch (f->type) {
        case OBV_CONFIG_T_STR:
            free(*(char **)(void *)at);
            break;
        case OBV_CONFIG_T_SECTION:
            free_fields(f->sub, at);
            break;
        case OBV_CONFIG_T_LIST:
        case OBV_CONFIG_T_STRS: {
            uint8_t *items = *(void **)(void *)at;
            const uint32_t n = *(uint32_t *)(void *)((uint8_t *)conf + f->count_offset);
            for (uint32_t i = 0; i < n; i++) {
                if (f->type == OBV_CONFIG_T_STRS)
                    free(((char **)(void *)items)[i]);
                else
                    free_fields(f->sub, items + (size_t)i * f->item_size);
            }
            free(items);
            break;
        }
        default:
            break;
        }
    }
}

void obv_config_free(const obv_config_field *schema, void *conf, size_t size)
{
    free_fields(schema, conf);
    memset(conf, 0, size);
}
