#include "base/log.h"
#include "job/restore_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static obv_code check_name(const char *what, const char *name, obv_err *err)
{
    const size_t n = strlen(name);
    static const char GOOD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    if (n == 0 || n > 63 || strspn(name, GOOD) != n)
        return obv_fail(err, OBV_E_INVAL, 0, "%s %.80s: 1 to 63 letters, digits and underscores", what, name);
    return OBV_OK;
}

/* Options are joined by & and stand in quotes: nothing may end one early. */
static obv_code check_option(const char *what, const char *text, size_t cap, obv_err *err)
{
    if (strlen(text) >= cap || strpbrk(text, "&='\"\\;\n\r"))
        return obv_fail(err, OBV_E_INVAL, 0, "%s is too long or holds one of & = ' \" \\ ;", what);
    return OBV_OK;
}

obv_code obv_restore_check_request(const obv_restore_request *q, const obv_restore *room, obv_err *err)
{
    OBV_TRY(check_name("tenant", q->tenant, err));
    OBV_TRY(check_name("new tenant", q->new_tenant, err));
    OBV_TRY(check_option("pools", q->pools, sizeof room->pools, err));
    OBV_TRY(check_option("locality", q->locality, sizeof room->locality, err));
    return check_option("primary_zone", q->primary_zone, sizeof room->primary_zone, err);
}

static obv_code check_pools(obv_cluster *target, const char *pools, obv_err *err)
{
    char list[1025];
    (void)snprintf(list, sizeof list, "%s", pools);
    char *save = NULL;
    size_t n = 0;
    for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save), n++) {
        bool exists = false, is_free = false;
        OBV_TRY(check_name("resource pool", p, err));
        OBV_TRY(target->ops->pool_free(target, p, &exists, &is_free, err));
        if (!exists)
            return obv_fail(err, OBV_E_PRECONDITION, 0, "the target has no resource pool %s", p);
        if (!is_free)
            return obv_fail(err, OBV_E_PRECONDITION, 0, "resource pool %s belongs to another tenant", p);
    }
    return n ? OBV_OK : obv_fail(err, OBV_E_INVAL, 0, "a restore needs at least one resource pool");
}

obv_code obv_restore_wait_us(obv_cluster *target, int64_t until_us, int64_t *out, obv_err *err)
{
    int64_t now = 0, trip = 0;
    OBV_TRY(target->ops->now(target, &now, &trip, err));
    *out = until_us + OBV_RESTORE_TOO_NEW_US + OBV_RESTORE_MARGIN_US - now;
    return OBV_OK;
}

/* One that needs longer than the job would wait has a wrong clock: the time itself was archived already. */
static obv_code check_clock(obv_cluster *target, int64_t until_us, obv_err *err)
{
    int64_t wait = 0;
    OBV_TRY(obv_restore_wait_us(target, until_us, &wait, err));
    if (wait <= OBV_RESTORE_WAIT_MAX_US)
        return OBV_OK;
    (void)obv_fail(err, OBV_E_PRECONDITION, 0, "the target's clock reaches the wanted time only in %lld s",
                   (long long)(wait / OBV_US_PER_S));
    return obv_hint(err, "set the clocks of the target's servers (NTP); nothing was started");
}

/*
 * OBServers read the destination themselves. Whether one sees it is known where an agent of ours runs beside it; of
 * the others only the restore will tell.
 */
static obv_code check_sight(obv_job_ctx *x, obv_cluster *target, const char *name, size_t *unseen, obv_err *err)
{
    OBV_AUTO(obv_servers_fini) obv_servers servers = {0};
    OBV_AUTO(obv_freep) obv_live_agent *agents = calloc(OBV_AGENTS_MAX, sizeof *agents);
    if (!agents)
        return obv_fail(err, OBV_E_NOMEM, 0, "agents");
    OBV_TRY(target->ops->servers(target, &servers, err));
    const size_t n = obv_registry_agents(x->reg, agents, OBV_AGENTS_MAX);
    *unseen = 0;
    for (size_t i = 0; i < servers.n; i++) {
        const obv_server *s = &servers.v[i];
        const obv_live_agent *a = NULL;
        for (size_t k = 0; k < n && !a; k++)
            if (agents[k].alive && agents[k].hello.rpc_port == s->rpc_port && strcmp(agents[k].hello.ip, s->ip) == 0)
                a = &agents[k];
        *unseen += s->active && !a;
        if (!s->active || !a || a->known)
            continue;
        (void)obv_fail(err, OBV_E_PRECONDITION, 0, "server %s:%u of target %s does not see the destination: %.200s",
                       s->ip, s->rpc_port, name, a->hello.repository_error.msg);
        return obv_hint(err,
                        "mount it there at the same path as on the source's hosts, readable for the OBServer's user");
    }
    return OBV_OK;
}

obv_code obv_restore_check_target(obv_job_ctx *x, obv_cluster *target, const obv_restore_request *q, uint64_t version,
                                  size_t *unseen, obv_err *err)
{
    obv_identity id;
    obv_target t;
    bool exists = false;
    OBV_TRY(target->ops->identity(target, &id, err));
    if (id.standby || id.upgrading)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "target %s is %s", id.name,
                        id.standby ? "a standby" : "being upgraded");
    if (version > id.version)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "the set was made by a newer OceanBase than target %s runs",
                        id.name);
    OBV_TRY(target->ops->target(target, &t, err));
    if (t.restore_concurrency <= 0) {
        (void)obv_fail(err, OBV_E_PRECONDITION, 0, "target %s takes no restores: restore_concurrency is 0", id.name);
        return obv_hint(err, "on the target: ALTER SYSTEM SET restore_concurrency = 10");
    }
    OBV_TRY(check_clock(target, q->until_us, err));
    OBV_TRY(target->ops->tenant_exists(target, q->new_tenant, &exists, err));
    if (exists)
        return obv_fail(err, OBV_E_PRECONDITION, 0, "target %s has a tenant %s already", id.name, q->new_tenant);
    OBV_TRY(check_pools(target, q->pools, err));
    return check_sight(x, target, id.name, unseen, err);
}
