"""records.py - every serialized object on backup media, as tables (format-data-backup 2, 3.5-3.9; format-clog-archive 4.6)."""
from obcodec import Array, Struct


def v64(*names):
    return [(n, 'v64') for n in names]


VERSION = Struct('ObVersion', 1, v64('version'))
VERSION_RANGE = Struct('ObVersionRange', 1, v64('multi_version_start', 'base_version', 'snapshot_version'))
LOG_TS_RANGE = Struct('ObLogTsRange', 1, v64('start_log_ts', 'end_log_ts', 'max_log_ts'))
ADDR = Struct('ObAddr', 1, [('version', 'v32'), ('ip1', 'vu32'), ('ip2', 'vu32'), ('ip3', 'vu32'), ('ip4', 'vu32'),
                            ('port', 'v32')])
MEMBER = Struct('ObMember', 1, [('server', ADDR)] + v64('timestamp', 'flag'))
MEMBER_LIST = Struct('ObMemberList', 1, [('member_number', 'v64'), ('members', Array(MEMBER, fixed=7))])
REPLICA_PROPERTY = Struct('ObReplicaProperty', 1, [('property', 'vu64')])
REPORT_STATUS = Struct('ObReportStatus', 1, v64('data_version', 'row_count', 'row_checksum', 'data_checksum',
                                                'data_size', 'required_size', 'snapshot_version'))
PG_REPORT_STATUS = Struct('ObPGReportStatus', 1, v64('data_version', 'data_size', 'required_size', 'snapshot_version'))
SPLIT_PAIR = Struct('ObSplitPartitionPair', 1, [('src_pkey', 'pkey'), ('dest', Array('pkey'))])
SPLIT_INFO = Struct('ObPartitionSplitInfo', 1, [
    ('schema_version', 'v64'), ('partition_pair', SPLIT_PAIR)] + v64(
        'split_type', 'split_version', 'source_log_id', 'source_log_ts', 'receive_split_ts'))

TABLE_KEY = Struct('ObITable::TableKey', 1, [
    ('table_type', 'v32'), ('pkey', 'pkey'), ('table_id', 'vu64'), ('trans_version_range', VERSION_RANGE),
    ('version', VERSION), ('log_ts_range', LOG_TS_RANGE)])
COLUMN_META = Struct('ObSSTableColumnMeta', 1, v64('column_id', 'column_default_checksum', 'column_checksum'))
SSTABLE_META = Struct('ObSSTableBaseMeta', 1, v64(
    'index_id', 'row_count', 'occupy_size', 'data_checksum', 'row_checksum', 'data_version', 'rowkey_column_count',
    'table_type', 'available_version', 'macro_block_count', 'use_old_macro_block_count', 'column_cnt') + [
        ('column_metas', Array(COLUMN_META))] + v64(
    'macro_block_second_index', 'total_sstable_count', 'index_type', 'lob_macro_block_count',
    'lob_use_old_macro_block_count', 'sstable_format_version', 'max_logic_block_index') + [
        ('build_on_snapshot', 'bool')] + v64(
    'create_index_base_version', 'schema_version', 'progressive_merge_start_version', 'progressive_merge_end_version',
    'create_snapshot_version', 'checksum_method') + [('new_column_metas', Array(COLUMN_META))] + v64(
    'progressive_merge_round', 'progressive_merge_step') + [
        ('table_mode', 'v32'), ('logical_data_version', 'v64'), ('has_compact_row', 'bool'), ('pg_key', 'pkey'),
        ('multi_version_rowkey_type', 'i8'), ('contain_uncommitted_row', 'bool')] + v64(
    'upper_trans_version', 'max_merged_trans_version', 'end_log_id'))

BASE_STORAGE_INFO = Struct('ObBaseStorageInfo', 1, [
    ('version', 'v32'), ('epoch_id', 'v64'), ('proposal_id', 'proposal'), ('last_replay_log_id', 'vu64'),
    ('last_submit_timestamp', 'v64'), ('accumulate_checksum', 'v64'), ('replica_num', 'v64'),
    ('membership_timestamp', 'v64'), ('membership_log_id', 'vu64'), ('curr_member_list', MEMBER_LIST),
    ('ms_proposal_id', 'proposal')])
DATA_STORAGE_INFO = Struct('ObDataStorageInfo', 1, [
    ('last_replay_log_id', 'vu64'), ('publish_version', 'v64'), ('schema_version', 'v64'),
    ('for_filter_log_compat', 'vu64'), ('created_by_new_minor_freeze', 'bool'), ('last_replay_log_ts', 'v64')])
STORAGE_INFO = Struct('ObSavedStorageInfoV2', 1, [
    ('version', 'v32'), ('clog_info', BASE_STORAGE_INFO), ('data_info', DATA_STORAGE_INFO), ('pg_file_id', 'v64')])
