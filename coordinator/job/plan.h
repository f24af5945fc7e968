/* plan.h - what a restore would take: sources, sizes, steps, time; nothing is started and no target is asked */
#ifndef OBV_COORDINATOR_PLAN_H
#define OBV_COORDINATOR_PLAN_H

#include "job/window.h"

typedef struct obv_plan_source {
    int64_t set_id;         /* of a set */
    int64_t round, piece;   /* of a piece; round 0: it is a set */
    char path[1600];        /* as ADD RESTORE SOURCE names it */
    int64_t from, to;       /* us; set: S in both; piece: start and checkpoint */
    int64_t bytes, objects; /* -1 = not known */
    bool frozen;
} obv_plan_source;

typedef struct obv_plan_step {
    char what[200];
    int64_t seconds; /* -1 = not known */
} obv_plan_step;

#define OBV_PLAN_STEPS 5u
typedef struct obv_plan {
    uint64_t tenant_id;
    obv_plan_source *v; /* the set, then its pieces, ascending */
    size_t n, cap;
    int64_t pgs, blocks, bytes; /* of the set's copies of the tenant */
    obv_plan_step steps[OBV_PLAN_STEPS];
    size_t step_count;
    int64_t estimate_s; /* -1 = not known */
    char estimate_from[300];
} obv_plan;
void obv_plan_fini(obv_plan *p);
/* SQL: object o is of a PG that is in its set; objects of one that was dropped meanwhile lie there, but nobody reads
 * them */
#define OBV_PLAN_OBJECT_COUNTS                                                                                         \
    "EXISTS (SELECT 1 FROM pgs p WHERE p.set_id = o.set_id AND p.tenant_id = o.tenant_id AND p.table_id = o.table_id"  \
    " AND p.partition_id = o.partition_id AND p.state = 2)"

/** OBV_E_NOT_RESTORABLE (with the windows), OBV_E_NOT_FOUND (tenant), OBV_E_INVAL. */
OBV_CHECK obv_code obv_plan_make(obv_job_ctx *x, const char *tenant, int64_t at, obv_plan *out, obv_err *err);

#endif
