#include "base/clock.h"
#include "cli/cli.h"

#include <string.h>

static const char *time_or_dash(int64_t us, char t[OBV_TIME_TEXT_LEN]) { return us ? obv_time_text(us, t) : "-"; }

/* ---- archive */

static void put_gap(obv_json *w, const Obvault__V1__ArchiveTenant *t)
{
    if (!t->gap_known) {
        obv_json_null(w, "gap");
        return;
    }
    obv_json_object(w, "gap");
    obv_json_bool(w, "near", t->gap_near);
    obv_json_u64(w, "files", t->gap_files);
    if (t->gap_in_s >= 0)
        obv_json_i64(w, "in_s", t->gap_in_s);
    else
        obv_json_null(w, "in_s");
    obv_json_str(w, "agent_id", t->gap_agent);
    obv_json_end(w);
}

void obv_json_archive(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__ArchiveStatusResponse *r = (const Obvault__V1__ArchiveStatusResponse *)m;
    obv_json_object(w, "archive");
    obv_json_str(w, "state", r->exists ? r->status : "STOP");
    obv_json_i64(w, "round", r->round);
    obv_json_str(w, "job_id", r->exists ? r->job_id : NULL);
    obv_cli_put_time(w, "start", r->start_ts);
    obv_cli_put_time(w, "checkpoint", r->checkpoint_ts);
    obv_json_i64(w, "piece", r->piece);
    obv_cli_put_time(w, "piece_start", r->piece_start_ts);
    obv_json_bool(w, "piece_freezing", r->piece_freezing);
    obv_json_str(w, "gap_policy", r->exists ? r->gap_policy : NULL);
    obv_json_array(w, "tenants");
    for (size_t i = 0; i < r->n_tenants; i++) {
        const Obvault__V1__ArchiveTenant *t = r->tenants[i];
        obv_json_object(w, NULL);
        obv_json_u64(w, "tenant_id", t->tenant_id);
        obv_json_str(w, "tenant_name", t->name);
        obv_json_str(w, "state", t->status);
        obv_cli_put_time(w, "start", t->start_ts);
        obv_cli_put_time(w, "checkpoint", t->checkpoint_ts);
        obv_json_i64(w, "checkpoint_us", t->checkpoint_ts);
        obv_json_i64(w, "lag_us", t->checkpoint_ts ? r->now - t->checkpoint_ts : -1);
        obv_json_i64(w, "pgs", t->pgs);
        obv_json_i64(w, "pgs_started", t->pgs_started);
        obv_json_i64(w, "pgs_with_checkpoint", t->pgs_sampled);
        obv_json_i64(w, "pgs_unassigned", t->pgs_unassigned);
        obv_json_u64(w, "bytes_in", t->bytes_in);
        obv_json_u64(w, "bytes_out", t->bytes_out);
        obv_json_array(w, "held_back_by");
        for (size_t k = 0; k < t->n_blocking; k++) {
            obv_json_object(w, NULL);
            obv_json_u64(w, "table_id", t->blocking[k]->table_id);
            obv_json_u64(w, "part_id", t->blocking[k]->part_id);
            obv_json_u64(w, "assist", t->blocking[k]->assist);
            obv_json_end(w);
        }
        obv_json_end(w);
        obv_json_str(w, "error", t->error ? t->error->message : NULL);
        obv_json_str(w, "health", t->health[0] ? t->health : NULL);
        put_gap(w, t);
        if (t->lost_from) {
            obv_json_object(w, "not_restorable");
            obv_cli_put_time(w, "from", t->lost_from);
            obv_cli_put_time(w, "to", t->lost_to);
            obv_json_end(w);
        } else {
            obv_json_null(w, "not_restorable");
        }
        obv_json_str(w, "next", t->next[0] ? t->next : NULL);
        obv_json_end(w);
    }
    obv_json_end(w);
    obv_json_end(w);
}

obv_code obv_cli_archive_result(const ProtobufCMessage *m, obv_err *err)
{
    const Obvault__V1__ArchiveStatusResponse *r = (const Obvault__V1__ArchiveStatusResponse *)m;
    char from[OBV_TIME_TEXT_LEN];
    for (size_t i = 0; i < r->n_tenants; i++) {
        const Obvault__V1__ArchiveTenant *t = r->tenants[i];
        if (t->lost_from == 0)
            continue;
        (void)obv_fail(err, OBV_E_LOG_GAP, 0, "tenant %.128s: nothing after %s can be restored", t->name,
                       obv_time_text(t->lost_from, from));
        return obv_hint(err, "%s", t->next);
    }
    return OBV_OK;
}

