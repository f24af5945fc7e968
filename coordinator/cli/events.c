#include "base/cancel.h"
#include "base/clock.h"
#include "cli/cli.h"

#define POLL_MS 1000u
#define FOLLOW_LIMIT 1000u

static void put_event(obv_json *w, const Obvault__V1__Event *e)
{
    obv_json_i64(w, "id", e->id);
    obv_cli_put_time(w, "at", e->at);
    obv_json_str(w, "kind", e->kind);
    obv_json_str(w, "level", e->level);
    obv_json_str(w, "job_id", e->job_id[0] ? e->job_id : NULL);
    if (e->tenant_id)
        obv_json_u64(w, "tenant_id", e->tenant_id);
    else
        obv_json_null(w, "tenant_id");
    obv_json_str(w, "text", e->text);
}

static void json_events(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__EventsResponse *r = (const Obvault__V1__EventsResponse *)m;
    obv_json_array(w, "events");
    for (size_t i = 0; i < r->n_events; i++) {
        obv_json_object(w, NULL);
        put_event(w, r->events[i]);
        obv_json_end(w);
    }
    obv_json_end(w);
}

static void json_one(obv_json *w, const ProtobufCMessage *m)
{
    obv_json_object(w, "event");
    put_event(w, (const Obvault__V1__Event *)m);
    obv_json_end(w);
}

static void text_one(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__Event *e = (const Obvault__V1__Event *)m;
    char t[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, "%s  %-8s %-8s %-14s %s\n", obv_time_text(e->at, t), e->kind, e->level,
                  e->job_id[0] ? e->job_id : "-", e->text);
}

static void text_events(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__EventsResponse *r = (const Obvault__V1__EventsResponse *)m;
    for (size_t i = 0; i < r->n_events; i++)
        text_one(out, &r->events[i]->base);
}

/* With --follow each event is a line, or a document, of its own; a coordinator that is away for a moment is waited for.
 */
obv_code obv_cli_events(obv_cli *c, obv_err *err)
{
    Obvault__V1__EventsRequest q = OBVAULT__V1__EVENTS_REQUEST__INIT;
    q.since = c->since_us;
    q.limit = c->limit;
    for (;;) {
        OBV_AUTO(obv_message_drop) ProtobufCMessage *m = NULL;
        const obv_code code = obv_cli_call(c, "Events", &q.base, &m, err);
        if (code != OBV_OK && !(c->follow && q.after > 0 && OBV_IS_RETRYABLE(code)))
            return code;
        const Obvault__V1__EventsResponse *r = (const Obvault__V1__EventsResponse *)m;
        if (!c->follow)
            return obv_cli_print(c, m, text_events, json_events, err);
        for (size_t i = 0; r && i < r->n_events; i++)
            OBV_TRY(obv_cli_print(c, &r->events[i]->base, text_one, json_one, err));
        if (r) {
            /* a full answer may not be the end; before the first event there is nothing to go on from but id 1 */
            q.after = r->n_events > 0 ? r->events[r->n_events - 1]->id : q.after > 0 ? q.after : r->last;
            q.limit = FOLLOW_LIMIT;
        }
        if (obv_cli_left_ms(c, POLL_MS) < POLL_MS)
            return OBV_OK; /* as long as was asked for */
        OBV_TRY(obv_cancel_sleep(NULL, POLL_MS, err));
    }
}
