/* api.h - the coordinator's RPC services (proto/obvault/v1) on top of jobs and registry */
#ifndef OBV_COORDINATOR_API_H
#define OBV_COORDINATOR_API_H

#include "job/context.h"
#include "job/doctor.h"
#include "proto/rpc.h"

typedef struct obv_api {
    obv_job_ctx x; /* its cluster handles are not used: each call opens its own */
    /** Handles for one call. */
    obv_code (*clusters)(void *ctx, obv_clusters *out, obv_err *err);
    void (*clusters_free)(void *handles);
    void *ctx;
    const char *const *targets; /* names in the configuration */
    size_t target_count;
    const obv_doctor_site *site; /* for doctor */
    const char *cert;            /* own certificate, for doctor */
} obv_api;

/** Routes of both services, @p api as their context; *n of them, freed with free(). Valid while @p api is. */
OBV_CHECK obv_code obv_api_routes(obv_api *api, obv_rpc_route **out, size_t *n, obv_err *err);

/* One Sync; in agent_service.c, the only file that knows the agents' messages. */
obv_code obv_agent_sync(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_buf *resp, obv_err *err);

/** "package.Service/Method" of the Sync. */
const char *obv_agent_sync_path(void);

obv_code obv_operator_watch(void *ctx, const obv_rpc_peer *peer, obv_span req, obv_rpc_call *call,
                            const obv_cancel *stop, obv_err *err);

#endif
