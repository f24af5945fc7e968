/* rounds.h - log-archive rounds, their tenants, and which agent archives which PG */
#ifndef OBV_COORDINATOR_ROUNDS_H
#define OBV_COORDINATOR_ROUNDS_H

#include "format/ob/pg_key.h"
#include "state/tasks.h"

/* OceanBase's numbers */
typedef enum obv_round_status {
    OBV_ROUND_STOP = 1,
    OBV_ROUND_BEGINNING = 2,
    OBV_ROUND_DOING = 3,
    OBV_ROUND_STOPPING = 4,
    OBV_ROUND_INTERRUPTED = 5,
} obv_round_status;
const char *obv_round_status_name(obv_round_status s);

typedef struct obv_round {
    int64_t round;
    char job_id[32];
    obv_round_status status;
    int64_t start_ts, checkpoint_ts; /* us; as published for the whole cluster */
    int64_t pending_ts;              /* about to be stored */
    int64_t max_ts;                  /* us; of the end, 0 before */
    bool stop;                       /* an operator asked for the end */
    int64_t sys_schema_version;
    /* piece mode; all 0 in round mode */
    int64_t start_piece, piece; /* first and newest */
    int64_t piece_date;         /* YYYYMMDD of the newest */
    int64_t piece_at;           /* us: when it was made */
    uint32_t switch_s;          /* a piece is left after this long */
} obv_round;

typedef struct obv_round_tenant {
    int64_t round;
    uint64_t tenant_id;
    char name[129];
    obv_round_status status;
    int64_t start_ts;
    int64_t checkpoint_ts;  /* published: stored on media */
    int64_t pending_ts;     /* proven, about to be stored */
    int64_t schema_version; /* the PG list in force was read at */
    obv_err error;          /* of an interruption */
    int64_t start_piece;    /* in piece mode: the tenant's first one of this round */
    int64_t interrupted_at; /* us */
    int64_t gone_at;        /* us: missed in the cluster's list of tenants */
} obv_round_tenant;

typedef struct obv_archive_pg {
    int64_t round;
    obv_pg_key key;
    char agent_id[OBV_AGENT_ID_MAX]; /* "" = nobody can take it */
    uint64_t epoch;
    bool from_log_one;
    int64_t dropped_at; /* schema version at which it was missed; 0 = it exists */
    int64_t moved_at;   /* us: when it was given to its agent */
} obv_archive_pg;

/* OceanBase's numbers */
typedef enum obv_piece_state {
    OBV_PIECE_STATE_ACTIVE = 0,
    OBV_PIECE_STATE_FREEZING = 1, /* not every PG has left it */
    OBV_PIECE_STATE_FROZEN = 2,
} obv_piece_state;

/* A stretch of a tenant's log archive with a directory of its own; in round mode the whole round is one, number 0. */
typedef struct obv_piece {
    int64_t round, piece, start_piece; /* start_piece: first one of the tenant in the round */
    uint64_t tenant_id;                /* 1: the cluster's own */
    int64_t date;                      /* YYYYMMDD, 0 in round mode */
    obv_piece_state state;
    int64_t start_ts;      /* us; 0 while the piece before it is FREEZING */
    int64_t checkpoint_ts; /* us; published; of the newest piece the tenant's own */
    int64_t pending_ts;    /* about to be stored */
    int64_t max_ts;        /* us; INT64_MAX until it is FROZEN */
} obv_piece;
#define OBV_PIECE_CLUSTER 1u

OBV_CHECK obv_code obv_round_save(obv_state *s, const obv_round *r, obv_err *err); /* inserts or replaces */
OBV_CHECK obv_code obv_round_get(obv_state *s, int64_t round, obv_round *out, obv_err *err);
/** The newest round. OBV_E_NOT_FOUND. */
OBV_CHECK obv_code obv_round_last(obv_state *s, obv_round *out, obv_err *err);
typedef obv_code obv_round_fn(void *ctx, const obv_round *r, obv_err *err);
OBV_CHECK obv_code obv_round_each(obv_state *s, obv_round_fn *fn, void *ctx, obv_err *err); /* ascending */

OBV_CHECK obv_code obv_round_tenant_save(obv_state *s, const obv_round_tenant *t, obv_err *err);
OBV_CHECK obv_code obv_round_tenant_get(obv_state *s, int64_t round, uint64_t tenant, obv_round_tenant *out,
                                        obv_err *err);
typedef obv_code obv_round_tenant_fn(void *ctx, const obv_round_tenant *t, obv_err *err);
/** Tenants of a round (0: all rounds, ordered by tenant, then round). */
OBV_CHECK obv_code obv_round_tenant_each(obv_state *s, int64_t round, obv_round_tenant_fn *fn, void *ctx, obv_err *err);

