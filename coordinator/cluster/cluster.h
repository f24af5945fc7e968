/* cluster.h - one OceanBase cluster as its sys tenant's catalogue shows it (docs/sql.md)
 *
 * An interface, so that the jobs are tested without a server. A handle belongs to one thread. Every call opens a
 * connection when there is none and tries each endpoint once; codes >= 64 mean "later".
 */
#ifndef OBV_COORDINATOR_CLUSTER_H
#define OBV_COORDINATOR_CLUSTER_H

#include "base/err.h"
#include "base/rights.h"
#include "format/ob/pg_key.h"

#include <stdbool.h>
#include <stddef.h>

#define OBV_IP_MAX 46u
#define OBV_CLUSTER_PAGE 2000u /* rows of one query */

typedef struct obv_identity {
    char name[129];
    uint64_t id;
    uint64_t version; /* min_observer_version in 64 bits: major << 32 | minor << 16 | patch */
    bool upgrading;   /* enable_upgrade_mode on some server, or servers of different versions */
    bool standby;
    char build[256]; /* of one server, for people */
} obv_identity;

typedef struct obv_server {
    char ip[OBV_IP_MAX];
    uint32_t rpc_port, sql_port;
    uint64_t id;
    char zone[129];
    bool active;
} obv_server;
typedef struct obv_servers {
    obv_server *v;
    size_t n, cap;
} obv_servers;

typedef struct obv_tenant {
    uint64_t id;
    char name[129];
    char locality[4097];
    char primary_zone[129];
    char zone_list[1025];
    int32_t compat_mode; /* 0 MySQL, 1 Oracle */
    bool normal;         /* TENANT_STATUS_NORMAL and not in the recycle bin */
} obv_tenant;
typedef struct obv_tenants {
    obv_tenant *v;
    size_t n, cap;
} obv_tenants;

typedef struct obv_tenant_period { /* from that schema version (us) on the tenant has this name */
    uint64_t id;
    int64_t schema_version;
    char name[129];
} obv_tenant_period;
typedef struct obv_tenant_periods {
    obv_tenant_period *v;
    size_t n, cap;
} obv_tenant_periods;

typedef struct obv_merge {
    int64_t data_version;    /* last_merged_version of all zones */
    bool merging;            /* some zone is behind the broadcast version */
    int64_t frozen_snapshot; /* us, of data_version */
} obv_merge;

typedef struct obv_pgs {
    obv_pg_key *v; /* sorted by table id and partition id, no repeats */
    size_t n, cap;
} obv_pgs;

/* By the schema the PGs of owner, a table, global index or tablegroup, hold a table or an AVAILABLE local index. */
typedef struct obv_content {
    uint64_t owner, id;
} obv_content;
typedef struct obv_contents {
    obv_content *v; /* sorted by owner and id */
    size_t n, cap;
} obv_contents;

typedef struct obv_replica {
    uint64_t table_id;
    int64_t partition_id;
    char ip[OBV_IP_MAX];
    uint32_t rpc_port;
    bool leader;
    bool usable; /* full replica, normal, not restoring */
    int64_t data_version;
} obv_replica;
typedef struct obv_replicas {
    obv_replica *v; /* sorted by table id and partition id */
    size_t n, cap;
} obv_replicas;

typedef struct obv_target {
    int64_t restore_concurrency; /* least of all servers */
    int64_t gc_ts;               /* us */
} obv_target;

typedef struct obv_own_archive {
    bool running;    /* its state is not STOP */
    char dest[2049]; /* backup_dest; "" = not known */
} obv_own_archive;
/** Does it write where we do? Not known counts as yes. */
bool obv_own_archive_is_at(const obv_own_archive *a, const char *uri);

typedef struct obv_restore_progress {
    bool found, ended;
    int64_t job_id, external_id;
    char status[65];
    int64_t pgs, pgs_done, blocks, blocks_done;
    char info[512];
} obv_restore_progress;

