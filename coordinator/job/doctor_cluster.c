/* doctor_cluster.c - doctor's questions to the source cluster and to the targets of restores */
#include "base/port.h"
#include "job/checks.h"
#include "job/doctor.h"

#include <stdio.h>
#include <string.h>

#define PORT_MS 1500u
#define PORTS_NS (6 * OBV_NS_PER_S) /* of one cluster in all */
#define CLOCK_WARN_US 500000LL
#define CLOCK_FAIL_US (2 * OBV_US_PER_S)
#define NO_BACKUP "no backup can start and no checkpoint is published; what is stored stays good"
#define NO_RESTORE "a restore to this cluster would be refused now; backups are not affected"
#define SOURCE "source"

/* ---- ports: so that nothing waits long for a cluster that is away */

static size_t try_ports(const char *check, const char *where, char *const *endpoints, size_t n, const char *all_away,
                        bool away_fails, obv_findings *out)
{
    static const char NEXT[] =
        "start the OBServer, open its SQL port for the coordinator's host, or correct the endpoint";
    const int64_t until = obv_mono_ns() + PORTS_NS;
    size_t good = 0;
    obv_findings bad = {0};
    for (size_t i = 0; i < n; i++) {
        obv_endpoint e;
        obv_err err = {0};
        obv_code code = obv_endpoint_parse(endpoints[i], &e, &err);
        if (code == OBV_OK && obv_mono_ns() > until)
            code = obv_fail(&err, OBV_E_TIMEOUT, 0, "%s was not tried: others took too long", endpoints[i]);
        if (code == OBV_OK)
            code = obv_port_try(e.host, e.port, PORT_MS, &err);
        if (code == OBV_OK) {
            good++;
            continue;
        }
        obv_found_warn(&bad, check, where, "none while another endpoint answers", NEXT, "%s", err.msg);
    }
    if (good == 0 && away_fails)
        obv_found_fail(out, OBV_E_PRECONDITION, check, where, all_away, NEXT, "none of %zu SQL ports answers: %s", n,
                       bad.n ? bad.v[0].found : "none is configured");
    else if (good == 0)
        obv_found_warn(out, check, where, all_away, NEXT, "none of %zu SQL ports answers: %s", n,
                       bad.n ? bad.v[0].found : "none is configured");
    else if (good == n)
        obv_found_ok(out, check, where, "%zu of %zu SQL ports answer", good, n);
    for (size_t i = 0; good && i < bad.n; i++)
        obv_findings_add(out, &bad.v[i]);
    obv_findings_fini(&bad);
    return good;
}

/* ---- what source and targets share */

static bool judge_rights(obv_cluster *c, obv_role role, const char *user, const char *check, const char *where,
                         const char *means, obv_findings *out)
{
    obv_rights r;
    obv_err err = {0};
    const obv_code code = c->ops->rights(c, role, &r, &err);
    if (code != OBV_OK) {
        obv_found_err(out, &err, check, where, means);
        return false;
    }
    if (r.missing[0])
        obv_found_fail(out, OBV_E_DENIED, check, where, means, r.statement, "account %s lacks %s", user, r.missing);
    if (r.unknown[0])
        obv_found_fail(out, OBV_E_UNSUPPORTED, check, where, means,
                       "only OceanBase 3.1 is supported: see docs/compatibility.md", "the cluster does not have %s",
                       r.unknown);
    if (r.too_wide[0])
        obv_found_warn(out, check, where, "none: but whoever takes the coordinator's host can do more than it needs",
                       role == OBV_ROLE_RESTORE ? "revoke it; SELECT on oceanbase.* and ALTER SYSTEM are enough"
                                                : "revoke it; SELECT on oceanbase.* is enough",
                       "account %s may more than it needs: %s", user, r.too_wide);
    if (!r.missing[0] && !r.unknown[0] && !r.too_wide[0])
        obv_found_ok(out, check, where, "account %s has what it needs%s", user,
                     r.shown ? " and no more" : "; its grants are not shown");
    return !r.missing[0];
}

