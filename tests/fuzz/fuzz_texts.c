/* Texts of people, of a storage and of SQL rows: times, levels, endpoints, versions, rules of the fault plugin, object
 * names, columns. What reads must read the same again from its own text, where it has one. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mysql.h"
#include "cluster/cluster.h"
#include "plugins/fault/fault_priv.h"
#include "source/native.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_time(const char *text)
{
    int64_t at = 0, again = 0;
    char out[OBV_TIME_TEXT_LEN];
    if (obv_time_parse(text, &at, NULL) != OBV_OK || !*obv_time_text(at, out))
        return;
    obv_assert(obv_time_parse(out, &again, NULL) == OBV_OK && again == at);
}

static void try_name(const char *text)
{
    obv_native_name n, again;
    memset(&n, 0, sizeof n);
    memset(&again, 0, sizeof again);
    obv_native_name_parse(text, &n);
    obv_native_name_parse(text, &again);
    obv_assert(n.kind == again.kind && n.tenant == again.tenant && n.table == again.table);
}

static void try_columns(const char *text, size_t len)
{
    const char *const columns[] = {text, NULL};
    const unsigned long lens[] = {len, 0};
    const obv_mysql_row row = {columns, lens, 2};
    int64_t i = 0;
    uint64_t u = 0;
    char out[16];
    obv_pg_key key;
    if (obv_mysql_i64(&row, 0, &i, NULL) == OBV_OK && obv_mysql_u64(&row, 0, &u, NULL) == OBV_OK)
        obv_assert(i >= 0 && (uint64_t)i == u);
    if (obv_pg_key_of_sql(u, i, &key, NULL) == OBV_OK)
        obv_assert(key.part_id >= 0 && key.assist >= 0);
    if (obv_mysql_text(&row, 0, out, sizeof out, NULL) == OBV_OK)
        obv_assert(strlen(out) < sizeof out);
    (void)!obv_mysql_i64(&row, 1, &i, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    char *text = malloc(size + 1);
    obv_assert(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = 0;
    obv_log_level level;
    obv_endpoint endpoint;
    uint64_t version;
    try_time(text);
    try_name(text);
    try_columns(text, strlen(text));
    (void)!obv_log_level_parse(text, &level, NULL);
    if (obv_endpoint_parse(text, &endpoint, NULL) == OBV_OK)
        obv_assert(endpoint.port > 0 && endpoint.port < 65536 && strlen(endpoint.host) < sizeof endpoint.host);
    (void)!obv_cluster_version(text, &version, NULL);
    struct fault_rules rules;
    memset(&rules, 0, sizeof rules);
    const char *wrong = fault_rules_parse(text, &rules);
    obv_assert(wrong ? wrong >= text && wrong <= text + size : rules.count <= FAULT_RULES_MAX);
    free(text);
    return 0;
}
