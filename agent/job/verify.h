/* verify.h - reads a native tree and tells every damage in it, and what each means for recoverability (docs/agent.md)
 *
 * Deep: every byte of every object is read and proven by a checksum, or must be zero, or must follow from its name;
 * then the objects are held against each other. Memory is bounded by the number of PGs (about 100 bytes each) and the
 * blocks of one PG, not by the size of the tree. Nothing is written. A storage that cannot be read is never called
 * damage.
 */
#ifndef OBV_AGENT_JOB_VERIFY_H
#define OBV_AGENT_JOB_VERIFY_H

#include "base/cancel.h"
#include "source/native.h"

enum obv_verify_class {
    OBV_VERIFY_DAMAGED,      /* bytes of the object are not what was written */
    OBV_VERIFY_MISSING,      /* another object says that it must be there */
    OBV_VERIFY_INCONSISTENT, /* whole by itself, but contradicts another object */
    OBV_VERIFY_UNLISTED,     /* no rule names it */
    OBV_VERIFY_UNREADABLE,   /* the storage did not give it: nothing is known about its bytes */
    OBV_VERIFY_LEFTOVER,     /* what a killed writer may leave; no reader is hurt */
    OBV_VERIFY_CLASSES,
};
/** "damaged", "missing", ... */
const char *obv_verify_class_name(enum obv_verify_class c);

typedef struct obv_verify_finding {
    enum obv_verify_class class;
    const char *object;  /* key below the repository's root */
    const char *kind;    /* obv_native_kind_name */
    int64_t offset;      /* of the first byte concerned, -1: the object as a whole */
    const char *text;    /* what is wrong */
    const char *meaning; /* what it means for recoverability */
} obv_verify_finding;
typedef void obv_verify_fn(void *ctx, const obv_verify_finding *f);

enum obv_verify_depth {
    OBV_VERIFY_LISTS, /* names, info files, PG metas, indexes; blocks and log only by name */
    OBV_VERIFY_DEEP,  /* everything */
};

typedef struct obv_verify_config {
    const obv_native_io *io;
    obv_media_root root;
    enum obv_verify_depth depth;
    int64_t set_id;   /* 0: all. Else only this set, with the info files; the log archive is left out */
    const char *uuid; /* of the repository that must be there; NULL or "": any, or a tree without identity */
    const obv_cancel *cancel;
    obv_verify_fn *fn;
    void *ctx;
} obv_verify_config;

typedef struct obv_verify_stats {
    bool ours; /* obvault/repository.json is there: no byte is exempt */
    uint64_t objects, bytes;
    uint64_t sets, pgs, blocks;  /* good sets that were held against their metas, with their PGs and macroblocks */
    uint64_t archived_pgs, logs; /* PGs of all rounds, entries */
    uint64_t found[OBV_VERIFY_CLASSES];
} obv_verify_stats;
/** Sum of the classes that are damage: all but unreadable and leftover. */
uint64_t obv_verify_damage(const obv_verify_stats *s);

/**
 * Reads the tree. *stats counts also when it fails.
 * @return OBV_OK: read to the end (look at stats->found); OBV_E_NOT_INITIALISED: nothing lies below CP;
 * OBV_E_NOT_FOUND: no such set; OBV_E_CANCELLED, OBV_E_TIMEOUT, OBV_E_NOMEM; codes of the storage when it gives nothing
 * any more
 */
OBV_CHECK obv_code obv_verify_run(const obv_verify_config *cfg, obv_verify_stats *stats, obv_err *err);

#endif
