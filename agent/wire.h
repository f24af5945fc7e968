/* wire.h - the agent's plain data as messages of obvault.v1 and back */
#ifndef OBV_AGENT_WIRE_H
#define OBV_AGENT_WIRE_H

#include "check.h"
#include "config.h"
#include "host/repository.h"
#include "job/archive.h"
#include "job/runner.h"
#include "obvault/v1/agent.pb-c.h"

/* What a request speaks of. Pointers are borrowed. */
typedef struct obv_wire_state {
    const obv_agent_config *cfg;
    const char *agent_id;
    uint64_t session, seq;
    const obv_repository *repository; /* NULL: none, because of repository_error */
    const obv_err *repository_error;
    obv_runner *runner;   /* may be NULL */
    obv_journal *journal; /* unacknowledged reports */
    obv_archive *archive; /* may be NULL */
    obv_checker *checker; /* may be NULL */
} obv_wire_state;

/* A request and all its memory. */
typedef struct obv_wire_request obv_wire_request;
OBV_CHECK obv_code obv_wire_request_new(const obv_wire_state *s, obv_wire_request **out, obv_err *err);
void obv_wire_request_free(obv_wire_request *r);
static inline void obv_wire_request_drop(obv_wire_request **r) { obv_wire_request_free(*r); }
const Obvault__V1__SyncRequest *obv_wire_request_message(const obv_wire_request *r);

/** A task as sent. OBV_E_INVAL: a field is missing or out of bounds; OBV_E_UNSUPPORTED: a kind we do not know. */
OBV_CHECK obv_code obv_wire_task(const Obvault__V1__Task *in, obv_task **out, obv_err *err);
/** Hands the page to the archive job. */
OBV_CHECK obv_code obv_wire_archive_page(const Obvault__V1__ArchivePage *in, obv_archive *a, obv_err *err);

#endif
