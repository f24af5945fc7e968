#include "base/clock.h"
#include "cli/cli.h"

#include <string.h>

static const char *time_or_dash(int64_t us, char t[OBV_TIME_TEXT_LEN]) { return us ? obv_time_text(us, t) : "-"; }

static void put_known(obv_json *w, const char *key, int64_t n)
{
    if (n >= 0)
        obv_json_i64(w, key, n);
    else
        obv_json_null(w, key);
}

/* ---- window */

static void put_holes(obv_json *w, const Obvault__V1__WindowResponse *r, uint64_t tenant)
{
    obv_json_array(w, "holes");
    for (size_t i = 0; i < r->n_holes; i++) {
        const Obvault__V1__WindowHole *h = r->holes[i];
        if (h->tenant_id != tenant)
            continue;
        obv_json_object(w, NULL);
        obv_cli_put_time(w, "from", h->from);
        obv_cli_put_time(w, "to", h->to);
        obv_json_i64(w, "from_us", h->from);
        if (h->to)
            obv_json_i64(w, "to_us", h->to);
        else
            obv_json_null(w, "to_us");
        obv_json_i64(w, "round", h->round);
        obv_json_bool(w, "interrupted", h->interrupted);
        obv_json_str(w, "why", h->why);
        obv_json_str(w, "next", h->next[0] ? h->next : NULL);
        obv_json_end(w);
    }
    obv_json_end(w);
}

void obv_json_window(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__WindowResponse *r = (const Obvault__V1__WindowResponse *)m;
    obv_json_array(w, "tenants");
    for (size_t i = 0; i < r->n_windows; i++) {
        const Obvault__V1__TenantWindow *t = r->windows[i];
        if (i == 0 || r->windows[i - 1]->tenant_id != t->tenant_id) {
            obv_json_object(w, NULL);
            obv_json_u64(w, "tenant_id", t->tenant_id);
            obv_json_str(w, "tenant_name", t->tenant);
            obv_json_array(w, "windows");
        }
        obv_json_object(w, NULL);
        obv_json_i64(w, "set_id", t->set_id);
        obv_json_i64(w, "round", t->round);
        obv_json_i64(w, "first_piece", t->first_piece);
        obv_json_i64(w, "last_piece", t->last_piece);
        obv_cli_put_time(w, "from", t->from);
        obv_cli_put_time(w, "to", t->to);
        obv_json_i64(w, "from_us", t->from);
        obv_json_i64(w, "to_us", t->to);
        obv_json_end(w);
        if (i + 1 == r->n_windows || r->windows[i + 1]->tenant_id != t->tenant_id) {
            obv_json_end(w);
            put_holes(w, r, t->tenant_id);
            obv_json_end(w);
        }
    }
    obv_json_end(w);
    obv_json_array(w, "without");
    for (size_t i = 0; i < r->n_without; i++)
        obv_json_str(w, NULL, r->without[i]);
    obv_json_end(w);
}

void obv_text_window(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__WindowResponse *r = (const Obvault__V1__WindowResponse *)m;
    char a[OBV_TIME_TEXT_LEN], b[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, "%-20s %-5s %-6s %-34s %s\n", "TENANT", "SET", "ROUND", "FROM", "TO");
    for (size_t i = 0; i < r->n_windows; i++) {
        const Obvault__V1__TenantWindow *t = r->windows[i];
        (void)fprintf(out, "%-20s %-5lld %-6lld %-34s %s\n", t->tenant, (long long)t->set_id, (long long)t->round,
                      time_or_dash(t->from, a), time_or_dash(t->to, b));
    }
    for (size_t i = 0; i < r->n_holes; i++) {
        const Obvault__V1__WindowHole *h = r->holes[i];
        (void)fprintf(out, "%s %s: nothing from %s to %s: %s\n", h->to ? "hole" : "HOLE", h->tenant,
                      time_or_dash(h->from, a), h->to ? time_or_dash(h->to, b) : "now, and it is not over", h->why);
        if (h->next[0])
            (void)fprintf(out, "  %s\n", h->next);
    }
    for (size_t i = 0; i < r->n_without; i++)
        (void)fprintf(out, "%s: nothing can be restored (yet)\n", r->without[i]);
}

obv_code obv_cli_window_result(const ProtobufCMessage *m, obv_err *err)
{
    const Obvault__V1__WindowResponse *r = (const Obvault__V1__WindowResponse *)m;
    if (r->n_windows)
        return OBV_OK;
    (void)obv_fail(err, OBV_E_NOT_RESTORABLE, 0, "nothing can be restored (yet)");
    return obv_hint(err, "a time needs a good set (`obvault backup list`) and log that is archived past it"
                         " (`obvault archive status`)");
}

/* ---- restore plan */

