/* store_priv.h - what the host's own sources and tests know of a store beyond store.h */
#ifndef OBV_AGENT_HOST_STORE_PRIV_H
#define OBV_AGENT_HOST_STORE_PRIV_H

#include "host/store.h"
#include "obvault/storage_plugin.h"

/** The agent's code for a plugin's class; @p sys tells a failed system call from a fault of the plugin. */
obv_code obv_store_code_of(obv_store_class cls, int sys);

#endif
