/* wire_error.h - error values as they travel beside a call's status: i32 LE code, i32 LE cause, hint; the text goes as
 * the status's own */
#ifndef OBV_WIRE_ERROR_H
#define OBV_WIRE_ERROR_H

#include "base/err.h"
#include "base/span.h"

#define OBV_WIRE_ERROR_MAX (8u + sizeof(((obv_err *)0)->hint))

/** Code of an RPC status number, for a peer that says no more. */
obv_code obv_wire_code(int status);
/** @param out OBV_WIRE_ERROR_MAX bytes @return bytes written */
size_t obv_wire_error_emit(obv_code code, const obv_err *e, uint8_t *out);
/** Puts code, cause and hint into *err (may be NULL), whose text stays. @return the code; @p fallback if @p in is none.
 */
obv_code obv_wire_error_parse(obv_span in, obv_code fallback, obv_err *err);

#endif
