/* The effective configuration as YAML, and the table of keys for the manual. */
#include "base/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put(obv_buf *out, const char *s) { obv_buf_append(out, s, strlen(s)); }

static void put_indent(obv_buf *out, unsigned depth)
{
    while (depth--)
        put(out, "  ");
}

static void put_number(obv_buf *out, uint64_t v)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, v);
    put(out, digits);
}

/* Code point of the UTF-8 character at s, its length in *len; a byte that is none stands for itself. */
static uint32_t code_point(const char *s, size_t *len)
{
    const uint8_t a = (uint8_t)s[0];
    const size_t n = a < 0xc0 ? 1 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? a : a & (0xffu >> (n + 1));
    *len = 1;
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)s[i] & 0xc0) != 0x80)
            return a;
        c = c << 6 | ((uint8_t)s[i] & 0x3f);
    }
    *len = n;
    return c;
}

/* A double-quoted scalar: the one YAML style that takes every text. Line breaks of Unicode would be folded, and what
 * YAML calls not printable is refused, unless escaped. */
static void put_quoted(obv_buf *out, const char *s)
{
    put(out, "\"");
    for (size_t len; *s; s += len) {
        const uint32_t c = code_point(s, &len);
        char escaped[12];
        if (c == '"' || c == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\%c", (char)c);
            put(out, escaped);
        } else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
                   c == 0xffff) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
            put(out, escaped);
        } else {
            obv_buf_append(out, s, len);
        }
    }
    put(out, "\"");
}

/* Where the text goes, and what it says of each key's origin. */
struct print {
    obv_buf *out;
    const obv_config_origins *origins; /* NULL: nothing */
};

static void put_fields(const obv_config_field *f, const void *conf, unsigned depth, bool in_item, const char *prefix,
                       const struct print *p);

/* Ends a key's line. */
static void put_end(const struct print *p, const char *key)
{
    for (size_t i = 0; p->origins && i < p->origins->count; i++) {
        if (strcmp(p->origins->item[i].key, key) != 0)
            continue;
        put(p->out, " # ");
        for (const char *c = p->origins->item[i].from; *c; c++) /* a path may have anything in it */
            obv_buf_append(p->out, (unsigned char)*c < 0x20 || *c == 0x7f ? "?" : c, 1);
        break;
    }
    put(p->out, "\n");
}

static void put_list(const obv_config_field *f, const uint8_t *base, unsigned depth, const char *name,
                     const struct print *p)
{
    obv_buf *out = p->out;
    const uint8_t *items = *(void *const *)(const void *)(base + f->offset);
    const uint32_t n = *(const uint32_t *)(const void *)(base + f->count_offset);
    put(out, n ? "" : " []");
    put_end(p, name);
    for (uint32_t i = 0; i < n; i++) {
        put_indent(out, depth + 1);
        put(out, "- ");
        if (f->type == OBV_CONFIG_T_LIST) {
            put_fields(f->sub, items + (size_t)i * f->item_size, depth + 2, true, "\n",
                       p); /* no origins of their own */
        } else {
            put_quoted(out, ((char *const *)(const void *)items)[i]);
            put(out, "\n");
        }
    }
}

/* in_item: the first key stands behind "- " and needs no indentation. */
static void put_fields(const obv_config_field *f, const void *conf, unsigned depth, bool in_item, const char *prefix,
                       const struct print *p)
{
    obv_buf *out = p->out;
    for (; f->type != OBV_CONFIG_T_END; f++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", f->key);
        const uint8_t *at = (const uint8_t *)conf + f->offset;
        if (!in_item)
            put_indent(out, depth);
        in_item = false;
        put(out, f->key);
        put(out, ":");
        switch (f->type) {
        case OBV_CONFIG_T_STR:
            put(out, " ");
            put_quoted(out, *(char *const *)(const void *)at);
            put_end(p, name);
            break;
        case OBV_CONFIG_T_U32:
            put(out, " ");
            put_number(out, *(const uint32_t *)(const void *)at);
            put_end(p, name);
            break;
        case OBV_CONFIG_T_U64:
            put(out, " ");
            put_number(out, *(const uint64_t *)(const void *)at);
            put_end(p, name);
            break;
        case OBV_CONFIG_T_BOOL:
            put(out, *(const bool *)at ? " true" : " false");
            put_end(p, name);
            break;
        case OBV_CONFIG_T_SECTION:
            put(out, "\n");
            put_fields(f->sub, at, depth + 1, false, name, p);
            break;
        case OBV_CONFIG_T_LIST:
        case OBV_CONFIG_T_STRS:
            put_list(f, conf, depth, name, p);
            break;
        case OBV_CONFIG_T_END:
            break;
        }
    }
}

void obv_config_print(const obv_config_field *schema, const void *conf, obv_buf *out)
{
    put_fields(schema, conf, 0, false, "", &(struct print){.out = out});
}

void obv_config_show(const obv_config_field *schema, const void *conf, const obv_config_origins *origins, obv_buf *out)
{
    put_fields(schema, conf, 0, false, "", &(struct print){.out = out, .origins = origins});
}

static const char *type_name(obv_config_type t)
{
    static const char *const NAMES[] = {"",           "text",    "number", "number",
                                        "true/false", "section", "list",   "list of text"};
    return NAMES[t];
}

static void describe(const obv_config_field *f, const char *prefix, obv_buf *out)
{
    for (; f->type != OBV_CONFIG_T_END; f++) {
        char name[160];
        (void)snprintf(name, sizeof name, "%s%s", prefix, f->key);
        put(out, "| `");
        put(out, name);
        put(out, "` | ");
        put(out, type_name(f->type));
        put(out, " | ");
        if (f->flags & OBV_CONFIG_REQUIRED) {
            put(out, "required");
        } else if (f->type == OBV_CONFIG_T_STR && f->def_text && f->def_text[0]) {
            put(out, "`");
            put(out, f->def_text);
            put(out, "`");
        } else if (f->type == OBV_CONFIG_T_U32 || f->type == OBV_CONFIG_T_U64) {
            put_number(out, f->def);
            put(out, " (");
            put_number(out, f->min);
            put(out, " to ");
            put_number(out, f->max);
            put(out, ")");
        } else if (f->type == OBV_CONFIG_T_BOOL) {
            put(out, f->def ? "true" : "false");
        }
        put(out, " | ");
        put(out, f->doc ? f->doc : "");
        put(out, " |\n");
        if (f->sub) {
            (void)snprintf(name, sizeof name, "%s%s%s", prefix, f->key, f->type == OBV_CONFIG_T_LIST ? "[]." : ".");
            describe(f->sub, name, out);
        }
    }
}

void obv_config_describe(const obv_config_field *schema, obv_buf *out) { describe(schema, "", out); }
