/* schema.h - the state database's tables; append migrations, never change one that was released */
#ifndef OBV_COORDINATOR_SCHEMA_H
#define OBV_COORDINATOR_SCHEMA_H

#include <stddef.h>

extern const char *const OBV_STATE_MIGRATIONS[];
extern const size_t OBV_STATE_MIGRATION_COUNT;

#endif