PG_META = Struct('ObPartitionGroupMeta', 1, [
    ('pg_key', 'pkey'), ('is_restore', 'v32'), ('replica_type', 'v32'), ('replica_property', REPLICA_PROPERTY),
    ('saved_split_state', 'v64'), ('migrate_status', 'v32'), ('migrate_timestamp', 'v64'),
    ('storage_info', STORAGE_INFO), ('split_info', SPLIT_INFO), ('partitions', Array('pkey')),
    ('report_status', PG_REPORT_STATUS), ('create_schema_version', 'v64'), ('ddl_seq_num', 'v64'),
    ('create_timestamp', 'v64'), ('create_frozen_version', 'v64'), ('last_restore_log_id', 'vu64'),
    ('restore_snapshot_version', 'v64'), ('last_restore_log_ts', 'v64'), ('restore_schema_version', 'v64')])
PARTITION_META = Struct('ObPGPartitionStoreMeta', 2, [
    ('pkey', 'pkey'), ('report_status', REPORT_STATUS), ('multi_version_start', 'v64'), ('data_table_id', 'vu64'),
    ('create_schema_version', 'v64'), ('create_timestamp', 'v64')])
BACKUP_SSTABLE = Struct('ObBackupSSTableMetaInfo', 1, [('sstable_meta', SSTABLE_META), ('table_key', TABLE_KEY)])
BACKUP_PARTITION = Struct('ObBackupPartitionStoreMetaInfo', 1, [
    ('partition_store_meta', PARTITION_META), ('sstables', Array(BACKUP_SSTABLE))])
BACKUP_PG_META = Struct('ObBackupPGMetaInfo', 1, [('pg_meta', PG_META), ('partitions', Array(BACKUP_PARTITION))])

META_INDEX = Struct('ObBackupMetaIndex', 1, [
    ('meta_type', 'v32'), ('table_id', 'vu64')] + v64('partition_id', 'offset', 'data_length', 'task_id'))
TABLE_KEY_INFO = Struct('ObBackupTableKeyInfo', 1, [('table_key', TABLE_KEY), ('total_macro_block_count', 'v64')])
MACRO_INDEX = Struct('ObBackupTableMacroIndex', 1, v64(
    'sstable_macro_index', 'data_version', 'data_seq', 'backup_set_id', 'sub_task_id', 'offset', 'data_length'))
MACRO_INDEX_V1 = Struct('ObBackupMacroIndex', 1, [
    ('table_id', 'vu64'), ('partition_id', 'v64'), ('index_table_id', 'vu64')] + v64(
        'sstable_macro_index', 'data_version', 'data_seq', 'backup_set_id', 'sub_task_id', 'offset', 'data_length'))
MACRO_DATA = Struct('ObBackupMacroData', 1, [('meta', 'vstr'), ('data', 'vstr')])

BACKUP_INFO = Struct('ObExternBackupInfo', 1, v64(
    'full_backup_set_id', 'inc_backup_set_id', 'backup_data_version', 'backup_snapshot_version',
    'backup_schema_version', 'frozen_snapshot_version', 'frozen_schema_version', 'prev_full_backup_set_id',
    'prev_inc_backup_set_id', 'prev_backup_data_version', 'compatible', 'cluster_version') + [
        ('backup_type', 'v32'), ('status', 'v32'), ('encryption_mode', 'v32'), ('passwd', 'fix'),
        ('is_mark_deleted', 'bool'), ('date', 'v64')])
BACKUP_INFOS = Struct('ObExternBackupInfos', 1, [('items', Array(BACKUP_INFO))])
BACKUP_SET_INFO = Struct('ObExternBackupSetInfo', 1, v64(
    'backup_set_id', 'backup_snapshot_version', 'compatible', 'pg_count', 'macro_block_count', 'input_bytes',
    'output_bytes') + [('cluster_version', 'vu64'), ('compress_type', 'v32')])
BACKUP_SET_INFOS = Struct('ObExternBackupSetInfos', 1, [('items', Array(BACKUP_SET_INFO))])
SET_FILE_INFO = Struct('ObBackupSetFileInfo', 1, [('tenant_id', 'vu64')] + v64(
    'backup_set_id', 'incarnation', 'copy_id', 'snapshot_version', 'prev_full_backup_set_id',
    'prev_inc_backup_set_id', 'prev_backup_data_version', 'pg_count', 'macro_block_count', 'finish_pg_count',
    'finish_macro_block_count', 'input_bytes', 'output_bytes', 'start_time', 'end_time', 'compatible') + [
        ('cluster_version', 'vu64'), ('backup_type', 'v32'), ('status', 'v32'), ('result', 'v32'),
        ('cluster_id', 'v64'), ('backup_dest', 'fix')] + v64(
    'backup_data_version', 'backup_schema_version', 'partition_count', 'finish_partition_count') + [
        ('encryption_mode', 'v32'), ('passwd', 'fix'), ('file_status', 'v32'), ('start_replay_log_ts', 'v64'),
        ('date', 'v64')])
