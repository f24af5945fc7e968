/* control.c - control verbs (CONTRACT.md 8) and the statements of the SQL front that change the store */
#include "digest.h"
#include "rpc.h"
#include "verbs.h"
#include "workload.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static const char *jstr(const json_t *o, const char *k) { return json_string_value(json_object_get(o, k)); }
static bool jbool(const json_t *o, const char *k) { return json_is_true(json_object_get(o, k)); }

static json_t *result(int rc, const char *what)
{
    return rc < 0 ? json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", what)
                  : json_pack("{s:b,s:i}", "ok", 1, "rc", rc);
}

/* Argument pg, as an index: -1 not given, -2 unknown. */
static int64_t pg_arg(struct host *h, const json_t *req)
{
    struct pkey k;
    const char *s = jstr(req, "pg");
    if (!s)
        return -1;
    int64_t pg = parse_pg_name(s, &k) ? pg_find(h, &k) : -1;
    return pg < 0 ? -2 : pg;
}

static json_t *v_status(struct host *h, const json_t *req)
{
    json_t *hosts = json_array(), *pgs = json_array(), *a;
    for (int i = 0; i < h->n_members; i++) {
        const struct shm_host *s = &h->shm->host[i];
        json_array_append_new(
            hosts, json_pack("{s:i,s:s,s:i,s:i,s:s,s:b,s:i,s:I,s:I,s:I,s:I}", "id", i + 1, "ip", h->members[i].ip,
                             "rpc_port", h->members[i].rpc_port, "sql_port", h->members[i].sql_port, "zone",
                             h->members[i].zone, "alive", host_alive(h, i + 1), "pid", s->pid, "flushed",
                             (json_int_t)s->flushed, "applied", (json_int_t)s->applied, "min_clog_file",
                             (json_int_t)s->min_clog_file, "cur_clog_file", (json_int_t)s->cur_clog_file));
    }
    bool all = jbool(req, "pgs");
    int live = 0;
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        const struct shm_pg *p = pg_at(h, i);
        live += p->state == PG_LIVE;
        if (!all)
            continue;
        char name[64];
        snprintf(name, sizeof name, "%" PRIu64 "/%" PRId64, p->key.table_id, pkey_partition_id(&p->key));
        json_t *reps = json_array();
        for (int k = 0; k < h->n_members; k++)
            json_array_append_new(
                reps, json_pack("{s:I,s:I,s:I,s:I,s:I}", "applied_id", (json_int_t)p->rep[k].applied_id, "replay_id",
                                (json_int_t)p->rep[k].replay_id, "publish_version",
                                (json_int_t)p->rep[k].publish_version, "data_version",
                                (json_int_t)p->rep[k].data_version, "weak_ts", (json_int_t)p->rep[k].weak_ts));
        json_array_append_new(pgs, json_pack("{s:s,s:i,s:i,s:i,s:I,s:I,s:i,s:o}", "pg", name, "state", p->state, "kind",
                                             p->kind, "leader", p->leader, "leader_epoch", (json_int_t)p->leader_epoch,
                                             "last_log_id", (json_int_t)p->last_log_id, "partitions", p->n_parts,
                                             "replicas", reps));
    }
    a = json_pack("{s:b,s:o,s:i,s:I,s:I,s:I,s:o}", "ok", 1, "hosts", hosts, "pg_count", live, "bus_end",
                  (json_int_t)h->shm->bus_end, "confirmed", (json_int_t)bus_confirmed(h), "major_version",
                  (json_int_t)h->shm->major_version, "pgs", pgs);
    return a;
}

static json_t *v_freeze(struct host *h, const json_t *req)
{
    int64_t pg = pg_arg(h, req);
    if (pg == -2)
        return result(-4225, "no such pg");
    int flags = (jbool(req, "force") ? FREEZE_FORCE : 0) | (jbool(req, "lag_data_info") ? FREEZE_LAG : 0);
    return result(cluster_freeze(h, (int)jint(req, "host", 0), (uint64_t)jint(req, "tenant", 0), pg, flags, true),
                  "freeze");
}

