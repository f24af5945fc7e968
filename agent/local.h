/* local.h - obvault-agent local ...: what can be done at the destination without any coordinator */
#ifndef OBV_AGENT_LOCAL_H
#define OBV_AGENT_LOCAL_H

#include "config.h"

typedef struct obv_local_options {
    const char *uuid; /* repo init: the uuid to give, NULL = a new one */
    bool adopt;       /* repo check: take what is there for ours */
    int64_t set_id;   /* verify: only this set, 0 = all and the log archive */
    bool lists_only;  /* verify: not the blocks and the log */
    bool json;        /* verify: JSON lines */
} obv_local_options;

/** Makes the identity; prints it. */
OBV_CHECK obv_code obv_local_repo_init(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err);
/** Reads the identity, compares it with what this agent saw first, probes the storage; prints all. */
OBV_CHECK obv_code obv_local_repo_check(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err);
/**
 * Reads the whole tree and prints every damage (docs/agent.md).
 * @param exit_code 0 good, 7 damage found, 8 something could not be read; written on OBV_OK
 */
OBV_CHECK obv_code obv_local_verify(const obv_agent_config *cfg, const obv_local_options *o, int *exit_code,
                                    obv_err *err);

#endif
