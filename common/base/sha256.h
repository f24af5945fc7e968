/* sha256.h - SHA-256 at once or in pieces, and bytes as hex digits */
#ifndef OBV_BASE_SHA256_H
#define OBV_BASE_SHA256_H

#include "base/err.h"
#include "base/span.h"

#define OBV_SHA256_LEN 32u
#define OBV_SHA256_HEX_LEN 65u /* with the terminating zero */

/** @param out OBV_SHA256_LEN bytes @return OBV_OK; OBV_E_NOMEM */
OBV_CHECK obv_code obv_sha256_of(obv_span bytes, uint8_t *out, obv_err *err);

typedef struct obv_sha256 obv_sha256; /* one thread at a time */

/** NULL when out of memory; update and final take that NULL and final reports it. */
obv_sha256 *obv_sha256_new(void);
void obv_sha256_free(obv_sha256 *h);
void obv_sha256_update(obv_sha256 *h, obv_span bytes);
/** Digest of all updates since new or the last final; the object can be used anew. */
OBV_CHECK obv_code obv_sha256_final(obv_sha256 *h, uint8_t *out, obv_err *err);

/** Lower-case digits and a zero into out of 2 * len + 1 bytes. @return out */
const char *obv_hex(obv_span bytes, char *out);
/** Exactly 2 * len lower- or upper-case digits. @return false otherwise (out may be partly written) */
bool obv_unhex(const char *text, uint8_t *out, size_t len);

static inline void obv_sha256_freep(obv_sha256 **h) { obv_sha256_free(*h); }

#endif
