/* check_host.c - the account, the OBServer, its files, clocks and this process itself */
#include "base/clock.h"
#include "base/port.h"
#include "base/rights.h"
#include "check.h"
#include "proto/tls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PORT_MS 3000u
#define CLOCK_WARN_US (100 * 1000LL) /* what OceanBase itself demands of its servers */
#define CLOCK_FAIL_US (2 * OBV_US_PER_S)
#define STATE_FREE_WARN (1ull << 30)
#define NO_LOG "the log of PGs that are led here is not archived: no time after now can be restored"

static void begin(obv_check_run *r, const char *check)
{
    if (r->step)
        r->step(r, check);
}

static bool over(obv_check_run *r) { return obv_cancel_requested(r->cancel); }

/* ---- SQL */

typedef struct parameters {
    char cluster[129], version[64];
    uint64_t cluster_id;
} parameters;

static obv_code take_parameter(void *ctx, const obv_mysql_row *row, obv_err *err)
{
    parameters *p = ctx;
    const char *name = row->text[0] ? row->text[0] : "";
    if (strcmp(name, "cluster") == 0)
        return obv_mysql_text(row, 1, p->cluster, sizeof p->cluster, err);
    if (strcmp(name, "cluster_id") == 0)
        return obv_mysql_u64(row, 1, &p->cluster_id, err);
    if (strcmp(name, "min_observer_version") == 0)
        return obv_mysql_text(row, 1, p->version, sizeof p->version, err);
    return OBV_OK;
}

static void judge_rights(obv_check_run *r, const obv_rights *g)
{
    static const char CHECK[] = "observer.rights";
    const char *user = r->cfg->observer.user;
    if (g->missing[0])
        obv_found_fail(&r->found, OBV_E_DENIED, CHECK, r->where, NO_LOG, g->statement, "account %s lacks %s", user,
                       g->missing);
    if (g->unknown[0])
        obv_found_fail(&r->found, OBV_E_UNSUPPORTED, CHECK, r->where, NO_LOG,
                       "only OceanBase 3.1 is supported: see docs/compatibility.md", "this server does not have %s",
                       g->unknown);
    if (g->too_wide[0])
        obv_found_warn(&r->found, CHECK, r->where, "none: but whoever takes this host can do more than read",
                       "revoke it; SELECT on oceanbase.* is enough for an agent",
                       "account %s may more than it needs: %s", user, g->too_wide);
    if (!g->missing[0] && !g->unknown[0] && !g->too_wide[0])
        obv_found_ok(&r->found, CHECK, r->where, "account %s reads what an agent needs%s", user,
                     g->shown ? " and no more" : "; its grants are not shown");
}

static void judge_version(obv_check_run *r, const parameters *p)
{
    const struct obv_agent_cluster *c = &r->cfg->cluster;
    if (strncmp(p->version, "3.1.", 4) != 0)
        obv_found_fail(&r->found, OBV_E_UNSUPPORTED, "observer.version", r->where, NO_LOG,
                       "only OceanBase 3.1 is supported: see docs/compatibility.md", "the OBServer's version is %.40s",
                       p->version[0] ? p->version : "not to be seen");
    else
        obv_found_ok(&r->found, "observer.version", r->where, "OceanBase %.40s, obvault-agent %s", p->version,
                     OBV_VERSION);
    if (strcmp(p->cluster, c->name) != 0 || p->cluster_id != c->id)
        obv_found_fail(&r->found, OBV_E_PRECONDITION, "observer.cluster", r->where, NO_LOG,
                       "correct cluster.name and cluster.id, or observer.ip and the ports, in agent.yaml",
                       "the OBServer belongs to cluster %s (%" PRIu64 "), the configuration says %s (%" PRIu64 ")",
                       p->cluster, p->cluster_id, c->name, c->id);
}