static json_t *v_compact(struct host *h, const json_t *req)
{
    return result(cluster_compact(h, (int)jint(req, "host", 0), (uint64_t)jint(req, "tenant", 0), pg_arg(h, req)),
                  "compact");
}

static json_t *v_major(struct host *h, const json_t *req)
{
    int64_t v = cluster_major(h, (uint64_t)jint(req, "tenant", 0), pg_arg(h, req));
    return v < 0 ? result((int)v, "major merge") : json_pack("{s:b,s:I}", "ok", 1, "version", (json_int_t)v);
}

static json_t *v_checkpoint(struct host *h, const json_t *req)
{
    int64_t pg = pg_arg(h, req);
    uint64_t tenant = (uint64_t)jint(req, "tenant", 0);
    int n = 0;
    for (uint32_t i = 0; i < h->shm->n_pg; i++)
        if (pg_at(h, i)->state == PG_LIVE && (pg < 0 || pg == i) && (!tenant || tenant == pg_at(h, i)->tenant))
            n += log_checkpoint(h, i) == 0;
    return result(n, "");
}

static json_t *v_leader(struct host *h, const json_t *req)
{
    int64_t pg = pg_arg(h, req);
    if (pg == -2)
        return result(-4225, "no such pg");
    int to = (int)jint(req, "to", 0), moved = 0;
    for (uint32_t i = 0; i < h->shm->n_pg; i++) {
        const struct shm_pg *p = pg_at(h, i);
        if (p->state != PG_LIVE || (pg >= 0 && pg != i))
            continue;
        int home = p->leader, next = to ? to : home % h->n_members + 1;
        moved += leader_move(h, i, next) == 0;
        if (jbool(req, "flap"))
            leader_move(h, i, home);
    }
    catalog_sync(h);
    return moved ? result(moved, "") : result(-4038, "not moved");
}

static json_t *one_host_cmd(struct host *h, const json_t *req, int kind, int64_t a)
{
    struct shm_cmd c = {.kind = kind, .pg = pg_arg(h, req), .a = a};
    int host = (int)jint(req, "host", h->id);
    if (c.pg == -2 || (kind == CMD_STALE_TAIL && c.pg < 0))
        return result(-4225, "no such pg");
    int rc = host_command(h, host, &c, 60000000);
    return rc < 0 ? result(rc, "command") : json_pack("{s:b,s:I}", "ok", 1, "count", (json_int_t)c.a);
}

static json_t *v_recycle(struct host *h, const json_t *req)
{
    return one_host_cmd(h, req, CMD_RECYCLE, jint(req, "files", 1000));
}
static json_t *v_stale(struct host *h, const json_t *req)
{
    return one_host_cmd(h, req, CMD_STALE_TAIL, jint(req, "count", 3));
}

static json_t *v_rebuild(struct host *h, const json_t *req)
{
    int64_t pg = pg_arg(h, req);
    int host = (int)jint(req, "host", h->id);
    if (pg < 0 || host < 1 || host > h->n_members || pg_at(h, (uint32_t)pg)->leader == host)
        return result(-4002, "rebuild: pg and a follower's host are needed");
    /* The next logs of the PG pass by this host; it then stands behind them, as after a rebuild from the leader. */
    if (jbool(req, "mark"))
        pg_at(h, (uint32_t)pg)->rep[host - 1].need_rebuild = 1;
    pg_at(h, (uint32_t)pg)->rep[host - 1].skip_logs = (int)jint(req, "logs", 5);
    return result(0, "");
}

static json_t *v_kill(struct host *h, const json_t *req)
{
    int host = (int)jint(req, "host", 0), sig = (int)jint(req, "signal", SIGKILL);
    if (host < 1 || host > h->n_members || h->shm->host[host - 1].pid <= 0)
        return result(-4002, "kill: no such host");
    return kill(h->shm->host[host - 1].pid, sig) ? result(-4002, "kill failed") : result(0, "");
}

static json_t *v_knob(struct host *h, const json_t *req)
{
    return result(knob_set(h, jstr(req, "name") ? jstr(req, "name") : "", jint(req, "value", 0)), "unknown knob");
}

