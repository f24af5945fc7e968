/* message.h - protobuf messages over rpc.h; method paths come from the .proto, not from string literals */
#ifndef OBV_MESSAGE_H
#define OBV_MESSAGE_H

#include "proto/rpc.h"

#include <protobuf-c/protobuf-c.h>

/** Appends the message's bytes. OBV_E_LIMIT if @p out cannot hold them. */
OBV_CHECK obv_code obv_message_pack(const ProtobufCMessage *m, obv_buf *out, obv_err *err);
/** Bytes of a peer to a message, freed with protobuf_c_message_free_unpacked. OBV_E_INVAL if they are none. */
OBV_CHECK obv_code obv_message_unpack(const ProtobufCMessageDescriptor *d, obv_span in, ProtobufCMessage **out,
                                      obv_err *err);
/** "/package.Service/Method" of method @p index of a service. */
void obv_message_path(const ProtobufCServiceDescriptor *service, unsigned index, char *out, size_t cap);
/** As obv_message_path by the method's name; OBV_E_INTERNAL if there is none. */
OBV_CHECK obv_code obv_message_path_of(const ProtobufCServiceDescriptor *service, const char *method, char *out,
                                       size_t cap, obv_err *err);
/** Calls @p method with @p req; the reply must be freed by the caller. */
OBV_CHECK obv_code obv_message_call(obv_rpc_channel *c, const ProtobufCServiceDescriptor *service, const char *method,
                                    const ProtobufCMessage *req, uint32_t timeout_ms, ProtobufCMessage **resp,
                                    obv_err *err);
void obv_message_drop(ProtobufCMessage **m); /* for OBV_AUTO */

#endif