static void judge_clock(obv_cluster *c, const obv_job_ctx *x, const char *check, const char *where, obv_findings *out)
{
    int64_t theirs = 0, trip = 0;
    obv_err err = {0};
    const int64_t before = obv_ctx_now(x);
    if (c->ops->now(c, &theirs, &trip, &err) != OBV_OK) {
        obv_found_err(out, &err, check, where, "");
        return;
    }
    const int64_t off = theirs - (before + trip / 2), size = (off < 0 ? -off : off) - trip / 2;
    static const char NEXT[] = "synchronise the coordinator's host and the servers (chrony or ntpd)";
    if (size > CLOCK_FAIL_US)
        obv_found_fail(out, OBV_E_PRECONDITION, check, where,
                       "times of sets and of the window would mislead: what is stored is right, what is shown is not",
                       NEXT, "the coordinator's clock differs from the server's by %.3f s", (double)off / 1e6);
    else if (size > CLOCK_WARN_US)
        obv_found_warn(out, check, where, "none yet", NEXT,
                       "the coordinator's clock differs from the server's by %.3f s", (double)off / 1e6);
    else
        obv_found_ok(out, check, where, "within %.3f s of the server's", (double)(size > 0 ? size : trip / 2) / 1e6);
}

/* ---- the source */

static void judge_identity(obv_job_ctx *x, const obv_identity *id, obv_findings *out)
{
    obv_repository r;
    (void)x;
    obv_found_ok(out, "source.version", SOURCE, "cluster %s (%llu), OceanBase %u.%u.%u, build %.80s; obvault %s",
                 id->name, (unsigned long long)id->id, (unsigned)(id->version >> 32),
                 (unsigned)(id->version >> 16 & 0xffff), (unsigned)(id->version & 0xffff), id->build, OBV_VERSION);
    if (obv_state_repository(x->s, &r, NULL) == OBV_OK &&
        (strcmp(r.cluster_name, id->name) != 0 || r.cluster_id != id->id))
        obv_found_fail(out, OBV_E_PRECONDITION, "source.cluster", SOURCE, NO_BACKUP,
                       "correct source.endpoints; each cluster has a coordinator and a repository of its own",
                       "the repository belongs to cluster %s (%llu)", r.cluster_name, (unsigned long long)r.cluster_id);
    if (id->standby)
        obv_found_fail(out, OBV_E_PRECONDITION, "source.role", SOURCE, NO_BACKUP, "back up the primary cluster",
                       "the cluster is a standby");
    else
        obv_found_ok(out, "source.role", SOURCE, "primary");
    if (id->upgrading)
        obv_found_fail(out, OBV_E_PRECONDITION, "source.upgrade", SOURCE, NO_BACKUP,
                       "end the upgrade: enable_upgrade_mode off, one version on all servers; then run doctor again",
                       "enable_upgrade_mode is on, or servers differ in version");
    else
        obv_found_ok(out, "source.upgrade", SOURCE, "no upgrade, one version on all servers");
}

static void judge_tenant(obv_cluster *c, const obv_tenant *t, int64_t data_version, obv_findings *out)
{
    bool gts = false;
    int64_t base = 0;
    obv_err err = {0};
    if (!t->normal) {
        obv_found_warn(out, "source.tenant", t->name, "this tenant is neither archived nor backed up",
                       "nothing if it is being made or dropped; otherwise bring it into TENANT_STATUS_NORMAL",
                       "tenant %s is not in its normal state, or in the recycle bin", t->name);
        return;
    }
    if (c->ops->uses_gts(c, t->id, &gts, &err) != OBV_OK)
        obv_found_err(out, &err, "source.gts", t->name, NO_BACKUP);
    else if (!gts)
        obv_found_fail(out, OBV_E_PRECONDITION, "source.gts", t->name, NO_BACKUP,
                       "SET GLOBAL ob_timestamp_service = 'GTS' in that tenant",
                       "tenant %s uses the local timestamp service: no time is consistent over its partitions",
                       t->name);
    else
        obv_found_ok(out, "source.gts", t->name, "global timestamp service");
    if (c->ops->base_version(c, t->id, &base, &err) == OBV_OK && base > data_version && data_version > 0)
        obv_found_warn(out, "source.base_version", t->name, "this tenant is left out of backups until then",
                       "let a major merge pass", "tenant %s was restored and needs the merge of version %lld", t->name,
                       (long long)base);
}

