/* Open addressing with linear probing, at most 3/4 full; removal shifts back, so there are no tombstones. */
#include "base/map.h"

#include <sys/random.h>

#define FIRST_CAP 16u

struct entry {
    uint64_t hash;
    uint8_t *key; /* own copy */
    size_t key_len;
    void *value; /* NULL = free slot */
};

struct obv_map {
    struct entry *at;
    size_t cap; /* power of two */
    size_t count;
    uint64_t seed; /* keys may come from outside: no two processes probe alike */
};

static uint64_t hash_of(const obv_map *m, obv_span key)
{
    uint64_t h = m->seed ^ (key.len * UINT64_C(0x9e3779b97f4a7c15));
    size_t i = 0;
    for (; key.len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, key.p + i, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    for (; i < key.len; i++)
        h = (h ^ key.p[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

obv_map *obv_map_new(void)
{
    obv_map *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    if (getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != (ssize_t)sizeof m->seed)
        m->seed = (uint64_t)(uintptr_t)m;
    m->cap = FIRST_CAP;
    m->at = calloc(m->cap, sizeof *m->at);
    if (!m->at) {
        free(m);
        return NULL;
    }
    return m;
}

void obv_map_free(obv_map *m, void (*free_value)(void *value))
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->at[i].value && free_value)
            free_value(m->at[i].value);
        free(m->at[i].key);
    }
    free(m->at);
    free(m);
}

size_t obv_map_count(const obv_map *m) { return m->count; }

/* Slot of the key, or the free slot where it belongs. */
static size_t find(const obv_map *m, obv_span key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->at[i].value &&
           !(m->at[i].hash == hash && obv_span_equal(obv_span_of(m->at[i].key, m->at[i].key_len), key)))
        i = (i + 1) & (m->cap - 1);
    return i;
}

static bool grow(obv_map *m)
{
    if (m->count + 1 <= m->cap / 4 * 3)
        return true;
    const size_t cap = m->cap * 2;
    struct entry *at = cap > m->cap ? calloc(cap, sizeof *at) : NULL;
    if (!at)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->at[i].value)
            continue;
        size_t to = m->at[i].hash & (cap - 1);
        while (at[to].value)
            to = (to + 1) & (cap - 1);
        at[to] = m->at[i];
    }
    free(m->at);
    m->at = at;
    m->cap = cap;
    return true;
}

obv_code obv_map_put(obv_map *m, obv_span key, void *value, void **old, obv_err *err)
{
    obv_assert(value != NULL);
    const uint64_t hash = hash_of(m, key);
    if (old)
        *old = NULL;
    size_t i = find(m, key, hash);
    if (m->at[i].value) {
        if (old)
            *old = m->at[i].value;
        m->at[i].value = value;
        return OBV_OK;
    }
    uint8_t *copy = malloc(key.len ? key.len : 1);
    if (!copy || !grow(m)) {
        free(copy);
        return obv_fail(err, OBV_E_NOMEM, 0, "map of %zu entries", m->count);
    }
    if (key.len)
        memcpy(copy, key.p, key.len);
    i = find(m, key, hash);
    m->at[i] = (struct entry){.hash = hash, .key = copy, .key_len = key.len, .value = value};
    m->count++;
    return OBV_OK;
}

void *obv_map_get(const obv_map *m, obv_span key) { return m->at[find(m, key, hash_of(m, key))].value; }

void *obv_map_remove(obv_map *m, obv_span key)
{
    size_t hole = find(m, key, hash_of(m, key));
    void *value = m->at[hole].value;
    if (!value)
        return NULL;
    free(m->at[hole].key);
    m->count--;
    /* move back every later entry of the run that may stand at the hole */
    for (size_t i = (hole + 1) & (m->cap - 1); m->at[i].value; i = (i + 1) & (m->cap - 1)) {
        const size_t home = m->at[i].hash & (m->cap - 1);
        if (((i - home) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->at[hole] = m->at[i];
            hole = i;
        }
    }
    m->at[hole] = (struct entry){0};
    return value;
}

bool obv_map_next(const obv_map *m, size_t *at, obv_span *key, void **value)
{
    for (; *at < m->cap; (*at)++) {
        const struct entry *e = &m->at[*at];
        if (!e->value)
            continue;
        if (key)
            *key = obv_span_of(e->key, e->key_len);
        if (value)
            *value = e->value;
        (*at)++;
        return true;
    }
    return false;
}
