-- schema.sql - the SQL tables and columns that the stand-in OBServer has, and no others: copied from the SQL catalogue of
-- OceanBase 3.1.5, never from the product's own documents.
--
-- The line before a CREATE TABLE gives its kind and its OceanBase table id:
--   S system table, RS answered by RootService only, T iterates over tenants: rows lie in cluster.db under this name;
--   L every server answers for itself: no rows in cluster.db, the server makes them at query time.
-- Times in timestamp(6) columns are stored as text, 'YYYY-MM-DD HH:MM:SS.ffffff', in UTC; the SQL front shifts them to the
-- session's time zone. Unsigned columns are stored as the signed 64-bit number with the same bits.

-- kind S id 117
CREATE TABLE "__all_server" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "id" bigint,
  "zone" varchar(128),
  "inner_port" bigint,
  "with_rootserver" bigint,
  "status" varchar(64),
  "build_version" varchar(256),
  "stop_time" bigint,
  "start_service_time" bigint,
  PRIMARY KEY ("svr_ip", "svr_port")
);

-- kind S id 116
CREATE TABLE "__all_zone" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "zone" varchar(128),
  "name" varchar(128),
  "value" bigint,
  "info" varchar(4096),
  PRIMARY KEY ("zone", "name")
);

-- kind S id 108
CREATE TABLE "__all_tenant" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "tenant_id" bigint,
  "tenant_name" varchar(128),
  "zone_list" varchar(8192),
  "primary_zone" varchar(128),
  "locality" varchar(4096),
  "compatibility_mode" bigint,
  "drop_tenant_time" bigint,
  "status" varchar(64),
  "in_recyclebin" bigint,
  PRIMARY KEY ("tenant_id")
);

-- kind S id 109
CREATE TABLE "__all_tenant_history" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "tenant_id" bigint,
  "schema_version" bigint,
  "is_deleted" bigint,
  "tenant_name" varchar(128),
  "zone_list" varchar(8192),
  "primary_zone" varchar(128),
  "locality" varchar(4096),
  "compatibility_mode" bigint,
  "drop_tenant_time" bigint,
  "status" varchar(64),
  "in_recyclebin" bigint,
  PRIMARY KEY ("tenant_id", "schema_version")
);

-- kind RS id 12036
CREATE TABLE "__all_virtual_freeze_info" (
  "frozen_version" bigint,
  "frozen_timestamp" bigint,
  "schema_version" bigint,
  PRIMARY KEY ("frozen_version")
);

-- kind S id 219
CREATE TABLE "__all_freeze_schema_version" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "frozen_version" bigint,
  "tenant_id" bigint,
  "schema_version" bigint,
  PRIMARY KEY ("frozen_version", "tenant_id")
);

-- kind S id 2
CREATE TABLE "__all_root_table" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "tenant_id" bigint,
  "table_id" bigint,
  "partition_id" bigint,
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "zone" varchar(128),
  "role" bigint,
  "member_list" varchar(4480),
  "data_version" bigint,
  "replica_type" bigint,
  "required_size" bigint,
  "status" varchar(64),
  "is_restore" bigint,
  PRIMARY KEY ("tenant_id", "table_id", "partition_id", "svr_ip", "svr_port")
);

-- kind T id 12035
CREATE TABLE "__all_virtual_meta_table" (
  "tenant_id" bigint,
  "table_id" bigint,
  "partition_id" bigint,
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "zone" varchar(128),
  "role" bigint,
  "member_list" varchar(4480),
  "data_version" bigint,
  "replica_type" bigint,
  "required_size" bigint,
  "status" varchar(64),
  "is_restore" bigint,
  PRIMARY KEY ("tenant_id", "table_id", "partition_id", "svr_ip", "svr_port")
);

-- kind T id 12072
CREATE TABLE "__all_virtual_table" (
  "tenant_id" bigint,
  "table_id" bigint,
  "table_name" varchar(256),
  "table_type" bigint,
  "data_table_id" bigint,
  "tablegroup_id" bigint,
  "index_type" bigint,
  "index_status" bigint,
  "part_level" bigint,
  "part_num" bigint,
  "sub_part_num" bigint,
  "binding" tinyint,
  "schema_version" bigint,
  "drop_schema_version" bigint,
  PRIMARY KEY ("tenant_id", "table_id")
);