SET_FILE_INFOS = Struct('ObExternBackupSetFileInfos', 1, [('items', Array(SET_FILE_INFO))])
PG_LIST = Struct('ObExternPGList', 1, [('items', Array('pkey'))])
TENANT_INFO = Struct('ObExternTenantInfo', 1, [
    ('tenant_id', 'vu64'), ('create_timestamp', 'v64'), ('delete_timestamp', 'v64'), ('compat_mode', 'v32'),
    ('tenant_name', 'fix'), ('backup_snapshot_version', 'v64')])
TENANT_INFOS = Struct('ObExternTenantInfos', 1, [('items', Array(TENANT_INFO))])
LOCALITY_INFO = Struct('ObExternTenantLocalityInfo', 1, [
    ('tenant_id', 'vu64'), ('backup_set_id', 'v64'), ('backup_snapshot_version', 'v64'), ('compat_mode', 'v32'),
    ('tenant_name', 'fix'), ('locality', 'fix'), ('primary_zone', 'fix')])
LOCALITY = Struct('ObExternTenantLocality', 1, [('info', LOCALITY_INFO)])
TENANT_NAME_META = Struct('ObTenantNameMeta', 1, v64('schema_version', 'tenant_count'))
TENANT_ID_ITEM = Struct('ObTenantIdItem', 1, [('tenant_id', 'vu64'), ('timestamp', 'v64')])
TENANT_NAME_INFO = Struct('ObTenantNameInfo', 1, [
    ('tenant_name', 'vstr'), ('is_complete', 'bool'), ('ids', Array(TENANT_ID_ITEM))])

ARCHIVE_STATUS = Struct('ObTenantLogArchiveStatus', 1, [('tenant_id', 'vu64')] + v64(
    'start_ts', 'checkpoint_ts', 'incarnation', 'round') + [
        ('status', 'v32'), ('is_mark_deleted', 'bool'), ('is_mount_file_created', 'bool'), ('compatible', 'v32'),
        ('backup_piece_id', 'v64'), ('start_piece_id', 'v64')])
ARCHIVE_STATUSES = Struct('ObExternLogArchiveBackupInfo', 1, [('items', Array(ARCHIVE_STATUS))])
PIECE_INFO = Struct('ObBackupPieceInfo', 1, [('incarnation', 'v64'), ('tenant_id', 'vu64')] + v64(
    'round_id', 'backup_piece_id', 'copy_id', 'create_date', 'start_ts', 'checkpoint_ts', 'max_ts') + [
        ('status', 'v32'), ('file_status', 'v32'), ('backup_dest', 'fix'), ('compatible', 'v32'),
        ('start_piece_id', 'v64')])
PIECE_INFOS = Struct('ObExternalBackupPieceInfo', 1, [('items', Array(PIECE_INFO))])

KICKOFF_INNER = Struct('ObArchiveKickoff', 1, [('version', 'v32')] + v64(
    'checkpoint_ts', 'round_start_ts', 'round_snapshot_version'))
CHECKPOINT_LOG = Struct('ObCheckpointLog', 1, v64('checkpoint'))

# numbers used across the readers
TYPE_MEMTABLE, TYPE_MAJOR, TYPE_TRANS, TYPE_MV_MINOR, TYPE_COMPLEMENT, TYPE_SPARSE_MINOR, TYPE_MINI = 0, 1, 3, 4, 5, 6, 7
MINOR_TYPES = (TYPE_MV_MINOR, TYPE_COMPLEMENT, TYPE_SPARSE_MINOR, TYPE_MINI)
INFO_SUCCESS, INFO_DOING, INFO_FAILED = 0, 1, 2
SET_DOING, SET_SUCCESS, SET_FAILED = 0, 1, 2
FILE_AVAILABLE, FILE_COPYING, FILE_INCOMPLETE, FILE_DELETING, FILE_EXPIRED, FILE_BROKEN, FILE_DELETED = range(7)
PIECE_ACTIVE, PIECE_FREEZING, PIECE_FROZEN, PIECE_INACTIVE = range(4)
ROUND_STOP, ROUND_BEGINNING, ROUND_DOING, ROUND_STOPPING, ROUND_INTERRUPTED = 1, 2, 3, 4, 5
BACKUP_FULL, BACKUP_INC = 1, 2
