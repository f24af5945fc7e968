#include "base/clock.h"
#include "cli/cli.h"

#include <string.h>

#define OUT_MAX (64u << 20)

void obv_cli_put_time(obv_json *w, const char *key, int64_t us)
{
    char t[OBV_TIME_TEXT_LEN];
    obv_json_str(w, key, us ? obv_time_text(us, t) : NULL);
}

static const char *time_or_dash(int64_t us, char t[OBV_TIME_TEXT_LEN]) { return us ? obv_time_text(us, t) : "-"; }

void obv_cli_put_error(obv_json *w, const char *key, const obv_err *e)
{
    const obv_code_info *i = obv_code_describe(e->code);
    obv_json_object(w, key);
    obv_json_str(w, "code", i->name);
    obv_json_i64(w, "number", e->code);
    obv_json_i64(w, "sys", e->sys);
    obv_json_str(w, "message", e->msg);
    obv_json_str(w, "hint", e->hint[0] ? e->hint : i->default_hint);
    obv_json_i64(w, "exit_code", i->exit_code);
    obv_json_end(w);
}

static void put_wire_error(obv_json *w, const char *key, const Obvault__V1__Error *in)
{
    if (!in || in->code == 0) {
        obv_json_null(w, key);
        return;
    }
    obv_err e = {.code = (obv_code)in->code, .sys = in->sys};
    (void)snprintf(e.msg, sizeof e.msg, "%s", in->message);
    (void)snprintf(e.hint, sizeof e.hint, "%s", in->hint);
    obv_cli_put_error(w, key, &e);
}

obv_code obv_cli_print(obv_cli *c, const ProtobufCMessage *m, obv_cli_text_fn *text, obv_cli_json_fn *json,
                       obv_err *err)
{
    if (c->json) {
        OBV_AUTO(obv_buf_fini) obv_buf b = obv_buf_heap(OUT_MAX);
        obv_json w = obv_json_to(&b);
        obv_json_object(&w, NULL);
        obv_json_i64(&w, "version", OBV_CLI_SCHEMA);
        json(&w, m);
        obv_json_end(&w);
        obv_json_line(&w);
        OBV_TRY(obv_buf_check(&b, "output", err));
        (void)fwrite(b.data, 1, b.len, c->out);
    } else {
        text(c->out, m);
    }
    return fflush(c->out) == 0 && !ferror(c->out) ? OBV_OK : obv_fail(err, OBV_E_IO, 0, "the output cannot be written");
}

void obv_cli_print_error(const obv_cli *c, const obv_err *e)
{
    if (!c->json) {
        const char *hint = e->hint[0] ? e->hint : obv_code_describe(e->code)->default_hint;
        (void)fprintf(c->note, "obvault: %s\n", e->msg);
        if (hint[0])
            (void)fprintf(c->note, "  %s\n", hint);
        return;
    }
    obv_buf b = obv_buf_heap(1u << 16);
    obv_json w = obv_json_to(&b);
    obv_json_object(&w, NULL);
    obv_json_i64(&w, "version", OBV_CLI_SCHEMA);
    obv_cli_put_error(&w, "error", e);
    obv_json_end(&w);
    obv_json_line(&w);
    (void)fwrite(b.data, 1, b.len, c->out);
    (void)fflush(c->out);
    obv_buf_fini(&b);
}

/* ---- jobs */

void obv_cli_put_job(obv_json *w, const Obvault__V1__Job *j)
{
    const Obvault__V1__Progress *p = j->progress;
    obv_json_str(w, "job_id", j->id);
    obv_json_str(w, "kind", j->kind);
    obv_json_str(w, "state", j->status);
    obv_json_str(w, "phase", j->phase);
    if (strcmp(j->kind, "archive") == 0)
        obv_json_i64(w, "round", j->ref);
    else if (strcmp(j->kind, "repo-init") != 0 && j->ref)
        obv_json_i64(w, "set_id", j->ref);
    obv_json_str(w, "run_key", j->run_key[0] ? j->run_key : NULL);
    obv_cli_put_time(w, "started_at", j->started_at);
    obv_cli_put_time(w, "ended_at", j->ended_at);
    if (strcmp(j->kind, "archive") == 0)
        obv_cli_put_time(w, "checkpoint", j->reached_to);
    obv_json_object(w, "progress");
    obv_json_u64(w, "bytes_read", p ? p->bytes_read : 0);
    obv_json_u64(w, "bytes_written", p ? p->bytes_written : 0);
    obv_json_u64(w, "blocks_done", p ? p->blocks_done : 0);
    obv_json_u64(w, "blocks_total", p ? p->blocks_total : 0);
    obv_json_u64(w, "pgs_done", p ? p->pgs_done : 0);
    obv_json_u64(w, "pgs_total", p ? p->pgs_total : 0);
    obv_json_end(w);
    put_wire_error(w, "error", j->error);
}

void obv_json_job(obv_json *w, const ProtobufCMessage *m) { obv_cli_put_job(w, (const Obvault__V1__Job *)m); }

static void text_job_line(FILE *out, const Obvault__V1__Job *j)
{
    char t[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, "%-14s %-8s %-16s %s", j->id, j->status, j->phase, time_or_dash(j->started_at, t));
    if (j->progress && j->progress->pgs_total)
        (void)fprintf(out, "  %u/%u PGs", j->progress->pgs_done, j->progress->pgs_total);
    if (j->error && j->error->code)
        (void)fprintf(out, "  %s", j->error->message);
    (void)fputc('\n', out);
}