-- kind T id 12076
CREATE TABLE "__all_virtual_part" (
  "tenant_id" bigint,
  "table_id" bigint,
  "part_id" bigint,
  "schema_version" bigint,
  "sub_part_num" bigint,
  "status" bigint,
  "part_idx" bigint,
  "mapping_pg_part_id" bigint,
  "drop_schema_version" bigint,
  PRIMARY KEY ("tenant_id", "table_id", "part_id")
);

-- kind T id 12082
CREATE TABLE "__all_virtual_sub_part" (
  "tenant_id" bigint,
  "table_id" bigint,
  "part_id" bigint,
  "sub_part_id" bigint,
  "schema_version" bigint,
  "status" bigint,
  "sub_part_idx" bigint,
  "mapping_pg_sub_part_id" bigint,
  "drop_schema_version" bigint,
  PRIMARY KEY ("tenant_id", "table_id", "part_id", "sub_part_id")
);

-- kind T id 12070
CREATE TABLE "__all_virtual_tablegroup" (
  "tenant_id" bigint,
  "tablegroup_id" bigint,
  "part_level" bigint,
  "part_num" bigint,
  "sub_part_num" bigint,
  "schema_version" bigint,
  "partition_status" bigint,
  "binding" tinyint,
  "drop_schema_version" bigint,
  PRIMARY KEY ("tenant_id", "tablegroup_id")
);

-- kind T id 12059
CREATE TABLE "__all_virtual_ddl_operation" (
  "schema_version" bigint,
  "tenant_id" bigint,
  "tablegroup_id" bigint,
  "table_id" bigint,
  "operation_type" bigint,
  "exec_tenant_id" bigint,
  PRIMARY KEY ("schema_version")
);

-- kind T id 12095
CREATE TABLE "__all_virtual_sys_variable" (
  "tenant_id" bigint,
  "zone" varchar(128),
  "name" varchar(128),
  "value" varchar(65536),
  PRIMARY KEY ("tenant_id", "zone", "name")
);

-- kind L id 11039
CREATE TABLE "__all_virtual_sys_parameter_stat" (
  "zone" varchar(128),
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "name" varchar(128),
  "value" varchar(65536)
);

-- kind RS id 12057
CREATE TABLE "__all_virtual_cluster" (
  "cluster_id" bigint,
  "cluster_name" varchar(4096),
  "cluster_role" varchar(4096),
  "cluster_status" varchar(4096)
);

-- kind T id 12167
CREATE TABLE "__all_virtual_backup_info" (
  "tenant_id" bigint,
  "name" varchar(1024),
  "value" varchar(4096),
  PRIMARY KEY ("tenant_id", "name")
);

-- kind S id 318
CREATE TABLE "__all_backup_log_archive_status_v2" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "tenant_id" bigint,
  "incarnation" bigint,
  "log_archive_round" bigint,
  "min_first_time" timestamp(6),
  "max_next_time" timestamp(6),
  "status" varchar(64),
  "start_piece_id" bigint,
  "backup_piece_id" bigint,
  "backup_dest" varchar(2048),
  PRIMARY KEY ("tenant_id")
);

-- kind L id 11041
CREATE TABLE "__all_virtual_clog_stat" (
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "table_id" bigint,
  "partition_idx" bigint,
  "partition_cnt" bigint,
  "role" varchar(32),
  "status" varchar(32),
  "leader" varchar(32),
  "last_log_id" bigint unsigned,
  "is_offline" tinyint,
  "is_in_sync" tinyint,
  "start_id" bigint unsigned,
  "replica_type" bigint,
  "is_need_rebuild" tinyint
);