static void put_source(obv_json *w, const Obvault__V1__PlanSource *s, bool piece)
{
    obv_json_object(w, NULL);
    if (piece) {
        obv_json_i64(w, "round", s->round);
        obv_json_i64(w, "piece", s->piece);
        obv_json_bool(w, "frozen", s->frozen);
        obv_cli_put_time(w, "start", s->from);
        obv_cli_put_time(w, "checkpoint", s->to);
    } else {
        obv_json_i64(w, "set_id", s->set_id);
        obv_cli_put_time(w, "snapshot", s->from);
    }
    obv_json_str(w, "path", s->path);
    put_known(w, "bytes", s->bytes);
    put_known(w, "objects", s->objects);
    obv_json_end(w);
}

static void put_check(obv_json *w, const Obvault__V1__PlanCheck *c)
{
    if (!c) {
        obv_json_null(w, "check");
        return;
    }
    obv_json_object(w, "check");
    obv_json_str(w, "job_id", c->job_id);
    obv_json_bool(w, "deep", c->deep);
    obv_json_str(w, "state", c->status);
    obv_json_i64(w, "objects", c->objects);
    obv_json_i64(w, "checked", c->checked);
    obv_json_i64(w, "wrong", c->wrong);
    obv_json_str(w, "first", c->error && c->error->code ? c->error->message : NULL);
    obv_json_end(w);
}

void obv_json_plan(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__RestorePlanResponse *r = (const Obvault__V1__RestorePlanResponse *)m;
    obv_json_object(w, "plan");
    obv_json_u64(w, "tenant_id", r->tenant_id);
    obv_json_str(w, "tenant_name", r->tenant);
    obv_cli_put_time(w, "at", r->at);
    obv_json_i64(w, "at_us", r->at);
    obv_json_array(w, "sets");
    for (size_t i = 0; i < r->n_sets; i++)
        put_source(w, r->sets[i], false);
    obv_json_end(w);
    obv_json_array(w, "pieces");
    for (size_t i = 0; i < r->n_pieces; i++)
        put_source(w, r->pieces[i], true);
    obv_json_end(w);
    obv_json_i64(w, "pgs", r->pgs);
    obv_json_i64(w, "blocks", r->blocks);
    obv_json_array(w, "steps");
    for (size_t i = 0; i < r->n_steps; i++) {
        obv_json_object(w, NULL);
        obv_json_str(w, "what", r->steps[i]->what);
        put_known(w, "seconds", r->steps[i]->seconds);
        obv_json_end(w);
    }
    obv_json_end(w);
    put_known(w, "estimate_s", r->estimate_s);
    obv_json_str(w, "estimate_from", r->estimate_from);
    put_check(w, r->check);
    obv_json_end(w);
}

static void text_source(FILE *out, const char *what, int64_t number, const Obvault__V1__PlanSource *s)
{
    char bytes[24];
    (void)fprintf(out, "  %s %lld  %s", what, (long long)number, s->path);
    if (s->bytes >= 0)
        (void)fprintf(out, "  %s in %lld objects", obv_cli_bytes((uint64_t)s->bytes, bytes), (long long)s->objects);
    (void)fprintf(out, "%s\n", s->round && s->piece && !s->frozen ? "  (still growing)" : "");
}

void obv_text_plan(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__RestorePlanResponse *r = (const Obvault__V1__RestorePlanResponse *)m;
    char a[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, "%s to %s: %lld PGs, %lld macroblocks\n", r->tenant, time_or_dash(r->at, a), (long long)r->pgs,
                  (long long)r->blocks);
    for (size_t i = 0; i < r->n_sets; i++)
        text_source(out, "set  ", r->sets[i]->set_id, r->sets[i]);
    for (size_t i = 0; i < r->n_pieces; i++)
        text_source(out, r->pieces[i]->piece ? "piece" : "round",
                    r->pieces[i]->piece ? r->pieces[i]->piece : r->pieces[i]->round, r->pieces[i]);
    for (size_t i = 0; i < r->n_steps; i++) {
        (void)fprintf(out, "  %zu. %s", i + 1, r->steps[i]->what);
        if (r->steps[i]->seconds > 0)
            (void)fprintf(out, ": about %lld s", (long long)r->steps[i]->seconds);
        (void)fputs(r->steps[i]->seconds < 0 ? ": how long is not known\n" : "\n", out);
    }
    if (r->estimate_s >= 0)
        (void)fprintf(out, "about %lld s in all, by %s\n", (long long)r->estimate_s, r->estimate_from);
    else
        (void)fprintf(out, "duration unknown: %s\n", r->estimate_from);
    if (r->check)
        (void)fprintf(out, "%s: %lld of %lld objects looked at, %s, %lld wrong\n", r->check->job_id,
                      (long long)r->check->checked, (long long)r->check->objects,
                      r->check->deep ? "digests compared" : "presence and size", (long long)r->check->wrong);
}