typedef struct obv_cluster obv_cluster;
typedef struct obv_cluster_ops {
    obv_code (*identity)(obv_cluster *c, obv_identity *out, obv_err *err);
    obv_code (*servers)(obv_cluster *c, obv_servers *out, obv_err *err);
    obv_code (*tenants)(obv_cluster *c, obv_tenants *out, obv_err *err); /* user tenants, by id */
    obv_code (*tenant_periods)(obv_cluster *c, int64_t sys_schema_version, obv_tenant_periods *out, obv_err *err);
    obv_code (*merge)(obv_cluster *c, obv_merge *out, obv_err *err);
    /** Schema version at that freeze, 0 if there is none. */
    obv_code (*frozen_schema)(obv_cluster *c, int64_t frozen_version, uint64_t tenant, int64_t *out, obv_err *err);
    /** The tenant's newest schema version now. */
    obv_code (*schema_version)(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err);
    /** The schema version that the tenant had at a time (us) that has passed. */
    obv_code (*schema_version_at)(obv_cluster *c, uint64_t tenant, int64_t at, int64_t *out, obv_err *err);
    /** Every PG of the tenant in the schema, sys PGs included; what is in them if @p contents is not NULL. */
    obv_code (*pgs)(obv_cluster *c, uint64_t tenant, obv_pgs *out, obv_contents *contents, obv_err *err);
    obv_code (*replicas)(obv_cluster *c, uint64_t tenant, obv_replicas *out, obv_err *err);
    obv_code (*uses_gts)(obv_cluster *c, uint64_t tenant, bool *out, obv_err *err);
    /** The tenant's undo_retention, s. */
    obv_code (*undo_retention)(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err);
    /** base_backup_version of a restored tenant, 0 if none. */
    obv_code (*base_version)(obv_cluster *c, uint64_t tenant, int64_t *out, obv_err *err);
    /** OceanBase's own log archiving. */
    obv_code (*own_archive)(obv_cluster *c, obv_own_archive *out, obv_err *err);
    /* for doctor */
    /** What the handle's account may, as @p role. */
    obv_code (*rights)(obv_cluster *c, obv_role role, obv_rights *out, obv_err *err);
    /** Data of the tenant's PGs, each once, in bytes. */
    obv_code (*data_bytes)(obv_cluster *c, uint64_t tenant, uint64_t *out, obv_err *err);
    /** A server's clock, us, and how long asking took. */
    obv_code (*now)(obv_cluster *c, int64_t *us, int64_t *trip_us, obv_err *err);
    /* restore target */
    obv_code (*target)(obv_cluster *c, obv_target *out, obv_err *err);
    obv_code (*pool_free)(obv_cluster *c, const char *pool, bool *exists, bool *is_free, obv_err *err);
    obv_code (*tenant_exists)(obv_cluster *c, const char *name, bool *out, obv_err *err);
    obv_code (*last_restore_job)(obv_cluster *c, int64_t *out, obv_err *err);
    obv_code (*restore_progress)(obv_cluster *c, int64_t external_id, const char *tenant, obv_restore_progress *out,
                                 obv_err *err);
    /** Statements on one connection, in order; never repeated on another endpoint once the first one was sent. */
    obv_code (*execute)(obv_cluster *c, const char *const *sql, size_t n, obv_err *err);
    void (*close)(obv_cluster *c);
} obv_cluster_ops;
struct obv_cluster {
    const obv_cluster_ops *ops;
};

/* Lists: v grows; free with free(list.v). */
/** Room for one more zeroed item of @p size bytes; NULL (and err) when out of memory or above 16 M items. */
void *obv_list_add(void *list, size_t size, obv_err *err);
void obv_servers_fini(obv_servers *l);
void obv_tenants_fini(obv_tenants *l);
void obv_tenant_periods_fini(obv_tenant_periods *l);
void obv_pgs_fini(obv_pgs *l);
void obv_contents_fini(obv_contents *l);
void obv_replicas_fini(obv_replicas *l);
/** Order by table id, then partition id. */
int obv_pgs_cmp(const void *a, const void *b);
/** Sorts and drops repeats. */
void obv_pgs_sort(obv_pgs *l);
bool obv_pgs_contain(const obv_pgs *sorted, const obv_pg_key *k);
void obv_contents_sort(obv_contents *l);
/** First of the owner's contents, n of them. */
const obv_content *obv_contents_of(const obv_contents *sorted, uint64_t owner, size_t *n);
/** First of the PG's replicas, n of them; NULL without any. */
const obv_replica *obv_replicas_of(const obv_replicas *sorted, const obv_pg_key *k, size_t *n);
void obv_replicas_sort(obv_replicas *l);
/** The key that SQL's table id and 64-bit partition id mean. OBV_E_CORRUPT: negative or impossible. */
OBV_CHECK obv_code obv_pg_key_of_sql(uint64_t table_id, int64_t partition_id, obv_pg_key *out, obv_err *err);
/** "3.1.5" to 64 bits; OBV_E_UNSUPPORTED unless it is a release that this program knows. */
OBV_CHECK obv_code obv_cluster_version(const char *text, uint64_t *out, obv_err *err);

/* The real one */
typedef struct obv_endpoint {
    char host[256];
    uint32_t port;
} obv_endpoint;
/** "host:port"; OBV_E_CONFIG. */
OBV_CHECK obv_code obv_endpoint_parse(const char *text, obv_endpoint *out, obv_err *err);
/** Endpoints are copied, strings too; connects at the first call. */
OBV_CHECK obv_code obv_sql_cluster_new(const obv_endpoint *endpoints, size_t n, const char *user,
                                       const char *password_file, obv_cluster **out, obv_err *err);

#endif
