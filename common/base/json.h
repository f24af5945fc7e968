/* json.h - JSON out (a writer into obv_buf) and in (typed, strict access to a parsed text) */
#ifndef OBV_BASE_JSON_H
#define OBV_BASE_JSON_H

#include "base/err.h"
#include "base/span.h"

/* ---- writer: no allocation of its own; failures stick in the buffer, one obv_buf_check at the end ---- */

#define OBV_JSON_DEPTH_MAX 32u

typedef struct obv_json {
    obv_buf *out;
    unsigned depth;
    uint32_t has_items; /* bit d: something was written at depth d */
    uint32_t is_array;  /* bit d: depth d is an array */
} obv_json;

static inline obv_json obv_json_to(obv_buf *out) { return (obv_json){.out = out}; }

/* @p key is NULL in an array and at the top. Text that is no UTF-8 comes out with U+FFFD in place of bad bytes. */
void obv_json_object(obv_json *w, const char *key);                 /* opens { */
void obv_json_array(obv_json *w, const char *key);                  /* opens [ */
void obv_json_end(obv_json *w);                                     /* closes the innermost of both */
void obv_json_str(obv_json *w, const char *key, const char *value); /* NULL writes null */
void obv_json_strn(obv_json *w, const char *key, obv_span value);
void obv_json_i64(obv_json *w, const char *key, int64_t value);
void obv_json_u64(obv_json *w, const char *key, uint64_t value); /* above INT64_MAX: as a string of digits */
void obv_json_fixed(obv_json *w, const char *key, double value, unsigned decimals); /* at most 9; not finite: null */
void obv_json_bool(obv_json *w, const char *key, bool value);
void obv_json_null(obv_json *w, const char *key);
/** One line feed at the top level, for JSON lines. */
void obv_json_line(obv_json *w);

/* ---- reader: whole text at once; duplicates, trailing text and bad UTF-8 are refused ---- */

typedef struct obv_json_doc obv_json_doc;   /* owns all its nodes */
typedef struct obv_json_node obv_json_node; /* borrowed from its document */

/** OBV_OK; OBV_E_CORRUPT with line and column; OBV_E_NOMEM. The caller bounds the size of @p text. */
OBV_CHECK obv_code obv_json_parse(obv_span text, obv_json_doc **out, obv_err *err);
void obv_json_free(obv_json_doc *d);
static inline void obv_json_freep(obv_json_doc **d) { obv_json_free(*d); }
const obv_json_node *obv_json_root(const obv_json_doc *d);

/* Members of an object. Each: OBV_OK; OBV_E_NOT_FOUND if absent; OBV_E_CORRUPT if of another type or range, naming the
 * key. *out is written only on OBV_OK. @p o that is no object is OBV_E_CORRUPT. */
OBV_CHECK obv_code obv_json_get_str(const obv_json_node *o, const char *key, const char **out, obv_err *err);
OBV_CHECK obv_code obv_json_get_i64(const obv_json_node *o, const char *key, int64_t *out, obv_err *err);
OBV_CHECK obv_code obv_json_get_u64(const obv_json_node *o, const char *key, uint64_t *out,
                                    obv_err *err); /* or digits
                                                     in a string */
OBV_CHECK obv_code obv_json_get_bool(const obv_json_node *o, const char *key, bool *out, obv_err *err);
OBV_CHECK obv_code obv_json_get_object(const obv_json_node *o, const char *key, const obv_json_node **out,
                                       obv_err *err);
OBV_CHECK obv_code obv_json_get_array(const obv_json_node *o, const char *key, const obv_json_node **out, obv_err *err);
bool obv_json_has(const obv_json_node *o, const char *key);
/** OBV_E_CORRUPT naming a member that is not among the n @p keys. */
OBV_CHECK obv_code obv_json_only(const obv_json_node *o, const char *const *keys, size_t n, obv_err *err);

/* Arrays and plain values. */
size_t obv_json_count(const obv_json_node *a); /* 0 if not an array */
/** NULL past the end. */
const obv_json_node *obv_json_at(const obv_json_node *a, size_t i);
OBV_CHECK obv_code obv_json_as_str(const obv_json_node *v, const char **out, obv_err *err);
OBV_CHECK obv_code obv_json_as_i64(const obv_json_node *v, int64_t *out, obv_err *err);
OBV_CHECK obv_code obv_json_as_u64(const obv_json_node *v, uint64_t *out, obv_err *err);

#endif
