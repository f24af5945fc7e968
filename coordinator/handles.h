/* handles.h - SQL handles of one thread: the source and the targets of the configuration, opened on demand */
#ifndef OBV_COORDINATOR_HANDLES_H
#define OBV_COORDINATOR_HANDLES_H

#include "config.h"

/** @p config is an obv_coordinator_config that outlives the handles. */
OBV_CHECK obv_code obv_handles_new(void *config, obv_clusters *out, obv_err *err);
void obv_handles_free(void *handles);

#endif
