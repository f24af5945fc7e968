#include "job/doctor.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define HERE "coordinator"
#define CLOCK_WARN_US 500000LL
#define CLOCK_FAIL_US (2 * OBV_US_PER_S)
#define STATE_FREE_WARN (1ull << 30)
#define NO_LOG "log of PGs that are led there is not archived: the window stops growing"

/* ---- this host */

static void judge_state(const obv_doctor_site *site, obv_findings *out)
{
    /* SQLite's WAL needs memory that processes of one host share */
    static const long NETWORK[] = {0x6969, 0xff534d42, 0xfe534d42, 0x0bd00bd0};
    struct statfs fs;
    if (statfs(site->state_dir, &fs) != 0) {
        obv_found_fail(out, OBV_E_PRECONDITION, "coordinator.state", HERE, "nothing can be decided or noted",
                       "check state_dir", "%s cannot be looked at", site->state_dir);
        return;
    }
    for (size_t i = 0; i < sizeof NETWORK / sizeof *NETWORK; i++)
        if ((uint32_t)fs.f_type == (uint32_t)NETWORK[i]) {
            obv_found_fail(out, OBV_E_PRECONDITION, "coordinator.state", HERE,
                           "the state database may be damaged; sets stay restorable by their own files",
                           "move state_dir to a local disk", "%s lies on a network file system", site->state_dir);
            return;
        }
    const uint64_t left = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    if (left < STATE_FREE_WARN)
        obv_found_warn(out, "coordinator.state", HERE, "none yet: with a full disk every job stops",
                       "make room on that file system", "%s has %llu MiB left", site->state_dir,
                       (unsigned long long)(left >> 20));
    else
        obv_found_ok(out, "coordinator.state", HERE, "%s is on a local disk with %llu MiB left", site->state_dir,
                     (unsigned long long)(left >> 20));
}

/* Is one of the cluster's addresses one of this host's? */
static void judge_place(const obv_doctor_facts *f, obv_findings *out)
{
    struct ifaddrs *list = NULL;
    const obv_server *same = NULL;
    if (!f->servers_known || getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *a = list; a && !same; a = a->ifa_next) {
        char ip[INET_ADDRSTRLEN] = "";
        if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
            continue;
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr, ip, sizeof ip);
        for (size_t i = 0; i < f->servers.n; i++)
            if (strcmp(f->servers.v[i].ip, ip) == 0)
                same = &f->servers.v[i];
    }
    freeifaddrs(list);
    if (same)
        obv_found_warn(out, "coordinator.place", HERE,
                       "losing that host loses an OBServer and the state of backups at once; sets stay restorable",
                       "move the coordinator to a host outside of the cluster", "it runs on the host of OBServer %s",
                       same->ip);
    else
        obv_found_ok(out, "coordinator.place", HERE, "not on a host of the cluster");
}

static void judge_process(obv_findings *out)
{
    if (geteuid() == 0)
        obv_found_warn(out, "coordinator.process", HERE, "none: but a fault would have every right on this host",
                       "run it as its own user (deploy/systemd)", "obvault-coordinator runs as root");
    else
        obv_found_ok(out, "coordinator.process", HERE, "runs as user %u", geteuid());
}

/* ---- agents */

static const char *server_id(const obv_server *s, char out[OBV_AGENT_ID_MAX])
{
    (void)snprintf(out, OBV_AGENT_ID_MAX, "%s:%u", s->ip, s->rpc_port);
    return out;
}

static const obv_live_agent *agent_of(const obv_live_agent *agents, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(agents[i].hello.agent_id, id) == 0)
            return &agents[i];
    return NULL;
}

