/* tls.h - PEM files and who a certificate speaks for */
#ifndef OBV_TLS_H
#define OBV_TLS_H

#include "base/finding.h"
#include "proto/rpc.h"

typedef struct obv_pem {
    char *ca, *cert, *key; /* text of the three files */
} obv_pem;

/** OBV_OK or OBV_E_CONFIG naming the file. Free with obv_pem_fini in both cases. */
OBV_CHECK obv_code obv_pem_read(const obv_rpc_tls *tls, obv_pem *out, obv_err *err);
void obv_pem_fini(obv_pem *p);
/** The peer that the first certificate of @p pem names. */
obv_rpc_peer obv_pem_peer(const char *pem);
/** Until when the first certificate of a PEM file holds, us since 1970. OBV_E_CONFIG. */
OBV_CHECK obv_code obv_pem_expiry(const char *path, int64_t *until_us, obv_err *err);
/** A finding about it: too late, soon (30 days), or fine. */
void obv_pem_judge(obv_findings *l, const char *check, const char *where, int64_t until_us, int64_t now_us);

#endif