OBV_CHECK obv_code obv_archive_pg_save(obv_state *s, const obv_archive_pg *p, obv_err *err);
OBV_CHECK obv_code obv_archive_pg_remove(obv_state *s, const obv_archive_pg *p, obv_err *err);
/** All PGs of a tenant: it is archived no more. */
OBV_CHECK obv_code obv_archive_pg_remove_tenant(obv_state *s, int64_t round, uint64_t tenant, obv_err *err);
typedef obv_code obv_archive_pg_fn(void *ctx, const obv_archive_pg *p, obv_err *err);
/** PGs of a tenant (0: all) in key order. */
OBV_CHECK obv_code obv_archive_pg_each(obv_state *s, int64_t round, uint64_t tenant, obv_archive_pg_fn *fn, void *ctx,
                                       obv_err *err);
/** One page of an agent's list. */
OBV_CHECK obv_code obv_archive_pg_page(obv_state *s, int64_t round, const char *agent_id, uint32_t first,
                                       uint32_t limit, obv_archive_pg_fn *fn, void *ctx, obv_err *err);
OBV_CHECK obv_code obv_archive_pg_count(obv_state *s, int64_t round, const char *agent_id, uint64_t tenant,
                                        int64_t *out, obv_err *err);
/** Agents of a tenant's PGs with their counts; "" = PGs that nobody has. */
typedef obv_code obv_archive_agent_fn(void *ctx, const char *agent_id, int64_t pgs, obv_err *err);
OBV_CHECK obv_code obv_archive_pg_agents(obv_state *s, int64_t round, uint64_t tenant, obv_archive_agent_fn *fn,
                                         void *ctx, obv_err *err);
/** All of an agent's PGs get a new epoch: it has begun a new session. */
OBV_CHECK obv_code obv_archive_pg_renew(obv_state *s, int64_t round, const char *agent_id, obv_err *err);

/* ---- pieces.c: rounds of both modes, seen as pieces */
typedef obv_code obv_piece_fn(void *ctx, const obv_piece *p, obv_err *err);
/** All pieces of a tenant (1: the cluster's own), ascending by round and piece. */
OBV_CHECK obv_code obv_piece_each(obv_state *s, uint64_t tenant, obv_piece_fn *fn, void *ctx, obv_err *err);
/** Adds the round's newest piece for a tenant: ACTIVE from @p start_ts (0: decided when the one before is FROZEN). */
OBV_CHECK obv_code obv_piece_add(obv_state *s, const obv_round *r, uint64_t tenant, int64_t start_piece,
                                 int64_t start_ts, obv_err *err);
/** A piece that is ACTIVE begins at @p start_ts. */
OBV_CHECK obv_code obv_piece_start(obv_state *s, int64_t round, int64_t piece, uint64_t tenant, int64_t start_ts,
                                   obv_err *err);
/** A tenant's pieces all end. */
OBV_CHECK obv_code obv_piece_end_tenant(obv_state *s, int64_t round, uint64_t tenant, int64_t max_ts, obv_err *err);
/** ACTIVE to FREEZING; nothing later than @p checkpoint_ts is promised of it. */
OBV_CHECK obv_code obv_piece_freezing(obv_state *s, const obv_round *r, uint64_t tenant, int64_t checkpoint_ts,
                                      obv_err *err);
/** FREEZING pieces of the round are FROZEN: all that is in them is at most @p max_ts, where the newest ones begin. */
OBV_CHECK obv_code obv_piece_frozen(obv_state *s, int64_t round, int64_t max_ts, obv_err *err);
OBV_CHECK obv_code obv_piece_freezing_count(obv_state *s, int64_t round, int64_t *out, obv_err *err);

/* ---- restores */
typedef struct obv_restore {
    char job_id[32];
    int64_t external_id; /* restore_job_id given to OceanBase */
    char target[65];     /* name in the configuration */
    uint64_t tenant_id;
    char tenant[129], new_tenant[129];
    int64_t until_us;
    char pools[1025], locality[1025], primary_zone[1025];
    int64_t set_id, round;
    char status[65]; /* OceanBase's word */
    int64_t pgs, pgs_done, blocks, blocks_done;
    int64_t issued_at;   /* us, 0 = not yet */
    int64_t last_job_id; /* newest restore job of the target before ours */
    char info[513];
} obv_restore;
OBV_CHECK obv_code obv_restore_save(obv_state *s, const obv_restore *r, obv_err *err);
OBV_CHECK obv_code obv_restore_get(obv_state *s, const char *job_id, obv_restore *out, obv_err *err);

#endif
