#include "proto/message.h"

#include <stdio.h>

obv_code obv_message_pack(const ProtobufCMessage *m, obv_buf *out, obv_err *err)
{
    const size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *at = n ? obv_buf_reserve(out, n) : NULL;
    if (at)
        (void)protobuf_c_message_pack(m, at);
    return obv_buf_check(out, m->descriptor->name, err);
}

obv_code obv_message_unpack(const ProtobufCMessageDescriptor *d, obv_span in, ProtobufCMessage **out, obv_err *err)
{
    if (in.len > OBV_RPC_MESSAGE_MAX)
        return obv_fail(err, OBV_E_LIMIT, 0, "%s: %zu bytes", d->name, in.len);
    static const uint8_t NOTHING[1];
    *out = protobuf_c_message_unpack(d, NULL, in.len, in.p ? in.p : NOTHING);
    return *out ? OBV_OK : obv_fail(err, OBV_E_INVAL, 0, "%s: these bytes are no such message", d->name);
}

void obv_message_path(const ProtobufCServiceDescriptor *service, unsigned index, char *out, size_t cap)
{
    (void)snprintf(out, cap, "/%s/%s", service->name, service->methods[index].name);
}

obv_code obv_message_path_of(const ProtobufCServiceDescriptor *service, const char *method, char *out, size_t cap,
                             obv_err *err)
{
    for (unsigned i = 0; i < service->n_methods; i++)
        if (strcmp(service->methods[i].name, method) == 0) {
            obv_message_path(service, i, out, cap);
            return OBV_OK;
        }
    return obv_fail(err, OBV_E_INTERNAL, 0, "service %s has no method %s", service->name, method);
}

obv_code obv_message_call(obv_rpc_channel *c, const ProtobufCServiceDescriptor *service, const char *method,
                          const ProtobufCMessage *req, uint32_t timeout_ms, ProtobufCMessage **resp, obv_err *err)
{
    const ProtobufCMethodDescriptor *m = protobuf_c_service_descriptor_get_method_by_name(service, method);
    char path[160];
    OBV_TRY(obv_message_path_of(service, method, path, sizeof path, err));
    OBV_AUTO(obv_buf_fini) obv_buf out = obv_buf_heap(OBV_RPC_MESSAGE_MAX);
    OBV_AUTO(obv_buf_fini) obv_buf in = obv_buf_heap(OBV_RPC_MESSAGE_MAX);
    OBV_TRY(obv_message_pack(req, &out, err));
    OBV_TRY(obv_rpc_unary(c, path, obv_buf_span(&out), timeout_ms, &in, err));
    return obv_message_unpack(m->output, obv_buf_span(&in), resp, err);
}

void obv_message_drop(ProtobufCMessage **m)
{
    protobuf_c_message_free_unpacked(*m, NULL);
    *m = NULL;
}
