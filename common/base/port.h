/* port.h - does somebody listen there? */
#ifndef OBV_BASE_PORT_H
#define OBV_BASE_PORT_H

#include "base/err.h"

/** Connects over TCP and closes. OBV_OK, OBV_E_UNAVAILABLE, OBV_E_TIMEOUT; OBV_E_CONFIG: no such host. */
OBV_CHECK obv_code obv_port_try(const char *host, uint32_t port, uint32_t timeout_ms, obv_err *err);

#endif