/* How long until the log that is needed next is recycled. */
static const char *gap_text(const Obvault__V1__ArchiveTenant *t, char out[24])
{
    if (!t->gap_known || t->gap_in_s < 0)
        (void)snprintf(out, 24, "-");
    else if (t->gap_in_s < 7200)
        (void)snprintf(out, 24, "%llds%s", (long long)t->gap_in_s, t->gap_near ? "!" : "");
    else
        (void)snprintf(out, 24, "%lldh%s", (long long)(t->gap_in_s / 3600), t->gap_near ? "!" : "");
    return out;
}

void obv_text_archive(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__ArchiveStatusResponse *r = (const Obvault__V1__ArchiveStatusResponse *)m;
    char a[OBV_TIME_TEXT_LEN], b[OBV_TIME_TEXT_LEN];
    if (!r->exists) {
        (void)fputs("no log archiving yet\n", out);
        return;
    }
    (void)fprintf(out, "round %lld %s  from %s to %s\n", (long long)r->round, r->status, time_or_dash(r->start_ts, a),
                  time_or_dash(r->checkpoint_ts, b));
    if (r->piece)
        (void)fprintf(out, "piece %lld since %s%s\n", (long long)r->piece, time_or_dash(r->piece_start_ts, a),
                      r->piece_freezing ? ", the one before it is FREEZING" : "");
    (void)fprintf(out, "%-20s %-12s %-34s %-8s %-10s %s\n", "TENANT", "STATUS", "CHECKPOINT", "LAG", "GAP IN", "PGS");
    for (size_t i = 0; i < r->n_tenants; i++) {
        const Obvault__V1__ArchiveTenant *t = r->tenants[i];
        char lag[24] = "-", gap[24];
        if (t->checkpoint_ts && strcmp(t->status, "STOP") != 0)
            (void)snprintf(lag, sizeof lag, "%.1fs", (double)(r->now - t->checkpoint_ts) / 1e6);
        (void)fprintf(out, "%-20s %-12s %-34s %-8s %-10s %lld/%lld", t->name, t->status,
                      time_or_dash(t->checkpoint_ts, a), lag, gap_text(t, gap), (long long)t->pgs_sampled,
                      (long long)t->pgs);
        if (t->health[0] && strcmp(t->health, "OK") != 0 && strcmp(t->status, "DOING") == 0)
            (void)fprintf(out, "  %s", t->health);
        if (t->error && t->error->code)
            (void)fprintf(out, "  %s", t->error->message);
        (void)fputc('\n', out);
        if (t->next[0])
            (void)fprintf(out, "  next: %s\n", t->next);
    }
}

/* ---- backup */

static void put_set(obv_json *w, const char *key, const Obvault__V1__BackupSetInfo *s)
{
    obv_json_object(w, key);
    obv_json_i64(w, "set_id", s->set_id);
    obv_json_str(w, "type", s->type);
    obv_json_str(w, "state", s->status);
    obv_json_str(w, "job_id", s->job_id);
    obv_json_i64(w, "round", s->round);
    obv_cli_put_time(w, "snapshot", s->snapshot);
    obv_json_i64(w, "snapshot_us", s->snapshot);
    obv_cli_put_time(w, "started_at", s->started_at);
    obv_cli_put_time(w, "ended_at", s->ended_at);
    obv_json_i64(w, "date", s->date);
    obv_json_i64(w, "data_version", s->data_version);
    obv_json_i64(w, "pgs", s->pgs);
    obv_json_i64(w, "pgs_done", s->pgs_done);
    obv_json_i64(w, "blocks", s->blocks);
    obv_json_i64(w, "bytes_read", s->bytes_read);
    obv_json_i64(w, "bytes_written", s->bytes_written);
}

void obv_json_sets(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__BackupListResponse *r = (const Obvault__V1__BackupListResponse *)m;
    obv_json_array(w, "sets");
    for (size_t i = 0; i < r->n_sets; i++) {
        put_set(w, NULL, r->sets[i]);
        obv_json_end(w);
    }
    obv_json_end(w);
}

static void text_set(FILE *out, const Obvault__V1__BackupSetInfo *s)
{
    char a[OBV_TIME_TEXT_LEN], bytes[24];
    (void)fprintf(out, "%-5lld %-5s %-8s %-34s %5lld/%-5lld %10s\n", (long long)s->set_id, s->type, s->status,
                  time_or_dash(s->snapshot ? s->snapshot : s->started_at, a), (long long)s->pgs_done, (long long)s->pgs,
                  obv_cli_bytes((uint64_t)s->bytes_written, bytes));
}

#define SETS_HEAD "%-5s %-5s %-8s %-34s %11s %10s\n", "SET", "TYPE", "STATUS", "SNAPSHOT (OR START)", "PGS", "BYTES"

