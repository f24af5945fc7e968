/* loader.h - a storage plugin's shared object, loaded once a process and never unloaded */
#ifndef OBV_AGENT_HOST_LOADER_H
#define OBV_AGENT_HOST_LOADER_H

#include "base/err.h"
#include "obvault/storage_plugin.h"

/**
 * Loads @p path, checks the ABI (both versions are named when they differ) and that every required function is there.
 * @param out a table that lives as long as the process; fields the plugin was built without are NULL
 * @return OBV_E_CONFIG cannot be loaded; OBV_E_UNSUPPORTED another ABI
 */
OBV_CHECK obv_code obv_plugin_load(const char *path, const obv_storage_plugin **out, obv_err *err);

#endif