/* Every active server needs a living agent; without a catalogue, every agent that was ever heard of is expected. */
static void judge_agents(const obv_live_agent *agents, size_t n, const obv_doctor_facts *f, obv_findings *out)
{
    static const char NEXT[] = "start obvault-agent on that host and look at its log (journalctl -u obvault-agent)";
    char id[OBV_AGENT_ID_MAX];
    size_t up = 0;
    for (size_t i = 0; i < f->servers.n; i++) {
        const obv_live_agent *a = agent_of(agents, n, server_id(&f->servers.v[i], id));
        if (f->servers.v[i].active && (!a || !a->alive))
            obv_found_fail(out, OBV_E_PRECONDITION, "agent.up", id, NO_LOG, NEXT, "%s",
                           a ? "the agent does not call any more" : "no agent has called for this OBServer");
    }
    for (size_t i = 0; i < n; i++) {
        const obv_hello *h = &agents[i].hello;
        bool of_cluster = !f->servers_known;
        for (size_t k = 0; k < f->servers.n; k++)
            of_cluster = of_cluster || strcmp(h->agent_id, server_id(&f->servers.v[k], id)) == 0;
        up += agents[i].alive;
        if (!agents[i].alive && !f->servers_known)
            obv_found_fail(out, OBV_E_PRECONDITION, "agent.up", h->agent_id, NO_LOG, NEXT,
                           "the agent does not call any more");
        if (agents[i].alive && !of_cluster)
            obv_found_warn(out, "agent.up", h->agent_id, "none: it is given nothing",
                           "observer.ip and rpc_port must be the server's in __all_server",
                           "an agent calls for a server that is not of the cluster");
        if (agents[i].alive && strcmp(h->version, OBV_VERSION) != 0)
            obv_found_warn(out, "agent.version", h->agent_id, "none as long as both speak the same protocol",
                           "install the same version everywhere", "it runs obvault %s, the coordinator %s", h->version,
                           OBV_VERSION);
    }
    if (up)
        obv_found_ok(out, "agent.up", HERE, "%zu agents call", up);
    else if (!f->servers_known && n == 0)
        obv_found_fail(out, OBV_E_PRECONDITION, "agent.up", HERE, "nothing can be archived or backed up", NEXT,
                       "no agent has called");
}

static void judge_answer(const obv_board_answer *a, uint32_t deadline_ms, obv_findings *out)
{
    if (!a->answered)
        obv_found_fail(out, OBV_E_PRECONDITION, "agent.up", a->agent_id, NO_LOG,
                       "look whether it runs and what its log says (journalctl -u obvault-agent)",
                       "the agent does not answer within %u ms", deadline_ms);
    else if (!a->done)
        obv_found_fail(out, OBV_E_IO, "agent.answer", a->agent_id,
                       "what it was looking at may hang for backups too: a dead mount or OBServer",
                       "look at that host: the mount of the destination, the OBServer, the agent's log",
                       "no answer within %u ms%s%s", deadline_ms, a->doing[0] ? ", at work at " : "", a->doing);
    for (size_t i = 0; i < a->found.n; i++)
        obv_findings_add(out, &a->found.v[i]);
    const int64_t off = a->clock_off_us, size = off < 0 ? -off : off;
    static const char NEXT[] = "synchronise both hosts (chrony or ntpd)";
    if (!a->clock_known)
        return;
    if (size > CLOCK_FAIL_US)
        obv_found_fail(out, OBV_E_PRECONDITION, "agent.clock", a->agent_id,
                       "times of sets and of the window would mislead: what is stored is right, what is shown is not",
                       NEXT, "its clock differs from the coordinator's by %.3f s", (double)off / 1e6);
    else if (size > CLOCK_WARN_US)
        obv_found_warn(out, "agent.clock", a->agent_id, "none yet", NEXT,
                       "its clock differs from the coordinator's by %.3f s", (double)off / 1e6);
    else
        obv_found_ok(out, "agent.clock", a->agent_id, "within %.3f s of the coordinator's", (double)size / 1e6);
}

/* ---- the repository as all hosts see it */

static void judge_same(obv_job_ctx *x, const obv_board_answer *a, size_t n, obv_findings *out)
{
    obv_repository r;
    obv_err err = {0};
    const obv_code code = obv_state_repository(x->s, &r, &err);
    size_t same = 0, read = 0;
    if (code != OBV_OK || !r.ready) {
        obv_found_warn(out, "repository.known", HERE, "nothing is backed up yet", "obvault repo init, once",
                       "the coordinator has no repository yet");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        read += a[i].uuid[0] != 0;
        same += strcmp(a[i].uuid, r.uuid) == 0;
        if (a[i].uuid[0] && strcmp(a[i].uuid, r.uuid) != 0)
            obv_found_fail(out, OBV_E_STALE, "repository.same", a[i].agent_id,
                           "this agent gets no work: its part of the log and of backups is missing",
                           "mount the same destination on all hosts", "it sees repository %s, the coordinator's is %s",
                           a[i].uuid, r.uuid);
    }
    if (same == n && n > 0)
        obv_found_ok(out, "repository.same", HERE, "all %zu agents see repository %s", n, r.uuid);
    else if (read == 0)
        obv_found_fail(out, OBV_E_IO, "repository.same", HERE, "nothing can be stored; what is stored stays good",
                       "mount the destination on the agents' hosts", "no agent can read repository %s", r.uuid);
}

