/* workload.h - transactions over one or several PGs at a rate, from threads of this process */
#ifndef OBS_WORKLOAD_H
#define OBS_WORKLOAD_H

#include "schema.h"

json_t *workload_verb(struct host *h, const json_t *req);
void workload_stop(struct host *h);
json_t *workload_insert(struct host *h, const json_t *req); /* verb insert */

#endif
