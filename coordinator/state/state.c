#include "state/state.h"

#include "base/file.h"
#include "state/schema.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

struct obv_state {
    obv_db *db;
    pthread_mutex_t lock; /* recursive: a transaction holds it */
    pthread_mutex_t wait_lock;
    pthread_cond_t changed;
    uint64_t commits;
    int64_t changes; /* rows changed so far: a commit that changed none wakes nobody */
};

obv_code obv_state_open(const char *dir, obv_state **out, obv_err *err)
{
    char path[4096] = ":memory:";
    if (dir) {
        OBV_TRY(obv_file_mkdirs(dir, 0700, err));
        if ((size_t)snprintf(path, sizeof path, "%s/coordinator.db", dir) >= sizeof path)
            return obv_fail(err, OBV_E_CONFIG, 0, "state_dir is too long");
    }
    OBV_AUTO(obv_state_drop) obv_state *s = calloc(1, sizeof *s);
    if (!s)
        return obv_fail(err, OBV_E_NOMEM, 0, "state");
    pthread_mutexattr_t a;
    (void)pthread_mutexattr_init(&a);
    (void)pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&s->lock, &a);
    (void)pthread_mutexattr_destroy(&a);
    (void)pthread_mutex_init(&s->wait_lock, NULL);
    pthread_condattr_t c;
    (void)pthread_condattr_init(&c);
    (void)pthread_condattr_setclock(&c, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->changed, &c);
    (void)pthread_condattr_destroy(&c);
    OBV_TRY(obv_db_open(path, OBV_STATE_MIGRATIONS, OBV_STATE_MIGRATION_COUNT, &s->db, err));
    *out = OBV_STEAL(s);
    return OBV_OK;
}

void obv_state_close(obv_state *s)
{
    if (!s)
        return;
    obv_db_close(s->db);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->wait_lock);
    (void)pthread_cond_destroy(&s->changed);
    free(s);
}

void obv_state_drop(obv_state **s)
{
    obv_state_close(*s);
    *s = NULL;
}

obv_db *obv_state_db(obv_state *s) { return s->db; }

obv_code obv_state_begin(obv_state *s, obv_state_tx *tx, obv_err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    const obv_code code = obv_tx_begin(s->db, &tx->tx, err);
    if (code == OBV_OK)
        tx->s = s;
    else
        (void)pthread_mutex_unlock(&s->lock);
    return code;
}

obv_code obv_state_commit(obv_state_tx *tx, obv_err *err)
{
    obv_state *s = tx->s;
    const obv_code code = obv_tx_commit(&tx->tx, err);
    const int64_t changes = obv_db_changes(s->db);
    const bool changed = changes != s->changes;
    s->changes = changes;
    tx->s = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    if (code == OBV_OK && changed)
        obv_state_wake(s);
    return code;
}

void obv_state_tx_drop(obv_state_tx *tx)
{
    if (!tx->s)
        return;
    obv_tx_drop(&tx->tx);
    (void)pthread_mutex_unlock(&tx->s->lock);
    tx->s = NULL;
}

obv_state *obv_state_lock(obv_state *s)
{
    (void)pthread_mutex_lock(&s->lock);
    return s;
}

void obv_state_unlock(obv_state **s) { (void)pthread_mutex_unlock(&(*s)->lock); }

void obv_state_wake(obv_state *s)
{
    (void)pthread_mutex_lock(&s->wait_lock);
    s->commits++;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->wait_lock);
}

void obv_state_wait(obv_state *s, uint64_t *seen, uint32_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&s->wait_lock);
    while (s->commits == *seen)
        if (pthread_cond_timedwait(&s->changed, &s->wait_lock, &at) != 0)
            break;
    *seen = s->commits;
    (void)pthread_mutex_unlock(&s->wait_lock);
}

obv_code obv_state_next(obv_state *s, const char *counter, int64_t *out, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(s->db, err,
                       "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
                       obv_db_s(counter)));
    OBV_TRY(obv_db_i64(s->db, err, out, "SELECT value FROM counters WHERE name = ?", obv_db_s(counter)));
    return obv_state_commit(&tx, err);
}

/* ---- repository */

obv_code obv_state_repository(obv_state *s, obv_repository *out, obv_err *err)
{
    OBV_STATE_READ(s);
    OBV_AUTO(obv_rows_drop) obv_rows *r = NULL;
    OBV_TRY(obv_db_query_args(
        s->db, "SELECT uuid, profile, cluster_name, cluster_id, created_at, ready FROM repository", NULL, 0, &r, err));
    const obv_code code = obv_rows_next(r, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_NOT_INITIALISED, 0, "no repository was initialised");
    OBV_TRY(code);
    obv_rows_copy(r, 0, out->uuid, sizeof out->uuid);
    obv_rows_copy(r, 1, out->profile, sizeof out->profile);
    obv_rows_copy(r, 2, out->cluster_name, sizeof out->cluster_name);
    out->cluster_id = obv_rows_u64(r, 3);
    out->created_at = obv_rows_i64(r, 4);
    out->ready = obv_rows_i64(r, 5) != 0;
    return OBV_OK;
}

obv_code obv_state_set_repository(obv_state *s, const obv_repository *p, obv_err *err)
{
    OBV_AUTO(obv_state_tx_drop) obv_state_tx tx = {0};
    OBV_TRY(obv_state_begin(s, &tx, err));
    OBV_TRY(obv_db_run(s->db, err, "INSERT OR REPLACE INTO repository VALUES (1, ?, ?, ?, ?, ?, ?)", obv_db_s(p->uuid),
                       obv_db_s(p->profile), obv_db_s(p->cluster_name), obv_db_u(p->cluster_id),
                       obv_db_i(p->created_at), obv_db_i(p->ready)));
    return obv_state_commit(&tx, err);
}
