/* golden.h - test vectors: kept ones under tests/vectors, full sweeps from the folder of golden data when it is there
 *
 * Programs run in the source tree. Include after test.h. Bytes live until the process ends.
 */
#ifndef OBV_TEST_GOLDEN_H
#define OBV_TEST_GOLDEN_H

#include "base/file.h"
#include "base/span.h"
#include "golden_count.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <zstd.h>

#define GOLDEN_FILE_MAX (80u << 20)
#define TEST_SKIPPED 77 /* exit code that CTest knows */

/* Keeps what was read reachable, so that leak checkers count only the code under test. */
static inline obv_span golden_keep(void *p, size_t len)
{
    static struct kept {
        struct kept *next;
        void *p;
    } * all;
    struct kept *k = malloc(sizeof *k);
    assert_non_null(k);
    *k = (struct kept){all, p};
    all = k;
    return (obv_span){p, len};
}

/* tests/vectors/<name>, or with "<name>.zst" unpacked */
static inline obv_span golden_read_path(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    obv_buf b = obv_buf_heap(GOLDEN_FILE_MAX);
    uint8_t chunk[65536];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        obv_buf_append(&b, chunk, n);
    (void)fclose(f);
    assert_false(b.failed);
    const size_t len = strlen(path);
    if (len < 4 || strcmp(path + len - 4, ".zst") != 0)
        return golden_keep(b.data, b.len);
    const unsigned long long size = ZSTD_getFrameContentSize(b.data, b.len);
    const size_t cap = size < GOLDEN_FILE_MAX ? (size_t)size : GOLDEN_FILE_MAX;
    uint8_t *out = malloc(cap ? cap : 1);
    assert_non_null(out);
    const size_t got = ZSTD_decompress(out, cap, b.data, b.len);
    if (ZSTD_isError(got))
        fail_msg("%s: %s", path, ZSTD_getErrorName(got));
    obv_buf_fini(&b);
    return golden_keep(out, got);
}

static inline obv_span golden_vector(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "tests/vectors/%s", name);
    golden_note_file(path);
    return golden_read_path(path);
}

/* The folder of full golden data, or NULL (the sweep is then skipped): OBV_GOLDEN, else beside the source tree. */
static inline const char *golden_dir(void)
{
    static const char *const PLACES[] = {"../shared/golden", "../../shared/golden"};
    const char *env = getenv("OBV_GOLDEN");
    if (env)
        return access(env, R_OK) == 0 ? env : NULL;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++)
        if (access(PLACES[i], R_OK) == 0)
            return PLACES[i];
    return NULL;
}

/* A file of the full golden data; ".zst" is tried when the plain name is not there. */
static inline obv_span golden_file(const char *name)
{
    char path[512];
    golden_note_file(name);
    (void)snprintf(path, sizeof path, "%s/%s", golden_dir(), name);
    if (access(path, R_OK) != 0)
        (void)snprintf(path, sizeof path, "%s/%s.zst", golden_dir(), name);
    return golden_read_path(path);
}

static inline json_t *golden_json(const char *name)
{
    static const char TOO_BIG[] = "18446744073709551615"; /* "no log id": reads as -1 */
    const obv_span text = golden_file(name);
    char *copy = strndup((const char *)text.p, text.len);
    assert_non_null(copy);
    for (char *at = copy; (at = strstr(at, TOO_BIG)) != NULL;) {
        memset(at, ' ', sizeof TOO_BIG - 1);
        memcpy(at, "-1", 2);
    }
    json_error_t e;
    json_t *j = json_loads(copy, 0, &e);
    free(copy);
    if (!j)
        fail_msg("%s: %s", name, e.text);
    return j;
}

static inline obv_span golden_hex(const char *hex)
{
    const size_t n = strlen(hex) / 2;
    uint8_t *out = malloc(n ? n : 1);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return golden_keep(out, n);
}

static inline int64_t golden_int(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) && !json_is_boolean(v))
        fail_msg("no number %s", key);
    return json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);
}

static inline const char *golden_str(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s)
        fail_msg("no text %s", key);
    return s;
}

static inline void assert_span_equal(obv_span got, obv_span want)
{
    if (got.len == want.len && memcmp(got.p, want.p, got.len) == 0)
        return;
    size_t i = 0;
    while (i < got.len && i < want.len && got.p[i] == want.p[i])
        i++;
    fail_msg("%zu bytes, expected %zu; first difference at %zu", got.len, want.len, i);
}

static inline void assert_code(obv_code got, obv_code want, const obv_err *err)
{
    if (got != want)
        fail_msg("code %d, expected %d: %s", (int)got, (int)want, err->msg);
}

#endif
