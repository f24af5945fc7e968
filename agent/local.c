#include "local.h"

#include "base/clock.h"
#include "base/file.h"
#include "check.h"
#include "destination.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void close_store(obv_store **s) { obv_store_close(*s); }
static void close_journal(obv_journal **j) { obv_journal_close(*j); }

static void print_identity(const obv_repository *r)
{
    char at[OBV_TIME_TEXT_LEN];
    (void)printf("repository   %s\nprofile      %s\ncluster      %s/%" PRIu64 "\ncreated_at   %s\n", r->uuid,
                 r->profile, r->cluster_name, r->cluster_id, obv_time_text(r->created_at_us, at));
}

static obv_code open_both(const obv_agent_config *cfg, obv_store **store, obv_journal **journal, obv_err *err)
{
    const obv_store_config sc = obv_agent_store_config(cfg);
    char path[4096];
    OBV_TRY(obv_file_mkdirs(cfg->state_dir, 0700, err));
    (void)snprintf(path, sizeof path, "%s/journal.db", cfg->state_dir);
    OBV_TRY(obv_journal_open(path, journal, err));
    return obv_store_open(&sc, store, err);
}

obv_code obv_local_repo_init(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err)
{
    OBV_AUTO(close_store) obv_store *store = NULL;
    OBV_AUTO(close_journal) obv_journal *journal = NULL;
    obv_repository want = {.profile = "native", .cluster_id = cfg->cluster.id};
    obv_repository made;
    if (o->uuid && strlen(o->uuid) >= sizeof want.uuid)
        return obv_fail(err, OBV_E_INVAL, 0, "uuid \"%.60s\" is none", o->uuid);
    (void)snprintf(want.uuid, sizeof want.uuid, "%s", o->uuid ? o->uuid : "");
    (void)snprintf(want.cluster_name, sizeof want.cluster_name, "%s", cfg->cluster.name);
    OBV_TRY(open_both(cfg, &store, &journal, err));
    OBV_TRY(obv_repository_init(store, &want, NULL, &made, err));
    OBV_TRY(obv_destination_adopt(journal, &made, err));
    print_identity(&made);
    return OBV_OK;
}

/* The checks of `obvault repo check` as this host sees them. */
static obv_code print_findings(const obv_agent_config *cfg, const char *uuid, obv_err *err)
{
    obv_check_run r = {.cfg = cfg};
    (void)snprintf(r.where, sizeof r.where, "%s:%u", cfg->observer.ip, cfg->observer.rpc_port);
    (void)snprintf(r.pinned, sizeof r.pinned, "%s", uuid);
    obv_check_repository(&r);
    for (size_t i = 0; i < r.found.n; i++) {
        const obv_finding *f = &r.found.v[i];
        (void)printf("%-5s %-22s %s\n", obv_level_name(f->level), f->check, f->found);
        if (f->level != OBV_LEVEL_OK)
            (void)printf("      means: %s\n      next:  %s\n", f->means, f->next);
    }
    const obv_code worst = obv_findings_worst(&r.found);
    const size_t bad = obv_findings_count(&r.found, OBV_LEVEL_FAIL);
    obv_findings_fini(&r.found);
    return worst == OBV_OK ? OBV_OK : obv_fail(err, worst, 0, "%zu checks of the repository failed: see above", bad);
}

/* The uuid that must be there, "" = any. An agent that runs keeps its journal to itself: then the configuration's. */
static obv_code known_uuid(const obv_agent_config *cfg, obv_journal *journal, char out[37], obv_err *err)
{
    (void)snprintf(out, 37, "%s", cfg->repository.uuid);
    if (out[0])
        return OBV_OK;
    if (journal)
        return obv_journal_get(journal, OBV_DESTINATION_PINNED, out, 37, err);
    (void)printf("note         the agent is running: whether it knows this repository, obvault repo check says\n");
    return OBV_OK;
}

obv_code obv_local_repo_check(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err)
{
    OBV_AUTO(close_store) obv_store *store = NULL;
    OBV_AUTO(close_journal) obv_journal *journal = NULL;
    obv_repository r;
    char pinned[37];
    char place[160];
    uint32_t caps = 0;
    uint64_t free_bytes = 0;
    const obv_code opened = open_both(cfg, &store, &journal, err);
    if (opened == OBV_E_BUSY && !o->adopt && !store) {
        const obv_store_config sc = obv_agent_store_config(cfg);
        OBV_TRY(obv_store_open(&sc, &store, err));
    } else {
        OBV_TRY(opened);
    }
    OBV_TRY(obv_repository_read(store, cfg->cluster.name, cfg->cluster.id, NULL, &r, err));
    print_identity(&r);
    if (o->adopt)
        OBV_TRY(obv_destination_adopt(journal, &r, err));
    OBV_TRY(known_uuid(cfg, journal, pinned, err));
    OBV_TRY(obv_repository_verify(store, cfg->cluster.name, cfg->cluster.id, pinned, NULL, &r, err));
    OBV_TRY(obv_store_probe(store, &caps, &free_bytes, place, sizeof place, err));
    (void)printf("storage      %s\nexclusive    %s\nappend       %s\nreplace      %s\n", place,
                 caps & OBV_STORE_CAN_IF_ABSENT ? "yes" : "no", caps & OBV_STORE_CAN_APPEND ? "yes" : "no",
                 caps & OBV_STORE_CAN_REPLACE ? "yes" : "no");
    if (free_bytes != UINT64_MAX)
        (void)printf("free_bytes   %" PRIu64 "\n", free_bytes);
    return print_findings(cfg, r.uuid, err);
}