static json_t *v_fault(struct host *h, const json_t *req)
{
    struct pkey k;
    const char *kind = jstr(req, "kind"), *pg = jstr(req, "pg");
    if (!kind || (pg && !parse_pg_name(pg, &k)))
        return result(-4002, "fault: kind");
    return result(fault_add(h, kind, (uint32_t)jint(req, "pcode", 0), pg ? &k : NULL,
                            jint(req, "arg", jint(req, "code", -4023)), (int)jint(req, "count", 1)),
                  "");
}

static json_t *v_now(struct host *h, const json_t *req)
{
    (void)req;
    int64_t *w = xcalloc(MAX_PG, sizeof *w);
    shm_lock(h);
    uint32_t n = h->shm->n_pg;
    weak_all(h, w, n);
    shm_unlock(h);
    json_t *t = json_object();
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        if (pg_at(h, i)->state != PG_LIVE)
            continue;
        snprintf(id, sizeof id, "%" PRIu64, pg_at(h, i)->tenant);
        json_t *old = json_object_get(t, id);
        if (!old || json_integer_value(old) > w[i])
            json_object_set_new(t, id, json_integer(w[i]));
    }
    free(w);
    return json_pack("{s:b,s:I,s:o}", "ok", 1, "now", (json_int_t)clock_us(h), "weak", t);
}

static json_t *v_quiesce(struct host *h, const json_t *req)
{
    (void)req;
    workload_stop(h);
    int64_t ts = clock_us(h);
    int rc = wait_committed(h, ts, 60000000);
    if (!rc)
        rc = cluster_catch_up(h, ts, 60000000);
    return rc ? result(rc, "quiesce") : json_pack("{s:b,s:I}", "ok", 1, "ts", (json_int_t)ts);
}

static json_t *v_parameter(struct host *h, const json_t *req)
{
    const char *name = jstr(req, "name"), *value = jstr(req, "value");
    return name && value ? result(param_set(h, name, value, (int)jint(req, "host", 0)), "parameter")
                         : result(-4002, "parameter: name, value");
}

static json_t *v_restore_status(struct host *h, const json_t *req)
{
    (void)req;
    return obs_restore_jobs(h);
}

static const struct {
    const char *verb;
    json_t *(*fn)(struct host *, const json_t *);
} VERBS[] = {{"status", v_status},
             {"layout", schema_layout},
             {"load", schema_load},
             {"workload", workload_verb},
             {"insert", workload_insert},
             {"minor_freeze", v_freeze},
             {"compact", v_compact},
             {"major_merge", v_major},
             {"checkpoint", v_checkpoint},
             {"leader_move", v_leader},
             {"ddl", schema_ddl},
             {"recycle", v_recycle},
             {"stale_tail", v_stale},
             {"rebuild", v_rebuild},
             {"kill", v_kill},
             {"knob", v_knob},
             {"fault", v_fault},
             {"now", v_now},
             {"quiesce", v_quiesce},
             {"digest", digest_history},
             {"store_digest", digest_store},
             {"parameter", v_parameter},
             {"migrate", migrate_verb},
             {"replica", replica_verb},
             {"pg_assist", assist_verb},
             {"backup_info", backup_info_verb},
             {"server", server_verb},
             {"tx", tx_verb},
             {"spoil", spoil_verb},
             {"clog_file", clog_file_verb},
             {"leaders", storm_verb},
             {"restore_status", v_restore_status},
             {"tenant", tenant_verb},
             {"sysvar", sysvar_verb},
             {"cluster_role", role_verb}};

json_t *obs_control(struct host *h, const json_t *req)
{
    const char *verb = jstr(req, "verb");
    for (size_t i = 0; verb && i < sizeof VERBS / sizeof *VERBS; i++)
        if (!strcmp(VERBS[i].verb, verb)) {
            char *text = json_dumps(req, JSON_COMPACT);
            obs_log(h, "control %s", text);
            free(text);
            json_t *a = VERBS[i].fn(h, req);
            return a ? a : result(-4000, "no answer could be made");
        }
    return result(-4002, "unknown verb");
}

/* ---- statements */

static int set_err(struct obs_err *err, int code, const char *text)
{
    err->code = code;
    snprintf(err->msg, sizeof err->msg, "%s", text);
    return code;
}

