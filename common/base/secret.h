/* secret.h - a password or key: a type of its own, so that it is not printed by mistake, wiped when freed */
#ifndef OBV_BASE_SECRET_H
#define OBV_BASE_SECRET_H

#include "base/err.h"

typedef struct obv_secret obv_secret;

#define OBV_SECRET_MAX 4096u /* bytes */

/**
 * First line of a file (or systemd credential), without its line end. The file must not be readable for others.
 * @return OBV_OK; OBV_E_NOT_FOUND; OBV_E_CONFIG: empty, too long, zero bytes, open to others; OBV_E_DENIED; OBV_E_IO
 */
OBV_CHECK obv_code obv_secret_load(const char *path, obv_secret **out, obv_err *err);
/** Copies; the caller wipes its own. NULL when out of memory. */
obv_secret *obv_secret_new(const char *text);
/** Wipes and frees. */
void obv_secret_free(obv_secret *s);
static inline void obv_secret_freep(obv_secret **s) { obv_secret_free(*s); }
/** The text itself, for the one call that needs it; "" for NULL. Never log or copy it. */
const char *obv_secret_reveal(const obv_secret *s);
/** "***", or "" for NULL or an empty one: what logs and --print-config show. */
const char *obv_secret_mask(const obv_secret *s);

#endif