static void judge_tenants(obv_cluster *c, obv_doctor_facts *f, bool repository_only, obv_findings *out)
{
    obv_tenants all = {0};
    obv_merge merge = {0};
    obv_err err = {0};
    if (c->ops->tenants(c, &all, &err) != OBV_OK) {
        obv_found_err(out, &err, "source.tenants", SOURCE, NO_BACKUP);
    } else {
        size_t normal = 0;
        const int64_t version = c->ops->merge(c, &merge, NULL) == OBV_OK ? merge.data_version : 0;
        for (size_t i = 0; i < all.n && !repository_only; i++)
            judge_tenant(c, &all.v[i], version, out);
        f->data_known = true;
        for (size_t i = 0; i < all.n; i++) {
            uint64_t bytes = 0;
            normal += all.v[i].normal;
            f->data_known = f->data_known && c->ops->data_bytes(c, all.v[i].id, &bytes, &err) == OBV_OK;
            f->data_bytes += bytes;
        }
        uint64_t sys = 0;
        if (f->data_known && c->ops->data_bytes(c, 1, &sys, &err) == OBV_OK)
            f->data_bytes += sys;
        if (normal == 0 && !repository_only)
            obv_found_fail(out, OBV_E_PRECONDITION, "source.tenants", SOURCE, "there is nothing to back up",
                           "create a tenant", "the cluster has no user tenant in its normal state");
    }
    obv_tenants_fini(&all);
}

/* What a start would refuse and nothing above has said. */
static void judge_rest(obv_job_ctx *x, obv_cluster *c, obv_findings *out)
{
    obv_identity id;
    obv_tenants t = {0};
    obv_err err = {0};
    if (obv_findings_count(out, OBV_LEVEL_FAIL) > 0)
        return;
    obv_code code = obv_check_source(x, c, &id, &err);
    if (code == OBV_OK)
        code = obv_check_tenants(c, &t, &err);
    obv_tenants_fini(&t);
    if (code != OBV_OK && code != OBV_E_NOT_INITIALISED)
        obv_found_err(out, &err, "source.preconditions", SOURCE, NO_BACKUP);
}

static void judge_archiving(const obv_job_ctx *x, obv_cluster *c, obv_findings *out)
{
    obv_own_archive own;
    obv_err err = {0};
    if (c->ops->own_archive(c, &own, &err) != OBV_OK)
        obv_found_err(out, &err, "source.archive", SOURCE, NO_BACKUP);
    else if (obv_own_archive_is_at(&own, x->cfg->uri))
        obv_found_fail(out, OBV_E_PRECONDITION, "source.archive", SOURCE, NO_BACKUP,
                       "ALTER SYSTEM NOARCHIVELOG in the sys tenant, then obvault archive start",
                       "OceanBase's own log archiving runs, to this destination");
    else if (own.running)
        obv_found_warn(out, "source.archive", SOURCE, "the cluster's log is read and stored twice",
                       "ALTER SYSTEM NOARCHIVELOG in the sys tenant, unless you want both",
                       "OceanBase's own log archiving runs, to %.200s", own.dest);
    else
        obv_found_ok(out, "source.archive", SOURCE, "OceanBase's own log archiving is off");
}

static void judge_servers(obv_cluster *c, obv_doctor_facts *f, obv_findings *out)
{
    obv_err err = {0};
    if (c->ops->servers(c, &f->servers, &err) != OBV_OK) {
        obv_found_err(out, &err, "source.servers", SOURCE, NO_BACKUP);
        return;
    }
    f->servers_known = true;
    size_t active = 0;
    for (size_t i = 0; i < f->servers.n; i++) {
        const obv_server *s = &f->servers.v[i];
        active += s->active;
        if (!s->active)
            obv_found_warn(out, "source.servers", SOURCE, "PGs are copied from other replicas; log is led elsewhere",
                           "start it, or delete it from the cluster", "server %s:%u is not active", s->ip, s->rpc_port);
    }
    if (active == f->servers.n)
        obv_found_ok(out, "source.servers", SOURCE, "%zu servers, all active", active);
}

