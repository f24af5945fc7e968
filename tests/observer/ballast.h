/* ballast.h - a steady stream of log bytes that no memtable sees: for rates at which real rows would cost too much */
#ifndef OBS_BALLAST_H
#define OBS_BALLAST_H

#include "cluster.h"

/** Storage log type that every reader skips. */
#define ST_BALLAST 14999

struct ballast {
    struct host *h;
    _Atomic bool stop;
    const uint32_t *pg; /* over these PGs, one after the other */
    uint32_t n;
    int64_t rate; /* bytes a second */
    uint32_t log_bytes;
    _Atomic int64_t bytes, logs, behind_us;
    pthread_t thread;
};
void *ballast_main(void *ballast);

#endif
