/* rpc.h - the storage RPC server of one host, and the faults tests can order */
#ifndef OBS_RPC_H
#define OBS_RPC_H

#include "replica.h"

int rpc_start(struct host *h); /* 0 or an errno value */
void rpc_stop(struct host *h);

/** kinds: "code" (answer that number), "cut" (drop the connection in the answer), "break" (error in mid-stream), "flip"
 * (one byte of a block), "stall" (no answer for arg us), "unsum" (wrong packet checksum). pg NULL = any. */
int fault_add(struct host *h, const char *kind, uint32_t pcode, const struct pkey *pg, int64_t arg, int count);

#endif
