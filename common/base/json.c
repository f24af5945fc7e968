/* The only file that names jansson. */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include <jansson.h>

/* ---- writer ---- */

static void text(obv_json *w, const char *s) { obv_buf_append(w->out, s, strlen(s)); }

/* Length of the UTF-8 character at s, 0 if it is none (overlong, surrogate, cut or beyond U+10FFFF). */
static size_t utf8_len(const uint8_t *s, size_t left)
{
    const uint8_t a = s[0];
    if (a < 0x80)
        return 1;
    const size_t n = a >= 0xc2 && a <= 0xdf ? 2 : a >= 0xe0 && a <= 0xef ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((a == 0xe0 && s[1] < 0xa0) || (a == 0xed && s[1] > 0x9f) || (a == 0xf0 && s[1] < 0x90) ||
        (a == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static void quoted(obv_json *w, obv_span v)
{
    text(w, "\"");
    for (size_t i = 0; i < v.len;) {
        const uint8_t c = v.p[i];
        const size_t n = utf8_len(v.p + i, v.len - i);
        char escaped[8];
        if (n == 0) {
            text(w, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\%c", c);
            text(w, escaped);
        } else if (c < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c);
            text(w, escaped);
        } else {
            obv_buf_append(w->out, v.p + i, n);
        }
        i += n;
    }
    text(w, "\"");
}

/* Comma and key before a value. */
static void lead(obv_json *w, const char *key)
{
    const uint32_t bit = UINT32_C(1) << w->depth;
    const bool inside = w->depth > 0;
    obv_assert((key != NULL) == (inside && !(w->is_array & bit)));
    if (inside && (w->has_items & bit))
        text(w, ",");
    w->has_items |= bit;
    if (key) {
        quoted(w, obv_span_of(key, strlen(key)));
        text(w, ":");
    }
}

static void open_level(obv_json *w, const char *key, bool is_array)
{
    lead(w, key);
    obv_assert(w->depth + 1 < OBV_JSON_DEPTH_MAX);
    w->depth++;
    const uint32_t bit = UINT32_C(1) << w->depth;
    w->has_items &= ~bit;
    w->is_array = is_array ? w->is_array | bit : w->is_array & ~bit;
    text(w, is_array ? "[" : "{");
}

void obv_json_object(obv_json *w, const char *key) { open_level(w, key, false); }
void obv_json_array(obv_json *w, const char *key) { open_level(w, key, true); }

void obv_json_end(obv_json *w)
{
    obv_assert(w->depth > 0);
    text(w, w->is_array & UINT32_C(1) << w->depth ? "]" : "}");
    w->depth--;
}

void obv_json_strn(obv_json *w, const char *key, obv_span value)
{
    lead(w, key);
    quoted(w, value);
}

void obv_json_str(obv_json *w, const char *key, const char *value)
{
    if (value)
        obv_json_strn(w, key, obv_span_of(value, strlen(value)));
    else
        obv_json_null(w, key);
}

void obv_json_i64(obv_json *w, const char *key, int64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRId64, value);
    lead(w, key);
    text(w, digits);
}

void obv_json_u64(obv_json *w, const char *key, uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, value > INT64_MAX ? "\"%" PRIu64 "\"" : "%" PRIu64, value);
    lead(w, key);
    text(w, digits);
}

void obv_json_fixed(obv_json *w, const char *key, double value, unsigned decimals)
{
    char digits[340]; /* the largest double has 309 before the point */
    if (!isfinite(value)) {
        obv_json_null(w, key);
        return;
    }
    (void)snprintf(digits, sizeof digits, "%.*f", decimals < 9 ? (int)decimals : 9, value);
    lead(w, key);
    text(w, digits);
}

void obv_json_bool(obv_json *w, const char *key, bool value)
{
    lead(w, key);
    text(w, value ? "true" : "false");
}

void obv_json_null(obv_json *w, const char *key)
{
    lead(w, key);
    text(w, "null");
}

void obv_json_line(obv_json *w)
{
    obv_assert(w->depth == 0);
    text(w, "\n");
}

/* ---- reader: obv_json_node is json_t under another name ---- */

static const json_t *in(const obv_json_node *n) { return (const json_t *)(const void *)n; }
static const obv_json_node *out_of(const json_t *j) { return (const obv_json_node *)(const void *)j; }

obv_code obv_json_parse(obv_span bytes, obv_json_doc **out, obv_err *err)
{
    json_error_t e;
    json_t *root = json_loadb((const char *)bytes.p, bytes.len, JSON_REJECT_DUPLICATES, &e);
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return obv_fail(err, OBV_E_NOMEM, 0, "JSON of %zu bytes", bytes.len);
    if (!root)
        return obv_fail(err, OBV_E_CORRUPT, 0, "JSON line %d column %d: %s", e.line, e.column, e.text);
    *out = (obv_json_doc *)(void *)root;
    return OBV_OK;
}

void obv_json_free(obv_json_doc *d) { json_decref((json_t *)(void *)d); }

const obv_json_node *obv_json_root(const obv_json_doc *d) { return (const obv_json_node *)(const void *)d; }

static obv_code member(const obv_json_node *o, const char *key, const json_t **out, obv_err *err)
{
    if (!json_is_object(in(o)))
        return obv_fail(err, OBV_E_CORRUPT, 0, "JSON: an object with '%s' was expected", key);
    *out = json_object_get(in(o), key);
    return *out ? OBV_OK : obv_fail(err, OBV_E_NOT_FOUND, 0, "JSON: '%s' is missing", key);
}

static obv_code wrong(const char *key, const char *want, obv_err *err)
{
    return obv_fail(err, OBV_E_CORRUPT, 0, "JSON: '%s' must be %s", key, want);
}

static bool str_of(const json_t *v, const char **out)
{
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return false;
    *out = json_string_value(v);
    return true;
}

static bool u64_of(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    const char *s;
    if (!str_of(v, &s) || !*s || (s[0] == '0' && s[1]))
        return false;
    uint64_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    if (*s)
        return false;
    *out = n;
    return true;
}

obv_code obv_json_get_str(const obv_json_node *o, const char *key, const char **out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    return str_of(v, out) ? OBV_OK : wrong(key, "a string without zero bytes", err);
}

obv_code obv_json_get_i64(const obv_json_node *o, const char *key, int64_t *out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    if (!json_is_integer(v))
        return wrong(key, "a whole number", err);
    *out = json_integer_value(v);
    return OBV_OK;
}

obv_code obv_json_get_u64(const obv_json_node *o, const char *key, uint64_t *out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    return u64_of(v, out) ? OBV_OK : wrong(key, "a whole number from 0", err);
}

obv_code obv_json_get_bool(const obv_json_node *o, const char *key, bool *out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    if (!json_is_boolean(v))
        return wrong(key, "true or false", err);
    *out = json_is_true(v);
    return OBV_OK;
}

obv_code obv_json_get_object(const obv_json_node *o, const char *key, const obv_json_node **out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    if (!json_is_object(v))
        return wrong(key, "an object", err);
    *out = out_of(v);
    return OBV_OK;
}

obv_code obv_json_get_array(const obv_json_node *o, const char *key, const obv_json_node **out, obv_err *err)
{
    const json_t *v = NULL;
    OBV_TRY(member(o, key, &v, err));
    if (!json_is_array(v))
        return wrong(key, "an array", err);
    *out = out_of(v);
    return OBV_OK;
}

bool obv_json_has(const obv_json_node *o, const char *key) { return json_object_get(in(o), key) != NULL; }

obv_code obv_json_only(const obv_json_node *o, const char *const *keys, size_t n, obv_err *err)
{
    if (!json_is_object(in(o)))
        return obv_fail(err, OBV_E_CORRUPT, 0, "JSON: an object was expected");
    json_t *object = (json_t *)in(o); /* jansson's iterators take no const; nothing is changed */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (i < n && strcmp(keys[i], key) != 0)
            i++;
        if (i == n)
            return obv_fail(err, OBV_E_CORRUPT, 0, "JSON: unknown key '%.60s'", key);
    }
    return OBV_OK;
}

size_t obv_json_count(const obv_json_node *a) { return json_array_size(in(a)); }

const obv_json_node *obv_json_at(const obv_json_node *a, size_t i) { return out_of(json_array_get(in(a), i)); }

obv_code obv_json_as_str(const obv_json_node *v, const char **out, obv_err *err)
{
    return str_of(in(v), out) ? OBV_OK : obv_fail(err, OBV_E_CORRUPT, 0, "JSON: a string was expected");
}

obv_code obv_json_as_i64(const obv_json_node *v, int64_t *out, obv_err *err)
{
    if (!json_is_integer(in(v)))
        return obv_fail(err, OBV_E_CORRUPT, 0, "JSON: a whole number was expected");
    *out = json_integer_value(in(v));
    return OBV_OK;
}

obv_code obv_json_as_u64(const obv_json_node *v, uint64_t *out, obv_err *err)
{
    return u64_of(in(v), out) ? OBV_OK : obv_fail(err, OBV_E_CORRUPT, 0, "JSON: a whole number from 0 was expected");
}
