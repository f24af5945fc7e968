/* doctor.h - every condition of backups and restores, looked at one after the other (docs/operations.md) */
#ifndef OBV_COORDINATOR_DOCTOR_H
#define OBV_COORDINATOR_DOCTOR_H

#include "base/finding.h"
#include "job/context.h"

typedef struct obv_doctor_target {
    const char *name, *user;
    char *const *endpoints; /* host:port */
    size_t endpoint_count;
} obv_doctor_target;

/* Of the configuration. */
typedef struct obv_doctor_site {
    const char *state_dir, *source_user;
    char *const *endpoints;
    size_t endpoint_count;
    const obv_doctor_target *targets;
    size_t target_count;
} obv_doctor_site;

/**
 * Asks agents through x->board and clusters through x->clusters; a finding a check, also for what does not answer.
 * @return OBV_E_BUSY: another doctor runs; OBV_E_NOT_READY: agents may only not have called yet; OBV_E_NOMEM
 */
OBV_CHECK obv_code obv_doctor(obv_job_ctx *x, const obv_doctor_site *site, bool repository_only, uint32_t deadline_ms,
                              obv_findings *out, obv_err *err);

/* ---- parts, in doctor_cluster.c */
typedef struct obv_doctor_facts {
    obv_cluster *source; /* NULL: does not answer */
    obv_identity id;
    obv_servers servers;
    bool servers_known;
    uint64_t data_bytes; /* of all tenants */
    bool data_known;
} obv_doctor_facts;
void obv_doctor_source(obv_job_ctx *x, const obv_doctor_site *site, bool repository_only, obv_doctor_facts *f,
                       obv_findings *out);
void obv_doctor_targets(obv_job_ctx *x, const obv_doctor_site *site, const obv_doctor_facts *f, obv_findings *out);

#endif