static void check_clock(obv_check_run *r, obv_mysql *m)
{
    int64_t theirs = 0;
    obv_err err = {0};
    const int64_t before = obv_now_us(), mono = obv_mono_ns();
    if (obv_mysql_now(m, &theirs, &err) != OBV_OK) {
        obv_found_err(&r->found, &err, "observer.clock", r->where, "");
        return;
    }
    const int64_t trip_us = (obv_mono_ns() - mono) / 1000;
    const int64_t off = theirs - (before + trip_us / 2), size = off < 0 ? -off : off;
    if (size - trip_us / 2 > CLOCK_FAIL_US)
        obv_found_fail(&r->found, OBV_E_PRECONDITION, "observer.clock", r->where,
                       "times of sets and of the window would mislead: what is stored is right, what is shown is not",
                       "synchronise this host (chrony or ntpd), then run doctor again",
                       "this host's clock differs from the OBServer's by %.3f s", (double)off / 1e6);
    else if (size - trip_us / 2 > CLOCK_WARN_US)
        obv_found_warn(&r->found, "observer.clock", r->where, "none yet: OceanBase itself demands less than 0.1 s",
                       "synchronise this host (chrony or ntpd)",
                       "this host's clock differs from the OBServer's by %.3f s", (double)off / 1e6);
    else
        obv_found_ok(&r->found, "observer.clock", r->where, "within %.3f s of the OBServer's",
                     (double)(size > trip_us / 2 ? size : trip_us / 2) / 1e6);
}

static obv_code look_at_sql(obv_check_run *r, obv_mysql *m, obv_err *err)
{
    const struct obv_agent_observer *o = &r->cfg->observer;
    obv_rights rights;
    parameters p = {0};
    char sql[320];
    begin(r, "observer.rights");
    OBV_TRY(obv_rights_look(m, OBV_ROLE_AGENT, o->user, o->ip, o->rpc_port, &rights, err));
    judge_rights(r, &rights);
    if (rights.missing[0])
        return OBV_OK; /* nothing more can be read */
    begin(r, "observer.version");
    (void)snprintf(
        sql, sizeof sql,
        "SELECT name, value FROM oceanbase.__all_virtual_sys_parameter_stat WHERE svr_ip = '%s' AND svr_port = %u"
        " AND name IN ('cluster', 'cluster_id', 'min_observer_version')",
        o->ip, o->rpc_port);
    OBV_TRY(obv_mysql_query(m, sql, 2, 64, take_parameter, &p, err));
    if (!p.cluster[0]) {
        obv_found_fail(&r->found, OBV_E_PRECONDITION, "observer.cluster", r->where, NO_LOG,
                       "observer.ip and observer.rpc_port must be the server's svr_ip and svr_port of __all_server",
                       "the server on SQL port %u does not know itself as %s:%u", o->sql_port, o->ip, o->rpc_port);
        return OBV_OK;
    }
    judge_version(r, &p);
    begin(r, "observer.clock");
    check_clock(r, m);
    return OBV_OK;
}

static void check_sql(obv_check_run *r)
{
    const struct obv_agent_observer *o = &r->cfg->observer;
    const obv_mysql_config mc = {.host = o->ip,
                                 .port = o->sql_port,
                                 .user = o->user,
                                 .password_file = o->password_file,
                                 .connect_timeout_ms = PORT_MS,
                                 .query_timeout_ms = PORT_MS};
    OBV_AUTO(obv_mysql_drop) obv_mysql *m = NULL;
    obv_err err = {0};
    begin(r, "observer.sql");
    obv_code code = obv_mysql_open(&mc, &m, &err);
    if (code == OBV_OK) {
        obv_found_ok(&r->found, "observer.sql", r->where, "SQL port %u lets %s in", o->sql_port, o->user);
        code = look_at_sql(r, m, &err);
    }
    if (code != OBV_OK)
        obv_found_err(&r->found, &err, "observer.sql", r->where, NO_LOG);
}

static void check_rpc(obv_check_run *r)
{
    const struct obv_agent_observer *o = &r->cfg->observer;
    obv_err err = {0};
    begin(r, "observer.rpc");
    if (obv_port_try(o->ip, o->rpc_port, PORT_MS, &err) != OBV_OK)
        obv_found_err(&r->found, &err, "observer.rpc", r->where,
                      "no PG can be copied from this server; another replica is taken where there is one");
    else
        obv_found_ok(&r->found, "observer.rpc", r->where, "RPC port %u answers", o->rpc_port);
}

/* ---- files of the OBServer */

