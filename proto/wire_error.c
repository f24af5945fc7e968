#include "proto/wire_error.h"

#include <string.h>

obv_code obv_wire_code(int status)
{
    /* the protocol's numbers, 0 to 16 */
    static const obv_code CODES[] = {
        OBV_OK,         OBV_E_CANCELLED, OBV_E_INTERNAL,    OBV_E_INVAL,    OBV_E_TIMEOUT,
        OBV_E_INTERNAL, OBV_E_INTERNAL,  OBV_E_DENIED,      OBV_E_LIMIT,    OBV_E_INTERNAL,
        OBV_E_INTERNAL, OBV_E_INTERNAL,  OBV_E_UNSUPPORTED, OBV_E_INTERNAL, OBV_E_UNAVAILABLE,
        OBV_E_INTERNAL, OBV_E_AUTH,
    };
    return status >= 0 && (size_t)status < sizeof CODES / sizeof *CODES ? CODES[status] : OBV_E_INTERNAL;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

size_t obv_wire_error_emit(obv_code code, const obv_err *e, uint8_t *out)
{
    const size_t hint = strnlen(e->hint, sizeof e->hint);
    put32(out, (uint32_t)code);
    put32(out + 4, (uint32_t)e->sys);
    memcpy(out + 8, e->hint, hint);
    return 8 + hint;
}

obv_code obv_wire_error_parse(obv_span in, obv_code fallback, obv_err *err)
{
    if (in.len < 8)
        return fallback;
    obv_code code = obv_code_describe((obv_code)get32(in.p))->code; /* an unknown number of a newer peer: internal */
    if (code == OBV_OK)
        code = OBV_E_INTERNAL;
    if (err) {
        err->code = code;
        err->sys = (int32_t)get32(in.p + 4);
        const size_t n = in.len - 8 < sizeof err->hint - 1 ? in.len - 8 : sizeof err->hint - 1;
        memcpy(err->hint, in.p + 8, n);
        err->hint[n] = 0;
    }
    return code;
}
