#include "base/clock.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define CALL_MS 60000u
#define READY_NS (20 * OBV_NS_PER_S) /* longer than agents need to call a coordinator that has just started */
#define AWAY_NS (120 * OBV_NS_PER_S) /* a coordinator that restarts */

uint32_t obv_cli_left_ms(const obv_cli *c, uint32_t most)
{
    if (c->timeout_us == 0)
        return most;
    const int64_t left = c->timeout_us / 1000 - (obv_mono_ns() - c->began_ns) / OBV_NS_PER_MS;
    if (left <= 0)
        return 0;
    return left < (int64_t)most ? (uint32_t)left : most;
}

static obv_code out_of_time(const obv_cli *c, const char *what, obv_err *err)
{
    return obv_fail(err, OBV_E_TIMEOUT, 0, "%s did not end within the time-out of %lld s", what,
                    (long long)(c->timeout_us / OBV_US_PER_S));
}

obv_code obv_cli_call(obv_cli *c, const char *method, const ProtobufCMessage *req, ProtobufCMessage **resp,
                      obv_err *err)
{
    const int64_t began = obv_mono_ns();
    for (;;) {
        const uint32_t ms = obv_cli_left_ms(c, CALL_MS);
        if (ms == 0)
            return out_of_time(c, method, err);
        const obv_code code =
            obv_message_call(c->ch, &obvault__v1__operator_service__descriptor, method, req, ms, resp, err);
        if (code != OBV_E_NOT_READY || obv_mono_ns() - began > READY_NS)
            return code;
        (void)!obv_cancel_sleep(NULL, 250, NULL);
    }
}

static void show(obv_cli *c, obv_cli_meter *m, const Obvault__V1__Job *j, bool lines_to_out)
{
    obv_cli_meter_see(m, j);
    if (c->note_is_terminal && !c->json) {
        char bar[160];
        obv_cli_meter_bar(m, j, bar, sizeof bar);
        (void)fprintf(c->note, "\r\033[K%s", bar);
        (void)fflush(c->note);
        return;
    }
    obv_buf b = obv_buf_heap(1u << 16);
    obv_json w = obv_json_to(&b);
    obv_json_object(&w, NULL);
    obv_json_i64(&w, "version", OBV_CLI_SCHEMA);
    obv_cli_put_job(&w, j);
    obv_json_u64(&w, "bytes_per_s", m->rate);
    const int64_t eta = obv_cli_meter_eta_s(m, j);
    if (eta >= 0)
        obv_json_i64(&w, "eta_s", eta);
    else
        obv_json_null(&w, "eta_s");
    obv_json_end(&w);
    obv_json_line(&w);
    FILE *to = lines_to_out ? c->out : c->note;
    (void)fwrite(b.data, 1, b.len, to);
    (void)fflush(to);
    obv_buf_fini(&b);
}

/* Reads the stream until the job has ended, or enough of it. OBV_E_NOT_FOUND: the stream ended before. */
static obv_code read_stream(obv_cli *c, obv_rpc_call *call, obv_cli_enough *enough, bool lines_to_out, obv_cli_meter *m,
                            Obvault__V1__Job **last, obv_err *err)
{
    for (;;) {
        OBV_AUTO(obv_buf_fini) obv_buf b = obv_buf_heap(OBV_RPC_MESSAGE_MAX);
        ProtobufCMessage *j = NULL;
        OBV_TRY(obv_rpc_recv(call, &b, err));
        OBV_TRY(obv_message_unpack(&obvault__v1__job__descriptor, obv_buf_span(&b), &j, err));
        if (*last)
            obvault__v1__job__free_unpacked(*last, NULL);
        *last = (Obvault__V1__Job *)j;
        show(c, m, *last, lines_to_out);
        if (strcmp((*last)->status, "RUNNING") != 0 || (enough && enough(*last)))
            return OBV_OK;
    }
}

obv_code obv_cli_follow(obv_cli *c, const char *job_id, obv_cli_enough *enough, bool lines_to_out,
                        Obvault__V1__Job **last, obv_err *err)
{
    Obvault__V1__JobRequest q = OBVAULT__V1__JOB_REQUEST__INIT;
    obv_cli_meter m = {0};
    char path[96], id[64];
    int64_t away_since = 0;
    obv_code code;
    (void)snprintf(id, sizeof id, "%s", job_id);
    q.id = id;
    *last = NULL;
    OBV_AUTO(obv_buf_fini) obv_buf req = obv_buf_heap(1024);
    OBV_TRY(obv_message_pack(&q.base, &req, err));
    OBV_TRY(obv_message_path_of(&obvault__v1__operator_service__descriptor, "JobWatch", path, sizeof path, err));
    for (;;) {
        const uint32_t ms = obv_cli_left_ms(c, UINT32_MAX);
        if (ms == 0) {
            code = out_of_time(c, job_id, err);
            break;
        }
        obv_rpc_call *call = NULL;
        code = obv_rpc_stream(c->ch, path, obv_buf_span(&req), ms == UINT32_MAX ? 0 : ms, &call, err);
        if (code == OBV_OK)
            code = read_stream(c, call, enough, lines_to_out, &m, last, err);
        obv_rpc_call_end(call);
        if (code == OBV_E_TIMEOUT && c->timeout_us) {
            code = out_of_time(c, job_id, err);
            break;
        }
        if (code == OBV_OK ||
            !(code == OBV_E_UNAVAILABLE || code == OBV_E_CANCELLED || code == OBV_E_NOT_FOUND || code == OBV_E_LIMIT))
            break;
        if (code == OBV_E_NOT_FOUND && !*last)
            break; /* there is no such job */
        const int64_t now = obv_mono_ns();
        away_since = away_since ? away_since : now;
        if (now - away_since > AWAY_NS)
            break;
        (void)!obv_cancel_sleep(NULL, 500, NULL);
    }
    if (c->note_is_terminal && !c->json && m.begun)
        (void)fputc('\n', c->note);
    if (code != OBV_OK && *last) {
        obvault__v1__job__free_unpacked(*last, NULL);
        *last = NULL;
    }
    return code;
}

obv_code obv_cli_job_result(const Obvault__V1__Job *j, obv_err *err)
{
    if (strcmp(j->status, "FAILED") != 0 && !(j->error && j->error->code))
        return OBV_OK;
    if (strcmp(j->status, "FAILED") != 0 && strcmp(j->phase, "INTERRUPTED") != 0)
        return OBV_OK;
    const obv_code code = j->error && j->error->code ? (obv_code)j->error->code : OBV_E_INTERNAL;
    (void)obv_fail(err, code, j->error ? j->error->sys : 0, "%s failed in %s: %s", j->id, j->phase,
                   j->error ? j->error->message : "");
    if (j->error && j->error->hint[0])
        (void)obv_hint(err, "%s", j->error->hint);
    return code;
}