void obv_text_sets(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__BackupListResponse *r = (const Obvault__V1__BackupListResponse *)m;
    (void)fprintf(out, SETS_HEAD);
    for (size_t i = 0; i < r->n_sets; i++)
        text_set(out, r->sets[i]);
}

void obv_json_set(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__BackupSetDetail *d = (const Obvault__V1__BackupSetDetail *)m;
    put_set(w, "set", d->set);
    obv_json_array(w, "tenants");
    for (size_t i = 0; i < d->n_tenants; i++) {
        const Obvault__V1__BackupTenant *t = d->tenants[i];
        obv_json_object(w, NULL);
        obv_json_u64(w, "tenant_id", t->tenant_id);
        obv_json_str(w, "tenant_name", t->name);
        obv_json_i64(w, "pgs", t->pgs);
        obv_json_i64(w, "pgs_done", t->pgs_done);
        obv_json_i64(w, "blocks", t->blocks);
        obv_json_i64(w, "bytes_read", t->bytes_read);
        obv_json_i64(w, "bytes_written", t->bytes_written);
        obv_json_i64(w, "schema_version", t->schema_version);
        obv_cli_put_time(w, "restorable_from", t->restorable_to ? t->restorable_from : 0);
        obv_cli_put_time(w, "restorable_to", t->restorable_to);
        obv_json_end(w);
    }
    obv_json_end(w);
    obv_json_end(w);
}

void obv_text_set(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__BackupSetDetail *d = (const Obvault__V1__BackupSetDetail *)m;
    char a[OBV_TIME_TEXT_LEN], b[OBV_TIME_TEXT_LEN];
    (void)fprintf(out, SETS_HEAD);
    text_set(out, d->set);
    for (size_t i = 0; i < d->n_tenants; i++) {
        const Obvault__V1__BackupTenant *t = d->tenants[i];
        (void)fprintf(out, "  %-20s %lld/%lld PGs, %lld blocks, restorable ", t->name, (long long)t->pgs_done,
                      (long long)t->pgs, (long long)t->blocks);
        if (t->restorable_to)
            (void)fprintf(out, "from %s to %s\n", time_or_dash(t->restorable_from, a),
                          time_or_dash(t->restorable_to, b));
        else
            (void)fputs("nothing (yet)\n", out);
    }
}

/* ---- restore */

void obv_json_restore(obv_json *w, const ProtobufCMessage *m)
{
    const Obvault__V1__RestoreStatusResponse *r = (const Obvault__V1__RestoreStatusResponse *)m;
    obv_cli_put_job(w, r->job);
    obv_json_object(w, "restore");
    obv_json_str(w, "target", r->target);
    obv_json_str(w, "tenant_name", r->tenant);
    obv_json_str(w, "new_tenant_name", r->new_tenant);
    obv_cli_put_time(w, "at", r->at);
    obv_json_i64(w, "at_us", r->at);
    obv_json_i64(w, "set_id", r->set_id);
    obv_json_i64(w, "round", r->round);
    obv_json_str(w, "target_status", r->target_status);
    obv_json_str(w, "info", r->info);
    obv_json_i64(w, "pgs", r->pgs);
    obv_json_i64(w, "pgs_done", r->pgs_done);
    obv_json_i64(w, "blocks", r->blocks);
    obv_json_i64(w, "blocks_done", r->blocks_done);
    obv_cli_put_time(w, "issued_at", r->issued_at);
    if (r->eta_s >= 0)
        obv_json_i64(w, "eta_s", r->eta_s);
    else
        obv_json_null(w, "eta_s");
    obv_json_end(w);
}

void obv_text_restore(FILE *out, const ProtobufCMessage *m)
{
    const Obvault__V1__RestoreStatusResponse *r = (const Obvault__V1__RestoreStatusResponse *)m;
    char a[OBV_TIME_TEXT_LEN];
    obv_text_job(out, &r->job->base);
    (void)fprintf(out, "  %s of set %lld, round %lld, as %s on %s, to %s\n", r->tenant, (long long)r->set_id,
                  (long long)r->round, r->new_tenant, r->target, time_or_dash(r->at, a));
    (void)fprintf(out, "  target: %s  %lld/%lld PGs, %lld/%lld blocks%s%s\n",
                  r->target_status[0] ? r->target_status : "not begun", (long long)r->pgs_done, (long long)r->pgs,
                  (long long)r->blocks_done, (long long)r->blocks, r->info[0] ? "  " : "", r->info);
    if (r->eta_s >= 0)
        (void)fprintf(out, "  about %lld s more, by the blocks so far; log comes on top\n", (long long)r->eta_s);
}
