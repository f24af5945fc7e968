/* Any bytes: the reader refuses or gives a tree that only says what it holds; text we write reads back. */
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(const obv_json_node *n, unsigned depth)
{
    static const char *const KEYS[] = {"a", "b", "list", "name"};
    const char *s = NULL;
    int64_t i;
    uint64_t u;
    bool t;
    const obv_json_node *sub;
    obv_err err = {0};
    if (obv_json_as_str(n, &s, &err) == OBV_OK)
        obv_assert(s != NULL);
    if (obv_json_as_i64(n, &i, &err) == OBV_OK && i >= 0)
        obv_assert(obv_json_as_u64(n, &u, &err) == OBV_OK && u == (uint64_t)i);
    (void)!obv_json_only(n, KEYS, 4, &err);
    for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS; k++) {
        (void)!obv_json_get_str(n, KEYS[k], &s, &err);
        (void)!obv_json_get_u64(n, KEYS[k], &u, &err);
        (void)!obv_json_get_bool(n, KEYS[k], &t, &err);
        if (depth < 20 && obv_json_get_object(n, KEYS[k], &sub, &err) == OBV_OK)
            visit(sub, depth + 1);
        if (depth < 20 && obv_json_get_array(n, KEYS[k], &sub, &err) == OBV_OK)
            visit(sub, depth + 1);
    }
    for (size_t k = 0; depth < 20 && k < obv_json_count(n) && k < 8; k++)
        visit(obv_json_at(n, k), depth + 1);
}

static void what_is_written_reads_back(obv_span bytes)
{
    obv_buf b = obv_buf_heap(1u << 20), again = obv_buf_heap(1u << 20);
    obv_json w = obv_json_to(&b), w2 = obv_json_to(&again);
    obv_json_doc *d = NULL;
    const char *s = NULL;
    obv_err err = {0};
    obv_json_object(&w, NULL);
    obv_json_strn(&w, "a", bytes);
    obv_json_end(&w);
    if (!b.failed && memchr(bytes.p ? bytes.p : (const uint8_t *)"", 0, bytes.len) == NULL) {
        obv_assert(obv_json_parse(obv_buf_span(&b), &d, &err) == OBV_OK);
        obv_assert(obv_json_get_str(obv_json_root(d), "a", &s, &err) == OBV_OK);
        obv_json_object(&w2, NULL);
        obv_json_str(&w2, "a", s);
        obv_json_end(&w2);
        obv_assert(obv_span_equal(obv_buf_span(&b), obv_buf_span(&again)));
        obv_json_free(d);
    }
    obv_buf_fini(&b);
    obv_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    obv_json_doc *d = NULL;
    obv_err err = {0};
    if (obv_json_parse(obv_span_of(data, size), &d, &err) == OBV_OK) {
        visit(obv_json_root(d), 0);
        obv_json_free(d);
    } else {
        obv_assert(err.code == OBV_E_CORRUPT && err.msg[0]);
    }
    what_is_written_reads_back(obv_span_of(data, size));
    return 0;
}