struct later {
    struct host *h;
    uint64_t tenant;
    bool major;
};

static void *run_later(void *arg)
{
    struct later *l = arg;
    if (l->major)
        cluster_major(l->h, 0, -1);
    else
        cluster_freeze(l->h, 0, l->tenant, -1, 0, true);
    free(l);
    return NULL;
}

static int in_background(struct host *h, uint64_t tenant, bool major, struct obs_err *err)
{
    struct later *l = xcalloc(1, sizeof *l);
    *l = (struct later){h, tenant, major};
    pthread_t t;
    if (pthread_create(&t, NULL, run_later, l)) {
        free(l);
        return set_err(err, -4013, "no thread");
    }
    pthread_detach(t);
    return 0;
}

int obs_sql_minor_freeze(struct host *h, uint64_t tenant, struct obs_err *err)
{
    return in_background(h, tenant, false, err);
}
int obs_sql_major_freeze(struct host *h, struct obs_err *err) { return in_background(h, 0, true, err); }

int obs_sql_set_parameter(struct host *h, const char *name, const char *value, int host_id, struct obs_err *err)
{
    if (!catalog_int(h, 0, "SELECT 1 FROM so_param WHERE host > 0 AND name = ?", "s", name))
        return set_err(err, -5099, "System config unknown");
    return param_set(h, name, value, host_id) ? set_err(err, -4000, "internal error") : 0;
}

int obs_sql_set_undo_retention(struct host *h, uint64_t tenant, int64_t seconds, struct obs_err *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, seconds);
    if (catalog_exec(h,
                     "INSERT OR REPLACE INTO __all_virtual_sys_variable (tenant_id, zone, name, value) VALUES (?, '', "
                     "'undo_retention', ?)",
                     "is", (int64_t)tenant, text))
        return set_err(err, -4000, "internal error");
    h->shm->undo_us[tenant % 4096] = seconds * 1000000;
    return 0;
}

static void refresh_pins(struct host *h, uint64_t tenant)
{
    h->shm->pin_ts[tenant % 4096] =
        catalog_int(h, 0, "SELECT min(ts) FROM so_restore_point WHERE tenant_id = ?", "i", (int64_t)tenant);
}

int obs_sql_create_restore_point(struct host *h, uint64_t tenant, const char *name, struct obs_err *err)
{
    if (tenant == OBS_SYS_TENANT)
        return set_err(err, -4179, "create restore point from sys tenant is not allowed");
    int64_t n = catalog_int(h, 0, "SELECT count(*) FROM so_restore_point WHERE tenant_id = ?", "i", (int64_t)tenant);
    if (n >= SNAP_MAX)
        return set_err(err, -4179, "tenant restore point reached limit");
    if (catalog_int(h, 0,
                    "SELECT 1 FROM __all_virtual_table WHERE tenant_id = ? AND table_type = 5 AND index_status <> 2",
                    "i", (int64_t)tenant))
        return set_err(err, -4179, "tenant has an unavailable index");
    if (catalog_int(h, 0, "SELECT 1 FROM so_restore_point WHERE tenant_id = ? AND name = ?", "is", (int64_t)tenant,
                    name))
        return set_err(err, -4176, "restore point exists");
    if (catalog_exec(h, "INSERT INTO so_restore_point (tenant_id, name, ts) VALUES (?, ?, ?)", "isi", (int64_t)tenant,
                     name, clock_us(h)))
        return set_err(err, -4000, "internal error");
    refresh_pins(h, tenant);
    return 0;
}

int obs_sql_drop_restore_point(struct host *h, uint64_t tenant, const char *name, struct obs_err *err)
{
    if (!catalog_int(h, 0, "SELECT 1 FROM so_restore_point WHERE tenant_id = ? AND name = ?", "is", (int64_t)tenant,
                     name))
        return set_err(err, -4018, "restore point does not exist");
    catalog_exec(h, "DELETE FROM so_restore_point WHERE tenant_id = ? AND name = ?", "is", (int64_t)tenant, name);
    refresh_pins(h, tenant);
    return 0;
}