static bool is_number(const char *s) { return *s && strspn(s, "0123456789") == strlen(s); }

/* Opens the folder and reads of its newest file, as archiving does. */
static obv_code read_newest(const char *dir, uint64_t *newest, obv_err *err)
{
    char path[4096], block[512];
    DIR *d = opendir(dir);
    if (!d)
        return obv_fail(err, obv_code_from_errno(errno), errno, "open %s: %s", dir, strerrordesc_np(errno));
    const struct dirent *e;
    *newest = 0;
    while ((e = readdir(d)) != NULL)
        if (is_number(e->d_name) && strtoull(e->d_name, NULL, 10) > *newest)
            *newest = strtoull(e->d_name, NULL, 10);
    (void)closedir(d);
    if (*newest == 0)
        return obv_fail(err, OBV_E_NOT_FOUND, 0, "%s holds no log file", dir);
    (void)snprintf(path, sizeof path, "%s/%" PRIu64, dir, *newest);
    OBV_AUTO(obv_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, block, sizeof block, 0) < 0)
        return obv_fail(err, obv_code_from_errno(errno), errno, "read %s: %s", path, strerrordesc_np(errno));
    return OBV_OK;
}

static void check_log_files(obv_check_run *r)
{
    static const char *const DIRS[] = {"clog", "ilog"};
    static const char NEXT[] =
        "let the agent's user read store/clog and store/ilog (its group, as in docs/operations.md), "
        "and check observer.store_dir";
    bool writable = false;
    char dir[2048];
    for (size_t i = 0; i < 2; i++) {
        char check[40];
        obv_err err = {0};
        uint64_t newest = 0;
        (void)snprintf(check, sizeof check, "observer.%s", DIRS[i]);
        (void)snprintf(dir, sizeof dir, "%s/%s", r->cfg->observer.store_dir, DIRS[i]);
        begin(r, check);
        if (read_newest(dir, &newest, &err) != OBV_OK)
            obv_found_fail(&r->found, err.code == OBV_E_DENIED ? OBV_E_DENIED : OBV_E_PRECONDITION, check, r->where,
                           NO_LOG, NEXT, "%s", err.msg);
        else
            obv_found_ok(&r->found, check, r->where, "%s is readable, newest file %" PRIu64, dir, newest);
        writable = writable || access(dir, W_OK) == 0;
    }
    if (writable)
        obv_found_warn(&r->found, "observer.files", r->where,
                       "none: obvault only reads there, but a fault of this host's user could damage the OBServer",
                       "give the agent's user read access only", "the agent's user can write below %s",
                       r->cfg->observer.store_dir);
}

/* ---- this process */

static void check_process(obv_check_run *r)
{
    struct statvfs fs;
    int64_t until = 0;
    obv_err err = {0};
    begin(r, "agent.process");
    if (geteuid() == 0)
        obv_found_warn(&r->found, "agent.process", r->where, "none: but a fault would have every right on this host",
                       "run it as its own user (deploy/systemd)", "obvault-agent runs as root");
    else
        obv_found_ok(&r->found, "agent.process", r->where, "runs as user %u", geteuid());
    if (statvfs(r->cfg->state_dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < STATE_FREE_WARN)
        obv_found_warn(&r->found, "agent.state", r->where,
                       "none yet: with a full disk nothing more can be journalled and copies fail",
                       "make room on that file system", "%s has %" PRIu64 " MiB left", r->cfg->state_dir,
                       ((uint64_t)fs.f_bavail * fs.f_frsize) >> 20);
    begin(r, "agent.certificate");
    if (obv_pem_expiry(r->cfg->tls.cert, &until, &err) != OBV_OK)
        obv_found_err(&r->found, &err, "agent.certificate", r->where, "the agent cannot call again after a restart");
    else
        obv_pem_judge(&r->found, "agent.certificate", r->where, until, obv_now_us());
}

void obv_check_host(obv_check_run *r)
{
    void (*const CHECKS[])(obv_check_run *) = {check_process, check_sql, check_rpc, check_log_files};
    for (size_t i = 0; i < sizeof CHECKS / sizeof *CHECKS && !over(r); i++)
        CHECKS[i](r);
}