void obv_text_job(FILE *out, const ProtobufCMessage *m) { text_job_line(out, (const Obvault__V1__Job *)m); }

void obv_json_jobs(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__JobListResponse *r = (const Obvault__V1__JobListResponse *)m;
    obv_json_array(w, "jobs");
    for (size_t i = 0; i < r->n_jobs; i++) {
        obv_json_object(w, NULL);
        obv_cli_put_job(w, r->jobs[i]);
        obv_json_end(w);
    }
    obv_json_end(w);
}

void obv_text_jobs(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__JobListResponse *r = (const Obvault__V1__JobListResponse *)m;
    (void)fprintf(out, "%-14s %-8s %-16s %s\n", "JOB", "STATUS", "PHASE", "STARTED");
    for (size_t i = 0; i < r->n_jobs; i++)
        text_job_line(out, r->jobs[i]);
}

void obv_json_job_detail(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__JobDetail *d = (const Obvault__V1__JobDetail *)m;
    obv_cli_put_job(w, d->job);
    obv_json_array(w, "events");
    for (size_t i = 0; i < d->n_events; i++) {
        obv_json_object(w, NULL);
        obv_cli_put_time(w, "at", d->events[i]->at);
        obv_json_str(w, "text", d->events[i]->text);
        obv_json_end(w);
    }
    obv_json_end(w);
}

void obv_text_job_detail(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__JobDetail *d = (const Obvault__V1__JobDetail *)m;
    char t[OBV_TIME_TEXT_LEN];
    text_job_line(out, d->job);
    for (size_t i = 0; i < d->n_events; i++)
        (void)fprintf(out, "  %s  %s\n", time_or_dash(d->events[i]->at, t), d->events[i]->text);
    if (d->job->error && d->job->error->code && d->job->error->hint[0])
        (void)fprintf(out, "  hint: %s\n", d->job->error->hint);
}

/* ---- repository */

void obv_json_repository(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__Repository *r = (const Obvault__V1__Repository *)m;
    obv_json_object(w, "repository");
    obv_json_str(w, "uuid", r->uuid);
    obv_json_str(w, "profile", r->profile);
    obv_json_str(w, "uri", r->uri);
    obv_json_str(w, "cluster_name", r->cluster_name);
    obv_json_u64(w, "cluster_id", r->cluster_id);
    obv_cli_put_time(w, "created_at", r->created_at);
    obv_json_bool(w, "ready", r->ready);
    obv_json_end(w);
}

void obv_text_repository(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__Repository *r = (const Obvault__V1__Repository *)m;
    char t[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, "repository %s\nprofile    %s\nuri        %s\ncluster    %s (%llu)\ncreated    %s%s\n", r->uuid,
                  r->profile, r->uri, r->cluster_name, (unsigned long long)r->cluster_id,
                  time_or_dash(r->created_at, t), r->ready ? "" : "\nnot ready yet");
}

/* ---- agents */

void obv_json_agents(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__AgentListResponse *r = (const Obvault__V1__AgentListResponse *)m;
    obv_json_array(w, "agents");
    for (size_t i = 0; i < r->n_agents; i++) {
        const Obvault__V1__Agent *a = r->agents[i];
        obv_json_object(w, NULL);
        obv_json_str(w, "agent_id", a->id);
        obv_json_str(w, "agent_version", a->version);
        obv_json_str(w, "state", a->alive ? "up" : "down");
        obv_json_bool(w, "sees_repository", a->sees_repository);
        obv_json_u64(w, "silent_ms", a->silent_ms);
        obv_json_u64(w, "batches", a->batches);
        obv_json_u64(w, "rss_bytes", a->rss_bytes);
        obv_json_u64(w, "pool_bytes", a->pool_bytes);
        obv_json_u64(w, "pool_used_bytes", a->pool_used_bytes);
        obv_json_str(w, "ip", a->server ? a->server->ip : NULL);
        obv_json_u64(w, "rpc_port", a->server ? a->server->rpc_port : 0);
        obv_json_u64(w, "sql_port", a->server ? a->server->sql_port : 0);
        put_wire_error(w, "repository_error", a->repository_error);
        obv_json_end(w);
    }
    obv_json_end(w);
}

void obv_text_agents(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__AgentListResponse *r = (const Obvault__V1__AgentListResponse *)m;
    char rss[24];
    (void)fprintf(out, "%-24s %-8s %-6s %-10s %-8s %s\n", "AGENT", "VERSION", "ALIVE", "REPOSITORY", "BATCHES",
                  "MEMORY");
    for (size_t i = 0; i < r->n_agents; i++) {
        const Obvault__V1__Agent *a = r->agents[i];
        (void)fprintf(out, "%-24s %-8s %-6s %-10s %-8u %s", a->id, a->version, a->alive ? "up" : "down",
                      a->sees_repository ? "yes" : "no", a->batches, obv_cli_bytes(a->rss_bytes, rss));
        if (a->repository_error && a->repository_error->code)
            (void)fprintf(out, "  %s", a->repository_error->message);
        (void)fputc('\n', out);
    }
}
