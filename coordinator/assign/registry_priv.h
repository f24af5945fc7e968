/* registry_priv.h - shared by registry.c and turn.c */
#ifndef OBV_COORDINATOR_REGISTRY_PRIV_H
#define OBV_COORDINATOR_REGISTRY_PRIV_H

#include "assign/registry.h"

typedef struct live_task {
    char uid[OBV_TASK_UID_MAX];
    uint64_t bytes_read, bytes_written, blocks_done;
} live_task;

typedef struct live {
    obv_hello h;
    uint64_t last_session; /* the one before: its process may still be talking */
    int64_t seen_ns;
    uint64_t revision; /* wanted */
    uint64_t have_revision;
    uint32_t have_received;
    bool have_all;
    obv_tenant_archive tenants[OBV_AGENT_TENANTS_MAX];
    size_t tenant_count;
    live_task tasks[OBV_AGENT_TASKS_MAX];
    size_t task_count;
} live;

/* Guarded by the state's lock. */
struct obv_registry {
    obv_state *s;
    obv_clock clock;
    int64_t started_ns;
    char cluster_name[129];
    uint64_t cluster_id;
    int64_t round;
    bool round_stop;
    int64_t piece, piece_date; /* 0 in round mode */
    bool piece_told;           /* lists that were made since name it */
    bool hold;                 /* agents begin no batches */
    live *agents[OBV_AGENTS_MAX];
    size_t count;
};

live *registry_find(obv_registry *r, const char *agent_id);
bool registry_alive(const obv_registry *r, const live *a, uint32_t ms);

#endif
