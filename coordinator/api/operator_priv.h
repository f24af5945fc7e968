/* operator_priv.h - shared by the files of the operator service */
#ifndef OBV_COORDINATOR_OPERATOR_PRIV_H
#define OBV_COORDINATOR_OPERATOR_PRIV_H

#include "api/api.h"
#include "obvault/v1/operator.pb-c.h"

/* Memory of one reply, freed together. */
typedef struct op_memory {
    void **v;
    size_t n, cap;
} op_memory;
void op_memory_fini(op_memory *m);
/** Zeroed; NULL (and err) when out of memory. */
void *op_get(op_memory *m, size_t size, obv_err *err);
char *op_text(op_memory *m, const char *s, obv_err *err);
/** Appends @p item to a protobuf list. */
obv_code op_push(op_memory *m, void *list_field, size_t *n, void *item, obv_err *err);
#define OP_GET(m, type, init)                                                                                          \
    ({                                                                                                                 \
        type *get_ = op_get((m), sizeof *get_, err);                                                                   \
        const type init_ = init;                                                                                       \
        if (get_)                                                                                                      \
            *get_ = init_;                                                                                             \
        get_;                                                                                                          \
    })

Obvault__V1__Error *op_error(op_memory *m, const obv_err *e, obv_err *err);
/** A job with its progress. NULL (and err) on failure. */
Obvault__V1__Job *op_job(obv_job_ctx *x, op_memory *m, const obv_job *j, obv_err *err);

/* Each method: unpacked request in, reply packed into resp. */
typedef obv_code op_method(obv_api *api, const ProtobufCMessage *req, obv_buf *resp, obv_err *err);
op_method op_archive_status, op_backup_list, op_backup_show, op_window, op_restore_plan, op_restore_check,
    op_restore_status, op_agent_list, op_doctor;

#endif
