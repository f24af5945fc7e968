/* check_destination.c - the repository's identity, the mount it lies on, a trial of what is needed, and space */
#include "base/file.h"
#include "check.h"
#include "host/repository.h"
#include "mount.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RETRY_MS 2000u /* of one call: a check says so instead of waiting */
#define MOUNTINFO_MAX (4u << 20)
#define NOTHING_STORED "no backup and no log can be stored from this host; what is stored stays good"

static void begin(obv_check_run *r, const char *check)
{
    if (r->step)
        r->step(r, check);
}

/* Whatever keeps the destination from being used counts as trouble of the destination. */
static obv_code storage_code(obv_code code)
{
    switch (obv_code_describe(code)->exit_code) {
    case 8:
        return code;
    default:
        return code == OBV_E_DENIED || code == OBV_E_AUTH ? OBV_E_READ_ONLY : OBV_E_IO;
    }
}

static void close_store(obv_store **s)
{
    if (*s)
        obv_store_close(*s);
}

static void check_identity(obv_check_run *r, obv_store *s)
{
    static const char CHECK[] = "repository.identity";
    obv_repository there = {0};
    obv_err err = {0};
    begin(r, CHECK);
    const obv_code code = obv_repository_read(s, r->cfg->cluster.name, r->cfg->cluster.id, r->cancel, &there, &err);
    if (code == OBV_OK)
        (void)snprintf(r->uuid, sizeof r->uuid, "%s", there.uuid);
    if (code == OBV_E_NOT_INITIALISED && !r->pinned[0])
        obv_found_warn(&r->found, CHECK, r->where, "nothing is backed up yet", "obvault repo init, once", "%s",
                       err.msg);
    else if (code == OBV_E_NOT_INITIALISED)
        obv_found_fail(&r->found, OBV_E_STALE, CHECK, r->where, NOTHING_STORED,
                       "mount the destination: the repository is not where it was",
                       "no repository is there, and this agent knows %s", r->pinned);
    else if (code == OBV_E_NOT_FOUND || code != OBV_OK)
        obv_found_fail(&r->found, storage_code(code), CHECK, r->where, NOTHING_STORED,
                       err.hint[0] ? err.hint : obv_code_describe(code)->default_hint, "%s", err.msg);
    else if (r->pinned[0] && strcmp(r->pinned, there.uuid) != 0)
        obv_found_fail(&r->found, OBV_E_STALE, CHECK, r->where, NOTHING_STORED,
                       "mount the right destination; if this is the right one: obvault-agent local repo check --adopt",
                       "repository %s is there, this agent knows %s", there.uuid, r->pinned);
    else
        obv_found_ok(&r->found, CHECK, r->where, "repository %s, profile %s", there.uuid, there.profile);
}

/* What a native repository needs is tried out with temporaries, by the user that writes backups. */
static void check_storage(obv_check_run *r, obv_store *s)
{
    static const char CHECK[] = "repository.storage";
    static const struct {
        uint32_t cap;
        const char *name;
    } NEEDS[] = {{OBV_STORE_CAN_IF_ABSENT, "exclusive creation"},
                 {OBV_STORE_CAN_APPEND, "appending"},
                 {OBV_STORE_CAN_REPLACE, "atomic replacement"}};
    uint32_t caps = 0;
    uint64_t free_bytes = 0;
    char place[160] = "", lacks[120] = "";
    obv_err err = {0};
    begin(r, CHECK);
    const obv_code code = obv_store_probe(s, &caps, &free_bytes, place, sizeof place, &err);
    if (code != OBV_OK) {
        obv_found_fail(&r->found, storage_code(code), CHECK, r->where, NOTHING_STORED,
                       code == OBV_E_DENIED
                           ? "let the agent's user write there: owner of the folder, export options (root_squash, "
                             "all_squash), quota"
                       : err.hint[0] ? err.hint
                                     : obv_code_describe(code)->default_hint,
                       "a trial file cannot be written: %s", err.msg);
        return;
    }
    for (size_t i = 0; i < sizeof NEEDS / sizeof *NEEDS; i++)
        if (!(caps & NEEDS[i].cap))
            (void)snprintf(lacks + strlen(lacks), sizeof lacks - strlen(lacks), "%s%s", lacks[0] ? ", " : "",
                           NEEDS[i].name);
    if (lacks[0])
        obv_found_fail(&r->found, OBV_E_IO, CHECK, r->where, NOTHING_STORED,
                       "choose another file system: see docs/plugin-file.md", "%s lacks %s", place, lacks);
    else
        obv_found_ok(&r->found, CHECK, r->where, "%s holds what a repository needs; a trial file was written", place);
    r->free_known = free_bytes != UINT64_MAX;
    r->free_bytes = free_bytes;
}

/* The folder that the plugin was given, if it is one. */
static const char *folder_of(const obv_agent_config *cfg)
{
    for (uint32_t i = 0; i < cfg->repository.option_count; i++)
        if (strcmp(cfg->repository.options[i].key, "root") == 0 && cfg->repository.options[i].value[0] == '/')
            return cfg->repository.options[i].value;
    return NULL;
}

static void check_mount(obv_check_run *r, const char *folder)
{
    OBV_AUTO(obv_buf_fini) obv_buf text = obv_buf_heap(MOUNTINFO_MAX);
    obv_mount m;
    obv_err err = {0};
    begin(r, "repository.mount");
    if (obv_file_read_all("/proc/self/mountinfo", MOUNTINFO_MAX, &text, &err) != OBV_OK ||
        obv_mount_find(obv_buf_span(&text), folder, &m, &err) != OBV_OK) {
        obv_found_err(&r->found, &err, "repository.mount", r->where, "none: the mount's options cannot be judged");
        return;
    }
    obv_mount_judge(&m, r->where, &r->found);
}

/* A backup on the disk that it protects is lost with it. */
static void check_disk(obv_check_run *r, const char *folder)
{
    struct stat store, there;
    begin(r, "repository.disk");
    if (stat(r->cfg->observer.store_dir, &store) != 0 || stat(folder, &there) != 0)
        return; /* said by other checks */
    if (store.st_dev == there.st_dev)
        obv_found_warn(&r->found, "repository.disk", r->where, "losing that disk loses the data and its backup",
                       "put the destination on other hardware",
                       "%s lies on the same file system as the OBServer's store", folder);
    else
        obv_found_ok(&r->found, "repository.disk", r->where, "not the OBServer's file system");
}

void obv_check_repository(obv_check_run *r)
{
    const char *folder = folder_of(r->cfg);
    obv_store_config sc = obv_agent_store_config(r->cfg);
    OBV_AUTO(close_store) obv_store *s = NULL;
    obv_err err = {0};
    sc.retry_budget_ms = RETRY_MS;
    if (folder) /* needs no answer of a server that is away */
        check_mount(r, folder);
    begin(r, "repository.open");
    const obv_code code = obv_store_open(&sc, &s, &err);
    if (code != OBV_OK) {
        obv_found_fail(&r->found, storage_code(code), "repository.open", r->where, NOTHING_STORED,
                       err.hint[0] ? err.hint : obv_code_describe(code)->default_hint, "%s", err.msg);
        return;
    }
    if (folder)
        check_disk(r, folder);
    if (!obv_cancel_requested(r->cancel))
        check_identity(r, s);
    if (!obv_cancel_requested(r->cancel))
        check_storage(r, s);
}