void obv_doctor_source(obv_job_ctx *x, const obv_doctor_site *site, bool repository_only, obv_doctor_facts *f,
                       obv_findings *out)
{
    obv_cluster *c = NULL;
    obv_err err = {0};
    if (!try_ports("source.port", SOURCE, site->endpoints, site->endpoint_count, NO_BACKUP, true, out))
        return;
    if (x->clusters.source(x->clusters.ctx, &c, &err) != OBV_OK) {
        obv_found_err(out, &err, "source.sql", SOURCE, NO_BACKUP);
        return;
    }
    if (!judge_rights(c, OBV_ROLE_COORDINATOR, site->source_user, "source.rights", SOURCE, NO_BACKUP, out))
        return;
    f->source = c;
    if (obv_check_identity(x, c, &f->id, &err) != OBV_OK) {
        obv_found_fail(out, err.code == OBV_E_CONFIG ? OBV_E_PRECONDITION : err.code, "source.version", SOURCE,
                       NO_BACKUP, err.hint[0] ? err.hint : obv_code_describe(err.code)->default_hint, "%s", err.msg);
        f->source = NULL;
        return;
    }
    if (!repository_only) {
        judge_identity(x, &f->id, out);
        judge_archiving(x, c, out);
        judge_clock(c, x, "source.clock", "coordinator", out);
    }
    judge_servers(c, f, out);
    judge_tenants(c, f, repository_only, out);
    if (!repository_only)
        judge_rest(x, c, out);
}

/* ---- targets */

static void judge_target(obv_job_ctx *x, const obv_doctor_target *t, const obv_doctor_facts *f, obv_findings *out)
{
    char where[136];
    obv_cluster *c = NULL;
    obv_identity id;
    obv_target state;
    obv_err err = {0};
    (void)snprintf(where, sizeof where, "target %.120s", t->name);
    if (!try_ports("target.port", where, t->endpoints, t->endpoint_count, NO_RESTORE, false, out))
        return;
    if (x->clusters.target(x->clusters.ctx, t->name, &c, &err) != OBV_OK) {
        obv_found_err(out, &err, "target.sql", where, NO_RESTORE);
        return;
    }
    if (!judge_rights(c, OBV_ROLE_RESTORE, t->user, "target.rights", where, NO_RESTORE, out))
        return;
    if (c->ops->identity(c, &id, &err) != OBV_OK || c->ops->target(c, &state, &err) != OBV_OK) {
        obv_found_err(out, &err, "target.version", where, NO_RESTORE);
        return;
    }
    if (f->source && id.version < f->id.version)
        obv_found_fail(out, OBV_E_PRECONDITION, "target.version", where, NO_RESTORE,
                       "upgrade it to the source's version or newer", "cluster %s is older than the source", id.name);
    else
        obv_found_ok(out, "target.version", where, "cluster %s (%llu), build %.80s", id.name, (unsigned long long)id.id,
                     id.build);
    if (id.standby || id.upgrading)
        obv_found_fail(out, OBV_E_PRECONDITION, "target.state", where, NO_RESTORE,
                       "restore to a primary that is not being upgraded", "cluster %s %s", id.name,
                       id.standby ? "is a standby" : "is being upgraded");
    if (state.restore_concurrency <= 0)
        obv_found_fail(out, OBV_E_PRECONDITION, "target.restore_concurrency", where, NO_RESTORE,
                       "ALTER SYSTEM SET restore_concurrency = 50", "restore_concurrency is 0");
    else
        obv_found_ok(out, "target.restore_concurrency", where, "%lld", (long long)state.restore_concurrency);
    judge_clock(c, x, "target.clock", where, out);
}

void obv_doctor_targets(obv_job_ctx *x, const obv_doctor_site *site, const obv_doctor_facts *f, obv_findings *out)
{
    for (size_t i = 0; i < site->target_count; i++)
        judge_target(x, &site->targets[i], f, out);
}
