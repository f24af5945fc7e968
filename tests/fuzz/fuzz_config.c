/* Any bytes: refused with a text, or loaded; what was loaded prints to a text that loads to the same. */
#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct kv {
    char *key, *value;
};
struct inner {
    char *ca;
    uint32_t n;
};
struct conf {
    char *listen;
    struct inner tls;
    uint32_t workers;
    uint64_t bytes;
    bool direct;
    struct kv *options;
    uint32_t option_count;
    char **hosts;
    uint32_t host_count;
};

static const obv_config_field KV[] = {
    OBV_CONFIG_STR("key", struct kv, key, OBV_CONFIG_REQUIRED, NULL, ""),
    OBV_CONFIG_STR("value", struct kv, value, 0, "", ""),
    OBV_CONFIG_LAST,
};
static const obv_config_field INNER[] = {
    OBV_CONFIG_STR("ca", struct inner, ca, 0, "x", ""),
    OBV_CONFIG_U32("n", struct inner, n, 1, 1, 9, ""),
    OBV_CONFIG_LAST,
};
static const obv_config_field CONF[] = {
    OBV_CONFIG_STR("listen", struct conf, listen, 0, "0.0.0.0:2900", ""),
    OBV_CONFIG_SECTION("tls", struct conf, tls, INNER, ""),
    OBV_CONFIG_U32("workers", struct conf, workers, 2, 1, 64, ""),
    OBV_CONFIG_U64("bytes", struct conf, bytes, 0, 0, UINT64_MAX, ""),
    OBV_CONFIG_BOOL("direct", struct conf, direct, true, ""),
    OBV_CONFIG_LIST("options", struct conf, options, option_count, KV, 16, ""),
    OBV_CONFIG_STRS("hosts", struct conf, hosts, host_count, 16, ""),
    OBV_CONFIG_LAST,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf a, b;
    obv_err err = {0};
    if (size > OBV_CONFIG_FILE_MAX)
        return 0;
    if (obv_config_parse("fuzz", obv_span_of(data, size), CONF, &a, sizeof a, &err) != OBV_OK) {
        static const struct conf ZERO;
        obv_assert(err.code == OBV_E_CONFIG && err.msg[0] && memcmp(&a, &ZERO, sizeof a) == 0);
        return 0;
    }
    obv_buf first = obv_buf_heap(1u << 22), second = obv_buf_heap(1u << 22);
    obv_config_print(CONF, &a, &first);
    obv_assert(obv_config_parse("again", obv_buf_span(&first), CONF, &b, sizeof b, &err) == OBV_OK);
    obv_config_print(CONF, &b, &second);
    obv_assert(obv_span_equal(obv_buf_span(&first), obv_buf_span(&second)));
    obv_buf_fini(&first);
    obv_buf_fini(&second);
    obv_config_free(CONF, &a, sizeof a);
    obv_config_free(CONF, &b, sizeof b);
    return 0;
}
