/* verbs.c - control verbs that put one replica, server or tenant into a state that a backup must notice */
#include "verbs.h"

#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t jint(const json_t *o, const char *k, int64_t none)
{
    json_t *v = json_object_get(o, k);
    return json_is_integer(v) ? json_integer_value(v) : none;
}

static const char *jstr(const json_t *o, const char *k) { return json_string_value(json_object_get(o, k)); }

static json_t *answer(int rc, const char *what)
{
    return rc ? json_pack("{s:b,s:i,s:s}", "ok", 0, "code", rc, "error", what) : json_pack("{s:b}", "ok", 1);
}

/* The replica that pg and host name; NULL: there is none. */
static struct shm_rep *replica_of(struct host *h, const json_t *req, struct shm_pg **pg)
{
    struct pkey k;
    const char *name = jstr(req, "pg");
    int host = (int)jint(req, "host", h->id);
    int64_t i = name && parse_pg_name(name, &k) ? pg_find(h, &k) : -1;
    if (i < 0 || host < 1 || host > h->n_members)
        return NULL;
    *pg = pg_at(h, (uint32_t)i);
    return &(*pg)->rep[host - 1];
}

json_t *migrate_verb(struct host *h, const json_t *req)
{
    struct shm_pg *p;
    struct shm_rep *r = replica_of(h, req, &p);
    if (!r)
        return answer(-4002, "migrate: pg, host, status");
    r->migrate_status = (int)jint(req, "status", 1);
    r->need_rebuild = (int)jint(req, "need_rebuild", 0);
    return answer(0, "");
}

json_t *replica_verb(struct host *h, const json_t *req)
{
    struct shm_pg *p;
    struct shm_rep *r = replica_of(h, req, &p);
    if (!r)
        return answer(-4002, "replica: pg, host");
    r->is_restore = (int)jint(req, "is_restore", r->is_restore);
    r->split_state = (int)jint(req, "split_state", r->split_state);
    json_t *member = json_object_get(req, "member"), *here = json_object_get(req, "here");
    if (member)
        r->no_member = !json_is_true(member);
    if (here) {
        if (!json_is_true(here) && p->leader == (int)jint(req, "host", h->id))
            return answer(-4002, "replica: the leader does not leave");
        r->absent = !json_is_true(here);
    }
    catalog_sync(h);
    return answer(0, "");
}

json_t *assist_verb(struct host *h, const json_t *req)
{
    struct shm_pg *p;
    if (!replica_of(h, req, &p) || p->key.assist)
        return answer(-4002, "pg_assist: pg of one level, assist");
    p->odd_assist = (int32_t)jint(req, "assist", 0);
    return answer(0, "");
}

json_t *backup_info_verb(struct host *h, const json_t *req)
{
    int64_t tenant = jint(req, "tenant", 1001);
    const char *name = jstr(req, "name"), *value = jstr(req, "value");
    if (!name)
        return answer(-4002, "backup_info: tenant, name, value");
    int rc =
        catalog_exec(h, "DELETE FROM __all_virtual_backup_info WHERE tenant_id = ? AND name = ?", "is", tenant, name);
    if (!rc && value)
        rc = catalog_exec(h, "INSERT INTO __all_virtual_backup_info (tenant_id, name, value) VALUES (?, ?, ?)", "iss",
                          tenant, name, value);
    return answer(rc, "backup_info");
}

json_t *server_verb(struct host *h, const json_t *req)
{
    int64_t host = jint(req, "host", h->id);
    const char *build = jstr(req, "build_version"), *comment = jstr(req, "version_comment");
    int rc = host < 1 || host > h->n_members ? -4002 : 0;
    if (!rc && build)
        rc = catalog_exec(h, "UPDATE __all_server SET build_version = ? WHERE id = ?", "si", build, host);
    if (!rc && comment) /* what the server says of itself when one connects from now on */
        rc = catalog_exec(h, "INSERT OR REPLACE INTO so_greeting (host, comment) VALUES (?, ?)", "is", host, comment);
    return answer(rc, "server: host, build_version, version_comment");
}

/* ---- a transaction in the tester's hand */

json_t *tx_verb(struct host *h, const json_t *req)
{
    const char *op = jstr(req, "op");
    int64_t slot = jint(req, "tx", -1);
    if (op && !strcmp(op, "begin")) {
        slot = tx_begin(h);
        return slot < 0 ? answer(-4013, "tx") : json_pack("{s:b,s:I}", "ok", 1, "tx", (json_int_t)slot);
    }
    if (!op || slot < 0 || slot >= MAX_TX || h->shm->tx[slot].state != TX_RUNNING)
        return answer(-4002, "tx: op, tx");
    if (!strcmp(op, "abort")) {
        tx_abort(h, slot);
        return answer(0, "");
    }
    if (strcmp(op, "commit") != 0)
        return answer(-4002, "tx: op");
    int64_t v = tx_commit(h, slot);
    return v < 0 ? answer((int)v, "tx") : json_pack("{s:b,s:I}", "ok", 1, "commit_version", (json_int_t)v);
}
