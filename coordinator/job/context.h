/* context.h - what every job works with
 *
 * A job is a row; its machine is a function that looks at the row and takes one step. It is called again and again by
 * the thread of its kind, may be killed anywhere, and finds in the database what was done. Slow things (SQL to a
 * cluster) happen outside transactions.
 */
#ifndef OBV_COORDINATOR_CONTEXT_H
#define OBV_COORDINATOR_CONTEXT_H

#include "assign/board.h"
#include "assign/registry.h"
#include "cluster/cluster.h"
#include "format/media/paths.h"

typedef struct obv_pin_setting { /* a tenant whose versions are kept while it is backed up (docs/decisions/0009) */
    const char *tenant;
    uint32_t undo_retention_s;
} obv_pin_setting;

typedef struct obv_settings {
    char uri[1025]; /* of the repository, as OBServers see it: file:///path */
    char profile[16];
    char source_name[129]; /* "" = as the cluster says */
    uint64_t source_id;    /* 0 = as the cluster says */
    uint32_t checkpoint_s; /* between two publications */
    uint32_t flush_ms;     /* of the archivers */
    uint32_t compressor;   /* OceanBase's number: 1 none, 2 lz4_1.0, 8 zstd_1.3.8 */
    uint32_t batch_pgs;    /* PGs of one batch */
    uint32_t per_agent;    /* batches of one agent at a time */
    uint32_t leaders_s;    /* leaders are looked up at least this often while archiving */
    uint32_t begin_s;      /* a round that has not begun after this is given up */
    uint32_t step_s;       /* a step that agents do must end within this */
    uint32_t passes_max;   /* of a set, to close it over DDL */
    uint32_t closing_s;    /* the same: longest time from the first pass's end on */
    const obv_pin_setting *pins;
    uint32_t pin_count;
    uint32_t pin_max_s; /* a pin is taken back after this, even while its set is being made */
    /* log archive */
    uint32_t piece_switch_s; /* a new piece after this long; 0 = round mode */
    uint32_t settle_s;       /* a PG that changed hands stays this long, unless its agent is lost */
    bool gap_hold;           /* archive.gap_policy: backups wait while log is about to be recycled */
    uint32_t gap_warn_s;     /* that near is near */
    /* events */
    uint32_t event_days, event_max;
} obv_settings;

typedef struct obv_job_ctx obv_job_ctx;
/* Handles of one thread; opened on demand, kept open. */
typedef struct obv_clusters {
    obv_code (*source)(void *ctx, obv_cluster **out, obv_err *err);
    obv_code (*target)(void *ctx, const char *name, obv_cluster **out, obv_err *err);
    /** The source as the account sees it that may SET GLOBAL in this tenant. OBV_E_NOT_FOUND: none is configured. */
    obv_code (*pin)(void *ctx, const char *tenant, obv_cluster **out, obv_err *err);
    void *ctx;
} obv_clusters;

struct obv_job_ctx {
    obv_state *s;
    obv_registry *reg;
    obv_clock clock;
    const obv_settings *cfg;
    obv_clusters clusters;
    struct {
        char id[32];
        int64_t until_ns;
    } pauses[64]; /* jobs that are not to be stepped before then */
    struct {
        char id[32];
        int64_t since_us; /* every step since then ended with an error that may pass */
    } troubles[64];
    int64_t pins_ns;  /* pins are looked after no sooner than this */
    obv_board *board; /* of checks; NULL: none */
    void *memory;     /* obv_ctx_memory */
    void (*memory_free)(void *memory);
    char memory_job[32];
};

/**
 * What a machine keeps between the steps of one job, zeroed at first; may be lost at any time, and is when another job
 * is stepped: nothing that one job has seen is true for the next. @p release frees all of it. OBV_E_NOMEM.
 */
OBV_CHECK obv_code obv_ctx_memory(obv_job_ctx *x, const obv_job *job, size_t size, void (*release)(void *), void **out,
                                  obv_err *err);

/** Whatever changes, the job's next step comes no sooner than this: for steps that ask another system. */
void obv_ctx_pause(obv_job_ctx *x, const char *job_id, uint32_t ms);

static inline int64_t obv_ctx_now(const obv_job_ctx *x) { return obv_clock_us(&x->clock); }

/**
 * One step. *again_ms: when to call next (unless the state changes before).
 * @return OBV_OK; a code >= 64: tried again; any other: the machine itself could not go on, which ends the job
 */
typedef obv_code obv_job_step(obv_job_ctx *x, const obv_job *job, uint32_t *again_ms, obv_err *err);

/** Repository's root of paths. OBV_E_NOT_INITIALISED. */
OBV_CHECK obv_code obv_ctx_root(const obv_job_ctx *x, obv_media_root *out, obv_err *err);

#endif