-- kind L id 11025
CREATE TABLE "__all_virtual_partition_info" (
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "tenant_id" bigint,
  "table_id" bigint,
  "partition_idx" bigint,
  "partition_state" varchar(128),
  "is_need_rebuild" tinyint,
  "is_pg" tinyint,
  "weak_read_timestamp" bigint,
  "replica_type" bigint,
  "last_replay_log_id" bigint,
  "schema_version" bigint,
  "last_replay_log_ts" bigint
);

-- kind L id 11029
CREATE TABLE "__all_virtual_election_info" (
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "table_id" bigint,
  "partition_idx" bigint,
  "current_leader" varchar(64),
  "leader_epoch" bigint,
  "role" bigint,
  "state" bigint,
  "lease_start" bigint,
  "lease_end" bigint
);

-- kind L id 11068
CREATE TABLE "__all_virtual_partition_store_info" (
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "tenant_id" bigint,
  "table_id" bigint,
  "partition_idx" bigint,
  "partition_cnt" bigint,
  "is_restore" bigint,
  "migrate_status" bigint,
  "replica_type" bigint,
  "split_state" bigint,
  "multi_version_start" bigint,
  "readable_ts" bigint
);

-- kind L id 11073
CREATE TABLE "__all_virtual_server_clog_stat" (
  "svr_ip" varchar(46),
  "svr_port" bigint,
  "user_clog_min_using_file_id" bigint,
  "user_ilog_min_using_file_id" bigint,
  "svr_min_log_timestamp" bigint,
  PRIMARY KEY ("svr_ip", "svr_port")
);

-- kind S id 125
CREATE TABLE "__all_resource_pool" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "resource_pool_id" bigint,
  "name" varchar(128),
  "unit_count" bigint,
  "unit_config_id" bigint,
  "zone_list" varchar(8192),
  "tenant_id" bigint,
  "replica_type" bigint,
  PRIMARY KEY ("resource_pool_id")
);

-- kind S id 1
CREATE TABLE "__all_core_table" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "table_name" varchar(128),
  "row_id" bigint,
  "column_name" varchar(128),
  "column_value" varchar(65536),
  PRIMARY KEY ("table_name", "row_id", "column_name")
);

-- kind S id 265
CREATE TABLE "__all_restore_info" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "job_id" bigint,
  "name" varchar(1024),
  "value" longtext,
  PRIMARY KEY ("job_id", "name")
);

-- kind S id 279
CREATE TABLE "__all_restore_progress" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "job_id" bigint,
  "external_job_id" bigint,
  "tenant_id" bigint,
  "tenant_name" varchar(128),
  "status" varchar(64),
  "start_time" timestamp(6),
  "completion_time" timestamp(6),
  "pg_count" bigint,
  "finish_pg_count" bigint,
  "partition_count" bigint,
  "finish_partition_count" bigint,
  "macro_block_count" bigint,
  "finish_macro_block_count" bigint,
  "info" varchar(4096),
  PRIMARY KEY ("job_id")
);

-- kind S id 280
CREATE TABLE "__all_restore_history" (
  "gmt_create" timestamp(6),
  "gmt_modified" timestamp(6),
  "job_id" bigint,
  "external_job_id" bigint,
  "tenant_id" bigint,
  "tenant_name" varchar(128),
  "status" varchar(64),
  "start_time" timestamp(6),
  "completion_time" timestamp(6),
  "pg_count" bigint,
  "finish_pg_count" bigint,
  "partition_count" bigint,
  "finish_partition_count" bigint,
  "macro_block_count" bigint,
  "finish_macro_block_count" bigint,
  "info" varchar(4096),
  "restore_data_version" bigint,
  "backup_dest" varchar(2048),
  "restore_option" varchar(4096),
  "backup_set_list" longtext,
  "backup_piece_list" longtext,
  PRIMARY KEY ("job_id")
);

-- kind T id 12181
CREATE TABLE "__all_virtual_restore_pg_info" (
  "tenant_id" bigint,
  "table_id" bigint,
  "partition_id" bigint,
  "macro_block_count" bigint,
  "finish_macro_block_count" bigint,
  "partition_count" bigint,
  "finish_partition_count" bigint,
  "restore_info" varchar(4096),
  PRIMARY KEY ("tenant_id", "table_id", "partition_id")
);
