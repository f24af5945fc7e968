/* points.h - restore points of the replicas of one host */
#ifndef OBS_POINTS_H
#define OBS_POINTS_H

#include "replica.h"

/** Forms and drops points as so_restore_point says; every second or so. */
void points_tick(struct host *h);

#endif
