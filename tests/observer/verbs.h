/* verbs.h - control verbs that put one replica, server or tenant into a state that a backup must notice (verbs.c) */
#ifndef OBS_VERBS_H
#define OBS_VERBS_H

#include "cluster.h"

json_t *migrate_verb(struct host *h, const json_t *req);
json_t *replica_verb(struct host *h, const json_t *req); /* is_restore, split_state, member, here */
json_t *assist_verb(struct host *h, const json_t *req);
json_t *backup_info_verb(struct host *h, const json_t *req);
json_t *server_verb(struct host *h, const json_t *req);
json_t *tx_verb(struct host *h, const json_t *req);
json_t *spoil_verb(struct host *h, const json_t *req);
json_t *clog_file_verb(struct host *h, const json_t *req);
json_t *storm_verb(struct host *h, const json_t *req);
void storm_stop(struct host *h);

#endif
