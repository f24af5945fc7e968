/* sql_front.c - starts and stops the SQL front of this process */
#include "sql_job.h"
#include "sql_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sql_server *front;

/* accounts.json lies beside cluster.db: the launcher puts it there, and a test may change it at any time */
static void name_accounts(struct sql_server *s)
{
    const char *db = host_cluster_db(s->host);
    const char *slash = strrchr(db, '/');
    snprintf(s->accounts_path, sizeof s->accounts_path, "%.*saccounts.json", slash ? (int)(slash - db + 1) : 0, db);
}

int sqlfront_start(struct host *h)
{
    struct sql_server *s = calloc(1, sizeof *s);
    struct sql_err err;
    int error = ENOMEM;
    if (!s)
        return ENOMEM;
    s->host = h;
    s->version_comment = "OceanBase 3.1.5 (r100000252023041721-6d7a5d7ee5c8e2b0c4f3ad0a9e1a3e3f4b7d2c11) "
                         "(Built Apr 17 2023 21:44:05)";
    name_accounts(s);
    char path[700];
    snprintf(path, sizeof path, "%s/log/sql.log", host_dir(h));
    s->log = sql_log_open(path);
    if (!s->log)
        error = errno;
    else if (!sql_schema_load(&s->schema, &err))
        obs_log(h, "sql: %s", err.text);
    else
        s->net = sql_net_start(s, &error);
    if (s->net) {
        front = s;
        job_start_all(h);
        return 0;
    }
    sql_schema_free(&s->schema);
    sql_log_close(s->log);
    free(s);
    return error;
}

void sqlfront_stop(struct host *h)
{
    (void)h;
    if (!front)
        return;
    sql_net_stop(front->net);
    job_stop_all();
    sql_schema_free(&front->schema);
    sql_log_close(front->log);
    free(front);
    front = NULL;
}
