#include "state/schema.h"

/* Times are microseconds since the epoch. Unsigned 64-bit ids are stored with the same bits. */
static const char V1[] =
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE repository (one INTEGER PRIMARY KEY CHECK (one = 1), uuid TEXT NOT NULL, profile TEXT NOT NULL,"
    " cluster_name TEXT NOT NULL, cluster_id INTEGER NOT NULL, created_at INTEGER NOT NULL, ready INTEGER NOT NULL);"
    "CREATE TABLE agents (agent_id TEXT PRIMARY KEY, session INTEGER NOT NULL, ip TEXT NOT NULL,"
    " rpc_port INTEGER NOT NULL, sql_port INTEGER NOT NULL, version TEXT NOT NULL, first_at INTEGER NOT NULL,"
    " revision INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE jobs (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " status INTEGER NOT NULL, phase TEXT NOT NULL, run_key TEXT UNIQUE, ref INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL, phase_at INTEGER NOT NULL, ended_at INTEGER NOT NULL DEFAULT 0,"
    " code INTEGER NOT NULL DEFAULT 0, sys INTEGER NOT NULL DEFAULT 0, message TEXT, hint TEXT);"
    "CREATE INDEX jobs_running ON jobs (status, kind);"
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, job_id TEXT NOT NULL,"
    " text TEXT NOT NULL);"
    "CREATE INDEX events_job ON events (job_id, id);"
    /* one row a step that an agent does; name is the job's own word for it, the uid names one attempt */
    "CREATE TABLE tasks (job_id TEXT NOT NULL, name TEXT NOT NULL, after TEXT, uid TEXT NOT NULL UNIQUE,"
    " kind INTEGER NOT NULL, agent_id TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL, status INTEGER NOT NULL,"
    " deadline_s INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT "
    "0,"
    " set_id INTEGER NOT NULL DEFAULT 0, tenant_id INTEGER NOT NULL DEFAULT 0, task_id INTEGER NOT NULL DEFAULT 0,"
    " pass INTEGER NOT NULL DEFAULT 0, schema_version INTEGER NOT NULL DEFAULT 0,"
    " bytes_read INTEGER NOT NULL DEFAULT 0, bytes_written INTEGER NOT NULL DEFAULT 0,"
    " blocks_done INTEGER NOT NULL DEFAULT 0, blocks_total INTEGER NOT NULL DEFAULT 0,"
    " code INTEGER NOT NULL DEFAULT 0, sys INTEGER NOT NULL DEFAULT 0, message TEXT, hint TEXT,"
    " PRIMARY KEY (job_id, name));"
    "CREATE INDEX tasks_open ON tasks (status, agent_id);"
    "CREATE TABLE put_files (job_id TEXT NOT NULL, name TEXT NOT NULL, idx INTEGER NOT NULL, path TEXT NOT NULL,"
    " if_absent INTEGER NOT NULL, content BLOB NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (job_id, name, idx));"
    /* data backup */
    "CREATE TABLE sets (set_id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, status INTEGER NOT NULL,"
    " result INTEGER NOT NULL, full_set_id INTEGER NOT NULL, date INTEGER NOT NULL, data_version INTEGER NOT NULL,"
    " snapshot INTEGER NOT NULL, frozen_snapshot INTEGER NOT NULL, cluster_version INTEGER NOT NULL,"
    " round INTEGER NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL DEFAULT 0,"
    " sys_schema_version INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE set_tenants (set_id INTEGER NOT NULL, tenant_id INTEGER NOT NULL, name TEXT NOT NULL,"
    " compat_mode INTEGER NOT NULL, locality TEXT NOT NULL, primary_zone TEXT NOT NULL, phase INTEGER NOT NULL,"
    " schema_version INTEGER NOT NULL DEFAULT 0, frozen_schema INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (set_id, tenant_id)) WITHOUT ROWID;"
    "CREATE TABLE pgs (set_id INTEGER NOT NULL, tenant_id INTEGER NOT NULL, table_id INTEGER NOT NULL,"
    " partition_id INTEGER NOT NULL, pass INTEGER NOT NULL, part_id INTEGER NOT NULL, assist INTEGER NOT NULL,"
    " state INTEGER NOT NULL, task_uid TEXT NOT NULL DEFAULT '', task_id INTEGER NOT NULL DEFAULT -1,"
    " agent_id TEXT NOT NULL DEFAULT '', retries INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,"
    " code INTEGER NOT NULL DEFAULT 0, sys INTEGER NOT NULL DEFAULT 0, message TEXT,"
    " blocks INTEGER NOT NULL DEFAULT 0, blocks_stored INTEGER NOT NULL DEFAULT 0,"
    " bytes_read INTEGER NOT NULL DEFAULT 0, bytes_written INTEGER NOT NULL DEFAULT 0,"
    " partitions INTEGER NOT NULL DEFAULT 0, last_submit_ts INTEGER NOT NULL DEFAULT 0,"
    " last_replay_log_id INTEGER NOT NULL DEFAULT 0, publish_version INTEGER NOT NULL DEFAULT 0,"
    " lower_bound INTEGER NOT NULL DEFAULT 0, schema_version INTEGER NOT NULL DEFAULT 0,"
    " meta_offset INTEGER NOT NULL DEFAULT -1, meta_length INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (set_id, tenant_id, table_id, partition_id, pass)) WITHOUT ROWID;"
    "CREATE INDEX pgs_state ON pgs (set_id, state);"
    "CREATE INDEX pgs_task ON pgs (task_uid);"
    "CREATE TABLE pg_objects (set_id INTEGER NOT NULL, tenant_id INTEGER NOT NULL, path TEXT NOT NULL,"
    " table_id INTEGER NOT NULL, partition_id INTEGER NOT NULL, pass INTEGER NOT NULL, size INTEGER NOT NULL,"
    " sha256 BLOB NOT NULL, PRIMARY KEY (set_id, tenant_id, path)) WITHOUT ROWID;"
    /* log archive */
    "CREATE TABLE rounds (round INTEGER PRIMARY KEY, job_id TEXT NOT NULL, status INTEGER NOT NULL,"
    " start_ts INTEGER NOT NULL, checkpoint_ts INTEGER NOT NULL DEFAULT 0, pending_ts INTEGER NOT NULL DEFAULT 0, "
    "max_ts INTEGER NOT NULL DEFAULT 0,"
    " stop INTEGER NOT NULL DEFAULT 0, sys_schema_version INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE round_tenants (round INTEGER NOT NULL, tenant_id INTEGER NOT NULL, name TEXT NOT NULL,"
    " status INTEGER NOT NULL, start_ts INTEGER NOT NULL, checkpoint_ts INTEGER NOT NULL DEFAULT 0,"
    " pending_ts INTEGER NOT NULL DEFAULT 0, schema_version INTEGER NOT NULL DEFAULT 0,"
    " code INTEGER NOT NULL DEFAULT 0, message TEXT, PRIMARY KEY (round, tenant_id)) WITHOUT ROWID;"
    "CREATE TABLE archive_pgs (round INTEGER NOT NULL, tenant_id INTEGER NOT NULL, table_id INTEGER NOT NULL,"
    " partition_id INTEGER NOT NULL, part_id INTEGER NOT NULL, assist INTEGER NOT NULL, agent_id TEXT NOT NULL,"
    " epoch INTEGER NOT NULL, from_log_one INTEGER NOT NULL, dropped_at INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (round, tenant_id, table_id, partition_id)) WITHOUT ROWID;"
    "CREATE INDEX archive_pgs_agent ON archive_pgs (agent_id);"
    /* tenant_name_info: names are never dropped */
    "CREATE TABLE tenant_names (name TEXT NOT NULL, since INTEGER NOT NULL, tenant_id INTEGER NOT NULL,"
    " PRIMARY KEY (name, since, tenant_id)) WITHOUT ROWID;"
    /* restore */
    "CREATE TABLE restores (job_id TEXT PRIMARY KEY, external_id INTEGER NOT NULL, target TEXT NOT NULL,"
    " tenant_id INTEGER NOT NULL, tenant TEXT NOT NULL, new_tenant TEXT NOT NULL, until_us INTEGER NOT NULL,"
    " pools TEXT NOT NULL, locality TEXT NOT NULL, primary_zone TEXT NOT NULL, set_id INTEGER NOT NULL DEFAULT 0,"
    " round INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT '', pgs INTEGER NOT NULL DEFAULT 0,"
    " pgs_done INTEGER NOT NULL DEFAULT 0, blocks INTEGER NOT NULL DEFAULT 0, blocks_done INTEGER NOT NULL DEFAULT 0,"
    " issued_at INTEGER NOT NULL DEFAULT 0, last_job_id INTEGER NOT NULL DEFAULT 0,"
    " info TEXT NOT NULL DEFAULT '');";

/* The agent's hint of why a PG failed; an operator wants the job to end. */
static const char V2[] = "ALTER TABLE pgs ADD COLUMN hint TEXT;"
                         "ALTER TABLE jobs ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;";

/* What must be in the copies of a set by its schema, and what is. */
static const char V3[] = "ALTER TABLE sets ADD COLUMN passes INTEGER NOT NULL DEFAULT 0;"
                         "ALTER TABLE sets ADD COLUMN closing_at INTEGER NOT NULL DEFAULT 0;"
                         "ALTER TABLE pgs ADD COLUMN contents BLOB;"
                         "CREATE TABLE set_contents (set_id INTEGER NOT NULL, tenant_id INTEGER NOT NULL,"
                         " owner INTEGER NOT NULL, id INTEGER NOT NULL,"
                         " PRIMARY KEY (set_id, tenant_id, owner, id)) WITHOUT ROWID;";

/* Variables of tenants that hold while a set is made, and what they were. */
static const char V4[] = "CREATE TABLE pins (tenant_id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, job_id TEXT NOT NULL,"
                         " before INTEGER NOT NULL, value INTEGER NOT NULL, until INTEGER NOT NULL);";

/*
 * Pieces of rounds in piece mode, one row a tenant (1: the cluster's own); what an interruption means; when a PG last
 * changed hands; events by kind.
 */
static const char V5[] =
    "ALTER TABLE rounds ADD COLUMN start_piece INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN piece INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN piece_date INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN piece_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN switch_s INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round_tenants ADD COLUMN start_piece INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round_tenants ADD COLUMN interrupted_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round_tenants ADD COLUMN gone_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round_tenants ADD COLUMN hint TEXT;"
    "ALTER TABLE archive_pgs ADD COLUMN moved_at INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE pieces (round INTEGER NOT NULL, piece INTEGER NOT NULL, tenant_id INTEGER NOT NULL,"
    " start_piece INTEGER NOT NULL, date INTEGER NOT NULL, status INTEGER NOT NULL, start_ts INTEGER NOT NULL,"
    " checkpoint_ts INTEGER NOT NULL DEFAULT 0, max_ts INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (round, piece, tenant_id)) WITHOUT ROWID;"
    "ALTER TABLE events ADD COLUMN kind TEXT NOT NULL DEFAULT 'job';"
    "ALTER TABLE events ADD COLUMN level INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE events ADD COLUMN tenant_id INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX events_at ON events (at);";

const char *const OBV_STATE_MIGRATIONS[] = {V1, V2, V3, V4, V5};
const size_t OBV_STATE_MIGRATION_COUNT = sizeof OBV_STATE_MIGRATIONS / sizeof *OBV_STATE_MIGRATIONS;
