/* Messages of a peer. Input: one byte (which message), then its bytes; 255: an error value that travels beside a
 * status. A task that the agent takes must hold what its bounds promise. */
#include "obvault/v1/agent.pb-c.h"
#include "obvault/v1/operator.pb-c.h"
#include "proto/message.h"
#include "proto/wire_error.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const MESSAGES[] = {
    &obvault__v1__task__descriptor,
    &obvault__v1__sync_request__descriptor,
    &obvault__v1__sync_response__descriptor,
    &obvault__v1__archive_page__descriptor,
    &obvault__v1__start_request__descriptor,
    &obvault__v1__restore_start_request__descriptor,
    &obvault__v1__job_request__descriptor,
    &obvault__v1__job_list_request__descriptor,
    &obvault__v1__backup_show_request__descriptor,
    &obvault__v1__window_request__descriptor,
    &obvault__v1__doctor_request__descriptor,
    &obvault__v1__version_request__descriptor,
    &obvault__v1__backup_set_detail__descriptor,
    &obvault__v1__job_detail__descriptor,
};

static void try_error(obv_span in)
{
    obv_err err = {0}, again = {0};
    const obv_code code = obv_wire_error_parse(in, OBV_E_INTERNAL, &err);
    uint8_t out[OBV_WIRE_ERROR_MAX];
    const size_t len = obv_wire_error_emit(code, &err, out);
    obv_assert(len <= sizeof out);
    obv_assert(obv_wire_error_parse((obv_span){out, len}, OBV_E_INTERNAL, &again) == code);
    obv_assert(strcmp(err.hint, again.hint) == 0);
}

static void try_task(const Obvault__V1__Task *in)
{
    obv_task *t = NULL;
    if (obv_wire_task(in, &t, NULL) != OBV_OK)
        return;
    obv_assert(t->pg_count <= OBV_BATCH_PGS_MAX && strlen(t->set.cluster_name) < sizeof t->set.cluster_name);
    for (size_t i = 0; i < t->pg_count; i++)
        obv_assert(t->pgs[i].part_id >= 0 && t->pgs[i].assist >= 0);
    obv_task_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const obv_span in = {data + 1, size - 1};
    if (data[0] == 255) {
        try_error(in);
        return 0;
    }
    const ProtobufCMessageDescriptor *d = MESSAGES[data[0] % (sizeof MESSAGES / sizeof *MESSAGES)];
    ProtobufCMessage *m = NULL;
    if (obv_message_unpack(d, in, &m, NULL) != OBV_OK)
        return 0;
    if (d == &obvault__v1__task__descriptor)
        try_task((const Obvault__V1__Task *)m);
    protobuf_c_message_free_unpacked(m, NULL);
    return 0;
}
