/* native_store.h - an open store as the ground of the native source */
#ifndef OBV_AGENT_JOB_NATIVE_STORE_H
#define OBV_AGENT_JOB_NATIVE_STORE_H

#include "host/store.h"
#include "source/native.h"

typedef struct obv_native_store {
    obv_store *store;
    const obv_cancel *cancel;
    obv_native_io io; /* valid while this struct stays where it is */
} obv_native_store;

void obv_native_store_init(obv_native_store *n, obv_store *store, const obv_cancel *cancel);

#endif
