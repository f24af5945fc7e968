#include "cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX (16u << 20)

/* All list structs begin with {item *v; size_t n, cap;}. */
typedef struct any_list {
    void *v;
    size_t n, cap;
} any_list;

void *obv_list_add(void *list, size_t size, obv_err *err)
{
    any_list *l = list;
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 64;
        void *grown = cap <= ITEMS_MAX ? realloc(l->v, cap * size) : NULL;
        if (!grown) {
            (void)obv_fail(err, OBV_E_NOMEM, 0, "a list of %zu items", cap);
            return NULL;
        }
        l->v = grown;
        l->cap = cap;
    }
    void *item = (char *)l->v + l->n++ * size;
    memset(item, 0, size);
    return item;
}

void obv_servers_fini(obv_servers *l) { free(l->v); }
void obv_tenants_fini(obv_tenants *l) { free(l->v); }
void obv_tenant_periods_fini(obv_tenant_periods *l) { free(l->v); }
void obv_pgs_fini(obv_pgs *l) { free(l->v); }
void obv_contents_fini(obv_contents *l) { free(l->v); }
void obv_replicas_fini(obv_replicas *l) { free(l->v); }

static int cmp(uint64_t ta, int64_t pa, uint64_t tb, int64_t pb)
{
    if (ta != tb)
        return ta < tb ? -1 : 1;
    return pa < pb ? -1 : pa > pb;
}

int obv_pgs_cmp(const void *a, const void *b)
{
    const obv_pg_key *x = a, *y = b;
    return cmp(x->table_id, obv_pg_key_partition_id(x), y->table_id, obv_pg_key_partition_id(y));
}

void obv_pgs_sort(obv_pgs *l)
{
    if (l->n == 0)
        return;
    qsort(l->v, l->n, sizeof *l->v, obv_pgs_cmp);
    size_t kept = 1;
    for (size_t i = 1; i < l->n; i++)
        if (obv_pgs_cmp(&l->v[i], &l->v[kept - 1]) != 0)
            l->v[kept++] = l->v[i];
    l->n = kept;
}

bool obv_pgs_contain(const obv_pgs *l, const obv_pg_key *k)
{
    return l->n && bsearch(k, l->v, l->n, sizeof *l->v, obv_pgs_cmp) != NULL;
}

static int content_cmp(const void *a, const void *b)
{
    const obv_content *x = a, *y = b;
    return cmp(x->owner, 0, y->owner, 0) ? cmp(x->owner, 0, y->owner, 0) : cmp(x->id, 0, y->id, 0);
}

void obv_contents_sort(obv_contents *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof *l->v, content_cmp);
}

const obv_content *obv_contents_of(const obv_contents *l, uint64_t owner, size_t *n)
{
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (l->v[mid].owner < owner)
            lo = mid + 1;
        else
            hi = mid;
    }
    *n = 0;
    while (lo + *n < l->n && l->v[lo + *n].owner == owner)
        ++*n;
    return *n ? &l->v[lo] : NULL;
}

static int replica_cmp(const void *a, const void *b)
{
    const obv_replica *x = a, *y = b;
    const int c = cmp(x->table_id, x->partition_id, y->table_id, y->partition_id);
    if (c)
        return c;
    const int i = strcmp(x->ip, y->ip);
    return i ? i : x->rpc_port < y->rpc_port ? -1 : x->rpc_port > y->rpc_port;
}

void obv_replicas_sort(obv_replicas *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof *l->v, replica_cmp);
}

const obv_replica *obv_replicas_of(const obv_replicas *l, const obv_pg_key *k, size_t *n)
{
    const int64_t partition = obv_pg_key_partition_id(k);
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (cmp(l->v[mid].table_id, l->v[mid].partition_id, k->table_id, partition) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *n = 0;
    while (lo + *n < l->n && cmp(l->v[lo + *n].table_id, l->v[lo + *n].partition_id, k->table_id, partition) == 0)
        ++*n;
    return *n ? &l->v[lo] : NULL;
}

obv_code obv_pg_key_of_sql(uint64_t table_id, int64_t partition_id, obv_pg_key *out, obv_err *err)
{
    obv_pg_key k = {.table_id = table_id};
    if (partition_id >= 0 && partition_id <= INT32_MAX) {
        k.part_id = (int32_t)partition_id;
    } else {
        k.part_id = (int32_t)(partition_id >> 32);
        k.assist = (int32_t)(uint32_t)((uint64_t)partition_id & UINT32_MAX);
        if (k.part_id < 0 || k.assist < 0 || !obv_pg_key_is_two_level(&k))
            return obv_fail(err, OBV_E_CORRUPT, 0, "partition id %lld of table %llu is none", (long long)partition_id,
                            (unsigned long long)table_id);
    }
    *out = k;
    return OBV_OK;
}

obv_code obv_cluster_version(const char *text, uint64_t *out, obv_err *err)
{
    static const struct {
        const char *text;
        uint64_t patch;
    } KNOWN[] = {{"3.1.1", 1}, {"3.1.2", 2}, {"3.1.3", 3}, {"3.1.4", 4}, {"3.1.5", 5}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strcmp(text, KNOWN[i].text) == 0) {
            *out = UINT64_C(3) << 32 | UINT64_C(1) << 16 | KNOWN[i].patch;
            return OBV_OK;
        }
    return obv_fail(err, OBV_E_UNSUPPORTED, 0, "OceanBase version %.40s is not among those that obvault supports",
                    text);
}

obv_code obv_endpoint_parse(const char *text, obv_endpoint *out, obv_err *err)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const long port = colon ? strtol(colon + 1, &end, 10) : 0;
    const size_t n = colon ? (size_t)(colon - text) : 0;
    if (n == 0 || n >= sizeof out->host || *end || port < 1 || port > 65535)
        return obv_fail(err, OBV_E_CONFIG, 0, "endpoint %.80s is not host:port", text);
    memcpy(out->host, text, n);
    out->host[n] = 0;
    out->port = (uint32_t)port;
    return OBV_OK;
}

/* A destination without the trailing slashes and options that OceanBase takes off too. */
static size_t bare(const char *uri)
{
    size_t n = strcspn(uri, "?");
    while (n > 8 && uri[n - 1] == '/')
        n--;
    return n;
}

bool obv_own_archive_is_at(const obv_own_archive *a, const char *uri)
{
    const size_t n = bare(uri);
    return a->running && (!a->dest[0] || (bare(a->dest) == n && strncmp(a->dest, uri, n) == 0));
}