static void judge_space(const obv_board_answer *a, size_t n, const obv_doctor_facts *f, obv_findings *out)
{
    uint64_t least = UINT64_MAX;
    const char *who = "";
    for (size_t i = 0; i < n; i++)
        if (a[i].free_known && a[i].free_bytes < least) {
            least = a[i].free_bytes;
            who = a[i].agent_id;
        }
    if (!who[0])
        return; /* said by the checks that failed, or the storage does not tell */
    const unsigned long long mib = least >> 20, need = f->data_bytes >> 20;
    static const char NEXT[] = "make the destination larger before the next backup";
    if (!f->data_known)
        obv_found_warn(out, "repository.space", HERE, "none: but it is not known whether a backup fits",
                       "see the findings about the source", "%llu MiB are free (%s); the data's size is not known", mib,
                       who);
    else if (least < f->data_bytes)
        obv_found_fail(out, OBV_E_NO_SPACE, "repository.space", who,
                       "the next full backup does not fit: it would fail, and the archive stop with it", NEXT,
                       "%llu MiB are free, the data takes about %llu MiB", mib, need);
    else if (least / 2 < f->data_bytes)
        obv_found_warn(out, "repository.space", who, "one backup fits, log archiving needs room besides", NEXT,
                       "%llu MiB are free, the data takes about %llu MiB", mib, need);
    else
        obv_found_ok(out, "repository.space", who, "%llu MiB are free, the data takes about %llu MiB", mib, need);
}

/* ---- all together */

static obv_code ask(obv_job_ctx *x, const obv_live_agent *agents, size_t n, bool repository_only, uint32_t deadline_ms,
                    obv_err *err)
{
    OBV_AUTO(obv_freep) obv_board_answer *who = calloc(n + 1, sizeof *who);
    size_t k = 0;
    if (!who)
        return obv_fail(err, OBV_E_NOMEM, 0, "doctor");
    for (size_t i = 0; i < n; i++)
        if (agents[i].alive)
            (void)snprintf(who[k++].agent_id, sizeof who->agent_id, "%s", agents[i].hello.agent_id);
    return obv_board_ask(x->board, who, k, repository_only, deadline_ms, err);
}

/* A coordinator that has just started has not heard of all agents yet. */
static bool too_early(obv_job_ctx *x, const obv_live_agent *agents, size_t n, const obv_doctor_facts *f)
{
    char id[OBV_AGENT_ID_MAX];
    bool all = n > 0;
    for (size_t i = 0; i < f->servers.n; i++)
        all = all && (!f->servers.v[i].active || agent_of(agents, n, server_id(&f->servers.v[i], id)));
    return !all && !obv_registry_settled(x->reg);
}

static void judge_all(obv_job_ctx *x, const obv_doctor_site *site, bool repository_only, const obv_doctor_facts *f,
                      const obv_board_answer *a, size_t n, uint32_t deadline_ms, obv_findings *out)
{
    if (!repository_only) {
        judge_state(site, out);
        judge_place(f, out);
        judge_process(out);
    }
    for (size_t i = 0; i < n; i++)
        judge_answer(&a[i], deadline_ms, out);
    judge_same(x, a, n, out);
    judge_space(a, n, f, out);
}

obv_code obv_doctor(obv_job_ctx *x, const obv_doctor_site *site, bool repository_only, uint32_t deadline_ms,
                    obv_findings *out, obv_err *err)
{
    OBV_AUTO(obv_freep) obv_live_agent *agents = calloc(OBV_AGENTS_MAX, sizeof *agents);
    obv_doctor_facts f = {0};
    obv_board_answer *answers = NULL;
    size_t answer_count = 0;
    if (!agents)
        return obv_fail(err, OBV_E_NOMEM, 0, "doctor");
    size_t n = obv_registry_agents(x->reg, agents, OBV_AGENTS_MAX);
    OBV_TRY(ask(x, agents, n, repository_only, deadline_ms, err));
    obv_doctor_source(x, site, repository_only, &f, out); /* while the agents look */
    obv_code code = OBV_OK;
    if (too_early(x, agents, n, &f))
        code = obv_fail(err, OBV_E_NOT_READY, 0, "agents have not called yet: the coordinator has just started");
    else
        judge_agents(agents, n, &f, out);
    if (code == OBV_OK) {
        if (!repository_only)
            obv_doctor_targets(x, site, &f, out);
        obv_board_wait(x->board);
    }
    obv_board_end(x->board, &answers, &answer_count);
    if (code == OBV_OK)
        judge_all(x, site, repository_only, &f, answers, answer_count, deadline_ms, out);
    for (size_t i = 0; i < answer_count; i++)
        obv_findings_fini(&answers[i].found);
    free(answers);
    obv_servers_fini(&f.servers);
    return code;
}
