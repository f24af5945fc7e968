/* local.h - obvault-agent local ...: what can be done at the destination without any coordinator */
#ifndef OBV_AGENT_LOCAL_H
#define OBV_AGENT_LOCAL_H

#include "config.h"

typedef struct obv_local_options {
    const char *uuid; /* repo init: the uuid to give, NULL = a new one */
    bool adopt;       /* repo check: take what is there for ours */
} obv_local_options;

/** Makes the identity; prints it. */
OBV_CHECK obv_code obv_local_repo_init(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err);
/** Reads the identity, compares it with what this agent saw first, probes the storage; prints all. */
OBV_CHECK obv_code obv_local_repo_check(const obv_agent_config *cfg, const obv_local_options *o, obv_err *err);

#endif
